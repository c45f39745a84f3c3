//! Where each step stands in the tree. A graph of steps is no tree: a step that needs several others is put under the one
//! that is deepest, for which it waits longest as a rule, so that each step has one line.

use crate::client::Answer;
use std::collections::{HashMap, VecDeque};

/// Deepest place that is still indented: a chain of a thousand steps has to stay on the screen.
const DEEPEST: usize = 10;

/// A step in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    /// Its index in the definition.
    pub(super) step: usize,
    /// How far it is indented.
    pub(super) depth: usize,
}

/// All steps in the order of the tree; siblings in the order of the definition.
pub(super) fn place(steps: &[Answer]) -> Vec<Placed> {
    let ids: HashMap<&str, usize> =
        steps.iter().enumerate().filter_map(|(index, step)| Some((step.text("id")?, index))).collect();
    let needs: Vec<Vec<usize>> = steps
        .iter()
        .map(|step| step.texts("needs").iter().filter_map(|id| ids.get(id.as_str()).copied()).collect())
        .collect();
    let parents = parents(&needs);
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    let mut roots = Vec::new();
    for (index, parent) in parents.iter().enumerate() {
        match parent.and_then(|parent| children.get_mut(parent)) {
            Some(siblings) => siblings.push(index),
            None => roots.push(index),
        }
    }
    walk(&roots, &children)
}

/// For each step the deepest one that it needs; none for those that need nothing.
fn parents(needs: &[Vec<usize>]) -> Vec<Option<usize>> {
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    for (index, needs) in needs.iter().enumerate() {
        for need in needs {
            needed_by[*need].push(index);
        }
    }
    let mut parents = vec![None; needs.len()];
    let mut depths = vec![0_usize; needs.len()];
    let mut ready: VecDeque<usize> =
        open.iter().enumerate().filter(|(_, open)| **open == 0).map(|(index, _)| index).collect();
    while let Some(index) = ready.pop_front() {
        for dependent in &needed_by[index] {
            if depths[index] + 1 > depths[*dependent] {
                depths[*dependent] = depths[index] + 1;
                parents[*dependent] = Some(index);
            }
            open[*dependent] -= 1;
            if open[*dependent] == 0 {
                ready.push_back(*dependent);
            }
        }
    }
    // What is left needs itself in a circle: a node accepts no such definition, but whatever an answer says has to be shown.
    for (index, open) in open.iter().enumerate() {
        if *open > 0 {
            parents[index] = None;
        }
    }
    parents
}

fn walk(roots: &[usize], children: &[Vec<usize>]) -> Vec<Placed> {
    let mut placed = Vec::with_capacity(children.len());
    let mut open: Vec<Placed> = roots.iter().rev().map(|step| Placed { step: *step, depth: 0 }).collect();
    while let Some(next) = open.pop() {
        placed.push(next);
        let depth = (next.depth + 1).min(DEEPEST);
        let below = children.get(next.step).map(Vec::as_slice).unwrap_or_default();
        open.extend(below.iter().rev().map(|step| Placed { step: *step, depth }));
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn placed(steps: &[(&str, &[&str])]) -> Vec<String> {
        let steps: Vec<Answer> =
            steps.iter().map(|(id, needs)| Answer(json!({"id": id, "needs": needs}))).collect();
        place(&steps)
            .iter()
            .map(|placed| format!("{}{}", "-".repeat(placed.depth), steps[placed.step].shown("id")))
            .collect()
    }

    #[test]
    fn a_step_stands_under_the_deepest_one_that_it_needs() {
        let diamond: &[(&str, &[&str])] = &[
            ("end", &["a", "deep"]),
            ("start", &[]),
            ("a", &["start"]),
            ("b", &["start"]),
            ("deep", &["b"]),
        ];
        assert_eq!(placed(diamond), ["start", "-a", "-b", "--deep", "---end"]);
    }

    #[test]
    fn a_long_chain_stays_on_the_screen_and_every_step_has_one_line() {
        let ids: Vec<String> = (0..2000).map(|n| format!("s{n}")).collect();
        let steps: Vec<Answer> = (0..2000)
            .map(|n| {
                let needs: Vec<&String> = if n > 0 { vec![&ids[n - 1]] } else { Vec::new() };
                Answer(json!({"id": ids[n], "needs": needs}))
            })
            .collect();
        let placed = place(&steps);
        assert_eq!(placed.len(), 2000);
        assert_eq!(placed.iter().map(|placed| placed.depth).max(), Some(DEEPEST));
        assert!(placed.iter().enumerate().all(|(index, placed)| placed.step == index));
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_shown_all_the_same() {
        assert_eq!(placed(&[("a", &["b"]), ("b", &["a"]), ("c", &["nobody"])]), ["a", "b", "c"]);
        assert_eq!(place(&[Answer(json!({})), Answer(json!("x"))]).len(), 2);
    }
}
