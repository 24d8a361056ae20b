//! Lists in which each line ends in the module that it belongs to: `/proc/kallsyms` and `available_filter_functions`.

use std::collections::BTreeMap;

use bstr::{BStr, ByteSlice};

/// How many modules are told apart. A kernel has some hundred loaded, and a hostile list must not take all memory.
const MOST_OWNERS: usize = 1 << 16;

/// What a line says of who owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The kernel itself, or a part of it that is called like a module in the list (`[bpf]`, `[__builtin__ftrace]`).
    Kernel,
    /// This module.
    Module(&'a BStr),
}

/// Who owns a line: `ffffffffc0201000 t slow_open\t[slow]` and `slow_open [slow]` are of `slow`.
#[must_use]
pub fn owner(line: &[u8]) -> Owner<'_> {
    let line = line.trim_ascii_end();
    let Some(name) = line.strip_suffix(b"]").and_then(|line| Some(&line[line.rfind_byte(b'[')? + 1..])) else {
        return Owner::Kernel;
    };
    // Code that is made at run time: BPF programs, trampolines of ftrace and kprobes.
    if name.is_empty() || name == b"bpf" || name.starts_with(b"__builtin__") {
        return Owner::Kernel;
    }
    Owner::Module(name.as_bstr())
}

/// The modules of a list, and how many lines each has.
#[must_use]
pub fn owners(text: &[u8]) -> BTreeMap<&BStr, usize> {
    let mut owners: BTreeMap<&BStr, usize> = BTreeMap::new();
    let mut last: Option<(&BStr, usize)> = None;
    // The lines of a module follow each other, so that the map is asked once a module and not once a line.
    for line in text.lines() {
        let Owner::Module(name) = owner(line) else { continue };
        match &mut last {
            Some((known, count)) if *known == name => *count += 1,
            _ => {
                if let Some((known, count)) = last.replace((name, 1)) {
                    *owners.entry(known).or_default() += count;
                }
                if owners.len() > MOST_OWNERS {
                    break;
                }
            }
        }
    }
    if let Some((known, count)) = last {
        *owners.entry(known).or_default() += count;
    }
    owners
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_linux() {
        assert_eq!(owner(b"ffffffff81000000 T _text"), Owner::Kernel);
        assert_eq!(owner(b"ffffffffc0201000 t slow_open\t[slow]"), Owner::Module(BStr::new("slow")));
        assert_eq!(owner(b"slow_open [slow]\n"), Owner::Module(BStr::new("slow")));
        assert_eq!(owner(b"ffffffffc0000000 t bpf_prog_6deef7357e7b4530\t[bpf]"), Owner::Kernel);
        assert_eq!(owner(b"ffffffffc0000000 t ftrace_trampoline\t[__builtin__ftrace]"), Owner::Kernel);
        assert_eq!(owner(b"0 t odd\t[]"), Owner::Kernel);
        assert_eq!(owner(b"]"), Owner::Kernel);
    }

    #[test]
    fn lines_are_counted() {
        let text = b"0 T a\n0 t b\t[one]\n0 t c\t[one]\n0 t d\t[two]\n0 t e\t[bpf]\n0 t f\t[one]\n";
        let owners: Vec<_> = owners(text).into_iter().map(|(name, count)| (name.to_string(), count)).collect();
        assert_eq!(owners, [("one".to_owned(), 3), ("two".to_owned(), 1)]);
    }

    proptest! {
        #[test]
        fn no_line_is_lost(text in "([a-c]\t?\\[?[a-c]?\\]?\n?){0,30}") {
            let counted: usize = owners(text.as_bytes()).values().sum();
            let lines = text.as_bytes().lines().filter(|line| matches!(owner(line), Owner::Module(_))).count();
            prop_assert_eq!(counted, lines);
        }

        #[test]
        fn anything_is_read_without_a_panic(text: Vec<u8>) {
            let _ = owners(&text);
        }
    }
}
