//! What is registered, of which kind, by whom: the kernel's memory of promises to undo.
//!
//! Each subsystem keeps its own table of what it can use; this one list says, for every kind alike, what a module has brought
//! and not yet taken back, so that an unload can tell what was left behind.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bstr::BString;

use crate::heap::Owner;
use crate::lock::Lock;
use crate::text::Errno;

/// The kind of a registration, in the field's own words: `"nls"`, `"crypto_alg"`, `"misc"`.
pub type Kind = &'static str;

/// One registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// What it is.
    pub kind: Kind,
    /// What tells it from others of its kind: the address of the registered object, or a number.
    pub key: u64,
    /// Its name.
    pub name: BString,
    /// Whose it is.
    pub owner: Owner,
}

/// All registrations of a kernel.
#[derive(Debug, Default)]
pub struct Registrations(Lock<BTreeMap<(Kind, u64), (BString, Owner)>>);

fn registration((&(kind, key), (name, owner)): (&(Kind, u64), &(BString, Owner))) -> Registration {
    Registration { kind, key, name: name.clone(), owner: *owner }
}

impl Registrations {
    /// Adds one.
    ///
    /// # Errors
    /// `EEXIST` when the same object is registered already.
    pub fn add(&self, kind: Kind, key: u64, name: impl Into<BString>, owner: Owner) -> Result<(), Errno> {
        let mut map = self.0.lock();
        if map.contains_key(&(kind, key)) {
            return Err(Errno::EEXIST);
        }
        map.insert((kind, key), (name.into(), owner));
        Ok(())
    }

    /// Takes one back.
    pub fn remove(&self, kind: Kind, key: u64) -> Option<Registration> {
        let (name, owner) = self.0.lock().remove(&(kind, key))?;
        Some(Registration { kind, key, name, owner })
    }

    /// The one with this key.
    pub fn get(&self, kind: Kind, key: u64) -> Option<Registration> {
        let (name, owner) = self.0.lock().get(&(kind, key))?.clone();
        Some(Registration { kind, key, name, owner })
    }

    /// The first of a kind with this name.
    pub fn named(&self, kind: Kind, name: &[u8]) -> Option<Registration> {
        let map = self.0.lock();
        let found = map.range((kind, 0)..=(kind, u64::MAX)).find(|(_, (other, _))| other == name);
        found.map(registration)
    }

    /// All of one kind, by key.
    pub fn of_kind(&self, kind: Kind) -> Vec<Registration> {
        let map = self.0.lock();
        let all = map.range((kind, 0)..=(kind, u64::MAX));
        all.map(registration).collect()
    }

    /// All of one owner.
    pub fn of_owner(&self, owner: Owner) -> Vec<Registration> {
        self.list(|other| other == owner)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Registration> {
        self.list(|_| true)
    }

    fn list(&self, wanted: impl Fn(Owner) -> bool) -> Vec<Registration> {
        self.0.lock().iter().filter(|(_, (_, owner))| wanted(*owner)).map(registration).collect()
    }
}
