//! Attributes of objects: files under `/sys` that call `show` and `store`.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::files::{FileOperations, Node};
use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::kobject::{self, kobj_type, kobject as c_kobject};
use crate::{printf, ram, slab};

layout! {
    pub(crate) mod attribute = "attribute" { name, mode }
    mod bin_attribute = "bin_attribute" { size, read, write }
    mod attribute_group = "attribute_group" { name, is_visible, is_bin_visible, attrs, bin_attrs }
    mod sysfs_ops = "sysfs_ops" { show, store }
}

const PAGE: u64 = 4096;
/// `SYSFS_GROUP_INVISIBLE`: the group says of itself that it is not there.
const INVISIBLE: u32 = 0o20_000;
/// The bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o664;

/// A page for the time of one call.
struct Page(u64);

impl Page {
    fn take() -> Result<Self, Errno> {
        match slab::allocate(PAGE, PAGE, slab::ZERO, 0) {
            0 => Err(Errno::ENOMEM),
            at => Ok(Self(at)),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        slab::release(self.0, 0);
    }
}

struct Text {
    object: u64,
    attribute: u64,
}

impl Text {
    /// The `show` and `store` of the object's type.
    fn functions(&self) -> Option<(u64, u64)> {
        // SAFETY: the file is there as long as the object is.
        unsafe {
            let ktype: u64 = c_kobject::ktype.get(self.object);
            let ops: u64 = if ktype == 0 { 0 } else { kobj_type::sysfs_ops.get(ktype) };
            (ops != 0).then(|| (sysfs_ops::show.get(ops), sysfs_ops::store.get(ops)))
        }
    }
}

impl FileOperations for Text {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        let (show, _) = self.functions().filter(|&(show, _)| show != 0).ok_or(Errno::EIO)?;
        let page = Page::take()?;
        // SAFETY: `show` takes the object, its attribute and a page.
        let count = unsafe { ram::call(show, [self.object, self.attribute, page.0]) } as i64;
        match Errno::from_return(count) {
            Some(errno) => Err(errno),
            // SAFETY: the page is ours.
            None => Ok(unsafe { ram::bytes(page.0, (count as u64).min(PAGE - 1)) }.to_vec()),
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let (_, store) = self.functions().filter(|&(_, store)| store != 0).ok_or(Errno::EIO)?;
        let page = Page::take()?;
        let count = bytes.len().min(PAGE as usize - 1);
        // SAFETY: the page is ours and ends with a NUL; `store` takes the object, its attribute, the page and the length.
        let taken = unsafe {
            ram::bytes_mut(page.0, count as u64).copy_from_slice(&bytes[..count]);
            ram::call(store, [self.object, self.attribute, page.0, count as u64]) as i64
        };
        Errno::from_return(taken).map_or(Ok(taken as usize), Err)
    }
}

struct Binary {
    object: u64,
    attribute: u64,
}

/// More than this no binary attribute says.
const BINARY_MAX: usize = 16 << 20;

impl FileOperations for Binary {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        // SAFETY: the module's attribute.
        let (read, size): (u64, u64) =
            unsafe { (bin_attribute::read.get(self.attribute), bin_attribute::size.get(self.attribute)) };
        if read == 0 {
            return Err(Errno::EIO);
        }
        let page = Page::take()?;
        let mut out = Vec::new();
        while out.len() < BINARY_MAX && (size == 0 || (out.len() as u64) < size) {
            let room = if size == 0 { PAGE } else { PAGE.min(size - out.len() as u64) };
            // SAFETY: `read` takes a file, the object, its attribute, a page, the offset and a length; the page is ours.
            let part = unsafe {
                let count = ram::call(read, [0, self.object, self.attribute, page.0, out.len() as u64, room]) as i64;
                match Errno::from_return(count) {
                    Some(errno) => return Err(errno),
                    None => ram::bytes(page.0, (count as u64).min(room)).to_vec(),
                }
            };
            if part.is_empty() {
                break;
            }
            out.extend_from_slice(&part);
        }
        Ok(out)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        // SAFETY: the module's attribute.
        let write: u64 = unsafe { bin_attribute::write.get(self.attribute) };
        if write == 0 {
            return Err(Errno::EIO);
        }
        let page = Page::take()?;
        let mut done = 0;
        for part in bytes.chunks(PAGE as usize) {
            // SAFETY: as for `read`.
            let taken = unsafe {
                ram::bytes_mut(page.0, part.len() as u64).copy_from_slice(part);
                ram::call(write, [0, self.object, self.attribute, page.0, done as u64, part.len() as u64]) as i64
            };
            match Errno::from_return(taken) {
                Some(errno) if done == 0 => return Err(errno),
                Some(_) => break,
                None => done += taken as usize,
            }
        }
        Ok(done)
    }
}

/// The directory of an object, or of one of its groups.
fn directory(object: u64, group: &str) -> Result<String, Errno> {
    let path = kobject::path(object).ok_or(Errno::ENOENT)?;
    Ok(if group.is_empty() { path } else { alloc::format!("{path}/{group}") })
}

/// The name of the attribute at `attribute` (the first member of every kind).
fn name_of(attribute: u64) -> String {
    // SAFETY: the module's attribute and its C string.
    unsafe { ram::c_string_or_empty(attribute::name.get(attribute)) }.to_str_lossy().into_owned()
}

fn add_node(directory: &str, name: &str, node: Node) -> Result<(), Errno> {
    let path = alloc::format!("{directory}/{name}");
    kernel().files.add(&path, node).inspect_err(|&errno| {
        if errno == Errno::EEXIST {
            kernel().printk(alloc::format!("\x014sysfs: cannot create duplicate filename '{path}'\n").as_bytes());
        }
    })
}

/// Adds one file for an attribute.
///
/// # Errors
/// `ENOENT` when the object has no directory, `EEXIST` when the name is taken.
pub(crate) fn add_file(object: u64, group: &str, attribute: u64, mode: Option<u32>) -> Result<(), Errno> {
    // SAFETY: the module's attribute.
    let mode = mode.unwrap_or_else(|| unsafe { attribute::mode.get::<u16>(attribute) }.into());
    let node = Node::File((mode & 0o777) as u16, Arc::new(Text { object, attribute }));
    add_node(&directory(object, group)?, &name_of(attribute), node)
}

/// Adds one file for a binary attribute.
///
/// # Errors
/// As [`add_file`].
pub(crate) fn add_binary(object: u64, group: &str, attribute: u64, mode: Option<u32>) -> Result<(), Errno> {
    // SAFETY: the module's attribute, whose first member is a `struct attribute`.
    let mode = mode.unwrap_or_else(|| unsafe { attribute::mode.get::<u16>(attribute) }.into());
    let node = Node::File((mode & 0o777) as u16, Arc::new(Binary { object, attribute }));
    add_node(&directory(object, group)?, &name_of(attribute), node)
}

fn remove_file(object: u64, group: &str, name: &str) -> bool {
    directory(object, group).is_ok_and(|directory| kernel().files.remove(&alloc::format!("{directory}/{name}")))
}

/// The entries of a null-terminated array of pointers; `array` may be null.
///
/// # Safety
/// Such an array is there.
pub(crate) unsafe fn pointers(array: u64) -> impl Iterator<Item = u64> {
    let mut at = array;
    core::iter::from_fn(move || {
        if at == 0 {
            return None;
        }
        // SAFETY: the caller vouches for the array.
        let entry: u64 = unsafe { ram::get(at) };
        at += 8;
        (entry != 0).then_some(entry)
    })
}

/// The name of a group; empty when its attributes lie in the object's own directory.
fn group_name(group: u64) -> String {
    // SAFETY: the module's group and its C string.
    unsafe { ram::c_string_or_empty(attribute_group::name.get(group)) }.to_str_lossy().into_owned()
}

/// The attributes of a group that are visible: which kind, where, with which mode.
fn members(object: u64, group: u64) -> Vec<(bool, u64, u32)> {
    let mut found = Vec::new();
    // SAFETY: the module's group, its arrays and its functions.
    unsafe {
        let kinds = [
            (false, &attribute_group::attrs, &attribute_group::is_visible),
            (true, &attribute_group::bin_attrs, &attribute_group::is_bin_visible),
        ];
        for (binary, array, visible) in kinds {
            let visible: u64 = visible.get(group);
            for (number, attribute) in pointers(array.get(group)).enumerate() {
                let mut mode = u32::from(attribute::mode.get::<u16>(attribute));
                if visible != 0 {
                    mode = ram::call(visible, [object, attribute, number as u64]) as u32 & 0xffff;
                    if mode & 0o777 == 0 {
                        continue;
                    }
                    mode &= 0o777;
                }
                found.push((binary, attribute, mode & (PERMISSIONS | 0o111)));
            }
        }
    }
    found
}

/// Whether a group says that it is not there at all.
fn is_hidden(object: u64, group: u64) -> bool {
    // SAFETY: the module's group, its first attribute and its function.
    unsafe {
        let visible: u64 = attribute_group::is_visible.get(group);
        let first = pointers(attribute_group::attrs.get(group)).next();
        visible != 0 && first.is_some_and(|first| ram::call(visible, [object, first, 0]) as u32 & INVISIBLE != 0)
    }
}

/// Adds the files of a group.
///
/// # Errors
/// As [`add_file`]; nothing stays then.
pub(crate) fn add_group(object: u64, group: u64) -> Result<(), Errno> {
    let name = group_name(group);
    if is_hidden(object, group) {
        return Ok(());
    }
    if !name.is_empty() {
        kernel().files.add(&directory(object, &name)?, Node::Directory)?;
    }
    fill_group(object, group, &name, false)
}

fn fill_group(object: u64, group: u64, name: &str, update: bool) -> Result<(), Errno> {
    if update {
        empty_group(object, group, name);
    }
    for (binary, attribute, mode) in members(object, group) {
        let added = if binary {
            add_binary(object, name, attribute, Some(mode))
        } else {
            add_file(object, name, attribute, Some(mode))
        };
        if let Err(errno) = added {
            if update {
                empty_group(object, group, name);
            } else {
                remove_group(object, group);
            }
            return Err(errno);
        }
    }
    Ok(())
}

fn empty_group(object: u64, group: u64, name: &str) {
    // SAFETY: the module's group and its arrays.
    unsafe {
        for array in [&attribute_group::attrs, &attribute_group::bin_attrs] {
            for attribute in pointers(array.get(group)) {
                remove_file(object, name, &name_of(attribute));
            }
        }
    }
}

/// Removes the files of a group.
pub(crate) fn remove_group(object: u64, group: u64) {
    let name = group_name(group);
    if name.is_empty() {
        empty_group(object, group, "");
    } else if let Ok(directory) = directory(object, &name) {
        kernel().files.remove(&directory);
    }
}

/// Adds every group of a null-terminated array, which may be null.
///
/// # Errors
/// As [`add_group`]; nothing stays then.
pub(crate) fn add_groups(object: u64, groups: u64) -> Result<(), Errno> {
    // SAFETY: the module's array.
    let groups: Vec<u64> = unsafe { pointers(groups) }.collect();
    for (number, &group) in groups.iter().enumerate() {
        if let Err(errno) = add_group(object, group) {
            for &before in &groups[..number] {
                remove_group(object, before);
            }
            return Err(errno);
        }
    }
    Ok(())
}

/// Removes every group of a null-terminated array.
pub(crate) fn remove_groups(object: u64, groups: u64) {
    // SAFETY: the module's array.
    for group in unsafe { pointers(groups) } {
        remove_group(object, group);
    }
}

/// Moves a directory.
///
/// # Errors
/// As [`ferrmod_kernel::files::Files::rename`].
pub(crate) fn relocate(old: &str, new: &str) -> Result<(), Errno> {
    kernel().files.rename(old, new)
}

/// Adds a link to the directory of another object.
///
/// # Errors
/// `EFAULT` when the object has none, `EEXIST` when the name is taken.
pub(crate) fn add_link(directory: &str, target: &str, name: &str) -> Result<(), Errno> {
    add_node(directory, name, Node::Link(target.into()))
}

fn text(at: u64) -> String {
    // SAFETY: the module's C string.
    unsafe { ram::c_string_or_empty(at) }.to_str_lossy().into_owned()
}

extern "C" fn sysfs_create_file_ns(object: u64, attribute: u64, _namespace: u64) -> i32 {
    Errno::returned(add_file(object, "", attribute, None))
}
extern "C" fn sysfs_remove_file_ns(object: u64, attribute: u64, _namespace: u64) {
    remove_file(object, "", &name_of(attribute));
}
extern "C" fn sysfs_remove_file_self(object: u64, attribute: u64) -> bool {
    remove_file(object, "", &name_of(attribute))
}
extern "C" fn sysfs_create_files(object: u64, array: u64) -> i32 {
    // SAFETY: the module's array.
    let all: Vec<u64> = unsafe { pointers(array) }.collect();
    for (number, &attribute) in all.iter().enumerate() {
        if let Err(errno) = add_file(object, "", attribute, None) {
            for &before in &all[..number] {
                remove_file(object, "", &name_of(before));
            }
            return errno.to_return();
        }
    }
    0
}
extern "C" fn sysfs_remove_files(object: u64, array: u64) {
    // SAFETY: the module's array.
    for attribute in unsafe { pointers(array) } {
        remove_file(object, "", &name_of(attribute));
    }
}
extern "C" fn sysfs_chmod_file(object: u64, attribute: u64, mode: u32) -> i32 {
    if !remove_file(object, "", &name_of(attribute)) {
        return Errno::ENOENT.to_return();
    }
    Errno::returned(add_file(object, "", attribute, Some(mode)))
}
extern "C" fn sysfs_add_file_to_group(object: u64, attribute: u64, group: u64) -> i32 {
    Errno::returned(add_file(object, &text(group), attribute, None))
}
extern "C" fn sysfs_remove_file_from_group(object: u64, attribute: u64, group: u64) {
    remove_file(object, &text(group), &name_of(attribute));
}
extern "C" fn sysfs_create_bin_file(object: u64, attribute: u64) -> i32 {
    Errno::returned(add_binary(object, "", attribute, None))
}
extern "C" fn sysfs_remove_bin_file(object: u64, attribute: u64) {
    remove_file(object, "", &name_of(attribute));
}
extern "C" fn sysfs_create_group(object: u64, group: u64) -> i32 {
    Errno::returned(add_group(object, group))
}
extern "C" fn sysfs_create_groups(object: u64, groups: u64) -> i32 {
    Errno::returned(add_groups(object, groups))
}
extern "C" fn sysfs_update_group(object: u64, group: u64) -> i32 {
    Errno::returned(fill_group(object, group, &group_name(group), true))
}
extern "C" fn sysfs_update_groups(object: u64, groups: u64) -> i32 {
    // SAFETY: the module's array.
    for group in unsafe { pointers(groups) } {
        if let Err(errno) = fill_group(object, group, &group_name(group), true) {
            return errno.to_return();
        }
    }
    0
}
extern "C" fn sysfs_merge_group(object: u64, group: u64) -> i32 {
    Errno::returned(fill_group(object, group, &group_name(group), false))
}
extern "C" fn sysfs_unmerge_group(object: u64, group: u64) {
    empty_group(object, group, &group_name(group));
}
extern "C" fn sysfs_remove_group(object: u64, group: u64) {
    remove_group(object, group);
}
extern "C" fn sysfs_remove_groups(object: u64, groups: u64) {
    remove_groups(object, groups);
}
extern "C" fn sysfs_create_link(object: u64, target: u64, name: u64) -> i32 {
    let directory = if object == 0 { Some("/sys".into()) } else { kobject::path(object) };
    let Some((directory, target)) = directory.zip(kobject::path(target)) else { return Errno::EFAULT.to_return() };
    Errno::returned(add_link(&directory, &target, &text(name)))
}
extern "C" fn sysfs_remove_link(object: u64, name: u64) {
    let directory = if object == 0 { Some("/sys".into()) } else { kobject::path(object) };
    if let Some(directory) = directory {
        kernel().files.remove(&alloc::format!("{directory}/{}", text(name)));
    }
}
extern "C" fn sysfs_add_link_to_group(object: u64, group: u64, target: u64, name: u64) -> i32 {
    let Some(target) = kobject::path(target) else { return Errno::ENOENT.to_return() };
    Errno::returned(directory(object, &text(group)).and_then(|directory| add_link(&directory, &target, &text(name))))
}
extern "C" fn sysfs_remove_link_from_group(object: u64, group: u64, name: u64) {
    remove_file(object, &text(group), &text(name));
}
extern "C" fn sysfs_create_mount_point(object: u64, name: u64) -> i32 {
    Errno::returned(directory(object, &text(name)).and_then(|path| kernel().files.add(&path, Node::Directory)))
}
extern "C" fn sysfs_remove_mount_point(object: u64, name: u64) {
    remove_file(object, "", &text(name));
}
/// Nobody polls a file of the machine, so there is nobody to tell.
extern "C" fn sysfs_notify() {}
/// `struct kernfs_node *kernfs_find_and_get_ns(struct kernfs_node *directory, const char *, const void *)`: modules only give it back,
/// or have those told who poll the file.
extern "C" fn kernfs_find_and_get_ns(object: u64, name: u64, _namespace: u64) -> u64 {
    let caller = ram::caller();
    let path = (object != 0).then(|| directory(object, "")).and_then(Result::ok);
    let is_there = path.is_some_and(|path| kernel().files.node(&alloc::format!("{path}/{}", text(name))).is_some());
    if is_there { slab::allocate(8, 8, slab::ZERO, caller) } else { 0 }
}
extern "C" fn kernfs_put(node: u64) {
    slab::release(node, ram::caller());
}

fn emit(buffer: u64, at: u64, format: u64, list: u64) -> i32 {
    if !buffer.is_multiple_of(PAGE) || at >= PAGE {
        kernel().warn("sysfs_emit: invalid buffer or offset", ram::caller());
        return 0;
    }
    let (written, _) = printf::format_list((PAGE - at - 1) as usize, format, list);
    // SAFETY: the page of a `show` function.
    unsafe {
        ram::bytes_mut(buffer + at, written.len() as u64).copy_from_slice(&written);
        ram::put(buffer + at + written.len() as u64, 0u8);
    }
    written.len() as i32
}
extern "C" fn sysfs_emit(buffer: u64, format: u64, list: u64) -> i32 {
    emit(buffer, 0, format, list)
}
extern "C" fn sysfs_emit_at(buffer: u64, at: i32, format: u64, list: u64) -> i32 {
    emit(buffer, at as u64, format, list)
}

/// `struct kernfs_node *sysfs_break_active_protection(struct kobject *, const struct attribute *)`: a file that is in use may go at any
/// time, so there is nothing to be given up.
extern "C" fn sysfs_break_active_protection(object: u64) -> u64 {
    object
}
/// `void sysfs_unbreak_active_protection(struct kernfs_node *)`
extern "C" fn sysfs_unbreak_active_protection() {}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c sysfs_break_active_protection, k sysfs_unbreak_active_protection,
    c sysfs_create_file_ns, c sysfs_remove_file_ns, c sysfs_remove_file_self, c sysfs_create_files, c sysfs_remove_files,
    c sysfs_chmod_file, c sysfs_add_file_to_group, c sysfs_remove_file_from_group, c sysfs_create_bin_file,
    c sysfs_remove_bin_file, c sysfs_create_group, c sysfs_create_groups, c sysfs_update_group, c sysfs_update_groups,
    c sysfs_merge_group, c sysfs_unmerge_group, c sysfs_remove_group, c sysfs_remove_groups, c sysfs_create_link,
    c sysfs_create_link_nowarn = sysfs_create_link, c sysfs_remove_link, c sysfs_add_link_to_group,
    c sysfs_remove_link_from_group, c sysfs_create_mount_point, c sysfs_remove_mount_point, k sysfs_notify, k kernfs_notify = sysfs_notify,
    c kernfs_find_and_get_ns, c kernfs_put, v2 sysfs_emit,
    v3 sysfs_emit_at,
];
