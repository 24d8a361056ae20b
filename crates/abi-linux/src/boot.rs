//! Bringing the Linux world up in a kernel that has booted.

use core::sync::atomic::{AtomicU64, Ordering};

use ferrmod_image::facts::{Facts, FactsError};
use ferrmod_kernel::{Errno, Kernel};

use crate::data::{self, Begin, Datum};
use crate::symbols::{self, Symbols};
use crate::world::LinuxWorld;
use crate::{DATA, ram};

/// Why the Linux world did not come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    /// What is known of the target kernel cannot be read.
    #[error("kernel facts: {0}")]
    Facts(FactsError),
    /// The module regions are too small.
    #[error("no room for the exported functions and data: {0:?}")]
    Memory(Errno),
    /// It is up already.
    #[error("the Linux world is up already")]
    Twice,
}

static FACTS: spin::Once<Facts<'static>> = spin::Once::new();
static WORLD: LinuxWorld = LinuxWorld;
static JIFFIES_AT: AtomicU64 = AtomicU64::new(0);

/// `INITIAL_JIFFIES` of a 250 Hz kernel: five minutes before the low half wraps.
const INITIAL_JIFFIES: u64 = (-300i32 * 250) as u32 as u64;

static JIFFIES: Datum = Datum::new("jiffies", 8, Begin::With(begin_jiffies));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&JIFFIES];

fn begin_jiffies(at: u64) {
    // SAFETY: `data::place` gives the address of 8 writable bytes.
    unsafe { ram::put(at, INITIAL_JIFFIES) };
    JIFFIES_AT.store(at, Ordering::Relaxed);
}

/// What is known of the kernel whose modules are loaded.
///
/// # Panics
/// Before [`boot`].
pub(crate) fn facts() -> &'static Facts<'static> {
    FACTS.get().expect("the Linux world is up")
}

/// Makes `kernel` take modules that were built for the kernel described by `facts` (a facts cache, see
/// `ferrmod_image::facts`).
///
/// # Errors
/// [`BootError`]; the kernel runs on without a Linux world.
pub fn boot(kernel: &'static Kernel, facts: &'static [u8]) -> Result<(), BootError> {
    if FACTS.get().is_some() {
        return Err(BootError::Twice);
    }
    let facts = Facts::open(facts).map_err(BootError::Facts)?;
    FACTS.call_once(|| facts);
    symbols::begin(kernel).map_err(BootError::Memory)?;
    // What makes the variables may call functions through their bridges.
    kernel.platform.commit().map_err(|_| BootError::Memory(Errno::ENOMEM))?;
    data::place(kernel, DATA).map_err(BootError::Memory)?;
    Symbols::bind_data(DATA);
    symbols::begin_percpu(kernel).map_err(|_| BootError::Memory(Errno::ENOMEM))?;
    kernel.add_linux_world(&WORLD);
    crate::tasks::begin(kernel);
    crate::vfs::begin(kernel);
    crate::crypto::builtin::begin();
    Ok(())
}

/// The tick counter.
pub(crate) fn jiffies() -> u64 {
    JIFFIES.load()
}

/// One tick of the 250 Hz clock. Uses one atomic and one store, so that an interrupt or signal handler may call it.
pub fn tick() {
    let at = JIFFIES_AT.load(Ordering::Relaxed);
    if at != 0 {
        // SAFETY: the address of 8 bytes that stay mapped and writable for the life of the kernel.
        unsafe { ram::put(at, ram::get::<u64>(at).wrapping_add(1)) };
    }
}
