//! Whether a module loads on a kernel, and if not, exactly why.
//!
//! A [`Checker`] goes through the steps of Linux's loader for one kernel under one policy, in Linux's order, with nothing but files: the
//! module's, and those of the kernel (its image or its `Module.symvers`, its modules, its configuration). Where Linux stops at the first
//! thing that is wrong, a check goes on and collects all of it; what Linux would answer and print until then is in the [`Verdict`], too.
//! Binding and relocating are not judged but done, into memory that nobody runs, by the linker that loads modules for real.
//!
//! # What this module does not do
//!
//! It runs nothing: what the module's init function answers is not known. It does not know which modules are loaded unless it is told.

mod arguments;
mod candidate;
mod dependencies;
pub mod errno;
mod kernel;
mod kernel_config;
mod nearest;
mod parameters;
pub mod policy;
pub mod prototype;
mod scene;
mod signature;
mod steps;
mod symvers;
mod text;
mod verdict;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bstr::{BStr, ByteSlice};
use ferrmod_image::Image;
use ferrmod_image::btf::Btf;
use ferrmod_signature::Keyring;

pub use candidate::{Candidate, Together};
pub use kernel::{BuiltIn, Core, CoreExport, Kernel, built_for, vermagic_of_modules};
pub use kernel_config::KernelConfig;
pub use parameters::Known;
pub use policy::{BootParameter, Lockdown, Origin, Policy, PolicyError, Rules};
pub use prototype::{Change, Comparison, Difference};
pub use signature::Signed;
pub use symvers::{Symvers, SymversError, SymversExport};
pub use verdict::{Answer, DependencyProblem, Exporter, ImportProblem, Line, Note, Reason, Token, Verdict, letters};

/// How a check is made.
#[derive(Clone, Copy, Default)]
pub struct Settings<'s> {
    /// Looks for the types behind CRCs that differ, and for names like those that are missing.
    pub explain: bool,
    /// The file is handed to the kernel as it is: `finit_module(2)` unpacks it, or cannot.
    pub unpacked_by_kernel: bool,
    /// The certificates that the kernel trusts; without them, a signature that is in form is believed.
    pub keyring: Option<&'s Keyring>,
}

/// What was compared: the release of the other kernel, the exporting module, the symbol.
type Compared = (String, Option<String>, String);

/// Judges modules on one kernel.
pub struct Checker<'c> {
    kernel: &'c Kernel<'c>,
    rules: Rules,
    boot_parameters: Vec<BootParameter>,
    together: &'c Together,
    kernels: &'c [&'c Kernel<'c>],
    settings: Settings<'c>,
    loaded: HashSet<String>,
    /// Comparisons that were made.
    compared: Mutex<HashMap<Compared, Arc<Comparison>>>,
    /// Names like others, by symbol.
    nearest: Mutex<HashMap<String, Vec<String>>>,
}

impl<'c> Checker<'c> {
    /// A checker for `kernel`. `together` are modules at hand beside its tree, `kernels` all the kernels that evidence may be taken from.
    #[must_use]
    pub fn new(
        kernel: &'c Kernel<'c>,
        policy: &Policy,
        together: &'c Together,
        kernels: &'c [&'c Kernel<'c>],
        settings: Settings<'c>,
    ) -> Checker<'c> {
        Checker {
            kernel,
            rules: Rules::new(policy, &kernel.config),
            boot_parameters: policy.parameters.clone(),
            together,
            kernels,
            settings,
            loaded: HashSet::new(),
            compared: Mutex::default(),
            nearest: Mutex::default(),
        }
    }

    /// The kernel.
    #[must_use]
    pub fn kernel(&self) -> &'c Kernel<'c> {
        self.kernel
    }

    /// What the policy comes to on this kernel.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Takes these modules (by their normalised names) for loaded.
    #[must_use]
    pub fn with_loaded(mut self, names: impl IntoIterator<Item = String>) -> Checker<'c> {
        self.loaded.extend(names);
        self
    }

    /// Judges a module.
    #[must_use]
    pub fn check(&self, candidate: &Candidate<'_>) -> Verdict {
        self.judge(candidate, true)
    }

    /// The other kernels.
    fn others(&self) -> impl Iterator<Item = &'c Kernel<'c>> {
        let own: *const Kernel<'_> = self.kernel;
        self.kernels.iter().copied().filter(move |other| !std::ptr::addr_eq(*other, own))
    }

    /// Modules of the tree with a name like this.
    fn nearest_modules(&self, name: &str) -> Vec<String> {
        self.kernel.modules.as_ref().and_then(|(index, _)| index.nearest(name).ok()).unwrap_or_default()
    }

    /// Exports with a name like this.
    fn nearest_exports(&self, symbol: &BStr) -> Vec<String> {
        if !self.settings.explain {
            return Vec::new();
        }
        let name = symbol.to_str_lossy().into_owned();
        let lock = || self.nearest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&name) {
            return known.clone();
        }
        let of_modules = self.kernel.offers().into_iter().flat_map(|offers| offers.symbols().map(|(name, _)| name));
        let found = nearest::of(&name, self.kernel.export_names().chain(of_modules), 3);
        lock().insert(name, found.clone());
        found
    }

    /// The other kernels and modules that export `symbol`.
    fn elsewhere(&self, symbol: &BStr) -> Vec<Exporter> {
        let mut found = Vec::new();
        for other in self.others() {
            let mut add = |module: Option<String>| found.push(Exporter { kernel: other.release.clone(), module });
            if other.export(symbol).is_some() {
                add(None);
                continue;
            }
            let offers = other.offers();
            let module = offers.and_then(|offers| offers.module(offers.exporters(symbol).next()?.module));
            if let Some(module) = module {
                add(Some(module.name.to_owned()));
            }
        }
        found
    }

    /// What is different in the type of `symbol` between the kernel a module was built for and this one, where both are at hand.
    fn compare(&self, symbol: &BStr, exporter: Option<&str>, built_for: Option<&str>) -> Option<Comparison> {
        if !self.settings.explain {
            return None;
        }
        let Some(from) = self.kernels.iter().copied().find(|other| Some(other.release.as_str()) == built_for) else {
            return built_for.map(|release| Comparison::Unknown { why: format!("kernel {release} is not at hand") });
        };
        let key = (from.release.clone(), exporter.map(str::to_owned), symbol.to_str_lossy().into_owned());
        let lock = || self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&key) {
            return Some(Comparison::clone(known));
        }
        let comparison = Arc::new(self.compare_in(symbol, exporter, from));
        lock().insert(key, Arc::clone(&comparison));
        Some(Comparison::clone(&comparison))
    }

    fn compare_in(&self, symbol: &BStr, exporter: Option<&str>, from: &Kernel<'_>) -> Comparison {
        let unknown = |why: &str| Comparison::Unknown { why: why.to_owned() };
        if std::ptr::addr_eq(from, self.kernel) {
            return unknown("the module says that it was built for this very kernel");
        }
        let (Some(before), Some(after)) = (from.btf(), self.kernel.btf()) else {
            return unknown("one of the kernels carries no types");
        };
        if from.export(symbol).is_some() && exporter.is_none() {
            return prototype::compare(symbol, before, after);
        }
        // The types of a module continue those of its kernel.
        let module_of = |kernel: &Kernel<'_>| -> Option<Vec<u8>> {
            let offers = kernel.offers()?;
            let number = offers.exporters(symbol).next()?.module;
            Some(kernel.read(number).ok()??.1)
        };
        let in_core = |kernel: &Kernel<'_>| kernel.export(symbol).is_some();
        let (from_bytes, own_bytes) = (module_of(from), module_of(self.kernel));
        let (a, b) = (from_bytes.as_deref().and_then(types_of), own_bytes.as_deref().and_then(types_of));
        let own_before = a.and_then(|raw| Btf::read_split(raw, before).ok());
        let own_after = b.and_then(|raw| Btf::read_split(raw, after).ok());
        let before = if in_core(from) { Some(before) } else { own_before.as_ref() };
        let after = if in_core(self.kernel) { Some(after) } else { own_after.as_ref() };
        match (before, after) {
            (Some(before), Some(after)) => prototype::compare(symbol, before, after),
            _ => unknown("the exporting module carries no types, or is not at hand"),
        }
    }
}

/// The type information in a module's file.
fn types_of(bytes: &[u8]) -> Option<&[u8]> {
    Some(Image::read(bytes).ok()?.any_section(".BTF")?.1.data)
}
