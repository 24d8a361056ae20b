//! Checksums of the internet protocols, and hashes with a key.

use crate::export::{Export, exports};
use crate::ram;

/// The sum of 16-bit words, folded to 32 bits; a last odd byte counts as the low half of a word.
fn sum(bytes: &[u8], begin: u32) -> u32 {
    let mut words = bytes.chunks_exact(2);
    let mut total = u64::from(begin);
    total += words.by_ref().map(|pair| u64::from(u16::from_le_bytes([pair[0], pair[1]]))).sum::<u64>();
    total += words.remainder().first().map_or(0, |&byte| u64::from(byte));
    while total >> 32 != 0 {
        total = (total & 0xffff_ffff) + (total >> 32);
    }
    total as u32
}

/// The ones' complement of a sum in 16 bits.
fn fold(sum: u32) -> u16 {
    let mut sum = sum;
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn slice<'a>(at: u64, length: i32) -> &'a [u8] {
    // SAFETY: the caller's buffer.
    unsafe { ram::bytes(at, length.max(0) as u64) }
}

/// `__wsum csum_partial(const void *, int, __wsum)`
extern "C" fn csum_partial(at: u64, length: i32, begin: u32) -> u32 {
    sum(slice(at, length), begin)
}
/// `__sum16 ip_compute_csum(const void *, int)`
extern "C" fn ip_compute_csum(at: u64, length: i32) -> u16 {
    fold(sum(slice(at, length), 0))
}
/// `void ip_send_check(struct iphdr *)`: the sum over the header, with the length that it says of itself, into its place.
extern "C" fn ip_send_check(header: u64) {
    // SAFETY: the caller's header, which is in its first byte as long as it says.
    unsafe {
        let words = i32::from(ram::get::<u8>(header) & 0xf);
        ram::put(header + 10, 0u16);
        ram::put(header + 10, ip_compute_csum(header, 4 * words));
    }
}
/// `__wsum csum_partial_copy_nocheck(const void *, void *, int)`
extern "C" fn csum_partial_copy_nocheck(from: u64, to: u64, length: i32) -> u32 {
    // SAFETY: two buffers of the caller's.
    unsafe { ram::copy(to, from, length.max(0) as u64) };
    sum(slice(from, length), 0)
}
/// `__sum16 csum_ipv6_magic(const struct in6_addr *, const struct in6_addr *, __u32 len, __u8 proto, __wsum)`: RFC 2460's
/// pseudo-header.
extern "C" fn csum_ipv6_magic(source: u64, target: u64, length: u32, protocol: u8, begin: u32) -> u16 {
    let mut total = sum(slice(source, 16), begin);
    total = sum(slice(target, 16), total);
    total = sum(&length.to_be_bytes(), total);
    fold(sum(&[0, 0, 0, protocol], total))
}

/// SipHash (Aumasson and Bernstein) with so many rounds a word and at the end.
fn siphash(bytes: &[u8], key: [u64; 2], rounds: usize, last_rounds: usize) -> [u64; 4] {
    let mut state = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let round = |[mut a, mut b, mut c, mut d]: [u64; 4]| {
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32);
        c = c.wrapping_add(b);
        a = a.wrapping_add(d);
        b = b.rotate_left(17) ^ c;
        d = d.rotate_left(21) ^ a;
        c = c.rotate_left(32);
        [a, b, c, d]
    };
    let mut take = |word: u64| {
        state[3] ^= word;
        (0..rounds).for_each(|_| state = round(state));
        state[0] ^= word;
    };
    let mut words = bytes.chunks_exact(8);
    for word in words.by_ref() {
        take(word.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)));
    }
    let rest = words.remainder().iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    take(rest | (bytes.len() as u64) << 56);
    state[2] ^= 0xff;
    (0..last_rounds).for_each(|_| state = round(state));
    state
}

fn key(at: u64) -> [u64; 2] {
    // SAFETY: the caller's key of two words.
    unsafe { ram::get(at) }
}
fn hash(bytes: &[u8], at: u64) -> u64 {
    siphash(bytes, key(at), 2, 4).into_iter().fold(0, |hash, word| hash ^ word)
}
/// On 64-bit kernels `hsiphash` is SipHash-1-3, cut.
fn half_hash(bytes: &[u8], at: u64) -> u32 {
    let state = siphash(bytes, key(at), 1, 3);
    (state[0] ^ state[1] ^ state[2] ^ state[3]) as u32
}

/// `u64 __siphash_unaligned(const void *, size_t, const siphash_key_t *)`
extern "C" fn __siphash_unaligned(at: u64, length: u64, key: u64) -> u64 {
    // SAFETY: the caller's buffer.
    hash(unsafe { ram::bytes(at, length) }, key)
}
extern "C" fn __hsiphash_unaligned(at: u64, length: u64, key: u64) -> u32 {
    // SAFETY: the caller's buffer.
    half_hash(unsafe { ram::bytes(at, length) }, key)
}

/// The bytes of numbers one after the other.
fn words(numbers: &[u64]) -> alloc::vec::Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
fn halves(numbers: &[u32]) -> alloc::vec::Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
extern "C" fn siphash_1u64(a: u64, key: u64) -> u64 {
    hash(&words(&[a]), key)
}
extern "C" fn siphash_2u64(a: u64, b: u64, key: u64) -> u64 {
    hash(&words(&[a, b]), key)
}
extern "C" fn siphash_3u64(a: u64, b: u64, c: u64, key: u64) -> u64 {
    hash(&words(&[a, b, c]), key)
}
extern "C" fn siphash_4u64(a: u64, b: u64, c: u64, d: u64, key: u64) -> u64 {
    hash(&words(&[a, b, c, d]), key)
}
extern "C" fn siphash_1u32(a: u32, key: u64) -> u64 {
    hash(&halves(&[a]), key)
}
extern "C" fn siphash_3u32(a: u32, b: u32, c: u32, key: u64) -> u64 {
    hash(&halves(&[a, b, c]), key)
}
extern "C" fn hsiphash_1u32(a: u32, key: u64) -> u32 {
    half_hash(&halves(&[a]), key)
}
extern "C" fn hsiphash_2u32(a: u32, b: u32, key: u64) -> u32 {
    half_hash(&halves(&[a, b]), key)
}
extern "C" fn hsiphash_3u32(a: u32, b: u32, c: u32, key: u64) -> u32 {
    half_hash(&halves(&[a, b, c]), key)
}
extern "C" fn hsiphash_4u32(a: u32, b: u32, c: u32, d: u32, key: u64) -> u32 {
    half_hash(&halves(&[a, b, c, d]), key)
}

/// `unsigned int full_name_hash(const void *salt, const char *, unsigned int)`: the hash of a name in a directory. Nobody
/// compares it with a stored one.
extern "C" fn full_name_hash(salt: u64, name: u64, length: u32) -> u32 {
    // SAFETY: the caller's name.
    name_hash(salt, unsafe { ram::bytes(name, length.into()) })
}
fn name_hash(salt: u64, name: &[u8]) -> u32 {
    // FNV-1a.
    let hash = name
        .iter()
        .fold(0xcbf2_9ce4_8422_2325 ^ salt, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (hash ^ hash >> 32) as u32
}
/// `u64 hashlen_string(const void *salt, const char *)`: the length above the hash.
extern "C" fn hashlen_string(salt: u64, name: u64) -> u64 {
    let name = crate::string::text(name);
    (name.len() as u64) << 32 | u64::from(name_hash(salt, name))
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c csum_partial, c ip_compute_csum, c ip_send_check, c csum_partial_copy_nocheck, c csum_ipv6_magic, c __siphash_unaligned,
    c __siphash_aligned = __siphash_unaligned, c __hsiphash_unaligned, c __hsiphash_aligned = __hsiphash_unaligned,
    c siphash_1u64, c siphash_2u64, c siphash_3u64, c siphash_4u64, c siphash_1u32, c siphash_3u32, c hsiphash_1u32,
    c hsiphash_2u32, c hsiphash_3u32, c hsiphash_4u32, c full_name_hash, c hashlen_string,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_1071s_example() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes, 0)), !0xddf2u16.swap_bytes());
        assert_eq!(fold(sum(&[0xff; 7], 0)), !0x00ff);
    }

    #[test]
    fn siphashs_first_vectors() {
        let key: [u8; 16] = core::array::from_fn(|index| index as u8);
        let at = key.as_ptr() as u64;
        let input: [u8; 15] = core::array::from_fn(|index| index as u8);
        assert_eq!(hash(&[], at), 0x726f_db47_dd0e_0e31);
        assert_eq!(hash(&input, at), 0xa129_ca61_49be_45e5);
        assert_eq!(
            siphash_1u64(u64::from_le_bytes(core::array::from_fn(|index| index as u8)), at),
            hash(&input[..8], at)
        );
    }
}
