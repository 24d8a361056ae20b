//! A machine with modules of a tree, and what a test asks of it.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use ferrmod_machine::{Argument, Fetch, LoadFlags, LoadOutcome, Machine, Options, Outcome, facts_cache};
use ferrmod_tests::corpus::Tree;

use crate::survey::{Aliases, chain, files_of};

/// `EEXIST`: it is loaded already.
const EXISTS: i32 = 17;

/// A machine, and the modules it can load.
pub(crate) struct World {
    pub(crate) machine: Machine,
    files: HashMap<String, PathBuf>,
}

impl World {
    /// A machine where nobody answers requests for modules.
    pub(crate) fn boot(tree: Tree) -> Self {
        let files = files_of(&tree);
        Self::with(&tree, files, Duration::from_secs(20), Box::new(|_| None))
    }

    /// A machine in which requests are answered from the tree.
    pub(crate) fn answering(tree: Tree) -> Self {
        let files = files_of(&tree);
        let known = files.clone();
        let fetch = move |name: &str| {
            let mut found = Vec::new();
            chain(&known, &Aliases::new(), &name.replace('-', "_"), true, &mut found);
            (!found.is_empty()).then(|| found.into_iter().map(|(_, file)| (file, Vec::new())).collect())
        };
        Self::with(&tree, files, Duration::from_secs(10), Box::new(fetch))
    }

    fn with(tree: &Tree, files: HashMap<String, PathBuf>, timeout: Duration, fetch: Fetch) -> Self {
        let facts = facts_cache::open(&tree.vmlinuz).unwrap_or_else(|error| panic!("{error}"));
        let options = Options { facts: Some(facts), timeout, ..Options::default() };
        let machine = Machine::boot(options, Box::new(|_| ()), fetch).unwrap_or_else(|error| panic!("{error}"));
        Self { machine, files }
    }

    /// Loads a module of the tree behind its dependencies; what its own init answered.
    pub(crate) fn try_load(&mut self, name: &str, arguments: &str) -> LoadOutcome {
        let mut found = Vec::new();
        chain(&self.files, &Aliases::new(), name, true, &mut found);
        let (_, file) = found.pop().unwrap_or_else(|| panic!("{name}"));
        for (other, file) in &found {
            let outcome = self.machine.load(file, b"", LoadFlags::empty()).unwrap();
            let is_there = matches!(outcome, LoadOutcome::Loaded | LoadOutcome::Errno(EXISTS));
            assert!(is_there, "{other}: {outcome:?}{}", self.log());
        }
        self.machine.load(&file, arguments.as_bytes(), LoadFlags::empty()).unwrap()
    }

    /// The same of one that has to come up.
    pub(crate) fn load(&mut self, name: &str, arguments: &str) {
        let outcome = self.try_load(name, arguments);
        assert_eq!(outcome, LoadOutcome::Loaded, "{name}{}", self.log());
    }

    pub(crate) fn unload(&mut self, name: &str) {
        assert_eq!(self.machine.unload(name.as_bytes(), false).unwrap(), Outcome::Done(()), "{name}{}", self.log());
    }

    pub(crate) fn bytes(&mut self, path: &str) -> Vec<u8> {
        match self.machine.read_file(path).unwrap() {
            Outcome::Done(bytes) => bytes,
            other => panic!("{path}: {other:?}{}", self.log()),
        }
    }

    /// The same of a text.
    pub(crate) fn read(&mut self, path: &str) -> String {
        String::from_utf8_lossy(&self.bytes(path)).into_owned()
    }

    pub(crate) fn write(&mut self, path: &str, text: &str) -> Outcome<u64> {
        self.machine.write_file(path, text.as_bytes()).unwrap()
    }

    /// What a directory has.
    pub(crate) fn names(&mut self, path: &str) -> Vec<String> {
        self.machine.list_directory(path).unwrap().done().unwrap_or_else(|| panic!("no {path}"))
    }

    pub(crate) fn symbol(&mut self, name: &str) -> u64 {
        self.machine.symbol(name.as_bytes()).unwrap().unwrap_or_else(|| panic!("{name} is not there"))
    }

    /// Calls an exported function.
    pub(crate) fn try_call(&mut self, name: &str, arguments: &[Argument]) -> Outcome<u64> {
        let address = self.symbol(name);
        self.machine.call(address, arguments).unwrap().map(|called| called.value)
    }

    /// The same of one that has to come back.
    pub(crate) fn call(&mut self, name: &str, arguments: &[Argument]) -> u64 {
        match self.try_call(name, arguments) {
            Outcome::Done(value) => value,
            other => panic!("{name}: {other:?}{}", self.log()),
        }
    }

    pub(crate) fn log(&mut self) -> String {
        let lines = self.machine.dmesg().unwrap_or_default();
        lines.iter().map(|line| format!("\n{}", line.text)).collect()
    }

    /// Nothing of any module is left.
    pub(crate) fn is_clean(&mut self) {
        let report = self.machine.report().unwrap();
        assert!(report.oopses.is_empty(), "{:?}{}", report.oopses, self.log());
        assert!(report.registrations.is_empty(), "{:?}", report.registrations);
        assert!(report.memory.is_empty(), "{:?}", report.memory);
    }
}

/// A C string as an argument.
pub(crate) fn text(text: &str) -> Argument {
    Argument::In([text.as_bytes(), &[0]].concat())
}
