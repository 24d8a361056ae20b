//! The certificates that vouch for the modules of a root.

use std::path::{Path, PathBuf};

use ferrmod_index::Tree;
use ferrmod_signature::Keyring;

use super::AuditArgs;
use crate::exit::Failure;
use crate::{kernel_image, verify};

/// Where certificates come from.
pub(super) struct Certificates {
    /// Those that were named.
    named: Keyring,
    root: PathBuf,
    /// The kernel's image, when it was named.
    image: Option<PathBuf>,
}

impl Certificates {
    /// Those of the command line.
    ///
    /// # Errors
    /// [`Failure`] when a file or folder has none.
    pub(super) fn new(args: &AuditArgs, root: PathBuf, image: Option<PathBuf>) -> Result<Self, Failure> {
        let mut named = Keyring::new();
        for path in &args.cert {
            if verify::add_file(&mut named, path)? == 0 {
                let (path, reason) = (path.display().to_string(), "no certificate in it".to_owned());
                return Err(Failure::Content { path, reason });
            }
        }
        for folder in &args.keyring {
            verify::add_folder(&mut named, folder)?;
        }
        Ok(Self { named, root, image })
    }

    /// Those for the modules of a tree, or why there are none.
    ///
    /// The image of the kernel is looked for in the root and nowhere else: another system's kernel of the same release does not
    /// vouch for this one's modules.
    pub(super) fn of(&self, tree: &Tree) -> Result<Keyring, String> {
        let mut keyring = self.named.clone();
        match self.add_kernel(&mut keyring, tree) {
            Err(reason) if self.named.is_empty() => Err(reason),
            _ => Ok(keyring),
        }
    }

    fn add_kernel(&self, keyring: &mut Keyring, tree: &Tree) -> Result<(), String> {
        let places = [tree.folder.join("vmlinuz"), self.root.join("boot").join(format!("vmlinuz-{}", tree.release))];
        let found = self.image.as_deref().or_else(|| places.iter().map(PathBuf::as_path).find(|path| path.is_file()));
        let image: &Path = found.ok_or_else(|| {
            let tried: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
            format!("no image of the kernel with its certificates (looked for {}); name it with --kernel, or certificates with --keyring", tried.join(", "))
        })?;
        let facts = kernel_image::facts(&tree.release, Some(image), None, &[]).map_err(|error| error.to_string())?;
        match verify::add_kernel(keyring, &facts, &image.display().to_string())? {
            0 => Err(format!("{}: no certificate is built into this kernel", image.display())),
            _ => Ok(()),
        }
    }
}
