//! A baseline: what was there when somebody looked and found it good.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Audit, Evidence, Finding, Module, Severity, Subject};

/// The name and version of the form.
const SCHEMA: &str = "ferrmod.audit.baseline/1";

/// A baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Baseline {
    schema: String,
    /// Whether it is of what was loaded, or of what was installed.
    pub subject: Subject,
    /// The kernels.
    pub releases: Vec<String>,
    /// The modules.
    pub modules: Vec<BaselineModule>,
    /// Settings and their values.
    #[serde(default)]
    pub settings: BTreeMap<String, Option<String>>,
}

/// A module in a baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BaselineModule {
    /// Its name.
    pub name: String,
    /// The kernel it is for.
    #[serde(default)]
    pub release: String,
    /// Its `srcversion`: of what is loaded, else of its file.
    #[serde(default)]
    pub srcversion: Option<String>,
    /// Its build id, likewise.
    #[serde(default)]
    pub build_id: Option<String>,
    /// Who has signed it.
    #[serde(default)]
    pub signer: Option<String>,
    /// Its file.
    #[serde(default)]
    pub path: Option<String>,
}

/// Why a file is no baseline.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// It is not JSON, or lacks something.
    #[error("not a baseline: {0}")]
    Json(#[from] serde_json::Error),
    /// It is another document.
    #[error("not a baseline: its schema is `{0}`, not `{SCHEMA}`")]
    Schema(String),
    /// It is of something else than what is looked at now.
    #[error("the baseline is of what was {then}, and this looks at what is {now}")]
    Subject {
        /// What it is of.
        then: Subject,
        /// What is looked at.
        now: Subject,
    },
}

impl Baseline {
    /// What `audit` saw, for later.
    #[must_use]
    pub fn of(audit: &Audit) -> Self {
        let module = |module: &Module| BaselineModule {
            name: module.name.clone(),
            release: module.release.clone(),
            srcversion: module.srcversion().map(str::to_owned),
            build_id: module.build_id().map(str::to_owned),
            signer: module.signer().map(str::to_owned),
            path: module.path().map(str::to_owned),
        };
        Self {
            schema: SCHEMA.to_owned(),
            subject: audit.subject,
            releases: audit.releases(),
            modules: audit.modules.iter().map(module).collect(),
            settings: audit.settings.iter().map(|one| (one.name.to_owned(), one.value.clone())).collect(),
        }
    }

    /// Reads a baseline.
    ///
    /// # Errors
    /// [`BaselineError`] says why it is none.
    pub fn read(text: &[u8]) -> Result<Self, BaselineError> {
        /// What every document of ours has.
        #[derive(Deserialize)]
        struct Head {
            schema: String,
        }
        let head: Head = serde_json::from_slice(text)?;
        if head.schema != SCHEMA {
            return Err(BaselineError::Schema(ferrmod_image::shown(head.schema.as_bytes())));
        }
        Ok(serde_json::from_slice(text)?)
    }

    /// The text of it, JSON.
    ///
    /// # Errors
    /// None that can happen: there is nothing in it that JSON has no form for.
    pub fn write(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// What is different in `audit`.
    ///
    /// # Errors
    /// [`BaselineError::Subject`] when the two are not of one kind.
    pub fn compare(&self, audit: &Audit) -> Result<Vec<Finding>, BaselineError> {
        if self.subject != audit.subject {
            return Err(BaselineError::Subject { then: self.subject, now: audit.subject });
        }
        let now = Self::of(audit);
        let mut findings = Vec::new();
        let same_kernel = self.releases == now.releases;
        if !same_kernel {
            let evidence = Evidence::BaselineKernel { before: self.releases.clone(), now: now.releases.clone() };
            findings.push(Finding::new(None, None, evidence));
        }
        // Names are unique among what is loaded. A tree may have several files of one name.
        let installed = self.subject == Subject::Installed;
        fn key(module: &BaselineModule, installed: bool) -> (&str, Option<(&str, Option<&str>)>) {
            let more = installed.then_some((module.release.as_str(), module.path.as_deref()));
            (&module.name, more)
        }
        let before: BTreeMap<_, _> = self.modules.iter().map(|module| (key(module, installed), module)).collect();
        let after: BTreeMap<_, _> = now.modules.iter().map(|module| (key(module, installed), module)).collect();
        for (key, module) in &after {
            let Some(old) = before.get(key) else {
                let evidence = Evidence::BaselineNew { path: module.path.clone() };
                findings.push(Finding::new(Some(&module.name), module.path.clone(), evidence));
                continue;
            };
            let builds = [
                ("srcversion", &old.srcversion, &module.srcversion),
                ("build id", &old.build_id, &module.build_id),
                ("path", &old.path, &module.path),
            ];
            let signer = [("signer", &old.signer, &module.signer)];
            let fields = builds.into_iter().filter(|_| same_kernel || installed).chain(signer);
            for (field, before, now) in fields.filter(|(_, before, now)| before != now) {
                let evidence = Evidence::BaselineChanged { field, before: before.clone(), now: now.clone() };
                findings.push(Finding::new(Some(&module.name), module.path.clone(), evidence));
            }
        }
        for (key, module) in &before {
            if !after.contains_key(key) {
                let evidence = Evidence::BaselineGone { path: module.path.clone() };
                findings.push(Finding::new(Some(&module.name), None, evidence));
            }
        }
        for setting in &audit.settings {
            let Some(before) = self.settings.get(setting.name).filter(|before| **before != setting.value) else {
                continue;
            };
            let evidence = Evidence::BaselineSetting {
                setting: setting.name.to_owned(),
                before: before.clone(),
                now: setting.value.clone(),
            };
            let finding = Finding::new(None, None, evidence);
            // What protects now is no reason to worry.
            let better = setting.on == Some(true);
            findings.push(if better { finding.with_severity(Severity::Information) } else { finding });
        }
        Ok(findings)
    }
}
