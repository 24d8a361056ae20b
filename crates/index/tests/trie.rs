//! Reading tries: what was written is found, and what nobody writes is refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use bstr::ByteSlice;
use ferrmod_index::fnmatch;
use ferrmod_index::trie::{
    CHILDS, Entry, HEADER, MAGIC, NodeOrder, PREFIX, Trie, TrieError, TrieWriter, VALUES, VERSION,
};
use proptest::prelude::*;

fn written(entries: &[(&str, &str, u32)], order: NodeOrder) -> Vec<u8> {
    let mut writer = TrieWriter::new();
    for (key, value, priority) in entries {
        writer.insert(key.as_bytes(), value.as_bytes(), *priority).unwrap();
    }
    writer.finish(order).unwrap()
}

/// Everything in it, of which the lines are made as well, up to the same error.
fn dump(trie: &Trie) -> Result<Vec<Entry>, TrieError> {
    let mut entries = Vec::new();
    let ended =
        trie.each(|key, priority, value| entries.push(Entry { key: key.into(), value: value.into(), priority }));
    let mut lines = Vec::new();
    assert_eq!(trie.lines(b"alias ", |more| lines.extend_from_slice(more)), ended);
    let expected: Vec<u8> =
        entries.iter().flat_map(|entry| [&b"alias "[..], &entry.key, b" ", &entry.value, b"\n"].concat()).collect();
    assert!(lines == expected, "{} is not {}", lines.as_bstr(), expected.as_bstr());
    ended.map(|()| entries)
}

/// A file by its words and bytes.
fn file(root: u32, nodes: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [MAGIC, VERSION, root] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend_from_slice(nodes);
    bytes
}

/// The same trie in memory and in a file, which are read differently.
fn both(bytes: &[u8], test: &str) -> Vec<Result<Trie, TrieError>> {
    let path = std::env::temp_dir().join(format!("ferrmod-trie-{}-{test}", std::process::id()));
    fs::write(&path, bytes).unwrap();
    let tries = vec![Trie::from_bytes(bytes), Trie::open(&path)];
    fs::remove_file(&path).unwrap();
    tries
}

#[test]
fn finds_names_and_patterns() {
    let entries = [
        ("ext4", "kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko", 7),
        ("ext3", "kernel/fs/ext3.ko:", 8),
        ("pci:v00008086d000010D3sv*sd*bc*sc*i*", "e1000e", 3),
        ("pci:v00008086d*sv*sd*bc02sc*i*", "other", 1),
        ("pci:*", "all", 9),
        ("pci:v00008086d000010D[0-3]*", "bracket", 5),
        ("pci:v0000808?d*", "question", 5),
        ("e", "short", 0),
    ];
    for order in [NodeOrder::ParentFirst, NodeOrder::ChildrenFirst] {
        for trie in both(&written(&entries, order), "finds") {
            let trie = trie.unwrap();
            assert_eq!(trie.find(b"ext3").unwrap().unwrap().value, "kernel/fs/ext3.ko:");
            for absent in [&b""[..], b"ex", b"ext", b"ext44", b"f", b"\xff", b"pci:"] {
                assert_eq!(trie.find(absent), Ok(None), "{}", absent.as_bstr());
            }
            let found = trie.search(b"pci:v00008086d000010D3sv00008086sd0000A01Fbc02sc00i00").unwrap();
            let mut modules: Vec<_> = found.iter().map(|entry| entry.value.to_string()).collect();
            modules.sort();
            assert_eq!(modules, ["all", "bracket", "e1000e", "other", "question"]);
            assert_eq!(trie.search(b"e").unwrap().len(), 1);
            assert_eq!(dump(&trie).unwrap().len(), entries.len());
        }
    }
}

#[test]
fn an_empty_trie_has_nothing() {
    for trie in both(&file(HEADER, b""), "empty") {
        let trie = trie.unwrap();
        assert_eq!(trie.find(b"x"), Ok(None));
        assert_eq!(trie.search(b"x"), Ok(Vec::new()));
        assert_eq!(dump(&trie), Ok(Vec::new()));
    }
}

#[test]
fn other_files_are_refused() {
    let cases: [(&[u8], TrieError); 4] = [
        (b"", TrieError::Truncated { node: 0, at: 0 }),
        (b"junkjunkjunk", TrieError::Magic(0x6a75_6e6b)),
        (&[0xb0, 0x07, 0xf4, 0x57, 0, 3, 0, 1, 0, 0, 0, 12], TrieError::Version(0x0003_0001)),
        (&[0xb0, 0x07, 0xf4, 0x57, 0, 2], TrieError::Truncated { node: 0, at: 6 }),
    ];
    for (bytes, error) in cases {
        for trie in both(bytes, "other") {
            assert_eq!(trie.unwrap_err(), error);
        }
    }
    assert!(Trie::open(&std::env::temp_dir()).is_err());
    assert!(Trie::open(&PathBuf::from("/nonexistent/modules.dep.bin")).unwrap_err().is_absent());
}

#[test]
fn a_node_that_is_its_own_child_is_refused() {
    // The child at 'a' is the root.
    let root = CHILDS | HEADER;
    let bytes = file(root, &[&b"aa"[..], &root.to_be_bytes()].concat());
    for trie in both(&bytes, "self") {
        let trie = trie.unwrap();
        assert!(matches!(dump(&trie), Err(TrieError::Tangled(_))));
        // Names come to their end, however long.
        assert_eq!(trie.find(&[b'a'; 100_000]), Ok(None));
        assert_eq!(trie.search(&[b'a'; 100_000]), Ok(Vec::new()));
    }
}

#[test]
fn nodes_that_are_shared_do_not_multiply() {
    // Each node has the next one twice: 2^60 ways to its end.
    let mut nodes = Vec::new();
    for depth in 0..60_u32 {
        let next = (CHILDS | HEADER) + (depth + 1) * 10;
        nodes.extend_from_slice(b"ab");
        nodes.extend_from_slice(&next.to_be_bytes());
        nodes.extend_from_slice(&next.to_be_bytes());
    }
    nodes.extend_from_slice(b"**");
    nodes.extend_from_slice(&(CHILDS | HEADER).to_be_bytes());
    for trie in both(&file(CHILDS | HEADER, &nodes), "shared") {
        let trie = trie.unwrap();
        assert!(matches!(dump(&trie), Err(TrieError::Tangled(_))));
        assert!(matches!(trie.search(&[b'a'; 61]), Err(TrieError::Tangled(_))));
    }
}

#[test]
fn what_ends_too_early_is_refused() {
    let unterminated = file(PREFIX | VALUES | HEADER, b"abc");
    let value = file(VALUES | HEADER, &[0, 0, 0, 1, 0, 0, 0, 0, b'x', b'y']);
    let count = file(VALUES | HEADER, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, b'x', 0]);
    let range = file(CHILDS | HEADER, b"ba\0\0\0\0");
    let outside = file(CHILDS | 0x0fff_ff00, b"");
    let header = file(CHILDS | 4, b"aa\0\0\0\0");
    for bytes in [unterminated, value, count, range, outside, header] {
        for trie in both(&bytes, "early") {
            let trie = trie.unwrap();
            assert!(dump(&trie).is_err(), "{:?}", bytes.as_bstr());
            let _ = (trie.find(b""), trie.find(b"abcd"), trie.search(b""), trie.search(b"abcd"));
        }
    }
}

#[test]
fn a_file_that_is_cut_off_while_it_is_open_is_an_error() {
    let entries: Vec<(String, String, u32)> =
        (0..5000).map(|number| (format!("key{number:05}"), format!("value{number}"), number)).collect();
    let entries: Vec<_> = entries.iter().map(|(key, value, number)| (key.as_str(), value.as_str(), *number)).collect();
    let path = std::env::temp_dir().join(format!("ferrmod-trie-{}-cut", std::process::id()));
    fs::write(&path, written(&entries, NodeOrder::ParentFirst)).unwrap();
    let trie = Trie::open(&path).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(5000).unwrap();
    let found = trie.find(b"key04999");
    fs::remove_file(&path).unwrap();
    assert!(matches!(found, Err(TrieError::Truncated { .. })), "{found:?}");
}

fn keys() -> impl Strategy<Value = Vec<(String, String, u32)>> {
    let key = prop_oneof![
        "[ab]{0,6}",
        "[ab*?]{0,5}",
        "[ab]{0,3}\\[[ab]-[bc]\\][ab*]{0,3}",
        "[a-c]{1,3}\\[\\![a]\\]",
        "[ -~]{0,8}",
        // About as long as what is copied at once, or longer.
        "a[a-c]{10,20}",
        "b[a-c]{40,130}",
        "c[a-c]{250,600}"
    ];
    let value = prop_oneof![4 => "[a-z]{0,5}", 1 => "[a-z]{10,40}", 1 => "[a-z]{60,130}"];
    prop::collection::vec((key, value, 0..4_u32), 0..40)
}

proptest! {
    #[test]
    fn a_written_trie_is_read_back(entries in keys(), names in prop::collection::vec("[abc]{0,7}", 0..20)) {
        let list: Vec<_> = entries.iter().map(|(key, value, priority)| (key.as_str(), value.as_str(), *priority)).collect();
        let mut expected: BTreeMap<&[u8], Vec<(u32, &str)>> = BTreeMap::new();
        for (key, value, priority) in &list {
            let values = expected.entry(key.as_bytes()).or_default();
            // The newest first among equals.
            let at = values.iter().position(|(other, _)| other >= priority).unwrap_or(values.len());
            values.insert(at, (*priority, value));
        }
        let flat: Vec<_> = expected
            .iter()
            .flat_map(|(key, values)| values.iter().map(move |(priority, value)| (key.to_vec(), *priority, value.to_string())))
            .collect();
        for order in [NodeOrder::ParentFirst, NodeOrder::ChildrenFirst] {
            let trie = Trie::from_bytes(&written(&list, order)).unwrap();
            let read: Vec<_> = dump(&trie)
                .unwrap()
                .into_iter()
                .map(|entry| (entry.key.to_vec(), entry.priority, entry.value.to_string()))
                .collect();
            prop_assert_eq!(&read, &flat);
            for (key, values) in &expected {
                let found = trie.find(key).unwrap().unwrap();
                prop_assert_eq!((found.priority, found.value.to_string()), (values[0].0, values[0].1.to_owned()));
            }
            for name in &names {
                let mut found: Vec<_> =
                    trie.search(name.as_bytes()).unwrap().into_iter().map(|entry| (entry.key.to_vec(), entry.value.to_string())).collect();
                let is_pattern = |key: &[u8]| key.find_byteset(b"*?[").is_some();
                let mut matching: Vec<_> = flat
                    .iter()
                    .filter(|(key, _, _)| if is_pattern(key) { fnmatch(key, name.as_bytes()) } else { key == name.as_bytes() })
                    .map(|(key, _, value)| (key.clone(), value.clone()))
                    .collect();
                found.sort();
                matching.sort();
                // A backslash before the first wildcard is taken literally on the way down, as in kmod.
                matching.retain(|(key, _)| {
                    let wild = key.find_byteset(b"*?[").unwrap_or(key.len());
                    !key[..wild].contains(&b'\\')
                });
                prop_assert_eq!(found, matching);
            }
        }
    }

    #[test]
    fn damage_is_no_panic(entries in keys(), damage in prop::collection::vec((any::<u16>(), any::<u8>()), 1..8), cut in any::<u16>()) {
        let list: Vec<_> = entries.iter().map(|(key, value, priority)| (key.as_str(), value.as_str(), *priority)).collect();
        let mut bytes = written(&list, NodeOrder::ParentFirst);
        for (at, byte) in damage {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len().max(1) - usize::from(cut) % 8);
        if let Ok(trie) = Trie::from_bytes(&bytes) {
            let _ = (dump(&trie), trie.find(b"ab"), trie.search(b"abab"), trie.find(b""), trie.search(b""));
        }
    }
}

#[test]
fn a_trie_of_many_windows_is_listed_whole() {
    // Longer than a window, with a node that is longer than what two windows share.
    let mut entries: Vec<(String, String, u32)> = (0..8000_u32)
        .map(|number| (format!("key{:05x}", number.wrapping_mul(0x9e37) & 0xfffff), format!("module_{number}"), number))
        .collect();
    entries.push((format!("key{}", "x".repeat(20_000)), "long".to_owned(), 9000));
    entries.extend((0..2000).map(|number| ("shared".to_owned(), format!("value_{number}"), 10_000 + number)));
    let entries: Vec<_> = entries.iter().map(|(key, value, priority)| (&**key, &**value, *priority)).collect();
    for order in [NodeOrder::ParentFirst, NodeOrder::ChildrenFirst] {
        let bytes = written(&entries, order);
        assert!(bytes.len() > 3 * 64 * 1024);
        let mut expected: Vec<_> = entries
            .iter()
            .map(|(key, value, priority)| Entry { key: (*key).into(), value: (*value).into(), priority: *priority })
            .collect();
        expected.sort_by(|a, b| (&a.key, a.priority, &a.value).cmp(&(&b.key, b.priority, &b.value)));
        for trie in both(&bytes, "windows") {
            let mut found = dump(&trie.unwrap()).unwrap();
            assert!(found.is_sorted_by_key(|entry| entry.key.clone()), "{order:?}");
            found.sort_by(|a, b| (&a.key, a.priority, &a.value).cmp(&(&b.key, b.priority, &b.value)));
            assert!(found == expected, "{order:?}");
        }
    }
}
