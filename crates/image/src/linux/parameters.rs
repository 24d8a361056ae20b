//! The parameters that a module takes: what `.modinfo` tells people, and what `__param` tells the kernel.

use alloc::vec::Vec;

use bstr::{BStr, ByteSlice};

use super::{Image, Pointer};

/// Bytes of `struct kernel_param`: name, mod, ops (8 each), perm (2), level, flags (1 each), padding, arg (8).
const ENTRY: usize = 40;

/// Where `perm` begins in an entry; `level` and `flags` follow.
const PERM: usize = 24;

/// A parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Its name.
    pub name: &'a BStr,
    /// Its type as the source stated it (`parmtype=`): `int`, `array of charp`, …
    pub kind: Option<&'a BStr>,
    /// What it is for (`parm=`).
    pub description: Option<&'a BStr>,
    /// The mode of its file in `/sys/module/NAME/parameters`, 0 for none; `None` when the kernel would not know this parameter
    /// because `__param` does not list it.
    pub perm: Option<u16>,
    /// `KERNEL_PARAM_FL_*`: 1 unsafe, 2 hardware.
    pub flags: u8,
    /// The name of the symbol that reads and writes it (`param_ops_int`), when that is a symbol of its own.
    pub ops: Option<&'a BStr>,
}

impl<'a> Parameter<'a> {
    fn named(name: &'a BStr) -> Parameter<'a> {
        Parameter { name, kind: None, description: None, perm: None, flags: 0, ops: None }
    }
}

impl<'a> Image<'a> {
    /// The parameters: those of `__param` in its order, then those which only `.modinfo` mentions.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter<'a>> {
        let mut parameters = self.kernel_parameters();
        for (key, value) in self.modinfo().iter() {
            let of_type = key == "parmtype";
            if !of_type && key != "parm" {
                continue;
            }
            // The name ends at the first colon; a text without one is a name alone.
            let (name, text) = match value.find_byte(b':') {
                Some(colon) => {
                    value.split_at_checked(colon).map(|(name, text)| (name, text.get(1..))).unwrap_or_default()
                }
                None => (value.as_bytes(), None),
            };
            let name = BStr::new(name);
            let index = parameters.iter().position(|parameter| parameter.name == name).unwrap_or_else(|| {
                parameters.push(Parameter::named(name));
                parameters.len() - 1
            });
            if let Some(parameter) = parameters.get_mut(index) {
                let field = if of_type { &mut parameter.kind } else { &mut parameter.description };
                if field.is_none() {
                    *field = text.map(BStr::new);
                }
            }
        }
        parameters
    }

    /// What `__param` lists.
    fn kernel_parameters(&self) -> Vec<Parameter<'a>> {
        let Some((index, section)) = self.section("__param") else {
            return Vec::new();
        };
        let entries = section.data.as_chunks::<ENTRY>().0;
        // Fields are 8 bytes here: name is the first of five, ops the third.
        let fields = self.fields(index, 8, entries.len() * (ENTRY / 8));
        entries
            .iter()
            .zip(fields.as_chunks::<{ ENTRY / 8 }>().0)
            .filter_map(|(entry, [name, _, ops, ..])| {
                let mut parameter = Parameter::named(self.target_string(name.as_ref()?)?);
                if let Some(&[p0, p1, _level, flags]) = entry.get(PERM..).and_then(|rest| rest.first_chunk()) {
                    parameter.perm = Some(u16::from_le_bytes([p0, p1]));
                    parameter.flags = flags;
                }
                parameter.ops = ops.as_ref().and_then(|ops| self.pointed_symbol(ops));
                Some(parameter)
            })
            .collect()
    }

    /// The name of the symbol that `pointer` points at, when it points at one by name.
    fn pointed_symbol(&self, pointer: &Pointer) -> Option<&'a BStr> {
        let symbol = self.symbols().get(pointer.symbol as usize)?;
        Some(self.symbol_name(symbol)).filter(|name| !name.is_empty() && pointer.addend == 0)
    }
}
