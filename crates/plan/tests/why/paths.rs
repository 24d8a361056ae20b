//! Every path, and everything that can block it.

use ferrmod_config::Config;
use ferrmod_plan::check::{Answer as Loads, Origin, Reason};
use ferrmod_plan::why::{
    Absence, Condition, Force, Group, Hindrance, Initramfs, InitramfsContents, Judgement, Loaded, Note, Verdict, Way,
};

use crate::ground::{Made, blocked_by, device, listed, path};

/// A path, and the words of what blocks it; none when it is open.
type Row<'r> = (&'r str, &'r [&'r str]);

#[track_caller]
fn expect(config: &str, command_line: &str, rows: &[Row<'_>]) {
    let made = Made::with_all_ways(config, command_line);
    let answer = made.answer("m");
    for (way, blockers) in rows {
        let all: Vec<_> = answer.paths.iter().filter(|path| path.way.to_string() == *way).collect();
        assert!(!all.is_empty(), "no path {way}");
        let path = all[0];
        let texts = blocked_by(&made, path);
        assert_eq!(texts, *blockers, "{way} with\n{config}{command_line}");
        let verdict = if blockers.is_empty() { Verdict::Open } else { Verdict::Blocked };
        assert_eq!(path.verdict, verdict, "{way}");
    }
}

const EVERY_WAY: [&str; 15] = [
    "modprobe m",
    "insmod FILE",
    "device pci:v00001234d00000001",
    "request net_pf_38",
    "request fs-*",
    "request char_major_10_77",
    "modprobe mine",
    "modules-load.d",
    "/etc/modules",
    "modules_load=",
    "rd.driver.pre=",
    "softdep before p",
    "needed by 1 module",
    "install line of other",
    "opening /dev/mdev",
];

#[test]
fn every_way_is_found_and_open_when_nothing_is_said() {
    let made = Made::with_all_ways("", "quiet modules-load=x,m rd.driver.pre=m");
    let answer = made.answer("m");
    for way in EVERY_WAY {
        let path = path(&answer, way);
        assert_eq!((path.verdict, &path.blocked_by[..]), (Verdict::Open, &[][..]), "{way}");
    }
    // By its list, and by udev.
    assert_eq!(answer.paths.iter().filter(|path| path.way.to_string() == "initramfs").count(), 2);
    assert_eq!((answer.open, answer.present), (17, 17));
    let weak = path(&answer, "weakdep of p");
    assert_eq!((weak.verdict, &weak.absent), (Verdict::Absent, &Some(Absence::Weakdep)));
    // A line that makes a path is named.
    let by = path(&answer, "softdep before p").origin.as_ref().unwrap();
    assert!(by.source.ends_with("etc/modprobe.d/t.conf") && by.line == Some(3), "{by}");
    assert_eq!(path(&answer, "modules_load=").origin.as_ref().unwrap().text, "modules-load=x,m");
    // Only what needs no administrator is automatic.
    let by_hand: Vec<String> =
        answer.paths.iter().filter(|path| !path.automatic).map(|path| path.way.to_string()).collect();
    assert_eq!(by_hand, ["modprobe m", "insmod FILE", "modprobe mine"]);
}

#[test]
fn blacklist_stops_aliases_and_systemd_alone() {
    let line = "blacklisted: `blacklist m` (HERE/etc/modprobe.d/t.conf:1)";
    expect(
        "blacklist m\n",
        "modules_load=m",
        &[
            ("modprobe m", &[]),
            ("insmod FILE", &[]),
            ("device pci:v00001234d00000001", &[line]),
            ("request net_pf_38", &[line]),
            ("modprobe mine", &[line]),
            ("modules-load.d", &[line]),
            ("/etc/modules", &[]),
            ("modules_load=", &[line]),
            ("softdep before p", &[]),
            ("needed by 1 module", &[]),
            ("install line of other", &[]),
            ("opening /dev/mdev", &[line]),
        ],
    );
    let line = "blacklisted: `modprobe.blacklist=m` (kernel command line)";
    expect(
        "",
        "modprobe.blacklist=x,m",
        &[("device pci:v00001234d00000001", &[line]), ("modprobe m", &[]), ("initramfs", &[])],
    );
}

#[test]
fn install_stops_modprobe_and_not_insmod() {
    let line = "a command is run instead, which loads nothing, and fails: `install m /bin/false` (HERE/etc/modprobe.d/t.conf:1)";
    expect(
        "install m /bin/false\n",
        "rd.driver.pre=m",
        &[
            ("modprobe m", &[line]),
            ("insmod FILE", &[]),
            ("device pci:v00001234d00000001", &[line]),
            ("request fs-*", &[line]),
            ("modprobe mine", &[line]),
            ("/etc/modules", &[line]),
            ("rd.driver.pre=", &[line]),
            ("softdep before p", &[line]),
            ("needed by 1 module", &[line]),
            ("install line of other", &[line]),
        ],
    );
    // Whatever pattern names it; and a command that may load it decides by itself.
    let made = Made::with_all_ways("install [lm] /opt/decide\n", "");
    let answer = made.answer("m");
    let name = path(&answer, "modprobe m");
    assert_eq!(name.verdict, Verdict::Open);
    assert!(
        matches!(&name.conditions[..], [Condition::Command { module, .. }] if module == "m"),
        "{:?}",
        name.conditions
    );
}

#[test]
fn a_module_with_softdeps_has_no_install_line() {
    let made = Made::with_all_ways("softdep m pre: lone\ninstall m /bin/false\n", "");
    let answer = made.answer("m");
    assert_eq!(path(&answer, "modprobe m").verdict, Verdict::Open);
    let effect = answer.directives.iter().find(|effect| effect.origin.text.starts_with("install m")).unwrap();
    assert!(matches!(&effect.force, Force::Softdeps { line } if line.line == Some(1)), "{effect:?}");
    // And of several lines the first counts.
    let made = Made::new("install m /bin/true\ninstall * /bin/false\n", "");
    let answer = made.answer("m");
    let forces: Vec<bool> = answer.directives.iter().map(|effect| effect.force == Force::Yes).collect();
    assert_eq!(forces, [true, false]);
    let blockers = blocked_by(&made, path(&answer, "modprobe m"));
    // Its dependency has the second line alone.
    assert!(blockers.len() == 2 && blockers[0].starts_with("needs d") && blockers[1].contains("says that all is well"));
}

#[test]
fn mask_and_allow_stop_this_modprobe_and_not_libkmod() {
    let line = "masked: `mask m` (HERE/etc/modprobe.d/t.conf:1)";
    expect(
        "mask m\n",
        "modules_load=m",
        &[
            ("modprobe m", &[line]),
            ("insmod FILE", &[]),
            ("device pci:v00001234d00000001", &[]),
            ("request net_pf_38", &[line]),
            ("modules-load.d", &[]),
            ("modules_load=", &[]),
            ("softdep before p", &[line]),
            ("needed by 1 module", &[line]),
        ],
    );
    let line = "no `allow` line names it; the first is `allow d` (HERE/etc/modprobe.d/t.conf:1)";
    expect("allow d p n\n", "", &[("modprobe m", &[line]), ("insmod FILE", &[])]);
    let made = Made::new("allow d m\n", "");
    let answer = made.answer("m");
    let allowed = &path(&answer, "modprobe m").conditions;
    assert!(matches!(&allowed[..], [Condition::Allowed { origin }] if origin.line == Some(1)), "{allowed:?}");
    assert!(answer.directives.is_empty());
}

#[test]
fn what_comes_before_or_asks_for_it_can_be_blocked_too() {
    expect(
        "install d /bin/false\n",
        "",
        &[
            (
                "modprobe m",
                &[
                    "needs d, which is blocked: a command is run instead, which loads nothing, and fails: `install d /bin/false` \
                   (HERE/etc/modprobe.d/t.conf:1)",
                ],
            ),
            ("insmod FILE", &[]),
        ],
    );
    expect(
        "mask d p\n",
        "",
        &[
            ("modprobe m", &["needs d, which is blocked: masked: `mask d` (HERE/etc/modprobe.d/t.conf:1)"]),
            (
                "softdep before p",
                &[
                    "needs d, which is blocked: masked: `mask d` (HERE/etc/modprobe.d/t.conf:1)",
                    "p is blocked itself: masked: `mask p` (HERE/etc/modprobe.d/t.conf:1)",
                ],
            ),
        ],
    );
    let made = Made::with_all_ways("softdep gone pre: m\n", "");
    std::fs::remove_file(made.folder.join("lib/modules/1.0/d.ko")).unwrap();
    let answer = made.answer("m");
    let blockers = blocked_by(&made, path(&answer, "modprobe m"));
    assert_eq!(blockers, ["m needs HERE/lib/modules/1.0/d.ko, which is not there"]);
    assert_eq!(path(&answer, "softdep before gone").absent, Some(Absence::NoParent));
    let after = &path(&answer, "insmod FILE").conditions;
    assert_eq!(after[..], [Condition::After { modules: vec!["d".into()] }]);
}

#[test]
fn names_that_stand_for_something_else_are_no_path() {
    expect(
        "alias pci:v00001234* other\nalias m lone\n",
        "",
        &[
            (
                "device pci:v00001234d00000001",
                &[
                    "pci:v00001234d00000001 stands for other: `alias pci:v00001234* other` (HERE/etc/modprobe.d/t.conf:1)",
                ],
            ),
            ("modprobe m", &["m stands for lone: `alias m lone` (HERE/etc/modprobe.d/t.conf:2)"]),
            ("modprobe mine", &[]),
            ("request net_pf_38", &[]),
        ],
    );
    // An alias line of a device is a path of the device.
    let made = Made::new("alias usb:v0781* m\n", "");
    let by = path(&made.answer("m"), "device usb:v0781p5567").origin.clone().unwrap();
    assert_eq!(by.text, "alias usb:v0781* m");
}

#[test]
fn the_kernels_own_rules_stop_everything() {
    for (line, words) in [
        (
            "module_blacklist=x,m",
            "the kernel refuses the file: the kernel is told to refuse it: `module_blacklist=x,m` (/proc/cmdline)",
        ),
        ("nomodule", "the kernel refuses the file: loading modules is switched off: `nomodule` (/proc/cmdline)"),
    ] {
        let made = Made::with_all_ways("", line);
        let answer = made.answer("m");
        assert!(!answer.can_be_loaded && answer.open == 0 && answer.present > 10, "{line}");
        for path in answer.paths.iter().filter(|path| path.verdict != Verdict::Absent) {
            assert_eq!(blocked_by(&made, path), [words], "{}", path.way);
        }
    }
    // What a check of the file came to counts in their place.
    let made = Made::new("", "module_blacklist=m");
    let answer = made.answer_of("m", |mut subject| {
        subject.judgement =
            Judgement { answer: Some(Loads::Refused), reasons: vec![Reason::Empty], ..Judgement::default() };
        subject
    });
    assert_eq!(blocked_by(&made, path(&answer, "insmod FILE")), ["the kernel refuses the file: the file is empty"]);
}

#[test]
fn the_kernel_may_call_no_modprobe() {
    let mut made = Made::with_all_ways("", "");
    let origin = Origin { source: "/proc/sys/kernel/modprobe".into(), line: None, text: String::new() };
    made.system.no_modprobe = Some(origin.clone());
    let answer = made.answer("m");
    for way in ["request net_pf_38", "opening /dev/mdev"] {
        assert_eq!(path(&answer, way).blocked_by, [Hindrance::NoModprobe { origin: origin.clone() }], "{way}");
    }
    assert_eq!(path(&answer, "modprobe m").verdict, Verdict::Open);
}

#[test]
fn what_is_not_there_is_said_so() {
    let mut made = Made::new("blacklist m extra\nblcaklist m\nblacklist gone\n", "");
    made.system.devices = Some(vec![device("usb:v1")]);
    made.system.initramfs = Initramfs::Missing { looked: vec!["/boot/initrd".into()] };
    let answer = made.answer("m");
    assert_eq!(path(&answer, "a device").absent, Some(Absence::NoDevice { aliases: 1, devices: Some(1) }));
    assert_eq!(path(&answer, "initramfs").absent, Some(Absence::NoInitramfs { looked: vec!["/boot/initrd".into()] }));
    // A line that is misspelt is told of.
    let bad: Vec<u32> = answer
        .notes
        .iter()
        .filter_map(|note| match note {
            Note::BadLine { line, .. } => Some(*line),
            _ => None,
        })
        .collect();
    assert_eq!(bad, [2]);
    made.system.devices = None;
    assert_eq!(path(&made.answer("m"), "a device").absent, Some(Absence::NoDevice { aliases: 1, devices: None }));
    made.system.initramfs = Initramfs::Unreadable { file: "/boot/i".into(), problem: "no archive in it".into() };
    assert!(matches!(path(&made.answer("m"), "initramfs").absent, Some(Absence::UnreadableInitramfs { .. })));

    let gone = made.answer("gone");
    assert!(!gone.can_be_loaded && gone.file.is_none());
    let folder = made.folder.join("lib/modules/1.0").display().to_string();
    assert_eq!(
        path(&gone, "modprobe gone").blocked_by,
        [Hindrance::NotIndexed { name: "gone".into(), folder: folder.clone() }, Hindrance::NoFile { folder },]
    );
    let inside = made.answer("inside");
    assert!(inside.built_in && inside.paths.is_empty());
}

#[test]
fn without_indexes_the_modules_own_aliases_are_told() {
    let made = Made::new("", "");
    for name in ["dep", "alias"] {
        std::fs::remove_file(made.folder.join(format!("lib/modules/1.0/modules.{name}.bin"))).unwrap();
    }
    let answer = made.answer_of("m", |mut subject| {
        subject.aliases = vec!["fs-mfs".into(), "pci:v00001234d*".into(), "devname:mdev".into()];
        subject
    });
    let request = path(&answer, "request fs-mfs");
    assert!(matches!(&request.way, Way::Request { group: Group { pattern: "fs-*", .. }, .. }));
    assert!(matches!(&request.blocked_by[..], [Hindrance::NotIndexed { name, .. }] if name == "fs_mfs"));
    assert_eq!(path(&answer, "device pci:v00001234d00000001").verdict, Verdict::Blocked);
    assert_eq!(path(&answer, "insmod FILE").verdict, Verdict::Open);
    assert!(!answer.paths.iter().any(|path| path.way.to_string().contains("devname")));
}

#[test]
fn a_list_with_parameters_is_no_list_for_systemd() {
    let mut made = Made::with_all_ways("", "");
    made.system.lists[0].lines = vec![listed("/etc/modules-load.d/a.conf", "m debug=1")];
    let answer = made.answer("m");
    assert_eq!(path(&answer, "modules-load.d").blocked_by, [Hindrance::LineIsNoName { rest: "debug=1".into() }]);
    // By an alias it is found as well, and then the blacklist counts.
    made.system.lists[0].lines = vec![listed("/etc/modules-load.d/a.conf", "fs-mfs")];
    assert_eq!(path(&made.answer("m"), "modules-load.d").verdict, Verdict::Open);
}

fn contents(made: &mut Made, change: impl Fn(&mut InitramfsContents)) {
    if let Initramfs::Read(contents) = &mut made.system.initramfs {
        change(contents);
    }
}

#[test]
fn the_initramfs_has_a_configuration_of_its_own() {
    let config = |text: &str| Config::from_text("/boot/initrd:etc/modprobe.d/a.conf".into(), text.into(), true);
    let verdicts = |made: &Made| -> Vec<(Verdict, usize)> {
        let answer = made.answer("m");
        let all = answer.paths.iter().filter(|path| path.way.to_string() == "initramfs");
        all.map(|path| (path.verdict, path.conditions.len())).collect()
    };
    // The line was written after the initramfs.
    let mut made = Made::with_all_ways("blacklist m\n", "");
    assert_eq!(verdicts(&made), [(Verdict::Open, 0), (Verdict::Open, 1)]);
    contents(&mut made, |contents| contents.configs = vec![config("blacklist m\n")]);
    assert_eq!(verdicts(&made), [(Verdict::Open, 0), (Verdict::Blocked, 0)]);
    contents(&mut made, |contents| contents.configs = vec![config("install m /bin/false\n")]);
    assert_eq!(verdicts(&made), [(Verdict::Blocked, 0), (Verdict::Blocked, 1)]);

    let mut made = Made::with_all_ways("", "rd.driver.blacklist=m rd.driver.post=m");
    let answer = made.answer("m");
    let udev = answer.paths.iter().rfind(|path| path.way.to_string() == "initramfs").unwrap();
    assert!(matches!(&udev.blocked_by[..], [Hindrance::DriverBlacklist { .. }]), "{udev:?}");
    contents(&mut made, |contents| {
        contents.udev = false;
        contents.lists.clear();
    });
    assert_eq!(path(&made.answer("m"), "initramfs").absent, Some(Absence::NothingAsks));
    contents(&mut made, |contents| contents.modules.clear());
    let answer = made.answer("m");
    assert_eq!(path(&answer, "initramfs").absent, Some(Absence::NotInInitramfs));
    assert_eq!(path(&answer, "rd.driver.post=").blocked_by, [Hindrance::NoFile { folder: "/boot/initrd".into() }]);
}

#[test]
fn what_is_loaded_is_told() {
    let made = Made::new("install m /bin/false", "nomodule");
    let loaded = Loaded { state: "live", references: Some(1), used_by: vec!["n".into()] };
    let answer = made.answer_of("m", |subject| ferrmod_plan::why::Subject { loaded: Some(loaded.clone()), ..subject });
    assert_eq!((answer.loaded, answer.can_be_loaded), (Some(loaded), false));
}

#[test]
fn a_driver_may_ask_for_a_symbol() {
    let symbols = |config: &str, command_line: &str| {
        let made = Made::new(config, command_line);
        let answer = made.answer("lone");
        let path = path(&answer, "request symbol:*");
        (path.way.detail(), blocked_by(&made, path))
    };
    let (detail, blockers) = symbols("", "");
    assert!(detail.ends_with("(symbol_request): symbol:lone_attach, symbol:lone_detach"), "{detail}");
    assert!(blockers.is_empty(), "{blockers:?}");
    // It is modprobe that gets the request.
    assert_eq!(symbols("blacklist lone\n", "").1.len(), 1);
    assert_eq!(symbols("install lone /bin/false\n", "").1.len(), 1);
    let made = Made::new("", "");
    assert!(!made.answer("m").paths.iter().any(|path| path.way.to_string().contains("symbol:")));
}
