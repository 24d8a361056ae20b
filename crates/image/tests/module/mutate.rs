//! Broken files: whatever the bytes, an answer and never a panic.

use std::fs;

use ferrmod_image::compress::decompress;
use ferrmod_tests::corpus;
use ferrmod_tests::random::Random;
use proptest::prelude::*;

use crate::{exercise, made};

/// Values that upset readers.
const ODD: [u64; 12] =
    [0, 1, 2, 3, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];

/// Breaks `file` in one to four places, mostly where its structure is.
fn mutate(file: &mut Vec<u8>, numbers: &mut Random) {
    for _ in 0..=numbers.below(4) {
        let length = file.len();
        if length < 64 {
            return;
        }
        let headers = usize::try_from(u64::from_le_bytes(file[40..48].try_into().unwrap())).unwrap_or(0).min(length);
        let place = match numbers.below(8) {
            0 => numbers.below(64),
            1..=4 => headers + numbers.below(length - headers),
            _ => numbers.below(length),
        };
        match numbers.below(8) {
            0 => file.truncate(place),
            1 | 2 => {
                let value = ODD[numbers.below(ODD.len())].to_le_bytes();
                let width = 1 << numbers.below(4);
                let place = place & !(width - 1);
                for (to, from) in file.iter_mut().skip(place).zip(&value[..width]) {
                    *to = *from;
                }
            }
            3 => {
                let (from, count) = (numbers.below(length), numbers.below(64));
                for index in 0..count {
                    if from + index < length && place + index < length {
                        file[place + index] = file[from + index];
                    }
                }
            }
            _ => {
                if let Some(byte) = file.get_mut(place) {
                    *byte ^= 1 << numbers.below(8);
                }
            }
        }
    }
}

/// Modules to break: of every size up to 100 kB, with and without parameters, exports and signatures.
fn victims() -> Vec<Vec<u8>> {
    let mut victims = vec![made::Made::module().bytes()];
    for version in ["6.1", "6.12"] {
        let Some(tree) = corpus::tree_or_skip(version) else {
            continue;
        };
        for path in tree.files().iter().step_by(61) {
            let bytes = fs::read(path).unwrap();
            let bytes = decompress(&bytes, 1 << 28).unwrap().into_owned();
            if bytes.len() < 100_000 {
                victims.push(bytes);
            }
        }
    }
    victims
}

#[test]
fn mutated_modules_get_an_answer() {
    let victims = victims();
    let rounds = corpus::budget("FERRMOD_MUTATIONS", 20_000);
    let (mut read, mut refused) = (0u64, 0u64);
    for round in 0..rounds {
        let mut numbers = Random::new(0x9e37_79b9_7f4a_7c15 ^ (round + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9));
        let mut file = victims[numbers.below(victims.len())].clone();
        mutate(&mut file, &mut numbers);
        match exercise::everything(&file) {
            Ok(_) => read += 1,
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    // If one of them did not occur the mutations would be too weak or too strong to test anything.
    assert!(read > rounds / 10 && refused > rounds / 20, "{read} read, {refused} refused");
}

#[test]
fn damaged_compressed_files_get_an_answer() {
    let Some(tree) = corpus::tree_or_skip("6.12") else {
        return;
    };
    let files = tree.files();
    let rounds = corpus::budget("FERRMOD_MUTATIONS", 20_000) / 20;
    for round in 0..rounds {
        let mut numbers = Random::new(0x1234_5678_9abc_def1 ^ (round + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9));
        let mut file = fs::read(&files[numbers.below(files.len())]).unwrap();
        if file.len() > 20_000 {
            continue;
        }
        for _ in 0..=numbers.below(3) {
            let place = numbers.below(file.len());
            file[place] ^= 1 << numbers.below(8);
        }
        // The check sum finds what the decoder does not, so that no damaged file unpacks to something else.
        if let Ok(unpacked) = decompress(&file, 1 << 24)
            && unpacked.starts_with(b"\x7fELF")
        {
            exercise::everything(&unpacked).expect("what unpacks is whole");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let _ = exercise::everything(&bytes);
        let _ = decompress(&bytes, 1 << 20);
    }

    #[test]
    fn any_bytes_behind_a_magic_number_get_an_answer(
        magic in prop::sample::select(vec![
            &b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46", b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18", b"\x7fELF",
        ]),
        bytes in proptest::collection::vec(any::<u8>(), 0..2048),
    ) {
        let bytes = [magic, &bytes].concat();
        let _ = exercise::everything(&bytes);
        if let Ok(unpacked) = decompress(&bytes, 1 << 20) {
            prop_assert!(unpacked.len() <= 1 << 20 || unpacked == bytes);
        }
    }

    #[test]
    fn a_made_module_with_odd_fields_gets_an_answer(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&ODD[..])), 1..6),
    ) {
        let mut made = made::Made::module();
        let text = made.section(".text", made::PROGBITS, made::ALLOC | made::EXEC, &[0x90; 32]);
        let table = made.section("__ksymtab", made::PROGBITS, made::ALLOC, &[0; 24]);
        let strings = made.section("__ksymtab_strings", made::PROGBITS, made::ALLOC, b"one\0two\0");
        let parameters = made.section("__param", made::PROGBITS, made::ALLOC, &[0; 80]);
        let one = made.symbol("one", 0x12, text as u16, 0);
        let base = made.symbol("", 3, strings as u16, 0);
        made.relocations(table, &[(0, 2, one, 0), (4, 2, base, 0), (12, 2, one, 0), (16, 2, base, 4)]);
        made.relocations(parameters, &[(0, 1, base, 0), (40, 1, base, 4)]);
        let mut file = made.bytes();
        for (place, value) in changes {
            let place = place.index(file.len() / 4) * 4;
            for (to, from) in file.iter_mut().skip(place).zip(value.to_le_bytes().iter().take(4)) {
                *to = *from;
            }
        }
        let _ = exercise::everything(&file);
    }
}
