//! Report descriptors: how a HID device says what its reports mean.

use alloc::vec::Vec;

use super::description::bytes_of;

/// `HID_MAX_DESCRIPTOR_SIZE`
const LARGEST: usize = 4096;

/// What a description of one is.
pub(super) const EXPECTED: &str =
    "a report descriptor is `mouse`, `keyboard` or 1 to 4096 bytes, two hexadecimal digits each";

/// A mouse with three buttons (Device Class Definition for HID 1.11, "Report Descriptor (Mouse)").
pub const MOUSE: &[u8] = &[
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, // Generic desktop, mouse: an application collection
    0x09, 0x01, 0xa1, 0x00, // Pointer: a physical collection
    0x05, 0x09, 0x19, 0x01, 0x29, 0x03, // Buttons 1 to 3
    0x15, 0x00, 0x25, 0x01, 0x95, 0x03, 0x75, 0x01, 0x81, 0x02, // a bit each
    0x95, 0x01, 0x75, 0x05, 0x81, 0x01, // 5 bits that mean nothing
    0x05, 0x01, 0x09, 0x30, 0x09, 0x31, // X and Y
    0x15, 0x81, 0x25, 0x7f, 0x75, 0x08, 0x95, 0x02, 0x81, 0x06, // from -127 to 127, relative
    0xc0, 0xc0,
];

/// A keyboard (the same, "Report Descriptor (Keyboard)").
pub const KEYBOARD: &[u8] = &[
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01, // Generic desktop, keyboard: an application collection
    0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, // Modifier keys
    0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x08, 0x81, 0x02, // a bit each
    0x95, 0x01, 0x75, 0x08, 0x81, 0x01, // a byte that means nothing
    0x95, 0x05, 0x75, 0x01, 0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x91, 0x02, // 5 lights
    0x95, 0x01, 0x75, 0x03, 0x91, 0x01, // 3 bits that mean nothing
    0x95, 0x06, 0x75, 0x08, 0x15, 0x00, 0x25, 0x65, // 6 keys that are down
    0x05, 0x07, 0x19, 0x00, 0x29, 0x65, 0x81, 0x00, // by their numbers
    0xc0,
];

/// The descriptor that `text` names, or that its hexadecimal digits are.
pub fn of(text: &str) -> Option<Vec<u8>> {
    match text {
        "mouse" => Some(MOUSE.to_vec()),
        "keyboard" => Some(KEYBOARD.to_vec()),
        digits => bytes_of(digits, LARGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_bytes_in_pairs() {
        assert_eq!(of("05fF"), Some([0x05, 0xff].to_vec()));
        assert_eq!(of("mouse").as_deref(), Some(MOUSE));
        for wrong in ["", "0", "0g", "050", "\u{e4}"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(of(&"00".repeat(LARGEST + 1)), None);
    }
}
