//! zstd as Linux has it built in: whole frames, over `ruzstd`.
//!
//! The state between calls is ours; the workspace a caller brings only names it. Compression finds less than Linux's does at
//! any level, and its frames are as valid.

use alloc::boxed::Box;

use ferrmod_kernel::lock::Lock;
use hashbrown::HashMap;
use ruzstd::decoding::FrameDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::export::{Export, exports};
use crate::ram;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    k zstd_dctx_workspace_bound, c zstd_init_dctx, c zstd_decompress_dctx, c zstd_is_error, c zstd_get_error_code,
    c zstd_get_error_name, c zstd_get_params, k zstd_cctx_workspace_bound, c zstd_init_cctx = zstd_init_dctx,
    c zstd_compress_cctx, c zstd_compress_bound, k zstd_min_clevel, k zstd_max_clevel, k zstd_default_clevel,
];

/// Bytes a caller is told to bring: enough to be its own.
const WORKSPACE: u64 = 256;

/// `ZSTD_ErrorCode`: generic, the destination is too small, data is corrupted; and one past the last.
const GENERIC: u64 = 1;
const TOO_SMALL: u64 = 70;
const CORRUPTED: u64 = 20;
const MAX_CODE: u64 = 120;

/// Decoders that are not in use, by the workspace they stand for, so that tables are not made anew for every frame.
static DECODERS: Lock<Option<HashMap<u64, Box<FrameDecoder>>>> = Lock::new(None);

fn error(code: u64) -> u64 {
    code.wrapping_neg()
}

/// `size_t zstd_dctx_workspace_bound(void)`
extern "C" fn zstd_dctx_workspace_bound() -> u64 {
    WORKSPACE
}
extern "C" fn zstd_cctx_workspace_bound() -> u64 {
    WORKSPACE
}

/// `zstd_dctx *zstd_init_dctx(void *workspace, size_t workspace_size)`: null when it is too small.
extern "C" fn zstd_init_dctx(workspace: u64, size: u64) -> u64 {
    if workspace == 0 || size < WORKSPACE {
        return 0;
    }
    DECODERS.lock().get_or_insert_default().remove(&workspace);
    workspace
}

/// `size_t zstd_decompress_dctx(zstd_dctx *, void *dst, size_t dst_capacity, const void *src, size_t src_size)`
extern "C" fn zstd_decompress_dctx(context: u64, to: u64, room: u64, from: u64, length: u64) -> u64 {
    use ruzstd::decoding::errors::FrameDecoderError;
    let kept = DECODERS.lock().get_or_insert_default().remove(&context);
    let mut decoder = kept.unwrap_or_else(|| Box::new(FrameDecoder::new()));
    // SAFETY: the module's buffers.
    let answer = unsafe { decoder.decode_all(ram::bytes(from, length), ram::bytes_mut(to, room)) };
    match answer {
        Ok(written) => {
            DECODERS.lock().get_or_insert_default().insert(context, decoder);
            written as u64
        }
        Err(FrameDecoderError::TargetTooSmall) => error(TOO_SMALL),
        Err(_) => error(CORRUPTED),
    }
}

/// `unsigned int zstd_is_error(size_t code)`
extern "C" fn zstd_is_error(code: u64) -> u32 {
    u32::from(code > error(MAX_CODE))
}

/// `zstd_error_code zstd_get_error_code(size_t code)`
extern "C" fn zstd_get_error_code(code: u64) -> u32 {
    if zstd_is_error(code) == 1 { code.wrapping_neg() as u32 } else { 0 }
}

/// `const char *zstd_get_error_name(size_t code)`
extern "C" fn zstd_get_error_name(code: u64) -> u64 {
    let name: &'static core::ffi::CStr = match u64::from(zstd_get_error_code(code)) {
        0 => c"No error detected",
        TOO_SMALL => c"Destination buffer is too small",
        CORRUPTED => c"Data corruption detected",
        _ => c"Error (generic)",
    };
    name.as_ptr() as u64
}

/// `zstd_parameters zstd_get_params(int level, unsigned long long estimated_src_size)`: a struct of ten 32-bit members, returned
/// where the caller says. The first is the logarithm of the window; nothing here depends on any of them.
extern "C" fn zstd_get_params(out: u64, level: i32, size: u64) -> u64 {
    // The largest window of the format's recommended range, or what holds the data.
    let window = if size == 0 { 21 } else { (64 - size.leading_zeros()).clamp(10, 21) };
    let mut parameters = [0u32; 10];
    parameters[0] = window;
    parameters[6] = level.clamp(1, 9) as u32;
    // SAFETY: the caller's room for the struct.
    unsafe { ram::put(out, parameters) };
    out
}

/// `size_t zstd_compress_bound(size_t)`: a frame of raw blocks.
extern "C" fn zstd_compress_bound(size: u64) -> u64 {
    size + size / 256 + 512
}

/// `size_t zstd_compress_cctx(zstd_cctx *, void *dst, size_t, const void *src, size_t, const zstd_parameters *)`
extern "C" fn zstd_compress_cctx(_context: u64, to: u64, room: u64, from: u64, length: u64) -> u64 {
    // SAFETY: the module's buffers.
    unsafe {
        let packed = compress_to_vec(ram::bytes(from, length), CompressionLevel::Fastest);
        if packed.len() as u64 > room {
            return error(TOO_SMALL);
        }
        if to == 0 {
            return error(GENERIC);
        }
        ram::bytes_mut(to, packed.len() as u64).copy_from_slice(&packed);
        packed.len() as u64
    }
}

extern "C" fn zstd_min_clevel() -> i32 {
    1
}
extern "C" fn zstd_max_clevel() -> i32 {
    1
}
extern "C" fn zstd_default_clevel() -> i32 {
    1
}
