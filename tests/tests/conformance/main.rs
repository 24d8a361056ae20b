//! The kernel against the real one: the loader's answers, its rules, its faults, and what failing memory does to it.

mod allocation;
mod atomic;
mod deadlocks;
mod faults;
mod loader_oracle;
mod memory;
mod mutation;
mod semantics;
mod stage;
mod work;
