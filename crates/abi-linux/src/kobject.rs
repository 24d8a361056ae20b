//! `struct kobject` and `struct kset`: reference counts, parents, and a directory under `/sys`.

use alloc::string::String;

use bstr::ByteSlice;
use ferrmod_kernel::files::Node;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::registrations::Kind;
use ferrmod_kernel::{Errno, kernel};
use hashbrown::HashMap;

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, printf, ram, slab, symbols, sysfs, uevent, waiting};

layout! {
    pub(crate) mod kobject = "kobject" { name, entry, parent, kset, ktype, sd, kref, state_initialized }
    pub(crate) mod kset = "kset" { list, list_lock, kobj, uevent_ops }
    pub(crate) mod kobj_type = "kobj_type" { release, sysfs_ops, default_groups }
    mod kobj_attribute = "kobj_attribute" { show, store }
    mod sysfs_ops = "sysfs_ops" { show, store }
}

const KIND: &str = "kobject";

/// The bits behind `state_initialized`, in the struct's order.
const INITIALIZED: u8 = 1;
const IN_SYSFS: u8 = 2;
pub(crate) const ADD_SENT: u8 = 4;
pub(crate) const REMOVE_SENT: u8 = 8;
pub(crate) const SUPPRESSED: u8 = 16;

/// The directory of each object that has one, and what it is registered as.
static PATHS: Lock<Option<HashMap<u64, (String, Kind)>>> = Lock::new(None);

/// The directory of an object under `/sys`; `None` when it has none.
pub(crate) fn path(object: u64) -> Option<String> {
    PATHS.lock().as_ref()?.get(&object).map(|(path, _)| path.clone())
}

/// The state bits.
pub(crate) fn state(object: u64) -> u8 {
    // SAFETY: the caller's object.
    unsafe { kobject::state_initialized.get(object) }
}

/// Sets and clears state bits.
pub(crate) fn change_state(object: u64, set: u8, clear: u8) {
    // SAFETY: the caller's object.
    unsafe { kobject::state_initialized.set(object, (state(object) | set) & !clear) };
}

/// The name of an object.
pub(crate) fn name(object: u64) -> String {
    // SAFETY: the caller's object, whose name is a C string or null.
    unsafe { ram::c_string_or_empty(kobject::name.get(object)) }.to_str_lossy().into_owned()
}

/// A `struct sysfs_ops` of functions named in the tables; 0 without memory.
pub(crate) fn operations(show: &str, store: &str) -> u64 {
    let made = slab::allocate(sysfs_ops::SIZE.get(), 8, slab::ZERO, 0);
    if made != 0 {
        // SAFETY: a zeroed block of the struct's size.
        unsafe {
            sysfs_ops::show.set(made, symbols::address(show).unwrap_or(0));
            sysfs_ops::store.set(made, symbols::address(store).unwrap_or(0));
        }
    }
    made
}

/// A type of the kernel's own: its release function's name in the tables, and the operations of its attributes.
pub(crate) fn make_type(release: &str, operations: u64) -> u64 {
    let made = own_type(release);
    if made != 0 {
        // SAFETY: the block just made.
        unsafe { kobj_type::sysfs_ops.set(made, operations) };
    }
    made
}

/// A type whose attributes are `kobj_attribute`s.
fn own_type(release: &str) -> u64 {
    let made = slab::allocate(kobj_type::SIZE.get(), 8, slab::ZERO, 0);
    if made != 0 {
        // SAFETY: a zeroed block of the struct's size.
        unsafe {
            kobj_type::release.set(made, symbols::address(release).unwrap_or(0));
            kobj_type::sysfs_ops.set(made, OPS.address());
        }
    }
    made
}

/// The type of objects that lie inside others: releasing them does nothing.
pub(crate) fn plain_type() -> u64 {
    static TYPE: spin::Once<u64> = spin::Once::new();
    *TYPE.call_once(|| own_type("kobject_release_nothing"))
}

/// The type of objects that are their own allocation.
pub(crate) fn freeing_type() -> u64 {
    static TYPE: spin::Once<u64> = spin::Once::new();
    *TYPE.call_once(|| own_type("kobject_release_free"))
}

fn kset_type() -> u64 {
    static TYPE: spin::Once<u64> = spin::Once::new();
    *TYPE.call_once(|| own_type("kset_release_free"))
}

extern "C" fn kobject_release_nothing() {}
extern "C" fn kobject_release_free(object: u64) {
    slab::release(object, 0);
}
extern "C" fn kset_release_free(object: u64) {
    slab::release(kset::kobj.container(object), 0);
}

/// Begins an object.
pub(crate) fn init(object: u64, ktype: u64) {
    // SAFETY: the caller's object.
    unsafe {
        kobject::kref.set(object, 1u32);
        locks::init_list(kobject::entry.at(object));
        kobject::ktype.set(object, ktype);
        kobject::state_initialized.set(object, INITIALIZED);
    }
}

/// Sets the parent an object will be added under.
pub(crate) fn set_parent(object: u64, parent: u64) {
    // SAFETY: the caller's object.
    unsafe { kobject::parent.set(object, parent) };
}

/// Takes a reference.
pub(crate) fn get(object: u64) -> u64 {
    if object != 0 {
        // SAFETY: the caller's object.
        unsafe { kobject::kref.set(object, kobject::kref.get::<u32>(object).wrapping_add(1)) };
    }
    object
}

/// Gives a reference back; the last one releases the object.
pub(crate) fn put(object: u64) {
    if object == 0 {
        return;
    }
    // SAFETY: the caller's object.
    let left = unsafe {
        let count: u32 = kobject::kref.get(object);
        if count == 0 {
            kernel().warn("refcount_t: underflow; use-after-free.", ram::caller());
            return;
        }
        kobject::kref.set(object, count - 1);
        count - 1
    };
    if left == 0 {
        release(object);
    }
}

fn release(object: u64) {
    let bits = state(object);
    if bits & ADD_SENT != 0 && bits & REMOVE_SENT == 0 {
        uevent::send(object, "remove", &[]);
    }
    let parent = if bits & IN_SYSFS != 0 { detach(object) } else { 0 };
    // SAFETY: nobody refers to the object any more; its type's release may free it.
    unsafe {
        let ktype: u64 = kobject::ktype.get(object);
        let name: u64 = kobject::name.get(object);
        if ktype != 0 {
            let release: u64 = kobj_type::release.get(ktype);
            if release != 0 {
                ram::call(release, [object]);
            }
        }
        free_name(name);
    }
    put(parent);
}

/// Frees a name unless it is a constant.
fn free_name(name: u64) {
    if kernel().heap.find(name).is_some_and(|found| found.start == name) {
        slab::release(name, 0);
    }
}

/// Gives an object a name; slashes become exclamation marks.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn set_name(object: u64, name: &[u8], caller: u64) -> Result<(), Errno> {
    let name: alloc::vec::Vec<u8> = name.iter().map(|&byte| if byte == b'/' { b'!' } else { byte }).collect();
    let copy = printf::duplicate(&name, 0, caller);
    if copy == 0 {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: the caller's object.
    unsafe {
        let old: u64 = kobject::name.get(object);
        kobject::name.set(object, copy);
        free_name(old);
    }
    Ok(())
}

/// Makes the object visible below its parent, or its set's object, or `/sys`.
///
/// # Errors
/// `EINVAL` without a name, `ENOENT` when the parent has no directory, `EEXIST` when the name is taken.
pub(crate) fn add(object: u64, caller: u64) -> Result<(), Errno> {
    add_as(KIND, object, caller)
}

/// [`add`], registered as something else.
///
/// # Errors
/// As [`add`].
pub(crate) fn add_as(kind: Kind, object: u64, caller: u64) -> Result<(), Errno> {
    let name = name(object);
    if name.is_empty() {
        kernel().warn("kobject: attempted to be registered with empty name!", caller);
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller's object and its set.
    let (parent, set): (u64, u64) = unsafe { (kobject::parent.get(object), kobject::kset.get(object)) };
    let parent = if parent == 0 && set != 0 { kset::kobj.at(set) } else { parent };
    let above = match parent {
        0 => Some(String::from("/sys")),
        parent => path(parent),
    };
    let made = above.ok_or(Errno::ENOENT).and_then(|above| {
        let path = alloc::format!("{above}/{name}");
        kernel().files.add(&path, Node::Directory)?;
        PATHS.lock().get_or_insert_default().insert(object, (path, kind));
        default_groups(object).inspect_err(|_| {
            forget(object);
        })
    });
    if let Err(errno) = made {
        if errno == Errno::EEXIST {
            kernel().printk(alloc::format!(
                "\x013kobject: kobject_add_internal failed for {name} with -EEXIST, don't try to register things with the same name in the same directory.\n"
            ).as_bytes());
        }
        // SAFETY: the caller's object.
        unsafe { kobject::parent.set(object, 0u64) };
        return Err(errno);
    }
    // SAFETY: the caller's object and its set.
    unsafe {
        kobject::parent.set(object, get(parent));
        // What modules only hand on: the directory, to look for a file in it.
        kobject::sd.set(object, object);
        if set != 0 {
            get(kset::kobj.at(set));
            waiting::link_last(kobject::entry.at(object), kset::list.at(set));
        }
    }
    change_state(object, IN_SYSFS, 0);
    // It was not visible, so it is not registered.
    let _ = kernel().registrations.add(kind, object, name, kernel().owner_of(caller));
    Ok(())
}

fn default_groups(object: u64) -> Result<(), Errno> {
    // SAFETY: the caller's object and its type.
    let groups: u64 = unsafe {
        match kobject::ktype.get::<u64>(object) {
            0 => 0,
            ktype => kobj_type::default_groups.get(ktype),
        }
    };
    sysfs::add_groups(object, groups)
}

fn forget(object: u64) {
    let found = PATHS.lock().as_mut().and_then(|paths| paths.remove(&object));
    if let Some((path, kind)) = found {
        kernel().files.remove(&path);
        kernel().registrations.remove(kind, object);
    }
}

/// Takes the object out of sight; the parent, whose reference is the caller's to give back.
fn detach(object: u64) -> u64 {
    forget(object);
    change_state(object, 0, IN_SYSFS);
    // SAFETY: the caller's object and its set.
    unsafe {
        let set: u64 = kobject::kset.get(object);
        if set != 0 {
            waiting::unlink(kobject::entry.at(object));
            kobject::kset.set(object, 0u64);
            put(kset::kobj.at(set));
        }
        let parent: u64 = kobject::parent.get(object);
        kobject::parent.set(object, 0u64);
        kobject::sd.set(object, 0u64);
        parent
    }
}

/// Takes the object out of sight.
pub(crate) fn delete(object: u64) {
    let bits = state(object);
    if bits & ADD_SENT != 0 && bits & REMOVE_SENT == 0 {
        uevent::send(object, "remove", &[]);
    }
    if bits & IN_SYSFS != 0 {
        put(detach(object));
    }
}

/// Renames or moves the directory of an object.
fn relocate(object: u64, above: &str, name: &str) -> Result<(), Errno> {
    // Attributes know their object and not their path, so that a directory moves by its nodes.
    let old = path(object).ok_or(Errno::EINVAL)?;
    let new = alloc::format!("{above}/{name}");
    sysfs::relocate(&old, &new)?;
    let mut paths = PATHS.lock();
    for (path, _) in paths.get_or_insert_default().values_mut() {
        if let Some(rest) = path.strip_prefix(old.as_str())
            && (rest.is_empty() || rest.starts_with('/'))
        {
            *path = alloc::format!("{new}{rest}");
        }
    }
    Ok(())
}

/// Gives a visible object a new name.
///
/// # Errors
/// `EEXIST`, `EINVAL`, `ENOMEM`.
pub(crate) fn rename(object: u64, name: &[u8], caller: u64) -> Result<(), Errno> {
    let old = path(object).ok_or(Errno::EINVAL)?;
    let above = old.rsplit_once('/').map_or("", |(above, _)| above);
    relocate(object, above, &name.to_str_lossy().replace('/', "!"))?;
    set_name(object, name, caller)
}

extern "C" fn kobject_init(object: u64, ktype: u64) {
    init(object, ktype);
}
extern "C" fn kobject_set_name_vargs(object: u64, format: u64, list: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the caller's object.
    if format == 0 && unsafe { kobject::name.get::<u64>(object) } != 0 {
        return 0;
    }
    Errno::returned(set_name(object, &printf::text_of(format, list), caller))
}
extern "C" fn kobject_add_list(object: u64, parent: u64, format: u64, list: u64) -> i32 {
    let caller = ram::caller();
    if object == 0 {
        return Errno::EINVAL.to_return();
    }
    set_parent(object, parent);
    Errno::returned(set_name(object, &printf::text_of(format, list), caller).and_then(|()| add(object, caller)))
}
extern "C" fn kobject_init_and_add_list(object: u64, ktype: u64, parent: u64, format: u64, list: u64) -> i32 {
    let caller = ram::caller();
    init(object, ktype);
    set_parent(object, parent);
    Errno::returned(set_name(object, &printf::text_of(format, list), caller).and_then(|()| add(object, caller)))
}
extern "C" fn kobject_create_and_add(name: u64, parent: u64) -> u64 {
    let caller = ram::caller();
    let object = slab::allocate(kobject::SIZE.get(), 8, slab::ZERO, caller);
    if object == 0 {
        return 0;
    }
    init(object, freeing_type());
    set_parent(object, parent);
    // SAFETY: the module's C string.
    let made = set_name(object, unsafe { ram::c_string(name) }, caller).and_then(|()| add(object, caller));
    if made.is_err() {
        put(object);
        return 0;
    }
    object
}
extern "C" fn kobject_del(object: u64) {
    if object != 0 {
        delete(object);
    }
}
extern "C" fn kobject_get(object: u64) -> u64 {
    get(object)
}
extern "C" fn kobject_get_unless_zero(object: u64) -> u64 {
    // SAFETY: the caller's object.
    if object == 0 || unsafe { kobject::kref.get::<u32>(object) } == 0 { 0 } else { get(object) }
}
extern "C" fn kobject_put(object: u64) {
    put(object);
}
extern "C" fn kobject_rename(object: u64, name: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's C string.
    Errno::returned(rename(object, unsafe { ram::c_string(name) }, caller))
}
extern "C" fn kobject_move(object: u64, parent: u64) -> i32 {
    let above = if parent == 0 { Some(String::from("/sys")) } else { path(parent) };
    let Some(above) = above else { return Errno::EINVAL.to_return() };
    let result = relocate(object, &above, &name(object));
    if result.is_ok() {
        // SAFETY: the caller's object.
        unsafe {
            let old: u64 = kobject::parent.get(object);
            kobject::parent.set(object, get(parent));
            put(old);
        }
    }
    Errno::returned(result)
}
extern "C" fn kobject_get_path(object: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    let Some(path) = path(object) else { return 0 };
    printf::duplicate(path.strip_prefix("/sys").unwrap_or(&path).as_bytes(), flags, caller)
}

/// Begins a set.
fn begin_set(set: u64) {
    // SAFETY: the caller's set; its object keeps name, type and parent.
    unsafe {
        let object = kset::kobj.at(set);
        kobject::kref.set(object, 1u32);
        locks::init_list(kobject::entry.at(object));
        kobject::state_initialized.set(object, INITIALIZED);
        locks::init_list(kset::list.at(set));
        ram::put(kset::list_lock.at(set), 0u32);
    }
}
extern "C" fn kset_init(set: u64) {
    begin_set(set);
}

/// Makes a set visible.
///
/// # Errors
/// As [`add`].
pub(crate) fn register_set(set: u64, caller: u64) -> Result<(), Errno> {
    begin_set(set);
    add(kset::kobj.at(set), caller)?;
    uevent::send(kset::kobj.at(set), "add", &[]);
    Ok(())
}
extern "C" fn kset_register(set: u64) -> i32 {
    let caller = ram::caller();
    if set == 0 { Errno::EINVAL.to_return() } else { Errno::returned(register_set(set, caller)) }
}

/// Makes a set with a name and shows it; 0 when that fails.
pub(crate) fn make_set(name: &[u8], uevent_ops: u64, parent: u64, caller: u64) -> u64 {
    let set = slab::allocate(kset::SIZE.get(), 8, slab::ZERO, caller);
    if set == 0 {
        return 0;
    }
    let object = kset::kobj.at(set);
    // SAFETY: a zeroed block of the struct's size.
    unsafe {
        kset::uevent_ops.set(set, uevent_ops);
        kobject::parent.set(object, parent);
        kobject::ktype.set(object, kset_type());
    }
    let made = set_name(object, name, caller).and_then(|()| register_set(set, caller));
    if made.is_err() {
        // SAFETY: our own object, which nobody has seen.
        unsafe { free_name(kobject::name.get(object)) };
        slab::release(set, caller);
        return 0;
    }
    set
}
extern "C" fn kset_create_and_add(name: u64, uevent_ops: u64, parent: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module's C string.
    make_set(unsafe { ram::c_string(name) }, uevent_ops, parent, caller)
}
extern "C" fn kset_unregister(set: u64) {
    if set != 0 {
        delete(kset::kobj.at(set));
        put(kset::kobj.at(set));
    }
}
extern "C" fn kset_find_obj(set: u64, wanted: u64) -> u64 {
    // SAFETY: the module's set and C string.
    unsafe {
        let wanted = ram::c_string(wanted);
        let found =
            waiting::each(kset::list.at(set)).find(|&at| name(kobject::entry.container(at)).as_bytes() == wanted);
        found.map_or(0, |at| get(kobject::entry.container(at)))
    }
}

/// Calls an attribute's own `show` or `store`.
extern "C" fn kobj_attr_show(object: u64, attribute: u64, buffer: u64) -> i64 {
    // SAFETY: a `kobj_attribute`, whose first member the attribute is, and its function.
    unsafe {
        match kobj_attribute::show.get::<u64>(attribute) {
            0 => Errno::EIO.to_return().into(),
            show => ram::call(show, [object, attribute, buffer]) as i64,
        }
    }
}
extern "C" fn kobj_attr_store(object: u64, attribute: u64, buffer: u64, count: u64) -> i64 {
    // SAFETY: as above.
    unsafe {
        match kobj_attribute::store.get::<u64>(attribute) {
            0 => Errno::EIO.to_return().into(),
            store => ram::call(store, [object, attribute, buffer, count]) as i64,
        }
    }
}

static OPS: Datum = Datum::new("kobj_sysfs_ops", 16, Begin::With(begin_ops));

fn begin_ops(at: u64) {
    // SAFETY: `data::place` gives 16 writable bytes, the struct's size.
    unsafe {
        sysfs_ops::show.set(at, symbols::address("kobj_attr_show").unwrap_or(0));
        sysfs_ops::store.set(at, symbols::address("kobj_attr_store").unwrap_or(0));
    }
}

/// Makes an object of the kernel's own for a directory of `/sys`; 0 without memory.
pub(crate) fn make_own(path: &str) -> u64 {
    kernel().files.make_directories(path);
    let object = slab::allocate(kobject::SIZE.get(), 8, slab::ZERO, 0);
    if object == 0 {
        return 0;
    }
    init(object, freeing_type());
    let name = path.rsplit('/').next().unwrap_or(path);
    // Without memory the object has no name and everything still works below it.
    let _ = set_name(object, name.as_bytes(), 0);
    change_state(object, IN_SYSFS, 0);
    PATHS.lock().get_or_insert_default().insert(object, (path.into(), KIND));
    object
}

/// Lets `object` (of zeros) stand for the directory that `other` was made for.
///
/// # Safety
/// Both are `struct kobject`s, and `object` may be overwritten.
pub(crate) unsafe fn adopt(object: u64, other: u64) {
    init(object, plain_type());
    // SAFETY: the caller vouches for both.
    unsafe { kobject::name.set(object, kobject::name.get::<u64>(other)) };
    change_state(object, IN_SYSFS, 0);
    if let Some(path) = path(other) {
        PATHS.lock().get_or_insert_default().insert(object, (path, KIND));
    }
}

macro_rules! directories {
    ($($ident:ident $name:literal $path:literal),* $(,)?) => {
        $(static $ident: Datum = Datum::new($name, 8, Begin::With(|at| {
            // SAFETY: `data::place` gives 8 writable bytes.
            unsafe { ram::put(at, make_own($path)) };
        }));)*
        /// The variables of this file.
        pub(crate) static VARIABLES: &[&Datum] = &[&OPS, $(&$ident),*];
    };
}

directories! {
    KERNEL "kernel_kobj" "/sys/kernel", MEMORY "mm_kobj" "/sys/kernel/mm", FILE_SYSTEMS "fs_kobj" "/sys/fs",
    FIRMWARE "firmware_kobj" "/sys/firmware", POWER "power_kobj" "/sys/power", HYPERVISOR "hypervisor_kobj" "/sys/hypervisor",
    EFI "efi_kobj" "/sys/firmware/efi", ACPI "acpi_kobj" "/sys/firmware/acpi",
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c kobject_release_nothing, c kobject_release_free, c kset_release_free, c kobject_init, v2 kobject_set_name = kobject_set_name_vargs,
    c kobject_set_name_vargs, v3 kobject_add = kobject_add_list, v4 kobject_init_and_add = kobject_init_and_add_list,
    c kobject_create_and_add, c kobject_del, c kobject_get, c kobject_get_unless_zero, c kobject_put, c kobject_rename,
    c kobject_move, c kobject_get_path, c kset_init, c kset_register, c kset_create_and_add, c kset_unregister,
    c kset_find_obj, c kobj_attr_show, c kobj_attr_store,
];
