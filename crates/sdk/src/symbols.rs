//! Functions between modules.

/// Exports functions to other modules.
///
/// ```
/// ferrmod_sdk::export! {
///     /// Twice the number.
///     pub fn twice(number: u32) -> u32 {
///         number * 2
///     }
/// }
/// # fn main() { assert_eq!(twice(21), 42); }
/// ```
///
/// Types that may cross are C's: numbers, `bool`, pointers, arrays behind pointers, `unsafe extern "C" fn`, and structs made with
/// `ferrmod_boundary::boundary_struct!`. The symbol's CRC is made of them. A module that is proprietary may use it; see
/// [`export_gpl!`](crate::export_gpl).
#[macro_export]
macro_rules! export {
    ($($(#[$meta:meta])* pub fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block)*) => {
        $($crate::__export! {
            "__ksymtab", "__kcrctab",
            $(#[$meta])* pub fn $name($($argument: $type),*) $(-> $result)? $body
        })*
    };
}

/// Exports functions to modules under a licence compatible with the GPL; otherwise like [`export!`](crate::export).
#[macro_export]
macro_rules! export_gpl {
    ($($(#[$meta:meta])* pub fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block)*) => {
        $($crate::__export! {
            "__ksymtab_gpl", "__kcrctab_gpl",
            $(#[$meta])* pub fn $name($($argument: $type),*) $(-> $result)? $body
        })*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    (
        $symbols:literal, $crcs:literal,
        $(#[$meta:meta])* pub fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block
    ) => {
        $(#[$meta])*
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($argument: $type),*) $(-> $result)? $body

        // Entries are relative addresses, which a static cannot hold. The labels are Linux's: tools look for `__crc_NAME`.
        #[cfg(not(test))]
        ::core::arch::global_asm!(
            ::core::concat!(".pushsection __ksymtab_strings, \"a\", @progbits"),
            ::core::concat!("__kstrtab_", ::core::stringify!($name), ":"),
            ::core::concat!(".asciz \"", ::core::stringify!($name), "\""),
            ".popsection",
            ::core::concat!(".pushsection ", $symbols, ", \"a\", @progbits"),
            ".balign 4",
            ::core::concat!("__ksymtab_", ::core::stringify!($name), ":"),
            ::core::concat!(".long ", ::core::stringify!($name), " - ."),
            ::core::concat!(".long __kstrtab_", ::core::stringify!($name), " - ."),
            ".long 0",
            ".popsection",
            ::core::concat!(".pushsection ", $crcs, ", \"a\", @progbits"),
            ".balign 4",
            ::core::concat!("__crc_", ::core::stringify!($name), ":"),
            ".long {crc}",
            ".popsection",
            crc = const $crate::macros::symbol_crc!(fn $name($($argument: $type),*) $(-> $result)?),
        );
    };
}

/// Declares functions that another module exports.
///
/// ```no_run
/// ferrmod_sdk::import! {
///     from "answer":
///     /// The answer to a question.
///     fn answer_to(question: u32) -> u32;
/// }
/// # fn main() {}
/// ```
///
/// The module named is loaded first (`depends=`). Calling such a function is safe: the loader has compared the CRC made of this
/// declaration with the exporter's before the module's first instruction runs.
#[macro_export]
macro_rules! import {
    (
        from $module:literal:
        $($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*
    ) => {
        $(
            $(#[$meta])*
            $visibility fn $name($($argument: $type),*) $(-> $result)? {
                unsafe extern "C" {
                    fn $name($($argument: $type),*) $(-> $result)?;
                }
                // SAFETY: the exporter defines the function as a safe one of this type: the loader has compared the CRCs.
                unsafe { $name($($argument),*) }
            }

            const _: () = {
                #[used]
                #[unsafe(link_section = "__versions")]
                static VERSION: $crate::macros::Version = $crate::macros::Version::new(
                    ::core::stringify!($name),
                    $crate::macros::symbol_crc!(fn $name($($argument: $type),*) $(-> $result)?),
                );
            };

            const _: () = {
                const PARTS: &[&str] = &[::core::stringify!($name), "=", $module];
                #[used]
                #[unsafe(link_section = ".ferrmod.imports")]
                static IMPORT: [u8; $crate::macros::length(PARTS)] = $crate::macros::imported(PARTS);
            };
        )*
    };
}
