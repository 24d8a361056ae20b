//! USB/IP: requests to a device and its answers as a stream of bytes (Linux, `Documentation/usb/usbip_protocol.rst`, version 1.1.1).
//!
//! Only what comes after a device was imported: `USBIP_CMD_SUBMIT` and `USBIP_CMD_UNLINK`, and what is answered to them. All numbers are
//! big endian. A stream that breaks the rules is ended.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::{Setup, Stall, Usb};

/// Commands, and the answers to them.
const SUBMIT: u32 = 1;
const UNLINK: u32 = 2;
const SUBMITTED: u32 = 3;
const UNLINKED: u32 = 4;

/// Bytes of a header; where its parts are.
const HEADER: usize = 48;
const SEQUENCE: usize = 4;
const DIRECTION: usize = 12;
const ENDPOINT: usize = 16;
const UNLINK_SEQUENCE: usize = 20;
const LENGTH: usize = 24;
const PACKETS: usize = 32;
const SETUP: usize = 40;
/// `USBIP_DIR_IN`
const IN: u32 = 1;
/// Bytes of the description of one isochronous packet, and how many of those a transfer has at most.
const PACKET: usize = 16;
const MOST_PACKETS: u32 = 1024;
/// What `number_of_packets` says of a transfer that is not isochronous: this, or 0.
const NO_PACKETS: u32 = u32::MAX;
/// Bytes of a transfer at most.
const LARGEST: u32 = 16 << 20;

/// `-EPIPE`, `-ECONNRESET`
const STALLED: i32 = -32;
const TAKEN_BACK: i32 = -104;

/// A transfer that waits for the device.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    sequence: u32,
    /// The address of the endpoint, if it is one that may have something to give some day.
    address: Option<u8>,
    most: usize,
}

/// The device's end of a connection.
#[derive(Debug)]
pub struct Connection {
    device: Usb,
    received: Vec<u8>,
    answers: VecDeque<u8>,
    waiting: Vec<Waiting>,
    ended: bool,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    // A header is longer than that.
    bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_be_bytes)
}

impl Connection {
    /// The connection to a device.
    pub fn new(device: Usb) -> Self {
        Self { device, received: Vec::new(), answers: VecDeque::new(), waiting: Vec::new(), ended: false }
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.ended = true;
        self.received.clear();
        self.waiting.clear();
    }

    /// Whether it has ended.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// The host has sent bytes.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.ended {
            return;
        }
        self.received.extend_from_slice(bytes);
        while let Some(length) = self.next_length() {
            let message: Vec<u8> = self.received.drain(..length).collect();
            self.message(&message);
        }
    }

    /// The answers so far, at most `most` bytes; `None` when no more will come.
    pub fn answers(&mut self, most: usize) -> Option<Vec<u8>> {
        if self.answers.is_empty() && self.ended {
            return None;
        }
        let count = most.min(self.answers.len());
        Some(self.answers.drain(..count).collect())
    }

    /// Lets an IN endpoint give these bytes as one transfer.
    pub fn feed(&mut self, address: u8, transfer: &[u8]) {
        self.device.feed(address, transfer);
        self.look_again();
    }

    /// The device.
    pub fn device(&self) -> &Usb {
        &self.device
    }

    /// The last bytes that an OUT endpoint took since this was asked last.
    pub fn taken(&mut self, address: u8) -> Vec<u8> {
        self.device.taken(address)
    }

    /// The length of the message that has arrived, when it is whole.
    fn next_length(&mut self) -> Option<usize> {
        let header = self.received.get(..HEADER)?;
        let (command, length, packets) = (word(header, 0), word(header, LENGTH), word(header, PACKETS));
        let data = match command {
            UNLINK => 0,
            SUBMIT if length <= LARGEST && (packets <= MOST_PACKETS || packets == NO_PACKETS) => {
                let sent = if word(header, DIRECTION) == IN { 0 } else { length as usize };
                sent + if packets == NO_PACKETS { 0 } else { packets as usize * PACKET }
            }
            _ => {
                self.end();
                return None;
            }
        };
        Some(HEADER + data).filter(|&whole| self.received.len() >= whole)
    }

    fn message(&mut self, message: &[u8]) {
        let sequence = word(message, SEQUENCE);
        if word(message, 0) == UNLINK {
            let wanted = word(message, UNLINK_SEQUENCE);
            let before = self.waiting.len();
            self.waiting.retain(|one| one.sequence != wanted);
            let status = if self.waiting.len() < before { TAKEN_BACK } else { 0 };
            self.answer(UNLINKED, sequence, status, 0, &[]);
            return;
        }
        let is_in = word(message, DIRECTION) == IN;
        let length = word(message, LENGTH) as usize;
        let packets = word(message, PACKETS);
        let number = word(message, ENDPOINT) as u8 & 0x0f;
        let data = if is_in { &[][..] } else { message.get(HEADER..HEADER + length).unwrap_or_default() };
        if !matches!(packets, 0 | NO_PACKETS) {
            self.waiting.push(Waiting { sequence, address: None, most: 0 });
        } else if number == 0 {
            let setup = message.get(SETUP..SETUP + 8).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
            let result = self.device.control(Setup::from(setup.unwrap_or_default()), data);
            self.submitted(
                sequence,
                is_in,
                length,
                result.map(|mut sent| {
                    sent.truncate(length);
                    sent
                }),
            );
        } else if is_in {
            self.waiting.push(Waiting { sequence, address: Some(number | 0x80), most: length });
            self.look_again();
        } else {
            let result = self.device.take(number, data).map(|()| Vec::new());
            self.submitted(sequence, is_in, length, result);
        }
    }

    /// Gives those that wait what their endpoints have by now, in the order they came.
    fn look_again(&mut self) {
        for one in core::mem::take(&mut self.waiting) {
            let given = one.address.map_or(Ok(None), |address| self.device.give(address, one.most));
            match given.transpose() {
                None => self.waiting.push(one),
                Some(result) => self.submitted(one.sequence, true, one.most, result),
            }
        }
    }

    fn submitted(&mut self, sequence: u32, is_in: bool, length: usize, result: Result<Vec<u8>, Stall>) {
        match result {
            Ok(sent) if is_in => self.answer(SUBMITTED, sequence, 0, sent.len() as u32, &sent),
            Ok(_) => self.answer(SUBMITTED, sequence, 0, length as u32, &[]),
            Err(Stall) => self.answer(SUBMITTED, sequence, STALLED, 0, &[]),
        }
    }

    fn answer(&mut self, command: u32, sequence: u32, status: i32, length: u32, data: &[u8]) {
        // Device, direction and endpoint are 0 in an answer; behind the length: first frame, packets, errors, and eight bytes of nothing.
        let numbers = [command, sequence, 0, 0, 0, status as u32, length, 0, 0, 0, 0, 0];
        self.answers.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        self.answers.extend(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::Description;

    fn connection(text: &str) -> Connection {
        match text.parse() {
            Ok(Description::Usb(device)) => Connection::new(Usb::new(&device)),
            other => panic!("{text}: {other:?}"),
        }
    }

    fn message(command: u32, sequence: u32, is_in: bool, endpoint: u32, length: u32, setup: [u8; 8]) -> Vec<u8> {
        let numbers = [command, sequence, 1, is_in.into(), endpoint, 0, length, 0, 0, 0];
        let mut out: Vec<u8> = numbers.iter().flat_map(|number: &u32| number.to_be_bytes()).collect();
        out.extend(setup);
        out
    }

    fn unlink(sequence: u32, wanted: u32) -> Vec<u8> {
        let mut out = message(UNLINK, sequence, false, 0, 0, [0; 8]);
        out[UNLINK_SEQUENCE..UNLINK_SEQUENCE + 4].copy_from_slice(&wanted.to_be_bytes());
        out
    }

    /// Command, sequence, status and data of each answer.
    fn answers(connection: &mut Connection) -> Vec<(u32, u32, i32, Vec<u8>)> {
        let mut rest = connection.answers(usize::MAX).unwrap();
        let mut out = Vec::new();
        while !rest.is_empty() {
            let is_in_data = word(&rest, 0) == SUBMITTED && rest.len() > HEADER && word(&rest[HEADER..], 0) > UNLINKED;
            let length = if is_in_data { word(&rest, LENGTH) as usize } else { 0 };
            let after = rest.split_off(HEADER + length);
            out.push((word(&rest, 0), word(&rest, SEQUENCE), word(&rest, 20) as i32, rest[HEADER..].to_vec()));
            rest = after;
        }
        out
    }

    #[test]
    fn requests_are_answered_or_stalled() {
        let mut host = connection("usb:046d:c077,answer=c0900001:aabbcc,product=Mouse");
        for (setup, expected) in [
            // The device descriptor: as much as is asked for.
            ([0x80, 6, 0, 1, 0, 0, 8, 0], Ok(&[18, 1, 0, 2, 0, 0, 0, 64][..])),
            // The second string, UTF-16.
            ([0x80, 6, 2, 3, 9, 4, 255, 0], Ok(b"\x0c\x03M\0o\0u\0s\0e\0")),
            ([0x80, 6, 0, 3, 0, 0, 255, 0], Ok(&[4, 3, 9, 4])),
            ([0x80, 6, 7, 3, 9, 4, 255, 0], Err(STALLED)),
            // No configuration yet, then one, and none that is not there.
            ([0x80, 8, 0, 0, 0, 0, 1, 0], Ok(&[0])),
            ([0, 9, 2, 0, 0, 0, 0, 0], Err(STALLED)),
            ([0, 9, 1, 0, 0, 0, 0, 0], Ok(&[])),
            ([0x80, 8, 0, 0, 0, 0, 1, 0], Ok(&[1])),
            ([1, 11, 0, 0, 0, 0, 0, 0], Ok(&[])),
            ([1, 11, 1, 0, 0, 0, 0, 0], Err(STALLED)),
            ([0x82, 0, 0, 0, 0x81, 0, 2, 0], Ok(&[0, 0])),
            ([2, 3, 0, 0, 0x81, 0, 0, 0], Ok(&[])),
            ([0x82, 0, 0, 0, 0x81, 0, 2, 0], Ok(&[1, 0])),
            // One that was described, with its value and with another.
            ([0xc0, 0x90, 1, 0, 0, 0, 2, 0], Ok(&[0xaa, 0xbb])),
            ([0xc0, 0x90, 2, 0, 0, 0, 2, 0], Err(STALLED)),
        ] {
            let is_in = setup[0] & 0x80 != 0;
            host.receive(&message(SUBMIT, 7, is_in, 0, setup[6].into(), setup));
            let (status, data) = expected.map_or_else(|status| (status, &[][..]), |data| (0, data));
            let all = host.answers(usize::MAX).unwrap();
            assert_eq!((word(&all, 0), word(&all, SEQUENCE)), (SUBMITTED, 7), "{setup:x?}");
            assert_eq!((word(&all, 20) as i32, &all[HEADER..]), (status, data), "{setup:x?}");
        }
    }

    #[test]
    fn an_in_endpoint_gives_what_it_is_fed_and_waits_else() {
        let mut host = connection("usb:1:2,in81=ff000001ff000002+ff000003");
        let read = |sequence, length| message(SUBMIT, sequence, true, 1, length, [0; 8]);
        // In parts, as a stream brings them.
        for part in [read(1, 4), read(2, 64), read(3, 64), read(4, 64), read(5, 64)].concat().chunks(7) {
            host.receive(part);
        }
        let data = |number: u8| [0xff, 0, 0, number].to_vec();
        let submitted = |sequence, number| (SUBMITTED, sequence, 0, data(number));
        assert_eq!(answers(&mut host), [submitted(1, 1), submitted(2, 2), submitted(3, 3)]);
        host.receive(&unlink(6, 4));
        host.receive(&unlink(7, 1));
        assert_eq!(answers(&mut host), [(UNLINKED, 6, TAKEN_BACK, Vec::new()), (UNLINKED, 7, 0, Vec::new())]);
        host.feed(0x81, &data(9));
        assert_eq!(answers(&mut host), [submitted(5, 9)]);
    }

    #[test]
    fn an_out_endpoint_takes_everything() {
        let mut host = connection("usb:1:2");
        host.receive(&[message(SUBMIT, 1, false, 2, 3, [0; 8]), b"abc".to_vec()].concat());
        host.receive(&[message(SUBMIT, 2, false, 2, 2, [0; 8]), b"de".to_vec()].concat());
        assert_eq!(answers(&mut host), [(SUBMITTED, 1, 0, Vec::new()), (SUBMITTED, 2, 0, Vec::new())]);
        assert_eq!((host.taken(2), host.taken(2)), (b"abcde".to_vec(), Vec::new()));
    }

    #[test]
    fn a_stream_that_breaks_the_rules_is_ended() {
        for broken in [
            message(9, 1, false, 0, 0, [0; 8]),
            message(SUBMIT, 1, true, 1, LARGEST + 1, [0; 8]),
            [message(SUBMIT, 1, true, 1, 0, [0; 8]), alloc::vec![0xfe; HEADER]].concat(),
        ] {
            let mut host = connection("usb:1:2");
            host.receive(&broken);
            assert!(host.is_ended());
            assert_eq!(host.answers(64), None);
            host.receive(&message(SUBMIT, 2, true, 0, 8, [0x80, 6, 0, 1, 0, 0, 8, 0]));
            assert_eq!(host.answers(64), None);
        }
    }
}
