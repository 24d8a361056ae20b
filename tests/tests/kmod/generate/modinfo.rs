//! Invocations of modinfo.

use super::{Flag, Takes, arrange, flag, name, spell, surroundings, value, valued};
use crate::case::{Case, Edit};
use crate::made::{self, RELEASE};
use crate::world::World;
use ferrmod_tests::random::Random;

/// Every option of kmod 30 and 34.
pub(crate) const FLAGS: &[Flag] = &[
    flag('a', "author"),
    flag('d', "description"),
    flag('l', "license"),
    flag('p', "parameters"),
    flag('n', "filename"),
    flag('0', "null"),
    flag('m', "modname"),
    valued('F', "field", Takes::Field),
    valued('k', "set-version", Takes::Release),
    valued('b', "basedir", Takes::Root),
    flag('V', "version"),
    flag('h', "help"),
];

/// Modules of the made tree, by name and by file, whole and damaged.
pub(crate) fn made(random: &mut Random, world: &World) -> Case {
    let mut options = Vec::new();
    if random.chance(93) {
        spell(random, &FLAGS[9], Some(world.made_root().into_bytes()), &mut options);
    }
    if random.chance(93) {
        spell(random, &FLAGS[8], Some(RELEASE.into()), &mut options);
    }
    for _ in 0..[0, 0, 1, 1, 2, 3][random.below(6)] {
        let flag = random.pick(FLAGS);
        if matches!(flag.long, "help" | "version") && random.chance(85) {
            continue;
        }
        let value = (flag.value != Takes::Nothing).then(|| value(random, world, flag.value));
        spell(random, flag, value, &mut options);
    }
    let mut case = Case::new("modinfo", &[]);
    let mut operands = Vec::new();
    if random.chance(97) {
        operands.push(name(random, world));
    }
    while random.chance(25) {
        operands.push(name(random, world));
    }
    if random.chance(18) {
        let (path, content) = random.pick(&made::broken_files()).clone();
        let path = world.made().join(path);
        operands.push(path.display().to_string().into_bytes());
        case.edits.push(Edit::Write(path, content));
    } else if random.chance(5) {
        case.edits.push(super::damage(random, world));
    }
    case.arguments = arrange(random, options, operands);
    surroundings(random, world, &mut case);
    case
}

/// Real, signed modules.
pub(crate) fn debian(random: &mut Random, world: &World) -> Case {
    const NAMES: &[&str] = &[
        "ext4",
        "btrfs",
        "e1000e",
        "nf_tables",
        "snd-hda-intel",
        "usb-storage",
        "i915",
        "amdgpu",
        "kvm",
        "loop",
        "nvme",
        "ahci",
        "crc32c-intel",
        "aesni-intel",
        "mac80211",
        "iwlwifi",
        "fuse",
        "nfs",
        "unix",
        "crypto-sha256",
        "vfat",
        "zram",
        "dummy",
        "tun",
        "bridge",
        "ipv6",
        "bonding",
        "softdog",
        "scsi_mod",
        "thinkpad_acpi",
        "psmouse",
        "parport_pc",
    ];
    let mut options = Vec::new();
    let root = world.stage.join("debian").display().to_string().into_bytes();
    spell(random, &FLAGS[9], Some(root), &mut options);
    spell(random, &FLAGS[8], Some(world.debian.clone().unwrap_or_default().into_bytes()), &mut options);
    if random.chance(50) {
        let flag = random.pick(&FLAGS[..8]);
        let value = (flag.value != Takes::Nothing).then(|| value(random, world, flag.value));
        spell(random, flag, value, &mut options);
    }
    let mut operands = vec![random.pick(NAMES).as_bytes().to_vec()];
    while random.chance(30) {
        operands.push(random.pick(NAMES).as_bytes().to_vec());
    }
    let mut case = Case::new("modinfo", &[]);
    case.arguments = arrange(random, options, operands);
    case
}
