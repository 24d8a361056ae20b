//! Obeying the script of the initramfs.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;

use bstr::{BStr, ByteSlice};
use ferrmod_boot::script::{self, Argument, Check, Command, Expected, Line, TEXT_SIZE, Wanted};
use ferrmod_kernel::{Kernel, LoadFlags, Outcome};

use crate::initramfs::Initramfs;
use crate::paging;
use crate::power::Verdict;
use crate::serial::{self, say};
use crate::time;

/// Where the script is.
pub(crate) const PATH: &[u8] = b"init.ferrmod";
/// How long a line may take, in nanoseconds.
const PATIENCE: u64 = 30_000_000_000;

/// What came of a command.
enum Reply {
    Good,
    Bad(String),
    Oopsed,
}

/// The machine a script runs on.
pub(crate) struct Init {
    kernel: &'static Kernel,
    initramfs: Initramfs,
    text: &'static [u8],
    scratch: u64,
}

impl Init {
    /// Makes the memory that `call` can name.
    pub(crate) fn new(kernel: &'static Kernel, initramfs: Initramfs) -> Self {
        let text = Box::leak(script::sample_text().into_boxed_slice());
        let scratch = Box::leak(vec![0_u8; TEXT_SIZE].into_boxed_slice());
        Self { kernel, initramfs, text, scratch: scratch.as_mut_ptr() as u64 }
    }

    /// Runs every line up to `poweroff`.
    pub(crate) fn run(&self, script: &'static str) -> Verdict {
        let mut verdict = Verdict::Good;
        for text in script.lines() {
            let line = match script::parse(text) {
                Ok(None) => continue,
                Ok(Some(line)) => line,
                Err(error) => {
                    say!("FAILED: {}: {error}", text.trim());
                    verdict = Verdict::Failed;
                    continue;
                }
            };
            if line.command == Command::Poweroff {
                break;
            }
            match self.judge(&line) {
                Ok(()) => say!("ok: {}", text.trim()),
                Err(reason) => {
                    say!("FAILED: {}: {reason}", text.trim());
                    verdict = Verdict::Failed;
                }
            }
        }
        verdict
    }

    fn judge(&self, line: &Line<'static>) -> Result<(), String> {
        let before = time::counter();
        let reply = self.obey(&line.command);
        let counts = time::counter().wrapping_sub(before);
        if line.counted {
            say!("counts: {counts}");
        }
        match (line.expected, reply) {
            (Expected::Success, Reply::Good) | (Expected::Failure, Reply::Bad(_)) | (Expected::Oops, Reply::Oopsed) => {
                Ok(())
            }
            (_, Reply::Bad(reason)) => Err(reason),
            (_, Reply::Oopsed) => Err("oops".into()),
            (_, Reply::Good) => Err("it went well".into()),
        }
    }

    /// Runs `body` as a task of its own.
    fn task<T: Send + 'static>(&self, name: &str, body: impl FnOnce() -> T + Send + 'static) -> Result<T, Reply> {
        let deadline = self.kernel.platform.now() + PATIENCE;
        match self.kernel.execute(name, Some(deadline), body) {
            Ok(Outcome::Done(value)) => Ok(value),
            Ok(Outcome::Oopsed) => Err(Reply::Oopsed),
            Ok(Outcome::Hung) => Err(Reply::Bad("it waits for something that will not come".into())),
            Ok(Outcome::TimedOut) => Err(Reply::Bad("it takes too long".into())),
            Err(errno) => Err(Reply::Bad(errno.to_string())),
        }
    }

    /// As [`Init::task`], for a body that can fail.
    fn attempt<E: ToString + Send + 'static>(
        &self,
        name: &str,
        body: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> Reply {
        match self.task(name, body) {
            Ok(Ok(())) => Reply::Good,
            Ok(Err(error)) => Reply::Bad(error.to_string()),
            Err(reply) => reply,
        }
    }

    fn obey(&self, command: &Command<'static>) -> Reply {
        let (kernel, initramfs) = (self.kernel, self.initramfs);
        match *command {
            Command::Echo(text) => say!("{text}"),
            Command::Insmod { file, arguments } => {
                return self.attempt("insmod", move || {
                    let bytes = initramfs.module(file.as_bytes())?;
                    kernel.modules.load(&bytes, arguments.as_bytes(), LoadFlags::default())
                });
            }
            Command::Modprobe { name, arguments } => {
                return self.attempt("modprobe", move || {
                    let mut fetched = initramfs.fetch(name.as_bytes())?;
                    let Some(last) = fetched.pop() else {
                        return Ok(());
                    };
                    for module in &fetched {
                        match kernel.modules.load(&module.bytes, &module.arguments, LoadFlags::default()) {
                            Ok(()) | Err(ferrmod_kernel::Errno::EEXIST) => {}
                            Err(errno) => return Err(errno),
                        }
                    }
                    kernel.modules.load(&last.bytes, arguments.as_bytes(), LoadFlags::default())
                });
            }
            Command::Rmmod(name) => {
                return self.attempt("rmmod", move || kernel.modules.unload(name.as_bytes(), false));
            }
            Command::Lsmod => {
                for module in kernel.modules.list() {
                    let users = bstr::join(b",", &module.users);
                    let (name, users) = (module.name.as_bstr(), users.as_bstr());
                    say!("{name:<24}{:>8}  {} {users}", module.size, module.references);
                }
            }
            Command::Cat(path) => match kernel.files.read(path) {
                Ok(bytes) => serial::write(&bytes),
                Err(errno) => return Reply::Bad(errno.to_string()),
            },
            Command::Call { symbol, ref arguments, result } => return self.call(symbol, arguments, result),
            Command::Check(Check::Crc7) => return self.crc7(),
            Command::Check(Check::Lz4) => return self.lz4(),
            Command::Check(Check::Pages) => {
                let audit = paging::audit();
                say!("pages: {} executable, {} writable", audit.executable, audit.writable);
                if let Some(address) = audit.broken {
                    return Reply::Bad(format!("the page at {address:#x} can be written and executed"));
                }
            }
            Command::Poweroff => {}
        }
        Reply::Good
    }

    fn symbol(&self, name: &str) -> Result<u64, Reply> {
        self.kernel.symbol(BStr::new(name)).ok_or_else(|| Reply::Bad(format!("no symbol {name}")))
    }

    fn raw_call(&self, symbol: &str, arguments: [u64; 6]) -> Result<u64, Reply> {
        let address = self.symbol(symbol)?;
        let platform = self.kernel.platform;
        self.task(symbol, move || platform.call(address, arguments))
    }

    fn call(&self, symbol: &str, arguments: &[Argument<'_>], wanted: Option<Wanted>) -> Reply {
        let mut values = [0; 6];
        for (value, argument) in values.iter_mut().zip(arguments) {
            *value = match *argument {
                Argument::Number(number) => number,
                Argument::Text => self.text.as_ptr() as u64,
                Argument::Scratch => self.scratch,
                Argument::Symbol(name) => match self.symbol(name) {
                    Ok(address) => address,
                    Err(reply) => return reply,
                },
            };
        }
        let result = match self.raw_call(symbol, values) {
            Ok(result) => result,
            Err(reply) => return reply,
        };
        say!("{symbol} = {result:#x}");
        match wanted {
            Some(Wanted { value, mask }) if result & mask != value => Reply::Bad(format!("{value:#x} expected")),
            _ => Reply::Good,
        }
    }

    /// CRC-7 as SD cards use it, of a known command and of the whole text.
    fn crc7(&self) -> Reply {
        // CMD0 of the SD protocol: 40 00 00 00 00, whose last byte is 95 (CRC and end bit).
        const COMMAND: &[u8] = &[0x40, 0, 0, 0, 0];
        let text = &self.text[..4096];
        for (bytes, answer) in [(COMMAND, 0x94), (text, crc7_by_bits(text))] {
            let result = match self.raw_call("crc7_be", [0, bytes.as_ptr() as u64, bytes.len() as u64, 0, 0, 0]) {
                Ok(result) => result as u8,
                Err(reply) => return reply,
            };
            say!("crc7_be of {} bytes = {result:#04x}", bytes.len());
            if result != answer {
                return Reply::Bad(format!("{answer:#04x} expected"));
            }
        }
        Reply::Good
    }

    /// Compresses the text with the module and unpacks it with a decoder that has nothing to do with it.
    fn lz4(&self) -> Reply {
        let capacity = TEXT_SIZE + TEXT_SIZE / 255 + 16;
        let packed = vec![0_u8; capacity];
        // LZ4_MEM_COMPRESS: the working memory, a table of 16 KiB and 32 bytes more.
        let work = vec![0_u64; 2048 + 4];
        let arguments = [
            self.text.as_ptr() as u64,
            packed.as_ptr() as u64,
            TEXT_SIZE as u64,
            capacity as u64,
            work.as_ptr() as u64,
            0,
        ];
        let size = match self.raw_call("LZ4_compress_default", arguments) {
            Ok(size) => size as u32 as usize,
            Err(reply) => return reply,
        };
        drop(work);
        // The module wrote behind the compiler's back.
        let packed = core::hint::black_box(packed);
        let Some(packed) = packed.get(..size).filter(|_| size != 0) else {
            return Reply::Bad(format!("{size} bytes"));
        };
        say!("LZ4_compress_default: {TEXT_SIZE} -> {size} bytes");
        let mut unpacked = vec![0; TEXT_SIZE];
        match lz4_flex::block::decompress_into(packed, &mut unpacked) {
            Ok(TEXT_SIZE) if unpacked == self.text => Reply::Good,
            Ok(_) => Reply::Bad("it unpacks to something else".into()),
            Err(error) => Reply::Bad(error.to_string()),
        }
    }
}

/// The definition, bit by bit: polynomial x^7 + x^3 + 1, the result in the upper seven bits.
fn crc7_by_bits(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |crc, byte| (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 != 0 { crc << 1 ^ 0x12 } else { crc << 1 }))
}
