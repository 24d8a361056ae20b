//! What the kernel and a Rust module agree on: functions, types, and a CRC for each.
//!
//! A Rust module is an ELF `.ko` file like any other, and its boundary is C: a short list of `extern "C"` functions
//! ([`kernel_functions!`]) over types of known layout. Nothing of Rust's own (strings, vectors, trait objects) crosses it, so
//! that kernel and module may come from different compilers.
//!
//! Every function has a CRC, as Linux's modversions has: a hash of its name and of the types it takes and returns, down to the
//! fields of every struct ([`Boundary::HASH`]). The kernel's table carries it, the module's `__versions` carries the one it was
//! compiled with, and the loader refuses a module whose CRC differs. Changing a type here therefore breaks no module silently.
//! The hash is made of the types, not of the text of the declaration: `c_int` and `i32` agree, and the way a compiler prints
//! tokens does not matter.
//!
//! # What this crate does not do
//! It defines no function: `ferrmod-abi-native` does for the kernel, `ferrmod-sdk` declares them for modules. It is no
//! interface to write a module against; that is `ferrmod-sdk`.
#![no_std]
#![forbid(unsafe_code)]

mod functions;
mod hash;
mod types;

pub use hash::{Boundary, START, fnv1a, of_text, then};
pub use types::{FileOperations, KernelParam, KernelParamOps, Opaque, ThisModule, Version};

/// The `vermagic` of a Rust module. The first word is the version of this boundary as a whole; like Linux, the loader does not
/// compare it when the module has CRCs.
pub const VERMAGIC: &str = "ferrmod-1 x86_64 modversions ";

/// How the `vermagic` of every Rust module begins, whatever its version.
pub const VERMAGIC_PREFIX: &str = "ferrmod";

/// The CRC of `module_layout`: of what the loader reads in a module's memory without calling anything.
pub const MODULE_LAYOUT: u32 = then(then(of_text("module_layout"), ThisModule::HASH), KernelParam::HASH);

/// The CRC of a function: `symbol_crc!(fn name(number: u32) -> u64)`.
#[macro_export]
macro_rules! symbol_crc {
    (fn $name:ident($($argument:ident: $type:ty),* $(,)?)) => {
        $crate::symbol_crc!(fn $name($($argument: $type),*) -> ())
    };
    (fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty) => {{
        const CRC: u32 = {
            let hash = $crate::of_text(::core::stringify!($name));
            $(let hash = $crate::then(hash, <$type as $crate::Boundary>::HASH);)*
            $crate::then($crate::then(hash, $crate::of_text("->")), <$result as $crate::Boundary>::HASH)
        };
        CRC
    }};
}

#[cfg(test)]
mod tests {
    use crate::boundary_struct;

    #[test]
    fn a_crc_follows_name_arguments_and_result() {
        let crc = symbol_crc!(fn answer(question: u32) -> u32);
        assert_eq!(crc, symbol_crc!(fn answer(other_name: core::ffi::c_uint) -> u32));
        let others = [
            symbol_crc!(fn answers(question: u32) -> u32),
            symbol_crc!(fn answer(question: i32) -> u32),
            symbol_crc!(fn answer(question: u32) -> i32),
            symbol_crc!(fn answer(question: u32)),
            symbol_crc!(fn answer(question: *const u32) -> u32),
            symbol_crc!(fn answer(question: *mut u32) -> u32),
            symbol_crc!(fn answer(question: u32, more: u32) -> u32),
            symbol_crc!(fn answer() -> u32),
        ];
        for (index, other) in others.iter().enumerate() {
            assert_ne!(crc, *other, "{index}");
            assert!(!others[..index].contains(other), "{index}");
        }
    }

    boundary_struct! {
        /// Two numbers.
        struct Pair { first: u32, second: u32 }
    }

    mod renamed {
        use crate::boundary_struct;

        boundary_struct! {
            /// The same with another field.
            struct Pair { first: u32, third: u32 }
        }
        pub(super) const CRC: u32 = symbol_crc!(fn take(pair: *const Pair));
    }

    #[test]
    fn a_crc_follows_the_fields_of_a_struct() {
        assert_ne!(symbol_crc!(fn take(pair: *const Pair)), renamed::CRC);
        let pair = Pair { first: 1, second: 2 };
        assert_eq!(size_of_val(&pair), 8);
        assert_eq!(pair.first + pair.second, 3);
    }
}
