//! What Linux asks a module before it gives it memory: versions, origin, licence.

use alloc::borrow::ToOwned;

use bstr::{BStr, BString, ByteSlice};
use ferrmod_image::Image;

use crate::error::{LinkError, Refused};
use crate::layout::name_of;
use crate::report::{Notice, Report, Taints};

/// The kernel a module is checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// Its `vermagic`, as in `6.1.0-56-amd64 SMP preempt mod_unload modversions ` (with the trailing space).
    pub vermagic: &'a BStr,
    /// The CRC of its `module_layout`; `None` when it exports none, and then none is checked.
    pub module_layout: Option<u32>,
    /// `CONFIG_MODULE_FORCE_LOAD`: what cannot be checked is loaded with a taint.
    pub force_load: bool,
    /// It uses retpolines, so it warns of modules that do not.
    pub retpoline: bool,
    /// `CONFIG_LIVEPATCH`.
    pub livepatch: bool,
}

/// The flags of `finit_module(2)` that this crate heeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `MODULE_INIT_IGNORE_MODVERSIONS`: as if the module had no `__versions`.
    pub ignore_modversions: bool,
    /// `MODULE_INIT_IGNORE_VERMAGIC`: as if the module had no `vermagic=`.
    pub ignore_vermagic: bool,
}

/// The licences Linux takes as compatible with the GPL: exactly these.
const GPL_COMPATIBLE: [&[u8]; 6] =
    [b"GPL", b"GPL v2", b"GPL and additional rights", b"Dual BSD/GPL", b"Dual MIT/GPL", b"Dual MPL/GPL"];

/// Makes the checks between reading the file and giving it memory, in Linux 6.1's order: the CRC of `module_layout`,
/// `vermagic`, the taints for origin, compiler, staging, live patches, licence and tests.
///
/// The report's taints are the module's own; the notices come in order.
///
/// # Errors
///
/// The module is refused, with `ENOEXEC`.
pub fn check(image: &Image<'_>, host: &Host<'_>, flags: Flags) -> Result<Report, Refused> {
    let mut report = Report::default();
    let module = || name_of(image).to_owned();
    let versions = if flags.ignore_modversions { None } else { image.versions() };

    // check_modstruct_version
    if let Some(wanted) = host.module_layout {
        let symbol = BString::from("module_layout");
        match &versions {
            None => {
                if let Err(error) = force(&mut report, module(), symbol.as_bstr(), host.force_load) {
                    return Err(Refused::new(report, error));
                }
            }
            Some(versions) => {
                let notice = match versions.get(symbol.as_bstr()) {
                    Some(found) if found == wanted => None,
                    Some(_) => Some(Notice::VersionDiffers { module: module(), symbol }),
                    None => Some(Notice::NoVersion { module: module(), symbol }),
                };
                if let Some(notice) = notice {
                    report.say(notice);
                    return Err(Refused::new(report, LinkError::ModuleLayout { module: module() }));
                }
            }
        }
    }

    let modinfo = image.modinfo();
    let vermagic = if flags.ignore_vermagic { None } else { modinfo.get("vermagic") };
    match vermagic {
        None => {
            if let Err(error) = force(&mut report, module(), BStr::new("bad vermagic"), host.force_load) {
                return Err(Refused::new(report, error));
            }
        }
        Some(found) if !same_magic(found, host.vermagic, versions.is_some()) => {
            let error =
                LinkError::Vermagic { module: module(), found: found.to_owned(), wanted: host.vermagic.to_owned() };
            return Err(Refused::new(report, error));
        }
        Some(_) => {}
    }
    if modinfo.get("intree").is_none() {
        report.taint(Taints::OUT_OF_TREE, Notice::OutOfTree { module: module() });
    }
    if host.retpoline && modinfo.get("retpoline").is_none() {
        report.say(Notice::SpectreV2);
        report.say(Notice::NotRetpoline { module: module() });
    }
    if modinfo.get("staging").is_some() {
        report.taint(Taints::STAGING, Notice::Staging { module: module() });
    }
    if modinfo.get("livepatch").is_some() {
        if !host.livepatch {
            return Err(Refused::new(report, LinkError::NoLivepatch { module: module() }));
        }
        report.taint(Taints::LIVEPATCH, Notice::Livepatch { module: module() });
    }
    let licence = modinfo.get("license").unwrap_or(BStr::new("unspecified"));
    if !GPL_COMPATIBLE.contains(&licence.as_bytes()) {
        report.taint(Taints::PROPRIETARY, Notice::Licence { module: module(), licence: licence.to_owned() });
    }
    if modinfo.get("test").is_some() {
        report.taint(Taints::TEST, Notice::Test { module: module() });
    }
    Ok(report)
}

/// Linux's `try_to_force_load`.
pub(crate) fn force(report: &mut Report, module: BString, reason: &BStr, force_load: bool) -> Result<(), LinkError> {
    if !force_load {
        return Err(LinkError::NotForced { module, reason: reason.to_owned() });
    }
    report.taint(Taints::FORCED, Notice::Forced { module, reason: reason.to_owned() });
    Ok(())
}

/// Whether two `vermagic` strings agree. A module with CRCs may be of another release: the first word is skipped.
fn same_magic(found: &BStr, wanted: &BStr, has_crcs: bool) -> bool {
    if !has_crcs {
        return found == wanted;
    }
    let tail = |magic: &BStr| magic.find_byte(b' ').map_or(magic.len(), |space| space);
    found[tail(found)..] == wanted[tail(wanted)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_counts_only_without_crcs() {
        let wanted = BStr::new("6.1.0-56-amd64 SMP preempt mod_unload modversions ");
        let other_release = BStr::new("6.1.0-9-amd64 SMP preempt mod_unload modversions ");
        let other_flags = BStr::new("6.1.0-56-amd64 SMP PREEMPT mod_unload modversions ");
        assert!(same_magic(wanted, wanted, false));
        assert!(same_magic(other_release, wanted, true));
        assert!(!same_magic(other_release, wanted, false));
        assert!(!same_magic(other_flags, wanted, true));
        assert!(!same_magic(BStr::new(""), wanted, true));
    }
}
