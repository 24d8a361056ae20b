//! What other readers of the same bytes say.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A file with these bytes that goes away.
struct Temporary(PathBuf);

impl Temporary {
    fn new(bytes: &[u8]) -> Temporary {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ferrmod-image-{}-{number}.btf", std::process::id()));
        std::fs::write(&path, bytes).expect("a temporary file");
        Temporary(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a plain path")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing depends on it.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Says that a program to compare with is not installed. Never fails: the corpus is what a run may
/// require.
pub(crate) fn absent(program: &str) {
    eprintln!("SKIPPED: {program} is not installed");
}

/// The output of a program; `None` when it is not installed.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `bpftool btf dump ... format raw`, of a split BTF over `base`.
pub(crate) fn bpftool(btf: &[u8], base: Option<&[u8]>) -> Option<String> {
    let file = Temporary::new(btf);
    let base = base.map(Temporary::new);
    let mut arguments = vec!["btf", "dump", "file", file.path(), "format", "raw"];
    if let Some(base) = &base {
        arguments.splice(0..0, ["-B", base.path()]);
    }
    // Not every user has the directory of administrators' programs in the path.
    output("bpftool", &arguments).or_else(|| output("/usr/sbin/bpftool", &arguments))
}

/// A struct as pahole prints it.
pub(crate) struct Printed {
    pub(crate) size: Option<u64>,
    /// Members that can be named from outside, with their offsets in bytes.
    pub(crate) members: Vec<(String, u64)>,
}

/// `pahole -C name`.
pub(crate) fn pahole(btf: &[u8], name: &str) -> Option<Printed> {
    let file = Temporary::new(btf);
    let text = output("pahole", &["-C", name, file.path()])?;
    let mut printed = Printed { size: None, members: Vec::new() };
    // One list for each brace that is open; those of a struct without a name belong to what is
    // around it.
    let mut open: Vec<Vec<(String, u64)>> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(size) = line.strip_prefix("/* size: ") {
            printed.size = size.split(',').next().and_then(|size| size.parse().ok());
        }
        // `name; /* offset size */`, where a bit-field has `offset: bit`.
        let member = line.rsplit_once("; ").and_then(|(declaration, comment)| {
            let comment = comment.trim().strip_prefix("/*")?.trim();
            let offset: u64 = comment.split([' ', ':']).next()?.parse().ok()?;
            Some((member_name(declaration)?, offset, comment.contains(':')))
        });
        if line.starts_with('}') {
            let inside = open.pop().unwrap_or_default();
            let unnamed = line.starts_with("};") || line.starts_with("} __attribute__");
            match open.last_mut() {
                None => printed.members = inside,
                Some(around) if unnamed => around.extend(inside),
                Some(around) => around.extend(member.map(|(name, offset, _)| (name, offset))),
            }
        } else if line.ends_with('{') {
            open.push(Vec::new());
        } else if let (Some(list), Some((name, offset, false))) = (open.last_mut(), member) {
            // The byte pahole gives for a bit-field is that of its storage unit, not that of its
            // first bit.
            list.push((name, offset));
        }
    }
    Some(printed)
}

/// The name in a member's declaration: `int (*name)(...)`, `char name[4]`, `} name`.
fn member_name(declaration: &str) -> Option<String> {
    let declaration = declaration.split(" __attribute__").next()?;
    let name = match declaration.split_once("(*") {
        Some((_, rest)) => rest.split([')', '[']).next()?,
        None => declaration.split('[').next()?.trim_end().rsplit([' ', '*']).next()?,
    };
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    plain.then(|| name.to_string())
}
