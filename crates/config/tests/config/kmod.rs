//! The real tools, where they are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ferrmod_tests::corpus;

/// A kmod that can be started.
#[derive(Debug, Clone)]
pub(crate) struct Kmod {
    /// What is before the arguments of `modprobe`.
    words: Vec<PathBuf>,
}

impl Kmod {
    /// Debian 13's 34.2, unpacked in the corpus.
    pub(crate) fn v34() -> Option<Kmod> {
        let folder = corpus::folder().join("kmod34/usr");
        let libraries = folder.join("lib/x86_64-linux-gnu");
        let kmod = folder.join("bin/kmod");
        if !kmod.is_file() {
            corpus::skip("kmod 34", "run `cargo xtask corpus`");
            return None;
        }
        let loader = libraries.join("ld-linux-x86-64.so.2");
        let words = vec![loader, "--library-path".into(), libraries, "--argv0".into(), "modprobe".into(), kmod];
        Some(Kmod { words })
    }

    /// Debian 12's 30, when it is what is installed.
    pub(crate) fn v30() -> Option<Kmod> {
        let kmod = ["/sbin/modprobe", "/usr/sbin/modprobe"].iter().map(Path::new).find(|path| path.exists());
        let kmod = kmod.map(|kmod| Kmod { words: vec![kmod.to_owned()] })?;
        let version = kmod.modprobe([OsStr::new("-V")]);
        version.stdout.starts_with(b"kmod version 30\n").then_some(kmod)
    }

    /// Runs `modprobe`.
    pub(crate) fn modprobe(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        let (program, words) = self.words.split_first().expect("a program");
        Command::new(program).args(words).args(arguments).output().expect("modprobe runs")
    }

    /// Runs `depmod`, where this kmod can be called by another name.
    pub(crate) fn depmod(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        let mut words = self.words.clone();
        for word in words.iter_mut().filter(|word| **word == Path::new("modprobe")) {
            *word = "depmod".into();
        }
        Kmod { words }.modprobe(arguments)
    }

    /// Runs `modprobe -c` with this text as the kernel command line. `None` where one may not do that.
    pub(crate) fn with_command_line(&self, file: &Path, arguments: &[&OsStr]) -> Option<Output> {
        let script = "mount --bind \"$0\" /proc/cmdline || exit 77; exec \"$@\"";
        let output = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", script])
            .arg(file)
            .args(&self.words)
            .args(arguments)
            .output()
            .ok()?;
        output.status.success().then_some(output)
    }
}
