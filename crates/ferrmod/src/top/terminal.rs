//! The live view: keys, time, and the terminal as it was before.

use std::ffi::OsString;
use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::layout::Rect;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::act::{self, Said};
use super::model::{Action, Effect, Mode, Model};
use super::source::Source;
use super::view;
use crate::exit::Failure;

/// How long keys are waited for while something runs whose end is to be shown.
const SOON: Duration = Duration::from_millis(50);

/// The terminal in its other mode. However this ends (by return, panic or signal), the terminal is as it was.
struct Screen {
    terminal: ratatui::DefaultTerminal,
    signals: Handle,
}

impl Screen {
    fn open() -> io::Result<Screen> {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        // With a panic hook that restores the terminal before the message.
        let terminal = ratatui::try_init()?;
        let handle = signals.handle();
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                ratatui::restore();
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        });
        Ok(Screen { terminal, signals: handle })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.signals.close();
        ratatui::restore();
    }
}

/// What is run beside the view, and what is to be made of its end.
struct Job {
    what: Running,
    said: Receiver<Said>,
}

enum Running {
    Try(Action),
    Do(Action),
    Explain(String),
}

fn start(what: Running, words: Vec<OsString>) -> Job {
    let (sender, said) = mpsc::channel();
    thread::spawn(move || {
        // When the view is gone nobody wants to know.
        let _ = sender.send(act::run(&words));
    });
    Job { what, said }
}

/// Shows `model` until it is left, with new values every `interval`.
///
/// # Errors
/// When the terminal fails.
pub(super) fn show(
    model: &mut Model,
    source: &mut dyn Source,
    root: Option<&std::path::Path>,
    interval: Duration,
) -> Result<(), Failure> {
    let mut screen = Screen::open()?;
    let mut next = Instant::now();
    let mut job: Option<Job> = None;
    loop {
        if Instant::now() >= next {
            refresh(model, source);
            next = Instant::now() + interval;
        }
        let size = screen.terminal.size()?;
        model.fit(view::rows(Rect::new(0, 0, size.width, size.height), model.with_detail));
        if model.with_detail
            && model.detail.is_none()
            && let Some(name) = model.selected.clone()
        {
            model.detail = Some(source.detail(&name));
        }
        screen.terminal.draw(|frame| view::draw(frame, model))?;
        let wait = next.saturating_duration_since(Instant::now());
        let wait = if job.is_some() { wait.min(SOON) } else { wait };
        if event::poll(wait)? {
            let effect = match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => model.key(key),
                // A new size is drawn in the next turn.
                _ => Effect::None,
            };
            match effect {
                Effect::None => {}
                Effect::Quit => return Ok(()),
                Effect::Refresh => next = Instant::now(),
                Effect::Try(action) => {
                    model.mode = Mode::Waiting(act::title(&action));
                    let words = act::words(&action, true);
                    job = Some(start(Running::Try(action), words));
                }
                Effect::Do(action) => {
                    model.mode = Mode::Waiting(act::title(&action));
                    let words = act::words(&action, false);
                    job = Some(start(Running::Do(action), words));
                }
                Effect::Explain(name) => {
                    model.mode = Mode::Waiting(format!("explain {name}"));
                    let words = act::explain(&name, root);
                    job = Some(start(Running::Explain(name), words));
                }
            }
        }
        if let Some(Job { what, said }) = &job
            && let Ok(said) = said.try_recv()
        {
            ended(model, what, said);
            (job, next) = (None, Instant::now());
        }
    }
}

/// Takes new values.
pub(super) fn refresh(model: &mut Model, source: &mut dyn Source) {
    match source.read() {
        Ok(snapshot) => {
            model.update(snapshot);
            if model.with_detail
                && let Some(name) = model.selected.clone()
            {
                model.detail = Some(source.detail(&name));
            }
        }
        Err(failure) => model.message = failure.to_string(),
    }
}

/// Shows how something ended; after a try that could work, with the question.
fn ended(model: &mut Model, what: &Running, said: Said) {
    let mut lines = said.lines;
    match what {
        Running::Try(action) => {
            let title = act::title(action);
            if said.well && lines.is_empty() {
                let nothing = "modprobe would do nothing: it is loaded, or gone, already".to_owned();
                model.show(title, vec![nothing], None);
            } else if said.well {
                lines.insert(0, "modprobe would do this:".to_owned());
                // Whether these go is decided when the module has gone, so that a dry run does not tell.
                let alone = match action {
                    Action::Unload(name) => model.held_only_by(name),
                    Action::Load(_) => Vec::new(),
                };
                if !alone.is_empty() {
                    lines.push(format!("and then, if nothing else uses them: {}", alone.join(", ")));
                }
                model.show(format!("{title}?"), lines, Some(action.clone()));
            } else {
                lines.insert(0, "modprobe would not do it:".to_owned());
                model.show(title, lines, None);
            }
        }
        Running::Do(action) => {
            lines.insert(0, if said.well { "done:" } else { "it failed:" }.to_owned());
            model.show(act::title(action), lines, None);
        }
        Running::Explain(name) => {
            let why =
                model.row().filter(|row| row.module.name == *name).map(|row| row.stays.clone()).unwrap_or_default();
            let reasons: Vec<String> = why.iter().map(ToString::to_string).collect();
            let removal = if reasons.is_empty() {
                "it can be removed".to_owned()
            } else {
                format!("cannot be removed: {}", reasons.join("; "))
            };
            lines.insert(0, removal);
            lines.insert(1, String::new());
            model.show(name.clone(), lines, None);
        }
    }
}
