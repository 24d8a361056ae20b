//! The child's memory: made once, with final permissions, at the addresses of [`crate::layout`].

use std::arch::{asm, global_asm};
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Step, whole_pages};
use crate::layout::{
    ABSENT, ARCH_SET_GS, BOOT_STACK, CONTEXTS, DATA, HEAP_SIZES, HEAP_START, INBOX, INBOX_OFFSET, PAGE, PERCPU, RODATA,
    STACK, STACKS, TEXT, VMEMMAP, WINDOWS,
};

static HEAP_END: AtomicU64 = AtomicU64::new(0);

/// The heap, as large as it could be had.
pub(super) fn heap() -> Range<u64> {
    HEAP_START..HEAP_END.load(Ordering::Relaxed)
}

fn place(range: Range<u64>, protection: i32, flags: i32, file: RawFd, offset: u64) -> io::Result<()> {
    let length = (range.end - range.start) as usize;
    // SAFETY: MAP_FIXED_NOREPLACE fails rather than touch what is mapped already.
    let at = unsafe {
        libc::mmap(
            range.start as *mut libc::c_void,
            length,
            protection,
            flags | libc::MAP_FIXED_NOREPLACE | libc::MAP_NORESERVE,
            file,
            offset as i64,
        )
    };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    if at as u64 != range.start {
        // A kernel before 4.17 takes the address as a hint.
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(())
}

/// Makes every mapping. `file` is the shared file.
pub(super) fn map(file: RawFd) -> Step {
    let (read, write, execute) = (libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC);
    let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let shared = libc::MAP_SHARED;
    let named = |what| move |error| (what, error);
    place(TEXT, read | execute, shared, file, 0).map_err(named("module text"))?;
    place(RODATA, read, shared, file, RODATA.start - TEXT.start).map_err(named("module rodata"))?;
    place(INBOX, read, shared, file, INBOX_OFFSET).map_err(named("inbox"))?;
    place(DATA, read | write, private, -1, 0).map_err(named("module data"))?;
    place(WINDOWS, libc::PROT_NONE, private, -1, 0).map_err(named("device windows"))?;
    place(ABSENT, libc::PROT_NONE, private, -1, 0).map_err(named("absent symbols"))?;
    place(PERCPU, read | write, private, -1, 0).map_err(named("per-CPU area"))?;
    place(VMEMMAP, read | write, private, -1, 0).map_err(named("vmemmap"))?;
    let mut last = Err(("heap", io::ErrorKind::OutOfMemory.into()));
    for size in HEAP_SIZES {
        last = place(HEAP_START..HEAP_START + size, read | write, private, -1, 0).map_err(named("heap"));
        if last.is_ok() {
            HEAP_END.store(HEAP_START + size, Ordering::Relaxed);
            break;
        }
    }
    last?;
    let stacks = STACKS..STACKS + PAGE + BOOT_STACK + PAGE + u64::from(CONTEXTS) * (STACK + PAGE);
    place(stacks, libc::PROT_NONE, private, -1, 0).map_err(named("stacks"))?;
    open(super::context::boot_stack()).map_err(named("scheduler stack"))
}

/// Makes a part of the stacks usable.
pub(super) fn open(range: Range<u64>) -> io::Result<()> {
    protect(range, libc::PROT_READ | libc::PROT_WRITE)
}

fn protect(range: Range<u64>, protection: i32) -> io::Result<()> {
    // SAFETY: callers pass ranges of the data region, the heap or the stacks, which this module mapped; never executable.
    match unsafe { libc::mprotect(range.start as *mut libc::c_void, (range.end - range.start) as usize, protection) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a part of the data region read-only, or writable again.
pub(super) fn seal(range: Range<u64>, read_only: bool) -> bool {
    whole_pages(range.start, range.end)
        && crate::layout::inside(&DATA, range.start, range.end - range.start)
        && (range.is_empty()
            || protect(range, if read_only { libc::PROT_READ } else { libc::PROT_READ | libc::PROT_WRITE }).is_ok())
}

/// Makes a part of the heap inaccessible, or usable again.
pub(super) fn forbid(range: Range<u64>, inaccessible: bool) -> bool {
    let protection = if inaccessible { libc::PROT_NONE } else { libc::PROT_READ | libc::PROT_WRITE };
    whole_pages(range.start, range.end)
        && crate::layout::inside(&heap(), range.start, range.end - range.start)
        && (range.is_empty() || protect(range, protection).is_ok())
}

/// Gives pages of private memory back; they read as zeros afterwards.
pub(super) fn discard(range: Range<u64>) {
    if whole_pages(range.start, range.end) && !range.is_empty() {
        // SAFETY: callers pass ranges of the data region, the heap, the per-CPU area or a stack nobody runs on.
        unsafe {
            libc::madvise(range.start as *mut libc::c_void, (range.end - range.start) as usize, libc::MADV_DONTNEED);
        }
    }
}

/// Where GS points.
static GS: AtomicU64 = AtomicU64::new(0);

/// Points GS at the first per-CPU area. The C library does not use GS on x86-64.
pub(super) fn set_gs() -> Step {
    super::check("ARCH_SET_GS", arch_set_gs(PERCPU.start))
}

/// Points GS at a per-CPU area.
pub(super) fn select_gs(area: u64) {
    if GS.load(Ordering::Relaxed) != area {
        arch_set_gs(area);
    }
}

fn arch_set_gs(area: u64) -> i64 {
    GS.store(area, Ordering::Relaxed);
    // SAFETY: sets the GS base of this thread only.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, area) }
}

// A copy that may fault: the fault handler knows the one instruction that can, and goes on behind it.
global_asm!(
    ".pushsection .text.ferrmod_machine_copy,\"ax\",@progbits",
    ".globl ferrmod_machine_copy",
    ".hidden ferrmod_machine_copy",
    "ferrmod_machine_copy:",
    "mov rcx, rdx",
    ".globl ferrmod_machine_copy_access",
    ".hidden ferrmod_machine_copy_access",
    "ferrmod_machine_copy_access:",
    "rep movsb",
    ".globl ferrmod_machine_copy_end",
    ".hidden ferrmod_machine_copy_end",
    "ferrmod_machine_copy_end:",
    "mov rax, rcx",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    fn ferrmod_machine_copy(to: *mut u8, from: *const u8, length: usize) -> usize;
    static ferrmod_machine_copy_access: u8;
    static ferrmod_machine_copy_end: u8;
}

/// Copies memory that may not be there; whether all of it was copied.
///
/// # Safety
/// What is written at `to` must be memory that the caller may change, or memory that is not mapped writable at all.
pub(super) unsafe fn copy(to: u64, from: u64, length: usize) -> bool {
    // SAFETY: the caller answers for what is written; a fault at either end ends the copy early.
    unsafe { ferrmod_machine_copy(to as *mut u8, from as *const u8, length) == 0 }
}

/// Where to go on when the instruction at `rip` has faulted, if that is the copy's.
pub(super) fn copy_fixup(rip: u64) -> Option<u64> {
    (rip == &raw const ferrmod_machine_copy_access as u64).then_some(&raw const ferrmod_machine_copy_end as u64)
}

/// Clears the alignment-check flag: module code may have set it, and Rust code makes unaligned accesses.
pub(super) fn clear_alignment_check() {
    // SAFETY: changes one flag that no Rust code depends on being set; the stack is used and restored.
    unsafe { asm!("pushfq", "and qword ptr [rsp], {mask}", "popfq", mask = const !0x4_0000_i32) };
}
