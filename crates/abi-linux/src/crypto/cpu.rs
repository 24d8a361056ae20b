//! What the processor can do, and the right to use its vector registers.

use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod cpuinfo_x86 = "cpuinfo_x86" {
        x86, x86_vendor, x86_model, x86_stepping, x86_virt_bits, x86_phys_bits, extended_cpuid_level, cpuid_level,
        x86_capability, x86_vendor_id, x86_model_id, x86_cache_alignment, x86_max_cores, x86_clflush_size, booted_cores,
    }
    mod x86_cpu_id = "x86_cpu_id" { vendor, family, model, steppings, feature, flags }
}

static BOOT_CPU: Datum = Datum::new("boot_cpu_data", 512, Begin::With(begin));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&BOOT_CPU];

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    k irq_fpu_usable, c kernel_fpu_begin_mask, k kernel_fpu_end, c cpu_has_xfeatures, c x86_match_cpu,
];

/// Words of `x86_capability` that Linux reads from the processor (`enum cpuid_leafs`): word, leaf, subleaf, register (0 to 3 for
/// eax to edx).
const LEAVES: [(usize, u32, u32, usize); 13] = [
    (0, 1, 0, 3),
    (1, 0x8000_0001, 0, 3),
    (4, 1, 0, 2),
    (6, 0x8000_0001, 0, 2),
    (9, 7, 0, 1),
    (10, 0xd, 1, 0),
    (12, 7, 1, 0),
    (13, 0x8000_0008, 0, 1),
    (14, 6, 0, 0),
    (15, 0x8000_000a, 0, 3),
    (16, 7, 0, 2),
    (18, 7, 0, 3),
    (19, 0x8000_001f, 0, 0),
];

/// `X86_FEATURE_*`: word times 32 plus bit.
const REP_GOOD: usize = 3 * 32 + 16;
const ALWAYS: usize = 3 * 32 + 21;
const NOPL: usize = 3 * 32 + 20;
const OSXSAVE: usize = 4 * 32 + 27;
const XSAVE: usize = 4 * 32 + 26;
/// What cannot be used when the system has not enabled the wide registers: FMA, AVX, F16C; AVX2; VAES, VPCLMULQDQ; the state
/// instructions themselves.
const NEED_YMM: [usize; 6] = [4 * 32 + 12, 4 * 32 + 28, 4 * 32 + 29, 9 * 32 + 5, 16 * 32 + 9, 16 * 32 + 10];
/// AVX512 F, DQ, IFMA, PF, ER, CD, BW, VL.
const NEED_ZMM: [usize; 8] =
    [9 * 32 + 16, 9 * 32 + 17, 9 * 32 + 21, 9 * 32 + 26, 9 * 32 + 27, 9 * 32 + 28, 9 * 32 + 30, 9 * 32 + 31];
/// Bits of XCR0: SSE and AVX state; the three parts of AVX-512 state.
const YMM: u64 = 0x6;
const ZMM: u64 = 0xe0;

/// `X86_VENDOR_INTEL`, `X86_VENDOR_AMD`, `X86_VENDOR_UNKNOWN`, `X86_VENDOR_ANY`
const INTEL: u8 = 0;
const AMD: u8 = 2;
const UNKNOWN: u8 = 0xff;
const ANY_VENDOR: u16 = 0xffff;
/// `X86_CPU_ID_FLAG_ENTRY_VALID`
const VALID: u16 = 1;

const WORDS: usize = 24;

/// One leaf of the processor's description; zeros when it has none of that number.
fn leaf(number: u32, sub: u32) -> [u32; 4] {
    let most = __cpuid(number & 0x8000_0000).eax;
    if number > most {
        return [0; 4];
    }
    let found = __cpuid_count(number, sub);
    [found.eax, found.ebx, found.ecx, found.edx]
}

/// What the system has enabled (XCR0); 0 without XSAVE.
fn enabled() -> u64 {
    if leaf(1, 0)[2] >> 27 & 1 == 0 {
        return 0;
    }
    // SAFETY: the bit says that the system allows XGETBV.
    unsafe { read_xcr0() }
}

#[target_feature(enable = "xsave")]
fn read_xcr0() -> u64 {
    // SAFETY: register 0 exists wherever the instruction does.
    unsafe { _xgetbv(0) }
}

/// `x86_capability`, with what this system cannot use left out.
fn capabilities() -> [u32; WORDS] {
    let mut words = [0; WORDS];
    for (word, number, sub, register) in LEAVES {
        words[word] = leaf(number, sub)[register];
    }
    let change = |words: &mut [u32; WORDS], bit: usize, value: bool| {
        let mask = 1 << (bit % 32);
        words[bit / 32] = if value { words[bit / 32] | mask } else { words[bit / 32] & !mask };
    };
    for bit in [REP_GOOD, ALWAYS, NOPL] {
        change(&mut words, bit, true);
    }
    let state = enabled();
    if state == 0 {
        change(&mut words, OSXSAVE, false);
        change(&mut words, XSAVE, false);
    }
    if state & YMM != YMM {
        NEED_YMM.iter().for_each(|&bit| change(&mut words, bit, false));
    }
    if state & (YMM | ZMM) != YMM | ZMM {
        NEED_ZMM.iter().for_each(|&bit| change(&mut words, bit, false));
    }
    words
}

fn begin(at: u64) {
    let [level, ebx, ecx, edx] = leaf(0, 0);
    let mut vendor = [0u8; 16];
    for (place, word) in [ebx, edx, ecx].into_iter().enumerate() {
        vendor[4 * place..4 * place + 4].copy_from_slice(&word.to_le_bytes());
    }
    let number = match &vendor[..12] {
        b"GenuineIntel" => INTEL,
        b"AuthenticAMD" => AMD,
        _ => UNKNOWN,
    };
    let [version, misc, ..] = leaf(1, 0);
    let (mut family, mut model) = ((version >> 8 & 0xf) as u8, (version >> 4 & 0xf) as u8);
    if family == 0xf {
        family = family.wrapping_add((version >> 20) as u8);
    }
    if family >= 6 {
        model |= (version >> 12 & 0xf0) as u8;
    }
    let line = (misc >> 8 & 0xff) as u16 * 8;
    let sizes = leaf(0x8000_0008, 0)[0];
    // SAFETY: `data::place` gives the address of 512 cleared bytes, more than any kernel's struct has.
    unsafe {
        cpuinfo_x86::x86.set(at, family);
        cpuinfo_x86::x86_vendor.set(at, number);
        cpuinfo_x86::x86_model.set(at, model);
        cpuinfo_x86::x86_stepping.set(at, (version & 0xf) as u8);
        cpuinfo_x86::cpuid_level.set(at, level);
        cpuinfo_x86::extended_cpuid_level.set(at, leaf(0x8000_0000, 0)[0]);
        cpuinfo_x86::x86_vendor_id.set(at, vendor);
        cpuinfo_x86::x86_virt_bits.set(at, (sizes >> 8) as u8);
        cpuinfo_x86::x86_phys_bits.set(at, sizes as u8);
        cpuinfo_x86::x86_cache_alignment.set(at, u32::from(line));
        cpuinfo_x86::x86_clflush_size.set(at, line);
        // Not in every kernel: one CPU, one core.
        for field in [&cpuinfo_x86::x86_max_cores, &cpuinfo_x86::booted_cores] {
            if field.offset().is_some() {
                field.set(at, 1u16);
            }
        }
        let mut name = [0u8; 64];
        for part in 0..3 {
            for (place, word) in leaf(0x8000_0002 + part, 0).into_iter().enumerate() {
                let start = 16 * part as usize + 4 * place;
                name[start..start + 4].copy_from_slice(&word.to_le_bytes());
            }
        }
        cpuinfo_x86::x86_model_id.set(at, name);
        let words = capabilities();
        let room = room_for_words();
        ram::copy(cpuinfo_x86::x86_capability.at(at), words.as_ptr() as u64, room.min(words.len() as u64 * 4));
    }
}

/// Bytes of `x86_capability` in this kernel, which grows with every one: up to the member that follows.
fn room_for_words() -> u64 {
    cpuinfo_x86::x86_vendor_id.at(0) - cpuinfo_x86::x86_capability.at(0)
}

unsafe fn has_feature(feature: u16) -> bool {
    if u64::from(feature) / 8 >= room_for_words() {
        return false;
    }
    // SAFETY: a bit of our own variable.
    let word: u32 =
        unsafe { ram::get(cpuinfo_x86::x86_capability.at(BOOT_CPU.address()) + u64::from(feature) / 32 * 4) };
    word >> (feature % 32) & 1 == 1
}

/// `const struct x86_cpu_id *x86_match_cpu(const struct x86_cpu_id *)`: the first entry that fits this processor.
extern "C" fn x86_match_cpu(table: u64) -> u64 {
    let mut entry = table;
    let cpu = BOOT_CPU.address();
    // SAFETY: the module's table, ended by an entry of zeros; `boot_cpu_data` is ours.
    unsafe {
        loop {
            let get = |field: &crate::field::Field| field.get::<u16>(entry);
            let flags = x86_cpu_id::flags.offset().map_or(0, |_| get(&x86_cpu_id::flags));
            let (vendor, family, model) = (get(&x86_cpu_id::vendor), get(&x86_cpu_id::family), get(&x86_cpu_id::model));
            let (steppings, feature) = (get(&x86_cpu_id::steppings), get(&x86_cpu_id::feature));
            if vendor | family | model | steppings | feature == 0 && flags & VALID == 0 {
                return 0;
            }
            let stepping: u8 = cpuinfo_x86::x86_stepping.get(cpu);
            let fits = (vendor == ANY_VENDOR || vendor == u16::from(cpuinfo_x86::x86_vendor.get::<u8>(cpu)))
                && (family == 0 || family == u16::from(cpuinfo_x86::x86.get::<u8>(cpu)))
                && (model == 0 || model == u16::from(cpuinfo_x86::x86_model.get::<u8>(cpu)))
                && (steppings == 0 || steppings >> (stepping & 15) & 1 == 1)
                && (feature == 0 || has_feature(feature));
            if fits {
                return entry;
            }
            entry += x86_cpu_id::SIZE.get();
        }
    }
}

/// `bool irq_fpu_usable(void)`: nothing here interrupts anybody's use of the registers.
extern "C" fn irq_fpu_usable() -> bool {
    true
}

/// `KFPU_387`, `KFPU_MXCSR`, and the value Linux starts from.
const FPU_387: u32 = 1;
const FPU_MXCSR: u32 = 2;
const MXCSR: u32 = 0x1f80;

/// `void kernel_fpu_begin_mask(unsigned int)`: C code that calls it keeps nothing in these registers, and neither do we across
/// a call, so there is nothing to save.
extern "C" fn kernel_fpu_begin_mask(mask: u32) {
    if mask & FPU_MXCSR != 0 {
        // SAFETY: the value is valid, and the one Rust code runs with.
        unsafe { core::arch::asm!("ldmxcsr [{}]", in(reg) &MXCSR, options(nostack, readonly, preserves_flags)) };
    }
    if mask & FPU_387 != 0 {
        // SAFETY: Rust code keeps nothing in the x87 registers across a call.
        unsafe { core::arch::asm!("fninit", options(nomem, nostack, preserves_flags)) };
    }
}
extern "C" fn kernel_fpu_end() {}

/// `int cpu_has_xfeatures(u64 needed, const char **name)`: whether the system has enabled these parts of the state. The name of
/// one that is missing is given as an empty string.
extern "C" fn cpu_has_xfeatures(needed: u64, name: u64) -> i32 {
    let all = enabled() & needed == needed;
    if name != 0 {
        // SAFETY: the module's variable; the last byte of the processor's name, which is never written.
        unsafe { ram::put(name, cpuinfo_x86::x86_model_id.at(BOOT_CPU.address()) + 63) };
    }
    i32::from(all)
}
