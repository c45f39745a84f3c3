//! The state machine against a naive model: random workflows, with steps that fail, are skipped, wait and are retried, whose
//! world is done in any order, with crashes between any two events. Whatever happens, the run ends as the model says,
//! which knows no events and no crashes; the events replay to the same state; and no step completes twice.

mod naive;

use super::bench::{Bench, Pending};
use crate::workflow::logic::rebuild;
use crate::workflow::records::{Event, How, Unit};
use meshwork_proto::task::TaskStatus;
use meshwork_proto::workflow::{RunAction, RunState, StepState};
use meshwork_proto::{ErrorCode, MeshError, RunId, TaskId};
use naive::{Ended, Plan, plans};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRng;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What drives one story.
struct Story {
    bench: Bench,
    plan: Plan,
    rng: ChaCha8Rng,
    id: RunId,
    crashes: u32,
}

impl Story {
    fn new(plan: Plan, seed: u64) -> Self {
        let mut bench = Bench::new();
        let id = bench.submit(&plan.definition(), &json!({}));
        bench.auto = false;
        Self { bench, plan, rng: ChaCha8Rng::seed_from_u64(seed), id, crashes: 0 }
    }

    /// One random thing happens.
    fn step(&mut self) {
        let bench = &mut self.bench;
        let queued = bench.queue.queued();
        match self.rng.random_range(0..100) {
            0..50 if !bench.pending.is_empty() => {
                let chosen = self.rng.random_range(0..bench.pending.len());
                bench.perform(chosen);
                bench.turn(|_, _| {});
            }
            50..85 if !queued.is_empty() => {
                let task = queued[self.rng.random_range(0..queued.len())];
                self.end(task);
            }
            85..88 if self.crashes < 6 => self.crash(),
            88..90 => {
                // The end of a task is not heard; it is asked after later.
                let ended = bench.pending.iter().position(|pending| matches!(pending, Pending::Ended(_)));
                if let Some(ended) = ended {
                    bench.pending.remove(ended);
                }
            }
            _ => {
                let ms = self.rng.random_range(1..20_000);
                bench.advance(ms);
            }
        }
        self.look();
    }

    /// A task ends as the plan says of this attempt.
    fn end(&mut self, task: TaskId) {
        let name = self.bench.step_of(task);
        let attempt = self.bench.queue.tasks[&task].spec.metadata.as_ref().unwrap().to_value();
        let attempt = u32::try_from(attempt["attempt"].as_u64().unwrap()).unwrap();
        let result = self.plan.result_of(&name, attempt);
        let result = result.map_err(|message| MeshError::new(ErrorCode::ToolFailed, message));
        self.bench.queue.finish(task, result, "worker");
        self.bench.tell(task);
    }

    /// The process ends: of the commits that were sent the first ones are on the disk.
    fn crash(&mut self) {
        self.crashes += 1;
        let kept = self.rng.random_range(0..=self.bench.pending.len());
        for _ in 0..kept {
            let commit =
                self.bench.pending.iter().position(|pending| matches!(pending, Pending::Commit { .. }));
            let Some(commit) = commit else { break };
            let Some(Pending::Commit { ops, .. }) = self.bench.pending.remove(commit) else { break };
            self.bench.disk.apply(&ops);
            self.bench.written += 1;
        }
        self.bench.restart();
    }

    /// What holds at every moment.
    fn look(&mut self) {
        assert!(self.bench.fatal.is_none());
        let events = self.bench.disk.events(self.id);
        let mut completed = BTreeSet::new();
        let mut finished = false;
        for (_, record) in &events {
            assert!(!finished, "a finished run does not change: {:?}", record.event);
            match &record.event {
                Event::Completed { unit, .. } => {
                    assert!(completed.insert(*unit), "{unit} completed twice");
                }
                Event::Finished { .. } => finished = true,
                _ => {}
            }
        }
    }

    /// Everything is done until the run has ended.
    fn finish(&mut self) {
        for _ in 0..2_000 {
            while !self.bench.pending.is_empty() {
                self.bench.perform(0);
                self.bench.turn(|_, _| {});
            }
            if let Some(task) = self.bench.queue.queued().first().copied() {
                self.end(task);
                continue;
            }
            if self.bench.disk.active().is_empty() {
                return;
            }
            self.bench.advance(40_000);
        }
        let history = self.bench.history(self.id);
        panic!("the run never ends: {history:#?}");
    }

    /// The end is that of the model.
    fn compare(&mut self) {
        self.bench.auto = true;
        let view = self.bench.get(self.id);
        match self.plan.outcome() {
            Ended::Completed(output) => {
                let error = &view.error;
                assert_eq!(
                    (view.state, error),
                    (RunState::Completed, &None),
                    "{:#?}",
                    self.bench.history(self.id)
                );
                assert_eq!(self.bench.output(self.id), output);
            }
            Ended::Failed(steps) => {
                assert_eq!(view.state, RunState::Failed, "{:#?}", self.bench.history(self.id));
                let message = &view.error.as_ref().unwrap().message;
                assert!(steps.iter().any(|step| message.starts_with(&format!("step {step}"))), "{message}");
                self.check_compensation(message);
            }
        }
        self.check_replay();
        let done = self.bench.queue.tasks.values().filter(|task| task.status == TaskStatus::Completed);
        assert!(done.clone().all(|task| task.done == 1));
    }

    /// What completed is taken back if the step that failed says so, each unit once, in reverse order, and nothing else.
    fn check_compensation(&self, message: &str) {
        let wanted = self.plan.compensates(message);
        let (mut completed, mut undone) = (Vec::new(), Vec::new());
        for (_, record) in self.bench.disk.events(self.id) {
            match record.event {
                Event::Completed { unit, how: How::Ran, .. } if self.plan.can_undo(unit.step) => {
                    completed.push(unit)
                }
                Event::Undone { unit, .. } => undone.push(unit),
                _ => {}
            }
        }
        completed.reverse();
        assert_eq!(undone, if wanted { completed } else { Vec::<Unit>::new() }, "{message}");
    }

    /// The events alone give the state that the coordinator has.
    fn check_replay(&mut self) {
        let stored = self.bench.stored(self.id).unwrap();
        let replayed = rebuild(self.id, &stored);
        let state = self.bench.state.peek(self.id).expect("it was read just now");
        assert_eq!(format!("{:?}", shown(&replayed)), format!("{:?}", shown(state)));
        let twice = rebuild(self.id, &stored);
        assert_eq!(format!("{:?}", shown(&replayed)), format!("{:?}", shown(&twice)));
    }
}

/// A run without what does not follow from its events.
fn shown(run: &crate::workflow::logic::Run) -> impl std::fmt::Debug + use<> {
    let steps = run.steps.clone();
    let undo = (run.undo.clone(), run.undoing.clone(), run.stuck.clone());
    let times = (run.started, run.updated, run.finished, run.timed_from);
    let end = (run.output.clone(), run.output_cid, run.error.clone());
    (
        run.phase.clone(),
        steps,
        undo,
        times,
        end,
        run.signals.clone(),
        (run.seq, run.epoch, run.round, run.unfinished),
    )
}

fn cases() -> u32 {
    // Ten times as many where the code is optimised.
    if cfg!(debug_assertions) { 150 } else { 1_500 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_run_ends_as_the_model_says_whatever_crashes_in_between(plan in plans(), seed in any::<u64>()) {
        let mut story = Story::new(plan, seed);
        for _ in 0..150 {
            story.step();
        }
        story.finish();
        story.compare();
    }

    #[test]
    fn a_cancelled_run_ends_with_all_that_it_runs_and_takes_back_what_completed(
        plan in plans(),
        seed in any::<u64>(),
        when in 0..60_usize,
        compensate in any::<bool>(),
    ) {
        let mut story = Story::new(plan, seed);
        for _ in 0..when {
            story.step();
        }
        let _ = story.bench.ask(crate::workflow::logic::Op::Control(meshwork_proto::workflow::ControlRun {
            id: story.id,
            action: RunAction::Cancel { reason: None, compensate },
        }));
        for _ in 0..60 {
            story.step();
        }
        story.finish();
        story.bench.auto = true;
        let view = story.bench.get(story.id);
        let unfinished = |state: StepState| !state.is_finished();
        prop_assert!(view.state.is_finished() && !view.steps.iter().any(|step| unfinished(step.state)));
        let cancelled = story.bench.disk.events(story.id).iter().any(|(_, record)| {
            matches!(&record.event, Event::Cancelling { .. })
        });
        if cancelled {
            prop_assert_eq!(view.state, RunState::Cancelled);
            let (mut completed, mut undone) = (BTreeMap::new(), BTreeSet::new());
            for (seq, record) in story.bench.disk.events(story.id) {
                match record.event {
                    Event::Completed { unit, how: How::Ran, .. } if story.plan.can_undo(unit.step) => {
                        completed.insert(unit, seq);
                    }
                    Event::Undone { unit, .. } => {
                        undone.insert(unit);
                    }
                    _ => {}
                }
            }
            let expected: BTreeSet<Unit> = if compensate { completed.into_keys().collect() } else { BTreeSet::new() };
            prop_assert_eq!(undone, expected);
        }
        story.check_replay();
    }

    #[test]
    fn a_run_that_failed_goes_on_until_it_completes(plan in plans(), seed in any::<u64>()) {
        let mut story = Story::new(plan, seed);
        for round in 0..40 {
            story.finish();
            story.bench.auto = true;
            let view = story.bench.get(story.id);
            if view.state == RunState::Completed {
                break;
            }
            prop_assert!(round < 39, "it never completes: {:#?}", story.bench.history(story.id));
            // From now on everything that is tried works.
            story.plan.heal();
            story.bench.control(story.id, RunAction::Retry { from: None }).unwrap();
            story.bench.auto = false;
            if story.rng.random_bool(0.5) {
                story.crash();
            }
        }
        story.bench.auto = true;
        story.check_replay();
    }
}

#[test]
fn plans_are_worth_looking_at() {
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(
        ProptestConfig::default(),
        TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let (mut completed, mut failed, mut steps) = (0, 0, 0);
    for _ in 0..300 {
        let plan = plans().new_tree(&mut runner).unwrap().current();
        steps += plan.steps.len();
        match plan.outcome() {
            Ended::Completed(_) => completed += 1,
            Ended::Failed(_) => failed += 1,
        }
    }
    assert!(
        completed > 60 && failed > 60 && steps > 1_000,
        "{completed} completed, {failed} failed, {steps} steps"
    );
}
