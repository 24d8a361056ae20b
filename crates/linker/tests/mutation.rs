//! Damaged modules are refused or linked, and nothing panics.
//!
//! `FERRMOD_MUTATIONS` says how many are made. Each is one real module with a few fields overwritten: where the linker reads
//! (section headers, symbols, relocations, tables) more often than elsewhere, with values that are likely to be on an edge.

#[path = "made/mod.rs"]
mod made;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bstr::BStr;
use ferrmod_image::Image;
use ferrmod_linker::{BindError, Found, Layout, LayoutOptions, OwnerId, PartBuffers, SymbolTable, Taints, Terms, link};
use ferrmod_tests::corpus;
use ferrmod_tests::random::Random;
use made::Made;
use world::Where;

/// A value that is likely to be on an edge.
fn value(random: &mut Random) -> u64 {
    match random.below(8) {
        0 => 0,
        1 => u64::MAX - random.below(4096) as u64,
        2 => 1 << random.below(64),
        3 => (1u64 << random.below(64)).wrapping_sub(1),
        4 => random.below(64) as u64,
        5 => random.below(1 << 16) as u64,
        _ => random.next(),
    }
}

/// Offers everything, at addresses that come from the name.
struct Everything<'e> {
    /// Names that the module exports itself.
    own: &'e [Vec<u8>],
    absent: bool,
    functions: u64,
}

impl SymbolTable for Everything<'_> {
    fn find(&mut self, name: &BStr, _: bool) -> Option<Found<'_>> {
        let hash = name.iter().fold(7u64, |hash, &byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        if name.is_empty() || self.own.iter().any(|own| own == name) || (self.absent && hash % 3 == 0) {
            return None;
        }
        Some(Found {
            value: self.functions + (hash % 0x10_0000) * 16,
            crc: None,
            gpl_only: hash % 5 == 0,
            namespace: None,
            owner: ferrmod_linker::Owner::Kernel,
        })
    }

    fn bind(&mut self, _: OwnerId) -> Result<(), BindError> {
        Ok(())
    }

    fn absent(&mut self, _: &BStr) -> Option<u64> {
        Some(self.functions)
    }
}

/// Offsets of what is worth damaging: section headers, symbols, relocations, and the contents of loaded tables.
fn targets(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let image = Image::read(bytes).expect("a sound module");
    let header = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
    let mut ranges = vec![0..64, header..header + 64 * image.sections().len()];
    for section in image.sections() {
        let size = section.data.len();
        let table =
            section.name.starts_with(b"__") || section.name.starts_with(b".orc") || section.name.ends_with(b"_sites");
        if size != 0 && (matches!(section.kind, 2..=4) || table) {
            ranges.push(section.offset as usize..section.offset as usize + size);
        }
    }
    ranges
}

fn damage(bytes: &mut [u8], targets: &[std::ops::Range<usize>], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let range = &targets[random.below(targets.len())];
        let width = [1, 2, 4, 8][random.below(4)];
        // Most fields lie at multiples of their width.
        let at = range.start + random.below(range.len()) / width * width;
        let value = value(random).to_le_bytes();
        if let Some(field) = bytes.get_mut(at..at + width) {
            field.copy_from_slice(&value[..width]);
        }
    }
}

/// What became of it: 0 not an image, 1 no layout, 2 too large to try, 3 refused, 4 linked.
fn try_to_link(bytes: &[u8], own: &[Vec<u8>], buffers: &mut PartBuffers, random: &mut Random) -> usize {
    let Ok(image) = Image::read(bytes) else {
        return 0;
    };
    let got = random.below(4) == 0;
    let Ok(layout) = Layout::with(&image, LayoutOptions { got }) else {
        return 1;
    };
    if layout.pages_size() > 64 << 20 {
        return 2;
    }
    let place = if random.below(2) == 0 { Where::Low } else { Where::Top };
    let placement = place.place(&layout);
    let features = [random.next() as u32; 22];
    let mut terms = Terms::new(&image, Taints::NONE);
    terms.got = got;
    terms.features = (random.below(2) == 0).then_some(&features[..]);
    let mut table = Everything { own, absent: random.below(2) == 0, functions: place.functions() };
    let mut parts = buffers.parts(&layout);
    let Ok(mut linked) = link(&image, &layout, &placement, &mut table, &terms, &mut parts) else {
        return 3;
    };
    // What a kernel does with it must not panic, either.
    for base in placement.base {
        let address = base.wrapping_add(random.next() & 0xffff);
        let _ = (linked.symbol_at(address), linked.bug_at(address), linked.exception_at(address));
        if let Some(orc) = linked.orc {
            let mut garbage = Random::new(random.next() | 1);
            let mut read = |_: u64, into: &mut [u8]| {
                into.fill_with(|| garbage.next() as u8);
                true
            };
            let _ = orc.find(address, &mut read);
        }
    }
    for branch in &linked.branches {
        let _ = branch.code(&[0xeb, 0, 0, 0, 0], true);
        let _ = branch.code(&[0xe9, 0, 0, 0, 0], false);
    }
    let names: usize = linked.symbols().map(|symbol| symbol.name.len()).sum();
    std::hint::black_box(names);
    linked.forget_init();
    4
}

#[test]
fn no_damage_makes_it_panic() {
    let budget = corpus::budget("FERRMOD_MUTATIONS", if cfg!(debug_assertions) { 3_000 } else { 100_000 });
    let mut random = Random::new(0x5eed_1e55_c0de_0001);
    let mut originals = vec![Made::new().bytes()];
    if let Some(tree) = corpus::tree_or_skip("6.1") {
        let files = tree.files();
        // Small ones are quick and have everything; a few large ones have it in number.
        while originals.len() < 300 {
            let bytes = world::read(&files[random.below(files.len())]);
            if bytes.len() < 100_000 || originals.len() % 50 == 0 {
                originals.push(bytes);
            }
        }
        for name in ["ext4", "btrfs", "kvm"] {
            originals.extend(tree.file(name).map(|path| world::read(&path)));
        }
    }
    let targets: Vec<_> = originals.iter().map(|bytes| targets(bytes)).collect();
    let exports: Vec<Vec<Vec<u8>>> = originals
        .iter()
        .map(|bytes| {
            let image = Image::read(bytes).expect("a sound module");
            image.exports().iter().map(|export| export.name.to_vec()).collect()
        })
        .collect();
    let (mut buffers, mut copy) = (PartBuffers::new(), Vec::new());
    for (bytes, own) in originals.iter().zip(&exports) {
        assert_eq!(try_to_link(bytes, own, &mut buffers, &mut random), 4, "whole modules link");
    }
    let mut outcomes = [0u64; 5];
    for number in 0..budget {
        let which = random.below(originals.len());
        copy.clear();
        copy.extend_from_slice(&originals[which]);
        damage(&mut copy, &targets[which], &mut random);
        let result = catch_unwind(AssertUnwindSafe(|| try_to_link(&copy, &exports[which], &mut buffers, &mut random)));
        match result {
            Ok(outcome) => outcomes[outcome] += 1,
            Err(_) => {
                let path = std::env::temp_dir().join("ferrmod-linker-panic.ko");
                let _ = std::fs::write(&path, &copy);
                panic!("mutation {number} of module {which} panicked; it is {}", path.display());
            }
        }
    }
    println!(
        "not read {}, no layout {}, large {}, refused {}, linked {}",
        outcomes[0], outcomes[1], outcomes[2], outcomes[3], outcomes[4]
    );
    // The one made module that there is without the corpus has few names to lose.
    let least = if originals.len() > 1 { budget / 50 } else { 0 };
    assert!(outcomes[3] > least && outcomes[4] > least, "{outcomes:?}: the damage is of one kind");
}
