//! Register maps: a device's registers behind one interface, with a cache.
//!
//! Drivers know a map by its address alone; the block there is the map's mutex, and everything else is kept here.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ferrmod_kernel::Errno;
use ferrmod_kernel::lock::Lock;

use crate::device::devres;
use crate::device::layout::mutex;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::i2c::{i2c_client, transfer};
use crate::{locks, ram, slab};

layout! {
    mod regmap_config = "regmap_config" {
        reg_bits, val_bits, writeable_reg, readable_reg, volatile_reg, wr_table, rd_table, volatile_table, reg_read,
        reg_write, max_register, reg_defaults, num_reg_defaults, cache_type, reg_format_endian, val_format_endian,
    }
    mod regmap_bus = "regmap_bus" { reg_read, reg_write, read, write }
    mod access_table = "regmap_access_table" { yes_ranges, n_yes_ranges, no_ranges, n_no_ranges }
    mod reg_default = "reg_default" { reg, def }
    mod reg_sequence = "reg_sequence" { reg, def }
}

/// `REGMAP_ENDIAN_LITTLE`; everything else is big-endian on a bus, unless it is the processor's own.
const LITTLE: u32 = 2;
const NATIVE: u32 = 3;

/// How registers are reached.
#[derive(Clone, Copy)]
enum Way {
    /// A chip on an I2C bus.
    I2c(u64),
    /// Functions for one register, with their first argument.
    Registers { read: u64, write: u64, context: u64 },
    /// Functions for bytes, with their first argument.
    Bytes { read: u64, write: u64, context: u64 },
}

/// Which registers something holds for.
#[derive(Clone, Default)]
struct Rule {
    function: u64,
    /// First and last of the ranges it holds for, and of those it does not, when there is a table.
    table: Option<[Vec<(u32, u32)>; 2]>,
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Safety
    /// A `struct regmap_access_table` is at `table`, unless that is 0.
    unsafe fn of(function: u64, table: u64) -> Self {
        // The caller vouches for the table and its arrays of pairs.
        let ranges = |array: u64, count: u32| {
            let pair = |at| {
                // SAFETY: as said above.
                unsafe { (ram::get(at), ram::get(at + 4)) }
            };
            (0..u64::from(count)).map(|number| pair(array + 8 * number)).collect()
        };
        let table = (table != 0).then(|| {
            // SAFETY: as above.
            unsafe {
                [
                    ranges(access_table::yes_ranges.get(table), access_table::n_yes_ranges.get(table)),
                    ranges(access_table::no_ranges.get(table), access_table::n_no_ranges.get(table)),
                ]
            }
        });
        Self { function, table }
    }

    /// What the rule says of a register; `None` when there is none.
    fn says(&self, dev: u64, register: u32) -> Option<bool> {
        if self.function != 0 {
            // SAFETY: the driver's function.
            return Some(unsafe { ram::call(self.function, [dev, register.into()]) } as u8 != 0);
        }
        let [yes, no] = self.table.as_ref()?;
        let within = |ranges: &[(u32, u32)]| ranges.iter().any(|&(first, last)| (first..=last).contains(&register));
        Some(!within(no) && (yes.is_empty() || within(yes)))
    }
}

/// What the cache knows.
#[derive(Default)]
struct Cache {
    values: BTreeMap<u32, u32>,
    only: bool,
    dirty: bool,
    bypass: bool,
}

struct Map {
    dev: u64,
    way: Way,
    register_bytes: usize,
    value_bytes: usize,
    register_little: bool,
    value_little: bool,
    last: u32,
    writeable: Rule,
    readable: Rule,
    volatile: Rule,
    cached: bool,
    defaults: BTreeMap<u32, u32>,
    cache: Lock<Cache>,
}

static MAPS: Lock<BTreeMap<u64, Arc<Map>>> = Lock::new(BTreeMap::new());

fn map_at(at: u64) -> Option<Arc<Map>> {
    MAPS.lock().get(&at).cloned()
}

/// A number as `width` bytes on the bus.
fn to_bytes(value: u32, width: usize, little: bool) -> Vec<u8> {
    let mut bytes = value.to_le_bytes()[..width.min(4)].to_vec();
    if !little {
        bytes.reverse();
    }
    bytes
}
fn from_bytes(bytes: &[u8], little: bool) -> u32 {
    let add = |value: u32, byte: &u8| value << 8 | u32::from(*byte);
    if little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
}

impl Map {
    fn in_range(&self, register: u32) -> bool {
        self.last == 0 || register <= self.last
    }
    fn is_readable(&self, register: u32) -> bool {
        self.in_range(register) && self.readable.says(self.dev, register).unwrap_or(true)
    }
    fn is_writeable(&self, register: u32) -> bool {
        self.in_range(register) && self.writeable.says(self.dev, register).unwrap_or(true)
    }
    fn is_volatile(&self, register: u32) -> bool {
        self.is_readable(register) && self.volatile.says(self.dev, register).unwrap_or(!self.cached)
    }

    /// Bytes from the bus, from a register on.
    fn fetch(&self, register: u32, length: usize) -> Result<Vec<u8>, Errno> {
        let number = to_bytes(register, self.register_bytes, self.register_little);
        let block = Block::take(number.len() + length)?;
        let into = block.0 + number.len() as u64;
        // SAFETY: our own block; the driver's function.
        unsafe {
            ram::bytes_mut(block.0, number.len() as u64).copy_from_slice(&number);
            match self.way {
                Way::I2c(client) => transfer::write_then_read(client, block.0, number.len(), into, length)?,
                Way::Bytes { read, context, .. } => {
                    Errno::result(ram::call(read, [context, block.0, number.len() as u64, into, length as u64]) as i32)?
                }
                Way::Registers { .. } => return Err(Errno::EOPNOTSUPP),
            }
            Ok(ram::bytes(into, length as u64).to_vec())
        }
    }

    /// Bytes to the bus.
    fn send(&self, register: u32, value: &[u8]) -> Result<(), Errno> {
        let bytes = [&to_bytes(register, self.register_bytes, self.register_little)[..], value].concat();
        let block = Block::take(bytes.len())?;
        // SAFETY: our own block; the driver's function.
        unsafe {
            ram::bytes_mut(block.0, bytes.len() as u64).copy_from_slice(&bytes);
            match self.way {
                Way::I2c(client) => transfer::write(client, block.0, bytes.len()),
                Way::Bytes { write, context, .. } => {
                    Errno::result(ram::call(write, [context, block.0, bytes.len() as u64]) as i32)
                }
                Way::Registers { .. } => Err(Errno::EOPNOTSUPP),
            }
        }
    }

    fn bus_read(&self, register: u32) -> Result<u32, Errno> {
        match self.way {
            Way::Registers { read, context, .. } => {
                let block = Block::take(4)?;
                // SAFETY: the driver's function, which stores a number.
                unsafe {
                    Errno::result(ram::call(read, [context, register.into(), block.0]) as i32)?;
                    Ok(ram::get(block.0))
                }
            }
            Way::I2c(client) if self.register_bytes == 1 && !transfer::takes_messages(client) => {
                let value = transfer::read_register(client, register as u8, self.value_bytes)?;
                let bytes = value.to_le_bytes();
                Ok(from_bytes(&bytes[..self.value_bytes.min(2)], self.value_little))
            }
            _ => self.fetch(register, self.value_bytes).map(|bytes| from_bytes(&bytes, self.value_little)),
        }
    }

    fn bus_write(&self, register: u32, value: u32) -> Result<(), Errno> {
        match self.way {
            Way::Registers { write, context, .. } => {
                // SAFETY: the driver's function.
                Errno::result(unsafe { ram::call(write, [context, register.into(), value.into()]) } as i32)
            }
            Way::I2c(client) if self.register_bytes == 1 && !transfer::takes_messages(client) => {
                let bytes = to_bytes(value, self.value_bytes, self.value_little);
                let value = from_bytes(&bytes, true) as u16;
                transfer::write_register(client, register as u8, self.value_bytes, value)
            }
            _ => self.send(register, &to_bytes(value, self.value_bytes, self.value_little)),
        }
    }

    /// What the cache may know of a register: nothing when it is volatile.
    fn remembers(&self, register: u32) -> bool {
        self.cached && !self.is_volatile(register) && !self.cache.lock().bypass
    }

    fn read(&self, register: u32) -> Result<u32, Errno> {
        let remembers = self.remembers(register);
        if remembers && let Some(&value) = self.cache.lock().values.get(&register) {
            return Ok(value);
        }
        if self.cache.lock().only {
            return Err(Errno::EBUSY);
        }
        if !self.is_readable(register) {
            return Err(Errno::EIO);
        }
        let value = self.bus_read(register)?;
        if remembers {
            self.cache.lock().values.insert(register, value);
        }
        Ok(value)
    }

    fn write(&self, register: u32, value: u32) -> Result<(), Errno> {
        if !self.is_writeable(register) {
            return Err(Errno::EIO);
        }
        let remembers = self.remembers(register);
        {
            let mut cache = self.cache.lock();
            if remembers {
                cache.values.insert(register, value);
            }
            if cache.only && !cache.bypass {
                cache.dirty = true;
                return Ok(());
            }
        }
        self.bus_write(register, value)
    }

    fn update(&self, register: u32, mask: u32, value: u32, force: bool) -> Result<bool, Errno> {
        let before = self.read(register)?;
        let after = before & !mask | value & mask;
        if force || after != before {
            self.write(register, after)?;
        }
        Ok(after != before)
    }

    /// Writes what the device may have lost.
    fn synchronise(&self) -> Result<(), Errno> {
        let values = {
            let mut cache = self.cache.lock();
            if !core::mem::take(&mut cache.dirty) {
                return Ok(());
            }
            cache.values.clone()
        };
        for (register, value) in values {
            let lost = self.is_writeable(register) && !self.is_volatile(register);
            if lost && self.defaults.get(&register) != Some(&value) {
                self.bus_write(register, value).inspect_err(|_| self.cache.lock().dirty = true)?;
            }
        }
        Ok(())
    }
}

/// Memory for the time of one call.
struct Block(u64);

impl Block {
    fn take(length: usize) -> Result<Self, Errno> {
        match slab::allocate(length.max(1) as u64, 8, slab::ZERO, 0) {
            0 => Err(Errno::ENOMEM),
            at => Ok(Self(at)),
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        slab::release(self.0, 0);
    }
}

/// Makes a map.
///
/// # Safety
/// A `struct regmap_config` is at `config`.
unsafe fn make(dev: u64, way: Option<Way>, context: u64, config: u64, caller: u64) -> Result<u64, Errno> {
    if config == 0 {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller vouches for the description.
    let map = unsafe {
        let (read, write): (u64, u64) = (regmap_config::reg_read.get(config), regmap_config::reg_write.get(config));
        let way = match way {
            Some(way) => way,
            None if read != 0 || write != 0 => Way::Registers { read, write, context },
            None => return Err(Errno::EINVAL),
        };
        let bytes = |bits: i32| (1..=32).contains(&bits).then_some(bits.cast_unsigned().div_ceil(8) as usize);
        let little = |endian: u32| endian == LITTLE || endian == NATIVE;
        let count: u32 = regmap_config::num_reg_defaults.get(config);
        let first: u64 = regmap_config::reg_defaults.get(config);
        let defaults: BTreeMap<u32, u32> = (0..u64::from(if first == 0 { 0 } else { count }))
            .map(|number| first + number * reg_default::SIZE.get())
            .map(|at| (reg_default::reg.get(at), reg_default::def.get(at)))
            .collect();
        let cached = regmap_config::cache_type.get::<u32>(config) != 0;
        let rule = |function: &crate::field::Field, table: &crate::field::Field| {
            Rule::of(function.get(config), table.get(config))
        };
        Map {
            dev,
            way,
            register_bytes: bytes(regmap_config::reg_bits.get(config)).ok_or(Errno::EINVAL)?,
            value_bytes: bytes(regmap_config::val_bits.get(config)).ok_or(Errno::EINVAL)?,
            register_little: little(regmap_config::reg_format_endian.get(config)),
            value_little: little(regmap_config::val_format_endian.get(config)),
            last: regmap_config::max_register.get(config),
            writeable: rule(&regmap_config::writeable_reg, &regmap_config::wr_table),
            readable: rule(&regmap_config::readable_reg, &regmap_config::rd_table),
            volatile: rule(&regmap_config::volatile_reg, &regmap_config::volatile_table),
            cached,
            cache: Lock::new(Cache {
                values: if cached { defaults.clone() } else { BTreeMap::new() },
                ..Cache::default()
            }),
            defaults,
        }
    };
    let at = slab::allocate(mutex::SIZE.get(), 8, slab::ZERO, caller);
    if at == 0 {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: a zeroed block of the struct's size.
    unsafe { locks::init_list(mutex::wait_list.at(at)) };
    MAPS.lock().insert(at, Arc::new(map));
    Ok(at)
}

fn end(at: u64) {
    if MAPS.lock().remove(&at).is_some() {
        slab::release(at, 0);
    }
}
fn managed(dev: u64, made: Result<u64, Errno>) -> u64 {
    made.inspect(|&at| devres::on_release(dev, move || end(at))).unwrap_or_else(Errno::to_pointer)
}

/// `struct regmap *__devm_regmap_init_i2c(struct i2c_client *, const struct regmap_config *, key, const char *)`
extern "C" fn __devm_regmap_init_i2c(client: u64, config: u64) -> u64 {
    let caller = ram::caller();
    let dev = i2c_client::dev.at(client);
    // SAFETY: the driver's description.
    managed(dev, unsafe { make(dev, Some(Way::I2c(client)), 0, config, caller) })
}
extern "C" fn __regmap_init_i2c(client: u64, config: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the driver's description.
    unsafe { make(i2c_client::dev.at(client), Some(Way::I2c(client)), 0, config, caller) }
        .unwrap_or_else(Errno::to_pointer)
}
/// How a `struct regmap_bus` reaches registers.
fn way_of(bus: u64, context: u64) -> Option<Way> {
    if bus == 0 {
        return None;
    }
    // SAFETY: the driver's bus.
    unsafe {
        let (read, write): (u64, u64) = (regmap_bus::reg_read.get(bus), regmap_bus::reg_write.get(bus));
        Some(if read != 0 || write != 0 {
            Way::Registers { read, write, context }
        } else {
            Way::Bytes { read: regmap_bus::read.get(bus), write: regmap_bus::write.get(bus), context }
        })
    }
}
/// `struct regmap *__devm_regmap_init(struct device *, const struct regmap_bus *, void *, const struct regmap_config *, ...)`
extern "C" fn __devm_regmap_init(dev: u64, bus: u64, context: u64, config: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the driver's description.
    managed(dev, unsafe { make(dev, way_of(bus, context), context, config, caller) })
}
extern "C" fn __regmap_init(dev: u64, bus: u64, context: u64, config: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the driver's description.
    unsafe { make(dev, way_of(bus, context), context, config, caller) }.unwrap_or_else(Errno::to_pointer)
}
extern "C" fn regmap_exit(at: u64) {
    end(at);
}

/// Uses a map with its mutex taken; an error as C returns it.
fn locked<T>(at: u64, caller: u64, use_it: impl FnOnce(&Map) -> Result<T, Errno>) -> Result<T, Errno> {
    let map = map_at(at).ok_or(Errno::EINVAL)?;
    locks::take(at, caller);
    let result = use_it(&map);
    locks::give(at, caller);
    result
}
extern "C" fn regmap_read(at: u64, register: u32, into: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the caller's variable.
    Errno::returned(locked(at, caller, |map| map.read(register)).map(|value| unsafe { ram::put(into, value) }))
}
extern "C" fn regmap_write(at: u64, register: u32, value: u32) -> i32 {
    let caller = ram::caller();
    Errno::returned(locked(at, caller, |map| map.write(register, value)))
}
/// `int regmap_update_bits_base(struct regmap *, reg, mask, val, bool *change, bool async, bool force)`
extern "C" fn regmap_update_bits_base(
    at: u64,
    register: u32,
    mask: u32,
    value: u32,
    change: u64,
    _later: bool,
    force: bool,
) -> i32 {
    let caller = ram::caller();
    let updated = locked(at, caller, |map| map.update(register, mask, value, force));
    if change != 0 {
        // SAFETY: the caller's variable.
        unsafe { ram::put(change, u8::from(updated == Ok(true))) };
    }
    Errno::returned(updated.map(drop))
}
extern "C" fn regmap_test_bits(at: u64, register: u32, bits: u32) -> i32 {
    let caller = ram::caller();
    locked(at, caller, |map| map.read(register)).map_or_else(Errno::to_return, |value| i32::from(value & bits == bits))
}
/// The size of a value in a driver's array.
fn stride(map: &Map) -> u64 {
    match map.value_bytes {
        1 => 1,
        2 => 2,
        _ => 4,
    }
}
/// `int regmap_bulk_read(struct regmap *, unsigned reg, void *val, size_t count)`: values as the processor has them.
extern "C" fn regmap_bulk_read(at: u64, register: u32, into: u64, count: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(locked(at, caller, |map| {
        let stride = stride(map);
        for number in 0..count {
            let value = map.read(register.wrapping_add(number as u32))?;
            // SAFETY: the caller's array.
            unsafe { ram::bytes_mut(into + number * stride, stride) }
                .copy_from_slice(&value.to_le_bytes()[..stride as usize]);
        }
        Ok(())
    }))
}
extern "C" fn regmap_bulk_write(at: u64, register: u32, from: u64, count: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(locked(at, caller, |map| {
        let stride = stride(map);
        (0..count).try_for_each(|number| {
            // SAFETY: the caller's array.
            let value = from_bytes(unsafe { ram::bytes(from + number * stride, stride) }, true);
            map.write(register.wrapping_add(number as u32), value)
        })
    }))
}
/// `int regmap_raw_read(struct regmap *, unsigned reg, void *val, size_t length)`: bytes as the bus has them.
extern "C" fn regmap_raw_read(at: u64, register: u32, into: u64, length: u64) -> i32 {
    let caller = ram::caller();
    let fetched = locked(at, caller, |map| map.fetch(register, length as usize));
    // SAFETY: the caller's buffer.
    Errno::returned(fetched.map(|bytes| unsafe { ram::bytes_mut(into, length) }.copy_from_slice(&bytes)))
}
extern "C" fn regmap_raw_write(at: u64, register: u32, from: u64, length: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the caller's buffer.
    let bytes = unsafe { ram::bytes(from, length) }.to_vec();
    Errno::returned(locked(at, caller, |map| map.send(register, &bytes)))
}
/// `int regmap_multi_reg_write(struct regmap *, const struct reg_sequence *, int)`
extern "C" fn regmap_multi_reg_write(at: u64, sequence: u64, count: i32) -> i32 {
    let caller = ram::caller();
    Errno::returned(locked(at, caller, |map| {
        (0..count.max(0) as u64).try_for_each(|number| {
            let entry = sequence + number * reg_sequence::SIZE.get();
            // SAFETY: the caller's array.
            unsafe { map.write(reg_sequence::reg.get(entry), reg_sequence::def.get(entry)) }
        })
    }))
}
extern "C" fn regcache_cache_only(at: u64, only: bool) {
    if let Some(map) = map_at(at) {
        map.cache.lock().only = only;
    }
}
extern "C" fn regcache_cache_bypass(at: u64, bypass: bool) {
    if let Some(map) = map_at(at) {
        map.cache.lock().bypass = bypass;
    }
}
extern "C" fn regcache_mark_dirty(at: u64) {
    if let Some(map) = map_at(at) {
        map.cache.lock().dirty = true;
    }
}
extern "C" fn regcache_sync(at: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(locked(at, caller, Map::synchronise))
}
extern "C" fn regmap_get_device(at: u64) -> u64 {
    map_at(at).map_or(0, |map| map.dev)
}
extern "C" fn regmap_get_val_bytes(at: u64) -> i32 {
    map_at(at).map_or(Errno::EINVAL.to_return(), |map| map.value_bytes as i32)
}
extern "C" fn regmap_get_max_register(at: u64) -> i32 {
    map_at(at).filter(|map| map.last != 0).map_or(Errno::EINVAL.to_return(), |map| map.last as i32)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __devm_regmap_init_i2c, c __regmap_init_i2c, c __devm_regmap_init, c __regmap_init, c regmap_exit, c regmap_read,
    c regmap_write, s1 regmap_update_bits_base, c regmap_test_bits, c regmap_bulk_read, c regmap_bulk_write,
    c regmap_raw_read, c regmap_raw_write, c regmap_multi_reg_write, c regcache_cache_only, c regcache_cache_bypass,
    c regcache_mark_dirty, c regcache_sync, c regmap_get_device, c regmap_get_val_bytes, c regmap_get_max_register,
];
