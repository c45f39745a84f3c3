//! The model: what a run gives follows from the definition and from how each attempt ends, step by step, without events,
//! time or order.

use proptest::prelude::*;
use proptest::sample::subsequence;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// How the run ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ended {
    /// With this result.
    Completed(Value),
    /// Because of one of these steps: which is first depends on the order of things.
    Failed(BTreeSet<String>),
}

/// A step of a plan.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    needs: Vec<usize>,
    items: Option<u32>,
    max_parallel: Option<u32>,
    /// Attempts.
    tries: u32,
    /// How many attempts of each unit fail before one works; units take turns.
    fails: Vec<u32>,
    on_failure: &'static str,
    undo: bool,
    /// Skipped when the first step that it needs gave an even number, or nothing.
    picky: bool,
    /// Reads the first step that it needs.
    reads: bool,
    waits: bool,
}

/// A workflow, and how its world behaves.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) steps: Vec<Shape>,
    healed: bool,
}

fn shape(index: usize) -> impl Strategy<Value = Shape> {
    let needs = subsequence((0..index).collect::<Vec<_>>(), 0..=index.min(3));
    let items = prop_oneof![3 => Just(None), 1 => (0..5_u32).prop_map(Some)];
    let fails = prop::collection::vec(prop_oneof![4 => Just(0), 1 => 0..4_u32], 1..4);
    let on_failure = prop_oneof![Just("fail"), Just("continue"), Just("compensate")];
    let flags = (any::<bool>(), prop::bool::weighted(0.2), any::<bool>(), prop::bool::weighted(0.1));
    (needs, items, prop::option::of(1..4_u32), 1..4_u32, fails, on_failure, flags).prop_map(
        |(needs, items, max_parallel, tries, fails, on_failure, (undo, picky, reads, waits))| {
            let some = !needs.is_empty();
            let waits = waits && items.is_none();
            let (undo, max_parallel) = (undo && !waits, max_parallel.filter(|_| items.is_some()));
            Shape {
                picky: picky && some,
                reads: reads && some && !waits,
                needs,
                items,
                max_parallel,
                tries,
                fails,
                on_failure,
                undo,
                waits,
            }
        },
    )
}

/// Any plan of some steps.
pub(super) fn plans() -> impl Strategy<Value = Plan> {
    (2..9_usize)
        .prop_flat_map(|count| (0..count).map(shape).collect::<Vec<_>>())
        .prop_map(|steps| Plan { steps, healed: false })
}

fn name(step: usize) -> String {
    format!("s{step}")
}

impl Plan {
    /// The definition.
    pub(super) fn definition(&self) -> Value {
        let steps: Vec<Value> =
            self.steps.iter().enumerate().map(|(index, shape)| shape.definition(index)).collect();
        let all: Map<String, Value> = (0..self.steps.len())
            .map(|step| (name(step), json!(format!("${{steps.s{step}.output}}"))))
            .collect();
        json!({"name": "model", "steps": steps, "output": all})
    }

    /// From now on every attempt works.
    pub(super) fn heal(&mut self) {
        self.healed = true;
    }

    /// How an attempt of a task ends; what takes something back works.
    pub(super) fn result_of(&self, task: &str, attempt: u32) -> Result<Value, String> {
        if task.starts_with("undo") {
            return Ok(Value::Null);
        }
        let (step, item) = parts(task);
        let fails = self.steps[step].fails_of(item);
        if !self.healed && attempt <= fails {
            Err(format!("attempt {attempt}"))
        } else {
            Ok(value(step, item))
        }
    }

    pub(super) fn can_undo(&self, step: u32) -> bool {
        self.steps[step as usize].undo
    }

    /// Whether the step that a run failed with wants the others taken back.
    pub(super) fn compensates(&self, message: &str) -> bool {
        let step = message.trim_start_matches("step s");
        let digits = step.find(|c: char| !c.is_ascii_digit()).unwrap_or(step.len());
        self.steps[step[..digits].parse::<usize>().unwrap()].on_failure == "compensate"
    }

    /// How the run ends.
    pub(super) fn outcome(&self) -> Ended {
        let mut outputs: BTreeMap<usize, Value> = BTreeMap::new();
        let mut fatal = BTreeSet::new();
        for (index, shape) in self.steps.iter().enumerate() {
            if shape.needs.iter().any(|need| !outputs.contains_key(need)) {
                // Something that it needs ends the run.
                continue;
            }
            if shape.picky && !is_odd(&outputs[&shape.needs[0]]) {
                outputs.insert(index, Value::Null);
                continue;
            }
            match shape.output(index) {
                Some(output) => {
                    outputs.insert(index, output);
                }
                None => {
                    fatal.insert(name(index));
                }
            }
        }
        if !fatal.is_empty() {
            return Ended::Failed(fatal);
        }
        Ended::Completed(outputs.into_iter().map(|(step, output)| (name(step), output)).collect())
    }
}

impl Shape {
    fn definition(&self, index: usize) -> Value {
        let needs: Vec<String> = self.needs.iter().map(|need| name(*need)).collect();
        let mut step = json!({"id": name(index), "needs": needs, "on_failure": self.on_failure});
        if self.waits {
            step["wait"] = json!({"seconds": 1 + index});
        } else {
            step["tool"] = json!("t");
            step["input"] = json!({"n": index});
            step["retry"] = json!({"max_attempts": self.tries, "backoff_s": 1});
        }
        if self.reads {
            step["input"]["read"] = json!(format!("${{steps.{}.output}}", name(self.needs[0])));
        }
        if let Some(items) = self.items {
            step["for_each"] = json!((0..items).collect::<Vec<_>>());
        }
        if let Some(max) = self.max_parallel {
            step["max_parallel"] = json!(max);
        }
        if self.undo {
            step["compensate"] =
                json!({"tool": "undo", "input": {"of": format!("${{steps.s{index}.output}}")}});
        }
        if self.picky {
            let first = name(self.needs[0]);
            step["when"] =
                json!(format!("type(steps.{first}.output) == int && steps.{first}.output % 2 == 1"));
        }
        step
    }

    fn fails_of(&self, item: Option<u32>) -> u32 {
        self.fails[item.unwrap_or(0) as usize % self.fails.len()]
    }

    /// What the step gives; none if the run fails with it.
    fn output(&self, index: usize) -> Option<Value> {
        if self.waits {
            return Some(Value::Null);
        }
        let unit = |item: Option<u32>| {
            let works = self.fails_of(item) < self.tries;
            let goes_on = self.on_failure == "continue";
            if works { Some(value(index, item)) } else { goes_on.then_some(Value::Null) }
        };
        match self.items {
            None => unit(None),
            Some(items) => {
                (0..items).map(|item| unit(Some(item))).collect::<Option<Vec<_>>>().map(Value::Array)
            }
        }
    }
}

/// What a unit gives.
fn value(step: usize, item: Option<u32>) -> Value {
    match item {
        Some(item) => json!([step, item]),
        None => json!(step),
    }
}

fn is_odd(output: &Value) -> bool {
    output.as_u64().is_some_and(|number| number % 2 == 1)
}

/// Step and item of `s3` or `s3/2`.
fn parts(task: &str) -> (usize, Option<u32>) {
    let (step, item) = match task.split_once('/') {
        Some((step, item)) => (step, Some(item.parse().unwrap())),
        None => (task, None),
    };
    (step.trim_start_matches('s').parse().unwrap(), item)
}
