//! Invocations of modprobe.

use super::{Flag, Takes, arrange, damage, flag, long, name, odd_word, parameter, spell, surroundings, value, valued};
use crate::case::Case;
use crate::made::RELEASE;
use crate::world::World;
use ferrmod_tests::random::Random;

/// Every option of kmod 30 and 34.
pub(crate) const FLAGS: &[Flag] = &[
    flag('a', "all"),
    flag('r', "remove"),
    long("remove-dependencies"),
    long("remove-holders"),
    valued('w', "wait", Takes::Wait),
    long("first-time"),
    flag('i', "ignore-install"),
    flag('i', "ignore-remove"),
    flag('b', "use-blacklist"),
    flag('f', "force"),
    long("force-modversion"),
    long("force-vermagic"),
    flag('R', "resolve-alias"),
    flag('D', "show-depends"),
    flag('c', "showconfig"),
    flag('c', "show-config"),
    long("show-modversions"),
    long("dump-modversions"),
    long("show-exports"),
    flag('n', "dry-run"),
    flag('n', "show"),
    valued('C', "config", Takes::Configuration),
    valued('d', "dirname", Takes::Root),
    valued('S', "set-version", Takes::Release),
    flag('s', "syslog"),
    flag('q', "quiet"),
    flag('v', "verbose"),
    flag('V', "version"),
    flag('h', "help"),
];

/// Options that point at the made tree, and some random further ones.
fn base(random: &mut Random, world: &World, wanted: &[&str], more: usize) -> Vec<Vec<Vec<u8>>> {
    let mut options = Vec::new();
    let by_long = |long: &str| FLAGS.iter().find(|flag| flag.long == long);
    for long in wanted {
        if let Some(flag) = by_long(long) {
            spell(random, flag, None, &mut options);
        }
    }
    if random.chance(92) {
        spell(random, &FLAGS[22], Some(world.made_root().into_bytes()), &mut options);
    }
    if random.chance(92) {
        spell(random, &FLAGS[23], Some(RELEASE.into()), &mut options);
    }
    for _ in 0..more {
        let flag = random.pick(FLAGS);
        // Most combinations with these say nothing but "help".
        if matches!(flag.long, "help" | "version") && random.chance(90) {
            continue;
        }
        let value = (flag.value != Takes::Nothing).then(|| value(random, world, flag.value));
        spell(random, flag, value, &mut options);
    }
    options
}

/// Whether something would be loaded or removed is only asked.
pub(crate) fn query(random: &mut Random, world: &World) -> Case {
    let mode: &[&str] = match random.below(100) {
        0..40 => &["show-depends"],
        40..55 => &["resolve-alias"],
        55..75 => &["dry-run", "verbose"],
        75..80 => &["show-config"],
        80..88 => &["dry-run", "remove", "verbose"],
        88..91 => &["show-modversions"],
        91..95 => &["show-exports"],
        _ => &["dry-run", "verbose", "first-time"],
    };
    let more = [0, 0, 1, 1, 2, 3][random.below(6)];
    let options = base(random, world, mode, more);
    invocation(random, world, options)
}

/// Something is really to be done; the kernel will refuse.
pub(crate) fn act(random: &mut Random, world: &World) -> Case {
    let mode: &[&str] = match random.below(100) {
        0..45 => &[],
        45..60 => &["verbose"],
        60..75 => &["remove"],
        75..85 => &["remove", "verbose"],
        85..90 => &["all"],
        90..95 => &["remove", "remove-holders"],
        _ => &["quiet"],
    };
    let more = [0, 0, 1, 1, 2][random.below(5)];
    let options = base(random, world, mode, more);
    invocation(random, world, options)
}

fn invocation(random: &mut Random, world: &World, options: Vec<Vec<Vec<u8>>>) -> Case {
    let mut operands = Vec::new();
    if random.chance(97) {
        operands.push(name(random, world));
    }
    while random.chance(22) {
        operands.push(if random.chance(60) { name(random, world) } else { parameter(random) });
    }
    let mut case = Case::new("modprobe", &[]);
    case.arguments = arrange(random, options, operands);
    surroundings(random, world, &mut case);
    if random.chance(6) {
        let words = [
            "-v",
            "-q",
            "-a",
            "-n -v",
            "-D",
            "--all",
            "-C /dev/null",
            "'-v'",
            "\"-n\" -v",
            "-b",
            "'unclosed",
            "alpha",
            "-S 6.1.0-made",
            "--wrong",
            "-i -v",
            "-d '/no where'",
        ];
        case.environment.push(("MODPROBE_OPTIONS", random.pick(&words).as_bytes().to_vec()));
    }
    case
}

/// The same questions about a real tree.
pub(crate) fn debian(random: &mut Random, world: &World) -> Case {
    const NAMES: &[&str] = &[
        "ext4",
        "btrfs",
        "e1000e",
        "nf_tables",
        "snd-hda-intel",
        "usb-storage",
        "usb_storage",
        "i915",
        "kvm-intel",
        "xfs",
        "dm-mod",
        "crc32c-intel",
        "libcrc32c",
        "vfat",
        "nvme",
        "ahci",
        "loop",
        "mac80211",
        "iwlwifi",
        "crypto-sha256",
        "fs-xfs",
        "net-pf-10",
        "pci:v00008086d00001533sv00000000sd00000000bc02sc00i00",
        "pci:v00008086d0000A348sv00001028sd0000085Cbc04sc03i80",
        "usb:v0781p5567d0126dc00dsc00dp00ic08isc06ip50in00",
        "symbol:crc32c",
        "symbol:usb_register_driver",
        "char-major-10-229",
        "devname:fuse",
        "cpu:type:x86,ven0000fam0006mod008E:feature:,0000,0001,0085",
        "hid:b0003g0001v0000046Dp0000C52B",
        "acpi:PNP0C0A:",
        "platform:e1000",
        "nosuchthing",
        "ip_set",
        "netdev-eth0",
        "algif_hash",
        "psmouse",
        "serio_raw",
        "unix",
        "bcache",
        "9pnet_virtio",
        "virtio:d00000001v00001AF4",
        "dmi:bvnX:svnDellInc.:pn",
        "of:N*T*Cfoo",
        "vmw_vsock",
    ];
    let mode: &[&str] = match random.below(100) {
        0..55 => &["show-depends"],
        55..80 => &["resolve-alias"],
        80..90 => &["dry-run", "verbose"],
        90..93 => &["show-config"],
        93..96 => &["show-exports"],
        _ => &["show-modversions"],
    };
    let mut options = Vec::new();
    for long in mode {
        for flag in FLAGS.iter().filter(|flag| flag.long == *long) {
            spell(random, flag, None, &mut options);
        }
    }
    let root = world.stage.join("debian").display().to_string().into_bytes();
    spell(random, &FLAGS[22], Some(root), &mut options);
    let release = world.debian.clone().unwrap_or_default().into_bytes();
    spell(random, &FLAGS[23], Some(release), &mut options);
    let mut operands = vec![random.pick(NAMES).as_bytes().to_vec()];
    if random.chance(15) {
        operands.push(parameter(random));
    }
    if random.chance(10) {
        operands.push(random.pick(NAMES).as_bytes().to_vec());
        spell(random, &FLAGS[0], None, &mut options);
    }
    let mut case = Case::new("modprobe", &[]);
    case.arguments = arrange(random, options, operands);
    case
}

/// Indexes that are cut off, overwritten or gone.
pub(crate) fn indexes(random: &mut Random, world: &World) -> Case {
    let mode: &[&str] = match random.below(10) {
        0..5 => &["show-depends"],
        5..8 => &["resolve-alias"],
        8 => &["show-config"],
        _ => &["dry-run", "verbose"],
    };
    let options = base(random, world, mode, 0);
    let operand = if random.chance(95) { name(random, world) } else { odd_word(random) };
    let mut case = Case::new("modprobe", &[]);
    case.arguments = arrange(random, options, vec![operand]);
    case.edits.push(damage(random, world));
    if random.chance(20) {
        case.edits.push(damage(random, world));
    }
    // The order of damage is no part of what is tested: a file that is gone stays gone.
    case.edits.sort_by_key(|edit| matches!(edit, crate::case::Edit::Remove(_)));
    case
}
