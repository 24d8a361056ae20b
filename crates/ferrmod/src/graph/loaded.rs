//! What a kernel has loaded, as a graph takes it.

use std::path::Path;

use ferrmod_linux::{InitState, Kernel, Roots};
use ferrmod_plan::graph::{LoadState, Loaded, LoadedModule};

use crate::exit::Failure;

/// The running kernel, or the one whose `/proc`, `/sys` and `/dev` were kept below `root`.
pub(crate) fn kernel(root: Option<&Path>) -> Kernel {
    match root {
        None => Kernel::running(),
        Some(root) => Kernel::recorded(Roots { proc: root.join("proc"), sys: root.join("sys"), dev: root.join("dev") }),
    }
}

/// The release of the kernel below `root`, or of the running one.
pub(crate) fn release(root: Option<&Path>) -> Option<String> {
    match root {
        None => crate::tree::running_release(),
        Some(root) => {
            let text = std::fs::read_to_string(root.join("proc/sys/kernel/osrelease")).ok()?;
            Some(text.trim().to_owned()).filter(|release| !release.is_empty())
        }
    }
}

/// The loaded modules, the newest first.
///
/// # Errors
/// [`Failure::Refused`] when the kernel does not say, or says something that cannot be.
pub(crate) fn loaded(kernel: &Kernel) -> Result<Vec<LoadedModule>, Failure> {
    let modules = kernel.modules().map_err(|error| {
        let hint = if error.is_not_found() { " (a kernel without loadable modules has none)" } else { "" };
        Failure::Refused(format!("{error}{hint}"))
    })?;
    let all = modules.all(kernel).map_err(|error| Failure::Refused(error.to_string()))?;
    let one = |module: ferrmod_linux::LoadedModule<'_>| LoadedModule {
        name: module.name.to_string(),
        // Without the signs of loading and unloading, which the state says.
        taints: module.taints.to_string().trim_end_matches(['+', '-']).to_owned(),
        loaded: Loaded {
            size: module.size,
            references: module.references,
            holders: module.users().map(ToString::to_string).collect(),
            state: match module.state {
                InitState::Live => LoadState::Live,
                InitState::Coming => LoadState::Loading,
                InitState::Going => LoadState::Unloading,
            },
            permanent: module.is_permanent(),
        },
    };
    Ok(all.into_iter().map(one).collect())
}
