//! Results: one buffer, few writes, no surprise when the reader has gone.

use std::io::{self, IsTerminal, Write};

use rustix::io::Errno;

/// Bytes that are kept before they are written. The first touch of more memory costs more than the calls that it saves.
pub(crate) const CAPACITY: usize = 32 * 1024;

/// Standard output.
///
/// Everything is kept until [`Output::flush`] or until the buffer is full; on a terminal, a line is written when it ends. A
/// command that starts another one flushes first, so that both appear in order.
#[derive(Debug, Default)]
pub struct Output {
    buffer: Vec<u8>,
    /// Whether it is a terminal; not asked before something is written.
    terminal: Option<bool>,
    failure: Option<Errno>,
}

impl Output {
    /// With nothing written.
    #[must_use]
    pub fn new() -> Output {
        Output::default()
    }

    /// The first failure of writing, if there was one. What comes after a failure is thrown away.
    #[must_use]
    pub fn failure(&self) -> Option<Errno> {
        self.failure
    }

    /// Adds `parts`, one after the other.
    pub fn put(&mut self, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.terminal == Some(false) && self.buffer.len() + length < CAPACITY {
            self.buffer.reserve(length);
            parts.iter().for_each(|part| self.buffer.extend_from_slice(part));
            return;
        }
        parts.iter().for_each(|part| self.add(part));
    }

    /// Adds `bytes`.
    pub fn add(&mut self, bytes: &[u8]) {
        if self.buffer.capacity() == 0 {
            self.terminal = Some(io::stdout().is_terminal());
            self.buffer.reserve(4096);
        }
        if bytes.len() >= CAPACITY {
            // As much as that needs no second place.
            self.drain();
            return self.hand_over(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CAPACITY || (self.terminal == Some(true) && bytes.contains(&b'\n')) {
            self.drain();
        }
    }

    /// Writes what is kept.
    pub fn drain(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.hand_over(&buffer);
        buffer.clear();
        self.buffer = buffer;
    }

    fn hand_over(&mut self, mut rest: &[u8]) {
        while !rest.is_empty() && self.failure.is_none() {
            match rustix::io::write(rustix::stdio::stdout(), rest) {
                Ok(0) => self.failure = Some(Errno::IO),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(errno) => self.failure = Some(errno),
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain();
        self.failure.map_or(Ok(()), |errno| Err(errno.into()))
    }
}
