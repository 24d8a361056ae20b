//! A hash for every type that may cross the boundary.

/// The FNV-1a 32-bit offset basis.
pub const START: u32 = 0x811c_9dc5;

/// FNV-1a over `bytes`, going on from `hash` (Fowler, Noll, Vo; 32 bits).
#[must_use]
pub const fn fnv1a(mut hash: u32, bytes: &[u8]) -> u32 {
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    hash
}

/// The hash of a text.
#[must_use]
pub const fn of_text(text: &str) -> u32 {
    fnv1a(START, text.as_bytes())
}

/// `hash` going on with another.
#[must_use]
pub const fn then(hash: u32, next: u32) -> u32 {
    fnv1a(hash, &next.to_le_bytes())
}

/// A type that may cross the boundary: its layout is the same for every compiler.
pub trait Boundary {
    /// What stands for the type in CRCs: differs when the layout or the meaning differs.
    const HASH: u32;
}

macro_rules! plain {
    ($($type:ty),*) => {
        $(impl Boundary for $type {
            const HASH: u32 = of_text(stringify!($type));
        })*
    };
}

plain!((), bool, u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);

impl<T: Boundary> Boundary for *const T {
    const HASH: u32 = then(of_text("*const"), T::HASH);
}

impl<T: Boundary> Boundary for *mut T {
    const HASH: u32 = then(of_text("*mut"), T::HASH);
}

impl<T: Boundary, const N: usize> Boundary for [T; N] {
    const HASH: u32 = then(then(of_text("[]"), T::HASH), N as u32);
}

macro_rules! functions {
    ($($($argument:ident)*;)*) => {
        $(
            impl<Result: Boundary, $($argument: Boundary),*> Boundary for unsafe extern "C" fn($($argument),*) -> Result {
                const HASH: u32 = {
                    let hash = of_text("fn");
                    $(let hash = then(hash, $argument::HASH);)*
                    then(then(hash, of_text("->")), Result::HASH)
                };
            }

            // A pointer that may be null has the same layout, and another meaning.
            impl<Result: Boundary, $($argument: Boundary),*> Boundary
                for Option<unsafe extern "C" fn($($argument),*) -> Result>
            {
                const HASH: u32 = then(
                    of_text("Option"),
                    <unsafe extern "C" fn($($argument),*) -> Result as Boundary>::HASH,
                );
            }
        )*
    };
}

functions! {
    ;
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
}

/// Declares a `#[repr(C)]` struct whose name and fields are its [`Boundary::HASH`].
#[macro_export]
macro_rules! boundary_struct {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: $type:ty),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        $visibility struct $name {
            $($(#[$field_meta])* $field_visibility $field: $type,)*
        }

        impl $crate::Boundary for $name {
            const HASH: u32 = {
                let hash = $crate::of_text(::core::stringify!($name));
                $(
                    let hash = $crate::then(hash, $crate::of_text(::core::stringify!($field)));
                    let hash = $crate::then(hash, <$type as $crate::Boundary>::HASH);
                )*
                hash
            };
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a() {
        // Vectors of the authors (isthe.com/chongo/tech/comp/fnv).
        assert_eq!(of_text(""), 0x811c_9dc5);
        assert_eq!(of_text("a"), 0xe40c_292c);
        assert_eq!(of_text("foobar"), 0xbf9c_f968);
    }

    #[test]
    fn types_of_one_layout_differ_by_meaning() {
        assert_ne!(u64::HASH, i64::HASH);
        assert_ne!(<*const u8>::HASH, <*mut u8>::HASH);
        assert_ne!(<[u8; 4]>::HASH, <[u8; 5]>::HASH);
        type Function = unsafe extern "C" fn(u32) -> u32;
        assert_ne!(Function::HASH, <Option<Function>>::HASH);
    }
}
