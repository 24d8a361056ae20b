//! The kernel's settings that decide what may be loaded, and what somebody who gets in can learn and do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ferrmod_linux::{Error, Kernel, Lockdown};
use serde::Serialize;

use crate::Evidence;
use ferrmod_image::shown;

/// A setting, its value, and what it stops or would stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Setting {
    /// Its name, as it is set (`kernel.modules_disabled`).
    pub name: &'static str,
    /// Its value; `None` when it is not known.
    pub value: Option<String>,
    /// Why the value is not known.
    pub unknown: Option<String>,
    /// Whether it protects; `None` when it is not known.
    pub on: Option<bool>,
    /// What it stops when it is on.
    pub stops: &'static str,
    /// What its value means.
    pub meaning: &'static str,
}

const SIG_ENFORCE: &str = "modules that are not signed by a key of the kernel's: loading one fails with EKEYREJECTED";
const LOCKDOWN: &str =
    "root's ways into the running kernel: unsigned modules, /dev/mem, kexec of unsigned images, writing MSRs";
const DISABLED: &str = "every load and unload until the next boot, signed or not";
const KPTR: &str = "learning the kernel's addresses from /proc/kallsyms, /proc/modules and the log, which attacks need";
const DMESG: &str = "reading the kernel's log without privilege: addresses and devices are in it";
const MODPROBE: &str =
    "modules that any user makes the kernel load, by opening a socket, a file system or a device of their kind";

/// Every setting of `kernel`.
pub(crate) fn settings(kernel: &Kernel) -> Vec<Setting> {
    let level = |name: &str| -> Result<u32, String> {
        let path = kernel.roots().proc.join("sys/kernel").join(name);
        let text = fs::read_to_string(&path).map_err(|error| crate::views::unreadable(&error))?;
        text.trim().parse().map_err(|_| "not a number".to_owned())
    };
    vec![
        sig_enforce(kernel),
        lockdown(kernel),
        modules_disabled(kernel),
        modprobe(kernel),
        kptr(level("kptr_restrict")),
        dmesg(level("dmesg_restrict")),
    ]
}

fn unknown(name: &'static str, stops: &'static str, reason: String) -> Setting {
    Setting { name, value: None, unknown: Some(reason), on: None, stops, meaning: "not known" }
}

fn known(name: &'static str, stops: &'static str, value: String, on: bool, meaning: &'static str) -> Setting {
    Setting { name, value: Some(value), unknown: None, on: Some(on), stops, meaning }
}

fn reason(error: &Error) -> String {
    match error.errno() {
        Some(errno) => crate::views::unreadable(&errno.into()),
        None => error.problem.to_string(),
    }
}

fn sig_enforce(kernel: &Kernel) -> Setting {
    let name = "module.sig_enforce";
    match kernel.signature_enforced() {
        Some(true) => known(name, SIG_ENFORCE, "Y".into(), true, "only signed modules are loaded"),
        Some(false) => known(name, SIG_ENFORCE, "N".into(), false, "unsigned modules are loaded, with taint E"),
        None => unknown(
            name,
            SIG_ENFORCE,
            "/sys/module/module/parameters/sig_enforce cannot be read, or the kernel does not look at signatures"
                .into(),
        ),
    }
}

fn lockdown(kernel: &Kernel) -> Setting {
    let name = "lockdown";
    match kernel.lockdown() {
        Some(Lockdown::None) => known(name, LOCKDOWN, "none".into(), false, "root may change the running kernel"),
        Some(Lockdown::Integrity) => {
            known(name, LOCKDOWN, "integrity".into(), true, "not even root may change the running kernel")
        }
        Some(Lockdown::Confidentiality) => known(
            name,
            LOCKDOWN,
            "confidentiality".into(),
            true,
            "not even root may change the running kernel or read from it",
        ),
        None => unknown(
            name,
            LOCKDOWN,
            "/sys/kernel/security/lockdown cannot be read; root may, when securityfs is mounted and the kernel has lockdown".into(),
        ),
    }
}

fn modules_disabled(kernel: &Kernel) -> Setting {
    let name = "kernel.modules_disabled";
    match kernel.modules_disabled() {
        Ok(true) => known(name, DISABLED, "1".into(), true, "no module is loaded or unloaded until the next boot"),
        Ok(false) => known(name, DISABLED, "0".into(), false, "root may load modules"),
        Err(error) => unknown(name, DISABLED, reason(&error)),
    }
}

fn modprobe(kernel: &Kernel) -> Setting {
    let name = "kernel.modprobe";
    match kernel.modprobe() {
        Ok(path) if path.is_empty() => {
            known(name, MODPROBE, String::new(), true, "the kernel asks nobody for modules that it needs itself")
        }
        Ok(path) => known(
            name,
            MODPROBE,
            shown(&path),
            false,
            "the kernel runs this program as root when any user makes it need a module",
        ),
        Err(error) => unknown(name, MODPROBE, reason(&error)),
    }
}

fn kptr(level: Result<u32, String>) -> Setting {
    let name = "kernel.kptr_restrict";
    match level {
        Ok(0) => {
            known(name, KPTR, "0".into(), false, "addresses are shown to those with CAP_SYSLOG, and hashed in the log")
        }
        Ok(1) => known(name, KPTR, "1".into(), true, "addresses are shown to those with CAP_SYSLOG only"),
        Ok(level) => known(name, KPTR, level.to_string(), true, "addresses are shown to nobody"),
        Err(reason) => unknown(name, KPTR, reason),
    }
}

fn dmesg(level: Result<u32, String>) -> Setting {
    let name = "kernel.dmesg_restrict";
    match level {
        Ok(0) => known(name, DMESG, "0".into(), false, "everybody may read the kernel's log"),
        Ok(level) => known(name, DMESG, level.to_string(), true, "the kernel's log needs CAP_SYSLOG"),
        Err(reason) => unknown(name, DMESG, reason),
    }
}

/// The usual places of modprobe, and of the program that distributions have instead.
const USUAL: [&str; 4] = ["/sbin/modprobe", "/usr/sbin/modprobe", "/usr/bin/modprobe", "/bin/modprobe"];

/// What is wrong with the program that the kernel runs for modules, whose file is looked for in `root`.
pub(crate) fn modprobe_problem(setting: &Setting, root: &Path) -> Option<Evidence> {
    let path = setting.value.as_deref().filter(|path| !path.is_empty())?;
    let odd = |reason| Some(Evidence::ModprobePath { path: path.to_owned(), reason });
    if !USUAL.contains(&path) {
        // NixOS and others have it in a store that nobody writes into.
        let in_store =
            (path.starts_with("/nix/store/") || path.starts_with("/gnu/store/")) && path.ends_with("/modprobe");
        if !in_store && path != "/run/current-system/sw/bin/modprobe" {
            return odd("it is in none of the usual places");
        }
    }
    let metadata = fs::metadata(root.join(path.trim_start_matches('/'))).ok()?;
    if metadata.permissions().mode() & 0o022 != 0 {
        return odd("others than its owner may write to it");
    }
    None
}
