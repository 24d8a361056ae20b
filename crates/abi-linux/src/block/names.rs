//! What the kernel calls operations and their ends in its messages.

use crate::export::{Export, exports};

/// The names of `enum req_op`'s operations, by number.
const OPERATIONS: [(u32, &core::ffi::CStr); 13] = [
    (0, c"READ"),
    (1, c"WRITE"),
    (2, c"FLUSH"),
    (3, c"DISCARD"),
    (5, c"SECURE_ERASE"),
    (7, c"ZONE_APPEND"),
    (9, c"WRITE_ZEROES"),
    (11, c"ZONE_OPEN"),
    (13, c"ZONE_CLOSE"),
    (15, c"ZONE_FINISH"),
    (17, c"ZONE_RESET"),
    (34, c"DRV_IN"),
    (35, c"DRV_OUT"),
];

fn operation(number: u32) -> &'static core::ffi::CStr {
    OPERATIONS.iter().find(|(other, _)| *other == number).map_or(c"UNKNOWN", |(_, name)| name)
}

/// The name of an operation.
pub(super) fn operation_name(number: u32) -> &'static str {
    operation(number).to_str().unwrap_or("UNKNOWN")
}

/// The names of ends (`blk_status_t`), by number.
const ENDS: [&core::ffi::CStr; 14] = [
    c"",
    c"operation not supported",
    c"timeout",
    c"critical space allocation",
    c"recoverable transport",
    c"critical target",
    c"critical nexus",
    c"critical medium",
    c"protection",
    c"kernel resource",
    c"I/O",
    c"dm internal retry",
    c"nonblocking retry",
    c"device resource",
];

fn end(status: u8) -> &'static core::ffi::CStr {
    ENDS.get(usize::from(status)).copied().unwrap_or(c"<null>")
}

/// The name of how something ended.
pub(super) fn status_name(status: u8) -> &'static str {
    end(status).to_str().unwrap_or("<null>")
}

/// `const char *blk_op_str(enum req_op)`
extern "C" fn blk_op_str(number: u32) -> u64 {
    operation(number).as_ptr() as u64
}
/// `const char *blk_status_to_str(blk_status_t)`
extern "C" fn blk_status_to_str(status: u8) -> u64 {
    end(status).as_ptr() as u64
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c blk_op_str, c blk_status_to_str];
