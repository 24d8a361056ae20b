//! A text as lines and words, as kmod reads its configuration.

use std::borrow::Cow;

use bstr::ByteSlice;

/// The lines of a configuration file.
///
/// A backslash takes the meaning from the byte behind it: from the end of a line, so that the next line belongs to it, and from
/// another backslash. A NUL byte ends a line before its end.
#[derive(Debug, Clone)]
pub(crate) struct Lines<'a> {
    rest: &'a [u8],
    number: u32,
}

/// One line, put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// The bytes, without the end.
    pub(crate) text: Cow<'a, [u8]>,
    /// The number of its last line in the file, counted from 1.
    pub(crate) number: u32,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Lines<'a> {
        Lines { rest: text, number: 0 }
    }

    /// Takes all up to the next end of line, or all that is left; and whether there was an end of line.
    fn physical(&mut self) -> (&'a [u8], bool) {
        self.number = self.number.saturating_add(1);
        let end = self.rest.find_byte(b'\n');
        let (line, rest) = match end.and_then(|end| self.rest.split_at_checked(end)) {
            Some((line, rest)) => (line, rest.get(1..).unwrap_or_default()),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        (line, end.is_some())
    }

    /// Puts a line together that has a backslash.
    fn unescaped(&mut self, mut line: &'a [u8], mut ended: bool) -> Vec<u8> {
        let mut text = Vec::with_capacity(line.len());
        loop {
            let mut bytes = line.iter();
            let mut joined = false;
            while let Some(&byte) = bytes.next() {
                match byte {
                    b'\\' => match bytes.next() {
                        Some(&escaped) => text.push(escaped),
                        None => joined = true,
                    },
                    _ => text.push(byte),
                }
            }
            if !joined || !ended {
                return text;
            }
            (line, ended) = self.physical();
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, ended) = self.physical();
        let mut text =
            if line.find_byte(b'\\').is_some() { Cow::Owned(self.unescaped(line, ended)) } else { Cow::Borrowed(line) };
        if let Some(end) = text.find_byte(0) {
            text = match text {
                Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(..end).unwrap_or_default()),
                Cow::Owned(mut bytes) => {
                    bytes.truncate(end);
                    Cow::Owned(bytes)
                }
            };
        }
        Some(Line { text, number: self.number })
    }
}

/// The words of a line, between blanks and tabs, and where they begin.
#[derive(Debug, Clone)]
pub(crate) struct Words<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    pub(crate) fn new(line: &'a [u8]) -> Words<'a> {
        Words { line, at: 0 }
    }

    /// Everything behind the one blank that follows the last word; `None` when nothing is there.
    pub(crate) fn rest(&self) -> Option<&'a [u8]> {
        self.line.get(self.at..).filter(|rest| !rest.is_empty())
    }
}

/// A word, and where it begins in the line.
pub(crate) type Word<'a> = (usize, &'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let rest = self.line.get(self.at..)?;
        let skipped = rest.iter().position(|byte| !blank(byte))?;
        let rest = rest.get(skipped..)?;
        let word = rest.get(..rest.iter().position(blank).unwrap_or(rest.len()))?;
        let begin = self.at + skipped;
        // The blank behind a word goes with it.
        self.at = (begin + word.len() + 1).min(self.line.len());
        Some((begin, word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<(Vec<u8>, u32)> {
        Lines::new(text).map(|line| (line.text.into_owned(), line.number)).collect()
    }

    #[test]
    fn backslashes_join_and_escape() {
        assert_eq!(lines(b"a\\\nb\nc\\d \\\\\ne"), [(b"ab".to_vec(), 2), (b"cd \\".to_vec(), 3), (b"e".to_vec(), 4)]);
        assert_eq!(lines(b"a\\"), [(b"a".to_vec(), 1)]);
        assert_eq!(lines(b"a\\\n\\\n"), [(b"a".to_vec(), 3)]);
        assert_eq!(lines(b"a\0b\nc\\\nd\0e\n"), [(b"a".to_vec(), 1), (b"cd".to_vec(), 3)]);
        assert_eq!(lines(b"\n\n"), [(b"".to_vec(), 1), (b"".to_vec(), 2)]);
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn words_know_what_is_behind_them() {
        let mut words = Words::new(b" a\t\tb  c ");
        assert_eq!(words.next(), Some((1, &b"a"[..])));
        assert_eq!(words.next(), Some((4, &b"b"[..])));
        assert_eq!(words.rest(), Some(&b" c "[..]));
        let mut words = Words::new(b"x ");
        assert_eq!(words.next(), Some((0, &b"x"[..])));
        assert_eq!(words.rest(), None);
        assert_eq!(words.next(), None);
    }
}
