//! All signatures of Debian's 6.1 kernel, here and by OpenSSL's `CMS_verify` in process, in two threads each.
//!
//! `FERRMOD_CORPUS=… cargo bench -p ferrmod-signature`; OpenSSL's part is compiled with `cc -lcrypto` when that works. Both read the
//! files; the first round warms the page cache and does not count.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ferrmod_image::compress::decompress;
use ferrmod_image::kernel::KernelImage;
use ferrmod_signature::{Key, Keyring, RsaKey, verify};
use ferrmod_tests::corpus::{self, Tree};

const THREADS: usize = 2;
const ROUNDS: usize = 7;

fn ours(files: &[PathBuf], keyring: &Keyring) -> (usize, Duration) {
    let (next, good) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if verify(&fs::read(path).unwrap(), keyring).is_ok() {
                        good.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    (good.into_inner(), begin.elapsed())
}

fn theirs(program: &Path, certificate: &Path, list: &str, threads: usize) -> (usize, Duration) {
    let mut child = Command::new(program)
        .arg(certificate)
        .arg(threads.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (good, seconds) = text.trim().split_once(' ').unwrap();
    (good.parse().unwrap(), Duration::from_secs_f64(seconds.parse().unwrap()))
}

fn keyring(tree: &Tree) -> Keyring {
    let image = fs::read(&tree.vmlinuz).unwrap();
    let image = KernelImage::read(&image).unwrap();
    let mut keyring = Keyring::new();
    keyring.add_der(image.certificates(), "vmlinuz").unwrap();
    keyring
}

fn main() {
    let Some(tree) = corpus::tree("6.1") else {
        eprintln!("no corpus: run `cargo xtask corpus`");
        return;
    };
    let keyring = keyring(&tree);
    let files = tree.files();
    let list: String = files.iter().map(|path| format!("{}\n", path.display())).collect();

    let folder = std::env::temp_dir().join(format!("ferrmod-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (program, certificate) = (folder.join("openssl"), folder.join("certificate.der"));
    fs::write(&certificate, keyring.trusted()[0].certificate.der()).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/openssl.c");
    let compiled =
        Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(source).args(["-lcrypto", "-lpthread"]).status();
    let has_openssl = compiled.is_ok_and(|status| status.success());

    if let Key::Rsa(key) = &keyring.trusted()[0].certificate.key {
        let ours = power(key);
        println!("RSA {} alone: {ours:?}", key.bits());
        if has_openssl {
            let (_, time) = theirs(&program, &certificate, "", 0);
            println!("OpenSSL: {time:?}; ratio {:.2}", time.as_secs_f64() / ours.as_secs_f64());
        }
    }

    let (mut best_ours, mut best_theirs) = (Duration::MAX, Duration::MAX);
    for round in 0..=ROUNDS {
        let (good, time) = ours(&files, &keyring);
        assert_eq!(good, files.len());
        if round > 0 {
            best_ours = best_ours.min(time);
        }
        if has_openssl {
            let (good, time) = theirs(&program, &certificate, &list, THREADS);
            assert_eq!(good, files.len());
            if round > 0 {
                best_theirs = best_theirs.min(time);
            }
        }
    }
    fs::remove_dir_all(&folder).unwrap();
    println!("{} modules, {THREADS} threads, best of {ROUNDS}: {best_ours:?}", files.len());
    if has_openssl {
        println!("OpenSSL: {best_theirs:?}; ratio {:.2}", best_theirs.as_secs_f64() / best_ours.as_secs_f64());
    }

    alone("6.1");
    alone("6.12");
}

/// The time of one operation with the key, the best of many short rounds.
fn power(key: &RsaKey) -> Duration {
    const TIMES: u32 = 20;
    let signature = vec![1; key.bytes()];
    let round = |_| {
        let begin = Instant::now();
        for _ in 0..TIMES {
            std::hint::black_box(key.open(std::hint::black_box(&signature))).unwrap();
        }
        begin.elapsed() / TIMES
    };
    (0..200).map(round).min().unwrap_or_default()
}

/// The time of one verification, without threads and files: RSA with 4096 bits in 6.1, ECDSA over P-384 in 6.12.
fn alone(version: &str) {
    const TIMES: u32 = 1000;
    let Some(tree) = corpus::tree(version) else { return };
    let keyring = keyring(&tree);
    let file = fs::read(tree.file("crc7").unwrap()).unwrap();
    let file = decompress(&file, 1 << 24).unwrap();
    let begin = Instant::now();
    for _ in 0..TIMES {
        std::hint::black_box(verify(std::hint::black_box(&file), &keyring)).unwrap();
    }
    let key = &keyring.trusted()[0].certificate.key;
    println!("crc7.ko of {version} alone, {} bytes, {key}: {:?}", file.len(), begin.elapsed() / TIMES);
}
