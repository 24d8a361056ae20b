//! BTF: the struct layouts and function prototypes a kernel carries with it.
//!
//! [`Btf`] reads the type information of a kernel image or of a module where it lies, copying
//! nothing. What makes look-ups cheap is an index — the place of every type and a hash table over
//! their names — that can be made once with [`Btf::read`], kept ([`Btf::index`]) and handed back
//! with [`Btf::with_index`], which looks at two headers and nothing else.
//!
//! A module's BTF is *split*: its type numbers and its strings continue those of its kernel
//! ([`Btf::read_split`]).
//!
//! Every access is checked, every walk is bounded: whatever the bytes (and the bytes of the index)
//! are, a look-up answers `None` or something wrong, but it neither panics nor runs for long.
//!
//! # What this module does not do
//! It does not check that types make sense together, does not relocate (CO-RE), and does not read
//! `.BTF.ext` or the distilled base (`.BTF.base`) that newer out-of-tree modules may carry.
//!
//! # References
//! The kernel's `Documentation/bpf/btf.rst` describes the format; names here are its names.

mod declare;
mod index;
mod layout;
mod node;

use alloc::borrow::Cow;

use bstr::BStr;

pub use layout::{Member, Members, Struct};
pub use node::{Enumerators, Node};

use crate::flat::{cstr_at, u16_at, u32_at};

/// How many typedefs, qualifiers or array dimensions are followed before a chain counts as endless.
const MAX_DEPTH: usize = 32;

/// How long a name may be. Linux itself accepts 511 bytes; without a bound, strings that never end
/// would make every look at a name a walk over megabytes.
const MAX_NAME: usize = 4096;

/// The string at `offset` of a string section.
#[inline]
fn own_string(strings: &[u8], offset: u32) -> Option<&[u8]> {
    let rest = strings.get(offset as usize..)?;
    cstr_at(rest.get(..MAX_NAME).unwrap_or(rest), 0)
}

/// Why bytes are not BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// Shorter than a header.
    #[error("BTF: {len} bytes are too few for a header")]
    TooShort {
        /// Bytes given.
        len: usize,
    },
    /// The first two bytes are not the magic number.
    #[error("BTF: magic is {found:#06x}, not 0xeb9f (little-endian)")]
    Magic {
        /// What is there instead.
        found: u16,
    },
    /// A version nobody has defined yet.
    #[error("BTF: version {found} is not 1")]
    Version {
        /// The version found.
        found: u8,
    },
    /// A section of the header lies outside the bytes.
    #[error("BTF: {field} section ({offset:#x}, {len:#x} bytes) lies outside the {available:#x} bytes there are")]
    Outside {
        /// `type` or `string`.
        field: &'static str,
        /// Offset after the header.
        offset: u32,
        /// Length of the section.
        len: u32,
        /// Bytes after the header.
        available: usize,
    },
    /// A type of unknown kind: its length is unknown, so nothing after it can be read.
    #[error("BTF: type {id} at offset {offset:#x} has the unknown kind {kind}")]
    UnknownKind {
        /// The type's number.
        id: u32,
        /// Offset in the type section.
        offset: u32,
        /// The kind found.
        kind: u8,
    },
    /// The last type runs over the end of the type section.
    #[error("BTF: type {id} at offset {offset:#x} is cut off")]
    Truncated {
        /// The type's number.
        id: u32,
        /// Offset in the type section.
        offset: u32,
    },
    /// The index handed in was not made for BTF like this.
    #[error("BTF: the index does not fit (make it again)")]
    Index,
}

/// The kinds of types, with the numbers of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// An integer.
    Int = 1,
    /// A pointer.
    Ptr = 2,
    /// An array.
    Array = 3,
    /// A struct.
    Struct = 4,
    /// A union.
    Union = 5,
    /// An enumeration of 32-bit values.
    Enum = 6,
    /// A struct or union that is declared and not defined.
    Fwd = 7,
    /// A typedef.
    Typedef = 8,
    /// `volatile`.
    Volatile = 9,
    /// `const`.
    Const = 10,
    /// `restrict`.
    Restrict = 11,
    /// A function.
    Func = 12,
    /// A function's type.
    FuncProto = 13,
    /// A variable.
    Var = 14,
    /// A section of variables.
    Datasec = 15,
    /// A floating-point number.
    Float = 16,
    /// A tag on a declaration.
    DeclTag = 17,
    /// A tag on a type.
    TypeTag = 18,
    /// An enumeration of 64-bit values.
    Enum64 = 19,
}

impl Kind {
    /// The kind of that number.
    fn of(number: u8) -> Option<Kind> {
        use Kind::*;
        Some(match number {
            1 => Int,
            2 => Ptr,
            3 => Array,
            4 => Struct,
            5 => Union,
            6 => Enum,
            7 => Fwd,
            8 => Typedef,
            9 => Volatile,
            10 => Const,
            11 => Restrict,
            12 => Func,
            13 => FuncProto,
            14 => Var,
            15 => Datasec,
            16 => Float,
            17 => DeclTag,
            18 => TypeTag,
            19 => Enum64,
            _ => return None,
        })
    }

    /// Bytes that follow the common 12 in a type of this kind with `vlen` parts.
    fn trailing(self, vlen: usize) -> usize {
        match self {
            Kind::Int | Kind::Var | Kind::DeclTag => 4,
            Kind::Array => 12,
            Kind::Struct | Kind::Union | Kind::Datasec | Kind::Enum64 => vlen * 12,
            Kind::Enum | Kind::FuncProto => vlen * 8,
            _ => 0,
        }
    }

    /// Whether a type of this kind only qualifies or names another one.
    fn is_transparent(self) -> bool {
        matches!(self, Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag)
    }
}

/// The type information of a kernel or of a module.
///
/// Having a `Btf` tells you that the header and its two sections lie inside the bytes, and that the
/// index has the right form. It does not tell you that any single type is sound: look-ups answer
/// `None` for one that is not.
#[derive(Clone, Debug)]
pub struct Btf<'a> {
    raw: &'a [u8],
    types: &'a [u8],
    strings: &'a [u8],
    index: Cow<'a, [u8]>,
    base: Option<&'a Btf<'a>>,
    /// Number of the first type that is this BTF's own.
    first_type: u32,
    /// Offset of the first string that is this BTF's own.
    first_string: u32,
}

/// One type: the common part, and where its parts are.
#[derive(Clone, Copy)]
struct Type<'b> {
    kind: Kind,
    name: u32,
    kind_flag: bool,
    /// `size` or `type`, as the kind has it.
    size_or_type: u32,
    /// What follows the common 12 bytes.
    trailing: &'b [u8],
}

/// A parameter of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuncParam<'b> {
    /// Its name; empty when it has none.
    pub name: &'b BStr,
    /// Its type.
    pub type_id: u32,
}

/// A function's prototype.
#[derive(Clone, Copy, Debug)]
pub struct FuncProto<'b> {
    btf: &'b Btf<'b>,
    name: &'b BStr,
    returns: u32,
    parameters: &'b [u8],
}

/// A global variable. Kernels describe their per-CPU ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable<'b> {
    /// Its name.
    pub name: &'b BStr,
    /// Its type.
    pub type_id: u32,
}

impl<'a> Btf<'a> {
    /// The type information in `raw`, with an index made on the spot (a few milliseconds for a
    /// whole kernel).
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn read(raw: &'a [u8]) -> Result<Btf<'a>, BtfError> {
        Btf::sections(raw)?.indexed()
    }

    /// A module's type information, which continues that of its kernel.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn read_split(raw: &'a [u8], base: &'a Btf<'a>) -> Result<Btf<'a>, BtfError> {
        let own = Btf::sections(raw)?;
        let first_string = base.first_string.saturating_add(u32::try_from(base.strings.len()).unwrap_or(u32::MAX));
        Btf { base: Some(base), first_type: base.types_len(), first_string, ..own }.indexed()
    }

    /// The type information in `raw` with the index that [`Btf::index`] gave for it before. Nothing
    /// but two headers is looked at.
    ///
    /// # Errors
    /// As [`Btf::read`], and [`BtfError::Index`] when the index does not have the form of one.
    pub fn with_index(raw: &'a [u8], index: &'a [u8]) -> Result<Btf<'a>, BtfError> {
        let btf = Btf { index: Cow::Borrowed(index), ..Btf::sections(raw)? };
        if index::holds(index) { Ok(btf) } else { Err(BtfError::Index) }
    }

    /// Type information that has no types: what a kernel built without BTF offers.
    pub const fn empty() -> Btf<'static> {
        Btf {
            raw: &[],
            types: &[],
            strings: &[],
            index: Cow::Borrowed(&[]),
            base: None,
            first_type: 1,
            first_string: 0,
        }
    }

    /// The sections the header names, without an index.
    fn sections(raw: &'a [u8]) -> Result<Btf<'a>, BtfError> {
        let short = BtfError::TooShort { len: raw.len() };
        let magic = u16_at(raw, 0).ok_or(short)?;
        if magic != 0xeb9f {
            return Err(BtfError::Magic { found: magic });
        }
        let version = *raw.get(2).ok_or(short)?;
        if version != 1 {
            return Err(BtfError::Version { found: version });
        }
        let header = |offset| u32_at(raw, offset).ok_or(short);
        let body = raw.get(header(4)? as usize..).ok_or(short)?;
        let section = |field, offset: u32, len: u32| {
            body.get(offset as usize..).and_then(|rest| rest.get(..len as usize)).ok_or(BtfError::Outside {
                field,
                offset,
                len,
                available: body.len(),
            })
        };
        Ok(Btf {
            raw,
            types: section("type", header(8)?, header(12)?)?,
            strings: section("string", header(16)?, header(20)?)?,
            index: Cow::Borrowed(&[]),
            base: None,
            first_type: 1,
            first_string: 0,
        })
    }

    /// The same with an index made for it.
    fn indexed(self) -> Result<Btf<'a>, BtfError> {
        let index = index::build(&self)?;
        Ok(Btf { index: Cow::Owned(index), ..self })
    }

    /// The bytes this was read from.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The index, to be kept beside [`Btf::raw`] for [`Btf::with_index`]. Its form may change
    /// between versions of this crate.
    pub fn index(&self) -> &[u8] {
        &self.index
    }

    /// Number of types, with `void` (number 0) and, for a split BTF, the base's.
    pub fn types_len(&self) -> u32 {
        self.first_type.saturating_add(index::types(&self.index))
    }

    /// The string at `offset`.
    #[inline]
    fn string(&self, offset: u32) -> Option<&[u8]> {
        // Offset 0 means no name, whatever the bytes there are.
        if offset == 0 {
            return Some(b"");
        }
        match (offset.checked_sub(self.first_string), self.base) {
            (Some(own), _) => own_string(self.strings, own),
            (None, Some(base)) => base.string(offset),
            (None, None) => None,
        }
    }

    /// Whether the string at `offset` is `wanted`: one comparison, without looking for the end
    /// first.
    #[inline]
    fn string_is(&self, offset: u32, wanted: &[u8]) -> bool {
        if offset == 0 {
            return wanted.is_empty();
        }
        match (offset.checked_sub(self.first_string), self.base) {
            (Some(own), _) => self
                .strings
                .get(own as usize..)
                .and_then(|rest| rest.strip_prefix(wanted))
                .is_some_and(|rest| rest.first() == Some(&0)),
            (None, Some(base)) => base.string_is(offset, wanted),
            (None, None) => false,
        }
    }

    /// The type with that number; `None` for `void` and for what is broken.
    #[inline]
    fn get(&self, id: u32) -> Option<Type<'_>> {
        match (id.checked_sub(self.first_type), self.base) {
            (Some(own), _) => self.type_at(index::type_offset(&self.index, own)?),
            (None, Some(base)) => base.get(id),
            (None, None) => None,
        }
    }

    /// The type at an offset of the type section.
    #[inline]
    fn type_at(&self, offset: u32) -> Option<Type<'_>> {
        let bytes = self.types.get(offset as usize..)?;
        let info = u32_at(bytes, 4)?;
        let kind = Kind::of((info >> 24 & 0x1f) as u8)?;
        let vlen = (info & 0xffff) as usize;
        Some(Type {
            kind,
            name: u32_at(bytes, 0)?,
            kind_flag: info >> 31 == 1,
            size_or_type: u32_at(bytes, 8)?,
            trailing: bytes.get(12..12 + kind.trailing(vlen))?,
        })
    }

    /// The kind of a type.
    pub fn kind(&self, id: u32) -> Option<Kind> {
        self.get(id).map(|found| found.kind)
    }

    /// The name of a type; empty when it has none.
    pub fn name(&self, id: u32) -> &BStr {
        let name = self.get(id).and_then(|found| self.string(found.name));
        BStr::new(name.unwrap_or_default())
    }

    /// The type that stays when typedefs, qualifiers and tags are taken away. `None` for `void`.
    fn resolve(&self, mut id: u32) -> Option<(u32, Type<'_>)> {
        for _ in 0..MAX_DEPTH {
            let found = self.get(id)?;
            if !found.kind.is_transparent() {
                return Some((id, found));
            }
            id = found.size_or_type;
        }
        None
    }

    /// The numbers of the types of that name whose kind is one of `kinds`, own ones first.
    fn named<'n>(&'n self, name: &'n [u8], kinds: &'n [Kind]) -> impl Iterator<Item = u32> + 'n {
        let mut level = Some(self);
        core::iter::from_fn(move || {
            let here = level?;
            level = here.base;
            Some(here)
        })
        .take(MAX_DEPTH)
        .flat_map(move |btf| {
            index::names(&btf.index)
                .candidates(name)
                .filter(move |&own| {
                    let found = index::type_offset(&btf.index, own).and_then(|offset| btf.type_at(offset));
                    found.is_some_and(|found| kinds.contains(&found.kind) && self.string_is(found.name, name))
                })
                .map(|own| btf.first_type.saturating_add(own))
        })
    }

    /// The number of the first type of that kind and name.
    pub fn find(&self, kind: Kind, name: impl AsRef<[u8]>) -> Option<u32> {
        self.named(name.as_ref(), &[kind]).next()
    }

    /// The first struct of that name.
    ///
    /// A kernel may have several different structs of one name, each private to a file;
    /// [`Btf::structs_named`] has all.
    pub fn struct_named(&self, name: impl AsRef<[u8]>) -> Option<Struct<'_>> {
        self.named(name.as_ref(), &[Kind::Struct]).find_map(|id| self.struct_of(id))
    }

    /// Every struct of that name.
    pub fn structs_named<'n>(&'n self, name: &'n (impl AsRef<[u8]> + ?Sized)) -> impl Iterator<Item = Struct<'n>> + 'n {
        self.named(name.as_ref(), &[Kind::Struct]).filter_map(|id| self.struct_of(id))
    }

    /// The first union of that name.
    pub fn union_named(&self, name: impl AsRef<[u8]>) -> Option<Struct<'_>> {
        self.named(name.as_ref(), &[Kind::Union]).find_map(|id| self.struct_of(id))
    }

    /// The struct or union that a type is, through typedefs and qualifiers. A typedef of an unnamed
    /// struct (`atomic_t`) is reached with [`Btf::find`] and this.
    pub fn struct_of(&self, id: u32) -> Option<Struct<'_>> {
        let (id, found) = self.resolve(id)?;
        Struct::of(self, id, found)
    }

    /// The prototype of the function of that name.
    pub fn function(&self, name: impl AsRef<[u8]>) -> Option<FuncProto<'_>> {
        self.named(name.as_ref(), &[Kind::Func]).find_map(|id| {
            let function = self.get(id)?;
            let proto = self.func_proto(function.size_or_type)?;
            Some(FuncProto { name: BStr::new(self.string(function.name)?), ..proto })
        })
    }

    /// The prototype that a type is: of a `FUNC_PROTO`, or of a pointer to one (a callback member).
    pub fn func_proto(&self, id: u32) -> Option<FuncProto<'_>> {
        let (_, mut found) = self.resolve(id)?;
        if found.kind == Kind::Ptr {
            (_, found) = self.resolve(found.size_or_type)?;
        }
        (found.kind == Kind::FuncProto).then_some(FuncProto {
            btf: self,
            name: BStr::new(b""),
            returns: found.size_or_type,
            parameters: found.trailing,
        })
    }

    /// The global variable of that name.
    pub fn variable(&self, name: impl AsRef<[u8]>) -> Option<Variable<'_>> {
        self.named(name.as_ref(), &[Kind::Var]).find_map(|id| {
            let found = self.get(id)?;
            Some(Variable { name: BStr::new(self.string(found.name)?), type_id: found.size_or_type })
        })
    }

    /// The value of an enumerator, whichever enumeration it belongs to.
    pub fn enum_value(&self, name: impl AsRef<[u8]>) -> Option<i64> {
        let name = name.as_ref();
        let own = index::enumerators(&self.index).candidates(name).take(MAX_DEPTH).find_map(|own| {
            let found = self.type_at(index::type_offset(&self.index, own)?)?;
            let stride = match found.kind {
                Kind::Enum => 8,
                Kind::Enum64 => 12,
                _ => return None,
            };
            let mut entries = found.trailing.chunks_exact(stride);
            let entry = entries.find(|entry| u32_at(entry, 0).is_some_and(|at| self.string_is(at, name)))?;
            let low = u32_at(entry, 4)?;
            Some(match (found.kind, found.kind_flag) {
                (Kind::Enum64, _) => (u64::from(u32_at(entry, 8)?) << 32 | u64::from(low)) as i64,
                (_, true) => i64::from(low as i32),
                (_, false) => i64::from(low),
            })
        });
        own.or_else(|| self.base.and_then(|base| base.enum_value(name)))
    }

    /// Size in bytes of a type; `None` for what has none (`void`, functions, forward declarations).
    pub fn size_of(&self, id: u32) -> Option<u64> {
        let mut id = id;
        let mut times = 1u64;
        for _ in 0..MAX_DEPTH {
            let (_, found) = self.resolve(id)?;
            let one = match found.kind {
                Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float | Kind::Datasec => {
                    u64::from(found.size_or_type)
                }
                Kind::Ptr => 8,
                Kind::Array => {
                    times = times.checked_mul(u64::from(u32_at(found.trailing, 8)?))?;
                    id = u32_at(found.trailing, 0)?;
                    continue;
                }
                Kind::Var => {
                    id = found.size_or_type;
                    continue;
                }
                _ => return None,
            };
            return times.checked_mul(one);
        }
        None
    }

    /// Element type and number of elements of an array.
    pub fn array(&self, id: u32) -> Option<(u32, u32)> {
        let (_, found) = self.resolve(id)?;
        if found.kind != Kind::Array {
            return None;
        }
        Some((u32_at(found.trailing, 0)?, u32_at(found.trailing, 8)?))
    }

    /// What a pointer points to (0 for `void`).
    pub fn pointee(&self, id: u32) -> Option<u32> {
        let (_, found) = self.resolve(id)?;
        (found.kind == Kind::Ptr).then_some(found.size_or_type)
    }
}

impl<'b> FuncProto<'b> {
    /// The function's name; empty for the type of a pointer.
    pub fn name(&self) -> &'b BStr {
        self.name
    }

    /// The type it returns (0 for `void`).
    pub fn returns(&self) -> u32 {
        self.returns
    }

    /// Its named parameters, in order.
    pub fn params(&self) -> impl ExactSizeIterator<Item = FuncParam<'b>> + use<'b> {
        let btf = self.btf;
        let named = self.parameters.len() / 8 - usize::from(self.is_variadic());
        self.parameters.chunks_exact(8).take(named).map(move |entry| FuncParam {
            name: BStr::new(u32_at(entry, 0).and_then(|offset| btf.string(offset)).unwrap_or_default()),
            type_id: u32_at(entry, 4).unwrap_or_default(),
        })
    }

    /// Whether `...` follows the named parameters.
    pub fn is_variadic(&self) -> bool {
        // A last parameter of type void and without a name.
        self.parameters.chunks_exact(8).next_back().is_some_and(|last| last.iter().all(|&byte| byte == 0))
    }
}
