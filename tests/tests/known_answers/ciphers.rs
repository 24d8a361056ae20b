//! Block ciphers, one block at a time, against crates.

use cipher::generic_array::GenericArray;
use cipher::{BlockEncrypt, KeyInit};
use ferrmod_machine::Argument::{In, Out, Value};

use crate::laboratory::{Laboratory, sample};

/// `CRYPTO_ALG_TYPE_CIPHER` and `CRYPTO_ALG_TYPE_MASK`
const CIPHER: u64 = 1;
const MASK: u64 = 0xf;

fn check<C: KeyInit + BlockEncrypt>(module: &str, name: &str, key_length: usize) {
    let Some(mut lab) = Laboratory::with(&[module]) else { return };
    let mut text = name.as_bytes().to_vec();
    text.push(0);
    let transform = lab.call("crypto_alloc_base", &[In(text), Value(CIPHER), Value(MASK)]).value;
    assert!((transform as i64) > 0, "{name}: error {}", transform as i64);
    let key = sample(key_length);
    let set = lab.call("crypto_cipher_setkey", &[Value(transform), In(key.clone()), Value(key_length as u64)]);
    assert_eq!(set.value as i32, 0, "{name}: setkey");
    let ours = C::new_from_slice(&key).unwrap();
    let size = C::block_size();
    for seed in 0..8 {
        let block = sample(size + seed)[seed..].to_vec();
        let called = lab.call("crypto_cipher_encrypt_one", &[Value(transform), Out(size as u64), In(block.clone())]);
        let mut wanted = GenericArray::clone_from_slice(&block);
        ours.encrypt_block(&mut wanted);
        assert_eq!(called.buffers[0].to_vec(), wanted.to_vec(), "{name}");
        let back = lab
            .call("crypto_cipher_decrypt_one", &[Value(transform), Out(size as u64), In(called.buffers[0].to_vec())]);
        assert_eq!(back.buffers[0].to_vec(), block, "{name} back");
    }
    lab.call("crypto_destroy_tfm", &[Value(transform), Value(transform)]);
    lab.close();
}

#[test]
fn serpent() {
    check::<serpent::Serpent>("serpent_generic", "serpent", 32);
}

#[test]
fn twofish() {
    check::<twofish::Twofish>("twofish_generic", "twofish", 32);
}

#[test]
fn camellia() {
    check::<camellia::Camellia256>("camellia_generic", "camellia", 32);
}

#[test]
fn blowfish() {
    check::<blowfish::Blowfish>("blowfish_generic", "blowfish", 16);
}

#[test]
fn cast5() {
    check::<cast5::Cast5>("cast5_generic", "cast5", 16);
}

#[test]
fn aes_ti() {
    check::<aes::Aes256>("aes_ti", "aes-fixed-time", 32);
}
