//! Compressors: asynchronous ones (`struct acomp_alg`), and synchronous ones (`struct scomp_alg`) behind the same calls.

use ferrmod_kernel::Errno;

use super::algorithms::{self, hold, release};
use super::bytes::Buffer;
use super::kinds::Kind;
use super::scatterlist::{extent, page_of, scatterlist, set, sg_init_table};
use super::scatterwalk::scatterwalk_map_and_copy;
use super::{
    TYPE_ACOMPRESS, TYPE_MASK, TYPE_SCOMPRESS, ask, code, context, crypto_alg, crypto_async_request, crypto_tfm,
    function, result, transforms,
};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab};

layout! {
    pub(crate) mod acomp_alg = "acomp_alg" { compress, decompress, dst_free, init, exit, reqsize, base }
    pub(crate) mod scomp_alg = "scomp_alg" { alloc_ctx, free_ctx, compress, decompress, base }
    pub(crate) mod crypto_acomp = "crypto_acomp" { compress, decompress, dst_free, reqsize, base }
    pub(crate) mod crypto_scomp = "crypto_scomp" { base }
    pub(crate) mod acomp_req = "acomp_req" { base, src, dst, slen, dlen, ctx = "__ctx" }
}

/// The most a synchronous compressor takes or gives (`SCOMP_SCRATCH_SIZE`).
const SCRATCH: u32 = 131_072;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crypto_register_acomp, c crypto_unregister_acomp, c crypto_register_acomps, c crypto_unregister_acomps,
    c crypto_register_scomp, c crypto_unregister_scomp, c crypto_register_scomps, c crypto_unregister_scomps,
    c acomp_request_alloc, c acomp_request_free, c crypto_acomp_exit_tfm, c crypto_exit_scomp_ops_async,
    c scomp_acomp_compress, c scomp_acomp_decompress, c sgl_free,
];

unsafe fn base_alg(acomp: u64) -> u64 {
    // SAFETY: the caller has a live transform.
    unsafe { crypto_tfm::alg.get(crypto_acomp::base.at(acomp)) }
}

/// `init_tfm` of the frontend.
///
/// # Safety
/// As [`Kind::init`].
pub(crate) unsafe fn init(tfm: u64, caller: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the transform; over a synchronous compressor its context holds a pointer.
    unsafe {
        let acomp = crypto_acomp::base.container(tfm);
        let base = base_alg(acomp);
        if Kind::of(base) == Some(Kind::Scomp) {
            if !hold(base) {
                return Err(Errno::EAGAIN);
            }
            let made = transforms::create(base, Kind::Scomp, caller).inspect_err(|_| release(base))?;
            ram::put(context(tfm), made);
            crypto_tfm::exit.set(tfm, function("crypto_exit_scomp_ops_async"));
            crypto_acomp::compress.set(acomp, function("scomp_acomp_compress"));
            crypto_acomp::decompress.set(acomp, function("scomp_acomp_decompress"));
            crypto_acomp::dst_free.set(acomp, function("sgl_free"));
            // A request's context holds a pointer to the compressor's.
            crypto_acomp::reqsize.set(acomp, 8u32);
            return Ok(());
        }
        let alg = acomp_alg::base.container(base);
        for (from, to) in [
            (&acomp_alg::compress, &crypto_acomp::compress),
            (&acomp_alg::decompress, &crypto_acomp::decompress),
            (&acomp_alg::dst_free, &crypto_acomp::dst_free),
        ] {
            to.set(acomp, from.get::<u64>(alg));
        }
        crypto_acomp::reqsize.set(acomp, acomp_alg::reqsize.get::<u32>(alg));
        if acomp_alg::exit.get::<u64>(alg) != 0 {
            crypto_tfm::exit.set(tfm, function("crypto_acomp_exit_tfm"));
        }
        match acomp_alg::init.get::<u64>(alg) {
            0 => Ok(()),
            init => result(ask(init, [acomp])),
        }
    }
}

extern "C" fn crypto_acomp_exit_tfm(tfm: u64) {
    // SAFETY: a transform whose algorithm has an `exit`.
    unsafe {
        let acomp = crypto_acomp::base.container(tfm);
        ram::call(acomp_alg::exit.get(acomp_alg::base.container(base_alg(acomp))), [acomp]);
    }
}
extern "C" fn crypto_exit_scomp_ops_async(tfm: u64) {
    let caller = ram::caller();
    // SAFETY: a transform that `init` put over a synchronous compressor.
    unsafe { transforms::close_kind(ram::get(context(tfm)), Kind::Scomp, caller) };
}

unsafe fn register(base: u64, kind: Kind, number: u32) -> i32 {
    // SAFETY: the caller has an algorithm to register.
    unsafe {
        crypto_alg::cra_type.set(base, kind.frontend());
        crypto_alg::cra_flags.set(base, (algorithms::flags(base) & !TYPE_MASK) | number);
        code(algorithms::register(base))
    }
}

extern "C" fn crypto_register_acomp(alg: u64) -> i32 {
    // SAFETY: the module's algorithm.
    unsafe { register(acomp_alg::base.at(alg), Kind::Acomp, TYPE_ACOMPRESS) }
}
extern "C" fn crypto_unregister_acomp(alg: u64) {
    let caller = ram::caller();
    // SAFETY: the module's algorithm.
    unsafe { algorithms::unregister(acomp_alg::base.at(alg), caller) };
}
extern "C" fn crypto_register_acomps(algs: u64, count: i32) -> i32 {
    algorithms::register_all(algs, count, acomp_alg::SIZE.get(), crypto_register_acomp, crypto_unregister_acomp)
}
extern "C" fn crypto_unregister_acomps(algs: u64, count: i32) {
    algorithms::unregister_all(algs, count, acomp_alg::SIZE.get(), crypto_unregister_acomp);
}
pub(crate) extern "C" fn crypto_register_scomp(alg: u64) -> i32 {
    // SAFETY: the module's algorithm.
    unsafe { register(scomp_alg::base.at(alg), Kind::Scomp, TYPE_SCOMPRESS) }
}
extern "C" fn crypto_unregister_scomp(alg: u64) {
    let caller = ram::caller();
    // SAFETY: the module's algorithm.
    unsafe { algorithms::unregister(scomp_alg::base.at(alg), caller) };
}
pub(crate) extern "C" fn crypto_register_scomps(algs: u64, count: i32) -> i32 {
    algorithms::register_all(algs, count, scomp_alg::SIZE.get(), crypto_register_scomp, crypto_unregister_scomp)
}
extern "C" fn crypto_unregister_scomps(algs: u64, count: i32) {
    algorithms::unregister_all(algs, count, scomp_alg::SIZE.get(), crypto_unregister_scomp);
}

/// The synchronous compressor of a request, and its algorithm.
unsafe fn inner(acomp: u64) -> Option<(u64, u64)> {
    // SAFETY: the caller has a live transform.
    unsafe {
        let base = base_alg(acomp);
        (Kind::of(base) == Some(Kind::Scomp))
            .then(|| (ram::get(context(crypto_acomp::base.at(acomp))), scomp_alg::base.container(base)))
    }
}

/// `struct acomp_req *acomp_request_alloc(struct crypto_acomp *)`
extern "C" fn acomp_request_alloc(acomp: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module's transform; the request has room for the context its algorithm asks for.
    unsafe {
        let size = acomp_req::SIZE.get() + u64::from(crypto_acomp::reqsize.get::<u32>(acomp));
        let request = slab::allocate(size, 8, slab::ZERO, caller);
        if request == 0 {
            return 0;
        }
        crypto_async_request::tfm.set(acomp_req::base.at(request), crypto_acomp::base.at(acomp));
        if let Some((scomp, alg)) = inner(acomp) {
            let made = ram::call(scomp_alg::alloc_ctx.get(alg), [scomp]);
            if Errno::from_pointer(made).is_some() {
                slab::release(request, caller);
                return 0;
            }
            ram::put(acomp_req::ctx.at(request), made);
        }
        request
    }
}

/// `void acomp_request_free(struct acomp_req *)`
extern "C" fn acomp_request_free(request: u64) {
    let caller = ram::caller();
    if request == 0 {
        return;
    }
    // SAFETY: a request that `acomp_request_alloc` made.
    unsafe {
        let acomp = crypto_acomp::base.container(crypto_async_request::tfm.get(acomp_req::base.at(request)));
        if let Some((scomp, alg)) = inner(acomp) {
            let made: u64 = ram::get(acomp_req::ctx.at(request));
            if made != 0 {
                ram::call(scomp_alg::free_ctx.get(alg), [scomp, made]);
            }
        }
    }
    slab::release(request, caller);
}

unsafe fn run(request: u64, compress: bool, caller: u64) -> Result<(), Errno> {
    // SAFETY: the caller has a request of a synchronous compressor; the buffers are as long as what is copied.
    unsafe {
        let acomp = crypto_acomp::base.container(crypto_async_request::tfm.get(acomp_req::base.at(request)));
        let (scomp, alg) = inner(acomp).ok_or(Errno::EINVAL)?;
        let (from, to): (u64, u64) = (acomp_req::src.get(request), acomp_req::dst.get(request));
        let (length, room): (u32, u32) = (acomp_req::slen.get(request), acomp_req::dlen.get(request));
        if from == 0 || length == 0 || length > SCRATCH || (to != 0 && room == 0) {
            return Err(Errno::EINVAL);
        }
        let room = if room == 0 || room > SCRATCH { SCRATCH } else { room };
        let (input, output) = (Buffer::new(u64::from(length), 7)?, Buffer::new(u64::from(SCRATCH), 7)?);
        scatterwalk_map_and_copy(input.address(), from, 0, length, 0);
        let function = if compress { scomp_alg::compress.get(alg) } else { scomp_alg::decompress.get(alg) };
        let (mut given, state): (u32, u64) = (room, ram::get(acomp_req::ctx.at(request)));
        let given_at = &raw mut given as u64;
        result(ask(function, [scomp, input.address(), u64::from(length), output.address(), given_at, state]))?;
        acomp_req::dlen.set(request, given);
        let to = if to == 0 {
            let made = list_of(given, caller)?;
            acomp_req::dst.set(request, made);
            made
        } else if given > room {
            return Err(Errno::ENOSPC);
        } else {
            to
        };
        scatterwalk_map_and_copy(output.address(), to, 0, given, 1);
        Ok(())
    }
}

/// A list of one entry with its own memory, for a request that brings none.
fn list_of(length: u32, caller: u64) -> Result<u64, Errno> {
    let list = slab::allocate(scatterlist::SIZE.get(), 8, slab::ZERO, caller);
    let memory = slab::allocate(u64::from(length.max(1)).next_multiple_of(4096), 4096, 0, caller);
    if list == 0 || memory == 0 {
        slab::release(list, caller);
        slab::release(memory, caller);
        return Err(Errno::ENOMEM);
    }
    sg_init_table(list, 1);
    // SAFETY: an entry of our own.
    unsafe { set(list, page_of(memory), 0, length) };
    Ok(list)
}

/// `void sgl_free(struct scatterlist *)`: what [`list_of`] made.
extern "C" fn sgl_free(list: u64) {
    let caller = ram::caller();
    if list != 0 {
        // SAFETY: a list that `list_of` made; it starts at a page.
        unsafe {
            debug_assert_eq!(extent(list).0, 0);
            slab::release(super::scatterlist::page_address(list), caller);
        }
        slab::release(list, caller);
    }
}

extern "C" fn scomp_acomp_compress(request: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: a request of a transform that `init` put over a synchronous compressor.
    unsafe { code(run(request, true, caller)) }
}
extern "C" fn scomp_acomp_decompress(request: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: a request of a transform that `init` put over a synchronous compressor.
    unsafe { code(run(request, false, caller)) }
}
