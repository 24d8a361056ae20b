//! Writing a kernel module in Rust.
//!
//! A module is a library crate that names a type and says what it is called:
//!
//! ```
//! use ferrmod_sdk::{Module, Result, pr_info};
//!
//! ferrmod_sdk::module! {
//!     type: Hello,
//!     name: "hello",
//!     license: "Dual MIT/GPL",
//!     author: "Ada",
//!     description: "Greets when it comes and when it goes",
//!     params: {
//!         whom: ferrmod_sdk::Text = ferrmod_sdk::Text::new("world"), 0o644, "Who is greeted";
//!         times: u32 = 1, 0o444, "How often";
//!     },
//! }
//!
//! struct Hello;
//!
//! impl Module for Hello {
//!     fn init() -> Result<Self> {
//!         for _ in 0..params::times.get() {
//!             pr_info!("hello, {}", params::whom.get());
//!         }
//!         Ok(Hello)
//!     }
//! }
//!
//! impl Drop for Hello {
//!     fn drop(&mut self) {
//!         pr_info!("good-bye, {}", params::whom.get());
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! The value that [`Module::init`] returns lives as long as the module is loaded and is dropped when it is unloaded. Whatever
//! registers something is a value too ([`Device`], [`ProcFile`], [`Task`]): keep it in the module's struct, and it is taken
//! back when the module goes.
//!
//! # From a crate to a `.ko`
//! The crate is an ordinary library (`#![no_std]`, no `crate-type`). `ferrmod-sdk-build` turns it into an ELF `.ko` file that has
//! the same sections as any Linux module: `modinfo` prints it, `depmod` finds its exports, the linker checks its CRCs. See this
//! crate's README for the steps.
//!
//! # Functions between modules
//! [`export!`] makes functions that other modules can call; [`import!`] declares them there. Both compute the CRC of the type, and
//! the loader refuses a module when they differ.
//!
//! # What a panic does
//! It is an oops: the kernel prints message, place and back-trace, and ends the task that panicked. Nothing unwinds and nothing is
//! dropped, as with any other oops. Running out of memory in `Vec` or `Box` is a panic; use `try_reserve` where that must not be.
//!
//! # Tests
//! With the feature `host` in its `[dev-dependencies]` a module's functions run under `cargo test`: the module `host` stands in
//! for the kernel.
//!
//! # What this crate does not do
//! It gives no access to Linux's functions or structs: a module for Linux's own interface is written in C, and Ferrmod loads it
//! just the same. It never passes a Rust type to the kernel or to another module.
#![cfg_attr(not(feature = "host"), no_std)]

pub extern crate alloc;

mod error;
mod file;
mod heap;
#[cfg(feature = "host")]
pub mod host;
mod lock;
pub mod log;
mod module;
mod parameter;
mod symbols;
mod task;
mod time;

pub use error::{Error, Result};
pub use file::{CharDevice, Device, ProcFile};
pub use heap::Heap;
pub use lock::{Guard, Lock};
pub use module::Module;
pub use parameter::{Param, ParamType, Text};
pub use task::{Task, sleep, yield_now};
pub use time::{fill_random, now, random, wall_clock};

/// What the macros of this crate expand to. Not for use by name.
#[doc(hidden)]
pub mod macros {
    pub use crate::module::{Static, exit, imported, init, length, modinfo, panicked};
    pub use ferrmod_boundary::{KernelParam, Opaque, ThisModule, VERMAGIC, Version, symbol_crc};
}

/// The kernel's functions.
pub(crate) mod kernel {
    macro_rules! declare {
        ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*) => {
            unsafe extern "C" {
                $($(#[$doc])* pub(crate) fn $name($($argument: $type),*) $(-> $result)?;)*
            }

            $(const _: () = {
                // The build keeps those of the functions that the module calls.
                #[used]
                #[unsafe(link_section = "__versions")]
                static VERSION: ferrmod_boundary::Version = ferrmod_boundary::Version::new(
                    stringify!($name),
                    ferrmod_boundary::symbol_crc!(fn $name($($argument: $type),*) $(-> $result)?),
                );
            };)*
        };
    }

    ferrmod_boundary::kernel_functions!(declare);

    const _: () = {
        #[used]
        #[unsafe(link_section = "__versions")]
        static VERSION: ferrmod_boundary::Version =
            ferrmod_boundary::Version::new("module_layout", ferrmod_boundary::MODULE_LAYOUT);
    };
}
