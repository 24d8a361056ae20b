//! One type as it is declared.

use bstr::BStr;

use super::{Btf, FuncProto, Kind, Struct};
use crate::flat::u32_at;

/// A type as it is declared, with the numbers of the types it is made of: for who walks through types. Nothing is looked through.
#[derive(Clone, Debug)]
pub enum Node<'b> {
    /// `void`.
    Void,
    /// An integer.
    Int {
        /// Its name.
        name: &'b BStr,
        /// Its size in bytes.
        size: u32,
        /// Encoding, offset and width, as the format packs them.
        encoding: u32,
    },
    /// A floating-point number.
    Float {
        /// Its name.
        name: &'b BStr,
        /// Its size in bytes.
        size: u32,
    },
    /// A pointer to this type.
    Pointer(u32),
    /// An array.
    Array {
        /// The type of its elements.
        element: u32,
        /// How many there are.
        count: u32,
    },
    /// A struct or a union.
    Struct(Struct<'b>),
    /// An enumeration.
    Enum {
        /// Its name.
        name: &'b BStr,
        /// The size of its values in bytes.
        size: u32,
        /// Its values.
        values: Enumerators<'b>,
    },
    /// A struct or union that is declared and not defined.
    Forward {
        /// Its name.
        name: &'b BStr,
        /// Whether it is a union.
        union: bool,
    },
    /// A typedef.
    Typedef {
        /// Its name.
        name: &'b BStr,
        /// What it stands for.
        to: u32,
    },
    /// `const`, `volatile`, `restrict` or a tag, and the type it is put before.
    Qualified {
        /// Which of them.
        kind: Kind,
        /// The type.
        to: u32,
    },
    /// A function's type.
    Prototype(FuncProto<'b>),
    /// Something that is no type of a value, or broken.
    Other,
}

/// The values of an enumeration, in order.
#[derive(Clone, Debug)]
pub struct Enumerators<'b> {
    btf: &'b Btf<'b>,
    entries: core::slice::ChunksExact<'b, u8>,
}

impl<'b> Iterator for Enumerators<'b> {
    type Item = (&'b BStr, u64);

    fn next(&mut self) -> Option<(&'b BStr, u64)> {
        let entry = self.entries.next()?;
        let name = self.btf.string(u32_at(entry, 0)?).unwrap_or_default();
        let high = u32_at(entry, 8).unwrap_or(0);
        Some((BStr::new(name), u64::from(high) << 32 | u64::from(u32_at(entry, 4)?)))
    }
}

impl<'a> Btf<'a> {
    /// The type with that number.
    pub fn node<'b>(&'b self, id: u32) -> Node<'b>
    where
        'a: 'b,
    {
        let Some(found) = self.get(id) else {
            return if id == 0 { Node::Void } else { Node::Other };
        };
        let name = || BStr::new(self.string(found.name).unwrap_or_default());
        let size = found.size_or_type;
        match found.kind {
            Kind::Int => Node::Int { name: name(), size, encoding: u32_at(found.trailing, 0).unwrap_or(0) },
            Kind::Float => Node::Float { name: name(), size },
            Kind::Ptr => Node::Pointer(size),
            Kind::Array => match (u32_at(found.trailing, 0), u32_at(found.trailing, 8)) {
                (Some(element), Some(count)) => Node::Array { element, count },
                _ => Node::Other,
            },
            Kind::Struct | Kind::Union => Struct::of(self, id, found).map_or(Node::Other, Node::Struct),
            Kind::Enum | Kind::Enum64 => {
                let stride = if found.kind == Kind::Enum { 8 } else { 12 };
                let values = Enumerators { btf: self, entries: found.trailing.chunks_exact(stride) };
                Node::Enum { name: name(), size, values }
            }
            Kind::Fwd => Node::Forward { name: name(), union: found.kind_flag },
            Kind::Typedef => Node::Typedef { name: name(), to: size },
            kind @ (Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag) => {
                Node::Qualified { kind, to: size }
            }
            Kind::FuncProto => self.func_proto(id).map_or(Node::Other, Node::Prototype),
            Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag => Node::Other,
        }
    }
}
