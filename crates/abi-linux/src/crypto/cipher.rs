//! Plain block ciphers, one block a call, and plain compressors (`crypto_comp`).

use ferrmod_kernel::Errno;

use super::bytes::Aligned;
use super::{TYPE_CIPHER, TYPE_MASK, ask, crypto_alg, crypto_tfm, transforms};
use crate::export::{Export, exports};
use crate::ram;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crypto_cipher_setkey, c crypto_cipher_encrypt_one, c crypto_cipher_decrypt_one, c crypto_comp_compress,
    c crypto_comp_decompress,
];

/// `int crypto_cipher_setkey(struct crypto_cipher *, const u8 *, unsigned int)`
pub(crate) extern "C" fn crypto_cipher_setkey(tfm: u64, key: u64, length: u32) -> i32 {
    // SAFETY: the caller's cipher and key.
    unsafe {
        let alg: u64 = crypto_tfm::alg.get(tfm);
        let range = crypto_alg::cia_min_keysize.get::<u32>(alg)..=crypto_alg::cia_max_keysize.get::<u32>(alg);
        if !range.contains(&length) {
            return Errno::EINVAL.to_return();
        }
        match Aligned::of(key, u64::from(length), crypto_alg::cra_alignmask.get(alg)) {
            Ok(key) => ask(crypto_alg::cia_setkey.get(alg), [tfm, key.address(), u64::from(length)]),
            Err(errno) => errno.to_return(),
        }
    }
}

unsafe fn one_block(function: u64, alg: u64, tfm: u64, to: u64, from: u64) {
    // SAFETY: the caller has a cipher, a block, and room for one.
    unsafe {
        let mask: u32 = crypto_alg::cra_alignmask.get(alg);
        if (to | from) & u64::from(mask) == 0 {
            ram::call(function, [tfm, to, from]);
            return;
        }
        // Registration bounds both the size and the alignment of a block by 16.
        let size = u64::from(crypto_alg::cra_blocksize.get::<u32>(alg).min(16));
        let (mut block, mut answer) = (Block([0; 16]), Block([0; 16]));
        let (block, answer) = (block.0.as_mut_ptr() as u64, answer.0.as_mut_ptr() as u64);
        ram::copy(block, from, size);
        ram::call(function, [tfm, answer, block]);
        ram::copy(to, answer, size);
    }
}

/// An aligned block.
#[repr(align(16))]
struct Block([u8; 16]);

/// `void crypto_cipher_encrypt_one(struct crypto_cipher *, u8 *dst, const u8 *src)`
pub(crate) extern "C" fn crypto_cipher_encrypt_one(tfm: u64, to: u64, from: u64) {
    // SAFETY: the caller's cipher and blocks.
    unsafe {
        let alg: u64 = crypto_tfm::alg.get(tfm);
        one_block(crypto_alg::cia_encrypt.get(alg), alg, tfm, to, from);
    }
}

/// `void crypto_cipher_decrypt_one(struct crypto_cipher *, u8 *dst, const u8 *src)`
pub(crate) extern "C" fn crypto_cipher_decrypt_one(tfm: u64, to: u64, from: u64) {
    // SAFETY: the caller's cipher and blocks.
    unsafe {
        let alg: u64 = crypto_tfm::alg.get(tfm);
        one_block(crypto_alg::cia_decrypt.get(alg), alg, tfm, to, from);
    }
}

/// A cipher of what a spawn is tied to.
///
/// # Errors
/// As [`transforms::spawn_plain`].
///
/// # Safety
/// `spawn` was grabbed.
pub(crate) unsafe fn of_spawn(spawn: u64, caller: u64) -> Result<u64, Errno> {
    // SAFETY: the caller vouches for the spawn.
    unsafe { transforms::spawn_plain(spawn, TYPE_CIPHER, TYPE_MASK, caller) }
}

/// `int crypto_comp_compress(struct crypto_comp *, const u8 *src, unsigned int slen, u8 *dst, unsigned int *dlen)`
extern "C" fn crypto_comp_compress(tfm: u64, from: u64, length: u32, to: u64, room: u64) -> i32 {
    // SAFETY: the module's compressor and buffers.
    unsafe { ask(crypto_alg::coa_compress.get(crypto_tfm::alg.get(tfm)), [tfm, from, u64::from(length), to, room]) }
}
extern "C" fn crypto_comp_decompress(tfm: u64, from: u64, length: u32, to: u64, room: u64) -> i32 {
    // SAFETY: the module's compressor and buffers.
    unsafe { ask(crypto_alg::coa_decompress.get(crypto_tfm::alg.get(tfm)), [tfm, from, u64::from(length), to, room]) }
}
