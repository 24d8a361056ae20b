//! What the kernel permits, and what it can do.

use crate::read;
use crate::{Error, Kernel, Problem};

/// How the kernel's modules may be compressed when it unpacks them itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `gzip`
    Gzip,
    /// `xz`
    Xz,
    /// `zstd`
    Zstd,
}

/// What the lockdown module keeps even root from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lockdown {
    /// `none`: nothing.
    None,
    /// `integrity`: changing the running kernel; modules need a signature.
    Integrity,
    /// `confidentiality`: reading from the kernel, as well.
    Confidentiality,
}

impl Kernel {
    /// What the kernel unpacks itself, given [`LoadFlags::COMPRESSED_FILE`](crate::LoadFlags::COMPRESSED_FILE); `None` when
    /// it does not, or uses something unknown to us.
    pub fn compression(&self) -> Option<Compression> {
        match read::line(&self.roots.sys.join("module/compression")).ok()?.as_slice() {
            b"gzip" => Some(Compression::Gzip),
            b"xz" => Some(Compression::Xz),
            b"zstd" => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// Whether loading and unloading is switched off until the next boot (sysctl `kernel.modules_disabled`).
    ///
    /// # Errors
    ///
    /// [`Error`] when it cannot be read; not found also means that the kernel was built without modules.
    pub fn modules_disabled(&self) -> Result<bool, Error> {
        Ok(read::number::<i32>(&self.roots.proc.join("sys/kernel/modules_disabled"))? != 0)
    }

    /// Whether the kernel takes signed modules only (`module.sig_enforce`); `None` when it does not say.
    pub fn signature_enforced(&self) -> Option<bool> {
        match read::line(&self.roots.sys.join("module/module/parameters/sig_enforce")).ok()?.as_slice() {
            b"Y" => Some(true),
            b"N" => Some(false),
            _ => None,
        }
    }

    /// What is locked down, or `None` when it is not known: no lockdown module, no securityfs, not permitted.
    pub fn lockdown(&self) -> Option<Lockdown> {
        // One line of all levels, the current one in brackets: "none [integrity] confidentiality".
        let line = read::line(&self.roots.sys.join("kernel/security/lockdown")).ok()?;
        line.split(|&byte| byte == b' ').find_map(|word| match word {
            b"[none]" => Some(Lockdown::None),
            b"[integrity]" => Some(Lockdown::Integrity),
            b"[confidentiality]" => Some(Lockdown::Confidentiality),
            _ => None,
        })
    }

    /// The kernel's taints, a bit each (sysctl `kernel.tainted`); Documentation/admin-guide/tainted-kernels.rst has their
    /// meaning.
    ///
    /// # Errors
    ///
    /// [`Error`] when it cannot be read.
    pub fn taints(&self) -> Result<u64, Error> {
        read::number(&self.roots.proc.join("sys/kernel/tainted"))
    }

    /// The program that the kernel calls for modules that it needs itself (sysctl `kernel.modprobe`); empty when it calls
    /// none.
    ///
    /// # Errors
    ///
    /// [`Error`] when it cannot be read, or is no path.
    pub fn modprobe(&self) -> Result<bstr::BString, Error> {
        let path = self.roots.proc.join("sys/kernel/modprobe");
        let line = read::line(&path)?;
        if line.contains(&0) {
            return Err(Error::new(&path, Problem::NotA("a path")));
        }
        Ok(line)
    }
}
