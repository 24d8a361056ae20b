//! Where parts of the network stack leave a pointer to their functions for the others (`include/linux/netfilter.h`,
//! `include/linux/netfilter_ipv6.h`, `include/linux/netfilter_bridge.h`).
//!
//! Each is null until a module puts something there; who looks there does without it then. Nothing in this kernel looks itself.

use crate::data::{Begin, Datum};

macro_rules! pointers {
    ($($ident:ident $name:literal)*) => {
        $(static $ident: Datum = Datum::new($name, 8, Begin::Zero);)*
        /// The variables of this file.
        pub(crate) static VARIABLES: &[&Datum] = &[$(&$ident),*, &DEFAULT_ZONE];
    };
}

pointers! {
    CONNECTION_TRACKING "nf_ct_hook"
    CONNECTION_TRACKING_NETLINK "nfnl_ct_hook"
    TRANSLATION "nf_nat_hook"
    IPV6 "nf_ipv6_ops"
    BRIDGE "nf_br_ops"
}

/// The zone of connections that nobody has put into one: a number, flags and a direction.
static DEFAULT_ZONE: Datum = Datum::new("nf_ct_zone_dflt", 4, Begin::Image);
