//! `ferrmod audit` from the outside: its forms against their own definitions, its exit codes, its baselines, following.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ferrmod_tests::corpus;
use ferrmod_tests::module_file::Module;
use serde_json::{Value, json};

const RELEASE: &str = "6.1.0-made";

/// A root, gone when dropped.
struct Root(PathBuf);

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Root {
    fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("audit-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("sys/module")).unwrap();
        fs::create_dir_all(folder.join("sys/bus")).unwrap();
        fs::create_dir_all(folder.join("sys/kernel/btf")).unwrap();
        let root = Self(folder);
        root.file("proc/sys/kernel/osrelease", format!("{RELEASE}\n"));
        root.file("proc/sys/kernel/tainted", "0\n");
        root.file("proc/sys/kernel/modules_disabled", "0\n");
        root.file("proc/sys/kernel/modprobe", "/sbin/modprobe\n");
        root.file("proc/sys/kernel/kptr_restrict", "1\n");
        root.file("proc/modules", "");
        root.file("proc/kallsyms", "0 T _text\n");
        root.file(&format!("lib/modules/{RELEASE}/modules.order"), "");
        root
    }

    fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A module that is installed and loaded, in use, and of the kernel's tree.
    fn add(&self, name: &str, modinfo: &[&str], taints: &str) {
        let lines = modinfo.iter().map(|line| (*line).to_owned()).chain([format!("name={name}"), "license=GPL".into()]);
        let module = Module {
            modinfo: lines.map(String::into_bytes).collect(),
            sections: vec![(".gnu.linkonce.this_module", vec![0; 1024])],
            ..Module::default()
        };
        self.file(&format!("lib/modules/{RELEASE}/kernel/{name}.ko"), module.write());
        let list = fs::read_to_string(self.0.join("proc/modules")).unwrap();
        self.file("proc/modules", format!("{list}{name} 16384 1 - Live 0x0{taints}\n"));
        self.file(&format!("sys/module/{name}/initstate"), "live\n");
    }

    /// One that many rules find something in: names with odd characters, a hidden module, an odd path of modprobe.
    fn bad(test: &str) -> Self {
        let root = Self::new(test);
        root.add("away", &[], " (OE)");
        root.add("its\"odd\"\\", &["intree=Y"], "");
        root.add("mine", &["intree=Y", "license=Nobody's"], "");
        root.file(&format!("lib/modules/{RELEASE}/kernel/a b%.ko"), "no module");
        root.file("proc/kallsyms", "0 t hook\t[e\"v\\il]\n0 t x\t[bl\u{1b}ink]\n");
        root.file("proc/sys/kernel/tainted", format!("{}\n", 1 << 12 | 1 << 13 | 1 << 9 | 2));
        root.file("proc/sys/kernel/modprobe", "/tmp/x\n");
        root
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferrmod"));
        command.arg("audit").arg("--root").arg(&self.0).args(words).current_dir(&self.0).output().unwrap()
    }

    /// Standard output, when the exit code is that.
    fn expect(&self, code: i32, words: &[&str]) -> String {
        let output = self.run(words);
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{words:?}\n{out}{error}");
        out.into_owned()
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn sarif_is_what_the_standard_says() {
    let schema =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sarif-schema-2.1.0.json")).unwrap();
    // One of its patterns has a bracket too many, which JavaScript takes for itself.
    let schema = schema.replace("[a-zA-Z]{2}]?$", "[a-zA-Z]{2}\\\\]?$");
    let options = jsonschema::options().should_validate_formats(true);
    let validator = options.build(&json(&schema)).unwrap();
    let valid = |document: &Value| {
        let errors: Vec<String> =
            validator.iter_errors(document).map(|one| format!("{one} at {}", one.instance_path())).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) }
    };
    let root = Root::bad("sarif");
    for words in [&["--sarif"][..], &["--sarif", "--installed"]] {
        let text = root.expect(if words.len() == 1 { 3 } else { 1 }, words);
        let mut document = json(&text);
        valid(&document).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
        let run = &document["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        let results = run["results"].as_array().unwrap();
        assert!(results.len() > 3);
        for result in results {
            let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
            assert_eq!(rule["id"], result["ruleId"]);
        }
        let uris: Vec<&str> = results
            .iter()
            .filter_map(|result| result.pointer("/locations/0/physicalLocation/artifactLocation/uri")?.as_str())
            .collect();
        assert!(
            uris.iter().any(|uri| uri.starts_with("file:///") && uri.ends_with("/a%20b%25.ko")) == (words.len() == 2),
            "{uris:?}"
        );
        // The schema does forbid something.
        document["runs"][0]["results"][0]["level"] = json!("fatal");
        assert!(valid(&document).is_err());
    }
}

/// Name, labels and value.
type Sample<'a> = (&'a str, Vec<(String, String)>, f64);

/// A line of the text format that is a sample.
fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let mut value = String::new();
            let mut characters = after.char_indices();
            let close = loop {
                match characters.next()? {
                    (at, '"') => break at,
                    (_, '\\') => match characters.next()?.1 {
                        'n' => value.push('\n'),
                        c @ ('\\' | '"') => value.push(c),
                        _ => return None,
                    },
                    (_, c) => value.push(c),
                }
            };
            labels.push((label.to_owned(), value));
            rest = &after[close + 1..];
            match rest.split_at_checked(1)? {
                (",", after) => rest = after,
                ("}", after) => {
                    rest = after;
                    break;
                }
                _ => return None,
            }
        }
    }
    Some((name, labels, rest.strip_prefix(' ')?.parse().ok()?))
}

#[test]
fn openmetrics_is_what_its_definition_says() {
    let root = Root::bad("openmetrics");
    let text = root.expect(3, &["--openmetrics"]);
    // What the definition asks for: families that do not interleave, their metadata first, no sample twice, EOF at the end.
    assert!(text.ends_with("\n# EOF\n") && !text.contains("\n\n"), "{text}");
    let (mut family, mut kind) = ("", "");
    let mut families = BTreeSet::new();
    let mut samples = BTreeMap::new();
    for line in text.lines().take_while(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            (family, kind) = rest.split_once(' ').unwrap();
            assert!(families.insert(family), "{family} comes twice");
            assert!(["gauge", "info"].contains(&kind));
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').unwrap();
            assert!(name == family && name.ends_with(&format!("_{unit}")));
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert_eq!(rest.split_once(' ').unwrap().0, family);
        } else {
            let (name, labels, value) = sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
            assert_eq!(name, format!("{family}{}", if kind == "info" { "_info" } else { "" }));
            assert!(samples.insert((name.to_owned(), labels), value).is_none(), "{line} comes twice");
        }
    }
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>();
        samples.get(&(name.to_owned(), labels)).copied()
    };
    assert_eq!(value("ferrmod_module_size_bytes", &[("module", "its\"odd\"\\")]), Some(16384.0));
    assert_eq!(value("ferrmod_module_taint", &[("module", "away"), ("taint", "O")]), Some(1.0));
    assert_eq!(value("ferrmod_findings", &[("rule", "hidden-module"), ("severity", "serious")]), Some(2.0));
    assert_eq!(value("ferrmod_findings", &[("rule", "forced"), ("severity", "serious")]), Some(0.0));
    assert_eq!(value("ferrmod_setting_protects", &[("setting", "kernel.modules_disabled")]), Some(0.0));

    // The reference parser, where it is installed.
    let program = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as read\nprint(len([s for f in read(sys.stdin.read()) for s in f.samples]))";
    // Debian's own, whose package it is.
    let python = "/usr/bin/python3";
    let has = Command::new(python).args(["-c", "import prometheus_client.openmetrics.parser"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        corpus::skip("the reference parser of OpenMetrics", "install python3-prometheus-client");
        return;
    }
    let mut python = Command::new(python);
    let mut python = python.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), samples.len().to_string(), "{text}");
}

#[test]
fn the_exit_code_is_the_gravest_finding() {
    let root = Root::new("exit");
    // What is off or could not be looked at is information.
    assert!(root.expect(0, &[]).contains("settings"));
    root.add("away", &[], " (O)");
    root.file("proc/sys/kernel/tainted", "4096\n");
    let text = root.expect(1, &[]);
    assert!(text.contains("out-of-tree") && text.contains("built outside of the kernel's tree"), "{text}");
    root.file("proc/kallsyms", "0 t x\t[evil]\n");
    assert!(root.expect(3, &[]).contains("seen in /proc/kallsyms (1 symbol of it)"));
    root.expect(2, &["--json", "--sarif"]);
    root.expect(2, &["--follow", "--installed"]);
    fs::remove_file(root.0.join("proc/modules")).unwrap();
    assert!(root.expect(1, &[]).contains("1 module installed"));
    fs::remove_dir_all(root.0.join("lib")).unwrap();
    root.expect(3, &[]);
}

#[test]
fn nothing_reaches_the_terminal() {
    let root = Root::bad("terminal");
    for words in [&[][..], &["--all"], &["--json"], &["--sarif"], &["--openmetrics"]] {
        let text = root.expect(3, words);
        assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{text:?}");
    }
}

#[test]
fn a_baseline_is_written_and_compared() {
    let root = Root::new("baseline");
    root.add("one", &["intree=Y", "srcversion=A"], "");
    root.expect(1, &["--write-baseline", "base.json"]);
    let before = json(&root.expect(1, &["--baseline", "base.json", "--json"]));
    let rules = |report: &Value| -> Vec<String> {
        let findings = report["findings"].as_array().unwrap().iter();
        let rules = findings.map(|finding| finding["rule"].as_str().unwrap().to_owned());
        rules.filter(|rule| rule.starts_with("baseline")).collect()
    };
    assert_eq!(rules(&before), [""; 0]);
    root.add("two", &["intree=Y"], "");
    root.add("one", &["intree=Y", "srcversion=B"], "");
    let after = json(&root.expect(1, &["--baseline", "base.json", "--json"]));
    assert_eq!(rules(&after), ["baseline-new", "baseline-changed"]);
    assert_eq!((&after["schema"], &after["exit_code"]), (&json!("ferrmod.audit/1"), &json!(1)));
    root.expect(2, &["--baseline", "base.json", "--installed"]);
    root.file("other.json", "{\"schema\": \"x\"}");
    root.expect(3, &["--baseline", "other.json"]);
    root.expect(3, &["--baseline", "missing.json"]);
}

#[test]
fn following_tells_what_happens() {
    let root = Root::new("follow");
    root.add("old", &["intree=Y"], "");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrmod"));
    command.arg("audit").arg("--root").arg(&root.0).args(["--follow", "--interval", "0.01", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It says that it has no log once it knows what is loaded.
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("without the kernel's log"), "{said}");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let list = fs::read(root.0.join("proc/modules")).unwrap();
    // The list is replaced as a whole: a real one is never seen half written.
    let replace = |content: &[u8]| {
        root.file("proc/modules.new", content);
        fs::rename(root.0.join("proc/modules.new"), root.0.join("proc/modules")).unwrap();
    };
    root.file("sys/module/evil/initstate", "live\n");
    replace(&[&b"evil 4096 0 - Live 0x0 (OE)\n"[..], &list].concat());
    let event = json(&lines.next().unwrap().unwrap());
    assert_eq!((&event["change"], &event["module"]), (&json!("loaded"), &json!("evil")));
    let rules: Vec<&str> =
        event["findings"].as_array().unwrap().iter().filter_map(|one| one["rule"].as_str()).collect();
    assert!(rules.contains(&"out-of-tree") && rules.contains(&"no-file"), "{event}");
    let schemas = ferrmod::schemas::schemas();
    let (_, schema) = schemas.iter().find(|(name, _)| *name == "ferrmod.audit.event/1").unwrap();
    jsonschema::validate(schema, &event).unwrap();
    replace(&list);
    let event = json(&lines.next().unwrap().unwrap());
    assert_eq!((&event["change"], &event["module"]), (&json!("unloaded"), &json!("evil")));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn every_module_of_a_distribution_is_vouched_for() {
    let Some(tree) = corpus::tree_or_skip("6.1") else { return };
    // Some of the tree, in a root that has its packages' check sums of one of them, changed.
    let root = Root::new("distribution");
    fs::remove_file(root.0.join("proc/modules")).unwrap();
    fs::remove_dir_all(root.0.join("lib")).unwrap();
    let folder = format!("lib/modules/{}/kernel", tree.release);
    for name in ["crc7", "loop", "e1000", "r8723bs"] {
        root.file(&format!("{folder}/{name}.ko"), fs::read(tree.file(name).unwrap()).unwrap());
    }
    fs::create_dir_all(root.0.join("boot")).unwrap();
    symlink(&tree.vmlinuz, root.0.join("boot").join(format!("vmlinuz-{}", tree.release))).unwrap();
    let report = json(&root.expect(0, &["--json"]));
    for module in report["modules"].as_array().unwrap() {
        assert_eq!(module["file"]["signature"]["result"], "signed", "{module}");
        assert!(module["file"]["build_id"].as_str().is_some_and(|id| id.len() == 40), "{module}");
    }
    let sum = "d41d8cd98f00b204e9800998ecf8427e";
    root.file("var/lib/dpkg/info/image.md5sums", format!("{sum}  {folder}/crc7.ko\n"));
    let text = root.expect(3, &[]);
    assert!(text.contains("package-differs") && text.contains("unpackaged"), "{text}");
    let mut bytes = fs::read(root.0.join(format!("{folder}/loop.ko"))).unwrap();
    bytes[0x60] ^= 1;
    root.file(&format!("{folder}/loop.ko"), bytes);
    assert!(root.expect(3, &[]).contains("bad-signature"));
}
