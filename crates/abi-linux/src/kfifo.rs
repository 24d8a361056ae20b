//! Ring buffers of elements or of records (`struct __kfifo`).

use ferrmod_kernel::Errno;

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab, user};

layout! {
    mod fifo = "__kfifo" { put_index = "in", take_index = "out", mask, esize, data }
}

/// What a ring buffer's struct says. Indices run on and wrap; `mask` is the capacity less one, a power of two less one.
#[derive(Clone, Copy, Debug)]
struct Ring {
    head: u32,
    tail: u32,
    mask: u32,
    element: u32,
    data: u64,
}

impl Ring {
    fn of(at: u64) -> Self {
        // SAFETY: the caller's ring.
        unsafe {
            Self {
                head: fifo::put_index.get(at),
                tail: fifo::take_index.get(at),
                mask: fifo::mask.get(at),
                element: fifo::esize.get(at),
                data: fifo::data.get(at),
            }
        }
    }

    fn used(&self) -> u32 {
        self.head.wrapping_sub(self.tail)
    }

    fn free(&self) -> u32 {
        self.mask.wrapping_add(1).wrapping_sub(self.used())
    }

    /// The one or two runs of memory for `count` elements from `index` on: address, offset in the whole, bytes.
    fn runs(&self, index: u32, count: u32) -> [(u64, u64, u64); 2] {
        let size = u64::from(self.element);
        let start = u64::from(index & self.mask);
        let capacity = u64::from(self.mask) + 1;
        let first = u64::from(count).min(capacity - start);
        [(self.data + start * size, 0, first * size), (self.data, first * size, (u64::from(count) - first) * size)]
    }

    /// Writes at `index`.
    fn store(&self, index: u32, from: u64, count: u32) {
        for (at, offset, bytes) in self.runs(index, count) {
            // SAFETY: within the ring, and so many bytes of the caller's.
            unsafe { ram::copy(at, from + offset, bytes) };
        }
    }

    /// Reads at `index`.
    fn load(&self, index: u32, to: u64, count: u32) {
        for (at, offset, bytes) in self.runs(index, count) {
            // SAFETY: as above.
            unsafe { ram::copy(to + offset, at, bytes) };
        }
    }
}

fn set_head(at: u64, value: u32) {
    // SAFETY: the caller's ring.
    unsafe { fifo::put_index.set(at, value) };
}
fn set_tail(at: u64, value: u32) {
    // SAFETY: the caller's ring.
    unsafe { fifo::take_index.set(at, value) };
}

fn begin(at: u64, capacity: u32, element: u64, data: u64) -> i32 {
    // SAFETY: the caller's ring.
    unsafe {
        fifo::put_index.set(at, 0u32);
        fifo::take_index.set(at, 0u32);
        fifo::esize.set(at, element as u32);
        fifo::data.set(at, data);
        fifo::mask.set(at, if data == 0 { 0 } else { capacity - 1 });
    }
    0
}

/// `int __kfifo_alloc(struct __kfifo *, unsigned size, size_t esize, gfp_t)`: the size is rounded up to a power of two.
extern "C" fn __kfifo_alloc(at: u64, size: u32, element: u64, flags: u32) -> i32 {
    let caller = ram::caller();
    let capacity = size.max(1).checked_next_power_of_two().unwrap_or(0);
    if capacity < 2 {
        begin(at, 1, element, 0);
        return Errno::EINVAL.to_return();
    }
    let data = slab::kmalloc(u64::from(capacity) * element, flags, caller);
    begin(at, capacity, element, data);
    if data == 0 { Errno::ENOMEM.to_return() } else { 0 }
}
extern "C" fn __kfifo_free(at: u64) {
    let caller = ram::caller();
    slab::release(Ring::of(at).data, caller);
    begin(at, 1, 0, 0);
}
/// `int __kfifo_init(struct __kfifo *, void *, unsigned size, size_t esize)`: the size in bytes is rounded down.
extern "C" fn __kfifo_init(at: u64, data: u64, size: u32, element: u64) -> i32 {
    let count = (u64::from(size) / element.max(1)) as u32;
    let capacity = if count.is_power_of_two() || count == 0 { count } else { count.next_power_of_two() / 2 };
    if capacity < 2 {
        begin(at, 1, element, 0);
        // SAFETY: the caller's ring keeps its buffer in any case.
        unsafe { fifo::data.set(at, data) };
        return Errno::EINVAL.to_return();
    }
    begin(at, capacity, element, data)
}

extern "C" fn __kfifo_in(at: u64, from: u64, count: u32) -> u32 {
    let ring = Ring::of(at);
    let count = count.min(ring.free());
    ring.store(ring.head, from, count);
    set_head(at, ring.head.wrapping_add(count));
    count
}
extern "C" fn __kfifo_out_peek(at: u64, to: u64, count: u32) -> u32 {
    let ring = Ring::of(at);
    let count = count.min(ring.used());
    ring.load(ring.tail, to, count);
    count
}
extern "C" fn __kfifo_out(at: u64, to: u64, count: u32) -> u32 {
    let taken = __kfifo_out_peek(at, to, count);
    set_tail(at, Ring::of(at).tail.wrapping_add(taken));
    taken
}

/// Moves whole elements between a ring and user memory; how many, and whether user memory ended before.
fn transfer(runs: [(u64, u64, u64); 2], element: u32, mut copy: impl FnMut(u64, u64, u64) -> u64) -> (u32, bool) {
    let mut moved = 0;
    let mut failed = false;
    for (at, offset, bytes) in runs {
        if !failed {
            let left = copy(at, offset, bytes);
            moved += bytes - left;
            failed = left != 0;
        }
    }
    ((moved / u64::from(element.max(1))) as u32, failed)
}

/// `copied` and the errno of a transfer with user memory.
fn report(copied: u64, count: u64, failed: bool) -> i32 {
    // SAFETY: the caller's variable.
    unsafe { ram::put(copied, count as u32) };
    if failed { Errno::EFAULT.to_return() } else { 0 }
}

/// `int __kfifo_to_user(struct __kfifo *, void __user *, unsigned long len, unsigned *copied)`, in bytes.
extern "C" fn __kfifo_to_user(at: u64, to: u64, length: u64, copied: u64) -> i32 {
    let ring = Ring::of(at);
    let size = ring.element.max(1);
    let count = ((length / u64::from(size)) as u32).min(ring.used());
    let (moved, failed) =
        transfer(ring.runs(ring.tail, count), size, |at, offset, bytes| user::_copy_to_user(to + offset, at, bytes));
    set_tail(at, ring.tail.wrapping_add(moved));
    report(copied, u64::from(moved) * u64::from(size), failed)
}
extern "C" fn __kfifo_from_user(at: u64, from: u64, length: u64, copied: u64) -> i32 {
    let ring = Ring::of(at);
    let size = ring.element.max(1);
    let count = ((length / u64::from(size)) as u32).min(ring.free());
    let (moved, failed) = transfer(ring.runs(ring.head, count), size, |at, offset, bytes| {
        user::_copy_from_user(at, from + offset, bytes)
    });
    set_head(at, ring.head.wrapping_add(moved));
    report(copied, u64::from(moved) * u64::from(size), failed)
}

/// The length before a record, of one or two bytes, little-endian.
fn record_length(ring: &Ring, width: u64) -> u32 {
    let byte = |offset: u32| {
        let place = u64::from(ring.tail.wrapping_add(offset) & ring.mask) * u64::from(ring.element);
        // SAFETY: within the ring; record rings have elements of one byte.
        u32::from(unsafe { ram::get::<u8>(ring.data + place) })
    };
    byte(0) | if width > 1 { byte(1) << 8 } else { 0 }
}
/// `unsigned __kfifo_max_r(unsigned len, size_t recsize)`: the longest record that its length can say.
extern "C" fn __kfifo_max_r(length: u32, width: u64) -> u32 {
    length.min((1 << (8 * width.min(2))) - 1)
}
extern "C" fn __kfifo_len_r(at: u64, width: u64) -> u32 {
    record_length(&Ring::of(at), width)
}
extern "C" fn __kfifo_in_r(at: u64, from: u64, length: u32, width: u64) -> u32 {
    let ring = Ring::of(at);
    if u64::from(length) + width > u64::from(ring.free()) {
        return 0;
    }
    let header = (length as u16).to_le_bytes();
    ring.store(ring.head, header.as_ptr() as u64, width.min(2) as u32);
    let body = ring.head.wrapping_add(width as u32);
    ring.store(body, from, length);
    set_head(at, body.wrapping_add(length));
    length
}
extern "C" fn __kfifo_out_peek_r(at: u64, to: u64, room: u32, width: u64) -> u32 {
    let ring = Ring::of(at);
    if ring.used() == 0 {
        return 0;
    }
    let count = record_length(&ring, width).min(room);
    ring.load(ring.tail.wrapping_add(width as u32), to, count);
    count
}
extern "C" fn __kfifo_skip_r(at: u64, width: u64) {
    let ring = Ring::of(at);
    let length = record_length(&ring, width);
    set_tail(at, ring.tail.wrapping_add(length).wrapping_add(width as u32));
}
extern "C" fn __kfifo_out_r(at: u64, to: u64, room: u32, width: u64) -> u32 {
    if Ring::of(at).used() == 0 {
        return 0;
    }
    let count = __kfifo_out_peek_r(at, to, room, width);
    __kfifo_skip_r(at, width);
    count
}
/// `int __kfifo_to_user_r(struct __kfifo *, void __user *, unsigned long, unsigned *copied, size_t recsize)`
extern "C" fn __kfifo_to_user_r(at: u64, to: u64, length: u64, copied: u64, width: u64) -> i32 {
    let ring = Ring::of(at);
    if ring.used() == 0 {
        return report(copied, 0, false);
    }
    let count = u64::from(record_length(&ring, width)).min(length) as u32;
    let body = ring.tail.wrapping_add(width as u32);
    let (_, failed) =
        transfer(ring.runs(body, count), 1, |at, offset, bytes| user::_copy_to_user(to + offset, at, bytes));
    if failed {
        return report(copied, 0, true);
    }
    __kfifo_skip_r(at, width);
    report(copied, count.into(), false)
}
extern "C" fn __kfifo_from_user_r(at: u64, from: u64, length: u64, copied: u64, width: u64) -> i32 {
    let ring = Ring::of(at);
    let count = __kfifo_max_r(length as u32, width);
    if u64::from(count) + width > u64::from(ring.free()) {
        return report(copied, 0, false);
    }
    match user::copy_in(from, count.into()) {
        Ok(bytes) => report(copied, __kfifo_in_r(at, bytes.as_ptr() as u64, count, width).into(), false),
        Err(_) => report(copied, 0, true),
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __kfifo_alloc, c __kfifo_free, c __kfifo_init, c __kfifo_in, c __kfifo_out_peek, c __kfifo_out, c __kfifo_to_user,
    c __kfifo_from_user, c __kfifo_max_r, c __kfifo_len_r, c __kfifo_in_r, c __kfifo_out_peek_r, c __kfifo_skip_r,
    c __kfifo_out_r, c __kfifo_to_user_r, c __kfifo_from_user_r,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_wrap_around() {
        let ring = Ring { head: 10, tail: 6, mask: 7, element: 4, data: 1000 };
        assert_eq!((ring.used(), ring.free()), (4, 4));
        assert_eq!(ring.runs(6, 4), [(1024, 0, 8), (1000, 8, 8)]);
        let full = Ring { head: 3, tail: u32::MAX - 4, ..ring };
        assert_eq!((full.used(), full.free()), (8, 0));
    }
}
