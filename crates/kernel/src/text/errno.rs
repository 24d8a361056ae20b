//! Error numbers: Linux x86-64's, with their names and messages.
//!
//! 512 and above never reach user space on Linux; drivers and the system call layer use them among themselves
//! (`EPROBE_DEFER` above all), and `%pe` prints their names.

use core::fmt;

/// A Linux error number, positive (`ENOENT` is 2).
///
/// A C function returns it negated; [`Errno::to_return`] and [`Errno::from_return`] are the two directions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(pub i32);

/// The largest error number that a pointer can carry (`MAX_ERRNO`).
pub const MAX_ERRNO: i32 = 4095;

impl Errno {
    /// The value a C function returns for this error: `-ENOENT` is -2.
    pub const fn to_return(self) -> i32 {
        self.0.wrapping_neg()
    }

    /// Reads what a C function returned: negative values down to -[`MAX_ERRNO`] are errors, everything else is not.
    pub const fn from_return(value: i64) -> Option<Errno> {
        if value < 0 && value >= -(MAX_ERRNO as i64) { Some(Errno((-value) as i32)) } else { None }
    }

    /// What a C function returns that only says whether it could do something: 0, or the error negated.
    pub fn returned(result: Result<(), Errno>) -> i32 {
        result.map_or_else(Errno::to_return, |()| 0)
    }

    /// Reads what such a function returned: what is no error went well.
    ///
    /// # Errors
    /// The one it returned.
    pub fn result(value: i32) -> Result<(), Errno> {
        Errno::from_return(value.into()).map_or(Ok(()), Err)
    }

    /// The pointer that carries this error (`ERR_PTR`).
    pub const fn to_pointer(self) -> u64 {
        (self.0 as i64).wrapping_neg() as u64
    }

    /// The error a pointer carries, if it is one of the top [`MAX_ERRNO`] addresses (`IS_ERR`, `PTR_ERR`).
    pub const fn from_pointer(pointer: u64) -> Option<Errno> {
        Errno::from_return(pointer as i64)
    }

    /// The name in `errno.h`, without the sign. `EWOULDBLOCK`, `EDEADLOCK` and `ENOTSUP` are given under the names
    /// `EAGAIN`, `EDEADLK` and `EOPNOTSUPP`, as Linux prints them.
    pub const fn name(self) -> Option<&'static str> {
        match row(self.0) {
            Some(row) => Some(row.1),
            None => None,
        }
    }

    /// What `strerror` says; for the kernel's internal numbers a description of the same kind.
    pub const fn message(self) -> Option<&'static str> {
        match row(self.0) {
            Some(row) => Some(row.2),
            None => None,
        }
    }

    /// The error of this name, aliases included.
    pub fn from_name(name: &str) -> Option<Errno> {
        match name {
            "EWOULDBLOCK" => Some(Errno::EAGAIN),
            "EDEADLOCK" => Some(Errno::EDEADLK),
            "ENOTSUP" => Some(Errno::EOPNOTSUPP),
            _ => TABLE.iter().find(|row| row.1 == name).map(|row| Errno(row.0)),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            Some(message) => f.write_str(message),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl core::error::Error for Errno {}

const fn row(number: i32) -> Option<&'static (i32, &'static str, &'static str)> {
    // The table is sorted by number; a const binary search so that names can be used in constants.
    let (mut low, mut high) = (0, TABLE.len());
    while low < high {
        let middle = (low + high) / 2;
        let found = TABLE[middle].0;
        if found == number {
            return Some(&TABLE[middle]);
        }
        if found < number {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    None
}

macro_rules! errors {
    ($($number:literal $name:ident $message:literal,)*) => {
        impl Errno {
            $(#[doc = $message] pub const $name: Errno = Errno($number);)*
        }
        const TABLE: &[(i32, &str, &str)] = &[$(($number, stringify!($name), $message),)*];
    };
}

impl Errno {
    /// Another name of [`Errno::EAGAIN`].
    pub const EWOULDBLOCK: Errno = Errno::EAGAIN;
    /// Another name of [`Errno::EDEADLK`].
    pub const EDEADLOCK: Errno = Errno::EDEADLK;
}

errors! {
    1 EPERM "Operation not permitted",
    2 ENOENT "No such file or directory",
    3 ESRCH "No such process",
    4 EINTR "Interrupted system call",
    5 EIO "Input/output error",
    6 ENXIO "No such device or address",
    7 E2BIG "Argument list too long",
    8 ENOEXEC "Exec format error",
    9 EBADF "Bad file descriptor",
    10 ECHILD "No child processes",
    11 EAGAIN "Resource temporarily unavailable",
    12 ENOMEM "Cannot allocate memory",
    13 EACCES "Permission denied",
    14 EFAULT "Bad address",
    15 ENOTBLK "Block device required",
    16 EBUSY "Device or resource busy",
    17 EEXIST "File exists",
    18 EXDEV "Invalid cross-device link",
    19 ENODEV "No such device",
    20 ENOTDIR "Not a directory",
    21 EISDIR "Is a directory",
    22 EINVAL "Invalid argument",
    23 ENFILE "Too many open files in system",
    24 EMFILE "Too many open files",
    25 ENOTTY "Inappropriate ioctl for device",
    26 ETXTBSY "Text file busy",
    27 EFBIG "File too large",
    28 ENOSPC "No space left on device",
    29 ESPIPE "Illegal seek",
    30 EROFS "Read-only file system",
    31 EMLINK "Too many links",
    32 EPIPE "Broken pipe",
    33 EDOM "Numerical argument out of domain",
    34 ERANGE "Numerical result out of range",
    35 EDEADLK "Resource deadlock avoided",
    36 ENAMETOOLONG "File name too long",
    37 ENOLCK "No locks available",
    38 ENOSYS "Function not implemented",
    39 ENOTEMPTY "Directory not empty",
    40 ELOOP "Too many levels of symbolic links",
    42 ENOMSG "No message of desired type",
    43 EIDRM "Identifier removed",
    44 ECHRNG "Channel number out of range",
    45 EL2NSYNC "Level 2 not synchronized",
    46 EL3HLT "Level 3 halted",
    47 EL3RST "Level 3 reset",
    48 ELNRNG "Link number out of range",
    49 EUNATCH "Protocol driver not attached",
    50 ENOCSI "No CSI structure available",
    51 EL2HLT "Level 2 halted",
    52 EBADE "Invalid exchange",
    53 EBADR "Invalid request descriptor",
    54 EXFULL "Exchange full",
    55 ENOANO "No anode",
    56 EBADRQC "Invalid request code",
    57 EBADSLT "Invalid slot",
    59 EBFONT "Bad font file format",
    60 ENOSTR "Device not a stream",
    61 ENODATA "No data available",
    62 ETIME "Timer expired",
    63 ENOSR "Out of streams resources",
    64 ENONET "Machine is not on the network",
    65 ENOPKG "Package not installed",
    66 EREMOTE "Object is remote",
    67 ENOLINK "Link has been severed",
    68 EADV "Advertise error",
    69 ESRMNT "Srmount error",
    70 ECOMM "Communication error on send",
    71 EPROTO "Protocol error",
    72 EMULTIHOP "Multihop attempted",
    73 EDOTDOT "RFS specific error",
    74 EBADMSG "Bad message",
    75 EOVERFLOW "Value too large for defined data type",
    76 ENOTUNIQ "Name not unique on network",
    77 EBADFD "File descriptor in bad state",
    78 EREMCHG "Remote address changed",
    79 ELIBACC "Can not access a needed shared library",
    80 ELIBBAD "Accessing a corrupted shared library",
    81 ELIBSCN ".lib section in a.out corrupted",
    82 ELIBMAX "Attempting to link in too many shared libraries",
    83 ELIBEXEC "Cannot exec a shared library directly",
    84 EILSEQ "Invalid or incomplete multibyte or wide character",
    85 ERESTART "Interrupted system call should be restarted",
    86 ESTRPIPE "Streams pipe error",
    87 EUSERS "Too many users",
    88 ENOTSOCK "Socket operation on non-socket",
    89 EDESTADDRREQ "Destination address required",
    90 EMSGSIZE "Message too long",
    91 EPROTOTYPE "Protocol wrong type for socket",
    92 ENOPROTOOPT "Protocol not available",
    93 EPROTONOSUPPORT "Protocol not supported",
    94 ESOCKTNOSUPPORT "Socket type not supported",
    95 EOPNOTSUPP "Operation not supported",
    96 EPFNOSUPPORT "Protocol family not supported",
    97 EAFNOSUPPORT "Address family not supported by protocol",
    98 EADDRINUSE "Address already in use",
    99 EADDRNOTAVAIL "Cannot assign requested address",
    100 ENETDOWN "Network is down",
    101 ENETUNREACH "Network is unreachable",
    102 ENETRESET "Network dropped connection on reset",
    103 ECONNABORTED "Software caused connection abort",
    104 ECONNRESET "Connection reset by peer",
    105 ENOBUFS "No buffer space available",
    106 EISCONN "Transport endpoint is already connected",
    107 ENOTCONN "Transport endpoint is not connected",
    108 ESHUTDOWN "Cannot send after transport endpoint shutdown",
    109 ETOOMANYREFS "Too many references: cannot splice",
    110 ETIMEDOUT "Connection timed out",
    111 ECONNREFUSED "Connection refused",
    112 EHOSTDOWN "Host is down",
    113 EHOSTUNREACH "No route to host",
    114 EALREADY "Operation already in progress",
    115 EINPROGRESS "Operation now in progress",
    116 ESTALE "Stale file handle",
    117 EUCLEAN "Structure needs cleaning",
    118 ENOTNAM "Not a XENIX named type file",
    119 ENAVAIL "No XENIX semaphores available",
    120 EISNAM "Is a named type file",
    121 EREMOTEIO "Remote I/O error",
    122 EDQUOT "Disk quota exceeded",
    123 ENOMEDIUM "No medium found",
    124 EMEDIUMTYPE "Wrong medium type",
    125 ECANCELED "Operation canceled",
    126 ENOKEY "Required key not available",
    127 EKEYEXPIRED "Key has expired",
    128 EKEYREVOKED "Key has been revoked",
    129 EKEYREJECTED "Key was rejected by service",
    130 EOWNERDEAD "Owner died",
    131 ENOTRECOVERABLE "State not recoverable",
    132 ERFKILL "Operation not possible due to RF-kill",
    133 EHWPOISON "Memory page has hardware error",
    512 ERESTARTSYS "restart the system call after the signal",
    513 ERESTARTNOINTR "restart the system call always",
    514 ERESTARTNOHAND "restart if no handler ran",
    515 ENOIOCTLCMD "no such ioctl command",
    516 ERESTART_RESTARTBLOCK "restart through the restart block",
    517 EPROBE_DEFER "driver asks to be probed again later",
    518 EOPENSTALE "open found a stale handle",
    519 ENOPARAM "parameter not supported",
    521 EBADHANDLE "illegal NFS file handle",
    522 ENOTSYNC "update synchronization mismatch",
    523 EBADCOOKIE "cookie is stale",
    524 ENOTSUPP "operation is not supported",
    525 ETOOSMALL "buffer or request is too small",
    526 ESERVERFAULT "an untranslatable error occurred",
    527 EBADTYPE "type not supported by the server",
    528 EJUKEBOX "request started, will not end before the timeout",
    529 EIOCBQUEUED "queued, completion will follow",
    530 ERECALLCONFLICT "conflict with recalled state",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_name_leads_back() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for row in TABLE {
            assert_eq!(Errno(row.0).name(), Some(row.1));
            assert_eq!(Errno::from_name(row.1), Some(Errno(row.0)));
        }
    }

    #[test]
    fn numbers_that_linux_has() {
        assert_eq!(Errno::ENOENT.0, 2);
        assert_eq!(Errno::EKEYREJECTED.0, 129);
        assert_eq!(Errno::EPROBE_DEFER.0, 517);
        assert_eq!(Errno::ENOTSUPP.0, 524);
        assert_eq!(Errno(41).name(), None);
        assert_eq!(Errno(58).name(), None);
        assert_eq!(Errno(0).name(), None);
        assert_eq!(Errno(i32::MIN).name(), None);
    }

    #[test]
    fn returns_and_pointers() {
        assert_eq!(Errno::from_return(-2), Some(Errno::ENOENT));
        assert_eq!(Errno::from_return(0), None);
        assert_eq!(Errno::from_return(7), None);
        assert_eq!(Errno::from_return(-4095), Some(Errno(4095)));
        assert_eq!(Errno::from_return(-4096), None);
        assert_eq!(Errno::from_return(i64::MIN), None);
        assert_eq!((Errno::returned(Ok(())), Errno::returned(Err(Errno::ENOENT))), (0, -2));
        assert_eq!((Errno::result(3), Errno::result(-2)), (Ok(()), Err(Errno::ENOENT)));
        assert_eq!(Errno::EINVAL.to_pointer(), 0xffff_ffff_ffff_ffea);
        assert_eq!(Errno::from_pointer(0xffff_ffff_ffff_ffea), Some(Errno::EINVAL));
        assert_eq!(Errno::from_pointer(0), None);
        assert_eq!(Errno::from_pointer(0xffff_8880_0000_0000), None);
    }
}
