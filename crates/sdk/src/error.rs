//! Errors are Linux's numbers.

use core::fmt;

/// An error number, as the kernel and user programs know it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Error(i32);

/// What most functions of a module return.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

macro_rules! errors {
    ($($name:ident $number:literal $text:literal,)*) => {
        impl Error {
            $(#[doc = $text] pub const $name: Error = Error($number);)*

            /// The name in `errno.h`.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errors! {
    EPERM 1 "Operation not permitted.",
    ENOENT 2 "No such file or directory.",
    ESRCH 3 "No such process.",
    EINTR 4 "Interrupted system call.",
    EIO 5 "Input/output error.",
    ENXIO 6 "No such device or address.",
    E2BIG 7 "Argument list too long.",
    EBADF 9 "Bad file descriptor.",
    EAGAIN 11 "Resource temporarily unavailable.",
    ENOMEM 12 "Cannot allocate memory.",
    EACCES 13 "Permission denied.",
    EFAULT 14 "Bad address.",
    EBUSY 16 "Device or resource busy.",
    EEXIST 17 "File exists.",
    ENODEV 19 "No such device.",
    ENOTDIR 20 "Not a directory.",
    EISDIR 21 "Is a directory.",
    EINVAL 22 "Invalid argument.",
    EFBIG 27 "File too large.",
    ENOSPC 28 "No space left on device.",
    EROFS 30 "Read-only file system.",
    EPIPE 32 "Broken pipe.",
    EDOM 33 "Numerical argument out of domain.",
    ERANGE 34 "Numerical result out of range.",
    ENAMETOOLONG 36 "File name too long.",
    ENOSYS 38 "Function not implemented.",
    ENODATA 61 "No data available.",
    EOVERFLOW 75 "Value too large for its type.",
    EMSGSIZE 90 "Message too long.",
    EOPNOTSUPP 95 "Operation not supported.",
    ETIMEDOUT 110 "Connection timed out.",
    EOWNERDEAD 130 "Owner died.",
}

impl Error {
    /// The error with this number (22 is `EINVAL`). Anything that is none becomes `EINVAL`.
    pub const fn from_number(number: i32) -> Error {
        if number > 0 && number < 4096 { Error(number) } else { Error::EINVAL }
    }

    /// Its number, positive.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The value a C function returns for it.
    pub(crate) const fn to_return(self) -> i32 {
        -self.0
    }

    /// What a C function returned: a value, or an error.
    pub(crate) fn check(returned: i64) -> Result<i64> {
        if returned < 0 { Err(Error::from_number(i32::try_from(-returned).unwrap_or(0))) } else { Ok(returned) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_names_and_come_back_from_c() {
        assert_eq!(alloc::format!("{}", Error::ENOSPC), "ENOSPC");
        assert_eq!(alloc::format!("{}", Error::from_number(1000)), "errno 1000");
        assert_eq!(Error::check(-12), Err(Error::ENOMEM));
        assert_eq!(Error::check(12), Ok(12));
        assert_eq!(Error::check(i64::MIN + 1), Err(Error::EINVAL));
        assert_eq!(Error::EBUSY.to_return(), -16);
    }
}
