//! How the running task came where it is, kept cheaply and told in full when it is asked for.
//!
//! Following a stack takes unwind tables and is dear; an allocation should cost little. So what is kept of a call is the part of
//! the stack that could matter: the words that may be return addresses, with their places. That is enough to follow it later,
//! as long as the code is there. The same calls come again and again and are kept once.

use alloc::string::String;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::ops::Range;

use ferrmod_linker::orc::Frame;
use hashbrown::{DefaultHashBuilder, HashMap};

use crate::Kernel;
use crate::lock::Lock;

/// The number of a trail; the default is that of none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrailId(u32);

/// Words that are kept of one stack.
const WORDS: usize = 32;
/// Words between what returns into a bridge and what returns to its caller.
const BRIDGE_WORDS: u64 = 24;
/// Bytes of a stack that are looked at.
const WINDOW: u64 = if cfg!(debug_assertions) { 8 << 10 } else { 2 << 10 };
/// Bytes that are read at a time.
const PART: usize = 512;
/// Trails that are kept; calls beyond these have none.
const MOST: usize = 1 << 16;
/// Callers that are told.
const DEEPEST: usize = 12;

#[derive(Debug)]
struct Trail {
    caller: u64,
    /// Places and words.
    words: Vec<(u64, u64)>,
    /// The end of the stack.
    end: u64,
    /// The task.
    task: u32,
    /// Told, before code it leads through went away.
    told: Option<Vec<String>>,
    /// Where it is in `by_hash`.
    hash: u64,
}

/// A trail wherever its stack is: the caller, and the words by their distance from the first.
type Way = (u64, Vec<(u64, u64)>);

#[derive(Debug, Default)]
struct State {
    all: Vec<Trail>,
    by_hash: HashMap<u64, TrailId>,
    /// Those that lead through a piece of text, by its address in units of [`PIECE`].
    by_piece: HashMap<u64, Vec<TrailId>>,
}

/// Bytes of text whose trails are found together: what goes is a few of them.
const PIECE: u64 = 64 << 10;

impl Trail {
    /// The pieces of text that it leads through, some perhaps twice.
    fn pieces(&self) -> impl Iterator<Item = u64> {
        core::iter::once(self.caller).chain(self.words.iter().map(|&(_, word)| word)).map(|word| word / PIECE)
    }
}

/// The trails of a kernel.
#[derive(Debug, Default)]
pub struct Trails(Lock<State>);

impl Kernel {
    /// Keeps how the running task came to the call that returns to `caller`; nothing for 0.
    pub(crate) fn keep_trail(&self, caller: u64) -> TrailId {
        let task = self.tasks.current();
        let Some(context) = self.tasks.context(task).filter(|_| caller != 0) else { return TrailId::default() };
        let marker = 0u8;
        let here = (core::ptr::from_ref(&marker).addr() as u64).next_multiple_of(8);
        let end = self.platform.stack_of(context).end;
        let end_of_window = end.min(here + WINDOW);
        let text = &self.platform.regions().text;
        let (mut words, mut count, mut other) = ([(0, 0); WORDS], 0, None);
        for from in (here..end_of_window).step_by(PART) {
            let mut bytes = [0; PART];
            let length = (end_of_window - from).min(PART as u64) as usize;
            if self.platform.read(from, &mut bytes[..length]).is_err() {
                break;
            }
            for (place, word) in (from..).step_by(8).zip(bytes[..length].chunks_exact(8)) {
                let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
                if !text.contains(&word) {
                    continue;
                }
                // Up to here the kernel's own functions have copies of the address; before the call's own lies what returns
                // into its bridge.
                let is_call = word == caller && other.is_some_and(|at| place - at <= 8 * BRIDGE_WORDS);
                if word != caller {
                    other = Some(place);
                }
                if (count > 0 || is_call) && count < WORDS {
                    words[count] = (place, word);
                    count += 1;
                }
            }
        }
        let words = &words[..count];
        let mut hasher = core::hash::BuildHasher::build_hasher(&DefaultHashBuilder::default());
        (caller, task.0, words).hash(&mut hasher);
        let mut state = self.trails.0.lock();
        let hash = hasher.finish();
        if let Some(&id) = state.by_hash.get(&hash) {
            return id;
        }
        if state.all.len() >= MOST {
            return TrailId::default();
        }
        let trail = Trail { caller, words: words.to_vec(), end, task: task.0, told: None, hash };
        let id = TrailId(state.all.len() as u32 + 1);
        for piece in trail.pieces() {
            let there = state.by_piece.entry(piece).or_default();
            if there.last() != Some(&id) {
                there.push(id);
            }
        }
        state.all.push(trail);
        state.by_hash.insert(hash, id);
        id
    }

    /// The calls of a trail, innermost first, and the number of the task; nothing when none was kept.
    pub(crate) fn tell_trail(&self, id: TrailId) -> Option<(u32, Vec<String>)> {
        let index = (id.0 as usize).checked_sub(1)?;
        let (caller, words, end, task) = {
            let state = self.trails.0.lock();
            let trail = state.all.get(index)?;
            if let Some(told) = &trail.told {
                return Some((trail.task, told.clone()));
            }
            (trail.caller, trail.words.clone(), trail.end, trail.task)
        };
        Some((task, self.follow(caller, &words, end)))
    }

    fn follow(&self, caller: u64, words: &[(u64, u64)], end: u64) -> Vec<String> {
        let tables = self.unwind_tables();
        let frame = |place: u64, ip: u64| Frame { ip, sp: place + 8, bp: 0, exact: false, scratch: None };
        let word = |at: u64| words.iter().find(|(place, _)| *place == at).map(|(_, word)| *word);
        // Saved registers were not kept; a function that finds its frame by one of them ends what is certain.
        let read = |address: u64, into: &mut [u8]| {
            if self.platform.regions().text.contains(&address) || !(words_start(words)..end).contains(&address) {
                return self.platform.read(address, into).is_ok();
            }
            let bytes = word(address).unwrap_or(0).to_le_bytes();
            let length = into.len().min(8);
            into[..length].copy_from_slice(&bytes[..length]);
            true
        };
        let next = |frame: &Frame| self.caller_by_tables(frame, &tables, &mut { read });
        let places = || words.iter().filter(|(_, word)| *word == caller).map(|(place, _)| *place);
        let first = places().find(|&place| next(&frame(place, caller)).is_some()).or_else(|| places().next_back());
        let mut lines = alloc::vec![self.symbolise_return(caller)];
        let Some(mut here) = first.map(|place| frame(place, caller)) else { return lines };
        while lines.len() < DEEPEST {
            let (mark, found) = match next(&here) {
                Some(found) => ("", found),
                None => {
                    let guess = words.iter().find(|(place, word)| *place >= here.sp && self.is_return_address(*word));
                    let Some(&(place, ip)) = guess else { break };
                    ("? ", frame(place, ip))
                }
            };
            lines.push(alloc::format!("{mark}{}", self.symbolise_return(found.ip)));
            here = found;
        }
        lines
    }

    /// Tells the trails that are still asked for before the code in `going` is gone, and never takes any that leads through it
    /// for one of later code.
    pub(crate) fn settle_trails(&self, wanted: &[TrailId], going: &[Range<u64>]) {
        let touches = |trail: &Trail| {
            let inside = |word: u64| going.iter().any(|range| range.contains(&word));
            inside(trail.caller) || trail.words.iter().any(|&(_, word)| inside(word))
        };
        let is_concerned = |id: TrailId| {
            let state = self.trails.0.lock();
            let trail = (id.0 as usize).checked_sub(1).and_then(|index| state.all.get(index));
            trail.is_some_and(|trail| trail.told.is_none() && touches(trail))
        };
        // Many tasks come the same way, each on a stack of its own.
        let mut ways: HashMap<Way, Option<Vec<String>>> = HashMap::new();
        let way = |id: TrailId| {
            let state = self.trails.0.lock();
            let trail = state.all.get((id.0 as usize).checked_sub(1)?)?;
            let start = words_start(&trail.words);
            Some((trail.caller, trail.words.iter().map(|&(place, word)| (place.wrapping_sub(start), word)).collect()))
        };
        for &id in wanted.iter().filter(|&&id| is_concerned(id)) {
            let Some(way) = way(id) else { continue };
            let tell = || self.tell_trail(id).map(|(_, told)| told);
            let told = ways.entry(way).or_insert_with(tell).clone();
            if let Some(trail) = self.trails.0.lock().all.get_mut(id.0 as usize - 1) {
                trail.told = told;
            }
        }
        let mut state = self.trails.0.lock();
        let State { all, by_hash, by_piece } = &mut *state;
        for piece in going
            .iter()
            .filter(|range| !range.is_empty())
            .flat_map(|range| range.start / PIECE..=(range.end - 1) / PIECE)
        {
            let Some(there) = by_piece.get_mut(&piece) else { continue };
            there.retain(|id| {
                let gone = all.get(id.0 as usize - 1).filter(|trail| touches(trail));
                if let Some(trail) = gone
                    && by_hash.get(&trail.hash) == Some(id)
                {
                    by_hash.remove(&trail.hash);
                }
                gone.is_none()
            });
        }
    }
}

fn words_start(words: &[(u64, u64)]) -> u64 {
    words.first().map_or(u64::MAX, |(place, _)| *place)
}
