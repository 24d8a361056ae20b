//! The runner's work inside its namespace.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use crate::case::{Case, difference, shown};
use crate::differences;
use crate::generate::{GROUPS, Group};
use crate::made;
use crate::run::{Peers, Side, Watchdog, run};
use crate::world::World;
use ferrmod_tests::corpus;
use ferrmod_tests::random::Random;

/// Everything a shard needs.
pub(crate) struct Shard {
    pub(crate) peers: Peers,
    pub(crate) watchdog: Watchdog,
    pub(crate) world: World,
}

/// Does the part of the work that the arguments name, and reports on standard output.
pub(crate) fn main(stage: PathBuf) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some(peers) = Peers::find(&corpus::folder()) else {
        eprintln!("kmod 34 is gone");
        return ExitCode::FAILURE;
    };
    let mut shard = Shard { peers, watchdog: Watchdog::start(), world: World::new(stage) };
    shard.index(words.contains(&"depmod_debian") || words.iter().any(|word| word.ends_with("_debian")));
    let done = match words[..] {
        ["group", name] => match GROUPS.iter().find(|group| group.name == name) {
            Some(group) => shard.group(group, None),
            None => Err(format!("no group is called {name}")),
        },
        ["itself"] => shard.itself(),
        ["differences"] => differences::check(&mut shard),
        ["case", line] => shard.show(line),
        _ => Err(format!("{words:?}?")),
    };
    match done {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            println!("{text}");
            ExitCode::FAILURE
        }
    }
}

impl Shard {
    /// Lets kmod make the indexes that every world starts with.
    fn index(&mut self, debian: bool) {
        let made = Case::new("depmod", &["-b", &self.world.made_root(), made::RELEASE]);
        let outcome = run(&self.peers, &self.watchdog, &mut self.world, &made, Side::Kmod(made.peer));
        let folder = self.world.made();
        let mut indexes = Vec::new();
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let input = ["modules.order", "modules.builtin", "modules.builtin.modinfo"].contains(&name.as_str());
            if name.starts_with("modules.") && !input {
                let content = fs::read(entry.path()).unwrap_or_default();
                indexes.push((entry.path(), made::Entry::File(content)));
            }
        }
        indexes.sort_by(|one, other| one.0.cmp(&other.0));
        assert!(indexes.len() >= 11, "kmod made no indexes: {outcome:?}");
        self.world.extend(indexes);
        let (true, Some(release)) = (debian, self.world.debian.clone()) else {
            return;
        };
        let folder = self.world.stage.join("debian/lib/modules").join(&release);
        let source = std::env::var_os("FERRMOD_KMOD_DEBIAN").map(PathBuf::from).unwrap_or_default();
        for name in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
            let _ = fs::copy(source.join(name), folder.join(name));
        }
        let root = self.world.stage.join("debian").display().to_string();
        let case = Case::new("depmod", &["-b", &root, &release]);
        run(&self.peers, &self.watchdog, &mut self.world, &case, Side::Kmod(case.peer));
    }

    /// Runs a group (or a few of it) and reports; the last line begins with "ok: " when all is well.
    fn group(&mut self, group: &Group, few: Option<usize>) -> Result<String, String> {
        let mut report = String::new();
        let mut random =
            Random::new(group.name.bytes().fold(0, |seed, byte| (seed.wrapping_mul(31)).wrapping_add(u64::from(byte))));
        let begin = Instant::now();
        let (mut ran, mut bad, mut explained, mut skipped) = (0, 0, 0, 0);
        for number in 0..few.unwrap_or(group.count) {
            let case = (group.make)(&mut random, &self.world);
            if case.arguments.iter().any(|argument| argument.contains(&0)) {
                continue;
            }
            let Some(kmod) = run(&self.peers, &self.watchdog, &mut self.world, &case, Side::Kmod(case.peer)) else {
                skipped += 1;
                continue;
            };
            ran += 1;
            let side = if few.is_some() { Side::Kmod(case.peer) } else { Side::Ours };
            let Some(ours) = run(&self.peers, &self.watchdog, &mut self.world, &case, side) else {
                continue;
            };
            if kmod == ours {
                continue;
            }
            if differences::explain(&case, &kmod, &ours).is_some() {
                explained += 1;
                continue;
            }
            bad += 1;
            report.push_str(&format!("#{number} {case}\n{}\n", difference(&kmod, &ours)));
        }
        let verdict = if bad == 0 { "ok" } else { "FAILED" };
        let name = group.name;
        report.push_str(&format!(
            "{verdict}: {name}: {ran} invocations, {bad} differ, {explained} differ as documented, {skipped} skipped, {:.1} s",
            begin.elapsed().as_secs_f64()
        ));
        Ok(report)
    }

    /// kmod against kmod: what is not the same twice cannot be compared.
    fn itself(&mut self) -> Result<String, String> {
        let few = corpus::budget("FERRMOD_KMOD_ITSELF", 40);
        let mut reports = String::new();
        let mut verdict = "ok";
        for group in GROUPS.iter().filter(|group| !group.name.ends_with("_debian")) {
            let report = self.group(group, Some(few as usize))?;
            if !report.lines().last().unwrap_or_default().starts_with("ok: ") {
                verdict = "FAILED";
            }
            reports.push_str(&report);
            reports.push('\n');
        }
        Ok(format!("{reports}{verdict}: kmod against kmod"))
    }

    /// Shows both sides of an invocation that was given in words.
    fn show(&mut self, line: &str) -> Result<String, String> {
        let line = line.replace("$STAGE", &self.world.stage.display().to_string());
        let mut words = line.split(' ');
        let mut case = Case::new(words.next().unwrap_or_default(), &words.collect::<Vec<_>>());
        case.folder = self.world.stage.clone();
        case.writes = true;
        let mut text = format!("{case}\n");
        for side in [Side::Kmod(case.peer), Side::Ours] {
            let Some(outcome) = run(&self.peers, &self.watchdog, &mut self.world, &case, side) else {
                continue;
            };
            let name = if side == Side::Ours { "ours" } else { "kmod" };
            text.push_str(&format!("{name}: {:?}\n", outcome.ended));
            for (what, bytes) in [("stdout", &outcome.stdout), ("stderr", &outcome.stderr)] {
                for line in bytes.split(|byte| *byte == b'\n').take(60) {
                    text.push_str(&format!("  {what}: {}\n", shown(line, 300)));
                }
            }
        }
        Ok(text)
    }
}
