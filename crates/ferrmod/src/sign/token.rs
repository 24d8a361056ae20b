//! Keys and certificates in a token (a smart card, an HSM), through the library of its maker.
//!
//! The library named by the URI is loaded into this process and runs in it with all its rights: whoever names it trusts it.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use ferrmod_signature::{Certificate, Digest, Key, NameBy, SignError};

use super::uri::Uri;

/// Why a token did not do what it was asked for. The message does not repeat a PIN.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// The URI has no library, and the environment names none.
    #[error("no library is named: put ?module-path=/PATH/OF/LIBRARY.so behind it, or set PKCS11_MODULE_PATH")]
    NoLibrary,
    /// The library cannot be loaded or started.
    #[error("{library}: {error}")]
    Library { library: String, error: Error },
    /// No token, or more than one.
    #[error("{0}")]
    Token(String),
    /// No object in the token, or more than one.
    #[error("{0}")]
    Object(String),
    /// A PIN is needed.
    #[error("the token needs a PIN: pin-value or pin-source in the URI, --passphrase-file or KBUILD_SIGN_PIN")]
    NoPin,
    /// It does not take the PIN.
    #[error("the token does not take the PIN: {0}")]
    Pin(&'static str),
    /// A call failed.
    #[error("the token: {0}")]
    Call(#[from] Error),
    /// It signed, but not as asked.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// A token that is open. The library is told when it goes.
pub(super) struct Token {
    /// Gone before the library is.
    session: Option<Session>,
    library: Option<Pkcs11>,
    pin: Option<AuthPin>,
    label: String,
}

impl Drop for Token {
    fn drop(&mut self) {
        drop(self.session.take());
        // Nothing is left to be done about a library that does not end.
        let _ = self.library.take().map(Pkcs11::finalize);
    }
}

impl Token {
    /// Opens the token of the URI, and logs in to it when `secret` objects are wanted and it asks for that.
    pub(super) fn open(uri: &Uri, pin: Option<String>, secret: bool) -> Result<Self, TokenError> {
        let path = uri.module.clone().or_else(|| std::env::var_os("PKCS11_MODULE_PATH").map(Into::into));
        let path = path.ok_or(TokenError::NoLibrary)?;
        let failed = |error| TokenError::Library { library: path.display().to_string(), error };
        let library = Pkcs11::new(&path).map_err(failed)?;
        library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(failed)?;
        let pin = pin.map(|pin| AuthPin::new(pin.into()));
        let mut token = Self { session: None, library: Some(library.clone()), pin, label: String::new() };
        let (slot, info) = find(&library, uri)?;
        token.label = info.label().to_owned();
        let session = library.open_ro_session(slot)?;
        if secret && info.login_required() {
            login(&session, UserType::User, token.pin.as_ref(), info.protected_authentication_path())?;
        }
        token.session = Some(session);
        Ok(token)
    }

    fn session(&self) -> Result<&Session, TokenError> {
        self.session.as_ref().ok_or(TokenError::Call(Error::NotSupported))
    }

    /// The one object of that class which the URI names.
    fn object(&self, uri: &Uri, class: ObjectClass, what: &str) -> Result<ObjectHandle, TokenError> {
        let mut template = vec![Attribute::Class(class)];
        template.extend(uri.object.clone().map(Attribute::Label));
        template.extend(uri.id.clone().map(Attribute::Id));
        let session = self.session()?;
        let found = session.find_objects(&template)?;
        match found.as_slice() {
            [one] => Ok(*one),
            [] => {
                let all = session.find_objects(&[Attribute::Class(class)])?;
                let names = self.names(&all);
                Err(TokenError::Object(format!("token {} has no such {what}; it has {names}", self.label)))
            }
            several => {
                let names = self.names(several);
                Err(TokenError::Object(format!(
                    "token {} has several: {names}; say which by object= and id=",
                    self.label
                )))
            }
        }
    }

    /// The labels and ids of objects.
    fn names(&self, objects: &[ObjectHandle]) -> String {
        let name = |object: &ObjectHandle| {
            let attributes =
                self.session().ok()?.get_attributes(*object, &[AttributeType::Label, AttributeType::Id]).ok()?;
            let words = attributes.iter().filter_map(|attribute| match attribute {
                Attribute::Label(label) => Some(format!("object={}", String::from_utf8_lossy(label).escape_debug())),
                Attribute::Id(id) => {
                    Some(format!("id={}", id.iter().map(|byte| format!("%{byte:02x}")).collect::<String>()))
                }
                _ => None,
            });
            Some(words.collect::<Vec<_>>().join(";"))
        };
        let names: Vec<_> = objects.iter().filter_map(name).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    /// The certificate that the URI names, DER.
    pub(super) fn certificate(&self, uri: &Uri) -> Result<Vec<u8>, TokenError> {
        if !matches!(uri.kind.as_deref(), None | Some("cert")) {
            return Err(TokenError::Object("type= is that of no certificate (type=cert)".into()));
        }
        let object = self.object(uri, ObjectClass::CERTIFICATE, "certificate")?;
        let attributes = self.session()?.get_attributes(object, &[AttributeType::Value])?;
        let value = attributes.into_iter().find_map(|attribute| match attribute {
            Attribute::Value(value) => Some(value),
            _ => None,
        });
        value.ok_or_else(|| TokenError::Object("the certificate in the token has no value".into()))
    }

    /// The private key that the URI names.
    pub(super) fn key<'t>(&'t self, uri: &Uri) -> Result<TokenKey<'t>, TokenError> {
        if !matches!(uri.kind.as_deref(), None | Some("private")) {
            return Err(TokenError::Object("type= is that of no private key (type=private)".into()));
        }
        let handle = self.object(uri, ObjectClass::PRIVATE_KEY, "private key")?;
        // Tokens that do not know the question answer with nothing.
        let attributes =
            self.session()?.get_attributes(handle, &[AttributeType::AlwaysAuthenticate]).unwrap_or_default();
        let always = attributes.contains(&Attribute::AlwaysAuthenticate(true));
        Ok(TokenKey { token: self, handle, always })
    }
}

/// A private key in a token.
pub(super) struct TokenKey<'t> {
    token: &'t Token,
    handle: ObjectHandle,
    /// It wants the PIN for each signature.
    always: bool,
}

impl TokenKey<'_> {
    /// Signs `module` (without a signature): the PKCS#7 message, which has been verified.
    pub(super) fn sign(
        &self,
        module: &[u8],
        certificate: &Certificate,
        digest: Digest,
        name_by: NameBy,
    ) -> Result<Vec<u8>, TokenError> {
        let hash = digest.of(&[module]).ok_or(SignError::Digest(digest))?;
        let public = &certificate.key;
        let kind = || SignError::Key(format!("its kind is {public}"));
        let input = public.token_input(digest, &hash).ok_or_else(kind)?;
        let session = self.token.session()?;
        let answer = if self.always {
            // Between the start of a signature and its end the PIN has to be given, which is possible where the token makes the
            // digest, too.
            let mechanism = hashing(public, digest).ok_or_else(kind)?;
            session.sign_init(&mechanism, self.handle)?;
            login(session, UserType::ContextSpecific, self.token.pin.as_ref(), true)?;
            session.sign_update(module)?;
            session.sign_final()?
        } else {
            let mechanism = if matches!(public, Key::Rsa(_)) { Mechanism::RsaPkcs } else { Mechanism::Ecdsa };
            session.sign(&mechanism, self.handle, &input)?
        };
        let signature = public.token_signature(answer);
        match ferrmod_signature::message(certificate, digest, &hash, &signature, name_by) {
            Err(SignError::Mismatch(subject)) => Err(SignError::OtherKey(subject).into()),
            message => Ok(message?),
        }
    }
}

/// The mechanism by which the token makes the digest, too.
fn hashing(key: &Key, digest: Digest) -> Option<Mechanism<'static>> {
    Some(match (key, digest) {
        (Key::Rsa(_), Digest::Sha1) => Mechanism::Sha1RsaPkcs,
        (Key::Rsa(_), Digest::Sha224) => Mechanism::Sha224RsaPkcs,
        (Key::Rsa(_), Digest::Sha256) => Mechanism::Sha256RsaPkcs,
        (Key::Rsa(_), Digest::Sha384) => Mechanism::Sha384RsaPkcs,
        (Key::Rsa(_), Digest::Sha512) => Mechanism::Sha512RsaPkcs,
        (Key::P256(_) | Key::P384(_), Digest::Sha1) => Mechanism::EcdsaSha1,
        (Key::P256(_) | Key::P384(_), Digest::Sha224) => Mechanism::EcdsaSha224,
        (Key::P256(_) | Key::P384(_), Digest::Sha256) => Mechanism::EcdsaSha256,
        (Key::P256(_) | Key::P384(_), Digest::Sha384) => Mechanism::EcdsaSha384,
        (Key::P256(_) | Key::P384(_), Digest::Sha512) => Mechanism::EcdsaSha512,
        _ => return None,
    })
}

/// Logs in once: a token counts wrong PINs and locks itself. `by_itself`: the PIN may be typed at the token.
fn login(session: &Session, user: UserType, pin: Option<&AuthPin>, by_itself: bool) -> Result<(), TokenError> {
    if pin.is_none() && !by_itself {
        return Err(TokenError::NoPin);
    }
    match session.login(user, pin) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, Function::Login)) => Ok(()),
        Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
            Err(TokenError::Pin("it is wrong. It was tried once; a token that is told wrong PINs locks itself"))
        }
        Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(TokenError::Pin("it is locked after too many wrong ones")),
        Err(error) => Err(error.into()),
    }
}

/// The one token that the URI names.
fn find(library: &Pkcs11, uri: &Uri) -> Result<(Slot, TokenInfo), TokenError> {
    let mut all = Vec::new();
    for slot in library.get_slots_with_token()? {
        match library.get_token_info(slot) {
            Ok(info) => all.push((slot, info)),
            // It was taken out meanwhile.
            Err(Error::Pkcs11(RvError::TokenNotPresent, _)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let is = |wanted: &Option<String>, own: &str| wanted.as_deref().is_none_or(|wanted| wanted == own);
    let named = |(slot, info): &(Slot, TokenInfo)| {
        is(&uri.token, info.label())
            && is(&uri.manufacturer, info.manufacturer_id())
            && is(&uri.model, info.model())
            && is(&uri.serial, info.serial_number())
            && uri.slot.is_none_or(|wanted| wanted == slot.id())
    };
    let shown = |tokens: &[(Slot, TokenInfo)]| {
        let one = |(_, info): &(Slot, TokenInfo)| format!("token={};serial={}", info.label(), info.serial_number());
        if tokens.is_empty() { "none".to_owned() } else { tokens.iter().map(one).collect::<Vec<_>>().join(", ") }
    };
    let mut found: Vec<_> = all.iter().filter(|token| token.1.token_initialized() && named(token)).cloned().collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(last), false) => {
            found.push(last);
            Err(TokenError::Token(format!("{} are several tokens; say which by serial=", shown(&found))))
        }
        (None, _) => Err(TokenError::Token(format!("no such token; there is {}", shown(&all)))),
    }
}
