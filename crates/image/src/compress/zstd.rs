//! Zstandard: RFC 8878.

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::io::Read;

use super::{Input, Output, Problem};

/// The magic number of a frame.
pub(super) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The magic number of a skippable frame is this with any last four bits.
const SKIPPABLE: u32 = 0x184d_2a50;

/// The largest window: kernel images are made with `--ultra -22`, which makes one of 128 MiB.
const MAX_WINDOW: u64 = 128 << 20;

/// How much is unpacked before it is copied out.
const STEP: usize = 1 << 18;

/// Unpacks one or more frames.
pub(super) fn unpack(input: &mut Input<'_>, output: &mut Output) -> Result<(), Problem> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_WINDOW);
    loop {
        if input.rest().is_empty() {
            return Ok(());
        }
        let magic = u32::from_le_bytes(*input.rest().first_chunk().ok_or(Problem::Trailing)?);
        if magic & !0xf == SKIPPABLE {
            input.take(4)?;
            let length = u32::from_le_bytes(input.array()?);
            input.take(length as usize)?;
        } else if input.rest().starts_with(&MAGIC) {
            frame(&mut decoder, input, output)?;
        } else {
            return Err(Problem::Trailing);
        }
    }
}

/// Unpacks one frame.
fn frame(decoder: &mut FrameDecoder, input: &mut Input<'_>, output: &mut Output) -> Result<(), Problem> {
    let mut rest = input.rest();
    let length = rest.len();
    let start = input.at;
    let begun = decoder.init(&mut rest);
    input.at = start + (length - rest.len());
    begun.map_err(|error| problem(&error, input))?;

    // The size that the frame states only sizes the buffer: it may lie, and is 0 when it is not stated.
    let likely = usize::try_from(decoder.content_size()).unwrap_or(usize::MAX);
    output.expect(likely.saturating_add(1).min(length.saturating_mul(64)))?;
    loop {
        let decoded = decoder.decode_blocks(&mut rest, BlockDecodingStrategy::UptoBytes(STEP));
        input.at = start + (length - rest.len());
        let finished = decoded.map_err(|error| problem(&error, input))?;
        // Before the end the decoder keeps a window back, so there may be nothing to take yet.
        while decoder.can_collect() > 0 {
            let count = decoder.read(output.room()?).map_err(|_| Problem::Damaged { what: "frame" })?;
            output.advance(count);
            if count == 0 {
                break;
            }
        }
        output.check()?;
        if finished {
            break;
        }
    }
    match (decoder.get_checksum_from_data(), decoder.get_calculated_checksum()) {
        (Some(wanted), Some(found)) if wanted != found => Err(Problem::CheckSum { what: "check sum", wanted, found }),
        _ => Ok(()),
    }
}

/// What the decoder's error means.
fn problem(error: &FrameDecoderError, input: &Input<'_>) -> Problem {
    match error {
        _ if input.rest().is_empty() => Problem::Truncated,
        FrameDecoderError::WindowSizeTooBig { .. } => Problem::Memory,
        FrameDecoderError::DictNotProvided { .. } => Problem::Unsupported { what: "a dictionary" },
        FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::InvalidFrameDescriptor(_))
        | FrameDecoderError::ReadFrameHeaderError(_)
        | FrameDecoderError::FrameHeaderError(_) => Problem::Damaged { what: "header of a frame" },
        FrameDecoderError::FailedToReadBlockHeader(_) => Problem::Damaged { what: "header of a block" },
        FrameDecoderError::FailedToReadBlockBody(_) => Problem::Damaged { what: "content of a block" },
        _ => Problem::Damaged { what: "frame" },
    }
}
