//! Opening files from inside the kernel: a module's, by their paths.

use alloc::sync::Arc;

use bstr::ByteSlice;
use ferrmod_kernel::Errno;
use ferrmod_kernel::lock::Lock;
use hashbrown::HashMap;

use super::{Opened, file, returned};
use crate::export::{Export, exports};
use crate::net::served;
use crate::ram;

/// What is open, by its `struct file`. An entry is out while it is used.
static OPEN: Lock<Option<HashMap<u64, Opened>>> = Lock::new(None);

fn with<T>(at: u64, use_it: impl FnOnce(&mut Opened) -> Result<T, Errno>) -> Result<T, Errno> {
    let mut opened = OPEN.lock().as_mut().and_then(|open| open.remove(&at)).ok_or(Errno::EBADF)?;
    let result = use_it(&mut opened);
    OPEN.lock().get_or_insert_default().insert(at, opened);
    result
}

/// `struct file *filp_open(const char *, int flags, umode_t)`: the files of modules; there is no other file system.
extern "C" fn filp_open(path: u64, flags: u32, _mode: u32) -> u64 {
    // SAFETY: the module's C string.
    let path = unsafe { ram::c_string(path) }.to_str_lossy();
    let Some(node) = super::node(&path) else { return Errno::ENOENT.to_pointer() };
    match Opened::open(&Arc::clone(&node), flags) {
        Ok(opened) => {
            let at = opened.file;
            OPEN.lock().get_or_insert_default().insert(at, opened);
            at
        }
        Err(errno) => errno.to_pointer(),
    }
}

/// `int filp_close(struct file *, fl_owner_t)`
extern "C" fn filp_close(at: u64) -> i32 {
    let opened = OPEN.lock().as_mut().and_then(|open| open.remove(&at));
    // Its functions are called here, with no lock held.
    if opened.is_some() { 0 } else { Errno::EBADF.to_return() }
}

/// `void fput(struct file *)`
pub(crate) extern "C" fn fput(at: u64) {
    // SAFETY: the caller's file, which has a reference to give back.
    let left = unsafe {
        let left = file::f_count.get::<u64>(at).saturating_sub(1);
        file::f_count.set(at, left);
        left
    };
    if left == 0 && !super::memory::close(at) && !served::released(at) {
        filp_close(at);
    }
}

/// `ssize_t kernel_read(struct file *, void *, size_t, loff_t *)`
extern "C" fn kernel_read(at: u64, to: u64, length: u64, position: u64) -> i64 {
    returned(with(at, |opened| {
        // SAFETY: the caller's position and buffer.
        unsafe {
            if position != 0 {
                file::f_pos.set(at, ram::get::<u64>(position));
            }
            let bytes = opened.read(length)?;
            ram::bytes_mut(to, bytes.len() as u64).copy_from_slice(&bytes);
            if position != 0 {
                ram::put(position, file::f_pos.get::<u64>(at));
            }
            Ok(bytes.len() as u64)
        }
    }))
}

/// `ssize_t kernel_write(struct file *, const void *, size_t, loff_t *)`
extern "C" fn kernel_write(at: u64, from: u64, length: u64, position: u64) -> i64 {
    returned(with(at, |opened| {
        // SAFETY: the caller's position and bytes.
        unsafe {
            if position != 0 {
                file::f_pos.set(at, ram::get::<u64>(position));
            }
            let count = opened.write(ram::bytes(from, length))?;
            if position != 0 {
                ram::put(position, file::f_pos.get::<u64>(at));
            }
            Ok(count as u64)
        }
    }))
}

/// `loff_t vfs_llseek(struct file *, loff_t, int)`
extern "C" fn vfs_llseek(at: u64, offset: i64, whence: u32) -> i64 {
    returned(with(at, |opened| opened.seek(offset, whence)))
}

/// `long vfs_ioctl(struct file *, unsigned int, unsigned long)`: what `ioctl(2)` comes to.
extern "C" fn vfs_ioctl(at: u64, command: u32, argument: u64) -> i64 {
    returned(with(at, |opened| opened.ioctl(command, argument)))
}

/// `int fasync_helper(int fd, struct file *, int on, struct fasync_struct **)` and `void kill_fasync(struct fasync_struct **, int, int)`:
/// programs here are sent no signals, so that none waits for any.
extern "C" fn no_signals() -> i32 {
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c filp_open, c filp_close, c fput, c __fput_sync = fput, c kernel_read, c kernel_write, c vfs_llseek, c vfs_ioctl,
    k fasync_helper = no_signals, k kill_fasync = no_signals,
];
