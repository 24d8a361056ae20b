//! Real modules, linked and run: checksums with known answers, and a compressor that is unwound at every instruction.

mod world;

use std::arch::asm;
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};

use bstr::{BStr, ByteSlice};
use ferrmod_image::Image;
use ferrmod_linker::bridge::{self, Kind};
use ferrmod_linker::orc::{Frame, Lost, Scratch, Table, Unwinder};
use ferrmod_linker::{Layout, Linked, PartBuffers, PartKind, Taints, Terms, link};
use ferrmod_tests::corpus;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
use world::{Export, Where, World};

/// Maps memory at an address and copies bytes to it.
fn put(address: u64, bytes: &[u8], executable: bool) {
    if bytes.is_empty() {
        return;
    }
    let (address, size) = (address as *mut c_void, bytes.len());
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: nothing is replaced; the new mapping is as long as the bytes copied to it, and code is made executable only once
    // it is written.
    unsafe {
        mmap_anonymous(address, size, protection, MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE).expect("memory");
        address.cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), size);
        if executable {
            mprotect(address, size, MprotectFlags::READ | MprotectFlags::EXEC).expect("executable");
        }
    }
}

/// Links a module of the corpus and puts it where it was linked for, in `slot` of the low addresses.
fn load(version: &str, name: &str, slot: u64) -> Option<Linked> {
    let tree = corpus::tree_or_skip(version)?;
    let bytes = world::read(&tree.file(name).expect("every tree has this module"));
    let image = Image::read(&bytes).expect("a sound module");
    let layout = Layout::of(&image).expect("a layout");
    let mut place = Where::Low.place(&layout);
    place.base.iter_mut().for_each(|base| *base += slot << 20);
    // One bridge an import. Those of thunks are never called, because their calls were replaced.
    let mut world = World::at(0x0800_0000 + (slot << 20));
    let mut bridges = Vec::new();
    for import in image.imports() {
        let target = match import.name.as_bytes() {
            b"memcpy" => libc::memcpy as *const () as u64,
            b"memmove" => libc::memmove as *const () as u64,
            b"memset" => libc::memset as *const () as u64,
            _ => 0,
        };
        let value = world.functions + bridges.len() as u64;
        bridges.extend(bridge::emit(Kind::PLAIN, target, 0x40));
        let export = Export { value, crc: None, gpl_only: false, namespace: None, owner: None };
        world.exports.insert(import.name.to_owned(), export);
    }
    put(world.functions, &bridges, true);
    let mut buffers = PartBuffers::new();
    let terms = Terms::new(&image, Taints::NONE);
    let linked = link(&image, &layout, &place, &mut world, &terms, &mut buffers.parts(&layout)).expect("linked");
    for kind in PartKind::ALL {
        put(place.base[kind as usize], buffers.bytes(kind), kind.is_text());
    }
    Some(linked)
}

fn function(linked: &Linked, name: &str) -> u64 {
    linked.export(BStr::new(name)).unwrap_or_else(|| panic!("no {name}")).value
}

#[test]
fn checksums_compute() {
    const TEXT: &[u8] = b"123456789";
    for (slot, version) in (0..).zip(["6.1", "6.12"]) {
        if let Some(crc7) = load(version, "crc7", 2 * slot) {
            // SAFETY: `u8 crc7_be(u8 crc, const u8 *buffer, size_t length)`, at the address it was linked for; it needs no stack
            // protector and no per-CPU data.
            let crc7_be: extern "C" fn(u8, *const u8, usize) -> u8 =
                unsafe { std::mem::transmute(function(&crc7, "crc7_be")) };
            // CRC-7/MMC has 0x75 for this text; the kernel keeps it in the upper seven bits.
            assert_eq!(crc7_be(0, TEXT.as_ptr(), TEXT.len()), 0x75 << 1, "{version}");
        }
        if let Some(itu) = load(version, "crc_itu_t", 2 * slot + 1) {
            // SAFETY: `u16 crc_itu_t(u16 crc, const u8 *buffer, size_t length)`, as above.
            let crc_itu_t: extern "C" fn(u16, *const u8, usize) -> u16 =
                unsafe { std::mem::transmute(function(&itu, "crc_itu_t")) };
            // CRC-16/XMODEM and CRC-16/CCITT-FALSE.
            assert_eq!(crc_itu_t(0, TEXT.as_ptr(), TEXT.len()), 0x31c3, "{version}");
            assert_eq!(crc_itu_t(0xffff, TEXT.as_ptr(), TEXT.len()), 0x29b1, "{version}");
        }
    }
}

/// What the trap handler knows and learns. It runs on the thread that set it up, between two instructions of module code.
struct Watch {
    table: Table,
    /// Return address and stack pointer of the frame that called into the module, once it is known.
    outside: Option<(u64, u64)>,
    steps: u64,
    deepest: u32,
    /// The first step that did not unwind, and how it ended.
    failure: Option<(u64, Result<Frame, Lost>)>,
}

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
    static GS: Cell<[u64; 64]> = const { Cell::new([0x5eed; 64]) };
}

extern "C" fn on_trap(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a `ucontext_t` to a handler with SA_SIGINFO.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let register = |number: c_int| registers[number as usize] as u64;
    WATCH.with_borrow_mut(|watch| {
        let Some(watch) = watch else { return };
        let ip = register(libc::REG_RIP);
        if !watch.table.covers(ip) {
            return;
        }
        watch.steps += 1;
        let scratch = Some(Scratch {
            dx: register(libc::REG_RDX),
            di: register(libc::REG_RDI),
            r10: register(libc::REG_R10),
            r13: register(libc::REG_R13),
        });
        let frame = Frame { ip, sp: register(libc::REG_RSP), bp: register(libc::REG_RBP), exact: true, scratch };
        let mut read = |address: u64, into: &mut [u8]| {
            // SAFETY: the tables are mapped, and the stack above the stack pointer is.
            unsafe { into.as_mut_ptr().copy_from_nonoverlapping(address as *const u8, into.len()) };
            true
        };
        let tables = [watch.table];
        let mut unwinder = Unwinder::new(frame, &tables, &mut read);
        let mut depth = 0;
        let end = loop {
            match unwinder.step() {
                Ok(_) if depth < 100 => depth += 1,
                end => break end,
            }
        };
        let outside = (unwinder.frame().ip, unwinder.frame().sp);
        watch.deepest = watch.deepest.max(depth);
        let left = matches!(end, Err(Lost::NoTable { ip }) if ip == outside.0);
        if !left || *watch.outside.get_or_insert(outside) != outside {
            watch.failure.get_or_insert((ip, end));
        }
    });
}

#[test]
fn every_instruction_of_a_compressor_unwinds() {
    for (slot, version) in (8..).zip(["6.1", "6.12"]) {
        let Some(module) = load(version, "lz4hc_compress", slot) else {
            continue;
        };
        // SAFETY: `int LZ4_compress_HC(const char *source, char *target, int size, int room, int level, void *memory)`, at the
        // address it was linked for.
        let compress: extern "C" fn(*const u8, *mut u8, c_int, c_int, c_int, *mut u8) -> c_int =
            unsafe { std::mem::transmute(function(&module, "LZ4_compress_HC")) };
        let source: Vec<u8> = (0..1000u32).map(|number| (number.wrapping_mul(number) >> 7) as u8 & 7).collect();
        let (mut packed, mut memory) = (vec![0u8; 4000], vec![0u64; 1 << 16]);
        let table = module.orc.expect("an unwind table");
        WATCH.set(Some(Watch { table, outside: None, steps: 0, deepest: 0, failure: None }));
        let gs = GS.with(Cell::as_ptr);
        // SAFETY: a handler for SIGTRAP that touches only this thread's own data, and a GS base for this thread, which uses GS
        // for nothing else.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_trap as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGTRAP, &raw const action, std::ptr::null_mut()), 0);
            asm!("syscall", inlateout("rax") 158u64 => _, in("rdi") 0x1001u64, in("rsi") gs,
                 lateout("rcx") _, lateout("r11") _);
            // The trap flag: a SIGTRAP after every instruction.
            asm!("pushfq", "or dword ptr [rsp], 0x100", "popfq");
        }
        let length = compress(source.as_ptr(), packed.as_mut_ptr(), 1000, 4000, 9, memory.as_mut_ptr().cast());
        // SAFETY: the flag is cleared again.
        unsafe { asm!("pushfq", "and dword ptr [rsp], 0xfffffeff", "popfq") };
        let watch = WATCH.take().expect("the watch");
        assert_eq!(watch.failure, None, "{version}: after {} steps", watch.steps);
        assert!(watch.steps > 5000 && watch.deepest >= 2, "{version}: {} {}", watch.steps, watch.deepest);
        let mut unpacked = vec![0; source.len()];
        let whole = lz4_flex::block::decompress_into(&packed[..length as usize], &mut unpacked).expect("sound LZ4");
        assert_eq!((whole, &unpacked), (source.len(), &source), "{version}");
        println!("{version}: {} instructions unwound, at most {} frames deep", watch.steps, watch.deepest);
    }
}
