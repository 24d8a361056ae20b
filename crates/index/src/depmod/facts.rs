//! What one module says, without a tree around it.

use bstr::{BString, ByteSlice};

use super::elf::{self, Buffers, ElfError, Source};
use super::symbols::Symbols;

/// What depmod reads of a module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleFacts {
    /// The symbols that it exports and their check sums, in the order of its symbol table.
    pub exports: Vec<(BString, u64)>,
    /// The symbols that it imports, with the check sums it was built for (0: none), in the order in which they are resolved.
    pub imports: Vec<(BString, u64)>,
    /// Its aliases, in the order of the file.
    pub aliases: Vec<BString>,
}

/// Reads a module that is not compressed, of any architecture.
///
/// # Errors
/// When the bytes are no ELF file, or what they say they have is not in them.
pub fn module_facts(bytes: &[u8]) -> Result<ModuleFacts, ElfError> {
    let mut symbols = Symbols::default();
    let facts = elf::read(Source::Bytes(bytes), &mut Buffers::default(), &mut symbols)?;
    let list = |numbers: &[u32]| {
        numbers
            .iter()
            .map(|&number| {
                let symbol = symbols.get(number);
                (symbol.name.into(), symbol.crc)
            })
            .collect()
    };
    Ok(ModuleFacts {
        exports: list(&facts.exports),
        imports: list(&facts.imports),
        // Each ends in a NUL, so that there is nothing behind the last one.
        aliases: facts
            .aliases
            .split_inclusive(|&byte| byte == 0)
            .map(|alias| alias.trim_end_with(|c| c == '\0').into())
            .collect(),
    })
}
