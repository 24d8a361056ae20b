//! What is known of the system.

use std::path::Path;

use bstr::BStr;
use ferrmod_config::{Root, modules_listed, modules_load};
use ferrmod_linux::{InitState, Kernel, Lockdown, Roots, State};
use ferrmod_plan::check::{self, Origin, Policy};
use ferrmod_plan::why::{Initramfs, List, Loaded, Reader, System, nodes};

/// The kernel that runs there, if its /proc and /sys, or copies of them, are there.
pub(super) struct Running {
    kernel: Kernel,
    /// Its release, as far as it is known.
    pub(super) release: Option<String>,
}

impl Running {
    /// That of the root, which may be the host's.
    pub(super) fn of(root: &Path, is_host: bool) -> Running {
        let roots = if is_host {
            Roots::default()
        } else {
            Roots { proc: root.join("proc"), sys: root.join("sys"), dev: root.join("dev") }
        };
        let release = std::fs::read_to_string(roots.proc.join("sys/kernel/osrelease")).ok();
        let release = release.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        Running { kernel: Kernel::recorded(roots), release }
    }

    /// Its command line, and where it was read.
    pub(super) fn command_line(&self) -> Option<(String, String)> {
        let line = self.kernel.command_line().ok()?;
        Some((self.file("cmdline"), String::from_utf8_lossy(&line).into_owned()))
    }

    /// A file below its /proc.
    fn file(&self, path: &str) -> String {
        self.kernel.roots().proc.join(path).display().to_string()
    }

    /// What it says of its own rules.
    pub(super) fn add_to(&self, policy: &mut Policy) {
        let origin = |source: String, text: &str| Origin { source, line: None, text: text.to_owned() };
        if self.kernel.modules_disabled() == Ok(true) {
            let set = policy.modules_disabled.take();
            policy.modules_disabled = set.or_else(|| Some(origin(self.file("sys/kernel/modules_disabled"), "1")));
        }
        let sys = |path: &str| self.kernel.roots().sys.join(path).display().to_string();
        if self.kernel.signature_enforced() == Some(true) {
            let set = policy.sig_enforce.take();
            policy.sig_enforce = set.or_else(|| Some(origin(sys("module/module/parameters/sig_enforce"), "Y")));
        }
        let level = match self.kernel.lockdown() {
            Some(Lockdown::Integrity) => Some(check::Lockdown::Integrity),
            Some(Lockdown::Confidentiality) => Some(check::Lockdown::Confidentiality),
            Some(Lockdown::None) | None => None,
        };
        if let Some(level) = level
            && policy.lockdown.as_ref().is_none_or(|(now, _)| *now < level)
        {
            policy.lockdown = Some((level, origin(sys("kernel/security/lockdown"), &format!("[{level}]"))));
        }
    }

    /// Whether a module is loaded now.
    pub(super) fn loaded(&self, name: &BStr) -> Option<Loaded> {
        let module = self.kernel.module(name).ok()?;
        let state = match module.state().ok()? {
            State::Module(InitState::Live) => "live",
            State::Module(InitState::Coming) => "coming",
            State::Module(InitState::Going) => "going",
            // Built in, or gone.
            State::Folder | State::Absent => return None,
        };
        let mut used_by: Vec<String> = module.holders().unwrap_or_default().iter().map(ToString::to_string).collect();
        used_by.sort();
        Some(Loaded { state, references: module.references().ok(), used_by })
    }
}

/// The system in `root`, without its command line and its initramfs. `modules` is the folder of the modules in it.
pub(super) fn system(root: &Root, running: &Running, modules: &Path) -> System {
    let (lines, _) = modules_load(root);
    // In Debian modules-load.d has a link to /etc/modules.
    let has_link = root.metadata(Path::new("/etc/modules-load.d/modules.conf")).is_ok();
    let mut lists = vec![List { reader: Reader::ModulesLoad, lines }];
    if !has_link {
        lists.push(List { reader: Reader::InitScript, lines: modules_listed(root, Path::new("/etc/modules")) });
    }
    let devname = modules.join("modules.devname");
    let text = root.read(&devname).unwrap_or_default();
    let no_modprobe = running.kernel.modprobe().is_ok_and(|path| path.is_empty());
    System {
        devices: crate::devices::present(root),
        lists,
        command_line: None,
        nodes: nodes(&root.outside(&devname).display().to_string(), &text),
        initramfs: Initramfs::NotLooked,
        no_modprobe: no_modprobe.then(|| Origin {
            source: running.file("sys/kernel/modprobe"),
            line: None,
            text: "kernel.modprobe is empty".to_owned(),
        }),
    }
}
