//! Files of one number: `DEFINE_SIMPLE_ATTRIBUTE`.

use alloc::vec::Vec;

use ferrmod_kernel::Errno;

use super::{file, inode};
use crate::device::layout::mutex;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, ram, slab, symbols, user};

layout! {
    mod simple_attr = "simple_attr" { get, set, get_buf, data, fmt, mutex }
}

/// The sizes of `get_buf` and `set_buf`.
const BUFFER: u64 = 24;

/// `int simple_attr_open(struct inode *, struct file *, int (*get)(void *, u64 *), int (*set)(void *, u64), const char *fmt)`
extern "C" fn simple_attr_open(at: u64, file: u64, get: u64, set: u64, format: u64) -> i32 {
    let caller = ram::caller();
    let made = slab::allocate(simple_attr::SIZE.get(), 8, slab::ZERO, caller);
    if made == 0 {
        return Errno::ENOMEM.to_return();
    }
    // SAFETY: a zeroed block of the struct's size; the inode and file of an opening.
    unsafe {
        simple_attr::get.set(made, get);
        simple_attr::set.set(made, set);
        simple_attr::data.set(made, inode::i_private.get::<u64>(at));
        simple_attr::fmt.set(made, format);
        locks::init_list(mutex::wait_list.at(simple_attr::mutex.at(made)));
        file::private_data.set(file, made);
    }
    0
}

extern "C" fn simple_attr_release(_inode: u64, file: u64) -> i32 {
    // SAFETY: a file that `simple_attr_open` has opened.
    slab::release(unsafe { file::private_data.get(file) }, 0);
    0
}

/// The number as the file's format shows it, by the kernel's own `scnprintf`.
fn shown(buffer: u64, format: u64, value: u64) -> u64 {
    // SAFETY: the exported function with a buffer of 24 bytes; the format takes one number.
    symbols::address("scnprintf")
        .map_or(0, |print| unsafe { ram::call(print, [buffer, BUFFER, format, value]) } & 0xffff_ffff)
}

/// `ssize_t simple_attr_read(struct file *, char __user *, size_t, loff_t *)`
extern "C" fn simple_attr_read(file: u64, to: u64, length: u64, position: u64) -> i64 {
    // SAFETY: a file that `simple_attr_open` has opened, and its functions.
    unsafe {
        let attr: u64 = file::private_data.get(file);
        let get: u64 = simple_attr::get.get(attr);
        if get == 0 {
            return Errno::EACCES.to_return().into();
        }
        let buffer = simple_attr::get_buf.at(attr);
        let known = ram::get::<u8>(buffer) != 0 && ram::get::<i64>(position) != 0;
        let size = if known {
            ram::c_string(buffer).len() as u64
        } else {
            let mut value = 0u64;
            let result = ram::call(get, [simple_attr::data.get(attr), &raw mut value as u64]) as i32;
            if result != 0 {
                return result.into();
            }
            shown(buffer, simple_attr::fmt.get(attr), value)
        };
        user::simple_read_from_buffer(to, length, position, buffer, size)
    }
}

/// A number as people write it: a sign, `0x`, `0`, or decimal, up to the newline.
fn number(text: &[u8], signed: bool) -> Option<u64> {
    let text: Vec<u8> = text.iter().copied().take_while(|&byte| byte != 0).collect();
    let text = core::str::from_utf8(&text).ok()?.trim_start();
    let text = text.strip_suffix('\n').unwrap_or(text);
    let (negative, text) = match text.strip_prefix('-').filter(|_| signed) {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    if digits.starts_with('+') {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    if !signed {
        return Some(value);
    }
    let limit = i64::MAX as u64 + u64::from(negative);
    (value <= limit).then(|| if negative { value.wrapping_neg() } else { value })
}

fn write(file: u64, from: u64, length: u64, signed: bool) -> i64 {
    // SAFETY: a file that `simple_attr_open` has opened, and its functions.
    unsafe {
        let attr: u64 = file::private_data.get(file);
        let set: u64 = simple_attr::set.get(attr);
        if set == 0 {
            return Errno::EACCES.to_return().into();
        }
        let Ok(text) = user::copy_in(from, length.min(BUFFER - 1)) else { return Errno::EFAULT.to_return().into() };
        let Some(value) = number(&text, signed) else { return Errno::EINVAL.to_return().into() };
        match ram::call(set, [simple_attr::data.get(attr), value]) as i32 {
            0 => length as i64,
            error => error.into(),
        }
    }
}

extern "C" fn simple_attr_write(file: u64, from: u64, length: u64) -> i64 {
    write(file, from, length, false)
}
extern "C" fn simple_attr_write_signed(file: u64, from: u64, length: u64) -> i64 {
    write(file, from, length, true)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c simple_attr_open, c simple_attr_release, c simple_attr_read, c simple_attr_write, c simple_attr_write_signed,
    c debugfs_attr_read = simple_attr_read, c debugfs_attr_write = simple_attr_write,
    c debugfs_attr_write_signed = simple_attr_write_signed,
];

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_as_people_write_them() {
        assert_eq!(number(b"12\n", true), Some(12));
        assert_eq!(number(b"-22", true), Some(22u64.wrapping_neg()));
        assert_eq!(number(b"-22", false), None);
        assert_eq!(number(b"0x1f", false), Some(31));
        assert_eq!(number(b"017", false), Some(15));
        for wrong in [&b""[..], b"x", b"1 2", b"++1", b"18446744073709551616"] {
            assert_eq!(number(wrong, false), None, "{wrong:?}");
        }
        assert_eq!(number(b"9223372036854775808", true), None);
    }
}
