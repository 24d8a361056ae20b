//! The buses that are built into the kernel, and how their drivers are wrapped.
//!
//! A driver of a bus is a struct with a `struct device_driver` in it. Registering it names that part, points it at its bus,
//! and goes on as for every driver.

use ferrmod_kernel::{Errno, files};

use super::layout::{bus_type, device_driver};
use super::{bus, driver};
use crate::boot::facts;
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::{locks, pci, printf, ram, slab, symbols};

/// Room for a `struct bus_type` of any kernel.
const ROOM: u64 = 512;

/// Where a wrapped driver's name is.
pub(crate) enum Name {
    /// The driver core's part has it already.
    Own,
    /// In a pointer of the wrapper.
    Pointer(Field),
    /// In an array of the wrapper.
    Array(Field),
}

/// How the drivers of one bus are wrapped.
pub(crate) struct Family {
    bus: &'static Datum,
    driver: Field,
    name: Name,
    list: Option<Field>,
    /// What the bus adds to the directory of a driver, and takes back: called with the wrapper and the driver core's part.
    add_files: fn(u64, u64) -> Result<(), Errno>,
    forget: fn(u64),
}

/// Of a bus that adds nothing.
fn no_files(_wrapped: u64, _inner: u64) -> Result<(), Errno> {
    Ok(())
}
fn nothing_to_forget(_wrapped: u64) {}

impl Family {
    /// Drivers that the driver core's part says everything of.
    const fn plain(bus: &'static Datum, driver: Field) -> Self {
        Self { bus, driver, name: Name::Own, list: None, add_files: no_files, forget: nothing_to_forget }
    }

    /// Registers a wrapped driver.
    pub(crate) fn register(&self, wrapped: u64, owner: u64, caller: u64) -> i32 {
        let inner = self.driver.at(wrapped);
        // SAFETY: the module's driver.
        unsafe {
            let name: u64 = match &self.name {
                Name::Own => 0,
                Name::Pointer(field) => field.get(wrapped),
                Name::Array(field) => field.at(wrapped),
            };
            if name != 0 {
                device_driver::name.set(inner, name);
            }
            device_driver::bus.set(inner, self.bus.address());
            if owner != 0 {
                device_driver::owner.set(inner, owner);
            }
            if let Some(list) = &self.list {
                locks::init_list(list.at(wrapped));
            }
        }
        if let Err(errno) = driver::register(inner, caller) {
            return errno.to_return();
        }
        // The names are those of the bus, so that nothing is in the way.
        let _ = (self.add_files)(wrapped, inner);
        0
    }

    /// Takes it back.
    pub(crate) fn unregister(&self, wrapped: u64) {
        (self.forget)(wrapped);
        driver::unregister(self.driver.at(wrapped));
    }
}

/// What a driver of serio ports says of itself, and whether it takes ports by itself.
fn add_serio_files(wrapped: u64, inner: u64) -> Result<(), Errno> {
    layout! { mod serio_driver = "serio_driver" { description, manual_bind } }
    let description = files::read_only(0o444, move || {
        // SAFETY: a registered driver and its C string.
        let text = unsafe { ram::c_string_or_empty(serio_driver::description.get(wrapped)) };
        [if text.is_empty() { b"(none)" } else { text.as_slice() }, b"\n"].concat()
    });
    driver::add_file(inner, "description", description)?;
    let show = move || {
        // SAFETY: a registered driver.
        let manual: bool = unsafe { serio_driver::manual_bind.get::<u8>(wrapped) } != 0;
        Ok(if manual { b"manual\n".to_vec() } else { b"auto\n".to_vec() })
    };
    let store = move |text: &[u8]| {
        let manual = match text.strip_suffix(b"\n").unwrap_or(text) {
            b"manual" => 1_u8,
            b"auto" => 0,
            _ => return Err(Errno::EINVAL),
        };
        // SAFETY: as above.
        unsafe { serio_driver::manual_bind.set(wrapped, manual) };
        Ok(text.len())
    };
    driver::add_file(inner, "bind_mode", files::read_write(0o644, show, store))
}

/// Gives a bus its name and functions.
fn begin(at: u64, name: &'static core::ffi::CStr, matches: &str, probe: &str, remove: &str) {
    let own = |name| symbols::address(name).unwrap_or(0);
    // SAFETY: `data::place` gives `ROOM` writable bytes of zeros, more than the struct has.
    unsafe {
        bus_type::name.set(at, name.as_ptr() as u64);
        bus_type::match_.set(at, own(matches));
        bus_type::probe.set(at, own(probe));
        bus_type::remove.set(at, own(remove));
    }
}

/// Registers every bus, once their functions can be called.
pub(crate) fn register_all() {
    for bus in [&PLATFORM, &I2C, &PCI] {
        // SAFETY: the kernel's own buses.
        unsafe { bus_type::uevent.set(bus.address(), symbols::address("bus_uevent_modalias").unwrap_or(0)) };
    }
    for bus in VARIABLES.iter().filter(|bus| !is_of_module(bus)) {
        // Without memory the bus is missing, and its drivers are told so.
        let _ = bus::register(bus.address(), 0);
    }
}

/// Whether a bus is registered by a module in this kernel, and not by the kernel itself.
fn is_of_module(bus: &Datum) -> bool {
    bus.address() == VIRTIO.address() && facts().find_export(b"__register_virtio_driver").is_none()
}

/// No device of these buses can appear in a machine, so that no driver fits one.
extern "C" fn bus_without_devices() -> i32 {
    0
}

macro_rules! buses {
    ($($bus:ident $symbol:literal $name:literal ($matches:literal $probe:literal $remove:literal);)*) => {
        $(pub(crate) static $bus: Datum =
            Datum::new($symbol, ROOM, Begin::With(|at| begin(at, $name, $matches, $probe, $remove)));)*
        /// The variables of this file.
        pub(crate) static VARIABLES: &[&Datum] = &[$(&$bus),*];
    };
}

buses! {
    PLATFORM "platform_bus_type" c"platform" ("platform_match" "platform_probe" "platform_remove");
    PCI "pci_bus_type" c"pci" ("pci_match" "pci_probe" "pci_remove");
    I2C "i2c_bus_type" c"i2c" ("i2c_match" "i2c_probe" "i2c_remove");
    SPI "spi_bus_type" c"spi" ("bus_without_devices" "" "");
    SERIO "serio_bus" c"serio" ("bus_without_devices" "" "");
    SERDEV "serdev_bus_type" c"serial" ("bus_without_devices" "" "");
    ACPI "acpi_bus_type" c"acpi" ("bus_without_devices" "" "");
    PNP "pnp_bus_type" c"pnp" ("bus_without_devices" "" "");
    AUXILIARY "auxiliary_bus_type" c"auxiliary" ("bus_without_devices" "" "");
    COREBOOT "coreboot_bus_type" c"coreboot" ("bus_without_devices" "" "");
    CXL "cxl_bus_type" c"cxl" ("bus_without_devices" "" "");
    DAX "dax_bus_type" c"dax" ("bus_without_devices" "" "");
    XEN "xenbus_frontend" c"xen" ("bus_without_devices" "" "");
    XEN_BACKEND "xenbus_backend" c"xen-backend" ("bus_without_devices" "" "");
    EISA "eisa_bus_type" c"eisa" ("bus_without_devices" "" "");
    VIRTIO "virtio_bus" c"virtio" ("bus_without_devices" "" "");
    DSI "mipi_dsi_bus_type" c"mipi-dsi" ("bus_without_devices" "" "");
}

macro_rules! families {
    ($($bus:ident $structure:literal . $driver:literal, $name:expr, $list:expr, [$($argument:ident)*] $register:ident $unregister:ident
        $(, $add_files:path, $forget:path)?;)*) => {
        $(mod $register {
            use super::*;
            pub(super) static FAMILY: Family =
                Family {
                    bus: &$bus,
                    driver: Field::new($structure, $driver),
                    name: $name,
                    list: $list,
                    add_files: families!(@or no_files $($add_files)?),
                    forget: families!(@or nothing_to_forget $($forget)?),
                };
            pub(super) extern "C" fn register(first: u64, second: u64) -> i32 {
                let caller = ram::caller();
                let (driver, owner) = families!(@pick first second $($argument)*);
                FAMILY.register(driver, owner, caller)
            }
            pub(super) extern "C" fn unregister(driver: u64) {
                FAMILY.unregister(driver);
            }
        })*
        /// The functions of the table.
        pub(crate) static TABLE: &[Export] = exports![$(
            c $register = $register::register, c $unregister = $register::unregister
        ),*];
    };
    (@or $default:ident) => { $default };
    (@or $default:ident $given:path) => { $given };
    (@pick $first:ident $second:ident driver owner) => { ($first, $second) };
    (@pick $first:ident $second:ident owner driver) => { ($second, $first) };
    (@pick $first:ident $second:ident driver) => {{ let _ = $second; ($first, 0) }};
}

families! {
    PCI "pci_driver"."driver", Name::Pointer(Field::new("pci_driver", "name")), Some(Field::new("pci_driver", "dynids.list")),
        [driver owner] __pci_register_driver pci_unregister_driver, pci::ids::add_files, pci::ids::forget;
    I2C "i2c_driver"."driver", Name::Own, Some(Field::new("i2c_driver", "clients")),
        [owner driver] i2c_register_driver i2c_del_driver;
    SPI "spi_driver"."driver", Name::Own, None, [owner driver] __spi_register_driver spi_unregister_driver;
    SERIO "serio_driver"."driver", Name::Own, None,
        [driver owner] __serio_register_driver serio_unregister_driver, add_serio_files, nothing_to_forget;
    SERDEV "serdev_device_driver"."driver", Name::Own, None,
        [driver owner] __serdev_device_driver_register serdev_device_driver_unregister;
    ACPI "acpi_driver"."drv", Name::Array(Field::new("acpi_driver", "name")), None,
        [driver] acpi_bus_register_driver acpi_bus_unregister_driver;
    PNP "pnp_driver"."driver", Name::Pointer(Field::new("pnp_driver", "name")), None,
        [driver] pnp_register_driver pnp_unregister_driver;
    COREBOOT "coreboot_driver"."drv", Name::Own, None, [driver] coreboot_driver_register coreboot_driver_unregister;
    CXL "cxl_driver"."drv", Name::Pointer(Field::new("cxl_driver", "name")), None,
        [driver owner] __cxl_driver_register cxl_driver_unregister;
    PLATFORM "platform_driver"."driver", Name::Own, None,
        [driver owner] __platform_driver_register platform_driver_unregister;
    XEN "xenbus_driver"."driver", Name::Own, None, [driver owner] __xenbus_register_frontend xenbus_unregister_driver;
    VIRTIO "virtio_driver"."driver", Name::Own, None, [driver owner] __register_virtio_driver unregister_virtio_driver;
    EISA "eisa_driver"."driver", Name::Own, None, [driver] eisa_driver_register eisa_driver_unregister;
    SPI "spi_mem_driver"."spidrv.driver", Name::Own, None,
        [driver owner] spi_mem_driver_register_with_owner spi_mem_driver_unregister;
}

/// How platform drivers are wrapped.
pub(crate) fn platform() -> &'static Family {
    &__platform_driver_register::FAMILY
}

/// The functions of this file that no table makes.
pub(crate) static EXPORTS: &[Export] = exports![
    k bus_without_devices, c __acpi_bus_register_driver = acpi_register, c __coreboot_driver_register, c __auxiliary_driver_register,
    c auxiliary_driver_unregister, c __dax_driver_register, c dax_driver_unregister,
];

static AUXILIARY_DRIVERS: Family = Family::plain(&AUXILIARY, Field::new("auxiliary_driver", "driver"));
static DAX_DRIVERS: Family = Family::plain(&DAX, Field::new("dax_device_driver", "drv"));

/// `int __auxiliary_driver_register(struct auxiliary_driver *, struct module *, const char *modname)`: the driver is called after
/// its module, with its own name behind a dot if it has one.
extern "C" fn __auxiliary_driver_register(driver: u64, owner: u64, module: u64) -> i32 {
    layout! { mod auxiliary_driver = "auxiliary_driver" { name } }
    let caller = ram::caller();
    // SAFETY: the module's driver and C strings.
    unsafe {
        let mut name = ram::c_string_or_empty(module);
        let own: u64 = auxiliary_driver::name.get(driver);
        if own != 0 {
            name.push(b'.');
            name.extend_from_slice(ram::c_string(own));
        }
        let inner = AUXILIARY_DRIVERS.driver.at(driver);
        let made = printf::duplicate(&name, 0, caller);
        if made == 0 {
            return Errno::ENOMEM.to_return();
        }
        device_driver::name.set(inner, made);
        let result = AUXILIARY_DRIVERS.register(driver, owner, caller);
        if result != 0 {
            slab::release(made, caller);
        }
        result
    }
}
extern "C" fn auxiliary_driver_unregister(driver: u64) {
    AUXILIARY_DRIVERS.unregister(driver);
    // SAFETY: the module's driver; the name was made when it was registered.
    slab::release(unsafe { device_driver::name.get(AUXILIARY_DRIVERS.driver.at(driver)) }, 0);
}

/// `int __dax_driver_register(struct dax_device_driver *, struct module *, const char *mod_name)`: the driver is called as its
/// module is.
extern "C" fn __dax_driver_register(driver: u64, owner: u64, module: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's driver.
    unsafe { device_driver::name.set(DAX_DRIVERS.driver.at(driver), module) };
    DAX_DRIVERS.register(driver, owner, caller)
}
extern "C" fn dax_driver_unregister(driver: u64) {
    DAX_DRIVERS.unregister(driver);
}

/// `int __acpi_bus_register_driver(struct acpi_driver *, struct module *)`, as it is since 6.11.
extern "C" fn acpi_register(driver: u64, owner: u64) -> i32 {
    let caller = ram::caller();
    acpi_bus_register_driver::FAMILY.register(driver, owner, caller)
}

/// `int __coreboot_driver_register(struct coreboot_driver *, struct module *)`, as it is since 6.12.
extern "C" fn __coreboot_driver_register(driver: u64, owner: u64) -> i32 {
    let caller = ram::caller();
    coreboot_driver_register::FAMILY.register(driver, owner, caller)
}
