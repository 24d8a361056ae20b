//! Text around DER (RFC 7468), with the headers of RFC 1421 that old private keys have.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bstr::ByteSlice;

/// One block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// What stands behind `BEGIN`.
    pub(crate) label: String,
    headers: Vec<(String, String)>,
    /// What it holds; `None` when that is no base64.
    pub(crate) content: Option<Vec<u8>>,
}

impl Block {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// The blocks of a file; what stands between them is text for people.
pub(crate) fn blocks(bytes: &[u8]) -> Vec<Block> {
    let mut out = Vec::new();
    let mut lines = bytes.lines().map(|line| line.trim_ascii());
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix(b"-----BEGIN ").and_then(|line| line.strip_suffix(b"-----")) else {
            continue;
        };
        let (mut headers, mut text): (Vec<(String, String)>, Vec<u8>) = (Vec::new(), Vec::new());
        for line in lines.by_ref() {
            if line.starts_with(b"-----END ") {
                break;
            }
            match line.split_once_str(":") {
                Some((name, value)) if text.is_empty() => {
                    let string = |bytes: &[u8]| bytes.trim_ascii().to_str_lossy().to_string();
                    headers.push((string(name), string(value)));
                }
                _ => text.extend(line),
            }
        }
        out.push(Block { label: label.to_str_lossy().to_string(), headers, content: unbase64(&text) });
    }
    out
}

/// The certificates in a file, PEM or DER, as DER.
pub fn certificates_der(bytes: &[u8]) -> Vec<Vec<u8>> {
    labelled(bytes, &["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"])
}

/// The revocation lists in a file, PEM or DER, as DER.
pub fn revocation_lists_der(bytes: &[u8]) -> Vec<Vec<u8>> {
    labelled(bytes, &["X509 CRL"])
}

fn labelled(bytes: &[u8], labels: &[&str]) -> Vec<Vec<u8>> {
    let blocks = blocks(bytes);
    if blocks.is_empty() {
        return alloc::vec![bytes.to_vec()];
    }
    blocks
        .into_iter()
        .filter(|block| labels.contains(&block.label.as_str()))
        .filter_map(|block| block.content)
        .collect()
}

fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_with(|character| character == '=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for &byte in digits {
        bits = bits << 6 | u32::from(value(byte)?);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}

/// Hexadecimal digits as bytes.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibbles: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let (pairs, rest) = nibbles.as_ref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_length() {
        assert_eq!(unbase64(b""), Some(Vec::new()));
        assert_eq!(unbase64(b"Zg=="), Some(b"f".to_vec()));
        assert_eq!(unbase64(b"Zm8="), Some(b"fo".to_vec()));
        assert_eq!(unbase64(b"Zm9v"), Some(b"foo".to_vec()));
        assert_eq!(unbase64(b"Zm9vYmFy"), Some(b"foobar".to_vec()));
        for bad in [&b"Z"[..], b"Zg=", b"Z===", b"Zm9*", b"Zg==Zg=="] {
            assert_eq!(unbase64(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn headers_and_text_around_blocks() {
        let text = b"hello\n-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0011\n\nZm9v\nYmFy\n-----END RSA PRIVATE KEY-----\n-----BEGIN X-----\nZg==\n";
        let blocks = blocks(text);
        assert_eq!(blocks.len(), 2);
        assert_eq!(
            (blocks[0].label.as_str(), blocks[0].header("DEK-Info")),
            ("RSA PRIVATE KEY", Some("AES-256-CBC,0011"))
        );
        assert_eq!(blocks[0].content.as_deref(), Some(&b"foobar"[..]));
        assert_eq!(blocks[1].content.as_deref(), Some(&b"f"[..]));
    }
}
