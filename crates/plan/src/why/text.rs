//! Paths, hindrances and effects in words.

use std::fmt;

use super::effect::{Directive, Door, Effect, Force};
use super::facts::Reader;
use super::hindrance::{Absence, Condition, Hindrance};
use super::path::{Note, Way};

/// How many names of a list are told.
const FEW: usize = 4;

/// The first names of a list, and how many more there are.
fn few(names: &[String]) -> String {
    let shown = names.iter().take(FEW).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(FEW);
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Name { name } => write!(f, "modprobe {name}"),
            Way::File { .. } => f.write_str("insmod FILE"),
            Way::Device { device, .. } if device.is_empty() => f.write_str("a device"),
            Way::Device { device, .. } => {
                write!(f, "device {}", device.rsplit('/').next().unwrap_or(device))
            }
            Way::Request { group, aliases } => match aliases.as_slice() {
                [alias] => write!(f, "request {alias}"),
                _ => write!(f, "request {}", group.pattern),
            },
            Way::Alias { pattern } => write!(f, "modprobe {pattern}"),
            Way::List { reader: Reader::ModulesLoad, .. } => f.write_str("modules-load.d"),
            Way::List { reader: Reader::InitScript, .. } => f.write_str("/etc/modules"),
            Way::CommandLine { key, .. } => write!(f, "{key}="),
            Way::Softdep { module, before, .. } => {
                write!(f, "softdep {} {module}", if *before { "before" } else { "after" })
            }
            Way::Weakdep { module } => write!(f, "weakdep of {module}"),
            Way::Dependency { total, direct } => match (total, direct.as_slice()) {
                (1, [user]) => write!(f, "needed by {user}"),
                (1, _) => f.write_str("needed by 1 module"),
                _ => write!(f, "needed by {total} modules"),
            },
            Way::Command { module } => write!(f, "install line of {module}"),
            Way::Initramfs { .. } => f.write_str("initramfs"),
            Way::Node { node, .. } => write!(f, "opening {node}"),
        }
    }
}

impl Way {
    /// What there is to say of the path itself, besides where it comes from; empty when that is nothing.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Way::Name { .. } | Way::Alias { .. } | Way::Command { .. } | Way::Weakdep { .. } => String::new(),
            Way::File { file } => file.clone(),
            Way::Device { device, .. } if device.is_empty() => String::new(),
            Way::Device { device, modalias, pattern, driver } => {
                let driver = driver.as_ref().map(|driver| format!("; its driver is {driver}")).unwrap_or_default();
                format!("{device} asks for {modalias}, which {pattern} matches{driver}")
            }
            Way::Request { group, aliases } => {
                let names = if aliases.len() > 1 { format!(": {}", few(aliases)) } else { String::new() };
                format!("when {}{names}", group.when)
            }
            Way::List { reader: Reader::ModulesLoad, .. } => "at boot, by systemd-modules-load".to_owned(),
            Way::List { reader: Reader::InitScript, .. } => {
                "at boot, by Debian's init script of kmod and not by systemd".to_owned()
            }
            Way::CommandLine { reader, .. } => format!("at boot, by {reader}"),
            Way::Softdep { name, .. } => format!("as {name}"),
            Way::Dependency { direct, .. } if direct.is_empty() => String::new(),
            Way::Dependency { direct, .. } => format!("directly by {}", few(direct)),
            Way::Initramfs { file, member, asked_by } => {
                let asked = if asked_by.is_empty() { String::new() } else { format!(", for {}", few(asked_by)) };
                match member {
                    Some(member) => format!("{member} in {file}{asked}"),
                    None => file.clone(),
                }
            }
            Way::Node { alias, .. } => format!("the kernel then asks for {alias}"),
        }
    }
}

/// ` (and fails)`, as far as it is known.
fn failing(fails: Option<bool>) -> &'static str {
    match fails {
        Some(true) => ", and fails",
        Some(false) => ", and says that all is well",
        None => "",
    }
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hindrance::Blacklist { origin } => write!(f, "blacklisted: {origin}"),
            Hindrance::Install { origin, fails } => {
                write!(f, "a command is run instead, which loads nothing{}: {origin}", failing(*fails))
            }
            Hindrance::UntrustedInstall { origin } => {
                write!(f, "a command would be run instead, but everybody may write to its file: {origin}")
            }
            Hindrance::Masked { origin } => write!(f, "masked: {origin}"),
            Hindrance::NotAllowed { origin } => write!(f, "no `allow` line names it; the first is {origin}"),
            Hindrance::Taken { name, modules, origin } => {
                write!(f, "{name} stands for {}", few(modules))?;
                origin.iter().try_for_each(|origin| write!(f, ": {origin}"))
            }
            Hindrance::NotIndexed { name, folder } => {
                write!(f, "{name} is nothing that the indexes in {folder} know: run depmod")
            }
            Hindrance::NoFile { folder } => write!(f, "there is no such module in {folder}"),
            Hindrance::DependencyMissing { module, file } => {
                write!(f, "{module} needs {file}, which is not there")
            }
            Hindrance::Needs { module, hindrance } => write!(f, "needs {module}, which is blocked: {hindrance}"),
            Hindrance::For { module, hindrance } => write!(f, "{module} is blocked itself: {hindrance}"),
            Hindrance::NoModprobe { origin } => write!(f, "the kernel calls no modprobe: {origin}"),
            Hindrance::DriverBlacklist { origin } => write!(f, "dracut is told not to load it: {origin}"),
            Hindrance::LineIsNoName { rest } => {
                write!(f, "systemd takes the whole line for a name, with `{rest}`; parameters belong into modprobe.d")
            }
            Hindrance::Kernel { reason } => {
                let text = reason.to_string();
                write!(f, "the kernel refuses the file: {}", text.lines().next().unwrap_or_default())
            }
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Command { module, origin } => {
                write!(f, "a command is run instead of loading {module}, and decides: {origin}")
            }
            Condition::After { modules } => write!(f, "after {}", few(modules)),
            Condition::StaleInitramfs { origin } => {
                write!(f, "the initramfs is older than {origin}: make it anew")
            }
            Condition::Allowed { origin } => write!(f, "allowed: {origin}"),
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absence::NoDevice { aliases, devices: Some(devices) } => {
                write!(f, "none of {devices} devices here has one of its {aliases} aliases")
            }
            Absence::NoDevice { aliases, devices: None } => {
                write!(f, "it has {aliases} aliases of devices; which devices there are is not known")
            }
            Absence::NoInitramfs { looked } => write!(f, "there is no initramfs (looked for {})", few(looked)),
            Absence::UnreadableInitramfs { problem } => write!(f, "cannot be read: {problem}"),
            Absence::NotInInitramfs => f.write_str("not in it"),
            Absence::NothingAsks => f.write_str("in it, and nothing known there asks for it"),
            Absence::Weakdep => f.write_str("copied into an initramfs with it, and never loaded for it"),
            Absence::NoParent => f.write_str("that module is not there"),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::BadLine { file, line, text, reason } => {
                write!(f, "`{}` ({file}:{line}) does not count: {reason}", text.trim())
            }
            Note::OtherFile { file } => write!(f, "modprobe would load another file by this name: {file}"),
            Note::Index { file, problem } => write!(f, "{file}: {problem}; run depmod"),
        }
    }
}

fn doors(doors: &[Door]) -> String {
    doors.iter().map(|door| door.text()).collect::<Vec<_>>().join(", ")
}

impl Effect {
    /// What it stops, and what it does not, a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match &self.force {
            Force::Yes => {}
            Force::Earlier { line } => return vec![format!("does not count: {line} comes before it")],
            Force::Softdeps { line } => {
                return vec![format!(
                    "does not count: a module with soft dependencies has its install line ignored ({line})"
                )];
            }
            Force::Untrusted => {
                lines.push(
                    "everybody may write to its file: this modprobe does not run the command (kmod's does)".to_owned(),
                );
            }
        }
        let stops = match self.directive {
            Directive::InstallCommand => "runs its command instead for",
            _ => "stops",
        };
        lines.push(format!("{stops}: {}", doors(self.stops)));
        lines.push(format!("does not stop: {}", doors(self.passes)));
        lines
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.origin)?;
        self.lines().iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}
