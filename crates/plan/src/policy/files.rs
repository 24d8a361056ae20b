//! The files that enforce a policy.

use std::fmt::Write as _;

use super::Policy;

/// Whose modprobe reads a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Ferrmod's, which has `allow`: what no line names is not loaded, also what is added to the tree later.
    Ferrmod,
    /// kmod's, which has to be told of each module that may not be loaded: what is added to the tree later may be.
    Kmod,
}

/// Whether a line of a configuration file cannot have this name.
#[must_use]
pub fn unspeakable(name: &str) -> bool {
    name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'.'))
}

/// The file for modprobe.d.
///
/// A name that no line can have is left out: what is allowed by it is not, and with kmod's dialect what is denied by it is not either.
#[must_use]
pub fn modprobe_conf(policy: &Policy, dialect: Dialect) -> String {
    let mut out = head(policy);
    match dialect {
        Dialect::Ferrmod => {
            let _ = writeln!(out, "# {} modules may be loaded, no other.", policy.allowed.len());
            for name in policy.allowed.keys().filter(|name| !unspeakable(name)) {
                let _ = writeln!(out, "allow {name}");
            }
        }
        Dialect::Kmod => {
            let _ = writeln!(
                out,
                "# {} modules may be loaded; modprobe loads none of the {} others that the tree had when this was made.",
                policy.allowed.len(),
                policy.denied.len()
            );
            let _ = writeln!(out, "# insmod, and modprobe --ignore-install, do not look here.");
            for name in policy.denied.iter().filter(|name| !unspeakable(name)) {
                let _ = writeln!(out, "install {name} /bin/false");
            }
        }
    }
    out
}

/// The file for modules-load.d: with it, all that is wanted is loaded early at boot, and loading can be forbidden after that.
#[must_use]
pub fn modules_load(policy: &Policy) -> String {
    let mut out = head(policy);
    for name in policy.wanted().filter(|name| !unspeakable(name)) {
        let _ = writeln!(out, "{name}");
    }
    out
}

/// The list of modules for an initramfs (`/etc/initramfs-tools/modules`); `None` when it is not known what the root file system needs.
#[must_use]
pub fn initramfs(policy: &Policy) -> Option<String> {
    let mut out = head(policy);
    for name in policy.root.as_ref()?.iter().filter(|name| !unspeakable(name)) {
        let _ = writeln!(out, "{name}");
    }
    Some(out)
}

fn head(policy: &Policy) -> String {
    format!("# Made by `ferrmod policy make` for kernel {}.\n", policy.kernel)
}
