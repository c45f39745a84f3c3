//! Taking a run over from the peer that coordinated it.

use super::io::{Effect, Stored};
use super::live::Live;
use super::load::rebuild;
use super::run::Run;
use super::{After, Answer, Coordinator, Found, ReadPlan, Reading, Ticket, Turn};
use crate::workflow::records::{
    Batch, Event, EventRecord, HeaderRecord, KeyRecord, SummaryRecord, active_key, event_key, finish_key,
    header_key, holder, key_key, read_some, summary_key,
};
use meshwork_proto::store::{Acknowledge, Admission, StoreError};
use meshwork_proto::workflow::{TakeOverRun, TakenOver, WorkflowError};
use meshwork_proto::{Caller, PeerId, RunId};

/// A run that is here when its commit is acknowledged.
#[derive(Debug)]
pub(crate) struct Incoming {
    run: Box<Run>,
    /// What was here of it before.
    before: Option<SummaryRecord>,
}

impl Incoming {
    pub(super) fn id(&self) -> RunId {
        self.run.id
    }
}

impl Coordinator {
    pub(super) fn take_over(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        caller: &Caller,
        what: TakeOverRun,
    ) {
        let Some(from) = caller.peer().cloned() else {
            let problem = "a run can only be taken over from the peer that coordinates it";
            return turn.refuse(ticket, WorkflowError::Forbidden(problem.into()));
        };
        if let Some(waiting) = self.incoming.get_mut(&what.id) {
            // Asked again while it is being fetched.
            return waiting.push(ticket);
        }
        let id = what.id;
        self.incoming.insert(id, vec![ticket]);
        match self.runs.get(&id).map(|live| live.run.epoch) {
            Some(epoch) => self.judge_incoming(turn, what, from, Some(epoch)),
            None => {
                let plan = ReadPlan::Keys(vec![summary_key(id)]);
                self.read(turn, plan, Reading::Incoming(what, from));
            }
        }
    }

    pub(super) fn on_incoming(
        &mut self,
        turn: &mut Turn<'_>,
        what: TakeOverRun,
        from: PeerId,
        result: Result<Found, StoreError>,
    ) {
        match result.and_then(|found| read_some::<SummaryRecord>(found.value(0))) {
            Ok(summary) => self.judge_incoming(turn, what, from, summary.map(|summary| summary.epoch)),
            Err(error) => self.refuse_incoming(turn, what.id, &error.into()),
        }
    }

    /// What is known of the run here decides: the same epoch was taken over before, a higher one makes this one void.
    fn judge_incoming(&mut self, turn: &mut Turn<'_>, what: TakeOverRun, from: PeerId, known: Option<u32>) {
        let id = what.id;
        let here = self.runs.get(&id).filter(|live| live.run.is_active());
        // Who gave it away may have done so without hearing that it was taken, gone on with it, and give it again.
        if here.is_some_and(|live| live.run.taken_from.as_ref() != Some(&from)) && known != Some(what.epoch) {
            let problem = format!("workflow run {id} is coordinated here: peer {from} has no say in it");
            return self.refuse_incoming(turn, id, &WorkflowError::Forbidden(problem));
        }
        match known {
            Some(epoch) if epoch == what.epoch => self.answer_incoming(turn, id, epoch),
            Some(epoch) if epoch > what.epoch => {
                let problem = format!(
                    "workflow run {id} was coordinated here under epoch {epoch}: epoch {} is void",
                    what.epoch
                );
                self.refuse_incoming(turn, id, &WorkflowError::Forbidden(problem));
            }
            _ => {
                let (held, max) = (self.counts.unfinished(), u64::from(self.options.max_unfinished));
                if held >= max {
                    return self.refuse_incoming(turn, id, &WorkflowError::Full { held, max });
                }
                turn.out.push(Effect::Fetch { from, what });
            }
        }
    }

    fn answer_incoming(&mut self, turn: &mut Turn<'_>, id: RunId, epoch: u32) {
        for ticket in self.incoming.remove(&id).unwrap_or_default() {
            turn.answer(ticket, Answer::TakenOver(TakenOver { epoch }));
        }
    }

    pub(super) fn refuse_incoming(&mut self, turn: &mut Turn<'_>, id: RunId, error: &WorkflowError) {
        for ticket in self.incoming.remove(&id).unwrap_or_default() {
            turn.refuse(ticket, error.clone());
        }
    }

    /// A run that another peer hands over was fetched and read.
    pub(crate) fn fetched_incoming(
        &mut self,
        turn: &mut Turn<'_>,
        what: &TakeOverRun,
        from: &PeerId,
        result: Result<(Stored, Option<SummaryRecord>), WorkflowError>,
    ) {
        let id = what.id;
        if self.incoming.contains_key(&id) {
            let checked = result.and_then(|(stored, before)| {
                self.check_incoming(what, from, &stored).map(|run| (stored, before, run))
            });
            match checked {
                Ok((stored, before, run)) => self.write_incoming(turn, from, stored, before, run),
                Err(error) => self.refuse_incoming(turn, id, &error),
            }
        }
        self.settle(turn);
    }

    /// Replaying must work, and the run must be on its way to here.
    fn check_incoming(
        &self,
        what: &TakeOverRun,
        from: &PeerId,
        stored: &Stored,
    ) -> Result<Run, WorkflowError> {
        let wrong = |problem: String| Err(WorkflowError::InvalidArgument(problem));
        let gap = (1..).zip(&stored.events).find(|(expected, (seq, _))| expected != seq);
        if let Some((expected, _)) = gap {
            return wrong(format!("history of workflow run {} lacks event {expected}", what.id));
        }
        let items = stored.events.iter().filter_map(|(_, record)| match record.event {
            Event::Items { count, .. } => Some(u64::from(count)),
            _ => None,
        });
        // (A run that was retried may have had the items of a step more than once.)
        if let Some(count) = items.max().filter(|count| *count > u64::from(self.options.max_items)) {
            return wrong(format!("history of workflow run {} has a step with {count} items", what.id));
        }
        let run = rebuild(what.id, stored);
        if run.total_items() > u64::from(self.options.max_items) {
            return wrong(format!("history of workflow run {} has more items than a run may have", what.id));
        }
        let moves_here = run.is_active()
            && run
                .moving
                .as_ref()
                .is_some_and(|moving| moving.to == self.local_peer && moving.epoch == what.epoch);
        if !moves_here {
            return wrong(format!(
                "history of workflow run {} does not say that it moves from peer {from} to here as epoch {}",
                what.id, what.epoch
            ));
        }
        Ok(run)
    }

    fn write_incoming(
        &mut self,
        turn: &mut Turn<'_>,
        from: &PeerId,
        stored: Stored,
        before: Option<SummaryRecord>,
        mut run: Run,
    ) {
        let id = run.id;
        let Stored { mut header, events, .. } = stored;
        // A client of the other peer: that peer speaks for it here.
        let submitter = header.submitter.take().unwrap_or_else(|| from.clone());
        header.submitter = Some(submitter);
        // Keys of other peers' clients are not known here; those of parts are the same everywhere.
        header.key = header.key.take().filter(|_| header.parent.is_some());
        run.submitter.clone_from(&header.submitter);
        let epoch = run.moving.as_ref().map_or(run.epoch, |moving| moving.epoch);
        let seq = run.seq + 1;
        let last = EventRecord { at: turn.now, epoch, event: Event::TakenOver { from: from.clone(), epoch } };
        run.apply(seq, &last);
        let mut batch = Batch::default();
        head(&mut batch, id, &header);
        for (seq, record) in &events {
            batch.put(event_key(id, *seq), record);
            if let Some(payload) = record.event.payload() {
                batch.pin_payload(payload, || holder(id));
            }
        }
        batch.put(event_key(id, seq), &last);
        // What was decided here under a lower epoch is void.
        let void = self.runs.get(&id).map_or(0, |live| live.run.seq);
        (seq + 1..=void).for_each(|seq| batch.delete(event_key(id, seq)));
        self.drop_run(turn, id);
        if let Some(before) = &before {
            batch.delete(summary_key(id));
            batch.delete(finish_key(before.finished, id));
        }
        let incoming = Incoming { run: Box::new(run), before };
        let how = (Acknowledge::Durable, Admission::New);
        self.commit(turn, batch, how, vec![After::TakenOver(Box::new(incoming))], Vec::new());
    }

    /// A run that was taken over is on the disk: it goes on here.
    pub(super) fn taken_over(&mut self, turn: &mut Turn<'_>, incoming: Incoming) {
        let Incoming { run, before } = incoming;
        let (id, epoch) = (run.id, run.epoch);
        if let Some(before) = before {
            let count = self.counts.kept_mut().of_mut(before.state, before.moved_to.is_some());
            *count = count.saturating_sub(1);
        }
        self.drop_run(turn, id);
        self.totals.moved_in += 1;
        self.counts.arrived(&run);
        self.runs.insert(id, Box::new(Live::new(*run)));
        self.revive(turn, id);
        self.answer_incoming(turn, id, epoch);
    }
}

impl Coordinator {
    /// A run leaves memory with everything that is under way for it.
    fn drop_run(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        self.counts.left(&live.run);
        self.pending.remove(&(live.run.created, id));
        let flights: Vec<_> = live.flights.values().copied().collect();
        let waiting = live.waiters.iter().map(|waiter| waiter.ticket);
        let askers: Vec<Ticket> = waiting.chain(live.parked.iter().map(|asked| asked.ticket)).collect();
        for flight in flights {
            if let Some(task) = self.land(flight).and_then(|landed| landed.task()) {
                self.cancel_task(flight, task, "its run is coordinated by another peer");
            }
        }
        for ticket in askers {
            self.forget_wait(ticket);
            let problem = format!("workflow run {id} is being taken over from another peer: ask again");
            turn.refuse(ticket, WorkflowError::Unavailable(problem));
        }
        self.forget_run(id);
    }
}

fn head(batch: &mut Batch, id: RunId, header: &HeaderRecord) {
    batch.put(header_key(id), header);
    batch.mark(active_key(id));
    batch.pin_payload(&header.definition, || holder(id));
    batch.pin_payload(&header.inputs, || holder(id));
    if let Some(key) = &header.key {
        let (definition_cid, given_cid) = (header.definition_cid, header.given_cid);
        let key = key_key(header.submitter.as_ref(), header.parent.as_ref(), key);
        batch.put(key, &KeyRecord { run: id, definition_cid, given_cid });
    }
}
