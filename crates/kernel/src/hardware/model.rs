//! What is behind a window: registers that do something.

/// What a model may do while it is accessed.
pub trait Surroundings {
    /// Drives the device's interrupt line.
    fn interrupt(&mut self, raised: bool);

    /// Reads memory as a bus master; whether that was possible.
    fn read_memory(&mut self, address: u64, into: &mut [u8]) -> bool;

    /// Writes memory as a bus master; whether that was possible.
    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> bool;
}

/// A device's registers.
pub trait Model: Send {
    /// Reads `width` bytes (1, 2, 4 or 8) at `offset` of the window.
    fn read(&mut self, offset: u64, width: u8, surroundings: &mut dyn Surroundings) -> u64;

    /// Writes them.
    fn write(&mut self, offset: u64, width: u8, value: u64, surroundings: &mut dyn Surroundings);
}

/// A window where nobody answers: all bits read as ones.
#[derive(Clone, Copy, Debug)]
pub struct Ones;

impl Model for Ones {
    fn read(&mut self, _offset: u64, _width: u8, _surroundings: &mut dyn Surroundings) -> u64 {
        u64::MAX
    }

    fn write(&mut self, _offset: u64, _width: u8, _value: u64, _surroundings: &mut dyn Surroundings) {}
}
