//! The guest: the whole tree, Debian's kmod and a first process in an initramfs; and the machines that boot it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ferrmod_image::compress::decompress;
use ferrmod_tests::corpus::Tree;
use ferrmod_tests::newc;
use ferrmod_tests::qemu::QEMU;

use crate::command;

/// Module files are not larger, unpacked.
const LIMIT: usize = 1 << 27;
/// A guest that says nothing for so long will never say anything.
const SILENCE: Duration = Duration::from_secs(300);
/// The program behind every name of the tools.
const KMOD: &str = "/bin/kmod";

/// How a boot ended.
pub(crate) enum End {
    /// The list is done, or the guest ended before its first module.
    Done,
    /// This module was the last one, and how it was lost.
    Lost(String, &'static str),
}

/// See the module's documentation.
pub(crate) struct Guest {
    vmlinuz: PathBuf,
    folder: PathBuf,
    /// The archive of everything that all boots have.
    initrd: PathBuf,
    /// Bytes of it.
    length: u64,
    /// The files to load for a module, its own last, by its path.
    chains: HashMap<String, Vec<String>>,
}

/// One that boots the guest, again and again.
pub(crate) struct Machine<'g> {
    guest: &'g Guest,
    folder: PathBuf,
    /// The guest's archive; what a boot is to do is put behind it.
    initrd: PathBuf,
}

impl Guest {
    /// Makes the initramfs in the folder, and asks modprobe what each of the modules needs.
    pub(crate) fn make(tree: &Tree, folder: &Path, paths: &[String]) -> Result<Self> {
        for program in [QEMU, "ldd", "depmod", "modprobe"] {
            if !command::exists(program) && !Path::new("/sbin").join(program).is_file() {
                bail!("{program} is not here; Debian has it in qemu-system-x86, libc-bin or kmod");
            }
        }
        let root = folder.join("root");
        let _ = fs::remove_dir_all(folder);
        let modules = root.join("usr/lib/modules").join(&tree.release);
        for name in ["usr/bin", "usr/sbin", "usr/lib64", "etc/modprobe.d", "dev"] {
            fs::create_dir_all(root.join(name)).with_context(|| format!("create {name} in {}", root.display()))?;
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), root.join(name))?;
        }
        unpack(tree, &modules)?;
        install(&root)?;
        command::run(Command::new("/sbin/depmod").arg("-b").arg(&root).arg(&tree.release))?;
        let chains = chains(&root, &tree.release, paths)?;
        let initrd = folder.join("initrd");
        let archive = newc::of_folder(&root).context("archive the guest's root")?;
        fs::write(&initrd, &archive).with_context(|| format!("write {}", initrd.display()))?;
        fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
        let length = archive.len() as u64;
        Ok(Self { vmlinuz: tree.vmlinuz.clone(), folder: folder.to_owned(), initrd, length, chains })
    }

    /// The machine with this number, which has a copy of the archive; the first machine takes the archive itself.
    pub(crate) fn machine(&self, number: usize) -> Result<Machine<'_>> {
        let folder = self.folder.join(number.to_string());
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let initrd = if number == 0 { self.initrd.clone() } else { folder.join("initrd") };
        if number != 0 {
            fs::copy(&self.initrd, &initrd).with_context(|| format!("write {}", initrd.display()))?;
        }
        Ok(Machine { guest: self, folder, initrd })
    }

    pub(crate) fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.folder).with_context(|| format!("remove {}", self.folder.display()))
    }
}

impl Machine<'_> {
    /// Where the kernel's own words of the last boot are.
    pub(crate) fn console(&self) -> PathBuf {
        self.folder.join("console")
    }

    /// Boots once and hands on what is said of each module as it comes.
    pub(crate) fn boot(&self, paths: &[&String], mut take: impl FnMut(&str) -> Result<()>) -> Result<End> {
        let list: String = paths
            .iter()
            .map(|path| {
                format!("{path}\t{}\n", self.guest.chains.get(*path).map_or(String::new(), |files| files.join("\t")))
            })
            .collect();
        let mut initrd = File::options().write(true).open(&self.initrd).context("open the initramfs")?;
        initrd.set_len(self.guest.length)?;
        initrd.seek(SeekFrom::End(0))?;
        initrd.write_all(&newc::archive(&[("outcomes", list.as_bytes())]))?;
        drop(initrd);
        let report = self.folder.join("report");
        fs::write(&report, b"")?;
        let mut qemu = self.start(&report)?;
        let end = follow(&mut qemu, &report, &mut take);
        // It may have ended by itself.
        let _ = qemu.kill();
        qemu.wait().context("wait for QEMU")?;
        end
    }

    fn start(&self, report: &Path) -> Result<Child> {
        Command::new(QEMU)
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-machine", "pc", "-m", "2560", "-smp", "2"])
            .args(["-no-reboot", "-display", "none", "-monitor", "none", "-parallel", "none"])
            .arg("-serial")
            .arg(format!("file:{}", self.console().display()))
            .arg("-serial")
            .arg(format!("file:{}", report.display()))
            .arg("-kernel")
            .arg(&self.guest.vmlinuz)
            .arg("-initrd")
            .arg(&self.initrd)
            .args([
                "-append",
                "console=ttyS0 panic=-1 oops=panic loglevel=5 mitigations=off no_timer_check rcupdate.rcu_expedited=1",
            ])
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("start {QEMU}"))
    }
}

/// Reads the report as it grows, until the guest is done or lost.
fn follow(qemu: &mut Child, report: &Path, take: &mut impl FnMut(&str) -> Result<()>) -> Result<End> {
    let mut file = File::open(report)?;
    let (mut text, mut current, mut last) = (Vec::new(), None, Instant::now());
    loop {
        // Asked before reading, so that nothing written before the end is missed.
        let ended = qemu.try_wait().context("wait for QEMU")?.is_some();
        let mut new = Vec::new();
        file.read_to_end(&mut new)?;
        if !new.is_empty() {
            last = Instant::now();
        }
        text.extend(new);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            match line.trim_end().split_once('\t') {
                Some(("BEGIN", path)) => current = Some(path.to_owned()),
                Some(("END", rest)) => {
                    take(rest)?;
                    current = None;
                }
                Some(("STUCK", path)) => return Ok(End::Lost(path.to_owned(), "hang")),
                _ if line.trim_end() == "DONE" => return Ok(End::Done),
                _ if line.starts_with("FAULT") => bail!("the guest says: {}", line.trim_end()),
                _ => (),
            }
        }
        if ended || last.elapsed() > SILENCE {
            let how = if ended { "panic" } else { "hang" };
            return Ok(current.map_or(End::Done, |path| End::Lost(path, how)));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Copies the tree, unpacked, so that the guest need not do it each time.
fn unpack(tree: &Tree, into: &Path) -> Result<()> {
    for name in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        fs::create_dir_all(into)?;
        fs::copy(tree.modules.join(name), into.join(name)).with_context(|| format!("copy {name}"))?;
    }
    let files = tree.files();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let parts = files.chunks(files.len().div_ceil(workers).max(1));
        let workers: Vec<_> =
            parts.map(|part| scope.spawn(|| part.iter().try_for_each(|file| unpack_one(tree, file, into)))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("unpacking panicked")))
    })
}

fn unpack_one(tree: &Tree, file: &Path, into: &Path) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let plain = decompress(&bytes, LIMIT).with_context(|| format!("unpack {}", file.display()))?;
    let to = into.join(plain_path(&file.strip_prefix(&tree.modules)?.to_string_lossy()));
    fs::create_dir_all(to.parent().unwrap_or(into))?;
    fs::write(&to, plain).with_context(|| format!("write {}", to.display()))
}

/// The path without what names the compression.
fn plain_path(path: &str) -> &str {
    path.find(".ko").map_or(path, |at| &path[..at + 3])
}

/// Puts the first process, and Debian's tools with their libraries, into the root.
fn install(root: &Path) -> Result<()> {
    program(root, &init()?, "init")?;
    program(root, Path::new(KMOD), "usr/bin/kmod")?;
    for name in ["modprobe", "insmod", "rmmod", "lsmod", "depmod"] {
        symlink("../bin/kmod", root.join("usr/sbin").join(name))?;
    }
    let needed = command::output(Command::new("ldd").arg(KMOD))?;
    for library in needed.split_whitespace().filter(|word| word.starts_with('/')) {
        program(root, Path::new(library), library.trim_start_matches('/'))?;
    }
    Ok(())
}

fn program(root: &Path, from: &Path, to: &str) -> Result<()> {
    let to = root.join(to);
    fs::create_dir_all(to.parent().unwrap_or(root))?;
    let bytes = fs::read(from).with_context(|| format!("read {}", from.display()))?;
    fs::write(&to, bytes).with_context(|| format!("write {}", to.display()))?;
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The first process, linked statically, in a target folder of its own: the flags are not those of other builds.
fn init() -> Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let target = target.join("oracle");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--release", "--package", "ferrmod-tests", "--bin", "live_init"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--manifest-path"])
        .arg(workspace.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    command::run(&mut cargo)?;
    Ok(target.join("x86_64-unknown-linux-gnu/release/live_init"))
}

/// What modprobe would load for each of the modules, in order, as the guest sees the files.
fn chains(root: &Path, release: &str, paths: &[String]) -> Result<HashMap<String, Vec<String>>> {
    let prefix = root.to_string_lossy().into_owned();
    let mut chains = HashMap::new();
    for path in paths {
        let own = format!("/usr/lib/modules/{release}/{}", plain_path(path));
        let name = Path::new(&own).file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let mut modprobe = Command::new("/sbin/modprobe");
        // The guest's configuration, which is empty, and not that of this machine.
        modprobe.arg("-d").arg(root).arg("-C").arg(root.join("etc/modprobe.d"));
        modprobe.args(["-S", release, "--show-depends", &name]);
        let shown = command::output(&mut modprobe)?;
        let mut files: Vec<String> = shown
            .lines()
            .filter_map(|line| line.strip_prefix("insmod ")?.split(' ').next())
            .map(|file| file.trim_start_matches(&prefix).to_owned())
            .collect();
        // Soft dependencies that come after it are not what its own answers depend on.
        let is_own = |file: &String| Path::new(file).file_name() == Path::new(&own).file_name();
        match files.iter().position(is_own) {
            Some(at) => files.truncate(at + 1),
            None => files.push(own),
        }
        chains.insert(path.clone(), files);
    }
    Ok(chains)
}
