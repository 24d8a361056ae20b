//! ELF files of a few sections, sound or not.

/// How numbers stand in a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) is_64: bool,
    pub(crate) is_big: bool,
}

/// That of x86-64.
pub(crate) const NATIVE: Layout = Layout { is_64: true, is_big: false };

/// A section: name, type (gABI, `sh_type`), contents.
pub(crate) type Section<'a> = (&'a str, u32, &'a [u8]);

struct Writer {
    bytes: Vec<u8>,
    layout: Layout,
}

impl Writer {
    fn number(&mut self, value: u64, length: usize) {
        let little = &value.to_le_bytes()[..length];
        if self.layout.is_big {
            self.bytes.extend(little.iter().rev());
        } else {
            self.bytes.extend(little);
        }
    }

    fn word(&mut self, value: u64) {
        self.number(value, if self.layout.is_64 { 8 } else { 4 });
    }
}

/// A relocatable file of these sections, the names of sections behind them; `names_index` overrides `e_shstrndx`.
pub(crate) fn file(sections: &[Section<'_>], layout: Layout, names_index: Option<u64>) -> Vec<u8> {
    let (header, entry) = if layout.is_64 { (64, 64) } else { (52, 40) };
    let mut names = b"\0".to_vec();
    let mut name = |text: &str| {
        let at = names.len() as u64;
        names.extend(text.as_bytes());
        names.push(0);
        at
    };
    let named: Vec<u64> = sections.iter().map(|(text, ..)| name(text)).collect();
    let own = name(".shstrtab");
    let mut body: Vec<u8> = Vec::new();
    let mut places = Vec::new();
    for contents in sections.iter().map(|&(.., contents)| contents).chain([&names[..]]) {
        places.push(((header + body.len()) as u64, contents.len() as u64));
        body.extend(contents);
    }
    let count = sections.len() as u64 + 2;
    let mut out = Writer { bytes: Vec::new(), layout };
    let class = if layout.is_64 { 2 } else { 1 };
    out.bytes.extend([0x7f, b'E', b'L', b'F', class, if layout.is_big { 2 } else { 1 }, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.number(1, 2);
    out.number(62, 2);
    out.number(1, 4);
    out.word(0);
    out.word(0);
    out.word((header + body.len()) as u64);
    out.number(0, 4);
    for half in [header as u64, 0, 0, entry, count, names_index.unwrap_or(count - 1)] {
        out.number(half, 2);
    }
    out.bytes.extend(body);
    let mut section = |name: u64, kind: u64, place: (u64, u64)| {
        out.number(name, 4);
        out.number(kind, 4);
        out.word(2);
        out.word(0);
        out.word(place.0);
        out.word(place.1);
        out.number(0, 4);
        out.number(0, 4);
        out.word(1);
        out.word(0);
    };
    section(0, 0, (0, 0));
    for ((&at, &(_, kind, _)), &place) in named.iter().zip(sections).zip(&places) {
        section(at, kind.into(), place);
    }
    section(own, 3, places[sections.len()]);
    out.bytes
}

/// A file with a `.modinfo`.
pub(crate) fn modinfo(strings: &[u8]) -> Vec<u8> {
    file(&[(".modinfo", 1, strings)], NATIVE, None)
}
