//! Networking: the one namespace, and what modules register with it.

pub(crate) mod addresses;
pub(crate) mod allocate;
pub(crate) mod attributes;
pub(crate) mod choices;
pub(crate) mod devices;
pub(crate) mod ethernet;
pub(crate) mod ethtool;
pub(crate) mod events;
pub(crate) mod flows;
pub(crate) mod fragments;
pub(crate) mod hooks;
pub(crate) mod inet;
pub(crate) mod layout;
pub(crate) mod links;
pub(crate) mod loggers;
pub(crate) mod messages;
pub(crate) mod names;
pub(crate) mod namespace;
pub(crate) mod netlink;
pub(crate) mod packets;
pub(crate) mod polling;
pub(crate) mod rtnl;
pub(crate) mod schedule;
pub(crate) mod served;
pub(crate) mod show;
pub(crate) mod sk_buff;
pub(crate) mod sockets;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod transmit;

pub(crate) use namespace::init_net;
