//! What is loaded, told from outside.

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
