//! Invocations of lsmod, insmod, rmmod and kmod, and of all applets with nothing but options.

use std::path::PathBuf;

use super::{
    Flag, Takes, arrange, depmod, flag, modinfo, modprobe, name, odd_word, parameter, spell, surroundings, value,
    valued,
};
use crate::case::{Case, Edit, Peer};
use crate::world::World;
use ferrmod_tests::random::Random;

const LSMOD: &[Flag] = &[flag('s', "syslog"), flag('v', "verbose"), flag('V', "version"), flag('h', "help")];
const INSMOD: &[Flag] =
    &[flag('f', "force"), flag('s', "syslog"), flag('v', "verbose"), flag('V', "version"), flag('h', "help")];
const RMMOD: &[Flag] =
    &[flag('f', "force"), flag('s', "syslog"), flag('v', "verbose"), flag('V', "version"), flag('h', "help")];
const STATIC_NODES: &[Flag] =
    &[valued('o', "output", Takes::File), valued('f', "format", Takes::Format), flag('h', "help")];

/// Any of the small applets, doing something.
pub(crate) fn any(random: &mut Random, world: &World) -> Case {
    match random.below(100) {
        0..15 => lsmod(random, world),
        15..45 => insmod(random, world),
        45..70 => rmmod(random, world),
        70..85 => static_nodes(random, world),
        _ => kmod(random, world),
    }
}

fn some(random: &mut Random, world: &World, flags: &[Flag], count: usize) -> Vec<Vec<Vec<u8>>> {
    let mut options = Vec::new();
    for _ in 0..count {
        let flag = random.pick(flags);
        if matches!(flag.long, "help" | "version") && random.chance(80) {
            continue;
        }
        let value = (flag.value != Takes::Nothing).then(|| value(random, world, flag.value));
        spell(random, flag, value, &mut options);
    }
    options
}

fn lsmod(random: &mut Random, world: &World) -> Case {
    let mut case = Case::new("lsmod", &[]);
    if random.chance(30) {
        case = Case::new("kmod", &[random.one(&["list", "lsmod"])]);
    }
    let count = random.below(2);
    let options = some(random, world, LSMOD, count);
    let operands = if random.chance(15) { vec![name(random, world)] } else { Vec::new() };
    case.arguments.extend(arrange(random, options, operands));
    if random.chance(8) {
        case.edits.push(Edit::Remove(PathBuf::from("/proc/modules")));
    } else if random.chance(60) {
        let lists: [&[u8]; 4] = [
            b"",
            b"alpha 24576 3 delta, Live 0x0\ndelta 1 0 - Live 0x0\n",
            b"idle 100 0 - Live 0x0\n",
            b"pinned 1 0 - Live 0x0 (OE)\ndelta 12345678901 0 - Live 0x0\neps 1 0 - Live 0x0\n",
        ];
        case.edits.push(Edit::Write(PathBuf::from("/proc/modules"), random.pick(&lists).to_vec()));
    }
    surroundings(random, world, &mut case);
    case
}

fn insmod(random: &mut Random, world: &World) -> Case {
    let mut case = Case::new("insmod", &[]);
    let count = random.below(3);
    let options = some(random, world, INSMOD, count);
    let mut operands = Vec::new();
    if random.chance(96) {
        let made = world.made().display().to_string();
        let files = [
            "kernel/a/alpha.ko",
            "kernel/a/beta-dash.ko",
            "kernel/packed/pxz.ko.xz",
            "kernel/packed/pzst.ko.zst",
            "kernel/packed/liar.ko.xz",
            "kernel/packed/hidden_xz.ko",
            "kernel/e/small.ko",
            "kernel/e/nomodinfo.ko",
            "kernel/e/signed.ko",
            "kernel/links/to_file.ko",
            "kernel/links/loop.ko",
            "kernel/links/broken.ko",
            "kernel/a",
            "kernel/nowhere.ko",
        ];
        operands.push(match random.below(10) {
            0 => b"-".to_vec(),
            1 => name(random, world),
            2 => b"work/alone.ko".to_vec(),
            _ => format!("{made}/{}", random.pick(&files)).into_bytes(),
        });
    }
    while random.chance(30) {
        operands.push(parameter(random));
    }
    case.arguments = arrange(random, options, operands);
    surroundings(random, world, &mut case);
    case
}

fn rmmod(random: &mut Random, world: &World) -> Case {
    let mut case = Case::new("rmmod", &[]);
    let count = random.below(3);
    let options = some(random, world, RMMOD, count);
    let mut operands = Vec::new();
    if random.chance(95) {
        operands.push(name(random, world));
    }
    while random.chance(35) {
        let loaded = ["alpha", "delta", "gamma-under", "idle", "pinned", "leaving", "nosysfs", "eps", "builtin_one"];
        operands.push(if random.chance(60) { random.pick(&loaded).as_bytes().to_vec() } else { name(random, world) });
    }
    case.arguments = arrange(random, options, operands);
    surroundings(random, world, &mut case);
    case
}

fn static_nodes(random: &mut Random, world: &World) -> Case {
    let mut case = Case::new("kmod", &["static-nodes"]);
    let count = random.below(3);
    let options = some(random, world, STATIC_NODES, count);
    let operands = if random.chance(8) { vec![odd_word(random)] } else { Vec::new() };
    case.arguments.extend(arrange(random, options, operands));
    case.writes = true;
    surroundings(random, world, &mut case);
    if random.chance(60) {
        let contents: [&[u8]; 10] = [
            b"",
            b"# only a comment\n",
            b"device net/made c10:200\n",
            b"block loop0 b7:0\nnonewline x c1:2",
            b"toofew fields\n",
            b"mod node x1:2\n",
            b"mod node c1\nmod2 node2 c3:4 more\n",
            b"mod node c-1:70000\n",
            b"\n\nmod  two  c1:2\n",
            b"mod deep/er/node c255:255\nmod2 deep/er/other c1:1\nmod3 ./dot c1:1\n",
        ];
        let file = world.made().join("modules.devname");
        case.edits.push(if random.chance(15) {
            Edit::Remove(file)
        } else {
            Edit::Write(file, random.pick(&contents).to_vec())
        });
    }
    case
}

fn kmod(random: &mut Random, world: &World) -> Case {
    const WORDS: &[&[&str]] = &[
        &[],
        &["help"],
        &["-h"],
        &["--help"],
        &["-V"],
        &["--version"],
        &["nosuch"],
        &["-x"],
        &["--wrong"],
        &["list"],
        &["lsmod"],
        &["list", "-V"],
        &["help", "list"],
        &["--", "list"],
        &["lis"],
        &["insmod"],
        &["rmmod", "nosuch"],
        &["modinfo", "-V"],
        &["depmod", "--wrong"],
        &["modprobe"],
        &["static-nodes", "extra"],
        &["-hV"],
        &["-Vh"],
        &["--ver"],
        &["--he"],
        &["-q"],
        &["--help=x"],
        &[""],
    ];
    let mut case = Case::new("kmod", random.one(WORDS));
    if random.chance(10) && !case.has(&["--"]) {
        case.arguments.push(odd_word(random));
    }
    surroundings(random, world, &mut case);
    case
}

/// Options alone: wrong ones, abbreviations, missing values, in every applet.
pub(crate) fn options(random: &mut Random, world: &World) -> Case {
    const ALL: &[(&str, &[Flag])] = &[
        ("modprobe", modprobe::FLAGS),
        ("modinfo", modinfo::FLAGS),
        ("depmod", depmod::FLAGS),
        ("lsmod", LSMOD),
        ("insmod", INSMOD),
        ("rmmod", RMMOD),
    ];
    let (applet, flags) = random.pick(ALL);
    let mut case = Case::new(applet, &[]);
    let mut words: Vec<Vec<u8>> = Vec::new();
    for _ in 0..1 + random.below(3) {
        let flag = random.pick(flags);
        words.push(match random.below(8) {
            // Any abbreviation, ambiguous or not.
            0 | 1 => {
                let length = 1 + random.below(flag.long.len());
                format!("--{}", &flag.long[..length]).into_bytes()
            }
            2 => format!("--{}=value", flag.long).into_bytes(),
            3 => format!("--{}x", flag.long).into_bytes(),
            4 => format!("-{}", char::from(b'!' + random.below(94) as u8)).into_bytes(),
            5 => flag.short.map_or_else(|| b"--".to_vec(), |short| format!("-{short}").into_bytes()),
            6 => odd_word(random),
            _ => format!("--{}", flag.long).into_bytes(),
        });
    }
    if random.chance(30) {
        words.push(name(random, world));
    }
    // depmod without a root is for the running kernel's tree, which is the made tree here.
    case.writes = *applet == "depmod";
    if *applet == "depmod" {
        let dropped = words.iter().any(|word| [&b"-u"[..], b"-q", b"-r"].contains(&&word[..]));
        if dropped {
            case.peer = Peer::Kmod30;
        }
    }
    case.arguments = words;
    surroundings(random, world, &mut case);
    case
}
