//! Files that are open, and their numbers.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Content, FileOperations};
use crate::lock::Lock;
use crate::text::Errno;

/// The third argument of `ioctl(2)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IoctlArgument {
    /// A number.
    Value(u64),
    /// The address of user memory that holds these bytes.
    Memory(Vec<u8>),
}

/// What a file is that never waits, as `poll(2)` has it: `POLLIN`, `POLLOUT`, `POLLRDNORM`, `POLLWRNORM`.
pub const ALWAYS_READY: u32 = 0x145;

/// What can be done with a file while it is open. Dropping it closes it.
pub trait OpenFile: Send {
    /// At most `length` bytes from where the file is.
    ///
    /// # Errors
    /// What reading answers.
    fn read(&mut self, length: u64) -> Result<Vec<u8>, Errno>;

    /// Writes where the file is; how many bytes were taken.
    ///
    /// # Errors
    /// What writing answers.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno>;

    /// `lseek(2)`: where the file is then.
    ///
    /// # Errors
    /// What the file answers.
    fn seek(&mut self, offset: i64, whence: u32) -> Result<u64, Errno>;

    /// `ioctl(2)`: its value, and what the memory holds then.
    ///
    /// # Errors
    /// What the file answers; `ENOTTY` when it knows no such request.
    fn ioctl(&mut self, command: u32, argument: IoctlArgument) -> Result<(u64, Vec<u8>), Errno>;

    /// The bytes behind a file that keeps them, and the flags it was opened with, for whoever goes on with them when it is closed.
    fn content(&self) -> Option<(Content, u32)> {
        None
    }

    /// `poll(2)`: waits until the file is ready for one of these events, at most until `until` (nanoseconds of the platform's clock); for
    /// which it is.
    ///
    /// # Errors
    /// What the file answers.
    fn poll(&mut self, events: u32, _until: u64) -> Result<u32, Errno> {
        Ok(ALWAYS_READY & events)
    }
}

/// A file that knows only its whole content, as it was when it was first read.
pub struct Whole {
    file: Arc<dyn FileOperations>,
    content: Option<Vec<u8>>,
    position: usize,
}

impl core::fmt::Debug for Whole {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Whole").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Whole {
    /// Such a file, just opened.
    pub fn new(file: Arc<dyn FileOperations>) -> Self {
        Self { file, content: None, position: 0 }
    }
}

impl OpenFile for Whole {
    fn read(&mut self, length: u64) -> Result<Vec<u8>, Errno> {
        let content = match &self.content {
            Some(content) => content,
            None => self.content.insert(self.file.read()?),
        };
        let rest = content.get(self.position..).unwrap_or_default();
        let part = &rest[..rest.len().min(usize::try_from(length).unwrap_or(usize::MAX))];
        self.position += part.len();
        Ok(part.to_vec())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.file.write(bytes)
    }

    fn seek(&mut self, offset: i64, whence: u32) -> Result<u64, Errno> {
        /// `SEEK_SET`, `SEEK_CUR`
        const SET: u32 = 0;
        const CURRENT: u32 = 1;
        let from = match whence {
            SET => 0,
            CURRENT => self.position as i64,
            _ => return Err(Errno::EINVAL),
        };
        let target = from.checked_add(offset).and_then(|target| usize::try_from(target).ok()).ok_or(Errno::EINVAL)?;
        self.position = target;
        Ok(target as u64)
    }

    fn ioctl(&mut self, _command: u32, _argument: IoctlArgument) -> Result<(u64, Vec<u8>), Errno> {
        Err(Errno::ENOTTY)
    }
}

/// Files that are open, by number. A file is out of the table while it is used, and stays out when its task dies.
#[derive(Default)]
pub struct Descriptors(Lock<BTreeMap<u32, Option<Box<dyn OpenFile>>>>);

impl core::fmt::Debug for Descriptors {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.0.lock().keys()).finish()
    }
}

impl Descriptors {
    /// Gives a file the lowest number that is free.
    pub fn add(&self, file: Box<dyn OpenFile>) -> u32 {
        let mut table = self.0.lock();
        let free = (0..).zip(table.keys()).find(|(number, taken)| number != *taken).map(|(number, _)| number);
        let number = free.unwrap_or(table.len() as u32);
        table.insert(number, Some(file));
        number
    }

    /// Uses a file.
    ///
    /// # Errors
    /// `EBADF` when there is none of this number or it is in use; what `use_it` answers.
    pub fn with<T>(&self, number: u32, use_it: impl FnOnce(&mut dyn OpenFile) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut file = self.0.lock().get_mut(&number).and_then(Option::take).ok_or(Errno::EBADF)?;
        let result = use_it(&mut *file);
        if let Some(place) = self.0.lock().get_mut(&number) {
            *place = Some(file);
        }
        result
    }

    /// Closes a file.
    ///
    /// # Errors
    /// `EBADF` when there is none of this number.
    pub fn close(&self, number: u32) -> Result<(), Errno> {
        let file = self.0.lock().remove(&number).ok_or(Errno::EBADF)?;
        // Its functions are called here, with no lock held.
        drop(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Files, read_only};

    #[test]
    fn an_open_file_is_read_in_parts() {
        let files = Files::default();
        files.make_directories("/proc");
        files.add("/proc/version", read_only(0o444, || b"abcdef".to_vec())).unwrap();
        let open = Descriptors::default();
        let first = open.add(files.open("/proc/version", 0).unwrap());
        let second = open.add(files.open("/proc/version", 0).unwrap());
        assert_eq!((first, second), (0, 1));
        assert_eq!(open.with(first, |file| file.read(4)).unwrap(), b"abcd");
        assert_eq!(open.with(first, |file| file.read(4)).unwrap(), b"ef");
        assert_eq!(open.with(first, |file| file.read(4)).unwrap(), b"");
        assert_eq!(open.with(first, |file| file.seek(-5, 1)).unwrap(), 1);
        assert_eq!(open.with(first, |file| file.read(1)).unwrap(), b"b");
        assert_eq!(open.with(first, |file| file.seek(-2, 0)), Err(Errno::EINVAL));
        assert_eq!(open.with(first, |file| file.write(b"x")), Err(Errno::EACCES));
        open.close(first).unwrap();
        assert_eq!(open.close(first), Err(Errno::EBADF));
        assert_eq!(open.add(files.open("/proc/version", 0).unwrap()), 0, "the lowest free number");
    }
}
