//! A machine with modules of the 6.1 tree loaded, and calls into it.

use std::path::Path;

use ferrmod_image::compress::decompress;
use ferrmod_image::linux::Image;
use ferrmod_machine::{Argument, Called, LoadFlags, LoadOutcome, Machine, Options, Outcome, facts_cache};
use ferrmod_tests::corpus::{Tree, module_name, tree_or_skip};
use ferrmod_tests::random::Random;

/// More than any module has.
const LARGEST: usize = 64 << 20;

pub(crate) struct Laboratory {
    machine: Machine,
    tree: Tree,
}

impl Laboratory {
    /// A machine with these modules and what they depend on; `None` without the corpus.
    pub(crate) fn with(modules: &[&str]) -> Option<Laboratory> {
        let tree = tree_or_skip("6.1")?;
        let facts = facts_cache::open(&tree.vmlinuz).unwrap();
        let options = Options { facts: Some(facts), ..Options::default() };
        let files = tree.clone();
        let fetch = Box::new(move |name: &str| {
            let mut chain = Vec::new();
            // The crypto core asks for `crypto-NAME`; a file of that name or of `NAME-generic` is what an alias would find.
            let name = name.strip_prefix("crypto-").unwrap_or(name);
            add_chain(&files, name, &mut chain)
                .or_else(|| add_chain(&files, &format!("{name}_generic"), &mut chain))?;
            Some(chain.into_iter().map(|(_, bytes)| (bytes, Vec::new())).collect())
        });
        let machine = Machine::boot(options, Box::new(|line| eprintln!("{}", line.text)), fetch).unwrap();
        let mut laboratory = Laboratory { machine, tree };
        for module in modules {
            laboratory.load(module);
        }
        Some(laboratory)
    }

    fn load(&mut self, module: &str) {
        let mut chain = Vec::new();
        add_chain(&self.tree, module, &mut chain).unwrap_or_else(|| panic!("no module {module}"));
        for (name, bytes) in chain {
            let outcome = self.machine.load(&bytes, b"", LoadFlags::default()).unwrap();
            // 17 is EEXIST: a dependency that is there already.
            assert!(matches!(outcome, LoadOutcome::Loaded | LoadOutcome::Errno(17)), "{name}: {outcome:?}");
        }
    }

    /// The address of an exported function or variable.
    pub(crate) fn symbol(&mut self, name: &str) -> u64 {
        self.machine.symbol(name.as_bytes()).unwrap().unwrap_or_else(|| panic!("no symbol {name}"))
    }

    /// Calls an exported function.
    pub(crate) fn call(&mut self, name: &str, arguments: &[Argument]) -> Called {
        let address = self.symbol(name);
        self.call_at(address, arguments)
    }

    /// Calls a function at an address.
    pub(crate) fn call_at(&mut self, address: u64, arguments: &[Argument]) -> Called {
        match self.machine.call(address, arguments).unwrap() {
            Outcome::Done(called) => called,
            other => panic!("{other:?}"),
        }
    }

    /// The number at an address.
    pub(crate) fn word(&mut self, address: u64) -> u64 {
        let bytes = self.peek(address, 8);
        u64::from_le_bytes(bytes.try_into().unwrap())
    }

    /// The bytes at an address.
    pub(crate) fn peek(&mut self, address: u64, length: u64) -> Vec<u8> {
        self.machine.peek(address, length).unwrap().unwrap_or_else(|| panic!("nothing at {address:#x}"))
    }

    /// A copy of `bytes` in the machine's heap, aligned to `align`.
    pub(crate) fn place(&mut self, bytes: &[u8], align: u64) -> u64 {
        let address = self.machine.allocate(bytes.len() as u64, align).unwrap();
        assert!(self.machine.poke(address, bytes).unwrap());
        address
    }

    /// Overwrites bytes.
    pub(crate) fn poke(&mut self, address: u64, bytes: &[u8]) {
        assert!(self.machine.poke(address, bytes).unwrap());
    }

    /// Unloads everything; nothing may stay.
    pub(crate) fn close(mut self) {
        for module in self.machine.list().unwrap() {
            let outcome = self.machine.unload(&module.name, false).unwrap();
            assert!(matches!(outcome, Outcome::Done(())), "{}: {outcome:?}", module.name);
        }
        let report = self.machine.report().unwrap();
        assert!(report.registrations.is_empty(), "{:?}", report.registrations);
        assert!(report.memory.is_empty(), "{:?}", report.memory);
        assert!(report.oopses.is_empty(), "{:?}", report.oopses);
    }
}

/// The module called `name` after everything it depends on.
fn add_chain(tree: &Tree, name: &str, chain: &mut Vec<(String, Vec<u8>)>) -> Option<()> {
    if chain.iter().any(|(other, _)| other == name) {
        return Some(());
    }
    let bytes = read(&tree.file(name)?);
    let depends = {
        let image = Image::read(&bytes).unwrap();
        image.modinfo().get("depends").map(ToString::to_string).unwrap_or_default()
    };
    for other in depends.split(',').filter(|other| !other.is_empty()) {
        add_chain(tree, &other.replace('-', "_"), chain)?;
    }
    chain.push((name.into(), bytes));
    Some(())
}

fn read(path: &Path) -> Vec<u8> {
    assert!(module_name(path).is_some());
    decompress(&std::fs::read(path).unwrap(), LARGEST).unwrap().into_owned()
}

/// Bytes that look like text and like noise, the same every time.
pub(crate) fn sample(length: usize) -> Vec<u8> {
    let mut noise = Random::new(0).bytes(length);
    // Half of it repeats, so that a compressor has something to find.
    for (at, byte) in noise.iter_mut().enumerate().filter(|(at, _)| at / 64 % 2 == 0) {
        *byte = b"the quick brown fox "[at % 20];
    }
    noise
}
