//! The recording of a stock Linux 6.1, replayed: every load that reaches the linker must end as it did there, with the same
//! lines in the log, the same symbols and the same size.

mod world;

use std::collections::HashMap;

use bstr::{BStr, ByteSlice};
use ferrmod_image::Image;
use ferrmod_image::kernel::KernelImage;
use ferrmod_linker::check::{self, Flags, Host};
use ferrmod_linker::{
    BindError, Found, Layout, Linked, Notice, Owner, OwnerId, PartBuffers, Refused, Repeat, Report, SymbolTable,
    Taints, Terms, link,
};
use ferrmod_tests::corpus;
use ferrmod_tests::oracle::{self, CallKind, Line};
use world::{Where, World};

/// A module that is live.
struct Live {
    name: String,
    linked: Linked,
    taints: Taints,
}

/// As much of a kernel as the recording needs: exports, live modules, and what was said already.
struct Kernel {
    world: World,
    /// Oldest first.
    live: Vec<Live>,
    taints: Taints,
    said: Vec<Notice>,
}

/// What the module that is being linked sees.
struct Symbols<'k> {
    world: &'k mut World,
    live: &'k [Live],
}

impl SymbolTable for Symbols<'_> {
    fn find(&mut self, name: &BStr, gpl_ok: bool) -> Option<Found<'_>> {
        if self.world.exports.get(name).is_some_and(|export| gpl_ok || !export.gpl_only) {
            return self.world.find(name, gpl_ok);
        }
        self.live.iter().enumerate().rev().find_map(|(id, module)| {
            let export = module.linked.export(name).filter(|export| gpl_ok || !export.gpl_only)?;
            Some(Found {
                value: export.value,
                crc: export.crc,
                gpl_only: export.gpl_only,
                namespace: export.namespace.map(|namespace| module.linked.name(namespace)),
                owner: Owner::Module {
                    id: OwnerId(id as u64),
                    name: BStr::new(module.name.as_bytes()),
                    proprietary: module.taints.contains(Taints::PROPRIETARY),
                },
            })
        })
    }

    fn bind(&mut self, _: OwnerId) -> Result<(), BindError> {
        Ok(())
    }

    fn absent(&mut self, _: &BStr) -> Option<u64> {
        None
    }
}

impl Kernel {
    /// The lines of a report that are printed, as `<level> text`.
    fn print(&mut self, report: &Report) -> Vec<(u8, String)> {
        let mut lines = Vec::new();
        for notice in &report.notices {
            let printed = match notice.repeat() {
                Repeat::Always => true,
                Repeat::UnlessTainted(taint) => !self.taints.contains(taint),
                Repeat::Once => !self.said.contains(notice),
            };
            self.taints.insert(notice.taint());
            if printed {
                self.said.push(notice.clone());
                lines.extend(notice.to_string().lines().map(|line| (notice.level() as u8, line.to_owned())));
            }
        }
        self.taints.insert(report.taints);
        lines
    }

    fn load(&mut self, image: &Image<'_>, flags: u32, lines: &mut Vec<(u8, String)>) -> Result<Live, Refused> {
        let flags = Flags { ignore_modversions: flags & 1 != 0, ignore_vermagic: flags & 2 != 0 };
        let module_layout = self.world.exports.get(BStr::new("module_layout")).and_then(|export| export.crc);
        let vermagic = self.world.vermagic.clone();
        let host =
            Host { vermagic: vermagic.as_bstr(), module_layout, force_load: true, retpoline: true, livepatch: true };
        let checked =
            check::check(image, &host, flags).inspect_err(|refused| lines.extend(self.print(&refused.report)))?;
        lines.extend(self.print(&checked));
        let refused = |error| Refused::from(error);
        let layout =
            Layout::of(image).map_err(refused).inspect_err(|refused| lines.extend(self.print(&refused.report)))?;
        let place = Where::Top.place(&layout);
        let mut buffers = PartBuffers::new();
        let terms = Terms { ignore_modversions: flags.ignore_modversions, ..Terms::new(image, checked.taints) };
        let mut symbols = Symbols { world: &mut self.world, live: &self.live };
        let linked = link(image, &layout, &place, &mut symbols, &terms, &mut buffers.parts(&layout))
            .inspect_err(|refused| lines.extend(self.print(&refused.report)))?;
        lines.extend(self.print(&linked.report));
        let taints = linked.report.taints;
        Ok(Live { name: image.name().unwrap_or_default().to_string(), linked, taints })
    }
}

/// Whether a line of the log is the linker's to say. The others come from modules, parameters, signatures and the kernel.
fn is_ours(text: &str) -> bool {
    const MARKS: [&str; 11] = [
        "taints kernel",
        "kernel tainted",
        "Disabling lock debugging",
        "disagrees about version",
        "no symbol version",
        "Unknown symbol",
        "inheriting taint",
        "proprietary module",
        "version magic",
        "exports duplicate",
        "does not import it",
    ];
    !text.contains("verification failed") && MARKS.iter().any(|mark| text.contains(mark))
}

/// Hides what differs from boot to boot: a hashed address, and the address of a kernel function.
fn comparable(text: &str) -> String {
    match text.split_once(", loc ") {
        Some((head, _)) => head.to_owned(),
        None => text.to_owned(),
    }
}

/// Cases whose answer comes from elsewhere: the system call's own checks, signatures, the blacklist, the waiting for a
/// module that is still initialising.
fn is_elsewhere(title: &str, file: &str, flags: u32, result: i64) -> bool {
    flags & !3 != 0
        || matches!(result, -129 | -74 | -17 | -1)
        || file == "blk.ko"
        || title.starts_with("concurrency")
        || title.starts_with("modules_disabled")
}

#[test]
fn ends_as_in_the_recording() {
    let Some(tree) = corpus::tree_or_skip("6.1") else {
        return;
    };
    if corpus::own_module_or_skip("base").is_none() {
        return;
    }
    let kernel_file = std::fs::read(&tree.vmlinuz).expect("a readable kernel");
    let mut world = World::at(Where::Top.functions());
    world.add_kernel(&KernelImage::read(&kernel_file).expect("a kernel image"));
    let mut kernel = Kernel { world, live: Vec::new(), taints: Taints::NONE, said: Vec::new() };

    let mut sources: HashMap<&str, Vec<u8>> = HashMap::new();
    let (mut linked_count, mut refused_count, mut symbols_count, mut sizes_count) = (0, 0, 0, 0);
    for case in oracle::cases(oracle::TEXT).expect("a recording") {
        let Some(call) = case.call else { continue };
        let at = || format!("line {}: {} ({})", case.number, call.target, case.title);
        if call.kind == CallKind::Delete {
            if call.result == 0 {
                kernel.live.retain(|module| module.name != call.target);
            }
            continue;
        }
        let Some(file) = call.file() else { continue };
        let flags = call.flags.unwrap_or(0);
        if is_elsewhere(case.title, file, flags, call.result) || call.kind == CallKind::BackgroundFinit {
            continue;
        }
        let source = oracle::source_of(file).unwrap_or_else(|| panic!("{}", at()));
        let source = sources.entry(source).or_insert_with(|| {
            let path = match source {
                "nls_cp437" => tree.file(source),
                own => corpus::own_module(own),
            };
            std::fs::read(path.unwrap_or_else(|| panic!("no {source}.ko"))).expect("a readable module")
        });
        let bytes = oracle::mutate(file, source).unwrap_or_else(|| panic!("{}: cannot be made", at()));
        let Ok(image) = Image::read(&bytes) else {
            // What is refused while it is read is the business of ferrmod-image.
            assert!(call.result == -8 || bytes.is_empty(), "{}", at());
            continue;
        };
        let mut lines = Vec::new();
        let loaded = kernel.load(&image, flags, &mut lines);
        let lines: Vec<(u8, String)> = lines.into_iter().map(|(level, text)| (level, comparable(&text))).collect();
        let recorded = |ours: bool| {
            let log = case.log.iter().filter(|line| !ours || is_ours(line.text));
            log.map(|line| (line.level, comparable(line.text))).collect::<Vec<_>>()
        };
        match loaded {
            Ok(module) => {
                assert_eq!(lines, recorded(true), "{}", at());
                // Parameters and init functions may still fail; only with parameters does the recording do so.
                assert!(call.result >= 0 || !call.arguments.is_empty(), "{}: answered {}", at(), call.result);
                linked_count += 1;
                if call.result >= 0 {
                    symbols_count += compare_symbols(&module, &case);
                    kernel.live.push(module);
                    for seen in case.modules.iter().filter(|seen| seen.state == "Live") {
                        let module = kernel.live.iter().find(|module| module.name == seen.name);
                        let module = module.unwrap_or_else(|| panic!("{}: {} is not live", at(), seen.name));
                        assert_eq!(module.linked.core_size, seen.size, "{}: size of {}", at(), seen.name);
                        sizes_count += 1;
                    }
                }
            }
            Err(refused) => {
                assert_eq!(i64::from(-refused.errno()), call.result, "{}: {refused}", at());
                assert_eq!(lines, recorded(false), "{}", at());
                refused_count += 1;
            }
        }
    }
    println!("{linked_count} linked, {refused_count} refused, {symbols_count} symbols, {sizes_count} sizes compared");
    assert!(linked_count >= 105 && refused_count >= 17 && symbols_count >= 68 && sizes_count >= 10);
}

/// Compares the lines of `/proc/kallsyms` the recording has for this module: order, address and letter.
fn compare_symbols(module: &Live, case: &oracle::Case<'_>) -> usize {
    let recorded: Vec<(u64, char, &str)> = case
        .seen
        .iter()
        .filter_map(|line| match line {
            Line::Symbol { address, kind, name, module: owner } if *owner == module.name => {
                Some((*address, *kind, *name))
            }
            _ => None,
        })
        .collect();
    if recorded.is_empty() {
        return 0;
    }
    let ours: Vec<(u64, char, String)> = module
        .linked
        .symbols()
        .filter(|symbol| !symbol.init)
        .map(|symbol| (symbol.address, symbol.kind, symbol.name.to_string()))
        .collect();
    // The module was built a second time: a number the compiler made up differs, and so do the lengths of read-only strings
    // and with them the places behind those; everything else lies where it lay.
    let comparable = |(address, kind, name): (u64, char, String)| {
        let address = if kind == 'r' { address & !0xfff } else { address };
        let name = match name.starts_with("__UNIQUE_ID") {
            true => name.trim_end_matches(|digit: char| digit.is_ascii_digit()).to_owned(),
            false => name,
        };
        (address, kind, name)
    };
    let recorded: Vec<_> =
        recorded.into_iter().map(|(address, kind, name)| comparable((address, kind, name.to_owned()))).collect();
    let ours: Vec<_> = ours.into_iter().map(comparable).collect();
    assert_eq!(ours, recorded);
    recorded.len()
}
