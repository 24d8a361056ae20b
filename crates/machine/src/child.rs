//! The child: the process a kernel lives in.
//!
//! Between the fork and the first request it makes its memory, its stacks, its fault handlers and its tick, gives up every
//! right it does not need, and boots the kernel. It never returns to the code that forked it, and never runs `exit`
//! handlers: it ends by [`leave`].

mod context;
mod fault;
mod files;
mod memory;
mod process;
mod serve;
mod wire;
mod worlds;

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use process::process;

use crate::layout::PAGE;
use crate::options::Options;
use crate::seccomp;

/// The control socket has this number in every child.
pub(crate) const CONTROL: RawFd = 3;
/// The shared file, until it is mapped.
const FILE: RawFd = 4;

/// What the child is given.
pub(crate) struct Setup<'a> {
    /// Its end of the control socket.
    pub(crate) control: RawFd,
    /// The shared file.
    pub(crate) file: RawFd,
    /// The outbox.
    pub(crate) outbox: *mut u8,
    /// The process id of the supervisor.
    pub(crate) supervisor: i32,
    /// The supervisor forked from its main thread.
    pub(crate) main_thread: bool,
    /// The filter, made before the fork.
    pub(crate) filter: &'a seccomp::Program,
    /// Where the C library's code lies.
    pub(crate) library: std::ops::Range<u64>,
    /// What was asked for.
    pub(crate) options: &'a Options,
}

static IN_CHILD: AtomicBool = AtomicBool::new(false);

/// Whether this process is a machine's child.
pub(crate) fn is_child() -> bool {
    IN_CHILD.load(Ordering::Relaxed)
}

/// Ends the process at once.
pub(crate) fn leave(status: i32) -> ! {
    // SAFETY: ends the process; runs nothing.
    unsafe { libc::_exit(status) }
}

/// A step of the setup that failed, with its errno.
type Step = Result<(), (&'static str, std::io::Error)>;

fn check(what: &'static str, result: i64) -> Step {
    if result < 0 { Err((what, std::io::Error::last_os_error())) } else { Ok(()) }
}

/// Runs the child. The supervisor's other threads do not exist here, so no lock they might hold is taken.
pub(crate) fn run(setup: &Setup<'_>) -> ! {
    IN_CHILD.store(true, Ordering::Relaxed);
    let prepared = descriptors(setup).and_then(|()| detach(setup)).and_then(|()| {
        memory::map(FILE)?;
        // SAFETY: a number of our own; nothing uses it from here on.
        unsafe { libc::close(FILE) };
        Ok(())
    });
    if let Err((what, error)) = prepared {
        fail(what, &error);
    }
    context::on_boot_stack(main, std::ptr::from_ref(setup) as u64)
}

fn fail(what: &str, error: &std::io::Error) -> ! {
    wire::send(&crate::protocol::Message::BootFailed(format!("{what}: {error}").into()));
    leave(1)
}

/// The rest, on the scheduler's stack.
extern "C" fn main(setup: u64) -> ! {
    // SAFETY: `run` passes the address of a `Setup` that lives on its stack, and `run` never returns.
    let setup: &Setup<'_> = unsafe { &*(setup as *const Setup<'_>) };
    let started = process::start(setup)
        .and_then(|()| fault::install())
        .and_then(|()| memory::set_gs())
        .and_then(|()| give_up_rights())
        .and_then(|()| check("seccomp", i64::from(setup.filter.install())));
    if let Err((what, error)) = started {
        fail(what, &error);
    }
    serve::run(setup.options)
}

/// Keeps the control socket and the shared file, and closes everything else.
fn descriptors(setup: &Setup<'_>) -> Step {
    // SAFETY: descriptors are numbers; those closed belong to the supervisor's copy of this process, which goes on without us.
    unsafe {
        let control = libc::fcntl(setup.control, libc::F_DUPFD_CLOEXEC, 10);
        check("dup", control.into())?;
        let file = libc::fcntl(setup.file, libc::F_DUPFD_CLOEXEC, 10);
        check("dup", file.into())?;
        check("dup2", libc::dup2(control, CONTROL).into())?;
        check("dup2", libc::dup2(file, FILE).into())?;
        check("close_range", libc::syscall(libc::SYS_close_range, 0, 2, 0))?;
        check("close_range", libc::syscall(libc::SYS_close_range, 5, u32::MAX, 0))
    }
}

/// Makes the process one that ends with its supervisor, gets no signals of the terminal, and leaves no core file.
fn detach(setup: &Setup<'_>) -> Step {
    // SAFETY: all of these change only attributes of this process.
    unsafe {
        // The signal comes when the *thread* that forked ends. Only for the main thread that means the process; the tick and
        // the control socket notice the rest.
        if setup.main_thread {
            check("PR_SET_PDEATHSIG", libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL).into())?;
        }
        if libc::getppid() != setup.supervisor {
            leave(1);
        }
        libc::setpgid(0, 0);
        libc::prctl(libc::PR_SET_NAME, c"ferrmod-machine".as_ptr());
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        check("RLIMIT_CORE", libc::setrlimit(libc::RLIMIT_CORE, &raw const none).into())?;
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        // What the supervisor's program does on a signal is nothing that should happen here.
        for signal in 1..32 {
            if !matches!(signal, libc::SIGKILL | libc::SIGSTOP) {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        libc::sigemptyset(&raw mut set);
        check("sigprocmask", libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()).into())
    }
}

/// No privileges, now or later, whoever started us.
fn give_up_rights() -> Step {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    // capset(2): _LINUX_CAPABILITY_VERSION_3 takes two sets of three words.
    let header = Header { version: 0x2008_0522, pid: 0 };
    let none = [0_u32; 6];
    // SAFETY: both structures are as capset(2) wants them; prctl changes an attribute of this process.
    unsafe {
        check("capset", libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()))?;
        check("PR_SET_NO_NEW_PRIVS", libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())
    }
}

/// Page-aligned ranges of no bytes need no system call.
fn whole_pages(start: u64, end: u64) -> bool {
    start.is_multiple_of(PAGE) && end.is_multiple_of(PAGE) && start <= end
}

/// The kernel's end by a panic of its own code.
pub(crate) fn panicked(panic: &std::panic::PanicHookInfo<'_>) -> ! {
    process::halt(format_args!("{panic}"))
}
