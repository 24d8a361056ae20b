//! From a module's file to the kernel, as `insmod` and `modprobe` do it.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bstr::{BStr, BString, ByteSlice};
use ferrmod_image::compress::{self, Compression};
use ferrmod_index::MAX_MODULE;
use ferrmod_linux::{Errno, Kernel, LoadFlags};

use crate::elf;

/// A module that was not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoadProblem {
    /// The kernel's answer, or the one for what was wrong before it was asked.
    pub(crate) errno: Errno,
    /// What was wrong before, in words, when it was.
    pub(crate) detail: Option<String>,
}

impl From<Errno> for LoadProblem {
    fn from(errno: Errno) -> LoadProblem {
        LoadProblem { errno, detail: None }
    }
}

impl From<io::Error> for LoadProblem {
    fn from(error: io::Error) -> LoadProblem {
        Errno::from_io_error(&error).unwrap_or(Errno::IO).into()
    }
}

/// Loads the module in `file` with `parameters`. `forces` are [`LoadFlags::IGNORE_MODVERSIONS`] and
/// [`LoadFlags::IGNORE_VERMAGIC`] as wanted; how the file is compressed is seen here.
///
/// The kernel gets the file, also a compressed one if it unpacks that format; else it gets an image unpacked here, in which what
/// is forced is edited.
///
/// # Errors
/// The kernel's, or that of reading and unpacking the file.
pub(crate) fn load(kernel: &Kernel, file: &File, parameters: &CStr, forces: LoadFlags) -> Result<(), LoadProblem> {
    let mut magic = [0; 6];
    if let Err(error) = file.read_exact_at(&mut magic, 0) {
        let is_short = error.kind() == io::ErrorKind::UnexpectedEof;
        let detail = is_short.then(|| "the file is empty or nearly so".to_owned());
        let errno = if is_short { Errno::INVAL } else { LoadProblem::from(error).errno };
        return Err(LoadProblem { errno, detail });
    }
    let format = compress::detect(&magic);
    let unpack = |flags| image(file, flags);
    match (format, kernel_format(format)) {
        (Compression::None, _) => kernel.load_or_unpack(file, parameters, forces, unpack),
        (_, Some(wanted)) if kernel.compression() == Some(wanted) => {
            kernel.load_or_unpack(file, parameters, forces | LoadFlags::COMPRESSED_FILE, unpack)
        }
        _ => Ok(kernel.load_image(&unpack(forces)?, parameters)?),
    }
}

/// What the kernel calls a format, if there is one that it may unpack.
fn kernel_format(format: Compression) -> Option<ferrmod_linux::Compression> {
    match format {
        Compression::Gzip => Some(ferrmod_linux::Compression::Gzip),
        Compression::Xz => Some(ferrmod_linux::Compression::Xz),
        Compression::Zstd => Some(ferrmod_linux::Compression::Zstd),
        Compression::None | Compression::Lz4 => None,
    }
}

/// The unpacked file, without what `forces` make the kernel overlook.
fn image(file: &File, forces: LoadFlags) -> Result<Vec<u8>, LoadProblem> {
    let size = file.metadata()?.len();
    let too_large = || LoadProblem { errno: Errno::FBIG, detail: None };
    let size = usize::try_from(size).ok().filter(|&size| size <= MAX_MODULE).ok_or_else(too_large)?;
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, 0)?;
    let mut image = match ferrmod_index::unpack(&bytes) {
        Ok(image) => image.into_owned(),
        Err(error) => return Err(LoadProblem { errno: Errno::INVAL, detail: Some(error.to_string()) }),
    };
    if !forces.is_empty() {
        edit(&mut image, forces).map_err(|what| LoadProblem { errno: Errno::NOEXEC, detail: Some(what.to_owned()) })?;
    }
    Ok(image)
}

/// The sections that hold the CRCs of what a module needs: since Linux 6.14 also in a form for names of any length, of which the
/// kernel takes both sections or none.
const VERSIONS: [&[u8]; 3] = [b"__versions", b"__version_ext_crcs", b"__version_ext_names"];

/// Takes away what the kernel would compare: the CRCs (it looks at sections with `SHF_ALLOC` only) and the version magic.
fn edit(image: &mut [u8], forces: LoadFlags) -> Result<(), &'static str> {
    let section = |image: &[u8], name: &[u8]| match elf::section(image, name) {
        Ok(section) => Ok(Some(section)),
        Err(elf::ElfError::Missing) => Ok(None),
        Err(elf::ElfError::NotElf) => Err("not an ELF file"),
        Err(elf::ElfError::Damaged(what)) => Err(what),
    };
    if forces.contains(LoadFlags::IGNORE_MODVERSIONS) {
        for name in VERSIONS {
            if let Some(versions) = section(image, name)?
                && let Some(flags) = image.get_mut(versions.flags_at as usize)
            {
                const SHF_ALLOC: u8 = 2;
                *flags &= !SHF_ALLOC;
            }
        }
    }
    if forces.contains(LoadFlags::IGNORE_VERMAGIC)
        && let Some(modinfo) = section(image, b".modinfo")?
    {
        let (start, end) = (modinfo.offset as usize, (modinfo.offset + modinfo.size) as usize);
        let strings = image.get_mut(start..end).unwrap_or_default();
        if let Some(vermagic) = strings.split_mut(|&byte| byte == 0).find(|string| string.starts_with(b"vermagic=")) {
            vermagic.fill(0);
        }
    }
    Ok(())
}

/// Joins a module's parameters as given on a command line: a value with spaces gets quotes unless it has some.
pub(crate) fn join<'a>(parameters: impl IntoIterator<Item = &'a [u8]>) -> BString {
    let mut line = BString::default();
    for (at, parameter) in parameters.into_iter().enumerate() {
        if at != 0 {
            line.push(b' ');
        }
        match parameter.split_once_str("=") {
            Some((name, value)) if value.contains(&b' ') && !matches!(value.first(), Some(b'"' | b'\'')) => {
                line.extend_from_slice(&[name, b"=\"", value, b"\""].concat());
            }
            _ => line.extend_from_slice(parameter),
        }
    }
    line
}

/// The words for what the kernel answered to `insmod`.
pub(crate) fn answer(errno: Errno) -> String {
    match errno {
        Errno::NOEXEC => "Invalid module format".into(),
        Errno::NOENT => "Unknown symbol in module".into(),
        Errno::SRCH => "Module has wrong symbol version".into(),
        Errno::INVAL => "Invalid parameters".into(),
        _ => crate::report::words(errno),
    }
}

/// The module's name, by its file's: what comes before the first dot, with `_`.
pub(crate) fn name_of(path: &[u8]) -> BString {
    let file = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let stem: &BStr = file.split(|&byte| byte == b'.').next().unwrap_or_default().into();
    stem.replace("-", "_").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrmod_tests::module_file::{Import, Module};

    /// Which of the sections the kernel would see.
    fn allocated<'a>(image: &[u8], names: &[&'a [u8]]) -> Vec<&'a [u8]> {
        let has_flag = |name: &[u8]| {
            let section = elf::section(image, name).unwrap();
            image[section.flags_at as usize] & 2 != 0
        };
        names.iter().copied().filter(|name| has_flag(name)).collect()
    }

    #[test]
    fn force_hides_the_versions_in_both_forms_and_nothing_else() {
        for (wide, big_endian) in [(true, false), (true, true), (false, false), (false, true)] {
            let module = Module {
                wide,
                big_endian,
                modinfo: vec![b"license=GPL".to_vec(), b"vermagic=6.14.0 SMP modversions ".to_vec()],
                imports: vec![Import { name: b"printk".to_vec(), weak: false, crc: Some(7) }],
                sections: vec![
                    ("__version_ext_crcs", vec![7, 0, 0, 0]),
                    ("__version_ext_names", b"_RNvXs_4long\0".to_vec()),
                    ("__versions_of_others", vec![1]),
                ],
                ..Module::default()
            };
            let plain = module.write();
            let all = [VERSIONS.as_slice(), &[b".modinfo", b"__versions_of_others"]].concat();
            assert_eq!(allocated(&plain, &all), all);

            let mut image = plain.clone();
            edit(&mut image, LoadFlags::IGNORE_MODVERSIONS).unwrap();
            assert_eq!(allocated(&image, &all), [&b".modinfo"[..], b"__versions_of_others"]);
            let changed = image.iter().zip(&plain).filter(|(now, before)| now != before).count();
            assert_eq!((changed, image.len()), (3, plain.len()));

            let mut image = plain.clone();
            edit(&mut image, LoadFlags::IGNORE_VERMAGIC).unwrap();
            assert_eq!(allocated(&image, &all), all);
            assert!(plain.contains_str("vermagic=") && !image.contains_str("6.14.0"));
            assert!(image.contains_str("license=GPL"));
        }
        // A module without versions, and something that is no module.
        let mut image = Module { modinfo: vec![b"license=GPL".to_vec()], ..Module::default() }.write();
        let before = image.clone();
        edit(&mut image, LoadFlags::all()).unwrap();
        assert_eq!(image, before);
        assert_eq!(edit(&mut [0; 64], LoadFlags::IGNORE_MODVERSIONS), Err("not an ELF file"));
    }

    #[test]
    fn values_with_spaces_are_quoted_once() {
        let joined = |parameters: &[&str]| join(parameters.iter().map(|text| text.as_bytes())).to_string();
        assert_eq!(joined(&["a=1", "b=x y", " c ", ""]), "a=1 b=\"x y\"  c  ");
        assert_eq!(
            joined(&["b=\"x y\"", "b='x y'", "b c=d", "=x y", "b=x\ty"]),
            "b=\"x y\" b='x y' b c=d =\"x y\" b=x\ty"
        );
    }

    #[test]
    fn names_end_at_the_first_dot() {
        assert_eq!(name_of(b"/lib/snd-hda.intel.ko.xz"), "snd_hda");
        assert_eq!(name_of(b"x"), "x");
    }
}
