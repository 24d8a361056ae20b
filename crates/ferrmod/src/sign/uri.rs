//! `pkcs11:` URIs (RFC 7512): which key of which token, and the library that reaches it.

use std::path::PathBuf;

/// What a URI names. What it does not say matches everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Uri {
    /// The library of the token's maker.
    pub(super) module: Option<PathBuf>,
    pub(super) token: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) slot: Option<u64>,
    /// The object's label, `CKA_LABEL`.
    pub(super) object: Option<Vec<u8>>,
    /// `CKA_ID`.
    pub(super) id: Option<Vec<u8>>,
    /// `private`, `cert` and so on.
    pub(super) kind: Option<String>,
    pub(super) pin: Option<Pin>,
    /// The URI without its query, in which there may be a PIN.
    pub(super) shown: String,
}

/// Where the PIN is.
#[derive(PartialEq, Eq)]
pub(super) enum Pin {
    Value(String),
    File(PathBuf),
}

/// Does not say the PIN.
impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// The scheme.
const SCHEME: &str = "pkcs11:";

impl Uri {
    /// Whether the text is meant to be a URI of a token.
    pub(super) fn is_one(text: &str) -> bool {
        text.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
    }

    /// The URI without its query: what may be shown.
    pub(super) fn shown(text: &str) -> &str {
        text.split('?').next().unwrap_or_default()
    }

    /// Reads a URI.
    ///
    /// # Errors
    /// What is wrong with it, in words that do not repeat a PIN.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if !Self::is_one(text) {
            return Err(format!("no URI that begins with {SCHEME}"));
        }
        let shown = Self::shown(text);
        let path = shown.get(SCHEME.len()..).unwrap_or_default();
        let query = text.get(shown.len() + 1..).unwrap_or_default();
        let mut uri = Self { shown: shown.to_owned(), ..Self::default() };
        for attribute in path.split(';').filter(|attribute| !attribute.is_empty()) {
            let (name, value) = split(attribute)?;
            match name {
                "token" => set(&mut uri.token, name, words(name, value)?)?,
                "manufacturer" => set(&mut uri.manufacturer, name, words(name, value)?)?,
                "model" => set(&mut uri.model, name, words(name, value)?)?,
                "serial" => set(&mut uri.serial, name, words(name, value)?)?,
                "slot-id" => {
                    let number = value.parse().map_err(|_| "slot-id is no number".to_owned())?;
                    set(&mut uri.slot, name, number)?;
                }
                "object" => set(&mut uri.object, name, value_of(name, value)?)?,
                "id" => set(&mut uri.id, name, value_of(name, value)?)?,
                "type" => set(&mut uri.kind, name, words(name, value)?)?,
                other => {
                    return Err(format!(
                        "the attribute {other} is not known here; token, manufacturer, model, serial, slot-id, object, id and type are"
                    ));
                }
            }
        }
        for attribute in query.split('&').filter(|attribute| !attribute.is_empty()) {
            let (name, value) = split(attribute)?;
            match name {
                "module-path" => {
                    let path = PathBuf::from(words(name, value)?);
                    if !path.is_absolute() {
                        return Err("module-path has to begin with /: a library is not searched for".into());
                    }
                    set(&mut uri.module, name, path)?;
                }
                "pin-value" => set(&mut uri.pin, "pin", Pin::Value(words(name, value)?))?,
                "pin-source" => {
                    let source = words(name, value)?;
                    let path = source.strip_prefix("file:").unwrap_or(&source);
                    let path = if path.starts_with("///") { path.get(2..).unwrap_or_default() } else { path };
                    if !path.starts_with('/') || path.starts_with("//") {
                        return Err("pin-source has to be a file: file:/PATH".into());
                    }
                    set(&mut uri.pin, "pin", Pin::File(path.into()))?;
                }
                "module-name" => return Err("module-name is not searched for; name the library by module-path".into()),
                other => {
                    return Err(format!("{other} is not known here; module-path, pin-value and pin-source are"));
                }
            }
        }
        Ok(uri)
    }
}

/// Name and value. What has no value is not repeated: it may be a PIN.
fn split(attribute: &str) -> Result<(&str, &str), String> {
    attribute.split_once('=').ok_or_else(|| "one of its attributes has no `=`".to_owned())
}

fn set<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is there twice")),
    }
}

/// The bytes of a value, in which `%` and two hexadecimal digits stand for a byte (RFC 3986, 2.1).
fn value_of(name: &str, text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("{name}: `%` needs two hexadecimal digits behind it");
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or_else(wrong)?;
        bytes.push(byte);
        bytes.extend(piece.get(2..).unwrap_or_default().as_bytes());
    }
    Ok(bytes)
}

fn words(name: &str, text: &str) -> Result<String, String> {
    String::from_utf8(value_of(name, text)?).map_err(|_| format!("{name} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_library_token_and_key() {
        let text = "pkcs11:token=Our%20token;serial=1f;slot-id=7;object=k%c3%a9y;id=%01%ff;type=private\
                    ?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-value=12%3B34";
        let uri = Uri::read(text).unwrap();
        assert_eq!(uri.module.as_deref(), Some("/usr/lib/softhsm/libsofthsm2.so".as_ref()));
        assert_eq!((uri.token.as_deref(), uri.serial.as_deref(), uri.slot), (Some("Our token"), Some("1f"), Some(7)));
        assert_eq!((uri.object.as_deref(), uri.id.as_deref()), (Some("kéy".as_bytes()), Some(&[1, 0xff][..])));
        assert_eq!((uri.kind.as_deref(), &uri.pin), (Some("private"), &Some(Pin::Value("12;34".into()))));
        assert_eq!(uri.shown, text.split('?').next().unwrap());
        assert!(!format!("{uri:?}").contains("12;34"));
        for source in ["file:/etc/pin", "file:///etc/pin", "/etc/pin"] {
            let uri = Uri::read(&format!("PKCS11:?pin-source={source}")).unwrap();
            assert_eq!(uri.pin, Some(Pin::File("/etc/pin".into())));
        }
        assert_eq!(Uri::read("pkcs11:").unwrap(), Uri { shown: "pkcs11:".into(), ..Uri::default() });
    }

    #[test]
    fn what_is_wrong_is_said_without_the_pin() {
        for (text, word) in [
            ("key.pem", "pkcs11:"),
            ("pkcs11:token", "`=`"),
            ("pkcs11:token=a;token=b", "twice"),
            ("pkcs11:token=%4", "hexadecimal"),
            ("pkcs11:token=%+4", "hexadecimal"),
            ("pkcs11:token=%ff", "UTF-8"),
            ("pkcs11:slot-id=x", "number"),
            ("pkcs11:x-mine=1", "x-mine"),
            ("pkcs11:?module-path=libsofthsm2.so", "begin with /"),
            ("pkcs11:?module-name=softhsm2", "module-path"),
            ("pkcs11:?pin-source=|cat", "a file"),
            ("pkcs11:?pin-source=file://host/pin", "a file"),
            ("pkcs11:?pin-value=4711%", "hexadecimal"),
            ("pkcs11:?pin-value=4711&pin-value=4711", "twice"),
            ("pkcs11:?4711", "`=`"),
        ] {
            let said = Uri::read(text).unwrap_err();
            assert!(said.contains(word) && !said.contains("4711"), "{text}: {said}");
        }
    }
}
