//! Scripts of operations, and recorded answers.

use std::collections::BTreeMap;

use ferrmod_tests::corpus::{Tree, own_module_or_skip};

use crate::survey::{Aliases, chain, files_of};

/// Operations, with the modules that they load.
pub(crate) struct Script {
    pub(crate) name: String,
    /// The lines, with a `load` for each module that a module needs.
    pub(crate) operations: Vec<String>,
    /// The modules' files by name.
    pub(crate) modules: BTreeMap<String, Vec<u8>>,
}

impl Script {
    /// Reads a script. `load NAME` loads what the module needs first, and `unload-all` unloads all of it in reverse. `None` with a
    /// loud word when a module of our own has not been built.
    pub(crate) fn new(name: &str, text: &str, tree: &Tree) -> Option<Self> {
        let files = files_of(tree);
        let (mut operations, mut modules, mut loaded) = (Vec::new(), BTreeMap::new(), Vec::new());
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (operation, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (module, arguments) = rest.split_once(' ').unwrap_or((rest, ""));
            match operation {
                "load" => {
                    let mut found = Vec::new();
                    chain(&files, &Aliases::new(), module, true, &mut found);
                    if found.is_empty() {
                        let file = std::fs::read(own_module_or_skip(module)?).expect("a module can be read");
                        found.push((module.to_owned(), file));
                    }
                    for (other, file) in found {
                        if loaded.contains(&other) {
                            continue;
                        }
                        let arguments = if other == module { arguments } else { "" };
                        operations.push(format!("load {other} {arguments}").trim_end().to_owned());
                        loaded.push(other.clone());
                        modules.insert(other, file);
                    }
                }
                "unload-all" => operations.extend(loaded.drain(..).rev().map(|module| format!("unload {module}"))),
                _ => operations.push(line.to_owned()),
            }
        }
        Some(Self { name: name.to_owned(), operations, modules })
    }
}

/// Writes answers down: operations at the beginning of a line, answers behind a tab.
pub(crate) fn written(answers: &[(String, Vec<String>)]) -> String {
    let line = |(operation, answer): &(String, Vec<String>)| {
        let answer: String = answer.iter().map(|line| format!("\t{line}\n")).collect();
        format!("{operation}\n{answer}")
    };
    answers.iter().map(line).collect()
}

/// Reads what [`written`] wrote.
pub(crate) fn answers(text: &str) -> Vec<(String, Vec<String>)> {
    let mut answers: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix('\t'), answers.last_mut()) {
            (Some(answer), Some((_, last))) => last.push(answer.to_owned()),
            _ => answers.push((line.to_owned(), Vec::new())),
        }
    }
    answers
}
