//! Every module of Debian's kernels is signed by the key in its kernel, and no byte of one can be changed unnoticed.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrmod_image::compress::decompress;
use ferrmod_image::kernel::KernelImage;
use ferrmod_signature::{Keyring, verify};
use ferrmod_tests::corpus::{self, Tree};

fn keyring(tree: &Tree) -> Keyring {
    let image = fs::read(&tree.vmlinuz).unwrap();
    let image = KernelImage::read(&image).unwrap();
    let mut keyring = Keyring::new();
    keyring.add_der(image.certificates(), "vmlinuz").unwrap();
    keyring
}

fn module(path: &std::path::Path) -> Vec<u8> {
    decompress(&fs::read(path).unwrap(), 1 << 30).unwrap().into_owned()
}

/// `body` for each of `items`, on all processors.
fn in_parallel<T: Sync>(items: &[T], body: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    body(item);
                }
            });
        }
    });
}

#[test]
fn every_module_verifies() {
    for (version, least) in [("6.1", 4000), ("6.12", 4200)] {
        let Some(tree) = corpus::tree_or_skip(version) else { continue };
        let keyring = keyring(&tree);
        let files = tree.files();
        assert!(files.len() > least, "{}", files.len());
        in_parallel(&files, |path| match verify(&module(path), &keyring) {
            Ok(signed) => assert!(signed.oddities.is_empty(), "{}: {:?}", path.display(), signed.oddities),
            Err(refusal) => panic!("{}: {refusal}", path.display()),
        });
    }
}

#[test]
fn no_flipped_byte_goes_unnoticed() {
    let Some(tree) = corpus::tree_or_skip("6.1") else { return };
    let keyring = keyring(&tree);
    let files = tree.files();
    let small: Vec<_> =
        files.iter().filter(|path| fs::metadata(path).is_ok_and(|data| data.len() < 64 << 10)).collect();
    let chosen: Vec<_> = small.iter().step_by(small.len() / 200).take(200).collect();
    assert_eq!(chosen.len(), 200);
    let flips = AtomicUsize::new(0);
    in_parallel(&chosen, |path| {
        let mut file = module(path);
        let length = file.len();
        let pkcs7 = length - ferrmod_image::linux::signature_of(&file).unwrap().unwrap().trailer;
        // The ELF header, all of the message but the middle of the signature, structure and marker, and places in between.
        let seed = length.wrapping_mul(0x9e37_79b9);
        let header = 0..64;
        let between = (0..200).map(|n: usize| seed.wrapping_add(n.wrapping_mul(0x85eb_ca6b)) % pkcs7);
        let message = pkcs7..pkcs7 + 200;
        let end = length - 80..length;
        for at in header.chain(between).chain(message).chain(end) {
            let bit = 1 << (at.wrapping_add(seed) % 8);
            for change in [bit, 0xff] {
                file[at] ^= change;
                if let Ok(signed) = verify(&file, &keyring) {
                    assert!(!signed.oddities.is_empty(), "{}: byte {at} ^ {change:#x}", path.display());
                }
                file[at] ^= change;
                flips.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    println!("{} changes", flips.into_inner());
}
