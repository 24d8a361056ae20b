//! Functions switched on and off, and their windows.

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};
use hashbrown::HashMap;

use super::interrupts::pci_disable_msi;
use super::{MEMORY, PORTS, pci_dev, resource, resource_at, set_bit, with_config};
use crate::device::{self, devres};
use crate::export::{Export, exports};
use crate::{hardware, iomem, ram, slab};

/// `PCI_COMMAND_IO`, `PCI_COMMAND_MEMORY`, `PCI_COMMAND_MASTER`, `PCI_COMMAND_INVALIDATE`
const IO: u32 = 1;
const MEM: u32 = 2;
const MASTER: u32 = 4;
const INVALIDATE: u32 = 0x10;
/// Registers with windows.
const BARS: u64 = 6;
/// Bytes of configuration space that are saved.
const SAVED: u16 = 64;

/// How often each function was switched on.
static ENABLED: Lock<Option<HashMap<u64, u32>>> = Lock::new(None);
/// The tables of windows that `pcim_iomap_table` gives.
static TABLES: Lock<Option<HashMap<u64, u64>>> = Lock::new(None);

fn command(function: u64, set: u32, clear: u32) {
    with_config(function, |space| {
        let value = space.read(4, 2);
        space.write(4, 2, value & !clear | set);
    });
}

/// A window: first address, length, kind.
fn window(function: u64, number: u64) -> Option<(u64, u64, u64)> {
    if number >= BARS {
        return None;
    }
    let at = resource_at(function, number);
    // SAFETY: one of the function's resources.
    let (start, end, flags): (u64, u64, u64) =
        unsafe { (resource::start.get(at), resource::end.get(at), resource::flags.get(at)) };
    (flags & (PORTS | MEMORY) != 0).then_some((start, end - start + 1, flags))
}

fn enable(function: u64, kinds: u64) -> i32 {
    let mut bits = 0;
    for (_, _, flags) in (0..BARS).filter_map(|number| window(function, number)) {
        bits |= if flags & kinds & PORTS != 0 { IO } else { 0 } | if flags & kinds & MEMORY != 0 { MEM } else { 0 };
    }
    if with_config(function, |_| ()).is_none() {
        return Errno::ENODEV.to_return();
    }
    *ENABLED.lock().get_or_insert_default().entry(function).or_insert(0) += 1;
    command(function, bits, 0);
    0
}
extern "C" fn pci_enable_device(function: u64) -> i32 {
    enable(function, PORTS | MEMORY)
}
extern "C" fn pci_enable_device_mem(function: u64) -> i32 {
    enable(function, MEMORY)
}
extern "C" fn pci_enable_device_io(function: u64) -> i32 {
    enable(function, PORTS)
}
extern "C" fn pci_disable_device(function: u64) {
    let left = {
        let mut all = ENABLED.lock();
        let all = all.get_or_insert_default();
        match all.get_mut(&function) {
            Some(count) if *count > 1 => {
                *count -= 1;
                Some(*count)
            }
            Some(_) => {
                all.remove(&function);
                Some(0)
            }
            None => None,
        }
    };
    match left {
        Some(0) => {
            command(function, 0, MASTER);
            set_bit(function, "is_busmaster", false);
        }
        Some(_) => (),
        None => {
            let name = device::name(pci_dev::dev.at(function));
            kernel().warn(&alloc::format!("{name}: disabling already-disabled device"), ram::caller());
        }
    }
}
extern "C" fn pci_is_enabled(function: u64) -> i32 {
    ENABLED.lock().as_ref().is_some_and(|all| all.contains_key(&function)).into()
}
/// As `pci_enable_device`, until the driver goes; with what it has taken of the function since.
extern "C" fn pcim_enable_device(function: u64) -> i32 {
    let result = pci_enable_device(function);
    if result == 0 {
        set_bit(function, "is_managed", true);
        devres::on_release(pci_dev::dev.at(function), move || {
            pci_disable_msi(function);
            set_bit(function, "is_managed", false);
            if pci_is_enabled(function) != 0 {
                pci_disable_device(function);
            }
        });
    }
    result
}
extern "C" fn pci_set_master(function: u64) {
    command(function, MASTER, 0);
    set_bit(function, "is_busmaster", true);
}
extern "C" fn pci_clear_master(function: u64) {
    command(function, 0, MASTER);
    set_bit(function, "is_busmaster", false);
}
extern "C" fn pci_set_mwi(function: u64) -> i32 {
    command(function, INVALIDATE, 0);
    0
}
extern "C" fn pci_clear_mwi(function: u64) {
    command(function, 0, INVALIDATE);
}
/// `int pci_save_state(struct pci_dev *)`: the header's sixteen words.
extern "C" fn pci_save_state(function: u64) -> i32 {
    for at in (0..SAVED).step_by(4) {
        let word = with_config(function, |space| space.read(at, 4)).unwrap_or(u32::MAX);
        // SAFETY: the function's array of sixteen words.
        unsafe { ram::put(pci_dev::saved.at(function) + u64::from(at), word) };
    }
    set_bit(function, "state_saved", true);
    0
}
extern "C" fn pci_restore_state(function: u64) {
    for at in (0..SAVED).step_by(4) {
        // SAFETY: the function's array of sixteen words.
        let word: u32 = unsafe { ram::get(pci_dev::saved.at(function) + u64::from(at)) };
        with_config(function, |space| space.write(at, 4, word));
    }
    set_bit(function, "state_saved", false);
}

/// The tree of addresses a window belongs to.
fn tree(flags: u64) -> u64 {
    if flags & PORTS != 0 { hardware::ports() } else { hardware::memory() }
}
fn request(function: u64, number: u64, name: u64, caller: u64) -> i32 {
    let Some((start, length, flags)) = window(function, number) else { return 0 };
    if hardware::take(tree(flags), start, length, name, 0, caller) != 0 {
        if is_managed(function) {
            devres::on_release(pci_dev::dev.at(function), move || _ = hardware::give(tree(flags), start, length));
        }
        return 0;
    }
    let device = pci_dev::dev.at(function);
    let kind = if flags & PORTS != 0 { "io " } else { "mem" };
    let text = alloc::format!(
        "\x014{}: BAR {number}: can't reserve [{kind} {start:#010x}-{:#010x}]\n",
        device::label(device),
        start + length - 1
    );
    kernel().printk(text.as_bytes());
    Errno::EBUSY.to_return()
}
/// Whether a function's regions go with its driver.
fn is_managed(function: u64) -> bool {
    let found = crate::boot::facts().btf().struct_named("pci_dev").and_then(|found| found.member("is_managed"));
    found.is_some_and(|found| {
        // SAFETY: a byte of the function's struct.
        let byte: u8 = unsafe { ram::get(function + found.bit_offset / 8) };
        byte >> (found.bit_offset % 8) & 1 != 0
    })
}
fn release(function: u64, number: u64) {
    if let Some((start, length, flags)) = window(function, number) {
        // What a managed function has given back before is no mistake.
        let _ = hardware::give(tree(flags), start, length);
    }
}
fn request_all(function: u64, mask: u64, name: u64, caller: u64) -> i32 {
    for number in (0..BARS).filter(|number| mask & 1 << number != 0) {
        let result = request(function, number, name, caller);
        if result != 0 {
            for before in (0..number).filter(|before| mask & 1 << before != 0) {
                release(function, before);
            }
            return result;
        }
    }
    0
}
extern "C" fn pci_request_regions(function: u64, name: u64) -> i32 {
    request_all(function, u64::MAX, name, ram::caller())
}
extern "C" fn pci_request_selected_regions(function: u64, mask: i32, name: u64) -> i32 {
    request_all(function, mask as u64, name, ram::caller())
}
extern "C" fn pci_request_region(function: u64, number: i32, name: u64) -> i32 {
    request(function, number as u64, name, ram::caller())
}
extern "C" fn pci_release_regions(function: u64) {
    (0..BARS).for_each(|number| release(function, number));
}
extern "C" fn pci_release_selected_regions(function: u64, mask: i32) {
    (0..BARS).filter(|number| mask & 1 << number != 0).for_each(|number| release(function, number));
}
extern "C" fn pci_release_region(function: u64, number: i32) {
    release(function, number as u64);
}
/// `int pci_select_bars(struct pci_dev *, unsigned long flags)`
extern "C" fn pci_select_bars(function: u64, flags: u64) -> i32 {
    let of_kind = |number: &u64| window(function, *number).is_some_and(|(_, _, kind)| kind & flags != 0);
    (0..BARS).filter(of_kind).fold(0, |mask, number| mask | 1 << number)
}

/// Maps a window from an offset on; 0 when there is none.
fn map(function: u64, number: u64, offset: u64, most: u64, caller: u64) -> u64 {
    let Some((start, length, flags)) = window(function, number) else { return 0 };
    if length <= offset {
        return 0;
    }
    let length = if most == 0 { length - offset } else { most.min(length - offset) };
    if flags & PORTS != 0 { iomem::of_port(start + offset) } else { iomem::map(start + offset, length, caller) }
}
extern "C" fn pci_iomap(function: u64, number: i32, most: u64) -> u64 {
    map(function, number as u64, 0, most, ram::caller())
}
extern "C" fn pci_iomap_range(function: u64, number: i32, offset: u64, most: u64) -> u64 {
    map(function, number as u64, offset, most, ram::caller())
}
extern "C" fn pci_ioremap_bar(function: u64, number: i32) -> u64 {
    let caller = ram::caller();
    match window(function, number as u64) {
        Some((start, length, MEMORY)) => iomem::map(start, length, caller),
        _ => 0,
    }
}
extern "C" fn pci_iounmap(_function: u64, address: u64) {
    iomem::unmap(address, ram::caller());
}

/// The table of a managed function's windows, made when first asked for; 0 without memory.
fn table(function: u64, caller: u64) -> u64 {
    if let Some(&table) = TABLES.lock().as_ref().and_then(|all| all.get(&function)) {
        return table;
    }
    let made = slab::allocate(8 * BARS, 8, slab::ZERO, caller);
    if made != 0 {
        TABLES.lock().get_or_insert_default().insert(function, made);
        devres::on_release(pci_dev::dev.at(function), move || {
            if let Some(all) = TABLES.lock().as_mut() {
                all.remove(&function);
            }
            for number in 0..BARS {
                // SAFETY: the table.
                iomem::unmap(unsafe { ram::get(made + 8 * number) }, 0);
            }
            slab::release(made, 0);
        });
    }
    made
}
extern "C" fn pcim_iomap_table(function: u64) -> u64 {
    table(function, ram::caller())
}
fn map_managed(function: u64, number: u64, most: u64, caller: u64) -> u64 {
    let (table, mapped) = (table(function, caller), map(function, number, 0, most, caller));
    if table != 0 && mapped != 0 {
        // SAFETY: the table; `map` knows only registers that are in it.
        unsafe { ram::put(table + 8 * number, mapped) };
    }
    mapped
}
extern "C" fn pcim_iomap(function: u64, number: i32, most: u64) -> u64 {
    map_managed(function, number as u64, most, ram::caller())
}
/// `int pcim_iomap_regions(struct pci_dev *, int mask, const char *name)`
extern "C" fn pcim_iomap_regions(function: u64, mask: i32, name: u64) -> i32 {
    let caller = ram::caller();
    for number in (0..BARS).filter(|number| mask & 1 << number != 0) {
        if window(function, number).is_none() {
            return Errno::EINVAL.to_return();
        }
        let result = request(function, number, name, caller);
        if result != 0 {
            return result;
        }
        if map_managed(function, number, 0, caller) == 0 {
            return Errno::ENOMEM.to_return();
        }
    }
    0
}
/// `void __iomem *pcim_iomap_region(struct pci_dev *, int bar, const char *name)`
extern "C" fn pcim_iomap_region(function: u64, number: i32, name: u64) -> u64 {
    let caller = ram::caller();
    if window(function, number as u64).is_none() {
        return Errno::EINVAL.to_pointer();
    }
    match request(function, number as u64, name, caller) {
        0 => match map_managed(function, number as u64, 0, caller) {
            0 => Errno::ENOMEM.to_pointer(),
            mapped => mapped,
        },
        error => i64::from(error) as u64,
    }
}

extern "C" fn done() -> i32 {
    0
}
extern "C" fn never() -> bool {
    false
}
extern "C" fn not_here() -> i32 {
    Errno::ENODEV.to_return()
}
/// `int pcie_get_readrq(struct pci_dev *)`: bytes of a read request after reset.
extern "C" fn pcie_get_readrq() -> i32 {
    512
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c pci_enable_device, c pci_enable_device_mem, c pci_enable_device_io, c pci_reenable_device = pci_enable_device,
    c pci_disable_device, c pcim_enable_device, c pci_set_master, c pci_clear_master, c pci_set_mwi, c pcim_set_mwi = pci_set_mwi,
    c pci_try_set_mwi = pci_set_mwi, c pci_clear_mwi, c pci_save_state, c pci_restore_state, c pci_request_regions,
    c pci_request_selected_regions, c pci_request_selected_regions_exclusive = pci_request_selected_regions,
    c pci_request_region, c pcim_request_all_regions = pci_request_regions, c pci_release_regions,
    c pci_release_selected_regions, c pci_release_region, c pci_select_bars, c pci_iomap, c pci_iomap_range, c pci_iomap_wc = pci_iomap,
    c pci_ioremap_bar, c pci_ioremap_wc_bar = pci_ioremap_bar, c pci_iounmap, c pcim_iomap_table, c pcim_iomap,
    c pcim_iomap_regions, c pcim_iomap_region,
    k pci_set_power_state = done, k pci_enable_wake = done, k pci_wake_from_d3 = done, k pci_prepare_to_sleep = done,
    k pci_back_from_sleep = done, k pci_dev_run_wake = never, k pci_pme_capable = never, k pci_pme_active = done,
    k pci_enable_pcie_error_reporting = not_here, k pci_disable_pcie_error_reporting = not_here,
    k pci_disable_link_state = not_here, k pci_disable_link_state_locked = not_here, k pci_enable_sriov = not_here,
    k pci_disable_sriov = done, k pci_num_vf = done, k pci_vfs_assigned = done, k pci_sriov_set_totalvfs = not_here,
    k pci_sriov_get_totalvfs = done, k pcie_get_readrq, k pcie_set_readrq = done, k pci_set_cacheline_size = done,
    k pci_device_is_present = present, k pcie_flr = done, k pci_reset_function = not_here,
];

/// A function that somebody holds is there.
extern "C" fn present() -> bool {
    true
}
