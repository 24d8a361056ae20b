//! What is loaded, told from outside.

use std::cell::RefCell;
use std::collections::BTreeSet;

use bstr::{BStr, BString};

/// What the kernel says about the module of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveState {
    /// Nothing.
    Absent,
    /// It works.
    Live,
    /// It is being loaded.
    Coming,
    /// It is being taken out.
    Going,
    /// It is known but does not say in which state it is: built in, or just about to be loaded.
    Unsaid,
}

/// What is loaded. Names have `_`.
pub trait Live {
    /// The state of a module.
    fn state(&self, name: &BStr) -> LiveState;

    /// How many uses it has; `None` when nobody says.
    fn references(&self, name: &BStr) -> Option<i64>;

    /// The modules that use it.
    fn holders(&self, name: &BStr) -> Vec<BString>;
}

/// A kernel with nothing loaded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

impl Live for Nothing {
    fn state(&self, _: &BStr) -> LiveState {
        LiveState::Absent
    }

    fn references(&self, _: &BStr) -> Option<i64> {
        None
    }

    fn holders(&self, _: &BStr) -> Vec<BString> {
        Vec::new()
    }
}

/// A kernel as it would be without some of its modules.
pub struct Without<'l> {
    live: &'l dyn Live,
    gone: RefCell<BTreeSet<BString>>,
}

impl<'l> Without<'l> {
    /// All modules are still there.
    #[must_use]
    pub fn new(live: &'l dyn Live) -> Self {
        Self { live, gone: RefCell::default() }
    }

    /// From now on this module is not there, and uses no other.
    pub fn remove(&self, name: &BStr) {
        self.gone.borrow_mut().insert(name.into());
    }

    fn is_gone(&self, name: &BStr) -> bool {
        self.gone.borrow().contains(&BString::from(name))
    }
}

impl Live for Without<'_> {
    fn state(&self, name: &BStr) -> LiveState {
        if self.is_gone(name) { LiveState::Absent } else { self.live.state(name) }
    }

    fn references(&self, name: &BStr) -> Option<i64> {
        // A holder has one use, however many symbols it imports.
        let holders = self.live.holders(name);
        let given_back = holders.iter().filter(|holder| self.is_gone(holder.as_ref())).count();
        Some(self.live.references(name)? - i64::try_from(given_back).ok()?)
    }

    fn holders(&self, name: &BStr) -> Vec<BString> {
        let mut holders = self.live.holders(name);
        holders.retain(|holder| !self.is_gone(holder.as_ref()));
        holders
    }
}
