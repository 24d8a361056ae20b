//! Modules made by hand, to be wrong in exactly one way.
#![allow(dead_code, clippy::allow_attributes, reason = "each user of this file needs another half of it")]

use std::collections::HashMap;

use bstr::{BStr, BString, ByteSlice};
use ferrmod_image::Image;
use ferrmod_linker::{
    BindError, Found, Layout, LayoutOptions, Linked, Owner, OwnerId, PartBuffers, PartKind, Placement, Refused,
    SymbolTable, Taints, Terms, link,
};

pub(crate) const ALLOC: u64 = 2;
pub(crate) const WRITE: u64 = 1;
pub(crate) const EXEC: u64 = 4;
const PROGBITS: u32 = 1;
const NOBITS: u32 = 8;
const RELA: u32 = 4;

pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) align: u64,
    pub(crate) data: Vec<u8>,
    pub(crate) size: u64,
    pub(crate) relocations: Vec<(u64, u32, u32, i64)>,
}

pub(crate) struct Made {
    pub(crate) sections: Vec<Section>,
    /// Name, `st_info`, section, value.
    pub(crate) symbols: Vec<(&'static str, u8, u16, u64)>,
    pub(crate) modinfo: Vec<&'static str>,
    pub(crate) versions: Option<Vec<(&'static str, u32)>>,
}

pub(crate) const GLOBAL: u8 = 0x10;
pub(crate) const WEAK: u8 = 0x20;

impl Made {
    /// A module with an empty `.text`, `.data` and `struct module`, and nothing wrong with it. Sections 1, 2 and 3; symbol 1 is
    /// at the start of `.text`.
    pub(crate) fn new() -> Made {
        let mut made = Made {
            sections: Vec::new(),
            symbols: Vec::new(),
            modinfo: vec!["license=GPL", "name=made", "intree=Y", "retpoline=Y", "vermagic=6.1.0 SMP mod_unload "],
            versions: None,
        };
        made.section(".text", ALLOC | EXEC, 16, vec![0; 64]);
        made.section(".data", ALLOC | WRITE, 8, vec![0; 64]);
        made.section(".gnu.linkonce.this_module", ALLOC | WRITE, 64, vec![0; 896]);
        made.symbol("start", GLOBAL | 2, 1, 0);
        made
    }

    pub(crate) fn section(&mut self, name: &'static str, flags: u64, align: u64, data: Vec<u8>) -> u16 {
        let size = data.len() as u64;
        self.sections.push(Section { name, kind: PROGBITS, flags, align, data, size, relocations: Vec::new() });
        self.sections.len() as u16
    }

    pub(crate) fn bss(&mut self, name: &'static str, flags: u64, size: u64) -> u16 {
        let section = self.section(name, flags, 8, Vec::new());
        let bss = self.sections.last_mut().unwrap();
        (bss.kind, bss.size) = (NOBITS, size);
        section
    }

    pub(crate) fn symbol(&mut self, name: &'static str, info: u8, section: u16, value: u64) -> u32 {
        self.symbols.push((name, info, section, value));
        self.symbols.len() as u32
    }

    pub(crate) fn import(&mut self, name: &'static str) -> u32 {
        self.symbol(name, GLOBAL, 0, 0)
    }

    pub(crate) fn relocate(&mut self, section: u16, offset: u64, kind: u32, symbol: u32, addend: i64) -> &mut Made {
        self.sections[usize::from(section) - 1].relocations.push((offset, kind, symbol, addend));
        self
    }

    /// A table of relative 32-bit entries, one field each.
    pub(crate) fn relative_table(&mut self, name: &'static str, symbol: u32, addends: &[i64]) -> u16 {
        let table = self.section(name, ALLOC, 4, vec![0; 4 * addends.len()]);
        for (slot, &addend) in addends.iter().enumerate() {
            self.relocate(table, 4 * slot as u64, 2, symbol, addend);
        }
        table
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        struct Header {
            name: String,
            kind: u32,
            flags: u64,
            data: Vec<u8>,
            size: u64,
            link: u32,
            info: u32,
            align: u64,
            entry: u64,
        }
        let mut headers = Vec::new();
        let mut put = |name: &str, kind, flags, data: Vec<u8>, link, info, align, entry| {
            let (name, size) = (name.to_owned(), data.len() as u64);
            headers.push(Header { name, kind, flags, data, size, link, info, align, entry });
        };
        put("", 0, 0, Vec::new(), 0, 0, 0, 0);
        for section in &self.sections {
            put(section.name, section.kind, section.flags, section.data.clone(), 0, 0, section.align, 0);
        }
        let modinfo: Vec<u8> = self.modinfo.iter().flat_map(|entry| [entry.as_bytes(), &[0]].concat()).collect();
        put(".modinfo", PROGBITS, ALLOC, modinfo, 0, 0, 1, 0);
        if let Some(versions) = &self.versions {
            let mut data = Vec::new();
            for (name, crc) in versions {
                data.extend(u64::from(*crc).to_le_bytes());
                data.extend(name.bytes().chain(std::iter::repeat(0)).take(56));
            }
            put("__versions", PROGBITS, ALLOC, data, 0, 0, 32, 0);
        }
        let relocated = self.sections.iter().enumerate().filter(|(_, section)| !section.relocations.is_empty());
        let symtab =
            1 + self.sections.len() as u32 + 1 + u32::from(self.versions.is_some()) + relocated.clone().count() as u32;
        for (index, section) in relocated {
            let mut data = Vec::new();
            for &(offset, kind, symbol, addend) in &section.relocations {
                data.extend(offset.to_le_bytes());
                data.extend((u64::from(symbol) << 32 | u64::from(kind)).to_le_bytes());
                data.extend(addend.to_le_bytes());
            }
            put(&format!(".rela{}", section.name), RELA, 0, data, symtab, index as u32 + 1, 8, 24);
        }
        let (mut table, mut names) = (vec![0; 24], vec![0]);
        for &(name, info, section, value) in &self.symbols {
            let at = names.len() as u32;
            names.extend([name.as_bytes(), &[0]].concat());
            table.extend(at.to_le_bytes());
            table.extend([info, 0]);
            table.extend(section.to_le_bytes());
            table.extend(value.to_le_bytes());
            table.extend([0; 8]);
        }
        put(".symtab", 2, 0, table, symtab + 1, 1, 8, 24);
        put(".strtab", 3, 0, names, 0, 0, 1, 0);
        put(".shstrtab", 3, 0, Vec::new(), 0, 0, 1, 0);
        for (section, header) in self.sections.iter().zip(&mut headers[1..]) {
            header.size = section.size;
        }
        let mut strings = Vec::new();
        let offsets: Vec<u32> = headers
            .iter()
            .map(|header| {
                let at = strings.len() as u32;
                strings.extend([header.name.as_bytes(), &[0]].concat());
                at
            })
            .collect();
        let last = headers.last_mut().unwrap();
        (last.size, last.data) = (strings.len() as u64, strings);

        let mut file = vec![0; 64];
        let mut table = Vec::new();
        for (header, name) in headers.iter().zip(offsets) {
            file.resize(file.len().next_multiple_of(16), 0);
            let offset = if header.kind == 0 { 0 } else { file.len() as u64 };
            file.extend(&header.data);
            table.extend(name.to_le_bytes());
            table.extend(header.kind.to_le_bytes());
            for field in [header.flags, 0, offset, header.size] {
                table.extend(field.to_le_bytes());
            }
            table.extend(header.link.to_le_bytes());
            table.extend(header.info.to_le_bytes());
            table.extend(header.align.to_le_bytes());
            table.extend(header.entry.to_le_bytes());
        }
        file.resize(file.len().next_multiple_of(16), 0);
        let shoff = file.len() as u64;
        file.extend(table);
        file[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        file[16..20].copy_from_slice(&[1, 0, 62, 0]);
        file[20..24].copy_from_slice(&1u32.to_le_bytes());
        file[40..48].copy_from_slice(&shoff.to_le_bytes());
        file[52..54].copy_from_slice(&64u16.to_le_bytes());
        file[58..60].copy_from_slice(&64u16.to_le_bytes());
        file[60..62].copy_from_slice(&(headers.len() as u16).to_le_bytes());
        file[62..64].copy_from_slice(&(headers.len() as u16 - 1).to_le_bytes());
        file
    }
}

/// What somebody exports in a test.
#[derive(Clone, Default)]
pub(crate) struct Offered {
    pub(crate) value: u64,
    pub(crate) crc: Option<u32>,
    pub(crate) gpl_only: bool,
    pub(crate) namespace: Option<&'static str>,
    /// Name of the exporting module, and whether it is proprietary.
    pub(crate) module: Option<(&'static str, bool)>,
}

#[derive(Default)]
pub(crate) struct Offers {
    pub(crate) symbols: HashMap<&'static str, Offered>,
    pub(crate) absent: Option<u64>,
    /// Answers of `bind`, last first; `Ok` when there are none left.
    pub(crate) answers: Vec<Result<(), BindError>>,
    pub(crate) bound: Vec<OwnerId>,
}

impl Offers {
    pub(crate) fn with(mut self, name: &'static str, offered: Offered) -> Offers {
        self.symbols.insert(name, offered);
        self
    }

    pub(crate) fn at(self, name: &'static str, value: u64) -> Offers {
        self.with(name, Offered { value, ..Offered::default() })
    }
}

impl SymbolTable for Offers {
    fn find(&mut self, name: &BStr, gpl_ok: bool) -> Option<Found<'_>> {
        let offered = self.symbols.get(name.to_str().ok()?).filter(|offered| gpl_ok || !offered.gpl_only)?;
        let owner = match offered.module {
            None => Owner::Kernel,
            Some((name, proprietary)) => {
                Owner::Module { id: OwnerId(name.len() as u64), name: name.into(), proprietary }
            }
        };
        let namespace = offered.namespace.map(BStr::new);
        Some(Found { value: offered.value, crc: offered.crc, gpl_only: offered.gpl_only, namespace, owner })
    }

    fn bind(&mut self, owner: OwnerId) -> Result<(), BindError> {
        self.bound.push(owner);
        self.answers.pop().unwrap_or(Ok(()))
    }

    fn absent(&mut self, _: &BStr) -> Option<u64> {
        self.absent
    }
}

pub(crate) const TEXT: u64 = 0xffff_ffff_c020_1000;

/// Page after page in the top 2 GiB.
pub(crate) fn place(layout: &Layout) -> Placement {
    let mut place = Placement { base: [0; PartKind::COUNT], percpu_offset: 0x1_f000 };
    let mut next = TEXT;
    for kind in PartKind::ALL {
        place.base[kind as usize] = next;
        next += layout.size(kind).next_multiple_of(4096).max(4096);
    }
    place
}

pub(crate) struct Done {
    pub(crate) linked: Linked,
    pub(crate) buffers: PartBuffers,
    pub(crate) place: Placement,
    pub(crate) layout: Layout,
}

impl Done {
    /// The bytes of a section of the file.
    pub(crate) fn section(&self, index: u16, length: usize) -> &[u8] {
        let place = self.layout.sections[usize::from(index)].expect("a kept section");
        &self.buffers.bytes(place.part)[place.offset as usize..][..length]
    }

    pub(crate) fn address(&self, index: u16) -> u64 {
        self.place.address(self.layout.sections[usize::from(index)].expect("a kept section"))
    }
}

/// Links a module; `change` adapts the terms.
pub(crate) fn link_with(
    made: &Made,
    offers: &mut Offers,
    change: impl for<'t> FnOnce(&mut Terms<'t>),
) -> Result<Done, Refused> {
    let bytes = made.bytes();
    let image = Image::read(&bytes).expect("a sound image");
    let mut terms = Terms::new(&image, Taints::NONE);
    change(&mut terms);
    let layout = Layout::with(&image, LayoutOptions { got: terms.got })?;
    let place = place(&layout);
    let mut buffers = PartBuffers::new();
    let mut parts = buffers.parts(&layout);
    // What was there before must not matter.
    parts.bytes.iter_mut().for_each(|bytes| bytes.fill(0xa5));
    let linked = link(&image, &layout, &place, offers, &terms, &mut parts)?;
    Ok(Done { linked, buffers, place, layout })
}

pub(crate) fn link_made(made: &Made, offers: &mut Offers) -> Result<Done, Refused> {
    link_with(made, offers, |_| ())
}

/// The lines of a refusal.
pub(crate) fn lines(refused: &Refused) -> Vec<String> {
    refused.report.notices.iter().map(ToString::to_string).collect()
}

pub(crate) fn text(name: &BString) -> &str {
    name.to_str().expect("text")
}
