//! Real input for the tests, and what Linux said to it.
//!
//! Tests of this project compare with the real thing: thousands of modules that a distribution
//! built ([`corpus`]), modules of our own that the stock kbuild built, and the recorded answers of
//! a stock kernel to well-formed and broken modules ([`oracle`]). Behaviour that spans several
//! crates is tested in this package's `tests/`.
//!
//! # What this crate does not do
//!
//! It fetches and builds nothing (`cargo xtask corpus`, `cargo xtask modules` do) and depends on no
//! other crate of the project, so that every one of them can use it.

#![forbid(unsafe_code)]

pub mod corpus;
pub mod module_file;
pub mod newc;
pub mod oracle;
pub mod qemu;
pub mod random;
