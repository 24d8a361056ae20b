//! `struct xa_state`: a place in an array that a caller moves along.
//!
//! `xa_node` is a node, null when the array has only its head, or one of three signs: that the walk begins anew, that the index
//! lies outside the tree, or that there was an error.

use ferrmod_kernel::Errno;

use super::tree::{Found, MARKS, NoMemory, Place};
use super::{Heap, tree};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod xa_state = "xa_state" { xa, xa_index, xa_offset, xa_node }
}

/// `XAS_BOUNDS`, `XAS_RESTART`
const BOUNDS: u64 = 1;
const RESTART: u64 = 3;

/// What the state says.
#[derive(Clone, Copy, Debug)]
struct State {
    at: u64,
    array: u64,
    index: u64,
    place: Place,
}

impl State {
    fn of(at: u64) -> Self {
        // SAFETY: the caller's state.
        unsafe {
            Self {
                at,
                array: xa_state::xa.get(at),
                index: xa_state::xa_index.get(at),
                place: Place { node: xa_state::xa_node.get(at), offset: xa_state::xa_offset.get(at) },
            }
        }
    }

    fn set_node(&self, node: u64) {
        // SAFETY: the caller's state.
        unsafe { xa_state::xa_node.set(self.at, node) };
    }
    fn set_index(&self, index: u64) {
        // SAFETY: as above.
        unsafe { xa_state::xa_index.set(self.at, index) };
    }
    fn set_place(&self, place: Place) {
        self.set_node(place.node);
        // SAFETY: as above.
        unsafe { xa_state::xa_offset.set(self.at, place.offset) };
    }

    /// Anything but a walk in progress.
    fn is_invalid(&self) -> bool {
        self.place.node & 3 != 0
    }
    fn is_error(&self) -> bool {
        self.place.node & 3 == 2
    }
    fn fail(&self, errno: Errno) {
        self.set_node((i64::from(errno.to_return()) as u64) << 2 | 2);
    }

    /// Where the walk is, beginning it when it has not begun.
    fn walk(&self) -> Option<Found> {
        let found = tree(self.array).walk(self.index);
        match found {
            Some(found) => self.set_place(found.place),
            None => self.set_node(BOUNDS),
        }
        found
    }

    /// Goes to what was found, or out of bounds.
    fn go(&self, found: Option<Found>) -> u64 {
        match found {
            Some(found) => {
                self.set_index(found.index);
                self.set_place(found.place);
                found.entry
            }
            None => {
                self.set_node(BOUNDS);
                0
            }
        }
    }
}

/// `void *xas_load(struct xa_state *)`
extern "C" fn xas_load(at: u64) -> u64 {
    let state = State::of(at);
    if state.is_error() || state.place.node == BOUNDS {
        return 0;
    }
    state.walk().map_or(0, |found| found.entry)
}
/// `void *xas_store(struct xa_state *, void *)`: what was there.
extern "C" fn xas_store(at: u64, entry: u64) -> u64 {
    let caller = ram::caller();
    let state = State::of(at);
    if state.is_error() {
        return 0;
    }
    match tree(state.array).store(&mut Heap { caller }, state.index, entry) {
        Ok((old, place)) if entry != 0 => {
            state.set_place(place);
            old
        }
        Ok((old, _)) => {
            // The leaf may be gone.
            state.set_node(RESTART);
            old
        }
        Err(NoMemory) => {
            state.fail(Errno::ENOMEM);
            0
        }
    }
}

/// Where a search goes on: at the index when the walk has not begun, behind it when it has.
fn next_index(state: &State) -> Option<u64> {
    match state.place.node {
        RESTART => Some(state.index),
        _ if state.is_invalid() => None,
        _ => state.index.checked_add(1),
    }
}
/// `void *xas_find(struct xa_state *, unsigned long max)`
extern "C" fn xas_find(at: u64, last: u64) -> u64 {
    let state = State::of(at);
    if state.is_error() || state.place.node == BOUNDS {
        return 0;
    }
    state.go(next_index(&state).and_then(|from| tree(state.array).find(from, last, None)))
}
/// `void *xas_find_marked(struct xa_state *, unsigned long max, xa_mark_t)`
extern "C" fn xas_find_marked(at: u64, last: u64, mark: u32) -> u64 {
    let state = State::of(at);
    if state.is_error() || state.place.node == BOUNDS {
        return 0;
    }
    state.go(next_index(&state).and_then(|from| tree(state.array).find(from, last, Some(mark % MARKS))))
}
/// `void *xas_find_conflict(struct xa_state *)`: what is at the index itself; the next call finds nothing more.
extern "C" fn xas_find_conflict(at: u64) -> u64 {
    let state = State::of(at);
    if state.place.node != RESTART {
        return 0;
    }
    state.walk().map_or(0, |found| found.entry)
}
/// `void *__xas_next(struct xa_state *)`: the next index, whatever is there.
extern "C" fn __xas_next(at: u64) -> u64 {
    step(at, 1)
}
extern "C" fn __xas_prev(at: u64) -> u64 {
    step(at, u64::MAX)
}
fn step(at: u64, distance: u64) -> u64 {
    let state = State::of(at);
    if state.is_error() {
        return 0;
    }
    if state.place.node != RESTART {
        state.set_index(state.index.wrapping_add(distance));
    }
    let state = State::of(at);
    state.walk().map_or(0, |found| found.entry)
}
/// `void xas_pause(struct xa_state *)`: the caller gives up its lock, and goes on behind where it is.
extern "C" fn xas_pause(at: u64) {
    let state = State::of(at);
    if state.is_invalid() {
        return;
    }
    match state.index.checked_add(1) {
        Some(next) => {
            state.set_index(next);
            state.set_node(RESTART);
        }
        None => state.set_node(BOUNDS),
    }
}
/// `bool xas_nomem(struct xa_state *, gfp_t)`: whether to try again after an allocation failed.
extern "C" fn xas_nomem(at: u64, flags: u32) -> bool {
    let caller = ram::caller();
    let state = State::of(at);
    let failed = state.place.node == (i64::from(Errno::ENOMEM.to_return()) as u64) << 2 | 2;
    if !failed {
        return false;
    }
    // Nodes are taken where they are needed; only see whether there is memory again.
    let probe = crate::slab::allocate(64, 8, flags, caller);
    if probe == 0 {
        return false;
    }
    crate::slab::release(probe, caller);
    state.set_node(RESTART);
    true
}

/// The place of the state's entry.
fn place(state: &State) -> Option<Place> {
    if state.is_invalid() { None } else { Some(state.place) }
}
extern "C" fn xas_get_mark(at: u64, mark: u32) -> bool {
    let state = State::of(at);
    place(&state).is_some_and(|place| mark < MARKS && tree(state.array).mark(place, mark))
}
fn mark(at: u64, mark: u32, set: bool) {
    let state = State::of(at);
    if let Some(place) = place(&state).filter(|_| mark < MARKS) {
        tree(state.array).set_mark(place, mark, set);
    }
}
extern "C" fn xas_set_mark(at: u64, which: u32) {
    mark(at, which, true);
}
extern "C" fn xas_clear_mark(at: u64, which: u32) {
    mark(at, which, false);
}
/// `void xas_init_marks(const struct xa_state *)`
extern "C" fn xas_init_marks(at: u64) {
    (0..MARKS).for_each(|which| mark(at, which, false));
}
/// `int xas_get_order(struct xa_state *)`: every entry covers one index.
extern "C" fn xas_get_order() -> i32 {
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c xas_load, c xas_store, c xas_find, c xas_find_marked, c xas_find_conflict, c __xas_next, c __xas_prev, c xas_pause,
    c xas_nomem, c xas_get_mark, c xas_set_mark, c xas_clear_mark, c xas_init_marks, k xas_get_order, k xa_get_order = xas_get_order,
];
