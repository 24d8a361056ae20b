//! Names of modules and aliases, which have one spelling for the kernel and two for people.

use std::borrow::Cow;

use ferrmod_image::normalise_alias;

/// `name` with `-` as `_`, except between brackets, where it makes a range.
///
/// # Errors
/// Where a bracket stands that has no partner.
pub(crate) fn normalise(name: &[u8]) -> Result<Cow<'_, [u8]>, usize> {
    let mut open = None;
    for (at, &byte) in name.iter().enumerate() {
        match (byte, open) {
            (b'[', None) => open = Some(at),
            (b']', Some(_)) => open = None,
            (b']', None) => return Err(at),
            _ => {}
        }
    }
    match open {
        Some(at) => Err(at),
        None => Ok(normalise_alias(name)),
    }
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
    }
}
