//! The kernel's `printf`.
//!
//! It differs from C's: `%p` has a language of its own (`pointer`), zero padding goes with a precision, `%.0d` of 0 shows
//! the 0, `%#x` of 0 shows the prefix, floating point does not exist, and a conversion nobody knows ends the text, because
//! nobody can tell which argument comes next.

mod flags;
mod net;
mod object;
mod pointer;
#[cfg(test)]
mod tests;

pub use pointer::hash as hash_pointer;

use alloc::vec::Vec;
use bstr::{BStr, BString};

use super::arguments::Arguments;
use super::ctype::at;
use super::memory::Memory;

/// The widest field (`FIELD_WIDTH_MAX`).
pub const WIDTH_MAX: i32 = (1 << 23) - 1;
/// The largest precision (`PRECISION_MAX`).
pub const PRECISION_MAX: i32 = (1 << 15) - 1;
/// The longest string that `%s` follows: more than any kernel function returns the length of.
const STRING_MAX: usize = i32::MAX as usize;
/// How deep `%pV` may nest.
const DEPTH_MAX: usize = 16;

/// A symbol that an address lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name.
    pub name: BString,
    /// The address's distance from its start.
    pub offset: u64,
    /// Its size.
    pub size: u64,
    /// The module it is in; `None` for the kernel.
    pub module: Option<BString>,
}

/// How `%pK` shows a pointer (`kptr_restrict`, and who is asking).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restricted {
    /// As `%p` does.
    Hash,
    /// As it is.
    Show,
    /// As zeros.
    Hide,
}

/// What a format needs to know of the world beside its arguments.
pub trait Environment: Memory {
    /// The key that `%p` hashes pointers with; the same as long as the kernel runs.
    fn pointer_key(&self) -> [u64; 2];

    /// The symbol that `address` lies in, for `%pS`, `%ps` and `%pB`.
    fn symbolise(&self, address: u64) -> Option<Symbol> {
        let _ = address;
        None
    }

    /// How `%pK` shows pointers.
    fn restricted(&self) -> Restricted {
        Restricted::Hash
    }

    /// The name of a kernel object, for the extensions that look into one: `letters` begins with what followed `%p`
    /// (`d2`, `D`, `g`, `Cn`, `OFf`, `fwf`). The address is neither NULL nor an error.
    fn object(&self, letters: &[u8], address: u64) -> Option<BString> {
        let _ = (letters, address);
        None
    }

    /// The format is at fault (Linux warns once).
    fn complain(&self, complaint: &BStr) {
        let _ = complaint;
    }
}

/// Where formatted text goes.
pub trait Output {
    /// Takes bytes.
    fn put(&mut self, bytes: &[u8]);
    /// Takes the same byte many times.
    fn pad(&mut self, byte: u8, count: usize);
}

/// A buffer that takes what fits and counts the rest.
#[derive(Clone, Debug, Default)]
pub struct Limited {
    kept: Vec<u8>,
    room: usize,
    length: usize,
}

impl Limited {
    /// A buffer for at most `room` bytes.
    pub fn new(room: usize) -> Limited {
        Limited { kept: Vec::new(), room, length: 0 }
    }

    /// How long the text would have been (what `snprintf` returns).
    pub fn length(&self) -> usize {
        self.length
    }

    /// What fitted.
    pub fn into_bytes(self) -> Vec<u8> {
        self.kept
    }
}

impl Output for Limited {
    fn put(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(self.room - self.kept.len());
        self.kept.extend_from_slice(&bytes[..fits]);
        self.length = self.length.saturating_add(bytes.len());
    }

    fn pad(&mut self, byte: u8, count: usize) {
        let fits = count.min(self.room - self.kept.len());
        self.kept.resize(self.kept.len() + fits, byte);
        self.length = self.length.saturating_add(count);
    }
}

/// `snprintf` into a buffer of `size` bytes: what the buffer holds before its NUL, and the length the whole text has.
pub fn snprintf(
    size: usize,
    format: &[u8],
    arguments: &mut dyn Arguments,
    environment: &dyn Environment,
) -> (Vec<u8>, usize) {
    let mut out = Limited::new(size.saturating_sub(1));
    self::format(&mut out, format, arguments, environment);
    let length = out.length();
    (out.into_bytes(), length)
}

/// Formats: `format` up to its first NUL, with arguments taken as its conversions ask for them.
pub fn format(out: &mut dyn Output, format: &[u8], arguments: &mut dyn Arguments, environment: &dyn Environment) {
    Formatter { out, environment, depth: 0 }.run(super::ctype::until_nul(format), arguments);
}

/// How one conversion is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spec {
    /// Least width; -1: not given.
    width: i32,
    /// -1: not given.
    precision: i32,
    left: bool,
    plus: bool,
    space: bool,
    special: bool,
    zero: bool,
    lower: bool,
    signed: bool,
    base: u8,
}

impl Spec {
    const DEFAULT: Spec = Spec {
        width: -1,
        precision: -1,
        left: false,
        plus: false,
        space: false,
        special: false,
        zero: false,
        lower: false,
        signed: false,
        base: 10,
    };
    /// Two decimal digits.
    const DECIMAL_2: Spec = Spec { width: 2, zero: true, ..Spec::DEFAULT };
    /// `0x…`, lower case.
    const FLAGS: Spec = Spec { base: 16, special: true, lower: true, ..Spec::DEFAULT };
}

/// The size and meaning of an integer argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Char,
    Short,
    Int,
    Long,
}

impl Length {
    fn extend(self, raw: u64, signed: bool) -> u64 {
        match (self, signed) {
            (Length::Char, true) => raw as i8 as u64,
            (Length::Char, false) => raw as u8 as u64,
            (Length::Short, true) => raw as i16 as u64,
            (Length::Short, false) => raw as u16 as u64,
            (Length::Int, true) => raw as i32 as u64,
            (Length::Int, false) => raw as u32 as u64,
            (Length::Long, _) => raw,
        }
    }

    fn size(self) -> usize {
        match self {
            // Smaller ones are promoted to int on their way here.
            Length::Char | Length::Short | Length::Int => 4,
            Length::Long => 8,
        }
    }
}

struct Formatter<'f> {
    out: &'f mut dyn Output,
    environment: &'f dyn Environment,
    depth: usize,
}

impl Formatter<'_> {
    fn run(&mut self, format: &[u8], arguments: &mut dyn Arguments) {
        let mut rest = format;
        loop {
            let plain = rest.iter().position(|&byte| byte == b'%').unwrap_or(rest.len());
            self.out.put(&rest[..plain]);
            if plain == rest.len() {
                return;
            }
            match self.conversion(&rest[plain + 1..], arguments) {
                Some(after) => rest = after,
                None => return,
            }
        }
    }

    /// One conversion, `text` standing behind the `%`. Returns what follows it, `None` when there is no going on.
    fn conversion<'t>(&mut self, mut text: &'t [u8], arguments: &mut dyn Arguments) -> Option<&'t [u8]> {
        let mut spec = Spec::DEFAULT;
        loop {
            match at(text, 0) {
                b'-' => spec.left = true,
                b'+' => spec.plus = true,
                b' ' => spec.space = true,
                b'#' => spec.special = true,
                b'0' => spec.zero = true,
                _ => break,
            }
            text = &text[1..];
        }

        if at(text, 0) == b'*' {
            text = &text[1..];
            let width = arguments.next(4) as i32;
            spec.left |= width < 0;
            spec.width = self.limited("field width", width.saturating_abs(), WIDTH_MAX);
        } else if at(text, 0).is_ascii_digit() {
            let width = decimal(&mut text);
            spec.width = self.limited("field width", width, WIDTH_MAX);
        }
        if at(text, 0) == b'.' {
            text = &text[1..];
            // A dot alone gives no precision; a negative one is 0.
            let given = match at(text, 0) {
                b'*' => {
                    text = &text[1..];
                    (arguments.next(4) as i32).max(0)
                }
                b'0'..=b'9' => decimal(&mut text),
                _ => -1,
            };
            spec.precision = self.limited("precision", given, PRECISION_MAX);
        }

        let length;
        (length, text) = match text {
            [b'h', b'h', rest @ ..] => (Length::Char, rest),
            [b'h', rest @ ..] => (Length::Short, rest),
            [b'l', b'l', rest @ ..] | [b'L', b'L', rest @ ..] => (Length::Long, rest),
            [b'l' | b'L' | b'z' | b't', rest @ ..] => (Length::Long, rest),
            rest => (Length::Int, rest),
        };

        let (&letter, after) = text.split_first().unwrap_or((&0, &[]));
        match letter {
            b'%' => self.out.put(b"%"),
            b'c' => self.character(arguments.next(4) as u8, spec),
            b's' => self.string(arguments.next(8), spec),
            b'p' => {
                let pointer = arguments.next(8);
                self.pointer(after, pointer, spec, arguments);
                let letters = after.iter().take_while(|&&byte| super::ctype::is_alphanumeric(byte)).count();
                return Some(&after[letters..]);
            }
            b'd' | b'i' | b'u' | b'x' | b'X' | b'o' => {
                spec.signed = matches!(letter, b'd' | b'i');
                spec.lower = letter == b'x';
                spec.base = match letter {
                    b'x' | b'X' => 16,
                    b'o' => 8,
                    _ => 10,
                };
                let value = length.extend(arguments.next(length.size()), spec.signed);
                self.number(value, spec);
            }
            // %n would be a way to write memory, and everything else is unknown.
            _ => {
                let complaint = [b"Please remove unsupported %".as_slice(), &[letter], b" in format string"].concat();
                self.environment.complain(BStr::new(&complaint));
                return None;
            }
        }
        Some(after)
    }

    fn limited(&self, what: &str, value: i32, most: i32) -> i32 {
        if value > most {
            self.environment.complain(BStr::new(alloc::format!("{what} {value} too large").as_bytes()));
        }
        value.min(most)
    }

    fn character(&mut self, character: u8, spec: Spec) {
        let spaces = spec.width.saturating_sub(1).max(0) as usize;
        if !spec.left {
            self.out.pad(b' ', spaces);
        }
        self.out.put(&[character]);
        if spec.left {
            self.out.pad(b' ', spaces);
        }
    }

    fn number(&mut self, value: u64, spec: Spec) {
        let mut width = spec.width;
        let mut value = value;
        let mut sign = None;
        if spec.signed {
            if (value as i64) < 0 {
                sign = Some(b'-');
                value = value.wrapping_neg();
            } else if spec.plus {
                sign = Some(b'+');
            } else if spec.space {
                sign = Some(b' ');
            }
        }
        width -= i32::from(sign.is_some());

        let prefix: &[u8] = match (spec.special, spec.base) {
            (true, 16) if spec.lower => b"0x",
            (true, 16) => b"0X",
            (true, 8) if value != 0 => b"0",
            _ => b"",
        };
        width -= prefix.len() as i32;

        let mut buffer = [0; 22];
        let mut start = buffer.len();
        loop {
            let digit = (value % u64::from(spec.base)) as u8;
            start -= 1;
            buffer[start] = match digit {
                0..=9 => b'0' + digit,
                _ if spec.lower => b'a' + digit - 10,
                _ => b'A' + digit - 10,
            };
            value /= u64::from(spec.base);
            if value == 0 {
                break;
            }
        }
        let digits = &buffer[start..];

        let precision = spec.precision.max(digits.len() as i32);
        let fill = (width - precision).max(0) as usize;
        let zero = spec.zero && !spec.left;
        if !spec.left && !zero {
            self.out.pad(b' ', fill);
        }
        if let Some(sign) = sign {
            self.out.put(&[sign]);
        }
        self.out.put(prefix);
        if zero {
            self.out.pad(b'0', fill);
        }
        self.out.pad(b'0', precision as usize - digits.len());
        self.out.put(digits);
        if spec.left {
            self.out.pad(b' ', fill);
        }
    }

    /// Text with width and precision applied.
    fn text(&mut self, text: &[u8], spec: Spec) {
        let text = match usize::try_from(spec.precision) {
            Ok(most) => &text[..text.len().min(most)],
            Err(_) => text,
        };
        let spaces = (spec.width.max(0) as usize).saturating_sub(text.len());
        if !spec.left {
            self.out.pad(b' ', spaces);
        }
        self.out.put(text);
        if spec.left {
            self.out.pad(b' ', spaces);
        }
    }

    /// What stands for something that cannot be shown; at most 16 bytes unless a precision says otherwise.
    fn failure(&mut self, text: &str, mut spec: Spec) {
        if spec.precision == -1 {
            spec.precision = 16;
        }
        self.text(text.as_bytes(), spec);
    }

    fn string(&mut self, address: u64, spec: Spec) {
        if let Some(complaint) = pointer::complaint(address) {
            return self.failure(complaint, spec);
        }
        let most = usize::try_from(spec.precision).unwrap_or(STRING_MAX);
        match self.environment.c_string(address, most) {
            Ok(string) => self.text(&string, spec),
            Err(_) => self.failure("(efault)", spec),
        }
    }
}

/// Reads a decimal number off the text's start; too large a one stays the largest.
fn decimal(text: &mut &[u8]) -> i32 {
    let mut value = 0i32;
    while let [digit @ b'0'..=b'9', rest @ ..] = *text {
        value = value.saturating_mul(10).saturating_add(i32::from(digit - b'0'));
        *text = rest;
    }
    value
}
