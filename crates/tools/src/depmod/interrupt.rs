//! Ending when the user says so, without leaving half-written files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use signal_hook::{flag, low_level};

/// Set when a signal asks for the end.
pub(super) struct Interrupt {
    asked: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Takes the signals that ask for the end. A second one ends the process at once.
    pub(super) fn new() -> Interrupt {
        let asked = Arc::new(AtomicBool::new(false));
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM, SIGHUP] {
            // Without a handler the process ends as ever: only temporary files stay, and the next run removes them.
            let _ = flag::register_conditional_default(number, Arc::clone(&asked));
            let _ = flag::register_usize(number, Arc::clone(&signal), usize::try_from(number).unwrap_or(0));
            let _ = flag::register(number, Arc::clone(&asked));
        }
        // An index is worth writing when nobody reads the messages any more.
        let _ = flag::register(SIGPIPE, Arc::default());
        Interrupt { asked, signal }
    }

    /// Whether the end was asked for.
    pub(super) fn flag(&self) -> &AtomicBool {
        &self.asked
    }

    /// Ends the process as the signal would have, so that the caller sees why.
    pub(super) fn end(&self) {
        if let Ok(signal) = i32::try_from(self.signal.load(Ordering::Relaxed)) {
            let _ = low_level::emulate_default_handler(signal);
        }
    }
}
