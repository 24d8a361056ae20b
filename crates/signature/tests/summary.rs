//! The signature fields are those that kmod prints.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use ferrmod_image::compress::decompress;
use ferrmod_signature::summary;
use ferrmod_tests::corpus;

/// What `modinfo` prints of a signature, as its own lines are.
fn theirs(path: &Path) -> Vec<(String, String)> {
    let output = Command::new("modinfo").arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).replace("\n\t\t", "");
    let fields = ["sig_id", "signer", "sig_key", "sig_hashalgo", "signature"];
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| fields.contains(key))
        .map(|(key, value)| (key.to_owned(), value.trim_start().to_owned()))
        .collect()
}

fn ours(file: &[u8]) -> Vec<(String, String)> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let Some(found) = summary(file) else { return Vec::new() };
    let fields = [
        ("sig_id", found.id.to_owned()),
        ("signer", found.signer.map(ToString::to_string).unwrap_or_default()),
        ("sig_key", hex(found.key)),
        ("sig_hashalgo", found.digest.to_owned()),
        ("signature", hex(found.signature)),
    ];
    fields.map(|(key, value)| (key.to_owned(), value)).into()
}

fn has_modinfo() -> bool {
    let found = Command::new("modinfo").arg("--version").output().is_ok();
    if !found {
        corpus::skip("modinfo", "install the package kmod");
    }
    found
}

#[test]
fn fields_are_those_of_kmod() {
    if !has_modinfo() {
        return;
    }
    for version in ["6.1", "6.12"] {
        let Some(tree) = corpus::tree_or_skip(version) else { continue };
        for path in tree.files().iter().step_by(97) {
            let file = decompress(&fs::read(path).unwrap(), 1 << 30).unwrap().into_owned();
            assert_eq!(theirs(path), ours(&file), "{}", path.display());
            assert!(!ours(&file).is_empty());
        }
    }
}

/// A file with this trailer behind a module.
fn made(name: &str, body: &[u8], behind: &[u8], info: [u8; 5], length: u32) -> (PathBuf, Vec<u8>) {
    let marker = b"~Module signature appended~\n";
    let file = [body, behind, &info, &[0; 3], &length.to_be_bytes(), marker].concat();
    let path = env::temp_dir().join(format!("ferrmod-summary-{}-{name}.ko", std::process::id()));
    fs::write(&path, &file).unwrap();
    (path, file)
}

#[test]
fn trailers_of_every_kind_are_read_as_kmod_reads_them() {
    let Some(tree) = corpus::tree_or_skip("6.1") else { return };
    if !has_modinfo() {
        return;
    }
    let file = fs::read(tree.file("crc7").unwrap()).unwrap();
    let trailer = ferrmod_image::linux::signature_of(&file).unwrap().unwrap();
    let (body, pkcs7) = (&file[..file.len() - trailer.trailer], trailer.pkcs7);
    let mut cases = Vec::new();
    for digest in 0..11 {
        for algorithm in 0..3 {
            for id in 0..4 {
                let behind = b"Some signerKEYIDSIGNATURE!";
                cases.push((&behind[..], [algorithm, digest, id, 11, 5], 10));
            }
        }
    }
    let trailing = [pkcs7, b"abc"].concat();
    cases.push((pkcs7, [0, 0, 2, 0, 0], pkcs7.len() as u32));
    cases.push((pkcs7, [1, 4, 2, 9, 9], pkcs7.len() as u32));
    cases.push((&trailing, [0, 0, 2, 0, 0], trailing.len() as u32));
    cases.push((&pkcs7[..600], [0, 0, 2, 0, 0], 600));
    cases.push((b"", [0, 4, 1, 0, 0], 0));
    cases.push((b"abc", [0, 4, 1, 0, 0], 3));
    cases.push((b"abc", [0, 4, 1, 0, 0], u32::MAX));
    for (index, (behind, info, length)) in cases.iter().enumerate() {
        let (path, file) = made(&index.to_string(), body, behind, *info, *length);
        let theirs = theirs(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!(theirs, ours(&file), "{info:?} {length}");
    }
}
