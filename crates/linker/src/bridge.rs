//! Code between a module and the kernel: one 64-byte slot for each function a module may call.
//!
//! A module cannot call a Rust function directly. The kernel's functions may lie further away than 2 GiB; modules are
//! compiled to keep the stack aligned to 8 bytes only, where the SysV ABI promises 16; stable Rust cannot define a function
//! with variable arguments; and a function may want to know who called it. A bridge settles all of it:
//!
//! | kind | what it does |
//! |---|---|
//! | [`Kind::Call`] | notes the caller, aligns the stack, copies stack arguments, calls, returns |
//! | [`Kind::Variadic`] | the same, with a pointer to a SysV `va_list` after the named arguments |
//! | [`Kind::Raw`] | jumps, all registers and the stack as they are: for functions with a convention of their own |
//! | [`Kind::Absent`] | calls one handler with a number and the caller's address: for functions nobody provides |
//!
//! A slot is as long as a cache line, so that a bridge is one line. All of it is position-dependent only through the target
//! it holds; it can be copied anywhere. Unused bytes are `int3`.
//!
//! The caller's return address is stored at `gs:[slot]` on every call, so a callee reads it before anything else that could
//! go through a bridge; behind it, at `gs:[slot + 8]`, where the call's frame lies: the caller's `rbp` and above it the return
//! address. (Calls with an argument list, or with more than [`NOTED_STACK`] arguments on the stack, have no room for that.)
//! Only `r11` is clobbered beyond what the callee clobbers; the ABI gives it to linkage code. Modules have no red zone. In
//! [`Kind::Call`] and [`Kind::Variadic`] `rbp` is a proper frame pointer, so that
//! [`Unwinder::step_frame_pointer`](crate::orc::Unwinder::step_frame_pointer) gets past a bridge.

/// The length of a slot in bytes.
pub const SLOT: usize = 64;

/// Calls with more arguments on the stack do not note their frame.
pub const NOTED_STACK: u8 = 6;
/// The length of a guard in bytes.
pub const GUARD: usize = 80;

/// What a bridge does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An ordinary C function with this many integer arguments on the stack: those after the sixth, at most
    /// [`Kind::STACK_MAX`]. More are passed as that many.
    Call {
        /// How many eight-byte words are copied.
        stack: u8,
    },
    /// A function with `...`: this many named arguments, 0 to 5, and then a pointer to a `va_list` that starts at the first
    /// unnamed one. More are passed as 5. No vector register is saved: kernel code passes none.
    Variadic {
        /// How many arguments have names.
        named: u8,
    },
    /// Jumps to the target and changes nothing.
    Raw,
    /// Calls the target as `extern "C" fn(id: u64, caller: u64) -> u64` and returns what it returns.
    Absent {
        /// The number of the import.
        id: u32,
    },
}

impl Kind {
    /// An ordinary function of up to six arguments.
    pub const PLAIN: Kind = Kind::Call { stack: 0 };
    /// The most stack arguments a slot has room for.
    pub const STACK_MAX: u8 = 9;
}

/// Room of `N` bytes that is being filled.
struct Slot<const N: usize> {
    code: [u8; N],
    length: usize,
}

impl<const N: usize> Slot<N> {
    fn new() -> Self {
        Self { code: [0xcc; N], length: 0 }
    }

    fn put(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            // All fit (the tests decode them); a byte too many would be dropped, not written elsewhere.
            if let Some(place) = self.code.get_mut(self.length) {
                *place = byte;
            }
            self.length += 1;
        }
    }

    fn finish(self) -> [u8; N] {
        debug_assert!(self.length <= N);
        self.code
    }

    /// Notes the return address at `gs:[offset]`.
    fn note_caller(&mut self, gs_offset: i32) {
        self.put(&[0x4c, 0x8b, 0x1c, 0x24]); // mov (%rsp), %r11
        self.put(&[0x65, 0x4c, 0x89, 0x1c, 0x25]); // mov %r11, %gs:offset
        self.put(&gs_offset.to_le_bytes());
    }

    fn frame(&mut self) {
        self.put(&[0x55]); // push %rbp
        self.put(&[0x48, 0x89, 0xe5]); // mov %rsp, %rbp
    }

    /// Notes the frame behind the return address.
    fn note_frame(&mut self, gs_offset: i32) {
        self.put(&[0x65, 0x48, 0x89, 0x2c, 0x25]); // mov %rbp, %gs:offset+8
        self.put(&gs_offset.wrapping_add(8).to_le_bytes());
    }

    fn align(&mut self) {
        self.put(&[0x48, 0x83, 0xe4, 0xf0]); // and $-16, %rsp
    }

    fn call(&mut self, target: u64) {
        self.put(&[0x49, 0xbb]); // movabs $target, %r11
        self.put(&target.to_le_bytes());
        self.put(&[0x41, 0xff, 0xd3]); // call *%r11
        self.put(&[0xc9, 0xc3]); // leave; ret
    }
}

/// The bytes of a bridge to `target`. `gs_offset` is where, relative to the GS base, [`Kind::Call`] and [`Kind::Variadic`] note
/// the caller's return address.
#[must_use]
pub fn emit(kind: Kind, target: u64, gs_offset: i32) -> [u8; SLOT] {
    let mut slot = Slot::new();
    match kind {
        Kind::Call { stack } => {
            let stack = stack.min(Kind::STACK_MAX);
            slot.note_caller(gs_offset);
            slot.frame();
            if stack <= NOTED_STACK {
                slot.note_frame(gs_offset);
            }
            slot.align();
            if stack % 2 == 1 {
                slot.put(&[0x50]); // push %rax, so that the copies end aligned
            }
            for argument in (0..stack).rev() {
                slot.put(&[0xff, 0x75, 16 + 8 * argument]); // push 16+8*argument(%rbp)
            }
            slot.call(target);
        }
        Kind::Variadic { named } => {
            let named = named.min(5);
            slot.note_caller(gs_offset);
            slot.frame();
            // The register save area, rdi lowest.
            slot.put(&[0x41, 0x51, 0x41, 0x50, 0x51, 0x52, 0x56, 0x57]); // push r9 r8 rcx rdx rsi rdi
            // struct __va_list_tag, last field first (psABI, "The va_list Type").
            slot.put(&[0x54]); // push %rsp: reg_save_area
            slot.put(&[0x4c, 0x8d, 0x5d, 0x10, 0x41, 0x53]); // lea 16(%rbp), %r11; push %r11: overflow_arg_area
            slot.put(&[0x6a, 8 * named]); // push $8*named: gp_offset
            slot.put(&[0xc7, 0x44, 0x24, 0x04, 48, 0, 0, 0]); // movl $48, 4(%rsp): fp_offset
            let argument: [u8; 3] = match named {
                0 => [0x48, 0x89, 0xe7], // mov %rsp, %rdi
                1 => [0x48, 0x89, 0xe6], // mov %rsp, %rsi
                2 => [0x48, 0x89, 0xe2], // mov %rsp, %rdx
                3 => [0x48, 0x89, 0xe1], // mov %rsp, %rcx
                4 => [0x49, 0x89, 0xe0], // mov %rsp, %r8
                _ => [0x49, 0x89, 0xe1], // mov %rsp, %r9
            };
            slot.put(&argument);
            slot.align();
            slot.call(target);
        }
        Kind::Raw => {
            slot.put(&[0xff, 0x25, 0, 0, 0, 0]); // jmp *0(%rip)
            slot.put(&target.to_le_bytes());
        }
        Kind::Absent { id } => {
            slot.put(&[0x48, 0x8b, 0x34, 0x24]); // mov (%rsp), %rsi
            slot.put(&[0xbf]); // mov $id, %edi
            slot.put(&id.to_le_bytes());
            slot.frame();
            slot.align();
            slot.call(target);
        }
    }
    slot.finish()
}

/// What a guard looks at, and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Relative to the GS base: a 32-bit word.
    pub word: i32,
    /// What it is when all is well.
    pub well: u32,
    /// Address of two more 32-bit words.
    pub pair: u64,
    /// What those are when all is well.
    pub pair_well: [u32; 2],
    /// Called when something is not: as a function without arguments that keeps every register but `r11`. On its stack lie its
    /// return address, `number`, and the return address of the call that is code.
    pub otherwise: u64,
    /// Tells it which guard this is.
    pub number: u32,
}

/// The bytes of a guard that lies at `at`: it looks at three words, calls a function when they are not as they should be, and goes
/// on at `bridge`, which must be within 2 GiB. `r11` is lost.
#[must_use]
pub fn emit_guard(guard: &Guard, at: u64, bridge: u64) -> [u8; GUARD] {
    let mut code = Slot::new();
    code.put(&[0x65, 0x81, 0x3c, 0x25]); // cmpl $well, %gs:word
    code.put(&guard.word.to_le_bytes());
    code.put(&guard.well.to_le_bytes());
    code.put(&[0x75, 10 + 7 + 2 + 8 + 2]); // jne otherwise
    code.put(&[0x49, 0xbb]); // movabs $pair, %r11
    code.put(&guard.pair.to_le_bytes());
    code.put(&[0x41, 0x81, 0x3b]); // cmpl $pair_well[0], (%r11)
    code.put(&guard.pair_well[0].to_le_bytes());
    code.put(&[0x75, 8 + 2]); // jne otherwise
    code.put(&[0x41, 0x81, 0x7b, 4]); // cmpl $pair_well[1], 4(%r11)
    code.put(&guard.pair_well[1].to_le_bytes());
    code.put(&[0x74, 5 + 10 + 3 + 4]); // je bridge
    // otherwise:
    code.put(&[0x68]); // push $number
    code.put(&guard.number.to_le_bytes());
    code.put(&[0x49, 0xbb]); // movabs $otherwise, %r11
    code.put(&guard.otherwise.to_le_bytes());
    code.put(&[0x41, 0xff, 0xd3]); // call *%r11
    code.put(&[0x48, 0x83, 0xc4, 8]); // add $8, %rsp
    // bridge:
    code.put(&[0xe9]); // jmp bridge
    let next = at.wrapping_add(code.length as u64 + 4);
    code.put(&(bridge.wrapping_sub(next) as i32).to_le_bytes());
    code.finish()
}
