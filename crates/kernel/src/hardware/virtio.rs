//! A virtio device as memory-mapped registers show it (Virtual I/O Device Specification 1.2, "Virtio Over MMIO").
//!
//! A source of entropy fills the buffers it is given; of every other type the registers and queues are there, its configuration is what
//! was described and then what the driver writes, and nobody ever uses a buffer. A driver that breaks the rules is told that the device
//! needs a reset.

use alloc::vec::Vec;

use super::description::VirtioDevice;
use super::model::{Model, Surroundings};

/// Bytes of the window.
pub const WINDOW: u64 = 0x1000;
/// The vendor of a device of which nothing is said: that of most hosts.
pub const VENDOR: u32 = 0x1af4;

/// `virt`, and the version of the registers.
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
/// Queues, and descriptors of one.
const QUEUES: usize = 8;
const LARGEST: u32 = 256;
/// Bytes of the configuration at most.
pub const CONFIGURATION: usize = 256;
/// `VIRTIO_F_VERSION_1`, in the second word of features.
const VERSION_1: u32 = 1;
/// The device type with a model ("Device Types").
const ENTROPY: u32 = 4;

/// Bits of the status.
const NEEDS_RESET: u32 = 0x40;
/// Causes of interrupts: a buffer was used, the configuration or the status changed.
const USED: u32 = 1;
const CHANGED: u32 = 2;
/// Flags of a descriptor: there is a next one, the device writes.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
/// The driver wants no interrupts for used buffers.
const NO_INTERRUPT: u16 = 1;

/// Registers.
mod register {
    pub(super) const MAGIC: u64 = 0x00;
    pub(super) const VERSION: u64 = 0x04;
    pub(super) const DEVICE: u64 = 0x08;
    pub(super) const VENDOR: u64 = 0x0c;
    pub(super) const FEATURES: u64 = 0x10;
    pub(super) const FEATURES_SELECT: u64 = 0x14;
    pub(super) const QUEUE_SELECT: u64 = 0x30;
    pub(super) const QUEUE_LARGEST: u64 = 0x34;
    pub(super) const QUEUE_SIZE: u64 = 0x38;
    pub(super) const QUEUE_READY: u64 = 0x44;
    pub(super) const NOTIFY: u64 = 0x50;
    pub(super) const CAUSES: u64 = 0x60;
    pub(super) const ACKNOWLEDGE: u64 = 0x64;
    pub(super) const STATUS: u64 = 0x70;
    pub(super) const DESCRIPTORS: u64 = 0x80;
    pub(super) const AVAILABLE: u64 = 0x90;
    pub(super) const USED: u64 = 0xa0;
    pub(super) const GENERATION: u64 = 0xfc;
    pub(super) const CONFIGURATION: u64 = 0x100;
}

/// A queue, where the driver has put it.
#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    size: u32,
    ready: bool,
    descriptors: u64,
    available: u64,
    used: u64,
    /// Buffers that were looked at so far.
    seen: u16,
}

/// The driver has broken a rule, or gave addresses where no memory is.
struct Broken;

fn word(memory: &mut dyn Surroundings, address: u64) -> Result<u16, Broken> {
    let mut bytes = [0; 2];
    if memory.read_memory(address, &mut bytes) { Ok(u16::from_le_bytes(bytes)) } else { Err(Broken) }
}
fn put(memory: &mut dyn Surroundings, address: u64, bytes: &[u8]) -> Result<(), Broken> {
    if memory.write_memory(address, bytes) { Ok(()) } else { Err(Broken) }
}

impl Queue {
    /// Uses every buffer the driver has made available: `fill` gets each part the device may write. Whether the driver wants to be
    /// told.
    fn serve(&mut self, memory: &mut dyn Surroundings, fill: &mut dyn FnMut(&mut [u8])) -> Result<bool, Broken> {
        let size = u16::try_from(self.size).ok().filter(|size| size.is_power_of_two()).ok_or(Broken)?;
        let mut told = false;
        // More than a queue holds cannot be available.
        for _ in 0..size {
            if word(memory, self.available.wrapping_add(2))? == self.seen {
                break;
            }
            let head = word(memory, self.available.wrapping_add(4 + 2 * u64::from(self.seen % size)))?;
            let written = self.chain(head, size, memory, fill)?;
            // The element of the used ring, and then the index that makes it known.
            let at = self.used.wrapping_add(4 + 8 * u64::from(self.seen % size));
            put(memory, at, &u32::from(head).to_le_bytes())?;
            put(memory, at.wrapping_add(4), &written.to_le_bytes())?;
            self.seen = self.seen.wrapping_add(1);
            put(memory, self.used.wrapping_add(2), &self.seen.to_le_bytes())?;
            told = true;
        }
        Ok(told && word(memory, self.available)? & NO_INTERRUPT == 0)
    }

    /// One buffer; how many bytes were written.
    fn chain(
        &self,
        head: u16,
        size: u16,
        memory: &mut dyn Surroundings,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Result<u32, Broken> {
        let (mut next, mut written) = (head, 0_u32);
        for _ in 0..size {
            if next >= size {
                return Err(Broken);
            }
            let mut descriptor = [0; 16];
            if !memory.read_memory(self.descriptors.wrapping_add(16 * u64::from(next)), &mut descriptor) {
                return Err(Broken);
            }
            let [a, b, c, d, e, f, g, h, l0, l1, l2, l3, f0, f1, n0, n1] = descriptor;
            let (address, length) =
                (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u32::from_le_bytes([l0, l1, l2, l3]));
            let flags = u16::from_le_bytes([f0, f1]);
            if flags & WRITE != 0 {
                let mut done = 0;
                while done < length {
                    let mut part = [0; 256];
                    let part = &mut part[..(length - done).min(256) as usize];
                    fill(part);
                    put(memory, address.wrapping_add(done.into()), part)?;
                    done += part.len() as u32;
                }
                written = written.wrapping_add(length);
            }
            if flags & NEXT == 0 {
                return Ok(written);
            }
            next = u16::from_le_bytes([n0, n1]);
        }
        Err(Broken)
    }
}

/// The device.
#[derive(Debug)]
pub struct Virtio {
    id: u32,
    vendor: u32,
    status: u32,
    causes: u32,
    features_select: u32,
    queue_select: u32,
    queues: [Queue; QUEUES],
    configuration: Vec<u8>,
    /// The state of the source of entropy. It begins the same each time, so that a run can be repeated.
    entropy: u64,
}

impl Virtio {
    /// The device of a description.
    pub fn new(wanted: &VirtioDevice) -> Self {
        Self {
            id: wanted.id,
            vendor: wanted.vendor,
            status: 0,
            causes: 0,
            features_select: 0,
            queue_select: 0,
            queues: [Queue::default(); QUEUES],
            configuration: wanted.configuration.clone(),
            entropy: 0x9e37_79b9_7f4a_7c15,
        }
    }

    fn raise(&mut self, causes: u32, surroundings: &mut dyn Surroundings) {
        self.causes |= causes;
        surroundings.interrupt(self.causes != 0);
    }

    fn queue(&mut self) -> Option<&mut Queue> {
        self.queues.get_mut(self.queue_select as usize)
    }

    fn notify(&mut self, number: u32, surroundings: &mut dyn Surroundings) {
        if self.id != ENTROPY || self.status & NEEDS_RESET != 0 {
            return;
        }
        let state = &mut self.entropy;
        let Some(queue) = self.queues.get_mut(number as usize).filter(|queue| queue.ready) else { return };
        let served = queue.serve(surroundings, &mut |part| {
            for byte in part {
                // Xorshift (Marsaglia, 2003) with shifts 13, 7, 17.
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                *byte = (*state >> 32) as u8;
            }
        });
        match served {
            Ok(true) => self.raise(USED, surroundings),
            Ok(false) => (),
            Err(Broken) => {
                self.status |= NEEDS_RESET;
                self.raise(CHANGED, surroundings);
            }
        }
    }

    fn reset(&mut self, surroundings: &mut dyn Surroundings) {
        let configuration = core::mem::take(&mut self.configuration);
        let fresh = Self::new(&VirtioDevice { id: self.id, vendor: self.vendor, configuration });
        *self = Self { entropy: self.entropy, ..fresh };
        surroundings.interrupt(false);
    }

    /// The bytes of the configuration that an access is about, as many as there are.
    fn configured(&mut self, offset: u64, width: u8) -> &mut [u8] {
        let start = offset.saturating_sub(register::CONFIGURATION).min(self.configuration.len() as u64) as usize;
        let end = self.configuration.len().min(start + usize::from(width));
        &mut self.configuration[start..end]
    }
}

/// Changes one half of an address.
fn set_half(address: &mut u64, high: bool, value: u32) {
    let shift = if high { 32 } else { 0 };
    *address = *address & !(0xffff_ffff << shift) | u64::from(value) << shift;
}

impl Model for Virtio {
    fn read(&mut self, offset: u64, width: u8, _surroundings: &mut dyn Surroundings) -> u64 {
        if offset >= register::CONFIGURATION {
            let mut bytes = [0; 8];
            let known = self.configured(offset, width.min(8));
            bytes[..known.len()].copy_from_slice(known);
            return u64::from_le_bytes(bytes);
        }
        // "Virtio Over MMIO": registers are 32 bits wide and aligned.
        if width != 4 {
            return u64::MAX;
        }
        let value = match offset {
            register::MAGIC => MAGIC,
            register::VERSION => VERSION,
            register::DEVICE => self.id,
            register::VENDOR => self.vendor,
            register::FEATURES if self.features_select == 1 => VERSION_1,
            register::QUEUE_LARGEST => self.queue().map_or(0, |_| LARGEST),
            register::QUEUE_READY => self.queue().map_or(0, |queue| queue.ready.into()),
            register::CAUSES => self.causes,
            register::STATUS => self.status,
            register::FEATURES | register::GENERATION => 0,
            // Shared memory that is not there has a length of ones.
            _ => u32::MAX,
        };
        value.into()
    }

    fn write(&mut self, offset: u64, width: u8, value: u64, surroundings: &mut dyn Surroundings) {
        if offset >= register::CONFIGURATION {
            let known = self.configured(offset, width.min(8));
            known.copy_from_slice(&value.to_le_bytes()[..known.len()]);
            return;
        }
        if width != 4 {
            return;
        }
        let value = value as u32;
        match offset {
            register::FEATURES_SELECT => self.features_select = value,
            register::QUEUE_SELECT => self.queue_select = value,
            register::NOTIFY => self.notify(value, surroundings),
            register::ACKNOWLEDGE => {
                self.causes &= !value;
                surroundings.interrupt(self.causes != 0);
            }
            register::STATUS if value == 0 => self.reset(surroundings),
            register::STATUS => self.status |= value,
            _ => {
                let Some(queue) = self.queue() else { return };
                match offset {
                    register::QUEUE_SIZE => queue.size = value.min(LARGEST),
                    register::QUEUE_READY => {
                        queue.ready = value & 1 != 0;
                        queue.seen = 0;
                    }
                    _ => {
                        let address = match offset & !4 {
                            register::DESCRIPTORS => &mut queue.descriptors,
                            register::AVAILABLE => &mut queue.available,
                            register::USED => &mut queue.used,
                            _ => return,
                        };
                        set_half(address, offset & 4 != 0, value);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    /// A line, and memory at address 0.
    struct Bench {
        raised: bool,
        memory: Vec<u8>,
    }

    impl Surroundings for Bench {
        fn interrupt(&mut self, raised: bool) {
            self.raised = raised;
        }
        fn read_memory(&mut self, address: u64, into: &mut [u8]) -> bool {
            let part = self.memory.get(address as usize..).and_then(|memory| memory.get(..into.len()));
            part.is_some_and(|part| {
                into.copy_from_slice(part);
                true
            })
        }
        fn write_memory(&mut self, address: u64, bytes: &[u8]) -> bool {
            let part = self.memory.get_mut(address as usize..).and_then(|memory| memory.get_mut(..bytes.len()));
            part.is_some_and(|part| {
                part.copy_from_slice(bytes);
                true
            })
        }
    }

    /// A source of entropy with one queue of 4 descriptors: those at 0, the available ring at 0x100, the used one at 0x200.
    fn started() -> (Virtio, Bench) {
        let mut device = Virtio::new(&VirtioDevice { id: ENTROPY, vendor: VENDOR, configuration: vec![1, 2, 3] });
        let mut bench = Bench { raised: false, memory: vec![0; 0x1000] };
        for (register, value) in
            [(0x70, 0xb), (0x30, 0), (0x38, 4), (0x80, 0), (0x90, 0x100), (0xa0, 0x200), (0x44, 1), (0x70, 0xf)]
        {
            device.write(register, 4, value, &mut bench);
        }
        (device, bench)
    }

    fn descriptor(bench: &mut Bench, number: usize, address: u64, length: u32, flags: u16, next: u16) {
        let at = 16 * number;
        bench.memory[at..at + 8].copy_from_slice(&address.to_le_bytes());
        bench.memory[at + 8..at + 12].copy_from_slice(&length.to_le_bytes());
        bench.memory[at + 12..at + 14].copy_from_slice(&flags.to_le_bytes());
        bench.memory[at + 14..at + 16].copy_from_slice(&next.to_le_bytes());
    }

    #[test]
    fn it_says_what_it_is() {
        let (mut device, mut bench) = started();
        let read = |device: &mut Virtio, bench: &mut Bench, register| device.read(register, 4, bench);
        assert_eq!(read(&mut device, &mut bench, 0), MAGIC.into());
        assert_eq!((read(&mut device, &mut bench, 4), read(&mut device, &mut bench, 8)), (2, 4));
        assert_eq!(read(&mut device, &mut bench, 0x10), 0);
        device.write(0x14, 4, 1, &mut bench);
        assert_eq!(read(&mut device, &mut bench, 0x10), 1);
        assert_eq!((read(&mut device, &mut bench, 0x100), device.read(0x102, 2, &mut bench)), (0x03_0201, 3));
        device.write(0x101, 8, 0xffff, &mut bench);
        assert_eq!((read(&mut device, &mut bench, 0x100), read(&mut device, &mut bench, 0xffc)), (0xff_ff01, 0));
        assert_eq!((read(&mut device, &mut bench, 0x34), read(&mut device, &mut bench, 0x44)), (256, 1));
        device.write(0x30, 4, 8, &mut bench);
        assert_eq!(read(&mut device, &mut bench, 0x34), 0, "there are eight queues");
        device.write(0x70, 4, 0, &mut bench);
        device.write(0x30, 4, 0, &mut bench);
        assert_eq!((read(&mut device, &mut bench, 0x70), read(&mut device, &mut bench, 0x44)), (0, 0));
    }

    #[test]
    fn entropy_fills_a_chain_and_is_told_of() {
        let (mut device, mut bench) = started();
        descriptor(&mut bench, 2, 0x400, 300, NEXT | WRITE, 1);
        descriptor(&mut bench, 1, 0x600, 8, WRITE, 0);
        bench.memory[0x104] = 2;
        bench.memory[0x102] = 1;
        device.write(0x50, 4, 0, &mut bench);
        assert!(bench.raised);
        assert_eq!(device.read(0x60, 4, &mut bench), u64::from(USED));
        assert_eq!(bench.memory[0x202..0x20c], [1, 0, 2, 0, 0, 0, 52, 1, 0, 0], "index 1, head 2, 308 bytes");
        assert!(bench.memory[0x400 + 292..0x400 + 300].iter().any(|&byte| byte != 0));
        assert!(bench.memory[0x600..0x608].iter().any(|&byte| byte != 0));
        assert_eq!(bench.memory[0x400 + 300], 0, "no more than it was given");
        device.write(0x64, 4, USED.into(), &mut bench);
        assert!(!bench.raised);
        device.write(0x50, 4, 0, &mut bench);
        assert!(!bench.raised, "nothing more is available");
    }

    #[test]
    fn broken_rules_need_a_reset() {
        for (address, length, flags, next) in
            [(0x400, 4, NEXT | WRITE, 0), (0x400, 4, NEXT, 9), (0xf_0000, 4, WRITE, 0), (u64::MAX, 300, WRITE, 0)]
        {
            let (mut device, mut bench) = started();
            descriptor(&mut bench, 0, address, length, flags, next);
            bench.memory[0x102] = 1;
            device.write(0x50, 4, 0, &mut bench);
            assert!(bench.raised);
            assert_eq!(device.read(0x60, 4, &mut bench), u64::from(CHANGED));
            assert_eq!(device.read(0x70, 4, &mut bench), u64::from(0xf | NEEDS_RESET));
        }
    }
}
