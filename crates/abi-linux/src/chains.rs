//! Notifier chains of single subsystems: who wants to hear of their events. In a machine none of these happen by themselves.

use ferrmod_kernel::{Errno, kernel};

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::{notifiers, ram};

fn register(head: u64, block: u64, kind: &'static str, caller: u64) -> i32 {
    match notifiers::register(head, block, false) {
        Ok(()) => {
            let name = kernel().symbolise(block);
            // It was not in the chain, so it is not registered.
            let _ = kernel().registrations.add(kind, block, name, kernel().owner_of(caller));
            0
        }
        Err(errno) => errno.to_return(),
    }
}

fn unregister(head: u64, block: u64, kind: &'static str) -> i32 {
    kernel().registrations.remove(kind, block);
    Errno::returned(notifiers::unregister(head, block))
}

macro_rules! chains {
    ($($chain:ident $name:literal [$first:ident] $register:ident $unregister:ident;)*) => {
        $(
            pub(crate) static $chain: Datum = Datum::new($name, 64, Begin::Zero);
            extern "C" fn $register(first: u64, second: u64) -> i32 {
                let caller = ram::caller();
                let _ = (first, second);
                register($chain.address(), chains!(@pick $first first second), $name, caller)
            }
            extern "C" fn $unregister(first: u64, second: u64) -> i32 {
                let _ = (first, second);
                unregister($chain.address(), chains!(@pick $first first second), $name)
            }
        )*
        /// The variables of this file: the heads of the chains.
        pub(crate) static VARIABLES: &[&Datum] = &[$(&$chain),*];
        /// The functions of this file.
        pub(crate) static EXPORTS: &[Export] = exports![
            $(c $register, c $unregister,)* c __unregister_nexthop_notifier = unregister_nexthop_notifier
        ];
    };
    (@pick block $first:ident $second:ident) => { $first };
    (@pick space $first:ident $second:ident) => { $second };
}

chains! {
    NETLINK "netlink_chain" [block] netlink_register_notifier netlink_unregister_notifier;
    INETADDR "inetaddr_chain" [block] register_inetaddr_notifier unregister_inetaddr_notifier;
    INET6ADDR "inet6addr_chain" [block] register_inet6addr_notifier unregister_inet6addr_notifier;
    INETADDR_VALIDATOR "inetaddr_validator_chain" [block]
        register_inetaddr_validator_notifier unregister_inetaddr_validator_notifier;
    INET6ADDR_VALIDATOR "inet6addr_validator_chain" [block]
        register_inet6addr_validator_notifier unregister_inet6addr_validator_notifier;
    NETEVENT "netevent_notif_chain" [block] register_netevent_notifier unregister_netevent_notifier;
    LSM "blocking_lsm_notifier_chain" [block] register_blocking_lsm_notifier unregister_blocking_lsm_notifier;
    MCE "x86_mce_decoder_chain" [block] mce_register_decode_chain mce_unregister_decode_chain;
    DCB "dcbevent_notif_chain" [block] register_dcbevent_notifier unregister_dcbevent_notifier;
    SWITCHDEV "switchdev_notif_chain" [block] register_switchdev_notifier unregister_switchdev_notifier;
    SWITCHDEV_BLOCKING "switchdev_blocking_notif_chain" [block]
        register_switchdev_blocking_notifier unregister_switchdev_blocking_notifier;
    CPUFREQ "cpufreq_notifier_list" [block] cpufreq_register_notifier cpufreq_unregister_notifier;
    POWER_SUPPLY "power_supply_notifier" [block] power_supply_reg_notifier power_supply_unreg_notifier;
    ACPI "acpi_chain_head" [block] register_acpi_notifier unregister_acpi_notifier;
    LID "acpi_lid_notifier" [block] acpi_lid_notifier_register acpi_lid_notifier_unregister;
    FRAMEBUFFER "fb_notifier_list" [block] fb_register_client fb_unregister_client;
    BACKLIGHT "backlight_notifier" [block] backlight_register_notifier backlight_unregister_notifier;
    FIB "fib_notifier_chain" [space] register_fib_notifier unregister_fib_notifier;
    NEXTHOP "nexthop_notifier_chain" [space] register_nexthop_notifier unregister_nexthop_notifier;
    VM_FORK "vmfork_chain" [block] register_random_vmfork_notifier unregister_random_vmfork_notifier;
    XENSTORE "xenstore_chain" [block] register_xenstore_notifier unregister_xenstore_notifier;
}
