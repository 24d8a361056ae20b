//! `Module.symvers`: what a kernel and its modules export, as kbuild wrote it down.

use std::collections::HashMap;

/// A line of `Module.symvers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymversExport {
    /// The CRC; `None` when it is 0, which stands for none.
    pub crc: Option<u32>,
    /// Whether only GPL-compatible modules may use it.
    pub gpl_only: bool,
    /// Its namespace.
    pub namespace: Option<String>,
}

/// What the kernel itself exports according to a `Module.symvers`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Symvers {
    exports: HashMap<String, SymversExport>,
}

/// A line that is none of a `Module.symvers`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is none of a Module.symvers (CRC, symbol, module, kind of export, namespace, separated by tabs)")]
pub struct SymversError {
    /// Its number, from 1.
    pub line: usize,
}

impl Symvers {
    /// Reads the lines that are about the kernel itself (`vmlinux`).
    ///
    /// # Errors
    /// The first line that is none.
    pub fn parse(text: &str) -> Result<Symvers, SymversError> {
        let mut exports = HashMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let mut fields = text.split('\t');
            let (Some(crc), Some(name), Some(owner), Some(kind)) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                return Err(SymversError { line });
            };
            let crc = crc.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let crc = crc.ok_or(SymversError { line })?;
            if !kind.starts_with("EXPORT_") {
                return Err(SymversError { line });
            }
            if owner == "vmlinux" {
                let export = SymversExport {
                    crc: (crc != 0).then_some(crc),
                    gpl_only: kind.starts_with("EXPORT_SYMBOL_GPL") || kind == "EXPORT_UNUSED_SYMBOL_GPL",
                    namespace: fields.next().filter(|name| !name.is_empty()).map(str::to_owned),
                };
                exports.insert(name.to_owned(), export);
            }
        }
        Ok(Symvers { exports })
    }

    /// The export of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SymversExport> {
        self.exports.get(name)
    }

    /// The names of all exports.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.exports.keys().map(String::as_str)
    }

    /// The number of exports.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exports.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exports.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_kernel_are_kept() {
        let text = "0x4c9d28b0\tphys_base\tvmlinux\tEXPORT_SYMBOL\t\n\
                    0x039823de\tinit_uts_ns\tvmlinux\tEXPORT_SYMBOL_GPL\tX\n\
                    0x00000000\tother\tdrivers/a/b\tEXPORT_SYMBOL\t\n";
        let symvers = Symvers::parse(text).unwrap();
        assert_eq!(symvers.len(), 2);
        assert_eq!(
            symvers.get("phys_base"),
            Some(&SymversExport { crc: Some(0x4c9d_28b0), gpl_only: false, namespace: None })
        );
        let gpl = symvers.get("init_uts_ns").unwrap();
        assert_eq!((gpl.gpl_only, gpl.namespace.as_deref()), (true, Some("X")));
        assert_eq!(Symvers::parse("nonsense").unwrap_err().line, 1);
    }
}
