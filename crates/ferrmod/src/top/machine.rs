//! The same for a machine: the modules in a kernel of our own.

use std::io::IsTerminal;
use std::time::Duration;

use anstream::print;
use ferrmod_machine::ModuleState;
use ferrmod_plan::graph::{LoadState, Loaded, LoadedModule};

use super::model::{Column, Model};
use super::source::{Detail, Row, Snapshot, Source};
use super::{plain, terminal};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::session::Session;

/// How often the machine is asked.
const INTERVAL: Duration = Duration::from_secs(1);

struct Machine<'s> {
    session: &'s mut Session,
}

impl Source for Machine<'_> {
    fn read(&mut self) -> Result<Snapshot, Failure> {
        let report = self.session.machine.report()?;
        let modules = self.session.machine.list()?;
        let row = |module: &ferrmod_machine::ModuleStatus| {
            let loaded = Loaded {
                size: module.size,
                references: Some(module.references),
                holders: module.users.iter().map(ToString::to_string).collect(),
                state: match module.state {
                    ModuleState::Live => LoadState::Live,
                    ModuleState::Loading => LoadState::Loading,
                    ModuleState::Unloading => LoadState::Unloading,
                },
                permanent: module.permanent,
            };
            let own =
                report.memory.iter().filter(|memory| !memory.orphaned && memory.owner.as_ref() == Some(&module.name));
            Row {
                stays: loaded.stays(),
                owned: Some(own.map(|memory| memory.bytes).sum()),
                module: LoadedModule { name: module.name.to_string(), taints: module.taints.clone(), loaded },
            }
        };
        let release = &self.session.release;
        let kernel = if release.is_empty() { "machine".to_owned() } else { format!("machine of {release}") };
        Ok(Snapshot { kernel, modules: modules.iter().map(row).collect() })
    }

    fn detail(&mut self, name: &str) -> Detail {
        let mut detail = Detail { name: name.to_owned(), ..Detail::default() };
        if let Ok(log) = self.session.log.lock() {
            let lines = log.iter().filter(|line| mentions(&line.text, name));
            detail.log = lines.map(|line| anstream::adapter::strip_str(&output::log_line(line)).to_string()).collect();
        }
        detail
    }

    fn cannot_act(&self) -> Option<&'static str> {
        Some("leave with q, and use modprobe and rmmod of the console")
    }

    fn explains(&self) -> bool {
        false
    }
}

/// Whether a line of the log speaks of the module: by the same rule as for a running kernel's log.
fn mentions(text: &[u8], name: &str) -> bool {
    let record = [b"6,0,0,-;", text, b"\n"].concat();
    ferrmod_linux::Record::parse(&record).is_ok_and(|record| record.mentions(name))
}

/// The console's command `top`: live where `live` and a terminal, else one table.
///
/// # Errors
/// [`Failure`] when the machine is gone, or the terminal fails.
pub(crate) fn top(session: &mut Session, live: bool) -> Result<Exit, Failure> {
    let mut source = Machine { session };
    let mut model = Model::new(Column::default(), String::new(), source.cannot_act());
    model.explains = source.explains();
    model.update(source.read()?);
    if live && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        terminal::show(&mut model, &mut source, None, INTERVAL)?;
    } else {
        print!("{}", plain::table(&model));
    }
    Ok(Exit::Clean)
}
