//! Pages of files on block devices, for file systems that say where each block of a file is.

use ferrmod_kernel::Errno;
use ferrmod_kernel::heap::PAGE;

use super::bio::{Bytes, transfer};
use super::{SECTOR, block_device, buffers};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::vfs::{self, cache};
use crate::{pages, ram, slab};

layout! {
    mod page = "page" { mapping, index }
    mod inode = "inode" { i_size, i_blkbits, i_sb }
    mod super_block = "super_block" { s_bdev }
}

/// `int mpage_read_folio(struct folio *, get_block_t)`
extern "C" fn mpage_read_folio(at: u64, get_block: u64) -> i32 {
    let done = fill(at, get_block);
    cache::end_read(at, done.is_ok());
    Errno::returned(done)
}

/// Reads the blocks of a file that are in a page; what lies in no block is zeros.
fn fill(at: u64, get_block: u64) -> Result<(), Errno> {
    // SAFETY: a page of a file that somebody reads, the file's inode and its file system's function.
    unsafe {
        let of: u64 = vfs::address_space::host.get(page::mapping.get(at));
        let first: u64 = page::index.get(at);
        let bits = inode::i_blkbits.get::<u8>(of);
        let size = 1u64.checked_shl(bits.into()).unwrap_or(0);
        if !(SECTOR..=PAGE).contains(&size) {
            return Err(Errno::EIO);
        }
        let end = inode::i_size.get::<u64>(of).div_ceil(size);
        let scratch = slab::allocate(buffers::size(), 8, slab::ZERO, 0);
        if scratch == 0 {
            return Err(Errno::ENOMEM);
        }
        let bytes = ram::bytes_mut(pages::address_of(at), PAGE);
        bytes.fill(0);
        let mut result = Ok(());
        for (number, part) in bytes.chunks_mut(size as usize).enumerate() {
            let block = (first << (PAGE.trailing_zeros() - u32::from(bits))) + number as u64;
            if block >= end {
                break;
            }
            buffers::begin(scratch, size);
            let answer = ram::call(get_block, [of, block, scratch, 0]) as i32;
            if let Some(errno) = Errno::from_return(answer.into()) {
                result = Err(errno);
                break;
            }
            let Some((device, place)) = buffers::mapped(scratch) else { continue };
            let device = if device == 0 { super_block::s_bdev.get(inode::i_sb.get(of)) } else { device };
            let sectors: u64 = block_device::bd_nr_sectors.get(device);
            let sector = place.saturating_mul(size / SECTOR);
            if sector >= sectors {
                result = Err(Errno::EIO);
                break;
            }
            result = transfer(device, sector, Bytes::Read(part));
            if result.is_err() {
                break;
            }
        }
        slab::release(scratch, 0);
        result
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c mpage_read_folio];
