//! The configuration space of a PCI function (PCI Local Bus Specification 3.0, chapter 6; PCI Express Base Specification, 7.5).
//!
//! A function has three capabilities: power management, message-signalled interrupts with one vector, and PCI Express.

use alloc::vec::Vec;

use super::description::{Bar, PciDevice};
use super::edu;

/// Bytes of the space that do something; the extended part behind them reads as zeros, which is an empty list.
pub const SIZE: u16 = 256;
/// Offsets in the header.
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const CLASS: usize = 0x09;
const FIRST_BAR: usize = 0x10;
const SUBSYSTEM: usize = 0x2c;
const CAPABILITIES: usize = 0x34;
const LINE: usize = 0x3c;
const PIN: usize = 0x3d;
/// `PCI_COMMAND_IO`, `PCI_COMMAND_MEMORY`, `PCI_COMMAND_MASTER`
const ANSWERS_PORTS: u16 = 1;
const ANSWERS_MEMORY: u16 = 2;
const IS_MASTER: u16 = 4;
/// The bits of the command register that exist.
const COMMAND_BITS: u16 = 0x0547;
/// `PCI_STATUS_CAP_LIST`
const HAS_CAPABILITIES: u16 = 0x10;

/// A configuration space.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: Vec<u8>,
    /// The bits of each byte that can be written.
    writable: Vec<u8>,
    /// The size of each window, 0 for none.
    sizes: [u64; 6],
}

/// Bytes of the window behind a register.
pub fn size_of(bar: Bar) -> u64 {
    match bar {
        Bar::Memory(size) | Bar::Ports(size) => size,
        Bar::Edu => edu::WINDOW,
    }
}

impl ConfigSpace {
    /// The space of a function whose windows have been given addresses, and whose interrupt line is `line`.
    pub fn new(device: &PciDevice, addresses: [u64; 6], line: u8) -> Self {
        let mut space =
            Self { bytes: alloc::vec![0; SIZE.into()], writable: alloc::vec![0; SIZE.into()], sizes: [0; 6] };
        let pair = |(first, second): (u16, u16)| u32::from(second) << 16 | u32::from(first);
        space.put(0, &pair(device.id).to_le_bytes());
        space.put(STATUS, &HAS_CAPABILITIES.to_le_bytes());
        space.put(8, &[device.revision]);
        space.put(CLASS, &device.class.to_le_bytes()[..3]);
        space.put(SUBSYSTEM, &pair(device.subsystem).to_le_bytes());
        space.put(LINE, &[line, 1]);
        space.let_write(COMMAND, &COMMAND_BITS.to_le_bytes());
        space.let_write(0x0c, &[0xff]);
        space.let_write(LINE, &[0xff]);
        for (number, bar) in device.bars.iter().enumerate() {
            let Some(bar) = *bar else { continue };
            let size = size_of(bar);
            let mark = u32::from(matches!(bar, Bar::Ports(_)));
            let at = FIRST_BAR + 4 * number;
            space.sizes[number] = size;
            space.put(at, &(addresses[number] as u32 | mark).to_le_bytes());
            // Only the bits above the window's size exist; that is how its size is found out.
            space.let_write(at, &(!(size as u32 - 1)).to_le_bytes());
        }
        // Power management: version 3, D0. Message-signalled interrupts: 64-bit address, one vector. PCI Express: endpoint,
        // version 2, one lane of 2.5 GT/s.
        space.put(CAPABILITIES, &[0x40]);
        space.put(0x40, &[0x01, 0x50, 0x03, 0x00, 0x08, 0x00]);
        space.let_write(0x44, &[0x03]);
        space.put(0x50, &[0x05, 0x60, 0x80, 0x00]);
        space.let_write(0x52, &[0x71, 0, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        space.put(0x60, &[0x10, 0x00, 0x02, 0x00]);
        space.put(0x6c, &[0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0x11, 0x00]);
        space.let_write(0x68, &[0xff, 0xff]);
        space.let_write(0x70, &[0xff, 0x0f]);
        space
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn let_write(&mut self, at: usize, mask: &[u8]) {
        self.writable[at..at + mask.len()].copy_from_slice(mask);
    }

    /// Reads `width` bytes (1, 2 or 4) at `at`.
    pub fn read(&self, at: u16, width: u8) -> u32 {
        (0..u16::from(width)).fold(0, |value, number| {
            let byte = self.bytes.get(usize::from(at + number)).copied().unwrap_or(0);
            value | u32::from(byte) << (8 * number)
        })
    }

    /// Writes them, as far as there are bits that can be written.
    pub fn write(&mut self, at: u16, width: u8, value: u32) {
        for number in 0..u16::from(width) {
            let place = usize::from(at + number);
            if let (Some(byte), Some(mask)) = (self.bytes.get_mut(place), self.writable.get(place)) {
                *byte = *byte & !mask | (value >> (8 * number)) as u8 & mask;
            }
        }
    }

    fn command(&self) -> u16 {
        self.read(COMMAND as u16, 2) as u16
    }

    /// Whether accesses to ports (`true`) or memory reach it.
    pub fn answers(&self, ports: bool) -> bool {
        self.command() & if ports { ANSWERS_PORTS } else { ANSWERS_MEMORY } != 0
    }

    /// Whether it may access memory by itself.
    pub fn is_master(&self) -> bool {
        self.command() & IS_MASTER != 0
    }

    /// Where the capability with that number is.
    pub fn capability(&self, number: u8) -> Option<u16> {
        let mut at = self.bytes[CAPABILITIES];
        // The list is ours and has three entries.
        for _ in 0..SIZE / 4 {
            match at {
                0 => return None,
                _ if self.bytes[usize::from(at)] == number => return Some(at.into()),
                _ => at = self.bytes[usize::from(at) + 1],
            }
        }
        None
    }

    /// The interrupt pin, 1 for INTA#.
    pub fn pin(&self) -> u8 {
        self.bytes[PIN]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::Description;

    #[test]
    fn windows_tell_their_sizes() {
        let Ok(Description::Pci(device)) = "pci:8086:10d3,bar0=128K,bar2=io:32,class=020000".parse() else { panic!() };
        let mut space = ConfigSpace::new(&device, [0xc000_0000, 0, 0x1000, 0, 0, 0], 16);
        assert_eq!(space.read(0, 4), 0x10d3_8086);
        assert_eq!((space.read(0x10, 4), space.read(0x18, 4)), (0xc000_0000, 0x1001));
        for at in [0x10, 0x14, 0x18] {
            space.write(at, 4, u32::MAX);
        }
        assert_eq!([0x10, 0x14, 0x18].map(|at| space.read(at, 4)), [0xfffe_0000, 0, 0xffff_ffe1]);
        assert_eq!(space.read(0x0a, 2), 0x0200);
    }

    #[test]
    fn identity_is_not_written_and_commands_are() {
        let Ok(Description::Pci(device)) = "pci:1234:11e8".parse() else { panic!() };
        let mut space = ConfigSpace::new(&device, [0xc000_0000, 0, 0, 0, 0, 0], 16);
        assert!(!space.answers(false));
        space.write(0, 4, 0);
        space.write(4, 2, 0xffff);
        assert_eq!((space.read(0, 2), space.read(4, 2)), (0x1234, 0x0547));
        assert!(space.answers(false) && space.is_master());
        assert_eq!(
            [1, 5, 0x10, 0x11].map(|number| space.capability(number)),
            [Some(0x40), Some(0x50), Some(0x60), None]
        );
    }
}
