//! Devices: objects that buses bring together with drivers, and that classes show to programs.

use alloc::string::String;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::chrdev::Number;
use ferrmod_kernel::files::{self, Node};
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};
use hashbrown::HashMap;

use crate::export::{Export, exports};
use crate::kobject::{self, kobject as c_kobject, kset};
use crate::{block, locks, pci, power, printf, ram, slab, symbols, sysfs, uevent, vfs};

pub(crate) mod bus;
pub(crate) mod buses;
pub(crate) mod class;
pub(crate) mod deferred;
pub(crate) mod described;
pub(crate) mod devres;
pub(crate) mod driver;
mod hid;
pub(crate) mod layout;
pub(crate) mod platform;
pub(crate) mod property;
pub(crate) mod show;
pub(crate) mod transport;
mod usb;
pub(crate) mod virtio;

use layout::{bus_type, device, device_driver, device_type, mutex};

/// What is known of a device that was added.
#[derive(Clone, Debug, Default)]
struct Added {
    /// Files and links outside of the device's own directory.
    outside: Vec<String>,
    /// The directory between the parent and the device, if one was made for its class.
    glue: u64,
    /// The `/dev` file.
    node: Option<String>,
}

static DEVICES: Lock<Option<HashMap<u64, Added>>> = Lock::new(None);

/// The class directories between parents and devices, with the number of devices in them.
static GLUE: Lock<Vec<(u64, usize)>> = Lock::new(Vec::new());

/// All devices that are added.
pub(crate) fn all() -> Vec<u64> {
    let mut all: Vec<u64> =
        DEVICES.lock().as_ref().map(|devices| devices.keys().copied().collect()).unwrap_or_default();
    all.sort_unstable();
    all
}

/// The set all devices belong to, whose directory is `/sys/devices`.
fn devices_set() -> u64 {
    static SET: spin::Once<u64> = spin::Once::new();
    *SET.call_once(|| {
        let ops = slab::allocate(24, 8, slab::ZERO, 0);
        let object = kobject::make_own("/sys/devices");
        let set = slab::allocate(kset::SIZE.get(), 8, slab::ZERO, 0);
        if ops == 0 || object == 0 || set == 0 {
            return 0;
        }
        // SAFETY: three blocks of ours; the three functions are all there is in a `struct kset_uevent_ops`.
        unsafe {
            for (number, name) in
                ["device_uevent_filter", "device_uevent_name", "device_uevent_fill"].into_iter().enumerate()
            {
                ram::put(ops + 8 * number as u64, symbols::address(name).unwrap_or(0));
            }
            kset::uevent_ops.set(set, ops);
            locks::init_list(kset::list.at(set));
            kobject::adopt(kset::kobj.at(set), object);
        }
        set
    })
}

fn device_kind() -> u64 {
    static TYPE: spin::Once<u64> = spin::Once::new();
    *TYPE.call_once(|| kobject::make_type("device_release", kobject::operations("dev_attr_show", "dev_attr_store")))
}

/// The `struct device` around an object.
pub(crate) fn of_object(object: u64) -> u64 {
    device::kobj.container(object)
}

/// The object of a device.
pub(crate) fn object(dev: u64) -> u64 {
    device::kobj.at(dev)
}

/// A device's name.
pub(crate) fn name(dev: u64) -> String {
    let name = kobject::name(object(dev));
    if !name.is_empty() {
        return name;
    }
    // SAFETY: the caller's device.
    unsafe { ram::c_string_or_empty(device::init_name.get(dev)) }.to_str_lossy().into_owned()
}

/// What the messages about a device begin with: its driver, if it has one, and its name.
pub(crate) fn label(dev: u64) -> String {
    // SAFETY: the caller's device.
    let driver: u64 = unsafe { device::driver.get(dev) };
    if driver == 0 { name(dev) } else { alloc::format!("{} {}", driver::name(driver), name(dev)) }
}

/// Begins a device.
pub(crate) fn begin(dev: u64) {
    // SAFETY: the caller's device.
    unsafe {
        let set = devices_set();
        c_kobject::kset.set(object(dev), set);
        kobject::init(object(dev), device_kind());
        for list in [
            &device::devres_head,
            &device::dma_pools,
            &device::suppliers,
            &device::consumers,
            &device::defer_sync,
            &device::power_entry,
        ] {
            if list.offset().is_some() {
                locks::init_list(list.at(dev));
            }
        }
        locks::init_list(mutex::wait_list.at(device::mutex.at(dev)));
        device::numa_node.set(dev, -1i32);
    }
    power::forget(dev);
}

/// The object a device's directory is to lie below, and whether it is a class directory.
fn place(dev: u64) -> Result<(u64, bool), Errno> {
    // SAFETY: the caller's device and its parent, class and bus.
    unsafe {
        let (class, parent, bus): (u64, u64, u64) =
            (device::class.get(dev), device::parent.get(dev), device::bus.get(dev));
        if class != 0 {
            if parent != 0 && device::class.get::<u64>(parent) != 0 {
                return Ok((object(parent), false));
            }
            let above = if parent == 0 { Some("/sys/devices/virtual".into()) } else { kobject::path(object(parent)) };
            let above = above.ok_or(Errno::ENODEV)?;
            return Ok((glue(&above, parent, &class::name(class))?, true));
        }
        if parent == 0 && bus != 0 && bus_type::dev_root.offset().is_some() {
            let root: u64 = bus_type::dev_root.get(bus);
            if root != 0 {
                return Ok((object(root), false));
            }
        }
        Ok((if parent == 0 { 0 } else { object(parent) }, false))
    }
}

/// The directory of a class below a device (or below `/sys/devices/virtual`).
fn glue(above: &str, parent: u64, class: &str) -> Result<u64, Errno> {
    let path = alloc::format!("{above}/{class}");
    let found = GLUE.lock().iter().position(|&(object, _)| kobject::path(object).as_deref() == Some(path.as_str()));
    if let Some(found) = found {
        let mut glue = GLUE.lock();
        glue[found].1 += 1;
        return Ok(glue[found].0);
    }
    let object = if parent == 0 {
        kobject::make_own(&path)
    } else {
        let object = slab::allocate(c_kobject::SIZE.get(), 8, slab::ZERO, 0);
        if object == 0 {
            return Err(Errno::ENOMEM);
        }
        kobject::init(object, kobject::freeing_type());
        kobject::set_parent(object, self::object(parent));
        kobject::set_name(object, class.as_bytes(), 0)?;
        kobject::add(object, 0).inspect_err(|_| kobject::put(object))?;
        object
    };
    if object == 0 {
        return Err(Errno::ENOMEM);
    }
    GLUE.lock().push((object, 1));
    Ok(object)
}

fn leave_glue(object: u64) {
    let gone = {
        let mut glue = GLUE.lock();
        let found = glue.iter().position(|&(other, _)| other == object);
        found.and_then(|found| {
            glue[found].1 -= 1;
            (glue[found].1 == 0).then(|| glue.remove(found).0)
        })
    };
    if let Some(object) = gone {
        kobject::delete(object);
        kobject::put(object);
    }
}

/// Makes a device known.
pub(crate) fn add(dev: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(add_for(dev, caller))
}

/// [`add`] for whoever called from `caller`.
///
/// # Errors
/// `EINVAL` without a name, `EEXIST` when it is taken, `ENOMEM`.
pub(crate) fn add_for(dev: u64, caller: u64) -> Result<(), Errno> {
    let object = object(dev);
    // SAFETY: the caller's device, its bus and its parent.
    let (class, bus, parent) = unsafe {
        let init_name: u64 = device::init_name.get(dev);
        let bus: u64 = device::bus.get(dev);
        if init_name != 0 {
            kobject::set_name(object, ram::c_string(init_name), caller)?;
            device::init_name.set(dev, 0u64);
        }
        if kobject::name(object).is_empty() && bus != 0 && bus_type::dev_name.get::<u64>(bus) != 0 {
            let mut name = ram::c_string(bus_type::dev_name.get(bus)).to_vec();
            name.extend_from_slice(alloc::format!("{}", device::id.get::<u32>(dev)).as_bytes());
            kobject::set_name(object, &name, caller)?;
        }
        (device::class.get::<u64>(dev), bus, device::parent.get::<u64>(dev))
    };
    if kobject::name(object).is_empty() {
        return Err(Errno::EINVAL);
    }
    kobject::get(object);
    if parent != 0 {
        kobject::get(self::object(parent));
    }
    let undo = |errno| {
        if parent != 0 {
            kobject::put(self::object(parent));
        }
        kobject::put(object);
        errno
    };
    let (above, is_glue) = place(dev).map_err(undo)?;
    kobject::set_parent(object, above);
    let mut added = Added { glue: if is_glue { above } else { 0 }, ..Added::default() };
    if let Err(errno) = kobject::add_as("device", object, caller) {
        leave_glue(added.glue);
        return Err(undo(errno));
    }
    if let Err(errno) = show(dev, class, bus, &mut added) {
        hide(dev, class, bus, &added);
        kobject::delete(object);
        leave_glue(added.glue);
        return Err(undo(errno));
    }
    DEVICES.lock().get_or_insert_default().insert(dev, added);
    bus::notify(bus, bus::ADDED, dev);
    uevent::send(object, "add", &[]);
    bus::arrived(dev);
    class::arrived(dev);
    Ok(())
}

/// Files, links and nodes of a device.
fn show(dev: u64, class: u64, bus: u64, added: &mut Added) -> Result<(), Errno> {
    let object = object(dev);
    let name = kobject::name(object);
    let path = kobject::path(object).ok_or(Errno::ENOENT)?;
    let link = |added: &mut Added, directory: &str, target: &str, name: &str| {
        sysfs::add_link(directory, target, name)?;
        added.outside.push(alloc::format!("{directory}/{name}"));
        Ok(())
    };
    kernel().files.add(&alloc::format!("{path}/uevent"), uevent_file(dev))?;
    power::show(dev, &path)?;
    described::show(dev, &path)?;
    pci::show(dev, &path)?;
    // SAFETY: the caller's device and its class, type and bus.
    unsafe {
        if class != 0 {
            if let Some(directory) = class::path(class) {
                sysfs::add_link(&path, &directory, "subsystem")?;
                link(added, &directory, &path, &name)?;
            }
            if let Some(parent) =
                kobject::path(self::object(device::parent.get(dev))).filter(|_| device::parent.get::<u64>(dev) != 0)
            {
                sysfs::add_link(&path, &parent, "device")?;
            }
            sysfs::add_groups(object, layout::class::dev_groups.get(class))?;
        }
        let kind: u64 = device::type_.get(dev);
        if kind != 0 {
            sysfs::add_groups(object, device_type::groups.get(kind))?;
        }
        sysfs::add_groups(object, device::groups.get(dev))?;
        if bus != 0
            && let Some(directory) = bus::path(bus)
        {
            sysfs::add_groups(object, bus_type::dev_groups.get(bus))?;
            link(added, &alloc::format!("{directory}/devices"), &path, &name)?;
            if class == 0 {
                sysfs::add_link(&path, &directory, "subsystem")?;
            }
        }
        let number = Number(device::devt.get(dev));
        if number.major() != 0 {
            let text = alloc::format!("{}:{}", number.major(), number.minor());
            let content = alloc::format!("{text}\n");
            kernel()
                .files
                .add(&alloc::format!("{path}/dev"), files::read_only(0o444, move || content.clone().into_bytes()))?;
            let is_block = block::is_class(class);
            let numbers = if is_block { "/sys/dev/block" } else { "/sys/dev/char" };
            kernel().files.make_directories(numbers);
            link(added, numbers, &path, &text)?;
            let node = node_name(dev, class, &name);
            let place = alloc::format!("/dev/{node}");
            if let Some((above, _)) = place.rsplit_once('/') {
                kernel().files.make_directories(above);
            }
            if is_block {
                block::file::add(&place, number.0)?;
            } else {
                let source = vfs::Source::Device(number.0);
                let mode = vfs::CHARACTER | 0o600;
                vfs::add(&place, vfs::Node { source, mode, data: 0, inode: 0, dentry: 0, pde: 0 })?;
            }
            added.node = Some(place);
        }
    }
    Ok(())
}

/// The name of a device's file in `/dev`.
fn node_name(dev: u64, class: u64, name: &str) -> String {
    // SAFETY: the caller's device, and the functions of its type and class, which give an allocated string or null.
    unsafe {
        let kind: u64 = device::type_.get(dev);
        let of_type: u64 = if kind == 0 { 0 } else { device_type::devnode.get(kind) };
        let of_class: u64 = if class == 0 { 0 } else { layout::class::devnode.get(class) };
        let mut mode = [0u32; 4];
        let at = mode.as_mut_ptr() as u64;
        for function in [of_type, of_class].into_iter().filter(|&function| function != 0) {
            let text = ram::call(function, [dev, at, at + 4, at + 8]);
            if text != 0 {
                let name = ram::c_string(text).to_str_lossy().into_owned();
                if kernel().heap.find(text).is_some_and(|found| found.start == text) {
                    slab::release(text, 0);
                }
                return name;
            }
        }
    }
    name.replace('!', "/")
}

fn uevent_file(dev: u64) -> Node {
    files::read_write(
        0o644,
        move || Ok(show::uevent_text(dev)),
        move |bytes| {
            let action = bytes.to_str_lossy();
            let action = action.split_whitespace().next().unwrap_or("");
            if uevent::is_action(action) {
                uevent::send(object(dev), action, &[b"SYNTH_UUID=0".to_vec()]);
                Ok(bytes.len())
            } else {
                Err(Errno::EINVAL)
            }
        },
    )
}

fn hide(dev: u64, class: u64, bus: u64, added: &Added) {
    let object = object(dev);
    if let Some(node) = &added.node {
        vfs::remove(node);
    }
    for path in &added.outside {
        kernel().files.remove(path);
    }
    // SAFETY: the caller's device and its class, type and bus.
    unsafe {
        sysfs::remove_groups(object, device::groups.get(dev));
        if class != 0 {
            sysfs::remove_groups(object, layout::class::dev_groups.get(class));
        }
        if bus != 0 {
            sysfs::remove_groups(object, bus_type::dev_groups.get(bus));
        }
    }
}

/// Takes a device away again; its memory stays until the last reference goes.
pub(crate) fn delete(dev: u64) {
    let Some(added) = DEVICES.lock().as_mut().and_then(|devices| devices.remove(&dev)) else { return };
    let object = object(dev);
    // SAFETY: the caller's device.
    let (class, bus, parent): (u64, u64, u64) =
        unsafe { (device::class.get(dev), device::bus.get(dev), device::parent.get(dev)) };
    class::leaves(dev);
    bus::notify(bus, bus::REMOVING, dev);
    driver::release(dev);
    driver::forget(dev);
    hide(dev, class, bus, &added);
    devres::release_all(dev);
    bus::notify(bus, bus::REMOVED, dev);
    uevent::send(object, "remove", &[]);
    kobject::delete(object);
    leave_glue(added.glue);
    if parent != 0 {
        kobject::put(self::object(parent));
    }
    kobject::put(object);
}

/// The last reference of a device is gone.
extern "C" fn device_release(object: u64) {
    let dev = of_object(object);
    let name = kobject::name(object);
    devres::release_all(dev);
    power::forget(dev);
    // SAFETY: the device and the release function that its maker, type or class gave.
    unsafe {
        let (own, kind, class): (u64, u64, u64) =
            (device::release.get(dev), device::type_.get(dev), device::class.get(dev));
        let of_type = if kind == 0 { 0 } else { device_type::release.get(kind) };
        let of_class = if class == 0 { 0 } else { layout::class::dev_release.get(class) };
        match [own, of_type, of_class].into_iter().find(|&function| function != 0) {
            Some(function) => {
                ram::call(function, [dev]);
            }
            None => kernel().warn(
                &alloc::format!("Device '{name}' does not have a release() function, it is broken and must be fixed."),
                0,
            ),
        }
    }
}

extern "C" fn device_initialize(dev: u64) {
    begin(dev);
}
extern "C" fn device_add(dev: u64) -> i32 {
    add(dev)
}
extern "C" fn device_register(dev: u64) -> i32 {
    let caller = ram::caller();
    begin(dev);
    Errno::returned(add_for(dev, caller))
}
extern "C" fn device_del(dev: u64) {
    delete(dev);
}
extern "C" fn device_unregister(dev: u64) {
    delete(dev);
    kobject::put(object(dev));
}
/// Takes a device away and gives its first reference back.
pub(crate) fn destroy(dev: u64) {
    device_unregister(dev);
}
extern "C" fn get_device(dev: u64) -> u64 {
    if dev != 0 {
        kobject::get(object(dev));
    }
    dev
}
extern "C" fn put_device(dev: u64) {
    if dev != 0 {
        kobject::put(object(dev));
    }
}
/// `int dev_set_name(struct device *, const char *, ...)`
extern "C" fn dev_set_name(dev: u64, format: u64, list: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(kobject::set_name(object(dev), &printf::text_of(format, list), caller))
}
extern "C" fn device_rename(dev: u64, name: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's C string.
    Errno::returned(kobject::rename(object(dev), unsafe { ram::c_string(name) }, caller))
}

/// `int device_match_devt(struct device *, const void *)`: whether the device has this number.
extern "C" fn device_match_devt(dev: u64, wanted: u64) -> i32 {
    // SAFETY: the caller's device and its `dev_t`.
    unsafe { device::devt.get::<u32>(dev) == ram::get::<u32>(wanted) }.into()
}

/// The release function of devices that `device_create` made.
extern "C" fn device_create_release(dev: u64) {
    slab::release(dev, 0);
}

struct Made {
    class: u64,
    parent: u64,
    number: u32,
    data: u64,
    groups: u64,
}

fn make(made: &Made, name: &[u8], caller: u64) -> Result<u64, Errno> {
    if made.class == 0 || Errno::from_pointer(made.class).is_some() {
        return Err(Errno::ENODEV);
    }
    let dev = slab::allocate(device::SIZE.get(), 8, slab::ZERO, caller);
    if dev == 0 {
        return Err(Errno::ENOMEM);
    }
    begin(dev);
    // SAFETY: a zeroed block of the struct's size.
    unsafe {
        device::devt.set(dev, made.number);
        device::class.set(dev, made.class);
        device::parent.set(dev, made.parent);
        device::groups.set(dev, made.groups);
        device::release.set(dev, symbols::address("device_create_release").unwrap_or(0));
        device::driver_data.set(dev, made.data);
    }
    let added = kobject::set_name(object(dev), name, caller).and_then(|()| add_for(dev, caller));
    if let Err(errno) = added {
        kobject::put(object(dev));
        return Err(errno);
    }
    Ok(dev)
}

/// Makes and adds a device of a class, as `device_create` does.
///
/// # Errors
/// As [`add_for`].
pub(crate) fn create(
    class: u64,
    parent: u64,
    number: u32,
    data: u64,
    groups: u64,
    name: &[u8],
    caller: u64,
) -> Result<u64, Errno> {
    make(&Made { class, parent, number, data, groups }, name, caller)
}

/// `struct device *device_create(class, parent, dev_t, drvdata, fmt, ...)`
extern "C" fn device_create(class: u64, parent: u64, number: u32, data: u64, format: u64, list: u64) -> u64 {
    let caller = ram::caller();
    create(class, parent, number, data, 0, &printf::text_of(format, list), caller).unwrap_or_else(Errno::to_pointer)
}
/// `struct device *device_create_with_groups(class, parent, dev_t, drvdata, groups, fmt, ...)`: the sixth named argument is
/// the first of the list here.
extern "C" fn device_create_with_groups(
    class: u64,
    parent: u64,
    number: u32,
    data: u64,
    groups: u64,
    list: u64,
) -> u64 {
    let caller = ram::caller();
    // SAFETY: the bridge's list (psABI, "The va_list Type"): its first 32-bit number is the offset of the next register in
    // the area that its last word points at, and the format came in the sixth register.
    let format = unsafe {
        let offset: u32 = ram::get(list);
        ram::put(list, offset + 8);
        ram::get(ram::get::<u64>(list + 16) + u64::from(offset))
    };
    create(class, parent, number, data, groups, &printf::text_of(format, list), caller)
        .unwrap_or_else(Errno::to_pointer)
}
/// The device of a class with a number.
fn with_number(class: u64, number: u32) -> Option<u64> {
    // SAFETY: devices that are added.
    all()
        .into_iter()
        .find(|&dev| unsafe { device::class.get::<u64>(dev) == class && device::devt.get::<u32>(dev) == number })
}
/// `void device_destroy(class, dev_t)`
pub(crate) extern "C" fn device_destroy(class: u64, number: u32) {
    if let Some(dev) = with_number(class, number) {
        device_unregister(dev);
    }
}

/// Makes a device that others are to lie below, for whoever called from `caller`.
fn make_root_for(name: &[u8], caller: u64) -> Result<u64, Errno> {
    // A `struct root_device` begins with its device and ends with its owner.
    let dev = slab::allocate(device::SIZE.get() + 8, 8, slab::ZERO, caller);
    if dev == 0 {
        return Err(Errno::ENOMEM);
    }
    begin(dev);
    // SAFETY: a zeroed block with room for the struct.
    unsafe { device::release.set(dev, symbols::address("device_create_release").unwrap_or(0)) };
    let added = kobject::set_name(object(dev), name, caller).and_then(|()| add_for(dev, caller));
    added.inspect_err(|_| kobject::put(object(dev)))?;
    Ok(dev)
}
/// Makes a device of the kernel's own that others are to lie below.
///
/// # Errors
/// `EEXIST`, `ENOMEM`.
pub(crate) fn make_root(name: &[u8]) -> Result<u64, Errno> {
    make_root_for(name, 0)
}
/// `struct device *__root_device_register(const char *name, struct module *owner)`
extern "C" fn __root_device_register(name: u64, _owner: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module's C string.
    make_root_for(unsafe { ram::c_string(name) }, caller).unwrap_or_else(Errno::to_pointer)
}

extern "C" fn device_create_file(dev: u64, attribute: u64) -> i32 {
    if dev == 0 {
        return 0;
    }
    Errno::returned(sysfs::add_file(object(dev), "", attribute, None))
}

/// `const char *dev_driver_string(const struct device *)`
pub(crate) extern "C" fn dev_driver_string(dev: u64) -> u64 {
    // SAFETY: the caller's device and its driver, bus and class.
    unsafe {
        let (driver, bus, class): (u64, u64, u64) =
            (device::driver.get(dev), device::bus.get(dev), device::class.get(dev));
        if driver != 0 {
            device_driver::name.get(driver)
        } else if bus != 0 {
            bus_type::name.get(bus)
        } else if class != 0 {
            layout::class::name.get(class)
        } else {
            c"".as_ptr() as u64
        }
    }
}

/// The devices whose parent is `parent`, oldest first.
pub(crate) fn children(parent: u64) -> Vec<u64> {
    // SAFETY: devices that are added.
    all().into_iter().filter(|&dev| unsafe { device::parent.get::<u64>(dev) } == parent).collect()
}

/// Calls `function(device, data)` until it answers something else than 0.
pub(crate) fn each(devices: Vec<u64>, data: u64, function: u64) -> i32 {
    for dev in devices {
        // SAFETY: the module's function.
        let result = unsafe { ram::call(function, [dev, data]) } as i32;
        if result != 0 {
            return result;
        }
    }
    0
}

/// The first device for which `function(device, data)` is true, with a reference.
fn find(devices: Vec<u64>, data: u64, function: u64) -> u64 {
    // SAFETY: the module's function.
    let found = devices.into_iter().find(|&dev| unsafe { ram::call(function, [dev, data]) } as i32 != 0);
    get_device(found.unwrap_or(0))
}

extern "C" fn device_for_each_child(parent: u64, data: u64, function: u64) -> i32 {
    each(children(parent), data, function)
}
extern "C" fn device_for_each_child_reverse(parent: u64, data: u64, function: u64) -> i32 {
    each(children(parent).into_iter().rev().collect(), data, function)
}
extern "C" fn device_find_child(parent: u64, data: u64, function: u64) -> u64 {
    find(children(parent), data, function)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c device_match_devt,
    c device_release, c device_initialize, c device_add, c device_register, c device_del, c device_unregister, c get_device,
    c put_device, v2 dev_set_name, c device_rename, c device_create_release, v5 device_create,
    v5 device_create_with_groups, c device_destroy, c __root_device_register,
    c root_device_unregister = device_unregister, c device_create_file, c dev_driver_string, c device_for_each_child,
    c device_for_each_child_reverse, c device_find_child,
];
