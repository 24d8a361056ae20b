//! One invocation: what is run, in what surroundings, and what came of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, FileTimes};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// One invocation of an applet.
#[derive(Clone)]
pub(crate) struct Case {
    /// `argv[0]`.
    pub(crate) name: Vec<u8>,
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) environment: Vec<(&'static str, Vec<u8>)>,
    pub(crate) folder: PathBuf,
    /// What is changed in the prepared world before it runs.
    pub(crate) edits: Vec<Edit>,
    /// Whether the files it leaves are compared.
    pub(crate) writes: bool,
    /// Which kmod is asked.
    pub(crate) peer: Peer,
}

/// Which kmod is right about an invocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peer {
    /// Debian 13's.
    Kmod34,
    /// Debian 12's, for what 34 dropped.
    Kmod30,
}

/// A change of the prepared world.
#[derive(Clone)]
pub(crate) enum Edit {
    Write(PathBuf, Vec<u8>),
    /// Writes these bytes at an offset; past the end, the file grows.
    Poke(PathBuf, usize, Vec<u8>),
    Truncate(PathBuf, u64),
    Remove(PathBuf),
    Link(PathBuf, PathBuf),
    Folder(PathBuf),
    /// Modified this many seconds after the world was made.
    Touch(PathBuf, u64),
}

/// When every file of a prepared world was changed last.
pub(crate) fn world_time() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

impl Edit {
    /// Makes the change; where an earlier edit made it impossible, nothing happens, for both sides.
    pub(crate) fn apply(&self) {
        let _ = match self {
            Edit::Write(path, content) => write_new(path, content),
            Edit::Poke(path, at, bytes) => fs::read(path).and_then(|mut content| {
                content.resize(content.len().max(at + bytes.len()), 0);
                content[*at..at + bytes.len()].copy_from_slice(bytes);
                write_new(path, &content)
            }),
            Edit::Truncate(path, length) => File::options().write(true).open(path).and_then(|file| {
                file.set_len(*length)?;
                file.set_times(FileTimes::new().set_modified(world_time()))
            }),
            Edit::Remove(path) => match fs::symlink_metadata(path) {
                Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
                Ok(_) => fs::remove_file(path),
                Err(_) => Ok(()),
            },
            Edit::Link(path, target) => {
                let _ = fs::create_dir_all(path.parent().unwrap_or(path));
                let _ = fs::remove_file(path);
                symlink(target, path)
            }
            Edit::Folder(path) => {
                let _ = fs::remove_file(path);
                fs::create_dir_all(path)
            }
            Edit::Touch(path, seconds) => File::options().write(true).open(path).and_then(|file| {
                file.set_times(FileTimes::new().set_modified(world_time() + Duration::from_secs(*seconds)))
            }),
        };
    }
}

/// Writes the file, its folders included, with the world's time and mode 0644.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let open = || File::create(path);
    let mut file = open().or_else(|_| {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        open()
    })?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.set_times(FileTimes::new().set_modified(world_time()))
}

/// What a run left behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    pub(crate) ended: Ended,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) files: BTreeMap<PathBuf, Left>,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    Exit(i32),
    Signal(i32),
    /// It ran for longer than any invocation may.
    Never,
}

/// What stands at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    File { mode: u32, content: Vec<u8> },
    Link(PathBuf),
    Folder,
    Other,
}

/// Everything under `root`.
pub(crate) fn snapshot(root: &Path, into: &mut BTreeMap<PathBuf, Left>) {
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let left = if metadata.is_dir() {
            snapshot(&path, into);
            Left::Folder
        } else if metadata.is_symlink() {
            Left::Link(fs::read_link(&path).unwrap_or_default())
        } else if metadata.is_file() {
            let content = fs::read(&path).unwrap_or_default();
            Left::File { mode: metadata.permissions().mode() & 0o7777, content }
        } else {
            Left::Other
        };
        into.insert(path, left);
    }
}

impl Case {
    pub(crate) fn new(name: &str, arguments: &[&str]) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            arguments: arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect(),
            environment: Vec::new(),
            folder: PathBuf::from("/"),
            edits: Vec::new(),
            writes: false,
            peer: Peer::Kmod34,
        }
    }

    /// The applet, without the folder of `argv[0]`.
    pub(crate) fn applet(&self) -> &str {
        let name = self.name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        str::from_utf8(name).unwrap_or_default()
    }

    /// Whether an argument is, or a bundle of short options holds, one of these spellings.
    pub(crate) fn has(&self, spellings: &[&str]) -> bool {
        self.arguments.iter().any(|argument| spellings.iter().any(|spelling| argument == spelling.as_bytes()))
    }

    /// Whether some edit touches a file whose name ends so.
    pub(crate) fn edits_file(&self, ending: &str) -> bool {
        self.edits.iter().any(|edit| edit.path().as_os_str().as_bytes().ends_with(ending.as_bytes()))
    }
}

impl Edit {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Edit::Write(path, _)
            | Edit::Poke(path, ..)
            | Edit::Truncate(path, _)
            | Edit::Remove(path)
            | Edit::Link(path, _)
            | Edit::Folder(path)
            | Edit::Touch(path, _) => path,
        }
    }
}

impl std::fmt::Display for Edit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path().display();
        match self {
            Edit::Write(_, content) => write!(formatter, "write {path}: {}", shown(content, 400)),
            Edit::Poke(_, at, bytes) => write!(formatter, "poke {path} at {at}: {bytes:02x?}"),
            Edit::Truncate(_, length) => write!(formatter, "truncate {path} to {length}"),
            Edit::Remove(_) => write!(formatter, "remove {path}"),
            Edit::Link(_, target) => write!(formatter, "link {path} to {}", target.display()),
            Edit::Folder(_) => write!(formatter, "make folder {path}"),
            Edit::Touch(_, seconds) => write!(formatter, "touch {path} +{seconds} s"),
        }
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.peer == Peer::Kmod30 {
            write!(formatter, "[kmod 30] ")?;
        }
        if self.folder != Path::new("/") {
            write!(formatter, "cd {}; ", self.folder.display())?;
        }
        for (name, value) in &self.environment {
            write!(formatter, "{name}={} ", word(value))?;
        }
        write!(formatter, "{}", word(&self.name))?;
        for argument in &self.arguments {
            write!(formatter, " {}", word(argument))?;
        }
        for edit in &self.edits {
            write!(formatter, "\n    after: {edit}")?;
        }
        Ok(())
    }
}

/// The bytes as a word of a shell, the middle of long ones left out.
fn word(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(byte);
    if !bytes.is_empty() && bytes.len() < 300 && bytes.iter().all(plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    format!("$'{}'", shown(bytes, 200))
}

/// The bytes with everything unprintable escaped, at most about `limit` of them.
pub(crate) fn shown(bytes: &[u8], limit: usize) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(limit) {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\'' => text.push_str("\\'"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    if bytes.len() > limit {
        let _ = write!(text, "...({} bytes)", bytes.len());
    }
    text
}

/// Where two outcomes differ, line by line where that helps.
pub(crate) fn difference(kmod: &Outcome, ours: &Outcome) -> String {
    let mut text = String::new();
    if kmod.ended != ours.ended {
        let _ = writeln!(text, "  ended: kmod {:?}, ours {:?}", kmod.ended, ours.ended);
    }
    for (what, theirs, own) in [("stdout", &kmod.stdout, &ours.stdout), ("stderr", &kmod.stderr, &ours.stderr)] {
        if theirs != own {
            lines(&mut text, what, theirs, own);
        }
    }
    for (path, theirs) in &kmod.files {
        match (theirs, ours.files.get(path)) {
            (_, None) => {
                let _ = writeln!(text, "  {}: only kmod leaves it", path.display());
            }
            (theirs, Some(own)) if theirs == own => {}
            (Left::File { content: theirs, mode }, Some(Left::File { content: own, mode: own_mode })) => {
                if mode != own_mode {
                    let _ = writeln!(text, "  {}: mode kmod {mode:o}, ours {own_mode:o}", path.display());
                }
                lines(&mut text, &path.display().to_string(), theirs, own);
            }
            (theirs, Some(own)) => {
                let _ = writeln!(text, "  {}: kmod {theirs:?}, ours {own:?}", path.display());
            }
        }
    }
    for path in ours.files.keys().filter(|path| !kmod.files.contains_key(*path)) {
        let _ = writeln!(text, "  {}: only we leave it", path.display());
    }
    text
}

/// The first few lines that differ.
fn lines(text: &mut String, what: &str, theirs: &[u8], own: &[u8]) {
    let split = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (theirs_lines, own_lines) = (split(theirs), split(own));
    let same = theirs_lines.iter().zip(&own_lines).take_while(|(a, b)| a == b).count();
    let _ = writeln!(text, "  {what} (kmod {} bytes, ours {}), from line {}:", theirs.len(), own.len(), same + 1);
    for (mark, lines) in [('-', theirs_lines), ('+', own_lines)] {
        for line in lines.iter().skip(same).take(4) {
            let _ = writeln!(text, "    {mark} {}", shown(line, 300));
        }
    }
}
