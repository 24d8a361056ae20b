//! One rule at a time, on modules made by hand.

#[path = "made/mod.rs"]
mod made;

use ferrmod_image::Image;
use ferrmod_linker::{BindError, Layout, Level, LinkError, OwnerId, PartKind, Taints, errno};
use made::{ALLOC, Done, EXEC, GLOBAL, Made, Offered, Offers, TEXT, WEAK, WRITE, lines, link_made, link_with};

fn four(bytes: &[u8]) -> i32 {
    i32::from_le_bytes(bytes[..4].try_into().unwrap())
}

fn eight(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

fn refused(made: &Made, offers: Offers) -> (LinkError, Vec<String>) {
    let mut offers = offers;
    let refused = link_made(made, &mut offers).err().expect("a refusal");
    (*refused.error.clone(), lines(&refused))
}

fn linked(made: &Made, offers: Offers) -> Done {
    let mut offers = offers;
    link_made(made, &mut offers).unwrap_or_else(|refused| panic!("{:?}", lines(&refused)))
}

#[test]
fn every_type_of_relocation_is_written() {
    let mut made = Made::new();
    let far = made.import("far");
    made.relocate(1, 0, 2, far, -4).relocate(1, 8, 4, far, 0).relocate(2, 0, 1, far, 16);
    made.relocate(2, 8, 11, far, 1).relocate(2, 16, 24, far, 0).relocate(2, 24, 0, far, 0).relocate(2, 32, 10, 3, 0);
    made.symbol("low", GLOBAL, 0xfff1, 0x8000_0000);
    let done = linked(&made, Offers::default().at("far", 0xffff_ffff_8100_0000));
    let far = 0xffff_ffff_8100_0000u64;
    let text = done.section(1, 64);
    assert_eq!(TEXT.wrapping_add_signed(four(text).into()), far - 4);
    assert_eq!((TEXT + 8).wrapping_add_signed(four(&text[8..]).into()), far);
    let data = done.section(2, 64);
    assert_eq!(eight(data), far + 16);
    assert_eq!(i64::from(four(&data[8..])) as u64, far + 1);
    assert_eq!(eight(&data[16..]).wrapping_add(done.address(2) + 16), far);
    assert_eq!(eight(&data[24..]), 0, "R_X86_64_NONE writes nothing");
    assert_eq!(four(&data[32..]) as u32, 0x8000_0000);
}

#[test]
fn a_field_outside_its_section_is_refused() {
    for (offset, kind) in [(61u64, 2u32), (64, 2), (57, 1), (u64::MAX, 2), (u64::MAX - 2, 1), (1 << 40, 11)] {
        let mut made = Made::new();
        made.relocate(2, offset, kind, 1, 0);
        let (error, _) = refused(&made, Offers::default());
        assert!(matches!(error, LinkError::RelocationOffset { index: 0, .. }), "{offset:#x}: {error}");
        assert_eq!(error.errno(), errno::ENOEXEC);
    }
}

#[test]
fn a_symbol_the_file_does_not_have_is_refused() {
    let mut made = Made::new();
    made.relocate(2, 0, 1, 2, 0);
    let (error, _) = refused(&made, Offers::default());
    assert_eq!(error.to_string(), "module: made: relocation 0 of section .data names symbol 2 of 2");
}

#[test]
fn a_target_that_is_not_zero_is_refused() {
    let mut made = Made::new();
    made.sections[1].data[3] = 1;
    made.relocate(2, 0, 2, 1, 0);
    let (error, lines) = refused(&made, Offers::default());
    assert!(matches!(error, LinkError::RelocationTarget { kind: 2, value: TEXT, .. }), "{error:?}");
    let line = "module: x86/modules: Skipping invalid relocation target, existing value is nonzero for type 2, loc ";
    assert!(lines[0].starts_with(line), "{lines:?}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut made = Made::new();
    let far = made.import("far");
    made.relocate(1, 0, 10, far, 0);
    let (_, lines) = refused(&made, Offers::default().at("far", 0x1_0000_0000));
    assert_eq!(
        lines,
        [
            "module: overflow in relocation type 10 val 100000000\nmodule: `made' likely not compiled with -mcmodel=kernel"
        ]
    );
    for kind in [2, 4] {
        let mut made = Made::new();
        let far = made.import("far");
        made.relocate(1, 4, kind, far, -4);
        let (error, lines) = refused(&made, Offers::default().at("far", TEXT - (1 << 31) + 7));
        assert_eq!(error.errno(), errno::ENOEXEC);
        assert_eq!(
            lines,
            [format!(
                "module: made: relocation type {kind} of section .text at 0xffffffffc0201004 cannot reach far at \
                 0xffffffff40201003: more than 2 GiB away"
            )]
        );
        // One byte nearer is in reach.
        linked(&made, Offers::default().at("far", TEXT - (1 << 31) + 8));
    }
}

#[test]
fn types_linux_does_not_know_are_refused() {
    for kind in [3, 9, 26, 41, 42, 255, u32::MAX] {
        let mut made = Made::new();
        made.relocate(1, 4, kind, 1, -4);
        let (_, lines) = refused(&made, Offers::default());
        assert_eq!(lines, [format!("module: made: Unknown rela relocation: {kind}")]);
    }
}

#[test]
fn the_offset_table_is_relaxed_away_or_used() {
    let mut made = Made::new();
    let far = made.import("far");
    let text = &mut made.sections[0].data;
    text[0..3].copy_from_slice(&[0x48, 0x8b, 0x05]); // mov far@GOTPCREL(%rip), %rax
    text[8..10].copy_from_slice(&[0xff, 0x15]); // call *far@GOTPCREL(%rip)
    text[16..18].copy_from_slice(&[0xff, 0x25]); // jmp *far@GOTPCREL(%rip)
    text[24..27].copy_from_slice(&[0x48, 0x3b, 0x05]); // cmp far@GOTPCREL(%rip), %rax
    text[32..35].copy_from_slice(&[0x48, 0x8b, 0x0d]); // mov far@GOTPCREL(%rip), %rcx, not to be relaxed
    for field in [3, 10, 18, 27, 35] {
        text[field..field + 4].fill(0);
    }
    made.relocate(1, 3, 42, far, -4).relocate(1, 10, 41, far, -4).relocate(1, 18, 41, far, -4);
    made.relocate(1, 27, 42, far, -4).relocate(1, 35, 9, far, -4);
    let address = 0xffff_ffff_8100_0000;
    let mut offers = Offers::default().at("far", address);
    let done = link_with(&made, &mut offers, |terms| terms.got = true).unwrap();
    let text = done.section(1, 64);
    let decode = |at: usize| {
        iced_x86::Decoder::with_ip(64, &text[at..], TEXT + at as u64, iced_x86::DecoderOptions::NONE).decode()
    };
    let lea = decode(0);
    assert_eq!((lea.mnemonic(), lea.len()), (iced_x86::Mnemonic::Lea, 7));
    assert_eq!(lea.ip_rel_memory_address(), address);
    let call = decode(8);
    assert_eq!((call.near_branch_target(), call.len()), (address, 6));
    let jump = decode(16);
    assert_eq!((jump.near_branch_target(), jump.len(), text[21]), (address, 5, 0x90));
    for at in [24, 32] {
        let slot = decode(at).ip_rel_memory_address();
        let offset = (slot - done.place.base[PartKind::Rodata as usize]) as usize;
        assert_eq!(eight(&done.buffers.bytes(PartKind::Rodata)[offset..]), address, "{at}");
    }
}

#[test]
fn symbols_are_bound_by_linuxs_rules() {
    // Nobody has it: refused, every name in a line of its own.
    let mut made = Made::new();
    made.import("a");
    made.import("b");
    let (error, lines) = refused(&made, Offers::default());
    assert_eq!(lines, ["made: Unknown symbol a (err -2)", "made: Unknown symbol b (err -2)"]);
    assert_eq!(error.errno(), errno::ENOENT);
    // A weak one stays 0, and so does the name assemblers leave behind.
    let mut made = Made::new();
    let weak = made.symbol("w", WEAK, 0, 0);
    made.import("_GLOBAL_OFFSET_TABLE_");
    made.relocate(2, 0, 1, weak, 0);
    assert_eq!(eight(linked(&made, Offers::default()).section(2, 8)), 0);
    // A stand-in.
    let mut made = Made::new();
    let import = made.import("later");
    made.relocate(2, 0, 1, import, 0);
    let done = linked(&made, Offers { absent: Some(0x1234), ..Offers::default() });
    assert_eq!(eight(done.section(2, 8)), 0x1234);
    assert_eq!(done.linked.deferred.len(), 1);
    assert_eq!(done.linked.name(done.linked.deferred[0].name), "later");
}

#[test]
fn a_proprietary_module_does_not_see_gpl_symbols() {
    let mut made = Made::new();
    made.import("gpl");
    let gpl = || Offered { value: 1, gpl_only: true, ..Offered::default() };
    assert!(linked(&made, Offers::default().with("gpl", gpl())).linked.uses_gpl_only);
    let mut offers = Offers { absent: Some(0x1234), ..Offers::default() }.with("gpl", gpl());
    let refused = link_with(&made, &mut offers, |terms| terms.taints = Taints::PROPRIETARY).err().unwrap();
    assert_eq!(lines(&refused), ["made: Unknown symbol gpl (err -2)"], "a stand-in would go around the licence");
}

#[test]
fn proprietary_taint_depends_on_the_order_of_symbols() {
    let gpl = || Offered { value: 1, gpl_only: true, ..Offered::default() };
    let own = || Offered { value: 2, module: Some(("prop", true)), ..Offered::default() };
    let offers = || Offers::default().with("gpl", gpl()).with("own", own());
    let mut made = Made::new();
    made.import("own");
    let done = linked(&made, offers());
    assert_eq!(
        done.linked.report.notices[0].to_string(),
        "made: module uses symbols own from proprietary module prop, inheriting taint."
    );
    assert_eq!(done.linked.report.taints, Taints::PROPRIETARY);
    assert_eq!(done.linked.uses, [OwnerId(4)]);
    made.import("gpl");
    let (_, lines) = refused(&made, offers());
    assert_eq!(lines[1], "made: Unknown symbol gpl (err -2)");
    let mut made = Made::new();
    made.import("gpl");
    made.import("own");
    let (_, lines) = refused(&made, offers());
    assert_eq!(
        lines,
        [
            "made: module using GPL-only symbols uses symbols own from proprietary module prop.",
            "made: Unknown symbol own (err -2)"
        ]
    );
}

#[test]
fn versions_are_compared() {
    let with = |crc| Offers::default().with("f", Offered { value: 1, crc, ..Offered::default() });
    let mut made = Made::new();
    made.import("f");
    made.versions = Some(vec![("module_layout", 1), ("f", 7)]);
    linked(&made, with(Some(7)));
    linked(&made, with(None));
    let (error, lines) = refused(&made, with(Some(8)));
    assert_eq!(lines, ["made: disagrees about version of symbol f", "made: Unknown symbol f (err -22)"]);
    assert_eq!(error.errno(), errno::EINVAL);
    let mut offers = with(Some(8));
    let done = link_with(&made, &mut offers, |terms| terms.ignore_modversions = true).unwrap();
    assert_eq!(done.linked.report.taints, Taints::FORCED);
    made.versions = Some(vec![("module_layout", 1)]);
    let (_, lines) = refused(&made, with(Some(8)));
    assert_eq!(lines[0], "made: no symbol version for f");
    // Without any version the load is forced, or not.
    made.versions = None;
    let done = linked(&made, with(Some(8)));
    assert_eq!(done.linked.report.notices[0].to_string(), "made: f: kernel tainted.");
    let refused = link_with(&made, &mut with(Some(8)), |terms| terms.force_load = false).err().unwrap();
    assert_eq!(refused.errno(), errno::EINVAL);
}

#[test]
fn namespaces_must_be_imported() {
    let offers = || Offers::default().with("f", Offered { value: 1, namespace: Some("NS"), ..Offered::default() });
    let mut made = Made::new();
    made.import("f");
    let (error, lines) = refused(&made, offers());
    assert_eq!(error.errno(), errno::EINVAL);
    assert_eq!(
        lines,
        ["made: module uses symbol (f) from namespace NS, but does not import it.", "made: Unknown symbol f (err -22)"]
    );
    made.modinfo.push("import_ns=NS");
    linked(&made, offers());
}

#[test]
fn references_are_taken_once_and_may_fail() {
    let offered = || Offered { value: 1, module: Some(("other", false)), ..Offered::default() };
    let offers = || Offers::default().with("f", offered()).with("g", offered());
    let mut made = Made::new();
    made.import("f");
    made.import("g");
    let mut once = offers();
    once.answers = vec![Ok(()), Err(BindError::Again)];
    let done = link_made(&made, &mut once).unwrap();
    assert_eq!((once.bound.len(), done.linked.uses.len()), (2, 1), "again, and then once for both");
    let mut going = offers();
    going.answers = vec![Err(BindError::Going); 2];
    assert_eq!(link_made(&made, &mut going).err().unwrap().errno(), errno::ENOENT);
    let mut slow = offers();
    slow.answers = vec![Ok(()), Err(BindError::GaveUp)];
    let slow = link_made(&made, &mut slow).err().unwrap();
    assert_eq!(lines(&slow), ["made: gave up waiting for init of module other.", "made: Unknown symbol f (err -16)"]);
    assert_eq!(slow.errno(), errno::EBUSY);
    let mut changing = offers();
    changing.answers = vec![Err(BindError::Again); 1000];
    assert_eq!(link_made(&made, &mut changing).err().unwrap().errno(), errno::EBUSY, "it ends");
}

#[test]
fn symbols_of_the_file_must_hold_together() {
    let mut made = Made::new();
    made.symbol("c", GLOBAL, 0xfff2, 4);
    let (error, lines) = refused(&made, Offers::default());
    assert_eq!(lines, ["made: please compile with -fno-common"]);
    assert_eq!((error.errno(), error.level()), (errno::ENOEXEC, Level::Warn));
    let mut made = Made::new();
    made.symbol("__gnu_lto_slim", GLOBAL, 0xfff2, 1);
    linked(&made, Offers::default());
    let mut made = Made::new();
    made.symbol("s", GLOBAL, 999, 0);
    made.import("nobody");
    let (_, lines) = refused(&made, Offers::default());
    assert_eq!(
        lines,
        ["made: Symbol s has an invalid section index 999 (max 7)", "made: Unknown symbol nobody (err -2)"],
        "the walk goes on"
    );
}

#[test]
fn exported_names_must_be_new() {
    let mut made = Made::new();
    let strings = made.section("__ksymtab_strings", ALLOC, 1, b"start\0NS\0".to_vec());
    let strings = made.symbol("", 3, strings, 0);
    let table = made.section("__ksymtab_gpl", ALLOC, 4, vec![0; 12]);
    made.relocate(table, 0, 2, 1, 0).relocate(table, 4, 2, strings, 0).relocate(table, 8, 2, strings, 6);
    made.section("__kcrctab_gpl", ALLOC, 4, 0xabcdu32.to_le_bytes().to_vec());
    let done = linked(&made, Offers::default());
    let export = done.linked.export("start".into()).unwrap();
    assert_eq!((export.value, export.gpl_only, export.crc), (TEXT, true, Some(0xabcd)));
    assert_eq!(export.namespace.map(|namespace| done.linked.name(namespace)), Some("NS".into()));
    let (error, lines) = refused(&made, Offers::default().at("start", 1));
    assert_eq!(lines, ["made: exports duplicate symbol start (owned by kernel)"]);
    assert_eq!(error.errno(), errno::ENOEXEC);
    let offered = Offered { module: Some(("other", false)), ..Offered::default() };
    let (_, lines) = refused(&made, Offers::default().with("start", offered));
    assert_eq!(lines, ["made: exports duplicate symbol start (owned by other)"]);
}

#[test]
fn sections_go_where_linux_puts_them() {
    let mut made = Made::new();
    let init = made.section(".init.text", ALLOC | EXEC, 16, vec![0x90; 5]);
    let exit = made.section(".exit.text", ALLOC | EXEC, 1, vec![0x90; 5]);
    let after = made.section(".data..ro_after_init", ALLOC | WRITE, 8, vec![1; 8]);
    let jumps = made.section("__jump_table", ALLOC | WRITE, 8, vec![]);
    let rodata = made.section(".rodata", ALLOC, 64, vec![2; 3]);
    let percpu = made.section(".data..percpu", ALLOC | WRITE, 8192, vec![3; 8]);
    let bss = made.bss(".bss", ALLOC | WRITE, 100);
    let debug = made.section(".comment", 0, 1, vec![4; 4]);
    let variable = made.symbol("variable", GLOBAL | 1, percpu, 4);
    let zeroed = made.symbol("zeroed", GLOBAL | 1, bss, 96);
    made.relocate(2, 0, 1, variable, 0).relocate(2, 8, 1, zeroed, 0).relocate(percpu, 0, 1, 1, 0);
    let done = linked(&made, Offers::default());
    let part = |section: u16| done.layout.sections[usize::from(section)].map(|place| place.part);
    use PartKind::{Data, InitText, RoAfterInit, Rodata, Text};
    assert_eq!(
        [1, 2, init, exit, after, jumps, rodata, percpu, bss, debug].map(part),
        [
            Some(Text),
            Some(Data),
            Some(InitText),
            Some(Text),
            Some(RoAfterInit),
            Some(RoAfterInit),
            Some(Rodata),
            None,
            Some(Data),
            None
        ]
    );
    assert_eq!(done.address(exit), TEXT + 64);
    assert_eq!(eight(done.section(2, 8)), 0x1_f004, "an offset, not an address");
    assert_eq!(eight(&done.section(2, 16)[8..]), done.address(bss) + 96);
    assert!(done.section(bss, 100).iter().all(|&byte| byte == 0), "the buffers held something else");
    let percpu = done.layout.percpu.unwrap();
    assert_eq!((percpu.size, percpu.align), (8, 4096));
    assert_eq!(done.linked.report.notices[0].to_string(), "made: per-cpu alignment 8192 > 4096");
    let symbols: Vec<String> = done.linked.symbols().map(|symbol| format!("{} {}", symbol.kind, symbol.name)).collect();
    assert_eq!(symbols, ["t start", "a variable", "b zeroed"]);
}

#[test]
fn no_section_is_writable_and_executable() {
    let mut made = Made::new();
    made.section(".evil", WRITE | EXEC, 1, vec![]);
    let (error, lines) = refused(&made, Offers::default());
    assert_eq!(lines, ["made: section .evil (index 4) has invalid WRITE|EXEC flags"]);
    assert_eq!((error.errno(), error.level()), (errno::ENOEXEC, Level::Err));
}

#[test]
fn a_module_larger_than_the_module_area_is_refused() {
    for size in [1 << 31, u64::MAX, u64::MAX - 4096] {
        let mut made = Made::new();
        made.bss(".bss", ALLOC | WRITE, size);
        let bytes = made.bytes();
        if let Ok(image) = Image::read(&bytes) {
            let error = Layout::of(&image).unwrap_err();
            assert_eq!(error.errno(), errno::ENOMEM, "{error}");
        }
    }
}

#[test]
fn table_entries_that_point_elsewhere_are_refused() {
    /// A field of the wrong entry, and how far from the start of the code it points.
    type Field = (u64, i64);
    let cases: [(&str, usize, &[Field]); 7] = [
        (".return_sites", 4, &[(0, 60)]),
        (".retpoline_sites", 4, &[(0, 1 << 20)]),
        (".static_call_sites", 8, &[(0, -1)]),
        ("__ex_table", 12, &[(0, 0), (4, 1 << 30)]),
        ("__bug_table", 12, &[(0, 63)]),
        ("__jump_table", 16, &[(0, 0), (4, 64)]),
        ("__ksymtab", 12, &[(4, -1 << 30)]),
    ];
    for (name, size, fields) in cases {
        let mut made = Made::new();
        // The first entry is sound, so the second is the one that is named.
        let table = made.section(name, ALLOC | WRITE, 8, vec![0; 2 * size]);
        let strings = made.section(".rodata.str", ALLOC, 1, b"name\0".to_vec());
        let strings = made.symbol("", 3, strings, 0);
        for entry in 0..2 {
            for field in 0..(size as u64).min(12) / 4 {
                let at = entry * size as u64 + 4 * field;
                let wrong = fields.iter().find(|&&(offset, _)| entry == 1 && offset == 4 * field);
                let (symbol, addend) = match wrong {
                    Some(&(_, addend)) => (1, addend),
                    None if name == "__ksymtab" && field > 0 => (strings, 0),
                    None => (1, 0),
                };
                // The last words of these are data, not pointers.
                if field < 2 || name == "__ksymtab" {
                    made.relocate(table, at, 2, symbol, addend);
                }
            }
        }
        let (error, lines) = refused(&made, Offers::default());
        let line = format!("made: entry 1 of section {name} points outside the module");
        // Exports without CRCs are remarked on before.
        assert_eq!(lines.last(), Some(&line));
        assert_eq!(error.errno(), errno::ENOEXEC);
    }
    let mut made = Made::new();
    let table = made.section("__mcount_loc", ALLOC, 8, vec![0; 8]);
    made.relocate(table, 0, 1, 1, 60);
    let (_, lines) = refused(&made, Offers::default());
    assert_eq!(lines, ["made: entry 0 of section __mcount_loc points outside the module"]);
}

#[test]
fn alternatives_are_applied_only_for_named_features() {
    let mut made = Made::new();
    let helper = made.import("helper");
    // At 16: call helper. The replacement for feature 5: call start; nop. Without feature 6: nothing.
    let text = &mut made.sections[0].data;
    text[16..24].copy_from_slice(&[0xe8, 0, 0, 0, 0, 0x31, 0xc0, 0x99]);
    made.relocate(1, 17, 4, helper, -4);
    let replacement = made.section(".altinstr_replacement", ALLOC | EXEC, 1, vec![0xe8, 0, 0, 0, 0, 0x99]);
    made.relocate(replacement, 1, 4, 1, -4);
    let replacements = made.symbol("", 3, replacement, 0);
    let entries = made.section(".altinstructions", ALLOC, 1, vec![0; 24]);
    made.sections[usize::from(entries) - 1].data[8..12].copy_from_slice(&[5, 0, 8, 5]);
    made.sections[usize::from(entries) - 1].data[20..24].copy_from_slice(&[6, 0x80, 2, 0]);
    made.relocate(entries, 0, 2, 1, 16).relocate(entries, 4, 2, replacements, 0);
    made.relocate(entries, 12, 2, 1, 32).relocate(entries, 16, 2, replacements, 6);
    let address = 0xffff_ffff_8100_0000;
    let offers = || Offers::default().at("helper", address);
    let target = |done: &Done, end: usize| {
        let text = done.section(1, 64);
        (TEXT + end as u64).wrapping_add_signed(four(&text[end - 4..]).into())
    };
    let untouched = linked(&made, offers());
    assert_eq!(target(&untouched, 21), address);
    assert_eq!(untouched.section(1, 64)[32..34], [0, 0]);
    let none = link_with(&made, &mut offers(), |terms| terms.features = Some(&[0])).unwrap();
    assert_eq!(target(&none, 21), address);
    assert_eq!(none.section(1, 64)[32..34], [0x66, 0x90], "feature 6 is absent: two bytes of NOP");
    let both = link_with(&made, &mut offers(), |terms| terms.features = Some(&[1 << 5 | 1 << 6])).unwrap();
    assert_eq!(target(&both, 21), TEXT, "the call moved with its code");
    assert_eq!(both.section(1, 64)[21..24], [0x0f, 0x1f, 0x00]);
    assert_eq!(both.section(1, 64)[32..34], [0, 0]);
}

#[test]
fn facts_are_found() {
    let mut made = Made::new();
    let init = made.section(".init.text", ALLOC | EXEC, 16, vec![0x90; 16]);
    let function = made.symbol("init_module", GLOBAL | 2, init, 0);
    made.relocate(3, 0x138, 1, function, 0);
    let key = made.import("key");
    let jumps = made.section("__jump_table", ALLOC | WRITE, 8, vec![0; 16]);
    made.relocate(jumps, 0, 2, 1, 8).relocate(jumps, 4, 2, 1, 32).relocate(jumps, 8, 24, key, 1);
    made.sections[0].data[8..10].copy_from_slice(&[0xeb, 22]);
    let bugs = made.section("__bug_table", ALLOC | WRITE, 8, vec![0; 12]);
    made.sections[usize::from(bugs) - 1].data[8..12].copy_from_slice(&[0x39, 0x05, 1, 0]);
    made.relocate(bugs, 0, 2, 1, 40).relocate(bugs, 4, 2, 1, 4);
    made.relative_table(".return_sites", 1, &[]);
    let mut done = linked(&made, Offers::default().at("key", 0xffff_ffff_8200_0000));
    assert_eq!(done.linked.init, Some(done.address(init)));
    assert_eq!(done.linked.this_module.address, done.address(3));
    let branch = done.linked.branches[0];
    assert_eq!((branch.site, branch.target, branch.key), (TEXT + 8, TEXT + 32, 0xffff_ffff_8200_0000));
    assert!(branch.likely && !branch.init);
    // A likely branch jumps while its key is off, which it is now.
    let site = &done.section(1, 64)[8..];
    assert_eq!(branch.code(site, false).unwrap().as_bytes(), &site[..2]);
    assert_eq!(branch.code(site, true).unwrap().as_bytes(), [0x66, 0x90]);
    let bug = done.linked.bug_at(TEXT + 40).unwrap();
    assert_eq!((bug.line, bug.flags), (1337, 1));
    let (symbol, distance) = done.linked.symbol_at(TEXT + 3).unwrap();
    assert_eq!((symbol.name.to_string(), distance), ("start".to_owned(), 3));
    let init_address = done.address(init);
    assert_eq!(done.linked.text_contains(init_address), Some(PartKind::InitText));
    done.linked.forget_init();
    assert_eq!(done.linked.text_contains(init_address), None);
    assert_eq!(done.linked.symbols().count(), 1);
}

#[test]
fn what_a_module_says_about_itself_is_judged_in_order() {
    use ferrmod_linker::check::{Flags, Host, check};
    let host = Host {
        vermagic: "6.1.0 SMP mod_unload ".into(),
        module_layout: None,
        force_load: true,
        retpoline: true,
        livepatch: true,
    };
    let report = |modinfo: &[&'static str], host: &Host<'_>| {
        let mut made = Made::new();
        made.modinfo = [&["name=made"], modinfo].concat();
        let bytes = made.bytes();
        check(&Image::read(&bytes).expect("a sound image"), host, Flags::default())
    };
    let all = report(&["staging=Y", "livepatch=Y", "license=Proprietary", "test=Y"], &host).unwrap();
    let all_lines: Vec<String> =
        all.notices.iter().map(|notice| format!("{} {notice}", notice.level() as u8)).collect();
    assert_eq!(
        all_lines,
        [
            "4 made: bad vermagic: kernel tainted.",
            "4 Disabling lock debugging due to kernel taint",
            "4 made: loading out-of-tree module taints kernel.",
            "3 Spectre V2 : System may be vulnerable to spectre v2",
            "4 made: loading module not compiled with retpoline compiler.",
            "4 made: module is from the staging directory, the quality is unknown, you have been warned.",
            "5 made: tainting kernel with TAINT_LIVEPATCH",
            "4 made: module license 'Proprietary' taints kernel.",
            "4 Disabling lock debugging due to kernel taint",
            "4 made: loading test module taints kernel.",
        ]
    );
    // Linux's letters: P F C O K N.
    assert_eq!(all.taints, Taints(1 | 1 << 1 | 1 << 10 | 1 << 12 | 1 << 15 | 1 << 18));
    let clean = ["license=GPL", "intree=Y", "retpoline=Y", "vermagic=6.1.0 SMP mod_unload "];
    assert_eq!(report(&clean, &host).unwrap(), ferrmod_linker::Report::default());
    let other = report(&["license=GPL", "vermagic=6.0.0 SMP mod_unload "], &host).unwrap_err();
    assert_eq!(
        lines(&other),
        ["made: version magic '6.0.0 SMP mod_unload ' should be '6.1.0 SMP mod_unload '"],
        "without CRCs the release counts"
    );
    let strict = Host { force_load: false, livepatch: false, ..host };
    assert_eq!(report(&["license=GPL"], &strict).unwrap_err().errno(), errno::ENOEXEC);
    let patch = report(&["livepatch=Y", "vermagic=6.1.0 SMP mod_unload "], &strict).unwrap_err();
    assert!(matches!(*patch.error, LinkError::NoLivepatch { .. }));
}
