//! `cargo xtask oracle`: what Debian's kernel does with each of its modules, in QEMU.
//!
//! The guest holds the whole tree and Debian's kmod, so that soft dependencies are loaded and `request_module` is answered. Its
//! first process (`live_init` of the tests) loads each module behind what `modprobe --show-depends` names, notes what init
//! answers, unloads everything that came and notes what exit answers. A module that the kernel does not survive is recorded
//! as that, and the next boot goes on behind it. What is known so far is kept in a file beside the scratch folder, so that
//! an interrupted run goes on where it was.

mod guest;
mod record;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use ferrmod_tests::corpus::{self, Tree};

use guest::{End, Guest};
use record::Record;

/// How often a guest may end with the same module before that is the module's doing: an emulated machine now and then ends for no
/// reason that it gives.
const ATTEMPTS: usize = 3;

/// What to record
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The kernels
    #[arg(default_values = ["6.1", "6.12"], value_name = "VERSION")]
    versions: Vec<String>,
    /// Only every so many-th module, to try it out; the record is not written into tests/data
    #[arg(long, value_name = "N", default_value_t = 1)]
    every: usize,
    /// Modules a boot: what one leaves behind is not there for those of the next
    #[arg(long, value_name = "N", default_value_t = 600)]
    batch: usize,
    /// Forget what an interrupted run has found
    #[arg(long)]
    fresh: bool,
    /// Where the guest is made, about 1 GB a kernel [default: a folder in the system's temporary one]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    for version in &options.versions {
        let Some(tree) = corpus::tree(version) else {
            bail!("the {version} kernel is missing; run `cargo xtask corpus`");
        };
        of_kernel(&tree, version, options)?;
    }
    Ok(())
}

fn of_kernel(tree: &Tree, version: &str, options: &Options) -> Result<()> {
    let begin = Instant::now();
    let folder = options.folder.clone().unwrap_or_else(|| std::env::temp_dir().join("ferrmod-oracle"));
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let mut record = Record::open(&folder.join(format!("{version}-{}.tsv", options.every)), options.fresh)?;
    let paths: Vec<String> = tree
        .files()
        .iter()
        .step_by(options.every.max(1))
        .filter_map(|path| Some(path.strip_prefix(&tree.modules).ok()?.to_str()?.to_owned()))
        .collect();
    let guest = Guest::make(tree, &folder.join(version), &paths)?;
    println!("{version}: {} modules, the guest is made after {} s", paths.len(), begin.elapsed().as_secs());
    let (mut mute, mut lost) = (0, BTreeMap::new());
    loop {
        let batch: Vec<&String> = paths.iter().filter(|path| !record.knows(path)).take(options.batch).collect();
        if batch.is_empty() {
            break;
        }
        let known = record.len();
        let end = guest.boot(&batch, |line| record.take(line))?;
        if let End::Lost(path, how) = &end {
            let times = lost.entry(path.clone()).or_insert(0);
            *times += 1;
            println!("{version}: {path}: {how} ({times} of {ATTEMPTS})");
            if *times == ATTEMPTS {
                record.lost(path, how)?;
            }
        }
        println!("{version}: {} of {} after {} s", record.len(), paths.len(), begin.elapsed().as_secs());
        // On a loaded machine a kernel may find at boot that its clocks do not fit together.
        mute = if record.len() == known && matches!(end, End::Done) { mute + 1 } else { 0 };
        if mute == 3 {
            bail!("the guest says nothing; its console is {}", guest.console().display());
        }
    }
    let text = record.text(&heading(tree), &paths);
    let whole = options.every == 1;
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
    let name = format!("linux-{version}-modprobe-outcomes.tsv");
    let into = if whole { data.join(name) } else { folder.join(name) };
    let partial = into.with_extension("partial");
    fs::write(&partial, text).with_context(|| format!("write {}", partial.display()))?;
    fs::rename(&partial, &into).with_context(|| format!("rename to {}", into.display()))?;
    println!("{version}: {} ({} s)", into.display(), begin.elapsed().as_secs());
    if whole {
        record.remove()?;
        guest.remove()?;
    }
    Ok(())
}

fn heading(tree: &Tree) -> String {
    format!(
        "# What Linux {} (Debian) did with each of its modules in QEMU (TCG, i440fx, -cpu max, two CPUs, no extra devices),\n\
         # with Debian's kmod in the guest: soft dependencies are loaded and request_module() is answered. Made by `cargo xtask oracle`.\n\
         # `panic`: the kernel did not survive it; `hang`: it did not end within four minutes, or held on to the processor.\n\
         # path\tinit\texit\tdependencies that failed\n",
        tree.release
    )
}
