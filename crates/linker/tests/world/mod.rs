//! A kernel for tests: the exports of a real vmlinuz and of a whole tree of modules, at made-up addresses.
#![allow(dead_code, clippy::allow_attributes, reason = "each user of this file needs another half of it")]

use std::collections::{HashMap, HashSet};
use std::path::Path;

use bstr::{BStr, BString, ByteSlice};
use ferrmod_image::facts::ExportKind;
use ferrmod_image::kernel::KernelImage;
use ferrmod_image::{ExportClass, Image};
use ferrmod_linker::{BindError, Found, Layout, Owner, OwnerId, PartKind, Placement, SymbolTable};

/// The contents of a module file, unpacked.
pub(crate) fn read(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).expect("a readable file");
    ferrmod_image::compress::decompress(&bytes, 256 << 20).expect("a sound module file").into_owned()
}

#[derive(Clone, Debug)]
pub(crate) struct Export {
    pub(crate) value: u64,
    pub(crate) crc: Option<u32>,
    pub(crate) gpl_only: bool,
    pub(crate) namespace: Option<BString>,
    /// `None`: the kernel.
    pub(crate) owner: Option<usize>,
}

/// What a whole tree exports.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) exports: HashMap<BString, Export>,
    /// Names of the exporting modules, by owner.
    pub(crate) owners: Vec<BString>,
    /// Owners bound since the last time somebody looked.
    pub(crate) bound: Vec<OwnerId>,
    /// What was asked for and nobody has.
    pub(crate) absent: Vec<BString>,
    /// Where functions live; each gets 64 bytes.
    pub(crate) functions: u64,
    pub(crate) vermagic: BString,
    /// Not every module was read: what nobody here exports, somebody else does.
    pub(crate) open: bool,
    /// What the module being linked exports itself.
    pub(crate) own: HashSet<BString>,
}

impl World {
    /// An empty world whose made-up functions start at an address.
    pub(crate) fn at(functions: u64) -> World {
        World { functions, ..World::default() }
    }

    /// Adds a kernel's exports.
    pub(crate) fn add_kernel(&mut self, kernel: &KernelImage<'_>) {
        self.vermagic = kernel.vermagic().into();
        for export in kernel.exports() {
            let value = match export.kind {
                ExportKind::PerCpu => export.address,
                _ => self.next(),
            };
            self.exports.insert(
                export.name.to_owned(),
                Export {
                    value,
                    crc: export.crc,
                    gpl_only: export.class == ExportClass::GplOnly,
                    namespace: export.namespace.map(ToOwned::to_owned),
                    owner: None,
                },
            );
        }
    }

    /// Adds a module's exports.
    pub(crate) fn add_module(&mut self, image: &Image<'_>) {
        let exports = image.exports();
        if exports.is_empty() {
            return;
        }
        let owner = Some(self.owners.len());
        self.owners.push(image.name().unwrap_or_default().to_owned());
        for export in exports {
            let value = self.next();
            let export_of = Export {
                value,
                crc: export.crc,
                gpl_only: export.class == ExportClass::GplOnly,
                namespace: export.namespace.map(ToOwned::to_owned),
                owner,
            };
            self.exports.entry(export.name.to_owned()).or_insert(export_of);
        }
    }

    /// Says that this module is linked now: its own exports are not there yet.
    pub(crate) fn begin(&mut self, image: &Image<'_>) {
        self.own = image.exports().into_iter().map(|export| export.name.to_owned()).collect();
        self.bound.clear();
    }

    fn next(&self) -> u64 {
        self.functions + 64 * self.exports.len() as u64
    }
}

impl SymbolTable for World {
    fn find(&mut self, name: &BStr, gpl_ok: bool) -> Option<Found<'_>> {
        if self.own.contains(name) {
            return None;
        }
        if self.open && !self.exports.contains_key(name) {
            let value = self.next();
            let export = Export { value, crc: None, gpl_only: false, namespace: None, owner: None };
            self.exports.insert(name.to_owned(), export);
        }
        let export = self.exports.get(name).filter(|export| gpl_ok || !export.gpl_only)?;
        let owner = match export.owner {
            None => Owner::Kernel,
            Some(owner) => {
                let name = self.owners[owner].as_bstr();
                Owner::Module { id: OwnerId(owner as u64), name, proprietary: false }
            }
        };
        let namespace = export.namespace.as_ref().map(|namespace| namespace.as_bstr());
        Some(Found { value: export.value, crc: export.crc, gpl_only: export.gpl_only, namespace, owner })
    }

    fn bind(&mut self, owner: OwnerId) -> Result<(), BindError> {
        self.bound.push(owner);
        Ok(())
    }

    fn absent(&mut self, name: &BStr) -> Option<u64> {
        self.absent.push(name.to_owned());
        None
    }
}

/// Where a module goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Where {
    /// Text at 0x1000_0000 and the other parts in the low 2 GiB, as in a process.
    Low,
    /// One after the other in the top 2 GiB, as in a kernel.
    Top,
}

impl Where {
    /// An address for functions.
    pub(crate) fn functions(self) -> u64 {
        match self {
            Where::Low => 0x0800_0000,
            Where::Top => 0xffff_ffff_8100_0000,
        }
    }

    pub(crate) fn place(self, layout: &Layout) -> Placement {
        let mut place = Placement { base: [0; PartKind::COUNT], percpu_offset: 0x3_a000 };
        match self {
            Where::Low => {
                place.base =
                    [0x1000_0000, 0x2000_0000, 0x3000_0000, 0x3800_0000, 0x4000_0000, 0x4800_0000, 0x5000_0000];
            }
            Where::Top => {
                let mut next = 0xffff_ffff_c020_1000u64;
                for kind in PartKind::ALL {
                    place.base[kind as usize] = next;
                    next += layout.size(kind).next_multiple_of(4096);
                }
            }
        }
        place
    }
}
