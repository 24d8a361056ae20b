//! What is known so far, in a file that grows a line a module.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ferrmod_kernel::Errno;

/// See the module's documentation.
pub(crate) struct Record {
    path: PathBuf,
    file: File,
    /// What follows the path: init, exit, failed dependencies.
    known: BTreeMap<String, String>,
}

impl Record {
    /// Reads the file, if it is there, or begins one. A last line without its end is from an interrupted run and is dropped.
    pub(crate) fn open(path: &Path, fresh: bool) -> Result<Self> {
        let text = if fresh { String::new() } else { fs::read_to_string(path).unwrap_or_default() };
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let known: BTreeMap<String, String> =
            whole.lines().filter_map(|line| line.split_once('\t')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        fs::write(path, whole).with_context(|| format!("write {}", path.display()))?;
        let file = File::options().append(true).open(path).with_context(|| format!("open {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file, known })
    }

    pub(crate) fn knows(&self, path: &str) -> bool {
        self.known.contains_key(path)
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    fn add(&mut self, path: &str, rest: String) -> Result<()> {
        writeln!(self.file, "{path}\t{rest}").with_context(|| format!("write {}", self.path.display()))?;
        self.known.insert(path.to_owned(), rest);
        Ok(())
    }

    /// Takes what the guest says of a module: `PATH init exit failed`, numbers for errors.
    pub(crate) fn take(&mut self, line: &str) -> Result<()> {
        let mut fields = line.split('\t');
        let (Some(path), Some(init), Some(exit), Some(failed)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Ok(());
        };
        let failed: Vec<String> = failed
            .split(' ')
            .map(|one| {
                one.split_once(':').map_or_else(|| one.to_owned(), |(name, answer)| format!("{name}:{}", word(answer)))
            })
            .collect();
        self.add(path, format!("{}\t{}\t{}", word(init), word(exit), failed.join(" ")))
    }

    /// The kernel did not survive this one.
    pub(crate) fn lost(&mut self, path: &str, how: &str) -> Result<()> {
        self.add(path, format!("{how}\t-\t-"))
    }

    /// The finished file.
    pub(crate) fn text(&self, heading: &str, paths: &[String]) -> String {
        let lines = paths.iter().filter_map(|path| Some(format!("{path}\t{}\n", self.known.get(path)?)));
        heading.to_owned() + &lines.collect::<String>()
    }

    pub(crate) fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).with_context(|| format!("remove {}", self.path.display()))
    }
}

/// The name of an error number; other words stay.
fn word(answer: &str) -> &str {
    answer.parse().ok().and_then(|number| Errno(number).name()).unwrap_or(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_goes_on_behind_its_last_whole_line() {
        let path = std::env::temp_dir().join(format!("ferrmod-oracle-record-{}", std::process::id()));
        let mut record = Record::open(&path, true).unwrap();
        record.take("kernel/a.ko\tok\t11\tb:2 c:19").unwrap();
        record.lost("kernel/d.ko", "panic").unwrap();
        fs::write(&path, fs::read_to_string(&path).unwrap() + "kernel/e.ko\to").unwrap();
        let record = Record::open(&path, false).unwrap();
        assert!(record.knows("kernel/a.ko") && record.knows("kernel/d.ko") && !record.knows("kernel/e.ko"));
        let paths = ["kernel/d.ko".to_owned(), "kernel/a.ko".to_owned()];
        let expected = "#\nkernel/d.ko\tpanic\t-\t-\nkernel/a.ko\tok\tEAGAIN\tb:ENOENT c:ENODEV\n";
        assert_eq!(record.text("#\n", &paths), expected);
        record.remove().unwrap();
    }
}
