//! Directives by the names they are about.

use std::hash::BuildHasher;

use ferrmod_image::fnmatch;
use hashbrown::{DefaultHashBuilder, HashTable};

/// The directives of one kind by name, so that a question costs what its answer costs and not what the configuration is long.
///
/// A name that is spelled out is found at once. A pattern is found by what it begins with, up to the first byte that has a meaning:
/// of a name, only the beginnings are looked for that some pattern has.
#[derive(Debug)]
pub(crate) struct ByName {
    hasher: DefaultHashBuilder,
    /// The first directive of each name, as it is spelled.
    names: Chains,
    /// The first pattern of each beginning.
    beginnings: Chains,
    /// How long the beginnings of patterns are, each length once.
    lengths: Vec<usize>,
}

/// Lists of directives that have something in common, in order.
#[derive(Debug, Default)]
struct Chains {
    first: HashTable<u32>,
    /// For each directive, the next one of its list.
    next: Vec<u32>,
}

/// No directive: the end of a list.
const NONE: u32 = u32::MAX;

/// What a pattern begins with: the bytes that stand for themselves. `None` when all do, and it is no pattern.
fn beginning(pattern: &[u8]) -> Option<&[u8]> {
    let end = pattern.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))?;
    pattern.get(..end)
}

impl Chains {
    /// Adds a directive before all of its list: they come in backwards.
    fn add<'n>(&mut self, number: u32, key: &[u8], hasher: &DefaultHashBuilder, key_of: impl Fn(u32) -> &'n [u8]) {
        let hash = |key: &[u8]| hasher.hash_one(key);
        let found = self.first.find_mut(hash(key), |&other| key_of(other) == key);
        let next = match found {
            Some(first) => std::mem::replace(first, number),
            None => {
                self.first.insert_unique(hash(key), number, |&other| hash(key_of(other)));
                NONE
            }
        };
        if let Some(place) = self.next.get_mut(number as usize) {
            *place = next;
        }
    }

    /// The list of a key.
    fn list<'n>(
        &self,
        key: &[u8],
        hasher: &DefaultHashBuilder,
        key_of: impl Fn(u32) -> &'n [u8],
    ) -> impl Iterator<Item = u32> {
        let first = self.first.find(hasher.hash_one(key), |&other| key_of(other) == key).copied();
        std::iter::successors(first, |&number| self.next.get(number as usize).copied().filter(|&next| next != NONE))
    }
}

impl ByName {
    /// Of `count` directives, the name of each being `name`.
    pub(crate) fn new<'n>(count: usize, name: impl Fn(u32) -> &'n [u8]) -> ByName {
        // What has more directives than fit is no configuration: a file has at most 64 MiB.
        let count = u32::try_from(count).unwrap_or(NONE);
        let chains = || Chains { first: HashTable::with_capacity(count as usize), next: vec![NONE; count as usize] };
        let hasher = DefaultHashBuilder::default();
        let (mut names, mut beginnings) = (chains(), Chains::default());
        let mut lengths = Vec::new();
        for number in (0..count).rev() {
            names.add(number, name(number), &hasher, &name);
            if let Some(begin) = beginning(name(number)) {
                beginnings.next.resize(count as usize, NONE);
                beginnings.add(number, begin, &hasher, |other| beginning(name(other)).unwrap_or_default());
                lengths.push(begin.len());
            }
        }
        lengths.sort_unstable();
        lengths.dedup();
        ByName { hasher, names, beginnings, lengths }
    }

    /// The directives whose name is spelled exactly so, in order.
    pub(crate) fn exactly<'n>(&self, asked: &[u8], name: impl Fn(u32) -> &'n [u8]) -> impl Iterator<Item = u32> {
        self.names.list(asked, &self.hasher, name)
    }

    /// The directives whose name is a pattern that matches, in order; a name that is no pattern matches itself.
    pub(crate) fn matching<'n>(&self, asked: &[u8], name: impl Fn(u32) -> &'n [u8]) -> Vec<u32> {
        let is_spelled_out = |&number: &u32| beginning(name(number)).is_none();
        let mut found: Vec<u32> = self.exactly(asked, &name).filter(is_spelled_out).collect();
        for begin in self.lengths.iter().map_while(|&length| asked.get(..length)) {
            let list = self.beginnings.list(begin, &self.hasher, |other| beginning(name(other)).unwrap_or_default());
            found.extend(list.filter(|&number| fnmatch(name(number), asked)));
        }
        found.sort_unstable();
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_walk_finds(
            names in proptest::collection::vec(r"[ab*?\[\]\\]{0,4}", 0..40),
            asked in r"[ab*\[\\]{0,4}",
        ) {
            let name = |number: u32| names[number as usize].as_bytes();
            let index = ByName::new(names.len(), name);
            let all = || (0..names.len() as u32).filter(|&number| fnmatch(name(number), asked.as_bytes()));
            prop_assert_eq!(index.matching(asked.as_bytes(), name), all().collect::<Vec<_>>());
            let same = (0..names.len() as u32).filter(|&number| name(number) == asked.as_bytes());
            prop_assert!(index.exactly(asked.as_bytes(), name).eq(same));
        }
    }
}
