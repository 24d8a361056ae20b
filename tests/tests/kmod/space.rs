//! A mount namespace in which nothing of the machine can be reached by accident.
//!
//! The runner starts itself again in it. There, every folder that kmod reads by its absolute name
//! (`/etc/modprobe.d`, `/lib/modules`, `/sys/module`, `/proc/cmdline`, `/proc/modules`, ...) is
//! ours, in memory, and gone with the namespace; the runner is the system's log; the capability to
//! load modules is dropped. All paths are the same on every machine and in every run, so outputs need
//! no editing before they are compared.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Set in the namespace: the stage's folder.
const STAGE: &str = "FERRMOD_KMOD_STAGE";
/// Set in the namespace: this program, by a path that works there.
const PROGRAM: &str = "FERRMOD_KMOD_PROGRAM";

/// What is done in the new namespace before the runner starts again in it.
const SCRIPT: &str = r#"
set -e
stage=$FERRMOD_KMOD_STAGE
# Read-only for all that follows, in this namespace alone: an absolute path of the host is no way out.
while read -r _ target _; do mount -o remount,bind,ro "$target" 2>/dev/null || true; done < /proc/self/mounts
if touch /ferrmod-must-not-be-written 2>/dev/null; then echo "the root stays writable" >&2; exit 97; fi
mount -t tmpfs -o mode=755 ferrmod "$stage"
mkdir "$stage/proc" "$stage/dev" "$stage/running"
mount --rbind /proc "$stage/proc"
# The runner is the system's log, and nothing is printed on the machine's console.
mount --rbind /dev "$stage/dev"
mount -t tmpfs -o mode=755 ferrmod /dev
for name in null zero full random urandom tty; do ln -s "$stage/dev/$name" "/dev/$name"; done
ln -s "$stage/dev/null" /dev/console
ln -s /proc/self/fd /dev/fd
mount -t tmpfs -o mode=755 ferrmod /proc
for name in self thread-self sys version uptime meminfo stat; do ln -s "$stage/proc/$name" "/proc/$name"; done
cp /etc/ld.so.cache "$stage/"
mount -t tmpfs -o mode=755 ferrmod /etc
mv "$stage/ld.so.cache" /etc/
for folder in /run /usr/local/lib; do mount -t tmpfs -o mode=755 ferrmod $folder; done
if [ -d /sys/module ]; then mount -t tmpfs -o mode=755 ferrmod /sys/module; else
    mount -t tmpfs -o mode=755 ferrmod /sys
    mkdir /sys/module
fi
for folder in /usr/lib/modprobe.d /usr/lib/depmod.d /lib/modprobe.d /lib/depmod.d; do
    if [ -d $folder ]; then mount -t tmpfs -o mode=755 ferrmod $folder; fi
done
if [ ! -d /lib/modules ]; then
    # A machine without modules: in its place a folder of links with that one folder more.
    lib=$(readlink -f /lib)
    mkdir "$stage/lib" "$stage/links" "$stage/links/modules"
    mount --rbind "$lib" "$stage/lib"
    for entry in "$lib"/* "$lib"/.[!.]*; do
        if [ -e "$entry" ]; then ln -s "$stage/lib/${entry##*/}" "$stage/links/"; fi
    done
    mount --rbind "$stage/links" "$lib"
fi
mount --bind "$stage/running" /lib/modules
if [ -d "$FERRMOD_KMOD_DEBIAN" ]; then
    mkdir -p "$stage/debian/lib/modules/$FERRMOD_KMOD_RELEASE/kernel"
    mount --bind -o ro "$FERRMOD_KMOD_DEBIAN/kernel" "$stage/debian/lib/modules/$FERRMOD_KMOD_RELEASE/kernel"
fi
# kmod 34 follows a link to a folder above until it has no descriptors left.
ulimit -n 256
if [ "$(id -u)" = 0 ]; then
    exec setpriv --bounding-set=-sys_module --inh-caps=-sys_module -- "$@"
fi
exec "$@"
"#;

/// Folders that exist everywhere and hold nothing we need.
const STAGES: [&str; 4] = ["/srv", "/mnt", "/media", "/opt"];

/// Whether this process is the runner inside the namespace, and where its stage is.
pub(crate) fn stage() -> Option<PathBuf> {
    env::var_os(STAGE).map(PathBuf::from)
}

/// This program, as it is to be started from within the namespace.
pub(crate) fn program() -> PathBuf {
    env::var_os(PROGRAM).map(PathBuf::from).unwrap_or_default()
}

/// Why no namespace can be had here, if so.
pub(crate) fn obstacle() -> Option<String> {
    let mut command = unshare();
    command.args(["sh", "-c", "mount -t tmpfs ferrmod /mnt && command -v setpriv"]);
    match command.output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// `unshare`, with a user namespace for those who are not root.
fn unshare() -> Command {
    let root = fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t0")));
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    if !root {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--");
    command
}

/// Starts this program again in a namespace of its own, with `arguments`.
///
/// `debian` is the folder of the real tree's modules with its release.
pub(crate) fn enter(arguments: &[&str], debian: Option<(&Path, &str)>) -> std::io::Result<Output> {
    let program = env::current_exe()?;
    let taken = |stage: &str| program.starts_with(stage) || debian.is_some_and(|(folder, _)| folder.starts_with(stage));
    let stage = STAGES.iter().find(|stage| Path::new(stage).is_dir() && !taken(stage));
    let stage = stage.ok_or_else(|| std::io::Error::other("no folder of the machine can serve as the stage"))?;
    let mut command = unshare();
    command.args(["sh", "-c", SCRIPT, "sh"]).arg(&program).args(arguments);
    command.env(STAGE, stage).env(PROGRAM, &program);
    if let Some((folder, release)) = debian {
        command.env("FERRMOD_KMOD_DEBIAN", folder).env("FERRMOD_KMOD_RELEASE", release);
    }
    command.output()
}
