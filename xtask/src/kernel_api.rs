//! `cargo xtask kernel-api`: what of a Linux kernel's interface is provided, written to `docs/kernel-api.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use ferrmod_abi_linux::{Kind, provided};
use ferrmod_image::compress::decompress;
use ferrmod_image::facts::Facts;
use ferrmod_image::kernel::KernelImage;
use ferrmod_image::linux::Image;
use ferrmod_tests::corpus::tree;

/// More than any module has.
const LARGEST: usize = 64 << 20;
/// So many absent symbols are listed: those most imported.
const ABSENT: usize = 300;

/// Writes the table.
pub(crate) fn write() -> Result<()> {
    let Some(tree) = tree("6.1") else { bail!("no kernel 6.1 in the corpus: run `cargo xtask corpus` first") };
    let vmlinuz = std::fs::read(&tree.vmlinuz).with_context(|| tree.vmlinuz.display().to_string())?;
    let facts = Facts::build(&KernelImage::read(&vmlinuz)?);
    let facts = Facts::open(&facts)?;
    let mut imports: BTreeMap<String, u32> = BTreeMap::new();
    for file in tree.files() {
        let bytes = std::fs::read(&file)?;
        let bytes = decompress(&bytes, LARGEST).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
        let image = Image::read(&bytes).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
        for import in image.imports() {
            if facts.find_export(import.name).is_some() {
                *imports.entry(import.name.to_string()).or_default() += 1;
            }
        }
    }
    let have: BTreeMap<&str, Kind> = provided().collect();
    let text = table(&facts, &imports, &have);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kernel-api.md");
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    println!("{}", path.display());
    Ok(())
}

fn table(facts: &Facts<'_>, imports: &BTreeMap<String, u32>, have: &BTreeMap<&str, Kind>) -> String {
    let mut rows: Vec<(u32, &str, &str)> = imports
        .iter()
        .map(|(name, &count)| {
            let word = match have.get(name.as_str()) {
                None if is_percpu(facts, name) => "implemented",
                None => "absent",
                Some(Kind::Constant) => "constant",
                Some(_) => "implemented",
            };
            (count, name.as_str(), word)
        })
        .collect();
    rows.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let count = |word: &str| rows.iter().filter(|row| row.2 == word).count();
    let mut text = String::from("# The kernel's interface\n\n");
    let _ = writeln!(
        text,
        "Made by `cargo xtask kernel-api` from the modules of Linux {}. Of the {} symbols that they import from the kernel \
         itself, {} are implemented, {} answer a constant (there is no priority, no power to save ...), and {} are absent: \
         a module that imports one loads all the same, and a call names the symbol in an oops.\n",
        facts.release(),
        rows.len(),
        count("implemented"),
        count("constant"),
        count("absent")
    );
    for (word, most) in [("implemented", usize::MAX), ("constant", usize::MAX), ("absent", ABSENT)] {
        let _ = writeln!(text, "## {word}\n\n| symbol | modules that import it |\n|---|---|");
        let all: Vec<_> = rows.iter().filter(|row| row.2 == word).collect();
        for (count, name, _) in all.iter().take(most) {
            let _ = writeln!(text, "| `{name}` | {count} |");
        }
        if all.len() > most {
            let _ = writeln!(text, "\nand {} more, each imported by fewer.", all.len() - most);
        }
        text.push('\n');
    }
    text
}

/// Exported per-CPU variables are there at the offsets that the kernel's image gives.
fn is_percpu(facts: &Facts<'_>, name: &str) -> bool {
    facts
        .find_export(name.as_bytes())
        .is_some_and(|index| facts.export(index).kind == ferrmod_image::facts::ExportKind::PerCpu)
}
