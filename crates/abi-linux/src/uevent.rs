//! Events about objects: what user space would be told.
//!
//! Nobody listens in a machine; the last events are kept and can be read as `/proc/ferrmod-uevents`.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::Errno;
use ferrmod_kernel::lock::Lock;

use crate::export::{Export, exports};
use crate::field::layout;
use crate::kobject::{self, ADD_SENT, REMOVE_SENT, SUPPRESSED, kobject as c_kobject, kset};
use crate::{printf, ram, slab, sysfs};

layout! {
    mod kset_uevent_ops = "kset_uevent_ops" { filter, name, uevent }
    pub(crate) mod kobj_uevent_env = "kobj_uevent_env" { envp, envp_idx, buf, buflen }
}

/// `UEVENT_NUM_ENVP`, `UEVENT_BUFFER_SIZE`
const VARIABLES: i32 = 64;
const ROOM: i32 = 2048;
/// Events that are kept.
const KEPT: usize = 256;

/// `enum kobject_action`
const ACTIONS: [&str; 8] = ["add", "remove", "change", "move", "online", "offline", "bind", "unbind"];

/// Whether this is the name of an action.
pub(crate) fn is_action(name: &str) -> bool {
    ACTIONS.contains(&name)
}

static EVENTS: Lock<(u64, VecDeque<String>)> = Lock::new((0, VecDeque::new()));

/// The kept events, oldest first.
pub(crate) fn list() -> Vec<u8> {
    EVENTS.lock().1.iter().flat_map(|event| event.bytes()).collect()
}

/// Adds `text` to an environment.
pub(crate) fn add_variable(env: u64, text: &[u8]) -> i32 {
    // SAFETY: an environment that `send` made.
    unsafe {
        let index: i32 = kobj_uevent_env::envp_idx.get(env);
        let used: i32 = kobj_uevent_env::buflen.get(env);
        if index >= VARIABLES || used + text.len() as i32 + 1 > ROOM {
            return Errno::ENOMEM.to_return();
        }
        let at = kobj_uevent_env::buf.at(env) + used as u64;
        ram::bytes_mut(at, text.len() as u64).copy_from_slice(text);
        ram::put(at + text.len() as u64, 0u8);
        ram::put(kobj_uevent_env::envp.at(env) + 8 * index as u64, at);
        kobj_uevent_env::envp_idx.set(env, index + 1);
        kobj_uevent_env::buflen.set(env, used + text.len() as i32 + 1);
    }
    0
}

/// `int add_uevent_var(struct kobj_uevent_env *, const char *, ...)`
extern "C" fn add_uevent_var(env: u64, format: u64, list: u64) -> i32 {
    add_variable(env, &printf::text_of(format, list))
}

/// Tells that something happened to an object, with more variables; an error number of Linux, or 0.
pub(crate) fn send(object: u64, action: &str, more: &[Vec<u8>]) -> i32 {
    if action == "remove" {
        kobject::change_state(object, REMOVE_SENT, 0);
    }
    // SAFETY: the caller's object, those above it, and the functions of their set.
    unsafe {
        let mut top = object;
        while c_kobject::kset.get::<u64>(top) == 0 {
            top = c_kobject::parent.get(top);
            if top == 0 {
                return Errno::EINVAL.to_return();
            }
        }
        if kobject::state(object) & SUPPRESSED != 0 {
            return 0;
        }
        let set: u64 = c_kobject::kset.get(top);
        let ops: u64 = kset::uevent_ops.get(set);
        let function = |field: &crate::field::Field| if ops == 0 { 0 } else { field.get::<u64>(ops) };
        let filter = function(&kset_uevent_ops::filter);
        if filter != 0 && ram::call(filter, [object]) as i32 == 0 {
            return 0;
        }
        let namer = function(&kset_uevent_ops::name);
        let subsystem = match namer {
            0 => kobject::name(kset::kobj.at(set)),
            namer => ram::c_string_or_empty(ram::call(namer, [object])).to_str_lossy().into_owned(),
        };
        if subsystem.is_empty() {
            return 0;
        }
        let env = slab::allocate(kobj_uevent_env::SIZE.get(), 8, slab::ZERO, 0);
        if env == 0 {
            return Errno::ENOMEM.to_return();
        }
        let path = kobject::path(object).unwrap_or_default();
        let path = path.strip_prefix("/sys").unwrap_or(&path);
        let mut first = alloc::vec![
            alloc::format!("ACTION={action}").into_bytes(),
            alloc::format!("DEVPATH={path}").into_bytes(),
            alloc::format!("SUBSYSTEM={subsystem}").into_bytes(),
        ];
        first.extend_from_slice(more);
        let mut result =
            first.iter().map(|variable| add_variable(env, variable)).find(|&result| result != 0).unwrap_or(0);
        let uevent = function(&kset_uevent_ops::uevent);
        if result == 0 && uevent != 0 {
            result = ram::call(uevent, [object, env]) as i32;
        }
        if result == 0 {
            if action == "add" {
                kobject::change_state(object, ADD_SENT, 0);
            }
            keep(action, path, env);
        }
        slab::release(env, 0);
        result
    }
}

/// Gives `use_it` an empty environment; nothing happens without memory.
pub(crate) fn with_environment(use_it: impl FnOnce(u64)) {
    let env = slab::allocate(kobj_uevent_env::SIZE.get(), 8, slab::ZERO, 0);
    if env != 0 {
        use_it(env);
        slab::release(env, 0);
    }
}

/// The variables of an environment, one a line.
pub(crate) fn environment_text(env: u64) -> Vec<u8> {
    // SAFETY: an environment of ours; each entry is a C string in its buffer.
    unsafe {
        let count = kobj_uevent_env::envp_idx.get::<i32>(env) as u64;
        let mut text = Vec::new();
        for index in 0..count {
            text.extend_from_slice(&ram::c_string_or_empty(ram::get(kobj_uevent_env::envp.at(env) + 8 * index)));
            text.push(b'\n');
        }
        text
    }
}

/// Remembers an event.
fn keep(action: &str, path: &str, env: u64) {
    let text = environment_text(env).to_str_lossy().into_owned();
    let mut text = alloc::format!("{action}@{path}\n{text}");
    let mut events = EVENTS.lock();
    events.0 += 1;
    text.push_str(&alloc::format!("SEQNUM={}\n\n", events.0));
    if events.1.len() == KEPT {
        events.1.pop_front();
    }
    events.1.push_back(text);
}

/// `int kobject_uevent_env(struct kobject *, enum kobject_action, char *envp[])`
extern "C" fn kobject_uevent_env(object: u64, action: u32, variables: u64) -> i32 {
    let Some(action) = ACTIONS.get(action as usize) else { return Errno::EINVAL.to_return() };
    // SAFETY: the module's array of C strings.
    let more: Vec<Vec<u8>> = unsafe { sysfs::pointers(variables).map(|text| ram::c_string(text).to_vec()).collect() };
    send(object, action, &more)
}
extern "C" fn kobject_uevent(object: u64, action: u32) -> i32 {
    kobject_uevent_env(object, action, 0)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![v2 add_uevent_var, c kobject_uevent_env, c kobject_uevent];
