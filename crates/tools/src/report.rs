//! Messages: who says what, how loudly, and where it goes.

use std::fmt;
use std::io::IsTerminal;
use std::os::unix::net::UnixDatagram;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::io::Errno;

/// How important a message is; the numbers are syslog's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Nothing is printed at this level (`-q`).
    Silent = 0,
    /// What ends the command.
    Fatal = 2,
    /// Something did not work.
    Error = 3,
    /// Something is not as it should be.
    Warning = 4,
    /// Something worth knowing.
    Notice = 5,
    /// What goes on.
    Info = 6,
    /// Details.
    Debug = 7,
}

impl Level {
    /// The word before a message.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Level::Silent => "EMERGENCY",
            Level::Fatal => "FATAL",
            Level::Error => "ERROR",
            Level::Warning => "WARNING",
            Level::Notice => "NOTICE",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
        }
    }
}

/// A message that ends the command with a failure, FATAL in kmod's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fatal {
    text: Vec<u8>,
    more: Vec<String>,
}

impl Fatal {
    /// With this text, without prefix and end of line. It is bytes where it quotes names.
    pub fn new(text: impl Into<Vec<u8>>) -> Fatal {
        Fatal { text: text.into(), more: Vec::new() }
    }

    /// With these lines of explanation behind it.
    #[must_use]
    pub fn explained(self, more: Vec<String>) -> Fatal {
        Fatal { more, ..self }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The explanation, line by line.
    #[must_use]
    pub fn explanation(&self) -> &[String] {
        &self.more
    }
}

/// Where messages go.
///
/// On standard error, a message is `applet: LEVEL: text`; in the system log, `LEVEL: text` under the applet's name.
#[derive(Debug)]
pub struct Log {
    name: String,
    threshold: u8,
    /// What `KMOD_LOG` asks for, when it is there.
    details: Option<u8>,
    destination: Destination,
}

#[derive(Debug)]
enum Destination {
    Stderr,
    /// The connection, made when the first message is sent; `None` inside when nobody listens.
    Syslog(Option<Option<UnixDatagram>>),
}

impl Log {
    /// Messages of `name`, the less important than `level` left out.
    #[must_use]
    pub fn new(name: &str, level: Level) -> Log {
        Log { name: name.to_owned(), threshold: level as u8, details: details(), destination: Destination::Stderr }
    }

    /// `-v`: one level more.
    pub fn raise(&mut self) {
        self.threshold = self.threshold.saturating_add(1);
    }

    /// `-q`: nothing, whatever `-v` said before.
    pub fn silence(&mut self) {
        self.threshold = Level::Silent as u8;
    }

    /// `-s`: to the system log.
    pub fn to_syslog(&mut self) {
        self.destination = Destination::Syslog(None);
    }

    /// Whether messages go to the system log.
    #[must_use]
    pub fn is_syslog(&self) -> bool {
        matches!(self.destination, Destination::Syslog(_))
    }

    /// Whether a message of `level` is printed: worth asking before an expensive text is made.
    #[must_use]
    pub fn shows(&self, level: Level) -> bool {
        level as u8 <= self.threshold
    }

    /// Whether a message of `level` about what happened below the command is printed: a line of the configuration that says
    /// nothing, a file that does not unpack. In kmod its library says these, at the level that `KMOD_LOG` names.
    #[must_use]
    pub fn shows_details(&self, level: Level) -> bool {
        self.details.map_or_else(|| self.shows(level), |details| level as u8 <= details)
    }

    /// How often `-v` was given, beyond `level`.
    #[must_use]
    pub fn above(&self, level: Level) -> u8 {
        self.threshold.saturating_sub(level as u8)
    }

    /// Whether somebody sits before standard error and messages go there: only then an explanation follows unasked.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self.destination, Destination::Stderr)
            && self.threshold > Level::Silent as u8
            && std::io::stderr().is_terminal()
    }

    /// What ends the command.
    pub fn fatal(&mut self, fatal: &Fatal) {
        self.bytes(Level::Fatal, fatal.text());
        fatal.more.iter().for_each(|line| self.more(line));
    }

    /// Something did not work.
    pub fn error(&mut self, text: fmt::Arguments<'_>) {
        self.say(Level::Error, text);
    }

    /// Something is not as it should be.
    pub fn warning(&mut self, text: fmt::Arguments<'_>) {
        self.say(Level::Warning, text);
    }

    /// Something worth knowing.
    pub fn notice(&mut self, text: fmt::Arguments<'_>) {
        self.say(Level::Notice, text);
    }

    /// What goes on.
    pub fn info(&mut self, text: fmt::Arguments<'_>) {
        self.say(Level::Info, text);
    }

    /// Details.
    pub fn debug(&mut self, text: fmt::Arguments<'_>) {
        self.say(Level::Debug, text);
    }

    /// A message whose text is text.
    pub fn say(&mut self, level: Level, text: fmt::Arguments<'_>) {
        if self.shows(level) {
            self.bytes(level, text.to_string().as_bytes());
        }
    }

    /// A message whose text quotes bytes that need not be UTF-8. No end of line is wanted.
    pub fn bytes(&mut self, level: Level, text: &[u8]) {
        if self.shows(level) {
            self.write(level, text);
        }
    }

    /// A message about what happened below the command, see [`Log::shows_details`].
    pub fn detail(&mut self, level: Level, text: fmt::Arguments<'_>) {
        if self.shows_details(level) {
            self.write(level, text.to_string().as_bytes());
        }
    }

    fn write(&mut self, level: Level, text: &[u8]) {
        match &mut self.destination {
            Destination::Stderr => {
                let line = [self.name.as_bytes(), b": ", level.word().as_bytes(), b": ", text, b"\n"].concat();
                stderr(&line);
            }
            Destination::Syslog(connection) => {
                let connection = connection.get_or_insert_with(connect);
                send(connection.as_ref(), &self.name, level, text);
            }
        }
    }

    /// Lines that belong to the message before them (an explanation): only ever on standard error, without a prefix.
    pub fn more(&mut self, text: &str) {
        if matches!(self.destination, Destination::Stderr) && self.threshold > Level::Silent as u8 {
            stderr(format!("{}\n", harmless(text)).as_bytes());
        }
    }
}

/// An explanation without what would be a command to the terminal, or turn the text around it: names, values and signers are what some
/// file says they are.
pub(crate) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if ferrmod_image::is_harmful(character) && !matches!(character, '\n' | '\t') {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// The level in `KMOD_LOG`. Whoever runs with more rights than its caller is not told by the caller what to say.
fn details() -> Option<u8> {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    use std::os::unix::ffi::OsStrExt;
    let value = std::env::var_os("KMOD_LOG")?;
    (getuid() == geteuid() && getgid() == getegid()).then(|| level_of(value.as_bytes()))
}

/// A level by its number, or by the first letters of its name; what is neither silences.
fn level_of(value: &[u8]) -> u8 {
    let number = value.trim_ascii_start();
    let number = number.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    if let Some(number) = std::str::from_utf8(number).ok().and_then(|number| number.parse::<i64>().ok()) {
        return number.clamp(0, Level::Debug as i64) as u8;
    }
    const NAMES: [(&[u8], Level); 3] = [(b"err", Level::Error), (b"info", Level::Info), (b"debug", Level::Debug)];
    let named = NAMES.iter().find(|(name, _)| value.starts_with(name));
    named.map_or(Level::Silent as u8, |&(_, level)| level as u8)
}

/// Writes to standard error, in one piece where it can. Nobody is left to be told when that fails.
pub(crate) fn stderr(mut line: &[u8]) {
    while !line.is_empty() {
        match rustix::io::write(rustix::stdio::stderr(), line) {
            Ok(0) => return,
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// The C library's words for an error (`No such file or directory`).
#[must_use]
pub fn words(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    // Rust adds the number.
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// [`words`] of an error that std reports.
#[must_use]
pub fn io_words(error: &std::io::Error) -> String {
    Errno::from_io_error(error).map_or_else(|| error.to_string(), words)
}

/// `LOG_DAEMON`.
const FACILITY: u8 = 3 << 3;

fn connect() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect("/dev/log").ok()?;
    Some(socket)
}

/// Sends one message in the form of RFC 3164, or writes it on the console when nobody takes it (`LOG_CONS`).
fn send(socket: Option<&UnixDatagram>, name: &str, level: Level, text: &[u8]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let head = format!("<{}>{} {name}: {}: ", FACILITY | level as u8, stamp(now), level.word());
    let message = [head.as_bytes(), text].concat();
    if socket.is_some_and(|socket| socket.send(&message).is_ok()) {
        return;
    }
    use std::io::Write;
    if let Ok(mut console) = std::fs::OpenOptions::new().write(true).open("/dev/console") {
        let line = [name.as_bytes(), b": ", level.word().as_bytes(), b": ", text, b"\r\n"].concat();
        let _ = console.write_all(&line);
    }
}

/// `Nov 23 04:05:06`, in UTC: log daemons keep the time of receipt.
fn stamp(seconds: u64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (day_number, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of year 0, in eras of 400 years (146 097 days).
    let since = day_number + 719_468;
    let of_era = since % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = MONTHS.get(((march_month + 2) % 12) as usize).copied().unwrap_or("Jan");
    format!("{month} {day:2} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_is_no_command_to_the_terminal() {
        assert_eq!(harmless("signed by `A\x1b[2J\u{9b}mü`"), "signed by `A\\u{1b}[2J\\u{9b}mü`");
        assert_eq!(harmless("options a b=\u{202e}c\n\t^"), "options a b=\\u{202e}c\n\t^");
    }

    #[test]
    fn stamps_are_those_of_the_calendar() {
        assert_eq!(stamp(0), "Jan  1 00:00:00");
        assert_eq!(stamp(951_782_400), "Feb 29 00:00:00");
        assert_eq!(stamp(951_868_799), "Feb 29 23:59:59");
        assert_eq!(stamp(1_795_406_189), "Nov 23 03:56:29");
        assert_eq!(stamp(1_798_761_599), "Dec 31 23:59:59");
    }

    #[test]
    fn levels_have_numbers_and_names() {
        for (value, level) in [("7", 7), (" 3 ", 3), ("3 x", 3), ("99", 7), ("-1", 0), ("+6", 6), ("0x7", 0), ("7x", 0)]
        {
            assert_eq!(level_of(value.as_bytes()), level, "{value}");
        }
        for (value, level) in
            [("", 0), ("err", 3), ("error", 3), ("info", 6), ("debugging", 7), ("DEBUG", 0), (" err", 0)]
        {
            assert_eq!(level_of(value.as_bytes()), level, "{value}");
        }
    }

    #[test]
    fn silence_is_silence() {
        let mut log = Log::new("x", Level::Warning);
        assert!(log.shows(Level::Error) && !log.shows(Level::Notice));
        log.raise();
        assert!(log.shows(Level::Notice));
        assert_eq!(log.above(Level::Warning), 1);
        log.silence();
        assert!(!log.shows(Level::Fatal));
    }
}
