//! What bios and requests do, how they end, and what the kernel calls both in its messages.

use core::ffi::CStr;

use ferrmod_kernel::Errno;

use crate::boot::facts;
use crate::export::{Export, exports};
use crate::field::layout;

layout! {
    mod pr_ops = "pr_ops" { pr_read_keys }
}

/// `REQ_OP_MASK`: the bits of `blk_opf_t` that tell operations apart.
pub(super) const OPERATION: u32 = 0xff;

/// `REQ_OP_READ`, `REQ_OP_WRITE`, `REQ_OP_FLUSH`
pub(super) const READ: u32 = 0;
pub(super) const WRITE: u32 = 1;
pub(super) const FLUSH: u32 = 2;
/// `REQ_OP_DISCARD`, `REQ_OP_SECURE_ERASE`, `REQ_OP_WRITE_ZEROES`: they have a length and no memory.
pub(super) const DISCARD: u32 = 3;
pub(super) const SECURE_ERASE: u32 = 5;
pub(super) const WRITE_ZEROES: u32 = 9;

/// Whether an operation has a length and no memory.
pub(super) fn has_no_memory(operation: u32) -> bool {
    matches!(operation & OPERATION, DISCARD | SECURE_ERASE | WRITE_ZEROES)
}

/// `BLK_STS_NOTSUPP`, `BLK_STS_RESOURCE`, `BLK_STS_IOERR`, `BLK_STS_AGAIN`, `BLK_STS_DEV_RESOURCE`
pub(super) const NOT_SUPPORTED: u8 = 1;
pub(super) const RESOURCE: u8 = 9;
pub(super) const IO_ERROR: u8 = 10;
pub(super) const AGAIN: u8 = 12;
pub(super) const DEVICE_RESOURCE: u8 = 13;

/// The names of `enum req_op`'s operations, by number.
const OPERATIONS: [(u32, &CStr); 13] = [
    (READ, c"READ"),
    (WRITE, c"WRITE"),
    (FLUSH, c"FLUSH"),
    (DISCARD, c"DISCARD"),
    (SECURE_ERASE, c"SECURE_ERASE"),
    (7, c"ZONE_APPEND"),
    (WRITE_ZEROES, c"WRITE_ZEROES"),
    (11, c"ZONE_OPEN"),
    (13, c"ZONE_CLOSE"),
    (15, c"ZONE_FINISH"),
    (17, c"ZONE_RESET"),
    (34, c"DRV_IN"),
    (35, c"DRV_OUT"),
];

fn operation(number: u32) -> &'static CStr {
    OPERATIONS.iter().find(|(other, _)| *other == number).map_or(c"UNKNOWN", |(_, name)| name)
}

/// The name of an operation.
pub(super) fn operation_name(number: u32) -> &'static str {
    operation(number).to_str().unwrap_or("UNKNOWN")
}

/// A way to end (`blk_status_t`): its number, what it stands for, and its name.
type Status = (u8, Errno, &'static CStr);

/// Those that every kernel numbers like this.
const STATUSES: [Status; 13] = [
    (NOT_SUPPORTED, Errno::EOPNOTSUPP, c"operation not supported"),
    (2, Errno::ETIMEDOUT, c"timeout"),
    (3, Errno::ENOSPC, c"critical space allocation"),
    (4, Errno::ENOLINK, c"recoverable transport"),
    (5, Errno::EREMOTEIO, c"critical target"),
    (RESERVED, Errno::EBADE, c"reservation conflict"),
    (7, Errno::ENODATA, c"critical medium"),
    (8, Errno::EILSEQ, c"protection"),
    (RESOURCE, Errno::ENOMEM, c"kernel resource"),
    (IO_ERROR, Errno::EIO, c"I/O"),
    (11, Errno::EREMCHG, c"dm internal retry"),
    (AGAIN, Errno::EAGAIN, c"nonblocking retry"),
    (DEVICE_RESOURCE, Errno::EBUSY, c"device resource"),
];
/// `BLK_STS_NEXUS`, `BLK_STS_RESV_CONFLICT` since reservations can be read.
const RESERVED: u8 = 6;

/// What follows them; one number later as long as zones had a lock, and a status for it.
const ZONES: [Status; 3] = [
    (14, Errno::ETOOMANYREFS, c"open zones exceeded"),
    (15, Errno::EOVERFLOW, c"active zones exceeded"),
    (16, Errno::ENODEV, c"device offline"),
];
/// What came when that lock had gone.
const LATEST: [Status; 2] = [(17, Errno::ETIME, c"duration limit exceeded"), (19, Errno::EINVAL, c"invalid")];

/// All that this kernel knows.
fn statuses() -> impl Iterator<Item = Status> {
    let zones_are_locked = facts().btf().enum_value("BIO_ZONE_WRITE_LOCKED").is_some();
    let zones = ZONES.into_iter().map(move |(number, errno, name)| (number + u8::from(zones_are_locked), errno, name));
    let latest = LATEST.into_iter().filter(move |_| !zones_are_locked);
    STATUSES.into_iter().chain(zones).chain(latest)
}

fn status_named(status: u8) -> Option<&'static CStr> {
    let (number, _, name) = statuses().find(|(number, ..)| *number == status)?;
    Some(if number == RESERVED && pr_ops::pr_read_keys.offset().is_none() { c"critical nexus" } else { name })
}

/// The name of how something ended.
pub(super) fn status_name(status: u8) -> &'static str {
    status_named(status).and_then(|name| name.to_str().ok()).unwrap_or("<null>")
}

/// What a status stands for; everything unknown is `EIO`.
pub(super) fn errno(status: u8) -> Option<Errno> {
    let known = || statuses().find(|(number, ..)| *number == status).map_or(Errno::EIO, |(_, errno, _)| errno);
    (status != 0).then(known)
}

/// `int blk_status_to_errno(blk_status_t)`
extern "C" fn blk_status_to_errno(status: u8) -> i32 {
    errno(status).map_or(0, Errno::to_return)
}
/// `blk_status_t errno_to_blk_status(int)`
extern "C" fn errno_to_blk_status(value: i32) -> u8 {
    let Some(wanted) = Errno::from_return(value.into()) else { return if value == 0 { 0 } else { IO_ERROR } };
    statuses().find(|(_, errno, _)| *errno == wanted).map_or(IO_ERROR, |(number, ..)| number)
}

/// `const char *blk_op_str(enum req_op)`
extern "C" fn blk_op_str(number: u32) -> u64 {
    operation(number).as_ptr() as u64
}
/// `const char *blk_status_to_str(blk_status_t)`
extern "C" fn blk_status_to_str(status: u8) -> u64 {
    status_named(status).unwrap_or(c"<null>").as_ptr() as u64
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] =
    exports![c blk_op_str, c blk_status_to_str, c blk_status_to_errno, c errno_to_blk_status];
