//! Requests, one after another. Between two of them the kernel stands still.

use std::borrow::Cow;

use bstr::{BStr, BString};
use ferrmod_kernel::hardware::{Description, DeviceId};
use ferrmod_kernel::inject::Injection;
use ferrmod_kernel::module::State;
use ferrmod_kernel::text::log::Next;
use ferrmod_kernel::{Errno, Kernel, LoadFlags, Outcome, Owner};
use serde_bytes::ByteBuf;

use super::process::{line, process};
use super::{context, fault, files, leave, wire, worlds};
use crate::options::Options;
use crate::protocol::{Down, Message, PACKET, Request, Response};
use crate::value::{
    Allocation, Argument, AtomicSleep, Called, Device, DeviceReport, Memory, MemoryError, ModuleState, ModuleStatus,
    Registration, Report, Task,
};

/// Allocations of one owner that a report lists.
const LISTED: usize = 64;
/// Bytes of memory that one answer carries at most.
const LARGEST: u64 = crate::layout::OUTBOX_SIZE / 2;

/// Boots the kernel and serves until the supervisor is gone.
pub(super) fn run(options: &Options) -> ! {
    let kernel = match boot(options) {
        Ok(kernel) => kernel,
        Err(reason) => {
            wire::send(&Message::BootFailed(Cow::Owned(reason)));
            leave(1);
        }
    };
    let Some(process) = process() else { leave(1) };
    wire::send(&Message::Ready);
    let mut packet = vec![0; PACKET];
    loop {
        let Down::Request(request) = wire::receive(&mut packet) else { leave(1) };
        worlds::tick(kernel.platform.now());
        fault::start_tick();
        let response = handle(kernel, request);
        fault::stop_tick();
        process.settle();
        wire::send(&Message::Result(response));
    }
}

fn boot(options: &Options) -> Result<&'static Kernel, String> {
    let platform = process().ok_or("no platform")?;
    let kernel = ferrmod_kernel::boot(
        platform,
        ferrmod_kernel::Options {
            strict: options.strict,
            signature_enforced: options.signature_enforced,
            blacklist: options.blacklist.clone(),
            command_line: options.command_line.clone(),
            checks: options.checks,
            ..ferrmod_kernel::Options::default()
        },
    );
    // SAFETY: the options lie in this process's copy of the supervisor's memory, where nothing ever drops them.
    let facts: Option<&'static [u8]> =
        options.facts.as_ref().map(|facts| unsafe { &*std::ptr::from_ref::<[u8]>(facts) });
    worlds::boot(kernel, facts)?;
    kernel.inject.arm(options.fail_allocation.unwrap_or(0));
    Ok(kernel)
}

fn handle(kernel: &'static Kernel, request: Request<'_>) -> Response {
    match request {
        Request::Load { module, flags, deadline } => {
            // SAFETY: the file lies in the inbox or in the packet's buffer. Both stay until the next request, and the
            // supervisor never reuses the place of a load that has not ended.
            let bytes: &'static [u8] = unsafe { &*std::ptr::from_ref(module.bytes) };
            let arguments = module.arguments.to_vec();
            let flags = LoadFlags::from_bits_truncate(flags);
            task(kernel, "insmod", deadline, move || {
                kernel.modules.load(bytes, &arguments, flags).map(|()| Response::Done)
            })
        }
        Request::Unload { name, force, deadline } => {
            let name = name.to_vec();
            task(kernel, "rmmod", deadline, move || kernel.modules.unload(&name, force).map(|()| Response::Done))
        }
        Request::Modules => Response::Modules(modules(kernel)),
        Request::Dmesg => dmesg(kernel),
        Request::ReadFile { path, deadline } => {
            let path = path.to_owned();
            task(kernel, "cat", deadline, move || kernel.files.read(&path).map(Response::Bytes))
        }
        Request::WriteFile { path, bytes, deadline } => {
            let (path, bytes) = (path.to_owned(), bytes.to_vec());
            task(kernel, "sh", deadline, move || {
                kernel.files.write(&path, &bytes).map(|count| Response::Number(count as u64))
            })
        }
        // A file system's functions take part in both.
        Request::ListDirectory { path, deadline } => {
            let path = path.to_owned();
            task(kernel, "ls", deadline, move || kernel.files.list(&path).map(Response::Names))
        }
        Request::Mode { path, deadline } => {
            let path = path.to_owned();
            task(kernel, "stat", deadline, move || kernel.files.mode(&path).map(|mode| Response::Number(mode.into())))
        }
        Request::Open { path, flags, deadline } => {
            let path = path.to_owned();
            task(kernel, "use", deadline, move || {
                let file = kernel.files.open(&path, flags)?;
                Ok(Response::Number(kernel.descriptors.add(file).into()))
            })
        }
        Request::File { number, action, deadline } => {
            task(kernel, "use", deadline, move || files::act(kernel, number, action))
        }
        Request::Mount { kind, source, target, deadline } => {
            let [kind, source, target] = [kind, source, target].map(str::to_owned);
            task(kernel, "mount", deadline, move || worlds::mount(&kind, &source, &target).map(|()| Response::Done))
        }
        Request::Unmount { target, deadline } => {
            let target = target.to_owned();
            task(kernel, "umount", deadline, move || worlds::unmount(&target).map(|()| Response::Done))
        }
        Request::Symbol { name } => kernel.symbol(BStr::new(name)).map_or(Response::Nothing, Response::Number),
        Request::Call { address, arguments, deadline } => call(kernel, address, arguments, deadline),
        Request::Peek { address, length } => peek(kernel, address, length),
        Request::Poke { address, bytes } => {
            let written = kernel.platform.write(address, bytes).and_then(|()| kernel.platform.commit());
            if written.is_ok() { Response::Done } else { Response::Errno(Errno::EFAULT.0) }
        }
        Request::Allocate { size, align } => answer(allocate(kernel, size, align).map(Response::Number)),
        Request::Free { address } => {
            if kernel.free(address, 0).is_ok() {
                Response::Done
            } else {
                Response::Errno(Errno::EINVAL.0)
            }
        }
        Request::FailAllocation { number } => {
            kernel.inject.arm(number);
            Response::Done
        }
        Request::AddDevice { description, deadline } => match description.parse::<Description>() {
            Ok(description) => task(kernel, "device", deadline, move || {
                kernel.add_device(description).map(|id| Response::Number(id.0.into()))
            }),
            Err(error) => Response::Refused(error.to_string()),
        },
        Request::RemoveDevice { number, deadline } => {
            task(kernel, "device", deadline, move || kernel.remove_device(DeviceId(number)).map(|()| Response::Done))
        }
        Request::SetDevice { number, name, value } => match kernel.hardware.set(DeviceId(number), name, value) {
            Ok(()) => Response::Done,
            Err(reason) => Response::Refused(reason),
        },
        Request::SendReport { number, bytes, deadline } => {
            let bytes = bytes.to_vec();
            task(kernel, "device", deadline, move || {
                kernel.send_report(DeviceId(number), &bytes).map(|()| Response::Done)
            })
        }
        Request::TakeReports { number, deadline } => task(kernel, "device", deadline, move || {
            let reports = kernel.take_reports(DeviceId(number))?.into_iter();
            let told = reports.map(|report| DeviceReport { kind: report.kind.to_owned(), bytes: report.bytes });
            Ok(Response::Reports(told.collect()))
        }),
        Request::Devices => Response::Devices(devices(kernel)),
        Request::FailedInits => Response::Number(kernel.modules.failed_inits()),
        Request::Report => {
            kernel.look_at_heap();
            Response::Report(Box::new(report(kernel)))
        }
        Request::Run { nanoseconds } => {
            kernel.run_until(kernel.platform.now().saturating_add(nanoseconds));
            Response::Done
        }
        Request::Shutdown => leave(0),
    }
}

fn devices(kernel: &'static Kernel) -> Vec<Device> {
    let all = kernel.hardware.list().into_iter();
    all.filter_map(|id| Some((id, kernel.device_status(id).ok()?)))
        .map(|(id, status)| Device {
            number: id.0,
            path: status.path,
            modalias: status.modalias,
            driver: status.driver,
            probes: status.probes,
        })
        .collect()
}

fn answer(result: Result<Response, Errno>) -> Response {
    result.unwrap_or_else(|errno| Response::Errno(errno.0))
}

/// Runs `body` as a task.
fn task(
    kernel: &'static Kernel,
    name: &str,
    deadline: u64,
    body: impl FnOnce() -> Result<Response, Errno> + Send + 'static,
) -> Response {
    let deadline = kernel.platform.now().saturating_add(deadline);
    match kernel.execute(name, Some(deadline), body) {
        Err(errno) | Ok(Outcome::Done(Err(errno))) => Response::Errno(errno.0),
        Ok(Outcome::Done(Ok(response))) => response,
        Ok(Outcome::Oopsed) => Response::Oopsed,
        Ok(Outcome::Hung) => Response::Hung,
        Ok(Outcome::TimedOut) => Response::TimedOut,
    }
}

/// Heap memory for the debugger's own use: never made to fail, belongs to the kernel, reads as zeros.
fn allocate(kernel: &Kernel, size: u64, align: u64) -> Result<u64, Errno> {
    if !align.is_power_of_two() {
        return Err(Errno::EINVAL);
    }
    let address = kernel.allocate_for(size.max(1), align.max(64), Owner::Kernel, 0, &Injection::default())?;
    let zeros = vec![0; 64 << 10];
    let mut done = 0;
    while done < size {
        let part = (size - done).min(zeros.len() as u64);
        kernel.platform.write(address + done, &zeros[..part as usize]).map_err(|_| Errno::EFAULT)?;
        done += part;
    }
    Ok(address)
}

fn call(kernel: &'static Kernel, address: u64, arguments: Vec<Argument>, deadline: u64) -> Response {
    let back = arguments.iter().map(|argument| match argument {
        Argument::Out(size) => *size,
        Argument::InOut(bytes) => bytes.len() as u64,
        _ => 0,
    });
    if back.fold(0, u64::saturating_add) > LARGEST {
        return Response::Errno(Errno::EINVAL.0);
    }
    let mut values = Vec::with_capacity(arguments.len());
    let mut buffers = Vec::new();
    for argument in &arguments {
        let (size, bytes, back): (u64, &[u8], bool) = match argument {
            Argument::Value(value) => {
                values.push(*value);
                continue;
            }
            Argument::In(bytes) => (bytes.len() as u64, bytes, false),
            Argument::Out(size) => (*size, &[], true),
            Argument::InOut(bytes) => (bytes.len() as u64, bytes, true),
        };
        let made = allocate(kernel, size, 64)
            .and_then(|at| kernel.platform.write(at, bytes).map(|()| at).map_err(|_| Errno::EFAULT));
        match made {
            Ok(at) => {
                values.push(at);
                buffers.push((at, size, back));
            }
            Err(errno) => {
                free(kernel, &buffers);
                return Response::Errno(errno.0);
            }
        }
    }
    let response = task(kernel, "call", deadline, move || Ok(Response::Number(context::call(address, &values))));
    let response = match response {
        Response::Number(value) => {
            let mut back = Vec::new();
            for &(at, size, _) in buffers.iter().filter(|buffer| buffer.2) {
                let mut bytes = vec![0; size as usize];
                // The heap is always readable.
                let _ = kernel.platform.read(at, &mut bytes);
                back.push(ByteBuf::from(bytes));
            }
            Response::Called(Called { value, buffers: back })
        }
        // A task that still runs may still use them.
        Response::TimedOut | Response::Hung => return response,
        other => other,
    };
    free(kernel, &buffers);
    response
}

fn free(kernel: &'static Kernel, buffers: &[(u64, u64, bool)]) {
    for &(at, ..) in buffers {
        // What the called code has freed itself is gone already.
        let _ = kernel.free(at, 0);
    }
}

fn peek(kernel: &Kernel, address: u64, length: u64) -> Response {
    if length > LARGEST {
        return Response::Errno(Errno::EINVAL.0);
    }
    let mut bytes = vec![0; length as usize];
    match kernel.platform.read(address, &mut bytes) {
        Ok(()) => Response::Bytes(bytes),
        Err(_) => Response::Errno(Errno::EFAULT.0),
    }
}

fn modules(kernel: &Kernel) -> Vec<ModuleStatus> {
    kernel
        .modules
        .list()
        .into_iter()
        .map(|status| ModuleStatus {
            name: status.name,
            size: status.size,
            references: status.references,
            users: status.users,
            state: match status.state {
                State::Live => ModuleState::Live,
                State::Coming | State::Unformed => ModuleState::Loading,
                State::Going => ModuleState::Unloading,
            },
            taints: status.taints,
            base: status.base,
            permanent: status.permanent,
            deferred: status.deferred,
        })
        .collect()
}

fn dmesg(kernel: &Kernel) -> Response {
    kernel.flush_log();
    let mut lines = Vec::new();
    kernel.printk.with(|ring| {
        let mut sequence = 0;
        loop {
            match ring.at(sequence) {
                Next::Record(record) => {
                    lines.push(line(record));
                    sequence += 1;
                }
                Next::Dropped(_, first) => sequence = first,
                Next::Nothing => break,
            }
        }
    });
    Response::Log(lines)
}

/// The name of an owner, and whether it is a module that is gone.
fn owner(kernel: &Kernel, owner: Owner) -> (Option<BString>, u32, bool) {
    match owner {
        Owner::Kernel => (None, 0, false),
        Owner::Module(number) => {
            let name = kernel.modules.numbered(number).map(|module| module.name.clone());
            let orphaned = name.is_none();
            (name, number, orphaned)
        }
    }
}

fn report(kernel: &Kernel) -> Report {
    let registrations = kernel
        .registrations
        .all()
        .into_iter()
        .filter(|registration| registration.owner != Owner::Kernel)
        .map(|registration| {
            let (name, _, orphaned) = owner(kernel, registration.owner);
            Registration { kind: registration.kind.into(), name: registration.name, owner: name, orphaned }
        })
        .collect();
    let memory = kernel
        .heap
        .owners()
        .into_iter()
        .filter(|&holder| holder != Owner::Kernel)
        .map(|holder| {
            let (name, number, orphaned) = owner(kernel, holder);
            let allocations = kernel.heap.allocations_of(holder);
            Memory {
                owner: name,
                number,
                orphaned,
                bytes: kernel.heap.bytes_of(holder),
                allocations: allocations
                    .iter()
                    .take(LISTED)
                    .map(|allocation| Allocation {
                        address: allocation.start,
                        size: allocation.size,
                        caller: kernel.allocated_by(allocation),
                    })
                    .collect(),
            }
        })
        .collect();
    let tasks = kernel
        .tasks
        .list()
        .into_iter()
        .map(|task| Task { name: task.name, ready: task.ready, service: task.service })
        .collect();
    Report {
        registrations,
        memory,
        heap: kernel.heap.bytes(),
        module_memory: kernel.text.bytes() + kernel.rodata.bytes() + kernel.data.bytes(),
        tasks,
        timers: kernel.timers.within(0..u64::MAX) as u64,
        failed_inits: kernel.modules.failed_inits(),
        oopses: kernel.oopses().into_iter().map(|oops| format!("{} at {}", oops.reason, oops.location)).collect(),
        memory_errors: kernel.memory_errors().into_iter().map(MemoryError::from).collect(),
        atomic_sleeps: kernel.atomic_sleeps().into_iter().map(AtomicSleep::from).collect(),
        taints: kernel.modules.taints(),
        allocations: kernel.inject.count(),
    }
}
