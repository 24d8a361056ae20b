//! Physical frames for page tables and stacks.
//!
//! A bitmap of atomics instead of a lock: a fault that needs a frame may interrupt code that is just taking one.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ferrmod_boot::memory::PAGE;

const WORDS: usize = 2048;

static USED: [AtomicU64; WORDS] = [const { AtomicU64::new(u64::MAX) }; WORDS];
static BASE: AtomicU64 = AtomicU64::new(0);
static HINT: AtomicUsize = AtomicUsize::new(0);

/// Makes the frames of `range` available (as many as there are bits). Called once.
pub(crate) fn initialise(range: &Range<u64>) {
    BASE.store(range.start, Ordering::Relaxed);
    let frames = ((range.end - range.start) / PAGE) as usize;
    for (index, word) in USED.iter().enumerate() {
        let free = frames.saturating_sub(index * 64).min(64);
        word.store(if free == 64 { 0 } else { u64::MAX << free }, Ordering::Relaxed);
    }
}

/// Takes a frame, contents arbitrary; `None` when there are no more.
pub(crate) fn take() -> Option<u64> {
    let start = HINT.load(Ordering::Relaxed);
    for offset in 0..WORDS {
        let index = (start + offset) % WORDS;
        let mut word = USED[index].load(Ordering::Relaxed);
        while word != u64::MAX {
            let bit = word.trailing_ones();
            let before = USED[index].fetch_or(1 << bit, Ordering::Relaxed);
            if before & (1 << bit) == 0 {
                HINT.store(index, Ordering::Relaxed);
                return Some(BASE.load(Ordering::Relaxed) + (index as u64 * 64 + u64::from(bit)) * PAGE);
            }
            word = before;
        }
    }
    None
}

/// Gives a frame back that [`take`] gave out.
pub(crate) fn give(frame: u64) {
    let index = (frame.wrapping_sub(BASE.load(Ordering::Relaxed)) / PAGE) as usize;
    if let Some(word) = USED.get(index / 64) {
        word.fetch_and(!(1 << (index % 64)), Ordering::Relaxed);
        HINT.store(index / 64, Ordering::Relaxed);
    }
}
