//! Contents of files in pages: read by their file system when first wanted, kept until their inode goes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ferrmod_kernel::heap::PAGE;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::{address_space, file, inode, kiocb};
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{boot, iter, pages, ram, symbols, tasks};

layout! {
    mod page = "page" { flags, mapping, index, _refcount }
    mod mapping_more = "address_space" { a_ops, nrpages }
    mod operations = "address_space_operations" { read_folio }
    mod file_table = "file_operations" { llseek, read_iter }
    mod link_table = "inode_operations" { get_link }
    mod delayed_call = "delayed_call" { fn_ = "fn", arg }
    mod dentry = "dentry" { d_inode }
}

/// The pages by mapping and index.
static PAGES: Lock<BTreeMap<(u64, u64), u64>> = Lock::new(BTreeMap::new());

/// Room for a table of functions of any kernel.
const TABLE: u64 = 512;

static READ_ONLY_FILES: Datum = Datum::new(
    "generic_ro_fops",
    TABLE,
    Begin::With(|at| {
        // SAFETY: `data::place` gives so many writable bytes.
        unsafe {
            file_table::llseek.set(at, symbols::address("generic_file_llseek").unwrap_or(0));
            file_table::read_iter.set(at, symbols::address("generic_file_read_iter").unwrap_or(0));
        }
    }),
);
static LINKS: Datum = Datum::new(
    "page_symlink_inode_operations",
    TABLE,
    Begin::With(|at| {
        // SAFETY: as above.
        unsafe { link_table::get_link.set(at, symbols::address("page_get_link").unwrap_or(0)) };
    }),
);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&READ_ONLY_FILES, &LINKS];

/// A bit of a page's flags, as the target kernel numbers it.
fn bit(name: &str) -> u64 {
    boot::facts().btf().enum_value(name).map_or(0, |bit| 1 << (bit as u64 & 63))
}
fn locked() -> u64 {
    static BIT: spin::Once<u64> = spin::Once::new();
    *BIT.call_once(|| bit("PG_locked"))
}
fn up_to_date() -> u64 {
    static BIT: spin::Once<u64> = spin::Once::new();
    *BIT.call_once(|| bit("PG_uptodate"))
}

fn change(at: u64, set: u64, clear: u64) {
    // SAFETY: a page of a file.
    unsafe { page::flags.set(at, page::flags.get::<u64>(at) & !clear | set) };
}
fn has(at: u64, bits: u64) -> bool {
    // SAFETY: a page of a file.
    unsafe { page::flags.get::<u64>(at) & bits != 0 }
}

/// The page of a mapping, with what the file system has for it; `of` is the file that is read, or 0.
///
/// # Errors
/// What the file system answers; `EIO` when it leaves the page without its content; `ENOMEM`.
fn read_page(mapping: u64, index: u64, of: u64, caller: u64) -> Result<u64, Errno> {
    let found = PAGES.lock().get(&(mapping, index)).copied();
    let at = match found {
        Some(at) => at,
        None => {
            let at = pages::allocate(0, 0, 0);
            if at == 0 {
                return Err(Errno::ENOMEM);
            }
            // SAFETY: a page of our own, in a mapping.
            unsafe {
                page::mapping.set(at, mapping);
                page::index.set(at, index);
                mapping_more::nrpages.set(mapping, mapping_more::nrpages.get::<u64>(mapping) + 1);
            }
            PAGES.lock().insert((mapping, index), at);
            at
        }
    };
    wait_for(at, caller);
    if has(at, up_to_date()) {
        return Ok(at);
    }
    // SAFETY: the mapping's table and its function.
    let answer = unsafe {
        let table: u64 = mapping_more::a_ops.get(mapping);
        let read: u64 = if table == 0 { 0 } else { operations::read_folio.get(table) };
        if read == 0 {
            return Err(Errno::EINVAL);
        }
        change(at, locked(), 0);
        ram::call(read, [of, at]) as i32
    };
    if let Some(errno) = Errno::from_return(answer.into()) {
        return Err(errno);
    }
    wait_for(at, caller);
    if has(at, up_to_date()) { Ok(at) } else { Err(Errno::EIO) }
}

/// Waits until nobody has a page locked.
fn wait_for(at: u64, caller: u64) {
    while has(at, locked()) {
        tasks::might_block(caller);
        kernel().tasks.block(None, Some(at));
    }
}

/// Forgets the pages of a mapping.
pub(crate) fn forget(mapping: u64) {
    let gone: Vec<(u64, u64)> =
        PAGES.lock().range((mapping, 0)..=(mapping, u64::MAX)).map(|(&(_, index), &at)| (index, at)).collect();
    for (index, at) in gone {
        PAGES.lock().remove(&(mapping, index));
        // SAFETY: a page of ours that is in no table any more.
        unsafe {
            page::mapping.set(at, 0u64);
            mapping_more::nrpages.set(mapping, mapping_more::nrpages.get::<u64>(mapping).saturating_sub(1));
        }
        pages::give(at, 0, 0);
    }
}

/// `void unlock_page(struct page *)`
extern "C" fn unlock_page(at: u64) {
    change(at, 0, locked());
    kernel().tasks.wake_channel(at, usize::MAX);
}
/// `void folio_end_read(struct folio *, bool success)`
extern "C" fn folio_end_read(at: u64, success: bool) {
    end_read(at, success);
}
/// A page has been read, or could not be.
pub(crate) fn end_read(at: u64, success: bool) {
    if success {
        change(at, up_to_date(), 0);
    }
    unlock_page(at);
}
/// `void page_endio(struct page *, bool is_write, int err)`
extern "C" fn page_endio(at: u64, is_write: bool, error: i32) {
    if !is_write {
        change(at, if error == 0 { up_to_date() } else { 0 }, if error == 0 { 0 } else { up_to_date() });
        unlock_page(at);
    }
}

/// `struct folio *read_cache_folio(struct address_space *, pgoff_t, filler_t *, struct file *)`: of one page, held.
extern "C" fn read_cache_folio(mapping: u64, index: u64, _filler: u64, of: u64) -> u64 {
    let caller = ram::caller();
    match read_page(mapping, index, of, caller) {
        Ok(at) => {
            iter::hold(at);
            at
        }
        Err(errno) => errno.to_pointer(),
    }
}

/// `ssize_t generic_file_read_iter(struct kiocb *, struct iov_iter *)`
extern "C" fn generic_file_read_iter(request: u64, over: u64) -> i64 {
    let caller = ram::caller();
    // SAFETY: the caller's request, its file and that file's mapping.
    unsafe {
        let of: u64 = kiocb::ki_filp.get(request);
        let mapping: u64 = file::f_mapping.get(of);
        let size: i64 = inode::i_size.get(address_space::host.get(mapping));
        let Ok(mut at) = u64::try_from(kiocb::ki_pos.get::<i64>(request)) else {
            return Errno::EINVAL.to_return().into();
        };
        let size = u64::try_from(size).unwrap_or(0);
        let mut done = 0;
        while iter::left(over) > 0 && at < size {
            let page = match read_page(mapping, at / PAGE, of, caller) {
                Ok(page) => page,
                Err(errno) if done == 0 => return errno.to_return().into(),
                Err(_) => break,
            };
            let part = (PAGE - at % PAGE).min(size - at).min(iter::left(over));
            let copied = iter::put(over, pages::address_of(page) + at % PAGE, part);
            at += copied;
            done += copied;
            if copied < part {
                if done == 0 {
                    return Errno::EFAULT.to_return().into();
                }
                break;
            }
        }
        kiocb::ki_pos.set(request, at);
        done as i64
    }
}

/// `const char *page_get_link(struct dentry *, struct inode *, struct delayed_call *)`: the file's first page is the text.
extern "C" fn page_get_link(entry: u64, at: u64, after: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the caller's dentry or inode, and its call.
    unsafe {
        let at = if at == 0 { dentry::d_inode.get(entry) } else { at };
        let mapping: u64 = inode::i_mapping.get(at);
        match read_page(mapping, 0, 0, caller) {
            Ok(page) => {
                let text = pages::address_of(page);
                let length = inode::i_size.get::<u64>(at).min(PAGE - 1);
                ram::put(text + length, 0u8);
                iter::hold(page);
                delayed_call::fn_.set(after, symbols::address("page_put_link").unwrap_or(0));
                delayed_call::arg.set(after, page);
                text
            }
            Err(errno) => errno.to_pointer(),
        }
    }
}
/// `void page_put_link(void *)`
extern "C" fn page_put_link(page: u64) {
    pages::give(page, 0, 0);
}

/// `void truncate_inode_pages_final(struct address_space *)`
extern "C" fn truncate_inode_pages_final(mapping: u64) {
    forget(mapping);
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c unlock_page, c folio_unlock = unlock_page, c folio_end_read, c page_endio, c read_cache_folio,
    c read_cache_page = read_cache_folio, c generic_file_read_iter, c page_get_link, c page_put_link, c truncate_inode_pages_final,
];
