//! LZ4 decompression, which Linux has built in; compression is a module's.

use crate::export::{Export, exports};
use crate::ram;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] =
    exports![c LZ4_decompress_safe = decompress_safe, c LZ4_decompress_safe_usingDict = decompress_safe_with];

fn answer<E>(result: Result<usize, E>) -> i32 {
    result.map_or(-1, |length| length as i32)
}

/// `int LZ4_decompress_safe(const char *source, char *dest, int compressedSize, int maxDecompressedSize)`: bytes, or negative.
extern "C" fn decompress_safe(from: u64, to: u64, length: i32, room: i32) -> i32 {
    if length <= 0 || room < 0 {
        return -1;
    }
    // SAFETY: the module's buffers.
    unsafe {
        answer(lz4_flex::block::decompress_into(ram::bytes(from, length as u64), ram::bytes_mut(to, room as u64)))
    }
}

/// `int LZ4_decompress_safe_usingDict(const char *, char *, int, int, const char *dictStart, int dictSize)`
extern "C" fn decompress_safe_with(from: u64, to: u64, length: i32, room: i32, dictionary: u64, size: i32) -> i32 {
    if length <= 0 || room < 0 || size < 0 {
        return -1;
    }
    // SAFETY: the module's buffers.
    unsafe {
        answer(lz4_flex::block::decompress_into_with_dict(
            ram::bytes(from, length as u64),
            ram::bytes_mut(to, room as u64),
            ram::bytes(dictionary, size as u64),
        ))
    }
}
