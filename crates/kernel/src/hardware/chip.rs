//! Chips on an I2C bus: register sets behind an address.
//!
//! A transfer is a list of messages; each is bytes in one direction. Chips with registers take the first byte of a write as the
//! register's number and keep it, which is how a read says what it wants.

/// The register sets there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Answers, and every bit reads as one.
    Ones,
    /// National Semiconductor LM75: 9 bits of 0.5 °C (data sheet, "Pointer Register").
    Lm75,
    /// Texas Instruments TMP102: 12 bits of 0.0625 °C behind the same pointer.
    Tmp102,
    /// A sensor on a memory module (JEDEC JC-42.4), with the identity of a Microchip MCP9805.
    Jc42,
}

impl Kind {
    /// The names of the models.
    pub const NAMES: [(&str, Kind); 4] =
        [("lm75", Kind::Lm75), ("tmp102", Kind::Tmp102), ("jc42", Kind::Jc42), ("ones", Kind::Ones)];

    /// The model of that name.
    pub fn of(name: &str) -> Option<Kind> {
        Kind::NAMES.iter().find(|(other, _)| *other == name).map(|&(_, kind)| kind)
    }
}

/// Why a chip cannot be set to something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// It has no such setting.
    #[error("this chip has {0}")]
    Unknown(&'static str),
    /// The value is out of its range.
    #[error("a value from {0} to {1}")]
    Range(i64, i64),
}

/// The lowest and highest temperature that can be set, in thousandths of a degree.
const COLDEST: i64 = -55_000;
const HOTTEST: i64 = 125_000;

/// The registers of a JC-42.4 sensor after power on: capabilities, configuration, upper, lower and critical limit, temperature,
/// maker, device.
const JC42: [u16; 8] = [0x001f, 0, 0, 0, 0, 0, 0x0054, 0x0000];
/// `T_HYST` and `T_OS` of an LM75: 75 and 80 degrees.
const LM75: [u16; 4] = [0, 0, 75 << 8, 80 << 8];
/// Those of a TMP102 are the same; its configuration begins as 60a0h (data sheet, "Configuration Register").
const TMP102: [u16; 4] = [0, 0x60a0, 75 << 8, 80 << 8];

/// A chip.
#[derive(Clone, Debug)]
pub struct Chip {
    kind: Kind,
    registers: [u16; 8],
    pointer: u8,
    /// What it measures, in 1/256 degree.
    temperature: i64,
}

impl Chip {
    /// A chip as it is after power on, at 25 degrees.
    pub fn new(kind: Kind) -> Self {
        let mut registers = [0; 8];
        match kind {
            Kind::Ones => registers = [0xffff; 8],
            Kind::Lm75 => registers[..4].copy_from_slice(&LM75),
            Kind::Tmp102 => registers[..4].copy_from_slice(&TMP102),
            Kind::Jc42 => registers = JC42,
        }
        let mut chip = Self { kind, registers, pointer: 0, temperature: 0 };
        // A chip without a temperature stays as it is.
        let _ = chip.set("temp", 25_000);
        chip
    }

    /// Changes something about the chip or its surroundings: `temp`, in thousandths of a degree.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn set(&mut self, name: &str, value: i64) -> Result<(), SettingError> {
        let (kind, known) = match self.kind {
            Kind::Ones => (self.kind, "no settings"),
            kind => (kind, "temp="),
        };
        if name != "temp" || kind == Kind::Ones {
            return Err(SettingError::Unknown(known));
        }
        if !(COLDEST..=HOTTEST).contains(&value) {
            return Err(SettingError::Range(COLDEST, HOTTEST));
        }
        // The registers count from the left in steps of 1/256 degree; a chip has only the upper bits.
        let fine = value * 256 / 1000;
        self.temperature = fine;
        match kind {
            Kind::Lm75 => self.registers[0] = fine as u16 & 0xff80,
            // Sixteenths of a degree, with the sign in bit 12 and above it the results of the comparisons.
            Kind::Jc42 => self.registers[5] = ((fine / 16) as u16 & 0x1fff) | self.jc42_flags(fine / 16),
            // It depends on how the chip is configured.
            Kind::Tmp102 | Kind::Ones => (),
        }
        Ok(())
    }

    /// The upper three bits of the temperature: at or above critical, above the upper limit, below the lower.
    fn jc42_flags(&self, now: i64) -> u16 {
        let limit = |register: usize| i64::from((self.registers[register] << 3).cast_signed() >> 3);
        u16::from(now >= limit(4)) << 15 | u16::from(now > limit(2)) << 14 | u16::from(now < limit(3)) << 13
    }

    fn last(&self) -> u8 {
        match self.kind {
            Kind::Ones => u8::MAX,
            Kind::Lm75 | Kind::Tmp102 => 3,
            Kind::Jc42 => 7,
        }
    }

    /// The bytes of the register pointed at, as they come over the wire.
    fn value(&self) -> ([u8; 2], usize) {
        let value = self.registers[usize::from(self.pointer) & 7];
        match (self.kind, self.pointer) {
            // The configuration of this chip has 8 bits.
            (Kind::Lm75, 1) => ([value as u8, value as u8], 1),
            (Kind::Tmp102, 0) => (self.sixteenths().to_be_bytes(), 2),
            _ => (value.to_be_bytes(), 2),
        }
    }

    /// The temperature register of a TMP102: sixteenths of a degree in 12 bits, or in 13 with a mark behind them in the extended mode
    /// (data sheet, "Extended Mode").
    fn sixteenths(&self) -> u16 {
        const EXTENDED: u16 = 0x10;
        let sixteenths = self.temperature / 16;
        if self.registers[1] & EXTENDED != 0 { (sixteenths << 3) as u16 | 1 } else { (sixteenths << 4) as u16 }
    }

    /// One message to the chip; `false` when it does not acknowledge.
    pub fn write(&mut self, message: &[u8]) -> bool {
        let Some((&register, value)) = message.split_first() else { return true };
        if self.kind == Kind::Ones {
            return true;
        }
        if register > self.last() {
            return false;
        }
        self.pointer = register;
        let at = usize::from(register);
        let (read_only, width) = match self.kind {
            Kind::Jc42 => (matches!(register, 0 | 5..=7), 2),
            _ => (register == 0, self.value().1),
        };
        match (value, width) {
            _ if read_only => (),
            (&[high, low, ..], 2) => self.registers[at] = u16::from_be_bytes([high, low]) & self.writable(register),
            (&[only, ..], 1) => self.registers[at] = only.into(),
            _ => (),
        }
        if self.kind == Kind::Jc42 {
            let now = i64::from((self.registers[5] << 3).cast_signed() >> 3);
            self.registers[5] = self.registers[5] & 0x1fff | self.jc42_flags(now);
        }
        true
    }

    /// The bits of a register that exist.
    fn writable(&self, register: u8) -> u16 {
        match (self.kind, register) {
            (Kind::Lm75, 2 | 3) => 0xff80,
            (Kind::Tmp102, 2 | 3) => 0xfff8,
            (Kind::Jc42, 2..=4) => 0x1ffc,
            _ => 0xffff,
        }
    }

    /// One message from the chip: it goes on sending the register it was last pointed at.
    pub fn read(&mut self, message: &mut [u8]) {
        let (bytes, width) = self.value();
        for (number, byte) in message.iter_mut().enumerate() {
            *byte = bytes[number % width];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(chip: &mut Chip, register: u8) -> u16 {
        assert!(chip.write(&[register]));
        let mut bytes = [0; 2];
        chip.read(&mut bytes);
        u16::from_be_bytes(bytes)
    }

    #[test]
    fn temperatures_are_those_of_the_data_sheets() {
        // LM75 data sheet, "Temperature Data Format": +25 °C is 032h, -25 °C is 1CEh, -55 °C is 192h, in 9 bits.
        for (degrees, bits) in [(125, 0x0fa), (25, 0x032), (0, 0), (-25, 0x1ce), (-55, 0x192)] {
            let mut chip = Chip::new(Kind::Lm75);
            chip.set("temp", degrees * 1000).unwrap();
            assert_eq!(word(&mut chip, 0) >> 7, bits, "{degrees}");
        }
        // TMP102 data sheet, table 5: 80 °C is 500h, 0.25 °C is 004h, -25 °C is E70h, in 12 bits.
        for (thousandths, bits) in [(80_000, 0x500_u16), (250, 0x004), (-25_000, 0xe70)] {
            let mut chip = Chip::new(Kind::Tmp102);
            chip.set("temp", thousandths).unwrap();
            assert_eq!(word(&mut chip, 0) >> 4, bits, "{thousandths}");
            // The extended mode has one bit more in front.
            assert!(chip.write(&[1, 0x60, 0xb0]));
            let extended = (bits << 4).cast_signed() >> 4;
            assert_eq!(word(&mut chip, 0), (extended << 3).cast_unsigned() | 1, "{thousandths}");
        }
    }

    #[test]
    fn limits_are_kept_and_the_temperature_is_not_written() {
        let mut chip = Chip::new(Kind::Jc42);
        assert!(chip.write(&[2, 0x02, 0x83]));
        assert_eq!(word(&mut chip, 2), 0x0280, "the lower two bits do not exist");
        let before = word(&mut chip, 5);
        assert!(chip.write(&[5, 0, 0]));
        assert_eq!(word(&mut chip, 5), before);
        assert!(!chip.write(&[8]), "there is no such register");
        assert_eq!(chip.set("temp", 125_001), Err(SettingError::Range(COLDEST, HOTTEST)));
    }

    #[test]
    fn comparisons_show_in_the_upper_bits() {
        let mut chip = Chip::new(Kind::Jc42);
        for (register, degrees) in [(2, 50_u16), (3, 10), (4, 90)] {
            let [high, low] = (degrees << 4).to_be_bytes();
            assert!(chip.write(&[register, high, low]));
        }
        for (degrees, flags) in [(30, 0), (60, 0b010), (95, 0b110), (-5, 0b001)] {
            chip.set("temp", degrees * 1000).unwrap();
            assert_eq!(word(&mut chip, 5) >> 13, flags, "{degrees}");
        }
    }
}
