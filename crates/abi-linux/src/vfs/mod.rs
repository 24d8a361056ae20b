//! Files of modules: from a path of the machine's file tree to the C functions that serve it.
//!
//! A [`Node`] says which table of functions stands behind a path. Opening it makes a `struct inode` and a `struct file`, calls
//! the table's `open`, and [`Opened`] goes on from there as the kernel does for a program: `read`, `write`, `ioctl`,
//! `release`, with user memory for buffers.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ferrmod_kernel::files::{self, FileOperations, IoctlArgument, OpenFile};
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, Kernel, kernel};
use hashbrown::HashMap;

use crate::device::layout::mutex;
use crate::field::{Field, layout};
use crate::user::UserBuffer;
use crate::{identity, iter, locks, module, ram, slab, symbols};

pub(crate) mod attr;
pub(crate) mod cache;
pub(crate) mod chrdev;
pub(crate) mod dcache;
pub(crate) mod debugfs;
pub(crate) mod hash;
pub(crate) mod inodes;
pub(crate) mod memory;
pub(crate) mod mount;
pub(crate) mod open;
pub(crate) mod poll;
pub(crate) mod proc;
pub(crate) mod pseudo;
pub(crate) mod seq;
pub(crate) mod simple;
pub(crate) mod superblock;

layout! {
    pub(crate) mod inode = "inode" { i_mode, i_rdev, i_size, i_fop, i_private, i_cdev, i_ino, i_count, i_rwsem, i_mapping, i_data, i_nlink }
    pub(crate) mod file = "file" {
        f_inode, f_op, f_flags, f_mode, f_pos, private_data, f_count, f_mapping, f_pos_lock, f_cred, dentry = "f_path.dentry",
    }
    pub(crate) mod dentry = "dentry" { d_inode, d_parent, name = "d_name.name", len = "d_name.len" }
    pub(crate) mod file_operations = "file_operations" {
        owner, llseek, read, write, read_iter, write_iter, poll, unlocked_ioctl, open, flush, release,
    }
    pub(crate) mod proc_ops = "proc_ops" {
        proc_open, proc_read, proc_read_iter, proc_write, proc_lseek, proc_release, proc_poll, proc_ioctl,
    }
    mod rw_semaphore = "rw_semaphore" { wait_list }
    pub(crate) mod kiocb = "kiocb" { ki_filp, ki_pos }
    pub(crate) mod address_space = "address_space" { host }
}

/// `S_IFREG`, `S_IFCHR`, `S_IFDIR`
pub(crate) const REGULAR: u32 = 0o100_000;
pub(crate) const CHARACTER: u32 = 0o020_000;
pub(crate) const DIRECTORY: u32 = 0o040_000;

/// `FMODE_READ`, `FMODE_WRITE`, `FMODE_LSEEK`, `FMODE_PREAD`, `FMODE_PWRITE`, `FMODE_CAN_READ`, `FMODE_CAN_WRITE`,
/// `FMODE_OPENED`
pub(crate) const MODE_READ: u32 = 1;
pub(crate) const MODE_WRITE: u32 = 2;
pub(crate) const MODE_SEEK: u32 = 4;
pub(crate) const MODE_PREAD: u32 = 8;
pub(crate) const MODE_PWRITE: u32 = 0x10;
const MODE_CAN_READ: u32 = 0x2_0000;
const MODE_CAN_WRITE: u32 = 0x4_0000;
const MODE_OPENED: u32 = 0x8_0000;

/// How a file is opened: the low bits of `open(2)`'s flags.
pub(crate) const READ_ONLY: u32 = 0;
pub(crate) const WRITE_ONLY: u32 = 1;
/// `O_LARGEFILE`, which `open(2)` adds on 64-bit systems.
const LARGE_FILE: u32 = 0o100_000;

/// Which functions stand behind a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A `struct file_operations`.
    File(u64),
    /// A `struct proc_ops`, or one of the kernel's own kinds of `/proc` file, of the entry `pde`.
    Proc { ops: u64, kind: proc::Kind },
    /// A device number.
    Device(u32),
    /// Plain functions of the kernel by their names in the tables: read and write.
    Own { open: &'static str, read: &'static str, write: &'static str, release: &'static str },
}

/// What a path of the machine's file tree leads to.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The functions.
    pub(crate) source: Source,
    /// Type and permission bits.
    pub(crate) mode: u32,
    /// What the inode carries for them (`i_private`).
    pub(crate) data: u64,
    /// The lasting inode, if it has one; else one is made for each opening.
    pub(crate) inode: u64,
    /// The lasting dentry, if it has one.
    pub(crate) dentry: u64,
    /// The `struct proc_dir_entry`, or 0.
    pub(crate) pde: u64,
}

static NODES: Lock<BTreeMap<String, Arc<Node>>> = Lock::new(BTreeMap::new());
/// The `proc_dir_entry` of each inode that is open.
static ENTRIES: Lock<Option<HashMap<u64, u64>>> = Lock::new(None);

/// Adds the files that the kernel itself has in a Linux world.
pub(crate) fn begin(kernel: &Kernel) {
    for directory in [
        "/proc/fs",
        "/proc/driver",
        "/proc/bus",
        "/proc/bus/input",
        "/proc/irq",
        "/proc/scsi",
        "/proc/tty/driver",
        "/proc/acpi",
        // Where the file system of this name is to be mounted.
        "/proc/sys/fs/binfmt_misc",
    ] {
        kernel.files.make_directories(directory);
    }
    type Content = fn() -> Vec<u8>;
    let plain: [(&str, Content); 12] = [
        ("/proc/mounts", mount::list),
        ("/proc/partitions", crate::block::partitions),
        ("/proc/filesystems", crate::registries::file_systems),
        ("/proc/devices", chrdev::list),
        ("/proc/misc", crate::misc::list),
        ("/proc/bus/input/devices", crate::input::show::devices),
        ("/proc/bus/input/handlers", crate::input::handlers::handlers),
        ("/proc/tty/drivers", crate::tty::drivers),
        ("/proc/tty/ldiscs", crate::tty::line_disciplines),
        ("/proc/net/protocols", crate::net::sockets::protocols),
        ("/proc/net/dev", crate::net::show::table),
        ("/proc/ferrmod-uevents", crate::uevent::list),
    ];
    for (path, read) in plain {
        // The tree is new: nothing is in the way.
        let _ = kernel.files.add(path, files::read_only(0o444, read));
    }
    let links = files::read_write(0o644, || Ok(crate::net::links::list()), crate::net::links::written);
    let _ = kernel.files.add("/proc/ferrmod-links", links);
    crate::device::buses::register_all();
    crate::device::deferred::begin();
    crate::device::platform::begin();
    crate::net::ethernet::begin();
    crate::hwmon::begin();
    crate::leds::begin();
    crate::backlight::begin();
    crate::powercap::begin();
    crate::input::begin();
    crate::net::choices::begin(kernel);
    crate::tracing::begin(kernel);
    crate::net::loggers::begin(kernel);
}

struct NodeFile(Arc<Node>);

/// All that an open file says.
fn whole(opened: &mut dyn OpenFile) -> Result<Vec<u8>, Errno> {
    /// More than this no file says at once.
    const MOST: usize = 16 << 20;
    const CHUNK: u64 = 64 << 10;
    let mut out = Vec::new();
    loop {
        let part = opened.read(CHUNK)?;
        if part.is_empty() {
            return Ok(out);
        }
        out.extend_from_slice(&part);
        if out.len() > MOST {
            return Err(Errno::EFBIG);
        }
    }
}

impl FileOperations for NodeFile {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        whole(&mut Opened::open(&self.0, READ_ONLY)?)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        Opened::open(&self.0, WRITE_ONLY)?.write(bytes)
    }

    fn kind(&self) -> u32 {
        self.0.mode & files::S_IFMT
    }

    fn open(&self, flags: u32) -> Option<Result<Box<dyn OpenFile>, Errno>> {
        Some(Opened::open(&self.0, flags).map(|opened| Box::new(opened) as Box<dyn OpenFile>))
    }
}

impl OpenFile for Opened {
    fn read(&mut self, length: u64) -> Result<Vec<u8>, Errno> {
        self.check_mode(MODE_READ)?;
        Self::read(self, length)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.check_mode(MODE_WRITE)?;
        Self::write(self, bytes)
    }

    fn seek(&mut self, offset: i64, whence: u32) -> Result<u64, Errno> {
        Self::seek(self, offset, whence)
    }

    fn poll(&mut self, events: u32, until: u64) -> Result<u32, Errno> {
        Ok(Self::poll(self, events, until))
    }

    fn ioctl(&mut self, command: u32, argument: IoctlArgument) -> Result<(u64, Vec<u8>), Errno> {
        match argument {
            IoctlArgument::Value(value) => Ok((Self::ioctl(self, command, value)?, Vec::new())),
            IoctlArgument::Memory(bytes) => {
                let memory = UserBuffer::with(&bytes)?;
                let value = Self::ioctl(self, command, memory.address())?;
                Ok((value, memory.bytes()))
            }
        }
    }
}

/// Makes `node` visible at `path`.
///
/// # Errors
/// `EEXIST`, `ENOENT` as [`files::Files::add`].
pub(crate) fn add(path: &str, node: Node) -> Result<(), Errno> {
    let node = Arc::new(node);
    let file = Arc::new(NodeFile(Arc::clone(&node)));
    kernel().files.add(path, files::Node::File((node.mode & 0o7777) as u16, file))?;
    NODES.lock().insert(path.into(), node);
    Ok(())
}

/// Takes a path and all below it away; whether it was there.
pub(crate) fn remove(path: &str) -> bool {
    NODES
        .lock()
        .retain(|other, _| other.strip_prefix(path).is_none_or(|rest| !rest.is_empty() && !rest.starts_with('/')));
    kernel().files.remove(path)
}

/// Moves a path and all below it.
///
/// # Errors
/// As [`files::Files::rename`].
pub(crate) fn rename(from: &str, to: &str) -> Result<(), Errno> {
    kernel().files.rename(from, to)?;
    let mut nodes = NODES.lock();
    let moved: Vec<String> = nodes
        .keys()
        .filter(|path| path.strip_prefix(from).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        .cloned()
        .collect();
    for old in moved {
        if let Some(node) = nodes.remove(&old) {
            nodes.insert([to, &old[from.len()..]].concat(), node);
        }
    }
    Ok(())
}

/// The node of a module's file.
pub(crate) fn node(path: &str) -> Option<Arc<Node>> {
    NODES.lock().get(path).cloned()
}

/// The `proc_dir_entry` an open inode belongs to.
pub(crate) fn entry_of(inode: u64) -> Option<u64> {
    ENTRIES.lock().as_ref()?.get(&inode).copied()
}

/// Makes a `struct inode`; 0 without memory.
pub(crate) fn make_inode(mode: u32, data: u64) -> u64 {
    static NUMBER: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(2);
    let made = slab::allocate(inode::SIZE.get(), 64, slab::ZERO, 0);
    if made != 0 {
        // SAFETY: a zeroed block of the struct's size.
        unsafe {
            inode::i_mode.set(made, mode as u16);
            inode::i_private.set(made, data);
            inode::i_ino.set(made, NUMBER.fetch_add(1, core::sync::atomic::Ordering::Relaxed));
            inode::i_count.set(made, 1u32);
            inode::i_nlink.set(made, 1u32);
            let mapping = inode::i_data.at(made);
            inode::i_mapping.set(made, mapping);
            address_space::host.set(mapping, made);
            locks::init_list(rw_semaphore::wait_list.at(inode::i_rwsem.at(made)));
        }
    }
    made
}

/// Makes a `struct dentry` for an inode; 0 without memory. The name lies behind it.
pub(crate) fn make_dentry(name: &[u8], of: u64, parent: u64) -> u64 {
    let size = dentry::SIZE.get();
    let made = slab::allocate(size + name.len() as u64 + 1, 64, slab::ZERO, 0);
    if made != 0 {
        // SAFETY: a zeroed block with room for the struct and the name.
        unsafe {
            ram::bytes_mut(made + size, name.len() as u64).copy_from_slice(name);
            dentry::name.set(made, made + size);
            dentry::len.set(made, name.len() as u32);
            dentry::d_inode.set(made, of);
            dentry::d_parent.set(made, if parent == 0 { made } else { parent });
        }
    }
    made
}

/// A file that is open: what `struct file` and its functions are.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The `struct file`.
    pub(crate) file: u64,
    inode: u64,
    dentry: u64,
    lasting: Arc<Node>,
    owner: u64,
    /// The `struct cdev` of a character device, and the module that it is of, which its functions need not be.
    device: u64,
    device_owner: u64,
    calls: Calls,
}

/// The functions of a file, by address; 0 where there is none.
#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    open: u64,
    read: u64,
    read_iter: u64,
    write: u64,
    write_iter: u64,
    release: u64,
    flush: u64,
    ioctl: u64,
    seek: u64,
    poll: u64,
}

fn named(name: &str) -> u64 {
    if name.is_empty() { 0 } else { symbols::address(name).unwrap_or(0) }
}

impl Calls {
    fn of_file(ops: u64) -> Self {
        // SAFETY: a table of a loaded module.
        let get = |field: &Field| unsafe { field.get(ops) };
        Self {
            open: get(&file_operations::open),
            read: get(&file_operations::read),
            read_iter: get(&file_operations::read_iter),
            write: get(&file_operations::write),
            write_iter: get(&file_operations::write_iter),
            release: get(&file_operations::release),
            flush: get(&file_operations::flush),
            ioctl: get(&file_operations::unlocked_ioctl),
            seek: get(&file_operations::llseek),
            poll: get(&file_operations::poll),
        }
    }

    fn of_proc(ops: u64) -> Self {
        // SAFETY: a table of a loaded module.
        let get = |field: &Field| unsafe { field.get(ops) };
        Self {
            open: get(&proc_ops::proc_open),
            read: get(&proc_ops::proc_read),
            read_iter: get(&proc_ops::proc_read_iter),
            write: get(&proc_ops::proc_write),
            write_iter: 0,
            release: get(&proc_ops::proc_release),
            flush: 0,
            ioctl: get(&proc_ops::proc_ioctl),
            seek: get(&proc_ops::proc_lseek),
            poll: get(&proc_ops::proc_poll),
        }
    }
}

/// What the functions of a table answered.
fn answered(value: u64) -> Result<u64, Errno> {
    Errno::from_return(value as i64).map_or(Ok(value), Err)
}

/// A count, or the negated error, as functions of files give them.
fn returned(result: Result<u64, Errno>) -> i64 {
    result.map_or_else(|errno| errno.to_return().into(), |value| value as i64)
}

/// Calls a file's `read_iter` or `write_iter` with an iterator; `position` is where it goes on.
///
/// # Errors
/// `ENOMEM`, and what the function answers.
///
/// # Safety
/// The function belongs to the file, and `position` is the address of a `loff_t`.
unsafe fn through(function: u64, file: u64, over: u64, position: u64) -> Result<u64, Errno> {
    let request = slab::allocate(kiocb::SIZE.get(), 8, slab::ZERO, 0);
    if request == 0 {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: the caller vouches for the function and the position; the rest is a zeroed block of the struct's size.
    let result = unsafe {
        kiocb::ki_filp.set(request, file);
        kiocb::ki_pos.set(request, ram::get::<u64>(position));
        let result = ram::call(function, [request, over]);
        ram::put(position, kiocb::ki_pos.get::<u64>(request));
        result
    };
    slab::release(request, 0);
    answered(result)
}

/// Takes a reference of a `struct module`; nobody's is always there.
fn hold(owner: u64) -> bool {
    owner == 0 || module::at(owner).is_some_and(|module| module.try_get())
}

fn let_go(owner: u64) {
    if let Some(owner) = module::at(owner) {
        owner.put();
    }
}

impl Opened {
    /// Opens a node as `open(2)` does.
    ///
    /// # Errors
    /// What the table's `open` answers; `ENXIO` when nobody serves a device number, or its module goes.
    pub(crate) fn open(node: &Arc<Node>, flags: u32) -> Result<Self, Errno> {
        let mut served = None;
        let (ops, calls) = match node.source {
            Source::File(ops) => (ops, Calls::of_file(ops)),
            Source::Device(number) => {
                let found = chrdev::serving(number).ok_or(Errno::ENXIO)?;
                served = Some(found);
                (found.ops, Calls::of_file(found.ops))
            }
            Source::Proc { ops, kind: proc::Kind::Ops } => (0, Calls::of_proc(ops)),
            Source::Proc { kind, .. } => {
                let names = kind.functions();
                let [open, read_iter, seek, release] = names.map(named);
                (0, Calls { open, read_iter, seek, release, write: proc::writer(node.pde), ..Calls::default() })
            }
            Source::Own { open, read, write, release } => {
                let [open, read, write, release] = [open, read, write, release].map(named);
                (0, Calls { open, read, write, release, ..Calls::default() })
            }
        };
        // SAFETY: the table of a loaded module.
        let owner: u64 = if ops == 0 { 0 } else { unsafe { file_operations::owner.get(ops) } };
        let device_owner = served.map_or(0, |served| served.owner);
        if !hold(device_owner) {
            return Err(Errno::ENXIO);
        }
        if !hold(owner) {
            let_go(device_owner);
            return Err(Errno::ENXIO);
        }
        let (inode, dentry) = (node.inode, node.dentry);
        let device = served.map_or(0, |served| served.cdev);
        chrdev::hold(device);
        let mut opened = Self { file: 0, inode, dentry, lasting: Arc::clone(node), owner, device, device_owner, calls };
        opened.make(node, flags, ops)?;
        if let Some(served) = served {
            // SAFETY: our own inode and file.
            unsafe {
                inode::i_rdev.set(opened.inode, served.number);
                inode::i_cdev.set(opened.inode, served.cdev);
                if served.private != 0 {
                    file::private_data.set(opened.file, served.private);
                }
            }
        }
        let mut result = 0;
        if opened.calls.open != 0 {
            // SAFETY: the table's `open` takes the inode and the file.
            result = unsafe { ram::call(opened.calls.open, [opened.inode, opened.file]) } as i32;
        }
        // An open function may have put another table in place; it took a reference of its owner, and gave ours back.
        // SAFETY: our own file, and the table in it.
        let now: u64 = unsafe { file::f_op.get(opened.file) };
        if now != ops && now != 0 {
            opened.calls = Calls::of_file(now);
            // SAFETY: as above.
            opened.owner = unsafe { file_operations::owner.get(now) };
        }
        if let Some(errno) = Errno::from_return(result.into()) {
            // There is nothing to release.
            opened.calls = Calls::default();
            return Err(errno);
        }
        Ok(opened)
    }

    fn make(&mut self, node: &Node, flags: u32, ops: u64) -> Result<(), Errno> {
        if self.inode == 0 {
            self.inode = make_inode(node.mode, node.data);
        }
        if self.dentry == 0 {
            self.dentry = make_dentry(b"file", self.inode, 0);
        }
        self.file = slab::allocate(file::SIZE.get(), 64, slab::ZERO, 0);
        if self.inode == 0 || self.dentry == 0 || self.file == 0 {
            return Err(Errno::ENOMEM);
        }
        if node.pde != 0 {
            ENTRIES.lock().get_or_insert_default().insert(self.inode, node.pde);
        }
        let access = match flags & 3 {
            READ_ONLY => MODE_READ,
            WRITE_ONLY => MODE_WRITE,
            _ => MODE_READ | MODE_WRITE,
        };
        let mut mode = access | MODE_SEEK | MODE_PREAD | MODE_PWRITE | MODE_OPENED;
        if self.calls.read != 0 || self.calls.read_iter != 0 {
            mode |= MODE_CAN_READ;
        }
        if self.calls.write != 0 || self.calls.write_iter != 0 {
            mode |= MODE_CAN_WRITE;
        }
        // SAFETY: a zeroed block of the struct's size.
        unsafe {
            file::f_inode.set(self.file, self.inode);
            file::f_op.set(self.file, ops);
            file::f_flags.set(self.file, flags | LARGE_FILE);
            file::f_mode.set(self.file, mode);
            file::f_count.set(self.file, 1u64);
            file::f_cred.set(self.file, identity::credentials_of_all());
            file::f_mapping.set(self.file, inode::i_mapping.get::<u64>(self.inode));
            file::dentry.set(self.file, self.dentry);
            locks::init_list(mutex::wait_list.at(file::f_pos_lock.at(self.file)));
        }
        Ok(())
    }

    /// Whether the file was opened for that, as `read(2)` and `write(2)` ask.
    fn check_mode(&self, access: u32) -> Result<(), Errno> {
        // SAFETY: our own file.
        let mode: u32 = unsafe { file::f_mode.get(self.file) };
        if mode & access == 0 { Err(Errno::EBADF) } else { Ok(()) }
    }

    /// Reads at most `length` bytes from where the file is.
    ///
    /// # Errors
    /// What the module answers; `EINVAL` when it cannot be read.
    pub(crate) fn read(&self, length: u64) -> Result<Vec<u8>, Errno> {
        let buffer = UserBuffer::zeroed(length)?;
        let count = self.transfer(self.calls.read, self.calls.read_iter, buffer.address(), length, true)?;
        let mut bytes = buffer.bytes();
        bytes.truncate(count as usize);
        Ok(bytes)
    }

    /// Writes where the file is; the number of bytes taken.
    ///
    /// # Errors
    /// What the module answers; `EINVAL` when it cannot be written.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let buffer = UserBuffer::going_on(bytes)?;
        let length = bytes.len() as u64;
        let count = self.transfer(self.calls.write, self.calls.write_iter, buffer.address(), length, false)?;
        Ok(count.min(length) as usize)
    }

    /// The module's `read` or `write`, or their `_iter` forms, on `length` bytes of user memory at `at`.
    ///
    /// # Errors
    /// As [`Opened::read`].
    fn transfer(&self, plain: u64, with_iter: u64, at: u64, length: u64, to_user: bool) -> Result<u64, Errno> {
        let position = file::f_pos.at(self.file);
        if plain != 0 {
            // SAFETY: `read` and `write` take the file, a user buffer, its length and the position.
            return answered(unsafe { ram::call(plain, [self.file, at, length, position]) });
        }
        if with_iter == 0 {
            return Err(Errno::EINVAL);
        }
        let over = slab::allocate(iter::size(), 8, slab::ZERO, 0);
        if over == 0 {
            return Err(Errno::ENOMEM);
        }
        // SAFETY: the iterator has its size; the function is of the file, whose position it is.
        let result = unsafe {
            iter::begin_user(over, at, length, to_user);
            through(with_iter, self.file, over, position)
        };
        slab::release(over, 0);
        result
    }

    /// `ioctl(2)`.
    ///
    /// # Errors
    /// What the module answers; `ENOTTY` when it has none.
    pub(crate) fn ioctl(&mut self, command: u32, argument: u64) -> Result<u64, Errno> {
        if self.calls.ioctl == 0 {
            return Err(Errno::ENOTTY);
        }
        // SAFETY: `unlocked_ioctl` takes the file, the command and its argument.
        answered(unsafe { ram::call(self.calls.ioctl, [self.file, command.into(), argument]) })
    }

    /// Waits until the file is ready for one of these events (`POLLIN` and so on), until a time of the platform; for which it is.
    pub(crate) fn poll(&self, events: u32, until: u64) -> u32 {
        match self.calls.poll {
            0 => files::ALWAYS_READY & events,
            function => poll::wait(function, self.file, events, Some(until), &|| false),
        }
    }

    /// Waits until the file can be read, or the caller has enough, who wakes the task then.
    pub(crate) fn wait_for_input(&self, enough: &dyn Fn() -> bool) {
        /// `POLLIN`
        const INPUT: u32 = 1;
        if self.calls.poll != 0 {
            poll::wait(self.calls.poll, self.file, INPUT, None, enough);
        }
    }

    /// `lseek(2)`.
    ///
    /// # Errors
    /// What the module answers; `ESPIPE` when it has no such function.
    pub(crate) fn seek(&mut self, offset: i64, whence: u32) -> Result<u64, Errno> {
        if self.calls.seek == 0 {
            return Err(Errno::ESPIPE);
        }
        // SAFETY: `llseek` takes the file, the offset and where it counts from.
        answered(unsafe { ram::call(self.calls.seek, [self.file, offset as u64, whence.into()]) })
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.file != 0 {
            // SAFETY: the table's own functions, with the inode and file that `open` got.
            unsafe {
                if self.calls.flush != 0 {
                    ram::call(self.calls.flush, [self.file, 0]);
                }
                if self.calls.release != 0 {
                    ram::call(self.calls.release, [self.inode, self.file]);
                }
            }
        }
        chrdev::let_go(self.device);
        let_go(self.owner);
        let_go(self.device_owner);
        slab::release(self.file, 0);
        if self.lasting.dentry == 0 {
            slab::release(self.dentry, 0);
        }
        if self.lasting.inode == 0 {
            if let Some(entries) = ENTRIES.lock().as_mut() {
                entries.remove(&self.inode);
            }
            slab::release(self.inode, 0);
        }
    }
}
