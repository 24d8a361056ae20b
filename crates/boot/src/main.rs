//! The architecture half of the boot image. See the library's documentation.
#![no_std]
#![no_main]

extern crate alloc;

mod contexts;
mod deliver;
mod frames;
mod heap;
mod init;
mod initramfs;
mod paging;
mod platform;
mod power;
mod serial;
mod time;
mod traps;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::arch::global_asm;
use core::ops::Range;
use core::panic::PanicInfo;
use core::slice;

use ferrmod_boot::memory::{DIRECT_MAP, KERNEL_VMA, MemoryPlan, PAGE};
use ferrmod_boot::start_info;
use ferrmod_kernel::Options;
use ferrmod_kernel::percpu::AREA_SIZE;
use init::Init;
use initramfs::Initramfs;
use platform::Hardware;
use power::Verdict;
use serial::say;
use traps::Stack;

/// What the kernel needs to know of the Linux its modules were built for (`ferrmod_image::facts`).
const FACTS: &[u8] = b"etc/ferrmod/facts";
const BOOT_STACK: usize = 512 << 10;

static STACK: Stack<BOOT_STACK> = Stack::new();

global_asm!(include_str!("asm/mem.s"), options(att_syntax));
global_asm!(
    include_str!("asm/entry.s"),
    boot_stack = sym STACK,
    boot_stack_size = const BOOT_STACK,
    start = sym start,
    options(att_syntax)
);

unsafe extern "C" {
    static image_text_start: u8;
    static image_text_end: u8;
    static image_rodata_end: u8;
    static image_end: u8;
}

/// The stack of context 0, its guard page excluded.
fn boot_stack() -> Range<u64> {
    let stack = STACK.range();
    stack.start + PAGE..stack.end
}

fn image() -> paging::ImageParts {
    let [start, text, rodata, end] =
        [&raw const image_text_start, &raw const image_text_end, &raw const image_rodata_end, &raw const image_end]
            .map(|symbol| symbol as u64);
    paging::ImageParts { text: start..text, rodata: text..rodata, data: rodata..end }
}

/// What `entry.s` calls, on the boot stack and the boot tables.
extern "C" fn start(start_info: u64) -> ! {
    time::start();
    serial::initialise();
    say!("ferrmod boot {}", env!("CARGO_PKG_VERSION"));
    traps::initialise();
    heap::claim_early();

    let info = start_info::read(start_info, read_physical).unwrap_or_else(|error| fail(&error));
    let image = image();
    let mut taken = Vec::new();
    taken.push(0x10_0000..image.data.end - KERNEL_VMA);
    taken.extend(info.modules.iter().chain(&info.own).cloned());
    let Some(plan) = MemoryPlan::new(&info.ram, &taken, AREA_SIZE) else { fail(&"not enough memory") };
    let initramfs = info.modules.first().cloned().unwrap_or(0..0);
    frames::initialise(&plan.frames);
    if let Err(error) = paging::initialise(&plan, &image, &initramfs) {
        fail(&format_args!("page tables: {error:?}"));
    }
    paging::guard(STACK.range().start);
    traps::guard_stacks();
    // SAFETY: the final tables map the range, the plan gives it to nobody else, and this is called once.
    unsafe { heap::claim(DIRECT_MAP + plan.rust_heap.start..DIRECT_MAP + plan.rust_heap.end) };
    traps::set_gs_base(DIRECT_MAP + plan.percpu.start);
    time::initialise();
    let megabytes = |range: &Range<u64>| (range.end - range.start) >> 20;
    say!(
        "memory: {} MiB of heap, {} of module text, {} of module data, {} of our own; up after {} us",
        megabytes(&plan.heap),
        megabytes(&plan.text),
        megabytes(&plan.data),
        megabytes(&plan.rust_heap),
        time::now() / 1000
    );

    // SAFETY: the final tables map the range read-only for ever, and the plan gives it to nobody.
    let archive = unsafe {
        slice::from_raw_parts((DIRECT_MAP + initramfs.start) as *const u8, (initramfs.end - initramfs.start) as usize)
    };
    let initramfs = Initramfs::new(archive);
    let platform: &'static Hardware = Box::leak(Box::new(Hardware::new(&plan, initramfs)));
    let command_line = String::from_utf8_lossy(&info.command_line).into_owned();
    power::off(run(platform, initramfs, command_line))
}

/// Boots the kernel over the machine, and obeys the script.
fn run(platform: &'static Hardware, initramfs: Initramfs, command_line: String) -> Verdict {
    deliver::configure(&command_line);
    let kernel = ferrmod_kernel::boot(platform, Options { command_line, ..Options::default() });
    if let Err(error) = ferrmod_abi_native::boot(kernel) {
        fail(&error);
    }
    match initramfs.file(FACTS) {
        Some(facts) => match ferrmod_abi_linux::boot(kernel, facts) {
            Ok(()) => say!("linux: up after {} us", time::now() / 1000),
            Err(error) => say!("linux: {error}; modules built for Linux cannot be loaded"),
        },
        None => say!("linux: no /etc/ferrmod/facts; modules built for Linux cannot be loaded"),
    }
    let Some(script) = initramfs.file(init::PATH) else { fail(&"the initramfs has no /init.ferrmod") };
    let Ok(script) = core::str::from_utf8(script) else { fail(&"/init.ferrmod is not text") };
    say!("kernel: up after {} us", time::now() / 1000);
    Init::new(kernel, initramfs).run(script)
}

/// Reads physical memory through the boot tables, which map the first 4 GiB.
fn read_physical(address: u64, into: &mut [u8]) -> bool {
    const REACH: u64 = 4 << 30;
    if address.checked_add(into.len() as u64).is_none_or(|end| end > REACH) {
        return false;
    }
    // SAFETY: the range is mapped by the boot tables, and `into` is memory of the image, which the monitor does not place
    // its structures in.
    unsafe { core::ptr::copy_nonoverlapping((DIRECT_MAP + address) as *const u8, into.as_mut_ptr(), into.len()) };
    true
}

fn fail(reason: &dyn core::fmt::Display) -> ! {
    say!("cannot boot: {reason}");
    power::off(power::Verdict::Halted)
}

#[cfg_attr(not(test), panic_handler)]
#[cfg_attr(test, expect(dead_code, reason = "a test has std's"))]
fn panic(info: &PanicInfo<'_>) -> ! {
    deliver::panicked(info);
    say!("{info}");
    power::off(Verdict::Halted)
}
