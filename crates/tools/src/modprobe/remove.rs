//! `modprobe -r`.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bstr::{BStr, ByteSlice};
use ferrmod_linux::{Errno, UnloadFlags};
use ferrmod_plan::kmod::{
    Kept, Live, Module, RemovalEnd, RemovalTerms, Remove, RemoveAction, RemoveReason, Remover, Without,
};
use serde_json::Value;

use super::{Context, command, explain, json, name};
use crate::report::{Fatal, Level, words};
use crate::session::{Session, Status, Stop};

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Removes the modules of the operands.
pub(super) fn remove(session: &mut Session, context: &Context<'_>, operands: &[OsString]) -> Result<Status, Stop> {
    let mut failed = false;
    let mut documents = Vec::new();
    // kmod asks the kernel, in which everything is still loaded, so its dry run names no dependency. Who wants more than kmod's words is
    // told what would go.
    let without = Without::new(context.live);
    let request = context.request;
    let imagine = (request.dry_run && (request.json || request.explain)).then_some(&without);
    for operand in operands {
        let path = operand.as_bytes().starts_with(b"/");
        let found = if path { Vec::new() } else { context.modules.look_up(name(operand)) };
        if found.is_empty() {
            let text = [b"Module ", operand.as_bytes(), b" not found."].concat();
            context.missing(session, Fatal::new(text))?;
            failed = true;
        }
        let mut modules = Vec::new();
        for module in &found {
            let (status, document) = one(session, context, imagine, module)?;
            failed |= status == Status::Failure;
            modules.push(document);
        }
        documents.push(json::request(name(operand), modules));
    }
    if context.request.json && context.request.dry_run {
        json::requests(&mut session.out, json::REMOVE, documents);
    }
    Ok(Status::failed(failed))
}

fn one<'c>(
    session: &mut Session,
    context: &Context<'c>,
    imagine: Option<&Without<'_>>,
    module: &Rc<Module<'c>>,
) -> Result<(Status, Value), Stop> {
    let request = context.request;
    let terms = RemovalTerms {
        holders: request.holders,
        ignore_commands: request.ignore_commands,
        wait: request.wait.is_some(),
        first_time: request.first_time,
        pretend: request.depends,
    };
    let mut doing = Doing { session, context, imagine, steps: Vec::new(), stays: Vec::new() };
    let live: &dyn Live = imagine.map_or(context.live, |without| without);
    let ended = context.modules.removal(module, terms, live, &mut doing);
    let Doing { session, steps, stays, .. } = doing;
    let kept = match &ended {
        Err(RemovalEnd::Kept { name, why }) => Some((name.as_bstr(), why)),
        _ => None,
    };
    let document = if request.json { json::removal(module, &steps, &stays, kept) } else { Value::Null };
    let status = match ended {
        Ok(()) => Status::Success,
        Err(RemovalEnd::Failed(Failed::Delete(text))) => {
            session.log.bytes(Level::Error, &text);
            Status::Failure
        }
        Err(RemovalEnd::Failed(Failed::Command(text))) => context.missing(session, Fatal::new(text))?,
        Err(RemovalEnd::Kept { name, why }) => {
            // Whoever is told in JSON has been told.
            if request.json && request.dry_run {
                return Ok((Status::Failure, document));
            }
            let text = sentence(name.as_bstr(), &why);
            if let Kept::InUse { references, holders } = &why
                && (request.explain || session.log.is_terminal())
            {
                // Said here, so that the explanation comes behind it.
                session.log.bytes(if request.all { Level::Warning } else { Level::Fatal }, &text);
                explain::in_use(session, *references, holders);
                if !request.all {
                    return Err(Stop::Done(Status::Failure));
                }
                return Ok((Status::Failure, document));
            }
            context.missing(session, Fatal::new(text))?
        }
    };
    Ok((status, document))
}

/// Why a module stays, in kmod's words where it has some.
fn sentence(name: &BStr, why: &Kept) -> Vec<u8> {
    let rest: &[u8] = match why {
        Kept::InUse { .. } => b" is in use.",
        Kept::Builtin => b" is builtin.",
        Kept::NotLoaded => b" is not in kernel.",
        Kept::NotFound => b" not found.",
        Kept::TooDeep => b" is at the end of too many modules that wait for each other.",
    };
    [&b"Module "[..], name, rest].concat()
}

/// A step that failed, in words.
enum Failed {
    /// The kernel did not remove a module.
    Delete(Vec<u8>),
    /// A command failed, which kmod takes as gravely as a name that does not exist.
    Command(Vec<u8>),
}

/// Does what is to be done, or says it.
struct Doing<'s, 'x, 'c> {
    session: &'s mut Session,
    context: &'x Context<'c>,
    /// Where a dry run notes what would be gone.
    imagine: Option<&'x Without<'x>>,
    steps: Vec<Remove<'c>>,
    stays: Vec<Value>,
}

impl<'c> Remover<'c> for Doing<'_, '_, 'c> {
    type Error = Failed;

    fn remove(&mut self, step: &Remove<'c>) -> Result<(), Failed> {
        let request = self.context.request;
        let name = step.name.as_bstr();
        if request.json {
            self.steps.push(step.clone());
        }
        match &step.action {
            RemoveAction::Delete => {
                if request.verbose && !request.json {
                    self.session.out.put(&[b"rmmod ", name, b"\n"]);
                }
            }
            RemoveAction::Run(entry) => {
                let text = command::with_options(entry, b"");
                if request.verbose && !request.json {
                    self.session.out.put(&[b"remove ", &text, b"\n"]);
                }
                if !request.dry_run {
                    let ran = command::run(self.session, self.context, entry, &text, name);
                    return ran
                        .map_err(|_| Failed::Command([&b"Error running remove command for "[..], name].concat()));
                }
            }
        }
        if request.explain && request.dry_run && !request.json {
            explain::removal(&mut self.session.out, step);
        }
        if request.dry_run {
            if let Some(without) = self.imagine {
                without.remove(name);
            }
            return Ok(());
        }
        if matches!(step.action, RemoveAction::Delete)
            && let Err(errno) = delete(self.context, name)
        {
            let text = [&b"could not remove '"[..], name, b"': ", words(errno).as_bytes()].concat();
            return Err(Failed::Delete(text));
        }
        Ok(())
    }

    fn failed(&mut self, error: Failed) {
        let (Failed::Delete(text) | Failed::Command(text)) = error;
        self.session.log.bytes(Level::Error, &text);
    }

    fn kept(&mut self, name: &BStr, why: &Kept, reason: &RemoveReason<'c>) {
        if self.context.request.json {
            self.stays.push(json::stays(name, why, Some(reason)));
        } else {
            // Worth a word to those who want to know; everybody else asked for something that was done.
            let level = if matches!(why, Kept::InUse { .. }) { Level::Notice } else { Level::Info };
            self.session.log.bytes(level, &sentence(name, why));
        }
    }
}

/// Has the kernel remove it; as long as it is in use, again and again with longer and longer pauses until the time is over.
fn delete(context: &Context<'_>, name: &BStr) -> Result<(), Errno> {
    let request = context.request;
    let mut flags = UnloadFlags::NONBLOCK;
    if request.force {
        flags |= UnloadFlags::FORCE;
    }
    let name = CString::new(name.to_vec()).map_err(|_| Errno::NOENT)?;
    let most = request.wait.map(Duration::from_millis);
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match context.kernel.unload(&name, flags) {
            Err(Errno::AGAIN) => {
                let left = most.map(|most| most.saturating_sub(start.elapsed())).filter(|left| !left.is_zero());
                let Some(left) = left else { return Err(Errno::AGAIN) };
                std::thread::sleep(pause.min(left));
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            ended => return ended,
        }
    }
}
