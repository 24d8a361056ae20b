//! What modules register is not only remembered: it is seen in the machine's files, and it works.

mod survey;
mod world;

use ferrmod_machine::{Argument, Outcome};
use ferrmod_tests::corpus::tree_or_skip;
use world::{World, text};

impl World {
    /// Calls an exported function that gives back an int.
    fn call_int(&mut self, name: &str, arguments: &[Argument]) -> i32 {
        self.call(name, arguments) as i32
    }

    fn peek(&mut self, address: u64, length: u64) -> Vec<u8> {
        self.machine.peek(address, length).unwrap().unwrap_or_else(|| panic!("{address:#x}"))
    }

    /// Memory of the machine with these bytes, for arguments that outlive one call.
    fn memory(&mut self, bytes: &[u8]) -> u64 {
        let at = self.machine.allocate(bytes.len() as u64, 64).unwrap();
        assert!(self.machine.poke(at, bytes).unwrap());
        at
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

#[test]
fn a_character_set_is_found_by_name_and_held_while_it_is_used() {
    for version in ["6.1", "6.12"] {
        let Some(tree) = tree_or_skip(version) else { continue };
        let mut world = World::answering(tree);
        // Nobody has it: it is requested.
        let table = world.call("load_nls", &[text("cp437")]);
        assert_ne!(table, 0);
        let loaded = world.machine.list().unwrap();
        assert_eq!((loaded.len(), loaded[0].name.to_string(), loaded[0].references), (1, "nls_cp437".into(), 1));
        // `struct nls_table`: charset, alias, uni2char, char2uni.
        let (charset, to_unicode) = (number(&world.peek(table, 8)), number(&world.peek(table + 24, 8)));
        assert_eq!(world.peek(charset, 6), b"cp437\0");
        let out = world.memory(&[0; 2]);
        let arguments = [Argument::In(vec![0x81]), Argument::Value(1), Argument::Value(out)];
        assert_eq!(world.machine.call(to_unicode, &arguments).unwrap().done().unwrap().value as i32, 1);
        assert_eq!(number(&world.peek(out, 2)), u64::from('ü'));
        assert_eq!(world.machine.unload(b"nls_cp437", false).unwrap(), Outcome::Errno(11), "it is in use");
        world.call("unload_nls", &[Argument::Value(table)]);
        world.unload("nls_cp437");
        assert_eq!(world.call("load_nls", &[text("no-such-set")]), 0);
        world.is_clean();
    }
}

#[test]
fn texts_are_searched_with_the_algorithm_that_was_asked_for() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::answering(tree);
    let hay = b"a needle in a haystack of needles";
    for algorithm in ["kmp", "bm"] {
        /// `TS_AUTOLOAD`, `GFP_KERNEL`
        const AUTOLOAD: u64 = 1;
        const KERNEL: u64 = 0xcc0;
        let pattern =
            [text(algorithm), text("needles"), Argument::Value(7), Argument::Value(KERNEL), Argument::Value(AUTOLOAD)];
        let search = world.call("textsearch_prepare", &pattern);
        assert!(search < 1 << 62, "{algorithm}: {search:#x}");
        let arguments =
            [Argument::Value(search), Argument::Out(56), Argument::In(hay.to_vec()), Argument::Value(hay.len() as u64)];
        assert_eq!(world.call_int("textsearch_find_continuous", &arguments), 26, "{algorithm}");
        world.call("textsearch_destroy", &[Argument::Value(search)]);
        world.unload(&format!("ts_{algorithm}"));
    }
    world.is_clean();
}

#[test]
fn a_misc_device_has_its_node_its_attributes_and_its_events() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::answering(tree);
    world.load("test_firmware", "");
    let device = "/sys/devices/virtual/misc/test_firmware";
    assert!(world.names("/dev").contains(&"test_firmware".into()));
    assert!(world.names("/sys/class/misc").contains(&"test_firmware".into()));
    assert!(world.names(device).contains(&"config_num_requests".into()));
    assert!(world.read(&format!("{device}/dev")).starts_with("10:"));
    assert!(world.read("/proc/devices").contains(" 10 misc\n"));
    assert!(world.read("/proc/ferrmod-uevents").contains("add@/devices/virtual/misc/test_firmware\n"));
    // An attribute keeps what is written to it.
    assert_eq!(world.write(&format!("{device}/config_num_requests"), "7\n"), Outcome::Done(2));
    assert_eq!(world.read(&format!("{device}/config_num_requests")), "7\n");
    // There is no firmware, and the device's file is empty.
    assert_eq!(world.write(&format!("{device}/trigger_request"), "no-such.bin"), Outcome::Errno(2));
    assert!(world.log().contains("Direct firmware load for no-such.bin failed with error -2"));
    assert_eq!(world.read("/dev/test_firmware"), "");
    world.unload("test_firmware");
    assert!(!world.names("/dev").contains(&"test_firmware".into()));
    assert!(world.read("/proc/ferrmod-uevents").contains("remove@/devices/virtual/misc/test_firmware\n"));
    world.is_clean();
}

#[test]
fn debugfs_files_call_their_module() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::answering(tree);
    world.load("pm_notifier_error_inject", "");
    let file = "/sys/kernel/debug/notifier-error-inject/pm/actions/PM_SUSPEND_PREPARE/error";
    assert_eq!(world.read(file), "0\n");
    assert_eq!(world.write(file, "-12\n"), Outcome::Done(4));
    assert_eq!(world.read(file), "-12\n");
    assert_eq!(world.write(file, "twelve"), Outcome::Errno(22));
    world.unload("pm_notifier_error_inject");
    world.unload("notifier_error_inject");
    assert!(!world.names("/sys/kernel/debug").contains(&"notifier-error-inject".into()));
    world.is_clean();
}

#[test]
fn a_platform_device_meets_its_driver_and_shows_in_proc() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::answering(tree);
    world.load("snd_dummy", "");
    assert!(world.names("/sys/bus/platform/drivers/snd_dummy").contains(&"snd_dummy.0".into()), "{}", world.log());
    let cards = world.read("/proc/asound/cards");
    assert!(cards.contains("[Dummy          ]: Dummy - Dummy"), "{cards}");
    assert_eq!(world.read("/proc/asound/modules"), " 0 snd_dummy\n");
    assert!(world.names("/dev/snd").contains(&"controlC0".into()));
    world.unload("snd_dummy");
    assert!(world.read("/proc/asound/cards").contains("no soundcards"));
}

#[test]
fn a_character_device_takes_ioctls() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::answering(tree);
    world.load("tun", "");
    /// `O_RDWR`, and `TUNGETFEATURES` of `linux/if_tun.h`.
    const READ_WRITE: u64 = 2;
    const GET_FEATURES: u64 = 0x8004_54cf;
    let file = world.call("filp_open", &[text("/dev/net/tun"), Argument::Value(READ_WRITE), Argument::Value(0)]);
    assert!(file < 1 << 62, "{file:#x}{}", world.log());
    // A page of user memory: PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS.
    let map = [0, 0, 4096, 3, 0x22, 0].map(Argument::Value);
    let user = world.call("vm_mmap", &map);
    let ask = |command| [Argument::Value(file), Argument::Value(command), Argument::Value(user)];
    assert_eq!(world.call_int("vfs_ioctl", &ask(GET_FEATURES)), 0, "{}", world.log());
    // IFF_TUN, IFF_TAP, IFF_NAPI, IFF_NAPI_FRAGS, IFF_NO_CARRIER, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_ONE_QUEUE, IFF_VNET_HDR.
    assert_eq!(number(&world.peek(user, 4)), 0x7173);
    // Without a device behind it, it cannot be read: EBADFD.
    assert_eq!(
        world.call_int(
            "kernel_read",
            &[Argument::Value(file), Argument::Out(64), Argument::Value(64), Argument::Value(0)]
        ),
        -77
    );
    assert_eq!(world.machine.unload(b"tun", false).unwrap(), Outcome::Errno(11), "a file of it is open");
    world.call("filp_close", &[Argument::Value(file), Argument::Value(0)]);
    world.call("vm_munmap", &[Argument::Value(user), Argument::Value(4096)]);
    world.unload("tun");
    world.is_clean();
}

#[test]
fn a_socket_computes_a_hash() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::answering(tree);
    world.load("algif_hash", "");
    /// `AF_ALG`, `SOCK_SEQPACKET`
    const FAMILY: u64 = 38;
    const PACKETS: u64 = 5;
    let space = world.machine.symbol(b"init_net").unwrap().unwrap();
    let result = world.memory(&[0; 8]);
    let arguments = [space, FAMILY, PACKETS, 0, result].map(Argument::Value);
    assert_eq!(world.call_int("sock_create_kern", &arguments), 0, "{}", world.log());
    let listening = number(&world.peek(result, 8));
    // `struct sockaddr_alg`: family, type[14], feat, mask, name[64].
    let mut address = vec![0; 88];
    address[0] = FAMILY as u8;
    address[2..6].copy_from_slice(b"hash");
    address[24..30].copy_from_slice(b"sha256");
    let bind = [Argument::Value(listening), Argument::In(address), Argument::Value(88)];
    assert_eq!(world.call_int("kernel_bind", &bind), 0, "{}", world.log());
    assert_eq!(world.call_int("kernel_accept", &[listening, result, 0].map(Argument::Value)), 0, "{}", world.log());
    let socket = number(&world.peek(result, 8));
    let data = world.memory(b"abc");
    let digest = world.memory(&[0; 32]);
    let vector = |at: u64, length: u64| Argument::In([at.to_le_bytes(), length.to_le_bytes()].concat());
    let send =
        [Argument::Value(socket), Argument::In(vec![0; 256]), vector(data, 3), Argument::Value(1), Argument::Value(3)];
    assert_eq!(world.call_int("kernel_sendmsg", &send), 3, "{}", world.log());
    let receive = [
        Argument::Value(socket),
        Argument::In(vec![0; 256]),
        vector(digest, 32),
        Argument::Value(1),
        Argument::Value(32),
        Argument::Value(0),
    ];
    assert_eq!(world.call_int("kernel_recvmsg", &receive), 32, "{}", world.log());
    // FIPS 180-4, the example "abc".
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let found: String = world.peek(digest, 32).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found, expected);
    for socket in [socket, listening] {
        world.call("sock_release", &[Argument::Value(socket)]);
    }
    world.unload("algif_hash");
    world.unload("af_alg");
    world.is_clean();
}

/// A probe that is taken from a tracepoint while there is no memory for a shorter list is gone all the same.
#[test]
fn an_event_is_switched_off_without_memory() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut world = World::boot(tree);
    world.load("fscache", "");
    let tracing = "/sys/kernel/tracing";
    let switch = format!("{tracing}/events/fscache/fscache_access/enable");
    let point = Argument::Value(world.symbol("__tracepoint_fscache_access"));
    let other = Argument::Value(world.symbol("ktime_get"));
    let tell = |world: &mut World| {
        world.call("__traceiter_fscache_access", &[0, 1, 2, 3, 4].map(Argument::Value));
        let records = world.read(&format!("{tracing}/trace"));
        records.lines().filter(|line| !line.starts_with('#')).count()
    };
    let probe = [point, other, Argument::Value(0)];
    assert_eq!(world.call_int("tracepoint_probe_register", &probe), 0);
    // One of the first allocations is that of the list; without the others nothing is written.
    for number in 1..8 {
        assert_eq!(world.write(&switch, "1\n"), Outcome::Done(2), "{number}");
        assert_eq!(tell(&mut world), 1, "{number}");
        world.machine.fail_allocation(number).unwrap();
        let switched = world.write(&switch, "0\n");
        world.machine.fail_allocation(0).unwrap();
        if switched == Outcome::Errno(12) {
            assert_eq!(world.write(&switch, "0\n"), Outcome::Done(2), "{number}");
        }
        assert_eq!(tell(&mut world), 1, "{number}: it is off");
        assert_eq!(world.write(&format!("{tracing}/trace"), "\n"), Outcome::Done(1));
    }
    assert_eq!(world.call_int("tracepoint_probe_unregister", &probe), 0);
    assert_eq!(world.call_int("tracepoint_probe_unregister", &probe), -2);
    for module in world.machine.list().unwrap() {
        world.machine.unload(&module.name, false).unwrap();
    }
    world.is_clean();
}

/// A handler says what it leaves of the events since 6.11, and has one way to get them; what a device cannot have is told.
#[test]
fn wrong_uses_of_the_input_core_are_refused() {
    for version in ["6.1", "6.12"] {
        let Some(tree) = tree_or_skip(version) else { continue };
        let mut world = World::boot(tree);
        let made = world.call("input_allocate_device", &[]);
        for (kind, code) in [(1, 0x300), (1, 0x2ff), (5, 0x1000), (0x14, 0), (0x1f, 3)] {
            let arguments = [Argument::Value(made), Argument::Value(kind), Argument::Value(code)];
            world.call("input_set_capability", &arguments);
        }
        let log = world.log();
        let said: Vec<&str> = log.lines().filter(|line| line.contains("input_set_capability")).collect();
        let expected = [
            "input: input_set_capability: invalid code 768 for type 1",
            "input: input_set_capability: invalid code 4096 for type 5",
            "input: input_set_capability: unknown type 20 (code 0)",
            "input: input_set_capability: unknown type 31 (code 3)",
        ];
        assert_eq!(said, expected, "{version}");
        world.call("input_free_device", &[Argument::Value(made)]);
        if version == "6.12" {
            // `private`, `event` and `events` are what it begins with.
            let function = world.symbol("ktime_get");
            let handler =
                world.memory(&[&[0; 8], &function.to_le_bytes()[..], &function.to_le_bytes(), &[0; 512]].concat());
            assert_eq!(world.call_int("input_register_handler", &[Argument::Value(handler)]), -22);
            let said = "input: input_handler_check_methods: only one event processing method can be defined ()";
            assert!(world.log().contains(said), "{}", world.log());
            world.machine.free(handler).unwrap();
        }
        world.is_clean();
    }
}

/// The probe and the text are the module's own, so that layouts of both kernels have to be right; the records go with the module.
#[test]
fn an_event_of_a_module_is_recorded() {
    const WRITE_ONLY: u32 = 1;
    for version in ["6.1", "6.12"] {
        let Some(tree) = tree_or_skip(version) else { continue };
        let mut world = World::boot(tree);
        world.load("sunrpc", "");
        let event = "/sys/kernel/tracing/events/sunrpc/cache_entry_update";
        let format = world.read(&format!("{event}/format"));
        let member = "\tfield:__data_loc char[] name;\toffset:16;\tsize:4;\tsigned:";
        assert!(
            format.contains(member) && format.contains("\nprint fmt: \"cache=%s entry=%p\""),
            "{version}: {format}"
        );
        let tell = |world: &mut World| {
            let channel = world.machine.open("/proc/net/rpc/auth.unix.ip/channel", WRITE_ONLY).unwrap();
            let channel = channel.done().unwrap_or_else(|| panic!("{version}: no channel{}", world.log()));
            let line = b"nfsd 1.2.3.4 2147483647 there\n";
            assert_eq!(world.machine.write(channel, line).unwrap(), Outcome::Done(line.len() as u64), "{version}");
            assert_eq!(world.machine.close(channel).unwrap(), Outcome::Done(()));
        };
        tell(&mut world);
        let records = |world: &mut World| {
            let trace = world.read("/sys/kernel/tracing/trace");
            trace.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(records(&mut world), [""; 0], "{version}: nothing is on");
        assert_eq!(world.write(&format!("{event}/enable"), "1\n"), Outcome::Done(2), "{version}");
        assert_eq!(world.read("/sys/kernel/tracing/set_event"), "sunrpc:cache_entry_update\n");
        tell(&mut world);
        let lines = records(&mut world);
        let [line] = lines.as_slice() else { panic!("{version}: {lines:?}{}", world.log()) };
        assert!(line.contains("cache_entry_update: cache=auth.unix.ip entry=00000000"), "{version}: {line}");
        assert_eq!(world.write("/sys/kernel/tracing/trace", "\n"), Outcome::Done(1));
        assert_eq!(records(&mut world), [""; 0], "{version}");
        tell(&mut world);
        assert_eq!(records(&mut world).len(), 1, "{version}");
        world.unload("sunrpc");
        assert_eq!(records(&mut world), [""; 0], "{version}");
        assert_eq!(world.read("/sys/kernel/tracing/set_event"), "", "{version}");
        for module in world.machine.list().unwrap() {
            world.machine.unload(&module.name, false).unwrap();
        }
        world.is_clean();
    }
}
