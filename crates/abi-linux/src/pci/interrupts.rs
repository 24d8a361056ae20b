//! Interrupts of functions: the line they share, or one message of their own.

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::{MESSAGES, id, pci_dev, set_bit, with_config};
use crate::export::{Export, exports};
use crate::irq;

/// `PCI_IRQ_INTX`, `PCI_IRQ_MSI`
const LINE: u32 = 1;
const MESSAGE: u32 = 2;

/// Functions that send messages, with the line they had before.
static SENDING: Lock<alloc::vec::Vec<(u64, u32)>> = Lock::new(alloc::vec::Vec::new());

/// Sets or clears the bit that lets a function send messages.
fn switch(function: u64, on: bool) -> Option<()> {
    with_config(function, |space| {
        let at = space.capability(MESSAGES)? + 2;
        let control = space.read(at, 2);
        space.write(at, 2, control & !1 | u32::from(on));
        Some(())
    })
    .flatten()
}

fn begin_messages(function: u64) -> Result<(), Errno> {
    if SENDING.lock().iter().any(|(other, _)| *other == function) {
        return Err(Errno::EINVAL);
    }
    let id = id(function).ok_or(Errno::EINVAL)?;
    switch(function, true).ok_or(Errno::EINVAL)?;
    let vector = irq::take_vector();
    kernel().hardware.set_vector(id, Some(vector));
    // SAFETY: a function.
    let before: u32 = unsafe {
        let before = pci_dev::irq.get(function);
        pci_dev::irq.set(function, vector);
        before
    };
    set_bit(function, "msi_enabled", true);
    SENDING.lock().push((function, before));
    Ok(())
}

fn end_messages(function: u64) {
    let found = {
        let mut sending = SENDING.lock();
        let place = sending.iter().position(|(other, _)| *other == function);
        place.map(|place| sending.remove(place).1)
    };
    let Some(before) = found else { return };
    // A function that is gone has no configuration space any more.
    let _ = switch(function, false);
    if let Some(id) = id(function) {
        kernel().hardware.set_vector(id, None);
    }
    // SAFETY: a function.
    unsafe {
        irq::give_vector(pci_dev::irq.get(function));
        pci_dev::irq.set(function, before);
    }
    set_bit(function, "msi_enabled", false);
}

extern "C" fn pci_enable_msi(function: u64) -> i32 {
    Errno::returned(begin_messages(function))
}
/// Gives a function its line back.
pub(super) extern "C" fn pci_disable_msi(function: u64) {
    end_messages(function);
}
/// The functions here have no MSI-X capability.
extern "C" fn pci_enable_msix_range() -> i32 {
    Errno::EINVAL.to_return()
}
extern "C" fn pci_disable_msix() {}
extern "C" fn pci_msix_vec_count() -> i32 {
    Errno::EINVAL.to_return()
}
extern "C" fn pci_msi_vec_count(function: u64) -> i32 {
    with_config(function, |space| space.capability(MESSAGES)).flatten().map_or(Errno::EINVAL.to_return(), |_| 1)
}
/// `int pci_alloc_irq_vectors_affinity(struct pci_dev *, unsigned min, unsigned max, unsigned flags, struct irq_affinity *)`
extern "C" fn pci_alloc_irq_vectors_affinity(function: u64, least: u32, _most: u32, flags: u32) -> i32 {
    if least <= 1 && flags & MESSAGE != 0 && begin_messages(function).is_ok() {
        return 1;
    }
    // SAFETY: a function.
    let line: u32 = unsafe { pci_dev::irq.get(function) };
    if least == 1 && flags & LINE != 0 && line != 0 { 1 } else { Errno::ENOSPC.to_return() }
}
extern "C" fn pci_irq_vector(function: u64, number: u32) -> i32 {
    // SAFETY: a function.
    if number == 0 { unsafe { pci_dev::irq.get(function) } } else { Errno::EINVAL.to_return() }
}
/// `void pci_intx(struct pci_dev *, int)`: bit 10 of the command register keeps a function from its line.
extern "C" fn pci_intx(function: u64, on: i32) {
    with_config(function, |space| {
        let command = space.read(4, 2);
        space.write(4, 2, if on == 0 { command | 0x400 } else { command & !0x400 });
    });
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c pci_enable_msi, c pci_disable_msi, k pci_enable_msix_range, k pci_disable_msix, k pci_msix_vec_count, c pci_msi_vec_count,
    c pci_alloc_irq_vectors_affinity, c pci_alloc_irq_vectors = pci_alloc_irq_vectors_affinity, c pci_irq_vector,
    c pci_free_irq_vectors = pci_disable_msi, c pci_intx,
];
