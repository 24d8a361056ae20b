//! The rows of the table.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use ferrmod_tests::corpus;

use super::measure::{Median, Tool, once};
use super::trees::{self, Packing, Root};
use super::{Row, Tools};

/// How the names of rows of made trees end.
pub(super) const MADE: &str = "made modules";

/// Who is measured, in the order of the columns.
type Peers = [Option<Tool>; 3];

/// The orders in which they are measured, round by round: whoever comes after a longer program finds less of its own in the processor's caches.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1], [0, 2, 1], [1, 2, 0]];

/// Every row.
pub(super) fn all(options: &Tools, folder: &Path, peers: &Peers, emit: &mut dyn FnMut(Row)) -> Result<()> {
    let six_one = corpus::tree("6.1").context("the 6.1 kernel is missing; run `cargo xtask corpus`")?;
    let six_twelve = corpus::tree("6.12").context("the 6.12 kernel is missing; run `cargo xtask corpus`")?;
    let mut bench = Bench { options, peers, emit };

    let plain = trees::of_kernel(folder, "plain", &six_one, Packing::Plain)?;
    bench.depmod("plain", &plain, "≥ 4× 34; cpu ≤ 0.4×; memory ≤ 0.5×", "≥ 6×", true)?;
    bench.short(&plain)?;
    bench.modinfo("plain", &plain, "≥ 3×")?;
    let xz = trees::of_kernel(folder, "xz", &six_twelve, Packing::Plain)?;
    bench.depmod("xz", &xz, "≥ 1.8×", "≥ 50×", true)?;
    bench.modinfo("xz", &xz, "")?;
    let zstd = trees::of_kernel(folder, "zstd", &six_one, Packing::Zstd)?;
    bench.depmod("zstd", &zstd, "≥ 1.8×", "", true)?;
    bench.modinfo("zstd", &zstd, "")?;
    // Debian's kmod is built without zlib.
    let gzip = trees::of_kernel(folder, "gzip", &six_one, Packing::Gzip)?;
    bench.depmod("gzip", &gzip, "≥ 2.5× a kmod with zlib", "", false)?;

    for share in [10, 1] {
        let count = options.modules / share;
        if bench.wants(&format!("depmod, {count} {MADE}")) {
            let made = trees::made(folder, count)?;
            bench.growth(&made, count)?;
        }
    }
    Ok(())
}

struct Bench<'a> {
    options: &'a Tools,
    peers: &'a Peers,
    emit: &'a mut dyn FnMut(Row),
}

impl Bench<'_> {
    fn wants(&self, name: &str) -> bool {
        self.options.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    /// Runs what `command` makes of every peer in turn, and gives out the row.
    fn row(
        &mut self,
        name: &str,
        goal: &'static str,
        runs: usize,
        can: [bool; 3],
        before: &dyn Fn(usize) -> Result<()>,
        command: &dyn Fn(&Tool) -> Command,
    ) -> Result<()> {
        if !self.wants(name) {
            return Ok(());
        }
        let mut samples = [const { Vec::new() }; 3];
        // The first round only warms caches.
        for round in 0..=runs {
            for at in ORDERS[round % ORDERS.len()] {
                let (Some(peer), true) = (&self.peers[at], can[at]) else {
                    continue;
                };
                before(at)?;
                let sample = once(&mut command(peer))?;
                if round > 0 {
                    samples[at].push(sample);
                }
            }
        }
        (self.emit)(Row { name: name.to_owned(), goal, medians: samples.map(|samples| Median::of(&samples)) });
        Ok(())
    }

    /// A whole index, and what one changed module costs.
    fn depmod(
        &mut self,
        packing: &str,
        tree: &Root,
        goal: &'static str,
        goal_of_one: &'static str,
        kmod_can: bool,
    ) -> Result<()> {
        let can = [true, kmod_can, kmod_can];
        let depmod = |tool: &Tool| {
            let mut command = tool.command("depmod");
            command.arg("-b").arg(&tree.root).arg("-a").arg(&tree.release);
            command
        };
        let count = tree.files().len();
        // Without what an earlier run remembers: everything is read.
        let forget = |_| {
            for entry in fs::read_dir(tree.folder())?.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let input = ["modules.order", "modules.builtin", "modules.builtin.modinfo"].contains(&name.as_str());
                if entry.file_type()?.is_file() && !input {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        let runs = self.options.runs;
        self.row(&format!("depmod, {count} modules, {packing}"), goal, runs, can, &forget, &depmod)?;

        let name = format!("depmod after one module changed, {packing}");
        if self.wants(&name) {
            once(&mut depmod(self.peers[0].as_ref().context("ours")?))?;
            let files = tree.files();
            let changed = files.get(files.len() / 2).context("an empty tree")?;
            let content = fs::read(changed)?;
            let change = |_| Ok(fs::write(changed, &content)?);
            self.row(&name, goal_of_one, runs, can, &change, &depmod)?;
        }
        Ok(())
    }

    /// Commands that only read.
    fn short(&mut self, tree: &Root) -> Result<()> {
        let can = [true; 3];
        let runs = self.options.runs * 10;
        let nothing = |_| Ok(());
        // The rows of depmod, which make one, may not be wanted.
        if !tree.folder().join("modules.dep.bin").exists() {
            let mut command = self.peers[0].as_ref().context("ours")?.command("depmod");
            once(command.arg("-b").arg(&tree.root).arg("-a").arg(&tree.release))?;
        }
        let pci = "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00";
        let modprobe: [(&str, &'static str, &[&str]); 3] = [
            ("modprobe -D ext4", "≥ 3× 30; ≥ 1.3× 34", &["-D", "ext4"]),
            ("modprobe -R pci:...", "≥ 3× 30; ≥ 1.3× 34", &["-R", pci]),
            ("modprobe -c", "≥ 2× 34", &["-c"]),
        ];
        for (name, goal, arguments) in modprobe {
            self.row(name, goal, runs, can, &nothing, &|tool| {
                let mut command = tool.command("modprobe");
                command.arg("-d").arg(&tree.root).arg("-S").arg(&tree.release).args(arguments);
                command
            })?;
        }
        self.row("start: modprobe --version", "", runs, can, &nothing, &|tool| {
            let mut command = tool.command("modprobe");
            command.arg("--version");
            command
        })?;
        self.floor(tree)
    }

    /// What a program takes that does nothing: no other can be faster than it.
    fn floor(&mut self, tree: &Root) -> Result<()> {
        for (how, flags) in [("dynamic", &[][..]), ("static", &["-static"][..])] {
            let name = format!("modprobe -D ext4, but ours is an empty program in C, {how}");
            if !self.wants(&name) {
                continue;
            }
            let source = tree.root.with_file_name("empty.c");
            let program = tree.root.with_file_name(format!("empty-{how}"));
            fs::write(&source, "int main(void) { return 0; }\n")?;
            crate::command::run(Command::new("cc").arg("-O2").args(flags).arg("-o").arg(&program).arg(&source))?;
            let peers = [Some(Tool::here(program)), self.peers[1].clone(), self.peers[2].clone()];
            let mut bench = Bench { options: self.options, peers: &peers, emit: &mut *self.emit };
            bench.row(&name, "", self.options.runs * 10, [true; 3], &|_| Ok(()), &|tool| {
                let mut command = tool.command("modprobe");
                command.arg("-d").arg(&tree.root).arg("-S").arg(&tree.release).args(["-D", "ext4"]);
                command
            })?;
        }
        Ok(())
    }

    fn modinfo(&mut self, packing: &str, tree: &Root, goal: &'static str) -> Result<()> {
        let can = [true; 3];
        let nothing = |_| Ok(());
        let files = tree.files();
        let ext4 =
            files.iter().find(|file| file.to_string_lossy().contains("/ext4/ext4.ko")).context("ext4 is missing")?;
        self.row(&format!("modinfo ext4, {packing}"), goal, self.options.runs * 10, can, &nothing, &|tool| {
            let mut command = tool.command("modinfo");
            command.arg(ext4);
            command
        })?;
        let name = format!("modinfo, {} modules in one process, {packing}", files.len());
        self.row(&name, goal, self.options.runs, can, &nothing, &|tool| {
            let mut command = tool.command("modinfo");
            command.args(&files);
            command
        })
    }

    /// A tree much larger than any kernel's.
    fn growth(&mut self, tree: &Root, count: usize) -> Result<()> {
        let name = format!("depmod, {count} {MADE}");
        let nothing = |_| Ok(());
        self.row(&name, "linear", 3.min(self.options.runs), [true; 3], &nothing, &|tool| {
            let mut command = tool.command("depmod");
            command.arg("-b").arg(&tree.root).arg("-a").arg(&tree.release);
            command
        })
    }
}
