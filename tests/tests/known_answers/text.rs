//! Text search through the kernel's textsearch interface.

use ferrmod_machine::Argument::{In, Out, Value};

use crate::laboratory::Laboratory;

/// `GFP_KERNEL`, and `TS_AUTOLOAD`
const KERNEL: u64 = 0xcc0;
const AUTOLOAD: u64 = 1;

fn find(algorithm: &str) {
    let Some(mut lab) = Laboratory::with(&[&format!("ts_{algorithm}")]) else { return };
    let text = b"a needle in a haystack, and needless to say another needle";
    for (pattern, wanted) in
        [(&b"needle"[..], Some(2)), (b"haystack", Some(14)), (b"needles", Some(28)), (b"absent", None)]
    {
        let mut name = algorithm.as_bytes().to_vec();
        name.push(0);
        let config = lab
            .call(
                "textsearch_prepare",
                &[In(name), In(pattern.to_vec()), Value(pattern.len() as u64), Value(KERNEL), Value(AUTOLOAD)],
            )
            .value;
        assert!((config as i64) > 0, "{algorithm}: error {}", config as i64);
        let called = lab
            .call("textsearch_find_continuous", &[Value(config), Out(64), In(text.to_vec()), Value(text.len() as u64)]);
        let found = (called.value as u32 != u32::MAX).then_some(called.value as u32 as usize);
        assert_eq!(found, wanted, "{algorithm}: {:?}", std::str::from_utf8(pattern));
        lab.call("textsearch_destroy", &[Value(config)]);
    }
    lab.close();
}

#[test]
fn knuth_morris_pratt() {
    find("kmp");
}

#[test]
fn boyer_moore() {
    find("bm");
}
