//! Strongly connected components: who, in the end, waits for itself.

/// The strongly connected components of the graph in which `out[node]` are the nodes that `node` has an edge to. Each comes after all
/// components that it has edges to; the nodes of one are in ascending order.
///
/// Tarjan's algorithm, with a stack of its own: a chain as long as a hostile tree makes it does not exhaust the thread's. Edges to nodes
/// that are not there count for nothing.
#[must_use]
pub fn components(out: &[Vec<usize>]) -> Vec<Vec<usize>> {
    const UNSEEN: usize = usize::MAX;
    let mut order = vec![UNSEEN; out.len()];
    let mut low = vec![UNSEEN; out.len()];
    let mut waiting = vec![false; out.len()];
    let mut stack = Vec::new();
    let mut found = Vec::new();
    let mut next = 0;
    // A node, and which of its edges comes next.
    let mut path: Vec<(usize, usize)> = Vec::new();
    for start in 0..out.len() {
        if order[start] != UNSEEN {
            continue;
        }
        path.push((start, 0));
        while let Some(&mut (node, ref mut edge)) = path.last_mut() {
            if order[node] == UNSEEN {
                (order[node], low[node], waiting[node]) = (next, next, true);
                next += 1;
                stack.push(node);
            }
            if let Some(&to) = out[node].get(*edge) {
                *edge += 1;
                match order.get(to) {
                    Some(&UNSEEN) => path.push((to, 0)),
                    Some(&place) if waiting[to] => low[node] = low[node].min(place),
                    _ => {}
                }
                continue;
            }
            path.pop();
            if let Some(&(parent, _)) = path.last() {
                low[parent] = low[parent].min(low[node]);
            }
            if low[node] == order[node] {
                let from = stack.iter().rposition(|&other| other == node).unwrap_or_default();
                let mut members = stack.split_off(from);
                members.iter().for_each(|&member| waiting[member] = false);
                members.sort_unstable();
                found.push(members);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_one_component_and_what_it_needs_comes_first() {
        // 0 → 1 ⇄ 2 → 3, and 4 alone with an edge to nowhere.
        let out = [vec![1], vec![2], vec![1, 3], vec![], vec![9]];
        assert_eq!(components(&out), [vec![3], vec![1, 2], vec![0], vec![4]]);
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let length = 500_000;
        let out: Vec<Vec<usize>> = (0..length).map(|node| vec![(node + 1) % length]).collect();
        assert_eq!(components(&out).len(), 1);
    }
}
