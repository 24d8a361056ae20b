//! What the virtual machine monitor tells the kernel: `hvm_start_info` of the PVH protocol.
//!
//! Layouts are those of `docs/misc/pvh.html` of Xen. Memory is read through a closure, so that nothing here needs to know
//! how physical addresses are reached.

use alloc::vec::Vec;
use core::ops::Range;

const MAGIC: u32 = 0x336e_c578;
const RAM: u32 = 1;
/// More entries than any monitor writes; a larger count means a corrupt structure.
const ENTRIES_MAX: u32 = 1024;
const COMMAND_LINE_MAX: u64 = 4096;

/// What is in the start info.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartInfo {
    /// Physical RAM, as reported.
    pub ram: Vec<Range<u64>>,
    /// The modules; the first one is the initramfs.
    pub modules: Vec<Range<u64>>,
    /// The command line, without its NUL.
    pub command_line: Vec<u8>,
    /// Ranges the structures themselves occupy.
    pub own: Vec<Range<u64>>,
}

/// Why the start info cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartInfoError {
    /// The structure does not begin with the magic number; this was found.
    Magic(u32),
    /// Version 0 has no memory map.
    Version(u32),
    /// Something in it points where nothing can be read.
    Unreadable(u64),
    /// A table claims this many entries.
    TooMany(u32),
}

impl core::fmt::Display for StartInfoError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Magic(found) => {
                write!(f, "start info: magic {found:#x} where {MAGIC:#x} belongs")
            }
            Self::Version(version) => write!(f, "start info: version {version} has no memory map"),
            Self::Unreadable(address) => write!(f, "start info: nothing to read at {address:#x}"),
            Self::TooMany(count) => write!(f, "start info: a table of {count} entries"),
        }
    }
}

/// Reads the start info at physical address `at`. `read(address, into)` says whether it could fill `into`.
///
/// # Errors
/// [`StartInfoError`] when the structure does not hold together.
pub fn read(at: u64, read: impl Fn(u64, &mut [u8]) -> bool) -> Result<StartInfo, StartInfoError> {
    let bytes = |address: u64, into: &mut [u8]| {
        let end = address.checked_add(into.len() as u64);
        if end.is_some() && read(address, into) { Ok(()) } else { Err(StartInfoError::Unreadable(address)) }
    };
    let long = |address: u64| {
        let mut value = [0; 4];
        bytes(address, &mut value).map(|()| u32::from_le_bytes(value))
    };
    let quad = |address: u64| {
        let mut value = [0; 8];
        bytes(address, &mut value).map(|()| u64::from_le_bytes(value))
    };
    let table = |address: u64, count: u32, size: u64| {
        let unreadable = StartInfoError::Unreadable(address);
        let end = address.checked_add(u64::from(count) * size).ok_or(unreadable)?;
        if count > ENTRIES_MAX { Err(StartInfoError::TooMany(count)) } else { Ok(address..end) }
    };

    let magic = long(at)?;
    if magic != MAGIC {
        return Err(StartInfoError::Magic(magic));
    }
    let version = long(at + 4)?;
    if version == 0 {
        return Err(StartInfoError::Version(version));
    }
    let mut info = StartInfo::default();
    info.own.push(at..at + 56);

    let modules = table(quad(at + 16)?, long(at + 12)?, 32)?;
    for entry in modules.clone().step_by(32) {
        let (start, size) = (quad(entry)?, quad(entry + 8)?);
        info.modules.push(start..start.checked_add(size).ok_or(StartInfoError::Unreadable(start))?);
    }
    info.own.push(modules);

    let command_line = quad(at + 24)?;
    if command_line != 0 {
        for offset in 0..COMMAND_LINE_MAX {
            let mut byte = [0];
            bytes(command_line.saturating_add(offset), &mut byte)?;
            if byte == [0] {
                break;
            }
            info.command_line.extend(byte);
        }
        info.own.push(command_line..command_line + info.command_line.len() as u64 + 1);
    }

    let map = table(quad(at + 40)?, long(at + 48)?, 24)?;
    for entry in map.clone().step_by(24) {
        let (start, size, kind) = (quad(entry)?, quad(entry + 8)?, long(entry + 16)?);
        if kind == RAM {
            info.ram.push(start..start.saturating_add(size));
        }
    }
    info.own.push(map);
    Ok(info)
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of one range are meant")]
mod tests {
    use super::*;
    use alloc::vec;

    fn put(memory: &mut [u8], at: usize, value: u64, size: usize) {
        memory[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    }

    fn sample() -> Vec<u8> {
        let mut memory = vec![0; 4096];
        put(&mut memory, 0x100, u64::from(MAGIC), 4);
        put(&mut memory, 0x104, 1, 4);
        put(&mut memory, 0x10c, 1, 4);
        put(&mut memory, 0x110, 0x200, 8);
        put(&mut memory, 0x118, 0x300, 8);
        put(&mut memory, 0x128, 0x400, 8);
        put(&mut memory, 0x130, 2, 4);
        put(&mut memory, 0x200, 0x10_0000, 8);
        put(&mut memory, 0x208, 0x1234, 8);
        memory[0x300..0x306].copy_from_slice(b"quiet\0");
        put(&mut memory, 0x408, 0x9_fc00, 8);
        put(&mut memory, 0x410, 1, 4);
        put(&mut memory, 0x418, 0xf_0000, 8);
        put(&mut memory, 0x420, 0x1_0000, 8);
        put(&mut memory, 0x428, 2, 4);
        memory
    }

    fn of(memory: &[u8]) -> Result<StartInfo, StartInfoError> {
        read(0x100, |address, into| {
            let start = usize::try_from(address).unwrap_or(usize::MAX);
            let found = memory.get(start..start.saturating_add(into.len()));
            found.is_some_and(|bytes| {
                into.copy_from_slice(bytes);
                true
            })
        })
    }

    #[test]
    fn reads_ram_modules_and_command_line() {
        let info = of(&sample()).expect("a sound structure");
        assert_eq!(info.ram, [0..0x9_fc00]);
        assert_eq!(info.modules, [0x10_0000..0x10_1234]);
        assert_eq!(info.command_line, b"quiet");
    }

    #[test]
    fn no_changed_byte_panics() {
        let memory = sample();
        assert_eq!(of(&[0; 4096]), Err(StartInfoError::Magic(0)));
        for position in 0x100..0x440 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = memory.clone();
                changed[position] = value;
                let _ = of(&changed);
            }
        }
    }
}
