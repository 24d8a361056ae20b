//! Patterns of aliases, which are the same wherever they stand.

pub use ferrmod_image::fnmatch;
