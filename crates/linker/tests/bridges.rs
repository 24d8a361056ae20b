//! Bridges are decoded, and then run.

use std::arch::asm;
use std::cell::Cell;
use std::ffi::c_void;

use ferrmod_linker::bridge::{self, Guard, Kind, NOTED_STACK, SLOT};
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Mnemonic, Register};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};

/// Every kind of bridge.
fn kinds() -> impl Iterator<Item = Kind> {
    let calls = (0..=Kind::STACK_MAX).map(|stack| Kind::Call { stack });
    let variadic = (0..=5).map(|named| Kind::Variadic { named });
    calls.chain(variadic).chain([Kind::Raw, Kind::Absent { id: 0xdead_beef }])
}

#[test]
fn every_bridge_is_whole_instructions() {
    for kind in kinds() {
        let code = bridge::emit(kind, 0x1122_3344_5566_7788, 0x1234);
        let mut decoder = Decoder::with_ip(64, &code, 0x1000_0000, DecoderOptions::NONE);
        let (mut noted, mut calls, mut aligned) = (Vec::new(), 0, false);
        loop {
            let instruction = decoder.decode();
            assert_ne!(instruction.code(), Code::INVALID, "{kind:?}");
            if instruction.segment_prefix() == Register::GS {
                assert_eq!(instruction.memory_base(), Register::None);
                noted.push(instruction.memory_displacement64());
            }
            if instruction.mnemonic() == Mnemonic::And && instruction.op0_register() == Register::RSP {
                assert_eq!(instruction.immediate8to64(), -16);
                aligned = true;
            }
            calls += usize::from(instruction.flow_control() == FlowControl::IndirectCall);
            match instruction.flow_control() {
                FlowControl::Return => break,
                FlowControl::IndirectBranch => {
                    assert_eq!(instruction.ip_rel_memory_address(), 0x1000_0006, "the target follows");
                    assert_eq!(code[6..14], 0x1122_3344_5566_7788u64.to_le_bytes());
                    break;
                }
                _ => {}
            }
        }
        let raw = kind == Kind::Raw;
        let expected: &[u64] = match kind {
            Kind::Call { stack } if stack <= NOTED_STACK => &[0x1234, 0x123c],
            Kind::Call { .. } | Kind::Variadic { .. } => &[0x1234],
            Kind::Raw | Kind::Absent { .. } => &[],
        };
        assert_eq!(noted, expected, "{kind:?}");
        assert_eq!((calls, aligned), if raw { (0, false) } else { (1, true) }, "{kind:?}");
        let end = if raw { 14 } else { decoder.position() };
        assert!(end <= SLOT && code[end..].iter().all(|&byte| byte == 0xcc), "{kind:?}");
    }
}

/// A page of code, and a page that GS points to.
struct Machine {
    code: *mut u8,
    gs: *mut u64,
}

const GS_SLOT: i32 = 0x40;
/// Where the caller lies in its page.
const CALLER: usize = 512;

impl Machine {
    /// A bridge and a caller of it.
    fn new(kind: Kind, target: usize) -> Machine {
        Self::with(|_| bridge::emit(kind, target as u64, GS_SLOT).to_vec())
    }

    /// Code for the address that it is made for, and a caller of it that leaves the stack as module code may: aligned to 8 bytes
    /// only. The caller's own code is `mov $code, %rax; call *%rax; ret`.
    fn with(make: impl FnOnce(u64) -> Vec<u8>) -> Machine {
        let page = |protection| {
            // SAFETY: a new mapping.
            unsafe { mmap_anonymous(std::ptr::null_mut(), 4096, protection, MapFlags::PRIVATE) }.expect("a page")
        };
        let read_write = ProtFlags::READ | ProtFlags::WRITE;
        let (code, gs) = (page(read_write).cast::<u8>(), page(read_write).cast::<u64>());
        let callee = make(code as u64);
        assert!(callee.len() <= CALLER);
        let mut caller = vec![0x48, 0xb8];
        caller.extend((code as u64).to_le_bytes());
        caller.extend([0xff, 0xd0, 0xc3]);
        // SAFETY: the page is 4096 bytes, mapped to write, and nobody else's.
        unsafe {
            code.copy_from_nonoverlapping(callee.as_ptr(), callee.len());
            code.add(CALLER).copy_from_nonoverlapping(caller.as_ptr(), caller.len());
            mprotect(code.cast::<c_void>(), 4096, MprotectFlags::READ | MprotectFlags::EXEC).expect("executable");
        }
        // SAFETY: arch_prctl(ARCH_SET_GS) for this thread, which uses GS for nothing.
        unsafe {
            asm!("syscall", inlateout("rax") 158u64 => _, in("rdi") 0x1001u64, in("rsi") gs,
                 lateout("rcx") _, lateout("r11") _);
        }
        Machine { code, gs }
    }

    fn caller(&self) -> *const u8 {
        // SAFETY: within the page.
        unsafe { self.code.add(CALLER) }
    }

    fn return_address(&self) -> u64 {
        self.caller() as u64 + 12
    }

    fn noted(&self) -> u64 {
        self.word(GS_SLOT)
    }

    /// A word of the page that GS points to.
    fn word(&self, offset: i32) -> u64 {
        // SAFETY: within the page.
        unsafe { self.gs.byte_add(offset as usize).read() }
    }
}

thread_local! {
    static SEEN: Cell<[u64; 16]> = const { Cell::new([0; 16]) };
}

#[repr(align(16))]
struct Aligned([u8; 16]);

/// Fails when the stack is not aligned as the ABI promises, because the compiler relies on it.
fn stack_is_aligned() -> bool {
    let local = Aligned([1; 16]);
    let address = std::hint::black_box(&raw const local) as usize;
    std::hint::black_box(local.0);
    address.is_multiple_of(16)
}

extern "C" fn six(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> u64 {
    let mut seen = [0; 16];
    seen[..6].copy_from_slice(&[a, b, c, d, e, f]);
    SEEN.set(seen);
    u64::from(stack_is_aligned()) * 0x1_0000_0001
}

#[test]
fn a_call_arrives_aligned_and_says_who_called() {
    let machine = Machine::new(Kind::PLAIN, six as *const () as usize);
    // SAFETY: the code in the page is a function of this type.
    let call: extern "C" fn(u64, u64, u64, u64, u64, u64) -> u64 = unsafe { std::mem::transmute(machine.caller()) };
    assert_eq!(call(1, 2, 3, 4, 5, 6), 0x1_0000_0001);
    assert_eq!(SEEN.get()[..6], [1, 2, 3, 4, 5, 6]);
    assert_eq!(machine.noted(), machine.return_address());
}

#[test]
fn a_call_says_where_its_frame_lies() {
    extern "C" fn look() -> u64 {
        let frame: *const u64;
        // SAFETY: GS points to the machine's page, and the bridge has noted its frame there, which is in use.
        unsafe {
            asm!("mov {}, gs:[{}]", out(reg) frame, const GS_SLOT + 8, options(nostack, readonly));
            frame.add(1).read()
        }
    }
    let machine = Machine::new(Kind::PLAIN, look as *const () as usize);
    // SAFETY: the code in the page is a function of this type.
    let call: extern "C" fn() -> u64 = unsafe { std::mem::transmute(machine.caller()) };
    assert_eq!(call(), machine.return_address());
}

#[test]
fn a_guard_calls_when_one_of_its_words_is_not_well() {
    const WORD: i32 = 0x60;
    const NUMBER: u32 = 0x1234_5678;
    /// Where, behind the guard, the bridge lies, and what the guard calls.
    const BRIDGE: u64 = 128;
    const OTHERWISE: u64 = BRIDGE + SLOT as u64;
    let all_well = (1, [2, 3]);
    for words in [all_well, (0, [2, 3]), (1, [0, 3]), (1, [2, 0])] {
        let (word, pair): (u32, [u32; 2]) = words;
        let machine = Machine::with(|at| {
            let guard = Guard {
                word: WORD,
                well: all_well.0,
                pair: (&raw const pair).expose_provenance() as u64,
                pair_well: all_well.1,
                otherwise: at + OTHERWISE,
                number: NUMBER,
            };
            let mut code = bridge::emit_guard(&guard, at, at + BRIDGE).to_vec();
            code.resize(BRIDGE as usize, 0xcc);
            code.extend(bridge::emit(Kind::PLAIN, six as *const () as u64, GS_SLOT));
            code.extend([0x4c, 0x8b, 0x5c, 0x24, 8]); // mov 8(%rsp), %r11
            code.extend([0x65, 0x4c, 0x89, 0x1c, 0x25, 0x50, 0, 0, 0]); // mov %r11, %gs:0x50
            code.extend([0x4c, 0x8b, 0x5c, 0x24, 16]); // mov 16(%rsp), %r11
            code.extend([0x65, 0x4c, 0x89, 0x1c, 0x25, 0x58, 0, 0, 0, 0xc3]); // mov %r11, %gs:0x58; ret
            code
        });
        // SAFETY: within the page.
        unsafe { machine.gs.byte_add(WORD as usize).cast::<u32>().write(word) };
        // SAFETY: the code in the page is a function of this type.
        let call: extern "C" fn(u64, u64, u64, u64, u64, u64) -> u64 = unsafe { std::mem::transmute(machine.caller()) };
        assert_eq!(call(1, 2, 3, 4, 5, 6), 0x1_0000_0001, "{words:?}");
        assert_eq!(SEEN.get()[..6], [1, 2, 3, 4, 5, 6], "{words:?}");
        assert_eq!(machine.noted(), machine.return_address(), "{words:?}");
        let told = if words == all_well { (0, 0) } else { (NUMBER.into(), machine.return_address()) };
        assert_eq!((machine.word(0x50), machine.word(0x58)), told, "{words:?}");
    }
}

type Fifteen = extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> u64;

extern "C" fn fifteen(
    a: u64,
    b: u64,
    c: u64,
    d: u64,
    e: u64,
    f: u64,
    g: u64,
    h: u64,
    i: u64,
    j: u64,
    k: u64,
    l: u64,
    m: u64,
    n: u64,
    o: u64,
) -> u64 {
    SEEN.set([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, 0]);
    u64::from(stack_is_aligned())
}

#[test]
fn stack_arguments_are_copied() {
    for stack in 0..=Kind::STACK_MAX {
        let machine = Machine::new(Kind::Call { stack }, fifteen as *const () as usize);
        // Called directly, because the caller in the page would move the stack arguments.
        // SAFETY: the code in the page is a function of this type.
        let call: Fifteen = unsafe { std::mem::transmute(machine.code) };
        assert_eq!(call(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 1, "{stack}");
        let copied = 6 + usize::from(stack);
        assert!(SEEN.get()[..copied].iter().copied().eq(1..=copied as u64), "{stack}: {:?}", SEEN.get());
    }
}

/// The psABI's `struct __va_list_tag`.
#[repr(C)]
struct VaList {
    gp_offset: u32,
    fp_offset: u32,
    overflow: *const u64,
    save: *const u8,
}

impl VaList {
    /// `va_arg(list, u64)` as the psABI says.
    ///
    /// # Safety
    ///
    /// There is another argument.
    unsafe fn next(&mut self) -> u64 {
        if self.gp_offset < 48 {
            // SAFETY: within the register save area.
            let value = unsafe { self.save.add(self.gp_offset as usize).cast::<u64>().read() };
            self.gp_offset += 8;
            value
        } else {
            // SAFETY: the caller's promise.
            unsafe {
                let value = self.overflow.read();
                self.overflow = self.overflow.add(1);
                value
            }
        }
    }
}

/// Reads what the list has until 15 arguments are seen.
fn collect(named: &[u64], list: *mut VaList) -> u64 {
    let mut seen = [0; 16];
    seen[..named.len()].copy_from_slice(named);
    // SAFETY: the bridge passes its own list.
    let list = unsafe { &mut *list };
    assert_eq!((list.gp_offset, list.fp_offset), (8 * named.len() as u32, 48));
    for slot in &mut seen[named.len()..15] {
        // SAFETY: fifteen arguments are passed.
        *slot = unsafe { list.next() };
    }
    SEEN.set(seen);
    u64::from(stack_is_aligned())
}

extern "C" fn named_0(list: *mut VaList) -> u64 {
    collect(&[], list)
}
extern "C" fn named_1(a: u64, list: *mut VaList) -> u64 {
    collect(&[a], list)
}
extern "C" fn named_2(a: u64, b: u64, list: *mut VaList) -> u64 {
    collect(&[a, b], list)
}
extern "C" fn named_3(a: u64, b: u64, c: u64, list: *mut VaList) -> u64 {
    collect(&[a, b, c], list)
}
extern "C" fn named_4(a: u64, b: u64, c: u64, d: u64, list: *mut VaList) -> u64 {
    collect(&[a, b, c, d], list)
}
extern "C" fn named_5(a: u64, b: u64, c: u64, d: u64, e: u64, list: *mut VaList) -> u64 {
    collect(&[a, b, c, d, e], list)
}

#[test]
fn a_variadic_function_gets_a_list() {
    let targets = [
        named_0 as *const (),
        named_1 as *const (),
        named_2 as *const (),
        named_3 as *const (),
        named_4 as *const (),
        named_5 as *const (),
    ];
    for (named, target) in targets.into_iter().enumerate() {
        let machine = Machine::new(Kind::Variadic { named: named as u8 }, target as usize);
        // SAFETY: a function with `...` takes its arguments where this one does.
        let call: Fifteen = unsafe { std::mem::transmute(machine.code) };
        assert_eq!(call(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 1, "{named}");
        assert!(SEEN.get()[..15].iter().copied().eq(1..=15), "{named}: {:?}", SEEN.get());
    }
    // The alignment and the caller, through the page's own caller: its register arguments arrive.
    extern "C" fn three_registers(format: u64, list: *mut VaList) -> u64 {
        // SAFETY: the bridge passes its own list, and six registers are saved.
        let list = unsafe { &mut *list };
        // SAFETY: as above.
        let unnamed = [(); 3].map(|()| unsafe { list.next() });
        let seen = |slot: usize| unnamed.get(slot).copied().unwrap_or(format);
        SEEN.set(std::array::from_fn(seen));
        u64::from(stack_is_aligned())
    }
    let machine = Machine::new(Kind::Variadic { named: 1 }, three_registers as *const () as usize);
    // SAFETY: the code in the page passes its registers on.
    let call: extern "C" fn(u64, u64, u64, u64) -> u64 = unsafe { std::mem::transmute(machine.caller()) };
    assert_eq!(call(9, 1, 2, 3), 1);
    assert_eq!(SEEN.get()[..4], [1, 2, 3, 9]);
    assert_eq!(machine.noted(), machine.return_address());
}

#[test]
fn a_raw_bridge_changes_nothing() {
    let machine = Machine::new(Kind::Raw, six as *const () as usize);
    // SAFETY: the code in the page is a function of this type, called with an aligned stack.
    let call: extern "C" fn(u64, u64, u64, u64, u64, u64) -> u64 = unsafe { std::mem::transmute(machine.code) };
    assert_eq!(call(1, 2, 3, 4, 5, 6), 0x1_0000_0001);
    assert_eq!(machine.noted(), 0);
}

#[test]
fn an_absent_function_names_itself_and_its_caller() {
    extern "C" fn handler(id: u64, caller: u64) -> u64 {
        SEEN.set(std::array::from_fn(|slot| [id, caller].get(slot).copied().unwrap_or_default()));
        u64::from(stack_is_aligned()) * 77
    }
    let machine = Machine::new(Kind::Absent { id: 0x8000_0001 }, handler as *const () as usize);
    // SAFETY: the code in the page is a function of this type.
    let call: extern "C" fn() -> u64 = unsafe { std::mem::transmute(machine.caller()) };
    assert_eq!(call(), 77);
    assert_eq!(SEEN.get()[..2], [0x8000_0001, machine.return_address()]);
}
