//! `cargo xtask corpus`: Debian's kernels and its kmod, unpacked into the cache folder.
//!
//! What is there already is left alone. Whatever is fetched gets its final name only when it is
//! whole, so an interrupted run leaves nothing that looks finished.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use ferrmod_tests::corpus;

use crate::apt::{self, Apt};

/// The kernel whose answers are recorded in tests/data.
const RECORDED: &str = "linux-image-6.1.0-56-amd64";

/// One kernel of the corpus.
struct Kernel {
    /// Folder in the corpus.
    version: &'static str,
    /// Debian release that carries it.
    codename: &'static str,
    /// Extended regular expression for apt-cache; [`newest`] then looks closer.
    pattern: &'static str,
}

const KERNELS: [Kernel; 2] = [
    Kernel { version: "6.1", codename: "bookworm", pattern: r"^linux-image-6\.1\.0-[0-9]+-amd64$" },
    Kernel { version: "6.12", codename: "trixie", pattern: r"^linux-image-6\.12[.0-9]*\+deb13(\+[0-9]+)?-amd64$" },
];

/// Packages that are unpacked together and that nothing but their names identifies.
struct Extra {
    /// Folder in the corpus.
    folder: &'static str,
    codename: &'static str,
    packages: &'static [&'static str],
    /// Their dependencies that a program needs in order to start without the machine's own libraries.
    libraries: &'static [&'static str],
    /// A file that shows that the folder is whole.
    proof: &'static str,
}

/// What the tools are compared with: two more configurations of the recorded kernel, and kmod
/// with its C library, so that it runs on any machine.
const EXTRAS: [Extra; 4] = [
    Extra {
        folder: "6.1-cloud",
        codename: "bookworm",
        packages: &["linux-image-6.1.0-56-cloud-amd64"],
        libraries: &[],
        proof: "lib/modules",
    },
    Extra {
        folder: "6.1-rt",
        codename: "bookworm",
        packages: &["linux-image-6.1.0-56-rt-amd64"],
        libraries: &[],
        proof: "lib/modules",
    },
    Extra {
        folder: "kmod34",
        codename: "trixie",
        packages: &["kmod", "libkmod2"],
        libraries: &["libc6", "liblzma5", "libssl3t64", "libzstd1", "zlib1g"],
        proof: "usr/bin/kmod",
    },
    Extra {
        folder: "kmod30",
        codename: "bookworm",
        packages: &["kmod", "libkmod2"],
        libraries: &["libc6", "liblzma5", "libssl3", "libzstd1"],
        proof: "bin/kmod",
    },
];

pub(crate) fn fetch() -> Result<()> {
    let folder = corpus::folder();
    println!("corpus: {}", folder.display());
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    for kernel in &KERNELS {
        fetch_kernel(&folder, kernel)?;
    }
    for extra in &EXTRAS {
        fetch_extra(&folder, extra)?;
    }
    Ok(())
}

fn fetch_extra(folder: &Path, extra: &Extra) -> Result<()> {
    let name = extra.folder;
    if name == "kmod30" && kmod_30_is_installed() {
        println!("{name}: this machine's own");
        return Ok(());
    }
    let whole = folder.join(name);
    if !whole.is_dir() {
        let apt = Apt::of_release(folder.join("apt").join(extra.codename), extra.codename)?;
        let packages: Vec<String> = extra.packages.iter().chain(extra.libraries).map(|&name| name.to_owned()).collect();
        install(&apt, folder, name, &packages)?;
        // Before the merge of / and /usr, libraries stood in /lib.
        join_usr(&whole)?;
    }
    if !whole.join(extra.proof).exists() && !whole.join("usr").join(extra.proof).exists() {
        bail!("{} has no {}; delete that folder to fetch it anew", whole.display(), extra.proof);
    }
    println!("{name}: {}", extra.packages.join(", "));
    Ok(())
}

/// Moves the libraries of `lib/` into `usr/lib/`, so that one folder has them all.
fn join_usr(root: &Path) -> Result<()> {
    const MULTIARCH: &str = "lib/x86_64-linux-gnu";
    let (from, to) = (root.join(MULTIARCH), root.join("usr").join(MULTIARCH));
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(&to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(&from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if !target.exists() {
            fs::rename(entry.path(), &target).with_context(|| format!("move to {}", target.display()))?;
        }
    }
    Ok(())
}

/// Whether the machine's kmod is Debian 12's.
pub(crate) fn kmod_30_is_installed() -> bool {
    ["/usr/bin/kmod", "/bin/kmod"].iter().any(|path| {
        let output = Command::new(path).arg("--version").output();
        output.is_ok_and(|output| output.stdout.starts_with(b"kmod version 30\n"))
    })
}

fn fetch_kernel(folder: &Path, kernel: &Kernel) -> Result<()> {
    let version = kernel.version;
    let mut apt = None;
    if corpus::tree_in(folder, version).is_none() {
        let apt = lists(&mut apt, folder, kernel)?;
        let names = apt.search(kernel.pattern)?;
        let name = if names.iter().any(|name| name == RECORDED) {
            RECORDED
        } else {
            let Some(name) = newest(&names) else {
                bail!("{} offers no package like {}", kernel.codename, kernel.pattern);
            };
            if version == "6.1" {
                println!(
                    "{version}: {RECORDED} is gone from the archive, taking {name}; the recorded \
                     answers may differ in addresses and release names"
                );
            }
            name
        };
        install(apt, folder, version, &[name.to_owned()])?;
    }
    let Some(tree) = corpus::tree_in(folder, version) else {
        bail!(
            "{} has no boot/vmlinuz-* with its modules; delete that folder to fetch it anew",
            folder.join(version).display()
        );
    };
    println!("{version}: {} with {} modules", tree.release, tree.files().len());

    if version == "6.1" {
        let headers = format!("{version}-headers");
        if !folder.join(&headers).is_dir() {
            // 6.1.0-56-amd64 shares linux-headers-6.1.0-56-common with its variants.
            let abi = tree.release.strip_suffix("-amd64").unwrap_or(&tree.release);
            let packages = [
                format!("linux-headers-{}", tree.release),
                format!("linux-headers-{abi}-common"),
                format!("linux-kbuild-{version}"),
            ];
            install(lists(&mut apt, folder, kernel)?, folder, &headers, &packages)?;
        }
        println!("{headers}: ready for kbuild");
    }
    Ok(())
}

/// The lists of the kernel's release, fetched once and only when something is missing.
fn lists<'a>(apt: &'a mut Option<Apt>, folder: &Path, kernel: &Kernel) -> Result<&'a Apt> {
    match apt {
        Some(apt) => Ok(apt),
        None => {
            let state = folder.join("apt").join(kernel.codename);
            Ok(apt.insert(Apt::of_release(state, kernel.codename)?))
        }
    }
}

/// Downloads the packages and unpacks them together as the folder's subfolder `name`.
fn install(apt: &Apt, folder: &Path, name: &str, packages: &[String]) -> Result<()> {
    let downloads = folder.join(format!("{name}.downloads"));
    let partial = folder.join(format!("{name}.partial"));
    let whole = folder.join(name);
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("remove {}", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("create {}", partial.display()))?;
    for package in packages {
        let file = apt.download(package, &downloads)?;
        println!("{package}: unpacking");
        apt::unpack(&file, &partial)?;
    }
    fs::rename(&partial, &whole).with_context(|| format!("rename to {}", whole.display()))?;
    fs::remove_dir_all(&downloads).with_context(|| format!("remove {}", downloads.display()))
}

/// The package with the highest version in its name; real-time, cloud and unsigned kernels do not
/// count.
fn newest(names: &[String]) -> Option<&str> {
    names
        .iter()
        .map(String::as_str)
        .filter(|name| !["-rt-", "-cloud-", "-unsigned", "-dbg"].iter().any(|part| name.contains(part)))
        .max_by_key(|name| numbers(name))
}

/// The numbers in the name, in order: `6.12.96+deb13` is 6, 12, 96, 13.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_compares_numbers_and_leaves_variants_out() {
        let names = [
            "linux-image-6.12.9+deb13-amd64",
            "linux-image-6.12.96+deb13-amd64",
            "linux-image-6.12.100+deb13-rt-amd64",
            "linux-image-6.12.101+deb13-cloud-amd64",
            "linux-image-6.12.102+deb13-amd64-unsigned",
            "linux-image-6.12.86+deb13-amd64",
        ]
        .map(str::to_owned);
        assert_eq!(newest(&names), Some("linux-image-6.12.96+deb13-amd64"));
        assert_eq!(newest(&names[2..3]), None);
    }
}
