//! What a configuration means, compared with the real tools.

mod depmod;
mod ere;
mod kmod;
mod modprobe;
mod questions;
mod root;
