//! Invocations of depmod, and trees for it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::{Flag, Takes, arrange, damage, flag, odd_word, spell, surroundings, value, valued};
use crate::case::{Case, Edit, Peer};
use crate::made::{self, RELEASE};
use crate::world::World;
use ferrmod_tests::random::Random;

/// Every option of kmod 34.
pub(crate) const FLAGS: &[Flag] = &[
    flag('a', "all"),
    flag('A', "quick"),
    valued('b', "basedir", Takes::Root),
    valued('m', "moduledir", Takes::Modules),
    valued('o', "outdir", Takes::Output),
    valued('C', "config", Takes::Configuration),
    valued('E', "symvers", Takes::Symbols),
    valued('F', "filesyms", Takes::Symbols),
    flag('e', "errsyms"),
    flag('v', "verbose"),
    flag('n', "show"),
    flag('n', "dry-run"),
    valued('P', "symbol-prefix", Takes::Character),
    flag('w', "warn"),
    flag('V', "version"),
    flag('h', "help"),
];

/// What 30 still accepts.
pub(crate) const DROPPED: &[Flag] = &[flag('u', "unresolved-error"), flag('q', "quiet"), flag('r', "root")];

/// The made tree, with any options.
pub(crate) fn made(random: &mut Random, world: &World) -> Case {
    let mut options = Vec::new();
    if random.chance(97) {
        spell(random, &FLAGS[2], Some(world.made_root().into_bytes()), &mut options);
    }
    let mut case = Case::new("depmod", &[]);
    for _ in 0..[0, 1, 1, 1, 2, 2, 3, 4][random.below(8)] {
        let flag = random.pick(FLAGS);
        if matches!(flag.long, "help" | "version") && random.chance(80) {
            continue;
        }
        let value = (flag.value != Takes::Nothing).then(|| value(random, world, flag.value));
        spell(random, flag, value, &mut options);
    }
    if random.chance(5) {
        let flag = random.pick(DROPPED);
        spell(random, flag, None, &mut options);
        case.peer = Peer::Kmod30;
    }
    let mut operands = Vec::new();
    if random.chance(92) {
        operands.push(if random.chance(90) { RELEASE.into() } else { value(random, world, Takes::Release) });
    }
    if random.chance(12) {
        let made = world.made().display().to_string();
        for _ in 0..1 + random.below(4) {
            let files = [
                "kernel/a/alpha.ko",
                "kernel/a/beta-dash.ko",
                "kernel/a/gamma_under.ko",
                "kernel/b/delta.ko",
                "updates/dup.ko",
                "kernel/c/dup.ko",
                "kernel/nowhere.ko",
                "kernel/n/README",
                "kernel/packed/pxz.ko.xz",
            ];
            operands.push(match random.below(10) {
                0 => odd_word(random),
                1 => b"relative.ko".to_vec(),
                2 => format!("{}/work/alone.ko", world.stage.display()).into_bytes(),
                _ => format!("{made}/{}", random.pick(&files)).into_bytes(),
            });
        }
    }
    if random.chance(10) {
        case.edits.push(damage(random, world));
    }
    if random.chance(15) {
        let file = ["kernel/a/alpha.ko", "kernel/b/eps.ko", "modules.dep", "updates/dup.ko"];
        case.edits.push(Edit::Touch(world.made().join(random.pick(&file)), 1 + random.below(100) as u64));
        case.edits.sort_by_key(|edit| !matches!(edit, Edit::Touch(..)));
    }
    case.arguments = arrange(random, options, operands);
    case.writes = true;
    surroundings(random, world, &mut case);
    case
}

/// Trees that are odd in ways the made tree is not.
pub(crate) fn trees(random: &mut Random, world: &World) -> Case {
    let mut case = Case::new("depmod", &["-b", &world.made_root()]);
    case.writes = true;
    let made = world.made();
    for _ in 0..1 + random.below(3) {
        match random.below(10) {
            0 if random.chance(20) => {
                let path = made.join(OsStr::from_bytes(b"kernel/bytes/caf\xe9.ko"));
                case.edits.push(Edit::Write(path, made::with_modinfo(&[b"license=GPL"])));
            }
            0 => {
                let (path, content) = random.pick(&made::broken_files()).clone();
                case.edits.push(Edit::Write(made.join(path), content));
            }
            1 => {
                let order = [
                    &b""[..],
                    b"\n\n",
                    b"kernel/b/omega.ko",
                    b"kernel/b/omega.ko\r\n",
                    b"# comment\nkernel/c/zeta.ko\n",
                    b"kernel/c/zeta.ko.xz\nkernel/packed/pxz.ko.xz\nkernel/packed/pzst.ko\n",
                    b"./kernel/c/zeta.ko\n/kernel/c/weak.ko\nkernel//c/weak.ko\n",
                    b"kernel/c/zeta.ko trailing\n \nkernel/c/weak.ko \n",
                ];
                case.edits.push(Edit::Write(made.join("modules.order"), random.pick(&order).to_vec()));
            }
            2 => {
                let builtin = [
                    &b""[..],
                    b"kernel/bi/one.ko",
                    b"kernel/bi/one.ko\nkernel/bi/one.ko\nkernel/other/one.ko\n",
                    b"kernel/with-dash.ko\nkernel/deep/er/last.ko\n",
                    b"kernel/caf\xe9.ko\n",
                    b"kernel/no.dots.ko\nkernel/spa ce.ko\n",
                ];
                case.edits.push(Edit::Write(made.join("modules.builtin"), random.pick(&builtin).to_vec()));
            }
            3 => {
                let modinfo = [
                    &b""[..],
                    b"\0",
                    b"no end",
                    b"m.alias=unfinished",
                    b"nodot\0m.alias=good\0m.other=y\0",
                    b"m.alias=a[b-c]\0m.alias=a-b-c\0m.alias=un[closed\0",
                    b"m.alias=caf\xe9\0m.alias=after\0",
                    b"m-n.alias=dashes-here\0",
                ];
                case.edits.push(Edit::Write(made.join("modules.builtin.modinfo"), random.pick(&modinfo).to_vec()));
            }
            4 => {
                let file =
                    ["modules.order", "modules.builtin", "modules.builtin.modinfo", "kernel", "kernel/a", "updates"];
                case.edits.push(Edit::Remove(made.join(random.pick(&file))));
            }
            5 => {
                let lines: [&[&[u8]]; 10] = [
                    &[b"alias=un[closed"],
                    &[b"alias=a]b", b"alias=[a-b]-[c-d]"],
                    &[b"alias="],
                    &[b"alias=with space", b"alias=with\nnewline"],
                    &[b"softdep=pre:a", b"softdep=post:", b"softdep=pre: a post: b pre: c"],
                    &[b"weakdep=", b"weakdep=a-b c"],
                    &[b"alias=char-major-1-2-3", b"alias=devname:x y"],
                    &[b"alias=devname:only", b"alias=char-major-0x10-07"],
                    &[b"alias=char-major-1-*", b"alias=block-major-2-3", b"alias=devname:both"],
                    &[b"alias=same", b"alias=same", b"softdep=pre: same"],
                ];
                case.edits
                    .push(Edit::Write(made.join("kernel/z/extra_info.ko"), made::with_modinfo(random.one(&lines))));
            }
            6 => {
                // A ring of one to five modules, and one that needs them.
                let size = 1 + random.below(5);
                for at in 0..size {
                    let own = format!("ring{at}_fn");
                    let next = format!("ring{}_fn", (at + 1) % size);
                    case.edits
                        .push(Edit::Write(made.join(format!("kernel/r/ring{at}.ko")), made::plain(&[&own], &[&next])));
                }
                case.edits.push(Edit::Write(made.join("kernel/r/outside.ko"), made::plain(&[], &["ring0_fn"])));
            }
            7 => {
                // A random graph without rings.
                let size = 5 + random.below(25);
                for at in 0..size {
                    let needs: Vec<String> =
                        (0..at).filter(|_| random.chance(18)).map(|other| format!("graph{other}_fn")).collect();
                    let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
                    let path = format!("kernel/g/{:02x}graph{at}.ko", random.below(256));
                    case.edits.push(Edit::Write(made.join(path), made::plain(&[&format!("graph{at}_fn")], &needs)));
                }
            }
            8 => {
                let files =
                    ["modules.dep", "modules.dep.bin", "modules.alias", "modules.symbols.bin", "modules.devname"];
                let file = made.join(random.pick(&files));
                case.edits.push(match random.below(3) {
                    0 => Edit::Remove(file),
                    1 => Edit::Truncate(file, 3),
                    _ => Edit::Write(file, b"something else".to_vec()),
                });
            }
            _ => {
                let links = [
                    ("kernel/s/outside", "/etc"),
                    ("kernel/s/again.ko", "../a/alpha.ko"),
                    ("kernel/s/broken.ko", "nowhere.ko"),
                    ("kernel/s/loop.ko", "loop.ko"),
                    ("kernel/s/alpha.ko", "../a/alpha.ko"),
                    ("kernel/s/dir.ko", "../a"),
                    ("kernel/s/null.ko", "/dev/null"),
                    ("source", "kernel"),
                    ("extra/tree", "../kernel/a"),
                ];
                let (path, target) = random.pick(&links);
                case.edits.push(Edit::Link(made.join(path), (*target).into()));
            }
        }
    }
    let mut options = Vec::new();
    for _ in 0..random.below(3) {
        let flag = random.pick(&[8, 9, 10, 13, 0, 7]);
        let flag = &FLAGS[*flag];
        let value =
            (flag.value != Takes::Nothing).then(|| format!("{}/work/System.map", world.stage.display()).into_bytes());
        spell(random, flag, value, &mut options);
    }
    case.arguments.extend(arrange(random, options, vec![RELEASE.into()]));
    case
}

/// The whole of a real tree, written elsewhere or to stdout.
pub(crate) fn debian(random: &mut Random, world: &World) -> Case {
    let root = world.stage.join("debian").display().to_string();
    let out = world.stage.join("out").display().to_string();
    let mut case = Case::new("depmod", &["-b", &root]);
    let more: &[&str] = match random.below(4) {
        0 => &["-n"],
        1 => &["-a", "-w", "-o", &out],
        2 => &["-v", "-o", &out],
        _ => &["-o", &out],
    };
    case.arguments.extend(more.iter().map(|word| word.as_bytes().to_vec()));
    case.arguments.push(world.debian.clone().unwrap_or_default().into_bytes());
    case.writes = true;
    case
}
