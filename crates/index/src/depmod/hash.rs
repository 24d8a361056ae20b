//! The hash that decides in which order kmod lists what has no order of its own.

/// Buckets of kmod's table of modules.
pub(super) const MODULE_BUCKETS: u32 = 512;

/// Buckets of kmod's table of symbols.
pub(super) const SYMBOL_BUCKETS: u32 = 2048;

/// Paul Hsieh's SuperFastHash with the length as its seed. Its 16-bit loads are in the machine's own byte order, as kmod's are, so
/// that the order is that of a kmod on the same machine.
pub(super) fn superfast(key: &[u8]) -> u32 {
    let mut hash = key.len() as u32;
    let half = |a: u8, b: u8| u32::from(u16::from_ne_bytes([a, b]));
    let (fours, rest) = key.as_chunks::<4>();
    for &[a, b, c, d] in fours {
        hash = hash.wrapping_add(half(a, b));
        hash = (hash << 16) ^ (half(c, d) << 11) ^ hash;
        hash = hash.wrapping_add(hash >> 11);
    }
    match *rest {
        [a, b, c] => {
            hash = hash.wrapping_add(half(a, b));
            hash ^= hash << 16;
            hash ^= u32::from(c) << 18;
            hash = hash.wrapping_add(hash >> 11);
        }
        [a, b] => {
            hash = hash.wrapping_add(half(a, b));
            hash ^= hash << 11;
            hash = hash.wrapping_add(hash >> 17);
        }
        [a] => {
            hash = hash.wrapping_add(u32::from(a));
            hash ^= hash << 10;
            hash = hash.wrapping_add(hash >> 1);
        }
        _ => {}
    }
    hash ^= hash << 3;
    hash = hash.wrapping_add(hash >> 5);
    hash ^= hash << 4;
    hash = hash.wrapping_add(hash >> 17);
    hash ^= hash << 25;
    hash.wrapping_add(hash >> 6)
}

/// Sorts as kmod's table of `buckets` buckets lists its keys: by bucket, and by the key in it.
pub(super) fn order<T>(items: &mut [T], buckets: u32, key: impl Fn(&T) -> &[u8]) {
    let mut places: Vec<(u32, usize)> =
        items.iter().enumerate().map(|(index, item)| (superfast(key(item)) & (buckets - 1), index)).collect();
    let of = |index: usize| items.get(index).map(&key).unwrap_or_default();
    places.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| of(a.1).cmp(of(b.1))));
    // Where each item goes; cycles of the permutation are followed once.
    let mut target = vec![0; items.len()];
    for (place, &(_, index)) in places.iter().enumerate() {
        if let Some(slot) = target.get_mut(index) {
            *slot = place;
        }
    }
    for index in 0..items.len() {
        while let Some(&to) = target.get(index)
            && to != index
            && to < items.len()
        {
            items.swap(index, to);
            target.swap(index, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_bucket_then_by_key() {
        let mut names: Vec<String> = (0..3000).map(|number| format!("symbol_{number}")).collect();
        order(&mut names, SYMBOL_BUCKETS, |name| name.as_bytes());
        let place = |name: &String| (superfast(name.as_bytes()) & (SYMBOL_BUCKETS - 1), name.clone());
        assert!(names.is_sorted_by_key(place));
        assert_eq!(names.len(), 3000);
    }
}
