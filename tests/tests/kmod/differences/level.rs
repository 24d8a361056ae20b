//! What takes a difference out of two outcomes, where that is more than a line, and invocations that several entries share.

use std::path::Path;

use crate::case::{Case, Edit, Ended, Left, Outcome};
use crate::made::{self, RELEASE};
use crate::world::World;

/// depmod of the made tree after these edits.
pub(super) fn depmod(world: &World, edits: &[Edit]) -> Case {
    let mut case = Case::new("depmod", &["-b", &world.made_root(), RELEASE]);
    case.writes = true;
    case.edits = edits.to_vec();
    case
}

/// modinfo of each broken module whose path is `wanted`.
pub(super) fn modinfo_of_broken(world: &World, wanted: impl Fn(&str) -> bool) -> Vec<Case> {
    let root = world.made_root();
    let broken = made::broken_files().into_iter().filter(|(path, _)| wanted(path));
    broken
        .map(|(path, content)| {
            let path = world.made().join(path);
            let mut case = Case::new("modinfo", &["-b", &root, "-k", RELEASE, &path.display().to_string()]);
            case.edits.push(Edit::Write(path, content));
            case
        })
        .collect()
}

/// Whether it printed help or a version.
pub(super) fn asks_for_text(kmod: &Outcome) -> bool {
    let text = &kmod.stdout;
    [&b"Usage:"[..], b"kmod - ", b"kmod version "]
        .iter()
        .any(|start| text.windows(start.len()).take(200).any(|window| window == *start))
}

pub(super) fn own_words(_: &Case, kmod: &mut Outcome, ours: &mut Outcome) {
    if asks_for_text(kmod) && !ours.stdout.is_empty() {
        kmod.stdout.clear();
        ours.stdout.clear();
    }
}

pub(super) fn without_lines(text: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let has = |line: &[u8]| parts.iter().any(|part| line.windows(part.len()).any(|window| window == *part));
    text.split_inclusive(|byte| *byte == b'\n').filter(|line| !has(line)).flatten().copied().collect()
}

pub(super) fn internals_in_the_log(_: &Case, kmod: &mut Outcome, ours: &mut Outcome) {
    for outcome in [kmod, ours] {
        outcome.stderr = without_lines(&outcome.stderr, &[b": INFO: ", b": DEBUG: "]);
    }
}

pub(super) fn temporary_files_left(_: &Case, kmod: &mut Outcome, _: &mut Outcome) {
    let is_temporary = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let numbers = name.rsplit('.').take(3).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit())).count();
        name.starts_with("modules.") && numbers == 3
    };
    kmod.files.retain(|path, left| !(matches!(left, Left::File { .. }) && is_temporary(path)));
}

pub(super) fn no_crash(_: &Case, kmod: &mut Outcome, ours: &mut Outcome) {
    if !matches!(kmod.ended, Ended::Exit(_)) && matches!(ours.ended, Ended::Exit(_)) && !ours.stderr.is_empty() {
        *kmod = ours.clone();
    }
}

pub(super) fn decompressors_words(_: &Case, kmod: &mut Outcome, ours: &mut Outcome) {
    const WORDS: &[&[u8]] = &[
        b"libkmod: ERROR: kmod_file_load_",
        b"libkmod: ERROR: xz_uncompress_belch",
        b": ERROR: xz: ",
        b": ERROR: zstd: ",
    ];
    for outcome in [kmod, ours] {
        outcome.stderr = without_lines(&outcome.stderr, WORDS);
    }
}

pub(super) fn broken_modules(case: &Case, kmod: &mut Outcome, ours: &mut Outcome) {
    let says = |part: &[u8]| kmod.stderr.windows(part.len()).any(|window| window == part);
    let reported = says(b"failed to load symbols from") || says(b"could not get modinfo from") || says(b"fstatat(");
    if case.applet() == "depmod" && reported && kmod.ended == Ended::Exit(0) && ours.ended == Ended::Exit(1) {
        kmod.ended = Ended::Exit(1);
    }
}

pub(super) fn paths_in_messages(_: &Case, kmod: &mut Outcome, ours: &mut Outcome) {
    for outcome in [kmod, ours] {
        let mut text = Vec::new();
        for line in outcome.stderr.split_inclusive(|byte| *byte == b'\n') {
            let Some(rest) = line.strip_prefix(b"depmod: ERROR: fstatat(") else {
                text.extend(line);
                continue;
            };
            let end = rest.windows(2).position(|window| window == b"):").unwrap_or(rest.len());
            let name = rest[..end].rsplit(|byte| b"/ ".contains(byte)).next().unwrap_or_default();
            text.extend([b"depmod: ERROR: fstatat(", name, &rest[end..]].concat());
        }
        outcome.stderr = text;
    }
}

pub(super) fn quiet_is_quiet(case: &Case, kmod: &mut Outcome, ours: &mut Outcome) {
    let asked = case.arguments.iter().any(|argument| {
        let short = argument.starts_with(b"-") && !argument.starts_with(b"--");
        short && argument.iter().any(|letter| b"qs".contains(letter))
            || argument.len() > 2 && (b"--quiet".starts_with(argument) || b"--syslog".starts_with(argument))
    });
    let asked =
        asked || case.environment.iter().any(|(name, value)| *name == "MODPROBE_OPTIONS" && value.starts_with(b"-q"));
    if asked {
        kmod.stderr = without_lines(&kmod.stderr, &[b"libkmod: ERROR: "]);
        // In the log they are under the applet's name.
        const LOGGED: &[&[u8]] = &[b"libkmod: ERROR: ", b"ERROR: kmod_config_parse: ", b"ERROR: conf_files_"];
        ours.stderr = without_lines(&ours.stderr, LOGGED);
    }
}

pub(super) fn doubled_slashes(case: &Case, kmod: &mut Outcome, ours: &mut Outcome) {
    if case.applet() != "depmod" {
        return;
    }
    for outcome in [&mut *kmod, &mut *ours] {
        for text in [&mut outcome.stdout, &mut outcome.stderr] {
            text.dedup_by(|byte, before| *byte == b'/' && *before == b'/');
            while let Some(at) = text.windows(3).position(|window| window == b"/./") {
                text.drain(at..at + 2);
            }
        }
    }
    if !case.arguments.iter().any(|argument| argument.ends_with(b"lib/modules/")) {
        return;
    }
    for (path, left) in &mut kmod.files {
        let whole = match left {
            Left::File { content, .. } if path.ends_with("modules.dep") => content.starts_with(b"/"),
            Left::File { content, .. } if path.ends_with("modules.dep.bin") => {
                content.windows(2).any(|two| two == b"\0/")
            }
            _ => false,
        };
        if whole && let Some(own) = ours.files.get(path) {
            left.clone_from(own);
        }
    }
}

pub(super) fn dropped_options(case: &Case, kmod: &mut Outcome, ours: &mut Outcome) {
    if case.peer != crate::case::Peer::Kmod30 {
        return;
    }
    for outcome in [&mut *kmod, &mut *ours] {
        outcome.stderr = without_lines(&outcome.stderr, &[b"Ignored deprecated option"]);
        if case.applet() == "depmod" {
            outcome.stdout = without_lines(&outcome.stdout, &[b"# Weak dependencies", b"weakdep "]);
        }
        outcome.files.retain(|path, _| !path.extension().is_some_and(|ending| ending == "bin" || ending == "weakdep"));
    }
    const LATER: &[&[u8]] =
        &[b"depmod: invalid option -- 'o'", b"depmod: unrecognized option '--o", b"depmod: unrecognized option '--mod"];
    let map = case.applet() == "depmod" && case.arguments.iter().any(|argument| argument.starts_with(b"-m"));
    if map || LATER.iter().any(|said| kmod.stderr.starts_with(said)) {
        *kmod = ours.clone();
    }
}

pub(super) fn damaged_indexes(case: &Case, kmod: &mut Outcome, ours: &mut Outcome) {
    if !case.edits_file(".bin") {
        return;
    }
    const CHECKS: &[&[u8]] = &[b"version check fail", b"magic check fail"];
    kmod.stderr = without_lines(&kmod.stderr, CHECKS);
    let said = ours.stderr.windows(3).any(|window| window == b"bin") && matches!(ours.ended, Ended::Exit(_));
    let before = ours.stderr.clone();
    ours.stderr = without_lines(&ours.stderr, &[b".bin: "]);
    if said
        && before != ours.stderr
        && (kmod.stdout != ours.stdout || kmod.stderr != ours.stderr || kmod.ended != ours.ended)
    {
        // What kmod found in the damaged file is no measure of what we find in the others.
        *kmod = ours.clone();
    }
}

pub(super) fn empty_names(case: &Case, kmod: &mut Outcome, ours: &mut Outcome) {
    let spaces =
        |value: &[u8]| value == b" " || value.contains(&b'"') || value.windows(2).any(|window| window == b"  ");
    if case.environment.iter().any(|(name, value)| *name == "MODPROBE_OPTIONS" && spaces(value)) {
        *kmod = ours.clone();
    }
    if case.applet() == "modprobe" && case.arguments.iter().any(Vec::is_empty) {
        let is_named = |line: &&[u8]| *line != b"rmmod \n";
        kmod.stdout = kmod.stdout.split_inclusive(|byte| *byte == b'\n').filter(is_named).flatten().copied().collect();
    }
}

pub(super) fn external_folders(case: &Case, kmod: &mut Outcome, ours: &mut Outcome) {
    let external =
        |edit: &Edit| matches!(edit, Edit::Write(_, text) if text.windows(9).any(|window| window == b"external "));
    if case.applet() != "depmod" || !case.edits.iter().any(external) {
        return;
    }
    for outcome in [&mut *kmod, &mut *ours] {
        outcome.stderr = without_lines(&outcome.stderr, &[b"could not open directory"]);
    }
    // Where such a folder exists, its modules are in kmod's index.
    if case.edits.iter().any(|edit| edit.path().components().any(|part| part.as_os_str() == "outside")) {
        kmod.files.clone_from(&ours.files);
        kmod.stdout.clone_from(&ours.stdout);
    }
}
