//! The kernel as a Linux module sees it: C functions over the one kernel model.
//!
//! A Linux module calls functions by name and reaches into structs by offset. This room holds both sides of that: tables of
//! `extern "C"` functions ([`export::Export`]) that translate to and from the safe values of `ferrmod-kernel`, and struct
//! layouts read at run time from the BTF of the kernel the module was built for ([`field`]), so that 6.1, 6.12 and others
//! are data and not code.
//!
//! A module never calls a Rust function directly: every export has a bridge (`ferrmod_linker::bridge`) that aligns the stack
//! and notes the caller. A symbol that its kernel exports and nobody here provides is bound to a stub that names itself when
//! called, or to memory that faults when touched.
//!
//! # How an export is written
//! A function takes and returns C's integers; pointers into module memory are `u64`. It is named like the symbol and listed in
//! its file's `EXPORTS`, which `EXPORTS` of this file lists in turn. It never keeps a kernel lock while it touches module
//! memory or calls back, because either may fault, and a fault with a lock held ends the kernel.
//!
//! # What this crate does not do
//! It decides nothing about loading, and it never names the process or the hardware it runs on.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod arithmetic;
mod atomic;
mod backing;
mod backlight;
mod bitmaps;
mod block;
mod boot;
mod caches;
mod chains;
mod checksums;
mod console;
mod counters;
mod crypto;
mod data;
mod deadlocks;
mod device;
mod dma;
mod export;
mod field;
mod firmware;
mod framebuffer;
mod hardware;
mod hrtimer;
mod hwmon;
mod hwrng;
mod i2c;
mod identity;
mod input;
mod instructions;
mod intervals;
mod iomem;
mod irq;
mod iter;
mod jump_labels;
mod kfifo;
mod kobject;
mod kthread;
mod kworkers;
mod leds;
mod list_lru;
mod lists;
mod locks;
mod memory_tiers;
mod misc;
mod module;
mod net;
mod nls;
mod notifiers;
mod numbers;
mod nvmem;
mod pages;
mod parameter_types;
mod parameters;
mod parser;
mod pci;
mod percpu;
mod power;
mod powercap;
mod printf;
mod ram;
mod random;
mod rbtree;
mod rcu;
mod registries;
mod regmap;
mod regulator;
mod request;
mod rhashtable;
mod sbitmap;
mod slab;
mod smp;
mod string;
mod symbols;
mod sysctl;
mod sysfs;
mod system;
mod tasklets;
mod tasks;
mod textsearch;
mod thunks;
mod time;
mod tracepoints;
mod tracing;
mod tty;
mod uevent;
mod user;
mod vfs;
mod waiting;
mod workqueue;
mod world;
mod xarray;
mod zsmalloc;
mod zstd;

pub use boot::{BootError, boot, tick};
pub use export::{Export, Kind};
pub use vfs::mount::{mount, unmount};

use data::Datum;

/// Every function, file by file.
pub(crate) static EXPORTS: &[&[Export]] = &[
    backing::EXPORTS,
    backlight::EXPORTS,
    framebuffer::EXPORTS,
    memory_tiers::EXPORTS,
    powercap::EXPORTS,
    vfs::pseudo::EXPORTS,
    crypto::blake2s::EXPORTS,
    block::EXPORTS,
    block::badblocks::EXPORTS,
    block::bio::EXPORTS,
    block::bsg::EXPORTS,
    block::buffers::EXPORTS,
    block::claims::EXPORTS,
    block::mq::dispatch::EXPORTS,
    block::mq::execute::EXPORTS,
    block::mq::freeze::EXPORTS,
    block::mq::queues::EXPORTS,
    block::mq::requests::EXPORTS,
    block::mq::tags::EXPORTS,
    block::mq::timeouts::EXPORTS,
    block::operations::EXPORTS,
    block::pages::EXPORTS,
    block::parts::EXPORTS,
    block::power::EXPORTS,
    block::queue::EXPORTS,
    block::ranges::EXPORTS,
    block::sets::EXPORTS,
    hardware::EXPORTS,
    identity::EXPORTS,
    kworkers::EXPORTS,
    net::fragments::EXPORTS,
    tty::EXPORTS,
    chains::EXPORTS,
    leds::EXPORTS,
    leds::triggers::EXPORTS,
    registries::EXPORTS,
    registries::TABLE,
    registries::NUMBERED,
    registries::PROTOCOLS,
    sysctl::EXPORTS,
    sysctl::HANDLERS,
    device::buses::EXPORTS,
    device::buses::TABLE,
    device::platform::EXPORTS,
    device::EXPORTS,
    device::bus::EXPORTS,
    device::class::EXPORTS,
    device::described::EXPORTS,
    device::property::EXPORTS,
    device::virtio::EXPORTS,
    device::devres::EXPORTS,
    device::driver::EXPORTS,
    device::show::EXPORTS,
    device::transport::EXPORTS,
    firmware::EXPORTS,
    kobject::EXPORTS,
    misc::EXPORTS,
    net::addresses::EXPORTS,
    net::allocate::EXPORTS,
    net::attributes::EXPORTS,
    net::devices::EXPORTS,
    net::ethernet::EXPORTS,
    net::events::EXPORTS,
    net::flows::EXPORTS,
    net::inet::EXPORTS,
    net::links::EXPORTS,
    net::loggers::EXPORTS,
    net::messages::EXPORTS,
    net::names::EXPORTS,
    net::namespace::EXPORTS,
    net::netlink::EXPORTS,
    net::packets::EXPORTS,
    net::polling::EXPORTS,
    net::rtnl::EXPORTS,
    net::schedule::EXPORTS,
    net::show::EXPORTS,
    net::sk_buff::EXPORTS,
    net::sockets::EXPORTS,
    net::served::EXPORTS,
    net::state::EXPORTS,
    net::stats::EXPORTS,
    net::transmit::EXPORTS,
    sysfs::EXPORTS,
    uevent::EXPORTS,
    vfs::attr::EXPORTS,
    vfs::cache::EXPORTS,
    vfs::hash::EXPORTS,
    vfs::mount::EXPORTS,
    vfs::chrdev::EXPORTS,
    vfs::dcache::EXPORTS,
    vfs::debugfs::EXPORTS,
    vfs::debugfs::NUMBERS,
    vfs::inodes::EXPORTS,
    vfs::memory::EXPORTS,
    vfs::open::EXPORTS,
    vfs::poll::EXPORTS,
    vfs::proc::EXPORTS,
    vfs::seq::EXPORTS,
    vfs::simple::EXPORTS,
    vfs::superblock::EXPORTS,
    console::EXPORTS,
    dma::EXPORTS,
    input::EXPORTS,
    input::event::EXPORTS,
    input::handlers::EXPORTS,
    input::keys::EXPORTS,
    input::show::EXPORTS,
    input::touch::EXPORTS,
    hwmon::EXPORTS,
    hwrng::EXPORTS,
    i2c::EXPORTS,
    i2c::described::EXPORTS,
    i2c::transfer::EXPORTS,
    iomem::EXPORTS,
    irq::EXPORTS,
    pci::EXPORTS,
    pci::config::EXPORTS,
    pci::enable::EXPORTS,
    pci::interrupts::EXPORTS,
    power::EXPORTS,
    regmap::EXPORTS,
    regulator::EXPORTS,
    list_lru::EXPORTS,
    crypto::acomp::EXPORTS,
    crypto::aead::EXPORTS,
    crypto::aes::EXPORTS,
    crypto::ahash::EXPORTS,
    crypto::akcipher::EXPORTS,
    crypto::algorithms::EXPORTS,
    crypto::asn1::EXPORTS,
    crypto::bytes::EXPORTS,
    crypto::cbc::EXPORTS,
    crypto::chacha::EXPORTS,
    crypto::cipher::EXPORTS,
    crypto::cpu::EXPORTS,
    crypto::ctr::EXPORTS,
    crypto::deflate::EXPORTS,
    crypto::digests::EXPORTS,
    crypto::dmaengine::EXPORTS,
    crypto::ecc::EXPORTS,
    crypto::geniv::EXPORTS,
    crypto::hmac::EXPORTS,
    crypto::instances::EXPORTS,
    crypto::keys::EXPORTS,
    crypto::kinds::EXPORTS,
    crypto::kpp::EXPORTS,
    crypto::lz4::EXPORTS,
    crypto::null::EXPORTS,
    crypto::oid::EXPORTS,
    crypto::padata::EXPORTS,
    crypto::queue::EXPORTS,
    crypto::rfc3686::EXPORTS,
    crypto::rng::EXPORTS,
    crypto::scatterlist::EXPORTS,
    crypto::scatterwalk::EXPORTS,
    crypto::sha3::EXPORTS,
    crypto::shash::EXPORTS,
    crypto::skcipher::EXPORTS,
    crypto::sums::EXPORTS,
    crypto::templates::EXPORTS,
    crypto::transforms::EXPORTS,
    crypto::walk::EXPORTS,
    crypto::zlib::EXPORTS,
    crypto::zstd::EXPORTS,
    arithmetic::EXPORTS,
    caches::EXPORTS,
    kfifo::EXPORTS,
    counters::EXPORTS,
    percpu::EXPORTS,
    bitmaps::EXPORTS,
    hrtimer::EXPORTS,
    instructions::EXPORTS,
    iter::EXPORTS,
    jump_labels::EXPORTS,
    tracepoints::EXPORTS,
    tracing::EXPORTS,
    tracing::output::EXPORTS,
    tracing::points::EXPORTS,
    tracing::record::EXPORTS,
    kthread::EXPORTS,
    lists::EXPORTS,
    locks::EXPORTS,
    module::EXPORTS,
    nls::EXPORTS,
    nvmem::EXPORTS,
    notifiers::EXPORTS,
    numbers::EXPORTS,
    pages::EXPORTS,
    parameter_types::EXPORTS,
    parameters::EXPORTS,
    printf::EXPORTS,
    random::EXPORTS,
    rbtree::EXPORTS,
    rcu::EXPORTS,
    request::EXPORTS,
    sbitmap::EXPORTS,
    slab::EXPORTS,
    smp::EXPORTS,
    intervals::EXPORTS,
    parser::EXPORTS,
    rhashtable::EXPORTS,
    checksums::EXPORTS,
    net::ethtool::EXPORTS,
    tasklets::EXPORTS,
    system::EXPORTS,
    string::EXPORTS,
    tasks::EXPORTS,
    textsearch::EXPORTS,
    thunks::EXPORTS,
    time::EXPORTS,
    user::EXPORTS,
    waiting::EXPORTS,
    workqueue::EXPORTS,
    xarray::EXPORTS,
    xarray::ids::EXPORTS,
    xarray::radix::EXPORTS,
    xarray::state::EXPORTS,
    zsmalloc::EXPORTS,
    zstd::EXPORTS,
];

/// Every datum, file by file.
pub(crate) static DATA: &[&[&Datum]] = &[
    hardware::VARIABLES,
    dma::VARIABLES,
    identity::VARIABLES,
    hrtimer::VARIABLES,
    input::VARIABLES,
    console::VARIABLES,
    vfs::cache::VARIABLES,
    vfs::inodes::VARIABLES,
    tty::VARIABLES,
    chains::VARIABLES,
    sysctl::VARIABLES,
    device::buses::VARIABLES,
    device::platform::VARIABLES,
    device::virtio::VARIABLES,
    net::served::VARIABLES,
    firmware::VARIABLES,
    i2c::VARIABLES,
    hwrng::VARIABLES,
    i2c::described::VARIABLES,
    kobject::VARIABLES,
    net::ethernet::VARIABLES,
    net::events::VARIABLES,
    net::hooks::VARIABLES,
    net::namespace::VARIABLES,
    net::rtnl::VARIABLES,
    net::schedule::VARIABLES,
    crypto::algorithms::VARIABLES,
    crypto::aes::VARIABLES,
    crypto::cpu::VARIABLES,
    crypto::digests::VARIABLES,
    crypto::instances::VARIABLES,
    crypto::keys::VARIABLES,
    crypto::kinds::VARIABLES,
    crypto::padata::VARIABLES,
    crypto::rng::VARIABLES,
    crypto::sums::VARIABLES,
    boot::VARIABLES,
    tracepoints::VARIABLES,
    jump_labels::VARIABLES,
    counters::VARIABLES,
    percpu::VARIABLES,
    power::VARIABLES,
    bitmaps::VARIABLES,
    instructions::VARIABLES,
    notifiers::VARIABLES,
    numbers::VARIABLES,
    pages::VARIABLES,
    parameter_types::VARIABLES,
    parameters::VARIABLES,
    rcu::VARIABLES,
    slab::VARIABLES,
    system::VARIABLES,
    workqueue::VARIABLES,
];

/// The names of everything provided, with its kind, for the table of the kernel API.
pub fn provided() -> impl Iterator<Item = (&'static str, Kind)> {
    let functions = EXPORTS.iter().flat_map(|file| file.iter()).map(|export| (export.name, export.kind));
    functions.chain(DATA.iter().flat_map(|file| file.iter()).map(|datum| (datum.name, Kind::Data)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::string::String;
    use std::vec::Vec;

    /// The last one of a name would win, whatever the first one does.
    #[test]
    fn no_symbol_is_provided_twice() {
        let mut seen = HashSet::new();
        let twice: Vec<String> =
            super::provided().map(|(name, _)| name).filter(|name| !seen.insert(*name)).map(String::from).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
