//! Struct layouts of the kernel a module was built for, looked up in its BTF when first needed.

use core::sync::atomic::{AtomicU32, Ordering};

use ferrmod_kernel::kernel;

use crate::boot::facts;
use crate::ram;

const UNKNOWN: u32 = u32::MAX;
const MISSING: u32 = u32::MAX - 1;

/// A member of a C struct.
#[derive(Debug)]
pub(crate) struct Field {
    structure: &'static str,
    member: &'static str,
    offset: AtomicU32,
}

impl Field {
    /// A member by the names of the struct and of the member (a path: `base.cra_name`).
    pub(crate) const fn new(structure: &'static str, member: &'static str) -> Self {
        Self { structure, member, offset: AtomicU32::new(UNKNOWN) }
    }

    /// Its offset in bytes; `None` when this kernel's struct has no such member.
    pub(crate) fn offset(&self) -> Option<u64> {
        let known = self.offset.load(Ordering::Relaxed);
        let offset = if known == UNKNOWN { self.look_up() } else { known };
        (offset != MISSING).then_some(u64::from(offset))
    }

    #[cold]
    fn look_up(&self) -> u32 {
        let member = facts().btf().struct_named(self.structure).and_then(|found| found.member(self.member));
        let offset = member.map_or(MISSING, |member| (member.bit_offset / 8) as u32);
        self.offset.store(offset, Ordering::Relaxed);
        offset
    }

    /// The member's address in the object at `base`. A member this kernel does not have is a bug of the caller here, and
    /// ends the task with its name.
    #[inline]
    pub(crate) fn at(&self, base: u64) -> u64 {
        match self.offset() {
            Some(offset) => base.wrapping_add(offset),
            None => kernel().bug(
                &alloc::format!("struct {} has no member {} in {}", self.structure, self.member, facts().release()),
                base,
            ),
        }
    }

    /// Reads the member.
    ///
    /// # Safety
    /// `base` is the address of such an object, and `T` has the member's size.
    #[inline]
    pub(crate) unsafe fn get<T: Copy>(&self, base: u64) -> T {
        // SAFETY: the caller vouches for the object and the type.
        unsafe { ram::get(self.at(base)) }
    }

    /// Writes the member.
    ///
    /// # Safety
    /// As [`Field::get`], and the object may be written.
    #[inline]
    pub(crate) unsafe fn set<T: Copy>(&self, base: u64, value: T) {
        // SAFETY: the caller vouches for the object and the type.
        unsafe { ram::put(self.at(base), value) }
    }

    /// The object whose member lies at `address` (`container_of`).
    #[inline]
    pub(crate) fn container(&self, address: u64) -> u64 {
        address.wrapping_sub(self.at(0))
    }
}

/// The size of a C struct.
#[derive(Debug)]
pub(crate) struct Size {
    structure: &'static str,
    size: AtomicU32,
}

impl Size {
    /// By the struct's name.
    pub(crate) const fn new(structure: &'static str) -> Self {
        Self { structure, size: AtomicU32::new(UNKNOWN) }
    }

    /// In bytes. A struct this kernel does not have ends the task with its name.
    pub(crate) fn get(&self) -> u64 {
        let known = self.size.load(Ordering::Relaxed);
        if known != UNKNOWN {
            return u64::from(known);
        }
        match facts().btf().struct_named(self.structure) {
            Some(found) => {
                self.size.store(found.size() as u32, Ordering::Relaxed);
                found.size()
            }
            None => kernel().bug(&alloc::format!("no struct {} in {}", self.structure, facts().release()), 0),
        }
    }
}

/// Declares the members of a C struct that a file uses:
/// `layout! { mod list_head = "list_head" { next, prev } }` gives `list_head::next.get::<u64>(address)` and
/// `list_head::SIZE.get()`; `kind = "type"` names a member that Rust cannot.
macro_rules! layout {
    (@path $field:ident) => { stringify!($field) };
    (@path $field:ident $path:literal) => { $path };
    ($($(#[$meta:meta])* $vis:vis mod $name:ident = $structure:literal { $($field:ident $(= $path:literal)?),* $(,)? })+) => {
        $(
            $(#[$meta])*
            #[expect(non_upper_case_globals, reason = "members keep the names C gave them")]
            $vis mod $name {
                use $crate::field::{Field, Size};
                pub(crate) static SIZE: Size = Size::new($structure);
                // Not every struct is allocated here; this use keeps the size of the others from being called unused.
                const _: fn() -> &'static Size = || &SIZE;
                $(pub(crate) static $field: Field = Field::new($structure, $crate::field::layout!(@path $field $($path)?));)*
            }
        )+
    };
}
pub(crate) use layout;
