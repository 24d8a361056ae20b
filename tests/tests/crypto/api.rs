//! The API itself: priorities, references, spawns, and what happens when an algorithm goes.

use ferrmod_machine::Argument::{In, Value};

use crate::bench::{Bench, each, noise};
use crate::modes;

fn name_of(bench: &mut Bench, name: &str) -> String {
    let cipher = bench.open("skcipher", name).unwrap();
    let driver = bench.driver("skcipher", cipher);
    bench.free("skcipher", cipher);
    driver
}

/// A name stands for the best algorithm, a driver's name for that one, and both after a better one has come and gone.
#[test]
fn the_best_algorithm_is_used() {
    each(&["ecb", "serpent_generic"], |bench| {
        assert_eq!(name_of(bench, "ecb(serpent)"), "ecb(serpent-generic)");
        bench.load("serpent_sse2_x86_64");
        assert!(name_of(bench, "ecb(serpent)").starts_with("ecb-serpent-sse2"));
        assert_eq!(name_of(bench, "ecb(serpent-generic)"), "ecb(serpent-generic)");
        assert_eq!(bench.unload("serpent_sse2_x86_64"), 0);
        assert_eq!(name_of(bench, "ecb(serpent)"), "ecb(serpent-generic)");
    });
}

/// A transform keeps the modules it runs in, through every template.
#[test]
fn what_is_in_use_stays() {
    each(&["fcrypt", "ctr"], |bench| {
        // 6.12 has `ctr` built in.
        let modules: Vec<String> = bench.modules();
        let cipher = modes::open(bench, "ctr(fcrypt)", &noise(8, 1));
        for module in &modules {
            // EWOULDBLOCK is what `delete_module` answers for a module in use.
            assert_eq!(bench.unload(module), 11, "{module}");
        }
        let (answer, output, _) = modes::crypt(bench, cipher, true, &noise(8, 2), &noise(64, 3), &[]);
        assert_eq!(answer, 0);
        assert_ne!(output, noise(64, 3));
        bench.free("skcipher", cipher);
        // The instance stays without holding anybody; unloading the cipher takes it out.
        for module in &modules {
            assert_eq!(bench.unload(module), 0, "{module}");
        }
    });
}

/// An instance whose cipher went is made again when the cipher is back.
#[test]
fn an_instance_goes_with_its_algorithm() {
    each(&["serpent_generic"], |bench| {
        for _ in 0..3 {
            assert_eq!(name_of(bench, "cbc(serpent)"), "cbc(serpent-generic)");
            assert_eq!(bench.unload("serpent_generic"), 0);
            bench.load("serpent_generic");
        }
    });
}

/// `crypto_has_alg` and the search by type and mask.
#[test]
fn searching() {
    each(&["md4"], |bench| {
        let mut has = |name: &str, kind: u64, mask: u64| {
            let text = [name.as_bytes(), b"\0"].concat();
            bench.call("crypto_has_alg", &[In(text), Value(kind), Value(mask)])
        };
        assert_eq!(has("md4", 0, 0), 1);
        assert_eq!(has("md4-generic", 0, 0), 1);
        // `CRYPTO_ALG_TYPE_SHASH` and `CRYPTO_ALG_TYPE_CIPHER` under `CRYPTO_ALG_TYPE_MASK`.
        assert_eq!(has("md4", 0xe, 0xf), 1);
        assert_eq!(has("md4", 1, 0xf), 0);
        assert_eq!(has("md-no-such", 0, 0), 0);
        // `CRYPTO_ALG_ASYNC` must not be set: it is not.
        assert_eq!(has("md4", 0, 0x80), 1);
        assert_eq!(has("md4", 0x80, 0x80), 0);
    });
}

/// A name that no module here has is asked of modprobe, and found.
#[test]
fn modules_are_asked_for() {
    each(&[], |bench| {
        assert!(!bench.modules().iter().any(|module| module == "twofish_generic"));
        let cipher = bench.open("skcipher", "ctr(twofish)").unwrap();
        assert!(bench.modules().iter().any(|module| module == "twofish_generic"));
        bench.free("skcipher", cipher);
    });
}

/// Requests through `cryptd` are over later.
#[test]
fn cryptd() {
    each(&["cryptd", "serpent_generic", "ecb"], |bench| {
        let direct = modes::open(bench, "ecb(serpent)", &noise(32, 1));
        // `cryptd` gives its instances the name of what they wrap; only the driver's name tells them apart.
        let queued = modes::open(bench, "cryptd(ecb(serpent-generic))", &noise(32, 1));
        let data = noise(256, 2);
        let (answer, wanted, _) = modes::crypt(bench, direct, true, &[], &data, &[]);
        assert_eq!(answer, 0);
        let (answer, output, _) = modes::crypt(bench, queued, true, &[], &data, &[100]);
        assert_eq!((answer, output), (0, wanted));
        bench.free("skcipher", queued);
        bench.free("skcipher", direct);
    });
}

/// `/proc/crypto` lists what there is, as Linux lays it out.
#[test]
fn proc_crypto() {
    each(&["md4", "xts"], |bench| {
        let text = bench.file("/proc/crypto");
        let md4 = "name         : md4\ndriver       : md4-generic\nmodule       : md4\npriority     : 0\nrefcnt       : 1\n\
                   selftest     : passed\ninternal     : no\ntype         : shash\nblocksize    : 64\ndigestsize   : 16\n\n";
        assert!(text.starts_with(md4), "{text}");
        let aes = "name         : aes\ndriver       : aes-generic\nmodule       : kernel\npriority     : 100\nrefcnt       : 1\n\
                   selftest     : passed\ninternal     : no\ntype         : cipher\nblocksize    : 16\nmin keysize  : 16\n\
                   max keysize  : 32\n\n";
        assert!(text.contains(aes), "{text}");
        let cipher = modes::open(bench, "cbc(aes)", &noise(16, 1));
        let text = bench.file("/proc/crypto");
        assert!(text.starts_with("name         : cbc(aes)\ndriver       : cbc(aes-generic)\n"), "{text}");
        bench.free("skcipher", cipher);
    });
}
