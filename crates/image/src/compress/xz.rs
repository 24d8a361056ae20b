//! xz: the .xz file format.

use lzma_rust2::{Action, Status, XzStream};

use super::{Input, Output, Problem};

/// The magic bytes of a stream header.
pub(super) const MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];

/// The most that a decoder may take for itself, in KiB: kernel images have dictionaries of up to 128 MiB.
const MEMORY: u32 = 192 << 10;

/// Unpacks one or more streams with padding between and after them.
pub(super) fn unpack(input: &mut Input<'_>, output: &mut Output) -> Result<(), Problem> {
    // Modules shrink to a fourth or fifth; a buffer that was too small grows.
    output.expect(input.bytes.len().saturating_mul(5))?;
    loop {
        stream(input, output)?;
        let padding = input.rest().iter().take_while(|&&byte| byte == 0).count();
        input.take(padding)?;
        // Stream padding comes in fours (section 2.2 of the format).
        if padding % 4 != 0 {
            return Err(Problem::Trailing);
        }
        if input.rest().is_empty() {
            return Ok(());
        }
        if !input.rest().starts_with(&MAGIC) {
            return Err(Problem::Trailing);
        }
    }
}

/// Unpacks one stream.
fn stream(input: &mut Input<'_>, output: &mut Output) -> Result<(), Problem> {
    let mut stream = XzStream::new_mem_limit(false, MEMORY);
    let start = input.at;
    loop {
        let result = stream.process(input.rest(), output.room()?, Action::Finish);
        let Ok(progress) = result else {
            input.at = start.saturating_add(stream.total_in() as usize).min(input.bytes.len());
            return Err(if stream.memory_usage().is_some_and(|needed| needed > MEMORY) {
                Problem::Memory
            } else if input.rest().is_empty() {
                Problem::Truncated
            } else {
                Problem::Damaged { what: "stream" }
            });
        };
        input.take(progress.bytes_consumed)?;
        output.advance(progress.bytes_produced);
        if progress.status == Status::StreamEnd {
            return output.check();
        }
        // There always is room, so a decoder that stands still has nothing to read.
        if progress.bytes_consumed == 0 && progress.bytes_produced == 0 {
            return Err(Problem::Truncated);
        }
    }
}
