//! What a system uses, read from its files.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ferrmod_config::Root;
use ferrmod_index::Index;
use ferrmod_linux::{Kernel, Roots};
use ferrmod_plan::policy::{InUse, Mount, Record};

use super::{RecordArgs, modules_of, tree_failure};
use crate::devices;
use crate::exit::{Exit, Failure};
use crate::replace::replace;

/// No file of a system that is read here is larger.
const LARGEST: u64 = 64 << 20;

fn failed(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::File { path: path.display().to_string(), error }
}

/// The text of a file of the user's.
pub(super) fn text(path: &Path) -> Result<String, Failure> {
    let size = fs::metadata(path).map_err(failed(path))?.len();
    if size > LARGEST {
        let reason = format!("larger than {LARGEST} bytes");
        return Err(Failure::Content { path: path.display().to_string(), reason });
    }
    fs::read_to_string(path).map_err(failed(path))
}

/// A record that was written before.
pub(super) fn read_record(path: &Path) -> Result<Record, Failure> {
    let content = |reason: String| Failure::Content { path: path.display().to_string(), reason };
    let record: Record = serde_json::from_str(&text(path)?)
        .map_err(|error| content(format!("not a record of `ferrmod policy record`: {error}")))?;
    record.checked().map_err(|error| content(error.to_string()))
}

/// Watches a system.
pub(super) fn record(args: &RecordArgs) -> Result<Exit, Failure> {
    let mut record = match read_record(&args.file) {
        Err(Failure::File { error, .. }) if error.kind() == io::ErrorKind::NotFound => Record::default(),
        other => other?,
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let began = Instant::now();
    let mut last_written = None;
    loop {
        let new = look(&args.root, &mut record)?;
        // A machine may go down at any time: what is new is kept at once, the times now and then.
        let stale = last_written.is_none_or(|at: Instant| at.elapsed() > Duration::from_secs(60));
        if !new.is_empty() || stale {
            write(args, &record)?;
            last_written = Some(Instant::now());
        }
        for name in &new {
            anstream::println!("{name}");
        }
        let over = args.period.is_some_and(|period| began.elapsed() >= Duration::from_secs(period));
        if over || stop.load(Ordering::Relaxed) {
            break;
        }
        // A signal ends a sleep of this kind late, by one part of it at most.
        let until = Instant::now() + args.interval;
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(100).min(until.saturating_duration_since(Instant::now())));
        }
    }
    write(args, &record)?;
    Ok(Exit::Clean)
}

fn write(args: &RecordArgs, record: &Record) -> Result<(), Failure> {
    let mut json = serde_json::to_string_pretty(record).map_err(io::Error::from)?;
    json.push('\n');
    replace(&args.file, json.as_bytes(), None)
}

/// One look at what is loaded; the names that are new in this boot.
fn look(root: &Path, record: &mut Record) -> Result<Vec<String>, Failure> {
    let read = |name: &str| {
        let path = root.join(name);
        fs::read_to_string(&path).map_err(failed(&path))
    };
    let uptime = read("proc/uptime")?;
    let uptime = uptime.split(' ').next().and_then(|text| text.parse().ok()).filter(|time: &f64| time.is_finite());
    let uptime = uptime.ok_or_else(|| Failure::Content {
        path: root.join("proc/uptime").display().to_string(),
        reason: "not a number of seconds".into(),
    })?;
    let boot = read("proc/sys/kernel/random/boot_id")?;
    let release = read("proc/sys/kernel/osrelease")?;
    let kernel = Kernel::recorded(Roots { proc: root.join("proc"), sys: root.join("sys"), dev: root.join("dev") });
    let modules = kernel.modules().map_err(|error| Failure::Tree(error.to_string()))?;
    let modules = modules.all(&kernel).map_err(|error| Failure::Tree(error.to_string()))?;
    let with_device = ferrmod_audit::modules_with_devices(&kernel.roots().sys);
    let loaded = modules.iter().map(|module| {
        let name = module.name.to_string();
        let used = module.references.is_some_and(|references| references > 0) || with_device.contains(&name);
        (name, used)
    });
    Ok(record.look(boot.trim(), release.trim(), uptime.max(0.0), loaded.collect::<Vec<_>>()))
}

/// What of a system depends on modules.
pub(super) fn in_use(root: &Path) -> Result<InUse, Failure> {
    let rooted = Root::new(root).map_err(failed(root))?;
    let devices = devices::present(&rooted).unwrap_or_default();
    let of = |file: &str| -> Vec<Mount> {
        let text = rooted.read(Path::new(file)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        // fstab(5) and /proc/mounts: what, where, type.
        let mounts = text.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            let (on, kinds) = (words.next()?, words.next()?);
            Some(kinds.split(',').map(move |kind| Mount {
                on: on.to_owned(),
                kind: kind.to_owned(),
                source: file.to_owned(),
            }))
        });
        mounts.flatten().filter(|mount| !matches!(mount.kind.as_str(), "swap" | "auto" | "none")).collect()
    };
    let mut mounts = of("/proc/mounts");
    for wanted in of("/etc/fstab") {
        if !mounts.iter().any(|mount| mount.on == wanted.on && mount.kind == wanted.kind) {
            mounts.push(wanted);
        }
    }
    let filesystems = rooted.read(Path::new("/proc/filesystems")).unwrap_or_default();
    let filesystems = String::from_utf8_lossy(&filesystems);
    let filesystems = filesystems.lines().filter_map(|line| line.split_ascii_whitespace().last()).map(str::to_owned);
    Ok(InUse { devices, mounts, filesystems: filesystems.collect(), rules: Vec::new() })
}

/// The modules that have to be there before the root file system is: its own, and those of the drivers of every device between it and
/// the processor. `None` when sysfs or the list of mounts do not tell.
pub(super) fn root_modules(root: &Path, index: &Index) -> Result<Option<Vec<String>>, Failure> {
    let Ok(mounts) = fs::read_to_string(root.join("proc/self/mountinfo")) else { return Ok(None) };
    let Some((number, kind, source)) = root_mount(&mounts) else { return Ok(None) };
    let Ok(sys) = fs::canonicalize(root.join("sys")) else { return Ok(None) };
    let by_number = sys.join("dev/block").join(number);
    // Some file systems have numbers of their own and say on what they are.
    let by_name = Path::new(&source).file_name().map(|name| sys.join("class/block").join(name));
    let found = [Some(by_number), by_name].into_iter().flatten().find_map(|path| inside(&sys, &path));
    let Some(device) = found else { return Ok(None) };
    let mut modules: BTreeSet<String> =
        modules_of(index, &format!("fs-{kind}")).map_err(tree_failure)?.into_iter().collect();
    let mut looked = BTreeSet::new();
    let mut open = vec![device];
    while let Some(device) = open.pop() {
        if !looked.insert(device.clone()) {
            continue;
        }
        for ancestor in device.ancestors().take_while(|ancestor| ancestor.starts_with(&sys) && *ancestor != sys) {
            for link in ["driver/module", "device/driver/module"] {
                let module = fs::read_link(ancestor.join(link)).ok();
                if let Some(name) = module.as_deref().and_then(Path::file_name) {
                    modules.insert(name.to_string_lossy().into_owned());
                }
            }
        }
        // Below mappings and arrays are other devices; a partition's are its disk's.
        for folder in [device.join("slaves"), device.join("../slaves")] {
            let slaves = fs::read_dir(folder).into_iter().flatten().flatten();
            open.extend(slaves.filter_map(|slave| inside(&sys, &slave.path())));
        }
        let name = device.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
        if name.starts_with(b"dm-") {
            modules.insert("dm_mod".to_owned());
        }
    }
    Ok(Some(modules.into_iter().collect()))
}

/// The device number, type and source of what is mounted last on `/` (proc(5), `/proc/pid/mountinfo`).
fn root_mount(mountinfo: &str) -> Option<(String, String, String)> {
    let on_root = |line: &&str| line.split(' ').nth(4) == Some("/");
    let line = mountinfo.lines().rfind(on_root)?;
    let number = line.split(' ').nth(2)?.to_owned();
    let mut rest = line.split_once(" - ")?.1.split(' ');
    Some((number, rest.next()?.to_owned(), rest.next()?.to_owned()))
}

/// Where a link of sysfs leads, if that is in sysfs.
fn inside(sys: &Path, path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok().filter(|path| path.starts_with(sys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mount_on_the_root_counts() {
        let text = "1 1 0:2 / / rw - rootfs none rw\n\
                    22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                    23 22 0:5 / /proc rw - proc proc rw\n";
        assert_eq!(root_mount(text), Some(("8:1".into(), "ext4".into(), "/dev/sda1".into())));
        assert_eq!(root_mount("rubbish"), None);
        assert_eq!(root_mount("22 1 8:1 / / rw"), None);
    }
}
