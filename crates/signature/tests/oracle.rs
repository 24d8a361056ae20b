//! What the stock kernel said to signatures that were changed by hand, this crate says too.

use std::fs;

use ferrmod_image::kernel::KernelImage;
use ferrmod_image::linux::signature_of;
use ferrmod_signature::{Digest, Keyring, Refusal, verify};
use ferrmod_tests::corpus;

const RECORDING: &str = include_str!("data/linux-6.1-signatures.txt");

/// Messages that are judged differently, and why.
const OTHERWISE: [(&str, &str); 6] = [
    ("12-digest-sha384", "the recorded machine could not load the module with SHA-384"),
    ("13-digest-both-sha384", "the same"),
    ("12-digest-sha512", "the recorded machine could not load the module with SHA-512"),
    ("13-digest-both-sha512", "the same"),
    ("12-digest-md5", "MD5 vouches for nothing, so it is known by name only"),
    ("13-digest-both-md5", "the same"),
];

/// BER that is no DER: Linux reads it, and no tool writes it.
const NO_DER: [&str; 1] = ["58-indefinite"];

struct Stage {
    keyring: Keyring,
    module: Vec<u8>,
    signature: Vec<u8>,
    trailer: Vec<u8>,
}

fn stage() -> Option<Stage> {
    let tree = corpus::tree_or_skip("6.1")?;
    let file = fs::read(tree.file("crc7").unwrap()).unwrap();
    let recorded = RECORDING.lines().find_map(|line| line.strip_prefix("# sha256 ")).unwrap();
    if Digest::Sha256.of(&[&file]).unwrap().to_string() != recorded {
        corpus::skip("the crc7.ko that was recorded", "another build of Debian's kernel is here");
        return None;
    }
    let image = fs::read(&tree.vmlinuz).unwrap();
    let image = KernelImage::read(&image).unwrap();
    let mut keyring = Keyring::new();
    assert!(keyring.add_der(image.certificates(), "vmlinuz").unwrap() >= 1);
    let envelope = signature_of(&file).unwrap().unwrap();
    let (module, trailer) = file.split_at(file.len() - envelope.trailer);
    let signature = envelope.pkcs7[envelope.pkcs7.len() - 512..].to_vec();
    Some(Stage { keyring, module: module.to_vec(), signature, trailer: trailer.to_vec() })
}

/// The result in the recording's words, and whether anything about the message was found odd.
fn judge(stage: &Stage, file: &[u8]) -> (String, bool, Option<Refusal>) {
    match verify(file, &stage.keyring) {
        Ok(signed) => ("0".into(), !signed.oddities.is_empty(), None),
        Err(refusal) if refusal.is_unsigned() => ("0E".into(), true, Some(refusal)),
        Err(refusal) => (format!("-{}", refusal.errno()), true, Some(refusal)),
    }
}

fn unhex(text: &str, stage: &Stage) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        match first {
            b'S' => out.extend(&stage.signature),
            b'M' => out.extend(&stage.module),
            _ => out.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap()),
        }
        rest = if first.is_ascii_uppercase() { tail } else { &rest[2..] };
    }
    out
}

#[test]
fn messages_are_judged_as_linux_judges_them() {
    let Some(stage) = stage() else { return };
    let (mut wrong, mut compared) = (Vec::new(), 0);
    let mut lines = RECORDING.lines().filter(|line| !line.starts_with('#')).peekable();
    while let Some(line) = lines.next() {
        let Some(line) = line.strip_prefix("message ") else { continue };
        let words: Vec<&str> = line.split(' ').collect();
        let [name, result, taint, hex] = words[..] else { panic!("{line}") };
        let mut log = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("  ")) {
            log.push(line.trim_start());
        }
        let message = unhex(hex, &stage);
        let length = (message.len() as u32).to_be_bytes();
        let file = [&stage.module[..], &message, &[0, 0, 2, 0, 0, 0, 0, 0], &length, b"~Module signature appended~\n"]
            .concat();
        let (ours, _, refusal) = judge(&stage, &file);
        let theirs = format!("{result}{}", if taint == "E" { "E" } else { "" });
        compared += 1;
        if OTHERWISE.iter().any(|(other, _)| *other == name) {
            assert_ne!(ours, "0", "{name}");
        } else if NO_DER.contains(&name) {
            assert_eq!(ours, "-74", "{name}");
        } else if ours != theirs {
            wrong.push(format!("{name}: Linux {theirs} {log:?}, ours {ours} {refusal:?}"));
        }
        // Every line we write is one that Linux wrote.
        for (level, text) in refusal.iter().flat_map(Refusal::log_lines) {
            let said = format!("{level} {text}");
            let found = log.iter().any(|line| *line == said);
            let attributes = name.starts_with("53") || name.starts_with("47");
            assert!(found || attributes, "{name}: Linux {log:?}, ours {said}");
        }
    }
    assert!(compared > 100, "{compared}");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn flipped_bytes_are_judged_as_linux_judges_them() {
    let Some(stage) = stage() else { return };
    let (mut wrong, mut compared, mut stricter) = (Vec::new(), 0, 0);
    for line in RECORDING.lines().filter_map(|line| line.strip_prefix("flip ")) {
        let (range, results) = line.split_once(' ').unwrap();
        let (first, last) = range.split_once('-').unwrap();
        for at in first.parse::<usize>().unwrap()..=last.parse().unwrap() {
            for result in results.split(' ') {
                let (xors, theirs) = result.split_once(':').unwrap();
                for xor in if xors == "*" { "01 80 20 ff 04 02" } else { xors }.split(' ') {
                    let mut trailer = stage.trailer.clone();
                    trailer[at] ^= u8::from_str_radix(xor, 16).unwrap();
                    let file = [&stage.module[..], &trailer].concat();
                    let (ours, odd, refusal) = judge(&stage, &file);
                    compared += 1;
                    assert!(odd, "byte {at} ^ {xor} is not noticed");
                    let no_der = matches!(refusal, Some(Refusal::Message(_)));
                    // The digest becomes SHA-512, which the recorded machine could not load.
                    if ours == theirs || (at, xor) == (149, "02") {
                        continue;
                    }
                    // What is no DER is refused as such, where Linux reads over it or finds another fault first.
                    if no_der {
                        stricter += 1;
                    } else {
                        wrong.push(format!("byte {at} ^ {xor}: Linux {theirs}, ours {ours} {refusal:?}"));
                    }
                }
            }
        }
    }
    assert!(compared > 1200, "{compared}");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(stricter < compared / 4, "{stricter} of {compared}");
    println!("{compared} changes, {stricter} refused as no DER where Linux gave another answer");
}
