//! Reasons and notes in words. A first line says what is wrong; lines after it, where there are some, are the evidence.

use std::fmt;

use super::verdict::{DependencyProblem, Exporter, ImportProblem, Note, Reason};
use super::{Comparison, Known, Token};

/// How many of a module's parameters a message lists.
const MAX_LISTED: usize = 12;

fn did_you_mean(f: &mut fmt::Formatter<'_>, nearest: &[String]) -> fmt::Result {
    if nearest.is_empty() { Ok(()) } else { write!(f, "; did you mean {}?", nearest.join(" or ")) }
}

fn listed(f: &mut fmt::Formatter<'_>, known: &[Known]) -> fmt::Result {
    if known.is_empty() {
        return f.write_str("\nthe module has no parameters");
    }
    let names: Vec<String> = known.iter().take(MAX_LISTED).map(Known::to_string).collect();
    let more = known.len().saturating_sub(MAX_LISTED);
    write!(f, "\nits parameters: {}", names.join(", "))?;
    if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
}

/// The release a module was built for, in words.
fn built_for(release: &Option<String>) -> &str {
    release.as_deref().unwrap_or("another kernel")
}

fn compared(f: &mut fmt::Formatter<'_>, compared: &Option<Comparison>) -> fmt::Result {
    match compared {
        None => Ok(()),
        Some(comparison) => comparison.to_string().lines().try_for_each(|line| write!(f, "\n{line}")),
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.in_module { "the module has" } else { "the kernel has" };
        write!(f, "only {who} `{}`", self.word)?;
        self.meaning.iter().try_for_each(|meaning| write!(f, ": {meaning}"))
    }
}

fn import(f: &mut fmt::Formatter<'_>, symbol: &str, problem: &ImportProblem) -> fmt::Result {
    match problem {
        ImportProblem::Missing { stopped, elsewhere, nearest } => {
            if stopped.is_empty() {
                write!(f, "{symbol}: nobody exports it in this kernel or its modules")?;
            } else {
                write!(f, "{symbol}: exported by {}, which cannot be loaded", stopped.join(" and "))?;
            }
            did_you_mean(f, nearest)?;
            if !elsewhere.is_empty() {
                let who: Vec<String> = elsewhere.iter().map(Exporter::to_string).collect();
                write!(f, "\nexported by {}", who.join(", "))?;
            }
            Ok(())
        }
        ImportProblem::GplOnly { licence, exporter, inherits_from: None } => {
            write!(
                f,
                "{symbol}: for GPL-compatible modules only, and this one's licence is `{licence}`\nexported by {exporter}"
            )
        }
        ImportProblem::GplOnly { exporter, inherits_from: Some(owner), .. } => write!(
            f,
            "{symbol}: for GPL-compatible modules only, and this one counts as proprietary because it uses symbols of {owner}\n\
             exported by {exporter}"
        ),
        ImportProblem::ProprietaryOwner { owner } => {
            write!(
                f,
                "{symbol}: of the proprietary module {owner}, which a module that uses GPL-only symbols cannot use"
            )
        }
        ImportProblem::NoVersion { exported } => {
            write!(f, "{symbol}: the module has no CRC for it")?;
            exported.iter().try_for_each(|crc| write!(f, " (the kernel's is {crc:#010x})"))
        }
        ImportProblem::Version { built, exported, exporter, built_for: release, compared: comparison } => {
            write!(
                f,
                "{symbol}: built against {built:#010x} of {}, but {exporter} has {exported:#010x}",
                built_for(release)
            )?;
            compared(f, comparison)
        }
        ImportProblem::Namespace { namespace, exporter } => {
            write!(
                f,
                "{symbol}: in the namespace {namespace}, which the module does not import\nexported by {exporter}"
            )
        }
        ImportProblem::Other => write!(f, "{symbol}: cannot be bound"),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoModules { origin } => write!(f, "this kernel was built without modules: {origin}"),
            Reason::ModulesDisabled { origin } => write!(f, "loading modules is switched off: {origin}"),
            Reason::Empty => f.write_str("the file is empty"),
            Reason::LoadPin { origin, without_file: true } => {
                write!(
                    f,
                    "the tool has to unpack the module, and LoadPin takes nothing that does not come from a file: {origin}"
                )
            }
            Reason::LoadPin { origin, without_file: false } => {
                write!(
                    f,
                    "the module is on another file system than the kernel's modules, and LoadPin takes it from there alone: {origin}"
                )
            }
            Reason::Compressed { format, kernel: None } => {
                write!(f, "packed with {format}, and this kernel unpacks no modules")
            }
            Reason::Compressed { format, kernel: Some(kernel) } => {
                write!(f, "packed with {format}, and this kernel unpacks {kernel} alone")
            }
            Reason::Unpack { text, .. } => write!(f, "does not unpack: {text}"),
            Reason::Signature { signed, required: None, .. } => signed.fmt(f),
            Reason::Signature { signed, required: Some(origin), lockdown: None, .. } => {
                write!(f, "{signed}, and this kernel loads signed modules alone: {origin}")
            }
            Reason::Signature { signed, required: Some(origin), lockdown: Some(level), .. } => {
                write!(f, "{signed}, and this kernel is locked down ({level}): {origin}")
            }
            Reason::Architecture { machine, name } => {
                write!(f, "built for another processor: {name} (machine {machine}), not x86-64")
            }
            Reason::Structure { text, beyond_linux } => {
                let ours = if *beyond_linux { " (Linux 6.1 does not look at this)" } else { "" };
                write!(f, "no module: {text}{ours}")
            }
            Reason::Blacklisted { origin } => write!(f, "the kernel is told to refuse it: {origin}"),
            Reason::ModuleLayout { built, exported, built_for: release, compared: comparison } => {
                match built {
                    Some(built) => write!(
                        f,
                        "struct module is another: built against {built:#010x} of {}, and this kernel has {exported:#010x}",
                        built_for(release)
                    )?,
                    None => write!(f, "the module has no CRC of module_layout, and this kernel's is {exported:#010x}")?,
                }
                compared(f, comparison)
            }
            Reason::ModuleSize { found, wanted, built_for: release } => write!(
                f,
                "struct module has another size: {found} bytes in the module, built for {}, and {wanted} in this kernel",
                built_for(release)
            ),
            Reason::Vermagic { found, wanted, tokens } => {
                write!(f, "version magic `{found}` should be `{wanted}`")?;
                tokens.iter().try_for_each(|token| write!(f, "\n{token}"))
            }
            Reason::NotForced { what } => {
                write!(f, "cannot be checked, and this kernel does not load modules unchecked: {what}")
            }
            Reason::Livepatch => f.write_str("a live patch, and this kernel cannot be patched"),
            Reason::Loaded => f.write_str("a module of this name is loaded already"),
            Reason::Import { symbol, problem, .. } => import(f, symbol, problem),
            Reason::Link { text, beyond_linux, .. } => {
                let ours = if *beyond_linux { " (Linux 6.1 does not look at this)" } else { "" };
                write!(f, "{text}{ours}")
            }
            Reason::Duplicate { symbol, owner } => write!(f, "exports {symbol}, which {owner} exports already"),
            Reason::Parameter { name, value, locked_down: true, .. } => write!(
                f,
                "parameter {name}: `{}` says where hardware is, which is forbidden because this kernel is locked down",
                value.as_deref().unwrap_or_default()
            ),
            Reason::Parameter { name, kind, value, message, known, .. } => {
                match value {
                    Some(value) => write!(f, "parameter {name}: `{value}` is no value for it")?,
                    None => write!(f, "parameter {name}: needs a value")?,
                }
                kind.iter().try_for_each(|kind| write!(f, " ({kind})"))?;
                let _ = message;
                listed(f, known)
            }
            Reason::BuiltIn => f.write_str("built into this kernel, whose /sys/module has its folder already"),
            Reason::Initcall { function, origin } => {
                write!(f, "the kernel is told not to call its init function {function}: {origin}")
            }
            Reason::Dependency { module, problem } => dependency(f, module, problem),
        }
    }
}

fn dependency(f: &mut fmt::Formatter<'_>, module: &str, problem: &DependencyProblem) -> fmt::Result {
    match problem {
        DependencyProblem::Missing { nearest, elsewhere } => {
            write!(f, "needs {module}, which this kernel has not got")?;
            did_you_mean(f, nearest)?;
            if !elsewhere.is_empty() {
                write!(f, "\nthere is one for {}", elsewhere.join(", "))?;
            }
            Ok(())
        }
        DependencyProblem::Refused { reasons } => {
            write!(f, "needs {module}, which does not load")?;
            reasons.iter().try_for_each(|reason| {
                let text = reason.to_string();
                write!(f, "\n{}", text.lines().next().unwrap_or_default())
            })
        }
        DependencyProblem::Cycle { members } => {
            let circle: Vec<&str> = members.iter().chain(members.first()).map(String::as_str).collect();
            match circle.as_slice() {
                [one] | [one, _] if members.len() == 1 => write!(f, "{one} needs itself"),
                circle => write!(f, "modules need each other: {}", circle.join(" needs ")),
            }
        }
        DependencyProblem::Unreadable { text } => write!(f, "needs {module}, whose file cannot be read: {text}"),
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::UnknownParameter { name, nearest, known } => {
                write!(f, "parameter {name}: unknown, so that the kernel ignores it")?;
                did_you_mean(f, nearest)?;
                listed(f, known)
            }
            Note::OwnParameter { name } => {
                write!(f, "parameter {name}: the module reads it by a function of its own, whose answer is not known")
            }
            Note::BootParameter { argument, origin } => write!(f, "gets `{argument}` from modprobe: {origin}"),
            Note::OtherRelease { built_for } => {
                write!(f, "built for {built_for}; it has CRCs, so that the release does not count")
            }
            Note::BuiltIn => f.write_str("built into this kernel: modprobe has nothing to load"),
            Note::UnpackedByTool { format, kernel: None } => {
                write!(f, "packed with {format}: the tool unpacks it, because this kernel cannot")
            }
            Note::UnpackedByTool { format, kernel: Some(kernel) } => {
                write!(f, "packed with {format}: the tool unpacks it, because this kernel unpacks {kernel} alone")
            }
            Note::SignatureUnverified => f.write_str("signed; the signature was not verified"),
            Note::SignedBy { signer } => write!(f, "signed by {signer}"),
            Note::ConfigUnknown => {
                f.write_str("the kernel's configuration is not at hand: that of a distribution is taken")
            }
            Note::LoadPin { origin } => {
                write!(f, "LoadPin is on: it has to be on the file system that the first module came from: {origin}")
            }
            Note::NotTogether { module, symbol } => {
                write!(f, "cannot be loaded together with {module}: both export {symbol}")
            }
            Note::WeakMissing { symbol } => write!(f, "does without {symbol}, which nobody exports"),
            Note::Taint { letter, why } => write!(f, "taints the kernel with {letter}: {why}"),
        }
    }
}
