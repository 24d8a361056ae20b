//! What a stock Linux 6.1 said to 19 modules, 60 broken files and 60 parameter strings.
//!
//! `data/linux-6.1-loader-oracle.txt` was recorded in a virtual machine: a small init called
//! `finit_module`, `init_module` and `delete_module`, and wrote down each answer, the kernel's log
//! and what `/proc` and `/sys` showed. Here every line of it becomes a [`Line`], lines become
//! [`Case`]s, and [`mutate`] makes again the broken files, so that another loader can be asked the
//! same questions.
//!
//! The kernel was booted with `nokaslr quiet module_blacklist=foo,nothinx lsm=lockdown,capability`.
//! Cases follow each other in one running kernel: a warning that Linux gives once a boot is
//! missing from the second case that deserves it.
//!
//! Not recorded: the parameters of the calls in the background (`slow.ko` with a delay in
//! milliseconds and a value to return).

mod broken;
mod line;

pub use broken::{mutate, source_of};
pub use line::{Call, CallKind, Line, Log, Module};

/// The recording.
pub const TEXT: &str = include_str!("../../data/linux-6.1-loader-oracle.txt");

/// What the same kernel said to the modules of tests/modules/work and tests/modules/faults, written
/// down in the same form (durations are 0).
///
/// Where a heading begins with `fault`, the machine was booted anew. A call that the kernel
/// answered by killing its caller left no line: the case has [`Case::call`] `None` and its log.
/// Left out are the faults that never end (`loop`, `kernel_loop`, `sleep`, `deadlock`, `spin`)
/// and those that wreck a real kernel beyond a report (`syscall`, `syscall_exit`).
pub const OWN_MODULES: &str = include_str!("../../data/linux-6.1-own-modules.txt");

/// One call and everything that was seen until the next.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// Number of the call's line in the recording, from 1.
    pub number: usize,
    /// The heading the case stands under.
    pub title: &'a str,
    /// The call; `None` for what was seen under a heading before any call of the foreground ended.
    pub call: Option<Call<'a>>,
    /// The kernel's log.
    pub log: Vec<Log<'a>>,
    /// Lines of `/proc/modules`.
    pub modules: Vec<Module<'a>>,
    /// Everything else that was looked at: files, folders, symbols.
    pub seen: Vec<Line<'a>>,
}

/// Reads every line of a recording.
///
/// # Errors
///
/// Number (from 1) and text of the first line that fits no form.
pub fn lines(text: &str) -> Result<Vec<Line<'_>>, (usize, &str)> {
    let parse = |(at, line)| Line::parse(line).ok_or((at + 1, line));
    text.lines().enumerate().map(parse).collect()
}

/// Groups a recording into cases.
///
/// # Errors
///
/// As [`lines`].
pub fn cases(text: &str) -> Result<Vec<Case<'_>>, (usize, &str)> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    let mut title = "";
    let mut fresh = true;
    for (at, line) in lines(text)?.into_iter().enumerate() {
        let call = match line {
            Line::Title(text) => {
                title = text;
                fresh = true;
                continue;
            }
            Line::Done | Line::PowerDown(_) => continue,
            Line::Call(call) => Some(call),
            _ => None,
        };
        if call.is_some() || fresh {
            let seen = Vec::new();
            let modules = Vec::new();
            cases.push(Case { number: at + 1, title, call, log: Vec::new(), modules, seen });
            fresh = false;
        }
        let Some(case) = cases.last_mut() else {
            continue;
        };
        match line {
            Line::Log(log) => case.log.push(log),
            Line::Module(module) => case.modules.push(module),
            Line::Call(_) => {}
            other => case.seen.push(other),
        }
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_and_written_back() {
        let lines = lines(TEXT).unwrap();
        assert_eq!(lines.len(), 926);
        for (line, text) in lines.iter().zip(TEXT.lines()) {
            assert_eq!(line.to_string(), text);
        }
    }

    #[test]
    fn no_line_of_a_case_is_lost() {
        let mut left_out = 0;
        for line in lines(TEXT).unwrap() {
            left_out += usize::from(matches!(line, Line::Title(_) | Line::Done | Line::PowerDown(_)));
        }
        let kept: usize = cases(TEXT)
            .unwrap()
            .iter()
            .map(|case| usize::from(case.call.is_some()) + case.log.len() + case.modules.len() + case.seen.len())
            .sum();
        assert_eq!(kept + left_out, 926);
    }

    #[test]
    fn calls_are_understood() {
        let cases = cases(TEXT).unwrap();
        let count = |kind| cases.iter().filter(|c| c.call.is_some_and(|call| call.kind == kind)).count();
        assert_eq!(count(CallKind::Finit), TEXT.matches("\n@R F ").count());
        assert_eq!(count(CallKind::Delete), TEXT.matches("\n@R X ").count());
        assert_eq!(count(CallKind::Init), 2);
        assert_eq!(count(CallKind::Write), TEXT.matches("\n@R W ").count());

        let find =
            |arguments: &str| cases.iter().find(|c| c.call.is_some_and(|call| call.arguments == arguments)).unwrap();
        let quoted = find("cp=\"a b\"");
        assert_eq!(quoted.call.unwrap().target, "/t/base.ko");
        assert_eq!(quoted.call.unwrap().flags, Some(0));
        assert_eq!(quoted.call.unwrap().result, 0);
        assert!(quoted.log[0].text.contains("cp='a b'"));
        assert_eq!(quoted.log[0].level, 6);
        assert!(matches!(quoted.seen[0], Line::Content { path: "/sys/module/base/parameters/cp", content: "a b" }));
        assert_eq!(find("ui=4294967296").call.unwrap().result, -34);
        assert_eq!(find("ui=5\t").title, "param matrix (base.ko)");
    }

    #[test]
    fn modules_are_understood() {
        let cases = cases(TEXT).unwrap();
        let modules: Vec<Module<'_>> = cases.iter().flat_map(|case| case.modules.clone()).collect();
        let find = |name: &str| *modules.iter().find(|module| module.name == name).unwrap();
        assert_eq!(find("exporter").users().collect::<Vec<_>>(), ["usernsok", "user"]);
        assert_eq!((find("exporter").size, find("exporter").references), (16384, 2));
        assert_eq!(find("propexp").taints, Some("POE"));
        assert_eq!(find("nls_cp437").taints, None);
        assert!(find("noexit").is_permanent());
        assert_eq!(find("noexit").users().count(), 0);
        let slow: Vec<&str> = modules.iter().filter(|m| m.name == "slow").map(|m| m.state).collect();
        assert_eq!(slow, ["Loading", "Live", "Unloading"]);
        assert_eq!(modules.iter().find(|m| m.state == "Unloading").unwrap().references, -1);
    }

    #[test]
    fn every_loaded_file_can_be_made() {
        for case in cases(TEXT).unwrap() {
            let Some(call) = case.call else { continue };
            if let Some(file) = call.file() {
                assert!(source_of(file).is_some(), "{file} of `{}`", case.title);
            }
        }
    }

    #[test]
    fn what_linux_said_to_our_modules_is_read() {
        for (line, text) in lines(OWN_MODULES).unwrap().iter().zip(OWN_MODULES.lines()) {
            assert_eq!(line.to_string(), text);
        }
        let cases = cases(OWN_MODULES).unwrap();
        let says = |title: &str, text: &str| {
            let mut named = cases.iter().filter(|case| case.title == title);
            named.any(|case| case.log.iter().any(|log| log.text.contains(text)))
        };
        assert!(says("structures", "structures: 703 of 703 checks passed"));
        assert!(says("fault null", "BUG: kernel NULL pointer dereference, address: 0000000000000000"));
        assert!(says("fault bug", "kernel BUG at tests/modules/faults/faults.c:"));
        assert!(says("fault list", "list_del corruption"));
    }

    #[test]
    fn a_strange_line_is_named() {
        assert_eq!(lines("@@ # fine\nwhat is this").unwrap_err(), (2, "what is this"));
        assert_eq!(lines("@R F /t/x.ko [] -> zero (1 ms)").unwrap_err().0, 1);
    }
}
