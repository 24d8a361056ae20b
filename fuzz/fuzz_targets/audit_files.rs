//! What an audit reads: lists of symbols with their modules, dpkg's lists, answers of rpm, ELF notes, baselines. Whatever they hold, nothing panics,
//! and what is read agrees with the text.
#![no_main]

use bstr::ByteSlice;
use ferrmod_audit::{Baseline, Owner, build_id, owner, owners, parse_diversions, parse_md5sums, parse_rpm};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let counted: usize = owners(text).values().sum();
    let lines = text.lines().filter(|line| matches!(owner(line), Owner::Module(_))).count();
    assert_eq!(counted, lines);
    for name in owners(text).keys() {
        assert!(!name.is_empty() && text.contains_str(name));
    }
    for line in parse_md5sums(text) {
        match line {
            Ok((sum, path)) => {
                let digits = sum.to_string();
                assert!(digits.len() == 32 && !path.is_empty());
                assert!(text.to_ascii_lowercase().contains_str(&digits));
            }
            Err(fault) => assert!(fault.line >= 1 && !fault.to_string().is_empty()),
        }
    }
    assert!(parse_diversions(text).count() <= text.lines().count() / 3);
    for file in parse_rpm(text) {
        match file {
            Ok(file) => {
                assert!(file.path.starts_with(b"/") && !file.package.is_empty());
                let digits = file.sum.map(|sum| sum.to_string()).unwrap_or_default();
                assert!(text.to_ascii_lowercase().contains_str(&digits));
            }
            Err(fault) => assert!(fault.line >= 1 && !fault.to_string().is_empty()),
        }
    }
    if let Some(id) = build_id(text) {
        assert!(!id.is_empty() && id.len() <= 128);
    }
    if let Ok(baseline) = Baseline::read(text) {
        let written = baseline.write().expect("what was read can be written");
        assert_eq!(Baseline::read(written.as_bytes()).expect("what was written can be read"), baseline);
    }
});
