//! Broken bytes: nothing may panic, and nothing may run for long.

use ferrmod_image::btf::Btf;
use ferrmod_image::facts::Facts;
use ferrmod_image::kernel::{KernelImage, release_of};

use ferrmod_tests::corpus::budget;
use ferrmod_tests::random::Random;

use crate::corpus::kernel_6_1;
use crate::synthetic::{Table, btf, vmlinux};

/// How often something is broken: `ordinary` times, and in proportion more where
/// `FERRMOD_MUTATIONS` asks for more than its ordinary 20,000.
fn rounds(ordinary: u64) -> u64 {
    budget("FERRMOD_MUTATIONS", 20_000).saturating_mul(ordinary) / 20_000
}

/// Changes up to four places of `bytes` between `from` and `to`; answers what was there.
fn change(random: &mut Random, bytes: &mut [u8], from: usize, to: usize) -> Vec<(usize, u8)> {
    (0..=random.below(4))
        .map(|_| {
            let at = from + random.below(to - from);
            let old = bytes[at];
            bytes[at] = match random.below(4) {
                0 => 0,
                1 => 0xff,
                2 => old ^ 1 << random.below(8),
                _ => random.next() as u8,
            };
            (at, old)
        })
        .collect()
}

/// Asks everything there is to ask of some types.
fn ask(types: &Btf<'_>, ids: impl Iterator<Item = u32>) {
    for id in ids {
        types.kind(id);
        types.size_of(id);
        types.type_name(id);
        types.func_proto(id).map(|found| (found.declaration(), found.params().count()));
        if let Some(found) = types.struct_of(id) {
            found.members().for_each(drop);
            found.member("no such member");
            found.member("x.y[3].z");
        }
    }
    for name in ["outer", "module", "task_struct", "work", "_printk", "RED", "HRTIMER_NORESTART", "counter", ""] {
        types.struct_named(name).map(|found| found.member("list[5].y"));
        types.function(name).map(|found| found.declaration());
        types.enum_value(name);
        types.variable(name);
    }
}

#[test]
fn broken_btf() {
    let sound = btf().finish();
    for len in 0..sound.len() {
        if let Ok(types) = Btf::read(&sound[..len]) {
            ask(&types, 0..types.types_len().min(100));
        }
    }
    let mut numbers = Random::new(0x9e37_79b9_7f4a_7c15);
    let base_bytes = btf().finish();
    let base = Btf::read(&base_bytes).expect("sound BTF");
    for _ in 0..rounds(2_000) {
        let mut bytes = sound.clone();
        let len = bytes.len();
        change(&mut numbers, &mut bytes, 0, len);
        if let Ok(types) = Btf::read(&bytes) {
            ask(&types, 0..types.types_len().min(100));
        }
        if let Ok(types) = Btf::read_split(&bytes, &base) {
            ask(&types, 0..types.types_len().min(100));
        }
    }
}

#[test]
fn broken_index() {
    let bytes = btf().finish();
    let sound = Btf::read(&bytes).expect("sound BTF").index().to_vec();
    let mut numbers = Random::new(7);
    for _ in 0..rounds(2_000) {
        let mut index = sound.clone();
        let len = index.len();
        change(&mut numbers, &mut index, 0, len);
        if let Ok(types) = Btf::with_index(&bytes, &index) {
            ask(&types, 0..types.types_len().min(100));
        }
    }
}

#[test]
fn types_that_nest_themselves() {
    // Sixteen structs, each with many unnamed members of the next: looked into naively, 400^16
    // steps.
    let mut writer = crate::synthetic::BtfWriter::new();
    for level in 0..16u32 {
        let next = if level == 15 { 1 } else { level + 2 };
        let members: Vec<u32> = (0..400).flat_map(|member| [0, next, member * 8]).collect();
        writer.add(if level == 0 { "deep" } else { "" }, (4, 400, false), 8, &members);
    }
    // A prototype whose parameters are that prototype, a pointer and an array of themselves.
    let proto: Vec<u32> = (0..400).flat_map(|_| [0, 17]).collect();
    writer.add("", (13, 400, false), 17, &proto);
    writer.add("", (2, 0, false), 18, &[]);
    writer.add("", (3, 0, false), 0, &[19, 19, u32::MAX]);
    writer.add("", (8, 0, false), 20, &[]);
    let bytes = writer.finish();
    let types = Btf::read(&bytes).expect("sound in form");
    assert!(types.struct_named("deep").is_some_and(|deep| deep.member("x").is_none()));
    ask(&types, 0..types.types_len());
}

#[test]
fn broken_images() {
    let forms = [Table::Relative { namespaces: true, crcs: true }, Table::Absolute { namespaces: true }];
    let mut numbers = Random::new(11);
    for form in forms {
        let sound = vmlinux(form);
        for len in 0..sound.len() {
            // Whatever it is: no panic.
            let _ = KernelImage::read(&sound[..len]);
        }
        for _ in 0..rounds(2_000) {
            let mut bytes = sound.clone();
            let len = bytes.len();
            change(&mut numbers, &mut bytes, 0, len);
            if let Ok(image) = KernelImage::read(&bytes) {
                let facts = Facts::build(&image);
                assert_eq!(Facts::open(&facts).expect("facts just made open").release(), image.release());
            }
        }
    }
}

#[test]
fn broken_boot_headers() {
    let Some(kernel) = kernel_6_1() else { return };
    // Header and the start of the payload only: unpacking a whole kernel each time would take
    // minutes.
    let mut bytes = kernel.file[..256 << 10].to_vec();
    let mut numbers = Random::new(13);
    for _ in 0..rounds(2_000) {
        let old = change(&mut numbers, &mut bytes, 0x1f0, 0x270);
        release_of(&bytes);
        assert!(KernelImage::read(&bytes).is_err());
        for (at, byte) in old.into_iter().rev() {
            bytes[at] = byte;
        }
    }
    for len in (0..0x400).chain([4096, 20_000, 40_000]) {
        release_of(&bytes[..len]);
        assert!(KernelImage::read(&bytes[..len]).is_err());
    }
}

#[test]
fn broken_facts() {
    let bytes = vmlinux(Table::Relative { namespaces: true, crcs: true });
    let sound = Facts::build(&KernelImage::read(&bytes).expect("a sound image"));
    let mut numbers = Random::new(17);
    for _ in 0..rounds(2_000) {
        let mut facts = sound.clone();
        // Behind the directory: the hash guards what is before.
        let len = facts.len();
        change(&mut numbers, &mut facts, 256, len);
        let cut = &facts[..numbers.below(len + 1)];
        assert!(cut.len() == len || Facts::open(cut).is_err());
        if let Ok(facts) = Facts::open(&facts) {
            question(&facts);
            ask(facts.btf(), 0..facts.btf().types_len().min(100));
        }
    }
}

#[test]
fn broken_facts_of_a_real_kernel() {
    let Some(kernel) = kernel_6_1() else { return };
    let mut facts = kernel.facts.clone();
    let len = facts.len();
    let mut numbers = Random::new(19);
    for round in 0..rounds(100) {
        let mut old = Vec::new();
        // Many places at once: the byte string is large, and most of it is never looked at.
        for _ in 0..5_000 {
            old.extend(change(&mut numbers, &mut facts, 256, len));
        }
        if let Ok(facts) = Facts::open(&facts) {
            question(&facts);
            ask(facts.btf(), (0..200).map(|_| numbers.below(facts.btf().types_len() as usize) as u32));
        }
        // Damage builds up over ten rounds, then it starts anew.
        if round % 10 == 9 {
            facts.copy_from_slice(&kernel.facts);
        }
    }
}

/// Asks the facts themselves.
fn question(facts: &Facts<'_>) {
    for name in ["_printk", "a_function", "a_percpu", "cpu_info", "a_table", "jiffies", ""] {
        let Some(number) = facts.find_export(name.as_bytes()) else {
            continue;
        };
        let export = facts.export(number);
        facts.export_bytes(number);
        facts.export_at(export.address);
    }
    for number in (0..facts.exports_len()).step_by(97).chain([u32::MAX]) {
        facts.export_bytes(number);
        facts.export_extent(number);
        facts.export_at(facts.export(number).address);
    }
    facts.percpu_image();
    facts.config();
    facts.certificates();
}
