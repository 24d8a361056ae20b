//! Functions by name: the tables that modules are bound to.

use ferrmod_linker::bridge;

/// How a symbol is provided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A C function of up to six arguments that does what it says.
    Function,
    /// A C function with this many arguments on the stack.
    Stack(u8),
    /// A C function with this many named arguments and `...`; it takes the address of a `va_list` after the named ones.
    Variadic(u8),
    /// A C function that only answers a constant.
    Constant,
    /// Code with a calling convention of its own.
    Raw,
    /// A variable.
    Data,
}

/// A function and its name.
#[derive(Clone, Copy, Debug)]
pub struct Export {
    /// The symbol.
    pub name: &'static str,
    /// How it is called.
    pub kind: Kind,
    /// Where it is.
    target: *const (),
}

// SAFETY: `target` is the address of code; it is never read or written through.
unsafe impl Sync for Export {}
// SAFETY: as above.
unsafe impl Send for Export {}

impl Export {
    /// An entry; see [`exports`].
    pub(crate) const fn new(name: &'static str, kind: Kind, target: *const ()) -> Self {
        Self { name, kind, target }
    }

    /// The address of the code.
    pub(crate) fn address(&self) -> u64 {
        self.target as u64
    }

    /// What stands between a module and this function.
    pub(crate) fn bridge(&self) -> bridge::Kind {
        match self.kind {
            Kind::Function | Kind::Constant | Kind::Data => bridge::Kind::PLAIN,
            Kind::Stack(stack) => bridge::Kind::Call { stack },
            Kind::Variadic(named) => bridge::Kind::Variadic { named },
            Kind::Raw => bridge::Kind::Raw,
        }
    }
}

/// A file's table: `exports![c kfree, c kvfree = kfree, k is_x, raw __fentry__, v1 _printk, s1 seven_arguments]`.
///
/// `c` function, `k` function that answers a constant, `raw` own convention, `vN` variadic with N named arguments, `sN` N
/// arguments on the stack; `= path` when the Rust function is called differently.
macro_rules! exports {
    (@kind c) => { $crate::export::Kind::Function };
    (@kind k) => { $crate::export::Kind::Constant };
    (@kind raw) => { $crate::export::Kind::Raw };
    (@kind v1) => { $crate::export::Kind::Variadic(1) };
    (@kind v2) => { $crate::export::Kind::Variadic(2) };
    (@kind v3) => { $crate::export::Kind::Variadic(3) };
    (@kind v4) => { $crate::export::Kind::Variadic(4) };
    (@kind v5) => { $crate::export::Kind::Variadic(5) };
    (@kind s1) => { $crate::export::Kind::Stack(1) };
    (@kind s2) => { $crate::export::Kind::Stack(2) };
    (@kind s3) => { $crate::export::Kind::Stack(3) };
    (@kind s4) => { $crate::export::Kind::Stack(4) };
    (@kind s5) => { $crate::export::Kind::Stack(5) };
    (@kind s6) => { $crate::export::Kind::Stack(6) };
    (@target $name:ident) => { $name };
    (@target $name:ident $target:path) => { $target };
    ($($kind:ident $name:ident $(= $target:path)?),* $(,)?) => {
        &[$($crate::export::Export::new(
            stringify!($name),
            $crate::export::exports!(@kind $kind),
            $crate::export::exports!(@target $name $($target)?) as *const (),
        )),*]
    };
}
pub(crate) use exports;
