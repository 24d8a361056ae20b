//! The serial console: COM1, polled, usable from the first instruction of Rust code on.

use core::fmt::{self, Write};

use x86_64::instructions::port::Port;

const COM1: u16 = 0x3f8;

/// Sets the line to 115200 8N1 with FIFOs.
pub(crate) fn initialise() {
    for (register, value) in [(1, 0x00), (3, 0x80), (0, 0x01), (1, 0x00), (3, 0x03), (2, 0xc7), (4, 0x03_u8)] {
        // SAFETY: the ports of COM1 have no effect on memory; where there is no UART the writes go nowhere.
        unsafe { Port::<u8>::new(COM1 + register).write(value) };
    }
}

fn put(byte: u8) {
    const READY: u8 = 0x20;
    for _ in 0..100_000 {
        // SAFETY: reading the line status register of COM1 has no effect on memory.
        if unsafe { Port::<u8>::new(COM1 + 5).read() } & READY != 0 {
            break;
        }
    }
    // SAFETY: writing the transmit register of COM1 has no effect on memory.
    unsafe { Port::<u8>::new(COM1).write(byte) };
}

/// Writes bytes; a line feed becomes carriage return and line feed.
pub(crate) fn write(bytes: &[u8]) {
    for &byte in bytes {
        if byte == b'\n' {
            put(b'\r');
        }
        put(byte);
    }
}

struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write(text.as_bytes());
        Ok(())
    }
}

/// What `say!` calls.
pub(crate) fn print(arguments: fmt::Arguments<'_>) {
    // The sink above cannot fail.
    let _ = Serial.write_fmt(arguments);
}

/// Prints one line on the serial console.
macro_rules! say {
    ($($argument:tt)*) => {{
        $crate::serial::print(format_args!($($argument)*));
        $crate::serial::print(format_args!("\n"));
    }};
}
pub(crate) use say;
