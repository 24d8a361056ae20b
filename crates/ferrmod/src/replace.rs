//! Writing a file so that at any moment it is what it was or what it shall be.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::exit::Failure;

/// Replaces the file at `path`, or makes it; its permissions are those of `like`, if there is such a file.
///
/// # Errors
/// [`Failure::File`]; the file is as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8], like: Option<&Path>) -> Result<(), Failure> {
    write(path, bytes, like).map_err(|error| Failure::File { path: path.display().to_string(), error })
}

fn write(path: &Path, bytes: &[u8], like: Option<&Path>) -> io::Result<()> {
    // A link's target is replaced and not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(format!(".{}.tmp", std::process::id()));
    let temporary = folder.join(temporary_name);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        file.write_all(bytes)?;
        if let Some(like) = like {
            file.set_permissions(fs::metadata(like)?.permissions())?;
        }
        file.sync_all()?;
        fs::rename(&temporary, &path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
        return written;
    }
    File::open(folder)?.sync_all()
}
