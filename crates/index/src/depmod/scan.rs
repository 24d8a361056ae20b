//! Reading the modules of a tree, with several threads.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
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
    /// Whether files became others while they were read.
    pub(super) changed: bool,
}

/// The files that are still to be read.
struct Queue<'a> {
    options: &'a Options<'a>,
    waiting: Mutex<Waiting>,
    more: Condvar,
}

struct Waiting {
    /// With their numbers. Once all are known and some are packed, the shortest is in front.
    files: VecDeque<(usize, Found)>,
    /// Whether more may come.
    open: bool,
}

/// Where a thread takes its files from. One takes the long ones, so that none of them comes last and is waited for, and the others begin
/// with the short ones, so that no two of the longest are in memory at once.
#[derive(Clone, Copy)]
enum End {
    Short,
    Long,
}

/// How many modules a thread has to read to be worth its making.
const WORTH_A_THREAD: usize = 16;

impl Queue<'_> {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a file.
    fn push(&self, number: usize, found: Found) {
        self.waiting().files.push_back((number, found));
        self.more.notify_one();
        if let Some(Progress { total, .. }) = self.options.progress {
            total.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The next file; waits for it. `None` when there is none and none will come.
    fn pop(&self, end: End) -> Option<(usize, Found)> {
        let mut waiting = self.waiting();
        loop {
            let next = match end {
                End::Short => waiting.files.pop_front(),
                End::Long => waiting.files.pop_back(),
            };
            if next.is_some() {
                return next;
            }
            if !waiting.open {
                return None;
            }
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Closes the queue when the walk is over, however it ends: nobody is to wait for more.
struct Closing<'q, 'a>(&'q Queue<'a>);

impl Drop for Closing<'_, '_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.open = false;
        if waiting.files.iter().any(|(_, found)| !found.path.ends_with(b".ko")) {
            waiting.files.make_contiguous().sort_by_key(|(_, found)| found.identity.size);
        }
        self.0.more.notify_all();
    }
}

/// Reads the files that `walk` finds and hands to the function it is given, each with a number; adds the symbols they name to
/// `symbols`. They are read by other threads while the walk goes on, and by this one too when it is over. Stops early when it is told to.
pub(super) fn scan<T>(
    options: &Options<'_>,
    tree: &Tree,
    symbols: &mut Symbols,
    walk: impl FnOnce(&mut dyn FnMut(usize, &Found)) -> T,
) -> (T, Scanned) {
    let threads = match options.threads {
        0 => thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    };
    let queue =
        Queue { options, waiting: Mutex::new(Waiting { files: VecDeque::new(), open: true }), more: Condvar::new() };
    let done = Mutex::new(Vec::new());
    let mut all = Scanned::default();
    let walked = thread::scope(|scope| {
        let mut count = 0;
        let walked = {
            let _closing = Closing(&queue);
            walk(&mut |number, found| {
                queue.push(number, found.clone());
                count += 1;
                // With the first files comes the first thread, and this one reads too in the end.
                if count % WORTH_A_THREAD == 0 && count / WORTH_A_THREAD < threads {
                    scope.spawn(|| {
                        let mut own = Symbols::default();
                        let scanned = work(tree, &queue, End::Short, &mut own);
                        done.lock().unwrap_or_else(PoisonError::into_inner).push((own, scanned));
                    });
                }
            })
        };
        all = work(tree, &queue, End::Long, symbols);
        walked
    });
    for (own, scanned) in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
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
        all.changed |= scanned.changed;
    }
    (walked, all)
}

/// Reads files until there are no more.
fn work(tree: &Tree, queue: &Queue<'_>, end: End, own: &mut Symbols) -> Scanned {
    let mut worker = Worker::new();
    let mut scanned = Scanned::default();
    while !queue.options.is_cancelled()
        && let Some((number, found)) = queue.pop(end)
    {
        let outcome = match worker.read(tree, &found, own) {
            Ok((facts, identity)) => {
                scanned.changed |= identity != found.identity;
                facts.map_or_else(Outcome::Broken, Outcome::Facts)
            }
            Err(problem) => {
                // It was there a moment ago.
                scanned.changed |=
                    matches!(&problem, Problem::Io(error) if error.kind() == std::io::ErrorKind::NotFound);
                Outcome::Broken(problem)
            }
        };
        scanned.results.push((number, outcome));
        if let Some(Progress { done, .. }) = queue.options.progress {
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    scanned
}

/// The most memory for one file, in bytes, that a thread keeps for the next one: few modules need more.
const KEPT: usize = 4 << 20;

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
            Ending::Xz if self.unpacker.unpack_xz(&mut file, size, &mut self.unpacked)? => {
                elf::read(Source::Bytes(&self.unpacked), &mut self.buffers, symbols).map_err(Problem::from)
            }
            Ending::Xz | Ending::Packed => self.read_packed(&mut file, size, symbols),
        };
        if self.packed.capacity() + self.unpacked.capacity() > KEPT {
            (self.packed, self.unpacked) = (Vec::new(), Vec::new());
        }
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
    Xz,
    Packed,
}

fn ending(path: &[u8]) -> Ending {
    match path {
        [.., b'.', b'k', b'o'] => Ending::Plain,
        [.., b'.', b'x', b'z'] => Ending::Xz,
        _ => Ending::Packed,
    }
}
