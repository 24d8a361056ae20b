//! Files of Rust modules under `/dev` and `/proc`: functions of the module behind a node of the kernel's tree.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI64, Ordering};

use bstr::ByteSlice;
use ferrmod_boundary::FileOperations;
use ferrmod_kernel::files::Node;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::module::Module;
use ferrmod_kernel::{Errno, Owner, TaskId, files, kernel};

use crate::ram;

/// The most one read of a whole file gives.
const READ_MAX: usize = 16 << 20;
/// How much a module is asked for at a time.
const BUFFER: usize = 4096;
/// How long to wait before looking again whether a call has returned, in nanoseconds.
const LOOK_AGAIN: u64 = 1_000_000;
/// The path of a file, at most.
const PATH_MAX: usize = 128;

/// One file.
struct File {
    path: String,
    kind: &'static str,
    owner: Owner,
    operations: FileOperations,
    data: usize,
    /// The tasks that are in a function of the module for it.
    callers: Lock<Vec<TaskId>>,
}

static FILES: Lock<BTreeMap<i64, Arc<File>>> = Lock::new(BTreeMap::new());
static LAST: AtomicI64 = AtomicI64::new(0);

/// A call into a file's module, which stays loaded meanwhile.
struct Call<'f> {
    file: &'f File,
    module: Option<Arc<Module>>,
}

impl File {
    fn call(&self) -> Result<Call<'_>, Errno> {
        let module = match self.owner {
            Owner::Kernel => None,
            Owner::Module(id) => {
                Some(kernel().modules.numbered(id).filter(|module| module.try_get()).ok_or(Errno::ENODEV)?)
            }
        };
        self.callers.lock().push(kernel().tasks.current());
        Ok(Call { file: self, module })
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let current = kernel().tasks.current();
        let mut callers = self.file.callers.lock();
        if let Some(place) = callers.iter().position(|&caller| caller == current) {
            callers.swap_remove(place);
        }
        drop(callers);
        if let Some(module) = &self.module {
            module.put();
        }
    }
}

/// What a module's function returned: a length within bounds, or its error.
fn length(returned: isize, most: usize) -> Result<usize, Errno> {
    match Errno::from_return(returned as i64) {
        Some(errno) => Err(errno),
        None => usize::try_from(returned).ok().filter(|&length| length <= most).ok_or(Errno::EIO),
    }
}

impl files::FileOperations for File {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        let read = self.operations.read.ok_or(Errno::EINVAL)?;
        let _call = self.call()?;
        let mut content = Vec::new();
        let mut buffer = alloc::vec![0; BUFFER];
        while content.len() < READ_MAX {
            // SAFETY: the module registered the function for this data and stays loaded during the call; the buffer is ours.
            let returned = unsafe { read(self.data, content.len() as u64, buffer.as_mut_ptr(), buffer.len()) };
            match length(returned, buffer.len()) {
                Ok(0) => break,
                Ok(length) => content.extend_from_slice(&buffer[..length]),
                Err(errno) if content.is_empty() => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(content)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let write = self.operations.write.ok_or(Errno::EINVAL)?;
        let _call = self.call()?;
        // SAFETY: as in `read`.
        length(unsafe { write(self.data, bytes.as_ptr(), bytes.len()) }, bytes.len())
    }
}

/// Which kind of file a path says: only these two folders are for modules.
fn kind_of(path: &str) -> Option<&'static str> {
    let (kind, name) = match path.strip_prefix("/dev/") {
        Some(name) => ("device", name),
        None => ("proc", path.strip_prefix("/proc/")?),
    };
    let sound = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
    sound.then_some(kind)
}

pub(crate) extern "C" fn ferrmod_file_add(
    path: *const u8,
    path_length: usize,
    mode: u32,
    operations: *const FileOperations,
    data: usize,
) -> i64 {
    let caller = ram::caller();
    if path_length > PATH_MAX {
        return Errno::ENAMETOOLONG.to_return().into();
    }
    // SAFETY: the module hands over a text of this length and the address of its operations, or faults.
    let (path, operations) = unsafe { (ram::bytes(path, path_length).to_str_lossy().into_owned(), operations.read()) };
    match add(path, mode, operations, data, kernel().owner_of(caller)) {
        Ok(handle) => handle,
        Err(errno) => errno.to_return().into(),
    }
}

fn add(path: String, mode: u32, operations: FileOperations, data: usize, owner: Owner) -> Result<i64, Errno> {
    let kernel = kernel();
    let kind = kind_of(&path).ok_or(Errno::EINVAL)?;
    let name = String::from(path.rsplit('/').next().unwrap_or_default());
    let handle = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    let file = Arc::new(File { path: path.clone(), kind, owner, operations, data, callers: Lock::default() });
    kernel.files.add(&path, Node::File((mode & 0o777) as u16, Arc::<File>::clone(&file)))?;
    if let Err(errno) = kernel.registrations.add(kind, handle as u64, name, owner) {
        kernel.files.remove(&path);
        return Err(errno);
    }
    FILES.lock().insert(handle, file);
    Ok(handle)
}

pub(crate) extern "C" fn ferrmod_file_remove(handle: i64) -> i32 {
    let kernel = kernel();
    let Some(file) = FILES.lock().remove(&handle) else { return Errno::ENOENT.to_return() };
    kernel.files.remove(&file.path);
    kernel.registrations.remove(file.kind, handle as u64);
    // The caller frees what `data` stands for as soon as this returns. A caller that an oops ended will never leave.
    let current = kernel.tasks.current();
    let busy = || file.callers.lock().iter().any(|&task| task != current && kernel.tasks.is_alive(task));
    while busy() {
        kernel.tasks.block(Some(kernel.platform.now() + LOOK_AGAIN), None);
    }
    0
}

/// Takes the files of a module that goes without having removed them out of the tree. They stay among the registrations: that is
/// how what a module leaves behind is seen.
pub(crate) fn forget(owner: Owner) {
    let left: Vec<Arc<File>> = {
        let mut files = FILES.lock();
        let handles: Vec<i64> =
            files.iter().filter(|(_, file)| file.owner == owner).map(|(&handle, _)| handle).collect();
        handles.iter().filter_map(|handle| files.remove(handle)).collect()
    };
    for file in left {
        kernel().files.remove(&file.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_in_two_folders() {
        assert_eq!(kind_of("/dev/mailbox"), Some("device"));
        assert_eq!(kind_of("/proc/mailbox"), Some("proc"));
        for path in ["/dev/", "/dev/..", "/dev/a/b", "/proc", "/sys/x", "dev/x", ""] {
            assert_eq!(kind_of(path), None, "{path}");
        }
    }

    #[test]
    fn a_length_is_believed_only_within_bounds() {
        assert_eq!(length(4, 4), Ok(4));
        assert_eq!(length(5, 4), Err(Errno::EIO));
        assert_eq!(length(-22, 4), Err(Errno::EINVAL));
        assert_eq!(length(isize::MIN, 4), Err(Errno::EIO));
    }
}
