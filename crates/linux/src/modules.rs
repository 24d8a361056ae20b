//! The list of loaded modules, `/proc/modules`.

use std::fmt;

use bstr::{BStr, BString, ByteSlice};

use crate::read::{self, Error, Problem};
use crate::{InitState, Kernel};

/// Far more than 10,000 modules that all use each other's neighbours.
const LIMIT: u64 = 1 << 26;

impl Kernel {
    /// The loaded modules, the newest first. A module that is just being loaded or unloaded is in the list as well.
    ///
    /// # Errors
    ///
    /// [`Error`] when `/proc/modules` cannot be read; not found also means that the kernel was built without modules. What is
    /// in its lines is looked at when they are ([`LoadedModules::iter`]).
    pub fn modules(&self) -> Result<LoadedModules, Error> {
        Ok(LoadedModules { text: read::whole(&self.roots.proc.join("modules"), LIMIT)? })
    }
}

/// What `/proc/modules` held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedModules {
    text: BString,
}

impl LoadedModules {
    /// The modules in their order, each borrowed from the text; a line that the kernel cannot have written is an error of its
    /// own, and the next ones follow.
    pub fn iter(&self) -> impl Iterator<Item = Result<LoadedModule<'_>, LineFault>> {
        parse_modules(&self.text)
    }

    /// The module of this name (with `_`).
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<LoadedModule<'_>> {
        let name = name.as_ref();
        self.iter().flatten().find(|module| module.name == name)
    }

    /// All modules.
    ///
    /// # Errors
    ///
    /// The first line that the kernel cannot have written.
    pub fn all(&self, kernel: &Kernel) -> Result<Vec<LoadedModule<'_>>, Error> {
        let fault = |fault| Error::new(&kernel.roots.proc.join("modules"), Problem::Line(fault));
        self.iter().collect::<Result<_, _>>().map_err(fault)
    }

    /// The text as it was read.
    pub fn text(&self) -> &BStr {
        self.text.as_bstr()
    }
}

/// One line of `/proc/modules`.
#[derive(Clone, PartialEq, Eq)]
pub struct LoadedModule<'a> {
    /// Its name, as the kernel knows it (with `_`).
    pub name: &'a BStr,
    /// The memory that it takes, in bytes; while it is being loaded, that of its init sections too.
    pub size: u64,
    /// How many uses it has; -1 while it is being unloaded, `None` when the kernel was built without unloading.
    pub references: Option<i64>,
    /// Where it stands in its life.
    pub state: InitState,
    /// Where it is in memory; 0 for those who may not know.
    pub address: u64,
    /// The letters of the taints that it brought (`OE`), and at their end `+` while it is being loaded, `-` while unloaded.
    /// Empty when there is none.
    pub taints: &'a BStr,
    users: &'a [u8],
}

impl<'a> LoadedModule<'a> {
    /// The modules that use it, the newest first.
    pub fn users(&self) -> impl Iterator<Item = &'a BStr> + use<'a> {
        self.words().filter(|word| *word != "[permanent]")
    }

    /// Whether it cannot be unloaded because it has no exit function.
    pub fn is_permanent(&self) -> bool {
        self.words().any(|word| word == "[permanent]")
    }

    fn words(&self) -> impl Iterator<Item = &'a BStr> + use<'a> {
        let users = if self.users == b"-" { b"" } else { self.users };
        users.split(|&byte| byte == b',').filter(|word| !word.is_empty()).map(BStr::new)
    }
}

impl fmt::Debug for LoadedModule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedModule")
            .field("name", &self.name)
            .field("size", &self.size)
            .field("references", &self.references)
            .field("users", &self.users().collect::<Vec<_>>())
            .field("permanent", &self.is_permanent())
            .field("state", &self.state)
            .field("address", &format_args!("{:#x}", self.address))
            .field("taints", &self.taints)
            .finish()
    }
}

/// A line of `/proc/modules` that the kernel cannot have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, byte {offset}: no {field}")]
pub struct LineFault {
    /// The line, from 1.
    pub line: usize,
    /// Where the field begins in the line, from 0.
    pub offset: usize,
    /// What should be there.
    pub field: &'static str,
}

/// Reads what `/proc/modules` holds: `NAME SIZE REFERENCES USERS STATE ADDRESS[ (TAINTS)]` in each line.
pub fn parse_modules(text: &[u8]) -> impl Iterator<Item = Result<LoadedModule<'_>, LineFault>> {
    text.lines().enumerate().map(|(at, line)| parse_line(at + 1, line))
}

fn parse_line(line: usize, text: &[u8]) -> Result<LoadedModule<'_>, LineFault> {
    let mut fields = Fields { line, text, at: 0, begin: 0 };
    let name = fields.next("name")?;
    let size = fields.number("size", |text| text.parse().ok())?;
    let references = fields.number("reference count", |text| match text {
        "-" => Some(None),
        _ => text.parse().ok().map(Some),
    })?;
    let users = fields.next("list of users")?;
    if users != b"-" && !users.ends_with(b",") {
        return Err(fields.fault("list of users"));
    }
    let state = match fields.next("state")? {
        b"Live" => InitState::Live,
        b"Loading" => InitState::Coming,
        b"Unloading" => InitState::Going,
        _ => return Err(fields.fault("state")),
    };
    let address = fields.number("address", |text| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok())?;
    let taints = if fields.at < text.len() {
        let taints = fields.next("taints")?;
        let inner = taints.strip_prefix(b"(").and_then(|taints| taints.strip_suffix(b")"));
        inner.ok_or_else(|| fields.fault("taints"))?
    } else {
        b""
    };
    if fields.at < text.len() {
        fields.begin = fields.at;
        return Err(fields.fault("end of the line"));
    }
    Ok(LoadedModule { name: name.as_bstr(), size, references, state, address, taints: taints.as_bstr(), users })
}

/// The fields of a line, parted by one space each.
struct Fields<'a> {
    line: usize,
    text: &'a [u8],
    /// Where the next field begins.
    at: usize,
    /// Where the last one began.
    begin: usize,
}

impl<'a> Fields<'a> {
    fn next(&mut self, field: &'static str) -> Result<&'a [u8], LineFault> {
        self.begin = self.at;
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.find_byte(b' ').unwrap_or(rest.len());
        self.at += length + 1;
        if length == 0 { Err(self.fault(field)) } else { Ok(&rest[..length]) }
    }

    fn number<T>(&mut self, field: &'static str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, LineFault> {
        let text = self.next(field)?;
        std::str::from_utf8(text).ok().and_then(read).ok_or_else(|| self.fault(field))
    }

    fn fault(&self, field: &'static str) -> LineFault {
        LineFault { line: self.line, offset: self.begin.min(self.text.len()), field }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn one(line: &str) -> LoadedModule<'_> {
        let mut modules = parse_modules(line.as_bytes());
        let module = modules.next().unwrap().unwrap();
        assert!(modules.next().is_none());
        module
    }

    #[test]
    fn a_line_of_linux() {
        let module = one("slow 16384 2 useslow,other, Live 0xffffffffc0201000 (OE)\n");
        assert_eq!((module.name, module.size, module.references), (BStr::new("slow"), 16384, Some(2)));
        assert_eq!(module.users().collect::<Vec<_>>(), ["useslow", "other"]);
        assert_eq!((module.state, module.address), (InitState::Live, 0xffff_ffff_c020_1000));
        assert_eq!(module.taints, "OE");
        assert!(!module.is_permanent());
    }

    #[test]
    fn the_stages_of_a_life() {
        assert_eq!(one("a 1 1 - Loading 0x0000000000000000 (OE+)").state, InitState::Coming);
        let going = one("slow 16384 -1 - Unloading 0x0000000000000000 (OE-)");
        assert_eq!((going.state, going.references, going.taints), (InitState::Going, Some(-1), BStr::new("OE-")));
        assert_eq!(going.users().count(), 0);
    }

    #[test]
    fn permanence_is_no_user() {
        let module = one("noexit 16384 0 [permanent], Live 0x0000000000000000");
        assert!(module.is_permanent());
        assert_eq!(module.users().count(), 0);
        let module = one("noexit 16384 1 user,[permanent], Live 0x0000000000000000");
        assert!(module.is_permanent());
        assert_eq!(module.users().collect::<Vec<_>>(), ["user"]);
    }

    #[test]
    fn a_kernel_without_unloading() {
        let module = one("a 16384 - - Live 0x0000000000000000");
        assert_eq!((module.references, module.users().count()), (None, 0));
    }

    #[test]
    fn a_fault_names_its_place_and_the_next_line_follows() {
        let text = b"a 1 0 - Live 0x0\nb x 0 - Live 0x0\n\nc 1 0 d Live 0x0\nd 1 0 - Dead 0x0\ne 1 0 - Live 12\nf 1 0 - Live 0x0 OE\nf 1 0 - Live 0x0 (O) x\ng 1 0 - Live 0x0\n";
        let all: Vec<_> = parse_modules(text).collect();
        let faults: Vec<_> =
            all.iter().filter_map(|line| line.as_ref().err()).map(|f| (f.line, f.offset, f.field)).collect();
        assert_eq!(
            faults,
            [
                (2, 2, "size"),
                (3, 0, "name"),
                (4, 6, "list of users"),
                (5, 8, "state"),
                (6, 13, "address"),
                (7, 17, "taints"),
                (8, 21, "end of the line"),
            ]
        );
        assert_eq!(all.iter().flatten().map(|module| module.name).collect::<Vec<_>>(), ["a", "g"]);
        assert_eq!(all[1].clone().unwrap_err().to_string(), "line 2, byte 2: no size");
    }

    proptest! {
        #[test]
        fn what_linux_prints_is_read_back(
            name in "[!-~]{1,60}", size: u64, references: i64, users in prop::collection::vec("[a-z_0-9]{1,56}", 0..5),
            address: u64, taints in "[A-Z]{0,5}",
        ) {
            let list = if users.is_empty() { "-".to_owned() } else { users.join(",") + "," };
            let tail = if taints.is_empty() { String::new() } else { format!(" ({taints})") };
            let line = format!("{name} {size} {references} {list} Live 0x{address:016x}{tail}\n");
            let module = one(&line);
            prop_assert_eq!(module.name, name.as_str());
            prop_assert_eq!((module.size, module.references, module.address), (size, Some(references), address));
            prop_assert!(module.users().eq(users.iter().map(|user| BStr::new(user.as_bytes()))));
            prop_assert_eq!(module.taints, taints.as_str());
        }

        #[test]
        fn anything_is_read_without_a_panic(text: Vec<u8>) {
            let lines = parse_modules(&text).count();
            prop_assert_eq!(lines, text.lines().count());
        }

        #[test]
        fn nearly_right_lines_are_read_without_a_panic(text in "([a-z]{0,2} |[0-9-]{1,3} |- |, |Live |0x[0-9a-f]* ?|\\(O?\\)?| |\n){0,20}") {
            for fault in parse_modules(text.as_bytes()).filter_map(Result::err) {
                prop_assert!(fault.line >= 1 && fault.offset <= text.len());
            }
        }
    }
}
