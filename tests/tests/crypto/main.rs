//! The crypto API at work: ciphers, authenticated ciphers, hashes and what templates make of them, in the modules' own code,
//! against crates, specifications' vectors, and themselves.

mod aead;
mod agreement;
mod api;
mod bench;
mod compression;
mod hashes;
mod modes;
