//! `printk`, `snprintf` and their families: C's argument lists meet the kernel's formatter.

use alloc::vec::Vec;

use bstr::{BString, ByteSlice};
use ferrmod_kernel::kernel;
use ferrmod_kernel::platform::Fault;
use ferrmod_kernel::text::arguments::VaList;
use ferrmod_kernel::text::format::{self, Environment, Limited, Symbol};
use ferrmod_kernel::text::memory::{Memory, MemoryMut};
use ferrmod_kernel::text::scan;

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab};

layout! {
    mod device = "device" { kobj, init_name }
    mod kobject = "kobject" { name }
}

/// `INT_MAX`: a longer buffer is a mistake of the caller.
const LONGEST: u64 = i32::MAX as u64;
/// More than this no single message or string has.
const MESSAGE_MAX: usize = 64 * 1024;

/// Module memory as the formatter sees it: a bad address is an answer and not a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ModuleMemory;

impl Memory for ModuleMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        kernel().platform.read(address, into)
    }
}

impl MemoryMut for ModuleMemory {
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        // `sscanf` writes where its caller says, as C does; the address is readable at least.
        let mut probe = [0];
        self.read(address, &mut probe)?;
        // SAFETY: a wrong address given by the module faults in its own name.
        unsafe { ram::bytes_mut(address, bytes.len() as u64) }.copy_from_slice(bytes);
        Ok(())
    }
}

impl Environment for ModuleMemory {
    fn pointer_key(&self) -> [u64; 2] {
        static KEY: spin::Once<[u64; 2]> = spin::Once::new();
        *KEY.call_once(|| {
            let mut bytes = [0; 16];
            kernel().platform.random(&mut bytes);
            let (low, high) = bytes.split_at(8);
            [low, high].map(|half| half.iter().fold(0, |key, &byte| key << 8 | u64::from(byte)))
        })
    }

    fn symbolise(&self, address: u64) -> Option<Symbol> {
        if let Some((name, offset, size, module)) = kernel().modules.symbolise(address) {
            return Some(Symbol { name, offset, size, module: Some(module) });
        }
        let (name, offset) = crate::symbols::name_of(address)?;
        Some(Symbol { name: BString::from(name), offset, size: 64, module: None })
    }
}

/// Formats into at most `room` bytes; the text that fits and the length of all of it. `list` is the address of a `va_list`.
pub(crate) fn format_list(room: usize, format: u64, list: u64) -> (Vec<u8>, usize) {
    // SAFETY: the module's format string, which is a C string or faults in its name.
    let format = unsafe { ram::c_string(format) };
    let memory = ModuleMemory;
    match VaList::open(&memory, list) {
        Ok(mut list) => {
            let mut out = Limited::new(room);
            format::format(&mut out, format, &mut list, &memory);
            let length = out.length();
            (out.into_bytes(), length)
        }
        Err(_) => (Vec::new(), 0),
    }
}

/// The formatted text.
pub(crate) fn text_of(format: u64, list: u64) -> Vec<u8> {
    format_list(MESSAGE_MAX, format, list).0
}

fn into_buffer(buffer: u64, size: u64, format: u64, list: u64) -> u64 {
    if size > LONGEST {
        return 0;
    }
    let (text, length) = format_list(size.saturating_sub(1) as usize, format, list);
    if size > 0 {
        // SAFETY: the caller's buffer of `size` bytes; the text and its NUL fit.
        unsafe {
            ram::bytes_mut(buffer, text.len() as u64).copy_from_slice(&text);
            ram::put(buffer + text.len() as u64, 0u8);
        }
    }
    length as u64
}

/// `int vsnprintf(char *, size_t, const char *, va_list)`; `snprintf` comes here too.
extern "C" fn vsnprintf(buffer: u64, size: u64, format: u64, list: u64) -> i32 {
    into_buffer(buffer, size, format, list) as i32
}

/// `int vscnprintf(...)`: what was written, not what would have been.
extern "C" fn vscnprintf(buffer: u64, size: u64, format: u64, list: u64) -> i32 {
    if size == 0 {
        return 0;
    }
    into_buffer(buffer, size, format, list).min(size - 1) as i32
}

/// `int vsprintf(char *, const char *, va_list)`
extern "C" fn vsprintf(buffer: u64, format: u64, list: u64) -> i32 {
    into_buffer(buffer, LONGEST, format, list) as i32
}

/// `char *kvasprintf(gfp_t, const char *, va_list)`
extern "C" fn kvasprintf(flags: u32, format: u64, list: u64) -> u64 {
    let caller = ram::caller();
    duplicate(&text_of(format, list), flags, caller)
}

/// A copy of `text` with a NUL on the heap; 0 without memory.
pub(crate) fn duplicate(text: &[u8], flags: u32, caller: u64) -> u64 {
    let copy = slab::allocate(text.len() as u64 + 1, 8, flags, caller);
    if copy != 0 {
        // SAFETY: the heap has just given this room to us.
        unsafe {
            ram::bytes_mut(copy, text.len() as u64).copy_from_slice(text);
            ram::put(copy + text.len() as u64, 0u8);
        }
    }
    copy
}

/// `int vprintk(const char *, va_list)`; `_printk` comes here too.
extern "C" fn vprintk(format: u64, list: u64) -> i32 {
    let text = text_of(format, list);
    kernel().printk(&text);
    text.len() as i32
}

/// `void panic(const char *, ...)`
extern "C" fn panic_list(format: u64, list: u64) {
    let caller = ram::caller();
    let text = text_of(format, list);
    let text = alloc::format!("Kernel panic - not syncing: {}", text.as_bstr());
    kernel().bug(&text, caller);
}

/// `void __warn_printk(const char *, ...)`: the text of a WARN whose `ud2` follows.
extern "C" fn warn_list(format: u64, list: u64) {
    let text = text_of(format, list);
    kernel().printk(b"\x014------------[ cut here ]------------\n");
    kernel().printk(&[b"\x014", text.as_slice()].concat());
}

/// `int vsscanf(const char *, const char *, va_list)`
extern "C" fn vsscanf(input: u64, format: u64, list: u64) -> i32 {
    let memory = ModuleMemory;
    // SAFETY: two C strings of the module's.
    let (input, format) = unsafe { (ram::c_string(input), ram::c_string(format)) };
    match VaList::open(&memory, list) {
        Ok(mut list) => scan::scan(input, format, &mut list, &memory).unwrap_or(0),
        Err(_) => 0,
    }
}

/// What a device's messages begin with: its driver, or else its bus or class, and its name.
fn device_prefix(address: u64) -> Vec<u8> {
    if address == 0 {
        return b"(NULL device *): ".to_vec();
    }
    // SAFETY: a `struct device` of the module's; its strings are C strings or null.
    unsafe {
        let name: u64 = kobject::name.get(device::kobj.at(address));
        let name = if name != 0 { name } else { device::init_name.get(address) };
        let mut out = ram::c_string_or_empty(crate::device::dev_driver_string(address));
        out.push(b' ');
        out.extend_from_slice(if name == 0 { b"(null)" } else { ram::c_string(name) });
        out.extend_from_slice(b": ");
        out
    }
}

/// Says something about a device (`dev_err` and the like).
pub(crate) fn say_of_device(level: &[u8], address: u64, text: &[u8]) {
    kernel().printk(&[level, &device_prefix(address), text].concat());
}
fn device_message(level: &[u8], address: u64, format: u64, list: u64) {
    say_of_device(level, address, &text_of(format, list));
}

macro_rules! device_levels {
    ($($name:ident $level:literal),* $(,)?) => {
        $(
            /// A device's message at its level.
            extern "C" fn $name(device: u64, format: u64, list: u64) {
                device_message($level, device, format, list);
            }
        )*
    };
}

device_levels! {
    _dev_emerg b"\x010", _dev_alert b"\x011", _dev_crit b"\x012", _dev_err b"\x013", _dev_warn b"\x014",
    _dev_notice b"\x015", _dev_info b"\x016",
}

/// `void _dev_printk(const char *level, const struct device *, const char *, ...)`
extern "C" fn _dev_printk(level: u64, device: u64, format: u64, list: u64) {
    // SAFETY: the level is a C string constant.
    device_message(unsafe { ram::c_string(level) }, device, format, list);
}

/// `void __dynamic_pr_debug(struct _ddebug *, const char *, ...)`: called only when somebody enabled the site, which
/// nothing here does.
extern "C" fn __dynamic_pr_debug(_site: u64, format: u64, list: u64) {
    kernel().printk(&[b"\x017", text_of(format, list).as_slice()].concat());
}

/// `void __dynamic_dev_dbg(struct _ddebug *, const struct device *, const char *, ...)`
extern "C" fn __dynamic_dev_dbg(_site: u64, device: u64, format: u64, list: u64) {
    device_message(b"\x017", device, format, list);
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    v1 _printk = vprintk, c vprintk, v3 snprintf = vsnprintf, c vsnprintf, v3 scnprintf = vscnprintf, c vscnprintf,
    v2 sprintf = vsprintf, c vsprintf, v2 kasprintf = kvasprintf, c kvasprintf, v2 sscanf = vsscanf, c vsscanf,
    v1 panic = panic_list, v1 __warn_printk = warn_list,
    v2 _dev_emerg, v2 _dev_alert, v2 _dev_crit, v2 _dev_err, v2 _dev_warn, v2 _dev_notice, v2 _dev_info,
    v3 _dev_printk, v2 __dynamic_pr_debug, v3 __dynamic_dev_dbg,
];
