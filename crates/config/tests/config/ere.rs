//! The patterns for kernel versions in depmod.d, against regcomp(3) and regexec(3).
#![expect(unsafe_code, reason = "calls the C library, which is the oracle")]

use std::ffi::CString;
use std::mem::MaybeUninit;

use proptest::prelude::*;

use ferrmod_config::depmod::Config;

/// What the C library says: `None` when the pattern is none.
fn oracle(pattern: &str, text: &str) -> Option<bool> {
    let pattern = CString::new(pattern).expect("no NUL");
    let text = CString::new(text).expect("no NUL");
    let mut compiled = MaybeUninit::<libc::regex_t>::uninit();
    // SAFETY: 1. both strings end in NUL; 2. `compiled` is only used, and freed once, when regcomp filled it in.
    unsafe {
        if libc::regcomp(compiled.as_mut_ptr(), pattern.as_ptr(), libc::REG_EXTENDED | libc::REG_NOSUB) != 0 {
            return None;
        }
        let found = libc::regexec(compiled.as_ptr(), text.as_ptr(), 0, std::ptr::null_mut(), 0) == 0;
        libc::regfree(compiled.as_mut_ptr());
        Some(found)
    }
}

/// What a line with this pattern says.
fn ours(pattern: &str, text: &str) -> Option<bool> {
    // A backslash is one only behind another.
    let line = format!("override m {} folder", pattern.replace('\\', "\\\\"));
    let config = Config::from_text("a.conf".into(), line.into(), true, text.as_bytes());
    config.warnings().is_empty().then(|| config.overrides().next().is_some())
}

#[test]
fn kernels() {
    for (pattern, text, found) in [
        ("6.1.0-56-amd64", "6.1.0-56-amd64", true),
        (r"^6\.1\.", "6.1.0-56-amd64", true),
        (r"^6\.1\.", "16.1.0", false),
        ("(amd64|arm64)$", "6.1.0-56-amd64", true),
        ("^[0-9]+([.][0-9]+){2}-", "6.1.0-56-amd64", true),
        ("(|x)", "anything", true),
    ] {
        assert_eq!(ours(pattern, text), Some(found), "{pattern}");
        assert_eq!(oracle(pattern, text), Some(found), "{pattern}");
    }
    assert_eq!(ours("((((a{999}){999}){999}){999})", "a"), None);
    assert_eq!(ours("((((){9999}){9999}){9999})", "a"), None);
    assert_eq!(ours(&"(".repeat(100_000), "a"), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, max_global_rejects: 100_000, ..ProptestConfig::default() })]
    #[test]
    fn as_the_c_library(pattern in r"([ab.^$|()]|\(a|b\)|\[[\^]?[]ab-]+\]|a\{[0-3]?,?[0-3]?\}|[ab)][*+?]|\\[.*\\]){0,7}", text in "[ab.*\\-]{0,6}") {
        // Anchors in the middle, and repeated ones, are where C libraries differ from each other.
        prop_assume!(!pattern.is_empty() && pattern != "*" && !odd(&pattern));
        prop_assert_eq!(ours(&pattern, &text), oracle(&pattern, &text));
    }
}

/// A repetition of an anchor or of nothing.
fn odd(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    bytes.windows(2).any(|two| matches!(two, [b'^' | b'$' | b'|' | b'(', b'*' | b'+' | b'?' | b'{']))
}
