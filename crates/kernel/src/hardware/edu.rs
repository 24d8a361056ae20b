//! QEMU's educational device (QEMU documentation, "EDU device").
//!
//! Registers: 00h identification, 04h inverts what is written, 08h factorial, 20h status, 24h interrupt status, 60h raise and 64h
//! acknowledge interrupts, 80h to 98h DMA between memory and a buffer of 4096 bytes at 40000h. Unlike QEMU's, this device is done
//! with its work at once.

use alloc::boxed::Box;

use super::model::{Model, Surroundings};

/// Bytes of the window.
pub const WINDOW: u64 = 1 << 20;
/// The buffer for DMA, as the device sees it.
const BUFFER: u64 = 0x40000;
const ROOM: u64 = 4096;
/// Major version 1, minor version 0, and the mark `ed`.
const IDENTIFICATION: u32 = 0x0100_00ed;
/// Bits of the status register: raise an interrupt after the computation.
const RAISE_AFTER_FACTORIAL: u32 = 0x80;
/// Causes of interrupts.
const FACTORIAL_DONE: u32 = 1;
const DMA_DONE: u32 = 0x100;
/// Bits of the DMA command: start, direction (set: from the device to memory), raise an interrupt afterwards.
const START: u64 = 1;
const TO_MEMORY: u64 = 2;
const RAISE_AFTER_DMA: u64 = 4;
/// The device reaches so much memory unless told otherwise: QEMU's default mask has 28 bits, which lie below every memory here;
/// so this one is made with a wide mask, as `-device edu,dma_mask=` does.
const MASK: u64 = u64::MAX;

/// The device.
#[derive(Debug)]
pub struct Edu {
    inverted: u32,
    factorial: u32,
    status: u32,
    causes: u32,
    source: u64,
    destination: u64,
    count: u64,
    command: u64,
    buffer: Box<[u8]>,
}

impl Default for Edu {
    fn default() -> Self {
        Self {
            inverted: 0,
            factorial: 0,
            status: 0,
            causes: 0,
            source: 0,
            destination: 0,
            count: 0,
            command: 0,
            buffer: alloc::vec![0; ROOM as usize].into_boxed_slice(),
        }
    }
}

impl Edu {
    fn raise(&mut self, causes: u32, surroundings: &mut dyn Surroundings) {
        self.causes |= causes;
        surroundings.interrupt(self.causes != 0);
    }

    /// The part of the buffer that the transfer is about, when it lies in it.
    fn part(&mut self, address: u64) -> Option<&mut [u8]> {
        let start = address.checked_sub(BUFFER).filter(|&start| start < ROOM)?;
        let end = start.checked_add(self.count).filter(|&end| end <= ROOM)?;
        self.buffer.get_mut(start as usize..end as usize)
    }

    fn transfer(&mut self, surroundings: &mut dyn Surroundings) {
        let (source, destination) = (self.source, self.destination);
        // A transfer outside of the buffer or of memory does not take place; QEMU's device stops the emulator at the former.
        if self.command & TO_MEMORY != 0 {
            if let Some(part) = self.part(source) {
                surroundings.write_memory(destination & MASK, part);
            }
        } else if let Some(part) = self.part(destination) {
            surroundings.read_memory(source & MASK, part);
        }
        self.command &= !START;
        if self.command & RAISE_AFTER_DMA != 0 {
            self.raise(DMA_DONE, surroundings);
        }
    }
}

/// The factorial as the device computes it: modulo 2 to the 32.
fn factorial(of: u32) -> u32 {
    // From 34 on the product is 0 modulo 2^32, since it has at least 32 factors of 2.
    if of >= 34 { 0 } else { (1..=of).fold(1, u32::wrapping_mul) }
}

impl Model for Edu {
    fn read(&mut self, offset: u64, width: u8, _surroundings: &mut dyn Surroundings) -> u64 {
        // Below 80h only accesses of 4 bytes are answered, from there on of 4 or 8.
        if width != 4 && !(width == 8 && offset >= 0x80) {
            return u64::MAX;
        }
        match offset {
            0x00 => IDENTIFICATION.into(),
            0x04 => self.inverted.into(),
            0x08 => self.factorial.into(),
            0x20 => self.status.into(),
            0x24 => self.causes.into(),
            0x80 => self.source,
            0x88 => self.destination,
            0x90 => self.count,
            0x98 => self.command,
            _ => u64::MAX,
        }
    }

    fn write(&mut self, offset: u64, width: u8, value: u64, surroundings: &mut dyn Surroundings) {
        if width != 4 && !(width == 8 && offset >= 0x80) {
            return;
        }
        let small = value as u32;
        match offset {
            0x04 => self.inverted = !small,
            0x08 => {
                self.factorial = factorial(small);
                if self.status & RAISE_AFTER_FACTORIAL != 0 {
                    self.raise(FACTORIAL_DONE, surroundings);
                }
            }
            0x20 => self.status = small & RAISE_AFTER_FACTORIAL,
            0x60 => self.raise(small, surroundings),
            0x64 => {
                self.causes &= !small;
                surroundings.interrupt(self.causes != 0);
            }
            0x80 => self.source = value,
            0x88 => self.destination = value,
            0x90 => self.count = value,
            0x98 => {
                self.command = value;
                if value & START != 0 {
                    self.transfer(surroundings);
                }
            }
            _ => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line, and memory at address 0.
    #[derive(Default)]
    struct Bench {
        raised: bool,
        memory: std::vec::Vec<u8>,
    }

    impl Surroundings for Bench {
        fn interrupt(&mut self, raised: bool) {
            self.raised = raised;
        }
        fn read_memory(&mut self, address: u64, into: &mut [u8]) -> bool {
            into.copy_from_slice(&self.memory[address as usize..][..into.len()]);
            true
        }
        fn write_memory(&mut self, address: u64, bytes: &[u8]) -> bool {
            self.memory[address as usize..][..bytes.len()].copy_from_slice(bytes);
            true
        }
    }

    #[test]
    fn it_is_alive_and_computes() {
        let (mut edu, mut bench) = (Edu::default(), Bench::default());
        assert_eq!(edu.read(0, 4, &mut bench), 0x0100_00ed);
        edu.write(4, 4, 0x1234_5678, &mut bench);
        assert_eq!(edu.read(4, 4, &mut bench), 0xedcb_a987);
        edu.write(8, 4, 12, &mut bench);
        assert_eq!((edu.read(8, 4, &mut bench), bench.raised), (479_001_600, false));
        edu.write(0x20, 4, 0x80, &mut bench);
        edu.write(8, 4, 13, &mut bench);
        assert_eq!((edu.read(8, 4, &mut bench), bench.raised), (6_227_020_800 % (1 << 32), true));
        assert_eq!(edu.read(0x24, 4, &mut bench), 1);
        edu.write(0x64, 4, 1, &mut bench);
        assert!(!bench.raised);
        assert_eq!(edu.read(8, 2, &mut bench), u64::MAX, "only whole registers answer");
    }

    #[test]
    fn factorials_agree_with_the_long_way() {
        for of in 0..70_u32 {
            assert_eq!(factorial(of), (1..=of).fold(1, u32::wrapping_mul), "{of}");
        }
    }

    #[test]
    fn dma_goes_both_ways_and_stays_inside() {
        let (mut edu, mut bench) = (Edu::default(), Bench { memory: (0..=255).collect(), ..Bench::default() });
        for (offset, value) in [(0x80, 16), (0x88, 0x40010), (0x90, 8), (0x98, 1)] {
            edu.write(offset, 8, value, &mut bench);
        }
        assert_eq!((edu.read(0x98, 8, &mut bench), bench.raised), (0, false));
        for (offset, value) in [(0x80, 0x40010), (0x88, 100), (0x90, 8), (0x98, 7)] {
            edu.write(offset, 8, value, &mut bench);
        }
        assert_eq!(bench.memory[100..108], [16, 17, 18, 19, 20, 21, 22, 23]);
        assert!(bench.raised);
        for (source, count) in [(0x41000, 1), (0x40fff, 2), (u64::MAX, 8), (0x40000, u64::MAX)] {
            for (offset, value) in [(0x80, source), (0x88, 0), (0x90, count), (0x98, 3)] {
                edu.write(offset, 8, value, &mut bench);
            }
            assert_eq!(bench.memory[0], 0, "nothing was written");
        }
    }
}
