//! One process, measured from its start to its end.

use std::fmt;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use wait4::Wait4;

/// A multi-call kmod.
#[derive(Clone)]
pub(super) struct Tool {
    program: PathBuf,
    /// What stands before the name, for a program that brings its own C library.
    loader: Option<(PathBuf, PathBuf)>,
}

impl Tool {
    /// A program as it is.
    pub(super) fn here(program: PathBuf) -> Self {
        Self { program, loader: None }
    }

    /// One that was unpacked together with its libraries.
    pub(super) fn unpacked(folder: &Path) -> Option<Self> {
        let libraries = folder.join("usr/lib/x86_64-linux-gnu");
        let program = ["usr/bin/kmod", "bin/kmod"].iter().map(|path| folder.join(path)).find(|path| path.is_file())?;
        Some(Self { program, loader: Some((libraries.join("ld-linux-x86-64.so.2"), libraries)) })
    }

    /// The tool under an applet's name.
    pub(super) fn command(&self, applet: &str) -> Command {
        match &self.loader {
            None => {
                let mut command = Command::new(&self.program);
                command.arg0(applet);
                command
            }
            Some((loader, libraries)) => {
                let mut command = Command::new(loader);
                command.arg("--library-path").arg(libraries).arg("--argv0").arg(applet).arg(&self.program);
                command
            }
        }
    }
}

/// What one run took.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    wall: f64,
    cpu: f64,
    memory: f64,
}

/// Runs the command, its output thrown away.
pub(super) fn once(command: &mut Command) -> Result<Sample> {
    let errors = std::env::temp_dir().join(format!("ferrmod-bench-{}.stderr", std::process::id()));
    let file = File::create(&errors).with_context(|| format!("create {}", errors.display()))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let begin = Instant::now();
    let mut child = command.spawn().with_context(|| format!("start `{}`", crate::command::line(command)))?;
    let used = child.wait4().context("wait for it")?;
    let wall = begin.elapsed().as_secs_f64();
    let text = std::fs::read_to_string(&errors).unwrap_or_default();
    let _ = std::fs::remove_file(&errors);
    if !used.status.success() {
        bail!("`{}` ended with {}: {}", crate::command::line(command), used.status, text.trim());
    }
    let cpu = (used.rusage.utime + used.rusage.stime).as_secs_f64();
    Ok(Sample { wall, cpu, memory: used.rusage.maxrss as f64 })
}

/// The medians of some runs, each by itself.
pub(super) struct Median {
    /// Seconds on the clock.
    pub(super) wall: f64,
    /// Seconds of processor time, the kernel's included.
    pub(super) cpu: f64,
    /// Bytes at the peak.
    pub(super) memory: f64,
    pub(super) runs: usize,
}

impl Median {
    pub(super) fn of(samples: &[Sample]) -> Option<Self> {
        let median = |of: fn(&Sample) -> f64| {
            let mut values: Vec<f64> = samples.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            let middle = values.len() / 2;
            if values.len().is_multiple_of(2) {
                (values.get(middle.checked_sub(1)?)? + values.get(middle)?).into()
            } else {
                values.get(middle).copied()
            }
            .map(|value: f64| if values.len().is_multiple_of(2) { value / 2.0 } else { value })
        };
        Some(Self {
            wall: median(|sample| sample.wall)?,
            cpu: median(|sample| sample.cpu)?,
            memory: median(|sample| sample.memory)?,
            runs: samples.len(),
        })
    }
}

impl fmt::Display for Median {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |seconds: f64| {
            if seconds >= 1.0 { format!("{seconds:.2} s") } else { format!("{:.2} ms", seconds * 1e3) }
        };
        write!(formatter, "{}, {}, {:.1} MB", time(self.wall), time(self.cpu), self.memory / 1e6)
    }
}
