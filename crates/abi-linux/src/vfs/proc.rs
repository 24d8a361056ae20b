//! `/proc`: entries of modules.

use alloc::string::String;

use bstr::ByteSlice;
use ferrmod_kernel::files;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};
use hashbrown::HashMap;

use super::seq::{self, seq_file};
use super::{DIRECTORY, Node, REGULAR, Source, inode};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{net, ram, slab, symbols, user};

layout! {
    pub(crate) mod proc_dir_entry = "proc_dir_entry" {
        proc_ops, seq_ops, single_show, write, data, state_size, nlink, size, parent, name, mode, namelen,
    }
}

const KIND: &str = "proc";

/// What a `/proc` file is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A module's own table.
    Ops,
    /// Records.
    Seq,
    /// Records of a network namespace.
    SeqNet,
    /// One record.
    Single,
    /// One record of a network namespace.
    SingleNet,
}

impl Kind {
    /// The names of its functions: open, `read_iter`, llseek, release.
    pub(crate) fn functions(self) -> [&'static str; 4] {
        match self {
            Self::Ops => [""; 4],
            Self::Seq => ["proc_seq_open", "seq_read_iter", "seq_lseek", "proc_seq_release"],
            Self::SeqNet => ["proc_seq_net_open", "seq_read_iter", "seq_lseek", "seq_release_private"],
            Self::Single => ["proc_single_open", "seq_read_iter", "seq_lseek", "single_release"],
            Self::SingleNet => ["proc_single_net_open", "seq_read_iter", "seq_lseek", "single_release"],
        }
    }
}

/// The path of each `struct proc_dir_entry`.
static ENTRIES: Lock<Option<HashMap<u64, String>>> = Lock::new(None);

fn path_of(entry: u64) -> Option<String> {
    ENTRIES.lock().as_ref()?.get(&entry).cloned()
}

/// Where `name` below `parent` is.
fn resolve(name: u64, parent: u64) -> Option<String> {
    // SAFETY: the module's C string.
    let name = unsafe { ram::c_string_or_empty(name) }.to_str_lossy().into_owned();
    let above = if parent == 0 { String::from("/proc") } else { path_of(parent)? };
    (!name.is_empty()).then(|| alloc::format!("{above}/{name}"))
}

/// Makes a `struct proc_dir_entry`; 0 without memory.
fn make(path: &str, mode: u32, parent: u64, data: u64, caller: u64) -> u64 {
    let name = path.rsplit('/').next().unwrap_or(path);
    let size = proc_dir_entry::SIZE.get();
    let entry = slab::allocate(size + name.len() as u64 + 1, 8, slab::ZERO, caller);
    if entry != 0 {
        // SAFETY: a zeroed block with room for the struct and the name.
        unsafe {
            ram::bytes_mut(entry + size, name.len() as u64).copy_from_slice(name.as_bytes());
            proc_dir_entry::name.set(entry, entry + size);
            proc_dir_entry::namelen.set(entry, name.len() as u8);
            proc_dir_entry::mode.set(entry, mode as u16);
            proc_dir_entry::parent.set(entry, parent);
            proc_dir_entry::data.set(entry, data);
            proc_dir_entry::nlink.set(entry, if mode & DIRECTORY != 0 { 2u32 } else { 1 });
        }
        ENTRIES.lock().get_or_insert_default().insert(entry, path.into());
    }
    entry
}

/// An entry of the kernel's own for a directory that exists; 0 without memory.
pub(crate) fn own_directory(path: &str) -> u64 {
    kernel().files.make_directories(path);
    make(path, DIRECTORY | 0o555, 0, 0, 0)
}

fn note(entry: u64, path: &str, caller: u64) {
    let name = path.strip_prefix("/proc/").unwrap_or(path);
    // The entry is new.
    let _ = kernel().registrations.add(KIND, entry, name, kernel().owner_of(caller));
}

fn drop_entry(entry: u64) {
    if let Some(entries) = ENTRIES.lock().as_mut() {
        entries.remove(&entry);
    }
    kernel().registrations.remove(KIND, entry);
    slab::release(entry, 0);
}

fn warn_taken(path: &str, caller: u64) {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let above = above.strip_prefix("/proc").unwrap_or(above).trim_start_matches('/');
    kernel().warn(
        &alloc::format!(
            "proc_dir_entry '{}/{name}' already registered",
            if above.is_empty() { "/proc" } else { above }
        ),
        caller,
    );
}

fn add_directory(name: u64, mode: u32, parent: u64, data: u64, caller: u64) -> u64 {
    let Some(path) = resolve(name, parent) else { return 0 };
    let mode = DIRECTORY | if mode & 0o777 == 0 { 0o555 } else { mode & 0o777 };
    let entry = make(&path, mode, parent, data, caller);
    if entry == 0 {
        return 0;
    }
    if let Err(errno) = kernel().files.add(&path, files::Node::Directory) {
        if errno == Errno::EEXIST {
            warn_taken(&path, caller);
        }
        drop_entry(entry);
        return 0;
    }
    note(entry, &path, caller);
    entry
}

struct File {
    name: u64,
    mode: u32,
    parent: u64,
    kind: Kind,
    /// `proc_ops`, the `seq_operations` or the `show` function.
    functions: u64,
    write: u64,
    state: u32,
    data: u64,
}

fn add_file(file: &File, caller: u64) -> u64 {
    let Some(path) = resolve(file.name, file.parent) else { return 0 };
    let mode = REGULAR | if file.mode & 0o777 == 0 { 0o444 } else { file.mode & 0o777 };
    let entry = make(&path, mode, file.parent, file.data, caller);
    if entry == 0 {
        return 0;
    }
    // SAFETY: our own entry.
    unsafe {
        match file.kind {
            Kind::Ops => proc_dir_entry::proc_ops.set(entry, file.functions),
            Kind::Seq | Kind::SeqNet => proc_dir_entry::seq_ops.set(entry, file.functions),
            Kind::Single | Kind::SingleNet => proc_dir_entry::single_show.set(entry, file.functions),
        }
        proc_dir_entry::write.set(entry, file.write);
        proc_dir_entry::state_size.set(entry, file.state);
    }
    let source = Source::Proc { ops: file.functions, kind: file.kind };
    let node = Node { source, mode, data: file.data, inode: 0, dentry: 0, pde: entry };
    if let Err(errno) = super::add(&path, node) {
        if errno == Errno::EEXIST {
            warn_taken(&path, caller);
        }
        drop_entry(entry);
        return 0;
    }
    note(entry, &path, caller);
    entry
}

/// Removes the path and every entry below it.
fn remove(path: &str) -> bool {
    let below: alloc::vec::Vec<u64> = ENTRIES
        .lock()
        .as_ref()
        .map(|entries| {
            let is_below =
                |other: &str| other.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            entries.iter().filter(|(_, other)| is_below(other)).map(|(&entry, _)| entry).collect()
        })
        .unwrap_or_default();
    for &entry in &below {
        drop_entry(entry);
    }
    super::remove(path) && !below.is_empty()
}

/// The function behind writes to an entry with a `write` of its own.
pub(crate) fn writer(entry: u64) -> u64 {
    // SAFETY: an entry that is in place.
    if entry != 0 && unsafe { proc_dir_entry::write.get::<u64>(entry) } != 0 {
        symbols::address("proc_simple_write").unwrap_or(0)
    } else {
        0
    }
}

/// The entry of an open inode, or the caller's oops.
fn entry(at: u64) -> u64 {
    super::entry_of(at).unwrap_or(0)
}

extern "C" fn proc_simple_write(file: u64, from: u64, length: u64) -> i64 {
    // SAFETY: the file of an opening, and its entry's function, which takes a copy that it may change.
    unsafe {
        let entry = entry(super::file::f_inode.get(file));
        let Ok(mut text) = user::copy_in(from, length) else { return Errno::EFAULT.to_return().into() };
        text.push(0);
        match ram::call(proc_dir_entry::write.get(entry), [file, text.as_mut_ptr() as u64, length]) as i32 {
            0 => length as i64,
            error => error.into(),
        }
    }
}

extern "C" fn proc_seq_open(at: u64, file: u64) -> i32 {
    let entry = entry(at);
    // SAFETY: an entry that is in place.
    let (ops, state): (u64, u32) =
        unsafe { (proc_dir_entry::seq_ops.get(entry), proc_dir_entry::state_size.get(entry)) };
    if state == 0 {
        return seq::seq_open(file, ops);
    }
    if seq::__seq_open_private(file, ops, state as i32) == 0 { Errno::ENOMEM.to_return() } else { 0 }
}
extern "C" fn proc_seq_release(at: u64, file: u64) -> i32 {
    // SAFETY: an entry that is in place, and a file that was opened with it.
    unsafe {
        if proc_dir_entry::state_size.get::<u32>(entry(at)) != 0 {
            slab::release(seq_file::private.get(super::file::private_data.get(file)), 0);
        }
    }
    seq::seq_release(at, file)
}
extern "C" fn proc_seq_net_open(at: u64, file: u64) -> i32 {
    let entry = entry(at);
    // SAFETY: an entry that is in place; the state of a network file begins with a pointer to the namespace.
    unsafe {
        let state = proc_dir_entry::state_size.get::<u32>(entry).max(16);
        let private = seq::__seq_open_private(file, proc_dir_entry::seq_ops.get(entry), state as i32);
        if private == 0 {
            return Errno::ENOMEM.to_return();
        }
        ram::put(private, net::init_net());
    }
    0
}
extern "C" fn proc_single_open(at: u64, file: u64) -> i32 {
    let entry = entry(at);
    // SAFETY: an entry that is in place.
    unsafe { seq::single_open(file, proc_dir_entry::single_show.get(entry), proc_dir_entry::data.get(entry)) }
}
extern "C" fn proc_single_net_open(at: u64, file: u64) -> i32 {
    // SAFETY: an entry that is in place.
    seq::single_open(file, unsafe { proc_dir_entry::single_show.get(entry(at)) }, net::init_net())
}

extern "C" fn proc_create_data(name: u64, mode: u32, parent: u64, functions: u64, data: u64) -> u64 {
    let caller = ram::caller();
    add_file(&File { name, mode, parent, kind: Kind::Ops, functions, write: 0, state: 0, data }, caller)
}
extern "C" fn proc_create(name: u64, mode: u32, parent: u64, functions: u64) -> u64 {
    proc_create_data(name, mode, parent, functions, 0)
}
extern "C" fn proc_create_seq_private(name: u64, mode: u32, parent: u64, functions: u64, state: u32, data: u64) -> u64 {
    let caller = ram::caller();
    add_file(&File { name, mode, parent, kind: Kind::Seq, functions, write: 0, state, data }, caller)
}
extern "C" fn proc_create_single_data(name: u64, mode: u32, parent: u64, functions: u64, data: u64) -> u64 {
    let caller = ram::caller();
    add_file(&File { name, mode, parent, kind: Kind::Single, functions, write: 0, state: 0, data }, caller)
}
extern "C" fn proc_create_net_data(name: u64, mode: u32, parent: u64, functions: u64, state: u32, data: u64) -> u64 {
    let caller = ram::caller();
    add_file(&File { name, mode, parent, kind: Kind::SeqNet, functions, write: 0, state, data }, caller)
}
extern "C" fn proc_create_net_data_write(
    name: u64,
    mode: u32,
    parent: u64,
    functions: u64,
    write: u64,
    state: u32,
    data: u64,
) -> u64 {
    let caller = ram::caller();
    add_file(&File { name, mode, parent, kind: Kind::SeqNet, functions, write, state, data }, caller)
}
extern "C" fn proc_create_net_single(name: u64, mode: u32, parent: u64, functions: u64, data: u64) -> u64 {
    let caller = ram::caller();
    add_file(&File { name, mode, parent, kind: Kind::SingleNet, functions, write: 0, state: 0, data }, caller)
}
extern "C" fn proc_create_net_single_write(
    name: u64,
    mode: u32,
    parent: u64,
    functions: u64,
    write: u64,
    data: u64,
) -> u64 {
    let caller = ram::caller();
    add_file(&File { name, mode, parent, kind: Kind::SingleNet, functions, write, state: 0, data }, caller)
}
extern "C" fn proc_mkdir(name: u64, parent: u64) -> u64 {
    add_directory(name, 0, parent, 0, ram::caller())
}
extern "C" fn proc_mkdir_mode(name: u64, mode: u32, parent: u64) -> u64 {
    add_directory(name, mode, parent, 0, ram::caller())
}
extern "C" fn proc_mkdir_data(name: u64, mode: u32, parent: u64, data: u64) -> u64 {
    add_directory(name, mode, parent, data, ram::caller())
}
extern "C" fn proc_symlink(name: u64, parent: u64, target: u64) -> u64 {
    let caller = ram::caller();
    let Some(path) = resolve(name, parent) else { return 0 };
    let entry = make(&path, 0o120_777, parent, 0, caller);
    // SAFETY: the module's C string.
    let target = unsafe { ram::c_string_or_empty(target) }.to_str_lossy().into_owned();
    if entry != 0 && kernel().files.add(&path, files::Node::Link(target)).is_err() {
        drop_entry(entry);
        return 0;
    }
    note(entry, &path, caller);
    entry
}
extern "C" fn proc_remove(entry: u64) {
    if let Some(path) = path_of(entry) {
        remove(&path);
    }
}
extern "C" fn remove_proc_entry(name: u64, parent: u64) {
    let caller = ram::caller();
    if let Some(path) = resolve(name, parent)
        && !remove(&path)
    {
        let name = path.rsplit('/').next().unwrap_or(&path);
        kernel().warn(&alloc::format!("name '{name}'"), caller);
    }
}
extern "C" fn remove_proc_subtree(name: u64, parent: u64) -> i32 {
    match resolve(name, parent) {
        Some(path) if remove(&path) => 0,
        _ => Errno::ENOENT.to_return(),
    }
}
extern "C" fn proc_set_size(entry: u64, size: u64) {
    // SAFETY: the caller's entry.
    unsafe { proc_dir_entry::size.set(entry, size) };
}
/// `void proc_set_user(struct proc_dir_entry *, kuid_t, kgid_t)`: everybody here is root.
extern "C" fn proc_set_user() {}
extern "C" fn pde_data(at: u64) -> u64 {
    // SAFETY: the inode of an opening.
    unsafe { inode::i_private.get(at) }
}
extern "C" fn proc_get_parent_data(at: u64) -> u64 {
    // SAFETY: an entry that is in place, and its parent.
    unsafe {
        match proc_dir_entry::parent.get::<u64>(entry(at)) {
            0 => 0,
            parent => proc_dir_entry::data.get(parent),
        }
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c proc_simple_write, c proc_seq_open, c proc_seq_release, c proc_seq_net_open, c proc_single_open, c proc_single_net_open,
    c proc_create, c proc_create_data, c proc_create_seq_private, c proc_create_single_data, c proc_create_net_data,
    s1 proc_create_net_data_write, c proc_create_net_single, c proc_create_net_single_write, c proc_mkdir, c proc_mkdir_mode,
    c proc_mkdir_data, c _proc_mkdir = proc_mkdir_data, c proc_create_mount_point = proc_mkdir, c proc_symlink, c proc_remove,
    c remove_proc_entry, c remove_proc_subtree, c proc_set_size, k proc_set_user, c pde_data, c proc_get_parent_data,
];
