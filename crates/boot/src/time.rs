//! The time-stamp counter, the timer interrupt and the real-time clock.

use core::sync::atomic::{AtomicU64, Ordering};

use ferrmod_boot::clock;
use x86_64::instructions::interrupts;
use x86_64::instructions::port::Port;

/// Input of the interval timer (8254).
const PIT_HERTZ: u64 = 1_193_182;
/// Linux's HZ on Debian: a tick every 4 ms.
const TICK_HERTZ: u64 = 250;
/// How long the counter is measured when the processor does not say how fast it is.
const CALIBRATION_HERTZ: u64 = 200;

static HERTZ: AtomicU64 = AtomicU64::new(1_000_000_000);
static START: AtomicU64 = AtomicU64::new(0);
static BOOTED_AT: AtomicU64 = AtomicU64::new(0);

/// What the time-stamp counter says.
pub(crate) fn counter() -> u64 {
    // SAFETY: every x86-64 processor has a time-stamp counter, and CR4.TSD is clear.
    unsafe { core::arch::x86_64::_rdtsc() }
}

fn output(port: u16, value: u8) {
    // SAFETY: the callers below name registers of the interval timer, the interrupt controllers and the clock; none of
    // them touches memory.
    unsafe { Port::<u8>::new(port).write(value) };
}

fn input(port: u16) -> u8 {
    // SAFETY: as in `output`.
    unsafe { Port::<u8>::new(port).read() }
}

/// Nanoseconds since the first instruction of Rust code.
pub(crate) fn now() -> u64 {
    clock::nanoseconds(counter().wrapping_sub(START.load(Ordering::Relaxed)), HERTZ.load(Ordering::Relaxed))
}

/// Nanoseconds since 1970.
pub(crate) fn wall_clock() -> u64 {
    BOOTED_AT.load(Ordering::Relaxed) + now()
}

/// Starts counting; called first, before the speed is known.
pub(crate) fn start() {
    START.store(counter(), Ordering::Relaxed);
}

/// The processor's own word about its counter: CPUID leaf 0x15, or the hypervisor's leaf 0x4000_0010 (in kHz).
fn said_hertz() -> Option<u64> {
    use core::arch::x86_64::__cpuid as cpuid;
    if cpuid(0).eax >= 0x15 {
        let leaf = cpuid(0x15);
        if leaf.eax != 0 && leaf.ebx != 0 && leaf.ecx != 0 {
            return Some(u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax));
        }
    }
    let hypervisor = cpuid(1).ecx & 1 << 31 != 0 && cpuid(0x4000_0000).eax >= 0x4000_0010;
    let kilohertz = if hypervisor { cpuid(0x4000_0010).eax } else { 0 };
    (kilohertz != 0).then(|| u64::from(kilohertz) * 1000)
}

/// Counts the counter against channel 2 of the interval timer, which needs no interrupt.
fn measured_hertz() -> u64 {
    let reload = (PIT_HERTZ / CALIBRATION_HERTZ) as u16;
    output(0x61, input(0x61) & !2 | 1); // gate on, speaker off
    output(0x43, 0xb0); // channel 2, both bytes, mode 0
    output(0x42, reload as u8);
    output(0x42, (reload >> 8) as u8);
    let before = counter();
    // The bound only matters where there is no such timer.
    for _ in 0..10_000_000 {
        if input(0x61) & 0x20 != 0 {
            break;
        }
    }
    (counter() - before) * CALIBRATION_HERTZ
}

fn clock_register(register: u8) -> u8 {
    output(0x70, 0x80 | register);
    input(0x71)
}

fn read_clock() -> u64 {
    let binary = clock_register(0x0b) & 4 != 0;
    let read = || {
        let mut fields = [0; 6];
        for (field, register) in fields.iter_mut().zip([9, 8, 7, 4, 2, 0]) {
            let value = clock_register(register);
            *field = u64::from(if binary { value } else { clock::from_bcd(value) });
        }
        fields
    };
    let mut fields = read();
    // Two equal readings: no update came between.
    for _ in 0..100 {
        let again = read();
        if again == fields {
            break;
        }
        fields = again;
    }
    let [year, month, day, hour, minute, second] = fields;
    clock::unix_time(2000 + year, month, day, hour, minute, second) * 1_000_000_000
}

/// Calibrates, and lets the timer interrupt (vector [`crate::traps::TIMER`]) come.
pub(crate) fn initialise() {
    HERTZ.store(said_hertz().unwrap_or_else(measured_hertz).max(1_000_000), Ordering::Relaxed);
    BOOTED_AT.store(read_clock().saturating_sub(now()), Ordering::Relaxed);

    // Interrupt controllers: vectors 32 to 47, everything masked but the timer.
    for (port, value) in
        [(0x20, 0x11), (0xa0, 0x11), (0x21, 32), (0xa1, 40), (0x21, 4), (0xa1, 2), (0x21, 1), (0xa1, 1)]
    {
        output(port, value);
    }
    output(0x21, 0xfe);
    output(0xa1, 0xff);
    let reload = (PIT_HERTZ / TICK_HERTZ) as u16;
    output(0x43, 0x34); // channel 0, both bytes, mode 2
    output(0x40, reload as u8);
    output(0x40, (reload >> 8) as u8);
    interrupts::enable();
}

/// Tells the interrupt controller that the timer interrupt was taken.
pub(crate) fn acknowledge() {
    output(0x20, 0x20);
}

/// Waits until `until` or the next interrupt.
pub(crate) fn wait(until: u64) {
    // A tick is 4 ms away at most; what is shorter than its cost is spun.
    const SHORT: u64 = 50_000;
    loop {
        let left = until.saturating_sub(now());
        if left == 0 {
            return;
        }
        if left > SHORT {
            break;
        }
        core::hint::spin_loop();
    }
    interrupts::disable();
    interrupts::enable_and_hlt();
}

/// Random bytes: the processor's generator, mixed with the counter where there is none.
pub(crate) fn random(into: &mut [u8]) {
    static STATE: AtomicU64 = AtomicU64::new(0x9e37_79b9_7f4a_7c15);
    let generator = x86_64::instructions::random::RdRand::new();
    for chunk in into.chunks_mut(8) {
        let hardware = generator.and_then(x86_64::instructions::random::RdRand::get_u64).unwrap_or(0);
        // splitmix64, the counter added each time.
        let mut value = STATE.fetch_add(counter() | 1, Ordering::Relaxed);
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^= value >> 31 ^ hardware;
        chunk.copy_from_slice(&value.to_le_bytes()[..chunk.len()]);
    }
}
