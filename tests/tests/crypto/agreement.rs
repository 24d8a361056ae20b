//! Key agreement and random numbers.

use ferrmod_machine::Argument::{In, Value};

use crate::bench::{Bench, each, hex};

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

/// RFC 7748, 6.1.
#[test]
fn curve25519() {
    let alice = hex("77076d0a7318a57d3c16c17251b26645df4c2f92ebc0992ac177fba51db92c2a") ;
    let bob = hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    let shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    for module in ["curve25519_generic", "curve25519_x86_64"] {
        each(&[module], |bench| {
            if bench.modules().is_empty() {
                // This kernel has none.
                return;
            }
            assert_eq!(kpp(bench, "curve25519", &alice, Some(&bob), 32), shared, "{module}");
            let public = kpp(bench, "curve25519", &alice, None, 32);
            assert_eq!(public, hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
        });
    }
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
