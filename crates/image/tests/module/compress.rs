//! Unpacking what other encoders packed, in every shape that the formats allow.

use ferrmod_image::compress::{Compression, DecompressError, Problem, decompress, detect};

/// Something that compresses, and does not fit into one block of any format.
fn content(size: usize) -> Vec<u8> {
    let mut number = 1u32;
    (0..size)
        .map(|index| {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if index % 3 == 0 { (number >> 24) as u8 } else { (index / 100) as u8 }
        })
        .collect()
}

fn gzip(content: &[u8], flags: u8, fields: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3];
    file.extend(fields);
    if flags & 2 != 0 {
        let sum = crc32fast::hash(&file) as u16;
        file.extend(sum.to_le_bytes());
    }
    file.extend(miniz_oxide::deflate::compress_to_vec(content, 6));
    file.extend(crc32fast::hash(content).to_le_bytes());
    file.extend((content.len() as u32).to_le_bytes());
    file
}

fn xz(content: &[u8]) -> Vec<u8> {
    use lzma_rust2::{Write, XzOptions, XzWriter};
    let mut packed = Sink(Vec::new());
    let mut writer = XzWriter::new(&mut packed, XzOptions::with_preset(3)).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap();
    packed.0
}

/// `lzma_rust2` without std writes into this.
struct Sink(Vec<u8>);

impl lzma_rust2::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> lzma_rust2::Result<usize> {
        self.0.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> lzma_rust2::Result<()> {
        Ok(())
    }
}

fn zstd(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

fn lz4(content: &[u8]) -> Vec<u8> {
    let mut file = vec![0x02, 0x21, 0x4c, 0x18];
    for block in content.chunks(8 << 20) {
        let packed = lz4_flex::block::compress(block);
        file.extend((packed.len() as u32).to_le_bytes());
        file.extend(packed);
    }
    file
}

/// Every format, with its packed form of `content`.
fn packed(content: &[u8]) -> [(Compression, Vec<u8>); 4] {
    [
        (Compression::Gzip, gzip(content, 0, &[])),
        (Compression::Xz, xz(content)),
        (Compression::Zstd, zstd(content)),
        (Compression::Lz4, lz4(content)),
    ]
}

fn problem(file: &[u8], limit: usize) -> Problem {
    decompress(file, limit).expect_err("this file is broken").problem
}

#[test]
fn what_was_packed_is_unpacked() {
    for size in [0, 1, 100, 65_536, 300_000] {
        let content = content(size);
        for (format, file) in packed(&content) {
            assert_eq!(detect(&file), format);
            assert_eq!(decompress(&file, 1 << 24).unwrap(), content, "{format}, {size} bytes");
        }
    }
}

#[test]
fn the_limit_is_exact() {
    for size in [1, 1000, 300_000] {
        let content = content(size);
        for (format, file) in packed(&content) {
            assert_eq!(decompress(&file, size).unwrap(), content, "{format}");
            assert_eq!(problem(&file, size - 1), Problem::Limit { limit: size - 1 }, "{format}, {size} bytes");
        }
    }
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let content = vec![0; 50 << 20];
    for (format, file) in packed(&content) {
        assert!(file.len() < content.len() / 100);
        assert_eq!(problem(&file, 1 << 20), Problem::Limit { limit: 1 << 20 }, "{format}");
    }
}

#[test]
fn several_files_in_a_row_are_one() {
    let (first, second) = (content(70_000), content(10));
    let whole = [&first[..], &second].concat();
    for ((format, one), (_, two)) in packed(&first).into_iter().zip(packed(&second)) {
        let file = [&one[..], &two].concat();
        assert_eq!(decompress(&file, 1 << 20).unwrap(), whole, "{format}");
    }
}

#[test]
fn a_file_that_ends_too_early_is_told_from_a_damaged_one() {
    let content = content(50_000);
    for (format, file) in packed(&content) {
        // LZ4 frames have no end: what is cut between two blocks is a frame as well.
        for cut in [file.len() - 1, file.len() / 2, 7] {
            let error = decompress(&file[..cut], 1 << 20).expect_err("this file is cut");
            assert_eq!((error.format, error.problem), (format, Problem::Truncated), "{cut} of {}", file.len());
        }
    }
}

#[test]
fn a_changed_byte_is_noticed() {
    let content = content(50_000);
    for (format, file) in packed(&content) {
        if format == Compression::Lz4 {
            continue; // It has no check sum.
        }
        for place in (12..file.len()).step_by(file.len() / 50) {
            let mut file = file.clone();
            file[place] ^= 0x10;
            let error: DecompressError = decompress(&file, 1 << 20).expect_err("this file is damaged");
            assert!(error.to_string().starts_with(&format!("{format}: ")), "{error}");
        }
    }
}

#[test]
fn what_follows_is_refused() {
    for (format, mut file) in packed(&content(1000)) {
        file.extend(b"more");
        let expected =
            if format == Compression::Lz4 { Problem::Damaged { what: "size of a block" } } else { Problem::Trailing };
        assert_eq!(problem(&file, 1 << 20), expected, "{format}");
    }
}

#[test]
fn gzip_headers_are_read_in_full() {
    let content = content(1000);
    let fields = b"\x05\0extraname.ko\0a comment\0";
    let whole = gzip(&content, 2 | 4 | 8 | 16, fields);
    assert_eq!(decompress(&whole, 1 << 20).unwrap(), content);
    for cut in 2..10 + fields.len() + 2 {
        assert_eq!(problem(&whole[..cut], 1 << 20), Problem::Truncated);
    }
    let mut header = whole.clone();
    header[20] ^= 1;
    assert!(matches!(problem(&header, 1 << 20), Problem::CheckSum { what: "check sum of the header", .. }));
    let mut method = whole.clone();
    method[2] = 7;
    assert!(matches!(problem(&method, 1 << 20), Problem::Unsupported { .. }));
    assert!(matches!(problem(&gzip(&content, 0x20, &[]), 1 << 20), Problem::Unsupported { .. }));

    let mut sum = gzip(&content, 0, &[]);
    let at = sum.len() - 8;
    sum[at] ^= 1;
    assert!(matches!(problem(&sum, 1 << 20), Problem::CheckSum { what: "check sum", .. }));
    let mut length = gzip(&content, 0, &[]);
    let at = length.len() - 1;
    length[at] ^= 1;
    assert!(matches!(problem(&length, 1 << 20), Problem::CheckSum { what: "length", .. }));
}

#[test]
fn padding_after_a_file_is_no_data() {
    let content = content(1000);
    let [(_, mut gzip), (_, xz), ..] = packed(&content);
    gzip.extend([0; 7]);
    assert_eq!(decompress(&gzip, 1 << 20).unwrap(), content);
    assert_eq!(decompress(&[&xz[..], &[0; 8]].concat(), 1 << 20).unwrap(), content);
    assert_eq!(problem(&[&xz[..], &[0; 7]].concat(), 1 << 20), Problem::Trailing);
}

#[test]
fn skippable_zstd_frames_are_skipped() {
    let content = content(1000);
    let skippable = b"\x53\x2a\x4d\x18\x03\0\0\0abc";
    let file = [&zstd(&content)[..], skippable].concat();
    assert_eq!(decompress(&file, 1 << 20).unwrap(), content);
    assert_eq!(problem(&file[..file.len() - 1], 1 << 20), Problem::Truncated);
}

#[test]
fn bytes_of_no_format_are_handed_back() {
    let bytes = [b"\x7fELF and so on".repeat(10)].concat();
    assert!(matches!(decompress(&bytes, 3).unwrap(), std::borrow::Cow::Borrowed(same) if same == bytes));
    assert_eq!(decompress(b"", 0).unwrap().len(), 0);
}
