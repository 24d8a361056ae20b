//! Hashes through the crypto API, as `crypto_alloc_shash` and `crypto_shash_tfm_digest` give them.

use digest::Digest;
use ferrmod_machine::Argument::{In, Out, Value};

use crate::laboratory::{Laboratory, sample};

fn linux(lab: &mut Laboratory, name: &str, data: &[u8], length: u64) -> Vec<u8> {
    let mut text = name.as_bytes().to_vec();
    text.push(0);
    let transform = lab.call("crypto_alloc_shash", &[In(text), Value(0), Value(0)]).value;
    assert!((transform as i64) > 0, "{name}: error {}", transform as i64);
    let called = lab
        .call("crypto_shash_tfm_digest", &[Value(transform), In(data.to_vec()), Value(data.len() as u64), Out(length)]);
    assert_eq!(called.value as i32, 0, "{name}");
    // The transform begins with its `crypto_tfm`, which is what is destroyed.
    let base = transform + shash_base();
    lab.call("crypto_destroy_tfm", &[Value(transform), Value(base)]);
    called.buffers[0].to_vec()
}

/// The offset of `base` in 6.1's `struct crypto_shash`.
fn shash_base() -> u64 {
    let tree = ferrmod_tests::corpus::tree("6.1").unwrap();
    let facts = ferrmod_machine::facts_cache::open(&tree.vmlinuz).unwrap();
    let facts = ferrmod_image::facts::Facts::open(&facts).unwrap();
    let found = facts.btf().struct_named("crypto_shash").unwrap().member("base").unwrap();
    found.bit_offset / 8
}

macro_rules! hashes {
    ($($test:ident: $module:literal $name:literal $digest:ty;)*) => {
        $(
            #[test]
            fn $test() {
                let Some(mut lab) = Laboratory::with(&[$module]) else { return };
                for length in [0, 3, 64, 1000, 100_000] {
                    let data = sample(length);
                    let wanted = <$digest>::digest(&data).to_vec();
                    assert_eq!(linux(&mut lab, $name, &data, wanted.len() as u64), wanted, "{} of {length} bytes", $name);
                }
                lab.close();
            }
        )*
    };
}

hashes! {
    md4: "md4" "md4" md4::Md4;
    rmd160: "rmd160" "rmd160" ripemd::Ripemd160;
    sha512: "sha512_generic" "sha512" sha2::Sha512;
    sha384: "sha512_generic" "sha384" sha2::Sha384;
    sha3_256: "sha3_generic" "sha3-256" sha3::Sha3_256;
    sha3_512: "sha3_generic" "sha3-512" sha3::Sha3_512;
    blake2b_512: "blake2b_generic" "blake2b-512" blake2::Blake2b512;
    wp512: "wp512" "wp512" whirlpool::Whirlpool;
    streebog256: "streebog_generic" "streebog256" streebog::Streebog256;
    streebog512: "streebog_generic" "streebog512" streebog::Streebog512;
    sha256_ssse3: "sha256_ssse3" "sha256" sha2::Sha256;
    sha1_ssse3: "sha1_ssse3" "sha1" sha1::Sha1;
}
