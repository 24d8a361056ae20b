//! Modules that are made to fail, and a few that only look as if they would.

use ferrmod_image::Image;
use ferrmod_tests::corpus::Tree;
use ferrmod_tests::oracle;

use crate::ground;
use crate::root::{compressed, crc_changed, renamed, unpacked, vermagic_changed};

/// How a file is handed to the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// `finit_module`, plain.
    File,
    /// `finit_module` with `MODULE_INIT_COMPRESSED_FILE`.
    Packed,
    /// `init_module`.
    Bytes,
}

/// One load that is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Made {
    /// The file, by a name that [`bytes`] knows.
    pub(crate) file: &'static str,
    /// Its parameters.
    pub(crate) arguments: &'static str,
    /// The modules that are loaded before.
    pub(crate) after: &'static [&'static str],
    /// Modules that are installed, too, and not loaded.
    pub(crate) beside: &'static [&'static str],
    pub(crate) call: Call,
    /// The word of the first reason; empty when it loads.
    pub(crate) word: &'static str,
    /// What the reasons have to name. Where the kernel prints anything, it names one of them too.
    pub(crate) names: &'static [&'static str],
}

impl Made {
    /// Refused for a reason with this word.
    const fn refused(file: &'static str, word: &'static str, names: &'static [&'static str]) -> Made {
        Made { file, arguments: "", after: &[], beside: &[], call: Call::File, word, names }
    }

    const fn loads(file: &'static str) -> Made {
        Made::refused(file, "", &[])
    }

    const fn with(self, arguments: &'static str) -> Made {
        Made { arguments, ..self }
    }

    const fn after(self, after: &'static [&'static str]) -> Made {
        Made { after, ..self }
    }

    const fn beside(self, beside: &'static [&'static str]) -> Made {
        Made { beside, ..self }
    }

    const fn by(self, call: Call) -> Made {
        Made { call, ..self }
    }
}

/// What is asked for at once, under one policy.
pub(crate) struct Group {
    /// Lines for the guest that bring the policy about.
    pub(crate) before: &'static str,
    /// The same for a check.
    pub(crate) policy: &'static str,
    pub(crate) made: &'static [Made],
}

/// One start of a machine.
pub(crate) struct Boot {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) command_line: &'static str,
    pub(crate) groups: &'static [Group],
}

const LOADER: &[Made] = &[
    // The file.
    Made::refused("empty.ko", "empty", &["empty"]),
    Made::refused("ten.ko", "no module", &["Invalid ELF header len"]),
    Made::refused("half.ko", "no module", &["section header overflow"]).by(Call::Bytes),
    Made::refused("half.ko", "no module", &["section header overflow"]),
    Made::refused("text.ko", "no module", &["Invalid ELF header magic"]),
    Made::refused("magic.ko", "no module", &["Invalid ELF header magic"]),
    Made::refused("etdyn.ko", "no module", &["Invalid ELF header type"]),
    Made::refused("mach.ko", "architecture", &["183", "AArch64"]),
    Made::refused("shent.ko", "no module", &["section header size"]),
    Made::refused("shstr200.ko", "no module", &["200"]),
    Made::refused("shstrnul.ko", "no module", &["null terminated"]),
    Made::refused("secoff.ko", "no module", &["13"]),
    Made::refused("nosym.ko", "no module", &["stripped?"]),
    Made::refused("nomod.ko", "no module", &["No module found in object"]),
    Made::refused("wx.ko", "link", &[".text", "WRITE|EXEC"]),
    // Signatures.
    Made::refused("sigbad.ko", "signature", &["changed after"]),
    Made::refused("siglen.ko", "signature", &["2147483647"]),
    Made::refused("sigpad.ko", "signature", &["non-zero params"]),
    Made::loads("sigid.ko"),
    Made::loads("nls_nosig.ko"),
    Made::loads("nls_cp437.ko"),
    // Versions.
    Made::refused("vmfl.ko", "vermagic", &["PREEMPT", "CONFIG_PREEMPTION"]),
    Made::loads("vmrel.ko"),
    Made::loads("vmnone.ko"),
    Made::loads("nover.ko"),
    Made::refused("crcml.ko", "module_layout", &["module_layout", "struct module"]),
    Made::refused("crcpr.ko", "crc", &["_printk"]),
    Made::refused("crcno.ko", "crc", &["_printk"]),
    // Symbols.
    Made::refused("unk.ko", "symbol", &["_qrintk", "did you mean _printk"]),
    Made::refused("user.ko", "symbol", &["e_any", "e_gpl"]),
    Made::loads("user.ko").after(&["exporter.ko"]),
    Made::loads("usernsok.ko").after(&["exporter.ko"]),
    Made::refused("userns2.ko", "namespace", &["FERRMOD_TESTS", "e_ns"]).after(&["exporter.ko"]),
    Made::refused("propgpl.ko", "licence", &["e_gpl", "Proprietary"]).after(&["exporter.ko"]),
    Made::refused("usepropgpl.ko", "licence", &["e_gpl", "proprietary because it uses symbols of propexp"])
        .after(&["exporter.ko", "propexp.ko"]),
    Made::loads("useprop.ko").after(&["exporter.ko", "propexp.ko"]),
    Made::refused("lic.ko", "licence", &["param_ops_bool_enable_only", "GPX"]),
    Made::refused("dupexp.ko", "duplicate", &["e_any", "exporter"]).after(&["exporter.ko"]),
    Made::loads("weaku.ko"),
    Made::refused("ring_a.ko", "symbol", &["ring_b_turn"]),
    Made::refused("ring_b.ko", "symbol", &["ring_a_turn"]),
    Made::refused("ring_a.ko", "symbol", &["ring_b_turn", "ring_a needs ring_b needs ring_a"]).beside(&["ring_b"]),
    Made::refused("common.ko", "link", &["-fno-common"]),
    Made::refused("symidx.ko", "link", &["999"]),
    Made::refused("rel42.ko", "link", &["42"]),
    Made::refused("rel26.ko", "link", &["26"]),
    Made::refused("relnz.ko", "link", &["existing value is nonzero"]),
    Made::refused("rel32.ko", "link", &["overflow in relocation type 10"]),
    // What is there already.
    Made::refused("base.ko", "loaded", &["loaded already"]).after(&["base.ko"]),
    Made::refused("tcp_cubic.ko", "built in", &["already"]),
    Made::loads("backlight.ko"),
    // Parameters.
    Made::refused("base.ko", "parameter", &["ui", "abc"]).with("ui=abc"),
    Made::refused("base.ko", "parameter", &["by", "256"]).with("by=256"),
    Made::refused("base.ko", "parameter", &["cp"]).with("cp"),
    Made::refused("base.ko", "parameter", &["str", "12345678"]).with("str=12345678"),
    Made::refused("base.ko", "parameter", &["arr"]).with("arr=1,2,3,4"),
    Made::refused("base.ko", "parameter", &["ib"]).with("ib"),
    Made::loads("base.ko").with("nosuch=1 ui=3"),
    Made::loads("base.ko").with("un=1"),
    // The command line of this boot.
    Made::refused("blk.ko", "blacklist", &["nothinx", "module_blacklist=foo,nothinx,usbcore"]),
    Made::refused("usbcore", "blacklist", &["usbcore"]).after(&["usb-common"]),
    Made::refused("usbhid", "symbol", &["usb_alloc_urb", "usbcore, which cannot be loaded"]).after(&["hid"]),
    Made::refused("slow.ko", "initcall", &["slow_init", "initcall_blacklist=slow_init"]),
    // LoadPin is not built into Debian's kernels: to order it changes nothing.
    Made::loads("base.ko").by(Call::Bytes),
    // Kernels.
    Made::refused("6.1-rt", "module_layout", &["module_layout"]),
    Made::refused("6.12", "module_layout", &["module_layout"]),
    Made::refused("in_xz___0.ko.xz", "compression", &["xz"]).by(Call::Packed),
    // The first bytes of a packed file are none of a module.
    Made::refused("in_xz___0.ko.xz", "no module", &["Invalid ELF header magic"]),
];

/// What only a signed module is spared.
const UNSIGNED: [Made; 3] = [
    Made::refused("base.ko", "signature", &["signed"]),
    Made::refused("sigid.ko", "signature", &["PKCS#7"]),
    Made::loads("nls_cp437.ko"),
];

/// Every boot.
pub(crate) const BOOTS: &[Boot] = &[
    Boot {
        name: "check-6.1",
        version: "6.1",
        command_line: "module_blacklist=foo,nothinx,usbcore initcall_blacklist=slow_init loadpin.enforce=1",
        groups: &[
            Group { before: "", policy: "", made: LOADER },
            Group {
                before: "file /sys/module/module/parameters/sig_enforce\n1\n.\n",
                policy: "module.sig_enforce",
                made: &UNSIGNED,
            },
            Group {
                before: "file /proc/sys/kernel/modules_disabled\n1\n.\n",
                policy: "module.sig_enforce\nkernel.modules_disabled=1",
                made: &[
                    Made::refused("base.ko", "modules disabled", &["kernel.modules_disabled=1"]),
                    Made::refused("nls_cp437.ko", "modules disabled", &["kernel.modules_disabled=1"]),
                    Made::refused("empty.ko", "modules disabled", &[]),
                ],
            },
        ],
    },
    Boot {
        name: "check-6.1-locked",
        version: "6.1",
        command_line: "lockdown=integrity",
        groups: &[Group {
            before: "",
            policy: "",
            made: &[
                Made::refused("base.ko", "lockdown", &["signed", "lockdown=integrity"]),
                Made::refused("sigbad.ko", "signature", &["changed after"]),
                Made::refused("sigid.ko", "lockdown", &["PKCS#7"]),
                Made::refused("text.ko", "lockdown", &["signed"]),
                Made::loads("nls_cp437.ko"),
                Made::refused("parport_pc", "parameter", &["io", "locked down"]).with("io=0x378").after(&["parport"]),
            ],
        }],
    },
    Boot {
        name: "check-6.1-early",
        version: "6.1",
        // Lockdown is not in the list, and there all the same: Debian builds it in early.
        command_line: "lockdown=confidentiality lsm=yama module.sig-enforce=1",
        groups: &[Group { before: "", policy: "", made: &UNSIGNED }],
    },
    Boot {
        name: "check-6.1-none",
        version: "6.1",
        command_line: "nomodule",
        groups: &[Group {
            before: "",
            policy: "",
            made: &[
                Made::refused("base.ko", "modules disabled", &["nomodule"]),
                Made::refused("nls_cp437.ko", "modules disabled", &["nomodule"]),
            ],
        }],
    },
    Boot {
        name: "check-6.12",
        version: "6.12",
        command_line: "module_blacklist=nls_cp850",
        groups: &[
            Group {
                before: "",
                policy: "",
                made: &[
                    Made::refused("text.ko", "no module", &["Invalid ELF header magic"]),
                    Made::refused("short.ko", "no module", &["section header overflow"]),
                    Made::refused("flipped.ko", "signature", &["changed after"]),
                    Made::refused("bad_magic.ko", "vermagic", &["qreempt"]),
                    Made::refused("bad_crcs0.ko", "module_layout", &["module_layout"]),
                    Made::refused("6.1", "module size", &["struct module", "6.1.0", "module_layout"]),
                    Made::loads("unsigned0.ko"),
                    Made::refused("nls_cp850.ko", "blacklist", &["nls_cp850"]),
                    Made::refused("tcp_cubic.ko", "built in", &["already"]),
                    Made::refused("usbhid", "no module", &["Invalid ELF header magic"]),
                    Made::loads("nls_cp437").by(Call::Packed),
                    Made::loads("in_xz___0.ko.xz").by(Call::Packed),
                    Made::refused("in_zstd_0.ko.zst", "compression", &["xz"]).by(Call::Packed),
                    Made::refused("in_gzip_0.ko.gz", "compression", &["xz"]).by(Call::Packed),
                    Made::refused("broken_xz.ko.xz", "compression", &["unpack"]).by(Call::Packed),
                    Made::refused("in_xz___0.ko.xz", "no module", &["Invalid ELF header magic"]),
                ],
            },
            Group {
                before: "file /sys/kernel/security/lockdown\nintegrity\n.\n",
                policy: "lockdown=integrity",
                made: &[
                    Made::refused("unsigned0.ko", "lockdown", &["signed"]),
                    Made::loads("nls_cp437").by(Call::Packed),
                ],
            },
        ],
    },
];

/// The bytes of a file; `None` when the program that packs it is not here.
pub(crate) fn bytes(file: &str, tree: &Tree) -> Option<Vec<u8>> {
    let signed = || unpacked(tree, "nls_ascii");
    let plain = |name: &str| {
        let signed = signed();
        let image = Image::read(&signed).expect("a module of the tree is one");
        let trailer = image.signature().expect("a signature is one").expect("Debian signs its modules").trailer;
        renamed(&signed[..signed.len() - trailer], name)
    };
    let stem = file.split('.').next().unwrap_or(file);
    Some(match file {
        "6.1" | "6.1-rt" | "6.12" => unpacked(&ferrmod_tests::corpus::tree_or_skip(file)?, "lm75"),
        "text.ko" => b"This is no module, but it is longer than the header of an ELF file would have to be.\n".to_vec(),
        "short.ko" => {
            let whole = signed();
            whole[..whole.len() / 2].to_vec()
        }
        "flipped.ko" => {
            let mut flipped = signed();
            let at = flipped.len() / 3;
            flipped[at] ^= 1;
            flipped
        }
        "tcp_cubic.ko" | "backlight.ko" | "unsigned0.ko" => plain(stem),
        "bad_magic.ko" => vermagic_changed(&plain(stem)),
        "bad_crcs0.ko" => crc_changed(&plain(stem)),
        "in_xz___0.ko.xz" => compressed("xz", &["--check=crc32", "--lzma2=dict=1MiB"], &plain(stem))?,
        "in_zstd_0.ko.zst" => compressed("zstd", &["--quiet"], &plain(stem))?,
        "in_gzip_0.ko.gz" => compressed("gzip", &[], &plain(stem))?,
        "broken_xz.ko.xz" => {
            let mut packed = compressed("xz", &["--check=crc32", "--lzma2=dict=1MiB"], &plain("broken_xz"))?;
            let middle = packed.len() / 2;
            packed[middle..middle + 16].fill(0xff);
            packed
        }
        _ => match oracle::source_of(file) {
            Some(source) if tree.release.starts_with("6.1.") => {
                oracle::mutate(file, &ground::module(source)).expect("it can be made")
            }
            _ if file.ends_with(".ko") && tree.file(stem).is_none() => ground::module(stem),
            _ if file.ends_with(".ko") => unpacked(tree, stem),
            // As it is in the tree.
            _ => std::fs::read(tree.file(file).expect("the tree has it")).expect("a module can be read"),
        },
    })
}
