//! Who exports what to the module that is judged: the kernel, the given modules, the kernel's own modules.

use std::collections::HashSet;

use bstr::BStr;
use ferrmod_image::Image;
use ferrmod_linker::{BindError, Found, Owner, OwnerId, SymbolTable};

use super::candidate::Together;
use super::kernel::Kernel;
use super::verdict::Exporter;

/// A module that could be loaded before: one of the kernel's tree, or one of those that are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    Tree(u32),
    Given(usize),
}

/// Where the numbers of given modules begin.
const GIVEN: u64 = 1 << 32;

impl Place {
    fn id(self) -> OwnerId {
        OwnerId(match self {
            Place::Tree(number) => u64::from(number),
            Place::Given(index) => GIVEN | index as u64,
        })
    }
}

/// An export that the scene has.
#[derive(Clone, Copy)]
pub(super) struct Offered<'s> {
    pub(super) crc: Option<u32>,
    pub(super) gpl_only: bool,
    namespace: Option<&'s BStr>,
    /// `None`: the kernel itself.
    pub(super) place: Option<Place>,
    address: u64,
}

/// Addresses for what other modules export: in the area of modules, above where the judged one is placed.
const EXPORTS: u64 = 0xffff_ffff_e000_0000;

/// The symbols that a module sees.
pub(super) struct Scene<'s> {
    pub(super) kernel: &'s Kernel<'s>,
    pub(super) together: &'s Together,
    /// The (normalised) name of the module itself, whose exports are not there yet.
    pub(super) own_name: String,
    /// The names that it exports.
    pub(super) own_exports: HashSet<Vec<u8>>,
    /// Modules that cannot be loaded.
    pub(super) stopped: HashSet<Place>,
    /// Modules that are loaded before it.
    pub(super) present: HashSet<Place>,
}

impl<'s> Scene<'s> {
    pub(super) fn new(kernel: &'s Kernel<'s>, together: &'s Together, own_name: &str, image: &Image<'_>) -> Scene<'s> {
        Scene {
            kernel,
            together,
            own_name: own_name.to_owned(),
            own_exports: image.exports().iter().map(|export| export.name.to_vec()).collect(),
            stopped: HashSet::new(),
            present: HashSet::new(),
        }
    }

    /// The (normalised) name of a module.
    pub(super) fn name(&self, place: Place) -> &str {
        match place {
            Place::Given(index) => self.together.modules.get(index).map_or("", |given| &given.name),
            Place::Tree(number) => {
                self.kernel.offers().and_then(|offers| offers.module(number)).map_or("", |module| module.name)
            }
        }
    }

    /// The name as the module itself states it, which is the one that messages have.
    fn stated(&self, place: Place) -> &BStr {
        let stated = match place {
            Place::Given(index) => self.together.modules.get(index).map(|given| BStr::new(&given.stated)),
            Place::Tree(number) => {
                self.kernel.offers().and_then(|offers| offers.module(number)).map(|module| module.stated)
            }
        };
        stated.filter(|name| !name.is_empty()).unwrap_or(BStr::new(self.name(place)))
    }

    fn is_gpl(&self, place: Place) -> bool {
        match place {
            Place::Given(index) => self.together.modules.get(index).is_some_and(|given| given.gpl),
            Place::Tree(number) => {
                self.kernel.offers().and_then(|offers| offers.module(number)).is_some_and(|module| module.gpl)
            }
        }
    }

    /// The module of this (normalised) name.
    pub(super) fn module(&self, name: &str) -> Option<Place> {
        if let Some(&index) = self.together.by_name.get(name) {
            return Some(Place::Given(index));
        }
        self.kernel.offers().and_then(|offers| offers.find_module(name)).map(Place::Tree)
    }

    /// Everybody but the module itself who exports `symbol`, loadable or not, the kernel first.
    pub(super) fn exporters<'n>(&'n self, symbol: &BStr) -> impl Iterator<Item = Offered<'n>> + use<'n, 's> {
        let core = self.kernel.export(symbol).map(|export| Offered {
            crc: export.crc,
            gpl_only: export.gpl_only,
            namespace: export.namespace,
            place: None,
            address: export.address,
        });
        core.into_iter().chain(self.modules_exporting(symbol))
    }

    /// The same without the kernel.
    pub(super) fn modules_exporting<'n>(&'n self, symbol: &BStr) -> impl Iterator<Item = Offered<'n>> + use<'n, 's> {
        let given = self.together.by_symbol.get(symbol.as_ref() as &[u8]).into_iter().flatten().map(|export| Offered {
            crc: export.crc,
            gpl_only: export.gpl_only,
            namespace: export.namespace.as_ref().map(BStr::new),
            place: Some(Place::Given(export.module)),
            address: EXPORTS,
        });
        let tree =
            self.kernel.offers().map(|offers| offers.exporters(symbol)).into_iter().flatten().map(|offer| Offered {
                crc: offer.crc,
                gpl_only: offer.gpl_only,
                namespace: offer.namespace,
                place: Some(Place::Tree(offer.module)),
                address: EXPORTS,
            });
        given.chain(tree).filter(|offered| {
            let name = offered.place.map_or("", |place| self.name(place));
            // A given module stands for the tree's of the same name.
            let hidden = matches!(offered.place, Some(Place::Tree(_))) && self.together.by_name.contains_key(name);
            !hidden && name != self.own_name
        })
    }

    /// Who exports `symbol` to the module.
    pub(super) fn find_offered<'n>(&'n self, symbol: &BStr, gpl_ok: bool) -> Option<Offered<'n>> {
        let own = self.own_exports.contains(symbol.as_ref() as &[u8]);
        self.exporters(symbol).find(|offered| {
            let loadable = offered
                .place
                .is_none_or(|place| !self.stopped.contains(&place) && (!own || self.present.contains(&place)));
            loadable && (gpl_ok || !offered.gpl_only)
        })
    }

    /// Who that is, in words.
    pub(super) fn exporter(&self, offered: &Offered<'_>) -> Exporter {
        Exporter { kernel: self.kernel.release.clone(), module: offered.place.map(|place| self.name(place).to_owned()) }
    }
}

impl SymbolTable for Scene<'_> {
    fn find(&mut self, name: &BStr, gpl_ok: bool) -> Option<Found<'_>> {
        let scene = &*self;
        let Offered { crc, gpl_only, namespace, place, address } = scene.find_offered(name, gpl_ok)?;
        let owner = match place {
            None => Owner::Kernel,
            Some(place) => {
                Owner::Module { id: place.id(), name: scene.stated(place), proprietary: !scene.is_gpl(place) }
            }
        };
        Some(Found { value: address, crc, gpl_only, namespace, owner })
    }

    fn bind(&mut self, owner: OwnerId) -> Result<(), BindError> {
        let place = match owner.0.checked_sub(GIVEN) {
            Some(index) => Place::Given(usize::try_from(index).unwrap_or(usize::MAX)),
            None => Place::Tree(u32::try_from(owner.0).unwrap_or(u32::MAX)),
        };
        self.present.insert(place);
        Ok(())
    }

    fn absent(&mut self, _name: &BStr) -> Option<u64> {
        None
    }
}
