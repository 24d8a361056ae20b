//! Modules: whatever the bytes are, nothing panics, and what is read agrees with itself.
//!
//! Compressed bytes are unpacked first. Good seeds are real modules: `cargo fuzz run image_module fuzz/seeds/image_module
//! $FERRMOD_CORPUS/6.1/lib/modules/*/kernel/lib`.
#![no_main]

use ferrmod_image::Image;
use ferrmod_image::compress::decompress;
use libfuzzer_sys::fuzz_target;

/// The most that a seed unpacks to.
const LIMIT: usize = 1 << 22;

fuzz_target!(|bytes: &[u8]| {
    let Ok(bytes) = decompress(bytes, LIMIT) else {
        return;
    };
    let image = match Image::read(&bytes) {
        Ok(image) => image,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };

    // What having an image promises.
    for symbol in image.symbols() {
        let _ = image.symbol_name(symbol);
    }
    for section in image.sections() {
        assert!(section.data.is_empty() || section.data.len() as u64 == section.size);
        assert!(!section.is_alloc() || section.align == 0 || section.align.is_power_of_two());
    }
    let this_module = image.this_module().expect("every image has one");
    assert_eq!(
        image
            .section(".gnu.linkonce.this_module")
            .map(|(index, _)| index),
        Some(this_module)
    );
    assert!(
        image
            .relocations()
            .all(|(target, _)| target < image.sections().len())
    );

    // A cursor is a search.
    if let Some(versions) = image.versions() {
        let mut cursor = versions.cursor();
        for import in image.imports().take(256) {
            let (by_cursor, by_search) = (cursor.get(import.name), versions.get(import.name));
            assert_eq!(by_cursor.is_some(), by_search.is_some());
        }
    }
    let described = image.describe();
    assert_eq!(described.sections.len() + 1, image.sections().len());
    assert_eq!(described.imports.len(), image.imports().count());
});
