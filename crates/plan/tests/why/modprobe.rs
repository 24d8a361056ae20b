//! The same questions to kmod's modprobe: what it would load, by name, by alias, and with the blacklist for names.

use std::path::Path;
use std::process::Command;

use ferrmod_plan::why::{Verdict, Way};
use ferrmod_tests::corpus;
use ferrmod_tests::random::Random;

use crate::ground::{Made, RELEASE};

const MODPROBE: &str = "/sbin/modprobe";

/// Whether modprobe would load `m` when `word` is asked for.
fn kmod_loads(made: &Made, word: &str, arguments: &[&str]) -> bool {
    let output = Command::new(MODPROBE)
        .args(["-n", "-v", "-S", RELEASE, "-d"])
        .arg(&made.folder)
        .arg("-C")
        .arg(made.folder.join("etc/modprobe.d"))
        .args(arguments)
        .args(["--", word])
        .env_remove("MODPROBE_OPTIONS")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // A dry run goes on behind a command for a dependency, which would have failed.
    text.lines()
        .take_while(|line| !line.starts_with("install "))
        .any(|line| line.starts_with("insmod ") && line.contains("/m.ko "))
}

#[test]
fn kmod_would_load_what_is_open_and_nothing_else() {
    if !Path::new(MODPROBE).exists() {
        corpus::skip("kmod", "install the package kmod");
        return;
    }
    // What each line says about `m`, its dependency and its names, in every order and mixture.
    let lines = [
        "blacklist m",
        "blacklist d",
        "install m /bin/false",
        "install m /bin/true",
        "install [mx] /bin/false",
        "install d /bin/false",
        "alias mine m",
        "alias mi* m",
        "alias m lone",
        "alias net-pf-38 other",
        "alias pci:v00001234d* lone",
        "softdep m pre: lone",
        "softdep p pre: m",
        "softdep p post: net-pf-38",
        "options m a=1",
        "remove m /bin/true",
    ];
    let mut random = Random::new(7);
    let (mut asked, mut open) = (0, 0);
    for round in 0..120 {
        // Each alone, and then some together.
        let chosen: Vec<&str> = match lines.get(round) {
            Some(line) => vec![line],
            None => (0..2 + random.below(3)).map(|_| random.one(&lines)).collect(),
        };
        let text = chosen.join("\n") + "\n";
        let made = Made::new(&text, "");
        let answer = made.answer("m");
        for path in &answer.paths {
            let questions: Vec<(String, &[&str])> = match &path.way {
                Way::Name { name } => vec![(name.clone(), &[])],
                Way::Device { modalias, .. } if !modalias.is_empty() => vec![(modalias.clone(), &["-b"])],
                Way::Request { aliases, .. } => aliases.iter().map(|alias| (alias.clone(), &[][..])).collect(),
                Way::Alias { pattern } => vec![(pattern.replace('*', ""), &[])],
                Way::Softdep { module, .. } => vec![(module.clone(), &[])],
                Way::Dependency { .. } => vec![("n".to_owned(), &[])],
                _ => continue,
            };
            let kmod = questions.iter().any(|(word, arguments)| kmod_loads(&made, word, arguments));
            asked += 1;
            open += usize::from(kmod);
            // A name that stands for another module is asked of `n` and `p` by this very module.
            assert_eq!(path.verdict == Verdict::Open, kmod, "{} with\n{text}{:?}", path.way, path.blocked_by);
        }
    }
    assert!(asked > 400 && open > 100 && open < asked - 100, "{open} of {asked}");
}
