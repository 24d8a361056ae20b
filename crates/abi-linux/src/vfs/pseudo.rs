//! File systems that are only mounted by the kernel, for inodes that have no names.

use ferrmod_kernel::Errno;

use super::dcache;
use super::inode;
use super::inodes;
use super::superblock::{self, super_block};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab, symbols};

layout! {
    mod fs_context = "fs_context" { ops, fs_private, sb_flags }
    mod fs_context_operations = "fs_context_operations" { free, get_tree }
    mod pseudo_fs_context = "pseudo_fs_context" { ops, dops, magic }
}

/// `SB_NOUSER`
const NO_USER: u32 = 1 << 31;

/// The operations of a context, which have no state.
fn operations() -> u64 {
    static TABLE: spin::Once<u64> = spin::Once::new();
    *TABLE.call_once(|| {
        let table = slab::allocate(fs_context_operations::SIZE.get(), 8, slab::ZERO, 0);
        if table != 0 {
            // SAFETY: a zeroed block of the struct's size.
            unsafe {
                fs_context_operations::free.set(table, symbols::address("pseudo_fs_free").unwrap_or(0));
                fs_context_operations::get_tree.set(table, symbols::address("pseudo_fs_get_tree").unwrap_or(0));
            }
        }
        table
    })
}

/// `struct pseudo_fs_context *init_pseudo(struct fs_context *, unsigned long magic)`; null without memory.
extern "C" fn init_pseudo(context: u64, magic: u64) -> u64 {
    let caller = ram::caller();
    let made = slab::allocate(pseudo_fs_context::SIZE.get(), 8, slab::ZERO, caller);
    if made != 0 {
        // SAFETY: a zeroed block of the struct's size, and the caller's context.
        unsafe {
            pseudo_fs_context::magic.set(made, magic);
            fs_context::fs_private.set(context, made);
            fs_context::ops.set(context, operations());
            fs_context::sb_flags.set(context, fs_context::sb_flags.get::<u32>(context) | NO_USER);
        }
    }
    made
}
extern "C" fn pseudo_fs_free(context: u64) {
    // SAFETY: a context that `init_pseudo` has filled in.
    slab::release(unsafe { fs_context::fs_private.get(context) }, 0);
}
extern "C" fn pseudo_fs_get_tree(context: u64) -> i32 {
    let fill = symbols::address("pseudo_fs_fill_super").unwrap_or(0);
    superblock::get_tree_nodev(context, fill)
}
extern "C" fn pseudo_fs_fill_super(sb: u64, context: u64) -> i32 {
    /// `S_IFDIR | S_IRUSR | S_IWUSR`
    const ROOT_MODE: u16 = 0o040_600;
    // SAFETY: a new super block and a context that `init_pseudo` has filled in.
    unsafe {
        let own: u64 = fs_context::fs_private.get(context);
        super_block::s_maxbytes.set(sb, i64::MAX);
        super_block::s_magic.set(sb, pseudo_fs_context::magic.get::<u64>(own));
        super_block::s_op.set(sb, pseudo_fs_context::ops.get::<u64>(own));
        super_block::s_time_gran.set(sb, 1_u32);
        let root = inodes::new_inode(sb);
        if root == 0 {
            return Errno::ENOMEM.to_return();
        }
        inode::i_ino.set(root, 1_u64);
        inode::i_mode.set(root, ROOT_MODE);
        super_block::s_root.set(sb, dcache::d_make_root(root));
        if super_block::s_root.get::<u64>(sb) == 0 {
            return Errno::ENOMEM.to_return();
        }
        super_block::s_d_op.set(sb, pseudo_fs_context::dops.get::<u64>(own));
    }
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] =
    exports![c init_pseudo, c pseudo_fs_free, c pseudo_fs_get_tree, c pseudo_fs_fill_super];
