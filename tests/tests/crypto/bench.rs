//! A machine with modules of one kernel's tree, and the objects of its crypto API.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use ferrmod_image::compress::decompress;
use ferrmod_image::facts::Facts;
use ferrmod_image::linux::Image;
use ferrmod_machine::Argument::{In, Value};
use ferrmod_machine::{Argument, FactsBytes, LoadFlags, LoadOutcome, Machine, Options, Outcome, facts_cache};
use ferrmod_tests::corpus::{Tree, module_name, tree_or_skip};
use ferrmod_tests::random::Random;

/// The kernels whose modules are run.
pub(crate) const VERSIONS: [&str; 2] = ["6.1", "6.12"];
/// More than any module has.
const LARGEST: usize = 64 << 20;
/// `-EINPROGRESS` and `-EBUSY`: the request will be over later.
const LATER: [i32; 2] = [-115, -16];

/// Modules by name, and what aliases stand for.
#[derive(Default)]
struct Shelf {
    files: HashMap<String, (Vec<u8>, Vec<String>)>,
    aliases: HashMap<String, Vec<String>>,
}

impl Shelf {
    fn of(tree: &Tree) -> Self {
        let mut shelf = Self::default();
        for path in tree.files() {
            let folder = path.to_string_lossy().into_owned();
            if !(folder.contains("/crypto/") && !folder.contains("/drivers/") || folder.contains("/kernel/lib/")) {
                continue;
            }
            let bytes = decompress(&std::fs::read(&path).unwrap(), LARGEST).unwrap().into_owned();
            let name = module_name(&path).unwrap();
            let image = Image::read(&bytes).unwrap();
            let depends = image.modinfo().get("depends").map(ToString::to_string).unwrap_or_default();
            let depends =
                depends.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect();
            for (_, alias) in image.modinfo().iter().filter(|(key, _)| *key == "alias") {
                shelf.aliases.entry(alias.to_string()).or_default().push(name.clone());
            }
            shelf.files.insert(name, (bytes, depends));
        }
        shelf
    }

    fn chain(&self, name: &str, chain: &mut Vec<String>) {
        if let Some((_, depends)) = self.files.get(name)
            && !chain.iter().any(|other| other == name)
        {
            depends.iter().for_each(|other| self.chain(other, chain));
            chain.push(name.into());
        }
    }
}

/// What is known of one kernel, read once.
struct Known {
    facts: FactsBytes,
    shelf: Shelf,
}

fn known(version: &str) -> Option<&'static Known> {
    static KNOWN: OnceLock<Mutex<HashMap<String, Option<&'static Known>>>> = OnceLock::new();
    let mut map = KNOWN.get_or_init(Mutex::default).lock().unwrap();
    *map.entry(version.into()).or_insert_with(|| {
        let tree = tree_or_skip(version)?;
        let facts = facts_cache::open(&tree.vmlinuz).unwrap();
        Some(Box::leak(Box::new(Known { facts, shelf: Shelf::of(&tree) })))
    })
}

/// A machine and its kernel.
pub(crate) struct Bench {
    machine: Machine,
    known: &'static Known,
    /// Objects of the bench's own.
    objects: Vec<u64>,
    symbols: HashMap<String, u64>,
}

/// Everything a test does with each of the kernels that are there.
pub(crate) fn each(modules: &[&str], test: impl Fn(&mut Bench)) {
    for version in VERSIONS {
        if let Some(mut bench) = Bench::new(version, modules) {
            test(&mut bench);
            bench.close();
        }
    }
}

impl Bench {
    /// A machine with these modules (those this kernel has) and what they depend on.
    pub(crate) fn new(version: &str, modules: &[&str]) -> Option<Self> {
        let known = known(version)?;
        let options = Options { facts: Some(known.facts.clone()), ..Options::default() };
        let fetch = Box::new(move |wanted: &str| {
            let plain = vec![wanted.replace('-', "_")];
            let names = known.shelf.aliases.get(wanted).unwrap_or(&plain);
            let mut chain = Vec::new();
            names.iter().for_each(|name| known.shelf.chain(name, &mut chain));
            let file = |name: &String| (known.shelf.files[name].0.clone(), Vec::new());
            (!chain.is_empty()).then(|| chain.iter().map(file).collect())
        });
        let machine = Machine::boot(options, Box::new(|line| eprintln!("{}", line.text)), fetch).unwrap();
        let mut bench = Self { machine, known, objects: Vec::new(), symbols: HashMap::new() };
        modules.iter().for_each(|module| bench.load(module));
        Some(bench)
    }

    /// Loads a module and what it depends on, if this kernel has it as one.
    pub(crate) fn load(&mut self, module: &str) {
        let mut chain = Vec::new();
        self.known.shelf.chain(module, &mut chain);
        for name in chain {
            let outcome = self.machine.load(&self.known.shelf.files[&name].0, b"", LoadFlags::default()).unwrap();
            // EEXIST: a dependency that is there already. ENODEV: vector code for another processor.
            assert!(matches!(outcome, LoadOutcome::Loaded | LoadOutcome::Errno(17 | 19)), "{name}: {outcome:?}");
        }
    }

    /// Takes a module out; Linux's error number if it is refused.
    pub(crate) fn unload(&mut self, module: &str) -> i32 {
        match self.machine.unload(module.as_bytes(), false).unwrap() {
            Outcome::Done(()) => 0,
            Outcome::Errno(errno) => errno,
            other => panic!("{module}: {other:?}"),
        }
    }

    /// The modules that are loaded.
    pub(crate) fn modules(&mut self) -> Vec<String> {
        self.machine.list().unwrap().into_iter().map(|module| module.name.to_string()).collect()
    }

    /// What a file of the machine says.
    pub(crate) fn file(&mut self, path: &str) -> String {
        match self.machine.read_file(path).unwrap() {
            Outcome::Done(bytes) => String::from_utf8(bytes).unwrap(),
            other => panic!("{path}: {other:?}"),
        }
    }

    /// Where a member lies in its struct.
    pub(crate) fn offset(&self, structure: &str, member: &str) -> u64 {
        self.member(structure, member).unwrap_or_else(|| panic!("{structure} has no {member}"))
    }

    /// As [`Bench::offset`], for members not every kernel has.
    pub(crate) fn member(&self, structure: &str, member: &str) -> Option<u64> {
        let facts = Facts::open(&self.known.facts).unwrap();
        let found = facts.btf().struct_named(structure).unwrap().member(member)?;
        Some(found.bit_offset / 8)
    }

    /// Bytes of a struct.
    pub(crate) fn size(&self, structure: &str) -> u64 {
        Facts::open(&self.known.facts).unwrap().btf().struct_named(structure).unwrap().size()
    }

    /// Calls an exported function.
    pub(crate) fn call(&mut self, name: &str, arguments: &[Argument]) -> i64 {
        if !self.symbols.contains_key(name) {
            let address = self.machine.symbol(name.as_bytes()).unwrap().unwrap_or_else(|| panic!("no symbol {name}"));
            self.symbols.insert(name.into(), address);
        }
        self.call_at(self.symbols[name], arguments)
    }

    /// Calls a function at an address.
    pub(crate) fn call_at(&mut self, address: u64, arguments: &[Argument]) -> i64 {
        match self.machine.call(address, arguments).unwrap() {
            Outcome::Done(called) => called.value as i64,
            other => panic!("{other:?}"),
        }
    }

    /// The address of an exported function.
    pub(crate) fn address(&mut self, name: &str) -> u64 {
        self.machine.symbol(name.as_bytes()).unwrap().unwrap_or_else(|| panic!("no symbol {name}"))
    }

    /// An object of the bench's own.
    pub(crate) fn object(&mut self, bytes: &[u8]) -> u64 {
        let at = self.machine.allocate((bytes.len() as u64).max(1), 64).unwrap();
        self.poke(at, bytes);
        self.objects.push(at);
        at
    }

    pub(crate) fn poke(&mut self, at: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            assert!(self.machine.poke(at, bytes).unwrap());
        }
    }

    pub(crate) fn put(&mut self, object: u64, structure: &str, member: &str, value: u64, size: usize) {
        let at = object + self.offset(structure, member);
        self.poke(at, &value.to_le_bytes()[..size]);
    }

    pub(crate) fn peek(&mut self, at: u64, length: usize) -> Vec<u8> {
        if length == 0 { Vec::new() } else { self.machine.peek(at, length as u64).unwrap().unwrap() }
    }

    pub(crate) fn number(&mut self, at: u64) -> u64 {
        u64::from_le_bytes(self.peek(at, 8).try_into().unwrap())
    }

    pub(crate) fn small(&mut self, at: u64) -> u32 {
        u32::from_le_bytes(self.peek(at, 4).try_into().unwrap())
    }

    /// `crypto_alloc_KIND(name, 0, 0)`
    pub(crate) fn open(&mut self, kind: &str, name: &str) -> Result<u64, i64> {
        let mut text = name.as_bytes().to_vec();
        text.push(0);
        let object = self.call(&format!("crypto_alloc_{kind}"), &[In(text), Value(0), Value(0)]);
        if (-4095..0).contains(&object) { Err(object) } else { Ok(object as u64) }
    }

    /// The name of the driver that a transform uses.
    pub(crate) fn driver(&mut self, kind: &str, object: u64) -> String {
        let tfm = object + self.offset(&format!("crypto_{kind}"), "base");
        let alg = self.number(tfm + self.offset("crypto_tfm", "__crt_alg"));
        let name = self.peek(alg + self.offset("crypto_alg", "cra_driver_name"), 128);
        String::from_utf8(name.into_iter().take_while(|&byte| byte != 0).collect()).unwrap()
    }

    /// `crypto_free_KIND`
    pub(crate) fn free(&mut self, kind: &str, object: u64) {
        let tfm = object + self.offset(&format!("crypto_{kind}"), "base");
        self.call("crypto_destroy_tfm", &[Value(object), Value(tfm)]);
    }

    /// A scatterlist over copies of these pieces, each in memory of its own at this distance from a page's end.
    pub(crate) fn list(&mut self, pieces: &[Vec<u8>]) -> (u64, Vec<u64>) {
        let size = self.size("scatterlist");
        let list = self.object(&vec![0; size as usize * pieces.len()]);
        self.call("sg_init_table", &[Value(list), Value(pieces.len() as u64)]);
        let single = self.object(&vec![0; size as usize]);
        let mut places = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let at = self.object(piece);
            places.push(at);
            self.call("sg_init_one", &[Value(single), Value(at), Value(piece.len() as u64)]);
            let entry = list + size * index as u64;
            let page = self.number(single) & !3 | self.number(entry) & 3;
            self.poke(entry, &page.to_le_bytes());
            let from = self.offset("scatterlist", "offset");
            let rest = self.peek(single + from, 8);
            self.poke(entry + from, &rest);
        }
        (list, places)
    }

    /// What lies in the pieces of a list.
    pub(crate) fn gather(&mut self, places: &[u64], pieces: &[Vec<u8>]) -> Vec<u8> {
        places.iter().zip(pieces).flat_map(|(&at, piece)| self.peek(at, piece.len())).collect()
    }

    /// Fills in the common part of a request, so that its completion is noted in a `struct crypto_wait`, whose address is
    /// returned.
    pub(crate) fn prepare(&mut self, base: u64, tfm: u64) -> u64 {
        let wait = self.object(&vec![0; self.size("crypto_wait") as usize]);
        let completion = wait + self.offset("crypto_wait", "completion");
        let queue = completion + self.offset("completion", "wait");
        self.call("__init_swait_queue_head", &[Value(queue), Value(0), Value(0)]);
        let done = self.address("crypto_req_done");
        self.put(base, "crypto_async_request", "complete", done, 8);
        self.put(base, "crypto_async_request", "data", wait, 8);
        self.put(base, "crypto_async_request", "tfm", tfm, 8);
        // `CRYPTO_TFM_REQ_MAY_BACKLOG | CRYPTO_TFM_REQ_MAY_SLEEP`
        self.put(base, "crypto_async_request", "flags", 0x600, 4);
        wait
    }

    /// The result of a request, now or later.
    pub(crate) fn finish(&mut self, answer: i64, wait: u64) -> i32 {
        if !LATER.contains(&(answer as i32)) {
            return answer as i32;
        }
        let completion = wait + self.offset("crypto_wait", "completion");
        for _ in 0..100 {
            if self.small(completion + self.offset("completion", "done")) != 0 {
                let at = wait + self.offset("crypto_wait", "err");
                return self.small(at) as i32;
            }
            self.machine.run(Duration::from_millis(20)).unwrap();
        }
        panic!("the request is never over");
    }

    /// Unloads everything; nothing may stay.
    pub(crate) fn close(mut self) {
        self.unload_all();
        for object in std::mem::take(&mut self.objects) {
            self.machine.free(object).unwrap();
        }
        let report = self.machine.report().unwrap();
        assert!(report.registrations.is_empty(), "{:?}", report.registrations);
        assert!(report.memory.is_empty(), "{:?}", report.memory);
        assert!(report.oopses.is_empty(), "{:?}", report.oopses);
    }

    /// Unloads every module; users of others go first.
    pub(crate) fn unload_all(&mut self) {
        let mut left = self.modules();
        while !left.is_empty() {
            let before = left.len();
            left.retain(|module| self.unload(module) != 0);
            assert!(left.len() < before, "{left:?} stay");
        }
    }
}

/// Bytes that are no pattern, the same every time.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    Random::new(seed).bytes(length)
}

/// Hexadecimal digits as bytes; spaces are for the reader.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Bytes cut at these places.
pub(crate) fn cut(bytes: &[u8], places: &[usize]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for &end in places.iter().filter(|&&end| end < bytes.len()).chain([&bytes.len()]) {
        if end > start {
            pieces.push(bytes[start..end].to_vec());
            start = end;
        }
    }
    pieces
}
