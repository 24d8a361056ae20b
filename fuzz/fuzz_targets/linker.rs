//! The linker: whatever the bytes are, a module is linked or refused, and nothing panics.
//!
//! The first byte chooses the terms, the rest is the module. Seeds: any `.ko` with a byte before it.
#![no_main]

use std::cell::RefCell;

use bstr::BStr;
use ferrmod_image::Image;
use ferrmod_linker::check::{Flags, Host, check};
use ferrmod_linker::{
    BindError, Found, Layout, LayoutOptions, Owner, OwnerId, PartBuffers, PartKind, Placement,
    SymbolTable, Taints, Terms, link,
};
use libfuzzer_sys::fuzz_target;

/// Offers what its bits say, at addresses that come from the name.
struct Offers {
    bits: u8,
    functions: u64,
}

impl SymbolTable for Offers {
    fn find(&mut self, name: &BStr, gpl_ok: bool) -> Option<Found<'_>> {
        let hash = name.iter().fold(u64::from(self.bits), |hash, &byte| {
            hash.wrapping_mul(31).wrapping_add(byte.into())
        });
        let gpl_only = hash % 5 == 0;
        if name.starts_with(b"e") || (gpl_only && !gpl_ok) {
            return None;
        }
        let owner = Owner::Module {
            id: OwnerId(hash % 3),
            name: BStr::new("owner"),
            proprietary: hash % 7 == 0,
        };
        Some(Found {
            value: self.functions + hash % 0x10_0000 * 16,
            crc: (hash % 11 == 0).then_some(hash as u32),
            gpl_only,
            namespace: (hash % 13 == 0).then_some(BStr::new("NS")),
            owner: if hash % 2 == 0 { Owner::Kernel } else { owner },
        })
    }

    fn bind(&mut self, owner: OwnerId) -> Result<(), BindError> {
        match owner.0 + u64::from(self.bits & 4) {
            5 => Err(BindError::Again),
            6 => Err(BindError::Going),
            _ => Ok(()),
        }
    }

    fn absent(&mut self, _: &BStr) -> Option<u64> {
        (self.bits & 8 != 0).then_some(self.functions)
    }
}

thread_local! {
    static BUFFERS: RefCell<PartBuffers> = RefCell::new(PartBuffers::new());
}

fuzz_target!(|data: &[u8]| {
    let Some((&bits, bytes)) = data.split_first() else {
        return;
    };
    let Ok(image) = Image::read(bytes) else {
        return;
    };
    let host = Host {
        vermagic: BStr::new("6.1.0-56-amd64 SMP preempt mod_unload modversions "),
        module_layout: Some(1),
        force_load: bits & 16 != 0,
        retpoline: true,
        livepatch: bits & 32 != 0,
    };
    let flags = Flags {
        ignore_modversions: bits & 1 != 0,
        ignore_vermagic: bits & 2 != 0,
    };
    let taints = match check(&image, &host, flags) {
        Ok(report) => report.taints,
        Err(refused) => {
            drop(refused.to_string());
            Taints::NONE
        }
    };
    let got = bits & 64 != 0;
    let Ok(layout) = Layout::with(&image, LayoutOptions { got }) else {
        return;
    };
    // Larger ones would only be slow.
    if layout.pages_size() > 16 << 20 {
        return;
    }
    let mut placement = Placement {
        base: [0; PartKind::COUNT],
        percpu_offset: 0x3_a000,
    };
    let mut next = if bits & 128 != 0 {
        0x1000_0000
    } else {
        0xffff_ffff_c000_0000
    };
    for kind in PartKind::ALL {
        placement.base[kind as usize] = next;
        next += layout.size(kind).next_multiple_of(4096);
    }
    let features = [u32::from(bits) * 0x0101_0101; 22];
    let mut terms = Terms::new(&image, taints);
    terms.ignore_modversions = flags.ignore_modversions;
    terms.force_load = host.force_load;
    terms.got = got;
    terms.features = (bits & 16 != 0).then_some(&features[..]);
    let mut offers = Offers {
        bits,
        functions: placement.base[0],
    };
    BUFFERS.with_borrow_mut(|buffers| {
        let mut parts = buffers.parts(&layout);
        match link(&image, &layout, &placement, &mut offers, &terms, &mut parts) {
            Ok(mut linked) => {
                let core = placement.base[PartKind::Text as usize];
                let _ = linked.symbol_at(core);
                linked.symbols().for_each(drop);
                for branch in &linked.branches {
                    // What was checked: a site has two bytes of code at least.
                    assert!(linked.text_contains(branch.site).is_some());
                    let _ = branch.code(&[0xe9, 0, 0, 0, 0], bits & 1 != 0);
                }
                for export in &linked.exports {
                    assert!(!linked.name(export.name).is_empty());
                }
                linked.forget_init();
            }
            Err(refused) => {
                assert!(refused.errno() > 0);
                refused
                    .report
                    .notices
                    .iter()
                    .for_each(|notice| drop(notice.to_string()));
            }
        }
    });
});
