//! The kernel's own symbols, from the files that its build leaves.

use bstr::ByteSlice;

use super::events::Event;
use super::options::Options;

/// Symbols that the linker or the loader makes: no module is wrong that needs them.
const MADE: [&[u8]; 3] = [b"__this_module", b"_GLOBAL_OFFSET_TABLE_", b"TOC."];

/// The kernel's symbols and their check sums; empty when no file of them was given. Of two files, `Module.symvers` counts.
pub(super) fn symbols(options: &Options<'_>, observe: &mut dyn FnMut(Event<'_>)) -> Vec<(Vec<u8>, u64)> {
    let mut symbols = if let Some(text) = &options.symvers {
        symvers(text, observe)
    } else if let Some(text) = &options.system_map {
        system_map(text, options.symbol_prefix, observe)
    } else {
        return Vec::new();
    };
    symbols.extend(MADE.map(|name| (name.to_vec(), 0)));
    symbols
}

/// The words of a line.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty())
}

/// `Module.symvers`: CRC, symbol, module, and what is not looked at here; only the kernel's own symbols.
fn symvers(text: &[u8], observe: &mut dyn FnMut(Event<'_>)) -> Vec<(Vec<u8>, u64)> {
    let mut symbols = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut words = words(line);
        let (Some(version), Some(name), Some(b"vmlinux")) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let digits = version.strip_prefix(b"0x").or_else(|| version.strip_prefix(b"0X")).unwrap_or(version);
        match digits.to_str().ok().and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
            Some(crc) => symbols.push((name.to_vec(), crc)),
            None => observe(Event::InvalidSymbolVersion { line: number + 1, version }),
        }
    }
    symbols
}

/// `System.map`: address, kind, symbol; only those that are exported.
fn system_map(text: &[u8], prefix: Option<u8>, observe: &mut dyn FnMut(Event<'_>)) -> Vec<(Vec<u8>, u64)> {
    let mark: Vec<u8> = prefix.into_iter().chain(*b"__ksymtab_").collect();
    let mut symbols = Vec::new();
    for (number, whole) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let line = whole.strip_suffix(b"\n").unwrap_or(whole);
        let Some(name) = line.splitn(3, |&byte| byte == b' ').nth(2) else {
            observe(Event::InvalidSystemMap { line: number + 1, text: whole });
            continue;
        };
        if let Some(name) = name.strip_prefix(mark.as_slice()).filter(|name| !name.is_empty()) {
            symbols.push((name.to_vec(), 0));
        }
    }
    symbols
}
