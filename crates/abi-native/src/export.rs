//! The table of functions, and a bridge for each.

use alloc::vec::Vec;

use bstr::BStr;
use ferrmod_boundary::symbol_crc;
use ferrmod_kernel::percpu::CALLER_SLOT;
use ferrmod_kernel::world::WorldSymbol;
use ferrmod_kernel::{Errno, Kernel};
use ferrmod_linker::bridge::{self, SLOT};

use crate::functions::*;

/// A function and its name.
struct Export {
    name: &'static str,
    /// `None` for what compilers call by themselves: its type is the C standard's.
    crc: Option<u32>,
    bridge: bridge::Kind,
    target: *const (),
}

// SAFETY: `target` is the address of code; it is never read or written through.
unsafe impl Sync for Export {}

macro_rules! table {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*) => {
        static KERNEL: &[Export] = &[$(Export {
            name: stringify!($name),
            crc: Some(symbol_crc!(fn $name($($argument: $type),*) $(-> $result)?)),
            bridge: bridge::Kind::PLAIN,
            target: {
                // The definition has the type that the CRC was made of.
                let function: extern "C" fn($($type),*) $(-> $result)? = $name;
                function as *const ()
            },
        }),*];
    };
}

ferrmod_boundary::kernel_functions!(table);

unsafe extern "C" {
    fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8;
    fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8;
    fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8;
    fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32;
    fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32;
    fn strlen(text: *const u8) -> usize;
}

const fn implied(name: &'static str, target: *const ()) -> Export {
    // A jump: they keep the C convention and nobody needs to know the caller.
    Export { name, crc: None, bridge: bridge::Kind::Raw, target }
}

/// What compilers call by themselves; this program has them, whatever it is.
static IMPLIED: &[Export] = &[
    implied("memcpy", memcpy as *const ()),
    implied("memmove", memmove as *const ()),
    implied("memset", memset as *const ()),
    implied("memcmp", memcmp as *const ()),
    implied("bcmp", bcmp as *const ()),
    implied("strlen", strlen as *const ()),
];

/// The address of the first bridge.
static BRIDGES: spin::Once<u64> = spin::Once::new();

fn all() -> impl Iterator<Item = &'static Export> {
    KERNEL.iter().chain(IMPLIED)
}

/// The names of everything provided.
pub fn provided() -> impl Iterator<Item = &'static str> {
    all().map(|export| export.name)
}

pub(crate) fn is_up() -> bool {
    BRIDGES.get().is_some()
}

/// Makes a bridge for every function.
///
/// # Errors
/// `ENOMEM` when the text region is too small.
pub(crate) fn begin(kernel: &Kernel) -> Result<(), Errno> {
    let code: Vec<u8> =
        all().flat_map(|export| bridge::emit(export.bridge, export.target as u64, CALLER_SLOT as i32)).collect();
    let start = kernel.text.take(code.len() as u64, 4096)?;
    let written = kernel.platform.write(start, &code).and_then(|()| kernel.platform.commit());
    if written.is_err() {
        kernel.text.give(start);
        return Err(Errno::ENOMEM);
    }
    BRIDGES.call_once(|| start);
    Ok(())
}

/// What a Rust module finds under a name.
pub(crate) fn find(name: &BStr) -> Option<WorldSymbol> {
    let start = *BRIDGES.get()?;
    let (number, export) = all().enumerate().find(|(_, export)| export.name == name)?;
    Some(WorldSymbol {
        address: Some(start + (number * SLOT) as u64),
        crc: export.crc,
        gpl_only: false,
        namespace: None,
    })
}

/// The function whose bridge `address` lies in.
pub(crate) fn name_of(address: u64) -> Option<(&'static str, u64)> {
    let distance = address.checked_sub(*BRIDGES.get()?)?;
    let export = all().nth(usize::try_from(distance / SLOT as u64).ok()?)?;
    Some((export.name, distance % SLOT as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once_and_fits_a_version_record() {
        let names: Vec<&str> = provided().collect();
        assert!(names.contains(&"ferrmod_log") && names.contains(&"memcpy"));
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name}");
            assert!(name.len() < 56, "{name}");
        }
    }

    #[test]
    fn crcs_differ() {
        let crcs: Vec<u32> = KERNEL.iter().filter_map(|export| export.crc).collect();
        assert_eq!(crcs.len(), KERNEL.len());
        for (index, crc) in crcs.iter().enumerate() {
            assert!(!crcs[..index].contains(crc), "{}", KERNEL[index].name);
        }
    }
}
