//! What is in the guest: modules with all that they need, and one set of tools.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ferrmod_image::Image;
use ferrmod_image::compress::decompress;
use ferrmod_tests::corpus::{self, Tree};

/// Module files are not larger, unpacked.
const LIMIT: usize = 1 << 27;

/// The names of the tools, each a link to the one binary.
pub(crate) const NAMES: [&str; 6] = ["insmod", "rmmod", "lsmod", "modinfo", "modprobe", "depmod"];

/// The guest's root file system, in the making.
pub(crate) struct Root {
    folder: PathBuf,
    release: String,
}

impl Root {
    /// An empty one, as Debian lays it out.
    pub(crate) fn new(folder: PathBuf, release: &str) -> Self {
        let _ = fs::remove_dir_all(&folder);
        for name in ["usr/bin", "usr/sbin", "usr/lib/modules", "usr/lib64", "etc/modprobe.d", "t", "dev"] {
            fs::create_dir_all(folder.join(name)).expect("a folder can be made");
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), folder.join(name)).expect("a link can be made");
        }
        Self { folder, release: release.to_owned() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the modules are.
    fn modules(&self) -> PathBuf {
        self.folder.join("usr/lib/modules").join(&self.release)
    }

    /// Puts a file there.
    pub(crate) fn file(&self, path: &str, content: &[u8]) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
        fs::write(path, content).expect("a file can be written");
    }

    pub(crate) fn program(&self, path: &str, from: &Path) {
        self.file(path, &fs::read(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())));
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.folder.join(path), executable).expect("a mode can be set");
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        symlink(target, self.folder.join(path)).expect("a link can be made");
    }

    /// Puts the modules of these names there with all that they depend on, hard or soft, and what kbuild lists of the tree.
    pub(crate) fn add_modules(&self, tree: &Tree, names: &[&str]) {
        let to = self.modules();
        for list in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
            fs::create_dir_all(&to).expect("a folder can be made");
            fs::copy(tree.modules.join(list), to.join(list)).expect("a list can be copied");
        }
        let files = tree.files();
        let find = |name: &str| files.iter().find(|path| corpus::module_name(path).as_deref() == Some(name));
        let mut wanted: Vec<String> = names.iter().map(|name| name.replace('-', "_")).collect();
        let mut done = BTreeSet::new();
        while let Some(name) = wanted.pop() {
            if !done.insert(name.clone()) {
                continue;
            }
            // Names that kernels differ in, or that are built in, and aliases of soft dependencies.
            let Some(path) = find(&name) else {
                continue;
            };
            let file = fs::read(path).expect("a module can be read");
            let unpacked = decompress(&file, LIMIT).expect("a module of the tree can be unpacked");
            let image = Image::read(&unpacked).expect("a module of the tree is one");
            wanted.extend(image.depends().map(|name| name.to_string().replace('-', "_")));
            wanted.extend(image.softdeps().map(|softdep| softdep.name.to_string().replace('-', "_")));
            let inside = path.strip_prefix(&tree.modules).expect("a module is in its tree");
            let path = to.join(inside);
            fs::create_dir_all(path.parent().expect("a module is in a folder")).expect("a folder can be made");
            fs::write(path, file).expect("a module can be written");
        }
    }

    /// Puts modules there that are wrong in one way each, made from one of the tree; they are not signed.
    pub(crate) fn add_made_modules(&self, tree: &Tree) {
        let signed = unpacked(tree, "nls_ascii");
        let image = Image::read(&signed).expect("a module of the tree is one");
        let mut flipped = signed.clone();
        let middle = image
            .any_section(".rodata")
            .map_or(signed.len() / 3, |(_, section)| section.data.as_ptr() as usize - signed.as_ptr() as usize + 5);
        flipped[middle] ^= 1;
        let end = match image.signature() {
            Ok(Some(signature)) => signed.len() - signature.trailer,
            other => panic!("Debian signs its modules: {other:?}"),
        };
        let plain = &signed[..end];
        let extra = |name: &str, content: &[u8]| {
            self.file(&format!("usr/lib/modules/{}/extra/{name}", self.release), content);
        };
        extra("bad_magic.ko", &vermagic_changed(&renamed(plain, "bad_magic")));
        extra("bad_crcs0.ko", &crc_changed(&renamed(plain, "bad_crcs0")));
        extra("bad_both0.ko", &vermagic_changed(&crc_changed(&renamed(plain, "bad_both0"))));
        extra("unsigned0.ko", &renamed(plain, "unsigned0"));
        let packed = |name: &str, ending: &str, content: Vec<u8>| {
            // What cannot be made is missing in both guests.
            let (program, arguments): (_, &[&str]) = match ending {
                "xz" => ("xz", &["--check=crc32", "--lzma2=dict=1MiB"]),
                // kmod wants to know the size beforehand.
                _ => ("zstd", &["--quiet", &format!("--stream-size={}", content.len())]),
            };
            if let Some(packed) = compressed(program, arguments, &content) {
                extra(&format!("{name}.ko.{ending}"), &packed);
            }
        };
        packed("in_xz___0", "xz", renamed(plain, "in_xz___0"));
        packed("in_zstd_0", "zst", renamed(plain, "in_zstd_0"));
        packed("magic__xz", "xz", vermagic_changed(&renamed(plain, "magic__xz")));
        packed("magic_zst", "zst", vermagic_changed(&renamed(plain, "magic_zst")));
        packed("magic_zs2", "zst", crc_changed(&renamed(plain, "magic_zs2")));
        self.file("t/flipped.ko", &flipped);
        self.file("t/short.ko", &signed[..signed.len() / 2]);
        self.file("t/empty.ko", b"");
        self.file("t/text.ko", b"This is no module.\n");
        self.file("t/crc.ko", &crc_changed(plain));
        self.file("t/magic.ko", &vermagic_changed(plain));
        self.file("t/unsigned.ko", plain);
    }

    /// Puts our own modules in C there.
    pub(crate) fn add_own_modules(&self, names: &[&str]) {
        for name in names {
            let Some(path) = corpus::own_module_or_skip(name) else {
                continue;
            };
            let content = fs::read(path).expect("a module can be read");
            self.file(&format!("usr/lib/modules/{}/extra/{name}.ko", self.release), &content);
        }
    }
}

/// The bytes of a module of the tree.
pub(crate) fn unpacked(tree: &Tree, name: &str) -> Vec<u8> {
    let file = tree.file(name).unwrap_or_else(|| panic!("the tree has no {name}"));
    let file = fs::read(file).expect("a module can be read");
    decompress(&file, LIMIT).expect("a module can be unpacked").into_owned()
}

/// What a compressor makes of it, if there is that compressor.
pub(crate) fn compressed(program: &str, arguments: &[&str], content: &[u8]) -> Option<Vec<u8>> {
    let mut command = Command::new(program);
    let mut child = command.args(arguments).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let mut input = child.stdin.take()?;
    let content = content.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&content));
    let output = child.wait_with_output().expect("a compressor ends");
    writer.join().expect("the writer does not panic").expect("a compressor reads");
    assert!(output.status.success(), "{command:?}");
    Some(output.stdout)
}

fn positions<'a>(content: &'a [u8], what: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    content.windows(what.len()).enumerate().filter(move |(_, window)| *window == what).map(|(at, _)| at)
}

/// The module with another name of the same length, in its `struct module` and its `.modinfo`.
pub(crate) fn renamed(module: &[u8], to: &str) -> Vec<u8> {
    const FROM: &[u8] = b"nls_ascii\0";
    let mut out = module.to_vec();
    for at in positions(module, FROM) {
        out[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    out
}

/// The module with a version magic that no kernel has: `preempt` is misspelt.
pub(crate) fn vermagic_changed(module: &[u8]) -> Vec<u8> {
    let mut out = module.to_vec();
    let at = positions(module, b"vermagic=").next().expect("a module has a version magic");
    let word = at + positions(&module[at..], b" preempt ").next().expect("Debian's kernels are preemptible");
    out[word + 1] = b'q';
    out
}

/// The module with another CRC of `module_layout`.
pub(crate) fn crc_changed(module: &[u8]) -> Vec<u8> {
    let mut out = module.to_vec();
    // __versions: a u64 and a name of 56 bytes; the name is somewhere else as well, in the string table.
    let mut name = [0; 56];
    name[..13].copy_from_slice(b"module_layout");
    let at = positions(module, &name).next().expect("a module has the CRC of module_layout");
    out[at - 8] ^= 1;
    out
}
