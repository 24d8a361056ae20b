//! Asking for other modules by name.

use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::printf;

/// Longer names Linux refuses too (`MODULE_NAME_LEN`).
const LONGEST: usize = 56;

/// `int __request_module(bool wait, const char *fmt, ...)`: what `modprobe` would answer. A request that is not waited for has
/// a task of its own, because what it loads may need the module that asks.
extern "C" fn request_module(wait: bool, format: u64, list: u64) -> i32 {
    let name = printf::text_of(format, list);
    if name.len() >= LONGEST {
        return Errno::ENAMETOOLONG.to_return();
    }
    let outcome = if wait {
        kernel().request_module(&name)
    } else {
        kernel().tasks.spawn("modprobe", true, move || _ = kernel().request_module(&name)).map(drop)
    };
    Errno::returned(outcome)
}

/// `int call_usermodehelper(const char *path, char **argv, char **envp, int wait)`: a machine has no programs besides modprobe, and
/// says what a system says that has none at that path.
extern "C" fn call_usermodehelper() -> i32 {
    Errno::ENOENT.to_return()
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![v2 __request_module = request_module, k call_usermodehelper];
