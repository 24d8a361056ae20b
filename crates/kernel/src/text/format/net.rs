//! `%p` extensions for addresses of networks, and UUIDs.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use super::super::ctype::{at, is_alpha};
use super::super::memory;
use super::pointer::complaint;
use super::{Formatter, Spec};

/// A byte in two digits.
pub(super) fn hex_byte(byte: u8, lower: bool) -> [u8; 2] {
    let digits: &[u8; 16] = if lower { b"0123456789abcdef" } else { b"0123456789ABCDEF" };
    [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]
}

impl Formatter<'_> {
    pub(super) fn mac(&mut self, letters: &[u8], address: u64, spec: Spec) {
        if let Some(complaint) = complaint(address) {
            return self.failure(complaint, spec);
        }
        let Ok(mut bytes) = memory::array::<6, _>(self.environment, address) else {
            return self.failure("(efault)", spec);
        };
        let separator = if at(letters, 1) == b'F' { '-' } else { ':' };
        if at(letters, 1) == b'R' {
            bytes.reverse();
        }
        let mut text = String::new();
        for (index, byte) in bytes.into_iter().enumerate() {
            if letters[0] == b'M' && index > 0 {
                text.push(separator);
            }
            text.extend(hex_byte(byte, true).map(char::from));
        }
        self.text(text.as_bytes(), spec);
    }

    pub(super) fn ip(&mut self, letters: &[u8], address: u64, spec: Spec) {
        if let Some(complaint) = complaint(address) {
            return self.failure(complaint, spec);
        }
        let text = match at(letters, 1) {
            b'6' => {
                memory::array(self.environment, address).map(|bytes| ip6(bytes, letters[0], at(letters, 2) == b'c'))
            }
            b'4' => memory::array(self.environment, address).map(|bytes| ip4(bytes, letters[0], at(letters, 2))),
            b'S' => {
                // struct sockaddr_in is 16 bytes, sockaddr_in6 28.
                match memory::array(self.environment, address).map(u16::from_le_bytes) {
                    Ok(2) => memory::array(self.environment, address).map(|bytes| socket4(bytes, letters)),
                    Ok(10) => memory::array(self.environment, address).map(|bytes| socket6(bytes, letters)),
                    Ok(_) => return self.failure("(einval)", spec),
                    Err(fault) => Err(fault),
                }
            }
            // %pI alone is an ordinary pointer.
            _ => return self.hashed(address, spec),
        };
        match text {
            Ok(text) => self.text(text.as_bytes(), spec),
            Err(_) => self.failure("(efault)", spec),
        }
    }

    pub(super) fn uuid(&mut self, letters: &[u8], address: u64, spec: Spec) {
        if let Some(complaint) = complaint(address) {
            return self.failure(complaint, spec);
        }
        let Ok(bytes) = memory::array::<16, _>(self.environment, address) else {
            return self.failure("(efault)", spec);
        };
        let kind = at(letters, 1);
        let upper = matches!(kind, b'L' | b'B');
        // The little-endian kind (a GUID) has its first three numbers byte-swapped.
        let order = if kind.eq_ignore_ascii_case(&b'l') {
            [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
        } else {
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
        };
        let mut text = String::new();
        for (position, index) in order.into_iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.extend(hex_byte(bytes[index], !upper).map(char::from));
        }
        self.text(text.as_bytes(), spec);
    }
}

fn ip4(mut bytes: [u8; 4], letter: u8, order: u8) -> String {
    if matches!(order, b'h' | b'l') {
        bytes.reverse();
    }
    let [a, b, c, d] = bytes;
    if letter == b'i' { format!("{a:03}.{b:03}.{c:03}.{d:03}") } else { format!("{a}.{b}.{c}.{d}") }
}

fn ip6(bytes: [u8; 16], letter: u8, compressed: bool) -> String {
    if letter == b'I' && compressed {
        return ip6_compressed(bytes);
    }
    let mut text = String::new();
    for (index, pair) in bytes.chunks_exact(2).enumerate() {
        if letter == b'I' && index > 0 {
            text.push(':');
        }
        text.extend(pair.iter().flat_map(|byte| hex_byte(*byte, true)).map(char::from));
    }
    text
}

/// RFC 5952, with the last four bytes as an IPv4 address where they are one.
fn ip6_compressed(bytes: [u8; 16]) -> String {
    let groups: [u16; 8] = core::array::from_fn(|index| u16::from_be_bytes([bytes[2 * index], bytes[2 * index + 1]]));
    let mapped = groups[..5] == [0; 5] && groups[5] == 0xffff;
    // ISATAP (RFC 5214): interface identifier [02]00:5efe.
    let isatap = groups[4] & !0x0200 == 0 && groups[5] == 0x5efe;
    let range = if mapped || isatap { 6 } else { 8 };

    // The first of the longest runs of zeros; one zero alone is not worth it.
    let (mut best, mut best_length) = (0, 1);
    let mut index = 0;
    while index < range {
        let length = groups[index..range].iter().take_while(|group| **group == 0).count();
        if length > best_length {
            (best, best_length) = (index, length);
        }
        index += length.max(1);
    }

    let mut text = String::new();
    let mut separate = false;
    let mut index = 0;
    while index < range {
        if best_length > 1 && index == best {
            text.push_str("::");
            separate = false;
            index += best_length;
            continue;
        }
        if separate {
            text.push(':');
        }
        _ = write!(text, "{:x}", groups[index]);
        separate = true;
        index += 1;
    }
    if range == 6 {
        if separate {
            text.push(':');
        }
        text.push_str(&ip4([bytes[12], bytes[13], bytes[14], bytes[15]], b'I', b'4'));
    }
    text
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The letters after `%pIS`.
fn options(letters: &[u8]) -> impl Iterator<Item = u8> {
    letters.iter().skip(2).copied().take_while(|letter| is_alpha(*letter))
}

fn socket4(bytes: [u8; 16], letters: &[u8]) -> String {
    let order = options(letters).filter(|letter| matches!(letter, b'h' | b'l' | b'n' | b'b')).last().unwrap_or(b'n');
    let mut text = ip4([bytes[4], bytes[5], bytes[6], bytes[7]], letters[0], order);
    if options(letters).any(|letter| letter == b'p') {
        _ = write!(text, ":{}", be16(&bytes, 2));
    }
    text
}

fn socket6(bytes: [u8; 28], letters: &[u8]) -> String {
    let has = |wanted| options(letters).any(|letter| letter == wanted);
    let mut address = [0; 16];
    address.copy_from_slice(&bytes[8..24]);
    let mut text = ip6(address, letters[0], has(b'c'));
    if has(b'p') || has(b'f') || has(b's') {
        text = format!("[{text}]");
    }
    if has(b'p') {
        _ = write!(text, ":{}", be16(&bytes, 2));
    }
    if has(b'f') {
        let flow = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) & 0x0fff_ffff;
        _ = write!(text, "/{flow}");
    }
    if has(b's') {
        let scope = u32::from_le_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
        _ = write!(text, "%{scope}");
    }
    text
}
