//! What is done with open files.

use ferrmod_kernel::files::IoctlArgument;
use ferrmod_kernel::{Errno, Kernel};
use serde_bytes::ByteBuf;

use crate::protocol::{Action, Response};
use crate::value::{Argument, Called};

/// The most bytes that one request moves.
const LARGEST: u64 = crate::layout::OUTBOX_SIZE / 2;

/// Does it, as the running task.
///
/// # Errors
/// What the file answers; `EINVAL` for more bytes than one answer carries.
pub(super) fn act(kernel: &Kernel, number: u32, action: Action) -> Result<Response, Errno> {
    let open = &kernel.descriptors;
    match action {
        Action::Read { length } if length > LARGEST => Err(Errno::EINVAL),
        Action::Read { length } => open.with(number, |file| file.read(length)).map(Response::Bytes),
        Action::Write(bytes) => {
            open.with(number, |file| file.write(&bytes)).map(|count| Response::Number(count as u64))
        }
        Action::Seek { offset, whence } => open.with(number, |file| file.seek(offset, whence)).map(Response::Number),
        Action::Ioctl { command, argument } => {
            let (argument, back) = match argument {
                Argument::Value(value) => (IoctlArgument::Value(value), false),
                Argument::In(bytes) => (IoctlArgument::Memory(bytes), false),
                Argument::Out(size) if size > LARGEST => return Err(Errno::EINVAL),
                Argument::Out(size) => (IoctlArgument::Memory(vec![0; size as usize]), true),
                Argument::InOut(bytes) => (IoctlArgument::Memory(bytes), true),
            };
            let (value, bytes) = open.with(number, |file| file.ioctl(command, argument))?;
            let buffers = if back { vec![ByteBuf::from(bytes)] } else { Vec::new() };
            Ok(Response::Called(Called { value, buffers }))
        }
        Action::Poll { events, nanoseconds } => {
            let until = kernel.platform.now().saturating_add(nanoseconds);
            open.with(number, |file| file.poll(events.into(), until)).map(|ready| Response::Number(ready.into()))
        }
        Action::Close => open.close(number).map(|()| Response::Done),
    }
}
