//! Asks an image everything that it can be asked.

use ferrmod_image::{Description, Image};

/// Reads `file` and asks everything; the answer of reading is handed back.
pub(crate) fn everything(file: &[u8]) -> Result<Description, ferrmod_image::ReadError> {
    let image = Image::read(file)?;
    let mut sum = 0u64;
    for (target, relocations) in image.relocations() {
        sum = sum.wrapping_add((target + relocations.len()) as u64);
    }
    for index in 0..image.sections().len() {
        for pointer in image.pointers(index).take(64) {
            sum = sum.wrapping_add(image.target(&pointer).map_or(0, |(_, offset)| offset));
            sum = sum.wrapping_add(image.target_string(&pointer).map_or(0, |string| string.len() as u64));
        }
    }
    if let Some(versions) = image.versions() {
        let mut cursor = versions.cursor();
        for import in image.imports().take(64) {
            assert_eq!(cursor.get(import.name), versions.get(import.name));
        }
        sum = sum.wrapping_add(versions.iter().map(|(_, crc)| u64::from(crc)).fold(0, u64::wrapping_add));
    }
    for softdep in image.softdeps() {
        sum = sum.wrapping_add(softdep.name.len() as u64);
    }
    sum = sum.wrapping_add(image.printed_name().to_string().len() as u64);
    std::hint::black_box(sum);
    Ok(image.describe())
}
