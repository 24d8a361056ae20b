//! Networking: the one namespace, and what modules register with it.

pub(crate) mod allocate;
pub(crate) mod attributes;
pub(crate) mod devices;
pub(crate) mod ethtool;
pub(crate) mod fragments;
pub(crate) mod hooks;
pub(crate) mod messages;
pub(crate) mod namespace;
pub(crate) mod netlink;
pub(crate) mod packets;
pub(crate) mod schedule;
pub(crate) mod sk_buff;
pub(crate) mod sockets;

pub(crate) use namespace::init_net;
