//! The file of a block device in `/dev`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ferrmod_kernel::files::{FileOperations, IoctlArgument, OpenFile};
use ferrmod_kernel::{Errno, kernel};

use super::bio::{Bytes, transfer};
use super::{SECTOR, block_device, block_device_operations, buffers, gendisk, queue};
use crate::user::UserBuffer;
use crate::{device, kobject, module, ram};

/// `O_RDONLY`, `O_WRONLY`: the low bits of `open(2)`'s flags.
const READ_ONLY: u32 = 0;
const WRITE_ONLY: u32 = 1;
/// `FMODE_READ`, `FMODE_WRITE`
const MODE_READ: u32 = 1;
const MODE_WRITE: u32 = 2;

/// Requests of `linux/fs.h`.
const GET_READ_ONLY: u32 = 0x125e;
const GET_SECTORS: u32 = 0x1260;
const FLUSH: u32 = 0x1261;
const GET_LOGICAL: u32 = 0x1268;
const GET_BYTES: u32 = 0x8008_1272;
const GET_PHYSICAL: u32 = 0x127b;

/// More than this no file says at once.
const WHOLE_MAX: u64 = 16 << 20;

/// The file of the disk with this number.
pub(crate) struct BlockFile(pub(crate) u32);

impl FileOperations for BlockFile {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        let mut opened = Opened::open(self.0, READ_ONLY)?;
        let size = opened.size();
        if size > WHOLE_MAX {
            return Err(Errno::EFBIG);
        }
        opened.read_at_position(size)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        Opened::open(self.0, WRITE_ONLY)?.write(bytes)
    }

    fn open(&self, flags: u32) -> Option<Result<Box<dyn OpenFile>, Errno>> {
        Some(Opened::open(self.0, flags).map(|opened| Box::new(opened) as Box<dyn OpenFile>))
    }
}

/// A disk that somebody has open: its driver knows, its module stays, and so does the struct when the disk is taken away.
pub(crate) struct Opened {
    disk: u64,
    /// Whether the driver has opened it, and is to be told of the end.
    is_known: bool,
    owner: u64,
    mode: u32,
    position: u64,
}

/// What `open` and `release` of a driver take: the device, or since 6.5 the disk.
fn open_argument(disk: u64) -> u64 {
    if block_device::bd_holder_ops.offset().is_some() { disk } else { super::whole(disk) }
}

impl Opened {
    /// Opens the disk with this number, with the flags of `open(2)`.
    ///
    /// # Errors
    /// `ENXIO` without such a disk; what its driver answers.
    pub(crate) fn open(number: u32, flags: u32) -> Result<Self, Errno> {
        let disk = super::disk(number).ok_or(Errno::ENXIO)?;
        let mode = match flags & 3 {
            READ_ONLY => MODE_READ,
            WRITE_ONLY => MODE_WRITE,
            _ => MODE_READ | MODE_WRITE,
        };
        // SAFETY: a disk that was added, and its driver's table.
        unsafe {
            let ops: u64 = gendisk::fops.get(disk);
            let owner: u64 = if ops == 0 { 0 } else { block_device_operations::owner.get(ops) };
            if owner != 0 && !module::at(owner).is_some_and(|module| module.try_get()) {
                return Err(Errno::ENXIO);
            }
            kobject::get(device::object(super::device_of(disk)));
            let mut opened = Self { disk, is_known: false, owner, mode, position: 0 };
            let open: u64 = if ops == 0 { 0 } else { block_device_operations::open.get(ops) };
            if open != 0 {
                let answer = ram::call(open, [open_argument(disk), mode.into()]) as i32;
                if let Some(errno) = Errno::from_return(answer.into()) {
                    return Err(errno);
                }
            }
            opened.is_known = true;
            let at = block_device::bd_openers.at(super::whole(disk));
            ram::put(at, ram::get::<u32>(at) + 1);
            Ok(opened)
        }
    }

    fn size(&self) -> u64 {
        super::sectors(self.disk).saturating_mul(SECTOR)
    }

    /// Bytes of the smallest block that the disk transfers.
    fn unit(&self) -> u64 {
        queue::logical_block_size(self.disk).max(SECTOR)
    }

    fn read_at_position(&mut self, length: u64) -> Result<Vec<u8>, Errno> {
        let (size, unit) = (self.size(), self.unit());
        let end = self.position.saturating_add(length).min(size);
        if end <= self.position {
            return Ok(Vec::new());
        }
        let first = self.position / unit;
        let mut bytes = alloc::vec![0; ((end.div_ceil(unit) - first) * unit) as usize];
        // Whatever the driver says, a program is told that its read failed: there is no page to be read from.
        let read = transfer(super::whole(self.disk), first * (unit / SECTOR), Bytes::Read(&mut bytes));
        read.map_err(|errno| if errno == Errno::ENOMEM { errno } else { Errno::EIO })?;
        let skip = (self.position - first * unit) as usize;
        bytes.drain(..skip);
        bytes.truncate((end - self.position) as usize);
        self.position = end;
        Ok(bytes)
    }
}

impl OpenFile for Opened {
    fn read(&mut self, length: u64) -> Result<Vec<u8>, Errno> {
        if self.mode & MODE_READ == 0 {
            return Err(Errno::EBADF);
        }
        self.read_at_position(length)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        if self.mode & MODE_WRITE == 0 {
            return Err(Errno::EBADF);
        }
        if super::is_read_only(self.disk) {
            return Err(Errno::EPERM);
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        let room = self.size().saturating_sub(self.position);
        if room == 0 {
            return Err(Errno::ENOSPC);
        }
        let bytes = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        let (end, unit) = (self.position + bytes.len() as u64, self.unit());
        let (first, last) = (self.position / unit, end.div_ceil(unit));
        let device = super::whole(self.disk);
        let place = |block: u64| block * (unit / SECTOR);
        let mut blocks = alloc::vec![0; ((last - first) * unit) as usize];
        // What is not written of the first and the last block stays.
        if !self.position.is_multiple_of(unit) {
            transfer(device, place(first), Bytes::Read(&mut blocks[..unit as usize]))?;
        }
        if !end.is_multiple_of(unit) && (last - first > 1 || self.position.is_multiple_of(unit)) {
            let at = blocks.len() - unit as usize;
            transfer(device, place(last - 1), Bytes::Read(&mut blocks[at..]))?;
        }
        let skip = (self.position - first * unit) as usize;
        blocks[skip..skip + bytes.len()].copy_from_slice(bytes);
        transfer(device, place(first), Bytes::Write(&blocks))?;
        buffers::drop_unused(device);
        self.position = end;
        Ok(bytes.len())
    }

    fn seek(&mut self, offset: i64, whence: u32) -> Result<u64, Errno> {
        let from = match whence {
            0 => 0,
            1 => self.position,
            2 => self.size(),
            _ => return Err(Errno::EINVAL),
        };
        let target = from.checked_add_signed(offset).filter(|&target| target <= self.size()).ok_or(Errno::EINVAL)?;
        self.position = target;
        Ok(target)
    }

    fn ioctl(&mut self, command: u32, argument: IoctlArgument) -> Result<(u64, Vec<u8>), Errno> {
        let answer: Option<(u64, usize)> = match command {
            GET_READ_ONLY => Some((super::is_read_only(self.disk).into(), 4)),
            GET_SECTORS => Some((super::sectors(self.disk), 8)),
            GET_BYTES => Some((self.size(), 8)),
            GET_LOGICAL => Some((queue::logical_block_size(self.disk), 4)),
            GET_PHYSICAL => Some((queue::physical_block_size(self.disk), 4)),
            // Nothing is kept back.
            FLUSH => return Ok((0, Vec::new())),
            _ => None,
        };
        if let Some((value, size)) = answer {
            let IoctlArgument::Memory(mut bytes) = argument else { return Err(Errno::EFAULT) };
            bytes.get_mut(..size).ok_or(Errno::EFAULT)?.copy_from_slice(&value.to_le_bytes()[..size]);
            return Ok((0, bytes));
        }
        // SAFETY: the driver's table and its function.
        unsafe {
            let ops: u64 = gendisk::fops.get(self.disk);
            let ioctl: u64 = if ops == 0 { 0 } else { block_device_operations::ioctl.get(ops) };
            if ioctl == 0 {
                return Err(Errno::ENOTTY);
            }
            let call = |argument: u64| {
                let device = super::whole(self.disk);
                let value = ram::call(ioctl, [device, self.mode.into(), command.into(), argument]) as i32;
                Errno::from_return(value.into()).map_or(Ok(value as u64), Err)
            };
            match argument {
                IoctlArgument::Value(value) => Ok((call(value)?, Vec::new())),
                IoctlArgument::Memory(bytes) => {
                    let memory = UserBuffer::with(&bytes)?;
                    Ok((call(memory.address())?, memory.bytes()))
                }
            }
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.is_known {
            // SAFETY: the disk that was opened and its driver's function.
            unsafe {
                let at = block_device::bd_openers.at(super::whole(self.disk));
                ram::put(at, ram::get::<u32>(at).saturating_sub(1));
                let ops: u64 = gendisk::fops.get(self.disk);
                let release: u64 = if ops == 0 { 0 } else { block_device_operations::release.get(ops) };
                if release != 0 {
                    ram::call(release, [self.disk, self.mode.into()]);
                }
            }
        }
        // Its last reference may call a function of the module.
        kobject::put(device::object(super::device_of(self.disk)));
        if let Some(owner) = module::at(self.owner) {
            owner.put();
        }
    }
}

/// Adds the file of a disk to `/dev`.
///
/// # Errors
/// As [`ferrmod_kernel::files::Files::add`].
pub(crate) fn add(path: &str, number: u32) -> Result<(), Errno> {
    let file = alloc::sync::Arc::new(BlockFile(number));
    kernel().files.add(path, ferrmod_kernel::files::Node::File(0o660, file))
}
