//! The order of modules in the index.

use hashbrown::HashMap;

use super::events::Event;
use super::hash;
use super::options::Options;
use super::walk::{Found, Tree};

/// Sorts modules as `modules.order` lists them, and those that it does not list behind them by the hash of their names.
pub(super) fn sort(found: &mut [Found], options: &Options<'_>, tree: &Tree, observe: &mut dyn FnMut(Event<'_>)) {
    hash::order(found, hash::MODULE_BUCKETS, |found| &found.name);
    let text = match tree.read("modules.order") {
        Ok(text) => text,
        Err(error) => {
            let folder = options.tree_folder();
            observe(Event::InputMissing { name: "modules.order", folder: &folder, error: &error });
            return;
        }
    };
    let mut places: HashMap<&[u8], usize> = HashMap::with_capacity(found.len());
    let mut lines = text.split_inclusive(|&byte| byte == b'\n').enumerate();
    for (number, line) in &mut lines {
        let Some(line) = line.strip_suffix(b"\n") else {
            observe(Event::UnfinishedLine { folder: &options.tree_folder(), line: number + 1 });
            break;
        };
        places.entry(line).or_insert(number);
    }
    let place = |found: &Found| places.get(plain(&found.path)).copied().unwrap_or(usize::MAX);
    found.sort_by_cached_key(place);
}

/// The path of the module without the ending that says how it is compressed.
fn plain(path: &[u8]) -> &[u8] {
    [&b".gz"[..], b".xz", b".zst"].iter().find_map(|ending| path.strip_suffix(*ending)).unwrap_or(path)
}
