//! zlib as Linux has it built in, over `miniz_oxide`.
//!
//! A stream's state is ours, kept by the address of the stream; the workspace its caller brings is left alone. `adler` and the
//! messages of `z_stream` are not filled in, and matches reach back as far as 32 KiB whatever window was asked for, so that only
//! readers with a window of that size understand every output.

use alloc::boxed::Box;

use ferrmod_kernel::lock::Lock;
use hashbrown::HashMap;
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::inflate::stream::{InflateState, MinReset};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus, StreamResult};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod z_stream = "z_stream_s" { next_in, avail_in, total_in, next_out, avail_out, total_out, msg }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    k zlib_deflate_workspacesize, k zlib_deflate_dfltcc_enabled, c zlib_deflateInit2 = deflate_init,
    c zlib_deflate = deflate, c zlib_deflateReset = deflate_reset, c zlib_deflateEnd = deflate_end,
    k zlib_inflate_workspacesize, c zlib_inflateInit2 = inflate_init, c zlib_inflate = inflate,
    c zlib_inflateReset = inflate_reset, c zlib_inflateEnd = inflate_end, c zlib_inflate_blob = inflate_blob,
];

/// What the functions return.
const OK: i32 = 0;
const STREAM_END: i32 = 1;
const STREAM_ERROR: i32 = -2;
const DATA_ERROR: i32 = -3;
const BUFFER_ERROR: i32 = -5;
/// `Z_DEFLATED`, the only method.
const DEFLATED: i32 = 8;
/// What callers are told to bring: enough to be theirs alone, so that its address names a stream.
const WORKSPACE: i32 = 64;

enum State {
    Deflate(Box<CompressorOxide>, u32),
    Inflate(Box<InflateState>, DataFormat),
}

static STREAMS: Lock<Option<HashMap<u64, State>>> = Lock::new(None);

/// Takes the state of a stream out of the table while it works on memory that may fault.
fn take(stream: u64) -> Option<State> {
    STREAMS.lock().get_or_insert_default().remove(&stream)
}

fn give(stream: u64, state: State) {
    STREAMS.lock().get_or_insert_default().insert(stream, state);
}

unsafe fn clear_totals(stream: u64) {
    // SAFETY: the caller's stream.
    unsafe {
        z_stream::msg.set(stream, 0u64);
        for field in [&z_stream::total_in, &z_stream::total_out] {
            field.set(stream, 0u64);
        }
    }
}

/// `int zlib_deflate_workspacesize(int windowBits, int memLevel)`
extern "C" fn zlib_deflate_workspacesize() -> i32 {
    WORKSPACE
}
extern "C" fn zlib_inflate_workspacesize() -> i32 {
    WORKSPACE
}
/// `int zlib_deflate_dfltcc_enabled(void)`: an instruction of another architecture.
extern "C" fn zlib_deflate_dfltcc_enabled() -> i32 {
    0
}

/// `int zlib_deflateInit2(z_streamp, int level, int method, int windowBits, int memLevel, int strategy)`
extern "C" fn deflate_init(stream: u64, level: i32, method: i32, window: i32, _memory: i32, strategy: i32) -> i32 {
    if method != DEFLATED || !(-1..=9).contains(&level) {
        return STREAM_ERROR;
    }
    let flags = create_comp_flags_from_zip_params(level, window, strategy);
    // SAFETY: the module's stream.
    unsafe { clear_totals(stream) };
    give(stream, State::Deflate(Box::new(CompressorOxide::new(flags)), flags));
    OK
}

/// `int zlib_deflateReset(z_streamp)`
extern "C" fn deflate_reset(stream: u64) -> i32 {
    let Some(State::Deflate(mut state, flags)) = take(stream) else { return STREAM_ERROR };
    state.reset();
    give(stream, State::Deflate(state, flags));
    // SAFETY: the module's stream.
    unsafe { clear_totals(stream) };
    OK
}

extern "C" fn deflate_end(stream: u64) -> i32 {
    if take(stream).is_some() { OK } else { STREAM_ERROR }
}

/// Kernel zlib counts its flushes differently from zlib: none, partial, packet, sync, full, finish.
fn flush_of(flush: i32) -> Option<MZFlush> {
    Some(match flush {
        0 => MZFlush::None,
        1 => MZFlush::Partial,
        2 | 3 => MZFlush::Sync,
        4 => MZFlush::Full,
        5 => MZFlush::Finish,
        _ => return None,
    })
}

/// Runs one step over a stream's buffers and moves its pointers.
unsafe fn step(stream: u64, work: impl FnOnce(&[u8], &mut [u8]) -> StreamResult) -> i32 {
    // SAFETY: the caller's stream, whose buffers are as long as it says.
    unsafe {
        let (input, output): (u64, u64) = (z_stream::next_in.get(stream), z_stream::next_out.get(stream));
        let (here, room): (u64, u64) = (z_stream::avail_in.get(stream), z_stream::avail_out.get(stream));
        let done = work(ram::bytes(input, here), ram::bytes_mut(output, room));
        let (read, written) = (done.bytes_consumed as u64, done.bytes_written as u64);
        z_stream::next_in.set(stream, input + read);
        z_stream::avail_in.set(stream, here - read);
        z_stream::total_in.set(stream, z_stream::total_in.get::<u64>(stream) + read);
        z_stream::next_out.set(stream, output + written);
        z_stream::avail_out.set(stream, room - written);
        z_stream::total_out.set(stream, z_stream::total_out.get::<u64>(stream) + written);
        match done.status {
            Ok(MZStatus::Ok) => OK,
            Ok(MZStatus::StreamEnd) => STREAM_END,
            Ok(MZStatus::NeedDict) => 2,
            Err(MZError::Buf) => BUFFER_ERROR,
            Err(MZError::Data) => DATA_ERROR,
            Err(_) => STREAM_ERROR,
        }
    }
}

/// `int zlib_deflate(z_streamp, int flush)`
extern "C" fn deflate(stream: u64, flush: i32) -> i32 {
    let Some(flush) = flush_of(flush) else { return STREAM_ERROR };
    let Some(State::Deflate(mut state, flags)) = take(stream) else { return STREAM_ERROR };
    // SAFETY: the module's stream.
    let answer = unsafe {
        step(stream, |input, output| miniz_oxide::deflate::stream::deflate(&mut state, input, output, flush))
    };
    give(stream, State::Deflate(state, flags));
    answer
}

/// `int zlib_inflateInit2(z_streamp, int windowBits)`: negative for data without header.
extern "C" fn inflate_init(stream: u64, window: i32) -> i32 {
    let format = if window < 0 { DataFormat::Raw } else { DataFormat::Zlib };
    // SAFETY: the module's stream.
    unsafe { clear_totals(stream) };
    give(stream, State::Inflate(InflateState::new_boxed(format), format));
    OK
}

extern "C" fn inflate_reset(stream: u64) -> i32 {
    let Some(State::Inflate(mut state, format)) = take(stream) else { return STREAM_ERROR };
    state.reset_as(MinReset);
    give(stream, State::Inflate(state, format));
    // SAFETY: the module's stream.
    unsafe { clear_totals(stream) };
    OK
}

extern "C" fn inflate_end(stream: u64) -> i32 {
    if take(stream).is_some() { OK } else { STREAM_ERROR }
}

/// `int zlib_inflate(z_streamp, int flush)`
extern "C" fn inflate(stream: u64, flush: i32) -> i32 {
    // Finishing at once is a promise about the output's room that callers in the kernel do not keep; going on is the same
    // for everyone else.
    let flush = if flush_of(flush) == Some(MZFlush::Finish) { MZFlush::Sync } else { MZFlush::None };
    let Some(State::Inflate(mut state, format)) = take(stream) else { return STREAM_ERROR };
    // SAFETY: the module's stream.
    let answer = unsafe {
        step(stream, |input, output| miniz_oxide::inflate::stream::inflate(&mut state, input, output, flush))
    };
    give(stream, State::Inflate(state, format));
    answer
}

/// `int zlib_inflate_blob(void *dst, unsigned int dst_sz, const void *src, unsigned int src_sz)`: raw data; bytes, or an error.
extern "C" fn inflate_blob(to: u64, room: u32, from: u64, length: u32) -> i32 {
    let mut state = InflateState::new_boxed(DataFormat::Raw);
    // SAFETY: the module's buffers.
    let done = unsafe {
        let (input, output) = (ram::bytes(from, u64::from(length)), ram::bytes_mut(to, u64::from(room)));
        miniz_oxide::inflate::stream::inflate(&mut state, input, output, MZFlush::Finish)
    };
    match done.status {
        Ok(MZStatus::StreamEnd) => done.bytes_written as i32,
        _ => ferrmod_kernel::Errno::EINVAL.to_return(),
    }
}
