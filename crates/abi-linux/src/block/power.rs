//! Power of block devices: they are always on.

use crate::export::{Export, exports};

/// `void blk_pm_runtime_init(struct request_queue *, struct device *)` and its like; those that say whether it may go on say 0.
extern "C" fn always_on() -> i32 {
    0
}
/// `struct opal_dev *init_opal_dev(...)`: no disk locks itself.
extern "C" fn no_locking() -> u64 {
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    k blk_pm_runtime_init = always_on, k blk_pre_runtime_suspend = always_on, k blk_post_runtime_suspend = always_on,
    k blk_pre_runtime_resume = always_on, k blk_post_runtime_resume = always_on, k blk_set_pm_only = always_on,
    k blk_clear_pm_only = always_on, k init_opal_dev = no_locking, k free_opal_dev = always_on,
    k opal_unlock_from_suspend = always_on,
];
