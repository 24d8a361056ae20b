//! The `__param` table of a Rust module, and the standard types its parameters have.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ferrmod_boundary::{KernelParam, KernelParamOps};
use ferrmod_kernel::Errno;
use ferrmod_kernel::module::Module;
use ferrmod_kernel::text::kinds::{Kind, Scalar};
use ferrmod_kernel::world::Parameter;

use crate::ram;

/// `KERNEL_PARAM_OPS_FL_NOARG`
const NO_ARGUMENT: u32 = 1;
/// `KERNEL_PARAM_FL_UNSAFE`
const UNSAFE: u8 = 1;
/// The most a `get` function writes.
const PAGE: usize = 4096;

/// The parameters in a module's `__param`.
pub(crate) fn of(module: &Arc<Module>) -> Vec<Parameter> {
    let table = module.linked().tables.params;
    let first = table.address as *const KernelParam;
    (0..table.count as usize)
        .map(|number| {
            // SAFETY: the linker has checked that the table lies in the module; its pointers were relocated by the file, and one
            // that leads nowhere faults.
            unsafe {
                let entry = first.add(number);
                let parameter = entry.read_unaligned();
                Parameter {
                    name: ram::c_string(parameter.name).to_vec(),
                    address: entry as u64,
                    mode: parameter.mode,
                    no_argument: operations(entry).flags & NO_ARGUMENT != 0,
                    unsafe_to_set: parameter.flags & UNSAFE != 0,
                }
            }
        })
        .collect()
}

/// The operations of a parameter.
///
/// # Safety
/// `entry` lies in a loaded module's `__param`.
unsafe fn operations(entry: *const KernelParam) -> KernelParamOps {
    // SAFETY: the caller vouches for the entry, whose pointer the file relocated.
    unsafe { entry.read_unaligned().ops.cast::<KernelParamOps>().read_unaligned() }
}

/// Calls a parameter's `set`.
///
/// # Errors
/// What it returned; `EPERM` when there is none.
pub(crate) fn set(parameter: &Parameter, value: Option<&mut [u8]>) -> Result<(), Errno> {
    let entry = parameter.address as *const KernelParam;
    let text = value.map(|value| [&*value, &[0]].concat());
    // SAFETY: the address was made by `of`, and the module is loaded; `set` reads the text up to its NUL.
    let result = unsafe {
        let set = operations(entry).set.ok_or(Errno::EPERM)?;
        set(text.as_ref().map_or(core::ptr::null(), |text| text.as_ptr()), entry)
    };
    Errno::result(result)
}

/// Calls a parameter's `get`.
///
/// # Errors
/// What it returned; `EPERM` when there is none.
pub(crate) fn get(parameter: &Parameter) -> Result<Vec<u8>, Errno> {
    let entry = parameter.address as *const KernelParam;
    let mut page = alloc::vec![0; PAGE];
    // SAFETY: as in `set`; `get` writes at most a page.
    let length = unsafe {
        let get = operations(entry).get.ok_or(Errno::EPERM)?;
        get(page.as_mut_ptr(), entry)
    };
    match Errno::from_return(length.into()) {
        Some(errno) => Err(errno),
        None => {
            page.truncate(length as usize);
            Ok(page)
        }
    }
}

pub(crate) extern "C" fn ferrmod_param_parse(
    kind: *const u8,
    kind_length: usize,
    text: *const u8,
    length: usize,
    value: *mut u64,
) -> i32 {
    // SAFETY: the module hands over texts of these lengths and a value, or faults.
    let (kind, text, old) = unsafe {
        let text = (!text.is_null()).then(|| ram::bytes(text, length));
        (ram::bytes(kind, kind_length), text, value.read())
    };
    let Some(kind) = Kind::from_name(kind) else { return Errno::EINVAL.to_return() };
    match kind.parse(text, Scalar(old)) {
        Ok(Scalar(new)) => {
            // SAFETY: as above.
            unsafe { value.write(new) };
            0
        }
        Err(errno) => errno.to_return(),
    }
}

pub(crate) extern "C" fn ferrmod_param_show(
    kind: *const u8,
    kind_length: usize,
    value: u64,
    buffer: *mut u8,
    length: usize,
) -> i64 {
    // SAFETY: as in `ferrmod_param_parse`; nobody else uses the buffer meanwhile.
    let (kind, buffer) = unsafe { (ram::bytes(kind, kind_length), ram::bytes_mut(buffer, length)) };
    let Some(kind) = Kind::from_name(kind) else { return Errno::EINVAL.to_return().into() };
    let shown = kind.show(Scalar(value));
    let shown = shown.trim_end_matches('\n').as_bytes();
    let Some(place) = buffer.get_mut(..shown.len()) else { return Errno::ENOSPC.to_return().into() };
    place.copy_from_slice(shown);
    shown.len() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_types_are_the_kernels() {
        let mut value = 7;
        let mut parse = |kind: &str, text: Option<&str>| {
            let (text, length) = text.map_or((core::ptr::null(), 0), |text| (text.as_ptr(), text.len()));
            (ferrmod_param_parse(kind.as_ptr(), kind.len(), text, length, &mut value), value)
        };
        assert_eq!(parse("uint", Some("0x2a")), (0, 42));
        assert_eq!(parse("byte", Some("256")), (Errno::ERANGE.to_return(), 42));
        assert_eq!(parse("bool", None), (0, 1));
        assert_eq!(parse("uint", None), (Errno::EINVAL.to_return(), 1));
        assert_eq!(parse("nonsense", Some("1")), (Errno::EINVAL.to_return(), 1));
        let mut buffer = [0; 3];
        assert_eq!(ferrmod_param_show(b"int".as_ptr(), 3, -7i64 as u64, buffer.as_mut_ptr(), 3), 2);
        assert_eq!(&buffer, b"-7\0");
        assert_eq!(
            ferrmod_param_show(b"int".as_ptr(), 3, 12345, buffer.as_mut_ptr(), 3),
            i64::from(Errno::ENOSPC.to_return())
        );
    }
}
