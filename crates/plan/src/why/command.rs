//! The commands of `install` lines: what they do about a module, as far as their words tell.

use bstr::{BStr, ByteSlice};

/// What a command does about the module that it is run instead of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// It loads nothing.
    Nothing {
        /// Whether it fails, so that whoever needs the module is refused as well; `None` when that is not plain.
        fails: Option<bool>,
    },
    /// It calls a program that loads modules.
    Loads,
    /// Its words do not tell.
    Unknown,
}

/// Programs that load modules.
const LOADERS: [&[u8]; 3] = [b"modprobe", b"insmod", b"kmod"];
/// Programs and words of the shell that do nothing about modules, and whether they fail.
const IDLE: [(&[u8], Option<bool>); 8] = [
    (b"false", Some(true)),
    (b"true", Some(false)),
    (b":", Some(false)),
    (b"exit", None),
    (b"echo", Some(false)),
    (b"logger", Some(false)),
    (b"printf", Some(false)),
    (b"test", None),
];

/// The words of the commands that a line of shell has, each command by itself. Quotes are taken away; nothing is expanded.
fn commands(line: &[u8]) -> Vec<Vec<&[u8]>> {
    line.split(|byte| matches!(byte, b';' | b'&' | b'|' | b'\n' | b'(' | b')' | b'{' | b'}' | b'`'))
        .map(|command| {
            command
                .split(u8::is_ascii_whitespace)
                .map(|word| word.trim_with(|letter| matches!(letter, '"' | '\'')))
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
        })
        .filter(|words| !words.is_empty())
        .collect()
}

/// The last part of a path.
fn program(word: &[u8]) -> &[u8] {
    word.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// What `line` does.
#[must_use]
pub fn classify(line: &BStr) -> Command {
    let commands = commands(line);
    let has_loader = commands.iter().flatten().any(|word| LOADERS.contains(&program(word)));
    if has_loader {
        return Command::Loads;
    }
    let mut fails = Some(false);
    for words in &commands {
        let first = words.first().copied().unwrap_or_default();
        let Some((name, ends)) = IDLE.iter().find(|(name, _)| *name == program(first)) else {
            return Command::Unknown;
        };
        fails = match (*name, words.get(1)) {
            (b"exit", None) => fails,
            (b"exit", Some(code)) => Some(*code != b"0"),
            _ => *ends,
        };
    }
    // What comes of several is for the shell to say.
    Command::Nothing { fails: if line.contains(&b'|') || line.contains(&b'&') { None } else { fails } }
}

/// Whether `line` loads the module of this name (with `_`), as a command of its own.
#[must_use]
pub fn loads(line: &BStr, module: &BStr) -> bool {
    commands(line).iter().any(|words| {
        let loader = words.iter().position(|word| LOADERS.contains(&program(word)));
        loader.is_some_and(|at| {
            let names = words.iter().skip(at + 1).take_while(|word| !word.starts_with(b"$CMDLINE_OPTS"));
            names.filter(|word| !word.starts_with(b"-")).any(|word| {
                // insmod has a file.
                let stem = program(word).split(|&byte| byte == b'.').next().unwrap_or_default();
                stem.replace("-", "_") == **module
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_apart_by_their_words() {
        let table: [(&str, Command); 13] = [
            ("/bin/false", Command::Nothing { fails: Some(true) }),
            ("/usr/bin/true", Command::Nothing { fails: Some(false) }),
            (":", Command::Nothing { fails: Some(false) }),
            ("exit 1", Command::Nothing { fails: Some(true) }),
            ("exit 0", Command::Nothing { fails: Some(false) }),
            ("echo no; exit 1", Command::Nothing { fails: Some(true) }),
            ("echo no && false", Command::Nothing { fails: None }),
            ("", Command::Nothing { fails: Some(false) }),
            ("/sbin/modprobe --ignore-install a && /sbin/modprobe b", Command::Loads),
            ("\"/sbin/insmod\" /opt/x.ko", Command::Loads),
            ("/usr/local/sbin/load-it a", Command::Unknown),
            ("false; /opt/anything", Command::Unknown),
            ("/bin/falsehood", Command::Unknown),
        ];
        for (line, expected) in table {
            assert_eq!(classify(line.into()), expected, "{line}");
        }
    }

    #[test]
    fn a_loaded_module_is_a_word_behind_its_loader() {
        let line = BStr::new(
            "/sbin/modprobe -q snd-seq; { /sbin/modprobe --ignore-install snd-pcm; insmod /opt/my-mod.ko x=1; }",
        );
        for (module, expected) in
            [("snd_seq", true), ("snd_pcm", true), ("my_mod", true), ("snd", false), ("modprobe", false)]
        {
            assert_eq!(loads(line, module.into()), expected, "{module}");
        }
        assert!(!loads("echo snd-seq".into(), "snd_seq".into()));
    }
}
