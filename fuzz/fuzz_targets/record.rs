//! A record of use is a file that anybody may have written, and rules of a firewall come from another program: nothing panics, and what
//! is taken for a record holds together.
#![no_main]

use ferrmod_plan::policy::{Record, rules};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    for rule in rules(&text) {
        assert!((1..=text.lines().count()).contains(&rule.line));
    }
    let Ok(record) = serde_json::from_slice::<Record>(bytes) else { return };
    let Ok(record) = record.checked() else { return };
    assert_eq!(record.settled().is_none(), record.boots.is_empty());
    if let Some(settled) = record.settled() {
        assert!(settled.quiet >= 0.0 && settled.late.iter().all(|late| late.after <= settled.after));
    }
    let mut later = record.clone();
    later.look("again", "6.1", 1.0, [("x".to_owned(), true)]);
    assert!(later.checked().is_ok() && record.wanted().len() <= record.boots.iter().map(|boot| boot.modules.len()).sum());
});
