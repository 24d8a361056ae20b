//! Writing the module file.

use std::collections::{BTreeMap, HashMap, HashSet};

use object::write::{Object, Relocation, Symbol, SymbolId, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionFlags, SectionKind, SymbolFlags, SymbolIndex,
    SymbolKind, SymbolScope, elf,
};

use crate::AssembleError;
use crate::assemble::{NEVER_CALLED, Place, demangled};
use crate::objects::{Objects, SectionId, Target};

/// A section that is being filled.
#[derive(Default)]
struct Section {
    data: Vec<u8>,
    size: u64,
    align: u64,
    /// The input sections in it, and where they begin.
    inputs: Vec<(SectionId, u64)>,
}

/// A module file that is being made.
pub(crate) struct Output {
    sections: BTreeMap<Place, Section>,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { sections: BTreeMap::new() }
    }

    /// Copies an input section behind what is there.
    pub(crate) fn copy(&mut self, objects: &Objects<'_>, input: SectionId, place: Place) -> Result<(), AssembleError> {
        let (header, data) = (objects.header(input)?, objects.data(input)?);
        let section = self.sections.entry(place).or_default();
        let start = section.size.next_multiple_of(header.align);
        section.align = section.align.max(header.align);
        section.size = start + header.size;
        if place != Place::Bss {
            // Between functions nothing runs: `int3`.
            let filler = if matches!(place, Place::Text | Place::InitText | Place::ExitText) { 0xcc } else { 0 };
            section.data.resize(start as usize, filler);
            section.data.extend_from_slice(data);
            section.data.resize(section.size as usize, 0);
        }
        section.inputs.push((input, start));
        Ok(())
    }

    /// Appends bytes.
    pub(crate) fn append(&mut self, place: Place, bytes: &[u8]) {
        let section = self.sections.entry(place).or_default();
        section.data.extend_from_slice(bytes);
        section.size += bytes.len() as u64;
        section.align = section.align.max(1);
    }

    /// The file.
    pub(crate) fn write(mut self, objects: &Objects<'_>) -> Result<Vec<u8>, AssembleError> {
        let never_called = self.trap();
        let mut file = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let mut ids = HashMap::new();
        let mut starts = HashMap::new();
        for (&place, section) in &self.sections {
            let id = file.add_section(Vec::new(), place.name().into(), kind_of(place));
            file.section_mut(id).flags = flags_of(place);
            if place == Place::Bss {
                file.append_section_bss(id, section.size, section.align);
            } else {
                file.set_section_data(id, section.data.as_slice(), section.align);
            }
            ids.insert(place, id);
            starts.extend(section.inputs.iter().map(|&(input, start)| (input, (id, start))));
        }
        let mut symbols = self.symbols(objects, &ids, &mut file);
        let mut imports: HashMap<&str, SymbolId> = HashMap::new();
        for (place, section) in &self.sections {
            for &(input, start) in &section.inputs {
                for link in objects.links(input)? {
                    let (symbol, beyond) = match link.target {
                        Target::Place { section, offset, symbol } => {
                            match symbol.and_then(|symbol| symbols.get(&(section.object, symbol))) {
                                Some(&symbol) => (symbol, 0),
                                None => {
                                    let &(id, start) = starts.get(&section).ok_or(AssembleError::NoModule)?;
                                    (file.section_symbol(id), start + offset)
                                }
                            }
                        }
                        Target::Import { name: NEVER_CALLED, .. } => {
                            (file.section_symbol(ids[&Place::Text]), never_called)
                        }
                        Target::Import { name, weak } => {
                            let symbol = *imports.entry(name).or_insert_with(|| file.add_symbol(undefined(name, weak)));
                            (symbol, 0)
                        }
                        Target::Absolute(_) => {
                            return Err(AssembleError::Absolute { section: place.name().into() });
                        }
                    };
                    let relocation = Relocation {
                        offset: start + link.offset,
                        symbol,
                        addend: link.addend.wrapping_add_unsigned(beyond),
                        flags: RelocationFlags::Elf { r_type: link.kind },
                    };
                    file.add_relocation(ids[place], relocation).map_err(AssembleError::Write)?;
                }
            }
        }
        symbols.clear();
        file.write().map_err(AssembleError::Write)
    }

    /// An instruction that nothing reaches, for what is named and never called; where it stands in the text.
    fn trap(&mut self) -> u64 {
        let text = self.sections.entry(Place::Text).or_default();
        text.align = text.align.max(1);
        let at = text.size;
        text.data.extend_from_slice(&[0x0f, 0x0b]); // ud2
        text.size += 2;
        at
    }

    /// Adds the symbols of all input sections. Those a loader must find by name are global, the others are there for
    /// back-traces.
    fn symbols(
        &self,
        objects: &Objects<'_>,
        ids: &HashMap<Place, object::write::SectionId>,
        file: &mut Object<'_>,
    ) -> HashMap<(usize, SymbolIndex), SymbolId> {
        let inputs = || {
            self.sections.iter().flat_map(|(place, section)| section.inputs.iter().map(move |input| (*place, *input)))
        };
        let exported: HashSet<&str> = inputs()
            .filter(|(place, _)| matches!(place, Place::Ksymtab | Place::KsymtabGpl))
            .flat_map(|(_, (input, _))| objects.symbols_in(input))
            .filter_map(|symbol| symbol.name.strip_prefix("__ksymtab_"))
            .collect();
        let mut added = HashMap::new();
        for (place, (input, start)) in inputs() {
            for symbol in objects.symbols_in(input) {
                let global = matches!(symbol.name, "init_module" | "cleanup_module") || exported.contains(symbol.name);
                let name = if global { symbol.name.into() } else { demangled(symbol.name) };
                let id = file.add_symbol(Symbol {
                    name: name.into_bytes(),
                    value: start + symbol.value,
                    size: symbol.size,
                    kind: if symbol.is_function { SymbolKind::Text } else { SymbolKind::Data },
                    scope: if global { SymbolScope::Dynamic } else { SymbolScope::Compilation },
                    weak: false,
                    section: SymbolSection::Section(ids[&place]),
                    flags: SymbolFlags::None,
                });
                added.insert((input.object, symbol.index), id);
            }
        }
        added
    }
}

fn undefined(name: &str, weak: bool) -> Symbol {
    Symbol {
        name: name.into(),
        value: 0,
        size: 0,
        kind: SymbolKind::Unknown,
        scope: SymbolScope::Unknown,
        weak,
        section: SymbolSection::Undefined,
        flags: SymbolFlags::None,
    }
}

fn kind_of(place: Place) -> SectionKind {
    match place {
        Place::Text | Place::InitText | Place::ExitText => SectionKind::Text,
        Place::Data | Place::ThisModule => SectionKind::Data,
        Place::Bss => SectionKind::UninitializedData,
        _ => SectionKind::ReadOnlyData,
    }
}

fn flags_of(place: Place) -> SectionFlags {
    let more = match place {
        Place::Text | Place::InitText | Place::ExitText => elf::SHF_EXECINSTR.0,
        Place::Data | Place::ThisModule | Place::Bss => elf::SHF_WRITE.0,
        _ => 0,
    };
    SectionFlags::Elf {
        sh_type: if place == Place::Bss { elf::SHT_NOBITS } else { elf::SHT_PROGBITS },
        sh_flags: elf::SectionFlags(elf::SHF_ALLOC.0 | more),
    }
}
