//! What happened in a run, for people and programs: each event as a sentence and as JSON.

mod detail;
mod text;

use super::{Answer, Coordinator, Found, ReadPlan, Reading, Ticket, Turn};
use crate::workflow::definition::Workflow;
use crate::workflow::records::{EventRecord, event_range, read, read_event_key};
use bytes::Bytes;
use meshwork_proto::Json;
use meshwork_proto::store::StoreError;
use meshwork_proto::workflow::{GetHistory, HistoryEntry, HistoryPage};
use std::sync::Arc;

/// Entries in a page when no limit is given.
const DEFAULT_LIMIT: u32 = 100;
/// Most entries in a page.
const MAX_LIMIT: u32 = 1000;
/// A page ends when the documents in it pass this size: it has to fit into a frame.
const PAGE_BYTES: usize = 1024 * 1024;

/// A history that is read.
#[derive(Debug)]
pub(crate) struct HistoryJob {
    ticket: Ticket,
    workflow: Arc<Workflow>,
    limit: u32,
}

impl Coordinator {
    pub(super) fn history(&mut self, turn: &mut Turn<'_>, ticket: Ticket, get: GetHistory) {
        let GetHistory { id, after, limit } = get;
        let limit = if limit == 0 { DEFAULT_LIMIT } else { limit.min(MAX_LIMIT) };
        let Some(workflow) = self.runs.get(&id).map(|live| Arc::clone(&live.run.workflow)) else { return };
        let scan = event_range(id, after.unwrap_or(0), limit);
        let job = HistoryJob { ticket, workflow, limit };
        self.read(turn, ReadPlan::Range(scan), Reading::History(Box::new(job)));
    }

    pub(super) fn on_history(
        &mut self,
        turn: &mut Turn<'_>,
        job: HistoryJob,
        result: Result<Found, StoreError>,
    ) {
        let HistoryJob { ticket, workflow, limit } = job;
        match result.and_then(|found| page(&workflow, &found.entries(), limit)) {
            Ok(page) => turn.answer(ticket, Answer::History(page)),
            Err(error) => turn.refuse(ticket, error),
        }
    }
}

fn page(workflow: &Workflow, entries: &[(Bytes, Bytes)], limit: u32) -> Result<HistoryPage, StoreError> {
    let mut page = HistoryPage { entries: Vec::with_capacity(entries.len()), next: None };
    let mut bytes = 0;
    for (key, value) in entries {
        let Some(seq) = read_event_key(key) else { continue };
        let entry = entry(workflow, seq, &read::<EventRecord>(value)?);
        bytes += entry.detail.len() + entry.text.len();
        if bytes > PAGE_BYTES && !page.entries.is_empty() {
            page.next = page.entries.last().map(|entry| entry.seq);
            return Ok(page);
        }
        page.entries.push(entry);
    }
    if entries.len() >= limit as usize {
        page.next = page.entries.last().map(|entry| entry.seq);
    }
    Ok(page)
}

fn entry(workflow: &Workflow, seq: u64, record: &EventRecord) -> HistoryEntry {
    let unit = record.event.unit();
    let step = unit.and_then(|unit| workflow.steps.get(unit.step as usize)).map(|step| step.id.clone());
    HistoryEntry {
        seq,
        at: record.at,
        kind: record.event.kind().to_owned(),
        item: unit.and_then(|unit| unit.item),
        text: text::of(workflow, step.as_deref(), &record.event),
        step,
        detail: Json::from_value(&detail::of(record)),
    }
}
