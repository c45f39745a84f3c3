//! From decisions to commits: events are written down, applied, and leave together with what is to be done about them.

use super::live::What;
use super::stats::Standing;
use super::{After, CommitId, Coordinator, Effect, FlightId, Turn};
use crate::workflow::records::{Batch, Event, EventRecord, active_key, counts_key, event_key, holder};
use meshwork_proto::store::{Acknowledge, Admission, StoreError};
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::RunState;
use meshwork_proto::{RunId, UnixMillis};
use std::time::Duration;

/// Who waits for news of a run is told at most so often: a run with many steps would do nothing else.
const TELL_AFTER: Duration = Duration::from_millis(50);

/// What leaves with the next commit.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub batch: Batch,
    /// May be done when the commit has been sent.
    then: Vec<Then>,
    /// Follows when it is acknowledged.
    after: Vec<After>,
    /// Somebody's answer hangs on it.
    durable: bool,
    /// Documents that can be read from the store then.
    written: Vec<(RunId, u64)>,
}

/// What may be done when a commit has been sent.
#[derive(Debug)]
enum Then {
    Effect(Effect),
    /// A sub-workflow is submitted here.
    PlaceSub(FlightId),
}

impl Outgoing {
    fn is_idle(&self) -> bool {
        self.batch.is_empty() && self.then.is_empty() && self.after.is_empty()
    }
}

impl Coordinator {
    /// Whether anything waits for [`Coordinator::flush`], and how many changes.
    pub(crate) fn waiting_to_leave(&self) -> (bool, usize) {
        (!self.outgoing.is_idle(), self.outgoing.batch.len())
    }

    /// Sends what was decided since the last time.
    pub(crate) fn flush(&mut self, turn: &mut Turn<'_>) {
        while !self.outgoing.is_idle() && self.dead.is_none() {
            let outgoing = std::mem::take(&mut self.outgoing);
            let then = self.send(turn, outgoing);
            for then in then {
                match then {
                    Then::Effect(effect) => turn.out.push(effect),
                    Then::PlaceSub(flight) => self.place_sub(turn, flight),
                }
            }
        }
    }

    /// Makes a commit of it; what is left to do.
    fn send(&mut self, turn: &mut Turn<'_>, outgoing: Outgoing) -> Vec<Then> {
        let Outgoing { mut batch, then, mut after, durable, written } = outgoing;
        if batch.is_empty() {
            if self.commits.is_empty() || after.is_empty() {
                after.into_iter().for_each(|after| self.follow(turn, after));
                return then;
            }
            // A commit takes effect after those that were sent before it: there is no such event.
            batch.delete(event_key(RunId::from_bytes([0; 16]), 0));
        }
        if !written.is_empty() {
            after.push(After::Written(written));
        }
        if self.counts.take_changed() {
            batch.put(counts_key(), self.counts.kept());
        }
        let acknowledge = if durable { Acknowledge::Durable } else { Acknowledge::Written };
        let mut effects = Vec::new();
        let mut rest = Vec::new();
        for then in then {
            match then {
                Then::Effect(effect) => effects.push(effect),
                Then::PlaceSub(_) => rest.push(then),
            }
        }
        self.commit(turn, batch, (acknowledge, Admission::Accepted), after, effects);
        rest
    }

    pub(super) fn commit(
        &mut self,
        turn: &mut Turn<'_>,
        batch: Batch,
        how: (Acknowledge, Admission),
        after: Vec<After>,
        then: Vec<Effect>,
    ) {
        match batch.into_ops() {
            Ok(ops) => {
                let id = CommitId(self.number());
                self.commits.insert(id, after);
                let (acknowledge, admission) = how;
                turn.out.push(Effect::Commit { id, ops, acknowledge, admission, then });
            }
            Err(error) => self.fail(turn, StoreError::Corrupt(error.to_string())),
        }
    }

    /// Something happened in a run, or was decided about it: it is written down and applied. Its number.
    pub(super) fn emit(&mut self, now: UnixMillis, id: RunId, event: Event) -> Option<u64> {
        // What another peer hands over takes the place of all that could be decided here.
        let live = self.runs.get_mut(&id).filter(|live| !live.replacing)?;
        let seq = live.run.seq + 1;
        let record = EventRecord { at: now, epoch: live.run.epoch, event };
        let outgoing = &mut self.outgoing;
        outgoing.batch.put(event_key(id, seq), &record);
        if let Some(payload) = record.event.payload() {
            outgoing.batch.pin_payload(payload, || holder(id));
            // Results of items are not kept in the run's state, however small they are.
            let of_item = record.event.unit().is_some_and(|unit| unit.item.is_some());
            if let Payload::Inline(json) = payload
                && (json.len() > super::doc::KEPT || of_item)
            {
                outgoing.written.push((id, seq));
                self.unwritten.insert((id, seq), json.clone());
            }
        }
        let before = Standing::of(&live.run);
        live.run.apply(seq, &record);
        let after = Standing::of(&live.run);
        self.counts.moved(before, after);
        if before.active != after.active {
            if after.active {
                outgoing.batch.mark(active_key(id));
            } else {
                outgoing.batch.delete(active_key(id));
            }
        }
        let wanted = live.waiters.iter().any(|waiter| waiter.seen.is_some());
        if wanted && !live.telling {
            live.telling = true;
            self.set_timer(id, now.after(TELL_AFTER), What::Tell);
        }
        Some(seq)
    }

    /// To be done when what was decided so far has been sent.
    pub(super) fn then(&mut self, effect: Effect) {
        self.outgoing.then.push(Then::Effect(effect));
    }

    /// A sub-workflow is submitted here when what was decided so far has been sent.
    pub(super) fn then_place(&mut self, flight: FlightId) {
        self.outgoing.then.push(Then::PlaceSub(flight));
    }

    /// Follows when what was decided so far is on the disk.
    pub(super) fn after(&mut self, after: After) {
        let told =
            matches!(after, After::Answer(..) | After::Ended(_) | After::Export(_) | After::CancelSub { .. });
        self.outgoing.durable |= told;
        self.outgoing.after.push(after);
    }

    /// Runs that are not finished, by state.
    pub(crate) fn by_state(&self) -> std::collections::BTreeMap<RunState, u64> {
        self.counts.by_state()
    }
}
