//! What a kernel-module file says, and what a kernel's own image says.
//!
//! [`Image::read`] takes the bytes of a Linux `.ko` and either proves that its structure holds together or names the first
//! thing that does not, with the kernel's own words where the kernel looks at the same thing. From an [`Image`] one reads the
//! module's name and licence, what it imports (with CRCs) and exports, its parameters, aliases and dependencies, its
//! sections, symbols and relocations, and the envelope of its signature. [`compress`] unpacks files that come compressed.
//! [`kernel`] reads the image of a whole kernel, [`btf`] its types, and [`facts`] keeps what was learned in a
//! form that needs no reading. [`initramfs`] reads what a kernel starts with.
//!
//! Nothing is copied that can be borrowed, nothing is read before it is asked for, and names stay the bytes that they are in the
//! file. No input makes any function here panic.
//!
//! # What this crate does not do
//!
//! It does not judge: whether a module may be loaded, matches a kernel or is trusted is for others to say. It applies no
//! relocation, opens no file, and knows nothing about errno or exit codes.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod arguments;
pub mod btf;
pub mod compress;
pub mod cpio;
mod description;
pub mod facts;
mod flat;
mod fnmatch;
pub mod initramfs;
pub mod kernel;
pub mod linux;
mod shown;

pub use description::{
    Description, EntryNames, ExportDescription, ImportDescription, KeyValue, ParameterDescription, RelocationCount,
    SCHEMA, SectionDescription, SignatureDescription,
};
pub use fnmatch::{fnmatch, normalise_alias};
pub use linux::{
    EntryPoints, Export, ExportClass, Image, Import, Modinfo, ModuleName, Parameter, Pointer, ReadError, Section,
    Signature, SignatureError, Softdep, VersionCursor, Versions,
};
pub use shown::{is_harmful, shown};
