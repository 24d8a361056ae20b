//! kmod and ours, asked the same.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrmod_tests::corpus;

/// A folder that goes away with its value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ferrmod-tools-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Scratch(folder.canonicalize().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// kmod 34.2, with the C library that came with it.
pub(crate) struct Oracle {
    kmod: PathBuf,
    libraries: PathBuf,
}

impl Oracle {
    pub(crate) fn or_skip() -> Option<Oracle> {
        let root = corpus::folder().join("kmod34");
        let (kmod, libraries) = (root.join("usr/bin/kmod"), root.join("usr/lib/x86_64-linux-gnu"));
        if !kmod.is_file() || !libraries.join("ld-linux-x86-64.so.2").is_file() {
            corpus::skip("kmod 34.2", "run `cargo xtask corpus`");
            return None;
        }
        Some(Oracle { kmod, libraries })
    }

    fn command(&self, applet: &str) -> Command {
        let mut command = Command::new(self.libraries.join("ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(&self.libraries).args(["--argv0", applet]).arg(&self.kmod);
        command
    }

    /// kmod's answer.
    pub(crate) fn ask(&self, applet: &str, arguments: &[impl AsRef<OsStr>], folder: &Path) -> Output {
        run(self.command(applet), arguments, folder)
    }

    /// kmod's answer when it is started by a shell with these redirections.
    pub(crate) fn ask_in_shell(&self, applet: &str, arguments: &[&str], redirections: &str, folder: &Path) -> Output {
        run(in_shell(&self.command(applet), redirections), arguments, folder)
    }

    /// Panics unless both say the same.
    pub(crate) fn compare(&self, applet: &str, arguments: &[impl AsRef<OsStr>], folder: &Path) {
        let (wanted, found) = (self.ask(applet, arguments, folder), ours(applet, arguments, folder));
        let text = |output: &Output| {
            let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (output.status.code(), show(&output.stdout), show(&output.stderr))
        };
        let words: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect();
        assert_eq!(text(&found), text(&wanted), "{applet} {}", words.join(" "));
        assert_eq!(found.stdout, wanted.stdout);
    }
}

fn run(mut command: Command, arguments: &[impl AsRef<OsStr>], folder: &Path) -> Output {
    command.args(arguments).current_dir(folder).env_clear().env("PWD", folder).env("LC_ALL", "C").output().unwrap()
}

/// Our answer.
pub(crate) fn ours(applet: &str, arguments: &[impl AsRef<OsStr>], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kmod"));
    command.arg0(applet);
    run(command, arguments, folder)
}

/// Our answer when started by a shell with these redirections. The shell knows no other way to give a program another name.
pub(crate) fn ours_in_shell(applet: &str, arguments: &[&str], redirections: &str, folder: &Path) -> Output {
    let link = folder.join("names").join(applet);
    fs::create_dir_all(folder.join("names")).unwrap();
    let _ = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kmod"), &link);
    run(in_shell(&Command::new(link), redirections), arguments, folder)
}

fn in_shell(command: &Command, redirections: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(format!("exec \"$@\" {redirections}")).arg("sh").arg(command.get_program());
    shell.args(command.get_args());
    shell
}

/// A tree of a few modules of the corpus, with kmod's own indexes: its root, and its release.
pub(crate) fn tree(oracle: &Oracle, scratch: &Scratch) -> Option<(PathBuf, String)> {
    const FILES: [&str; 8] = [
        "fs/ext4/ext4.ko",
        "fs/jbd2/jbd2.ko",
        "fs/mbcache.ko",
        "lib/crc16.ko",
        "crypto/crc32c_generic.ko",
        "drivers/net/dummy.ko",
        "drivers/net/ethernet/intel/e1000e/e1000e.ko",
        "sound/pci/hda/snd-hda-intel.ko",
    ];
    let from = corpus::tree_or_skip("6.1")?;
    let root = scratch.path().join("root");
    let folder = root.join("lib/modules").join(&from.release);
    for file in FILES {
        let file = Path::new("kernel").join(file);
        fs::create_dir_all(folder.join(&file).parent().unwrap()).unwrap();
        fs::copy(from.modules.join(&file), folder.join(&file)).unwrap();
    }
    for file in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        fs::copy(from.modules.join(file), folder.join(file)).unwrap();
    }
    let made = oracle.ask("depmod", &["-b".as_ref(), root.as_os_str(), OsStr::new(&from.release)], scratch.path());
    assert!(made.status.success(), "{made:?}");
    Some((root, from.release))
}
