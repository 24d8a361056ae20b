//! What the administrator of a kernel lets it load: the kernel's command line, its configuration, its sysctls.
//!
//! A policy is written in the words the kernel itself takes, so that there is nothing new to learn and a file can be put together with
//! `cat`: each line is a comment (`#`), an assignment of a kernel configuration (`CONFIG_MODULE_SIG_FORCE=y`), a sysctl
//! (`kernel.modules_disabled = 1`), or words of a kernel command line (`module_blacklist=pcspkr module.sig_enforce lockdown=integrity`).

use std::fmt;

use super::KernelConfig;

/// Where a rule comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Origin {
    /// The file, or a word for what it is.
    pub source: String,
    /// The line in it, from 1; `None` for what is one line.
    pub line: Option<usize>,
    /// The words that make the rule.
    pub text: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "`{}` ({}:{line})", self.text, self.source),
            None => write!(f, "`{}` ({})", self.text, self.source),
        }
    }
}

/// How far a kernel is locked down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Lockdown {
    /// What would let user space change the running kernel is off.
    Integrity,
    /// And what would let it read the kernel's secrets.
    Confidentiality,
}

impl fmt::Display for Lockdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lockdown::Integrity => "integrity",
            Lockdown::Confidentiality => "confidentiality",
        })
    }
}

/// A parameter of a module that stands on the kernel's command line, as `usbcore.nousb`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootParameter {
    /// The module.
    pub module: String,
    /// The parameter with its value, as the module gets it.
    pub argument: String,
    /// Where it stands.
    pub origin: Origin,
}

/// What an administrator has ordered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// `module_blacklist=`: names the kernel refuses, and where that stands. The last one counts.
    pub module_blacklist: Option<(Vec<String>, Origin)>,
    /// `nomodule`, or the sysctl `kernel.modules_disabled`.
    pub modules_disabled: Option<Origin>,
    /// `module.sig_enforce`.
    pub sig_enforce: Option<Origin>,
    /// `lockdown=`.
    pub lockdown: Option<(Lockdown, Origin)>,
    /// `lsm=`: the security modules that are active.
    pub lsm: Option<(Vec<String>, Origin)>,
    /// `loadpin.enforce`, on or off.
    pub loadpin: Option<(bool, Origin)>,
    /// `initcall_blacklist=`: functions that the kernel does not call to initialise anything.
    pub initcall_blacklist: Vec<(String, Origin)>,
    /// `secure_boot`: the firmware says that it is on.
    pub secure_boot: Option<Origin>,
    /// Parameters of modules, in their order.
    pub parameters: Vec<BootParameter>,
    /// Assignments of the kernel's configuration that stand in the policy, with their names without `CONFIG_`.
    pub config: Vec<(String, String, Origin)>,
}

/// A line of a policy that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}:{line}: `{text}`: {problem}")]
pub struct PolicyError {
    /// The file.
    pub source_name: String,
    /// The line, from 1.
    pub line: usize,
    /// What stands there.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// A truth value as the kernel reads one.
fn truth(text: &str) -> Option<bool> {
    match text.as_bytes() {
        [b'y' | b'Y' | b't' | b'T' | b'1', ..] | [b'o' | b'O', b'n' | b'N', ..] => Some(true),
        [b'n' | b'N' | b'f' | b'F' | b'0', ..] | [b'o' | b'O', b'f' | b'F', ..] => Some(false),
        _ => None,
    }
}

/// The words of a command line. Double quotes keep spaces together; a pair of them round a value or a word goes.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted) = (String::new(), false);
    for character in line.chars() {
        if character == '"' {
            quoted = !quoted;
        } else if character.is_ascii_whitespace() && !quoted {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        } else {
            word.push(character);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

const NOT_TRUTH: &str = "is neither on (1, y, on) nor off (0, n, off)";

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// The first line that cannot be understood. Words of a command line and sysctls that are about something else are no error.
    pub fn parse(source: &str, text: &str) -> Result<Policy, PolicyError> {
        let mut policy = Policy::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || line.starts_with(';') {
                continue;
            }
            let origin = |text: &str| Origin { source: source.to_owned(), line: Some(number), text: text.to_owned() };
            let wrong =
                |problem| PolicyError { source_name: source.to_owned(), line: number, text: line.to_owned(), problem };
            if let Some(assignment) = line.strip_prefix("CONFIG_") {
                let (name, value) = assignment.split_once('=').ok_or(wrong("has no value"))?;
                policy.config.push((name.trim().to_owned(), value.trim().to_owned(), origin(line)));
            } else if let Some((key, value)) = sysctl(line) {
                policy.sysctl(key, value, origin(line)).map_err(wrong)?;
            } else {
                policy.words(line, &origin).map_err(wrong)?;
            }
        }
        Ok(policy)
    }

    /// Adds what another policy says; it counts instead of what was said before.
    pub fn add(&mut self, more: Policy) {
        let Policy {
            module_blacklist,
            modules_disabled,
            sig_enforce,
            lockdown,
            lsm,
            loadpin,
            initcall_blacklist,
            secure_boot,
            parameters,
            config,
        } = more;
        self.module_blacklist = module_blacklist.or(self.module_blacklist.take());
        self.modules_disabled = modules_disabled.or(self.modules_disabled.take());
        self.sig_enforce = sig_enforce.or(self.sig_enforce.take());
        self.lockdown = lockdown.or(self.lockdown.take());
        self.lsm = lsm.or(self.lsm.take());
        self.loadpin = loadpin.or(self.loadpin.take());
        self.initcall_blacklist.extend(initcall_blacklist);
        self.secure_boot = secure_boot.or(self.secure_boot.take());
        self.parameters.extend(parameters);
        self.config.extend(config);
    }

    /// Takes in a kernel command line, as `/proc/cmdline` has it. What it says counts instead of what was said before. Words that the
    /// kernel would not understand do not matter, as they do not to the kernel.
    pub fn command_line(&mut self, source: &str, line: &str) {
        let origin = |text: &str| Origin { source: source.to_owned(), line: None, text: text.to_owned() };
        for word in words(line) {
            // Behind it is what init gets.
            if word == "--" {
                break;
            }
            let _ = self.word(&word, origin(&word));
        }
    }

    /// Takes in a sysctl by its name (`kernel.modules_disabled`) and value.
    ///
    /// # Errors
    /// The value is none that the kernel takes.
    pub fn sysctl(&mut self, key: &str, value: &str, origin: Origin) -> Result<(), &'static str> {
        match key.replace('/', ".").as_str() {
            "kernel.modules_disabled" => match value {
                "1" => self.modules_disabled = Some(origin),
                "0" => {}
                _ => return Err("is neither 0 nor 1"),
            },
            "kernel.loadpin.enforce" | "kernel.loadpin.enabled" => match value {
                "1" => self.loadpin = Some((true, origin)),
                "0" => self.loadpin = Some((false, origin)),
                _ => return Err("is neither 0 nor 1"),
            },
            _ => {}
        }
        Ok(())
    }

    fn words(&mut self, line: &str, origin: &dyn Fn(&str) -> Origin) -> Result<(), &'static str> {
        words(line).iter().try_for_each(|word| self.word(word, origin(word)))
    }

    /// Takes in one word of a command line.
    fn word(&mut self, word: &str, origin: Origin) -> Result<(), &'static str> {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word, None),
        };
        let list = |value: Option<&str>| -> Vec<String> {
            value.unwrap_or_default().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        // As the kernel compares the names of parameters.
        let normal = key.replace('-', "_");
        match normal.as_str() {
            "module_blacklist" => self.module_blacklist = Some((list(value), origin)),
            "nomodule" => match value.map_or(Some(true), truth) {
                Some(true) => self.modules_disabled = Some(origin),
                Some(false) => self.modules_disabled = None,
                None => return Err(NOT_TRUTH),
            },
            "module.sig_enforce" => match value.map_or(Some(true), truth) {
                Some(true) => self.sig_enforce = Some(origin),
                // It can be switched on and never off.
                Some(false) => {}
                None => return Err(NOT_TRUTH),
            },
            "lockdown" => {
                let level = match value {
                    Some("integrity") => Lockdown::Integrity,
                    Some("confidentiality") => Lockdown::Confidentiality,
                    _ => return Err("is neither integrity nor confidentiality"),
                };
                // The kernel never goes back to less.
                if self.lockdown.as_ref().is_none_or(|(now, _)| *now < level) {
                    self.lockdown = Some((level, origin));
                }
            }
            "lsm" => self.lsm = Some((list(value), origin)),
            "loadpin.enforce" | "loadpin.enabled" => match value.map_or(Some(true), truth) {
                Some(on) => self.loadpin = Some((on, origin)),
                None => return Err(NOT_TRUTH),
            },
            "initcall_blacklist" => {
                self.initcall_blacklist.extend(list(value).into_iter().map(|name| (name, origin.clone())));
            }
            "secure_boot" => match value.map_or(Some(true), truth) {
                Some(true) => self.secure_boot = Some(origin),
                Some(false) => self.secure_boot = None,
                None => return Err(NOT_TRUTH),
            },
            _ => {
                if let Some((module, parameter)) = normal.split_once('.') {
                    let argument = match value {
                        Some(value) if value.contains(char::is_whitespace) => format!("{parameter}=\"{value}\""),
                        Some(value) => format!("{parameter}={value}"),
                        None => parameter.to_owned(),
                    };
                    self.parameters.push(BootParameter { module: module.to_owned(), argument, origin });
                }
            }
        }
        Ok(())
    }
}

/// A line that is a sysctl: a name that begins as such, and a value.
fn sysctl(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim().trim_start_matches('-').trim();
    let value = value.trim();
    let plain = !key.contains(char::is_whitespace) && !value.contains(char::is_whitespace);
    let begins = ["kernel.", "kernel/", "vm.", "vm/", "net.", "net/", "fs.", "fs/", "dev.", "dev/"];
    (plain && begins.iter().any(|begin| key.starts_with(begin))).then_some((key, value))
}

/// A policy on one kernel: what its configuration adds, and what it makes impossible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// See [`Policy::module_blacklist`].
    pub module_blacklist: Option<(Vec<String>, Origin)>,
    /// See [`Policy::modules_disabled`].
    pub modules_disabled: Option<Origin>,
    /// See [`Policy::sig_enforce`].
    pub sig_enforce: Option<Origin>,
    /// How far the kernel is locked down, if it can be at all.
    pub lockdown: Option<(Lockdown, Origin)>,
    /// Files of other file systems are refused.
    pub loadpin: Option<Origin>,
    /// See [`Policy::initcall_blacklist`].
    pub initcall_blacklist: Vec<(String, Origin)>,
    /// The kernel has no modules.
    pub no_modules: Option<Origin>,
    /// The kernel looks at signatures.
    pub signatures: bool,
    /// What cannot be checked is loaded with a taint.
    pub force_load: bool,
    /// The kernel warns of modules that were compiled without retpolines.
    pub retpoline: bool,
    /// Live patches are possible.
    pub livepatch: bool,
    /// The format that the kernel unpacks by itself.
    pub decompress: Option<&'static str>,
    /// Whether the configuration is known; where it is not, that of a distribution is taken.
    pub config_known: bool,
}

impl Rules {
    /// What `policy` comes to on a kernel with this configuration.
    #[must_use]
    pub fn new(policy: &Policy, config: &KernelConfig) -> Rules {
        let value = |name: &str| -> Option<(String, Origin)> {
            let said = policy.config.iter().rev().find(|(key, _, _)| key == name);
            said.map(|(_, value, origin)| (value.clone(), origin.clone())).or_else(|| {
                let text = config.get(name)?;
                let origin =
                    Origin { source: config.source.clone(), line: None, text: format!("CONFIG_{name}={text}") };
                Some((text.to_owned(), origin))
            })
        };
        let known = !config.is_empty();
        let on = |name: &str| value(name).filter(|(value, _)| value == "y" || value == "m").map(|(_, origin)| origin);
        // Without a configuration: what distributions build.
        let has = |name: &str, by_default: bool| on(name).is_some() || (by_default && !known && value(name).is_none());

        let built_in_line = value("CMDLINE").filter(|_| on("CMDLINE_BOOL").is_some());
        let mut all = Policy::default();
        if let Some((line, origin)) = &built_in_line {
            all.command_line(&origin.source, line.trim_matches('"'));
        }
        let lsm = policy.lsm.clone().or(all.lsm).or_else(|| {
            let (list, origin) = value("LSM")?;
            Some((list.trim_matches('"').split(',').map(str::to_owned).collect(), origin))
        });
        let active = |name: &str| lsm.as_ref().is_none_or(|(list, _)| list.iter().any(|one| one == name));
        let can_lock =
            has("SECURITY_LOCKDOWN_LSM", true) && (active("lockdown") || on("SECURITY_LOCKDOWN_LSM_EARLY").is_some());
        let forced = on("LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY")
            .map(|origin| (Lockdown::Confidentiality, origin))
            .or_else(|| Some((Lockdown::Integrity, on("LOCK_DOWN_KERNEL_FORCE_INTEGRITY")?)));
        let by_firmware = policy
            .secure_boot
            .clone()
            .filter(|_| has("LOCK_DOWN_IN_EFI_SECURE_BOOT", true))
            .map(|origin| (Lockdown::Integrity, origin));
        let lockdown = [policy.lockdown.clone(), all.lockdown, forced, by_firmware]
            .into_iter()
            .flatten()
            // Of equals the first.
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .filter(|_| can_lock);
        let loadpin = match policy.loadpin.clone().or(all.loadpin) {
            Some((true, origin)) => Some(origin),
            Some((false, _)) => None,
            None => on("SECURITY_LOADPIN_ENFORCE"),
        };
        // Who orders LoadPin on a kernel without a known configuration means it.
        let loadpin = loadpin.filter(|_| has("SECURITY_LOADPIN", true) && active("loadpin"));
        let no_modules = (known && on("MODULES").is_none()).then(|| Origin {
            source: config.source.clone(),
            line: None,
            text: "# CONFIG_MODULES is not set".to_owned(),
        });
        let formats =
            [("MODULE_COMPRESS_GZIP", "gzip"), ("MODULE_COMPRESS_XZ", "xz"), ("MODULE_COMPRESS_ZSTD", "zstd")];
        let decompress = on("MODULE_DECOMPRESS")
            .and_then(|_| formats.iter().find(|(name, _)| on(name).is_some()).map(|&(_, format)| format));
        Rules {
            module_blacklist: policy.module_blacklist.clone().or(all.module_blacklist),
            modules_disabled: policy.modules_disabled.clone().or(all.modules_disabled),
            sig_enforce: on("MODULE_SIG_FORCE").or_else(|| policy.sig_enforce.clone()).or(all.sig_enforce),
            lockdown,
            loadpin,
            initcall_blacklist: all.initcall_blacklist.iter().chain(&policy.initcall_blacklist).cloned().collect(),
            no_modules,
            signatures: has("MODULE_SIG", true),
            force_load: has("MODULE_FORCE_LOAD", true),
            retpoline: has("RETPOLINE", true) || on("MITIGATION_RETPOLINE").is_some(),
            livepatch: has("LIVEPATCH", true),
            decompress,
            config_known: known,
        }
    }

    /// Where it stands that the module of exactly this name is refused.
    #[must_use]
    pub fn blacklists(&self, name: &str) -> Option<&Origin> {
        let (names, origin) = self.module_blacklist.as_ref()?;
        names.iter().any(|other| other == name).then_some(origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> KernelConfig {
        KernelConfig::new("config".into(), text.as_bytes())
    }

    #[test]
    fn a_file_holds_all_three_kinds_of_lines() {
        let text = "# comment\nmodule_blacklist=a,b quiet module.sig-enforce\nkernel.modules_disabled = 1\nCONFIG_MODULE_SIG=y\n";
        let policy = Policy::parse("p", text).unwrap();
        assert_eq!(policy.module_blacklist.as_ref().unwrap().0, ["a", "b"]);
        assert_eq!(policy.sig_enforce.as_ref().unwrap().text, "module.sig-enforce");
        assert_eq!(policy.modules_disabled.as_ref().unwrap().to_string(), "`kernel.modules_disabled = 1` (p:3)");
        assert_eq!(policy.config.len(), 1);
        let error = Policy::parse("p", "\nlockdown=maybe\n").unwrap_err();
        assert_eq!(error.to_string(), "p:2: `lockdown=maybe`: is neither integrity nor confidentiality");
        assert!(Policy::parse("p", "kernel.modules_disabled=banana").is_err());
        assert!(Policy::parse("p", "net.ipv4.ip_forward=1").is_ok());
    }

    #[test]
    fn a_command_line_ends_at_two_dashes() {
        let mut policy = Policy::default();
        policy.command_line("/proc/cmdline", "nomodule=0 base.ui=3 base.cp=\"a b\" lockdown=x -- module_blacklist=a");
        assert_eq!(policy.module_blacklist, None);
        assert_eq!(policy.modules_disabled, None);
        let arguments: Vec<_> = policy.parameters.iter().map(|one| one.argument.as_str()).collect();
        assert_eq!(arguments, ["ui=3", "cp=\"a b\""]);
    }

    #[test]
    fn lockdown_needs_its_security_module() {
        let mut policy = Policy::default();
        policy.command_line("c", "lockdown=integrity");
        let without = "CONFIG_MODULES=y\nCONFIG_SECURITY_LOCKDOWN_LSM=y\nCONFIG_LSM=\"yama\"\n";
        assert_eq!(Rules::new(&policy, &config(without)).lockdown, None);
        let with = "CONFIG_MODULES=y\nCONFIG_SECURITY_LOCKDOWN_LSM=y\nCONFIG_LSM=\"yama,lockdown\"\n";
        assert!(Rules::new(&policy, &config(with)).lockdown.is_some());
        policy.command_line("c", "lsm=yama");
        assert_eq!(Rules::new(&policy, &config(with)).lockdown, None);
        let secure = Policy::parse("p", "secure_boot").unwrap();
        let firmware = format!("{with}CONFIG_LOCK_DOWN_IN_EFI_SECURE_BOOT=y\n");
        assert_eq!(Rules::new(&secure, &config(&firmware)).lockdown.unwrap().0, Lockdown::Integrity);
        assert_eq!(Rules::new(&secure, &config(with)).lockdown, None);
    }

    #[test]
    fn the_configuration_has_defaults_of_its_own() {
        let rules = Rules::new(
            &Policy::default(),
            &config("CONFIG_MODULES=y\nCONFIG_MODULE_SIG_FORCE=y\nCONFIG_MODULE_SIG=y\n"),
        );
        assert!(rules.sig_enforce.is_some() && rules.signatures && !rules.force_load && rules.no_modules.is_none());
        let unknown = Rules::new(&Policy::default(), &KernelConfig::default());
        assert!(unknown.force_load && unknown.signatures && !unknown.config_known && unknown.no_modules.is_none());
        assert!(Rules::new(&Policy::default(), &config("CONFIG_X=y\n")).no_modules.is_some());
        let line = "CONFIG_MODULES=y\nCONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"module_blacklist=x\"\n";
        assert!(Rules::new(&Policy::default(), &config(line)).blacklists("x").is_some());
    }
}
