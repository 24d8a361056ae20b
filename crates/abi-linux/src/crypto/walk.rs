//! Walks over what a cipher reads and writes (`struct skcipher_walk`), piece by piece.
//!
//! A piece is as long as both lists are contiguous; where that is less than a block, or not aligned as the algorithm asks, it
//! is a copy, and what the algorithm wrote is copied back when it is done with the piece. The struct lies in the module, which
//! reads `src`, `dst`, `iv`, `nbytes`, `total` and `stride` of it; the rest is ours.

use ferrmod_kernel::{Errno, kernel};

use super::aead::{aead_alg, aead_request, crypto_aead};
use super::scatterwalk::Position;
use super::skcipher::{crypto_skcipher, skcipher_alg, skcipher_request};
use super::{crypto_alg, crypto_async_request, crypto_tfm};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod skcipher_walk = "skcipher_walk" {
        src = "src.virt.addr", dst = "dst.virt.addr", input = "in", nbytes, out, total, buffer, page, oiv, iv, ivsize, flags,
        blocksize, stride, alignmask,
    }
}

/// Our use of `flags`: the piece is a copy of one block; the piece is a copy because of its alignment.
const BLOCK: u32 = 1;
const COPY: u32 = 2;
/// The most that is copied at once because of alignment.
const MOST: u32 = 4096;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c skcipher_walk_virt, c skcipher_walk_aead_encrypt, c skcipher_walk_aead_decrypt, c skcipher_walk_done,
    c skcipher_walk_async, c skcipher_walk_complete,
];

/// What a walk begins with.
struct Begin {
    total: u32,
    iv: u64,
    input: Position,
    output: Position,
    blocksize: u32,
    stride: u32,
    ivsize: u32,
    alignmask: u32,
}

/// `int skcipher_walk_virt(struct skcipher_walk *, struct skcipher_request *, bool atomic)`
pub(crate) extern "C" fn skcipher_walk_virt(walk: u64, request: u64) -> i32 {
    // SAFETY: the caller's walk and request; `base` of the request leads to a live transform.
    unsafe {
        let tfm = crypto_async_request::tfm.get(skcipher_request::base.at(request));
        let base = crypto_tfm::alg.get(tfm);
        let alg = skcipher_alg::base.container(base);
        begin(
            walk,
            &Begin {
                total: skcipher_request::cryptlen.get(request),
                iv: skcipher_request::iv.get(request),
                input: Position::start(skcipher_request::src.get(request)),
                output: Position::start(skcipher_request::dst.get(request)),
                blocksize: crypto_alg::cra_blocksize.get(base),
                stride: skcipher_alg::walksize.get(alg),
                ivsize: skcipher_alg::ivsize.get(alg),
                alignmask: crypto_alg::cra_alignmask.get(base),
            },
        )
    }
}

/// `int skcipher_walk_async(struct skcipher_walk *, struct skcipher_request *)`: only hardware would want physical addresses,
/// and it finds no device here.
extern "C" fn skcipher_walk_async(walk: u64, request: u64) -> i32 {
    skcipher_walk_virt(walk, request)
}
extern "C" fn skcipher_walk_complete(walk: u64, _error: i32) {
    // SAFETY: the caller's walk.
    unsafe { finish(walk) };
}

unsafe fn aead(walk: u64, request: u64, total: u32) -> i32 {
    // SAFETY: the caller's walk and request.
    unsafe {
        let tfm = crypto_async_request::tfm.get(aead_request::base.at(request));
        let base = crypto_tfm::alg.get(tfm);
        let alg = aead_alg::base.container(base);
        let before = u64::from(aead_request::assoclen.get::<u32>(request));
        let mut input = Position::start(aead_request::src.get(request));
        let mut output = Position::start(aead_request::dst.get(request));
        input.skip(before);
        output.skip(before);
        begin(
            walk,
            &Begin {
                total,
                iv: aead_request::iv.get(request),
                input,
                output,
                blocksize: crypto_alg::cra_blocksize.get(base),
                stride: aead_alg::chunksize.get(alg),
                ivsize: aead_alg::ivsize.get(alg),
                alignmask: crypto_alg::cra_alignmask.get(base),
            },
        )
    }
}

/// `int skcipher_walk_aead_encrypt(struct skcipher_walk *, struct aead_request *, bool atomic)`
extern "C" fn skcipher_walk_aead_encrypt(walk: u64, request: u64) -> i32 {
    // SAFETY: the module's walk and request.
    unsafe { aead(walk, request, aead_request::cryptlen.get(request)) }
}

/// `int skcipher_walk_aead_decrypt(struct skcipher_walk *, struct aead_request *, bool atomic)`: the tag is not part of it.
extern "C" fn skcipher_walk_aead_decrypt(walk: u64, request: u64) -> i32 {
    // SAFETY: the module's walk and request; the tag's size was checked when the request began.
    unsafe {
        let tfm = crypto_aead::base.container(crypto_async_request::tfm.get(aead_request::base.at(request)));
        let tag: u32 = crypto_aead::authsize.get(tfm);
        aead(walk, request, aead_request::cryptlen.get::<u32>(request).wrapping_sub(tag))
    }
}

unsafe fn begin(walk: u64, what: &Begin) -> i32 {
    // SAFETY: the caller's walk.
    unsafe {
        skcipher_walk::total.set(walk, what.total);
        skcipher_walk::nbytes.set(walk, 0u32);
        skcipher_walk::iv.set(walk, what.iv);
        skcipher_walk::oiv.set(walk, what.iv);
        skcipher_walk::flags.set(walk, 0u32);
        skcipher_walk::buffer.set(walk, 0u64);
        skcipher_walk::page.set(walk, 0u64);
        if what.total == 0 {
            return 0;
        }
        what.input.write(skcipher_walk::input.at(walk));
        what.output.write(skcipher_walk::out.at(walk));
        skcipher_walk::blocksize.set(walk, what.blocksize);
        skcipher_walk::stride.set(walk, what.stride);
        skcipher_walk::ivsize.set(walk, what.ivsize);
        skcipher_walk::alignmask.set(walk, what.alignmask);
        if what.iv & u64::from(what.alignmask) != 0 {
            match take(u64::from(what.ivsize), what.alignmask) {
                Ok(copy) => {
                    ram::copy(copy, what.iv, u64::from(what.ivsize));
                    skcipher_walk::iv.set(walk, copy);
                }
                Err(errno) => return errno.to_return(),
            }
        }
        next(walk)
    }
}

/// Memory that lives from one call to another: a `Buffer` would be given back at the end of this one.
fn take(size: u64, mask: u32) -> Result<u64, Errno> {
    let align = (u64::from(mask) + 1).next_power_of_two().max(8);
    kernel().allocate_for(size.max(1), align, ferrmod_kernel::Owner::Kernel, 0, &kernel().inject)
}

fn give(address: u64) {
    if address != 0 {
        // It came from `take`.
        let _ = kernel().free(address, 0);
    }
}

/// Finds the next piece.
unsafe fn next(walk: u64) -> i32 {
    // SAFETY: the caller's walk.
    unsafe {
        let total: u32 = skcipher_walk::total.get(walk);
        let (blocksize, stride): (u32, u32) = (skcipher_walk::blocksize.get(walk), skcipher_walk::stride.get(walk));
        let alignmask: u32 = skcipher_walk::alignmask.get(walk);
        let wanted = stride.min(total.max(blocksize));
        let (at_input, at_output) = (skcipher_walk::input.at(walk), skcipher_walk::out.at(walk));
        let (mut input, mut output) = (Position::read(at_input), Position::read(at_output));
        let piece = total.min(input.piece()).min(output.piece());
        input.write(at_input);
        output.write(at_output);
        let (flags, size) = if piece < wanted {
            if total < blocksize {
                return skcipher_walk_done(walk, Errno::EINVAL.to_return());
            }
            (BLOCK, wanted)
        } else if (input.address() | output.address()) & u64::from(alignmask) != 0 {
            (COPY, piece.min(MOST.max(wanted)))
        } else {
            (0, piece)
        };
        skcipher_walk::flags.set(walk, flags);
        skcipher_walk::nbytes.set(walk, size);
        if flags == 0 {
            skcipher_walk::src.set(walk, input.address());
            skcipher_walk::dst.set(walk, output.address());
            return 0;
        }
        match take(u64::from(size), alignmask) {
            Ok(copy) => {
                skcipher_walk::buffer.set(walk, copy);
                input.read_bytes(copy, u64::from(size));
                skcipher_walk::src.set(walk, copy);
                skcipher_walk::dst.set(walk, copy);
                0
            }
            Err(errno) => {
                skcipher_walk::flags.set(walk, 0u32);
                skcipher_walk_done(walk, errno.to_return())
            }
        }
    }
}

/// `int skcipher_walk_done(struct skcipher_walk *, int err)`: `err` is an error or the number of bytes of the piece that were
/// not done.
pub(crate) extern "C" fn skcipher_walk_done(walk: u64, error: i32) -> i32 {
    // SAFETY: the caller's walk.
    unsafe {
        let (nbytes, flags): (u32, u32) = (skcipher_walk::nbytes.get(walk), skcipher_walk::flags.get(walk));
        let mut answer = error.min(0);
        let mut left = 0;
        if error >= 0 && nbytes != 0 {
            let done = nbytes.saturating_sub(error as u32);
            let buffer: u64 = skcipher_walk::buffer.get(walk);
            let (at_input, at_output) = (skcipher_walk::input.at(walk), skcipher_walk::out.at(walk));
            let (mut input, mut output) = (Position::read(at_input), Position::read(at_output));
            if flags & BLOCK != 0 && error > 0 {
                // Whole blocks are all there is: what remains of one cannot be done at all.
                answer = Errno::EINVAL.to_return();
            } else {
                if flags != 0 {
                    output.write_bytes(buffer, u64::from(done));
                } else {
                    output.skip(u64::from(done));
                }
                input.skip(u64::from(done));
                input.write(at_input);
                output.write(at_output);
                left = skcipher_walk::total.get::<u32>(walk).saturating_sub(done);
                skcipher_walk::total.set(walk, left);
            }
        }
        give(skcipher_walk::buffer.get(walk));
        skcipher_walk::buffer.set(walk, 0u64);
        skcipher_walk::flags.set(walk, 0u32);
        skcipher_walk::nbytes.set(walk, 0u32);
        if answer == 0 && left != 0 {
            return next(walk);
        }
        finish(walk);
        answer
    }
}

/// Puts the IV where it belongs and gives back what the walk took.
unsafe fn finish(walk: u64) {
    // SAFETY: the caller's walk.
    unsafe {
        let (iv, original): (u64, u64) = (skcipher_walk::iv.get(walk), skcipher_walk::oiv.get(walk));
        if iv != original {
            ram::copy(original, iv, u64::from(skcipher_walk::ivsize.get::<u32>(walk)));
            skcipher_walk::iv.set(walk, original);
            give(iv);
        }
    }
}

/// The request's transform as a cipher.
///
/// # Safety
/// `request` is a live `struct skcipher_request`.
pub(crate) unsafe fn cipher_of(request: u64) -> u64 {
    // SAFETY: the caller vouches for the request.
    unsafe { crypto_skcipher::base.container(crypto_async_request::tfm.get(skcipher_request::base.at(request))) }
}

/// The piece a walk is at: source, target, IV, bytes.
///
/// # Safety
/// `walk` is a begun `struct skcipher_walk`.
pub(crate) unsafe fn piece(walk: u64) -> (u64, u64, u64, u32) {
    // SAFETY: the caller vouches for the walk.
    unsafe {
        (
            skcipher_walk::src.get(walk),
            skcipher_walk::dst.get(walk),
            skcipher_walk::iv.get(walk),
            skcipher_walk::nbytes.get(walk),
        )
    }
}

/// Bytes of a `struct skcipher_walk`.
pub(crate) fn size() -> u64 {
    skcipher_walk::SIZE.get()
}

/// Whether the piece a walk is at is all that is left.
///
/// # Safety
/// `walk` is a begun `struct skcipher_walk`.
pub(crate) unsafe fn is_last(walk: u64) -> bool {
    // SAFETY: the caller vouches for the walk.
    unsafe { skcipher_walk::nbytes.get::<u32>(walk) == skcipher_walk::total.get::<u32>(walk) }
}
