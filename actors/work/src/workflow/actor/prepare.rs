//! From what the logic wants evaluated to what it gets: documents are brought, small evaluations are done at once, large
//! ones on a thread of their own, and large results become artifacts.

use super::WorkflowActor;
use super::documents::{Bundle, Missing};
use super::stored::{DOCUMENTS, Reader};
use super::tools::Tools;
use crate::workflow::definition::{Action, InputCheck, TaskAction};
use crate::workflow::evaluate::{Documents, Evaluated, Outcome, Trouble, evaluate};
use crate::workflow::expression::Budget;
use crate::workflow::logic::doc::Doc;
use crate::workflow::logic::{FlightId, Prepare, Prepared, StepDoc, Wanted, null};
use crate::workflow::records::{PureRecord, pure_key, read_some};
use bytes::{BufMut, Bytes, BytesMut};
use meshwork_kit::Ctx;
use meshwork_proto::artifact::ArtifactError;
use meshwork_proto::store::{Family, ReadKey, StoreError};
use meshwork_proto::task::{INLINE_LIMIT, Payload};
use meshwork_proto::{Cid, ErrorCode, MeshError};
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// Documents of which an evaluation on the actor's own thread may read so many bytes together.
const INLINE_BYTES: u64 = 32 * 1024;

impl WorkflowActor {
    /// Evaluates; the result if it is there at once, otherwise it comes in a turn of its own.
    pub(super) fn prepare(
        &mut self,
        prepare: Prepare,
        ctx: &mut Ctx<'_, Self>,
    ) -> Option<(FlightId, Prepared)> {
        let flight = prepare.flight;
        if let Wanted::Gather(ends) = &prepare.wanted {
            let (reader, run, ends) = (self.reader(ctx), prepare.run, ends.clone());
            let gathering = async move {
                let gathered = gather(&reader, run, &ends).await;
                Ok(gathered.unwrap_or_else(|error| unread(error, "the result of an item")))
            };
            self.later(flight, gathering, ctx);
            return None;
        }
        let brought = Brought::default();
        match self.at_hand(&prepare, &brought) {
            Some(documents) => self.evaluate(prepare, documents, brought, ctx),
            None => {
                self.bring(prepare, ctx);
                None
            }
        }
    }

    fn evaluate(
        &mut self,
        prepare: Prepare,
        documents: Documents,
        brought: Brought,
        ctx: &mut Ctx<'_, Self>,
    ) -> Option<(FlightId, Prepared)> {
        let flight = prepare.flight;
        if size_of(&prepare) > INLINE_BYTES {
            self.evaluate_aside(prepare, documents, brought, ctx);
            return None;
        }
        let began = Instant::now();
        let max = self.shared.options.max_output_bytes;
        let result = evaluate(&prepare, &documents, Budget::inline(), max);
        self.shared.metrics.evaluated(began.elapsed());
        match result {
            Err(Trouble::TooMuch) => self.evaluate_aside(prepare, documents, brought, ctx),
            Err(Trouble::Failed(error)) => return Some((flight, Prepared::Failed(error))),
            Ok(evaluated) => match at_once(&prepare, evaluated) {
                Ok(prepared) => return Some((flight, prepared)),
                Err(evaluated) => self.keep_and_go_on(prepare, evaluated, ctx),
            },
        }
        None
    }

    /// What an evaluation reads, if all of it is in memory or was brought for it.
    fn at_hand(&self, prepare: &Prepare, brought: &Brought) -> Option<Documents> {
        let get = |doc: &Doc| {
            let found = brought.bundle.values.iter().find(|(known, _)| known == doc);
            found.map(|(_, value)| Arc::clone(value)).or_else(|| self.documents.get(prepare.run, doc))
        };
        let mut documents = Documents::default();
        if let Some(inputs) = &prepare.inputs {
            documents.inputs = Some(get(inputs)?);
        }
        for (step, doc) in &prepare.steps {
            let outcome = match doc {
                StepDoc::Output(doc) => Outcome::Output(get(doc)?),
                StepDoc::Nothing => Outcome::Nothing,
                StepDoc::Failed(error) => Outcome::Failed(error.clone()),
            };
            documents.steps.insert(*step, outcome);
        }
        if let Some(items) = &prepare.items {
            documents.items = Some(get(items)?);
        }
        if let Some(task) = task_of(prepare) {
            documents.tool = match &brought.tool {
                Some(tool) => tool.clone(),
                None => self.tools.check_of(&task.tool)?,
            };
        }
        Some(documents)
    }

    /// Brings what is not in memory, and then evaluates.
    fn bring(&mut self, prepare: Prepare, ctx: &mut Ctx<'_, Self>) {
        let reader = self.reader(ctx);
        let (cache, tools) = (Rc::clone(&self.documents), Rc::clone(&self.tools));
        let docs: Vec<Doc> =
            docs_of(&prepare).filter(|doc| !matches!(doc, Doc::Inline(_))).cloned().collect();
        let tool = task_of(&prepare).map(|task| task.tool.clone());
        let run = prepare.run;
        let bring = async move {
            let tool = match tool {
                Some(tool) => Some(match tools.check_of(&tool) {
                    Some(known) => known,
                    None => shape_of(&reader, &tools, tool).await,
                }),
                None => None,
            };
            let bundle = cache.bring(&reader, run, docs).await?;
            Ok::<_, Missing>(Brought { bundle, tool })
        };
        ctx.spawn_then(bring, move |actor, brought, ctx| {
            let flight = prepare.flight;
            let prepared = match brought {
                Err(Missing { doc, error }) => {
                    let what = name_of(&prepare, &doc);
                    Some((flight, unread(error, &what)))
                }
                Ok(brought) => match actor.at_hand(&prepare, &brought) {
                    Some(documents) => actor.evaluate(prepare, documents, brought, ctx),
                    None => {
                        let message = "not all documents of an evaluation were brought";
                        Some((flight, Prepared::Unavailable(MeshError::new(ErrorCode::Internal, message))))
                    }
                },
            };
            if let Some((flight, prepared)) = prepared {
                actor.give(flight, prepared, ctx);
            }
        });
    }

    /// Evaluates on a thread for work that takes long.
    fn evaluate_aside(
        &mut self,
        prepare: Prepare,
        documents: Documents,
        brought: Brought,
        ctx: &mut Ctx<'_, Self>,
    ) {
        let max = self.shared.options.max_output_bytes;
        let evaluated = move || {
            let began = Instant::now();
            let result = evaluate(&prepare, &documents, Budget::full(), max);
            (prepare, result, began.elapsed())
        };
        ctx.spawn_blocking_then(evaluated, move |actor, (prepare, result, took), ctx| {
            // Until now it was in use: its memory counts as such.
            drop(brought);
            actor.shared.metrics.evaluated(took);
            match result {
                Ok(evaluated) => actor.keep_and_go_on(prepare, evaluated, ctx),
                Err(Trouble::Failed(error)) => actor.give(prepare.flight, Prepared::Failed(error), ctx),
                Err(Trouble::TooMuch) => {
                    let message =
                        "expression takes more work or memory than it may: let a step with a tool compute it";
                    let error = MeshError::new(ErrorCode::Expression, message);
                    actor.give(prepare.flight, Prepared::Failed(error), ctx);
                }
            }
        });
    }

    /// Looks for an earlier result of a pure step, and puts large documents into the artifact store.
    fn keep_and_go_on(&mut self, prepare: Prepare, evaluated: Evaluated, ctx: &mut Ctx<'_, Self>) {
        let reader = self.reader(ctx);
        let (flight, now) = (prepare.flight, ctx.now());
        let going_on = async move {
            if let Some(digest) = pure_digest(&prepare, &evaluated)
                && let Some(cached) = earlier(&reader, &digest, now).await?
            {
                return Ok(cached);
            }
            keep(&reader, evaluated).await
        };
        self.later(flight, going_on, ctx);
    }

    fn later(
        &mut self,
        flight: FlightId,
        prepared: impl Future<Output = Result<Prepared, MeshError>> + 'static,
        ctx: &mut Ctx<'_, Self>,
    ) {
        ctx.spawn_then(prepared, move |actor, prepared, ctx| {
            let prepared = prepared.unwrap_or_else(Prepared::Unavailable);
            actor.give(flight, prepared, ctx);
        });
    }

    fn give(&mut self, flight: FlightId, prepared: Prepared, ctx: &mut Ctx<'_, Self>) {
        self.step(ctx, |state, turn| state.prepared(turn, flight, prepared));
    }
}

/// What was brought for one evaluation.
#[derive(Debug, Default)]
struct Brought {
    bundle: Rc<Bundle>,
    /// What the tool takes, if that was asked for.
    tool: Option<Option<Arc<InputCheck>>>,
}

/// What becomes of an evaluation whose document was not brought: one that is too large, damaged or gone never comes,
/// everything else is tried again.
fn unread(error: MeshError, what: &str) -> Prepared {
    let lost = matches!(error.code, ErrorCode::TooLarge | ErrorCode::Corrupt | ErrorCode::UnknownArtifact);
    let told = MeshError::new(error.code, format!("{what} cannot be read: {}", error.message));
    if lost { Prepared::Failed(told) } else { Prepared::Unavailable(told) }
}

/// A document in words.
fn name_of(prepare: &Prepare, doc: &Doc) -> String {
    if prepare.inputs.as_ref() == Some(doc) {
        return "the inputs of the run".to_owned();
    }
    let step =
        prepare.steps.iter().find(|(_, known)| matches!(known, StepDoc::Output(known) if known == doc));
    match step.and_then(|(step, _)| prepare.workflow.steps.get(*step as usize)) {
        Some(step) => format!("the result of step {}", step.id),
        None => "the list of the items".to_owned(),
    }
}

/// What a tool takes. Not knowing it is no reason to wait: whoever runs it checks too.
async fn shape_of(reader: &Reader, tools: &Tools, tool: String) -> Option<Arc<InputCheck>> {
    let described = tools.describe(&reader.shared.deps.describe_tools, [tool.clone()].into()).await;
    if let Err(error) = described {
        tracing::debug!(tool, "the gateway does not say what the tool takes: {error}");
    }
    tools.check_of(&tool).flatten()
}

/// What needs neither store nor artifacts.
fn at_once(prepare: &Prepare, evaluated: Evaluated) -> Result<Prepared, Evaluated> {
    if pure_digest(prepare, &evaluated).is_some() {
        return Err(evaluated);
    }
    let small = |bytes: &Bytes| bytes.len() <= INLINE_LIMIT;
    Ok(match evaluated {
        Evaluated::Skip => Prepared::Skip,
        Evaluated::Wait(until) => Prepared::Wait { until },
        Evaluated::Items(count, items) if small(&items) => Prepared::Items { count, items: inline(items) },
        Evaluated::Input(input, input_cid) if small(&input) => {
            Prepared::Input { input: inline(input), input_cid }
        }
        Evaluated::Output(output, output_cid) if small(&output) => {
            Prepared::Output { output: inline(output), output_cid }
        }
        large => return Err(large),
    })
}

async fn keep(reader: &Reader, evaluated: Evaluated) -> Result<Prepared, MeshError> {
    let kept = match evaluated {
        Evaluated::Skip => Ok(Prepared::Skip),
        Evaluated::Wait(until) => Ok(Prepared::Wait { until }),
        Evaluated::Items(count, items) => {
            reader.keep(items).await.map(|items| Prepared::Items { count, items })
        }
        Evaluated::Input(input, input_cid) => {
            reader.keep(input).await.map(|input| Prepared::Input { input, input_cid })
        }
        Evaluated::Output(output, output_cid) => {
            reader.keep(output).await.map(|output| Prepared::Output { output, output_cid })
        }
    };
    settled(kept)
}

/// What is too large for the store never fits; everything else is tried again.
fn settled(kept: Result<Prepared, ArtifactError>) -> Result<Prepared, MeshError> {
    match kept {
        Err(error @ ArtifactError::TooLarge { .. }) => Ok(Prepared::Failed(MeshError::from_coded(&error))),
        other => other.map_err(|error| MeshError::from_coded(&error)),
    }
}

/// Under what the result of a pure step is kept.
fn pure_digest(prepare: &Prepare, evaluated: &Evaluated) -> Option<[u8; 32]> {
    let (Evaluated::Input(_, cid), Some(scope)) = (evaluated, &prepare.pure) else { return None };
    task_of(prepare).map(|task| scope.digest(task, cid))
}

async fn earlier(
    reader: &Reader,
    digest: &[u8; 32],
    now: meshwork_proto::UnixMillis,
) -> Result<Option<Prepared>, MeshError> {
    let key = ReadKey { family: Family::Workflows, key: pure_key(digest) };
    let value = reader.shared.deps.read_key.ask(key, super::store::READ_WITHIN).await;
    let value = value.map_err(|error| super::stored::unasked(&error))?;
    let record = match value.and_then(|value| read_some::<PureRecord>(value.as_ref())) {
        Ok(record) => record,
        // It is made again, and written over.
        Err(StoreError::Corrupt(problem)) => {
            tracing::warn!("the result of a pure step is damaged and not used: {problem}");
            None
        }
        Err(error) => return Err(MeshError::from_coded(&error)),
    };
    let fresh = record.filter(|record| record.at.after(reader.shared.options.pure_retention()) > now);
    Ok(fresh.map(|PureRecord { output, output_cid, .. }| Prepared::Cached { output, output_cid }))
}

/// Puts the results of items together, in their order.
async fn gather(reader: &Reader, run: meshwork_proto::RunId, ends: &[u64]) -> Result<Prepared, MeshError> {
    let max = reader.shared.options.max_output_bytes;
    let mut list = BytesMut::new();
    list.put_u8(b'[');
    for (place, some) in ends.chunks(DOCUMENTS).enumerate() {
        let known: Vec<u64> = some.iter().copied().filter(|seq| *seq > 0).collect();
        let mut payloads = reader.event_payloads(run, &known).await?.into_iter();
        for (offset, seq) in some.iter().enumerate() {
            if place + offset > 0 {
                list.put_u8(b',');
            }
            let payload = if *seq > 0 { payloads.next().flatten() } else { None };
            let payload = payload.unwrap_or_else(|| null().0);
            let document =
                reader.payload(&payload, max).await.map_err(|error| MeshError::from_coded(&error))?;
            list.put_slice(document.bytes());
            if list.len() as u64 > max {
                let message =
                    format!("results of the items have more than {max} bytes together, which is the limit");
                return Ok(Prepared::Failed(MeshError::new(ErrorCode::TooLarge, message)));
            }
        }
    }
    list.put_u8(b']');
    let list = list.freeze();
    let output_cid = Cid::of(&list);
    settled(reader.keep(list).await.map(|output| Prepared::Output { output, output_cid }))
}

fn inline(bytes: Bytes) -> Payload {
    Payload::Inline(meshwork_proto::Json::from_checked(bytes))
}

/// The task whose input is evaluated.
fn task_of(prepare: &Prepare) -> Option<&TaskAction> {
    let step = prepare.workflow.steps.get(prepare.unit.step as usize)?;
    match (&prepare.wanted, &step.action) {
        (Wanted::Undo, _) => step.compensate.as_ref(),
        (Wanted::Input, Action::Task(task)) => Some(task),
        _ => None,
    }
}

fn docs_of(prepare: &Prepare) -> impl Iterator<Item = &Doc> {
    let steps = prepare.steps.iter().filter_map(|(_, doc)| match doc {
        StepDoc::Output(doc) => Some(doc),
        StepDoc::Nothing | StepDoc::Failed(_) => None,
    });
    prepare.inputs.iter().chain(steps).chain(&prepare.items)
}

/// Bytes that an evaluation reads; of a list of items only one counts.
fn size_of(prepare: &Prepare) -> u64 {
    let list = prepare.items.as_ref().map_or(0, Doc::len);
    docs_of(prepare).map(Doc::len).sum::<u64>().saturating_sub(list)
}
