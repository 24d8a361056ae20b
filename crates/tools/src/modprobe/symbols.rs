//! `--show-modversions` and `--show-exports`: symbols of a file with their versions.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use ferrmod_image::Image;
use ferrmod_index::depmod::module_facts;
use ferrmod_linux::Errno;

use super::{Request, json, name};
use crate::elf::{self, ElfError};
use crate::report::{Fatal, Level, io_words, words};
use crate::session::{Session, Status, Stop};

/// Shows those of the first operand. As in kmod the others do not count.
pub(super) fn show(session: &mut Session, request: &Request, operands: &[OsString]) -> Result<Status, Stop> {
    let Some(file) = operands.first() else { return Ok(Status::Failure) };
    // A path that ends in a slash names nothing.
    if fs::metadata(file).is_err() || file.as_bytes().ends_with(b"/") {
        let text = [b"Module ", file.as_bytes(), b" not found."].concat();
        if request.all {
            session.log.bytes(Level::Warning, &text);
            return Ok(Status::Failure);
        }
        return Err(Fatal::new(text).into());
    }
    // When both are asked for, kmod shows the versions.
    let (what, schema) =
        if request.modversions { ("modversions", json::MODVERSIONS) } else { ("symbols", json::EXPORTS) };
    let failed = |why: &str| -> Stop {
        let parts: [&[u8]; 6] = [b"could not get ", what.as_bytes(), b" of ", file.as_bytes(), b": ", why.as_bytes()];
        Fatal::new(parts.concat()).into()
    };
    let bytes = fs::read(file).map_err(|error| failed(&io_words(&error)))?;
    // What kmod needs to see how a file is compressed.
    if bytes.len() < 6 {
        return Err(failed(&words(Errno::INVAL)));
    }
    let bytes = ferrmod_index::unpack(&bytes).map_err(|error| failed(&error.to_string()))?;
    let symbols = if request.modversions { versions(&bytes) } else { exports(&bytes) };
    let symbols = symbols.ok_or_else(|| failed(&words(Errno::NOEXEC)))?;
    if request.json {
        let symbols: Vec<(u64, &[u8])> = symbols.iter().map(|(crc, name)| (*crc, name.as_slice())).collect();
        json::symbols(&mut session.out, schema, name(file), &symbols);
        return Ok(Status::Success);
    }
    if symbols.is_empty() {
        return Err(failed(&words(Errno::NODATA)));
    }
    for (crc, name) in &symbols {
        session.out.put(&[format!("{crc:#010x}\t").as_bytes(), name, b"\n"]);
    }
    Ok(Status::Success)
}

/// A symbol: its version and its name.
type Symbol = (u64, Vec<u8>);

/// The versions of what the module needs, of any machine; `None` when the bytes are no ELF file.
fn versions(bytes: &[u8]) -> Option<Vec<Symbol>> {
    let section = match elf::section(bytes, b"__versions") {
        Ok(section) => section,
        // Newer kernels have them in two other sections, for which everything else has to be right as well.
        Err(ElfError::Missing) => {
            let versions = Image::read(bytes).ok().and_then(|image| image.versions());
            let versions = versions.into_iter().flat_map(|versions| versions.iter());
            return Some(versions.map(|(name, crc)| (u64::from(crc), name.to_vec())).collect());
        }
        Err(_) => return None,
    };
    // struct modversion_info: an unsigned long, and the name in what is left of 64 bytes.
    let width = if bytes.get(4) == Some(&1) { 4 } else { 8 };
    let is_big = bytes.get(5) == Some(&2);
    let start = usize::try_from(section.offset).ok()?;
    let data = bytes.get(start..)?.get(..usize::try_from(section.size).ok()?)?;
    let symbols = data.chunks_exact(64).filter_map(|entry| {
        let (crc, name) = entry.split_at_checked(width)?;
        let add = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        let crc = if is_big { crc.iter().fold(0, add) } else { crc.iter().rev().fold(0, add) };
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        Some((crc, name.to_vec()))
    });
    Some(symbols.collect())
}

/// What the module exports, in the order of its symbols; `None` when the bytes are no ELF file.
fn exports(bytes: &[u8]) -> Option<Vec<Symbol>> {
    let facts = module_facts(bytes).ok()?;
    Some(facts.exports.into_iter().map(|(name, crc)| (crc, name.into())).collect())
}
