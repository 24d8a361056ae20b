//! Loads and unloads as they happen.

use std::fs;

use ferrmod_audit::{Change, Follow};

use crate::world::World;

#[test]
fn what_comes_and_goes_is_told_once() {
    let world = World::new();
    world.file("proc/modules", "old 1 0 - Live 0x0\n");
    world.file("dev/kmsg", "");
    let mut follow = Follow::new(world.kernel()).unwrap();
    assert_eq!((follow.poll().unwrap(), follow.log_problem()), (vec![], None));

    world.file("proc/modules", "evil 4096 0 - Live 0x0 (OE)\ncoming 1 1 - Loading 0x0 (+)\nold 1 0 - Live 0x0\n");
    let log = "4,1,1,-;evil: loading out-of-tree module taints kernel.\n4,2,2,-;flash: module verification failed: signature and/or required key missing - tainting kernel\n30,3,3,-;user: evil: not the kernel\n6,4,4,-;eth0: up\n";
    fs::write(world.path("dev/kmsg"), log).unwrap();
    let events = follow.poll().unwrap();
    let short: Vec<_> = events.iter().map(|event| (event.change, event.module.as_str(), event.log.len())).collect();
    assert_eq!(short, [(Change::Loaded, "evil", 1), (Change::Mentioned, "flash", 1)]);
    assert_eq!((events[0].taints.as_str(), events[0].size), ("OE", Some(4096)));
    assert_eq!(follow.poll().unwrap(), []);

    world.file("proc/modules", "evil 8192 0 - Live 0x0 (OE)\n");
    let events = follow.poll().unwrap();
    let short: Vec<_> = events.iter().map(|event| (event.change, event.module.as_str())).collect();
    assert_eq!(short, [(Change::Unloaded, "old"), (Change::Reloaded, "evil")]);
    world.remove("proc/modules");
    assert!(follow.poll().is_err());
}

#[test]
fn the_log_is_not_needed() {
    let world = World::new();
    let mut follow = Follow::new(world.kernel()).unwrap();
    assert!(follow.log_problem().unwrap().contains("kmsg"));
    world.load("one", 0, "");
    assert_eq!(follow.poll().unwrap()[0].change, Change::Loaded);
}
