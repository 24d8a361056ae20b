//! Kernels to check on.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bstr::BString;
use ferrmod_image::facts::Facts;
use ferrmod_image::kernel::KernelImage;
use ferrmod_index::{Index, Tree as Folder};
use ferrmod_plan::check::{Candidate, Checker, Core, Kernel, KernelConfig, Policy, Settings, Together, Verdict};
use ferrmod_tests::corpus::{self, Tree, tree_or_skip};

/// The facts about a kernel, made once for all runs: an index of this test's own, in the build's folder.
fn facts(tree: &Tree) -> &'static [u8] {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let image = fs::metadata(&tree.vmlinuz).unwrap();
    let name = format!("{}-{}-{}.facts", tree.release, image.len(), ferrmod_image::facts::FORMAT);
    let path = folder.join(name);
    let known = fs::read(&path).ok().filter(|bytes| Facts::open(bytes).is_ok());
    let bytes = known.unwrap_or_else(|| {
        let file = fs::read(&tree.vmlinuz).unwrap();
        let bytes = Facts::build(&KernelImage::read(&file).unwrap());
        let new = folder.join(format!("{}.{}.new", tree.release, std::process::id()));
        fs::write(&new, &bytes).unwrap();
        fs::rename(&new, &path).unwrap();
        bytes
    });
    bytes.leak()
}

fn open(version: &str) -> Option<Kernel<'static>> {
    let tree = tree_or_skip(version)?;
    let facts = Facts::open(facts(&tree)).unwrap();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("index");
    let index: &'static Index = Box::leak(Box::new(Index::with_cache(Folder::at(&tree.modules), Some(cache))));
    let offers = index.offers(&|_, _| ()).unwrap();
    let offers = if offers.is_current() { offers } else { index.scan_offers(&|_, _| ()).unwrap() };
    let config = tree.root.join("boot").join(format!("config-{}", tree.release));
    Some(Kernel {
        release: facts.release().to_owned(),
        vermagic: BString::from(facts.vermagic()),
        core: Core::Image(Box::new(facts)),
        config: KernelConfig::new(config.display().to_string(), &fs::read(&config).unwrap()),
        modules: Some((index, offers)),
    })
}

/// Debian's 6.1, or `None` with a loud word.
pub(crate) fn linux_6_1() -> Option<&'static Kernel<'static>> {
    static KERNEL: OnceLock<Option<Kernel<'static>>> = OnceLock::new();
    KERNEL.get_or_init(|| open("6.1")).as_ref()
}

/// Debian's 6.12, or `None` with a loud word.
pub(crate) fn linux_6_12() -> Option<&'static Kernel<'static>> {
    static KERNEL: OnceLock<Option<Kernel<'static>>> = OnceLock::new();
    KERNEL.get_or_init(|| open("6.12")).as_ref()
}

/// The path of one of our own modules, else of a module of Debian's 6.1.
pub(crate) fn module_path(name: &str) -> PathBuf {
    let of_tree = || corpus::tree("6.1").and_then(|tree| tree.file(name));
    corpus::own_module(name).or_else(of_tree).unwrap_or_else(|| panic!("no module {name}"))
}

/// The unpacked bytes of that module.
pub(crate) fn module(name: &str) -> Vec<u8> {
    ferrmod_index::read_module(&module_path(name)).unwrap()
}

/// A file that never was one.
pub(crate) fn candidate<'b>(name: &str, bytes: &'b [u8], arguments: &str) -> Candidate<'b> {
    let mut candidate = Candidate::new(Path::new(&format!("/t/{name}")), bytes);
    candidate.arguments = arguments.as_bytes().to_vec();
    candidate
}

/// Several of our own modules as given together.
pub(crate) fn together(names: &[&str]) -> Together {
    let mut together = Together::new();
    for name in names {
        let bytes = module(name);
        together.add(Candidate::new(Path::new(&format!("/t/{name}.ko")), &bytes).into_owned());
    }
    together
}

/// What is known about how a module is checked.
#[derive(Default)]
pub(crate) struct Setting<'s> {
    pub(crate) command_line: &'s str,
    pub(crate) policy: &'s str,
    pub(crate) together: &'s [&'s str],
    pub(crate) loaded: &'s [&'s str],
    pub(crate) settings: Settings<'s>,
}

/// Checks a file on a kernel.
pub(crate) fn check(kernel: &Kernel<'_>, file: &Candidate<'_>, setting: &Setting<'_>) -> Verdict {
    let mut policy = Policy::parse("policy", setting.policy).unwrap();
    policy.command_line("/proc/cmdline", setting.command_line);
    let together = together(setting.together);
    let kernels = [kernel];
    let checker = Checker::new(kernel, &policy, &together, &kernels, setting.settings);
    checker.with_loaded(setting.loaded.iter().map(|&name| name.to_owned())).check(file)
}
