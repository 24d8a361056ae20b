//! User memory, and the functions that cross into it.
//!
//! What counts as user memory is a list of ranges that were made such: by `vm_mmap`, or by [`UserBuffer`] for the time of one
//! call into a module. Every other address is refused as Linux refuses a kernel address in `access_ok`: nothing is copied,
//! and the answer says so.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ferrmod_kernel::heap::PAGE;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, Owner, kernel};

use crate::export::{Export, exports};
use crate::{ram, slab};

/// First address and end of each range of user memory.
static RANGES: Lock<BTreeMap<u64, u64>> = Lock::new(BTreeMap::new());

/// How many of `length` bytes at `at` are user memory.
fn accessible(at: u64, length: u64) -> u64 {
    match RANGES.lock().range(..=at).next_back() {
        Some((_, &end)) if at < end => length.min(end - at),
        _ => 0,
    }
}

/// User memory for the time of a call into a module: what a program would pass to `read`, `write` or `ioctl`.
#[derive(Debug)]
pub(crate) struct UserBuffer {
    start: u64,
    length: u64,
}

impl UserBuffer {
    /// User memory of `length` zeros.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn zeroed(length: u64) -> Result<Self, Errno> {
        Self::make(length, length)
    }

    /// User memory of `length` zeros, of which a module can reach `reach`: as many or more.
    fn make(length: u64, reach: u64) -> Result<Self, Errno> {
        let kernel = kernel();
        let room = reach.max(1);
        // Kept by the kernel and never refused on purpose: failure injection is for the module's own allocations.
        let start = kernel.allocate_for(room, PAGE, Owner::Kernel, 0, &ferrmod_kernel::inject::Injection::default())?;
        // SAFETY: the heap has just given this memory to us.
        unsafe { ram::fill(start, 0, room) };
        RANGES.lock().insert(start, start + reach);
        Ok(Self { start, length })
    }

    /// User memory that holds `bytes`.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn with(bytes: &[u8]) -> Result<Self, Errno> {
        Self::zeroed(bytes.len() as u64).map(|buffer| buffer.filled(bytes))
    }

    /// User memory that holds `bytes`, as [`UserBuffer::with`], and goes on with some zeros: the memory of a program does not end
    /// behind what it writes, and who looks for the end of a word there (pktgen does) finds some.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn going_on(bytes: &[u8]) -> Result<Self, Errno> {
        const ZEROS: u64 = 64;
        let length = bytes.len() as u64;
        Self::make(length, length + ZEROS).map(|buffer| buffer.filled(bytes))
    }

    fn filled(self, bytes: &[u8]) -> Self {
        // SAFETY: our own memory of this length.
        unsafe { ram::bytes_mut(self.start, self.length) }.copy_from_slice(bytes);
        self
    }

    /// Its address, as a module sees it.
    pub(crate) fn address(&self) -> u64 {
        self.start
    }

    /// What it holds now.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        // SAFETY: our own memory of this length.
        unsafe { ram::bytes(self.start, self.length) }.to_vec()
    }
}

impl Drop for UserBuffer {
    fn drop(&mut self) {
        RANGES.lock().remove(&self.start);
        // It came from the heap and nobody else can free it: modules see it as user memory.
        let _ = kernel().free(self.start, 0);
    }
}

/// A copy of user memory.
///
/// # Errors
/// `EFAULT` when any of it is not user memory.
pub(crate) fn copy_in(from: u64, length: u64) -> Result<Vec<u8>, Errno> {
    if accessible(from, length) < length {
        return Err(Errno::EFAULT);
    }
    // SAFETY: user memory stays mapped while it is in the list.
    Ok(unsafe { ram::bytes(from, length) }.to_vec())
}

/// Copies from user memory; the number of bytes that were not, which are zeroed.
pub(crate) extern "C" fn _copy_from_user(to: u64, from: u64, length: u64) -> u64 {
    let copied = accessible(from, length);
    // SAFETY: the source is user memory, the target a buffer of the caller's.
    unsafe {
        ram::copy(to, from, copied);
        ram::fill(to + copied, 0, length - copied);
    }
    length - copied
}

/// Copies to user memory; the number of bytes that were not.
pub(crate) extern "C" fn _copy_to_user(to: u64, from: u64, length: u64) -> u64 {
    let copied = accessible(to, length);
    // SAFETY: the target is user memory, the source a buffer of the caller's.
    unsafe { ram::copy(to, from, copied) };
    length - copied
}

/// `copy_user_generic_*`: after an `access_ok` of its own, so either side may be the kernel's.
extern "C" fn copy_user_generic(to: u64, from: u64, length: u32) -> u64 {
    let length = u64::from(length);
    let mut probe = [0];
    let user_side = |at| match accessible(at, length) {
        0 if kernel().platform.read(at, &mut probe).is_ok() => length,
        some => some,
    };
    let copied = [to, from].map(user_side).into_iter().min().unwrap_or(0);
    // SAFETY: both sides are there for so many bytes.
    unsafe { ram::copy(to, from, copied) };
    length - copied
}

/// `unsigned long clear_user(void __user *, unsigned long)`: the number of bytes not cleared.
extern "C" fn clear_user(to: u64, length: u64) -> u64 {
    let cleared = accessible(to, length);
    // SAFETY: user memory.
    unsafe { ram::fill(to, 0, cleared) };
    length - cleared
}

/// `int check_zeroed_user(const void __user *, size_t)`: 1 when all is zero, 0 when not.
extern "C" fn check_zeroed_user(from: u64, length: u64) -> i32 {
    match copy_in(from, length) {
        Ok(bytes) => bytes.iter().all(|&byte| byte == 0).into(),
        Err(errno) => errno.to_return(),
    }
}

/// The length of a string in user memory of at most `most` bytes without its NUL, and whether the NUL is among them.
fn string_length(from: u64, most: u64) -> Option<(u64, bool)> {
    let there = accessible(from, most);
    // SAFETY: user memory.
    let bytes = unsafe { ram::bytes(from, there) };
    match bytes.iter().position(|&byte| byte == 0) {
        Some(length) => Some((length as u64, true)),
        // It runs out of user memory before it ends.
        None if there < most => None,
        None => Some((most, false)),
    }
}

/// `long strncpy_from_user(char *, const char __user *, long)`: the length without the NUL.
extern "C" fn strncpy_from_user(to: u64, from: u64, room: i64) -> i64 {
    if room <= 0 {
        return 0;
    }
    match string_length(from, room as u64) {
        Some((length, ended)) => {
            // SAFETY: the string is user memory, the buffer of `room` bytes the caller's.
            unsafe { ram::copy(to, from, length + u64::from(ended)) };
            length as i64
        }
        None => i64::from(Errno::EFAULT.to_return()),
    }
}

/// `long strnlen_user(const char __user *, long)`: the length with the NUL, 0 for a fault, more than asked for when too long.
extern "C" fn strnlen_user(from: u64, most: i64) -> i64 {
    if most <= 0 {
        return 0;
    }
    string_length(from, most as u64).map_or(0, |(length, _)| length as i64 + 1)
}

/// The text of a user string for the caller of these two; `room` counts its NUL.
fn user_string(from: u64, room: i64) -> Result<Vec<u8>, Errno> {
    match string_length(from, room.max(0) as u64) {
        None | Some((0, false)) => Err(Errno::EFAULT),
        Some((_, false)) => Err(Errno::EINVAL),
        Some((length, true)) => copy_in(from, length),
    }
}

/// `char *strndup_user(const char __user *, long)`
extern "C" fn strndup_user(from: u64, room: i64) -> u64 {
    let caller = ram::caller();
    or_pointer(user_string(from, room).map(|text| crate::printf::duplicate(&text, 0, caller)))
}

fn or_pointer(result: Result<u64, Errno>) -> u64 {
    match result {
        Ok(0) => Errno::ENOMEM.to_pointer(),
        Ok(pointer) => pointer,
        Err(errno) => errno.to_pointer(),
    }
}

/// `void *memdup_user(const void __user *, size_t)`
extern "C" fn memdup_user(from: u64, length: u64) -> u64 {
    let caller = ram::caller();
    or_pointer(copy_in(from, length).map(|bytes| slab::duplicate(&bytes, 0, caller)))
}
extern "C" fn memdup_user_nul(from: u64, length: u64) -> u64 {
    let caller = ram::caller();
    or_pointer(copy_in(from, length).map(|bytes| crate::printf::duplicate(&bytes, 0, caller)))
}

/// `ssize_t simple_read_from_buffer(void __user *, size_t, loff_t *, const void *, size_t available)`
pub(crate) extern "C" fn simple_read_from_buffer(to: u64, count: u64, position: u64, from: u64, available: u64) -> i64 {
    buffer(position, count, available, |offset, count| _copy_to_user(to, from + offset, count))
}
/// `ssize_t simple_write_to_buffer(void *, size_t available, loff_t *, const void __user *, size_t)`
extern "C" fn simple_write_to_buffer(to: u64, available: u64, position: u64, from: u64, count: u64) -> i64 {
    buffer(position, count, available, |offset, count| _copy_from_user(to + offset, from, count))
}
/// `ssize_t memory_read_from_buffer(void *, size_t, loff_t *, const void *, size_t available)`
extern "C" fn memory_read_from_buffer(to: u64, count: u64, position: u64, from: u64, available: u64) -> i64 {
    buffer(position, count, available, |offset, count| {
        // SAFETY: two buffers of the caller's.
        unsafe { ram::copy(to, from + offset, count) };
        0
    })
}

/// Moves bytes between a buffer and the window of another that begins at a file position; `transfer` answers what was left.
fn buffer(position: u64, count: u64, available: u64, transfer: impl FnOnce(u64, u64) -> u64) -> i64 {
    // SAFETY: the caller's `loff_t`.
    let offset: i64 = unsafe { ram::get(position) };
    let Ok(offset) = u64::try_from(offset) else { return i64::from(Errno::EINVAL.to_return()) };
    if offset >= available || count == 0 {
        return 0;
    }
    let count = count.min(available - offset);
    let left = transfer(offset, count);
    if left == count {
        return i64::from(Errno::EFAULT.to_return());
    }
    // SAFETY: as above.
    unsafe { ram::put(position, offset + count - left) };
    (count - left) as i64
}

/// What `__get_user_*` gives back in two registers.
#[repr(C)]
pub(crate) struct Fetched {
    error: u64,
    value: u64,
}

/// The Rust side of `__get_user_*`: a number of `size` bytes, widened with zeros.
pub(crate) extern "C" fn fetch(from: u64, size: u64) -> Fetched {
    if accessible(from, size) < size {
        return Fetched { error: i64::from(Errno::EFAULT.to_return()) as u64, value: 0 };
    }
    // SAFETY: user memory of this size.
    let value = unsafe {
        match size {
            1 => u64::from(ram::get::<u8>(from)),
            2 => u64::from(ram::get::<u16>(from)),
            4 => u64::from(ram::get::<u32>(from)),
            _ => ram::get(from),
        }
    };
    Fetched { error: 0, value }
}

/// The Rust side of `__put_user_*`.
pub(crate) extern "C" fn deliver(to: u64, value: u64, size: u64) -> u64 {
    if accessible(to, size) < size {
        return i64::from(Errno::EFAULT.to_return()) as u64;
    }
    // SAFETY: user memory of this size.
    unsafe { ram::bytes_mut(to, size) }.copy_from_slice(&value.to_le_bytes()[..size as usize]);
    0
}

/// `void __check_object_size(const void *, unsigned long n, bool to_user)`: a copy may not leave the heap object it begins in.
extern "C" fn __check_object_size(at: u64, length: u64, to_user: bool) {
    let caller = ram::caller();
    if length == 0 {
        return;
    }
    let what = if to_user { "exposure attempt detected from" } else { "overwrite attempt detected to" };
    let complain = |kind: &str, offset: u64| {
        let text = alloc::format!("usercopy: Kernel memory {what} {kind} (offset {offset}, size {length})!");
        kernel().bug(&text, caller);
    };
    if at.checked_add(length).is_none() {
        complain("wrapped address", 0);
    }
    if at <= 16 {
        complain("null address", at);
    }
    if let Some(object) = kernel().heap.find(at)
        && at + length > object.start + object.usable
    {
        complain("SLUB object", at - object.start);
    }
}

/// `void __copy_overflow(int size, unsigned long count)`: the compiler knew the buffer, the length came later.
extern "C" fn __copy_overflow(size: i32, count: u64) {
    let text = alloc::format!("Buffer overflow detected ({size} < {count})!");
    kernel().warn(&text, ram::caller());
}

/// `unsigned long vm_mmap(struct file *, unsigned long addr, unsigned long len, ...)`: anonymous memory only.
extern "C" fn vm_mmap(file: u64, _at: u64, length: u64) -> u64 {
    if file != 0 || length == 0 {
        return Errno::EINVAL.to_pointer();
    }
    match UserBuffer::zeroed(length.next_multiple_of(PAGE)) {
        Ok(buffer) => {
            let start = buffer.start;
            // `vm_munmap` takes it up again.
            core::mem::forget(buffer);
            start
        }
        Err(errno) => errno.to_pointer(),
    }
}
extern "C" fn vm_munmap(start: u64, _length: u64) -> i32 {
    let end = RANGES.lock().get(&start).copied();
    match end {
        Some(end) => drop(UserBuffer { start, length: end - start }),
        None => return Errno::EINVAL.to_return(),
    }
    0
}

/// `long copy_from_kernel_nofault(void *, const void *, size_t)` and its siblings: a fault is an answer.
extern "C" fn copy_from_kernel_nofault(to: u64, from: u64, length: u64) -> i64 {
    let mut bytes = alloc::vec![0; length as usize];
    if kernel().platform.read(from, &mut bytes).is_err() {
        return i64::from(Errno::EFAULT.to_return());
    }
    // SAFETY: the caller's buffer.
    unsafe { ram::bytes_mut(to, length) }.copy_from_slice(&bytes);
    0
}

/// Where the copies that may fault at any time answer in all or nothing.
fn all_or_fault(left: u64) -> i64 {
    if left == 0 { 0 } else { i64::from(Errno::EFAULT.to_return()) }
}
extern "C" fn copy_from_user_nofault(to: u64, from: u64, length: u64) -> i64 {
    all_or_fault(_copy_from_user(to, from, length))
}
extern "C" fn copy_to_user_nofault(to: u64, from: u64, length: u64) -> i64 {
    all_or_fault(_copy_to_user(to, from, length))
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c _copy_from_user, c _copy_to_user, c copy_user_generic_unrolled = copy_user_generic,
    c copy_user_generic_string = copy_user_generic, c copy_user_enhanced_fast_string = copy_user_generic,
    c __copy_user_nocache = copy_user_generic, c clear_user, c check_zeroed_user,
    c strncpy_from_user, c strnlen_user, c strndup_user, c memdup_user, c vmemdup_user = memdup_user, c memdup_user_nul,
    c simple_read_from_buffer, c simple_write_to_buffer, c memory_read_from_buffer, c __check_object_size, c __copy_overflow,
    c vm_mmap, c vm_munmap, c copy_from_kernel_nofault, c copy_from_user_nofault,
    c copy_to_user_nofault,
];
