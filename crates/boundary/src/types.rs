//! The types of the boundary.

use crate::boundary_struct;

boundary_struct! {
    /// Something only its owner looks into.
    pub struct Opaque {
        /// Nothing to be used.
        pub bytes: [u8; 0],
    }
}

boundary_struct! {
    /// What a file under `/dev` or `/proc` does. Every function gets the `data` the file was registered with, and returns a
    /// number of bytes or a negative errno. A file without `read` or `write` refuses it.
    pub struct FileOperations {
        /// `(data, offset, buffer, length)`: fills the buffer with what the file has at the offset; 0 at its end.
        pub read: Option<unsafe extern "C" fn(usize, u64, *mut u8, usize) -> isize>,
        /// `(data, bytes, length)`: takes bytes.
        pub write: Option<unsafe extern "C" fn(usize, *const u8, usize) -> isize>,
    }
}

boundary_struct! {
    /// An entry of `__param`: Linux's `struct kernel_param`, which tools read.
    pub struct KernelParam {
        /// The name, ending with NUL.
        pub name: *const u8,
        /// The module's own `.gnu.linkonce.this_module`; may be null.
        pub module: *const Opaque,
        /// Its [`KernelParamOps`].
        pub ops: *const Opaque,
        /// The mode of its file under `/sys/module/NAME/parameters`; 0: no file.
        pub mode: u16,
        /// Linux's order of initialisation; -1 in a module.
        pub level: i8,
        /// 1: setting it taints the kernel.
        pub flags: u8,
        /// Where the value is.
        pub value: *const Opaque,
    }
}

boundary_struct! {
    /// How a parameter is set and shown: Linux's `struct kernel_param_ops`.
    pub struct KernelParamOps {
        /// 1: a bare name without `=value` is allowed.
        pub flags: u32,
        /// `(text, parameter)`: takes a text ending with NUL, null for a bare name; 0 or a negative errno.
        pub set: Option<unsafe extern "C" fn(*const u8, *const KernelParam) -> i32>,
        /// `(buffer, parameter)`: writes at most 4096 bytes; how many, or a negative errno.
        pub get: Option<unsafe extern "C" fn(*mut u8, *const KernelParam) -> i32>,
        /// Unused.
        pub free: Option<unsafe extern "C" fn(*mut Opaque)>,
    }
}

boundary_struct! {
    /// A module's `.gnu.linkonce.this_module`, laid out as `struct module` of Linux 6.1 so far as tools look into it.
    pub struct ThisModule {
        /// State and list node.
        pub head: [u8; 24],
        /// The name, filled up with NUL.
        pub name: [u8; 56],
        /// Nothing of ours.
        pub middle: [u8; 232],
        /// `init_module`, at 312.
        pub init: Option<unsafe extern "C" fn() -> i32>,
        /// Nothing of ours.
        pub rest: [u8; 528],
        /// `cleanup_module`, at 848.
        pub exit: Option<unsafe extern "C" fn()>,
        /// Nothing of ours.
        pub tail: [u8; 40],
    }
}

impl ThisModule {
    /// The object of a module called `name`.
    ///
    /// # Panics
    /// At compile time, when the name is empty or longer than 55 bytes.
    #[must_use]
    pub const fn new(name: &str, init: unsafe extern "C" fn() -> i32, exit: unsafe extern "C" fn()) -> Self {
        assert!(!name.is_empty(), "a module has a name");
        Self {
            head: [0; 24],
            name: padded(name),
            middle: [0; 232],
            init: Some(init),
            rest: [0; 528],
            exit: Some(exit),
            tail: [0; 40],
        }
    }
}

boundary_struct! {
    /// An entry of `__versions`: Linux's `struct modversion_info`.
    pub struct Version {
        /// The CRC of the symbol when the module was compiled.
        pub crc: u64,
        /// Its name, filled up with NUL.
        pub name: [u8; 56],
    }
}

impl Version {
    /// The entry for a symbol.
    ///
    /// # Panics
    /// At compile time, when the name is longer than 55 bytes.
    #[must_use]
    pub const fn new(name: &str, crc: u32) -> Self {
        Self { crc: crc as u64, name: padded(name) }
    }
}

const fn padded<const N: usize>(name: &str) -> [u8; N] {
    let name = name.as_bytes();
    assert!(name.len() < N, "the name is too long");
    let mut field = [0; N];
    let mut index = 0;
    while index < name.len() {
        field[index] = name[index];
        index += 1;
    }
    field
}

const _: () = {
    assert!(size_of::<KernelParam>() == 40);
    assert!(size_of::<KernelParamOps>() == 32);
    assert!(size_of::<Version>() == 64);
    assert!(size_of::<ThisModule>() == 896);
    assert!(core::mem::offset_of!(ThisModule, name) == 24);
    assert!(core::mem::offset_of!(ThisModule, init) == 312);
    assert!(core::mem::offset_of!(ThisModule, exit) == 848);
};
