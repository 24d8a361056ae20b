//! Writing files whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, flock, fsync, openat, renameat, unlinkat};

use super::files::IndexFile;

/// What the names of temporary files end in. Only a process that holds the lock has any.
const TEMPORARY: &str = ".ferrmod-tmp";

/// How long another depmod is waited for. After that it is taken for stuck: temporary files have names of their own anyway.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {error}")]
pub(super) struct WriteError {
    /// Its name.
    pub(super) name: &'static str,
    /// Why.
    #[source]
    pub(super) error: io::Error,
}

/// Removes the temporary files of this process that have not become others, however it ends.
struct Temporaries<'a> {
    folder: &'a OwnedFd,
    names: Vec<String>,
}

impl Drop for Temporaries<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = unlinkat(self.folder, name, AtFlags::empty());
        }
    }
}

/// Writes `files` into `folder`: all under other names, all to the disk, and only then each to its place. With `sync` unset
/// nothing waits for the disk. `cancelled` is asked before the first file takes its place; after that all do.
pub(super) fn write(
    folder: &OwnedFd,
    files: &[&IndexFile],
    sync: bool,
    cancelled: &dyn Fn() -> bool,
) -> Result<bool, WriteError> {
    let failed = |name: &'static str| move |error: io::Error| WriteError { name, error };
    if lock(folder, cancelled) {
        sweep(folder);
    }
    let mut temporaries = Temporaries { folder, names: Vec::with_capacity(files.len()) };
    let mut open = Vec::with_capacity(files.len());
    for file in files {
        let name = format!("{}.{}{TEMPORARY}", file.name, process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let created = openat(folder, &name, flags, Mode::from_raw_mode(0o644)).map_err(io::Error::from);
        let mut output = File::from(created.map_err(failed(file.name))?);
        temporaries.names.push(name);
        output.write_all(&file.bytes).map_err(failed(file.name))?;
        if cancelled() {
            return Ok(false);
        }
        open.push((file.name, output));
    }
    if sync {
        flush(&open)?;
    }
    drop(open);
    if cancelled() {
        return Ok(false);
    }
    for (file, name) in files.iter().zip(&temporaries.names) {
        renameat(folder, name, folder, file.name).map_err(io::Error::from).map_err(failed(file.name))?;
    }
    temporaries.names.clear();
    if sync {
        // Some file systems do not sync folders, and have nothing to lose then.
        let _ = fsync(folder);
    }
    Ok(true)
}

/// Brings files to the disk, several at a time: the file system then does with a few journal commits.
fn flush(open: &[(&'static str, File)]) -> Result<(), WriteError> {
    let results = thread::scope(|scope| {
        let threads: Vec<_> =
            open.iter().map(|(name, file)| (name, scope.spawn(move || fsync(file.as_fd())))).collect();
        threads.into_iter().map(|(name, thread)| (*name, thread.join())).collect::<Vec<_>>()
    });
    for (name, result) in results {
        match result {
            // A pipe or a file system that has nothing to sync.
            Ok(Ok(())) | Ok(Err(rustix::io::Errno::INVAL | rustix::io::Errno::ROFS)) => {}
            Ok(Err(error)) => return Err(WriteError { name, error: error.into() }),
            Err(_) => return Err(WriteError { name, error: io::ErrorKind::Other.into() }),
        }
    }
    Ok(())
}

/// Waits until no other depmod writes here; whether that is certain. File systems without locks have none.
fn lock(folder: &OwnedFd, cancelled: &dyn Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        match flock(folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return true,
            Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < PATIENCE && !cancelled() => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(_) => return false,
        }
    }
}

/// Removes what a depmod that was killed has left.
fn sweep(folder: &OwnedFd) {
    let Ok(entries) = Dir::read_from(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_bytes().starts_with(b"modules.") && name.to_bytes().ends_with(TEMPORARY.as_bytes()) {
            let _ = unlinkat(folder, name, AtFlags::empty());
        }
    }
}
