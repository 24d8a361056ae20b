//! Modules handed to the kernel as they are, without any tool: the system calls, and what the kernel prints meanwhile.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

/// What a call answered, and the lines of the kernel's log, each with its level before it.
pub(crate) struct Answer {
    /// 0, or an error number below it.
    pub(crate) number: i32,
    pub(crate) log: String,
}

/// The kernel's log from now on.
struct Log(File);

impl Log {
    fn from_now() -> io::Result<Log> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))?;
        Ok(Log(file))
    }

    /// What has been printed, a line each: the level, a space, the text. A record is `priority,number,time,flags;text` and
    /// lines that begin with a space, about the device.
    fn lines(&mut self) -> io::Result<String> {
        let mut out = String::new();
        let mut record = [0; 8192];
        loop {
            let length = match self.0.read(&mut record) {
                Ok(0) => return Ok(out),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(out),
                // Records were overwritten before they were read.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => continue,
                Err(error) => return Err(error),
            };
            let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
            let Some((head, text)) = text.split_once(';') else { continue };
            let priority: u32 = head.split(',').next().and_then(|number| number.parse().ok()).unwrap_or(6);
            let line = text.lines().next().unwrap_or_default();
            out += &format!("{} {line}\n", priority & 7);
        }
    }
}

fn answer(call: impl FnOnce() -> rustix::io::Result<()>) -> io::Result<Answer> {
    let mut log = Log::from_now()?;
    let number = call().map_or_else(|errno| -errno.raw_os_error(), |()| 0);
    Ok(Answer { number, log: log.lines()? })
}

fn text(words: &[String]) -> io::Result<CString> {
    CString::new(words.join(" ")).map_err(io::Error::other)
}

/// `finit FLAGS PATH [NAME=VALUE]...`
pub(crate) fn finit(words: &[String]) -> io::Result<Answer> {
    let [flags, path, parameters @ ..] = words else { return Err(io::Error::other("finit FLAGS PATH")) };
    let flags = flags.parse().map_err(io::Error::other)?;
    let (file, parameters) = (File::open(path)?, text(parameters)?);
    answer(|| rustix::system::finit_module(&file, &parameters, flags))
}

/// `init PATH [NAME=VALUE]...`
pub(crate) fn init(words: &[String]) -> io::Result<Answer> {
    let [path, parameters @ ..] = words else { return Err(io::Error::other("init PATH")) };
    let (file, parameters) = (fs::read(path)?, text(parameters)?);
    answer(|| rustix::system::init_module(&file, &parameters))
}

/// `unload NAME`
pub(crate) fn unload(words: &[String]) -> io::Result<Answer> {
    let (name, flags) = (text(words)?, OFlags::NONBLOCK.bits().cast_signed());
    answer(|| rustix::system::delete_module(&name, flags))
}
