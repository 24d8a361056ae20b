//! The kernel against the real one: the loader's answers, its rules, its faults, and what failing memory does to it.

mod loader_oracle;
mod stage;
