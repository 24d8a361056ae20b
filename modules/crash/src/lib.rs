//! `crash.ko`: goes wrong on purpose, so that you can see what the kernel makes of it. `how=` says in which way.
#![cfg_attr(not(test), no_std)]

use ferrmod_sdk::alloc::vec::Vec;
use ferrmod_sdk::{Error, Module, Result, pr_warn, yield_now};

use core::hint::black_box;

ferrmod_sdk::module! {
    type: Crash,
    name: "crash",
    version: "1.0",
    license: "Dual MIT/GPL",
    author: "The Ferrmod authors",
    description: "Goes wrong on purpose",
    params: {
        how: ferrmod_sdk::Text = ferrmod_sdk::Text::new("null"), 0o444,
            "null, index, write, stack, privileged, jump, divide, loop, sleep or free";
    },
}

struct Crash;

/// Reads a list with the worst of indices: an ordinary Rust panic.
#[inline(never)]
fn read_past_the_end() -> u32 {
    let list: Vec<u32> = (0..3).collect();
    list[black_box(3)]
}

#[inline(never)]
fn read_null() -> u32 {
    // SAFETY: none; this is the bug.
    unsafe { black_box(core::ptr::null::<u32>()).wrapping_add(4).read_volatile() }
}

#[inline(never)]
fn write_to_code() {
    // SAFETY: none; the kernel maps code without write access.
    unsafe { black_box(write_to_code as *mut u8).write_volatile(0) }
}

#[inline(never)]
fn jump_into_data() {
    static DATA: [u8; 16] = [0xc3; 16];
    // SAFETY: none; the kernel maps data without execute access.
    unsafe { core::mem::transmute::<*const u8, extern "C" fn()>(black_box(DATA.as_ptr()))() }
}

#[expect(unconditional_recursion, reason = "this is the bug")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + 1) + frame[0]
}

#[inline(never)]
fn halt_the_processor() {
    // SAFETY: none; `hlt` is for the kernel's own code.
    unsafe { core::arch::asm!("hlt") }
}

#[inline(never)]
fn divide() -> u32 {
    let result: u32;
    // Rust checks its divisions, so this one is the processor's own.
    // SAFETY: none; division by zero is the bug.
    unsafe {
        core::arch::asm!("div {zero:e}", zero = in(reg) 0u32, inout("eax") 1u32 => result, inout("edx") 0u32 => _);
    }
    result
}

#[inline(never)]
fn free_twice() {
    let block = Vec::<u64>::with_capacity(black_box(8));
    // SAFETY: none; the copy is freed, and then the block itself.
    drop(unsafe { core::ptr::read(&block) });
    drop(block);
}

#[inline(never)]
fn go_wrong(how: &str) -> Result {
    match how {
        "null" => drop(black_box(read_null())),
        "index" => drop(black_box(read_past_the_end())),
        "write" => write_to_code(),
        "stack" => drop(black_box(recurse(0))),
        "privileged" => halt_the_processor(),
        "jump" => jump_into_data(),
        "divide" => drop(black_box(divide())),
        "free" => free_twice(),
        "loop" => loop {
            core::hint::spin_loop();
        },
        "sleep" => loop {
            yield_now();
        },
        _ => return Err(Error::EINVAL),
    }
    Ok(())
}

impl Module for Crash {
    fn init() -> Result<Self> {
        let how = params::how.get();
        pr_warn!("about to go wrong: {how}");
        go_wrong(&how)?;
        pr_warn!("nobody noticed");
        Ok(Crash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_way_is_an_error() {
        assert_eq!(go_wrong("politely"), Err(Error::EINVAL));
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn the_list_is_too_short() {
        read_past_the_end();
    }
}
