//! Files that programs make: bytes, kept as long as the machine runs.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{FileOperations, IoctlArgument, OpenFile};
use crate::lock::Lock;
use crate::text::Errno;

/// The largest file.
const LARGEST: u64 = 64 << 20;

/// `O_RDONLY`, `O_WRONLY`, `O_TRUNC`, `O_APPEND`
const READ_ONLY: u32 = 0;
const WRITE_ONLY: u32 = 1;
const TRUNCATE: u32 = 0o1000;
const APPEND: u32 = 0o2000;

/// The bytes of a file, shared by everybody who has it open.
#[derive(Clone)]
pub struct Content(Arc<Kept>);

struct Kept {
    path: String,
    bytes: Lock<Vec<u8>>,
    /// Who is told when the size has changed.
    resized: Lock<Option<fn(&Content)>>,
}

impl core::fmt::Debug for Content {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Content({}, {} bytes)", self.0.path, self.size())
    }
}

impl Content {
    pub(super) fn new(path: &str) -> Self {
        Self(Arc::new(Kept { path: path.into(), bytes: Lock::new(Vec::new()), resized: Lock::new(None) }))
    }

    /// Where the file was made.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Its size in bytes.
    pub fn size(&self) -> usize {
        self.0.bytes.lock().len()
    }

    /// At most `length` bytes from `position` on; none behind the end.
    pub fn read(&self, position: usize, length: usize) -> Vec<u8> {
        let bytes = self.0.bytes.lock();
        let rest = bytes.get(position..).unwrap_or_default();
        rest[..rest.len().min(length)].to_vec()
    }

    /// Whether so many bytes may be put at `position`.
    pub fn has_room(position: u64, length: u64) -> bool {
        position.checked_add(length).is_some_and(|end| end <= LARGEST)
    }

    /// Puts bytes at `position`; what lies between the end and there becomes zeros.
    ///
    /// # Errors
    /// `EFBIG` when the file would become larger than any may be.
    pub fn write(&self, position: usize, new: &[u8]) -> Result<(), Errno> {
        if !Self::has_room(position as u64, new.len() as u64) {
            return Err(Errno::EFBIG);
        }
        if new.is_empty() {
            return Ok(());
        }
        let end = position + new.len();
        let has_grown = {
            let mut bytes = self.0.bytes.lock();
            let before = bytes.len();
            bytes.resize(before.max(end), 0);
            bytes[position..end].copy_from_slice(new);
            before < end
        };
        if has_grown {
            self.tell();
        }
        Ok(())
    }

    fn empty(&self) {
        self.0.bytes.lock().clear();
        self.tell();
    }

    fn tell(&self) {
        let resized = *self.0.resized.lock();
        if let Some(resized) = resized {
            resized(self);
        }
    }

    /// Calls `resized` from now on when the size has changed.
    pub fn watch(&self, resized: fn(&Self)) {
        *self.0.resized.lock() = Some(resized);
    }

    /// Whether both are the same file.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl FileOperations for Content {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        Ok(self.0.bytes.lock().clone())
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.empty();
        Self::write(self, 0, bytes).map(|()| bytes.len())
    }

    fn open(&self, flags: u32) -> Option<Result<Box<dyn OpenFile>, Errno>> {
        if flags & TRUNCATE != 0 && flags & 3 != READ_ONLY {
            self.empty();
        }
        Some(Ok(Box::new(Opened { content: self.clone(), flags, position: 0 })))
    }
}

struct Opened {
    content: Content,
    flags: u32,
    position: usize,
}

impl OpenFile for Opened {
    fn read(&mut self, length: u64) -> Result<Vec<u8>, Errno> {
        if self.flags & 3 == WRITE_ONLY {
            return Err(Errno::EBADF);
        }
        let part = self.content.read(self.position, usize::try_from(length).unwrap_or(usize::MAX));
        self.position += part.len();
        Ok(part)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        if self.flags & 3 == READ_ONLY {
            return Err(Errno::EBADF);
        }
        if self.flags & APPEND != 0 {
            self.position = self.content.size();
        }
        self.content.write(self.position, bytes)?;
        self.position += bytes.len();
        Ok(bytes.len())
    }

    fn seek(&mut self, offset: i64, whence: u32) -> Result<u64, Errno> {
        let from = match whence {
            0 => 0,
            1 => self.position,
            2 => self.content.size(),
            _ => return Err(Errno::EINVAL),
        };
        let target = i64::try_from(from).ok().and_then(|from| from.checked_add(offset)).ok_or(Errno::EINVAL)?;
        self.position = usize::try_from(target).map_err(|_| Errno::EINVAL)?;
        Ok(target as u64)
    }

    fn ioctl(&mut self, _command: u32, _argument: IoctlArgument) -> Result<(u64, Vec<u8>), Errno> {
        Err(Errno::ENOTTY)
    }

    fn content(&self) -> Option<(Content, u32)> {
        Some((self.content.clone(), self.flags))
    }
}

#[cfg(test)]
mod tests {
    use crate::files::Files;
    use crate::text::Errno;

    /// `O_RDWR | O_CREAT`, and with `O_EXCL`
    const MAKE: u32 = 0o102;
    const NEW: u32 = 0o302;

    #[test]
    fn files_are_made_and_keep_their_bytes() {
        let files = Files::default();
        files.make_directories("/tmp");
        files.make_directories("/proc");
        assert_eq!(files.open("/tmp/image", 2).err(), Some(Errno::ENOENT));
        assert_eq!(files.open("/proc/image", MAKE).err(), Some(Errno::ENOENT), "only where programs have their files");
        assert_eq!(files.open("/tmp/none/image", MAKE).err(), Some(Errno::ENOENT));
        let mut file = files.open("/tmp/image", NEW).unwrap();
        assert_eq!(files.open("/tmp/image", NEW).err(), Some(Errno::EEXIST));
        file.seek(3, 0).unwrap();
        assert_eq!(file.write(b"abc"), Ok(3));
        assert_eq!(file.seek(-4, 2), Ok(2));
        assert_eq!(file.read(10).unwrap(), b"\0abc");
        assert_eq!(files.read("/tmp/image").unwrap(), b"\0\0\0abc");
        let (content, _) = file.content().unwrap();
        drop(file);
        content.write(0, b"x").unwrap();
        assert_eq!(content.write(usize::MAX, b"x"), Err(Errno::EFBIG));
        static SIZE: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);
        content.watch(|content| SIZE.store(content.size(), core::sync::atomic::Ordering::Relaxed));
        files.open("/tmp/image", 2).unwrap().write(b"xxxxxxxxx").unwrap();
        assert_eq!(SIZE.load(core::sync::atomic::Ordering::Relaxed), 9);
        files.write("/tmp/image", b"x\0\0abc").unwrap();
        assert_eq!(SIZE.load(core::sync::atomic::Ordering::Relaxed), 6);
        assert_eq!(files.read("/tmp/image").unwrap(), b"x\0\0abc");
        assert_eq!(files.open("/tmp/image", 0).unwrap().write(b"y"), Err(Errno::EBADF));
        let mut file = files.open("/tmp/image", 0o2002).unwrap();
        assert_eq!((file.write(b"d"), file.seek(0, 0), file.write(b"e")), (Ok(1), Ok(0), Ok(1)));
        assert_eq!((file.seek(0, 1), files.read("/tmp/image").unwrap()), (Ok(8), b"x\0\0abcde".to_vec()));
        drop(files.open("/tmp/image", 0o1002));
        assert_eq!(files.read("/tmp/image").unwrap(), b"");
    }
}
