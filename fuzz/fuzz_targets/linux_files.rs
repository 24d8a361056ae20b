//! `/proc/modules`, `/proc/keys`, `/dev/kmsg` and `trace_pipe`: whatever they hold, nothing panics, and what is read agrees with the text.
#![no_main]

use ferrmod_linux::{Record, Traced, parse_keys, parse_modules, variable};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    for module in parse_modules(text) {
        match module {
            Ok(module) => {
                assert!(!module.name.is_empty() && !module.name.contains(&b' '));
                assert!(module.users().all(|user| !user.is_empty() && user != "[permanent]"));
                let _ = module.is_permanent();
            }
            Err(fault) => assert!(fault.line >= 1 && fault.offset <= text.len() && !fault.to_string().is_empty()),
        }
    }
    let keys = parse_keys(text);
    assert!(keys.asymmetric.iter().all(|key| !key.id.is_empty() && keys.holds(&key.id)));
    assert!(keys.blacklist.iter().all(|digest| !digest.is_empty()));
    let _ = std::str::from_utf8(text).map(variable);
    if let Some(traced) = Traced::parse(text) {
        assert!(!traced.module.is_empty() && traced.task.len() <= 16);
        assert!(traced.module.len() + traced.taints.len() + traced.task.len() < text.len());
    }
    match Record::parse(text) {
        Ok(record) => {
            assert!(record.level < 8 && record.text.len() <= text.len());
            let _ = record.mentions(&record.text);
        }
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
});
