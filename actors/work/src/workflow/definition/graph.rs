//! Who needs whom: an order, and the circles that there must not be.

use super::{Step, StepIx};

/// Most steps of a circle that are shown.
const SHOWN: usize = 20;
/// Most circles that are told.
const MAX_CIRCLES: usize = 10;

/// Steps that need one another in a circle, the first one again at the end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Circle(Vec<StepIx>);

impl Circle {
    pub(super) fn first(&self) -> Option<StepIx> {
        self.0.first().copied()
    }

    /// The ids, each step in front of the one that it needs.
    pub(super) fn shown(&self, id: impl Fn(StepIx) -> String) -> String {
        let mut ids: Vec<String> = self.0.iter().take(SHOWN).map(|step| id(*step)).collect();
        if let Some(last) = self.0.last().filter(|_| self.0.len() > SHOWN) {
            ids.push("...".to_owned());
            ids.push(id(*last));
        }
        ids.join(" -> ")
    }
}

/// All steps, each behind those that it needs; among those that could be next the one that was written first.
///
/// # Errors
/// Circles, at least one, each of other steps.
pub(super) fn order(needs: &[Vec<StepIx>]) -> Result<Vec<StepIx>, Vec<Circle>> {
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    let needed_by = reversed(needs);
    let mut ready: std::collections::BTreeSet<usize> =
        open.iter().enumerate().filter(|(_, open)| **open == 0).map(|(step, _)| step).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(step) = ready.pop_first() {
        order.extend(StepIx::try_from(step));
        for &next in needed_by.get(step).into_iter().flatten() {
            let next = index(next);
            if let Some(open) = open.get_mut(next) {
                *open -= 1;
                if *open == 0 {
                    ready.insert(next);
                }
            }
        }
    }
    if order.len() == needs.len() { Ok(order) } else { Err(circles(needs, &open)) }
}

/// For each step those that need it, in order.
pub(super) fn reversed(needs: &[Vec<StepIx>]) -> Vec<Vec<StepIx>> {
    let mut needed_by = vec![Vec::new(); needs.len()];
    for (step, needs) in needs.iter().enumerate() {
        for &need in needs {
            if let (Some(list), Ok(step)) = (needed_by.get_mut(index(need)), StepIx::try_from(step)) {
                list.push(step);
            }
        }
    }
    needed_by
}

/// Links the steps.
pub(super) fn link(steps: &mut [Step], needs: Vec<Vec<StepIx>>) {
    let needed_by = reversed(&needs);
    for ((step, needs), needed_by) in steps.iter_mut().zip(needs).zip(needed_by) {
        step.needs = needs;
        step.needed_by = needed_by;
    }
}

/// Each step that was never ready needs another such step: whoever walks on comes back.
fn circles(needs: &[Vec<StepIx>], open: &[usize]) -> Vec<Circle> {
    let is_stuck = |step: &usize| open.get(*step).is_some_and(|open| *open > 0);
    // The walk on which a step was seen.
    let mut seen: Vec<Option<usize>> = vec![None; needs.len()];
    let mut circles = Vec::new();
    for start in (0..needs.len()).filter(is_stuck) {
        let (mut path, mut next) = (Vec::new(), Some(start));
        while let Some(step) = next.filter(|step| seen.get(*step) == Some(&None)) {
            if let Some(seen) = seen.get_mut(step) {
                *seen = Some(start);
            }
            path.push(step);
            next = needs.get(step).into_iter().flatten().map(|need| index(*need)).find(is_stuck);
        }
        // Back on this walk: a circle. On an earlier one: that one told it.
        let Some(back) = next.filter(|step| seen.get(*step) == Some(&Some(start))) else { continue };
        let around = path.iter().skip_while(|step| **step != back).chain(std::iter::once(&back));
        let circle: Vec<StepIx> = around.filter_map(|step| StepIx::try_from(*step).ok()).collect();
        if circle.len() > 1 {
            circles.push(Circle(circle));
        }
        if circles.len() == MAX_CIRCLES {
            break;
        }
    }
    circles
}

fn index(step: StepIx) -> usize {
    usize::try_from(step).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_order_keeps_to_what_was_written_first_and_circles_are_shown() {
        assert_eq!(order(&[vec![], vec![0], vec![], vec![1, 2]]), Ok(vec![0, 1, 2, 3]));
        assert_eq!(order(&[vec![2], vec![], vec![]]), Ok(vec![1, 2, 0]));
        let shown = |needs: &[Vec<StepIx>]| -> Vec<String> {
            order(needs).unwrap_err().iter().map(|circle| circle.shown(|step| format!("s{step}"))).collect()
        };
        assert_eq!(shown(&[vec![1], vec![0]]), ["s0 -> s1 -> s0"]);
        assert_eq!(shown(&[vec![0]]), ["s0 -> s0"]);
        assert_eq!(shown(&[vec![], vec![0, 3], vec![1], vec![2], vec![3]]), ["s1 -> s3 -> s2 -> s1"]);
        assert_eq!(shown(&[vec![1], vec![0], vec![3], vec![2]]), ["s0 -> s1 -> s0", "s2 -> s3 -> s2"]);
        let ring: Vec<Vec<StepIx>> = (0..1000).map(|step| vec![(step + 1) % 1000]).collect();
        let long = &shown(&ring)[0];
        assert!(long.ends_with("s18 -> s19 -> ... -> s0") && long.len() < 300, "{long}");
    }

    proptest! {
        #[test]
        fn there_is_an_order_or_a_circle(edges in prop::collection::vec((0..20_u32, 0..20_u32), 0..40)) {
            let mut needs = vec![Vec::new(); 20];
            for (from, to) in edges {
                if !needs[index(from)].contains(&to) {
                    needs[index(from)].push(to);
                }
            }
            match order(&needs) {
                Ok(order) => {
                    let place = |step: StepIx| order.iter().position(|other| *other == step).unwrap();
                    prop_assert_eq!(order.len(), 20);
                    for (step, needs) in needs.iter().enumerate() {
                        prop_assert!(needs.iter().all(|need| place(*need) < place(StepIx::try_from(step).unwrap())));
                    }
                }
                Err(circles) => {
                    prop_assert!(!circles.is_empty());
                    for Circle(circle) in circles {
                        prop_assert!(circle.len() > 1 && circle.first() == circle.last());
                        prop_assert!(circle.windows(2).all(|pair| needs[index(pair[0])].contains(&pair[1])));
                    }
                }
            }
        }
    }
}
