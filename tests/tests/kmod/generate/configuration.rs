//! Configuration files, good and bad, and the kernel's command line.

use std::path::{Path, PathBuf};

use crate::case::{Case, Edit};
use crate::made::RELEASE;
use crate::world::{CONFIGURATION, World};
use ferrmod_tests::random::Random;

use super::name;

/// Lines of modprobe.d.
const LINES: &[&[u8]] = &[
    b"alias one alpha",
    b"alias one beta-dash",
    b"alias  spaced \t delta  ",
    b"alias noend",
    b"alias",
    b"alias a-b-* eps",
    b"alias w[a-c]-x zeta",
    b"alias w[a-c zeta",
    b"alias wx] zeta",
    b"alias chained one",
    b"alias alpha delta",
    b"alias three words here",
    b"blacklist alpha",
    b"blacklist beta-dash",
    b"blacklist",
    b"blacklist one two",
    b"blacklist black[",
    b"options alpha x=9",
    b"options beta-dash dash-opt=a-b",
    b"options one via=alias",
    b"options alpha",
    b"options",
    b"options alpha\ty=tab\tz=tab",
    b"options gamma_under q=\"a b\" r='c'",
    b"options alpha trailing=1   ",
    b"options * all=1",
    b"install alpha echo installing alpha $CMDLINE_OPTS",
    b"install beta* echo wild install",
    b"install delta",
    b"install",
    b"install eps /bin/false",
    b"install zeta exit 7",
    b"install omega echo $MODPROBE_MODULE; echo \"$MODPROBE_OPTIONS\" >&2",
    b"install virtual echo virtual module",
    b"install one echo install of an alias",
    b"install killed kill -9 $$",
    b"remove alpha echo removing $CMDLINE_OPTS",
    b"remove delta false",
    b"remove",
    b"softdep alpha pre: eps",
    b"softdep alpha post: zeta",
    b"softdep delta pre: alpha post: omega",
    b"softdep delta post: omega pre: alpha",
    b"softdep eps omega",
    b"softdep eps pre:",
    b"softdep zeta pre: nosuch alias-none",
    b"softdep zeta pre: one post: eps",
    b"softdep tree* pre: zeta",
    b"softdep omega pre: omega",
    b"softdep",
    b"softdep alpha",
    b"weakdep alpha eps zeta",
    b"weakdep alpha",
    b"weakdep",
    b"weakdep tree* one",
    b"include /etc/modprobe.d/other",
    b"config binary_indexes yes",
    b"unknown directive here",
    b"# a comment",
    b"   # an indented comment",
    b"",
    b"\t\t",
    b"options alpha \\",
    b"\\",
    b"alias cont \\",
    b"alias caf\xe9 alpha",
    b"blacklist caf\xc3\xa9",
    b"options alpha nul=\0x",
    b"alias crlf alpha\r",
    b"ALIAS upper alpha",
    b"alias one\x0balpha",
    b"softdep alpha pre: a-b post: c-d",
    b"alias symbol:nosuch alpha",
    b"alias pci:v00008086d* beta_dash",
];

/// Names of files in a folder of configuration.
const FILES: &[&str] = &[
    "a.conf",
    "b.conf",
    "10-made.conf",
    "20-run.conf",
    "zz.conf",
    "modules.softdep",
    "modules.weakdep",
    ".hidden.conf",
    "noending",
    "old.alias",
    "sp ace.conf",
    "sub.conf/inner.conf",
    "UPPER.CONF",
    "x.conf~",
];

/// Two to eight lines, sometimes without the last newline.
fn text(random: &mut Random, lines: &[&[u8]]) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..1 + random.below(8) {
        text.extend(*random.pick(lines));
        text.push(b'\n');
    }
    if random.chance(15) {
        text.pop();
    }
    text
}

fn files(random: &mut Random, case: &mut Case, folder: &str, lines: &[&[u8]]) {
    for _ in 0..1 + random.below(3) {
        let root = Path::new(random.pick(&CONFIGURATION[..3])).join(folder);
        let path = root.join(random.pick(FILES));
        let taken = case.edits.iter().any(|edit| edit.path().starts_with(&path) || path.starts_with(edit.path()));
        if taken {
            continue;
        }
        case.edits.push(match random.below(30) {
            0 => Edit::Link(path, PathBuf::from("/dev/null")),
            1 => Edit::Link(path, PathBuf::from("/nowhere/at/all")),
            2 => Edit::Folder(path),
            _ => Edit::Write(path, text(random, lines)),
        });
    }
}

/// modprobe with configuration of all kinds.
pub(crate) fn modprobe(random: &mut Random, world: &World) -> Case {
    const MODES: &[&[&str]] = &[
        &["-c"],
        &["-c"],
        &["-D"],
        &["-D"],
        &["-D", "-b"],
        &["-R"],
        &["-n", "-v"],
        &["-n", "-v", "-b"],
        &["-n", "-v", "-i"],
        &["-v"],
        &[],
        &["-r", "-v"],
        &["-n", "-r"],
        &["-q"],
        &["-a", "-v"],
        &["-R", "-b"],
        &["-v", "-s"],
    ];
    const NAMES: &[&str] = &[
        "alpha",
        "beta-dash",
        "delta",
        "eps",
        "zeta",
        "omega",
        "one",
        "chained",
        "virtual",
        "killed",
        "tree_top",
        "cont",
        "wb-x",
        "spaced",
        "gamma_under",
        "a-b-c",
        "pci:v00008086d00001234sv1sd2bc3sc4i5",
        "crlf",
        "twice_user",
        "symbol:nosuch",
        "conf-alias",
    ];
    let root = world.made_root();
    let mut case = Case::new("modprobe", &["-d", &root, "-S", RELEASE]);
    files(random, &mut case, "modprobe.d", LINES);
    if random.chance(15) {
        let path = random.pick(&["work/own.conf", "work/own", "work/own.d/x.conf"]);
        let path = world.stage.join(path);
        case.edits.push(Edit::Write(path.clone(), text(random, LINES)));
        let given = if path.ends_with("own.d/x.conf") { world.stage.join("work/own.d") } else { path };
        case.arguments.extend([b"-C".to_vec(), given.display().to_string().into_bytes()]);
    }
    if random.chance(12) {
        let file = random.pick(&["modules.softdep", "modules.weakdep"]);
        case.edits.push(Edit::Write(world.made().join(file), text(random, LINES)));
    }
    let mode = random.pick(MODES);
    case.arguments.extend(mode.iter().map(|word| word.as_bytes().to_vec()));
    if !mode.contains(&"-c") || random.chance(10) {
        case.arguments.push(if random.chance(80) {
            random.pick(NAMES).as_bytes().to_vec()
        } else {
            name(random, world)
        });
        if random.chance(25) {
            case.arguments.push(super::parameter(random));
        }
    }
    case
}

/// The kernel's command line.
pub(crate) fn command_line(random: &mut Random, world: &World) -> Case {
    const WORDS: &[&str] = &[
        "alpha.x=1",
        "alpha.flag",
        "alpha.y=\"two words\"",
        "\"alpha.y=two words\"",
        "beta-dash.a-b=c-d",
        "beta_dash.c=1",
        "modprobe.blacklist=delta",
        "modprobe.blacklist=delta,eps",
        "modprobe.blacklist",
        "a.b.c=1",
        "alpha.=1",
        "alpha.x=a=b",
        "alpha.x=a.b",
        "quiet",
        "root=UUID=1-2",
        "--",
        "init=/bin/sh",
        "alpha .x=1",
        "=",
        "\"",
        "\"\"",
        "delta.q='a",
        "delta.z=\"open",
        "delta.\"q\"=1",
        "module_blacklist=alpha",
        "alpha.\u{e9}=1",
        "eps.x=\t1",
        "modprobe.other=1",
        "delta.x=1,2,3",
        "delta",
        "\"delta.x=1\" eps.y=2",
        "al\"pha.x=1\"",
        "foo-bar.baz=1",
        "video=x:1024x768",
    ];
    let root = world.made_root();
    let mut case = Case::new("modprobe", &["-d", &root, "-S", RELEASE]);
    let mut line = Vec::new();
    for _ in 0..random.below(8) {
        line.extend(random.pick(WORDS).as_bytes());
        line.extend(*random.pick(&[&b" "[..], b" ", b" ", b"  ", b"\t"]));
    }
    match random.below(20) {
        0 => line.extend(vec![b'x'; 5000]),
        1 => {
            line.extend(vec![b'x'; 4080 - line.len().min(4000)]);
            line.extend(b" alpha.late=1 delta.later=2\n");
        }
        2..10 => {}
        _ => line.push(b'\n'),
    }
    case.edits.push(if random.chance(3) {
        Edit::Remove(PathBuf::from("/proc/cmdline"))
    } else {
        Edit::Write(PathBuf::from("/proc/cmdline"), line)
    });
    let words: &[&str] = match random.below(5) {
        0 | 1 => &["-c"],
        2 => &["-D", "alpha"],
        3 => &["-D", "-b", "beta-dash"],
        _ => &["-D", "delta"],
    };
    case.arguments.extend(words.iter().map(|word| word.as_bytes().to_vec()));
    case
}

/// Lines of depmod.d.
const SEARCH: &[&[u8]] = &[
    b"search updates extra built-in",
    b"search extra updates built-in",
    b"search built-in updates extra",
    b"search extra",
    b"search external built-in",
    b"search",
    b"search kernel/c kernel/b",
    b"search updates/ ./extra",
    b"search updates updates",
    b"search weak-updates",
    b"override dup * extra",
    b"override dup 6.1.0-made kernel/c",
    b"override dup 6\\.1.* updates",
    b"override dup 5.* updates",
    b"override dup [ extra",
    b"override dup2 * kernel/c/sub",
    b"override dup",
    b"override",
    b"override with space * extra",
    b"exclude extra",
    b"exclude updates c",
    b"exclude",
    b"exclude kernel/a",
    b"excludedir extra",
    b"include other",
    b"make_map_files no",
    b"nonsense here",
    b"# comment",
    b"",
    b"search extra \\",
    b"SEARCH extra",
    b"external * /srv/outside",
    b"external",
    b"external 6.1.0-made relative",
];

/// depmod with configuration of all kinds.
pub(crate) fn depmod(random: &mut Random, world: &World) -> Case {
    let root = world.made_root();
    let mut case = Case::new("depmod", &["-b", &root]);
    case.writes = true;
    files(random, &mut case, "depmod.d", SEARCH);
    if random.chance(25) {
        let path = world.stage.join("work/own.conf");
        let mut lines = text(random, SEARCH);
        if random.chance(40) {
            // Modules outside of the tree.
            let outside = world.stage.join("work/outside");
            lines.extend(format!("external * {}\nsearch external built-in\n", outside.display()).bytes());
            case.edits.push(Edit::Write(outside.join("dup.ko"), crate::made::plain(&["dup_fn"], &["alpha_fn"])));
            case.edits.push(Edit::Write(outside.join("deep/out.ko"), crate::made::plain(&[], &["dup_fn"])));
        }
        case.edits.push(Edit::Write(path.clone(), lines));
        case.arguments.extend([b"-C".to_vec(), path.display().to_string().into_bytes()]);
    }
    if random.chance(30) {
        case.arguments.push(random.pick(&["-w", "-n", "-v", "-e"]).as_bytes().to_vec());
    }
    case.arguments.push(RELEASE.into());
    case
}
