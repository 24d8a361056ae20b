//! What a module needs and what it offers: its symbols, seen through the tables that name them.

use alloc::vec;
use alloc::vec::Vec;

use bstr::BStr;
use object::LittleEndian as LE;
use object::elf::{R_X86_64_64, Rela64, SHN_ABS, SHN_LORESERVE, SHN_UNDEF, STB_WEAK};

use super::{Image, string_at};

/// A symbol that somebody else has to provide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Import<'a> {
    /// Its index in the symbol table.
    pub symbol: u32,
    /// Its name.
    pub name: &'a BStr,
    /// Whether the module also works without it.
    pub weak: bool,
}

/// Who may use an exported symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum ExportClass {
    /// Every module (`EXPORT_SYMBOL`).
    Any,
    /// Modules under a licence compatible with the GPL (`EXPORT_SYMBOL_GPL`).
    GplOnly,
}

/// A symbol that the module provides to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Export<'a> {
    /// Its name.
    pub name: &'a BStr,
    /// Who may use it.
    pub class: ExportClass,
    /// The CRC of its type, with `CONFIG_MODVERSIONS`.
    pub crc: Option<u32>,
    /// The namespace that a user has to import.
    pub namespace: Option<&'a BStr>,
    /// The section it lies in.
    pub section: u32,
    /// Where it lies in that section.
    pub offset: u64,
    /// The symbol that its entry points at.
    pub symbol: u32,
}

/// The functions that run when the module is loaded and unloaded, as symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EntryPoints {
    /// `init_module`; a module without one is loaded and that is all.
    pub init: Option<u32>,
    /// `cleanup_module`; a module with an init and without it stays.
    pub exit: Option<u32>,
}

/// A place that will hold an address when the module is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointer {
    /// Where in the section the address will stand.
    pub place: u64,
    /// `r_type`.
    pub kind: u32,
    /// The symbol it is made of.
    pub symbol: u32,
    /// What is added to the symbol.
    pub addend: i64,
}

impl Pointer {
    fn new(relocation: &Rela64<LE>) -> Pointer {
        Pointer {
            place: relocation.r_offset.get(LE),
            kind: relocation.r_type(LE, false).0,
            symbol: relocation.r_sym(LE, false),
            addend: relocation.r_addend.get(LE),
        }
    }
}

impl<'a> Image<'a> {
    /// The symbols that the module imports, in the order of the symbol table.
    pub fn imports(&self) -> impl Iterator<Item = Import<'a>> + '_ {
        (0u32..).zip(self.symbols()).skip(1).filter(|(_, symbol)| symbol.st_shndx.get(LE) == SHN_UNDEF).map(
            |(index, symbol)| Import {
                symbol: index,
                name: self.symbol_name(symbol),
                weak: symbol.st_bind() == STB_WEAK,
            },
        )
    }

    /// The addresses that linking will write into section `section`.
    pub fn pointers(&self, section: usize) -> impl Iterator<Item = Pointer> + '_ {
        self.relocations()
            .filter(move |&(target, _)| target == section)
            .flat_map(|(_, relocations)| relocations.iter().map(Pointer::new))
    }

    /// Where in the module a pointer will point: a section and an offset in it. `None` when that is not in the module.
    #[must_use]
    pub fn target(&self, pointer: &Pointer) -> Option<(u32, u64)> {
        let symbol = self.symbols().get(pointer.symbol as usize)?;
        let section = symbol.st_shndx.get(LE);
        if section == SHN_UNDEF || section.0 >= SHN_LORESERVE {
            return None;
        }
        Some((u32::from(section.0), symbol.st_value.get(LE).wrapping_add_signed(pointer.addend)))
    }

    /// The NUL-terminated string that a pointer will point at, if it is in the file.
    #[must_use]
    pub fn target_string(&self, pointer: &Pointer) -> Option<&'a BStr> {
        let (section, offset) = self.target(pointer)?;
        let data = self.sections().get(section as usize)?.data;
        (offset < data.len() as u64).then(|| string_at(data, offset))
    }

    /// The symbols that the module exports: first those for everyone, then those for GPL modules, each in the order of its table.
    /// An entry without a name or a place in the module is left out.
    #[must_use]
    pub fn exports(&self) -> Vec<Export<'a>> {
        let mut exports = Vec::new();
        self.exports_of("__ksymtab", "__kcrctab", ExportClass::Any, &mut exports);
        self.exports_of("__ksymtab_gpl", "__kcrctab_gpl", ExportClass::GplOnly, &mut exports);
        exports
    }

    /// One pair of tables.
    fn exports_of(&self, table: &str, crcs: &str, class: ExportClass, exports: &mut Vec<Export<'a>>) {
        let Some((index, section)) = self.section(table) else {
            return;
        };
        // An entry is three relative addresses of 4 bytes: value, name, namespace.
        let entries = section.data.len() / 12;
        let fields = self.fields(index, 4, entries * 3);
        let crcs = Crcs::of(self, crcs);
        exports.reserve(entries);
        for (number, entry) in fields.as_chunks::<3>().0.iter().enumerate() {
            let [Some(value), Some(name), namespace] = entry else {
                continue;
            };
            let (Some(name), Some((section, offset))) = (self.target_string(name), self.target(value)) else {
                continue;
            };
            exports.push(Export {
                name,
                class,
                crc: crcs.as_ref().and_then(|crcs| crcs.get(number)),
                namespace: namespace
                    .as_ref()
                    .and_then(|namespace| self.target_string(namespace))
                    .filter(|namespace| !namespace.is_empty()),
                section,
                offset,
                symbol: value.symbol,
            });
        }
    }

    /// The pointers into the first `count` fields of `width` bytes of section `section`, at the fields' numbers.
    pub(super) fn fields(&self, section: usize, width: u64, count: usize) -> Vec<Option<Pointer>> {
        let mut fields = vec![None; count];
        for pointer in self.pointers(section) {
            if pointer.place.is_multiple_of(width)
                && let Some(field) =
                    usize::try_from(pointer.place / width).ok().and_then(|number| fields.get_mut(number))
            {
                *field = Some(pointer);
            }
        }
        fields
    }

    /// The entry points: the symbols `init_module` and `cleanup_module` that the relocations of
    /// `.gnu.linkonce.this_module` refer to. (Where in `struct module` they stand depends on the kernel's configuration; that they
    /// have these names does not.)
    #[must_use]
    pub fn entry_points(&self) -> EntryPoints {
        let mut entry_points = EntryPoints::default();
        for pointer in self.this_module().into_iter().flat_map(|section| self.pointers(section)) {
            if pointer.kind != R_X86_64_64.0 {
                continue;
            }
            let Some(symbol) = self.symbols().get(pointer.symbol as usize) else {
                continue;
            };
            let name = self.symbol_name(symbol);
            if name == "init_module" {
                entry_points.init.get_or_insert(pointer.symbol);
            } else if name == "cleanup_module" {
                entry_points.exit.get_or_insert(pointer.symbol);
            }
        }
        entry_points
    }
}

/// A table of CRCs (`__kcrctab`, `__kcrctab_gpl`).
///
/// Since Linux 5.19 they stand in the section; before, they were absolute symbols that relocations put there.
struct Crcs<'a> {
    values: &'a [[u8; 4]],
    relocated: Vec<(u64, u32)>,
}

impl<'a> Crcs<'a> {
    fn of(image: &Image<'a>, name: &str) -> Option<Crcs<'a>> {
        let (index, section) = image.section(name)?;
        let relocated = image
            .pointers(index)
            .filter_map(|pointer| {
                let symbol = image.symbols().get(pointer.symbol as usize)?;
                (symbol.st_shndx.get(LE) == SHN_ABS)
                    .then(|| (pointer.place, symbol.st_value.get(LE).wrapping_add_signed(pointer.addend) as u32))
            })
            .collect();
        Some(Crcs { values: section.data.as_chunks().0, relocated })
    }

    fn get(&self, number: usize) -> Option<u32> {
        let place = number as u64 * 4;
        let in_order = self.relocated.get(number).filter(|(at, _)| *at == place);
        in_order
            .or_else(|| self.relocated.iter().find(|(at, _)| *at == place))
            .map(|&(_, crc)| crc)
            .or_else(|| self.values.get(number).map(|&crc| u32::from_le_bytes(crc)))
    }
}
