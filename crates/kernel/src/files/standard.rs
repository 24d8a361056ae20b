//! The files every kernel has.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write as _;

use alloc::string::String;

use super::read_write;
use crate::Kernel;
use crate::module::State;
use crate::module::sysfs::SysModule;
use crate::text::Errno;

/// Makes what a file has.
type Made = fn(&'static Kernel) -> Vec<u8>;

/// Adds `/proc`, `/sys` and `/dev` to a kernel that boots.
pub(crate) fn mount(kernel: &'static Kernel) {
    let files = &kernel.files;
    for directory in
        ["/dev", "/proc/sys/kernel", "/sys/kernel/debug", "/sys/class", "/sys/bus", "/sys/devices", "/sys/fs", "/tmp"]
    {
        files.make_directories(directory);
    }
    files.mount("/sys/module", Arc::new(SysModule(kernel)));
    let plain: [(&str, Made); 6] = [
        ("/proc/modules", proc_modules),
        ("/proc/kallsyms", kallsyms),
        ("/proc/cmdline", |kernel| format!("{}\n", kernel.options.command_line).into_bytes()),
        ("/proc/version", |kernel| format!("Ferrmod {}\n", kernel.release()).into_bytes()),
        ("/proc/sys/kernel/tainted", |kernel| format!("{}\n", kernel.modules.taints()).into_bytes()),
        ("/proc/ferrmod-registrations", registrations),
    ];
    let disabled = read_write(
        0o644,
        || Ok(format!("{}\n", u8::from(kernel.modules.are_disabled())).into_bytes()),
        |bytes| match core::str::from_utf8(bytes).map(str::trim) {
            Ok("1") => {
                kernel.modules.disable();
                Ok(bytes.len())
            }
            // Once it is 1 it stays, and it takes nothing else.
            Ok("0") if !kernel.modules.are_disabled() => Ok(bytes.len()),
            _ => Err(Errno::EINVAL),
        },
    );
    let _ = kernel.files.add("/proc/sys/kernel/modules_disabled", disabled);
    for (path, read) in plain {
        // The tree is new: nothing is in the way.
        let _ = kernel.provide(path, 0o444, read);
    }
}

/// `NAME SIZE REFCNT DEPS, STATE 0xADDRESS (TAINTS)`
fn proc_modules(kernel: &'static Kernel) -> Vec<u8> {
    let mut out = String::new();
    for module in kernel.modules.list() {
        let _ = write!(out, "{} {} {} ", module.name, module.size, module.references);
        for user in &module.users {
            let _ = write!(out, "{user},");
        }
        if module.permanent {
            out.push_str("[permanent],");
        } else if module.users.is_empty() {
            out.push('-');
        }
        let state = match module.state {
            State::Live => "Live",
            State::Going => "Unloading",
            State::Coming | State::Unformed => "Loading",
        };
        let _ = write!(out, " {state} {:#018x}", module.base);
        if !module.taints.is_empty() {
            let _ = write!(out, " ({})", module.taints);
        }
        out.push('\n');
    }
    out.into_bytes()
}

fn kallsyms(kernel: &'static Kernel) -> Vec<u8> {
    let mut out = String::new();
    for module in kernel.modules.all() {
        if module.state() == State::Unformed {
            continue;
        }
        for symbol in module.linked().symbols() {
            let _ = writeln!(out, "{:016x} {} {}\t[{}]", symbol.address, symbol.kind, symbol.name, module.name);
        }
    }
    out.into_bytes()
}

fn registrations(kernel: &'static Kernel) -> Vec<u8> {
    let mut out = String::new();
    for one in kernel.registrations.all() {
        let owner = match one.owner {
            crate::Owner::Kernel => "kernel".into(),
            crate::Owner::Module(id) => {
                kernel.modules.numbered(id).map_or_else(|| format!("#{id}"), |module| format!("{}", module.name))
            }
        };
        let _ = writeln!(out, "{} {} {owner}", one.kind, one.name);
    }
    out.into_bytes()
}
