//! Files a module brings: character devices under `/dev`, texts under `/proc`.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::ops::Deref;

use ferrmod_boundary::FileOperations;

use crate::{Error, Result, kernel};

/// What a character device does when it is read or written.
pub trait CharDevice: Send + Sync + 'static {
    /// Fills `buffer` with what the device has at `offset`; how many bytes, 0 at the end.
    ///
    /// # Errors
    /// What the reader gets to see. A device that cannot be read answers `EINVAL`.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let _ = (offset, buffer);
        Err(Error::EINVAL)
    }

    /// Takes bytes; how many.
    ///
    /// # Errors
    /// What the writer gets to see. A device that cannot be written answers `EINVAL`.
    fn write(&self, bytes: &[u8]) -> Result<usize> {
        let _ = bytes;
        Err(Error::EINVAL)
    }
}

/// A file in the kernel's tree; removed when it is dropped.
struct File<T> {
    handle: i64,
    content: Arc<T>,
}

impl<T: CharDevice> File<T> {
    const OPERATIONS: FileOperations = FileOperations { read: Some(read::<T>), write: Some(write::<T>) };

    fn add(path: &str, mode: u16, content: T) -> Result<Self> {
        let content = Arc::new(content);
        let data = Arc::as_ptr(&content).expose_provenance();
        // SAFETY: path and operations live during the call; `data` is what both functions expect, and lives until the file is
        // removed.
        let returned =
            unsafe { kernel::ferrmod_file_add(path.as_ptr(), path.len(), mode.into(), &Self::OPERATIONS, data) };
        Error::check(returned).map(|handle| Self { handle, content })
    }
}

impl<T> Drop for File<T> {
    fn drop(&mut self) {
        // SAFETY: the handle is that of our own file. No call is in a function of ours when this returns, so that the content can
        // be dropped.
        unsafe { kernel::ferrmod_file_remove(self.handle) };
    }
}

fn returned(result: Result<usize>) -> isize {
    match result {
        Ok(length) => isize::try_from(length).unwrap_or(isize::MAX),
        Err(error) => error.to_return() as isize,
    }
}

unsafe extern "C" fn read<T: CharDevice>(data: usize, offset: u64, buffer: *mut u8, length: usize) -> isize {
    // SAFETY: `data` is the content `File::add` gave, which lives until the file is removed; the kernel hands over a buffer of
    // this length that is nobody else's during the call.
    let (content, buffer) =
        unsafe { (&*core::ptr::with_exposed_provenance::<T>(data), core::slice::from_raw_parts_mut(buffer, length)) };
    returned(content.read(offset, buffer))
}

unsafe extern "C" fn write<T: CharDevice>(data: usize, bytes: *const u8, length: usize) -> isize {
    // SAFETY: as in `read`; an empty write may come with any address.
    let (content, bytes) = unsafe {
        let bytes = if length == 0 { &[] } else { core::slice::from_raw_parts(bytes, length) };
        (&*core::ptr::with_exposed_provenance::<T>(data), bytes)
    };
    returned(content.write(bytes))
}

/// A registered character device, `/dev/NAME`. It goes when this is dropped; keep it in the module's struct.
pub struct Device<T: CharDevice>(File<T>);

impl<T: CharDevice> Device<T> {
    /// Makes `/dev/NAME` with these permission bits.
    ///
    /// # Errors
    /// `EEXIST` when the name is taken, `EINVAL` when it is no file name, `ENOMEM`.
    pub fn register(name: &str, mode: u16, device: T) -> Result<Self> {
        File::add(&format!("/dev/{name}"), mode, device).map(Self)
    }
}

impl<T: CharDevice> Deref for Device<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.content
    }
}

impl<T: CharDevice> fmt::Debug for Device<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Device").field(&self.0.handle).finish()
    }
}

struct Shown<F>(F);

impl<F: Fn(&mut String) + Send + Sync + 'static> CharDevice for Shown<F> {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut text = String::new();
        (self.0)(&mut text);
        let rest = usize::try_from(offset).ok().and_then(|offset| text.as_bytes().get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

/// A read-only text, `/proc/NAME`, made whenever somebody reads it. It goes when this is dropped.
pub struct ProcFile<F>(File<Shown<F>>);

impl<F: Fn(&mut String) + Send + Sync + 'static> ProcFile<F> {
    /// Makes `/proc/NAME` whose text `show` writes.
    ///
    /// # Errors
    /// As [`Device::register`].
    pub fn add(name: &str, show: F) -> Result<Self> {
        File::add(&format!("/proc/{name}"), 0o444, Shown(show)).map(Self)
    }
}

impl<F> fmt::Debug for ProcFile<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProcFile").field(&self.0.handle).finish()
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Write as _;

    use super::*;
    use crate::{Lock, host};

    #[derive(Default)]
    struct Echo(Lock<alloc::vec::Vec<u8>>);

    impl CharDevice for Echo {
        fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
            let text = self.0.lock();
            let rest = &text[(offset as usize).min(text.len())..];
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        }

        fn write(&self, bytes: &[u8]) -> Result<usize> {
            if bytes.len() > 8 {
                return Err(Error::ENOSPC);
            }
            *self.0.lock() = bytes.to_vec();
            Ok(bytes.len())
        }
    }

    #[test]
    fn a_device_is_there_while_it_lives() {
        let device = Device::register("echo", 0o600, Echo::default()).unwrap();
        assert!(matches!(Device::register("echo", 0o600, Echo::default()), Err(Error::EEXIST)));
        assert_eq!(host::write("/dev/echo", b"hello"), Ok(5));
        assert_eq!(host::read("/dev/echo").unwrap(), b"hello");
        assert_eq!(host::write("/dev/echo", b"too long a text"), Err(Error::ENOSPC));
        assert_eq!(device.0.content.0.lock().len(), 5);
        drop(device);
        assert_eq!(host::read("/dev/echo"), Err(Error::ENOENT));
    }

    #[test]
    fn a_text_is_made_when_it_is_read() {
        let file = ProcFile::add("count", |text: &mut String| {
            for number in 0..2000 {
                let _ = writeln!(text, "{number}");
            }
        });
        let read = host::read("/proc/count").unwrap();
        assert!(read.ends_with(b"1998\n1999\n") && read.len() > 8000);
        assert_eq!(host::write("/proc/count", b"x"), Err(Error::EINVAL));
        drop(file);
    }
}
