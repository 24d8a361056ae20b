//! Trees, made and real.

mod corpus;
mod depmod;
mod elf;
mod fnmatch;
mod scratch;
mod tree;
