//! `/proc/sys`: tables of numbers and texts.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::files::{FileOperations, Node};
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};
use hashbrown::HashMap;

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab, time};

layout! {
    mod ctl_table = "ctl_table" { procname, data, maxlen, mode, child, proc_handler, extra1, extra2 }
    mod ctl_table_header = "ctl_table_header" { ctl_table, ctl_table_arg }
}

const KIND: &str = "sysctl";
const PAGE: u64 = 4096;

/// The small numbers that tables take their limits from.
static VALUES: Datum = Datum::new("sysctl_vals", 64, Begin::Image);
static LONG_VALUES: Datum = Datum::new("sysctl_long_vals", 32, Begin::Image);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&VALUES, &LONG_VALUES];

/// The paths that each header made.
static HEADERS: Lock<Option<HashMap<u64, Vec<String>>>> = Lock::new(None);

struct Entry(u64);

impl Entry {
    /// Calls the handler with a page.
    fn handle(&self, write: bool, page: u64, length: &mut u64, position: &mut u64) -> Result<(), Errno> {
        // SAFETY: the entry of a registered table; a handler takes the entry, the direction, a kernel buffer, its length and
        // the position.
        let result = unsafe {
            let handler: u64 = ctl_table::proc_handler.get(self.0);
            if handler == 0 {
                return Err(Errno::EINVAL);
            }
            ram::call(handler, [self.0, write.into(), page, &raw mut *length as u64, &raw mut *position as u64])
        };
        Errno::result(result as i32)
    }
}

fn with_page<T>(use_it: impl FnOnce(u64) -> Result<T, Errno>) -> Result<T, Errno> {
    let page = slab::allocate(PAGE, PAGE, slab::ZERO, 0);
    if page == 0 {
        return Err(Errno::ENOMEM);
    }
    let result = use_it(page);
    slab::release(page, 0);
    result
}

impl FileOperations for Entry {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        with_page(|page| {
            let (mut out, mut position) = (Vec::new(), 0);
            while out.len() < 1 << 20 {
                let mut length = PAGE;
                self.handle(false, page, &mut length, &mut position)?;
                if length == 0 || length > PAGE {
                    break;
                }
                // SAFETY: the handler has filled this part of our page.
                out.extend_from_slice(unsafe { ram::bytes(page, length) });
            }
            Ok(out)
        })
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        with_page(|page| {
            let mut length = (bytes.len() as u64).min(PAGE - 1);
            let given = length as usize;
            // SAFETY: our own page, whose last byte stays 0.
            unsafe { ram::bytes_mut(page, length).copy_from_slice(&bytes[..given]) };
            let mut position = 0;
            self.handle(true, page, &mut length, &mut position)?;
            Ok(given)
        })
    }
}

/// Adds the entries of a table below `path`; `count` when it is known, else up to the one without a name.
fn add_table(path: &str, table: u64, count: Option<u64>, made: &mut Vec<String>) -> Result<(), Errno> {
    kernel().files.make_directories(path);
    let mut number = 0;
    while count.is_none_or(|count| number < count) {
        let entry = table + number * ctl_table::SIZE.get();
        number += 1;
        // SAFETY: the module's table.
        unsafe {
            let name: u64 = ctl_table::procname.get(entry);
            if name == 0 {
                break;
            }
            let path = alloc::format!("{path}/{}", ram::c_string(name).to_str_lossy());
            let child: u64 = if ctl_table::child.offset().is_some() { ctl_table::child.get(entry) } else { 0 };
            if child != 0 {
                add_table(&path, child, None, made)?;
                continue;
            }
            let mode: u16 = ctl_table::mode.get(entry);
            kernel().files.add(&path, Node::File(mode & 0o777, Arc::new(Entry(entry)))).inspect_err(|_| {
                kernel()
                    .printk(alloc::format!("\x013sysctl duplicate entry: {}\n", &path["/proc/sys".len()..]).as_bytes());
            })?;
            made.push(path);
        }
    }
    Ok(())
}

/// Removes paths, and the directories that are empty then.
fn remove_all(paths: &[String]) {
    for path in paths {
        kernel().files.remove(path);
    }
    for path in paths {
        let mut above = path.rsplit_once('/').map_or("", |(above, _)| above);
        while above.len() > "/proc/sys/xx".len() && !KEPT.contains(&above) {
            if kernel().files.list(above).is_ok_and(|names| names.is_empty()) {
                kernel().files.remove(above);
            }
            above = above.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
}
const KEPT: [&str; 5] = ["/proc/sys/kernel", "/proc/sys/net", "/proc/sys/dev", "/proc/sys/fs", "/proc/sys/vm"];

fn register(path: &str, table: u64, count: Option<u64>, caller: u64) -> u64 {
    let header = slab::allocate(ctl_table_header::SIZE.get(), 8, slab::ZERO, caller);
    if header == 0 {
        return 0;
    }
    let mut made = Vec::new();
    if add_table(path, table, count, &mut made).is_err() {
        remove_all(&made);
        slab::release(header, caller);
        return 0;
    }
    // SAFETY: a zeroed block of the struct's size.
    unsafe {
        ctl_table_header::ctl_table.set(header, table);
        ctl_table_header::ctl_table_arg.set(header, table);
    }
    let first = made.first().map_or(path, String::as_str);
    let shown = first.strip_prefix("/proc/sys/").unwrap_or(first);
    // The header is new.
    let _ = kernel().registrations.add(KIND, header, shown, kernel().owner_of(caller));
    HEADERS.lock().get_or_insert_default().insert(header, made);
    header
}

fn below_sys(path: u64) -> String {
    // SAFETY: the module's C string.
    alloc::format!("/proc/sys/{}", unsafe { ram::c_string_or_empty(path) }.to_str_lossy())
}
extern "C" fn register_sysctl_table(table: u64) -> u64 {
    register("/proc/sys", table, None, ram::caller())
}
extern "C" fn register_sysctl(path: u64, table: u64) -> u64 {
    let caller = ram::caller();
    register(&below_sys(path), table, None, caller)
}
extern "C" fn register_sysctl_sz(path: u64, table: u64, count: u64) -> u64 {
    let caller = ram::caller();
    register(&below_sys(path), table, Some(count), caller)
}
extern "C" fn register_net_sysctl(_net: u64, path: u64, table: u64) -> u64 {
    let caller = ram::caller();
    register(&below_sys(path), table, None, caller)
}
extern "C" fn register_net_sysctl_sz(_net: u64, path: u64, table: u64, count: u64) -> u64 {
    let caller = ram::caller();
    register(&below_sys(path), table, Some(count), caller)
}
extern "C" fn unregister_sysctl_table(header: u64) {
    if header == 0 {
        return;
    }
    let made = HEADERS.lock().as_mut().and_then(|headers| headers.remove(&header)).unwrap_or_default();
    remove_all(&made);
    kernel().registrations.remove(KIND, header);
    slab::release(header, ram::caller());
}

/// A read at a position that was served already gives nothing.
fn is_done(length: u64, position: u64) -> bool {
    // SAFETY: the handler's length and position.
    unsafe {
        let done = ram::get::<u64>(position) != 0 || ram::get::<u64>(length) == 0;
        if done {
            ram::put(length, 0u64);
        }
        done
    }
}

fn give(text: &[u8], buffer: u64, length: u64, position: u64) {
    // SAFETY: the handler's buffer of `*length` bytes.
    unsafe {
        let part = text.len().min(ram::get::<u64>(length) as usize);
        ram::bytes_mut(buffer, part as u64).copy_from_slice(&text[..part]);
        ram::put(length, part as u64);
        ram::put(position, ram::get::<u64>(position) + part as u64);
    }
}

fn text_of<'a>(buffer: u64, length: u64) -> &'a [u8] {
    // SAFETY: the handler's buffer of `*length` bytes.
    unsafe { ram::bytes(buffer, ram::get(length)) }
}

fn parse(word: &str) -> Option<i128> {
    let (negative, digits) = word.strip_prefix('-').map_or((false, word), |digits| (true, digits));
    let value = match digits.strip_prefix("0x") {
        Some(digits) => i128::from(u64::from_str_radix(digits, 16).ok()?),
        None if digits.len() > 1 && digits.starts_with('0') => i128::from(u64::from_str_radix(digits, 8).ok()?),
        None => i128::from(digits.parse::<u64>().ok()?),
    };
    Some(if negative { -value } else { value })
}

/// How a vector of numbers is kept and shown.
struct Vector {
    size: u64,
    signed: bool,
    /// What a shown number is multiplied with in memory.
    factor: i128,
    /// What it is divided by then.
    divisor: i128,
    low: Option<i128>,
    high: Option<i128>,
}

impl Vector {
    fn load(&self, at: u64) -> i128 {
        // SAFETY: the variable of a table.
        unsafe {
            match (self.size, self.signed) {
                (1, _) => ram::get::<u8>(at).into(),
                (4, true) => ram::get::<i32>(at).into(),
                (4, false) => ram::get::<u32>(at).into(),
                _ => ram::get::<u64>(at).into(),
            }
        }
    }

    fn fits(&self, value: i128) -> bool {
        let (low, high) = match (self.size, self.signed) {
            (1, _) => (0, i128::from(u8::MAX)),
            (4, true) => (i32::MIN.into(), i32::MAX.into()),
            (4, false) => (0, u32::MAX.into()),
            _ => (0, u64::MAX.into()),
        };
        value >= self.low.unwrap_or(low).max(low) && value <= self.high.unwrap_or(high).min(high)
    }

    fn store(&self, at: u64, value: i128) {
        // SAFETY: as for `load`.
        unsafe {
            match self.size {
                1 => ram::put(at, value as u8),
                4 => ram::put(at, value as u32),
                _ => ram::put(at, value as u64),
            }
        }
    }

    fn handle(&self, table: u64, write: i32, buffer: u64, length: u64, position: u64) -> i32 {
        // SAFETY: the entry of a table.
        let (data, most): (u64, i32) = unsafe { (ctl_table::data.get(table), ctl_table::maxlen.get(table)) };
        let places = (0..most.max(0) as u64 / self.size).map(|number| data + number * self.size);
        if data == 0 || is_done(length, position) {
            return 0;
        }
        if write == 0 {
            let words: Vec<String> =
                places.map(|at| alloc::format!("{}", self.load(at) * self.divisor / self.factor)).collect();
            give(alloc::format!("{}\n", words.join("\t")).as_bytes(), buffer, length, position);
            return 0;
        }
        let text = text_of(buffer, length);
        let text = text.split_str("\0").next().unwrap_or(b"").to_str_lossy();
        let mut any = false;
        for (word, at) in text.split_whitespace().zip(places) {
            let scaled = parse(word).and_then(|value| value.checked_mul(self.factor));
            let value = scaled.map(|value| value / self.divisor).filter(|&value| self.fits(value));
            let Some(value) = value else { return Errno::EINVAL.to_return() };
            self.store(at, value);
            any = true;
        }
        if any { 0 } else { Errno::EINVAL.to_return() }
    }
}

fn limit(table: u64, field: &crate::field::Field, size: u64, signed: bool) -> Option<i128> {
    // SAFETY: the entry of a table; a limit is a number of the table's kind.
    let at: u64 = unsafe { field.get(table) };
    (at != 0).then(|| Vector { size, signed, factor: 1, divisor: 1, low: None, high: None }.load(at))
}

macro_rules! handlers {
    ($($name:ident $size:literal $signed:literal $factor:expr, $divisor:literal, $limited:literal, $limits:expr;)*) => {
        $(extern "C" fn $name(table: u64, write: i32, buffer: u64, length: u64, position: u64) -> i32 {
            let limits: Option<(u64, bool)> = $limits;
            let of = |field| limits.filter(|_| $limited).and_then(|(size, signed)| limit(table, field, size, signed));
            let (low, high) = (of(&ctl_table::extra1), of(&ctl_table::extra2));
            Vector { size: $size, signed: $signed, factor: $factor, divisor: $divisor, low, high }.handle(table, write, buffer, length, position)
        })*
        /// The handlers of numbers.
        pub(crate) static HANDLERS: &[Export] = exports![$(c $name),*];
    };
}

/// Ticks of a second, and of a tick of user space (`USER_HZ`).
const SECOND: i128 = time::HZ as i128;

handlers! {
    proc_dointvec 4 true 1, 1, false, None;
    proc_dointvec_minmax 4 true 1, 1, true, Some((4, true));
    proc_douintvec 4 false 1, 1, false, None;
    proc_douintvec_minmax 4 false 1, 1, true, Some((4, false));
    proc_doulongvec_minmax 8 false 1, 1, true, Some((8, false));
    proc_dou8vec_minmax 1 false 1, 1, true, Some((4, false));
    proc_dobool 1 false 1, 1, false, None;
    proc_dointvec_jiffies 4 true SECOND, 1, false, None;
    proc_doulongvec_ms_jiffies_minmax 8 false SECOND, 1000, true, Some((8, false));
}

/// Milliseconds in the file, ticks in memory.
extern "C" fn proc_dointvec_ms_jiffies(table: u64, write: i32, buffer: u64, length: u64, position: u64) -> i32 {
    const MILLISECONDS: i128 = 1000 / SECOND;
    // SAFETY: the entry of a table.
    let data: u64 = unsafe { ctl_table::data.get(table) };
    if data == 0 || is_done(length, position) {
        return 0;
    }
    if write == 0 {
        // SAFETY: the variable of the table.
        let ticks = i128::from(unsafe { ram::get::<i32>(data) });
        give(alloc::format!("{}\n", ticks * MILLISECONDS).as_bytes(), buffer, length, position);
        return 0;
    }
    let text = text_of(buffer, length).to_str_lossy();
    let value = text.trim_matches(['\0', '\n', ' ']);
    match parse(value).and_then(|value| i32::try_from(value / MILLISECONDS).ok()) {
        Some(ticks) => {
            // SAFETY: as above.
            unsafe { ram::put(data, ticks) };
            0
        }
        None => Errno::EINVAL.to_return(),
    }
}

/// `int proc_dostring(struct ctl_table *, int write, void *, size_t *, loff_t *)`
extern "C" fn proc_dostring(table: u64, write: i32, buffer: u64, length: u64, position: u64) -> i32 {
    // SAFETY: the entry of a table and its string of at most `maxlen` bytes.
    unsafe {
        let (data, most): (u64, i32) = (ctl_table::data.get(table), ctl_table::maxlen.get(table));
        if data == 0 || most <= 0 || is_done(length, position) {
            return 0;
        }
        if write == 0 {
            let mut text = ram::c_string(data).to_vec();
            text.truncate(most as usize);
            text.push(b'\n');
            give(&text, buffer, length, position);
        } else {
            let text = text_of(buffer, length);
            let text = text.split(|&byte| byte == 0 || byte == b'\n').next().unwrap_or(b"");
            let part = &text[..text.len().min(most as usize - 1)];
            ram::bytes_mut(data, part.len() as u64).copy_from_slice(part);
            ram::put(data + part.len() as u64, 0u8);
        }
    }
    0
}

/// The functions of this file that no table makes.
pub(crate) static EXPORTS: &[Export] = exports![
    c register_sysctl_table, c register_sysctl, c register_sysctl_sz, c register_net_sysctl, c register_net_sysctl_sz,
    c unregister_sysctl_table, c unregister_net_sysctl_table = unregister_sysctl_table, c proc_dointvec_ms_jiffies,
    c proc_dostring,
];
