//! Whether a module takes the parameters it is given: the kernel's own reading of each type.

use std::fmt;

use bstr::{BStr, ByteSlice};
use ferrmod_image::arguments::same_name;
use ferrmod_image::{Image, Parameter, Pointer};

use super::arguments::{Argument, split, unknown};
use super::errno::{EINVAL, ENOSPC, EPERM, ERANGE};
use super::verdict::{Line, Note, Reason};

/// `KERNEL_PARAM_FL_UNSAFE` and `KERNEL_PARAM_FL_HWPARAM`.
const UNSAFE: u8 = 1;
const HARDWARE: u8 = 2;

/// The longest value of a `charp`.
const CHARP_MAX: usize = 1024;

/// How a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Unsigned(u32),
    Signed(u32),
    /// A truth value that may be left out.
    Truth,
    /// A truth value that must be there.
    Inverted,
    Charp,
    /// A text in a buffer of this many bytes, when that is known.
    Text(Option<u32>),
    /// The module reads it by a function of its own, and takes it without a value or not.
    Own {
        no_value: bool,
    },
}

impl Type {
    /// The type that a set of operations reads.
    fn of(ops: &BStr) -> Option<Type> {
        Some(match ops.strip_prefix(b"param_ops_")? {
            b"byte" => Type::Unsigned(8),
            b"short" => Type::Signed(16),
            b"ushort" => Type::Unsigned(16),
            b"int" => Type::Signed(32),
            b"uint" | b"hexint" => Type::Unsigned(32),
            b"long" => Type::Signed(64),
            b"ulong" | b"ullong" => Type::Unsigned(64),
            b"bool" | b"bint" | b"bool_enable_only" => Type::Truth,
            b"invbool" => Type::Inverted,
            b"charp" => Type::Charp,
            b"string" => Type::Text(None),
            _ => return None,
        })
    }

    fn takes_no_value(self) -> bool {
        matches!(self, Type::Truth | Type::Own { no_value: true })
    }

    /// The error that reading `value` ends with; `Ok(false)` when only the module knows.
    fn read(self, value: Option<&[u8]>) -> Result<bool, i32> {
        let Some(value) = value else {
            return if self.takes_no_value() { Ok(self == Type::Truth) } else { Err(EINVAL) };
        };
        match self {
            Type::Unsigned(bits) => unsigned(value, bits).map(|_| true),
            Type::Signed(bits) => signed(value, bits).map(|()| true),
            Type::Truth | Type::Inverted => truth(value).map(|()| true),
            Type::Charp => {
                if value.len() > CHARP_MAX {
                    Err(ENOSPC)
                } else {
                    Ok(true)
                }
            }
            Type::Text(room) => {
                let fits = room.is_none_or(|room| value.len() < room as usize);
                if fits { Ok(room.is_some()) } else { Err(ENOSPC) }
            }
            Type::Own { .. } => Ok(false),
        }
    }
}

/// `kstrtoull` with base 0, and the bound of the type.
fn unsigned(text: &[u8], bits: u32) -> Result<u64, i32> {
    let value = magnitude(text.strip_prefix(b"+").unwrap_or(text))?;
    if bits < 64 && value >> bits != 0 { Err(ERANGE) } else { Ok(value) }
}

/// `kstrtoll` with base 0, and the bound of the type.
fn signed(text: &[u8], bits: u32) -> Result<(), i32> {
    let limit = 1u64 << (bits - 1);
    let fits = match text.strip_prefix(b"-") {
        Some(digits) => magnitude(digits)? <= limit,
        None => unsigned(text, 64)? < limit,
    };
    if fits { Ok(()) } else { Err(ERANGE) }
}

/// A whole number without sign; one newline may follow.
fn magnitude(text: &[u8]) -> Result<u64, i32> {
    let hex = text.len() > 2
        && matches!(text.get(..2), Some(b"0x" | b"0X"))
        && text.get(2).is_some_and(u8::is_ascii_hexdigit);
    let (base, digits) = match text {
        _ if hex => (16, text.get(2..).unwrap_or_default()),
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let digits = digits.strip_suffix(b"\n").unwrap_or(digits);
    if digits.is_empty() {
        return Err(EINVAL);
    }
    // All digits are read before the number is judged: what is too large and no number is too large.
    let mut value = Some(0u64);
    for &byte in digits {
        match char::from(byte).to_digit(base) {
            Some(digit) => {
                value = value.and_then(|value| value.checked_mul(u64::from(base))?.checked_add(u64::from(digit)));
            }
            None => return Err(if value.is_none() { ERANGE } else { EINVAL }),
        }
    }
    value.ok_or(ERANGE)
}

/// `kstrtobool`: one or two characters count.
fn truth(text: &[u8]) -> Result<(), i32> {
    match text {
        [b'y' | b'Y' | b't' | b'T' | b'1' | b'n' | b'N' | b'f' | b'F' | b'0', ..]
        | [b'o' | b'O', b'n' | b'N' | b'f' | b'F', ..] => Ok(()),
        _ => Err(EINVAL),
    }
}

/// What the module says about one of its parameters, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.kind.iter().try_for_each(|kind| write!(f, " ({kind})"))
    }
}

/// The parameters of a module, as the loader of a load sees them.
pub(super) struct Parameters<'i, 'a> {
    image: &'i Image<'a>,
    all: Vec<Parameter<'a>>,
    /// Per entry of `__param`: where the object lies that its argument points at.
    pointers: Vec<[Option<Pointer>; 5]>,
}

/// What judging the arguments came to.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) reasons: Vec<Reason>,
    pub(super) notes: Vec<Note>,
    pub(super) log: Vec<Line>,
    /// A dangerous parameter is set.
    pub(super) dangerous: bool,
}

impl<'i, 'a> Parameters<'i, 'a> {
    pub(super) fn of(image: &'i Image<'a>) -> Parameters<'i, 'a> {
        let mut pointers = Vec::new();
        if let Some((index, section)) = image.section("__param") {
            // `struct kernel_param` on 64 bits: five words, of which name, mod, ops and arg are addresses.
            pointers.resize(section.data.len() / 40, [None; 5]);
            for pointer in image.pointers(index) {
                let (entry, word) = (pointer.place / 40, pointer.place % 40 / 8);
                let place = usize::try_from(entry).ok().and_then(|entry| pointers.get_mut(entry));
                if let Some(slot) = place.and_then(|entry| entry.get_mut(word as usize)) {
                    *slot = Some(pointer);
                }
            }
        }
        Parameters { image, all: image.parameters(), pointers }
    }

    /// The list for people.
    pub(super) fn known(&self) -> Vec<Known> {
        let text = |text: Option<&BStr>| text.map(|text| text.to_str_lossy().into_owned());
        self.all
            .iter()
            .map(|one| Known {
                name: one.name.to_str_lossy().into_owned(),
                kind: text(one.kind),
                description: text(one.description),
            })
            .collect()
    }

    /// The parameter of this name that the kernel knows.
    fn find(&self, name: &BStr) -> Option<(usize, &Parameter<'a>)> {
        self.all.iter().enumerate().find(|(_, one)| one.perm.is_some() && same_name(one.name, name))
    }

    /// Four bytes of the object that `pointer` points at.
    fn word(&self, pointer: &Pointer, offset: u64) -> Option<u32> {
        let (section, at) = self.image.target(pointer)?;
        let data = self.image.sections().get(section as usize)?.data;
        let from = usize::try_from(at.checked_add(offset)?).ok()?;
        Some(u32::from_le_bytes(*data.get(from..)?.first_chunk()?))
    }

    /// The address that is written into the object that `pointer` points at, at `offset`.
    fn address(&self, pointer: &Pointer, offset: u64) -> Option<Pointer> {
        let (section, at) = self.image.target(pointer)?;
        let place = at.checked_add(offset)?;
        self.image.pointers(section as usize).find(|pointer| pointer.place == place)
    }

    /// The symbol that a pointer names.
    fn symbol(&self, pointer: &Pointer) -> &'a BStr {
        let symbol = self.image.symbols().get(pointer.symbol as usize);
        symbol.map(|symbol| self.image.symbol_name(symbol)).unwrap_or_default()
    }

    /// The type that the operations at `ops` read; `arg` is the parameter's argument.
    fn type_of(&self, ops: &Pointer, arg: Option<&Pointer>) -> Type {
        match Type::of(self.symbol(ops)) {
            Some(Type::Text(_)) => Type::Text(arg.and_then(|arg| self.word(arg, 0))),
            Some(kind) => kind,
            None => Type::Own { no_value: self.word(ops, 0).is_some_and(|flags| flags & 1 != 0) },
        }
    }

    /// Judges one argument: the error, what the kernel says about it before, and the value that its message shows.
    fn set<'v>(&self, index: usize, argument: &Argument<'v>, log: &mut Vec<Line>) -> (Result<bool, i32>, &'v [u8]) {
        let value = argument.value.map(|value| value.as_bytes());
        let shown = value.unwrap_or_default();
        let [_, _, ops, _, arg] = self.pointers.get(index).copied().unwrap_or_default();
        let Some(ops) = ops else {
            return (Ok(false), shown);
        };
        let name = argument.name;
        if self.symbol(&ops) == "param_array_ops" {
            let Some(value) = value else { return (Err(EINVAL), shown) };
            // `struct kparam_array`: max, elemsize, num, ops, elem.
            let most = arg.and_then(|arg| self.word(&arg, 0));
            let kind = arg.and_then(|arg| self.address(&arg, 16)).map(|ops| self.type_of(&ops, None));
            let mut known = true;
            for (count, element) in (0..).zip(value.split(|&byte| byte == b',')) {
                // Commas become NULs as they are read, so that a message shows the first element.
                let first = value.split(|&byte| byte == b',').next().unwrap_or_default();
                if most.is_some_and(|most| count >= most) {
                    log.push(Line::new(3, format!("{}: can only take {count} arguments", self.named(index, name))));
                    return (Err(EINVAL), first);
                }
                match kind.unwrap_or(Type::Own { no_value: false }).read(Some(element)) {
                    Ok(sure) => known &= sure,
                    Err(errno) => return (Err(errno), first),
                }
            }
            return (Ok(known && most.is_some()), shown);
        }
        let kind = self.type_of(&ops, arg.as_ref());
        let read = kind.read(value);
        match (read, kind) {
            (Err(ENOSPC), Type::Charp) => {
                log.push(Line::new(3, format!("{}: string parameter too long", self.named(index, name))))
            }
            (Err(ENOSPC), Type::Text(Some(room))) => {
                log.push(Line::new(
                    3,
                    format!("{}: string doesn't fit in {} chars.", self.named(index, name), room.saturating_sub(1)),
                ));
            }
            _ => {}
        }
        (read, shown)
    }

    /// The parameter's name as the module spells it.
    fn named(&self, index: usize, otherwise: &BStr) -> String {
        self.all.get(index).map_or(otherwise, |one| one.name).to_str_lossy().into_owned()
    }

    /// Judges an argument string.
    pub(super) fn judge(&self, module: &str, text: &[u8], locked_down: bool) -> Judged {
        let mut judged = Judged::default();
        let (arguments, rest) = split(text);
        for argument in &arguments {
            let name = argument.name.to_str_lossy().into_owned();
            let Some((index, parameter)) = self.find(argument.name) else {
                if let Some(shown) = unknown(argument.name) {
                    judged.log.push(Line::new(4, format!("{module}: unknown parameter '{shown}' ignored")));
                    let nearest = super::nearest::of(&name, self.all.iter().map(|one| one.name), 3);
                    judged.notes.push(Note::UnknownParameter { name, nearest, known: self.known() });
                }
                continue;
            };
            let needs_value = argument.value.is_none() && {
                let ops = self.pointers.get(index).and_then(|entry| entry[2]);
                ops.is_some_and(|ops| !self.type_of(&ops, None).takes_no_value())
            };
            let is_locked = parameter.flags & HARDWARE != 0 && locked_down && !needs_value;
            let (read, shown) = if needs_value {
                (Err(EINVAL), &b""[..])
            } else if is_locked {
                judged.log.push(Line::new(
                    5,
                    "Lockdown: insmod: unsafe module parameters is restricted; see man kernel_lockdown.7",
                ));
                (Err(EPERM), argument.value.unwrap_or_default().as_bytes())
            } else {
                if parameter.flags & UNSAFE != 0 {
                    judged.dangerous = true;
                    judged.log.push(Line::new(5, format!("Setting dangerous option {name} - tainting kernel")));
                }
                self.set(index, argument, &mut judged.log)
            };
            match read {
                Ok(true) => {}
                Ok(false) => judged.notes.push(Note::OwnParameter { name }),
                Err(errno) => {
                    let shown = shown.to_str_lossy();
                    let line = match errno {
                        ENOSPC => format!("{module}: `{shown}' too large for parameter `{name}'"),
                        _ => format!("{module}: `{shown}' invalid for parameter `{name}'"),
                    };
                    judged.log.push(Line::new(3, line.clone()));
                    judged.reasons.push(Reason::Parameter {
                        kind: parameter.kind.map(|kind| kind.to_str_lossy().into_owned()),
                        value: argument.value.map(|value| value.to_str_lossy().into_owned()),
                        name,
                        errno,
                        message: line,
                        locked_down: is_locked,
                        known: self.known(),
                    });
                }
            }
        }
        // All arguments are read, and the last error is the answer.
        judged.reasons.reverse();
        if let Some(rest) = rest.filter(|_| judged.reasons.is_empty()) {
            judged.log.push(Line::new(4, format!("{module}: parameters '{rest}' after `--' ignored")));
        }
        judged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_kernel_reads_them() {
        assert_eq!((unsigned(b"010", 8), unsigned(b"0x1F", 8), unsigned(b"+5\n", 8)), (Ok(8), Ok(31), Ok(5)));
        assert_eq!(
            (unsigned(b"256", 8), unsigned(b"-1", 8), unsigned(b"", 8)),
            (Err(ERANGE), Err(EINVAL), Err(EINVAL))
        );
        assert_eq!(
            (unsigned(b"0x", 8), unsigned(b"08", 8), unsigned(b"5 ", 8)),
            (Err(EINVAL), Err(EINVAL), Err(EINVAL))
        );
        assert_eq!(
            (signed(b"-32768", 16), signed(b"32768", 16), signed(b"-32769", 16)),
            (Ok(()), Err(ERANGE), Err(ERANGE))
        );
        assert_eq!(signed(b"-9223372036854775808", 64), Ok(()));
        assert_eq!(unsigned(b"18446744073709551616", 64), Err(ERANGE));
        assert!(truth(b"on").is_ok() && truth(b"of").is_ok() && truth(b"o").is_err() && truth(b"2").is_err());
    }
}
