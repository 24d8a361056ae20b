//! `.modinfo`: NUL-separated `key=value` strings.

use bstr::{BStr, ByteSlice};

/// The strings of `.modinfo`, in the order of the file.
#[derive(Debug, Clone, Copy)]
pub struct Modinfo<'a> {
    data: &'a [u8],
}

impl<'a> Modinfo<'a> {
    /// Reads `data`, the contents of a `.modinfo` section (or of one module's part of `modules.builtin.modinfo`).
    #[must_use]
    pub fn new(data: &'a [u8]) -> Modinfo<'a> {
        Modinfo { data }
    }

    /// Keys and values. A key may come several times (`alias`); a string without `=` is left out, as Linux does.
    pub fn iter(self) -> impl Iterator<Item = (&'a BStr, &'a BStr)> + Clone {
        self.strings().filter_map(|string| {
            let equals = string.find_byte(b'=')?;
            Some((BStr::new(string.get(..equals)?), BStr::new(string.get(equals + 1..)?)))
        })
    }

    /// The strings as they are. Runs of NULs (padding between the files the module was linked from) count as one.
    pub fn strings(self) -> impl Iterator<Item = &'a BStr> + Clone {
        let mut rest = self.data;
        core::iter::from_fn(move || {
            while let Some((0, after)) = rest.split_first() {
                rest = after;
            }
            if rest.is_empty() {
                return None;
            }
            let end = rest.find_byte(0).unwrap_or(rest.len());
            let (string, after) = rest.split_at_checked(end)?;
            rest = after;
            Some(BStr::new(string))
        })
    }

    /// The first value of `key`, which is the one that counts.
    #[must_use]
    pub fn get(self, key: &str) -> Option<&'a BStr> {
        self.all(key).next()
    }

    /// Every value of `key`.
    pub fn all<'k>(self, key: &'k str) -> impl Iterator<Item = &'a BStr> + use<'a, 'k> {
        self.strings().filter_map(move |string| {
            let value = string.strip_prefix(key.as_bytes())?.strip_prefix(b"=")?;
            Some(BStr::new(value))
        })
    }
}

/// A module that another one would like to have loaded before or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Softdep<'a> {
    /// Name or alias of the wanted module.
    pub name: &'a BStr,
    /// Whether it is wanted before (`pre:`) and not after (`post:`).
    pub before: bool,
}

impl<'a> Softdep<'a> {
    /// Reads a text as in `pre: crc32c libcrc32c post: crypto-sha256`. Words before the first `pre:` or `post:` are left out, as
    /// modprobe does.
    pub fn parse(text: &'a BStr) -> impl Iterator<Item = Softdep<'a>> + use<'a> {
        let mut before = None;
        text.split(|&byte| matches!(byte, b' ' | b'\t' | b'\n')).filter_map(move |word| match word {
            b"" => None,
            b"pre:" => {
                before = Some(true);
                None
            }
            b"post:" => {
                before = Some(false);
                None
            }
            name => before.map(|before| Softdep { name: BStr::new(name), before }),
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn runs_of_nuls_and_strings_without_a_value_are_passed_over() {
        let modinfo = Modinfo::new(b"\0\0license=GPL\0\0\0alias=a=b\0odd\0alias=c\0names=x\0name=y\0empty=\0");
        let pairs: Vec<_> = modinfo.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())).collect();
        assert_eq!(
            pairs,
            [
                (&b"license"[..], &b"GPL"[..]),
                (b"alias", b"a=b"),
                (b"alias", b"c"),
                (b"names", b"x"),
                (b"name", b"y"),
                (b"empty", b"")
            ]
        );
        assert_eq!(modinfo.get("name").map(|name| name.as_bytes()), Some(&b"y"[..]));
        assert_eq!(modinfo.all("alias").count(), 2);
        assert_eq!(modinfo.get("odd"), None);
        assert_eq!(modinfo.get("empty").map(|value| value.len()), Some(0));
    }

    #[test]
    fn softdeps_are_told_apart_by_the_word_before_them() {
        let text = BStr::new("lost pre: a  b\tpost: c pre: d");
        let found: Vec<_> = Softdep::parse(text).map(|softdep| (softdep.name.as_bytes(), softdep.before)).collect();
        assert_eq!(found, [(&b"a"[..], true), (b"b", true), (b"c", false), (b"d", true)]);
    }

    #[test]
    fn a_last_string_without_its_nul_is_read() {
        assert_eq!(Modinfo::new(b"a=1\0b=2").get("b").map(|value| value.as_bytes()), Some(&b"2"[..]));
    }
}
