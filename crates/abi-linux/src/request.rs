//! Asking for other modules by name.

use ferrmod_kernel::kernel;

use crate::export::{Export, exports};
use crate::printf;

/// Longer names Linux refuses too (`MODULE_NAME_LEN`).
const LONGEST: usize = 56;

/// `int __request_module(bool wait, const char *fmt, ...)`: what `modprobe` would answer; a request that need not be waited
/// for is carried out at once as well.
extern "C" fn request_module(_wait: bool, format: u64, list: u64) -> i32 {
    let name = printf::text_of(format, list);
    if name.len() >= LONGEST {
        return ferrmod_kernel::Errno::ENAMETOOLONG.to_return();
    }
    kernel().request_module(&name).map_or_else(ferrmod_kernel::Errno::to_return, |()| 0)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![v2 __request_module = request_module];
