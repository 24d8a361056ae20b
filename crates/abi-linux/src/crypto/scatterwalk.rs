//! Positions in scatterlists (`struct scatter_walk`): C code moves them inline, and we move them the same way.
//!
//! The offset of a position counts from the first page of its entry, as C's does.

use super::scatterlist::{extent, link, page_address, page_of, scatterlist, sg_init_table, sg_next};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    pub(crate) mod scatter_walk = "scatter_walk" { sg, offset }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c scatterwalk_copychunks, c scatterwalk_map_and_copy, c scatterwalk_ffwd, c memcpy_sglist,
];

/// A position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The entry; 0 after the last.
    pub(crate) sg: u64,
    /// Bytes from the start of the entry's first page.
    pub(crate) offset: u32,
}

impl Position {
    /// The start of a list.
    ///
    /// # Safety
    /// `sg` is an entry, or 0.
    pub(crate) unsafe fn start(sg: u64) -> Self {
        // SAFETY: the caller vouches for the entry.
        Self { sg, offset: if sg == 0 { 0 } else { unsafe { extent(sg).0 } } }
    }

    /// What a C position says.
    ///
    /// # Safety
    /// `walk` is a `struct scatter_walk`.
    pub(crate) unsafe fn read(walk: u64) -> Self {
        // SAFETY: the caller vouches for the position.
        unsafe { Self { sg: scatter_walk::sg.get(walk), offset: scatter_walk::offset.get(walk) } }
    }

    /// Writes it to a C position.
    ///
    /// # Safety
    /// As [`Position::read`].
    pub(crate) unsafe fn write(self, walk: u64) {
        // SAFETY: the caller vouches for the position.
        unsafe {
            scatter_walk::sg.set(walk, self.sg);
            scatter_walk::offset.set(walk, self.offset);
        }
    }

    /// Bytes that lie in one piece from here; goes on to the entry that has some. 0 at the end.
    ///
    /// # Safety
    /// The list is intact.
    pub(crate) unsafe fn piece(&mut self) -> u32 {
        while self.sg != 0 {
            // SAFETY: an entry of the caller's list.
            let (offset, length) = unsafe { extent(self.sg) };
            let end = offset.saturating_add(length);
            if self.offset < end {
                return end - self.offset;
            }
            // SAFETY: as above.
            *self = unsafe { Self::start(sg_next(self.sg)) };
        }
        0
    }

    /// The address of the byte here; the position has one.
    ///
    /// # Safety
    /// [`Position::piece`] has just found bytes.
    pub(crate) unsafe fn address(self) -> u64 {
        // SAFETY: the caller vouches for the position.
        unsafe { page_address(self.sg) + u64::from(self.offset) }
    }

    /// Gives `visit` the next `length` bytes piece by piece (address, bytes before, bytes), and goes past them; how many there
    /// were.
    ///
    /// # Safety
    /// The list is intact.
    pub(crate) unsafe fn pass(&mut self, length: u64, mut visit: impl FnMut(u64, u64, u64)) -> u64 {
        let mut done = 0;
        while done < length {
            // SAFETY: the caller vouches for the list.
            let now = u64::from(unsafe { self.piece() }).min(length - done);
            if now == 0 {
                break;
            }
            // SAFETY: `piece` has found bytes.
            visit(unsafe { self.address() }, done, now);
            self.offset += now as u32;
            done += now;
        }
        done
    }

    /// Copies the next `length` bytes to a buffer.
    ///
    /// # Safety
    /// The list is intact, and the buffer has the room.
    pub(crate) unsafe fn read_bytes(&mut self, buffer: u64, length: u64) -> u64 {
        // SAFETY: the caller vouches for both.
        unsafe { self.pass(length, |piece, done, now| ram::copy(buffer + done, piece, now)) }
    }

    /// Copies a buffer over the next `length` bytes.
    ///
    /// # Safety
    /// As [`Position::read_bytes`].
    pub(crate) unsafe fn write_bytes(&mut self, buffer: u64, length: u64) -> u64 {
        // SAFETY: the caller vouches for both.
        unsafe { self.pass(length, |piece, done, now| ram::copy(piece, buffer + done, now)) }
    }

    /// Goes past `length` bytes.
    ///
    /// # Safety
    /// The list is intact.
    pub(crate) unsafe fn skip(&mut self, length: u64) -> u64 {
        // SAFETY: the caller vouches for the list.
        unsafe { self.pass(length, |_, _, _| ()) }
    }
}

/// Copies between two lists, which may be the same one.
///
/// # Safety
/// Both lists are intact.
pub(crate) unsafe fn copy(to: u64, from: u64, length: u64) {
    // SAFETY: the caller vouches for the lists.
    unsafe {
        let mut target = Position::start(to);
        Position::start(from).pass(length, |piece, _, now| {
            target.write_bytes(piece, now);
        });
    }
}

/// `void scatterwalk_copychunks(void *buf, struct scatter_walk *, size_t, int out)`: `out` 0 reads, 1 writes, 2 skips.
extern "C" fn scatterwalk_copychunks(buffer: u64, walk: u64, length: u64, out: i32) {
    // SAFETY: the module's position and buffer.
    unsafe {
        let mut position = Position::read(walk);
        match out {
            0 => position.read_bytes(buffer, length),
            1 => position.write_bytes(buffer, length),
            _ => position.skip(length),
        };
        position.write(walk);
    }
}

/// `void scatterwalk_map_and_copy(void *buf, struct scatterlist *, unsigned int start, unsigned int nbytes, int out)`
pub(crate) extern "C" fn scatterwalk_map_and_copy(buffer: u64, sg: u64, start: u32, length: u32, out: i32) {
    // SAFETY: the module's list and buffer.
    unsafe {
        let mut position = Position::start(sg);
        position.skip(u64::from(start));
        if out == 0 {
            position.read_bytes(buffer, u64::from(length));
        } else {
            position.write_bytes(buffer, u64::from(length));
        }
    }
}

/// `struct scatterlist *scatterwalk_ffwd(struct scatterlist dst[2], struct scatterlist *src, unsigned int len)`: the list from
/// byte `len` on, with `dst` as its first entries where that is inside one.
extern "C" fn scatterwalk_ffwd(two: u64, from: u64, mut length: u32) -> u64 {
    let mut sg = from;
    // SAFETY: the module's list, and room for two entries.
    unsafe {
        while length != 0 {
            let (offset, here) = extent(sg);
            if here > length {
                sg_init_table(two, 2);
                let address = page_address(sg) + u64::from(offset) + u64::from(length);
                super::scatterlist::set(two, page_of(address), (address % 4096) as u32, here - length);
                let next = sg_next(sg);
                if next == 0 {
                    let bits: u64 = scatterlist::page_link.get(two);
                    scatterlist::page_link.set(two, bits | 2);
                } else {
                    link(two + scatterlist::SIZE.get(), next);
                }
                return two;
            }
            length -= here;
            sg = sg_next(sg);
            if sg == 0 {
                return 0;
            }
        }
    }
    sg
}

/// `void memcpy_sglist(struct scatterlist *dst, struct scatterlist *src, unsigned int nbytes)`
extern "C" fn memcpy_sglist(to: u64, from: u64, length: u32) {
    // SAFETY: the module's lists.
    unsafe { copy(to, from, u64::from(length)) };
}
