//! Variable arguments.

use alloc::boxed::Box;

use super::memory::{self, Memory};
use crate::platform::Fault;

/// The arguments of a C function that takes any number of them.
pub trait Arguments {
    /// The next argument, of `size` bytes; only those bytes of the answer count.
    fn next(&mut self, size: usize) -> u64;

    /// The arguments behind the `va_list` at this address (`%pV` brings its own). The list itself is not advanced.
    fn nested(&self, list: u64) -> Option<Box<dyn Arguments + '_>>;
}

/// A `va_list` of the System V x86-64 ABI, in memory.
///
/// Integers and pointers only: no kernel function takes anything else.
pub struct VaList<'m> {
    memory: &'m dyn Memory,
    /// Offset of the next register in `registers`; 48 when all six are used.
    offset: u32,
    registers: u64,
    overflow: u64,
    address: u64,
}

// System V ABI, AMD64 supplement, "Variable Argument Lists": va_list is
// { unsigned gp_offset, fp_offset; void *overflow_arg_area, *reg_save_area; }.
const REGISTERS_SIZE: u32 = 6 * 8;

impl<'m> VaList<'m> {
    /// Reads the `va_list` at `address`.
    ///
    /// # Errors
    /// [`Fault`] when it cannot be read.
    pub fn open(memory: &'m dyn Memory, address: u64) -> Result<VaList<'m>, Fault> {
        let offsets = memory::word(memory, address)?;
        Ok(VaList {
            memory,
            offset: offsets as u32,
            overflow: memory::word(memory, address.wrapping_add(8))?,
            registers: memory::word(memory, address.wrapping_add(16))?,
            address,
        })
    }

    /// Where the list was opened, and its fields `gp_offset` and `overflow_arg_area` now: what a function that leaves the
    /// caller's `va_list` advanced has to write back.
    pub fn position(&self) -> (u64, u32, u64) {
        (self.address, self.offset, self.overflow)
    }
}

impl core::fmt::Debug for VaList<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("VaList").field("address", &self.address).field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Arguments for VaList<'_> {
    fn next(&mut self, _size: usize) -> u64 {
        let at = if self.offset < REGISTERS_SIZE {
            let at = self.registers.wrapping_add(self.offset.into());
            self.offset += 8;
            at
        } else {
            let at = self.overflow;
            self.overflow = at.wrapping_add(8);
            at
        };
        // A list that ends in unreadable memory has no argument there; 0 is what `%s` shows as (null).
        memory::word(self.memory, at).unwrap_or(0)
    }

    fn nested(&self, list: u64) -> Option<Box<dyn Arguments + '_>> {
        Some(Box::new(VaList::open(self.memory, list).ok()?))
    }
}

/// Arguments given from Rust, as 64-bit words. There are zeros after the last.
#[derive(Clone, Debug)]
pub struct Words<'a>(pub &'a [u64]);

impl Arguments for Words<'_> {
    fn next(&mut self, _size: usize) -> u64 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn nested(&self, _list: u64) -> Option<Box<dyn Arguments + '_>> {
        None
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::memory::tests::Pieces;
    use super::*;
    use alloc::vec::Vec;

    /// Builds a `va_list` with the first `named` registers already used.
    pub(crate) fn va_list(memory: &Pieces, named: u32, values: &[u64]) -> u64 {
        let bytes = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let in_registers = (6 - named as usize).min(values.len());
        let mut saved = alloc::vec![0xdead_u64; named as usize];
        saved.extend_from_slice(&values[..in_registers]);
        saved.resize(6, 0);
        let registers = memory.put(&bytes(&saved));
        let overflow = memory.put(&bytes(&values[in_registers..]));
        memory.put(&bytes(&[u64::from(named * 8) | 48 << 32, overflow, registers]))
    }

    #[test]
    fn registers_then_stack() {
        let memory = Pieces::default();
        let values = [1, 2, 3, 4, 5, 6, 7, 8];
        let list = va_list(&memory, 1, &values);
        let mut arguments = VaList::open(&memory, list).unwrap();
        let read: Vec<u64> = (0..8).map(|_| arguments.next(8)).collect();
        assert_eq!(read, values);
        assert_eq!(arguments.next(8), 0);
        assert_eq!(arguments.nested(list).unwrap().next(4), 1);
        assert!(arguments.nested(8).is_none());
    }
}
