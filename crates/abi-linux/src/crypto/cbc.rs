//! The template `cbc`, which Linux has built in.

use super::builtin::template;
use super::skcipher::{
    inner, skcipher_alg, skcipher_alloc_instance_simple, skcipher_instance, skcipher_register_instance,
};
use super::walk::{self, cipher_of, skcipher_walk_done, skcipher_walk_virt};
use super::{crypto_alg, crypto_tfm, function};
use crate::export::{Export, exports};
use crate::ram;
use ferrmod_kernel::Errno;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c crypto_cbc_create, c crypto_cbc_encrypt, c crypto_cbc_decrypt];

/// The longest block of any cipher (`MAX_CIPHER_BLOCKSIZE`).
const MAX_BLOCK: usize = 16;

/// Registers the template.
pub(crate) fn begin() {
    template("cbc", "crypto_cbc_create");
}

/// Registers an instance of a block cipher with these two functions, or frees it.
///
/// # Safety
/// What `create` of a template was given.
pub(crate) unsafe fn create(
    template: u64,
    attributes: u64,
    encrypt: &str,
    decrypt: &str,
    fill: impl FnOnce(u64) -> i32,
) -> i32 {
    let inst = skcipher_alloc_instance_simple(template, attributes);
    if let Some(errno) = Errno::from_pointer(inst) {
        return errno.to_return();
    }
    // SAFETY: an instance that was just made.
    unsafe {
        let alg = skcipher_instance::alg.at(inst);
        skcipher_alg::encrypt.set(alg, function(encrypt));
        skcipher_alg::decrypt.set(alg, function(decrypt));
        let mut answer = fill(alg);
        if answer == 0 {
            answer = skcipher_register_instance(template, inst);
        }
        if answer != 0 {
            ram::call(skcipher_instance::free.get(inst), [inst]);
        }
        answer
    }
}

extern "C" fn crypto_cbc_create(template: u64, attributes: u64) -> i32 {
    // SAFETY: what the lookup gives a template.
    unsafe {
        create(template, attributes, "crypto_cbc_encrypt", "crypto_cbc_decrypt", |alg| {
            let size: u32 = crypto_alg::cra_blocksize.get(skcipher_alg::base.at(alg));
            if size.is_power_of_two() { 0 } else { Errno::EINVAL.to_return() }
        })
    }
}

/// The block cipher of a request, and how to use it.
pub(crate) struct Cipher {
    tfm: u64,
    encrypt: u64,
    decrypt: u64,
    /// Bytes in a block.
    pub(crate) block: usize,
}

impl Cipher {
    /// Of a request.
    ///
    /// # Safety
    /// `request` is one of a cipher made by `skcipher_alloc_instance_simple`.
    pub(crate) unsafe fn of(request: u64) -> Self {
        // SAFETY: the caller vouches for the request.
        unsafe {
            let tfm = inner(cipher_of(request));
            let alg: u64 = crypto_tfm::alg.get(tfm);
            Self {
                tfm,
                encrypt: crypto_alg::cia_encrypt.get(alg),
                decrypt: crypto_alg::cia_decrypt.get(alg),
                block: (crypto_alg::cra_blocksize.get::<u32>(alg) as usize).min(MAX_BLOCK),
            }
        }
    }

    /// Encrypts a block in place. The buffer is aligned for every cipher.
    pub(crate) fn encrypt(&self, block: &mut Block) {
        let at = block.0.as_mut_ptr() as u64;
        // SAFETY: the cipher's own function on a buffer of at least a block.
        unsafe { ram::call(self.encrypt, [self.tfm, at, at]) };
    }

    /// Decrypts a block in place.
    pub(crate) fn decrypt(&self, block: &mut Block) {
        let at = block.0.as_mut_ptr() as u64;
        // SAFETY: as for `encrypt`.
        unsafe { ram::call(self.decrypt, [self.tfm, at, at]) };
    }
}

/// A block, aligned.
#[repr(align(16))]
#[derive(Clone, Copy)]
pub(crate) struct Block(pub(crate) [u8; MAX_BLOCK]);

impl Block {
    /// The bytes at an address.
    ///
    /// # Safety
    /// `size` bytes, at most [`MAX_BLOCK`], are there.
    pub(crate) unsafe fn read(at: u64, size: usize) -> Self {
        let mut block = Self([0; MAX_BLOCK]);
        // SAFETY: the caller vouches for the bytes.
        block.0[..size].copy_from_slice(unsafe { ram::bytes(at, size as u64) });
        block
    }

    /// Writes the first bytes.
    ///
    /// # Safety
    /// There is room for `size` bytes.
    pub(crate) unsafe fn write(&self, at: u64, size: usize) {
        // SAFETY: the caller vouches for the room.
        unsafe { ram::bytes_mut(at, size as u64) }.copy_from_slice(&self.0[..size]);
    }

    /// Adds another, bit by bit.
    pub(crate) fn xor(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(to, from)| *to ^= from);
    }
}

/// Walks over a request in whole blocks; `step` gets source, target and IV of each.
///
/// # Safety
/// `request` is one of a cipher made by `skcipher_alloc_instance_simple`.
pub(crate) unsafe fn blocks(request: u64, mut step: impl FnMut(&Cipher, u64, u64, u64)) -> i32 {
    // SAFETY: the caller vouches for the request; no kernel's `struct skcipher_walk` is larger than the array.
    unsafe {
        let cipher = Cipher::of(request);
        let mut walk = [0u64; 48];
        debug_assert!(walk::size() <= 48 * 8);
        let walk = walk.as_mut_ptr() as u64;
        let mut answer = skcipher_walk_virt(walk, request);
        loop {
            let (from, to, iv, bytes) = walk::piece(walk);
            if answer != 0 || bytes == 0 {
                return answer;
            }
            let whole = bytes as usize / cipher.block * cipher.block;
            for at in (0..whole).step_by(cipher.block) {
                step(&cipher, from + at as u64, to + at as u64, iv);
            }
            answer = skcipher_walk_done(walk, (bytes as usize - whole) as i32);
        }
    }
}

extern "C" fn crypto_cbc_encrypt(request: u64) -> i32 {
    // SAFETY: a request of a cipher this template made.
    unsafe {
        blocks(request, |cipher, from, to, iv| {
            let mut block = Block::read(from, cipher.block);
            block.xor(&Block::read(iv, cipher.block));
            cipher.encrypt(&mut block);
            block.write(to, cipher.block);
            block.write(iv, cipher.block);
        })
    }
}

extern "C" fn crypto_cbc_decrypt(request: u64) -> i32 {
    // SAFETY: a request of a cipher this template made.
    unsafe {
        blocks(request, |cipher, from, to, iv| {
            let before = Block::read(from, cipher.block);
            let mut block = before;
            cipher.decrypt(&mut block);
            block.xor(&Block::read(iv, cipher.block));
            block.write(to, cipher.block);
            before.write(iv, cipher.block);
        })
    }
}
