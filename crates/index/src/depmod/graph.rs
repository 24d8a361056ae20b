//! Which module needs which.

use hashbrown::HashMap;

use super::elf::Facts;
use super::symbols::{SymbolNumber, Symbols};

/// The number of a module, by its place in the index.
pub(super) type ModuleNumber = u32;

/// Who exports a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    /// A module.
    Module(ModuleNumber),
    /// The kernel.
    Kernel,
}

/// Every symbol that somebody exports.
pub(super) struct Exports<'a> {
    prefix: Option<u8>,
    by_name: HashMap<&'a [u8], (Provider, u64)>,
}

impl<'a> Exports<'a> {
    /// No symbols; `prefix` stands before every name and is taken off.
    pub(super) fn new(prefix: Option<u8>) -> Exports<'a> {
        Exports { prefix, by_name: HashMap::new() }
    }

    /// A name without the prefix.
    fn name<'n>(&self, name: &'n [u8]) -> &'n [u8] {
        match name.split_first() {
            Some((first, rest)) if Some(*first) == self.prefix => rest,
            _ => name,
        }
    }

    /// Adds a symbol; it takes the place of one that was there.
    pub(super) fn add(&mut self, name: &'a [u8], provider: Provider, crc: u64) {
        // What the linker makes has no prefix.
        let name = if provider == Provider::Kernel { name } else { self.name(name) };
        if !name.is_empty() {
            self.by_name.insert(name, (provider, crc));
        }
    }

    /// Who exports the symbol that is imported as `name`, and the symbol's own name and check sum.
    pub(super) fn find(&self, name: &[u8]) -> Option<(&'a [u8], Provider, u64)> {
        // PowerPC: .foo is the code that foo describes.
        let name = name.strip_prefix(b".").unwrap_or(name);
        let (name, &(provider, crc)) = self.by_name.get_key_value(self.name(name))?;
        Some((name, provider, crc))
    }

    /// The symbols that modules export, with the modules.
    pub(super) fn of_modules(&self) -> impl Iterator<Item = (&'a [u8], ModuleNumber)> + '_ {
        self.by_name.iter().filter_map(|(name, (provider, _))| match provider {
            Provider::Module(module) => Some((*name, *module)),
            Provider::Kernel => None,
        })
    }
}

/// What each module needs.
pub(super) struct Graph {
    /// The modules whose symbols a module uses, in the order of its symbols.
    pub(super) direct: Vec<Vec<ModuleNumber>>,
    /// The modules in cycles and those below them, in the order of the index; empty when there is no cycle.
    pub(super) cyclic: Vec<ModuleNumber>,
    /// Each module's place in an order in which users come before what they use.
    place: Vec<u32>,
}

impl Graph {
    /// Resolves the imports of every module. `facts` has them in the order of the index.
    pub(super) fn new(facts: &[Option<&Facts>], symbols: &Symbols, exports: &Exports<'_>) -> Graph {
        // Each symbol is looked for once, however many modules import it.
        let providers: Vec<Option<ModuleNumber>> = (0..symbols.len() as SymbolNumber)
            .map(|number| match exports.find(symbols.get(number).name) {
                Some((_, Provider::Module(module), _)) => Some(module),
                _ => None,
            })
            .collect();
        let mut last_user = vec![u32::MAX; facts.len()];
        let mut direct: Vec<Vec<ModuleNumber>> = Vec::with_capacity(facts.len());
        for (user, facts) in facts.iter().enumerate() {
            let mut needs = Vec::new();
            for &symbol in facts.iter().flat_map(|facts| &facts.imports) {
                if let Some(Some(provider)) = providers.get(symbol as usize)
                    && let Some(last) = last_user.get_mut(*provider as usize)
                    && *last != user as u32
                {
                    *last = user as u32;
                    needs.push(*provider);
                }
            }
            direct.push(needs);
        }
        Graph::order(direct)
    }

    /// Puts users before what they use: from the modules that nobody uses on, always going on with what was found last.
    pub(super) fn order(direct: Vec<Vec<ModuleNumber>>) -> Graph {
        let mut users = vec![0u32; direct.len()];
        for &needed in direct.iter().flatten() {
            users.get_mut(needed as usize).into_iter().for_each(|users| *users += 1);
        }
        let mut waiting: Vec<ModuleNumber> =
            (0..direct.len() as ModuleNumber).filter(|&module| users.get(module as usize) == Some(&0)).collect();
        let mut place = vec![u32::MAX; direct.len()];
        let mut next = 0;
        while let Some(module) = waiting.pop() {
            place.get_mut(module as usize).into_iter().for_each(|place| *place = next);
            next += 1;
            for &needed in direct.get(module as usize).into_iter().flatten() {
                if let Some(users) = users.get_mut(needed as usize) {
                    *users -= 1;
                    if *users == 0 {
                        waiting.push(needed);
                    }
                }
            }
        }
        let cyclic: Vec<ModuleNumber> =
            (0..direct.len() as ModuleNumber).filter(|&module| place.get(module as usize) == Some(&u32::MAX)).collect();
        Graph { direct, cyclic, place }
    }

    /// Everything a module needs, directly or not, users before what they use. `seen` has a mark for each module, none of which is
    /// `module`'s.
    pub(super) fn closure(&self, module: ModuleNumber, seen: &mut [ModuleNumber]) -> Vec<ModuleNumber> {
        let mut needs = Vec::new();
        let direct = |module: ModuleNumber| self.direct.get(module as usize).map(Vec::as_slice).unwrap_or_default();
        let mut add = |needs: &mut Vec<ModuleNumber>, of: ModuleNumber| {
            for &needed in direct(of) {
                if let Some(mark) = seen.get_mut(needed as usize)
                    && *mark != module
                {
                    *mark = module;
                    needs.push(needed);
                }
            }
        };
        add(&mut needs, module);
        let mut next = 0;
        while let Some(&needed) = needs.get(next) {
            add(&mut needs, needed);
            next += 1;
        }
        needs.sort_unstable_by_key(|&needed| self.place.get(needed as usize).copied().unwrap_or(u32::MAX));
        needs
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything that can be reached from `module`, found the simple way.
    fn reachable(direct: &[Vec<ModuleNumber>], module: ModuleNumber) -> Vec<ModuleNumber> {
        let mut found = vec![module];
        let mut next = 0;
        while let Some(&at) = found.get(next) {
            next += 1;
            for &needed in &direct[at as usize] {
                if !found.contains(&needed) {
                    found.push(needed);
                }
            }
        }
        found.remove(0);
        found.sort_unstable();
        found
    }

    proptest! {
        /// Modules need only later ones, so that there is no cycle: each closure is what can be reached, users before what they use.
        #[test]
        fn a_closure_is_what_can_be_reached_in_order(
            edges in prop::collection::vec((0u32..40, 0u32..40), 0..160),
        ) {
            let mut direct: Vec<Vec<ModuleNumber>> = vec![Vec::new(); 40];
            for (a, b) in edges {
                let (user, needed) = (a.min(b), a.max(b));
                if user != needed && !direct[user as usize].contains(&needed) {
                    direct[user as usize].push(needed);
                }
            }
            let graph = Graph::order(direct.clone());
            prop_assert!(graph.cyclic.is_empty());
            let mut seen = vec![ModuleNumber::MAX; 40];
            for module in 0..40 {
                let closure = graph.closure(module, &mut seen);
                let mut sorted = closure.clone();
                sorted.sort_unstable();
                prop_assert_eq!(&sorted, &reachable(&direct, module));
                for (place, &user) in closure.iter().enumerate() {
                    for &needed in &direct[user as usize] {
                        prop_assert!(closure.iter().position(|&other| other == needed) > Some(place));
                    }
                }
            }
        }

        /// A module is left without a place exactly when it is in a cycle or below one.
        #[test]
        fn cycles_are_seen(edges in prop::collection::vec((0u32..12, 0u32..12), 0..40)) {
            let mut direct: Vec<Vec<ModuleNumber>> = vec![Vec::new(); 12];
            for (user, needed) in edges {
                if !direct[user as usize].contains(&needed) {
                    direct[user as usize].push(needed);
                }
            }
            let in_cycle = |module: ModuleNumber| {
                direct[module as usize]
                    .iter()
                    .any(|&next| next == module || reachable(&direct, next).contains(&module))
            };
            let cyclic: Vec<ModuleNumber> = (0..12).filter(|&module| in_cycle(module)).collect();
            let graph = Graph::order(direct.clone());
            prop_assert_eq!(graph.cyclic.is_empty(), cyclic.is_empty());
            prop_assert!(cyclic.iter().all(|module| graph.cyclic.contains(module)));
        }
    }
}
