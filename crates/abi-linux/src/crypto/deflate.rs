//! The compressors `deflate` and `zlib-deflate`, for kernels that have them built in; see [`super::zlib`] for what is different.

use ferrmod_kernel::Errno;
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::inflate::stream::InflateState;
use miniz_oxide::{DataFormat, MZFlush, MZStatus, StreamResult};

use super::acomp::{crypto_register_scomp, scomp_alg};
use super::builtin::{Named, has, object, operations};
use super::{TYPE_COMPRESS, algorithms, crypto_alg};
use crate::export::{Export, exports};
use crate::ram;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c deflate_compress, c deflate_decompress, c deflate_scompress, c deflate_sdecompress, c zlib_deflate_scompress,
    c zlib_deflate_sdecompress, k deflate_alloc_ctx, k deflate_free_ctx,
];

/// The default level, and the window for which raw data is made.
const LEVEL: i32 = 6;
const WINDOW: i32 = 15;

/// Registers what no module brings.
pub(crate) fn begin() {
    if !has("deflate_compress") {
        return;
    }
    let named = |name, driver, flags| Named { name, driver, priority: 0, blocksize: 0, ctxsize: 0, flags };
    // SAFETY: new objects of our own, large enough for their structs.
    unsafe {
        let Some(alg) = object(crypto_alg::SIZE.get()) else { return };
        named("deflate", "deflate-generic", TYPE_COMPRESS).write(alg);
        operations(
            alg,
            &[(&crypto_alg::coa_compress, "deflate_compress"), (&crypto_alg::coa_decompress, "deflate_decompress")],
        );
        let _ = algorithms::register(alg);
        for (name, driver, compress, decompress) in [
            ("deflate", "deflate-scomp", "deflate_scompress", "deflate_sdecompress"),
            ("zlib-deflate", "zlib-deflate-scomp", "zlib_deflate_scompress", "zlib_deflate_sdecompress"),
        ] {
            let Some(alg) = object(scomp_alg::SIZE.get()) else { return };
            named(name, driver, 0).write(scomp_alg::base.at(alg));
            operations(
                alg,
                &[
                    (&scomp_alg::alloc_ctx, "deflate_alloc_ctx"),
                    (&scomp_alg::free_ctx, "deflate_free_ctx"),
                    (&scomp_alg::compress, compress),
                    (&scomp_alg::decompress, decompress),
                ],
            );
            crypto_register_scomp(alg);
        }
    }
}

/// One call does all; there is no state to keep. `ZERO_SIZE_PTR` is no error and nothing.
extern "C" fn deflate_alloc_ctx() -> u64 {
    16
}
extern "C" fn deflate_free_ctx() {}

/// Works `from` into `to`, whose room is at `room` and gives way to what was written.
unsafe fn run(from: u64, length: u32, to: u64, room: u64, work: impl FnOnce(&[u8], &mut [u8]) -> StreamResult) -> i32 {
    // SAFETY: the caller's buffers and variable.
    unsafe {
        let space = u64::from(ram::get::<u32>(room));
        let done = work(ram::bytes(from, u64::from(length)), ram::bytes_mut(to, space));
        if done.status != Ok(MZStatus::StreamEnd) {
            return Errno::EINVAL.to_return();
        }
        ram::put(room, done.bytes_written as u32);
        0
    }
}

unsafe fn compress(format: DataFormat, from: u64, length: u32, to: u64, room: u64) -> i32 {
    let window = if format == DataFormat::Raw { -WINDOW } else { WINDOW };
    let mut state = alloc::boxed::Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(LEVEL, window, 0)));
    let work = |input: &[u8], output: &mut [u8]| {
        miniz_oxide::deflate::stream::deflate(&mut state, input, output, MZFlush::Finish)
    };
    // SAFETY: the caller's buffers.
    unsafe { run(from, length, to, room, work) }
}

unsafe fn decompress(format: DataFormat, from: u64, length: u32, to: u64, room: u64) -> i32 {
    let mut state = InflateState::new_boxed(format);
    let work = |input: &[u8], output: &mut [u8]| {
        miniz_oxide::inflate::stream::inflate(&mut state, input, output, MZFlush::Finish)
    };
    // SAFETY: the caller's buffers.
    unsafe { run(from, length, to, room, work) }
}

macro_rules! functions {
    ($($name:ident: $work:ident, $format:ident;)*) => {
        $(
            extern "C" fn $name(_tfm: u64, from: u64, length: u32, to: u64, room: u64) -> i32 {
                // SAFETY: the caller's buffers.
                unsafe { $work(DataFormat::$format, from, length, to, room) }
            }
        )*
    };
}
functions! {
    deflate_compress: compress, Raw;
    deflate_decompress: decompress, Raw;
    deflate_scompress: compress, Raw;
    deflate_sdecompress: decompress, Raw;
    zlib_deflate_scompress: compress, Zlib;
    zlib_deflate_sdecompress: decompress, Zlib;
}
