//! What a shell can complete: every command's options and operands, from its table.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

use crate::flags::{Applet, Family, Flag, HELP, Operand, VERSION, Value};
use crate::report::Fatal;
use crate::session::{Session, Status, Stop};

/// `ferrmod completions`.
pub(crate) const APPLET: Applet = Applet {
    name: "completions",
    family: Family::Own,
    synopsis: &["bash|zsh|fish [COMMAND]..."],
    summary: "print what a shell completes",
    description: "Prints a script by which a shell completes the options and operands of each COMMAND, or of all commands that \
        this program can be called as.",
    flags: &[VERSION, HELP],
    operands: Operand::Words(&["bash", "zsh", "fish"]),
    run,
    ..Applet::BASE
};

/// A shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

impl Shell {
    /// All of them, by name.
    pub const ALL: [(&'static str, Shell); 3] = [("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish)];

    /// The file in which this shell looks for the completions of `command`.
    #[must_use]
    pub fn file(self, command: &str) -> String {
        match self {
            Shell::Bash => command.to_owned(),
            Shell::Zsh => format!("_{command}"),
            Shell::Fish => format!("{command}.fish"),
        }
    }
}

fn run(session: &mut Session) -> Result<Status, Stop> {
    let mut options = session.options();
    while let Some(option) = options.next()? {
        session.common(&option)?;
    }
    let operands = options.operands();
    let Some((shell, commands)) = operands.split_first() else {
        return Err(Fatal::new("which shell? bash, zsh or fish").into());
    };
    let Some((_, shell)) = Shell::ALL.into_iter().find(|(name, _)| name.as_bytes() == shell.as_bytes()) else {
        return Err(Fatal::new("the shells are bash, zsh and fish").into());
    };
    for command in commands {
        if crate::find(command.as_bytes(), Family::Kmod).is_none() {
            return Err(Fatal::new([b"no such command: ", command.as_bytes()].concat()).into());
        }
    }
    for applet in crate::APPLETS.iter().filter(|applet| applet.family == Family::Kmod) {
        let wanted = commands.is_empty() || commands.iter().any(|command| command.as_bytes() == applet.name.as_bytes());
        if wanted {
            session.out.add(script(applet, shell).as_bytes());
        }
    }
    Ok(Status::Success)
}

/// The script for one command.
#[must_use]
pub fn script(applet: &Applet, shell: Shell) -> String {
    match shell {
        Shell::Bash => bash(applet),
        Shell::Zsh => zsh(applet),
        Shell::Fish => fish(applet),
    }
}

/// A shell command that prints the names of modules: those of the running kernel, or those that are loaded.
const MODULES: &str =
    r"sed -n 's|^\([^:]*/\)\{0,1\}\([^/:]*\)\.ko[^:]*:.*|\2|p' /lib/modules/$(uname -r)/modules.dep 2>/dev/null";
const LOADED: &str = "cut -d' ' -f1 /proc/modules 2>/dev/null";
const RELEASES: &str = "ls /lib/modules 2>/dev/null";

/// What modules say about themselves, as a rule.
const FIELDS: &[&str] = &[
    "alias",
    "author",
    "depends",
    "description",
    "filename",
    "firmware",
    "intree",
    "license",
    "name",
    "parm",
    "parmtype",
    "retpoline",
    "sig_hashalgo",
    "sig_id",
    "sig_key",
    "signature",
    "signer",
    "softdep",
    "srcversion",
    "vermagic",
    "version",
    "weakdep",
];

/// What an option's value is, by the name that it has in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Release,
    Words(&'static [&'static str]),
    Anything,
}

fn kind(flag: &Flag) -> Option<Kind> {
    let Value::Required(name) = flag.value else { return None };
    Some(match name {
        "FILE" | "PATH" => Kind::File,
        "ROOT" | "DIR" | "FOLDER" => Kind::Folder,
        "VERSION" => Kind::Release,
        "FIELD" => Kind::Words(FIELDS),
        "FORMAT" if flag.id == "format" => Kind::Words(&["human", "tmpfiles", "devname"]),
        _ => Kind::Anything,
    })
}

fn shown(applet: &Applet) -> impl Iterator<Item = &'static Flag> {
    applet.flags.iter().filter(|flag| !flag.hidden)
}

/// The spellings of an option, with their dashes.
fn spellings(flag: &Flag) -> Vec<String> {
    let letter = flag.short.map(|letter| format!("-{}", char::from(letter)));
    let long = flag.long.map(|long| format!("--{long}"));
    letter.into_iter().chain(long).collect()
}

fn bash(applet: &Applet) -> String {
    let name = applet.name;
    let function = name.replace('-', "_");
    let mut script = format!("# bash completion for {name}\n_ferrmod_{function}() {{\n");
    script.push_str("    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n    COMPREPLY=()\n");
    let mut cases = String::new();
    for flag in shown(applet) {
        let Some(kind) = kind(flag) else { continue };
        let action = match kind {
            Kind::File => "COMPREPLY=($(compgen -f -- \"$cur\"))".to_owned(),
            // Nobody knows, and options are not meant either.
            Kind::Anything => ":".to_owned(),
            Kind::Folder => "COMPREPLY=($(compgen -d -- \"$cur\"))".to_owned(),
            Kind::Release => format!("COMPREPLY=($(compgen -W \"$({RELEASES})\" -- \"$cur\"))"),
            Kind::Words(words) => format!("COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))", words.join(" ")),
        };
        let _ = writeln!(cases, "        {}) {action}; return ;;", spellings(flag).join("|"));
    }
    if !cases.is_empty() {
        let _ = write!(script, "    case $prev in\n{cases}    esac\n");
    }
    let options: Vec<String> = shown(applet).flat_map(spellings).collect();
    let _ = write!(
        script,
        "    if [[ $cur == -* ]]; then\n        COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))\n        return\n    fi\n",
        options.join(" ")
    );
    let words = |command: &str| format!("    COMPREPLY=($(compgen -W \"$({command})\" -- \"$cur\"))\n");
    let files = "    COMPREPLY+=($(compgen -f -X '!*.ko*' -- \"$cur\") $(compgen -d -- \"$cur\"))\n";
    match applet.operands {
        Operand::Nothing => {}
        Operand::Files => script.push_str(files),
        Operand::Modules => {
            script.push_str(&words(MODULES));
            let _ = write!(script, "    if [[ $cur == */* ]]; then\n    {files}    fi\n");
        }
        Operand::Loaded => script.push_str(&words(LOADED)),
        Operand::Folder => script.push_str("    COMPREPLY=($(compgen -d -- \"$cur\"))\n"),
        Operand::Release => script.push_str(&words(RELEASES)),
        Operand::Words(list) => {
            let _ = writeln!(script, "    COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))", list.join(" "));
        }
    }
    let _ = writeln!(script, "}}\ncomplete -o filenames -F _ferrmod_{function} {name}");
    script
}

/// Text inside of `'…[…]'`, as `_arguments` reads it.
fn zsh_text(text: &str) -> String {
    text.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:")
}

fn zsh(applet: &Applet) -> String {
    let mut script = format!("#compdef {}\n\n_arguments -s \\\n", applet.name);
    for flag in shown(applet) {
        let summary = zsh_text(flag.summary);
        let value = match (kind(flag), flag.value) {
            (Some(kind), Value::Required(name)) => {
                let action = match kind {
                    Kind::File => "_files".to_owned(),
                    Kind::Folder => "_files -/".to_owned(),
                    Kind::Release => format!("($({RELEASES}))"),
                    Kind::Words(words) => format!("({})", words.join(" ")),
                    Kind::Anything => String::new(),
                };
                format!(":{name}:{action}")
            }
            _ => String::new(),
        };
        let spellings = spellings(flag);
        let long_with = |spelling: &String| {
            if value.is_empty() || !spelling.starts_with("--") { spelling.clone() } else { format!("{spelling}=") }
        };
        let list: Vec<String> = spellings.iter().map(long_with).collect();
        match list.as_slice() {
            [one] => {
                let _ = writeln!(script, "  '{one}[{summary}]{value}' \\");
            }
            _ => {
                let _ = writeln!(script, "  '({})'{{{}}}'[{summary}]{value}' \\", spellings.join(" "), list.join(","));
            }
        }
    }
    let operands = match applet.operands {
        Operand::Nothing => String::new(),
        Operand::Files => "'*:module:_files -g \"*.ko*\"'".into(),
        Operand::Modules => {
            format!("'*:module:($({}))'", MODULES.replace('\'', "'\\''").replace(':', "\\:"))
        }
        Operand::Loaded => format!("'*:module:($({}))'", LOADED.replace('\'', "'\\''")),
        Operand::Folder => "'*:folder:_files -/'".into(),
        Operand::Release => format!("'*:version:($({RELEASES}))'"),
        Operand::Words(words) => format!("'1:command:({})'", words.join(" ")),
    };
    let _ = writeln!(script, "  {}", if operands.is_empty() { "&& return" } else { &operands });
    script
}

fn fish(applet: &Applet) -> String {
    let name = applet.name;
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let mut script = format!("# fish completion for {name}\n");
    let operands = match applet.operands {
        Operand::Nothing => Some(format!("complete -c {name} -f")),
        Operand::Files => None,
        Operand::Modules => Some(format!("complete -c {name} -a {}", quoted(&format!("({MODULES})")))),
        Operand::Loaded => Some(format!("complete -c {name} -f -a {}", quoted(&format!("({LOADED})")))),
        Operand::Folder => Some(format!("complete -c {name} -f -a '(__fish_complete_directories)'")),
        Operand::Release => Some(format!("complete -c {name} -f -a {}", quoted(&format!("({RELEASES})")))),
        Operand::Words(words) => Some(format!("complete -c {name} -f -a {}", quoted(&words.join(" ")))),
    };
    if let Some(operands) = operands {
        let _ = writeln!(script, "{}", operands.replace("$(uname -r)", "(uname -r)"));
    }
    for flag in shown(applet) {
        let mut line = format!("complete -c {name}");
        if let Some(letter) = flag.short {
            let _ = write!(line, " -s {}", char::from(letter));
        }
        if let Some(long) = flag.long {
            let _ = write!(line, " -l {long}");
        }
        match kind(flag) {
            None => {}
            Some(Kind::File) => line.push_str(" -r"),
            Some(Kind::Folder) => line.push_str(" -x -a '(__fish_complete_directories)'"),
            Some(Kind::Release) => {
                let _ = write!(line, " -x -a {}", quoted(&format!("({RELEASES})")));
            }
            Some(Kind::Words(words)) => {
                let _ = write!(line, " -x -a {}", quoted(&words.join(" ")));
            }
            Some(Kind::Anything) => line.push_str(" -x"),
        }
        let _ = writeln!(script, "{line} -d {}", quoted(flag.summary));
    }
    script
}
