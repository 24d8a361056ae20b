//! Command lines: whatever the words are, reading them ends, and no word is lost or made up.
//!
//! The first byte chooses the applet, the rest are the arguments, each up to a NUL.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use ferrmod_tools::{APPLETS, Getopt, Order, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let Some(applet) = APPLETS.get(usize::from(choice >> 1) % APPLETS.len()) else { return };
    let order = if choice & 1 == 0 { Order::Permute } else { Order::Require };
    let arguments: Vec<OsString> =
        rest.split(|&byte| byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
    let mut options = Getopt::new("kmod".into(), applet.flags, arguments.clone(), order);
    let letters: usize = arguments.iter().map(|word| word.len()).sum();
    let mut found = 0;
    loop {
        match options.next() {
            Ok(Some(option)) => {
                found += 1;
                assert!(found <= letters, "more options than letters");
                let flag = applet.flags.iter().find(|flag| flag.id == option.id).expect("an option of the table");
                assert_eq!(matches!(flag.value, Value::Required(_)), option.value.is_some());
                if let Some(value) = &option.value {
                    assert!(arguments.iter().any(|word| word.as_bytes().ends_with(value.as_bytes())));
                }
            }
            Ok(None) => break,
            Err(error) => {
                assert!(error.line().starts_with(b"kmod: "));
                return;
            }
        }
    }
    let operands = options.operands();
    // Operands are arguments, in their order.
    let mut left = arguments.iter();
    for operand in &operands {
        assert!(left.any(|word| word == operand), "{operand:?} is no argument, or out of order");
    }
});
