//! Block devices: disks of modules, the requests that go to them, and their files in `/dev`.
//!
//! A disk is a `struct gendisk` with a request queue and one `struct block_device` for the whole of it. What is read and written
//! goes to the driver's own `submit_bio` as `struct bio`s, or as requests to its hardware queues ([`mq`]); nothing is cached on the
//! way, so a driver sees every transfer.

use alloc::string::String;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::chrdev::Number;
use ferrmod_kernel::files::{self, Node};
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::{Size, layout};
use crate::{device, kobject, locks, percpu, ram, slab, symbols, vfs};

pub(crate) mod badblocks;
pub(crate) mod bio;
pub(crate) mod bsg;
pub(crate) mod buffers;
pub(crate) mod claims;
pub(crate) mod file;
pub(crate) mod mq;
pub(crate) mod operations;
pub(crate) mod pages;
pub(crate) mod parts;
pub(crate) mod power;
pub(crate) mod queue;
pub(crate) mod ranges;
pub(crate) mod sets;

use device::layout::{class, device as c_device, mutex};

layout! {
    pub(crate) mod gendisk = "gendisk" {
        major, first_minor, minors, disk_name, part0, fops, queue, flags, open_mutex, node_id, slave_bdevs,
    }
    pub(crate) mod block_device = "block_device" {
        bd_nr_sectors, bd_read_only, bd_flags = "__bd_flags", bd_dev, bd_openers, bd_inode, bd_mapping, bd_device, bd_disk, bd_queue,
        bd_holder_ops, bd_stats,
    }
    pub(crate) mod block_device_operations = "block_device_operations" { submit_bio, open, release, ioctl, free_disk, owner }
}

/// What a disk counts, on each CPU.
static STATISTICS: Size = Size::new("disk_stats");

/// `S_IFBLK`
const BLOCK: u32 = 0o060_000;
/// Bytes of a sector, whatever the device's own blocks are.
pub(crate) const SECTOR: u64 = 512;
/// `BLOCK_EXT_MAJOR`: the major of disks that have none of their own.
const EXTENDED: u32 = 259;

/// The disks that were added: number and `struct gendisk`.
static DISKS: Lock<Vec<(u32, u64)>> = Lock::new(Vec::new());

/// The class of all of them; 0 without memory.
fn disk_class() -> u64 {
    static CLASS: spin::Once<u64> = spin::Once::new();
    *CLASS.call_once(|| {
        let made = device::class::own("block", 0);
        if made != 0 {
            // SAFETY: the class just made.
            unsafe { class::dev_release.set(made, symbols::address("disk_release").unwrap_or(0)) };
        }
        made
    })
}

/// Whether devices of this class have block files in `/dev`.
pub(crate) fn is_class(of: u64) -> bool {
    of != 0 && of == disk_class()
}

/// The `struct device` of a disk.
fn device_of(disk: u64) -> u64 {
    // SAFETY: a disk.
    unsafe { block_device::bd_device.at(gendisk::part0.get(disk)) }
}

/// The disk with this number.
pub(crate) fn disk(number: u32) -> Option<u64> {
    DISKS.lock().iter().find(|(other, _)| *other == number).map(|&(_, disk)| disk)
}

/// The `struct block_device` of a whole disk.
pub(crate) fn whole(disk: u64) -> u64 {
    // SAFETY: a disk.
    unsafe { gendisk::part0.get(disk) }
}

/// The disk that a file of `/dev` stands for.
pub(crate) fn by_path(path: &str) -> Result<u64, Errno> {
    match kernel().files.node(path) {
        None => Err(Errno::ENOENT),
        Some(Node::File(..)) => {
            let wanted = path.strip_prefix("/dev/").unwrap_or(path);
            let disks = DISKS.lock().clone();
            let found = disks.into_iter().find(|&(_, disk)| name(disk).replace('!', "/") == wanted);
            found.map(|(_, disk)| disk).ok_or(Errno::ENOTBLK)
        }
        Some(_) => Err(Errno::ENOTBLK),
    }
}

/// Whether a disk was added, and not taken away.
fn is_live(disk: u64) -> bool {
    DISKS.lock().iter().any(|(_, other)| *other == disk)
}

/// Where a disk that was added is in `/sys`.
fn path(disk: u64) -> Option<String> {
    is_live(disk).then(|| kobject::path(device::object(device_of(disk)))).flatten()
}

/// A disk's name.
pub(crate) fn name(disk: u64) -> String {
    // SAFETY: a disk, whose name ends in its array.
    unsafe { ram::c_string(gendisk::disk_name.at(disk)) }.to_str_lossy().into_owned()
}

/// How many sectors a disk has.
pub(crate) fn sectors(disk: u64) -> u64 {
    // SAFETY: a disk.
    unsafe { block_device::bd_nr_sectors.get(whole(disk)) }
}

/// `BD_READ_ONLY` of kernels that have flags in `struct block_device`.
const READ_ONLY: u32 = 1 << 8;

/// Whether a disk may only be read.
pub(crate) fn is_read_only(disk: u64) -> bool {
    let at = whole(disk);
    // SAFETY: a disk's block device.
    unsafe {
        if block_device::bd_read_only.offset().is_some() {
            block_device::bd_read_only.get::<u8>(at) != 0
        } else {
            block_device::bd_flags.get::<u32>(at) & READ_ONLY != 0
        }
    }
}

/// `struct gendisk *__blk_alloc_disk(int node, struct lock_class_key *)`; since 6.9 the limits come first.
extern "C" fn __blk_alloc_disk(first: u64) -> u64 {
    let caller = ram::caller();
    let limits = if queue::limits_come_first() { first } else { 0 };
    let made = make(limits, caller);
    // What came with limits answers with an error as a pointer.
    if made == 0 && queue::limits_come_first() { Errno::ENOMEM.to_pointer() } else { made }
}

fn make(limits: u64, caller: u64) -> u64 {
    let queue = queue::make(limits, caller);
    if queue == 0 {
        return 0;
    }
    let disk = make_over(queue, caller);
    if disk == 0 {
        queue::free(queue);
    }
    disk
}

/// `struct gendisk *__blk_mq_alloc_disk(struct blk_mq_tag_set *, void *queuedata, struct lock_class_key *)`; since 6.9 the limits come
/// before the data.
extern "C" fn __blk_mq_alloc_disk(set: u64, second: u64, third: u64) -> u64 {
    let caller = ram::caller();
    let (limits, data) = if queue::limits_come_first() { (second, third) } else { (0, second) };
    // SAFETY: the driver's tag set and limits.
    let made = unsafe { mq::queues::make(set, limits, data, caller) }.and_then(|queue| {
        mq::queues::belongs_to_disk(queue);
        match make_over(queue, caller) {
            0 => {
                mq::queues::put(queue, caller);
                Err(Errno::ENOMEM)
            }
            disk => Ok(disk),
        }
    });
    made.unwrap_or_else(Errno::to_pointer)
}
/// `struct gendisk *blk_mq_alloc_disk_for_queue(struct request_queue *, struct lock_class_key *)`: null without memory.
extern "C" fn blk_mq_alloc_disk_for_queue(queue: u64) -> u64 {
    let caller = ram::caller();
    if !mq::queues::hold(queue) {
        return 0;
    }
    let made = make_over(queue, caller);
    if made == 0 {
        mq::queues::put(queue, caller);
    }
    made
}

/// A disk over a queue, whose reference it takes; 0 without memory.
fn make_over(queue: u64, caller: u64) -> u64 {
    let disk = slab::allocate(gendisk::SIZE.get(), 64, slab::ZERO, caller);
    let part = slab::allocate(block_device::SIZE.get(), 64, slab::ZERO, caller);
    let inode = vfs::make_inode(BLOCK | 0o600, 0);
    let statistics = percpu::allocate(STATISTICS.get(), 8, caller);
    if [disk, part, inode, statistics].contains(&0) {
        for made in [disk, part, inode] {
            slab::release(made, 0);
        }
        percpu::release(statistics, 0);
        return 0;
    }
    // SAFETY: three zeroed blocks of the structs' sizes, and an inode.
    unsafe {
        gendisk::queue.set(disk, queue);
        gendisk::part0.set(disk, part);
        gendisk::node_id.set(disk, -1i32);
        locks::init_list(mutex::wait_list.at(gendisk::open_mutex.at(disk)));
        if gendisk::slave_bdevs.offset().is_some() {
            locks::init_list(gendisk::slave_bdevs.at(disk));
        }
        queue::set_disk(queue, disk);
        block_device::bd_disk.set(part, disk);
        block_device::bd_queue.set(part, queue);
        if block_device::bd_inode.offset().is_some() {
            block_device::bd_inode.set(part, inode);
        }
        if block_device::bd_mapping.offset().is_some() {
            block_device::bd_mapping.set(part, vfs::inode::i_data.at(inode));
        }
        // Drivers count in them inline, and clear them.
        block_device::bd_stats.set(part, statistics);
        INODES.lock().push((part, inode));
        let dev = block_device::bd_device.at(part);
        device::begin(dev);
        c_device::class.set(dev, disk_class());
    }
    disk
}

/// The inode of each block device.
static INODES: Lock<Vec<(u64, u64)>> = Lock::new(Vec::new());

/// The inode of a block device.
pub(crate) fn inode_of(device: u64) -> u64 {
    INODES.lock().iter().find(|(other, _)| *other == device).map_or(0, |&(_, inode)| inode)
}

/// The last reference of a disk is gone: `void (*dev_release)(struct device *)` of the class.
extern "C" fn disk_release(dev: u64) {
    let part = block_device::bd_device.container(dev);
    // SAFETY: the device of a disk, and the function of its driver.
    unsafe {
        let disk: u64 = block_device::bd_disk.get(part);
        let ops: u64 = gendisk::fops.get(disk);
        let free: u64 = if ops == 0 { 0 } else { block_device_operations::free_disk.get(ops) };
        if free != 0 {
            ram::call(free, [disk]);
        }
        buffers::drop_all(part);
        percpu::release(block_device::bd_stats.get(part), 0);
        slab::release(inode_of(part), 0);
        INODES.lock().retain(|(other, _)| *other != part);
        mq::queues::leave_disk(gendisk::queue.get(disk), 0);
        slab::release(part, 0);
        slab::release(disk, 0);
    }
}

/// `void set_capacity(struct gendisk *, sector_t)`
extern "C" fn set_capacity(disk: u64, sectors: u64) {
    let part = whole(disk);
    // SAFETY: the module's disk.
    unsafe {
        block_device::bd_nr_sectors.set(part, sectors);
        vfs::inode::i_size.set(inode_of(part), sectors.saturating_mul(SECTOR));
    }
}
/// `bool set_capacity_and_notify(struct gendisk *, sector_t)`
extern "C" fn set_capacity_and_notify(disk: u64, sectors: u64) -> bool {
    let before = self::sectors(disk);
    set_capacity(disk, sectors);
    if !is_live(disk) || before == sectors || is_hidden(disk) {
        return false;
    }
    let text = alloc::format!("\x016{}: detected capacity change from {before} to {sectors}\n", name(disk));
    kernel().printk(text.as_bytes());
    let tells = before != 0 && sectors != 0;
    if tells {
        crate::uevent::send(device::object(device_of(disk)), "change", &[b"RESIZE=1".to_vec()]);
    }
    tells
}
/// `void set_disk_ro(struct gendisk *, bool)`
extern "C" fn set_disk_ro(disk: u64, read_only: bool) {
    let at = whole(disk);
    // SAFETY: the module's disk.
    unsafe {
        if block_device::bd_read_only.offset().is_some() {
            block_device::bd_read_only.set(at, u8::from(read_only));
        } else {
            let flags = block_device::bd_flags.get::<u32>(at);
            block_device::bd_flags.set(at, if read_only { flags | READ_ONLY } else { flags & !READ_ONLY });
        }
    }
}

/// `int device_add_disk(struct device *parent, struct gendisk *, const struct attribute_group **)`
extern "C" fn device_add_disk(parent: u64, disk: u64, groups: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(add(parent, disk, groups, caller))
}

fn add(parent: u64, disk: u64, groups: u64, caller: u64) -> Result<(), Errno> {
    let dev = device_of(disk);
    // SAFETY: the module's disk.
    let number = unsafe {
        let (major, minor, minors): (u32, u32, u32) =
            (gendisk::major.get(disk), gendisk::first_minor.get(disk), gendisk::minors.get(disk));
        if major == 0 {
            let taken = |minor: &u32| DISKS.lock().iter().all(|(other, _)| *other != Number::new(EXTENDED, *minor).0);
            let minor = (0..1 << 20).find(taken).ok_or(Errno::EBUSY)?;
            gendisk::major.set(disk, EXTENDED);
            gendisk::first_minor.set(disk, minor);
            Number::new(EXTENDED, minor).0
        } else if minors == 0 {
            return Err(Errno::EINVAL);
        } else {
            Number::new(major, minor).0
        }
    };
    let name = name(disk);
    kobject::set_name(device::object(dev), name.as_bytes(), caller)?;
    // SAFETY: as above.
    unsafe {
        c_device::devt.set(dev, number);
        c_device::parent.set(dev, parent);
        c_device::groups.set(dev, groups);
        block_device::bd_dev.set(whole(disk), number);
    }
    DISKS.lock().push((number, disk));
    if let Err(errno) = device::add_for(dev, caller).and_then(|()| show(disk)) {
        DISKS.lock().retain(|&(_, other)| other != disk);
        return Err(errno);
    }
    Ok(())
}

/// What `/sys/block/NAME` says of a disk.
fn show(disk: u64) -> Result<(), Errno> {
    let path = path(disk).ok_or(Errno::ENOENT)?;
    kernel().files.make_directories("/sys/block");
    crate::sysfs::add_link("/sys/block", &path, &name(disk))?;
    let attributes: [queue::Attribute; 8] = [
        ("size", sectors),
        ("ro", |disk| is_read_only(disk).into()),
        ("removable", |disk| has_flag(disk, "GENHD_FL_REMOVABLE", 1 << 0).into()),
        ("hidden", |disk| is_hidden(disk).into()),
        // SAFETY: a disk.
        ("range", |disk| unsafe { gendisk::minors.get::<u32>(disk) }.into()),
        ("ext_range", |disk| if has_flag(disk, "GENHD_FL_NO_PART", 1 << 2) { 1 } else { PARTS }),
        ("alignment_offset", queue::alignment_offset),
        ("discard_alignment", queue::discard_alignment),
    ];
    for (name, value) in attributes {
        kernel().files.add(&alloc::format!("{path}/{name}"), number_file(disk, value))?;
    }
    kernel().files.make_directories(&alloc::format!("{path}/queue"));
    for (name, value) in queue::ATTRIBUTES {
        kernel().files.add(&alloc::format!("{path}/queue/{name}"), number_file(disk, *value))?;
    }
    for (name, word) in queue::WORDS {
        let file = files::read_only(0o444, move || alloc::format!("{}\n", word(disk)).into_bytes());
        kernel().files.add(&alloc::format!("{path}/queue/{name}"), file)?;
    }
    mq::show::add(&path, disk)
}

fn number_file(disk: u64, value: fn(u64) -> u64) -> Node {
    files::read_only(0o444, move || alloc::format!("{}\n", value(disk)).into_bytes())
}

/// `DISK_MAX_PARTS`: so many minors a disk may have with those that are given out as they are needed.
const PARTS: u64 = 256;

/// Whether a disk has a flag: by its name, or as it was numbered before it had one.
fn has_flag(disk: u64, name: &str, before: u32) -> bool {
    let flag = crate::boot::facts().btf().enum_value(name).map_or(before, |value| value as u32);
    // SAFETY: a disk.
    unsafe { gendisk::flags.get::<u32>(disk) & flag != 0 }
}

/// Whether nobody is to see a disk.
fn is_hidden(disk: u64) -> bool {
    has_flag(disk, "GENHD_FL_HIDDEN", 1 << 1)
}

/// `void del_gendisk(struct gendisk *)`
extern "C" fn del_gendisk(disk: u64) {
    let caller = ram::caller();
    kernel().files.remove(&alloc::format!("/sys/block/{}", name(disk)));
    if let Some(path) = path(disk) {
        kernel().files.remove(&alloc::format!("{path}/queue"));
        mq::show::remove(&path);
    }
    DISKS.lock().retain(|&(_, other)| other != disk);
    // Whoever has it open finds nothing in it any more.
    set_capacity(disk, 0);
    buffers::drop_unused(whole(disk));
    ranges::remove(disk);
    device::delete(device_of(disk));
    // SAFETY: the driver's disk.
    unsafe { mq::queues::disk_goes(gendisk::queue.get(disk), caller) };
}
/// `void put_disk(struct gendisk *)`
extern "C" fn put_disk(disk: u64) {
    if disk != 0 {
        kobject::put(device::object(device_of(disk)));
    }
}

/// `int lookup_bdev(const char *, dev_t *)`
extern "C" fn lookup_bdev(path: u64, number: u64) -> i32 {
    // SAFETY: the module's C string and `dev_t`.
    unsafe {
        match by_path(&ram::c_string(path).to_str_lossy()) {
            Ok(disk) => {
                ram::put(number, block_device::bd_dev.get::<u32>(whole(disk)));
                0
            }
            Err(errno) => errno.to_return(),
        }
    }
}

/// `int sync_blockdev(struct block_device *)`: nothing is kept back.
extern "C" fn sync_blockdev() -> i32 {
    0
}

/// `/proc/partitions`
pub(crate) fn partitions() -> Vec<u8> {
    let mut out = String::from("major minor  #blocks  name\n\n");
    let disks = DISKS.lock().clone();
    for (number, disk) in disks {
        if sectors(disk) == 0 || is_hidden(disk) {
            continue;
        }
        let number = Number(number);
        let line =
            alloc::format!("{:4}  {:7} {:10} {}\n", number.major(), number.minor(), sectors(disk) / 2, name(disk));
        out.push_str(&line);
    }
    out.into_bytes()
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __blk_alloc_disk, c __blk_mq_alloc_disk, c blk_mq_alloc_disk_for_queue, c disk_release, c set_capacity, c set_capacity_and_notify, c set_disk_ro, c device_add_disk, c del_gendisk,
    c put_disk, c lookup_bdev, k sync_blockdev,
];
