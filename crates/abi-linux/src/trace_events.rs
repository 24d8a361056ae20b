//! `/sys/kernel/tracing`: the trace events that modules bring, read from their tables whenever somebody looks.
//!
//! They are seen and stay off: nothing records them, so that `enable` can only be read.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::files::{self, Node, Provider};
use ferrmod_kernel::module::State;
use ferrmod_kernel::{Kernel, kernel};

use crate::boot::facts;
use crate::field::layout;
use crate::ram;

layout! {
    mod trace_event_call = "trace_event_call" { class, name, flags }
    mod trace_event_class = "trace_event_class" { system }
    mod tracepoint = "tracepoint" { name }
}

/// The number of the first event of a module: those below are the kernel's own.
const FIRST: usize = 2000;

/// System and name of each event, in the order of loading.
fn events() -> Vec<(String, String)> {
    /// `TRACE_EVENT_FL_TRACEPOINT`, where it is not an enumerator.
    const FROM_TRACEPOINT: u64 = 1 << 4;
    let mark = facts().btf().enum_value("TRACE_EVENT_FL_TRACEPOINT").map_or(FROM_TRACEPOINT, |value| value as u64);
    let mut out = Vec::new();
    for module in kernel().modules.all() {
        if matches!(module.state(), State::Unformed | State::Going) {
            continue;
        }
        let table = module.linked().tables.trace_events;
        for number in 0..u64::from(table.count) {
            // SAFETY: the module is loaded, and its table holds pointers to its events.
            unsafe {
                let call: u64 = ram::get(table.address + 8 * number);
                let name: u64 = trace_event_call::name.get(call);
                let is_point = u64::from(trace_event_call::flags.get::<u32>(call)) & mark != 0;
                let name = if is_point { tracepoint::name.get(name) } else { name };
                let system = trace_event_class::system.get(trace_event_call::class.get(call));
                let text = |at| ram::c_string_or_empty(at).to_str_lossy().into_owned();
                out.push((text(system), text(name)));
            }
        }
    }
    out
}

struct Events;

impl Provider for Events {
    fn node(&self, path: &str) -> Option<Node> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let text = |text: String| Some(files::read_only(0o444, move || text.clone().into_bytes()));
        match parts.as_slice() {
            [] | ["events"] => Some(Node::Directory),
            ["available_events"] => {
                text(events().iter().map(|(system, name)| alloc::format!("{system}:{name}\n")).collect())
            }
            ["events", system] => events().iter().any(|(other, _)| other == system).then_some(Node::Directory),
            ["events", system, rest @ ..] => {
                let all = events();
                let is = |name: &str| all.iter().position(|one| one.0 == *system && one.1 == name);
                match rest {
                    ["enable"] => all.iter().any(|(other, _)| other == system).then(|| "0\n".into()).and_then(text),
                    [name] => is(name).map(|_| Node::Directory),
                    [name, "enable"] => is(name).and_then(|_| text("0\n".into())),
                    [name, "id"] => is(name).and_then(|number| text(alloc::format!("{}\n", FIRST + number))),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        let own = |names: &[&str]| names.iter().map(|&name| name.into()).collect::<Vec<String>>();
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            [] => Some(own(&["available_events", "events"])),
            ["events"] => {
                let systems: BTreeSet<String> = events().into_iter().map(|(system, _)| system).collect();
                Some(systems.into_iter().collect())
            }
            ["events", system] => {
                let names = events().into_iter().filter(|(other, _)| other == system).map(|(_, name)| name);
                let mut names: Vec<String> = names.collect();
                names.push("enable".into());
                names.sort();
                Some(names)
            }
            ["events", _, _] => Some(own(&["enable", "id"])),
            _ => None,
        }
    }
}

/// Adds the directory.
pub(crate) fn begin(kernel: &Kernel) {
    kernel.files.mount("/sys/kernel/tracing", Arc::new(Events));
}
