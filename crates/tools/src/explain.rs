//! Why a load failed: what the kernel logged meanwhile, and what can be seen from here.
//!
//! The kernel answers a load with one number. `Invalid argument` may be a parameter, a relocation, a section; the reason is in its
//! log, and often in the file itself. What is said here follows the error that kmod prints, and is never part of it.

use std::path::Path;

use bstr::{BStr, ByteSlice};
use ferrmod_image::Image;
use ferrmod_linux::{Errno, Kernel, LogStart, Record};
use ferrmod_plan::check::{KernelConfig, Policy, Rules};
use ferrmod_plan::why::{Directive, Effect};

use crate::flags::Flag;
use crate::load::{LoadProblem, name_of};

/// `--explain`.
pub(crate) const EXPLAIN: Flag = Flag::long("explain", "say why a load failed, as on a terminal").ours().doc(
    "After an error, print what the kernel logged about it and what the file shows. This is done without being asked when \
     messages go to a terminal.",
);

/// More lines than this explain nothing.
const MOST_LINES: usize = 12;

/// An explanation in the making: it begins before the load.
#[derive(Debug)]
pub(crate) struct Explanation {
    wanted: bool,
    log: Option<ferrmod_linux::Log>,
}

impl Explanation {
    /// Before a load. Nothing is opened when none is `wanted`.
    pub(crate) fn begin(kernel: &Kernel, wanted: bool) -> Explanation {
        let log = if wanted { kernel.log(LogStart::Now).ok() } else { None };
        Explanation { wanted, log }
    }

    /// After the load of the module in `file` failed: the lines of the explanation, each set in.
    pub(crate) fn lines(
        &mut self,
        kernel: &Kernel,
        file: &Path,
        parameters: &BStr,
        problem: &LoadProblem,
    ) -> Vec<String> {
        if !self.wanted {
            return Vec::new();
        }
        let name = name_of(file.as_os_str().as_encoded_bytes());
        let mut lines: Vec<String> = problem.detail.iter().cloned().collect();
        let records = self.log.as_mut().and_then(|log| log.read().ok()).unwrap_or_default();
        lines.extend(kernel_lines(&records, name.as_bstr()));
        lines.extend(permission(kernel, problem.errno));
        lines.extend(blacklisted(kernel, &name.to_str_lossy(), problem.errno));
        if let Ok(bytes) = std::fs::read(file)
            && let Ok(bytes) = ferrmod_index::unpack(&bytes)
        {
            match Image::read(&bytes) {
                Ok(image) => {
                    lines.extend(signature(kernel, &bytes, problem.errno));
                    lines.extend(release(&image, problem.errno));
                    lines.extend(unknown_parameters(&image, parameters));
                }
                Err(error) => lines.push(error.to_string()),
            }
        }
        lines.dedup();
        lines.truncate(MOST_LINES);
        lines.into_iter().map(|line| format!("  {line}")).collect()
    }
}

/// What the kernel said: about the module, else about modules.
fn kernel_lines(records: &[Record], name: &BStr) -> Vec<String> {
    const WORDS: [&[u8]; 6] = [b"module", b"Module", b"Lockdown", b"PKCS", b"sysfs: cannot create", b"kobject"];
    let from_kernel = || records.iter().filter(|record| record.facility == 0);
    let mut about: Vec<&Record> = from_kernel().filter(|record| record.mentions(name)).collect();
    if about.is_empty() {
        about = from_kernel().filter(|record| WORDS.iter().any(|word| record.text.contains_str(word))).collect();
    }
    about.iter().map(|record| format!("the kernel says: {}", record.text)).collect()
}

/// What keeps anybody from loading modules.
fn permission(kernel: &Kernel, errno: Errno) -> Vec<String> {
    let mut lines = Vec::new();
    if errno == Errno::NOSYS {
        lines
            .push("this kernel loads no modules (CONFIG_MODULES), or a filter of system calls stands before it".into());
    }
    if !matches!(errno, Errno::PERM | Errno::ACCESS) {
        return lines;
    }
    if kernel.modules_disabled().unwrap_or(false) {
        lines.push("loading is switched off until the next boot (kernel.modules_disabled is 1)".into());
    } else if !rustix::process::geteuid().is_root() {
        lines.push("loading needs root (CAP_SYS_MODULE)".into());
    }
    if let Some(lockdown) = kernel.lockdown().filter(|&lockdown| lockdown != ferrmod_linux::Lockdown::None) {
        lines.push(
            format!("the kernel is locked down ({lockdown:?}): modules need a signature it trusts").to_lowercase(),
        );
    }
    lines
}

/// Whether the kernel was told to refuse just this module, and what that stops, as `ferrmod why` says it.
fn blacklisted(kernel: &Kernel, name: &str, errno: Errno) -> Vec<String> {
    let Some(line) = kernel.command_line().ok().filter(|_| errno == Errno::PERM) else { return Vec::new() };
    let mut policy = Policy::default();
    policy.command_line("/proc/cmdline", &line.to_str_lossy());
    let rules = Rules::new(&policy, &KernelConfig::default());
    let effect = rules.blacklists(name).map(|origin| Effect::new(Directive::ModuleBlacklist, origin.clone()));
    effect.map(|effect| effect.to_string().lines().map(str::to_owned).collect()).unwrap_or_default()
}

/// Whose signature it has, when that is what the kernel did not like.
fn signature(kernel: &Kernel, file: &[u8], errno: Errno) -> Vec<String> {
    if !matches!(errno, Errno::NOKEY | Errno::KEYREJECTED | Errno::PERM | Errno::BADMSG | Errno::NOPKG) {
        return Vec::new();
    }
    let mut lines = Vec::new();
    match ferrmod_signature::summary(file) {
        Some(summary) => {
            let key: Vec<String> = summary.key.iter().map(|byte| format!("{byte:02X}")).collect();
            let signer = summary.signer.map_or_else(|| "somebody unnamed".to_owned(), |signer| format!("`{signer}`"));
            lines.push(format!("the module is signed by {signer}, key {}", key.join(":")));
        }
        None if ferrmod_signature::is_marked(file) => lines.push("the module's signature cannot be read".into()),
        None => lines.push("the module is not signed".into()),
    }
    if kernel.signature_enforced() == Some(true) {
        lines.push("the kernel takes modules with a signature it trusts only (module.sig_enforce)".into());
    }
    lines
}

/// Another kernel's module.
fn release(image: &Image<'_>, errno: Errno) -> Option<String> {
    let release = Kernel::release();
    let vermagic = image.modinfo().get("vermagic")?;
    let built_for = vermagic.split(|&byte| byte == b' ').next()?;
    let differs = errno == Errno::NOEXEC && built_for != release.as_slice();
    differs.then(|| format!("the module was built for kernel {}, this one is {release}", BStr::new(built_for)))
}

/// Parameters that the module does not have. Linux only warns about them, so that they are no cause, but often the mistake.
fn unknown_parameters(image: &Image<'_>, line: &BStr) -> Vec<String> {
    let known = image.parameters();
    let words = line.split(|byte| byte.is_ascii_whitespace());
    let given = words.filter_map(|word| word.split(|&byte| byte == b'=').next());
    let same = |a: &[u8], b: &[u8]| a.replace("-", "_") == b.replace("-", "_");
    let unknown = given.filter(|name| !name.is_empty() && !known.iter().any(|known| same(known.name, name)));
    let describe = |name: &[u8]| {
        let nearest = known.iter().map(|known| (distance(known.name, name), known.name)).min();
        let hint = nearest.filter(|&(distance, _)| distance <= 2).map(|(_, name)| format!("; did you mean `{name}`?"));
        format!("the module has no parameter `{}`{}", BStr::new(name), hint.unwrap_or_default())
    };
    unknown.map(describe).collect()
}

/// How many bytes are to be put in, taken out or changed to make one name of the other.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut last = i + 1;
        let mut next = vec![last];
        for (y, above) in b.iter().zip(row.windows(2)) {
            let &[diagonal, above] = above else { continue };
            last = (diagonal + usize::from(x != y)).min(above + 1).min(last + 1);
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshteins() {
        assert_eq!(distance(b"numdummies", b"numdummy"), 3);
        assert_eq!(distance(b"debug", b"debg"), 1);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"abc", b"abc"), 0);
    }

    #[test]
    fn what_the_kernel_said_about_others_is_left_out() {
        let record = |text: &str| Record::parse(format!("3,1,1,-;{text}\n").as_bytes()).unwrap();
        let records = [
            record("dummy: `abc' invalid for parameter `numdummies'"),
            record("eth0: link up"),
            record("module: x86/modules: Invalid relocation target"),
        ];
        assert_eq!(
            kernel_lines(&records, "dummy".into()),
            ["the kernel says: dummy: `abc' invalid for parameter `numdummies'"]
        );
        assert_eq!(kernel_lines(&records, "other".into()).len(), 1);
    }
}
