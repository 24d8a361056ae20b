//! Scripts of operations, and recorded answers.

use std::collections::BTreeMap;

use ferrmod_image::Image;
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
    /// loud word when a module of our own has not been built. `twin NAME` loads a module that was loaded once more under another name,
    /// and `untwin NAME` unloads that; `again NAME` loads a module that was loaded and unloaded.
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
                "twin" => {
                    let name = twin_name(module);
                    operations.push(format!("load {name} {arguments}").trim_end().to_owned());
                    modules.insert(name, twin(&modules[module]));
                }
                "again" => operations.push(format!("load {module} {arguments}").trim_end().to_owned()),
                "untwin" => operations.push(format!("unload {}", twin_name(module))),
                "unload-all" => operations.extend(loaded.drain(..).rev().map(|module| format!("unload {module}"))),
                _ => operations.push(line.to_owned()),
            }
        }
        Some(Self { name: name.to_owned(), operations, modules })
    }
}

/// The name of a module's twin: as long, and not the same.
fn twin_name(name: &str) -> String {
    let (start, last) = name.split_at(name.len() - 1);
    format!("{start}{}", if last == "x" { "y" } else { "x" })
}

/// The same module under another name, and without the signature that would no longer fit.
fn twin(file: &[u8]) -> Vec<u8> {
    let image = Image::read(file).unwrap_or_else(|error| panic!("{error}"));
    let name = image.name().expect("a module has a name").to_string();
    let mut copy = image.bytes().to_vec();
    // Where Linux reads its name, and where it says its name.
    for (section, before) in [(".gnu.linkonce.this_module", ""), (".modinfo", "name=")] {
        let (_, found) = image.section(section).expect("a module has its object and its strings");
        let text = format!("{before}{name}\0");
        let within =
            found.data.windows(text.len()).position(|part| part == text.as_bytes()).expect("its name is in it");
        let at = found.offset as usize + within + before.len();
        copy[at..at + name.len()].copy_from_slice(twin_name(&name).as_bytes());
    }
    copy
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
