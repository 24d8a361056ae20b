//! Templates, the instances they make, and the spawns that tie an instance to what it is made of.

use alloc::vec::Vec;

use ferrmod_kernel::{Errno, kernel};

use super::algorithms::{
    self, add, announce, check, find, flags, forget, hold, hold_module, is_moribund, put, release, release_module,
    set_flags, text,
};
use super::kinds::Kind;
use super::{
    DEAD, DYING, FIPS_INTERNAL, INHERITED, INSTANCE, code, crypto_alg, crypto_instance, crypto_spawn, crypto_template,
    function, result,
};
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::locks::init_list;
use crate::ram;
use crate::waiting::{each, link_first, unlink};

layout! {
    mod hlist_head = "hlist_head" { first }
    mod hlist_node = "hlist_node" { next, pprev }
}

/// What a registered template is called in the list of registrations.
const REGISTRATION: &str = "crypto_template";

/// `crypto_template_list`, which no kernel exports.
static LIST: Datum = Datum::new("crypto_template_list", 16, Begin::With(algorithms::begin_list));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&LIST];

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crypto_register_template, c crypto_register_templates, c crypto_unregister_template, c crypto_unregister_templates,
    c crypto_lookup_template, c crypto_register_instance, c crypto_unregister_instance, c crypto_grab_spawn,
    c crypto_drop_spawn, c crypto_remove_spawns, c crypto_remove_final, c crypto_destroy_instance, c crypto_grab_shash,
    c crypto_grab_ahash, c crypto_grab_skcipher, c crypto_grab_aead, c crypto_grab_akcipher, c crypto_grab_kpp,
];

/// Puts a template into the list.
///
/// # Safety
/// `template` is a `struct crypto_template` that stays until it is unregistered.
pub(crate) unsafe fn register_template(template: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the template.
    unsafe {
        if each(LIST.address()).any(|entry| crypto_template::list.container(entry) == template) {
            return Err(Errno::EEXIST);
        }
        let owner = kernel().owner_of(crypto_template::module.get(template));
        kernel().registrations.add(REGISTRATION, template, text(crypto_template::name.at(template)), owner)?;
        link_first(crypto_template::list.at(template), LIST.address());
        Ok(())
    }
}

/// The template called `name`, its module held.
pub(crate) fn template(name: &[u8]) -> Option<u64> {
    // SAFETY: the list holds templates of live modules; nothing here changes it.
    unsafe {
        each(LIST.address())
            .map(|entry| crypto_template::list.container(entry))
            .find(|&template| text(crypto_template::name.at(template)) == name && hold_template(template))
    }
}

/// Takes templates whose memory goes out of the list.
///
/// # Safety
/// The memory is still there.
pub(crate) unsafe fn forget_memory(within: &impl Fn(&u64) -> bool) {
    // SAFETY: the caller vouches for the memory; `each` reads one ahead.
    unsafe {
        each(LIST.address()).map(|entry| crypto_template::list.container(entry)).filter(within).for_each(|template| {
            unlink(crypto_template::list.at(template));
        });
    }
}

unsafe fn hold_template(template: u64) -> bool {
    // SAFETY: the caller has it from the list or from an instance.
    hold_module(unsafe { crypto_template::module.get(template) })
}

/// Gives back the module reference that [`template`] took.
///
/// # Safety
/// `template` is one that was held.
pub(crate) unsafe fn release_template(template: u64) {
    // SAFETY: the caller vouches for the template.
    release_module(unsafe { crypto_template::module.get(template) });
}

/// `struct crypto_template *crypto_lookup_template(const char *)`
extern "C" fn crypto_lookup_template(name: u64) -> u64 {
    // SAFETY: the module's string; copied, because what is loaded may free it.
    let name = unsafe { ram::c_string(name) }.to_vec();
    look_up_template(&name).unwrap_or(0)
}

/// [`template`], after asking for a module when there is none.
pub(crate) fn look_up_template(name: &[u8]) -> Option<u64> {
    template(name).or_else(|| {
        algorithms::request(name, b"");
        template(name)
    })
}

extern "C" fn crypto_register_template(template: u64) -> i32 {
    // SAFETY: the module's template.
    code(unsafe { register_template(template) })
}
extern "C" fn crypto_register_templates(templates: u64, count: i32) -> i32 {
    let size = crypto_template::SIZE.get();
    algorithms::register_all(templates, count, size, crypto_register_template, crypto_unregister_template)
}

/// `void crypto_unregister_template(struct crypto_template *)`: its instances go first; its module cannot go while one of them
/// is in use.
extern "C" fn crypto_unregister_template(template: u64) {
    let caller = ram::caller();
    // SAFETY: the module's template; `gone` is a list head of our own.
    unsafe {
        if kernel().registrations.remove(REGISTRATION, template).is_none() {
            kernel().warn("crypto: a template that is not registered was unregistered", caller);
            return;
        }
        unlink(crypto_template::list.at(template));
        let mut gone = [0u64; 2];
        let gone = gone.as_mut_ptr() as u64;
        init_list(gone);
        let instances = instances_of(template);
        for &inst in &instances {
            // Dead ones have left the template's list, so this cannot fail.
            let _ = algorithms::take_out(inst, gone);
        }
        for inst in instances {
            hlist_remove(crypto_instance::list.at(inst));
            if crypto_alg::cra_refcnt.get::<u32>(inst) == 1 {
                ram::call(function("crypto_free_instance"), [inst]);
            } else {
                kernel().warn("crypto: the template of an instance in use was unregistered", caller);
            }
        }
        remove_final(gone);
    }
}
extern "C" fn crypto_unregister_templates(templates: u64, count: i32) {
    algorithms::unregister_all(templates, count, crypto_template::SIZE.get(), crypto_unregister_template);
}

unsafe fn instances_of(template: u64) -> Vec<u64> {
    let mut found = Vec::new();
    // SAFETY: the caller has a template, whose list of instances is kept by `hlist_add` and `hlist_remove`.
    unsafe {
        let mut node: u64 = hlist_head::first.get(crypto_template::instances.at(template));
        while node != 0 {
            found.push(crypto_instance::list.container(node));
            node = hlist_node::next.get(node);
        }
    }
    found
}

unsafe fn hlist_add(node: u64, head: u64) {
    // SAFETY: the caller has a list head and a node that is in no list.
    unsafe {
        let first: u64 = hlist_head::first.get(head);
        hlist_node::next.set(node, first);
        if first != 0 {
            hlist_node::pprev.set(first, hlist_node::next.at(node));
        }
        hlist_head::first.set(head, node);
        hlist_node::pprev.set(node, hlist_head::first.at(head));
    }
}

unsafe fn hlist_remove(node: u64) {
    // SAFETY: the caller has a node that is in a list.
    unsafe {
        let (next, pprev): (u64, u64) = (hlist_node::next.get(node), hlist_node::pprev.get(node));
        ram::put(pprev, next);
        if next != 0 {
            hlist_node::pprev.set(next, pprev);
        }
    }
}

/// Registers what a template has made. Its spawns hold what it is made of through `cra_users` from here on, not by references.
///
/// # Safety
/// `inst` is a filled in `struct crypto_instance` (its algorithm is its first member) of `template`.
pub(crate) unsafe fn register_instance(template: u64, inst: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for both; `spawns` chains the spawns that were grabbed.
    unsafe {
        check(inst)?;
        crypto_alg::cra_module.set(inst, crypto_template::module.get::<u64>(template));
        set_flags(inst, INSTANCE);
        let mut spawns = Vec::new();
        let mut spawn: u64 = crypto_instance::spawns.get(inst);
        while spawn != 0 {
            if crypto_spawn::dead.get::<u8>(spawn) != 0 {
                return Err(Errno::EAGAIN);
            }
            spawns.push(spawn);
            spawn = crypto_spawn::next.get(spawn);
        }
        add(inst)?;
        for &spawn in &spawns {
            crypto_spawn::inst.set(spawn, inst);
            crypto_spawn::registered.set(spawn, 1u8);
            release(crypto_spawn::alg.get(spawn));
        }
        hlist_add(crypto_instance::list.at(inst), crypto_template::instances.at(template));
        crypto_instance::tmpl.set(inst, template);
        announce(inst);
        Ok(())
    }
}

extern "C" fn crypto_register_instance(template: u64, inst: u64) -> i32 {
    // SAFETY: the module's template and instance.
    code(unsafe { register_instance(template, inst) })
}

/// `void crypto_unregister_instance(struct crypto_instance *)`
extern "C" fn crypto_unregister_instance(inst: u64) {
    // SAFETY: the module's word that it is an instance; `gone` is a list head of our own.
    unsafe {
        let mut gone = [0u64; 2];
        let gone = gone.as_mut_ptr() as u64;
        init_list(gone);
        remove_spawns(inst, gone, 0);
        remove_instance(inst, gone);
        remove_final(gone);
    }
}

/// Takes an instance out of the lists; it is destroyed when nobody holds it any more. Until then it holds its template.
unsafe fn remove_instance(inst: u64, gone: u64) {
    // SAFETY: the caller has a registered instance and a list head.
    unsafe {
        if flags(inst) & DEAD != 0 {
            return;
        }
        set_flags(inst, DEAD);
        let template: u64 = crypto_instance::tmpl.get(inst);
        if template == 0 || !hold_template(template) {
            return;
        }
        forget(inst);
        let entry = crypto_alg::cra_list.at(inst);
        unlink(entry);
        link_first(entry, gone);
        hlist_remove(crypto_instance::list.at(inst));
        crypto_alg::cra_destroy.set(inst, function("crypto_destroy_instance"));
    }
}

/// `void crypto_destroy_instance(struct crypto_alg *)`, reached through `cra_destroy` only.
extern "C" fn crypto_destroy_instance(inst: u64) {
    // SAFETY: an instance that was taken out and lost its last reference.
    unsafe {
        let template = crypto_instance::tmpl.get(inst);
        ram::call(function("crypto_free_instance"), [inst]);
        release_template(template);
    }
}

/// Cuts everything off that is made of `alg`, except the instance `keep` and what it is itself made of; `gone` collects the
/// instances that go. With `keep`, only users that `keep` could serve are cut off.
///
/// # Safety
/// `alg` is a `struct crypto_alg` that was registered, `gone` a list head, `keep` 0 or an algorithm.
pub(crate) unsafe fn remove_spawns(alg: u64, gone: u64, keep: u64) {
    // SAFETY: the caller vouches for these; each pass starts at the list's head again, because removing one instance may
    // remove others.
    unsafe {
        let kind = flags(if keep == 0 { alg } else { keep });
        loop {
            let users: Vec<u64> =
                each(crypto_alg::cra_users.at(alg)).map(|entry| crypto_spawn::list.container(entry)).collect();
            let next = users.into_iter().find(|&spawn| {
                let differs = (flags(alg) ^ kind) & crypto_spawn::mask.get::<u32>(spawn) != 0;
                let registered = crypto_spawn::registered.get::<u8>(spawn) != 0;
                !(differs || registered && keep != 0 && leads_to(crypto_spawn::inst.get(spawn), keep))
            });
            let Some(spawn) = next else { return };
            unlink(crypto_spawn::list.at(spawn));
            crypto_spawn::dead.set(spawn, 1u8);
            if crypto_spawn::registered.get::<u8>(spawn) != 0 {
                let inst: u64 = crypto_spawn::inst.get(spawn);
                if flags(inst) & DEAD == 0 {
                    remove_spawns(inst, gone, 0);
                    remove_instance(inst, gone);
                }
            }
        }
    }
}

/// Whether `keep` is `inst` or was made of it, at any distance.
unsafe fn leads_to(inst: u64, keep: u64) -> bool {
    // SAFETY: the caller has a registered instance; users of algorithms form no cycle.
    unsafe {
        inst == keep
            || each(crypto_alg::cra_users.at(inst)).any(|entry| {
                let spawn = crypto_spawn::list.container(entry);
                crypto_spawn::registered.get::<u8>(spawn) != 0 && leads_to(crypto_spawn::inst.get(spawn), keep)
            })
    }
}

/// Gives up the registration's reference on every instance in `gone`.
///
/// # Safety
/// `gone` is a list that [`remove_spawns`] filled.
pub(crate) unsafe fn remove_final(gone: u64) {
    // SAFETY: the caller vouches for the list; the head is read again after each destruction.
    unsafe {
        while let Some(entry) = each(gone).next() {
            unlink(entry);
            put(crypto_alg::cra_list.container(entry));
        }
    }
}

extern "C" fn crypto_remove_spawns(alg: u64, gone: u64, keep: u64) {
    // SAFETY: the module's algorithm and list head.
    unsafe { remove_spawns(alg, gone, keep) };
}
extern "C" fn crypto_remove_final(gone: u64) {
    // SAFETY: the module's list head.
    unsafe { remove_final(gone) };
}

/// Finds what an instance is to be made of, and ties `spawn` to it. The algorithm stays held until the instance is registered
/// or the spawn is dropped.
///
/// # Safety
/// `spawn` is zeroed and lies in `inst`, which is being made.
pub(crate) unsafe fn grab(spawn: u64, inst: u64, name: &[u8], kind: u32, mask: u32) -> Result<(), Errno> {
    // SAFETY: the caller vouches for both.
    unsafe {
        let frontend = Kind::at(crypto_spawn::frontend.get(spawn));
        let alg = find(name, frontend, kind | FIPS_INTERNAL, mask)?;
        if is_moribund(alg) {
            release(alg);
            return Err(Errno::EAGAIN);
        }
        link_first(crypto_spawn::list.at(spawn), crypto_alg::cra_users.at(alg));
        crypto_spawn::alg.set(spawn, alg);
        crypto_spawn::mask.set(spawn, mask);
        crypto_spawn::next.set(spawn, crypto_instance::spawns.get::<u64>(inst));
        crypto_instance::spawns.set(inst, spawn);
        set_flags(inst, flags(alg) & INHERITED);
        Ok(())
    }
}

/// `int crypto_grab_spawn(struct crypto_spawn *, struct crypto_instance *, const char *name, u32 type, u32 mask)`
extern "C" fn crypto_grab_spawn(spawn: u64, inst: u64, name: u64, kind: u32, mask: u32) -> i32 {
    if inst == 0 {
        return Errno::EINVAL.to_return();
    }
    // The name may be an error that reading an attribute gave.
    if let Some(errno) = Errno::from_pointer(name) {
        return errno.to_return();
    }
    // SAFETY: the module's spawn, instance and string.
    code(unsafe { grab(spawn, inst, &ram::c_string_or_empty(name), kind, mask) })
}

fn grab_with(frontend: Kind, spawn: u64, inst: u64, name: u64, kind: u32, mask: u32) -> i32 {
    // SAFETY: the module's spawn.
    unsafe { crypto_spawn::frontend.set(spawn, frontend.frontend()) };
    crypto_grab_spawn(spawn, inst, name, kind, mask)
}

extern "C" fn crypto_grab_shash(spawn: u64, inst: u64, name: u64, kind: u32, mask: u32) -> i32 {
    grab_with(Kind::Shash, spawn, inst, name, kind, mask)
}
extern "C" fn crypto_grab_ahash(spawn: u64, inst: u64, name: u64, kind: u32, mask: u32) -> i32 {
    grab_with(Kind::Ahash, spawn, inst, name, kind, mask)
}
extern "C" fn crypto_grab_skcipher(spawn: u64, inst: u64, name: u64, kind: u32, mask: u32) -> i32 {
    grab_with(Kind::Skcipher, spawn, inst, name, kind, mask)
}
extern "C" fn crypto_grab_aead(spawn: u64, inst: u64, name: u64, kind: u32, mask: u32) -> i32 {
    grab_with(Kind::Aead, spawn, inst, name, kind, mask)
}
extern "C" fn crypto_grab_akcipher(spawn: u64, inst: u64, name: u64, kind: u32, mask: u32) -> i32 {
    grab_with(Kind::Akcipher, spawn, inst, name, kind, mask)
}
extern "C" fn crypto_grab_kpp(spawn: u64, inst: u64, name: u64, kind: u32, mask: u32) -> i32 {
    grab_with(Kind::Kpp, spawn, inst, name, kind, mask)
}

/// `void crypto_drop_spawn(struct crypto_spawn *)`
pub(crate) extern "C" fn crypto_drop_spawn(spawn: u64) {
    // SAFETY: the module's spawn; one that was never grabbed is still zeroed.
    unsafe {
        let alg: u64 = crypto_spawn::alg.get(spawn);
        if alg == 0 {
            return;
        }
        if crypto_spawn::dead.get::<u8>(spawn) == 0 {
            unlink(crypto_spawn::list.at(spawn));
        }
        if crypto_spawn::registered.get::<u8>(spawn) == 0 {
            release(alg);
        }
    }
}

/// What a spawn is tied to, held.
///
/// # Errors
/// `EAGAIN` when it was cut off or goes.
///
/// # Safety
/// `spawn` was grabbed.
pub(crate) unsafe fn spawn_alg(spawn: u64) -> Result<u64, Errno> {
    // SAFETY: the caller vouches for the spawn.
    unsafe {
        if crypto_spawn::dead.get::<u8>(spawn) != 0 {
            return Err(Errno::EAGAIN);
        }
        let alg: u64 = crypto_spawn::alg.get(spawn);
        if hold(alg) {
            return Ok(alg);
        }
        set_flags(alg, DYING);
        Err(Errno::EAGAIN)
    }
}

/// Calls `create` of a template.
///
/// # Safety
/// `template` is held, `attributes` an array of pointers to attributes ended by a null.
pub(crate) unsafe fn create(template: u64, attributes: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for both.
    unsafe { result(super::ask(crypto_template::create.get(template), [template, attributes])) }
}
