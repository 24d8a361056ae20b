//! What is different between two kernels in the type of a function: the reason behind a CRC that differs.
//!
//! A CRC of `CONFIG_MODVERSIONS` is a sum over a symbol's type and everything that type is made of, down to the last member of a
//! struct behind five pointers. It says that something is different and not what. Both kernels carry their types as BTF; walked through
//! side by side, breadth first, they tell where the nearest differences are.

use std::collections::{HashSet, VecDeque};
use std::fmt;

use bstr::{BStr, ByteSlice};
use ferrmod_image::btf::{Btf, FuncProto, Kind, Member, Node, Struct};

/// How many pairs of types are looked at for one function. A whole kernel has a hundred thousand types, most of them behind any
/// pointer to a `struct device`.
const MAX_PAIRS: usize = 200_000;

/// How many differences are reported.
const MAX_CHANGES: usize = 3;

/// How many names of members are given for one struct.
const MAX_NAMES: usize = 4;

/// A difference, and the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Change {
    /// How the place is reached from the function, as C would write it: `dev->bus->p`; `return` for what it returns.
    pub path: String,
    /// The type at that place, in the kernel the module was built for.
    pub of: String,
    /// What is different there.
    pub what: Difference,
}

/// What is different at a place. `from` is in the kernel that the module was built for, `to` in the one it is to be loaded into.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "change", rename_all = "snake_case"))]
pub enum Difference {
    /// Another type.
    Type {
        /// The type as C.
        from: String,
        /// The type as C.
        to: String,
    },
    /// Another number of parameters, or others.
    Parameters {
        /// The prototype as C.
        from: String,
        /// The prototype as C.
        to: String,
    },
    /// The members of a struct or union.
    Members {
        /// Bytes.
        size_from: u64,
        /// Bytes.
        size_to: u64,
        /// Members that are new.
        added: Vec<String>,
        /// Members that are gone.
        removed: Vec<String>,
        /// Members that are at another place: name, bit offset, bit offset.
        moved: Vec<(String, u64, u64)>,
    },
    /// The values of an enumeration.
    Values {
        /// Values that are new.
        added: Vec<String>,
        /// Values that are gone.
        removed: Vec<String>,
        /// Values that stand for another number: name, number, number.
        changed: Vec<(String, u64, u64)>,
    },
    /// The length of an array.
    Length {
        /// Elements.
        from: u32,
        /// Elements.
        to: u32,
    },
    /// A type that one of them only declares, so that nothing can be compared.
    Opaque {
        /// Whether the kernel that the module was built for knows it.
        known_before: bool,
    },
}

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "outcome", rename_all = "snake_case"))]
pub enum Comparison {
    /// These are the nearest differences, the nearest first; never empty.
    Changed {
        /// The differences.
        changes: Vec<Change>,
    },
    /// No difference is in the types; it is in something that they do not tell (a variable's type, a name the compiler saw and the types
    /// do not keep).
    Same,
    /// It cannot be told.
    Unknown {
        /// Why.
        why: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        match &self.what {
            Difference::Type { from, to } => write!(f, "`{from}` became `{to}`"),
            Difference::Parameters { from, to } => write!(f, "`{from}` became `{to}`"),
            Difference::Members { size_from, size_to, added, removed, moved } => {
                write!(f, "{}", self.of)?;
                let mut parts = Vec::new();
                if size_from != size_to {
                    parts.push(format!("{size_from} bytes became {size_to}"));
                }
                let list = |names: &[String]| names.join(", ");
                if !removed.is_empty() {
                    parts.push(format!("without {}", list(removed)));
                }
                if !added.is_empty() {
                    parts.push(format!("new {}", list(added)));
                }
                if let Some((name, from, to)) = moved.first() {
                    parts.push(format!("{name} moved from {} to {}", place(*from), place(*to)));
                }
                write!(f, ": {}", parts.join("; "))
            }
            Difference::Values { added, removed, changed } => {
                write!(f, "{}", self.of)?;
                let mut parts = Vec::new();
                if !removed.is_empty() {
                    parts.push(format!("without {}", removed.join(", ")));
                }
                if !added.is_empty() {
                    parts.push(format!("new {}", added.join(", ")));
                }
                if let Some((name, from, to)) = changed.first() {
                    parts.push(format!("{name} was {from} and is {to}"));
                }
                write!(f, ": {}", parts.join("; "))
            }
            Difference::Length { from, to } => write!(f, "{from} elements became {to}"),
            Difference::Opaque { known_before } => {
                let which = if *known_before {
                    "is only declared in this kernel"
                } else {
                    "is only declared in the kernel it was built for"
                };
                write!(f, "{} {which}", self.of)
            }
        }
    }
}

/// An offset in words.
fn place(bits: u64) -> String {
    if bits.is_multiple_of(8) { format!("{:#x}", bits / 8) } else { format!("{:#x} bit {}", bits / 8, bits % 8) }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Comparison::Changed { changes } => {
                for (number, change) in changes.iter().enumerate() {
                    if number > 0 {
                        f.write_str("\n")?;
                    }
                    change.fmt(f)?;
                }
                Ok(())
            }
            Comparison::Same => f.write_str("the types that the kernels carry do not differ"),
            Comparison::Unknown { why } => f.write_str(why),
        }
    }
}

/// Compares the function (or the per-CPU variable) `name` in the kernel a module was built for and in another.
#[must_use]
pub fn compare(name: &BStr, from: &Btf<'_>, to: &Btf<'_>) -> Comparison {
    let mut walk = Walk { from, to, seen: HashSet::new(), queue: VecDeque::new(), changes: Vec::new() };
    match (from.function(name), to.function(name)) {
        (Some(a), Some(b)) => walk.prototypes("", &a, &b),
        (None, None) => match (from.variable(name), to.variable(name)) {
            (Some(a), Some(b)) => walk.pair(name.to_str_lossy().into_owned(), a.type_id, b.type_id),
            _ => return Comparison::Unknown { why: format!("the kernels carry no type of {name}") },
        },
        (Some(_), None) => return Comparison::Unknown { why: format!("this kernel carries no type of {name}") },
        (None, Some(_)) => {
            return Comparison::Unknown { why: format!("the kernel it was built for carries no type of {name}") };
        }
    }
    let complete = walk.run();
    let mut changes = walk.changes;
    if changes.is_empty() {
        return if complete {
            Comparison::Same
        } else {
            Comparison::Unknown { why: format!("no difference in the {MAX_PAIRS} types nearest to {name}") }
        };
    }
    changes.truncate(MAX_CHANGES);
    Comparison::Changed { changes }
}

/// Compares the structs (or unions) of one name alone, not what their members point to. `None` when they do not differ, or one of them is
/// not there.
#[must_use]
pub fn compare_structs(name: &BStr, from: &Btf<'_>, to: &Btf<'_>) -> Option<Difference> {
    let a = from.struct_named(name).or_else(|| from.union_named(name))?;
    let b = to.struct_named(name).or_else(|| to.union_named(name))?;
    members(&a, &b)
}

/// Two types side by side.
struct Pair {
    path: String,
    from: u32,
    to: u32,
}

struct Walk<'w> {
    from: &'w Btf<'w>,
    to: &'w Btf<'w>,
    seen: HashSet<(u32, u32)>,
    queue: VecDeque<Pair>,
    changes: Vec<Change>,
}

impl Walk<'_> {
    /// Looks at two types later, unless they have been.
    fn pair(&mut self, path: String, from: u32, to: u32) {
        if self.seen.insert((from, to)) {
            self.queue.push_back(Pair { path, from, to });
        }
    }

    /// Whether the end was reached before too much was looked at.
    fn run(&mut self) -> bool {
        let mut looked = 0;
        while let Some(pair) = self.queue.pop_front() {
            if self.changes.len() >= MAX_CHANGES {
                return true;
            }
            looked += 1;
            if looked > MAX_PAIRS {
                return false;
            }
            self.look(pair);
        }
        true
    }

    fn change(&mut self, pair: &Pair, what: Difference) {
        let of = self.from.type_name(pair.from);
        self.changes.push(Change { path: pair.path.clone(), of, what });
    }

    /// The two types are not of one kind.
    fn other_type(&mut self, pair: &Pair) {
        let what = Difference::Type { from: self.from.type_name(pair.from), to: self.to.type_name(pair.to) };
        self.change(pair, what);
    }

    fn look(&mut self, mut pair: Pair) {
        // Tags say nothing that a CRC would tell.
        let untagged = |btf: &Btf<'_>, mut id: u32| {
            for _ in 0..32 {
                match btf.node(id) {
                    Node::Qualified { kind: Kind::TypeTag, to } => id = to,
                    _ => break,
                }
            }
            id
        };
        pair.from = untagged(self.from, pair.from);
        pair.to = untagged(self.to, pair.to);
        let path = || pair.path.clone();
        match (self.from.node(pair.from), self.to.node(pair.to)) {
            (Node::Void, Node::Void) | (Node::Other, Node::Other) => {}
            // Whether a plain `char` has a sign is a flag of the compiler and none of a CRC's concerns.
            (Node::Int { name: a, size: m, .. }, Node::Int { name: b, size: n, .. }) => {
                if (a, m) != (b, n) {
                    self.other_type(&pair);
                }
            }
            (Node::Float { name: a, size: m }, Node::Float { name: b, size: n }) => {
                if (a, m) != (b, n) {
                    self.other_type(&pair);
                }
            }
            (Node::Pointer(a), Node::Pointer(b)) => {
                let path = if pair.path.ends_with("->") {
                    format!("(*{})", pair.path.trim_end_matches("->"))
                } else {
                    pair.path
                };
                self.pair(format!("{path}->"), a, b);
            }
            (Node::Array { element: a, count: m }, Node::Array { element: b, count: n }) => {
                if m != n {
                    self.change(&pair, Difference::Length { from: m, to: n });
                }
                self.pair(format!("{}[]", path()), a, b);
            }
            (Node::Typedef { name: a, to: m }, Node::Typedef { name: b, to: n }) => {
                if a == b {
                    self.pair(path(), m, n);
                } else {
                    self.other_type(&pair);
                }
            }
            (Node::Qualified { kind: a, to: m }, Node::Qualified { kind: b, to: n }) if a == b => {
                self.pair(path(), m, n)
            }
            (Node::Enum { name: a, size: m, values: x }, Node::Enum { name: b, size: n, values: y }) => {
                if (a, m) != (b, n) {
                    self.other_type(&pair);
                } else if let Some(difference) = enumerators(&x.collect::<Vec<_>>(), &y.collect::<Vec<_>>()) {
                    self.change(&pair, difference);
                }
            }
            (Node::Prototype(a), Node::Prototype(b)) => {
                let path = path();
                self.prototypes(&path, &a, &b);
            }
            (Node::Struct(a), Node::Struct(b)) => {
                if (a.name(), a.is_union()) == (b.name(), b.is_union()) {
                    self.structs(&pair, &a, &b);
                } else {
                    self.other_type(&pair);
                }
            }
            (Node::Forward { name: a, union: x }, Node::Forward { name: b, union: y }) => {
                if (a, x) != (b, y) {
                    self.other_type(&pair);
                }
            }
            (Node::Struct(a), Node::Forward { name, .. }) if a.name() == name => {
                self.change(&pair, Difference::Opaque { known_before: true });
            }
            (Node::Forward { name, .. }, Node::Struct(b)) if b.name() == name => {
                self.change(&pair, Difference::Opaque { known_before: false });
            }
            _ => self.other_type(&pair),
        }
    }

    fn prototypes(&mut self, path: &str, a: &FuncProto<'_>, b: &FuncProto<'_>) {
        if (a.params().len(), a.is_variadic()) != (b.params().len(), b.is_variadic()) {
            let what = Difference::Parameters { from: a.declaration(), to: b.declaration() };
            self.changes.push(Change { path: trim(path), of: a.declaration(), what });
            return;
        }
        let at = trim(path);
        let join = |name: String| if at.is_empty() { name } else { format!("{at}({name})") };
        for (number, (x, y)) in a.params().zip(b.params()).enumerate() {
            let name = if x.name.is_empty() {
                format!("parameter {}", number + 1)
            } else {
                x.name.to_str_lossy().into_owned()
            };
            self.pair(join(name), x.type_id, y.type_id);
        }
        self.pair(join("return".to_owned()), a.returns(), b.returns());
    }

    fn structs(&mut self, pair: &Pair, a: &Struct<'_>, b: &Struct<'_>) {
        if let Some(difference) = members(a, b) {
            let of = self.from.type_name(pair.from);
            self.changes.push(Change { path: trim(&pair.path), of, what: difference });
        }
        let join = |name: &BStr| {
            let name = name.to_str_lossy();
            if pair.path.ends_with("->") || name.is_empty() {
                format!("{}{name}", pair.path)
            } else {
                format!("{}.{name}", pair.path)
            }
        };
        // Members of one name lie side by side; unnamed ones are taken in their order.
        let unnamed = |of: &Struct<'_>| {
            of.members().filter(|member| member.name.is_empty()).map(|member| member.type_id).collect::<Vec<_>>()
        };
        for (x, y) in unnamed(a).into_iter().zip(unnamed(b)) {
            self.pair(join(BStr::new("")), x, y);
        }
        let mut others = b.members().filter(|member| !member.name.is_empty()).peekable();
        for x in a.members().filter(|member| !member.name.is_empty()) {
            let next = others.next_if(|y| y.name == x.name);
            if let Some(y) = next.or_else(|| b.members().find(|y| y.name == x.name)) {
                self.pair(join(x.name), x.type_id, y.type_id);
            }
        }
    }
}

/// A path without the arrow or dot at its end.
fn trim(path: &str) -> String {
    path.strip_suffix("->").unwrap_or(path).to_owned()
}

/// The first few names.
fn few<'n>(names: impl Iterator<Item = &'n BStr>) -> Vec<String> {
    let all: Vec<_> = names.collect();
    let mut few: Vec<_> = all.iter().take(MAX_NAMES).map(|name| name.to_str_lossy().into_owned()).collect();
    if all.len() > MAX_NAMES {
        few.push(format!("{} more", all.len() - MAX_NAMES));
    }
    few
}

/// What is different in size, names and places of the members.
fn members(a: &Struct<'_>, b: &Struct<'_>) -> Option<Difference> {
    let list = |of: &Struct<'_>| of.members().collect::<Vec<Member<'_>>>().len();
    let same = a.size() == b.size()
        && list(a) == list(b)
        && a.members().zip(b.members()).all(|(x, y)| (x.name, x.bit_offset, x.bits) == (y.name, y.bit_offset, y.bits));
    if same {
        return None;
    }
    let names = |of: &Struct<'_>| -> HashSet<Vec<u8>> { of.members().map(|member| member.name.to_vec()).collect() };
    let (before, after) = (names(a), names(b));
    let missing = |of: Vec<&'_ BStr>, other: &HashSet<Vec<u8>>| {
        few(of.into_iter().filter(|name| !name.is_empty() && !other.contains(name.as_bytes())))
    };
    let moved = a
        .members()
        .filter(|x| !x.name.is_empty())
        .filter_map(|x| {
            let y = b.members().find(|y| y.name == x.name)?;
            (x.bit_offset != y.bit_offset).then(|| (x.name.to_str_lossy().into_owned(), x.bit_offset, y.bit_offset))
        })
        .take(MAX_NAMES)
        .collect();
    Some(Difference::Members {
        size_from: a.size(),
        size_to: b.size(),
        added: missing(b.members().map(|member| member.name).collect(), &before),
        removed: missing(a.members().map(|member| member.name).collect(), &after),
        moved,
    })
}

/// What is different in the values of an enumeration.
fn enumerators(a: &[(&BStr, u64)], b: &[(&BStr, u64)]) -> Option<Difference> {
    if a == b {
        return None;
    }
    let find =
        |list: &[(&BStr, u64)], name: &BStr| list.iter().find(|(other, _)| *other == name).map(|&(_, value)| value);
    let changed = a
        .iter()
        .filter_map(|&(name, value)| {
            let now = find(b, name)?;
            (now != value).then(|| (name.to_str_lossy().into_owned(), value, now))
        })
        .take(MAX_NAMES)
        .collect();
    Some(Difference::Values {
        added: few(b.iter().filter(|(name, _)| find(a, name).is_none()).map(|&(name, _)| name)),
        removed: few(a.iter().filter(|(name, _)| find(b, name).is_none()).map(|&(name, _)| name)),
        changed,
    })
}
