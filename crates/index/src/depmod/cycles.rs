//! Naming the cycles of dependencies.

use super::DepmodError;
use super::files::Module;
use super::graph::{Graph, ModuleNumber};

/// The most cycles that are told: modules that all need each other have more than there is time for.
const MOST: usize = 64;

/// The error for a graph that has cycles.
pub(super) fn error(graph: &Graph, modules: &[Module<'_>]) -> DepmodError {
    let name = |module: ModuleNumber| {
        modules.get(module as usize).map(|module| String::from_utf8_lossy(module.name).into_owned()).unwrap_or_default()
    };
    let cycles = find(&graph.direct, &graph.cyclic);
    let mut members: Vec<ModuleNumber> = cycles.iter().flatten().copied().collect();
    members.sort_unstable();
    members.dedup();
    DepmodError::Cycles {
        cycles: cycles.iter().map(|cycle| cycle.iter().copied().map(name).collect()).collect(),
        members: members.into_iter().map(name).collect(),
    }
}

/// Cycles that lead through the modules of `among`: for each module that is in one, a shortest, unless another one that was found
/// holds it. Each begins and ends with the same module.
fn find(direct: &[Vec<ModuleNumber>], among: &[ModuleNumber]) -> Vec<Vec<ModuleNumber>> {
    let mut told = vec![false; direct.len()];
    let mut cycles = Vec::new();
    for &start in among {
        if cycles.len() == MOST {
            break;
        }
        if told.get(start as usize) != Some(&false) {
            continue;
        }
        let Some(cycle) = shortest(direct, start) else {
            continue;
        };
        cycle.iter().for_each(|&member| told.get_mut(member as usize).into_iter().for_each(|told| *told = true));
        cycles.push(cycle);
    }
    cycles
}

/// A shortest way from `start` through what it needs back to it.
fn shortest(direct: &[Vec<ModuleNumber>], start: ModuleNumber) -> Option<Vec<ModuleNumber>> {
    let mut from = vec![None; direct.len()];
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(module) = queue.pop_front() {
        for &needed in direct.get(module as usize)? {
            if needed == start {
                let mut cycle = vec![start];
                let mut at = module;
                while at != start {
                    cycle.push(at);
                    at = (*from.get(at as usize)?)?;
                }
                cycle.push(start);
                cycle.reverse();
                return Some(cycle);
            }
            if let Some(slot @ None) = from.get_mut(needed as usize) {
                *slot = Some(module);
                queue.push_back(needed);
            }
        }
    }
    None
}
