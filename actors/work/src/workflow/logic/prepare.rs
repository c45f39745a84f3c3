//! Evaluations are done outside: this gathers which documents they read.

use super::io::{Effect, FlightId, Prepare, StepDoc, Wanted};
use super::live::{Live, WHOLE};
use super::run::{Before, Done, Run};
use super::{Coordinator, Turn};
use crate::workflow::definition::{Action, OutputRule, StepIx, Wait};
use crate::workflow::expression::Needs;
use crate::workflow::logic::doc::Doc;
use crate::workflow::records::Unit;
use meshwork_proto::workflow::StepState;
use meshwork_proto::{ErrorCode, MeshError, RunId};
use std::sync::Arc;

impl Coordinator {
    /// Has something evaluated for a flight.
    pub(super) fn prepare(&mut self, turn: &mut Turn<'_>, flight: FlightId, wanted: Wanted) {
        let Some((id, unit)) = self.flights.get(&flight).map(|flight| (flight.run, flight.unit)) else {
            return;
        };
        let Some(live) = self.runs.get(&id) else { return };
        let run = &live.run;
        let needs = needs_of(live, unit, &wanted);
        let mut steps = Vec::with_capacity(needs.steps.len());
        for step in &needs.steps {
            if let Some(outcome) = outcome(live, unit, *step, &wanted) {
                steps.push((*step, self.at_hand_of(id, outcome)));
            }
        }
        let list = needs.item.then(|| match before(run, unit, &wanted) {
            Some(before) => before.items.clone(),
            None => run.step(unit.step)?.items.as_ref().map(|items| items.list.clone()),
        });
        let room = u64::from(self.options.max_items).saturating_sub(match wanted {
            Wanted::Items => run.total_items(),
            _ => 0,
        });
        let pure = self.pure_scope(id, unit).filter(|_| wanted == Wanted::Input).map(Box::new);
        let prepare = Prepare {
            flight,
            run: id,
            workflow: Arc::clone(&run.workflow),
            unit,
            wanted,
            inputs: needs.inputs.then(|| run.inputs.clone()),
            steps,
            items: list.flatten().map(|list| self.at_hand(id, list)),
            created: run.created,
            room,
            max_items: self.options.max_items,
            pure,
        };
        turn.out.push(Effect::Prepare(Box::new(prepare)));
    }

    /// A document that is not written yet, from memory.
    pub(super) fn at_hand(&self, id: RunId, doc: Doc) -> Doc {
        match doc {
            Doc::Event { seq, .. } => match self.unwritten.get(&(id, seq)) {
                Some(json) => Doc::Inline(json.clone()),
                None => doc,
            },
            doc => doc,
        }
    }

    fn at_hand_of(&self, id: RunId, outcome: StepDoc) -> StepDoc {
        match outcome {
            StepDoc::Output(doc) => StepDoc::Output(self.at_hand(id, doc)),
            other => other,
        }
    }
}

/// What an evaluation reads.
fn needs_of(live: &Live, unit: Unit, wanted: &Wanted) -> Needs {
    let mut needs = Needs::default();
    if unit == WHOLE {
        if let OutputRule::Template(template) = &live.run.workflow.output {
            needs.extend(template.needs());
        } else if let OutputRule::Steps(steps) = &live.run.workflow.output {
            needs.steps.extend(steps);
        }
        return needs;
    }
    let Some(definition) = live.run.definition(unit.step) else { return needs };
    if let Wanted::Gather(_) = wanted {
        return needs;
    }
    if let Wanted::Undo = wanted {
        if let Some(compensate) = &definition.compensate {
            needs.extend(compensate.input.needs());
        }
        return needs;
    }
    if let Some(when) = &definition.when
        && (definition.for_each.is_none() || when.needs().item == (*wanted == Wanted::Input))
    {
        needs.extend(when.needs());
    }
    match (wanted, &definition.action) {
        (Wanted::Items, _) => {
            if let Some(for_each) = &definition.for_each {
                needs.extend(for_each.items.needs());
            }
        }
        (Wanted::Input, Action::Task(task)) => needs.extend(task.input.needs()),
        (Wanted::Input, Action::Workflow(sub)) => needs.extend(sub.inputs.needs()),
        (Wanted::Input, Action::Wait(Wait::Until(template))) => needs.extend(template.needs()),
        _ => {}
    }
    needs
}

/// What the unit that is taken back next had before its step began anew, if it did.
fn before<'a>(run: &'a Run, unit: Unit, wanted: &Wanted) -> Option<&'a Before> {
    let next = run.undo.last().filter(|done| *wanted == Wanted::Undo && done.unit == unit)?;
    next.before.as_deref()
}

/// What became of a step, as the unit sees it.
fn outcome(live: &Live, unit: Unit, step: StepIx, wanted: &Wanted) -> Option<StepDoc> {
    let own = step == unit.step;
    if let Some(before) = before(&live.run, unit, wanted).filter(|_| own) {
        return Some(before.output.clone().map_or(StepDoc::Nothing, StepDoc::Output));
    }
    let run = live.run.step(step)?;
    if *wanted == Wanted::Undo
        && own
        && let Some(item) = unit.item
    {
        // What is taken back is the item: its own result is meant.
        let seq = run.items.as_ref()?.end(item)?;
        return Some(StepDoc::Output(Done::item_result(seq)));
    }
    Some(match run.state {
        StepState::Completed | StepState::Compensated => {
            run.output.clone().map_or(StepDoc::Nothing, StepDoc::Output)
        }
        StepState::Failed => {
            let error = run.tries.error.as_deref().cloned();
            StepDoc::Failed(error.unwrap_or_else(|| MeshError::new(ErrorCode::Internal, "the step failed")))
        }
        _ => StepDoc::Nothing,
    })
}
