//! The devices that are present, as sysfs shows them.

use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use ferrmod_config::Root;
use ferrmod_plan::why::Device;
use rustix::fs::FileType;

/// How deep folders of devices are gone into. Real ones are some twenty deep.
const DEEPEST: usize = 64;
/// The most folders that are looked at: a large server has some ten thousand.
const MOST: usize = 1 << 20;

/// Every device below `/sys/devices` that says which module it wants, by its `modalias` or, where there is none, the `MODALIAS=` of its
/// `uevent`; sorted. `None` when there is no such folder.
pub(crate) fn present(root: &Root) -> Option<Vec<Device>> {
    let top = PathBuf::from("/sys/devices");
    root.metadata(&top).ok().filter(std::fs::Metadata::is_dir)?;
    let mut devices = Vec::new();
    let mut folders = vec![(top, 0)];
    let mut looked = 0;
    while let Some((folder, depth)) = folders.pop() {
        looked += 1;
        if looked > MOST {
            break;
        }
        let Ok(entries) = root.entries(&folder) else { continue };
        let mut has_modalias = false;
        let mut has_uevent = false;
        for entry in &entries {
            match entry.name.as_encoded_bytes() {
                b"modalias" => has_modalias = true,
                b"uevent" => has_uevent = true,
                _ => {}
            }
            // Links lead to other devices, which have their own folders. Where the file system does not say what it is, it is asked.
            let is_folder = match entry.kind {
                FileType::Directory => true,
                FileType::Unknown => {
                    let path = root.outside(&folder.join(&entry.name));
                    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
                }
                _ => false,
            };
            if is_folder && depth < DEEPEST {
                folders.push((folder.join(&entry.name), depth + 1));
            }
        }
        let own = has_modalias.then(|| text(root, &folder.join("modalias"))).flatten();
        let own = own.or_else(|| has_uevent.then(|| of_uevent(root, &folder.join("uevent"))).flatten());
        if let Some(modalias) = own.filter(|modalias| !modalias.is_empty()) {
            let linked = |link: &str| {
                let to = std::fs::read_link(root.outside(&folder.join(link))).ok()?;
                Some(to.file_name()?.to_string_lossy().into_owned())
            };
            let (driver, module) = (linked("driver"), linked("driver/module"));
            devices.push(Device { path: folder.display().to_string(), modalias, driver, module });
        }
    }
    devices.sort_by(|a, b| a.path.cmp(&b.path));
    Some(devices)
}

fn text(root: &Root, path: &Path) -> Option<String> {
    let bytes = root.read(path).ok()?;
    let line = bytes.lines().next().unwrap_or_default();
    Some(line.to_str_lossy().into_owned())
}

fn of_uevent(root: &Root, path: &Path) -> Option<String> {
    let bytes = root.read(path).ok()?;
    let line = bytes.lines().find_map(|line| line.strip_prefix(b"MODALIAS="))?;
    Some(line.to_str_lossy().into_owned())
}
