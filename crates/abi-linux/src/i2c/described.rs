//! The adapter that described chips are behind.

use alloc::vec::Vec;

use ferrmod_kernel::hardware::description::I2cDevice;
use ferrmod_kernel::hardware::{Description, DeviceId};
use ferrmod_kernel::{Errno, kernel};

use super::transfer::{i2c_algorithm, i2c_msg};
use super::{Info, i2c_adapter, i2c_client};
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::{ram, slab, symbols};

/// Its functions.
static ALGORITHM: Datum = Datum::new("i2c_described_algorithm", 128, Begin::With(begin));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&ALGORITHM];

fn begin(at: u64) {
    let own = |name| symbols::address(name).unwrap_or(0);
    // SAFETY: `data::place` gives 128 writable bytes of zeros, more than the struct has.
    unsafe {
        i2c_algorithm::master_xfer.set(at, own("i2c_described_transfer"));
        i2c_algorithm::functionality.set(at, own("i2c_described_functionality"));
    }
}

/// The adapter; it is made for the first chip and stays.
fn adapter() -> Result<u64, Errno> {
    static ADAPTER: spin::Once<Result<u64, Errno>> = spin::Once::new();
    *ADAPTER.call_once(|| {
        let made = slab::allocate(i2c_adapter::SIZE.get(), 8, slab::ZERO, 0);
        if made == 0 {
            return Err(Errno::ENOMEM);
        }
        let name = b"described chips";
        // SAFETY: a zeroed block of the struct's size.
        unsafe {
            ram::bytes_mut(i2c_adapter::name.at(made), name.len() as u64).copy_from_slice(name);
            i2c_adapter::algo.set(made, ALGORITHM.address());
        }
        super::add_adapter(made, super::free_number(), 0).inspect_err(|_| slab::release(made, 0))?;
        Ok(made)
    })
}

/// Makes the client of a described chip.
///
/// # Errors
/// As [`super::new_client`].
pub(crate) fn describe(id: DeviceId, wanted: &I2cDevice) -> Result<(), Errno> {
    let name = wanted.name.as_bytes().to_vec();
    let info = Info { name, address: wanted.address.into(), described: Some(id), ..Info::default() };
    super::new_client(adapter()?, &info, 0).map(drop)
}

/// Takes it away.
pub(crate) fn forget(dev: u64) {
    super::i2c_unregister_device(i2c_client::dev.container(dev));
}

/// The chip at an address.
fn chip(address: u16) -> Option<DeviceId> {
    kernel().hardware.list().into_iter().find(|&id| {
        matches!(kernel().hardware.description(id), Some(Description::I2c(chip)) if u16::from(chip.address) == address)
    })
}

/// `int master_xfer(struct i2c_adapter *, struct i2c_msg *, int)`
extern "C" fn i2c_described_transfer(_adapter: u64, messages: u64, count: i32) -> i32 {
    for number in 0..count.max(0) as u64 {
        let at = messages + number * i2c_msg::SIZE.get();
        // SAFETY: the caller's messages and their buffers. They are copied, because a fault must not happen with a lock held.
        let (address, flags, length, buffer): (u16, u16, u16, u64) =
            unsafe { (i2c_msg::addr.get(at), i2c_msg::flags.get(at), i2c_msg::len.get(at), i2c_msg::buf.get(at)) };
        let Some(id) = chip(address) else { return Errno::ENXIO.to_return() };
        let mut bytes: Vec<u8> = alloc::vec![0; length.into()];
        let read = flags & i2c_msg::READ != 0;
        if !read {
            // SAFETY: as above.
            bytes.copy_from_slice(unsafe { ram::bytes(buffer, length.into()) });
        }
        let answered = kernel().hardware.with_chip(id, |chip| {
            if read {
                chip.read(&mut bytes);
                true
            } else {
                chip.write(&bytes)
            }
        });
        if answered != Some(true) {
            return Errno::ENXIO.to_return();
        }
        if read {
            // SAFETY: as above.
            unsafe { ram::bytes_mut(buffer, length.into()) }.copy_from_slice(&bytes);
        }
    }
    count
}
/// `u32 functionality(struct i2c_adapter *)`: `I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL` without error checking codes.
extern "C" fn i2c_described_functionality(_adapter: u64) -> u32 {
    0x0eff_0001
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c i2c_described_transfer, c i2c_described_functionality];
