//! From what is known to the answer.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use bstr::{BStr, BString, ByteSlice};
use ferrmod_config::{Entry, Kind};
use ferrmod_image::{fnmatch, normalise_alias};
use ferrmod_index::Offers;

use super::aliases::{Group, group, is_device_alias};
use super::effect::{Directive, Effect, Force};
use super::facts::{Device, Initramfs, Reader, Subject, System};
use super::hindrance::{Absence, Condition, Hindrance};
use super::path::{Answer, Note, Path, Verdict, Way};
use super::probe::{Outcome, Through, about, ask, is_untrusted, lines, needed, wished};
use super::{command, initramfs, origin};
use crate::check::policy::words;
use crate::check::{Origin, Reason, Rules};
use crate::kmod::{How, Module, Modules, Table, name_of_path};

/// What answers are made from.
#[derive(Clone, Copy)]
pub struct Facts<'f, 'c> {
    /// The tree's indexes and the configuration.
    pub modules: &'f Modules<'c>,
    /// What the kernel is told.
    pub rules: &'f Rules,
    /// What is known of the system.
    pub system: &'f System,
    /// What the modules of the tree say, for who needs whom; where it is not known, modules.dep tells.
    pub offers: Option<&'f Offers>,
}

/// What is the same for every path of one module.
pub(super) struct Known<'f, 'c> {
    pub(super) facts: Facts<'f, 'c>,
    /// Why the kernel would refuse the file.
    refusals: Vec<Hindrance>,
}

/// The module, and what was found about it.
pub(super) struct Subjects<'s> {
    pub(super) name: &'s BStr,
    /// The devices that are present and ask for it, each with the pattern that matches.
    pub(super) devices: Vec<(&'s Device, BString)>,
    /// The modules that need it themselves.
    pub(super) dependents: Vec<String>,
}

impl Subjects<'_> {
    pub(super) fn text(&self) -> String {
        self.name.to_str_lossy().into_owned()
    }

    /// Whether a word of a list stands for it.
    pub(super) fn is_named(&self, known: &Known<'_, '_>, word: &BStr) -> bool {
        initramfs::normal(word) == **self.name
            || known.facts.modules.look_up(word).iter().any(|one| one.name == self.name)
    }
}

impl Path {
    /// A path that is not there.
    pub(super) fn absent(way: Way, absence: Absence) -> Path {
        Path {
            way,
            automatic: true,
            verdict: Verdict::Absent,
            origin: None,
            blocked_by: Vec::new(),
            conditions: Vec::new(),
            absent: Some(absence),
        }
    }
}

impl Known<'_, '_> {
    /// A path, and what stands in its way; what the kernel thinks of the file is added.
    pub(super) fn path(&self, way: Way, origin: Option<Origin>, automatic: bool, mut outcome: Outcome) -> Path {
        outcome.add(Outcome { hindrances: self.refusals.clone(), conditions: Vec::new() });
        let verdict = if outcome.is_open() { Verdict::Open } else { Verdict::Blocked };
        Path {
            way,
            automatic,
            verdict,
            origin,
            blocked_by: outcome.hindrances,
            conditions: outcome.conditions,
            absent: None,
        }
    }

    /// Where dracut is told not to load the module for a device.
    pub(super) fn driver_blacklist(&self, subject: &Subjects<'_>) -> Option<Origin> {
        self.boot_words(&["rd.driver.blacklist"]).into_iter().find_map(|(_, names, origin)| {
            names.iter().any(|name| initramfs::normal(BStr::new(name)) == **subject.name).then_some(origin)
        })
    }

    /// The words of the command line with these keys: key, names, where it stands. `-` and `_` are the same in keys.
    fn boot_words(&self, keys: &[&'static str]) -> Vec<(&'static str, Vec<String>, Origin)> {
        let Some((source, text)) = &self.facts.system.command_line else { return Vec::new() };
        let mut found = Vec::new();
        for word in words(text) {
            let Some((key, value)) = word.split_once('=') else { continue };
            let normal = key.replace('-', "_");
            if let Some(key) = keys.iter().find(|known| **known == normal) {
                let names = value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
                found.push((*key, names, Origin { source: source.clone(), line: None, text: word.clone() }));
            }
        }
        found
    }
}

/// The answer for one module.
#[must_use]
pub fn answer(facts: Facts<'_, '_>, module: &Rc<Module<'_>>, subject: &Subject) -> Answer {
    let name = module.name.as_bstr();
    let text = name.to_str_lossy().into_owned();
    let known = Known { facts, refusals: refusals(&facts, &text, subject) };
    let patterns = patterns(&facts, name, subject);
    let subjects = Subjects { name, devices: present(facts.system, &patterns), dependents: dependents(&facts, &text) };
    let built_in = facts.modules.is_builtin(name) || matches!(module.how, How::Builtin | How::BuiltinAlias(_));

    let mut paths = Vec::new();
    if subject.file.is_some() || !built_in {
        by_name(&known, &subjects, subject, &mut paths);
        by_devices(&known, &subjects, &patterns, &mut paths);
        by_requests(&known, &subjects, &patterns, &mut paths);
        by_aliases(&known, &subjects, &mut paths);
        by_lists(&known, &subjects, &mut paths);
        by_command_line(&known, &subjects, &mut paths);
        by_softdeps(&known, &subjects, &mut paths);
        by_dependents(&known, &subjects, &mut paths);
        by_commands(&known, &subjects, &mut paths);
        by_nodes(&known, &subjects, &mut paths);
        by_initramfs(&known, &subjects, &mut paths);
    }
    let open = paths.iter().filter(|path| path.verdict == Verdict::Open).count();
    let present = paths.iter().filter(|path| path.verdict != Verdict::Absent).count();
    Answer {
        module: text,
        found_by: found_by(module),
        file: subject.file.as_ref().map(|file| file.display().to_string()),
        built_in,
        loaded: subject.loaded.clone(),
        can_be_loaded: open > 0,
        open,
        present,
        kernel: subject.judgement.clone(),
        paths,
        directives: directives(&known, &subjects),
        notes: notes(&facts, module, subject),
    }
}

/// Who says that what was asked for is this module.
fn found_by(module: &Module<'_>) -> Option<String> {
    match &module.how {
        How::ConfiguredAlias(entry) => Some(origin(entry).to_string()),
        How::Alias(pattern) => Some(format!("`alias {pattern} {}` (modules.alias)", module.name)),
        How::Symbol => Some("modules.symbols".to_owned()),
        How::Command(entry) => Some(origin(entry).to_string()),
        How::BuiltinAlias(pattern) => Some(format!("`{pattern}` (modules.builtin.alias)")),
        How::Path | How::Name | How::Builtin | How::Dependency => None,
    }
}

/// Why the kernel would refuse the module's file, however it gets it.
fn refusals(facts: &Facts<'_, '_>, name: &str, subject: &Subject) -> Vec<Hindrance> {
    let mut found = Vec::new();
    if subject.file.is_none() {
        found.push(Hindrance::NoFile { folder: facts.modules.shown().display().to_string() });
    }
    let mut reasons = Vec::new();
    if subject.judgement.answer.is_some() {
        reasons.extend(subject.judgement.reasons.iter().cloned());
    } else {
        // What is known without the kernel's own files.
        let rules = facts.rules;
        reasons.extend(rules.no_modules.clone().map(|origin| Reason::NoModules { origin }));
        reasons.extend(rules.modules_disabled.clone().map(|origin| Reason::ModulesDisabled { origin }));
        reasons.extend(rules.blacklists(name).cloned().map(|origin| Reason::Blacklisted { origin }));
    }
    found.extend(reasons.into_iter().map(|reason| Hindrance::Kernel { reason: Box::new(reason) }));
    found
}

/// The module's aliases as modprobe knows them, normalised: from what depmod wrote, and by `alias` lines; from the module itself when
/// depmod wrote nothing of it.
struct Patterns<'c> {
    indexed: Vec<BString>,
    /// What modules.symbols says that it exports, as it is asked for: `symbol:NAME`.
    symbols: Vec<BString>,
    configured: Vec<Entry<'c>>,
    /// How the module itself spells them.
    spelled: HashMap<Vec<u8>, String>,
}

impl Patterns<'_> {
    /// A pattern as it is for people.
    fn shown(&self, pattern: &BStr) -> String {
        self.spelled.get(pattern.as_bytes()).cloned().unwrap_or_else(|| pattern.to_string())
    }

    fn of_devices(&self) -> impl Iterator<Item = &BStr> {
        let configured = self.configured.iter().map(|entry| entry.name);
        self.indexed
            .iter()
            .map(|pattern| pattern.as_bstr())
            .chain(configured)
            .filter(|pattern| is_device_alias(pattern))
    }
}

fn patterns<'c>(facts: &Facts<'_, 'c>, name: &BStr, subject: &Subject) -> Patterns<'c> {
    let mut indexed = Vec::new();
    let spell = |alias: &BString| (normalise_alias(alias).into_owned(), alias.to_string());
    let spelled: HashMap<_, _> = subject.aliases.iter().map(spell).collect();
    facts.modules.indexes.each(Table::Aliases, |key, _, value| {
        if value == name.as_bytes() {
            indexed.push(BString::from(key));
        }
    });
    let mut symbols = Vec::new();
    facts.modules.indexes.each(Table::Symbols, |key, _, value| {
        if value == name.as_bytes() {
            symbols.push(BString::from(key));
        }
    });
    symbols.sort();
    symbols.dedup();
    if indexed.is_empty() {
        indexed.extend(spelled.keys().cloned().map(BString::from));
    }
    indexed.sort();
    indexed.dedup();
    let config: &'c ferrmod_config::Config = facts.modules.config;
    let stands_for = |entry: &Entry<'_>| initramfs::normal(entry.value) == **name;
    Patterns { indexed, symbols, configured: config.entries(Kind::Alias).filter(stands_for).collect(), spelled }
}

/// The devices that ask for one of the patterns.
fn present<'s>(system: &'s System, patterns: &Patterns<'_>) -> Vec<(&'s Device, BString)> {
    let patterns: Vec<&BStr> = patterns.of_devices().collect();
    let asks = |device: &'s Device| {
        let modalias = normalise_alias(device.modalias.as_bytes());
        let pattern = patterns.iter().find(|pattern| fnmatch(pattern, &modalias))?;
        Some((device, BString::from(*pattern)))
    };
    system.devices.iter().flatten().filter_map(asks).collect()
}

/// The modules that need the module themselves, sorted.
fn dependents(facts: &Facts<'_, '_>, name: &str) -> Vec<String> {
    let Some(offers) = facts.offers else { return Vec::new() };
    let needs = |number: u32| {
        let module = offers.module(number)?;
        module.depends.split(',').any(|need| need == name).then(|| module.name.to_owned())
    };
    (0..offers.modules_len()).filter_map(needs).collect()
}

/// How many modules need it, as modules.dep says.
fn count_dependents(facts: &Facts<'_, '_>, name: &BStr) -> usize {
    let mut count = 0;
    facts.modules.indexes.each(Table::Dependencies, |_, _, line| {
        let needs = line.split_once_str(":").map(|(_, needs)| needs).unwrap_or_default();
        let is = |word: &[u8]| {
            use std::os::unix::ffi::OsStrExt;
            name_of_path(std::path::Path::new(std::ffi::OsStr::from_bytes(word))) == name
        };
        count += usize::from(needs.split(u8::is_ascii_whitespace).any(is));
    });
    count
}

fn by_name(known: &Known<'_, '_>, subjects: &Subjects<'_>, subject: &Subject, paths: &mut Vec<Path>) {
    let outcome = ask(known.facts.modules, subjects.name, subjects.name, false, Through::Modprobe);
    paths.push(known.path(Way::Name { name: subjects.text() }, None, false, outcome));
    if let Some(file) = &subject.file {
        let needs = known.facts.modules.named(subjects.name, How::Name).needs.clone();
        let needs: Vec<String> = needs.iter().map(|file| name_of_path(&file.inside).to_string()).collect();
        let mut outcome = Outcome::default();
        if !needs.is_empty() {
            outcome.conditions.push(Condition::After { modules: needs });
        }
        paths.push(known.path(Way::File { file: file.display().to_string() }, None, false, outcome));
    }
}

fn by_devices(known: &Known<'_, '_>, subjects: &Subjects<'_>, patterns: &Patterns<'_>, paths: &mut Vec<Path>) {
    for (device, pattern) in &subjects.devices {
        let modalias = BStr::new(device.modalias.as_bytes());
        let outcome = ask(known.facts.modules, modalias, subjects.name, true, Through::Libkmod);
        let by = patterns.configured.iter().find(|entry| entry.name == pattern.as_bstr()).map(origin);
        let way = Way::Device {
            device: device.path.clone(),
            modalias: device.modalias.clone(),
            pattern: patterns.shown(pattern.as_bstr()),
            driver: device.driver.clone(),
        };
        paths.push(known.path(way, by, true, outcome));
    }
    let aliases = patterns.of_devices().count();
    if subjects.devices.is_empty() && aliases > 0 {
        let way = Way::Device { device: String::new(), modalias: String::new(), pattern: String::new(), driver: None };
        let devices = known.facts.system.devices.as_ref().map(Vec::len);
        paths.push(Path::absent(way, Absence::NoDevice { aliases, devices }));
    }
}

fn by_requests(known: &Known<'_, '_>, subjects: &Subjects<'_>, patterns: &Patterns<'_>, paths: &mut Vec<Path>) {
    let mut groups: BTreeMap<Group, Vec<&BString>> = BTreeMap::new();
    // What is behind `devname:` is no name that anybody asks for, but tells depmod of a device node.
    let is_request = |pattern: &&BString| !is_device_alias(pattern) && !pattern.starts_with(b"devname:");
    for pattern in patterns.indexed.iter().filter(is_request).chain(&patterns.symbols) {
        groups.entry(group(pattern)).or_default().push(pattern);
    }
    for (group, aliases) in groups {
        // Of several names one that is open is enough.
        let outcomes = aliases.iter().map(|alias| request(known, subjects, alias.as_bstr()));
        let mut all = Outcome::default();
        for outcome in outcomes {
            if outcome.is_open() {
                all = outcome;
                break;
            }
            all.add(outcome);
        }
        let aliases = aliases.iter().map(|alias| patterns.shown(alias.as_bstr())).collect();
        paths.push(known.path(Way::Request { group, aliases }, None, true, all));
    }
}

/// What becomes of a request of the kernel's.
fn request(known: &Known<'_, '_>, subjects: &Subjects<'_>, alias: &BStr) -> Outcome {
    let mut outcome = Outcome::default();
    if let Some(origin) = &known.facts.system.no_modprobe {
        outcome.hindrances.push(Hindrance::NoModprobe { origin: origin.clone() });
    }
    // A pattern with a bracket does not match itself: then a name that it matches is asked for.
    let mut name = BString::from(alias);
    if alias.contains(&b'[') {
        name = sample(alias);
    }
    outcome.add(ask(known.facts.modules, name.as_bstr(), subjects.name, false, Through::Modprobe));
    outcome
}

/// A name that a pattern matches, if each bracket of it has a plain first letter.
fn sample(pattern: &BStr) -> BString {
    let mut name = BString::default();
    let mut bytes = pattern.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' => {
                name.extend(bytes.next());
                for inside in bytes.by_ref() {
                    if inside == b']' {
                        break;
                    }
                }
            }
            b'*' => {}
            b'?' => name.push(b'0'),
            byte => name.push(byte),
        }
    }
    name
}

fn by_aliases(known: &Known<'_, '_>, subjects: &Subjects<'_>, paths: &mut Vec<Path>) {
    let config = known.facts.modules.config;
    for entry in config.entries(Kind::Alias) {
        if initramfs::normal(entry.value) != **subjects.name || is_device_alias(entry.name) {
            continue;
        }
        let word = if entry.name.contains(&b'[') { sample(entry.name) } else { entry.name.into() };
        let outcome = ask(known.facts.modules, word.as_bstr(), subjects.name, false, Through::Modprobe);
        let way = Way::Alias { pattern: entry.name.to_string() };
        paths.push(known.path(way, Some(origin(&entry)), false, outcome));
    }
}

fn by_lists(known: &Known<'_, '_>, subjects: &Subjects<'_>, paths: &mut Vec<Path>) {
    for list in &known.facts.system.lists {
        for line in list.lines.iter().filter(|line| subjects.is_named(known, BStr::new(&line.name))) {
            let word = BStr::new(&line.name);
            let systemd = list.reader == Reader::ModulesLoad;
            let through = if systemd { Through::Libkmod } else { Through::Modprobe };
            let outcome = if systemd && !line.rest.is_empty() {
                Outcome::blocked(Hindrance::LineIsNoName { rest: line.rest.to_string() })
            } else {
                ask(known.facts.modules, word, subjects.name, systemd, through)
            };
            let source = line.file.display().to_string();
            let by = Origin { source, line: usize::try_from(line.line).ok(), text: line.name.to_string() };
            let way = Way::List { reader: list.reader, name: line.name.to_string() };
            paths.push(known.path(way, Some(by), true, outcome));
        }
    }
}

fn by_command_line(known: &Known<'_, '_>, subjects: &Subjects<'_>, paths: &mut Vec<Path>) {
    let keys = ["modules_load", "rd.modules_load", "rd.driver.pre", "rd.driver.post"];
    for (key, names, by) in known.boot_words(&keys) {
        for name in names.iter().filter(|name| subjects.is_named(known, BStr::new(name))) {
            let systemd = key.ends_with("modules_load");
            let (through, reader) =
                if systemd { (Through::Libkmod, "systemd") } else { (Through::Modprobe, "dracut's initramfs") };
            let mut outcome = ask(known.facts.modules, BStr::new(name), subjects.name, systemd, through);
            if key.starts_with("rd.")
                && let Initramfs::Read(contents) = &known.facts.system.initramfs
                && !contents.modules.contains_key(&subjects.text())
            {
                outcome.hindrances.push(Hindrance::NoFile { folder: contents.file.clone() });
            }
            let way = Way::CommandLine { key: key.to_owned(), reader };
            paths.push(known.path(way, Some(by.clone()), true, outcome));
        }
    }
}

/// What stands in the way of a module for whose sake this one would be loaded.
fn parent(known: &Known<'_, '_>, module: &BStr) -> Vec<Hindrance> {
    let outcome = about(known.facts.modules, module, Through::Modprobe);
    let name = module.to_str_lossy();
    outcome
        .hindrances
        .into_iter()
        .map(|hindrance| Hindrance::For { module: name.clone().into_owned(), hindrance: Box::new(hindrance) })
        .collect()
}

fn is_there(known: &Known<'_, '_>, module: &BStr) -> bool {
    known.facts.modules.is_builtin(module) || known.facts.modules.named(module, How::Name).file.is_some()
}

fn by_softdeps(known: &Known<'_, '_>, subjects: &Subjects<'_>, paths: &mut Vec<Path>) {
    let config = known.facts.modules.config;
    for entry in config.entries(Kind::Softdep) {
        let (pre, post) = entry.soft_dependencies();
        for (before, word) in pre.into_iter().map(|word| (true, word)).chain(post.into_iter().map(|word| (false, word)))
        {
            if !subjects.is_named(known, word) {
                continue;
            }
            let way = Way::Softdep { module: entry.name.to_string(), before, name: word.to_string() };
            let plain = !entry.name.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
            if plain && !is_there(known, entry.name) {
                paths.push(Path { origin: Some(origin(&entry)), ..Path::absent(way, Absence::NoParent) });
                continue;
            }
            // The blacklist does not count for what is wished, by whatever name.
            let mut outcome = wished(known.facts.modules, word, subjects.name);
            if plain && let Some(forbidden) = known.facts.modules.forbidden(entry.name) {
                outcome.hindrances.push(for_the_sake_of(entry.name, forbidden));
            }
            paths.push(known.path(way, Some(origin(&entry)), true, outcome));
        }
    }
    for entry in config.entries(Kind::Weakdep) {
        if entry.words().any(|word| initramfs::normal(word) == **subjects.name) {
            let way = Way::Weakdep { module: entry.name.to_string() };
            paths.push(Path { origin: Some(origin(&entry)), ..Path::absent(way, Absence::Weakdep) });
        }
    }
}

/// A module with softdeps has no `install` line, so that only these can be in its way.
fn for_the_sake_of(module: &BStr, forbidden: crate::kmod::Forbidden<'_>) -> Hindrance {
    let hindrance = match forbidden {
        crate::kmod::Forbidden::Masked(entry) => Hindrance::Masked { origin: origin(&entry) },
        crate::kmod::Forbidden::NotAllowed(entry) => Hindrance::NotAllowed { origin: origin(&entry) },
    };
    Hindrance::For { module: module.to_string(), hindrance: Box::new(hindrance) }
}

fn by_dependents(known: &Known<'_, '_>, subjects: &Subjects<'_>, paths: &mut Vec<Path>) {
    let indexed = count_dependents(&known.facts, subjects.name);
    let direct = subjects.dependents.clone();
    let total = indexed.max(direct.len());
    if total == 0 {
        return;
    }
    let mut outcome = needed(known.facts.modules, subjects.name);
    // One of them that can be loaded is enough.
    let blocked: Vec<Vec<Hindrance>> = direct.iter().map(|user| parent(known, BStr::new(user))).collect();
    if !blocked.is_empty() && blocked.iter().all(|hindrances| !hindrances.is_empty()) && indexed <= direct.len() {
        outcome.hindrances.extend(blocked.into_iter().flatten());
    }
    paths.push(known.path(Way::Dependency { direct, total }, None, true, outcome));
}

fn by_commands(known: &Known<'_, '_>, subjects: &Subjects<'_>, paths: &mut Vec<Path>) {
    let config = known.facts.modules.config;
    for entry in config.entries(Kind::Install) {
        if fnmatch(entry.name, subjects.name) || !command::loads(entry.value, subjects.name) {
            continue;
        }
        let mut outcome = ask(known.facts.modules, subjects.name, subjects.name, false, Through::Modprobe);
        if is_untrusted(known.facts.modules, &entry) {
            outcome.hindrances.push(Hindrance::UntrustedInstall { origin: origin(&entry) });
        }
        let way = Way::Command { module: entry.name.to_string() };
        paths.push(known.path(way, Some(origin(&entry)), true, outcome));
    }
}

fn by_nodes(known: &Known<'_, '_>, subjects: &Subjects<'_>, paths: &mut Vec<Path>) {
    for node in known.facts.system.nodes.iter().filter(|node| BStr::new(&node.module) == subjects.name) {
        let alias = node.alias();
        let outcome = request(known, subjects, BStr::new(&alias));
        let way = Way::Node { node: format!("/dev/{}", node.path), alias };
        paths.push(known.path(way, Some(node.origin.clone()), true, outcome));
    }
}

fn by_initramfs(known: &Known<'_, '_>, subjects: &Subjects<'_>, paths: &mut Vec<Path>) {
    let none = |file: &str| Way::Initramfs { file: file.to_owned(), member: None, asked_by: Vec::new() };
    match &known.facts.system.initramfs {
        Initramfs::NotLooked => {}
        Initramfs::Missing { looked } => {
            paths.push(Path::absent(none(""), Absence::NoInitramfs { looked: looked.clone() }));
        }
        Initramfs::Unreadable { file, problem } => {
            let problem = problem.clone();
            paths.push(Path::absent(none(file), Absence::UnreadableInitramfs { problem }));
        }
        Initramfs::Read(contents) => paths.extend(initramfs::paths(known, subjects, contents)),
    }
}

/// Every directive that names the module, and what it stops.
fn directives(known: &Known<'_, '_>, subjects: &Subjects<'_>) -> Vec<Effect> {
    let modules = known.facts.modules;
    let mut effects = Vec::new();
    for kind in [Kind::Blacklist, Kind::Install, Kind::Mask, Kind::Allow] {
        let mut first: Option<Origin> = None;
        for entry in lines(modules, kind, subjects.name) {
            // An `allow` line that names the module keeps it in.
            let Some(mut effect) = Effect::of(&entry).filter(|_| kind != Kind::Allow) else { continue };
            if !is_untrusted(modules, &entry) {
                effect.force = Force::Yes;
            }
            let softdeps = modules.config.softdeps(subjects.name).find(|soft| {
                let (pre, post) = soft.soft_dependencies();
                !pre.is_empty() || !post.is_empty()
            });
            if let (Kind::Install, Some(soft)) = (kind, softdeps) {
                effect.force = Force::Softdeps { line: origin(&soft) };
            } else if let (Kind::Install, Some(line)) = (kind, &first) {
                effect.force = Force::Earlier { line: line.clone() };
            }
            first.get_or_insert_with(|| effect.origin.clone());
            effects.push(effect);
        }
    }
    if let Some(crate::kmod::Forbidden::NotAllowed(entry)) = modules.forbidden(subjects.name) {
        effects.extend(Effect::of(&entry));
    }
    let rules = known.facts.rules;
    let text = subjects.text();
    effects.extend(rules.blacklists(&text).map(|origin| Effect::new(Directive::ModuleBlacklist, origin.clone())));
    effects.extend(rules.modules_disabled.iter().map(|origin| Effect::new(Directive::ModulesDisabled, origin.clone())));
    effects.extend(known.driver_blacklist(subjects).map(|origin| Effect::new(Directive::DriverBlacklist, origin)));
    effects
}

/// What is worth knowing besides.
fn notes(facts: &Facts<'_, '_>, module: &Module<'_>, subject: &Subject) -> Vec<Note> {
    let mut notes = Vec::new();
    let name = module.name.as_bstr();
    for warning in facts.modules.config.warnings() {
        let words = warning.text.split(u8::is_ascii_whitespace).skip(1);
        if words.into_iter().any(|word| initramfs::normal(BStr::new(word)) == **name) {
            notes.push(Note::BadLine {
                file: warning.file.display().to_string(),
                line: warning.line,
                text: warning.text.to_string(),
                reason: warning.reason(),
            });
        }
    }
    if module.how == How::Path
        && let Some(file) = &facts.modules.named(name, How::Name).file
        && subject.file.as_ref().is_some_and(|own| *own != file.shown)
    {
        notes.push(Note::OtherFile { file: file.shown.display().to_string() });
    }
    notes.extend(facts.modules.indexes.problems().into_iter().map(|problem| Note::Index {
        file: facts.modules.shown().join(problem.table.file()).display().to_string(),
        problem: problem.error.to_string(),
    }));
    notes
}
