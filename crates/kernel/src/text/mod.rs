//! The kernel's text: what it formats, scans, parses and logs.
//!
//! Everything here is a pure function or a plain state machine over bytes. Nothing reads memory by itself: where an
//! argument is an address, the caller hands in the trait that reads there, and an address that cannot be read is an
//! answer, not a fault.
//!
//! # What this module does not do
//! It never prints, never writes memory but through the traits handed in, and knows no kernel object: `%pd`,
//! `%pOF` and their like are asked of the caller.

pub mod arguments;
pub mod ctype;
pub mod errno;
pub mod format;
pub mod hexdump;
pub mod kinds;
pub mod log;
pub mod memory;
pub mod number;
pub mod params;
pub mod scan;
pub mod string;

pub use errno::Errno;
