//! A small module tree with every oddity that a tree can have.

pub(crate) mod packed;

use ferrmod_tests::module_file::{Crc, Import, Module};

/// The release the tree is for.
pub(crate) const RELEASE: &str = "6.1.0-made";

/// What stands at a path below the release's folder.
pub(crate) enum Entry {
    File(Vec<u8>),
    Link(&'static str),
    Folder,
}

/// A module with a licence and the given further `.modinfo` lines, exports and imports.
fn module(modinfo: &[&str], exports: &[&str], imports: &[&str]) -> Module {
    let lines = ["license=GPL"].iter().chain(modinfo).map(|line| line.as_bytes().to_vec());
    let tail = [b"retpoline=Y".to_vec(), b"vermagic=6.1.0-made SMP mod_unload modversions ".to_vec()];
    Module {
        modinfo: lines.chain(tail).collect(),
        exports: exports.iter().map(|name| (name.as_bytes().to_vec(), Crc::Absolute(crc_of(name)))).collect(),
        imports: imports
            .iter()
            .map(|name| Import { name: name.as_bytes().to_vec(), weak: false, crc: Some(crc_of(name)) })
            .collect(),
        ..Module::default()
    }
}

/// Some number for a symbol, the same for all who use it.
pub(crate) fn crc_of(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// A module of this kind that only exports and imports, for trees made of many.
pub(crate) fn plain(exports: &[&str], imports: &[&str]) -> Vec<u8> {
    module(&[], exports, imports).write()
}

/// A module with these `.modinfo` lines and nothing else.
pub(crate) fn with_modinfo(lines: &[&[u8]]) -> Vec<u8> {
    Module { modinfo: lines.iter().map(|line| line.to_vec()).collect(), ..Module::default() }.write()
}

/// Every entry of the tree, in the order in which they are to be made.
pub(crate) fn entries() -> Vec<(Vec<u8>, Entry)> {
    let mut entries: Vec<(Vec<u8>, Entry)> = Vec::new();
    let mut file = |path: &str, content: Vec<u8>| entries.push((path.as_bytes().to_vec(), Entry::File(content)));

    ordinary(&mut file);
    related(&mut file);
    names(&mut file);
    broken(&mut file);
    texts(&mut file);

    let alpha = module(&["author=Sealed"], &["sealed_fn"], &["alpha_fn"]).write();
    file("kernel/packed/pxz.ko.xz", packed::xz(&alpha));
    file("kernel/packed/pzst.ko.zst", packed::zstd(&alpha, true));
    // Named as packed, but they are not; and the other way round.
    file("kernel/packed/liar.ko.xz", module(&["author=Liar"], &[], &["alpha_fn"]).write());
    file("kernel/packed/hidden_xz.ko", packed::xz(&alpha));

    entries.push((b"kernel/links/to_file.ko".to_vec(), Entry::Link("../a/alpha.ko")));
    entries.push((b"kernel/links/folder".to_vec(), Entry::Link("../b")));
    entries.push((b"build".to_vec(), Entry::Link("/usr/src/nowhere")));
    entries.push((b"kernel/empty_folder".to_vec(), Entry::Folder));
    entries.push((b"kernel/folder.ko".to_vec(), Entry::Folder));
    entries
}

/// Modules as kernels have them.
fn ordinary(file: &mut impl FnMut(&str, Vec<u8>)) {
    let mut alpha = module(
        &[
            "description=The first of all, a library",
            "author=A. Author <a@example.org>",
            "author=B. Author",
            "version=1.2.3",
            "srcversion=0123456789ABCDEF0123456",
            "firmware=alpha/fw.bin",
            "alias=alpha-alias",
            "alias=pci:v00008086d00001234sv*sd*bc*sc*i*",
            "alias=pci:v00008086d0000100Esv*sd*bc*sc*i*",
            "depends=",
            "intree=Y",
            "name=alpha",
            "parm=x:how many of them",
            "parmtype=x:int",
            "parmtype=y:charp",
            "parm=z:only described",
            "parm=x:again, another text",
            "parm=list:numbers",
            "parmtype=list:array of int",
            "parmtype=flag:bool",
        ],
        &["alpha_fn", "alpha_other", "alpha_gone"],
        &["module_layout", "printk"],
    );
    alpha.build_id = Some(*b"0123456789abcdefghij");
    file("kernel/a/alpha.ko", alpha.write());
    let beta = module(
        &[
            "alias=beta:*",
            "alias=usb:v0123p[0-9]*d*",
            "alias=beta-alias-with-dashes",
            "depends=alpha",
            "description=multi\nline",
            "author=",
        ],
        &["beta_fn"],
        &["alpha_fn", "module_layout"],
    );
    file("kernel/a/beta-dash.ko", beta.write());
    let gamma = module(&["alias=beta:shared", "softdep=pre: alpha post: omega"], &["gamma_fn"], &["beta_fn"]);
    file("kernel/a/gamma_under.ko", gamma.write());
    let delta = module(
        &["alias=delta?alias[a-c]x", "softdep=pre: eps", "softdep=post: nosuch", "weakdep=alpha zeta"],
        &[],
        &["gamma_fn", "alpha_other"],
    );
    file("kernel/b/delta.ko", delta.write());
    file("kernel/b/eps.ko", module(&["alias=beta:shared", "weakdep=delta"], &["eps_fn"], &[]).write());
    file("kernel/b/omega.ko", module(&["softdep=post: alpha pre: eps beta-dash"], &[], &["eps_fn"]).write());
    file("kernel/b/tree_top.ko", module(&[], &[], &["delta_weak", "gamma_fn", "eps_fn", "alpha_gone"]).write());
    let device = ["alias=devname:net/made", "alias=char-major-10-200", "alias=devname:second"];
    file("kernel/dev/device.ko", module(&device, &[], &[]).write());
    file("kernel/dev/block.ko", module(&["alias=block-major-7-*", "alias=devname:made-loop"], &[], &[]).write());
    file("kernel/dev/block2.ko", module(&["alias=block-major-7-3", "alias=devname:loop3"], &[], &[]).write());
    file("kernel/dev/nomajor.ko", module(&["alias=devname:lonely"], &[], &[]).write());
    file("kernel/dev/negative.ko", module(&["alias=char-major--1-2", "alias=devname:bad"], &[], &[]).write());
}

/// Modules that need what nobody has, or offer what another offers too.
fn related(file: &mut impl FnMut(&str, Vec<u8>)) {
    file("kernel/c/unknown.ko", module(&[], &[], &["nobody_has_this", "nor_this", "__this_module"]).write());
    let mut weak = module(&[], &[], &["alpha_fn"]);
    weak.imports.push(Import { name: b"weak_nobody".to_vec(), weak: true, crc: None });
    weak.imports.push(Import { name: b"omega_opt".to_vec(), weak: true, crc: Some(7) });
    file("kernel/c/weak.ko", weak.write());
    let mut differing = module(&[], &[], &[]);
    differing.imports.push(Import { name: b"alpha_fn".to_vec(), weak: false, crc: Some(0xdead_beef) });
    file("kernel/c/othercrc.ko", differing.write());
    file("kernel/c/twice_a.ko", module(&[], &["twice_fn"], &[]).write());
    file("kernel/c/twice_b.ko", module(&[], &["twice_fn"], &[]).write());
    file("kernel/c/twice_user.ko", module(&[], &[], &["twice_fn"]).write());
    file("kernel/c/dup.ko", module(&["description=of kernel"], &["dup_fn"], &[]).write());
    file("updates/dup.ko", module(&["description=of updates"], &["dup_fn"], &["alpha_fn"]).write());
    file("extra/dup.ko", module(&["description=of extra"], &["dup_fn"], &["beta_fn"]).write());
    file("extra/onlyextra.ko", module(&[], &[], &["dup_fn"]).write());
    file("kernel/c/sub/dup2.ko", module(&["description=deep"], &[], &[]).write());
    file("kernel/c/dup2.ko", module(&["description=shallow"], &[], &[]).write());
    let mut sections = module(&[], &[], &["alpha_fn"]);
    sections.exports = vec![
        (b"in_section_a".to_vec(), Crc::InSection(0x1111_2222)),
        (b"in_section_b".to_vec(), Crc::InSection(0x3333_4444)),
    ];
    file("kernel/c/insection.ko", sections.write());
    let mut names_only = module(&[], &[], &[]);
    names_only.exports = vec![(b"named_only".to_vec(), Crc::Missing), (b"named_too".to_vec(), Crc::Missing)];
    file("kernel/c/namesonly.ko", names_only.write());
    file("kernel/c/namesuser.ko", module(&[], &[], &["named_only", "in_section_b"]).write());
    let mut dotted = module(&[], &[], &[]);
    dotted.imports.push(Import { name: b".alpha_fn".to_vec(), weak: false, crc: None });
    file("kernel/c/dotted.ko", dotted.write());
    file("kernel/c/blacked.ko", module(&["alias=shared-by-blacked", "alias=black:*"], &[], &[]).write());
    file("kernel/c/notblacked.ko", module(&["alias=shared-by-blacked"], &[], &[]).write());
    file("kernel/c/installed.ko", module(&["alias=inst:*"], &[], &["alpha_fn"]).write());
    file("kernel/c/zeta.ko", module(&[], &[], &["eps_fn"]).write());
}

/// Modules whose names are odd.
fn names(file: &mut impl FnMut(&str, Vec<u8>)) {
    let empty = || module(&[], &[], &[]).write();
    file("kernel/n/v1.2.ko", empty());
    file("kernel/n/with space.ko", module(&["alias=spaced alias"], &[], &["alpha_fn"]).write());
    file("kernel/n/UPPER.ko", empty());
    file("kernel/n/a-b_c-d.ko", empty());
    file("kernel/n/brackets[0-9].ko", empty());
    file("kernel/n/star*.ko", empty());
    file("kernel/n/.hidden.ko", empty());
    file("kernel/n/.ko", empty());
    file("kernel/n/tail.ko.bak", empty());
    file("kernel/n/noending", empty());
    file("kernel/n/equals=1.ko", empty());
    file("kernel/n/colon:name.ko", empty());
    file("kernel/n/quote\"d.ko", empty());
    file("kernel/n/hash#.ko", empty());
    file(&format!("kernel/n/{}.ko", "l".repeat(120)), empty());
    file("kernel/dash-dir/in_dash.ko", module(&[], &[], &["alpha_fn"]).write());
    file("kernel/build/in_build.ko", empty());
    file("weak-updates/upd.ko", empty());
    file("toplevel.ko", empty());
    file("kernel/n/README", b"no module\n".to_vec());
    let sixteen: Vec<&[u8]> = vec![b"license=GPL", b"name=another_name", b"alias=renamed:*"];
    file("kernel/n/misnamed.ko", with_modinfo(&sixteen));
}

/// Files that only look like modules, and modules with parts missing.
fn broken(file: &mut impl FnMut(&str, Vec<u8>)) {
    let mut small = module(&["author=32 bits", "alias=small:*"], &["small_fn"], &["alpha_fn"]);
    small.wide = false;
    file("kernel/e/small.ko", small.write());
    let mut big = module(&["author=Big Endian", "alias=big:*"], &["big_fn"], &["alpha_fn"]);
    big.big_endian = true;
    file("kernel/e/big.ko", big.write());
    big.wide = false;
    big.exports = vec![(b"bigsmall_fn".to_vec(), Crc::InSection(0x0102_0304))];
    file("kernel/e/bigsmall.ko", big.write());
    file("kernel/e/nomodinfo.ko", Module { imports: weakless(), ..Module::default() }.write());
    let odd: Vec<&[u8]> = vec![
        b"noequals",
        b"=novalue",
        b"novalue=",
        b"parm=nocolon",
        b"parm=:nameless",
        b"parmtype=:int",
        b"parmtype=nocolon2",
        b"parm=dup:one",
        b"parm=dup:two",
        b"parmtype=dup:int",
        b"parmtype=dup:long",
        b"parm=multi:first line\nsecond line",
        b"alias=caf\xe9*",
        b"description=tab\there \x01 \xff end",
        b"key=with=equals=signs",
        b"",
        b"alias=",
        b"alias=unclosed[0-9",
        b"filename=lies",
        b"averyveryverylongkeyname=value",
    ];
    // The alias that is not ASCII would stop the index of the whole tree in kmod 34.
    let odd: Vec<&[u8]> = odd.into_iter().filter(|line| !line.starts_with(b"alias=")).collect();
    file("kernel/e/oddinfo.ko", with_modinfo(&odd));
    file("kernel/e/signed.ko", signed());
}

fn weakless() -> Vec<Import> {
    vec![Import { name: b"alpha_fn".to_vec(), weak: false, crc: None }]
}

/// Files that depmod reports as broken; they are put into the tree by edits alone, because they
/// change the exit status.
pub(crate) fn broken_files() -> Vec<(&'static str, Vec<u8>)> {
    let whole = module(&["author=Whole"], &["whole_fn"], &["alpha_fn"]);
    let bytes = whole.write();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        bytes
    };
    let mut files = vec![
        ("kernel/e/empty.ko", Vec::new()),
        ("kernel/e/notelf.ko", b"this is a text, no module\n".repeat(20)),
        ("kernel/e/short.ko", bytes[..20].to_vec()),
        ("kernel/e/headonly.ko", bytes[..64].to_vec()),
        ("kernel/e/half.ko", bytes[..bytes.len() / 2].to_vec()),
        ("kernel/e/badclass.ko", with(&|bytes| bytes[4] = 9)),
        ("kernel/e/badorder.ko", with(&|bytes| bytes[5] = 9)),
        ("kernel/e/farsections.ko", with(&|bytes| bytes[40..48].copy_from_slice(&u64::MAX.to_le_bytes()))),
        ("kernel/e/entsize.ko", with(&|bytes| bytes[58] = 1)),
        ("kernel/e/manysections.ko", with(&|bytes| bytes[60..62].copy_from_slice(&0xfff0_u16.to_le_bytes()))),
        ("kernel/e/nosections.ko", with(&|bytes| bytes[60..62].copy_from_slice(&0_u16.to_le_bytes()))),
        ("kernel/e/badxz.ko.xz", packed::xz(&bytes)[..40].to_vec()),
        ("kernel/e/badzst.ko.zst", packed::zstd(&bytes, true)[..40].to_vec()),
        ("kernel/e/textxz.ko.xz", b"no xz at all, just a line of text\n".to_vec()),
    ];
    let mut shifted = whole.clone();
    shifted.name_section = Some(0);
    files.push(("kernel/e/nonames.ko", shifted.write()));
    shifted.name_section = Some(0x7fff);
    files.push(("kernel/e/farnames.ko", shifted.write()));
    let mut odd = whole.clone();
    odd.odd_symbols = vec![(b"__crc_far", 0x7000, 0), (b"__crc_beyond", 1, 0x00ff_ffff)];
    files.push(("kernel/e/farcrc.ko", odd.write()));
    let mut versions_only = module(&[], &[], &["alpha_fn", "module_layout"]);
    versions_only.without_symbols = true;
    files.push(("kernel/c/nosymtab.ko", versions_only.write()));
    files
}

/// A module with a signature at its end that has the envelope's form, but no PKCS#7 in it.
fn signed() -> Vec<u8> {
    let mut bytes = module(&["author=Signed"], &[], &["alpha_fn"]).write();
    let signature = [0x30, 0x03, 0x02, 0x01, 0x01];
    bytes.extend(signature);
    // struct module_signature: algorithm, hash, type (2: PKCS#7), lengths, padding, length.
    bytes.extend([0, 0, 2, 0, 0, 0, 0, 0]);
    bytes.extend((signature.len() as u32).to_be_bytes());
    bytes.extend(b"~Module signature appended~\n");
    bytes
}

/// What kbuild leaves beside the modules.
fn texts(file: &mut impl FnMut(&str, Vec<u8>)) {
    let order = "kernel/b/delta.ko\nkernel/a/alpha.ko\nkernel/gone/away.ko\nkernel/a/alpha.ko\n\
                 kernel/packed/pxz.ko\nkernel/c/sub/dup2.ko\nkernel/n/with space.ko\n";
    file("modules.order", order.into());
    file("modules.builtin", "kernel/bi/builtin_one.ko\nkernel/bi/builtin-two.ko\nkernel/bi/builtin_three.ko\n".into());
    let modinfo = [
        "builtin_one.license=GPL",
        "builtin_one.author=Builder",
        "builtin_one.alias=bi:one*",
        "builtin_one.description=Built in",
        "builtin_one.file=kernel/bi/builtin_one",
        "builtin_one.parm=p:a parameter",
        "builtin_one.parmtype=p:int",
        "builtin_two.alias=bi:two",
        "builtin_two.file=kernel/bi/builtin-two",
        "builtin_two.license=GPL v2",
        "builtin_notlisted.alias=bi:three",
    ];
    file("modules.builtin.modinfo", modinfo.iter().flat_map(|line| line.bytes().chain([0])).collect());
}

/// Symbols as `System.map` and `Module.symvers` have them.
pub(crate) fn system_map() -> Vec<u8> {
    b"ffffffff81000000 T _text\nffffffff81000010 T printk\nffffffff81000020 T __ksymtab_printk\n\
      ffffffff81000030 T __ksymtab_module_layout\nffffffff81000040 t local\n0000000000000000 A __crc_printk\n\
      ffffffff81000050 T __ksymtab_nor_this\nbad line\n\n"
        .to_vec()
}

/// As [`system_map`], for the other option.
pub(crate) fn symvers() -> Vec<u8> {
    let line = |name: &str, owner: &str| format!("0x{:08x}\t{name}\t{owner}\tEXPORT_SYMBOL\n", crc_of(name));
    let text = line("printk", "vmlinux")
        + &line("module_layout", "vmlinux")
        + &line("alpha_fn", "kernel/a/alpha")
        + "short line\n";
    text.into_bytes()
}
