//! Hexadecimal dumps of memory.

use alloc::format;
use alloc::vec::Vec;

use super::ctype::is_print;

/// How [`line()`] and [`dump`] lay out bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes a line: 16 or 32, anything else counts as 16.
    pub row: usize,
    /// Bytes a group: 1, 2, 4 or 8, anything else counts as 1.
    pub group: usize,
    /// Show the bytes as characters too.
    pub ascii: bool,
}

/// One line, whole (`hex_dump_to_buffer` with room enough). At most a row of `bytes` is shown; groups are little-endian
/// numbers, and single bytes when the bytes do not come out even.
pub fn line(bytes: &[u8], layout: Layout) -> Vec<u8> {
    let (bytes, row, group) = plan(bytes, layout);
    let mut text = Vec::new();
    for (index, number) in bytes.chunks_exact(group).enumerate() {
        if index > 0 {
            text.push(b' ');
        }
        for byte in number.iter().rev() {
            text.extend_from_slice(format!("{byte:02x}").as_bytes());
        }
    }
    if layout.ascii && !bytes.is_empty() {
        text.resize(ascii_column(row, group), b' ');
        text.extend(bytes.iter().map(|&byte| if byte.is_ascii() && is_print(byte) { byte } else { b'.' }));
    }
    text
}

/// One line in a buffer, cut to fit and ended with NUL (`hex_dump_to_buffer`). Returns the whole line's length.
pub fn line_into(buffer: &mut [u8], bytes: &[u8], layout: Layout) -> i32 {
    let text = line(bytes, layout);
    if let Some(room) = buffer.len().checked_sub(1) {
        let fits = text.len().min(room);
        buffer[..fits].copy_from_slice(&text[..fits]);
        buffer[fits] = 0;
        return text.len() as i32;
    }
    // With no buffer at all the length is worked out, and for no bytes it is odd.
    let (bytes, row, group) = plan(bytes, layout);
    if layout.ascii {
        (ascii_column(row, group) + bytes.len()) as i32
    } else {
        ((group * 2 + 1) * (bytes.len() / group)) as i32 - 1
    }
}

fn plan(bytes: &[u8], layout: Layout) -> (&[u8], usize, usize) {
    let row = if layout.row == 32 { 32 } else { 16 };
    let bytes = &bytes[..bytes.len().min(row)];
    let group = if matches!(layout.group, 2 | 4 | 8) { layout.group } else { 1 };
    (bytes, row, if bytes.len().is_multiple_of(group) { group } else { 1 })
}

fn ascii_column(row: usize, group: usize) -> usize {
    row * 2 + row / group + 1
}

/// What stands before a line of a dump (`DUMP_PREFIX_*`).
#[derive(Clone, Copy, Debug)]
pub enum Prefix {
    /// Nothing.
    None,
    /// The address, as `%p` shows it: the function hashes.
    Address(u64, fn(u64) -> u64),
    /// The offset.
    Offset,
}

/// The lines of a dump (`print_hex_dump`), each with `label` in front, without newlines.
pub fn dump<'a>(
    label: &'a [u8],
    prefix: Prefix,
    bytes: &'a [u8],
    layout: Layout,
) -> impl Iterator<Item = Vec<u8>> + 'a {
    let row = if layout.row == 32 { 32 } else { 16 };
    bytes.chunks(row).enumerate().map(move |(index, part)| {
        let mut text = label.to_vec();
        let offset = index * row;
        match prefix {
            Prefix::None => {}
            Prefix::Address(start, hash) => {
                let address = hash(start.wrapping_add(offset as u64));
                text.extend_from_slice(format!("{address:016x}: ").as_bytes());
            }
            Prefix::Offset => text.extend_from_slice(format!("{offset:08x}: ").as_bytes()),
        }
        text.extend_from_slice(&line(part, layout));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BYTES: [u8; 32] = [
        0xbe, 0x32, 0xdb, 0x7b, 0x0a, 0x18, 0x93, 0xb2, 0x70, 0xba, 0xc4, 0x24, 0x7d, 0x83, 0x34, 0x9b, 0xa6, 0x9c,
        0x31, 0xad, 0x9c, 0x0f, 0xac, 0xe9, 0x4c, 0xd1, 0x19, 0x99, 0x43, 0xb1, 0xaf, 0x0c,
    ];

    fn text(length: usize, row: usize, group: usize, ascii: bool) -> alloc::string::String {
        alloc::string::String::from_utf8(line(&BYTES[..length], Layout { row, group, ascii })).unwrap()
    }

    #[test]
    fn groups() {
        assert_eq!(text(16, 16, 1, false), "be 32 db 7b 0a 18 93 b2 70 ba c4 24 7d 83 34 9b");
        assert_eq!(text(16, 16, 2, false), "32be 7bdb 180a b293 ba70 24c4 837d 9b34");
        assert_eq!(text(16, 16, 4, false), "7bdb32be b293180a 24c4ba70 9b34837d");
        assert_eq!(text(16, 16, 8, false), "b293180a7bdb32be 9b34837d24c4ba70");
        assert_eq!(text(6, 16, 4, false), "be 32 db 7b 0a 18");
        assert_eq!(text(32, 7, 3, false).len(), 47);
        assert_eq!(text(0, 16, 1, true), "");
    }

    #[test]
    fn characters() {
        assert_eq!(text(4, 16, 1, true), "be 32 db 7b                                      .2.{");
        assert_eq!(text(16, 16, 8, true), "b293180a7bdb32be 9b34837d24c4ba70  .2.{....p..$}.4.");
    }

    #[test]
    fn dumps() {
        let layout = Layout { row: 16, group: 4, ascii: false };
        let lines: Vec<_> = dump(b"x: ", Prefix::Offset, &BYTES[..20], layout).collect();
        assert_eq!(lines, [&b"x: 00000000: 7bdb32be b293180a 24c4ba70 9b34837d"[..], b"x: 00000010: ad319ca6"]);
        let lines: Vec<_> = dump(b"", Prefix::Address(0x10, |address| address), &BYTES[..1], layout).collect();
        assert_eq!(lines, [b"0000000000000010: be"]);
    }

    proptest! {
        #[test]
        fn short_buffers(length in 0usize..33, row in 0usize..40, group in 0usize..10, ascii: bool, room in 0usize..140) {
            let layout = Layout { row, group, ascii };
            let whole = line(&BYTES[..length], layout);
            let mut buffer = alloc::vec![b'#'; room];
            let answer = line_into(&mut buffer, &BYTES[..length], layout);
            if room > 0 {
                prop_assert_eq!(answer as usize, whole.len());
                let end = whole.len().min(room - 1);
                prop_assert_eq!(&buffer[..end], &whole[..end]);
                prop_assert_eq!(buffer[end], 0);
                prop_assert!(buffer[end + 1..].iter().all(|byte| *byte == b'#'));
            } else if length > 0 {
                prop_assert_eq!(answer as usize, whole.len());
            }
        }
    }
}
