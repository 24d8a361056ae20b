//! Sockets whose other end is a part of the kernel itself: what a driver gets that a program would hand a connected socket to, by the
//! socket's number among its files.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::sockets::{self, proto_ops, socket};
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::vfs::file;
use crate::{iter, ram, slab, symbols, tasks};

/// The other end.
pub(crate) trait Peer: Send + Sync {
    /// The driver has sent bytes.
    fn receive(&self, bytes: &[u8]);

    /// What is there for the driver now, at most so many bytes; `None`: nothing will come any more.
    fn send(&self, most: usize) -> Option<Vec<u8>>;

    /// The driver has ended the connection.
    fn end(&self);
}

/// A connection.
#[derive(Clone)]
struct Served {
    /// Its number, as long as whoever made it has it open.
    number: Option<i32>,
    /// The driver's `struct socket`, and the `struct file` around it.
    socket: u64,
    file: u64,
    peer: Arc<dyn Peer>,
}

static SERVED: Lock<Vec<Served>> = Lock::new(Vec::new());

/// Room for a `struct proto_ops` of any kernel.
const ROOM: u64 = 512;
/// Its functions.
static OPERATIONS: Datum = Datum::new("served_socket_operations", ROOM, Begin::With(begin));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&OPERATIONS];

fn begin(at: u64) {
    let own = |name| symbols::address(name).unwrap_or(0);
    // SAFETY: `data::place` gives `ROOM` writable bytes of zeros, more than the struct has.
    unsafe {
        proto_ops::sendmsg.set(at, own("served_sendmsg"));
        proto_ops::recvmsg.set(at, own("served_recvmsg"));
        proto_ops::shutdown.set(at, own("served_shutdown"));
    }
}

/// `SOCK_STREAM`, `AF_UNIX`
const STREAM: i32 = 1;
const FAMILY: u16 = 1;
/// `MSG_DONTWAIT`, `MSG_WAITALL`
const DO_NOT_WAIT: i32 = 0x40;
const WAIT_FOR_ALL: i32 = 0x100;
/// Bytes that one call sends at most (`MAX_RW_COUNT`), and that the other end gets at once.
const MOST: u64 = 0x7fff_f000;
const PIECE: u64 = 1 << 16;

/// Makes a stream socket that is connected to `peer`; its number.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn connect(peer: Arc<dyn Peer>) -> Result<i32, Errno> {
    let made = sockets::make(STREAM, 0);
    let lower = sockets::allocate(0, FAMILY, 0, 0, 0);
    let around = slab::allocate(file::SIZE.get(), 8, slab::ZERO, 0);
    if made == 0 || lower == 0 || around == 0 {
        if made != 0 {
            sockets::unmake(made);
        }
        slab::release(lower, 0);
        slab::release(around, 0);
        return Err(Errno::ENOMEM);
    }
    // SAFETY: three blocks of ours of their structs' sizes.
    unsafe {
        socket::ops.set(made, OPERATIONS.address());
        socket::sk.set(made, lower);
        socket::file.set(made, around);
        sockets::sock::sk_socket.set(lower, made);
        file::f_count.set(around, 1u64);
        file::private_data.set(around, made);
    }
    let mut all = SERVED.lock();
    let number = (3..).find(|number| !all.iter().any(|one| one.number == Some(*number))).unwrap_or(i32::MAX);
    all.push(Served { number: Some(number), socket: made, file: around, peer });
    Ok(number)
}

/// Whoever made a socket needs it no more: it is there as long as a driver has it.
pub(crate) fn close(number: i32) {
    let found = {
        let mut all = SERVED.lock();
        let found = all.iter_mut().find(|one| one.number == Some(number));
        found.map(|one| {
            one.number = None;
            one.file
        })
    };
    if let Some(around) = found {
        crate::vfs::open::fput(around);
    }
}

/// The last reference of a `struct file` is gone; whether it was one of these.
pub(crate) fn released(around: u64) -> bool {
    let found = {
        let mut all = SERVED.lock();
        let place = all.iter().position(|one| one.file == around);
        place.map(|place| all.remove(place))
    };
    let Some(gone) = found else { return false };
    gone.peer.end();
    // SAFETY: our own socket, which nobody uses any more.
    sockets::put(unsafe { socket::sk.get(gone.socket) });
    sockets::unmake(gone.socket);
    slab::release(around, 0);
    true
}

/// Something may have come for those who wait.
pub(crate) fn wake_all() {
    let sockets: Vec<u64> = SERVED.lock().iter().map(|one| one.socket).collect();
    for socket in sockets {
        kernel().tasks.wake_channel(socket, usize::MAX);
    }
}

fn peer(of: u64) -> Option<Arc<dyn Peer>> {
    SERVED.lock().iter().find(|one| one.socket == of).map(|one| Arc::clone(&one.peer))
}

/// `struct socket *sockfd_lookup(int fd, int *err)`, with a reference of its file. The files of programs are not here, so every other
/// number stands for none.
extern "C" fn sockfd_lookup(number: i32, error: u64) -> u64 {
    let found = SERVED.lock().iter().find(|one| one.number == Some(number)).map(|one| (one.socket, one.file));
    // SAFETY: the caller's number, and our own file.
    unsafe {
        match found {
            Some((found, around)) => {
                file::f_count.set(around, file::f_count.get::<u64>(around) + 1);
                found
            }
            None => {
                ram::put(error, Errno::EBADF.to_return());
                0
            }
        }
    }
}

/// What is answered when so many bytes were moved and no more could be, of so many.
fn moved(done: u64, size: u64) -> i32 {
    if done == 0 && size != 0 { Errno::EFAULT.to_return() } else { done as i32 }
}

/// `int sendmsg(struct socket *, struct msghdr *, size_t)`
extern "C" fn served_sendmsg(of: u64, message: u64, size: u64) -> i32 {
    let Some(peer) = peer(of) else { return Errno::EPIPE.to_return() };
    let size = size.min(MOST);
    let mut bytes = alloc::vec![0; size.min(PIECE) as usize];
    let mut done = 0;
    while done < size {
        let wanted = (size - done).min(PIECE);
        let count = iter::take(sockets::msghdr::msg_iter.at(message), bytes.as_mut_ptr() as u64, wanted);
        peer.receive(&bytes[..count as usize]);
        done += count;
        if count < wanted {
            break;
        }
    }
    kernel().tasks.wake_channel(of, usize::MAX);
    moved(done, size)
}

/// `int recvmsg(struct socket *, struct msghdr *, size_t, int flags)`
extern "C" fn served_recvmsg(of: u64, message: u64, size: u64, flags: i32) -> i32 {
    let caller = ram::caller();
    let mut done = 0;
    while done < size {
        let Some(bytes) = peer(of).and_then(|peer| peer.send((size - done) as usize)) else { break };
        if !bytes.is_empty() {
            let count = bytes.len() as u64;
            let put = iter::put(sockets::msghdr::msg_iter.at(message), bytes.as_ptr() as u64, count);
            done += put;
            if put < count {
                return moved(done, size);
            }
            continue;
        }
        if done != 0 && flags & WAIT_FOR_ALL == 0 {
            break;
        }
        if flags & DO_NOT_WAIT != 0 {
            return if done == 0 { Errno::EAGAIN.to_return() } else { done as i32 };
        }
        tasks::might_block(caller);
        kernel().tasks.block(None, Some(of));
    }
    done as i32
}

/// `int shutdown(struct socket *, int how)`: both ways in any case.
extern "C" fn served_shutdown(of: u64, _how: i32) -> i32 {
    if let Some(peer) = peer(of) {
        peer.end();
    }
    kernel().tasks.wake_channel(of, usize::MAX);
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c sockfd_lookup, c served_sendmsg, c served_recvmsg, c served_shutdown,
];
