//! The loader's rules, one test each: who may use what, who must wait for whom, and what is refused.

use std::time::Duration;

use ferrmod_machine::{LoadFlags, LoadOutcome, Outcome};

use crate::stage::{Stage, left, number};

/// Linux's error numbers that the rules answer with.
const ENOENT: i64 = -2;
const EIO: i64 = -5;
const ENOEXEC: i64 = -8;
const EAGAIN: i64 = -11;
const EBUSY: i64 = -16;
const EEXIST: i64 = -17;

/// Milliseconds that a slow init takes: long enough for everything that is to happen meanwhile, on a busy host too.
const SLOW: u32 = 600;

/// Taint bits P, F, R, O and E.
const PROPRIETARY: u64 = 1 << 0;
const FORCED_LOAD: u64 = 1 << 1;
const FORCED_REMOVAL: u64 = 1 << 3;
const OUT_OF_TREE: u64 = 1 << 12;
const UNSIGNED: u64 = 1 << 13;

fn line(stage: &mut Stage, name: &str) -> String {
    let listed = stage.read("/proc/modules").unwrap();
    let line = listed.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_default();
    line.split(" 0x").next().unwrap_or_default().to_owned()
}

fn holders(stage: &mut Stage, name: &str) -> Vec<String> {
    stage.machine.list_directory(&format!("/sys/module/{name}/holders")).unwrap().done().unwrap()
}

/// A module whose init takes `delay` milliseconds and answers `answer`, loaded in the background.
fn begin_slow(stage: &mut Stage, delay: u32, answer: i32) {
    stage.machine.set_timeout(Duration::from_millis(20));
    assert_eq!(stage.load("slow", &format!("delay={delay} ret={answer}")), LoadOutcome::TimedOut);
    stage.machine.set_timeout(Duration::from_secs(60));
    stage.said();
}

/// What the kernel said, without the words about the calls in the background.
fn words(stage: &Stage) -> Vec<String> {
    let said = stage.said().into_iter().map(|said| said.text);
    said.filter(|text| !text.contains("taint") || text.contains("inheriting")).collect()
}

#[test]
fn users_hold_what_they_use() {
    let Some(mut stage) = Stage::open() else { return };
    assert_eq!(number(stage.load("user", "")), ENOENT);
    assert_eq!(words(&stage), ["user: Unknown symbol e_any (err -2)", "user: Unknown symbol e_gpl (err -2)"]);
    for module in ["exporter", "user", "usernsok"] {
        assert_eq!(number(stage.load(module, "")), 0, "{module}");
    }
    assert_eq!(line(&mut stage, "exporter"), "exporter 16384 2 usernsok,user, Live");
    assert_eq!(holders(&mut stage, "exporter"), ["user", "usernsok"]);
    assert_eq!(stage.unload("exporter"), EAGAIN);
    assert_eq!(stage.unload_with("exporter", true), EAGAIN, "force does not help against users");
    assert_eq!(stage.unload("user"), 0);
    assert_eq!(line(&mut stage, "exporter"), "exporter 16384 1 usernsok, Live");
    assert_eq!(stage.unload("usernsok"), 0);
    assert_eq!(line(&mut stage, "exporter"), "exporter 16384 0 - Live");
    assert_eq!(stage.unload("exporter"), 0);
    assert_eq!(left(&stage.report()), [""; 0]);
}

/// Two modules that need each other cannot be loaded in any order.
#[test]
fn a_cycle_is_refused() {
    let Some(mut stage) = Stage::open_with(|options| options.strict = true) else { return };
    for _ in 0..2 {
        assert_eq!(number(stage.load("ring_a", "")), ENOENT);
        assert_eq!(words(&stage), ["ring_a: Unknown symbol ring_b_turn (err -2)"]);
        assert_eq!(number(stage.load("ring_b", "")), ENOENT);
        assert_eq!(words(&stage), ["ring_b: Unknown symbol ring_a_turn (err -2)"]);
    }
    assert_eq!(stage.modules(), [""; 0]);
    assert_eq!(left(&stage.report()), [""; 0]);
}

#[test]
fn a_symbol_has_one_exporter() {
    let Some(mut stage) = Stage::open() else { return };
    assert_eq!(number(stage.load("exporter", "")), 0);
    assert_eq!(number(stage.load("dupexp", "")), ENOEXEC);
    assert_eq!(words(&stage), ["dupexp: exports duplicate symbol e_any (owned by exporter)"]);
    assert_eq!(stage.modules(), ["exporter"]);
    assert_eq!(number(stage.load("user", "")), 0, "the first export is still there");
    assert_eq!(words(&stage), ["user 1 2"]);
    assert_eq!((stage.unload("user"), stage.unload("exporter")), (0, 0));
    // Now the name is free.
    assert_eq!(number(stage.load("dupexp", "")), 0);
    assert_eq!(number(stage.load("exporter", "")), ENOEXEC);
    assert_eq!(words(&stage), ["exporter: exports duplicate symbol e_any (owned by dupexp)"]);
}

#[test]
fn gpl_only_symbols_are_for_compatible_licences() {
    let Some(mut stage) = Stage::open() else { return };
    assert_eq!(number(stage.load("exporter", "")), 0);
    assert_eq!(number(stage.load("propgpl", "")), 0, "with its own licence");
    assert_eq!(stage.unload("propgpl"), 0);
    let mut file = stage.file("propgpl");
    let licence = b"license=Dual MIT/GPL\0";
    let at = file.windows(licence.len()).position(|window| window == licence).unwrap();
    file[at..at + licence.len()].copy_from_slice(b"license=Proprietary!\0");
    stage.said();
    let outcome = stage.machine.load(&file, b"", LoadFlags::empty()).unwrap();
    assert_eq!(number(outcome), ENOENT);
    let said = stage.text();
    assert!(said.contains("propgpl: module license 'Proprietary!' taints kernel."), "{said}");
    assert!(said.contains("propgpl: Unknown symbol e_gpl (err -2)"), "{said}");
    assert_eq!(stage.report().taints & PROPRIETARY, PROPRIETARY);
}

#[test]
fn a_namespace_has_to_be_imported() {
    let Some(mut stage) = Stage::open() else { return };
    assert_eq!(number(stage.load("exporter", "")), 0);
    assert_eq!(number(stage.load("userns", "")), 0);
    assert_eq!(stage.unload("userns"), 0);
    let mut file = stage.file("userns");
    let import = b"import_ns=FERRMOD_TESTS\0";
    let at = file.windows(import.len()).position(|window| window == import).unwrap();
    file[at..at + import.len()].copy_from_slice(b"import_ns=FERRMOD_TASTE\0");
    stage.said();
    let outcome = stage.machine.load(&file, b"", LoadFlags::empty()).unwrap();
    // EINVAL.
    assert_eq!(number(outcome), -22);
    let said = stage.text();
    let text = "userns: module uses symbol (e_ns) from namespace FERRMOD_TESTS, but does not import it.";
    assert!(said.contains(text), "{said}");
    assert_eq!(line(&mut stage, "exporter"), "exporter 16384 0 - Live", "the reference was given back");
}

#[test]
fn a_proprietary_exporter_taints_its_users() {
    let Some(mut stage) = Stage::open() else { return };
    for module in ["exporter", "propexp", "useprop"] {
        assert_eq!(number(stage.load(module, "")), 0, "{module}");
    }
    let said = stage.text();
    let text = "useprop: module uses symbols p_any from proprietary module propexp, inheriting taint.";
    assert!(said.contains(text), "{said}");
    assert_eq!(stage.read("/sys/module/useprop/taint").as_deref(), Ok("POE\n"));
    assert_eq!(number(stage.load("usepropgpl", "")), ENOENT, "one that inherited it may not use GPL-only symbols");
    assert_eq!(stage.read("/sys/module/exporter/taint").as_deref(), Ok("OE\n"));
    assert_eq!(stage.report().taints, PROPRIETARY | OUT_OF_TREE | UNSIGNED);
}

#[test]
fn a_name_is_loaded_once() {
    let Some(mut stage) = Stage::open() else { return };
    assert_eq!(number(stage.load("base", "")), 0);
    assert_eq!(number(stage.load("base", "")), EEXIST);
    assert_eq!(line(&mut stage, "base"), "base 16384 0 - Live");
    assert_eq!(stage.unload("base"), 0);
    assert_eq!(stage.unload("base"), ENOENT);
    assert_eq!(left(&stage.report()), [""; 0]);
}

#[test]
fn a_module_without_exit_stays_unless_forced() {
    let Some(mut stage) = Stage::open() else { return };
    assert_eq!(number(stage.load("noexit", "")), 0);
    assert_eq!(line(&mut stage, "noexit"), "noexit 12288 0 [permanent], Live");
    assert_eq!(stage.unload("noexit"), EBUSY);
    assert_eq!(stage.report().taints & FORCED_REMOVAL, 0);
    assert_eq!(stage.unload_with("noexit", true), 0);
    assert_eq!(stage.report().taints & FORCED_REMOVAL, FORCED_REMOVAL);
    assert_eq!(stage.modules(), [""; 0]);
}

#[test]
fn force_ignores_versions_and_taints() {
    let Some(mut stage) = Stage::open() else { return };
    assert_eq!(number(stage.load_with("nls_cp437", "", LoadFlags::IGNORE_VERMAGIC)), 0);
    assert_eq!(stage.read("/sys/module/nls_cp437/taint").as_deref(), Ok("FE\n"));
    assert_eq!(stage.report().taints & FORCED_LOAD, FORCED_LOAD);
}

#[test]
fn a_blacklisted_name_is_never_loaded() {
    let Some(mut stage) = Stage::open_with(|options| options.blacklist = vec![b"crc7".to_vec()]) else { return };
    // EPERM.
    assert_eq!(number(stage.load("crc7", "")), -1);
    assert_eq!(words(&stage), ["Module crc7 is blacklisted"]);
    assert_eq!(number(stage.load("crc_itu_t", "")), 0);
}

#[test]
fn unsigned_modules_are_rejected_when_signatures_are_enforced() {
    let Some(mut stage) = Stage::open_with(|options| options.signature_enforced = true) else { return };
    // EKEYREJECTED.
    assert_eq!(number(stage.load("base", "")), -129);
    assert_eq!(words(&stage), ["Loading of unsigned module is rejected"]);
    assert_eq!(number(stage.load("nls_cp437", "")), 0, "a distribution's module is signed");
}

#[test]
fn a_load_waits_for_a_namesake_that_is_coming() {
    let Some(mut stage) = Stage::open() else { return };
    begin_slow(&mut stage, SLOW, 0);
    assert_eq!(line(&mut stage, "slow"), "slow 28672 1 - Loading");
    assert_eq!(stage.read("/sys/module/slow/initstate").as_deref(), Ok("coming\n"));
    assert_eq!(stage.unload("slow"), EBUSY);
    assert_eq!(number(stage.load("slow", "")), EEXIST, "once the first one is live");
    assert_eq!(stage.read("/sys/module/slow/initstate").as_deref(), Ok("live\n"));
    assert_eq!(line(&mut stage, "slow"), "slow 16384 0 - Live");
}

#[test]
fn a_user_waits_for_a_module_that_is_coming() {
    let Some(mut stage) = Stage::open() else { return };
    begin_slow(&mut stage, SLOW, 0);
    assert_eq!(number(stage.load("useslow", "")), 0);
    assert_eq!(line(&mut stage, "slow"), "slow 16384 1 useslow, Live");
    assert_eq!(stage.unload("slow"), EAGAIN);
    assert_eq!(stage.unload("useslow"), 0);
    // And on the way out.
    stage.machine.set_timeout(Duration::from_millis(20));
    assert_eq!(stage.machine.unload(b"slow", false).unwrap(), Outcome::TimedOut);
    stage.machine.set_timeout(Duration::from_secs(60));
    assert_eq!(line(&mut stage, "slow"), "slow 16384 -1 - Unloading");
    assert_eq!(stage.read("/sys/module/slow/initstate").as_deref(), Ok("going\n"));
    assert_eq!(number(stage.load("slow", "")), EBUSY);
    assert_eq!(stage.unload("slow"), EBUSY);
    stage.machine.run(Duration::from_millis(2 * u64::from(SLOW))).unwrap();
    assert_eq!(stage.modules(), [""; 0]);
    assert_eq!(number(stage.load("slow", "delay=0")), 0);
}

#[test]
fn a_namesake_that_fails_lets_nobody_through() {
    let Some(mut stage) = Stage::open() else { return };
    begin_slow(&mut stage, SLOW, EIO as i32);
    assert_eq!(number(stage.load("slow", "delay=0")), EBUSY);
    assert_eq!(stage.unload("slow"), ENOENT);
    assert_eq!(number(stage.load("slow", "delay=0")), 0, "the next attempt is a new one");
}

#[test]
fn a_user_of_a_module_that_fails_finds_no_symbol() {
    let Some(mut stage) = Stage::open() else { return };
    begin_slow(&mut stage, SLOW, EIO as i32);
    assert_eq!(number(stage.load("useslow", "")), ENOENT);
    assert_eq!(words(&stage), ["useslow: Unknown symbol slow_sym (err -2)"]);
    assert_eq!(stage.modules(), [""; 0]);
    let rest = left(&stage.report());
    assert_eq!(rest, [""; 0]);
}

#[test]
#[ignore = "takes 33 seconds: so long does a load wait for another"]
fn a_user_does_not_wait_for_ever() {
    let Some(mut stage) = Stage::open() else { return };
    begin_slow(&mut stage, 33_000, 0);
    assert_eq!(number(stage.load("useslow", "")), EBUSY);
    let text = ["useslow: gave up waiting for init of module slow.", "useslow: Unknown symbol slow_sym (err -16)"];
    assert_eq!(words(&stage), text);
}

/// The file with every `old` made `new`, which are as long.
fn replaced(mut file: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut found = 0;
    for at in 0..=file.len() - old.len() {
        if file[at..].starts_with(old) {
            file[at..at + old.len()].copy_from_slice(new);
            found += 1;
        }
    }
    assert!(found > 0, "there is no {}", String::from_utf8_lossy(old));
    file
}

/// An import that nobody provides yet is bound to a stub only where Linux would have bound it.
#[test]
fn a_deferred_import_obeys_the_licence() {
    let Some(mut stage) = Stage::open() else { return };
    if stage.machine.symbol(b"mmput").unwrap().is_some() {
        // The test needs another GPL-only function of five letters, then.
        panic!("mmput is provided now");
    }
    let file = replaced(stage.file("propgpl"), b"\0e_gpl\0", b"\0mmput\0");
    let forced = LoadFlags::IGNORE_MODVERSIONS;
    let file = replaced(file, b"license=Dual MIT/GPL\0", b"license=Proprietary!\0");
    assert_eq!(number(stage.machine.load(&file, b"", forced).unwrap()), ENOENT);
    let said = stage.text();
    assert!(said.contains("propgpl: Unknown symbol mmput (err -2)"), "{said}");
    // With its own licence it is bound, and its init calls the stub, which names itself.
    let file = replaced(file, b"license=Proprietary!\0", b"license=Dual MIT/GPL\0");
    assert_eq!(stage.machine.load(&file, b"", forced).unwrap(), LoadOutcome::Oopsed);
    let said = stage.text();
    assert!(said.contains("unimplemented kernel symbol mmput called from propgpl_init+"), "{said}");
}

/// A module whose init was killed stays as it is for ever: nobody waits for it.
#[test]
fn a_load_does_not_wait_for_a_dead_one() {
    let Some(mut stage) = Stage::open_with(|options| options.watchdog = Duration::from_millis(200)) else { return };
    assert_eq!(stage.load("faults", "what=deadlock"), LoadOutcome::Oopsed);
    assert!(stage.text().contains("this task holds the mutex already"));
    assert_eq!(stage.modules(), ["faults"]);
    assert_eq!(number(stage.load("faults", "what=none")), EBUSY);
}
