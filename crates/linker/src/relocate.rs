//! The relocation writer: every field checked, every value checked to fit.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use bstr::BStr;
use ferrmod_image::Image;
use object::LittleEndian as LE;
use object::elf::{self, Rela64};

use crate::error::LinkError;
use crate::layout::{Layout, PartKind};
use crate::place::Parts;

/// What a relocation needs to know.
pub(crate) struct Values<'v> {
    pub(crate) module: &'v BStr,
    /// The final value of each symbol, by index.
    pub(crate) symbols: &'v [u64],
    /// The address of each section, by index.
    pub(crate) sections: &'v [u64],
    /// Whether relocations through a global offset table are allowed.
    pub(crate) got: bool,
    /// The address of [`PartKind::Rodata`].
    pub(crate) rodata: u64,
}

const NONE: u32 = elf::R_X86_64_NONE.0;
const ABSOLUTE_64: u32 = elf::R_X86_64_64.0;
const PC32: u32 = elf::R_X86_64_PC32.0;
const PLT32: u32 = elf::R_X86_64_PLT32.0;
const ABSOLUTE_32: u32 = elf::R_X86_64_32.0;
const SIGNED_32: u32 = elf::R_X86_64_32S.0;
const PC64: u32 = elf::R_X86_64_PC64.0;
const GOTPCREL: u32 = elf::R_X86_64_GOTPCREL.0;
const GOTPCRELX: u32 = elf::R_X86_64_GOTPCRELX.0;
const REX_GOTPCRELX: u32 = elf::R_X86_64_REX_GOTPCRELX.0;

fn is_got(kind: u32) -> bool {
    matches!(kind, GOTPCREL | GOTPCRELX | REX_GOTPCRELX)
}

/// `ELF64_R_TYPE` and `ELF64_R_SYM`.
#[inline]
fn type_and_symbol(rela: &Rela64<LE>) -> (u32, u32) {
    let info = rela.r_info.get(LE);
    (info as u32, (info >> 32) as u32)
}

/// The symbols that some relocation reaches through a global offset table, ascending.
pub(crate) fn symbols_through_got(image: &Image<'_>, layout: &Layout) -> Vec<u32> {
    let mut symbols = Vec::new();
    for (target, relocations) in image.relocations() {
        if layout.sections.get(target).is_some_and(Option::is_some) {
            let through_got = relocations.iter().map(type_and_symbol).filter(|&(kind, _)| is_got(kind));
            symbols.extend(through_got.map(|(_, symbol)| symbol));
        }
    }
    symbols.sort_unstable();
    symbols.dedup();
    symbols
}

/// Writes the offset table that [`symbols_through_got`] asked for.
pub(crate) fn write_got(layout: &Layout, values: &Values<'_>, parts: &mut Parts<'_>) {
    let rodata = &mut *parts.bytes[PartKind::Rodata as usize];
    let slots = rodata.get_mut(layout.got_offset as usize..).unwrap_or_default().chunks_exact_mut(8);
    for (slot, &symbol) in slots.zip(&layout.got) {
        let value = values.symbols.get(symbol as usize).copied().unwrap_or_default();
        slot.copy_from_slice(&value.to_le_bytes());
    }
}

/// Applies the relocations of every section that is kept.
pub(crate) fn apply(
    image: &Image<'_>,
    layout: &Layout,
    values: &Values<'_>,
    parts: &mut Parts<'_>,
) -> Result<(), LinkError> {
    let kept = |index: usize| layout.sections.get(index).copied().flatten();
    for section in image.sections() {
        if section.kind == elf::SHT_REL.0 && kept(section.info as usize).is_some() {
            return Err(LinkError::Rel { module: values.module.to_owned() });
        }
    }
    for (target, relocations) in image.relocations() {
        let (Some(place), Some(section)) = (kept(target), image.sections().get(target)) else {
            continue;
        };
        let start = place.offset as usize;
        // `Layout` placed the section inside its part, and the caller's buffer was checked to be as large as the part.
        let Some(bytes) = parts.bytes[place.part as usize].get_mut(start..start + section.size as usize) else {
            continue;
        };
        let mut writer = Writer { image, layout, values, target, address: values.sections[target], bytes };
        for (index, rela) in relocations.iter().enumerate() {
            writer.write(index, rela)?;
        }
    }
    Ok(())
}

struct Writer<'w, 'a> {
    image: &'w Image<'a>,
    layout: &'w Layout,
    values: &'w Values<'w>,
    target: usize,
    address: u64,
    bytes: &'w mut [u8],
}

impl Writer<'_, '_> {
    #[inline]
    fn write(&mut self, index: usize, rela: &Rela64<LE>) -> Result<(), LinkError> {
        let (kind, symbol) = type_and_symbol(rela);
        if kind == NONE {
            return Ok(());
        }
        let Some(&value) = self.values.symbols.get(symbol as usize) else {
            return Err(self.bad_symbol(index, symbol));
        };
        let offset = rela.r_offset.get(LE);
        let value = value.wrapping_add_signed(rela.r_addend.get(LE));
        match kind {
            PC32 | PLT32 => {
                let place = self.address.wrapping_add(offset);
                let field = self.field::<4>(index, kind, offset, value)?;
                let distance = value.wrapping_sub(place) as i64;
                let Ok(short) = i32::try_from(distance) else {
                    return Err(self.out_of_reach(kind, symbol, place, value));
                };
                *field = short.to_le_bytes();
            }
            ABSOLUTE_64 => *self.field::<8>(index, kind, offset, value)? = value.to_le_bytes(),
            SIGNED_32 => {
                let field = self.field::<4>(index, kind, offset, value)?;
                let Ok(short) = i32::try_from(value as i64) else {
                    return Err(self.overflow(kind, value));
                };
                *field = short.to_le_bytes();
            }
            ABSOLUTE_32 => {
                let field = self.field::<4>(index, kind, offset, value)?;
                let Ok(short) = u32::try_from(value) else {
                    return Err(self.overflow(kind, value));
                };
                *field = short.to_le_bytes();
            }
            PC64 => {
                let place = self.address.wrapping_add(offset);
                *self.field::<8>(index, kind, offset, value)? = value.wrapping_sub(place).to_le_bytes();
            }
            kind if is_got(kind) && self.values.got => self.through_got(index, rela)?,
            kind => {
                return Err(LinkError::RelocationType { module: self.values.module.to_owned(), kind });
            }
        }
        Ok(())
    }

    /// The field to write, which must be zero as Linux demands.
    #[inline]
    fn field<const N: usize>(
        &mut self,
        index: usize,
        kind: u32,
        offset: u64,
        value: u64,
    ) -> Result<&mut [u8; N], LinkError> {
        let in_range = usize::try_from(offset)
            .ok()
            .filter(|&start| start.checked_add(N).is_some_and(|end| end <= self.bytes.len()));
        let Some(start) = in_range else {
            return Err(self.bad_offset(index, offset));
        };
        if self.bytes[start..start + N] != [0; N] {
            return Err(LinkError::RelocationTarget { kind, location: self.address.wrapping_add(offset), value });
        }
        match self.bytes[start..].first_chunk_mut() {
            Some(field) => Ok(field),
            // Not reached: the range was checked above. Written so that no panic is left in the writer.
            None => Err(LinkError::RelocationTarget { kind, location: offset, value }),
        }
    }

    /// A load of an address from the offset table. Where the instruction allows it the load becomes the address itself
    /// (psABI, "Optimize GOTPCRELX Relocations"); else it reads the slot that `Layout` reserved.
    fn through_got(&mut self, index: usize, rela: &Rela64<LE>) -> Result<(), LinkError> {
        let ((kind, symbol), offset) = (type_and_symbol(rela), rela.r_offset.get(LE));
        let addend = rela.r_addend.get(LE);
        let value = self.values.symbols.get(symbol as usize).copied().unwrap_or_default();
        let place = self.address.wrapping_add(offset);
        self.field::<4>(index, kind, offset, value)?;
        let start = offset as usize;
        let direct = i32::try_from(value.wrapping_add_signed(addend).wrapping_sub(place) as i64).ok();
        if let (Some(direct), true, -4) = (direct, kind != GOTPCREL, addend)
            && start >= 2
        {
            let [opcode, modrm] = [self.bytes[start - 2], self.bytes[start - 1]];
            // ModRM of `disp32(%rip)`: mod 0, rm 5.
            let rip_relative = modrm & 0xc7 == 0x05;
            let replaced = match (opcode, modrm) {
                // mov sym@GOTPCREL(%rip), %reg -> lea sym(%rip), %reg
                (0x8b, _) if rip_relative => Some(([0x8d, modrm], direct)),
                // call *sym@GOTPCREL(%rip) -> addr32 call sym
                (0xff, 0x15) => Some(([0x67, 0xe8], direct)),
                _ => None,
            };
            if let Some((instruction, displacement)) = replaced {
                self.bytes[start - 2..start].copy_from_slice(&instruction);
                self.bytes[start..start + 4].copy_from_slice(&displacement.to_le_bytes());
                return Ok(());
            }
            // jmp *sym@GOTPCREL(%rip) -> jmp sym; nop. The displacement starts one byte earlier.
            if (opcode, modrm) == (0xff, 0x25)
                && let Some(displacement) = direct.checked_add(1)
            {
                self.bytes[start - 2] = 0xe9;
                self.bytes[start - 1..start + 3].copy_from_slice(&displacement.to_le_bytes());
                self.bytes[start + 3] = 0x90;
                return Ok(());
            }
        }
        let Ok(slot) = self.layout.got.binary_search(&symbol) else {
            return Err(LinkError::RelocationType { module: self.values.module.to_owned(), kind });
        };
        let slot = self.values.rodata.wrapping_add(u64::from(self.layout.got_offset) + 8 * slot as u64);
        let Ok(distance) = i32::try_from(slot.wrapping_add_signed(addend).wrapping_sub(place) as i64) else {
            return Err(self.out_of_reach(kind, symbol, place, slot));
        };
        self.bytes[start..start + 4].copy_from_slice(&distance.to_le_bytes());
        Ok(())
    }

    fn section_name(&self) -> bstr::BString {
        self.image.sections().get(self.target).map(|section| section.name.to_owned()).unwrap_or_default()
    }

    #[cold]
    fn overflow(&self, kind: u32, value: u64) -> LinkError {
        LinkError::RelocationOverflow { module: self.values.module.to_owned(), kind, value }
    }

    #[cold]
    fn out_of_reach(&self, kind: u32, symbol: u32, location: u64, target: u64) -> LinkError {
        let name = self.image.symbols().get(symbol as usize).map(|symbol| self.image.symbol_name(symbol));
        LinkError::RelocationReach {
            module: self.values.module.to_owned(),
            kind,
            section: self.section_name(),
            location,
            symbol: name.unwrap_or_default().to_owned(),
            target,
        }
    }

    #[cold]
    fn bad_offset(&self, index: usize, offset: u64) -> LinkError {
        let module = self.values.module.to_owned();
        LinkError::RelocationOffset { module, section: self.section_name(), index, offset }
    }

    #[cold]
    fn bad_symbol(&self, index: usize, symbol: u32) -> LinkError {
        let module = self.values.module.to_owned();
        let count = self.values.symbols.len();
        LinkError::RelocationSymbol { module, section: self.section_name(), index, symbol, count }
    }
}
