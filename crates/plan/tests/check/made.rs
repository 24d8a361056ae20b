//! Modules made to fail: each reason at least once, with the number Linux answers and the cause in words.

use ferrmod_image::compress::Compression;
use ferrmod_plan::check::{Answer, Note, Reason, Settings, Signed, Together, Verdict};
use ferrmod_tests::corpus::own_module_or_skip;
use ferrmod_tests::oracle;
use ferrmod_tests::random::Random;

use crate::ground::{Setting, candidate, check, linux_6_1, module};

/// A file of the recording.
fn broken(file: &str) -> Vec<u8> {
    oracle::mutate(file, &module(oracle::source_of(file).unwrap())).unwrap()
}

/// What is expected: the error (0 for a load, -1 for what stops modprobe alone), the reason's word, and what the message has to name.
struct Expected<'e>(i32, &'e str, &'e [&'e str]);

struct Judge {
    wrong: Vec<String>,
    count: usize,
    words: std::collections::BTreeSet<String>,
}

impl Judge {
    fn expect(&mut self, what: &str, verdict: &Verdict, Expected(errno, word, names): Expected<'_>) {
        self.count += 1;
        let texts: Vec<String> = verdict.reasons.iter().map(ToString::to_string).collect();
        let text = texts.join("\n");
        if verdict.errno.unwrap_or(if verdict.loads() { 0 } else { -1 }) != errno {
            self.wrong.push(format!("{what}: {:?}, not {errno}: {text}", verdict.errno));
        }
        if !word.is_empty() && verdict.reasons.first().map(Reason::word) != Some(word) {
            self.wrong.push(format!("{what}: not {word} first: {:?}", verdict.reasons));
        }
        for name in names {
            if !text.contains(name) {
                self.wrong.push(format!("{what}: says nothing of `{name}`:\n{text}"));
            }
        }
        self.words.extend(verdict.reasons.iter().map(|reason| reason.word().to_owned()));
    }
}

#[test]
fn every_reason_is_named_with_its_cause() {
    let Some(kernel) = linux_6_1() else { return };
    if own_module_or_skip("ring_a").is_none() {
        return;
    }
    let mut judge = Judge { wrong: Vec::new(), count: 0, words: Default::default() };

    // The file alone.
    let alone: &[(&str, Expected<'_>)] = &[
        ("empty.ko", Expected(22, "empty", &["empty"])),
        ("ten.ko", Expected(8, "no module", &["Invalid ELF header len 10"])),
        ("half.ko", Expected(8, "no module", &["section header overflow"])),
        ("magic.ko", Expected(8, "no module", &["magic"])),
        ("etdyn.ko", Expected(8, "no module", &["header type: 3"])),
        ("mach.ko", Expected(8, "architecture", &["AArch64", "183"])),
        ("shent.ko", Expected(8, "no module", &["section header size"])),
        ("shstr200.ko", Expected(8, "no module", &["e_shstrndx (200)"])),
        ("secoff.ko", Expected(8, "no module", &["section 13"])),
        ("nosym.ko", Expected(8, "no module", &["stripped?"])),
        ("nomod.ko", Expected(8, "no module", &["No module found in object"])),
        ("siglen.ko", Expected(74, "signature", &["2147483647"])),
        ("sigpad.ko", Expected(74, "signature", &["non-zero params"])),
        ("vmfl.ko", Expected(8, "vermagic", &["`PREEMPT`", "`preempt`", "CONFIG_PREEMPTION"])),
        ("crcml.ko", Expected(8, "module_layout", &["struct module", "6.1.0-56-amd64"])),
        ("crcpr.ko", Expected(22, "crc", &["_printk", "built against"])),
        ("crcno.ko", Expected(22, "crc", &["_printk", "no CRC"])),
        ("lic.ko", Expected(2, "licence", &["param_ops_bool_enable_only", "GPX"])),
        ("wx.ko", Expected(8, "link", &[".text", "WRITE|EXEC"])),
        ("unk.ko", Expected(2, "symbol", &["_qrintk", "did you mean _printk"])),
        ("common.ko", Expected(8, "link", &["-fno-common"])),
        ("symidx.ko", Expected(8, "link", &["init_module", "999"])),
        ("rel42.ko", Expected(8, "link", &["relocation: 42"])),
        ("rel26.ko", Expected(8, "link", &["relocation: 26"])),
        ("relnz.ko", Expected(8, "link", &["existing value is nonzero"])),
        ("rel32.ko", Expected(8, "link", &["overflow in relocation type 10"])),
        ("vmrel.ko", Expected(0, "", &[])),
        ("vmnone.ko", Expected(0, "", &[])),
        ("nover.ko", Expected(0, "", &[])),
        ("user.ko", Expected(2, "symbol", &["e_any", "e_gpl"])),
    ];
    let explain = Settings { explain: true, ..Settings::default() };
    for &(file, ref expected) in alone {
        let bytes = broken(file);
        let verdict = check(kernel, &candidate(file, &bytes, ""), &Setting { settings: explain, ..Setting::default() });
        judge.expect(file, &verdict, Expected(expected.0, expected.1, expected.2));
    }

    // With others.
    let together: &[(&str, &[&str], &[&str], Expected<'_>)] = &[
        ("user.ko", &["exporter"], &[], Expected(0, "", &[])),
        ("userns2.ko", &["exporter"], &[], Expected(22, "namespace", &["e_ns", "FERRMOD_TESTS"])),
        ("propgpl.ko", &["exporter"], &[], Expected(2, "licence", &["e_gpl", "Proprietary", "exporter"])),
        ("usepropgpl.ko", &["exporter", "propexp"], &[], Expected(2, "licence", &["e_gpl"])),
        ("dupexp.ko", &["exporter"], &["exporter"], Expected(8, "duplicate", &["e_any", "exporter"])),
        ("base.ko", &[], &["base"], Expected(17, "loaded", &["loaded already"])),
        ("user.ko", &["exporter"], &["user", "exporter"], Expected(17, "loaded", &[])),
    ];
    for &(file, beside, loaded, ref expected) in together {
        let bytes = broken(file);
        let setting = Setting { together: beside, loaded, settings: explain, ..Setting::default() };
        let verdict = check(kernel, &candidate(file, &bytes, ""), &setting);
        judge.expect(&format!("{file} with {beside:?}"), &verdict, Expected(expected.0, expected.1, expected.2));
    }

    // Policy.
    let policies: &[(&str, &str, &str, Expected<'_>)] = &[
        ("blk.ko", "module_blacklist=foo,nothinx", "", Expected(1, "blacklist", &["module_blacklist=foo,nothinx"])),
        ("base.ko", "module_blacklist=Base,bas,base2", "", Expected(0, "", &[])),
        ("base.ko", "nomodule", "", Expected(1, "modules disabled", &["nomodule"])),
        ("base.ko", "", "kernel.modules_disabled=1", Expected(1, "modules disabled", &["policy:1"])),
        ("base.ko", "module.sig_enforce=1", "", Expected(129, "signature", &["not signed", "module.sig_enforce=1"])),
        ("base.ko", "", "CONFIG_MODULE_SIG_FORCE=y", Expected(129, "signature", &["CONFIG_MODULE_SIG_FORCE=y"])),
        ("base.ko", "lockdown=integrity", "", Expected(1, "lockdown", &["not signed", "locked down (integrity)"])),
        ("base.ko", "", "secure_boot", Expected(1, "lockdown", &["secure_boot"])),
        ("sigid.ko", "module.sig_enforce", "", Expected(129, "signature", &["PKCS#7"])),
        ("nls_flag.ko", "module.sig_enforce lockdown=confidentiality", "", Expected(0, "", &[])),
        ("base.ko", "lockdown=integrity lsm=yama", "CONFIG_SECURITY_LOCKDOWN_LSM_EARLY=n", Expected(0, "", &[])),
        ("base.ko", "initcall_blacklist=base_init", "", Expected(1, "initcall", &["base_init"])),
        ("base.ko", "", "CONFIG_MODULES=n", Expected(38, "no modules", &["without modules"])),
        ("vmnone.ko", "", "CONFIG_MODULE_FORCE_LOAD=n", Expected(8, "unchecked", &["bad vermagic"])),
        ("nover.ko", "", "CONFIG_MODULE_FORCE_LOAD=n", Expected(8, "unchecked", &["module_layout"])),
        ("base.ko", "base.ui=abc", "", Expected(22, "parameter", &["ui", "abc", "(uint)"])),
    ];
    for &(file, command_line, policy, ref expected) in policies {
        let bytes = broken(file);
        let verdict =
            check(kernel, &candidate(file, &bytes, ""), &Setting { command_line, policy, ..Setting::default() });
        judge.expect(
            &format!("{file}, {command_line}{policy}"),
            &verdict,
            Expected(expected.0, expected.1, expected.2),
        );
    }

    // Parameters.
    for (arguments, errno, names) in [
        ("ui=abc", 22, &["ui", "abc", "with_dash"][..]),
        ("by=256", 34, &["by", "256", "(byte)"]),
        ("cp", 22, &["cp", "needs a value"]),
        ("str=12345678", 28, &["str", "12345678"]),
        ("arr=1,2,3,4", 22, &["arr"]),
        ("ib", 22, &["ib"]),
        ("nosuch=1", 0, &[]),
        ("un=1", 0, &[]),
    ] {
        let bytes = module("base");
        let verdict = check(kernel, &candidate("base.ko", &bytes, arguments), &Setting::default());
        judge.expect(arguments, &verdict, Expected(errno, if errno == 0 { "" } else { "parameter" }, names));
        let noted =
            verdict.notes.iter().any(|note| matches!(note, Note::UnknownParameter { name, .. } if name == "nosuch"));
        assert_eq!(noted, arguments.starts_with("nosuch"));
    }
    assert!(judge.wrong.is_empty(), "{} of {}:\n{}", judge.wrong.len(), judge.count, judge.wrong.join("\n"));
    assert!(judge.count >= 60, "{}", judge.count);
    println!("{} made to fail; reasons: {:?}", judge.count, judge.words);
}

#[test]
fn modules_that_need_each_other_are_a_cycle() {
    let Some(kernel) = linux_6_1() else { return };
    if own_module_or_skip("ring_a").is_none() {
        return;
    }
    let bytes = module("ring_a");
    let setting = Setting { together: &["ring_a", "ring_b"], ..Setting::default() };
    let verdict = check(kernel, &candidate("ring_a.ko", &bytes, ""), &setting);
    assert_eq!((verdict.answer, verdict.errno), (Answer::Refused, Some(2)), "{verdict:#?}");
    let texts: Vec<String> = verdict.reasons.iter().map(ToString::to_string).collect();
    assert!(texts.iter().any(|text| text == "modules need each other: ring_a needs ring_b needs ring_a"), "{texts:?}");
    assert!(
        texts.iter().any(|text| text.contains("ring_b_turn: exported by ring_b, which cannot be loaded")),
        "{texts:?}"
    );
    // Alone, the other one is missing.
    let verdict = check(kernel, &candidate("ring_a.ko", &bytes, ""), &Setting::default());
    let texts: Vec<String> = verdict.reasons.iter().map(ToString::to_string).collect();
    assert!(texts.iter().any(|text| text.contains("needs ring_b, which this kernel has not got")), "{texts:?}");
}

#[test]
fn a_dependency_that_is_forbidden_stops_its_user() {
    let Some(kernel) = linux_6_1() else { return };
    let bytes = module("usbhid");
    let free = check(kernel, &candidate("usbhid.ko", &bytes, ""), &Setting::default());
    assert!(free.loads() && free.needs.contains(&"usbcore".to_owned()), "{free:#?}");
    let place = |name: &str| free.needs.iter().position(|need| need == name);
    assert!(place("usb_common") < place("usbcore"), "{:?}", free.needs);
    let setting = Setting { command_line: "module_blacklist=usbcore", ..Setting::default() };
    let verdict = check(kernel, &candidate("usbhid.ko", &bytes, ""), &setting);
    assert_eq!(verdict.errno, Some(2), "{verdict:#?}");
    let texts: Vec<String> = verdict.reasons.iter().map(ToString::to_string).collect();
    let blocked = "needs usbcore, which does not load\nthe kernel is told to refuse it: `module_blacklist=usbcore` (/proc/cmdline)";
    assert!(texts.iter().any(|text| text == blocked), "{texts:#?}");
    assert!(!verdict.needs.contains(&"usbcore".to_owned()));
}

#[test]
fn what_a_kernel_cannot_unpack_is_refused_or_left_to_the_tool() {
    let Some(kernel) = linux_6_1() else { return };
    let bytes = module("nls_cp437");
    let mut packed = candidate("nls_cp437.ko.xz", &bytes, "");
    packed.format = Compression::Xz;
    let by_tool = check(kernel, &packed, &Setting::default());
    assert!(
        by_tool.loads() && by_tool.notes.iter().any(|note| matches!(note, Note::UnpackedByTool { .. })),
        "{by_tool:#?}"
    );
    let settings = Settings { unpacked_by_kernel: true, ..Settings::default() };
    let by_kernel = check(kernel, &packed, &Setting { settings, ..Setting::default() });
    assert_eq!((by_kernel.errno, by_kernel.reasons[0].word()), (Some(95), "compression"));
    let other =
        Setting { settings, policy: "CONFIG_MODULE_DECOMPRESS=y\nCONFIG_MODULE_COMPRESS_ZSTD=y", ..Setting::default() };
    assert_eq!(check(kernel, &packed, &other).errno, Some(22));
    let same =
        Setting { settings, policy: "CONFIG_MODULE_DECOMPRESS=y\nCONFIG_MODULE_COMPRESS_XZ=y", ..Setting::default() };
    assert!(check(kernel, &packed, &same).loads());
    let broken = check(kernel, &candidate("x.ko.xz", b"\xfd7zXZ\0nonsense", ""), &Setting::default());
    assert_eq!((broken.answer, broken.errno, broken.reasons[0].word()), (Answer::Refused, None, "compression"));
}

#[test]
fn loadpin_takes_files_of_one_file_system_alone() {
    let Some(kernel) = linux_6_1() else { return };
    let bytes = module("nls_cp437");
    let policy = "CONFIG_SECURITY_LOADPIN=y\nloadpin.enforce=1";
    let mut file = candidate("nls_cp437.ko", &bytes, "");
    let judged = |file: &_| check(kernel, file, &Setting { policy, ..Setting::default() });
    assert!(judged(&file).notes.iter().any(|note| matches!(note, Note::LoadPin { .. })));
    file.on_the_trees_file_system = Some(false);
    assert_eq!((judged(&file).errno, judged(&file).reasons[0].word()), (Some(1), "loadpin"));
    file.on_the_trees_file_system = Some(true);
    assert!(judged(&file).loads());
    file.format = Compression::Xz;
    assert!(matches!(judged(&file).reasons[0], Reason::LoadPin { without_file: true, .. }));
}

#[test]
fn a_signature_is_as_good_as_the_key_behind_it() {
    let Some(kernel) = linux_6_1() else { return };
    let bytes = module("nls_cp437");
    let trusted = kernel.keyring().unwrap();
    let nobody = ferrmod_signature::Keyring::new();
    let said = |bytes: &[u8], keyring: &ferrmod_signature::Keyring, command_line: &str| {
        let settings = Settings { keyring: Some(keyring), ..Settings::default() };
        check(kernel, &candidate("nls_cp437.ko", bytes, ""), &Setting { settings, command_line, ..Setting::default() })
    };
    let valid = said(&bytes, &trusted, "module.sig_enforce lockdown=confidentiality");
    assert_eq!(valid.answer, Answer::Loads, "{valid:#?}");
    assert!(
        valid.notes.iter().any(|note| matches!(note, Note::SignedBy { signer } if signer.contains("kernel key"))),
        "{valid:#?}"
    );

    let unknown = said(&bytes, &nobody, "");
    assert_eq!((unknown.answer, unknown.taints.as_str()), (Answer::LoadsWithTaint, "E"));
    let enforced = said(&bytes, &nobody, "module.sig_enforce");
    assert_eq!(enforced.errno, Some(129));
    assert!(
        enforced.log.iter().any(|line| line.text == "Loading of module with unavailable key is rejected"),
        "{enforced:#?}"
    );
    assert_eq!(said(&bytes, &nobody, "lockdown=integrity").errno, Some(1));

    // A changed module is refused whether signatures are required or not.
    let changed = said(&broken("sigbad.ko"), &trusted, "");
    assert_eq!((changed.errno, changed.reasons[0].word()), (Some(129), "signature"));
    assert!(
        matches!(&changed.reasons[0], Reason::Signature { signed: Signed::Bad { .. }, required: None, .. }),
        "{changed:#?}"
    );
}

#[test]
fn no_mutation_of_a_module_ends_in_a_panic() {
    let Some(kernel) = linux_6_1() else { return };
    let whole = module("crc7");
    let together = Together::new();
    let _ = &together;
    let mut random = Random::new(7);
    for _ in 0..400 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        if random.below(8) == 0 {
            bytes.truncate(random.below(bytes.len()));
        }
        let verdict = check(kernel, &candidate("crc7.ko", &bytes, "a=1 b"), &Setting::default());
        assert_eq!(verdict.reasons.is_empty(), verdict.loads());
    }
}
