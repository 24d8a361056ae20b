//! The broken files of the recording, made again from whole ones.
//!
//! Each is a module of tests/modules/loader (or, for the signatures, Debian's `nls_cp437.ko`) with
//! one thing changed in place, named as the recording names it. Offsets and numbers are those of
//! the gABI's ELF-64 object files and of Linux's `module_signature`.

/// What is done to a module; `None` when it has not what is to be changed.
type Change = fn(&mut Elf) -> Option<()>;

/// The files that differ from a whole module: their name, the module they are made from, the change.
const CHANGED: &[(&str, &str, Change)] = &[
    // Signatures.
    ("sigbad.ko", "nls_cp437", |elf| elf.flip_first_byte_of(".text")),
    ("siglen.ko", "nls_cp437", |elf| elf.sign(8, &[0x7f, 0xff, 0xff, 0xff])),
    ("sigid.ko", "nls_cp437", |elf| elf.sign(2, &[1])),
    ("sigpad.ko", "nls_cp437", |elf| elf.sign(5, &[1])),
    ("nls_nosig.ko", "nls_cp437", Elf::strip_signature),
    // The file as a whole.
    ("empty.ko", "base", |elf| elf.truncate(0)),
    ("ten.ko", "base", |elf| elf.truncate(10)),
    ("hdr.ko", "base", |elf| elf.truncate(64)),
    ("half.ko", "base", |elf| elf.truncate(elf.0.len() / 2)),
    // The header.
    ("magic.ko", "base", |elf| elf.put(0, &[0x7e])),
    ("class32.ko", "base", |elf| elf.put(4, &[1])),
    ("etdyn.ko", "base", |elf| elf.put16(E_TYPE, 3)),
    ("mach.ko", "base", |elf| elf.put16(E_MACHINE, 183)),
    ("shent.ko", "base", |elf| elf.put16(E_SHENTSIZE, 40)),
    ("shoff.ko", "base", |elf| elf.put64(E_SHOFF, elf.0.len() as u64 + 1)),
    ("shnum.ko", "base", |elf| elf.put16(E_SHNUM, 60000)),
    ("shstr0.ko", "base", |elf| elf.put16(E_SHSTRNDX, 0)),
    ("shstr200.ko", "base", |elf| elf.put16(E_SHSTRNDX, 200)),
    // Section headers.
    ("shstroff.ko", "base", |elf| elf.put64(elf.names()? + SH_OFFSET, elf.0.len() as u64 + 1)),
    ("shstrempty.ko", "base", |elf| elf.put64(elf.names()? + SH_SIZE, 0)),
    ("shstrnul.ko", "base", |elf| elf.put(elf.place(elf.names()?)?.end.checked_sub(1)?, b"x")),
    ("sec0.ko", "base", |elf| elf.put64(elf.header(0)? + SH_SIZE, 1)),
    ("symlink0.ko", "base", |elf| elf.put32(elf.symbols()? + SH_LINK, 0)),
    ("secoff.ko", "base", |elf| elf.put64(elf.header(13)? + SH_OFFSET, u64::MAX - 255)),
    ("secname.ko", "base", |elf| elf.put32(elf.header(13)? + SH_NAME, u32::MAX / 2)),
    ("nosym.ko", "base", |elf| elf.put32(elf.symbols()? + SH_TYPE, SHT_PROGBITS)),
    ("nomod.ko", "base", |elf| elf.rename_section(".gnu.linkonce.this_module", b"X")),
    ("wx.ko", "base", |elf| {
        let header = elf.section(".text")?;
        elf.put64(header + SH_FLAGS, elf.get64(header + SH_FLAGS)? | SHF_WRITE)
    }),
    // Versions and licence.
    ("vmrel.ko", "base", |elf| elf.replace(".modinfo", b"\0vermagic=6", b"\0vermagic=5")),
    ("vmfl.ko", "base", |elf| elf.replace(".modinfo", b" preempt ", b" PREEMPT ")),
    ("vmnone.ko", "base", |elf| elf.replace(".modinfo", b"\0vermagic=", b"\0vermagiz=")),
    ("nover.ko", "base", |elf| elf.rename_section("__versions", b"x")),
    ("crcml.ko", "base", |elf| elf.change_version("module_layout", Version::Crc)),
    ("crcpr.ko", "base", |elf| elf.change_version("_printk", Version::Crc)),
    ("crcno.ko", "base", |elf| elf.change_version("_printk", Version::Name)),
    ("lic.ko", "base", |elf| elf.relicense(b"GPX")),
    ("propgpl.ko", "propgpl", |elf| elf.relicense(b"Proprietary")),
    ("userns2.ko", "userns", |elf| elf.replace(".modinfo", b"\0import_ns=", b"\0import_nz=")),
    ("blk.ko", "nothing", |elf| {
        elf.replace(".modinfo", b"\0name=nothing\0", b"\0name=nothinx\0")?;
        elf.replace(".gnu.linkonce.this_module", b"nothing\0", b"nothinx\0")
    }),
    // Symbols.
    ("unk.ko", "base", |elf| {
        let (symbol, name) = elf.symbol("_printk")?;
        (elf.get16(symbol + ST_SHNDX)? == 0).then_some(())?;
        elf.put(name + 1, b"q")
    }),
    ("common.ko", "base", |elf| {
        let (symbol, _) = elf.symbol("init_module")?;
        elf.put16(symbol + ST_SHNDX, SHN_COMMON)
    }),
    ("symidx.ko", "base", |elf| {
        let (symbol, _) = elf.symbol("init_module")?;
        elf.put16(symbol + ST_SHNDX, 999)
    }),
    // Relocations.
    ("rel42.ko", "base", |elf| elf.retype(R_X86_64_PLT32, 42)),
    ("rel26.ko", "base", |elf| elf.retype(R_X86_64_PLT32, 26)),
    ("rel32.ko", "base", |elf| elf.retype(R_X86_64_PC32, 10)),
    ("relnz.ko", "base", |elf| {
        let offset = usize::try_from(elf.get64(elf.relocation(R_X86_64_PLT32)?)?).ok()?;
        let target = elf.place(elf.section(".init.text")?)?.start.checked_add(offset)?;
        elf.put32(target, 1)
    }),
];

/// Files that are a whole module under another name.
const RENAMED: &[(&str, &str)] = &[
    ("good.ko", "base"),
    ("f8.ko", "base"),
    ("f4.ko", "base"),
    ("nls_flag.ko", "nls_cp437"),
    ("nls_flag1.ko", "nls_cp437"),
];

/// Modules that the recording loads as they are.
const WHOLE: &[&str] = &[
    "base",
    "nls_cp437",
    "exporter",
    "user",
    "usernsok",
    "dupexp",
    "userns",
    "propexp",
    "useprop",
    "usepropgpl",
    "noexit",
    "nothing",
    "weaku",
    "pcpu",
    "nolic",
    "irqoff",
    "slow",
    "useslow",
];

/// Name of the module that the file is made from: `nls_cp437` is Debian's, the others are those of
/// tests/modules. `None` for a name that the recording does not know.
pub fn source_of(file: &str) -> Option<&'static str> {
    let changed = CHANGED.iter().find(|(name, _, _)| *name == file).map(|(_, source, _)| *source);
    let renamed = || RENAMED.iter().find(|(name, _)| *name == file).map(|(_, source)| *source);
    let whole = || WHOLE.iter().copied().find(|name| file.strip_suffix(".ko") == Some(name));
    changed.or_else(renamed).or_else(whole)
}

/// Makes the file from the bytes of the module that [`source_of`] names (plain, without debug
/// information). `None` for an unknown name, or when the module has not what is to be changed.
pub fn mutate(file: &str, source: &[u8]) -> Option<Vec<u8>> {
    let mut elf = Elf(source.to_vec());
    match CHANGED.iter().find(|(name, _, _)| *name == file) {
        Some((_, _, change)) => change(&mut elf)?,
        None => drop(source_of(file)?),
    }
    Some(elf.0)
}

/// Names of all files that differ from the module they are made from.
#[cfg(test)]
pub(super) fn changed() -> impl Iterator<Item = &'static str> {
    CHANGED.iter().map(|(name, _, _)| *name)
}

// gABI, "ELF Header": offsets in Elf64_Ehdr.
const E_TYPE: usize = 16;
const E_MACHINE: usize = 18;
const E_SHOFF: usize = 40;
const E_SHENTSIZE: usize = 58;
const E_SHNUM: usize = 60;
const E_SHSTRNDX: usize = 62;
// gABI, "Section Header": offsets in Elf64_Shdr, and values.
const SHDR_SIZE: usize = 64;
const SH_NAME: usize = 0;
const SH_TYPE: usize = 4;
const SH_FLAGS: usize = 8;
const SH_OFFSET: usize = 24;
const SH_SIZE: usize = 32;
const SH_LINK: usize = 40;
const SHT_PROGBITS: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHF_WRITE: u64 = 1;
// gABI, "Symbol Table": offsets in Elf64_Sym, and values.
const SYM_SIZE: usize = 24;
const ST_SHNDX: usize = 6;
const SHN_COMMON: u16 = 0xfff2;
// gABI, "Relocation": Elf64_Rela; the type is the low half of r_info. Types are the x86-64 psABI's.
const RELA_SIZE: usize = 24;
const R_INFO: usize = 8;
const R_X86_64_PC32: u32 = 2;
const R_X86_64_PLT32: u32 = 4;
// Linux: the end of a signed module, and the 12-byte struct module_signature before it.
const SIGNATURE_MARK: &[u8] = b"~Module signature appended~\n";
const SIGNATURE_SIZE: usize = 12;
// Linux: struct modversion_info.
const VERSION_SIZE: usize = 64;
const VERSION_NAME: usize = 8;

/// What to spoil in an entry of `__versions`.
enum Version {
    Crc,
    Name,
}

/// The bytes of a module, read and changed at offsets; everything out of range is `None`.
struct Elf(Vec<u8>);

impl Elf {
    fn get<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn get16(&self, at: usize) -> Option<u16> {
        self.get(at).map(u16::from_le_bytes)
    }

    fn get32(&self, at: usize) -> Option<u32> {
        self.get(at).map(u32::from_le_bytes)
    }

    fn get64(&self, at: usize) -> Option<u64> {
        self.get(at).map(u64::from_le_bytes)
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        self.0.get_mut(at..at.checked_add(bytes.len())?)?.copy_from_slice(bytes);
        Some(())
    }

    fn put16(&mut self, at: usize, value: u16) -> Option<()> {
        self.put(at, &value.to_le_bytes())
    }

    fn put32(&mut self, at: usize, value: u32) -> Option<()> {
        self.put(at, &value.to_le_bytes())
    }

    fn put64(&mut self, at: usize, value: u64) -> Option<()> {
        self.put(at, &value.to_le_bytes())
    }

    fn truncate(&mut self, length: usize) -> Option<()> {
        self.0.truncate(length);
        Some(())
    }

    /// Offset of the section header of this index, all of which is in the file.
    fn header(&self, index: u16) -> Option<usize> {
        (index < self.get16(E_SHNUM)?).then_some(())?;
        let table = usize::try_from(self.get64(E_SHOFF)?).ok()?;
        let header = table.checked_add(usize::from(index) * SHDR_SIZE)?;
        (header.checked_add(SHDR_SIZE)? <= self.0.len()).then_some(header)
    }

    fn headers(&self) -> impl Iterator<Item = usize> {
        (0..self.get16(E_SHNUM).unwrap_or(0)).filter_map(|index| self.header(index))
    }

    /// Offset of the header of the section-name table.
    fn names(&self) -> Option<usize> {
        self.header(self.get16(E_SHSTRNDX)?)
    }

    /// Offset of the header of the symbol table.
    fn symbols(&self) -> Option<usize> {
        self.headers().find(|header| self.get32(header + SH_TYPE) == Some(SHT_SYMTAB))
    }

    /// The place in the file of what the header at this offset describes.
    fn place(&self, header: usize) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(self.get64(header + SH_OFFSET)?).ok()?;
        let end = start.checked_add(usize::try_from(self.get64(header + SH_SIZE)?).ok()?)?;
        (end <= self.0.len()).then_some(start..end)
    }

    fn text_at(&self, at: usize) -> Option<&[u8]> {
        self.0.get(at..)?.split(|byte| *byte == 0).next()
    }

    /// Offset of the name of the section whose header is at this offset.
    fn name_of(&self, header: usize) -> Option<usize> {
        let names = self.place(self.names()?)?;
        names.start.checked_add(usize::try_from(self.get32(header + SH_NAME)?).ok()?)
    }

    /// Offset of the header of the section of this name.
    fn section(&self, name: &str) -> Option<usize> {
        self.headers().find(|header| self.name_of(*header).and_then(|at| self.text_at(at)) == Some(name.as_bytes()))
    }

    /// Writes over the end of the section's name.
    fn rename_section(&mut self, name: &str, ending: &[u8]) -> Option<()> {
        let at = self.name_of(self.section(name)?)? + name.len();
        self.put(at.checked_sub(ending.len())?, ending)
    }

    /// Replaces the first occurrence in the section by as many bytes.
    fn replace(&mut self, section: &str, from: &[u8], to: &[u8]) -> Option<()> {
        let place = self.place(self.section(section)?)?;
        let at = self.0.get(place.clone())?.windows(from.len()).position(|bytes| bytes == from)?;
        (from.len() == to.len()).then_some(())?;
        self.put(place.start + at, to)
    }

    fn flip_first_byte_of(&mut self, section: &str) -> Option<()> {
        let place = self.place(self.section(section)?)?;
        let byte = *self.0.get(place.clone())?.first()?;
        self.put(place.start, &[byte ^ 1])
    }

    /// Puts another licence, as long or shorter, into `.modinfo`; zeros between strings are allowed.
    fn relicense(&mut self, licence: &[u8]) -> Option<()> {
        const KEY: &[u8] = b"license=";
        let place = self.place(self.section(".modinfo")?)?;
        let at = self.0.get(place.clone())?.windows(KEY.len()).position(|bytes| bytes == KEY)?;
        let at = place.start + at + KEY.len();
        let length = self.text_at(at)?.len();
        let mut text = licence.to_vec();
        (text.len() <= length).then_some(())?;
        text.resize(length, 0);
        self.put(at, &text)
    }

    fn change_version(&mut self, name: &str, what: Version) -> Option<()> {
        let place = self.place(self.section("__versions")?)?;
        let entry =
            place.step_by(VERSION_SIZE).find(|entry| self.text_at(entry + VERSION_NAME) == Some(name.as_bytes()))?;
        match what {
            Version::Crc => self.put64(entry, self.get64(entry)? ^ 1),
            Version::Name => self.put(entry + VERSION_NAME + 1, b"q"),
        }
    }

    /// Offsets of the symbol of this name and of the name.
    fn symbol(&self, name: &str) -> Option<(usize, usize)> {
        let table = self.symbols()?;
        let strings = self.header(u16::try_from(self.get32(table + SH_LINK)?).ok()?)?;
        let strings = self.place(strings)?;
        self.place(table)?.step_by(SYM_SIZE).find_map(|symbol| {
            let at = strings.start + usize::try_from(self.get32(symbol)?).ok()?;
            (self.text_at(at)? == name.as_bytes()).then_some((symbol, at))
        })
    }

    /// Offset of the first relocation of `.init.text` of this type.
    fn relocation(&self, kind: u32) -> Option<usize> {
        let entries = self.place(self.section(".rela.init.text")?)?;
        entries.step_by(RELA_SIZE).find(|entry| self.get32(entry + R_INFO) == Some(kind))
    }

    fn retype(&mut self, from: u32, to: u32) -> Option<()> {
        let entry = self.relocation(from)?;
        self.put32(entry + R_INFO, to)
    }

    /// Offset of struct module_signature.
    fn signature(&self) -> Option<usize> {
        self.0.ends_with(SIGNATURE_MARK).then_some(())?;
        self.0.len().checked_sub(SIGNATURE_MARK.len() + SIGNATURE_SIZE)
    }

    /// Writes into struct module_signature.
    fn sign(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        self.put(self.signature()? + at, bytes)
    }

    fn strip_signature(&mut self) -> Option<()> {
        let at = self.signature()?;
        let length = u32::from_be_bytes(self.get(at + 8)?);
        self.truncate(at.checked_sub(usize::try_from(length).ok()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus;

    fn source_bytes(name: &str) -> Option<Vec<u8>> {
        let path = if name == "nls_cp437" {
            corpus::tree_or_skip("6.1")?.file(name)?
        } else {
            corpus::own_module_or_skip(name)?
        };
        std::fs::read(path).ok()
    }

    #[test]
    fn every_change_can_be_made() {
        for file in changed() {
            let source = source_of(file).unwrap();
            let Some(bytes) = source_bytes(source) else {
                return;
            };
            let made = mutate(file, &bytes).unwrap_or_else(|| panic!("{file} from {source}.ko"));
            assert_ne!(made, bytes, "{file}");
        }
    }

    #[test]
    fn a_change_is_small() {
        for file in changed() {
            let Some(bytes) = source_bytes(source_of(file).unwrap()) else {
                return;
            };
            let made = mutate(file, &bytes).unwrap();
            if made.len() == bytes.len() {
                let differing = made.iter().zip(&bytes).filter(|(a, b)| a != b).count();
                assert!(differing <= 12, "{file}: {differing} bytes");
            }
        }
    }

    #[test]
    fn base_has_the_shape_that_the_recording_tells() {
        let Some(bytes) = source_bytes("base") else {
            return;
        };
        let elf = Elf(bytes);
        // "section header index ... (max 38)", "section .text (index 3)", "section 13 type 1".
        assert_eq!(elf.get16(E_SHNUM), Some(39));
        assert_eq!(elf.section(".text"), elf.header(3));
        assert_eq!(elf.get32(elf.header(13).unwrap() + SH_TYPE), Some(SHT_PROGBITS));
    }

    #[test]
    fn whole_and_renamed_files_are_as_they_were() {
        for file in ["base.ko", "good.ko", "user.ko"] {
            assert_eq!(mutate(file, b"anything").unwrap(), b"anything");
        }
        assert_eq!(mutate("nosuch.ko", b"anything"), None);
        assert_eq!(mutate("base", b"anything"), None);
    }

    #[test]
    fn nonsense_is_refused_and_never_panics() {
        let mut noise = vec![0xff; 4096];
        for file in changed() {
            for bytes in [&b""[..], &[0x7f; 64], &noise] {
                let _ = mutate(file, bytes);
            }
        }
        noise.truncate(100);
        assert_eq!(mutate("symidx.ko", &noise), None);
    }
}
