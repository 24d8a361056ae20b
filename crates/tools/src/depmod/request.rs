//! What the command line asks for.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ferrmod_index::depmod::Format;

use crate::report::{Fatal, io_words};
use crate::session::{Session, Status, Stop};

/// What the command line asks for.
pub(super) struct Request {
    pub(super) root: PathBuf,
    /// The root, if it was given.
    pub(super) given_root: Option<PathBuf>,
    pub(super) module_dir: PathBuf,
    pub(super) out: Option<PathBuf>,
    pub(super) release: OsString,
    pub(super) files: Vec<PathBuf>,
    pub(super) format: Format,
    pub(super) config: Vec<PathBuf>,
    pub(super) root_config: bool,
    symvers: Option<PathBuf>,
    system_map: Option<PathBuf>,
    pub(super) symbol_prefix: Option<u8>,
    pub(super) report_unknown: bool,
    pub(super) report_duplicates: bool,
    pub(super) verbose: bool,
    pub(super) quick: bool,
    pub(super) show: bool,
    pub(super) check: bool,
    pub(super) cache: bool,
    pub(super) json: bool,
}

/// The files that say what the kernel exports.
pub(super) struct Texts {
    pub(super) symvers: Option<Vec<u8>>,
    pub(super) system_map: Option<Vec<u8>>,
}

impl Request {
    /// Reads the command line.
    pub(super) fn read(session: &mut Session) -> Result<Request, Stop> {
        let mut request = Request {
            root: PathBuf::from("/"),
            given_root: None,
            module_dir: PathBuf::from("/lib/modules"),
            out: None,
            release: OsString::new(),
            files: Vec::new(),
            format: Format::Kmod34,
            config: Vec::new(),
            root_config: false,
            symvers: None,
            system_map: None,
            symbol_prefix: None,
            report_unknown: false,
            report_duplicates: false,
            verbose: false,
            quick: false,
            show: false,
            check: false,
            cache: true,
            json: false,
        };
        let mut all = false;
        let mut options = session.options();
        while let Some(option) = options.next()? {
            let value = option.value.clone().unwrap_or_default();
            match option.id {
                "all" => all = true,
                "quick" => request.quick = true,
                "errsyms" => request.report_unknown = true,
                "show" => request.show = true,
                "symbol-prefix" => match value.as_bytes() {
                    [character] => request.symbol_prefix = Some(*character),
                    _ => return Err(Fatal::new("-P only takes a single char").into()),
                },
                "config" => request.config.push(value.into()),
                "verbose" => {
                    request.verbose = true;
                    session.common(&option)?;
                }
                "warn" => request.report_duplicates = true,
                "basedir" => request.given_root = Some(absolute(&value)),
                "moduledir" => request.module_dir = Path::new("/").join(value),
                "outdir" => request.out = Some(absolute(&value)),
                "filesyms" => request.system_map = Some(value.into()),
                "symvers" => request.symvers = Some(value.into()),
                "check" => request.check = true,
                "format" => {
                    request.format = match value.as_bytes() {
                        b"30" => Format::Kmod30,
                        b"34" => Format::Kmod34,
                        _ => {
                            let text = [b"--format takes 30 or 34, not ", value.as_bytes()].concat();
                            return Err(Fatal::new(text).into());
                        }
                    };
                }
                "root-config" => request.root_config = true,
                "no-cache" => request.cache = false,
                "json" => request.json = true,
                "unresolved-error" | "quiet" | "root" | "map" => {
                    session.log.warning(format_args!("Ignored deprecated option --{}", option.id));
                }
                _ => session.common(&option)?,
            }
        }
        if let Some(root) = &request.given_root {
            request.root.clone_from(root);
        }
        request.operands(session, options.operands())?;
        // A document says what the index would be.
        request.show |= request.json && !request.check;
        if all || request.quick {
            request.files.clear();
        }
        Ok(request)
    }

    /// The version, if there is one, and files.
    fn operands(&mut self, session: &mut Session, operands: Vec<OsString>) -> Result<(), Stop> {
        let mut operands = operands.into_iter();
        match operands.next() {
            Some(version) if is_version(version.as_bytes()) => self.release = version,
            Some(other) => {
                session.log.bytes(crate::report::Level::Error, &[b"Bad version passed ", other.as_bytes()].concat());
                return Err(Stop::Done(Status::Failure));
            }
            None => {
                let release = rustix::system::uname().release().to_bytes().to_vec();
                self.release = OsStr::from_bytes(&release).to_owned();
            }
        }
        self.files = operands.map(PathBuf::from).collect();
        Ok(())
    }

    /// The file that says what the kernel exports.
    pub(super) fn symbols_file(&self) -> Option<&Path> {
        self.symvers.as_deref().or(self.system_map.as_deref())
    }

    /// Reads the files that say what the kernel exports.
    pub(super) fn texts(&self) -> Result<Texts, Stop> {
        let read = |path: &Option<PathBuf>| -> Result<Option<Vec<u8>>, Stop> {
            let Some(path) = path else {
                return Ok(None);
            };
            match fs::read(path) {
                Ok(text) => Ok(Some(text)),
                Err(error) => {
                    let path = path.as_os_str().as_bytes();
                    let text = [b"could not load ", path, b": ", io_words(&error).as_bytes()].concat();
                    Err(Fatal::new(text).into())
                }
            }
        };
        let symvers = read(&self.symvers)?;
        // Only one of the two is read.
        let system_map = if symvers.is_none() { read(&self.system_map)? } else { None };
        Ok(Texts { symvers, system_map })
    }
}

/// Whether this may be the version of a kernel: two numbers with a dot between them, and whatever follows (scanf's `%u.%u`).
fn is_version(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"+").or_else(|| text.strip_prefix(b"-")).unwrap_or(text);
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let major = digits(text);
    let minor = text.get(major..).and_then(|rest| rest.strip_prefix(b".")).map_or(0, digits);
    major > 0 && minor > 0
}

/// A path without `.`, from the folder that we are in.
fn absolute(path: &OsStr) -> PathBuf {
    // No path at all is where we are.
    let path = if path.is_empty() { OsStr::new(".") } else { path };
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}
