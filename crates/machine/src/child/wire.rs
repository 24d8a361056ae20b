//! The child's end of the control socket.

use super::{CONTROL, leave, process};
use crate::layout::{INBOX, INBOX_SIZE, OUTBOX_SIZE};
use crate::packet;
use crate::protocol::{CARRIED, Down, Message, place_of, placed};

/// Messages up to this size are made on the stack, without an allocation, so that a fault handler can send them.
const SMALL: usize = 4096;

/// Sends a message. Without a supervisor there is nothing left to do: the process ends.
pub(super) fn send(message: &Message<'_>) {
    let mut packet = [CARRIED; SMALL];
    let sent = match postcard::to_slice(message, &mut packet[1..]) {
        Ok(body) => {
            let length = body.len() + 1;
            packet::send(CONTROL, &packet[..length], true)
        }
        Err(_) => send_placed(message),
    };
    if sent.is_err() {
        leave(0);
    }
}

/// Puts a message into the outbox, behind what is staged for a commit.
fn send_placed(message: &Message<'_>) -> std::io::Result<()> {
    let Some(process) = process() else { leave(1) };
    let start = process.staged();
    // SAFETY: `start` is inside the outbox, whose rest nobody else uses in this process; the supervisor reads it only after
    // the packet below.
    let room =
        unsafe { std::slice::from_raw_parts_mut((process.outbox + start) as *mut u8, (OUTBOX_SIZE - start) as usize) };
    match postcard::to_slice(message, room) {
        Ok(body) => packet::send(CONTROL, &placed(start, body.len() as u64), true),
        Err(_) => {
            let reason = Message::Halted("an answer does not fit into the outbox".into());
            send(&reason);
            leave(1)
        }
    }
}

/// What the supervisor says next. Large messages are not copied: they stay in the inbox until the next one.
pub(super) fn receive(buffer: &mut [u8]) -> Down<'_> {
    let length = match packet::receive(CONTROL, buffer) {
        Ok(0) | Err(_) => leave(0),
        Ok(length) => length,
    };
    let packet = &buffer[..length];
    let body: &[u8] = match place_of(packet) {
        None => &packet[1..],
        Some((offset, length)) if offset <= INBOX_SIZE && length <= INBOX_SIZE - offset => {
            // SAFETY: inside the inbox, which is mapped readable for the life of the process; the supervisor does not change
            // it before this message is answered.
            unsafe { std::slice::from_raw_parts((INBOX.start + offset) as *const u8, length as usize) }
        }
        Some(_) => leave(1),
    };
    match postcard::from_bytes(body) {
        Ok(down) => down,
        Err(_) => leave(1),
    }
}

/// Whether the supervisor is still there.
pub(super) fn connected() -> bool {
    let mut byte = [0_u8];
    // SAFETY: one writable byte; nothing is taken out of the socket.
    let peeked = unsafe { libc::recv(CONTROL, byte.as_mut_ptr().cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
    peeked != 0
}
