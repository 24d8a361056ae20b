//! Configurations: whatever the bytes are, reading ends, every question has an answer, and what is printed reads the same again.
//!
//! The text is read as modprobe.d, as depmod.d and as the kernel command line.
#![no_main]

use ferrmod_config::{Config, Entry, Kind, depmod};
use libfuzzer_sys::fuzz_target;

const KINDS: [Kind; 9] = [
    Kind::Alias,
    Kind::Blacklist,
    Kind::Options,
    Kind::Install,
    Kind::Remove,
    Kind::Softdep,
    Kind::Weakdep,
    Kind::Mask,
    Kind::Allow,
];

/// What a directive says, without where.
fn meaning(entry: &Entry<'_>) -> (Vec<u8>, Vec<u8>) {
    let value = match entry.kind {
        Kind::Weakdep => bstr::join(" ", entry.words()),
        Kind::Softdep => {
            let (pre, post) = entry.soft_dependencies();
            [bstr::join(" ", pre), b" | ".to_vec(), bstr::join(" ", post)].concat()
        }
        _ => entry.value.to_vec(),
    };
    (entry.name.to_vec(), value)
}

/// The directive as a line of a file.
fn line(entry: &Entry<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    if entry.kind == Kind::Softdep {
        // Printed, `post:` sticks to the word before it.
        line.extend_from_slice(&[b"softdep ", &**entry.name, b" ", &**entry.value].concat());
    } else {
        entry.write_to(&mut line);
        if entry.kind == Kind::Weakdep && entry.words().next().is_none() {
            line.extend_from_slice(b" ");
        }
    }
    line.into_iter().flat_map(|byte| if byte == b'\\' { vec![b'\\', byte] } else { vec![byte] }).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let config = Config::from_text("a.conf".into(), bytes.to_vec(), true);
    for warning in config.warnings() {
        assert!(warning.columns.start <= warning.columns.end && warning.columns.end <= warning.text.len());
        assert!(!warning.message().is_empty() && !warning.depmod_message().is_empty());
        let shown = warning.render();
        assert!(!shown.contains(|letter: char| letter.is_control() && letter != '\n'), "{shown:?}");
    }
    let mut again = Vec::new();
    for kind in KINDS {
        for entry in config.entries(kind) {
            again.extend(line(&entry));
            again.push(b'\n');
            for name in [&**entry.name, &**entry.value, bytes] {
                let _ = (config.aliases(name).count(), config.blacklist(name), config.install(name), config.remove(name));
                let _ = (config.options_text(name, Some(name)), config.soft_dependencies(name), config.allowed(name));
                let _ = (config.weakdeps(name).count(), config.mask(name));
            }
        }
    }
    let read = Config::from_text("b.conf".into(), again, true);
    assert_eq!(read.warnings(), []);
    for kind in KINDS {
        let before: Vec<_> = config.entries(kind).map(|entry| meaning(&entry)).collect();
        let after: Vec<_> = read.entries(kind).map(|entry| meaning(&entry)).collect();
        assert_eq!(before, after);
    }

    let config = Config::from_command_line(bytes);
    for kind in KINDS {
        config.entries(kind).for_each(|entry| assert!(entry.origin.trusted));
    }
    let config = depmod::Config::from_text("a.conf".into(), bytes.to_vec(), true, b"6.1.0-56-amd64");
    assert!(config.search().next().is_some());
    let _ = (config.overrides().count(), config.external().count(), config.exclude().count());
    for warning in config.warnings() {
        assert!(!warning.depmod_message().is_empty() && !warning.render().is_empty());
    }
});
