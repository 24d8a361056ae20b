//! Types and prototypes written as C.

use alloc::format;
use alloc::string::{String, ToString};

use bstr::ByteSlice;

use super::{Btf, FuncProto, Kind, MAX_DEPTH};
use crate::flat::u32_at;

/// How many types one text may name. A prototype of a kernel needs some tens; broken types could
/// nest themselves exponentially.
const MAX_PARTS: usize = 1024;

/// How much of a name is written. The kernel's own limit is 511 bytes.
const MAX_WRITTEN: usize = 512;

impl Btf<'_> {
    /// The type as C writes it: `struct module *`, `const char *`, `int (*)(void *, int)`.
    pub fn type_name(&self, id: u32) -> String {
        self.declare(id, "")
    }

    /// The declaration of `name` with that type: `char name[56]`, `void (*exit)(void)`.
    pub fn declare(&self, id: u32, name: &str) -> String {
        let mut parts = MAX_PARTS;
        self.declaration(id, name.to_string(), MAX_DEPTH, &mut parts)
    }

    /// Builds a declaration from the inside out, as C's declarators are read. `depth` bounds the
    /// nesting of prototypes, `parts` the whole text.
    fn declaration(&self, mut id: u32, mut inner: String, depth: usize, parts: &mut usize) -> String {
        let mut qualifiers = String::new();
        loop {
            if *parts == 0 {
                return format!("? {inner}");
            }
            *parts -= 1;
            let Some(found) = self.get(id) else {
                // Number 0 is void; any other is a type that is not there.
                return join(&qualifiers, if id == 0 { "void" } else { "?" }, &inner);
            };
            let name = || self.written(found.name);
            let tagged = |keyword: &str| match name() {
                name if name.is_empty() => format!("{keyword} {{...}}"),
                name => format!("{keyword} {name}"),
            };
            match found.kind {
                Kind::Const => qualifiers.push_str("const "),
                Kind::Volatile => qualifiers.push_str("volatile "),
                Kind::Restrict => qualifiers.push_str("restrict "),
                Kind::TypeTag | Kind::Var | Kind::Func | Kind::DeclTag => {}
                Kind::Ptr => {
                    inner = format!("*{qualifiers}{inner}");
                    qualifiers.clear();
                    if self.is_declarator(found.size_or_type) {
                        inner = format!("({inner})");
                    }
                }
                Kind::Array => {
                    let count = u32_at(found.trailing, 8).unwrap_or(0);
                    inner = if count == 0 { format!("{inner}[]") } else { format!("{inner}[{count}]") };
                    id = u32_at(found.trailing, 0).unwrap_or(0);
                    continue;
                }
                Kind::FuncProto => {
                    qualifiers.clear();
                    let parameters = match depth.checked_sub(1) {
                        Some(depth) => self.parameters(found.trailing, depth, parts),
                        None => "?".to_string(),
                    };
                    inner = format!("{inner}({parameters})");
                }
                Kind::Struct => return join(&qualifiers, &tagged("struct"), &inner),
                Kind::Union => return join(&qualifiers, &tagged("union"), &inner),
                Kind::Enum | Kind::Enum64 => return join(&qualifiers, &tagged("enum"), &inner),
                Kind::Fwd if found.kind_flag => return join(&qualifiers, &tagged("union"), &inner),
                Kind::Fwd => return join(&qualifiers, &tagged("struct"), &inner),
                Kind::Int | Kind::Float | Kind::Typedef | Kind::Datasec => {
                    return join(&qualifiers, &name(), &inner);
                }
            }
            id = found.size_or_type;
        }
    }

    /// The string at `offset` as text.
    fn written(&self, offset: u32) -> String {
        let name = self.string(offset).unwrap_or_default();
        name.get(..MAX_WRITTEN).unwrap_or(name).to_str_lossy().to_string()
    }

    /// Whether a pointer to this type needs parentheses.
    fn is_declarator(&self, mut id: u32) -> bool {
        for _ in 0..MAX_DEPTH {
            match self.get(id) {
                Some(found) if matches!(found.kind, Kind::Array | Kind::FuncProto) => return true,
                Some(found) if found.kind.is_transparent() && found.kind != Kind::Typedef => id = found.size_or_type,
                _ => return false,
            }
        }
        false
    }

    /// The parameter list of a prototype.
    fn parameters(&self, entries: &[u8], depth: usize, parts: &mut usize) -> String {
        if entries.is_empty() {
            return "void".to_string();
        }
        let count = entries.len() / 8;
        let mut text = String::new();
        for (at, entry) in entries.chunks_exact(8).enumerate() {
            if at != 0 {
                text.push_str(", ");
            }
            let (Some(name), Some(id)) = (u32_at(entry, 0), u32_at(entry, 4)) else {
                continue;
            };
            if name == 0 && id == 0 && at + 1 == count {
                text.push_str("...");
                continue;
            }
            if *parts == 0 {
                text.push('?');
                break;
            }
            let name = self.written(name);
            text.push_str(&self.declaration(id, name, depth, parts));
        }
        text
    }
}

/// `qualifiers base inner`, with a space only where C needs one to look right.
fn join(qualifiers: &str, base: &str, inner: &str) -> String {
    match inner.starts_with('[') || inner.is_empty() {
        true => format!("{qualifiers}{base}{inner}"),
        false => format!("{qualifiers}{base} {inner}"),
    }
}

impl FuncProto<'_> {
    /// The prototype as C: `int crypto_register_shash(struct shash_alg *alg)`.
    pub fn declaration(&self) -> String {
        let mut parts = MAX_PARTS;
        let parameters = self.btf.parameters(self.parameters, MAX_DEPTH, &mut parts);
        let inner = format!("{}({parameters})", self.name);
        self.btf.declaration(self.returns, inner, MAX_DEPTH, &mut parts)
    }
}
