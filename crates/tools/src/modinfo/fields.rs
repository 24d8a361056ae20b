//! Fields as text.

use bstr::{BStr, BString, ByteSlice};
use ferrmod_signature::Summary;

use super::read::signature_fields;
use crate::report::Level;
use crate::session::Session;

/// The fields that come from the signature.
pub(super) const SIGNATURE: [&[u8]; 5] = [b"sig_id", b"signer", b"sig_key", b"sig_hashalgo", b"signature"];

/// How fields are printed.
pub(super) struct Fields<'a> {
    /// The only one that is wanted.
    pub(super) field: Option<&'a [u8]>,
    /// What ends each.
    pub(super) end: u8,
}

/// A parameter of a module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: BString,
    pub(super) description: Option<BString>,
    pub(super) kind: Option<BString>,
}

/// Key and value of a string; a string without `=` is a key.
pub(super) fn split(string: &[u8]) -> (&[u8], &[u8]) {
    string.split_once_str("=").unwrap_or((string, b""))
}

/// Collects the parameters, in order of first appearance.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    pub(super) list: Vec<Parameter>,
}

impl Parameters {
    /// Takes a string of `.modinfo` if it is about a parameter.
    ///
    /// # Errors
    /// It is, and has no name.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<bool, ()> {
        let is_type = match key {
            b"parm" => false,
            b"parmtype" => true,
            _ => return Ok(false),
        };
        let (name, text) = value.split_once_str(":").ok_or(())?;
        let at = self.list.iter().position(|parameter| parameter.name == name).unwrap_or_else(|| {
            self.list.push(Parameter { name: name.into(), ..Parameter::default() });
            self.list.len() - 1
        });
        if let Some(parameter) = self.list.get_mut(at) {
            *(if is_type { &mut parameter.kind } else { &mut parameter.description }) = Some(text.into());
        }
        Ok(true)
    }
}

impl Fields<'_> {
    /// Prints a module's fields, in kmod's order: strings, signature, parameters (the last one first).
    pub(super) fn print<'s>(
        &self,
        session: &mut Session,
        strings: impl Iterator<Item = &'s [u8]>,
        summary: Option<&Summary<'_>>,
    ) {
        let wants_parameters = self.field.is_none_or(|field| field == b"parm");
        let mut parameters = Parameters::default();
        for string in strings {
            let (key, value) = split(string);
            if wants_parameters {
                match parameters.take(key, value) {
                    Ok(false) => {}
                    Ok(true) => continue,
                    Err(()) => {
                        let text = [b"Found invalid \"", string, b"\": missing ':'"].concat();
                        session.log.bytes(Level::Error, &text);
                        continue;
                    }
                }
            }
            self.line(session, key, value);
        }
        for (key, value) in summary.map(signature_fields).into_iter().flatten() {
            // A message that names its signer by the key has no signer's name.
            if key != b"signer" || summary.is_some_and(|summary| summary.signer.is_some()) {
                self.line(session, key, &value);
            }
        }
        for parameter in parameters.list.iter().rev() {
            self.parameter(session, parameter);
        }
    }

    fn line(&self, session: &mut Session, key: &[u8], value: &[u8]) {
        const COLUMN: &[u8; 16] = b"                ";
        match (self.field, self.end) {
            (Some(field), _) if field != key => {}
            (Some(_), _) => session.out.put(&[value, &[self.end]]),
            (None, 0) => session.out.put(&[key, b"=", value, b"\0"]),
            (None, _) => {
                let padding = COLUMN.get(key.len() + 1..).unwrap_or_default();
                session.out.put(&[key, b":", padding, value, &[self.end]]);
            }
        }
    }

    fn parameter(&self, session: &mut Session, parameter: &Parameter) {
        let head: &[u8] = if self.field.is_none() { b"parm:           " } else { b"" };
        let text = |text: &Option<BString>| text.clone().unwrap_or_default();
        let (description, kind) = (text(&parameter.description), text(&parameter.kind));
        let (name, end) = (BStr::new(&parameter.name), &[self.end][..]);
        match (&parameter.description, &parameter.kind) {
            (None, Some(_)) if self.field.is_none() => session.out.put(&[head, name, b":", &kind, end]),
            (_, Some(_)) => {
                session.out.put(&[head, name, b":", &description, b" (", &kind, b")", end]);
            }
            (_, None) => session.out.put(&[head, name, b":", &description, end]),
        }
    }
}
