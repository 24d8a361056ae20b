//! Where the members of a struct are.

use bstr::BStr;

use super::{Btf, Kind, Type};
use crate::flat::u32_at;

/// How deep unnamed structs and unions are looked into.
const MAX_NESTING: usize = 16;

/// How many members one look-up may pass. The largest struct of a kernel has some hundreds; broken
/// types could nest themselves exponentially.
const MAX_STEPS: usize = 20_000;

/// A struct or a union.
#[derive(Clone, Copy, Debug)]
pub struct Struct<'b> {
    btf: &'b Btf<'b>,
    id: u32,
    kind: Kind,
    name: u32,
    size: u32,
    kind_flag: bool,
    members: &'b [u8],
}

/// A member of a struct or a union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'b> {
    /// Its name; empty for an unnamed struct or union.
    pub name: &'b BStr,
    /// Its type.
    pub type_id: u32,
    /// Bits from the start of the struct that was asked.
    pub bit_offset: u64,
    /// Width in bits when it is a bit-field, else 0.
    pub bits: u32,
}

impl Member<'_> {
    /// Bytes from the start of the struct that was asked (of a bit-field: of the byte its first bit
    /// is in).
    pub fn offset(&self) -> u64 {
        self.bit_offset / 8
    }
}

/// The members of a struct, in order.
#[derive(Clone, Debug)]
pub struct Members<'b> {
    of: Struct<'b>,
    entries: core::slice::ChunksExact<'b, u8>,
}

impl<'b> Iterator for Members<'b> {
    type Item = Member<'b>;

    fn next(&mut self) -> Option<Member<'b>> {
        let entry = self.entries.next()?;
        self.of.entry(entry)
    }
}

impl<'b> Struct<'b> {
    /// The struct that a type is.
    pub(super) fn of(btf: &'b Btf<'_>, id: u32, found: Type<'b>) -> Option<Struct<'b>> {
        matches!(found.kind, Kind::Struct | Kind::Union).then_some(Struct {
            btf,
            id,
            kind: found.kind,
            name: found.name,
            size: found.size_or_type,
            kind_flag: found.kind_flag,
            members: found.trailing,
        })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its name; empty when it has none.
    pub fn name(&self) -> &'b BStr {
        BStr::new(self.btf.string(self.name).unwrap_or_default())
    }

    /// Whether it is a union.
    pub fn is_union(&self) -> bool {
        self.kind == Kind::Union
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        u64::from(self.size)
    }

    /// Its members as they are declared, unnamed ones included.
    pub fn members(&self) -> Members<'b> {
        Members { of: *self, entries: self.members.chunks_exact(12) }
    }

    /// One entry of the list of members.
    fn entry(&self, entry: &'b [u8]) -> Option<Member<'b>> {
        let (bit_offset, bits) = self.place(u32_at(entry, 8)?);
        let name = BStr::new(self.btf.string(u32_at(entry, 0)?).unwrap_or_default());
        Some(Member { name, type_id: u32_at(entry, 4)?, bit_offset, bits })
    }

    /// Bit offset and width that the third word of a member gives.
    fn place(&self, word: u32) -> (u64, u32) {
        if self.kind_flag { (u64::from(word & 0x00ff_ffff), word >> 24) } else { (u64::from(word), 0) }
    }

    /// The member of that name, looked for in unnamed structs and unions too. `name` may be a path,
    /// `base.cra_name` or `list[2].next`; offsets are from the start of this struct.
    pub fn member(&self, path: impl AsRef<[u8]>) -> Option<Member<'b>> {
        let mut path = path.as_ref();
        let mut container = *self;
        let mut start = 0u64;
        loop {
            let end = path.iter().position(|byte| matches!(byte, b'.' | b'[')).unwrap_or(path.len());
            let (name, mut rest) = path.split_at_checked(end)?;
            let mut steps = MAX_STEPS;
            let mut found = container.find(name, MAX_NESTING, &mut steps)?;
            found.bit_offset = found.bit_offset.checked_add(start)?;
            while let Some(after) = rest.strip_prefix(b"[") {
                let close = after.iter().position(|&byte| byte == b']')?;
                let number: u64 = core::str::from_utf8(after.get(..close)?).ok()?.parse().ok()?;
                let (element, count) = self.btf.array(found.type_id)?;
                // A flexible array has no count of its own; its first element is at least a place.
                if number >= u64::from(count.max(1)) {
                    return None;
                }
                let bits = self.btf.size_of(element)?.checked_mul(8)?.checked_mul(number)?;
                found.bit_offset = found.bit_offset.checked_add(bits)?;
                found.type_id = element;
                rest = after.get(close + 1..)?;
            }
            let Some(next) = rest.strip_prefix(b".") else {
                return rest.is_empty().then_some(found);
            };
            container = self.btf.struct_of(found.type_id)?;
            start = found.bit_offset;
            path = next;
        }
    }

    /// The offset in bytes of a member ([`Struct::member`]).
    pub fn offset_of(&self, path: impl AsRef<[u8]>) -> Option<u64> {
        self.member(path).map(|found| found.offset())
    }

    /// The member of that plain name.
    fn find(&self, name: &[u8], nesting: usize, steps: &mut usize) -> Option<Member<'b>> {
        if name.is_empty() {
            return None;
        }
        for entry in self.members.chunks_exact(12) {
            *steps = steps.checked_sub(1)?;
            let at = u32_at(entry, 0)?;
            if at != 0 {
                if self.btf.string_is(at, name) {
                    return self.entry(entry);
                }
                continue;
            }
            let Some(inner) = self.btf.struct_of(u32_at(entry, 4)?) else {
                continue;
            };
            let Some(below) = nesting.checked_sub(1) else {
                continue;
            };
            if let Some(found) = inner.find(name, below, steps) {
                let (start, _) = self.place(u32_at(entry, 8)?);
                return Some(Member { bit_offset: found.bit_offset.checked_add(start)?, ..found });
            }
        }
        None
    }
}
