//! How long reading the modules of a whole tree takes, step by step (`cargo bench -p ferrmod-image`).
//!
//! The files are in memory before the clock starts, and each step is the best of several rounds over all of them: on a noisy
//! machine the best is the only figure that means something.

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use ferrmod_image::Image;
use ferrmod_tests::corpus;

/// The best time of a few rounds.
fn best(mut round: impl FnMut()) -> Duration {
    (0..5)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed()
        })
        .min()
        .unwrap_or_default()
}

fn main() {
    let Some(tree) = corpus::tree_or_skip("6.1") else {
        return;
    };
    let files: Vec<_> = tree.files().iter().filter_map(|path| fs::read(path).ok()).collect();
    let images: Vec<_> = files.iter().filter_map(|file| Image::read(file).ok()).collect();
    let report = |what: &str, time: Duration| {
        println!("{what:<32} {:>8.2} µs a module", time.as_secs_f64() * 1e6 / images.len() as f64);
    };

    report("read", best(|| files.iter().for_each(|file| drop(black_box(Image::read(file))))));
    report(
        "imports and their CRCs",
        best(|| {
            for image in &images {
                let Some(versions) = image.versions() else {
                    continue;
                };
                let mut cursor = versions.cursor();
                image.imports().for_each(|import| {
                    let _ = black_box(cursor.get(import.name));
                });
            }
        }),
    );
    report("exports", best(|| images.iter().for_each(|image| drop(black_box(image.exports())))));
    report("parameters", best(|| images.iter().for_each(|image| drop(black_box(image.parameters())))));
    report(
        "thirty sections by name",
        best(|| {
            for image in &images {
                for _ in 0..10 {
                    for name in ["__versions", ".static_call_sites", "__tracepoints_ptrs"] {
                        black_box(image.section(black_box(name)));
                    }
                }
            }
        }),
    );
    report("description", best(|| images.iter().for_each(|image| drop(black_box(image.describe())))));
}
