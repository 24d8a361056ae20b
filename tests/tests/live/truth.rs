//! What `plan::check` says of modules that are made to fail is what live kernels say of them.
//!
//! Each boot of [`made::BOOTS`] is one machine in which every file is handed to the kernel without any tool. The number that the
//! kernel answers, the taints of a module that loads and the lines of the kernel's log have to be those of the verdict on the
//! same bytes under the same policy.
//!
//! Two refusals are not here, because no kernel that Debian builds gives them: `CONFIG_MODULES=n`, and LoadPin.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::Path;

use ferrmod_plan::check::{Reason, Settings, Verdict};
use ferrmod_tests::corpus;
use ferrmod_tests::qemu::qemu_or_skip;

use crate::ground::{self, Setting};
use crate::guest::{self, Step, Transcript};
use crate::made::{self, Boot, Call, Group, Made};
use crate::root::Root;
use crate::tools;

/// What is asked under one policy, and where in the script.
struct Asked<'b> {
    group: &'b Group,
    made: &'b Made,
    bytes: Vec<u8>,
    line: usize,
    verdict: Verdict,
}

/// The script of a guest in the making, with the files it needs.
struct Script {
    text: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl Script {
    /// Adds a line. Which one it is, from 1.
    fn line(&mut self, line: &str) -> usize {
        self.text += line;
        self.text.push('\n');
        self.text.lines().count()
    }

    /// Hands a file to the kernel.
    fn load(&mut self, file: &str, bytes: &[u8], call: Call, arguments: &str) -> usize {
        self.files.insert(format!("t/{file}"), bytes.to_vec());
        self.line(&match call {
            Call::File => format!("finit 0 /t/{file} {arguments}"),
            // include/uapi/linux/module.h: MODULE_INIT_COMPRESSED_FILE.
            Call::Packed => format!("finit 4 /t/{file} {arguments}"),
            Call::Bytes => format!("init /t/{file} {arguments}"),
        })
    }
}

/// Lines that a kernel prints once a boot, that init functions print, and that are about something else.
fn is_compared(text: &str) -> bool {
    /// What a kernel's own work prints in its own time, seconds after init started, between any two lines.
    const IN_ITS_TIME: [&str; 5] = ["clocksource:", "input:", "random:", "sched_clock:", "tsc:"];
    const OTHERS: [&str; 13] = [
        "loading out-of-tree module",
        "module verification failed",
        "kernel tainted.",
        "Disabling lock debugging",
        "module license ",
        "Kernel is locked down",
        " init ret=",
        " exit",
        "user 1 2",
        "weak ",
        "cb set",
        "Skipping invalid relocation target",
        // The number is the decompressor's own.
        "decompression failed with status",
    ];
    !IN_ITS_TIME.iter().any(|source| text.starts_with(source)) && !OTHERS.iter().any(|other| text.contains(other))
}

/// The comparable lines of a log, each with its level before it. The name of a program is not a module's, and where the file ends up
/// is another place in every kernel.
fn lines<'l>(lines: impl Iterator<Item = (u8, &'l str)>) -> Vec<String> {
    let plain = |text: &str| {
        let text = text.replace("Lockdown: init:", "Lockdown: insmod:");
        match text.split_once(" val ffffffff") {
            Some((before, _)) => before.to_owned(),
            None => text,
        }
    };
    lines.filter(|(_, text)| is_compared(text)).map(|(level, text)| format!("{level} {}", plain(text))).collect()
}

/// A line as it comes from the guest: `/dev/kmsg` writes what is not printable as `\x7f`, and the guest's report escapes it again.
fn as_reported(text: &str) -> String {
    let printable = |byte: &u8| (b' '..0x7f).contains(byte) && *byte != b'\\';
    let kmsg: Vec<u8> = text
        .bytes()
        .flat_map(|byte| if printable(&byte) { vec![byte] } else { format!("\\x{byte:02x}").into_bytes() })
        .collect();
    kmsg.escape_ascii().to_string()
}

fn verdict(boot: &Boot, group: &Group, made: &Made, bytes: &[u8], after: &[(String, Vec<u8>)]) -> Option<Verdict> {
    let kernel = if boot.version == "6.1" { ground::linux_6_1() } else { ground::linux_6_12() }?;
    let keyring = kernel.keyring().expect("the kernel's image is at hand");
    let settings = Settings { explain: true, unpacked_by_kernel: made.call == Call::Packed, keyring: Some(&keyring) };
    let names: Vec<String> = after.iter().map(|(file, _)| module_name(file)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let after = after.iter().filter_map(|(file, _)| file.strip_suffix(".ko"));
    let ours: Vec<&str> = after.chain(made.beside.iter().copied()).collect();
    let setting =
        Setting { command_line: boot.command_line, policy: group.policy, together: &ours, loaded: &names, settings };
    let mut candidate = ground::candidate(made.file, bytes, made.arguments);
    if made.call != Call::Packed && candidate.format != ferrmod_image::compress::Compression::None {
        // Without the flag the kernel takes a packed file for what it is not.
        candidate.format = ferrmod_image::compress::Compression::None;
        candidate.bytes = bytes.into();
    }
    Some(ground::check(kernel, &candidate, &setting))
}

/// The name of the module in a file, as the kernel shows it.
fn module_name(file: &str) -> String {
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

/// Asks for everything in one machine. What is different, how many were asked for and how many of them were refused; `None`
/// when something that is needed is not here.
fn ask(boot: &Boot) -> Option<(Vec<String>, BTreeSet<&'static str>, [usize; 2])> {
    let tree = corpus::tree_or_skip(boot.version)?;
    if boot.version == "6.1" {
        corpus::own_module_or_skip("ring_a")?;
    }
    let mut script = Script { text: String::new(), files: BTreeMap::new() };
    let mut asked = Vec::new();
    for group in boot.groups {
        script.text += group.before;
        for made in group.made {
            let Some(bytes) = made::bytes(made.file, &tree) else {
                corpus::skip(made.file, "what makes it is not here");
                continue;
            };
            let mut after = Vec::new();
            for &file in made.after {
                let bytes = made::bytes(file, &tree)?;
                script.load(file, &bytes, Call::File, "");
                after.push((file.to_owned(), bytes));
            }
            let verdict = verdict(boot, group, made, &bytes, &after)?;
            let line = script.load(made.file, &bytes, made.call, made.arguments);
            script.line(&format!("unload {}", verdict.module));
            for (file, _) in after.iter().rev() {
                script.line(&format!("unload {}", module_name(file)));
            }
            asked.push(Asked { group, made, bytes, line, verdict });
        }
    }

    let root = Root::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("live").join(boot.name), &tree.release);
    for (path, content) in &script.files {
        root.file(path, content);
    }
    root.program("init", tools::init());
    root.file("script", script.text.as_bytes());
    let run = {
        let _one = crate::MACHINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        guest::boot(&tree, &root, boot.name, boot.command_line)
    };
    let _ = fs::remove_dir_all(root.folder());
    assert!(run.is_whole, "the machine did not come to its end; see {}", run.console.display());
    let mut wrong = Vec::new();
    let mut words = BTreeSet::new();
    let mut refused = 0;
    for one in &asked {
        let Some(step) = run.steps.iter().find(|step| step.line == one.line) else {
            wrong.push(format!("{}: was not asked", one.made.file));
            continue;
        };
        refused += usize::from(!one.verdict.loads());
        words.extend(one.verdict.reasons.iter().map(Reason::word));
        wrong.extend(compare(one, step).into_iter().map(|what| {
            let Made { file, arguments, after, .. } = one.made;
            format!("{}: {file} {arguments} after {after:?} [{}]: {what}", boot.name, one.group.policy)
        }));
    }
    let Transcript { time, .. } = run;
    eprintln!("{}: {} asked, {refused} refused, {:.1} s", boot.name, asked.len(), time.as_secs_f64());
    Some((wrong, words, [asked.len(), refused]))
}

/// What is different between a verdict and what the kernel did.
fn compare(Asked { made, verdict, bytes, .. }: &Asked<'_>, step: &Step) -> Vec<String> {
    let mut wrong = Vec::new();
    let ours = verdict.errno.map_or(0, |errno| -errno);
    // As `ferrmod check` shows them.
    let shown = |reason: &Reason| format!("{}: {reason}", reason.word());
    let reasons = verdict.reasons.iter().map(shown).collect::<Vec<_>>().join("\n");
    if step.status != format!("answer {ours}") {
        wrong.push(format!("{ours}, Linux {}: {reasons}", step.status));
    }
    if verdict.reasons.first().map_or("", Reason::word) != made.word {
        wrong.push(format!("not `{}` first: {reasons}", made.word));
    }
    for name in made.names {
        if !reasons.contains(name) {
            wrong.push(format!("the reasons say nothing of `{name}`:\n{reasons}"));
        }
    }
    let linux: Vec<(u8, &str)> = step
        .output
        .iter()
        .filter_map(|line| line.split_once(' '))
        .map(|(level, text)| (level.parse().unwrap_or(9), text))
        .collect();
    let theirs = lines(linux.iter().copied());
    let reported: Vec<(u8, String)> = verdict.log.iter().map(|line| (line.level, as_reported(&line.text))).collect();
    let own = lines(reported.iter().map(|(level, text)| (*level, text.as_str())));
    if own != theirs {
        wrong.push(format!("\n  Linux {theirs:#?}\n  ours  {own:#?}"));
    }
    let named = |name: &&str| theirs.iter().any(|line| line.contains(name));
    if !made.names.is_empty() && !theirs.is_empty() && !made.names.iter().any(named) {
        wrong.push(format!("Linux's log names none of {:?}: {theirs:#?}", made.names));
    }
    if verdict.loads() {
        let taints = step.modules.iter().filter_map(|line| line.strip_prefix("+ ")).find_map(|line| {
            let mut words = line.split(' ');
            (words.next() == Some(&verdict.module)).then(|| words.next_back().unwrap_or_default().to_owned())
        });
        // The list shows them in parentheses, or `Live` last when there are none.
        let taints = taints.unwrap_or_default();
        let taints = taints.strip_prefix('(').and_then(|taints| taints.strip_suffix(')')).unwrap_or_default();
        if taints != verdict.taints {
            wrong.push(format!("taints `{}`, Linux `{taints}` ({} bytes)", verdict.taints, bytes.len()));
        }
    }
    wrong
}

/// What a check can refuse a module for, but for what no kernel of Debian's gives.
const CLASSES: [&str; 21] = [
    "architecture",
    "blacklist",
    "built in",
    "compression",
    "crc",
    "duplicate",
    "empty",
    "initcall",
    "licence",
    "link",
    "loaded",
    "lockdown",
    "module size",
    "module_layout",
    "modules disabled",
    "namespace",
    "no module",
    "parameter",
    "signature",
    "symbol",
    "vermagic",
];

#[test]
fn every_refusal_has_a_module_that_is_made_for_it() {
    let made = made::BOOTS.iter().flat_map(|boot| boot.groups).flat_map(|group| group.made);
    let words: BTreeSet<&str> = made.map(|made| made.word).collect();
    let missing: Vec<&str> = CLASSES.into_iter().filter(|class| !words.contains(class)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_verdict_is_what_live_kernels_answer() {
    if env::var_os("FERRMOD_LIVE").is_some_and(|value| value == "0") {
        eprintln!("left out, because FERRMOD_LIVE is 0");
        return;
    }
    if !qemu_or_skip() {
        return;
    }
    let (mut wrong, mut words, mut counts) = (Vec::new(), BTreeSet::new(), [0, 0]);
    for boot in made::BOOTS {
        let Some((differences, reasons, [asked, refused])) = ask(boot) else { return };
        wrong.extend(differences);
        words.extend(reasons);
        counts[0] += asked;
        counts[1] += refused;
    }
    eprintln!("{} asked, {} refused; reasons: {words:?}", counts[0], counts[1]);
    assert!(wrong.is_empty(), "{} of {} differ:\n\n{}", wrong.len(), counts[0], wrong.join("\n\n"));
    assert!(counts[1] >= 60, "{counts:?}");
}

#[test]
fn what_a_kernel_prints_in_its_own_time_is_no_difference() {
    let log = [(3, "Invalid ELF header magic"), (6, "tsc: Refined TSC clocksource calibration: 2596.101 MHz")];
    assert_eq!(lines(log.into_iter()), ["3 Invalid ELF header magic"]);
}
