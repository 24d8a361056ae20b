//! `ferrmod audit --follow` on a live kernel: its trace tells who loads and unloads what, and is given back.

use std::env;
use std::fs;
use std::path::Path;

use ferrmod_tests::corpus;
use ferrmod_tests::qemu::qemu_or_skip;

use crate::guest::{self, Step};
use crate::root::{self, Root};
use crate::tools;

/// `await` waits for the instance of tracing to come; `interrupt` is Ctrl-C.
const SCRIPT: &str = "\
& ferrmod audit --follow --json --interval 0.2
await /sys/kernel/tracing/instances 1
pause 1500
finit 0 /t/crc7.ko
pause 1500
unload crc7
pause 1500
finit 0 /t/cordic.ko
unload cordic
finit 0 /t/cordic.ko
unload cordic
pause 1500
interrupt
join
list /sys/kernel/tracing/instances
cat /sys/kernel/tracing/events/module/enable
";

fn events(step: &Step) -> Vec<(String, String, String)> {
    let field = |line: &str, name: &str| {
        let begin = line.split_once(&format!("\"{name}\":")).map_or("", |(_, rest)| rest).trim_start_matches('"');
        begin.split(['"', ',', '}']).next().unwrap_or_default().to_owned()
    };
    let lines = step.output.iter().map(|line| line.replace("\\\"", "\""));
    lines.map(|line| (field(&line, "change"), field(&line, "module"), field(&line, "task"))).collect()
}

#[test]
fn who_loads_and_unloads_is_followed() {
    if env::var_os("FERRMOD_LIVE").is_some_and(|value| value == "0") {
        eprintln!("left out, because FERRMOD_LIVE is 0");
        return;
    }
    for version in ["6.1", "6.12"] {
        let Some(tree) = corpus::tree_or_skip(version) else { return };
        if !qemu_or_skip() {
            return;
        }
        let name = format!("{version}-follow");
        let root = Root::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("live").join(&name), &tree.release);
        for module in ["crc7", "cordic"] {
            root.file(&format!("t/{module}.ko"), &root::unpacked(&tree, module));
        }
        tools::install_ferrmod(&root);
        root.program("init", tools::init());
        root.file("script", SCRIPT.as_bytes());
        let run = {
            let _one = crate::MACHINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            guest::boot(&tree, &root, &name, "")
        };
        let _ = fs::remove_dir_all(root.folder());
        assert!(run.is_whole, "the machine did not come to its end; see {}", run.console.display());
        let step = |begin: &str| {
            run.steps.iter().find(|step| step.command.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {run:?}"))
        };
        let follow = step("ferrmod");
        let said = |change: &str, module: &str| {
            events(follow).into_iter().find(|(is, of, _)| is == change && of == module).map(|(.., task)| task)
        };
        // The first process of the guest has made the system calls itself.
        assert_eq!(said("loaded", "crc7").as_deref(), Some("init"), "{follow:?}");
        assert_eq!(said("unloaded", "crc7").as_deref(), Some("init"), "{follow:?}");
        // The other came and went too fast for the list, or was seen there for a moment.
        let seen = said("passed", "cordic").or_else(|| said("loaded", "cordic")).or_else(|| said("reloaded", "cordic"));
        assert_eq!(seen.as_deref(), Some("init"), "{follow:?}");
        assert_eq!(follow.status, "signal 2", "{follow:?}");
        assert!(!follow.errors.iter().any(|line| line.contains("trace")), "{follow:?}");
        // Nothing is left of the trace, and the kernel's own was never touched.
        assert!(step("list").output.is_empty(), "{:?}", step("list"));
        assert_eq!(step("cat").output, ["0"]);
    }
}
