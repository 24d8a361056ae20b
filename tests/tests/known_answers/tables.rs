//! Character sets, both ways.

use ferrmod_machine::Argument::{In, Out, Value};

use crate::laboratory::Laboratory;

struct Table {
    uni2char: u64,
    char2uni: u64,
}

/// The functions of `struct nls_table`, found in the kernel's BTF.
fn table(lab: &mut Laboratory, charset: &str) -> Table {
    let mut text = charset.as_bytes().to_vec();
    text.push(0);
    let table = lab.call("load_nls", &[In(text)]).value;
    assert_ne!(table, 0, "{charset} is not there");
    let tree = ferrmod_tests::corpus::tree("6.1").unwrap();
    let facts = ferrmod_machine::facts_cache::open(&tree.vmlinuz).unwrap();
    let facts = ferrmod_image::facts::Facts::open(&facts).unwrap();
    let layout = facts.btf().struct_named("nls_table").unwrap();
    let mut function = |member: &str| {
        let offset = layout.member(member).unwrap().bit_offset / 8;
        lab.word(table + offset)
    };
    let found = Table { uni2char: function("uni2char"), char2uni: function("char2uni") };
    lab.call("unload_nls", &[Value(table)]);
    found
}

fn check(module: &str, charset: &str, pairs: &[(&[u8], char)]) {
    let Some(mut lab) = Laboratory::with(&[module]) else { return };
    let table = table(&mut lab, charset);
    for &(bytes, character) in pairs {
        let mut input = bytes.to_vec();
        input.resize(bytes.len().max(2), b'x');
        let called = lab.call_at(table.char2uni, &[In(input), Value(bytes.len() as u64), Out(2)]);
        assert_eq!(called.value as i32, bytes.len() as i32, "{charset} {bytes:x?}");
        assert_eq!(
            u16::from_le_bytes([called.buffers[0][0], called.buffers[0][1]]),
            character as u16,
            "{charset} {bytes:x?}"
        );
        let called = lab.call_at(table.uni2char, &[Value(character as u64), Out(6), Value(6)]);
        assert_eq!(called.value as i32, bytes.len() as i32, "{charset} {character}");
        assert_eq!(&called.buffers[0][..bytes.len()], bytes, "{charset} {character}");
    }
    lab.close();
}

/// Every character of a single-byte set that both sides know, by `encoding_rs`.
fn check_single_byte(module: &str, charset: &str, encoding: &'static encoding_rs::Encoding) {
    let decoded: Vec<(Vec<u8>, char)> = (0x20..=0xffu8)
        .filter_map(|byte| {
            let bytes = [byte];
            let text = encoding.decode_without_bom_handling_and_without_replacement(&bytes)?.into_owned();
            let character = text.chars().next()?;
            // Letters and ASCII. Linux's tables leave out some signs on the way back.
            (character.is_alphanumeric() || (' '..='~').contains(&character)).then(|| (vec![byte], character))
        })
        .collect();
    assert!(decoded.len() > 140, "{charset}");
    let pairs: Vec<(&[u8], char)> = decoded.iter().map(|(bytes, character)| (bytes.as_slice(), *character)).collect();
    check(module, charset, &pairs);
}

#[test]
fn koi8_r() {
    check_single_byte("nls_koi8_r", "koi8-r", encoding_rs::KOI8_R);
}

#[test]
fn cp866() {
    check_single_byte("nls_cp866", "cp866", encoding_rs::IBM866);
}

#[test]
fn iso8859_2() {
    check_single_byte("nls_iso8859_2", "iso8859-2", encoding_rs::ISO_8859_2);
}

#[test]
fn iso8859_5() {
    check_single_byte("nls_iso8859_5", "iso8859-5", encoding_rs::ISO_8859_5);
}

#[test]
fn cp437() {
    // From the published table of code page 437.
    let pairs: [(&[u8], char); 8] = [
        (b"A", 'A'),
        (b"\x80", 'Ç'),
        (b"\x81", 'ü'),
        (b"\x9c", '£'),
        (b"\xb0", '░'),
        (b"\xe1", 'ß'),
        (b"\xe3", 'π'),
        (b"\xfb", '√'),
    ];
    check("nls_cp437", "cp437", &pairs);
}

#[test]
fn cp932() {
    let pairs: [(&[u8], char); 5] =
        [(b"A", 'A'), (b"\x82\xa0", 'あ'), (b"\x83\x41", 'ア'), (b"\x93\xfa", '日'), (b"\x96\x7b", '本')];
    check("nls_cp932", "cp932", &pairs);
}

#[test]
fn cp936() {
    let pairs: [(&[u8], char); 4] = [(b"A", 'A'), (b"\xd6\xd0", '中'), (b"\xce\xc4", '文'), (b"\xb0\xa1", '啊')];
    check("nls_cp936", "cp936", &pairs);
}
