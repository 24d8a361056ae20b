//! Kernel images, type information and facts: whatever the bytes are, nothing panics, and facts say
//! what the image said.
//!
//! The first byte chooses what the rest is taken for. Seeds: `fuzz/seeds/kernel_image`.
#![no_main]

use ferrmod_image::btf::Btf;
use ferrmod_image::facts::Facts;
use ferrmod_image::kernel::{ExportKind, KernelImage, release_of};
use libfuzzer_sys::fuzz_target;

/// Asks types everything there is to ask.
fn ask(types: &Btf<'_>) {
    for id in 0..types.types_len().min(200) {
        types.kind(id);
        types.size_of(id);
        types.type_name(id);
        types.pointee(id);
        types.array(id);
        if let Some(function) = types.func_proto(id) {
            function.declaration();
            function.params().for_each(drop);
        }
        if let Some(found) = types.struct_of(id) {
            // A look-up passes at most 20,000 members, unnamed ones and theirs included.
            let simple = found.members().count() < 10_000
                && found.members().all(|member| !member.name.is_empty());
            for member in found.members() {
                let plain = !member.name.iter().any(|byte| b".[".contains(byte));
                // Names may repeat, so that the place may differ; that there is one may not.
                assert!(found.member(member.name).is_some() || !simple || !plain);
            }
        }
        let name = types.name(id);
        types.function(name);
        types.variable(name);
        types.enum_value(name);
    }
}

/// Asks facts everything there is to ask.
fn question(facts: &Facts<'_>) {
    for number in 0..facts.exports_len().min(1000) {
        let export = facts.export(number);
        facts.find_export(export.name);
        facts.export_bytes(number);
        facts.export_extent(number);
        facts.export_at(export.address);
    }
    facts.percpu_image();
    facts.config();
    facts.certificates();
    ask(facts.btf());
}

fuzz_target!(|data: &[u8]| {
    let Some((&mode, data)) = data.split_first() else {
        return;
    };
    match mode {
        0 => {
            release_of(data);
            let Ok(image) = KernelImage::read(data) else {
                return;
            };
            let bytes = Facts::build(&image);
            let facts = Facts::open(&bytes).expect("facts just made open");
            assert_eq!(facts.vermagic(), image.vermagic());
            assert!(facts.exports_len() as usize == image.exports_len());
            for (number, export) in image.exports().enumerate() {
                assert_eq!(facts.export(number as u32), export);
                assert!(facts.find_export(export.name).is_some());
                // Where sections overlap, per-CPU contents may be taken from another one.
                assert!(
                    export.kind == ExportKind::PerCpu
                        || facts.export_bytes(number as u32) == image.export_bytes(number)
                );
            }
            question(&facts);
        }
        1 => {
            if let Ok(types) = Btf::read(data) {
                ask(&types);
                let kept = Btf::with_index(data, types.index()).expect("its own index");
                assert_eq!(kept.types_len(), types.types_len());
            }
        }
        2 => {
            // Type information and an index that was not made for it.
            let (first, second) = data.split_at(data.len() / 2);
            if let Ok(types) = Btf::with_index(first, second) {
                ask(&types);
            }
            if let Ok(base) = Btf::read(first)
                && let Ok(split) = Btf::read_split(second, &base)
            {
                ask(&split);
            }
        }
        3 => {
            // Facts damaged behind the directory: the length of the damage, the damage, the image.
            let Some((&count, data)) = data.split_first() else {
                return;
            };
            let Some((damage, file)) = data.split_at_checked(usize::from(count) * 4) else {
                return;
            };
            let Ok(image) = KernelImage::read(file) else {
                return;
            };
            let mut bytes = Facts::build(&image);
            for change in damage.chunks_exact(4) {
                let at = 256 + usize::from(u16::from_le_bytes([change[0], change[1]])) * 4;
                if let Some(byte) = bytes.get_mut(at + usize::from(change[2] & 3)) {
                    *byte = change[3];
                }
            }
            if let Ok(facts) = Facts::open(&bytes) {
                question(&facts);
            }
        }
        _ => {
            if let Ok(facts) = Facts::open(data) {
                question(&facts);
            }
        }
    }
});
