//! Tasks as C sees them: a `task_struct` for each, and `current`.

use hashbrown::HashMap;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, Kernel, Owner, TaskId, kernel};

use crate::field::layout;
use crate::{ram, symbols};

layout! {
    mod task_struct = "task_struct" { comm, pid, tgid, usage, flags, cpu_time_max = "nr_cpus_allowed" }
}

#[derive(Default)]
struct Shadows {
    by_id: HashMap<TaskId, u64>,
    by_address: HashMap<u64, TaskId>,
}

static SHADOWS: Lock<Option<Shadows>> = Lock::new(None);

/// Gives the scheduler its own shadow.
pub(crate) fn begin(_kernel: &Kernel) {
    *SHADOWS.lock() = Some(Shadows::default());
    // Without memory for it `current` is null on the scheduler, where no module code runs.
    let _ = created(TaskId(0), "swapper/0");
    running(TaskId(0));
}

/// Makes the `task_struct` of a task.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn created(id: TaskId, name: &str) -> Result<(), Errno> {
    let size = task_struct::SIZE.get();
    let kernel = kernel();
    let address = kernel.heap.allocate(size, 64, Owner::Kernel, 0, &kernel.inject)?;
    // SAFETY: the heap has just given `size` bytes to us, and every member lies within.
    unsafe {
        ram::fill(address, 0, size);
        task_struct::pid.set(address, id.0);
        task_struct::tgid.set(address, id.0);
        task_struct::usage.set(address, 2u32);
        let comm = task_struct::comm.at(address);
        let length = name.len().min(15);
        ram::bytes_mut(comm, length as u64).copy_from_slice(&name.as_bytes()[..length]);
    }
    if let Some(shadows) = SHADOWS.lock().as_mut() {
        shadows.by_id.insert(id, address);
        shadows.by_address.insert(address, id);
    }
    Ok(())
}

/// Makes `current` the task's.
pub(crate) fn running(id: TaskId) {
    let address = shadow(id).unwrap_or(0);
    if let Some(current) = symbols::percpu("current_task") {
        // SAFETY: the per-CPU variable lies in the mapped area.
        unsafe { ram::put(current, address) };
    }
}

/// Frees the `task_struct`.
pub(crate) fn gone(id: TaskId) {
    let address = SHADOWS.lock().as_mut().and_then(|shadows| {
        let address = shadows.by_id.remove(&id)?;
        shadows.by_address.remove(&address);
        Some(address)
    });
    if let Some(address) = address {
        // It came from the heap.
        let _ = kernel().heap.free(address);
    }
}

/// The `task_struct` of a task.
pub(crate) fn shadow(id: TaskId) -> Option<u64> {
    SHADOWS.lock().as_ref()?.by_id.get(&id).copied()
}

/// The task whose `task_struct` is at `address`.
pub(crate) fn at(address: u64) -> Option<TaskId> {
    SHADOWS.lock().as_ref()?.by_address.get(&address).copied()
}
