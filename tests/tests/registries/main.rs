//! What an unmodified module registers appears where Linux shows it, goes away with it, is refused a second time, and pins its owner.
//!
//! `table.txt` has a section for each registry: questions (`? there /sys/bus/pci/drivers/e100`) that are asked before anything is
//! loaded, whenever it says `ask`, and after everything is unloaded; and between them the loading of modules of the tree, of their twins
//! (the same file under another name, which registers the same once more), opening, writing and unloading. Debian's kernel has
//! answered all of it in QEMU; the machine has to give the same answers, each section in a machine of its own, and be clean
//! afterwards. `% KIND NAME` is a registration that Linux shows in no file: here `/proc/ferrmod-registrations` does.
//!
#[path = "../using/content.rs"]
#[expect(dead_code, reason = "no file system is made here")]
mod content;
#[path = "../live/guest.rs"]
#[expect(dead_code, reason = "of a guest's report only the answers are used here")]
mod guest;
#[path = "../using/machine.rs"]
mod machine;
#[path = "../using/record.rs"]
mod record;
#[path = "../live/root.rs"]
#[expect(dead_code, reason = "the guest holds no tools")]
mod root;
#[path = "../using/script.rs"]
mod script;
#[path = "../survey/mod.rs"]
mod survey;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use ferrmod_tests::corpus::{Tree, tree_or_skip};
use libtest_mimic::{Arguments, Failed, Trial};

use script::Script;

/// Where the images of `using` are.
fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/use"))
}

/// Where the answers are.
fn answers() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/registries.linux-6.1"))
}

/// One registry of the table.
struct Section {
    name: String,
    /// The script, with the questions in their places.
    text: String,
}

/// The questions of a section; `loaded` is what a registration here is expected to be.
fn ask(questions: &[&str], loaded: bool) -> String {
    let question = |question: &&str| match question.strip_prefix("% ") {
        Some(registration) => format!("registered {registration} {}\n", u8::from(loaded)),
        None => format!("{}\n", &question[2..]),
    };
    questions.iter().map(question).collect()
}

fn sections(table: &str) -> Vec<Section> {
    let part = |part: &str| {
        let (name, body) = part.split_once("]\n").unwrap_or_else(|| panic!("a section has a name in brackets: {part}"));
        let lines = || body.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let is_question = |line: &&str| line.starts_with("? ") || line.starts_with("% ");
        let questions: Vec<&str> = lines().filter(is_question).collect();
        let mut text = format!("section {name}\n{}", ask(&questions, false));
        for line in lines().filter(|line| !is_question(line)) {
            text += &if line == "ask" { ask(&questions, true) } else { format!("{line}\n") };
        }
        text += &format!("unload-all\n{}", ask(&questions, false));
        Section { name: name.to_owned(), text }
    };
    table.split("\n[").skip(1).map(part).collect()
}

/// Does in a machine what the section says and compares each answer.
fn like_linux(section: &Section, tree: &Tree, recorded: &str) -> Result<(), Failed> {
    // A module of our own that was not built has been said.
    let Some(script) = Script::new(&section.name, &section.text, tree) else { return Ok(()) };
    let all = script::answers(recorded);
    let begin = format!("section {}", section.name);
    let expected: Vec<_> = all
        .iter()
        .skip_while(|(operation, _)| *operation != begin)
        .enumerate()
        .take_while(|(number, (operation, _))| *number == 0 || !operation.starts_with("section "))
        .map(|(_, answer)| answer)
        .collect();
    if !expected.iter().map(|(operation, _)| operation).eq(&script.operations) {
        return Err("the section has changed: record it again".into());
    }
    let mut world = machine::World::boot(tree, &script);
    let mut different = Vec::new();
    for (operation, answer) in expected {
        let found = world.answer(operation);
        if found != *answer {
            different.push(format!("{operation}\n  Linux: {}\n  here:  {}", answer.join("\n"), found.join("\n")));
        }
    }
    if !different.is_empty() {
        return Err(format!("{} answers differ:\n{}{}", different.len(), different.join("\n"), world.log()).into());
    }
    world.is_clean();
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let sections = sections(include_str!("table.txt"));
    let Some(tree) = tree_or_skip("6.1") else { return ExitCode::SUCCESS };
    let tree = Arc::new(tree);
    if std::env::var_os("FERRMOD_RECORD").is_some() {
        let text: String = sections.iter().map(|section| section.text.as_str()).collect();
        let script = Script::new("registries", &text, &tree).expect("every module is of the tree");
        record::record(&tree, &script, &answers());
    }
    let recorded: Arc<str> = fs::read_to_string(answers()).expect("the answers of Linux are there").into();
    let trial = |section: Section| {
        let (tree, recorded) = (Arc::clone(&tree), Arc::clone(&recorded));
        Trial::test(section.name.clone(), move || like_linux(&section, &tree, &recorded))
    };
    libtest_mimic::run(&arguments, sections.into_iter().map(trial).collect()).exit_code()
}
