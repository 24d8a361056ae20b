//! Hardware and firmware that a machine does not have: every question about it has an answer, and the answer is no.

use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use crate::data::{Begin, Datum};
use crate::device::devres;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab};

layout! {
    mod resource = "resource" { start, end, name, flags, parent }
}

/// `AE_OK`, `AE_NOT_FOUND`
const ACPI_OK: u32 = 0;
const ACPI_NOT_FOUND: u32 = 5;

macro_rules! flags {
    ($($ident:ident $name:literal $size:literal),* $(,)?) => {
        $(static $ident: Datum = Datum::new($name, $size, Begin::Zero);)*
        /// The variables of this file: everything about this hardware is zero.
        pub(crate) static VARIABLES: &[&Datum] = &[$(&$ident,)* &PORTS, &MEMORY, &DIES];
    };
}

flags! {
    XEN_START "xen_start_flags" 4, EFI "efi" 1024,
    EDAC_STATE "edac_op_state" 4, PCI_PROBLEMS "pci_pci_problems" 4, ISA_BRIDGE "isa_dma_bridge_buggy" 4,
    FOREGROUND "fg_console" 4, EDD "edd" 4096, IBFT "ibft_phys_addr" 8,
    SCREEN "screen_info" 64, TUNNELS "sysctl_fb_tunnels_only_for_init_net" 4, DEVCONF "sysctl_devconf_inherit_init_net" 4,
    UDP_NIC "udp_tunnel_nic_ops" 8, ETHTOOL "ethtool_phy_ops" 8, IPTUN "iptun_encaps" 64, IP6TUN "ip6tun_encaps" 64,
    DEFRAGMENT4 "nf_defrag_v4_hook" 8, DEFRAGMENT6 "nf_defrag_v6_hook" 8, PHY_STUBS "phylib_stubs" 8,
    BRIDGE_TEST "br_fdb_test_addr_hook" 8, RESET_DEVICES "reset_devices" 4, MULTIHIT "itlb_multihit_kvm_mitigation" 1, RTC_LOCK "rtc_lock" 8,
    PCI_SLOTS "pci_slots_kset" 8, POISON "hwpoison_filter_enable" 4, POISON_MAJOR "hwpoison_filter_dev_major" 4,
    POISON_MINOR "hwpoison_filter_dev_minor" 4, POISON_MASK "hwpoison_filter_flags_mask" 8, POISON_VALUE "hwpoison_filter_flags_value" 8,
    POISON_MEMCG "hwpoison_filter_memcg" 8, USERS "init_user_ns" 1024, ACPI_ROOT "acpi_root_dir" 8, ANY6 "in6addr_any" 16,
    HYPERV "ms_hyperv" 128, APPLE "acpi_video_backlight_string" 16, FRAGMENTED "tcf_frag_xmit_count" 16,
}

/// The two trees of addresses.
static PORTS: Datum = Datum::new("ioport_resource", 128, Begin::With(|at| begin_tree(at, c"PCI IO", 0xffff, 0x100)));
static MEMORY: Datum =
    Datum::new("iomem_resource", 128, Begin::With(|at| begin_tree(at, c"PCI mem", (1 << 52) - 1, 0x200)));

/// `__max_die_per_package`: a package has one die.
static DIES: Datum = Datum::new(
    "__max_die_per_package",
    4,
    // SAFETY: `data::place` gives four writable bytes.
    Begin::With(|at| unsafe { ram::put(at, 1_u32) }),
);

/// `ioport_resource`
pub(crate) fn ports() -> u64 {
    PORTS.address()
}
/// `iomem_resource`
pub(crate) fn memory() -> u64 {
    MEMORY.address()
}

fn begin_tree(at: u64, name: &'static core::ffi::CStr, end: u64, flags: u64) {
    // SAFETY: `data::place` gives 128 writable bytes of zeros, more than the struct has.
    unsafe {
        resource::name.set(at, name.as_ptr() as u64);
        resource::end.set(at, end);
        resource::flags.set(at, flags);
    }
}

/// Regions that are taken: tree, first and last address, the `struct resource`.
static REGIONS: Lock<Vec<(u64, u64, u64, u64)>> = Lock::new(Vec::new());

/// Takes a range of a tree for whoever called from `caller`: its `struct resource`, or 0 when it is taken already.
pub(crate) fn take(tree: u64, start: u64, length: u64, name: u64, flags: u64, caller: u64) -> u64 {
    let Some(end) = start.checked_add(length.wrapping_sub(1)).filter(|_| length > 0) else { return 0 };
    let is_taken = REGIONS.lock().iter().any(|&(other, first, last, _)| other == tree && first <= end && start <= last);
    if is_taken {
        return 0;
    }
    let made = slab::allocate(resource::SIZE.get(), 8, slab::ZERO, caller);
    if made == 0 {
        return 0;
    }
    /// `IORESOURCE_BUSY`
    const BUSY: u64 = 0x8000_0000;
    // SAFETY: a zeroed block of the struct's size, the tree, and the module's C string.
    let text = unsafe {
        resource::start.set(made, start);
        resource::end.set(made, end);
        resource::name.set(made, name);
        resource::flags.set(made, resource::flags.get::<u64>(tree) | BUSY | flags);
        resource::parent.set(made, tree);
        ram::c_string_or_empty(name)
    };
    REGIONS.lock().push((tree, start, end, made));
    // The resource is new.
    let _ = kernel().registrations.add("resource", made, text, kernel().owner_of(caller));
    made
}

/// `struct resource *__request_region(struct resource *, resource_size_t, resource_size_t, const char *, int)`
extern "C" fn __request_region(tree: u64, start: u64, length: u64, name: u64, flags: i32) -> u64 {
    take(tree, start, length, name, flags as u64, ram::caller())
}
/// `void __release_region(struct resource *, resource_size_t, resource_size_t)`
extern "C" fn __release_region(tree: u64, start: u64, length: u64) {
    if !give(tree, start, length) {
        let end = start.wrapping_add(length).wrapping_sub(1);
        let text = alloc::format!("\x014Trying to free nonexistent resource <{start:#018x}-{end:#018x}>\n");
        kernel().printk(text.as_bytes());
    }
}
/// Gives a range back; whether it was taken.
pub(crate) fn give(tree: u64, start: u64, length: u64) -> bool {
    let end = start.wrapping_add(length).wrapping_sub(1);
    let found = {
        let mut regions = REGIONS.lock();
        let place = regions.iter().position(|&(other, first, last, _)| (other, first, last) == (tree, start, end));
        place.map(|place| regions.remove(place).3)
    };
    if let Some(made) = found {
        kernel().registrations.remove("resource", made);
        slab::release(made, 0);
    }
    found.is_some()
}
/// `struct resource *__devm_request_region(struct device *, struct resource *, resource_size_t, resource_size_t, const char *)`
extern "C" fn __devm_request_region(dev: u64, tree: u64, start: u64, length: u64, name: u64) -> u64 {
    let made = take(tree, start, length, name, 0, ram::caller());
    if made != 0 {
        devres::on_release(dev, move || _ = give(tree, start, length));
    }
    made
}

extern "C" fn no() -> i32 {
    0
}
extern "C" fn nothing() -> u64 {
    0
}
extern "C" fn no_device() -> i32 {
    Errno::ENODEV.to_return()
}
/// `int rdmsrl_safe_on_cpu(unsigned int, u32, u64 *)`: no processor here has model-specific registers that a module may read.
extern "C" fn no_register() -> i32 {
    Errno::EIO.to_return()
}
/// What there is of ACPI is an empty namespace: every walk visits nothing.
extern "C" fn acpi_visits_nothing() -> u32 {
    ACPI_OK
}
extern "C" fn acpi_not_found() -> u32 {
    ACPI_NOT_FOUND
}
/// `int fb_get_options(const char *, char **)`: nothing was said on the command line.
extern "C" fn fb_get_options(_name: u64, option: u64) -> i32 {
    if option != 0 {
        // SAFETY: the module's pointer.
        unsafe { ram::put(option, 0u64) };
    }
    0
}
/// Somebody tells the kernel where functions of his are; nobody here would call them.
extern "C" fn takes_hook() {}
extern "C" fn always() -> bool {
    true
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __request_region, c __release_region, c __devm_request_region, c fb_get_options, k pci_find_next_bus = nothing,
    k acpi_get_devices = acpi_visits_nothing, k acpi_walk_namespace = acpi_visits_nothing, k acpi_get_table = acpi_not_found,
    k acpi_get_handle = acpi_not_found, k acpi_evaluate_object = acpi_not_found, k acpi_evaluate_integer = acpi_not_found,
    k acpi_find_child_device = nothing, k acpi_find_child_by_adr = nothing, k acpi_bus_power_manageable = no,
    k acpi_check_dsm = no, k acpi_evaluate_dsm = nothing, k acpi_get_physical_device_location = acpi_not_found,
    k component_add = no, k component_del = takes_hook, k acpi_dev_present = no, k acpi_dev_found = no, k acpi_dev_get_first_match_dev = nothing, k acpi_has_method = no,
    k acpi_osi_is_win8 = no, k acpi_quirk_skip_acpi_ac_and_battery = no, k acpi_resources_are_enforced = always,
    k acpi_check_region = no, k acpi_check_resource_conflict = no, k acpi_fetch_acpi_dev = nothing, k acpi_put_table = takes_hook,
    k acpi_video_get_backlight_type = no, k __acpi_video_get_backlight_type = no, k acpi_match_device_ids = no_device,
    k acpi_match_device = nothing, k acpi_device_hid = nothing, k wmi_has_guid = no, k x86_match_min_microcode_rev = no,
    k edac_get_owner = nothing, k drm_firmware_drivers_only = no,
    k dev_get_regmap = nothing, k efivar_supports_writes = no, k efivar_is_available = no, k find_font = nothing, k is_uv_system = no,
    k fb_modesetting_disabled = no, k video_firmware_drivers_only = no,
    k ethtool_set_ethtool_phy_ops = takes_hook, k vlan_ioctl_set = takes_hook, k brioctl_set = takes_hook,
    k udp_encap_enable = takes_hook, k udpv6_encap_enable = takes_hook,
    k vga_switcheroo_unregister_handler = takes_hook, k clean_acked_data_flush = takes_hook, k ipv6_mod_enabled = always,
    k mdiobus_setup_mdiodev_from_board_info = no, k cxl_bus_drain = takes_hook, k xfrm_flush_gc = takes_hook,
    k ledtrig_mtd_activity = takes_hook, k ledtrig_disk_activity = takes_hook, k tcf_idrinfo_destroy = takes_hook,
    k register_btf_kfunc_id_set = no, k ghes_get_devices = nothing, k iova_cache_get = no, k iova_cache_put = takes_hook,
    k console_list_lock = takes_hook, k console_list_unlock = takes_hook,
    k cpufreq_get_current_driver = nothing, k kvm_para_available = no, k acpi_dev_for_each_child = no, k ec_read = no_device,
    k acpi_install_address_space_handler = acpi_visits_nothing, k acpi_remove_address_space_handler = acpi_visits_nothing,
    k devm_gpiod_get_optional = nothing, k gpiod_get_optional = nothing, k trace_array_get_by_name = nothing, k efivars_kobject = nothing,
    k l3mdev_table_lookup_register = no, k l3mdev_table_lookup_unregister = takes_hook,
    k nf_register_queue_handler = takes_hook, k nf_unregister_queue_handler = takes_hook, k xfrm_if_register_cb = takes_hook,
    k xfrm_if_unregister_cb = takes_hook, k xfrm_state_flush = no, k device_set_wakeup_capable = takes_hook,
    k device_set_wakeup_enable = no, k device_wakeup_enable = no, k device_wakeup_disable = no,
    k device_init_wakeup = no, k drop_reasons_register_subsys = takes_hook, k drop_reasons_unregister_subsys = takes_hook,
    c cachemode2protval, c check_signature, c rtc_cmos_read, k device_set_of_node_from_dev = takes_hook,
    k acpi_processor_preregister_performance = no_device, k cpufreq_register_driver = no_device, k rdmsrl_safe_on_cpu = no_register, k rdmsr_safe_on_cpu = no_register, k cpufreq_unregister_driver = takes_hook,
];

/// `unsigned long cachemode2protval(enum page_cache_mode)`: the bits of a page-table entry (Intel SDM volume 3, "Programming the
/// PAT"), as Linux has programmed the table.
extern "C" fn cachemode2protval(mode: u32) -> u64 {
    /// `_PAGE_PWT`, `_PAGE_PCD`, `_PAGE_PAT`
    const THROUGH: u64 = 1 << 3;
    const DISABLED: u64 = 1 << 4;
    const TABLE: u64 = 1 << 7;
    match mode {
        // Write-combining, uncached unless an MTRR says else, uncached, write-through, write-protected; write-back is 0.
        1 => THROUGH,
        2 => DISABLED,
        3 => THROUGH | DISABLED,
        4 => TABLE | THROUGH | DISABLED,
        5 => TABLE | THROUGH,
        _ => 0,
    }
}

/// `int check_signature(const volatile void __iomem *, const unsigned char *, int)`
extern "C" fn check_signature(window: u64, wanted: u64, length: i32) -> i32 {
    let length = length.max(0) as u64;
    // SAFETY: the caller's window and bytes.
    i32::from(unsafe { ram::bytes(window, length) == ram::bytes(wanted, length) })
}
/// `unsigned char rtc_cmos_read(unsigned char)`: there is no such chip, and nobody answers.
extern "C" fn rtc_cmos_read() -> u8 {
    0xff
}
