//! `modinfo`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ferrmod_tests::corpus;

use crate::elf::{self, Layout, NATIVE};
use crate::oracle::{Oracle, Scratch, ours, tree};

/// Every oddity of parameters.
const ODD: &[u8] = b"license=GPL\0parm=a:desc a\0parmtype=a:int\0parm=b:only desc\0parmtype=c:only type\0parm=nocolon\0\
    parmtype=nocolontype\0parm=:emptyname\0parmtype=:x\0parm=d:first\0parm=d:second\0parmtype=d:t1\0parmtype=d:t2\0parm=e:\0\
    parmtype=e:\0parm=\0parmtype=\0name=x\0parm=f:has (paren):colon\0parmtype=f:int\0noequals\0=emptykey\0key=\0\
    parmtype=g:late\0parm=g:late desc\0vermagic=a=b\0";

#[test]
fn made_files() {
    let Some(oracle) = Oracle::or_skip() else { return };
    let scratch = Scratch::new();
    let long =
        [b"alias=", &vec![b'z'; 70_000][..], b"\0sixteen_chars_ky=v\0fifteen_chars_k=v\0fourteen_chars=v\0"].concat();
    let good = elf::modinfo(b"a=1\0");
    let of = |is_64, is_big| elf::file(&[(".modinfo", 1, ODD)], Layout { is_64, is_big }, None);
    let mut files = vec![
        ("odd", of(true, false)),
        ("odd-32", of(false, false)),
        ("odd-big", of(true, true)),
        ("odd-32-big", of(false, true)),
        ("padded", elf::modinfo(b"\0\0\0a=b\0\0\0\0c=d\0\0\0")),
        ("unterminated", elf::modinfo(b"a=b\0c=d")),
        ("empty-section", elf::modinfo(b"")),
        ("not-utf8", elf::modinfo(b"description=\xff\xfe\x80\0alias=\xc3\xa9\0\xff=\xff\0parm=\xff:x\0")),
        ("lines", elf::modinfo(b"description=a\nb\tc\0author=\n\0")),
        ("long", elf::modinfo(&long)),
        ("without", elf::file(&[(".text", 1, b"abc")], NATIVE, None)),
        ("twice", elf::file(&[(".modinfo", 1, b"a=1\0"), (".modinfo", 1, b"b=2\0")], NATIVE, None)),
        ("nobits", elf::file(&[(".modinfo", 8, b"a=1\0")], NATIVE, None)),
        ("text", b"hello world\n".repeat(100)),
    ];
    for cut in [0, 1, 5, 6, 10, 16, 20, 52, 63, 64, 70, good.len() - 1, good.len() - 64] {
        files.push(("cut", good[..cut].to_vec()));
    }
    for (at, (name, bytes)) in files.iter().enumerate() {
        let name = format!("{name}-{at}.ko");
        let path = scratch.write(&name, bytes);
        oracle.compare("modinfo", &[&path], scratch.path());
        oracle.compare("modinfo", &["-0", &name], scratch.path());
        for field in ["parm", "parmtype", "license", "a", "", "noequals", "filename", "signer"] {
            oracle.compare("modinfo", &["-F", field, &name], scratch.path());
        }
    }
}

/// kmod aborts.
#[test]
fn names_of_sections_that_are_not_there_are_an_error() {
    let scratch = Scratch::new();
    for index in [0, 99] {
        let file = elf::file(&[(".modinfo", 1, b"a=1\0")], NATIVE, Some(index));
        let path = scratch.write("x.ko", &file);
        let found = ours("modinfo", &[&path], scratch.path());
        assert_eq!(found.status.code(), Some(1));
        assert_eq!(found.stderr, b"modinfo: ERROR: could not get modinfo from 'x': Invalid argument\n");
    }
}

#[test]
fn names_of_files() {
    let Some(oracle) = Oracle::or_skip() else { return };
    let scratch = Scratch::new();
    let good = elf::modinfo(b"a=1\0");
    for name in ["x", "x.xko", "xko", ".ko", "x.ko.", "x.ko.bak", "x.ko.xz", "x.ko.zst", "a.b.ko", "x.ko.y.ko", "x.KO"]
    {
        scratch.write(name, &good);
        oracle.compare("modinfo", &[&format!("./{name}")], scratch.path());
        oracle.compare("modinfo", &["-n", name], scratch.path());
    }
    std::fs::create_dir(scratch.path().join("folder.ko")).unwrap();
    oracle.compare("modinfo", &["folder.ko", "../nothing.ko", "./a.b.ko"], scratch.path());
}

#[test]
fn real_modules() {
    let Some(oracle) = Oracle::or_skip() else { return };
    for (version, step) in [("6.1", 40), ("6.12", 200)] {
        let Some(tree) = corpus::tree_or_skip(version) else { return };
        let files: Vec<_> = tree.files().into_iter().step_by(step).collect();
        oracle.compare("modinfo", &files, Path::new("/"));
        for option in ["-p", "-0", "-n", "-Fsignature"] {
            let arguments: Vec<&OsStr> =
                [OsStr::new(option)].into_iter().chain(files.iter().map(|file| file.as_os_str())).collect();
            oracle.compare("modinfo", &arguments, Path::new("/"));
        }
    }
}

#[test]
fn names_in_a_tree() {
    let Some(oracle) = Oracle::or_skip() else { return };
    let scratch = Scratch::new();
    let Some((root, release)) = tree(&oracle, &scratch) else { return };
    let root = root.to_str().unwrap();
    for case in [
        "dummy",
        "dummy nothere ext4",
        "pci:v00008086d00001502sv*sd*bc*sc*i*",
        "pci:v00008086d00001502sv00sd00bc00sc00i00",
        "ext2 fs-ext4 crc32c",
        "-m kernel",
        "-m ext2",
        "-m dummy.ko 8250",
        "-F name unix 8250",
        "-0 8250",
        "-F parm 8250",
        "-p -0 8250 e1000e",
        "-n 8250 dummy snd-hda-intel",
        "-m -n 8250 dummy snd-hda-intel",
        "-F filename -F name dummy",
        "-n fs-ext4 symbol:crc16",
        "-n ./dummy dummy.ko dummy.ko.xz",
        "snd[-]hda snd[hda ]x a:b",
        "char-major-4-64",
        "-F sig_id dummy 8250",
    ] {
        let head = ["-b", root, "-k", &release];
        let arguments: Vec<&str> = head.into_iter().chain(case.split(' ')).collect();
        oracle.compare("modinfo", &arguments, scratch.path());
    }
    for head in [["-b", "root", "-k", &release], ["-b", "./root/", "-k", &release], ["-b", root, "-k", "nothing"]] {
        let arguments: Vec<&str> = head.into_iter().chain(["-n", "dummy", "8250"]).collect();
        oracle.compare("modinfo", &arguments, scratch.path());
    }
}

#[test]
fn json_says_what_the_text_says() {
    let scratch = Scratch::new();
    let path = scratch.write("odd.ko", &elf::modinfo(ODD));
    let found =
        ours("modinfo", &[OsStr::new("--json"), path.as_os_str(), OsStr::from_bytes(b"./nothere.ko")], scratch.path());
    assert_eq!(found.status.code(), Some(1));
    let document: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(document["schema"], "ferrmod.modinfo/1");
    let module = &document["modules"][0];
    assert_eq!((&module["module"], &module["builtin"]), (&"odd".into(), &false.into()));
    assert_eq!(module["fields"][0], serde_json::json!({ "key": "license", "value": "GPL" }));
    let parameters = module["parameters"].as_array().unwrap();
    assert_eq!(parameters[0], serde_json::json!({ "name": "a", "description": "desc a", "type": "int" }));
    assert_eq!(parameters[2], serde_json::json!({ "name": "c", "description": null, "type": "only type" }));
    assert_eq!(document["modules"][1]["error"], "not found");
}
