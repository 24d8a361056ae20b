//! Sources of entropy: what modules register as `struct hwrng`, and `/dev/hwrng` that reads from one of them.

use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use crate::data::{Begin, Datum};
use crate::device::devres;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::vfs::{file, file_operations};
use crate::{locks, misc, ram, slab, symbols, user};

layout! {
    mod hwrng = "hwrng" { name, init, cleanup, data_present, data_read, read, quality, list }
}

const KIND: &str = "hwrng";
/// `HWRNG_MINOR`
const MINOR: u32 = 183;
/// `O_NONBLOCK`
const NONBLOCK: u32 = 0o4000;
/// A source is asked for so many bytes at once: a cache line.
const ROOM: u64 = 64;

/// Every source, the one that is used first.
static SOURCES: Lock<Vec<u64>> = Lock::new(Vec::new());

/// The functions of the file.
static FILE: Datum = Datum::new("rng_chrdev_ops", 512, Begin::With(begin));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&FILE];

fn begin(at: u64) {
    let own = |name| symbols::address(name).unwrap_or(0);
    // SAFETY: `data::place` gives 512 writable bytes of zeros, more than the struct has.
    unsafe {
        file_operations::read.set(at, own("rng_dev_read"));
        file_operations::llseek.set(at, own("noop_llseek"));
    }
}

/// Makes `/dev/hwrng`; it is made for the first source and stays.
fn show() -> Result<(), Errno> {
    static SHOWN: spin::Once<Result<(), Errno>> = spin::Once::new();
    *SHOWN.call_once(|| misc::own(MINOR, c"hw_random", c"hwrng", FILE.address()))
}

fn name(rng: u64) -> Vec<u8> {
    // SAFETY: the module's source and its C string.
    unsafe { ram::c_string_or_empty(hwrng::name.get(rng)) }
}

/// Lets a source begin.
fn start(rng: u64) -> Result<(), Errno> {
    // SAFETY: the module's source and its function.
    let result = unsafe {
        match hwrng::init.get::<u64>(rng) {
            0 => 0,
            init => ram::call(init, [rng]) as i32,
        }
    };
    Errno::result(result)
}

fn stop(rng: u64) {
    // SAFETY: the module's source and its function.
    unsafe {
        let cleanup: u64 = hwrng::cleanup.get(rng);
        if cleanup != 0 {
            ram::call(cleanup, [rng]);
        }
    }
}

fn quality(rng: u64) -> u16 {
    // SAFETY: the module's source. Where it says 0, Linux takes it for as good as can be since 6.2, and for the worst before; there is
    // no difference to which of them is used here.
    unsafe { hwrng::quality.get(rng) }
}

/// Registers a source for whoever called from `caller`. It is used when there is none, or none as good.
///
/// # Errors
/// `EINVAL` without a name or a way to read, `EEXIST` when the name is taken, `ENOMEM`, or what its `init` answers.
fn register(rng: u64, caller: u64) -> Result<(), Errno> {
    let name = name(rng);
    // SAFETY: the module's source.
    let can_read = unsafe { hwrng::read.get::<u64>(rng) != 0 || hwrng::data_read.get::<u64>(rng) != 0 };
    if name.is_empty() || !can_read {
        return Err(Errno::EINVAL);
    }
    let sources = SOURCES.lock().clone();
    if sources.iter().any(|&other| self::name(other) == name) {
        return Err(Errno::EEXIST);
    }
    show()?;
    let current = sources.first().copied();
    let is_better = current.is_none_or(|current| quality(rng) > quality(current));
    if is_better {
        start(rng)?;
        if let Some(current) = current {
            stop(current);
        }
    }
    // SAFETY: the module's source.
    unsafe { locks::init_list(hwrng::list.at(rng)) };
    let mut sources = SOURCES.lock();
    let place = if is_better { 0 } else { sources.len() };
    sources.insert(place, rng);
    drop(sources);
    // It was not among the sources, so it is not registered.
    let _ = kernel().registrations.add(KIND, rng, name, kernel().owner_of(caller));
    Ok(())
}

fn unregister(rng: u64) {
    let place = {
        let mut sources = SOURCES.lock();
        let place = sources.iter().position(|&other| other == rng);
        place.inspect(|&place| _ = sources.remove(place))
    };
    let Some(place) = place else { return };
    if place == 0 {
        stop(rng);
        // The next one that begins is used from now on.
        let rest = SOURCES.lock().clone();
        if let Some(next) = rest.iter().position(|&next| start(next).is_ok())
            && let Some(sources) = SOURCES.lock().get_mut(..=next)
        {
            sources.rotate_right(1);
        }
    }
    kernel().registrations.remove(KIND, rng);
}

/// `int hwrng_register(struct hwrng *)`
extern "C" fn hwrng_register(rng: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(register(rng, caller))
}
extern "C" fn hwrng_unregister(rng: u64) {
    unregister(rng);
}
/// `int devm_hwrng_register(struct device *, struct hwrng *)`
extern "C" fn devm_hwrng_register(dev: u64, rng: u64) -> i32 {
    let caller = ram::caller();
    let result = register(rng, caller);
    if result.is_ok() {
        devres::on_release(dev, move || unregister(rng));
    }
    Errno::returned(result)
}
extern "C" fn devm_hwrng_unregister(_dev: u64, rng: u64) {
    unregister(rng);
}

/// Bytes of a source; `wait` until there are some.
fn bytes(rng: u64, buffer: u64, length: u64, wait: bool) -> Result<u64, Errno> {
    // SAFETY: the module's source and its functions, and a buffer of ours that has room for so many.
    let result = unsafe {
        match hwrng::read.get::<u64>(rng) {
            0 => {
                let present: u64 = hwrng::data_present.get(rng);
                if present != 0 && ram::call(present, [rng, wait.into()]) as i32 == 0 {
                    return Ok(0);
                }
                // It writes a `u32`.
                ram::call(hwrng::data_read.get(rng), [rng, buffer]) as i32
            }
            read => ram::call(read, [rng, buffer, length, wait.into()]) as i32,
        }
    };
    match Errno::from_return(result.into()) {
        Some(errno) => Err(errno),
        None => Ok((result as u64).min(length)),
    }
}

/// `ssize_t read(struct file *, char __user *, size_t, loff_t *)` of `/dev/hwrng`
extern "C" fn rng_dev_read(of: u64, to: u64, length: u64, _position: u64) -> i64 {
    // SAFETY: the caller's file.
    let wait = unsafe { file::f_flags.get::<u32>(of) } & NONBLOCK == 0;
    let buffer = slab::allocate(ROOM, 64, slab::ZERO, 0);
    if buffer == 0 {
        return Errno::ENOMEM.to_return().into();
    }
    let mut done = 0;
    let mut ended = None;
    while done < length && ended.is_none() {
        let source = SOURCES.lock().first().copied();
        let room = ROOM.min((length - done).next_multiple_of(4));
        match source.map_or(Err(Errno::ENODEV), |rng| bytes(rng, buffer, room, wait)) {
            Ok(0) if wait => ended = Some(Errno::EIO),
            Ok(0) => ended = Some(Errno::EAGAIN),
            Ok(count) => {
                let count = count.min(length - done);
                if user::_copy_to_user(to + done, buffer, count) == 0 {
                    done += count;
                } else {
                    ended = Some(Errno::EFAULT);
                }
            }
            Err(errno) => ended = Some(errno),
        }
    }
    slab::release(buffer, 0);
    match ended {
        Some(errno) if done == 0 => errno.to_return().into(),
        _ => done as i64,
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] =
    exports![c hwrng_register, c hwrng_unregister, c devm_hwrng_register, c devm_hwrng_unregister, c rng_dev_read];
