//! Devices that were described on the command line or the console: made, their modules loaded, and what their drivers said.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::time::Duration;

use ferrmod_machine::{Device, Outcome};
use serde::Serialize;

use crate::cli::Request;
use crate::console;
use crate::exit::{Exit, Failure};
use crate::output::{self, BAD, DIM, GOOD, NOTE};
use crate::report::{Ended, Load};
use crate::session::Session;

/// What a driver answered when it was offered a device.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Probe {
    /// The driver's name.
    pub(crate) driver: String,
    /// What its probe returned.
    #[serde(flatten)]
    pub(crate) ended: Ended,
}

/// A described device, and how it stood with the drivers before unloading.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Described {
    /// As it was described.
    pub(crate) device: String,
    /// Its number in the machine; 0 when it could not be made.
    pub(crate) number: u32,
    /// Its directory in the machine's `/sys`.
    pub(crate) path: String,
    /// What names the modules that may have a driver for it.
    pub(crate) modalias: String,
    /// The driver that has it.
    pub(crate) driver: Option<String>,
    /// Every driver that was offered it, in order.
    pub(crate) probes: Vec<Probe>,
    /// How making it ended, and why no module was loaded for it.
    #[serde(flatten)]
    pub(crate) made: Ended,
    /// Why no module was loaded for it.
    pub(crate) no_module: Option<String>,
}

impl Described {
    /// A device as it is when it has just been described.
    fn new(text: &str, number: u32, made: Ended) -> Self {
        Self {
            device: text.to_owned(),
            number,
            path: String::new(),
            modalias: String::new(),
            driver: None,
            probes: Vec::new(),
            made,
            no_module: None,
        }
    }

    fn update(&mut self, known: &Device) {
        self.path.clone_from(&known.path);
        self.modalias.clone_from(&known.modalias);
        self.driver.clone_from(&known.driver);
        self.probes = known
            .probes
            .iter()
            .map(|(driver, result)| {
                let ended = if *result == 0 { Ended::Ok } else { Ended::errno(result.saturating_neg()) };
                Probe { driver: driver.clone(), ended }
            })
            .collect();
    }

    /// The exit code that this device amounts to.
    pub(crate) fn exit(&self) -> Exit {
        match (&self.made, &self.driver) {
            (Ended::Ok, Some(_)) => Exit::Clean,
            (Ended::Ok, None) if self.probes.is_empty() => Exit::Refused,
            (Ended::Ok, None) => Exit::ModuleError,
            (other, _) => other.exit(Exit::Refused),
        }
    }
}

/// One line for the device and one for each driver that was offered it.
impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.made != Ended::Ok {
            return writeln!(f, "device {}: {BAD}{}{BAD:#}", self.device, self.made);
        }
        writeln!(f, "device {} {}: {} {DIM}({}){DIM:#}", self.number, self.device, self.path, self.modalias)?;
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        for probe in &self.probes {
            let style = if probe.ended == Ended::Ok { GOOD } else { BAD };
            writeln!(f, "probe: {name} driver {} {style}{}{style:#}", probe.driver, probe.ended)?;
        }
        match (&self.driver, &self.no_module) {
            (None, Some(reason)) => writeln!(f, "probe: {name} {NOTE}no driver{NOTE:#}: {reason}"),
            (None, None) if self.probes.is_empty() => writeln!(f, "probe: {name} {NOTE}no driver{NOTE:#} fits it"),
            _ => Ok(()),
        }
    }
}

/// The bytes of a file that a description takes at most: more than any device says of itself.
const LARGEST_FILE: u64 = 1 << 18;

/// A description with the bytes of the files that it names: for `KEY=@FILE`, `KEY=` and two hexadecimal digits for each byte.
///
/// # Errors
/// [`Failure::File`] when one cannot be read, [`Failure::Content`] when it is too large.
pub(crate) fn with_files(text: &str) -> Result<Cow<'_, str>, Failure> {
    if !text.contains("=@") {
        return Ok(Cow::Borrowed(text));
    }
    let part = |part: &str| {
        let Some((key, path)) = part.split_once("=@") else { return Ok(part.to_owned()) };
        let failed = |error| Failure::File { path: path.to_owned(), error };
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)).map_err(failed)?;
        if bytes.len() as u64 > LARGEST_FILE {
            let reason = format!("larger than {LARGEST_FILE} bytes");
            return Err(Failure::Content { path: path.to_owned(), reason });
        }
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{key}={digits}"))
    };
    let parts: Vec<String> = text.split(',').map(part).collect::<Result<_, Failure>>()?;
    Ok(Cow::Owned(parts.join(",")))
}

/// Makes a device: `whole` is the description `text` with its files ([`with_files`]).
///
/// # Errors
/// [`Failure`] when that describes none.
pub(crate) fn add(session: &mut Session, text: &str, whole: &str) -> Result<(), Failure> {
    let (number, made) = match session.machine.add_device(whole)? {
        Outcome::Done(number) => (number, Ended::Ok),
        Outcome::Errno(errno) => (0, Ended::errno(errno)),
        Outcome::Oopsed => (0, Ended::Oops),
        Outcome::Hung => (0, Ended::Hung),
        Outcome::TimedOut => (0, Ended::Timeout),
    };
    session.devices.push(Described::new(text, number, made));
    look(session)
}

/// Looks how the devices stand with the drivers now.
///
/// # Errors
/// [`Failure`] when the machine is gone.
pub(crate) fn look(session: &mut Session) -> Result<(), Failure> {
    if session.devices.is_empty() || session.machine.dead().is_some() {
        return Ok(());
    }
    let known = session.machine.devices()?;
    for device in &mut session.devices {
        if let Some(known) = known.iter().find(|known| known.number == device.number) {
            device.update(known);
        }
    }
    Ok(())
}

/// Lets what devices have begun come to an end, at most for so long.
const SETTLE: Duration = Duration::from_millis(500);
/// The devices a module makes may want modules again; so often at most.
const ROUNDS: usize = 16;

/// A device that came, as its event told.
struct Arrived {
    path: String,
    modalias: String,
}

/// The devices with a modalias that came since this was asked last.
fn arrived(session: &mut Session) -> Result<Vec<Arrived>, Failure> {
    session.machine.run(SETTLE)?;
    let Outcome::Done(text) = session.machine.read_file("/proc/ferrmod-uevents")? else { return Ok(Vec::new()) };
    let text = String::from_utf8_lossy(&text);
    let mut arrived = Vec::new();
    for event in text.split("\n\n") {
        let value = |key: &str| event.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let Some(number) = value("SEQNUM").and_then(|number| number.parse::<u64>().ok()) else { continue };
        if number <= session.last_event {
            continue;
        }
        session.last_event = number;
        if let (Some("add"), Some(path), Some(modalias)) = (value("ACTION"), value("DEVPATH"), value("MODALIAS")) {
            arrived.push(Arrived { path: format!("/sys{path}"), modalias: modalias.to_owned() });
        }
    }
    Ok(arrived)
}

/// Loads the modules that the tree names for the devices nobody has taken, as udev does: for those that were described, and for those
/// that came meanwhile, until no more come.
///
/// # Errors
/// [`Failure`] when the machine is gone.
pub(crate) fn autoload(session: &mut Session) -> Result<Vec<Load>, Failure> {
    let mut loads = Vec::new();
    if session.devices.is_empty() {
        return Ok(loads);
    }
    for _ in 0..ROUNDS {
        let wanted = arrived(session)?;
        look(session)?;
        let before = loads.len();
        for device in wanted {
            load_for(session, &device, &mut loads)?;
            if session.machine.dead().is_some() {
                return Ok(loads);
            }
        }
        if loads.len() == before {
            break;
        }
    }
    look(session)?;
    Ok(loads)
}

/// Loads what the tree names for one device, if it is still there and has no driver.
fn load_for(session: &mut Session, arrived: &Arrived, loads: &mut Vec<Load>) -> Result<(), Failure> {
    let Outcome::Done(names) = session.machine.list_directory(&arrived.path)? else { return Ok(()) };
    if names.iter().any(|name| name == "driver") {
        return Ok(());
    }
    let place = session.devices.iter().position(|device| device.path == arrived.path);
    let request = Request { module: arrived.modalias.clone().into(), arguments: Vec::new() };
    let plan = match session.plan(&request) {
        Ok(plan) => plan,
        Err(failure) => {
            if let Some(place) = place {
                session.devices[place].no_module = Some(failure.to_string());
            }
            return Ok(());
        }
    };
    for mut planned in plan {
        if planned.requested {
            if session.loaded()?.contains(&planned.name) {
                continue;
            }
            let device = match place {
                Some(place) => format!("device {}", session.devices[place].number),
                None => arrived.path.clone(),
            };
            planned.why = format!("{device}, {}", arrived.modalias);
        }
        if let Some(load) = session.load(&planned)? {
            let failed = load.ended != Ended::Ok && !(load.optional && matches!(load.ended, Ended::Error { .. }));
            loads.push(load);
            if failed {
                break;
            }
        }
    }
    Ok(())
}

/// Takes the devices away.
///
/// # Errors
/// [`Failure`] when the machine is gone.
pub(crate) fn remove_all(session: &mut Session) -> Result<(), Failure> {
    for number in session.devices.iter().map(|device| device.number).filter(|&number| number != 0).collect::<Vec<_>>() {
        session.machine.remove_device(number)?;
    }
    Ok(())
}

/// Loads what devices that came want, and says so.
///
/// # Errors
/// [`Failure`] when the machine is gone.
pub(crate) fn announce(session: &mut Session) -> Result<(), Failure> {
    for load in autoload(session)? {
        output::print(&format!("{}: init {} ({})\n", load.module, load.ended, load.why));
    }
    Ok(())
}

/// The console's `device`.
///
/// # Errors
/// [`Failure`] for words that are none, or when the machine is gone.
pub(crate) fn command(session: &mut Session, words: &[&str]) -> Result<Exit, Failure> {
    let numbered = |word: &str| {
        word.parse::<u32>()
            .map_err(|_| Failure::Usage(format!("`{word}` is not the number of a device; `device` lists them")))
    };
    match words {
        [] => {
            look(session)?;
            session.devices.iter().for_each(|device| output::print(&device.to_string()));
            Ok(Exit::Clean)
        }
        ["add", text] => {
            add(session, text, &with_files(text)?)?;
            announce(session)?;
            let device = session.devices.last();
            device.iter().for_each(|device| output::print(&device.to_string()));
            Ok(device.map_or(Exit::Clean, Described::exit))
        }
        ["set", number, setting] => {
            let (name, value) = setting
                .split_once('=')
                .and_then(|(name, value)| Some((name, value.parse().ok()?)))
                .ok_or_else(|| Failure::Usage(format!("`{setting}` is not NAME=NUMBER")))?;
            session.machine.set_device(numbered(number)?, name, value)?;
            Ok(Exit::Clean)
        }
        ["report", number, text] => {
            let report = console::hexadecimal(text)
                .ok_or_else(|| Failure::Usage(format!("`{text}` is no report: two hexadecimal digits for each byte")))?;
            let done = session.machine.send_report(numbered(number)?, &report)?;
            Ok(console::value(done, &format!("device {number}")).err().unwrap_or(Exit::Clean))
        }
        ["reports", number] => {
            let reports = session.machine.take_reports(numbered(number)?)?;
            match console::value(reports, &format!("device {number}")) {
                Ok(reports) => {
                    for report in reports {
                        let bytes: String = report.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                        anstream::println!("{} {bytes}", report.kind);
                    }
                    Ok(Exit::Clean)
                }
                Err(exit) => Ok(exit),
            }
        }
        ["remove", number] => {
            let number = numbered(number)?;
            let ended: Ended = session.machine.remove_device(number)?.into();
            if ended != Ended::Ok {
                anstream::println!("device: {number}: {ended}");
                return Ok(ended.exit(Exit::ModuleError));
            }
            session.devices.retain(|device| device.number != number);
            Ok(Exit::Clean)
        }
        _ => Err(Failure::Usage(
            "device, device add DESCRIPTION, device set NUMBER NAME=VALUE, device report NUMBER HEX, device reports NUMBER, device remove NUMBER".into(),
        )),
    }
}
