//! Configuration space as drivers read and write it.

use super::{EXPRESS, functions, pci_dev, with_config};
use crate::export::{Export, exports};
use crate::ram;

/// `PCIBIOS_DEVICE_NOT_FOUND`, `PCIBIOS_BAD_REGISTER_NUMBER`
const NO_DEVICE: i32 = 0x86;
const BAD_REGISTER: i32 = 0x87;

fn read(function: u64, at: u16, width: u8) -> Result<u32, i32> {
    if !at.is_multiple_of(u16::from(width)) || at >= 4096 {
        return Err(BAD_REGISTER);
    }
    with_config(function, |space| space.read(at, width)).ok_or(NO_DEVICE)
}
fn write(function: u64, at: u16, width: u8, value: u32) -> i32 {
    if !at.is_multiple_of(u16::from(width)) || at >= 4096 {
        return BAD_REGISTER;
    }
    with_config(function, |space| space.write(at, width, value)).map_or(NO_DEVICE, |()| 0)
}
/// The function of the bus with this number; 0 when there is none.
fn with_number(devfn: u32) -> u64 {
    // SAFETY: a function.
    functions(0).into_iter().find(|&function| unsafe { pci_dev::devfn.get::<u32>(function) } == devfn).unwrap_or(0)
}
/// Where a register of the PCI Express capability is.
fn express(function: u64, at: i32) -> Option<u16> {
    Some(with_config(function, |space| space.capability(EXPRESS))?? + at as u16)
}

macro_rules! access {
    ($($read:ident $write:ident $read_bus:ident $write_bus:ident $kind:ty, $width:literal;)*) => {$(
        extern "C" fn $read(function: u64, at: i32, into: u64) -> i32 {
            let result = read(function, at as u16, $width);
            // SAFETY: the caller's variable; what is not there reads as ones.
            unsafe { ram::put(into, result.map_or(<$kind>::MAX, |value| value as $kind)) };
            result.map_or_else(|error| error, |_| 0)
        }
        extern "C" fn $write(function: u64, at: i32, value: $kind) -> i32 {
            write(function, at as u16, $width, value.into())
        }
        extern "C" fn $read_bus(_bus: u64, devfn: u32, at: i32, into: u64) -> i32 {
            $read(with_number(devfn), at, into)
        }
        extern "C" fn $write_bus(_bus: u64, devfn: u32, at: i32, value: $kind) -> i32 {
            $write(with_number(devfn), at, value)
        }
    )*};
}

access! {
    pci_read_config_byte pci_write_config_byte pci_bus_read_config_byte pci_bus_write_config_byte u8, 1;
    pci_read_config_word pci_write_config_word pci_bus_read_config_word pci_bus_write_config_word u16, 2;
    pci_read_config_dword pci_write_config_dword pci_bus_read_config_dword pci_bus_write_config_dword u32, 4;
}

/// `u8 pci_find_capability(struct pci_dev *, int)`
extern "C" fn pci_find_capability(function: u64, number: i32) -> u8 {
    with_config(function, |space| space.capability(number as u8)).flatten().unwrap_or(0) as u8
}
/// The list of extended capabilities is empty.
extern "C" fn pci_find_ext_capability() -> u16 {
    0
}

extern "C" fn pcie_capability_read_word(function: u64, at: i32, into: u64) -> i32 {
    match express(function, at) {
        Some(at) => pci_read_config_word(function, at.into(), into),
        None => {
            // SAFETY: the caller's variable.
            unsafe { ram::put(into, 0_u16) };
            0
        }
    }
}
extern "C" fn pcie_capability_read_dword(function: u64, at: i32, into: u64) -> i32 {
    match express(function, at) {
        Some(at) => pci_read_config_dword(function, at.into(), into),
        None => {
            // SAFETY: the caller's variable.
            unsafe { ram::put(into, 0_u32) };
            0
        }
    }
}
extern "C" fn pcie_capability_write_word(function: u64, at: i32, value: u16) -> i32 {
    express(function, at).map_or(0, |at| write(function, at, 2, value.into()))
}
extern "C" fn pcie_capability_write_dword(function: u64, at: i32, value: u32) -> i32 {
    express(function, at).map_or(0, |at| write(function, at, 4, value))
}
/// `int pcie_capability_clear_and_set_word(struct pci_dev *, int pos, u16 clear, u16 set)`
extern "C" fn pcie_capability_clear_and_set_word(function: u64, at: i32, clear: u16, set: u16) -> i32 {
    let Some(at) = express(function, at) else { return 0 };
    match read(function, at, 2) {
        Ok(value) => write(function, at, 2, value & !u32::from(clear) | u32::from(set)),
        Err(error) => error,
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c pci_read_config_byte, c pci_write_config_byte, c pci_bus_read_config_byte, c pci_bus_write_config_byte,
    c pci_read_config_word, c pci_write_config_word, c pci_bus_read_config_word, c pci_bus_write_config_word,
    c pci_read_config_dword, c pci_write_config_dword, c pci_bus_read_config_dword, c pci_bus_write_config_dword,
    c pci_find_capability, k pci_find_ext_capability, c pcie_capability_read_word, c pcie_capability_read_dword,
    c pcie_capability_write_word, c pcie_capability_write_dword, c pcie_capability_clear_and_set_word,
    c pcie_capability_clear_and_set_word_locked = pcie_capability_clear_and_set_word,
    c pcie_capability_clear_and_set_word_unlocked = pcie_capability_clear_and_set_word,
];
