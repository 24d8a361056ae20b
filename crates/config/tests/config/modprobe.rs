//! modprobe.d and the kernel command line against `modprobe --showconfig`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use bstr::{BString, ByteSlice};
use ferrmod_config::{Config, Folders, Kind, Root, Sources};
use ferrmod_tests::corpus;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::kmod::Kmod;

/// How the tool prints a configuration.
fn shown(config: &Config, kinds: &[Kind]) -> BString {
    let mut out = Vec::new();
    for &kind in kinds {
        for entry in config.entries(kind) {
            entry.write_to(&mut out);
            out.push(b'\n');
        }
    }
    out.into()
}

const KINDS: [Kind; 7] =
    [Kind::Blacklist, Kind::Install, Kind::Remove, Kind::Alias, Kind::Options, Kind::Softdep, Kind::Weakdep];

/// What stands before the indexes.
fn without_indexes(out: &[u8]) -> BString {
    let end = out.find(b"\n# End of configuration files.").expect("the end of the configuration");
    out[..end].into()
}

/// What the tool complains about, without the beginnings of the lines, which differ between versions.
fn complaints(err: &[u8]) -> BString {
    let mut all = BString::default();
    for line in err.lines_with_terminator() {
        let text = ["kmod_config_parse: ", "conf_files_filter_out: ", "kcmdline_parse_result: "];
        match text.iter().find_map(|text| line.find(text)) {
            Some(at) => all.extend_from_slice(&line[at..]),
            None => all.extend_from_slice(line),
        }
    }
    all
}

fn warnings(config: &Config) -> BString {
    let mut all = Vec::new();
    for warning in config.warnings() {
        all.extend([warning.function().as_bytes(), b": ", &warning.message(), b"\n"].concat());
        assert!(!warning.render().is_empty());
    }
    all.into()
}

/// One line, or a part of one.
///
/// Two softdeps are left out, where kmod is wrong: one whose text begins with a single blank more (kmod takes the blank for a letter
/// and so sees no `pre:`), and one with `pre:` behind `post:` (it loads the right modules, and prints wrong ones).
fn line() -> impl Strategy<Value = Vec<u8>> {
    let name = || {
        prop_oneof![
            8 => "[ab]{1,2}(-[ab]){0,2}",
            2 => "[ab]-\\[[ab]-[a-c]\\]\\*?",
            1 => "[ab*?\\[\\]\\-]{1,5}",
            1 => "pre:?x",
        ]
    };
    let gap = || prop_oneof![9 => Just(" "), 1 => Just("\t"), 1 => Just("  \t"), 1 => Just("\\\n "), 1 => Just("\\ ")];
    let one = || Just(" ");
    let names = move || {
        proptest::collection::vec((prop_oneof![9 => Just(" "), 1 => Just("   "), 1 => Just("\t\r")], name()), 0..4)
    };
    let joined =
        |list: Vec<(&str, String)>| list.into_iter().map(|(gap, name)| format!("{gap}{name}")).collect::<String>();
    let words = prop_oneof![
        3 => (gap(), name(), gap(), name()).prop_map(|(a, b, c, d)| format!("alias{a}{b}{c}{d}")),
        3 => (gap(), name()).prop_map(|(a, b)| format!("blacklist{a}{b}")),
        3 => (gap(), name(), gap(), "[ab= \t\"]{0,8}").prop_map(|(a, b, c, d)| format!("options{a}{b}{c}{d}")),
        2 => (gap(), name(), gap(), "[ab $;\t\\\\]{0,8}").prop_map(|(a, b, c, d)| format!("install{a}{b}{c}{d}")),
        2 => (gap(), name(), gap(), "[ab $;\t]{0,8}").prop_map(|(a, b, c, d)| format!("remove{a}{b}{c}{d}")),
        4 => (gap(), name(), one(), names(), names(), names()).prop_map(move |(a, b, c, d, e, f)| {
            format!("softdep{a}{b}{c}{}pre:{} post:{}", joined(d).trim_start(), joined(e), joined(f))
        }),
        2 => (gap(), name(), one(), names()).prop_map(move |(a, b, c, d)| format!("weakdep{a}{b}{c}{}", joined(d).trim_start())),
        1 => Just("# a comment \\".to_owned()),
        1 => Just("#alias a b".to_owned()),
        1 => Just("include x".to_owned()),
        1 => "(alias|blacklist|options|install|softdep|weakdep|config|mas|foo)",
        1 => Just(String::new()),
    ];
    let bytes = words.prop_map(String::into_bytes);
    prop_oneof![
        12 => bytes.clone(),
        1 => (bytes, 0..20_usize, prop_oneof![Just(0_u8), Just(b'\\'), Just(b'\r'), Just(0xff), Just(b'-'), Just(b'#'), Just(b']')])
            .prop_map(|(mut line, at, byte)| {
                line.insert(at.min(line.len()), byte);
                line
            }),
    ]
}

fn file() -> impl Strategy<Value = BString> {
    (proptest::collection::vec(line(), 0..8), any::<bool>()).prop_map(|(lines, ended)| {
        let mut text = lines.join(&b"\n"[..]);
        if ended {
            text.push(b'\n');
        }
        text.into()
    })
}

/// A folder, the file's name in it, and its text.
fn files() -> impl Strategy<Value = Vec<(usize, String, BString)>> {
    let names = prop_oneof![
        8 => "[abmn](-[ab])?\\.conf",
        1 => Just("modules.conf".to_owned()),
        1 => Just("modules.t.conf".to_owned()),
        1 => Just(".conf".to_owned()),
        1 => Just("x.conf.bak".to_owned()),
        1 => Just("A.conf".to_owned()),
        1 => Just("\u{e9}.conf".to_owned()),
    ];
    proptest::collection::vec((0..3_usize, names, file()), 0..7)
}

#[derive(Debug, Clone)]
struct Made {
    files: Vec<(usize, String, BString)>,
    softdep: Option<BString>,
    weakdep: Option<BString>,
    /// The order of `-C`; 3 is a file named itself, 4 is not there.
    order: Vec<usize>,
}

fn made() -> impl Strategy<Value = Made> {
    let order = proptest::collection::vec(0..5_usize, 0..5);
    (files(), proptest::option::of(file()), proptest::option::of(file()), order)
        .prop_map(|(files, softdep, weakdep, order)| Made { files, softdep, weakdep, order })
}

/// Writes the files; the paths for `-C`.
fn write(folder: &Path, made: &Made) -> Vec<PathBuf> {
    let _ = fs::remove_dir_all(folder);
    let tree = folder.join("lib/modules/1.0");
    fs::create_dir_all(&tree).expect("a folder");
    for (name, text) in [("modules.softdep", &made.softdep), ("modules.weakdep", &made.weakdep)] {
        if let Some(text) = text {
            fs::write(tree.join(name), text).expect("a file");
        }
    }
    for number in 0..3 {
        fs::create_dir_all(folder.join(number.to_string())).expect("a folder");
    }
    for (number, name, text) in &made.files {
        fs::write(folder.join(number.to_string()).join(name), text).expect("a file");
    }
    fs::write(folder.join("3"), b"blacklist three\nalias t\nalias c c\n").expect("a file");
    made.order.iter().map(|number| folder.join(number.to_string())).collect()
}

fn ours(root: &Root, folders: Folders, paths: &[PathBuf], command_line: &[u8]) -> Config {
    Config::read(&Sources {
        root,
        folders,
        paths: (!paths.is_empty()).then_some(paths),
        tree: Some((root, Path::new("/lib/modules/1.0"))),
        command_line: Some(command_line),
    })
}

/// The arguments for `modprobe`.
fn arguments<'a>(folder: &'a Path, paths: &'a [PathBuf]) -> Vec<&'a OsStr> {
    let mut words: Vec<&OsStr> = ["-c", "-S", "1.0", "-d"].iter().map(OsStr::new).collect();
    words.push(folder.as_os_str());
    for path in paths {
        words.extend([OsStr::new("-C"), path.as_os_str()]);
    }
    words
}

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("ferrmod-config-{name}-{}", std::process::id()))
}

/// Whether a softdep or weakdep is there whose text begins with a blank.
fn has_one_blank_more(config: &Config) -> bool {
    let mut entries = config.entries(Kind::Softdep).chain(config.entries(Kind::Weakdep));
    entries.any(|entry| entry.value.first().is_some_and(|byte| matches!(byte, b' ' | 9..=13)))
}

/// Generated trees; `check` compares.
fn each_tree(name: &str, cases: u64, check: impl Fn(&Path, &[PathBuf]) -> Result<(), TestCaseError>) {
    let folder = temporary(name);
    let cases = corpus::budget("FERRMOD_CONFIG_TREES", cases).try_into().unwrap_or(u32::MAX);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&made(), |made| {
        // Without -C it would be the host's own files.
        prop_assume!(!made.order.is_empty());
        let paths = write(&folder, &made);
        check(&folder, &paths)
    });
    let _ = fs::remove_dir_all(&folder);
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn generated_trees_are_read_as_by_kmod_34() {
    let Some(kmod) = Kmod::v34() else { return };
    let command_line = fs::read("/proc/cmdline").expect("the kernel command line");
    each_tree("34", 300, |folder, paths| {
        let theirs = kmod.modprobe(arguments(folder, paths));
        let root = Root::new(folder).expect("a root");
        let ours = ours(&root, Folders::Kmod34, paths, &command_line);
        prop_assume!(!has_one_blank_more(&ours));
        prop_assert_eq!(shown(&ours, &KINDS), without_indexes(&theirs.stdout));
        prop_assert_eq!(warnings(&ours), complaints(&theirs.stderr));
        Ok(())
    });
}

#[test]
fn generated_trees_are_read_as_by_kmod_30() {
    let Some(kmod) = Kmod::v30() else { return };
    let command_line = fs::read("/proc/cmdline").expect("the kernel command line");
    each_tree("30", 150, |folder, paths| {
        // kmod 30 reads a byte more than there is of a file that ends in a backslash.
        let odd = |path: &Path| fs::read(path).is_ok_and(|text| text.ends_with(b"\\"));
        let listed = paths.iter().flat_map(fs::read_dir).flatten().flatten().map(|entry| entry.path());
        prop_assume!(!listed.chain([folder.join("lib/modules/1.0/modules.softdep")]).any(|path| odd(&path)));
        let theirs = kmod.modprobe(arguments(folder, paths));
        let root = Root::new(folder).expect("a root");
        let ours = ours(&root, Folders::Kmod30, paths, &command_line);
        prop_assume!(!has_one_blank_more(&ours));
        prop_assert_eq!(shown(&ours, &KINDS[..6]), without_indexes(&theirs.stdout));
        let without_weakdeps = |text: BString| {
            let lines = text.lines_with_terminator().filter(|line| !line.ends_with(b"starting with 'weakdep'\n"));
            BString::from(lines.flatten().copied().collect::<Vec<u8>>())
        };
        prop_assert_eq!(without_weakdeps(warnings(&ours)), without_weakdeps(complaints(&theirs.stderr)));
        Ok(())
    });
}

#[test]
fn generated_command_lines_are_read_as_by_kmod_34() {
    let Some(kmod) = Kmod::v34() else { return };
    let folder = temporary("cmdline");
    fs::create_dir_all(folder.join("0")).expect("a folder");
    let file = folder.join("cmdline");
    let words = prop_oneof![
        6 => "[ab](-[ab])?\\.[ab]-?[ab]?(=[ab,.=-]{0,5})?",
        2 => "[ab.=-]{0,6}",
        2 => "modprobe\\.blacklist=[ab,]{0,6}",
        2 => "[ab]\\.[ab]=[ab]?\"[ab ]{0,4}\"[ab]?",
        2 => "\"[ab]\\.[ab]=[ab ]{0,4}\"",
        1 => "[ab.=]{0,2}\\[[ab.=]{0,2}\\]?[ab]\\.[ab]=[ab]",
        1 => Just("quiet".to_owned()),
        1 => "[ab]\\.[ab]=[ab]*\t[ab]\\.[ab]=[ab]",
    ];
    let lines = (proptest::collection::vec(words, 0..6), any::<bool>())
        .prop_map(|(words, ended)| words.join(" ") + if ended { "\n" } else { "" });
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&lines, |line| {
        fs::write(&file, &line).expect("a file");
        let paths = [folder.join("0")];
        let Some(theirs) = kmod.with_command_line(&file, &arguments(&folder, &paths)) else {
            return Err(TestCaseError::reject("may not mount"));
        };
        let ours = Config::from_command_line(line.as_bytes());
        prop_assert_eq!(shown(&ours, &KINDS), without_indexes(&theirs.stdout));
        prop_assert_eq!(warnings(&ours), complaints(&theirs.stderr));
        Ok(())
    });
    let _ = fs::remove_dir_all(&folder);
    match result {
        Err(proptest::test_runner::TestError::Abort(why)) => {
            corpus::skip("the right to mount", &format!("run as root ({why})"));
        }
        result => result.unwrap_or_else(|error| panic!("{error}")),
    }
}
