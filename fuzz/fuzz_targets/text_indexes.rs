//! Text indexes of a tree (`modules.dep`, `modules.alias`, ...): whatever they hold, every question about the tree ends in an answer.
//!
//! The bytes are the files, each up to a 0xff, behind the name that is asked for. They are written to a folder in memory.
#![no_main]

use std::cell::OnceCell;
use std::fs;
use std::path::PathBuf;

use ferrmod_index::{Index, Tree};
use libfuzzer_sys::fuzz_target;

const FILES: [&str; 6] = [
    "modules.dep",
    "modules.alias",
    "modules.softdep",
    "modules.symbols",
    "modules.builtin",
    "modules.builtin.modinfo",
];

thread_local! {
    static FOLDER: OnceCell<PathBuf> = const { OnceCell::new() };
}

/// A folder of this process, with a file that looks like a module.
fn folder() -> PathBuf {
    let base = if fs::exists("/dev/shm").unwrap_or(false) { "/dev/shm".into() } else { std::env::temp_dir() };
    let folder = base.join(format!("ferrmod-fuzz-{}", std::process::id()));
    fs::create_dir_all(folder.join("kernel")).expect("a folder");
    fs::write(folder.join("kernel/a.ko"), b"no module").expect("a file");
    folder
}

fuzz_target!(|bytes: &[u8]| {
    let folder = FOLDER.with(|cell| cell.get_or_init(folder).clone());
    let mut parts = bytes.split(|&byte| byte == 0xff);
    let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    for file in FILES {
        fs::write(folder.join(file), parts.next().unwrap_or_default()).expect("a file");
    }
    let index = Index::with_cache(Tree::at(&folder), None);
    for name in [&*name, "a"] {
        let _ = index.file(name);
        let _ = index.resolve(name);
        let _ = index.aliases(name);
        let _ = index.is_builtin(name);
        let _ = index.exporter(name.into());
    }
});
