//! What there is to say about one module.

use crate::{Evidence, Finding, Loaded, Module, ModuleFile, Severity, Signature, Source};

/// What else one has to know to judge a module.
pub(crate) struct Scene {
    /// The tree of its kernel was read, so that a module without a file has none.
    pub(crate) has_tree: bool,
    /// Whose database of packages knows the tree; `None` when none does.
    pub(crate) packaged: Option<&'static str>,
}

/// Everything that is to be said about `module`.
pub(crate) fn judge(module: &Module, scene: &Scene) -> Vec<Finding> {
    let mut judge = Judge { module, findings: Vec::new() };
    let readable = module.file.as_ref().filter(|file| file.unreadable.is_none());
    judge.signature();
    judge.kinds(module.loaded.as_ref(), readable);
    if let Some(loaded) = &module.loaded {
        judge.loaded(loaded, readable);
        if module.file.is_none() && scene.has_tree {
            judge.say(Evidence::NoFile { release: module.release.clone() });
        }
    }
    if let Some(file) = &module.file {
        judge.file(file, scene);
    }
    judge.findings
}

struct Judge<'a> {
    module: &'a Module,
    findings: Vec<Finding>,
}

impl Judge<'_> {
    fn finding(&self, evidence: Evidence) -> Finding {
        Finding::new(Some(&self.module.name), self.module.path().map(str::to_owned), evidence)
    }

    fn say(&mut self, evidence: Evidence) {
        let finding = self.finding(evidence);
        self.findings.push(finding);
    }

    fn signature(&mut self) {
        let loaded = self.module.loaded.as_ref();
        let unsigned = loaded.is_some_and(|loaded| loaded.has_taint('E'));
        let signature = self.module.file.as_ref().map(|file| &file.signature);
        match signature {
            Some(Signature::Bad { reason, errno }) => {
                self.say(Evidence::BadSignature { reason: reason.clone(), errno });
            }
            Some(Signature::Altered { signer, oddities }) => {
                self.say(Evidence::AlteredMessage { signer: signer.clone(), oddities: oddities.clone() });
            }
            Some(Signature::Unknown { reason }) => {
                let accepted = loaded.is_some() && !unsigned;
                self.say(Evidence::UnknownSigner { reason: reason.clone(), accepted });
            }
            _ => {}
        }
        // One that is signed by somebody unknown has the taint as well, and that is said already.
        let is_unknown = matches!(signature, Some(Signature::Unknown { .. }));
        let by_file = matches!(signature, Some(Signature::Unsigned));
        if let Some(source_) = Source::of(unsigned && !is_unknown, by_file) {
            self.say(Evidence::Unsigned { source_ });
        }
    }

    /// What kind of module it is.
    fn kinds(&mut self, loaded: Option<&Loaded>, file: Option<&ModuleFile>) {
        let taint = |letter| loaded.is_some_and(|loaded| loaded.has_taint(letter));
        let says = |what: fn(&ModuleFile) -> bool| file.is_some_and(what);
        if let Some(source_) = Source::of(taint('O'), says(|file| !file.in_tree)) {
            self.say(Evidence::OutOfTree { source_ });
        }
        if let Some(source_) = Source::of(taint('P'), says(|file| !file.gpl)) {
            let licence = file.and_then(|file| file.licence.clone());
            self.say(Evidence::Proprietary { source_, licence });
        }
        if let Some(source_) = Source::of(taint('C'), says(|file| file.staging)) {
            let finding = self.finding(Evidence::Staging { source_ });
            // Distributions ship them; it is the administrator who loads one.
            let is_loaded = self.module.loaded.is_some();
            self.findings.push(if is_loaded { finding } else { finding.with_severity(Severity::Information) });
        }
        if let Some(source_) = Source::of(taint('K'), says(|file| file.livepatch)) {
            self.say(Evidence::Livepatch { source_ });
        }
        if let Some(source_) = Source::of(taint('N'), says(|file| file.test)) {
            let finding = self.finding(Evidence::Test { source_ });
            let is_loaded = self.module.loaded.is_some();
            self.findings.push(if is_loaded { finding } else { finding.with_severity(Severity::Information) });
        }
    }

    fn loaded(&mut self, loaded: &Loaded, file: Option<&ModuleFile>) {
        if loaded.has_taint('F') {
            self.say(Evidence::Forced { taints: loaded.taints.clone() });
        }
        if let Some(sysfs) = loaded.sysfs_taints.as_ref().filter(|sysfs| **sysfs != loaded.taints) {
            self.say(Evidence::TaintMismatch { proc: loaded.taints.clone(), sysfs: sysfs.clone() });
        }
        if let Some(file) = file {
            if let (Some(loaded), Some(file)) = (&loaded.srcversion, &file.srcversion)
                && loaded != file
            {
                self.say(Evidence::SrcversionDiffers { loaded: loaded.clone(), file: file.clone() });
            }
            if let (Some(loaded), Some(file)) = (&loaded.build_id, &file.build_id)
                && loaded != file
            {
                self.say(Evidence::BuildIdDiffers { loaded: loaded.clone(), file: file.clone() });
            }
        }
        if loaded.references == Some(0) && loaded.users.is_empty() && !loaded.bound && loaded.state == "live" {
            self.say(Evidence::Unused { size: loaded.size });
        }
    }

    fn file(&mut self, file: &ModuleFile, scene: &Scene) {
        if let Some(reason) = &file.unreadable {
            self.say(Evidence::UnreadableFile { reason: reason.clone() });
        }
        match (&file.package, &file.package_differs) {
            (Some(package), Some((wanted, found))) => self.say(Evidence::PackageDiffers {
                package: package.clone(),
                algorithm: file.package_algorithm.clone().unwrap_or_default(),
                wanted: wanted.clone(),
                found: found.clone(),
            }),
            (None, _) => {
                if let Some(database) = scene.packaged {
                    self.say(Evidence::Unpackaged { database });
                }
            }
            _ => {}
        }
    }
}
