//! Names of modules and aliases, which have one spelling for the kernel and two for people.

use std::borrow::Cow;

/// `name` with `-` as `_`, except between brackets, where it makes a range.
///
/// # Errors
/// Where a bracket stands that has no partner.
pub(crate) fn normalise(name: &[u8]) -> Result<Cow<'_, [u8]>, usize> {
    let mut open = None;
    let mut dashes = false;
    for (at, &byte) in name.iter().enumerate() {
        match (byte, open) {
            (b'[', None) => open = Some(at),
            (b']', Some(_)) => open = None,
            (b']', None) => return Err(at),
            (b'-', None) => dashes = true,
            _ => {}
        }
    }
    match open {
        Some(at) => Err(at),
        None if dashes => Ok(Cow::Owned(underscored(name))),
        None => Ok(Cow::Borrowed(name)),
    }
}

/// A name that somebody asks for, in the spelling of the configuration. Brackets may be without partner.
pub(crate) fn asked(name: &[u8]) -> Cow<'_, [u8]> {
    if name.contains(&b'-') { Cow::Owned(underscored(name)) } else { Cow::Borrowed(name) }
}

fn underscored(name: &[u8]) -> Vec<u8> {
    let mut inside = false;
    let spelled = name.iter().map(|&byte| {
        match byte {
            b'[' => inside = true,
            b']' => inside = false,
            b'-' if !inside => return b'_',
            _ => {}
        }
        byte
    });
    spelled.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_is_an_underscore_but_not_in_brackets() {
        assert_eq!(normalise(b"a-b[c-d]-e").as_deref(), Ok(&b"a_b[c-d]_e"[..]));
        assert_eq!(normalise(b"a[[]-").as_deref(), Ok(&b"a[[]_"[..]));
        assert_eq!(normalise(b"a]"), Err(1));
        assert_eq!(normalise(b"a[]b]"), Err(4));
        assert_eq!(normalise(b"ab[c"), Err(2));
        assert_eq!(asked(b"a-[b-").as_ref(), b"a_[b-");
    }
}
