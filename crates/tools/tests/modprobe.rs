//! `modprobe`: against kmod 34 over the real tree, and what is ours on a made one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrmod_index::trie::{NodeOrder, TrieWriter};
use ferrmod_tests::corpus;
use serde_json::Value;

/// A folder that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let folder = std::env::temp_dir().join(format!("ferrmod-modprobe-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Scratch(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn ours() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kmod"));
    command.arg0("modprobe").env_remove("MODPROBE_OPTIONS").env_remove("KMOD_LOG");
    command
}

/// kmod 34's program under one of its names, if it was fetched.
fn kmod34(name: &str) -> Option<Command> {
    let folder = corpus::folder().join("kmod34/usr");
    let libraries = folder.join("lib/x86_64-linux-gnu");
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(&libraries).args(["--argv0", name]).arg(folder.join("bin/kmod"));
    command.env_remove("MODPROBE_OPTIONS").env_remove("KMOD_LOG");
    folder.is_dir().then_some(command)
}

/// The 6.1 tree as depmod 34 sees it: its indexes, and an empty file for each module.
fn real_tree(scratch: &Scratch) -> Option<(String, PathBuf)> {
    let tree = corpus::tree_or_skip("6.1")?;
    let Some(mut depmod) = kmod34("depmod") else {
        corpus::skip("kmod 34", "run `cargo xtask corpus`");
        return None;
    };
    let done = depmod.arg("-b").arg(&tree.root).arg("-o").arg(&scratch.0).arg(&tree.release).status().unwrap();
    assert!(done.success());
    let folder = scratch.0.join("lib/modules").join(&tree.release);
    for line in fs::read_to_string(folder.join("modules.dep")).unwrap().lines() {
        let path = folder.join(line.split(':').next().unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    Some((tree.release, folder))
}

/// Runs both with each list of operands and compares everything they say.
fn compare(arguments: &[&str], lists: &[Vec<String>]) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(list) = lists.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run = |mut command: Command| command.args(arguments).args(list).output().unwrap();
                    let (ours, theirs) = (run(ours()), run(kmod34("modprobe").unwrap()));
                    let text = |output: &Output| {
                        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
                        text += &String::from_utf8_lossy(&output.stderr);
                        format!("{text}{:?}", output.status.code())
                    };
                    assert_eq!(text(&ours), text(&theirs), "modprobe {arguments:?} {list:?}");
                }
            });
        }
    });
}

fn chunks(names: impl Iterator<Item = String>) -> Vec<Vec<String>> {
    names.collect::<Vec<_>>().chunks(50).map(<[String]>::to_vec).collect()
}

#[test]
fn every_module_of_the_real_tree_loads_as_with_kmod() {
    let scratch = Scratch::new("names");
    let Some((release, folder)) = real_tree(&scratch) else { return };
    // kmod obeys the first softdep line of a module, we all of them. With one line that has all the names there is no difference.
    let softdeps = fs::read_to_string(folder.join("modules.softdep")).unwrap();
    let mut of_module: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for line in softdeps.lines().filter_map(|line| line.strip_prefix("softdep ")) {
        let (module, text) = line.split_once(' ').unwrap();
        *lines.entry(module).or_default() += 1;
        let mut kind = "";
        for word in text.split_whitespace() {
            if word == "pre:" || word == "post:" {
                kind = word;
            } else if !kind.is_empty() {
                of_module.entry(module).or_default().push((kind, word));
            }
        }
    }
    let mut config = String::new();
    for (module, wishes) in of_module.iter().filter(|(module, _)| lines[*module] > 1) {
        let of = |kind: &str| -> String {
            wishes.iter().filter(|wish| wish.0 == kind).map(|wish| format!(" {}", wish.1)).collect()
        };
        config += &format!("softdep {module} pre:{} post:{}\n", of("pre:"), of("post:"));
    }
    assert!(config.contains("softdep btrfs pre:"));
    let file = scratch.0.join("a.conf");
    fs::write(&file, config).unwrap();
    let arguments = ["-d", scratch.0.to_str().unwrap(), "-S", &release, "-C", file.to_str().unwrap(), "-D", "-a"];
    let dep = fs::read_to_string(folder.join("modules.dep")).unwrap();
    let names = dep.lines().map(|line| corpus::module_name(Path::new(line.split(':').next().unwrap())).unwrap());
    let lists = chunks(names);
    assert!(lists.len() > 80);
    compare(&arguments, &lists);
    // Built in, and through symbols.
    let builtin = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
    compare(&arguments, &chunks(builtin.lines().map(|line| corpus::module_name(Path::new(line)).unwrap())));
    let symbols = fs::read_to_string(folder.join("modules.symbols")).unwrap();
    let symbols = symbols.lines().filter_map(|line| line.split(' ').nth(1)).step_by(17).map(str::to_owned);
    compare(&arguments, &chunks(symbols));
}

#[test]
fn aliases_of_the_real_tree_stand_for_the_same_modules() {
    let scratch = Scratch::new("aliases");
    let Some((release, folder)) = real_tree(&scratch) else { return };
    let arguments = ["-d", scratch.0.to_str().unwrap(), "-S", &release, "-C", "/dev/null", "-R", "-a"];
    let aliases = fs::read_to_string(folder.join("modules.alias")).unwrap();
    // A name that the pattern matches: something for each star, the first of each bracket.
    let names = aliases.lines().filter_map(|line| line.strip_prefix("alias ")).enumerate().map(|(number, line)| {
        let mut name = String::new();
        let mut rest = line.split(' ').next().unwrap().chars();
        while let Some(c) = rest.next() {
            match c {
                '*' => name += ["0", "", "00008086", "v*"][number % 4],
                '?' => name.push('A'),
                '[' => {
                    name.extend(rest.next());
                    let _ = rest.by_ref().find(|&c| c == ']');
                }
                c => name.push(c),
            }
        }
        name
    });
    // Every third: neighbours are of the same kind.
    let lists = chunks(names.step_by(3));
    assert!(lists.len() > 100);
    compare(&arguments, &lists);
}

/// A made tree: `m` needs `d`; `s` is what `m` wishes for.
fn made(name: &str, config: &str) -> Scratch {
    let scratch = Scratch::new(name);
    let folder = scratch.0.join("root/lib/modules/1.0");
    fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, entries: &[(&str, &str)]| {
        let mut trie = TrieWriter::new();
        for (number, (key, value)) in entries.iter().enumerate() {
            trie.insert(key.as_bytes(), value.as_bytes(), number as u32).unwrap();
        }
        fs::write(folder.join(name), trie.finish(NodeOrder::ParentFirst).unwrap()).unwrap();
    };
    write("modules.dep.bin", &[("m", "m.ko: d.ko"), ("d", "d.ko:"), ("s", "s.ko:")]);
    write("modules.alias.bin", &[("dev:*", "m")]);
    write("modules.builtin.bin", &[("inside", "")]);
    for name in ["m", "d", "s"] {
        fs::write(folder.join(name).with_extension("ko"), b"").unwrap();
    }
    fs::write(scratch.0.join("c.conf"), config).unwrap();
    scratch
}

fn run(scratch: &Scratch, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = ours();
    command.arg("-d").arg(scratch.0.join("root")).args(["-S", "1.0", "-C"]).arg(scratch.0.join("c.conf"));
    let output = command.args(arguments).output().unwrap();
    let place = scratch.0.to_str().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(place, "HERE");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn masked_modules_are_refused_with_the_line_that_says_so() {
    let scratch = made("mask", "mask d\noptions m a=1\n");
    let (code, out, err) = run(&scratch, &["-D", "m"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(err, "modprobe: ERROR: could not insert 'm': module d is masked (HERE/c.conf line 1)\n");
    let scratch = made("allow", "allow m d\nsoftdep m pre: s\ninstall s echo no\n");
    let (code, out, _) = run(&scratch, &["-D", "m"]);
    assert_eq!(code, Some(0));
    assert_eq!(out, "insmod HERE/root/lib/modules/1.0/d.ko \ninsmod HERE/root/lib/modules/1.0/m.ko \n");
    assert_eq!(run(&scratch, &["s"]).0, Some(1));
}

#[test]
fn explanations_name_file_and_line() {
    let scratch = made("explain", "# nothing\noptions m a=1\nsoftdep m pre: inside\nblacklist s\nalias x s\n");
    let (code, out, err) = run(&scratch, &["-D", "--explain", "dev:1"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for line in [
        "builtin inside\n",
        "#   inside: softdep before m (HERE/c.conf line 3)\n",
        "#   found: alias dev:* (modules.alias)\n",
        "#   options m a=1 (HERE/c.conf line 2)\n",
        "#   d: m needs it (modules.dep)\n",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }
    let (_, out, _) = run(&scratch, &["-n", "--explain", "x"]);
    assert!(out.contains("#   blacklist s (HERE/c.conf line 4)\n"), "{out}");
}

/// Some give the lines to a shell.
#[test]
fn a_file_name_with_a_newline_does_not_leave_the_comment() {
    let scratch = made("newline", "options m a=1\nblacklist s\nalias x s\n");
    let file = scratch.0.join("a\nrm x.conf");
    fs::rename(scratch.0.join("c.conf"), &file).unwrap();
    for arguments in [["-D", "m"], ["-n", "x"]] {
        let mut command = ours();
        command.arg("-d").arg(scratch.0.join("root")).args(["-S", "1.0", "--explain", "-C"]).arg(&file);
        let out = String::from_utf8(command.args(arguments).output().unwrap().stdout).unwrap();
        assert!(out.contains("a\\nrm x.conf line"), "{out}");
        assert!(out.lines().all(|line| line.starts_with("# ") || line.starts_with("insmod ")), "{out}");
    }
}

/// As `ferrmod why` says it.
#[test]
fn an_explanation_says_what_a_line_stops_and_what_it_does_not() {
    let scratch = made("stops", "blacklist s\nalias x s\nmask d\n");
    let (_, out, _) = run(&scratch, &["-n", "--explain", "x"]);
    let stops = "#     stops: devices, the kernel's requests for an alias, modprobe ALIAS, ";
    assert!(out.contains(stops) && out.contains("#     does not stop: modprobe NAME, "), "{out}");
    let (code, _, err) = run(&scratch, &["-D", "--explain", "m"]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("module d is masked (HERE/c.conf line 3)\n  mask d (HERE/c.conf line 3)\n    stops: "),
        "{err}"
    );
    let scratch = made("false", "install s /bin/false\n");
    let (code, _, err) = run(&scratch, &["--explain", "s"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("retcode 1\n  install s (HERE/c.conf line 1)\n    stops: devices, "), "{err}");
    assert!(err.contains("    does not stop: insmod FILE, modprobe -i NAME, "), "{err}");
    // Nobody asked, and nobody reads along.
    assert!(!run(&scratch, &["s"]).2.contains("does not stop"));
}

#[test]
fn a_name_that_nothing_has_is_explained() {
    let scratch = made("absent", "");
    let absent = "modprobe: FATAL: Module mm not found in directory HERE/root/lib/modules/1.0\n";
    let (code, _, err) = run(&scratch, &["mm"]);
    assert_eq!((code, err.as_str()), (Some(1), absent));
    let (code, _, err) = run(&scratch, &["--explain", "mm"]);
    assert_eq!((code, err), (Some(1), format!("{absent}  did you mean m?\n")));
    // A file that depmod has not seen.
    let folder = scratch.0.join("root/lib/modules/1.0");
    fs::copy(folder.join("m.ko"), folder.join("new.ko")).unwrap();
    let (_, _, err) = run(&scratch, &["-a", "--explain", "new"]);
    assert!(err.starts_with("modprobe: WARNING: Module new not found"), "{err}");
    assert!(
        err.ends_with("\n  HERE/root/lib/modules/1.0/new.ko is there, and the indexes do not know it: run depmod\n"),
        "{err}"
    );
}

#[test]
fn documents_say_what_the_text_says() {
    let scratch = made("json", "options m a=1\nsoftdep m pre: s post: gone\n");
    let (code, out, _) = run(&scratch, &["-D", "--json", "m", "b=2"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &document["schema"]), (Some(0), &Value::from("ferrmod.modprobe.probe/1")));
    let steps = document["requests"][0]["modules"][0]["steps"].as_array().unwrap();
    let shown: String = steps
        .iter()
        .map(|step| {
            let (file, options) = (step["filename"].as_str().unwrap(), step["options"].as_str().unwrap());
            format!("{} {file} {options}\n", step["action"].as_str().unwrap())
        })
        .collect();
    assert_eq!(shown, run(&scratch, &["-D", "m", "b=2"]).1);
    assert_eq!(steps[2]["options_lines"][0]["line"], 1);
    assert_eq!(steps[1]["reason"]["kind"], "softdep pre");
    let (_, out, _) = run(&scratch, &["-R", "--json", "dev:9"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["requests"][0]["modules"][0]["found"]["pattern"], "dev:*");
    let (_, out, _) = run(&scratch, &["-c", "--json"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["aliases"][0]["module"], "m");
    let (code, out, _) = run(&scratch, &["-r", "-n", "--json", "inside"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &document["requests"][0]["modules"][0]["stays"][0]["why"]), (Some(1), &Value::from("builtin")));
}

#[test]
fn commands_run_with_their_environment_and_failures_count() {
    let scratch = made(
        "commands",
        "install run echo \"$MODPROBE_MODULE $MODPROBE_OPTIONS\" $CMDLINE_OPTS\ninstall kill kill -9 $$\nremove kill kill -9 $$\n\
         install fail exit 7\noptions run o=1\n",
    );
    let (code, out, _) = run(&scratch, &["-v", "run", "p=2 3"]);
    assert_eq!(code, Some(0));
    let lines: Vec<&str> = out.lines().collect();
    // What is said before a command runs is printed before what the command prints.
    assert!(lines[0].starts_with("install echo ") && lines[0].ends_with(" o=1 p=\"2 3\""), "{out}");
    assert_eq!(lines[1], "run -C HERE/c.conf -v o=1 p=2 3");
    let (code, _, err) = run(&scratch, &["kill"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("Error running install command 'kill -9 $$' for module kill: killed by signal 9\n"), "{err}");
    assert_eq!(run(&scratch, &["-r", "kill"]).0, Some(1));
    let (code, _, err) = run(&scratch, &["fail"]);
    assert_eq!(code, Some(1));
    assert!(err.ends_with("modprobe: ERROR: could not insert 'fail': Invalid argument\n"), "{err}");
    assert_eq!(run(&scratch, &["-q", "fail"]), (Some(1), String::new(), String::new()));
    let mut quiet = ours();
    quiet.env("MODPROBE_OPTIONS", "-q '-S' 1.0").arg("-d").arg(scratch.0.join("root"));
    let output = quiet.arg("nothing").output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(1), Vec::new()));
}

#[test]
fn links_do_not_lead_out_of_a_root() {
    let scratch = made("links", "");
    let folder = scratch.0.join("root/lib/modules/1.0");
    let outside = scratch.0.join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::rename(folder.join("modules.dep.bin"), outside.join("modules.dep.bin")).unwrap();
    symlink(outside.join("modules.dep.bin"), folder.join("modules.dep.bin")).unwrap();
    assert_eq!(run(&scratch, &["-R", "m"]).0, Some(1));
    // Inside of the root, the same link leads to where it would if the root were /.
    let inside = scratch.0.join("root").join(outside.strip_prefix("/").unwrap());
    fs::create_dir_all(&inside).unwrap();
    fs::copy(outside.join("modules.dep.bin"), inside.join("modules.dep.bin")).unwrap();
    assert_eq!(run(&scratch, &["-R", "m"]).1, "m\n");
}

#[test]
fn a_broken_index_is_named_and_the_rest_is_used() {
    let scratch = made("broken", "");
    fs::write(scratch.0.join("root/lib/modules/1.0/modules.alias.bin"), b"junkjunkjunk").unwrap();
    let (code, out, err) = run(&scratch, &["-R", "inside"]);
    assert_eq!((code, out.as_str()), (Some(0), "inside\n"));
    assert!(err.contains("HERE/root/lib/modules/1.0/modules.alias.bin: bad magic number 0x6a756e6b"), "{err}");
}

#[test]
fn the_configuration_is_that_of_the_system_unless_that_of_the_root_is_asked_for() {
    let scratch = made("root-config", "");
    let root = scratch.0.join("root");
    let folder = root.join("etc/modprobe.d");
    fs::create_dir_all(&folder).unwrap();
    let ran = scratch.0.join("ran");
    fs::write(folder.join("a.conf"), format!("options m of_root=1\ninstall s touch {}\n", ran.display())).unwrap();
    // What a link means is what it means in the root.
    fs::write(scratch.0.join("outside.conf"), "options m of_outside=1\n").unwrap();
    fs::write(root.join("etc/inside.conf"), "options m of_inside=1\n").unwrap();
    symlink(scratch.0.join("outside.conf"), folder.join("b.conf")).unwrap();
    symlink("/etc/inside.conf", folder.join("c.conf")).unwrap();
    let run = |arguments: &[&str]| {
        let output = ours().arg("-d").arg(&root).args(["-S", "1.0"]).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(scratch.0.to_str().unwrap(), "HERE");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, _) = run(&["-D", "m"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("m.ko") && !out.contains("of_root"), "{out}");
    let (code, out, err) = run(&["--root-config", "-c"]);
    let lines: Vec<&str> =
        out.lines().take_while(|line| !line.starts_with('#')).filter(|line| !line.is_empty()).collect();
    // All of it: neither a file of the system that runs nor its kernel command line has a say.
    assert_eq!(lines, ["install s touch HERE/ran", "options m of_root=1", "options m of_inside=1"]);
    assert_eq!(code, Some(0));
    assert_eq!(
        err,
        "libkmod: ERROR: conf_files_filter_out: Cannot stat directory entry: HERE/root/etc/modprobe.d/b.conf\n"
    );
    // The commands of another system are shown and not run.
    assert!(run(&["--root-config", "-D", "s"]).1.contains("install touch HERE/ran"));
    let (code, _, err) = run(&["--root-config", "s"]);
    assert!(
        code == Some(1) && err.contains("not running the command of HERE/root/etc/modprobe.d/a.conf line 2"),
        "{err}"
    );
    assert!(!ran.exists());
    // A root that is not there has no configuration, and not that of the system.
    let output = ours().args(["-d", "/nothere", "--root-config", "-S", "1.0", "-c"]).output().unwrap();
    assert_eq!(output.stdout, b"\n# End of configuration files. Dumping indexes now:\n\n");
}
