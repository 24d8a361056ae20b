//! Instructions that fault here and would not on Linux, and fix-ups of those that may.

use crate::Kernel;
use crate::hardware::Access;
use crate::platform::Platform;
use crate::trap::Registers;

/// Exception-table types of Linux 6.1 (`EX_TYPE_*`).
const DEFAULT: u32 = 1;
const FAULT: u32 = 2;
const UACCESS: u32 = 3;
const IMMEDIATE_REGISTER: u32 = 17;

/// Applies an exception-table entry; false when its type asks for something unknown here.
pub(super) fn exception_fixup(data: u32, fixup: u64, registers: &mut Registers) -> bool {
    match data & 0xff {
        DEFAULT | FAULT | UACCESS => (),
        IMMEDIATE_REGISTER => {
            let value = i64::from((data as i32) >> 16) as u64;
            let Some(register) = register_mut(registers, data >> 8 & 0xf) else { return false };
            *register = value;
        }
        _ => return false,
    }
    registers.rip = fixup;
    true
}

/// The register with the processor's number (0 is rax, 4 is rsp).
pub(super) fn register_mut(registers: &mut Registers, number: u32) -> Option<&mut u64> {
    Some(match number {
        0 => &mut registers.rax,
        1 => &mut registers.rcx,
        2 => &mut registers.rdx,
        3 => &mut registers.rbx,
        4 => &mut registers.rsp,
        5 => &mut registers.rbp,
        6 => &mut registers.rsi,
        7 => &mut registers.rdi,
        8 => &mut registers.r8,
        9 => &mut registers.r9,
        10 => &mut registers.r10,
        11 => &mut registers.r11,
        12 => &mut registers.r12,
        13 => &mut registers.r13,
        14 => &mut registers.r14,
        15 => &mut registers.r15,
        _ => return None,
    })
}

/// Port input and output: where no device is, input gives ones and output goes nowhere.
pub(super) fn port_access(kernel: &'static Kernel, registers: &mut Registers) -> bool {
    let platform = kernel.platform;
    let mut bytes = [0; 4];
    let mut length = 0;
    while length < bytes.len() && platform.read(registers.rip + length as u64, &mut bytes[length..=length]).is_ok() {
        length += 1;
    }
    let mut at = 0;
    let (mut narrow, mut repeated) = (false, false);
    while let Some(&byte) = bytes[..length].get(at) {
        match byte {
            0x66 => narrow = true,
            0xf3 => repeated = true,
            _ => break,
        }
        at += 1;
    }
    let Some(&opcode) = bytes[..length].get(at) else { return false };
    let width: u64 = match (opcode & 1, narrow) {
        (0, _) => 1,
        (_, true) => 2,
        (_, false) => 4,
    };
    let size = match opcode {
        0xe4..=0xe7 => 2,
        0xec..=0xef | 0x6c..=0x6f => 1,
        _ => return false,
    };
    let port = match (opcode, bytes[..length].get(at + 1)) {
        (0xe4..=0xe7, Some(&port)) => port.into(),
        (0xe4..=0xe7, None) => return false,
        _ => registers.rdx & 0xffff,
    };
    let access = Access { address: port, port: true, width: width as u8 };
    match opcode {
        0xe4 | 0xe5 | 0xec | 0xed => {
            let value = kernel.hardware_read(access);
            registers.rax = match width {
                1 => registers.rax & !0xff | value,
                2 => registers.rax & !0xffff | value,
                // Writing a 32-bit register clears the upper half.
                _ => value,
            };
        }
        0xe6 | 0xe7 | 0xee | 0xef => kernel.hardware_write(access, registers.rax),
        0x6c | 0x6d => {
            let count = if repeated { registers.rcx.min(1 << 20) } else { 1 };
            for _ in 0..count {
                let value = kernel.hardware_read(access).to_le_bytes();
                if platform.write(registers.rdi, &value[..width as usize]).is_err() {
                    return false;
                }
                registers.rdi += width;
            }
            if repeated {
                registers.rcx = 0;
            }
        }
        0x6e | 0x6f => {
            let count = if repeated { core::mem::take(&mut registers.rcx) } else { 1 };
            for number in 0..count.min(1 << 20) {
                let mut value = [0; 8];
                let from = registers.rsi.wrapping_add(number.wrapping_mul(width));
                if platform.read(from, &mut value[..width as usize]).is_err() {
                    return false;
                }
                kernel.hardware_write(access, u64::from_le_bytes(value));
            }
            registers.rsi = registers.rsi.wrapping_add(count.wrapping_mul(width));
        }
        _ => (),
    }
    registers.rip += (at + size) as u64;
    true
}

/// Whether the upper bits of an address are copies of bit 47, as the processor demands.
pub(super) fn is_canonical(address: u64) -> bool {
    let upper = address.cast_signed() >> 47;
    upper == 0 || upper == -1
}

/// Whether an instruction has a ModRM byte. Intel SDM volume 2, tables.
fn has_modrm(two_byte: bool, opcode: u8) -> bool {
    if two_byte {
        return !matches!(opcode, 0x05..=0x0c | 0x0e | 0x30..=0x37 | 0x77 | 0x80..=0x8f | 0xa0..=0xa2 | 0xa8..=0xaa | 0xc8..=0xcf);
    }
    matches!(opcode, 0x62 | 0x63 | 0x69 | 0x6b | 0x80..=0x8f | 0xc0 | 0xc1 | 0xc6 | 0xc7 | 0xd0..=0xd3 | 0xd8..=0xdf)
        || matches!(opcode, 0xf6 | 0xf7 | 0xfe | 0xff)
        || (opcode < 0x40 && opcode & 7 < 4)
}

/// What an instruction that faulted was about to touch, as far as it can be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Touch {
    /// The first byte.
    pub(super) address: Option<u64>,
    /// Bytes.
    pub(super) size: Option<u64>,
}

/// Looks at the instruction that faulted.
pub(super) fn access(platform: &dyn Platform, registers: &Registers) -> Touch {
    Touch { address: address_of_access(platform, registers), size: size_of_access(platform, registers) }
}

/// Bytes that the instruction touches at its memory operand. Intel SDM volume 2, appendix A; vector instructions by their
/// prefixes alone.
fn size_of_access(platform: &dyn Platform, registers: &Registers) -> Option<u64> {
    let mut bytes = [0; 8];
    let mut length = 0;
    while length < bytes.len() && platform.read(registers.rip + length as u64, &mut bytes[length..=length]).is_ok() {
        length += 1;
    }
    let (mut narrow, mut repeated, mut wide) = (false, 0, false);
    let mut rest = bytes[..length].iter().copied();
    let mut opcode = rest.next()?;
    loop {
        match opcode {
            0x66 => narrow = true,
            0xf2 | 0xf3 => repeated = opcode,
            0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x67 | 0xf0 => (),
            _ => break,
        }
        opcode = rest.next()?;
    }
    if opcode & 0xf0 == 0x40 {
        wide = opcode & 8 != 0;
        opcode = rest.next()?;
    }
    let operand = match (wide, narrow) {
        (true, _) => 8,
        (_, true) => 2,
        _ => 4,
    };
    if opcode == 0x0f {
        return Some(match (rest.next()?, repeated) {
            // movzx and movsx, cmpxchg and xadd of bytes, setcc.
            (0xb6 | 0xbe | 0xb0 | 0xc0 | 0x90..=0x9f, _) => 1,
            (0xb7 | 0xbf, _) => 2,
            (0x10 | 0x11 | 0x51..=0x5f, 0xf3) => 4,
            (0x10 | 0x11 | 0x51..=0x5f, 0xf2) | (0x12 | 0x13 | 0x16 | 0x17 | 0xd6, _) => 8,
            (0x10 | 0x11 | 0x28 | 0x29 | 0x2b | 0x54..=0x5f | 0x6f | 0x7f | 0xe7, _) => 16,
            _ => operand,
        });
    }
    Some(match opcode {
        0x00..=0x3f if opcode & 5 == 0 => 1,
        0x63 => 4,
        0x80 | 0x84 | 0x86 | 0x88 | 0x8a | 0xc0 | 0xc6 | 0xd0 | 0xd2 | 0xf6 | 0xfe => 1,
        // String instructions touch one element at a time; with a prefix, all that are left.
        0xa4..=0xa7 | 0xaa..=0xaf => {
            let width = if opcode & 1 == 0 { 1 } else { operand };
            if repeated != 0 { width * registers.rcx } else { width }
        }
        0x50..=0x5f | 0x8f | 0xc9 | 0xe8 | 0xff if !narrow => 8,
        _ => operand,
    })
}

/// The address in the memory operand of the instruction that faulted, when it has one in a ModRM byte.
pub(super) fn address_of_access(platform: &dyn Platform, registers: &Registers) -> Option<u64> {
    let mut at = registers.rip;
    let mut next = || {
        let mut byte = [0];
        platform.read(at, &mut byte).ok()?;
        at += 1;
        Some(byte[0])
    };
    let mut opcode = next()?;
    while matches!(opcode, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3) {
        if matches!(opcode, 0x64 | 0x65 | 0x67) {
            // A segment base of its own, or a 32-bit address: never wrong in this way.
            return None;
        }
        opcode = next()?;
    }
    let mut rex = 0;
    if opcode & 0xf0 == 0x40 {
        rex = opcode;
        opcode = next()?;
    }
    let two_byte = opcode == 0x0f;
    if two_byte {
        opcode = next()?;
    }
    if !has_modrm(two_byte, opcode) {
        return None;
    }
    let modrm = next()?;
    let (mode, rm) = (modrm >> 6, u32::from(modrm & 7));
    let mut value = *registers;
    let mut register =
        |number: u32, extended: bool| register_mut(&mut value, number | u32::from(extended) << 3).copied();
    let mut address = match (mode, rm) {
        (3, _) => return None,
        // Relative to the next instruction, which is near and therefore canonical.
        (0, 5) => return None,
        (_, 4) => {
            let sib = next()?;
            let (scale, index, base) = (sib >> 6, u32::from(sib >> 3 & 7), u32::from(sib & 7));
            let indexed = match (index, rex & 2 != 0) {
                (4, false) => 0,
                (index, extended) => register(index, extended)?,
            };
            let base = if mode == 0 && base == 5 {
                let mut bytes = [0; 4];
                for byte in &mut bytes {
                    *byte = next()?;
                }
                i64::from(i32::from_le_bytes(bytes)).cast_unsigned()
            } else {
                register(base, rex & 1 != 0)?
            };
            base.wrapping_add(indexed << scale)
        }
        (_, rm) => register(rm, rex & 1 != 0)?,
    };
    let displacement = match mode {
        1 => i64::from(next()?.cast_signed()),
        2 => {
            let mut bytes = [0; 4];
            for byte in &mut bytes {
                *byte = next()?;
            }
            i32::from_le_bytes(bytes).into()
        }
        _ => 0,
    };
    address = address.wrapping_add_signed(displacement);
    Some(address)
}
