//! Fix-ups of code: what the compiler left for the kernel to decide at load time.

use bstr::BStr;

use crate::error::LinkError;
use crate::place::Parts;
use crate::tables::{Source, relative};

/// `nopl 0(%rax,%rax,1)`: the five-byte NOP Linux uses.
pub(crate) const NOP5: [u8; 5] = [0x0f, 0x1f, 0x44, 0x00, 0x00];
/// `xchg %ax,%ax`: the two-byte NOP Linux uses.
const NOP2: [u8; 2] = [0x66, 0x90];
const INT3: u8 = 0xcc;

/// The addresses of the functions whose calls are replaced, as this module was bound to them.
#[derive(Default)]
pub(crate) struct Thunks {
    fentry: Option<u64>,
    return_thunk: Option<u64>,
    /// `__x86_indirect_thunk_REG`, by the register's number.
    indirect: [Option<u64>; 16],
}

const REGISTERS: [&[u8]; 16] = [
    b"rax", b"rcx", b"rdx", b"rbx", b"rsp", b"rbp", b"rsi", b"rdi", b"r8", b"r9", b"r10", b"r11", b"r12", b"r13",
    b"r14", b"r15",
];

impl Thunks {
    /// Remembers the symbol when it is one of these.
    pub(crate) fn note(&mut self, name: &BStr, value: u64) {
        let Some(rest) = name.strip_prefix(b"__") else {
            return;
        };
        if rest == b"fentry__" {
            self.fentry = Some(value);
        } else if rest == b"x86_return_thunk" {
            self.return_thunk = Some(value);
        } else if let Some(register) = rest.strip_prefix(b"x86_indirect_thunk_")
            && let Some(number) = REGISTERS.iter().position(|name| *name == register)
        {
            self.indirect[number] = Some(value);
        }
    }

    /// The register a thunk stands for; none when two registers were bound to one address.
    fn register(&self, address: u64) -> Option<u8> {
        let mut numbers = (0u8..16).filter(|&number| self.indirect[usize::from(number)] == Some(address));
        let number = numbers.next()?;
        numbers.next().is_none().then_some(number)
    }
}

/// A branch that a static key switches (an entry of `__jump_table`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The address of the NOP or jump.
    pub site: u64,
    /// Where the jump goes.
    pub target: u64,
    /// The address of the `struct static_key`.
    pub key: u64,
    /// The code behind the site is the one for an enabled key: the site jumps while the key is off.
    pub likely: bool,
    /// The site is in code that is freed after initialisation.
    pub init: bool,
}

/// The bytes of a branch: two or five of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BranchCode {
    bytes: [u8; 5],
    length: u8,
}

impl BranchCode {
    /// The bytes to write at the site.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Branch {
    /// The code of this branch for a key that is on or off. `current` are the bytes at the site now, five of them or as many
    /// as there are; they tell the length. `None` when they are neither a jump nor a NOP, or when the target is out of the
    /// short form's reach.
    #[must_use]
    pub fn code(&self, current: &[u8], enabled: bool) -> Option<BranchCode> {
        let jump = enabled != self.likely;
        let distance = |length: u64| self.target.wrapping_sub(self.site.wrapping_add(length)) as i64;
        let mut bytes = [0; 5];
        let length = match current {
            [0xeb, _, ..] | [0x66, 0x90, ..] => {
                let short = [0xeb, i8::try_from(distance(2)).ok()? as u8];
                bytes[..2].copy_from_slice(if jump { &short } else { &NOP2 });
                2
            }
            [0xe9, _, _, _, _, ..] | [0x0f, 0x1f, 0x44, 0x00, 0x00, ..] => {
                let near = i32::try_from(distance(5)).ok()?.to_le_bytes();
                bytes = if jump { [0xe9, near[0], near[1], near[2], near[3]] } else { NOP5 };
                5
            }
            _ => return None,
        };
        Some(BranchCode { bytes, length })
    }
}

/// `call __fentry__` at the entries of functions becomes a NOP. How many did.
pub(crate) fn fentry(source: &Source<'_, '_>, parts: &mut Parts<'_>, thunks: &Thunks) -> Result<u32, LinkError> {
    let Some(table) = source.entries(source.known.mcount, 8, "__mcount_loc") else {
        return Ok(0);
    };
    let mut count = 0;
    for index in 0..table.count {
        let site = u64::from_le_bytes(table.bytes(parts, index));
        let Some((part, offset)) = source.map.locate_text(site, 5) else {
            return Err(source.outside(&table, index));
        };
        let code = parts.bytes[part as usize].get_mut(offset..).and_then(|rest| rest.first_chunk_mut::<5>());
        if let Some(code) = code
            && code[0] == 0xe8
            && Some(relative(site.wrapping_add(5), &code[1..])) == thunks.fentry
        {
            *code = NOP5;
            count += 1;
        }
    }
    Ok(count)
}

/// `jmp __x86_return_thunk` becomes `ret`, padded with `int3`.
pub(crate) fn returns(source: &Source<'_, '_>, parts: &mut Parts<'_>, thunks: &Thunks) -> Result<(), LinkError> {
    let Some(table) = source.entries(source.known.returns, 4, ".return_sites") else {
        return Ok(());
    };
    for index in 0..table.count {
        let site = relative(table.address(index, 4), &table.bytes::<4>(parts, index));
        let Some((part, offset)) = source.map.locate_text(site, 5) else {
            return Err(source.outside(&table, index));
        };
        let code = parts.bytes[part as usize].get_mut(offset..).and_then(|rest| rest.first_chunk_mut::<5>());
        if let Some(code) = code
            && code[0] == 0xe9
            && Some(relative(site.wrapping_add(5), &code[1..])) == thunks.return_thunk
        {
            *code = [0xc3, INT3, INT3, INT3, INT3];
        }
    }
    Ok(())
}

/// A call or jump to `__x86_indirect_thunk_REG` becomes `call *%REG` or `jmp *%REG`, padded to the old length.
pub(crate) fn retpolines(source: &Source<'_, '_>, parts: &mut Parts<'_>, thunks: &Thunks) -> Result<(), LinkError> {
    let Some(table) = source.entries(source.known.retpolines, 4, ".retpoline_sites") else {
        return Ok(());
    };
    for index in 0..table.count {
        let site = relative(table.address(index, 4), &table.bytes::<4>(parts, index));
        let Some((part, offset)) = source.map.locate_text(site, 5) else {
            return Err(source.outside(&table, index));
        };
        let code = parts.bytes[part as usize].get_mut(offset..).unwrap_or_default();
        direct(code, site, thunks);
    }
    Ok(())
}

/// Rewrites one branch; code that is none of the known forms stays as it is, which is always right.
fn direct(code: &mut [u8], site: u64, thunks: &Thunks) {
    // Compilers put a CS prefix before branches to the thunks of r8 to r15, to make room.
    let prefix = usize::from(code.first() == Some(&0x2e));
    let opcode = match code.get(prefix..) {
        Some([0xe8, ..]) => 1,
        Some([0xe9, ..]) => 1,
        Some([0x0f, second, ..]) if second & 0xf0 == 0x80 => 2,
        _ => return,
    };
    let length = prefix + opcode + 4;
    let Some(code) = code.get_mut(..length) else {
        return;
    };
    let target = relative(site.wrapping_add(length as u64), &code[prefix + opcode..]);
    let Some(register) = thunks.register(target) else {
        return;
    };
    let mut new = [INT3; 8];
    let mut used = 0;
    if opcode == 2 {
        // The opposite condition jumps over: 0x70 + condition, with its lowest bit flipped.
        new[0] = 0x70 | ((code[prefix + 1] & 0x0f) ^ 1);
        new[1] = (length - 2) as u8;
        used = 2;
    }
    if register >= 8 {
        new[used] = 0x41;
        used += 1;
    }
    new[used] = 0xff;
    let call = code[prefix] == 0xe8;
    new[used + 1] = if call { 0xd0 } else { 0xe0 } | (register & 7);
    used += 2;
    if call {
        // Execution goes on behind a call: pad with NOPs. Behind a jump it does not, so `int3` stays.
        nops(&mut new[used..length]);
    }
    code.copy_from_slice(&new[..length]);
}

/// Fills with as few NOPs as possible (Intel SDM, "NOP": the recommended multi-byte sequences).
pub(crate) fn nops(mut code: &mut [u8]) {
    const NOPS: [&[u8]; 9] = [
        &[],
        &[0x90],
        &[0x66, 0x90],
        &[0x0f, 0x1f, 0x00],
        &[0x0f, 0x1f, 0x40, 0x00],
        &[0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
        &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    ];
    while !code.is_empty() {
        let nop = NOPS[code.len().min(8)];
        let (head, rest) = code.split_at_mut(nop.len());
        head.copy_from_slice(nop);
        code = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_follows_its_key() {
        let branch = Branch { site: 0x1000, target: 0x1040, key: 0, likely: false, init: false };
        let on = branch.code(&[0x66, 0x90, 0, 0, 0], true).unwrap();
        assert_eq!(on.as_bytes(), [0xeb, 0x3e]);
        assert_eq!(branch.code(on.as_bytes(), false).unwrap().as_bytes(), NOP2);
        let far = Branch { target: 0x2000, likely: true, ..branch };
        let off = far.code(&NOP5, false).unwrap();
        assert_eq!(off.as_bytes(), [0xe9, 0xfb, 0x0f, 0, 0]);
        assert_eq!(far.code(off.as_bytes(), true).unwrap().as_bytes(), NOP5);
        assert_eq!(far.code(&[0xeb, 0], false), None, "the short form does not reach");
        assert_eq!(branch.code(&[0x55, 0x48], true), None);
    }

    #[test]
    fn retpolines_become_direct() {
        let mut thunks = Thunks::default();
        thunks.note(BStr::new("__x86_indirect_thunk_rax"), 0x2000);
        thunks.note(BStr::new("__x86_indirect_thunk_r11"), 0x2040);
        let rel = |to: i32, end: i32| (to - end).to_le_bytes();
        let d = rel(0x2000, 0x1005);
        let mut call = [0xe8, d[0], d[1], d[2], d[3]];
        direct(&mut call, 0x1000, &thunks);
        assert_eq!(call, [0xff, 0xd0, 0x0f, 0x1f, 0x00]);
        let d = rel(0x2040, 0x1006);
        let mut jump = [0x2e, 0xe9, d[0], d[1], d[2], d[3]];
        direct(&mut jump, 0x1000, &thunks);
        assert_eq!(jump, [0x41, 0xff, 0xe3, INT3, INT3, INT3]);
        let mut jcc = [0x0f, 0x84, d[0], d[1], d[2], d[3]];
        direct(&mut jcc, 0x1000, &thunks);
        assert_eq!(jcc, [0x75, 0x04, 0x41, 0xff, 0xe3, INT3]);
        let mut other = [0xe8, 0, 0, 0, 0];
        direct(&mut other, 0x1000, &thunks);
        assert_eq!(other, [0xe8, 0, 0, 0, 0]);
    }
}
