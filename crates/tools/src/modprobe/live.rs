//! The running kernel, as planning sees it.

use bstr::{BStr, BString};
use ferrmod_linux::{InitState, Kernel, State};
use ferrmod_plan::kmod::{Live, LiveState};

/// What sysfs says now.
pub(super) struct Running<'c>(pub(super) &'c Kernel);

impl Live for Running<'_> {
    fn state(&self, name: &BStr) -> LiveState {
        let state = self.0.module(name).and_then(|module| module.state());
        match state {
            Ok(State::Absent) | Err(_) => LiveState::Absent,
            Ok(State::Folder) => LiveState::Unsaid,
            Ok(State::Module(InitState::Live)) => LiveState::Live,
            Ok(State::Module(InitState::Coming)) => LiveState::Coming,
            Ok(State::Module(InitState::Going)) => LiveState::Going,
        }
    }

    fn references(&self, name: &BStr) -> Option<i64> {
        self.0.module(name).and_then(|module| module.references()).ok()
    }

    fn holders(&self, name: &BStr) -> Vec<BString> {
        self.0.module(name).and_then(|module| module.holders()).unwrap_or_default()
    }
}
