//! Static keys and static calls: branches and calls that are patched when somebody changes his mind.

use alloc::sync::Arc;

use ferrmod_kernel::kernel;
use ferrmod_kernel::module::Module;
use ferrmod_linker::Branch;

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod static_key = "static_key" { enabled }
    mod static_call_key = "static_call_key" { func }
}

/// Whether a key is on now. One that cannot be read is a variable nobody provides, and those are off.
fn is_enabled(key: u64) -> bool {
    let mut bytes = [0; 4];
    kernel().platform.read(static_key::enabled.at(key), &mut bytes).is_ok() && i32::from_le_bytes(bytes) > 0
}

/// Makes a branch what its key says. True when that changed it.
fn patch(branch: &Branch, enabled: bool) -> bool {
    let platform = kernel().platform;
    // A branch at the very end of its memory has two bytes, any other can be read with five.
    let mut current = [0; 5];
    let length = if platform.read(branch.site, &mut current).is_ok() { 5 } else { 2 };
    if length == 2 && platform.read(branch.site, &mut current[..2]).is_err() {
        return false;
    }
    let Some(code) = branch.code(&current[..length], enabled) else {
        kernel().warn("jump_label: there is neither a jump nor a NOP here", branch.site);
        return false;
    };
    let code = code.as_bytes();
    code != &current[..code.len()] && platform.write(branch.site, code).is_ok()
}

fn commit(changed: bool) {
    if changed && kernel().platform.commit().is_err() {
        kernel().warn("patched code could not be made visible", 0);
    }
}

/// A module comes: its branches become what their keys say, whosever keys these are.
pub(crate) fn coming(module: &Arc<Module>) {
    let linked = module.linked();
    let changed = linked.branches.iter().fold(false, |changed, branch| patch(branch, is_enabled(branch.key)) | changed);
    commit(changed);
}

/// A key was switched: so are its branches in every module.
fn switch(key: u64, enabled: bool) {
    let mut changed = false;
    for module in kernel().modules.all() {
        for branch in module.linked().branches.iter().filter(|branch| branch.key == key) {
            changed |= patch(branch, enabled);
        }
    }
    commit(changed);
}

fn count(key: u64) -> i32 {
    // SAFETY: the caller's key.
    unsafe { static_key::enabled.get(key) }
}
fn set_count(key: u64, value: i32) {
    // SAFETY: as above.
    unsafe { static_key::enabled.set(key, value) };
}

/// `int static_key_count(struct static_key *)`: one that is being switched on counts as one.
extern "C" fn static_key_count(key: u64) -> i32 {
    match count(key) {
        negative if negative < 0 => 1,
        value => value,
    }
}
/// `bool static_key_slow_inc(struct static_key *)`
extern "C" fn static_key_slow_inc(key: u64) -> bool {
    let before = count(key);
    set_count(key, before.saturating_add(1));
    if before == 0 {
        switch(key, true);
    }
    true
}
extern "C" fn static_key_slow_dec(key: u64) {
    let caller = ram::caller();
    match count(key) {
        value if value <= 0 => kernel().warn("jump label: negative count!", caller),
        1 => {
            set_count(key, 0);
            switch(key, false);
        }
        value => set_count(key, value - 1),
    }
}
/// Switches on what is off, and complains about a key that is counted.
extern "C" fn static_key_enable(key: u64) {
    enable(key, ram::caller());
}

/// Switches a key on.
pub(crate) fn enable(key: u64, caller: u64) {
    match count(key) {
        0 => {
            set_count(key, 1);
            switch(key, true);
        }
        1 => (),
        _ => kernel().warn("static_key_enable: the key is counted", caller),
    }
}
extern "C" fn static_key_disable(key: u64) {
    disable(key, ram::caller());
}

/// Switches a key off.
pub(crate) fn disable(key: u64, caller: u64) {
    match count(key) {
        1 => {
            set_count(key, 0);
            switch(key, false);
        }
        0 => (),
        _ => kernel().warn("static_key_disable: the key is counted", caller),
    }
}

/// The code of a trampoline: a jump to the function, or a return.
fn trampoline(at: u64, function: u64) -> Option<[u8; 5]> {
    if function == 0 {
        // ret; int3 four times.
        return Some([0xc3, 0xcc, 0xcc, 0xcc, 0xcc]);
    }
    let distance = function.wrapping_sub(at.wrapping_add(5)) as i64;
    let [a, b, c, d] = i32::try_from(distance).ok()?.to_le_bytes();
    Some([0xe9, a, b, c, d])
}

/// `void __static_call_update(struct static_call_key *, void *trampoline, void *function)`: every call goes through the
/// trampoline, so that is the one place to patch.
extern "C" fn __static_call_update(key: u64, at: u64, function: u64) {
    let caller = ram::caller();
    // SAFETY: the caller's key.
    unsafe { static_call_key::func.set(key, function) };
    if at == 0 {
        return;
    }
    match trampoline(at, function) {
        Some(code) => commit(kernel().platform.write(at, &code).is_ok()),
        None => kernel().warn("static_call: the function is too far from its trampoline", caller),
    }
}
/// `long __static_call_return0(void)`
extern "C" fn __static_call_return0() -> i64 {
    0
}

macro_rules! keys {
    ($begin:expr; $($ident:ident $name:literal),* $(,)?) => {
        $(static $ident: Datum = Datum::new($name, 16, $begin);)*
    };
}

static INITIALISED: Datum = Datum::new(
    "static_key_initialized",
    1,
    Begin::With(|at| {
        // SAFETY: `data::place` gives this byte.
        unsafe { ram::put(at, 1u8) };
    }),
);

keys! {
    Begin::Image;
    HUGETLB "hugetlb_optimize_vmemmap_key", DEVMAP "devmap_managed_key", FREEZER "freezer_active",
    BPF_STATS "bpf_stats_enabled_key", BPF_REDIRECT "bpf_master_redirect_enabled_key", CONTEXT "context_tracking_key",
    NETSTAMP "netstamp_needed_key", MEMALLOC "memalloc_socks_key", UDP_ENCAP "udp_encap_needed_key",
    UDP6_ENCAP "udpv6_encap_needed_key", TCF_SW "tcf_sw_enabled_key", INIT_ON_ALLOC "init_on_alloc",
    INIT_ON_FREE "init_on_free", IBPB "x86_ibpb_exit_to_user", SMC "tcp_have_smc",
}

// There are no control groups here, as after `cgroup_disable=`.
keys! {
    Begin::Zero;
    MEMORY "memory_cgrp_subsys_enabled_key", MEMORY_DEFAULT "memory_cgrp_subsys_on_dfl_key",
    MEMCG_SOCKETS "memcg_sockets_enabled_key", MEMCG_KMEM "memcg_kmem_enabled_key", MEMCG_ONLINE "memcg_kmem_online_key",
    MEMCG_BPF "memcg_bpf_enabled_key", CGROUP_BPF "cgroup_bpf_enabled_key", NET_CLS "net_cls_cgrp_subsys_enabled_key",
    NET_CLS_DEFAULT "net_cls_cgrp_subsys_on_dfl_key", NET_PRIO "net_prio_cgrp_subsys_enabled_key",
    NET_PRIO_DEFAULT "net_prio_cgrp_subsys_on_dfl_key",
}

/// The variables of this file: the kernel's own keys.
pub(crate) static VARIABLES: &[&Datum] = &[
    &INITIALISED,
    &HUGETLB,
    &SMC,
    &DEVMAP,
    &FREEZER,
    &BPF_STATS,
    &BPF_REDIRECT,
    &CONTEXT,
    &NETSTAMP,
    &MEMALLOC,
    &UDP_ENCAP,
    &UDP6_ENCAP,
    &TCF_SW,
    &INIT_ON_ALLOC,
    &INIT_ON_FREE,
    &IBPB,
    &MEMORY,
    &MEMORY_DEFAULT,
    &MEMCG_SOCKETS,
    &MEMCG_KMEM,
    &MEMCG_ONLINE,
    &MEMCG_BPF,
    &CGROUP_BPF,
    &NET_CLS,
    &NET_CLS_DEFAULT,
    &NET_PRIO,
    &NET_PRIO_DEFAULT,
];

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c static_key_count, c static_key_slow_inc, c static_key_slow_inc_cpuslocked = static_key_slow_inc,
    c static_key_fast_inc_not_disabled = static_key_slow_inc, c static_key_slow_dec,
    c static_key_slow_dec_cpuslocked = static_key_slow_dec, c static_key_enable,
    c static_key_enable_cpuslocked = static_key_enable, c static_key_disable,
    c static_key_disable_cpuslocked = static_key_disable, c __static_call_update, k __static_call_return0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trampolines() {
        assert_eq!(trampoline(0x1000, 0), Some([0xc3, 0xcc, 0xcc, 0xcc, 0xcc]));
        assert_eq!(trampoline(0x1000, 0x1005), Some([0xe9, 0, 0, 0, 0]));
        assert_eq!(trampoline(0x1000, 0xf05), Some([0xe9, 0x00, 0xff, 0xff, 0xff]));
        assert_eq!(trampoline(0x1000, 0x1_0000_1005), None);
    }
}
