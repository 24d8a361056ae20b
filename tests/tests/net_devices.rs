//! Network devices of unmodified modules: they come, are used, refuse what Linux refuses, and go.

mod survey;
mod world;

use ferrmod_machine::{Argument, LoadOutcome, Outcome};
use ferrmod_tests::corpus::tree_or_skip;
use world::{World, text};

/// The kernels whose modules are used.
const KERNELS: [&str; 2] = ["6.1", "6.12"];
/// Where kinds of links are seen, and devices of them asked for.
const LINKS: &str = "/proc/ferrmod-links";
/// `EEXIST`, `EINVAL`, `EOPNOTSUPP`, `ENODEV` of Linux.
const EXISTS: i32 = 17;
const INVALID: i32 = 22;
const UNSUPPORTED: i32 = 95;
const NO_DEVICE: i32 = 19;
/// `NET_XMIT_CN`: what a queue that takes nothing answers.
const REFUSED: i32 = 2;
/// `GFP_KERNEL`
const KERNEL: u64 = 0xcc0;

impl World {
    fn devices(&mut self) -> Vec<String> {
        self.names("/sys/class/net")
    }

    /// The devices of `/proc/net/dev`.
    fn table(&mut self) -> Vec<String> {
        let text = self.read("/proc/net/dev");
        text.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
    }

    /// A file of a device.
    fn of(&mut self, device: &str, file: &str) -> String {
        self.read(&format!("/sys/class/net/{device}/{file}")).trim_end().to_owned()
    }

    fn ask(&mut self, request: &str) -> Outcome<u64> {
        self.write(LINKS, request)
    }

    /// The address of a registered device.
    fn device(&mut self, name: &str) -> u64 {
        let namespace = self.symbol("init_net");
        self.call("__dev_get_by_name", &[Argument::Value(namespace), text(name)])
    }

    /// Makes a device called `name` that is not registered.
    fn make(&mut self, name: &str) -> u64 {
        let setup = self.symbol("ether_setup");
        let numbers = [Argument::Value(0), text(name), Argument::Value(1), Argument::Value(setup)];
        self.call("alloc_netdev_mqs", &[&numbers[..], &[Argument::Value(1), Argument::Value(1)]].concat())
    }

    /// Sends a packet of `length` zeros through a device.
    fn send(&mut self, device: u64, length: u64) -> i32 {
        let packet = self
            .call("__netdev_alloc_skb", &[Argument::Value(device), Argument::Value(length), Argument::Value(KERNEL)]);
        assert_ne!(packet, 0);
        let at = self.call("skb_put", &[Argument::Value(packet), Argument::Value(length)]);
        assert!(self.machine.poke(at, &vec![0; length as usize]).unwrap());
        self.call("__dev_queue_xmit", &[Argument::Value(packet), Argument::Value(0)]) as i32
    }
}

#[test]
fn devices_appear_at_load_and_disappear_at_unload() {
    for kernel in KERNELS {
        let Some(tree) = tree_or_skip(kernel) else { continue };
        let mut world = World::boot(tree);
        assert_eq!(world.devices(), ["lo"], "{kernel}");
        world.load("dummy", "numdummies=2");
        world.load("eql", "");
        world.load("ifb", "numifbs=1");
        assert_eq!(world.devices(), ["dummy0", "dummy1", "eql", "ifb0", "lo"], "{kernel}");
        assert_eq!(world.table(), ["lo", "dummy0", "dummy1", "eql", "ifb0"], "{kernel}");
        let numbers: Vec<String> =
            ["lo", "dummy0", "dummy1", "eql", "ifb0"].map(|device| world.of(device, "ifindex")).to_vec();
        assert_eq!(numbers, ["1", "2", "3", "4", "5"], "{kernel}");
        world.unload("eql");
        assert_eq!(world.table(), ["lo", "dummy0", "dummy1", "ifb0"], "{kernel}");
        world.unload("dummy");
        world.unload("ifb");
        assert_eq!((world.devices(), world.table()), (vec!["lo".to_owned()], vec!["lo".to_owned()]), "{kernel}");
        world.is_clean();
    }
}

#[test]
fn a_name_is_taken_once_and_numbers_are_filled_up() {
    for kernel in KERNELS {
        let Some(tree) = tree_or_skip(kernel) else { continue };
        let mut world = World::boot(tree);
        world.load("dummy", "numdummies=0");
        assert_eq!(world.ask("add eql type dummy"), Outcome::Done(18), "{kernel}");
        assert_eq!(world.try_load("eql", ""), LoadOutcome::Errno(EXISTS), "{kernel}: its name is taken");
        assert_eq!(world.ask("add eql type dummy"), Outcome::Errno(EXISTS), "{kernel}");
        for name in ["d/0", "d:0", ".", "a_name_that_is_too_long", "d%s", "d%d%d"] {
            assert_eq!(world.ask(&format!("add {name} type dummy")), Outcome::Errno(INVALID), "{kernel}: {name}");
        }
        assert_eq!(world.ask("add d0 type no_such_kind"), Outcome::Errno(UNSUPPORTED), "{kernel}");
        assert_eq!(world.ask("del d0"), Outcome::Errno(NO_DEVICE), "{kernel}");
        for _ in 0..3 {
            world.ask("add d%d type dummy").done().expect("a number is free");
        }
        world.ask("del d1").done().expect("it is there");
        world.ask("add d%d type dummy").done().expect("1 is free again");
        assert_eq!(world.table(), ["lo", "eql", "d0", "d2", "d1"], "{kernel}");
        world.ask("del eql").done().expect("it is there");
        world.load("eql", "");
        world.unload("dummy");
        assert_eq!(world.table(), ["lo", "eql"], "{kernel}: the devices of a kind go with it");
        world.unload("eql");
        world.is_clean();
    }
}

#[test]
fn what_is_done_in_the_wrong_order_is_answered_as_on_linux() {
    for kernel in KERNELS {
        let Some(tree) = tree_or_skip(kernel) else { continue };
        let mut world = World::boot(tree);
        let device = world.make("wrong%d");
        assert_eq!(world.device("wrong0"), 0, "{kernel}: it is not registered yet");
        // Linux warns of what never was registered, and goes on.
        world.call("unregister_netdev", &[Argument::Value(device)]);
        assert!(world.log().contains("never was registered"), "{kernel}{}", world.log());
        assert_eq!(world.call("register_netdev", &[Argument::Value(device)]) as i32, 0, "{kernel}{}", world.log());
        assert_eq!(world.device("wrong0"), device, "{kernel}");
        let other = world.make("wrong0");
        assert_eq!(world.call("register_netdev", &[Argument::Value(other)]) as i32, -EXISTS, "{kernel}");
        world.call("free_netdev", &[Argument::Value(other)]);
        let bad = world.make("bad/name");
        assert_eq!(world.call("register_netdev", &[Argument::Value(bad)]) as i32, -INVALID, "{kernel}");
        world.call("free_netdev", &[Argument::Value(bad)]);
        // `BUG_ON` on Linux.
        assert_eq!(world.try_call("free_netdev", &[Argument::Value(device)]), Outcome::Oopsed, "{kernel}");
        assert_eq!(world.device("wrong0"), device, "{kernel}: it is still there");
    }
}

#[test]
fn packets_go_through_queues_and_drivers_and_are_counted() {
    for kernel in KERNELS {
        let Some(tree) = tree_or_skip(kernel) else { continue };
        let mut world = World::boot(tree);
        world.load("dummy", "");
        world.load("eql", "");
        let dummy = world.device("dummy0");
        assert_eq!(world.send(dummy, 60), REFUSED, "{kernel}: it is down");
        assert_eq!(world.of("dummy0", "statistics/tx_packets"), "0", "{kernel}");
        world.write("/sys/class/net/dummy0/flags", "0x83").done().expect("it goes up");
        for length in [60, 1000, 1514] {
            assert_eq!(world.send(dummy, length), 0, "{kernel}{}", world.log());
        }
        assert_eq!(world.of("dummy0", "statistics/tx_packets"), "3", "{kernel}");
        assert_eq!(world.of("dummy0", "statistics/tx_bytes"), "2574", "{kernel}");
        // One with a queue: its driver has nobody to send to, and counts what it drops.
        world.write("/sys/class/net/eql/flags", "0x401").done().expect("it goes up");
        let eql = world.device("eql");
        for _ in 0..9 {
            assert_eq!(world.send(eql, 64), 0, "{kernel}{}", world.log());
        }
        assert_eq!(world.of("eql", "statistics/tx_dropped"), "9", "{kernel}");
        // What is sent through `lo` is received there; nobody takes it.
        world.write("/sys/class/net/lo/flags", "0x9").done().expect("it goes up");
        let lo = world.device("lo");
        assert_eq!(world.send(lo, 100), 0, "{kernel}{}", world.log());
        for (name, count) in [("rx_packets", "1"), ("tx_packets", "1"), ("rx_bytes", "100"), ("rx_dropped", "1")] {
            assert_eq!(world.of("lo", &format!("statistics/{name}")), count, "{kernel}: {name}{}", world.log());
        }
        world.unload("eql");
        world.unload("dummy");
        world.is_clean();
    }
}
