//! One relocatable file from an archive of objects: what is reachable, under the names of a Linux module.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use object::elf;

use crate::objects::{Header, Objects, SectionId, Target};
use crate::output::Output;

/// Why an archive is no module.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// It cannot be read.
    #[error("the compiler's archive cannot be read: {0}")]
    Archive(object::read::Error),
    /// The result cannot be written.
    #[error("the module cannot be written: {0}")]
    Write(object::write::Error),
    /// There is no module in it.
    #[error("no module in the crate: it needs one ferrmod_sdk::module! {{ .. }}")]
    NoModule,
    /// There is more than one.
    #[error("more than one module in the crate: only one ferrmod_sdk::module! {{ .. }} can be linked in")]
    ManyModules,
    /// A symbol that is neither the kernel's nor declared as another module's.
    #[error("undefined symbol {symbol}: declare it with ferrmod_sdk::import! {{ from \"MODULE\": fn {symbol}(..); }}")]
    Undefined {
        /// Its name.
        symbol: String,
    },
    /// Thread-local storage, or something else a kernel has not.
    #[error("section {section} has no place in a module")]
    Section {
        /// Its name.
        section: String,
    },
    /// A symbol with a fixed address.
    #[error("relocation against an absolute address in {section}")]
    Absolute {
        /// The section it is in.
        section: String,
    },
}

/// A module file.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// The module's name, from `.modinfo`.
    pub name: String,
    /// The modules it imports from, in alphabetical order.
    pub depends: Vec<String>,
    /// The file.
    pub bytes: Vec<u8>,
}

/// What compilers call by themselves. It has no type of ours, so it has no CRC.
const IMPLIED: [&str; 6] = ["memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen"];

/// Prebuilt `core` and `alloc` name it on paths that only unwinding takes, which `panic=abort` rules out.
pub(crate) const NEVER_CALLED: &str = "_Unwind_Resume";

const THIS_MODULE: &str = ".gnu.linkonce.this_module";

/// Sections that are kept although nothing refers to them.
fn is_root(name: &str) -> bool {
    matches!(name, THIS_MODULE | ".modinfo" | "__param" | "__ksymtab" | "__ksymtab_gpl" | "__kcrctab" | "__kcrctab_gpl")
}

/// What the SDK's macros leave for this step; it is not copied.
fn is_notes(name: &str) -> bool {
    matches!(name, "__versions" | ".ferrmod.imports")
}

/// The sections of a module, in file order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Text,
    InitText,
    ExitText,
    Rodata,
    Ksymtab,
    KsymtabGpl,
    Kcrctab,
    KcrctabGpl,
    KsymtabStrings,
    Param,
    Modinfo,
    Versions,
    Data,
    ThisModule,
    Bss,
}

impl Place {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Place::Text => ".text",
            Place::InitText => ".init.text",
            Place::ExitText => ".exit.text",
            Place::Rodata => ".rodata",
            Place::Ksymtab => "__ksymtab",
            Place::KsymtabGpl => "__ksymtab_gpl",
            Place::Kcrctab => "__kcrctab",
            Place::KcrctabGpl => "__kcrctab_gpl",
            Place::KsymtabStrings => "__ksymtab_strings",
            Place::Param => "__param",
            Place::Modinfo => ".modinfo",
            Place::Versions => "__versions",
            Place::Data => ".data",
            Place::ThisModule => THIS_MODULE,
            Place::Bss => ".bss",
        }
    }

    /// Where an input section goes; `None` when it is none of a module's.
    fn of(header: &Header<'_>) -> Option<Place> {
        if !header.has(elf::SHF_ALLOC) || header.has(elf::SHF_TLS) {
            return None;
        }
        Some(match header.name {
            THIS_MODULE => Place::ThisModule,
            ".modinfo" => Place::Modinfo,
            "__param" => Place::Param,
            "__ksymtab" => Place::Ksymtab,
            "__ksymtab_gpl" => Place::KsymtabGpl,
            "__kcrctab" => Place::Kcrctab,
            "__kcrctab_gpl" => Place::KcrctabGpl,
            "__ksymtab_strings" => Place::KsymtabStrings,
            ".init.text" => Place::InitText,
            ".exit.text" => Place::ExitText,
            _ if header.has(elf::SHF_EXECINSTR) => Place::Text,
            _ if header.kind == elf::SHT_NOBITS => Place::Bss,
            // Written by relocations only, and the linker applies those before it protects the pages.
            name if name.starts_with(".data.rel.ro") => Place::Rodata,
            _ if header.has(elf::SHF_WRITE) => Place::Data,
            _ => Place::Rodata,
        })
    }
}

/// Makes a module file of an archive that `cargo rustc --crate-type staticlib` has made.
///
/// `in_tree` marks it as built together with the kernel it is for (`intree=Y`); another module taints the kernel.
///
/// # Errors
/// [`AssembleError`].
pub fn assemble(archive: &[u8], in_tree: bool) -> Result<Assembled, AssembleError> {
    let objects = Objects::read(archive)?;
    let reached = reach(&objects)?;
    let notes = Notes::read(&objects)?;
    let imports = &reached.imports;

    let mut depends = BTreeSet::new();
    let mut records: Vec<[u8; RECORD]> = Vec::new();
    records.extend(notes.versions.get("module_layout"));
    for name in imports.iter().filter(|name| !IMPLIED.contains(&name.as_str())) {
        let Some(record) = notes.versions.get(name) else {
            return Err(AssembleError::Undefined { symbol: demangled(name) });
        };
        records.push(*record);
        depends.extend(notes.owners.get(name).cloned());
    }
    let depends: Vec<String> = depends.into_iter().collect();

    let mut output = Output::new();
    for (&place, sections) in &reached.sections {
        for &section in sections {
            output.copy(&objects, section, place)?;
        }
    }
    if in_tree {
        output.append(Place::Modinfo, b"intree=Y\0");
    }
    output.append(Place::Modinfo, format!("depends={}\0", depends.join(",")).as_bytes());
    output.append(Place::Versions, records.as_flattened());
    let bytes = output.write(&objects)?;
    Ok(Assembled { name: reached.name, depends, bytes })
}

/// What is part of the module.
struct Reached {
    name: String,
    sections: BTreeMap<Place, Vec<SectionId>>,
    /// In alphabetical order.
    imports: BTreeSet<String>,
}

/// Follows every relocation from the sections that make a module.
fn reach(objects: &Objects<'_>) -> Result<Reached, AssembleError> {
    let mut name = None;
    let mut todo = Vec::new();
    for section in objects.sections() {
        let header = objects.header(section)?;
        if !is_root(header.name) || !header.has(elf::SHF_ALLOC) {
            continue;
        }
        todo.push(section);
        if header.name == THIS_MODULE {
            // The name stands behind the state and the list node.
            let field = objects.data(section)?.get(24..80).ok_or(AssembleError::NoModule)?;
            let text = field.split(|&byte| byte == 0).next().unwrap_or_default();
            if name.replace(String::from_utf8_lossy(text).into_owned()).is_some() {
                return Err(AssembleError::ManyModules);
            }
        }
    }
    let name = name.ok_or(AssembleError::NoModule)?;
    let mut seen: HashSet<SectionId> = todo.iter().copied().collect();
    let (mut sections, mut imports) = (BTreeMap::<Place, Vec<SectionId>>::new(), BTreeSet::new());
    // First in, first out: the order of the file follows the order of use.
    let mut next = 0;
    while let Some(&section) = todo.get(next) {
        next += 1;
        let header = objects.header(section)?;
        let place = Place::of(&header).ok_or_else(|| AssembleError::Section { section: header.name.into() })?;
        sections.entry(place).or_default().push(section);
        for link in objects.links(section)? {
            match link.target {
                Target::Place { section: target, .. } => {
                    if seen.insert(target) {
                        todo.push(target);
                    }
                }
                Target::Import { name, weak } => {
                    if !weak && name != NEVER_CALLED {
                        imports.insert(name.into());
                    }
                }
                Target::Absolute(_) => return Err(AssembleError::Absolute { section: header.name.into() }),
            }
        }
    }
    Ok(Reached { name, sections, imports })
}

/// Bytes of a record of `__versions`.
const RECORD: usize = 64;

/// What the SDK's macros wrote down about every function a module could import.
#[derive(Default)]
struct Notes {
    versions: BTreeMap<String, [u8; RECORD]>,
    /// Which module exports a symbol.
    owners: BTreeMap<String, String>,
}

impl Notes {
    fn read(objects: &Objects<'_>) -> Result<Notes, AssembleError> {
        let mut notes = Notes::default();
        for section in objects.sections() {
            let header = objects.header(section)?;
            if !is_notes(header.name) {
                continue;
            }
            let data = objects.data(section)?;
            if header.name == "__versions" {
                for record in data.as_chunks::<RECORD>().0 {
                    let name = record[8..].split(|&byte| byte == 0).next().unwrap_or_default();
                    notes.versions.insert(String::from_utf8_lossy(name).into_owned(), *record);
                }
            } else {
                let text = String::from_utf8_lossy(data);
                for (symbol, owner) in text.split('\0').filter_map(|entry| entry.split_once('=')) {
                    notes.owners.insert(symbol.into(), owner.into());
                }
            }
        }
        Ok(notes)
    }
}

/// The name to show for a symbol: its path, in one word because `/proc/kallsyms` is read word by word.
pub(crate) fn demangled(name: &str) -> String {
    let path = format!("{:#}", rustc_demangle::demangle(name));
    path.chars().map(|letter| if letter.is_whitespace() || letter.is_control() { '_' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_word() {
        assert_eq!(demangled("init_module"), "init_module");
        assert_eq!(demangled("_ZN5crash8go_wrong17h0123456789abcdefE"), "crash::go_wrong");
        assert_eq!(
            demangled("_ZN44_$LT$$RF$T$u20$as$u20$core..fmt..Display$GT$3fmt17h8396827787e55656E"),
            "<&T_as_core::fmt::Display>::fmt"
        );
    }
}
