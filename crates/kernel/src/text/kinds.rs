//! The standard parameter types: what text they accept and what text they show.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bstr::{BStr, BString};

use super::Errno;
use super::ctype;
use super::log::Level;
use super::number;
use super::params::Log;

/// The longest string a `charp` parameter takes.
pub const CHARP_MAX: usize = 1024;

/// A standard scalar parameter type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `unsigned char`.
    Byte,
    /// `short`.
    Short,
    /// `unsigned short`.
    Ushort,
    /// `int`.
    Int,
    /// `unsigned int`.
    Uint,
    /// `long`.
    Long,
    /// `unsigned long`.
    Ulong,
    /// `unsigned long long`.
    Ullong,
    /// `unsigned int`, shown in base 16.
    Hexint,
    /// `bool`.
    Bool,
    /// `bool` whose text means the opposite.
    InvBool,
    /// `bool` that cannot be taken back.
    BoolEnableOnly,
    /// `int` that takes a truth value.
    Bint,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 13] = [
        Kind::Byte,
        Kind::Short,
        Kind::Ushort,
        Kind::Int,
        Kind::Uint,
        Kind::Long,
        Kind::Ulong,
        Kind::Ullong,
        Kind::Hexint,
        Kind::Bool,
        Kind::InvBool,
        Kind::BoolEnableOnly,
        Kind::Bint,
    ];

    /// The name used by `module_param`, in `parmtype=` and after `param_ops_`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Byte => "byte",
            Kind::Short => "short",
            Kind::Ushort => "ushort",
            Kind::Int => "int",
            Kind::Uint => "uint",
            Kind::Long => "long",
            Kind::Ulong => "ulong",
            Kind::Ullong => "ullong",
            Kind::Hexint => "hexint",
            Kind::Bool => "bool",
            Kind::InvBool => "invbool",
            Kind::BoolEnableOnly => "bool_enable_only",
            Kind::Bint => "bint",
        }
    }

    /// The type of this name.
    pub fn from_name(name: &[u8]) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name().as_bytes() == name)
    }

    /// The number of bytes of a value in memory.
    pub const fn size(self) -> usize {
        match self {
            Kind::Byte | Kind::Bool | Kind::InvBool | Kind::BoolEnableOnly => 1,
            Kind::Short | Kind::Ushort => 2,
            Kind::Int | Kind::Uint | Kind::Hexint | Kind::Bint => 4,
            Kind::Long | Kind::Ulong | Kind::Ullong => 8,
        }
    }

    /// Whether the parameter may be given without a value, which then means yes.
    pub const fn no_value(self) -> bool {
        matches!(self, Kind::Bool | Kind::BoolEnableOnly | Kind::Bint)
    }

    /// Reads a value. `old` is the value now; only [`Kind::BoolEnableOnly`] looks at it.
    ///
    /// # Errors
    /// `EINVAL` and `ERANGE` of [`number`]; `EROFS` when an enable-only value is to be taken back.
    pub fn parse(self, text: Option<&[u8]>, old: Scalar) -> Result<Scalar, Errno> {
        let bits = self.size() as u32 * 8;
        let truth = || number::truth(text.unwrap_or(b"1"));
        let digits = text.ok_or(Errno::EINVAL);
        let raw = match self {
            Kind::Byte | Kind::Ushort | Kind::Uint | Kind::Ulong | Kind::Ullong | Kind::Hexint => {
                number::unsigned_bits(digits?, 0, bits)?
            }
            Kind::Short | Kind::Int | Kind::Long => number::signed_bits(digits?, 0, bits)? as u64,
            Kind::Bool | Kind::Bint => truth()?.into(),
            Kind::InvBool => (!truth()?).into(),
            Kind::BoolEnableOnly => match truth()? {
                false if old.0 != 0 => return Err(Errno::EROFS),
                new => new.into(),
            },
        };
        Ok(Scalar(raw))
    }

    /// The text sysfs shows, newline included.
    pub fn show(self, value: Scalar) -> String {
        let raw = value.0;
        match self {
            Kind::Byte => format!("{}\n", raw as u8),
            Kind::Short => format!("{}\n", raw as i16),
            Kind::Ushort => format!("{}\n", raw as u16),
            Kind::Int | Kind::Bint => format!("{}\n", raw as i32),
            Kind::Uint => format!("{}\n", raw as u32),
            Kind::Long => format!("{}\n", raw as i64),
            Kind::Ulong | Kind::Ullong => format!("{raw}\n"),
            Kind::Hexint => format!("{:#08x}\n", raw as u32),
            Kind::Bool | Kind::BoolEnableOnly => String::from(if raw as u8 != 0 { "Y\n" } else { "N\n" }),
            Kind::InvBool => String::from(if raw as u8 != 0 { "N\n" } else { "Y\n" }),
        }
    }
}

/// A scalar's value: its bytes in memory, extended to 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scalar(pub u64);

impl Scalar {
    /// The value whose bytes in memory these are.
    pub fn from_memory(bytes: &[u8]) -> Scalar {
        let mut all = [0; 8];
        let length = bytes.len().min(8);
        all[..length].copy_from_slice(&bytes[..length]);
        Scalar(u64::from_le_bytes(all))
    }

    /// The bytes in memory; the first [`Kind::size`] of them count.
    pub const fn to_memory(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}

/// Checks the length of a `charp`'s new value.
///
/// # Errors
/// `ENOSPC`, with its message, when it is longer than [`CHARP_MAX`].
pub fn check_charp(name: &BStr, text: &[u8], log: Log<'_>) -> Result<(), Errno> {
    if ctype::until_nul(text).len() <= CHARP_MAX {
        return Ok(());
    }
    log(Level::Error, [name, b": string parameter too long".as_slice()].concat().as_slice().into());
    Err(Errno::ENOSPC)
}

/// Checks that a `string` parameter's new value fits in a buffer of `room` bytes, its NUL included.
///
/// # Errors
/// `ENOSPC`, with its message, when it does not.
pub fn check_string(name: &BStr, text: &[u8], room: usize, log: Log<'_>) -> Result<(), Errno> {
    if ctype::until_nul(text).len() < room {
        return Ok(());
    }
    let rest = format!(": string doesn't fit in {} chars.", (room as u32).wrapping_sub(1));
    log(Level::Error, [name.as_ref(), rest.as_bytes()].concat().as_slice().into());
    Err(Errno::ENOSPC)
}

/// The text sysfs shows for a `charp` (`None`: a NULL pointer) or a `string`.
pub fn show_text(text: Option<&[u8]>) -> BString {
    let mut shown = text.map_or(b"(null)".as_slice(), ctype::until_nul).to_vec();
    shown.push(b'\n');
    shown.into()
}

/// The text sysfs shows for an array, from the texts of its elements.
pub fn show_array<'a>(elements: impl IntoIterator<Item = &'a [u8]>) -> BString {
    let mut shown = Vec::new();
    for element in elements {
        // The newline of the element before becomes the comma.
        if let Some(last) = shown.last_mut() {
            *last = b',';
        }
        shown.extend_from_slice(element);
    }
    shown.into()
}

#[cfg(test)]
#[path = "kinds_tests.rs"]
mod tests;
