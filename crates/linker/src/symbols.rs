//! Binding: each name a module imports becomes an address, by Linux's rules.

use bstr::BStr;

/// A kernel's own number for a module that exports symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(pub u64);

/// Who exports a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The kernel itself.
    Kernel,
    /// A module.
    Module {
        /// The kernel's number for it.
        id: OwnerId,
        /// Its name.
        name: &'a BStr,
        /// Whether it carries the taint `P`.
        proprietary: bool,
    },
}

/// A symbol somebody exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// What the symbol's value is to be: an address, or the offset of a per-CPU variable.
    pub value: u64,
    /// The exporter's CRC; `None` when it has none, and then none is checked.
    pub crc: Option<u32>,
    /// Whether it was exported for GPL-compatible modules only.
    pub gpl_only: bool,
    /// The namespace it was exported into.
    pub namespace: Option<&'a BStr>,
    /// The exporter.
    pub owner: Owner<'a>,
}

/// Why a module could not take a reference to an exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// Something changed while the kernel waited for the exporter: look the symbol up again.
    Again,
    /// The exporter did not become live in time.
    GaveUp,
    /// The exporter is being unloaded.
    Going,
}

/// What a kernel offers the module that is being linked.
///
/// An implementation searches in Linux's order: the kernel's own exports, then those of modules, newest first; modules that
/// are not formed yet are left out.
pub trait SymbolTable {
    /// Looks a name up. Without `gpl_ok`, symbols for GPL-compatible modules only are not seen.
    fn find(&mut self, name: &BStr, gpl_ok: bool) -> Option<Found<'_>>;

    /// Takes a reference to an exporting module, once for each module that is linked. When the exporter is still
    /// initialising, this is where the kernel waits for it (30 s in Linux).
    ///
    /// # Errors
    ///
    /// The reference was not taken.
    fn bind(&mut self, owner: OwnerId) -> Result<(), BindError>;

    /// Nobody exports `name`. `Some` binds it to an address all the same, for example that of a stub that names itself when
    /// it is called; `None` refuses the module as Linux does. Weak symbols that nobody exports are 0 without asking.
    fn absent(&mut self, name: &BStr) -> Option<u64>;
}
