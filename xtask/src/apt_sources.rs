//! Where the machine's own apt gets packages from, and the same for another release of Debian.
//!
//! No address of a package archive is written in this project: whoever runs it has apt configured,
//! and the archive that carries one release carries its neighbours. Both forms of
//! sources.list(5) are read; the deb822 form is written.

use std::fmt::Write;

/// Names of Debian releases that a suite may begin with.
const RELEASES: [&str; 9] =
    ["bullseye", "bookworm", "trixie", "forky", "oldoldstable", "oldstable", "stable", "testing", "unstable"];

/// One archive for binary packages: a stanza of deb822, or a line of the old form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) uris: Vec<String>,
    pub(crate) suites: Vec<String>,
    pub(crate) components: Vec<String>,
    /// Everything else that tells apt how to use it, in deb822's names (`Signed-By`, `Trusted`, ...).
    /// A value of several lines keeps its line breaks and indentation.
    pub(crate) fields: Vec<(String, String)>,
}

/// Reads the one-line form (`*.list`).
pub(crate) fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_list_line).collect()
}

fn parse_list_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let mut rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None; // deb-src
    }
    rest = rest.trim_start();
    let mut fields = Vec::new();
    if let Some(options) = rest.strip_prefix('[') {
        let (options, after) = options.split_once(']')?;
        rest = after;
        for option in options.split_whitespace() {
            let Some((name, value)) = option.split_once('=') else {
                continue;
            };
            let field = match name.trim_end_matches(['+', '-']) {
                "signed-by" => "Signed-By",
                "trusted" => "Trusted",
                "check-valid-until" => "Check-Valid-Until",
                "valid-until-max" => "Valid-Until-Max",
                "check-date" => "Check-Date",
                "allow-insecure" => "Allow-Insecure",
                "allow-weak" => "Allow-Weak",
                // arch, lang, target and the like choose what to fetch; we choose that ourselves.
                _ => continue,
            };
            fields.push((field.to_owned(), value.to_owned()));
        }
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    let uri = words.next()?;
    let suite = words.next()?;
    Some(Source { uris: vec![uri], suites: vec![suite], components: words.collect(), fields })
}

/// Reads the deb822 form (`*.sources`).
pub(crate) fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut stanza: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(source_of(std::mem::take(&mut stanza)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.last_mut() {
                value.push('\n');
                value.push_str(line.trim_end());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            stanza.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    sources
}

fn source_of(stanza: Vec<(String, String)>) -> Option<Source> {
    let words = |value: &str| value.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut source = Source { uris: Vec::new(), suites: Vec::new(), components: Vec::new(), fields: Vec::new() };
    let mut binary = false;
    for (name, value) in stanza {
        match name.to_ascii_lowercase().as_str() {
            "types" => binary = words(&value).iter().any(|word| word == "deb"),
            "uris" => source.uris = words(&value),
            "suites" => source.suites = words(&value),
            "components" => source.components = words(&value),
            "enabled" if matches!(value.as_str(), "no" | "false" | "0" | "off") => return None,
            "signed-by" | "trusted" | "check-valid-until" | "valid-until-max" | "check-date" | "allow-insecure"
            | "allow-weak" => source.fields.push((name, value)),
            _ => {}
        }
    }
    (binary && !source.uris.is_empty() && !source.suites.is_empty()).then_some(source)
}

/// The same archives for Debian's release `codename`: what carries `bookworm`, `bookworm-updates`
/// and `bookworm-security` here is asked for `trixie`, `trixie-updates` and `trixie-security`.
pub(crate) fn for_release(sources: &[Source], codename: &str) -> Vec<Source> {
    let mut answer: Vec<Source> = Vec::new();
    for source in sources {
        let suites: Vec<String> = source
            .suites
            .iter()
            .filter_map(|suite| {
                let suffix = RELEASES.iter().find_map(|release| suite.strip_prefix(release))?;
                ["", "-updates", "-security"].contains(&suffix).then(|| format!("{codename}{suffix}"))
            })
            .collect();
        let main = source.components.iter().any(|component| component == "main");
        if suites.is_empty() || !main {
            continue;
        }
        let same = Source { suites, components: vec!["main".to_owned()], ..source.clone() };
        if !answer.contains(&same) {
            answer.push(same);
        }
    }
    answer
}

/// Writes the sources in the deb822 form, for amd64.
pub(crate) fn render(sources: &[Source]) -> String {
    let mut text = String::new();
    for source in sources {
        let _ = writeln!(text, "Types: deb");
        let _ = writeln!(text, "URIs: {}", source.uris.join(" "));
        let _ = writeln!(text, "Suites: {}", source.suites.join(" "));
        let _ = writeln!(text, "Components: {}", source.components.join(" "));
        let _ = writeln!(text, "Architectures: amd64");
        for (name, value) in &source.fields {
            let _ = writeln!(text, "{name}: {value}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZAS: &str = "\
Types: deb
# an older address
URIs: http://archive.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb deb-src
URIs: http://archive.example/debian-security
Suites: bookworm-security
Components: main
signed-by:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://archive.example/off
Suites: bookworm
Components: main

Types: deb-src
URIs: http://archive.example/source
Suites: bookworm
Components: main
";

    #[test]
    fn deb822_stanzas_are_read() {
        let sources = parse_deb822(STANZAS);
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].uris, ["http://archive.example/debian"]);
        assert_eq!(sources[0].suites, ["bookworm", "bookworm-updates", "bookworm-backports"]);
        assert_eq!(sources[0].fields, [("Signed-By".to_owned(), "/usr/share/keyrings/archive.gpg".to_owned())]);
        assert!(sources[1].fields[0].1.contains("\n .\n mQINBF\n"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let sources = for_release(&parse_deb822(STANZAS), "trixie");
        assert_eq!(parse_deb822(&render(&sources)), sources);
    }

    #[test]
    fn another_release_keeps_address_and_key() {
        let sources = for_release(&parse_deb822(STANZAS), "trixie");
        assert_eq!(sources[0].suites, ["trixie", "trixie-updates"]);
        assert_eq!(sources[0].components, ["main"]);
        assert_eq!(sources[0].fields[0].0, "Signed-By");
        assert_eq!(sources[1].suites, ["trixie-security"]);
        assert_eq!(sources[1].uris, ["http://archive.example/debian-security"]);
    }

    #[test]
    fn lines_are_read() {
        let sources = parse_list(
            "# deb http://archive.example/commented bookworm main\n\
             deb http://archive.example/debian bookworm main non-free # the archive\n\
             deb-src http://archive.example/debian bookworm main\n\
             deb [arch=amd64 signed-by=/k.gpg] http://archive.example/security stable-security main\n\
             deb [ trusted=yes ]\thttp://archive.example/flat ./\n\
             deb http://archive.example/short\n\n",
        );
        assert_eq!(sources.len(), 3);
        assert_eq!(sources[0].components, ["main", "non-free"]);
        assert_eq!(sources[1].fields, [("Signed-By".to_owned(), "/k.gpg".to_owned())]);
        assert_eq!(sources[2].suites, ["./"]);
        let bookworm = for_release(&sources, "bookworm");
        assert_eq!(bookworm.len(), 2, "the flat archive belongs to no release");
        assert_eq!(bookworm[1].suites, ["bookworm-security"]);
    }

    #[test]
    fn other_distributions_and_components_are_left_out() {
        let sources = parse_list(
            "deb http://archive.example/ubuntu noble main\n\
             deb http://archive.example/debian bookworm contrib\n\
             deb http://archive.example/debian bookworm-proposed-updates main\n",
        );
        assert_eq!(sources.len(), 3);
        assert!(for_release(&sources, "trixie").is_empty());
    }
}
