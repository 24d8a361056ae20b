//! What is read from real kernel images.

use std::collections::HashMap;

use ferrmod_image::kernel::{ExportKind, KernelImage, KernelReadError, release_of};
use ferrmod_image::linux::ExportClass;

use ferrmod_tests::corpus::skip;

use crate::corpus::{MEASURED, kernel_6_1, kernels, measured};
use crate::synthetic::{Table, vmlinux};

#[test]
fn texts_of_real_kernels() {
    for kernel in kernels() {
        let (image, release) = (&kernel.image, kernel.release());
        assert_eq!(image.release(), release);
        assert_eq!(
            release_of(kernel.file).map(|found| found.to_string()),
            Some(release.to_string())
        );
        assert_eq!(
            image.vermagic(),
            format!("{release} SMP preempt mod_unload modversions ")
        );
        assert!(image.version().starts_with(&format!(
            "Linux version {release} (debian-kernel@lists.debian.org) ("
        )));
        assert!(
            image.version().contains(" #1 SMP PREEMPT_DYNAMIC Debian "),
            "{}",
            image.version()
        );
        // Debian's kernels do not carry their configuration.
        assert_eq!(image.config(), None);
    }
}

#[test]
fn exports_equal_module_symvers() {
    let Some(kernel) = kernel_6_1() else { return };
    let Some(symvers) = kernel.symvers() else {
        return skip(
            "Module.symvers of linux-headers",
            "run `cargo xtask corpus`",
        );
    };
    let mut wanted = HashMap::new();
    for line in symvers.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [crc, name, "vmlinux", class, namespace] = fields[..] else {
            continue;
        };
        let crc = u32::from_str_radix(crc.trim_start_matches("0x"), 16).expect("a CRC");
        wanted.insert(
            name.to_string(),
            (crc, class.to_string(), namespace.to_string()),
        );
    }
    assert!(wanted.len() > 10_000, "{} exports", wanted.len());
    if kernel.release() == MEASURED {
        assert_eq!(wanted.len(), 10_503);
    }
    let found: HashMap<_, _> = kernel
        .image
        .exports()
        .map(|export| {
            let class = match export.class {
                ExportClass::Any => "EXPORT_SYMBOL",
                ExportClass::GplOnly => "EXPORT_SYMBOL_GPL",
            };
            let namespace = export
                .namespace
                .map(ToString::to_string)
                .unwrap_or_default();
            (
                export.name.to_string(),
                (export.crc.expect("a CRC"), class.to_string(), namespace),
            )
        })
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn kinds_and_addresses_of_real_kernels() {
    for kernel in kernels() {
        let facts = kernel.facts();
        let kind = |name: &str| {
            facts
                .export(facts.find_export(name.as_bytes()).expect(name))
                .kind
        };
        for name in [
            "_printk",
            "memcpy",
            "__x86_return_thunk",
            "crypto_register_shash",
        ] {
            assert_eq!(kind(name), ExportKind::Function, "{name}");
        }
        for name in [
            "jiffies",
            "init_net",
            "param_ops_int",
            "page_offset_base",
            "_ctype",
        ] {
            assert_eq!(kind(name), ExportKind::Data, "{name}");
        }
        for name in ["this_cpu_off", "cpu_info", "softnet_data"] {
            assert_eq!(kind(name), ExportKind::PerCpu, "{name}");
        }
        // Every per-CPU export lies in the per-CPU section, and every function BTF knows is one
        // here.
        let (start, bytes) = facts.percpu_image();
        for export in kernel.image.exports() {
            match export.kind {
                ExportKind::PerCpu => {
                    assert!((start..start + bytes.len() as u64).contains(&export.address))
                }
                _ => assert!(export.address >= 0xffff_ffff_8000_0000, "{}", export.name),
            }
            if facts.btf().function(export.name).is_some() {
                assert_eq!(export.kind, ExportKind::Function, "{}", export.name);
            }
        }
    }
    // The offsets a running 6.1 shows in /proc/kallsyms.
    let Some(kernel) = measured() else { return };
    let facts = kernel.facts();
    for (name, offset) in [
        ("current_task", 0x1fb80),
        ("__preempt_count", 0x1fb40),
        ("this_cpu_off", 0x199e8),
    ] {
        assert_eq!(
            facts
                .export(facts.find_export(name.as_bytes()).expect(name))
                .address,
            offset,
            "{name}"
        );
    }
    assert_eq!(facts.percpu_image().0, 0);
}

#[test]
fn certificates_of_real_kernels_are_whole() {
    for kernel in kernels() {
        let mut rest = kernel.image.certificates();
        assert!(
            !rest.is_empty(),
            "{} has a signing key built in",
            kernel.release()
        );
        while !rest.is_empty() {
            assert_eq!(rest[..2], [0x30, 0x82]);
            let len = 4 + usize::from(u16::from_be_bytes([rest[2], rest[3]]));
            rest = rest.get(len..).expect("the last certificate is whole");
        }
        // Debian builds with a key that is made for the build and thrown away.
        let text = String::from_utf8_lossy(kernel.image.certificates());
        assert!(
            text.contains("Build time autogenerated kernel key"),
            "{text}"
        );
    }
}

#[test]
fn other_files_are_named() {
    let other = |bytes: &[u8]| {
        KernelImage::read(bytes)
            .expect_err("not a kernel")
            .to_string()
    };
    assert_eq!(
        KernelImage::read(b"").err(),
        Some(KernelReadError::NotAKernel)
    );
    assert_eq!(
        KernelImage::read(&[0; 4096]).err(),
        Some(KernelReadError::NotAKernel)
    );
    let mut elf = vmlinux(Table::Relative {
        namespaces: true,
        crcs: true,
    });
    assert!(KernelImage::read(&elf).is_ok());
    elf[16] = 1;
    assert!(other(&elf).contains("a kernel module?"));
    elf[16] = 2;
    elf[18] = 183;
    assert!(other(&elf).contains("another architecture"));
    elf[4] = 1;
    assert!(other(&elf).contains("32-bit"));
    let mut arm = vec![0; 4096];
    arm[..2].copy_from_slice(b"MZ");
    arm[0x38..0x3c].copy_from_slice(b"ARM\x64");
    assert!(other(&arm).contains("arm64"));
    let mut boot = vec![0; 4096];
    boot[0x202..0x206].copy_from_slice(b"HdrS");
    boot[0x206..0x208].copy_from_slice(&0x207u16.to_le_bytes());
    assert_eq!(
        KernelImage::read(&boot).err(),
        Some(KernelReadError::Protocol { protocol: 0x207 })
    );
    assert!(other(&boot).contains("2.07"));
    boot[0x206] = 8;
    boot[0x1f1] = 1;
    boot[0x24c] = 16;
    boot[1024..1027].copy_from_slice(b"BZh");
    assert_eq!(
        KernelImage::read(&boot).err(),
        Some(KernelReadError::Compression { what: "bzip2" })
    );
    boot[0x24c..0x250].fill(0xff);
    assert!(matches!(
        KernelImage::read(&boot),
        Err(KernelReadError::Payload { offset: 1024, .. })
    ));
}

#[test]
fn every_form_of_export_table() {
    let forms = [
        Table::Relative {
            namespaces: true,
            crcs: true,
        },
        Table::Relative {
            namespaces: true,
            crcs: false,
        },
        Table::Relative {
            namespaces: false,
            crcs: true,
        },
        Table::Absolute { namespaces: true },
        Table::Absolute { namespaces: false },
    ];
    for form in forms {
        let bytes = vmlinux(form);
        let image = KernelImage::read(&bytes).unwrap_or_else(|error| panic!("{form:?}: {error}"));
        assert_eq!(image.release(), "9.8.7-test");
        assert_eq!(
            image.vermagic(),
            "9.8.7-test SMP mod_unload later_word ",
            "{form:?}"
        );
        let (crcs, namespaces) = match form {
            Table::Relative { namespaces, crcs } => (crcs, namespaces),
            Table::Absolute { namespaces } => (false, namespaces),
        };
        let exports: Vec<_> = image.exports().collect();
        let names: Vec<String> = exports
            .iter()
            .map(|export| export.name.to_string())
            .collect();
        assert_eq!(
            names,
            ["a_function", "a_percpu", "a_table", "gpl_variable"],
            "{form:?}"
        );
        let kinds: Vec<_> = exports.iter().map(|export| export.kind).collect();
        assert_eq!(
            kinds,
            [
                ExportKind::Function,
                ExportKind::PerCpu,
                ExportKind::Data,
                ExportKind::Data
            ]
        );
        assert_eq!(exports[3].class, ExportClass::GplOnly);
        assert_eq!(exports[0].class, ExportClass::Any);
        assert_eq!(
            exports[2].namespace.map(ToString::to_string),
            namespaces.then(|| "SPACE".to_string()),
            "{form:?}"
        );
        assert_eq!(exports[0].namespace, None);
        assert_eq!(exports[3].crc, crcs.then_some(0x3333_0003), "{form:?}");
        assert_eq!(image.export_bytes(2), b"table contents!!");
        assert_eq!(image.export_extent(2), 16);
        assert_eq!(image.export_bytes(0), b"");
        assert_eq!(image.percpu(), Some((0, &b"per-CPU contents"[..])));
        assert_eq!(exports[1].address, 8);
        assert_eq!(image.export_bytes(1), b"contents");
    }
}
