//! The example modules, from source to a machine.

mod files;
mod link;
mod run;
