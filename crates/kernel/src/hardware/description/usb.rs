//! What a USB device is said to be.
//!
//! Its descriptors are made of a few words, or given as bytes; either way they are bytes afterwards, and nothing judges them but the
//! core of USB.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{DescriptionError, Part, Settings, bytes_of, reports};
use crate::hardware::usb::descriptors::{self, Endpoint, Interface, Kind, Words};

/// A USB device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbDevice {
    /// Vendor and product.
    pub id: (u16, u16),
    /// How fast it is.
    pub speed: Speed,
    /// Its device descriptor.
    pub device: Vec<u8>,
    /// Its configurations, each with everything that belongs to it.
    pub configurations: Vec<Vec<u8>>,
    /// Its strings, by their numbers.
    pub strings: BTreeMap<u8, String>,
    /// The report descriptors of its HID interfaces, by the interfaces' numbers.
    pub reports: BTreeMap<u8, Vec<u8>>,
    /// What it answers to requests, before anything else does.
    pub answers: Vec<Answer>,
    /// What its IN endpoints have to give, transfer by transfer, by their addresses.
    pub inputs: BTreeMap<u8, Vec<Vec<u8>>>,
}

/// How fast a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// 1.5 Mbit/s
    Low,
    /// 12 Mbit/s
    Full,
    /// 480 Mbit/s
    High,
    /// 5 Gbit/s
    Super,
}

impl Speed {
    const NAMES: [(&'static str, Self); 4] =
        [("low", Self::Low), ("full", Self::Full), ("high", Self::High), ("super", Self::Super)];

    /// `enum usb_device_speed` (`include/uapi/linux/usb/ch9.h`).
    pub fn number(self) -> u32 {
        match self {
            Self::Low => 1,
            Self::Full => 2,
            Self::High => 3,
            Self::Super => 5,
        }
    }
}

/// What a device answers to a control request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `bmRequestType`
    pub kind: u8,
    /// `bRequest`
    pub request: u8,
    /// `wValue`, if it has to be this one.
    pub value: Option<u16>,
    /// `wIndex`, if it has to be this one.
    pub index: Option<u16>,
    /// What it sends; it takes whatever comes the other way.
    pub data: Vec<u8>,
}

/// Bytes that are given at most. The longest descriptors are those of cameras and sound cards, some thousand bytes.
const MOST: usize = 1 << 14;
/// Endpoints of an interface: 15 of each direction.
const MOST_ENDPOINTS: usize = 30;
/// The interface of a device of which nothing is said.
const VENDOR_SPECIFIC: u32 = 0xff_00_00;
/// The revision of one.
const REVISION: u16 = 0x0100;
/// The classes with a usual set of endpoints: people's, storage, the vendor's own.
const HID: u8 = 0x03;
const STORAGE: u8 = 0x08;
const OWN: u8 = 0xff;

/// Reads what follows `usb:`.
pub(super) fn read(what: Part<'_>, settings: &Settings<'_>) -> Result<UsbDevice, DescriptionError> {
    let expected = "a USB device is VVVV:PPPP, such as 046d:c077";
    let (vendor, product) = what.split_once(':').ok_or_else(|| what.wrong(expected))?;
    let id = (vendor.hexadecimal(4, "an id")? as u16, product.hexadecimal(4, "an id")? as u16);
    let mut words = Words { id, revision: REVISION, ..Words::default() };
    let mut given = None;
    let mut report = None;
    let mut speed = Speed::High;
    let mut strings = BTreeMap::new();
    let mut named = BTreeMap::new();
    let mut answers = Vec::new();
    let mut inputs = BTreeMap::new();
    for &(key, value) in settings {
        match key.text {
            "speed" => {
                let found = Speed::NAMES.iter().find(|(name, _)| *name == value.text);
                speed = found.ok_or_else(|| value.wrong("a speed is low, full, high or super"))?.1;
            }
            "class" => words.class = value.class()?,
            "rev" => words.revision = value.hexadecimal(4, "a revision")? as u16,
            "interface" => words.interfaces = interfaces(value)?,
            "report" => {
                report = Some(reports::of(value.text).ok_or_else(|| value.wrong(reports::EXPECTED))?);
            }
            "descriptors" => given = Some((value, bytes(value, MOST)?)),
            "manufacturer" => _ = named.insert(descriptors::MANUFACTURER, string(value)?),
            "product" => _ = named.insert(descriptors::PRODUCT, string(value)?),
            "serial" => _ = named.insert(descriptors::SERIAL, string(value)?),
            "answer" => answers = value.split('+').map(answer).collect::<Result<_, _>>()?,
            _ => {
                let known = "a USB device has speed=, class=, rev=, interface=, report=, descriptors=, manufacturer=, \
                             product=, serial=, stringN=, answer= and inEE=";
                if let Some(number) = key.text.strip_prefix("string") {
                    let number = number.parse().ok().filter(|&number| number != 0);
                    strings.insert(
                        number.ok_or_else(|| key.wrong("a string has a number from 1 to 255"))?,
                        string(value)?,
                    );
                } else if let Some(address) = key.text.strip_prefix("in") {
                    let address = Part { text: address, at: key.at + 2 };
                    let address = address.hexadecimal(2, "the address of an IN endpoint")? as u8;
                    if !(0x81..=0x8f).contains(&address) {
                        return Err(key.wrong("the address of an IN endpoint is 81 to 8f"));
                    }
                    let transfers = value.split('+').map(|part| bytes(part, MOST)).collect::<Result<_, _>>()?;
                    inputs.insert(address, transfers);
                } else {
                    return Err(key.wrong(known));
                }
            }
        }
    }
    let (device, configurations, reports) = match given {
        Some((value, bytes)) => {
            let (device, configurations) = descriptors::split(&bytes);
            if let Some(said) = descriptors::id_of(&device)
                && said != id
            {
                return Err(value.wrong(alloc::format!("these are the descriptors of {:04x}:{:04x}", said.0, said.1)));
            }
            strings.extend(descriptors::renumber(&device, named));
            let reports = descriptors::hid_interfaces(&configurations)
                .into_iter()
                .map(|(number, protocol)| (number, report.clone().unwrap_or_else(|| usual_report(protocol).to_vec())));
            let reports = reports.collect();
            (device, configurations, reports)
        }
        None => {
            strings.extend(named);
            if words.interfaces.is_empty() {
                words.interfaces.push([Interface::of(VENDOR_SPECIFIC)].to_vec());
            }
            let mut free = 1;
            for settings in &mut words.interfaces {
                // The settings of an interface take turns with the same endpoints.
                let first = free;
                for interface in settings {
                    free = free.max(usual_endpoints(interface, first));
                    if interface.class == HID {
                        interface.report =
                            Some(report.clone().unwrap_or_else(|| usual_report(interface.protocol).to_vec()));
                    }
                }
            }
            let reports = words.reports();
            let configuration = words.configuration(speed).ok_or_else(|| {
                let said = settings.iter().find(|(key, _)| key.text == "interface").map_or(what, |&(_, value)| value);
                said.wrong("the descriptors of all interfaces are at most 65535 bytes")
            })?;
            (words.device(speed, &strings), [configuration].to_vec(), reports)
        }
    };
    Ok(UsbDevice { id, speed, device, configurations, strings, reports, answers, inputs })
}

/// Gives an interface of which no endpoints are said those that its class always has, from the number `free` on; the first number
/// behind those of the interface.
fn usual_endpoints(interface: &mut Interface, free: u8) -> u8 {
    /// `USB_DIR_OUT`, `USB_DIR_IN`, and endpoints of each direction.
    const OUT: u8 = 0;
    const IN: u8 = 0x80;
    const MANY: u8 = 15;
    if interface.endpoints.is_empty() && interface.extra.is_empty() {
        let kinds: &[(u8, Kind)] = match interface.class {
            HID => &[(IN, Kind::Interrupt)],
            STORAGE => &[(IN, Kind::Bulk), (OUT, Kind::Bulk)],
            OWN => &[(IN, Kind::Bulk), (OUT, Kind::Bulk), (IN, Kind::Interrupt)],
            _ => &[],
        };
        let numbered = kinds.iter().zip(free..=MANY);
        let made = numbered.map(|(&(way, kind), number)| Endpoint { address: way | number, kind, size: None });
        interface.endpoints = made.collect();
    }
    let used = interface.endpoints.iter().map(|endpoint| endpoint.address & 0x0f).max().unwrap_or(0);
    used + 1
}

/// The report descriptor of a HID interface of which none is said: that of its boot protocol (HID 1.11, 4.3).
fn usual_report(protocol: u8) -> &'static [u8] {
    const KEYBOARD: u8 = 1;
    if protocol == KEYBOARD { reports::KEYBOARD } else { reports::MOUSE }
}

/// Interfaces with `+` between them, the alternate settings of one with `/` between them.
fn interfaces(value: Part<'_>) -> Result<Vec<Vec<Interface>>, DescriptionError> {
    /// The numbers of interfaces and of alternate settings have a byte; no device has as many.
    const MANY: usize = 32;
    let all: Vec<Vec<Interface>> = value
        .split('+')
        .map(|one| one.split('/').map(interface).collect::<Result<_, _>>())
        .collect::<Result<_, DescriptionError>>()?;
    if all.len() > MANY || all.iter().any(|settings| settings.len() > MANY) {
        return Err(value.wrong("there are at most 32 interfaces, with at most 32 alternate settings each"));
    }
    Ok(all)
}

/// `CCSSPP[:EET[SIZE]|:xHEX]...`
fn interface(part: Part<'_>) -> Result<Interface, DescriptionError> {
    let mut parts = part.split(':');
    // Splitting gives at least one part.
    let mut interface = Interface::of(parts.next().unwrap_or(part).class()?);
    for part in parts {
        if let Some(digits) = part.text.strip_prefix('x') {
            interface.extra.extend(bytes(Part { text: digits, at: part.at + 1 }, 255)?);
        } else {
            interface.endpoints.push(endpoint(part)?);
        }
    }
    if interface.endpoints.len() > MOST_ENDPOINTS {
        return Err(part.wrong("an interface has at most 30 endpoints"));
    }
    Ok(interface)
}

/// `EET[SIZE]`: an address, `b`, `i` or `s`, and the bytes of its packets.
fn endpoint(part: Part<'_>) -> Result<Endpoint, DescriptionError> {
    let expected = "an endpoint is its address, b (bulk), i (interrupt) or s (isochronous) and the bytes of a packet, \
                    such as 81b or 83i8; x and hexadecimal digits are a descriptor of the class";
    let wrong = || part.wrong(expected);
    let address = part.text.get(..2).ok_or_else(wrong)?;
    let address = Part { text: address, at: part.at }.hexadecimal(2, "the address of an endpoint")? as u8;
    let kind = match part.text.as_bytes().get(2) {
        Some(b'b') => Kind::Bulk,
        Some(b'i') => Kind::Interrupt,
        Some(b's') => Kind::Isochronous,
        _ => return Err(wrong()),
    };
    let size = match part.text.get(3..).unwrap_or("") {
        "" => None,
        digits => Some(digits.parse::<u16>().ok().filter(|&size| (1..=1024).contains(&size)).ok_or_else(wrong)?),
    };
    if address & 0x0f == 0 || address & 0x70 != 0 {
        return Err(wrong());
    }
    Ok(Endpoint { address, kind, size })
}

/// `TTRR[VVVV[IIII]]:HEX`
fn answer(part: Part<'_>) -> Result<Answer, DescriptionError> {
    let expected =
        "an answer is TTRR, TTRRVVVV or TTRRVVVVIIII (type, request, value and index), a colon and its bytes";
    let (pattern, data) = part.split_once(':').ok_or_else(|| part.wrong(expected))?;
    let number = |from: usize, to: usize| match pattern.text.get(from..to) {
        Some(digits) => Part { text: digits, at: pattern.at + from }.hexadecimal(4, "a part of a request").map(Some),
        None => Ok(None),
    };
    if !pattern.text.is_ascii() || !matches!(pattern.text.len(), 4 | 8 | 12) {
        return Err(pattern.wrong(expected));
    }
    Ok(Answer {
        kind: number(0, 2)?.unwrap_or(0) as u8,
        request: number(2, 4)?.unwrap_or(0) as u8,
        value: number(4, 8)?.map(|value| value as u16),
        index: number(8, 12)?.map(|index| index as u16),
        data: if data.text.is_empty() { Vec::new() } else { bytes(data, MOST)? },
    })
}

fn bytes(part: Part<'_>, most: usize) -> Result<Vec<u8>, DescriptionError> {
    bytes_of(part.text, most)
        .ok_or_else(|| part.wrong(alloc::format!("here are 1 to {most} bytes, two hexadecimal digits each")))
}

fn string(part: Part<'_>) -> Result<String, DescriptionError> {
    if part.text.is_empty() || part.text.encode_utf16().count() > descriptors::LONGEST_STRING {
        return Err(part.wrong(alloc::format!("a string has 1 to {} characters", descriptors::LONGEST_STRING)));
    }
    Ok(part.text.to_string())
}
