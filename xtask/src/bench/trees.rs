//! Trees to measure with, private to the benchmark and kept for the next one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail};
use ferrmod_tests::corpus::Tree;
use ferrmod_tests::module_file::{Crc, Import, Module};

use crate::command;

/// A tree of modules that may be written to.
pub(super) struct Root {
    /// What `-b` and `-d` get.
    pub(super) root: PathBuf,
    pub(super) release: String,
}

impl Root {
    pub(super) fn folder(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }

    /// Every module file.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.folder().join("kernel")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(path),
                    Ok(kind) if kind.is_file() => files.push(path),
                    _ => {}
                }
            }
        }
        files.sort();
        files
    }
}

/// What kbuild calls to compress modules, and what the files are named then.
#[derive(Clone, Copy)]
pub(super) enum Packing {
    Plain,
    Zstd,
    Gzip,
}

/// A copy of a real tree, packed anew; one that an earlier run made is taken as it is.
pub(super) fn of_kernel(folder: &Path, name: &str, tree: &Tree, packing: Packing) -> Result<Root> {
    let root = Root { root: folder.join(name), release: tree.release.clone() };
    if root.folder().join("modules.builtin").is_file() {
        return Ok(root);
    }
    eprintln!("preparing {}", root.root.display());
    let _ = fs::remove_dir_all(&root.root);
    fs::create_dir_all(root.folder()).with_context(|| format!("create {}", root.folder().display()))?;
    command::run(Command::new("cp").arg("-a").arg(tree.modules.join("kernel")).arg(root.folder()))?;
    let packer: Option<&[&str]> = match packing {
        Packing::Plain => None,
        // scripts/Makefile.modinst: the options that kbuild gives.
        Packing::Zstd => Some(&["zstd", "--rm", "-f", "-q"]),
        Packing::Gzip => Some(&["gzip", "-n", "-f"]),
    };
    if let Some(packer) = packer {
        let files = root.files();
        let halves = files.chunks(files.len().div_ceil(thread::available_parallelism().map_or(1, Into::into)).max(1));
        let done: Result<Vec<()>> = thread::scope(|scope| {
            let started: Vec<_> = halves.map(|half| scope.spawn(|| pack(packer, half))).collect();
            started.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread ended"))).collect()
        });
        done?;
    }
    for name in ["modules.order", "modules.builtin.modinfo", "modules.builtin"] {
        let from = tree.modules.join(name);
        fs::copy(&from, root.folder().join(name)).with_context(|| format!("copy {}", from.display()))?;
    }
    Ok(root)
}

fn pack(packer: &[&str], files: &[PathBuf]) -> Result<()> {
    for some in files.chunks(200) {
        command::run(Command::new(packer[0]).args(&packer[1..]).args(some))?;
    }
    Ok(())
}

/// A tree of `count` small modules: each exports three symbols and needs up to four of earlier ones, of its own group of eight and
/// of the first groups. However many there are, none needs more than some dozen: as in real trees, the index grows with the modules.
pub(super) fn made(folder: &Path, count: usize) -> Result<Root> {
    let root = Root { root: folder.join(format!("grouped-{count}")), release: "6.1.0-made".to_owned() };
    if root.folder().join("modules.builtin").is_file() {
        return Ok(root);
    }
    eprintln!("preparing {}", root.root.display());
    let crc = |owner: usize, symbol: usize| (owner * 31 + symbol) as u32;
    for number in 0..count {
        let group = number % 8;
        let near = [1, 2, 4].into_iter().filter(|back| *back <= group).map(|back| number - back);
        let far = (number >= 64 && group > 0).then_some(number % 64);
        let imports = near.chain(far).map(|owner| {
            let name = format!("made_function_{owner}_{}", number % 3).into_bytes();
            Import { name, weak: false, crc: Some(crc(owner, number % 3)) }
        });
        let exports = (0..3).map(|symbol| {
            (format!("made_function_{number}_{symbol}").into_bytes(), Crc::Absolute(crc(number, symbol)))
        });
        let modinfo = [
            "license=GPL".to_owned(),
            format!("alias=pci:v{:08X}d{:08X}sv*sd*bc*sc*i*", number % 500 + 0x8000, number),
            format!("alias=made-alias-{number}"),
            "vermagic=6.1.0-made SMP mod_unload modversions ".to_owned(),
        ];
        let module = Module {
            modinfo: modinfo.map(String::into_bytes).to_vec(),
            exports: exports.collect(),
            imports: imports.collect(),
            ..Module::default()
        };
        let folder = root.folder().join(format!("kernel/{:03}", number / 200));
        if number.is_multiple_of(200) {
            fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        }
        let file = folder.join(format!("made_{number}.ko"));
        fs::write(&file, module.write()).with_context(|| format!("write {}", file.display()))?;
    }
    for name in ["modules.order", "modules.builtin.modinfo", "modules.builtin"] {
        fs::write(root.folder().join(name), "").with_context(|| format!("write {name}"))?;
    }
    Ok(root)
}
