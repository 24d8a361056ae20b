//! `cargo xtask corpus`: Debian's kernels, unpacked into the cache folder.
//!
//! What is there already is left alone. Whatever is fetched gets its final name only when it is
//! whole, so an interrupted run leaves nothing that looks finished.

use std::fs;
use std::path::Path;

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

pub(crate) fn fetch() -> Result<()> {
    let folder = corpus::folder();
    println!("corpus: {}", folder.display());
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    for kernel in &KERNELS {
        fetch_kernel(&folder, kernel)?;
    }
    Ok(())
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
