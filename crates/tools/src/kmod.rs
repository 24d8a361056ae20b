//! `kmod`: what has no name of its own.

use std::os::unix::ffi::OsStrExt;

use crate::flags::{Applet, HELP, Operand, VERSION};
use crate::getopt::Order;
use crate::report::stderr;
use crate::session::{Session, Status, Stop};
use crate::{help, lsmod, static_nodes};

/// `kmod`.
pub(crate) const APPLET: Applet = Applet {
    name: "kmod",
    synopsis: &["[options] COMMAND [command options]"],
    summary: "manage kernel modules",
    description: "One program that is insmod, rmmod, lsmod, modinfo, modprobe and depmod when it is called by one of \
        these names, usually through a link. Under its own name it has commands that have no name of their own.",
    notes: NOTES,
    flags: &[VERSION, HELP],
    commands: &[&COMMAND_HELP, &COMMAND_LIST, &static_nodes::APPLET],
    operands: Operand::Words(&["help", "list", "static-nodes"]),
    run,
    ..Applet::BASE
};

const COMMAND_HELP: Applet =
    Applet { name: "help", summary: "print this help", run: |_| Ok(Status::Success), ..Applet::BASE };

const COMMAND_LIST: Applet = Applet { name: "list", ..lsmod::APPLET };

const NOTES: &str = "\
Commands:
\thelp                        print this help
\tlist                        list the modules that are loaded
\tstatic-nodes                print the device nodes that modules of the running kernel answer for

Called as lsmod, rmmod, insmod, modinfo, modprobe or depmod, it is that command.";

fn run(session: &mut Session) -> Result<Status, Stop> {
    let mut options = session.options_in(Order::Require);
    while let Some(option) = options.next()? {
        session.common(&option)?;
    }
    let mut operands = options.operands().into_iter();
    let Some(command) = operands.next() else {
        stderr(b"missing command\n");
        return Ok(usage(session, Status::Failure));
    };
    let known = APPLET.commands.iter().copied().find(|applet| applet.name.as_bytes() == command.as_bytes());
    match known {
        Some(applet) if applet.name == "help" => Ok(usage(session, Status::Success)),
        Some(applet) => Ok(session.within(applet, operands.collect()).finish()),
        None => {
            stderr(&[b"invalid command '", command.as_bytes(), b"'\n"].concat());
            Ok(usage(session, Status::Failure))
        }
    }
}

fn usage(session: &mut Session, status: Status) -> Status {
    session.out.add(help::text(session.applet, &session.name).as_bytes());
    status
}
