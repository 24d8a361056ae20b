//! The kernel on x86-64 hardware, in its smallest form.
//!
//! The binary of this package is one ELF file that a virtual machine monitor loads through the PVH protocol
//! (`qemu-system-x86_64 -kernel ferrmod-boot -initrd FILE`). It sets up long mode, paging with W^X, traps, a timer and a
//! serial console, gives the kernel a [`Platform`](https://docs.rs/ferrmod-kernel) over them, and obeys the script
//! `/init.ferrmod` of its initramfs. It proves that `kernel`, `linker` and the `abi-*` rooms need no process around them.
//!
//! This library half is what can be checked on any host: arithmetic over bytes and ranges, no unsafe code. The binary
//! half (`main.rs` and the files it names) is the architecture.
//!
//! # What this crate does not do
//! One processor, no user mode, no devices but the serial port and the timer, no preemption: a module that disables
//! interrupts or overwrites control registers in ring 0 takes the machine with it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod clock;
pub mod memory;
pub mod script;
pub mod start_info;
