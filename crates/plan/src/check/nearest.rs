//! Names that somebody may have meant.

use bstr::{BStr, ByteSlice};

/// The name without what kernels put before and behind a name when they split a function in two.
fn core(name: &[u8]) -> &[u8] {
    let mut name = name;
    while let Some(rest) = name.strip_prefix(b"_") {
        name = rest;
    }
    [&b"_noprof"[..], b"_key"].iter().find_map(|end| name.strip_suffix(*end)).unwrap_or(name)
}

/// The distance of two names: letters to change, insert, leave out or swap; `None` when that is more than `most`.
fn distance(a: &[u8], b: &[u8], most: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut row = vec![0; b.len() + 1];
    for (i, &x) in a.iter().enumerate() {
        row[0] = i + 1;
        let mut least = row[0];
        for (j, &y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && b[j - 1] == x && a[i - 1] == y {
                best = best.min(before[j - 1] + 1);
            }
            row[j + 1] = best;
            least = least.min(best);
        }
        // A row never gets smaller again.
        if least > most + 1 {
            return None;
        }
        std::mem::swap(&mut before, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    last.last().copied().filter(|&far| far <= most)
}

/// How far a name is that has the other one in front or behind, as `sized_strscpy` has `strscpy`.
fn longer(name: &[u8], other: &[u8]) -> Option<usize> {
    let rest = other.strip_suffix(name).is_some_and(|rest| rest.ends_with(b"_"));
    (name.len() >= 5 && rest).then_some(2)
}

/// Those of `names` that are most like `name`, the most likely first, at most `count`.
pub(super) fn of<'n>(name: &str, names: impl Iterator<Item = &'n BStr>, count: usize) -> Vec<String> {
    let wanted = name.as_bytes();
    let most = (wanted.len() / 4).clamp(1, 4);
    let mut found: Vec<(usize, &BStr)> = names
        .filter(|other| other.as_bytes() != wanted)
        .filter_map(|other| {
            let same_core = core(other) == core(wanted) && core(wanted).len() > 2;
            let far = if same_core { Some(0) } else { distance(wanted, other, most).or_else(|| longer(wanted, other)) };
            far.map(|far| (far, other))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(count).map(|(_, name)| name.to_str_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likely_names_come_first() {
        let names =
            ["sized_strscpy", "kmalloc_noprof", "_printk", "printf", "__kmalloc_noprof", "unrelated"].map(BStr::new);
        let near = |name: &str| of(name, names.iter().copied(), 3);
        assert_eq!(near("_qrintk"), ["_printk"]);
        assert_eq!(near("__kmalloc"), ["__kmalloc_noprof", "kmalloc_noprof"]);
        assert_eq!(near("strscpy"), ["sized_strscpy"]);
        assert!(near("nothing_like_it").is_empty());
        assert_eq!(distance(b"abcd", b"abdc", 2), Some(1));
        assert_eq!(distance(b"abcd", b"wxyz", 2), None);
    }
}
