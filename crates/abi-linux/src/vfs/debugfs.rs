//! debugfs: what modules show for those who look closely, under `/sys/kernel/debug`.

use alloc::string::String;

use bstr::ByteSlice;
use ferrmod_kernel::files;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};
use hashbrown::HashMap;

use super::{DIRECTORY, Node, REGULAR, Source, dentry, file, inode};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab, user};

layout! {
    mod debugfs_blob_wrapper = "debugfs_blob_wrapper" { data, size }
}

const KIND: &str = "debugfs";
const ROOT: &str = "/sys/kernel/debug";

/// The path of each `struct dentry` of ours.
static ENTRIES: Lock<Option<HashMap<u64, String>>> = Lock::new(None);

fn path_of(entry: u64) -> Option<String> {
    ENTRIES.lock().as_ref()?.get(&entry).cloned()
}

fn entry_at(path: &str) -> Option<u64> {
    ENTRIES.lock().as_ref()?.iter().find(|(_, other)| *other == path).map(|(&entry, _)| entry)
}

fn text(at: u64) -> String {
    // SAFETY: the module's C string.
    unsafe { ram::c_string_or_empty(at) }.to_str_lossy().into_owned()
}

/// The directory a new entry is to be in. An earlier error given as the parent goes through.
fn above(parent: u64) -> Result<String, Errno> {
    if let Some(errno) = Errno::from_pointer(parent) {
        return Err(errno);
    }
    if parent == 0 { Ok(ROOT.into()) } else { path_of(parent).ok_or(Errno::ENOENT) }
}

/// What a new entry is.
enum What {
    Directory,
    File(Source),
    Link(String),
}

fn add(name: u64, mode: u32, parent: u64, data: u64, what: What, caller: u64) -> Result<u64, Errno> {
    let name = text(name);
    let path = alloc::format!("{}/{name}", above(parent)?);
    let kind = if matches!(what, What::Directory) { DIRECTORY } else { REGULAR };
    let mode = kind | mode & 0o777;
    // The file system's own objects: no module is asked to free them.
    let made = super::make_inode(mode, data);
    let entry = super::make_dentry(name.as_bytes(), made, parent);
    let added = match what {
        _ if made == 0 || entry == 0 => Err(Errno::ENOMEM),
        What::Directory => kernel().files.add(&path, files::Node::Directory),
        What::Link(target) => kernel().files.add(&path, files::Node::Link(target)),
        What::File(source) => {
            if let Source::File(ops) = source {
                // SAFETY: our own inode.
                unsafe { inode::i_fop.set(made, ops) };
            }
            super::add(&path, Node { source, mode, data, inode: made, dentry: entry, pde: 0 })
        }
    };
    if let Err(errno) = added {
        if errno == Errno::EEXIST {
            let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let above = above.rsplit('/').next().unwrap_or("");
            let shown = if above == "debug" { "/" } else { above };
            kernel().printk(
                alloc::format!("\x013debugfs: Directory '{name}' with parent '{shown}' already present!\n").as_bytes(),
            );
        }
        slab::release(entry, 0);
        slab::release(made, 0);
        return Err(errno);
    }
    ENTRIES.lock().get_or_insert_default().insert(entry, path.clone());
    let shown = path.strip_prefix(ROOT).unwrap_or(&path).trim_start_matches('/');
    // The dentry is new.
    let _ = kernel().registrations.add(KIND, entry, shown, kernel().owner_of(caller));
    Ok(entry)
}

fn returned(result: Result<u64, Errno>) -> u64 {
    result.unwrap_or_else(Errno::to_pointer)
}

fn remove(entry: u64) {
    let Some(path) = path_of(entry) else { return };
    let below: alloc::vec::Vec<u64> = ENTRIES
        .lock()
        .as_ref()
        .map(|entries| {
            let is_below = |other: &str| {
                other.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            entries.iter().filter(|(_, other)| is_below(other)).map(|(&entry, _)| entry).collect()
        })
        .unwrap_or_default();
    super::remove(&path);
    for entry in below {
        if let Some(entries) = ENTRIES.lock().as_mut() {
            entries.remove(&entry);
        }
        kernel().registrations.remove(KIND, entry);
        // SAFETY: our own dentry with our own inode.
        slab::release(unsafe { dentry::d_inode.get(entry) }, 0);
        slab::release(entry, 0);
    }
}

extern "C" fn debugfs_create_dir(name: u64, parent: u64) -> u64 {
    returned(add(name, 0o755, parent, 0, What::Directory, ram::caller()))
}
extern "C" fn debugfs_create_file(name: u64, mode: u32, parent: u64, data: u64, ops: u64) -> u64 {
    returned(add(name, mode, parent, data, What::File(Source::File(ops)), ram::caller()))
}
extern "C" fn debugfs_create_file_size(name: u64, mode: u32, parent: u64, data: u64, ops: u64, size: u64) {
    if let Ok(entry) = add(name, mode, parent, data, What::File(Source::File(ops)), ram::caller()) {
        // SAFETY: the entry just made.
        unsafe { inode::i_size.set(dentry::d_inode.get(entry), size) };
    }
}
extern "C" fn debugfs_create_symlink(name: u64, parent: u64, target: u64) -> u64 {
    returned(add(name, 0o777, parent, 0, What::Link(text(target)), ram::caller()))
}
extern "C" fn debugfs_remove(entry: u64) {
    if entry != 0 && Errno::from_pointer(entry).is_none() {
        remove(entry);
    }
}
extern "C" fn debugfs_lookup(name: u64, parent: u64) -> u64 {
    above(parent).ok().and_then(|above| entry_at(&alloc::format!("{above}/{}", text(name)))).unwrap_or(0)
}
extern "C" fn debugfs_lookup_and_remove(name: u64, parent: u64) {
    debugfs_remove(debugfs_lookup(name, parent));
}
extern "C" fn debugfs_initialized() -> bool {
    true
}
/// The table given stands behind the file as it is, so it is also the real one.
extern "C" fn debugfs_real_fops(at: u64) -> u64 {
    // SAFETY: the file of an opening.
    unsafe { file::f_op.get(at) }
}
/// A file's functions cannot go away while a call is in them: removal waits for nothing on one CPU.
extern "C" fn debugfs_file_get() -> i32 {
    0
}
extern "C" fn debugfs_file_put() {}

extern "C" fn debugfs_rename(_old_parent: u64, entry: u64, parent: u64, name: u64) -> u64 {
    let moved = above(parent).and_then(|above| {
        let old = path_of(entry).ok_or(Errno::ENOENT)?;
        let new = alloc::format!("{above}/{}", text(name));
        super::rename(&old, &new)?;
        for path in ENTRIES.lock().get_or_insert_default().values_mut() {
            if let Some(rest) = path.strip_prefix(old.as_str())
                && (rest.is_empty() || rest.starts_with('/'))
            {
                *path = alloc::format!("{new}{rest}");
            }
        }
        Ok(entry)
    });
    moved.unwrap_or(0)
}

/// How a number in memory is shown: its size in bytes, and whether in hexadecimal with leading zeros.
#[derive(Clone, Copy)]
enum Number {
    Decimal(u64),
    Hexadecimal(u64),
    /// A 32-bit signed number.
    Signed,
    /// `Y` or `N`.
    Truth,
}

fn number_text(at: u64, kind: Number) -> String {
    // SAFETY: the variable of a module.
    unsafe {
        let read = |size| match size {
            1 => u64::from(ram::get::<u8>(at)),
            2 => u64::from(ram::get::<u16>(at)),
            4 => u64::from(ram::get::<u32>(at)),
            _ => ram::get::<u64>(at),
        };
        match kind {
            Number::Decimal(size) => alloc::format!("{}\n", read(size)),
            Number::Hexadecimal(size) => alloc::format!("0x{:0width$x}\n", read(size), width = 2 * size as usize),
            Number::Signed => alloc::format!("{}\n", ram::get::<i32>(at)),
            Number::Truth => {
                if ram::get::<u8>(at) != 0 {
                    "Y\n".into()
                } else {
                    "N\n".into()
                }
            }
        }
    }
}

fn store(at: u64, kind: Number, text: &[u8]) -> Result<(), Errno> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?.trim_matches(['\n', '\0', ' ']);
    if let Number::Truth = kind {
        let truth = match text.as_bytes().first() {
            Some(b'y' | b'Y' | b'1' | b't' | b'T') => true,
            Some(b'n' | b'N' | b'0' | b'f' | b'F') => false,
            _ if text.eq_ignore_ascii_case("on") => true,
            _ if text.eq_ignore_ascii_case("off") => false,
            _ => return Err(Errno::EINVAL),
        };
        // SAFETY: the variable of a module.
        unsafe { ram::put(at, u8::from(truth)) };
        return Ok(());
    }
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(digits, 8),
        None => digits.parse(),
    };
    let value = value.map_err(|_| Errno::EINVAL)?;
    let value = if negative { value.wrapping_neg() } else { value };
    // SAFETY: as above.
    unsafe {
        match kind {
            Number::Decimal(1) | Number::Hexadecimal(1) => ram::put(at, value as u8),
            Number::Decimal(2) | Number::Hexadecimal(2) => ram::put(at, value as u16),
            Number::Decimal(4) | Number::Hexadecimal(4) | Number::Signed => ram::put(at, value as u32),
            _ => ram::put(at, value),
        }
    }
    Ok(())
}

/// The variable behind an open file of ours.
fn variable(at: u64) -> u64 {
    // SAFETY: the file of an opening.
    unsafe { inode::i_private.get(file::f_inode.get(at)) }
}

macro_rules! numbers {
    ($($create:ident $read:ident $write:ident $kind:expr),* $(,)?) => {
        $(
            extern "C" fn $create(name: u64, mode: u32, parent: u64, value: u64) {
                let source = Source::Own { open: "", read: stringify!($read), write: stringify!($write), release: "" };
                // Files of debugfs are a courtesy: nobody looks whether they came.
                let _ = add(name, mode, parent, value, What::File(source), ram::caller());
            }
            extern "C" fn $read(file: u64, to: u64, length: u64, position: u64) -> i64 {
                let text = number_text(variable(file), $kind);
                user::simple_read_from_buffer(to, length, position, text.as_ptr() as u64, text.len() as u64)
            }
            extern "C" fn $write(file: u64, from: u64, length: u64) -> i64 {
                match user::copy_in(from, length).and_then(|text| store(variable(file), $kind, &text)) {
                    Ok(()) => length as i64,
                    Err(errno) => errno.to_return().into(),
                }
            }
        )*
        /// The files of one number.
        pub(crate) static NUMBERS: &[Export] = exports![$(c $create, c $read, c $write),*];
    };
}

numbers! {
    debugfs_create_u8 debugfs_read_u8 debugfs_write_u8 Number::Decimal(1),
    debugfs_create_u16 debugfs_read_u16 debugfs_write_u16 Number::Decimal(2),
    debugfs_create_u32 debugfs_read_u32 debugfs_write_u32 Number::Decimal(4),
    debugfs_create_u64 debugfs_read_u64 debugfs_write_u64 Number::Decimal(8),
    debugfs_create_ulong debugfs_read_ulong debugfs_write_ulong Number::Decimal(8),
    debugfs_create_size_t debugfs_read_size_t debugfs_write_size_t Number::Decimal(8),
    debugfs_create_x8 debugfs_read_x8 debugfs_write_x8 Number::Hexadecimal(1),
    debugfs_create_x16 debugfs_read_x16 debugfs_write_x16 Number::Hexadecimal(2),
    debugfs_create_x32 debugfs_read_x32 debugfs_write_x32 Number::Hexadecimal(4),
    debugfs_create_x64 debugfs_read_x64 debugfs_write_x64 Number::Hexadecimal(8),
    debugfs_create_atomic_t debugfs_read_atomic_t debugfs_write_atomic_t Number::Signed,
    debugfs_create_bool debugfs_read_bool debugfs_write_bool Number::Truth,
}

extern "C" fn debugfs_read_file_bool(file: u64, to: u64, length: u64, position: u64) -> i64 {
    // SAFETY: the file of an opening; its private data is the variable when `simple_open` opened it.
    let at: u64 = unsafe { file::private_data.get(file) };
    let text = number_text(if at == 0 { variable(file) } else { at }, Number::Truth);
    user::simple_read_from_buffer(to, length, position, text.as_ptr() as u64, text.len() as u64)
}
extern "C" fn debugfs_write_file_bool(file: u64, from: u64, length: u64) -> i64 {
    // SAFETY: as above.
    let at: u64 = unsafe { file::private_data.get(file) };
    let at = if at == 0 { variable(file) } else { at };
    match user::copy_in(from, length).and_then(|text| store(at, Number::Truth, &text)) {
        Ok(()) => length as i64,
        Err(errno) => errno.to_return().into(),
    }
}

extern "C" fn debugfs_create_blob(name: u64, mode: u32, parent: u64, blob: u64) -> u64 {
    let source = Source::Own { open: "", read: "debugfs_read_blob", write: "", release: "" };
    returned(add(name, mode & 0o444, parent, blob, What::File(source), ram::caller()))
}
extern "C" fn debugfs_read_blob(file: u64, to: u64, length: u64, position: u64) -> i64 {
    let blob = variable(file);
    // SAFETY: the module's wrapper.
    let (data, size) = unsafe { (debugfs_blob_wrapper::data.get(blob), debugfs_blob_wrapper::size.get(blob)) };
    user::simple_read_from_buffer(to, length, position, data, size)
}
extern "C" fn debugfs_create_str(name: u64, mode: u32, parent: u64, value: u64) {
    let source = Source::Own { open: "", read: "debugfs_read_file_str", write: "", release: "" };
    // As for numbers.
    let _ = add(name, mode, parent, value, What::File(source), ram::caller());
}
extern "C" fn debugfs_read_file_str(file: u64, to: u64, length: u64, position: u64) -> i64 {
    // SAFETY: the module's pointer to a C string.
    let text = unsafe { ram::c_string_or_empty(ram::get(variable(file))) };
    let text = [text.as_slice(), b"\n"].concat();
    user::simple_read_from_buffer(to, length, position, text.as_ptr() as u64, text.len() as u64)
}

/// `void debugfs_create_devm_seqfile(struct device *, const char *name, struct dentry *parent, int (*read)(struct seq_file *, void *))`
extern "C" fn debugfs_create_devm_seqfile(device: u64, name: u64, parent: u64, show: u64) {
    let caller = ram::caller();
    let pair = crate::device::devres::allocate(device, 16, slab::ZERO, caller);
    if pair == 0 {
        return;
    }
    // SAFETY: 16 bytes that live as long as the device.
    unsafe {
        ram::put(pair, device);
        ram::put(pair + 8, show);
    }
    let source = Source::Own { open: "debugfs_devm_open", read: "seq_read", write: "", release: "single_release" };
    // As for numbers.
    let _ = add(name, 0o444, parent, pair, What::File(source), caller);
}
extern "C" fn debugfs_devm_open(at: u64, file: u64) -> i32 {
    // SAFETY: the pair that `debugfs_create_devm_seqfile` made.
    unsafe {
        let pair: u64 = inode::i_private.get(at);
        super::seq::single_open(file, ram::get(pair + 8), ram::get(pair))
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c debugfs_create_dir, c debugfs_create_file, c debugfs_create_file_unsafe = debugfs_create_file,
    c debugfs_create_file_size, c debugfs_create_symlink,
    c debugfs_remove, c debugfs_remove_recursive = debugfs_remove, c debugfs_lookup, c debugfs_lookup_and_remove,
    k debugfs_initialized, c debugfs_real_fops, k debugfs_file_get, k debugfs_file_put, c debugfs_rename,
    c debugfs_create_blob, c debugfs_read_blob, c debugfs_create_str, c debugfs_read_file_str, c debugfs_create_devm_seqfile,
    c debugfs_devm_open, c debugfs_read_file_bool, c debugfs_write_file_bool,
];
