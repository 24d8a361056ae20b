//! Notifier chains: C lists of functions that are called when something happens.

use ferrmod_kernel::{Errno, kernel};

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, symbols};

layout! {
    mod notifier_block = "notifier_block" { notifier_call, next, priority }
    mod atomic_notifier_head = "atomic_notifier_head" { head }
    mod blocking_notifier_head = "blocking_notifier_head" { head }
    mod raw_notifier_head = "raw_notifier_head" { head }
    mod srcu_notifier_head = "srcu_notifier_head" { head }
}

/// `NOTIFY_STOP_MASK`: nobody after this one is called.
const STOP: i32 = 0x8000;

/// Puts a block behind those of the same or a higher priority. `head` is the address of the pointer to the first.
pub(crate) fn register(head: u64, block: u64, unique: bool) -> Result<(), Errno> {
    // SAFETY: a chain of blocks of modules that are registered, and the caller's block.
    unsafe {
        let priority: i32 = notifier_block::priority.get(block);
        let mut link = head;
        loop {
            let other: u64 = ram::get(link);
            if other == 0 {
                break;
            }
            if other == block {
                kernel().warn("notifier callback already registered", notifier_block::notifier_call.get(block));
                return Err(Errno::EEXIST);
            }
            let others: i32 = notifier_block::priority.get(other);
            if priority > others {
                break;
            }
            if unique && priority == others {
                return Err(Errno::EBUSY);
            }
            link = notifier_block::next.at(other);
        }
        notifier_block::next.set(block, ram::get::<u64>(link));
        ram::put(link, block);
    }
    Ok(())
}

/// Takes a block out of a chain.
pub(crate) fn unregister(head: u64, block: u64) -> Result<(), Errno> {
    // SAFETY: a chain of registered blocks.
    unsafe {
        let mut link = head;
        loop {
            match ram::get::<u64>(link) {
                0 => return Err(Errno::ENOENT),
                other if other == block => {
                    ram::put(link, notifier_block::next.get::<u64>(block));
                    return Ok(());
                }
                other => link = notifier_block::next.at(other),
            }
        }
    }
}

/// Calls one block.
pub(crate) fn call_one(block: u64, event: u64, data: u64) -> i32 {
    // SAFETY: the block of a module that registers or has registered it.
    unsafe { ram::call(notifier_block::notifier_call.get(block), [block, event, data]) as i32 }
}

/// Calls a chain; the last answer, and how many were called. `most` limits them when it is not negative.
fn call_some(head: u64, event: u64, data: u64, most: i32) -> (i32, i32) {
    let (mut answer, mut called) = (0, 0);
    // SAFETY: a chain of registered blocks; the next is read before the call, as a block may take itself out.
    unsafe {
        let mut block: u64 = ram::get(head);
        while block != 0 && called != most {
            let next = notifier_block::next.get(block);
            answer = ram::call(notifier_block::notifier_call.get(block), [block, event, data]) as i32;
            called += 1;
            if answer & STOP != 0 {
                break;
            }
            block = next;
        }
    }
    (answer, called)
}

/// Calls every function of a chain until one stops it; the last answer.
pub(crate) fn call(head: u64, event: u64, data: u64) -> i32 {
    call_some(head, event, data, -1).0
}

/// The error in an answer (`notifier_to_errno`).
pub(crate) fn to_errno(answer: i32) -> Result<(), Errno> {
    /// `NOTIFY_OK`
    const OK: i32 = 1;
    match answer & !STOP {
        answer if answer > OK => Err(Errno(answer - OK)),
        _ => Ok(()),
    }
}

/// Calls a chain with `up`; when one answers with an error, those called before get `down` (`*_call_chain_robust`).
pub(crate) fn call_robust(head: u64, up: u64, down: u64, data: u64) -> i32 {
    let (answer, called) = call_some(head, up, data, -1);
    if answer & STOP != 0 && to_errno(answer).is_err() {
        call_some(head, down, data, called - 1);
    }
    answer
}

fn outcome(result: Result<(), Errno>) -> i32 {
    Errno::returned(result)
}

macro_rules! chains {
    ($($head:ident $register:ident $unique:ident $unregister:ident $call:ident $robust:ident;)*) => {
        $(
            /// Adds a block: chain, block.
            extern "C" fn $register(chain: u64, block: u64) -> i32 {
                outcome(register($head::head.at(chain), block, false))
            }
            /// Adds a block unless there is one of its priority.
            extern "C" fn $unique(chain: u64, block: u64) -> i32 {
                outcome(register($head::head.at(chain), block, true))
            }
            /// Takes a block out: chain, block.
            extern "C" fn $unregister(chain: u64, block: u64) -> i32 {
                outcome(unregister($head::head.at(chain), block))
            }
            /// Calls the chain: chain, event, data.
            extern "C" fn $call(chain: u64, event: u64, data: u64) -> i32 {
                call($head::head.at(chain), event, data)
            }
            /// Calls the chain and undoes it after an error: chain, event, undoing event, data.
            extern "C" fn $robust(chain: u64, up: u64, down: u64, data: u64) -> i32 {
                call_robust($head::head.at(chain), up, down, data)
            }
        )*
    };
}

chains! {
    atomic_notifier_head atomic_notifier_chain_register atomic_notifier_chain_register_unique_prio
        atomic_notifier_chain_unregister atomic_notifier_call_chain atomic_notifier_call_chain_robust;
    blocking_notifier_head blocking_notifier_chain_register blocking_notifier_chain_register_unique_prio
        blocking_notifier_chain_unregister blocking_notifier_call_chain blocking_notifier_call_chain_robust;
    raw_notifier_head raw_notifier_chain_register raw_notifier_chain_register_unique_prio raw_notifier_chain_unregister
        raw_notifier_call_chain raw_notifier_call_chain_robust;
    srcu_notifier_head srcu_notifier_chain_register srcu_notifier_chain_register_unique_prio srcu_notifier_chain_unregister
        srcu_notifier_call_chain srcu_notifier_call_chain_robust;
}

/// `void srcu_init_notifier_head(struct srcu_notifier_head *)`
extern "C" fn srcu_init_notifier_head(chain: u64) {
    // SAFETY: the caller's chain.
    unsafe { ram::fill(chain, 0, srcu_notifier_head::SIZE.get()) };
}

/// A chain of the kernel's own: the pointer to its first block.
macro_rules! own_chains {
    ($($chain:ident $name:literal $kind:literal $register:ident $unregister:ident;)*) => {
        $(
            static $chain: Datum = Datum::new($name, 8, Begin::Zero);
            /// Adds a block to a chain of the kernel's.
            extern "C" fn $register(block: u64) -> i32 {
                let caller = ram::caller();
                own_register(&$chain, $kind, block, caller)
            }
            /// Takes it out again.
            extern "C" fn $unregister(block: u64) -> i32 {
                kernel().registrations.remove($kind, block);
                outcome(unregister($chain.address(), block))
            }
        )*
        /// The variables of this file: the chains themselves, and one that modules register with by themselves.
        pub(crate) static VARIABLES: &[&Datum] = &[&PANIC, $(&$chain),*];
    };
}

fn own_register(chain: &Datum, kind: &'static str, block: u64, caller: u64) -> i32 {
    let result = register(chain.address(), block, false);
    if result.is_ok() {
        // SAFETY: the caller's block.
        let function: u64 = unsafe { notifier_block::notifier_call.get(block) };
        let name = symbols::name_of(function).map_or_else(|| kernel().symbolise(function), |(name, _)| name.into());
        let _ = kernel().registrations.add(kind, block, name, kernel().owner_of(caller));
    }
    outcome(result)
}

own_chains! {
    MODULE "module_notify_list" "module notifier" register_module_notifier unregister_module_notifier;
    REBOOT "reboot_notifier_list" "reboot notifier" register_reboot_notifier unregister_reboot_notifier;
    PM "pm_chain_head" "pm notifier" register_pm_notifier unregister_pm_notifier;
    MEMORY "memory_chain" "memory notifier" register_memory_notifier unregister_memory_notifier;
    DIE "die_chain" "die notifier" register_die_notifier unregister_die_notifier;
    OOM "oom_notify_list" "oom notifier" register_oom_notifier unregister_oom_notifier;
    RESTART "restart_handler_list" "restart handler" register_restart_handler unregister_restart_handler;
    VT "vt_notifier_list" "vt notifier" register_vt_notifier unregister_vt_notifier;
    KEYBOARD "keyboard_notifier_list" "keyboard notifier" register_keyboard_notifier unregister_keyboard_notifier;
    VMAP "vmap_notify_list" "vmap notifier" register_vmap_purge_notifier unregister_vmap_purge_notifier;
}

/// Where the list of module notifiers begins.
pub(crate) fn modules() -> u64 {
    MODULE.address()
}

static PANIC: Datum = Datum::new("panic_notifier_list", 64, Begin::Zero);

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c atomic_notifier_chain_register, c atomic_notifier_chain_register_unique_prio, c atomic_notifier_chain_unregister,
    c atomic_notifier_call_chain, c blocking_notifier_chain_register, c blocking_notifier_chain_register_unique_prio,
    c blocking_notifier_chain_unregister, c blocking_notifier_call_chain, c blocking_notifier_call_chain_robust,
    c atomic_notifier_call_chain_robust, c raw_notifier_chain_register, c raw_notifier_chain_register_unique_prio,
    c raw_notifier_chain_unregister, c raw_notifier_call_chain,
    c raw_notifier_call_chain_robust, c srcu_notifier_chain_register,
    c srcu_notifier_chain_register_unique_prio, c srcu_notifier_chain_unregister, c srcu_notifier_call_chain_robust,
    c srcu_notifier_call_chain, c srcu_init_notifier_head, c register_module_notifier, c unregister_module_notifier,
    c register_reboot_notifier, c unregister_reboot_notifier, c register_pm_notifier, c unregister_pm_notifier,
    c register_memory_notifier, c unregister_memory_notifier, c register_die_notifier, c unregister_die_notifier,
    c register_oom_notifier, c unregister_oom_notifier, c register_restart_handler, c unregister_restart_handler,
    c register_vt_notifier, c unregister_vt_notifier, c register_keyboard_notifier, c unregister_keyboard_notifier,
    c register_vmap_purge_notifier, c unregister_vmap_purge_notifier,
];
