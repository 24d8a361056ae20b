//! `cargo xtask modules`: the modules of tests/modules, built by the stock kbuild.
//!
//! Kbuild writes beside its sources, so it works on a copy in the corpus folder. The finished
//! modules lose their debug information, as they do when a distribution installs them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use ferrmod_tests::corpus;

use crate::command;

/// Where kbuild finds the kernel.
struct Headers {
    /// Configured part: .config, Module.symvers, generated headers.
    build: PathBuf,
    /// Common part, which has the top-level Makefile.
    source: PathBuf,
    release: String,
}

pub(crate) fn build() -> Result<()> {
    let Some(headers) = headers() else {
        println!(
            "SKIPPED: no linux-headers-6.1.0-*-amd64 is unpacked in {} or installed in /usr/src; \
             run `cargo xtask corpus` first",
            corpus::folder().display()
        );
        if corpus::is_required() {
            bail!("the modules in C are required here");
        }
        return Ok(());
    };
    for program in ["make", "gcc", "strip"] {
        if !command::exists(program) {
            bail!("{program} is not here; kbuild needs make, gcc and binutils");
        }
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/modules");
    let output = corpus::own_modules_folder();
    let work = output.with_extension("build").join(&headers.release);
    fs::create_dir_all(&output).with_context(|| format!("create {}", output.display()))?;

    let mut finished = BTreeSet::new();
    for folder in files_in(&sources)? {
        let Some(name) = folder.file_name().filter(|_| folder.is_dir()) else {
            continue;
        };
        let copy = work.join(name);
        copy_changed(&folder, &copy)?;
        println!("kbuild {} against {}", name.to_string_lossy(), headers.release);
        make(&headers, &copy)?;
        for module in files_in(&copy)? {
            if module.extension().is_some_and(|extension| extension == "ko") {
                finished.extend(strip(&module, &output)?);
            }
        }
    }
    for module in files_in(&output)? {
        if !module.file_name().is_some_and(|name| finished.contains(name)) {
            fs::remove_file(&module).with_context(|| format!("remove {}", module.display()))?;
        }
    }
    println!("{} modules in {}", finished.len(), output.display());
    Ok(())
}

/// The headers unpacked in the corpus, else those installed on the machine.
fn headers() -> Option<Headers> {
    let unpacked = corpus::folder().join("6.1-headers/usr/src");
    [unpacked, PathBuf::from("/usr/src")].iter().find_map(|folder| {
        let mut found: Vec<Headers> = fs::read_dir(folder)
            .ok()?
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let release = name.strip_prefix("linux-headers-")?.to_owned();
                let abi = release.strip_suffix("-amd64")?;
                if !abi.starts_with("6.1.0-") {
                    return None;
                }
                let source = folder.join(format!("linux-headers-{abi}-common"));
                let headers = Headers { build: entry.path(), source, release };
                headers.source.join("Makefile").is_file().then_some(headers)
            })
            .collect();
        found.sort_by(|a, b| a.release.cmp(&b.release));
        found.pop()
    })
}

fn make(headers: &Headers, folder: &Path) -> Result<()> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut make = Command::new("make");
    // The installed Makefile includes the common one by its absolute path in /usr/src; naming the
    // common one works wherever the packages were unpacked.
    make.arg("-C").arg(&headers.build).arg("-f").arg(headers.source.join("Makefile"));
    make.arg(format!("M={}", folder.display())).arg(format!("-j{jobs}")).arg("-s").arg("modules");
    // Type information needs the kernel's own vmlinux, which no package has; without this kbuild
    // says so once a module.
    make.arg("CONFIG_DEBUG_INFO_BTF_MODULES=");
    if !command::exists("gcc-12") {
        println!("gcc-12, which built this kernel, is not here; trying gcc");
        make.arg("CC=gcc");
    }
    // A test's environment must not leak into the kernel's build.
    for variable in ["ARCH", "CROSS_COMPILE", "KBUILD_OUTPUT", "MAKEFLAGS", "MFLAGS"] {
        make.env_remove(variable);
    }
    command::run(&mut make)
}

/// Writes the module without debug information into the folder; returns its name.
fn strip(module: &Path, into: &Path) -> Result<Option<OsString>> {
    let Some(name) = module.file_name() else {
        return Ok(None);
    };
    let whole = into.join(name);
    let partial = into.join(name).with_extension("partial");
    command::run(Command::new("strip").arg("--strip-debug").arg("-o").arg(&partial).arg(module))?;
    fs::rename(&partial, &whole).with_context(|| format!("rename to {}", whole.display()))?;
    Ok(Some(name.to_owned()))
}

/// Copies the sources that changed, and only those, so that kbuild rebuilds no more than it must.
/// What is no longer among the sources goes, with everything made from it.
fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    let names = |folder: &Path| -> Result<BTreeSet<OsString>> {
        let names = files_in(folder)?.into_iter();
        Ok(names.filter_map(|file| file.file_name().map(OsString::from)).collect())
    };
    let is_source = |name: &OsString| {
        let name = name.to_string_lossy();
        let made = name.ends_with(".mod.c");
        !made && (name == "Kbuild" || name.ends_with(".c") || name.ends_with(".h"))
    };
    let wanted = names(from)?;
    if to.is_dir() && !names(to)?.iter().filter(|name| is_source(name)).all(|n| wanted.contains(n)) {
        fs::remove_dir_all(to).with_context(|| format!("remove {}", to.display()))?;
    }
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for name in &wanted {
        let source = from.join(name);
        let text = fs::read(&source).with_context(|| format!("read {}", source.display()))?;
        let copy = to.join(name);
        if fs::read(&copy).ok().as_ref() != Some(&text) {
            fs::write(&copy, &text).with_context(|| format!("write {}", copy.display()))?;
        }
    }
    Ok(())
}

/// What the folder holds, sorted.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    files.sort();
    Ok(files)
}
