//! Saying how far a long run is.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ferrmod_index::depmod::Progress;

/// A run that takes no longer than this says nothing.
const SILENCE: Duration = Duration::from_millis(500);

/// How often it says more.
const STEP: Duration = Duration::from_millis(100);

/// Does `work`; on a terminal, another thread says how far it is, in one line that is gone afterwards.
pub(super) fn shown<T>(progress: &Progress, terminal: bool, work: impl FnOnce() -> T) -> T {
    if !terminal {
        return work();
    }
    let finished = AtomicBool::new(false);
    thread::scope(|scope| {
        let line = scope.spawn(|| {
            let mut said = false;
            thread::park_timeout(SILENCE);
            while !super::is_set(&finished) {
                let done = progress.done.load(Ordering::Relaxed);
                let total = progress.total.load(Ordering::Relaxed);
                if let Some(percent) = done.saturating_mul(100).checked_div(total) {
                    let _ = write!(std::io::stderr(), "\rdepmod: {done} of {total} modules read ({percent} %)\x1b[K");
                    said = true;
                }
                thread::park_timeout(STEP);
            }
            if said {
                let _ = std::io::stderr().write_all(b"\r\x1b[K");
            }
        });
        let result = work();
        finished.store(true, Ordering::Relaxed);
        line.thread().unpark();
        result
    })
}
