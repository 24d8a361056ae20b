//! The applets against kmod 34.2, on the same arguments: output, messages and exit status.
//!
//! kmod is that of the corpus (`kmod34`); without it, these tests do nothing and say so.

mod elf;
mod modinfo;
mod oracle;
mod own;
mod usage;
