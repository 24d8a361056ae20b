//! ChaCha (RFC 8439) and HChaCha, one block at a time, as Linux's library has them.

use crate::export::{Export, exports};
use crate::ram;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c chacha_block_generic, c hchacha_block_generic];

/// The word of the state that counts blocks.
const COUNTER: usize = 12;

fn quarter(state: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
    for (first, second, third, turn) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
        state[first] = state[first].wrapping_add(state[second]);
        state[third] = (state[third] ^ state[first]).rotate_left(turn);
    }
}

/// RFC 8439, 2.3: a column round and a diagonal round alternate.
fn permute(state: &mut [u32; 16], rounds: u32) {
    for _ in 0..rounds / 2 {
        for column in 0..4 {
            quarter(state, [column, column + 4, column + 8, column + 12]);
        }
        for column in 0..4 {
            quarter(state, [column, (column + 1) % 4 + 4, (column + 2) % 4 + 8, (column + 3) % 4 + 12]);
        }
    }
}

/// `void chacha_block_generic(u32 *state, u8 *stream, int nrounds)`: a block of the key stream; the counter goes on.
extern "C" fn chacha_block_generic(state: u64, stream: u64, rounds: u32) {
    // SAFETY: the module's 16 words, and room for 64 bytes.
    unsafe {
        let words: [u32; 16] = ram::get(state);
        let mut mixed = words;
        permute(&mut mixed, rounds);
        for (word, add) in mixed.iter_mut().zip(words) {
            *word = word.wrapping_add(add);
        }
        ram::put(stream, mixed);
        ram::put(state + 4 * COUNTER as u64, words[COUNTER].wrapping_add(1));
    }
}

/// `void hchacha_block_generic(const u32 *state, u32 *out, int nrounds)`: the first and last row after the permutation.
extern "C" fn hchacha_block_generic(state: u64, out: u64, rounds: u32) {
    // SAFETY: the module's 16 words, and room for 8.
    unsafe {
        let mut mixed: [u32; 16] = ram::get(state);
        permute(&mut mixed, rounds);
        let ends: [u32; 8] = core::array::from_fn(|at| mixed[if at < 4 { at } else { at + 8 }]);
        ram::put(out, ends);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, 2.1.1
    #[test]
    fn a_quarter_round_is_rfc_8439s() {
        let mut state = [0; 16];
        state[..4].copy_from_slice(&[0x1111_1111, 0x0102_0304, 0x9b8d_6f43, 0x0123_4567]);
        quarter(&mut state, [0, 1, 2, 3]);
        assert_eq!(state[..4], [0xea2a_92f4, 0xcb1c_f8ce, 0x4581_472e, 0x5881_c4bb]);
    }
}
