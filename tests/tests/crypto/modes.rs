//! Symmetric ciphers in modes: `crypto_skcipher`.

use cipher::generic_array::GenericArray;
use cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use ferrmod_machine::Argument::{In, Value};

use crate::bench::{Bench, cut, each, hex, noise};

/// Encrypts or decrypts `input`, cut at `places`, and gives the output and the IV after it.
pub(crate) fn crypt(
    bench: &mut Bench,
    cipher: u64,
    encrypt: bool,
    iv: &[u8],
    input: &[u8],
    places: &[usize],
) -> (i32, Vec<u8>, Vec<u8>) {
    let tfm = cipher + bench.offset("crypto_skcipher", "base");
    let context = bench.small(cipher + bench.offset("crypto_skcipher", "reqsize"));
    let size = bench.size("skcipher_request") + u64::from(context);
    let request = bench.object(&vec![0; size as usize]);
    let base = request + bench.offset("skcipher_request", "base");
    let wait = bench.prepare(base, tfm);
    let pieces = cut(input, places);
    let (list, at) = bench.list(&pieces);
    let vector = bench.object(iv);
    bench.put(request, "skcipher_request", "src", list, 8);
    bench.put(request, "skcipher_request", "dst", list, 8);
    bench.put(request, "skcipher_request", "cryptlen", input.len() as u64, 4);
    bench.put(request, "skcipher_request", "iv", vector, 8);
    let name = if encrypt { "crypto_skcipher_encrypt" } else { "crypto_skcipher_decrypt" };
    let answer = bench.call(name, &[Value(request)]);
    let answer = bench.finish(answer, wait);
    (answer, bench.gather(&at, &pieces), bench.peek(vector, iv.len()))
}

/// A cipher with its key.
pub(crate) fn open(bench: &mut Bench, name: &str, key: &[u8]) -> u64 {
    let cipher = bench.open("skcipher", name).unwrap_or_else(|error| panic!("{name}: error {error}"));
    let set = bench.call("crypto_skcipher_setkey", &[Value(cipher), In(key.to_vec()), Value(key.len() as u64)]);
    assert_eq!(set, 0, "{name}: setkey");
    cipher
}

/// What a mode should give: key, IV, input.
type Expected = dyn Fn(&[u8], &[u8], &[u8]) -> Vec<u8>;

/// Checks a cipher with data in one piece and in awkward ones, there and back.
fn check(modules: &[&str], name: &str, driver: &str, key: usize, iv: usize, lengths: &[usize], expected: &Expected) {
    each(modules, |bench| {
        let (key, iv) = (noise(key, 1), noise(iv, 2));
        let cipher = open(bench, name, &key);
        let used = bench.driver("skcipher", cipher);
        assert!(used.contains(driver), "{name} is {used}");
        for &length in lengths {
            let data = noise(length, 3);
            let wanted = expected(&key, &iv, &data);
            for places in [&[][..], &[1, 17, 20, 63], &[16, 32, 33, 4000]] {
                let (answer, output, _) = crypt(bench, cipher, true, &iv, &data, places);
                assert_eq!(answer, 0, "{name} of {length} bytes cut at {places:?}");
                assert_eq!(output, wanted, "{name} of {length} bytes cut at {places:?}");
                let (answer, output, _) = crypt(bench, cipher, false, &iv, &wanted, places);
                assert_eq!((answer, output), (0, data.clone()), "{name} of {length} bytes cut at {places:?}, back");
            }
        }
        bench.free("skcipher", cipher);
    });
}

fn encrypt_block<C: BlockEncrypt>(cipher: &C, block: &[u8]) -> Vec<u8> {
    let mut block = GenericArray::clone_from_slice(block);
    cipher.encrypt_block(&mut block);
    block.to_vec()
}

fn xor(first: &[u8], second: &[u8]) -> Vec<u8> {
    first.iter().zip(second).map(|(first, second)| first ^ second).collect()
}

fn ecb<C: BlockEncrypt + KeyInit>(key: &[u8], _: &[u8], data: &[u8]) -> Vec<u8> {
    let cipher = C::new_from_slice(key).unwrap();
    data.chunks(C::block_size()).flat_map(|block| encrypt_block(&cipher, block)).collect()
}

fn cbc<C: BlockEncrypt + KeyInit>(key: &[u8], iv: &[u8], data: &[u8]) -> Vec<u8> {
    let cipher = C::new_from_slice(key).unwrap();
    let mut before = iv.to_vec();
    let mut output = Vec::new();
    for block in data.chunks(C::block_size()) {
        before = encrypt_block(&cipher, &xor(&before, block));
        output.extend_from_slice(&before);
    }
    output
}

fn ctr<C: BlockEncrypt + KeyInit>(key: &[u8], iv: &[u8], data: &[u8]) -> Vec<u8> {
    let cipher = C::new_from_slice(key).unwrap();
    let mut counter = iv.to_vec();
    let mut output = Vec::new();
    for block in data.chunks(C::block_size()) {
        output.extend(xor(block, &encrypt_block(&cipher, &counter)));
        for byte in counter.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }
    output
}

fn cfb<C: BlockEncrypt + KeyInit>(key: &[u8], iv: &[u8], data: &[u8]) -> Vec<u8> {
    let cipher = C::new_from_slice(key).unwrap();
    let mut before = iv.to_vec();
    let mut output = Vec::new();
    for block in data.chunks(C::block_size()) {
        let now = xor(block, &encrypt_block(&cipher, &before));
        before = now.clone();
        output.extend(now);
    }
    output
}

fn ofb<C: BlockEncrypt + KeyInit>(key: &[u8], iv: &[u8], data: &[u8]) -> Vec<u8> {
    let cipher = C::new_from_slice(key).unwrap();
    let mut stream = iv.to_vec();
    let mut output = Vec::new();
    for block in data.chunks(C::block_size()) {
        stream = encrypt_block(&cipher, &stream);
        output.extend(xor(block, &stream));
    }
    output
}

/// IEEE 1619, whole blocks.
fn xts<C: BlockEncrypt + KeyInit>(key: &[u8], iv: &[u8], data: &[u8]) -> Vec<u8> {
    let (first, second) = key.split_at(key.len() / 2);
    let (cipher, tweaker) = (C::new_from_slice(first).unwrap(), C::new_from_slice(second).unwrap());
    let mut tweak = u128::from_le_bytes(encrypt_block(&tweaker, iv).try_into().unwrap());
    let mut output = Vec::new();
    for block in data.chunks(16) {
        let turned = encrypt_block(&cipher, &xor(block, &tweak.to_le_bytes()));
        output.extend(xor(&turned, &tweak.to_le_bytes()));
        tweak = (tweak << 1) ^ if tweak >> 127 == 1 { 0x87 } else { 0 };
    }
    output
}

const BLOCKS: [usize; 4] = [16, 64, 4096, 5008];
const BYTES: [usize; 5] = [1, 16, 65, 4096, 5003];

/// `aes_ti` brings `aes-fixed-time`, whose priority is above that of `aes-generic`.
#[test]
fn templates_over_a_cipher_of_a_module() {
    check(&["aes_ti", "ecb"], "ecb(aes)", "ecb(aes-fixed-time)", 32, 0, &BLOCKS, &ecb::<aes::Aes256>);
    check(&["aes_ti", "ctr"], "ctr(aes)", "ctr(aes-fixed-time)", 16, 16, &BYTES, &ctr::<aes::Aes128>);
}

#[test]
fn templates_over_aes_generic() {
    check(&[], "cbc(aes)", "cbc(aes-generic)", 16, 16, &BLOCKS, &cbc::<aes::Aes128>);
    check(&["ctr"], "ctr(aes)", "ctr(aes-generic)", 24, 16, &BYTES, &ctr::<aes::Aes192>);
    // By its driver's name: asking for `aes` itself would bring `aesni_intel`.
    check(&["xts", "ecb"], "xts(ecb(aes-generic))", "xts(ecb(aes-generic))", 64, 16, &BLOCKS, &xts::<aes::Aes256>);
}

/// The modules that 6.12 no longer has.
#[test]
fn feedback_modes() {
    if let Some(mut bench) = Bench::new("6.1", &["cfb", "ofb"]) {
        for (name, expected) in
            [("cfb(aes)", cfb::<aes::Aes256> as fn(&[u8], &[u8], &[u8]) -> Vec<u8>), ("ofb(aes)", ofb::<aes::Aes256>)]
        {
            let (key, iv, data) = (noise(32, 4), noise(16, 5), noise(1003, 6));
            let cipher = open(&mut bench, name, &key);
            let (answer, output, _) = crypt(&mut bench, cipher, true, &iv, &data, &[5, 600]);
            assert_eq!((answer, output), (0, expected(&key, &iv, &data)), "{name}");
            bench.free("skcipher", cipher);
        }
        bench.close();
    }
}

#[test]
fn aesni() {
    if !std::is_x86_feature_detected!("aes") {
        return;
    }
    check(&["aesni_intel"], "ecb(aes)", "ecb-aes-aesni", 32, 0, &BLOCKS, &ecb::<aes::Aes256>);
    check(&["aesni_intel"], "cbc(aes)", "cbc-aes-aesni", 32, 16, &BLOCKS, &cbc::<aes::Aes256>);
    check(&["aesni_intel"], "ctr(aes)", "ctr-aes-", 16, 16, &BYTES, &ctr::<aes::Aes128>);
    check(&["aesni_intel"], "xts(aes)", "xts-aes-", 32, 16, &BLOCKS, &xts::<aes::Aes128>);
}

#[test]
fn serpent() {
    check(
        &["serpent_generic", "ecb"],
        "ecb(serpent)",
        "ecb(serpent-generic)",
        32,
        0,
        &BLOCKS,
        &ecb::<serpent::Serpent>,
    );
    check(&["serpent_sse2_x86_64"], "cbc(serpent)", "cbc-serpent-sse2", 32, 16, &BLOCKS, &cbc::<serpent::Serpent>);
    if std::is_x86_feature_detected!("avx") {
        check(&["serpent_avx_x86_64"], "ecb(serpent)", "ecb-serpent-avx", 32, 0, &BLOCKS, &ecb::<serpent::Serpent>);
    }
    if std::is_x86_feature_detected!("avx2") {
        check(&["serpent_avx2"], "cbc(serpent)", "cbc-serpent-avx2", 32, 16, &BLOCKS, &cbc::<serpent::Serpent>);
    }
}

#[test]
fn twofish() {
    check(
        &["twofish_generic", "ctr"],
        "ctr(twofish)",
        "ctr(twofish-generic)",
        32,
        16,
        &BYTES,
        &ctr::<twofish::Twofish>,
    );
    check(&["twofish_x86_64_3way"], "cbc(twofish)", "cbc-twofish-3way", 32, 16, &BLOCKS, &cbc::<twofish::Twofish>);
    if std::is_x86_feature_detected!("avx") {
        check(&["twofish_avx_x86_64"], "cbc(twofish)", "cbc-twofish-avx", 32, 16, &BLOCKS, &cbc::<twofish::Twofish>);
    }
}

#[test]
fn camellia() {
    check(
        &["camellia_generic"],
        "cbc(camellia)",
        "cbc(camellia-generic)",
        32,
        16,
        &BLOCKS,
        &cbc::<camellia::Camellia256>,
    );
    check(&["camellia_x86_64"], "cbc(camellia)", "cbc-camellia-asm", 32, 16, &BLOCKS, &cbc::<camellia::Camellia256>);
    if std::is_x86_feature_detected!("avx") && std::is_x86_feature_detected!("aes") {
        let driver = "cbc-camellia-aesni";
        check(&["camellia_aesni_avx_x86_64"], "cbc(camellia)", driver, 16, 16, &BLOCKS, &cbc::<camellia::Camellia128>);
    }
    if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("aes") {
        let driver = "ecb-camellia-aesni-avx2";
        check(&["camellia_aesni_avx2"], "ecb(camellia)", driver, 32, 0, &BLOCKS, &ecb::<camellia::Camellia256>);
    }
}

#[test]
fn small_blocks() {
    check(
        &["blowfish_generic"],
        "cbc(blowfish)",
        "cbc(blowfish-generic)",
        16,
        8,
        &[8, 64, 4096],
        &cbc::<blowfish::Blowfish>,
    );
    check(&["blowfish_x86_64"], "cbc(blowfish)", "cbc-blowfish-asm", 16, 8, &[8, 64, 4096], &cbc::<blowfish::Blowfish>);
    check(&["cast5_generic"], "cbc(cast5)", "cbc(cast5-generic)", 16, 8, &[8, 64, 4096], &cbc::<cast5::Cast5>);
    if std::is_x86_feature_detected!("avx") {
        check(&["cast5_avx_x86_64"], "cbc(cast5)", "cbc-cast5-avx", 16, 8, &[8, 64, 4096], &cbc::<cast5::Cast5>);
    }
}

/// RFC 8439, 2.4.2: the counter and the nonce are one IV of 16 bytes.
#[test]
fn chacha20() {
    let key = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let iv = hex("01000000 000000000000004a00000000");
    let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
    let start = hex("6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b");
    for (module, driver) in [("chacha_generic", "chacha20-generic"), ("chacha_x86_64", "chacha20-simd")] {
        each(&[module], |bench| {
            let cipher = open(bench, "chacha20", &key);
            assert_eq!(bench.driver("skcipher", cipher), driver);
            for places in [&[][..], &[3, 64, 70]] {
                let (answer, output, _) = crypt(bench, cipher, true, &iv, plain, places);
                assert_eq!(answer, 0);
                assert_eq!(output[..32], start);
                let (_, back, _) = crypt(bench, cipher, false, &iv, &output, &[]);
                assert_eq!(back, plain);
            }
            bench.free("skcipher", cipher);
        });
    }
}

/// RFC 3686, 6, test vector 2.
#[test]
fn rfc3686() {
    let key = hex("7e24067817fae0d743d6ce1f32539163 006cb6db");
    let wanted = hex("5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28");
    each(&["ctr"], |bench| {
        let cipher = open(bench, "rfc3686(ctr(aes))", &key);
        let plain: Vec<u8> = (0..32).collect();
        let iv = hex("c0543b59da48d90b");
        for places in [&[][..], &[5, 20]] {
            let (answer, output, _) = crypt(bench, cipher, true, &iv, &plain, places);
            assert_eq!((answer, output), (0, wanted.clone()));
        }
        bench.free("skcipher", cipher);
    });
}

/// What has no peer here must at least be its own inverse, the same in one piece and in many, and not the identity.
#[test]
fn there_and_back() {
    for (modules, name, key, iv, lengths) in [
        (&["lrw"][..], "lrw(aes)", 32, 16, &BLOCKS[..]),
        (&["cts"], "cts(cbc(aes))", 16, 16, &[16, 17, 65, 4097]),
        (&["essiv"], "essiv(cbc(aes),sha256)", 32, 16, &BLOCKS),
        (&["pcbc", "fcrypt"], "pcbc(fcrypt)", 8, 8, &[8, 64, 4096]),
        (&["adiantum"], "adiantum(xchacha12,aes)", 32, 32, &[16, 100, 4096]),
        (&["xts", "serpent_generic"], "xts(serpent)", 64, 16, &[16, 17, 4099]),
        (&["chacha_generic"], "xchacha20", 32, 32, &BYTES),
        (&["chacha_generic"], "xchacha12", 32, 32, &BYTES),
        (&["des_generic"], "cbc(des3_ede)", 24, 8, &[8, 64, 4096]),
        (&["des3_ede_x86_64"], "cbc(des3_ede)", 24, 8, &[8, 64, 4096]),
        (&["cast6_generic"], "cbc(cast6)", 32, 16, &BLOCKS),
        (&["ctr"], "rfc3686(ctr(aes))", 20, 8, &BYTES),
        (&["keywrap"], "kw(aes)", 16, 8, &[16, 24, 64]),
    ] {
        each(modules, |bench| {
            // Not every kernel has every one.
            let present = bench.open("skcipher", name);
            let Ok(cipher) = present else {
                assert!(["pcbc(fcrypt)", "kw(aes)"].contains(&name), "{name}: error {present:?}");
                return;
            };
            bench.free("skcipher", cipher);
            let cipher = open(bench, name, &noise(key, 7));
            for &length in lengths {
                let (iv, data) = (noise(iv, 8), noise(length, 9));
                let (answer, whole, after) = crypt(bench, cipher, true, &iv, &data, &[]);
                assert_eq!(answer, 0, "{name} of {length}");
                assert_ne!(whole, data, "{name} of {length}");
                let (answer, pieces, _) = crypt(bench, cipher, true, &iv, &data, &[7, 18, 19, 1000]);
                assert_eq!((answer, &pieces), (0, &whole), "{name} of {length} in pieces");
                // Key wrapping gives the integrity value where the IV was.
                let iv = if name.starts_with("kw") { after } else { iv };
                let (answer, back, _) = crypt(bench, cipher, false, &iv, &whole, &[9, 30]);
                assert_eq!((answer, back), (0, data), "{name} of {length} back");
            }
            bench.free("skcipher", cipher);
        });
    }
}

/// A cipher without a key, and keys and lengths it does not take.
#[test]
fn refusals() {
    each(&[], |bench| {
        let cipher = bench.open("skcipher", "cbc(aes)").unwrap();
        let data = noise(32, 1);
        // ENOKEY
        assert_eq!(crypt(bench, cipher, true, &noise(16, 2), &data, &[]).0, -126);
        // EINVAL
        for length in [0u64, 15, 17, 33] {
            let key = In(noise(length as usize, 3));
            assert_eq!(bench.call("crypto_skcipher_setkey", &[Value(cipher), key, Value(length)]) as i32, -22);
        }
        assert_eq!(bench.call("crypto_skcipher_setkey", &[Value(cipher), In(noise(16, 3)), Value(16)]), 0);
        assert_eq!(crypt(bench, cipher, true, &noise(16, 2), &noise(33, 4), &[]).0, -22);
        bench.free("skcipher", cipher);
        // ENOENT
        for name in ["nothing", "cbc(nothing)", "nothing(aes)", "cbc(aes", "cbc()", "cbc(aes,aes,"] {
            assert_eq!(bench.open("skcipher", name), Err(-2), "{name}");
        }
    });
}

/// A decryption needs the cipher's other direction.
#[test]
fn a_peer_decrypts() {
    each(&["serpent_generic"], |bench| {
        let (key, data) = (noise(32, 1), noise(16, 2));
        let cipher = open(bench, "cbc(serpent)", &key);
        let (answer, output, _) = crypt(bench, cipher, true, &[0; 16], &data, &[]);
        assert_eq!(answer, 0);
        let mut block = GenericArray::clone_from_slice(&output);
        serpent::Serpent::new_from_slice(&key).unwrap().decrypt_block(&mut block);
        assert_eq!(block.to_vec(), data);
        bench.free("skcipher", cipher);
    });
}
