//! Agreement with the C library, which is what depmod and modprobe use.

use std::ffi::CString;

use ferrmod_index::fnmatch;
use proptest::prelude::*;

/// What fnmatch(3) says.
fn theirs(pattern: &[u8], text: &[u8]) -> bool {
    let (pattern, text) = (CString::new(pattern).unwrap(), CString::new(text).unwrap());
    // SAFETY: both are NUL-terminated strings that live as long as the call.
    unsafe { libc::fnmatch(pattern.as_ptr(), text.as_ptr(), 0) == 0 }
}

#[test]
fn hard_cases_agree() {
    let patterns: [&[u8]; 34] = [
        b"",
        b"*",
        b"?",
        b"**",
        b"a*",
        b"*a",
        b"[a]",
        b"[!a]",
        b"[^a]",
        b"[]a]",
        b"[!]a]",
        b"[a-c]",
        b"[c-a]",
        b"[a-]",
        b"[-a]",
        b"[a",
        b"a[",
        b"[",
        b"[]",
        b"[!]",
        b"[[:digit:]x]",
        b"[[:alpha:]",
        b"[[:nosuch:]]",
        b"[[.a.]-c]",
        b"[[=a=]]",
        b"\\*",
        b"\\",
        b"[\\]]",
        b"[a\\-c]",
        b"a/*b",
        b"[/]",
        b"*[0-9]*",
        b"[[:",
        b"[[:a",
    ];
    let texts: [&[u8]; 16] =
        [b"", b"a", b"b", b"-", b"]", b"[", b"a/b", b"a/.b", b".a", b"*", b"\\", b"5", b"x5y", b"ab", b"[a", b"[:"];
    for pattern in patterns {
        for text in texts {
            assert_eq!(
                fnmatch(pattern, text),
                theirs(pattern, text),
                "{} against {}",
                pattern.escape_ascii(),
                text.escape_ascii()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    // Without a dash in brackets next to a class, where POSIX leaves the meaning open.
    #[test]
    fn patterns_agree(pattern in "([ab?*]|\\[[!^]?[ab][abc]{0,2}(-c)?\\]|\\\\[*?a]){0,8}", text in "[abc*?]{0,10}") {
        prop_assert_eq!(fnmatch(pattern.as_bytes(), text.as_bytes()), theirs(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn any_pattern_gets_an_answer(pattern in proptest::collection::vec(any::<u8>(), 0..40), text in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = fnmatch(&pattern, &text);
    }
}
