//! Unpacking modules, with the fastest decoder there is for each format.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

use ferrmod_image::compress::{Compression, DecompressError, decompress, detect};
use zlib_rs::{Inflate, InflateFlush, Status};

use crate::file::MAX_MODULE;

/// What a module's file holds: `packed` itself when it is not compressed. An [`Unpacker`] does the same for many files.
///
/// # Errors
/// When the bytes are no sound file of the format that they begin as, or when more than [`MAX_MODULE`] bytes would come out.
pub fn unpack(packed: &[u8]) -> Result<Cow<'_, [u8]>, DecompressError> {
    if detect(packed) == Compression::None {
        return Ok(Cow::Borrowed(packed));
    }
    let mut memory = Vec::new();
    Unpacker::default().unpack(packed, &mut memory)?;
    Ok(Cow::Owned(memory))
}

/// Unpacks one module after the other, with decoders that are made once.
#[derive(Default)]
pub struct Unpacker {
    #[cfg(feature = "zstd")]
    zstd: Option<zstd_safe::DCtx<'static>>,
    #[cfg(feature = "liblzma")]
    chunk: Vec<u8>,
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

impl Unpacker {
    /// What `packed` holds: `packed` itself when it is not compressed, else `memory`, whose contents are replaced.
    ///
    /// # Errors
    /// Those of [`unpack`].
    pub fn unpack<'a>(&mut self, packed: &'a [u8], memory: &'a mut Vec<u8>) -> Result<&'a [u8], DecompressError> {
        let quickly = match detect(packed) {
            Compression::Gzip => gzip(packed, memory),
            #[cfg(feature = "zstd")]
            Compression::Zstd => self.zstd(packed, memory),
            #[cfg(feature = "liblzma")]
            Compression::Xz => {
                // Nothing fails to be read from memory.
                xz(&mut { packed }, packed.len(), &mut self.chunk, memory).unwrap_or(false)
            }
            _ => false,
        };
        if quickly {
            return Ok(memory);
        }
        // Everything that is out of the ordinary is left to the reader that knows all of the formats, and says what is wrong.
        match decompress(packed, MAX_MODULE)? {
            Cow::Borrowed(bytes) => Ok(bytes),
            Cow::Owned(bytes) => {
                *memory = bytes;
                Ok(memory)
            }
        }
    }

    /// Unpacks a file of xz into `memory`, whose contents are replaced, without having what is packed in memory, too. `size` is how many
    /// bytes the file has, as far as is known. Whether that worked; when it did not, [`unpack`](Self::unpack) says what is wrong.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn unpack_xz(&mut self, file: &mut impl Read, size: u64, memory: &mut Vec<u8>) -> io::Result<bool> {
        #[cfg(feature = "liblzma")]
        return xz(file, usize::try_from(size).unwrap_or(usize::MAX), &mut self.chunk, memory);
        #[cfg(not(feature = "liblzma"))]
        {
            // There is no decoder that takes it in parts.
            let _ = (file, size, memory);
            Ok(false)
        }
    }

    /// Unpacks one frame whose size is known. Whether that worked.
    #[cfg(feature = "zstd")]
    fn zstd(&mut self, packed: &[u8], memory: &mut Vec<u8>) -> bool {
        let Ok(Some(size)) = zstd_safe::get_frame_content_size(packed) else {
            return false;
        };
        let Ok(size) = usize::try_from(size) else {
            return false;
        };
        // One frame, and no more than a hostile header may ask for.
        let whole = zstd_safe::find_frame_compressed_size(packed).is_ok_and(|length| length == packed.len());
        if !whole || size > MAX_MODULE.min(packed.len().saturating_mul(1 << 12)) {
            return false;
        }
        memory.clear();
        memory.reserve(size);
        let decoder = self.zstd.get_or_insert_with(zstd_safe::DCtx::create);
        decoder.decompress(memory, packed).is_ok_and(|length| length == size)
    }
}

/// How much of a file of xz is in memory before it is unpacked, in bytes.
#[cfg(feature = "liblzma")]
const CHUNK: usize = 64 << 10;

/// Unpacks one stream of xz, as every compressed module is, from a file of `size` bytes that is read through `chunk`. Whether that worked.
#[cfg(feature = "liblzma")]
fn xz(file: &mut impl Read, size: usize, chunk: &mut Vec<u8>, memory: &mut Vec<u8>) -> io::Result<bool> {
    use liblzma::stream::{Action, Status, Stream};
    /// The most that the decoder may take for itself. Modules have dictionaries of 2 MiB.
    const MEMORY: u64 = 64 << 20;
    let Ok(mut stream) = Stream::new_stream_decoder(MEMORY, 0) else {
        return Ok(false);
    };
    memory.clear();
    // Modules shrink to a fourth or fifth. A file may be called longer than it is.
    memory.reserve(size.saturating_mul(5).min(64 << 20));
    let mut unread = true;
    let mut done = 0;
    chunk.clear();
    loop {
        if done == chunk.len() && unread {
            chunk.clear();
            done = 0;
            unread = file.by_ref().take(CHUNK as u64).read_to_end(chunk)? == CHUNK;
        }
        if memory.len() == memory.capacity() {
            if memory.len() >= MAX_MODULE {
                return Ok(false);
            }
            memory.reserve(memory.len().max(4096));
        }
        let before = stream.total_in();
        let action = if unread { Action::Run } else { Action::Finish };
        // Fills the memory that is there, and takes no more.
        let status = stream.process_vec(chunk.get(done..).unwrap_or_default(), memory, action);
        done += usize::try_from(stream.total_in() - before).unwrap_or(usize::MAX);
        match status {
            Ok(Status::Ok) => {}
            // More is another stream, or other data.
            Ok(Status::StreamEnd) => {
                let more = done < chunk.len() || (unread && file.read(&mut [0])? > 0);
                return Ok(!more && memory.len() <= MAX_MODULE);
            }
            // Truncated, damaged, too large, or of a kind that is not known here.
            _ => return Ok(false),
        }
    }
}

/// Unpacks one member of gzip, as every compressed module is. Whether that worked.
fn gzip(packed: &[u8], memory: &mut Vec<u8>) -> bool {
    // RFC 1952: the size is the last word of a member.
    let Some(size) = packed.last_chunk::<4>().map(|&size| u32::from_le_bytes(size) as usize) else {
        return false;
    };
    // Deflate makes at most 1,032 bytes of one.
    if size == 0 || size > MAX_MODULE.min(packed.len().saturating_mul(1032)) {
        return false;
    }
    if memory.capacity() < size {
        // The system's memory is zeros already.
        *memory = vec![0; size];
    } else {
        memory.resize(size, 0);
    }
    // 16 more than the logarithm of the window's size: a header of gzip is wanted, and its check sums.
    let mut inflate = Inflate::new(true, 16 + 15);
    let done = inflate.decompress(packed, memory, InflateFlush::Finish);
    // Less than all of both is another member, or other data.
    let whole = inflate.total_in() == packed.len() as u64 && inflate.total_out() == size as u64;
    matches!(done, Ok(Status::StreamEnd)) && whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_compressed_is_handed_back() {
        let mut memory = vec![1, 2, 3];
        assert_eq!(Unpacker::default().unpack(b"\x7fELF", &mut memory), Ok(&b"\x7fELF"[..]));
        assert_eq!(memory, [1, 2, 3]);
        assert_eq!(unpack(b""), Ok(Cow::Borrowed(&b""[..])));
    }

    #[test]
    fn one_decoder_unpacks_one_file_after_the_other() {
        // A frame of one raw block with its size told, the same without a size, a member of gzip with a stored block.
        let told = b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello";
        let untold = b"\x28\xb5\x2f\xfd\x00\x00\x29\x00\x00hello";
        let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01\x05\0\xfa\xffhello\x86\xa6\x10\x36\x05\0\0\0";
        let mut unpacker = Unpacker::default();
        let mut memory = Vec::new();
        for packed in [&told[..], gzip, untold, gzip, told] {
            assert_eq!(unpacker.unpack(packed, &mut memory), Ok(&b"hello"[..]));
            assert_eq!(unpack(packed), Ok(Cow::Borrowed(&b"hello"[..])));
            let cut = packed.get(..packed.len() - 1).unwrap_or_default();
            assert!(unpacker.unpack(cut, &mut memory).is_err());
        }
    }

    #[cfg(feature = "liblzma")]
    #[test]
    fn xz_is_unpacked_as_it_is_read() {
        // Longer than a chunk, packed.
        let mut state = 1u64;
        let plain: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(3 * CHUNK)
        .collect();
        let packed = liblzma::encode_all(&plain[..], 0).unwrap();
        assert!(packed.len() > 2 * CHUNK);
        let mut unpacker = Unpacker::default();
        let mut memory = Vec::new();
        // Whatever is believed of its size.
        for size in [0, packed.len() as u64, u64::MAX] {
            assert!(unpacker.unpack_xz(&mut &packed[..], size, &mut memory).unwrap());
            assert_eq!(memory, plain);
        }
        assert_eq!(unpacker.unpack(&packed, &mut memory), Ok(&plain[..]));
        for length in [0, 1, 6, 12, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, packed.len() - 1] {
            assert!(!unpacker.unpack_xz(&mut packed.get(..length).unwrap(), 0, &mut memory).unwrap(), "{length}");
        }
        let longer = [&packed[..], b"x"].concat();
        assert!(!unpacker.unpack_xz(&mut &longer[..], 0, &mut memory).unwrap());
        assert!(!unpacker.unpack_xz(&mut &b"\x7fELF"[..], 4, &mut memory).unwrap());
    }
}
