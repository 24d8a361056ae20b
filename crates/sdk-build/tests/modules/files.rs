//! What the files say, to our own reader and to kmod.

use std::process::Command;

use bstr::{BStr, ByteSlice};
use ferrmod_boundary::{MODULE_LAYOUT, VERMAGIC, symbol_crc};
use ferrmod_image::{ExportClass, Image};
use ferrmod_sdk_build::{EXAMPLES, module};

const ANSWER_TO: u32 = symbol_crc!(fn answer_to(letters: u32) -> u32);

#[test]
fn every_example_is_a_module() {
    for name in EXAMPLES {
        let file = module(name);
        let image = Image::read(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(image.name(), Some(BStr::new(name)));
        assert_eq!(image.modinfo().get("vermagic"), Some(BStr::new(VERMAGIC)));
        assert_eq!(image.modinfo().get("intree"), Some(BStr::new("Y")));
        assert!(image.is_gpl_compatible(), "{name}");
        let entry = image.entry_points();
        assert!(entry.init.is_some() && entry.exit.is_some(), "{name}: {entry:?}");
        let (index, this_module) = image.any_section(".gnu.linkonce.this_module").unwrap();
        assert_eq!((Some(index), this_module.size), (image.this_module(), 896));
        // Every import of ours has its CRC, and nothing else is imported but what compilers call.
        let versions = image.versions().unwrap();
        assert_eq!(versions.get(BStr::new("module_layout")), Some(MODULE_LAYOUT));
        for import in image.imports() {
            let implied = import.name.starts_with(b"mem") || import.name == "bcmp" || import.name == "strlen";
            assert!(implied || versions.get(import.name).is_some(), "{name}: {}", import.name);
            assert!(!import.weak, "{name}: {}", import.name);
        }
        for dropped in [".eh_frame", ".llvmbc", ".comment", ".ferrmod.imports"] {
            assert!(image.any_section(dropped).is_none(), "{name}: {dropped}");
        }
        assert!(file.len() < 100_000, "{name}: {} bytes", file.len());
    }
}

#[test]
fn exports_and_imports_meet() {
    let (answer, question) = (module("answer"), module("question"));
    let (answer, question) = (Image::read(&answer).unwrap(), Image::read(&question).unwrap());
    let exports = answer.exports();
    assert_eq!(exports.len(), 1);
    assert_eq!((exports[0].name, exports[0].class), (BStr::new("answer_to"), ExportClass::Any));
    assert_eq!((exports[0].crc, exports[0].namespace), (Some(ANSWER_TO), None));
    assert_eq!(question.versions().unwrap().get(BStr::new("answer_to")), Some(ANSWER_TO));
    assert_eq!(question.depends().collect::<Vec<_>>(), ["answer"]);
    assert_eq!(answer.depends().count(), 0);
}

#[test]
fn parameters_have_types_and_modes() {
    let file = module("answer");
    let image = Image::read(&file).unwrap();
    let parameters: Vec<_> = image
        .parameters()
        .iter()
        .map(|parameter| {
            let text = |text: Option<&BStr>| text.unwrap_or_default().to_str_lossy().into_owned();
            (parameter.name.to_string(), text(parameter.kind), text(parameter.description), parameter.perm)
        })
        .collect();
    let one = |name: &str, kind: &str, text: &str, mode| (name.into(), kind.into(), text.into(), Some(mode));
    let mut sorted = parameters;
    sorted.sort();
    assert_eq!(
        sorted,
        [
            one("answer", "uint", "The answer to every question", 0o644),
            one("modest", "bool", "Load without a word", 0o444)
        ]
    );
}

/// A new folder with all examples in it.
fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let modules = folder.join("lib/modules/1.0");
    std::fs::create_dir_all(&modules).unwrap();
    for name in EXAMPLES {
        std::fs::write(modules.join(format!("{name}.ko")), module(name)).unwrap();
    }
    folder
}

/// What one of kmod's tools says; `None` when it is not installed.
fn kmod(tool: &str, arguments: &[&str]) -> Option<String> {
    let found = ["/sbin", "/usr/sbin", "/bin", "/usr/bin"]
        .iter()
        .map(|folder| format!("{folder}/{tool}"))
        .find(|path| std::path::Path::new(path).exists());
    let Some(path) = found else {
        eprintln!("SKIPPED: {tool} is not installed");
        assert!(std::env::var_os("CI").is_none(), "CI installs kmod");
        return None;
    };
    let output = Command::new(path).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool}: {text}");
    Some(text)
}

#[test]
fn modinfo_reads_them() {
    let file = folder("modinfo").join("lib/modules/1.0/answer.ko");
    let Some(text) = kmod("modinfo", &[file.to_str().unwrap()]) else { return };
    for line in [
        "name:           answer",
        "version:        1.0",
        "license:        Dual MIT/GPL",
        "author:         The Ferrmod authors",
        "description:    Knows the answer, and exports it",
        "depends:        ",
        "intree:         Y",
        "vermagic:       ferrmod-1 x86_64 modversions ",
        "parm:           answer:The answer to every question (uint)",
        "parm:           modest:Load without a word (bool)",
    ] {
        assert!(text.lines().any(|other| other == line), "{line:?} is not in\n{text}");
    }
}

#[test]
fn depmod_reads_them() {
    let folder = folder("depmod");
    if kmod("depmod", &["-b", folder.to_str().unwrap(), "1.0"]).is_none() {
        return;
    }
    let read = |name: &str| std::fs::read_to_string(folder.join("lib/modules/1.0").join(name)).unwrap();
    assert!(read("modules.dep").contains("question.ko: answer.ko"), "{}", read("modules.dep"));
    assert!(read("modules.symbols").contains("alias symbol:answer_to answer"), "{}", read("modules.symbols"));
}

/// The README's module: written somewhere else, built by the function that others call.
#[test]
fn a_module_from_another_workspace() {
    let sdk = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk");
    let readme = std::fs::read_to_string(sdk.join("README.md")).unwrap();
    let block = |kind: &str| {
        let (_, rest) = readme.split_once(&format!("```{kind}\n")).unwrap();
        rest.split_once("```").unwrap().0.to_owned()
    };
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("hello");
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let sdk = sdk.canonicalize().unwrap();
    let manifest = block("toml").replace("../ferrmod/crates/sdk", sdk.to_str().unwrap());
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(folder.join("src/lib.rs"), block("rust")).unwrap();
    let options = ferrmod_sdk_build::Options { offline: true, ..Default::default() };
    let module =
        ferrmod_sdk_build::build(&folder.join("Cargo.toml"), &options).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(module.name, "hello");
    let image = Image::read(&module.bytes).unwrap();
    assert_eq!(image.modinfo().get("intree"), None);
    assert_eq!(image.parameters()[0].kind, Some(BStr::new("charp")));
}

#[test]
fn what_is_no_module_is_refused_with_the_reason() {
    use ferrmod_sdk_build::{AssembleError, assemble};
    assert!(matches!(assemble(b"", false), Err(AssembleError::Archive(_))));
    assert!(matches!(assemble(b"!<arch>\n", false), Err(AssembleError::NoModule)));
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("undefined");
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let sdk = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk").canonicalize().unwrap();
    let manifest = format!(
        "[package]\nname = \"undefined\"\nedition = \"2024\"\n[dependencies]\nferrmod-sdk = {{ path = {sdk:?} }}\n[workspace]\n"
    );
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let source = "#![no_std]\nuse ferrmod_sdk::{Module, Result};\n\
        ferrmod_sdk::module! { type: M, name: \"undefined\", license: \"GPL\", }\n\
        struct M;\nunsafe extern \"C\" { fn somebody_elses(); }\n\
        impl Module for M { fn init() -> Result<Self> { unsafe { somebody_elses() }; Ok(M) } }\n";
    std::fs::write(folder.join("src/lib.rs"), source).unwrap();
    let options = ferrmod_sdk_build::Options { offline: true, ..Default::default() };
    let error = ferrmod_sdk_build::build(&folder.join("Cargo.toml"), &options).unwrap_err();
    assert!(error.to_string().contains("undefined symbol somebody_elses: declare it with"), "{error}");
}
