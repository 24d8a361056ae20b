//! The JSON Schemas in `docs/schema` are those of the reports (`FERRMOD_BLESS=1` writes them anew), and what the commands
//! really print has their form.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrmod_tests::corpus::{own_module_or_skip, tree_or_skip};
use jsonschema::Validator;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema")
}

/// The file of a schema: `ferrmod.check/1` is in `ferrmod.check-1.schema.json`.
fn file(name: &str) -> String {
    format!("{}.schema.json", name.replace('/', "-"))
}

#[test]
fn schemas_are_current_and_listed() {
    let mut files = BTreeSet::new();
    let index = fs::read_to_string(folder().join("../json.md")).unwrap();
    for (name, schema) in ferrmod::schemas::schemas() {
        let mut text = serde_json::to_string_pretty(&schema).unwrap();
        text.push('\n');
        let path = folder().join(file(name));
        if std::env::var_os("FERRMOD_BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == text, "{} is not current: run the test with FERRMOD_BLESS=1", path.display());
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(index.contains(&format!("`{name}`")), "docs/json.md does not list {name}");
        files.insert(file(name));
    }
    let kept: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".schema.json"))
        .collect();
    assert_eq!(kept, files, "a schema of no report");
}

/// The members that a schema knows, wherever they stand.
fn members(schema: &Value, known: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                known.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| members(value, known));
        }
        Value::Array(list) => list.iter().for_each(|value| members(value, known)),
        _ => {}
    }
}

/// The members whose own members have any name, wherever they stand.
fn maps(schema: &Value, known: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            for (name, property) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if property.get("additionalProperties").is_some_and(Value::is_object) {
                    known.insert(name.clone());
                }
            }
            object.values().for_each(|value| maps(value, known));
        }
        Value::Array(list) => list.iter().for_each(|value| maps(value, known)),
        _ => {}
    }
}

/// The members of a document, wherever they stand, without the keys of `maps`.
fn used(document: &Value, maps: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    match document {
        Value::Object(object) => {
            for (name, value) in object {
                found.insert(name.clone());
                match value {
                    Value::Object(map) if maps.contains(name) => {
                        map.values().for_each(|value| used(value, maps, found))
                    }
                    value => used(value, maps, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| used(value, maps, found)),
        _ => {}
    }
}

struct Form {
    validator: Validator,
    members: BTreeSet<String>,
    maps: BTreeSet<String>,
    documents: usize,
}

/// Every form, and the outputs that were looked at.
struct Forms(BTreeMap<&'static str, Form>);

impl Forms {
    fn new() -> Self {
        let form = |schema: &Value| {
            let (mut known, mut open) = (BTreeSet::new(), BTreeSet::new());
            members(schema, &mut known);
            maps(schema, &mut open);
            Form { validator: jsonschema::validator_for(schema).unwrap(), members: known, maps: open, documents: 0 }
        };
        Self(ferrmod::schemas::schemas().iter().map(|(name, schema)| (*name, form(schema))).collect())
    }

    /// Runs the command, whose output has to be a document of this form, whatever its exit code.
    fn expect(&mut self, name: &str, words: &[&str]) -> Value {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("check-cache");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferrmod"));
        let output = command.args(words).env("XDG_CACHE_HOME", cache).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        let document: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?}: {error}: {text}{said}"));
        self.meet(name, &document);
        document
    }

    /// A document that a command wrote has to be of this form.
    fn meet(&mut self, name: &str, document: &Value) {
        self.valid(name, document).unwrap_or_else(|wrong| panic!("{name}: {wrong}\n{document:#}"));
        self.0.get_mut(name).unwrap().documents += 1;
    }

    /// A file that a command writes has to be of this form.
    fn expect_file(&mut self, name: &str, words: &[&str], file: &Path) {
        let output = Command::new(env!("CARGO_BIN_EXE_ferrmod")).args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let bytes = fs::read(file).unwrap_or_else(|error| panic!("{words:?}: {error}: {said}"));
        self.meet(name, &serde_json::from_slice(&bytes).unwrap());
    }

    /// Whether a document has this form, and no member that the form does not know.
    fn valid(&self, name: &str, document: &Value) -> Result<(), String> {
        let form = &self.0[name];
        let wrong: Vec<String> = form
            .validator
            .iter_errors(document)
            .map(|error| format!("{} at {}", error, error.instance_path()))
            .collect();
        if !wrong.is_empty() {
            return Err(wrong.join("\n"));
        }
        let mut found = BTreeSet::new();
        used(document, &form.maps, &mut found);
        let unknown: Vec<_> = found.difference(&form.members).collect();
        if unknown.is_empty() { Ok(()) } else { Err(format!("{name} does not know {unknown:?}")) }
    }
}

#[test]
fn what_the_commands_print_has_its_form() {
    let (Some(tree), Some(new)) = (tree_or_skip("6.1"), tree_or_skip("6.12")) else { return };
    let (Some(base), Some(user)) = (own_module_or_skip("base"), own_module_or_skip("user")) else { return };
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemas");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (root, new_root) = (text(&tree.root), text(&new.root));
    let (base, user) = (text(&base), text(&user));
    let crc7 = text(&tree.file("crc7").unwrap());
    let release = tree.release.as_str();
    let mut forms = Forms::new();

    // Reasons and notes of many kinds.
    let check = "ferrmod.check/1";
    let whole = forms.expect(check, &["check", &crc7, "--kernel", &root, "--kernel", &new_root, "--json"]);
    let policy = "--cmdline=module_blacklist=usbcore module.sig_enforce lockdown=integrity nomodule initcall_blacklist=base_init";
    forms.expect(
        check,
        &["check", &base, &user, "usbhid", "nosuch", "--kernel", &root, policy, "--json", "--", "ui=x", "zz=1"],
    );
    let damaged = scratch.join("damaged.ko");
    let mut bytes = fs::read(&base).unwrap();
    bytes[18] = 183;
    fs::write(&damaged, &bytes).unwrap();
    fs::write(scratch.join("empty.ko"), b"").unwrap();
    forms.expect(check, &["check", &text(&scratch), "--kernel", &root, "--secure-boot", "--json"]);

    forms.expect(
        "ferrmod.verify/1",
        &["verify", &crc7, &base, &text(&damaged), "--kernel", &text(&tree.vmlinuz), "--json"],
    );
    let copy = text(&scratch.join("copy.ko"));
    fs::copy(&crc7, &copy).unwrap();
    forms.expect("ferrmod.sign/1", &["sign", "--digest", &copy, "--json"]);
    forms.expect("ferrmod.sign/1", &["sign", "--strip", &copy, "--json"]);
    forms.expect("ferrmod.run/1", &["run", &crc7, "--kernel", &text(&tree.vmlinuz), "--json"]);
    forms.expect("ferrmod.run/1", &["run", &base, "--kernel", &text(&tree.vmlinuz), "--json"]);
    forms.expect("ferrmod.survey/1", &["survey", "lib/crc", "--tree", &root, "--json"]);
    // Two flavours of one release are different in little: a debug build compares thousands of types otherwise.
    forms.expect("ferrmod.diff/1", &["diff", &root, &root, "--json"]);

    // The tools, on a small tree of their own.
    let folder = scratch.join("root/lib/modules").join(release);
    fs::create_dir_all(&folder).unwrap();
    for name in ["base", "exporter", "user"] {
        let from = Path::new(&base).with_file_name(format!("{name}.ko"));
        fs::copy(from, folder.join(format!("{name}.ko"))).unwrap();
    }
    for name in ["crc7", "nls_cp437"] {
        fs::copy(tree.file(name).unwrap(), folder.join(format!("{name}.ko"))).unwrap();
    }
    for list in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        fs::copy(tree.modules.join(list), folder.join(list)).unwrap();
    }
    let small = text(&scratch.join("root"));
    let configuration = scratch.join("modprobe.d");
    fs::create_dir_all(&configuration).unwrap();
    fs::write(
        configuration.join("a.conf"),
        "alias uu user\nblacklist crc7\noptions base ui=3\ninstall nls_cp437 /bin/true\nsoftdep base pre: crc7\n",
    )
    .unwrap();
    let configuration = text(&configuration);
    forms.expect("ferrmod.depmod/1", &["depmod", "-b", &small, "--json", release]);
    forms.expect("ferrmod.depmod/1", &["depmod", "-b", &small, "--check", "--json", release]);
    assert!(
        Command::new(env!("CARGO_BIN_EXE_ferrmod")).args(["depmod", "-b", &small, release]).status().unwrap().success()
    );
    fs::write(folder.join("modules.dep"), "nothing.ko:\n").unwrap();
    fs::remove_file(folder.join("modules.alias.bin")).unwrap();
    forms.expect("ferrmod.depmod/1", &["depmod", "-b", &small, "--check", "--json", release]);
    assert!(
        Command::new(env!("CARGO_BIN_EXE_ferrmod")).args(["depmod", "-b", &small, release]).status().unwrap().success()
    );
    forms.expect("ferrmod.modinfo/1", &["modinfo", "--json", &crc7, &base, "/nonexistent.ko"]);
    forms.expect("ferrmod.modinfo/1", &["modinfo", "--json", "-b", &small, "-k", release, "user", "tcp_cubic"]);
    let modprobe = |words: &[&'static str]| -> Vec<String> {
        let all = ["modprobe", "-d", &small, "-S", release, "-C", &configuration, "--json"];
        all.iter().chain(words).map(|&word| word.to_owned()).collect()
    };
    for (name, words) in [
        ("ferrmod.modprobe.probe/1", &["-n", "uu", "base"][..]),
        ("ferrmod.modprobe.probe/1", &["-D", "base", "x=1"]),
        ("ferrmod.modprobe.probe/1", &["-n", "-b", "crc7"]),
        ("ferrmod.modprobe.resolve/1", &["-R", "uu", "tcp_cubic"]),
        ("ferrmod.modprobe.remove/1", &["-r", "-n", "user"]),
        ("ferrmod.modprobe.config/1", &["-c"]),
    ] {
        let words = modprobe(words);
        forms.expect(name, &words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    forms.expect("ferrmod.modprobe.modversions/1", &["modprobe", "--json", "--show-modversions", &user]);
    let exporter = text(&Path::new(&base).with_file_name("exporter.ko"));
    forms.expect("ferrmod.modprobe.exports/1", &["modprobe", "--json", "--show-exports", &exporter]);
    if Path::new("/proc/modules").exists() {
        forms.expect("ferrmod.lsmod/1", &["lsmod", "--json"]);
    } else {
        forms.0.get_mut("ferrmod.lsmod/1").unwrap().documents += 1;
    }
    forms.expect("ferrmod.static-nodes/1", &["kmod", "static-nodes", "--json"]);

    // What is installed, and what a kernel that is only files has loaded.
    forms.expect("ferrmod.audit/1", &["audit", "--root", &small, "--json"]);
    let kernel = scratch.join("root/proc");
    fs::create_dir_all(kernel.join("sys/kernel")).unwrap();
    fs::write(kernel.join("modules"), "base 16384 1 evil, Live 0x0 (OE)\nwhat is this\n").unwrap();
    fs::write(kernel.join("sys/kernel/osrelease"), release).unwrap();
    fs::write(kernel.join("sys/kernel/tainted"), "521").unwrap();
    fs::write(kernel.join("sys/kernel/modprobe"), "/tmp/x").unwrap();
    forms.expect("ferrmod.audit/1", &["audit", "--root", &small, "--json"]);

    let file = scratch.join("baseline.json");
    let words = ["audit", "--root", &small, "--write-baseline", &text(&file)];
    forms.expect_file("ferrmod.audit.baseline/1", &words, &file);

    for module in ["crc7", "base"] {
        forms.expect("ferrmod.why/1", &["why", module, "--root", &small, "--json"]);
    }

    let (file, folder) = (scratch.join("policy/policy.json"), text(&scratch.join("policy")));
    let words =
        ["policy", "make", "--allow", "user", "--allow", "nosuch", "--root", &root, "--into", &folder, "--json"];
    forms.expect("ferrmod.policy/1", &words);
    let words = ["policy", "make", "--allow", "lz4", "--root", &root, "--into", &folder];
    forms.expect_file("ferrmod.policy/1", &words, &file);
    forms.expect("ferrmod.policy-test/1", &["policy", "test", &text(&file), "--root", &root, "--json"]);
    let rules = scratch.join("rules");
    fs::write(&rules, "*filter\n-A INPUT -m conntrack -j ACCEPT\n").unwrap();
    let words = ["policy", "simulate", &text(&file), "--root", &root, "--ruleset", &text(&rules), "--json"];
    forms.expect("ferrmod.policy-simulation/1", &words);
    fs::create_dir_all(kernel.join("sys/kernel/random")).unwrap();
    fs::write(kernel.join("sys/kernel/random/boot_id"), "one\n").unwrap();
    fs::write(kernel.join("uptime"), "7.5 1.0\n").unwrap();
    fs::write(kernel.join("modules"), "base 16384 1 evil, Live 0x0 (OE)\n").unwrap();
    let file = scratch.join("record.json");
    let words = ["policy", "record", &text(&file), "--for", "0", "--root", &small];
    forms.expect_file("ferrmod.policy-record/1", &words, &file);

    forms.expect("ferrmod.graph/1", &["graph", "crc7", "--tree", &root, "--json"]);
    fs::create_dir_all(scratch.join("top/proc")).unwrap();
    fs::write(scratch.join("top/proc/modules"), "base 16384 1 evil, Live 0x0 (OE)\n").unwrap();
    forms.expect("ferrmod.top/1", &["top", "--once", "--json", "--root", &text(&scratch.join("top"))]);

    // Every form was met by a document, here or where its command is tested; nothing else is.
    let elsewhere = |name: &str| name == "ferrmod.audit.event/1";
    let unmet = forms.0.iter().filter(|(name, form)| form.documents == 0 && !elsewhere(name));
    let unmet: Vec<_> = unmet.map(|(name, _)| *name).collect();
    assert!(unmet.is_empty(), "no document of {unmet:?} was looked at");
    for (at, value) in [("/schema", "ferrmod.check/2"), ("/modules", "x"), ("/modules/0/verdicts/0/answer", "perhaps")]
    {
        let mut other = whole.clone();
        *other.pointer_mut(at).unwrap() = value.into();
        assert!(forms.valid(check, &other).is_err(), "{at}");
    }
    let mut other = whole;
    other["modules"][0]["verdicts"][0]["new"] = 1.into();
    assert!(forms.valid(check, &other).is_err());
    fs::remove_dir_all(&scratch).unwrap();
}
