//! Stacks, and switching between them.
//!
//! Context 0 is the boot stack. The others have a slot each in their own part of the address space, whose lower part is
//! never mapped; pages of a stack appear when first touched.

use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ferrmod_boot::memory::{PAGE, STACKS};

use crate::paging;

/// Distance between stacks.
const SLOT: u64 = 512 << 10;
/// Size of a stack; what is below it in its slot is the guard.
const SIZE: u64 = 256 << 10;
const COUNT: usize = 1024;
/// Never a stack pointer.
const TAKEN: u64 = 1;

/// The saved stack pointer of each context; 0: free.
static SAVED: [AtomicU64; COUNT] = [const { AtomicU64::new(0) }; COUNT];
static RUNNING: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" {
    fn context_switch(save: *mut u64, load: u64);
    fn context_start();
}

/// The running context.
pub(crate) fn running() -> u32 {
    RUNNING.load(Ordering::Relaxed)
}

/// The stack of a context, guard excluded.
pub(crate) fn stack_of(context: u32) -> Range<u64> {
    if context == 0 {
        return crate::boot_stack();
    }
    let end = STACKS + (u64::from(context) + 1) * SLOT;
    end - SIZE..end
}

/// Whether `address` is below the stack of the running context, but not as far as the next stack.
pub(crate) fn in_guard(address: u64) -> bool {
    let stack = stack_of(running());
    let guard = if running() == 0 { PAGE } else { SLOT - SIZE };
    (stack.start - guard..stack.start).contains(&address)
}

/// Makes a context that will run `entry(argument)`; `None` when there is no stack to be had.
pub(crate) fn create(entry: extern "C" fn(u64) -> !, argument: u64) -> Option<u32> {
    let context = (1..COUNT as u32).find(|&index| {
        let slot = &SAVED[index as usize];
        slot.compare_exchange(0, TAKEN, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    })?;
    let stack = stack_of(context);
    // What `context_switch` pops (r15 r14 r13 r12 rbx rbp, return address) with rsp a multiple of 16 after it.
    let frame = [0, 0, 0, argument, entry as usize as u64, 0, context_start as *const () as u64, 0];
    let pointer = stack.end - PAGE / 2;
    let top = pointer - size_of_val(&frame) as u64 + 8;
    if paging::reserve_stack(stack).is_err() || !paging::readable(top) {
        release(context);
        return None;
    }
    // SAFETY: the top page of the new stack is mapped and nobody else's; `top` is 8-byte aligned and inside it.
    unsafe { (top as *mut [u64; 8]).write(frame) };
    SAVED[context as usize].store(top, Ordering::Relaxed);
    Some(context)
}

/// Saves the running context as `from` and goes on with `to`.
pub(crate) fn switch(from: u32, to: u32) {
    let (Some(save), Some(load)) = (SAVED.get(from as usize), SAVED.get(to as usize)) else {
        return;
    };
    let load = load.load(Ordering::Relaxed);
    if load <= TAKEN || from == to {
        return;
    }
    RUNNING.store(to, Ordering::Relaxed);
    // SAFETY: `load` was saved by `context_switch` or prepared by `create`, and its context is not running.
    unsafe { context_switch(save.as_ptr(), load) };
}

/// The saved instruction pointer, stack pointer, rbp, rbx and r12 to r15 of a context that does not run.
pub(crate) fn saved(context: u32) -> Option<[u64; 8]> {
    let pointer = SAVED.get(context as usize)?.load(Ordering::Relaxed);
    let mut words = [[0; 8]; 7];
    let frame = (pointer > TAKEN && context != running()).then_some(words.as_flattened_mut())?;
    if !paging::read(pointer, frame) {
        return None;
    }
    // As `context_switch` pushed them.
    let [r15, r14, r13, r12, rbx, rbp, rip] = words.map(u64::from_le_bytes);
    Some([rip, pointer + 56, rbp, rbx, r12, r13, r14, r15])
}

fn release(context: u32) {
    paging::hide(stack_of(context));
    SAVED[context as usize].store(0, Ordering::Relaxed);
}

/// Frees a context that will never run again.
pub(crate) fn destroy(context: u32) {
    if context != 0 && context != running() && (context as usize) < COUNT {
        release(context);
    }
}
