//! Objects of modules that are registered by address: file systems, queueing disciplines, protocols and their like.
//!
//! Nothing of the machine uses most of them yet; what counts is that they are seen, that two of one name are refused with the
//! number that the kernel gives, and that what was not taken back is reported.

use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::registrations::Kind;
use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::Field;
use crate::{net, ram};

/// Where the name of an object is.
pub(crate) enum Name {
    /// In a pointer to a C string.
    Pointer(Field),
    /// In an array of characters.
    Array(Field),
    /// In a 32-bit number.
    Number(Field),
    /// In an 8-bit number.
    Byte(Field),
    /// Nowhere: it is called after its symbol.
    Symbol,
}

/// What may not be twice.
#[derive(Clone, Copy)]
pub(crate) enum Unique {
    /// Anything may, but for the object itself.
    Object,
    /// A name.
    Name(Errno),
}

/// One kind of registered object.
pub(crate) struct Registry {
    kind: Kind,
    name: Name,
    unique: Unique,
    /// What taking back something unknown answers.
    unknown: Errno,
    /// The objects, in the order in which they came.
    order: Lock<Vec<u64>>,
}

impl Registry {
    /// A kind of objects.
    pub(crate) const fn new(kind: Kind, name: Name, unique: Unique, unknown: Errno) -> Self {
        Self { kind, name, unique, unknown, order: Lock::new(Vec::new()) }
    }

    fn name(&self, object: u64) -> Vec<u8> {
        // SAFETY: the module's object.
        unsafe {
            match &self.name {
                Name::Pointer(field) => ram::c_string_or_empty(field.get(object)),
                Name::Array(field) => ram::c_string(field.at(object)).to_vec(),
                Name::Number(field) => alloc::format!("{}", field.get::<i32>(object)).into_bytes(),
                Name::Byte(field) => alloc::format!("{}", field.get::<u8>(object)).into_bytes(),
                Name::Symbol => kernel().symbolise(object).into_bytes(),
            }
        }
    }

    /// Registers an object.
    pub(crate) fn add(&self, object: u64, caller: u64) -> i32 {
        if object == 0 {
            return Errno::EINVAL.to_return();
        }
        let name = self.name(object);
        if let Unique::Name(errno) = self.unique
            && kernel().registrations.named(self.kind, &name).is_some()
        {
            return errno.to_return();
        }
        if let Err(errno) = kernel().registrations.add(self.kind, object, name, kernel().owner_of(caller)) {
            return errno.to_return();
        }
        self.order.lock().push(object);
        0
    }

    /// Takes an object back.
    pub(crate) fn remove(&self, object: u64) -> i32 {
        match kernel().registrations.remove(self.kind, object) {
            Some(_) => {
                self.order.lock().retain(|&other| other != object);
                0
            }
            None => self.unknown.to_return(),
        }
    }

    /// All objects, in the order in which they came.
    pub(crate) fn objects(&self) -> Vec<u64> {
        self.order.lock().clone()
    }
}

macro_rules! field {
    ($structure:literal . $member:literal) => {
        Field::new($structure, $member)
    };
}

macro_rules! table {
    ($($kind:literal $register:ident $unregister:ident $name:expr, $unique:expr, $unknown:ident;)*) => {
        $(mod $register {
            use super::*;
            pub(super) static REGISTRY: Registry = Registry::new($kind, $name, $unique, Errno::$unknown);
            pub(super) extern "C" fn register(object: u64) -> i32 {
                REGISTRY.add(object, ram::caller())
            }
            pub(super) extern "C" fn unregister(object: u64) -> i32 {
                REGISTRY.remove(object)
            }
        })*
        /// The functions of the table.
        pub(crate) static TABLE: &[Export] = exports![$(
            c $register = $register::register, c $unregister = $register::unregister
        ),*];
    };
}

table! {
    "filesystem" register_filesystem unregister_filesystem
        Name::Pointer(field!("file_system_type"."name")), Unique::Name(Errno::EBUSY), EINVAL;
    "acpi_bus_type" register_acpi_bus_type unregister_acpi_bus_type
        Name::Pointer(field!("acpi_bus_type"."name")), Unique::Object, ENODEV;
    "tcf_proto" register_tcf_proto_ops unregister_tcf_proto_ops
        Name::Array(field!("tcf_proto_ops"."kind")), Unique::Name(Errno::EEXIST), ENOENT;
    "tcf_ematch" tcf_em_register tcf_em_unregister
        Name::Number(field!("tcf_ematch_ops"."kind")), Unique::Name(Errno::EEXIST), ENOENT;
    "attribute_container" attribute_container_register attribute_container_unregister Name::Symbol, Unique::Object, EINVAL;
    "nf_sockopt" nf_register_sockopt nf_unregister_sockopt Name::Symbol, Unique::Object, ENOENT;
    "tcp_congestion" tcp_register_congestion_control tcp_unregister_congestion_control
        Name::Array(field!("tcp_congestion_ops"."name")), Unique::Name(Errno::EEXIST), ENOENT;
    "tcp_ulp" tcp_register_ulp tcp_unregister_ulp
        Name::Array(field!("tcp_ulp_ops"."name")), Unique::Name(Errno::EEXIST), ENOENT;
    "tty_ldisc" tty_register_ldisc tty_unregister_ldisc Name::Number(field!("tty_ldisc_ops"."num")), Unique::Object, EINVAL;
    "sock_diag" sock_diag_register sock_diag_unregister
        Name::Byte(field!("sock_diag_handler"."family")), Unique::Name(Errno::EBUSY), ENOENT;
    "sock_diag_compat" sock_diag_register_inet_compat sock_diag_unregister_inet_compat Name::Symbol, Unique::Object, ENOENT;
    "cpufreq_governor" cpufreq_register_governor cpufreq_unregister_governor
        Name::Array(field!("cpufreq_governor"."name")), Unique::Name(Errno::EBUSY), ENOENT;
    "quota_format" register_quota_format unregister_quota_format
        Name::Number(field!("quota_format_type"."qf_fmt_id")), Unique::Object, ENOENT;
    "xfrm_manager" xfrm_register_km xfrm_unregister_km Name::Symbol, Unique::Object, ENOENT;
    "uart_driver" uart_register_driver uart_unregister_driver
        Name::Pointer(field!("uart_driver"."driver_name")), Unique::Object, EINVAL;
    "zpool_driver" zpool_register_driver zpool_unregister_driver
        Name::Pointer(field!("zpool_driver"."type")), Unique::Object, ENOENT;
    "nfs_ssc" nfs_ssc_register nfs_ssc_unregister Name::Symbol, Unique::Object, ENOENT;
    "nfs42_ssc" nfs42_ssc_register nfs42_ssc_unregister Name::Symbol, Unique::Object, ENOENT;
    "key_type" register_key_type unregister_key_type
        Name::Pointer(field!("key_type"."name")), Unique::Name(Errno::EEXIST), ENOENT;
    "console" register_console unregister_console Name::Array(field!("console"."name")), Unique::Object, ENODEV;
    "devfreq_governor" devfreq_add_governor devfreq_remove_governor
        Name::Array(field!("devfreq_governor"."name")), Unique::Name(Errno::EINVAL), ENODEV;
    "elevator" elv_register elv_unregister
        Name::Pointer(field!("elevator_type"."elevator_name")), Unique::Name(Errno::EBUSY), ENOENT;
    "blkcg_policy" blkcg_policy_register blkcg_policy_unregister Name::Symbol, Unique::Object, ENOENT;
    "inet_protosw" inet_register_protosw inet_unregister_protosw Name::Symbol, Unique::Object, ENOENT;
    "inet6_protosw" inet6_register_protosw inet6_unregister_protosw Name::Symbol, Unique::Object, ENOENT;
    "rtnl_af" rtnl_af_register rtnl_af_unregister Name::Symbol, Unique::Object, ENOENT;
    "xfrm_input_afinfo" xfrm_input_register_afinfo xfrm_input_unregister_afinfo Name::Symbol, Unique::Object, EINVAL;
    "syscore" register_syscore_ops unregister_syscore_ops Name::Symbol, Unique::Object, ENOENT;
    "cxl_cper_work" cxl_cper_register_work cxl_cper_unregister_work Name::Symbol, Unique::Object, EINVAL;
    "gpio_lookup" gpiod_add_lookup_table gpiod_remove_lookup_table Name::Symbol, Unique::Object, ENOENT;
}

/// `/proc/filesystems`
pub(crate) fn file_systems() -> Vec<u8> {
    /// `FS_REQUIRES_DEV`
    const ON_A_DEVICE: i32 = 1;
    static FLAGS: Field = Field::new("file_system_type", "fs_flags");
    let registry = &register_filesystem::REGISTRY;
    let line = |object: u64| {
        // SAFETY: a registered file system.
        let needs_device = unsafe { FLAGS.get::<i32>(object) } & ON_A_DEVICE != 0;
        let mark: &[u8] = if needs_device { b"" } else { b"nodev" };
        [mark, b"\t", &registry.name(object), b"\n"].concat()
    };
    registry.objects().into_iter().flat_map(line).collect()
}

/// The names of the congestion controls of modules.
pub(crate) fn congestion_controls() -> Vec<Vec<u8>> {
    let registry = &tcp_register_congestion_control::REGISTRY;
    registry.objects().into_iter().map(|object| registry.name(object)).collect()
}

/// The names of the protocols above TCP.
pub(crate) fn upper_layer_protocols() -> Vec<Vec<u8>> {
    let registry = &tcp_register_ulp::REGISTRY;
    registry.objects().into_iter().map(|object| registry.name(object)).collect()
}

macro_rules! numbered {
    ($($kind:literal $register:ident $unregister:ident $taken:ident $missing:ident;)*) => {
        $(mod $register {
            use super::*;
            /// A number, or an object with a number.
            fn key(object: u64, number: u32) -> u64 {
                object ^ u64::from(number) << 48
            }
            pub(super) extern "C" fn register(object: u64, number: u32) -> i32 {
                let caller = ram::caller();
                let name = alloc::format!("{number}");
                if kernel().registrations.named($kind, name.as_bytes()).is_some() {
                    return $taken;
                }
                let owner = kernel().owner_of(caller);
                Errno::returned(kernel().registrations.add($kind, key(object, number), name, owner))
            }
            pub(super) extern "C" fn unregister(object: u64, number: u32) -> i32 {
                match kernel().registrations.remove($kind, key(object, number)) {
                    Some(_) => 0,
                    None => $missing,
                }
            }
        })*
        /// The functions of objects with numbers.
        pub(crate) static NUMBERED: &[Export] = exports![$(
            c $register = $register::register, c $unregister = $register::unregister
        ),*];
    };
}

const EXISTS: i32 = -17;
const MINUS_ONE: i32 = -1;
const NOT_FOUND: i32 = -2;

numbered! {
    "inet_protocol" inet_add_protocol inet_del_protocol MINUS_ONE MINUS_ONE;
    "inet6_protocol" inet6_add_protocol inet6_del_protocol MINUS_ONE MINUS_ONE;
    "inet_offload" inet_add_offload inet_del_offload MINUS_ONE MINUS_ONE;
    "inet6_offload" inet6_add_offload inet6_del_offload MINUS_ONE MINUS_ONE;
    "lwtunnel" lwtunnel_encap_add_ops lwtunnel_encap_del_ops MINUS_ONE NOT_FOUND;
}

macro_rules! protocols {
    ($($kind:literal $register:ident $unregister:ident;)*) => {
        $(mod $register {
            use super::*;
            fn key(object: u64, number: u32) -> u64 {
                object ^ u64::from(number & 0xffff) << 48
            }
            pub(super) extern "C" fn register(object: u64, number: u32) -> i32 {
                let caller = ram::caller();
                let name = alloc::format!("{} {}", number & 0xffff, kernel().symbolise(object));
                let owner = kernel().owner_of(caller);
                kernel().registrations.add($kind, key(object, number), name, owner).map_or(EXISTS, |()| 0)
            }
            pub(super) extern "C" fn unregister(object: u64, number: u32) -> i32 {
                match kernel().registrations.remove($kind, key(object, number)) {
                    Some(_) => 0,
                    None => NOT_FOUND,
                }
            }
        })*
        /// The functions of objects of which several may have one number.
        pub(crate) static PROTOCOLS: &[Export] = exports![$(
            c $register = $register::register, c $unregister = $register::unregister
        ),*];
    };
}

protocols! {
    "xfrm_type" xfrm_register_type xfrm_unregister_type;
    "xfrm_offload" xfrm_register_type_offload xfrm_unregister_type_offload;
    "xfrm4_protocol" xfrm4_protocol_register xfrm4_protocol_deregister;
    "xfrm6_protocol" xfrm6_protocol_register xfrm6_protocol_deregister;
}

static SHRINKERS: Registry = Registry::new("shrinker", Name::Symbol, Unique::Object, Errno::ENOENT);
static BINARY_FORMATS: Registry = Registry::new("binfmt", Name::Symbol, Unique::Object, Errno::ENOENT);
static ACTIONS: Registry =
    Registry::new("tc_action", Name::Array(field!("tc_action_ops"."kind")), Unique::Name(Errno::EEXIST), Errno::ENOENT);

/// `struct shrinker *shrinker_alloc(unsigned flags, const char *fmt, ...)`, as it is since 6.7.
extern "C" fn shrinker_alloc(flags: u32) -> u64 {
    crate::field::layout! { mod shrinker = "shrinker" { flags } }
    let made = crate::slab::allocate(shrinker::SIZE.get(), 8, crate::slab::ZERO, ram::caller());
    if made != 0 {
        // SAFETY: a zeroed block of the struct's size.
        unsafe { shrinker::flags.set(made, flags) };
    }
    made
}
extern "C" fn shrinker_register(object: u64) {
    // The shrinker is new.
    let _ = SHRINKERS.add(object, ram::caller());
}
extern "C" fn shrinker_free(object: u64) {
    if object != 0 {
        SHRINKERS.remove(object);
        crate::slab::release(object, ram::caller());
    }
}
/// `int register_shrinker(struct shrinker *, const char *fmt, ...)`
extern "C" fn register_shrinker(object: u64) -> i32 {
    SHRINKERS.add(object, ram::caller())
}
extern "C" fn unregister_shrinker(object: u64) {
    SHRINKERS.remove(object);
}
extern "C" fn __register_binfmt(object: u64) {
    BINARY_FORMATS.add(object, ram::caller());
}
extern "C" fn unregister_binfmt(object: u64) {
    BINARY_FORMATS.remove(object);
}
/// `int tcf_register_action(struct tc_action_ops *, struct pernet_operations *)`
extern "C" fn tcf_register_action(object: u64, operations: u64) -> i32 {
    let caller = ram::caller();
    let registered = net::namespace::register(operations, caller);
    if let Err(errno) = registered {
        return errno.to_return();
    }
    let result = ACTIONS.add(object, caller);
    if result != 0 {
        net::namespace::unregister(operations);
    }
    result
}
extern "C" fn tcf_unregister_action(object: u64, operations: u64) -> i32 {
    let result = ACTIONS.remove(object);
    if result == 0 {
        net::namespace::unregister(operations);
    }
    result
}

/// `int __register_blkdev(unsigned int major, const char *, void (*probe)(dev_t))`: 0 for a major of the kernel's choice.
extern "C" fn __register_blkdev(major: u32, name: u64) -> i32 {
    const DYNAMIC: core::ops::RangeInclusive<u32> = 234..=254;
    const MAJORS: u32 = 512;
    let caller = ram::caller();
    // SAFETY: the module's C string.
    let name = unsafe { ram::c_string_or_empty(name) };
    let is_free = |major: &u32| kernel().registrations.get("blkdev", (*major).into()).is_none();
    let number = match major {
        0 => DYNAMIC.rev().find(is_free),
        MAJORS.. => return Errno::EINVAL.to_return(),
        _ => Some(major).filter(is_free),
    };
    let Some(number) = number else { return Errno::EBUSY.to_return() };
    // It is free.
    let _ = kernel().registrations.add("blkdev", number.into(), name, kernel().owner_of(caller));
    if major == 0 { number as i32 } else { 0 }
}
extern "C" fn unregister_blkdev(major: u32, name: u64) {
    // SAFETY: the module's C string.
    let name = unsafe { ram::c_string_or_empty(name) };
    match kernel().registrations.get("blkdev", major.into()) {
        Some(found) if found.name == name => drop(kernel().registrations.remove("blkdev", major.into())),
        _ => kernel()
            .warn(&alloc::format!("unregister_blkdev: {major} {} is not registered", name.as_bstr()), ram::caller()),
    }
}

/// `int cn_netlink_send(struct cn_msg *, u32 portid, u32 group, gfp_t)`: nobody listens.
extern "C" fn cn_netlink_send() -> i32 {
    Errno::ESRCH.to_return()
}
/// `int cn_add_callback(const struct cb_id *, const char *, void (*)(struct cn_msg *, struct netlink_skb_parms *))`: an id is
/// two 32-bit numbers.
extern "C" fn cn_add_callback(id: u64, name: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's id and C string.
    let (key, name) = unsafe { (ram::get(id), ram::c_string_or_empty(name)) };
    let owner = kernel().owner_of(caller);
    kernel().registrations.add("connector", key, name, owner).map_or(Errno::EINVAL.to_return(), |()| 0)
}
extern "C" fn cn_del_callback(id: u64) {
    // SAFETY: the module's id.
    kernel().registrations.remove("connector", unsafe { ram::get(id) });
}

/// The functions of this file that no table makes.
pub(crate) static EXPORTS: &[Export] = exports![
    v2 register_shrinker, c unregister_shrinker, v2 shrinker_alloc, c shrinker_register, c shrinker_free, c __register_binfmt, c unregister_binfmt,
    c tcf_register_action, c tcf_unregister_action, c __register_blkdev, c unregister_blkdev,
    k cn_netlink_send, c cn_add_callback, c cn_del_callback,
];
