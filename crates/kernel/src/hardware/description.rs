//! What a device is said to be: `BUS:WHAT[,KEY=VALUE]...`.
//!
//! | text | device |
//! |---|---|
//! | `platform:NAME[,id=N][,mem=BYTES][,irq=N]` | a platform device, with a window and an interrupt line |
//! | `i2c:NAME@ADDRESS[,model=NAME][,SETTING=VALUE]...` | a chip on the I2C bus |
//! | `pci:VVVV:DDDD[:SSSS:ssss][,class=CCSSII][,rev=RR][,barN=BYTES\|io:PORTS\|edu]...` | a PCI function |
//! | `hid:BUS:VVVV:PPPP[,name=NAME][,report=mouse\|keyboard\|HEX]` | a HID device |
//! | `virtio:ID[,vendor=VVVV][,config=HEX]` | a virtio device |
//! | `usb:VVVV:PPPP[,interface=CCSSPP[:EET[SIZE]]...][,descriptors=HEX]...` | a USB device |
//!
//! Numbers of a bus (vendor, device, class, revision) are hexadecimal as everywhere; addresses take `0x`; sizes and settings are
//! decimal or `0x`, and sizes may end in `K` or `M`.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::str::FromStr;

use super::{chip, reports, virtio};

pub mod usb;

pub use usb::UsbDevice;

/// A described device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Description {
    /// On the platform bus.
    Platform(PlatformDevice),
    /// On the I2C bus.
    I2c(I2cDevice),
    /// On the PCI bus.
    Pci(PciDevice),
    /// Behind a HID transport.
    Hid(HidDevice),
    /// Behind a virtio transport.
    Virtio(VirtioDevice),
    /// On a USB bus.
    Usb(UsbDevice),
}

/// A platform device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformDevice {
    /// Its name, which a driver's must equal.
    pub name: String,
    /// Its number; without one it is called by its name alone.
    pub id: Option<u16>,
    /// Bytes of its window.
    pub window: Option<u64>,
    /// Its interrupt line.
    pub line: Option<u32>,
}

/// A chip on an I2C bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct I2cDevice {
    /// Its name, one of a driver's `i2c_device_id`s.
    pub name: String,
    /// Its 7-bit address.
    pub address: u8,
    /// The register set behind it.
    pub model: chip::Kind,
    /// What it is set to at first.
    pub settings: Vec<(String, i64)>,
}

/// A PCI function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciDevice {
    /// Vendor and device.
    pub id: (u16, u16),
    /// Vendor and device of the board.
    pub subsystem: (u16, u16),
    /// Class, subclass and interface.
    pub class: u32,
    /// Revision.
    pub revision: u8,
    /// The windows, by base address register.
    pub bars: [Option<Bar>; 6],
}

/// A HID device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HidDevice {
    /// The bus its transport says it is on (`BUS_USB` is 3, `BUS_BLUETOOTH` 5, `BUS_I2C` 18 hexadecimal).
    pub bus: u16,
    /// Vendor and product.
    pub id: (u16, u16),
    /// What it calls itself.
    pub name: String,
    /// Its report descriptor.
    pub descriptor: Vec<u8>,
}

/// A virtio device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtioDevice {
    /// What it is (Virtual I/O Device Specification, "Device Types").
    pub id: u32,
    /// Its vendor.
    pub vendor: u32,
    /// Its configuration.
    pub configuration: Vec<u8>,
}

/// What is behind a base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// A window of so many bytes where nobody answers.
    Memory(u64),
    /// So many ports where nobody answers.
    Ports(u64),
    /// The registers of QEMU's `edu` device.
    Edu,
}

/// Why a text describes no device: the part that is wrong, where it begins in the text, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{part}` at character {}: {expected}", at + 1)]
pub struct DescriptionError {
    /// The part that is wrong.
    pub part: String,
    /// Bytes before it.
    pub at: usize,
    /// What would be right.
    pub expected: String,
}

/// QEMU's `edu` device, as its specification gives it.
const EDU: (u16, u16) = (0x1234, 0x11e8);
/// The window of a PCI function that nothing else is said of.
const WINDOW: u64 = 1 << 20;
/// No window is larger, in bytes.
const LARGEST: u64 = 64 << 20;
/// `PCI_SUBSYSTEM` and class of a function of which nothing is said.
const NO_CLASS: u32 = 0xff_00_00;

/// A part of a text, and where it begins.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Part<'a> {
    fn wrong(self, expected: impl Into<String>) -> DescriptionError {
        DescriptionError { part: self.text.to_string(), at: self.at, expected: expected.into() }
    }

    /// The parts between separators.
    fn split(self, separator: char) -> impl Iterator<Item = Part<'a>> {
        let mut at = self.at;
        self.text.split(separator).map(move |text| {
            let part = Part { text, at };
            at += text.len() + separator.len_utf8();
            part
        })
    }

    fn split_once(self, separator: char) -> Option<(Part<'a>, Part<'a>)> {
        let (first, second) = self.text.split_once(separator)?;
        let at = self.at + first.len() + separator.len_utf8();
        Some((Part { text: first, at: self.at }, Part { text: second, at }))
    }

    fn hexadecimal(self, digits: usize, what: &str) -> Result<u32, DescriptionError> {
        let fits = self.text.len() <= digits && self.text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(self.text, 16)
            .ok()
            .filter(|_| fits)
            .ok_or_else(|| self.wrong(alloc::format!("{what} is up to {digits} hexadecimal digits")))
    }

    /// A class, its subclass, and what the bus has behind it.
    fn class(self) -> Result<u32, DescriptionError> {
        let expected = "a class is 6 hexadecimal digits: class, subclass and interface or protocol, such as 020000";
        if self.text.len() == 6 { self.hexadecimal(6, "a class") } else { Err(self.wrong(expected)) }
    }

    fn number(self, expected: &str) -> Result<i64, DescriptionError> {
        let (sign, digits) = self.text.strip_prefix('-').map_or((1, self.text), |digits| (-1, digits));
        let value = match digits.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16),
            None => digits.parse(),
        };
        let unsigned = digits.starts_with(|first: char| first.is_ascii_digit()) && !digits.contains("0x-");
        value.ok().filter(|_| unsigned).map(|value: i64| value * sign).ok_or_else(|| self.wrong(expected))
    }

    /// A number of bytes: a power of two, since windows are.
    fn size(self) -> Result<u64, DescriptionError> {
        let expected = "a size is a power of two from 4 bytes to 64M, such as 4096 or 64K";
        let (digits, unit) = match self.text.strip_suffix(['K', 'M']) {
            Some(digits) if self.text.ends_with('K') => (digits, 1 << 10),
            Some(digits) => (digits, 1 << 20),
            None => (self.text, 1),
        };
        let bytes = Part { text: digits, at: self.at }.number(expected).map_err(|_| self.wrong(expected))?;
        u64::try_from(bytes)
            .ok()
            .and_then(|bytes| bytes.checked_mul(unit))
            .filter(|bytes| bytes.is_power_of_two() && (4..=LARGEST).contains(bytes))
            .ok_or_else(|| self.wrong(expected))
    }

    /// A name as buses have them.
    fn name(self, what: &str) -> Result<String, DescriptionError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+');
        // `I2C_NAME_SIZE` and `PLATFORM_NAME_SIZE` have room for 19 and 23 characters.
        if self.text.is_empty() || self.text.len() > 23 || !self.text.bytes().all(fits) {
            return Err(self.wrong(alloc::format!("{what} is 1 to 23 letters, digits, `-`, `_`, `+` or `.`")));
        }
        Ok(self.text.to_string())
    }
}

/// The bytes of hexadecimal digits: at least one, at most `most`.
pub(super) fn bytes_of(text: &str, most: usize) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    let bytes: Vec<u8> = pairs
        .map(|pair| match *pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect::<Option<_>>()?;
    (1..=most).contains(&bytes.len()).then_some(bytes)
}

impl FromStr for Description {
    type Err = DescriptionError;

    fn from_str(text: &str) -> Result<Self, DescriptionError> {
        let whole = Part { text, at: 0 };
        let buses = "a device is platform:NAME, i2c:NAME@ADDRESS, pci:VVVV:DDDD, hid:BUS:VVVV:PPPP, \
                     usb:VVVV:PPPP or virtio:ID, and its settings after commas";
        let (bus, rest) = whole.split_once(':').ok_or_else(|| whole.wrong(buses))?;
        let mut parts = rest.split(',');
        // Splitting gives at least one part.
        let what = parts.next().unwrap_or(rest);
        let mut settings = Vec::new();
        for part in parts {
            let pair = part.split_once('=').ok_or_else(|| part.wrong("a setting is NAME=VALUE"))?;
            if settings.iter().any(|(key, _): &(Part<'_>, _)| key.text == pair.0.text) {
                return Err(pair.0.wrong("this was said before"));
            }
            settings.push(pair);
        }
        match bus.text {
            "platform" => platform(what, &settings).map(Self::Platform),
            "i2c" => i2c(what, &settings).map(Self::I2c),
            "pci" => pci(what, &settings).map(Self::Pci),
            "hid" => hid(what, &settings).map(Self::Hid),
            "virtio" => virtio(what, &settings).map(Self::Virtio),
            "usb" => usb::read(what, &settings).map(Self::Usb),
            _ => Err(bus.wrong(buses)),
        }
    }
}

type Settings<'a> = [(Part<'a>, Part<'a>)];

fn platform(what: Part<'_>, settings: &Settings<'_>) -> Result<PlatformDevice, DescriptionError> {
    let mut device =
        PlatformDevice { name: what.name("the name of a platform device")?, id: None, window: None, line: None };
    for &(key, value) in settings {
        let small = |expected: &str, most: i64| {
            value
                .number(expected)
                .ok()
                .filter(|number| (0..=most).contains(number))
                .ok_or_else(|| value.wrong(expected))
        };
        match key.text {
            "id" => device.id = Some(small("an id is a number from 0 to 32767", 32767)? as u16),
            "mem" => device.window = Some(value.size()?),
            "irq" => device.line = Some(small("an interrupt line is a number from 0 to 23", 23)? as u32),
            _ => return Err(key.wrong("a platform device has id=, mem= and irq=")),
        }
    }
    Ok(device)
}

fn i2c(what: Part<'_>, settings: &Settings<'_>) -> Result<I2cDevice, DescriptionError> {
    let (name, address) =
        what.split_once('@').ok_or_else(|| what.wrong("a chip is NAME@ADDRESS, such as lm75@0x48"))?;
    let known = name.name("the name of a chip")?;
    if known.len() > 19 {
        return Err(name.wrong("the name of a chip is at most 19 characters"));
    }
    let expected = "an address is a number from 0x03 to 0x77";
    let number = address.number(expected)?;
    // Those below and above are reserved (I2C-bus specification, "Reserved addresses").
    let address = u8::try_from(number).ok().filter(|number| (0x03..=0x77).contains(number));
    let address = address.ok_or_else(|| what.wrong(expected))?;
    let model = match settings.iter().find(|(key, _)| key.text == "model") {
        None => chip::Kind::of(&known).unwrap_or(chip::Kind::Ones),
        Some((_, value)) => chip::Kind::of(value.text).ok_or_else(|| {
            value.wrong(alloc::format!("the models are {}", chip::Kind::NAMES.map(|(name, _)| name).join(", ")))
        })?,
    };
    let mut chip = chip::Chip::new(model);
    let mut taken = Vec::new();
    for &(key, value) in settings.iter().filter(|(key, _)| key.text != "model") {
        let number = value.number("a setting of a chip is a number")?;
        chip.set(key.text, number).map_err(|error| match error {
            chip::SettingError::Range(..) => value.wrong(error.to_string()),
            chip::SettingError::Unknown(_) => key.wrong(error.to_string()),
        })?;
        taken.push((key.text.to_string(), number));
    }
    Ok(I2cDevice { name: known, address, model, settings: taken })
}

fn pci(what: Part<'_>, settings: &Settings<'_>) -> Result<PciDevice, DescriptionError> {
    let ids: Vec<Part<'_>> = what.split(':').collect();
    let [vendor, device, board @ ..] = ids.as_slice() else {
        return Err(what.wrong("a PCI function is VVVV:DDDD or VVVV:DDDD:SSSS:ssss"));
    };
    let short = |part: &Part<'_>| part.hexadecimal(4, "an id").map(|id| id as u16);
    let id = (short(vendor)?, short(device)?);
    if id.0 == 0xffff {
        return Err(vendor.wrong("ffff is what an empty slot reads as"));
    }
    let subsystem = match board {
        [] => (0, 0),
        [vendor, device] => (short(vendor)?, short(device)?),
        _ => return Err(what.wrong("a PCI function is VVVV:DDDD or VVVV:DDDD:SSSS:ssss")),
    };
    let mut class = if id == EDU { 0x00_ff_00 } else { NO_CLASS };
    let mut revision = if id == EDU { 0x10 } else { 0 };
    let mut bars = [None; 6];
    for &(key, value) in settings {
        match key.text {
            "class" => class = value.class()?,
            "rev" => revision = value.hexadecimal(2, "a revision")? as u8,
            _ => {
                let number = key.text.strip_prefix("bar").and_then(|number| number.parse::<usize>().ok());
                let bar = number.and_then(|number| bars.get_mut(number));
                let bar = bar.ok_or_else(|| key.wrong("a PCI function has class=, rev= and bar0= to bar5="))?;
                *bar = Some(match value.text.strip_prefix("io:") {
                    _ if value.text == "edu" => Bar::Edu,
                    None => Bar::Memory(value.size()?),
                    Some(ports) => {
                        let count = Part { text: ports, at: value.at + 3 };
                        let ports = count.size()?;
                        if ports > 256 {
                            return Err(count.wrong("a function has at most 256 ports behind a register"));
                        }
                        Bar::Ports(ports)
                    }
                });
            }
        }
    }
    if bars.iter().all(Option::is_none) {
        bars[0] = Some(if id == EDU { Bar::Edu } else { Bar::Memory(WINDOW) });
    }
    Ok(PciDevice { id, subsystem, class, revision, bars })
}

fn hid(what: Part<'_>, settings: &Settings<'_>) -> Result<HidDevice, DescriptionError> {
    let ids: Vec<Part<'_>> = what.split(':').collect();
    let [bus, vendor, product] = ids.as_slice() else {
        return Err(what.wrong("a HID device is BUS:VVVV:PPPP, such as 0003:046d:c00e"));
    };
    let short = |part: &Part<'_>| part.hexadecimal(4, "an id").map(|id| id as u16);
    let mut device = HidDevice {
        bus: short(bus)?,
        id: (short(vendor)?, short(product)?),
        name: "described".to_string(),
        descriptor: reports::MOUSE.to_vec(),
    };
    for &(key, value) in settings {
        match key.text {
            "name" => device.name = value.name("the name of a HID device")?,
            "report" => {
                device.descriptor = reports::of(value.text).ok_or_else(|| value.wrong(reports::EXPECTED))?;
            }
            _ => return Err(key.wrong("a HID device has name= and report=")),
        }
    }
    Ok(device)
}

fn virtio(what: Part<'_>, settings: &Settings<'_>) -> Result<VirtioDevice, DescriptionError> {
    let expected = "an id of virtio is a number from 1 to 65535; 4 is a source of entropy";
    let id = what.number(expected)?;
    let id = u16::try_from(id).ok().filter(|&id| id != 0).ok_or_else(|| what.wrong(expected))?;
    let none = alloc::vec![0; virtio::CONFIGURATION];
    let mut device = VirtioDevice { id: id.into(), vendor: virtio::VENDOR, configuration: none };
    for &(key, value) in settings {
        match key.text {
            "vendor" => device.vendor = value.hexadecimal(8, "a vendor")?,
            "config" => {
                device.configuration = bytes_of(value.text, virtio::CONFIGURATION)
                    .ok_or_else(|| value.wrong("a configuration is 1 to 256 bytes, two hexadecimal digits each"))?;
            }
            _ => return Err(key.wrong("a virtio device has vendor= and config=")),
        }
    }
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::usb::descriptors;

    fn parsed(text: &str) -> Description {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn each_bus_has_its_words() {
        let Description::Platform(device) = parsed("platform:i8042,id=2,mem=64K,irq=5") else { panic!() };
        assert_eq!(
            (device.name.as_str(), device.id, device.window, device.line),
            ("i8042", Some(2), Some(65536), Some(5))
        );
        let Description::I2c(device) = parsed("i2c:lm75@0x48,temp=-23500") else { panic!() };
        assert_eq!((device.address, device.settings), (0x48, [("temp".to_string(), -23500)].to_vec()));
        assert_eq!(device.model, chip::Kind::Lm75);
        let Description::Pci(device) = parsed("pci:8086:10d3:103c:1587,class=020000,rev=3,bar0=128K,bar2=io:32") else {
            panic!()
        };
        assert_eq!((device.id, device.subsystem), ((0x8086, 0x10d3), (0x103c, 0x1587)));
        assert_eq!((device.class, device.revision), (0x02_0000, 3));
        assert_eq!(device.bars[..3], [Some(Bar::Memory(128 << 10)), None, Some(Bar::Ports(32))]);
        let Description::Pci(device) = parsed("pci:1234:11e8") else { panic!() };
        assert_eq!(device.bars[0], Some(Bar::Edu));
        let Description::Hid(device) = parsed("hid:0003:046d:c00e,report=0501,name=a") else { panic!() };
        assert_eq!((device.bus, device.id), (3, (0x046d, 0xc00e)));
        assert_eq!((device.name.as_str(), device.descriptor.as_slice()), ("a", &[5, 1][..]));
        let text =
            "usb:046d:c077,speed=low,interface=030102+ff0000/ff0001:82b:03b32:x0401aabb,product=a mouse,in81=0102+03";
        let Description::Usb(device) = parsed(text) else { panic!() };
        assert_eq!((device.id, device.speed), ((0x046d, 0xc077), usb::Speed::Low));
        assert_eq!(device.device[..8], [18, 1, 0x10, 1, 0, 0, 0, 8]);
        assert_eq!(device.device[8..], [0x6d, 0x04, 0x77, 0xc0, 0, 1, 0, 2, 0, 1]);
        let [configuration] = device.configurations.as_slice() else { panic!("{:?}", device.configurations) };
        assert_eq!(configuration[..9], [9, 2, 9 + 25 + 30 + 27, 0, 2, 1, 0, 0x80, 50]);
        assert_eq!(
            configuration[9..34],
            [9, 4, 0, 0, 1, 3, 1, 2, 0, 9, 0x21, 0x11, 1, 0, 1, 0x22, 50, 0, 7, 5, 0x81, 3, 8, 0, 10]
        );
        assert_eq!(
            configuration[64..],
            [9, 4, 1, 1, 2, 0xff, 0, 1, 0, 4, 1, 0xaa, 0xbb, 7, 5, 0x82, 2, 8, 0, 0, 7, 5, 3, 2, 32, 0, 0]
        );
        assert_eq!(device.reports[&0], reports::MOUSE);
        assert_eq!(device.inputs[&0x81], [[1, 2].to_vec(), [3].to_vec()]);
        let text = "usb:0403:6001,answer=c090:0102+21220100:+a1210000:00c2,serial=A";
        let Description::Usb(device) = parsed(text) else { panic!() };
        assert_eq!((device.strings[&3].as_str(), device.device[16]), ("A", 3));
        let answers: Vec<_> =
            device.answers.iter().map(|one| (one.kind, one.request, one.value, one.data.len())).collect();
        assert_eq!(answers, [(0xc0, 0x90, None, 2), (0x21, 0x22, Some(0x0100), 0), (0xa1, 0x21, Some(0), 2)]);
        let Description::Usb(device) = parsed("usb:1:2,interface=ff0000/ff0001+030102") else { panic!() };
        let endpoints: Vec<_> = descriptors::endpoints(&device.configurations[0]).collect();
        assert_eq!(endpoints, [0x81, 2, 0x83, 0x81, 2, 0x83, 0x84], "settings share them");
        let Description::Virtio(device) = parsed("virtio:4,vendor=1af4") else { panic!() };
        assert_eq!((device.id, device.vendor), (4, 0x1af4));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, part, at) in [
            ("", "", 0),
            ("e1000e", "e1000e", 0),
            ("scsi:1:2", "scsi", 0),
            ("platform:", "", 9),
            ("platform:a b", "a b", 9),
            ("platform:a,irq=99", "99", 15),
            ("platform:a,x", "x", 11),
            ("i2c:lm75", "lm75", 4),
            ("i2c:lm75@0x80", "lm75@0x80", 4),
            ("i2c:lm75@0x48,temp=1,temp=2", "temp", 21),
            ("i2c:lm75@0x48,temp=900000", "900000", 19),
            ("i2c:lm75@0x48,model=x", "x", 20),
            ("i2c:lm75@0x48,speed=1", "speed", 14),
            ("pci:8086", "8086", 4),
            ("pci:8086:10d33", "10d33", 9),
            ("pci:8086:+1", "+1", 9),
            ("pci:ffff:0001", "ffff", 4),
            ("pci:8086:10d3,bar6=1", "bar6", 14),
            ("pci:8086:10d3,bar0=5", "5", 19),
            ("pci:8086:10d3,bar0=io:4096", "4096", 22),
            ("pci:8086:10d3,class=2", "2", 20),
            ("hid:0003:046d", "0003:046d", 4),
            ("hid:0003:046d:c00e0", "c00e0", 14),
            ("hid:3:046d:c00e,report=050", "050", 23),
            ("hid:3:046d:c00e,x=1", "x", 16),
            ("usb:046d", "046d", 4),
            ("usb:046d:+077", "+077", 9),
            ("usb:1:2,speed=fast", "fast", 14),
            ("usb:1:2,class=3", "3", 14),
            ("usb:1:2,interface=03010", "03010", 18),
            ("usb:1:2,interface=030102:81", "81", 25),
            ("usb:1:2,interface=030102:80i", "80i", 25),
            ("usb:1:2,interface=030102:81i0", "81i0", 25),
            ("usb:1:2,interface=030102:x1", "1", 26),
            ("usb:1:2,interface=030102+\u{e4}\u{e4}\u{e4}", "\u{e4}\u{e4}\u{e4}", 25),
            ("usb:1:2,interface=030102:8\u{e4}", "8\u{e4}", 25),
            ("usb:1:2,answer=c0:00", "c0", 15),
            ("usb:1:2,answer=c0901:00", "c0901", 15),
            ("usb:1:2,answer=c0\u{e4}\u{e4}:00", "c0\u{e4}\u{e4}", 15),
            ("usb:1:2,answer=a\u{e4}0:00", "a\u{e4}0", 15),
            ("usb:1:2,in01=00", "in01", 8),
            ("usb:1:2,in91=00", "in91", 8),
            ("usb:1:2,string0=a", "string0", 8),
            ("usb:1:2,descriptors=120100020000004034120100", "120100020000004034120100", 20),
            ("virtio:0", "0", 7),
            ("virtio:4,vendor=x", "x", 16),
            ("virtio:4,rng=1", "rng", 9),
            ("virtio:5,config=1", "1", 16),
        ] {
            let error = text.parse::<Description>().expect_err(text);
            assert_eq!((error.part.as_str(), error.at), (part, at), "{text}: {error}");
        }
    }

    #[test]
    fn descriptors_have_an_end() {
        let interface = |endpoints: usize, extra: usize| {
            let class = ":x".to_string() + &"00".repeat(255);
            alloc::format!("ff0000{}{}", ":81b".repeat(endpoints), class.repeat(extra))
        };
        let device = |interface: &str| alloc::format!("usb:1:2,interface={interface}").parse::<Description>();
        assert!(device(&interface(30, 0)).is_ok());
        assert_eq!(device(&interface(31, 0)).unwrap_err().at, 18);
        // 9 bytes, 9 more, and 255 of them.
        assert!(device(&interface(0, 256)).is_ok());
        assert_eq!(device(&interface(0, 257)).unwrap_err().at, 18);
    }
}
