//! The image of a file system, and what it was made of.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::folder;

/// The images' names.
pub(crate) const IMAGES: [&str; 2] = ["image.romfs", "image.iso"];

/// The bytes that `fill LENGTH SEED` of a script writes.
pub(crate) fn pattern(length: u64, seed: u64) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251 + seed) as u8).collect()
}

/// The files of the image: of no bytes, of fewer than a page, of a page, of many.
pub(crate) fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("empty", Vec::new()),
        ("one", b"one\n".to_vec()),
        ("page", pattern(4096, 1)),
        ("large", pattern(61_234, 2)),
        ("deep/other", pattern(5000, 3)),
        ("deep/er/bottom", pattern(9001, 4)),
    ]
}

/// An image. When answers are recorded and it is not there, genromfs or genisoimage makes it.
pub(crate) fn image(name: &str) -> Vec<u8> {
    let path = folder().join(name);
    if std::env::var_os("FERRMOD_RECORD").is_some() && !path.exists() {
        make(&path);
    }
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn make(path: &Path) {
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("use-image");
    let _ = fs::remove_dir_all(&source);
    for (name, content) in files() {
        let path = source.join(name);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
        fs::write(path, content).expect("a file can be written");
    }
    std::os::unix::fs::symlink("deep/other", source.join("link")).expect("a link can be made");
    fs::create_dir_all(folder()).expect("a folder can be made");
    let mut maker = if path.extension().is_some_and(|kind| kind == "iso") {
        let mut maker = Command::new("genisoimage");
        maker.args(["-quiet", "-no-pad", "-R", "-V", "FERRMOD", "-o"]).arg(path).arg(&source);
        maker
    } else {
        let mut maker = Command::new("genromfs");
        maker.args(["-V", "ferrmod", "-d"]).arg(&source).arg("-f").arg(path);
        maker
    };
    assert!(maker.status().is_ok_and(|status| status.success()), "{maker:?} does not make the image");
    let _ = fs::remove_dir_all(source);
}

/// The 64-bit FNV-1a hash of bytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// What Linux said of the files is what they were made of.
pub(crate) fn check() {
    for kind in ["romfs", "iso9660", "loop-iso9660"] {
        let path = folder().join(format!("{kind}.linux-6.1"));
        let recorded = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let answers = crate::script::answers(&recorded);
        for (name, content) in files() {
            let answer = format!("{} #{:016x}", content.len(), hash(&content));
            assert!(
                answers.contains(&(format!("sum /mnt/{name}"), vec![answer.clone()])),
                "{kind}: {name} is not {answer} in the answers"
            );
        }
    }
}
