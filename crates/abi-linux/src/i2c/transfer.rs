//! Transfers: I2C messages, and SMBus commands made of them where the adapter has none of its own.

use ferrmod_kernel::Errno;

use super::{i2c_adapter, i2c_client, lock_bus, unlock_bus};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab};

layout! {
    pub(crate) mod i2c_algorithm = "i2c_algorithm" { master_xfer, smbus_xfer, functionality }
    mod message = "i2c_msg" { addr, flags, len, buf }
}

/// `struct i2c_msg`.
pub(crate) mod i2c_msg {
    pub(crate) use super::message::{SIZE, addr, buf, flags, len};
    /// `I2C_M_RD`
    pub(crate) const READ: u16 = 1;
}

/// `I2C_SMBUS_BLOCK_MAX`
const BLOCK: u64 = 32;
/// `I2C_CLIENT_TEN`, which a message's flags share.
const TEN_BITS: u16 = 0x10;

/// The kinds of SMBus commands (`I2C_SMBUS_*`).
mod protocol {
    pub(super) const QUICK: u32 = 0;
    pub(super) const BYTE: u32 = 1;
    pub(super) const BYTE_DATA: u32 = 2;
    pub(super) const WORD_DATA: u32 = 3;
    pub(super) const PROC_CALL: u32 = 4;
    pub(super) const BLOCK_DATA: u32 = 5;
    pub(super) const BLOCK_PROC_CALL: u32 = 7;
    pub(super) const I2C_BLOCK_DATA: u32 = 8;
}

fn algorithm(adapter: u64) -> u64 {
    // SAFETY: the caller's adapter.
    unsafe { i2c_adapter::algo.get(adapter) }
}

/// Sends messages with the bus taken.
fn send(adapter: u64, messages: u64, count: i32) -> i32 {
    // SAFETY: an adapter's functions.
    unsafe {
        match i2c_algorithm::master_xfer.get::<u64>(algorithm(adapter)) {
            0 => Errno::EOPNOTSUPP.to_return(),
            transfer => ram::call(transfer, [adapter, messages, count as u64]) as i32,
        }
    }
}
/// `int __i2c_transfer(struct i2c_adapter *, struct i2c_msg *, int)`
extern "C" fn __i2c_transfer(adapter: u64, messages: u64, count: i32) -> i32 {
    if messages == 0 || count < 1 { Errno::EINVAL.to_return() } else { send(adapter, messages, count) }
}
extern "C" fn i2c_transfer(adapter: u64, messages: u64, count: i32) -> i32 {
    let caller = ram::caller();
    lock_bus(adapter, caller);
    let result = __i2c_transfer(adapter, messages, count);
    unlock_bus(adapter, caller);
    result
}
/// `int i2c_transfer_buffer_flags(const struct i2c_client *, char *, int, u16)`: one message; bytes sent or received.
extern "C" fn i2c_transfer_buffer_flags(client: u64, buffer: u64, count: i32, flags: u16) -> i32 {
    let caller = ram::caller();
    let at = slab::allocate(i2c_msg::SIZE.get(), 8, slab::ZERO, caller);
    if at == 0 {
        return Errno::ENOMEM.to_return();
    }
    // SAFETY: the caller's client, and our own block.
    let adapter = unsafe {
        i2c_msg::addr.set(at, i2c_client::addr.get::<u16>(client));
        i2c_msg::flags.set(at, flags | i2c_client::flags.get::<u16>(client) & TEN_BITS);
        i2c_msg::len.set(at, count as u16);
        i2c_msg::buf.set(at, buffer);
        i2c_client::adapter.get(client)
    };
    lock_bus(adapter, caller);
    let result = send(adapter, at, 1);
    unlock_bus(adapter, caller);
    slab::release(at, caller);
    if result == 1 { count } else { result }
}

/// Whether a client's adapter takes messages, and not only SMBus commands.
pub(crate) fn takes_messages(client: u64) -> bool {
    // SAFETY: the caller's client and its adapter's functions.
    unsafe { i2c_algorithm::master_xfer.get::<u64>(algorithm(i2c_client::adapter.get(client))) != 0 }
}

/// Reads a register of one or two bytes (the lower first) by an SMBus command.
///
/// # Errors
/// What the adapter says.
pub(crate) fn read_register(client: u64, register: u8, width: usize) -> Result<u16, Errno> {
    let result = match width {
        1 => i2c_smbus_read_byte_data(client, register),
        2 => i2c_smbus_read_word_data(client, register),
        _ => Errno::EOPNOTSUPP.to_return(),
    };
    Errno::from_return(result.into()).map_or(Ok(result as u16), Err)
}

/// Writes it.
///
/// # Errors
/// What the adapter says.
pub(crate) fn write_register(client: u64, register: u8, width: usize, value: u16) -> Result<(), Errno> {
    let result = match width {
        1 => i2c_smbus_write_byte_data(client, register, value as u8),
        2 => i2c_smbus_write_word_data(client, register, value),
        _ => Errno::EOPNOTSUPP.to_return(),
    };
    Errno::result(result)
}

/// Sends bytes at an address to a client.
///
/// # Errors
/// What the adapter says, `EIO` when it stopped early.
pub(crate) fn write(client: u64, from: u64, length: usize) -> Result<(), Errno> {
    match Errno::from_return(i2c_transfer_buffer_flags(client, from, length as i32, 0).into()) {
        Some(errno) => Err(errno),
        None => Ok(()),
    }
}

/// Sends bytes at an address to a client, and receives bytes at another in the same transfer.
///
/// # Errors
/// As [`write()`].
pub(crate) fn write_then_read(client: u64, from: u64, sent: usize, into: u64, wanted: usize) -> Result<(), Errno> {
    let size = i2c_msg::SIZE.get();
    let messages = slab::allocate(2 * size, 8, slab::ZERO, 0);
    if messages == 0 {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: our own block, and the caller's client.
    let adapter = unsafe {
        let flags = i2c_client::flags.get::<u16>(client) & TEN_BITS;
        for (at, flags, length, buffer) in
            [(messages, flags, sent, from), (messages + size, flags | i2c_msg::READ, wanted, into)]
        {
            i2c_msg::addr.set(at, i2c_client::addr.get::<u16>(client));
            i2c_msg::flags.set(at, flags);
            i2c_msg::len.set(at, length as u16);
            i2c_msg::buf.set(at, buffer);
        }
        i2c_client::adapter.get(client)
    };
    let result = i2c_transfer(adapter, messages, 2);
    slab::release(messages, 0);
    match (result, Errno::from_return(result.into())) {
        (2, _) => Ok(()),
        (_, Some(errno)) => Err(errno),
        _ => Err(Errno::EIO),
    }
}

/// One SMBus command to a chip.
#[derive(Clone, Copy)]
struct Command {
    address: u16,
    flags: u16,
    read: bool,
    command: u8,
    protocol: u32,
    /// A `union i2c_smbus_data`; may be null where nothing is carried.
    data: u64,
}

fn smbus_locked(adapter: u64, what: Command) -> i32 {
    /// An adapter's own function takes seven arguments.
    type Function = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64) -> u64;
    // SAFETY: an adapter's functions.
    let own: u64 = unsafe { i2c_algorithm::smbus_xfer.get(algorithm(adapter)) };
    if own != 0 {
        // SAFETY: as above; the function takes the parts of a command in this order.
        let result = unsafe {
            let function: Function = core::mem::transmute(own);
            function(
                adapter,
                what.address.into(),
                what.flags.into(),
                u64::from(what.read),
                what.command.into(),
                what.protocol.into(),
                what.data,
            ) as i32
        };
        // SAFETY: as above.
        let raw: u64 = unsafe { i2c_algorithm::master_xfer.get(algorithm(adapter)) };
        if result != Errno::EOPNOTSUPP.to_return() || raw == 0 {
            return result;
        }
    }
    emulate(adapter, what)
}

/// Makes one or two messages of a command (SMBus specification 3.2, "Bus Protocols").
fn emulate(adapter: u64, what: Command) -> i32 {
    /// Room of each of the two buffers.
    const ROOM: u64 = BLOCK + 8;
    let messages = slab::allocate(2 * i2c_msg::SIZE.get() + 2 * ROOM, 8, slab::ZERO, 0);
    if messages == 0 {
        return Errno::ENOMEM.to_return();
    }
    let second = messages + i2c_msg::SIZE.get();
    let sent = second + i2c_msg::SIZE.get();
    let received = sent + ROOM;
    // SAFETY: our own block; the caller's data, which are as large as the protocol says.
    let result = unsafe {
        let data = what.data;
        let length_of_block = || u64::from(ram::get::<u8>(data)).min(BLOCK);
        ram::put(sent, what.command);
        // The number of bytes sent, and of those read back in the same transfer.
        let parts = match (what.protocol, what.read) {
            (protocol::QUICK, _) => Some((0, 0)),
            (protocol::BYTE, true) => Some((0, 1)),
            (protocol::BYTE, false) => Some((1, 0)),
            (protocol::BYTE_DATA, true) => Some((1, 1)),
            (protocol::WORD_DATA, true) => Some((1, 2)),
            (protocol::BYTE_DATA, false) => {
                ram::put(sent + 1, ram::get::<u8>(data));
                Some((2, 0))
            }
            (protocol::WORD_DATA | protocol::PROC_CALL, _) => {
                ram::put(sent + 1, ram::get::<u16>(data));
                Some((3, if what.protocol == protocol::PROC_CALL { 2 } else { 0 }))
            }
            // How long an answer is, only the chip knows: adapters that can are asked for the longest.
            (protocol::BLOCK_DATA, true) => Some((1, BLOCK + 1)),
            (protocol::BLOCK_DATA | protocol::BLOCK_PROC_CALL, _) => {
                let length = length_of_block();
                ram::copy(sent + 1, data, length + 1);
                Some((length + 2, if what.protocol == protocol::BLOCK_PROC_CALL { BLOCK + 1 } else { 0 }))
            }
            (protocol::I2C_BLOCK_DATA, true) => Some((1, length_of_block())),
            (protocol::I2C_BLOCK_DATA, false) => {
                let length = length_of_block();
                ram::copy(sent + 1, data + 1, length);
                Some((length + 1, 0))
            }
            _ => None,
        };
        let Some((out, back)) = parts else {
            slab::release(messages, 0);
            return Errno::EOPNOTSUPP.to_return();
        };
        let flags = what.flags & TEN_BITS;
        let put = |at: u64, flags: u16, length: u64, buffer: u64| {
            i2c_msg::addr.set(at, what.address);
            i2c_msg::flags.set(at, flags);
            i2c_msg::len.set(at, length as u16);
            i2c_msg::buf.set(at, buffer);
        };
        let count = if what.protocol == protocol::QUICK {
            put(messages, flags | u16::from(what.read), 0, sent);
            1
        } else if out == 0 {
            put(messages, flags | i2c_msg::READ, back, received);
            1
        } else {
            put(messages, flags, out, sent);
            put(second, flags | i2c_msg::READ, back, received);
            if back == 0 { 1 } else { 2 }
        };
        let result = send(adapter, messages, count);
        if result >= 0 && back != 0 {
            match what.protocol {
                protocol::BYTE | protocol::BYTE_DATA => ram::put(data, ram::get::<u8>(received)),
                protocol::WORD_DATA | protocol::PROC_CALL => ram::put(data, ram::get::<u16>(received)),
                protocol::I2C_BLOCK_DATA => ram::copy(data + 1, received, back),
                _ if u64::from(ram::get::<u8>(received)) <= BLOCK => {
                    ram::copy(data, received, u64::from(ram::get::<u8>(received)) + 1);
                }
                _ => {
                    slab::release(messages, 0);
                    return Errno::EPROTO.to_return();
                }
            }
        }
        result
    };
    slab::release(messages, 0);
    result.min(0)
}

fn smbus(adapter: u64, what: Command, caller: u64) -> i32 {
    lock_bus(adapter, caller);
    let result = smbus_locked(adapter, what);
    unlock_bus(adapter, caller);
    result
}

/// `s32 i2c_smbus_xfer(struct i2c_adapter *, u16 addr, unsigned short flags, char read_write, u8 command, int protocol,
/// union i2c_smbus_data *)`
extern "C" fn i2c_smbus_xfer(
    adapter: u64,
    address: u16,
    flags: u16,
    read: u8,
    command: u8,
    protocol: u32,
    data: u64,
) -> i32 {
    let caller = ram::caller();
    smbus(adapter, Command { address, flags, read: read != 0, command, protocol, data }, caller)
}
extern "C" fn __i2c_smbus_xfer(
    adapter: u64,
    address: u16,
    flags: u16,
    read: u8,
    command: u8,
    protocol: u32,
    data: u64,
) -> i32 {
    smbus_locked(adapter, Command { address, flags, read: read != 0, command, protocol, data })
}

/// Runs a command of a client with a `union i2c_smbus_data` of ours.
fn of_client(
    client: u64,
    read: bool,
    command: u8,
    protocol: u32,
    caller: u64,
    fill: impl FnOnce(u64),
    take: impl FnOnce(u64) -> i32,
) -> i32 {
    let data = slab::allocate(BLOCK + 8, 8, slab::ZERO, caller);
    if data == 0 {
        return Errno::ENOMEM.to_return();
    }
    fill(data);
    // SAFETY: the caller's client.
    let (adapter, address, flags) =
        unsafe { (i2c_client::adapter.get(client), i2c_client::addr.get(client), i2c_client::flags.get(client)) };
    let mut result = smbus(adapter, Command { address, flags, read, command, protocol, data }, caller);
    if result >= 0 {
        result = take(data);
    }
    slab::release(data, caller);
    result
}

extern "C" fn i2c_smbus_read_byte(client: u64) -> i32 {
    // SAFETY: data of ours.
    let take = |data| unsafe { ram::get::<u8>(data) }.into();
    of_client(client, true, 0, protocol::BYTE, ram::caller(), |_| (), take)
}
extern "C" fn i2c_smbus_write_byte(client: u64, value: u8) -> i32 {
    of_client(client, false, value, protocol::BYTE, ram::caller(), |_| (), |_| 0)
}
extern "C" fn i2c_smbus_read_byte_data(client: u64, command: u8) -> i32 {
    // SAFETY: data of ours.
    let take = |data| unsafe { ram::get::<u8>(data) }.into();
    of_client(client, true, command, protocol::BYTE_DATA, ram::caller(), |_| (), take)
}
extern "C" fn i2c_smbus_write_byte_data(client: u64, command: u8, value: u8) -> i32 {
    // SAFETY: data of ours.
    let fill = |data| unsafe { ram::put(data, value) };
    of_client(client, false, command, protocol::BYTE_DATA, ram::caller(), fill, |_| 0)
}
extern "C" fn i2c_smbus_read_word_data(client: u64, command: u8) -> i32 {
    // SAFETY: data of ours.
    let take = |data| unsafe { ram::get::<u16>(data) }.into();
    of_client(client, true, command, protocol::WORD_DATA, ram::caller(), |_| (), take)
}
extern "C" fn i2c_smbus_write_word_data(client: u64, command: u8, value: u16) -> i32 {
    // SAFETY: data of ours.
    let fill = |data| unsafe { ram::put(data, value) };
    of_client(client, false, command, protocol::WORD_DATA, ram::caller(), fill, |_| 0)
}
/// `s32 i2c_smbus_read_block_data(const struct i2c_client *, u8, u8 *)`: how many bytes came.
extern "C" fn i2c_smbus_read_block_data(client: u64, command: u8, into: u64) -> i32 {
    // SAFETY: data of ours, and the caller's 32 bytes.
    let take = |data| unsafe {
        let length = ram::get::<u8>(data);
        ram::copy(into, data + 1, length.into());
        length.into()
    };
    of_client(client, true, command, protocol::BLOCK_DATA, ram::caller(), |_| (), take)
}
fn fill_block(data: u64, from: u64, length: u8) {
    let length = u64::from(length).min(BLOCK);
    // SAFETY: data of ours, and the caller's bytes.
    unsafe {
        ram::put(data, length as u8);
        ram::copy(data + 1, from, length);
    }
}
extern "C" fn i2c_smbus_write_block_data(client: u64, command: u8, length: u8, from: u64) -> i32 {
    let fill = |data| fill_block(data, from, length);
    of_client(client, false, command, protocol::BLOCK_DATA, ram::caller(), fill, |_| 0)
}
extern "C" fn i2c_smbus_read_i2c_block_data(client: u64, command: u8, length: u8, into: u64) -> i32 {
    // SAFETY: data of ours, and the caller's bytes.
    let fill = |data| unsafe { ram::put(data, length.min(BLOCK as u8)) };
    // SAFETY: as above.
    let take = |data| unsafe {
        let length = ram::get::<u8>(data);
        ram::copy(into, data + 1, length.into());
        length.into()
    };
    of_client(client, true, command, protocol::I2C_BLOCK_DATA, ram::caller(), fill, take)
}
extern "C" fn i2c_smbus_write_i2c_block_data(client: u64, command: u8, length: u8, from: u64) -> i32 {
    let fill = |data| fill_block(data, from, length);
    of_client(client, false, command, protocol::I2C_BLOCK_DATA, ram::caller(), fill, |_| 0)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __i2c_transfer, c i2c_transfer, c i2c_transfer_buffer_flags, s1 i2c_smbus_xfer, s1 __i2c_smbus_xfer,
    c i2c_smbus_read_byte, c i2c_smbus_write_byte, c i2c_smbus_read_byte_data, c i2c_smbus_write_byte_data,
    c i2c_smbus_read_word_data, c i2c_smbus_write_word_data, c i2c_smbus_read_block_data, c i2c_smbus_write_block_data,
    c i2c_smbus_read_i2c_block_data, c i2c_smbus_write_i2c_block_data,
];
