//! The configuration a kernel was built with.

use bstr::ByteSlice;
use ferrmod_image::compress::decompress;

/// The largest configuration that is read, unpacked: real ones have 300 KB.
const MAX_CONFIG: usize = 16 << 20;

/// The text of a kernel's `.config`.
///
/// It is searched where it lies: a check asks for a dozen of its ten thousand lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelConfig {
    /// Where it comes from, for messages.
    pub source: String,
    text: Vec<u8>,
}

impl KernelConfig {
    /// The configuration in `text`, which may be packed (`/proc/config.gz`, the one inside an image). What does not unpack is as none.
    #[must_use]
    pub fn new(source: String, text: &[u8]) -> KernelConfig {
        let text = decompress(text, MAX_CONFIG).map(std::borrow::Cow::into_owned).unwrap_or_default();
        KernelConfig { source, text }
    }

    /// Whether there is none, so that nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The value of `CONFIG_name` as it stands, quotes included; `None` when it is not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let wanted = format!("CONFIG_{name}=");
        let at = self.text.find_iter(&wanted).find(|&at| at == 0 || self.text.get(at - 1) == Some(&b'\n'))?;
        let rest = self.text.get(at + wanted.len()..)?;
        let end = rest.find_byte(b'\n').unwrap_or(rest.len());
        std::str::from_utf8(rest.get(..end)?).ok().map(str::trim_end)
    }

    /// The value of a text without its quotes.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let value = self.get(name)?;
        Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
    }

    /// Whether `CONFIG_name` is `y` or `m`; `None` when there is no configuration at all.
    #[must_use]
    pub fn has(&self, name: &str) -> Option<bool> {
        (!self.is_empty()).then(|| matches!(self.get(name), Some("y" | "m")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_whole() {
        let text = b"# CONFIG_A is not set\nCONFIG_AB=y\nCONFIG_B=\"x,y\"\nNOCONFIG_C=y\nCONFIG_D=12";
        let config = KernelConfig::new("x".into(), text);
        assert_eq!(
            (config.get("A"), config.get("AB"), config.get("C"), config.get("D")),
            (None, Some("y"), None, Some("12"))
        );
        assert_eq!((config.get("B"), config.text("B")), (Some("\"x,y\""), Some("x,y")));
        assert_eq!((config.has("A"), config.has("AB")), (Some(false), Some(true)));
        assert_eq!(KernelConfig::default().has("A"), None);
    }
}
