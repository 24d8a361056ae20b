//! Modules are loaded by what devices say they are: those that are described, and those that modules make.

use std::process::Command;

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
