//! Where each section goes: Linux's four passes, as seven parts of one protection and one lifetime each.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use bstr::{BStr, BString, ByteSlice};
use ferrmod_image::Image;
use object::elf;

use crate::error::LinkError;
use crate::relocate;

/// `SHF_RO_AFTER_INIT`, a flag Linux sets on its copy of the section headers.
const SHF_RO_AFTER_INIT: u64 = 0x0020_0000;
/// What one part may hold. The module area of Linux has 1008 MiB; no part can be larger.
const PART_MAX: u64 = 1008 << 20;
/// The largest alignment a section may ask for.
const ALIGN_MAX: u64 = 2 << 20;

/// A part of a module's memory: sections of one protection and one lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PartKind {
    /// Code: read and execute.
    Text,
    /// Constants: read.
    Rodata,
    /// Written by initialisation, read-only afterwards (`.data..ro_after_init`, `__jump_table`).
    RoAfterInit,
    /// Read and write.
    Data,
    /// Code that is freed after initialisation.
    InitText,
    /// Constants that are freed after initialisation.
    InitRodata,
    /// Data that is freed after initialisation.
    InitData,
}

impl PartKind {
    /// How many kinds there are.
    pub const COUNT: usize = 7;
    /// All kinds, in the order of their `usize` values.
    pub const ALL: [PartKind; PartKind::COUNT] = [
        PartKind::Text,
        PartKind::Rodata,
        PartKind::RoAfterInit,
        PartKind::Data,
        PartKind::InitText,
        PartKind::InitRodata,
        PartKind::InitData,
    ];

    /// Whether the part is freed when initialisation has succeeded.
    #[must_use]
    pub fn is_init(self) -> bool {
        matches!(self, PartKind::InitText | PartKind::InitRodata | PartKind::InitData)
    }

    /// Whether the part holds code.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, PartKind::Text | PartKind::InitText)
    }

    /// Whether the module writes to it (for [`PartKind::RoAfterInit`]: until initialisation has ended).
    #[must_use]
    pub fn is_writable(self) -> bool {
        matches!(self, PartKind::RoAfterInit | PartKind::Data | PartKind::InitData)
    }

    /// A word for messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PartKind::Text => "text",
            PartKind::Rodata => "rodata",
            PartKind::RoAfterInit => "ro_after_init",
            PartKind::Data => "data",
            PartKind::InitText => "init.text",
            PartKind::InitRodata => "init.rodata",
            PartKind::InitData => "init.data",
        }
    }
}

/// Size and alignment of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartLayout {
    /// In bytes, not rounded to pages.
    pub size: u64,
    /// What the part's address must be a multiple of; at least 1.
    pub align: u64,
}

/// Where a section is: which part, and at which offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionPlace {
    /// The part.
    pub part: PartKind,
    /// The offset in it.
    pub offset: u32,
}

/// The module's static per-CPU variables. They lie in no part: the caller copies the section's bytes into every CPU's area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerCpuLayout {
    /// The section's index; its `data` is the image to copy.
    pub section: usize,
    /// In bytes.
    pub size: u64,
    /// At most 4096, as in Linux.
    pub align: u64,
    /// The alignment the file asks for.
    pub wanted_align: u64,
}

/// What [`Layout::with`] adds to [`Layout::of`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayoutOptions {
    /// Reserves a slot for every symbol that is reached through a global offset table. Linux refuses such modules; those
    /// written in Rust may have them.
    pub got: bool,
}

/// The decided place of every section.
///
/// Having a `Layout` tells you that no section is both writable and executable, that every alignment is a power of two, and
/// that every place lies within its part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The parts, indexed by [`PartKind`].
    pub parts: [PartLayout; PartKind::COUNT],
    /// The place of each ELF section, by its index; `None` for those that are not kept.
    pub sections: Vec<Option<SectionPlace>>,
    /// The module's per-CPU section.
    pub percpu: Option<PerCpuLayout>,
    /// Symbols that need a slot in the offset table, ascending, and the table's offset in [`PartKind::Rodata`].
    pub(crate) got: Vec<u32>,
    pub(crate) got_offset: u32,
}

/// The name used when a module has none, in Linux's words.
pub(crate) fn name_of<'a>(image: &Image<'a>) -> &'a BStr {
    image.name().unwrap_or(BStr::new("(missing .modinfo section or name field)"))
}

impl Layout {
    /// Places every section as Linux does.
    ///
    /// Four passes over the sections in file order (code; read-only; read-only after init; writable), once for sections
    /// whose name starts with `.init` and once for the others; `.exit*` belongs to the others. `.modinfo` and `__versions`
    /// are not kept, `.data..percpu` gets no part, and a section without contents still gets an address.
    ///
    /// # Errors
    ///
    /// [`LinkError::WriteExec`] as Linux; [`LinkError::Alignment`] and [`LinkError::TooLarge`] are ours.
    pub fn of(image: &Image<'_>) -> Result<Layout, LinkError> {
        Layout::with(image, LayoutOptions::default())
    }

    /// The same, with options.
    ///
    /// # Errors
    ///
    /// As [`Layout::of`].
    pub fn with(image: &Image<'_>, options: LayoutOptions) -> Result<Layout, LinkError> {
        let sections = image.sections();
        let write_exec = elf::SHF_WRITE.0 | elf::SHF_EXECINSTR.0;
        // Linux looks at every section here, also at those it does not load.
        for (index, section) in sections.iter().enumerate() {
            if section.flags & write_exec == write_exec {
                return Err(LinkError::WriteExec {
                    module: name_of(image).to_owned(),
                    section: section.name.to_owned(),
                    index,
                });
            }
        }
        let mut layout = Layout {
            parts: [PartLayout { size: 0, align: 1 }; PartKind::COUNT],
            sections: alloc::vec![None; sections.len()],
            percpu: None,
            got: Vec::new(),
            got_offset: 0,
        };
        let mut dropped = [false; 2];
        for (index, section) in sections.iter().enumerate() {
            if section.flags & elf::SHF_ALLOC.0 == 0 {
                continue;
            }
            let (part, percpu) = match kind_of(section.name.as_bytes(), section.flags, &mut dropped, &layout) {
                Kind::Dropped => continue,
                Kind::PerCpu => (PartKind::Data, true),
                Kind::Part(part) => (part, false),
            };
            let align = section.align.max(1);
            if !align.is_power_of_two() || align > ALIGN_MAX {
                return Err(LinkError::Alignment {
                    module: name_of(image).to_owned(),
                    section: section.name.to_owned(),
                    index,
                    align,
                });
            }
            if percpu {
                layout.percpu = Some(PerCpuLayout {
                    section: index,
                    size: section.size,
                    align: align.min(4096),
                    wanted_align: align,
                });
                if section.size > PART_MAX {
                    return Err(too_large(image, index));
                }
                continue;
            }
            let offset = layout.append(part, section.size, align).ok_or_else(|| too_large(image, index))?;
            layout.sections[index] = Some(SectionPlace { part, offset });
        }
        if options.got {
            layout.got = relocate::symbols_through_got(image, &layout);
            if !layout.got.is_empty() {
                let size = 8 * layout.got.len() as u64;
                layout.got_offset = layout.append(PartKind::Rodata, size, 8).ok_or_else(|| too_large(image, 0))?;
            }
        }
        Ok(layout)
    }

    /// The size of a part in bytes, not rounded to pages.
    #[must_use]
    pub fn size(&self, part: PartKind) -> u64 {
        self.parts[part as usize].size
    }

    /// The bytes of all parts, each rounded to 4096-byte pages.
    #[must_use]
    pub fn pages_size(&self) -> u64 {
        self.parts.iter().map(|part| part.size.next_multiple_of(4096)).sum()
    }

    fn append(&mut self, part: PartKind, size: u64, align: u64) -> Option<u32> {
        let part = &mut self.parts[part as usize];
        // No overflow: `part.size` is at most PART_MAX and `align` at most ALIGN_MAX.
        let offset = part.size.next_multiple_of(align);
        let end = offset.checked_add(size).filter(|&end| end <= PART_MAX)?;
        part.size = end;
        part.align = part.align.max(align);
        u32::try_from(offset).ok()
    }
}

enum Kind {
    Dropped,
    PerCpu,
    Part(PartKind),
}

/// What an allocated section is. `dropped` remembers that `.modinfo` and `__versions` were seen: Linux drops the first only.
fn kind_of(name: &[u8], flags: u64, dropped: &mut [bool; 2], layout: &Layout) -> Kind {
    match name {
        b".modinfo" if !dropped[0] => {
            dropped[0] = true;
            return Kind::Dropped;
        }
        b"__versions" if !dropped[1] => {
            dropped[1] = true;
            return Kind::Dropped;
        }
        b".data..percpu" if layout.percpu.is_none() => return Kind::PerCpu,
        _ => {}
    }
    let after_init = matches!(name, b".data..ro_after_init" | b"__jump_table") || flags & SHF_RO_AFTER_INIT != 0;
    let init = name.starts_with(b".init");
    let part = if flags & elf::SHF_EXECINSTR.0 != 0 {
        if init { PartKind::InitText } else { PartKind::Text }
    } else if flags & elf::SHF_WRITE.0 == 0 {
        if init { PartKind::InitRodata } else { PartKind::Rodata }
    } else if after_init && !init {
        PartKind::RoAfterInit
    } else if init {
        PartKind::InitData
    } else {
        PartKind::Data
    };
    Kind::Part(part)
}

fn too_large(image: &Image<'_>, index: usize) -> LinkError {
    let section = image.sections().get(index).map_or(BString::default(), |section| section.name.to_owned());
    LinkError::TooLarge { module: name_of(image).to_owned(), section, index }
}
