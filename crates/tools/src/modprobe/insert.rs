//! Loading, and showing what loading would take.

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use bstr::ByteSlice;
use ferrmod_linux::Errno;
use ferrmod_plan::kmod::{Action, Asked, File, Forbidden, Missing, Module, Probe, Step, Terms};
use serde_json::Value;

use super::command::{self, Failure};
use super::{Context, absolute, explain, json, name};
use crate::explain::Explanation;
use crate::load;
use crate::report::{Fatal, Level, io_words, words};
use crate::session::{Session, Status, Stop};

/// Loads the modules of the operands, or shows what that would take, or what they stand for.
pub(super) fn insert(session: &mut Session, context: &Context<'_>, operands: &[OsString]) -> Result<Status, Stop> {
    let request = context.request;
    let (names, parameters) = if request.all {
        (operands, Vec::new())
    } else {
        let (first, rest) = operands.split_at(operands.len().min(1));
        (first, parameters(rest))
    };
    let mut documents = Vec::new();
    let mut failed = false;
    for operand in names {
        let (status, document) = one(session, context, operand, &parameters)?;
        failed |= status == Status::Failure;
        documents.push(document);
    }
    if request.json && (request.dry_run || request.resolve) {
        json::requests(&mut session.out, if request.resolve { json::RESOLVE } else { json::PROBE }, documents);
    }
    Ok(Status::failed(failed))
}

/// The module's parameters in one line. Unlike in `insmod`, empty ones in front leave no space.
fn parameters(operands: &[OsString]) -> Vec<u8> {
    let empty = operands.iter().take_while(|operand| operand.is_empty()).count();
    load::join(operands.iter().skip(empty).map(|operand| operand.as_bytes())).into()
}

/// One operand: all the modules that it stands for. The last of them decides about the status, as in kmod.
fn one(
    session: &mut Session,
    context: &Context<'_>,
    operand: &OsString,
    parameters: &[u8],
) -> Result<(Status, Value), Stop> {
    let found = match find(session, context, operand)? {
        Some(found) => found,
        None => return Ok((Status::Failure, json::request(name(operand), Vec::new()))),
    };
    let mut documents = Vec::new();
    let mut status = Status::Success;
    for module in &found {
        if context.request.resolve {
            if context.request.json {
                documents.push(json::module(module));
            } else {
                session.out.put(&[&module.name, b"\n"]);
                if context.request.explain {
                    explain::found(&mut session.out, module);
                }
            }
            continue;
        }
        let (ended, document) = load_module(session, context, module, parameters);
        status = Status::failed(ended.is_err());
        documents.push(document);
        if let Err(Refused::Errno(errno, lines)) = ended {
            let words = match errno {
                Errno::EXIST => "Module already in kernel".to_owned(),
                Errno::NOENT => "Unknown symbol in module, or unknown parameter (see dmesg)".to_owned(),
                errno => words(errno),
            };
            let text = [b"could not insert '", module.name.as_slice(), b"': ", words.as_bytes()].concat();
            session.log.bytes(Level::Error, &text);
            lines.iter().for_each(|line| session.log.more(line));
        }
    }
    Ok((status, json::request(name(operand), documents)))
}

/// The modules that an operand stands for; what is to be said when there is none is said.
fn find<'c>(
    session: &mut Session,
    context: &Context<'c>,
    operand: &OsStr,
) -> Result<Option<Vec<Rc<Module<'c>>>>, Stop> {
    let word = operand.as_bytes();
    if word.starts_with(b"/") || word.starts_with(b"./") {
        let path = Path::new(operand);
        let named =
            word.rsplit(|&byte| byte == b'/').next().is_some_and(|name| !name.is_empty() && !name.starts_with(b"."));
        let problem = match fs::metadata(path) {
            Ok(_) if named => return Ok(Some(vec![context.modules.of_path(path, absolute(context.here, operand))])),
            Ok(_) => words(Errno::NOENT),
            Err(error) => io_words(&error),
        };
        let text = [b"Failed to get module from path ", word, b": ", problem.as_bytes()].concat();
        context.missing(session, Fatal::new(text))?;
        return Ok(None);
    }
    let found = context.modules.look_up(name(operand));
    if found.is_empty() {
        let folder = context.modules.shown().as_os_str().as_bytes();
        let wanted = context.request.explain || session.log.is_terminal();
        let more = if wanted { explain::absent(context.modules.shown(), &word.to_str_lossy()) } else { Vec::new() };
        let text = [b"Module ", word, b" not found in directory ", folder].concat();
        context.missing(session, Fatal::new(text).explained(more))?;
        return Ok(None);
    }
    Ok(Some(found))
}

/// Why a module was not loaded.
enum Refused {
    /// By this error, which is still to be said, and these lines behind it.
    Errno(Errno, Vec<String>),
    /// By something that was said already.
    Said,
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Refused {
        Refused::Errno(errno, Vec::new())
    }
}

fn load_module<'c>(
    session: &mut Session,
    context: &Context<'c>,
    module: &Rc<Module<'c>>,
    parameters: &[u8],
) -> (Result<(), Refused>, Value) {
    let request = context.request;
    if !request.depends && context.modules.state_of(module, context.live).is_in_kernel() {
        let ended = if request.first_time { Err(Errno::EXIST.into()) } else { Ok(()) };
        if request.explain && request.dry_run && !request.json {
            session.out.put(&[b"# ", &module.name, b" is in the kernel already: nothing to do\n"]);
        }
        return (ended, json::loaded(module));
    }
    let terms = Terms { use_blacklist: request.use_blacklist, ignore_commands: request.ignore_commands };
    let probe = match context.modules.probe(module, terms) {
        Asked::Probe(probe) => probe,
        Asked::Blacklisted(entry) => {
            if request.explain && !request.json {
                explain::blacklisted(&mut session.out, module, &entry);
            }
            return (Ok(()), json::blacklisted(module, &entry));
        }
    };
    for missing in &probe.missing {
        report_missing(session, missing);
    }
    let document = if request.json { json::probe(context, module, &probe, parameters) } else { Value::Null };
    (steps(session, context, &probe, parameters), document)
}

fn report_missing(session: &mut Session, Missing { module, file, error }: &Missing) {
    let error = std::io::Error::from(*error).to_string();
    let parts: [&[u8]; 6] =
        [b"dependencies of ", module, b" are not loaded: ", file.shown.as_os_str().as_bytes(), b": ", error.as_bytes()];
    session.log.bytes(Level::Error, &parts.concat());
}

/// Does, or shows, the steps one after the other.
fn steps(session: &mut Session, context: &Context<'_>, probe: &Probe<'_>, parameters: &[u8]) -> Result<(), Refused> {
    let request = context.request;
    // Known beforehand, so that nothing is loaded for a module that never can be.
    for step in probe.steps.iter().filter(|step| step.required) {
        if let Action::Forbidden(forbidden) = &step.action {
            report_forbidden(session, request.explain, probe, step, forbidden);
            return Err(Refused::Said);
        }
    }
    for step in &probe.steps {
        if !request.depends && context.modules.state_of(&step.module, context.live).is_in_kernel() {
            continue;
        }
        let asked = step.target;
        let mut options = step.options_text();
        if !options.is_empty() {
            options.push(b' ');
        }
        if asked {
            options.extend_from_slice(parameters);
        }
        if matches!(step.action, Action::Forbidden(_)) {
            continue;
        }
        if request.verbose && !request.json {
            show(session, step, &options);
        }
        if request.explain && request.dry_run && !request.json {
            explain::step(&mut session.out, step);
        }
        if request.dry_run {
            continue;
        }
        match perform(session, context, step, &options) {
            Ok(()) => {}
            Err(Refused::Errno(Errno::EXIST, _)) if !(asked && request.first_time) => {}
            Err(refused) if step.required => return Err(refused),
            Err(_) => {}
        }
    }
    Ok(())
}

fn report_forbidden(
    session: &mut Session,
    wanted: bool,
    probe: &Probe<'_>,
    step: &Step<'_>,
    forbidden: &Forbidden<'_>,
) {
    let target = probe.steps.iter().find(|step| step.target).unwrap_or(step);
    let why = match forbidden {
        Forbidden::Masked(entry) => format!(" is masked ({})", entry.origin),
        Forbidden::NotAllowed(entry) => format!(" is not among what allow lines name (the first: {})", entry.origin),
    };
    let parts: [&[u8]; 5] =
        [b"could not insert '", &target.module.name, b"': module ", &step.module.name, why.as_bytes()];
    session.log.bytes(Level::Error, &parts.concat());
    let (Forbidden::Masked(entry) | Forbidden::NotAllowed(entry)) = forbidden;
    explain::told(session, wanted, entry);
}

/// Prints a step as kmod does.
fn show(session: &mut Session, step: &Step<'_>, options: &[u8]) {
    match &step.action {
        Action::Insert(file) => {
            session.out.put(&[b"insmod ", file.shown.as_os_str().as_bytes(), b" ", options, b"\n"]);
        }
        Action::Run(entry) => session.out.put(&[b"install ", entry.value, b" ", options, b"\n"]),
        Action::Builtin => session.out.put(&[b"builtin ", &step.module.name, b"\n"]),
        Action::Absent | Action::Forbidden(_) => {}
    }
}

fn perform(session: &mut Session, context: &Context<'_>, step: &Step<'_>, options: &[u8]) -> Result<(), Refused> {
    match &step.action {
        Action::Insert(file) => hand_over(session, context, step, file, options),
        Action::Run(entry) => {
            let text = command::with_options(entry, options);
            let name = step.module.name.as_bstr();
            command::run(session, context, entry, &text, name).map_err(|failure| {
                let how = match failure {
                    Failure::Code(code) => format!("retcode {code}"),
                    Failure::Signal(signal) => format!("killed by signal {signal}"),
                    Failure::NotRun => return Errno::PERM.into(),
                };
                let parts: [&[u8]; 6] =
                    [b"Error running install command '", &text, b"' for module ", name, b": ", how.as_bytes()];
                session.log.bytes(Level::Error, &parts.concat());
                explain::told(session, context.request.explain, entry);
                Errno::INVAL.into()
            })
        }
        Action::Builtin => Ok(()),
        Action::Absent => {
            let text = [b"could not find module by name='", step.module.name.as_slice(), b"'"].concat();
            session.log.bytes(Level::Error, &text);
            Err(Errno::NOENT.into())
        }
        Action::Forbidden(_) => Err(Refused::Said),
    }
}

/// Has the kernel load the file of a step.
fn hand_over(
    session: &mut Session,
    context: &Context<'_>,
    step: &Step<'_>,
    file: &File,
    options: &[u8],
) -> Result<(), Refused> {
    let opened = if file.of_caller { fs::File::open(&file.inside) } else { context.modules.indexes.open(&file.inside) };
    let opened = opened.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let parameters = CString::new(options).map_err(|_| Errno::INVAL)?;
    let wanted = context.request.explain || session.log.is_terminal();
    let mut explanation = Explanation::begin(context.kernel, wanted);
    let Err(problem) = load::load(context.kernel, &opened, &parameters, context.request.flags) else { return Ok(()) };
    if problem.errno == Errno::EXIST {
        return Err(Errno::EXIST.into());
    }
    if let Some(detail) = problem.detail.as_ref().filter(|_| !wanted) {
        session.log.detail(Level::Info, format_args!("{}: {detail}", file.shown.display()));
    }
    let mut lines = explanation.lines(context.kernel, &file.shown, options.as_bstr(), &problem);
    if wanted && !step.target {
        lines.insert(0, format!("  this was {}: {}", step.module.name, explain::reason(&step.reason)));
    }
    Err(Refused::Errno(problem.errno, lines))
}
