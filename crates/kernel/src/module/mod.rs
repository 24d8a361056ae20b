//! Modules: the registry, its states, and the way of a module through it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use bstr::{BStr, BString, ByteSlice};
use ferrmod_linker::{Linked, PartKind, SymbolView};
use hashbrown::HashMap;

use crate::lock::Lock;
use crate::task::TaskId;
use crate::text::Errno;
use crate::world::{Parameter, World};
use crate::{Kernel, kernel};

mod load;
mod memory;
mod parameters;
mod signature;
mod symbols;
pub(crate) mod sysfs;
mod unload;

pub use load::LoadFlags;
pub(crate) use memory::Memory;

/// Where a module is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Init has returned 0; Linux's number 0.
    Live = 0,
    /// Linked and being initialised; 1.
    Coming = 1,
    /// Exit runs, or a failed init is undone; 2.
    Going = 2,
    /// On the list so that nobody loads it twice, nothing else; 3.
    Unformed = 3,
}

/// A module in the registry.
pub struct Module {
    /// Its number, unique in the life of a kernel.
    pub id: u32,
    /// Its name.
    pub name: BString,
    /// Who speaks its language.
    pub world: &'static dyn World,
    /// The parameters it was loaded with.
    pub arguments: BString,
    /// `version=`.
    pub version: Option<BString>,
    /// `srcversion=`.
    pub srcversion: Option<BString>,
    /// Its licence is GPL-compatible.
    pub gpl: bool,
    /// The names, addresses and sizes of its allocated sections.
    pub sections: Vec<(BString, u64, u64)>,
    pub(crate) memory: Memory,
    linked: Lock<Arc<Linked>>,
    state: AtomicU8,
    taints: AtomicU64,
    references: AtomicI64,
    users: Lock<Vec<u32>>,
    drivers: Lock<BTreeMap<String, String>>,
    uses: Lock<Vec<u32>>,
    parameters: spin::Once<Vec<Parameter>>,
    has_init: bool,
    has_exit: bool,
    init_result: AtomicI64,
    init_task: AtomicU32,
}

impl core::fmt::Debug for Module {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Module").field("name", &self.name).field("state", &self.state()).finish_non_exhaustive()
    }
}

/// A line of `/proc/modules`, and what more there is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleStatus {
    /// Its name.
    pub name: BString,
    /// Bytes of memory it takes (core and init).
    pub size: u64,
    /// References besides the one that keeps it loaded; -1 while it goes.
    pub references: i64,
    /// Modules that use it, newest first.
    pub users: Vec<BString>,
    /// Its state.
    pub state: State,
    /// Its taint letters.
    pub taints: String,
    /// Address of its text.
    pub base: u64,
    /// It has an init function and no exit function.
    pub permanent: bool,
    /// Imports bound to stubs.
    pub deferred: Vec<BString>,
}

impl Module {
    /// Its state.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Live,
            1 => State::Coming,
            2 => State::Going,
            _ => State::Unformed,
        }
    }

    fn set_state(self: &Arc<Self>, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
        self.world.state_changed(self, state);
        kernel().tasks.wake_channel(self.channel(), usize::MAX);
    }

    /// What a task that waits for this module's state waits on.
    fn channel(&self) -> u64 {
        // No kernel address is this small.
        u64::from(self.id)
    }

    /// A driver of its own, by its name and the directory of the driver: what `/sys/module/NAME/drivers` shows.
    pub fn add_driver(&self, name: String, directory: String) {
        self.drivers.lock().insert(name, directory);
    }

    /// The driver is gone.
    pub fn remove_driver(&self, name: &str) {
        self.drivers.lock().remove(name);
    }

    /// What the linker found.
    pub fn linked(&self) -> Arc<Linked> {
        Arc::clone(&self.linked.lock())
    }

    /// The address and size of a part of its memory.
    pub fn part(&self, kind: PartKind) -> Range<u64> {
        self.memory.part(kind)
    }

    /// Whether its memory (any part) holds `address`.
    pub fn contains(&self, address: u64) -> bool {
        self.memory.contains(address)
    }

    /// Offset and size of its per-CPU variables.
    pub fn percpu(&self) -> Option<(u64, u64)> {
        self.memory.percpu()
    }

    /// The names, addresses and sizes of its notes.
    pub(crate) fn notes(&self) -> impl Iterator<Item = &(BString, u64, u64)> {
        self.sections.iter().filter(|(name, ..)| name.starts_with(b".note"))
    }

    /// Taint bits of this module.
    pub fn taints(&self) -> u64 {
        self.taints.load(Ordering::Relaxed)
    }

    pub(crate) fn add_taint(&self, bits: u64) {
        self.taints.fetch_or(bits, Ordering::Relaxed);
    }

    /// Its parameters.
    pub fn parameters(&self) -> &[Parameter] {
        self.parameters.get().map_or(&[], Vec::as_slice)
    }

    /// References besides the base one; -1 while it goes.
    pub fn references(&self) -> i64 {
        self.references.load(Ordering::Relaxed) - 1
    }

    /// Takes a reference unless the module goes (`try_module_get`).
    pub fn try_get(&self) -> bool {
        if matches!(self.state(), State::Going | State::Unformed) || self.references.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.references.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Takes a reference without asking (`__module_get`).
    pub fn get(&self) {
        self.references.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives a reference back; false when there was none to give.
    pub fn put(&self) -> bool {
        self.references
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |references| (references > 0).then(|| references - 1))
            .is_ok()
    }

    /// What init returned, once it has.
    pub fn init_result(&self) -> i64 {
        self.init_result.load(Ordering::Relaxed)
    }

    /// The task that loads it, while it is coming.
    pub fn init_task(&self) -> TaskId {
        TaskId(self.init_task.load(Ordering::Relaxed))
    }

    /// Whether the task that loads it is dead.
    pub(crate) fn is_abandoned(&self, kernel: &Kernel) -> bool {
        let task = self.init_task();
        self.state() == State::Coming && task.0 != 0 && !kernel.tasks.is_alive(task)
    }

    /// Coming modules show their init part too.
    pub fn size(&self) -> u64 {
        let linked = self.linked();
        linked.core_size + linked.init_size
    }

    /// What to show of it.
    pub fn status(&self, modules: &Modules) -> ModuleStatus {
        let linked = self.linked();
        ModuleStatus {
            name: self.name.clone(),
            size: linked.core_size + linked.init_size,
            references: if self.state() == State::Going { -1 } else { self.references() },
            users: modules.names(&self.users.lock()),
            state: self.state(),
            taints: taint_letters(self.taints(), self.state()),
            base: self.part(PartKind::Text).start,
            permanent: self.has_init && !self.has_exit,
            deferred: linked.deferred.iter().map(|import| linked.name(import.name).into()).collect(),
        }
    }
}

/// The letters of Linux's taint bits, in bit order.
pub const TAINT_LETTERS: [u8; 19] = *b"PFSRMBUDAWCIOELKXTN";

/// `(OE+)`'s inside: letters of the bits a module can carry, then its state's sign.
fn taint_letters(taints: u64, state: State) -> String {
    let mut letters: String =
        (0..TAINT_LETTERS.len()).filter(|bit| taints >> bit & 1 == 1).map(|bit| TAINT_LETTERS[bit] as char).collect();
    match state {
        State::Going => letters.push('-'),
        State::Coming => letters.push('+'),
        State::Live | State::Unformed => (),
    }
    letters
}

#[derive(Default)]
struct Registry {
    /// Oldest first.
    modules: Vec<Arc<Module>>,
    by_name: HashMap<BString, Arc<Module>>,
    /// Start of each executable or data part, its end and its module.
    ranges: BTreeMap<u64, (u64, u32)>,
    exports: HashMap<BString, Exported>,
    last: u32,
    last_unloaded: Option<(BString, String)>,
    taints: u64,
    noted: u64,
    failed_inits: u64,
    /// `modules_disabled`: nothing is loaded or unloaded any more.
    disabled: bool,
    /// The names of callers in modules that are gone and have left memory behind.
    leftovers: BTreeMap<(u32, u64), String>,
}

#[derive(Clone, Copy)]
struct Exported {
    owner: u32,
    value: u64,
    crc: Option<u32>,
    gpl_only: bool,
    /// Index in the owner's export list, for the namespace.
    index: u32,
}

/// The module registry of a kernel.
#[derive(Default)]
pub struct Modules(Lock<Registry>);

impl core::fmt::Debug for Modules {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}

impl Modules {
    /// The module called `name`.
    pub fn named(&self, name: &[u8]) -> Option<Arc<Module>> {
        self.0.lock().by_name.get(BStr::new(name)).cloned()
    }

    /// The module with this number.
    pub fn numbered(&self, id: u32) -> Option<Arc<Module>> {
        // Numbers only grow, so the list is sorted by them.
        let registry = self.0.lock();
        let index = registry.modules.binary_search_by_key(&id, |module| module.id).ok()?;
        Some(Arc::clone(&registry.modules[index]))
    }

    /// The module whose memory holds `address`.
    pub fn at(&self, address: u64) -> Option<Arc<Module>> {
        let id = {
            let registry = self.0.lock();
            let (_, &(end, id)) = registry.ranges.range(..=address).next_back()?;
            (address < end).then_some(id)?
        };
        self.numbered(id)
    }

    /// All modules, newest first.
    pub fn all(&self) -> Vec<Arc<Module>> {
        self.0.lock().modules.iter().rev().cloned().collect()
    }

    /// All modules, newest first, as `/proc/modules` shows them.
    pub fn list(&self) -> Vec<ModuleStatus> {
        self.all()
            .into_iter()
            .filter(|module| module.state() != State::Unformed)
            .map(|module| module.status(self))
            .collect()
    }

    fn names(&self, ids: &[u32]) -> Vec<BString> {
        ids.iter().rev().filter_map(|&id| self.numbered(id)).map(|module| module.name.clone()).collect()
    }

    /// The address of a symbol that a module exports.
    pub fn export(&self, name: &BStr) -> Option<u64> {
        self.0.lock().exports.get(name).map(|export| export.value)
    }

    /// Who was unloaded last, with its taint letters.
    pub fn last_unloaded(&self) -> Option<(BString, String)> {
        self.0.lock().last_unloaded.clone()
    }

    /// How many init functions have returned an error: what tells a module that failed from one that was refused.
    pub fn failed_inits(&self) -> u64 {
        self.0.lock().failed_inits
    }

    /// Whether loading and unloading are over for good (`/proc/sys/kernel/modules_disabled`).
    pub fn are_disabled(&self) -> bool {
        self.0.lock().disabled
    }

    /// Ends loading and unloading; there is no way back.
    pub fn disable(&self) {
        self.0.lock().disabled = true;
    }

    /// The kernel's taint bits.
    pub fn taints(&self) -> u64 {
        self.0.lock().taints
    }

    /// Sets taint bits of the kernel.
    pub fn taint(&self, bits: u64) {
        self.0.lock().taints |= bits;
    }

    /// The name of the symbol `address` lies in, the distance from its start, the distance from there to the next symbol
    /// (which is what Linux calls its size), and the module's name.
    pub fn symbolise(&self, address: u64) -> Option<(BString, u64, u64, BString)> {
        let module = self.at(address)?;
        let linked = module.linked();
        let (symbol, distance) = linked.symbol_at(address)?;
        let part = module.part(linked.text_contains(address)?);
        let nearer = |nearest: u64, other: SymbolView<'_>| {
            let is_nearer = address < other.address && other.address < nearest && is_name(other.name);
            if is_nearer { other.address } else { nearest }
        };
        let next = linked.symbols().fold(part.end, nearer);
        Some((symbol.name.into(), distance, next - symbol.address, module.name.clone()))
    }

    /// Whether a message printed once per boot is due: `bit` of a set the kernel keeps.
    fn first_time(&self, bit: u32) -> bool {
        let mut registry = self.0.lock();
        let first = registry.noted >> bit & 1 == 0;
        registry.noted |= 1 << bit;
        first
    }
}

impl Kernel {
    /// Loads what `name` stands for, as `request_module()` does from inside.
    ///
    /// # Errors
    /// What the fetch or the first failing load answers.
    pub fn request_module(&'static self, name: &[u8]) -> Result<(), Errno> {
        for fetched in self.platform.fetch_module(name)? {
            match self.modules.load(&fetched.bytes, &fetched.arguments, LoadFlags::default()) {
                Ok(()) | Err(Errno::EEXIST) => (),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// Whether a person would call something so: the compiler's own labels are no names.
fn is_name(name: &BStr) -> bool {
    !name.starts_with(b".L") && !name.starts_with(b"L0\x01") && !name.starts_with(b"$")
}

fn name_is(name: &BStr, other: &[u8]) -> bool {
    name.as_bytes() == other
}
