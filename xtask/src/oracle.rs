//! `cargo xtask oracle`: what Debian's kernel does with each of its modules, in QEMU.
//!
//! The guest holds the whole tree and Debian's kmod, so that soft dependencies are loaded and `request_module` is answered. Its
//! first process (`live_init` of the tests) loads each module behind what `modprobe --show-depends` names, notes what init
//! answers, unloads everything that came and notes what exit answers. A module that the kernel does not survive is recorded
//! as that, and the next boot goes on behind it. Several guests run at a time, each with modules of its own. What is known so
//! far is kept in a file beside the scratch folder, so that an interrupted run goes on where it was.

mod guest;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use ferrmod_tests::corpus::{self, Tree};

use guest::{End, Guest};
use record::Record;

/// How often a guest may end with the same module before that is the module's doing: an emulated machine now and then ends for no
/// reason that it gives.
const ATTEMPTS: usize = 3;

/// Modules that are worth a boot of their own.
const FEW: usize = 100;

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
    /// Guests at a time, each with 2.5 GB of memory [default: as many as processors, at most 4]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Where the guests are made, about 1 GB each [default: a folder in the system's temporary one]
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
    let record = Record::open(&folder.join(format!("{version}-{}.tsv", options.every)), options.fresh)?;
    let paths: Vec<String> = tree
        .files()
        .iter()
        .step_by(options.every.max(1))
        .filter_map(|path| Some(path.strip_prefix(&tree.modules).ok()?.to_str()?.to_owned()))
        .collect();
    let guest = Guest::make(tree, &folder.join(version), &paths)?;
    println!("{version}: {} modules, the guest is made after {} s", paths.len(), begin.elapsed().as_secs());
    let jobs = jobs(options);
    let run = Run { version, guest: &guest, paths: &paths, batch: options.batch, jobs, begin };
    let state = Mutex::new(State { record, taken: BTreeSet::new(), lost: BTreeMap::new() });
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|number| {
                let (run, state) = (&run, &state);
                scope.spawn(move || run.work(number, state))
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")))
    })?;
    let State { record, .. } = state.into_inner().unwrap_or_else(PoisonError::into_inner);
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

fn jobs(options: &Options) -> usize {
    options.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from).min(4)).max(1)
}

/// What all workers share.
struct State {
    record: Record,
    /// The modules that a guest is at.
    taken: BTreeSet<String>,
    /// How often a guest ended with a module.
    lost: BTreeMap<String, usize>,
}

/// What a run is about.
struct Run<'r> {
    version: &'r str,
    guest: &'r Guest,
    paths: &'r [String],
    batch: usize,
    jobs: usize,
    begin: Instant,
}

impl Run<'_> {
    /// Boots one guest after another, until nothing is left that no other is at.
    fn work(&self, number: usize, state: &Mutex<State>) -> Result<()> {
        let state = || state.lock().unwrap_or_else(PoisonError::into_inner);
        let machine = self.guest.machine(number)?;
        let mut mute = 0;
        loop {
            let batch = state().batch(self.paths, self.batch, self.jobs);
            if batch.is_empty() {
                return Ok(());
            }
            let mut answers = 0;
            let end = machine.boot(&batch, |line| {
                answers += 1;
                state().record.take(line)
            });
            let mut state = state();
            state.taken.retain(|path| !batch.contains(&path));
            let end = end?;
            if let End::Lost(path, how) = &end {
                let times = state.lost.entry(path.clone()).or_insert(0);
                *times += 1;
                println!("{}: {path}: {how} ({times} of {ATTEMPTS})", self.version);
                if *times == ATTEMPTS {
                    state.record.lost(path, how)?;
                }
            }
            let (known, seconds) = (state.record.len(), self.begin.elapsed().as_secs());
            println!("{}: {known} of {} after {seconds} s", self.version, self.paths.len());
            // On a loaded machine a kernel may find at boot that its clocks do not fit together.
            mute = if answers == 0 && matches!(end, End::Done) { mute + 1 } else { 0 };
            if mute == 3 {
                bail!("the guest says nothing; its console is {}", machine.console().display());
            }
        }
    }
}

impl State {
    /// The next modules for a guest, which nobody else is at.
    fn batch<'p>(&mut self, paths: &'p [String], most: usize, jobs: usize) -> Vec<&'p String> {
        let free = |path: &&String| !self.record.knows(path) && !self.taken.contains(*path);
        let free: Vec<_> = paths.iter().filter(free).collect();
        // The last ones are divided, so that no guest works on alone for long.
        let batch =
            free.get(..most.min(free.len().div_ceil(jobs).max(FEW)).min(free.len())).unwrap_or_default().to_vec();
        self.taken.extend(batch.iter().map(|path| (*path).clone()));
        batch
    }
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
