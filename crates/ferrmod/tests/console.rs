//! The console, where it uses what modules have registered: the answers are those of `docs/use.md`.

use std::io::Write;
use std::process::{Command, Stdio};

use ferrmod_tests::corpus::tree_or_skip;

/// What the console prints to these lines, without the kernel log, and what it complains about.
fn console(lines: &str) -> Option<(String, String)> {
    let tree = tree_or_skip("6.1")?;
    let mut console = Command::new(env!("CARGO_BIN_EXE_ferrmod"))
        .args(["console", "--tree"])
        .arg(&tree.root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ferrmod starts");
    console.stdin.take().expect("it is piped").write_all(lines.as_bytes()).expect("the console reads");
    let output = console.wait_with_output().expect("the console ends");
    let out = String::from_utf8_lossy(&output.stdout);
    let plain = out.lines().filter(|line| !line.starts_with('[')).map(|line| format!("{line}\n")).collect();
    Some((plain, String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn a_character_device_is_asked_and_held() {
    let lines = "modprobe tun\nioctl /dev/net/tun 0x800454cf @/4\nopen /dev/net/tun rwn\nread 0 64\nrmmod tun\nclose 0\n\
                 ioctl 0 1\nread\nioctl /dev/net/none 1\nrmmod tun\nlsmod\n";
    let Some((out, complaints)) = console(lines) else { return };
    // IFF_TUN and so on, as `tests/data/use/tun.linux-6.1` has them.
    let expected = "0\n00000000  73 71 00 00                                      |sq..|\n0\n\
                    rmmod: tun: -11 (EAGAIN: Resource temporarily unavailable)\nModule";
    assert!(out.starts_with(expected), "{out}");
    assert_eq!(out.lines().last().map(|line| line.starts_with("Module")), Some(true), "tun is gone: {out}");
    let expected =
        ["0: File descriptor in bad state", "0: Bad file descriptor", "not this way", "/dev/net/none: No such file"];
    for line in expected {
        assert!(complaints.contains(line), "{line}: {complaints}");
    }
}

#[test]
fn a_disk_is_filled_and_its_file_system_mounted() {
    let image = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/use/image.romfs");
    let lines = format!(
        "modprobe brd rd_nr=1 rd_size=1024\nmodprobe romfs\ncopy {image} /dev/ram0\nread /dev/ram0 8\n\
         mount -t romfs /dev/ram0 /mnt\nmount\nls /mnt\ncat /mnt/one\nsha256sum /mnt/one\nwrite /mnt/one 00\n\
         rmmod romfs\numount /mnt\nrmmod romfs mtd brd\nlsmod\n"
    );
    let Some((out, complaints)) = console(&lines) else { return };
    // The first eight bytes are the magic number of romfs; the hash is that of "one\n".
    let expected = "80896 bytes\n00000000  2d 72 6f 6d 31 66 73 2d                          |-rom1fs-|\n\
                    /dev/ram0 /mnt romfs ro,relatime 0 0\ndeep\nempty\nlarge\nlink\none\npage\none\n\
                    2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806  /mnt/one\n\
                    rmmod: romfs: -11 (EAGAIN: Resource temporarily unavailable)\nModule";
    assert!(out.starts_with(expected), "{out}");
    assert!(out.lines().last().is_some_and(|line| line.starts_with("Module")), "all are gone: {out}");
    assert!(complaints.contains("/mnt/one: Read-only file system"), "{complaints}");
}

/// Whatever a file had before, it has the bytes of the host's file afterwards.
#[test]
fn a_copy_takes_the_place_of_a_longer_one() {
    let long = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/use/image.romfs");
    let short = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let lines = format!("copy {long} /tmp/a\ncopy {short} /tmp/a\ncopy {short} /tmp/b\nsha256sum /tmp/a /tmp/b\n");
    let Some((out, complaints)) = console(&lines) else { return };
    let sums: Vec<&str> = out.lines().filter_map(|line| line.split_once("  /tmp/").map(|(sum, _)| sum)).collect();
    assert!(sums.len() == 2 && sums[0] == sums[1] && complaints.is_empty(), "{out}{complaints}");
}

/// `modprobe` wants a module to be there, `insmod` wants to load it.
#[test]
fn what_is_loaded_is_no_error_of_modprobe() {
    let lines = "modprobe lz4\nmodprobe lz4_compress\nmodprobe lz4\ninsmod lz4_compress\n";
    let Some((out, complaints)) = console(lines) else { return };
    assert_eq!((out.as_str(), complaints.as_str()), ("insmod: lz4_compress: -17 (EEXIST: File exists)\n", ""));
}

/// While the machine runs: a device that is described then, one that is made by hand through `/sys`, one that nobody knows.
#[test]
fn devices_that_come_later_have_theirs_loaded_too() {
    let lines = "device add i2c:jc42@0x18\n\
                 echo tmp102 0x4a > /sys/bus/i2c/devices/i2c-0/new_device\n\
                 echo nothing 0x4b > /sys/bus/i2c/devices/i2c-0/new_device\n\
                 device add hid:0003:09da:000a\nrmmod hid_a4tech\nmodprobe crc7\nlsmod\n";
    let Some((out, _)) = console(lines) else { return };
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
