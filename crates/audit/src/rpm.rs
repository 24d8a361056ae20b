//! What rpm's database says about module files: asked of the program `rpm`, because the database has had three formats so far.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use bstr::{BStr, ByteSlice};
use ferrmod_signature::{Digest, Hash};

use crate::packages::{ListFault, Packaged};
use crate::sum::{CheckSum, Md5Sum, bytes_of};
use ferrmod_image::shown;

/// A line for each file of each package. The path comes last: it alone may have any characters.
const FORMAT: &str =
    "[%{=NEVRA}\\t%{=FILEDIGESTALGO}\\t%{FILEDIGESTS}\\t%{FILEFLAGS}\\t%{FILESTATES}\\t%{FILENAMES}\\n]";
/// `RPMFILE_GHOST`: the package owns the path, and something else makes the file.
const GHOST: u32 = 1 << 6;
/// No answer is that long: half a million files make 100 MB.
const LARGEST: u64 = 1 << 30;
/// Of what it says besides.
const LARGEST_ERROR: u64 = 1 << 12;

/// Where rpm keeps its database, the newer place first: the older may be a link to it.
const FOLDERS: [&str; 2] = ["usr/lib/sysimage/rpm", "var/lib/rpm"];
/// What the database is, in sqlite, in rpm's own format and in Berkeley DB.
const FILES: [&str; 3] = ["rpmdb.sqlite", "Packages.db", "Packages"];

/// The folder of rpm's database in `root`. One without a database does not count: rpm would make one there.
pub(crate) fn database(root: &Path) -> Option<PathBuf> {
    let folders = FOLDERS.into_iter().map(|folder| root.join(folder));
    folders.into_iter().find(|folder| FILES.iter().any(|file| folder.join(file).is_file()))
}

/// A file in the answer of `rpm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpmFile<'a> {
    /// Where it is, from the root with its `/`.
    pub path: &'a BStr,
    /// The package: name, epoch, version, release and architecture.
    pub package: &'a BStr,
    /// Its check sum; `None` when the package has none for it, or of a kind that is not known here.
    pub sum: Option<CheckSum>,
    /// Whether the package has put it there: it is no ghost, and neither left out nor replaced by another package.
    pub installed: bool,
}

/// Takes the answer of `rpm` apart: a line for each file, of package, algorithm and digits of the check sum, flags, state and path,
/// with tabulators between them. A package without files has no line.
pub fn parse_rpm(text: &[u8]) -> impl Iterator<Item = Result<RpmFile<'_>, ListFault>> {
    text.lines().enumerate().filter(|(_, line)| !line.is_empty()).map(|(at, line)| {
        let fault = |field| ListFault { line: at + 1, field };
        let mut fields = line.splitn_str(6, "\t");
        let mut next = |field| fields.next().ok_or(fault(field));
        let package = next("package")?.as_bstr();
        let algorithm = next("algorithm")?;
        let digits = next("check sum")?;
        let flags = number(next("flags")?).ok_or(fault("flags"))?;
        // 1 is replaced, 2 not installed, 3 on a file system that others provide, 4 for another architecture.
        let state = number(next("state")?).unwrap_or(0);
        let path = next("path")?;
        if package.is_empty() || !path.starts_with(b"/") {
            return Err(fault(if package.is_empty() { "package" } else { "path" }));
        }
        let installed = flags & GHOST == 0 && state == 0;
        let sum = if digits.is_empty() { None } else { sum(algorithm, digits).map_err(fault)? };
        Ok(RpmFile { path: path.as_bstr(), package, sum, installed })
    })
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.to_str().ok()?.parse().ok()
}

/// A check sum, by the number that OpenPGP (RFC 9580, 9.5) gives the algorithm; packages made before 2009 have none and use MD5.
fn sum(algorithm: &[u8], digits: &[u8]) -> Result<Option<CheckSum>, &'static str> {
    let bytes = bytes_of(digits).ok_or("check sum")?;
    let digest = match algorithm {
        b"(none)" | b"" | b"0" | b"1" => {
            let sum = Md5Sum(bytes.try_into().map_err(|_| "check sum")?);
            return Ok(Some(CheckSum::Md5(sum)));
        }
        b"2" => Digest::Sha1,
        b"8" => Digest::Sha256,
        b"9" => Digest::Sha384,
        b"10" => Digest::Sha512,
        b"11" => Digest::Sha224,
        _ => return Ok(None),
    };
    let hash = Hash::from_bytes(digest, &bytes).ok_or("check sum")?;
    Ok(Some(CheckSum::Other(digest, hash)))
}

/// Why `rpm` has not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RpmError {
    /// There is no such program.
    #[error("rpm's database is read by the program {0}, which is not installed here")]
    NoProgram(String),
    /// It cannot be run.
    #[error("{0} cannot be run: {1}")]
    Run(String, io::Error),
    /// It ended with an error.
    #[error("{0} could not read rpm's database: {1}")]
    Failed(String, String),
    /// It says more than any database holds.
    #[error("the answer of {0} has no end")]
    Endless(String),
}

/// Asks `program` for all files of all packages of the database in `folder`.
pub(crate) fn ask(program: &OsStr, folder: &Path) -> Result<Vec<u8>, RpmError> {
    let name = shown(program.as_encoded_bytes());
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => RpmError::NoProgram(name.clone()),
        _ => RpmError::Run(name.clone(), error),
    };
    // With --root it would change its root, which takes a right, and look for the database where the root's distribution has it
    // only if that is this machine's, too.
    let folder = std::path::absolute(folder).map_err(failed)?;
    let mut child = Command::new(program)
        .arg("--dbpath")
        .arg(&folder)
        .args(["-qa", "--nosignature", "--nodigest", "--qf", FORMAT])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let complaint = thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(stderr) = stderr {
            let mut stderr = stderr.take(LARGEST_ERROR);
            // What comes after is dropped, but taken, so that the program does not wait for a reader.
            let _ = stderr.read_to_end(&mut text);
            let _ = io::copy(&mut stderr.into_inner(), &mut io::sink());
        }
        text
    });
    let mut text = Vec::new();
    let read = stdout.map_or(Ok(0), |stdout| stdout.take(LARGEST + 1).read_to_end(&mut text));
    if read.as_ref().is_ok_and(|&length| length as u64 > LARGEST) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(RpmError::Endless(name));
    }
    let status = child.wait().map_err(failed)?;
    read.map_err(failed)?;
    if status.success() {
        return Ok(text);
    }
    let complaint = complaint.join().unwrap_or_default();
    let said = complaint.lines().find(|line| !line.trim_ascii().is_empty()).map(|line| shown(line.trim_ascii()));
    Err(RpmError::Failed(name, said.unwrap_or_else(|| status.to_string())))
}

/// What a line says about its owner.
pub(crate) fn owner(file: &RpmFile<'_>) -> Packaged {
    Packaged { package: shown(file.package), sum: file.sum }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_of_rpm() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let text = format!(
            "kernel-core-6.1-1.x86_64\t8\t{sha256}\t0\t0\t/lib/modules/6.1/a.ko\n\
             kernel-core-6.1-1.x86_64\t8\t\t64\t0\t/lib/modules/6.1/modules.dep\n\
             old-1-1.noarch\t(none)\t{md5}\t0\t(none)\t/usr/a b\tc\n\
             old-1-1.noarch\t8\t{sha256}\t0\t1\t/replaced\n\
             new-1-1.noarch\t14\t{sha256}\t0\t0\t/sha3\n\
             one\t8\t{md5}\t0\t0\t/x\n\ttwo\none\t8\t\tmany\t0\t/x\none\t8\t\t0\t0\tx\n"
        );
        let all: Vec<_> = parse_rpm(text.as_bytes()).collect();
        let first = all[0].as_ref().unwrap();
        assert_eq!(
            (first.path, first.package),
            (BStr::new("/lib/modules/6.1/a.ko"), BStr::new("kernel-core-6.1-1.x86_64"))
        );
        assert_eq!(first.sum, first.sum.unwrap().of_same_kind(b""));
        assert_eq!(first.sum.unwrap().to_string(), sha256);
        assert_eq!(first.sum.unwrap().algorithm(), "SHA256");
        assert!(first.installed && !all[1].as_ref().unwrap().installed && !all[3].as_ref().unwrap().installed);
        let third = all[2].as_ref().unwrap();
        assert_eq!(
            (third.path, third.sum.unwrap().to_string(), third.installed),
            (BStr::new("/usr/a b\tc"), md5.into(), true)
        );
        assert_eq!(all[4].as_ref().unwrap().sum, None);
        let faults: Vec<_> = all[5..].iter().map(|line| line.as_ref().unwrap_err()).map(ToString::to_string).collect();
        assert_eq!(faults, ["line 6: no check sum", "line 7: no check sum", "line 8: no flags", "line 9: no path"]);
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(text: Vec<u8>, line in "[a-f0-9\t/(none)]{0,80}") {
            let _ = parse_rpm(&text).count();
            let _ = parse_rpm(line.as_bytes()).count();
        }
    }
}
