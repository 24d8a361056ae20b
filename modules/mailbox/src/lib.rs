//! `mailbox.ko`: a character device, `/dev/mailbox`. What is written to it can be read from it.
#![cfg_attr(not(test), no_std)]

use ferrmod_sdk::alloc::string::String;
use ferrmod_sdk::alloc::vec::Vec;
use ferrmod_sdk::{CharDevice, Device, Error, Lock, Module, ProcFile, Result, now, pr_info};

use core::fmt::Write as _;
use core::sync::atomic::{AtomicU32, Ordering};

ferrmod_sdk::module! {
    type: Mailbox,
    name: "mailbox",
    version: "1.0",
    license: "Dual MIT/GPL",
    author: "The Ferrmod authors",
    description: "Keeps a letter in /dev/mailbox until it is read",
    params: {
        largest: u32 = 4096, 0o644, "The longest letter taken, in bytes";
    },
}

static DELIVERED: AtomicU32 = AtomicU32::new(0);

/// The letter that waits.
#[derive(Default)]
struct Letter(Lock<Vec<u8>>);

impl CharDevice for Letter {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut letter = self.0.lock();
        let Some(rest) = usize::try_from(offset).ok().and_then(|offset| letter.get(offset..)) else { return Ok(0) };
        if rest.is_empty() {
            // All of it was read: the box is empty again.
            *letter = Vec::new();
            return Ok(0);
        }
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize> {
        if bytes.len() > params::largest.get() as usize {
            return Err(Error::EMSGSIZE);
        }
        let mut letter = self.0.lock();
        if !letter.is_empty() {
            return Err(Error::EBUSY);
        }
        letter.try_reserve_exact(bytes.len()).map_err(|_| Error::ENOMEM)?;
        letter.extend_from_slice(bytes);
        DELIVERED.fetch_add(1, Ordering::Relaxed);
        pr_info!("a letter of {} bytes", bytes.len());
        Ok(bytes.len())
    }
}

fn show(text: &mut String) {
    let _ = writeln!(text, "delivered {}", DELIVERED.load(Ordering::Relaxed));
}

/// Both files go when this is dropped.
struct Mailbox {
    _device: Device<Letter>,
    _statistics: ProcFile<fn(&mut String)>,
}

impl Module for Mailbox {
    fn init() -> Result<Self> {
        let device = Device::register("mailbox", 0o600, Letter::default())?;
        let statistics = ProcFile::add("mailbox", show as fn(&mut String))?;
        pr_info!("open since {} ms", now().as_millis());
        Ok(Mailbox { _device: device, _statistics: statistics })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrmod_sdk::host;

    #[test]
    fn a_letter_is_read_once() {
        let mailbox = Mailbox::init().unwrap();
        assert_eq!(host::write("/dev/mailbox", b"Dear reader"), Ok(11));
        assert_eq!(host::write("/dev/mailbox", b"no room"), Err(Error::EBUSY));
        assert_eq!(host::read("/dev/mailbox").unwrap(), b"Dear reader");
        assert_eq!(host::read("/dev/mailbox").unwrap(), b"");
        assert_eq!(host::write("/dev/mailbox", &[0; 4097]), Err(Error::EMSGSIZE));
        assert_eq!(host::read("/proc/mailbox").unwrap(), b"delivered 1\n");
        drop(mailbox);
        assert_eq!(host::read("/dev/mailbox"), Err(Error::ENOENT));
    }
}
