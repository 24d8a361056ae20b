//! The facts of a kernel are made once, and never taken from a cache that is not right.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ferrmod_image::facts::Facts;
use ferrmod_machine::facts_cache::{FactsCacheError, open_in};
use ferrmod_tests::corpus::tree_or_skip;

/// A folder of this test's own, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ferrmod-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn facts_are_made_once_and_made_anew_when_the_cache_is_wrong() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let folder = Folder::new("facts");
    let cache = folder.0.join("deep/er");
    let start = Instant::now();
    let made = open_in(Some(&cache), &tree.vmlinuz).unwrap();
    println!("made: {:?}", start.elapsed());
    let start = Instant::now();
    let found = open_in(Some(&cache), &tree.vmlinuz).unwrap();
    println!("found: {:?}, {} bytes", start.elapsed(), found.len());
    assert!(made[..] == found[..]);
    assert_eq!(Facts::open(&found).unwrap().release(), tree.release);

    // No temporary file stays, and there is one for the image.
    let [file] = &files(&cache)[..] else { panic!("{:?}", files(&cache)) };
    for wrong in [&b""[..], b"not facts", &made[..made.len() / 2]] {
        // Not in place: `found` is mapped.
        fs::remove_file(file).unwrap();
        fs::write(file, wrong).unwrap();
        assert!(open_in(Some(&cache), &tree.vmlinuz).unwrap()[..] == made[..]);
        assert_eq!(fs::read(file).unwrap().len(), made.len(), "the cache is repaired");
    }
    // The mapping of the first cache file outlives its name.
    assert!(made[..] == found[..]);
}

#[test]
fn a_cache_that_cannot_be_written_costs_only_time() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let folder = Folder::new("facts-file");
    let not_a_folder = folder.0.join("file");
    fs::write(&not_a_folder, b"").unwrap();
    let facts = open_in(Some(&not_a_folder), &tree.vmlinuz).unwrap();
    assert_eq!(Facts::open(&facts).unwrap().release(), tree.release);
}

#[test]
fn an_image_that_changes_is_read_again() {
    let folder = Folder::new("facts-image");
    let image = folder.0.join("vmlinuz");
    assert!(matches!(open_in(Some(&folder.0), &image), Err(FactsCacheError::Read { .. })));
    fs::write(&image, b"no kernel").unwrap();
    assert!(matches!(open_in(Some(&folder.0), &image), Err(FactsCacheError::Kernel { .. })));
    assert_eq!(files(&folder.0).len(), 1, "nothing is cached for what is no kernel");
}
