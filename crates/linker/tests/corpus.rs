//! Every module of two real trees links, and every field says what its relocation asked for.

mod world;

use std::collections::HashSet;
use std::path::Path;

use bstr::ByteSlice;
use ferrmod_image::Image;
use ferrmod_image::kernel::KernelImage;
use ferrmod_linker::check::{self, Flags, Host};
use ferrmod_linker::{Layout, Linked, PartBuffers, PartKind, Placement, Taints, Terms, link, orc};
use object::LittleEndian as LE;
use world::{Where, World};

/// In debug builds only every so-many-th module is linked, so that `cargo test` stays quick.
fn step() -> usize {
    match std::env::var("FERRMOD_CORPUS_STEP") {
        Ok(step) => step.parse().expect("a number in FERRMOD_CORPUS_STEP"),
        Err(_) if cfg!(debug_assertions) => 23,
        Err(_) => 1,
    }
}

fn links(version: &str, at_least: usize) {
    let Some(tree) = ferrmod_tests::corpus::tree_or_skip(version) else {
        return;
    };
    let kernel_file = std::fs::read(&tree.vmlinuz).expect("a readable kernel");
    let kernel = KernelImage::read(&kernel_file).expect("a kernel image");
    let paths = tree.files();
    assert!(paths.len() >= at_least, "only {} modules of {version}", paths.len());
    let step = step();
    let files: Vec<Vec<u8>> = paths.iter().step_by(step).map(|path| world::read(path)).collect();
    for place in [Where::Low, Where::Top] {
        let mut world = World::at(place.functions());
        world.add_kernel(&kernel);
        world.open = step > 1;
        // Exporters first: any module may use any other.
        for file in &files {
            world.add_module(&Image::read(file).expect("a sound module"));
        }
        let module_layout = world.exports.get("module_layout".as_bytes().as_bstr()).and_then(|export| export.crc);
        let vermagic = world.vermagic.clone();
        let host =
            Host { vermagic: vermagic.as_bstr(), module_layout, force_load: false, retpoline: true, livepatch: true };
        let mut buffers = PartBuffers::new();
        let (mut linked_modules, mut patched, mut found) = (0, 0, 0);
        for (path, file) in paths.iter().step_by(step).zip(&files) {
            let image = Image::read(file).expect("a sound module");
            let report = check::check(&image, &host, Flags::default())
                .unwrap_or_else(|refused| panic!("{}: {refused}", path.display()));
            assert!(
                report.taints == Taints::NONE || report.taints == Taints::STAGING || report.taints == Taints::TEST,
                "{}: {report:?}",
                path.display()
            );
            let layout = Layout::of(&image).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let placement = place.place(&layout);
            world.begin(&image);
            let terms = Terms { force_load: false, ..Terms::new(&image, report.taints) };
            let mut parts = buffers.parts(&layout);
            let linked = link(&image, &layout, &placement, &mut world, &terms, &mut parts)
                .unwrap_or_else(|refused| panic!("{}: {refused}: {:?}", path.display(), refused.report));
            assert!(linked.report.notices.is_empty(), "{}: {:?}", path.display(), linked.report);
            check_fields(path, &image, &layout, &placement, &world, &linked, &buffers);
            check_facts(path, &image, &linked, &placement);
            patched += check_patched(path, &image, &layout, &placement, &buffers);
            found += check_unwinding(&linked, &layout, &placement, &buffers);
            linked_modules += 1;
        }
        assert!(linked_modules >= at_least / step);
        println!("{version}: {linked_modules} modules, {patched} branches made direct, {found} functions found by ORC");
        assert!(patched > 20 * linked_modules && found > 20 * linked_modules);
    }
}

/// What the module is linked against, computed a second time from the file alone.
fn symbol_value(image: &Image<'_>, layout: &Layout, place: &Placement, world: &World, index: usize) -> u64 {
    let symbol = &image.symbols()[index];
    let value = symbol.st_value.get(LE);
    match symbol.st_shndx.get(LE).0 {
        0 if index == 0 => 0,
        0 => match world.exports.get(image.symbol_name(symbol)) {
            Some(export) => export.value,
            None => 0,
        },
        0xfff1 => value,
        section if image.sections()[usize::from(section)].name == ".data..percpu" => place.percpu_offset + value,
        section => layout.sections[usize::from(section)].map_or(0, |section| place.address(section)) + value,
    }
}

/// Reads every relocated field back and compares it with what its relocation says, where no fix-up was applied.
fn check_fields(
    path: &Path,
    image: &Image<'_>,
    layout: &Layout,
    place: &Placement,
    world: &World,
    linked: &Linked,
    buffers: &PartBuffers,
) {
    let mut changed = 0u32;
    for (target, relocations) in image.relocations() {
        let Some(section) = layout.sections[target] else {
            continue;
        };
        // Sorted, so its entries are elsewhere.
        if image.sections()[target].name == ".orc_unwind_ip" {
            continue;
        }
        for rela in relocations {
            let offset = rela.r_offset.get(LE);
            let at = section.offset as usize + offset as usize;
            let bytes = &buffers.bytes(section.part)[at..];
            let p = place.address(section) + offset;
            let s = symbol_value(image, layout, place, world, rela.r_sym(LE, false) as usize);
            let wanted = s.wrapping_add_signed(rela.r_addend.get(LE));
            let four = || i64::from(i32::from_le_bytes(bytes[..4].try_into().unwrap())) as u64;
            let eight = || u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let found = match rela.r_type(LE, false).0 {
                0 => continue,
                1 => eight(),
                2 | 4 => four().wrapping_add(p),
                11 => four(),
                24 => eight().wrapping_add(p),
                kind => panic!("{}: relocation type {kind}", path.display()),
            };
            if found != wanted {
                let name = image.symbol_name(&image.symbols()[rela.r_sym(LE, false) as usize]);
                let patched = name == "__fentry__" || name.starts_with(b"__x86_");
                assert!(
                    patched,
                    "{}: section {target} offset {offset:#x}: {found:#x} is not {wanted:#x}",
                    path.display()
                );
                changed += 1;
            }
        }
    }
    let fentry = linked.fentry_nops;
    assert!(changed >= fentry, "{}: {changed} fields changed, {fentry} calls of __fentry__", path.display());
}

/// Decodes every place where a thunk was called: the new instruction must do what the thunk did.
fn check_patched(path: &Path, image: &Image<'_>, layout: &Layout, place: &Placement, buffers: &PartBuffers) -> usize {
    let mut count = 0;
    let mut sites = HashSet::new();
    if let Some((index, table)) = image.section(".retpoline_sites") {
        let at = layout.sections[index].expect("a place");
        for entry in 0..table.size / 4 {
            let bytes = &buffers.bytes(at.part)[at.offset as usize + 4 * entry as usize..];
            let distance = i32::from_le_bytes(bytes[..4].try_into().unwrap());
            sites.insert((place.address(at) + 4 * entry).wrapping_add_signed(distance.into()));
        }
    }
    for (target, relocations) in image.relocations() {
        let Some(section) = layout.sections[target] else {
            continue;
        };
        if !section.part.is_text() {
            continue;
        }
        let bytes = &buffers.bytes(section.part)[section.offset as usize..];
        let original = image.sections()[target].data;
        for rela in relocations {
            let name = image.symbol_name(&image.symbols()[rela.r_sym(LE, false) as usize]);
            let field = rela.r_offset.get(LE) as usize;
            let decode = |at: usize| {
                let ip = place.address(section) + at as u64;
                iced_x86::Decoder::with_ip(64, &bytes[at..], ip, iced_x86::DecoderOptions::NONE).decode()
            };
            if name == "__x86_return_thunk" && original[field - 1] == 0xe9 {
                let mnemonic = decode(field - 1).mnemonic();
                assert_eq!(mnemonic, iced_x86::Mnemonic::Ret, "{}: {target} {field:#x}", path.display());
                count += 1;
            } else if let Some(register) = name.strip_prefix(b"__x86_indirect_thunk_") {
                let is_site = |start: &usize| sites.contains(&(place.address(section) + *start as u64));
                let start = [field - 1, field - 2].into_iter().find(is_site).expect("a site in the table");
                let mut new = decode(start);
                let conditional = original[start] == 0x0f;
                if conditional {
                    // The condition is the opposite one, and skips the jump.
                    assert_eq!(new.near_branch_target(), place.address(section) + field as u64 + 4);
                    assert_eq!(bytes[start] & 0x0f, (original[start + 1] & 0x0f) ^ 1);
                    new = decode(start + 2);
                }
                let call = original[field - 1] == 0xe8;
                assert_eq!(new.flow_control() == iced_x86::FlowControl::IndirectCall, call, "{}", path.display());
                assert_eq!(format!("{:?}", new.op0_register()).to_lowercase().as_bytes(), register);
                count += 1;
            }
        }
    }
    count
}

/// The unwind table knows the first instruction of every traced function: its frame is just the return address.
fn check_unwinding(linked: &Linked, layout: &Layout, place: &Placement, buffers: &PartBuffers) -> usize {
    let Some(table) = linked.orc else { return 0 };
    let mut read = |address: u64, into: &mut [u8]| {
        PartKind::ALL.into_iter().any(|kind| {
            let offset = address.wrapping_sub(place.base[kind as usize]);
            let Some(bytes) = buffers.bytes(kind).get(offset as usize..).and_then(|rest| rest.get(..into.len())) else {
                return false;
            };
            if offset < layout.size(kind) {
                into.copy_from_slice(bytes);
            }
            offset < layout.size(kind)
        })
    };
    let mut count = 0;
    for symbol in linked.symbols().filter(|symbol| symbol.kind == 't' && symbol.size > 5) {
        // Padding and data in text have no entry; a function's first instruction does.
        let entry = table.find(symbol.address, &mut read);
        let is_entry = |entry: orc::Entry| entry.kind == orc::FrameKind::Call && entry.sp_base == orc::Base::Sp;
        count += usize::from(entry.is_some_and(|entry| is_entry(entry) && entry.sp_offset == 8));
    }
    count
}

/// What is remembered agrees with what the image says.
fn check_facts(path: &Path, image: &Image<'_>, linked: &Linked, place: &Placement) {
    let exports = image.exports();
    assert_eq!(linked.exports.len(), exports.len(), "{}", path.display());
    for export in &exports {
        let found = linked.export(export.name).unwrap_or_else(|| panic!("{}: {}", path.display(), export.name));
        assert_eq!(found.crc, export.crc);
        assert_eq!(found.namespace.map(|namespace| linked.name(namespace)), export.namespace);
        assert_eq!(found.gpl_only, export.class == ferrmod_image::ExportClass::GplOnly);
    }
    // A module whose functions cannot be traced has none; one that can has them all turned into NOPs.
    assert_eq!(linked.tables.mcount.count, linked.fentry_nops, "{}", path.display());
    if let Some(init) = linked.init {
        assert!(linked.text_contains(init).is_some(), "{}: init at {init:#x}", path.display());
    }
    assert!(linked.this_module.address >= place.base[PartKind::Data as usize], "{}", path.display());
    assert!(linked.orc.is_some() || image.section(".orc_unwind").is_none());
    assert!(linked.branches.is_sorted_by_key(|_| 0) && linked.bugs.is_sorted_by_key(|bug| bug.address));
    assert!(linked.deferred.is_empty());
}

#[test]
fn every_module_of_6_1_links() {
    links("6.1", 4023);
}

#[test]
fn every_module_of_6_12_links() {
    links("6.12", 4227);
}
