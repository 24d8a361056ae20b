//! Whether a module can be loaded, by which paths, and what blocks each: on made systems, and compared with kmod's modprobe.

mod ground;
mod modprobe;
mod paths;
mod reach;
