//! What `/sys/module` says about one module.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bstr::{BString, ByteSlice};

use crate::read::{self, Error, Problem};
use crate::{Errno, Kernel};

/// Where a loaded module stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitState {
    /// Its init function has returned; it works.
    Live,
    /// Its init function runs, or is about to.
    Coming,
    /// Its exit function runs, or is about to.
    Going,
}

/// What sysfs says about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing: no module of that name is loaded.
    Absent,
    /// There is a folder, but it does not say what stage its module is in: the module is built in, or it is being loaded
    /// this very moment. Which one, the tree's index of built-in modules knows.
    Folder,
    /// A module is loaded, or nearly so.
    Module(InitState),
}

/// A section of a loaded module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name (`.text`).
    pub name: BString,
    /// Where it is in memory; `None` for those who may not know.
    pub address: Option<u64>,
}

/// A parameter of a loaded or built-in module that sysfs shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: BString,
    /// What it says when it is read, without the final newline; `None` for those who may not read it.
    pub value: Option<BString>,
    /// Whether its file can be written to (by root, as a rule): it can be changed while the module is loaded.
    pub writable: bool,
}

/// The folder of one module in `/sys/module`. It may not be there.
#[derive(Debug, Clone)]
pub struct SysModule {
    folder: PathBuf,
}

impl Kernel {
    /// What sysfs knows of the module of this name (with `_`). Nothing is opened yet.
    ///
    /// # Errors
    ///
    /// [`Problem::Name`] when no module can have this name, because no file can: it is empty, `.` or `..`, or has a `/` or a
    /// NUL in it.
    pub fn module(&self, name: impl AsRef<[u8]>) -> Result<SysModule, Error> {
        let (folder, name) = (self.roots.sys.join("module"), name.as_ref());
        if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0) {
            return Err(Error::new(&folder.join(name.to_path_lossy()), Problem::Name));
        }
        Ok(SysModule { folder: folder.join(name.to_os_str_lossy()) })
    }
}

impl SysModule {
    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What sysfs says about it.
    ///
    /// # Errors
    ///
    /// [`Error`] when it cannot be read for another reason than that there is nothing, or says something unknown.
    pub fn state(&self) -> Result<State, Error> {
        let path = self.folder.join("initstate");
        match read::line(&path) {
            Ok(word) => match word.as_slice() {
                b"live" => Ok(State::Module(InitState::Live)),
                b"coming" => Ok(State::Module(InitState::Coming)),
                b"going" => Ok(State::Module(InitState::Going)),
                _ => Err(Error::new(&path, Problem::NotA("a state"))),
            },
            // Linux answers ENODEV when the module goes away between open and read.
            Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NOTDIR | Errno::NODEV)) => {
                if self.folder.is_dir() { Ok(State::Folder) } else { Ok(State::Absent) }
            }
            Err(error) => Err(error),
        }
    }

    /// How many uses it has; -1 while it is being unloaded.
    ///
    /// # Errors
    ///
    /// [`Error`] when it cannot be read: not found, too, when the module is built in, or the kernel was built without
    /// unloading.
    pub fn references(&self) -> Result<i64, Error> {
        read::number(&self.folder.join("refcnt"))
    }

    /// The modules that use it, in the order of the folder.
    ///
    /// # Errors
    ///
    /// [`Error`] when the folder cannot be read.
    pub fn holders(&self) -> Result<Vec<BString>, Error> {
        names(&self.folder.join("holders"))
    }

    /// Its sections, in the order of the folder.
    ///
    /// # Errors
    ///
    /// [`Error`] when the folder cannot be read, or a section has no address in it.
    pub fn sections(&self) -> Result<Vec<Section>, Error> {
        let folder = self.folder.join("sections");
        let mut sections = Vec::new();
        for name in names(&folder)? {
            let path = folder.join(name.to_os_str_lossy());
            let address = match read::line(&path) {
                Ok(text) => Some(hexadecimal(&text).ok_or_else(|| Error::new(&path, Problem::NotA("an address")))?),
                Err(error) if is_denied(&error) => None,
                Err(error) => return Err(error),
            };
            sections.push(Section { name, address });
        }
        Ok(sections)
    }

    /// The parameters that can be seen, in the order of the folder; empty when there is none.
    ///
    /// # Errors
    ///
    /// [`Error`] when the folder is there and cannot be read.
    pub fn parameters(&self) -> Result<Vec<Parameter>, Error> {
        let folder = self.folder.join("parameters");
        let names = match names(&folder) {
            Ok(names) => names,
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(error),
        };
        let parameter = |name: BString| {
            // A parameter may also have its own idea of why it cannot be read.
            let path = folder.join(name.to_os_str_lossy());
            let value = read::line(&path).ok();
            let writable = path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o222 != 0);
            Parameter { name, value, writable }
        };
        Ok(names.into_iter().map(parameter).collect())
    }

    /// The memory that it keeps, in bytes.
    ///
    /// # Errors
    ///
    /// [`Error`] when it cannot be read: not found, too, when the module is built in.
    pub fn core_size(&self) -> Result<u64, Error> {
        read::number(&self.folder.join("coresize"))
    }

    /// The memory of its init sections in bytes, 0 as soon as its init function has returned.
    ///
    /// # Errors
    ///
    /// As [`SysModule::core_size`].
    pub fn init_size(&self) -> Result<u64, Error> {
        read::number(&self.folder.join("initsize"))
    }

    /// The letters of the taints that it brought (`OE`).
    ///
    /// # Errors
    ///
    /// As [`SysModule::core_size`].
    pub fn taints(&self) -> Result<BString, Error> {
        read::line(&self.folder.join("taint"))
    }

    /// Its `version` (few have one).
    ///
    /// # Errors
    ///
    /// [`Error`] when it cannot be read; not found when it has none.
    pub fn version(&self) -> Result<BString, Error> {
        read::line(&self.folder.join("version"))
    }

    /// Its `srcversion`, the check sum of its sources (few have one).
    ///
    /// # Errors
    ///
    /// As [`SysModule::version`].
    pub fn source_version(&self) -> Result<BString, Error> {
        read::line(&self.folder.join("srcversion"))
    }
}

fn is_denied(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::ACCESS | Errno::PERM))
}

fn hexadecimal(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?.strip_prefix("0x")?, 16).ok()
}

/// The names in a folder, in its order.
fn names(folder: &Path) -> Result<Vec<BString>, Error> {
    let name = |entry: std::io::Result<fs::DirEntry>| Ok(BString::from(entry?.file_name().into_vec()));
    fs::read_dir(folder).and_then(|entries| entries.map(name).collect()).map_err(|error| Error::os(folder, &error))
}
