//! Hashes: `crypto_shash` with keys, `crypto_ahash` over scatterlists, and what templates make of them.

use digest::Digest;
use ferrmod_machine::Argument::{In, Value};

use crate::bench::{Bench, cut, each, hex, noise};

fn set_key(bench: &mut Bench, kind: &str, hash: u64, key: &[u8]) -> i32 {
    bench.call(&format!("crypto_{kind}_setkey"), &[Value(hash), In(key.to_vec()), Value(key.len() as u64)]) as i32
}

/// `crypto_shash_tfm_digest`
fn shash(bench: &mut Bench, name: &str, key: &[u8], data: &[u8], size: usize) -> Vec<u8> {
    let hash = bench.open("shash", name).unwrap_or_else(|error| panic!("{name}: error {error}"));
    if !key.is_empty() {
        assert_eq!(set_key(bench, "shash", hash, key), 0, "{name}");
    }
    let out = bench.object(&vec![0; size]);
    let answer =
        bench.call("crypto_shash_tfm_digest", &[Value(hash), In(data.to_vec()), Value(data.len() as u64), Value(out)]);
    assert_eq!(answer as i32, 0, "{name}");
    bench.free("shash", hash);
    bench.peek(out, size)
}

/// `crypto_ahash_digest` over data cut at `places`.
fn ahash(bench: &mut Bench, name: &str, key: &[u8], data: &[u8], size: usize, places: &[usize]) -> Vec<u8> {
    let hash = bench.open("ahash", name).unwrap_or_else(|error| panic!("{name}: error {error}"));
    if !key.is_empty() {
        assert_eq!(set_key(bench, "ahash", hash, key), 0, "{name}");
    }
    let tfm = hash + bench.offset("crypto_ahash", "base");
    let context = bench.small(hash + bench.offset("crypto_ahash", "reqsize"));
    let request_size = bench.size("ahash_request") + u64::from(context);
    let request = bench.object(&vec![0; request_size as usize]);
    let base = request + bench.offset("ahash_request", "base");
    let wait = bench.prepare(base, tfm);
    let (list, _) = bench.list(&cut(data, places));
    let out = bench.object(&vec![0; size]);
    bench.put(request, "ahash_request", "src", list, 8);
    bench.put(request, "ahash_request", "result", out, 8);
    bench.put(request, "ahash_request", "nbytes", data.len() as u64, 4);
    let answer = bench.call("crypto_ahash_digest", &[Value(request)]);
    assert_eq!(bench.finish(answer, wait), 0, "{name}");
    bench.free("ahash", hash);
    bench.peek(out, size)
}

#[test]
fn built_in() {
    each(&[], |bench| {
        for length in [0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 10_000] {
            let data = noise(length, 1);
            assert_eq!(shash(bench, "sha1", &[], &data, 20), sha1::Sha1::digest(&data).to_vec(), "{length}");
            assert_eq!(shash(bench, "sha224", &[], &data, 28), sha2::Sha224::digest(&data).to_vec(), "{length}");
            assert_eq!(shash(bench, "sha256", &[], &data, 32), sha2::Sha256::digest(&data).to_vec(), "{length}");
            // 6.1 has these in a module, which is asked for.
            assert_eq!(shash(bench, "sha384", &[], &data, 48), sha2::Sha384::digest(&data).to_vec(), "{length}");
            assert_eq!(shash(bench, "sha512", &[], &data, 64), sha2::Sha512::digest(&data).to_vec(), "{length}");
            assert_eq!(shash(bench, "sha3-256", &[], &data, 32), sha3::Sha3_256::digest(&data).to_vec(), "{length}");
            assert_eq!(shash(bench, "sha3-512", &[], &data, 64), sha3::Sha3_512::digest(&data).to_vec(), "{length}");
        }
        // RFC 1321, A.5
        let digest = shash(bench, "md5", &[], b"message digest", 16);
        assert_eq!(digest, hex("f96b697d7cb7938d525a2f31aaf161d0"));
    });
}

#[test]
fn a_scatterlist_is_hashed_like_its_bytes() {
    each(&["sha512_generic", "rmd160"], |bench| {
        for length in [0, 1, 200, 9000] {
            let data = noise(length, 2);
            for places in [&[][..], &[1, 2, 3, 130], &[64, 4096, 8192]] {
                let sha256 = sha2::Sha256::digest(&data).to_vec();
                assert_eq!(ahash(bench, "sha256", &[], &data, 32, places), sha256);
                let sha512 = sha2::Sha512::digest(&data).to_vec();
                assert_eq!(ahash(bench, "sha512", &[], &data, 64, places), sha512);
                let rmd160 = ripemd::Ripemd160::digest(&data).to_vec();
                assert_eq!(ahash(bench, "rmd160", &[], &data, 20, places), rmd160);
            }
        }
    });
}

/// RFC 4231, test cases 1, 2 and 6 (a key longer than a block).
#[test]
fn hmac() {
    each(&["sha512_generic"], |bench| {
        let cases = [
            (vec![0x0b; 20], &b"Hi There"[..], "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, data, wanted) in &cases {
            assert_eq!(shash(bench, "hmac(sha256)", key, data, 32), hex(wanted));
            assert_eq!(ahash(bench, "hmac(sha256)", key, data, 32, &[3, 5]), hex(wanted));
        }
        let wanted = "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854";
        assert_eq!(shash(bench, "hmac(sha512)", &cases[0].0, b"Hi There", 64), hex(wanted));
        // A hash that wants its key refuses without.
        let hash = bench.open("shash", "hmac(sha1)").unwrap();
        let out = bench.object(&[0; 20]);
        let answer = bench.call("crypto_shash_tfm_digest", &[Value(hash), In(b"x".to_vec()), Value(1), Value(out)]);
        assert_eq!(answer as i32, -126);
        bench.free("shash", hash);
    });
}

/// RFC 4493, examples 2 and 3; RFC 3566, test cases 3 and 4.
#[test]
fn codes_of_block_ciphers() {
    let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
    let data = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411");
    for modules in [&["cmac", "xcbc"][..], &["cmac", "xcbc", "aes_ti"], &["cmac", "xcbc", "aesni_intel"]] {
        each(modules, |bench| {
            assert_eq!(shash(bench, "cmac(aes)", &key, &data[..16], 16), hex("070a16b46b4d4144f79bdd9dd04a287c"));
            assert_eq!(shash(bench, "cmac(aes)", &key, &data, 16), hex("dfa66747de9ae63030ca32611497c827"));
            assert_eq!(ahash(bench, "cmac(aes)", &key, &data, 16, &[1, 33]), hex("dfa66747de9ae63030ca32611497c827"));
            let key: Vec<u8> = (0..16).collect();
            let data: Vec<u8> = (0..20).collect();
            assert_eq!(shash(bench, "xcbc(aes)", &key, &data[..16], 16), hex("d2a246fa349b68a79998a4394ff7a263"));
            assert_eq!(shash(bench, "xcbc(aes)", &key, &data, 16), hex("47f51b4564966215b8985c63055ed308"));
        });
    }
}

/// RFC 8439, 2.5.2: the one-time key is the start of the message, as the hash `poly1305` takes it.
#[test]
fn poly1305() {
    let key = hex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b");
    let message = [&key[..], b"Cryptographic Forum Research Group"].concat();
    for module in ["poly1305_generic", "poly1305_x86_64"] {
        each(&[module], |bench| {
            assert_eq!(shash(bench, "poly1305", &[], &message, 16), hex("a8061dc1305136c6c22b8baf0c0127a9"));
        });
    }
}

/// Implementations for different processors agree with the one for all.
#[test]
fn implementations_agree() {
    for (name, key, size, modules) in [
        ("crc32c", 0, 4, &["crc32c_generic", "crc32c_intel"][..]),
        ("crc32", 0, 4, &["crc32_generic", "crc32_pclmul"]),
        ("crct10dif", 0, 2, &["crct10dif_generic", "crct10dif_pclmul"]),
        ("ghash", 16, 16, &["ghash_generic", "ghash_clmulni_intel"]),
        ("nhpoly1305", 1088, 16, &["nhpoly1305", "nhpoly1305_sse2", "nhpoly1305_avx2"]),
    ] {
        let data = noise(4097, 3);
        let seen = std::cell::RefCell::new(Vec::new());
        for module in modules {
            each(&[module], |bench| {
                let key = noise(key, 4);
                let whole = shash(bench, name, &key, &data, size);
                if name != "ghash" || !bench.modules().iter().any(|module| module == "ghash_clmulni_intel") {
                    assert_eq!(ahash(bench, name, &key, &data, size, &[3, 100, 2000]), whole, "{name}");
                }
                seen.borrow_mut().push(whole);
            });
        }
        let seen = seen.into_inner();
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{name}: {seen:x?}");
    }
    // The checks of RFC 3720, B.4 and of PKZIP.
    each(&["crc32c_generic"], |bench| {
        assert_eq!(shash(bench, "crc32c", &[], &[0; 32], 4), hex("aa36918a"));
    });
}

#[test]
fn other_hashes() {
    each(&["xxhash_generic", "michael_mic", "vmac"], |bench| {
        // xxHash's specification: the hash of nothing with seed 0.
        assert_eq!(shash(bench, "xxhash64", &[0; 8], b"", 8), 0xef46_db37_51d8_e999u64.to_le_bytes());
        // IEEE 802.11i, H.4.1: Michael of nothing under a key of zeros.
        assert_eq!(shash(bench, "michael_mic", &[0; 8], b"", 8), hex("82925c1ca1d130b8"));
    });
}
