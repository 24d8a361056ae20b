//! `lsmod` and `kmod list`: what is loaded.

use std::borrow::Cow;

use bstr::{BString, ByteSlice};
use ferrmod_linux::{InitState, Kernel, LoadedModule};
use rustix::io::Errno;

use crate::flags::{Applet, HELP, JSON, SYSLOG, VERBOSE, VERSION};
use crate::report::{Level, words};
use crate::session::{Session, Status, Stop};

/// `lsmod`.
pub(crate) const APPLET: Applet = Applet {
    name: "lsmod",
    synopsis: &["[options]"],
    summary: "list the modules that are loaded",
    description: "Prints a line for each loaded module, the newest first: its name, the memory it takes in bytes, how many \
        uses it has, and the modules among its users. The numbers are those of /sys/module, or of /proc/modules for a \
        module that has gone from there.\n\nA count of -2 stands for a kernel that cannot unload.",
    flags: &[SYSLOG, VERBOSE, VERSION, HELP, JSON],
    level: Level::Error,
    run,
    ..Applet::BASE
};

fn run(session: &mut Session) -> Result<Status, Stop> {
    let mut json = false;
    let mut options = session.options();
    while let Some(option) = options.next()? {
        match option.id {
            "json" => json = true,
            _ => session.common(&option)?,
        }
    }
    if !options.operands().is_empty() {
        session.log.error(format_args!("too many arguments provided."));
        return Ok(Status::Failure);
    }

    let kernel = Kernel::running();
    let loaded = match kernel.modules() {
        Ok(loaded) => loaded,
        Err(error) => {
            let why = error.errno().map_or_else(|| error.problem.to_string(), words);
            session.log.error(format_args!("could not open {}: {why}", error.path.display()));
            session.log.error(format_args!("could not get list of modules: {why}"));
            return Ok(Status::Failure);
        }
    };
    let mut rows = Vec::new();
    for line in loaded.iter() {
        match line {
            Ok(module) => rows.push(Row::new(&kernel, module)),
            Err(fault) => session.log.error(format_args!("/proc/modules: {fault}")),
        }
    }

    if json {
        let modules = rows.iter().map(Row::document).collect();
        crate::json::write(&mut session.out, &Document { schema: "ferrmod.lsmod/1", modules });
        return Ok(Status::Success);
    }
    session.out.add(b"Module                  Size  Used by\n");
    for row in &rows {
        row.print(session);
    }
    Ok(Status::Success)
}

/// What is known about one module.
struct Row<'a> {
    module: LoadedModule<'a>,
    size: u64,
    references: Option<i64>,
    holders: Vec<BString>,
}

impl<'a> Row<'a> {
    /// sysfs knows the size without the init sections, and the holders in the order in which kmod prints them.
    fn new(kernel: &Kernel, module: LoadedModule<'a>) -> Row<'a> {
        let listed = |module: &LoadedModule<'_>| module.users().map(BString::from).collect();
        match kernel.module(module.name) {
            Ok(folder) if folder.folder().is_dir() => Row {
                size: folder.core_size().unwrap_or(module.size),
                references: folder.references().ok(),
                holders: folder.holders().unwrap_or_else(|_| listed(&module)),
                module,
            },
            // It went away a moment ago, or sysfs is not mounted: the list still says what it was.
            _ => Row { size: module.size, references: module.references, holders: listed(&module), module },
        }
    }

    fn print(&self, session: &mut Session) {
        // kmod prints the error that it got for the count.
        let references = self.references.unwrap_or_else(|| Errno::NOENT.raw_os_error().wrapping_neg().into());
        let name = self.module.name;
        let padding = 19usize.saturating_sub(name.len());
        let numbers = format!("{:padding$} {:8}  {references}", "", self.size);
        session.out.put(&[name, numbers.as_bytes()]);
        for (at, holder) in self.holders.iter().enumerate() {
            session.out.put(&[if at == 0 { b" " } else { b"," }, holder]);
        }
        session.out.add(b"\n");
    }

    fn document(&self) -> ModuleDocument<'_> {
        ModuleDocument {
            name: self.module.name.to_str_lossy(),
            size: self.size,
            references: self.references,
            used_by: self.holders.iter().map(|holder| holder.to_str_lossy()).collect(),
            state: match self.module.state {
                InitState::Live => "live",
                InitState::Coming => "coming",
                InitState::Going => "going",
            },
            permanent: self.module.is_permanent(),
            taints: self.module.taints.to_str_lossy(),
        }
    }
}

/// The JSON Schema of `--json`.
#[cfg(feature = "schema")]
pub(crate) fn schema() -> schemars::Schema {
    crate::schemas::schema_of::<Document<'_>>()
}

/// The schema of `--json` (docs/schema/lsmod.md).
#[derive(serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Document<'a> {
    schema: &'static str,
    modules: Vec<ModuleDocument<'a>>,
}

#[derive(serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct ModuleDocument<'a> {
    name: Cow<'a, str>,
    size: u64,
    references: Option<i64>,
    used_by: Vec<Cow<'a, str>>,
    state: &'static str,
    permanent: bool,
    taints: Cow<'a, str>,
}
