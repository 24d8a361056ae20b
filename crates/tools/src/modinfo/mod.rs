//! `modinfo`: what modules say about themselves.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bstr::{BStr, BString, ByteSlice};
use ferrmod_config::{Config, Root};
use ferrmod_linux::Kernel;
use ferrmod_plan::kmod::{How, Modules, Paths, name_of_path};
use ferrmod_signature::Summary;
use rustix::fs::OFlags;

use crate::elf;
use crate::flags::{Applet, Flag, HELP, JSON, Operand, VERSION};
use crate::report::{Level, io_words, words};
use crate::session::{Session, Status, Stop};

mod document;
mod fields;
mod read;

use fields::Fields;
use read::{ModuleFile, Opened, Problem, Reader};

/// `modinfo`.
pub(crate) const APPLET: Applet = Applet {
    name: "modinfo",
    synopsis: &["[options] MODULE|FILE..."],
    summary: "show what a module says about itself",
    description: "Prints what each MODULE says about itself. MODULE is the name of a module of the running kernel (or of the one \
        that -k and -b choose), an alias, or a file that ends in .ko, .ko.gz, .ko.xz or .ko.zst.\n\nEach field is printed on a \
        line, its name first; parameters come last, each with its description and its type. Modules that are built into the \
        kernel have no file, and say no less.\n\nOf an appended signature, the claims are shown: nothing is verified.",
    notes: "",
    flags: &[
        Flag::long("author", "print the field author only").short(b'a'),
        Flag::long("description", "print the field description only").short(b'd'),
        Flag::long("license", "print the field license only").short(b'l'),
        Flag::long("parameters", "print the parameters only").short(b'p'),
        Flag::long("filename", "print the file's name only").short(b'n'),
        Flag::long("null", "end each field with a NUL instead of a newline").short(b'0').doc(
            "End each field with a NUL instead of a newline, and write name=value. The fields filename, name (of built-in \
             modules) and parm keep their colon, as ever.",
        ),
        Flag::long("modname", "take MODULE for a module's name, neither alias nor file").short(b'm'),
        Flag::long("field", "print the field FIELD only").short(b'F').value("FIELD").doc(
            "Print the values of the field FIELD only, one a line. Upper and lower case differ. A field that the module does not \
             have prints nothing and is no failure.",
        ),
        Flag::long("set-version", "look in the tree of kernel VERSION instead of the running one")
            .short(b'k')
            .value("VERSION"),
        Flag::long("basedir", "take ROOT for the file system's root").short(b'b').value("ROOT").doc(
            "Look for modules in ROOT/lib/modules. Nothing outside of ROOT is read, wherever links point.",
        ),
        VERSION,
        HELP,
        JSON,
    ],
    operands: Operand::Modules,
    level: Level::Warning,
    run,
    ..Applet::BASE
};

/// What was asked for.
#[derive(Default)]
struct Request {
    field: Option<Vec<u8>>,
    end: u8,
    names_only: bool,
    json: bool,
    version: Option<OsString>,
    root: Option<PathBuf>,
}

fn run(session: &mut Session) -> Result<Status, Stop> {
    let mut request = Request { end: b'\n', ..Request::default() };
    let mut options = session.options();
    while let Some(option) = options.next()? {
        let value = option.value;
        match option.id {
            name @ ("author" | "description" | "license" | "filename") => request.field = Some(name.into()),
            "parameters" => request.field = Some("parm".into()),
            "field" => request.field = Some(value.unwrap_or_default().as_bytes().into()),
            "null" => request.end = 0,
            "modname" => request.names_only = true,
            "set-version" => request.version = value,
            "basedir" => request.root = value.map(PathBuf::from),
            "json" => request.json = true,
            _ => session.common(&crate::Parsed { value, ..option })?,
        }
    }
    let operands = options.operands();
    if operands.is_empty() {
        session.log.error(format_args!("missing module or filename."));
        return Ok(Status::Failure);
    }
    Run { session, request, reader: Reader::default(), documents: Vec::new(), tree: None }.all(&operands)
}

/// Where a module's information is.
enum Place {
    /// A file: `path` in the root that names are looked up in, or anywhere when it was given as a file.
    File {
        name: BString,
        path: PathBuf,
        shown: PathBuf,
    },
    Builtin {
        name: BString,
    },
}

struct Run<'s> {
    session: &'s mut Session,
    request: Request,
    reader: Reader,
    documents: Vec<serde_json::Value>,
    /// `modules.builtin.modinfo`, once it was needed.
    tree: Option<Vec<u8>>,
}

impl Run<'_> {
    fn all(mut self, operands: &[OsString]) -> Result<Status, Stop> {
        let mut failed = false;
        let mut names = Vec::new();
        // Files need no tree: as long as nothing else is asked for, nothing of it is opened.
        for operand in operands {
            let file = if self.request.names_only { None } else { module_file(operand) };
            if let Some(file) = file {
                failed |= !self.names(&mut names);
                let path = PathBuf::from(operand);
                let place = Place::File { name: name_of_path(&path), shown: absolute(&path), path };
                failed |= !self.one(&place, Some(file));
            } else {
                names.push(operand.clone());
            }
        }
        failed |= !self.names(&mut names);
        if self.request.json {
            let document = serde_json::json!({ "schema": document::SCHEMA, "modules": self.documents });
            crate::json::write(&mut self.session.out, &document);
        }
        Ok(Status::failed(failed))
    }

    /// Looks up names in the tree, and prints what they stand for.
    fn names(&mut self, names: &mut Vec<OsString>) -> bool {
        if names.is_empty() {
            return true;
        }
        let names = std::mem::take(names);
        let release = match &self.request.version {
            Some(version) => version.as_bytes().to_vec(),
            None => Kernel::release().into(),
        };
        let inside = [b"/lib/modules/", &release[..]].concat();
        let inside = PathBuf::from(OsStr::from_bytes(&inside));
        // As in kmod, no name is the host's root.
        let (root, shown) = match self.request.root.as_ref().filter(|root| !root.as_os_str().is_empty()) {
            None => (Ok(Root::host()), inside.clone()),
            Some(root) => {
                let shown = [absolute(root).as_os_str().as_bytes(), inside.as_os_str().as_bytes()].concat();
                (Root::new(root), OsStr::from_bytes(&shown).into())
            }
        };
        let root = root.inspect_err(|error| {
            let root = self.request.root.as_deref().unwrap_or(Path::new("/")).display().to_string();
            self.session.log.detail(Level::Info, format_args!("could not open {root}: {}", io_words(error)));
        });
        let config = Config::default();
        let modules =
            root.as_ref().ok().map(|root| Modules::new(&config, root, Paths { inside: inside.clone(), shown }));
        let mut good = true;
        for name in &names {
            let places = modules.as_ref().map(|modules| self.places(modules, name)).unwrap_or_default();
            if places.is_empty() {
                // kmod says which of its look-ups gave up.
                let what: &[u8] = match name.as_bytes() {
                    _ if self.request.names_only => b"Module name ",
                    name if !brackets_match(name) => b"Module alias ",
                    _ => b"Module ",
                };
                self.session.log.bytes(Level::Error, &[what, name.as_bytes(), b" not found."].concat());
                self.document_problem(name.as_bytes().as_bstr(), None, "not found");
                good = false;
            }
            for place in &places {
                if let (Place::Builtin { .. }, None, Some(modules)) = (place, &self.tree, &modules) {
                    let path = modules.indexes.folder().join("modules.builtin.modinfo");
                    self.tree = Some(modules.indexes.root().read(&path).unwrap_or_default());
                }
                let opened = match (place, &modules) {
                    // Only the name is wanted: the file need not be there.
                    (Place::File { .. }, _) if self.wants_filename_only() => None,
                    (Place::File { path, .. }, Some(modules)) => {
                        Some(modules.indexes.root().open(path).and_then(|file| Ok(Opened::new(file)?.0)))
                    }
                    _ => None,
                };
                good &= self.one(place, opened);
            }
        }
        if let Some(modules) = &modules {
            for problem in modules.indexes.problems() {
                self.session.log.error(format_args!("{}: {}", problem.table.file(), problem.error));
            }
        }
        good
    }

    fn places(&self, modules: &Modules<'_>, name: &OsStr) -> Vec<Place> {
        let name = BStr::new(name.as_bytes());
        let found = if self.request.names_only {
            let stem = name.split(|&byte| byte == b'.').next().unwrap_or_default();
            let module = modules.named(stem.into(), How::Name);
            let known = module.file.is_some() || modules.is_builtin(module.name.as_bstr());
            if known { vec![module] } else { Vec::new() }
        } else {
            modules.look_up(name)
        };
        let place = |module: &ferrmod_plan::kmod::Module<'_>| match &module.file {
            Some(file) => {
                Place::File { name: module.name.clone(), path: file.inside.clone(), shown: file.shown.clone() }
            }
            None => Place::Builtin { name: module.name.clone() },
        };
        found.iter().map(|module| place(module)).collect()
    }

    /// Prints one module.
    fn one(&mut self, place: &Place, file: Option<io::Result<Opened>>) -> bool {
        if self.request.json {
            return self.document(place, file);
        }
        let field = self.request.field.clone();
        let field = field.as_deref();
        let end = self.request.end;
        match place {
            Place::File { name, shown, .. } => {
                let shown = shown.as_os_str().as_bytes();
                if field == Some(b"filename") {
                    self.session.out.put(&[shown, &[end]]);
                    return true;
                }
                if field.is_none() {
                    self.session.out.put(&[b"filename:       ", shown, &[end]]);
                }
                let file = match self.open(file) {
                    Ok(file) => file,
                    Err(problem) => return self.problem(name.as_bstr(), &problem),
                };
                let good = match file.modinfo() {
                    Ok(modinfo) => {
                        let wants_signature = field.is_none_or(|field| fields::SIGNATURE.contains(&field));
                        let tail = if wants_signature { file.signature() } else { None };
                        let summary = tail.as_deref().and_then(ferrmod_signature::summary);
                        self.print(elf::strings(&modinfo), summary.as_ref());
                        true
                    }
                    Err(problem) => self.problem(name.as_bstr(), &problem),
                };
                self.reader.reuse(file);
                good
            }
            Place::Builtin { name } => {
                match field {
                    Some(b"filename") => {
                        self.session.out.put(&[b"(builtin)", &[end]]);
                        return true;
                    }
                    Some(b"name") => self.session.out.put(&[name, &[end]]),
                    Some(_) => {}
                    None => {
                        self.session.out.put(&[b"name:           ", name, &[end]]);
                        self.session.out.put(&[b"filename:       (builtin)", &[end]]);
                    }
                }
                let listing = self.tree.take().unwrap_or_default();
                self.print(builtin(&listing, name), None);
                self.tree = Some(listing);
                true
            }
        }
    }

    fn wants_filename_only(&self) -> bool {
        !self.request.json && self.request.field.as_deref() == Some(b"filename")
    }

    fn open(&mut self, file: Option<io::Result<Opened>>) -> Result<ModuleFile, Problem> {
        let file = file.unwrap_or(Err(io::ErrorKind::NotFound.into()))?;
        self.reader.read(file)
    }

    fn print<'a>(&mut self, strings: impl Iterator<Item = &'a [u8]>, summary: Option<&Summary<'_>>) {
        let fields = Fields { field: self.request.field.as_deref(), end: self.request.end };
        fields.print(self.session, strings, summary);
    }

    fn problem(&mut self, name: &BStr, problem: &Problem) -> bool {
        let why = words(problem.errno);
        self.session
            .log
            .bytes(Level::Error, &[&b"could not get modinfo from '"[..], name, b"': ", why.as_bytes()].concat());
        if let Some(detail) = &problem.detail {
            self.session.log.detail(Level::Info, format_args!("{name}: {detail}"));
        }
        false
    }

    fn document(&mut self, place: &Place, file: Option<io::Result<Opened>>) -> bool {
        let field = self.request.field.clone();
        let field = field.as_deref().map(BStr::new);
        match place {
            Place::File { name, shown, .. } => {
                let told = self.open(file).and_then(|file| {
                    let modinfo = file.modinfo()?;
                    let tail = file.signature();
                    let summary = tail.as_deref().and_then(ferrmod_signature::summary);
                    Ok(document::of_file(name.as_bstr(), shown, elf::strings(&modinfo), summary.as_ref(), field))
                });
                match told {
                    Ok(document) => self.documents.push(document),
                    Err(problem) => {
                        let (name, shown) = (name.clone(), shown.clone());
                        let text = problem.detail.clone().unwrap_or_else(|| words(problem.errno));
                        self.document_problem(name.as_bstr(), Some(&shown), &text);
                        return self.problem(name.as_bstr(), &problem);
                    }
                }
            }
            Place::Builtin { name } => {
                let listing = self.tree.as_deref().unwrap_or_default();
                let document = document::of_builtin(name.as_bstr(), builtin(listing, name), field);
                self.documents.push(document);
            }
        }
        true
    }

    fn document_problem(&mut self, name: &BStr, shown: Option<&Path>, text: &str) {
        if self.request.json {
            self.documents.push(document::of_problem(name, shown, text));
        }
    }
}

/// The strings of one module in `modules.builtin.modinfo`, which has `MODULE.KEY=VALUE` for all of them.
fn builtin<'a>(listing: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    elf::strings(listing).filter_map(move |string| string.strip_prefix(name)?.strip_prefix(b"."))
}

/// Whether each bracket has its partner; kmod knows no other aliases.
fn brackets_match(alias: &[u8]) -> bool {
    let mut open = false;
    for byte in alias {
        match byte {
            b'[' => open = true,
            b']' if !open => return false,
            b']' => open = false,
            _ => {}
        }
    }
    !open
}

/// Opens an operand if it is a file that is named as modules are; `None` when it is not.
fn module_file(operand: &OsStr) -> Option<io::Result<Opened>> {
    const ENDS: [&[u8]; 4] = [b".ko", b".ko.gz", b".ko.xz", b".ko.zst"];
    if !ENDS.iter().any(|end| operand.len() > end.len() && operand.as_bytes().ends_with(end)) {
        return None;
    }
    // To open it and look then is one walk along the path less. A pipe of that name must not hold us up.
    let nonblock = OFlags::NONBLOCK.bits().cast_signed();
    match OpenOptions::new().read(true).custom_flags(nonblock).open(operand) {
        Ok(file) => Opened::new(file).ok().filter(|(_, regular)| *regular).map(|(file, _)| Ok(file)),
        Err(error) => fs::metadata(operand).is_ok_and(|metadata| metadata.is_file()).then_some(Err(error)),
    }
}

/// The path with the working folder before it, as the shell names that; nothing else about it changes.
fn absolute(path: &Path) -> PathBuf {
    if path.is_absolute() {
        return path.to_owned();
    }
    use std::os::unix::fs::MetadataExt;
    let same = |a: &Path, b: &Path| {
        let (Ok(a), Ok(b)) = (fs::metadata(a), fs::metadata(b)) else { return false };
        (a.dev(), a.ino()) == (b.dev(), b.ino())
    };
    let named = std::env::var_os("PWD").map(PathBuf::from);
    let folder = named
        .filter(|named| named.is_absolute() && same(named, Path::new(".")))
        .or_else(|| std::env::current_dir().ok())
        .unwrap_or_default();
    // Not `join`: `./` stays.
    let joined = [folder.as_os_str().as_bytes(), b"/", path.as_os_str().as_bytes()].concat();
    OsStr::from_bytes(&joined).into()
}
