//! The compact form: it answers what the image answers.

use ferrmod_image::facts::{Facts, FactsError};
use ferrmod_image::kernel::{ExportKind, KernelImage, fingerprint};

use crate::corpus::{Kernel, kernels};
use crate::synthetic::{Table, vmlinux};

/// Compares every answer.
fn same(image: &KernelImage<'_>, bytes: &[u8]) {
    let facts = Facts::open(bytes).expect("the facts just made open");
    assert_eq!(facts.release(), image.release());
    assert_eq!(facts.version(), image.version());
    assert_eq!(facts.vermagic(), image.vermagic());
    assert_eq!(facts.certificates(), image.certificates());
    assert_eq!(facts.config(), image.config());
    // Not assert_eq: nobody reads 200 KiB of numbers.
    assert!(facts.percpu_image() == image.percpu().unwrap_or_default());
    assert_eq!(facts.exports_len() as usize, image.exports_len());
    for (index, export) in image.exports().enumerate() {
        let number = facts.find_export(export.name).unwrap_or_else(|| panic!("{} is found", export.name));
        assert_eq!(number as usize, index, "{}", export.name);
        assert_eq!(facts.export(number), export);
        assert!(facts.export_bytes(number) == image.export_bytes(index), "{}", export.name);
        assert_eq!(facts.export_extent(number), image.export_extent(index), "{}", export.name);
        let there = facts.export_at(export.address).expect("an export at that address");
        assert_eq!(facts.export(there).address, export.address);
    }
    assert_eq!(facts.find_export(b"no_such_symbol"), None);
    assert_eq!(facts.export_at(1), None);
    assert_eq!(facts.export(u32::MAX).name, "");
    assert!(facts.btf().raw() == image.btf().unwrap_or_default());
}

#[test]
fn facts_of_real_kernels_say_what_the_images_say() {
    for kernel in kernels() {
        same(&kernel.image, &kernel.facts);
    }
}

#[test]
fn facts_of_a_small_image_say_what_it_says() {
    let bytes = vmlinux(Table::Relative { namespaces: true, crcs: true });
    let image = KernelImage::read(&bytes).expect("a sound image");
    let facts = Facts::build(&image);
    same(&image, &facts);
    let opened = Facts::open(&facts).expect("sound facts");
    assert_eq!(opened.btf().struct_named("outer").map(|found| found.size()), Some(88));
}

#[test]
fn initial_contents_of_real_variables() {
    for kernel in kernels() {
        let facts = kernel.facts();
        let number = |name: &str| facts.find_export(name.as_bytes()).unwrap_or_else(|| panic!("{name}"));
        // struct kernel_param_ops: the callbacks are exports themselves.
        let types = facts.btf();
        let ops = types.struct_named("kernel_param_ops").expect("struct kernel_param_ops");
        let bytes = facts.export_bytes(number("param_ops_int"));
        let set = usize::try_from(ops.offset_of("set").expect("set")).expect("small");
        let pointer = u64::from_le_bytes(bytes[set..set + 8].try_into().expect("eight bytes"));
        let target = facts.export_at(pointer).map(|index| facts.export(index).name.to_string());
        assert_eq!(target.as_deref(), Some("param_set_int"));
        // The table of character classes: 'A' is upper case (1) and a hexadecimal digit (0x40).
        assert_eq!(facts.export_bytes(number("_ctype"))[usize::from(b'A')], 0x41);
        assert!(facts.export_bytes(number("_printk")).is_empty());
        // A kernel starts with its percpu variables as they are in the image.
        let cpu_info = number("cpu_info");
        assert_eq!(facts.export(cpu_info).kind, ExportKind::PerCpu);
        assert!(facts.export_bytes(cpu_info).len() as u64 == facts.export_extent(cpu_info).min(16 << 10));
    }
}

#[test]
fn what_is_not_facts_is_named() {
    let bytes = vmlinux(Table::Relative { namespaces: true, crcs: true });
    let facts = Facts::build(&KernelImage::read(&bytes).expect("a sound image"));
    let changed = |at: usize| {
        let mut facts = facts.clone();
        facts[at] ^= 1;
        Facts::open(&facts).err()
    };
    assert_eq!(Facts::open(&[]).err(), Some(FactsError::Magic));
    assert_eq!(changed(0), Some(FactsError::Magic));
    assert_eq!(changed(8), Some(FactsError::Format { found: 0 }));
    assert!(matches!(changed(16), Some(FactsError::Length { .. })));
    assert!(matches!(Facts::open(&facts[..facts.len() - 1]).err(), Some(FactsError::Length { .. })));
    // Every bit of what follows in header and directory is guarded by the hash.
    for at in 24..32 + 14 * 16 {
        assert_eq!(changed(at), Some(FactsError::Header), "byte {at}");
    }
}

#[test]
fn fingerprints_tell_images_apart() {
    let file = |kernel: &Kernel| {
        let bytes = &kernel.file;
        fingerprint(bytes.len() as u64, 0, &bytes[..4096], &bytes[bytes.len() - 4096..])
    };
    let mut found: Vec<u64> = kernels().map(file).collect();
    let count = found.len();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), count);
    assert_ne!(fingerprint(1, 2, b"x", b"x"), fingerprint(1, 3, b"x", b"x"));
}
