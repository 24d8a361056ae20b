//! The linker takes them, in the low 2 GiB of a process and in the top 2 GiB of a machine.

use bstr::BStr;
use ferrmod_image::Image;
use ferrmod_linker::{
    BindError, Found, Layout, LayoutOptions, Owner, OwnerId, PartBuffers, PartKind, Placement, SymbolTable, Terms,
    check, link,
};
use ferrmod_sdk_build::{EXAMPLES, module};

struct Everything {
    functions: u64,
    asked: Vec<String>,
}

impl SymbolTable for Everything {
    fn find(&mut self, name: &BStr, _gpl_ok: bool) -> Option<Found<'_>> {
        if name == "answer_to" {
            return None;
        }
        self.asked.push(name.to_string());
        Some(Found { value: self.functions, crc: None, gpl_only: false, namespace: None, owner: Owner::Kernel })
    }

    fn bind(&mut self, _owner: OwnerId) -> Result<(), BindError> {
        Ok(())
    }

    fn absent(&mut self, _name: &BStr) -> Option<u64> {
        Some(self.functions)
    }
}

fn linked_at(file: &[u8], functions: u64, mut next: u64) {
    let image = Image::read(file).unwrap();
    let layout = Layout::with(&image, LayoutOptions { got: true }).unwrap();
    let mut place = Placement::default();
    for kind in PartKind::ALL {
        place.base[kind as usize] = next;
        next += layout.size(kind).next_multiple_of(4096) + 0x10_0000;
    }
    let mut symbols = Everything { functions, asked: Vec::new() };
    let terms = Terms { got: true, ..Terms::new(&image, ferrmod_linker::Taints::default()) };
    let mut buffers = PartBuffers::new();
    let mut parts = buffers.parts(&layout);
    let linked =
        link(&image, &layout, &place, &mut symbols, &terms, &mut parts).unwrap_or_else(|refused| panic!("{refused:?}"));
    let text = place.base[PartKind::InitText as usize];
    let init = linked.init.unwrap();
    assert!((text..text + layout.size(PartKind::InitText)).contains(&init), "{init:#x}");
    assert!(linked.exit.is_some());
    assert!(symbols.asked.iter().any(|name| name == "ferrmod_log"));
}

#[test]
fn low_and_high() {
    for name in EXAMPLES {
        let file = module(name);
        linked_at(&file, 0x1000_0000, 0x2000_0000);
        linked_at(&file, 0xffff_ffff_8010_0000, 0xffff_ffff_c000_0000);
    }
}

#[test]
fn their_kernel_accepts_them() {
    let host = check::Host {
        vermagic: BStr::new(ferrmod_boundary::VERMAGIC),
        module_layout: Some(ferrmod_boundary::MODULE_LAYOUT),
        force_load: false,
        retpoline: false,
        livepatch: false,
    };
    for name in EXAMPLES {
        let file = module(name);
        let image = Image::read(&file).unwrap();
        let report = check::check(&image, &host, check::Flags::default()).unwrap();
        assert!(report.notices.is_empty(), "{name}: {:?}", report.notices);
        let newer = check::Host { module_layout: Some(1), ..host };
        assert!(check::check(&image, &newer, check::Flags::default()).is_err());
    }
}
