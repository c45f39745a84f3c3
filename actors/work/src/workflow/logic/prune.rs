//! Forgetting finished runs when they were kept long enough, one after the other and a bounded number of events at a
//! time; and results of pure steps.

use super::{After, Coordinator, Found, ReadPlan, Reading, Turn};
use crate::workflow::records::{
    Batch, EventRecord, HeaderRecord, PureRecord, SummaryRecord, event_key, event_range, finish_key,
    finish_range, header_key, holder, key_key, pure_age_key, pure_age_range, pure_holder, pure_key, read,
    read_event_key, read_finish_key, read_pure_age_key, read_some, summary_key,
};
use meshwork_proto::store::StoreError;
use meshwork_proto::task::Payload;
use meshwork_proto::{Cid, RunId, UnixMillis};
use std::time::Duration;

/// Events forgotten in one batch.
const PER_BATCH: u32 = 500;
/// Results of pure steps looked at in one round.
const PURE_PER_BATCH: u32 = 200;
/// How often is looked at least, when nothing is due before.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often is looked at most, when something was left.
const LOOK_SOON: Duration = Duration::from_secs(1);

/// How far pruning is.
#[derive(Debug, Default)]
pub(crate) struct Prune {
    at: UnixMillis,
    busy: bool,
    /// The run that is being forgotten: it is not there any more for anybody.
    run: Option<RunId>,
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
        self.run == Some(id)
    }

    pub(super) fn go_on(&mut self) {
        self.busy = false;
    }
}

impl Coordinator {
    pub(super) fn prune_if_due(&mut self, turn: &mut Turn<'_>) {
        if self.prune.busy || turn.now < self.prune.at {
            return;
        }
        self.prune.busy = true;
        self.read(turn, ReadPlan::Range(finish_range(1)), Reading::PruneRuns);
    }

    pub(super) fn on_prune_runs(&mut self, turn: &mut Turn<'_>, result: Result<Found, StoreError>) {
        let entries = match result {
            Ok(found) => found.entries(),
            Err(error) => return self.prune_later(turn, &error),
        };
        let oldest = entries.first().and_then(|(key, _)| read_finish_key(key));
        let too_many = self.counts.kept().kept() > u64::from(self.options.max_finished);
        let retention = self.options.retention();
        let due = oldest.filter(|(finished, _)| too_many || finished.after(retention) <= turn.now);
        match (due, oldest) {
            (Some((finished, id)), _) if self.may_prune(id) => {
                self.prune.run = Some(id);
                self.forget_run(id);
                let keys = vec![header_key(id), summary_key(id)];
                self.read(turn, ReadPlan::Keys(keys), Reading::PruneOne(Pruning { id, finished }));
            }
            (_, oldest) => {
                let next = oldest.map_or(UnixMillis(u64::MAX), |(finished, _)| finished.after(retention));
                self.prune.at = next.clamp(turn.now.after(LOOK_SOON), turn.now.after(LOOK_EVERY));
                self.read(turn, ReadPlan::Range(pure_age_range(PURE_PER_BATCH)), Reading::PrunePure);
            }
        }
    }

    /// Nobody reads it, and it has not been put back to work.
    fn may_prune(&self, id: RunId) -> bool {
        let idle = self.runs.get(&id).is_none_or(|live| {
            !live.run.is_active() && !live.ending && live.waiters.is_empty() && live.parked.is_empty()
        });
        // (What is being taken over may be here already, moved or finished: who asks is told so.)
        idle && !self.fetching.contains_key(&id) && !self.incoming.contains_key(&id)
    }

    pub(super) fn on_prune_one(
        &mut self,
        turn: &mut Turn<'_>,
        pruning: Pruning,
        result: Result<Found, StoreError>,
    ) {
        match result.and_then(|found| self.prune_head(pruning, &found)) {
            Ok(()) => self.prune_events(turn, pruning),
            Err(error) => self.prune_later(turn, &error),
        }
    }

    /// What a run holds beside its events.
    fn prune_head(&mut self, pruning: Pruning, found: &Found) -> Result<(), StoreError> {
        let Pruning { id, .. } = pruning;
        let batch = &mut self.outgoing.batch;
        if let Some(header) = read_some::<HeaderRecord>(found.value(0))? {
            for payload in [&header.definition, &header.inputs] {
                unpin(batch, payload, id);
            }
            if let Some(key) = &header.key {
                batch.delete(key_key(header.submitter.as_ref(), header.parent.as_ref(), key));
            }
        }
        if let Some(summary) = read_some::<SummaryRecord>(found.value(1))? {
            let count = self.counts.kept_mut().of_mut(summary.state, summary.moved_to.is_some());
            *count = count.saturating_sub(1);
        }
        // From now on nobody finds it, whatever happens; the time it ended is the last to go.
        batch.delete(summary_key(id));
        batch.delete(header_key(id));
        Ok(())
    }

    fn prune_events(&mut self, turn: &mut Turn<'_>, pruning: Pruning) {
        let scan = event_range(pruning.id, 0, PER_BATCH);
        self.read(turn, ReadPlan::Range(scan), Reading::PruneEvents(pruning));
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
        let batch = &mut self.outgoing.batch;
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
        if entries.len() < PER_BATCH as usize {
            batch.delete(finish_key(finished, id));
            self.totals.pruned += 1;
            self.prune.run = None;
        }
        // The next look comes with the acknowledgement of this one.
        self.prune.at = turn.now;
        self.after(After::PruneMore);
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
        self.prune.at = turn.now.after(LOOK_SOON);
        self.after(After::PruneMore);
    }

    fn prune_later(&mut self, turn: &Turn<'_>, error: &StoreError) {
        tracing::warn!(%error, "finished workflow runs could not be looked through for pruning; trying again in a minute");
        self.prune.busy = false;
        self.prune.run = None;
        self.prune.at = turn.now.after(LOOK_EVERY);
    }
}

fn unpin(batch: &mut Batch, payload: &Payload, id: RunId) {
    if let Some(cid) = payload.stored_cid() {
        batch.unpin(*cid, holder(id));
    }
}
