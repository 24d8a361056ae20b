//! What a kernel keeps of a linked module.

use alloc::vec::Vec;

use bstr::{BStr, ByteSlice as _};

use crate::fixups::Branch;
use crate::layout::PartKind;
use crate::orc;
use crate::report::Report;
use crate::symbols::OwnerId;

/// A name that a [`Linked`] keeps. Read it with [`Linked::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameRef(pub(crate) u32);

/// A table in the module's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Its address; 0 when the module has none.
    pub address: u64,
    /// Its entries.
    pub count: u32,
}

/// The tables a kernel may follow. Each lies wholly within the module; of those marked *checked* every entry does, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// `__param`: 40-byte `struct kernel_param`.
    pub params: Table,
    /// `__mcount_loc`: addresses of function entries, *checked*; those that were calls of `__fentry__` are now NOPs.
    pub mcount: Table,
    /// `__tracepoints_ptrs`: 4-byte relative pointers.
    pub tracepoints: Table,
    /// `_ftrace_events`: pointers.
    pub trace_events: Table,
    /// `_ftrace_eval_map`: pointers.
    pub trace_evals: Table,
    /// `__bpf_raw_tp_map`: 32-byte entries.
    pub bpf_raw_tracepoints: Table,
    /// `__trace_printk_fmt`: pointers.
    pub trace_printk: Table,
    /// `___srcu_struct_ptrs`: pointers.
    pub srcu: Table,
    /// `__dyndbg`: 56-byte `struct _ddebug`.
    pub dyndbg: Table,
    /// `__dyndbg_classes`: pointers.
    pub dyndbg_classes: Table,
    /// `.ctors` or `.init_array`: functions to call before init.
    pub constructors: Table,
    /// `.static_call_sites`: 8-byte entries, parsed as [`Linked::static_calls`].
    pub static_calls: Table,
    /// `__jump_table`: 16-byte entries, parsed as [`Linked::branches`].
    pub branches: Table,
    /// `__ex_table`: 12-byte entries, parsed as [`Linked::exceptions`].
    pub exceptions: Table,
    /// `__bug_table`: 12-byte entries, parsed as [`Linked::bugs`].
    pub bugs: Table,
    /// `.kprobes.text`: bytes.
    pub kprobes_text: Table,
    /// `.noinstr.text`: bytes.
    pub noinstr_text: Table,
    /// `_kprobe_blacklist`: addresses.
    pub kprobe_blacklist: Table,
}

/// An exported symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportedSymbol {
    /// Its name.
    pub name: NameRef,
    /// Its address (or per-CPU offset).
    pub value: u64,
    /// For GPL-compatible modules only.
    pub gpl_only: bool,
    /// Its CRC, when the module has any.
    pub crc: Option<u32>,
    /// Its namespace.
    pub namespace: Option<NameRef>,
}

/// A symbol of the module, for `/proc/kallsyms` and back-traces. Twenty-four bytes, no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    pub(crate) address: u64,
    pub(crate) size: u32,
    pub(crate) name: NameRef,
    pub(crate) kind: u8,
    pub(crate) init: bool,
}

/// A symbol with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolView<'a> {
    /// Its name.
    pub name: &'a BStr,
    /// Its address.
    pub address: u64,
    /// `st_size`, at most `u32::MAX`.
    pub size: u32,
    /// The letter of `nm`, lower case: `t`, `d`, `b`, `r`, `a`, `w`, `v`, `?`. Kernels print it in upper case when the symbol is
    /// exported.
    pub kind: char,
    /// Whether it goes away when initialisation has succeeded.
    pub init: bool,
}

/// An entry of `__bug_table`: a `ud2` that is a warning or a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bug {
    /// The address of the instruction.
    pub address: u64,
    /// The address of the file name; 0 when there is none.
    pub file: u64,
    /// The line.
    pub line: u16,
    /// Linux's `BUGFLAG_*`: 1 warning, 2 once, 4 done, 8 no cut-here line, taint above.
    pub flags: u16,
}

/// An entry of `__ex_table`: where to go on after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// The address of the instruction that may fault.
    pub address: u64,
    /// The address to go on at.
    pub fixup: u64,
    /// How: Linux's `EX_TYPE_*` in the low byte, registers and values above.
    pub data: u32,
}

/// An entry of `.static_call_sites`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticCall {
    /// The address of the `call` or `jmp` to the trampoline.
    pub site: u64,
    /// The address of the key.
    pub key: u64,
    /// A tail call: a `jmp`.
    pub tail: bool,
    /// The site is in code that is freed after initialisation.
    pub init: bool,
}

/// An import nobody exports, bound to an address the kernel gave for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// Its name.
    pub name: NameRef,
    /// The address.
    pub address: u64,
}

/// A module whose bytes are ready to run.
///
/// Having a `Linked` tells you that every imported name is bound, every relocation is written and did fit, the fix-ups are
/// applied, and every table entry a kernel follows points into the module.
#[derive(Clone, Debug, Default)]
pub struct Linked {
    /// The address of `init_module`.
    pub init: Option<u64>,
    /// The address of `cleanup_module`.
    pub exit: Option<u64>,
    /// The address and size of the module's own `struct module`.
    pub this_module: Table,
    /// What it exports: `__ksymtab`, then `__ksymtab_gpl`, in the file's order (sorted by name).
    pub exports: Vec<ExportedSymbol>,
    /// Tables in the module's memory.
    pub tables: Tables,
    /// The bugs and warnings, sorted by address.
    pub bugs: Vec<Bug>,
    /// The exception table, sorted by address.
    pub exceptions: Vec<Exception>,
    /// The branches of static keys, in the file's order.
    pub branches: Vec<Branch>,
    /// The static calls.
    pub static_calls: Vec<StaticCall>,
    /// The unwind table, sorted.
    pub orc: Option<orc::Table>,
    /// How many calls of `__fentry__` became NOPs.
    pub fentry_nops: u32,
    /// The exporting modules it took a reference to, in the order of binding.
    pub uses: Vec<OwnerId>,
    /// Imports that the symbol table provided although nobody exports them.
    pub deferred: Vec<Deferred>,
    /// Whether it uses a symbol for GPL-compatible modules only.
    pub uses_gpl_only: bool,
    /// What Linux 6.1 would show as `coresize`: the core parts and the symbols it keeps.
    pub core_size: u64,
    /// What Linux 6.1 would show as `initsize` until initialisation has ended.
    pub init_size: u64,
    /// Taints it got while it was linked (with those it came with), and log lines.
    pub report: Report,
    pub(crate) symbols: Vec<Symbol>,
    pub(crate) names: Vec<u8>,
    pub(crate) text: [(u64, u64); 2],
}

impl Linked {
    /// The text of a name.
    #[must_use]
    pub fn name(&self, name: NameRef) -> &BStr {
        let tail = self.names.get(name.0 as usize..).unwrap_or_default();
        let end = tail.find_byte(0).unwrap_or(tail.len());
        BStr::new(&tail[..end])
    }

    /// The module's named symbols, in the file's order: those Linux would keep, and those of the init parts.
    pub fn symbols(&self) -> impl Iterator<Item = SymbolView<'_>> + Clone {
        self.symbols.iter().map(|symbol| SymbolView {
            name: self.name(symbol.name),
            address: symbol.address,
            size: symbol.size,
            kind: char::from(symbol.kind),
            init: symbol.init,
        })
    }

    /// The symbol an address belongs to: the nearest one at or below it in the same part, and the distance.
    ///
    /// As in Linux, names are preferred that a person would write: those starting with `.L` or `$` are not considered.
    #[must_use]
    pub fn symbol_at(&self, address: u64) -> Option<(SymbolView<'_>, u64)> {
        let (base, size) = self.text.into_iter().find(|&(base, size)| address.wrapping_sub(base) < size)?;
        let mut best: Option<&Symbol> = None;
        for symbol in &self.symbols {
            if symbol.address > address || symbol.address.wrapping_sub(base) >= size {
                continue;
            }
            if best.is_some_and(|best| best.address >= symbol.address) {
                continue;
            }
            let name = self.names.get(symbol.name.0 as usize..).unwrap_or_default();
            if !name.starts_with(b".L") && !name.starts_with(b"L0\x01") && !name.starts_with(b"$") {
                best = Some(symbol);
            }
        }
        let symbol = best?;
        let view = SymbolView {
            name: self.name(symbol.name),
            address: symbol.address,
            size: symbol.size,
            kind: char::from(symbol.kind),
            init: symbol.init,
        };
        Some((view, address - symbol.address))
    }

    /// The export of this name.
    #[must_use]
    pub fn export(&self, name: &BStr) -> Option<&ExportedSymbol> {
        self.exports.iter().find(|export| self.name(export.name) == name)
    }

    /// The bug entry of the instruction at `address`.
    #[must_use]
    pub fn bug_at(&self, address: u64) -> Option<&Bug> {
        self.bugs.binary_search_by_key(&address, |bug| bug.address).ok().map(|index| &self.bugs[index])
    }

    /// The exception entry of the instruction at `address`.
    #[must_use]
    pub fn exception_at(&self, address: u64) -> Option<&Exception> {
        self.exceptions.binary_search_by_key(&address, |entry| entry.address).ok().map(|index| &self.exceptions[index])
    }

    /// Whether `address` lies in the module's code; `Some(true)` when in its init code.
    #[must_use]
    pub fn text_contains(&self, address: u64) -> Option<PartKind> {
        let [core, init] = self.text;
        if address.wrapping_sub(core.0) < core.1 {
            Some(PartKind::Text)
        } else if address.wrapping_sub(init.0) < init.1 {
            Some(PartKind::InitText)
        } else {
            None
        }
    }

    /// Forgets everything that lies in the init parts, as Linux does when initialisation has succeeded.
    pub fn forget_init(&mut self) {
        let init = self.text[1];
        let freed = |address: u64| address.wrapping_sub(init.0) < init.1;
        self.symbols.retain(|symbol| !symbol.init);
        self.bugs.retain(|bug| !freed(bug.address));
        self.exceptions.retain(|entry| !freed(entry.address));
        self.branches.retain(|branch| !freed(branch.site));
        self.static_calls.retain(|call| !freed(call.site));
        self.text[1] = (0, 0);
        self.init = None;
        self.init_size = 0;
    }
}
