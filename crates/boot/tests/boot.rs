//! The kernel boots in QEMU and runs real modules in ring 0. Without QEMU the tests say so and pass; without a corpus only the one
//! that needs none runs.

use std::fs;

use ferrmod_tests::corpus;
use ferrmod_tests::qemu::qemu_or_skip;

mod guest;
use guest::archive::Archive;
use guest::{FAILED, GOOD, HALTED, boot, facts};

#[test]
fn linux_modules_run_in_ring_0() {
    let Some(tree) = corpus::tree_or_skip("6.1") else {
        return;
    };
    if !qemu_or_skip() {
        return;
    }
    let mut archive = Archive::default();
    archive.add("etc/ferrmod/facts", &facts(&tree));
    for name in ["crc7", "lz4_compress", "crc16", "nls_euc-jp", "nls_cp932", "raid6_pq"] {
        let file = tree.file(name).unwrap_or_else(|| panic!("the tree has {name}"));
        archive.add(&format!("lib/modules/{name}.ko"), &fs::read(file).expect("a module can be read"));
    }
    let script = "
        # Measures its loops, with AVX where there is any, against jiffies.
        insmod /lib/modules/raid6_pq.ko
        rmmod raid6_pq
        insmod /lib/modules/crc7.ko
        insmod /lib/modules/lz4_compress.ko
        ! insmod /lib/modules/crc7.ko
        lsmod
        check crc7
        check lz4
        check pages

        # The module's own code writes to text, to constants, and reads from nowhere.
        oops call LZ4_compress_default $text @crc7_be 1000 1000 $scratch
        oops call LZ4_compress_default $text @crc7_be_syndrome_table 1000 1000 $scratch
        oops call crc7_be 0 0 10

        # All is as it was.
        check crc7
        check lz4
        modprobe crc16
        call crc16 0 $text 40

        # Its init asks the kernel for nls_cp932.
        insmod /lib/modules/nls_euc-jp.ko
        ! rmmod nls_cp932
        rmmod nls_euc_jp
        rmmod nls_cp932
        rmmod crc16
        rmmod crc7
        ! call crc7_be 0 $text 1
        rmmod lz4_compress
        lsmod
        poweroff
    ";
    archive.add("init.ferrmod", script.as_bytes());
    let run = boot(archive);
    run.ends_with(GOOD);
    run.says(&[
        "raid6: using algorithm",
        "ok: rmmod raid6_pq",
        "ok: insmod /lib/modules/crc7.ko",
        "ok: insmod /lib/modules/lz4_compress.ko",
        "crc7_be of 5 bytes = 0x94",
        "ok: check crc7",
        "ok: check lz4",
        "ok: check pages",
        "BUG: unable to handle page fault for address: ffffffffc",
        "supervisor write access",
        "permissions violation",
        "RIP: 0010:LZ4_compress_",
        "[lz4_compress]",
        "BUG: unable to handle page fault for address: ffffffffc",
        "permissions violation",
        "BUG: kernel NULL pointer dereference, address: 0000000000000000",
        "RIP: 0010:crc7_be+0x",
        "Call Trace:",
        "ok: check crc7",
        "ok: check lz4",
        "ok: modprobe crc16",
        "ok: rmmod nls_cp932",
        "ok: rmmod lz4_compress",
    ]);
    eprintln!("from the start of QEMU to its end: {} ms", run.time.as_millis());
}

/// What each way of `crash.ko` is reported as.
const CRASHES: [(&str, &str); 6] = [
    ("null", "BUG: kernel NULL pointer dereference, address: 0000000000000010"),
    ("index", "index out of bounds"),
    ("stack", "stack guard page was hit"),
    ("jump", "kernel tried to execute NX-protected page"),
    ("divide", "divide error"),
    ("loop", "soft lockup"),
];

#[test]
fn crashes_of_rust_modules_are_contained() {
    if !qemu_or_skip() {
        return;
    }
    let crash = ferrmod_sdk_build::module("crash");
    let mut archive = Archive::default();
    archive.add("answer.ko", &ferrmod_sdk_build::module("answer"));
    let mut script = String::new();
    for (letter, (how, _)) in ('A'..).zip(CRASHES) {
        let name = format!("cras{letter}");
        archive.add(&format!("{name}.ko"), &renamed(&crash, b"crash", name.as_bytes()));
        script += &format!("echo now {how}\noops insmod {name}.ko how={how}\n");
    }
    script += "check pages\ninsmod answer.ko\ncall answer_to 2 = 00000054\nrmmod answer\n";
    archive.add("init.ferrmod", script.as_bytes());
    let run = boot(archive);
    run.ends_with(GOOD);
    for (letter, (how, report)) in ('A'..).zip(CRASHES) {
        run.says(&[&format!("now {how}\n"), report, "Call Trace:", &format!("[cras{letter}]"), "ok: oops insmod"]);
    }
    run.says(&["ok: rmmod answer"]);
}

#[test]
fn rust_modules_need_no_linux() {
    if !qemu_or_skip() {
        return;
    }
    let mut archive = Archive::default();
    for name in ferrmod_sdk_build::EXAMPLES {
        archive.add(&format!("lib/modules/{name}.ko"), &ferrmod_sdk_build::module(name));
    }
    let script = "
        ! insmod /lib/modules/question.ko
        insmod /lib/modules/answer.ko answer=7
        insmod /lib/modules/question.ko question=what
        call answer_to 6 = 0000002a
        ! rmmod answer
        lsmod
        cat /sys/module/answer/parameters/answer
        oops insmod /lib/modules/crash.ko how=write
        check pages
        rmmod question
        rmmod answer
        modprobe question
        call answer_to 2 = 00000054
        rmmod question
        rmmod answer
    ";
    archive.add("init.ferrmod", script.as_bytes());
    let run = boot(archive);
    run.ends_with(GOOD);
    run.says(&[
        "no /etc/ferrmod/facts",
        "the answer is 7",
        "what? 28",
        "answer_to = 0x2a",
        "ok: ! rmmod answer",
        "7\n",
        "BUG: unable to handle page fault",
        "permissions violation",
        "RIP: 0010:",
        "+0x",
        "[crash]",
        "ok: check pages",
        "the answer is 42",
        "why? 126",
    ]);
}

/// Every fault that a kernel in ring 0 can contain, and what its report begins with.
const FAULTS: [(&str, &str); 18] = [
    ("null", "BUG: kernel NULL pointer dereference"),
    ("null_read", "BUG: kernel NULL pointer dereference"),
    ("noncanonical", "general protection fault"),
    ("user", "BUG: unable to handle page fault for address: 0000000000400000"),
    // Unoptimised, Rust's own checks find the null pointer before the processor does.
    ("memcpy", "BUG"),
    ("stack", "stack guard page was hit"),
    ("rodata", "BUG: unable to handle page fault"),
    ("text", "BUG: unable to handle page fault"),
    ("wild", "BUG: unable to handle page fault for address: ffffffffdeadbee0"),
    ("null_call", "BUG: kernel NULL pointer dereference"),
    ("data_call", "kernel tried to execute NX-protected page"),
    ("bug", "kernel BUG at "),
    ("ud2", "invalid opcode"),
    ("int3", "int3"),
    ("syscall", "system call instruction"),
    ("divide", "divide error"),
    ("divide_overflow", "divide error"),
    ("loop", "soft lockup"),
];

#[test]
fn faults_of_a_module_are_contained() {
    let Some(tree) = corpus::tree_or_skip("6.1") else {
        return;
    };
    let Some(module) = corpus::own_module_or_skip("faults") else {
        return;
    };
    if !qemu_or_skip() {
        return;
    }
    let module = fs::read(module).expect("a module can be read");
    let mut archive = Archive::default();
    archive.add("etc/ferrmod/facts", &facts(&tree));
    let mut script = String::new();
    for (letter, (fault, _)) in ('A'..).zip(FAULTS) {
        // A module whose init dies stays for ever, as on Linux; each fault needs a module of another name.
        let name = format!("fault{letter}");
        archive.add(&format!("{name}.ko"), &renamed(&module, b"faults", name.as_bytes()));
        script += &format!("echo now {fault}\noops insmod {name}.ko what={fault}\n");
    }
    archive.add("faults.ko", &module);
    script += "insmod faults.ko what=warn\nrmmod faults\ncheck pages\n";
    archive.add("init.ferrmod", script.as_bytes());
    let run = boot(archive);
    run.ends_with(GOOD);
    for (letter, (fault, report)) in ('A'..).zip(FAULTS) {
        let module = format!("[fault{letter}]");
        // A call in the last place is a jump; and who called `memcpy` is not known when Rust's checks stop it.
        let place = match fault {
            "memcpy" | "wild" | "null_call" | "data_call" => "commit".into(),
            _ => format!("fault_{fault}+0x"),
        };
        run.says(&[&format!("now {fault}\n"), report, &place, &module, "ok: oops insmod"]);
    }
    run.says(&["WARNING: CPU: 0 PID:", "fault_warn+0x", "ok: rmmod faults"]);
}

/// The module with another name of the same length, in its `struct module` and its `.modinfo`.
fn renamed(module: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = module.to_vec();
    for at in 0..module.len() - from.len() {
        if module[at..].starts_with(from) && module[at + from.len()] == 0 {
            out[at..at + from.len()].copy_from_slice(to);
        }
    }
    out
}

#[test]
fn a_failed_line_is_in_the_exit_code() {
    if !qemu_or_skip() {
        return;
    }
    let mut archive = Archive::default();
    archive.add("init.ferrmod", b"echo before\ninsmod /nothing.ko\nfrobnicate\necho after\n");
    let run = boot(archive);
    run.ends_with(FAILED);
    run.says(&["before", "FAILED: insmod /nothing.ko", "FAILED: frobnicate: no command", "after"]);
}

#[test]
fn without_a_script_it_says_so() {
    if !qemu_or_skip() {
        return;
    }
    let run = boot(Archive::default());
    run.ends_with(HALTED);
    run.says(&["cannot boot: the initramfs has no /init.ferrmod"]);
}
