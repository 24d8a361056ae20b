//! What `/sys/block/NAME/mq` says: a directory for each hardware queue.

use alloc::format;
use alloc::string::String;

use ferrmod_kernel::files::{self, Node};
use ferrmod_kernel::{Errno, kernel};

use super::{context, queues, request_queue, requests, tag_set, tags};
use crate::bitmaps;
use crate::block::queue::limits_come_first;

/// Adds the directory of a disk over a queue of requests, whose own is `path`.
///
/// # Errors
/// As [`files::Files::add`].
pub(crate) fn add(path: &str, disk: u64) -> Result<(), Errno> {
    // SAFETY: a disk that is being added.
    let queue = unsafe { requests::queue_of(disk) };
    if !super::is_queue(queue) {
        return Ok(());
    }
    kernel().files.add(
        &format!("{path}/queue/nr_requests"),
        number(queue, |queue| {
            // SAFETY: a queue of a disk.
            unsafe { request_queue::nr_requests.get(queue) }
        }),
    )?;
    let schedulers = if has_schedulers(queue) { &b"[none] \n"[..] } else { b"none\n" };
    kernel().files.add(&format!("{path}/queue/scheduler"), files::read_only(0o644, move || schedulers.to_vec()))?;
    add_contexts(path, queue)
}

/// Whether a queue says that it could have a scheduler. Linux 6.1 does not ask its driver.
fn has_schedulers(queue: u64) -> bool {
    // SAFETY: a queue of a disk, and its tags.
    let flags: u32 = unsafe { tag_set::flags.get(request_queue::tag_set.get(queue)) };
    !limits_come_first() || flags & super::set_flag("BLK_MQ_F_NO_SCHED") == 0
}

/// Adds a directory for each hardware queue.
///
/// # Errors
/// As [`files::Files::add`].
pub(super) fn add_contexts(path: &str, queue: u64) -> Result<(), Errno> {
    for (index, of) in queues::contexts(queue).into_iter().enumerate() {
        let directory = format!("{path}/mq/{index}");
        kernel().files.make_directories(&directory);
        // SAFETY: a hardware context.
        let map: u64 = unsafe { context::tags.get(of) };
        kernel().files.add(&format!("{directory}/nr_tags"), number(map, |map| tags::sizes(map).0))?;
        kernel().files.add(&format!("{directory}/nr_reserved_tags"), number(map, |map| tags::sizes(map).1))?;
        // SAFETY: the queue's set.
        let set: u64 = unsafe { request_queue::tag_set.get(queue) };
        let list = files::read_only(0o444, move || processors(set, index as u32).into_bytes());
        kernel().files.add(&format!("{directory}/cpu_list"), list)?;
    }
    Ok(())
}

/// Takes it away.
pub(crate) fn remove(path: &str) {
    kernel().files.remove(&format!("{path}/mq"));
}

fn number(of: u64, value: fn(u64) -> u64) -> Node {
    files::read_only(0o444, move || format!("{}\n", value(of)).into_bytes())
}

/// The processors whose requests go to a hardware queue.
fn processors(set: u64, number: u32) -> String {
    // SAFETY: a set whose queue is there.
    let count: u32 = unsafe { tag_set::nr_maps.get(set) };
    // SAFETY: as above.
    let serves = |cpu: &u32| (0..count).any(|kind| unsafe { tags::hardware_queue(set, kind, *cpu) } == number);
    let names: alloc::vec::Vec<String> = (0..bitmaps::cpus()).filter(serves).map(|cpu| format!("{cpu}")).collect();
    format!("{}\n", names.join(", "))
}
