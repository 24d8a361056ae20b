//! Makes invocations: options as data, and the many ways in which each can be written.

mod configuration;
mod depmod;
mod modinfo;
mod modprobe;
mod small;

use crate::case::{Case, Edit};
use crate::world::World;
use ferrmod_tests::random::Random;

/// A group of invocations; each is one test.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) count: usize,
    pub(crate) make: fn(&mut Random, &World) -> Case,
}

/// Every group of generated invocations.
pub(crate) const GROUPS: &[Group] = &[
    Group { name: "modprobe_query", count: 1500, make: modprobe::query },
    Group { name: "modprobe_act", count: 900, make: modprobe::act },
    Group { name: "modprobe_debian", count: 250, make: modprobe::debian },
    Group { name: "modprobe_configuration", count: 900, make: configuration::modprobe },
    Group { name: "modprobe_command_line", count: 300, make: configuration::command_line },
    Group { name: "modprobe_indexes", count: 300, make: modprobe::indexes },
    Group { name: "modinfo", count: 1000, make: modinfo::made },
    Group { name: "modinfo_debian", count: 250, make: modinfo::debian },
    Group { name: "depmod", count: 700, make: depmod::made },
    Group { name: "depmod_trees", count: 300, make: depmod::trees },
    Group { name: "depmod_configuration", count: 300, make: configuration::depmod },
    Group { name: "depmod_debian", count: 4, make: depmod::debian },
    Group { name: "small_applets", count: 900, make: small::any },
    Group { name: "options", count: 900, make: small::options },
];

/// One option of an applet.
pub(crate) struct Flag {
    pub(crate) short: Option<char>,
    pub(crate) long: &'static str,
    pub(crate) value: Takes,
}

/// What an option takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    /// A root folder.
    Root,
    /// A release.
    Release,
    /// A file or folder with configuration.
    Configuration,
    /// Milliseconds.
    Wait,
    /// A field of modinfo.
    Field,
    /// A file with symbols.
    Symbols,
    /// A single character.
    Character,
    /// A folder for what is written.
    Output,
    /// The folder of modules below the root.
    Modules,
    /// A format of `kmod static-nodes`.
    Format,
    /// A file that is written.
    File,
}

const fn flag(short: char, long: &'static str) -> Flag {
    Flag { short: Some(short), long, value: Takes::Nothing }
}

const fn long(long: &'static str) -> Flag {
    Flag { short: None, long, value: Takes::Nothing }
}

const fn valued(short: char, long: &'static str, value: Takes) -> Flag {
    Flag { short: Some(short), long, value }
}

/// A value for an option, mostly a good one.
pub(crate) fn value(random: &mut Random, world: &World, takes: Takes) -> Vec<u8> {
    let stage = world.stage.display().to_string();
    let good = |text: &str| text.as_bytes().to_vec();
    if random.chance(4) {
        return odd_word(random);
    }
    match takes {
        Takes::Nothing => Vec::new(),
        Takes::Root => good(random.one(&[
            &*format!("{stage}/made"),
            &format!("{stage}/made"),
            &format!("{stage}/made/"),
            &format!("{stage}//made/."),
            &format!("{stage}/work/link_to_made"),
            &format!("{stage}/nowhere"),
            "made",
            "./made",
            "..",
            "",
            "/",
        ])),
        Takes::Release => good(random.one(&[
            "6.1.0-made",
            "6.1.0-made",
            "6.1.0-made",
            "6.1",
            "9.9.9",
            "bad",
            "",
            "../6.1.0-made",
            ".",
        ])),
        Takes::Configuration => good(random.one(&[
            &*format!("{stage}/work/one.conf"),
            &format!("{stage}/work/conf.d"),
            &format!("{stage}/work/depmod.one"),
            &format!("{stage}/work/depmod.d"),
            &format!("{stage}/work/nowhere"),
            "/etc/modprobe.d",
            "/dev/null",
            "work/one.conf",
            "",
        ])),
        Takes::Wait => {
            good(random.one(&["0", "1", "10", "-1", "abc", "1x", "", "99999999999999999999", "0x10", "010"]))
        }
        Takes::Field => good(random.one(&[
            "author",
            "license",
            "filename",
            "parm",
            "alias",
            "depends",
            "vermagic",
            "name",
            "nosuch",
            "Author",
            "",
            "parmtype",
            "softdep",
            "sig_id",
            "signature",
            "signer",
            "description",
            "build-id",
            "key",
            "firmware",
            "version",
            "intree",
            "weakdep",
            "file",
        ])),
        Takes::Symbols => good(random.one(&[
            &*format!("{stage}/work/System.map"),
            &format!("{stage}/work/Module.symvers"),
            &format!("{stage}/work/text.ko"),
            &format!("{stage}/work/nowhere"),
            "/dev/null",
            "work/Module.symvers",
        ])),
        Takes::Character => good(random.one(&["_", ".", "a", "ab", ""])),
        Takes::Output => good(random.one(&[
            &*format!("{stage}/out"),
            &format!("{stage}/out/new/deep"),
            &format!("{stage}/made"),
            "out",
        ])),
        Takes::Modules => good(random.one(&["/lib/modules", "lib/modules", "/nowhere", "/lib/modules/", ""])),
        Takes::Format => good(random.one(&["human", "tmpfiles", "devname", "json", "", "HUMAN", "hum"])),
        Takes::File => good(random.one(&[
            &*format!("{stage}/out/nodes"),
            &format!("{stage}/out/new/folder/nodes"),
            &format!("{stage}/work/text.ko"),
            &format!("{stage}/work"),
            &format!("{stage}/work/alpha/nodes"),
            "out/relative",
        ])),
    }
}

/// Adds the flag to the arguments in one of the ways it can be written.
pub(crate) fn spell(random: &mut Random, flag: &Flag, value: Option<Vec<u8>>, into: &mut Vec<Vec<Vec<u8>>>) {
    let mut words = Vec::new();
    let short = flag.short.filter(|_| flag.long.is_empty() || random.chance(60));
    match (short, value) {
        (Some(short), None) => words.push(format!("-{short}").into_bytes()),
        (Some(short), Some(value)) => {
            if random.chance(30) && !value.is_empty() {
                words.push([format!("-{short}").as_bytes(), &value].concat());
            } else {
                words.push(format!("-{short}").into_bytes());
                words.push(value);
            }
        }
        (None, value) => {
            let mut name = flag.long.to_owned();
            // An abbreviation, which may be ambiguous.
            if random.chance(15) {
                name.truncate(1 + random.below(name.len()));
            }
            match value {
                None => words.push(format!("--{name}").into_bytes()),
                Some(value) if random.chance(50) => words.push([format!("--{name}=").as_bytes(), &value].concat()),
                Some(value) => {
                    words.push(format!("--{name}").into_bytes());
                    words.push(value);
                }
            }
        }
    }
    into.push(words);
}

/// Puts options and operands together: bundled, permuted, with `--` now and then.
pub(crate) fn arrange(random: &mut Random, options: Vec<Vec<Vec<u8>>>, operands: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut parts = bundle(random, options);
    random.shuffle(&mut parts);
    let mut operands = operands;
    if random.chance(12) {
        operands.insert(0, b"--".to_vec());
    } else if random.chance(30) {
        // Operands keep their order, options go between them.
        let mut all = Vec::new();
        let mut rest = operands.into_iter();
        for part in parts {
            if random.chance(40) {
                all.extend(rest.next());
            }
            all.extend(part);
        }
        all.extend(rest);
        return all;
    }
    parts.into_iter().flatten().chain(operands).collect()
}

/// Joins some neighbouring short options: `-r -q` becomes `-rq`.
fn bundle(random: &mut Random, options: Vec<Vec<Vec<u8>>>) -> Vec<Vec<Vec<u8>>> {
    let is_short =
        |words: &Vec<Vec<u8>>| words.len() == 1 && words[0].len() == 2 && words[0][0] == b'-' && words[0][1] != b'-';
    let mut bundled: Vec<Vec<Vec<u8>>> = Vec::new();
    for words in options {
        match bundled.last_mut() {
            Some(last)
                if is_short(&words)
                    && last.len() == 1
                    && last[0][0] == b'-'
                    && last[0].get(1) != Some(&b'-')
                    && {
                        // Only plain options take a further letter.
                        last[0].len() < 5 && is_short(&vec![last[0][..2].to_vec()]) && random.chance(30)
                    }
                    && last[0].iter().skip(1).all(|letter| b"arcDRnqvVhfbilspmAew0".contains(letter)) =>
            {
                last[0].push(words[0][1]);
            }
            _ => bundled.push(words),
        }
    }
    bundled
}

/// A word that no tool expects.
pub(crate) fn odd_word(random: &mut Random) -> Vec<u8> {
    match random.below(14) {
        0 => Vec::new(),
        1 => b"-".to_vec(),
        2 => b"\xff\xfe".to_vec(),
        3 => vec![b'a'; 65_536],
        4 => b"a\nb".to_vec(),
        5 => b"../../../etc/passwd".to_vec(),
        6 => vec![b'/'; 4096],
        7 => b"%s%n%d".to_vec(),
        8 => b" ".to_vec(),
        9 => vec![b'-'; 300],
        10 => vec![b'a'; 4095],
        11 => b"=".to_vec(),
        12 => b"caf\xc3\xa9".to_vec(),
        _ => b"\t".to_vec(),
    }
}

/// A name that a module, an alias, a symbol or nothing has in the made tree.
pub(crate) fn name(random: &mut Random, world: &World) -> Vec<u8> {
    const NAMES: &[&str] = &[
        "alpha",
        "beta-dash",
        "beta_dash",
        "gamma_under",
        "gamma-under",
        "delta",
        "eps",
        "omega",
        "tree_top",
        "device",
        "block",
        "unknown",
        "weak",
        "othercrc",
        "twice_a",
        "twice_b",
        "twice_user",
        "dup",
        "onlyextra",
        "dup2",
        "insection",
        "namesonly",
        "namesuser",
        "nosymtab",
        "dotted",
        "blacked",
        "notblacked",
        "installed",
        "zeta",
        "v1.2",
        "v1",
        "with space",
        "with_space",
        "UPPER",
        "upper",
        "a-b_c-d",
        "a_b_c_d",
        "brackets[0-9]",
        "brackets5",
        "star*",
        "starx",
        ".hidden",
        "tail",
        "equals=1",
        "colon:name",
        "quote\"d",
        "hash#",
        "in_dash",
        "in_build",
        "upd",
        "toplevel",
        "misnamed",
        "another_name",
        "small",
        "big",
        "bigsmall",
        "nomodinfo",
        "oddinfo",
        "signed",
        "pxz",
        "pzst",
        "liar",
        "hidden_xz",
        "to_file",
        "broken",
        "loop",
        "failing",
        "nomodule",
        "builtin_one",
        "builtin-one",
        "builtin_two",
        "builtin-two",
        "builtin_three",
        "idle",
        "pinned",
        "a_very_long_module_name_indeed",
        "leaving",
        "nosysfs",
        "nosuch",
        "nosuchmodule",
    ];
    const ALIASES: &[&str] = &[
        "alpha-alias",
        "alpha_alias",
        "pci:v00008086d00001234sv00000000sd00000000bc00sc00i00",
        "pci:v00008086d0000100Esv1sd2bc3sc4i5",
        "pci:v00008086d0000ffffsv1sd2bc3sc4i5",
        "beta:anything",
        "beta:",
        "beta:shared",
        "usb:v0123p5d1",
        "usb:vx123p5d1",
        "beta-alias-with-dashes",
        "beta_alias_with_dashes",
        "deltaXaliasbx",
        "deltaXaliasdx",
        "char-major-10-200",
        "char-major-10-201",
        "block-major-7-3",
        "block-major-7-9",
        "devname:net/made",
        "symbol:alpha_fn",
        "symbol:beta_fn",
        "symbol:nosuch",
        "symbol:twice_fn",
        "symbol:",
        "conf-alias",
        "conf_alias",
        "wild-thing",
        "wild_",
        "cls-a-b",
        "cls_b_c",
        "cls-c-d",
        "to-missing",
        "shadowed",
        "from-local",
        "inst_alias_x",
        "shared-by-blacked",
        "black:x",
        "inst:x",
        "spaced alias",
        "spaced_alias",
        "renamed:x",
        "small:x",
        "big:x",
        "bi:one",
        "bi:oneandmore",
        "bi:two",
        "bi:three",
        "from-file",
        "from-folder",
        "never",
        "alpha:",
        "Alpha",
        "alpha ",
        "alph",
        "alphaa",
        "*",
        "al*",
        "?lpha",
        "a[l]pha",
        "[",
        "]",
        "a[b",
        "fs-ext4",
        "net-pf-10",
    ];
    let stage = world.stage.display();
    match random.below(100) {
        0..55 => random.pick(NAMES).as_bytes().to_vec(),
        55..85 => random.pick(ALIASES).as_bytes().to_vec(),
        85..95 => {
            let paths = [
                format!("{}/kernel/a/alpha.ko", world.made().display()),
                format!("{}/kernel/a/beta-dash.ko", world.made().display()),
                format!("{}/kernel/packed/pxz.ko.xz", world.made().display()),
                format!("{}/kernel/links/to_file.ko", world.made().display()),
                format!("{}/kernel/links/loop.ko", world.made().display()),
                format!("{}/kernel/n/with space.ko", world.made().display()),
                format!("{}/kernel/a", world.made().display()),
                format!("{stage}/work/alone.ko"),
                format!("{stage}/work/text.ko"),
                format!("{stage}/work/nowhere.ko"),
                "./alone.ko".to_owned(),
                "alone.ko".to_owned(),
                "./work/alone.ko".to_owned(),
                "work/alone.ko".to_owned(),
                "alpha.ko".to_owned(),
                "/".to_owned(),
                ".".to_owned(),
                "./".to_owned(),
                "/dev/null".to_owned(),
            ];
            random.pick(&paths).clone().into_bytes()
        }
        _ => odd_word(random),
    }
}

/// A module parameter as it is given on a command line.
pub(crate) fn parameter(random: &mut Random) -> Vec<u8> {
    const PARAMETERS: &[&str] = &[
        "x=1",
        "y=a b",
        "z=\"q r\"",
        "dyndbg",
        "=",
        "x=",
        "list=1,2,3",
        "quoted='a'",
        "a-b=c-d",
        "tab=a\tb",
        "q=\"",
        "back=a\\b",
        "dollar=$HOME",
        "$CMDLINE_OPTS",
        "y=it's",
        "flag",
        "x=1 z=2",
    ];
    random.pick(PARAMETERS).as_bytes().to_vec()
}

/// Where an invocation starts, and the environment that options can come from.
fn surroundings(random: &mut Random, world: &World, case: &mut Case) {
    if random.chance(50) {
        case.folder = world.stage.clone();
    } else if random.chance(20) {
        case.folder = world.stage.join("work");
    }
    if random.chance(4) {
        case.environment.push(("POSIXLY_CORRECT", b"1".to_vec()));
    }
    if random.chance(4) {
        case.environment
            .push(("KMOD_LOG", random.pick(&["debug", "7", "info", "err", "junk", ""]).as_bytes().to_vec()));
    }
    if random.chance(5) {
        case.name = [random.one(&["/sbin/", "./", "../x/"]), case.applet()].concat().into_bytes();
    }
}

/// An index file of the made tree, damaged.
fn damage(random: &mut Random, world: &World) -> Edit {
    const INDEXES: &[&str] = &[
        "modules.dep.bin",
        "modules.alias.bin",
        "modules.symbols.bin",
        "modules.builtin.bin",
        "modules.builtin.alias.bin",
        "modules.dep",
        "modules.alias",
        "modules.softdep",
        "modules.weakdep",
        "modules.symbols",
        "modules.devname",
    ];
    let file = world.made().join(random.pick(INDEXES));
    match random.below(6) {
        0 => Edit::Truncate(file, 0),
        1 => Edit::Truncate(file, random.below(64) as u64),
        2 => Edit::Poke(file, random.below(12), vec![random.next() as u8]),
        3 => Edit::Remove(file),
        4 => Edit::Truncate(file, 200 + random.below(1500) as u64),
        _ => Edit::Poke(file, random.below(2000), vec![random.next() as u8]),
    }
}
