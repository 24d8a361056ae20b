//! The kernel log: everything said, kept in a ring and handed to the platform's console as it is complete.

use core::sync::atomic::{AtomicU64, Ordering};

use ferrmod_image::linux::ReadError;

use crate::Kernel;
use crate::lock::Lock;
use crate::text::log::{Caller, DEFAULT_CAPACITY, Level, Next, Prefix, Ring};

/// The log of one kernel.
#[derive(Debug)]
pub struct Printk {
    ring: Lock<Ring>,
    shown: AtomicU64,
}

impl Default for Printk {
    fn default() -> Self {
        Self { ring: Lock::new(Ring::new(DEFAULT_CAPACITY)), shown: AtomicU64::new(0) }
    }
}

impl Printk {
    /// Runs `look` over the ring.
    pub fn with<T>(&self, look: impl FnOnce(&mut Ring) -> T) -> T {
        look(&mut self.ring.lock())
    }
}

impl Kernel {
    /// Logs a formatted message with its `KERN_` prefix and newline, as `printk` does.
    pub fn printk(&self, message: &[u8]) {
        let (prefix, text) = crate::text::log::parse_prefix(message);
        self.log(prefix, text);
    }

    fn log(&self, prefix: Prefix, text: &[u8]) {
        let time = self.platform.now();
        let caller = Caller::Task(self.tasks.current().0);
        self.printk.ring.lock().write_text(time, caller, prefix, text, None);
        self.show();
    }

    /// Closes an unfinished line, so that it is seen.
    pub fn flush_log(&self) {
        self.printk.ring.lock().flush();
        self.show();
    }

    fn show(&self) {
        loop {
            let next = self.printk.shown.load(Ordering::Relaxed);
            let record = match self.printk.ring.lock().at(next) {
                Next::Record(record) => record.clone(),
                Next::Dropped(_, first) => {
                    self.printk.shown.store(first, Ordering::Relaxed);
                    continue;
                }
                Next::Nothing => return,
            };
            self.printk.shown.store(next + 1, Ordering::Relaxed);
            self.platform.console(&record);
        }
    }
}

/// Logs one line.
pub fn say(kernel: &Kernel, level: u8, text: &str) {
    let prefix = Prefix { level: Level::from_number(level), continued: false };
    for line in text.lines() {
        let mut line = alloc::string::String::from(line);
        line.push('\n');
        kernel.log(prefix, line.as_bytes());
    }
}

/// The level Linux logs this refusal at.
pub(crate) fn level_of_read_error(error: &ReadError) -> u8 {
    match error {
        ReadError::NoSymbols { .. } | ReadError::NoModule { .. } => 4,
        _ => 3,
    }
}
