//! As much of a shell as install and remove commands need.
//!
//! `A; B`, `A && B`, `A || B`, quotes, `$NAME`, `exit N`, `echo`, `true`, `false`, `kill -N` (itself), `: > FILE` style output
//! (`>`, `>>`) of `echo`, and every program.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};

pub(crate) fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    if arguments.next().is_none_or(|flag| flag != "-c") {
        return ExitCode::from(2);
    }
    // system(3) says `sh -c -- COMMAND` in newer C libraries.
    let command = arguments.find(|argument| argument != "--").unwrap_or_default();
    let mut status = 0;
    let mut run = true;
    for (text, joint) in lists(&command.to_string_lossy()) {
        if run {
            match simple(&text) {
                Flow::Status(code) => status = code,
                Flow::Exit(code) => return ExitCode::from(code),
            }
        }
        run = match joint {
            Joint::Always => true,
            Joint::And => status == 0,
            Joint::Or => status != 0,
        };
    }
    ExitCode::from(status)
}

enum Joint {
    Always,
    And,
    Or,
}

enum Flow {
    Status(u8),
    Exit(u8),
}

/// The commands, each with what stands after it.
fn lists(text: &str) -> Vec<(String, Joint)> {
    let mut out = Vec::new();
    let mut command = String::new();
    let mut quote = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None, ';') => {
                out.push((std::mem::take(&mut command), Joint::Always));
                continue;
            }
            (None, '&' | '|') if letters.peek() == Some(&letter) => {
                letters.next();
                let joint = if letter == '&' { Joint::And } else { Joint::Or };
                out.push((std::mem::take(&mut command), joint));
                continue;
            }
            _ => {}
        }
        command.push(letter);
    }
    out.push((command, Joint::Always));
    out
}

/// The words of a command: quotes taken off, variables put in (not in single quotes).
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, ' ' | '\t') => out.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == letter => quote = None,
            (None | Some('"'), '$') => {
                let mut name = String::new();
                while let Some(letter) = letters.next_if(|letter| letter.is_ascii_alphanumeric() || *letter == '_') {
                    name.push(letter);
                }
                let value = std::env::var(&name).unwrap_or_default();
                if !value.is_empty() {
                    word.get_or_insert_default().push_str(&value);
                }
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    out.extend(word);
    out
}

fn simple(text: &str) -> Flow {
    let words = words(text);
    let Some((name, arguments)) = words.split_first() else {
        return Flow::Status(0);
    };
    let number = |default| arguments.first().and_then(|word| word.parse().ok()).unwrap_or(default);
    Flow::Status(match name.as_str() {
        "true" | ":" => 0,
        "false" => 1,
        "exit" => return Flow::Exit(number(0)),
        "sleep" => {
            let seconds = arguments.first().and_then(|word| word.parse().ok()).unwrap_or(0.0);
            std::thread::sleep(std::time::Duration::from_secs_f64(seconds));
            0
        }
        "kill" => {
            let signal = rustix::process::Signal::KILL;
            u8::from(rustix::process::kill_process(rustix::process::getpid(), signal).is_err())
        }
        "echo" => echo(arguments),
        _ => match Command::new(name).args(arguments).status() {
            Ok(status) => status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)) as u8,
            Err(_) => {
                eprintln!("sh: 1: {name}: not found");
                127
            }
        },
    })
}

fn echo(words: &[String]) -> u8 {
    let redirected = words.iter().position(|word| word == ">" || word == ">>");
    let (text, file) = words.split_at(redirected.unwrap_or(words.len()));
    let text = text.join(" ") + "\n";
    let written = match file {
        [how, path, ..] => {
            let open = File::options().create(true).write(true).append(how == ">>").truncate(how == ">").open(path);
            open.and_then(|mut file| file.write_all(text.as_bytes()))
        }
        _ => std::io::stdout().write_all(text.as_bytes()),
    };
    u8::from(written.is_err())
}
