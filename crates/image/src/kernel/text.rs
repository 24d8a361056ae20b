//! What a kernel says about itself in plain text: its banner, its version magic, its configuration.

use core::ops::Range;

use bstr::ByteSlice;

use super::Section;

/// The start of the banner.
const BANNER: &[u8] = b"Linux version ";

/// The longest text looked at.
const MAX_TEXT: usize = 1024;

/// Words version magics are made of (besides `RANDSTRUCT_...`), from all configurations of x86-64
/// kernels.
const MAGIC_WORDS: [&[u8]; 6] = [b"SMP", b"preempt", b"preempt_rt", b"mod_unload", b"modversions", b"KASAN"];

/// The places of `wanted` in sections that hold data, in the order of the file.
fn places<'b>(bytes: &'b [u8], sections: &'b [Section], wanted: &'b [u8]) -> impl Iterator<Item = usize> + 'b {
    sections.iter().filter(|section| !section.executable).flat_map(move |section| {
        let data = bytes.get(section.data.clone()).unwrap_or_default();
        data.find_iter(wanted).map(|at| section.data.start + at)
    })
}

/// The text that starts at `start`: printable and ended by a NUL.
fn text(bytes: &[u8], start: usize) -> Option<Range<usize>> {
    let rest = bytes.get(start..)?;
    let rest = rest.get(..MAX_TEXT).unwrap_or(rest);
    let len = rest.find_byte(0)?;
    let printable = rest.get(..len)?.iter().all(|&byte| byte == b'\n' || matches!(byte, b' '..=b'~'));
    printable.then_some(start..start + len)
}

/// The banner without its line feed, and the release in it.
pub(super) fn banner(bytes: &[u8], sections: &[Section]) -> Option<(Range<usize>, Range<usize>)> {
    let candidates = || {
        places(bytes, sections, BANNER).filter_map(|start| {
            let whole = text(bytes, start)?;
            let line = bytes.get(whole.clone())?;
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let after = line.get(BANNER.len()..)?;
            let release = after.find_byte(b' ').filter(|_| after.first().is_some_and(u8::is_ascii_digit))?;
            let start_release = start + BANNER.len();
            Some((start..start + line.len(), start_release..start_release + release))
        })
    };
    // Newer kernels are linked in two steps, and the first one's banner, without a build number,
    // stays in the image.
    let numbered = |line: &[u8]| line.find(" #").is_some_and(|at| line.get(at + 2).is_some_and(u8::is_ascii_digit));
    candidates().find(|(whole, _)| bytes.get(whole.clone()).is_some_and(numbered)).or_else(|| candidates().next())
}

/// The version magic: a text of the release and of single words, ended by a space.
pub(super) fn vermagic(bytes: &[u8], sections: &[Section], release: &Range<usize>) -> Option<Range<usize>> {
    let release = bytes.get(release.clone())?;
    places(bytes, sections, release)
        .filter_map(|start| {
            let whole = text(bytes, start)?;
            // Not the tail of a longer text (the banner, a path).
            if start.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(|byte| byte.is_ascii_graphic()) {
                return None;
            }
            let words = bytes.get(whole.clone())?.strip_prefix(release)?.strip_prefix(b" ")?;
            let words = if words.is_empty() { words } else { words.strip_suffix(b" ")? };
            let mut known = 0;
            for word in words.split_str(" ").filter(|_| !words.is_empty()) {
                if word.is_empty() || !word.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
                    return None;
                }
                known += usize::from(MAGIC_WORDS.contains(&word) || word.starts_with(b"RANDSTRUCT_"));
            }
            Some((known, whole))
        })
        // The first of the best ones.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, whole)| whole)
}

/// The packed configuration, between its two marks.
pub(super) fn config(bytes: &[u8], sections: &[Section]) -> Option<Range<usize>> {
    let start = places(bytes, sections, b"IKCFG_ST\x1f\x8b").next()? + b"IKCFG_ST".len();
    let len = bytes.get(start..)?.find(b"IKCFG_ED")?;
    Some(start..start + len)
}
