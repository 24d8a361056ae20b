//! Manual pages, from the tables of the commands.

use std::fmt::Write as _;

use crate::flags::{Applet, Family, Flag, Value};

/// The file of a command's page.
#[must_use]
pub fn file(applet: &Applet) -> String {
    match applet.family {
        Family::Kmod => format!("{}.8", applet.name),
        Family::Own => format!("ferrmod-{}.1", applet.name),
    }
}

/// A command's page.
#[must_use]
pub fn page(applet: &Applet) -> String {
    let (name, section) = match applet.family {
        Family::Kmod => (applet.name.to_owned(), "8"),
        Family::Own => (format!("ferrmod-{}", applet.name), "1"),
    };
    let mut page = format!(".TH {} {section} \"\" \"ferrmod {}\"\n", name.to_uppercase(), env!("CARGO_PKG_VERSION"));
    let _ = writeln!(page, ".SH NAME\n{} \\- {}", escaped(&name), escaped(applet.summary));
    page.push_str(".SH SYNOPSIS\n");
    let called = if applet.family == Family::Own { format!("ferrmod {}", applet.name) } else { name.clone() };
    for form in applet.synopsis {
        let _ = writeln!(page, ".B {}\n{}\n.br", escaped(&called), escaped(form));
    }
    page.push_str(".SH DESCRIPTION\n");
    paragraphs(&mut page, applet.description);
    options(&mut page, applet.flags);
    if !applet.commands.is_empty() {
        page.push_str(".SH COMMANDS\n");
    }
    for command in applet.commands {
        let _ = writeln!(page, ".TP\n.B {}\n{}", escaped(command.name), escaped(&sentence(command.summary)));
        if command.flags.is_empty() || command.name == "list" {
            continue;
        }
        page.push_str(".RS\n");
        command.flags.iter().filter(|flag| !flag.hidden).for_each(|flag| option(&mut page, flag));
        page.push_str(".RE\n");
    }
    if !applet.notes.is_empty() && applet.commands.is_empty() {
        page.push_str(".SH NOTES\n.nf\n");
        for line in applet.notes.lines() {
            let _ = writeln!(page, "{}", line_start(&escaped(line)));
        }
        page.push_str(".fi\n");
    }
    page.push_str(".SH \"EXIT STATUS\"\n0 if everything was done, 1 if something was not.\n");
    if applet.family == Family::Kmod {
        page.push_str(".SH \"SEE ALSO\"\n");
        let others = crate::APPLETS.iter().filter(|other| other.family == Family::Kmod && other.name != applet.name);
        let others: Vec<String> = others.map(|other| format!(".BR {} (8)", escaped(other.name))).collect();
        let _ = writeln!(page, "{}", others.join(",\n"));
    }
    page
}

fn options(page: &mut String, flags: &[Flag]) {
    let shown: Vec<&Flag> = flags.iter().filter(|flag| !flag.hidden).collect();
    if shown.is_empty() {
        return;
    }
    page.push_str(".SH OPTIONS\n");
    shown.iter().for_each(|flag| option(page, flag));
}

fn option(page: &mut String, flag: &Flag) {
    let mut spellings = Vec::new();
    let value = |before: &str| match flag.value {
        Value::Required(name) => format!("{before}\\fI{}\\fR", escaped(name)),
        Value::None => String::new(),
    };
    if let Some(letter) = flag.short {
        let value = if flag.long.is_none() { value(" ") } else { String::new() };
        spellings.push(format!("\\fB\\-{}\\fR{value}", char::from(letter)));
    }
    if let Some(long) = flag.long {
        spellings.push(format!("\\fB\\-\\-{}\\fR{}", escaped(long), value("=")));
    }
    let _ = writeln!(page, ".TP\n{}", spellings.join(", "));
    if flag.doc.is_empty() {
        let _ = writeln!(page, "{}", line_start(&escaped(&sentence(flag.summary))));
    } else {
        let mut first = true;
        for paragraph in flag.doc.split("\n\n") {
            let _ = writeln!(page, "{}{}", if first { "" } else { ".IP\n" }, line_start(&escaped(paragraph)));
            first = false;
        }
    }
}

fn paragraphs(page: &mut String, text: &str) {
    for paragraph in text.split("\n\n") {
        let _ = writeln!(page, ".PP\n{}", line_start(&escaped(paragraph)));
    }
}

/// A summary as a sentence.
fn sentence(summary: &str) -> String {
    let mut text = summary.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text + "."
}

/// Text in which nothing means anything to the formatter.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// A line that begins with what would be a request is none.
fn line_start(text: &str) -> String {
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text.to_owned() }
}
