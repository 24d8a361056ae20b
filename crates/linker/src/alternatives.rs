//! `.altinstructions`: other code for processors with a feature.
//!
//! The code the compiler left in place runs on every processor, so nothing has to be applied. When the caller names the
//! features of its processor, the replacements for them are copied over the original code. Relative references in a
//! replacement are exactly its PC-relative relocations, so no instruction has to be decoded: each is moved by the distance
//! between the two places.

use object::LittleEndian as LE;
use object::elf;

use crate::error::LinkError;
use crate::fixups::nops;
use crate::place::Parts;
use crate::relocate::Values;
use crate::tables::{Source, relative, release_at_least};

/// Applied when the feature is absent. Until 6.2 the top bit of the feature, later a flag of its own.
const NOT_IN_FEATURE: u16 = 0x8000;
const FLAG_NOT: u16 = 1;
/// From 6.8: the replacement is a call that goes to what a pointer holds. Needs the pointer's value; not applied.
const FLAG_DIRECT_CALL: u16 = 2;

/// Applies the replacements for `features`: 32 to a word, as Linux numbers them.
pub(crate) fn apply(
    source: &Source<'_, '_>,
    values: &Values<'_>,
    parts: &mut Parts<'_>,
    features: &[u32],
) -> Result<(), LinkError> {
    // {s32 instruction, s32 replacement, u16 feature, [u16 flags from 6.3,] u8 length, u8 replacement length}
    let flags_apart = release_at_least(source.image, 6, 3);
    let size = if flags_apart { 14 } else { 12 };
    let Some(table) = source.entries(source.known.alternatives, size, ".altinstructions") else {
        return Ok(());
    };
    for index in 0..table.count {
        let at = table.address(index, size);
        let mut bytes = [0; 14];
        if flags_apart {
            bytes = table.bytes::<14>(parts, index);
        } else {
            bytes[..12].copy_from_slice(&table.bytes::<12>(parts, index));
        }
        let (instruction, replacement) = (relative(at, &bytes), relative(at.wrapping_add(4), &bytes[4..]));
        let word = u16::from_le_bytes([bytes[8], bytes[9]]);
        let (feature, flags, lengths) = if flags_apart {
            (word, u16::from_le_bytes([bytes[10], bytes[11]]), [bytes[12], bytes[13]])
        } else {
            let not = if word & NOT_IN_FEATURE != 0 { FLAG_NOT } else { 0 };
            (word & !NOT_IN_FEATURE, not, [bytes[10], bytes[11]])
        };
        let [length, new_length] = lengths.map(usize::from);
        let old = source.map.locate_text(instruction, length as u64);
        // A replacement of no bytes may stand at the end of its section.
        let new = source.map.locate_text(replacement, new_length as u64).or(if new_length == 0 { old } else { None });
        let (Some((old_part, old_offset)), Some((new_part, new_offset))) = (old, new) else {
            return Err(source.outside(&table, index));
        };
        if new_length > length {
            return Err(source.outside(&table, index));
        }
        let present = features.get(usize::from(feature / 32)).is_some_and(|word| word >> (feature % 32) & 1 != 0);
        if present == (flags & FLAG_NOT != 0) || flags & FLAG_DIRECT_CALL != 0 {
            continue;
        }
        // Lengths are bytes, so 255 is enough.
        let mut code = [0u8; 255];
        if let Some(bytes) = parts.bytes[new_part as usize].get(new_offset..new_offset + new_length) {
            code[..new_length].copy_from_slice(bytes);
        }
        if !rebase(source, values, replacement, instruction, &mut code[..new_length]) {
            continue;
        }
        nops(&mut code[new_length..length]);
        if let Some(target) = parts.bytes[old_part as usize].get_mut(old_offset..old_offset + length) {
            target.copy_from_slice(&code[..length]);
        }
    }
    Ok(())
}

/// Moves the relative references of a replacement from where it lies to where it will run; false when one does not fit.
fn rebase(source: &Source<'_, '_>, values: &Values<'_>, from: u64, to: u64, code: &mut [u8]) -> bool {
    let moved = from.wrapping_sub(to) as i64;
    for (section, relocations) in source.image.relocations() {
        let Some(&address) = values.sections.get(section) else {
            continue;
        };
        let size = source.image.sections().get(section).map_or(0, |section| section.size);
        if address == 0 || from.wrapping_sub(address) >= size {
            continue;
        }
        for rela in relocations {
            let place = address.wrapping_add(rela.r_offset.get(LE)).wrapping_sub(from);
            if place >= code.len() as u64 {
                continue;
            }
            match elf::RelocationType(rela.r_info.get(LE) as u32) {
                elf::R_X86_64_PC32 | elf::R_X86_64_PLT32 => {}
                elf::R_X86_64_64 | elf::R_X86_64_32 | elf::R_X86_64_32S | elf::R_X86_64_NONE => {
                    continue;
                }
                _ => return false,
            }
            let field = code.get_mut(place as usize..).and_then(|rest| rest.first_chunk_mut::<4>());
            let Some(field) = field else { return false };
            let Ok(distance) = i32::try_from(i64::from(i32::from_le_bytes(*field)) + moved) else {
                return false;
            };
            *field = distance.to_le_bytes();
        }
    }
    true
}
