//! Module parameters.

use core::fmt;
use core::ops::Deref;

use ferrmod_boundary::{KernelParam, KernelParamOps};

use crate::{Error, Lock, Result, kernel};

/// The most `get` may write: a page.
const SHOWN_MAX: usize = 4096;

/// A type a parameter can have.
pub trait ParamType: Copy + Send + 'static {
    /// The name Linux gives the type (`parmtype=`).
    const KIND: &'static str;
    /// A bare name without `=value` is allowed.
    const BARE: bool = false;

    /// Reads a text; `None` is a bare name.
    ///
    /// # Errors
    /// `EINVAL` when it is no value of this type, `ERANGE` when it is too large.
    fn parse(self, text: Option<&[u8]>) -> Result<Self>;

    /// Writes the text that `/sys/module/NAME/parameters` shows, without its newline.
    ///
    /// # Errors
    /// `ENOSPC` when it does not fit.
    fn show(self, buffer: &mut [u8]) -> Result<usize>;
}

macro_rules! standard {
    ($($type:ty, $kind:literal, $bare:literal, $raw:expr, $value:expr;)*) => {
        $(impl ParamType for $type {
            const KIND: &'static str = $kind;
            const BARE: bool = $bare;

            fn parse(self, text: Option<&[u8]>) -> Result<Self> {
                parse_standard(Self::KIND, text, $raw(self)).map($value)
            }

            fn show(self, buffer: &mut [u8]) -> Result<usize> {
                show_standard(Self::KIND, $raw(self), buffer)
            }
        })*
    };
}

standard! {
    bool, "bool", true, u64::from, |raw| raw != 0;
    u8, "byte", false, u64::from, |raw| raw as u8;
    i16, "short", false, |value| i64::from(value) as u64, |raw| raw as i16;
    u16, "ushort", false, u64::from, |raw| raw as u16;
    i32, "int", false, |value| i64::from(value) as u64, |raw| raw as i32;
    u32, "uint", false, u64::from, |raw| raw as u32;
    i64, "long", false, |value| value as u64, |raw| raw as i64;
    u64, "ulong", false, |value| value, |raw| raw;
}

/// The kernel reads the standard types, so that every module reads them alike.
fn parse_standard(kind: &str, text: Option<&[u8]>, mut value: u64) -> Result<u64> {
    let (text, length) = text.map_or((core::ptr::null(), 0), |text| (text.as_ptr(), text.len()));
    // SAFETY: both texts and the value live during the call.
    let returned = unsafe { kernel::ferrmod_param_parse(kind.as_ptr(), kind.len(), text, length, &mut value) };
    Error::check(returned.into()).map(|_| value)
}

fn show_standard(kind: &str, value: u64, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the text lives and the buffer is ours during the call.
    let returned =
        unsafe { kernel::ferrmod_param_show(kind.as_ptr(), kind.len(), value, buffer.as_mut_ptr(), buffer.len()) };
    Error::check(returned).map(|length| (length as usize).min(buffer.len()))
}

/// The bytes a [`Text`] can have.
const TEXT_MAX: usize = 120;

/// A short text, at most 120 bytes: Linux's `charp`, without memory of its own.
#[derive(Clone, Copy)]
pub struct Text {
    bytes: [u8; TEXT_MAX],
    length: usize,
}

impl Text {
    /// A text.
    ///
    /// # Panics
    /// When it is longer than 120 bytes; at compile time, when it is a parameter's default.
    pub const fn new(text: &str) -> Self {
        let text = text.as_bytes();
        assert!(text.len() <= TEXT_MAX, "the text of a parameter has at most 120 bytes");
        let mut bytes = [0; TEXT_MAX];
        let mut index = 0;
        while index < text.len() {
            bytes[index] = text[index];
            index += 1;
        }
        Self { bytes, length: text.len() }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        // It was made of UTF-8.
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl ParamType for Text {
    const KIND: &'static str = "charp";

    fn parse(self, text: Option<&[u8]>) -> Result<Self> {
        let text = core::str::from_utf8(text.ok_or(Error::EINVAL)?).map_err(|_| Error::EINVAL)?;
        if text.len() > TEXT_MAX { Err(Error::ENOSPC) } else { Ok(Self::new(text)) }
    }

    fn show(self, buffer: &mut [u8]) -> Result<usize> {
        let place = buffer.get_mut(..self.length).ok_or(Error::ENOSPC)?;
        place.copy_from_slice(&self.bytes[..self.length]);
        Ok(self.length)
    }
}

/// A parameter's value. `module!` makes one for each parameter, `params::NAME`.
#[derive(Debug)]
pub struct Param<T>(Lock<T>);

impl<T: ParamType> Param<T> {
    /// How the kernel sets and shows a parameter of this type.
    #[doc(hidden)]
    pub const OPS: &'static KernelParamOps =
        &KernelParamOps { flags: T::BARE as u32, set: Some(set::<T>), get: Some(get::<T>), free: None };

    /// A parameter with its default.
    pub const fn new(default: T) -> Self {
        Self(Lock::new(default))
    }

    /// The value now. It may change at any time when the parameter's file is writable.
    pub fn get(&self) -> T {
        *self.0.lock()
    }

    /// Changes the value.
    pub fn set(&self, value: T) {
        *self.0.lock() = value;
    }
}

unsafe extern "C" fn set<T: ParamType>(text: *const u8, parameter: *const KernelParam) -> i32 {
    // SAFETY: the kernel hands over an entry of this module's `__param`, whose value is a `Param<T>`, and a text with a NUL at its
    // end, or none.
    let (parameter, text) = unsafe {
        let text = (!text.is_null()).then(|| core::ffi::CStr::from_ptr(text.cast()).to_bytes());
        (&*(*parameter).value.cast::<Param<T>>(), text)
    };
    match parameter.get().parse(text) {
        Ok(value) => {
            parameter.set(value);
            0
        }
        Err(error) => error.to_return(),
    }
}

unsafe extern "C" fn get<T: ParamType>(buffer: *mut u8, parameter: *const KernelParam) -> i32 {
    // SAFETY: as in `set`; the buffer has a page.
    let (parameter, buffer) =
        unsafe { (&*(*parameter).value.cast::<Param<T>>(), core::slice::from_raw_parts_mut(buffer, SHOWN_MAX)) };
    let (room, newline) = buffer.split_at_mut(SHOWN_MAX - 1);
    match parameter.get().show(room) {
        Ok(length) if length < room.len() => {
            room[length] = b'\n';
            length as i32 + 1
        }
        Ok(length) => {
            newline[0] = b'\n';
            length as i32 + 1
        }
        Err(error) => error.to_return(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<T: ParamType>(parameter: &Param<T>) -> KernelParam {
        KernelParam {
            name: c"x".as_ptr().cast(),
            module: core::ptr::null(),
            ops: core::ptr::from_ref(Param::<T>::OPS).cast(),
            mode: 0o644,
            level: -1,
            flags: 0,
            value: core::ptr::from_ref(parameter).cast(),
        }
    }

    fn try_set<T: ParamType>(parameter: &Param<T>, text: Option<&core::ffi::CStr>) -> i32 {
        // SAFETY: the entry is the parameter's own, and the text has its NUL.
        unsafe { set::<T>(text.map_or(core::ptr::null(), |text| text.as_ptr().cast()), &entry(parameter)) }
    }

    fn shown<T: ParamType>(parameter: &Param<T>) -> alloc::string::String {
        let mut page = [0; SHOWN_MAX];
        // SAFETY: the entry is the parameter's own, and the buffer has a page.
        let length = unsafe { get::<T>(page.as_mut_ptr(), &entry(parameter)) };
        alloc::string::String::from_utf8(page[..length as usize].to_vec()).unwrap()
    }

    #[test]
    fn values_come_and_go_as_text() {
        let number = Param::new(-1i32);
        assert_eq!((try_set(&number, Some(c"0x10")), number.get()), (0, 16));
        assert_eq!((try_set(&number, Some(c"ten")), number.get()), (-22, 16));
        assert_eq!((try_set(&number, None), number.get()), (-22, 16));
        assert_eq!(shown(&number), "16\n");
        let flag = Param::new(false);
        assert_eq!((try_set(&flag, None), flag.get()), (0, true));
        assert_eq!(shown(&flag), "Y\n");
    }

    #[test]
    fn a_text_has_its_length() {
        let text = Param::new(Text::new("world"));
        assert_eq!(shown(&text), "world\n");
        assert_eq!(try_set(&text, Some(c"moon")), 0);
        assert_eq!(&*text.get(), "moon");
        let long = alloc::ffi::CString::new("x".repeat(TEXT_MAX + 1)).unwrap();
        assert_eq!(try_set(&text, Some(&long)), -28);
        assert_eq!(try_set(&text, Some(c"\xff")), -22);
        assert_eq!(&*text.get(), "moon");
    }
}
