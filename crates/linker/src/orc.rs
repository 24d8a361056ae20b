//! ORC: how to find a function's caller without frame pointers.
//!
//! Linux's build describes every instruction of a module with a six-byte entry: how the stack pointer before the call is
//! computed, and where the caller's frame pointer was saved. [`Unwinder`] walks such tables over a stack it reads through a
//! closure, so that it works on a running module, on a copy of its stack, or in another process.
//!
//! Source: Documentation/x86/orc-unwinder.rst and the layout of `struct orc_entry` in the kernel's BTF.

use alloc::vec::Vec;

/// Which layout the entries have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Until 6.3: two bits of type, then the end of the stack.
    #[default]
    Linux6_1,
    /// From 6.4 (modules have an `.orc_header`): three bits of type, then the signal bit.
    Linux6_4,
}

/// The sorted unwind table of a module, in its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// The address of `.orc_unwind_ip`: 4-byte offsets of instructions, each relative to itself.
    pub ip: u64,
    /// The address of `.orc_unwind`: 6-byte entries.
    pub entries: u64,
    /// How many.
    pub count: u32,
    /// Their layout.
    pub format: Format,
    /// The module's code: address and size of the core part and of the init part.
    pub text: [(u64, u64); 2],
}

impl Table {
    /// Whether the table describes code at `pc`.
    #[must_use]
    pub fn covers(&self, pc: u64) -> bool {
        self.text.iter().any(|&(base, size)| pc.wrapping_sub(base) < size)
    }

    /// The entry for the instruction at `pc`: the last one at or below it.
    pub fn find(&self, pc: u64, read: &mut dyn FnMut(u64, &mut [u8]) -> bool) -> Option<Entry> {
        if !self.covers(pc) || self.count == 0 {
            return None;
        }
        let (mut low, mut high) = (0u32, self.count);
        // Invariant: every entry below `low` is at or below `pc`, none from `high` on is.
        while low < high {
            let middle = low + (high - low) / 2;
            let slot = self.ip.wrapping_add(4 * u64::from(middle));
            let mut bytes = [0; 4];
            if !read(slot, &mut bytes) {
                return None;
            }
            if slot.wrapping_add_signed(i64::from(i32::from_le_bytes(bytes))) <= pc {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let index = low.checked_sub(1)?;
        let mut bytes = [0; 6];
        read(self.entries.wrapping_add(6 * u64::from(index)), &mut bytes).then(|| Entry::decode(bytes, self.format))
    }
}

/// A register an entry can start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing known.
    Undefined,
    /// The stack pointer before the call (for the frame pointer only).
    PreviousSp,
    /// `rdx`.
    Dx,
    /// `rdi`.
    Di,
    /// `rbp`.
    Bp,
    /// `rsp`.
    Sp,
    /// `r10`.
    R10,
    /// `r13`.
    R13,
    /// What is stored at `rbp` plus the offset.
    BpIndirect,
    /// What is stored at `rsp`, plus the offset.
    SpIndirect,
    /// A number without meaning.
    Unknown,
}

impl Base {
    fn decode(number: u16) -> Base {
        match number & 15 {
            0 => Base::Undefined,
            1 => Base::PreviousSp,
            2 => Base::Dx,
            3 => Base::Di,
            4 => Base::Bp,
            5 => Base::Sp,
            6 => Base::R10,
            7 => Base::R13,
            8 => Base::BpIndirect,
            9 => Base::SpIndirect,
            _ => Base::Unknown,
        }
    }
}

/// What lies at the computed stack pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Nothing is known about this code.
    Undefined,
    /// The stack ends here.
    EndOfStack,
    /// A call: the return address is just below.
    Call,
    /// A full `struct pt_regs`.
    Registers,
    /// The five words the processor pushes for an interrupt.
    Interrupt,
}

/// One decoded entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Added to the register `sp_base` to get the stack pointer before the call.
    pub sp_offset: i16,
    /// Added to `bp_base` to get the address of the saved frame pointer.
    pub bp_offset: i16,
    /// Where the stack pointer is computed from.
    pub sp_base: Base,
    /// Where the saved frame pointer is; [`Base::Undefined`] when `rbp` still has the caller's value.
    pub bp_base: Base,
    /// What lies there.
    pub kind: FrameKind,
    /// The next address is that of an interrupted instruction, not a return address (6.4 and later).
    pub signal: bool,
}

impl Entry {
    /// Decodes six bytes.
    #[must_use]
    pub fn decode(bytes: [u8; 6], format: Format) -> Entry {
        let [a, b, c, d, e, f] = bytes;
        let flags = u16::from_le_bytes([e, f]);
        let sp_base = Base::decode(flags);
        let (kind, signal) = match format {
            Format::Linux6_1 => {
                let end = flags & 1 << 10 != 0;
                let kind = match (flags >> 8) & 3 {
                    _ if sp_base == Base::Undefined && end => FrameKind::EndOfStack,
                    _ if sp_base == Base::Undefined => FrameKind::Undefined,
                    0 => FrameKind::Call,
                    1 => FrameKind::Registers,
                    2 => FrameKind::Interrupt,
                    _ => FrameKind::Undefined,
                };
                (kind, false)
            }
            Format::Linux6_4 => {
                let kind = match (flags >> 8) & 7 {
                    1 => FrameKind::EndOfStack,
                    2 => FrameKind::Call,
                    3 => FrameKind::Registers,
                    4 => FrameKind::Interrupt,
                    _ => FrameKind::Undefined,
                };
                (kind, flags & 1 << 11 != 0)
            }
        };
        Entry {
            sp_offset: i16::from_le_bytes([a, b]),
            bp_offset: i16::from_le_bytes([c, d]),
            sp_base,
            bp_base: Base::decode(flags >> 4),
            kind,
            signal,
        }
    }
}

/// Registers that only the innermost frame knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scratch {
    /// `rdx`.
    pub dx: u64,
    /// `rdi`.
    pub di: u64,
    /// `r10`.
    pub r10: u64,
    /// `r13`.
    pub r13: u64,
}

/// One frame: the registers as they are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The instruction pointer. In every frame but an interrupted one it is a return address, one past the call.
    pub ip: u64,
    /// The stack pointer.
    pub sp: u64,
    /// The frame pointer.
    pub bp: u64,
    /// Whether `ip` is an instruction about to run (an interrupted frame) and not a return address.
    pub exact: bool,
    /// What else is known.
    pub scratch: Option<Scratch>,
}

/// Why no caller was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The entry says that this is the outermost frame.
    #[error("end of the stack")]
    End,
    /// No table covers the address: module code was left.
    #[error("no unwind table for {ip:#x}")]
    NoTable {
        /// The address.
        ip: u64,
    },
    /// The entry says that nothing is known.
    #[error("no unwind information for {ip:#x}")]
    Undefined {
        /// The address.
        ip: u64,
    },
    /// The stack could not be read there.
    #[error("cannot read the stack at {address:#x}")]
    Unreadable {
        /// The address.
        address: u64,
    },
    /// A caller's frame must lie above its callee's.
    #[error("the stack goes the wrong way at {sp:#x}")]
    NotAscending {
        /// The computed stack pointer.
        sp: u64,
    },
}

/// Walks from frame to frame.
pub struct Unwinder<'u> {
    frame: Frame,
    tables: &'u [Table],
    read: &'u mut dyn FnMut(u64, &mut [u8]) -> bool,
}

impl<'u> Unwinder<'u> {
    /// Starts at `frame`, over the tables of all modules that may be on the stack. `read` fills a buffer from memory, or
    /// says that it cannot.
    pub fn new(frame: Frame, tables: &'u [Table], read: &'u mut dyn FnMut(u64, &mut [u8]) -> bool) -> Unwinder<'u> {
        Unwinder { frame, tables, read }
    }

    /// The frame it stands at.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Goes to the caller, and returns its frame.
    ///
    /// # Errors
    ///
    /// Why there is none; the unwinder stays where it is, so [`Unwinder::step_frame_pointer`] can be tried.
    pub fn step(&mut self) -> Result<Frame, Lost> {
        let frame = self.frame;
        // A return address may be the first of the next function when a call never returns: look at the call itself.
        let pc = if frame.exact { frame.ip } else { frame.ip.wrapping_sub(1) };
        let table = self.tables.iter().find(|table| table.covers(pc)).ok_or(Lost::NoTable { ip: frame.ip })?;
        let entry = table.find(pc, self.read).ok_or(Lost::NoTable { ip: frame.ip })?;
        match entry.kind {
            FrameKind::EndOfStack => return Err(Lost::End),
            FrameKind::Undefined => return Err(Lost::Undefined { ip: frame.ip }),
            FrameKind::Call | FrameKind::Registers | FrameKind::Interrupt => {}
        }
        let unknown = Lost::Undefined { ip: frame.ip };
        let offset = i64::from(entry.sp_offset);
        let sp = match entry.sp_base {
            Base::Sp => frame.sp.wrapping_add_signed(offset),
            Base::Bp => frame.bp.wrapping_add_signed(offset),
            Base::SpIndirect => self.word(frame.sp)?.wrapping_add_signed(offset),
            Base::BpIndirect => self.word(frame.bp.wrapping_add_signed(offset))?,
            Base::Dx => frame.scratch.ok_or(unknown)?.dx,
            Base::Di => frame.scratch.ok_or(unknown)?.di,
            Base::R10 => frame.scratch.ok_or(unknown)?.r10,
            Base::R13 => frame.scratch.ok_or(unknown)?.r13,
            Base::Undefined | Base::PreviousSp | Base::Unknown => return Err(unknown),
        };
        let mut next = Frame { ip: 0, sp, bp: frame.bp, exact: entry.signal, scratch: None };
        match entry.kind {
            FrameKind::Registers => {
                // struct pt_regs: r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax ip cs flags sp ss
                next.ip = self.word(sp.wrapping_add(16 * 8))?;
                next.sp = self.word(sp.wrapping_add(19 * 8))?;
                next.bp = self.word(sp.wrapping_add(4 * 8))?;
                next.scratch = Some(Scratch {
                    dx: self.word(sp.wrapping_add(12 * 8))?,
                    di: self.word(sp.wrapping_add(14 * 8))?,
                    r10: self.word(sp.wrapping_add(7 * 8))?,
                    r13: self.word(sp.wrapping_add(2 * 8))?,
                });
                next.exact = true;
            }
            FrameKind::Interrupt => {
                next.ip = self.word(sp)?;
                next.sp = self.word(sp.wrapping_add(3 * 8))?;
                next.exact = true;
            }
            _ => {
                if sp <= frame.sp {
                    return Err(Lost::NotAscending { sp });
                }
                next.ip = self.word(sp.wrapping_sub(8))?;
            }
        }
        if entry.kind != FrameKind::Registers {
            let saved = i64::from(entry.bp_offset);
            match entry.bp_base {
                Base::PreviousSp => next.bp = self.word(sp.wrapping_add_signed(saved))?,
                Base::Bp => next.bp = self.word(frame.bp.wrapping_add_signed(saved))?,
                _ => {}
            }
        }
        self.frame = next;
        Ok(next)
    }

    /// Goes to the caller of code that keeps a frame pointer and is past its prologue, such as a [`crate::bridge`].
    ///
    /// # Errors
    ///
    /// As [`Unwinder::step`].
    pub fn step_frame_pointer(&mut self) -> Result<Frame, Lost> {
        let bp = self.frame.bp;
        if bp < self.frame.sp {
            return Err(Lost::NotAscending { sp: bp });
        }
        let (saved, ip) = (self.word(bp)?, self.word(bp.wrapping_add(8))?);
        self.frame = Frame { ip, sp: bp.wrapping_add(16), bp: saved, exact: false, scratch: None };
        Ok(self.frame)
    }

    fn word(&mut self, address: u64) -> Result<u64, Lost> {
        let mut bytes = [0; 8];
        if (self.read)(address, &mut bytes) { Ok(u64::from_le_bytes(bytes)) } else { Err(Lost::Unreadable { address }) }
    }
}

/// Sorts a table in place. `ip` and `entries` are the bytes of the two sections; both are cut to whole entries.
///
/// The addresses are relative to their own slot, so they change when they move. Where two entries have one address, the one
/// without information goes first: it ends the function before.
pub(crate) fn sort(ip: &mut [u8], entries: &mut [u8], format: Format) {
    let distance = |slot: usize, bytes: &[u8; 4]| 4 * slot as i64 + i64::from(i32::from_le_bytes(*bytes));
    let (slots, _) = ip.as_chunks_mut::<4>();
    let (records, _) = entries.as_chunks_mut::<6>();
    let undefined = |record: &[u8; 6]| Entry::decode(*record, format).kind == FrameKind::Undefined;
    let mut sorted = true;
    let mut last = i64::MIN;
    for (slot, bytes) in slots.iter().enumerate() {
        let address = distance(slot, bytes);
        // Equal neighbours go to the slow path, which knows their order.
        sorted &= address > last;
        last = address;
    }
    if sorted {
        return;
    }
    let mut pairs: Vec<(i64, [u8; 6])> =
        slots.iter().enumerate().map(|(slot, bytes)| distance(slot, bytes)).zip(records.iter().copied()).collect();
    // Stable: the file is a few ascending runs, one a code section, which such a sort merges in linear time.
    pairs.sort_by(|(a, first), (b, second)| a.cmp(b).then_with(|| undefined(second).cmp(&undefined(first))));
    for (slot, ((bytes, record), (address, entry))) in slots.iter_mut().zip(records).zip(pairs).enumerate() {
        // In range: a permutation of slots moves an address by less than the table's size, and the table and the code
        // it describes lie within 2 GiB; a table of a damaged file may wrap and then finds nothing.
        *bytes = ((address - 4 * slot as i64) as i32).to_le_bytes();
        *record = entry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn decodes_both_layouts() {
        // sp = rsp + 8, rbp untouched, call.
        let old = Entry::decode([8, 0, 0, 0, 0x05, 0x00], Format::Linux6_1);
        assert_eq!((old.sp_base, old.sp_offset, old.kind), (Base::Sp, 8, FrameKind::Call));
        let new = Entry::decode([8, 0, 0, 0, 0x05, 0x02], Format::Linux6_4);
        assert_eq!((new.sp_base, new.sp_offset, new.kind), (Base::Sp, 8, FrameKind::Call));
        // rbp saved at the previous sp - 16.
        let saved = Entry::decode([16, 0, 0xf0, 0xff, 0x15, 0x00], Format::Linux6_1);
        assert_eq!((saved.bp_base, saved.bp_offset), (Base::PreviousSp, -16));
        assert_eq!(Entry::decode([0; 6], Format::Linux6_1).kind, FrameKind::Undefined);
        assert_eq!(Entry::decode([0, 0, 0, 0, 0, 4], Format::Linux6_1).kind, FrameKind::EndOfStack);
        assert_eq!(Entry::decode([0, 0, 0, 0, 0, 1], Format::Linux6_4).kind, FrameKind::EndOfStack);
    }

    #[test]
    fn sorting_keeps_addresses_and_puts_the_end_of_a_function_first() {
        // Addresses relative to the table: 100, 50, 100 (no information), 20.
        let addresses = [100i32, 50, 100, 20];
        let mut ip = vec![];
        for (slot, address) in addresses.iter().enumerate() {
            ip.extend((address - 4 * slot as i32).to_le_bytes());
        }
        let mut entries = vec![];
        for flags in [5u8, 5, 0, 5] {
            entries.extend([flags, 0, 0, 0, flags, 0]);
        }
        sort(&mut ip, &mut entries, Format::Linux6_1);
        let read: Vec<i32> = (0..4)
            .map(|slot| i32::from_le_bytes(ip[4 * slot..4 * slot + 4].try_into().unwrap()) + 4 * slot as i32)
            .collect();
        assert_eq!(read, [20, 50, 100, 100]);
        assert_eq!([entries[0], entries[6], entries[12], entries[18]], [5, 5, 0, 5]);
    }

    #[test]
    fn walks_a_made_up_stack() {
        // One module at 0x1000: function A (0x1000..) with sp = rsp + 24, B (0x1100..) with a frame pointer.
        let mut memory = vec![0u8; 0x100];
        // Tables at 0x0: ip entries at 0x0 and 0x4, records at 0x10.
        memory[0..4].copy_from_slice(&0x1000i32.to_le_bytes());
        memory[4..8].copy_from_slice(&(0x1100i32 - 4).to_le_bytes());
        memory[0x10..0x16].copy_from_slice(&[24, 0, 0, 0, 0x05, 0]);
        memory[0x16..0x1c].copy_from_slice(&[16, 0, 0xf0, 0xff, 0x14, 0]);
        // Stack from 0x40: A's two words, return into B; B's saved rbp, return to 0x9000.
        memory[0x50..0x58].copy_from_slice(&0x1110u64.to_le_bytes());
        memory[0x68..0x70].copy_from_slice(&0x7777u64.to_le_bytes());
        memory[0x70..0x78].copy_from_slice(&0x9000u64.to_le_bytes());
        let mut read = |address: u64, into: &mut [u8]| {
            let Some(bytes) = memory.get(address as usize..address as usize + into.len()) else {
                return false;
            };
            into.copy_from_slice(bytes);
            true
        };
        let tables =
            [Table { ip: 0, entries: 0x10, count: 2, format: Format::Linux6_1, text: [(0x1000, 0x200), (0, 0)] }];
        let start = Frame { ip: 0x1008, sp: 0x40, bp: 0x68, exact: true, scratch: None };
        let mut unwinder = Unwinder::new(start, &tables, &mut read);
        let b = unwinder.step().unwrap();
        assert_eq!((b.ip, b.sp, b.bp), (0x1110, 0x58, 0x68));
        let outside = unwinder.step().unwrap();
        assert_eq!((outside.ip, outside.sp, outside.bp), (0x9000, 0x78, 0x7777));
        assert_eq!(unwinder.step(), Err(Lost::NoTable { ip: 0x9000 }));
    }
}
