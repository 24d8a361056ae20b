//! Checks against the real thing: Debian's modules on Debian's kernels, and what stock Linux answered to broken ones.

mod ground;
mod made;
mod recording;
mod trees;
