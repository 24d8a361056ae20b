//! What a newcomer sees: a machine, and example modules written in Rust.

use std::sync::{Arc, Mutex};

use anstream::{print, println};
use ferrmod_machine::{LoadFlags, LogLine, Machine, Options, Outcome};

use crate::exit::{Exit, Failure};
use crate::output::{self, GOOD, HEAD, NOTE};
use crate::report::{Ended, Left, Loaded, RunReport};

/// The example modules, built with this program.
const MODULES: [(&str, &[u8]); 4] = [
    ("answer", include_bytes!(concat!(env!("OUT_DIR"), "/answer.ko"))),
    ("question", include_bytes!(concat!(env!("OUT_DIR"), "/question.ko"))),
    ("mailbox", include_bytes!(concat!(env!("OUT_DIR"), "/mailbox.ko"))),
    ("crash", include_bytes!(concat!(env!("OUT_DIR"), "/crash.ko"))),
];

/// Something the demonstration promises did not happen.
fn surprise(what: impl std::fmt::Display) -> Failure {
    Failure::Refused(format!("the demonstration went differently than it should: {what}"))
}

struct Demo {
    machine: Machine,
}

impl Demo {
    fn say(&self, text: &str) {
        println!("\n{HEAD}{text}{HEAD:#}");
    }

    fn load(&mut self, name: &str, arguments: &str) -> Result<Ended, Failure> {
        println!("{NOTE}# insmod {name}.ko {arguments}{NOTE:#}");
        let (_, bytes) = MODULES.iter().find(|(other, _)| *other == name).ok_or_else(|| surprise(name))?;
        Ok(self.machine.load(bytes, arguments.as_bytes(), LoadFlags::default())?.into())
    }

    fn expect(&mut self, name: &str, arguments: &str) -> Result<(), Failure> {
        match self.load(name, arguments)? {
            Ended::Ok => Ok(()),
            other => Err(surprise(format!("{name}: {other}"))),
        }
    }

    fn unload(&mut self, name: &str) -> Result<Ended, Failure> {
        println!("{NOTE}# rmmod {name}{NOTE:#}");
        Ok(self.machine.unload(name.as_bytes(), false)?.into())
    }

    fn lsmod(&mut self) -> Result<(), Failure> {
        let modules: Vec<Loaded> = self.machine.list()?.iter().map(Loaded::from).collect();
        print!("{}", RunReport::table(&modules));
        Ok(())
    }
}

/// Runs the demonstration.
///
/// # Errors
/// [`Failure`] when the host does not give what a machine needs, or something goes differently than promised.
pub(crate) fn demo() -> Result<Exit, Failure> {
    let started = std::time::Instant::now();
    let log = Arc::new(Mutex::new(0usize));
    let counted = Arc::clone(&log);
    let print_line = move |line: &LogLine| {
        println!("{}", output::log_line(line));
        if let Ok(mut count) = counted.lock() {
            *count += 1;
        }
    };
    let machine = Machine::boot(Options::default(), Box::new(print_line), Box::new(|_| None))?;
    let booted = started.elapsed();
    let mut demo = Demo { machine };
    println!("A kernel has booted in process {} in {:.1} ms.", demo.machine.pid(), booted.as_secs_f64() * 1000.0);

    demo.say("One module needs a function of another. In the wrong order it is refused:");
    match demo.load("question", "question=why")? {
        Ended::Ok => return Err(surprise("question loaded without answer")),
        refused => println!("question: {refused}"),
    }
    demo.say("In the right order both run; parameters arrive, and the table shows who holds whom:");
    demo.expect("answer", "answer=42")?;
    demo.expect("question", "question=why")?;
    demo.lsmod()?;
    match demo.unload("answer")? {
        Ended::Ok => return Err(surprise("answer went although question uses it")),
        refused => println!("answer: {refused}"),
    }

    demo.say("A character device is registered, and works:");
    demo.expect("mailbox", "")?;
    println!("{NOTE}# echo 'a letter' > /dev/mailbox; cat /dev/mailbox{NOTE:#}");
    let letter = b"a letter\n";
    demo.machine.write_file("/dev/mailbox", letter)?;
    match demo.machine.read_file("/dev/mailbox")? {
        Outcome::Done(bytes) if bytes == letter => print!("{}", String::from_utf8_lossy(&bytes)),
        other => return Err(surprise(format!("/dev/mailbox: {other:?}"))),
    }

    demo.say("A bug becomes an oops. It ends the module's task, not the kernel, and nothing outside of the machine:");
    match demo.load("crash", "how=null")? {
        Ended::Oops => println!("crash: {GOOD}contained{GOOD:#}"),
        other => return Err(surprise(format!("crash: {other}"))),
    }

    demo.say("The kernel goes on. Everything that can be is unloaded, and nothing is left behind:");
    for name in ["mailbox", "question", "answer"] {
        match demo.unload(name)? {
            Ended::Ok => (),
            other => return Err(surprise(format!("{name}: {other}"))),
        }
    }
    demo.lsmod()?;
    let left = Left::of(&demo.machine.report()?, &demo.machine.list()?);
    if !left.registrations.is_empty() {
        return Err(surprise(format!("left behind: {:?}", left.registrations)));
    }
    let lines = log.lock().map_or(0, |count| *count);
    println!(
        "\n{GOOD}Done{GOOD:#} in {:.0} ms, with {lines} lines of kernel log. The module that crashed stays as it is, as on Linux.\n\n\
         Now a module of your own, or your distribution's (no root needed; its kernel's image must be at hand):\n\
         \n    ferrmod run ./mymodule.ko debug=1\
         \n    ferrmod run crc7 -- nls_cp437\
         \n    ferrmod console\n\
         \n`ferrmod --help` says more. To write modules in Rust, begin with crates/sdk/README.md.",
        started.elapsed().as_secs_f64() * 1000.0
    );
    Ok(Exit::Clean)
}
