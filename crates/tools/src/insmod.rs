//! `insmod`: loads one file, and nothing else.

use std::ffi::CString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;

use bstr::ByteSlice;
use ferrmod_linux::{Errno, Kernel, LoadFlags};

use crate::explain::{EXPLAIN, Explanation};
use crate::flags::{Applet, Flag, HELP, Operand, SYSLOG, VERBOSE, VERSION};
use crate::load::{self, LoadProblem};
use crate::report::{Level, io_words};
use crate::session::{Session, Status, Stop};

/// `insmod`.
pub(crate) const APPLET: Applet = Applet {
    name: "insmod",
    synopsis: &["[options] FILE [PARAMETER=VALUE]..."],
    summary: "load a module from a file",
    description: "Loads the module in FILE into the running kernel, with these parameters, and nothing else: modprobe finds \
        modules by their names, and loads what they need.\n\nThe kernel answers with a number and writes the reason into its \
        log. On a terminal, or with --explain, the reason follows the error.",
    flags: &[
        Flag::long("force", "load it whatever version of the kernel it was made for; may crash the machine")
            .short(b'f')
            .doc(
                "Load the module although its version magic or the CRCs of its symbols differ from the kernel's. The kernel \
                 must have been built to allow it, and is tainted afterwards.",
            ),
        SYSLOG,
        VERBOSE,
        VERSION,
        HELP,
        // Later than 34, and already known.
        Flag::long("force-modversion", "load it whatever the CRCs of its symbols are").ours(),
        Flag::long("force-vermagic", "load it whatever its version magic is").ours(),
        EXPLAIN,
        Flag::letter(b'p', "ignored", "").kmod30(),
    ],
    operands: Operand::Files,
    level: Level::Error,
    run,
    ..Applet::BASE
};

fn run(session: &mut Session) -> Result<Status, Stop> {
    let mut forces = LoadFlags::empty();
    let mut explain = false;
    let mut options = session.options();
    while let Some(option) = options.next()? {
        match option.id {
            "force" => forces |= LoadFlags::IGNORE_MODVERSIONS | LoadFlags::IGNORE_VERMAGIC,
            "force-modversion" => forces |= LoadFlags::IGNORE_MODVERSIONS,
            "force-vermagic" => forces |= LoadFlags::IGNORE_VERMAGIC,
            "explain" => explain = true,
            _ => session.common(&option)?,
        }
    }
    let operands = options.operands();
    let Some((file, parameters)) = operands.split_first() else {
        session.log.error(format_args!("missing filename."));
        return Ok(Status::Failure);
    };
    if file == "-" {
        session.log.error(format_args!("this tool does not support loading from stdin!"));
        return Ok(Status::Failure);
    }
    let parameters = load::join(parameters.iter().map(|parameter| parameter.as_bytes()));
    let name = file.as_bytes();
    // kmod looks whether the file is there before it opens it, and has other words for that.
    if let Err(error) = std::fs::metadata(file) {
        let why = io_words(&error);
        session.log.bytes(Level::Error, &[&b"could not load module "[..], name, b": ", why.as_bytes()].concat());
        return Ok(Status::Failure);
    }
    let kernel = Kernel::running();
    let mut explanation = Explanation::begin(&kernel, explain || session.log.is_terminal());
    let loaded = File::open(file).map_err(LoadProblem::from).and_then(|opened| {
        // An argument of a program cannot have a NUL in it.
        let line = CString::new(parameters.to_vec()).map_err(|_| Errno::INVAL)?;
        load::load(&kernel, &opened, &line, forces)
    });
    let Err(problem) = loaded else { return Ok(Status::Success) };
    let why = load::answer(problem.errno);
    session.log.bytes(Level::Error, &[&b"could not insert module "[..], name, b": ", why.as_bytes()].concat());
    for line in explanation.lines(&kernel, file.as_ref(), parameters.as_bstr(), &problem) {
        session.log.more(&line);
    }
    Ok(Status::Failure)
}
