//! Described USB devices: the core of USB enumerates them, unmodified drivers probe them and leave them.
//!
//! `tests/data/usb.linux-6.1` is what Linux found of QEMU's devices; here their descriptors are described, and everything else has to be
//! as there.

#[path = "world/described.rs"]
mod described;
mod survey;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use ferrmod_machine::Outcome;
use ferrmod_tests::corpus::tree_or_skip;
use world::World;

const RECORDED: &str = include_str!("../data/usb.linux-6.1");

/// A part of the recording: what it is about, where that is, and the lines.
#[derive(Debug)]
struct Part {
    kind: &'static str,
    place: &'static str,
    lines: Vec<&'static str>,
}

impl Part {
    fn value(&self, key: &str) -> Option<&'static str> {
        self.lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    }

    fn events(&self) -> Vec<&'static str> {
        self.lines.iter().filter_map(|line| line.strip_prefix("uevent ")).collect()
    }
}

/// The devices of the recording.
fn recorded() -> Vec<Vec<Part>> {
    let mut devices: Vec<Vec<Part>> = Vec::new();
    for line in RECORDED.lines() {
        if let Some(title) = line.strip_prefix("@ ") {
            let (kind, place) = title.split_once(' ').unwrap_or((title, ""));
            if kind == "device" {
                devices.push(Vec::new());
            }
            devices.last_mut().expect("a device comes first").push(Part { kind, place, lines: Vec::new() });
        } else {
            devices.last_mut().and_then(|parts| parts.last_mut()).expect("a title comes first").lines.push(line);
        }
    }
    devices
}

fn bytes(digits: &str) -> Vec<u8> {
    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The strings of a device by their numbers: those that a descriptor names and Linux has shown.
fn strings(parts: &[Part], descriptors: &[u8]) -> BTreeMap<u8, String> {
    let device = &parts[0];
    let current: u8 = device.value("bConfigurationValue").unwrap().parse().unwrap();
    let mut strings = BTreeMap::new();
    let mut rest = &descriptors[18..];
    let mut in_current = false;
    while let [length, kind, ..] = *rest {
        let (one, after) = rest.split_at(length.into());
        match kind {
            2 => {
                in_current = one[5] == current;
                if in_current && let Some(text) = device.value("configuration") {
                    strings.insert(one[6], text.to_owned());
                }
            }
            4 if in_current => {
                let number = format!("{:02x}", one[2]);
                let is_this =
                    |part: &&Part| part.kind == "interface" && part.value("bInterfaceNumber") == Some(&number);
                if let Some(text) = parts.iter().find(is_this).and_then(|part| part.value("interface")) {
                    strings.insert(one[8], text.to_owned());
                }
            }
            // The address of a network card is one (CDC ECM 1.2, 5.4).
            0x24 if in_current && one[2] == 0x0f => {
                let address = parts.iter().find_map(|part| part.value("address")).unwrap();
                strings.insert(one[3], address.replace(':', ""));
            }
            _ => {}
        }
        rest = after;
    }
    strings.retain(|&number, text| number != 0 && !text.is_empty());
    strings
}

/// What describes such a device.
fn description(parts: &[Part]) -> String {
    let device = &parts[0];
    let value = |key| device.value(key).unwrap();
    let speed = match value("speed") {
        "480" => "high",
        "12" => "full",
        other => panic!("{other}"),
    };
    let digits = value("descriptors");
    let mut text = format!("usb:{}:{},speed={speed},descriptors={digits}", value("idVendor"), value("idProduct"));
    for key in ["manufacturer", "product", "serial"] {
        write!(text, ",{key}={}", value(key)).unwrap();
    }
    for (number, string) in strings(parts, &bytes(digits)) {
        write!(text, ",string{number}={string}").unwrap();
    }
    if let Some(report) = parts.iter().find_map(|part| part.value("report_descriptor")) {
        write!(text, ",report={report}").unwrap();
    }
    text
}

impl World {
    /// The files at `place` are as recorded.
    fn is_as_recorded(&mut self, place: &str, part: &Part) {
        for line in &part.lines {
            let Some((key, expected)) = line.split_once('=').filter(|(key, _)| !key.starts_with("uevent ")) else {
                continue;
            };
            let found = self.bytes(&format!("{place}/{key}"));
            let found = match key {
                "descriptors" => hexadecimal(&found),
                _ => String::from_utf8_lossy(&found).trim_end_matches('\n').to_owned(),
            };
            assert_eq!(found, expected, "{place}/{key}{}", self.log());
        }
        let events = self.read(&format!("{place}/uevent"));
        for expected in part.events() {
            assert!(events.lines().any(|line| line == expected), "{expected}: {events}");
        }
    }

    /// The one directory below `place` whose name begins so.
    fn below(&mut self, place: &str, begin: &str) -> String {
        let names = self.names(place);
        let name = names.iter().find(|name| name.starts_with(begin));
        format!("{place}/{}", name.unwrap_or_else(|| panic!("{begin}: {names:?}{}", self.log())))
    }
}

/// Every file that Linux has of QEMU's devices, their interfaces and endpoints, and what their drivers made.
#[test]
fn devices_are_found_as_on_linux() {
    for version in ["6.1", "6.12"] {
        let Some(tree) = tree_or_skip(version) else { return };
        let mut world = World::boot(tree);
        let early = recorded();
        assert_eq!(early.len(), 5);
        let refused = world.machine.add_device(&description(&early[0])).unwrap();
        assert_eq!(refused, Outcome::Errno(19), "{version}: no controller");
        world.load("vhci_hcd", "");
        world.load("hid_generic", "");
        world.load("usbhid", "");
        world.load("ftdi_sio", "");
        world.load("cdc_ether", "");
        for (parts, count) in early.iter().zip(1..) {
            let number = world.add(&description(parts));
            let device = world.device(number);
            let (above, interface) = device.path.rsplit_once('/').unwrap_or_default();
            let name = interface.split(':').next().unwrap_or_default();
            assert_eq!(above, format!("/sys/devices/platform/vhci_hcd.0/usb1/{name}"), "{device:?}{}", world.log());
            for part in parts {
                let place = format!("/sys/bus/usb/devices/{name}");
                let interface = format!("{place}:{}", part.place.split(' ').next().unwrap_or(""));
                match part.kind {
                    "device" => world.is_as_recorded(&place, part),
                    "interface" => world.is_as_recorded(&interface, part),
                    "endpoint" => {
                        let endpoint = part.place.rsplit(' ').next().unwrap_or("");
                        world.is_as_recorded(&format!("{interface}/{endpoint}"), part);
                    }
                    "hid" => {
                        let hid = world.below(&interface, "0003:");
                        let descriptor = world.bytes(&format!("{hid}/report_descriptor"));
                        assert_eq!(Some(hexadecimal(&descriptor).as_str()), part.value("report_descriptor"));
                        let events = world.read(&format!("{hid}/uevent"));
                        for expected in part.events() {
                            assert!(events.lines().any(|line| line == expected), "{expected}: {events}");
                        }
                        let inputs = world.read("/proc/bus/input/devices");
                        let name = format!("N: Name=\"{}\"", part.value("name").unwrap());
                        let block = inputs.split("\n\n").find(|block| block.contains(&name));
                        let block = block.unwrap_or_else(|| panic!("{name}: {inputs}"));
                        for kind in ["ev", "key", "rel", "abs", "msc", "led"] {
                            let bits = part.value(&format!("capabilities/{kind}")).unwrap();
                            let line = format!("B: {}={bits}", kind.to_uppercase());
                            assert_eq!(block.lines().any(|other| other == line), bits != "0", "{line}: {block}");
                        }
                    }
                    "net" => {
                        let name = part.value("name").unwrap();
                        assert_eq!(world.names(&format!("{interface}/net")), [name]);
                        for key in ["address", "type", "mtu"] {
                            let found = world.read(&format!("/sys/class/net/{name}/{key}"));
                            assert_eq!(Some(found.trim_end()), part.value(key), "{key}");
                        }
                    }
                    "tty" => {
                        let name = part.value("name").unwrap();
                        let events = world.read(&format!("{interface}/{name}/uevent"));
                        assert_eq!(events.lines().collect::<Vec<_>>(), part.events());
                        assert_eq!(world.names(&format!("{interface}/{name}/tty")), [name]);
                        assert_eq!(world.read(&format!("/sys/class/tty/{name}/dev")), "188:0\n");
                        assert!(world.names("/dev").iter().any(|other| other == name));
                    }
                    other => panic!("{other}"),
                }
            }
            let expected =
                parts.iter().find(|part| part.kind == "interface").map(|part| part.value("modalias").unwrap());
            assert_eq!(Some(device.modalias.as_str()), expected);
            assert!(!device.probes.is_empty() && device.probes.iter().all(|(_, result)| *result == 0), "{device:?}");
            // Every second one is unplugged, the others stay for the unloading of their drivers.
            if count % 2 == 0 {
                assert_eq!(world.machine.remove_device(number).unwrap(), Outcome::Done(()));
                assert!(
                    !world.names("/sys/bus/usb/devices").iter().any(|other| other.starts_with(name)),
                    "{}",
                    world.log()
                );
            }
        }
        assert!(
            world
                .log()
                .contains("input,hidraw0: USB HID v1.11 Keyboard [QEMU QEMU USB Keyboard] on usb-vhci_hcd.0-1/input0")
        );
        assert!(world.log().contains("FTDI USB Serial Device converter now attached to ttyUSB0"));
        world.end();
    }
}

/// What Linux said to a device with broken descriptors, and the devices and drivers that came of it.
struct Broken {
    name: &'static str,
    descriptors: &'static str,
    log: Vec<&'static str>,
    found: Vec<&'static str>,
}

fn broken() -> Vec<Broken> {
    let mut all: Vec<Broken> = Vec::new();
    for line in include_str!("../data/usb-refused.linux-6.1").lines() {
        if let Some((name, descriptors)) = line.strip_prefix("@ ").and_then(|title| title.split_once(' ')) {
            all.push(Broken { name, descriptors, log: Vec::new(), found: Vec::new() });
        } else if let Some(last) = all.last_mut() {
            match line.strip_prefix("= ") {
                Some(found) => last.found.push(found),
                None => last.log.push(line.trim_start()),
            }
        }
    }
    all
}

/// A line of the log without the numbers that count devices.
fn without_number(line: &str) -> String {
    let mut out = line.to_owned();
    for before in ["device number ", "Request ("] {
        if let Some(start) = line.find(before).map(|at| at + before.len()) {
            let end =
                start + line[start..].find(|character: char| !character.is_ascii_digit()).unwrap_or(line.len() - start);
            out = format!("{}N{}", &line[..start], &line[end..]);
        }
    }
    out
}

impl World {
    /// What the log says of the device in the first port since it was plugged in.
    fn said(&mut self) -> Vec<String> {
        let log = self.log();
        let since = log.rfind("pdev(0) rhport(0)").unwrap_or(0);
        let concerns = |line: &&str| ["usb 1-", "usb usb1", "1-1:1", "hub 1-0"].iter().any(|part| line.contains(part));
        log[since..].lines().filter(concerns).map(without_number).collect()
    }

    /// The device in the first port and its interfaces, with their drivers.
    fn found(&mut self) -> Vec<String> {
        let names =
            self.names("/sys/bus/usb/devices").into_iter().filter(|name| name.starts_with("1-1")).collect::<Vec<_>>();
        let driver = |world: &mut Self, name: &str| {
            let events = world.read(&format!("/sys/bus/usb/devices/{name}/uevent"));
            events.lines().find_map(|line| line.strip_prefix("DRIVER=")).unwrap_or("").to_owned()
        };
        names.into_iter().map(|name| format!("{name} {}", driver(self, &name)).trim_end().to_owned()).collect()
    }
}

/// Descriptors that break the rules: refused or mended with the words and the outcome of Linux, and nobody falls over.
#[test]
fn broken_descriptors_are_refused_as_on_linux() {
    /// Most of the time is spent waiting, as the bus prescribes it.
    const SIDE_BY_SIDE: usize = 6;
    if tree_or_skip("6.1").is_none() {
        return;
    }
    let all = broken();
    assert_eq!(all.len(), 34);
    std::thread::scope(|scope| {
        for start in 0..SIDE_BY_SIDE {
            let part = all.iter().skip(start).step_by(SIDE_BY_SIDE);
            scope.spawn(move || refuse(part));
        }
    });
}

fn refuse<'a>(part: impl Iterator<Item = &'a Broken>) {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::boot(tree);
    for module in ["vhci_hcd", "hid_generic", "usbhid", "pl2303", "cdc_ether"] {
        world.load(module, "");
    }
    for Broken { name, descriptors, log, found } in part {
        let id = if descriptors.contains("7b060323") { "067b:2303" } else { "1234:5678" };
        let number = world.add(&format!("usb:{id},descriptors={descriptors}"));
        for _ in 0..100 {
            if world.said().len() >= log.len() {
                break;
            }
            world.machine.run(Duration::from_millis(100)).unwrap();
        }
        assert_eq!(&world.said(), log, "{name}");
        assert_eq!(&world.found(), found, "{name}");
        assert_eq!(world.device(number).driver, None, "{name}");
        assert_eq!(world.machine.remove_device(number).unwrap(), Outcome::Done(()));
        assert_eq!(world.found(), [""; 0], "{name}");
    }
    world.end();
}

/// A character driver and both directions: what a program writes is what the endpoint takes, what the endpoint is fed is what it reads.
/// The device goes while its file is open.
#[test]
fn a_printer_is_written_and_read() {
    for version in ["6.1", "6.12"] {
        let Some(tree) = tree_or_skip(version) else { return };
        let mut world = World::boot(tree);
        world.load("vhci_hcd", "");
        world.load("usblp", "");
        // The class request for what it is, as IEEE 1284 has it: a length and a text.
        let number = world.add("usb:04b8:0001,interface=070102:01b:82b,answer=a100:000e4d46473a462c4d444c3a503b");
        let device = world.device(number);
        assert_eq!(device.modalias, "usb:v04B8p0001d0100dc00dsc00dp00ic07isc01ip02in00", "{version}");
        assert_eq!(device.probes, [("usblp".to_owned(), 0)], "{version}{}", world.log());
        assert_eq!(world.read(&format!("{}/ieee1284_id", device.path)), "MFG:F,MDL:P;");

        let Outcome::Done(file) = world.machine.open("/dev/usb/lp0", 2).unwrap() else { panic!("{}", world.log()) };
        assert_eq!(world.machine.write(file, b"hello").unwrap(), Outcome::Done(5), "{version}{}", world.log());
        let endpoints = format!("/proc/ferrmod-usb/{number}");
        assert_eq!(world.names(&endpoints), ["00", "01", "82"]);
        assert_eq!(world.read(&format!("{endpoints}/01")), "hello");
        assert_eq!(world.read(&format!("{endpoints}/01")), "", "it was told");
        world.put(&format!("{endpoints}/82"), "ready");
        assert_eq!(world.machine.read(file, 64).unwrap(), Outcome::Done(b"ready".to_vec()), "{version}{}", world.log());

        assert_eq!(world.machine.remove_device(number).unwrap(), Outcome::Done(()));
        assert_eq!(world.machine.write(file, b"gone").unwrap(), Outcome::Errno(19), "{version}");
        assert_eq!(world.machine.close(file).unwrap(), Outcome::Done(()));
        assert!(world.log().contains("usblp0: removed"), "{}", world.log());
        world.end();
    }
}

/// The reports of a mouse come through its interrupt endpoint, and what a program sends goes out as a request of the class.
#[test]
fn a_mouse_gives_reports() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::boot(tree);
    world.load("vhci_hcd", "");
    world.load("hid_generic", "");
    world.load("usbhid", "");
    let number = world.add("usb:046d:c077,speed=low,interface=030102,answer=2109:,product=Mouse,in81=010203");
    assert_eq!(world.device(number).driver.as_deref(), Some("usbhid"), "{}", world.log());
    assert!(world.log().contains("input,hidraw0: USB HID v1.11 Mouse [Mouse]"), "{}", world.log());
    let Outcome::Done(file) = world.machine.open("/dev/hidraw0", 2).unwrap() else { panic!("{}", world.log()) };
    let endpoints = format!("/proc/ferrmod-usb/{number}");
    world.put(&format!("{endpoints}/81"), "\x00\x7f\x01");
    // What was there before somebody listened is dropped by the driver, which waits so long when a device is opened.
    assert_eq!(world.machine.read(file, 64).unwrap(), Outcome::Done([0, 0x7f, 1].to_vec()), "{}", world.log());
    assert_eq!(world.machine.write(file, b"\0U").unwrap(), Outcome::Done(2), "{}", world.log());
    assert_eq!(world.read(&format!("{endpoints}/00")), "U");
    // Waiting longer than a request may take is what was asked for.
    world.machine.set_timeout(Duration::from_millis(200));
    assert_eq!(world.machine.poll(file, 1, Duration::from_millis(400)).unwrap(), Outcome::Done(0), "{}", world.log());
    world.machine.set_timeout(Duration::from_secs(20));
    assert_eq!(world.machine.close(file).unwrap(), Outcome::Done(()));
    world.end();
}

/// One driver for two interfaces, with descriptors of its class; and a bus of another speed.
#[test]
fn a_modem_has_two_interfaces() {
    for version in ["6.1", "6.12"] {
        let Some(tree) = tree_or_skip(version) else { return };
        let mut world = World::boot(tree);
        world.load("vhci_hcd", "");
        world.load("cdc_acm", "");
        for (speed, name) in [("full", "1-1"), ("super", "2-1")] {
            let number = world.add(&format!(
                "usb:1d50:6001,speed={speed},interface=020201:x0524001001:x04240202:x0524060001:83i+0a0000:81b:02b"
            ));
            let device = world.device(number);
            assert_eq!(device.driver.as_deref(), Some("cdc_acm"), "{version}{}", world.log());
            assert!(device.path.ends_with(&format!("/{name}:1.0")), "{device:?}");
            assert!(world.log().contains("ttyACM0: USB ACM device"));
            assert_eq!(world.names(&format!("{}/tty", device.path)), ["ttyACM0"]);
            let second = world.read(&format!("/sys/bus/usb/devices/{name}:1.1/uevent"));
            assert!(second.contains("DRIVER=cdc_acm\n"), "{second}");
            assert_eq!(world.machine.remove_device(number).unwrap(), Outcome::Done(()));
            assert!(!world.names("/sys/class/tty").contains(&"ttyACM0".to_owned()));
        }
        world.end();
    }
}

/// The controller's module is not held by what is plugged in: it goes, and the device with it.
#[test]
fn a_device_goes_with_its_controller() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::boot(tree);
    world.load("usbhid", "");
    world.load("vhci_hcd", "");
    let number = world.add("usb:046d:c077,interface=030102");
    assert_eq!(world.device(number).driver.as_deref(), Some("usbhid"));
    world.unload("vhci_hcd");
    let device = world.device(number);
    assert_eq!((device.path.as_str(), device.driver, device.probes), ("", None, Vec::new()));
    world.load("vhci_hcd", "");
    let other = world.add("usb:046d:c077,interface=030102");
    assert_eq!(world.machine.remove_device(number).unwrap(), Outcome::Done(()));
    assert_eq!(world.device(other).driver.as_deref(), Some("usbhid"), "another one in the same port stays");
    world.end();
}
