//! Described devices: unmodified drivers probe them, use them and leave them.

#[path = "world/described.rs"]
mod described;
mod survey;
mod world;

use std::time::Duration;

use ferrmod_machine::{LoadFlags, LoadOutcome, MachineError, Outcome};
use ferrmod_tests::corpus::{own_module_or_skip, tree_or_skip};
use world::World;

/// The sensors' own `sysfs` interface, in both kernels: what the data sheet's registers say is what a program reads.
#[test]
fn sensors_are_read_through_sysfs() {
    for version in ["6.1", "6.12"] {
        let Some(tree) = tree_or_skip(version) else { return };
        let mut world = World::boot(tree);
        for (chip, address, description) in
            [("lm75", "0048", "i2c:lm75@0x48,temp=23500"), ("jc42", "0018", "i2c:jc42@0x18,temp=23500")]
        {
            let number = world.add(description);
            let before = world.device(number);
            assert_eq!((before.driver, before.probes), (None, Vec::new()), "{version} {chip}");
            assert_eq!(before.modalias, format!("i2c:{chip}"));
            world.load(chip, "");
            let device = world.device(number);
            assert_eq!(device.driver.as_deref(), Some(chip), "{version}{}", world.log());
            assert_eq!(device.probes, [(chip.to_owned(), 0)]);
            assert_eq!(device.path, format!("/sys/devices/i2c-0/0-{address}"));
            let uevent = world.read(&format!("/sys/bus/i2c/devices/0-{address}/uevent"));
            assert_eq!(uevent, format!("DRIVER={chip}\nMODALIAS=i2c:{chip}\n"));

            let sensor = "/sys/class/hwmon/hwmon0";
            assert_eq!(world.read(&format!("{sensor}/name")), format!("{chip}\n"));
            assert_eq!(world.read(&format!("{sensor}/temp1_input")), "23500\n", "{version} {chip}");
            for temperature in [-12_500, 0, 61_000] {
                world.machine.set_device(number, "temp", temperature).unwrap();
                assert_eq!(
                    world.read(&format!("{sensor}/temp1_input")),
                    format!("{temperature}\n"),
                    "{version} {chip}"
                );
            }
            world.put(&format!("{sensor}/temp1_max"), "42000\n");
            assert_eq!(world.read(&format!("{sensor}/temp1_max")), "42000\n", "{version} {chip}");
            let refused = world.machine.write_file(&format!("{sensor}/temp1_max"), b"warm\n").unwrap();
            assert_eq!(refused, Outcome::Errno(22));
            if chip == "jc42" {
                assert_eq!(world.read(&format!("{sensor}/temp1_max_alarm")), "1\n", "61 degrees are above 42");
            }
            let events = world.read("/proc/ferrmod-uevents");
            for event in
                [format!("bind@/devices/i2c-0/0-{address}"), format!("add@/devices/i2c-0/0-{address}/hwmon/hwmon0")]
            {
                assert!(events.contains(&event), "{event} is not in {events}");
            }
            world.end();
        }
    }
}

/// A second driver for the same registers: 12 bits, and a map with a cache.
#[test]
fn a_finer_sensor_says_sixteenths() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::boot(tree);
    let number = world.add("i2c:tmp102@0x49,temp=20063");
    world.load("tmp102", "");
    // The driver has started the first conversion and wants it to have ended.
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(world.read("/sys/class/hwmon/hwmon0/temp1_input"), "20062\n", "20.0625 degrees");
    world.machine.set_device(number, "temp", -63).unwrap();
    assert_eq!(world.read("/sys/class/hwmon/hwmon0/temp1_input"), "-62\n", "one sixteenth below zero");
    world.end();
}

/// Chips come and go by hand, as `/sys` lets them on Linux; taken addresses are refused.
#[test]
fn chips_are_made_through_sysfs() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::boot(tree);
    world.add("i2c:lm75@0x48");
    assert_eq!(world.machine.add_device("i2c:jc42@0x48").unwrap(), Outcome::Errno(16), "the address is taken");
    world.load("tmp102", "");
    let adapter = "/sys/bus/i2c/devices/i2c-0";
    world.put(&format!("{adapter}/new_device"), "tmp102 0x4a\n");
    assert!(world.log().contains("error reading config register"), "nobody answers there{}", world.log());
    assert_eq!(
        world.machine.list_directory("/sys/bus/i2c/devices").unwrap().done().unwrap(),
        ["0-0048", "0-004a", "i2c-0"]
    );
    assert_eq!(world.machine.write_file(&format!("{adapter}/new_device"), b"x\n").unwrap(), Outcome::Errno(22));
    world.put(&format!("{adapter}/delete_device"), "0x4a\n");
    assert_eq!(world.machine.write_file(&format!("{adapter}/delete_device"), b"0x4a\n").unwrap(), Outcome::Errno(2));
    world.end();
}

/// An unmodified adapter: `i2c-stub` answers SMBus commands from memory of its own.
#[test]
fn an_adapter_of_a_module_carries_a_sensor() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::boot(tree);
    world.load("i2c_stub", "chip_addr=0x48");
    assert_eq!(world.read("/sys/bus/i2c/devices/i2c-0/name"), "SMBus stub driver\n");
    world.load("lm75", "");
    world.put("/sys/bus/i2c/devices/i2c-0/new_device", "lm75 0x48\n");
    assert_eq!(
        world.read("/sys/class/hwmon/hwmon0/temp1_input"),
        "0\n",
        "the stub's registers begin as zeros{}",
        world.log()
    );
    world.put("/sys/class/hwmon/hwmon0/temp1_max", "55500\n");
    assert_eq!(world.read("/sys/class/hwmon/hwmon0/temp1_max"), "55500\n");
    world.end();
}

/// The driver of QEMU's device, built by kbuild: identification, liveness, factorials by interrupt, DMA, by message and by line.
#[test]
fn the_edu_device_is_driven() {
    let (Some(tree), Some(module)) = (tree_or_skip("6.1"), own_module_or_skip("edu")) else { return };
    let module = std::fs::read(module).unwrap();
    let mut world = World::boot(tree);
    for (arguments, how) in [("msi=1", "messages"), ("msi=0", "line")] {
        let number = world.add("pci:1234:11e8");
        assert_eq!(world.machine.load(&module, arguments.as_bytes(), LoadFlags::empty()).unwrap(), LoadOutcome::Loaded);
        let device = world.device(number);
        assert_eq!(device.probes, [("edu".to_owned(), 0)], "{}", world.log());
        let log = world.log();
        assert!(log.contains("identification 010000ed") && log.contains(&format!("{how}, DMA 0")), "{log}");
        assert_eq!(world.read(&format!("{}/vendor", device.path)), "0x1234\n");
        assert!(device.modalias.starts_with("pci:v00001234d000011E8sv00000000sd00000000"), "{}", device.modalias);
        for (of, result) in [(0, 1_u32), (5, 120), (12, 479_001_600), (13, 1_932_053_504)] {
            world.put(&format!("{}/factorial", device.path), &format!("{of}\n"));
            assert_eq!(world.read(&format!("{}/factorial", device.path)), format!("{result}\n"));
        }
        // Two transfers and four factorials.
        assert_eq!(world.read(&format!("{}/interrupts", device.path)), "6\n");
        world.end();
    }
    assert!(world.log().contains("gone after 6 interrupts"));
}

/// A device where nobody answers is a dead one: the driver says so and takes nothing.
#[test]
fn a_window_where_nobody_answers_is_no_edu() {
    let (Some(tree), Some(module)) = (tree_or_skip("6.1"), own_module_or_skip("edu")) else { return };
    let mut world = World::boot(tree);
    let number = world.add("pci:1234:11e8,bar0=1M");
    let module = std::fs::read(module).unwrap();
    assert_eq!(world.machine.load(&module, b"", LoadFlags::empty()).unwrap(), LoadOutcome::Loaded);
    let device = world.device(number);
    assert_eq!((device.driver, device.probes), (None, vec![("edu".to_owned(), -19)]));
    assert!(world.log().contains("identification ffffffff"));
    world.end();
}

/// An unmodified driver of Debian's with a card where nobody answers comes to the error it has on Linux for a dead one, and gives
/// back all it took.
#[test]
fn a_dead_network_card_is_refused_by_its_driver() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::boot(tree);
    let number = world.add("pci:8086:10d3,bar0=128K,class=020000");
    world.load("e1000e", "");
    let device = world.device(number);
    assert_eq!(device.modalias, "pci:v00008086d000010D3sv00000000sd00000000bc02sc00i00");
    // The PHY cannot be reached: `E1000_ERR_PHY`, which the driver returns as it is.
    assert_eq!((device.driver, device.probes), (None, vec![("e1000e".to_owned(), -2)]), "{}", world.log());
    assert!(world.log().contains("e1000e: probe of 0000:00:02.0 failed with error -2"), "{}", world.log());
    world.end();
}

/// HID devices of an unmodified transport: the driver for everything takes what no other driver is for, in both kernels.
#[test]
fn a_hid_device_is_probed() {
    for version in ["6.1", "6.12"] {
        let Some(tree) = tree_or_skip(version) else { return };
        let mut world = World::boot(tree);
        assert_eq!(world.machine.add_device("hid:0003:046d:c00e").unwrap(), Outcome::Errno(19), "no transport");
        world.load("uhid", "");
        let number = world.add("hid:0003:046d:c00e,name=mouse");
        let device = world.device(number);
        assert_eq!((device.driver, device.probes), (None, Vec::new()), "{version}");
        assert_eq!(device.modalias, "hid:b0003g0001v0000046Dp0000C00E");
        world.load("hid_generic", "");
        let device = world.device(number);
        assert_eq!(device.probes, [("hid-generic".to_owned(), 0)], "{version}{}", world.log());
        assert!(world.log().contains("input,hidraw0: USB HID v0.00 Mouse [mouse] on ferrmod/"), "{}", world.log());
        let Outcome::Done(descriptor) = world.machine.read_file(&format!("{}/report_descriptor", device.path)).unwrap()
        else {
            panic!("{version}: no descriptor")
        };
        assert_eq!(descriptor[..6], [0x05, 0x01, 0x09, 0x02, 0xa1, 0x01]);
        assert_eq!(descriptor.len(), 50);
        assert!(world.machine.list_directory("/dev").unwrap().done().unwrap().contains(&"hidraw0".to_owned()));
        // The device keeps its transport, as a program does that has its file open.
        assert_eq!(world.machine.unload(b"uhid", false).unwrap(), Outcome::Errno(11));
        assert_eq!(world.machine.remove_device(number).unwrap(), Outcome::Done(()));
        assert_eq!(world.machine.list_directory("/sys/bus/hid/devices").unwrap().done().unwrap(), [""; 0]);
        world.end();
    }
}

/// A described keyboard types: its reports are events of `/dev/input`, and what is told to its lights comes back as a report.
#[test]
fn a_described_keyboard_types() {
    for version in ["6.1", "6.12"] {
        let Some(tree) = tree_or_skip(version) else { return };
        let mut world = World::boot(tree);
        for module in ["uhid", "hid_generic", "evdev"] {
            world.load(module, "");
        }
        let number = world.add("hid:0003:046d:c31c,report=keyboard,name=keys");
        let path = world.device(number).path;
        let inputs = world.names(&format!("{path}/input"));
        let [input] = inputs.as_slice() else { panic!("{inputs:?}{}", world.log()) };
        assert_eq!(world.read(&format!("{path}/input/{input}/name")), "keys\n");
        let events = world.names(&format!("{path}/input/{input}"));
        let event = events.iter().find(|name| name.starts_with("event")).expect("evdev has taken it");
        let Outcome::Done(file) = world.machine.open(&format!("/dev/input/{event}"), 0o4002).unwrap() else {
            panic!("{version}: no file{}", world.log())
        };
        let heard = |world: &mut World, report: &[u8]| {
            assert_eq!(world.machine.send_report(number, report).unwrap(), Outcome::Done(()), "{}", world.log());
            let bytes = world.machine.read(file, 24 * 16).unwrap().done().unwrap_or_default();
            let event =
                |one: &[u8]| (u16::from_le_bytes([one[16], one[17]]), u16::from_le_bytes([one[18], one[19]]), one[20]);
            bytes.chunks_exact(24).map(event).filter(|event| event.0 == 1).collect::<Vec<_>>()
        };
        // Shift and a; then nothing.
        assert_eq!(heard(&mut world, &[2, 0, 4, 0, 0, 0, 0, 0]), [(1, 42, 1), (1, 30, 1)], "{version}");
        assert_eq!(heard(&mut world, &[0; 8]), [(1, 42, 0), (1, 30, 0)], "{version}");
        let mut light = [0; 48];
        // `EV_LED`, `LED_CAPSL`, 1; and `SYN_REPORT`.
        (light[16], light[18], light[20]) = (0x11, 1, 1);
        assert_eq!(world.machine.write(file, &light).unwrap(), Outcome::Done(48));
        world.machine.run(Duration::from_millis(50)).unwrap();
        let reports = world.machine.take_reports(number).unwrap().done().expect("it is a HID device");
        let told: Vec<(&str, &[u8])> =
            reports.iter().map(|report| (report.kind.as_str(), report.bytes.as_slice())).collect();
        assert_eq!(told, [("output", &[2_u8][..])], "{version}{}", world.log());
        assert_eq!(world.machine.take_reports(number).unwrap(), Outcome::Done(Vec::new()));
        assert_eq!(world.machine.send_report(number, &[0; 5000]).unwrap(), Outcome::Errno(22));
        assert_eq!(world.machine.send_report(99, &[0]).unwrap(), Outcome::Errno(19));
        assert_eq!(world.machine.close(file).unwrap(), Outcome::Done(()));
        assert_eq!(world.machine.remove_device(number).unwrap(), Outcome::Done(()));
        assert_eq!(world.names("/sys/class/input"), [""; 0], "{version}");
        world.end();
    }
}

/// The driver of one maker gets its device, whichever was there first; a keyboard is one by its descriptor.
#[test]
fn a_hid_device_is_for_the_driver_of_its_maker() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::boot(tree);
    world.load("uhid", "");
    world.load("hid_generic", "");
    let mouse = world.add("hid:0003:09da:000a");
    let keyboard = world.add("hid:0005:1234:0001,report=keyboard");
    world.load("hid_a4tech", "");
    assert_eq!(world.device(mouse).probes, [("hid-generic".to_owned(), -19), ("a4tech".to_owned(), 0)]);
    let device = world.device(keyboard);
    assert_eq!(device.modalias, "hid:b0005g0001v00001234p00000001");
    assert_eq!(device.driver.as_deref(), Some("hid-generic"));
    assert!(world.log().contains("BLUETOOTH HID v0.00 Keyboard"), "{}", world.log());
    // What is no descriptor is refused by the driver that reads it.
    let broken = world.add("hid:0003:1234:0002,report=a1");
    let device = world.device(broken);
    assert_eq!(device.driver, None, "{}", world.log());
    assert!(device.probes.iter().all(|(_, result)| *result == -22), "{:?}", device.probes);
    for number in [mouse, keyboard, broken] {
        assert_eq!(world.machine.remove_device(number).unwrap(), Outcome::Done(()));
    }
    world.end();
}

/// Registers, queues and interrupts of virtio: unmodified modules make the device, find it and read from it.
#[test]
fn a_virtio_source_of_entropy_is_read() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::boot(tree);
    let number = world.add("virtio:4");
    assert_eq!(world.device(number).modalias, "acpi:LNRO0005:", "what carries it");
    world.load("virtio_mmio", "");
    let device = world.device(number);
    assert_eq!(device.modalias, "virtio:d00000004v00001AF4");
    assert_eq!(device.path, format!("/sys/devices/platform/virtio-mmio.{number}/virtio0"));
    world.load("virtio_rng", "");
    assert_eq!(world.device(number).probes, [("virtio_rng".to_owned(), 0)], "{}", world.log());
    assert_eq!(world.read(&format!("{}/status", device.path)), "0x0000000f\n");
    assert_eq!(world.read(&format!("{}/features", device.path)).trim_end().find('1'), Some(32), "VIRTIO_F_VERSION_1");

    let Outcome::Done(file) = world.machine.open("/dev/hwrng", 0).unwrap() else { panic!("no file{}", world.log()) };
    let mut read = |length| world.machine.read(file, length).unwrap().done().unwrap();
    let (first, second) = (read(64), read(64));
    assert_eq!((first.len(), second.len()), (64, 64));
    assert_ne!(first, second);
    assert!(first.iter().any(|&byte| byte != 0) && read(1000).len() == 1000);
    assert_eq!(world.machine.remove_device(number).unwrap(), Outcome::Done(()));
    assert_eq!(world.machine.read(file, 1).unwrap(), Outcome::Errno(19), "its source is gone");
    assert_eq!(world.machine.close(file).unwrap(), Outcome::Done(()));
    world.end();
}

/// A virtio device whose transport goes first; and a kernel that has the core of virtio built in.
#[test]
fn a_virtio_device_goes_with_its_transport() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::boot(tree);
    let number = world.add("virtio:4");
    world.load("virtio_rng", "");
    world.load("virtio_mmio", "");
    assert_eq!(world.device(number).driver.as_deref(), Some("virtio_rng"));
    assert_eq!(world.machine.unload(b"virtio_mmio", false).unwrap(), Outcome::Done(()));
    assert_eq!(world.device(number).modalias, "acpi:LNRO0005:");
    world.end();

    let Some(tree) = tree_or_skip("6.12") else { return };
    let mut world = World::boot(tree);
    assert_eq!(world.machine.add_device("virtio:4").unwrap(), Outcome::Errno(95));
    world.end();
}

/// A driver that waits for another one is asked again when that one has got its device, and not before.
#[test]
fn a_deferred_device_is_probed_again() {
    let (Some(tree), Some(module)) = (tree_or_skip("6.1"), own_module_or_skip("deferral")) else { return };
    let mut world = World::boot(tree);
    let waiting = "/sys/kernel/debug/devices_deferred";
    let consumer = world.add("platform:deferral-consumer");
    let module = std::fs::read(module).unwrap();
    assert_eq!(world.machine.load(&module, b"", LoadFlags::empty()).unwrap(), LoadOutcome::Loaded);
    let deferred = ("deferral-consumer".to_owned(), -517);
    assert_eq!(world.device(consumer).probes, std::slice::from_ref(&deferred));
    assert_eq!(world.read(waiting), "deferral-consumer\tdeferral-consumer: the provider is not there\n");
    world.add("platform:nobody");
    world.machine.run(Duration::from_millis(100)).unwrap();
    assert_eq!(world.device(consumer).probes, std::slice::from_ref(&deferred), "nothing has changed");
    world.add("platform:deferral-provider");
    world.machine.run(Duration::from_millis(100)).unwrap();
    assert_eq!(world.device(consumer).probes, [deferred, ("deferral-consumer".to_owned(), 0)], "{}", world.log());
    assert_eq!(world.read(waiting), "");
    world.end();
}

/// The root hub of an unmodified host controller: the core of USB enumerates it, and its own driver takes it.
#[test]
fn a_root_hub_is_enumerated() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::boot(tree);
    world.load("dummy_hcd", "");
    let hubs = world.machine.list_directory("/sys/bus/usb/devices").unwrap().done().unwrap();
    assert_eq!(hubs, ["1-0:1.0", "usb1"], "{}", world.log());
    let hub = world.read("/sys/bus/usb/devices/1-0:1.0/uevent");
    assert!(hub.contains("DRIVER=hub\n") && hub.contains("MODALIAS=usb:v1D6Bp0002d"), "{hub}");
    assert_eq!(world.read("/sys/bus/usb/devices/usb1/product"), "Dummy host controller\n");
    world.end();
}

/// A device that goes while a driver has it is taken from the driver first.
#[test]
fn a_device_goes_before_its_driver() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::boot(tree);
    world.load("lm75", "");
    let number = world.add("i2c:lm75@0x48");
    assert_eq!(world.device(number).driver.as_deref(), Some("lm75"));
    assert_eq!(world.machine.remove_device(number).unwrap(), Outcome::Done(()));
    assert_eq!(world.machine.list_directory("/sys/class/hwmon").unwrap().done().unwrap(), [""; 0]);
    assert_eq!(world.machine.remove_device(number).unwrap(), Outcome::Errno(19));
    world.end();
}

/// What is no description is refused with its place, and the machine goes on.
#[test]
fn what_is_no_device_is_refused() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::boot(tree);
    let refusal = |result| match result {
        Err(MachineError::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    };
    let reason = refusal(world.machine.add_device("i2c:lm75@0x48,temp=hot").map(drop));
    assert_eq!(reason, "`hot` at character 20: a setting of a chip is a number");
    let number = world.add("i2c:lm75@0x48");
    let reason = refusal(world.machine.set_device(number, "temp", 200_000));
    assert_eq!(reason, "a value from -55000 to 125000");
    refusal(world.machine.set_device(number, "speed", 1));
    refusal(world.machine.set_device(99, "temp", 1));
    world.end();
}
