//! Modules are loaded by what devices say they are: those that are described, and those that modules make.

use std::io::Write as _;
use std::process::{Command, Stdio};

use ferrmod_tests::corpus::{Tree, tree_or_skip};
use serde_json::Value;

/// The report of a run with one device, and its exit code.
fn run(tree: &Tree, device: &str) -> (Value, i32) {
    run_with(tree, device, b"")
}

/// The same, with something on a pipe.
fn run_with(tree: &Tree, device: &str, input: &[u8]) -> (Value, i32) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ferrmod"))
        .args(["run", "--json", "--device", device, "--tree"])
        .arg(&tree.root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ferrmod starts");
    // Nobody has to read it.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    let output = child.wait_with_output().expect("ferrmod ends");
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (report, output.status.code().unwrap_or(-1))
}

/// Each module that was loaded, and why.
fn loads(report: &Value) -> Vec<(&str, &str)> {
    let loads = report["loads"].as_array().expect("an array");
    loads.iter().filter_map(|load| Some((load["module"].as_str()?, load["why"].as_str()?))).collect()
}

#[test]
fn a_described_device_has_its_modules_loaded() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    for (device, expected, driver) in [
        ("i2c:lm75@0x48", &[("lm75", "device 1, i2c:lm75")][..], "lm75"),
        (
            "hid:0003:046d:c00e",
            &[
                ("hid_generic", "device 1, hid:b0003g0001v0000046Dp0000C00E"),
                (
                    "evdev",
                    "/sys/devices/virtual/misc/uhid/0003:046D:C00E.0001/input/input0, \
                     input:b0003v046DpC00Ee0000-e0,1,2,4,k110,111,112,r0,1,am4,lsfw",
                ),
            ],
            "hid-generic",
        ),
        (
            "virtio:4",
            &[
                ("virtio_ring", "dependency of virtio"),
                ("virtio", "dependency of virtio_mmio"),
                ("virtio_mmio", "device 1, acpi:LNRO0005:"),
                // The device that the one before has made.
                ("virtio_rng", "device 1, virtio:d00000004v00001AF4"),
            ],
            "virtio_rng",
        ),
        (
            "usb:046d:c077,interface=030102",
            &[
                ("hid", "dependency of usbhid"),
                ("usbhid", "device 1, usb:v046DpC077d0100dc00dsc00dp00ic03isc01ip02in00"),
                (
                    "hid_generic",
                    "/sys/devices/platform/vhci_hcd.0/usb1/1-1/1-1:1.0/0003:046D:C077.0001, \
                     hid:b0003g0001v0000046Dp0000C077",
                ),
                (
                    "evdev",
                    "/sys/devices/platform/vhci_hcd.0/usb1/1-1/1-1:1.0/0003:046D:C077.0001/input/input0, \
                     input:b0003v046DpC077e0111-e0,1,2,4,k110,111,112,r0,1,am4,lsfw",
                ),
            ],
            "usbhid",
        ),
        (
            "usb:067b:2303,interface=ff0000:81i10:02b:83b",
            &[
                ("usbserial", "dependency of pl2303"),
                ("pl2303", "device 1, usb:v067Bp2303d0100dc00dsc00dp00icFFisc00ip00in00"),
            ],
            "pl2303",
        ),
    ] {
        let (report, exit) = run(&tree, device);
        assert_eq!(loads(&report), expected, "{device}");
        assert_eq!(report["devices"][0]["driver"], driver, "{device}: {report}");
        assert_eq!(exit, 0, "{device}: {report}");
    }
}

/// The bytes of a file are descriptors; one that is not there is named.
#[test]
fn descriptors_come_from_a_file() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let file = std::env::temp_dir().join(format!("ferrmod-descriptors-{}", std::process::id()));
    // A printer: the device, its configuration, an interface and two endpoints.
    let descriptors: [&[u8]; 5] = [
        &[18, 1, 0, 2, 0, 0, 0, 64, 0xb8, 4, 1, 0, 0, 1, 0, 0, 0, 1],
        &[9, 2, 32, 0, 1, 1, 0, 0x80, 50],
        &[9, 4, 0, 0, 2, 7, 1, 2, 0],
        &[7, 5, 1, 2, 0, 2, 0],
        &[7, 5, 0x82, 2, 0, 2, 0],
    ];
    std::fs::write(&file, descriptors.concat()).expect("a file");
    let of_file = run(&tree, &format!("usb:04b8:0001,descriptors=@{}", file.display()));
    std::fs::remove_file(&file).expect("the file");
    let of_pipe = run_with(&tree, "usb:04b8:0001,descriptors=@/dev/stdin", &descriptors.concat());
    for (report, exit) in [of_file, of_pipe] {
        assert_eq!(loads(&report), [("usblp", "device 1, usb:v04B8p0001d0100dc00dsc00dp00ic07isc01ip02in00")]);
        assert_eq!((&report["devices"][0]["driver"], exit), (&Value::from("usblp"), 0), "{report}");
    }

    let output = Command::new(env!("CARGO_BIN_EXE_ferrmod"))
        .args(["run", "--device", "usb:04b8:0001,descriptors=@/none/here"])
        .output()
        .expect("ferrmod starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("/none/here: No such file"), "{said}");
}
