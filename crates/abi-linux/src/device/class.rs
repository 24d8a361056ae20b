//! Classes: devices of one kind, whatever bus they are on.

use alloc::string::String;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};
use hashbrown::HashMap;

use super::layout::{class, class_attribute, class_interface, device, subsys_private};
use crate::export::{Export, exports};
use crate::field::Size;
use crate::kobject::{self, kset};
use crate::{locks, ram, slab, sysfs};

static ITERATOR: Size = Size::new("class_dev_iter");

const KIND: &str = "class";

/// The `struct subsys_private` of each class.
static CLASSES: Lock<Option<HashMap<u64, u64>>> = Lock::new(None);
/// The interfaces: class and `struct class_interface`.
static INTERFACES: Lock<Vec<(u64, u64)>> = Lock::new(Vec::new());

fn private(of: u64) -> Option<u64> {
    CLASSES.lock().as_ref()?.get(&of).copied()
}

fn object(of: u64) -> Option<u64> {
    private(of).map(|private| kset::kobj.at(subsys_private::subsys.at(private)))
}

/// A class's name.
pub(crate) fn name(of: u64) -> String {
    // SAFETY: the caller's class and its C string.
    unsafe { ram::c_string_or_empty(class::name.get(of)) }.to_str_lossy().into_owned()
}

/// A class's directory; `None` when it is not registered.
pub(crate) fn path(of: u64) -> Option<String> {
    kobject::path(object(of)?)
}

fn class_kind() -> u64 {
    static TYPE: spin::Once<u64> = spin::Once::new();
    *TYPE.call_once(|| {
        kobject::make_type("kobject_release_nothing", kobject::operations("class_attr_show", "class_attr_store"))
    })
}

/// `/sys/class` as an object.
fn root() -> u64 {
    static ROOT: spin::Once<u64> = spin::Once::new();
    *ROOT.call_once(|| kobject::make_own("/sys/class"))
}

/// Registers a class for whoever called from `caller`.
///
/// # Errors
/// `EEXIST` when the name is taken, `ENOMEM`.
pub(crate) fn register(of: u64, caller: u64) -> Result<(), Errno> {
    let private = slab::allocate(subsys_private::SIZE.get(), 8, slab::ZERO, caller);
    if private == 0 {
        return Err(Errno::ENOMEM);
    }
    let object = kset::kobj.at(subsys_private::subsys.at(private));
    kobject::init(object, class_kind());
    kobject::set_parent(object, root());
    // SAFETY: a zeroed block of the struct's size, and the caller's class.
    let added = unsafe {
        subsys_private::class.set(private, of);
        locks::init_list(kset::list.at(subsys_private::subsys.at(private)));
        locks::init_list(subsys_private::interfaces.at(private));
        let name = ram::c_string(class::name.get(of));
        kobject::set_name(object, name, caller).and_then(|()| kobject::add_as(KIND, object, caller))
    };
    let added = added.and_then(|()| {
        CLASSES.lock().get_or_insert_default().insert(of, private);
        // SAFETY: the caller's class.
        unsafe {
            if class::p.offset().is_some() {
                class::p.set(of, private);
            }
            sysfs::add_groups(object, class::class_groups.get(of))
        }
    });
    if let Err(errno) = added {
        forget(of);
        kobject::delete(object);
        kobject::put(object);
        slab::release(private, caller);
        return Err(errno);
    }
    Ok(())
}

fn forget(of: u64) -> Option<u64> {
    // SAFETY: the caller's class.
    unsafe {
        if class::p.offset().is_some() {
            class::p.set(of, 0u64);
        }
    }
    CLASSES.lock().as_mut().and_then(|classes| classes.remove(&of))
}

/// Takes a class away.
pub(crate) fn unregister(of: u64) {
    let Some(private) = forget(of) else { return };
    let object = kset::kobj.at(subsys_private::subsys.at(private));
    kobject::delete(object);
    kobject::put(object);
    slab::release(private, 0);
    // SAFETY: the caller's class and its function, which may free it.
    unsafe {
        let release: u64 = class::class_release.get(of);
        if release != 0 {
            ram::call(release, [of]);
        }
    }
}

fn create(name: u64, caller: u64) -> u64 {
    let made = slab::allocate(class::SIZE.get(), 8, slab::ZERO, caller);
    if made == 0 {
        return Errno::ENOMEM.to_pointer();
    }
    // SAFETY: a zeroed block of the struct's size.
    unsafe {
        class::name.set(made, name);
        class::class_release.set(made, crate::symbols::address("class_create_release").unwrap_or(0));
    }
    match register(made, caller) {
        Ok(()) => made,
        Err(errno) => {
            slab::release(made, caller);
            errno.to_pointer()
        }
    }
}

/// A class of the kernel's own; 0 without memory.
pub(crate) fn own(name: &'static str, devnode: u64) -> u64 {
    let text = crate::printf::duplicate(name.as_bytes(), 0, 0);
    let made = create(text, 0);
    if text == 0 || Errno::from_pointer(made).is_some() {
        return 0;
    }
    // SAFETY: the class just made.
    unsafe { class::devnode.set(made, devnode) };
    made
}

extern "C" fn class_create_release(of: u64) {
    slab::release(of, 0);
}
/// `struct class *__class_create(struct module *, const char *, struct lock_class_key *)`
extern "C" fn __class_create(_owner: u64, name: u64, _key: u64) -> u64 {
    create(name, ram::caller())
}
/// `struct class *class_create(const char *)`, as it is since 6.4.
extern "C" fn class_create(name: u64) -> u64 {
    create(name, ram::caller())
}
extern "C" fn class_destroy(of: u64) {
    if of != 0 && Errno::from_pointer(of).is_none() {
        unregister(of);
    }
}
extern "C" fn class_register(of: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(register(of, caller))
}
extern "C" fn class_unregister(of: u64) {
    unregister(of);
}
extern "C" fn class_is_registered(of: u64) -> bool {
    private(of).is_some()
}
pub(crate) extern "C" fn class_create_file_ns(of: u64, attribute: u64, _namespace: u64) -> i32 {
    match object(of) {
        Some(object) => Errno::returned(sysfs::add_file(object, "", attribute, None)),
        None => Errno::EINVAL.to_return(),
    }
}
pub(crate) extern "C" fn class_remove_file_ns(of: u64, attribute: u64, _namespace: u64) {
    if let Some(path) = path(of) {
        // SAFETY: the module's attribute and its C string.
        let name = unsafe { ram::c_string_or_empty(sysfs::attribute::name.get(attribute)) };
        kernel().files.remove(&alloc::format!("{path}/{}", name.to_str_lossy()));
    }
}

fn of_object(object: u64) -> u64 {
    let private = subsys_private::subsys.container(kset::kobj.container(object));
    // SAFETY: the object of a registered class.
    unsafe { subsys_private::class.get(private) }
}
extern "C" fn class_attr_show(object: u64, attribute: u64, buffer: u64) -> i64 {
    // SAFETY: the attribute of a class and its function.
    unsafe {
        match class_attribute::show.get::<u64>(attribute) {
            0 => Errno::EIO.to_return().into(),
            show => ram::call(show, [of_object(object), attribute, buffer]) as i64,
        }
    }
}
extern "C" fn class_attr_store(object: u64, attribute: u64, buffer: u64, count: u64) -> i64 {
    // SAFETY: as above.
    unsafe {
        match class_attribute::store.get::<u64>(attribute) {
            0 => Errno::EIO.to_return().into(),
            store => ram::call(store, [of_object(object), attribute, buffer, count]) as i64,
        }
    }
}

/// The devices of a class, from `start` (0: from the first) on.
fn devices(of: u64, start: u64) -> Vec<u64> {
    // SAFETY: devices that are added.
    let mut all: Vec<u64> =
        super::all().into_iter().filter(|&dev| unsafe { device::class.get::<u64>(dev) } == of).collect();
    if let Some(place) = all.iter().position(|&dev| dev == start) {
        all.drain(..=place);
    }
    all
}
extern "C" fn class_for_each_device(of: u64, start: u64, data: u64, function: u64) -> i32 {
    super::each(devices(of, start), data, function)
}
extern "C" fn class_find_device(of: u64, start: u64, data: u64, function: u64) -> u64 {
    super::find(devices(of, start), data, function)
}

/// `void class_dev_iter_init(struct class_dev_iter *, const struct class *, const struct device *start, const struct device_type *)`:
/// the words of the iterator are ours: class, last device.
extern "C" fn class_dev_iter_init(iter: u64, of: u64, start: u64) {
    // SAFETY: the caller's iterator, which is larger than two words.
    unsafe {
        ram::fill(iter, 0, ITERATOR.get());
        ram::put(iter, of);
        ram::put(iter + 8, start);
    }
}
extern "C" fn class_dev_iter_next(iter: u64) -> u64 {
    // SAFETY: as above.
    unsafe {
        let next = devices(ram::get(iter), ram::get(iter + 8)).first().copied().unwrap_or(0);
        if next != 0 {
            ram::put(iter + 8, next);
        }
        next
    }
}
extern "C" fn class_dev_iter_exit() {}

fn call_interface(interface: u64, dev: u64, adding: bool) {
    // SAFETY: a registered interface and its functions (the second argument went away in 6.4).
    unsafe {
        let field = if adding { &class_interface::add_dev } else { &class_interface::remove_dev };
        let function: u64 = field.get(interface);
        if function != 0 {
            ram::call(function, [dev, interface]);
        }
    }
}

fn tell(dev: u64, adding: bool) {
    // SAFETY: a device that is added.
    let of: u64 = unsafe { device::class.get(dev) };
    let all: Vec<u64> =
        INTERFACES.lock().iter().filter(|(other, _)| *other == of).map(|&(_, interface)| interface).collect();
    for interface in all {
        call_interface(interface, dev, adding);
    }
}

/// Tells the interfaces of a device's class that it came.
pub(crate) fn arrived(dev: u64) {
    tell(dev, true);
}

/// Tells them that it goes.
pub(crate) fn leaves(dev: u64) {
    tell(dev, false);
}

extern "C" fn class_interface_register(interface: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's interface.
    let of: u64 = unsafe { class_interface::class.get(interface) };
    if of == 0 || private(of).is_none() {
        return Errno::ENODEV.to_return();
    }
    INTERFACES.lock().push((of, interface));
    // SAFETY: as above.
    unsafe { locks::init_list(class_interface::node.at(interface)) };
    // Registering one twice is a bug of the module's that the list shows.
    let _ = kernel().registrations.add("class_interface", interface, name(of), kernel().owner_of(caller));
    for dev in devices(of, 0) {
        call_interface(interface, dev, true);
    }
    0
}
extern "C" fn class_interface_unregister(interface: u64) {
    // SAFETY: the module's interface.
    let of: u64 = unsafe { class_interface::class.get(interface) };
    INTERFACES.lock().retain(|&(_, other)| other != interface);
    kernel().registrations.remove("class_interface", interface);
    for dev in devices(of, 0) {
        call_interface(interface, dev, false);
    }
}

/// `struct class_compat *class_compat_register(const char *)`: an old directory of `/sys/class` without a class.
extern "C" fn class_compat_register(name: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module's C string.
    compat(unsafe { ram::c_string(name) }, caller)
}

/// An old directory of `/sys/class` for whoever called from `caller`; 0 when the name is taken.
pub(crate) fn compat(name: &[u8], caller: u64) -> u64 {
    let object = slab::allocate(kobject::kobject::SIZE.get(), 8, slab::ZERO, caller);
    if object == 0 {
        return 0;
    }
    kobject::init(object, kobject::freeing_type());
    kobject::set_parent(object, root());
    let added = kobject::set_name(object, name, caller).and_then(|()| kobject::add_as(KIND, object, caller));
    if added.is_err() {
        kobject::put(object);
        return 0;
    }
    object
}
extern "C" fn class_compat_unregister(object: u64) {
    kobject::delete(object);
    kobject::put(object);
}
pub(crate) extern "C" fn class_compat_create_link(object: u64, dev: u64, parent: u64) -> i32 {
    let Some((directory, target)) = kobject::path(object).zip(kobject::path(super::object(dev))) else {
        return Errno::EFAULT.to_return();
    };
    if let Err(errno) = sysfs::add_link(&directory, &target, &super::name(dev)) {
        return errno.to_return();
    }
    if parent != 0
        && let Some(parent) = kobject::path(super::object(parent))
    {
        // The older link is a courtesy.
        let _ = sysfs::add_link(&target, &parent, "device");
    }
    0
}
pub(crate) extern "C" fn class_compat_remove_link(object: u64, dev: u64, parent: u64) {
    if let Some(directory) = kobject::path(object) {
        kernel().files.remove(&alloc::format!("{directory}/{}", super::name(dev)));
    }
    if parent != 0
        && let Some(path) = kobject::path(super::object(dev))
    {
        kernel().files.remove(&alloc::format!("{path}/device"));
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c class_create_release, c __class_create, c class_create, c class_destroy, c class_register, c __class_register = class_register,
    c class_unregister, c class_is_registered, c class_create_file_ns, c class_remove_file_ns, c class_attr_show,
    c class_attr_store, c class_for_each_device, c class_find_device, c class_dev_iter_init, c class_dev_iter_next,
    k class_dev_iter_exit, c class_interface_register, c class_interface_unregister, c class_compat_register,
    c class_compat_unregister, c class_compat_create_link, c class_compat_remove_link,
];
