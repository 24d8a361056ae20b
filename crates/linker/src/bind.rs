//! The walk over a module's symbols: each gets its value, or a line that says why not.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use bstr::{BStr, BString, ByteSlice};
use ferrmod_image::{Image, VersionCursor, Versions};
use object::LittleEndian as LE;
use object::elf;

use crate::check::force;
use crate::error::{LinkError, errno};
use crate::fixups::Thunks;
use crate::layout::{Layout, PartKind};
use crate::link::{Terms, symbol_kind};
use crate::linked::{Deferred, NameRef, Symbol};
use crate::place::Placement;
use crate::report::{Notice, Report, Taints};
use crate::symbols::{BindError, Found, Owner, OwnerId, SymbolTable};

/// `SHN_LIVEPATCH`: live patching resolves these itself.
const SHN_LIVEPATCH: elf::SymbolSection = elf::SymbolSection(0xff20);
/// `sizeof(Elf64_Sym)`, and that of Linux's `struct mod_kallsyms`.
const SYMBOL_SIZE: u64 = 24;
const MOD_KALLSYMS_SIZE: u64 = 32;
/// How often a symbol is looked up again because something changed meanwhile.
const LOOKUPS_MAX: u32 = 64;

/// Every symbol's value, and what was learnt on the way.
#[derive(Default)]
pub(crate) struct Bound {
    pub(crate) values: Vec<u64>,
    pub(crate) symbols: Vec<Symbol>,
    pub(crate) names: Vec<u8>,
    pub(crate) uses: Vec<OwnerId>,
    pub(crate) deferred: Vec<Deferred>,
    pub(crate) thunks: Thunks,
    pub(crate) core_size: u64,
    pub(crate) init_size: u64,
}

pub(crate) struct Binder<'b, 'a> {
    image: &'b Image<'a>,
    layout: &'b Layout,
    place: &'b Placement,
    addresses: &'b [u64],
    terms: &'b Terms<'b>,
    report: &'b mut Report,
    versions: Option<VersionCursor<'a>>,
    uses_gpl_only: bool,
    uses: Vec<OwnerId>,
}

/// What became of an import.
enum Import {
    Value(u64),
    /// Nobody exports it.
    Missing,
    /// Somebody does, but the module must not or cannot have it.
    Refused(i32),
}

/// What a symbol somebody exports says, without the borrow of the table.
enum Verdict {
    Take { value: u64, owner: Option<OwnerId> },
    Hidden,
    Refused(i32),
}

impl<'b, 'a> Binder<'b, 'a> {
    pub(crate) fn new(
        image: &'b Image<'a>,
        layout: &'b Layout,
        place: &'b Placement,
        addresses: &'b [u64],
        terms: &'b Terms<'b>,
        report: &'b mut Report,
    ) -> Binder<'b, 'a> {
        let versions = if terms.ignore_modversions { None } else { image.versions().map(Versions::cursor) };
        let uses = Vec::new();
        Binder { image, layout, place, addresses, terms, report, versions, uses_gpl_only: false, uses }
    }

    pub(crate) fn uses_gpl_only(&self) -> bool {
        self.uses_gpl_only
    }

    /// Gives every symbol its value, in the file's order. Errors accumulate: the last one is returned, after all were
    /// reported.
    pub(crate) fn bind_all(&mut self, table: &mut dyn SymbolTable) -> Result<Bound, LinkError> {
        let (image, layout) = (self.image, self.layout);
        let symbols = image.symbols();
        let mut bound = Bound { names: names_of(image), ..Bound::default() };
        bound.values.reserve_exact(symbols.len());
        bound.values.push(0);
        let percpu = layout.percpu.map(|percpu| percpu.section);
        let (mut last_error, mut unknown, mut failed) = (None, 0u32, 0i32);
        let (mut core_symbols, mut core_names) = (1u64, 1u64);
        for symbol in symbols.iter().skip(1) {
            let (index, value) = (symbol.st_shndx.get(LE), symbol.st_value.get(LE));
            let final_value = match index {
                elf::SHN_COMMON => {
                    if !image.symbol_name(symbol).starts_with(b"__gnu_lto") {
                        let error = LinkError::Common { module: self.terms.name.to_owned() };
                        last_error = Some(self.accumulate(error));
                    }
                    value
                }
                elf::SHN_ABS | SHN_LIVEPATCH => value,
                elf::SHN_UNDEF => {
                    let name = image.symbol_name(symbol);
                    match self.import(name, table) {
                        Import::Value(value) => {
                            bound.thunks.note(name, value);
                            value
                        }
                        Import::Missing if symbol.st_info.st_bind() == elf::STB_WEAK || ignored(name) => value,
                        Import::Missing => match self.deferred(name, table) {
                            Some(address) => {
                                let name = NameRef(symbol.st_name.get(LE));
                                bound.deferred.push(Deferred { name, address });
                                address
                            }
                            None => {
                                (unknown, failed) = (unknown + 1, errno::ENOENT);
                                last_error = None;
                                self.unknown(name, errno::ENOENT);
                                0
                            }
                        },
                        Import::Refused(errno) => {
                            (unknown, failed) = (unknown + 1, errno);
                            last_error = None;
                            self.unknown(name, errno);
                            0
                        }
                    }
                }
                index if Some(usize::from(index.0)) == percpu => {
                    let value = self.place.percpu_offset.wrapping_add(value);
                    let name = symbol.st_name.get(LE);
                    if name != 0 {
                        core_symbols += 1;
                        core_names += image.symbol_name(symbol).len() as u64 + 1;
                        bound.symbols.push(self.view(symbol, value, usize::from(index.0), percpu, false));
                    }
                    value
                }
                index => match self.addresses.get(usize::from(index.0)) {
                    Some(address) => {
                        let value = address.wrapping_add(value);
                        if let Some(place) = layout.sections[usize::from(index.0)]
                            && symbol.st_name.get(LE) != 0
                        {
                            let init = place.part.is_init();
                            if !init {
                                core_symbols += 1;
                                core_names += image.symbol_name(symbol).len() as u64 + 1;
                            }
                            bound.symbols.push(self.view(symbol, value, usize::from(index.0), percpu, init));
                        }
                        value
                    }
                    None => {
                        let error = LinkError::SectionIndex {
                            module: self.terms.name.to_owned(),
                            symbol: image.symbol_name(symbol).to_owned(),
                            index: u32::from(index.0),
                            max: self.addresses.len().saturating_sub(1) as u32,
                        };
                        last_error = Some(self.accumulate(error));
                        value
                    }
                },
            };
            bound.values.push(final_value);
        }
        bound.uses = core::mem::take(&mut self.uses);
        let strings = bound.names.len() as u64;
        bound.core_size = linux_core_size(layout, core_symbols, core_names);
        bound.init_size = linux_init_size(layout, symbols.len() as u64, strings);
        match (last_error, unknown) {
            (Some(error), _) => Err(error),
            (None, 0) => Ok(bound),
            (None, count) => Err(LinkError::Unknown { module: self.terms.name.to_owned(), count, errno: failed }),
        }
    }

    fn view(&self, symbol: &elf::Sym64<LE>, address: u64, section: usize, percpu: Option<usize>, init: bool) -> Symbol {
        Symbol {
            address,
            size: u32::try_from(symbol.st_size.get(LE)).unwrap_or(u32::MAX),
            name: NameRef(symbol.st_name.get(LE)),
            kind: symbol_kind(self.image, symbol.st_info, section, percpu),
            init,
        }
    }

    /// Reports an error that does not end the walk.
    #[cold]
    fn accumulate(&mut self, error: LinkError) -> LinkError {
        self.report.say(Notice::Fatal(error.clone()));
        error
    }

    #[cold]
    fn unknown(&mut self, name: &BStr, errno: i32) {
        let module = self.terms.name.to_owned();
        self.report.say(Notice::UnknownSymbol { module, symbol: name.to_owned(), errno });
    }

    fn gpl_ok(&self) -> bool {
        !self.report.taints.contains(Taints::PROPRIETARY)
    }

    /// Asks the table for a stand-in, unless the symbol exists and is only hidden from this module.
    fn deferred(&mut self, name: &BStr, table: &mut dyn SymbolTable) -> Option<u64> {
        if !self.gpl_ok() && table.find(name, true).is_some() {
            return None;
        }
        table.absent(name)
    }

    fn import(&mut self, name: &BStr, table: &mut dyn SymbolTable) -> Import {
        for _ in 0..LOOKUPS_MAX {
            let Some(found) = table.find(name, self.gpl_ok()) else {
                return Import::Missing;
            };
            let (value, owner) = match self.judge(name, &found) {
                Verdict::Take { value, owner } => (value, owner),
                Verdict::Hidden => return Import::Missing,
                Verdict::Refused(errno) => return Import::Refused(errno),
            };
            let Some(owner) = owner.filter(|owner| !self.uses.contains(owner)) else {
                return Import::Value(value);
            };
            match table.bind(owner) {
                Ok(()) => {
                    self.uses.push(owner);
                    return Import::Value(value);
                }
                Err(BindError::Again) => {}
                Err(BindError::GaveUp) => return self.gave_up(name, table),
                Err(BindError::Going) => return Import::Refused(errno::ENOENT),
            }
        }
        self.gave_up(name, table)
    }

    #[cold]
    fn gave_up(&mut self, name: &BStr, table: &mut dyn SymbolTable) -> Import {
        let owner = match table.find(name, self.gpl_ok()).map(|found| found.owner) {
            Some(Owner::Module { name, .. }) => name.to_owned(),
            _ => BString::default(),
        };
        self.report.say(Notice::GaveUpWaiting { module: self.terms.name.to_owned(), owner });
        Import::Refused(errno::EBUSY)
    }

    /// Whether the module may have what was found. In Linux's order: licence, version, namespace.
    fn judge(&mut self, name: &BStr, found: &Found<'_>) -> Verdict {
        let module = self.terms.name;
        self.uses_gpl_only |= found.gpl_only;
        if let Owner::Module { name: owner, proprietary: true, .. } = found.owner {
            let (symbol, owner) = (name.to_owned(), owner.to_owned());
            if self.uses_gpl_only {
                self.report.say(Notice::GplMeetsProprietary { module: module.to_owned(), symbol, owner });
                return Verdict::Hidden;
            }
            if self.gpl_ok() {
                self.report.taints.insert(Taints::PROPRIETARY);
                self.report.say(Notice::InheritsTaint { module: module.to_owned(), symbol, owner });
            }
        }
        if let Some(crc) = found.crc
            && !self.version_fits(name, crc)
        {
            return Verdict::Refused(errno::EINVAL);
        }
        if let Some(namespace) = found.namespace.filter(|namespace| !namespace.is_empty())
            && !self.image.modinfo().all("import_ns").any(|imported| imported == namespace)
        {
            self.report.say(Notice::NamespaceNotImported {
                module: module.to_owned(),
                symbol: name.to_owned(),
                namespace: namespace.to_owned(),
            });
            return Verdict::Refused(errno::EINVAL);
        }
        let owner = match found.owner {
            Owner::Kernel => None,
            Owner::Module { id, .. } => Some(id),
        };
        Verdict::Take { value: found.value, owner }
    }

    fn version_fits(&mut self, name: &BStr, crc: u32) -> bool {
        let module = || self.terms.name.to_owned();
        let Some(versions) = &mut self.versions else {
            return force(self.report, module(), name, self.terms.force_load).is_ok();
        };
        let notice = match versions.get(name) {
            Some(found) if found == crc => return true,
            Some(_) => Notice::VersionDiffers { module: module(), symbol: name.to_owned() },
            None => Notice::NoVersion { module: module(), symbol: name.to_owned() },
        };
        self.report.say(notice);
        false
    }
}

/// A name some assemblers leave undefined and nobody means.
fn ignored(name: &BStr) -> bool {
    name.as_bytes() == b"_GLOBAL_OFFSET_TABLE_"
}

/// The symbol names, as one piece that [`NameRef`]s point into; it ends with a NUL.
fn names_of(image: &Image<'_>) -> Vec<u8> {
    let strings = image.symbol_names();
    let mut names = Vec::with_capacity(strings.len() + 256);
    names.extend_from_slice(strings);
    if names.last() != Some(&0) {
        names.push(0);
    }
    names
}

fn pages(layout: &Layout, parts: [PartKind; 4]) -> u64 {
    parts.iter().map(|&part| layout.size(part).next_multiple_of(4096)).sum()
}

/// Linux keeps the symbols of the core parts behind them: symbol, name and a letter each.
fn linux_core_size(layout: &Layout, symbols: u64, names: u64) -> u64 {
    use PartKind::{Data, RoAfterInit, Rodata, Text};
    (pages(layout, [Text, Rodata, RoAfterInit, Data]) + symbols * (SYMBOL_SIZE + 1) + names).next_multiple_of(4096)
}

/// Linux keeps the whole symbol table behind the init parts until initialisation has ended.
fn linux_init_size(layout: &Layout, symbols: u64, names: u64) -> u64 {
    let sections = [PartKind::InitText, PartKind::InitRodata, PartKind::InitData]
        .iter()
        .map(|&part| layout.size(part).next_multiple_of(4096))
        .sum::<u64>();
    let tables = (sections + symbols * SYMBOL_SIZE + names).next_multiple_of(8) + MOD_KALLSYMS_SIZE + symbols;
    tables.next_multiple_of(4096)
}
