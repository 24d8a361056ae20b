//! Modules, made and real, whole and broken.

mod compress;
mod corpus;
mod exercise;
mod made;
mod modinfo_tool;
mod mutate;
mod structure;
