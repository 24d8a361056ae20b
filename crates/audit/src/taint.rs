//! The taints of a kernel, and which of them modules bring.

/// A taint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taint {
    /// Its bit in `kernel.tainted`.
    pub bit: u32,
    /// Its letter.
    pub letter: char,
    /// What it says.
    pub meaning: &'static str,
    /// Whether it comes with a module, which then carries the letter.
    pub by_module: bool,
}

/// Every taint that Linux knows. Documentation/admin-guide/tainted-kernels.rst
const TAINTS: [Taint; 20] = [
    taint(0, 'P', "a proprietary module was loaded", true),
    taint(1, 'F', "a module was loaded by force", true),
    taint(2, 'S', "the processor or the platform is out of its specification", false),
    taint(3, 'R', "a module was unloaded by force", false),
    taint(4, 'M', "the processor reported a machine check", false),
    taint(5, 'B', "a bad page was found", false),
    taint(6, 'U', "a program asked for this taint", false),
    taint(7, 'D', "the kernel has died before: an oops or a bug", false),
    taint(8, 'A', "an ACPI table was replaced", false),
    taint(9, 'W', "the kernel gave a warning", false),
    taint(10, 'C', "a staging driver was loaded", true),
    taint(11, 'I', "a bug of the firmware is worked around", false),
    taint(12, 'O', "a module from outside of the kernel's tree was loaded", true),
    taint(13, 'E', "an unsigned module was loaded", true),
    taint(14, 'L', "a processor was locked up", false),
    taint(15, 'K', "the kernel was live patched", true),
    taint(16, 'X', "the distribution's own taint", false),
    taint(17, 'T', "the kernel was built with randomised structures", false),
    taint(18, 'N', "a test was run in the kernel", true),
    taint(19, 'J', "a program used a debugging interface of the firmware", false),
];

const fn taint(bit: u32, letter: char, meaning: &'static str, by_module: bool) -> Taint {
    Taint { bit, letter, meaning, by_module }
}

impl Taint {
    /// The taint of a letter.
    #[must_use]
    pub fn of_letter(letter: char) -> Option<Taint> {
        TAINTS.into_iter().find(|taint| taint.letter == letter)
    }

    /// The taints in a number as `kernel.tainted` has it. Bits that nobody has given a meaning are left out.
    pub fn of_bits(bits: u64) -> impl Iterator<Item = Taint> {
        TAINTS.into_iter().filter(move |taint| bits & (1 << taint.bit) != 0)
    }

    /// The bits of all these letters; letters that are none of a taint (`+`, `-`) are passed over.
    #[must_use]
    pub fn bits_of(letters: &str) -> u64 {
        letters.chars().filter_map(Taint::of_letter).fold(0, |bits, taint| bits | 1 << taint.bit)
    }

    /// The letters of a number.
    #[must_use]
    pub fn letters(bits: u64) -> String {
        Taint::of_bits(bits).map(|taint| taint.letter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_bits_are_the_same_thing() {
        assert_eq!(Taint::bits_of("OE+"), 1 << 12 | 1 << 13);
        assert_eq!(Taint::letters(1 << 12 | 1), "PO");
        for (at, taint) in TAINTS.iter().enumerate() {
            assert_eq!(taint.bit as usize, at);
            assert_eq!(Taint::bits_of(&taint.letter.to_string()), 1 << at);
        }
        assert_eq!(Taint::of_bits(1 << 63).count(), 0);
    }
}
