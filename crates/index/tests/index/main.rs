//! Trees, made and real.

mod corpus;
mod fnmatch;
mod scratch;
mod tree;
