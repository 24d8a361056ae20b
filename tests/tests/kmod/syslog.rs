//! The system's log, as far as the commands in the namespace know.

use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Where the C library sends messages.
const SOCKET: &str = "/dev/log";

/// What no command says: all that was sent before it has arrived when this has.
const MARK: &[u8] = b"the runner asks";

/// Takes what commands say with `-s`.
pub(crate) struct Syslog {
    messages: Arc<Mutex<Vec<Vec<u8>>>>,
    marks: Receiver<()>,
}

impl Syslog {
    /// Listens from now on. A socket holds few messages, so they are taken while the commands run.
    pub(crate) fn start() -> Self {
        let socket = UnixDatagram::bind(SOCKET).unwrap_or_else(|error| panic!("{SOCKET}: {error}"));
        let (mark, marks) = channel();
        let messages = Arc::new(Mutex::new(Vec::new()));
        let kept = messages.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while let Ok(length) = socket.recv(&mut buffer) {
                if buffer[..length] == *MARK {
                    if mark.send(()).is_err() {
                        return;
                    }
                } else {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(buffer[..length].to_vec());
                }
            }
        });
        Self { messages, marks }
    }

    /// What was said since this was asked last: a line a message, that it was the log, and its time left out.
    pub(crate) fn take(&self) -> Vec<u8> {
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.send_to(MARK, SOCKET).expect("the log takes a message");
        self.marks.recv().expect("the log is read");
        let messages = std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner));
        // kmod sends the end of a line too, which log daemons take away.
        let text = |message: &[u8]| without_time(message.strip_suffix(b"\n").unwrap_or(message));
        messages.iter().flat_map(|message| [b"log ", &*text(message), b"\n"].concat()).collect()
    }
}

/// RFC 3164, section 4.1: `<30>Nov 23 04:05:06 modprobe: text`.
fn without_time(message: &[u8]) -> Vec<u8> {
    const TIME: &[u8] = b"Aaa 99 99:99:99 ";
    let like = |byte: u8, shape: u8| match shape {
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'9' => byte.is_ascii_digit() || byte == b' ',
        _ => byte == shape,
    };
    let begin = message.iter().position(|&byte| byte == b'>').map_or(0, |end| end + 1);
    let (head, rest) = message.split_at(begin);
    match rest.split_at_checked(TIME.len()) {
        Some((time, text)) if time.iter().zip(TIME).all(|(&byte, &shape)| like(byte, shape)) => [head, text].concat(),
        _ => message.to_vec(),
    }
}
