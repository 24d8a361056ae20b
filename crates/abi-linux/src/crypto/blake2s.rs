//! BLAKE2s as a library function: the state is Linux's (`struct blake2s_state`), which modules begin by themselves (RFC 7693).

use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod blake2s_state = "blake2s_state" { h, t, f, buf, buflen, outlen }
}

/// Bytes in a block.
const BLOCK: usize = 64;

/// RFC 7693, 2.6.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// RFC 7693, 2.7.
const PERMUTATION: [[usize; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];

/// RFC 7693, 3.1: the columns and then the diagonals of the working vector.
const MIX: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

/// RFC 7693, 3.2: works a block into the state; `t` counts the bytes so far, `f` marks the last block.
fn compress(h: &mut [u32; 8], block: &[u8; BLOCK], t: [u32; 2], f: [u32; 2]) {
    let mut message = [0; 16];
    for (word, bytes) in message.iter_mut().zip(block.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    let mut v = [0; 16];
    v[..8].copy_from_slice(h);
    v[8..].copy_from_slice(&INITIAL);
    for (word, with) in v[12..].iter_mut().zip([t[0], t[1], f[0], f[1]]) {
        *word ^= with;
    }
    for order in PERMUTATION {
        for (step, [a, b, c, d]) in MIX.into_iter().enumerate() {
            let (x, y) = (message[order[2 * step]], message[order[2 * step + 1]]);
            v[a] = v[a].wrapping_add(v[b]).wrapping_add(x);
            v[d] = (v[d] ^ v[a]).rotate_right(16);
            v[c] = v[c].wrapping_add(v[d]);
            v[b] = (v[b] ^ v[c]).rotate_right(12);
            v[a] = v[a].wrapping_add(v[b]).wrapping_add(y);
            v[d] = (v[d] ^ v[a]).rotate_right(8);
            v[c] = v[c].wrapping_add(v[d]);
            v[b] = (v[b] ^ v[c]).rotate_right(7);
        }
    }
    for (index, word) in h.iter_mut().enumerate() {
        *word ^= v[index] ^ v[index + 8];
    }
}

/// Works the block at `data` into a state; `length` of its bytes are of the message.
///
/// # Safety
/// `state` is a `struct blake2s_state`, and there are 64 bytes at `data`.
unsafe fn work_in(state: u64, data: u64, length: u32) {
    // SAFETY: the caller vouches for both.
    unsafe {
        let [low, high]: [u32; 2] = blake2s_state::t.get(state);
        let count = (u64::from(high) << 32 | u64::from(low)).wrapping_add(length.into());
        let t = [count as u32, (count >> 32) as u32];
        blake2s_state::t.set(state, t);
        let mut h: [u32; 8] = blake2s_state::h.get(state);
        compress(&mut h, &ram::get(data), t, blake2s_state::f.get(state));
        blake2s_state::h.set(state, h);
    }
}

/// `void blake2s_update(struct blake2s_state *, const u8 *, size_t)`: a block is worked in when more of the message follows it.
extern "C" fn blake2s_update(state: u64, data: u64, length: u64) {
    // SAFETY: the caller's state and bytes.
    unsafe {
        let buffer = blake2s_state::buf.at(state);
        let (mut at, mut left) = (data, length);
        while left > 0 {
            let mut held = u64::from(blake2s_state::buflen.get::<u32>(state)).min(BLOCK as u64);
            if held == BLOCK as u64 {
                work_in(state, buffer, BLOCK as u32);
                held = 0;
            }
            let some = left.min(BLOCK as u64 - held);
            ram::copy(buffer + held, at, some);
            blake2s_state::buflen.set(state, (held + some) as u32);
            at += some;
            left -= some;
        }
    }
}
/// `void blake2s_final(struct blake2s_state *, u8 *out)`: the state is wiped.
extern "C" fn blake2s_final(state: u64, out: u64) {
    // SAFETY: the caller's state, and room for as many bytes as it began the state with.
    unsafe {
        let buffer = blake2s_state::buf.at(state);
        let held = blake2s_state::buflen.get::<u32>(state).min(BLOCK as u32);
        blake2s_state::f.set(state, [u32::MAX, 0]);
        ram::fill(buffer + u64::from(held), 0, BLOCK as u64 - u64::from(held));
        work_in(state, buffer, held);
        // The words are in the machine's order, which is that of the digest.
        let length = u64::from(blake2s_state::outlen.get::<u32>(state)).min(32);
        ram::copy(out, blake2s_state::h.at(state), length);
        ram::fill(state, 0, blake2s_state::SIZE.get());
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c blake2s_update, c blake2s_final];

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7693, appendix B: BLAKE2s-256 of "abc".
    #[test]
    fn the_example_of_the_standard() {
        let mut h = INITIAL;
        h[0] ^= 0x0101_0020;
        let mut block = [0; BLOCK];
        block[..3].copy_from_slice(b"abc");
        compress(&mut h, &block, [3, 0], [u32::MAX, 0]);
        let digest: std::vec::Vec<u8> = h.iter().flat_map(|word| word.to_le_bytes()).collect();
        let expected = "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982";
        let text: std::string::String = digest.iter().map(|byte| std::format!("{byte:02x}")).collect();
        assert_eq!(text, expected);
    }
}
