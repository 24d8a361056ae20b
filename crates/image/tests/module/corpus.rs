//! Every module of two real kernels, against numbers that other readers counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use ferrmod_image::compress::{Compression, decompress, detect};
use ferrmod_image::{ExportClass, Image};
use ferrmod_tests::corpus::{self, Tree};

/// Calls `visit` with every module of `tree`.
fn each(tree: &Tree, mut visit: impl FnMut(&str, &Image<'_>)) -> usize {
    let files = tree.files();
    for path in &files {
        let packed = fs::read(path).unwrap();
        let bytes = decompress(&packed, 1 << 28).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let image = Image::read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        visit(&corpus::module_name(path).unwrap(), &image);
    }
    files.len()
}

/// Counts things by name.
#[derive(Default)]
struct Counts(BTreeMap<String, u64>);

impl Counts {
    fn add(&mut self, what: impl Into<String>, count: u64) {
        *self.0.entry(what.into()).or_default() += count;
    }

    /// Compares with what is expected, all at once.
    fn check(&self, expected: &[(&str, u64)]) {
        let found: Vec<_> = expected.iter().map(|&(what, _)| (what, self.0.get(what).copied().unwrap_or(0))).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn every_module_of_6_1_is_read_and_counted() {
    let Some(tree) = corpus::tree_or_skip("6.1") else {
        return;
    };
    let mut counts = Counts::default();
    let mut imported = BTreeSet::new();
    let mut exported = BTreeSet::new();
    let modules = each(&tree, |name, image| {
        assert_eq!(image.name().unwrap().to_string(), name);
        assert!(image.signature().unwrap().is_some());
        let vermagic = format!("{} SMP preempt mod_unload modversions ", tree.release);
        assert_eq!(image.modinfo().get("vermagic").unwrap(), vermagic.as_str());

        let imports: Vec<_> = image.imports().collect();
        counts.add("imports", imports.len() as u64);
        counts.add("weak imports", imports.iter().filter(|import| import.weak).count() as u64);
        let versions = image.versions().unwrap();
        assert_eq!(versions.iter().count(), imports.len() + 1, "{name}: one CRC for each import and module_layout");
        let mut cursor = versions.cursor();
        for import in &imports {
            assert!(cursor.get(import.name).is_some(), "{name}: {}", import.name);
            imported.insert(import.name.to_string());
        }

        let exports = image.exports();
        let size = |table: &str| image.section_data(table).len() / 12;
        assert_eq!(exports.len(), size("__ksymtab") + size("__ksymtab_gpl"), "{name}");
        counts.add("exporting modules", u64::from(!exports.is_empty()));
        for export in &exports {
            assert!(export.crc.is_some());
            // In Linux the value of `__ksymtab_X` is X; the name it is exported by is that of a symbol at that place.
            let symbol = &image.symbols()[export.symbol as usize];
            assert_eq!(image.symbol_name(symbol), export.name, "{name}");
            exported.insert(export.name.to_string());
        }
        for table in [ExportClass::Any, ExportClass::GplOnly] {
            let names: Vec<_> =
                exports.iter().filter(|export| export.class == table).map(|export| export.name).collect();
            assert!(names.is_sorted(), "{name}: {names:?}");
        }

        let parameters = image.parameters();
        let known: Vec<_> = parameters.iter().filter(|parameter| parameter.perm.is_some()).collect();
        assert_eq!(known.len(), image.section_data("__param").len() / 40);
        counts.add("parameters", known.len() as u64);
        counts.add("modules with parameters", u64::from(!known.is_empty()));
        for parameter in &known {
            // A dozen have no parmtype; what reads and writes them tells their type.
            let of_ops = || parameter.ops?.to_string().strip_prefix("param_ops_").map(str::to_owned);
            if let Some(kind) = parameter.kind.map(ToString::to_string).or_else(of_ops) {
                counts.add(format!("parameters of type {kind}"), 1);
            }
            assert_eq!(parameter.perm.unwrap() & !0o666, 0, "{name}.{}", parameter.name);
        }

        let entry = image.entry_points();
        let functions = match (entry.init, entry.exit) {
            (Some(_), Some(_)) => "modules with init and exit",
            (Some(_), None) => "modules with init only",
            (None, Some(_)) => "modules with exit only",
            (None, None) => "modules with neither",
        };
        counts.add(functions, 1);

        let keys: BTreeSet<_> = image.modinfo().iter().map(|(key, _)| key.to_string()).collect();
        for key in keys {
            counts.add(format!("modules with {key}"), 1);
        }
        for (_, relocations) in image.relocations() {
            for relocation in relocations {
                let kind = relocation.r_type(object::LittleEndian, false);
                counts.add(format!("relocations {}", kind.0), 1);
            }
        }
        for section in
            ["__bug_table", "__jump_table", ".static_call_sites", ".altinstructions", ".data..percpu", "__mcount_loc"]
        {
            counts.add(
                format!("modules with {section}"),
                u64::from(image.section(section).is_some_and(|(_, section)| section.size > 0)),
            );
        }
        counts.add("bytes of per-CPU data", image.section(".data..percpu").map_or(0, |(_, section)| section.size));
        assert!(image.sections().iter().filter(|section| section.is_alloc()).all(|section| section.align <= 256));
    });
    if tree.release != "6.1.0-56-amd64" {
        // The numbers below were counted in this release.
        assert!(modules > 4000);
        return;
    }
    assert_eq!(modules, 4023);
    assert_eq!((imported.len(), exported.len()), (18_111, 14_180));
    counts.check(&[
        ("imports", 184_890),
        ("weak imports", 0),
        ("exporting modules", 930),
        ("parameters", 4_845),
        ("modules with parameters", 1_250),
        ("parameters of type int", 2_200),
        ("parameters of type bool", 698),
        ("parameters of type uint", 642),
        ("parameters of type array of int", 382),
        ("parameters of type charp", 154),
        ("parameters of type array of charp", 103),
        ("parameters of type array of bool", 101),
        ("modules with init and exit", 3_551),
        ("modules with init only", 5),
        ("modules with exit only", 2),
        ("modules with neither", 465),
        ("modules with license", 4_023),
        ("modules with depends", 4_023),
        ("modules with intree", 4_023),
        ("modules with retpoline", 4_023),
        ("modules with description", 3_326),
        ("modules with author", 3_275),
        ("modules with alias", 2_624),
        ("modules with parmtype", 1_232),
        ("modules with parm", 1_136),
        ("modules with version", 387),
        ("modules with srcversion", 387),
        ("modules with firmware", 207),
        ("modules with import_ns", 157),
        ("modules with softdep", 30),
        ("modules with staging", 12),
        ("relocations 0", 65),
        ("relocations 1", 724_716),
        ("relocations 2", 2_882_173),
        ("relocations 4", 1_524_734),
        ("relocations 10", 0),
        ("relocations 11", 499_753),
        ("relocations 24", 39_928),
        ("modules with __bug_table", 1_307),
        ("modules with __jump_table", 1_570),
        ("modules with .static_call_sites", 684),
        ("modules with .altinstructions", 290),
        ("modules with .data..percpu", 31),
        ("modules with __mcount_loc", 4_000),
        ("bytes of per-CPU data", 1_653),
    ]);
}

#[test]
fn every_module_of_6_12_is_unpacked_and_read() {
    let Some(tree) = corpus::tree_or_skip("6.12") else {
        return;
    };
    let (mut imports, mut unversioned) = (0, 0);
    let modules = each(&tree, |name, image| {
        assert_eq!(image.name().unwrap().to_string(), name);
        assert!(image.signature().unwrap().is_some(), "{name}");
        assert!(image.modinfo().get("vermagic").unwrap().starts_with(tree.release.as_bytes()));
        assert!(image.licence().is_some(), "{name}");
        let versions = image.versions().unwrap();
        let mut cursor = versions.cursor();
        for import in image.imports() {
            imports += 1;
            unversioned += usize::from(cursor.get(import.name).is_none());
        }
        for export in image.exports() {
            assert!(export.crc.is_some() && !export.name.is_empty(), "{name}");
        }
        assert_eq!(
            image.parameters().iter().filter(|parameter| parameter.perm.is_some()).count(),
            image.section_data("__param").len() / 40
        );
    });
    if tree.release == "6.12.96+deb13-amd64" {
        assert_eq!(modules, 4227);
    }
    assert!(imports > 184_890, "{imports}");
    assert_eq!(unversioned, 0);
    let first = fs::read(&tree.files()[0]).unwrap();
    assert_eq!(detect(&first), Compression::Xz);
}

#[test]
#[cfg(feature = "serde")]
fn a_description_is_one_json_value_with_a_schema() {
    let Some(tree) = corpus::tree_or_skip("6.1") else {
        return;
    };
    let bytes = fs::read(tree.file("nls_cp437").unwrap()).unwrap();
    let image = Image::read(&bytes).unwrap();
    let json = serde_json::to_value(image.describe()).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["name"], "nls_cp437");
    assert_eq!(json["licence"], "Dual BSD/GPL");
    assert_eq!(json["gpl_compatible"], true);
    assert_eq!(json["entry_points"]["init"], true);
    assert_eq!(json["signature"]["state"], "present");
    assert!(
        json["imports"]
            .as_array()
            .unwrap()
            .iter()
            .any(|import| import["name"] == "__register_nls" && import["crc"].is_u64())
    );
}
