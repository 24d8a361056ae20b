//! A kernel that is only a tree of files is read like the running one, and never told anything.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use ferrmod_linux::{Compression, Errno, InitState, Kernel, LoadFlags, Lockdown, LogStart, Problem, Roots, State};
use ferrmod_linux::{Section, UnloadFlags};

/// A made tree, gone when it is dropped.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("recorded-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn kernel(&self) -> Kernel {
        let root = |name| self.0.join(name);
        Kernel::recorded(Roots { proc: root("proc"), sys: root("sys"), dev: root("dev") })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_recorded_kernel_is_not_told_anything() {
    let kernel = Tree::new("told").kernel();
    let none = c"";
    let file = fs::File::open("/dev/null").unwrap();
    assert_eq!(kernel.load(&file, none, LoadFlags::empty()), Err(Errno::NOSYS));
    assert_eq!(kernel.load_image(b"", none), Err(Errno::NOSYS));
    assert_eq!(kernel.unload(c"ext4", UnloadFlags::NONBLOCK), Err(Errno::NOSYS));
    let mut asked = None;
    let result = kernel.load_or_unpack(&file, none, LoadFlags::all(), |flags| {
        asked = Some(flags);
        Ok::<_, Errno>(Vec::new())
    });
    assert_eq!(result, Err(Errno::NOSYS));
    assert_eq!(asked, Some(LoadFlags::IGNORE_MODVERSIONS | LoadFlags::IGNORE_VERMAGIC));
}

#[test]
fn the_folder_of_a_module() {
    let tree = Tree::new("sysfs");
    tree.file("sys/module/slow/initstate", "live\n")
        .file("sys/module/slow/refcnt", "2\n")
        .file("sys/module/slow/coresize", "16384\n")
        .file("sys/module/slow/initsize", "0\n")
        .file("sys/module/slow/taint", "OE\n")
        .file("sys/module/slow/sections/.text", "0xffffffffc0201000\n")
        .file("sys/module/slow/parameters/ms", "1700\n")
        .file("sys/module/useslow/initstate", "coming\n")
        .file("sys/module/kernel/parameters/panic", "0\n")
        .file("sys/module/odd/initstate", "sleeping\n")
        .file("sys/module/odd/refcnt", "many\n")
        .file("sys/module/compression", "xz\n");
    fs::create_dir_all(tree.0.join("sys/module/slow/holders")).unwrap();
    symlink("../../useslow", tree.0.join("sys/module/slow/holders/useslow")).unwrap();
    let kernel = tree.kernel();

    let slow = kernel.module("slow").unwrap();
    assert_eq!(slow.state(), Ok(State::Module(InitState::Live)));
    assert_eq!((slow.references(), slow.core_size(), slow.init_size()), (Ok(2), Ok(16384), Ok(0)));
    assert_eq!(slow.taints().unwrap(), "OE");
    assert_eq!(slow.holders().unwrap(), ["useslow"]);
    assert_eq!(slow.sections().unwrap(), [Section { name: ".text".into(), address: Some(0xffff_ffff_c020_1000) }]);
    let parameters = slow.parameters().unwrap();
    assert_eq!(
        (parameters.len(), &parameters[0].name, parameters[0].value.as_ref()),
        (1, &"ms".into(), Some(&"1700".into()))
    );
    assert!(slow.version().unwrap_err().is_not_found());

    assert_eq!(kernel.module("useslow").unwrap().state(), Ok(State::Module(InitState::Coming)));
    assert_eq!(kernel.module("kernel").unwrap().state(), Ok(State::Folder));
    assert_eq!(kernel.module("nosuch").unwrap().state(), Ok(State::Absent));
    assert!(kernel.module("nosuch").unwrap().parameters().unwrap().is_empty());
    // A file beside the modules' folders is no module.
    assert_eq!(kernel.module("compression").unwrap().state(), Ok(State::Absent));

    let odd = kernel.module("odd").unwrap();
    assert_eq!(odd.state().unwrap_err().problem, Problem::NotA("a state"));
    assert!(odd.references().unwrap_err().to_string().ends_with("sys/module/odd/refcnt: not a number"));
}

#[test]
fn a_name_does_not_lead_out_of_the_folder() {
    let kernel = Tree::new("names").kernel();
    for name in ["", ".", "..", "../../etc", "a/b", "/", "a\0b"] {
        assert_eq!(kernel.module(name).unwrap_err().problem, Problem::Name, "{name:?}");
    }
    assert!(kernel.module(b"\xff name").is_ok());
}

#[test]
fn what_a_kernel_permits() {
    let tree = Tree::new("policy");
    let kernel = tree.kernel();
    assert_eq!((kernel.compression(), kernel.lockdown(), kernel.signature_enforced()), (None, None, None));
    assert!(kernel.modules_disabled().unwrap_err().is_not_found());
    tree.file("sys/module/compression", "zstd\n")
        .file("sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
        .file("sys/module/module/parameters/sig_enforce", "N\n")
        .file("proc/sys/kernel/modules_disabled", "1\n")
        .file("proc/sys/kernel/tainted", "12288\n")
        .file("proc/sys/kernel/modprobe", "/sbin/modprobe\n")
        .file("proc/cmdline", "quiet  a.b=\"c d\"\n");
    assert_eq!(kernel.compression(), Some(Compression::Zstd));
    assert_eq!(kernel.lockdown(), Some(Lockdown::Integrity));
    assert_eq!(kernel.signature_enforced(), Some(false));
    assert_eq!((kernel.modules_disabled(), kernel.taints()), (Ok(true), Ok(12288)));
    assert_eq!(kernel.modprobe().unwrap(), "/sbin/modprobe");
    assert_eq!(kernel.command_line().unwrap(), "quiet  a.b=\"c d\"");
}

#[test]
fn the_list_of_modules() {
    let tree = Tree::new("modules");
    let kernel = tree.kernel();
    assert!(kernel.modules().unwrap_err().is_not_found());
    tree.file("proc/modules", "b 8192 0 - Live 0x0\nbroken\na 4096 1 b, Live 0x0 (E)\n");
    let modules = kernel.modules().unwrap();
    assert_eq!(modules.iter().count(), 3);
    assert_eq!(modules.get("a").unwrap().size, 4096);
    assert!(modules.get("broken").is_none());
    let error = modules.all(&kernel).unwrap_err().to_string();
    assert!(error.ends_with("proc/modules: line 2, byte 6: no size"), "{error}");
}

#[test]
fn a_file_without_an_end_is_refused() {
    let tree = Tree::new("limit");
    fs::create_dir_all(tree.0.join("proc")).unwrap();
    symlink("/dev/zero", tree.0.join("proc/cmdline")).unwrap();
    symlink("/dev/zero", tree.0.join("proc/modules")).unwrap();
    let kernel = tree.kernel();
    assert_eq!(kernel.command_line().unwrap_err().problem, Problem::TooLarge(1 << 16));
    assert!(matches!(kernel.modules().unwrap_err().problem, Problem::TooLarge(_)));
}

#[test]
fn the_log_is_said_once_from_where_one_wants() {
    let tree = Tree::new("log");
    let kernel = tree.kernel();
    assert!(kernel.log(LogStart::Now).unwrap_err().is_not_found());
    tree.file("dev/kmsg", "6,7,1,-;old\n SUBSYSTEM=x\n6,8,2,-;older than now\nnothing of the kernel\n");
    let mut all = kernel.log(LogStart::Oldest).unwrap();
    let mut now = kernel.log(LogStart::Now).unwrap();
    let mut after = kernel.log(LogStart::After(7)).unwrap();
    let sequences = |log: &mut ferrmod_linux::Log| -> Vec<u64> {
        log.read().unwrap().iter().map(|record| record.sequence).collect()
    };
    assert_eq!(sequences(&mut all), [7, 8]);
    assert_eq!(sequences(&mut now), [0_u64; 0]);
    assert_eq!(sequences(&mut after), [8]);
    let mut file = fs::OpenOptions::new().append(true).open(tree.0.join("dev/kmsg")).unwrap();
    file.write_all(b"3,9,3,-;new\n").unwrap();
    assert_eq!(sequences(&mut all), [9]);
    assert_eq!(sequences(&mut now), [9]);
    assert_eq!(sequences(&mut after), [9]);
    assert_eq!(all.gaps(), 0);
}

#[test]
fn the_running_kernel_says_who_it_is() {
    let release = fs::read("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(Kernel::release(), release.trim_ascii_end());
    assert!(!Kernel::running().command_line().unwrap().ends_with(b"\n"));
}
