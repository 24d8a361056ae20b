//! The memory that supervisor and child share.
//!
//! The *file* holds module text, module rodata and the inbox. Only the supervisor has it mapped writable; after that mapping
//! is made the file is sealed (`F_SEAL_FUTURE_WRITE`), so that no mapping the child makes of it can be writable, nor be
//! made so later: W^X does not depend on the child. The *outbox* is writable on both sides and never executable.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::layout::{self, FILE_SIZE, INBOX_OFFSET, INBOX_SIZE, OUTBOX_SIZE, RODATA, TEXT};

/// Text is made present in steps of this many bytes: one system call instead of one page fault a page.
const STEP: u64 = 64 << 10;

/// A mapping that is undone when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: *mut u8,
    length: usize,
}

// SAFETY: a mapping is plain memory of the process; it belongs to no thread. Only `&mut self` methods of its owner write it.
unsafe impl Send for Mapping {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(length: u64, flags: i32, file: i32) -> io::Result<Self> {
        let length = length as usize;
        // SAFETY: a new mapping where the system likes; nothing existing is touched.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_NORESERVE | flags,
                file,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { base: base.cast(), length })
    }

    /// Keeps the mapping out of processes forked from now on: another machine's child must not see this one's memory.
    fn hide_from_children(&self) -> io::Result<()> {
        // SAFETY: our own mapping; the advice changes nothing in this process.
        match unsafe { libc::madvise(self.base.cast(), self.length, libc::MADV_DONTFORK) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Where it is.
    pub(crate) fn base(&self) -> *mut u8 {
        self.base
    }

    /// The address of `length` bytes at `offset`, if they are inside.
    fn at(&self, offset: u64, length: u64) -> Option<*mut u8> {
        let end = offset.checked_add(length)?;
        // SAFETY: `offset` is at most the length of the mapping.
        (end <= self.length as u64).then(|| unsafe { self.base.add(offset as usize) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nobody refers to any more.
        unsafe { libc::munmap(self.base.cast(), self.length) };
    }
}

/// The shared memory of one machine, on the supervisor's side.
#[derive(Debug)]
pub(crate) struct Shared {
    alias: Mapping,
    outbox: Mapping,
    populated: [u64; 2],
}

impl Shared {
    /// Makes the memory and the file for the child. No other machine may be forked before [`Shared::forked`] is called.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        // SAFETY: the name is a C string; the result is a new descriptor or -1.
        let file = unsafe {
            let file = libc::memfd_create(c"ferrmod-machine".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
            if file < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(file)
        };
        // SAFETY: a descriptor of our own.
        if unsafe { libc::ftruncate(file.as_raw_fd(), FILE_SIZE as i64) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let alias = Mapping::new(FILE_SIZE, 0, file.as_raw_fd())?;
        alias.hide_from_children()?;
        let seals = libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: a descriptor of our own; sealing touches no memory.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let outbox = Mapping::new(OUTBOX_SIZE, libc::MAP_ANONYMOUS, -1)?;
        Ok((Self { alias, outbox, populated: [TEXT.start, RODATA.start] }, file))
    }

    /// The child exists: nobody else may inherit the outbox.
    pub(crate) fn forked(&self) -> io::Result<()> {
        self.outbox.hide_from_children()
    }

    /// The address of the outbox, the same in the child.
    pub(crate) fn outbox(&self) -> *mut u8 {
        self.outbox.base()
    }

    /// The inbox from `offset` on.
    pub(crate) fn inbox(&mut self, offset: u64) -> &mut [u8] {
        let offset = offset.min(INBOX_SIZE);
        // SAFETY:
        // 1. `INBOX_OFFSET + INBOX_SIZE` is the length of the alias, and `offset` is at most `INBOX_SIZE`.
        // 2. Only this process has it mapped writable (the file is sealed), and `&mut self` makes this the only reference.
        // 3. The child reads it only between a message that says so and its answer, when nothing is written.
        unsafe {
            let start = self.alias.base().add((INBOX_OFFSET + offset) as usize);
            std::slice::from_raw_parts_mut(start, (INBOX_SIZE - offset) as usize)
        }
    }

    /// A copy of a part of the outbox; `None` when it is not inside.
    pub(crate) fn read(&self, offset: u64, length: u64) -> Option<Vec<u8>> {
        let from = self.outbox.at(offset, length)?;
        let mut copy = Vec::with_capacity(length as usize);
        // SAFETY:
        // 1. `from` is readable and `copy` has room for `length` bytes.
        // 2. The child may write there at the same time: then the bytes are any bytes, and they are judged after the copy.
        unsafe {
            ptr::copy_nonoverlapping(from, copy.as_mut_ptr(), length as usize);
            copy.set_len(length as usize);
        }
        Some(copy)
    }

    /// The writable address of `length` bytes of text or rodata; `None` when the child may not ask for that.
    fn target(&mut self, address: u64, length: u64) -> Option<*mut u8> {
        let pool = [TEXT, RODATA].iter().position(|pool| layout::inside(pool, address, length))?;
        self.populate(pool, address, length);
        self.alias.at(address - TEXT.start, length)
    }

    /// Makes pages present that are touched for the first time. Areas are handed out from their start, so one mark a pool does.
    fn populate(&mut self, pool: usize, address: u64, length: u64) {
        let end = (address + length).next_multiple_of(STEP).min([TEXT, RODATA][pool].end);
        let start = self.populated[pool].max(address / STEP * STEP);
        if end > start {
            // SAFETY: a range of our own mapping; populating changes no contents. A failure only costs page faults later.
            unsafe {
                let at = self.alias.base().add((start - TEXT.start) as usize);
                libc::madvise(at.cast(), (end - start) as usize, libc::MADV_POPULATE_WRITE);
            }
            self.populated[pool] = end;
        }
    }

    /// Copies `length` bytes at `offset` of the outbox to `address`; false when one of them is not allowed.
    pub(crate) fn copy(&mut self, address: u64, offset: u64, length: u64) -> bool {
        let Some(from) = self.outbox.at(offset, length) else { return false };
        let Some(to) = self.target(address, length) else { return false };
        // SAFETY: both are checked to lie inside different mappings of ours; what is copied is the child's own affair.
        unsafe { ptr::copy_nonoverlapping(from, to, length as usize) };
        true
    }

    /// Zeroes `length` bytes at `address`; false when that is not allowed.
    pub(crate) fn clear(&mut self, address: u64, length: u64) -> bool {
        let Some(to) = self.target(address, length) else { return false };
        // SAFETY: checked to lie inside our mapping.
        unsafe { ptr::write_bytes(to, 0, length as usize) };
        true
    }
}
