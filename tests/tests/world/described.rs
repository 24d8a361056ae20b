//! A machine with described devices.

use ferrmod_machine::{Device, Outcome};

use crate::world::World;

impl World {
    /// Makes a device; its number.
    pub(crate) fn add(&mut self, description: &str) -> u32 {
        match self.machine.add_device(description).unwrap() {
            Outcome::Done(number) => number,
            other => panic!("{description}: {other:?}{}", self.log()),
        }
    }

    /// How a device stands.
    pub(crate) fn device(&mut self, number: u32) -> Device {
        let devices = self.machine.devices().unwrap();
        devices.into_iter().find(|device| device.number == number).unwrap_or_else(|| panic!("no device {number}"))
    }

    /// Writes what has to be taken as a whole.
    pub(crate) fn put(&mut self, path: &str, text: &str) {
        assert_eq!(self.write(path, text), Outcome::Done(text.len() as u64), "{path}{}", self.log());
    }

    /// Unloads everything, takes all devices away, and looks that nothing is left of them.
    pub(crate) fn end(&mut self) {
        for module in self.machine.list().unwrap() {
            assert_eq!(self.machine.unload(&module.name, false).unwrap(), Outcome::Done(()), "{}", module.name);
        }
        for device in self.machine.devices().unwrap() {
            assert_eq!(device.driver, None, "{device:?}");
            assert_eq!(self.machine.remove_device(device.number).unwrap(), Outcome::Done(()));
        }
        self.is_clean();
        assert_eq!(self.machine.devices().unwrap(), []);
    }
}
