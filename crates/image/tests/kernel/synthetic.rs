//! Small images made by hand: every form a table may have, and something to break.

/// How the export tables of [`vmlinux`] are laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Table {
    /// 32-bit distances.
    Relative { namespaces: bool, crcs: bool },
    /// 64-bit addresses.
    Absolute { namespaces: bool },
}

/// A section to be written.
struct Section {
    name: &'static str,
    flags: u64,
    address: u64,
    bytes: Vec<u8>,
}

/// Where the sections are.
const TEXT: u64 = 0xffff_ffff_8100_0000;
const RODATA: u64 = 0xffff_ffff_8200_0000;
const TABLE: u64 = 0xffff_ffff_8210_0000;
const TABLE_GPL: u64 = 0xffff_ffff_8211_0000;
const STRINGS: u64 = 0xffff_ffff_8220_0000;
const DATA: u64 = 0xffff_ffff_8300_0000;
const CRCS: u64 = 0xffff_ffff_8400_0000;

/// A kernel's ELF file with four exports: a function, a per-CPU variable, a table in a namespace, a
/// GPL-only variable.
pub(crate) fn vmlinux(form: Table) -> Vec<u8> {
    let strings = b"\0a_function\0a_percpu\0a_table\0SPACE\0gpl_variable\0";
    let name = |text: &str| {
        let wanted = [b"\0", text.as_bytes(), b"\0"].concat();
        let at = strings.windows(wanted.len()).position(|window| window == wanted).expect("a string of the table");
        STRINGS + at as u64 + 1
    };
    let entry = |table: u64, bytes: &mut Vec<u8>, value: u64, text: &str, space: Option<&str>| {
        let fields = [Some(value), Some(name(text)), Some(space.map_or(STRINGS, name))];
        let (relative, count) = match form {
            Table::Relative { namespaces, .. } => (true, if namespaces { 3 } else { 2 }),
            Table::Absolute { namespaces } => (false, if namespaces { 3 } else { 2 }),
        };
        for (number, field) in fields.into_iter().flatten().take(count).enumerate() {
            if relative {
                let here = table + bytes.len() as u64;
                bytes.extend_from_slice(&(field.wrapping_sub(here) as u32).to_le_bytes());
            } else {
                // Without a namespace the address is zero.
                let field = if number == 2 && space.is_none() { 0 } else { field };
                bytes.extend_from_slice(&field.to_le_bytes());
            }
        }
    };
    let mut table = Vec::new();
    entry(TABLE, &mut table, TEXT + 16, "a_function", None);
    entry(TABLE, &mut table, 8, "a_percpu", None);
    entry(TABLE, &mut table, DATA, "a_table", Some("SPACE"));
    let mut table_gpl = Vec::new();
    entry(TABLE_GPL, &mut table_gpl, DATA + 16, "gpl_variable", None);
    let crcs = matches!(form, Table::Relative { crcs: true, .. });
    let crc = |numbers: &[u32]| numbers.iter().filter(|_| crcs).flat_map(|number| number.to_le_bytes()).collect();

    let mut rodata = Vec::new();
    rodata.extend_from_slice(b"/lib/firmware/9.8.7-test\0");
    rodata.extend_from_slice(b"Linux version %s\0Linux version 9.8.7-test (me@here) (gcc) # SMP\n\0");
    rodata.extend_from_slice(b"Linux version 9.8.7-test (me@here) (gcc) #4 SMP then\n\0");
    rodata.extend_from_slice(b"9.8.7-test\0\x019.8.7-test SMP mod_unload later_word \0");
    let (write, alloc, exec) = (1, 2, 4);
    let sections = [
        Section { name: ".text", flags: alloc | exec, address: TEXT, bytes: vec![0xc3; 64] },
        Section { name: ".rodata", flags: alloc, address: RODATA, bytes: rodata },
        Section { name: "__ksymtab", flags: alloc, address: TABLE, bytes: table },
        Section { name: "__ksymtab_gpl", flags: alloc, address: TABLE_GPL, bytes: table_gpl },
        Section { name: "__kcrctab", flags: alloc, address: CRCS, bytes: crc(&[0x1111_0001, 2, 3]) },
        Section { name: "__kcrctab_gpl", flags: alloc, address: CRCS + 64, bytes: crc(&[0x3333_0003]) },
        Section { name: "__ksymtab_strings", flags: alloc, address: STRINGS, bytes: strings.to_vec() },
        Section { name: ".data", flags: alloc | write, address: DATA, bytes: b"table contents!!variable".to_vec() },
        Section { name: ".data..percpu", flags: alloc | write, address: 0, bytes: b"per-CPU contents".to_vec() },
        Section { name: ".BTF", flags: alloc, address: RODATA + 0x10_0000, bytes: btf().finish() },
    ];
    elf(&sections)
}

/// An executable ELF file of these sections.
fn elf(sections: &[Section]) -> Vec<u8> {
    let mut names = vec![0];
    let mut headers = vec![[0u64; 8]];
    let mut bytes = vec![0; 64];
    let mut add = |name: &str, kind: u64, flags: u64, address: u64, contents: &[u8]| {
        let start = names.len() as u64;
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        let contents = if name == ".shstrtab" { names.clone() } else { contents.to_vec() };
        headers.push([start | kind << 32, flags, address, bytes.len() as u64, contents.len() as u64, 0, 1, 0]);
        bytes.extend_from_slice(&contents);
    };
    for section in sections {
        add(section.name, 1, section.flags, section.address, &section.bytes);
    }
    add(".shstrtab", 3, 0, 0, &[]);
    let table = bytes.len() as u64;
    let count = headers.len() as u16;
    for header in headers {
        bytes.extend(header.iter().flat_map(|field| field.to_le_bytes()));
    }
    // gABI, "ELF Header": identification, ET_EXEC, EM_X86_64, version, then the places of the
    // tables.
    bytes[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    bytes[16..24].copy_from_slice(&[2, 0, 62, 0, 1, 0, 0, 0]);
    bytes[40..48].copy_from_slice(&table.to_le_bytes());
    for (at, number) in [(52, 64u16), (54, 56), (58, 64), (60, count), (62, count - 1)] {
        bytes[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// Writes BTF.
pub(crate) struct BtfWriter {
    types: Vec<u8>,
    strings: Vec<u8>,
    next_type: u32,
    first_string: u32,
}

impl BtfWriter {
    /// Nothing yet.
    pub(crate) fn new() -> BtfWriter {
        BtfWriter { types: Vec::new(), strings: vec![0], next_type: 1, first_string: 0 }
    }

    /// Continues another one.
    pub(crate) fn split(base: &BtfWriter) -> BtfWriter {
        let first_string = base.strings.len() as u32;
        BtfWriter { types: Vec::new(), strings: Vec::new(), next_type: base.next_type, first_string }
    }

    /// A string's offset.
    pub(crate) fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.first_string + self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    /// A type; `info` is kind, number of parts and kind flag. Answers its number.
    pub(crate) fn add(&mut self, name: &str, info: (u32, u32, bool), size_or_type: u32, trailing: &[u32]) -> u32 {
        let name = self.string(name);
        let (kind, parts, flag) = info;
        let words = [name, kind << 24 | parts | u32::from(flag) << 31, size_or_type];
        self.types.extend(words.iter().chain(trailing).flat_map(|word| word.to_le_bytes()));
        self.next_type += 1;
        self.next_type - 1
    }

    /// The bytes.
    pub(crate) fn finish(&self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        bytes.extend([24, 0, types, types, strings].iter().flat_map(|word: &u32| word.to_le_bytes()));
        bytes.extend_from_slice(&self.types);
        bytes.extend_from_slice(&self.strings);
        bytes
    }
}

/// One type of every kind. Type 1 is `int`, type 2 `struct outer`.
pub(crate) fn btf() -> BtfWriter {
    let mut out = BtfWriter::new();
    let int = out.add("int", (1, 0, false), 4, &[0x0100_0020]);
    let [x, y, bits, inner, list, callback, tail] =
        ["x", "y", "bits", "inner", "list", "callback", "tail"].map(|name| out.string(name));
    // The numbers of the types that follow.
    let [unnamed, pair, array, ptr, proto, flexible] = [3, 4, 5, 6, 7, 8];
    let flags = |bits: u32, offset: u32| bits << 24 | offset;
    let members: Vec<u32> = [
        [x, int, flags(0, 0)],
        [bits, int, flags(3, 37)],
        [0, unnamed, flags(0, 64)],
        [inner, pair, flags(0, 96)],
        [list, array, flags(0, 160)],
        [callback, ptr, flags(0, 640)],
        [tail, flexible, flags(0, 704)],
    ]
    .concat();
    let outer = out.add("outer", (4, 7, true), 88, &members);
    let [left, right] = ["left", "right"].map(|name| out.string(name));
    assert_eq!(out.add("", (5, 2, false), 4, &[left, int, 0, right, int, 0]), unnamed);
    assert_eq!(out.add("pair", (4, 2, false), 8, &[x, int, 0, y, int, 32]), pair);
    // Six pairs, then a bit-field's worth of room: 5 * 96 bits.
    assert_eq!(out.add("", (3, 0, false), 0, &[pair, int, 6]), array);
    assert_eq!(out.add("", (2, 0, false), proto, &[]), ptr);
    let void_pointer = 9;
    assert_eq!(out.add("", (13, 3, false), int, &[0, void_pointer, 0, outer, 0, 0]), proto);
    assert_eq!(out.add("", (3, 0, false), 0, &[int, int, 0]), flexible);
    assert_eq!(out.add("", (2, 0, false), 0, &[]), void_pointer);
    let red = out.string("RED");
    let minus = out.string("MINUS");
    out.add("colour", (6, 2, true), 4, &[red, 7, minus, -22i32 as u32]);
    let huge = out.string("HUGE");
    out.add("wide", (19, 1, false), 8, &[huge, 1, 0x10]);
    out.add("elsewhere", (7, 0, true), 0, &[]);
    let constant = out.add("", (10, 0, false), int, &[]);
    let volatile = out.add("", (9, 0, false), constant, &[]);
    let restrict = out.add("", (11, 0, false), void_pointer, &[]);
    let named = out.add("number_t", (8, 0, false), volatile, &[]);
    let [count, place] = ["count", "place"].map(|name| out.string(name));
    let work = out.add("", (13, 2, false), 0, &[count, named, place, restrict]);
    out.add("work", (12, 1, false), work, &[]);
    let variable = out.add("counter", (14, 0, false), named, &[1]);
    out.add(".data..percpu", (15, 1, false), 64, &[variable, 0, 4]);
    out.add("double", (16, 0, false), 8, &[]);
    out.add("tag", (17, 0, false), variable, &[u32::MAX]);
    let tagged = out.add("user", (18, 0, false), int, &[]);
    out.add("", (2, 0, false), tagged, &[]);
    out
}
