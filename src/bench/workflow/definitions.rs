//! The workflows that are run. All their steps call `echo`.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What the random graphs are made of: the same ones each time.
const SEED: u64 = 7;
/// Most steps of the layer before that a step of a layered graph needs.
const MOST_NEEDS: usize = 3;
/// The signal that the steps of [`waiting`] wait for.
pub(super) const SIGNAL: &str = "go";

/// A kind of graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Shape {
    /// Each step needs the one before, and uses its output.
    Chain,
    /// One step, then all others side by side, and one that needs them all.
    FanOut,
    /// One step that runs for each item of a list.
    ForEach,
    /// Layers as wide as they are many; each step needs one to three of the layer before, at random.
    Layered,
}

impl Shape {
    /// As people read it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::FanOut => "fan-out and join",
            Self::ForEach => "for_each, items",
            Self::Layered => "layered, random",
        }
    }

    /// A workflow of this kind with so many steps, or items.
    pub(super) fn definition(self, steps: usize) -> Value {
        let steps = match self {
            Self::Chain => chain(steps),
            Self::FanOut => fan_out(steps),
            Self::ForEach => {
                let items: Vec<usize> = (0..steps).collect();
                vec![json!({"id": "each", "tool": "echo", "for_each": items, "input": {"n": "${item}"}})]
            }
            Self::Layered => layered(steps),
        };
        json!({"name": self.name(), "steps": steps})
    }
}

/// One step that is given so many bytes and gives them back.
pub(super) fn one_step(payload: usize) -> Value {
    let input = json!({"text": "x".repeat(payload)});
    json!({"name": "one step", "steps": [{"id": "only", "tool": "echo", "input": input}]})
}

/// A step, one that waits for [`SIGNAL`], and a last one.
pub(super) fn waiting() -> Value {
    json!({"name": "waiting", "steps": [
        {"id": "begin", "tool": "echo", "input": {}},
        {"id": "gate", "needs": ["begin"], "wait": {"signal": SIGNAL}},
        {"id": "end", "needs": ["gate"], "tool": "echo", "input": {}},
    ]})
}

fn chain(steps: usize) -> Vec<Value> {
    let step = |at: usize| match at.checked_sub(1) {
        None => json!({"id": "s0", "tool": "echo", "input": {"n": 0}}),
        Some(before) => {
            let input = json!({"n": format!("${{steps.s{before}.output.n}}")});
            json!({"id": id(at), "tool": "echo", "input": input})
        }
    };
    (0..steps).map(step).collect()
}

fn fan_out(steps: usize) -> Vec<Value> {
    let last = steps.saturating_sub(1);
    let middle: Vec<String> = (1..last).map(id).collect();
    let mut all = vec![json!({"id": "s0", "tool": "echo", "input": {}})];
    all.extend(middle.iter().map(|id| json!({"id": id, "tool": "echo", "input": {}, "needs": ["s0"]})));
    all.push(json!({"id": id(last), "tool": "echo", "input": {}, "needs": middle}));
    all
}

fn layered(steps: usize) -> Vec<Value> {
    let mut rng = StdRng::seed_from_u64(SEED);
    let width = steps.isqrt().max(1);
    let step = |at: usize| {
        let layer = at / width;
        let mut needs = BTreeSet::new();
        if layer > 0 {
            let before = (layer - 1) * width;
            for _ in 0..rng.random_range(1..=MOST_NEEDS) {
                needs.insert(id(before + rng.random_range(0..width)));
            }
        }
        json!({"id": id(at), "tool": "echo", "input": {}, "needs": needs})
    };
    (0..steps).map(step).collect()
}

fn id(step: usize) -> String {
    format!("s{step}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_fits_into_a_definition_and_has_as_many_steps_as_asked_for() {
        const LARGEST: usize = 1 << 20;
        for shape in [Shape::Chain, Shape::FanOut, Shape::Layered] {
            let definition = shape.definition(10_000);
            assert_eq!(definition["steps"].as_array().unwrap().len(), 10_000, "{shape:?}");
            assert!(definition.to_string().len() < LARGEST, "{shape:?}");
        }
    }

    #[test]
    fn random_graphs_are_the_same_each_time_and_needs_lead_to_the_layer_before() {
        let definition = Shape::Layered.definition(100);
        assert_eq!(definition, Shape::Layered.definition(100));
        for (at, step) in definition["steps"].as_array().unwrap().iter().enumerate() {
            let needs = step["needs"].as_array().unwrap();
            assert_eq!(needs.is_empty(), at < 10, "{step}");
            for needed in needs {
                let needed: usize = needed.as_str().unwrap()[1..].parse().unwrap();
                assert_eq!(needed / 10 + 1, at / 10, "{step}");
            }
        }
    }
}
