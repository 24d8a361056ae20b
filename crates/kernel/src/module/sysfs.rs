//! `/sys/module`: made from the registry whenever somebody looks.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bstr::{BString, ByteSlice};

use super::{Module, State, taint_letters};
use crate::Kernel;
use crate::files::{Node, Provider, read_only, read_write};
use crate::text::Errno;

/// Answers for `/sys/module`.
pub(crate) struct SysModule(pub(crate) &'static Kernel);

fn text(value: impl core::fmt::Display + Send + Sync + 'static, mode: u16) -> Node {
    read_only(mode, move || format!("{value}\n").into_bytes())
}

fn optional(value: &Option<BString>) -> Option<Node> {
    value.clone().map(|value| text(value, 0o444))
}

impl SysModule {
    fn module(&self, name: &str) -> Option<Arc<Module>> {
        self.0.modules.named(name.as_bytes()).filter(|module| module.state() != State::Unformed)
    }

    fn attribute(&self, module: &Arc<Module>, name: &str) -> Option<Node> {
        let linked = module.linked();
        Some(match name {
            "coresize" => text(linked.core_size, 0o444),
            "initsize" => text(linked.init_size, 0o444),
            "refcnt" => text(module.references(), 0o444),
            "taint" => text(taint_letters(module.taints(), State::Live), 0o444),
            "initstate" => text(
                match module.state() {
                    State::Live => "live",
                    State::Coming | State::Unformed => "coming",
                    State::Going => "going",
                },
                0o444,
            ),
            "version" => return optional(&module.version),
            "srcversion" => return optional(&module.srcversion),
            "uevent" => read_write(0o200, || Err(Errno::EACCES), |bytes| Ok(bytes.len())),
            _ => return None,
        })
    }

    fn parameter(&self, module: &Arc<Module>, name: &str) -> Option<Node> {
        let parameter = module.parameters().iter().find(|one| one.name == name.as_bytes() && one.mode != 0)?.clone();
        let (module, read) = (Arc::clone(module), (Arc::clone(module), parameter.clone()));
        let kernel = self.0;
        Some(read_write(
            parameter.mode & 0o777,
            move || read.0.world.get_parameter(&read.0, &read.1),
            move |bytes| {
                if parameter.unsafe_to_set {
                    kernel.modules.taint(1 << 6);
                }
                let mut value = bytes.to_vec();
                module.world.set_parameter(&module, &parameter, Some(&mut value))?;
                Ok(bytes.len())
            },
        ))
    }

    /// A note section's bytes.
    fn note(&self, module: &Module, name: &str) -> Option<Node> {
        let &(_, address, size) = module.notes().find(|(section, ..)| section == name)?;
        let kernel = self.0;
        Some(read_only(0o444, move || {
            let mut bytes = alloc::vec![0; size as usize];
            // The module's own read-only memory, as long as it is loaded.
            match kernel.platform.read(address, &mut bytes) {
                Ok(()) => bytes,
                Err(_) => Vec::new(),
            }
        }))
    }

    fn section(&self, module: &Module, name: &str) -> Option<Node> {
        let (_, address, _) = module.sections.iter().find(|(section, ..)| section == name)?;
        Some(text(format!("{address:#018x}"), 0o400))
    }
}

const ATTRIBUTES: [&str; 8] =
    ["coresize", "initsize", "initstate", "refcnt", "srcversion", "taint", "uevent", "version"];

impl Provider for SysModule {
    fn node(&self, path: &str) -> Option<Node> {
        let mut parts = path.splitn(3, '/');
        let (name, below, leaf) = (parts.next().unwrap_or(""), parts.next(), parts.next());
        if name.is_empty() {
            return Some(Node::Directory);
        }
        let module = self.module(name)?;
        match (below, leaf) {
            (None, _) => Some(Node::Directory),
            (Some("holders" | "sections"), None) => Some(Node::Directory),
            (Some("notes"), None) => module.notes().next().map(|_| Node::Directory),
            (Some("notes"), Some(leaf)) => self.note(&module, leaf),
            (Some("parameters"), None) => {
                module.parameters().iter().any(|parameter| parameter.mode != 0).then_some(Node::Directory)
            }
            (Some("parameters"), Some(leaf)) => self.parameter(&module, leaf),
            (Some("sections"), Some(leaf)) => self.section(&module, leaf),
            (Some("holders"), Some(leaf)) => {
                let users = module.status(&self.0.modules).users;
                users.iter().any(|user| user == leaf).then(|| Node::Link(format!("../../{leaf}")))
            }
            (Some("drivers"), None) => (!module.drivers.lock().is_empty()).then_some(Node::Directory),
            (Some("drivers"), Some(leaf)) => module.drivers.lock().get(leaf).cloned().map(Node::Link),
            (Some(attribute), None) => self.attribute(&module, attribute),
            _ => None,
        }
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        let mut names: Vec<String> = match path.split_once('/') {
            None if path.is_empty() => {
                self.0.modules.list().into_iter().map(|module| module.name.to_str_lossy().into_owned()).collect()
            }
            None => {
                let module = self.module(path)?;
                let mut names: Vec<String> = ATTRIBUTES
                    .iter()
                    .filter(|name| self.attribute(&module, name).is_some())
                    .map(ToString::to_string)
                    .collect();
                names.extend(["holders".into(), "sections".into()]);
                if module.parameters().iter().any(|parameter| parameter.mode != 0) {
                    names.push("parameters".into());
                }
                if module.notes().next().is_some() {
                    names.push("notes".into());
                }
                if !module.drivers.lock().is_empty() {
                    names.push("drivers".into());
                }
                names
            }
            Some((name, "parameters")) => {
                let module = self.module(name)?;
                let visible = module.parameters().iter().filter(|parameter| parameter.mode != 0);
                visible.map(|parameter| parameter.name.to_str_lossy().into_owned()).collect()
            }
            Some((name, "notes")) => {
                let module = self.module(name)?;
                module.notes().map(|(section, ..)| section.to_string()).collect()
            }
            Some((name, "sections")) => {
                let module = self.module(name)?;
                module.sections.iter().map(|(section, ..)| section.to_string()).collect()
            }
            Some((name, "drivers")) => self.module(name)?.drivers.lock().keys().cloned().collect(),
            Some((name, "holders")) => {
                let module = self.module(name)?;
                module.status(&self.0.modules).users.iter().map(ToString::to_string).collect()
            }
            _ => return None,
        };
        names.sort();
        Some(names)
    }
}
