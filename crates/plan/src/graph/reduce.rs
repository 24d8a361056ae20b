//! Transitive reduction: the fewest edges that say the same.

use super::components::components;

/// Whether each edge is implied by others: for `edges` between nodes below `nodes`, `true` where there is another way from the one end to
/// the other that does not use the edge.
///
/// What is left has the same reachability. Without cycles it is the one smallest such graph. Within a cycle no edge is called implied,
/// so that a picture shows the whole cycle, and none of several edges between the same two cycles.
#[must_use]
pub fn implied(nodes: usize, edges: &[(usize, usize)]) -> Vec<bool> {
    let mut out = vec![Vec::new(); nodes];
    for &(from, to) in edges.iter().filter(|&&(from, to)| from < nodes && to < nodes) {
        out[from].push(to);
    }
    let groups = components(&out);
    let mut group_of = vec![0; nodes];
    for (number, members) in groups.iter().enumerate() {
        members.iter().for_each(|&member| group_of[member] = number);
    }
    // Groups come in an order in which edges go to lower numbers, so what a group reaches is known when it is needed.
    let words = groups.len().div_ceil(64);
    let mut reached: Vec<Vec<u64>> = Vec::with_capacity(groups.len());
    let mut kept: Vec<Vec<usize>> = Vec::with_capacity(groups.len());
    for (number, members) in groups.iter().enumerate() {
        let mut targets: Vec<usize> =
            members.iter().flat_map(|&member| out[member].iter().map(|&to| group_of[to])).collect();
        targets.retain(|&to| to != number);
        // The one that stands last in the order can be behind no other.
        targets.sort_unstable_by(|a, b| b.cmp(a));
        targets.dedup();
        let mut reach = vec![0_u64; words];
        targets.retain(|&to| {
            let (word, bit) = (to / 64, 1 << (to % 64));
            let new = reach[word] & bit == 0;
            if new {
                reach.iter_mut().zip(&reached[to]).for_each(|(all, more)| *all |= more);
                reach[word] |= bit;
            }
            new
        });
        reached.push(reach);
        kept.push(targets);
    }
    edges
        .iter()
        .map(|&(from, to)| {
            let (Some(&from), Some(&to)) = (group_of.get(from), group_of.get(to)) else { return false };
            from != to && !kept[from].contains(&to)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortcut_is_implied_and_a_cycle_is_kept() {
        assert_eq!(implied(3, &[(0, 1), (1, 2), (0, 2)]), [false, false, true]);
        assert_eq!(implied(3, &[(0, 1), (1, 0), (0, 2), (1, 2), (9, 9)]), [false; 5]);
    }
}
