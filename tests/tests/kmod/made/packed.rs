//! Compressed files without a compressor: every format can store bytes as they are.

use crc::{CRC_32_ISO_HDLC, Crc};

const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// RFC 8878: one frame of raw blocks, with or without the size of the content in its header.
pub(crate) fn zstd(content: &[u8], with_size: bool) -> Vec<u8> {
    let mut file = 0xfd2f_b528_u32.to_le_bytes().to_vec();
    if with_size {
        // "Frame_Header_Descriptor": single segment, a size of four bytes.
        file.push(0b1010_0000);
        file.extend((content.len() as u32).to_le_bytes());
    } else {
        // A window of 1 MiB.
        file.extend([0, 10 << 3]);
    }
    let mut chunks = content.chunks(0x1_0000).peekable();
    if content.is_empty() {
        file.extend([1, 0, 0]);
    }
    while let Some(chunk) = chunks.next() {
        let header = (chunk.len() as u32) << 3 | u32::from(chunks.peek().is_none());
        file.extend(&header.to_le_bytes()[..3]);
        file.extend(chunk);
    }
    file
}

/// The .xz file format 1.2: one block, LZMA2 chunks without compression, CRC32 as the check.
pub(crate) fn xz(content: &[u8]) -> Vec<u8> {
    let flags = [0, 1];
    let mut file = b"\xfd7zXZ\0".to_vec();
    file.extend(flags);
    file.extend(CRC32.checksum(&flags).to_le_bytes());

    let block_at = file.len();
    // Size of 12 bytes; one filter, LZMA2 (0x21), with a dictionary of 1 MiB; padding.
    let header = [2, 0, 0x21, 1, 16, 0, 0, 0];
    file.extend(header);
    file.extend(CRC32.checksum(&header).to_le_bytes());
    for (at, chunk) in content.chunks(0x1_0000).enumerate() {
        file.push(if at == 0 { 1 } else { 2 });
        file.extend(((chunk.len() - 1) as u16).to_be_bytes());
        file.extend(chunk);
    }
    file.push(0);
    let unpadded = file.len() - block_at + 4;
    while !(file.len() - block_at).is_multiple_of(4) {
        file.push(0);
    }
    file.extend(CRC32.checksum(content).to_le_bytes());

    let mut index = vec![0, 1];
    variable(&mut index, unpadded);
    variable(&mut index, content.len());
    while !index.len().is_multiple_of(4) {
        index.push(0);
    }
    file.extend(&index);
    file.extend(CRC32.checksum(&index).to_le_bytes());

    let mut footer = ((index.len() / 4) as u32).to_le_bytes().to_vec();
    footer.extend(flags);
    file.extend(CRC32.checksum(&footer).to_le_bytes());
    file.extend(footer);
    file.extend(b"YZ");
    file
}

/// The format's integers: seven bits a byte, the lowest first.
fn variable(into: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}
