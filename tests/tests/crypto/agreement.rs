//! Key agreement and random numbers.

use ferrmod_machine::Argument::{In, Value};

use crate::bench::{Bench, each, hex, noise};

/// `crypto_kpp`: sets the secret, and gives the public key or what is agreed with another's.
fn kpp(bench: &mut Bench, name: &str, secret: &[u8], other: Option<&[u8]>, size: usize) -> Vec<u8> {
    let kpp = bench.open("kpp", name).unwrap_or_else(|error| panic!("{name}: error {error}"));
    let tfm = kpp + bench.offset("crypto_kpp", "base");
    let alg = bench.number(tfm + bench.offset("crypto_tfm", "__crt_alg")) - bench.offset("kpp_alg", "base");
    let set = bench.number(alg + bench.offset("kpp_alg", "set_secret"));
    assert_eq!(bench.call_at(set, &[Value(kpp), In(secret.to_vec()), Value(secret.len() as u64)]) as i32, 0);
    let context = match bench.member("crypto_kpp", "reqsize") {
        Some(at) => bench.small(kpp + at),
        None => {
            let at = alg + bench.offset("kpp_alg", "reqsize");
            bench.small(at)
        }
    };
    let bytes = bench.size("kpp_request") + u64::from(context) + 64;
    let request = bench.object(&vec![0; bytes as usize]);
    let base = request + bench.offset("kpp_request", "base");
    let wait = bench.prepare(base, tfm);
    let (list, at) = bench.list(&[vec![0; size]]);
    bench.put(request, "kpp_request", "dst", list, 8);
    bench.put(request, "kpp_request", "dst_len", size as u64, 4);
    let member = match other {
        Some(other) => {
            let (list, _) = bench.list(&[other.to_vec()]);
            bench.put(request, "kpp_request", "src", list, 8);
            bench.put(request, "kpp_request", "src_len", other.len() as u64, 4);
            "compute_shared_secret"
        }
        None => "generate_public_key",
    };
    let function = bench.number(alg + bench.offset("kpp_alg", member));
    let answer = bench.call_at(function, &[Value(request)]);
    assert_eq!(bench.finish(answer, wait), 0, "{name}");
    bench.free("kpp", kpp);
    bench.peek(at[0], size)
}

/// RFC 7748, 5.2, the first vector; and two sides agree.
#[test]
fn curve25519() {
    let scalar = hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    let point = hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    let product = hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
    for module in ["curve25519_generic", "curve25519_x86_64"] {
        each(&[module], |bench| {
            if bench.modules().is_empty() {
                // This kernel has none.
                return;
            }
            assert_eq!(kpp(bench, "curve25519", &scalar, Some(&point), 32), product, "{module}");
            let (alice, bob) = (noise(32, 1), noise(32, 2));
            let alices = kpp(bench, "curve25519", &alice, None, 32);
            let bobs = kpp(bench, "curve25519", &bob, None, 32);
            let seen = kpp(bench, "curve25519", &alice, Some(&bobs), 32);
            assert_eq!(seen, kpp(bench, "curve25519", &bob, Some(&alices), 32), "{module}");
            assert_ne!(seen, alices);
        });
    }
}

/// `ecdh-nist-p256`, both sides. The secret is packed as `struct ecdh` is: type, length, key length, key.
#[test]
fn ecdh() {
    each(&["ecdh_generic"], |bench| {
        let secret = |seed| {
            let mut bytes = [hex("0200 2600 2000"), noise(32, seed)].concat();
            // Below the curve's order, whichever end is first.
            bytes[6 + 31] &= 0x7f;
            bytes[6] &= 0x7f;
            bytes
        };
        let (alice, bob) = (secret(3), secret(4));
        let alices = kpp(bench, "ecdh-nist-p256", &alice, None, 64);
        let bobs = kpp(bench, "ecdh-nist-p256", &bob, None, 64);
        let seen = kpp(bench, "ecdh-nist-p256", &alice, Some(&bobs), 32);
        assert_eq!(seen, kpp(bench, "ecdh-nist-p256", &bob, Some(&alices), 32));
        assert_ne!(seen, alices[..32]);
    });
}

/// The generator behind `stdrng` gives bytes, and not the same ones twice.
#[test]
fn random_numbers() {
    each(&["drbg", "jitterentropy_rng", "sha512_generic", "ctr"], |bench| {
        let rng = bench.open("rng", "stdrng").unwrap();
        assert_eq!(bench.call("crypto_rng_reset", &[Value(rng), Value(0), Value(0)]) as i32, 0);
        let tfm = rng + bench.offset("crypto_rng", "base");
        let alg = bench.number(tfm + bench.offset("crypto_tfm", "__crt_alg")) - bench.offset("rng_alg", "base");
        let generate = bench.number(alg + bench.offset("rng_alg", "generate"));
        let out = bench.object(&[0; 64]);
        let mut seen = Vec::new();
        for _ in 0..3 {
            assert_eq!(bench.call_at(generate, &[Value(rng), Value(0), Value(0), Value(out), Value(64)]) as i32, 0);
            seen.push(bench.peek(out, 64));
        }
        assert!(seen[0] != seen[1] && seen[1] != seen[2] && seen[0] != [0; 64]);
        bench.free("rng", rng);
    });
}
