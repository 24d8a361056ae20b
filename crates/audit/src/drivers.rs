//! Which modules have a device bound to one of their drivers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::views::driver_folders;
use ferrmod_image::shown;

/// The modules with a driver that has a device, by name.
///
/// A driver's folder links to its module, and has a link to each device that is bound to it; a module's folder links to its drivers,
/// also where the driver does not link back.
#[must_use]
pub fn in_use(sys: &Path) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (_, folder) in driver_folders(&sys.join("bus")).unwrap_or_default() {
        if let Ok(module) = fs::read_link(folder.join("module"))
            && has_device(&folder)
            && let Some(name) = module.file_name()
        {
            used.insert(shown(name.as_encoded_bytes()));
        }
    }
    for module in fs::read_dir(sys.join("module")).into_iter().flatten().flatten() {
        let drivers = fs::read_dir(module.path().join("drivers")).into_iter().flatten().flatten();
        if drivers.into_iter().any(|driver| has_device(&driver.path())) {
            used.insert(shown(module.file_name().as_encoded_bytes()));
        }
    }
    used
}

/// Whether a driver's folder has a link to a device: every link in it but that to its module is one.
fn has_device(driver: &Path) -> bool {
    let entries = fs::read_dir(driver).into_iter().flatten().flatten();
    entries
        .into_iter()
        .any(|entry| entry.file_name() != "module" && entry.file_type().is_ok_and(|kind| kind.is_symlink()))
}
