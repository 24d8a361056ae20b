//! Kernel images, their type information and the facts made of them: against real kernels and
//! against broken bytes.

mod btf;
mod corpus;
mod facts;
mod hostile;
mod image;
mod peers;
mod synthetic;
