//! Modules as depmod reads them: whatever the bytes are, nothing panics, and what is read goes into an index and comes out of it.
//!
//! Good seeds are small modules: `cargo fuzz run depmod_module fuzz/seeds/image_module`.
#![no_main]

use std::collections::BTreeSet;

use ferrmod_index::depmod::module_facts;
use ferrmod_index::trie::{NodeOrder, Trie, TrieWriter};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let facts = match module_facts(bytes) {
        Ok(facts) => facts,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let exports = facts.exports.iter().map(|(name, _)| name);
    let imports = facts.imports.iter().map(|(name, _)| name);
    assert!(imports.clone().all(|name| !name.is_empty() && !name.contains(&0)));

    let mut writer = TrieWriter::new();
    let mut wanted = BTreeSet::new();
    for (priority, key) in exports.chain(imports).chain(&facts.aliases).enumerate() {
        if writer.insert(key, b"module", priority as u32).is_ok() {
            wanted.insert((key.to_vec(), priority as u32));
        }
    }
    for order in [NodeOrder::ParentFirst, NodeOrder::ChildrenFirst] {
        let file = writer.finish(order).expect("fits");
        let mut found = BTreeSet::new();
        let trie = Trie::from_bytes(&file).expect("what was written is read");
        trie.each(|key, priority, _| {
            found.insert((key.to_vec(), priority));
        })
        .expect("whole");
        assert_eq!(found, wanted);
    }
});
