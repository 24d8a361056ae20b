//! What `modprobe` does with a name, as values: kmod's order of look-up, what is loaded around a module, what is removed with it.
//!
//! [`Modules`] knows a tree by what depmod wrote about it and the administrator's configuration. [`Modules::look_up`] says which
//! modules a name stands for and who says so; [`Modules::probe`] says which steps load a module, each with its reason
//! and the line that decided; [`Modules::removal`] the same for taking one out. Nothing is done here and no kernel is known: what
//! is loaded comes in through [`Live`].
//!
//! The order of look-up is kmod's, and ends with the first source that knows the name:
//!
//! 1. `alias` lines of the configuration, all that match;
//! 2. `modules.dep`, the names of modules (not asked for a name with a `:`);
//! 3. `modules.symbols`, for names that begin with `symbol:`;
//! 4. `install` and `remove` lines of exactly this name;
//! 5. `modules.alias`, all patterns that match;
//! 6. `modules.builtin`, the names of what the kernel has built in;
//! 7. `modules.builtin.alias`, their aliases.
//!
//! Only what a look-up reaches is opened.

mod indexes;
mod live;
mod look_up;
mod module;
mod probe;
mod remove;

pub use indexes::{IndexProblem, Indexes, Table};
pub use live::{Live, LiveState, Nothing, Without};
pub use look_up::{Modules, Paths, name_of_path};
pub use module::{File, How, Module};
pub use probe::{Action, Asked, Forbidden, Missing, Probe, Reason, State, Step, Terms};
pub use remove::{Kept, RemovalEnd, RemovalTerms, Remove, RemoveAction, RemoveReason, Remover};
