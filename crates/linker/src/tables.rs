//! The tables a module brings: found by section name, read from the relocated bytes, every entry checked.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;
use core::ops::Range;

use bstr::{BStr, ByteSlice};
use ferrmod_image::Image;

use crate::error::LinkError;
use crate::fixups::Branch;
use crate::layout::{Layout, PartKind};
use crate::linked::{Bug, Exception, ExportedSymbol, Linked, NameRef, StaticCall, Table};
use crate::place::{Map, Parts};

/// The sections with a meaning, by name; the first of each name counts, as in Linux.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) ksymtab: Option<usize>,
    pub(crate) ksymtab_gpl: Option<usize>,
    pub(crate) kcrctab: Option<usize>,
    pub(crate) kcrctab_gpl: Option<usize>,
    pub(crate) params: Option<usize>,
    pub(crate) exceptions: Option<usize>,
    pub(crate) bugs: Option<usize>,
    pub(crate) branches: Option<usize>,
    pub(crate) static_calls: Option<usize>,
    pub(crate) alternatives: Option<usize>,
    pub(crate) retpolines: Option<usize>,
    pub(crate) returns: Option<usize>,
    pub(crate) orc_ip: Option<usize>,
    pub(crate) orc: Option<usize>,
    pub(crate) mcount: Option<usize>,
    pub(crate) tracepoints: Option<usize>,
    pub(crate) trace_events: Option<usize>,
    pub(crate) trace_evals: Option<usize>,
    pub(crate) bpf_raw_tracepoints: Option<usize>,
    pub(crate) trace_printk: Option<usize>,
    pub(crate) srcu: Option<usize>,
    pub(crate) dyndbg: Option<usize>,
    pub(crate) dyndbg_classes: Option<usize>,
    pub(crate) ctors: Option<usize>,
    pub(crate) init_array: Option<usize>,
    pub(crate) kprobes_text: Option<usize>,
    pub(crate) noinstr_text: Option<usize>,
    pub(crate) kprobe_blacklist: Option<usize>,
    pub(crate) orc_header: bool,
    pub(crate) obsolete_parameters: bool,
    ksymtab_filled: bool,
    ksymtab_gpl_filled: bool,
}

impl Known {
    pub(crate) fn of(image: &Image<'_>, layout: &Layout) -> Known {
        let mut known = Known::default();
        for (index, (section, place)) in image.sections().iter().zip(&layout.sections).enumerate() {
            if place.is_none() {
                continue;
            }
            let slot = match section.name.as_bytes() {
                b"__ksymtab" => &mut known.ksymtab,
                b"__ksymtab_gpl" => &mut known.ksymtab_gpl,
                b"__kcrctab" => &mut known.kcrctab,
                b"__kcrctab_gpl" => &mut known.kcrctab_gpl,
                b"__param" => &mut known.params,
                b"__ex_table" => &mut known.exceptions,
                b"__bug_table" => &mut known.bugs,
                b"__jump_table" => &mut known.branches,
                b".static_call_sites" => &mut known.static_calls,
                b".altinstructions" => &mut known.alternatives,
                b".retpoline_sites" => &mut known.retpolines,
                b".return_sites" => &mut known.returns,
                b".orc_unwind_ip" => &mut known.orc_ip,
                b".orc_unwind" => &mut known.orc,
                b"__mcount_loc" => &mut known.mcount,
                b"__tracepoints_ptrs" => &mut known.tracepoints,
                b"_ftrace_events" => &mut known.trace_events,
                b"_ftrace_eval_map" => &mut known.trace_evals,
                b"__bpf_raw_tp_map" => &mut known.bpf_raw_tracepoints,
                b"__trace_printk_fmt" => &mut known.trace_printk,
                b"___srcu_struct_ptrs" => &mut known.srcu,
                b"__dyndbg" => &mut known.dyndbg,
                b"__dyndbg_classes" => &mut known.dyndbg_classes,
                b".ctors" => &mut known.ctors,
                b".init_array" => &mut known.init_array,
                b".kprobes.text" => &mut known.kprobes_text,
                b".noinstr.text" => &mut known.noinstr_text,
                b"_kprobe_blacklist" => &mut known.kprobe_blacklist,
                b".orc_header" => {
                    known.orc_header = true;
                    continue;
                }
                b"__obsparm" => {
                    known.obsolete_parameters = true;
                    continue;
                }
                _ => continue,
            };
            if slot.is_none() {
                *slot = Some(index);
                match section.name.as_bytes() {
                    b"__ksymtab" => known.ksymtab_filled = section.size >= EXPORT,
                    b"__ksymtab_gpl" => known.ksymtab_gpl_filled = section.size >= EXPORT,
                    _ => {}
                }
            }
        }
        known
    }

    /// Whether the module exports something without a CRC table.
    pub(crate) fn exports_without_crcs(&self) -> bool {
        (self.ksymtab_filled && self.kcrctab.is_none()) || (self.ksymtab_gpl_filled && self.kcrctab_gpl.is_none())
    }
}

/// Bytes of an entry of `__ksymtab`.
const EXPORT: u64 = 12;

/// What the readers of tables share.
pub(crate) struct Source<'s, 'a> {
    pub(crate) module: &'s BStr,
    pub(crate) map: &'s Map,
    pub(crate) known: &'s Known,
    pub(crate) addresses: &'s [u64],
    pub(crate) image: &'s Image<'a>,
    pub(crate) layout: &'s Layout,
}

/// One table: where it lies, and how many entries it has.
pub(crate) struct Entries {
    part: usize,
    start: usize,
    address: u64,
    name: &'static str,
    pub(crate) count: usize,
}

impl Source<'_, '_> {
    /// The bytes of a kept section: its part, and the range in it.
    pub(crate) fn range(&self, section: usize) -> Option<(PartKind, Range<usize>)> {
        let place = self.layout.sections.get(section).copied().flatten()?;
        let start = place.offset as usize;
        Some((place.part, start..start + usize::try_from(self.image.sections().get(section)?.size).ok()?))
    }

    /// A table of `N`-byte entries; a rest is ignored, as in Linux.
    pub(crate) fn entries(&self, section: Option<usize>, size: usize, name: &'static str) -> Option<Entries> {
        let section = section?;
        let (part, range) = self.range(section)?;
        let (count, start) = (range.len() / size, range.start);
        (count != 0).then(|| Entries { part: part as usize, start, address: self.addresses[section], name, count })
    }

    #[cold]
    pub(crate) fn outside(&self, table: &Entries, index: usize) -> LinkError {
        LinkError::TableEntry { module: self.module.to_owned(), section: table.name, index }
    }

    fn table(&self, section: Option<usize>, entry: u64) -> Table {
        let Some(section) = section else {
            return Table::default();
        };
        let size = self.image.sections().get(section).map_or(0, |section| section.size);
        Table { address: self.addresses[section], count: u32::try_from(size / entry).unwrap_or(u32::MAX) }
    }
}

impl Entries {
    /// The address of an entry.
    pub(crate) fn address(&self, index: usize, size: usize) -> u64 {
        self.address.wrapping_add((index * size) as u64)
    }

    /// The bytes of an entry. `index` is below `count`.
    pub(crate) fn bytes<const N: usize>(&self, parts: &Parts<'_>, index: usize) -> [u8; N] {
        let start = self.start + index * N;
        parts.bytes[self.part].get(start..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }
}

/// The target of a relative pointer at `address`.
pub(crate) fn relative(address: u64, bytes: &[u8]) -> u64 {
    let offset = bytes.first_chunk().map_or(0, |bytes| i32::from_le_bytes(*bytes));
    address.wrapping_add_signed(i64::from(offset))
}

/// Whether the kernel the module was built for is at least this release, by its `vermagic`.
pub(crate) fn release_at_least(image: &Image<'_>, major: u32, minor: u32) -> bool {
    let number = |word: Option<&[u8]>| {
        let digits = word.unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0u32, |value, &digit| value.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
    };
    let vermagic = image.modinfo().get("vermagic").unwrap_or_default();
    let mut words = vermagic.split(|&byte| byte == b'.');
    (number(words.next()), number(words.next())) >= (major, minor)
}

/// Reads all tables but those of the fix-ups.
pub(crate) fn read(source: &Source<'_, '_>, parts: &Parts<'_>, linked: &mut Linked) -> Result<(), LinkError> {
    let known = source.known;
    let tables = &mut linked.tables;
    tables.params = source.table(known.params, 40);
    tables.mcount = source.table(known.mcount, 8);
    tables.tracepoints = source.table(known.tracepoints, 4);
    tables.trace_events = source.table(known.trace_events, 8);
    tables.trace_evals = source.table(known.trace_evals, 8);
    tables.bpf_raw_tracepoints = source.table(known.bpf_raw_tracepoints, 32);
    tables.trace_printk = source.table(known.trace_printk, 8);
    tables.srcu = source.table(known.srcu, 8);
    tables.dyndbg = source.table(known.dyndbg, 56);
    tables.dyndbg_classes = source.table(known.dyndbg_classes, 8);
    tables.constructors = source.table(known.ctors.or(known.init_array), 8);
    tables.static_calls = source.table(known.static_calls, 8);
    tables.branches = source.table(known.branches, 16);
    tables.exceptions = source.table(known.exceptions, 12);
    tables.bugs = source.table(known.bugs, 12);
    tables.kprobes_text = source.table(known.kprobes_text, 1);
    tables.noinstr_text = source.table(known.noinstr_text, 1);
    tables.kprobe_blacklist = source.table(known.kprobe_blacklist, 8);
    read_exceptions(source, parts, &mut linked.exceptions)?;
    read_bugs(source, parts, &mut linked.bugs)?;
    read_branches(source, parts, &mut linked.branches)?;
    read_static_calls(source, parts, &mut linked.static_calls)?;
    read_exports(source, parts, linked, false)?;
    read_exports(source, parts, linked, true)
}

fn read_exceptions(source: &Source<'_, '_>, parts: &Parts<'_>, out: &mut Vec<Exception>) -> Result<(), LinkError> {
    let Some(table) = source.entries(source.known.exceptions, 12, "__ex_table") else {
        return Ok(());
    };
    out.reserve_exact(table.count);
    for index in 0..table.count {
        let (at, bytes) = (table.address(index, 12), table.bytes::<12>(parts, index));
        let (address, fixup) = (relative(at, &bytes), relative(at.wrapping_add(4), &bytes[4..]));
        if source.map.locate_text(address, 1).is_none() || source.map.locate_text(fixup, 1).is_none() {
            return Err(source.outside(&table, index));
        }
        let data = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        out.push(Exception { address, fixup, data });
    }
    out.sort_by_key(|entry| entry.address);
    Ok(())
}

fn read_bugs(source: &Source<'_, '_>, parts: &Parts<'_>, out: &mut Vec<Bug>) -> Result<(), LinkError> {
    let Some(table) = source.entries(source.known.bugs, 12, "__bug_table") else {
        return Ok(());
    };
    out.reserve_exact(table.count);
    for index in 0..table.count {
        let (at, bytes) = (table.address(index, 12), table.bytes::<12>(parts, index));
        let (address, file) = (relative(at, &bytes), relative(at.wrapping_add(4), &bytes[4..]));
        // An entry without a file points at its own field.
        let file = if file == at.wrapping_add(4) { 0 } else { file };
        if source.map.locate_text(address, 2).is_none() || (file != 0 && !source.map.contains(file)) {
            return Err(source.outside(&table, index));
        }
        let (line, flags) = (u16::from_le_bytes([bytes[8], bytes[9]]), u16::from_le_bytes([bytes[10], bytes[11]]));
        out.push(Bug { address, file, line, flags });
    }
    out.sort_by_key(|bug| bug.address);
    Ok(())
}

fn read_branches(source: &Source<'_, '_>, parts: &Parts<'_>, out: &mut Vec<Branch>) -> Result<(), LinkError> {
    let Some(table) = source.entries(source.known.branches, 16, "__jump_table") else {
        return Ok(());
    };
    out.reserve_exact(table.count);
    for index in 0..table.count {
        let (at, bytes) = (table.address(index, 16), table.bytes::<16>(parts, index));
        let (site, target) = (relative(at, &bytes), relative(at.wrapping_add(4), &bytes[4..]));
        let key = bytes.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let key = at.wrapping_add(8).wrapping_add(key);
        let Some((part, _)) = source.map.locate_text(site, 2) else {
            return Err(source.outside(&table, index));
        };
        if source.map.locate_text(target, 1).is_none() {
            return Err(source.outside(&table, index));
        }
        out.push(Branch { site, target, key: key & !3, likely: key & 1 != 0, init: part.is_init() });
    }
    Ok(())
}

fn read_static_calls(source: &Source<'_, '_>, parts: &Parts<'_>, out: &mut Vec<StaticCall>) -> Result<(), LinkError> {
    let Some(table) = source.entries(source.known.static_calls, 8, ".static_call_sites") else {
        return Ok(());
    };
    out.reserve_exact(table.count);
    for index in 0..table.count {
        let (at, bytes) = (table.address(index, 8), table.bytes::<8>(parts, index));
        let (site, key) = (relative(at, &bytes), relative(at.wrapping_add(4), &bytes[4..]));
        let Some((part, _)) = source.map.locate_text(site, 5) else {
            return Err(source.outside(&table, index));
        };
        out.push(StaticCall { site, key: key & !3, tail: key & 1 != 0, init: part.is_init() });
    }
    Ok(())
}

fn read_exports(
    source: &Source<'_, '_>,
    parts: &Parts<'_>,
    linked: &mut Linked,
    gpl_only: bool,
) -> Result<(), LinkError> {
    let known = source.known;
    let (symbols, crcs, name) = if gpl_only {
        (known.ksymtab_gpl, known.kcrctab_gpl, "__ksymtab_gpl")
    } else {
        (known.ksymtab, known.kcrctab, "__ksymtab")
    };
    let Some(table) = source.entries(symbols, EXPORT as usize, name) else {
        return Ok(());
    };
    let crcs = source.entries(crcs, 4, "__kcrctab");
    linked.exports.reserve_exact(table.count);
    for index in 0..table.count {
        let (at, bytes) = (table.address(index, 12), table.bytes::<12>(parts, index));
        let value = relative(at, &bytes);
        let text = string_at(source, parts, relative(at.wrapping_add(4), &bytes[4..]));
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Err(source.outside(&table, index));
        };
        // Offset 0 means none; an empty string means none, too.
        let namespace = if bytes[8..] == [0; 4] {
            None
        } else {
            let text = string_at(source, parts, relative(at.wrapping_add(8), &bytes[8..]));
            text.ok_or_else(|| source.outside(&table, index)).map(|text| Some(text).filter(|text| !text.is_empty()))?
        };
        let name = remember(&mut linked.names, text);
        let namespace = namespace.map(|namespace| remember(&mut linked.names, namespace));
        let crc = crcs.as_ref().filter(|crcs| index < crcs.count);
        let crc = crc.map(|crcs| u32::from_le_bytes(crcs.bytes(parts, index)));
        linked.exports.push(ExportedSymbol { name, value, gpl_only, crc, namespace });
    }
    Ok(())
}

/// The string at an address of the module, without its NUL, which must be there.
fn string_at<'p>(source: &Source<'_, '_>, parts: &'p Parts<'_>, address: u64) -> Option<&'p BStr> {
    let (part, offset) = source.map.locate(address, 1)?;
    let size = usize::try_from(source.layout.size(part)).ok()?;
    let tail = parts.bytes[part as usize].get(offset..size)?;
    tail.find_byte(0).map(|end| BStr::new(&tail[..end]))
}

/// Appends a name to the names the kernel keeps.
fn remember(names: &mut Vec<u8>, name: &BStr) -> NameRef {
    // Names come from a file whose size fits 32 bits; past that a name would read as empty.
    let start = u32::try_from(names.len()).unwrap_or(u32::MAX);
    names.extend_from_slice(name);
    names.push(0);
    NameRef(start)
}
