//! The page tables: W^X everywhere, and pages that appear when first touched.
//!
//! Every 4 KiB page that modules can use is entered at boot with its address and final permissions but not present
//! ([`DEMAND`]); the first access zeroes and shows it, and taking it back hides it again. Module text has no writable address
//! but the kernel's private alias ([`writable`]).

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use ferrmod_boot::memory::{DIRECT_MAP, KERNEL_VMA, LARGE_PAGE, MODULE_ALIAS, MemoryPlan, PAGE};
use x86_64::instructions::{interrupts, tlb};
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PhysFrame;
use x86_64::{PhysAddr, VirtAddr};

use crate::frames;

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
/// Free for software: the page belongs to somebody, and appears when first touched.
const DEMAND: u64 = 1 << 9;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

static ROOT: AtomicU64 = AtomicU64::new(0);
static PLAN: spin::Once<MemoryPlan> = spin::Once::new();
static IMAGE: spin::Once<ImageParts> = spin::Once::new();

/// What may be done with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Execute and read.
    Execute,
    /// Read.
    Read,
    /// Read and write.
    Write,
}

impl Access {
    fn bits(self) -> u64 {
        match self {
            Self::Execute => 0,
            Self::Read => NO_EXECUTE,
            Self::Write => NO_EXECUTE | WRITE,
        }
    }
}

/// What the processor could not do for want of frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutOfFrames;

/// The table in a physical frame.
fn table(frame: u64) -> &'static [AtomicU64; 512] {
    // SAFETY: only frames that this module took for tables get here; the boot tables and the final ones both map them in
    // the direct map, and every access to them is atomic.
    unsafe { &*((DIRECT_MAP + frame) as *const [AtomicU64; 512]) }
}

fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * level) & 511) as usize
}

fn new_table() -> Result<u64, OutOfFrames> {
    let frame = frames::take().ok_or(OutOfFrames)?;
    for entry in table(frame) {
        entry.store(0, Ordering::Relaxed);
    }
    Ok(frame)
}

/// The entry that describes `address`, and whether it is one of a large page. `None` where there is no table.
fn entry(address: u64) -> Option<(&'static AtomicU64, bool)> {
    let mut frame = ROOT.load(Ordering::Relaxed);
    for level in [3, 2, 1] {
        let entry = &table(frame)[index(address, level)];
        let value = entry.load(Ordering::Relaxed);
        if value & PRESENT == 0 {
            return None;
        }
        if value & LARGE != 0 {
            return Some((entry, true));
        }
        frame = value & ADDRESS;
    }
    Some((&table(frame)[index(address, 0)], false))
}

fn set(address: u64, value: u64, last_level: u32) -> Result<(), OutOfFrames> {
    let mut frame = ROOT.load(Ordering::Relaxed);
    for level in (last_level + 1..=3).rev() {
        let entry = &table(frame)[index(address, level)];
        let mut found = entry.load(Ordering::Relaxed);
        if found & PRESENT == 0 {
            found = new_table()? | PRESENT | WRITE;
            entry.store(found, Ordering::Relaxed);
        }
        frame = found & ADDRESS;
    }
    table(frame)[index(address, last_level)].store(value, Ordering::Relaxed);
    Ok(())
}

fn map(at: u64, physical: Range<u64>, access: Access, state: u64) -> Result<(), OutOfFrames> {
    let mut next = physical.start;
    while next < physical.end {
        set(at + (next - physical.start), next | access.bits() | state, 0)?;
        next += PAGE;
    }
    Ok(())
}

fn map_large(at: u64, physical: &Range<u64>) -> Result<(), OutOfFrames> {
    let mut next = physical.start;
    while next < physical.end {
        set(at + (next - physical.start), next | Access::Write.bits() | LARGE | PRESENT, 1)?;
        next += LARGE_PAGE;
    }
    Ok(())
}

/// The parts of the kernel's own image, as linked.
#[derive(Clone, Debug)]
pub(crate) struct ImageParts {
    /// Code.
    pub(crate) text: Range<u64>,
    /// Constants.
    pub(crate) rodata: Range<u64>,
    /// Variables and stacks.
    pub(crate) data: Range<u64>,
}

/// Builds the final tables and turns them on. Called once, with the frames of the plan available.
pub(crate) fn initialise(plan: &MemoryPlan, image: &ImageParts, initramfs: &Range<u64>) -> Result<(), OutOfFrames> {
    ROOT.store(new_table()?, Ordering::Relaxed);
    let plan = PLAN.call_once(|| plan.clone());
    let image = IMAGE.call_once(|| image.clone());
    for (part, access) in [(&image.text, Access::Execute), (&image.rodata, Access::Read), (&image.data, Access::Write)]
    {
        map(part.start, part.start - KERNEL_VMA..part.end - KERNEL_VMA, access, PRESENT)?;
    }
    map_large(DIRECT_MAP + plan.frames.start, &plan.frames)?;
    map_large(DIRECT_MAP + plan.rust_heap.start, &plan.rust_heap)?;
    map_large(MODULE_ALIAS, &plan.modules())?;
    let pages = initramfs.start / PAGE * PAGE..initramfs.end.next_multiple_of(PAGE);
    map(DIRECT_MAP + pages.start, pages, Access::Read, PRESENT)?;

    for (part, access) in [(&plan.text, Access::Execute), (&plan.rodata, Access::Read), (&plan.data, Access::Write)] {
        map(plan.module_address(part.start), part.clone(), access, DEMAND)?;
    }
    // `page_address` of a page of exported data leads here; text and rodata have no address in the direct map.
    map(DIRECT_MAP + plan.data.start, plan.data.clone(), Access::Write, DEMAND)?;
    for part in [&plan.heap, &plan.percpu] {
        map(DIRECT_MAP + part.start, part.clone(), Access::Write, DEMAND)?;
    }
    map(ferrmod_boot::memory::VMEMMAP, plan.vmemmap.clone(), Access::Write, DEMAND)?;

    let root = PhysFrame::containing_address(PhysAddr::new(ROOT.load(Ordering::Relaxed)));
    // SAFETY: the new tables map the running code, its stack, its data and the heap as the old ones do; what goes away
    // (the identity map and the rest of the direct map) is not used any more.
    unsafe { Cr3::write(root, Cr3Flags::empty()) };
    Ok(())
}

fn flush(address: u64) {
    tlb::flush(VirtAddr::new_truncate(address));
}

/// The kernel's own writable address of a physical address that appears on demand.
fn writable(plan: &MemoryPlan, physical: u64) -> u64 {
    if plan.modules().contains(&physical) {
        MODULE_ALIAS + (physical - plan.text.start)
    } else if plan.vmemmap.contains(&physical) {
        ferrmod_boot::memory::VMEMMAP + (physical - plan.vmemmap.start)
    } else {
        DIRECT_MAP + physical
    }
}

/// The addresses under which a physical page of the plan is known to modules.
fn addresses(plan: &MemoryPlan, physical: u64) -> [Option<u64>; 2] {
    if plan.data.contains(&physical) {
        [Some(plan.module_address(physical)), Some(DIRECT_MAP + physical)]
    } else if plan.modules().contains(&physical) {
        [Some(plan.module_address(physical)), None]
    } else {
        [Some(writable(plan, physical)), None]
    }
}

/// Shows the page at `address` if it is one that appears when touched. `false`: it was there, or there is none.
pub(crate) fn demand(address: u64) -> bool {
    let (Some(plan), Some((entry, false))) = (PLAN.get(), entry(address)) else {
        return false;
    };
    interrupts::without_interrupts(|| {
        let value = entry.load(Ordering::Relaxed);
        if value & (PRESENT | DEMAND) != DEMAND {
            return false;
        }
        let mut physical = value & ADDRESS;
        if physical == 0 {
            let Some(frame) = frames::take() else {
                return false;
            };
            physical = frame;
            entry.store(value | frame | PRESENT, Ordering::Relaxed);
        } else {
            for alias in addresses(plan, physical).into_iter().flatten() {
                if let Some((entry, false)) = self::entry(alias) {
                    entry.fetch_or(PRESENT, Ordering::Relaxed);
                }
            }
        }
        // SAFETY: the page is RAM of the plan that nobody could reach until now, mapped writable at this address.
        unsafe { core::ptr::write_bytes(writable(plan, physical) as *mut u8, 0, PAGE as usize) };
        true
    })
}

/// Whether a read at `address` would succeed; shows the page if need be.
pub(crate) fn readable(address: u64) -> bool {
    match entry(address) {
        Some((entry, _)) if entry.load(Ordering::Relaxed) & PRESENT != 0 => true,
        Some(_) => demand(address),
        None => false,
    }
}

/// Copies what is at `address`; `false` when part of it cannot be read.
pub(crate) fn read(address: u64, into: &mut [u8]) -> bool {
    let mut done = 0;
    while done < into.len() {
        let Some(at) = address.checked_add(done as u64) else {
            return false;
        };
        if !readable(at) {
            return false;
        }
        let length = ((PAGE - at % PAGE) as usize).min(into.len() - done);
        // SAFETY: the page is mapped readable, and a reader of raw bytes does not mind what module code made of them.
        unsafe { core::ptr::copy(at as *const u8, into[done..].as_mut_ptr(), length) };
        done += length;
    }
    true
}

/// Writes to memory of modules, read-only or not; `false` when part of it is not such memory.
pub(crate) fn write(address: u64, bytes: &[u8]) -> bool {
    let mut done = 0;
    while done < bytes.len() {
        let at = address.checked_add(done as u64).and_then(|at| Some((at, writable_address(at)?)));
        let Some((at, alias)) = at else { return false };
        let length = ((PAGE - at % PAGE) as usize).min(bytes.len() - done);
        // SAFETY: the alias is mapped writable to the end of its page, and what lies there belongs to modules: no Rust
        // reference exists to it.
        unsafe { core::ptr::copy(bytes[done..].as_ptr(), alias as *mut u8, length) };
        done += length;
    }
    true
}

/// The kernel's own writable address of the module-area, heap or per-CPU byte at `address`, its page shown.
fn writable_address(address: u64) -> Option<u64> {
    if !readable(address) {
        return None;
    }
    let (Some(plan), Some((entry, false))) = (PLAN.get(), entry(address)) else {
        return None;
    };
    let value = entry.load(Ordering::Relaxed);
    (value & DEMAND != 0).then(|| writable(plan, value & ADDRESS) + address % PAGE)
}

/// Hides the pages of a range: their contents are gone, the next access finds zeros. Frames of stacks are freed.
pub(crate) fn hide(range: Range<u64>) {
    let Some(plan) = PLAN.get() else { return };
    for page in range.step_by(PAGE as usize) {
        let Some((entry, false)) = entry(page) else {
            continue;
        };
        let value = entry.load(Ordering::Relaxed);
        if value & (PRESENT | DEMAND) != PRESENT | DEMAND {
            continue;
        }
        let physical = value & ADDRESS;
        if plan.frames.contains(&physical) {
            entry.store(value & !(PRESENT | ADDRESS), Ordering::Relaxed);
            flush(page);
            frames::give(physical);
            continue;
        }
        for alias in addresses(plan, physical).into_iter().flatten() {
            if let Some((entry, false)) = self::entry(alias) {
                entry.fetch_and(!PRESENT, Ordering::Relaxed);
                if plan.data.contains(&physical) {
                    // A sealed page is an ordinary one again.
                    entry.fetch_or(WRITE, Ordering::Relaxed);
                }
                flush(alias);
            }
        }
    }
}

/// Makes pages of module data read-only, or writable again, under all their addresses.
pub(crate) fn seal(range: Range<u64>, read_only: bool) {
    let Some(plan) = PLAN.get() else { return };
    for page in range.step_by(PAGE as usize) {
        let (true, Some((entry, false))) = (readable(page), entry(page)) else {
            continue;
        };
        for alias in addresses(plan, entry.load(Ordering::Relaxed) & ADDRESS).into_iter().flatten() {
            if let Some((entry, false)) = self::entry(alias) {
                if read_only {
                    entry.fetch_and(!WRITE, Ordering::Relaxed);
                } else {
                    entry.fetch_or(WRITE, Ordering::Relaxed);
                }
                flush(alias);
            }
        }
    }
}

/// Enters pages that get a frame when first touched.
pub(crate) fn reserve_stack(range: Range<u64>) -> Result<(), OutOfFrames> {
    for page in range.step_by(PAGE as usize) {
        set(page, Access::Write.bits() | DEMAND, 0)?;
    }
    Ok(())
}

/// Takes a page of the kernel image out of the tables: a guard.
pub(crate) fn guard(page: u64) {
    if let Some((entry, false)) = entry(page) {
        entry.store(0, Ordering::Relaxed);
        flush(page);
    }
}

/// What [`audit`] counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audit {
    /// Pages one can execute.
    pub(crate) executable: u64,
    /// Pages one can write.
    pub(crate) writable: u64,
    /// Addresses of pages that break the rule: the first one.
    pub(crate) broken: Option<u64>,
}

/// Walks all tables: no page is writable and executable, what is executable is code of the image or of modules, and neither
/// code nor constants can be written through any address outside the kernel's private alias.
pub(crate) fn audit() -> Audit {
    let mut audit = Audit::default();
    let (Some(plan), Some(image)) = (PLAN.get(), IMAGE.get()) else {
        return audit;
    };
    let physical = |range: &Range<u64>| range.start - KERNEL_VMA..range.end - KERNEL_VMA;
    let code = [physical(&image.text), plan.text.clone()];
    let constants = [physical(&image.rodata), plan.rodata.clone()];
    let alias = MODULE_ALIAS..MODULE_ALIAS + (plan.data.end - plan.text.start);
    let mut leaf = |address: u64, value: u64, size: u64| {
        let frames = value & ADDRESS..(value & ADDRESS) + size;
        let touches = |ranges: &[Range<u64>]| ranges.iter().any(|r| r.start < frames.end && frames.start < r.end);
        let (write, execute) = (value & WRITE != 0, value & NO_EXECUTE == 0);
        let code_is_written = write && !alias.contains(&address) && (touches(&code) || touches(&constants));
        let is_broken = if execute { write || !touches(&code) } else { code_is_written };
        if is_broken {
            audit.broken = audit.broken.or(Some(address));
        }
        audit.executable += if execute { size / PAGE } else { 0 };
        audit.writable += if write { size / PAGE } else { 0 };
    };
    walk(ROOT.load(Ordering::Relaxed), 3, 0, &mut leaf);
    audit
}

/// Calls `leaf(address, entry, size)` for every page there is, shown or still hidden.
fn walk(frame: u64, level: u32, base: u64, leaf: &mut impl FnMut(u64, u64, u64)) {
    for (index, entry) in table(frame).iter().enumerate() {
        let value = entry.load(Ordering::Relaxed);
        let size = PAGE << (9 * level);
        let mut address = base + index as u64 * size;
        if level == 3 && index >= 256 {
            address |= 0xffff << 48;
        }
        if level == 0 || value & LARGE != 0 {
            if value & (PRESENT | DEMAND) != 0 {
                leaf(address, value, size);
            }
        } else if value & PRESENT != 0 {
            walk(value & ADDRESS, level - 1, address, leaf);
        }
    }
}
