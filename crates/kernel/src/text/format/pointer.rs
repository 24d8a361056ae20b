//! `%p` and what may follow it.

use alloc::vec::Vec;
use bstr::BString;

use super::super::arguments::Arguments;
use super::super::ctype::at;
use super::super::errno::Errno;
use super::super::memory;
use super::super::string::{Escape, escape};
use super::{DEPTH_MAX, Formatter, Restricted, Spec};

/// The first page is never mapped, and a NULL pointer's members lie in it.
const PAGE: u64 = 4096;
/// The most bytes that `%*ph` shows.
const HEX_MAX: i32 = 64;

/// What is shown instead of the thing at an address that is certainly none.
pub(super) fn complaint(address: u64) -> Option<&'static str> {
    match address {
        0 => Some("(null)"),
        1..PAGE => Some("(efault)"),
        _ if Errno::from_pointer(address).is_some() => Some("(efault)"),
        _ => None,
    }
}

impl Formatter<'_> {
    pub(super) fn pointer(&mut self, letters: &[u8], address: u64, spec: Spec, arguments: &mut dyn Arguments) {
        match at(letters, 0) {
            b'S' | b's' | b'B' => self.symbol(letters, address, spec),
            b'R' | b'r' => self.resource(letters, address, spec),
            b'h' => self.hex(letters, address, spec),
            b'b' => self.bitmap(letters, address, spec),
            b'M' | b'm' => self.mac(letters, address, spec),
            b'I' | b'i' => self.ip(letters, address, spec),
            b'E' => self.escaped(letters, address, spec),
            b'U' => self.uuid(letters, address, spec),
            b'V' => self.nested(address, spec, arguments),
            b'K' => match self.environment.restricted() {
                Restricted::Hash => self.hashed(address, spec),
                Restricted::Show => self.raw(address, spec),
                Restricted::Hide => self.raw(0, spec),
            },
            b'N' => match (complaint(address), at(letters, 1)) {
                (None, b'F') | (Some(_), _) => self.word_at(address, 8, spec),
                _ => self.failure("(%pN?)", spec),
            },
            b'4' => self.fourcc(letters, address, spec),
            b'a' => self.word_at(address, 8, spec),
            b'd' | b'C' | b'D' | b'g' | b'O' | b'f' => self.object(letters, address, spec),
            b't' => self.time(letters, address, spec),
            b'G' => self.flags(letters, address, spec),
            b'x' => self.raw(address, spec),
            b'e' => self.error(address, spec),
            b'u' | b'k' => match at(letters, 1) {
                b's' => self.string(address, spec),
                _ => self.failure("(einval)", spec),
            },
            _ => self.hashed(address, spec),
        }
    }

    /// The address itself, 16 digits unless a width says otherwise.
    fn raw(&mut self, address: u64, mut spec: Spec) {
        spec.base = 16;
        spec.lower = true;
        if spec.width == -1 {
            spec.width = 16;
            spec.zero = true;
        }
        self.number(address, spec);
    }

    pub(super) fn hashed(&mut self, address: u64, spec: Spec) {
        // Neither NULL nor an error says where anything is.
        let shown = if address == 0 || Errno::from_pointer(address).is_some() {
            address
        } else {
            hash(self.environment.pointer_key(), address).into()
        };
        self.raw(shown, spec);
    }

    fn error(&mut self, address: u64, mut spec: Spec) {
        let Some(error) = Errno::from_pointer(address) else {
            return self.hashed(address, spec);
        };
        match error.name() {
            Some(name) => self.text(&[b"-", name.as_bytes()].concat(), spec),
            None => {
                spec.signed = true;
                spec.base = 10;
                self.number(address, spec);
            }
        }
    }

    fn symbol(&mut self, letters: &[u8], address: u64, spec: Spec) {
        // A return address behind a call that never returns belongs to the function before it.
        let back = u64::from(letters[0] == b'B');
        let text = match self.environment.symbolise(address.wrapping_sub(back)) {
            None => alloc::format!("{address:#x}").into_bytes(),
            Some(symbol) => {
                let mut text: Vec<u8> = symbol.name.into();
                if letters[0] != b's' {
                    let offset = symbol.offset.wrapping_add(back);
                    text.extend_from_slice(alloc::format!("+{offset:#x}/{:#x}", symbol.size).as_bytes());
                }
                if let Some(module) = symbol.module {
                    text.extend_from_slice(&[b" [", module.as_slice(), b"]"].concat());
                }
                text
            }
        };
        self.text(&text, spec);
    }

    fn hex(&mut self, letters: &[u8], address: u64, spec: Spec) {
        if spec.width == 0 {
            return;
        }
        if let Some(complaint) = complaint(address) {
            return self.failure(complaint, spec);
        }
        let separator: &[u8] = match at(letters, 1) {
            b'C' => b":",
            b'D' => b"-",
            b'N' => b"",
            _ => b" ",
        };
        let mut bytes = [0; HEX_MAX as usize];
        let bytes = &mut bytes[..spec.width.clamp(1, HEX_MAX) as usize];
        if self.environment.read(address, bytes).is_err() {
            return self.failure("(efault)", spec);
        }
        for (index, byte) in bytes.iter().enumerate() {
            if index > 0 {
                self.out.put(separator);
            }
            self.out.put(&super::net::hex_byte(*byte, true));
        }
    }

    fn bitmap(&mut self, letters: &[u8], address: u64, spec: Spec) {
        if let Some(complaint) = complaint(address) {
            return self.failure(complaint, spec);
        }
        let bits = spec.width.max(0) as usize;
        let mut bytes = alloc::vec![0; bits.div_ceil(64) * 8];
        if self.environment.read(address, &mut bytes).is_err() {
            return self.failure("(efault)", spec);
        }
        let words: Vec<u64> =
            bytes.chunks_exact(8).filter_map(|word| word.try_into().ok().map(u64::from_le_bytes)).collect();
        let text = match at(letters, 1) {
            b'l' => crate::bits::list_text(&words, bits),
            _ => crate::bits::hex_text(&words, bits),
        };
        self.out.put(text.as_bytes());
    }

    fn escaped(&mut self, letters: &[u8], address: u64, spec: Spec) {
        if spec.width == 0 {
            return;
        }
        if let Some(complaint) = complaint(address) {
            return self.failure(complaint, spec);
        }
        let mut flags = Escape::empty();
        for letter in letters.iter().skip(1) {
            flags |= match letter {
                b'a' => Escape::ANY,
                b'c' => Escape::SPECIAL,
                b'h' => Escape::HEX,
                b'n' => Escape::NULL,
                b'o' => Escape::OCTAL,
                b'p' => Escape::NP,
                b's' => Escape::SPACE,
                _ => break,
            };
        }
        if flags.is_empty() {
            flags = Escape::ANY_NP;
        }
        let mut bytes = alloc::vec![0; spec.width.max(1) as usize];
        match self.environment.read(address, &mut bytes) {
            Ok(()) => self.out.put(&escape(&bytes, flags, b"")),
            Err(_) => self.failure("(efault)", spec),
        }
    }

    /// `%pV`: a format and its arguments in one.
    fn nested(&mut self, address: u64, spec: Spec, arguments: &mut dyn Arguments) {
        if let Some(complaint) = complaint(address) {
            return self.failure(complaint, spec);
        }
        // struct va_format { const char *fmt; va_list *va; }
        let environment = self.environment;
        let read = || {
            let format = environment.c_string(memory::word(environment, address).ok()?, super::STRING_MAX).ok()?;
            let list = arguments.nested(memory::word(environment, address.wrapping_add(8)).ok()?)?;
            Some((format, list))
        };
        match read() {
            Some((format, mut list)) if self.depth < DEPTH_MAX => {
                Formatter { out: &mut *self.out, environment, depth: self.depth + 1 }.run(&format, &mut *list);
            }
            _ => self.failure("(efault)", spec),
        }
    }

    /// `0x` and a whole word, at an address.
    fn word_at(&mut self, address: u64, size: usize, spec: Spec) {
        if let Some(complaint) = complaint(address) {
            return self.failure(complaint, spec);
        }
        match memory::word(self.environment, address) {
            Ok(value) => self.number(value, special_hex(size)),
            Err(_) => self.failure("(efault)", spec),
        }
    }

    fn fourcc(&mut self, letters: &[u8], address: u64, spec: Spec) {
        if at(letters, 1) != b'c' || at(letters, 2) != b'c' {
            return self.failure("(%p4?)", spec);
        }
        if let Some(complaint) = complaint(address) {
            return self.failure(complaint, spec);
        }
        let Ok(bytes) = memory::array(self.environment, address) else {
            return self.failure("(efault)", spec);
        };
        let code = u32::from_le_bytes(bytes);
        // The top bit is DRM_FORMAT_BIG_ENDIAN.
        let mut text: Vec<u8> =
            (code & !(1 << 31)).to_le_bytes().map(|byte| if (b' '..127).contains(&byte) { byte } else { b'.' }).into();
        let order = if code >> 31 == 1 { "big" } else { "little" };
        text.extend_from_slice(alloc::format!(" {order}-endian ({code:#010x})").as_bytes());
        self.text(&text, spec);
    }

    fn object(&mut self, letters: &[u8], address: u64, spec: Spec) {
        if let Some(complaint) = complaint(address) {
            return self.failure(complaint, spec);
        }
        let end = letters.iter().take_while(|byte| super::super::ctype::is_alphanumeric(**byte)).count();
        let name: Option<BString> = self.environment.object(&letters[..end], address);
        match name {
            Some(name) => self.text(&name, spec),
            None => self.hashed(address, spec),
        }
    }
}

pub(super) fn special_hex(size: usize) -> Spec {
    Spec { width: 2 + 2 * size as i32, zero: true, ..Spec::FLAGS }
}

/// The 32 bits that `%p` shows: SipHash-2-4 of the address.
#[expect(deprecated, reason = "core's only SipHash with a key, and its algorithm is fixed")]
pub fn hash(key: [u64; 2], address: u64) -> u32 {
    use core::hash::{Hasher, SipHasher};
    let mut hasher = SipHasher::new_with_keys(key[0], key[1]);
    hasher.write(&address.to_le_bytes());
    hasher.finish() as u32
}
