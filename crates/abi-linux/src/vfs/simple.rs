//! What most files do about positions.

use ferrmod_kernel::Errno;

use super::{MODE_PREAD, MODE_PWRITE, MODE_SEEK, file, inode};
use crate::export::{Export, exports};

/// `SEEK_SET`, `SEEK_CUR`, `SEEK_END`
const SET: i32 = 0;
const CURRENT: i32 = 1;
const END: i32 = 2;

fn seek(file: u64, offset: i64, whence: i32, size: i64, most: i64) -> i64 {
    // SAFETY: the caller's file.
    let now: i64 = unsafe { file::f_pos.get(file) };
    let target = match whence {
        SET => Some(offset),
        CURRENT => now.checked_add(offset),
        END => size.checked_add(offset),
        _ => None,
    };
    match target {
        Some(target) if (0..=most).contains(&target) => {
            // SAFETY: as above.
            unsafe { file::f_pos.set(file, target) };
            target
        }
        _ => Errno::EINVAL.to_return().into(),
    }
}

fn size_of(file: u64) -> i64 {
    // SAFETY: an open file has an inode.
    unsafe { inode::i_size.get(file::f_inode.get(file)) }
}

extern "C" fn generic_file_llseek(file: u64, offset: i64, whence: i32) -> i64 {
    seek(file, offset, whence, size_of(file), i64::MAX)
}
extern "C" fn fixed_size_llseek(file: u64, offset: i64, whence: i32, size: i64) -> i64 {
    seek(file, offset, whence, size, size)
}
extern "C" fn no_seek_end_llseek(file: u64, offset: i64, whence: i32) -> i64 {
    if whence == END { Errno::EINVAL.to_return().into() } else { seek(file, offset, whence, i64::MAX, i64::MAX) }
}
extern "C" fn noop_llseek(file: u64) -> i64 {
    // SAFETY: the caller's file.
    unsafe { file::f_pos.get(file) }
}
extern "C" fn no_llseek() -> i64 {
    Errno::ESPIPE.to_return().into()
}

/// `int simple_open(struct inode *, struct file *)`
extern "C" fn simple_open(at: u64, file: u64) -> i32 {
    // SAFETY: the inode and file of an opening.
    unsafe {
        let data: u64 = inode::i_private.get(at);
        if data != 0 {
            file::private_data.set(file, data);
        }
    }
    0
}

fn clear_mode(file: u64, bits: u32) {
    // SAFETY: the caller's file.
    unsafe { file::f_mode.set(file, file::f_mode.get::<u32>(file) & !bits) };
}
extern "C" fn nonseekable_open(_inode: u64, file: u64) -> i32 {
    clear_mode(file, MODE_SEEK | MODE_PREAD | MODE_PWRITE);
    0
}
extern "C" fn stream_open(_inode: u64, file: u64) -> i32 {
    clear_mode(file, MODE_SEEK | MODE_PREAD | MODE_PWRITE);
    0
}
extern "C" fn generic_file_open() -> i32 {
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c generic_file_llseek, c default_llseek = generic_file_llseek, c fixed_size_llseek, c no_seek_end_llseek, c noop_llseek,
    k no_llseek, c simple_open, c nonseekable_open, c stream_open, k generic_file_open,
];
