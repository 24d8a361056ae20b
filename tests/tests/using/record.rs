//! Asking Linux: the script in a guest with Debian's kernel.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use ferrmod_tests::corpus::Tree;

use crate::root::Root;
use crate::script::{Script, written};
use crate::{content, guest};

/// Only one machine at a time.
static MACHINE: Mutex<()> = Mutex::new(());

/// Runs the script in a guest and writes the answers to `path`.
pub(crate) fn record(tree: &Tree, script: &Script, path: &Path) {
    let name = format!("use-{}-{}", script.name, tree.release);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
    let root = Root::new(folder.clone(), &tree.release);
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.init"));
    let built = Command::new("gcc")
        .args(["-static", "-O1", "-w", "-o"])
        .arg(&program)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/using/guest.c"))
        .status();
    assert!(built.is_ok_and(|status| status.success()), "gcc does not build the guest's program");
    root.program("init", &program);
    root.file("script", (script.operations.join("\n") + "\n").as_bytes());
    for (name, file) in &script.modules {
        root.file(&format!("m/{name}.ko"), file);
    }
    for name in content::IMAGES {
        root.file(&format!("f/{name}"), &content::image(name));
    }
    let transcript = {
        let _one = MACHINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        guest::boot(tree, &root, &name, "")
    };
    let _ = fs::remove_dir_all(&folder);
    let _ = fs::remove_file(program);
    assert!(transcript.is_whole, "the guest did not come to its end: {}", transcript.console.display());
    let answers: Vec<(String, Vec<String>)> =
        transcript.steps.into_iter().map(|step| (step.command, step.output)).collect();
    fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
    fs::write(path, written(&answers)).expect("answers can be written");
}
