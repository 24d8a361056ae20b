//! Systems in temporary folders, with the indexes of a tree of modules without content.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use bstr::BStr;
use ferrmod_config::{Config, Folders, Listed, Root, Sources};
use ferrmod_index::trie::{NodeOrder, TrieWriter};
use ferrmod_plan::check::{KernelConfig, Policy, Rules};
use ferrmod_plan::kmod::{How, Modules, Paths};
use ferrmod_plan::why::{
    Answer, Device, Facts, Initramfs, InitramfsContents, Judgement, List, Path, Reader, Subject, System, answer, nodes,
};

/// The release of the made tree.
pub(crate) const RELEASE: &str = "1.0";

/// The modules: name, and what it needs, what loads first last. `m` is what is asked about.
const MODULES: &[(&str, &[&str])] =
    &[("d", &[]), ("m", &["d"]), ("n", &["m", "d"]), ("p", &[]), ("other", &[]), ("lone", &[])];

/// Their aliases.
const ALIASES: &[(&str, &str)] =
    &[("pci:v00001234d*", "m"), ("net-pf-38", "m"), ("fs-mfs", "m"), ("fs-mfs2", "m"), ("char-major-10-77", "m")];

/// A system.
pub(crate) struct Made {
    pub(crate) folder: PathBuf,
    root: Root,
    pub(crate) config: Config,
    pub(crate) rules: Rules,
    pub(crate) system: System,
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Made {
    /// With this text in modprobe.d, and this command line.
    pub(crate) fn new(config: &str, command_line: &str) -> Made {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ferrmod-plan-why-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let tree = folder.join("lib/modules").join(RELEASE);
        fs::create_dir_all(&tree).unwrap();
        fs::create_dir_all(folder.join("etc/modprobe.d")).unwrap();
        let mut dependencies = TrieWriter::new();
        for (number, (name, needs)) in MODULES.iter().enumerate() {
            fs::write(tree.join(format!("{name}.ko")), b"no module").unwrap();
            let needs: String = needs.iter().map(|need| format!(" {need}.ko")).collect();
            let line = format!("{name}.ko:{needs}");
            dependencies.insert(name.as_bytes(), line.as_bytes(), number as u32).unwrap();
        }
        let mut aliases = TrieWriter::new();
        for (number, (pattern, module)) in ALIASES.iter().enumerate() {
            let key = pattern.replace('-', "_");
            aliases.insert(key.as_bytes(), module.as_bytes(), number as u32).unwrap();
        }
        let mut builtin = TrieWriter::new();
        builtin.insert(b"inside", b"", 0).unwrap();
        // `lone` is asked for by nothing but what it exports.
        let mut symbols = TrieWriter::new();
        for (number, symbol) in ["symbol:lone_attach", "symbol:lone_detach"].iter().enumerate() {
            symbols.insert(symbol.as_bytes(), b"lone", number as u32).unwrap();
        }
        let empty = TrieWriter::new;
        let tables = [
            ("dep", dependencies),
            ("alias", aliases),
            ("symbols", symbols),
            ("builtin", builtin),
            ("builtin.alias", empty()),
        ];
        for (name, trie) in tables {
            let bytes = trie.finish(NodeOrder::ParentFirst).unwrap();
            fs::write(tree.join(format!("modules.{name}.bin")), bytes).unwrap();
        }
        fs::write(folder.join("etc/modprobe.d/t.conf"), config).unwrap();
        let root = Root::new(&folder).unwrap();
        let inside = PathBuf::from("/lib/modules").join(RELEASE);
        let config = Config::read(&Sources {
            root: &root,
            folders: Folders::Kmod34,
            paths: None,
            tree: Some((&root, &inside)),
            command_line: Some(command_line.as_bytes()),
        });
        let mut policy = Policy::default();
        policy.command_line("/proc/cmdline", command_line);
        let system = System {
            command_line: Some(("/proc/cmdline".into(), command_line.into())),
            devices: Some(vec![device("pci:v00001234d00000001"), device("usb:v0781p5567")]),
            ..System::default()
        };
        Made { folder, root, config, rules: Rules::new(&policy, &KernelConfig::default()), system }
    }

    /// The same with everything in it by which `m` can be asked for.
    pub(crate) fn with_all_ways(config: &str, command_line: &str) -> Made {
        let config = format!("{config}\nalias mine m\nsoftdep p pre: m\nweakdep p m\ninstall other /sbin/modprobe m\n");
        let mut made = Made::new(&config, command_line);
        made.system
            .lists
            .push(List { reader: Reader::ModulesLoad, lines: vec![listed("/etc/modules-load.d/a.conf", "m")] });
        made.system.lists.push(List { reader: Reader::InitScript, lines: vec![listed("/etc/modules", "m")] });
        made.system.nodes = nodes("modules.devname", b"# a comment\nm mdev c10:77\nbad line\n");
        let contents = InitramfsContents {
            file: "/boot/initrd".into(),
            modules: [("m".to_owned(), "lib/modules/1.0/m.ko".to_owned())].into(),
            lists: vec![listed("/boot/initrd:conf/modules", "m")],
            udev: true,
            ..InitramfsContents::default()
        };
        made.system.initramfs = Initramfs::Read(Box::new(contents));
        made
    }

    /// What becomes of a module.
    pub(crate) fn answer(&self, name: &str) -> Answer {
        self.answer_of(name, |subject| subject)
    }

    /// The same, with something else known of the module itself.
    pub(crate) fn answer_of(&self, name: &str, change: impl Fn(Subject) -> Subject) -> Answer {
        let tree = self.folder.join("lib/modules").join(RELEASE);
        let paths = Paths { inside: PathBuf::from("/lib/modules").join(RELEASE), shown: tree.clone() };
        let modules = Modules::new(&self.config, &self.root, paths);
        let module = modules.named(BStr::new(name), How::Name);
        let file = tree.join(format!("{name}.ko"));
        let subject = Subject {
            file: file.is_file().then_some(file),
            judgement: Judgement::unknown(RELEASE, "no image of it".into()),
            ..Subject::default()
        };
        let facts = Facts { modules: &modules, rules: &self.rules, system: &self.system, offers: None };
        answer(facts, &module, &change(subject))
    }
}

/// A device.
pub(crate) fn device(modalias: &str) -> Device {
    Device { path: format!("/sys/devices/{modalias}"), modalias: modalias.into(), driver: None, module: None }
}

/// The first line of a list.
pub(crate) fn listed(file: &str, text: &str) -> Listed {
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    Listed { name: name.into(), rest: rest.into(), file: file.into(), line: 1 }
}

/// The one path that is told by these words.
#[track_caller]
pub(crate) fn path<'a>(answer: &'a Answer, way: &str) -> &'a Path {
    let found: Vec<&Path> = answer.paths.iter().filter(|path| path.way.to_string() == way).collect();
    let all: Vec<String> = answer.paths.iter().map(|path| path.way.to_string()).collect();
    match found.as_slice() {
        [path] => path,
        _ => panic!("{} paths `{way}` among {all:?}", found.len()),
    }
}

/// What blocks it, in words without the folder.
pub(crate) fn blocked_by(made: &Made, path: &Path) -> Vec<String> {
    let folder = made.folder.display().to_string();
    path.blocked_by.iter().map(|hindrance| hindrance.to_string().replace(&*folder, "HERE")).collect()
}
