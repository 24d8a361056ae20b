//! A kernel over std, for a module's own tests.
//!
//! It defines the functions of the boundary in the test program: log lines are kept, files can be read and written, tasks are
//! threads. It knows one kernel for the whole program, and nothing of loading.

use std::collections::BTreeMap;
use std::println;
use std::string::String;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use std::vec::Vec;

use ferrmod_boundary::FileOperations;

use crate::{Error, Result};

struct File {
    path: String,
    operations: FileOperations,
    data: usize,
}

#[derive(Default)]
struct State {
    log: Vec<(u32, String)>,
    files: BTreeMap<i64, File>,
    tasks: BTreeMap<i64, JoinHandle<()>>,
    last: i64,
    started: Option<Instant>,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

fn with<T>(look: impl FnOnce(&mut State) -> T) -> T {
    let mut state: MutexGuard<'_, Option<State>> = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    look(state.get_or_insert_default())
}

/// The log so far: levels and lines.
pub fn log() -> Vec<(u32, String)> {
    with(|state| state.log.clone())
}

fn operations(path: &str) -> Result<(FileOperations, usize)> {
    with(|state| {
        let file = state.files.values().find(|file| file.path == path).ok_or(Error::ENOENT)?;
        Ok((file.operations, file.data))
    })
}

/// Reads a whole file that the module has made.
///
/// # Errors
/// `ENOENT`, or what the module answers.
pub fn read(path: &str) -> Result<Vec<u8>> {
    let (operations, data) = operations(path)?;
    let read = operations.read.ok_or(Error::EINVAL)?;
    let mut content = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        // SAFETY: the module registered the function for this data; the buffer is ours.
        let returned = unsafe { read(data, content.len() as u64, buffer.as_mut_ptr(), buffer.len()) };
        match Error::check(returned as i64)? {
            0 => return Ok(content),
            length => content.extend_from_slice(buffer.get(..length as usize).ok_or(Error::EIO)?),
        }
    }
}

/// Writes to a file that the module has made; how many bytes it took.
///
/// # Errors
/// `ENOENT`, or what the module answers.
pub fn write(path: &str, bytes: &[u8]) -> Result<usize> {
    let (operations, data) = operations(path)?;
    let write = operations.write.ok_or(Error::EINVAL)?;
    // SAFETY: as in `read`.
    let returned = unsafe { write(data, bytes.as_ptr(), bytes.len()) };
    Error::check(returned as i64).map(|length| length as usize)
}

/// A module's text.
///
/// # Safety
/// So many bytes are there, and stay during the call.
unsafe fn text(bytes: *const u8, length: usize) -> String {
    // SAFETY: the caller vouches for the bytes.
    let bytes = unsafe { core::slice::from_raw_parts(bytes, length) };
    String::from_utf8_lossy(bytes).into_owned()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ferrmod_log(level: u32, message: *const u8, length: usize) {
    // SAFETY: the callers in this crate pass texts.
    let message = unsafe { text(message, length) };
    println!("{message}");
    with(|state| state.log.push((level, message)));
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ferrmod_panic(
    message: *const u8,
    length: usize,
    file: *const u8,
    file_length: usize,
    line: u32,
    column: u32,
) {
    // SAFETY: as above.
    let (message, file) = unsafe { (text(message, length), text(file, file_length)) };
    println!("{file}:{line}:{column}: {message}");
    std::process::abort();
}

#[unsafe(no_mangle)]
extern "C" fn ferrmod_alloc(size: usize, align: usize) -> *mut u8 {
    match core::alloc::Layout::from_size_align(size.max(1), align) {
        // SAFETY: the size is not zero.
        Ok(layout) => unsafe { std::alloc::alloc(layout) },
        Err(_) => core::ptr::null_mut(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ferrmod_free(memory: *mut u8, size: usize, align: usize) {
    if let Ok(layout) = core::alloc::Layout::from_size_align(size.max(1), align) {
        // SAFETY: `ferrmod_alloc` made the block with this layout.
        unsafe { std::alloc::dealloc(memory, layout) };
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ferrmod_realloc(memory: *mut u8, size: usize, align: usize, new_size: usize) -> *mut u8 {
    match core::alloc::Layout::from_size_align(size.max(1), align) {
        // SAFETY: `ferrmod_alloc` made the block with this layout; the new size is not zero.
        Ok(layout) => unsafe { std::alloc::realloc(memory, layout, new_size.max(1)) },
        Err(_) => core::ptr::null_mut(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn ferrmod_now() -> u64 {
    with(|state| state.started.get_or_insert_with(Instant::now).elapsed().as_nanos() as u64)
}

#[unsafe(no_mangle)]
extern "C" fn ferrmod_wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ferrmod_random(buffer: *mut u8, length: usize) {
    use std::hash::{BuildHasher as _, RandomState};
    for index in 0..length {
        let byte = RandomState::new().hash_one(index) as u8;
        // SAFETY: the callers in this crate pass a buffer of this length.
        unsafe { buffer.add(index).write(byte) };
    }
}

#[unsafe(no_mangle)]
extern "C" fn ferrmod_sleep(nanoseconds: u64) {
    std::thread::sleep(Duration::from_nanos(nanoseconds));
}

#[unsafe(no_mangle)]
extern "C" fn ferrmod_yield() {
    std::thread::yield_now();
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ferrmod_file_add(
    path: *const u8,
    length: usize,
    _mode: u32,
    operations: *const FileOperations,
    data: usize,
) -> i64 {
    // SAFETY: the callers in this crate pass a text and operations.
    let (path, operations) = unsafe { (text(path, length), operations.read()) };
    with(|state| {
        if state.files.values().any(|file| file.path == path) {
            return Error::EEXIST.to_return().into();
        }
        state.last += 1;
        state.files.insert(state.last, File { path, operations, data });
        state.last
    })
}

#[unsafe(no_mangle)]
extern "C" fn ferrmod_file_remove(handle: i64) -> i32 {
    with(|state| state.files.remove(&handle)).map_or(Error::ENOENT.to_return(), |_| 0)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ferrmod_task_spawn(
    name: *const u8,
    length: usize,
    entry: unsafe extern "C" fn(usize),
    data: usize,
) -> i64 {
    // SAFETY: the callers in this crate pass a text.
    let name = unsafe { text(name, length) };
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        // SAFETY: the module asked for this call.
        unsafe { entry(data) };
    });
    match thread {
        Ok(thread) => with(|state| {
            state.last += 1;
            state.tasks.insert(state.last, thread);
            state.last
        }),
        Err(_) => Error::ENOMEM.to_return().into(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn ferrmod_task_join(task: i64) -> i32 {
    match with(|state| state.tasks.remove(&task)).map(JoinHandle::join) {
        None => Error::ESRCH.to_return(),
        Some(Err(_)) => Error::EOWNERDEAD.to_return(),
        Some(Ok(())) => 0,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ferrmod_param_parse(
    kind: *const u8,
    kind_length: usize,
    value_text: *const u8,
    length: usize,
    value: *mut u64,
) -> i32 {
    // SAFETY: the callers in this crate pass texts and a value.
    let (kind, given) = unsafe { (text(kind, kind_length), (!value_text.is_null()).then(|| text(value_text, length))) };
    let given = given.as_deref();
    let parsed = match (kind.as_str(), given) {
        ("bool", None | Some("1" | "y" | "Y" | "on")) => Some(1),
        ("bool", Some("0" | "n" | "N" | "off")) => Some(0),
        ("bool", Some(_)) | (_, None) => None,
        (_, Some(number)) => match number.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => number.parse::<i64>().map(|number| number as u64).or_else(|_| number.parse()).ok(),
        },
    };
    match parsed {
        Some(parsed) => {
            // SAFETY: as above.
            unsafe { value.write(parsed) };
            0
        }
        None => Error::EINVAL.to_return(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ferrmod_param_show(
    kind: *const u8,
    kind_length: usize,
    value: u64,
    buffer: *mut u8,
    length: usize,
) -> i64 {
    // SAFETY: as above.
    let kind = unsafe { text(kind, kind_length) };
    let shown = match kind.as_str() {
        "bool" => String::from(if value == 0 { "N" } else { "Y" }),
        "short" | "int" | "long" => std::format!("{}", value as i64),
        _ => std::format!("{value}"),
    };
    if shown.len() > length {
        return Error::ENOSPC.to_return().into();
    }
    // SAFETY: the buffer has this length, which was compared.
    unsafe { core::ptr::copy_nonoverlapping(shown.as_ptr(), buffer, shown.len()) };
    shown.len() as i64
}
