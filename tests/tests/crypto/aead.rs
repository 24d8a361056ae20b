//! Authenticated encryption: `crypto_aead`.

use ferrmod_machine::Argument::{In, Value};

use crate::bench::{Bench, cut, each, hex, noise};

struct Message<'a> {
    iv: &'a [u8],
    associated: &'a [u8],
    text: &'a [u8],
}

/// Encrypts (the output ends with the tag) or decrypts (the input does).
fn crypt(
    bench: &mut Bench,
    aead: u64,
    encrypt: bool,
    tag: usize,
    message: &Message<'_>,
    places: &[usize],
) -> (i32, Vec<u8>) {
    let tfm = aead + bench.offset("crypto_aead", "base");
    let context = bench.small(aead + bench.offset("crypto_aead", "reqsize"));
    let size = bench.size("aead_request") + u64::from(context);
    let request = bench.object(&vec![0; size as usize]);
    let base = request + bench.offset("aead_request", "base");
    let wait = bench.prepare(base, tfm);
    let mut all = [message.associated, message.text].concat();
    if encrypt {
        all.resize(all.len() + tag, 0);
    }
    let pieces = cut(&all, places);
    let (list, at) = bench.list(&pieces);
    let iv = bench.object(message.iv);
    bench.put(request, "aead_request", "src", list, 8);
    bench.put(request, "aead_request", "dst", list, 8);
    bench.put(request, "aead_request", "assoclen", message.associated.len() as u64, 4);
    bench.put(request, "aead_request", "cryptlen", message.text.len() as u64, 4);
    bench.put(request, "aead_request", "iv", iv, 8);
    let name = if encrypt { "crypto_aead_encrypt" } else { "crypto_aead_decrypt" };
    let answer = bench.call(name, &[Value(request)]);
    let answer = bench.finish(answer, wait);
    let mut output = bench.gather(&at, &pieces).split_off(message.associated.len());
    if !encrypt {
        output.truncate(output.len() - tag);
    }
    (answer, output)
}

fn open(bench: &mut Bench, name: &str, key: &[u8], tag: usize) -> u64 {
    let aead = bench.open("aead", name).unwrap_or_else(|error| panic!("{name}: error {error}"));
    assert_eq!(
        bench.call("crypto_aead_setkey", &[Value(aead), In(key.to_vec()), Value(key.len() as u64)]),
        0,
        "{name}"
    );
    assert_eq!(bench.call("crypto_aead_setauthsize", &[Value(aead), Value(tag as u64)]), 0, "{name}");
    aead
}

/// There, back, in pieces, and refused when a bit is wrong.
fn check(bench: &mut Bench, name: &str, key: &[u8], tag: usize, message: &Message<'_>, expected: Option<&[u8]>) {
    let aead = open(bench, name, key, tag);
    let (answer, sealed) = crypt(bench, aead, true, tag, message, &[]);
    assert_eq!(answer, 0, "{name}");
    if let Some(expected) = expected {
        assert_eq!(sealed, expected, "{name}");
    }
    let places = [3, 17, message.associated.len(), message.associated.len() + 9, 300];
    let mut places = places.to_vec();
    places.sort_unstable();
    let (answer, pieces) = crypt(bench, aead, true, tag, message, &places);
    assert_eq!((answer, &pieces), (0, &sealed), "{name} in pieces");
    let (answer, opened) = crypt(bench, aead, false, tag, &Message { text: &sealed, ..*message }, &places);
    assert_eq!((answer, &opened[..]), (0, message.text), "{name} back");
    let mut wrong = sealed;
    *wrong.last_mut().unwrap() ^= 1;
    // EBADMSG
    assert_eq!(crypt(bench, aead, false, tag, &Message { text: &wrong, ..*message }, &[]).0, -74, "{name} forged");
    bench.free("aead", aead);
}

/// The GCM specification's test case 4 (McGrew and Viega, appendix B).
#[test]
fn gcm() {
    let key = hex("feffe9928665731c6d6a8f9467308308");
    let iv = hex("cafebabefacedbaddecaf888");
    let associated = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let text = hex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    );
    let sealed = hex(
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091
         5bc94fbc3221a5db94fae95ae7121a47",
    );
    let message = Message { iv: &iv, associated: &associated, text: &text };
    each(&["gcm", "ghash_generic", "ctr"], |bench| check(bench, "gcm(aes)", &key, 16, &message, Some(&sealed)));
    each(&["gcm", "ghash_clmulni_intel", "ctr"], |bench| check(bench, "gcm(aes)", &key, 16, &message, Some(&sealed)));
    if std::is_x86_feature_detected!("aes") {
        each(&["aesni_intel"], |bench| check(bench, "gcm(aes)", &key, 16, &message, Some(&sealed)));
    }
}

/// RFC 3610, packet vector 1.
#[test]
fn ccm() {
    let key = hex("c0c1c2c3c4c5c6c7c8c9cacbcccdcecf");
    // L - 1, the nonce, and room for the counter.
    let iv = hex("01 00000003020100a0a1a2a3a4a5 0000");
    let associated = hex("0001020304050607");
    let text = hex("08090a0b0c0d0e0f101112131415161718191a1b1c1d1e");
    let sealed = hex("588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0");
    let message = Message { iv: &iv, associated: &associated, text: &text };
    each(&["ccm", "ctr"], |bench| check(bench, "ccm(aes)", &key, 8, &message, Some(&sealed)));
}

/// RFC 8439, 2.8.2.
#[test]
fn chacha20poly1305() {
    let key = hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
    let iv = hex("070000004041424344454647");
    let associated = hex("50515253c0c1c2c3c4c5c6c7");
    let text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
    let sealed = hex(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b6
         7ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116
         1ae10b594f09e26a7e902ecbd0600691",
    );
    let message = Message { iv: &iv, associated: &associated, text };
    for modules in [
        &["chacha20poly1305", "chacha_generic", "poly1305_generic"],
        &["chacha20poly1305", "chacha_x86_64", "poly1305_x86_64"],
    ] {
        each(modules, |bench| check(bench, "rfc7539(chacha20,poly1305)", &key, 16, &message, Some(&sealed)));
    }
}

/// `authenc` takes its two keys in one attribute: length 8, type 1, and the length of the encryption key, big-endian.
#[test]
fn authenc() {
    let key = [hex("0800 0100 00000010"), noise(32, 1), noise(16, 2)].concat();
    let (iv, associated, text) = (noise(16, 3), noise(20, 4), noise(4096, 5));
    let message = Message { iv: &iv, associated: &associated, text: &text };
    for name in ["authenc(hmac(sha256),cbc(aes))", "authencesn(hmac(sha256),cbc(aes))"] {
        each(&["authenc", "authencesn"], |bench| check(bench, name, &key, 16, &message, None));
    }
    if std::is_x86_feature_detected!("aes") {
        let modules = ["authenc", "aesni_intel", "sha256_ssse3"];
        each(&modules, |bench| check(bench, "authenc(hmac(sha256),cbc(aes))", &key, 32, &message, None));
    }
}

/// The AEGIS-128 module's two implementations agree.
#[test]
fn aegis() {
    let (key, iv, associated, text) = (noise(16, 1), noise(16, 2), noise(21, 3), noise(1000, 4));
    let message = Message { iv: &iv, associated: &associated, text: &text };
    let mut seen = Vec::new();
    for module in ["aegis128", "aegis128_aesni"] {
        if module == "aegis128_aesni" && !std::is_x86_feature_detected!("aes") {
            continue;
        }
        let all = std::cell::RefCell::new(&mut seen);
        each(&[module], |bench| {
            check(bench, "aegis128", &key, 16, &message, None);
            let aead = open(bench, "aegis128", &key, 16);
            let (_, sealed) = crypt(bench, aead, true, 16, &message, &[]);
            all.borrow_mut().push(sealed);
            bench.free("aead", aead);
        });
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
}

/// IV generators: `seqiv` puts the IV before the text and needs the default random generator.
#[test]
fn generated_ivs() {
    let key = noise(20, 1);
    // RFC 4106: 8 or 12 bytes, and the IV.
    let (associated, text) = (noise(8, 2), noise(8 + 200, 3));
    each(&["seqiv", "gcm", "ghash_generic", "ctr"], |bench| {
        let aead = open(bench, "seqiv(rfc4106(gcm(aes)))", &key, 16);
        let message = Message { iv: &noise(8, 4), associated: &associated, text: &text };
        let (answer, sealed) = crypt(bench, aead, true, 16, &message, &[]);
        assert_eq!(answer, 0);
        assert_ne!(sealed, text);
        // The IV that was made is part of what is associated.
        let (answer, opened) = crypt(bench, aead, false, 16, &Message { text: &sealed, ..message }, &[]);
        assert_eq!(answer, 0);
        assert_eq!(opened[8..], text[8..]);
        bench.free("aead", aead);
        if bench.modules().iter().any(|module| module == "drbg") {
            // The generator that was made for it stays in use otherwise.
            assert_eq!(bench.call("crypto_del_default_rng", &[]), 0);
        }
    });
}
