//! What stock Linux 6.1 answered to whole and broken modules is what a check says, as far as a file can tell.

use ferrmod_plan::check::{Checker, Line, Policy, Settings, Together};
use ferrmod_tests::oracle::{self, CallKind, Case};

use crate::ground::{candidate, linux_6_1, module};

/// The command line of the recorded machine.
const COMMAND_LINE: &str = "nokaslr quiet module_blacklist=foo,nothinx lsm=lockdown,capability";

/// Cases that are not judged, by their title, and why.
const NOT_JUDGED: [(&str, &str); 9] = [
    ("nonroot", "privilege is of the caller and not of the module"),
    ("IGNORE_VERMAGIC flag", "the caller forces the load"),
    ("IGNORE_MODVERSIONS flag", "the caller forces the load"),
    ("invalid flags 8", "the caller's mistake"),
    ("compressed flag 4", "the caller says that a plain file is packed"),
    ("concurrency", "depends on another load at the same time"),
    ("load again", "judged by hand in `made`"),
    ("irq/preempt imbalance", "what init does is not known"),
    ("modules_disabled", "its first case is before it is switched on; judged by hand in `made`"),
];

/// The modules that were loaded when a file was loaded, where that matters.
fn loaded(file: &str, title: &str) -> &'static [&'static str] {
    match (file, title) {
        ("user.ko" | "usernsok.ko" | "userns.ko" | "propgpl.ko" | "dupexp.ko", _) => &["exporter"],
        ("useprop.ko" | "usepropgpl.ko", _) => &["exporter", "propexp"],
        _ => &[],
    }
}

/// Lines that other programs or init functions print, and those that a kernel prints once a boot.
fn is_compared(case: &Case<'_>, line: &Line, theirs: bool) -> bool {
    let once = [
        "loading out-of-tree module",
        "module verification failed",
        "bad vermagic: kernel tainted",
        "Disabling lock debugging",
    ];
    let once_more = ["module license", "kernel tainted."];
    let from_init = [" init ret=", "user 1 2", "cb set", "do_init_module", "weak ", "pcpu "];
    let stack = line.text.starts_with(' ') || line.text.starts_with("CPU:") || line.text.starts_with("Call Trace");
    let _ = (case, theirs);
    let says = |texts: &[&str]| texts.iter().any(|text| line.text.contains(text));
    let address = line.text.contains("Skipping invalid relocation target");
    let registers =
        ["Hardware name", "RIP:", "Code:", "RSP:", "RAX:", "RDX:", "RBP:", "R10:", "R13:", "Kernel is locked down"];
    !(says(&once) || says(&once_more) || says(&from_init) || stack || address || says(&registers))
}

/// The magic number is printed with its first byte, which the recording's reader dropped.
fn plain(text: &str) -> String {
    text.replace('\u{7f}', "")
}

#[test]
fn answers_and_words_are_those_of_linux() {
    let Some(kernel) = linux_6_1() else { return };
    if ferrmod_tests::corpus::own_module_or_skip("base").is_none() {
        return;
    }
    let cases = oracle::cases(oracle::TEXT).unwrap();
    let keyring = kernel.keyring().unwrap();
    let (mut wrong, mut judged, mut refused) = (Vec::new(), 0, 0);
    let mut exporter_is_there = false;
    for case in &cases {
        let Some(call) = &case.call else { continue };
        if call.kind == CallKind::Delete {
            continue;
        }
        let Some(file) = call.file() else { continue };
        if NOT_JUDGED.iter().any(|(title, _)| case.title.contains(title)) || call.flags.unwrap_or(0) != 0 {
            continue;
        }
        // Asked for by init_module with a length that it looks at before anything else.
        if call.kind == CallKind::Init && file == "ten.ko" {
            continue;
        }
        let source = oracle::source_of(file).unwrap();
        let bytes = oracle::mutate(file, &module(source)).unwrap();
        let mut together = Together::new();
        exporter_is_there |= file == "exporter.ko";
        let beside: &[&str] = if exporter_is_there { loaded(file, case.title) } else { &[] };
        for name in beside {
            together.add(candidate(&format!("{name}.ko"), &module(name), "").into_owned());
        }
        let mut policy = Policy::default();
        policy.command_line("/proc/cmdline", COMMAND_LINE);
        if case.title == "sig_enforce" {
            policy.command_line("/proc/cmdline", "module.sig_enforce");
        } else if case.title == "lockdown" {
            policy.command_line("/proc/cmdline", "module.sig_enforce lockdown=integrity");
        }
        let settings = Settings { keyring: Some(&keyring), ..Settings::default() };
        let mut names: Vec<String> = beside.iter().map(|&name| name.to_owned()).collect();
        if file == "userns2.ko" {
            // Its name is that of a module that is loaded: that is what the recording shows.
            names.push("userns".to_owned());
        }
        let kernels = [kernel];
        let checker = Checker::new(kernel, &policy, &together, &kernels, settings).with_loaded(names);
        let verdict = checker.check(&candidate(file, &bytes, call.arguments));
        judged += 1;
        let ours = -i64::from(verdict.errno.unwrap_or(0));
        // Init itself answers what its parameter says.
        let theirs = if call.arguments.starts_with("ret=") || call.arguments == "cb=x" { 0 } else { call.result };
        refused += usize::from(theirs != 0);
        let mut say = |what: String| {
            wrong.push(format!("line {} {}: {file} [{}]: {what}", case.number, case.title, call.arguments))
        };
        if ours != theirs || verdict.loads() != (theirs == 0) {
            say(format!("{ours}, Linux {theirs}: {:?}", verdict.reasons));
        }
        let lines = |lines: Vec<Line>, theirs: bool| -> Vec<(u8, String)> {
            let kept = lines.iter().filter(|line| is_compared(case, line, theirs));
            kept.map(|line| (line.level, plain(&line.text))).collect()
        };
        let linux = case.log.iter().map(|log| Line::new(log.level, log.text)).collect();
        let (ours, theirs) = (lines(verdict.log.clone(), false), lines(linux, true));
        if ours != theirs && call.arguments != "cb=x" {
            say(format!("\n  Linux {theirs:?}\n  ours  {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {judged} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(judged > 110 && refused > 60, "{judged} judged, {refused} refused");
    println!("{judged} judged, {refused} of them refused by Linux");
}
