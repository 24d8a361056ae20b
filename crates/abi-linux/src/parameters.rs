//! `struct kernel_param`, and the operations of the standard types.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ferrmod_kernel::Errno;
use ferrmod_kernel::module::Module;
use ferrmod_kernel::world::Parameter;

use crate::data::Datum;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod kernel_param = "kernel_param" { name, ops, perm, flags }
    mod kernel_param_ops = "kernel_param_ops" { flags, set, get }
}

/// `KERNEL_PARAM_OPS_FL_NOARG`
const NO_ARGUMENT: u32 = 1;
/// `KERNEL_PARAM_FL_UNSAFE`
const UNSAFE: u8 = 1;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![];
/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[];

/// The parameters in a module's `__param`.
pub(crate) fn of(module: &Arc<Module>) -> Vec<Parameter> {
    let table = module.linked().tables.params;
    let size = kernel_param::SIZE.get();
    (0..u64::from(table.count))
        .map(|number| {
            let address = table.address + number * size;
            // SAFETY: the linker has checked that the table lies in the module; its pointers were relocated by the file,
            // and one that leads nowhere faults as it would on Linux.
            unsafe {
                let ops: u64 = kernel_param::ops.get(address);
                Parameter {
                    name: ram::c_string_or_empty(kernel_param::name.get(address)),
                    address,
                    mode: kernel_param::perm.get(address),
                    no_argument: kernel_param_ops::flags.get::<u32>(ops) & NO_ARGUMENT != 0,
                    unsafe_to_set: kernel_param::flags.get::<u8>(address) & UNSAFE != 0,
                }
            }
        })
        .collect()
}

/// Calls a parameter's `set`.
///
/// # Errors
/// What it returned; `EPERM` when there is none.
pub(crate) fn set(parameter: &Parameter, value: Option<&mut [u8]>) -> Result<(), Errno> {
    let mut text = value.as_ref().map(|value| [&**value, &[0]].concat());
    let pointer = text.as_mut().map_or(0, |text| text.as_mut_ptr() as u64);
    // SAFETY: `ops` was read from the module's own table and holds functions of these types.
    let result = unsafe {
        let ops: u64 = kernel_param::ops.get(parameter.address);
        let set: u64 = kernel_param_ops::set.get(ops);
        if set == 0 {
            return Err(Errno::EPERM);
        }
        ram::call(set, [pointer, parameter.address]) as i32
    };
    if let (Some(value), Some(text)) = (value, text) {
        value.copy_from_slice(&text[..value.len()]);
    }
    Errno::result(result)
}

/// Calls a parameter's `get`.
///
/// # Errors
/// What it returned; `EPERM` when there is none.
pub(crate) fn get(parameter: &Parameter) -> Result<Vec<u8>, Errno> {
    let mut page = alloc::vec![0u8; 4096];
    // SAFETY: as in `set`; `get` writes at most a page.
    let length = unsafe {
        let ops: u64 = kernel_param::ops.get(parameter.address);
        let get: u64 = kernel_param_ops::get.get(ops);
        if get == 0 {
            return Err(Errno::EPERM);
        }
        ram::call(get, [page.as_mut_ptr() as u64, parameter.address]) as i32
    };
    match Errno::from_return(i64::from(length)) {
        Some(errno) => Err(errno),
        None => {
            page.truncate(length as usize);
            Ok(page)
        }
    }
}
