//! The linking itself: copy, bind, relocate, fix up, and remember what a kernel needs.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use bstr::{BStr, BString};
use ferrmod_image::Image;
use object::elf;

use crate::alternatives;
use crate::bind::Binder;
use crate::check::force;
use crate::error::{LinkError, Refused};
use crate::fixups;
use crate::layout::{Layout, PartKind, name_of};
use crate::linked::{Linked, Table};
use crate::orc;
use crate::place::{Map, Parts, Placement};
use crate::relocate::{self, Values};
use crate::report::{Notice, Report, Taints};
use crate::symbols::SymbolTable;
use crate::tables::{self, Known};

/// On which terms a module is linked.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The module's name in messages.
    pub name: &'a BStr,
    /// The module's taints so far, as [`check`](crate::check::check) reported them. With [`Taints::PROPRIETARY`] it does not
    /// see symbols for GPL-compatible modules.
    pub taints: Taints,
    /// As if it had no `__versions`.
    pub ignore_modversions: bool,
    /// `CONFIG_MODULE_FORCE_LOAD`: what cannot be checked is loaded with a taint.
    pub force_load: bool,
    /// Allow relocations through a global offset table, for which the layout was made with
    /// [`LayoutOptions::got`](crate::LayoutOptions::got). Linux refuses them.
    pub got: bool,
    /// Replace calls through retpolines and jumps to the return thunk by what they stand for.
    pub direct_branches: bool,
    /// Apply the replacements of `.altinstructions` for these processor features: word and bit as in Linux's `cpufeatures.h`.
    /// `None` applies none, which is always right, because the code the compiler left in place runs on every processor.
    pub features: Option<&'a [u32]>,
}

impl<'a> Terms<'a> {
    /// Linux's own terms for a module that passed the checks with these taints, and no alternatives.
    #[must_use]
    pub fn new(image: &Image<'a>, taints: Taints) -> Terms<'a> {
        Terms {
            name: name_of(image),
            taints,
            ignore_modversions: false,
            force_load: true,
            got: false,
            direct_branches: true,
            features: None,
        }
    }
}

/// Links a module: fills `parts` with the bytes that belong at `place`, and says what the kernel must remember.
///
/// In Linux's order: sections are copied; licence and versions are looked at; every symbol is bound, and all that cannot be
/// are reported before the module is refused; relocations are written; tables are read and fix-ups applied; exported names
/// are compared with what exists. References taken through [`SymbolTable::bind`] are the caller's to give back when this
/// fails.
///
/// # Errors
///
/// [`Refused`] has the reason, its error number, and all log lines and taints until then.
pub fn link(
    image: &Image<'_>,
    layout: &Layout,
    place: &Placement,
    symbols: &mut dyn SymbolTable,
    terms: &Terms<'_>,
    parts: &mut Parts<'_>,
) -> Result<Linked, Refused> {
    let mut report = Report { taints: terms.taints, notices: Vec::new() };
    match link_reporting(image, layout, place, symbols, terms, parts, &mut report) {
        Ok(mut linked) => {
            linked.report = report;
            Ok(linked)
        }
        Err(error) => Err(Refused::new(report, error)),
    }
}

fn link_reporting(
    image: &Image<'_>,
    layout: &Layout,
    place: &Placement,
    table: &mut dyn SymbolTable,
    terms: &Terms<'_>,
    parts: &mut Parts<'_>,
    report: &mut Report,
) -> Result<Linked, LinkError> {
    let module = terms.name;
    if let Some(kind) = misfit(image, layout, place, parts) {
        return Err(LinkError::Memory { module: module.to_owned(), part: kind.as_str() });
    }
    copy_sections(image, layout, parts);
    let addresses: Vec<u64> =
        layout.sections.iter().map(|section| section.map_or(0, |section| place.address(section))).collect();
    let known = Known::of(image, layout);
    if let Some(percpu) = layout.percpu.filter(|percpu| percpu.wanted_align > percpu.align) {
        let (wanted, given) = (percpu.wanted_align, percpu.align);
        report.say(Notice::PerCpuAlignment { module: module.to_owned(), wanted, given });
    }
    if known.obsolete_parameters {
        report.say(Notice::ObsoleteParameters { module: module.to_owned() });
    }
    licence_and_versions(&known, terms, report)?;

    let mut binder = Binder::new(image, layout, place, &addresses, terms, report);
    let bound = binder.bind_all(table)?;
    let uses_gpl_only = binder.uses_gpl_only();
    let values = Values {
        module,
        symbols: &bound.values,
        sections: &addresses,
        got: terms.got,
        rodata: place.base[PartKind::Rodata as usize],
    };
    relocate::write_got(layout, &values, parts);
    relocate::apply(image, layout, &values, parts)?;

    let text_of = |kind: PartKind| (place.base[kind as usize], layout.size(kind));
    let text = [text_of(PartKind::Text), text_of(PartKind::InitText)];
    let mut linked = Linked {
        uses_gpl_only,
        uses: bound.uses,
        deferred: bound.deferred,
        core_size: bound.core_size,
        init_size: bound.init_size,
        symbols: bound.symbols,
        names: bound.names,
        text,
        ..Linked::default()
    };
    let entry_points = image.entry_points();
    let value_of = |symbol: Option<u32>| {
        symbol.and_then(|symbol| bound.values.get(symbol as usize)).copied().filter(|&value| value != 0)
    };
    linked.init = value_of(entry_points.init);
    linked.exit = value_of(entry_points.exit);
    if let Some(index) = image.this_module()
        && let (Some(&address), Some(section)) = (addresses.get(index), image.sections().get(index))
    {
        linked.this_module = Table { address, count: u32::try_from(section.size).unwrap_or(u32::MAX) };
    }

    let map = Map::new(layout, place);
    let source = tables::Source { module, map: &map, known: &known, addresses: &addresses, image, layout };
    tables::read(&source, parts, &mut linked)?;
    if terms.direct_branches {
        fixups::retpolines(&source, parts, &bound.thunks)?;
        fixups::returns(&source, parts, &bound.thunks)?;
    }
    if let Some(features) = terms.features {
        alternatives::apply(&source, &values, parts, features)?;
    }
    linked.orc = sorted_orc(&source, parts, text);
    linked.fentry_nops = fixups::fentry(&source, parts, &bound.thunks)?;
    duplicates(&linked, table, module)?;
    Ok(linked)
}

/// The first part whose buffer is too small or whose address is impossible.
fn misfit(image: &Image<'_>, layout: &Layout, place: &Placement, parts: &Parts<'_>) -> Option<PartKind> {
    if layout.sections.len() != image.sections().len() {
        return Some(PartKind::Text);
    }
    PartKind::ALL.into_iter().find(|&kind| {
        let size = layout.size(kind);
        (parts.bytes[kind as usize].len() as u64) < size || place.base[kind as usize].checked_add(size).is_none()
    })
}

/// Copies the kept sections, and zeroes everything between and after them.
fn copy_sections(image: &Image<'_>, layout: &Layout, parts: &mut Parts<'_>) {
    let mut filled = [0usize; PartKind::COUNT];
    for (section, place) in image.sections().iter().zip(&layout.sections) {
        let Some(place) = place else { continue };
        let part = &mut *parts.bytes[place.part as usize];
        let filled = &mut filled[place.part as usize];
        let start = place.offset as usize;
        // Sections of a part were placed in this same order, each behind the one before.
        if let Some(gap) = part.get_mut(*filled..start) {
            gap.fill(0);
        }
        let data = &section.data[..section.data.len().min(section.size as usize)];
        if let Some(copy) = part.get_mut(start..start + data.len()) {
            copy.copy_from_slice(data);
        }
        *filled = start + data.len();
    }
    for (part, filled) in parts.bytes.iter_mut().zip(filled) {
        if let Some(rest) = part.get_mut(filled..) {
            rest.fill(0);
        }
    }
}

/// Linux's check_module_license_and_versions.
fn licence_and_versions(known: &Known, terms: &Terms<'_>, report: &mut Report) -> Result<(), LinkError> {
    let name: &[u8] = terms.name;
    if name == b"ndiswrapper" {
        // Taints the kernel, but not the module: it may use symbols for GPL-compatible modules.
        report.say(Notice::LicenceByName { module: BString::from(name) });
        report.say(Notice::LockDebuggingOff);
    }
    if name == b"driverloader" || name == b"lve" {
        report.taint(Taints::PROPRIETARY, Notice::LicenceByName { module: BString::from(name) });
    }
    if known.exports_without_crcs() {
        force(report, terms.name.to_owned(), BStr::new("no versions for exported symbols"), terms.force_load)?;
    }
    Ok(())
}

/// Sorts the unwind table and says where it is. A table that does not hold together is left out, as Linux does.
fn sorted_orc(source: &tables::Source<'_, '_>, parts: &mut Parts<'_>, text: [(u64, u64); 2]) -> Option<orc::Table> {
    let (ip, entries) = (source.known.orc_ip?, source.known.orc?);
    let format = if source.known.orc_header || tables::release_at_least(source.image, 6, 4) {
        orc::Format::Linux6_4
    } else {
        orc::Format::Linux6_1
    };
    let (ip_range, entry_range) = (source.range(ip)?, source.range(entries)?);
    let count = ip_range.1.len() / 4;
    if ip_range.1.len() % 4 != 0 || entry_range.1.len() % 6 != 0 || entry_range.1.len() / 6 != count {
        return None;
    }
    let (ip_bytes, entry_bytes) = two_ranges(parts, &ip_range, &entry_range)?;
    orc::sort(ip_bytes, entry_bytes, format);
    Some(orc::Table {
        ip: source.addresses[ip],
        entries: source.addresses[entries],
        count: u32::try_from(count).ok()?,
        format,
        text,
    })
}

/// Two disjoint ranges of parts, both to write to.
fn two_ranges<'p>(
    parts: &'p mut Parts<'_>,
    first: &(PartKind, core::ops::Range<usize>),
    second: &(PartKind, core::ops::Range<usize>),
) -> Option<(&'p mut [u8], &'p mut [u8])> {
    let (a, b) = (first.0 as usize, second.0 as usize);
    if a != b {
        let [a, b] = parts.bytes.get_disjoint_mut([a, b]).ok()?;
        return Some((a.get_mut(first.1.clone())?, b.get_mut(second.1.clone())?));
    }
    let [a, b] = parts.bytes[a].get_disjoint_mut([first.1.clone(), second.1.clone()]).ok()?;
    Some((a, b))
}

/// Linux's verify_exported_symbols.
fn duplicates(linked: &Linked, table: &mut dyn SymbolTable, module: &BStr) -> Result<(), LinkError> {
    for export in &linked.exports {
        let name = linked.name(export.name);
        if let Some(found) = table.find(name, true) {
            let owner = match found.owner {
                crate::Owner::Kernel => BStr::new("kernel"),
                crate::Owner::Module { name, .. } => name,
            };
            return Err(LinkError::Duplicate {
                module: module.to_owned(),
                symbol: name.to_owned(),
                owner: owner.to_owned(),
            });
        }
    }
    Ok(())
}

/// The letter `nm` and `/proc/kallsyms` show, by Linux's rules.
pub(crate) fn symbol_kind(image: &Image<'_>, info: elf::SymbolInfo, section: usize, percpu: Option<usize>) -> u8 {
    if info.st_bind() == elf::STB_WEAK {
        return if info.st_type() == elf::STT_OBJECT { b'v' } else { b'w' };
    }
    if Some(section) == percpu {
        return b'a';
    }
    let Some(section) = image.sections().get(section) else {
        return b'?';
    };
    let has = |flag: elf::SectionFlags| section.flags & flag.0 != 0;
    if has(elf::SHF_EXECINSTR) {
        b't'
    } else if section.kind == elf::SHT_NOBITS.0 {
        b'b'
    } else if !has(elf::SHF_ALLOC) {
        b'?'
    } else if has(elf::SHF_WRITE) {
        b'd'
    } else {
        b'r'
    }
}
