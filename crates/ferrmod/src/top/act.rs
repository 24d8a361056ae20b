//! Doing something: by the tools that do it from a command line, so that what happens is what they do.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use super::model::Action;

/// More of a tool's output than this is not shown.
const MOST_LINES: usize = 500;

/// What a tool said, and whether it succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) lines: Vec<String>,
    pub(super) well: bool,
}

/// The words of modprobe for an action; with `pretend` it only says what it would do.
pub(super) fn words(action: &Action, pretend: bool) -> Vec<OsString> {
    let mut words = vec!["modprobe", "--verbose"];
    if pretend {
        words.push("--dry-run");
    }
    match action {
        Action::Load(module) => {
            words.push("--");
            words.extend(module.iter().map(String::as_str));
        }
        Action::Unload(name) => words.extend(["--remove", "--", name]),
    }
    words.into_iter().map(OsString::from).collect()
}

/// The words that explain a module.
pub(super) fn explain(name: &str, root: Option<&Path>) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["why".into()];
    if let Some(root) = root {
        words.extend(["--root".into(), root.as_os_str().to_owned()]);
    }
    words.extend(["--".into(), name.into()]);
    words
}

/// What an action is called.
pub(super) fn title(action: &Action) -> String {
    match action {
        Action::Load(words) => format!("load {}", words.join(" ")),
        Action::Unload(name) => format!("unload {name}"),
    }
}

/// Runs this program with these words, to its end.
pub(super) fn run(words: &[OsString]) -> Said {
    let output = std::env::current_exe()
        .and_then(|program| Command::new(program).args(words).env("NO_COLOR", "1").stdin(Stdio::null()).output());
    match output {
        Ok(output) => {
            let all = [output.stdout, output.stderr].concat();
            let lines = String::from_utf8_lossy(&all).lines().take(MOST_LINES).map(str::to_owned).collect();
            Said { lines, well: output.status.success() }
        }
        Err(error) => Said { lines: vec![error.to_string()], well: false },
    }
}
