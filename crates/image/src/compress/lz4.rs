//! LZ4, legacy frames: a magic number, then blocks of up to 8 MiB, each after its compressed size.
//!
//! There is no end mark and no check sum: a frame ends with the file or at the magic number of the next.

use super::{Input, Output, Problem};

/// The magic number of a legacy frame, 0x184c2102.
pub(super) const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// What a block unpacks to at most; all but the last do.
const BLOCK: usize = 8 << 20;

/// What a block of [`BLOCK`] bytes that cannot be compressed takes at most (`LZ4_compressBound`).
const MAX_PACKED: usize = BLOCK + BLOCK / 255 + 16;

/// Unpacks one or more frames.
pub(super) fn unpack(input: &mut Input<'_>, output: &mut Output) -> Result<(), Problem> {
    while !input.rest().is_empty() {
        let word = input.array::<4>()?;
        if word == MAGIC {
            continue;
        }
        let size = u32::from_le_bytes(word) as usize;
        if size == 0 || size > MAX_PACKED {
            return Err(Problem::Damaged { what: "size of a block" });
        }
        let packed = input.take(size)?;
        block(packed, output)?;
    }
    Ok(())
}

/// Unpacks one block.
fn block(packed: &[u8], output: &mut Output) -> Result<(), Problem> {
    // LZ4 makes at most 255 bytes of one.
    let most = packed.len().saturating_mul(255).min(BLOCK);
    output.expect(most)?;
    let room = output.room()?;
    let available = room.len();
    let room = room.get_mut(..available.min(most)).unwrap_or_default();
    let written = lz4_flex::block::decompress_into(packed, room).map_err(|error| match error {
        lz4_flex::block::DecompressError::OutputTooSmall { .. } if available < most => {
            Problem::Limit { limit: output.limit }
        }
        _ => Problem::Damaged { what: "block" },
    })?;
    output.advance(written);
    output.check()
}
