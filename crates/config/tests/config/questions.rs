//! What a configuration answers.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use bstr::BStr;
use ferrmod_config::{Allowed, Config, Folders, Kind, Root, Sources};

fn config(text: &str) -> Config {
    Config::from_text("/etc/modprobe.d/a.conf".into(), text.into(), true)
}

#[test]
fn the_first_command_wins_and_all_aliases_count() {
    let config = config("alias x-* one\ninstall a* first\ninstall ab second\nalias x-[0-9] two\nremove b gone\n");
    let modules: Vec<_> = config.aliases(b"x-1").map(|entry| entry.value.to_string()).collect();
    assert_eq!(modules, ["one", "two"]);
    let install = config.install(b"ab").expect("a command");
    assert_eq!((install.value, install.origin.line), (BStr::new("first"), 2));
    assert_eq!(install.origin.to_string(), "/etc/modprobe.d/a.conf line 2");
    assert_eq!(config.install(b"b"), None);
    assert_eq!(config.remove(b"b").map(|entry| entry.value), Some(BStr::new("gone")));
}

#[test]
fn options_of_the_module_and_of_the_alias_are_joined_in_order() {
    let config = config("options my-alias b=2\noptions mod a=1\noptions other x=1\noptions mod\tc=3\td=4\n");
    assert_eq!(config.options_text(b"mod", None).expect("options"), "a=1 c=3 d=4");
    assert_eq!(config.options_text(b"mod", Some(b"my_alias")).expect("options"), "b=2 a=1 c=3 d=4");
    assert_eq!(config.options_text(b"mo", None), None);
}

#[test]
fn softdeps_of_several_lines_are_joined() {
    let config = config(
        "softdep a pre: b c\nsoftdep a* pre: c d-e post: x\nsoftdep a pre: d_e f post: x y\nsoftdep b  pre: one\n",
    );
    let soft = config.soft_dependencies(b"a").expect("soft dependencies");
    let names = |list: &[ferrmod_config::Dependency<'_>]| {
        list.iter().map(|one| format!("{}:{}", one.name, one.entry.origin.line)).collect::<Vec<_>>()
    };
    assert_eq!(names(&soft.pre), ["b:1", "c:1", "d-e:2", "f:3"]);
    assert_eq!(names(&soft.post), ["x:2", "y:3"]);
    // The first line alone is what kmod knows.
    let first = config.softdeps(b"a").next().expect("a line");
    assert_eq!(first.soft_dependencies(), (vec![BStr::new("b"), BStr::new("c")], vec![]));
    // A blank more does not make the line void, as it does in kmod.
    assert_eq!(names(&config.soft_dependencies(b"b").expect("soft dependencies").pre), ["one:4"]);
    assert_eq!(config.soft_dependencies(b"c"), None);
}

#[test]
fn masks_and_lists_of_allowed_modules() {
    let masked = config("mask snd-* pcspkr\n");
    assert_eq!(masked.mask(b"snd_hda_intel").map(|entry| entry.origin.line), Some(1));
    assert!(masked.mask(b"pcspkr").is_some() && masked.mask(b"ext4").is_none());
    assert_eq!(masked.allowed(b"snd_x"), Allowed::All);
    let allowing = config("allow ext4 jbd2\nallow crc*\n");
    assert!(matches!(allowing.allowed(b"crc16"), Allowed::By(entry) if entry.origin.line == 2));
    assert!(matches!(allowing.allowed(b"xfs"), Allowed::No(entry) if entry.origin.line == 1));
    // A list of which one name is bad would be believed to be whole.
    let bad = config("mask good b[ad\n");
    assert_eq!((bad.entries(Kind::Mask).count(), bad.warnings().len()), (0, 1));
}

#[test]
fn the_kernel_command_line_blacklists_names_with_dashes_and_quotes() {
    let config = Config::from_command_line(b"modprobe.blacklist=foo-bar,\"a-b\" \"modprobe.mask=x-y\" m-n.p=1 quiet\n");
    for name in [&b"foo_bar"[..], b"foo-bar", b"a_b"] {
        assert_eq!(config.blacklist(name).expect("blacklisted").origin.to_string(), "kernel command line");
    }
    assert!(config.mask(b"x_y").is_some());
    assert_eq!(config.options_text(b"m-n", None).expect("options"), "p=1");
}

#[test]
fn commands_of_files_that_others_may_write_are_not_trusted() {
    let folder = std::env::temp_dir().join(format!("ferrmod-trust-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("a.conf");
    fs::write(&file, "install a echo\nblacklist b\n").expect("a file");
    let read = || {
        let paths = [folder.clone()];
        let config = Config::read(&Sources {
            root: &Root::host(),
            folders: Folders::Kmod34,
            paths: Some(&paths),
            tree: None,
            command_line: None,
        });
        assert!(config.blacklist(b"b").is_some(), "what runs nothing counts in any case");
        config.install(b"a").expect("a command").origin.trusted
    };
    assert!(read());
    fs::set_permissions(&file, PermissionsExt::from_mode(0o646)).expect("the mode");
    assert!(!read());
    fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("the mode");
    // Another system's commands are for that system.
    let root = Root::new(&folder).expect("a root");
    fs::create_dir_all(folder.join("etc/modprobe.d")).expect("a folder");
    fs::rename(&file, folder.join("etc/modprobe.d/a.conf")).expect("renamed");
    let folders = Folders::Kmod34;
    let foreign = Config::read(&Sources { root: &root, folders, paths: None, tree: None, command_line: None });
    assert!(!foreign.install(b"a").expect("a command").origin.trusted);
    fs::rename(folder.join("etc/modprobe.d/a.conf"), &file).expect("renamed");
    // Only root can give files away.
    if std::os::unix::fs::chown(&file, Some(65_534), None).is_ok() {
        assert!(!read());
    }
    fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn what_is_no_file_neither_hangs_nor_hides() {
    let folder = std::env::temp_dir().join(format!("ferrmod-special-{}", std::process::id()));
    fs::create_dir_all(folder.join("c.conf")).expect("a folder");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, folder.join("a.conf"), rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
    std::os::unix::fs::symlink("/dev/null", folder.join("b.conf")).expect("a link");
    std::os::unix::fs::symlink("nowhere", folder.join("d.conf")).expect("a link");
    fs::write(folder.join("e.conf"), "blacklist e\n").expect("a file");
    let paths = [folder.clone()];
    let host = Root::host();
    let sources =
        Sources { root: &host, folders: Folders::Kmod34, paths: Some(&paths), tree: None, command_line: None };
    let config = Config::read(&sources);
    let mut told: Vec<_> = config.warnings().iter().map(|warning| warning.message().to_string()).collect();
    told.sort();
    let path = |name: &str| folder.join(name).display().to_string();
    assert_eq!(
        told,
        [
            format!("Cannot stat directory entry: {}", path("d.conf")),
            format!("Directories inside directories are not supported: {}", path("c.conf")),
            format!("Not a regular file: {}", path("a.conf")),
        ]
    );
    assert!(config.blacklist(b"e").is_some());
    fs::remove_dir_all(folder).expect("removed");
}

/// Past a certain number, directives are found by their names instead of one after the other.
#[test]
fn many_directives_answer_as_few_do() {
    let patterns = ["m_*", "m_1?", "*", "m_[0-9]", "m-7", "alias-*", "x*y"];
    let text: String = (0..400)
        .map(|number| {
            let word = ["alias", "options", "install", "softdep", "blacklist", "weakdep"][number % 6];
            let name = if number % 5 == 0 { patterns[number / 5 % 7].to_owned() } else { format!("m_{}", number % 23) };
            let rest = match word {
                "alias" => format!("to_{number}"),
                "softdep" => format!("pre: s_{} s-{}", number % 11, number % 7),
                "blacklist" => String::new(),
                _ => format!("word={number}"),
            };
            format!("{word} {name} {rest}\n")
        })
        .collect();
    let config = config(&text);
    let matching = |kind: Kind, name: &str| {
        let name = name.replace('-', "_");
        let found = move |entry: &ferrmod_config::Entry<'_>| ferrmod_image::fnmatch(entry.name, name.as_bytes());
        config.entries(kind).filter(found).collect::<Vec<_>>()
    };
    let named = |kind: Kind, names: &[&str]| {
        let found = |entry: &ferrmod_config::Entry<'_>| names.iter().any(|name| entry.name == name.replace('-', "_"));
        config.entries(kind).filter(found).collect::<Vec<_>>()
    };
    for name in ["m_1", "m-1", "m_7", "m-7", "m_12", "m_22", "m_99", "alias-x", "xy", "", "*", "m_*"] {
        let bytes = name.as_bytes();
        assert_eq!(config.aliases(bytes).collect::<Vec<_>>(), matching(Kind::Alias, name), "{name}");
        assert_eq!(config.softdeps(bytes).collect::<Vec<_>>(), matching(Kind::Softdep, name), "{name}");
        assert_eq!(config.weakdeps(bytes).collect::<Vec<_>>(), matching(Kind::Weakdep, name), "{name}");
        assert_eq!(config.install(bytes), matching(Kind::Install, name).first().copied(), "{name}");
        assert_eq!(
            config.spelled(Kind::Install, bytes),
            config.entries(Kind::Install).find(|entry| entry.name == bytes)
        );
        assert_eq!(config.blacklist(bytes), named(Kind::Blacklist, &[name]).first().copied(), "{name}");
        let options: Vec<_> = config.options(bytes, Some(b"m-2")).collect();
        assert_eq!(options, named(Kind::Options, &[name, "m-2"]), "{name}");
    }
    assert!(config.aliases(b"m_1").count() > 5 && config.options(b"m_1", None).count() > 2);
}
