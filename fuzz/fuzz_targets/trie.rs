//! Tries: whatever the bytes are, looking into them ends, soon, and what is found agrees with what is listed.
#![no_main]

use bstr::ByteSlice;
use ferrmod_index::trie::Trie;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The first bytes say what to look for.
    let (length, rest) = bytes.split_first().unwrap_or((&0, bytes));
    let (name, rest) = rest.split_at(usize::from(*length).min(rest.len()));
    let Ok(trie) = Trie::from_bytes(rest) else { return };
    let found = trie.find(name);
    let matching = trie.search(name);
    let mut listed = Vec::new();
    let (mut size, mut lines) = (0, Vec::new());
    let ended = trie.lines(b"alias ", |more| lines.extend_from_slice(more));
    let mut rest_of_lines = lines.as_slice();
    let each = trie
        .each(|key, _, value| {
            size += value.len();
            for part in [&b"alias "[..], key, b" ", value, b"\n"] {
                rest_of_lines = rest_of_lines.strip_prefix(part).expect("lines that are not what is listed");
            }
            if key == name {
                listed.push(value.to_vec());
            }
        });
    assert_eq!(ended, each);
    assert!(rest_of_lines.is_empty());
    if each.is_ok() {
        assert!(size <= rest.len(), "more text than there are bytes");
        if let (Ok(Some(found)), false) = (&found, name.contains(&0)) {
            assert!(listed.iter().any(|value| value.as_slice() == found.value.as_bytes()));
        }
        if let (Ok(matching), Ok(Some(found))) = (&matching, &found)
            && name.find_byteset(b"*?[\\").is_none()
        {
            assert!(matching.iter().any(|entry| entry.value == found.value));
        }
    }
});
