//! What supervisor and child say to each other.
//!
//! The supervisor asks ([`Request`]); while the child works it may send any number of [`Message`]s, some of which want a
//! [`Down`] in return, and ends with [`Message::Result`]. A message is one packet; one that does not fit lies in shared memory
//! and the packet says where.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::value::{Argument, Called, Device, DeviceReport, LogLine, ModuleStatus, Report};

/// The largest message that travels in the packet itself, in bytes.
pub(crate) const INLINE: usize = 16 << 10;
/// Room for any packet.
pub(crate) const PACKET: usize = INLINE + 64;
/// First byte of a packet that carries its message.
pub(crate) const CARRIED: u8 = 0;
/// First byte of a packet that carries the place of its message: offset and length, 8 bytes each, little endian.
pub(crate) const PLACED: u8 = 1;
/// The most operations in one [`Message::Commit`].
pub(crate) const OPERATIONS: usize = 512;

/// To the child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Down<'a> {
    /// Do this.
    #[serde(borrow)]
    Request(Request<'a>),
    /// The commit is done.
    Committed,
    /// What the name stands for; `None` when nobody knows.
    Fetched(Option<Vec<Module<'a>>>),
}

/// A module file and its parameters.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Module<'a> {
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: &'a [u8],
    #[serde(with = "serde_bytes")]
    pub(crate) arguments: &'a [u8],
}

/// What is to be done. Deadlines are nanoseconds from the moment the child starts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request<'a> {
    Load {
        #[serde(borrow)]
        module: Module<'a>,
        flags: u32,
        deadline: u64,
    },
    Unload {
        #[serde(with = "serde_bytes")]
        name: &'a [u8],
        force: bool,
        deadline: u64,
    },
    Modules,
    Dmesg,
    ReadFile {
        path: &'a str,
        deadline: u64,
    },
    WriteFile {
        path: &'a str,
        #[serde(with = "serde_bytes")]
        bytes: &'a [u8],
        deadline: u64,
    },
    ListDirectory {
        path: &'a str,
        deadline: u64,
    },
    Mode {
        path: &'a str,
        deadline: u64,
    },
    Open {
        path: &'a str,
        flags: u32,
        deadline: u64,
    },
    File {
        number: u32,
        action: Action,
        deadline: u64,
    },
    Mount {
        kind: &'a str,
        source: &'a str,
        target: &'a str,
        deadline: u64,
    },
    Unmount {
        target: &'a str,
        deadline: u64,
    },
    Symbol {
        #[serde(with = "serde_bytes")]
        name: &'a [u8],
    },
    Call {
        address: u64,
        arguments: Vec<Argument>,
        deadline: u64,
    },
    Peek {
        address: u64,
        length: u64,
    },
    Poke {
        address: u64,
        #[serde(with = "serde_bytes")]
        bytes: &'a [u8],
    },
    Allocate {
        size: u64,
        align: u64,
    },
    Free {
        address: u64,
    },
    FailAllocation {
        number: u64,
    },
    AddDevice {
        description: &'a str,
        deadline: u64,
    },
    RemoveDevice {
        number: u32,
        deadline: u64,
    },
    SetDevice {
        number: u32,
        name: &'a str,
        value: i64,
    },
    SendReport {
        number: u32,
        #[serde(with = "serde_bytes")]
        bytes: &'a [u8],
        deadline: u64,
    },
    TakeReports {
        number: u32,
        deadline: u64,
    },
    Devices,
    FailedInits,
    Report,
    Run {
        nanoseconds: u64,
    },
    Shutdown,
}

/// What is done with an open file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Action {
    Read { length: u64 },
    Write(#[serde(with = "serde_bytes")] Vec<u8>),
    Seek { offset: i64, whence: u32 },
    Ioctl { command: u32, argument: Argument },
    Poll { events: u16, nanoseconds: u64 },
    Close,
}

/// From the child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message<'a> {
    /// The kernel is booted.
    Ready,
    /// It cannot be booted.
    BootFailed(Cow<'a, str>),
    /// A record of the kernel log.
    Log(LogLine),
    /// Change text or rodata; wants [`Down::Committed`].
    Commit(Vec<Operation>),
    /// As `Commit` with nothing to copy; wants no answer.
    Clear(Vec<Operation>),
    /// What does this name stand for? Wants [`Down::Fetched`].
    Fetch(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The request is done.
    Result(Response),
    /// The kernel has stopped, for this reason.
    Halted(Cow<'a, str>),
}

/// A change of text or rodata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Operation {
    /// `length` bytes at `offset` of the outbox go to `address`.
    Copy { address: u64, offset: u64, length: u64 },
    /// Nothing is at `address` any more.
    Clear { address: u64, length: u64 },
}

/// How a request ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Response {
    Done,
    Errno(i32),
    Oopsed,
    Hung,
    TimedOut,
    Modules(Vec<ModuleStatus>),
    Log(Vec<LogLine>),
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    Names(Vec<String>),
    Number(u64),
    Nothing,
    Called(Called),
    Report(Box<Report>),
    Devices(Vec<Device>),
    Reports(Vec<DeviceReport>),
    Refused(String),
}

/// The packet that says where a message is.
pub(crate) fn placed(offset: u64, length: u64) -> [u8; 17] {
    let mut packet = [0; 17];
    packet[0] = PLACED;
    packet[1..9].copy_from_slice(&offset.to_le_bytes());
    packet[9..].copy_from_slice(&length.to_le_bytes());
    packet
}

/// Offset and length of a message that a packet only points to.
pub(crate) fn place_of(packet: &[u8]) -> Option<(u64, u64)> {
    let rest: &[u8; 16] = packet.strip_prefix(&[PLACED])?.try_into().ok()?;
    let (offset, length) = rest.split_at(8);
    Some((u64::from_le_bytes(offset.try_into().ok()?), u64::from_le_bytes(length.try_into().ok()?)))
}
