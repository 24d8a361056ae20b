//! Checksums and fast hashes of Linux's library, over `ferrmod_kernel::sums`.

use ferrmod_kernel::sums::{self, Xxh32, Xxh64};

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod xxh64_state = "xxh64_state" { total_len, v1, v2, v3, v4, mem64, memsize }
    mod xxh32_state = "xxh32_state" { total_len_32, large_len, v1, v2, v3, v4, mem32, memsize }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crc32_le, c crc32_be, c __crc32c_le, c crc32_le_shift, c __crc32c_le_shift, c crc32_le_base = crc32_le,
    c crc32_be_base = crc32_be, c __crc32c_le_base = __crc32c_le, c crc_ccitt, c crc_t10dif_generic, c xxh64, c xxh64_reset,
    c xxh64_update, c xxh64_digest, c xxh64_copy_state, c xxh32, c xxh32_reset, c xxh32_update, c xxh32_digest,
    c xxh32_copy_state,
];

static CRC_CCITT: Datum = Datum::new("crc_ccitt_table", 512, Begin::With(begin_ccitt));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&CRC_CCITT];

fn begin_ccitt(at: u64) {
    // SAFETY: `data::place` gives an address with room for the table.
    unsafe { ram::put(at, sums::CRC_CCITT) };
}

macro_rules! sums {
    ($($name:ident($crc:ident: $word:ty, $length:ident: $size:ty) = $function:path;)*) => {
        $(
            extern "C" fn $name($crc: $word, data: u64, $length: $size) -> $word {
                // SAFETY: the caller's bytes.
                $function($crc, unsafe { ram::bytes(data, u64::from($length)) })
            }
        )*
    };
}
sums! {
    crc32_le(crc: u32, length: u64) = sums::crc32_le;
    crc32_be(crc: u32, length: u64) = sums::crc32_be;
    __crc32c_le(crc: u32, length: u64) = sums::crc32c;
    crc_ccitt(crc: u16, length: u64) = sums::crc_ccitt;
    crc_t10dif_generic(crc: u16, length: u64) = sums::crc_t10dif;
}

extern "C" fn crc32_le_shift(crc: u32, length: u64) -> u32 {
    sums::crc32_le_shift(crc, length)
}
extern "C" fn __crc32c_le_shift(crc: u32, length: u64) -> u32 {
    sums::crc32c_shift(crc, length)
}

/// `uint64_t xxh64(const void *, size_t, uint64_t seed)`
extern "C" fn xxh64(data: u64, length: u64, seed: u64) -> u64 {
    // SAFETY: the caller's bytes.
    sums::xxh64(unsafe { ram::bytes(data, length) }, seed)
}
extern "C" fn xxh32(data: u64, length: u64, seed: u32) -> u32 {
    // SAFETY: the caller's bytes.
    sums::xxh32(unsafe { ram::bytes(data, length) }, seed)
}

unsafe fn read64(at: u64) -> Xxh64 {
    use xxh64_state as s;
    // SAFETY: the caller has a `struct xxh64_state`.
    unsafe {
        Xxh64 {
            length: s::total_len.get(at),
            lanes: [s::v1.get(at), s::v2.get(at), s::v3.get(at), s::v4.get(at)],
            pending: s::mem64.get(at),
            pending_length: s::memsize.get(at),
        }
    }
}

unsafe fn write64(at: u64, state: &Xxh64) {
    use xxh64_state as s;
    // SAFETY: the caller has room for a `struct xxh64_state`.
    unsafe {
        s::total_len.set(at, state.length);
        for (field, lane) in [&s::v1, &s::v2, &s::v3, &s::v4].into_iter().zip(state.lanes) {
            field.set(at, lane);
        }
        s::mem64.set(at, state.pending);
        s::memsize.set(at, state.pending_length);
    }
}

unsafe fn read32(at: u64) -> Xxh32 {
    use xxh32_state as s;
    // SAFETY: the caller has a `struct xxh32_state`. Whether the total was ever 16 or more is all that `large_len` adds.
    unsafe {
        let total = u64::from(s::total_len_32.get::<u32>(at));
        let large = s::large_len.get::<u32>(at) != 0 && total < 16;
        Xxh32 {
            length: if large { total + (1 << 32) } else { total },
            lanes: [s::v1.get(at), s::v2.get(at), s::v3.get(at), s::v4.get(at)],
            pending: s::mem32.get(at),
            pending_length: s::memsize.get(at),
        }
    }
}

unsafe fn write32(at: u64, state: &Xxh32) {
    use xxh32_state as s;
    // SAFETY: the caller has room for a `struct xxh32_state`.
    unsafe {
        s::total_len_32.set(at, state.length as u32);
        s::large_len.set(at, u32::from(state.length >= 16));
        for (field, lane) in [&s::v1, &s::v2, &s::v3, &s::v4].into_iter().zip(state.lanes) {
            field.set(at, lane);
        }
        s::mem32.set(at, state.pending);
        s::memsize.set(at, state.pending_length);
    }
}

extern "C" fn xxh64_reset(at: u64, seed: u64) {
    // SAFETY: the caller's state.
    unsafe { write64(at, &Xxh64::new(seed)) };
}

/// `int xxh64_update(struct xxh64_state *, const void *, size_t)`
extern "C" fn xxh64_update(at: u64, data: u64, length: u64) -> i32 {
    if data == 0 {
        return ferrmod_kernel::Errno::EINVAL.to_return();
    }
    // SAFETY: the caller's state and bytes.
    unsafe {
        let mut state = read64(at);
        state.update(ram::bytes(data, length));
        write64(at, &state);
    }
    0
}
extern "C" fn xxh64_digest(at: u64) -> u64 {
    // SAFETY: the caller's state.
    unsafe { read64(at) }.digest()
}
extern "C" fn xxh64_copy_state(to: u64, from: u64) {
    // SAFETY: the caller's states.
    unsafe { ram::copy(to, from, xxh64_state::SIZE.get()) };
}
extern "C" fn xxh32_reset(at: u64, seed: u32) {
    // SAFETY: the caller's state.
    unsafe { write32(at, &Xxh32::new(seed)) };
}
extern "C" fn xxh32_update(at: u64, data: u64, length: u64) -> i32 {
    if data == 0 {
        return ferrmod_kernel::Errno::EINVAL.to_return();
    }
    // SAFETY: the caller's state and bytes.
    unsafe {
        let mut state = read32(at);
        state.update(ram::bytes(data, length));
        write32(at, &state);
    }
    0
}
extern "C" fn xxh32_digest(at: u64) -> u32 {
    // SAFETY: the caller's state.
    unsafe { read32(at) }.digest()
}
extern "C" fn xxh32_copy_state(to: u64, from: u64) {
    // SAFETY: the caller's states.
    unsafe { ram::copy(to, from, xxh32_state::SIZE.get()) };
}
