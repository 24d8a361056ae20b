//! How long questions to an index take that was just opened (`cargo bench -p ferrmod-index`).

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use ferrmod_index::{Index, Tree};
use ferrmod_tests::corpus;

/// The best time of a few rounds.
fn best(rounds: u32, mut round: impl FnMut()) -> Duration {
    (0..rounds)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed()
        })
        .min()
        .unwrap_or_default()
}

fn main() {
    for version in ["6.1", "6.12"] {
        let Some(tree) = corpus::tree_or_skip(version) else {
            continue;
        };
        let cache = std::env::temp_dir().join(format!("ferrmod-index-bench-{}", std::process::id()));
        let open = |cache: Option<&Path>| Index::with_cache(Tree::at(&tree.modules), cache.map(Path::to_owned));
        let report =
            |what: &str, time: Duration| println!("{version:<6}{what:<44}{:>12.1} µs", time.as_secs_f64() * 1e6);

        report("a name, nothing kept", best(5, || drop(black_box(open(None).file("crc7")))));
        report("all modules read", best(1, || drop(black_box(open(Some(&cache)).facts()))));
        report("a name, warm", best(50, || drop(black_box(open(Some(&cache)).file("crc7")))));
        report("a name that does not exist, warm", best(20, || drop(black_box(open(Some(&cache)).file("nosuch")))));
        let alias = "pci:v00008086d000010D3sv00008086sd0000A01Fbc02sc00i00";
        report("an alias, warm", best(20, || drop(black_box(open(Some(&cache)).aliases(alias)))));
        report(
            "nothing of this name or alias, warm",
            best(20, || drop(black_box(open(Some(&cache)).resolve("nosuch")))),
        );
        let _ = fs::remove_dir_all(&cache);
    }
}
