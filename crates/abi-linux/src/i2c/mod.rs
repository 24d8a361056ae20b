//! The I2C core: adapters, the chips behind them, and the drivers of those.

use alloc::string::String;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, files, kernel};

use crate::data::{Begin, Datum};
use crate::device as devices;
use crate::device::layout::{device, device_type};
use crate::device::{buses, class, devres, object};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{kobject, locks, power, ram, slab, symbols};

pub(crate) mod described;
pub(crate) mod transfer;

layout! {
    pub(crate) mod i2c_adapter = "i2c_adapter" {
        algo, dev, nr, name, lock_ops, timeout, clients = "userspace_clients", clients_lock = "userspace_clients_lock.wait_list",
    }
    pub(crate) mod i2c_client = "i2c_client" { flags, addr, name, adapter, dev, init_irq, irq, detected }
    mod i2c_board_info = "i2c_board_info" { type_ = "type", flags, addr, dev_name, platform_data, fwnode, irq }
    mod i2c_driver = "i2c_driver" { probe, probe_new, remove, driver, id_table }
    mod i2c_device_id = "i2c_device_id" { name, driver_data }
    mod own = "device" { platform_data, fwnode }
}

/// `I2C_NAME_SIZE`
const NAME: u64 = 20;
/// `I2C_CLIENT_TEN`
const TEN_BITS: u16 = 0x10;

/// The types of the two kinds of devices on the bus.
static ADAPTER_TYPE: Datum =
    Datum::new("i2c_adapter_type", 128, Begin::With(|at| begin_type(at, "i2c_adapter_dev_release")));
static CLIENT_TYPE: Datum =
    Datum::new("i2c_client_type", 128, Begin::With(|at| begin_type(at, "i2c_client_dev_release")));
/// How a driver of a multiplexer takes the bus it is on: `struct i2c_lock_operations` has three functions.
static LOCK_OPERATIONS: Datum = Datum::new("i2c_adapter_lock_ops", 24, Begin::With(begin_lock_operations));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&ADAPTER_TYPE, &CLIENT_TYPE, &LOCK_OPERATIONS];

fn begin_type(at: u64, release: &str) {
    // SAFETY: `data::place` gives 128 writable bytes of zeros, more than the struct has.
    unsafe { device_type::release.set(at, symbols::address(release).unwrap_or(0)) };
}
fn begin_lock_operations(at: u64) {
    for (number, name) in
        ["i2c_adapter_lock_bus", "i2c_adapter_trylock_bus", "i2c_adapter_unlock_bus"].iter().enumerate()
    {
        // SAFETY: `data::place` gives 24 writable bytes.
        unsafe { ram::put(at + 8 * number as u64, symbols::address(name).unwrap_or(0)) };
    }
}

/// The adapters: `struct i2c_adapter`, its number, and the mutex of its bus.
static ADAPTERS: Lock<Vec<(u64, i32, u64)>> = Lock::new(Vec::new());

fn mutex_of(adapter: u64) -> u64 {
    ADAPTERS.lock().iter().find(|(other, ..)| *other == adapter).map_or(0, |&(.., mutex)| mutex)
}

/// Takes the bus for one transfer.
pub(crate) fn lock_bus(adapter: u64, caller: u64) {
    let mutex = mutex_of(adapter);
    if mutex != 0 {
        locks::take(mutex, caller);
    }
}
/// Gives it back.
pub(crate) fn unlock_bus(adapter: u64, caller: u64) {
    let mutex = mutex_of(adapter);
    if mutex != 0 {
        locks::give(mutex, caller);
    }
}
extern "C" fn i2c_adapter_lock_bus(adapter: u64) {
    lock_bus(adapter, ram::caller());
}
extern "C" fn i2c_adapter_trylock_bus(adapter: u64) -> i32 {
    match mutex_of(adapter) {
        0 => 1,
        mutex => locks::mutex_try(mutex).into(),
    }
}
extern "C" fn i2c_adapter_unlock_bus(adapter: u64) {
    unlock_bus(adapter, ram::caller());
}

fn of_device(dev: u64) -> u64 {
    i2c_client::dev.container(dev)
}
fn is_client(dev: u64) -> bool {
    // SAFETY: a device.
    dev != 0 && unsafe { devices::layout::device::type_.get::<u64>(dev) } == CLIENT_TYPE.address()
}
fn client_name(client: u64) -> String {
    // SAFETY: a client's array, which ends with a NUL.
    unsafe { ram::c_string(i2c_client::name.at(client)) }.to_str_lossy().into_owned()
}

/// What names the modules that may have a driver for a chip; adapters have none.
pub(crate) fn modalias(dev: u64) -> Option<String> {
    is_client(dev).then(|| alloc::format!("i2c:{}", client_name(of_device(dev))))
}

/// The entry of a driver's table for a client; 0 when there is none.
fn entry_for(table: u64, client: u64) -> u64 {
    if table == 0 || client == 0 {
        return 0;
    }
    let name = client_name(client);
    let mut at = table;
    // SAFETY: the module's table, which ends with an empty name.
    unsafe {
        while ram::get::<u8>(i2c_device_id::name.at(at)) != 0 {
            if ram::c_string(i2c_device_id::name.at(at)) == name.as_bytes() {
                return at;
            }
            at += i2c_device_id::SIZE.get();
        }
    }
    0
}
extern "C" fn i2c_match_id(table: u64, client: u64) -> u64 {
    entry_for(table, client)
}
/// `const struct i2c_device_id *i2c_client_get_device_id(const struct i2c_client *)`
extern "C" fn i2c_client_get_device_id(client: u64) -> u64 {
    // SAFETY: a client that has a driver, as the function's name promises.
    unsafe {
        let driver: u64 = device::driver.get(i2c_client::dev.at(client));
        entry_for(i2c_driver::id_table.get(i2c_driver::driver.container(driver)), client)
    }
}
/// `const void *i2c_get_match_data(const struct i2c_client *)`
extern "C" fn i2c_get_match_data(client: u64) -> u64 {
    match i2c_client_get_device_id(client) {
        0 => 0,
        // SAFETY: an entry of the driver's table.
        entry => unsafe { i2c_device_id::driver_data.get(entry) },
    }
}

extern "C" fn i2c_match(dev: u64, inner: u64) -> i32 {
    if !is_client(dev) {
        return 0;
    }
    // SAFETY: a driver of this bus.
    let table: u64 = unsafe { i2c_driver::id_table.get(i2c_driver::driver.container(inner)) };
    (entry_for(table, of_device(dev)) != 0).into()
}
extern "C" fn i2c_probe(dev: u64) -> i32 {
    if !is_client(dev) {
        return 0;
    }
    let client = of_device(dev);
    // SAFETY: a client that has just been given a driver, and the driver's functions.
    unsafe {
        let driver = i2c_driver::driver.container(device::driver.get(dev));
        i2c_client::irq.set(client, i2c_client::init_irq.get::<i32>(client));
        // Before 6.6 there were two, and the newer one went first.
        let newer: u64 = if i2c_driver::probe_new.offset().is_some() { i2c_driver::probe_new.get(driver) } else { 0 };
        if newer != 0 {
            return ram::call(newer, [client]) as i32;
        }
        match i2c_driver::probe.get::<u64>(driver) {
            0 => Errno::EINVAL.to_return(),
            probe => ram::call(probe, [client, entry_for(i2c_driver::id_table.get(driver), client)]) as i32,
        }
    }
}
extern "C" fn i2c_remove(dev: u64) {
    // SAFETY: a client that has a driver, and the driver's function.
    unsafe {
        let remove: u64 = i2c_driver::remove.get(i2c_driver::driver.container(device::driver.get(dev)));
        if is_client(dev) && remove != 0 {
            ram::call(remove, [of_device(dev)]);
        }
    }
}

extern "C" fn i2c_client_dev_release(dev: u64) {
    slab::release(of_device(dev), 0);
}
/// An adapter belongs to its driver, who waits until nobody refers to it.
extern "C" fn i2c_adapter_dev_release(_dev: u64) {}

/// The clients of an adapter.
fn clients(adapter: u64) -> Vec<u64> {
    let parent = i2c_adapter::dev.at(adapter);
    let all = devices::children(parent).into_iter();
    all.filter(|&dev| is_client(dev)).map(of_device).collect()
}

/// Makes a client of an adapter.
///
/// # Errors
/// `EINVAL` for an address that no chip has, `EBUSY` when it is taken, `ENOMEM`.
fn new_client(adapter: u64, info: &Info, caller: u64) -> Result<u64, Errno> {
    if info.flags & TEN_BITS == 0 && !(1..=0x7f).contains(&info.address) {
        let name = String::from_utf8_lossy(&info.name);
        kernel()
            .printk(alloc::format!("\x013i2c {name}: Invalid 7-bit I2C address {:#04x}\n", info.address).as_bytes());
        return Err(Errno::EINVAL);
    }
    // SAFETY: clients of this adapter.
    let taken = clients(adapter).into_iter().any(|other| unsafe { i2c_client::addr.get::<u16>(other) } == info.address);
    if taken {
        return Err(Errno::EBUSY);
    }
    let client = slab::allocate(i2c_client::SIZE.get(), 8, slab::ZERO, caller);
    if client == 0 {
        return Err(Errno::ENOMEM);
    }
    let dev = i2c_client::dev.at(client);
    let length = info.name.len().min(NAME as usize - 1);
    // SAFETY: a zeroed block of the struct's size; the adapter is registered.
    let number = unsafe {
        ram::bytes_mut(i2c_client::name.at(client), length as u64).copy_from_slice(&info.name[..length]);
        i2c_client::adapter.set(client, adapter);
        i2c_client::flags.set(client, info.flags);
        i2c_client::addr.set(client, info.address);
        i2c_client::init_irq.set(client, info.irq);
        if i2c_client::detected.offset().is_some() {
            locks::init_list(i2c_client::detected.at(client));
        }
        i2c_adapter::nr.get::<i32>(adapter)
    };
    devices::begin(dev);
    // SAFETY: as above.
    unsafe {
        device::parent.set(dev, i2c_adapter::dev.at(adapter));
        device::bus.set(dev, buses::I2C.address());
        device::type_.set(dev, CLIENT_TYPE.address());
        own::platform_data.set(dev, info.platform_data);
        own::fwnode.set(dev, info.fwnode);
    }
    let ten = if info.flags & TEN_BITS != 0 { 0xa000 } else { 0 };
    let name = match &info.device_name {
        Some(name) => alloc::format!("i2c-{name}"),
        None => alloc::format!("{number}-{:04x}", info.address | ten),
    };
    if let Some(id) = info.described {
        devices::described::remember(id, dev);
    }
    let added = kobject::set_name(object(dev), name.as_bytes(), caller).and_then(|()| {
        devices::add_for(dev, caller)?;
        let text = client_name(client) + "\n";
        let path = kobject::path(object(dev)).ok_or(Errno::ENOENT)?;
        kernel().files.add(&alloc::format!("{path}/name"), files::read_only(0o444, move || text.clone().into_bytes()))
    });
    match added {
        Ok(()) => Ok(client),
        Err(errno) => {
            devices::delete(dev);
            kobject::put(object(dev));
            Err(errno)
        }
    }
}

/// What a client is made from.
#[derive(Default)]
struct Info {
    name: Vec<u8>,
    device_name: Option<String>,
    flags: u16,
    address: u16,
    platform_data: u64,
    fwnode: u64,
    irq: i32,
    described: Option<ferrmod_kernel::hardware::DeviceId>,
}

/// Reads a `struct i2c_board_info`.
fn info_of(info: u64) -> Info {
    // SAFETY: the module's description, whose array is terminated unless it is full.
    unsafe {
        let name = ram::bytes(i2c_board_info::type_.at(info), NAME);
        let named: u64 = i2c_board_info::dev_name.get(info);
        Info {
            name: name.split(|&byte| byte == 0).next().unwrap_or_default().to_vec(),
            device_name: (named != 0).then(|| ram::c_string(named).to_str_lossy().into_owned()),
            flags: i2c_board_info::flags.get(info),
            address: i2c_board_info::addr.get(info),
            platform_data: i2c_board_info::platform_data.get(info),
            fwnode: i2c_board_info::fwnode.get(info),
            irq: i2c_board_info::irq.get(info),
            described: None,
        }
    }
}

extern "C" fn i2c_new_client_device(adapter: u64, info: u64) -> u64 {
    let caller = ram::caller();
    new_client(adapter, &info_of(info), caller).unwrap_or_else(Errno::to_pointer)
}
extern "C" fn i2c_unregister_device(client: u64) {
    if client != 0 && Errno::from_pointer(client).is_none() {
        devices::destroy(i2c_client::dev.at(client));
    }
}
fn dummy(adapter: u64, address: u16, caller: u64) -> Result<u64, Errno> {
    new_client(adapter, &Info { name: b"dummy".to_vec(), address, ..Info::default() }, caller)
}
/// `struct i2c_client *i2c_new_dummy_device(struct i2c_adapter *, u16 address)`: holds an address that a driver uses as well.
extern "C" fn i2c_new_dummy_device(adapter: u64, address: u16) -> u64 {
    let caller = ram::caller();
    dummy(adapter, address, caller).unwrap_or_else(Errno::to_pointer)
}
extern "C" fn devm_i2c_new_dummy_device(dev: u64, adapter: u64, address: u16) -> u64 {
    let caller = ram::caller();
    let made = dummy(adapter, address, caller);
    made.inspect(|&client| devres::on_release(dev, move || i2c_unregister_device(client)))
        .unwrap_or_else(Errno::to_pointer)
}
extern "C" fn i2c_verify_client(dev: u64) -> u64 {
    if is_client(dev) { of_device(dev) } else { 0 }
}
extern "C" fn i2c_verify_adapter(dev: u64) -> u64 {
    // SAFETY: a device.
    let is = dev != 0 && unsafe { device::type_.get::<u64>(dev) } == ADAPTER_TYPE.address();
    if is { i2c_adapter::dev.container(dev) } else { 0 }
}
/// `int i2c_for_each_dev(void *data, int (*fn)(struct device *, void *))`
extern "C" fn i2c_for_each_dev(data: u64, function: u64) -> i32 {
    devices::each(devices::bus::devices(buses::I2C.address(), 0), data, function)
}

/// The first number that no adapter has.
fn free_number() -> i32 {
    let adapters = ADAPTERS.lock();
    (0..).find(|number| !adapters.iter().any(|(_, other, _)| other == number)).unwrap_or(0)
}

/// Makes an adapter known under a number.
///
/// # Errors
/// `EINVAL` for one without functions or name, `EBUSY` when the number is taken, `ENOMEM`.
fn add_adapter(adapter: u64, number: i32, caller: u64) -> Result<(), Errno> {
    // SAFETY: the caller's adapter.
    let (name, algorithm) = unsafe {
        let name = ram::bytes(i2c_adapter::name.at(adapter), 48);
        (
            name.split(|&byte| byte == 0).next().unwrap_or_default().to_str_lossy().into_owned(),
            i2c_adapter::algo.get::<u64>(adapter),
        )
    };
    if name.is_empty() || algorithm == 0 {
        return Err(Errno::EINVAL);
    }
    if ADAPTERS.lock().iter().any(|&(other, taken, _)| taken == number || other == adapter) {
        return Err(Errno::EBUSY);
    }
    let mutex = slab::allocate(devices::layout::mutex::SIZE.get(), 8, slab::ZERO, caller);
    if mutex == 0 {
        return Err(Errno::ENOMEM);
    }
    let dev = i2c_adapter::dev.at(adapter);
    // SAFETY: the caller's adapter, and our own block.
    unsafe {
        locks::init_list(devices::layout::mutex::wait_list.at(mutex));
        i2c_adapter::nr.set(adapter, number);
        if i2c_adapter::lock_ops.get::<u64>(adapter) == 0 {
            i2c_adapter::lock_ops.set(adapter, LOCK_OPERATIONS.address());
        }
        if i2c_adapter::timeout.get::<i32>(adapter) == 0 {
            // One second of a kernel whose clock ticks 250 times in it.
            i2c_adapter::timeout.set(adapter, 250_i32);
        }
        locks::init_list(i2c_adapter::clients.at(adapter));
        locks::init_list(i2c_adapter::clients_lock.at(adapter));
        device::bus.set(dev, buses::I2C.address());
        device::type_.set(dev, ADAPTER_TYPE.address());
    }
    ADAPTERS.lock().push((adapter, number, mutex));
    devices::begin(dev);
    power::pm_runtime_enable(dev);
    let added = kobject::set_name(object(dev), alloc::format!("i2c-{number}").as_bytes(), caller)
        .and_then(|()| devices::add_for(dev, caller))
        .and_then(|()| show_adapter(adapter, dev, name));
    if added.is_ok() {
        class::class_compat_create_link(old_class(), dev, 0);
    }
    added.inspect_err(|_| {
        devices::delete(dev);
        kobject::put(object(dev));
        forget_adapter(adapter);
    })
}

/// `/sys/class/i2c-adapter`, where adapters were before they were on the bus.
fn old_class() -> u64 {
    static CLASS: spin::Once<u64> = spin::Once::new();
    *CLASS.call_once(|| class::compat(b"i2c-adapter", 0))
}

fn forget_adapter(adapter: u64) {
    let mutex = {
        let mut adapters = ADAPTERS.lock();
        let place = adapters.iter().position(|(other, ..)| *other == adapter);
        place.map(|place| adapters.remove(place).2)
    };
    if let Some(mutex) = mutex {
        slab::release(mutex, 0);
    }
}

/// The files of an adapter: its name, and those that make and remove chips by hand.
fn show_adapter(adapter: u64, dev: u64, name: String) -> Result<(), Errno> {
    let path = kobject::path(object(dev)).ok_or(Errno::ENOENT)?;
    let name = name + "\n";
    let add = |file: &str, node| kernel().files.add(&alloc::format!("{path}/{file}"), node);
    add("name", files::read_only(0o444, move || name.clone().into_bytes()))?;
    let unreadable = || Err(Errno::EACCES);
    let make = move |bytes: &[u8]| {
        let text = bytes.to_str_lossy();
        let mut words = text.split_whitespace();
        let (Some(name), Some(address)) = (words.next(), words.next().and_then(number)) else {
            return Err(Errno::EINVAL);
        };
        let info = Info { name: name.as_bytes().to_vec(), address, ..Info::default() };
        if name.len() >= NAME as usize {
            return Err(Errno::EINVAL);
        }
        new_client(adapter, &info, 0).map(|_| bytes.len())
    };
    add("new_device", files::read_write(0o200, unreadable, make))?;
    let unmake = move |bytes: &[u8]| {
        let address = number(bytes.to_str_lossy().trim()).ok_or(Errno::EINVAL)?;
        // SAFETY: clients of this adapter.
        let at = |client: &u64| unsafe { i2c_client::addr.get::<u16>(*client) } == address;
        let client = clients(adapter).into_iter().find(at).ok_or(Errno::ENOENT)?;
        if devices::described::id_of(i2c_client::dev.at(client)).is_some() {
            // Who described it takes it away.
            return Err(Errno::EBUSY);
        }
        i2c_unregister_device(client);
        Ok(bytes.len())
    };
    add("delete_device", files::read_write(0o200, unreadable, unmake))
}

fn number(text: &str) -> Option<u16> {
    match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn delete_adapter(adapter: u64) {
    if mutex_of(adapter) == 0 {
        return;
    }
    for client in clients(adapter) {
        i2c_unregister_device(client);
    }
    let dev = i2c_adapter::dev.at(adapter);
    class::class_compat_remove_link(old_class(), dev, 0);
    devices::destroy(dev);
    forget_adapter(adapter);
    // SAFETY: the caller's adapter; nobody refers to the device in it any more.
    unsafe { ram::fill(dev, 0, device::SIZE.get()) };
}

extern "C" fn i2c_add_adapter(adapter: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(add_adapter(adapter, free_number(), caller))
}
/// `int i2c_add_numbered_adapter(struct i2c_adapter *)`: -1 stands for any number.
extern "C" fn i2c_add_numbered_adapter(adapter: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the caller's adapter.
    let wanted = match unsafe { i2c_adapter::nr.get::<i32>(adapter) } {
        -1 => free_number(),
        number => number,
    };
    Errno::returned(add_adapter(adapter, wanted, caller))
}
extern "C" fn i2c_del_adapter(adapter: u64) {
    delete_adapter(adapter);
}
extern "C" fn devm_i2c_add_adapter(dev: u64, adapter: u64) -> i32 {
    let caller = ram::caller();
    match add_adapter(adapter, free_number(), caller) {
        Ok(()) => {
            devres::on_release(dev, move || delete_adapter(adapter));
            0
        }
        Err(errno) => errno.to_return(),
    }
}
/// `struct i2c_adapter *i2c_get_adapter(int)`
extern "C" fn i2c_get_adapter(number: i32) -> u64 {
    let found = ADAPTERS.lock().iter().find(|(_, other, _)| *other == number).map_or(0, |&(adapter, ..)| adapter);
    if found != 0 {
        kobject::get(object(i2c_adapter::dev.at(found)));
    }
    found
}
extern "C" fn i2c_put_adapter(adapter: u64) {
    if adapter != 0 {
        kobject::put(object(i2c_adapter::dev.at(adapter)));
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c i2c_adapter_lock_bus, c i2c_adapter_trylock_bus, c i2c_adapter_unlock_bus, c i2c_match_id, c i2c_client_get_device_id,
    c i2c_get_match_data, c i2c_match, c i2c_probe, c i2c_remove, c i2c_client_dev_release, c i2c_adapter_dev_release,
    c i2c_new_client_device, c i2c_unregister_device, c i2c_new_dummy_device, c devm_i2c_new_dummy_device,
    c i2c_verify_client, c i2c_verify_adapter, c i2c_for_each_dev, c i2c_add_adapter, c i2c_add_numbered_adapter,
    c i2c_del_adapter, c devm_i2c_add_adapter, c i2c_get_adapter, c i2c_put_adapter,
];
