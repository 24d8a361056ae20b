//! What a newcomer sees: a machine, and example modules written in Rust.

use crate::exit::{Exit, Failure};

/// Runs the demonstration.
pub(crate) fn demo() -> Result<Exit, Failure> {
    Ok(Exit::Clean)
}
