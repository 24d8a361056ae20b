//! A machine with a tree of modules behind it: what `run` and `console` share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bstr::ByteSlice;
use ferrmod_image::linux::Image;
use ferrmod_index::read_module;
use ferrmod_machine::{LoadFlags, LogLine, Machine, Options};

use crate::cli::{MachineArgs, Request};
use crate::described::{self, Described};
use crate::exit::Failure;
use crate::kernel_image;
use crate::report::{Ended, Load};
use crate::tree::{Planned, Tree};

/// A machine, and where its modules come from.
pub(crate) struct Session {
    pub(crate) machine: Machine,
    tree: Arc<Tree>,
    /// The release of the kernel whose modules it takes; empty without one.
    pub(crate) release: String,
    /// Init functions that have failed so far.
    failed_inits: u64,
    /// The devices that were described, as they were when last looked at.
    pub(crate) devices: Vec<Described>,
    /// The number of the last event about a device that was looked at.
    pub(crate) last_event: u64,
    /// Every record of the kernel log so far.
    pub(crate) log: Arc<Mutex<Vec<LogLine>>>,
}

/// The vermagic of a module, unless it was built for our own interface, which wants no kernel's image.
fn vermagic_of(bytes: &[u8]) -> Option<bstr::BString> {
    let image = Image::read(bytes).ok()?;
    let vermagic = image.modinfo().get("vermagic")?;
    (!vermagic.starts_with(b"ferrmod")).then(|| vermagic.to_owned())
}

impl Session {
    /// Boots a machine for the modules asked for, and with `list` for any module of the tree and for those of the list, which are not
    /// planned. With `modprobe`, soft dependencies are loaded and modules' requests answered. `print` gets every record of the kernel
    /// log as it happens.
    pub(crate) fn boot(
        args: &MachineArgs,
        requests: &[Request],
        list: Option<&[Request]>,
        modprobe: bool,
        mut print: impl FnMut(&LogLine) + Send + 'static,
    ) -> Result<(Self, Vec<Planned>), Failure> {
        let image = args.kernel.as_ref().map(PathBuf::from).filter(|path| path.is_file());
        let release = match (&args.kernel, &image) {
            (Some(release), None) => Some(release.to_string_lossy().into_owned()),
            _ => None,
        };
        let tree = Arc::new(Tree::new(args.tree.clone(), release.clone()));
        if let Some(list) = list {
            tree.find_for(list);
        }
        let plan = tree.plan(requests, modprobe)?;
        let mut files: Vec<PathBuf> = plan.iter().map(|planned| planned.path.clone()).collect();
        let listed = list.unwrap_or_default().iter().map(|request| PathBuf::from(&request.module));
        files.extend(listed.filter(|path| path.is_file()));
        let of_list = files.iter().skip(plan.len()).filter_map(|path| vermagic_of(&read_module(path).ok()?));
        let wanted = plan
            .iter()
            .filter_map(|planned| vermagic_of(&planned.bytes))
            .chain(of_list)
            .next()
            .map(|vermagic| kernel_image::release_of(vermagic.as_bstr()));
        // A console without modules still wants the kernel it was told of.
        let wanted = wanted.or(release).or_else(|| image.as_ref().map(|_| String::new()));
        let is_certain = wanted.is_some() || args.tree.is_some() || list.is_some() || !args.device.is_empty();
        // Whoever asks for modules later, or describes devices, wants the kernel of the tree that they will come from.
        let wanted =
            wanted.or_else(|| (requests.is_empty() || !args.device.is_empty()).then(|| tree.release()).flatten());
        let mut options = Options {
            strict: args.strict,
            cpus: args.cpus,
            timeout: args.timeout,
            command_line: "ferrmod".into(),
            checks: args.heap.into(),
            ..Options::default()
        };
        let mut running = String::new();
        if let Some(wanted) = wanted {
            match kernel_image::facts(&wanted, image.as_deref(), args.tree.as_deref(), &files) {
                Ok(facts) => {
                    if let Ok(known) = ferrmod_image::facts::Facts::open(&facts) {
                        running = known.release().to_owned();
                    }
                    options.facts = Some(facts);
                }
                Err(failure) if is_certain => return Err(failure),
                // Whether a console here will be asked for a module of the running kernel is not known.
                Err(_) => (),
            }
        }
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        let sink = Box::new(move |line: &LogLine| {
            print(line);
            if let Ok(mut kept) = kept.lock() {
                kept.push(line.clone());
            }
        });
        let fetching = Arc::clone(&tree);
        let fetch = Box::new(move |name: &str| {
            if !modprobe {
                return None;
            }
            let request = Request { module: name.into(), arguments: Vec::new() };
            let plan = fetching.plan(std::slice::from_ref(&request), true).ok()?;
            Some(plan.into_iter().map(|planned| (planned.bytes, planned.arguments)).collect())
        });
        let machine = Machine::boot(options, sink, fetch)?;
        let devices = Vec::new();
        let mut session = Self { machine, tree, release: running, failed_inits: 0, devices, last_event: 0, log };
        for device in &args.device {
            described::add(&mut session, &device.given, &device.whole)?;
        }
        Ok((session, plan))
    }

    /// Whether this module was built for a kernel, and no image of one was found when the machine booted.
    pub(crate) fn lacks_kernel_of(&self, planned: &Planned) -> bool {
        self.release.is_empty() && vermagic_of(&planned.bytes).is_some()
    }

    /// What has to be loaded for `request`, in order.
    pub(crate) fn plan(&self, request: &Request) -> Result<Vec<Planned>, Failure> {
        self.tree.plan(std::slice::from_ref(request), true)
    }

    /// The modules loaded now, newest first.
    pub(crate) fn loaded(&mut self) -> Result<Vec<String>, Failure> {
        Ok(self.machine.list()?.into_iter().map(|module| module.name.to_string()).collect())
    }

    /// Loads one module. A dependency that is there already is no error and gives `None`.
    pub(crate) fn load(&mut self, planned: &Planned) -> Result<Option<Load>, Failure> {
        if !planned.requested && self.loaded()?.contains(&planned.name) {
            return Ok(None);
        }
        self.load_now(planned).map(Some)
    }

    /// Where its modules come from.
    pub(crate) fn tree(&self) -> Arc<Tree> {
        Arc::clone(&self.tree)
    }

    /// Loads one module, whatever is loaded.
    pub(crate) fn load_now(&mut self, planned: &Planned) -> Result<Load, Failure> {
        let outcome = self.machine.load(&planned.bytes, &planned.arguments, LoadFlags::default());
        let ended = match outcome {
            Ok(outcome) => outcome.into(),
            Err(error) => Ended::Died { reason: error.to_string() },
        };
        let init_ran = match &ended {
            Ended::Error { .. } => {
                // The kernel counts the inits that failed; a module that was refused never came so far.
                let failed = self.machine.failed_inits()?;
                std::mem::replace(&mut self.failed_inits, failed) != failed
            }
            _ => true,
        };
        Ok(Load {
            module: planned.name.clone(),
            file: planned.path.display().to_string(),
            why: planned.why.clone(),
            arguments: planned.arguments.to_str_lossy().into_owned(),
            init_ran,
            optional: planned.optional,
            ended,
        })
    }
}
