//! Reading and writing a module's memory, as the text functions need it.

use alloc::vec::Vec;

use crate::platform::Fault;

/// Memory that can be read by address.
pub trait Memory {
    /// Reads `into.len()` bytes at `address`.
    ///
    /// # Errors
    /// [`Fault`] when any of them cannot be read.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault>;

    /// The string at `address`: up to its NUL, which is not part of it, and at most `most` bytes.
    ///
    /// # Errors
    /// [`Fault`] when it runs into unreadable memory before it ends.
    fn c_string(&self, address: u64, most: usize) -> Result<Vec<u8>, Fault> {
        // Pieces end at multiples of 64, so none reaches into a page that the string does not.
        const PIECE: usize = 64;
        let mut string = Vec::new();
        let mut at = address;
        while string.len() < most {
            let room = PIECE - (at % PIECE as u64) as usize;
            let mut piece = [0; PIECE];
            let piece = &mut piece[..room.min(most - string.len())];
            self.read(at, piece)?;
            if let Some(end) = piece.iter().position(|&byte| byte == 0) {
                string.extend_from_slice(&piece[..end]);
                break;
            }
            string.extend_from_slice(piece);
            at = at.wrapping_add(piece.len() as u64);
        }
        Ok(string)
    }
}

/// Memory that can be written by address.
pub trait MemoryMut: Memory {
    /// Writes `bytes` at `address`.
    ///
    /// # Errors
    /// [`Fault`] when any of them cannot be written.
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault>;
}

/// Reads an array of bytes.
pub(crate) fn array<const N: usize, M: Memory + ?Sized>(memory: &M, address: u64) -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    memory.read(address, &mut bytes)?;
    Ok(bytes)
}

/// Reads a little-endian 64-bit word.
pub(crate) fn word<M: Memory + ?Sized>(memory: &M, address: u64) -> Result<u64, Fault> {
    array(memory, address).map(u64::from_le_bytes)
}

/// Memory for tests: a few pieces at fixed addresses.
#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use core::cell::RefCell;

    #[derive(Default)]
    pub(crate) struct Pieces {
        pieces: RefCell<Vec<(u64, Vec<u8>)>>,
    }

    impl Pieces {
        /// Puts bytes somewhere and says where. The byte after the last is unreadable.
        pub(crate) fn put(&self, bytes: &[u8]) -> u64 {
            let mut pieces = self.pieces.borrow_mut();
            let address = 0xffff_8880_0001_0000 + 0x10_0000 * pieces.len() as u64;
            pieces.push((address, bytes.to_vec()));
            address
        }

        pub(crate) fn put_string(&self, text: &str) -> u64 {
            // Room to the next multiple of 64, as in a page.
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize((text.len() / 64 + 1) * 64, 0);
            self.put(&bytes)
        }

        pub(crate) fn get(&self, address: u64, length: usize) -> Vec<u8> {
            let mut bytes = alloc::vec![0; length];
            self.read(address, &mut bytes).unwrap();
            bytes
        }

        fn with(&self, address: u64, length: usize, then: impl FnOnce(&mut [u8])) -> Result<(), Fault> {
            for (start, bytes) in self.pieces.borrow_mut().iter_mut() {
                let offset = address.wrapping_sub(*start);
                if let Some(part) = usize::try_from(offset)
                    .ok()
                    .filter(|offset| *offset < 0x10_0000)
                    .and_then(|offset| bytes.get_mut(offset..offset.checked_add(length)?))
                {
                    then(part);
                    return Ok(());
                }
            }
            Err(Fault { address, length: length as u64 })
        }
    }

    impl Memory for Pieces {
        fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
            let length = into.len();
            self.with(address, length, |part| into.copy_from_slice(part))
        }
    }

    impl MemoryMut for Pieces {
        fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
            self.with(address, bytes.len(), |part| part.copy_from_slice(bytes))
        }
    }

    #[test]
    fn strings() {
        let memory = Pieces::default();
        let short = memory.put_string("hello");
        assert_eq!(memory.c_string(short, 100).unwrap(), b"hello");
        assert_eq!(memory.c_string(short, 3).unwrap(), b"hel");
        assert_eq!(memory.c_string(short, 0).unwrap(), b"");
        let open = memory.put(&[b'x'; 64]);
        assert!(memory.c_string(open, 100).is_err());
        assert_eq!(memory.c_string(open, 64).unwrap().len(), 64);
        let long = memory.put_string(&"y".repeat(1000));
        assert_eq!(memory.c_string(long + 1, usize::MAX).unwrap().len(), 999);
        assert!(memory.c_string(u64::MAX - 3, 100).is_err());
    }
}
