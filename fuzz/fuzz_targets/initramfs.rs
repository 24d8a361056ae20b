//! An initramfs: whatever the bytes are, nothing panics, no more is unpacked than is allowed, and what was read once is read the
//! same again.
#![no_main]

use ferrmod_image::compress::Compression;
use ferrmod_image::initramfs::Initramfs;
use libfuzzer_sys::fuzz_target;

/// The most that may be unpacked.
const LIMIT: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let read = match Initramfs::read(bytes, LIMIT) {
        Ok(read) => read,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(!read.parts().is_empty());
    let mut size = 0;
    for entry in read.files() {
        size += entry.contents.len();
    }
    assert!(size <= LIMIT + bytes.len());
    // What is not compressed can be read by itself, and has the same files.
    for part in read.parts().iter().filter(|part| part.compression == Compression::None) {
        let alone = Initramfs::read(&bytes[part.offset..], LIMIT).expect("it was read before");
        assert!(part.files().eq(alone.files().take(part.files().count())));
    }
});
