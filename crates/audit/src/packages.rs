//! What the package database says about module files: dpkg's, which is read here, or rpm's, which `rpm` reads.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bstr::{BStr, BString, ByteSlice};
use ferrmod_index::{in_parallel_reading, module_name};

use crate::rpm;
use crate::sum::{CheckSum, Md5Sum, bytes_of};
use ferrmod_image::shown;

/// No list of files of a package is that long: the largest packages have some hundred thousand files.
const LARGEST: u64 = 1 << 28;

/// Who installed a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packaged {
    /// The package, with its architecture when it may be there for several (`linux-image-6.1.0-56-amd64`, `libc6:amd64`);
    /// with its version when rpm has it (`kernel-core-6.1.0-1.x86_64`).
    pub package: String,
    /// The check sum of the file it installed; `None` when the package has none.
    pub sum: Option<CheckSum>,
}

/// A line of a list that the package manager does not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: no {field}")]
pub struct ListFault {
    /// The line, from 1.
    pub line: usize,
    /// What should be there.
    pub field: &'static str,
}

/// Reads what `PACKAGE.md5sums` holds: 32 hexadecimal digits, two spaces, a path from the root without its `/`.
pub fn parse_md5sums(text: &[u8]) -> impl Iterator<Item = Result<(Md5Sum, &BStr), ListFault>> {
    text.lines().enumerate().filter(|(_, line)| !line.is_empty()).map(|(at, line)| {
        let fault = |field| ListFault { line: at + 1, field };
        let (digits, path) = line.split_at_checked(32).ok_or(fault("check sum"))?;
        let sum = bytes_of(digits).and_then(|bytes| bytes.try_into().ok()).ok_or(fault("check sum"))?;
        // md5sum marks binary files with a star; dpkg's builders never do, but may.
        let path = path.strip_prefix(b"  ").or_else(|| path.strip_prefix(b" *")).filter(|path| !path.is_empty());
        Ok((Md5Sum(sum), path.ok_or(fault("path"))?.as_bstr()))
    })
}

/// A file that one package wants elsewhere than where the others install it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diversion<'a> {
    /// Where it would be.
    pub from: &'a BStr,
    /// Where it is when another package than [`Diversion::package`] installs it.
    pub to: &'a BStr,
    /// The package; `:` when the administrator did it, for all packages.
    pub package: &'a BStr,
}

/// Reads what `diversions` holds: three lines each. Lines at the end that are not three are left out.
pub fn parse_diversions(text: &[u8]) -> impl Iterator<Item = Diversion<'_>> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        let mut next = || lines.next().map(BStr::new);
        Some(Diversion { from: next()?, to: next()?, package: next()? })
    })
}

/// The path of a module file as the database's key: from the root, without `/` before it, and `lib/modules` whether it is that or
/// `usr/lib/modules`: which one a package says depends on its age, and where `/lib` is a link both are the same file.
fn key(path: &[u8]) -> Option<&[u8]> {
    let path = path.strip_prefix(b"./").or_else(|| path.strip_prefix(b"/")).unwrap_or(path);
    let path = path.strip_prefix(b"usr/").unwrap_or(path);
    (path.starts_with(b"lib/modules/") && module_name(Path::new(OsStr::from_bytes(path))).is_some()).then_some(path)
}

/// The module files that packages installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packages {
    /// Whose database it is.
    kind: &'static str,
    files: BTreeMap<BString, Packaged>,
    /// How many packages were looked at.
    packages: usize,
    /// Lists that could not be read.
    problems: Vec<String>,
}

impl Packages {
    /// Reads dpkg's database in `root`; `None` when there is none.
    #[must_use]
    pub fn dpkg(root: &Path) -> Option<Packages> {
        let folder = root.join("var/lib/dpkg/info");
        let mut lists: BTreeMap<Vec<u8>, PathBuf> = BTreeMap::new();
        for entry in fs::read_dir(&folder).ok()?.flatten() {
            let path = entry.path();
            let Some((package, kind)) =
                entry.file_name().as_bytes().rsplit_once_str(".").map(|(a, b)| (a.to_vec(), b == b"md5sums"))
            else {
                continue;
            };
            // The check sums name every file; only a package without them is read by its plain list.
            if kind || (path.extension() == Some(OsStr::new("list")) && !lists.contains_key(&package)) {
                lists.insert(package, path);
            }
        }
        let lists: Vec<(Vec<u8>, PathBuf)> = lists.into_iter().collect();
        let read = in_parallel_reading(&lists, |(package, path)| read_list(package, path));
        let mut out = Packages { kind: "dpkg", packages: lists.len(), ..Packages::default() };
        for (mut files, problem) in read {
            out.problems.extend(problem);
            // A package of a later name that installs the same file as another cannot be; the last counts.
            out.files.append(&mut files);
        }
        let diversions = root.join("var/lib/dpkg/diversions");
        match read_text(&diversions) {
            Ok(text) => parse_diversions(&text).for_each(|diversion| out.divert(&diversion)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => out.problems.push(format!("{}: {error}", shown(diversions.as_os_str().as_bytes()))),
        }
        Some(out)
    }

    /// What `program` says of rpm's database in `root`; `None` when there is none.
    #[must_use]
    pub fn rpm(root: &Path, program: &OsStr) -> Option<Result<Packages, String>> {
        let folder = rpm::database(root)?;
        let text = match rpm::ask(program, &folder) {
            Ok(text) => text,
            Err(error) => return Some(Err(error.to_string())),
        };
        let mut out = Packages { kind: "rpm", ..Packages::default() };
        let mut packages = BTreeSet::new();
        let mut fault = None;
        for file in rpm::parse_rpm(&text) {
            match file {
                Ok(file) => {
                    packages.insert(file.package);
                    if file.installed
                        && let Some(key) = key(file.path)
                    {
                        out.files.insert(key.into(), rpm::owner(&file));
                    }
                }
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        out.packages = packages.len();
        out.problems.extend(fault.map(|fault| format!("the answer of {}: {fault}", shown(program.as_bytes()))));
        Some(Ok(out))
    }

    /// Whose database it is: `dpkg` or `rpm`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Whether no package has a module.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The owner of a file that another package has diverted is to be found where it was diverted to.
    fn divert(&mut self, diversion: &Diversion<'_>) {
        let Some(from) = key(diversion.from) else { return };
        let diverts = |owner: &Packaged| {
            owner.package.split(':').next().unwrap_or_default().as_bytes() != diversion.package.as_bytes()
        };
        if self.files.get(from.as_bstr()).is_some_and(diverts)
            && let Some(owner) = self.files.remove(from.as_bstr())
            && let Some(to) = diverted(diversion.to)
        {
            self.files.insert(to.into(), owner);
        }
    }

    /// Who installed a file: its path from the root.
    #[must_use]
    pub fn owner(&self, path: &Path) -> Option<&Packaged> {
        self.files.get(diverted(path.as_os_str().as_bytes())?.as_bstr())
    }

    /// The files that packages installed below `lib/modules/RELEASE`, as paths from there.
    pub fn below<'a>(&'a self, release: &str) -> impl Iterator<Item = (&'a Path, &'a Packaged)> {
        let folder = BString::from(format!("lib/modules/{release}/"));
        let start = folder.clone();
        self.files
            .range(start..)
            .map_while(move |(path, owner)| Some((path.strip_prefix(folder.as_slice())?, owner)))
            .map(|(path, owner)| (Path::new(OsStr::from_bytes(path)), owner))
    }

    /// How many packages there are.
    #[must_use]
    pub fn packages(&self) -> usize {
        self.packages
    }

    /// Lists that could not be read, or have lines that the package manager does not write.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

/// As [`key`], for a file whose name need no longer be that of a module.
fn diverted(path: &[u8]) -> Option<&[u8]> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let path = path.strip_prefix(b"usr/").unwrap_or(path);
    path.starts_with(b"lib/modules/").then_some(path)
}

/// A file of the database. Nothing is opened that would keep its reader waiting, or that is larger than any list.
fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a list of files, or larger than any"));
    }
    fs::read(path)
}

/// The module files of one list, and what is wrong with it.
fn read_list(package: &[u8], path: &Path) -> (BTreeMap<BString, Packaged>, Option<String>) {
    let mut files = BTreeMap::new();
    let problem = |reason: &dyn fmt::Display| Some(format!("{}: {reason}", shown(path.as_os_str().as_bytes())));
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) => return (files, problem(&error)),
    };
    // Most packages have no module, and most lists need not be taken apart.
    if text.find(b"lib/modules/").is_none() {
        return (files, None);
    }
    let owner = |sum: Option<Md5Sum>| Packaged { package: shown(package), sum: sum.map(CheckSum::Md5) };
    if path.extension() == Some(OsStr::new("list")) {
        files.extend(text.lines().filter_map(|line| Some((key(line)?.into(), owner(None)))));
        return (files, None);
    }
    let mut fault = None;
    for line in parse_md5sums(&text) {
        match line {
            Ok((sum, path)) => files.extend(key(path).map(|path| (BString::from(path), owner(Some(sum))))),
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    (files, fault.and_then(|fault| problem(&fault)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn check_sums_of_dpkg() {
        let text = b"d41d8cd98f00b204e9800998ecf8427e  lib/modules/6.1/kernel/a.ko\n\nxx\nD41D8CD98F00B204E9800998ECF8427E *usr/b c\nd41d8cd98f00b204e9800998ecf8427e  \n+41d8cd98f00b204e9800998ecf8427e  x\n";
        let all: Vec<_> = parse_md5sums(text).collect();
        let (sum, path) = all[0].unwrap();
        assert_eq!(
            (sum.to_string().as_str(), path),
            ("d41d8cd98f00b204e9800998ecf8427e", BStr::new("lib/modules/6.1/kernel/a.ko"))
        );
        assert_eq!(all[1], Err(ListFault { line: 3, field: "check sum" }));
        assert_eq!(all[2].unwrap(), (sum, BStr::new("usr/b c")));
        assert_eq!(all[3], Err(ListFault { line: 5, field: "path" }));
        assert_eq!(all[4], Err(ListFault { line: 6, field: "check sum" }));
    }

    #[test]
    fn a_file_is_the_same_below_usr() {
        assert_eq!(key(b"/usr/lib/modules/6.1/a.ko.xz"), Some(&b"lib/modules/6.1/a.ko.xz"[..]));
        assert_eq!(key(b"lib/modules/6.1/a.ko"), key(b"./lib/modules/6.1/a.ko"));
        assert_eq!(key(b"lib/modules/6.1/modules.order"), None);
        assert_eq!(key(b"usr/share/a.ko"), None);
    }

    #[test]
    fn a_diverted_file_is_elsewhere() {
        let path = "lib/modules/6.1/a.ko";
        let packages = |package: &str| {
            let owner = Packaged { package: package.into(), sum: None };
            Packages { files: BTreeMap::from([(path.into(), owner)]), packages: 1, ..Packages::default() }
        };
        let text = b"/lib/modules/6.1/a.ko\n/lib/modules/6.1/a.ko.distrib\nmine\n/x\n";
        let diversion = parse_diversions(text).next().unwrap();
        assert_eq!(parse_diversions(text).count(), 1);
        let mut other = packages("image:amd64");
        other.divert(&diversion);
        assert_eq!(other.owner(Path::new("/lib/modules/6.1/a.ko")), None);
        assert!(other.owner(Path::new("/usr/lib/modules/6.1/a.ko.distrib")).is_some());
        let mut mine = packages("mine:amd64");
        mine.divert(&diversion);
        assert!(mine.owner(Path::new(path)).is_some());
        assert_eq!(mine.below("6.1").map(|(path, _)| path.display().to_string()).collect::<Vec<_>>(), ["a.ko"]);
        assert_eq!(mine.below("6").count(), 0);
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(text: Vec<u8>) {
            let _ = parse_md5sums(&text).count();
            let _ = parse_diversions(&text).count();
            let _ = key(&text);
        }

        #[test]
        fn sums_come_back(sum: [u8; 16], path in "[a-z/]{1,30}") {
            let line = format!("{}  {path}\n", Md5Sum(sum));
            prop_assert_eq!(parse_md5sums(line.as_bytes()).next().unwrap(), Ok((Md5Sum(sum), BStr::new(path.as_bytes()))));
        }
    }
}
