//! Inodes by their numbers: a file system asks for one, and fills it in when it is new.

use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;

use super::{inode, inodes};
use crate::boot::facts;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod inode_more = "inode" { i_state }
}

/// Bits of `i_state`: `I_NEW`, `I_FREEING`, `I_CLEAR`.
struct Bits {
    new: u32,
    freeing: u32,
    clear: u32,
}

/// Their values changed in 6.12, together with the size of the member.
fn bits() -> &'static Bits {
    const EIGHT_BYTES: Bits = Bits { new: 1 << 3, freeing: 1 << 5, clear: 1 << 6 };
    const FOUR_BYTES: Bits = Bits { new: 1 << 0, freeing: 1 << 7, clear: 1 << 8 };
    static IS_SMALL: spin::Once<bool> = spin::Once::new();
    let is_small = IS_SMALL.call_once(|| {
        let btf = facts().btf();
        let member = btf.struct_named("inode").and_then(|inode| inode.member("i_state"));
        member.and_then(|member| btf.size_of(member.type_id)) == Some(4)
    });
    if *is_small { &FOUR_BYTES } else { &EIGHT_BYTES }
}

/// The inodes that are found: super block, number, inode. The number of one that is found by a test is the file system's affair.
static INODES: Lock<Vec<(u64, u64, u64)>> = Lock::new(Vec::new());

fn state(at: u64) -> u32 {
    // SAFETY: an inode. All bits are in the first four bytes.
    unsafe { inode_more::i_state.get(at) }
}
fn set_state(at: u64, state: u32) {
    // SAFETY: as above.
    unsafe { inode_more::i_state.set(at, state) };
}

fn find(sb: u64, number: u64, is_it: impl Fn(u64) -> bool) -> Option<u64> {
    let candidates: Vec<u64> =
        INODES.lock().iter().filter(|&&(of, other, _)| of == sb && other == number).map(|&(_, _, at)| at).collect();
    candidates.into_iter().find(|&at| is_it(at))
}

/// `struct inode *iget_locked(struct super_block *, unsigned long)`: one that is there, or a new one.
extern "C" fn iget_locked(sb: u64, number: u64) -> u64 {
    if let Some(at) = find(sb, number, |_| true) {
        inodes::ihold(at);
        return at;
    }
    let made = inodes::new_inode(sb);
    if made != 0 {
        // SAFETY: the inode just made.
        unsafe { inode::i_ino.set(made, number) };
        set_state(made, state(made) | bits().new);
        INODES.lock().push((sb, number, made));
    }
    made
}
/// `struct inode *iget5_locked(struct super_block *, unsigned long hash, int (*test)(struct inode *, void *), int (*set)(struct inode *, void *), void *)`
extern "C" fn iget5_locked(sb: u64, hash: u64, test: u64, set: u64, data: u64) -> u64 {
    // SAFETY: the file system's function, with an inode of its own.
    if let Some(at) = find(sb, hash, |at| unsafe { ram::call(test, [at, data]) as i32 != 0 }) {
        inodes::ihold(at);
        return at;
    }
    let made = inodes::new_inode(sb);
    if made != 0 {
        // SAFETY: as above.
        if unsafe { ram::call(set, [made, data]) } as i32 != 0 {
            inodes::iput(made);
            return 0;
        }
        set_state(made, state(made) | bits().new);
        INODES.lock().push((sb, hash, made));
    }
    made
}
/// `void unlock_new_inode(struct inode *)`: it is filled in.
extern "C" fn unlock_new_inode(at: u64) {
    set_state(at, state(at) & !bits().new);
}
/// `void iget_failed(struct inode *)`: it is not.
extern "C" fn iget_failed(at: u64) {
    set_state(at, state(at) & !bits().new);
    inodes::iput(at);
}
/// `void __insert_inode_hash(struct inode *, unsigned long)`
extern "C" fn __insert_inode_hash(at: u64, hash: u64) {
    layout! { mod of = "inode" { i_sb } }
    // SAFETY: the caller's inode.
    INODES.lock().push((unsafe { of::i_sb.get(at) }, hash, at));
}
/// `void __remove_inode_hash(struct inode *)`
extern "C" fn __remove_inode_hash(at: u64) {
    forget(at);
}

/// `void clear_inode(struct inode *)`: it is about to go.
pub(super) extern "C" fn clear_inode(at: u64) {
    set_state(at, bits().freeing | bits().clear);
}

/// An inode that goes is not found any more.
pub(crate) fn forget(at: u64) {
    INODES.lock().retain(|&(_, _, other)| other != at);
}

/// `void inode_nohighmem(struct inode *)`: all memory is mapped.
extern "C" fn inode_nohighmem() {}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c iget_locked, c iget5_locked, c unlock_new_inode, c iget_failed, c clear_inode, c __insert_inode_hash, c __remove_inode_hash, k inode_nohighmem,
];
