//! What of a system would no longer work with a policy.

use std::collections::{BTreeMap, BTreeSet};

use super::Policy;
use crate::why::Device;

/// What of a system depends on modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    /// The devices that say which module they want.
    pub devices: Vec<Device>,
    /// What is mounted, or will be.
    pub mounts: Vec<Mount>,
    /// File systems that the kernel has, so that none has to be loaded for them.
    pub filesystems: BTreeSet<String>,
    /// The rules of a firewall.
    pub rules: Vec<Rule>,
}

/// A file system that is mounted, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub on: String,
    /// Its type.
    pub kind: String,
    /// The file that says so.
    pub source: String,
}

/// A rule of a firewall, and the names of which it asks for a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its line.
    pub line: usize,
    /// Its text.
    pub text: String,
    /// For each thing in it the aliases by which the kernel asks for it, any of which will do.
    pub asks: Vec<Vec<String>>,
}

/// Something that would no longer work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Break {
    /// What.
    pub what: Thing,
    /// The modules that it could work with, none of which the policy allows.
    pub modules: Vec<String>,
    /// Whether it works now, as far as can be seen; a device without a driver does not.
    pub works_now: bool,
}

/// What would no longer work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Thing {
    /// A device gets no driver.
    Device {
        /// Its folder in sysfs.
        path: String,
        /// What it asks for.
        modalias: String,
    },
    /// A file system cannot be mounted.
    Mount {
        /// Where.
        on: String,
        /// Its type.
        kind: String,
        /// The file that says so.
        source: String,
    },
    /// A rule cannot be set.
    Rule {
        /// Its line.
        line: usize,
        /// Its text.
        text: String,
    },
}

/// What of `in_use` would no longer work with `policy`. `resolve` tells the modules that have an alias.
///
/// # Errors
/// Those of `resolve`.
pub fn breaks<E>(
    policy: &Policy,
    in_use: &InUse,
    mut resolve: impl FnMut(&str) -> Result<Vec<String>, E>,
) -> Result<Vec<Break>, E> {
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut modules_of = |alias: &str| -> Result<Vec<String>, E> {
        if let Some(modules) = known.get(alias) {
            return Ok(modules.clone());
        }
        let modules = resolve(alias)?;
        known.insert(alias.to_owned(), modules.clone());
        Ok(modules)
    };
    let mut breaks = Vec::new();
    for device in &in_use.devices {
        let (modules, works_now) = match (&device.driver, &device.module) {
            (Some(_), None) => continue,
            (_, Some(module)) => (vec![module.clone()], true),
            (None, None) => (modules_of(&device.modalias)?, false),
        };
        if is_denied(policy, &modules) {
            let what = Thing::Device { path: device.path.clone(), modalias: device.modalias.clone() };
            breaks.push(Break { what, modules, works_now });
        }
    }
    for mount in in_use.mounts.iter() {
        let there = in_use.filesystems.contains(&mount.kind);
        let mut modules = modules_of(&format!("fs-{}", mount.kind))?;
        if modules.is_empty() && !there {
            // Some have no such alias and are loaded by their name.
            modules = modules_of(&mount.kind)?;
        }
        // What the kernel has may come of a module that is loaded now.
        if is_denied(policy, &modules) {
            let what = Thing::Mount { on: mount.on.clone(), kind: mount.kind.clone(), source: mount.source.clone() };
            breaks.push(Break { what, modules, works_now: there });
        }
    }
    for rule in &in_use.rules {
        let mut lacking = Vec::new();
        for asked in &rule.asks {
            let mut modules = Vec::new();
            for alias in asked {
                modules.extend(modules_of(alias)?);
            }
            if is_denied(policy, &modules) {
                lacking.extend(modules);
            }
        }
        if !lacking.is_empty() {
            lacking.sort();
            lacking.dedup();
            let what = Thing::Rule { line: rule.line, text: rule.text.clone() };
            breaks.push(Break { what, modules: lacking, works_now: true });
        }
    }
    Ok(breaks)
}

/// Whether there are modules for it and the policy allows none of them.
fn is_denied(policy: &Policy, modules: &[String]) -> bool {
    !modules.is_empty() && !modules.iter().any(|module| policy.allows(module))
}

/// The rules in what `iptables-save` or `nft list ruleset` printed.
#[must_use]
pub fn rules(text: &str) -> Vec<Rule> {
    let mut family = "";
    let mut rules = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let text = line.trim();
        let words: Vec<&str> = text.split([' ', '\t', ';', '{', '}', ',']).filter(|word| !word.is_empty()).collect();
        let asks: Vec<Vec<String>> = match words.as_slice() {
            ["#" | "//", ..] | [] => continue,
            [table] if table.starts_with('*') => {
                let table = table.trim_start_matches('*');
                vec![vec![format!("iptable_{table}"), format!("ip6table_{table}")]]
            }
            [command, ..] if command.starts_with('-') => of_iptables(&words),
            ["table", of, _, ..] if matches!(*of, "ip" | "ip6" | "inet" | "arp" | "bridge" | "netdev") => {
                family = match *of {
                    "ip" => "2",
                    "ip6" => "10",
                    "inet" => "1",
                    "arp" => "3",
                    "bridge" => "7",
                    _ => "5",
                };
                Vec::new()
            }
            ["table", _, ..] => {
                family = "2";
                Vec::new()
            }
            ["type", kind, "hook", ..] => {
                vec![vec![format!("nft-chain-{family}-{kind}"), format!("nft-chain-1-{kind}")]]
            }
            _ => {
                words.iter().map(|word| vec![format!("nft-expr-{word}"), format!("nft-expr-{family}-{word}")]).collect()
            }
        };
        if !asks.is_empty() {
            rules.push(Rule { line: number, text: text.to_owned(), asks });
        }
    }
    rules
}

/// The matches and targets of a rule as `iptables-save` prints it.
fn of_iptables(words: &[&str]) -> Vec<Vec<String>> {
    let names = |name: &str| ["xt_", "ipt_", "ip6t_"].iter().map(|begin| format!("{begin}{name}")).collect();
    words
        .windows(2)
        .filter_map(|pair| match pair {
            ["-m" | "--match" | "-j" | "--jump" | "-g" | "--goto", name] => Some(names(name)),
            ["-p" | "--protocol", "tcp" | "udp"] => Some(names("tcpudp")),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str]) -> Policy {
        Policy {
            schema: super::super::SCHEMA.to_owned(),
            kernel: "6.1".to_owned(),
            allowed: allowed.iter().map(|name| ((*name).to_owned(), Vec::new())).collect(),
            builtin: Vec::new(),
            missing: Vec::new(),
            broken: BTreeMap::new(),
            denied: Vec::new(),
            root: None,
        }
    }

    fn device(modalias: &str, driver: Option<&str>, module: Option<&str>) -> Device {
        Device {
            path: format!("/sys/devices/{modalias}"),
            modalias: modalias.to_owned(),
            driver: driver.map(ToOwned::to_owned),
            module: module.map(ToOwned::to_owned),
        }
    }

    fn resolve(alias: &str) -> Result<Vec<String>, std::convert::Infallible> {
        Ok(match alias {
            "pci:a" => vec!["e1000".to_owned(), "e1000e".to_owned()],
            "pci:b" => vec!["ahci".to_owned()],
            "fs-vfat" => vec!["vfat".to_owned()],
            "fs-ext4" => vec!["ext4".to_owned()],
            "xt_LOG" => vec!["xt_LOG".to_owned()],
            "nft-expr-ct" => vec!["nft_ct".to_owned()],
            "nft-chain-1-nat" => vec!["nft_chain_nat".to_owned()],
            "iptable_nat" => vec!["iptable_nat".to_owned()],
            _ => Vec::new(),
        })
    }

    #[test]
    fn devices_mounts_and_rules_that_lose_their_module_are_named() {
        let in_use = InUse {
            devices: vec![
                device("pci:a", Some("e1000e"), Some("e1000e")),
                device("pci:a", None, None),
                device("pci:b", Some("ahci"), Some("ahci")),
                device("pci:b", None, None),
                device("pci:c", None, None),
                device("pci:b", Some("builtin"), None),
            ],
            mounts: [("/", "ext4"), ("/boot", "vfat"), ("/proc", "proc")]
                .map(|(on, kind)| Mount { on: on.into(), kind: kind.into(), source: "/proc/mounts".into() })
                .into(),
            filesystems: ["ext4", "proc"].map(ToOwned::to_owned).into(),
            rules: rules("*nat\n-A INPUT -p tcp -m limit -j LOG\n-A INPUT -j ACCEPT\nCOMMIT"),
        };
        let found = breaks(&policy(&["e1000e", "ext4"]), &in_use, resolve).unwrap();
        let short: Vec<(&Thing, bool)> = found.iter().map(|one| (&one.what, one.works_now)).collect();
        assert!(matches!(short[0], (Thing::Device { modalias, .. }, true) if modalias == "pci:b"), "{short:?}");
        assert!(matches!(short[1], (Thing::Device { modalias, .. }, false) if modalias == "pci:b"));
        assert!(matches!(short[2], (Thing::Mount { on, .. }, false) if on == "/boot"));
        assert!(matches!(short[3], (Thing::Rule { line: 1, .. }, true)));
        assert!(matches!(short[4], (Thing::Rule { line: 2, .. }, true)));
        assert_eq!(short.len(), 5);
        let all = policy(&["e1000e", "ext4", "ahci", "vfat", "xt_LOG", "iptable_nat"]);
        assert_eq!(breaks(&all, &in_use, resolve).unwrap(), []);
    }

    #[test]
    fn rules_of_nft_ask_for_chains_and_expressions() {
        let text = "table inet filter {\n\tchain input {\n\t\ttype nat hook input priority 0; policy drop;\n\t\tct state established accept\n\t}\n}";
        let found = breaks(&policy(&[]), &InUse { rules: rules(text), ..InUse::default() }, resolve).unwrap();
        let lines: Vec<usize> = found
            .iter()
            .map(|one| match one.what {
                Thing::Rule { line, .. } => line,
                _ => 0,
            })
            .collect();
        assert_eq!(lines, [3, 4]);
        assert!(rules("# nothing\n\n").is_empty());
    }
}
