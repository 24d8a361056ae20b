//! The templates `ecb` and `ctr`, for kernels that have them built in.

use super::builtin::{has, template};
use super::bytes::increment;
use super::cbc::{Block, Cipher, blocks, create};
use super::crypto_alg;
use super::skcipher::skcipher_alg;
use super::walk::{self, skcipher_walk_done, skcipher_walk_virt};
use crate::export::{Export, exports};
use crate::ram;
use ferrmod_kernel::Errno;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] =
    exports![c crypto_ecb_create, c crypto_ecb_encrypt, c crypto_ecb_decrypt, c crypto_ctr_create, c crypto_ctr_crypt];

/// Registers the templates that are not modules.
pub(crate) fn begin() {
    for (name, create) in [("ecb", "crypto_ecb_create"), ("ctr", "crypto_ctr_create")] {
        if has(create) {
            template(name, create);
        }
    }
}

extern "C" fn crypto_ecb_create(template: u64, attributes: u64) -> i32 {
    // SAFETY: what the lookup gives a template.
    unsafe {
        create(template, attributes, "crypto_ecb_encrypt", "crypto_ecb_decrypt", |alg| {
            skcipher_alg::ivsize.set(alg, 0u32);
            0
        })
    }
}

extern "C" fn crypto_ecb_encrypt(request: u64) -> i32 {
    // SAFETY: a request of a cipher this template made.
    unsafe {
        blocks(request, |cipher, from, to, _| {
            let mut block = Block::read(from, cipher.block);
            cipher.encrypt(&mut block);
            block.write(to, cipher.block);
        })
    }
}

extern "C" fn crypto_ecb_decrypt(request: u64) -> i32 {
    // SAFETY: a request of a cipher this template made.
    unsafe {
        blocks(request, |cipher, from, to, _| {
            let mut block = Block::read(from, cipher.block);
            cipher.decrypt(&mut block);
            block.write(to, cipher.block);
        })
    }
}

extern "C" fn crypto_ctr_create(template: u64, attributes: u64) -> i32 {
    // SAFETY: what the lookup gives a template.
    unsafe {
        create(template, attributes, "crypto_ctr_crypt", "crypto_ctr_crypt", |alg| {
            let base = skcipher_alg::base.at(alg);
            let block: u32 = crypto_alg::cra_blocksize.get(base);
            if block < 4 {
                return Errno::EINVAL.to_return();
            }
            // A stream: any length will do, but pieces are best whole blocks.
            crypto_alg::cra_blocksize.set(base, 1u32);
            skcipher_alg::chunksize.set(alg, block);
            0
        })
    }
}

extern "C" fn crypto_ctr_crypt(request: u64) -> i32 {
    // SAFETY: a request of a cipher this template made; no kernel's `struct skcipher_walk` is larger than the array.
    unsafe {
        let cipher = Cipher::of(request);
        let mut walk = [0u64; 48];
        let walk = walk.as_mut_ptr() as u64;
        let mut answer = skcipher_walk_virt(walk, request);
        loop {
            let (from, to, iv, bytes) = walk::piece(walk);
            if answer != 0 || bytes == 0 {
                return answer;
            }
            let block = cipher.block as u64;
            // The last piece may end inside a block; an earlier one leaves the rest of it for the next.
            let left = if walk::is_last(walk) { 0 } else { u64::from(bytes) % block };
            let now = u64::from(bytes) - left;
            for at in (0..now).step_by(cipher.block) {
                let size = block.min(now - at) as usize;
                let mut stream = Block::read(iv, cipher.block);
                cipher.encrypt(&mut stream);
                stream.xor(&Block::read(from + at, size));
                stream.write(to + at, size);
                increment(ram::bytes_mut(iv, block));
            }
            answer = skcipher_walk_done(walk, left as i32);
        }
    }
}
