//! An apt of our own: its lists, cache and sources are private, so that it needs no root and
//! changes nothing on the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt_sources::{self, Source};
use crate::command;

/// A private apt whose package lists are those of one Debian release.
pub(crate) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Prepares the folder and fetches the package lists of `codename`.
    pub(crate) fn of_release(folder: PathBuf, codename: &str) -> Result<Apt> {
        for program in ["apt-get", "apt-cache", "apt-config", "dpkg-deb"] {
            if !command::exists(program) {
                bail!(
                    "{program} is not here; on a machine without apt, unpack Debian's kernel \
                     packages by hand into 6.1/ and 6.12/ of a folder and set FERRMOD_CORPUS to it"
                );
            }
        }
        let sources = apt_sources::for_release(&machine_sources()?, codename);
        if sources.is_empty() {
            bail!(
                "this machine's apt has no source with a Debian release in it (see \
                 sources.list(5)), so there is nowhere to take {codename} from"
            );
        }
        for part in ["lists/partial", "cache/archives/partial"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        }
        let sources_file = folder.join("release.sources");
        fs::write(&sources_file, apt_sources::render(&sources))
            .with_context(|| format!("write {}", sources_file.display()))?;
        // With an empty status file no installed package can pose as one of the archive's.
        let status = folder.join("status");
        fs::write(&status, "").with_context(|| format!("write {}", status.display()))?;

        let apt = Apt { folder };
        println!("{codename}: fetching the package lists");
        command::run(apt.command("apt-get").args([
            "-q",
            "-o",
            "APT::Update::Error-Mode=any",
            "-o",
            "Acquire::Languages=none",
            "-o",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "update",
        ]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let folder = self.folder.display();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::State::lists={folder}/lists"),
            format!("Dir::State::status={folder}/status"),
            format!("Dir::Cache={folder}/cache"),
            format!("Dir::Etc::sourcelist={folder}/release.sources"),
            // Not a folder: no part besides the file above.
            "Dir::Etc::sourceparts=-".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            // The folder belongs to whoever runs this, not to _apt.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }

    /// Names of the packages that match the extended regular expression.
    pub(crate) fn search(&self, pattern: &str) -> Result<Vec<String>> {
        let text = command::output(self.command("apt-cache").args(["search", "--names-only", pattern]))?;
        let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
        Ok(text.lines().filter_map(name).collect())
    }

    /// Downloads the package into the folder and returns the file.
    pub(crate) fn download(&self, package: &str, into: &Path) -> Result<PathBuf> {
        fs::create_dir_all(into).with_context(|| format!("create {}", into.display()))?;
        println!("{package}: downloading");
        command::run(self.command("apt-get").args(["-q", "download", package]).current_dir(into))?;
        let prefix = format!("{package}_");
        for entry in fs::read_dir(into).with_context(|| format!("read {}", into.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&prefix) && name.ends_with(".deb") {
                return Ok(entry.path());
            }
        }
        bail!("apt-get downloaded {package}, but no {prefix}*.deb is in {}", into.display())
    }
}

/// Unpacks the package over the folder.
pub(crate) fn unpack(package: &Path, into: &Path) -> Result<()> {
    command::run(Command::new("dpkg-deb").arg("-x").arg(package).arg(into))
}

/// What the machine's apt is configured with.
fn machine_sources() -> Result<Vec<Source>> {
    let answer = command::output(Command::new("apt-config").args([
        "shell",
        "LIST",
        "Dir::Etc::sourcelist/f",
        "PARTS",
        "Dir::Etc::sourceparts/d",
    ]))?;
    let path_of = |variable: &str| {
        answer.lines().find_map(|line| {
            let quoted = line.strip_prefix(variable)?.strip_prefix('=')?;
            Some(PathBuf::from(quoted.trim_matches('\'')))
        })
    };
    let mut files: Vec<PathBuf> = path_of("LIST").into_iter().collect();
    if let Some(parts) = path_of("PARTS")
        && let Ok(entries) = fs::read_dir(&parts)
    {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut sources = Vec::new();
    for file in files {
        let extension = file.extension().and_then(|extension| extension.to_str());
        let parse = match extension {
            Some("list") => apt_sources::parse_list,
            Some("sources") => apt_sources::parse_deb822,
            _ => continue,
        };
        // sources.list need not exist where sources.list.d has everything.
        if let Ok(text) = fs::read_to_string(&file) {
            sources.extend(parse(&text));
        }
    }
    Ok(sources)
}
