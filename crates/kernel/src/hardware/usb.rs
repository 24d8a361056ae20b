//! A USB device: what it answers to requests, what its endpoints give and take.
//!
//! It answers the requests that every device knows (Universal Serial Bus 2.0, 9.4) from its descriptors, and those that were described;
//! every other request it stalls. An IN endpoint gives what was described or fed to it, and has nothing to say otherwise; an OUT endpoint
//! takes everything. Isochronous transfers never end: nothing here keeps the time of a bus.
//!
//! # What this module does not do
//! Whether descriptors make sense is for the core of USB to say: they are sent as they are.

pub(crate) mod descriptors;
pub mod usbip;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::description::UsbDevice;

/// Requests (`bRequest`).
mod request {
    pub(super) const GET_STATUS: u8 = 0;
    pub(super) const CLEAR_FEATURE: u8 = 1;
    pub(super) const SET_FEATURE: u8 = 3;
    pub(super) const SET_ADDRESS: u8 = 5;
    pub(super) const GET_DESCRIPTOR: u8 = 6;
    pub(super) const GET_CONFIGURATION: u8 = 8;
    pub(super) const SET_CONFIGURATION: u8 = 9;
    pub(super) const GET_INTERFACE: u8 = 10;
    pub(super) const SET_INTERFACE: u8 = 11;
}

/// `bmRequestType`: to the host, and the recipients of standard requests.
const IN: u8 = 0x80;
const TO_DEVICE: u8 = 0;
const TO_INTERFACE: u8 = 1;
const TO_ENDPOINT: u8 = 2;
/// Feature selectors: `ENDPOINT_HALT`, `DEVICE_REMOTE_WAKEUP`.
const HALT: u16 = 0;
const WAKEUP: u16 = 1;
/// `bmAttributes` of a configuration: it powers itself.
const SELF_POWERED: u8 = 0x40;
/// The language of the strings: English (United States).
const LANGUAGE: [u8; 2] = [0x09, 0x04];
/// Bytes that are kept of what an OUT endpoint took.
const KEPT: usize = 1 << 16;

/// The device does not do that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall;

/// A request: the eight bytes of a SETUP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// `bmRequestType`
    pub kind: u8,
    /// `bRequest`
    pub request: u8,
    /// `wValue`
    pub value: u16,
    /// `wIndex`
    pub index: u16,
    /// `wLength`
    pub length: u16,
}

impl From<[u8; 8]> for Setup {
    fn from(bytes: [u8; 8]) -> Self {
        let [kind, request, value @ .., _, _, _, _] = bytes;
        let [.., index0, index1, length0, length1] = bytes;
        Self {
            kind,
            request,
            value: u16::from_le_bytes(value),
            index: u16::from_le_bytes([index0, index1]),
            length: u16::from_le_bytes([length0, length1]),
        }
    }
}

/// A device and its state.
#[derive(Debug)]
pub struct Usb {
    description: UsbDevice,
    /// The value of the configuration it is in; 0: in none.
    configuration: u8,
    /// The alternate settings of its interfaces that are not 0.
    settings: BTreeMap<u8, u8>,
    /// The addresses of its endpoints that are halted.
    halted: BTreeSet<u8>,
    may_wake: bool,
    inputs: BTreeMap<u8, VecDeque<Vec<u8>>>,
    outputs: BTreeMap<u8, VecDeque<u8>>,
}

impl Usb {
    /// A device that has just got power.
    pub fn new(description: &UsbDevice) -> Self {
        let inputs = &description.inputs;
        Self {
            description: description.clone(),
            configuration: 0,
            settings: BTreeMap::new(),
            halted: BTreeSet::new(),
            may_wake: false,
            inputs: inputs.iter().map(|(&address, all)| (address, all.iter().cloned().collect())).collect(),
            outputs: BTreeMap::new(),
        }
    }

    /// The addresses of the endpoints that its descriptors speak of, and 0, each once.
    pub fn endpoints(&self) -> BTreeSet<u8> {
        let all = self.description.configurations.iter();
        all.flat_map(|configuration| descriptors::endpoints(configuration)).chain([0]).collect()
    }

    /// Lets an IN endpoint give these bytes as one transfer, behind what it has to give already.
    pub fn feed(&mut self, address: u8, transfer: &[u8]) {
        self.inputs.entry(address).or_default().push_back(transfer.to_vec());
    }

    /// The last bytes that an OUT endpoint took since this was asked last, 64 KiB of them at most; endpoint 0 took them with requests.
    pub fn taken(&mut self, address: u8) -> Vec<u8> {
        self.outputs.remove(&address).map(Vec::from).unwrap_or_default()
    }

    /// The configuration it is in.
    fn current(&self) -> Option<&[u8]> {
        // `bConfigurationValue`
        let found = self.description.configurations.iter().find(|one| one.get(5) == Some(&self.configuration));
        found.filter(|_| self.configuration != 0).map(Vec::as_slice)
    }

    /// Answers a request: what it sends, at most as much as is asked for.
    ///
    /// # Errors
    /// [`Stall`].
    pub fn control(&mut self, setup: Setup, data: &[u8]) -> Result<Vec<u8>, Stall> {
        let mut answer = match self.described(setup) {
            Some(answer) => answer,
            None => self.standard(setup)?,
        };
        if setup.kind & IN == 0 {
            self.keep(0, data);
            answer.clear();
        }
        answer.truncate(setup.length.into());
        Ok(answer)
    }

    fn described(&self, setup: Setup) -> Option<Vec<u8>> {
        let fits = |wanted: Option<u16>, is: u16| wanted.is_none_or(|wanted| wanted == is);
        let found = self.description.answers.iter().find(|answer| {
            (answer.kind, answer.request) == (setup.kind, setup.request)
                && fits(answer.value, setup.value)
                && fits(answer.index, setup.index)
        });
        found.map(|answer| answer.data.clone())
    }

    fn standard(&mut self, setup: Setup) -> Result<Vec<u8>, Stall> {
        let [selector, _] = setup.index.to_le_bytes();
        let done = |does: bool| if does { Ok(Vec::new()) } else { Err(Stall) };
        match (setup.kind, setup.request) {
            (kind, request::GET_STATUS) if kind == IN | TO_DEVICE => {
                let attributes = self.current().and_then(|one| one.get(7).copied()).unwrap_or(0);
                Ok([u8::from(attributes & SELF_POWERED != 0) | u8::from(self.may_wake) << 1, 0].to_vec())
            }
            (kind, request::GET_STATUS) if kind == IN | TO_INTERFACE => Ok([0, 0].to_vec()),
            (kind, request::GET_STATUS) if kind == IN | TO_ENDPOINT => {
                Ok([self.halted.contains(&selector).into(), 0].to_vec())
            }
            (TO_DEVICE, request::CLEAR_FEATURE | request::SET_FEATURE) if setup.value == WAKEUP => {
                self.may_wake = setup.request == request::SET_FEATURE;
                done(true)
            }
            (TO_ENDPOINT, request::CLEAR_FEATURE) if setup.value == HALT => {
                self.halted.remove(&selector);
                done(true)
            }
            (TO_ENDPOINT, request::SET_FEATURE) if setup.value == HALT => {
                self.halted.insert(selector);
                done(true)
            }
            // Whoever carries the requests sees to it that they come here.
            (TO_DEVICE, request::SET_ADDRESS) => done(true),
            (kind, request::GET_DESCRIPTOR) if kind & !TO_INTERFACE == IN => self.descriptor(setup).ok_or(Stall),
            (kind, request::GET_CONFIGURATION) if kind == IN => Ok([self.configuration].to_vec()),
            (TO_DEVICE, request::SET_CONFIGURATION) => self.configure(setup.value),
            (kind, request::GET_INTERFACE) if kind == IN | TO_INTERFACE => {
                Ok([self.settings.get(&selector).copied().unwrap_or(0)].to_vec())
            }
            (TO_INTERFACE, request::SET_INTERFACE) => {
                let wanted = (selector, setup.value.to_le_bytes()[0]);
                let has = self.current().is_some_and(|one| descriptors::interfaces(one).any(|other| other == wanted));
                if has {
                    self.settings.insert(wanted.0, wanted.1);
                    self.halted.clear();
                }
                done(has)
            }
            _ => Err(Stall),
        }
    }

    fn configure(&mut self, value: u16) -> Result<Vec<u8>, Stall> {
        let known = |value: u8| self.description.configurations.iter().any(|one| one.get(5) == Some(&value));
        let value = u8::try_from(value).ok().filter(|&value| value == 0 || known(value)).ok_or(Stall)?;
        self.configuration = value;
        self.settings.clear();
        self.halted.clear();
        Ok(Vec::new())
    }

    fn descriptor(&self, setup: Setup) -> Option<Vec<u8>> {
        let [number, kind] = setup.value.to_le_bytes();
        let [interface, _] = setup.index.to_le_bytes();
        match kind {
            descriptors::DEVICE if !self.description.device.is_empty() => Some(self.description.device.clone()),
            descriptors::CONFIGURATION => self.description.configurations.get(usize::from(number)).cloned(),
            descriptors::STRING if number == 0 && !self.description.strings.is_empty() => {
                Some([&[4, descriptors::STRING], &LANGUAGE[..]].concat())
            }
            descriptors::STRING => self.description.strings.get(&number).map(|text| descriptors::string(text)),
            descriptors::HID => descriptors::hid_descriptor(self.current()?, interface),
            descriptors::REPORT => self.description.reports.get(&interface).cloned(),
            _ => None,
        }
    }

    /// What an IN endpoint gives now, at most `most` bytes of a transfer: the rest of one that is longer comes next. `None`: nothing yet.
    ///
    /// # Errors
    /// [`Stall`] when it is halted.
    pub fn give(&mut self, address: u8, most: usize) -> Result<Option<Vec<u8>>, Stall> {
        if self.halted.contains(&address) {
            return Err(Stall);
        }
        let Some(waiting) = self.inputs.get_mut(&address) else { return Ok(None) };
        let Some(mut transfer) = waiting.pop_front() else { return Ok(None) };
        if transfer.len() > most {
            let rest = transfer.split_off(most);
            waiting.push_front(rest);
        }
        Ok(Some(transfer))
    }

    /// Hands an OUT endpoint bytes.
    ///
    /// # Errors
    /// [`Stall`] when it is halted.
    pub fn take(&mut self, address: u8, bytes: &[u8]) -> Result<(), Stall> {
        if self.halted.contains(&address) {
            return Err(Stall);
        }
        self.keep(address, bytes);
        Ok(())
    }

    fn keep(&mut self, address: u8, bytes: &[u8]) {
        let kept = self.outputs.entry(address).or_default();
        kept.extend(bytes);
        let excess = kept.len().saturating_sub(KEPT);
        kept.drain(..excess);
    }
}
