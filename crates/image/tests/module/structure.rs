//! The checks of a module's structure, each on a made module that breaks one of them.

use crate::made::{ALLOC, EXEC, Made, NOBITS, PROGBITS, STRTAB, SYMTAB, header_of, put};
use ferrmod_image::{Image, ReadError};

/// What reading `file` answers, as text.
fn answer(file: &[u8]) -> String {
    Image::read(file).expect_err("this file is broken").to_string()
}

/// What reading a made module answers after `change`.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut file = Made::module().bytes();
    change(&mut file);
    answer(&file)
}

/// Section indices of [`Made::module`].
const MODINFO: usize = 1;
const THIS_MODULE: usize = 2;
const SYMBOLS: usize = 3;
const SECTION_NAMES: usize = 5;

// Fields of a section header.
const SH_NAME: usize = 0;
const SH_TYPE: usize = 4;
const SH_FLAGS: usize = 8;
const SH_OFFSET: usize = 24;
const SH_SIZE: usize = 32;
const SH_LINK: usize = 40;

#[test]
fn a_made_module_is_read() {
    let file = Made::module().bytes();
    let image = Image::read(&file).unwrap();
    assert_eq!(image.name().unwrap(), "made");
    assert_eq!(image.licence().unwrap(), "GPL");
    assert!(image.is_gpl_compatible());
    assert_eq!(image.this_module(), Some(THIS_MODULE));
    assert_eq!(image.symbols().len(), 1);
    assert_eq!(image.bytes().len(), file.len());
    assert_eq!(image.signature(), Ok(None));
    assert!(image.versions().is_none());
}

#[test]
fn every_check_of_linux_answers_with_its_text() {
    let count = Made::module().sections.len() + 4;
    assert_eq!(answer(&[0; 10]), "Invalid ELF header len 10");
    assert_eq!(answer(&[]), "Invalid ELF header len 0");
    assert_eq!(changed(|file| file[0] = 0), "Invalid ELF header magic: != \x7fELF");
    assert_eq!(changed(|file| file[16] = 3), "Invalid ELF header type: 3 != 1");
    assert_eq!(changed(|file| file[18] = 183), "Invalid architecture in ELF header: 183");
    assert_eq!(changed(|file| file[58] = 40), "Invalid ELF section header size");
    assert_eq!(changed(|file| put(file, 40, &[255; 8])), "Invalid ELF section header overflow");
    assert_eq!(changed(|file| put(file, 60, &60000u16.to_le_bytes())), "Invalid ELF section header overflow");
    assert_eq!(changed(|file| file.truncate(64)), "Invalid ELF section header overflow");
    assert_eq!(
        changed(|file| put(file, 62, &[0, 0])),
        format!("Invalid ELF section name index: 0 || e_shstrndx (0) >= e_shnum ({count})")
    );
    assert_eq!(
        changed(|file| put(file, 62, &[200, 0])),
        format!("Invalid ELF section name index: 200 || e_shstrndx (200) >= e_shnum ({count})")
    );
    let section = |index: usize, field: usize, bytes: &[u8]| {
        changed(|file| {
            let at = header_of(file, index) + field;
            put(file, at, bytes);
        })
    };
    assert_eq!(section(SECTION_NAMES, SH_OFFSET, &[255; 8]), "Invalid ELF section hdr(type 3)");
    assert_eq!(section(SECTION_NAMES, SH_SIZE, &[0; 8]), "empty section name table");
    assert_eq!(
        section(SECTION_NAMES, SH_SIZE, &5u64.to_le_bytes()),
        "ELF Spec violation: section name table isn't null terminated"
    );
    assert_eq!(section(0, SH_SIZE, &[1]), "ELF Spec violation: section 0 type(0)!=SH_NULL or non-zero len or addr");
    assert_eq!(
        section(SYMBOLS, SH_LINK, &[0]),
        format!("Invalid ELF sh_link!=SHN_UNDEF(0) or (sh_link(0) >= hdr->e_shnum({count})")
    );
    assert_eq!(
        section(SYMBOLS, SH_LINK, &[99]),
        format!("Invalid ELF sh_link!=SHN_UNDEF(99) or (sh_link(99) >= hdr->e_shnum({count})")
    );
    assert_eq!(section(MODINFO, SH_OFFSET, &[255; 8]), "Invalid ELF section in module (section 1 type 1)");
    assert_eq!(section(MODINFO, SH_SIZE, &[0, 0, 0, 1]), "Invalid ELF section in module (section 1 type 1)");
    assert_eq!(section(MODINFO, SH_NAME, &[0, 0, 0, 1]), "Invalid ELF section name in module (section 1 type 1)");
    assert_eq!(section(SYMBOLS, SH_TYPE, &[PROGBITS as u8]), "made: module has no symbols (stripped?)");
    assert_eq!(section(THIS_MODULE, SH_FLAGS, &[0]), "made: No module found in object");
}

#[test]
fn a_module_without_a_name_is_reported_with_the_placeholder() {
    let mut made = Made::new();
    made.section(".text", PROGBITS, ALLOC | EXEC, &[0x90]);
    assert_eq!(answer(&made.bytes()), "(missing .modinfo section or name field): No module found in object");
}

#[test]
fn the_class_is_not_looked_at() {
    let mut file = Made::module().bytes();
    file[4] = 1;
    assert!(Image::read(&file).is_ok());
}

/// What reading `made` answers, which has to be a check that Linux does not do.
fn beyond(made: &Made) -> ReadError {
    let error = Image::read(&made.bytes()).expect_err("this module is broken");
    assert!(error.is_beyond_linux(), "{error}");
    error
}

#[test]
fn what_linux_does_not_check_is_checked() {
    let mut two_tables = Made::module();
    two_tables.section(".symtab2", SYMTAB, 0, &[0; 24]);
    two_tables.sections[2].link = 1;
    assert!(matches!(beyond(&two_tables), ReadError::SymbolTables { count: 2 }));

    let mut two_modules = Made::module();
    two_modules.section(".gnu.linkonce.this_module", PROGBITS, ALLOC | 1, &[0; 896]);
    assert!(matches!(beyond(&two_modules), ReadError::Modules { count: 2 }));

    for (size, kind) in [(79, PROGBITS), ((1 << 16) + 1, PROGBITS), (896, NOBITS)] {
        let mut odd = Made::module();
        odd.sections[1].data = vec![0; size];
        odd.sections[1].kind = kind;
        assert!(matches!(beyond(&odd), ReadError::ThisModule { section: 2, .. }));
    }
    let mut read_only = Made::module();
    read_only.sections[1].flags = ALLOC;
    assert!(matches!(beyond(&read_only), ReadError::ThisModule { .. }));

    let mut align = Made::module();
    align.sections[0].align = 3;
    assert!(matches!(beyond(&align), ReadError::Alignment { section: 1, align: 3 }));

    let mut modinfo = Made::module();
    modinfo.sections[0].data.pop();
    assert!(matches!(beyond(&modinfo), ReadError::UnterminatedModinfo { section: 1 }));

    let mut untyped = Made::module();
    let index = untyped.section(".text", 0, ALLOC, &[1]);
    assert_eq!(beyond(&untyped), ReadError::Untyped { section: index });
}

#[test]
fn names_of_symbols_lie_in_their_table() {
    let mut made = Made::module();
    made.symbol("last", 0x10, 0, 0);
    let file = made.bytes();
    let read = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = file.clone();
        change(&mut file);
        Image::read(&file).map(|_| ())
    };
    assert_eq!(read(&|_| {}), Ok(()));

    let offset = |file: &[u8], index: usize| {
        let at = header_of(file, index) + SH_OFFSET;
        u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize
    };
    let name = offset(&file, SYMBOLS) + 24;
    assert_eq!(
        read(&|file| put(file, name, &6u32.to_le_bytes())),
        Err(ReadError::SymbolName { symbol: 1, name: 6, size: 6 })
    );
    let end = offset(&file, SYMBOLS + 1) + 5;
    assert_eq!(read(&|file| file[end] = b'x'), Err(ReadError::UnterminatedSymbolNames { section: 4 }));
    let kind = header_of(&file, SYMBOLS + 1) + SH_TYPE;
    assert_eq!(
        read(&|file| put(file, kind, &NOBITS.to_le_bytes())),
        Err(ReadError::SymbolNames { section: 4, kind: NOBITS })
    );
}

#[test]
fn the_name_of_a_section_without_contents_is_checked_too() {
    let mut made = Made::module();
    let index = made.section(".bss", NOBITS, ALLOC | 1, &[]) as usize;
    let mut file = made.bytes();
    let at = header_of(&file, index);
    put(&mut file, at, &[0, 0, 0, 1]);
    assert!(matches!(Image::read(&file), Err(ReadError::EmptySectionName { section: 3, .. })));
}

#[test]
fn linux_comes_first_when_several_things_are_wrong() {
    let mut made = Made::module();
    made.sections[0].align = 3;
    made.sections[1].name = ".other";
    assert_eq!(answer(&made.bytes()), "made: No module found in object");
}

#[test]
fn tables_are_read_through_their_relocations() {
    let mut made = Made::module();
    let text = made.section(".text", PROGBITS, ALLOC | EXEC, &[0; 64]);
    let table = made.section("__ksymtab_gpl", PROGBITS, ALLOC, &[0; 30]);
    made.section("__kcrctab_gpl", PROGBITS, ALLOC, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let strings = made.section("__ksymtab_strings", PROGBITS, ALLOC, b"one\0SPACE\0two\0\0");
    let mut parameter = [0; 40];
    parameter[24..28].copy_from_slice(&[0o44, 1, 0, 2]);
    let parameters = made.section("__param", PROGBITS, ALLOC, &parameter);
    let one = made.symbol("one", 0x12, text as u16, 16);
    let base = made.symbol("", 3, strings as u16, 0);
    let ops = made.symbol("param_ops_int", 0x10, 0, 0);
    let init = made.symbol("init_module", 0x12, text as u16, 0);
    made.relocations(
        table,
        &[
            // The second entry, whose namespace is empty, and the first one, in another order than the table's.
            (12, 2, one, 8),
            (16, 2, base, 10),
            (20, 2, base, 14),
            (0, 2, one, 0),
            (4, 2, base, 0),
            (8, 2, base, 4),
            // Beyond the whole entries and out of any field: left alone.
            (24, 2, one, 0),
            (u64::MAX, 2, one, 0),
            (2, 2, one, 0),
        ],
    );
    made.relocations(parameters, &[(0, 1, base, 0), (16, 1, ops, 0)]);
    made.relocations(2, &[(312, 1, init, 0)]);
    made.relocations(99, &[(0, 1, init, 0)]);
    made.sections[0].data = b"name=made\0parmtype=one:int\0parm=one:first\0parm=other:only here\0parm=bare\0".to_vec();
    let file = made.bytes();
    let image = Image::read(&file).unwrap();

    let exports = image.exports();
    let seen: Vec<_> = exports
        .iter()
        .map(|export| {
            (export.name.to_string(), export.crc, export.namespace.map(|name| name.to_string()), export.offset)
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("one".to_owned(), Some(0x0403_0201), Some("SPACE".to_owned()), 16),
            ("two".to_owned(), Some(0x0807_0605), None, 24)
        ]
    );
    assert!(exports.iter().all(|export| export.section == text && export.symbol == one));

    let parameters = image.parameters();
    assert_eq!(parameters.len(), 3);
    assert_eq!(parameters[0].name, "one");
    assert_eq!(parameters[0].kind.unwrap(), "int");
    assert_eq!(parameters[0].description.unwrap(), "first");
    assert_eq!((parameters[0].perm, parameters[0].flags), (Some(0o444), 2));
    assert_eq!(parameters[0].ops.unwrap(), "param_ops_int");
    assert_eq!(
        (parameters[1].perm, parameters[1].description.map(|text| text.to_string())),
        (None, Some("only here".to_owned()))
    );
    assert_eq!((parameters[2].name.to_string(), parameters[2].description), ("bare".to_owned(), None));

    assert_eq!((image.entry_points().init, image.entry_points().exit), (Some(init), None));
    let imports: Vec<_> = image.imports().map(|import| import.name.to_string()).collect();
    assert_eq!(imports, ["param_ops_int"]);
    assert_eq!(image.relocations().count(), 3);
}

#[test]
fn crcs_may_be_absolute_symbols() {
    let mut made = Made::module();
    let text = made.section(".text", PROGBITS, ALLOC | EXEC, &[0; 64]);
    let table = made.section("__ksymtab", PROGBITS, ALLOC, &[0; 12]);
    let crcs = made.section("__kcrctab", PROGBITS, ALLOC, &[0; 4]);
    let strings = made.section("__ksymtab_strings", PROGBITS, ALLOC, b"one\0");
    let one = made.symbol("one", 0x12, text as u16, 0);
    let base = made.symbol("", 3, strings as u16, 0);
    let crc = made.symbol("__crc_one", 0x10, 0xfff1, 0x1234_5678);
    made.relocations(table, &[(0, 2, one, 0), (4, 2, base, 0)]);
    made.relocations(crcs, &[(0, 10, crc, 0)]);
    let file = made.bytes();
    assert_eq!(Image::read(&file).unwrap().exports()[0].crc, Some(0x1234_5678));
}

#[test]
fn sections_are_found_by_name_as_linux_finds_them() {
    let mut made = Made::module();
    let hidden = made.section(".twice", STRTAB, 0, b"hidden");
    let first = made.section(".twice", PROGBITS, ALLOC, b"first");
    made.section(".twice", PROGBITS, ALLOC, b"second");
    let file = made.bytes();
    let image = Image::read(&file).unwrap();
    assert_eq!(image.section(".twice").unwrap().0, first as usize);
    assert_eq!(image.any_section(".twice").unwrap().0, hidden as usize);
    assert_eq!(image.section_data(".twice"), b"first");
    assert_eq!(image.section(".twic").map(|(index, _)| index), None);
    assert_eq!(image.section_data(".absent"), b"");
}

#[test]
fn licences_are_compared_exactly() {
    for licence in ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"] {
        assert!(ferrmod_image::linux::is_gpl_compatible(licence.into()), "{licence}");
    }
    for licence in ["", "gpl", "GPL ", "GPLv2", "GPL v2+", "MIT", "BSD", "Proprietary", "GPX"] {
        assert!(!ferrmod_image::linux::is_gpl_compatible(licence.into()), "{licence}");
    }
}
