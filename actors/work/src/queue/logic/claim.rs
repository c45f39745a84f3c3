//! Claims: who asks for work gets the first of what fits, or waits for it.

use super::attempt::End;
use super::due::What;
use super::lanes::{ClassIx, ClassSpec};
use super::lease::Loss;
use super::table::{Lease, Slot, Stage};
use super::waiters::Waiter;
use super::{
    Answer, DURABLE, Found, Note, QueueState, ReadPlan, Reading, Ticket, Turn, WRITTEN, check_worker,
};
use crate::queue::records::{Batch, MetadataRecord, SpecRecord, metadata_key, read_some, spec_key};
use meshwork_proto::queue::{Claim, Claimed, Offer, QueueError};
use meshwork_proto::store::{Family, StoreError};
use meshwork_proto::task::{MAX_NAME, TaskGrant};
use meshwork_proto::{Caller, ErrorCode, Fence, MeshError, TaskId};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Most tasks in one answer: inline payloads of so many fit into one frame.
const MAX_GRANTS: u32 = 64;
/// Most tools in an offer.
const MAX_TOOLS: usize = 4096;
/// Most labels in an offer.
const MAX_OFFER_LABELS: usize = 256;

/// Leases that wait for the specifications of their tasks.
#[derive(Debug)]
pub(crate) struct Delivery {
    ticket: Ticket,
    granted: Vec<Granted>,
    more: bool,
}

/// A lease, and the specification if it is at hand.
#[derive(Debug)]
struct Granted {
    slot: Slot,
    id: TaskId,
    fence: Fence,
    attempt: u32,
    timeout_ms: Option<u64>,
    spec: Option<Rc<SpecRecord>>,
}

impl QueueState {
    pub(super) fn claim(&mut self, turn: &mut Turn<'_>, ticket: Ticket, caller: &Caller, claim: Claim) {
        let Claim { worker, offer, credits, wait_ms } = claim;
        if let Err(error) = check_worker(caller, &worker).and_then(|()| check_offer(&offer)) {
            return turn.refuse(ticket, error);
        }
        let peer = worker.peer();
        let local = peer.as_ref() == Some(&self.local_peer);
        let offer = Rc::new(offer);
        self.workers.offered(turn.now, &worker, Rc::clone(&offer), local);
        let credits = credits.min(MAX_GRANTS);
        let waiter = Waiter { ticket, worker, peer, local, offer, credits, since: turn.now };
        if self.may_grant() && self.try_claim(turn, &waiter) {
            return;
        }
        let wait = Duration::from_millis(wait_ms).min(self.options.max_wait());
        if wait.is_zero() || self.waiters.len() >= self.options.max_waiters as usize {
            return turn.answer(ticket, Answer::Claimed(Claimed::default()));
        }
        self.waiters.add(waiter, turn.now.after(wait));
    }

    /// Gives a claim what fits; false if nothing does.
    fn try_claim(&mut self, turn: &mut Turn<'_>, waiter: &Waiter) -> bool {
        let mut classes = self.lanes.matching(&waiter.offer, waiter.peer.as_ref());
        classes.retain(|class| self.lanes.has_head(*class));
        if classes.is_empty() {
            return false;
        }
        if waiter.credits == 0 {
            turn.answer(waiter.ticket, Answer::Claimed(Claimed { grants: Vec::new(), more: true }));
            return true;
        }
        let mut batch = Batch::default();
        let mut granted = Vec::new();
        let mut used: BTreeMap<String, u32> = BTreeMap::new();
        while granted.len() < waiter.credits as usize {
            let Some((slot, tool)) = self.best_of(&mut classes, &waiter.offer, &used) else { break };
            *used.entry(tool).or_default() += 1;
            granted.extend(self.grant(turn, &mut batch, slot, waiter));
        }
        let more = self.best_of(&mut classes, &waiter.offer, &used).is_some();
        if !self.mutated_unwritten_claim() {
            self.commit(turn, batch, WRITTEN, Vec::new());
        }
        turn.note(Note::ClaimServed { waited: turn.now.since(waiter.since) });
        self.deliver(turn, Delivery { ticket: waiter.ticket, granted, more });
        true
    }

    /// The first of all heads for which the worker still has room; classes that ran out are dropped.
    fn best_of(
        &mut self,
        classes: &mut Vec<ClassIx>,
        offer: &Offer,
        used: &BTreeMap<String, u32>,
    ) -> Option<(Slot, String)> {
        let mut best: Option<(super::lanes::Head, Slot, Rc<ClassSpec>)> = None;
        classes.retain(|class| {
            let Some(spec) = self.lanes.spec(*class).cloned() else { return false };
            let room = offer.tools.get(&spec.tool).copied().unwrap_or(0);
            if used.get(&spec.tool).copied().unwrap_or(0) >= room {
                return false;
            }
            // Nothing comes into the open while a claim is served, so an empty class stays empty.
            let Some((head, slot)) = self.lanes.head(*class) else { return false };
            if best.as_ref().is_none_or(|(first, _, _)| head < *first) {
                best = Some((head, slot, spec));
            }
            true
        });
        best.map(|(_, slot, spec)| (slot, spec.tool.clone()))
    }

    /// Leases a ready task to a worker.
    fn grant(
        &mut self,
        turn: &mut Turn<'_>,
        batch: &mut Batch,
        slot: Slot,
        waiter: &Waiter,
    ) -> Option<Granted> {
        let lease_time = self.options.lease();
        let live = self.tasks.get_mut(slot)?;
        let id = live.id;
        if let Some(at) = live.expires_at() {
            self.due.remove(at, What::Expire, slot);
        }
        if live.attempts() == 0 {
            turn.note(Note::FirstClaim { queued: turn.now.since(live.queued_at) });
        }
        self.ready_since.remove(&(live.queued_at, slot));
        self.counts.leave(live.task_type, meshwork_proto::task::TaskStatus::Queued);
        let place = live.place(slot);
        let fence = self.fences.next(live.fence());
        let timeout_ms = (live.timeout_ms > 0).then_some(live.timeout_ms);
        live.stage = Stage::Leased;
        live.updated = turn.now;
        let run = live.run.get_or_insert_default();
        run.begin(fence, &waiter.worker, turn.now);
        let attempt = run.attempts;
        let lease = Lease {
            worker: waiter.worker.clone(),
            granted: turn.now,
            until: turn.now.after(lease_time),
            timeout_ms,
            timeout_at: timeout_ms.map(|ms| turn.now.after(Duration::from_millis(ms)).after(lease_time)),
            grace: None,
            progress: None,
        };
        self.lanes.leave_to_run(place);
        self.resume_lease(slot, lease);
        self.put_state(batch, slot);
        self.totals.claimed += 1;
        let spec = self.cache.get(id).cloned();
        Some(Granted { slot, id, fence, attempt, timeout_ms, spec })
    }

    /// Answers a claim, after reading the specifications that are not at hand.
    fn deliver(&mut self, turn: &mut Turn<'_>, delivery: Delivery) {
        let missing: Vec<_> = delivery.granted.iter().filter(|granted| granted.spec.is_none()).collect();
        if missing.is_empty() {
            return self.answer_claim(turn, delivery);
        }
        let keys =
            missing.iter().flat_map(|granted| [spec_key(granted.id), metadata_key(granted.id)]).collect();
        let plan = ReadPlan::Keys(vec![(Family::Tasks, keys)]);
        self.read(turn, plan, Reading::Grants(Box::new(delivery)));
    }

    /// The specifications were read, or not.
    pub(super) fn on_specs(
        &mut self,
        turn: &mut Turn<'_>,
        mut delivery: Delivery,
        result: Result<Found, StoreError>,
    ) {
        let found = match result {
            Ok(found) => found,
            Err(error) => {
                let granted = std::mem::take(&mut delivery.granted);
                self.give_up(turn, granted, Loss::Unread);
                return turn.refuse(delivery.ticket, error);
            }
        };
        let mut broken = Vec::new();
        let mut place = 0;
        for granted in delivery.granted.iter_mut().filter(|granted| granted.spec.is_none()) {
            match read_spec(&found, place) {
                Ok(spec) => granted.spec = Some(Rc::new(spec)),
                Err(error) => broken.push((granted.slot, granted.id, granted.fence, error)),
            }
            place += 2;
        }
        delivery.granted.retain(|granted| granted.spec.is_some());
        for (slot, id, fence, error) in broken {
            if self.holds(slot, id, fence) {
                self.end_unreadable(turn, slot, &error);
            }
        }
        if (turn.gone)(delivery.ticket) {
            let granted = std::mem::take(&mut delivery.granted);
            return self.give_up(turn, granted, Loss::Undelivered);
        }
        self.answer_claim(turn, delivery);
    }

    fn answer_claim(&mut self, turn: &mut Turn<'_>, delivery: Delivery) {
        let lease_ms = u64::try_from(self.options.lease().as_millis()).unwrap_or(u64::MAX);
        let mut grants = Vec::with_capacity(delivery.granted.len());
        let mut cancelled = Vec::new();
        for granted in delivery.granted {
            if !self.holds(granted.slot, granted.id, granted.fence) {
                continue;
            }
            let run = self.tasks.get(granted.slot).and_then(|live| live.run.as_ref());
            match &granted.spec {
                Some(_) if run.is_some_and(|run| run.cancel.is_some()) => cancelled.push(granted),
                Some(spec) => grants.push(task_grant(&granted, &spec.spec, lease_ms)),
                None => {}
            }
        }
        // Nobody has begun with them, so they end at once.
        self.give_up(turn, cancelled, Loss::Undelivered);
        turn.answer(delivery.ticket, Answer::Claimed(Claimed { grants, more: delivery.more }));
    }

    /// Takes leases back that never reached a worker.
    fn give_up(&mut self, turn: &mut Turn<'_>, granted: Vec<Granted>, loss: Loss) {
        let mut batch = Batch::default();
        let mut after = Vec::new();
        for granted in granted {
            if self.holds(granted.slot, granted.id, granted.fence) {
                after.extend(self.lose(turn, &mut batch, granted.slot, loss));
            }
        }
        if !batch.is_empty() {
            self.commit(turn, batch, DURABLE, after);
        }
    }

    /// A task whose specification is damaged can never run.
    fn end_unreadable(&mut self, turn: &mut Turn<'_>, slot: Slot, error: &StoreError) {
        let error = MeshError::new(ErrorCode::Corrupt, format!("task cannot be run: {error}"));
        self.end_attempt(turn, slot, Some(error.clone()), "failed");
        let mut batch = Batch::default();
        let after = self.close(turn, &mut batch, slot, End::failed(error));
        self.commit(turn, batch, DURABLE, after.into_iter().collect());
    }

    /// Whether a task is still leased with this fence.
    pub(super) fn holds(&self, slot: Slot, id: TaskId, fence: Fence) -> bool {
        self.tasks
            .get(slot)
            .is_some_and(|live| live.id == id && live.stage == Stage::Leased && live.fence() == fence)
    }

    /// Something of this class came into the open: the first waiting claim that fits gets it.
    pub(super) fn serve(&mut self, turn: &mut Turn<'_>, class: ClassIx) {
        let Some(spec) = self.lanes.spec(class).cloned() else { return };
        let mut after = None;
        while self.lanes.has_head(class) {
            let Some(key) = self.waiters.next_for(&spec, after, false) else { break };
            after = Some(key);
            let Some(waiter) = self.waiters.remove(key) else { break };
            if !(turn.gone)(waiter.ticket) {
                self.try_claim(turn, &waiter);
            }
        }
        self.wake_listener(turn, class, &spec);
    }

    /// Tells one of those who only listen that there is work; if nobody takes it, another one soon.
    fn wake_listener(&mut self, turn: &mut Turn<'_>, class: ClassIx, spec: &ClassSpec) {
        let mut after = None;
        while self.lanes.has_head(class) {
            let Some(key) = self.waiters.next_for(spec, after, true) else { return };
            after = Some(key);
            let Some(waiter) = self.waiters.remove(key) else { return };
            if (turn.gone)(waiter.ticket) {
                continue;
            }
            turn.answer(waiter.ticket, Answer::Claimed(Claimed { grants: Vec::new(), more: true }));
            if self.waiters.next_for(spec, after, true).is_some() {
                self.waiters.nudge_later(turn.now, class);
            }
            return;
        }
    }

    pub(super) fn nudge_if_due(&mut self, turn: &mut Turn<'_>) {
        for class in self.waiters.take_nudges(turn.now) {
            self.lanes.mark(class);
        }
    }
}

fn task_grant(granted: &Granted, spec: &meshwork_proto::task::TaskSpec, lease_ms: u64) -> TaskGrant {
    TaskGrant {
        id: granted.id,
        task_type: spec.task_type.clone(),
        tool: spec.tool.clone(),
        model_name: spec.model_name.clone(),
        payload: spec.payload.clone(),
        input_cid: spec.input_cid,
        attempt: granted.attempt,
        fence: granted.fence,
        lease_ms,
        timeout_ms: granted.timeout_ms,
        metadata: spec.metadata.clone(),
    }
}

/// A specification with the metadata that was given later, from two values read together.
pub(super) fn read_spec(found: &Found, place: usize) -> Result<SpecRecord, StoreError> {
    let missing = || StoreError::Corrupt("its specification is missing".into());
    let mut record: SpecRecord = read_some(found.value(0, place))?.ok_or_else(missing)?;
    if let Some(later) = read_some::<MetadataRecord>(found.value(0, place + 1))? {
        record.spec.metadata = Some(later.metadata);
    }
    Ok(record)
}

fn check_offer(offer: &Offer) -> Result<(), QueueError> {
    if offer.tools.len() > MAX_TOOLS || offer.labels.len() > MAX_OFFER_LABELS {
        return Err(QueueError::Invalid(format!(
            "offer has {} tools and {} labels: at most {MAX_TOOLS} and {MAX_OFFER_LABELS}",
            offer.tools.len(),
            offer.labels.len()
        )));
    }
    let mut names = offer.tools.keys().chain(&offer.labels);
    match names.find(|name| name.is_empty() || name.len() > MAX_NAME) {
        Some(name) => Err(QueueError::Invalid(format!(
            "offer names a tool or label of {} bytes: expected 1 to {MAX_NAME}",
            name.len()
        ))),
        None => Ok(()),
    }
}
