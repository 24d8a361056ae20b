//! What can be asked of a machine.

use std::time::Duration;

use ferrmod_kernel::LoadFlags;

use crate::options::{LoadOutcome, MachineError, Outcome};
use crate::protocol::{Module, Request, Response};
use crate::supervisor::Machine;
use crate::value::{Argument, Called, Device, DeviceReport, LogLine, ModuleStatus, Report};

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// An answer of another kind than the question is no answer.
fn strange() -> MachineError {
    MachineError::Protocol { what: "an answer to another question" }
}

/// The outcome of something that module code takes part in.
pub(crate) fn outcome<T>(
    response: Response,
    done: impl FnOnce(Response) -> Option<T>,
) -> Result<Outcome<T>, MachineError> {
    Ok(match response {
        Response::Errno(errno) => Outcome::Errno(errno),
        Response::Oopsed => Outcome::Oopsed,
        Response::Hung => Outcome::Hung,
        Response::TimedOut => Outcome::TimedOut,
        other => Outcome::Done(done(other).ok_or_else(strange)?),
    })
}

/// The answer to something that no module code takes part in.
fn plain<T>(response: Response, done: impl FnOnce(Response) -> Option<T>) -> Result<T, MachineError> {
    match response {
        Response::Errno(errno) => Err(MachineError::Errno(errno)),
        other => done(other).ok_or_else(strange),
    }
}

pub(crate) fn nothing(response: Response) -> Option<()> {
    matches!(response, Response::Done).then_some(())
}

impl Machine {
    /// Init functions that have returned an error so far.
    ///
    /// # Errors
    /// [`MachineError`] when the machine is gone.
    pub fn failed_inits(&mut self) -> Result<u64, MachineError> {
        plain(self.ask_now(Request::FailedInits)?, |response| match response {
            Response::Number(count) => Some(count),
            _ => None,
        })
    }

    /// Changes how long a request may take.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.options.timeout = timeout;
    }

    pub(crate) fn deadline(&self) -> u64 {
        nanoseconds(self.options.timeout)
    }

    pub(crate) fn ask_now(&mut self, request: Request<'_>) -> Result<Response, MachineError> {
        self.ask(request, self.options.timeout)
    }

    /// Loads a module from the bytes of its file (decompressed), as `finit_module(2)` does.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn load(&mut self, bytes: &[u8], arguments: &[u8], flags: LoadFlags) -> Result<LoadOutcome, MachineError> {
        let module = Module { bytes, arguments };
        let response = self.ask_now(Request::Load { module, flags: flags.bits(), deadline: self.deadline() })?;
        Ok(match outcome(response, nothing)? {
            Outcome::Done(()) => LoadOutcome::Loaded,
            Outcome::Errno(errno) => LoadOutcome::Errno(errno),
            Outcome::Oopsed => LoadOutcome::Oopsed,
            Outcome::Hung => LoadOutcome::Hung,
            Outcome::TimedOut => LoadOutcome::TimedOut,
        })
    }

    /// Unloads a module, as `delete_module(2)` does.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn unload(&mut self, name: &[u8], force: bool) -> Result<Outcome<()>, MachineError> {
        let response = self.ask_now(Request::Unload { name, force, deadline: self.deadline() })?;
        outcome(response, nothing)
    }

    /// The modules, newest first.
    ///
    /// # Errors
    /// [`MachineError`] when the machine is gone.
    pub fn list(&mut self) -> Result<Vec<ModuleStatus>, MachineError> {
        plain(self.ask_now(Request::Modules)?, |response| match response {
            Response::Modules(modules) => Some(modules),
            _ => None,
        })
    }

    /// The kernel log, as far as it is still in the ring.
    ///
    /// # Errors
    /// [`MachineError`] when the machine is gone.
    pub fn dmesg(&mut self) -> Result<Vec<LogLine>, MachineError> {
        plain(self.ask_now(Request::Dmesg)?, |response| match response {
            Response::Log(lines) => Some(lines),
            _ => None,
        })
    }

    /// The content of a file of the machine (`/proc`, `/sys`, `/dev`).
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn read_file(&mut self, path: &str) -> Result<Outcome<Vec<u8>>, MachineError> {
        let response = self.ask_now(Request::ReadFile { path, deadline: self.deadline() })?;
        outcome(response, |response| match response {
            Response::Bytes(bytes) => Some(bytes),
            _ => None,
        })
    }

    /// Writes to a file of the machine; how many bytes were taken.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn write_file(&mut self, path: &str, bytes: &[u8]) -> Result<Outcome<u64>, MachineError> {
        let response = self.ask_now(Request::WriteFile { path, bytes, deadline: self.deadline() })?;
        outcome(response, |response| match response {
            Response::Number(count) => Some(count),
            _ => None,
        })
    }

    /// The names in a directory of the machine.
    ///
    /// # Errors
    /// [`MachineError`] when the machine is gone.
    pub fn list_directory(&mut self, path: &str) -> Result<Outcome<Vec<String>>, MachineError> {
        outcome(self.ask_now(Request::ListDirectory { path, deadline: self.deadline() })?, |response| match response {
            Response::Names(names) => Some(names),
            _ => None,
        })
    }

    /// Type and permissions of a file of the machine, as `st_mode` has them.
    ///
    /// # Errors
    /// [`MachineError`] when the machine is gone.
    pub fn mode(&mut self, path: &str) -> Result<Outcome<u32>, MachineError> {
        outcome(self.ask_now(Request::Mode { path, deadline: self.deadline() })?, |response| match response {
            Response::Number(mode) => mode.try_into().ok(),
            _ => None,
        })
    }

    /// The address of an exported symbol, of the kernel or of a module.
    ///
    /// # Errors
    /// [`MachineError`] when the machine is gone.
    pub fn symbol(&mut self, name: &[u8]) -> Result<Option<u64>, MachineError> {
        plain(self.ask_now(Request::Symbol { name })?, |response| match response {
            Response::Number(address) => Some(Some(address)),
            Response::Nothing => Some(None),
            _ => None,
        })
    }

    /// Calls the C function at `address` as a task.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn call(&mut self, address: u64, arguments: &[Argument]) -> Result<Outcome<Called>, MachineError> {
        let request = Request::Call { address, arguments: arguments.to_vec(), deadline: self.deadline() };
        outcome(self.ask_now(request)?, |response| match response {
            Response::Called(called) => Some(called),
            _ => None,
        })
    }

    /// Reads memory of the machine, as a debugger does; `None` when it is not there.
    ///
    /// # Errors
    /// [`MachineError`] when the machine is gone.
    pub fn peek(&mut self, address: u64, length: u64) -> Result<Option<Vec<u8>>, MachineError> {
        match self.ask_now(Request::Peek { address, length })? {
            Response::Bytes(bytes) => Ok(Some(bytes)),
            Response::Errno(_) => Ok(None),
            _ => Err(strange()),
        }
    }

    /// Writes memory of the machine, text included, as a debugger does; whether that was possible.
    ///
    /// # Errors
    /// [`MachineError`] when the machine is gone.
    pub fn poke(&mut self, address: u64, bytes: &[u8]) -> Result<bool, MachineError> {
        match self.ask_now(Request::Poke { address, bytes })? {
            Response::Done => Ok(true),
            Response::Errno(_) => Ok(false),
            _ => Err(strange()),
        }
    }

    /// Takes zeroed heap memory, owned by the kernel; its address.
    ///
    /// # Errors
    /// [`MachineError::Errno`] when there is none to be had.
    pub fn allocate(&mut self, size: u64, align: u64) -> Result<u64, MachineError> {
        plain(self.ask_now(Request::Allocate { size, align })?, |response| match response {
            Response::Number(address) => Some(address),
            _ => None,
        })
    }

    /// Gives back what [`Machine::allocate`] took.
    ///
    /// # Errors
    /// [`MachineError::Errno`] when `address` is not the start of an allocation.
    pub fn free(&mut self, address: u64) -> Result<(), MachineError> {
        plain(self.ask_now(Request::Free { address })?, nothing)
    }

    /// Makes allocation `number`, counted from now, fail (0: none).
    ///
    /// # Errors
    /// [`MachineError`] when the machine is gone.
    pub fn fail_allocation(&mut self, number: u64) -> Result<(), MachineError> {
        plain(self.ask_now(Request::FailAllocation { number })?, nothing)
    }

    /// Makes a described device ([`ferrmod_kernel::hardware::description`] has the words) and shows it to the drivers; its number.
    ///
    /// # Errors
    /// [`MachineError::Refused`] when the text describes none, or the machine did not survive a driver's `probe`.
    pub fn add_device(&mut self, description: &str) -> Result<Outcome<u32>, MachineError> {
        let response = self.ask_now(Request::AddDevice { description, deadline: self.deadline() })?;
        if let Response::Refused(reason) = response {
            return Err(MachineError::Refused(reason));
        }
        outcome(response, |response| match response {
            Response::Number(number) => number.try_into().ok(),
            _ => None,
        })
    }

    /// Takes a device from its driver and away.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn remove_device(&mut self, number: u32) -> Result<Outcome<()>, MachineError> {
        let response = self.ask_now(Request::RemoveDevice { number, deadline: self.deadline() })?;
        outcome(response, nothing)
    }

    /// Changes a setting of a device, such as the temperature around a sensor.
    ///
    /// # Errors
    /// [`MachineError::Refused`] when it has no such setting or not this value, or the machine is gone.
    pub fn set_device(&mut self, number: u32, name: &str, value: i64) -> Result<(), MachineError> {
        match self.ask_now(Request::SetDevice { number, name, value })? {
            Response::Refused(reason) => Err(MachineError::Refused(reason)),
            other => plain(other, nothing),
        }
    }

    /// Lets a device say a report to its driver, as a HID device does when a key goes down.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn send_report(&mut self, number: u32, report: &[u8]) -> Result<Outcome<()>, MachineError> {
        outcome(self.ask_now(Request::SendReport { number, bytes: report, deadline: self.deadline() })?, nothing)
    }

    /// The reports that came to a device since this was asked last, oldest first: what its lights are told, for one.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn take_reports(&mut self, number: u32) -> Result<Outcome<Vec<DeviceReport>>, MachineError> {
        outcome(self.ask_now(Request::TakeReports { number, deadline: self.deadline() })?, |response| match response {
            Response::Reports(reports) => Some(reports),
            _ => None,
        })
    }

    /// The devices that were added.
    ///
    /// # Errors
    /// [`MachineError`] when the machine is gone.
    pub fn devices(&mut self) -> Result<Vec<Device>, MachineError> {
        plain(self.ask_now(Request::Devices)?, |response| match response {
            Response::Devices(devices) => Some(devices),
            _ => None,
        })
    }

    /// What there is besides modules: registrations, memory, tasks, oopses.
    ///
    /// # Errors
    /// [`MachineError`] when the machine is gone.
    pub fn report(&mut self) -> Result<Report, MachineError> {
        plain(self.ask_now(Request::Report)?, |response| match response {
            Response::Report(report) => Some(*report),
            _ => None,
        })
    }

    /// Lets the machine's tasks, timers and work run until nothing is left to do, at most for `time`. Between requests
    /// nothing runs.
    ///
    /// # Errors
    /// [`MachineError`] when the machine did not survive it.
    pub fn run(&mut self, time: Duration) -> Result<(), MachineError> {
        let request = Request::Run { nanoseconds: nanoseconds(time) };
        plain(self.ask(request, time.saturating_add(self.options.timeout))?, nothing)
    }
}
