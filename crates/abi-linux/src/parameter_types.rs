//! The operations of the standard parameter types (`param_ops_*`).

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bstr::BStr;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::module::Module;
use ferrmod_kernel::text::kinds::{self, Kind, Scalar};
use ferrmod_kernel::text::log::Level;
use ferrmod_kernel::{Errno, kernel};

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::string::text;
use crate::{ram, slab, symbols};

layout! {
    mod kernel_param = "kernel_param" { name, arg, ops }
    mod kernel_param_ops = "kernel_param_ops" { flags, set, get, free }
    mod kparam_string = "kparam_string" { maxlen, string }
    mod kparam_array = "kparam_array" { max, elemsize, num, ops, elem }
}

/// `KERNEL_PARAM_OPS_FL_NOARG`
const NO_ARGUMENT: u32 = 1;
/// A page, which is all a `get` may write.
const PAGE: u64 = 4096;

fn argument(parameter: u64) -> u64 {
    // SAFETY: a `struct kernel_param` of a module, or a copy of one.
    unsafe { kernel_param::arg.get(parameter) }
}
fn name<'a>(parameter: u64) -> &'a BStr {
    // SAFETY: as above.
    text(unsafe { kernel_param::name.get(parameter) }).into()
}
fn log(_level: Level, message: &BStr) {
    kernel().printk(&[b"\x013".as_slice(), message.as_ref(), b"\n"].concat());
}
/// Writes a text with its NUL into a sysfs page; its length.
fn show(to: u64, shown: &[u8]) -> i32 {
    let kept = (shown.len() as u64).min(PAGE - 1);
    // SAFETY: the caller's page.
    unsafe {
        ram::bytes_mut(to, kept).copy_from_slice(&shown[..kept as usize]);
        ram::put(to + kept, 0u8);
    }
    kept as i32
}

fn set_scalar(kind: Kind, value: u64, parameter: u64) -> i32 {
    let value = (value != 0).then(|| text(value));
    // SAFETY: the variable of this type that the parameter names.
    let variable = unsafe { ram::bytes_mut(argument(parameter), kind.size() as u64) };
    match kind.parse(value, Scalar::from_memory(variable)) {
        Ok(new) => {
            variable.copy_from_slice(&new.to_memory()[..kind.size()]);
            0
        }
        Err(errno) => errno.to_return(),
    }
}
fn get_scalar(kind: Kind, to: u64, parameter: u64) -> i32 {
    // SAFETY: as above.
    let variable = unsafe { ram::bytes(argument(parameter), kind.size() as u64) };
    show(to, kind.show(Scalar::from_memory(variable)).as_bytes())
}

macro_rules! scalars {
    ($($ident:ident $kind:ident $ops:literal $set:ident $get:ident;)*) => {
        $(
            /// Reads a value of this type: text, parameter.
            extern "C" fn $set(value: u64, parameter: u64) -> i32 {
                set_scalar(Kind::$kind, value, parameter)
            }
            /// Shows it: page, parameter.
            extern "C" fn $get(to: u64, parameter: u64) -> i32 {
                get_scalar(Kind::$kind, to, parameter)
            }
            static $ident: Datum = Datum::new($ops, 32, Begin::With(|at| {
                begin(at, Kind::$kind.no_value(), stringify!($set), stringify!($get), "");
            }));
        )*
        /// The variables of this file.
        pub(crate) static VARIABLES: &[&Datum] = &[&CHARP, &STRING, &ARRAY, $(&$ident),*];
    };
}

scalars! {
    BYTE Byte "param_ops_byte" param_set_byte param_get_byte;
    SHORT Short "param_ops_short" param_set_short param_get_short;
    USHORT Ushort "param_ops_ushort" param_set_ushort param_get_ushort;
    INT Int "param_ops_int" param_set_int param_get_int;
    UINT Uint "param_ops_uint" param_set_uint param_get_uint;
    LONG Long "param_ops_long" param_set_long param_get_long;
    ULONG Ulong "param_ops_ulong" param_set_ulong param_get_ulong;
    ULLONG Ullong "param_ops_ullong" param_set_ullong param_get_ullong;
    HEXINT Hexint "param_ops_hexint" param_set_hexint param_get_hexint;
    BOOL Bool "param_ops_bool" param_set_bool param_get_bool;
    INVBOOL InvBool "param_ops_invbool" param_set_invbool param_get_invbool;
    BOOL_ENABLE_ONLY BoolEnableOnly "param_ops_bool_enable_only" param_set_bool_enable_only param_get_bool_enable_only;
    BINT Bint "param_ops_bint" param_set_bint param_get_bint;
}

static CHARP: Datum = Datum::new(
    "param_ops_charp",
    32,
    Begin::With(|at| {
        begin(at, false, "param_set_charp", "param_get_charp", "param_free_charp");
    }),
);
static STRING: Datum = Datum::new(
    "param_ops_string",
    32,
    Begin::With(|at| {
        begin(at, false, "param_set_copystring", "param_get_string", "");
    }),
);
static ARRAY: Datum = Datum::new(
    "param_array_ops",
    32,
    Begin::With(|at| {
        begin(at, false, "param_array_set", "param_array_get", "param_array_free");
    }),
);

/// Fills in a `struct kernel_param_ops`.
fn begin(at: u64, no_argument: bool, set: &str, get: &str, free: &str) {
    let address = |name| symbols::address(name).unwrap_or(0);
    // SAFETY: `data::place` gives room for the struct.
    unsafe {
        kernel_param_ops::flags.set(at, if no_argument { NO_ARGUMENT } else { 0u32 });
        kernel_param_ops::set.set(at, address(set));
        kernel_param_ops::get.set(at, address(get));
        kernel_param_ops::free.set(at, address(free));
    }
}

/// `int param_set_uint_minmax(const char *, const struct kernel_param *, unsigned min, unsigned max)`
extern "C" fn param_set_uint_minmax(value: u64, parameter: u64, least: u32, most: u32) -> i32 {
    if value == 0 {
        return Errno::EINVAL.to_return();
    }
    match Kind::Uint.parse(Some(text(value)), Scalar(0)) {
        Ok(Scalar(new)) if (least..=most).contains(&(new as u32)) => {
            // SAFETY: the parameter's variable.
            unsafe { ram::put(argument(parameter), new as u32) };
            0
        }
        Ok(_) => Errno::EINVAL.to_return(),
        Err(errno) => errno.to_return(),
    }
}

/// The strings that `charp` parameters were set to: only these may be freed, and not a default in the module's own data.
static STRINGS: Lock<BTreeSet<u64>> = Lock::new(BTreeSet::new());

fn free_string(at: u64) {
    if STRINGS.lock().remove(&at) {
        slab::release(at, 0);
    }
}

extern "C" fn param_set_charp(value: u64, parameter: u64) -> i32 {
    if value == 0 {
        return Errno::EINVAL.to_return();
    }
    let new = text(value);
    if let Err(errno) = kinds::check_charp(name(parameter), new, &mut log) {
        return errno.to_return();
    }
    let variable = argument(parameter);
    // SAFETY: the parameter's `char *`.
    free_string(unsafe { ram::get(variable) });
    // The parameter lies in the module, so the memory counts as the module's.
    let copy = crate::printf::duplicate(new, 0, parameter);
    // SAFETY: as above.
    unsafe { ram::put(variable, copy) };
    if copy == 0 {
        return Errno::ENOMEM.to_return();
    }
    STRINGS.lock().insert(copy);
    0
}
extern "C" fn param_get_charp(to: u64, parameter: u64) -> i32 {
    // SAFETY: the parameter's `char *`.
    let string: u64 = unsafe { ram::get(argument(parameter)) };
    show(to, &kinds::show_text((string != 0).then(|| text(string))))
}
/// `void param_free_charp(void *arg)`
extern "C" fn param_free_charp(variable: u64) {
    // SAFETY: the parameter's `char *`.
    unsafe {
        free_string(ram::get(variable));
        ram::put(variable, 0u64);
    }
}

extern "C" fn param_set_copystring(value: u64, parameter: u64) -> i32 {
    if value == 0 {
        return Errno::EINVAL.to_return();
    }
    let (description, new) = (argument(parameter), text(value));
    // SAFETY: the parameter's `struct kparam_string`.
    let (room, buffer): (u32, u64) =
        unsafe { (kparam_string::maxlen.get(description), kparam_string::string.get(description)) };
    Errno::returned(kinds::check_string(name(parameter), new, room as usize, &mut log).map(|()| {
        // SAFETY: it has just been seen to fit.
        unsafe {
            ram::bytes_mut(buffer, new.len() as u64).copy_from_slice(new);
            ram::put(buffer + new.len() as u64, 0u8);
        }
    }))
}
extern "C" fn param_get_string(to: u64, parameter: u64) -> i32 {
    // SAFETY: the parameter's `struct kparam_string`.
    let string: u64 = unsafe { kparam_string::string.get(argument(parameter)) };
    show(to, &kinds::show_text(Some(text(string))))
}

/// An array parameter's description.
struct Array {
    most: u32,
    size: u32,
    count: u64,
    ops: u64,
    first: u64,
}

impl Array {
    fn of(parameter: u64) -> Self {
        let at = argument(parameter);
        // SAFETY: the parameter's `struct kparam_array`.
        unsafe {
            Self {
                most: kparam_array::max.get(at),
                size: kparam_array::elemsize.get(at),
                count: kparam_array::num.get(at),
                ops: kparam_array::ops.get(at),
                first: kparam_array::elem.get(at),
            }
        }
    }

    fn set_count(&self, count: u32) {
        if self.count != 0 {
            // SAFETY: the variable that counts the elements.
            unsafe { ram::put(self.count, count) };
        }
    }

    /// How many elements to show or free.
    fn len(&self) -> u32 {
        if self.count == 0 {
            return self.most;
        }
        // SAFETY: as above.
        unsafe { ram::get(self.count) }
    }

    fn element(&self, index: u32) -> u64 {
        self.first + u64::from(index) * u64::from(self.size)
    }

    /// A copy of the parameter that names one element.
    fn parameter(&self, parameter: u64, index: u32) -> Vec<u8> {
        // SAFETY: the caller's parameter.
        let copy = unsafe { ram::bytes(parameter, kernel_param::SIZE.get()) }.to_vec();
        // SAFETY: our own copy.
        unsafe { kernel_param::arg.set(copy.as_ptr() as u64, self.element(index)) };
        copy
    }
}

extern "C" fn param_array_set(value: u64, parameter: u64) -> i32 {
    if value == 0 {
        return Errno::EINVAL.to_return();
    }
    let array = Array::of(parameter);
    // SAFETY: the array's own operations.
    let set: u64 = unsafe { kernel_param_ops::set.get(array.ops) };
    let (mut at, mut count) = (value, 0);
    array.set_count(0);
    loop {
        if count == array.most {
            log(
                Level::Error,
                alloc::format!("{}: can only take {} arguments", name(parameter), array.most).as_str().into(),
            );
            return Errno::EINVAL.to_return();
        }
        let length = text(at).iter().position(|&byte| byte == b',');
        if let Some(length) = length {
            // SAFETY: the comma in the caller's text, which may be destroyed.
            unsafe { ram::put(at + length as u64, 0u8) };
        }
        let copy = array.parameter(parameter, count);
        // SAFETY: the element type's own function.
        let result = unsafe { ram::call(set, [at, copy.as_ptr() as u64]) } as i32;
        if result != 0 {
            return result;
        }
        count += 1;
        array.set_count(count);
        match length {
            Some(length) => at += length as u64 + 1,
            None => return 0,
        }
    }
}

extern "C" fn param_array_get(to: u64, parameter: u64) -> i32 {
    let array = Array::of(parameter);
    // SAFETY: the array's own operations.
    let get: u64 = unsafe { kernel_param_ops::get.get(array.ops) };
    let mut page = alloc::vec![0u8; PAGE as usize];
    let mut elements: Vec<Vec<u8>> = Vec::new();
    for index in 0..array.len() {
        let copy = array.parameter(parameter, index);
        // SAFETY: the element type's own function, and a page of our own.
        let length = unsafe { ram::call(get, [page.as_mut_ptr() as u64, copy.as_ptr() as u64]) } as i32;
        if length < 0 {
            return length;
        }
        elements.push(page[..(length as usize).min(page.len())].to_vec());
    }
    show(to, &kinds::show_array(elements.iter().map(Vec::as_slice)))
}

/// `void param_array_free(void *arg)`
extern "C" fn param_array_free(description: u64) {
    // SAFETY: the array parameter's `struct kparam_array` and its operations.
    unsafe {
        let ops: u64 = kparam_array::ops.get(description);
        let free: u64 = kernel_param_ops::free.get(ops);
        if free == 0 {
            return;
        }
        let count: u64 = kparam_array::num.get(description);
        let count: u32 = if count == 0 { kparam_array::max.get(description) } else { ram::get(count) };
        let (first, size): (u64, u32) = (kparam_array::elem.get(description), kparam_array::elemsize.get(description));
        for index in 0..u64::from(count) {
            ram::call(free, [first + index * u64::from(size)]);
        }
    }
}

/// Frees what the parameters of a module that goes hold.
pub(crate) fn free_all(module: &Arc<Module>) {
    for parameter in module.parameters() {
        // SAFETY: the parameters were read from the module's own table, which is still in place.
        unsafe {
            let ops: u64 = kernel_param::ops.get(parameter.address);
            let free: u64 = kernel_param_ops::free.get(ops);
            if free != 0 {
                ram::call(free, [kernel_param::arg.get::<u64>(parameter.address)]);
            }
        }
    }
}

/// `void kernel_param_lock(struct module *)`: parameters change only where a task that changes them runs.
extern "C" fn kernel_param_lock(_module: u64) {}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c param_set_byte, c param_get_byte, c param_set_short, c param_get_short, c param_set_ushort, c param_get_ushort,
    c param_set_int, c param_get_int, c param_set_uint, c param_get_uint, c param_set_long, c param_get_long,
    c param_set_ulong, c param_get_ulong, c param_set_ullong, c param_get_ullong, c param_set_hexint, c param_get_hexint,
    c param_set_bool, c param_get_bool, c param_set_invbool, c param_get_invbool, c param_set_bool_enable_only,
    c param_get_bool_enable_only, c param_set_bint, c param_get_bint, c param_set_uint_minmax, c param_set_charp,
    c param_get_charp, c param_free_charp, c param_set_copystring, c param_get_string, c param_array_set, c param_array_get,
    c param_array_free, k kernel_param_lock, k kernel_param_unlock = kernel_param_lock,
];
