//! The world the invocations run in, made anew whenever one of them changed it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::case::{Case, world_time, write_new};
use crate::made::{self, Entry};
use crate::syslog::Syslog;

/// Folders of configuration, by falling precedence.
pub(crate) const CONFIGURATION: [&str; 5] = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"];

/// Everything that is remade between invocations.
pub(crate) struct World {
    pub(crate) stage: PathBuf,
    /// The release of the running kernel.
    pub(crate) running: String,
    /// The release of the real tree, where there is one.
    pub(crate) debian: Option<String>,
    /// The system's log.
    pub(crate) log: Syslog,
    /// What stands in the watched folders, in the order in which it is made.
    template: Vec<(PathBuf, Entry)>,
    /// The same by path: the position in `template`.
    places: BTreeMap<PathBuf, usize>,
    /// Whether the watched folders may differ from the template.
    tree_dirty: bool,
    /// Whether the configuration, `/proc` and `/sys` may differ from what they begin with.
    system_dirty: bool,
}

impl World {
    pub(crate) fn new(stage: PathBuf) -> Self {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let debian = fs::read_dir(stage.join("debian/lib/modules")).ok();
        let debian = debian.and_then(|mut found| found.next()?.ok()?.file_name().into_string().ok());
        let mut world = Self {
            stage,
            running: release.trim().to_owned(),
            debian,
            log: Syslog::start(),
            template: Vec::new(),
            places: BTreeMap::new(),
            tree_dirty: true,
            system_dirty: true,
        };
        let made = world.made();
        let mut template: Vec<(PathBuf, Entry)> =
            made::entries().into_iter().map(|(path, entry)| (made.join(OsStr::from_bytes(&path)), entry)).collect();
        let work = world.stage.join("work");
        template.extend(work_files().into_iter().map(|(name, content)| (work.join(name), Entry::File(content))));
        template.push((work.join("link_to_made"), Entry::Link("../made")));
        template.push((world.stage.join("out"), Entry::Folder));
        world.extend(template);
        world
    }

    /// Adds to what every invocation finds.
    pub(crate) fn extend(&mut self, entries: Vec<(PathBuf, Entry)>) {
        for (path, entry) in entries {
            for parent in path.ancestors().skip(1).take_while(|parent| parent.starts_with(&self.stage)) {
                self.places.entry(parent.to_owned()).or_insert(usize::MAX);
            }
            self.places.insert(path.clone(), self.template.len());
            self.template.push((path, entry));
        }
        self.tree_dirty = true;
    }

    /// The made tree's folder of modules.
    pub(crate) fn made(&self) -> PathBuf {
        self.stage.join("made/lib/modules").join(made::RELEASE)
    }

    /// The root of the made tree.
    pub(crate) fn made_root(&self) -> String {
        self.stage.join("made").display().to_string()
    }

    /// Where writing invocations may write.
    pub(crate) fn watched(&self) -> [PathBuf; 3] {
        ["made", "out", "work"].map(|folder| self.stage.join(folder))
    }

    /// Makes the world as the case wants it, anew for each side that runs in it.
    pub(crate) fn prepare(&mut self, case: &Case) {
        self.restore();
        for edit in &case.edits {
            edit.apply();
            if edit.path().starts_with(&self.stage) {
                self.tree_dirty = true;
            } else {
                self.system_dirty = true;
            }
        }
        self.tree_dirty |= case.writes;
    }

    /// Undoes what edits and invocations changed.
    ///
    /// Files that were only rewritten keep their place in their folder, since kmod's answers can
    /// depend on the order in which a folder lists its files.
    pub(crate) fn restore(&mut self) {
        if std::mem::take(&mut self.tree_dirty) {
            let mut there = vec![false; self.template.len()];
            for root in self.watched() {
                self.sweep(&root, &mut there);
            }
            for (at, (path, entry)) in self.template.iter().enumerate() {
                if !there[at] {
                    put(path, entry).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                }
            }
        }
        if std::mem::take(&mut self.system_dirty) {
            self.remake_system().unwrap_or_else(|error| panic!("the system cannot be made: {error}"));
        }
    }

    /// Removes what the template does not have, and notes what it has and is there unchanged.
    fn sweep(&self, folder: &Path, there: &mut [bool]) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            let place = self.places.get(&path).copied();
            match place.map(|place| (place, self.template.get(place).map(|(_, entry)| entry))) {
                Some((_, None)) if metadata.is_dir() => self.sweep(&path, there),
                Some((place, Some(Entry::Folder))) if metadata.is_dir() => {
                    self.sweep(&path, there);
                    there[place] = true;
                }
                Some((place, Some(Entry::Link(target)))) if metadata.is_symlink() => {
                    there[place] = fs::read_link(&path).is_ok_and(|found| found == Path::new(target));
                }
                Some((place, Some(Entry::File(content)))) if metadata.is_file() => {
                    there[place] = metadata.len() == content.len() as u64
                        && metadata.modified().is_ok_and(|time| time == world_time())
                        && metadata.permissions().mode() & 0o7777 == 0o644
                        && fs::read(&path).is_ok_and(|found| found == *content);
                }
                _ if metadata.is_dir() => {
                    let _ = fs::remove_dir_all(&path);
                }
                _ => {
                    let _ = fs::remove_file(&path);
                }
            }
        }
    }

    fn remake_system(&self) -> std::io::Result<()> {
        for root in CONFIGURATION {
            for folder in ["modprobe.d", "depmod.d"] {
                let folder = Path::new(root).join(folder);
                empty(&folder);
                if root != "/usr/lib" && root != "/lib" {
                    let _ = fs::create_dir_all(&folder);
                }
            }
        }
        empty(Path::new("/sys/module"));
        let running = self.stage.join("running");
        empty(&running);
        symlink(self.made(), running.join(&self.running))?;
        for (path, text) in CONFIG {
            write_new(Path::new(path), text.as_bytes())?;
        }
        write_new(Path::new("/proc/cmdline"), CMDLINE.as_bytes())?;
        write_new(Path::new("/proc/modules"), MODULES.as_bytes())?;
        for (name, state, references, holders) in LOADED {
            let folder = Path::new("/sys/module").join(name);
            write_new(&folder.join("initstate"), format!("{state}\n").as_bytes())?;
            write_new(&folder.join("refcnt"), format!("{references}\n").as_bytes())?;
            write_new(&folder.join("coresize"), b"16384\n")?;
            fs::create_dir_all(folder.join("holders"))?;
            for holder in *holders {
                symlink(format!("../../{holder}"), folder.join("holders").join(holder))?;
            }
        }
        for builtin in ["builtin_one", "builtin_two"] {
            fs::create_dir_all(Path::new("/sys/module").join(builtin).join("parameters"))?;
        }
        Ok(())
    }
}

/// Makes the entry; whatever stands there already is of the same kind or in the way.
fn put(path: &Path, entry: &Entry) -> std::io::Result<()> {
    if let Some(parent) = path.parent()
        && !parent.is_dir()
    {
        let _ = fs::remove_file(parent);
        fs::create_dir_all(parent)?;
    }
    match entry {
        Entry::File(content) => {
            if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
                let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
            }
            write_new(path, content)
        }
        Entry::Link(target) => {
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
            symlink(target, path)
        }
        Entry::Folder => {
            let _ = fs::remove_file(path);
            fs::create_dir_all(path)
        }
    }
}

/// Files of the folder `work`.
fn work_files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("System.map", made::system_map()),
        ("Module.symvers", made::symvers()),
        ("one.conf", b"alias from-file alpha\noptions delta from=file\n".to_vec()),
        ("conf.d/a.conf", b"alias from-folder eps\nblacklist notblacked\n".to_vec()),
        ("conf.d/b.notconf", b"alias never alpha\n".to_vec()),
        ("depmod.one", b"search extra updates built-in\n".to_vec()),
        ("depmod.d/x.conf", b"override dup * extra\n".to_vec()),
        ("alone.ko", made::plain(&["alone_fn"], &["alpha_fn"])),
        ("text.ko", b"no module\n".to_vec()),
        ("alpha", b"not the module of this name\n".to_vec()),
    ]
}

/// Removes what is in the folder.
fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let _ = if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

/// The configuration that is there when no case changes it.
const CONFIG: &[(&str, &str)] = &[
    (
        "/etc/modprobe.d/10-made.conf",
        "# comment\n\
         alias conf-alias alpha\n\
         alias conf-alias beta_dash\n\
         alias wild-* gamma-under\n\
         alias cls-[ab]-* eps\n\
         alias to-missing nosuchmodule\n\
         options alpha x=1 y=two\n\
         options alpha x=2\n\
         options conf-alias y=byalias\n\
         options with_space quoted=\"a b\"\n\
         blacklist blacked\n\
         blacklist eps\n\
         install installed echo INSTALL $CMDLINE_OPTS ; true\n\
         install failing exit 3\n\
         install nomodule echo no module $CMDLINE_OPTS\n\
         remove installed echo REMOVE\n\
         softdep tree_top pre: alpha omega post: zeta\n\
         softdep twice_user pre: nosuch\n",
    ),
    (
        "/run/modprobe.d/20-run.conf",
        "options delta a=1 \\\n   b=2\n\tweakdep   zeta alpha\tdelta\n\ninstall inst_alias_* echo wild\nremove delta echo removing delta\n",
    ),
    ("/usr/local/lib/modprobe.d/10-made.conf", "alias shadowed alpha\n"),
    ("/usr/local/lib/modprobe.d/30-local.conf", "alias from-local zeta\nsoftdep zeta pre: eps\n"),
];

/// The kernel's command line when no case changes it.
const CMDLINE: &str = "root=/dev/sda1 ro quiet alpha.z=3 beta-dash.opt beta_dash.val=a,b modprobe.blacklist=nothere,zeta a.b.c=1 .x=2 y.=3\n";

/// `/proc/modules` when no case changes it.
const MODULES: &str = "\
delta 16384 0 - Live 0x0000000000000000
gamma_under 16384 1 delta, Live 0x0000000000000000
beta_dash 20480 1 gamma_under, Live 0x0000000000000000
alpha 24576 3 delta,beta_dash, Live 0x0000000000000000 (O)
idle 1234567890 0 - Live 0x0000000000000000
pinned 16384 2 [permanent], Live 0x0000000000000000
a_very_long_module_name_indeed 16384 -1 - Loading 0x0000000000000000
leaving 16384 0 - Unloading 0x0000000000000000
eps 16384 0 - Live 0x0000000000000000
";

/// What `/sys/module` says of them: name, state, references, holders.
const LOADED: &[(&str, &str, i32, &[&str])] = &[
    ("delta", "live", 0, &[]),
    ("gamma_under", "live", 1, &["delta"]),
    ("beta_dash", "live", 1, &["gamma_under"]),
    ("alpha", "live", 3, &["delta", "beta_dash"]),
    ("idle", "live", 0, &[]),
    ("pinned", "live", 2, &[]),
    ("a_very_long_module_name_indeed", "coming", -1, &[]),
    ("leaving", "going", 0, &[]),
    ("eps", "live", 0, &[]),
];
