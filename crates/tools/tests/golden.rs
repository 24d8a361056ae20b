//! The manual pages in `docs/man` and the completions in `docs/completions` are made from the tables of the commands;
//! `FERRMOD_BLESS=1` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

use ferrmod_tools::completions::{Shell, script};
use ferrmod_tools::{APPLETS, Family, man};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// Compares `text` with what is in the file, or writes it there.
fn compare(path: &Path, text: &str) {
    if std::env::var_os("FERRMOD_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(kept == text, "{} is not current: run the test with FERRMOD_BLESS=1", path.display());
}

#[test]
fn manual_pages_are_current() {
    for applet in APPLETS {
        compare(&docs().join("man").join(man::file(applet)), &man::page(applet));
    }
}

#[test]
fn completions_are_current() {
    for applet in APPLETS.iter().filter(|applet| applet.family == Family::Kmod) {
        for (name, shell) in Shell::ALL {
            let path = docs().join("completions").join(name).join(shell.file(applet.name));
            compare(&path, &script(applet, shell));
        }
    }
}

#[test]
fn tables_hold_together() {
    for applet in APPLETS {
        let mut letters = Vec::new();
        let mut names = Vec::new();
        for flag in applet.flags {
            assert!(flag.long.is_some() || flag.short.is_some(), "{}: {}", applet.name, flag.id);
            assert!(flag.hidden || !flag.summary.is_empty(), "{}: {} has no summary", applet.name, flag.id);
            assert!(!flag.summary.ends_with('.'), "{}: {}", applet.name, flag.id);
            names.extend(flag.long);
            // Several spellings of one option share a letter.
            letters.extend(flag.short.map(|letter| (letter, flag.id)));
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{}: a long name is there twice", applet.name);
        letters.sort_unstable();
        letters.dedup();
        let mut unique: Vec<u8> = letters.iter().map(|&(letter, _)| letter).collect();
        unique.dedup();
        assert_eq!(unique.len(), letters.len(), "{}: a letter stands for two options", applet.name);
        assert!(!applet.summary.is_empty() && !applet.synopsis.is_empty(), "{}", applet.name);
    }
}
