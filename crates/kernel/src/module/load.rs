//! Bringing a module in: the steps of `finit_module(2)`, each undone when a later one fails.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use bstr::BStr;
use ferrmod_image::linux::Image;
use ferrmod_linker::check::{Flags, check};
use ferrmod_linker::{Layout, LayoutOptions, Notice, PartBuffers, PartKind, Refused, Repeat, Report, Terms};

use super::memory::Memory;
use super::symbols::Offered;
use super::{Exported, Module, Modules, State, parameters, signature};
use crate::lock::Lock;
use crate::text::Errno;
use crate::world::World;
use crate::{Kernel, kernel, printk};

bitflags::bitflags! {
    /// Flags of `finit_module(2)`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct LoadFlags: u32 {
        /// Do not look at `__versions`.
        const IGNORE_MODVERSIONS = 1;
        /// Do not look at the vermagic.
        const IGNORE_VERMAGIC = 2;
    }
}

/// Bit of `TAINT_UNSIGNED_MODULE`, letter E.
const UNSIGNED: u64 = 1 << 13;
/// Which message of those printed once: the verification notice.
const NOTED_UNSIGNED: u32 = 0;
const NOTED_LOCK_DEBUGGING: u32 = 1;
const NOTED_LIVEPATCH: u32 = 2;
const NOTED_OTHER: u32 = 3;

fn errno_of(refused: &Refused) -> Errno {
    Errno(refused.errno())
}

impl Modules {
    /// Loads a module from the bytes of its file (decompressed). Runs in a task; returns when init has returned.
    ///
    /// # Errors
    /// Linux's errno for the first thing that was wrong; the kernel log says what.
    pub fn load(&'static self, file: &[u8], arguments: &[u8], flags: LoadFlags) -> Result<(), Errno> {
        let kernel = kernel();
        if self.are_disabled() {
            return Err(Errno::EPERM);
        }
        if file.is_empty() {
            return Err(Errno::EINVAL);
        }
        let signed = signature::check(kernel, file, flags)?;
        let image = Image::read(file).map_err(|error| {
            printk::say(kernel, printk::level_of_read_error(&error), &error.to_string());
            Errno::ENOEXEC
        })?;
        let vermagic = image.modinfo().get("vermagic");
        let world = kernel
            .worlds()
            .into_iter()
            .find(|world| world.accepts(vermagic))
            .or_else(|| kernel.linux_world())
            .ok_or_else(|| {
                printk::say(kernel, 3, "no kernel interface here takes this kind of module");
                Errno::ENOEXEC
            })?;
        let Some(name) = image.name() else { return Err(Errno::ENOEXEC) };
        if kernel.options.blacklist.iter().any(|other| super::name_is(name, other)) {
            printk::say(kernel, 3, &alloc::format!("Module {name} is blacklisted"));
            return Err(Errno::EPERM);
        }
        self.load_image(kernel, world, &image, name, arguments, flags, signed)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the steps share these facts and nobody else needs them as one value"
    )]
    fn load_image(
        &'static self,
        kernel: &'static Kernel,
        world: &'static dyn World,
        image: &Image<'_>,
        name: &BStr,
        arguments: &[u8],
        flags: LoadFlags,
        signed: bool,
    ) -> Result<(), Errno> {
        let host = world.host();
        let asked = Flags {
            ignore_modversions: flags.contains(LoadFlags::IGNORE_MODVERSIONS),
            ignore_vermagic: flags.contains(LoadFlags::IGNORE_VERMAGIC),
        };
        let report = self.noted(kernel, check(image, &host, asked))?;
        self.print(kernel, &report);
        let options = LayoutOptions { got: world.allows_got() };
        let layout = self.noted(kernel, Layout::with(image, options).map_err(Refused::from))?;
        let terms = Terms {
            ignore_modversions: asked.ignore_modversions,
            force_load: host.force_load,
            got: world.allows_got(),
            ..Terms::new(image, report.taints)
        };
        self.wait_for_namesake(kernel, name)?;
        let memory = Memory::take(kernel, &layout)?;
        let module = Arc::new(new_module(self, world, image, name, arguments, memory, &layout));
        module.add_taint(report.taints.0);
        self.0.lock().insert(&module);
        if !signed {
            module.add_taint(UNSIGNED);
            if self.first_time(NOTED_UNSIGNED) {
                printk::say(
                    kernel,
                    5,
                    &alloc::format!(
                        "{name}: module verification failed: signature and/or required key missing - tainting kernel"
                    ),
                );
            }
        }
        self.taint(module.taints());
        let formed = self.form(kernel, &module, image, &layout, &terms);
        if let Err(errno) = formed {
            self.free(kernel, &module);
            return Err(errno);
        }
        let started = self.start(kernel, &module, arguments);
        if let Err(errno) = started {
            module.set_state(State::Going);
            module.put();
            module.world.going(&module);
            self.free(kernel, &module);
            return Err(errno);
        }
        Ok(())
    }

    /// Links the module and puts its bytes in place; it is `COMING` afterwards.
    fn form(
        &'static self,
        kernel: &'static Kernel,
        module: &Arc<Module>,
        image: &Image<'_>,
        layout: &Layout,
        terms: &Terms<'_>,
    ) -> Result<(), Errno> {
        let mut buffers = PartBuffers::new();
        let mut offered = Offered::new(kernel, module.world);
        let placement = module.memory.placement();
        let mut parts = buffers.parts(layout);
        let linked = ferrmod_linker::link(image, layout, &placement, &mut offered, terms, &mut parts);
        let failure = offered.failure;
        for &used in &offered.uses {
            if let Some(owner) = self.numbered(used) {
                owner.users.lock().push(module.id);
            }
        }
        *module.uses.lock() = core::mem::take(&mut offered.uses);
        let linked = match (linked, failure) {
            (_, Some(errno)) => return Err(errno),
            (Ok(linked), None) => linked,
            (Err(refused), None) => return self.noted(kernel, Err(refused)),
        };
        self.print(kernel, &linked.report);
        module.add_taint(linked.report.taints.0);
        self.taint(linked.report.taints.0);
        for kind in PartKind::ALL {
            let bytes = buffers.bytes(kind);
            if !bytes.is_empty() {
                write(kernel, placement.base[kind as usize], bytes)?;
            }
        }
        if let (Some(percpu), Some((offset, size))) = (&layout.percpu, module.memory.percpu()) {
            let mut image_of = image.sections().get(percpu.section).map_or_else(Vec::new, |s| s.data.to_vec());
            image_of.resize(size as usize, 0);
            for area in kernel.platform.regions().percpu_areas() {
                write(kernel, area + offset, &image_of)?;
            }
        }
        kernel.platform.commit().map_err(|_| Errno::ENOMEM)?;
        *module.linked.lock() = Arc::new(linked);
        module.world.formed(module)?;
        module.set_state(State::Coming);
        self.publish(module);
        Ok(())
    }

    /// Notifiers, parameters, init; the module is `LIVE` afterwards.
    fn start(&'static self, kernel: &'static Kernel, module: &Arc<Module>, arguments: &[u8]) -> Result<(), Errno> {
        module.world.coming(module)?;
        module.parameters.call_once(|| module.world.parameters(module));
        parameters::apply(kernel, module, arguments)?;
        module.init_task.store(kernel.tasks.current().0, Ordering::Relaxed);
        let result = if module.has_init { module.world.init(module) } else { 0 };
        module.init_task.store(0, Ordering::Relaxed);
        module.init_result.store(i64::from(result), Ordering::Relaxed);
        if result < 0 {
            self.0.lock().failed_inits += 1;
            return Err(Errno(-result));
        }
        if result > 0 {
            let name = &module.name;
            printk::say(
                kernel,
                4,
                &alloc::format!(
                    "do_init_module: '{name}'->init suspiciously returned {result}, it should follow 0/-E convention"
                ),
            );
            printk::say(kernel, 4, "do_init_module: loading module anyway...");
        }
        module.set_state(State::Live);
        module.put();
        let sealed = module.memory.part(PartKind::RoAfterInit);
        if !sealed.is_empty() {
            kernel.platform.seal(sealed, true).map_err(|_| Errno::ENOMEM)?;
        }
        self.free_init(kernel, module);
        Ok(())
    }

    fn free_init(&self, kernel: &Kernel, module: &Arc<Module>) {
        module.world.init_freed(module);
        kernel.keep_init_trails(module);
        // Copied only when somebody looks at it right now.
        Arc::make_mut(&mut module.linked.lock()).forget_init();
        for range in module.memory.give_init(kernel) {
            self.0.lock().ranges.remove(&range.start);
        }
    }

    /// A module of this name may be loading, live or going; see `add_unformed_module`.
    fn wait_for_namesake(&self, kernel: &Kernel, name: &BStr) -> Result<(), Errno> {
        let mut waited = false;
        loop {
            let Some(other) = self.named(name) else {
                return if waited { Err(Errno::EBUSY) } else { Ok(()) };
            };
            match other.state() {
                State::Live => return Err(Errno::EEXIST),
                State::Going => return Err(Errno::EBUSY),
                // Its init was killed by an oops, so that it stays as it is for ever.
                State::Coming | State::Unformed if other.is_abandoned(kernel) => return Err(Errno::EBUSY),
                State::Coming | State::Unformed => {
                    waited = true;
                    kernel.tasks.block(None, Some(other.channel()));
                }
            }
        }
    }

    fn publish(&self, module: &Arc<Module>) {
        let linked = module.linked();
        let mut registry = self.0.lock();
        for (index, export) in linked.exports.iter().enumerate() {
            registry.exports.insert(
                linked.name(export.name).into(),
                Exported {
                    owner: module.id,
                    value: export.value,
                    crc: export.crc,
                    gpl_only: export.gpl_only,
                    index: index as u32,
                },
            );
        }
    }

    /// Prints what the linker noticed, and gives the error's number when it refused.
    fn noted<T>(&self, kernel: &Kernel, result: Result<T, Refused>) -> Result<T, Errno> {
        result.map_err(|refused| {
            self.print(kernel, &refused.report);
            self.taint(refused.report.taints.0);
            errno_of(&refused)
        })
    }

    fn print(&self, kernel: &Kernel, report: &Report) {
        for notice in &report.notices {
            let due = match notice.repeat() {
                Repeat::Always => true,
                Repeat::UnlessTainted(taint) => {
                    let due = self.taints() & taint.0 != taint.0;
                    self.taint(taint.0);
                    due
                }
                Repeat::Once => self.first_time(match notice {
                    Notice::LockDebuggingOff => NOTED_LOCK_DEBUGGING,
                    Notice::Livepatch { .. } => NOTED_LIVEPATCH,
                    _ => NOTED_OTHER,
                }),
            };
            if due {
                printk::say(kernel, notice.level() as u8, &notice.to_string());
            }
        }
    }
}

impl super::Registry {
    fn insert(&mut self, module: &Arc<Module>) {
        self.modules.push(Arc::clone(module));
        self.by_name.insert(module.name.clone(), Arc::clone(module));
        for part in module.memory.parts() {
            if !part.is_empty() {
                self.ranges.insert(part.start, (part.end, module.id));
            }
        }
    }
}

fn new_module(
    modules: &Modules,
    world: &'static dyn World,
    image: &Image<'_>,
    name: &BStr,
    arguments: &[u8],
    memory: Memory,
    layout: &Layout,
) -> Module {
    let id = {
        let mut registry = modules.0.lock();
        registry.last += 1;
        registry.last
    };
    let placement = memory.placement();
    let sections = image
        .sections()
        .iter()
        .enumerate()
        .filter_map(|(index, section)| {
            let place = (*layout.sections.get(index)?)?;
            (section.size > 0).then(|| (section.name.into(), placement.address(place), section.size))
        })
        .collect();
    let entry = image.entry_points();
    Module {
        id,
        name: name.into(),
        world,
        arguments: arguments.into(),
        version: image.modinfo().get("version").map(Into::into),
        srcversion: image.modinfo().get("srcversion").map(Into::into),
        gpl: image.is_gpl_compatible(),
        sections,
        memory,
        linked: Lock::default(),
        state: AtomicU8::new(State::Unformed as u8),
        taints: AtomicU64::new(0),
        // One that keeps it, one for the time of init.
        references: AtomicI64::new(2),
        users: Lock::default(),
        drivers: Lock::default(),
        uses: Lock::default(),
        parameters: spin::Once::new(),
        has_init: entry.init.is_some(),
        has_exit: entry.exit.is_some(),
        init_result: AtomicI64::new(0),
        init_task: AtomicU32::new(0),
    }
}

fn write(kernel: &Kernel, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    kernel.platform.write(address, bytes).map_err(|_| Errno::ENOMEM)
}
