//! The steps of a load, in Linux's order.

use bstr::{BStr, ByteSlice};
use ferrmod_image::compress::Compression;
use ferrmod_image::{Image, ReadError};
use ferrmod_index::normalise;
use ferrmod_linker::check::{Flags, Host, check};
use ferrmod_linker::{
    Layout, LinkError, Notice, PartBuffers, PartKind, Placement, Refused, Report, Taints, Terms, link,
};

use super::Checker;
use super::candidate::Candidate;
use super::errno::{EKEYREJECTED, ENOEXEC, EPERM, name as errno_name};
use super::kernel::built_for;
use super::parameters::Parameters;
use super::scene::Scene;
use super::signature::Signed;
use super::verdict::{Answer, ImportProblem, Line, Note, Reason, Token, Verdict, letters};

/// Where the first module of a kernel without KASLR lies.
const MODULES: u64 = 0xffff_ffff_c020_1000;

/// A load on its way: what was found, and what Linux has answered when it has.
#[derive(Default)]
struct Course {
    reasons: Vec<Reason>,
    notes: Vec<Note>,
    log: Vec<Line>,
    errno: Option<i32>,
}

impl Course {
    /// What Linux prints, unless it has answered.
    fn print(&mut self, level: u8, text: impl Into<String>) {
        if self.errno.is_none() {
            self.log.push(Line::new(level, text));
        }
    }

    fn notices<'n>(&mut self, notices: impl IntoIterator<Item = &'n Notice>) {
        for notice in notices {
            for text in notice.to_string().split('\n') {
                self.print(notice.level() as u8, text);
            }
        }
    }

    /// A reason for which Linux would answer now.
    fn refuse(&mut self, reason: Reason) {
        self.errno = self.errno.or(reason.errno());
        self.reasons.push(reason);
    }

    /// Linux answers now, if it has not.
    fn answer(&mut self, errno: i32) {
        self.errno = self.errno.or(Some(errno));
    }
}

/// Which letter a taint has, and why a module gets it.
fn taint_notes(image: &Image<'_>, taints: Taints, signed: &Signed, inherited: bool) -> Vec<Note> {
    let licence = image.licence().map_or_else(|| "unspecified".into(), |licence| licence.to_str_lossy());
    let whys = [
        (
            Taints::PROPRIETARY,
            'P',
            if inherited && image.is_gpl_compatible() {
                "it uses symbols of a proprietary module".to_owned()
            } else {
                format!("its licence `{licence}` is not compatible with the GPL")
            },
        ),
        (
            Taints::FORCED,
            'F',
            "its version or its CRCs cannot be checked, and this kernel loads it all the same".to_owned(),
        ),
        (Taints::STAGING, 'C', "it is from the staging directory".to_owned()),
        (Taints::OUT_OF_TREE, 'O', "it was not built with the kernel (no `intree=`)".to_owned()),
        (Taints::UNSIGNED, 'E', signed.to_string()),
        (Taints::LIVEPATCH, 'K', "it is a live patch".to_owned()),
        (Taints::TEST, 'N', "it tests the kernel".to_owned()),
    ];
    whys.into_iter()
        .filter(|(taint, _, _)| taints.contains(*taint))
        .map(|(_, letter, why)| Note::Taint { letter, why })
        .collect()
}

/// The words of a version magic that are on one side alone.
fn tokens(found: &BStr, wanted: &BStr, release_counts: bool) -> Vec<Token> {
    let words = |magic: &BStr| -> Vec<String> {
        let skip = usize::from(!release_counts);
        magic.to_str_lossy().split(' ').skip(skip).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let meaning = |word: &str| {
        Some(match word {
            "SMP" => "more than one processor (CONFIG_SMP)",
            "preempt" | "PREEMPT" => "kernel code can be preempted (CONFIG_PREEMPTION)",
            "preempt_rt" => "real time (CONFIG_PREEMPT_RT)",
            "mod_unload" => "modules can be unloaded (CONFIG_MODULE_UNLOAD)",
            "modversions" => "symbols have CRCs (CONFIG_MODVERSIONS)",
            _ if word.starts_with("RANDSTRUCT_") => "members of structs are shuffled, by this seed (CONFIG_RANDSTRUCT)",
            _ if word.starts_with(|first: char| first.is_ascii_digit()) => "the kernel's release",
            _ => return None,
        })
    };
    let (mine, yours) = (words(found), words(wanted));
    let only = |these: &[String], those: &[String], in_module| {
        these
            .iter()
            .filter(|word| !those.contains(word))
            .map(|word| Token { word: word.clone(), in_module, meaning: meaning(word) })
            .collect::<Vec<_>>()
    };
    [only(&mine, &yours, true), only(&yours, &mine, false)].concat()
}

/// The name of a processor in an ELF header.
fn machine_name(machine: u16) -> &'static str {
    match machine {
        3 => "i386",
        8 => "MIPS",
        20 => "PowerPC",
        21 => "PowerPC64",
        22 => "S390",
        40 => "ARM",
        62 => "x86-64",
        183 => "AArch64",
        243 => "RISC-V",
        258 => "LoongArch",
        _ => "unknown",
    }
}

/// Whether Linux 6.1 makes this check, too.
fn is_beyond_linux(error: &LinkError) -> bool {
    matches!(
        error,
        LinkError::Alignment { .. }
            | LinkError::TooLarge { .. }
            | LinkError::Memory { .. }
            | LinkError::RelocationReach { .. }
            | LinkError::RelocationOffset { .. }
            | LinkError::RelocationSymbol { .. }
            | LinkError::TableEntry { .. }
    )
}

/// The function that the kernel would name as the module's init.
fn init_function(image: &Image<'_>) -> Option<String> {
    let init = image.symbols().get(image.entry_points().init? as usize)?;
    let place = |symbol: &object::elf::Sym64<object::LittleEndian>| {
        (symbol.st_shndx.get(object::LittleEndian), symbol.st_value.get(object::LittleEndian))
    };
    let named = image
        .symbols()
        .iter()
        .skip(1)
        .find(|symbol| place(symbol) == place(init) && !image.symbol_name(symbol).is_empty())?;
    Some(image.symbol_name(named).to_str_lossy().into_owned())
}

impl Checker<'_> {
    /// Goes through all steps. `whole` is false for a module that is looked at for another one's sake: then what it needs itself is looked
    /// at by that one.
    pub(super) fn judge(&self, candidate: &Candidate<'_>, whole: bool) -> Verdict {
        let mut course = Course::default();
        if !self.rules.config_known {
            course.notes.push(Note::ConfigUnknown);
        }
        self.entry(candidate, &mut course);
        let mut verdict = Verdict {
            kernel: self.kernel.release.clone(),
            module: candidate.name.clone(),
            answer: Answer::Refused,
            errno: None,
            errno_name: None,
            taints: String::new(),
            reasons: Vec::new(),
            notes: Vec::new(),
            log: Vec::new(),
            needs: Vec::new(),
        };
        let (signed, lines) = Signed::of(&candidate.bytes, self.settings.keyring);
        let mut tainted = false;
        if candidate.broken.is_none() && !candidate.bytes.is_empty() {
            self.signature(&signed, lines, &mut course);
            match Image::read(&candidate.bytes) {
                Ok(image) => {
                    if let Some(name) = image.name() {
                        verdict.module = normalise(&name.to_str_lossy()).into_owned();
                    }
                    let taints = self.image(candidate, &image, &signed, whole, &mut course, &mut verdict);
                    verdict.taints = letters(taints);
                    tainted =
                        taints != Taints::NONE || course.notes.iter().any(|note| matches!(note, Note::Taint { .. }));
                }
                Err(error) => unreadable(&error, &mut course),
            }
        }
        verdict.answer = match (course.reasons.is_empty(), tainted) {
            (false, _) => Answer::Refused,
            (true, true) => Answer::LoadsWithTaint,
            (true, false) => Answer::Loads,
        };
        verdict.errno = course.errno;
        verdict.errno_name = course.errno.map(errno_name);
        verdict.reasons = course.reasons;
        verdict.notes = course.notes;
        verdict.log = course.log;
        verdict
    }

    /// What a policy alone says to a module of this name, of which this is known about its signature.
    pub(super) fn by_policy(&self, name: &str, signed: &Signed) -> Vec<Reason> {
        let mut course = Course::default();
        if let Some(origin) = &self.rules.no_modules {
            course.refuse(Reason::NoModules { origin: origin.clone() });
        }
        if let Some(origin) = &self.rules.modules_disabled {
            course.refuse(Reason::ModulesDisabled { origin: origin.clone() });
        }
        self.signature(signed, Vec::new(), &mut course);
        if let Some(origin) = self.rules.blacklists(name) {
            course.refuse(Reason::Blacklisted { origin: origin.clone() });
        }
        course.reasons
    }

    /// The system call: whether modules are loaded at all, and whether this file gets in.
    fn entry(&self, candidate: &Candidate<'_>, course: &mut Course) {
        if let Some(origin) = &self.rules.no_modules {
            course.refuse(Reason::NoModules { origin: origin.clone() });
        }
        if let Some(origin) = &self.rules.modules_disabled {
            course.refuse(Reason::ModulesDisabled { origin: origin.clone() });
        }
        let packed = candidate.format != Compression::None;
        let format = candidate.format.to_string();
        let kernel = self.rules.decompress;
        let by_tool = packed && kernel != Some(format.as_str());
        if let Some(origin) = &self.rules.loadpin {
            let without_file = by_tool && !self.settings.unpacked_by_kernel;
            if without_file || candidate.on_the_trees_file_system == Some(false) {
                course.refuse(Reason::LoadPin { origin: origin.clone(), without_file });
            } else {
                course.notes.push(Note::LoadPin { origin: origin.clone() });
            }
        }
        if let Some(text) = &candidate.broken {
            // Who unpacks it refuses it: the kernel, with an answer, or the tool.
            let by_kernel = self.settings.unpacked_by_kernel && !by_tool;
            if !self.settings.unpacked_by_kernel || by_kernel {
                course.refuse(Reason::Unpack { text: text.clone(), by_kernel });
                return;
            }
        }
        if by_tool && self.settings.unpacked_by_kernel {
            if let Some(kernel) = kernel {
                course.print(3, format!("not {} {kernel} compressed module", if kernel == "xz" { "an" } else { "a" }));
            }
            course.refuse(Reason::Compressed { format, kernel });
        } else if by_tool {
            course.notes.push(Note::UnpackedByTool { format, kernel });
        }
        if candidate.bytes.is_empty() {
            course.refuse(Reason::Empty);
        }
    }

    /// `module_sig_check`.
    fn signature(&self, signed: &Signed, lines: Vec<Line>, course: &mut Course) {
        if !self.rules.signatures {
            return;
        }
        for line in lines {
            course.print(line.level, line.text);
        }
        match signed {
            Signed::Valid { signer } => course.notes.push(Note::SignedBy { signer: signer.clone() }),
            Signed::Unverified => course.notes.push(Note::SignatureUnverified),
            _ => {}
        }
        if let Some(errno) = signed.fatal() {
            course.refuse(Reason::Signature { signed: signed.clone(), required: None, lockdown: None, errno });
        }
        let Some(what) = signed.tolerated() else { return };
        if let Some(origin) = &self.rules.sig_enforce {
            course.print(5, format!("Loading of {what} is rejected"));
            course.refuse(Reason::Signature {
                signed: signed.clone(),
                required: Some(origin.clone()),
                lockdown: None,
                errno: EKEYREJECTED,
            });
        }
        if let Some((level, origin)) = &self.rules.lockdown {
            course.print(5, "Lockdown: insmod: unsigned module loading is restricted; see man kernel_lockdown.7");
            course.refuse(Reason::Signature {
                signed: signed.clone(),
                required: Some(origin.clone()),
                lockdown: Some(*level),
                errno: EPERM,
            });
        }
    }

    /// Everything after the file was seen to be a module. Returns the module's taints.
    fn image(
        &self,
        candidate: &Candidate<'_>,
        image: &Image<'_>,
        signed: &Signed,
        whole: bool,
        course: &mut Course,
        verdict: &mut Verdict,
    ) -> Taints {
        let stated = image.name().map(|name| name.to_str_lossy().into_owned()).unwrap_or_default();
        self.size_of_module(image, &stated, course);
        if let Some(origin) = self.rules.blacklists(&stated) {
            course.print(3, format!("Module {stated} is blacklisted"));
            course.refuse(Reason::Blacklisted { origin: origin.clone() });
        }
        let mut taints = self.versions(image, course);
        let layout = self.layout(image, course);
        if self.loaded.contains(&verdict.module) {
            course.refuse(Reason::Loaded);
        }
        let unvouched = signed.tolerated().is_some();
        if unvouched && self.rules.signatures {
            course.print(
                5,
                format!(
                    "{stated}: module verification failed: signature and/or required key missing - tainting kernel"
                ),
            );
        }
        let mut scene = Scene::new(self.kernel, self.together, &verdict.module, image);
        for name in &self.loaded {
            scene.present.extend(scene.module(name));
        }
        let before = if whole { self.before(image, &mut scene) } else { Default::default() };
        if let Some(layout) = &layout {
            taints.insert(self.bind(image, layout, taints, &mut scene, course));
        }
        self.exports(image, &scene, course);
        self.parameters(candidate, image, &stated, &verdict.module, course);
        self.start(image, &verdict.module, course);
        course.reasons.extend(before.reasons);
        verdict.needs = before.order;
        if unvouched && self.rules.signatures {
            taints.insert(Taints::UNSIGNED);
        }
        let inherited = taints.contains(Taints::PROPRIETARY);
        course.notes.extend(taint_notes(image, taints, signed, inherited));
        taints
    }

    /// Since Linux 6.4: the file's `struct module` is as large as the kernel's.
    fn size_of_module(&self, image: &Image<'_>, stated: &str, course: &mut Course) {
        let wanted = self.kernel.btf().and_then(|btf| btf.struct_named("module")).map(|layout| layout.size());
        let found = image.this_module().and_then(|index| image.sections().get(index)).map(|section| section.size);
        let (Some(wanted), Some(found)) = (wanted, found) else { return };
        if self.kernel.is_at_least(6, 4) && found != wanted {
            course.print(
                3,
                format!(
                    "module {stated}: .gnu.linkonce.this_module section size must match the kernel's built struct module size at run time"
                ),
            );
            course.refuse(Reason::ModuleSize { found, wanted, built_for: built_for(image) });
        }
    }

    /// `check_modstruct_version` and `check_modinfo`: the layout of `struct module`, the version magic, the licence.
    fn versions(&self, image: &Image<'_>, course: &mut Course) -> Taints {
        let module_layout = self.kernel.export(BStr::new("module_layout")).and_then(|export| export.crc);
        let host = Host {
            vermagic: BStr::new(&self.kernel.vermagic),
            module_layout,
            force_load: self.rules.force_load,
            retpoline: self.rules.retpoline,
            livepatch: self.rules.livepatch,
        };
        let release = built_for(image);
        let (report, refused) = match check(image, &host, Flags::default()) {
            Ok(report) => (report, false),
            Err(Refused { report, .. }) => (report, true),
        };
        course.notices(&report.notices);
        let versions = image.versions();
        let vermagic = image.modinfo().get("vermagic");
        if refused {
            if let (Some(exported), Some(versions)) = (module_layout, &versions) {
                let built = versions.get(BStr::new("module_layout"));
                if built != Some(exported) {
                    let compared = self.compare(BStr::new("module_layout"), None, release.as_deref());
                    course.refuse(Reason::ModuleLayout { built, exported, built_for: release.clone(), compared });
                }
            }
            if !self.rules.force_load {
                if module_layout.is_some() && versions.is_none() {
                    course.refuse(Reason::NotForced { what: "module_layout".to_owned() });
                }
                if vermagic.is_none() {
                    course.refuse(Reason::NotForced { what: "bad vermagic".to_owned() });
                }
            }
            if let Some(found) = vermagic
                && !same_magic(found, host.vermagic, versions.is_some())
            {
                course.refuse(Reason::Vermagic {
                    found: found.to_str_lossy().into_owned(),
                    wanted: host.vermagic.to_str_lossy().into_owned(),
                    tokens: tokens(found, host.vermagic, versions.is_none()),
                });
            }
            if image.modinfo().get("livepatch").is_some() && !self.rules.livepatch {
                course.refuse(Reason::Livepatch);
            }
            course.answer(ENOEXEC);
        }
        if let Some(release) = release.filter(|release| *release != self.kernel.release && versions.is_some()) {
            course.notes.push(Note::OtherRelease { built_for: release });
        }
        if !refused {
            return report.taints;
        }
        // Linux did not come so far; what the licence hides counts for what follows.
        let mut taints = Taints::NONE;
        if !image.is_gpl_compatible() {
            taints.insert(Taints::PROPRIETARY);
        }
        if image.modinfo().get("intree").is_none() {
            taints.insert(Taints::OUT_OF_TREE);
        }
        taints
    }

    fn layout(&self, image: &Image<'_>, course: &mut Course) -> Option<Layout> {
        match Layout::of(image) {
            Ok(layout) => Some(layout),
            Err(error) => {
                course.print(error.level() as u8, error.to_string());
                course.refuse(link_reason(&error));
                None
            }
        }
    }

    /// Binds and relocates the module. Returns the taints that come from that.
    fn bind(
        &self,
        image: &Image<'_>,
        layout: &Layout,
        taints: Taints,
        scene: &mut Scene<'_>,
        course: &mut Course,
    ) -> Taints {
        let mut place = Placement::default();
        let mut next = MODULES;
        for kind in PartKind::ALL {
            if let Some(base) = place.base.get_mut(kind as usize) {
                *base = next;
            }
            next = next.saturating_add(layout.size(kind).next_multiple_of(4096));
        }
        let terms = Terms { force_load: self.rules.force_load, direct_branches: false, ..Terms::new(image, taints) };
        let mut buffers = PartBuffers::new();
        let linked = link(image, layout, &place, scene, &terms, &mut buffers.parts(layout));
        let (report, error) = match linked {
            Ok(linked) => (linked.report, None),
            Err(Refused { report, error }) => (report, Some(error)),
        };
        course.notices(&report.notices);
        self.imports(image, &report, scene, course);
        match error.as_deref() {
            None => {}
            Some(LinkError::Unknown { errno, .. }) => course.answer(*errno),
            Some(error) => course.refuse(link_reason(error)),
        }
        for import in image.imports().filter(|import| import.weak) {
            if error.is_none() && scene.find_offered(import.name, true).is_none() {
                course.notes.push(Note::WeakMissing { symbol: import.name.to_str_lossy().into_owned() });
            }
        }
        report.taints
    }

    /// The reasons behind the imports that were not bound.
    fn imports(&self, image: &Image<'_>, report: &Report, scene: &Scene<'_>, course: &mut Course) {
        let release = built_for(image);
        let inherits_from = report.notices.iter().find_map(|notice| match notice {
            Notice::InheritsTaint { owner, .. } => Some(owner.to_str_lossy().into_owned()),
            _ => None,
        });
        // What the line before says is about the symbol of this one.
        let mut about = None;
        for notice in &report.notices {
            let Notice::UnknownSymbol { symbol, errno, .. } = notice else {
                about = Some(notice);
                continue;
            };
            let symbol = BStr::new(symbol);
            let offered = scene.find_offered(symbol, true);
            let exporter = offered.as_ref().map(|offered| scene.exporter(offered));
            let same = |name: &bstr::BString| BStr::new(name) == symbol;
            let problem = match (about.take(), &offered, exporter) {
                (Some(Notice::VersionDiffers { symbol: of, .. }), Some(offered), Some(exporter)) if same(of) => {
                    ImportProblem::Version {
                        built: image.versions().and_then(|versions| versions.get(symbol)).unwrap_or(0),
                        exported: offered.crc.unwrap_or(0),
                        compared: self.compare(symbol, exporter.module.as_deref(), release.as_deref()),
                        exporter,
                        built_for: release.clone(),
                    }
                }
                (Some(Notice::NoVersion { symbol: of, .. }), Some(offered), _) if same(of) => {
                    ImportProblem::NoVersion { exported: offered.crc }
                }
                (Some(Notice::NamespaceNotImported { symbol: of, namespace, .. }), _, Some(exporter)) if same(of) => {
                    ImportProblem::Namespace { namespace: namespace.to_str_lossy().into_owned(), exporter }
                }
                (Some(Notice::GplMeetsProprietary { symbol: of, owner, .. }), _, _) if same(of) => {
                    ImportProblem::ProprietaryOwner { owner: owner.to_str_lossy().into_owned() }
                }
                (_, Some(offered), Some(exporter)) if offered.gpl_only => {
                    let licence = image.licence().map_or_else(|| "unspecified".into(), |one| one.to_str_lossy());
                    ImportProblem::GplOnly {
                        licence: licence.into_owned(),
                        exporter,
                        inherits_from: inherits_from.clone(),
                    }
                }
                (_, None, _) => {
                    let stopped: Vec<String> = scene
                        .modules_exporting(symbol)
                        .filter_map(|offered| offered.place)
                        .map(|place| scene.name(place).to_owned())
                        .collect();
                    // Who exports it is known: no other name is meant.
                    let (elsewhere, nearest) = if stopped.is_empty() {
                        (self.elsewhere(symbol), self.nearest_exports(symbol))
                    } else {
                        Default::default()
                    };
                    ImportProblem::Missing { stopped, elsewhere, nearest }
                }
                _ => ImportProblem::Other,
            };
            course.reasons.push(Reason::Import { symbol: symbol.to_str_lossy().into_owned(), problem, errno: *errno });
        }
    }

    /// Modules that this one cannot be loaded together with.
    fn exports(&self, image: &Image<'_>, scene: &Scene<'_>, course: &mut Course) {
        let mut modules: Vec<String> = Vec::new();
        for export in image.exports() {
            for place in scene.modules_exporting(export.name).filter_map(|offered| offered.place) {
                let module = scene.name(place).to_owned();
                if !modules.contains(&module) {
                    modules.push(module.clone());
                    let symbol = export.name.to_str_lossy().into_owned();
                    course.notes.push(Note::NotTogether { module, symbol });
                }
            }
        }
    }

    fn parameters(&self, candidate: &Candidate<'_>, image: &Image<'_>, stated: &str, name: &str, course: &mut Course) {
        let mut arguments = Vec::new();
        for parameter in self.boot_parameters.iter().filter(|parameter| normalise(&parameter.module) == name) {
            arguments.extend_from_slice(parameter.argument.as_bytes());
            arguments.push(b' ');
            course
                .notes
                .push(Note::BootParameter { argument: parameter.argument.clone(), origin: parameter.origin.clone() });
        }
        arguments.extend_from_slice(&candidate.arguments);
        if arguments.is_empty() {
            return;
        }
        let judged = Parameters::of(image).judge(stated, &arguments, self.rules.lockdown.is_some());
        for line in judged.log {
            course.print(line.level, line.text);
        }
        course.notes.extend(judged.notes);
        if judged.dangerous {
            let why = "a dangerous parameter is set".to_owned();
            course.notes.push(Note::Taint { letter: 'U', why });
        }
        judged.reasons.into_iter().for_each(|reason| course.refuse(reason));
    }

    /// The folder in `/sys/module`, and the call of init.
    fn start(&self, image: &Image<'_>, name: &str, course: &mut Course) {
        match self.kernel.built_in(name) {
            Some(built_in) if built_in.has_folder => {
                course.print(3, format!("{name}: module is already loaded"));
                course.refuse(Reason::BuiltIn);
            }
            Some(_) => course.notes.push(Note::BuiltIn),
            None => {}
        }
        if !self.rules.initcall_blacklist.is_empty()
            && let Some(function) = init_function(image)
            && let Some((_, origin)) = self.rules.initcall_blacklist.iter().find(|(other, _)| *other == function)
        {
            course.print(7, format!("initcall {function} blacklisted"));
            course.refuse(Reason::Initcall { function, origin: origin.clone() });
        }
    }
}

/// The reason behind an error of the linker.
fn link_reason(error: &LinkError) -> Reason {
    match error {
        LinkError::Duplicate { symbol, owner, .. } => {
            Reason::Duplicate { symbol: symbol.to_str_lossy().into_owned(), owner: owner.to_str_lossy().into_owned() }
        }
        LinkError::NotForced { reason, .. } => Reason::NotForced { what: reason.to_str_lossy().into_owned() },
        error => Reason::Link { text: error.to_string(), errno: error.errno(), beyond_linux: is_beyond_linux(error) },
    }
}

/// The file is no module.
fn unreadable(error: &ReadError, course: &mut Course) {
    let level = if error.is_warning() { 4 } else { 3 };
    // The kernel prints the first byte of the magic number as it is, which nobody sees.
    course.print(level, error.to_string());
    course.refuse(match error {
        ReadError::Machine { machine } => Reason::Architecture { machine: *machine, name: machine_name(*machine) },
        error => Reason::Structure { text: error.to_string(), beyond_linux: error.is_beyond_linux() },
    });
}

/// Whether two version magics agree; with CRCs the release does not count.
fn same_magic(found: &BStr, wanted: &BStr, has_crcs: bool) -> bool {
    let tail = |magic: &'_ BStr| -> Vec<u8> {
        let from = if has_crcs { magic.find_byte(b' ').unwrap_or(magic.len()) } else { 0 };
        magic.get(from..).unwrap_or_default().to_vec()
    };
    tail(found) == tail(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_differ_are_named_with_their_meaning() {
        let (found, wanted) =
            (BStr::new("6.1 SMP PREEMPT mod_unload "), BStr::new("6.2 SMP preempt mod_unload modversions "));
        let words: Vec<_> =
            tokens(found, wanted, false).into_iter().map(|token| (token.word, token.in_module)).collect();
        assert_eq!(words, [("PREEMPT".into(), true), ("preempt".into(), false), ("modversions".into(), false)]);
        assert_eq!(tokens(found, wanted, true).len(), 5);
        assert!(tokens(found, found, true).is_empty());
    }
}
