//! `kmod static-nodes`: device nodes whose opening loads a module, for those who make them at boot.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;

use crate::flags::{Applet, Flag, HELP, JSON};
use crate::help;
use crate::report::{io_words, stderr};
use crate::session::{Session, Status, Stop};

/// `kmod static-nodes`.
pub(crate) const APPLET: Applet = Applet {
    name: "static-nodes",
    synopsis: &["static-nodes [options]"],
    summary: "print the device nodes that modules of the running kernel answer for",
    description: "Prints what the modules.devname of the running kernel says: which device node stands for which module, \
        so that the node can be made before the module is loaded, and opening it loads the module.",
    notes: "Formats:\n\thuman                       for reading, and the default\n\ttmpfiles                    tmpfiles.d(5), \
        for systemd-tmpfiles\n\tdevname                     that of modules.devname",
    flags: &[
        Flag::long("format", "the format (see below)").short(b'f').value("FORMAT"),
        Flag::long("output", "write to FILE, whose folders are made").short(b'o').value("FILE"),
        HELP,
        JSON,
    ],
    run,
    ..Applet::BASE
};

/// A way of writing a node.
type Format = fn(&Node<'_>, &mut Vec<u8>);

const FORMATS: &[(&str, Format)] = &[("human", human), ("tmpfiles", tmpfiles), ("devname", devname)];

fn run(session: &mut Session) -> Result<Status, Stop> {
    let mut format: Format = human;
    let mut output = None;
    let mut json = false;
    let mut options = session.options();
    while let Some(option) = options.next()? {
        match option.id {
            "format" => {
                let name = option.value.unwrap_or_default();
                let Some(&(_, found)) = FORMATS.iter().find(|(known, _)| known.as_bytes() == name.as_bytes()) else {
                    stderr(&[b"Unknown format: '", name.as_bytes(), b"'.\n"].concat());
                    session.out.add(help::text(session.applet, &session.name).as_bytes());
                    return Ok(Status::Failure);
                };
                format = found;
            }
            "output" => output = option.value.map(PathBuf::from),
            "json" => json = true,
            _ => session.common(&option)?,
        }
    }

    let source = PathBuf::from("/lib/modules")
        .join(OsStr::from_bytes(rustix::system::uname().release().to_bytes()))
        .join("modules.devname");
    let listing = match fs::read(&source) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = format!("Warning: {} not found - ignoring\n", source.display());
            stderr(text.as_bytes());
            if json && output.is_none() {
                document(&[], &mut session.out);
            }
            return Ok(Status::Success);
        }
        Err(error) => {
            stderr(format!("Error: could not open {} - {}\n", source.display(), io_words(&error)).as_bytes());
            return Ok(Status::Failure);
        }
    };
    let mut target = match output.map(Target::open).transpose() {
        Ok(target) => target,
        Err(problem) => {
            stderr(&[b"Error: ", &problem[..], b"\n"].concat());
            return Ok(Status::Failure);
        }
    };

    let mut status = Status::Success;
    let mut nodes = Vec::new();
    for line in listing.lines_with_terminator().filter(|line| !line.starts_with(b"#")) {
        match Node::parse(line) {
            Some(node) => nodes.push(node),
            None => {
                let end: &[u8] = if line.ends_with(b"\n") { b"" } else { b"\n" };
                stderr(&[b"Error: invalid devname entry: ", line, end].concat());
                status = Status::Failure;
            }
        }
    }
    let mut text = Vec::new();
    if json {
        document(&nodes, &mut text);
    } else {
        nodes.iter().for_each(|node| format(node, &mut text));
    }
    match &mut target {
        None => session.out.add(&text),
        Some(target) => {
            if let Err(problem) = target.write(&text) {
                stderr(&[b"Error: ", &problem[..], b"\n"].concat());
                status = Status::Failure;
            }
        }
    }
    Ok(status)
}

/// A line of `modules.devname`: `fuse fuse c10:229`.
#[derive(Debug, PartialEq, Eq)]
struct Node<'a> {
    module: &'a [u8],
    /// The node's path below `/dev`.
    path: &'a [u8],
    /// `c` or `b`.
    kind: u8,
    major: u32,
    minor: u32,
}

impl<'a> Node<'a> {
    fn parse(line: &'a [u8]) -> Option<Node<'a>> {
        let mut words = line.fields_with(|c| c.is_ascii_whitespace());
        let (module, path, device) = (words.next()?, words.next()?, words.next()?);
        let (&kind, numbers) = device.split_first().filter(|&(kind, _)| matches!(kind, b'c' | b'b'))?;
        let (major, rest) = number(numbers)?;
        let (minor, _) = number(rest.strip_prefix(b":")?)?;
        Some(Node { module, path, kind, major, minor })
    }
}

/// A decimal number as `sscanf("%u")` reads it: a sign is taken, what is too large wraps.
fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at_checked(length).filter(|(digits, _)| !digits.is_empty())?;
    let value = digits
        .iter()
        .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .map_or(u64::MAX, |value| if negative { value.wrapping_neg() } else { value });
    Some((value as u32, rest))
}

fn human(node: &Node<'_>, text: &mut Vec<u8>) {
    let kind = if node.kind == b'c' { "character" } else { "block" };
    let numbers = format!("\t\tType: {kind} device\n\t\tMajor: {}\n\t\tMinor: {}\n", node.major, node.minor);
    let parts = [b"Module: ", node.module, b"\n\tDevice node: /dev/", node.path, b"\n", numbers.as_bytes()];
    text.extend(parts.concat());
}

fn tmpfiles(node: &Node<'_>, text: &mut Vec<u8>) {
    if let Some(slash) = node.path.rfind_byte(b'/') {
        let folder = node.path.get(..slash).unwrap_or_default();
        text.extend([b"d /dev/", folder, b" 0755 - - -\n"].concat());
    }
    let numbers = format!(" 0600 - - - {}:{}\n", node.major, node.minor);
    text.extend([&[node.kind][..], b"! /dev/", node.path, numbers.as_bytes()].concat());
}

fn devname(node: &Node<'_>, text: &mut Vec<u8>) {
    let numbers = format!("{}:{}\n", node.major, node.minor);
    text.extend([node.module, b" ", node.path, b" ", &[node.kind], numbers.as_bytes()].concat());
}

/// The JSON Schema of `--json`.
#[cfg(feature = "schema")]
pub(crate) fn schema() -> schemars::Schema {
    crate::schemas::schema_of::<Document<'_>>()
}

/// The schema of `--json` (docs/schema/static-nodes.md).
#[derive(serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Document<'a> {
    schema: &'static str,
    nodes: Vec<NodeDocument<'a>>,
}

#[derive(serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct NodeDocument<'a> {
    module: std::borrow::Cow<'a, str>,
    node: String,
    kind: &'static str,
    major: u32,
    minor: u32,
}

fn document(nodes: &[Node<'_>], out: &mut impl Write) {
    let nodes = nodes.iter().map(|node| NodeDocument {
        module: node.module.to_str_lossy(),
        node: format!("/dev/{}", node.path.as_bstr()),
        kind: if node.kind == b'c' { "character" } else { "block" },
        major: node.major,
        minor: node.minor,
    });
    let document = Document { schema: "ferrmod.static-nodes/1", nodes: nodes.collect() };
    // Both a vector and our output take everything, and nothing in the document can fail to be written.
    let _ = serde_json::to_writer(&mut *out, &document);
    let _ = out.write_all(b"\n");
}

/// The file that is written: whole or not at all where that can be had, straight into what is no regular file.
struct Target {
    path: PathBuf,
    file: File,
    /// The file that takes the other's place in the end.
    temporary: Option<PathBuf>,
}

impl Target {
    /// Makes the folders, and the file. The error is a text.
    fn open(path: PathBuf) -> Result<Target, Vec<u8>> {
        let folder = folder_of(&path);
        fs::create_dir_all(folder)
            .map_err(|error| [&quoted("could not create parent directory for", &path, &error)[..], b"."].concat())?;
        let opened = match fs::metadata(&path) {
            Ok(metadata) if !metadata.is_file() => OpenOptions::new().write(true).open(&path).map(|file| (file, None)),
            _ => {
                let mut name = path.file_name().unwrap_or_default().to_owned();
                name.push(format!(".{}", std::process::id()));
                let temporary = folder.join(name);
                File::create(&temporary).map(|file| (file, Some(temporary)))
            }
        };
        match opened {
            Ok((file, temporary)) => Ok(Target { path, file, temporary }),
            Err(error) => Err(quoted("could not create", &path, &error)),
        }
    }

    fn write(&mut self, text: &[u8]) -> Result<(), Vec<u8>> {
        let written = self.file.write_all(text).and_then(|()| match self.temporary.take() {
            None => Ok(()),
            Some(temporary) => {
                let moved = self.file.sync_all().and_then(|()| fs::rename(&temporary, &self.path));
                if moved.is_err() {
                    self.temporary = Some(temporary);
                }
                moved.and_then(|()| File::open(folder_of(&self.path))?.sync_all())
            }
        });
        written.map_err(|error| quoted("could not write", &self.path, &error))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn quoted(what: &str, path: &Path, error: &io::Error) -> Vec<u8> {
    [what.as_bytes(), b" ", path.as_os_str().as_bytes(), b" - ", io_words(error).as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_scanf_does() {
        let node = |line: &'static str| Node::parse(line.as_bytes()).map(|node| (node.kind, node.major, node.minor));
        assert_eq!(node("fuse fuse c10:229\n"), Some((b'c', 10, 229)));
        assert_eq!(node("  u  dd   b1:2x y"), Some((b'b', 1, 2)));
        assert_eq!(node("n n c-1:2"), Some((b'c', u32::MAX, 2)));
        assert_eq!(node("n n c99999999999:1"), Some((b'c', 1_215_752_191, 1)));
        for bad in ["", "bad", "bad node", "bad node x1:2", "bad node c1", "bad node c1:", "bad node c:1"] {
            assert_eq!(node(bad), None, "{bad}");
        }
    }
}
