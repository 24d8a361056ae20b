//! Reading the modules of a tree, with several threads.

use std::fs::File;
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::elf::{self, Buffers, ElfError, Facts, Source};
use super::events::Problem;
use super::options::{Options, Progress};
use super::symbols::{SymbolNumber, Symbols};
use super::walk::{Found, Identity, Tree};
use crate::Unpacker;

/// What came of reading one file.
pub(super) enum Outcome {
    /// What it says.
    Facts(Facts),
    /// Why it says nothing.
    Broken(Problem),
}

/// What came of reading some files.
#[derive(Default)]
pub(super) struct Scanned {
    /// The result of each file, by its number.
    pub(super) results: Vec<(usize, Outcome)>,
    /// The files that became others while they were read, by their numbers.
    pub(super) changed: Vec<usize>,
}

/// Reads `files` (numbers into `found`); adds the symbols they name to `symbols`. Stops early when it is told to.
pub(super) fn scan(
    options: &Options<'_>,
    tree: &Tree,
    found: &[Found],
    files: &[usize],
    symbols: &mut Symbols,
) -> Scanned {
    let threads = match options.threads {
        0 => thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    };
    // A thread costs as much as reading a dozen modules.
    let threads = threads.min(files.len().div_ceil(16)).max(1);
    // The longest first: a large one that comes last would be waited for.
    let mut order: Vec<usize> = files.to_vec();
    let size = |&file: &usize| std::cmp::Reverse(found.get(file).map_or(0, |found| found.identity.size));
    if threads > 1 && found.iter().any(|found| !found.path.ends_with(b".ko")) {
        order.sort_by_key(size);
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = |own: &mut Symbols| {
        let mut worker = Worker::new();
        let mut scanned = Scanned::default();
        while !options.is_cancelled() {
            let Some((file, entry)) =
                order.get(next.fetch_add(1, Ordering::Relaxed)).and_then(|&file| Some((file, found.get(file)?)))
            else {
                break;
            };
            match worker.read(tree, entry, own) {
                Ok((facts, identity)) => {
                    if identity != entry.identity {
                        scanned.changed.push(file);
                    }
                    scanned.results.push((file, facts.map_or_else(Outcome::Broken, Outcome::Facts)));
                }
                Err(problem) => {
                    // It was there a moment ago.
                    if matches!(&problem, Problem::Io(error) if error.kind() == std::io::ErrorKind::NotFound) {
                        scanned.changed.push(file);
                    }
                    scanned.results.push((file, Outcome::Broken(problem)));
                }
            }
            if let Some(Progress { done, .. }) = options.progress {
                done.fetch_add(1, Ordering::Relaxed);
            }
        }
        scanned
    };
    let mut all = Scanned::default();
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| {
                let mut own = Symbols::default();
                let scanned = work(&mut own);
                done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((own, scanned));
            });
        }
        all = work(symbols);
    });
    for (own, scanned) in done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        let numbers: Vec<SymbolNumber> = own.iter().map(|symbol| symbols.number(symbol)).collect();
        let translate = |list: &mut Vec<SymbolNumber>| {
            for number in list {
                *number = numbers.get(*number as usize).copied().unwrap_or(*number);
            }
        };
        for (file, mut result) in scanned.results {
            if let Outcome::Facts(facts) = &mut result {
                translate(&mut facts.exports);
                translate(&mut facts.imports);
            }
            all.results.push((file, result));
        }
        all.changed.extend(scanned.changed);
    }
    all
}

/// What one thread keeps from file to file.
struct Worker {
    buffers: Buffers,
    packed: Vec<u8>,
    unpacked: Vec<u8>,
    unpacker: Unpacker,
}

impl Worker {
    fn new() -> Worker {
        Worker { buffers: Buffers::default(), packed: Vec::new(), unpacked: Vec::new(), unpacker: Unpacker::default() }
    }

    /// Reads one file; also what it was when that was done.
    fn read(
        &mut self,
        tree: &Tree,
        found: &Found,
        symbols: &mut Symbols,
    ) -> Result<(Result<Facts, Problem>, Identity), Problem> {
        let mut file = File::from(tree.open_module(found)?);
        // The size is the one that was seen when the folder was read; when that is not true any more, it is noticed in the end.
        let size = found.identity.size;
        let facts = match ending(&found.path) {
            // What is named as a plain module mostly is one; its first bytes are looked at with the rest of its header.
            Ending::Plain => match elf::read(Source::File(&file, size), &mut self.buffers, symbols) {
                Err(ElfError::NotElf) => self.read_packed(&mut file, size, symbols),
                facts => facts.map_err(Problem::from),
            },
            Ending::Packed => self.read_packed(&mut file, size, symbols),
        };
        // Also when it could not be read: it may have been half written.
        Ok((facts, Identity::of_file(&file)?))
    }

    fn read_packed(&mut self, file: &mut File, size: u64, symbols: &mut Symbols) -> Result<Facts, Problem> {
        self.packed.clear();
        self.packed.reserve(usize::try_from(size).unwrap_or(0).min(crate::MAX_MODULE) + 1);
        std::io::Seek::rewind(file)?;
        file.by_ref().take(crate::MAX_MODULE as u64 + 1).read_to_end(&mut self.packed)?;
        if self.packed.is_empty() {
            return Err(ElfError::Truncated { what: "ELF header" }.into());
        }
        let bytes = self.unpacker.unpack(&self.packed, &mut self.unpacked)?;
        Ok(elf::read(Source::Bytes(bytes), &mut self.buffers, symbols)?)
    }
}

enum Ending {
    Plain,
    Packed,
}

fn ending(path: &[u8]) -> Ending {
    if path.ends_with(b".ko") { Ending::Plain } else { Ending::Packed }
}
