//! The export tables of a kernel.

use alloc::vec::Vec;
use core::ops::Range;

use super::{ExportKind, Found, KernelReadError, MAX_CONTENTS, Section, find_section, place, text_at};
use crate::flat::{u32_at, u64_at};
use crate::linux::ExportClass;

/// The section of the per-CPU variables.
pub(super) const PERCPU: &str = ".data..percpu";

/// How an entry of an export table is laid out.
#[derive(Clone, Copy)]
struct Form {
    /// Bytes of an entry.
    stride: usize,
    /// Whether fields are 32-bit distances from themselves; else they are 64-bit addresses.
    relative: bool,
    /// Whether the third field, the namespace, is there.
    namespaces: bool,
}

/// The forms there have been on 64-bit kernels, newest first. Namespaces came with Linux 5.4.
const FORMS: [Form; 4] = [
    Form { stride: 12, relative: true, namespaces: true },
    Form { stride: 8, relative: true, namespaces: false },
    Form { stride: 24, relative: false, namespaces: true },
    Form { stride: 16, relative: false, namespaces: false },
];

impl Form {
    /// The address field `field` of an entry at `offset` of a table names.
    fn field(self, table: &[u8], address: u64, offset: usize, field: usize) -> Option<u64> {
        if self.relative {
            let at = offset + field * 4;
            let distance = i64::from(u32_at(table, at)? as i32);
            Some(address.wrapping_add(at as u64).wrapping_add_signed(distance))
        } else {
            u64_at(table, offset + field * 8)
        }
    }
}

/// Both tables, in the order the kernel searches them.
pub(super) fn read(bytes: &[u8], sections: &[Section]) -> Result<Vec<Found>, KernelReadError> {
    let mut exports = Vec::new();
    let tables =
        [("__ksymtab", "__kcrctab", ExportClass::Any), ("__ksymtab_gpl", "__kcrctab_gpl", ExportClass::GplOnly)];
    let mut any = false;
    for (name, crcs, class) in tables {
        let Some(section) = find_section(bytes, sections, name) else {
            continue;
        };
        any = true;
        let table = bytes.get(section.data.clone()).unwrap_or_default();
        let crcs = find_section(bytes, sections, crcs).and_then(|crcs| bytes.get(crcs.data.clone()));
        let read = FORMS.iter().find_map(|&form| entries(bytes, sections, section, form, class, crcs));
        exports.extend(read.ok_or(KernelReadError::Exports { section: name, len: table.len() })?);
    }
    if !any {
        return Err(KernelReadError::Missing { what: "the export tables (__ksymtab)" });
    }
    contents(sections, &mut exports);
    Ok(exports)
}

/// The entries of one table, if all of them make sense in that form.
fn entries(
    bytes: &[u8],
    sections: &[Section],
    section: &Section,
    form: Form,
    class: ExportClass,
    crcs: Option<&[u8]>,
) -> Option<Vec<Found>> {
    let table = bytes.get(section.data.clone())?;
    if !table.len().is_multiple_of(form.stride) {
        return None;
    }
    let count = table.len() / form.stride;
    // A kernel without modversions has no table of CRCs, or an empty one.
    let crcs = crcs.filter(|crcs| crcs.len() == count * 4);
    let text = |address| text_at(bytes, sections, address);
    (0..count)
        .map(|index| {
            let field = |field| form.field(table, section.address, index * form.stride, field);
            let address = field(0)?;
            let name = text(field(1)?).filter(|name| is_symbol(bytes, name))?;
            let namespace = if form.namespaces {
                // Without a namespace the field names an empty text (relative), or is zero.
                match field(2)? {
                    0 => None,
                    at => Some(text(at)?).filter(|namespace| !namespace.is_empty()),
                }
            } else {
                None
            };
            let crc = crcs.and_then(|crcs| u32_at(crcs, index * 4));
            let kind = kind(bytes, sections, address);
            Some(Found { name, namespace, class, crc, address, kind, data: 0..0, extent: 0 })
        })
        .collect()
}

/// Whether the text can be the name of a symbol.
fn is_symbol(bytes: &[u8], range: &Range<usize>) -> bool {
    let name = bytes.get(range.clone()).unwrap_or_default();
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic())
}

/// The section an address is in. Sections without contents count too.
fn section_of(sections: &[Section], address: u64) -> Option<&Section> {
    sections.iter().find(|section| address.checked_sub(section.address).is_some_and(|offset| offset < section.size))
}

/// What lies at an address.
fn kind(bytes: &[u8], sections: &[Section], address: u64) -> ExportKind {
    match section_of(sections, address) {
        Some(section) if bytes.get(section.name.clone()) == Some(PERCPU.as_bytes()) => ExportKind::PerCpu,
        Some(section) if section.executable => ExportKind::Function,
        _ => ExportKind::Data,
    }
}

/// Fills in where the contents of every variable are, and how far it reaches at most.
fn contents(sections: &[Section], exports: &mut [Found]) {
    let mut addresses: Vec<u64> = exports.iter().map(|export| export.address).collect();
    addresses.sort_unstable();
    for export in exports {
        let Some(section) = section_of(sections, export.address) else {
            continue;
        };
        let end = section.address.saturating_add(section.size);
        let next = addresses.partition_point(|&address| address <= export.address);
        let next = addresses.get(next).copied().unwrap_or(end).min(end);
        export.extent = next - export.address;
        if export.kind == ExportKind::Function {
            continue;
        }
        if let Some(data) = place(sections, export.address) {
            let len = usize::try_from(export.extent).unwrap_or(usize::MAX).min(MAX_CONTENTS).min(data.len());
            export.data = data.start..data.start + len;
        }
    }
}
