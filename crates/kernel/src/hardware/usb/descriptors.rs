//! Descriptors: how a USB device says what it is (Universal Serial Bus 2.0, 9.6).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::hardware::description::usb::Speed;

/// `bDescriptorType`
pub(super) const DEVICE: u8 = 1;
pub(super) const CONFIGURATION: u8 = 2;
pub(super) const STRING: u8 = 3;
const INTERFACE: u8 = 4;
const ENDPOINT: u8 = 5;
/// USB 3.2, 9.6.7: SuperSpeed Endpoint Companion
const COMPANION: u8 = 0x30;
/// HID 1.11, 7.1
pub(super) const HID: u8 = 0x21;
pub(super) const REPORT: u8 = 0x22;

/// The numbers of the strings that have names.
pub(crate) const MANUFACTURER: u8 = 1;
pub(crate) const PRODUCT: u8 = 2;
pub(crate) const SERIAL: u8 = 3;

/// Where a device descriptor has vendor and product, and the numbers of its strings.
const ID: usize = 8;
const STRINGS: usize = 14;
/// Bytes of a device descriptor and of a configuration descriptor without what follows.
const DEVICE_LENGTH: usize = 18;
const CONFIGURATION_LENGTH: usize = 9;

/// Characters of a string, of two bytes each: its descriptor's length has 8 bits.
pub(crate) const LONGEST_STRING: usize = 126;

/// How an endpoint transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Isochronous,
    Bulk,
    Interrupt,
}

/// An endpoint that was described in words.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: u8,
    pub(crate) kind: Kind,
    /// Bytes of its packets; else as many as are usual.
    pub(crate) size: Option<u16>,
}

/// An alternate setting of an interface that was described in words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interface {
    pub(crate) class: u8,
    pub(crate) subclass: u8,
    pub(crate) protocol: u8,
    /// Descriptors of its class.
    pub(crate) extra: Vec<u8>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// The report descriptor of a HID interface.
    pub(crate) report: Option<Vec<u8>>,
}

impl Interface {
    /// One of a class, a subclass and a protocol.
    pub(crate) fn of(class: u32) -> Self {
        let [_, class, subclass, protocol] = class.to_be_bytes();
        Self { class, subclass, protocol, ..Self::default() }
    }
}

/// A device that was described in words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    pub(crate) id: (u16, u16),
    /// Class, subclass and protocol of the device; 0: its interfaces have them.
    pub(crate) class: u32,
    pub(crate) revision: u16,
    /// Its interfaces, each with its alternate settings.
    pub(crate) interfaces: Vec<Vec<Interface>>,
}

impl Words {
    /// Its device descriptor.
    pub(crate) fn device(&self, speed: Speed, strings: &BTreeMap<u8, String>) -> Vec<u8> {
        let (version, packet): (u16, u8) = match speed {
            Speed::Low => (0x0110, 8),
            Speed::Full => (0x0110, 64),
            Speed::High => (0x0200, 64),
            // An exponent of 2.
            Speed::Super => (0x0300, 9),
        };
        let [_, class, subclass, protocol] = self.class.to_be_bytes();
        let mut out = [DEVICE_LENGTH as u8, DEVICE].to_vec();
        out.extend(version.to_le_bytes());
        out.extend([class, subclass, protocol, packet]);
        for number in [self.id.0, self.id.1, self.revision] {
            out.extend(number.to_le_bytes());
        }
        out.extend(
            [MANUFACTURER, PRODUCT, SERIAL].map(|number| if strings.contains_key(&number) { number } else { 0 }),
        );
        out.push(1);
        out
    }

    /// Its one configuration; `None` when that is longer than it can say.
    pub(crate) fn configuration(&self, speed: Speed) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        for (number, settings) in self.interfaces.iter().enumerate() {
            for (setting, interface) in settings.iter().enumerate() {
                write_interface(interface, number as u8, setting as u8, speed, &mut body);
            }
        }
        /// Powered by the bus, with at most 100 mA.
        const BUS_POWERED: u8 = 0x80;
        let power = if speed == Speed::Super { 100 / 8 } else { 100 / 2 };
        let length = u16::try_from(CONFIGURATION_LENGTH + body.len()).ok()?.to_le_bytes();
        let mut out = [CONFIGURATION_LENGTH as u8, CONFIGURATION].to_vec();
        out.extend(length);
        out.extend([self.interfaces.len() as u8, 1, 0, BUS_POWERED, power]);
        out.extend(body);
        Some(out)
    }

    /// The report descriptors of its HID interfaces.
    pub(crate) fn reports(&self) -> BTreeMap<u8, Vec<u8>> {
        let numbered = self.interfaces.iter().enumerate();
        numbered
            .filter_map(|(number, settings)| {
                Some((number as u8, settings.iter().find_map(|setting| setting.report.clone())?))
            })
            .collect()
    }
}

fn write_interface(interface: &Interface, number: u8, setting: u8, speed: Speed, out: &mut Vec<u8>) {
    let count = interface.endpoints.len() as u8;
    out.extend([9, INTERFACE, number, setting, count]);
    out.extend([interface.class, interface.subclass, interface.protocol, 0]);
    if let Some(report) = &interface.report {
        // HID 1.11, 6.2.1: version 1.11, no country, one descriptor.
        out.extend([9, HID, 0x11, 0x01, 0, 1, REPORT]);
        out.extend(u16::try_from(report.len()).unwrap_or(u16::MAX).to_le_bytes());
    }
    out.extend(&interface.extra);
    for endpoint in &interface.endpoints {
        let (attributes, usual, interval) = match (endpoint.kind, speed) {
            (Kind::Isochronous, Speed::Low | Speed::Full) => (1, 64, 1),
            (Kind::Isochronous, _) => (1, 1024, 4),
            (Kind::Bulk, Speed::Low) => (2, 8, 0),
            (Kind::Bulk, Speed::Full) => (2, 64, 0),
            (Kind::Bulk, Speed::High) => (2, 512, 0),
            (Kind::Bulk, Speed::Super) => (2, 1024, 0),
            // 10 ms, and 8 ms in 125 µs times a power of two.
            (Kind::Interrupt, Speed::Low | Speed::Full) => (3, 8, 10),
            (Kind::Interrupt, _) => (3, 8, 7),
        };
        out.extend([7, ENDPOINT, endpoint.address, attributes]);
        out.extend(endpoint.size.unwrap_or(usual).to_le_bytes());
        out.push(interval);
        if speed == Speed::Super {
            let per_interval = if endpoint.kind == Kind::Bulk { 0 } else { endpoint.size.unwrap_or(usual) };
            out.extend([6, COMPANION, 0, 0]);
            out.extend(per_interval.to_le_bytes());
        }
    }
}

/// Splits bytes as `/sys/bus/usb/devices/*/descriptors` has them: the device descriptor, and each configuration as far as it says that it
/// goes and there is something.
pub(crate) fn split(bytes: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let said = bytes.first().map_or(0, |&length| usize::from(length));
    let whole = if (1..=DEVICE_LENGTH).contains(&said) { said } else { DEVICE_LENGTH };
    let (device, mut rest) = bytes.split_at(whole.min(bytes.len()));
    let mut configurations = Vec::new();
    while !rest.is_empty() {
        let said = rest.get(2..4).map_or(0, |length| usize::from(length[0]) | usize::from(length[1]) << 8);
        let length = if said < CONFIGURATION_LENGTH { rest.len() } else { said.min(rest.len()) };
        let (one, after) = rest.split_at(length);
        configurations.push(one.to_vec());
        rest = after;
    }
    (device.to_vec(), configurations)
}

/// Vendor and product of a device descriptor that goes so far.
pub(crate) fn id_of(device: &[u8]) -> Option<(u16, u16)> {
    let word = |at: usize| Some(u16::from_le_bytes(device.get(at..at + 2)?.try_into().ok()?));
    Some((word(ID)?, word(ID + 2)?))
}

/// Gives the strings with names the numbers that a device descriptor has for them.
pub(crate) fn renumber(device: &[u8], named: BTreeMap<u8, String>) -> BTreeMap<u8, String> {
    let number = |name: u8| device.get(STRINGS + usize::from(name) - 1).copied().filter(|&number| number != 0);
    named.into_iter().filter_map(|(name, text)| Some((number(name)?, text))).collect()
}

/// The descriptors of a configuration, each as far as it says that it goes.
pub(super) fn each(configuration: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = configuration;
    core::iter::from_fn(move || {
        let length = usize::from(*rest.first()?);
        let one = rest.get(..length).filter(|one| one.len() >= 2)?;
        rest = &rest[length..];
        Some(one)
    })
}

/// The interfaces of a configuration: number and alternate setting.
pub(super) fn interfaces(configuration: &[u8]) -> impl Iterator<Item = (u8, u8)> {
    each(configuration).filter_map(|one| match *one {
        [_, INTERFACE, number, setting, ..] => Some((number, setting)),
        _ => None,
    })
}

/// The addresses of the endpoints of a configuration.
pub(crate) fn endpoints(configuration: &[u8]) -> impl Iterator<Item = u8> {
    each(configuration).filter_map(|one| match *one {
        [_, ENDPOINT, address, ..] => Some(address),
        _ => None,
    })
}

/// The numbers and protocols of the interfaces of the class for people.
pub(crate) fn hid_interfaces(configurations: &[Vec<u8>]) -> Vec<(u8, u8)> {
    /// `USB_CLASS_HID`
    const CLASS: u8 = 3;
    let all = configurations.iter().flat_map(|configuration| each(configuration));
    all.filter_map(|one| match *one {
        [_, INTERFACE, number, _, _, CLASS, _, protocol, ..] => Some((number, protocol)),
        _ => None,
    })
    .collect()
}

/// The HID descriptor of an interface.
pub(super) fn hid_descriptor(configuration: &[u8], interface: u8) -> Option<Vec<u8>> {
    let mut current = None;
    each(configuration).find_map(|one| {
        match *one {
            [_, INTERFACE, number, ..] => current = Some(number),
            [_, HID, ..] if current == Some(interface) => return Some(one.to_vec()),
            _ => {}
        }
        None
    })
}

/// The string descriptor of a text, of as much as there is room for.
pub(super) fn string(text: &str) -> Vec<u8> {
    let units: Vec<u8> = text.encode_utf16().take(LONGEST_STRING).flat_map(u16::to_le_bytes).collect();
    let mut out = [units.len() as u8 + 2, STRING].to_vec();
    out.extend(units);
    out
}
