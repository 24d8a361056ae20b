//! The functions of the list that are one step over the kernel; files and tasks have rooms of their own.

use alloc::format;
use alloc::string::String;

use bstr::ByteSlice;
use ferrmod_kernel::{kernel, printk};

pub(crate) use crate::files::{ferrmod_file_add, ferrmod_file_remove};
pub(crate) use crate::parameters::{ferrmod_param_parse, ferrmod_param_show};
use crate::ram;
pub(crate) use crate::tasks::{ferrmod_sleep, ferrmod_task_join, ferrmod_task_spawn, ferrmod_yield};

/// A copy of a module's text: it may fault, which must happen before any of the kernel's locks is taken.
fn text(address: *const u8, length: usize) -> String {
    // SAFETY: the module hands over a text of this length, or faults.
    unsafe { ram::bytes(address, length) }.to_str_lossy().into_owned()
}

pub(crate) extern "C" fn ferrmod_log(level: u32, message: *const u8, length: usize) {
    let message = text(message, length);
    printk::say(kernel(), level.min(7) as u8, &message);
}

pub(crate) extern "C" fn ferrmod_panic(
    message: *const u8,
    length: usize,
    file: *const u8,
    file_length: usize,
    line: u32,
    column: u32,
) {
    let caller = ram::caller();
    let (message, file) = (text(message, length), text(file, file_length));
    kernel().bug(&format!("kernel BUG at {file}:{line}:{column}: {message}"), caller)
}

pub(crate) extern "C" fn ferrmod_alloc(size: usize, align: usize) -> *mut u8 {
    let caller = ram::caller();
    let given = kernel().allocate(size as u64, align as u64, caller);
    given.map_or(core::ptr::null_mut(), |address| address as *mut u8)
}

fn free(memory: *mut u8, caller: u64) {
    if let Err(error) = kernel().free(memory as u64, caller) {
        kernel().bad_free(error, caller);
    }
}

pub(crate) extern "C" fn ferrmod_free(memory: *mut u8, _size: usize, _align: usize) {
    free(memory, ram::caller());
}

pub(crate) extern "C" fn ferrmod_realloc(memory: *mut u8, size: usize, align: usize, new_size: usize) -> *mut u8 {
    let caller = ram::caller();
    let Ok(new) = kernel().allocate(new_size as u64, align as u64, caller) else { return core::ptr::null_mut() };
    let new = new as *mut u8;
    // SAFETY: the module owns `size` bytes at `memory` (or faults); the heap has just given `new_size` others to us.
    unsafe { core::ptr::copy_nonoverlapping(memory, new, size.min(new_size)) };
    free(memory, caller);
    new
}

pub(crate) extern "C" fn ferrmod_now() -> u64 {
    kernel().platform.now()
}

pub(crate) extern "C" fn ferrmod_wall_clock() -> u64 {
    kernel().platform.wall_clock()
}

pub(crate) extern "C" fn ferrmod_random(buffer: *mut u8, length: usize) {
    // SAFETY: the module hands over a buffer of this length, or faults.
    kernel().platform.random(unsafe { ram::bytes_mut(buffer, length) });
}
