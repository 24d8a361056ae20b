//! The script of a guest, line by line.
//!
//! | line | what it does |
//! |---|---|
//! | `# words` | nothing |
//! | `COMMAND WORDS` | runs a program, at most a minute; `NAME=VALUE` before it goes into its environment |
//! | `& COMMAND WORDS` | starts it and goes on |
//! | `join` | waits for all that were started; a record for each |
//! | `interrupt` | presses Ctrl-C for all that were started |
//! | `await PATH N` | waits until the folder has N entries |
//! | `parallel N COMMAND WORDS` | runs it N times at once; the record has the exit statuses in order of size |
//! | `until MODULE STATE` | waits until `/proc/modules` says so (`Loading`) |
//! | `settle` | waits until `/proc/modules` stays the same |
//! | `pause N` | waits N milliseconds |
//! | `file PATH`, lines, `.` | writes a file |
//! | `delete PATH` | deletes a file |
//! | `cat PATH`, `sum PATH..` | says what is in a file; says the length and a check sum |
//! | `list FOLDER` | says what is in a folder, sorted |
//! | `mount TYPE` | mounts a file system of this type on `/mnt`, without a device, and unmounts it |
//! | `socket FAMILY TYPE PROTOCOL` | makes a socket (numbers) |
//! | `keep NAME FAMILY TYPE PROTOCOL` | makes a socket and keeps it |
//! | `release NAME [N]` | closes it, now or in N milliseconds |
//! | `finit FLAGS PATH [NAME=VALUE]..`, `init PATH ..`, `unload NAME` | the system calls; says what the kernel printed meanwhile |
//! | `device MAJOR MINOR` | opens a character device |
//! | `modaliases BUS` | `modprobe -b ALIAS` for every device of a bus (`*`: of all), until there are no new ones |
//! | `forget` | the next record starts its list of modules anew |

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType};

use crate::load;
use crate::shell::words;

/// Drivers that go on by themselves have done so when nothing has happened for so long.
const CALM: Duration = Duration::from_millis(900);
const PATIENCE: Duration = Duration::from_secs(60);

/// What a line did.
#[derive(Default)]
struct Outcome {
    status: String,
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl Outcome {
    fn of<T>(result: rustix::io::Result<T>) -> Self {
        let status = match result {
            Ok(_) => "ok".to_owned(),
            Err(errno) => format!("errno {}", errno.raw_os_error()),
        };
        Self { status, ..Self::default() }
    }

    fn answered(answer: load::Answer) -> Self {
        Self { status: format!("answer {}", answer.number), output: answer.log.into_bytes(), errors: Vec::new() }
    }

    fn saying(output: impl Into<Vec<u8>>) -> Self {
        Self { status: "ok".to_owned(), output: output.into(), errors: Vec::new() }
    }
}

/// Runs the script.
pub(crate) fn run(text: &str, report: &mut File) -> io::Result<()> {
    let mut guest = Guest {
        begin: Instant::now(),
        modules: BTreeMap::new(),
        started: Vec::new(),
        sockets: BTreeMap::new(),
        runs: 0,
    };
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(path) = line.strip_prefix("file ") {
            let content: String = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != ".")
                .flat_map(|line| [line, "\n"])
                .collect();
            if let Some(folder) = Path::new(path).parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, content)?;
            continue;
        }
        guest.line(at + 1, line, report)?;
    }
    Ok(())
}

struct Guest {
    /// When the line began.
    begin: Instant,
    /// The modules at the last record, a line each, by name.
    modules: BTreeMap<String, String>,
    /// What was started, and what it was called.
    started: Vec<(String, Running)>,
    sockets: BTreeMap<String, OwnedFd>,
    runs: usize,
}

impl Guest {
    fn line(&mut self, at: usize, line: &str, report: &mut File) -> io::Result<()> {
        self.begin = Instant::now();
        let words = words(line);
        let Some((command, arguments)) = words.split_first() else {
            return Ok(());
        };
        let number = |at: usize| arguments.get(at).and_then(|word| word.parse::<u32>().ok()).unwrap_or(0);
        let argument = |at: usize| arguments.get(at).map_or("", String::as_str);
        let outcome = match command.as_str() {
            "&" => {
                let running = self.start(arguments)?;
                self.started.push((arguments.join(" "), running));
                return Ok(());
            }
            "until" => return until(argument(0), argument(1)),
            "join" => {
                for (command, running) in std::mem::take(&mut self.started) {
                    let outcome = running.wait()?;
                    self.record(at, &command, &outcome, report)?;
                }
                return Ok(());
            }
            "interrupt" => {
                for child in self.started.iter().filter_map(|(_, running)| running.child.as_ref().ok()) {
                    if let Some(process) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
                        rustix::process::kill_process(process, rustix::process::Signal::INT)?;
                    }
                }
                return Ok(());
            }
            "await" => return await_entries(argument(0), number(1)),
            "parallel" => self.parallel(number(0), arguments.get(1..).unwrap_or_default())?,
            "settle" => {
                settle(CALM)?;
                Outcome::saying("")
            }
            "pause" => {
                std::thread::sleep(Duration::from_millis(number(0).into()));
                return Ok(());
            }
            "forget" => {
                self.modules.clear();
                return Ok(());
            }
            "delete" => return fs::remove_file(argument(0)),
            "cat" => Outcome::saying(fs::read(argument(0)).unwrap_or_else(|error| error.to_string().into_bytes())),
            "sum" => Outcome::saying(arguments.iter().map(|path| sum(path)).collect::<String>()),
            "list" => Outcome::saying(list(argument(0))),
            "mount" => {
                let result = rustix::mount::mount("none", "/mnt", argument(0), MountFlags::empty(), None);
                let _ = rustix::mount::unmount("/mnt", UnmountFlags::empty());
                Outcome::of(result)
            }
            "socket" => Outcome::of(socket([number(0), number(1), number(2)])),
            "keep" => {
                let result = socket([number(1), number(2), number(3)]);
                let outcome = Outcome::of(result.as_ref().map(drop).map_err(|errno| *errno));
                self.sockets.extend(result.ok().map(|socket| (argument(0).to_owned(), socket)));
                outcome
            }
            "release" => {
                let socket = self.sockets.remove(argument(0));
                let delay = Duration::from_millis(number(1).into());
                if !delay.is_zero() {
                    std::thread::spawn(move || {
                        std::thread::sleep(delay);
                        drop(socket);
                    });
                }
                Outcome::saying("")
            }
            "finit" => Outcome::answered(load::finit(arguments)?),
            "init" => Outcome::answered(load::init(arguments)?),
            "unload" => Outcome::answered(load::unload(arguments)?),
            "device" => Outcome::of(device(number(0), number(1))),
            "modaliases" => return self.modaliases(at, argument(0), report),
            _ => {
                let running = self.start(&words)?;
                running.wait()?
            }
        };
        self.record(at, line, &outcome, report)
    }

    /// Writes what a line did, and what it changed.
    fn record(&mut self, at: usize, line: &str, outcome: &Outcome, report: &mut File) -> io::Result<()> {
        self.record_without_modules(at, line, outcome, report)?;
        if self.started.is_empty() {
            // A socket is gone some time after it was closed.
            let is_program = outcome.status != "ok" && !outcome.status.starts_with("errno");
            settle(Duration::from_millis(if is_program { 8 } else { 150 }))?;
        }
        let mut text = String::new();
        let now = modules()?;
        let names: BTreeSet<&str> = now.iter().map(|(name, _)| name.as_str()).collect();
        for gone in self.modules.keys().filter(|name| !names.contains(name.as_str())) {
            text += &format!("MOD - {gone}\n");
        }
        for (name, line) in &now {
            if self.modules.get(name) != Some(line) {
                text += &format!("MOD + {line}\n");
            }
        }
        self.modules = now.into_iter().collect();
        report.write_all(text.as_bytes())
    }

    fn record_without_modules(
        &mut self,
        at: usize,
        line: &str,
        outcome: &Outcome,
        report: &mut File,
    ) -> io::Result<()> {
        let mut text = format!("RUN {at} {}\n", line.escape_default());
        for (mark, said) in [("OUT", &outcome.output), ("ERR", &outcome.errors)] {
            for line in said.split_inclusive(|&byte| byte == b'\n') {
                let (line, end) = match line.strip_suffix(b"\n") {
                    Some(line) => (line, "\n"),
                    None => (line, "\\\n"),
                };
                text += &format!("{mark} {}{end}", line.escape_ascii());
            }
        }
        text += &format!("END {}\n", outcome.status);
        text += &format!("TOOK {}\n", self.begin.elapsed().as_millis());
        self.begin = Instant::now();
        report.write_all(text.as_bytes())
    }

    fn start(&mut self, words: &[String]) -> io::Result<Running> {
        self.runs += 1;
        let is_assignment = |word: &&String| {
            word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        };
        let assignments = words.iter().take_while(is_assignment).count();
        let (assignments, command) = words.split_at(assignments);
        let paths = ["out", "err"].map(|kind| format!("/tmp/{}.{kind}", self.runs));
        let [output, errors] = [File::create(&paths[0])?, File::create(&paths[1])?];
        let child = Command::new(command.first().map_or("", String::as_str))
            .args(command.get(1..).unwrap_or_default())
            .env_clear()
            .envs([("PATH", "/sbin:/usr/sbin:/bin:/usr/bin"), ("HOME", "/"), ("TERM", "linux")])
            .envs(assignments.iter().filter_map(|word| word.split_once('=')))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn();
        Ok(Running { child, paths, begin: Instant::now() })
    }

    fn parallel(&mut self, times: u32, words: &[String]) -> io::Result<Outcome> {
        let running = (0..times).map(|_| self.start(words)).collect::<io::Result<Vec<_>>>()?;
        let mut statuses = running.into_iter().map(|one| Ok(one.wait()?.status)).collect::<io::Result<Vec<_>>>()?;
        statuses.sort();
        Ok(Outcome { status: statuses.join(", "), ..Outcome::default() })
    }

    fn modaliases(&mut self, at: usize, bus: &str, report: &mut File) -> io::Result<()> {
        let mut done = BTreeSet::new();
        for _ in 0..6 {
            let found: BTreeSet<String> = modaliases(bus)?.difference(&done).cloned().collect();
            if found.is_empty() {
                break;
            }
            for alias in found {
                let line = ["modprobe", "-b", &alias].map(str::to_owned);
                let outcome = self.start(&line)?.wait()?;
                // What it changes shows at the end: drivers go on by themselves.
                self.record_without_modules(at, &line.join(" "), &outcome, report)?;
                done.insert(alias);
            }
            settle(CALM)?;
        }
        let all: String = done.into_iter().map(|alias| alias + "\n").collect();
        self.record(at, &format!("modaliases {bus}"), &Outcome::saying(all), report)
    }
}

/// Waits until a folder has so many entries.
fn await_entries(folder: &str, count: u32) -> io::Result<()> {
    let begin = Instant::now();
    while fs::read_dir(folder).map_or(0, Iterator::count) != count as usize && begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A program that was started, or could not be.
struct Running {
    child: io::Result<Child>,
    /// What it says goes here.
    paths: [String; 2],
    begin: Instant,
}

impl Running {
    fn wait(self) -> io::Result<Outcome> {
        let status = match self.child {
            Err(error) => format!("errno {}", error.raw_os_error().unwrap_or(0)),
            Ok(mut child) => loop {
                if let Some(status) = child.try_wait()? {
                    break describe(status);
                }
                if self.begin.elapsed() > PATIENCE {
                    child.kill()?;
                    child.wait()?;
                    break "takes too long".to_owned();
                }
                std::thread::sleep(Duration::from_millis(2));
            },
        };
        let [output, errors] = self.paths.map(|path| {
            let content = fs::read(&path);
            let _ = fs::remove_file(&path);
            content
        });
        Ok(Outcome { status, output: output?, errors: errors? })
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => "gone".to_owned(),
    }
}

/// The modules in their order: name, and the line without the address.
fn modules() -> io::Result<Vec<(String, String)>> {
    let text = fs::read_to_string("/proc/modules")?;
    let line = |line: &str| {
        let mut fields: Vec<&str> = line.split(' ').collect();
        let mut users = String::new();
        if fields.len() > 5 {
            fields.remove(5);
            // Who used it first is decided by who was faster.
            let mut names: Vec<&str> = fields[3].split_inclusive(',').collect();
            names.sort_unstable();
            users += &names.concat();
            fields[3] = &users;
        }
        (fields[0].to_owned(), fields.join(" "))
    };
    Ok(text.lines().map(line).collect())
}

/// Waits until a module is in a state.
fn until(name: &str, state: &str) -> io::Result<()> {
    let begin = Instant::now();
    let is_so = |(module, line): &(String, String)| module == name && line.split(' ').any(|word| word == state);
    while !modules()?.iter().any(is_so) && begin.elapsed() < PATIENCE / 3 {
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Waits until the modules have been the same for so long, and none of them comes or goes.
fn settle(calm: Duration) -> io::Result<()> {
    let begin = Instant::now();
    let mut last = modules()?;
    let mut since = Instant::now();
    loop {
        std::thread::sleep(calm.min(Duration::from_millis(20)));
        let now = modules()?;
        let moves = now.iter().any(|(_, line)| !line.contains(" Live"));
        if moves || now != last {
            since = Instant::now();
            last = now;
        }
        if since.elapsed() >= calm || begin.elapsed() > PATIENCE / 2 {
            return Ok(());
        }
    }
}

fn socket([family, kind, protocol]: [u32; 3]) -> rustix::io::Result<OwnedFd> {
    let protocol = std::num::NonZeroU32::new(protocol).map(Protocol::from_raw);
    // A program that inherited it would keep it as well.
    let (family, kind) = (AddressFamily::from_raw(family as u16), SocketType::from_raw(kind));
    rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, protocol)
}

fn device(major: u32, minor: u32) -> rustix::io::Result<OwnedFd> {
    let path = format!("/dev/test-{major}-{minor}");
    let mode = Mode::RUSR | Mode::WUSR;
    let _ =
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::CharacterDevice, mode, rustix::fs::makedev(major, minor));
    rustix::fs::open(&path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
}

/// The file's length and FNV-1a.
fn sum(path: &str) -> String {
    match fs::read(path) {
        Ok(bytes) => {
            let hash = bytes
                .iter()
                .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            format!("{path} {} {hash:016x}\n", bytes.len())
        }
        Err(error) => format!("{path} {error}\n"),
    }
}

fn list(folder: &str) -> String {
    match fs::read_dir(folder) {
        Ok(entries) => {
            let names: BTreeSet<_> =
                entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.into_iter().map(|name| name + "\n").collect()
        }
        Err(error) => error.to_string(),
    }
}

fn modaliases(bus: &str) -> io::Result<BTreeSet<String>> {
    let mut out = BTreeSet::new();
    for found in fs::read_dir("/sys/bus")? {
        let found = found?;
        if bus != "*" && found.file_name() != bus {
            continue;
        }
        for device in fs::read_dir(found.path().join("devices"))? {
            if let Ok(alias) = fs::read_to_string(device?.path().join("modalias")) {
                let alias = alias.trim();
                if !alias.is_empty() {
                    out.insert(alias.to_owned());
                }
            }
        }
    }
    Ok(out)
}
