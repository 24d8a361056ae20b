//! Machines for tests, and machine code for them to run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrmod_machine::{Argument, Called, Machine, Options, Outcome};

/// Code of the tests: far above what the kernel hands out first.
pub(crate) const CODE: u64 = 0x2f00_0000;

/// A machine, and what its log says.
pub(crate) struct Test {
    pub(crate) machine: Machine,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

/// A machine without any world.
pub(crate) fn boot(options: Options) -> Test {
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&log);
    let machine = Machine::boot(
        options,
        Box::new(move |line| lines.lock().unwrap().push(line.text.to_string())),
        Box::new(|_| None),
    );
    Test { machine: machine.unwrap_or_else(|error| panic!("{error}")), log }
}

/// Options for code that hangs.
pub(crate) fn impatient() -> Options {
    Options { watchdog: Duration::from_millis(200), timeout: Duration::from_secs(5), ..Options::default() }
}

impl Test {
    /// Puts code into module text and calls it.
    pub(crate) fn execute(&mut self, code: &[u8], arguments: &[Argument]) -> Outcome<Called> {
        assert!(self.machine.poke(CODE, code).unwrap());
        self.machine.call(CODE, arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Code that works: `a * b + c`.
    pub(crate) fn is_well(&mut self) {
        // mov rax, rdi; imul rax, rsi; add rax, rdx; ret
        let code = [0x48, 0x89, 0xf8, 0x48, 0x0f, 0xaf, 0xc6, 0x48, 0x01, 0xd0, 0xc3];
        let arguments = [6, 7, 58].map(Argument::Value);
        match self.execute(&code, &arguments) {
            Outcome::Done(called) => assert_eq!(called.value, 100),
            other => panic!("{other:?}\n{}", self.text()),
        }
    }

    /// The log so far.
    pub(crate) fn text(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}
