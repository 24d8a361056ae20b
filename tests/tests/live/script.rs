//! The script of both guests: what is run, and what is compared of it.

use std::collections::{BTreeMap, BTreeSet};

/// A script for one kernel and the kmod of its time.
pub(crate) struct Script {
    /// As `live_init` reads it; lines keep their numbers.
    pub(crate) text: String,
    unspoken: BTreeSet<usize>,
    better: BTreeMap<usize, Option<Expected>>,
    ours: BTreeSet<usize>,
}

/// How a line of ours has to end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) status: String,
    /// What has to be in a line that it says.
    pub(crate) text: Option<String>,
}

impl Script {
    /// Chooses from `source`: a line that begins with `[WORD]` is only for scripts with that word among `words`; `[ours]`, for our
    /// tools only.
    ///
    /// What differs on purpose is marked, and docs/kmod-differences.md has the reason: after `~` texts may differ, after `!`
    /// what is done, too; with `!STATUS|` or `!STATUS, saying TEXT|` ours has to do that. `{NAME}` is replaced by its value.
    pub(crate) fn new(source: &str, words: &[&str], values: &[(&str, &str)]) -> Self {
        let (unspoken, better, ours) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
        let mut script = Self { text: String::new(), unspoken, better, ours };
        for (at, line) in source.lines().enumerate() {
            let (mut line, number) = (line, at + 1);
            while let Some((word, rest)) = line.strip_prefix('[').and_then(|line| line.split_once("] ")) {
                if word == "ours" {
                    script.ours.insert(number);
                }
                line = if words.contains(&word) { rest } else { "" };
            }
            if let Some(rest) = line.strip_prefix("~ ") {
                script.unspoken.insert(number);
                line = rest;
            } else if let Some(rest) = line.strip_prefix("! ") {
                script.better.insert(number, None);
                line = rest;
            } else if let Some((wanted, rest)) = line.strip_prefix('!').and_then(|rest| rest.split_once("| ")) {
                let (status, text) = match wanted.split_once(", saying ") {
                    Some((status, text)) => (status, Some(text.to_owned())),
                    None => (wanted, None),
                };
                script.better.insert(number, Some(Expected { status: status.to_owned(), text }));
                line = rest;
            }
            let mut line = line.to_owned();
            for (name, value) in values {
                line = line.replace(&format!("{{{name}}}"), value);
            }
            script.text += &line;
            script.text.push('\n');
        }
        script
    }

    /// Whether what is said in this line is not compared.
    pub(crate) fn is_unspoken(&self, line: usize) -> bool {
        self.unspoken.contains(&line) || self.is_better(line)
    }

    /// Whether what is done in this line is not compared either, because kmod does something wrong.
    pub(crate) fn is_better(&self, line: usize) -> bool {
        self.better.contains_key(&line)
    }

    /// Whether it is for our tools only.
    pub(crate) fn is_ours(&self, line: usize) -> bool {
        self.ours.contains(&line)
    }

    /// How ours has to end then, if that is known.
    pub(crate) fn expected(&self, line: usize) -> Option<&Expected> {
        self.better.get(&line)?.as_ref()
    }
}

#[test]
fn a_script_is_chosen_from_its_source() {
    let source = "a {x}\n[34] b\n[30] ~ c\n! d\n!exit 1| e\n[ours] !ok, saying what| f\n";
    let script = Script::new(source, &["30", "ours"], &[("x", "1")]);
    assert_eq!(script.text, "a 1\n\nc\nd\ne\nf\n");
    assert!(script.is_unspoken(3) && script.is_unspoken(4) && script.is_better(4) && !script.is_better(3));
    let wanted = |status: &str, text: Option<&str>| Expected { status: status.into(), text: text.map(Into::into) };
    assert_eq!((script.expected(4), script.expected(5)), (None, Some(&wanted("exit 1", None))));
    assert_eq!(script.expected(6), Some(&wanted("ok", Some("what"))));
    assert!(script.is_ours(6) && !script.is_ours(5));
    assert_eq!(Script::new(source, &[], &[("x", "1")]).text, "a 1\n\n\nd\ne\n\n");
}
