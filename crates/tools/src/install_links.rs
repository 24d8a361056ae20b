//! `ferrmod install-links`: the names that this program answers to.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::flags::{Applet, Family, Flag, HELP, Operand, VERSION};
use crate::report::{Fatal, Level, io_words};
use crate::session::{Session, Status, Stop};

/// `ferrmod install-links`.
pub(crate) const APPLET: Applet = Applet {
    name: "install-links",
    family: Family::Own,
    synopsis: &["[options] FOLDER"],
    summary: "make links by which this program is insmod, modprobe and the others",
    description: "Makes symbolic links in FOLDER, named as the commands that this program can be called as, and pointing to it. \
        With --target they point to another path, as when a package is built in a folder of its own.\n\nA file of that name \
        that is there already is left alone, and the exit status is 1, unless it is such a link or --force is given.",
    flags: &[
        Flag::long("force", "replace files that are there").short(b'f').ours(),
        Flag::long("target", "let the links point to PATH").short(b't').value("PATH").ours(),
        VERSION,
        HELP,
    ],
    operands: Operand::Folder,
    run,
    ..Applet::BASE
};

fn run(session: &mut Session) -> Result<Status, Stop> {
    let mut force = false;
    let mut target = None;
    let mut options = session.options();
    while let Some(option) = options.next()? {
        match option.id {
            "force" => force = true,
            "target" => target = option.value.map(PathBuf::from),
            _ => session.common(&option)?,
        }
    }
    let operands = options.operands();
    let [folder] = operands.as_slice() else {
        return Err(Fatal::new("one folder is wanted, the one to make the links in").into());
    };
    let folder = Path::new(folder);
    let target = match target {
        Some(target) => target,
        None => own_path(folder)?,
    };
    let mut failed = false;
    for applet in crate::APPLETS.iter().filter(|applet| applet.family == Family::Kmod) {
        let link = folder.join(applet.name);
        match make(&link, &target, force) {
            Ok(()) => session.out.put(&[link.as_os_str().as_bytes(), b"\n"]),
            Err(error) => {
                session.log.say(Level::Error, format_args!("{}: {}", link.display(), io_words(&error)));
                failed = true;
            }
        }
    }
    Ok(Status::failed(failed))
}

/// Where this program is; its name alone when the links will lie beside it.
fn own_path(folder: &Path) -> Result<PathBuf, Fatal> {
    let problem = |error: io::Error| {
        Fatal::new(format!("cannot find this program ({}): say where it is with --target", io_words(&error)))
    };
    let program = std::env::current_exe().map_err(problem)?;
    let is_beside = fs::canonicalize(folder).is_ok_and(|folder| program.parent() == Some(&folder));
    Ok(if is_beside { program.file_name().map(PathBuf::from).unwrap_or(program) } else { program })
}

/// Makes one link, at once where it replaces something.
fn make(link: &Path, target: &Path, force: bool) -> io::Result<()> {
    // The program itself may be called `kmod`.
    if link.file_name() == Some(target.as_os_str()) {
        return Ok(());
    }
    match symlink(target, link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    if fs::read_link(link).is_ok_and(|there| there == target) {
        return Ok(());
    }
    if !force {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut temporary = link.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    symlink(target, &temporary)?;
    fs::rename(&temporary, link).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}
