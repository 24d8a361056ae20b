//! The error numbers a load can end with, positive.

/// Operation not permitted: modules are disabled, blacklisted, locked down.
pub const EPERM: i32 = 1;
/// No such file or directory: an unknown symbol.
pub const ENOENT: i32 = 2;
/// Exec format error: the file is no module this kernel takes.
pub const ENOEXEC: i32 = 8;
/// File exists: a module of this name is loaded.
pub const EEXIST: i32 = 17;
/// Invalid argument: a version, a namespace or a parameter does not fit.
pub const EINVAL: i32 = 22;
/// No space left: a text is too long for its parameter.
pub const ENOSPC: i32 = 28;
/// Numerical result out of range.
pub const ERANGE: i32 = 34;
/// Function not implemented: the kernel has no modules.
pub const ENOSYS: i32 = 38;
/// Bad message: what stands before the marker is no signature.
pub const EBADMSG: i32 = 74;
/// Operation not supported: the kernel cannot unpack files.
pub const EOPNOTSUPP: i32 = 95;
/// Key was rejected by service: the signature does not hold, or its key is not trusted.
pub const EKEYREJECTED: i32 = 129;

/// The name in `errno.h`.
#[must_use]
pub fn name(errno: i32) -> &'static str {
    match errno {
        EPERM => "EPERM",
        ENOENT => "ENOENT",
        ENOEXEC => "ENOEXEC",
        12 => "ENOMEM",
        16 => "EBUSY",
        EEXIST => "EEXIST",
        EINVAL => "EINVAL",
        ENOSPC => "ENOSPC",
        ERANGE => "ERANGE",
        ENOSYS => "ENOSYS",
        EBADMSG => "EBADMSG",
        EOPNOTSUPP => "EOPNOTSUPP",
        EKEYREJECTED => "EKEYREJECTED",
        _ => "",
    }
}
