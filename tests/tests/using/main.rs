//! Modules of a stock kernel in use: what a program gets from their files is what it gets on Linux.
//!
//! A script (`scripts/*.script`) holds one operation of a program a line: `open`, `read`, `ioctl`, `mount` … on the files of unmodified
//! modules. Debian's kernel has answered each in QEMU (`guest.c` is the program); the answers are in `tests/data/use`, one file a
//! script, and the machine has to give the same ones, and has to be clean afterwards.
//!
//! `FERRMOD_RECORD=1` boots that kernel again and writes the answers anew; it needs QEMU and gcc, and
//! for images that are not there genromfs and genisoimage.

mod content;
#[path = "../live/guest.rs"]
#[expect(dead_code, reason = "of a guest's report only the answers are used here")]
mod guest;
mod machine;
mod record;
#[path = "../live/root.rs"]
#[expect(dead_code, reason = "the guest holds no tools")]
mod root;
mod script;
#[path = "../survey/mod.rs"]
mod survey;

use std::fs;
use std::path::PathBuf;

use ferrmod_tests::corpus::tree_or_skip;

use script::Script;

/// Where the answers are.
fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/use"))
}

/// Does what the script says in a machine and compares each answer with what this Linux (`linux_6_1`) gave.
fn like_linux(name: &str, text: &str, linux: &str) {
    let version = linux.trim_start_matches("linux_").replace('_', ".");
    let Some(tree) = tree_or_skip(&version) else { return };
    let Some(script) = Script::new(name, text, &tree) else { return };
    let path = folder().join(format!("{name}.linux-{version}"));
    if std::env::var_os("FERRMOD_RECORD").is_some() {
        record::record(&tree, &script, &path);
    }
    let recorded = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let expected = script::answers(&recorded);
    let operations: Vec<&str> = expected.iter().map(|(operation, _)| operation.as_str()).collect();
    assert_eq!(operations, script.operations, "the script has changed: record it again");
    let mut world = machine::World::boot(&tree, &script);
    let mut different = Vec::new();
    for (operation, answer) in &expected {
        let found = world.answer(operation);
        if found != *answer {
            different.push(format!("{operation}\n  Linux: {}\n  here:  {}", answer.join("\n"), found.join("\n")));
        }
    }
    assert!(
        different.is_empty(),
        "{} of {} answers differ:\n{}{}",
        different.len(),
        expected.len(),
        different.join("\n"),
        world.log()
    );
    world.is_clean();
}

macro_rules! scripts {
    ($($test:ident = $name:literal on $($linux:ident)+;)*) => {
        $(mod $test {
            $(#[test]
            fn $linux() {
                super::like_linux($name, include_str!(concat!("scripts/", $name, ".script")), stringify!($linux));
            })+
        })*
    };
}

// Modules of our own are built for 6.1. Debian's 6.12 has FUSE built in, and IPv6, which sends a packet on every network device that comes up.
scripts! {
    tun_answers_its_requests = "tun" on linux_6_1 linux_6_12;
    device_mapper_names_its_version_and_targets = "device-mapper" on linux_6_1 linux_6_12;
    samples_are_played_by_a_card_without_hardware = "pcm" on linux_6_1 linux_6_12;
    the_sequencer_has_clients_ports_and_a_timer = "sequencer" on linux_6_1 linux_6_12;
    autofs_checks_what_it_is_asked = "autofs" on linux_6_1 linux_6_12;
    uinput_makes_a_keyboard = "uinput" on linux_6_1 linux_6_12;
    a_keyboard_is_heard = "evdev" on linux_6_1 linux_6_12;
    contacts_of_a_pad_are_heard = "touch" on linux_6_1 linux_6_12;
    trace_events_are_recorded = "events" on linux_6_1;
    trace_events_of_a_stock_module_are_recorded = "sunrpc-events" on linux_6_1 linux_6_12;
    reports_of_a_program_are_events = "uhid" on linux_6_1 linux_6_12;
    a_controller_of_bluetooth_is_played_by_a_program = "bluetooth" on linux_6_1 linux_6_12;
    a_joystick_is_heard_twice = "joystick" on linux_6_1 linux_6_12;
    a_watchdog_is_kept_alive_and_closed = "watchdog" on linux_6_1 linux_6_12;
    programs_that_serve_the_kernel_are_answered = "userspace" on linux_6_1;
    flash_in_memory_is_written_and_erased = "mtd" on linux_6_1 linux_6_12;
    a_block_device_keeps_what_is_written = "block" on linux_6_1 linux_6_12;
    a_rom_file_system_is_read = "romfs" on linux_6_1 linux_6_12;
    a_compressed_block_device_keeps_what_is_written = "zram" on linux_6_1 linux_6_12;
    a_compact_disc_is_read = "iso9660" on linux_6_1 linux_6_12;
    requests_to_a_disk_of_memory_are_served = "null-block" on linux_6_1 linux_6_12;
    requests_end_in_every_way_there_is = "null-block-modes" on linux_6_1 linux_6_12;
    flash_is_a_block_device = "mtdblock" on linux_6_1 linux_6_12;
    a_scsi_disk_keeps_what_is_written = "scsi-disk" on linux_6_1 linux_6_12;
    a_scsi_disk_that_fails_says_so = "scsi-errors" on linux_6_1 linux_6_12;
    a_scsi_disk_goes_while_it_is_open = "scsi-gone" on linux_6_1 linux_6_12;
    commands_that_time_out_are_given_again = "scsi-timeouts" on linux_6_1 linux_6_12;
    requests_take_the_way_they_take_on_linux = "requests" on linux_6_1;
    a_file_is_a_block_device = "loop" on linux_6_1 linux_6_12;
    a_compact_disc_in_a_file_is_read = "loop-iso9660" on linux_6_1 linux_6_12;
    packets_are_matched_and_scheduled = "packets" on linux_6_1;
    packets_are_made_and_counted = "pktgen" on linux_6_1 linux_6_12;
    network_devices_are_seen_and_changed = "net-devices" on linux_6_1;
}

#[test]
fn the_images_hold_what_they_were_made_of() {
    content::check();
}
