//! Machines from outside: what runs in them, what faults, what they cannot do.

mod common;
mod facts_cache;
mod faults;
mod module_faults;
mod modules;
mod walls;
