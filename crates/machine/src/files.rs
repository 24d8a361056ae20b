//! Files of a machine, used as a program uses them: opened, read, written, asked, closed; and file systems, mounted.

use std::time::Duration;

use crate::options::{MachineError, Outcome};
use crate::protocol::{Action, Request, Response};
use crate::requests::{nanoseconds, nothing, outcome};
use crate::supervisor::Machine;
use crate::value::{Argument, Called};

impl Machine {
    /// Opens a file with the flags of `open(2)`; its number.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn open(&mut self, path: &str, flags: u32) -> Result<Outcome<u32>, MachineError> {
        let response = self.ask_now(Request::Open { path, flags, deadline: self.deadline() })?;
        outcome(response, |response| match response {
            Response::Number(number) => number.try_into().ok(),
            _ => None,
        })
    }

    fn act(&mut self, number: u32, action: Action) -> Result<Response, MachineError> {
        self.ask_now(Request::File { number, action, deadline: self.deadline() })
    }

    /// Reads at most `length` bytes from where an open file is.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn read(&mut self, number: u32, length: u64) -> Result<Outcome<Vec<u8>>, MachineError> {
        outcome(self.act(number, Action::Read { length })?, |response| match response {
            Response::Bytes(bytes) => Some(bytes),
            _ => None,
        })
    }

    /// Writes where an open file is; how many bytes were taken.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn write(&mut self, number: u32, bytes: &[u8]) -> Result<Outcome<u64>, MachineError> {
        outcome(self.act(number, Action::Write(bytes.to_vec()))?, |response| match response {
            Response::Number(count) => Some(count),
            _ => None,
        })
    }

    /// `lseek(2)` on an open file; where it is then.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn seek(&mut self, number: u32, offset: i64, whence: u32) -> Result<Outcome<u64>, MachineError> {
        outcome(self.act(number, Action::Seek { offset, whence })?, |response| match response {
            Response::Number(position) => Some(position),
            _ => None,
        })
    }

    /// `ioctl(2)` on an open file. Bytes of the argument are user memory for the time of the call.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn ioctl(&mut self, number: u32, command: u32, argument: Argument) -> Result<Outcome<Called>, MachineError> {
        outcome(self.act(number, Action::Ioctl { command, argument })?, |response| match response {
            Response::Called(called) => Some(called),
            _ => None,
        })
    }

    /// `poll(2)` on an open file: waits until it is ready for one of these events (`POLLIN` is 1), at most for `time`; for which it is.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn poll(&mut self, number: u32, events: u16, time: Duration) -> Result<Outcome<u16>, MachineError> {
        let timeout = time.saturating_add(self.options.timeout);
        let action = Action::Poll { events, nanoseconds: nanoseconds(time) };
        let request = Request::File { number, action, deadline: nanoseconds(timeout) };
        outcome(self.ask(request, timeout)?, |response| match response {
            Response::Number(ready) => ready.try_into().ok(),
            _ => None,
        })
    }

    /// Closes an open file.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn close(&mut self, number: u32) -> Result<Outcome<()>, MachineError> {
        outcome(self.act(number, Action::Close)?, nothing)
    }

    /// Mounts the file system `kind` that is on the block device `source` read-only at `target`, as `mount(2)` does.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn mount(&mut self, kind: &str, source: &str, target: &str) -> Result<Outcome<()>, MachineError> {
        let response = self.ask_now(Request::Mount { kind, source, target, deadline: self.deadline() })?;
        outcome(response, nothing)
    }

    /// Takes a mount away, as `umount(2)` does.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn unmount(&mut self, target: &str) -> Result<Outcome<()>, MachineError> {
        outcome(self.ask_now(Request::Unmount { target, deadline: self.deadline() })?, nothing)
    }
}
