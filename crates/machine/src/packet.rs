//! Packets over the control socket: one `send`, one `recv`, nothing in between.

use std::io;
use std::os::fd::RawFd;

/// Sends one packet. With `wait` false, a full socket is `WouldBlock`. Async-signal-safe.
pub(crate) fn send(socket: RawFd, packet: &[u8], wait: bool) -> io::Result<()> {
    let flags = libc::MSG_NOSIGNAL | if wait { 0 } else { libc::MSG_DONTWAIT };
    loop {
        // SAFETY: `packet` is readable for its length.
        let sent = unsafe { libc::send(socket, packet.as_ptr().cast(), packet.len(), flags) };
        if sent == packet.len() as isize {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if sent >= 0 || error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Receives one packet into `into`; its length, 0 when the other side is gone. A packet that does not fit is `InvalidData`.
pub(crate) fn receive(socket: RawFd, into: &mut [u8]) -> io::Result<usize> {
    loop {
        // SAFETY: `into` is writable for its length. With MSG_TRUNC the result may be more than that, but nothing is written there.
        let received = unsafe { libc::recv(socket, into.as_mut_ptr().cast(), into.len(), libc::MSG_TRUNC) };
        match usize::try_from(received) {
            Ok(length) if length <= into.len() => return Ok(length),
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Waits until there is something to receive, or the other side is gone, or `nanoseconds` have passed: true unless the last.
/// A signal ends the wait early (false).
pub(crate) fn ready(descriptor: RawFd, nanoseconds: u64) -> bool {
    let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    let timeout = libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000).min(i32::MAX as u64) as i64,
        tv_nsec: (nanoseconds % 1_000_000_000) as i64,
    };
    // SAFETY: one pollfd and one timespec, both alive during the call; no signal mask.
    unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, std::ptr::null()) > 0 }
}
