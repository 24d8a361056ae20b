//! What an alias is for: a device of a bus, or something that the kernel itself asks for.

/// Buses whose names are no plain words.
const ODD_BUSES: [&[u8]; 1] = [b"fsl-mc"];

/// Whether a pattern is one that devices ask for (`pci:v*`, `acpi*:PNP0A08:*`): the name of a bus, and a colon.
///
/// The kernel's own requests have none, apart from the functions of USB gadgets and from sets of addresses (`ip_set_hash:ip`), whose
/// first part is no name of a bus.
#[must_use]
pub fn is_device_alias(pattern: &[u8]) -> bool {
    let Some(colon) = pattern.iter().position(|&byte| byte == b':') else { return false };
    let bus = pattern.get(..colon).unwrap_or_default();
    let bus = bus.strip_suffix(b"*").unwrap_or(bus);
    let normal: Vec<u8> = bus.iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).collect();
    let plain = !bus.is_empty() && bus.iter().all(u8::is_ascii_alphanumeric);
    (plain && !matches!(bus, b"symbol" | b"devname" | b"usbfunc")) || ODD_BUSES.contains(&&normal[..])
}

/// A kind of names that the kernel asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Group {
    /// How such names look: `fs-*`.
    pub pattern: &'static str,
    /// When the kernel asks for one.
    pub when: &'static str,
}

/// Names that are of no group.
const OTHER: Group = Group { pattern: "other names", when: "the kernel or a program asks for the name" };

const fn of(pattern: &'static str, when: &'static str) -> Group {
    Group { pattern, when }
}

/// What the callers of Linux's `request_module` ask for.
const GROUPS: [Group; 35] = [
    of("act_*", "a traffic-control action of this kind is set"),
    of("arpt_*", "a netfilter rule with it is set"),
    of("binfmt-*", "a program of this format is run"),
    of("block-major-*", "a block device node of this number is opened"),
    of("can-proto-*", "a CAN socket of this protocol is opened"),
    of("char-major-*", "a character device node of this number is opened"),
    of("cls_*", "a traffic-control filter of this kind is set"),
    of("cpufreq_*", "a governor of this name is chosen"),
    of("crypto-*", "a cipher or hash of this name is asked for, also by programs through AF_ALG"),
    of("dm-*", "a device-mapper target of this type is made"),
    of("ebt_*", "a bridge rule with it is set"),
    of("fs-*", "a file system of this type is mounted"),
    of("ip6t_*", "a netfilter rule with it is set"),
    of("ip_set_*", "a set of this type is made"),
    of("ipt_*", "a netfilter rule with it is set"),
    of("md-*", "an array of this level is assembled"),
    of("net-pf-*", "a socket of this family is opened"),
    of("netdev-*", "a network interface of this name is asked for"),
    of("nf-*", "netfilter asks for it"),
    of("nfct-helper-*", "a connection-tracking helper of this name is asked for"),
    of("nfnetlink-subsys-*", "a program speaks to this part of netfilter"),
    of("nft-*", "an nftables rule with it is set"),
    of("nls_*", "a file system with this character set is mounted"),
    of("rdma-netlink-subsys-*", "a program speaks to this part of RDMA"),
    of("rtnl-link-*", "a network link of this kind is made"),
    of("sch_*", "a traffic-control queue of this kind is set"),
    of("snd-*", "a sound device of this number is opened"),
    of("sound-*", "a sound device of this number is opened"),
    of("symbol:*", "a driver without a dependency on it asks for something that it exports (symbol_request)"),
    of("tcp_*", "a socket asks for this congestion control"),
    of("tty-ldisc-*", "a terminal is switched to this line discipline"),
    of("usbfunc:*", "a USB gadget with this function is made"),
    of("x_tables*", "a netfilter rule is set"),
    of("xfrm-*", "an IPsec transformation of this kind is asked for"),
    of("xt_*", "a netfilter rule with it is set"),
];

/// The group of a name that is no device's, `-` and `_` being the same.
#[must_use]
pub fn group(alias: &[u8]) -> Group {
    let same = |a: u8, b: u8| a == b || (matches!(a, b'-' | b'_') && matches!(b, b'-' | b'_'));
    let begins = |group: &&Group| {
        let begin = group.pattern.trim_end_matches('*').as_bytes();
        alias.len() >= begin.len() && begin.iter().zip(alias).all(|(&a, &b)| same(a, b))
    };
    // Of several the most exact one: `nfct-helper-*` and not `nf-*`.
    GROUPS.iter().filter(begins).max_by_key(|group| group.pattern.len()).copied().unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_a_bus() {
        for alias in [
            "pci:v00008086d*",
            "acpi*:PNP0A08:*",
            "of:N*T*Cbrcm",
            "usb:v1d6b",
            "dmi*:bvn*",
            "fsl_mc:v",
            "cpu:type:x86,*",
        ] {
            assert!(is_device_alias(alias.as_bytes()), "{alias}");
        }
        for alias in
            ["fs-ext4", "ip_set_hash:ip", "symbol:crc7_be", "devname:fuse", "net-pf-16-proto-16", ":x", "crypto-aes"]
        {
            assert!(!is_device_alias(alias.as_bytes()), "{alias}");
        }
    }

    #[test]
    fn the_longest_beginning_names_the_group() {
        assert_eq!(group(b"fs_ext4").pattern, "fs-*");
        assert_eq!(group(b"nfct-helper-ftp").pattern, "nfct-helper-*");
        assert_eq!(group(b"net_pf_16_proto_16").pattern, "net-pf-*");
        assert_eq!(group(b"ip_set_hash:ip").pattern, "ip_set_*");
        assert_eq!(group(b"ext3"), OTHER);
        assert!(GROUPS.iter().all(|one| group(one.pattern.trim_end_matches('*').as_bytes()) == *one));
    }
}
