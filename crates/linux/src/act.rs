//! Telling the kernel: load this, unload that.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::system::{delete_module, finit_module, init_module};

use crate::Kernel;

bitflags::bitflags! {
    /// How [`Kernel::load`] loads. finit_module(2), "flags".
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct LoadFlags: u32 {
        /// Do not compare the CRCs of the symbols (`MODULE_INIT_IGNORE_MODVERSIONS`).
        const IGNORE_MODVERSIONS = 1;
        /// Do not compare the version magic (`MODULE_INIT_IGNORE_VERMAGIC`).
        const IGNORE_VERMAGIC = 2;
        /// The file is compressed, and the kernel unpacks it (`MODULE_INIT_COMPRESSED_FILE`); see
        /// [`Kernel::compression`].
        const COMPRESSED_FILE = 4;
    }
}

bitflags::bitflags! {
    /// How [`Kernel::unload`] unloads. delete_module(2), "flags".
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct UnloadFlags: u32 {
        /// Unload although the module is in use or has no exit function, where the kernel was built to allow it
        /// (`O_TRUNC`).
        const FORCE = 0o1000;
        /// Do not wait for the module to become unused (`O_NONBLOCK`). Linux has not waited since 3.13, with or without;
        /// older ones do without it.
        const NONBLOCK = 0o4000;
    }
}

impl Kernel {
    /// Loads the module in `file`, which must be open for reading and for nothing else, and runs its init function.
    ///
    /// `parameters` are the module's, in one line (`a=1 b="two words"`).
    ///
    /// # Errors
    ///
    /// The kernel's errno, and the kernel's log has the reason ([`Kernel::log`]). Those worth knowing: `EXIST` a module of
    /// this name is loaded; `BUSY` one of this name is just being loaded or unloaded and failed to; `NOENT` a symbol is
    /// unknown (or the init function's own answer, like every other number); `NOEXEC` the file is broken or of another
    /// kernel; `PERM` not permitted, switched off, or locked down; `KEYREJECTED` the signature does not hold; `OPNOTSUPP`
    /// this kernel does not unpack; `NOSYS` there is no such call (older than Linux 3.8, filtered, or a
    /// [recorded](Kernel::recorded) kernel): then [`Kernel::load_image`] may do.
    ///
    /// # References
    ///
    /// finit_module(2)
    pub fn load(&self, file: impl AsFd, parameters: &CStr, flags: LoadFlags) -> Result<(), Errno> {
        if !self.acts {
            return Err(Errno::NOSYS);
        }
        finit_module(file.as_fd(), parameters, flags.bits().cast_signed())
    }

    /// Loads the module whose unpacked file is `image`, and runs its init function.
    ///
    /// There are no flags: what [`LoadFlags`] would skip must not be in the image.
    ///
    /// # Errors
    ///
    /// As [`Kernel::load`].
    ///
    /// # References
    ///
    /// init_module(2)
    pub fn load_image(&self, image: &[u8], parameters: &CStr) -> Result<(), Errno> {
        if !self.acts {
            return Err(Errno::NOSYS);
        }
        init_module(image, parameters)
    }

    /// Loads the module in `file` ([`Kernel::load`]), or, where the kernel cannot do that from a file, the image that
    /// `unpack` makes of it ([`Kernel::load_image`]).
    ///
    /// `unpack` is given the flags that an image must heed by what it contains ([`LoadFlags::IGNORE_MODVERSIONS`]: no
    /// `__versions`; [`LoadFlags::IGNORE_VERMAGIC`]: no `vermagic`). It is called when the kernel lacks the call, or does not
    /// unpack what [`LoadFlags::COMPRESSED_FILE`] promised.
    ///
    /// # Errors
    ///
    /// What `unpack` answers, or what the kernel does, made into the same type.
    pub fn load_or_unpack<E: From<Errno>>(
        &self,
        file: impl AsFd,
        parameters: &CStr,
        flags: LoadFlags,
        unpack: impl FnOnce(LoadFlags) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        match self.load(file, parameters, flags) {
            Ok(()) => return Ok(()),
            Err(Errno::NOSYS) => {}
            Err(Errno::OPNOTSUPP) if flags.contains(LoadFlags::COMPRESSED_FILE) => {}
            Err(errno) => return Err(errno.into()),
        }
        let image = unpack(flags - LoadFlags::COMPRESSED_FILE)?;
        Ok(self.load_image(&image, parameters)?)
    }

    /// Runs the exit function of the module of this name (with `_`, as [`Kernel::modules`] says it) and unloads it.
    ///
    /// # Errors
    ///
    /// The kernel's errno: `NOENT` no such module; `WOULDBLOCK` (`AGAIN`) other modules use it or its reference count is not
    /// 0; `BUSY` it is being loaded or unloaded, or has no exit function; `PERM` not permitted, or switched off; `NOSYS` a
    /// [recorded](Kernel::recorded) kernel.
    ///
    /// # References
    ///
    /// delete_module(2)
    pub fn unload(&self, name: &CStr, flags: UnloadFlags) -> Result<(), Errno> {
        if !self.acts {
            return Err(Errno::NOSYS);
        }
        delete_module(name, flags.bits().cast_signed())
    }
}
