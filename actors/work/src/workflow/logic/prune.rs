//! Forgetting finished runs when they were kept long enough, several in a round that is bounded by its changes; and
//! results of pure steps.

use super::{After, Coordinator, Found, ReadPlan, Reading, Turn};
use crate::workflow::records::{
    Batch, EventRecord, HeaderRecord, PureRecord, SummaryRecord, event_key, event_range, finish_key,
    finish_range, header_key, holder, key_key, pure_age_key, pure_age_range, pure_holder, pure_key, read,
    read_event_key, read_finish_key, read_pure_age_key, read_some, summary_key,
};
use bytes::Bytes;
use meshwork_proto::codec::Record;
use meshwork_proto::store::StoreError;
use meshwork_proto::task::Payload;
use meshwork_proto::{Cid, RunId, UnixMillis};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Runs that are looked at in one round.
const RUNS: u32 = 64;
/// Events read at a time.
const EVENTS: u32 = 500;
/// So many changes, and the next ones come when these are written.
const PER_ROUND: usize = 2000;
/// Results of pure steps looked at in one round.
const PURE: u32 = 500;
/// How often is looked at least, when nothing is due before.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often is looked at most, when something was left.
const LOOK_SOON: Duration = Duration::from_secs(1);

/// How far pruning is.
#[derive(Debug, Default)]
pub(crate) struct Prune {
    at: UnixMillis,
    busy: bool,
    /// The runs that are being forgotten: they are not there any more for anybody.
    runs: BTreeSet<RunId>,
    /// Those of them whose events are still there.
    left: VecDeque<Pruning>,
    /// What is forgotten in this round.
    batch: Batch,
}

/// A run that is being forgotten.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pruning {
    id: RunId,
    finished: UnixMillis,
}

/// The result of a pure step that is being forgotten.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PureAge {
    at: UnixMillis,
    digest: [u8; 32],
    /// The artifact that it holds.
    cid: Option<Cid>,
}

impl Prune {
    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        (!self.busy).then_some(self.at)
    }

    pub(super) fn is_at(&self, id: RunId) -> bool {
        self.runs.contains(&id)
    }

    /// What was forgotten is not in the store any more.
    pub(super) fn go_on(&mut self) {
        self.busy = false;
        self.runs = self.left.iter().map(|pruning| pruning.id).collect();
    }
}

impl Coordinator {
    pub(super) fn prune_if_due(&mut self, turn: &mut Turn<'_>) {
        if self.prune.busy || turn.now < self.prune.at {
            return;
        }
        self.prune.busy = true;
        if self.prune.left.is_empty() {
            self.read(turn, ReadPlan::Range(finish_range(RUNS)), Reading::PruneRuns);
        } else {
            self.prune_events(turn);
        }
    }

    pub(super) fn on_prune_runs(&mut self, turn: &mut Turn<'_>, result: Result<Found, StoreError>) {
        let entries = match result {
            Ok(found) => found.entries(),
            Err(error) => return self.prune_later(turn, &error),
        };
        let surplus = self.counts.kept().kept().saturating_sub(u64::from(self.options.max_finished));
        let retention = self.options.retention();
        let ends: Vec<_> = entries.iter().filter_map(|(key, _)| read_finish_key(key)).collect();
        let is_due =
            |place: u64, finished: UnixMillis| place < surplus || finished.after(retention) <= turn.now;
        let due: Vec<Pruning> = (0..)
            .zip(&ends)
            .filter(|(place, (finished, id))| is_due(*place, *finished) && self.may_prune(*id))
            .map(|(_, (finished, id))| Pruning { id: *id, finished: *finished })
            .collect();
        if due.is_empty() {
            let next = ends.first().map_or(UnixMillis(u64::MAX), |(finished, _)| finished.after(retention));
            self.prune.at = next.clamp(turn.now.after(LOOK_SOON), turn.now.after(LOOK_EVERY));
            return self.read(turn, ReadPlan::Range(pure_age_range(PURE)), Reading::PrunePure);
        }
        for Pruning { id, .. } in &due {
            self.prune.runs.insert(*id);
            self.forget_run(*id);
        }
        let keys = due.iter().flat_map(|due| [header_key(due.id), summary_key(due.id)]).collect();
        self.read(turn, ReadPlan::Keys(keys), Reading::PruneHeads(due));
    }

    /// Nobody reads it, and it has not been put back to work.
    fn may_prune(&self, id: RunId) -> bool {
        let idle = self.runs.get(&id).is_none_or(|live| {
            !live.run.is_active() && !live.ending && live.waiters.is_empty() && live.parked.is_empty()
        });
        // (What is being taken over may be here already, moved or finished: who asks is told so.)
        idle && !self.fetching.contains_key(&id) && !self.incoming.contains_key(&id)
    }

    pub(super) fn on_prune_heads(
        &mut self,
        turn: &mut Turn<'_>,
        due: Vec<Pruning>,
        result: Result<Found, StoreError>,
    ) {
        let found = match result {
            Ok(found) => found,
            Err(error) => return self.prune_later(turn, &error),
        };
        for (place, pruning) in (0..).step_by(2).zip(&due) {
            self.prune_head(pruning.id, found.value(place), found.value(place + 1));
        }
        self.prune.left.extend(due);
        self.prune_events(turn);
    }

    /// What a run holds beside its events.
    fn prune_head(&mut self, id: RunId, header: Option<&Bytes>, summary: Option<&Bytes>) {
        let batch = &mut self.prune.batch;
        // What cannot be read must not keep the others from being forgotten.
        if let Some(header) = read_or_none::<HeaderRecord>(id, header) {
            for payload in [&header.definition, &header.inputs] {
                unpin(batch, payload, id);
            }
            if let Some(key) = &header.key {
                batch.delete(key_key(header.submitter.as_ref(), header.parent.as_ref(), key));
            }
        }
        if let Some(summary) = read_or_none::<SummaryRecord>(id, summary) {
            let count = self.counts.kept_mut().of_mut(summary.state, summary.moved_to.is_some());
            *count = count.saturating_sub(1);
        }
        // From now on nobody finds it, whatever happens; the time it ended is the last to go.
        batch.delete(summary_key(id));
        batch.delete(header_key(id));
    }

    fn prune_events(&mut self, turn: &mut Turn<'_>) {
        match self.prune.left.front() {
            Some(pruning) if self.prune.batch.len() < PER_ROUND => {
                let (scan, pruning) = (event_range(pruning.id, 0, EVENTS), *pruning);
                self.read(turn, ReadPlan::Range(scan), Reading::PruneEvents(pruning));
            }
            _ => self.end_round(turn),
        }
    }

    /// What is forgotten leaves; the next look comes when it has been written.
    fn end_round(&mut self, turn: &Turn<'_>) {
        self.outgoing.batch.append(std::mem::take(&mut self.prune.batch));
        self.prune.at = turn.now;
        self.after(After::PruneMore);
    }

    pub(super) fn on_prune_events(
        &mut self,
        turn: &mut Turn<'_>,
        pruning: Pruning,
        result: Result<Found, StoreError>,
    ) {
        let Pruning { id, finished } = pruning;
        let entries = match result {
            Ok(found) => found.entries(),
            Err(error) => return self.prune_later(turn, &error),
        };
        let batch = &mut self.prune.batch;
        for (key, value) in &entries {
            // What cannot be read pins nothing that anybody could find.
            if let Ok(record) = read::<EventRecord>(value)
                && let Some(payload) = record.event.payload()
            {
                unpin(batch, payload, id);
            }
            if let Some(seq) = read_event_key(key) {
                batch.delete(event_key(id, seq));
            }
        }
        if entries.len() == EVENTS as usize {
            // These are still there for whoever reads now: the next ones come when they are gone.
            return self.end_round(turn);
        }
        batch.delete(finish_key(finished, id));
        self.totals.pruned += 1;
        self.prune.left.pop_front();
        self.prune_events(turn);
    }

    pub(super) fn on_prune_pure(&mut self, turn: &mut Turn<'_>, result: Result<Found, StoreError>) {
        let entries = match result {
            Ok(found) => found.entries(),
            Err(error) => return self.prune_later(turn, &error),
        };
        let surplus = self.counts.kept().pure.saturating_sub(u64::from(self.options.max_pure));
        let retention = self.options.pure_retention();
        let mut ages = Vec::new();
        for (place, (key, value)) in (0_u64..).zip(&entries) {
            let Some((at, digest)) = read_pure_age_key(key) else { continue };
            if place < surplus || at.after(retention) <= turn.now {
                ages.push(PureAge { at, digest, cid: Cid::from_bytes(value).ok() });
            }
        }
        if ages.is_empty() {
            self.prune.busy = false;
            return;
        }
        let keys = ages.iter().map(|age| pure_key(&age.digest)).collect();
        self.read(turn, ReadPlan::Keys(keys), Reading::PurePage(ages));
    }

    pub(super) fn on_pure_page(
        &mut self,
        turn: &mut Turn<'_>,
        ages: &[PureAge],
        result: Result<Found, StoreError>,
    ) {
        let found = match result {
            Ok(found) => found,
            Err(error) => return self.prune_later(turn, &error),
        };
        for (place, PureAge { at, digest, cid }) in ages.iter().enumerate() {
            let batch = &mut self.outgoing.batch;
            batch.delete(pure_age_key(*at, digest));
            // Made again since, if it is not as old as it was: then only what the older one held goes.
            let record = found.value(place).and_then(|value| read::<PureRecord>(value).ok());
            let newer = record.filter(|record| record.at != *at);
            if newer.is_none() {
                batch.delete(pure_key(digest));
            }
            let held = newer.and_then(|record| record.output.stored_cid().copied());
            if let Some(cid) = cid.filter(|cid| held != Some(*cid)) {
                batch.unpin(cid, pure_holder(digest));
            }
            let pure = &mut self.counts.kept_mut().pure;
            *pure = pure.saturating_sub(1);
        }
        self.prune.at = if ages.len() < PURE as usize { turn.now.after(LOOK_SOON) } else { turn.now };
        self.after(After::PruneMore);
    }

    fn prune_later(&mut self, turn: &Turn<'_>, error: &StoreError) {
        tracing::warn!(%error, "finished workflow runs could not be looked through for pruning; trying again in a minute");
        // What is left of these runs is found again by the time of their end.
        self.prune.left.clear();
        if self.prune.batch.is_empty() {
            self.prune.go_on();
        } else {
            self.end_round(turn);
        }
        self.prune.at = turn.now.after(LOOK_EVERY);
    }
}

fn read_or_none<R: Record>(id: RunId, value: Option<&Bytes>) -> Option<R> {
    read_some(value).unwrap_or_else(|error| {
        tracing::error!(%id, "a workflow run that is forgotten holds a damaged record: {error}");
        None
    })
}

fn unpin(batch: &mut Batch, payload: &Payload, id: RunId) {
    if let Some(cid) = payload.stored_cid() {
        batch.unpin(*cid, holder(id));
    }
}
