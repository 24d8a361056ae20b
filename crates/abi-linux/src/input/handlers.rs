//! Those who listen: handlers, and the handles that tie them to devices.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::bits::{self, MAPS};
use super::event::{self, locked};
use super::{DYNAMIC, MINORS, input_dev, input_id, with_devices, with_mutex};
use crate::device;
use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::registries::{Name, Registry, Unique};
use crate::{locks, ram, rcu, waiting};

layout! {
    pub(super) mod input_handler = "input_handler" {
        name, filter, events, event, match_ = "match", connect, disconnect, start, legacy_minors, minor, id_table, h_list,
    }
    pub(super) mod input_handle = "input_handle" { open, name, dev, handler, d_node, h_node, handle_events }
    mod input_device_id = "input_device_id" {
        flags, bustype, vendor, product, version, evbit, keybit, relbit, absbit, mscbit, ledbit, sndbit, ffbit, swbit, propbit,
        driver_info,
    }
}

const KIND: &str = "input_handle";

static HANDLERS: Registry =
    Registry::new("input_handler", Name::Pointer(Field::new("input_handler", "name")), Unique::Object, Errno::ENOENT);

/// The minors of `/dev/input` that are taken.
static TAKEN: Lock<BTreeSet<u32>> = Lock::new(BTreeSet::new());

/// The handles of a device as they are now, filters first. One that is taken away while another CPU goes through them is still there:
/// who takes it away waits ([`rcu::wait_for_readers`]).
///
/// # Safety
/// A device.
pub(super) unsafe fn of_device(made: u64) -> Vec<u64> {
    // SAFETY: the caller vouches for the device; the list is of handles.
    unsafe { waiting::each(input_dev::h_list.at(made)) }.map(|node| input_handle::d_node.container(node)).collect()
}

/// Whether a handler has one way to get events, which says how many it leaves: since 6.11, when handles got a function of their own.
pub(super) fn says_what_is_left() -> bool {
    input_handle::handle_events.offset().is_some()
}

/// What a handle is called.
pub(super) fn handle_name(handle: u64) -> String {
    // SAFETY: a handle that is registered, and its C string.
    unsafe { ram::c_string_or_empty(input_handle::name.get(handle)) }.to_str_lossy().into_owned()
}

/// The numbers of a device that an id may ask for: the flag, where it is in the id and in the device.
fn numbers() -> [(u64, &'static Field, &'static Field); 4] {
    [
        (1, &input_device_id::bustype, &input_id::bustype),
        (2, &input_device_id::vendor, &input_id::vendor),
        (4, &input_device_id::product, &input_id::product),
        (8, &input_device_id::version, &input_id::version),
    ]
}

/// The map of an id for a type of event.
fn map_in_id(kind: u32) -> &'static Field {
    match kind {
        bits::KEY => &input_device_id::keybit,
        bits::RELATIVE => &input_device_id::relbit,
        bits::ABSOLUTE => &input_device_id::absbit,
        bits::MISCELLANEOUS => &input_device_id::mscbit,
        bits::LED => &input_device_id::ledbit,
        bits::SOUND => &input_device_id::sndbit,
        bits::FORCE => &input_device_id::ffbit,
        _ => &input_device_id::swbit,
    }
}

/// Whether a device is what an id of a handler's table describes.
fn fits(id: u64, made: u64) -> bool {
    // SAFETY: the handler's table and a device; their maps have as many bits.
    unsafe {
        let flags: u64 = input_device_id::flags.get(id);
        let of_device = input_dev::id.at(made);
        let same = numbers()
            .iter()
            .all(|(flag, wanted, found)| flags & flag == 0 || wanted.get::<u16>(id) == found.get::<u16>(of_device));
        same && bits::is_subset(input_device_id::evbit.at(id), input_dev::evbit.at(made), bits::TYPES)
            && bits::is_subset(input_device_id::propbit.at(id), input_dev::propbit.at(made), bits::PROPERTIES)
            && MAPS.iter().all(|&(_, kind, codes)| {
                bits::map_of(kind).is_some_and(|map| bits::is_subset(map_in_id(kind).at(id), map.at(made), codes))
            })
    }
}
/// `bool input_match_device_id(const struct input_dev *, const struct input_device_id *)`
extern "C" fn input_match_device_id(made: u64, id: u64) -> bool {
    fits(id, made)
}

/// The id of a handler's table that a device fits and that the handler itself wants.
fn find_id(handler: u64, made: u64) -> Option<u64> {
    // SAFETY: the handler's table ends with an id of zeros; its function takes the handler and a device.
    unsafe {
        let mut id: u64 = input_handler::id_table.get(handler);
        let asks: u64 = input_handler::match_.get(handler);
        while input_device_id::flags.get::<u64>(id) != 0 || input_device_id::driver_info.get::<u64>(id) != 0 {
            if fits(id, made) && (asks == 0 || ram::call(asks, [handler, made]) & 0xff != 0) {
                return Some(id);
            }
            id += input_device_id::SIZE.get();
        }
        None
    }
}

/// Offers a device to a handler.
fn attach(made: u64, handler: u64) {
    let Some(id) = find_id(handler, made) else { return };
    // SAFETY: a registered handler and its functions.
    unsafe {
        let result = ram::call(input_handler::connect.get(handler), [handler, made, id]) as i32;
        if result != 0 && result != Errno::ENODEV.to_return() {
            let name = ram::c_string_or_empty(input_handler::name.get(handler));
            let text = alloc::format!(
                "\x013input: failed to attach handler {} to device {}, error: {result}\n",
                name.to_str_lossy(),
                device::name(input_dev::dev.at(made))
            );
            kernel().printk(text.as_bytes());
        }
    }
}

/// A device came: it is offered to every handler.
pub(super) fn arrived(made: u64) {
    for handler in HANDLERS.objects() {
        attach(made, handler);
    }
}

/// Takes a handle from its handler.
///
/// # Safety
/// A registered handle.
unsafe fn disconnect(handle: u64) {
    // SAFETY: the caller vouches for the handle, its handler for the function.
    unsafe { ram::call(input_handler::disconnect.get(input_handle::handler.get::<u64>(handle)), [handle]) };
}

/// A device goes: nobody listens to it any more.
pub(super) fn leaves(made: u64) {
    // SAFETY: a registered device, whose handles are taken away one by one.
    for handle in unsafe { of_device(made) } {
        // SAFETY: as above.
        unsafe { disconnect(handle) };
    }
}

/// `int input_register_handler(struct input_handler *)`
extern "C" fn input_register_handler(handler: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's handler.
    unsafe {
        let ways = [&input_handler::filter, &input_handler::events, &input_handler::event];
        if says_what_is_left() && ways.iter().filter(|way| way.get::<u64>(handler) != 0).count() > 1 {
            let name = ram::c_string_or_empty(input_handler::name.get(handler));
            let text = alloc::format!(
                "\x013input: input_handler_check_methods: only one event processing method can be defined ({})\n",
                name.to_str_lossy()
            );
            kernel().printk(text.as_bytes());
            return Errno::EINVAL.to_return();
        }
        locks::init_list(input_handler::h_list.at(handler));
    }
    with_devices(caller, |devices| {
        let result = HANDLERS.add(handler, caller);
        if result == 0 {
            for &made in devices {
                attach(made, handler);
            }
        }
        result
    })
}
/// `void input_unregister_handler(struct input_handler *)`
extern "C" fn input_unregister_handler(handler: u64) {
    let caller = ram::caller();
    with_devices(caller, |_| {
        // SAFETY: the module's handler and its handles.
        unsafe {
            let nodes: Vec<u64> = waiting::each(input_handler::h_list.at(handler)).collect();
            for node in nodes {
                disconnect(input_handle::h_node.container(node));
            }
        }
        HANDLERS.remove(handler);
    });
}

/// `int input_register_handle(struct input_handle *)`
extern "C" fn input_register_handle(handle: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's handle, its device and its handler.
    unsafe {
        let (made, handler): (u64, u64) = (input_handle::dev.get(handle), input_handle::handler.get(handle));
        let (node, list) = (input_handle::d_node.at(handle), input_dev::h_list.at(made));
        let is_filter = input_handler::filter.get::<u64>(handler) != 0;
        with_mutex(made, caller, || {
            if is_filter { waiting::link_first(node, list) } else { waiting::link_last(node, list) }
        });
        waiting::link_last(input_handle::h_node.at(handle), input_handler::h_list.at(handler));
        // It is a bug of the module's to register one twice, which its lists show.
        let _ = kernel().registrations.add(KIND, handle, handle_name(handle), kernel().owner_of(caller));
        let start: u64 = input_handler::start.get(handler);
        if start != 0 {
            ram::call(start, [handle]);
        }
    }
    0
}
/// `void input_unregister_handle(struct input_handle *)`
extern "C" fn input_unregister_handle(handle: u64) {
    let caller = ram::caller();
    // SAFETY: the module's handle, which is registered.
    unsafe {
        waiting::unlink(input_handle::h_node.at(handle));
        with_mutex(input_handle::dev.get(handle), caller, || waiting::unlink(input_handle::d_node.at(handle)));
    }
    // Another CPU may be giving it events.
    rcu::wait_for_readers();
    kernel().registrations.remove(KIND, handle);
}
/// `int input_handler_for_each_handle(struct input_handler *, void *data, int (*fn)(struct input_handle *, void *))`
extern "C" fn input_handler_for_each_handle(handler: u64, data: u64, function: u64) -> i32 {
    // SAFETY: the module's handler and function.
    unsafe {
        for node in waiting::each(input_handler::h_list.at(handler)) {
            let result = ram::call(function, [input_handle::h_node.container(node), data]) as i32;
            if result != 0 {
                return result;
            }
        }
    }
    0
}

/// The device is no longer one handle's alone; with the device's mutex held.
///
/// # Safety
/// A registered handle and its device.
unsafe fn release(handle: u64, made: u64) {
    // SAFETY: the caller vouches for both, handlers for their functions.
    unsafe {
        if input_dev::grab.get::<u64>(made) != handle {
            return;
        }
        input_dev::grab.set(made, 0u64);
        // Another CPU may be giving events to this one alone.
        rcu::wait_for_readers();
        for other in of_device(made) {
            let start: u64 = input_handler::start.get(input_handle::handler.get::<u64>(other));
            if start != 0 && input_handle::open.get::<i32>(other) != 0 {
                ram::call(start, [other]);
            }
        }
    }
}
/// `int input_grab_device(struct input_handle *)`
extern "C" fn input_grab_device(handle: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's handle and its device.
    unsafe {
        let made: u64 = input_handle::dev.get(handle);
        with_mutex(made, caller, || {
            if input_dev::grab.get::<u64>(made) != 0 {
                return Errno::EBUSY.to_return();
            }
            input_dev::grab.set(made, handle);
            0
        })
    }
}
/// `void input_release_device(struct input_handle *)`
extern "C" fn input_release_device(handle: u64) {
    let caller = ram::caller();
    // SAFETY: the module's handle and its device.
    unsafe {
        let made: u64 = input_handle::dev.get(handle);
        with_mutex(made, caller, || release(handle, made));
    }
}

/// Adds to the number of times a handle or a device is open; what it is then.
///
/// # Safety
/// The field is one of the object's, of 32 bits.
unsafe fn count(field: &Field, object: u64, change: i32) -> i32 {
    // SAFETY: the caller vouches for the object.
    unsafe {
        let now = field.get::<i32>(object).wrapping_add(change);
        field.set(object, now);
        now
    }
}

/// A handle is open once less; when it is not any more, no other CPU is giving it events afterwards.
///
/// # Safety
/// A registered handle.
unsafe fn closed(handle: u64) {
    // SAFETY: the caller vouches for the handle.
    if unsafe { count(&input_handle::open, handle, -1) } == 0 {
        rcu::wait_for_readers();
    }
}

/// `int input_open_device(struct input_handle *)`
extern "C" fn input_open_device(handle: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's handle, its device and its driver's function.
    unsafe {
        let made: u64 = input_handle::dev.get(handle);
        with_mutex(made, caller, || {
            if input_dev::going_away.get::<u8>(made) != 0 {
                return Errno::ENODEV.to_return();
            }
            count(&input_handle::open, handle, 1);
            let users = count(&input_dev::users, made, 1);
            if users > 1 || input_dev::inhibited.get::<u8>(made) != 0 {
                return 0;
            }
            let result = open_device(made);
            if result != 0 {
                count(&input_dev::users, made, -1);
                closed(handle);
            }
            result
        })
    }
}
/// `void input_close_device(struct input_handle *)`
extern "C" fn input_close_device(handle: u64) {
    let caller = ram::caller();
    // SAFETY: as above.
    unsafe {
        let made: u64 = input_handle::dev.get(handle);
        with_mutex(made, caller, || {
            release(handle, made);
            if count(&input_dev::users, made, -1) == 0 && input_dev::inhibited.get::<u8>(made) == 0 {
                close_device(made);
            }
            closed(handle);
        });
    }
}

/// Tells the driver that somebody listens; what it answers.
///
/// # Safety
/// A registered device.
unsafe fn open_device(made: u64) -> i32 {
    // SAFETY: the caller vouches for the device, its driver for the function.
    unsafe {
        let open: u64 = input_dev::open.get(made);
        if open == 0 { 0 } else { ram::call(open, [made]) as i32 }
    }
}

/// Tells the driver that nobody listens.
///
/// # Safety
/// A registered device.
unsafe fn close_device(made: u64) {
    // SAFETY: the caller vouches for the device, its driver for the function.
    unsafe {
        let close: u64 = input_dev::close.get(made);
        if close != 0 {
            ram::call(close, [made]);
        }
    }
}

/// Lets a device say nothing, or again what it sees.
///
/// # Errors
/// What the driver answers.
pub(super) fn inhibit(made: u64, value: bool) -> Result<(), Errno> {
    with_mutex(made, 0, || {
        // SAFETY: a registered device.
        unsafe {
            if (input_dev::inhibited.get::<u8>(made) != 0) == value {
                return Ok(());
            }
            let is_open = input_dev::users.get::<u32>(made) != 0;
            if value {
                if is_open {
                    close_device(made);
                }
                locked(made, || {
                    super::touch::release(made);
                    event::release_keys(made);
                    event::dispatch(made, bits::SYNC, event::REPORT, 1);
                    event::toggle(made, false);
                });
                input_dev::inhibited.set(made, 1u8);
                return Ok(());
            }
            if is_open && let Some(errno) = Errno::from_return(open_device(made).into()) {
                return Err(errno);
            }
            input_dev::inhibited.set(made, 0u8);
            locked(made, || event::toggle(made, true));
            Ok(())
        }
    })
}

/// Nobody can open a device any more, and what was held is released.
pub(super) fn disconnected(made: u64) {
    // SAFETY: a registered device that goes.
    unsafe {
        with_mutex(made, 0, || input_dev::going_away.set(made, 1u8));
        locked(made, || {
            if event::release_keys(made) {
                event::dispatch(made, bits::SYNC, event::REPORT, 1);
            }
            for handle in of_device(made) {
                input_handle::open.set(handle, 0i32);
            }
        });
    }
}

/// `int input_flush_device(struct input_handle *, struct file *)`
extern "C" fn input_flush_device(handle: u64, file: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's handle, its device and its driver's function.
    unsafe {
        let made: u64 = input_handle::dev.get(handle);
        with_mutex(made, caller, || match input_dev::flush.get::<u64>(made) {
            0 => 0,
            flush => ram::call(flush, [made, file]) as i32,
        })
    }
}

/// `int input_get_new_minor(int legacy_base, unsigned int legacy_num, bool allow_dynamic)`
extern "C" fn input_get_new_minor(first: i32, count: u32, dynamic: bool) -> i32 {
    let mut taken = TAKEN.lock();
    let mut take = |mut range: core::ops::Range<u32>| {
        let free = range.find(|minor| !taken.contains(minor))?;
        taken.insert(free);
        Some(free as i32)
    };
    let of_old = u32::try_from(first).ok().and_then(|first| take(first..first.saturating_add(count)));
    let minor = match of_old {
        None if first < 0 || dynamic => take(DYNAMIC..MINORS),
        found => found,
    };
    minor.unwrap_or(Errno::ENOSPC.to_return())
}
/// `void input_free_minor(unsigned int)`
extern "C" fn input_free_minor(minor: u32) {
    TAKEN.lock().remove(&minor);
}

/// `/proc/bus/input/handlers`
pub(crate) fn handlers() -> Vec<u8> {
    let mut out = String::new();
    for (number, handler) in HANDLERS.objects().into_iter().enumerate() {
        // SAFETY: a registered handler and its C string.
        unsafe {
            let name = ram::c_string_or_empty(input_handler::name.get(handler));
            out += &alloc::format!("N: Number={number} Name={}", name.to_str_lossy());
            if input_handler::filter.get::<u64>(handler) != 0 {
                out += " (filter)";
            }
            if input_handler::legacy_minors.get::<u8>(handler) != 0 {
                out += &alloc::format!(" Minor={}", input_handler::minor.get::<i32>(handler));
            }
        }
        out.push('\n');
    }
    out.into_bytes()
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c input_match_device_id, c input_register_handler, c input_unregister_handler, c input_register_handle,
    c input_unregister_handle, c input_handler_for_each_handle, c input_grab_device, c input_release_device,
    c input_open_device, c input_close_device, c input_flush_device, c input_get_new_minor, c input_free_minor,
];
