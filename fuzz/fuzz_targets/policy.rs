//! A policy file and a kernel's command line are whatever an administrator or an attacker wrote: nothing panics, an error names its line,
//! and what a policy comes to on a kernel does not depend on how often it is read.
#![no_main]

use ferrmod_plan::check::{KernelConfig, Policy, Rules};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut policy = match Policy::parse("policy", &text) {
        Ok(policy) => policy,
        Err(error) => {
            assert!(error.line >= 1 && error.line <= text.lines().count());
            assert!(error.to_string().starts_with("policy:"));
            Policy::default()
        }
    };
    policy.command_line("/proc/cmdline", &text);
    // The same words twice are the same order, but for the lists that grow.
    let config = KernelConfig::new("config".to_owned(), bytes);
    let rules = Rules::new(&policy, &config);
    assert_eq!(rules, Rules::new(&policy, &config));
    let _ = rules.blacklists("x");
    let mut again = Policy::default();
    again.add(policy.clone());
    assert_eq!(again, policy);
});
