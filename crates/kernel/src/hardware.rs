//! Hardware that is described: devices, their registers, and what happens when those are touched.
//!
//! A device's windows have addresses that nothing is mapped at, so every access faults; the handler asks [`Kernel::hardware_read`] and
//! [`Kernel::hardware_write`] and goes on behind the instruction. Models run to completion and hold no lock of the kernel but this
//! module's own.
//!
//! # What this module does not do
//! It knows no bus as drivers see it: how a device becomes one of theirs is the business of the rooms `abi-*`.

pub mod chip;
pub mod config_space;
pub mod description;
pub mod edu;
pub mod model;
pub mod reports;
pub mod usb;
pub mod virtio;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

pub use description::{Description, DescriptionError};

use crate::Kernel;
use crate::lock::Lock;
use crate::platform::Platform;
use crate::text::Errno;
use chip::Chip;
use config_space::ConfigSpace;
use description::Bar;
use model::{Model, Ones, Surroundings};

/// A device's number, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u32);

/// A report that came to a device (HID).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceReport {
    /// `output` or `feature`.
    pub kind: &'static str,
    /// What it says, behind its number if the device's reports have numbers.
    pub bytes: Vec<u8>,
}

/// How a device stands with the drivers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Its directory in `/sys`.
    pub path: String,
    /// What names the modules that may have a driver for it.
    pub modalias: String,
    /// The driver that has it.
    pub driver: Option<String>,
    /// The drivers that were offered it and what their `probe` returned, oldest first: 0 or a negative errno.
    pub probes: Vec<(String, i32)>,
}

/// The first port that is given to functions; those below are a PC's own.
const PORTS: u64 = 0x1000;
/// The first of the interrupt lines that functions share.
const FIRST_LINE: u32 = 16;
const LINES: u32 = 8;
/// An interrupt that is still raised after so many calls of its handlers is nobody's.
const PATIENCE: u32 = 1000;

/// A device.
struct Device {
    description: Description,
    chip: Option<Chip>,
    config: Option<ConfigSpace>,
    usb: Option<usb::usbip::Connection>,
    line: Option<u32>,
    /// The number its interrupts have as messages, when it sends those.
    vector: Option<u32>,
    raised: bool,
}

impl Device {
    /// Whether a device without configuration space reaches memory by itself.
    fn is_master(&self) -> bool {
        matches!(self.description, Description::Virtio(_))
    }
}

/// A window or a range of ports.
struct Window {
    range: Range<u64>,
    ports: bool,
    device: DeviceId,
    /// Which of the device's windows this is.
    number: usize,
    /// Not here while it is being accessed.
    model: Option<Box<dyn Model>>,
}

#[derive(Default)]
struct State {
    last: u32,
    devices: BTreeMap<DeviceId, Device>,
    windows: Vec<Window>,
}

/// All described devices.
#[derive(Default)]
pub struct Hardware(Lock<State>);

impl core::fmt::Debug for Hardware {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Hardware").finish_non_exhaustive()
    }
}

/// What a model reaches while it is accessed.
struct Reached<'a> {
    platform: &'a dyn Platform,
    is_master: bool,
    raised: bool,
}

impl Reached<'_> {
    /// The address of memory that a bus master may touch: the heap and the data of modules.
    fn memory(&self, address: u64, length: usize) -> Option<u64> {
        let regions = self.platform.regions();
        let start = address.wrapping_add(regions.page_offset);
        let end = start.checked_add(length as u64)?;
        let reachable = [&regions.heap, &regions.data];
        (self.is_master && reachable.iter().any(|region| region.start <= start && end <= region.end)).then_some(start)
    }
}

impl Surroundings for Reached<'_> {
    fn interrupt(&mut self, raised: bool) {
        self.raised = raised;
    }

    fn read_memory(&mut self, address: u64, into: &mut [u8]) -> bool {
        self.memory(address, into.len()).is_some_and(|start| self.platform.read(start, into).is_ok())
    }

    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.memory(address, bytes.len()).is_some_and(|start| self.platform.write(start, bytes).is_ok())
    }
}

impl State {
    /// A free range of `size` in `within`, aligned to its size as base address registers need it.
    fn free(&self, within: &Range<u64>, ports: bool, size: u64) -> Option<Range<u64>> {
        let align = if ports { size } else { size.max(4096) };
        let mut start = within.start.next_multiple_of(align);
        loop {
            let end = start.checked_add(size).filter(|&end| end <= within.end)?;
            let taken = self.windows.iter().filter(|window| window.ports == ports);
            match taken.filter(|window| window.range.start < end && start < window.range.end).map(|w| w.range.end).max()
            {
                Some(next) => start = next.next_multiple_of(align),
                None => return Some(start..end),
            }
        }
    }

    fn place(&mut self, device: DeviceId, number: usize, bar: Bar, memory: &Range<u64>) -> Result<u64, Errno> {
        let ports = matches!(bar, Bar::Ports(_));
        let within = if ports { PORTS..0x1_0000 } else { memory.clone() };
        let model: Box<dyn Model> = match bar {
            Bar::Edu => Box::<edu::Edu>::default(),
            Bar::Memory(_) | Bar::Ports(_) => Box::new(Ones),
        };
        let range = self.free(&within, ports, config_space::size_of(bar)).ok_or(Errno::ENOSPC)?;
        let start = range.start;
        self.windows.push(Window { range, ports, device, number, model: Some(model) });
        Ok(start)
    }

    /// The one window of a device that has a model of its own.
    fn place_model(
        &mut self,
        device: DeviceId,
        size: u64,
        model: Box<dyn Model>,
        memory: &Range<u64>,
    ) -> Result<(), Errno> {
        let range = self.free(memory, false, size).ok_or(Errno::ENOSPC)?;
        self.windows.push(Window { range, ports: false, device, number: 0, model: Some(model) });
        Ok(())
    }
}

impl Hardware {
    /// Makes a device.
    ///
    /// # Errors
    /// `ENOSPC` when there are no more addresses for its windows.
    pub fn add(&self, description: Description, platform: &dyn Platform) -> Result<DeviceId, Errno> {
        let memory = &platform.regions().windows;
        let mut state = self.0.lock();
        let id = DeviceId(state.last + 1);
        let mut device = Device {
            description: description.clone(),
            chip: None,
            config: None,
            usb: None,
            line: None,
            vector: None,
            raised: false,
        };
        let placed = match &description {
            Description::Platform(wanted) => {
                device.line = wanted.line;
                wanted.window.map_or(Ok(()), |size| state.place(id, 0, Bar::Memory(size), memory).map(drop))
            }
            Description::I2c(wanted) => {
                let mut chip = Chip::new(wanted.model);
                // Reading the description has tried each setting.
                for (name, value) in &wanted.settings {
                    let _ = chip.set(name, *value);
                }
                device.chip = Some(chip);
                Ok(())
            }
            Description::Pci(wanted) => {
                let line = FIRST_LINE + id.0 % LINES;
                let mut addresses = [0; 6];
                let bars = wanted.bars.iter().enumerate().filter_map(|(number, bar)| Some((number, (*bar)?)));
                let placed = bars
                    .map(|(number, bar)| (number, state.place(id, number, bar, memory)))
                    .try_for_each(|(number, start)| start.map(|start| addresses[number] = start));
                device.config = Some(ConfigSpace::new(wanted, addresses, line as u8));
                device.line = Some(line);
                placed
            }
            // Everything about it is said through its transport.
            Description::Hid(_) => Ok(()),
            Description::Usb(wanted) => {
                device.usb = Some(usb::usbip::Connection::new(usb::Usb::new(wanted)));
                Ok(())
            }
            Description::Virtio(wanted) => {
                device.line = Some(FIRST_LINE + id.0 % LINES);
                let model = Box::new(virtio::Virtio::new(wanted));
                state.place_model(id, virtio::WINDOW, model, memory)
            }
        };
        if let Err(errno) = placed {
            state.windows.retain(|window| window.device != id);
            return Err(errno);
        }
        state.last = id.0;
        state.devices.insert(id, device);
        Ok(id)
    }

    /// Takes a device away.
    pub fn remove(&self, id: DeviceId) {
        let mut state = self.0.lock();
        state.devices.remove(&id);
        state.windows.retain(|window| window.device != id);
    }

    /// All devices.
    pub fn list(&self) -> Vec<DeviceId> {
        self.0.lock().devices.keys().copied().collect()
    }

    /// What a device was said to be.
    pub fn description(&self, id: DeviceId) -> Option<Description> {
        self.0.lock().devices.get(&id).map(|device| device.description.clone())
    }

    /// A device's windows: number, whether they are ports, addresses.
    pub fn windows(&self, id: DeviceId) -> Vec<(usize, bool, Range<u64>)> {
        let state = self.0.lock();
        let own = state.windows.iter().filter(|window| window.device == id);
        own.map(|window| (window.number, window.ports, window.range.clone())).collect()
    }

    /// The interrupt line of a device.
    pub fn line(&self, id: DeviceId) -> Option<u32> {
        self.0.lock().devices.get(&id)?.line
    }

    /// Lets a device send its interrupts as messages with this number; `None`: it drives its line.
    pub fn set_vector(&self, id: DeviceId, vector: Option<u32>) {
        if let Some(device) = self.0.lock().devices.get_mut(&id) {
            device.vector = vector;
        }
    }

    /// Whether some device drives this line now.
    pub fn is_raised(&self, line: u32) -> bool {
        let state = self.0.lock();
        state.devices.values().any(|device| device.raised && device.vector.is_none() && device.line == Some(line))
    }

    /// Uses the chip of a device.
    pub fn with_chip<T>(&self, id: DeviceId, use_it: impl FnOnce(&mut Chip) -> T) -> Option<T> {
        self.0.lock().devices.get_mut(&id)?.chip.as_mut().map(use_it)
    }

    /// Uses the configuration space of a device.
    pub fn with_config<T>(&self, id: DeviceId, use_it: impl FnOnce(&mut ConfigSpace) -> T) -> Option<T> {
        self.0.lock().devices.get_mut(&id)?.config.as_mut().map(use_it)
    }

    /// Uses the connection to a USB device.
    pub fn with_usb<T>(&self, id: DeviceId, use_it: impl FnOnce(&mut usb::usbip::Connection) -> T) -> Option<T> {
        self.0.lock().devices.get_mut(&id)?.usb.as_mut().map(use_it)
    }

    /// Changes a setting of a device.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn set(&self, id: DeviceId, name: &str, value: i64) -> Result<(), String> {
        let set = self.with_chip(id, |chip| chip.set(name, value).map_err(|error| error.to_string()));
        set.unwrap_or_else(|| Err("this device has no settings".into()))
    }

    /// Whether an address lies in a window of a device.
    pub fn has(&self, address: u64) -> bool {
        self.0.lock().windows.iter().any(|window| !window.ports && window.range.contains(&address))
    }
}

/// One access to a window.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The first address, or port.
    pub address: u64,
    /// It is a port.
    pub port: bool,
    /// 1, 2, 4 or 8 bytes.
    pub width: u8,
}

impl Kernel {
    /// Reads what is behind an address or port; all ones where nobody answers.
    pub fn hardware_read(&'static self, access: Access) -> u64 {
        let ones = u64::MAX >> (64 - 8 * u32::from(access.width.clamp(1, 8)));
        let read = self.access(access, |model, offset, reached| model.read(offset, access.width, reached));
        read.unwrap_or(u64::MAX) & ones
    }

    /// Writes there.
    pub fn hardware_write(&'static self, access: Access, value: u64) {
        self.access(access, |model, offset, reached| model.write(offset, access.width, value, reached));
    }

    fn access<T>(
        &'static self,
        access: Access,
        use_it: impl FnOnce(&mut dyn Model, u64, &mut dyn Surroundings) -> T,
    ) -> Option<T> {
        let (mut model, start, id, mut reached) = {
            let mut state = self.hardware.0.lock();
            let State { devices, windows, .. } = &mut *state;
            let found = |window: &&mut Window| window.ports == access.port && window.range.contains(&access.address);
            let window = windows.iter_mut().find(found)?;
            let device = devices.get(&window.device)?;
            let (answers, is_master) = device
                .config
                .as_ref()
                .map_or((true, device.is_master()), |config| (config.answers(access.port), config.is_master()));
            if !answers {
                return None;
            }
            let reached = Reached { platform: self.platform, is_master, raised: device.raised };
            (window.model.take()?, window.range.start, window.device, reached)
        };
        let result = use_it(&mut *model, access.address - start, &mut reached);
        let raised = reached.raised;
        let deliver = {
            let mut state = self.hardware.0.lock();
            let State { devices, windows, .. } = &mut *state;
            if let Some(window) =
                windows.iter_mut().find(|window| window.range.start == start && window.ports == access.port)
            {
                window.model = Some(model);
            }
            let device = devices.get_mut(&id)?;
            let before = core::mem::replace(&mut device.raised, raised);
            let rises = raised && !before;
            device.vector.or(device.line).filter(|_| rises)
        };
        if let Some(line) = deliver {
            self.deliver(line);
        }
        Some(result)
    }

    /// Lets the handlers of a line run, as a task of their own, until nobody raises it any more.
    pub fn deliver(&'static self, line: u32) {
        let handle = move || {
            for _ in 0..PATIENCE {
                let Some(world) = self.linux_world() else { return };
                if !world.interrupt(line) || !self.hardware.is_raised(line) {
                    return;
                }
            }
            self.printk(
                alloc::format!("\x013irq {line}: nobody cared (try booting with the \"irqpoll\" option)\n").as_bytes(),
            );
        };
        if self.tasks.spawn(&alloc::format!("irq/{line}"), true, handle).is_err() {
            self.printk(alloc::format!("\x013irq {line}: lost for want of memory\n").as_bytes());
        }
    }

    /// Makes a device and shows it to the drivers of its bus.
    ///
    /// # Errors
    /// `ENODEV` when no world knows such buses, `ENOSPC`, or what the bus says.
    pub fn add_device(&'static self, description: Description) -> Result<DeviceId, Errno> {
        let world = self.linux_world().ok_or(Errno::ENODEV)?;
        let id = self.hardware.add(description, self.platform)?;
        world.add_device(id).inspect_err(|_| self.hardware.remove(id))?;
        Ok(id)
    }

    /// Takes a device from its driver and away.
    ///
    /// # Errors
    /// `ENODEV` when there is none of that number.
    pub fn remove_device(&'static self, id: DeviceId) -> Result<(), Errno> {
        self.hardware.description(id).ok_or(Errno::ENODEV)?;
        if let Some(world) = self.linux_world() {
            world.remove_device(id);
        }
        self.hardware.remove(id);
        Ok(())
    }

    /// Lets a device say a report.
    ///
    /// # Errors
    /// `ENODEV` when there is none of that number, `EOPNOTSUPP` when it has no reports, or what its transport says.
    pub fn send_report(&'static self, id: DeviceId, report: &[u8]) -> Result<(), Errno> {
        self.hardware.description(id).ok_or(Errno::ENODEV)?;
        self.linux_world().ok_or(Errno::ENODEV)?.send_report(id, report)
    }

    /// The reports that came to a device since this was asked last, oldest first.
    ///
    /// # Errors
    /// As [`Kernel::send_report`].
    pub fn take_reports(&'static self, id: DeviceId) -> Result<Vec<DeviceReport>, Errno> {
        self.hardware.description(id).ok_or(Errno::ENODEV)?;
        self.linux_world().ok_or(Errno::ENODEV)?.take_reports(id)
    }

    /// How a device stands with the drivers.
    ///
    /// # Errors
    /// `ENODEV` when there is none of that number.
    pub fn device_status(&'static self, id: DeviceId) -> Result<DeviceStatus, Errno> {
        self.linux_world().and_then(|world| world.device_status(id)).ok_or(Errno::ENODEV)
    }
}
