//! Files that programs have made, as modules see them: a `struct file` for a file's number, and what is read and written through it.

use ferrmod_kernel::files::Content;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};
use hashbrown::HashMap;

use super::superblock::{kstatfs, path};
use super::{
    MODE_CAN_READ, MODE_CAN_WRITE, MODE_OPENED, MODE_PREAD, MODE_PWRITE, MODE_READ, MODE_SEEK, MODE_WRITE, READ_ONLY,
    REGULAR, WRITE_ONLY, dcache, file, file_operations, inode, kiocb, make_dentry, make_inode, returned, superblock,
};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{identity, iter, ram, slab, symbols};

layout! {
    mod more = "file_operations" { fsync, fallocate }
    mod inode_c = "inode" { i_sb, i_blkbits }
    mod writers = "super_block" { first = "s_writers.rw_sem" }
    mod semaphore = "percpu_rw_semaphore" { read_count }
    mod kstat = "kstat" { mode, nlink, size, ino, blksize, blocks, result_mask }
    mod dentry_c = "dentry" { d_inode }
}

const PAGE: u64 = ferrmod_kernel::heap::PAGE;

/// The bytes of each such file that a module has.
static FILES: Lock<Option<HashMap<u64, Content>>> = Lock::new(None);

fn content(at: u64) -> Option<Content> {
    FILES.lock().as_ref()?.get(&at).cloned()
}

/// The inodes of a file's openings say its size.
fn resized(of: &Content) {
    let files: alloc::vec::Vec<u64> = {
        let files = FILES.lock();
        let same = files.iter().flatten().filter(|(_, content)| content.is(of));
        same.map(|(&at, _)| at).collect()
    };
    for at in files {
        // SAFETY: a file of `make`, and its inode.
        unsafe { inode::i_size.set(file::f_inode.get(at), of.size() as u64) };
    }
}

/// The super block that all of them are on; 0 without memory.
fn super_block() -> u64 {
    static BLOCK: spin::Once<u64> = spin::Once::new();
    *BLOCK.call_once(|| {
        let made = superblock::make(0, 0);
        // Whoever writes counts itself inline, in this count a processor.
        if let (true, Ok(offset)) = (made != 0, kernel().percpu.take(8, 8)) {
            for area in kernel().platform.regions().percpu_areas() {
                // SAFETY: these bytes of every area have just been given to us.
                unsafe { ram::fill(area + offset, 0, 8) };
            }
            // SAFETY: the super block just made.
            unsafe { semaphore::read_count.set(writers::first.at(made), offset) };
        }
        made
    })
}

/// The table of functions that stand behind them; 0 without memory.
fn operations() -> u64 {
    static TABLE: spin::Once<u64> = spin::Once::new();
    *TABLE.call_once(|| {
        let made = slab::allocate(file_operations::SIZE.get(), 8, slab::ZERO, 0);
        let address = |name| symbols::address(name).unwrap_or(0);
        if made != 0 {
            // SAFETY: a zeroed block of the struct's size.
            unsafe {
                file_operations::read_iter.set(made, address("shmem_file_read_iter"));
                file_operations::write_iter.set(made, address("shmem_file_write_iter"));
                more::fsync.set(made, address("noop_fsync"));
                more::fallocate.set(made, address("shmem_fallocate"));
            }
        }
        made
    })
}

/// A `struct file` over bytes, held once.
fn make(of: Content, flags: u32) -> Result<u64, Errno> {
    let (block, table) = (super_block(), operations());
    let node = make_inode(REGULAR | 0o600, 0);
    let name = of.path().rsplit('/').next().unwrap_or_default();
    let entry = make_dentry(name.as_bytes(), node, 0);
    let made = slab::allocate(file::SIZE.get(), 64, slab::ZERO, 0);
    if [block, table, node, entry, made].contains(&0) {
        for part in [node, entry, made] {
            slab::release(part, 0);
        }
        return Err(Errno::ENOMEM);
    }
    let access = match flags & 3 {
        READ_ONLY => MODE_READ,
        WRITE_ONLY => MODE_WRITE,
        _ => MODE_READ | MODE_WRITE,
    };
    // SAFETY: zeroed blocks of the structs' sizes.
    unsafe {
        inode::i_size.set(node, of.size() as u64);
        inode_c::i_sb.set(node, block);
        inode_c::i_blkbits.set(node, PAGE.trailing_zeros() as u8);
        dcache::hold(entry);
        file::f_inode.set(made, node);
        file::f_op.set(made, table);
        file::f_flags.set(made, flags);
        let can = MODE_SEEK | MODE_PREAD | MODE_PWRITE | MODE_CAN_READ | MODE_CAN_WRITE | MODE_OPENED;
        file::f_mode.set(made, access | can);
        file::f_count.set(made, 1u64);
        file::f_cred.set(made, identity::credentials_of_all());
        file::f_mapping.set(made, inode::i_mapping.get::<u64>(node));
        file::dentry.set(made, entry);
    }
    of.watch(resized);
    FILES.lock().get_or_insert_default().insert(made, of);
    Ok(made)
}

/// The last reference of a file is gone; whether it is one of these.
pub(super) fn close(at: u64) -> bool {
    if FILES.lock().as_mut().and_then(|files| files.remove(&at)).is_none() {
        return false;
    }
    // SAFETY: a file of `make`.
    unsafe {
        slab::release(file::dentry.get(at), 0);
        slab::release(file::f_inode.get(at), 0);
    }
    slab::release(at, 0);
    true
}

/// `struct file *fget(unsigned int fd)`: a file that keeps its bytes; tasks have no others that outlive their numbers.
extern "C" fn fget(number: u32) -> u64 {
    let found = kernel().descriptors.with(number, |file| file.content().ok_or(Errno::EBADF));
    found.and_then(|(content, flags)| make(content, flags)).unwrap_or(0)
}

/// The bytes of a `struct kiocb`'s file, and where it is.
///
/// # Safety
/// `request` is one.
unsafe fn asked(request: u64) -> Result<(Content, u64), Errno> {
    // SAFETY: the caller vouches for the request.
    unsafe { Ok((content(kiocb::ki_filp.get(request)).ok_or(Errno::EBADF)?, kiocb::ki_pos.get(request))) }
}

/// `ssize_t shmem_file_read_iter(struct kiocb *, struct iov_iter *)`
extern "C" fn shmem_file_read_iter(request: u64, to: u64) -> i64 {
    // SAFETY: the caller's request and iterator.
    returned(unsafe { asked(request) }.map(|(content, position)| {
        let bytes = content.read(position as usize, iter::left(to) as usize);
        let count = iter::put(to, bytes.as_ptr() as u64, bytes.len() as u64);
        // SAFETY: as above.
        unsafe { kiocb::ki_pos.set(request, position + count) };
        count
    }))
}
/// `ssize_t shmem_file_write_iter(struct kiocb *, struct iov_iter *)`
extern "C" fn shmem_file_write_iter(request: u64, from: u64) -> i64 {
    // SAFETY: as above.
    returned(unsafe { asked(request) }.and_then(|(content, position)| {
        let left = iter::left(from);
        if !Content::has_room(position, left) {
            return Err(Errno::EFBIG);
        }
        let mut bytes = alloc::vec![0u8; left as usize];
        let count = iter::take(from, bytes.as_mut_ptr() as u64, bytes.len() as u64);
        content.write(position as usize, &bytes[..count as usize])?;
        // SAFETY: as above.
        unsafe { kiocb::ki_pos.set(request, position + count) };
        Ok(count)
    }))
}
/// `long shmem_fallocate(struct file *, int mode, loff_t offset, loff_t length)`: zeros where a hole is made.
extern "C" fn shmem_fallocate(at: u64, mode: u32, offset: u64, length: u64) -> i64 {
    /// `FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE`
    const HOLE: u32 = 3;
    returned(content(at).ok_or(Errno::EBADF).and_then(|content| {
        let size = content.size() as u64;
        let end = offset.checked_add(length).ok_or(Errno::EINVAL)?.min(size);
        match mode {
            HOLE if offset < end => {
                content.write(offset as usize, &alloc::vec![0; (end - offset) as usize]).map(|()| 0)
            }
            HOLE => Ok(0),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }))
}
/// `int noop_fsync(struct file *, loff_t, loff_t, int)`: nothing is kept back.
extern "C" fn noop_fsync() -> i32 {
    0
}

/// Reads or writes through a file's own function, from `position` on.
fn through(at: u64, over: u64, position: u64, writes: bool) -> Result<u64, Errno> {
    // SAFETY: the caller's file, iterator and position, and the file's own function.
    unsafe {
        let table: u64 = file::f_op.get(at);
        let field = if writes { &file_operations::write_iter } else { &file_operations::read_iter };
        let function: u64 = if table == 0 { 0 } else { field.get(table) };
        let mode: u32 = file::f_mode.get(at);
        if mode & if writes { MODE_WRITE } else { MODE_READ } == 0 {
            return Err(Errno::EBADF);
        }
        if function == 0 {
            return Err(Errno::EINVAL);
        }
        super::through(function, at, over, position)
    }
}
/// `ssize_t vfs_iter_read(struct file *, struct iov_iter *, loff_t *, rwf_t)`
extern "C" fn vfs_iter_read(at: u64, over: u64, position: u64) -> i64 {
    returned(through(at, over, position, false))
}
/// `ssize_t vfs_iter_write(struct file *, struct iov_iter *, loff_t *, rwf_t)`
extern "C" fn vfs_iter_write(at: u64, over: u64, position: u64) -> i64 {
    returned(through(at, over, position, true))
}
/// `int vfs_fsync(struct file *, int datasync)`
extern "C" fn vfs_fsync(at: u64, data_only: i32) -> i32 {
    // SAFETY: the caller's file and its own function.
    unsafe {
        let table: u64 = file::f_op.get(at);
        let function: u64 = if table == 0 { 0 } else { more::fsync.get(table) };
        if function == 0 {
            return Errno::EINVAL.to_return();
        }
        ram::call(function, [at, 0, i64::MAX as u64, data_only as u64]) as i32
    }
}

/// `char *file_path(struct file *, char *, int)`: at the end of the buffer.
extern "C" fn file_path(at: u64, buffer: u64, length: i32) -> u64 {
    let Some(content) = content(at) else { return Errno::ENOENT.to_pointer() };
    let path = content.path().as_bytes();
    let room = length.max(0) as u64;
    if path.len() as u64 + 1 > room {
        return Errno::ENAMETOOLONG.to_pointer();
    }
    let start = buffer + room - path.len() as u64 - 1;
    // SAFETY: the caller's buffer.
    unsafe {
        ram::bytes_mut(start, path.len() as u64).copy_from_slice(path);
        ram::put(buffer + room - 1, 0u8);
    }
    start
}
/// `int vfs_getattr(const struct path *, struct kstat *, u32 mask, unsigned int flags)`
extern "C" fn vfs_getattr(of: u64, to: u64) -> i32 {
    layout! { mod inode_more = "inode" { i_mode, i_nlink, i_ino } }
    /// `STATX_BASIC_STATS`
    const BASIC: u32 = 0x7ff;
    // SAFETY: the caller's path and struct.
    unsafe {
        let node: u64 = dentry_c::d_inode.get(path::dentry.get(of));
        let size: u64 = inode::i_size.get(node);
        ram::fill(to, 0, kstat::SIZE.get());
        kstat::result_mask.set(to, BASIC);
        kstat::mode.set(to, inode_more::i_mode.get::<u16>(node));
        kstat::nlink.set(to, inode_more::i_nlink.get::<u32>(node));
        kstat::ino.set(to, inode_more::i_ino.get::<u64>(node));
        kstat::size.set(to, size);
        kstat::blksize.set(to, PAGE as u32);
        kstat::blocks.set(to, size.div_ceil(512));
    }
    0
}
/// `int vfs_statfs(const struct path *, struct kstatfs *)`: of what programs have made.
extern "C" fn vfs_statfs(_of: u64, to: u64) -> i32 {
    // SAFETY: the caller's struct.
    unsafe {
        ram::fill(to, 0, kstatfs::SIZE.get());
        kstatfs::f_bsize.set(to, PAGE);
        kstatfs::f_namelen.set(to, 255u64);
    }
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c fget, c shmem_file_read_iter, c shmem_file_write_iter, c shmem_fallocate, k noop_fsync, c vfs_iter_read, c vfs_iter_write,
    c vfs_fsync, c file_path, c vfs_getattr, c vfs_statfs,
];
