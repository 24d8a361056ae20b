//! The structs of network devices.

use crate::field::layout;

layout! {
    pub(crate) mod net_device = "net_device" {
        name, state, dev_list, napi_list, unreg_list, close_list, ptype_all, ptype_specific, adj_upper = "adj_list.upper",
        adj_lower = "adj_list.lower", flags, priv_flags, netdev_ops, ifindex, gflags, hard_header_len, mtu, features,
        hw_features, wanted_features, vlan_features, min_mtu, max_mtu,
        type_ = "type", min_header_len, name_assign_type, group, stats, core_stats, carrier_up_count, carrier_down_count,
        ethtool_ops, header_ops, operstate, link_mode, perm_addr, addr_assign_type, addr_len, upper_level, lower_level,
        dev_id, dev_port, uc, mc, dev_addrs, unlink_list, promiscuity, allmulti, dev_addr,
        rx = "_rx", num_rx_queues, real_num_rx_queues, gro_flush_timeout, gro_max_size, rx_handler,
        broadcast, tx = "_tx", num_tx_queues, real_num_tx_queues, qdisc, tx_queue_len, tx_global_lock, link_watch_list,
        pcpu_refcnt, reg_state, dismantle, needs_free_netdev, priv_destructor, nd_net, pcpu_stat_type, lstats, dev,
        sysfs_groups, rtnl_link_ops, rtnl_link_state, gso_max_size, tso_max_size, gso_max_segs, tso_max_segs,
        net_notifier_list, shadow = "dev_addr_shadow",
    }
    pub(crate) mod net_device_ops = "net_device_ops" {
        ndo_init, ndo_uninit, ndo_open, ndo_stop, ndo_start_xmit, ndo_select_queue, ndo_change_rx_flags,
        ndo_set_rx_mode, ndo_set_mac_address, ndo_validate_addr, ndo_change_mtu, ndo_get_stats64, ndo_get_stats,
        ndo_get_iflink, ndo_change_carrier, ndo_set_features, ndo_fix_features,
    }
    pub(crate) mod netdev_queue = "netdev_queue" {
        dev, qdisc, qdisc_sleeping, trans_timeout, lock = "_xmit_lock", xmit_lock_owner, trans_start, state,
    }
    pub(crate) mod rx_queue = "netdev_rx_queue" { dev }
    pub(crate) mod net_fields = "net" { dev_base_head, ifindex, loopback_dev, netdev_chain }
}
