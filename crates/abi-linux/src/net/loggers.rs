//! Who writes netfilter's log: several may be registered for a family, one is chosen.

use alloc::string::String;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, Kernel, files, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod nf_logger = "nf_logger" { name, type_ = "type" }
}

const KIND: &str = "nf_logger";

/// `NFPROTO_NUMPROTO`, `NF_LOG_TYPE_MAX`
const FAMILIES: usize = 11;
const TYPES: usize = 2;

/// `struct nf_logger`s; 0 where there is none.
struct Table {
    registered: [[u64; TYPES]; FAMILIES],
    chosen: [u64; FAMILIES],
}

static TABLE: Lock<Table> = Lock::new(Table { registered: [[0; TYPES]; FAMILIES], chosen: [0; FAMILIES] });

fn name(logger: u64) -> String {
    if logger == 0 {
        return "NONE".into();
    }
    // SAFETY: a registered logger and its C string.
    unsafe { ram::c_string_or_empty(nf_logger::name.get(logger)) }.to_str_lossy().into_owned()
}

/// The families that a number means: 0 is all of them.
fn families(family: u8) -> core::ops::Range<usize> {
    if family == 0 { 0..FAMILIES } else { family.into()..usize::from(family) + 1 }
}

/// `int nf_log_register(u_int8_t pf, struct nf_logger *)`
extern "C" fn nf_log_register(family: u8, logger: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's logger.
    let kind = unsafe { nf_logger::type_.get::<u32>(logger) } as usize;
    if usize::from(family) >= FAMILIES || kind >= TYPES {
        return Errno::EINVAL.to_return();
    }
    {
        let mut table = TABLE.lock();
        if table.registered[families(family)].iter().any(|types| types[kind] != 0) {
            return Errno::EBUSY.to_return();
        }
        for types in &mut table.registered[families(family)] {
            types[kind] = logger;
        }
    }
    // One for several families is one registration.
    let _ = kernel().registrations.add(KIND, logger, name(logger), kernel().owner_of(caller));
    0
}
/// `void nf_log_unregister(struct nf_logger *)`
extern "C" fn nf_log_unregister(logger: u64) {
    for of_type in TABLE.lock().registered.as_flattened_mut().iter_mut().filter(|other| **other == logger) {
        *of_type = 0;
    }
    kernel().registrations.remove(KIND, logger);
}
/// `int nf_log_set(struct net *, u_int8_t pf, const struct nf_logger *)`: the first one stays.
extern "C" fn nf_log_set(_net: u64, family: u8, logger: u64) -> i32 {
    match TABLE.lock().chosen.get_mut(usize::from(family)).filter(|_| family != 0) {
        Some(chosen) => {
            if *chosen == 0 {
                *chosen = logger;
            }
            0
        }
        None => Errno::EOPNOTSUPP.to_return(),
    }
}
/// `void nf_log_unset(struct net *, const struct nf_logger *)`
extern "C" fn nf_log_unset(_net: u64, logger: u64) {
    for chosen in TABLE.lock().chosen.iter_mut().filter(|other| **other == logger) {
        *chosen = 0;
    }
}

/// `/proc/net/netfilter/nf_log`
fn list() -> Vec<u8> {
    let mut out = String::new();
    let (registered, chosen) = {
        let table = TABLE.lock();
        (table.registered, table.chosen)
    };
    for (number, (types, chosen)) in registered.iter().zip(chosen).enumerate() {
        let names: Vec<String> = types.iter().filter(|&&logger| logger != 0).map(|&logger| name(logger)).collect();
        out += &alloc::format!("{number:2} {} ({})\n", name(chosen), names.join(","));
    }
    out.into_bytes()
}

/// Chooses for a family by name; `NONE` is nobody.
fn choose(family: usize, text: &[u8]) -> Result<usize, Errno> {
    let wanted = text.trim_ascii().to_str_lossy();
    let types = TABLE.lock().registered[family];
    let found = if wanted == "NONE" {
        0
    } else {
        types.into_iter().find(|&logger| logger != 0 && name(logger) == wanted).ok_or(Errno::ENOENT)?
    };
    TABLE.lock().chosen[family] = found;
    Ok(text.len())
}

/// Adds the files.
pub(crate) fn begin(kernel: &Kernel) {
    kernel.files.make_directories("/proc/net/netfilter");
    kernel.files.make_directories("/proc/sys/net/netfilter/nf_log");
    // The tree is new: nothing is in the way.
    let _ = kernel.files.add("/proc/net/netfilter/nf_log", files::read_only(0o444, list));
    for family in 0..FAMILIES {
        let read = move || {
            let chosen = TABLE.lock().chosen[family];
            Ok(alloc::format!("{}\n", name(chosen)).into_bytes())
        };
        let file = files::read_write(0o644, read, move |text| choose(family, text));
        let _ = kernel.files.add(&alloc::format!("/proc/sys/net/netfilter/nf_log/{family}"), file);
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c nf_log_register, c nf_log_unregister, c nf_log_set, c nf_log_unset];
