//! The reader of type information: a small one of every kind, and real ones against the peers.

use std::collections::HashMap;

use ferrmod_image::btf::{Btf, BtfError, Kind};
use ferrmod_image::compress::decompress;
use object::{Object, ObjectSection};

use crate::corpus::{kernel_6_1, kernels, measured};
use crate::peers;
use crate::synthetic::{BtfWriter, btf};

#[test]
fn every_kind_is_read() {
    let bytes = btf().finish();
    let types = Btf::read(&bytes).expect("sound BTF");
    let outer = types.struct_named("outer").expect("struct outer");
    assert_eq!((outer.id(), outer.size(), outer.is_union()), (2, 88, false));
    let place = |path: &str| outer.member(path).map(|member| (member.bit_offset, member.bits));
    assert_eq!(place("x"), Some((0, 0)));
    assert_eq!(place("bits"), Some((37, 3)));
    assert_eq!(outer.offset_of("bits"), Some(4));
    assert_eq!(place("left"), Some((64, 0)));
    assert_eq!(place("right"), Some((64, 0)));
    assert_eq!(place("inner.y"), Some((96 + 32, 0)));
    assert_eq!(place("list[5].y"), Some((160 + 5 * 64 + 32, 0)));
    assert_eq!(place("list[0]"), Some((160, 0)));
    assert_eq!(place("tail[0]"), Some((704, 0)));
    for absent in
        ["", ".", "z", "list[6]", "list[", "list[x]", "list[1]y", "x.y", "inner.", "inner.z", "tail[1]", "inn"]
    {
        assert_eq!(place(absent), None, "{absent:?}");
    }
    assert_eq!(types.enum_value("RED"), Some(7));
    assert_eq!(types.enum_value("MINUS"), Some(-22));
    assert_eq!(types.enum_value("HUGE"), Some(0x10_0000_0001));
    assert_eq!(types.enum_value("GREEN"), None);
    let list = outer.member("list").expect("member list").type_id;
    assert_eq!(types.size_of(list), Some(48));
    assert_eq!(types.array(list), Some((4, 6)));
    assert_eq!(types.declare(list, "list"), "struct pair list[6]");
    let callback = outer.member("callback").expect("member callback").type_id;
    assert_eq!(types.declare(callback, "callback"), "int (*callback)(void *, struct outer, ...)");
    assert_eq!(types.type_name(callback), "int (*)(void *, struct outer, ...)");
    let proto = types.func_proto(callback).expect("a pointer to a function");
    assert_eq!((proto.params().len(), proto.is_variadic(), proto.returns()), (2, true, 1));
    let work = types.function("work").expect("function work");
    assert_eq!(work.declaration(), "void work(number_t count, void *restrict place)");
    assert_eq!(work.params().map(|param| param.name.to_string()).collect::<Vec<_>>(), ["count", "place"]);
    let named = types.find(Kind::Typedef, "number_t").expect("typedef number_t");
    assert_eq!(types.size_of(named), Some(4));
    assert_eq!(types.variable("counter").map(|found| found.type_id), Some(named));
    assert_eq!(types.size_of(types.find(Kind::Float, "double").expect("double")), Some(8));
    assert_eq!(types.type_name(types.find(Kind::Fwd, "elsewhere").expect("a declaration")), "union elsewhere");
    assert_eq!(types.type_name(types.types_len() - 1), "int *");
    assert_eq!(types.type_name(0), "void");
    assert_eq!(types.type_name(9999), "?");
    assert!(types.struct_named("int").is_none() && types.function("outer").is_none());
}

#[test]
fn a_split_one_continues_its_base() {
    let base_writer = btf();
    let mut writer = BtfWriter::split(&base_writer);
    let [x, extra] = ["x", "extra"].map(|name| writer.string(name));
    // A struct of the base's `struct outer` and of a struct of its own.
    let own = writer.add("own", (4, 1, false), 4, &[x, 1, 0]);
    writer.add("module_thing", (4, 2, false), 92, &[x, 2, 0, extra, own, 704]);
    let (base_bytes, bytes) = (base_writer.finish(), writer.finish());
    let base = Btf::read(&base_bytes).expect("sound BTF");
    let split = Btf::read_split(&bytes, &base).expect("sound split BTF");
    assert_eq!(split.types_len(), base.types_len() + 2);
    let thing = split.struct_named("module_thing").expect("its own struct");
    assert_eq!(thing.offset_of("extra.x"), Some(88));
    assert_eq!(thing.offset_of("x.inner.y"), Some(16));
    assert_eq!(split.struct_named("outer").map(|found| found.size()), Some(88));
    assert_eq!(split.enum_value("HUGE"), Some(0x10_0000_0001));
    assert_eq!(split.function("work").map(|found| found.declaration()), base.function("work").map(|f| f.declaration()));
    assert!(base.struct_named("module_thing").is_none());
}

#[test]
fn a_kept_index_answers_the_same_and_another_one_is_refused() {
    let bytes = btf().finish();
    let made = Btf::read(&bytes).expect("sound BTF");
    let index = made.index().to_vec();
    let kept = Btf::with_index(&bytes, &index).expect("its own index");
    assert_eq!(kept.types_len(), made.types_len());
    assert_eq!(kept.struct_named("outer").map(|found| found.id()), Some(2));
    assert_eq!(Btf::with_index(&bytes, &index[1..]).err(), Some(BtfError::Index));
    assert_eq!(Btf::with_index(&bytes, &[]).err(), Some(BtfError::Index));
    assert_eq!(Btf::empty().types_len(), 1);
    assert!(Btf::empty().struct_named("outer").is_none() && Btf::empty().kind(1).is_none());
}

#[test]
fn broken_headers_are_named() {
    let bytes = btf().finish();
    let changed = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = to;
        Btf::read(&bytes).err()
    };
    assert_eq!(Btf::read(&[]).err(), Some(BtfError::TooShort { len: 0 }));
    assert_eq!(changed(1, 0), Some(BtfError::Magic { found: 0x9f }));
    assert_eq!(changed(2, 2), Some(BtfError::Version { found: 2 }));
    assert!(matches!(changed(15, 1), Some(BtfError::Outside { field: "type", .. })));
    assert!(matches!(changed(23, 1), Some(BtfError::Outside { field: "string", .. })));
    assert_eq!(changed(24 + 7, 0x1f), Some(BtfError::UnknownKind { id: 1, offset: 0, kind: 31 }));
}

#[test]
fn sizes_and_offsets_of_6_1() {
    let Some(kernel) = measured() else { return };
    let facts = kernel.facts();
    let types = facts.btf();
    for (name, size) in [
        ("module", 896),
        ("task_struct", 9792),
        ("device", 752),
        ("device_driver", 144),
        ("bus_type", 184),
        ("class", 120),
        ("kobject", 64),
        ("file", 232),
        ("inode", 632),
        ("super_block", 1472),
        ("net", 4480),
        ("net_device", 2432),
        ("sk_buff", 232),
        ("pci_dev", 2632),
        ("pci_driver", 296),
        ("work_struct", 32),
        ("delayed_work", 88),
        ("timer_list", 40),
        ("mutex", 32),
        ("crypto_alg", 384),
        ("shash_alg", 480),
        ("nls_table", 64),
        ("kernel_param", 40),
        ("tracepoint", 72),
        ("static_key", 16),
        ("srcu_struct", 392),
    ] {
        assert_eq!(types.struct_named(name).map(|found| found.size()), Some(size), "struct {name}");
    }
    let offset = |name: &str, path: &str| types.struct_named(name).and_then(|found| found.offset_of(path));
    assert_eq!(offset("module", "init"), Some(312));
    assert_eq!(offset("module", "exit"), Some(848));
    let algorithm = types.struct_named("shash_alg").expect("struct shash_alg");
    let name = algorithm.member("base.cra_name").expect("base.cra_name");
    let below = types.struct_named("crypto_alg").expect("struct crypto_alg").member("cra_name").expect("cra_name");
    assert_eq!(name.bit_offset, algorithm.member("base").expect("base").bit_offset + below.bit_offset);
    assert_eq!(types.declare(name.type_id, "cra_name"), "char cra_name[128]");
    let function = types.function("crypto_register_shash").expect("crypto_register_shash");
    assert_eq!(function.declaration(), "int crypto_register_shash(struct shash_alg *alg)");
    // All 44,546 functions have a prototype that can be written down.
    let functions = (1..types.types_len()).filter(|&id| types.kind(id) == Some(Kind::Func));
    let written =
        functions.filter(|&id| types.function(types.name(id)).is_some_and(|f| !f.declaration().contains('?')));
    assert_eq!(written.count(), 44_546);
}

#[test]
fn pahole_says_the_same() {
    let names = [
        "module",
        "task_struct",
        "shash_alg",
        "crypto_alg",
        "device",
        "device_driver",
        "bus_type",
        "class",
        "kobject",
        "file",
        "inode",
        "super_block",
        "net_device",
        "sk_buff",
        "pci_dev",
        "pci_driver",
        "timer_list",
        "work_struct",
        "page",
        "mm_struct",
        "request_queue",
        "cdev",
        "skcipher_alg",
        "xattr_handler",
        "dentry",
    ];
    for kernel in kernels() {
        let facts = kernel.facts();
        let types = facts.btf();
        let mut compared = 0;
        for name in names {
            let Some(wanted) = peers::pahole(types.raw(), name) else {
                return peers::absent("pahole");
            };
            let found = types.struct_named(name).unwrap_or_else(|| panic!("struct {name}"));
            assert_eq!(Some(found.size()), wanted.size, "struct {name}");
            for (member, offset) in wanted.members {
                assert_eq!(found.offset_of(&member), Some(offset), "{} struct {name}: {member}", kernel.release());
                compared += 1;
            }
        }
        assert!(compared > 1000, "only {compared} members compared");
    }
}

/// Compares every type from number `first` on with bpftool's dump of them; answers how many members
/// were compared.
fn compare(types: &Btf<'_>, first: u32, dump: &str) -> usize {
    let mut next = first;
    let mut current = None;
    let mut enumerators: HashMap<&str, Vec<i64>> = HashMap::new();
    let mut members = 0;
    for line in dump.lines() {
        if let Some(rest) = line.strip_prefix('[') {
            // `[number] KIND 'name' key=value ...`; names of numbers have spaces.
            let (id, rest) = rest.split_once("] ").expect("a type's number");
            let (kind, rest) = rest.split_once(" '").expect("a kind");
            let (name, rest) = rest.split_once('\'').expect("a name");
            let id: u32 = id.parse().expect("a number");
            assert_eq!(id, next);
            next += 1;
            let found = types.kind(id).unwrap_or_else(|| panic!("type {id} is not read"));
            assert_eq!(format!("{found:?}").to_uppercase(), kind.replace('_', ""), "type {id}");
            assert_eq!(types.name(id).to_string(), if name == "(anon)" { "" } else { name }, "type {id}");
            if let Some(size) = rest.split(' ').find_map(|word| word.strip_prefix("size=")) {
                assert_eq!(types.size_of(id), size.parse().ok(), "type {id}");
            }
            current = types.struct_of(id).filter(|found| found.id() == id).map(|found| found.members());
            continue;
        }
        let words: Vec<&str> = line.trim().split(' ').collect();
        let name = words[0].trim_matches('\'');
        let text = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let number = |key: &str| text(key).and_then(|text| text.parse::<u64>().ok());
        if let (Some(list), Some(bits)) = (&mut current, number("bits_offset")) {
            let member = list.next().expect("as many members as bpftool has");
            assert_eq!(member.name.to_string(), name.replace("(anon)", ""));
            assert_eq!(Some(u64::from(member.type_id)), number("type_id"));
            assert_eq!(member.bit_offset, bits, "{name}");
            assert_eq!(u64::from(member.bits), number("bitfield_size").unwrap_or(0), "{name}");
            members += 1;
        } else if let Some(value) = text("val") {
            let value = value.trim_end_matches("ULL").parse::<i128>().map(|value| value as i64);
            enumerators.entry(name).or_default().push(value.expect("a number"));
        }
    }
    assert_eq!(next, types.types_len());
    for (name, values) in enumerators {
        // Several enumerations may use one name for different values.
        let found = types.enum_value(name).unwrap_or_else(|| panic!("enumerator {name}"));
        assert!(values.contains(&found) || first > 1, "enumerator {name} is {found}, not one of {values:?}");
    }
    members
}

#[test]
fn bpftool_says_the_same_of_every_type() {
    for kernel in kernels() {
        let facts = kernel.facts();
        let Some(dump) = peers::bpftool(facts.btf().raw(), None) else {
            return peers::absent("bpftool");
        };
        let members = compare(facts.btf(), 1, &dump);
        assert!(members > 50_000, "only {members} members compared");
    }
}

#[test]
fn bpftool_says_the_same_of_modules() {
    let Some(kernel) = kernel_6_1() else { return };
    let facts = kernel.facts();
    let base = facts.btf();
    for name in ["md4", "raid6_pq", "ext4", "x_tables"] {
        let path = kernel.tree.file(name).unwrap_or_else(|| panic!("{name}.ko is in the tree"));
        let packed = std::fs::read(path).expect("the module is read");
        let module = decompress(&packed, 64 << 20).expect("the module is unpacked");
        let file = object::read::elf::ElfFile64::<object::LittleEndian>::parse(&module[..]).expect("a module");
        let raw = file.section_by_name(".BTF").and_then(|section| section.data().ok()).expect("type information");
        let types = Btf::read_split(raw, base).expect("sound split BTF");
        let Some(dump) = peers::bpftool(raw, Some(base.raw())) else {
            return peers::absent("bpftool");
        };
        compare(&types, base.types_len(), &dump);
        let size = |types: &Btf<'_>| types.struct_named("task_struct").map(|found| found.size());
        assert_eq!(size(&types), size(base));
    }
}
