//! Terminal drivers: their registration, and the devices of their lines. No terminal is ever opened here.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use bstr::ByteSlice;
use ferrmod_kernel::chrdev::Number;
use ferrmod_kernel::text::number;
use ferrmod_kernel::{Errno, kernel};

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::vfs::chrdev;
use crate::{device, locks, ram, slab};

layout! {
    mod tty_driver = "tty_driver" {
        kref, cdevs, owner, driver_name, name, name_base, type_ = "type", subtype, major, minor_start, num, init_termios, flags, ttys, ports, termios, tty_drivers,
    }
    mod tty_port = "tty_port" { mutex, buf_mutex, close_delay, closing_wait, kref, ops }
    mod tty_port_operations = "tty_port_operations" { destruct }
    mod ktermios = "ktermios" { c_cflag, c_ispeed, c_ospeed }
    mod mutex = "mutex" { wait_list }
    mod tty_ldisc_ops = "tty_ldisc_ops" { name, num }
}

/// `struct ktermios tty_std_termios`, of plain numbers.
static STANDARD: Datum = Datum::new("tty_std_termios", 44, Begin::Image);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&STANDARD];

/// `TTY_DRIVER_DYNAMIC_DEV`: lines get their devices one by one, and not with the driver.
const DYNAMIC: u64 = 0x0008;
/// `TTY_DRIVER_UNNUMBERED_NODE`: the one line is called as the driver is.
const UNNUMBERED: u64 = 0x0080;

/// `struct tty_driver *__tty_alloc_driver(unsigned int lines, struct module *, unsigned long flags)`
extern "C" fn __tty_alloc_driver(lines: u32, owner: u64, flags: u64) -> u64 {
    let caller = ram::caller();
    if lines == 0 || (flags & UNNUMBERED != 0 && lines > 1) {
        return Errno::EINVAL.to_pointer();
    }
    let driver = slab::allocate(tty_driver::SIZE.get(), 8, slab::ZERO, caller);
    if driver == 0 {
        return Errno::ENOMEM.to_pointer();
    }
    // SAFETY: a zeroed block of the struct's size.
    unsafe {
        tty_driver::kref.set(driver, 1u32);
        tty_driver::num.set(driver, lines);
        tty_driver::owner.set(driver, owner);
        tty_driver::flags.set(driver, flags);
        locks::init_list(tty_driver::tty_drivers.at(driver));
        for field in [&tty_driver::ttys, &tty_driver::termios, &tty_driver::ports, &tty_driver::cdevs] {
            field.set(driver, slab::allocate(8 * u64::from(lines), 8, slab::ZERO, caller));
        }
        ram::copy(tty_driver::init_termios.at(driver), STANDARD.address(), 44);
    }
    driver
}
/// `void tty_driver_kref_put(struct tty_driver *)`
extern "C" fn tty_driver_kref_put(driver: u64) {
    // SAFETY: the module's driver.
    unsafe {
        let left = tty_driver::kref.get::<u32>(driver).saturating_sub(1);
        tty_driver::kref.set(driver, left);
        if left == 0 {
            for field in [&tty_driver::ttys, &tty_driver::termios, &tty_driver::ports, &tty_driver::cdevs] {
                slab::release(field.get(driver), 0);
            }
            slab::release(driver, 0);
        }
    }
}
/// The major and the first minor number of a driver, and how many there are.
fn numbers_of(driver: u64) -> (u32, u32, u32) {
    // SAFETY: the module's driver.
    unsafe { (tty_driver::major.get(driver), tty_driver::minor_start.get(driver), tty_driver::num.get(driver)) }
}
/// The lines whose devices come and go with their driver.
fn lines_of_driver(driver: u64) -> Range<u32> {
    // SAFETY: the module's driver.
    let is_dynamic = unsafe { tty_driver::flags.get::<u64>(driver) } & DYNAMIC != 0;
    if is_dynamic { 0..0 } else { 0..numbers_of(driver).2 }
}
fn register_driver(driver: u64, caller: u64) -> Result<(), Errno> {
    let (major, minor, count) = numbers_of(driver);
    // SAFETY: the module's driver and its C string.
    let name = unsafe { ram::c_string_or_empty(tty_driver::name.get(driver)) };
    let first = chrdev::reserve_for(major, minor, count, &name, caller)?;
    // SAFETY: the module's driver.
    unsafe {
        tty_driver::major.set(driver, first.major());
        tty_driver::minor_start.set(driver, first.minor());
    }
    for line in lines_of_driver(driver) {
        register_device(driver, line, 0, 0, 0, caller).inspect_err(|_| {
            (0..line).for_each(|line| tty_unregister_device(driver, line));
            chrdev::give_back(first.major(), first.minor(), count);
        })?;
    }
    // Registering one twice fails above.
    let _ = kernel().registrations.add("tty_driver", driver, name, kernel().owner_of(caller));
    Ok(())
}
/// `int tty_register_driver(struct tty_driver *)`
extern "C" fn tty_register_driver(driver: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(register_driver(driver, caller))
}
extern "C" fn tty_unregister_driver(driver: u64) {
    lines_of_driver(driver).for_each(|line| tty_unregister_device(driver, line));
    let (major, minor, count) = numbers_of(driver);
    chrdev::give_back(major, minor, count);
    kernel().registrations.remove("tty_driver", driver);
}
/// `int tty_dev_name_to_number(const char *, dev_t *)`: of a terminal of a driver that is registered.
extern "C" fn tty_dev_name_to_number(name: u64, out: u64) -> i32 {
    // SAFETY: the caller's C string and variable, and registered drivers.
    unsafe {
        let name = ram::c_string(name);
        let digits = name.iter().position(u8::is_ascii_digit).unwrap_or(name.len());
        let (name, index) = name.split_at(digits);
        let index = match number::unsigned_bits(index, 10, i32::BITS - 1) {
            Ok(index) => index as u32,
            Err(errno) => return errno.to_return(),
        };
        for driver in kernel().registrations.of_kind("tty_driver").into_iter().filter(|one| one.name == name) {
            if index < tty_driver::num.get(driver.key) {
                let first = tty_driver::minor_start.get::<u32>(driver.key);
                ram::put(out, Number::new(tty_driver::major.get(driver.key), first + index).0);
                return 0;
            }
        }
    }
    Errno::ENODEV.to_return()
}
/// Speeds in their order (`include/uapi/asm-generic/termbits.h`): those of the first 16 bit patterns, and those with `CBAUDEX`.
const SPEEDS: [u32; 16] = [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400];
const HIGH_SPEEDS: [u32; 15] = [
    57600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000, 2_500_000,
    3_000_000, 3_500_000, 4_000_000,
];
/// `CBAUD`, `BOTHER` and `IBSHIFT` of `c_cflag`.
const SPEED_BITS: u32 = 0o10017;
const OTHER: u32 = 0o10000;
const INPUT: u32 = 16;

/// The bit pattern of a speed, which may be wrong by `fuzz`.
fn speed_bits(speed: u32, fuzz: u32) -> Option<u32> {
    let is_near = |&other: &u32| speed.abs_diff(other) <= fuzz;
    let low = SPEEDS.iter().position(is_near).map(|place| place as u32);
    low.or_else(|| HIGH_SPEEDS.iter().position(is_near).map(|place| OTHER + 1 + place as u32))
}
/// `void tty_termios_encode_baud_rate(struct ktermios *, speed_t input, speed_t output)`
extern "C" fn tty_termios_encode_baud_rate(termios: u64, input: u32, output: u32) {
    // SAFETY: the caller's settings.
    unsafe {
        let before: u32 = ktermios::c_cflag.get(termios);
        // No speed hangs up, in both directions.
        let input = if output == 0 { 0 } else { input };
        ktermios::c_ispeed.set(termios, input);
        ktermios::c_ospeed.set(termios, output);
        // Who asked for an exact speed gets an exact answer, others the next one that has a name.
        let fuzz = |asked: u32, speed: u32| if asked & SPEED_BITS == OTHER { 0 } else { speed / 50 };
        let separate = before >> INPUT & SPEED_BITS != 0 || input != output;
        let mut flags = before & !(SPEED_BITS | SPEED_BITS << INPUT);
        flags |= speed_bits(output, fuzz(before, output)).unwrap_or(OTHER);
        if separate {
            flags |= speed_bits(input, fuzz(before >> INPUT, input)).unwrap_or(OTHER) << INPUT;
        }
        ktermios::c_cflag.set(termios, flags);
    }
}
/// `void tty_port_init(struct tty_port *)`
extern "C" fn tty_port_init(port: u64) {
    /// Half a second, and thirty.
    const DELAY: u32 = 125;
    const WAIT: u32 = 7500;
    // SAFETY: the module's port.
    unsafe {
        ram::fill(port, 0, tty_port::SIZE.get());
        locks::init_list(mutex::wait_list.at(tty_port::mutex.at(port)));
        locks::init_list(mutex::wait_list.at(tty_port::buf_mutex.at(port)));
        tty_port::close_delay.set(port, DELAY);
        tty_port::closing_wait.set(port, WAIT);
        tty_port::kref.set(port, 1u32);
    }
}
extern "C" fn tty_port_destroy() {}
/// `void tty_port_link_device(struct tty_port *, struct tty_driver *, unsigned)`
extern "C" fn tty_port_link_device(port: u64, driver: u64, number: u32) {
    // SAFETY: the driver's array.
    unsafe { ram::put(tty_driver::ports.get::<u64>(driver) + 8 * u64::from(number), port) };
}

/// The class of all of them, made when the first one comes.
fn class() -> Result<u64, Errno> {
    static CLASS: spin::Once<u64> = spin::Once::new();
    let class = *CLASS.call_once(|| device::class::own("tty", 0));
    if class == 0 { Err(Errno::ENOMEM) } else { Ok(class) }
}

/// The number of a line's device; `None` when the driver has no such line.
fn number_of(driver: u64, line: u32) -> Option<Number> {
    // SAFETY: the caller's driver.
    unsafe {
        let first = tty_driver::minor_start.get::<u32>(driver);
        (line < tty_driver::num.get(driver)).then(|| Number::new(tty_driver::major.get(driver), first + line))
    }
}

/// Makes the device of a line.
///
/// # Errors
/// `EINVAL` when the driver has no such line, `EEXIST` when it has a device, `ENOMEM`.
fn register_device(driver: u64, line: u32, parent: u64, data: u64, groups: u64, caller: u64) -> Result<u64, Errno> {
    let Some(number) = number_of(driver, line) else {
        // SAFETY: the caller's driver and its C string.
        let name = unsafe { ram::c_string_or_empty(tty_driver::name.get(driver)) };
        let text =
            alloc::format!("\x013{}: Attempt to register invalid tty line number ({line})\n", name.to_str_lossy());
        kernel().printk(text.as_bytes());
        return Err(Errno::EINVAL);
    };
    // SAFETY: as above.
    let name = unsafe {
        let mut name = ram::c_string_or_empty(tty_driver::name.get(driver));
        if tty_driver::flags.get::<u64>(driver) & UNNUMBERED == 0 {
            let shown = i64::from(tty_driver::name_base.get::<i32>(driver)) + i64::from(line);
            name.extend_from_slice(alloc::format!("{shown}").as_bytes());
        }
        name
    };
    device::create(class()?, parent, number.0, data, groups, &name, caller)
}
/// `struct device *tty_register_device(struct tty_driver *, unsigned index, struct device *)`
extern "C" fn tty_register_device(driver: u64, line: u32, parent: u64) -> u64 {
    let caller = ram::caller();
    register_device(driver, line, parent, 0, 0, caller).unwrap_or_else(Errno::to_pointer)
}
/// `struct device *tty_register_device_attr(struct tty_driver *, unsigned, struct device *, void *, const struct attribute_group **)`
extern "C" fn tty_register_device_attr(driver: u64, line: u32, parent: u64, data: u64, groups: u64) -> u64 {
    let caller = ram::caller();
    register_device(driver, line, parent, data, groups, caller).unwrap_or_else(Errno::to_pointer)
}
/// `struct device *tty_port_register_device(struct tty_port *, struct tty_driver *, unsigned, struct device *)`
extern "C" fn tty_port_register_device(port: u64, driver: u64, line: u32, parent: u64) -> u64 {
    tty_port_register_device_attr(port, driver, line, parent, 0, 0)
}
/// The same with data and attributes.
extern "C" fn tty_port_register_device_attr(
    port: u64,
    driver: u64,
    line: u32,
    parent: u64,
    data: u64,
    groups: u64,
) -> u64 {
    let caller = ram::caller();
    if number_of(driver, line).is_some() {
        tty_port_link_device(port, driver, line);
    }
    register_device(driver, line, parent, data, groups, caller).unwrap_or_else(Errno::to_pointer)
}
/// `void tty_unregister_device(struct tty_driver *, unsigned index)`
extern "C" fn tty_unregister_device(driver: u64, line: u32) {
    if let (Ok(class), Some(number)) = (class(), number_of(driver, line)) {
        device::device_destroy(class, number.0);
    }
}
/// `void tty_port_unregister_device(struct tty_port *, struct tty_driver *, unsigned index)`
extern "C" fn tty_port_unregister_device(_port: u64, driver: u64, line: u32) {
    tty_unregister_device(driver, line);
}
/// `void tty_port_put(struct tty_port *)`: who gives the last reference back has it freed.
extern "C" fn tty_port_put(port: u64) {
    if port == 0 {
        return;
    }
    // SAFETY: the module's port and its function.
    unsafe {
        let left = tty_port::kref.get::<u32>(port).saturating_sub(1);
        tty_port::kref.set(port, left);
        if left != 0 {
            return;
        }
        let ops: u64 = tty_port::ops.get(port);
        let destruct: u64 = if ops == 0 { 0 } else { tty_port_operations::destruct.get(ops) };
        if destruct == 0 {
            slab::release(port, 0);
        } else {
            ram::call(destruct, [port]);
        }
    }
}
/// `struct tty_struct *tty_port_tty_get(struct tty_port *)`: nobody has opened one.
extern "C" fn no_terminal() -> u64 {
    0
}
/// What would be said to the one who has opened a port.
extern "C" fn nobody_hears() {}

/// What a driver's devices are called in `/proc/tty/drivers` (`linux/tty_driver.h`, `TTY_DRIVER_TYPE_*` and their subtypes).
fn kind_of(kind: i16, subtype: i16) -> String {
    let (name, parts): (&str, [&str; 3]) = match kind {
        1 => ("system", [":/dev/tty", ":console", ":vtmaster"]),
        2 => return "console".into(),
        3 => return "serial".into(),
        4 => ("pty", [":master", ":slave", ""]),
        _ => return alloc::format!("type:{kind}.{subtype}"),
    };
    let part = usize::try_from(subtype - 1).ok().and_then(|at| parts.get(at)).copied();
    [name, part.unwrap_or("")].concat()
}

/// `/proc/tty/drivers`
pub(crate) fn drivers() -> Vec<u8> {
    let mut out = String::new();
    for one in kernel().registrations.of_kind("tty_driver") {
        let driver = one.key;
        // SAFETY: a registered driver and its C strings.
        unsafe {
            let name = ram::c_string_or_empty(tty_driver::driver_name.get(driver));
            let name = if name.is_empty() { b"unknown".to_vec() } else { name };
            let device = ram::c_string_or_empty(tty_driver::name.get(driver));
            let (major, first, count): (u32, u32, u32) =
                (tty_driver::major.get(driver), tty_driver::minor_start.get(driver), tty_driver::num.get(driver));
            let kind = kind_of(tty_driver::type_.get(driver), tty_driver::subtype.get(driver));
            out += &alloc::format!("{:<20} /dev/{:<8} {major:3} ", name.to_str_lossy(), device.to_str_lossy());
            out += &match count {
                0 | 1 => alloc::format!("{first:7} "),
                _ => alloc::format!("{first}-{} ", first + count - 1),
            };
            out += &kind;
            out.push('\n');
        }
    }
    out.into_bytes()
}

/// `/proc/tty/ldiscs`: the kernel's own, and those of modules by their numbers.
pub(crate) fn line_disciplines() -> Vec<u8> {
    let mut all: Vec<(i32, Vec<u8>)> = kernel()
        .registrations
        .of_kind("tty_ldisc")
        .into_iter()
        // SAFETY: a registered table and its C string.
        .map(|one| unsafe {
            (tty_ldisc_ops::num.get(one.key), ram::c_string_or_empty(tty_ldisc_ops::name.get(one.key)))
        })
        .collect();
    all.push((0, b"n_tty".to_vec()));
    all.sort();
    all.iter()
        .map(|(number, name)| alloc::format!("{:<10} {number:2}\n", name.to_str_lossy()))
        .collect::<String>()
        .into()
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __tty_alloc_driver, c tty_driver_kref_put, c tty_register_driver, c tty_unregister_driver, c tty_port_init,
    k tty_port_destroy, c tty_port_link_device, c tty_dev_name_to_number, c tty_termios_encode_baud_rate,
    c tty_register_device, c tty_register_device_attr, c tty_port_register_device, c tty_port_register_device_attr,
    c tty_port_register_device_serdev = tty_port_register_device,
    c tty_port_register_device_attr_serdev = tty_port_register_device_attr, c tty_unregister_device, c tty_port_unregister_device,
    c tty_port_put, k tty_port_tty_get = no_terminal, k tty_kref_put = nobody_hears, k tty_port_tty_hangup = nobody_hears, k __tty_port_tty_hangup = nobody_hears,
    k tty_port_tty_vhangup = nobody_hears, k tty_port_tty_wakeup = nobody_hears,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_have_the_bits_of_termbits() {
        // B9600, B115200, B4000000, and a speed without a name.
        for (speed, bits) in [(9600, Some(0o15)), (115_200, Some(0o10002)), (4_000_000, Some(0o10017)), (9700, None)] {
            assert_eq!(speed_bits(speed, 0), bits, "{speed}");
        }
        assert_eq!(speed_bits(9700, 9700 / 50), Some(0o15));
    }
}
