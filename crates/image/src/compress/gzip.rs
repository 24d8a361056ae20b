//! gzip: RFC 1952.

use alloc::boxed::Box;

use bstr::ByteSlice;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::{Input, Output, Problem};

/// ID1 and ID2.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// FLG: a CRC of the header follows it.
const FHCRC: u8 = 2;
/// FLG: an extra field follows.
const FEXTRA: u8 = 4;
/// FLG: a file name follows.
const FNAME: u8 = 8;
/// FLG: a comment follows.
const FCOMMENT: u8 = 16;
/// FLG: bits without a meaning.
const RESERVED: u8 = 0xe0;

/// Deflate makes one byte of at most this many (RFC 1951: 258 bytes in two bits, and a little).
const MAX_RATIO: usize = 1032;

/// Unpacks one or more members.
pub(super) fn unpack(input: &mut Input<'_>, output: &mut Output) -> Result<(), Problem> {
    // ISIZE is the last word of the file. It may lie, so it only sizes the buffer, and no larger than deflate could fill.
    if let Some(&size) = input.bytes.last_chunk::<4>() {
        let likely = (u32::from_le_bytes(size) as usize).min(input.bytes.len().saturating_mul(MAX_RATIO));
        output.expect(likely.saturating_add(1))?;
    }
    let mut decompressor = Box::<DecompressorOxide>::default();
    loop {
        member(input, output, &mut decompressor)?;
        // What follows may be another member, or the zeros that tapes leave.
        if input.rest().iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        if !input.rest().starts_with(&MAGIC) {
            return Err(Problem::Trailing);
        }
    }
}

/// Passes over the header of a member.
fn header(input: &mut Input<'_>) -> Result<(), Problem> {
    let start = input.at;
    let [_, _, method, flags, ..] = input.array::<10>()?;
    // CM: 8 is deflate, and there never was another.
    if method != 8 {
        return Err(Problem::Unsupported { what: "a method other than deflate" });
    }
    if flags & RESERVED != 0 {
        return Err(Problem::Unsupported { what: "a reserved flag" });
    }
    if flags & FEXTRA != 0 {
        let length = u16::from_le_bytes(input.array()?);
        input.take(usize::from(length))?;
    }
    for flag in [FNAME, FCOMMENT] {
        if flags & flag != 0 {
            let length = input.rest().find_byte(0).ok_or(Problem::Truncated)?;
            input.take(length + 1)?;
        }
    }
    if flags & FHCRC != 0 {
        let found = crc32fast::hash(input.bytes.get(start..input.at).unwrap_or_default()) & 0xffff;
        let wanted = u32::from(u16::from_le_bytes(input.array()?));
        if found != wanted {
            return Err(Problem::CheckSum { what: "check sum of the header", wanted, found });
        }
    }
    Ok(())
}

/// Unpacks one member.
fn member(input: &mut Input<'_>, output: &mut Output, decompressor: &mut DecompressorOxide) -> Result<(), Problem> {
    header(input)?;
    decompressor.init();
    let start = output.filled;
    loop {
        let filled = output.filled;
        let (status, read, written) =
            decompress(decompressor, input.rest(), output.whole()?, filled, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
        input.take(read)?;
        output.advance(written);
        match status {
            TINFLStatus::Done => break,
            // room() grows the buffer, or says that there is no more.
            TINFLStatus::HasMoreOutput => {}
            TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => {
                return Err(Problem::Truncated);
            }
            _ => {
                return Err(Problem::Damaged { what: "deflate data" });
            }
        }
    }
    output.check()?;
    let wanted = u32::from_le_bytes(input.array()?);
    let size = u32::from_le_bytes(input.array()?);
    let unpacked = output.since(start);
    if unpacked.len() as u32 != size {
        return Err(Problem::CheckSum { what: "length", wanted: size, found: unpacked.len() as u32 });
    }
    let found = crc32fast::hash(unpacked);
    if found != wanted {
        return Err(Problem::CheckSum { what: "check sum", wanted, found });
    }
    Ok(())
}
