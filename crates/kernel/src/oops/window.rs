//! Instructions that touch a device's window: decoded, done by the device's model, and left behind.
//!
//! What compilers make of `readl`, `writel` and their kin is a move between memory and a register; those, and the string moves
//! of copying functions, are all that is known here.

use super::emulate::register_mut;
use crate::Kernel;
use crate::hardware::Access;
use crate::trap::Registers;

/// No instruction is longer.
const LONGEST: usize = 15;
/// Bit of `rflags`: string instructions go downwards.
const DOWNWARDS: u64 = 1 << 10;

/// What an instruction does with the memory that it touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    /// Its value goes to a register, extended to `to` bytes, with its sign or with zeros.
    Load { register: Register, to: u8, signed: bool },
    /// A register goes there.
    Store { register: Register },
    /// A number goes there.
    Constant(u64),
    /// `movs`: from the address in rsi to that in rdi, so many elements as rcx says if repeated.
    Move { repeated: bool },
    /// `stos`: rax to the address in rdi.
    Fill { repeated: bool },
}

/// A general register: its number, and whether it is the second byte of it (`ah` and its kin).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Register {
    number: u32,
    second_byte: bool,
}

/// A decoded instruction: what it does, with how many bytes, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decoded {
    operation: Operation,
    width: u8,
    length: usize,
}

/// Reads the bytes of an instruction one after the other.
struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// A little-endian number with its sign.
    fn signed(&mut self, width: u8) -> Option<i64> {
        let mut value = 0_u64;
        for number in 0..width {
            value |= u64::from(self.next()?) << (8 * number);
        }
        let unused = 64 - 8 * u32::from(width);
        Some((value << unused).cast_signed() >> unused)
    }

    /// Skips a ModRM byte and what belongs to it; its `reg` field. `None` when it names no memory.
    fn modrm(&mut self) -> Option<u32> {
        let modrm = self.next()?;
        let (mode, rm) = (modrm >> 6, modrm & 7);
        if mode == 3 {
            return None;
        }
        let base = if rm == 4 { self.next()? & 7 } else { rm };
        let displacement = match mode {
            1 => 1,
            2 => 4,
            // No base but a displacement: of a SIB byte, or relative to the next instruction.
            _ if base == 5 => 4,
            _ => 0,
        };
        self.at += displacement;
        (self.at <= self.bytes.len()).then_some(u32::from(modrm >> 3 & 7))
    }
}

/// Intel SDM volume 2: "Instruction Format", and the pages of MOV, MOVZX, MOVSX, MOVSXD, MOVS and STOS.
fn decode(bytes: &[u8]) -> Option<Decoded> {
    let mut bytes = Bytes { bytes, at: 0 };
    let (mut narrow, mut repeated) = (false, false);
    let mut opcode = bytes.next()?;
    loop {
        match opcode {
            0x66 => narrow = true,
            0xf2 | 0xf3 => repeated = true,
            0x26 | 0x2e | 0x36 | 0x3e => (),
            _ => break,
        }
        opcode = bytes.next()?;
    }
    let rex = if opcode & 0xf0 == 0x40 { core::mem::replace(&mut opcode, bytes.next()?) } else { 0 };
    let wide: u8 = match (rex & 8 != 0, narrow) {
        (true, _) => 8,
        (false, true) => 2,
        (false, false) => 4,
    };
    let register = |field: u32, width: u8| {
        let number = field | u32::from(rex & 4 != 0) << 3;
        // Without a REX prefix the byte registers 4 to 7 are the second bytes of the first four.
        let second_byte = width == 1 && rex == 0 && number >= 4;
        Register { number: if second_byte { number - 4 } else { number }, second_byte }
    };
    let load = |field, from, to, signed| (Operation::Load { register: register(field, to), to, signed }, from);
    let (operation, width) = match opcode {
        0x88 => (Operation::Store { register: register(bytes.modrm()?, 1) }, 1),
        0x89 => (Operation::Store { register: register(bytes.modrm()?, wide) }, wide),
        0x8a => load(bytes.modrm()?, 1, 1, false),
        0x8b => load(bytes.modrm()?, wide, wide, false),
        0x63 => load(bytes.modrm()?, 4, wide, true),
        0xc6 | 0xc7 => {
            let width = if opcode == 0xc6 { 1 } else { wide };
            if bytes.modrm()? != 0 {
                return None;
            }
            (Operation::Constant(bytes.signed(width.min(4))?.cast_unsigned()), width)
        }
        0xa4 | 0xa5 => (Operation::Move { repeated }, if opcode == 0xa4 { 1 } else { wide }),
        0xaa | 0xab => (Operation::Fill { repeated }, if opcode == 0xaa { 1 } else { wide }),
        0x0f => {
            let second = bytes.next()?;
            let from = if second & 1 == 0 { 1 } else { 2 };
            match second {
                0xb6 | 0xb7 => load(bytes.modrm()?, from, wide, false),
                0xbe | 0xbf => load(bytes.modrm()?, from, wide, true),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(Decoded { operation, width, length: bytes.at })
}

fn memory(address: u64, width: u8) -> Access {
    Access { address, port: false, width }
}

/// Writes the lower bytes of a register as the processor does: 32 bits clear the upper half, fewer leave the rest.
fn put(into: &mut u64, register: Register, width: u8, value: u64) {
    match (width, register.second_byte) {
        (1, true) => *into = *into & !0xff00 | (value & 0xff) << 8,
        (1, false) => *into = *into & !0xff | value & 0xff,
        (2, _) => *into = *into & !0xffff | value & 0xffff,
        (4, _) => *into = value & 0xffff_ffff,
        _ => *into = value,
    }
}

impl Kernel {
    /// Does what the instruction that touched a window at `address` asks for, and goes on behind it; `false` when it is none
    /// that is known.
    pub(super) fn window_access(&'static self, address: u64, registers: &mut Registers) -> bool {
        let mut bytes = [0; LONGEST];
        let there = (0..LONGEST).take_while(|&at| {
            let place = registers.rip + at as u64;
            self.platform.read(place, &mut bytes[at..=at]).is_ok()
        });
        let length = there.count();
        let Some(decoded) = decode(&bytes[..length]) else { return false };
        let width = decoded.width;
        match decoded.operation {
            Operation::Load { register, to, signed } => {
                let value = self.hardware_read(memory(address, width));
                let unused = 64 - 8 * u32::from(width);
                let value = if signed { ((value << unused).cast_signed() >> unused).cast_unsigned() } else { value };
                let Some(into) = register_mut(registers, register.number) else { return false };
                put(into, register, to, value);
            }
            Operation::Store { register } => {
                let Some(&mut value) = register_mut(registers, register.number) else { return false };
                let value = if register.second_byte { value >> 8 } else { value };
                self.hardware_write(memory(address, width), value);
            }
            Operation::Constant(value) => self.hardware_write(memory(address, width), value),
            Operation::Move { repeated } => return self.string(registers, decoded, repeated, true),
            Operation::Fill { repeated } => return self.string(registers, decoded, repeated, false),
        }
        registers.rip += decoded.length as u64;
        true
    }

    /// The elements of a string instruction. Those that are done stay done when one cannot be, as on the processor.
    fn string(&'static self, registers: &mut Registers, decoded: Decoded, repeated: bool, moves: bool) -> bool {
        let width = decoded.width;
        let step = if registers.rflags & DOWNWARDS == 0 { i64::from(width) } else { -i64::from(width) };
        while !repeated || registers.rcx != 0 {
            let mut bytes = registers.rax.to_le_bytes();
            let bytes = &mut bytes[..width.into()];
            if moves {
                if self.hardware.has(registers.rsi) {
                    let value = self.hardware_read(memory(registers.rsi, width));
                    bytes.copy_from_slice(&value.to_le_bytes()[..width.into()]);
                } else if self.platform.read(registers.rsi, bytes).is_err() {
                    return false;
                }
            }
            if self.hardware.has(registers.rdi) {
                let value = bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
                self.hardware_write(memory(registers.rdi, width), value);
            } else if self.platform.write(registers.rdi, bytes).is_err() {
                return false;
            }
            registers.rdi = registers.rdi.wrapping_add_signed(step);
            if moves {
                registers.rsi = registers.rsi.wrapping_add_signed(step);
            }
            if !repeated {
                break;
            }
            registers.rcx -= 1;
        }
        registers.rip += decoded.length as u64;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(bytes: &[u8], operation: Operation, width: u8) {
        let decoded = decode(bytes).unwrap_or_else(|| panic!("{bytes:x?}"));
        assert_eq!(decoded, Decoded { operation, width, length: bytes.len() }, "{bytes:x?}");
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), None, "{:x?}", &bytes[..cut]);
        }
    }

    const fn whole(number: u32) -> Register {
        Register { number, second_byte: false }
    }

    /// The encodings are those GNU as gives for the instructions beside them.
    #[test]
    fn moves_are_decoded() {
        let load = |number, to, signed| Operation::Load { register: whole(number), to, signed };
        let store = |number| Operation::Store { register: whole(number) };
        is(&[0x8b, 0x07], load(0, 4, false), 4); // mov eax, [rdi]
        is(&[0x45, 0x8b, 0xa4, 0x24, 0x08, 0x58, 0, 0], load(12, 4, false), 4); // mov r12d, [r12 + 0x5808]
        is(&[0x48, 0x8b, 0x43, 0x10], load(0, 8, false), 8); // mov rax, [rbx + 16]
        is(&[0x66, 0x8b, 0x04, 0x8f], load(0, 2, false), 2); // mov ax, [rdi + 4 * rcx]
        is(&[0x8b, 0x0c, 0x25, 0, 0, 0, 0x40], load(1, 4, false), 4); // mov ecx, [0x40000000]
        is(&[0x8b, 0x15, 1, 2, 3, 4], load(2, 4, false), 4); // mov edx, [rip + 0x4030201]
        is(&[0x0f, 0xb6, 0x17], load(2, 4, false), 1); // movzx edx, byte ptr [rdi]
        is(&[0x0f, 0xb7, 0x40, 0x02], load(0, 4, false), 2); // movzx eax, word ptr [rax + 2]
        is(&[0x48, 0x0f, 0xbf, 0x00], load(0, 8, true), 2); // movsx rax, word ptr [rax]
        is(&[0x48, 0x63, 0x00], load(0, 8, true), 4); // movsxd rax, dword ptr [rax]
        is(&[0x89, 0x37], store(6), 4); // mov [rdi], esi
        is(&[0x44, 0x88, 0x4f, 0x01], store(9), 1); // mov [rdi + 1], r9b
        is(&[0x40, 0x88, 0x37], store(6), 1); // mov [rdi], sil
        is(&[0x88, 0x37], Operation::Store { register: Register { number: 2, second_byte: true } }, 1); // mov [rdi], dh
        is(&[0xc7, 0x47, 0x04, 0x80, 0, 0, 0], Operation::Constant(0x80), 4); // mov dword ptr [rdi + 4], 0x80
        is(&[0x48, 0xc7, 0x07, 0xff, 0xff, 0xff, 0xff], Operation::Constant(u64::MAX), 8); // mov qword ptr [rdi], -1
        is(&[0xf3, 0xa4], Operation::Move { repeated: true }, 1); // rep movsb
        is(&[0xf3, 0x48, 0xab], Operation::Fill { repeated: true }, 8); // rep stosq
    }

    #[test]
    fn what_names_no_memory_or_is_no_move_is_not_decoded() {
        for bytes in
            [&[0x89_u8, 0xc8][..], &[0xff, 0x07], &[0x0f, 0x11, 0x07], &[0x01, 0x07], &[0xc7, 0x4f, 0, 0, 0, 0, 0]]
        {
            assert_eq!(decode(bytes), None, "{bytes:x?}");
        }
    }

    #[test]
    fn registers_are_written_as_the_processor_does() {
        for (width, second_byte, result) in [
            (1, false, 0x1111_1111_1111_11aa),
            (1, true, 0x1111_1111_1111_aa11),
            (2, false, 0x1111_1111_1111_aaaa),
            (4, false, 0xaaaa_aaaa),
            (8, false, 0xaaaa_aaaa_aaaa_aaaa),
        ] {
            let mut into = 0x1111_1111_1111_1111;
            put(&mut into, Register { number: 0, second_byte }, width, 0xaaaa_aaaa_aaaa_aaaa);
            assert_eq!(into, result, "{width}");
        }
    }
}
