//! `seq_file`: a file's text, record by record.
//!
//! A `struct seq_file` holds one buffer of text; its operations give one record after another. A reader gets what is in the
//! buffer first, and then as many whole records as fit into what it asked for.

use ferrmod_kernel::Errno;
use ferrmod_kernel::text::hexdump::{self, Layout};

use super::{MODE_PWRITE, file, returned};
use crate::device::layout::mutex;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, printf, ram, slab, symbols, user};

layout! {
    pub(crate) mod seq_file = "seq_file" { buf, size, from, count, index, read_pos, lock, op, file, private }
    pub(crate) mod seq_operations = "seq_operations" { start, stop, next, show }
    mod list_head = "list_head" { next }
    mod hlist_node = "hlist_node" { next }
}

const PAGE: u64 = 4096;
/// `SEQ_SKIP`: show had nothing to say about a record.
const SKIP: i32 = 1;

/// The text of a `seq_file` that C sees, as Rust does.
struct Buffer {
    at: u64,
}

impl Buffer {
    fn get(&self, field: &crate::field::Field) -> u64 {
        // SAFETY: the `seq_file` at `at` is alive as long as its file is open.
        unsafe { field.get(self.at) }
    }

    fn set(&self, field: &crate::field::Field, value: u64) {
        // SAFETY: as above.
        unsafe { field.set(self.at, value) }
    }

    fn is_full(&self) -> bool {
        self.get(&seq_file::count) == self.get(&seq_file::size)
    }

    /// Appends; without room the buffer counts as full, and the record will be shown again with a larger one.
    fn append(&self, bytes: &[u8]) -> bool {
        let (count, size) = (self.get(&seq_file::count), self.get(&seq_file::size));
        let end = count + bytes.len() as u64;
        if end < size {
            // SAFETY: the buffer has `size` bytes.
            unsafe { ram::bytes_mut(self.get(&seq_file::buf) + count, bytes.len() as u64).copy_from_slice(bytes) };
            self.set(&seq_file::count, end);
            true
        } else {
            self.set(&seq_file::count, size);
            false
        }
    }

    /// A buffer of `size` bytes in place of the old one.
    fn resize(&self, size: u64) -> Result<(), Errno> {
        slab::release(self.get(&seq_file::buf), 0);
        let buffer = slab::allocate(size, 8, 0, 0);
        self.set(&seq_file::buf, buffer);
        self.set(&seq_file::count, 0);
        self.set(&seq_file::size, if buffer == 0 { 0 } else { size });
        if buffer == 0 { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    fn call<const N: usize>(&self, field: &crate::field::Field, arguments: [u64; N]) -> u64 {
        // SAFETY: the operations' functions take these arguments.
        unsafe { ram::call(field.get(self.get(&seq_file::op)), arguments) }
    }

    fn start(&self) -> u64 {
        self.call(&seq_operations::start, [self.at, seq_file::index.at(self.at)])
    }

    fn next(&self, record: u64) -> u64 {
        let index = self.get(&seq_file::index);
        let next = self.call(&seq_operations::next, [self.at, record, seq_file::index.at(self.at)]);
        if self.get(&seq_file::index) == index {
            // A `next` that forgets the index would give this record for ever.
            self.set(&seq_file::index, index + 1);
        }
        next
    }

    fn show(&self, record: u64) -> i32 {
        self.call(&seq_operations::show, [self.at, record]) as i32
    }

    fn stop(&self, record: u64) {
        self.call(&seq_operations::stop, [self.at, record]);
    }

    /// Fills the empty buffer with whole records, at least one and at least `wanted` bytes, as far as there are any.
    fn fill(&self, wanted: u64) -> Result<(), Errno> {
        self.set(&seq_file::from, 0);
        let mut record = self.start();
        loop {
            if record == 0 {
                self.stop(record);
                return Ok(());
            }
            if let Some(errno) = Errno::from_pointer(record) {
                self.stop(record);
                return if self.get(&seq_file::count) > 0 { Ok(()) } else { Err(errno) };
            }
            let before = self.get(&seq_file::count);
            let shown = self.show(record);
            if shown < 0 {
                self.set(&seq_file::count, before);
                self.stop(record);
                return if before > 0 { Ok(()) } else { Err(Errno(-shown)) };
            }
            if shown == SKIP {
                self.set(&seq_file::count, before);
            } else if self.is_full() {
                if before > 0 {
                    // It comes first next time.
                    self.set(&seq_file::count, before);
                    self.stop(record);
                    return Ok(());
                }
                self.stop(record);
                self.resize(self.get(&seq_file::size) * 2)?;
                record = self.start();
                continue;
            }
            record = self.next(record);
            if self.get(&seq_file::count) >= wanted {
                self.stop(record);
                return Ok(());
            }
        }
    }

    /// Begins anew and goes to `position`.
    fn go_to(&self, position: u64) -> Result<(), Errno> {
        for field in [&seq_file::index, &seq_file::count, &seq_file::from] {
            self.set(field, 0);
        }
        let mut passed = 0;
        while passed < position {
            self.fill(1)?;
            let count = self.get(&seq_file::count);
            if count == 0 {
                break;
            }
            let skipped = count.min(position - passed);
            passed += skipped;
            self.set(&seq_file::from, skipped);
            self.set(&seq_file::count, count - skipped);
        }
        Ok(())
    }

    /// At most `room` bytes for a reader at `position`.
    fn read(&self, position: u64, room: u64, mut give: impl FnMut(u64, u64) -> u64) -> Result<u64, Errno> {
        if self.get(&seq_file::buf) == 0 {
            self.resize(PAGE)?;
        }
        if position != self.get(&seq_file::read_pos) {
            self.go_to(position)?;
            self.set(&seq_file::read_pos, position);
        }
        if self.get(&seq_file::count) == 0 && room > 0 {
            self.fill(room)?;
        }
        let part = self.get(&seq_file::count).min(room);
        let given = give(self.get(&seq_file::buf) + self.get(&seq_file::from), part);
        if given == 0 && part > 0 {
            return Err(Errno::EFAULT);
        }
        self.set(&seq_file::count, self.get(&seq_file::count) - given);
        self.set(&seq_file::from, self.get(&seq_file::from) + given);
        self.set(&seq_file::read_pos, position + given);
        Ok(given)
    }
}

fn of_file(file: u64) -> Buffer {
    // SAFETY: a file that `seq_open` has opened.
    Buffer { at: unsafe { file::private_data.get(file) } }
}

/// `int seq_open(struct file *, const struct seq_operations *)`
pub(crate) extern "C" fn seq_open(file: u64, ops: u64) -> i32 {
    let caller = ram::caller();
    open(file, ops, caller)
}

fn open(file: u64, ops: u64, caller: u64) -> i32 {
    let made = slab::allocate(seq_file::SIZE.get(), 8, slab::ZERO, caller);
    if made == 0 {
        return Errno::ENOMEM.to_return();
    }
    // SAFETY: a zeroed block of the struct's size, and the caller's file.
    unsafe {
        locks::init_list(mutex::wait_list.at(seq_file::lock.at(made)));
        seq_file::op.set(made, ops);
        seq_file::file.set(made, file);
        file::private_data.set(file, made);
        // There is no writing at a position.
        file::f_mode.set(file, file::f_mode.get::<u32>(file) & !MODE_PWRITE);
    }
    0
}

/// `ssize_t seq_read(struct file *, char __user *, size_t, loff_t *)`
pub(crate) extern "C" fn seq_read(file: u64, to: u64, size: u64, position: u64) -> i64 {
    // SAFETY: the caller's position.
    let at = unsafe { ram::get::<u64>(position) };
    let result = of_file(file).read(at, size, |from, part| part - user::_copy_to_user(to, from, part));
    if let Ok(read) = result {
        // SAFETY: as above.
        unsafe { ram::put(position, at + read) };
    }
    returned(result)
}

/// `ssize_t seq_read_iter(struct kiocb *, struct iov_iter *)`
pub(crate) extern "C" fn seq_read_iter(request: u64, iter: u64) -> i64 {
    // SAFETY: the caller's request.
    let (file, at): (u64, u64) = unsafe { (super::kiocb::ki_filp.get(request), super::kiocb::ki_pos.get(request)) };
    let result = of_file(file).read(at, crate::iter::left(iter), |from, part| crate::iter::put(iter, from, part));
    if let Ok(read) = result {
        // SAFETY: as above.
        unsafe { super::kiocb::ki_pos.set(request, at + read) };
    }
    returned(result)
}

/// `loff_t seq_lseek(struct file *, loff_t, int)`
pub(crate) extern "C" fn seq_lseek(file: u64, offset: i64, whence: i32) -> i64 {
    let buffer = of_file(file);
    // SAFETY: the caller's file.
    let now: i64 = unsafe { file::f_pos.get(file) };
    let target = match whence {
        0 => offset,
        1 => now.wrapping_add(offset),
        _ => return Errno::EINVAL.to_return().into(),
    };
    if target < 0 {
        return Errno::EINVAL.to_return().into();
    }
    if target as u64 != buffer.get(&seq_file::read_pos) {
        if let Err(errno) = buffer.go_to(target as u64) {
            return errno.to_return().into();
        }
        buffer.set(&seq_file::read_pos, target as u64);
    }
    // SAFETY: as above.
    unsafe { file::f_pos.set(file, target) };
    target
}

/// `int seq_release(struct inode *, struct file *)`
pub(crate) extern "C" fn seq_release(_inode: u64, file: u64) -> i32 {
    let buffer = of_file(file);
    slab::release(buffer.get(&seq_file::buf), 0);
    slab::release(buffer.at, 0);
    0
}

extern "C" fn seq_release_private(inode: u64, file: u64) -> i32 {
    slab::release(of_file(file).get(&seq_file::private), 0);
    seq_release(inode, file)
}

/// `void *__seq_open_private(struct file *, const struct seq_operations *, int)`
pub(crate) extern "C" fn __seq_open_private(file: u64, ops: u64, size: i32) -> u64 {
    let caller = ram::caller();
    let private = slab::allocate(size.max(1) as u64, 8, slab::ZERO, caller);
    if private == 0 || open(file, ops, caller) != 0 {
        slab::release(private, caller);
        return 0;
    }
    of_file(file).set(&seq_file::private, private);
    private
}

extern "C" fn seq_open_private(file: u64, ops: u64, size: i32) -> i32 {
    if __seq_open_private(file, ops, size) == 0 { Errno::ENOMEM.to_return() } else { 0 }
}

/// A file of one record: its only record is 1.
extern "C" fn seq_single_start(_file: u64, position: u64) -> u64 {
    // SAFETY: the position that the reader passes.
    u64::from(unsafe { ram::get::<u64>(position) } == 0)
}
extern "C" fn seq_single_next(_file: u64, _record: u64, position: u64) -> u64 {
    // SAFETY: as above.
    unsafe { ram::put(position, ram::get::<u64>(position) + 1) };
    0
}
extern "C" fn seq_single_stop() {}

/// `int single_open(struct file *, int (*show)(struct seq_file *, void *), void *)`
pub(crate) extern "C" fn single_open(file: u64, show: u64, data: u64) -> i32 {
    let caller = ram::caller();
    let ops = slab::allocate(seq_operations::SIZE.get(), 8, slab::ZERO, caller);
    if ops == 0 {
        return Errno::ENOMEM.to_return();
    }
    let own = |name| symbols::address(name).unwrap_or(0);
    // SAFETY: a block of the struct's size.
    unsafe {
        seq_operations::start.set(ops, own("seq_single_start"));
        seq_operations::next.set(ops, own("seq_single_next"));
        seq_operations::stop.set(ops, own("seq_single_stop"));
        seq_operations::show.set(ops, show);
    }
    let result = open(file, ops, caller);
    if result == 0 {
        of_file(file).set(&seq_file::private, data);
    } else {
        slab::release(ops, caller);
    }
    result
}

extern "C" fn single_open_size(file: u64, show: u64, data: u64, size: u64) -> i32 {
    let result = single_open(file, show, data);
    if result == 0
        && let Err(errno) = of_file(file).resize(size.next_multiple_of(PAGE))
    {
        single_release(0, file);
        return errno.to_return();
    }
    result
}

pub(crate) extern "C" fn single_release(inode: u64, file: u64) -> i32 {
    let ops = of_file(file).get(&seq_file::op);
    seq_release(inode, file);
    slab::release(ops, 0);
    0
}

extern "C" fn seq_vprintf(at: u64, format: u64, list: u64) {
    let buffer = Buffer { at };
    let room = buffer.get(&seq_file::size) - buffer.get(&seq_file::count);
    let (text, length) = printf::format_list(room as usize, format, list);
    // What is longer than the room fills it.
    if length >= room as usize {
        buffer.set(&seq_file::count, buffer.get(&seq_file::size));
    } else {
        buffer.append(&text);
    }
}
extern "C" fn seq_putc(at: u64, character: u8) {
    let buffer = Buffer { at };
    if buffer.get(&seq_file::count) < buffer.get(&seq_file::size) {
        let count = buffer.get(&seq_file::count);
        // SAFETY: within the buffer.
        unsafe { ram::put(buffer.get(&seq_file::buf) + count, character) };
        buffer.set(&seq_file::count, count + 1);
    }
}
extern "C" fn seq_puts(at: u64, text: u64) {
    // SAFETY: the module's C string.
    Buffer { at }.append(unsafe { ram::c_string(text) });
}
extern "C" fn seq_write(at: u64, data: u64, length: u64) -> i32 {
    // SAFETY: the module's bytes.
    let fits = Buffer { at }.append(unsafe { ram::bytes(data, length) });
    if fits { 0 } else { -1 }
}
extern "C" fn seq_put_decimal_ull(at: u64, before: u64, number: u64) {
    seq_puts(at, before);
    Buffer { at }.append(alloc::format!("{number}").as_bytes());
}
extern "C" fn seq_put_decimal_ull_width(at: u64, before: u64, number: u64, width: u32) {
    seq_puts(at, before);
    Buffer { at }.append(alloc::format!("{number:>width$}", width = width as usize).as_bytes());
}
extern "C" fn seq_put_decimal_ll(at: u64, before: u64, number: i64) {
    seq_puts(at, before);
    Buffer { at }.append(alloc::format!("{number}").as_bytes());
}
extern "C" fn seq_put_hex_ll(at: u64, before: u64, number: u64, width: u32) {
    seq_puts(at, before);
    Buffer { at }.append(alloc::format!("{number:0width$x}", width = width as usize).as_bytes());
}
extern "C" fn seq_pad(at: u64, character: u8) {
    if character != 0 {
        seq_putc(at, character);
    }
}

/// `void seq_escape_mem(struct seq_file *, const char *, size_t, unsigned flags, const char *only)`: octal escapes of the
/// characters in `only`.
extern "C" fn seq_escape_mem(at: u64, data: u64, length: u64, _flags: u32, only: u64) {
    // SAFETY: the module's bytes and C string.
    let (bytes, only) = unsafe { (ram::bytes(data, length), ram::c_string_or_empty(only)) };
    for &byte in bytes {
        if only.contains(&byte) {
            Buffer { at }.append(alloc::format!("\\{byte:03o}").as_bytes());
        } else {
            seq_putc(at, byte);
        }
    }
}

/// The record at `position` of a list, counted from 0; 0 past its end.
fn list_nth(head: u64, position: u64) -> u64 {
    // SAFETY: the module's list.
    unsafe { crate::waiting::each(head) }.nth(position as usize).unwrap_or(0)
}

extern "C" fn seq_list_start(head: u64, position: u64) -> u64 {
    list_nth(head, position)
}
extern "C" fn seq_list_start_head(head: u64, position: u64) -> u64 {
    match position {
        0 => head,
        _ => list_nth(head, position - 1),
    }
}
extern "C" fn seq_list_next(record: u64, head: u64, position: u64) -> u64 {
    // SAFETY: a record of the module's list, and the reader's position.
    unsafe {
        ram::put(position, ram::get::<u64>(position) + 1);
        let next: u64 = list_head::next.get(record);
        if next == head { 0 } else { next }
    }
}

fn hlist_nth(head: u64, position: u64) -> u64 {
    // SAFETY: the module's list; its head is a pointer to the first node.
    unsafe {
        let mut node: u64 = ram::get(head);
        for _ in 0..position {
            if node == 0 {
                break;
            }
            node = hlist_node::next.get(node);
        }
        node
    }
}
/// `SEQ_START_TOKEN`
const START_TOKEN: u64 = 1;

extern "C" fn seq_hlist_start(head: u64, position: u64) -> u64 {
    hlist_nth(head, position)
}
extern "C" fn seq_hlist_start_head(head: u64, position: u64) -> u64 {
    match position {
        0 => START_TOKEN,
        _ => hlist_nth(head, position - 1),
    }
}
extern "C" fn seq_hlist_next(record: u64, head: u64, position: u64) -> u64 {
    // SAFETY: as for `seq_list_next`.
    unsafe {
        ram::put(position, ram::get::<u64>(position) + 1);
        if record == START_TOKEN { ram::get(head) } else { hlist_node::next.get(record) }
    }
}

/// `void seq_hex_dump(m, prefix, type, rowsize, groupsize, buf, len, ascii)`: two of its arguments lie on the stack.
extern "C" fn seq_hex_dump(at: u64, prefix: u64, kind: u32, row: u32, group: u32, data: u64, length: u64, ascii: bool) {
    // SAFETY: the module's bytes and C string.
    let (bytes, prefix) = unsafe { (ram::bytes(data, length), ram::c_string_or_empty(prefix)) };
    let row = if row == 32 { 32 } else { 16 };
    let layout = Layout { row, group: group as usize, ascii };
    for (number, part) in bytes.chunks(row).enumerate() {
        let buffer = Buffer { at };
        buffer.append(&prefix);
        match kind {
            1 => buffer.append(alloc::format!("{:016x}: ", data + (number * row) as u64).as_bytes()),
            2 => buffer.append(alloc::format!("{:08x}: ", number * row).as_bytes()),
            _ => true,
        };
        buffer.append(&hexdump::line(part, layout));
        buffer.append(b"\n");
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c seq_open, c seq_read, c seq_read_iter, c seq_lseek, c seq_release, c seq_release_private, c __seq_open_private,
    c seq_open_private, c seq_single_start, c seq_single_next, c seq_single_stop, c single_open, c single_open_size,
    c single_release, v2 seq_printf = seq_vprintf, c seq_vprintf, c seq_putc, c seq_puts, c __seq_puts = seq_puts, c seq_write,
    c seq_put_decimal_ull, c seq_put_decimal_ull_width, c seq_put_decimal_ll, c seq_put_hex_ll, c seq_pad, c seq_escape_mem,
    c seq_list_start, c seq_list_start_head, c seq_list_next, c seq_list_start_rcu = seq_list_start,
    c seq_list_next_rcu = seq_list_next, c seq_hlist_start, c seq_hlist_start_head, c seq_hlist_next,
    c seq_hlist_start_rcu = seq_hlist_start, c seq_hlist_start_head_rcu = seq_hlist_start_head,
    c seq_hlist_next_rcu = seq_hlist_next, s2 seq_hex_dump,
];
