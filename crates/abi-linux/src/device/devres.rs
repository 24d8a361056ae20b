//! What a device's driver need not give back by itself: resources that go when the driver or the device goes.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};
use hashbrown::HashMap;

use crate::export::{Export, exports};
use crate::{printf, ram, slab, symbols};

/// One resource of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    /// Memory at this address that is only freed.
    Memory(u64),
    /// Memory at an address, and a function to call with the device and it.
    Released { at: u64, release: u64 },
    /// Something of the kernel's own to do, by its number.
    Own(u64),
    /// The start of a group, by its name.
    Open(u64),
    /// Its end.
    Close(u64),
}

impl Resource {
    fn at(self) -> Option<u64> {
        match self {
            Self::Memory(at) | Self::Released { at, .. } => Some(at),
            Self::Own(_) | Self::Open(_) | Self::Close(_) => None,
        }
    }
}

/// The resources of each device, oldest first.
static RESOURCES: Lock<Option<HashMap<u64, Vec<Resource>>>> = Lock::new(None);
/// What the kernel does itself when a driver or device goes.
type Action = Box<dyn FnOnce() + Send>;

/// What the kernel does itself: the last number, and the actions.
static OWN: Lock<(u64, BTreeMap<u64, Action>)> = Lock::new((0, BTreeMap::new()));
/// The release functions of resources that no device has yet.
static LOOSE: Lock<Option<HashMap<u64, u64>>> = Lock::new(None);

fn push(dev: u64, resource: Resource) {
    RESOURCES.lock().get_or_insert_default().entry(dev).or_default().push(resource);
}

fn end(dev: u64, resource: Resource) {
    match resource {
        Resource::Memory(at) => slab::release(at, 0),
        Resource::Released { at, release } => {
            if release != 0 {
                // SAFETY: a release function takes the device and the resource.
                unsafe { ram::call(release, [dev, at]) };
            }
            slab::release(at, 0);
        }
        Resource::Own(number) => {
            let action = OWN.lock().1.remove(&number);
            if let Some(action) = action {
                action();
            }
        }
        Resource::Open(_) | Resource::Close(_) => (),
    }
}

/// Does something when the driver or the device goes.
pub(crate) fn on_release(dev: u64, action: impl FnOnce() + Send + 'static) {
    let number = {
        let mut own = OWN.lock();
        own.0 += 1;
        let number = own.0;
        own.1.insert(number, Box::new(action));
        number
    };
    push(dev, Resource::Own(number));
}

/// Releases everything a device has, newest first.
pub(crate) fn release_all(dev: u64) {
    loop {
        let last = RESOURCES.lock().as_mut().and_then(|all| all.get_mut(&dev)?.pop());
        let Some(resource) = last else { break };
        end(dev, resource);
    }
    if let Some(all) = RESOURCES.lock().as_mut() {
        all.remove(&dev);
    }
}

/// Memory that goes with the device; 0 when there is none.
pub(crate) fn allocate(dev: u64, size: u64, flags: u32, caller: u64) -> u64 {
    let at = slab::allocate(size, 8, flags, caller);
    if at != 0 {
        push(dev, Resource::Memory(at));
    }
    at
}

/// Takes the newest resource that `wanted` accepts out of a device's list.
fn take(dev: u64, wanted: impl Fn(Resource) -> bool) -> Option<Resource> {
    let mut all = RESOURCES.lock();
    let list = all.as_mut()?.get_mut(&dev)?;
    let place = list.iter().rposition(|&resource| wanted(resource))?;
    Some(list.remove(place))
}

extern "C" fn devm_kmalloc(dev: u64, size: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    // `ZERO_SIZE_PTR`
    if size == 0 { 16 } else { allocate(dev, size, flags, caller) }
}
extern "C" fn devm_kfree(dev: u64, at: u64) {
    if at <= 16 {
        return;
    }
    match take(dev, |resource| resource == Resource::Memory(at)) {
        Some(resource) => end(dev, resource),
        None => kernel().warn("devm_kfree: not memory of this device", ram::caller()),
    }
}
extern "C" fn devm_krealloc(dev: u64, at: u64, size: u64, flags: u32) -> u64 {
    let new = devm_kmalloc(dev, size, flags);
    if new > 16 && at > 16 {
        let old = kernel().heap.find(at).map_or(0, |found| found.size);
        // SAFETY: both blocks are the caller's.
        unsafe { ram::copy(new, at, old.min(size)) };
        devm_kfree(dev, at);
    }
    new
}
extern "C" fn devm_kmemdup(dev: u64, from: u64, length: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    let at = allocate(dev, length, flags, caller);
    if at != 0 {
        // SAFETY: the caller's bytes and our own block.
        unsafe { ram::copy(at, from, length) };
    }
    at
}
extern "C" fn devm_kstrdup(dev: u64, text: u64, flags: u32) -> u64 {
    if text == 0 {
        return 0;
    }
    // SAFETY: the module's C string.
    let length = unsafe { ram::c_string(text) }.len() as u64;
    devm_kmemdup(dev, text, length + 1, flags)
}
extern "C" fn devm_kvasprintf(dev: u64, flags: u32, format: u64, list: u64) -> u64 {
    let caller = ram::caller();
    let at = printf::duplicate(&printf::text_of(format, list), flags, caller);
    if at != 0 {
        push(dev, Resource::Memory(at));
    }
    at
}

/// `void *__devres_alloc_node(dr_release_t, size_t, gfp_t, int nid, const char *name)`
extern "C" fn __devres_alloc_node(release: u64, size: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    let at = slab::allocate(size.max(1), 8, flags | slab::ZERO, caller);
    if at != 0 {
        LOOSE.lock().get_or_insert_default().insert(at, release);
    }
    at
}
extern "C" fn devres_free(at: u64) {
    if at != 0 {
        if let Some(loose) = LOOSE.lock().as_mut() {
            loose.remove(&at);
        }
        slab::release(at, ram::caller());
    }
}
extern "C" fn devres_add(dev: u64, at: u64) {
    let release = LOOSE.lock().as_mut().and_then(|loose| loose.remove(&at)).unwrap_or(0);
    push(dev, Resource::Released { at, release });
}

/// The newest resource with this release function that `matches(device, resource, data)` accepts.
fn find(dev: u64, release: u64, matches: u64, data: u64) -> Option<Resource> {
    let list = RESOURCES.lock().as_ref()?.get(&dev)?.clone();
    list.into_iter().rev().find(|resource| match *resource {
        Resource::Released { at, release: other } => {
            // SAFETY: the module's function.
            other == release && (matches == 0 || unsafe { ram::call(matches, [dev, at, data]) } as i32 != 0)
        }
        _ => false,
    })
}
extern "C" fn devres_find(dev: u64, release: u64, matches: u64, data: u64) -> u64 {
    find(dev, release, matches, data).and_then(Resource::at).unwrap_or(0)
}
extern "C" fn devres_get(dev: u64, new: u64, matches: u64, data: u64) -> u64 {
    let release = LOOSE.lock().as_ref().and_then(|loose| loose.get(&new).copied()).unwrap_or(0);
    match find(dev, release, matches, data).and_then(Resource::at) {
        Some(at) => {
            devres_free(new);
            at
        }
        None => {
            devres_add(dev, new);
            new
        }
    }
}
extern "C" fn devres_remove(dev: u64, release: u64, matches: u64, data: u64) -> u64 {
    let Some(found) = find(dev, release, matches, data) else { return 0 };
    take(dev, |resource| resource == found);
    if let Resource::Released { at, release } = found {
        LOOSE.lock().get_or_insert_default().insert(at, release);
    }
    found.at().unwrap_or(0)
}
extern "C" fn devres_destroy(dev: u64, release: u64, matches: u64, data: u64) -> i32 {
    match devres_remove(dev, release, matches, data) {
        0 => Errno::ENOENT.to_return(),
        at => {
            devres_free(at);
            0
        }
    }
}
extern "C" fn devres_release(dev: u64, release: u64, matches: u64, data: u64) -> i32 {
    match devres_remove(dev, release, matches, data) {
        0 => Errno::ENOENT.to_return(),
        at => {
            if release != 0 {
                // SAFETY: a release function takes the device and the resource.
                unsafe { ram::call(release, [dev, at]) };
            }
            devres_free(at);
            0
        }
    }
}
extern "C" fn devres_for_each_res(dev: u64, release: u64, matches: u64, match_data: u64, function: u64, data: u64) {
    let list = RESOURCES.lock().as_ref().and_then(|all| all.get(&dev).cloned()).unwrap_or_default();
    for resource in list.into_iter().rev() {
        if let Resource::Released { at, release: other } = resource
            && other == release
        {
            // SAFETY: the module's functions.
            unsafe {
                if matches == 0 || ram::call(matches, [dev, at, match_data]) as i32 != 0 {
                    ram::call(function, [dev, at, data]);
                }
            }
        }
    }
}

/// `void *devres_open_group(struct device *, void *id, gfp_t)`: without a name the group gets one that is no address.
extern "C" fn devres_open_group(dev: u64, id: u64, _flags: u32) -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let id = match id {
        0 if kernel().inject.should_fail() => 0,
        0 => LAST.fetch_add(1, Ordering::Relaxed) + 1,
        id => id,
    };
    if id != 0 {
        push(dev, Resource::Open(id));
    }
    id
}
fn last_open(list: &[Resource]) -> Option<u64> {
    list.iter().rev().find_map(|resource| match *resource {
        Resource::Open(id) if !list.contains(&Resource::Close(id)) => Some(id),
        _ => None,
    })
}
fn group(dev: u64, id: u64) -> Option<u64> {
    if id != 0 {
        return Some(id);
    }
    last_open(RESOURCES.lock().as_ref()?.get(&dev)?)
}
extern "C" fn devres_close_group(dev: u64, id: u64) {
    if let Some(id) = group(dev, id) {
        push(dev, Resource::Close(id));
    }
}
extern "C" fn devres_remove_group(dev: u64, id: u64) {
    if let Some(id) = group(dev, id) {
        take(dev, |resource| resource == Resource::Open(id));
        take(dev, |resource| resource == Resource::Close(id));
    }
}
extern "C" fn devres_release_group(dev: u64, id: u64) -> i32 {
    let Some(id) = group(dev, id) else { return 0 };
    let members = {
        let mut all = RESOURCES.lock();
        let Some(list) = all.as_mut().and_then(|all| all.get_mut(&dev)) else { return 0 };
        let Some(from) = list.iter().position(|&resource| resource == Resource::Open(id)) else { return 0 };
        let to =
            list.iter().position(|&resource| resource == Resource::Close(id)).map_or(list.len(), |close| close + 1);
        list.drain(from..to).collect::<Vec<_>>()
    };
    let count = members.iter().filter(|resource| resource.at().is_some()).count();
    for resource in members.into_iter().rev() {
        end(dev, resource);
    }
    count as i32
}

/// An action is a resource that holds a function and its argument.
extern "C" fn devm_action_release(_dev: u64, at: u64) {
    // SAFETY: the two words that `devm_add_action` stored.
    unsafe { ram::call(ram::get(at), [ram::get(at + 8)]) };
}
fn action_release() -> u64 {
    symbols::address("devm_action_release").unwrap_or(0)
}
/// `int devm_add_action(struct device *, void (*)(void *), void *)`
extern "C" fn devm_add_action(dev: u64, action: u64, data: u64) -> i32 {
    let caller = ram::caller();
    let at = slab::allocate(16, 8, 0, caller);
    if at == 0 {
        return Errno::ENOMEM.to_return();
    }
    // SAFETY: 16 bytes just allocated.
    unsafe {
        ram::put(at, action);
        ram::put(at + 8, data);
    }
    push(dev, Resource::Released { at, release: action_release() });
    0
}
fn take_action(dev: u64, action: u64, data: u64) -> Option<u64> {
    let release = action_release();
    let is = |resource| match resource {
        // SAFETY: the two words of an action.
        Resource::Released { at, release: other } if other == release => unsafe {
            ram::get::<u64>(at) == action && ram::get::<u64>(at + 8) == data
        },
        _ => false,
    };
    let list = RESOURCES.lock().as_ref()?.get(&dev)?.clone();
    let found = list.into_iter().rev().find(|&resource| is(resource))?;
    take(dev, |resource| resource == found)?.at()
}
extern "C" fn devm_remove_action(dev: u64, action: u64, data: u64) {
    match take_action(dev, action, data) {
        Some(at) => slab::release(at, 0),
        None => kernel().warn("devm_remove_action: no such action", ram::caller()),
    }
}
extern "C" fn devm_release_action(dev: u64, action: u64, data: u64) {
    match take_action(dev, action, data) {
        Some(at) => {
            devm_action_release(dev, at);
            slab::release(at, 0);
        }
        None => kernel().warn("devm_release_action: no such action", ram::caller()),
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c devm_kmalloc, c devm_kfree, c devm_krealloc, c devm_kmemdup, c devm_kstrdup, c devm_kstrdup_const = devm_kstrdup,
    v3 devm_kasprintf = devm_kvasprintf, c devm_kvasprintf, c __devres_alloc_node, c devres_free, c devres_add, c devres_find,
    c devres_get, c devres_remove, c devres_destroy, c devres_release, c devres_for_each_res, c devres_open_group,
    c devres_close_group, c devres_remove_group, c devres_release_group, c devm_action_release, c devm_add_action,
    c __devm_add_action = devm_add_action, c devm_remove_action, c devm_release_action,
];
