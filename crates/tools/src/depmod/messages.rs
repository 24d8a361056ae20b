//! What depmod says about a tree, in kmod's words.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ferrmod_index::depmod::{DuplicateIn, ElfError, Event, Problem};
use ferrmod_index::trie::KeyError;
use rustix::io::Errno;

use crate::output::Output;
use crate::report::{Level, Log, io_words, words};
use crate::session::Session;

use super::request::Request;

/// Says it.
pub(super) struct Messages<'a> {
    log: &'a mut Log,
    out: &'a mut Output,
    symvers: Vec<u8>,
    /// Whether something is wrong that the exit status tells.
    pub(super) failed: bool,
}

/// A path as text.
pub(super) fn path_text(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

impl<'a> Messages<'a> {
    pub(super) fn new(session: &'a mut Session, request: &Request) -> Messages<'a> {
        let symvers = request.symbols_file().map(|path| path_text(path).to_vec()).unwrap_or_default();
        Messages { log: &mut session.log, out: &mut session.out, symvers, failed: false }
    }

    fn say(&mut self, level: Level, parts: &[&[u8]]) {
        if self.log.shows(level) {
            self.log.bytes(level, &parts.concat());
        }
    }

    /// Says one thing.
    pub(super) fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::FolderUnreadable { path, error } => {
                self.failed = true;
                let error = io_words(error);
                self.say(Level::Error, &[b"could not open directory ", path_text(path), b": ", error.as_bytes()]);
            }
            Event::ExternalUnreadable { path, error } => {
                let error = io_words(error);
                self.say(Level::Error, &[b"could not open directory ", path_text(path), b": ", error.as_bytes()]);
            }
            Event::FolderLoop { path } => {
                let why = b": the link leads back to a folder above it and is not followed";
                self.say(Level::Warning, &[path_text(path), why]);
            }
            Event::EntryUnreadable { path, error } => {
                let error = io_words(error);
                self.say(Level::Error, &[b"fstatat(", path_text(path), b"): ", error.as_bytes()]);
            }
            Event::Unsupported { path, kind } => {
                let kind = format!("{kind:o}");
                self.say(Level::Error, &[b"unsupported file type ", path_text(path), b": ", kind.as_bytes()]);
            }
            Event::InputMissing { name, folder, error } => {
                let error = io_words(error);
                let parts: [&[u8]; 6] =
                    [b"could not open ", name.as_bytes(), b" at ", path_text(folder), b": ", error.as_bytes()];
                self.say(Level::Warning, &parts);
            }
            Event::UnfinishedLine { folder, line } => {
                let line = line.to_string();
                let parts: [&[u8]; 4] =
                    [path_text(folder), b"/modules.order:", line.as_bytes(), b" corrupted line misses '\\n'"];
                self.say(Level::Error, &parts);
            }
            Event::InvalidSymbolVersion { line, version } => {
                let place = format!(":{line} Invalid symbol version ");
                let file = self.symvers.clone();
                self.say(Level::Error, &[&file, place.as_bytes(), version, b": ", words(Errno::INVAL).as_bytes()]);
            }
            Event::InvalidSystemMap { line, text } => {
                let place = format!(":{line}: invalid line: ");
                let file = self.symvers.clone();
                self.say(Level::Error, &[&file, place.as_bytes(), text]);
            }
            Event::InvalidBuiltin { line } => {
                self.say(Level::Error, &[b"Invalid modules.builtin line: ", line, b"\n"]);
            }
            Event::Broken { path, problem } => {
                self.failed = true;
                let error = problem_words(problem);
                self.say(Level::Error, &[b"failed to load symbols from ", path_text(path), b": ", error.as_bytes()]);
                let detail = problem.to_string();
                self.say(Level::Info, &[path_text(path), b": ", detail.as_bytes()]);
            }
            Event::UnknownSymbol { path, symbol } => {
                self.say(Level::Warning, &[path_text(path), b" needs unknown symbol ", symbol]);
            }
            Event::VersionDisagrees { path, symbol } => {
                self.say(Level::Warning, &[path_text(path), b" disagrees about version of symbol ", symbol]);
            }
            Event::Needs { path, symbol, provider } => {
                self.out.put(&[path_text(path), b" needs \"", symbol, b"\": ", path_text(provider), b"\n"]);
            }
            Event::Duplicate { index, key, module } => {
                let what: &[u8] = match index {
                    DuplicateIn::Dependencies => b"duplicate module deps:\n",
                    DuplicateIn::Aliases => b"duplicate module alias:\n",
                    DuplicateIn::Symbols => b"duplicate module syms:\n",
                };
                self.say(Level::Warning, &[what, key, b" ", module]);
            }
            Event::UnmatchedBracket { alias } => self.say(Level::Warning, &[b"Unmatched bracket in ", alias]),
            Event::BadKey { key, module, problem } => {
                self.failed = true;
                if let KeyError::NotAscii { byte, .. } = problem {
                    let code = format!("={byte:#x} - only 7-bit ASCII is supported:\n");
                    let parts: [&[u8]; 5] = [b"Module index: bad character '", &[*byte], b"'", code.as_bytes(), key];
                    self.say(Level::Error, &parts);
                } else {
                    let problem = problem.to_string();
                    self.say(Level::Error, &[module, b": ", key, b": ", problem.as_bytes()]);
                }
            }
            Event::DevnameIncomplete { module, node } => {
                let why = b") but lacks major and minor information. Ignoring.";
                self.say(Level::Error, &[b"Module '", module, b"' has devname (", node, why]);
            }
            Event::Changed { .. } => {
                self.say(Level::Notice, &[b"the tree was changed while it was read; reading what changed again"]);
            }
            Event::StillChanging => {
                self.failed = true;
                self.say(Level::Warning, &[b"the tree is still being changed; run depmod again when that is done"]);
            }
            _ => {}
        }
    }
}

/// The words for why a module cannot be read: those that kmod has.
fn problem_words(problem: &Problem) -> String {
    match problem {
        Problem::Io(error) => io_words(error),
        Problem::Elf(ElfError::NotElf) => words(Errno::NOEXEC),
        Problem::Elf(ElfError::Io(kind)) => io_words(&io::Error::from(*kind)),
        Problem::Elf(_) | Problem::Unpack(_) => words(Errno::INVAL),
    }
}
