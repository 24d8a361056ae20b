//! Modules are loaded by what devices say they are: those that are described, and those that modules make.

use std::io::Write;
use std::process::{Command, Stdio};

use ferrmod_tests::corpus::{Tree, tree_or_skip};
use serde_json::Value;

/// The report of a run with one device, and its exit code.
fn run(tree: &Tree, device: &str) -> (Value, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_ferrmod"))
        .args(["run", "--json", "--device", device, "--tree"])
        .arg(&tree.root)
        .output()
        .expect("ferrmod starts");
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
        ("hid:0003:046d:c00e", &[("hid_generic", "device 1, hid:b0003g0001v0000046Dp0000C00E")], "hid-generic"),
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
    ] {
        let (report, exit) = run(&tree, device);
        assert_eq!(loads(&report), expected, "{device}");
        assert_eq!(report["devices"][0]["driver"], driver, "{device}: {report}");
        assert_eq!(exit, 0, "{device}: {report}");
    }
}

/// While the machine runs: a device that is described then, one that is made by hand through `/sys`, one that nobody knows.
#[test]
fn devices_that_come_later_have_theirs_loaded_too() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let lines = "device add i2c:jc42@0x18\n\
                 echo tmp102 0x4a > /sys/bus/i2c/devices/i2c-0/new_device\n\
                 echo nothing 0x4b > /sys/bus/i2c/devices/i2c-0/new_device\n\
                 device add hid:0003:09da:000a\nrmmod hid_a4tech\nmodprobe crc7\nlsmod\n";
    let mut console = Command::new(env!("CARGO_BIN_EXE_ferrmod"))
        .args(["console", "--tree"])
        .arg(&tree.root)
        .args(["--kernel", &tree.release])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ferrmod starts");
    console.stdin.take().expect("it is piped").write_all(lines.as_bytes()).expect("the console reads");
    let output = console.wait_with_output().expect("the console ends");
    let out = String::from_utf8_lossy(&output.stdout);
    for line in [
        "jc42: init ok (device 1, i2c:jc42)",
        "tmp102: init ok (/sys/devices/i2c-0/0-004a, i2c:tmp102)",
        "hid_a4tech: init ok (device 2, hid:b0003g0000v000009DAp0000000A)",
        "probe: 0003:09DA:000A.0001 driver a4tech ok",
    ] {
        assert!(out.lines().any(|other| other == line), "{line}: {out}");
    }
    // A device whose driver went is there as before, and nobody loads that again.
    let last = out.rsplit("Module ").next().unwrap_or_default();
    assert!(last.contains("tmp102 ") && last.contains("crc7 ") && !last.contains("hid_a4tech "), "{out}");
}
