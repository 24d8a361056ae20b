//! The real kernels, read once for all tests.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ferrmod_image::facts::Facts;
use ferrmod_image::kernel::KernelImage;
use ferrmod_tests::corpus::{Tree, folder, tree_or_skip};

/// The release whose numbers are written down in some tests. Others are compared with peers only.
pub(crate) const MEASURED: &str = "6.1.0-56-amd64";

/// One real kernel.
pub(crate) struct Kernel {
    pub(crate) tree: Tree,
    pub(crate) file: &'static [u8],
    pub(crate) image: KernelImage<'static>,
    pub(crate) facts: Vec<u8>,
}

impl Kernel {
    /// Reads the kernel of a version.
    fn read(version: &str) -> Option<Kernel> {
        let tree = tree_or_skip(version)?;
        // Lives as long as the process: the tests share it.
        let file = std::fs::read(&tree.vmlinuz).expect("the image is read").leak();
        let image = KernelImage::read(file).expect("the image is a kernel");
        let facts = Facts::build(&image);
        Some(Kernel { tree, file, image, facts })
    }

    /// Its release.
    pub(crate) fn release(&self) -> &str {
        &self.tree.release
    }

    /// Its facts, opened.
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts::open(&self.facts).expect("the facts just made open")
    }

    /// What its headers say it exports: from the corpus, else as they are installed.
    pub(crate) fn symvers(&self) -> Option<String> {
        let file = format!("usr/src/linux-headers-{}/Module.symvers", self.release());
        [folder().join("6.1-headers"), PathBuf::from("/")]
            .iter()
            .find_map(|root: &PathBuf| std::fs::read_to_string(Path::join(root, &file)).ok())
    }
}

/// The kernel of 6.1, if it is there.
pub(crate) fn kernel_6_1() -> Option<&'static Kernel> {
    static KERNEL: OnceLock<Option<Kernel>> = OnceLock::new();
    KERNEL.get_or_init(|| Kernel::read("6.1")).as_ref()
}

/// The kernels that are there: of 6.1 and of 6.12.
pub(crate) fn kernels() -> impl Iterator<Item = &'static Kernel> {
    static KERNEL_6_12: OnceLock<Option<Kernel>> = OnceLock::new();
    let newer = || KERNEL_6_12.get_or_init(|| Kernel::read("6.12")).as_ref();
    kernel_6_1().into_iter().chain(newer())
}

/// The kernel whose numbers are known, if it is the one of the corpus.
pub(crate) fn measured() -> Option<&'static Kernel> {
    let kernel = kernel_6_1()?;
    if kernel.release() != MEASURED {
        eprintln!("SKIPPED: numbers are known of {MEASURED}, not of {}", kernel.release());
        return None;
    }
    Some(kernel)
}
