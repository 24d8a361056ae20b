//! depmod.d against what `depmod -vvv` says that it understood.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use bstr::{BString, ByteSlice};
use ferrmod_config::depmod::{Config, Search, Sources};
use ferrmod_config::{Folders, Root};
use ferrmod_tests::corpus;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::kmod::Kmod;

const KERNEL: &str = "6.1.0-56-amd64";

fn line() -> impl Strategy<Value = String> {
    let gap = || prop_oneof![6 => Just(" "), 1 => Just("\t "), 1 => Just("\\\n ")];
    let word =
        || prop_oneof![4 => "[ab]{1,2}(/[ab])?", 1 => Just("built-in".to_owned()), 1 => Just("external".to_owned())];
    let words = move || {
        proptest::collection::vec((gap(), word()), 0..4)
            .prop_map(|words| words.into_iter().map(|(gap, word)| format!("{gap}{word}")).collect::<String>())
    };
    let kernel = || {
        prop_oneof![
            2 => Just("*"),
            1 => Just("6.1"),
            1 => Just("^6[.]1[.]0-[0-9]+-(amd|arm)64$"),
            1 => Just("^5"),
            1 => Just("(6"),
            1 => Just("[0-9]{2}-a"),
            1 => Just("6\\\\.1\\\\.0"),
        ]
    };
    prop_oneof![
        3 => words().prop_map(|words| format!("search{words}")),
        3 => (kernel(), words(), word(), gap()).prop_map(|(kernel, words, word, gap)| format!("override{gap}{word} {kernel}{words}")),
        3 => (kernel(), words(), gap()).prop_map(|(kernel, words, gap)| format!("external{gap}{kernel}{words}")),
        2 => words().prop_map(|words| format!("exclude{words}")),
        1 => "(override|external|include|make_map_files|sear|  #x|#search a|)( [ab*])?",
    ]
}

/// What the tool logged that it took over, of one kind.
fn taken(err: &[u8], kind: &str) -> Vec<BString> {
    let prefix = format!("depmod: DEBUG: {kind} add: ");
    err.lines().filter_map(|line| line.strip_prefix(prefix.as_bytes())).map(BString::from).collect()
}

fn compare(kmod: &Kmod, folder: &Path, paths: &[PathBuf]) -> Result<(), TestCaseError> {
    let mut arguments: Vec<&OsStr> = ["-n", "-v", "-v", "-v", "-b"].iter().map(OsStr::new).collect();
    arguments.extend([folder.as_os_str(), OsStr::new(KERNEL)]);
    for path in paths {
        arguments.extend([OsStr::new("-C"), path.as_os_str()]);
    }
    let theirs = kmod.depmod(arguments).stderr;
    let config = Config::read(&Sources {
        root: &Root::host(),
        folders: Folders::Kmod34,
        paths: Some(paths),
        kernel: KERNEL.as_bytes(),
    });
    let search: Vec<BString> = config
        .search()
        .filter(|(_, origin)| origin.is_some())
        .map(|(search, _)| match search {
            Search::Folder(name) => format!("{name}, search type=0").into(),
            Search::BuiltIn => "built-in, search type=1".into(),
            Search::External => "external, search type=2".into(),
        })
        .collect();
    // Without a line, kmod only logs the half of its default that is a folder.
    let theirs_search = taken(&theirs, "search");
    prop_assert!(
        search == theirs_search || (search.is_empty() && theirs_search == ["updates, search type=0"]),
        "{search:?} {theirs_search:?}"
    );
    let overrides: Vec<BString> =
        config.overrides().map(|(one, _)| format!("{}/{}", one.folder, one.module).into()).collect();
    prop_assert_eq!(overrides, taken(&theirs, "override"));
    let external: Vec<BString> = config.external().map(|(path, _)| path.display().to_string().into()).collect();
    prop_assert_eq!(external, taken(&theirs, "external"));
    let exclude: Vec<BString> = config.exclude().map(|(name, _)| name.into()).collect();
    prop_assert_eq!(exclude, taken(&theirs, "exclude"));
    let bad: Vec<_> = config
        .warnings()
        .iter()
        .map(|warning| warning.depmod_message())
        .filter(|text| text.contains_str("bad line"))
        .collect();
    let their_bad: Vec<BString> = theirs
        .lines()
        .filter(|line| line.contains_str("bad line"))
        .filter_map(|line| line.strip_prefix(b"depmod: ERROR: "))
        .map(BString::from)
        .collect();
    prop_assert_eq!(bad, their_bad);
    Ok(())
}

#[test]
fn generated_trees_are_read_as_by_kmod_34() {
    let Some(kmod) = Kmod::v34() else { return };
    let folder = std::env::temp_dir().join(format!("ferrmod-depmod-{}", std::process::id()));
    let file = proptest::collection::vec(line(), 0..6).prop_map(|lines| lines.join("\n"));
    let made = (
        proptest::collection::vec((0..2_usize, "[ab]\\.conf|c|\\.d\\.conf", file), 0..5),
        proptest::collection::vec(0..3_usize, 1..4),
    );
    let cases = corpus::budget("FERRMOD_CONFIG_TREES", 150).try_into().unwrap_or(u32::MAX);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&made, |(files, order)| {
        let _ = fs::remove_dir_all(&folder);
        for inside in ["0", "1", &format!("lib/modules/{KERNEL}")] {
            fs::create_dir_all(folder.join(inside)).expect("a folder");
        }
        for (number, name, text) in &files {
            fs::write(folder.join(number.to_string()).join(name), text).expect("a file");
        }
        let paths: Vec<PathBuf> = order.iter().map(|number| folder.join(number.to_string())).collect();
        compare(&kmod, &folder, &paths)
    });
    let _ = fs::remove_dir_all(&folder);
    result.unwrap_or_else(|error| panic!("{error}"));
}
