//! Users and keys: everybody here is root, and keyrings hold what modules put there.

use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use crate::boot::facts;
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, net, printf, ram, slab, symbols, tasks};

layout! {
    mod key = "key" { usage, serial, uid, gid, perm, flags, description, sem }
    mod rw_semaphore = "rw_semaphore" { wait_list }
    mod cred = "cred" { usage, cap_effective, cap_permitted, user_ns, session_keyring, process_keyring, thread_keyring }
    mod task_struct = "task_struct" { cred, real_cred, nsproxy, stack }
    mod nsproxy = "nsproxy" { count, net_ns, uts_ns }
    mod uts_namespace = "uts_namespace" { user_ns, name }
    mod new_utsname = "new_utsname" { sysname, nodename, release, version, machine, domainname }
}

extern "C" fn everything() -> bool {
    true
}

/// Root's credentials, which every task has; 0 without memory.
fn root() -> u64 {
    static ROOT: spin::Once<u64> = spin::Once::new();
    *ROOT.call_once(|| credentials(0))
}

/// What `uname` says: `struct uts_namespace init_uts_ns`, with room for that of any kernel.
static NAMES: Datum = Datum::new("init_uts_ns", 1024, Begin::With(begin_names));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&NAMES];

fn begin_names(at: u64) {
    /// `__NEW_UTS_LEN`
    const LONGEST: usize = 64;
    let name = uts_namespace::name.at(at);
    for (field, text) in [
        (&new_utsname::sysname, "Linux"),
        (&new_utsname::nodename, "(none)"),
        (&new_utsname::release, facts().release()),
        (&new_utsname::version, "Ferrmod"),
        (&new_utsname::machine, "x86_64"),
        (&new_utsname::domainname, "(none)"),
    ] {
        let length = text.len().min(LONGEST);
        // SAFETY: `data::place` gives 1024 writable bytes of zeros, more than the struct has; its texts have this much room and a NUL.
        unsafe { ram::bytes_mut(field.at(name), length as u64) }.copy_from_slice(&text.as_bytes()[..length]);
    }
    // SAFETY: as above.
    unsafe { uts_namespace::user_ns.set(at, symbols::address("init_user_ns").unwrap_or(0)) };
}

/// The namespaces of every task; 0 without memory.
fn namespaces() -> u64 {
    static ALL: spin::Once<u64> = spin::Once::new();
    *ALL.call_once(|| {
        let made = slab::allocate(nsproxy::SIZE.get(), 8, slab::ZERO, 0);
        if made != 0 {
            // SAFETY: a zeroed block of the struct's size.
            unsafe {
                ram::put(nsproxy::count.at(made), 1u32);
                nsproxy::net_ns.set(made, net::init_net());
                nsproxy::uts_ns.set(made, NAMES.address());
            }
        }
        made
    })
}

/// What modules see as the stack of any task: where the registers of a system call would be, there are zeros, which say that it
/// came from no 32-bit program. 0 without memory.
fn stack() -> u64 {
    /// `THREAD_SIZE`
    const SIZE: u64 = 16 << 10;
    static ALL: spin::Once<u64> = spin::Once::new();
    *ALL.call_once(|| slab::allocate(SIZE, SIZE, slab::ZERO, 0))
}

/// Root's credentials.
pub(crate) fn credentials_of_all() -> u64 {
    root()
}

/// Gives a new task its credentials and namespaces.
pub(crate) fn dress(task: u64) {
    // SAFETY: a `task_struct` that is being made.
    unsafe {
        task_struct::cred.set(task, root());
        task_struct::real_cred.set(task, root());
        task_struct::nsproxy.set(task, namespaces());
        task_struct::stack.set(task, stack());
    }
}

/// The keys of modules.
static KEYS: Lock<Vec<u64>> = Lock::new(Vec::new());

fn next_serial() -> i32 {
    use core::sync::atomic::{AtomicI32, Ordering};
    static NEXT: AtomicI32 = AtomicI32::new(0x1000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// `struct key *keyring_alloc(const char *, kuid_t, kgid_t, const struct cred *, key_perm_t, unsigned long flags, restrict, dest)`
extern "C" fn keyring_alloc(
    description: u64,
    uid: u32,
    gid: u32,
    _credentials: u64,
    permissions: u32,
    _flags: u64,
) -> u64 {
    let caller = ram::caller();
    let made = slab::allocate(key::SIZE.get(), 8, slab::ZERO, caller);
    if made == 0 {
        return Errno::ENOMEM.to_pointer();
    }
    // SAFETY: a zeroed block of the struct's size, and the module's C string.
    unsafe {
        let text = ram::c_string_or_empty(description);
        key::usage.set(made, 1u32);
        key::serial.set(made, next_serial());
        key::uid.set(made, uid);
        key::gid.set(made, gid);
        key::perm.set(made, permissions);
        key::description.set(made, printf::duplicate(&text, 0, caller));
        locks::init_list(rw_semaphore::wait_list.at(key::sem.at(made)));
        KEYS.lock().push(made);
        // The key is new.
        let _ = kernel().registrations.add("key", made, text, kernel().owner_of(caller));
    }
    made
}
/// `void key_put(struct key *)`
extern "C" fn key_put(given: u64) {
    if given == 0 {
        return;
    }
    // SAFETY: the caller's key.
    unsafe {
        let left = key::usage.get::<u32>(given).saturating_sub(1);
        key::usage.set(given, left);
        if left == 0 {
            KEYS.lock().retain(|&other| other != given);
            kernel().registrations.remove("key", given);
            slab::release(key::description.get(given), 0);
            slab::release(given, 0);
        }
    }
}
/// `void key_revoke(struct key *)`
extern "C" fn key_revoke(given: u64) {
    /// `KEY_FLAG_REVOKED`
    const REVOKED: u64 = 1 << 3;
    // SAFETY: the caller's key.
    unsafe { key::flags.set(given, key::flags.get::<u64>(given) | REVOKED) };
}
/// `key_ref_t key_create_or_update(key_ref_t keyring, const char *type, const char *description, ...)`: no type of key can be
/// filled with a payload here.
extern "C" fn key_create_or_update() -> u64 {
    Errno::ENODEV.to_pointer()
}
/// `int x509_load_certificate_list(const u8 *, unsigned long, const struct key *keyring)`: for the same reason every
/// certificate is one that cannot be loaded, which is only said.
extern "C" fn x509_load_certificate_list(list: u64, length: u64) -> i32 {
    // SAFETY: the module's bytes.
    let mut rest = unsafe { ram::bytes(list, length) };
    // Each is a DER sequence with a length of two bytes.
    while let [0x30, 0x82, high, low, ..] = *rest {
        let size = usize::from(high) << 8 | usize::from(low);
        let error = Errno::ENODEV.to_return();
        kernel().printk(alloc::format!("\x013Problem loading in-kernel X.509 certificate ({error})\n").as_bytes());
        rest = rest.get(size + 4..).unwrap_or(&[]);
    }
    0
}
extern "C" fn request_key_tag() -> u64 {
    Errno::ENOKEY.to_pointer()
}

/// Every capability.
const ALL: u64 = (1 << 41) - 1;

/// `struct cred *prepare_kernel_cred(struct task_struct *)`: root's.
extern "C" fn prepare_kernel_cred() -> u64 {
    credentials(ram::caller())
}

/// Credentials of root for whoever called from `caller`; 0 without memory.
fn credentials(caller: u64) -> u64 {
    let made = slab::allocate(cred::SIZE.get(), 8, slab::ZERO, caller);
    if made != 0 {
        // SAFETY: a zeroed block of the struct's size; root is number 0 everywhere.
        unsafe {
            ram::put(cred::usage.at(made), 1u32);
            cred::cap_effective.set(made, ALL);
            cred::cap_permitted.set(made, ALL);
            cred::user_ns.set(made, symbols::address("init_user_ns").unwrap_or(0));
        }
    }
    made
}
/// `void __put_cred(struct cred *)`: the last reference was given back inline.
extern "C" fn __put_cred(made: u64) {
    for keyring in [&cred::session_keyring, &cred::process_keyring, &cred::thread_keyring] {
        // SAFETY: the caller's credentials, whose keyrings they hold.
        key_put(unsafe { keyring.get(made) });
    }
    slab::release(made, 0);
}
/// `const struct cred *override_creds(const struct cred *)`
extern "C" fn override_creds(new: u64) -> u64 {
    let task = tasks::current();
    // SAFETY: the running task's struct.
    unsafe {
        let old: u64 = task_struct::cred.get(task);
        task_struct::cred.set(task, new);
        old
    }
}
extern "C" fn revert_creds(old: u64) {
    // SAFETY: as above.
    unsafe { task_struct::cred.set(tasks::current(), old) };
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    k has_capability_noaudit = everything, k sk_capable = everything, k sk_net_capable = everything, k perfmon_capable = everything,
    c keyring_alloc, c key_put, c key_revoke, k key_create_or_update, c x509_load_certificate_list, k request_key_tag, c prepare_kernel_cred, c __put_cred,
    c override_creds, c revert_creds,
];
