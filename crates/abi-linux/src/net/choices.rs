//! `/proc/sys/net`: what is chosen by name among the registered congestion controls and packet schedulers.
//!
//! The kernel's own are chosen too, by name only: nothing here sends packets of its own accord. A chosen one of a module keeps that
//! module in place.

use alloc::string::String;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::registrations::Kind;
use ferrmod_kernel::{Errno, Kernel, files, kernel};

use crate::field::Field;
use crate::{module, registries};

/// One file that holds a name.
struct Choice {
    kind: Kind,
    /// What a module of a name that is not there yet is called.
    prefix: &'static str,
    /// Where an object says whose it is.
    owner: Field,
    /// The kernel's own, the first of which is chosen at first.
    own: &'static [&'static str],
    /// The name, and the `struct module` that is held for it.
    chosen: Lock<Option<(Vec<u8>, u64)>>,
}

static CONGESTION: Choice = Choice {
    kind: "tcp_congestion",
    prefix: "tcp_",
    owner: Field::new("tcp_congestion_ops", "owner"),
    own: &["cubic", "reno"],
    chosen: Lock::new(None),
};

static SCHEDULER: Choice = Choice {
    kind: "qdisc",
    prefix: "sch_",
    owner: Field::new("Qdisc_ops", "owner"),
    own: &["fq_codel", "pfifo_fast", "pfifo", "bfifo", "pfifo_head_drop", "mq", "noqueue"],
    chosen: Lock::new(None),
};

impl Choice {
    fn shown(&self) -> Vec<u8> {
        let name = self.chosen.lock().as_ref().map(|(name, _)| name.clone());
        [&name.unwrap_or_else(|| self.own[0].into()), b"\n".as_slice()].concat()
    }

    /// The module to be held for a name; 0 for one of the kernel's own.
    fn find(&self, name: &[u8]) -> Result<u64, Errno> {
        if self.own.iter().any(|own| own.as_bytes() == name) {
            return Ok(0);
        }
        let found = kernel().registrations.named(self.kind, name).ok_or(Errno::ENOENT)?;
        // SAFETY: a registered object.
        Ok(unsafe { self.owner.get(found.key) })
    }

    fn choose(&self, text: &[u8]) -> Result<usize, Errno> {
        let name = text.trim_end_with(|letter| letter == '\n' || letter == '\0');
        if self.find(name).is_err() {
            // It may be there afterwards; what became of the request does not matter.
            let _ = kernel().request_module(&[self.prefix.as_bytes(), name].concat());
        }
        let owner = self.find(name)?;
        if owner != 0 && !module::at(owner).is_some_and(|module| module.try_get()) {
            return Err(Errno::EBUSY);
        }
        let before = self.chosen.lock().replace((name.to_vec(), owner));
        if let Some(before) = before.and_then(|(_, owner)| module::at(owner)) {
            before.put();
        }
        Ok(text.len())
    }
}

fn line(own: &[&str], registered: Vec<Vec<u8>>) -> Vec<u8> {
    let mut names: Vec<String> = own.iter().map(|&name| name.into()).collect();
    names.extend(registered.iter().map(|name| name.to_str_lossy().into_owned()));
    alloc::format!("{}\n", names.join(" ")).into_bytes()
}

/// Adds the files.
pub(crate) fn begin(kernel: &Kernel) {
    let choices =
        [("/proc/sys/net/ipv4/tcp_congestion_control", &CONGESTION), ("/proc/sys/net/core/default_qdisc", &SCHEDULER)];
    kernel.files.make_directories("/proc/sys/net/ipv4");
    kernel.files.make_directories("/proc/sys/net/core");
    for (path, choice) in choices {
        let file = files::read_write(0o644, || Ok(choice.shown()), |text| choice.choose(text));
        // The tree is new: nothing is in the way.
        let _ = kernel.files.add(path, file);
    }
    let available = files::read_only(0o444, || line(&["reno", "cubic"], registries::congestion_controls()));
    let _ = kernel.files.add("/proc/sys/net/ipv4/tcp_available_congestion_control", available);
    let upper = files::read_only(0o444, || line(&[], registries::upper_layer_protocols()));
    let _ = kernel.files.add("/proc/sys/net/ipv4/tcp_available_ulp", upper);
}
