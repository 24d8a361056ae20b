//! Who the firmware and the machine's owner trust with modules, and whom they forbid: the variables of Secure Boot and of shim.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use ferrmod_linux::{Variable, variables};
use ferrmod_signature::Keyring;

use crate::exit::Failure;

/// Which variables are looked at.
#[derive(Debug, Clone, Default, Args)]
pub struct Firmware {
    /// Trust the certificates in the variables db and MokListRT of this folder, and refuse what is in dbx and MokListXRT: efivarfs
    /// (/sys/firmware/efi/efivars), or dumps of those names (db, db.esl, MokListRT, …).
    #[arg(long, value_name = "DIR")]
    pub efivars: Vec<PathBuf>,
    /// Trust the certificates in these EFI signature lists: a file of efivarfs (db, MokListRT) or a dump of one.
    #[arg(long, value_name = "FILE")]
    pub db: Vec<PathBuf>,
    /// Refuse the certificates and files named in these EFI signature lists (dbx).
    #[arg(long, value_name = "FILE")]
    pub dbx: Vec<PathBuf>,
}

fn content(path: &std::path::Path, reason: impl ToString) -> Failure {
    Failure::Content { path: path.display().to_string(), reason: reason.to_string() }
}

impl Firmware {
    /// Whether somebody is trusted by it.
    pub(crate) fn is_asked(&self) -> bool {
        !self.efivars.is_empty() || !self.db.is_empty()
    }

    /// Adds what it trusts and what it forbids.
    ///
    /// # Errors
    /// [`Failure`] names the file and what is wrong with it; also a folder without any of the variables.
    pub(crate) fn add_to(&self, keyring: &mut Keyring) -> Result<(), Failure> {
        self.revoke(keyring)?;
        for folder in &self.efivars {
            for (variable, path, bytes) in read(folder)? {
                let origin = match variable {
                    Variable::Db => "the firmware's db",
                    Variable::MokList => "the machine owner's keys (MOK)",
                    Variable::Dbx | Variable::MokListX | Variable::SecureBoot => continue,
                };
                keyring.add_efi(&bytes, origin).map_err(|error| content(&path, error))?;
            }
        }
        for path in &self.db {
            let bytes = fs::read(path).map_err(|error| content(path, error))?;
            keyring.add_efi(&bytes, &path.display().to_string()).map_err(|error| content(path, error))?;
        }
        Ok(())
    }

    /// Adds what it forbids.
    ///
    /// # Errors
    /// As [`Firmware::add_to`].
    pub(crate) fn revoke(&self, keyring: &mut Keyring) -> Result<(), Failure> {
        for folder in &self.efivars {
            for (variable, path, bytes) in read(folder)? {
                if matches!(variable, Variable::Dbx | Variable::MokListX) {
                    keyring.revoke_efi(&bytes).map_err(|error| content(&path, error))?;
                }
            }
        }
        for path in &self.dbx {
            let bytes = fs::read(path).map_err(|error| content(path, error))?;
            keyring.revoke_efi(&bytes).map_err(|error| content(path, error))?;
        }
        Ok(())
    }

    /// Whether its variables say that Secure Boot is on; `None` when they do not say.
    ///
    /// # Errors
    /// As [`Firmware::add_to`].
    pub(crate) fn secure_boot(&self) -> Result<Option<PathBuf>, Failure> {
        for folder in &self.efivars {
            for (variable, path, bytes) in read(folder)? {
                // UEFI 2.10, 3.3: one byte, behind the attributes that efivarfs puts in front.
                if variable == Variable::SecureBoot && bytes.last() == Some(&1) {
                    return Ok(Some(path));
                }
            }
        }
        Ok(None)
    }
}

/// The variables of a folder; there has to be one.
fn read(folder: &std::path::Path) -> Result<Vec<(Variable, PathBuf, Vec<u8>)>, Failure> {
    let found = variables(folder).map_err(|error| content(folder, error))?;
    if found.is_empty() {
        return Err(content(folder, "none of the variables db, dbx, MokListRT, MokListXRT, SecureBoot is in it"));
    }
    Ok(found)
}
