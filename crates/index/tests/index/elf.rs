//! Modules small enough to be made on the spot.

/// A module that has what depmod reads, and nothing else.
#[derive(Default, Clone)]
pub(crate) struct Module<'a> {
    /// Symbols with their check sums.
    pub(crate) exports: &'a [(&'a str, u32)],
    pub(crate) imports: &'a [&'a str],
    /// Strings of `.modinfo`.
    pub(crate) modinfo: &'a [&'a str],
}

impl Module<'_> {
    /// The bytes of an ELF file for x86-64.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut strings = vec![0];
        let mut symbols = vec![0; 24];
        let mut crcs = Vec::new();
        let mut symbol = |name: &str, info: u8, section: u16, value: u64| {
            symbols.extend((strings.len() as u32).to_le_bytes());
            symbols.extend([info, 0]);
            symbols.extend(section.to_le_bytes());
            symbols.extend(value.to_le_bytes());
            symbols.extend(0u64.to_le_bytes());
            strings.extend(name.as_bytes());
            strings.push(0);
        };
        for (name, crc) in self.exports {
            symbol(&format!("__crc_{name}"), 0, 2, crcs.len() as u64);
            crcs.extend(crc.to_le_bytes());
        }
        for name in self.imports {
            symbol(name, 0x10, 0, 0);
        }
        let modinfo: Vec<u8> = self.modinfo.iter().flat_map(|string| [string.as_bytes(), b"\0"].concat()).collect();
        let names = b"\0.modinfo\0__kcrctab\0.symtab\0.strtab\0.shstrtab\0";
        // Name, type and contents; the number of the table of names is in the header.
        let sections: [(u32, u32, &[u8]); 6] =
            [(0, 0, b""), (1, 1, &modinfo), (10, 1, &crcs), (20, 2, &symbols), (28, 3, &strings), (36, 3, names)];
        let mut file = vec![0; 64];
        let mut headers = Vec::new();
        for (name, kind, contents) in sections {
            headers.extend(name.to_le_bytes());
            headers.extend(kind.to_le_bytes());
            headers.extend([0; 16]);
            headers.extend((file.len() as u64).to_le_bytes());
            headers.extend((contents.len() as u64).to_le_bytes());
            headers.extend([0; 24]);
            file.extend(contents);
        }
        let table = file.len() as u64;
        file.extend(headers);
        let mut header = b"\x7fELF\x02\x01\x01".to_vec();
        header.resize(16, 0);
        for half in [1u16, 62] {
            header.extend(half.to_le_bytes());
        }
        header.extend(1u32.to_le_bytes());
        for word in [0, 0, table] {
            header.extend(word.to_le_bytes());
        }
        header.extend(0u32.to_le_bytes());
        for half in [64u16, 0, 0, 64, 6, 5] {
            header.extend(half.to_le_bytes());
        }
        file.splice(..64, header);
        file
    }
}
