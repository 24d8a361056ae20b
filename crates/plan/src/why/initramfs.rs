//! What happens before the root file system is there.

use bstr::{BStr, ByteSlice};
use ferrmod_config::Entry;

use super::facts::InitramfsContents;
use super::hindrance::{Absence, Condition, Hindrance};
use super::origin;
use super::path::{Path, Way};
use super::probe::Outcome;
use super::walk::{Known, Subjects};
use crate::check::Origin;

/// The first line in the files of an initramfs that `of` finds.
fn first<'c>(
    contents: &'c InitramfsContents,
    of: impl Fn(&'c ferrmod_config::Config) -> Option<Entry<'c>>,
) -> Option<Entry<'c>> {
    contents.configs.iter().find_map(of)
}

/// The paths through an initramfs: one for each way in which it is asked for there.
pub(super) fn paths(known: &Known<'_, '_>, subject: &Subjects<'_>, contents: &InitramfsContents) -> Vec<Path> {
    let name = BStr::new(subject.name);
    let way = |asked_by: Vec<String>| Way::Initramfs {
        file: contents.file.clone(),
        member: contents.modules.get(&subject.text()).cloned(),
        asked_by,
    };
    if !contents.modules.contains_key(&subject.text()) {
        return vec![Path::absent(way(Vec::new()), Absence::NotInInitramfs)];
    }
    let mut paths = Vec::new();
    let mut asked = false;

    let install = first(contents, |config| config.install(name)).filter(|_| {
        // As everywhere: a module with soft dependencies has no `install` line.
        first(contents, |config| config.softdeps(name).next()).is_none()
    });
    let mut always = Outcome::default();
    if let Some(entry) = &install
        && let super::command::Command::Nothing { fails } = super::command::classify(entry.value)
    {
        always.hindrances.push(Hindrance::Install { origin: origin(entry), fails });
    }
    let stale = |of: fn(&ferrmod_config::Config, &[u8]) -> bool, line: Option<Entry<'_>>| {
        let line = line.filter(|line| matches!(line.origin.place, ferrmod_config::Place::File(_)))?;
        let there = contents.configs.iter().any(|config| of(config, name));
        (!there).then(|| Condition::StaleInitramfs { origin: origin(&line) })
    };
    let stale_install = stale(|config, name| config.install(name).is_some(), known.facts.modules.install_command(name));
    let stale_blacklist =
        stale(|config, name| config.blacklist(name).is_some(), known.facts.modules.config.blacklist(name));
    always.conditions.extend(stale_install);

    // Lists, and dracut's words on the command line: modprobe NAME.
    for line in contents.lists.iter().filter(|line| subject.is_named(known, BStr::new(&line.name))) {
        asked = true;
        let source = line.file.display().to_string();
        let by = Origin { source, line: usize::try_from(line.line).ok(), text: line.name.to_string() };
        paths.push(known.path(way(vec!["a list".to_owned()]), Some(by), true, always.clone()));
    }

    // udev: aliases.
    let devices: Vec<String> = subject.devices.iter().map(|(device, _)| device.path.clone()).collect();
    if contents.udev && !devices.is_empty() {
        asked = true;
        let mut outcome = always.clone();
        if let Some(entry) = first(contents, |config| config.blacklist(name)) {
            outcome.hindrances.push(Hindrance::Blacklist { origin: origin(&entry) });
        } else if let Some(entry) = known.facts.modules.config.blacklist(name)
            && entry.origin.place == ferrmod_config::Place::CommandLine
        {
            outcome.hindrances.push(Hindrance::Blacklist { origin: origin(&entry) });
        }
        if let Some(origin) = known.driver_blacklist(subject) {
            outcome.hindrances.push(Hindrance::DriverBlacklist { origin });
        }
        outcome.conditions.extend(stale_blacklist);
        paths.push(known.path(way(devices), None, true, outcome));
    }

    // Other modules in it that need this one.
    let users: Vec<String> =
        subject.dependents.iter().filter(|user| contents.modules.contains_key(*user)).cloned().collect();
    if !users.is_empty() {
        asked = true;
        paths.push(known.path(way(users), None, true, always));
    }
    if !asked {
        paths.push(Path::absent(way(Vec::new()), Absence::NothingAsks));
    }
    paths
}

/// The name in one of the words of an initramfs's lists, for look-ups.
pub(super) fn normal(name: &BStr) -> Vec<u8> {
    name.replace("-", "_")
}
