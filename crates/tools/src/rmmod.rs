//! `rmmod`: unloads one module, and nothing else.

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bstr::{BStr, BString, ByteSlice};
use ferrmod_index::trie::Trie;
use ferrmod_linux::{InitState, Kernel, State, UnloadFlags};
use rustix::io::Errno;

use crate::flags::{Applet, Flag, HELP, Operand, SYSLOG, VERBOSE, VERSION};
use crate::report::{Level, words};
use crate::session::{Session, Status, Stop};

/// `rmmod`.
pub(crate) const APPLET: Applet = Applet {
    name: "rmmod",
    synopsis: &["[options] MODULE..."],
    summary: "unload modules",
    description: "Unloads each MODULE, which is the name of a loaded module or the file that it came from. Modules that it \
        depends on stay; modprobe -r takes care of them.\n\nA MODULE that cannot be unloaded does not keep the next ones from \
        being unloaded; the exit status is 1 then.",
    flags: &[
        Flag::long("force", "unload even what is in use; may crash the machine").short(b'f').doc(
            "Do not ask whether the module is in use, and tell the kernel to unload it even then. Works only if the kernel \
             was built for it, leaves the kernel tainted and, as a rule, about to crash.",
        ),
        SYSLOG,
        VERBOSE,
        VERSION,
        HELP,
    ],
    operands: Operand::Loaded,
    level: Level::Error,
    run,
    ..Applet::BASE
};

fn run(session: &mut Session) -> Result<Status, Stop> {
    let mut flags = UnloadFlags::NONBLOCK;
    let mut options = session.options();
    while let Some(option) = options.next()? {
        match option.id {
            "force" => flags |= UnloadFlags::FORCE,
            _ => session.common(&option)?,
        }
    }
    let operands = options.operands();
    if operands.is_empty() {
        session.log.error(format_args!("missing module name."));
        return Ok(Status::Failure);
    }
    let kernel = Kernel::running();
    let mut failed = false;
    for operand in &operands {
        failed |= !unload(session, &kernel, operand, flags);
    }
    Ok(Status::failed(failed))
}

/// Unloads one module; says what keeps it from that.
fn unload(session: &mut Session, kernel: &Kernel, operand: &OsString, flags: UnloadFlags) -> bool {
    let name = name_of(operand);
    if !flags.contains(UnloadFlags::FORCE)
        && let Some(obstacle) = obstacle(kernel, name.as_bstr())
    {
        session.log.bytes(Level::Error, &obstacle);
        return false;
    }
    let errno = match CString::new(name.clone()) {
        Ok(name) => match kernel.unload(&name, flags) {
            Ok(()) => return true,
            Err(errno) => errno,
        },
        Err(_) => Errno::NOENT,
    };
    // kmod says it twice, once by the name in the kernel and once as asked.
    let why = words(errno);
    session.log.bytes(Level::Error, &[b"could not remove '", &name[..], b"': ", why.as_bytes()].concat());
    let asked = operand.as_bytes();
    session.log.bytes(Level::Error, &[b"could not remove module ", asked, b": ", why.as_bytes()].concat());
    false
}

/// The kernel's name of what the user calls so: a file's is in its name, and every name ends before its first dot.
fn name_of(operand: &OsStr) -> BString {
    let whole = operand.as_bytes();
    let is_file = fs::metadata(operand).is_ok();
    let named = if is_file { whole.rsplit(|&byte| byte == b'/').next().unwrap_or_default() } else { whole };
    let named = named.split(|&byte| byte == b'.').next().unwrap_or_default();
    // A path that leads to no file is left as it is, so that it can only be refused.
    if named.is_empty() { whole.into() } else { named.replace("-", "_").into() }
}

/// Why the module should not be unloaded, in the words that the user gets.
fn obstacle(kernel: &Kernel, name: &BStr) -> Option<Vec<u8>> {
    let sentence = |rest: &[u8]| Some([&b"Module "[..], name, rest].concat());
    let Ok(module) = kernel.module(name) else { return sentence(b" is not currently loaded") };
    match module.state() {
        // What is built in has a folder only if it has something to show.
        Ok(State::Absent | State::Folder) if is_builtin(name) => return sentence(b" is builtin."),
        Ok(State::Absent) | Err(_) => return sentence(b" is not currently loaded"),
        Ok(State::Module(InitState::Going)) if module.references().is_ok_and(|count| count < 0) => {
            return sentence(b" is being unloaded");
        }
        Ok(State::Folder | State::Module(_)) => {}
    }
    let holders = module.holders().unwrap_or_default();
    if !holders.is_empty() {
        let mut users = b" is in use by:".to_vec();
        for holder in &holders {
            users.extend([b" ", &holder[..]].concat());
        }
        return sentence(&users);
    }
    match module.references() {
        Ok(0) => None,
        Ok(_) => sentence(b" is in use"),
        Err(error) if error.is_not_found() => Some(b"Module unloading is not supported".to_vec()),
        Err(error) => Some(error.to_string().into_bytes()),
    }
}

/// Whether the running kernel has it built in, by what depmod wrote, else by the list that came with the kernel.
fn is_builtin(name: &BStr) -> bool {
    let folder = Path::new("/lib/modules").join(OsStr::from_bytes(&Kernel::release()));
    if let Ok(index) = fs::File::open(folder.join("modules.builtin.bin"))
        && let Ok(trie) = Trie::from_file(index)
    {
        return trie.find(name).is_ok_and(|found| found.is_some());
    }
    let Ok(listing) = fs::read(folder.join("modules.builtin")) else { return false };
    listing.lines().any(|line| {
        let file = line.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let stem = file.split(|&byte| byte == b'.').next().unwrap_or_default();
        stem.replace("-", "_") == name.as_bytes()
    })
}
