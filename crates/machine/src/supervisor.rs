//! The supervisor's side: making a child, talking to it, and ending it.
//!
//! Everything that comes from the child is hostile until checked, and every wait ends.

use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::child;
use crate::options::{BootError, MachineError, Options};
use crate::packet;
use crate::protocol::{CARRIED, Down, INLINE, Message, Module, Operation, PACKET, Request, Response, place_of, placed};
use crate::seccomp;
use crate::shared::Shared;
use crate::value::LogLine;

/// Takes every record of the kernel log, as it is written.
pub type LogSink = Box<dyn FnMut(&LogLine) + Send>;

/// Says which modules a name or alias stands for, dependencies first: for `request_module` inside the machine. `None` when
/// nobody knows it.
pub type Fetch = Box<dyn FnMut(&str) -> Option<Vec<Fetched>> + Send>;

/// A module file (decompressed), and the parameters to load it with.
pub type Fetched = (Vec<u8>, Vec<u8>);

/// No wait is longer, whatever was asked for.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// From the making of a machine's memory to the moment its child has it, no other child may be forked.
static FORKING: Mutex<()> = Mutex::new(());

/// A kernel in a process of its own. Dropping it ends the process.
pub struct Machine {
    pub(crate) options: Options,
    process: Child,
    socket: OwnedFd,
    shared: Shared,
    log: LogSink,
    fetch: Fetch,
    /// The inbox is used from here on: before it lie files of loads that have not ended.
    kept: u64,
    /// End of the request that is being served, in the inbox.
    used: u64,
    packet: Vec<u8>,
    dead: Option<MachineError>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("pid", &self.process.pid).field("dead", &self.dead).finish_non_exhaustive()
    }
}

/// A child process; killed and reaped when dropped.
struct Child {
    pid: i32,
    handle: OwnedFd,
    reaped: bool,
}

impl Child {
    fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: the result is a new descriptor or -1.
        let handle = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if handle < 0 {
            let error = io::Error::last_os_error();
            // SAFETY: our own child, not yet reaped, so the number is still its.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, std::ptr::null_mut(), 0);
            }
            return Err(error);
        }
        // SAFETY: a new descriptor that nobody else owns.
        Ok(Self { pid, handle: unsafe { OwnedFd::from_raw_fd(handle as i32) }, reaped: false })
    }

    /// Waits for the end for at most `patience`, then makes it; says how the process ended.
    fn end(&mut self, patience: Duration) -> String {
        if self.reaped {
            return "ended before".into();
        }
        self.reaped = true;
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if packet::ready(self.handle.as_raw_fd(), left.as_nanos() as u64) {
                break;
            }
            if left.is_zero() {
                // SAFETY: acts on the process the handle stands for, whatever its number means by now.
                unsafe {
                    libc::syscall(libc::SYS_pidfd_send_signal, self.handle.as_raw_fd(), libc::SIGKILL, 0, 0);
                }
                break;
            }
        }
        let mut status = 0;
        // SAFETY: our own child; a SIGKILL is on its way if it has not ended, so this does not wait for long.
        while unsafe { libc::waitpid(self.pid, &raw mut status, 0) } < 0 {
            if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                // Somebody else has reaped it.
                return "the process is gone".into();
            }
        }
        if libc::WIFSIGNALED(status) {
            format!("killed by signal {}", libc::WTERMSIG(status))
        } else {
            format!("the process exited with status {}", libc::WEXITSTATUS(status))
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// In a machine's child a panic is the kernel's end, and the supervisor gets its text. Elsewhere nothing changes.
fn hook_panics() {
    static HOOKED: Once = Once::new();
    if std::thread::panicking() {
        // The hook cannot be changed now.
        return;
    }
    HOOKED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if child::is_child() {
                child::panicked(panic);
            }
            before(panic);
        }));
    });
}

/// Where the code of the C library lies, the allocator's with it.
fn library() -> Range<u64> {
    unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, found: *mut c_void) -> i32 {
        // SAFETY: `dl_iterate_phdr` passes one valid object at a time, and our own pointer.
        let (info, found) = unsafe { (&*info, &mut *found.cast::<Range<u64>>()) };
        // SAFETY: the object has this many program headers.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
            let start = info.dlpi_addr + header.p_vaddr;
            let range = start..start + header.p_memsz;
            if range.contains(&(libc::malloc as *const () as u64)) {
                *found = range;
                return 1;
            }
        }
        0
    }
    static LIBRARY: OnceLock<Range<u64>> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            let mut found: Range<u64> = 0..0;
            // SAFETY: `look` is given the address of `found`, which outlives the call.
            unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut found).cast()) };
            found
        })
        .clone()
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors, which nobody else owns.
    unsafe {
        match libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()) {
            0 => Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Machine {
    /// Boots a machine.
    ///
    /// # Errors
    /// [`BootError`] when the host does not give what a machine needs, or the kernel does not boot.
    pub fn boot(options: Options, log: LogSink, fetch: Fetch) -> Result<Self, BootError> {
        let host = |what| move |error| BootError::Host { what, error };
        hook_panics();
        let filter = seccomp::program().map_err(BootError::Kernel)?;
        let library = library();
        let (ours, theirs) = pair().map_err(host("control socket"))?;
        let forking = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
        let (shared, file) = Shared::new().map_err(host("shared memory"))?;
        // SAFETY: ask for numbers.
        let (supervisor, thread) = unsafe { (libc::getpid(), libc::gettid()) };
        let setup = child::Setup {
            control: theirs.as_raw_fd(),
            file: file.as_raw_fd(),
            outbox: shared.outbox(),
            supervisor,
            main_thread: supervisor == thread,
            filter,
            library,
            options: &options,
        };
        // SAFETY: the child runs `child::run` alone, which never returns and takes no lock that another thread of this process
        // may have held; the C library makes its allocator usable in the child of a process with threads.
        let pid = unsafe { libc::fork() };
        match pid {
            0 => child::run(&setup),
            ..0 => return Err(host("fork")(io::Error::last_os_error())),
            _ => (),
        }
        let process = Child::open(pid).map_err(host("pidfd_open"))?;
        shared.forked().map_err(host("shared memory"))?;
        drop(forking);
        drop((theirs, file));
        let mut machine = Self {
            options,
            process,
            socket: ours,
            shared,
            log,
            fetch,
            kept: 0,
            used: 0,
            packet: vec![0; PACKET],
            dead: None,
        };
        machine.boots()?;
        Ok(machine)
    }

    fn boots(&mut self) -> Result<(), BootError> {
        let given = self.options.timeout.saturating_add(self.options.grace).min(LONGEST);
        let mut until = Instant::now() + given;
        loop {
            match self.hear(&mut until, given)? {
                Some(Message::Ready) => return Ok(()),
                Some(Message::BootFailed(reason)) => return Err(BootError::Kernel(reason.into_owned())),
                Some(_) => return Err(self.broken("not ready").into()),
                None => (),
            }
        }
    }

    /// Sends a request and serves the child until it is done.
    pub(crate) fn ask(&mut self, request: Request<'_>, deadline: Duration) -> Result<Response, MachineError> {
        if let Some(dead) = &self.dead {
            return Err(dead.clone());
        }
        let given = deadline.saturating_add(self.options.grace).min(LONGEST);
        let mut until = Instant::now() + given;
        let loads = matches!(request, Request::Load { .. });
        self.used = self.kept;
        self.used += self.say(&Down::Request(request))?;
        loop {
            match self.hear(&mut until, given)? {
                Some(Message::Result(response)) => {
                    if loads && matches!(response, Response::TimedOut | Response::Hung) {
                        self.kept = self.used;
                    }
                    return Ok(response);
                }
                Some(_) => return Err(self.broken("an unexpected message")),
                None => (),
            }
        }
    }

    /// Sends; bytes of the inbox used.
    fn say(&mut self, down: &Down<'_>) -> Result<u64, MachineError> {
        let mut packet = vec![CARRIED; INLINE];
        let (length, used) = match postcard::to_slice(down, &mut packet[1..]) {
            Ok(body) => (body.len() + 1, 0),
            Err(_) => {
                let inbox = self.shared.inbox(self.used);
                let room = inbox.len();
                match postcard::to_slice(down, inbox) {
                    Ok(body) => {
                        let length = body.len() as u64;
                        let place = placed(self.used, length);
                        packet[..place.len()].copy_from_slice(&place);
                        (place.len(), length)
                    }
                    Err(_) => return Err(MachineError::TooLarge { room }),
                }
            }
        };
        // A child that reads what it is sent has room for it.
        match packet::send(self.socket.as_raw_fd(), &packet[..length], false) {
            Ok(()) => Ok(used),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(self.broken("it does not listen")),
            Err(_) => Err(self.ended(None)),
        }
    }

    /// Receives one message and does what it asks for; `Some` when it is for the caller.
    fn hear(&mut self, until: &mut Instant, given: Duration) -> Result<Option<Message<'static>>, MachineError> {
        let message = self.next(*until, given)?;
        let start = Instant::now();
        match message {
            Message::Log(line) => (self.log)(&line),
            Message::Commit(operations) => {
                self.change(&operations)?;
                self.say(&Down::Committed)?;
            }
            Message::Clear(operations) => self.change(&operations)?,
            Message::Fetch(name) => self.fetched(&name)?,
            Message::Halted(reason) => return Err(self.ended(Some(reason.into_owned()))),
            other => return Ok(Some(other)),
        }
        // The child does not pay for what the caller's own functions take; only for the time every message costs, so that
        // messages without end come to an end.
        *until += start.elapsed().saturating_sub(Duration::from_millis(1));
        Ok(None)
    }

    fn next(&mut self, until: Instant, given: Duration) -> Result<Message<'static>, MachineError> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.process.end(Duration::ZERO);
                return Err(self.bury(MachineError::Hung { after: given }));
            }
            if packet::ready(self.socket.as_raw_fd(), left.as_nanos() as u64) {
                break;
            }
        }
        let length = match packet::receive(self.socket.as_raw_fd(), &mut self.packet) {
            Ok(0) => return Err(self.ended(None)),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(self.broken("a packet too long")),
            Err(_) => return Err(self.ended(None)),
        };
        let packet = &self.packet[..length];
        let message = match place_of(packet) {
            None if packet[0] == CARRIED => postcard::from_bytes(&packet[1..]).ok(),
            None => None,
            Some((offset, length)) => {
                self.shared.read(offset, length).and_then(|body| postcard::from_bytes::<Message<'static>>(&body).ok())
            }
        };
        message.ok_or_else(|| self.broken("a message that cannot be read"))
    }

    fn change(&mut self, operations: &[Operation]) -> Result<(), MachineError> {
        for operation in operations {
            let allowed = match *operation {
                Operation::Copy { address, offset, length } => self.shared.copy(address, offset, length),
                Operation::Clear { address, length } => self.shared.clear(address, length),
            };
            if !allowed {
                return Err(self.broken("a change outside of module memory"));
            }
        }
        Ok(())
    }

    fn fetched(&mut self, name: &[u8]) -> Result<(), MachineError> {
        let found = std::str::from_utf8(name).ok().and_then(|name| (self.fetch)(name));
        let modules =
            found.as_ref().map(|found| found.iter().map(|(bytes, arguments)| Module { bytes, arguments }).collect());
        match self.say(&Down::Fetched(modules)) {
            // Too large to be handed over is as good as not there.
            Err(MachineError::TooLarge { .. }) => self.say(&Down::Fetched(None)).map(drop),
            other => other.map(drop),
        }
    }

    /// The child has ended, or is about to.
    fn ended(&mut self, reason: Option<String>) -> MachineError {
        let status = self.process.end(Duration::from_secs(1));
        self.bury(MachineError::Died { reason: reason.unwrap_or(status) })
    }

    /// The child does what ours never does.
    fn broken(&mut self, what: &'static str) -> MachineError {
        self.process.end(Duration::ZERO);
        self.bury(MachineError::Protocol { what })
    }

    fn bury(&mut self, error: MachineError) -> MachineError {
        self.dead = Some(error.clone());
        error
    }

    /// The process id of the child.
    pub fn pid(&self) -> u32 {
        self.process.pid as u32
    }

    /// Why the machine is no more; `None` while it lives.
    pub fn dead(&self) -> Option<&MachineError> {
        self.dead.as_ref()
    }

    /// Ends the machine; the same as dropping it.
    pub fn shutdown(mut self) {
        self.process.end(Duration::ZERO);
    }
}
