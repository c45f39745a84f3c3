//! What the actor does outside of the state machine: reading definitions, checking submissions, evaluating.

use super::{Bench, canonical};
use crate::workflow::definition::{Action, Limits, Workflow};
use crate::workflow::evaluate::{Documents, Evaluated, Outcome, Trouble, evaluate};
use crate::workflow::expression::Budget;
use crate::workflow::logic::doc::Doc;
use crate::workflow::logic::{Checked, Prepare, Prepared, StepDoc, Stored, SubSubmit, Wanted};
use crate::workflow::records::{HeaderRecord, PureRecord, pure_key, read};
use meshwork_proto::workflow::WorkflowError;
use meshwork_proto::{Cid, Json, RunId};
use serde_json::Value;
use std::sync::Arc;

impl Bench {
    pub(crate) fn stored(&mut self, id: RunId) -> Option<Stored> {
        let header = self.disk.header(id)?;
        let workflow = self.compile(&header);
        self.disk.stored(id, |_| workflow)
    }

    fn compile(&mut self, header: &HeaderRecord) -> Arc<Workflow> {
        let document = self.disk.payload(&header.definition);
        self.workflow(&document).unwrap()
    }

    pub(crate) fn workflow(&mut self, document: &Json) -> Result<Arc<Workflow>, WorkflowError> {
        let cid = Cid::of(document.bytes());
        if let Some(workflow) = self.definitions.get(&cid) {
            return Ok(Arc::clone(workflow));
        }
        let parsed =
            Workflow::parse(&document.to_value(), &Limits::default()).map_err(WorkflowError::Invalid)?;
        let workflow = Arc::new(parsed);
        self.definitions.insert(cid, Arc::clone(&workflow));
        Ok(workflow)
    }

    pub(crate) fn check(&mut self, what: &SubSubmit) -> Result<Checked, WorkflowError> {
        let document = self.disk.payload(&what.submit.definition);
        let workflow = self.workflow(&document)?;
        let given = match what.read {
            Some((run, seq)) => self.disk.document(run, &Doc::Event { seq, len: 0 }),
            None => self.disk.payload(&what.submit.inputs).to_value(),
        };
        let filled = workflow.fill_inputs(&given).map_err(WorkflowError::Invalid)?;
        let bytes = canonical(&filled);
        let inputs_cid = Cid::of(bytes.bytes());
        Ok(Checked { workflow, inputs: self.disk.keep(bytes.bytes().clone()), inputs_cid })
    }

    pub(crate) fn prepare(&mut self, prepare: &Prepare) -> Prepared {
        if let Wanted::Gather(ends) = &prepare.wanted {
            let results = ends.iter().map(|seq| match seq {
                0 => Value::Null,
                seq => self.disk.document(prepare.run, &Doc::Event { seq: *seq, len: 0 }),
            });
            let list = canonical(&Value::Array(results.collect()));
            let output_cid = Cid::of(list.bytes());
            return Prepared::Output { output: self.disk.keep(list.bytes().clone()), output_cid };
        }
        let value = |doc: &Doc| Arc::new(self.disk.document(prepare.run, doc));
        let mut documents = Documents {
            inputs: prepare.inputs.as_ref().map(value),
            items: prepare.items.as_ref().map(value),
            ..Documents::default()
        };
        for (step, doc) in &prepare.steps {
            let outcome = match doc {
                StepDoc::Output(doc) => Outcome::Output(value(doc)),
                StepDoc::Nothing => Outcome::Nothing,
                StepDoc::Failed(error) => Outcome::Failed(error.clone()),
            };
            documents.steps.insert(*step, outcome);
        }
        match evaluate(prepare, &documents, Budget::full(), self.options.max_output_bytes) {
            Ok(evaluated) => self.prepared(prepare, evaluated),
            Err(Trouble::Failed(error)) => Prepared::Failed(error),
            Err(Trouble::TooMuch) => panic!("stories evaluate little"),
        }
    }

    fn prepared(&mut self, prepare: &Prepare, evaluated: Evaluated) -> Prepared {
        match evaluated {
            Evaluated::Skip => Prepared::Skip,
            Evaluated::Wait(until) => Prepared::Wait { until },
            Evaluated::Items(count, items) => Prepared::Items { count, items: self.disk.keep(items) },
            Evaluated::Output(output, output_cid) => {
                Prepared::Output { output: self.disk.keep(output), output_cid }
            }
            Evaluated::Input(input, input_cid) => {
                let step = &prepare.workflow.steps[prepare.unit.step as usize];
                if let Action::Task(task) = &step.action
                    && let Some(scope) = &prepare.pure
                    && let Some(value) = self.disk.get(&pure_key(&scope.digest(task, &input_cid)))
                {
                    let PureRecord { output, output_cid, .. } = read(&value).unwrap();
                    return Prepared::Cached { output, output_cid };
                }
                Prepared::Input { input: self.disk.keep(input), input_cid }
            }
        }
    }
}
