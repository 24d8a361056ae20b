//! What a module is, and the sections that say so.

use core::fmt::Write as _;
use core::panic::PanicInfo;

use crate::log::Line;
use crate::{Lock, Result, kernel};

/// A module: the value of this type lives as long as the module is loaded.
pub trait Module: Sized + Send + 'static {
    /// Starts the module. Runs once, after the parameters were set.
    ///
    /// # Errors
    /// Ends the load; whoever asked for it gets the error.
    fn init() -> Result<Self>;
}

/// Runs a module's init.
pub fn init<M: Module>(instance: &Lock<Option<M>>) -> i32 {
    match M::init() {
        Ok(module) => {
            *instance.lock() = Some(module);
            0
        }
        Err(error) => error.to_return(),
    }
}

/// Drops a module.
pub fn exit<M: Module>(instance: &Lock<Option<M>>) {
    let module = instance.lock().take();
    drop(module);
}

/// Tells the kernel of a panic, which ends the task.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    let mut message = Line::new();
    // Fails when the line is full, and then what fits is reported.
    let _ = write!(message, "{}", info.message());
    let message = message.as_bytes();
    let (file, line, column) = info.location().map_or(("?", 0, 0), |at| (at.file(), at.line(), at.column()));
    // SAFETY: both texts live during the call, which does not return.
    unsafe {
        kernel::ferrmod_panic(message.as_ptr(), message.len(), file.as_ptr(), file.len(), line, column);
    }
    loop {
        crate::yield_now();
    }
}

/// A value in a static that points at other statics.
#[repr(transparent)]
#[derive(Debug)]
pub struct Static<T>(pub T);

// SAFETY: `module!` only makes it of `KernelParam`, whose pointers lead to statics, and nobody writes to it.
unsafe impl<T> Sync for Static<T> {}

/// The length of an entry of `.modinfo` made of these parts.
pub const fn length(parts: &[&str]) -> usize {
    let (mut length, mut index) = (1, 0);
    while index < parts.len() {
        length += parts[index].len();
        index += 1;
    }
    length
}

/// An entry of `.modinfo`: the parts, and a NUL.
pub const fn modinfo<const N: usize>(parts: &[&str]) -> [u8; N] {
    let mut entry = [0; N];
    let (mut at, mut index) = (0, 0);
    while index < parts.len() {
        let part = parts[index].as_bytes();
        let mut byte = 0;
        while byte < part.len() {
            assert!(part[byte] != 0, "an entry of .modinfo has no NUL inside");
            entry[at] = part[byte];
            at += 1;
            byte += 1;
        }
        index += 1;
    }
    entry
}

/// An entry of `.ferrmod.imports`, as the build reads it: `SYMBOL=MODULE`.
pub const fn imported<const N: usize>(parts: &[&str]) -> [u8; N] {
    modinfo(parts)
}

/// Makes the crate a module.
///
/// The entries come in this order:
///
/// * `type`: the type that implements [`Module`];
/// * `name`: what `lsmod` shows, at most 55 bytes;
/// * `version`, when there is one;
/// * `license`: as Linux spells them, `"GPL"` or `"Dual MIT/GPL"`; any other is called proprietary and taints the kernel;
/// * `author`, `description`, when there are;
/// * `alias`, when there are: a list of names that `modprobe` knows the module under;
/// * `params`, when there are: `name: type = default, mode, "description";` each. The types are `bool`, `u8`, `i16` to `u64` and
///   [`Text`](crate::Text); `mode` is that of the file under `/sys/module/NAME/parameters`, 0 for none. The value is
///   `params::name.get()`.
///
/// It also makes the kernel's heap the global allocator and a panic an oops, except when the crate is compiled for its own tests.
#[macro_export]
macro_rules! module {
    (
        type: $type:ty,
        name: $name:literal,
        $(version: $version:literal,)?
        license: $license:literal,
        $(author: $author:literal,)?
        $(description: $description:literal,)?
        $(alias: [$($alias:literal),* $(,)?],)?
        $(params: { $($param:ident: $kind:ty = $default:expr, $mode:expr, $text:literal;)* },)?
    ) => {
        $crate::__modinfo!("name=", $name);
        $crate::__modinfo!("vermagic=", $crate::macros::VERMAGIC);
        $crate::__modinfo!("license=", $license);
        $($crate::__modinfo!("version=", $version);)?
        $($crate::__modinfo!("author=", $author);)?
        $($crate::__modinfo!("description=", $description);)?
        $($($crate::__modinfo!("alias=", $alias);)*)?

        $(
            /// The module's parameters.
            mod params {
                $(
                    #[doc = $text]
                    #[expect(non_upper_case_globals, reason = "a parameter has the name its users write")]
                    pub(super) static $param: $crate::Param<$kind> = $crate::Param::new($default);

                    const _: () = {
                        #[used]
                        #[unsafe(link_section = "__param")]
                        static ENTRY: $crate::macros::Static<$crate::macros::KernelParam> =
                            $crate::macros::Static($crate::macros::KernelParam {
                                name: ::core::concat!(::core::stringify!($param), "\0").as_ptr(),
                                module: ::core::ptr::null(),
                                ops: ::core::ptr::from_ref($crate::Param::<$kind>::OPS).cast(),
                                mode: $mode,
                                level: -1,
                                flags: 0,
                                value: ::core::ptr::from_ref(&$param).cast(),
                            });
                    };
                    $crate::__modinfo!("parm=", ::core::stringify!($param), ":", $text);
                    $crate::__modinfo!(
                        "parmtype=", ::core::stringify!($param), ":", <$kind as $crate::ParamType>::KIND
                    );
                )*
            }
        )?

        #[cfg(not(test))]
        const _: () = {
            static INSTANCE: $crate::Lock<::core::option::Option<$type>> =
                $crate::Lock::new(::core::option::Option::None);

            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".init.text")]
            unsafe extern "C" fn init_module() -> i32 {
                $crate::macros::init(&INSTANCE)
            }

            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".exit.text")]
            unsafe extern "C" fn cleanup_module() {
                $crate::macros::exit(&INSTANCE);
            }

            #[used]
            #[unsafe(link_section = ".gnu.linkonce.this_module")]
            static THIS_MODULE: $crate::macros::ThisModule =
                $crate::macros::ThisModule::new($name, init_module, cleanup_module);
        };

        // In a test nobody calls it, and that is no reason for a warning.
        #[cfg(test)]
        const _: fn() -> $crate::Result<$type> = <$type as $crate::Module>::init;

        #[cfg(not(any(test, doctest)))]
        $crate::__runtime!();
    };
}

/// What only a module that runs needs, and a test that has std must not have.
#[doc(hidden)]
#[macro_export]
#[cfg(not(feature = "host"))]
macro_rules! __runtime {
    () => {
        #[panic_handler]
        fn __ferrmod_panic(info: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::macros::panicked(info)
        }

        #[global_allocator]
        static __FERRMOD_HEAP: $crate::Heap = $crate::Heap;
    };
}

/// Nothing: std is there.
#[doc(hidden)]
#[macro_export]
#[cfg(feature = "host")]
macro_rules! __runtime {
    () => {};
}

/// One entry of `.modinfo`.
#[doc(hidden)]
#[macro_export]
macro_rules! __modinfo {
    ($($part:expr),*) => {
        const _: () = {
            const PARTS: &[&str] = &[$($part),*];
            #[used]
            #[unsafe(link_section = ".modinfo")]
            static ENTRY: [u8; $crate::macros::length(PARTS)] = $crate::macros::modinfo(PARTS);
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_strings_with_a_nul() {
        const PARTS: &[&str] = &["parm=", "loud", ":", "Shout"];
        assert_eq!(&modinfo::<{ length(PARTS) }>(PARTS), b"parm=loud:Shout\0");
    }

    struct Failing;
    impl Module for Failing {
        fn init() -> Result<Self> {
            Err(crate::Error::ENODEV)
        }
    }

    struct Counting(alloc::sync::Arc<()>);
    static KEPT: Lock<Option<alloc::sync::Arc<()>>> = Lock::new(None);
    impl Module for Counting {
        fn init() -> Result<Self> {
            let one = alloc::sync::Arc::new(());
            *KEPT.lock() = Some(alloc::sync::Arc::clone(&one));
            Ok(Self(one))
        }
    }

    #[test]
    fn a_module_lives_from_init_to_exit() {
        assert_eq!(init::<Failing>(&Lock::new(None)), -19);
        let instance = Lock::new(None);
        assert_eq!(init::<Counting>(&instance), 0);
        let kept = KEPT.lock().take().unwrap();
        assert_eq!(alloc::sync::Arc::strong_count(&kept), 2);
        assert!(instance.lock().as_ref().is_some_and(|module| alloc::sync::Arc::ptr_eq(&module.0, &kept)));
        exit(&instance);
        assert_eq!(alloc::sync::Arc::strong_count(&kept), 1);
    }
}
