//! Instructions that fault here and would not on Linux, and fix-ups of those that may.

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
fn register_mut(registers: &mut Registers, number: u32) -> Option<&mut u64> {
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

/// Port input and output: no device is there, so input gives ones and output goes nowhere.
pub(super) fn port_access(platform: &dyn Platform, registers: &mut Registers) -> bool {
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
    match opcode {
        0xe4 | 0xe5 | 0xec | 0xed => {
            registers.rax = match width {
                1 => registers.rax | 0xff,
                2 => registers.rax | 0xffff,
                // Writing a 32-bit register clears the upper half.
                _ => 0xffff_ffff,
            };
        }
        0x6c | 0x6d => {
            let count = if repeated { registers.rcx.min(1 << 20) } else { 1 };
            for _ in 0..count {
                if platform.write(registers.rdi, &[0xff; 4][..width as usize]).is_err() {
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
            registers.rsi = registers.rsi.wrapping_add(count.wrapping_mul(width));
        }
        _ => (),
    }
    registers.rip += (at + size) as u64;
    true
}
