//! Runs an invocation with kmod and with ours, in the same world.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::case::{Case, Ended, Outcome, Peer, snapshot};
use crate::space;
use crate::world::World;

/// Longer than this no invocation takes, on however busy a machine.
const LIMIT: Duration = Duration::from_secs(20);

/// Where the two kmods are.
pub(crate) struct Peers {
    /// The folder Debian 13's packages were unpacked into.
    pub(crate) kmod34: PathBuf,
    /// Debian 12's, as it is installed or as it was unpacked.
    pub(crate) kmod30: Option<Installed>,
}

/// A kmod that can be started.
#[derive(Clone)]
pub(crate) enum Installed {
    /// A program of this machine.
    Here(PathBuf),
    /// One with the libraries it needs beside it.
    Unpacked(PathBuf),
}

/// Who runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Kmod(Peer),
    Ours,
}

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

impl Peers {
    /// The kmods of this machine and of the corpus; `None` without kmod 34.
    pub(crate) fn find(corpus: &Path) -> Option<Self> {
        let kmod34 = corpus.join("kmod34");
        if !kmod34.join("usr/bin/kmod").is_file() {
            return None;
        }
        let unpacked = corpus.join("kmod30");
        let kmod30 = if unpacked.join(LIBRARIES).is_dir() {
            Some(Installed::Unpacked(unpacked))
        } else {
            ["/usr/bin/kmod", "/bin/kmod"].iter().map(PathBuf::from).find(|path| is_30(path)).map(Installed::Here)
        };
        Some(Self { kmod34, kmod30 })
    }

    fn command(&self, side: Side, name: &[u8]) -> Option<Command> {
        let unpacked = |folder: &Path| {
            let libraries = folder.join(LIBRARIES);
            let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
            command.arg("--library-path").arg(&libraries).arg("--argv0").arg(OsStr::from_bytes(name));
            let program = ["usr/bin/kmod", "bin/kmod"].iter().map(|path| folder.join(path)).find(|path| path.is_file());
            command.arg(program.unwrap_or_default());
            command
        };
        let plain = |program: &Path| {
            let mut command = Command::new(program);
            command.arg0(OsStr::from_bytes(name));
            command
        };
        Some(match side {
            Side::Ours => plain(&space::program()),
            Side::Kmod(Peer::Kmod34) => unpacked(&self.kmod34),
            Side::Kmod(Peer::Kmod30) => match self.kmod30.as_ref()? {
                Installed::Here(program) => plain(program),
                Installed::Unpacked(folder) => unpacked(folder),
            },
        })
    }
}

/// Whether this is a kmod 30.
fn is_30(path: &Path) -> bool {
    let output = Command::new(path).arg("--version").output();
    output.is_ok_and(|output| output.stdout.starts_with(b"kmod version 30\n"))
}

/// Kills what runs for too long.
pub(crate) struct Watchdog {
    orders: Sender<Option<u32>>,
}

impl Watchdog {
    pub(crate) fn start() -> Self {
        let (orders, received) = channel::<Option<u32>>();
        thread::spawn(move || {
            while let Ok(order) = received.recv() {
                let Some(process) = order else {
                    continue;
                };
                // Opened while its parent cannot have waited for it yet in any but a hopeless race,
                // and from then on the descriptor names this process and no other.
                let process = i32::try_from(process).ok().and_then(Pid::from_raw);
                let Some(handle) = process.and_then(|process| pidfd_open(process, PidfdFlags::empty()).ok()) else {
                    continue;
                };
                match received.recv_timeout(LIMIT) {
                    Err(RecvTimeoutError::Timeout) => {
                        let _ = pidfd_send_signal(&handle, Signal::KILL);
                    }
                    Ok(_) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        Self { orders }
    }
}

/// Runs the case as `side`, in a world made anew where that matters.
///
/// `None` when that side is not here.
pub(crate) fn run(peers: &Peers, watchdog: &Watchdog, world: &mut World, case: &Case, side: Side) -> Option<Outcome> {
    let mut command = peers.command(side, &case.name)?;
    world.prepare(case);
    command.args(case.arguments.iter().map(|argument| OsStr::from_bytes(argument)));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    for (name, value) in &case.environment {
        command.env(name, OsStr::from_bytes(value));
    }
    command.current_dir(&case.folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{case}: {error}"));
    let _ = watchdog.orders.send(Some(child.id()));
    let mut output = child.wait_with_output().unwrap_or_else(|error| panic!("{case}: {error}"));
    let _ = watchdog.orders.send(None);
    // Behind what was said on standard error: nothing is said in both places.
    output.stderr.extend(world.log.take());
    let ended = match (output.status.code(), output.status.signal()) {
        (Some(code), _) => Ended::Exit(code),
        (None, Some(9)) => Ended::Never,
        (None, signal) => Ended::Signal(signal.unwrap_or_default()),
    };
    let mut files = BTreeMap::new();
    if case.writes {
        for root in world.watched() {
            snapshot(&root, &mut files);
        }
    }
    Some(Outcome { ended, stdout: output.stdout, stderr: output.stderr, files })
}
