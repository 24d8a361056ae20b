//! Described HID devices: what a program does that serves one through `/dev/uhid` (Linux, `Documentation/hid/uhid.rst`).
//!
//! So the device is one of an unmodified transport, and no struct of the HID core is written here. A task reads what the transport
//! tells the program: output and feature reports are kept for whoever asks for them, and a driver that asks for a report gets what was
//! set last, or an error.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use bstr::ByteSlice;
use ferrmod_kernel::hardware::description::HidDevice;
use ferrmod_kernel::hardware::{DeviceId, DeviceReport};
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, TaskId, kernel};

use super::{bus, described, show};
use crate::time;
use crate::vfs::{self, Opened};

/// The transport's file, and the alias by which its module says that it serves it.
const FILE: &str = "/dev/uhid";
const ALIAS: &[u8] = b"devname:uhid";
/// `O_RDWR | O_NONBLOCK`
const FLAGS: u32 = 0o2 | 0o4000;
/// `UHID_CREATE2`, and the bytes of its names (`include/uapi/linux/uhid.h`).
const CREATE: u32 = 11;
const NAME: usize = 128;
const PHYS: usize = 64;
const UNIQ: usize = 64;
/// Further events of it.
const DESTROY: u32 = 1;
const OUTPUT: u32 = 6;
const GET_REPORT: u32 = 9;
const GET_REPORT_REPLY: u32 = 10;
const INPUT: u32 = 12;
const SET_REPORT: u32 = 13;
const SET_REPORT_REPLY: u32 = 14;
/// `UHID_DATA_MAX`; more than a whole event has (`struct uhid_event`).
const DATA: usize = 4096;
const EVENT: u64 = 8192;
/// `enum uhid_report_type`
const KINDS: [&str; 3] = ["feature", "output", "input"];
/// So many reports are kept.
const KEPT: usize = 256;
/// The transport makes the device in a task of its own; so long that is waited for, in milliseconds.
const PATIENCE: u32 = 2000;

/// A device's file, and what its task shares with those who ask.
struct Link {
    file: Opened,
    /// The task has to end.
    ends: AtomicBool,
    /// What came, oldest first.
    reports: Lock<VecDeque<DeviceReport>>,
}

/// A device that is there as long as its file is open.
struct Served {
    id: DeviceId,
    link: Arc<Link>,
    task: TaskId,
    modalias: String,
}

static SERVED: Lock<Vec<Served>> = Lock::new(Vec::new());

/// Where the device says it is, which tells it from others.
fn place(id: DeviceId) -> String {
    alloc::format!("ferrmod/{}", id.0)
}

/// The event that makes a device.
fn event(id: DeviceId, wanted: &HidDevice) -> Vec<u8> {
    let mut event = CREATE.to_le_bytes().to_vec();
    for (text, room) in [(wanted.name.as_str(), NAME), (&place(id), PHYS), ("", UNIQ)] {
        // The last byte stays 0.
        let mut bytes = alloc::vec![0; room];
        let used = text.len().min(room - 1);
        bytes[..used].copy_from_slice(&text.as_bytes()[..used]);
        event.extend_from_slice(&bytes);
    }
    // Reading the description has bounded it.
    event.extend_from_slice(&(wanted.descriptor.len() as u16).to_le_bytes());
    event.extend_from_slice(&wanted.bus.to_le_bytes());
    // Vendor, product, version and country.
    for number in [wanted.id.0.into(), wanted.id.1.into(), 0_u32, 0] {
        event.extend_from_slice(&number.to_le_bytes());
    }
    event.extend_from_slice(&wanted.descriptor);
    event
}

/// The device that says it is at that place, and its `MODALIAS`.
fn find(place: &str) -> Option<(u64, String)> {
    let wanted = alloc::format!("HID_PHYS={place}");
    super::all().into_iter().filter(|&dev| bus::of(dev) == "hid").find_map(|dev| {
        let text = show::uevent_text(dev);
        let mut lines = text.lines();
        lines.clone().any(|line| line == wanted.as_bytes()).then_some(())?;
        let modalias = lines.find_map(|line| line.strip_prefix(b"MODALIAS="))?;
        Some((dev, modalias.to_str_lossy().to_string()))
    })
}

/// Makes the device.
///
/// # Errors
/// `ENODEV` when there is no transport or it makes no device, or what it answers.
pub(crate) fn describe(id: DeviceId, wanted: &HidDevice) -> Result<(), Errno> {
    // As opening the static node of a module does; whether there is a file then says whether that helped.
    let _ = kernel().request_module(ALIAS);
    let node = vfs::node(FILE).ok_or(Errno::ENODEV)?;
    let file = Opened::open(&node, FLAGS).map_err(|_| Errno::ENODEV)?;
    let link = Arc::new(Link { file, ends: AtomicBool::new(false), reports: Lock::new(VecDeque::new()) });
    let own = Arc::clone(&link);
    let task = kernel().tasks.spawn_service(&alloc::format!("hid/{}", id.0), move || serve(&own))?;
    let written = link.file.write(&event(id, wanted));
    let made = written.and_then(|_| described::wait_for(PATIENCE, || find(&place(id))).ok_or(Errno::ENODEV));
    match made {
        Ok((dev, modalias)) => {
            described::remember(id, dev);
            SERVED.lock().push(Served { id, link, task, modalias });
            Ok(())
        }
        Err(errno) => {
            end(&link, task);
            Err(errno)
        }
    }
}

/// The number of 16 or 32 bits at a place of an event.
fn number<const N: usize>(event: &[u8], at: usize) -> Option<u32> {
    let bytes: [u8; N] = event.get(at..at + N)?.try_into().ok()?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte)))
}

/// What the transport tells the program, for the time of the device.
fn serve(link: &Link) {
    let mut set = BTreeMap::new();
    while !link.ends.load(Ordering::Relaxed) {
        link.file.wait_for_input(&|| link.ends.load(Ordering::Relaxed));
        match link.file.read(EVENT) {
            // What is no such event is nothing to answer.
            Ok(event) if !event.is_empty() => _ = answer(link, &event, &mut set),
            // The file may be another module's, which never waits.
            _ => time::sleep(1_000_000, 0),
        }
    }
}

/// Answers one event; `None` for what needs no answer.
fn answer(link: &Link, event: &[u8], set: &mut BTreeMap<(u8, u8), Vec<u8>>) -> Option<()> {
    let (kind, report, data) = match number::<4>(event, 0)? {
        OUTPUT => {
            let size = (number::<2>(event, 4 + DATA)? as usize).min(DATA);
            (*event.get(6 + DATA)?, None, event.get(4..4 + size)?)
        }
        SET_REPORT => {
            let size = (number::<2>(event, 10)? as usize).min(DATA);
            (*event.get(9)?, Some((number::<4>(event, 4)?, *event.get(8)?)), event.get(12..12 + size)?)
        }
        GET_REPORT => {
            let (id, which) = (number::<4>(event, 4)?, (*event.get(9)?, *event.get(8)?));
            let known: &[u8] = set.get(&which).map_or(&[], Vec::as_slice);
            let error = if known.is_empty() { Errno::EIO.0 as u16 } else { 0 };
            let mut reply = GET_REPORT_REPLY.to_le_bytes().to_vec();
            reply.extend_from_slice(&id.to_le_bytes());
            reply.extend_from_slice(&error.to_le_bytes());
            reply.extend_from_slice(&(known.len() as u16).to_le_bytes());
            reply.extend_from_slice(known);
            // A device that goes needs none any more.
            let _ = link.file.write(&reply);
            return Some(());
        }
        _ => return None,
    };
    {
        let mut reports = link.reports.lock();
        if reports.len() == KEPT {
            reports.pop_front();
        }
        let kind = KINDS.get(usize::from(kind)).copied().unwrap_or("unknown");
        reports.push_back(DeviceReport { kind, bytes: data.to_vec() });
    }
    if let Some((id, which)) = report {
        set.insert((kind, which), data.to_vec());
        let mut reply = SET_REPORT_REPLY.to_le_bytes().to_vec();
        reply.extend_from_slice(&id.to_le_bytes());
        reply.extend_from_slice(&[0; 2]);
        // As above.
        let _ = link.file.write(&reply);
    }
    Some(())
}

/// The device says a report.
///
/// # Errors
/// `ENODEV` when it is gone, `EINVAL` when the report is too long, or what the transport answers.
pub(crate) fn say(id: DeviceId, report: &[u8]) -> Result<(), Errno> {
    let link = link_of(id).ok_or(Errno::ENODEV)?;
    if report.len() > DATA {
        return Err(Errno::EINVAL);
    }
    let mut event = INPUT.to_le_bytes().to_vec();
    event.extend_from_slice(&(report.len() as u16).to_le_bytes());
    event.extend_from_slice(report);
    link.file.write(&event).map(drop)
}

/// The reports that came to the device since this was asked last, oldest first.
///
/// # Errors
/// `ENODEV` when it is gone.
pub(crate) fn heard(id: DeviceId) -> Result<Vec<DeviceReport>, Errno> {
    let link = link_of(id).ok_or(Errno::ENODEV)?;
    let reports = core::mem::take(&mut *link.reports.lock());
    Ok(reports.into())
}

fn link_of(id: DeviceId) -> Option<Arc<Link>> {
    SERVED.lock().iter().find(|served| served.id == id).map(|served| Arc::clone(&served.link))
}

/// Ends a device and its task.
fn end(link: &Link, task: TaskId) {
    link.ends.store(true, Ordering::Relaxed);
    // One that was not made cannot be ended.
    let _ = link.file.write(&DESTROY.to_le_bytes());
    // A task that does not end is left alone.
    let _ = described::wait_for(PATIENCE, || {
        kernel().tasks.wake(task);
        (!kernel().tasks.is_alive(task)).then_some(())
    });
}

/// What names the modules that may have a driver for it.
pub(crate) fn modalias(id: DeviceId) -> Option<String> {
    SERVED.lock().iter().find(|served| served.id == id).map(|served| served.modalias.clone())
}

/// Takes it away.
pub(crate) fn forget(id: DeviceId) {
    let served = {
        let mut all = SERVED.lock();
        let place = all.iter().position(|served| served.id == id);
        place.map(|place| all.remove(place))
    };
    // The transport's functions are called here, with no lock held.
    if let Some(served) = served {
        end(&served.link, served.task);
    }
}
