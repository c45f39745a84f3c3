//! Taking a run over from the peer that coordinated it: who may give it, and what is believed of it.
//!
//! **The protocol.** A, which has a run under epoch e, starts nothing more, writes down that everything is sent (event
//! `Exported`), and asks B to take the run over under epoch e+1, until it knows. B fetches the history, writes it down with
//! the new epoch in one commit, and says yes when that is on the disk. A writes down that the run moved; from then on it only
//! says where to.
//!
//! **Why that is one coordinator at every moment.** A does nothing from `Exported` on (which is on the disk before B hears
//! anything, and outlives a restart) until one of these:
//!
//! * *B says yes.* It says so to the same epoch for ever, and also when it has gone on since: whoever knows the run under the
//!   epoch that is asked for, or a higher one, took it over or knows somebody who did. Whether it still has the run does not
//!   matter to A, for B says where it went. So a yes that was lost is heard later, whatever happened to the run meanwhile.
//! * *B says no for good, and no earlier attempt may have been heard* ([`Handed::Refused`]). Attempts of which nobody knows
//!   (no answer, the connection lost, this node restarted) make A unsure, and from then on a no is none: B may have taken
//!   the run at the earlier attempt, and refuse now for whatever reason comes before it looks.
//! * *B says no in a way that says that it never had it* ([`is_final`]): it found fault with the history, which it does only
//!   after it looked for the run and did not find it under this epoch or a higher one. Runs that moved on or ended are found
//!   as long as they are kept, and are not pruned while somebody asks to take them over.
//! * *A person takes the run back* although B may have it. That is the only way to two coordinators, and is said so. The epoch
//!   is then raised by so much that when one gives the run to the other, what was done there under lower epochs is void.
//!
//! After any no, A goes on under an epoch above the one that was offered, so that the offer is void.
//! A copy of the request that is still under way to B cannot come later and be taken: B remembers every no for as long as
//! requests live ([`Refusals`]), and when B starts anew they have died with their connections.
//!
//! The bound of this is what B keeps: a giver that is away for longer than B keeps runs that moved on (`retention_s`,
//! `max_finished`), and asks again then, is believed.
//!
//! **Who may give a run.** What nobody knows here may come from any member. What is coordinated here, or ended here, is only
//! taken from a peer that its own history names as a coordinator, under a higher epoch. A run that ended here is only replaced
//! by a history that tells this very end and that the run was run on after it; one that moved away, by one that tells
//! that it was taken over from here.

use super::io::{Effect, Stored};
use super::load::{Awaiting, rebuild};
use super::run::{Phase, Run};
use super::{Answer, Coordinator, Ticket, Turn};
use crate::workflow::records::Event;
use meshwork_proto::workflow::{TakeOverRun, TakenOver, WorkflowError};
use meshwork_proto::{Caller, Coded, ErrorCode, PeerId, RunId, UnixMillis};
use std::collections::VecDeque;
use std::time::Duration;

/// How long a no is remembered: longer than any request is under way.
const REMEMBERED: Duration = Duration::from_secs(1800);
/// Most of them.
const MAX_REFUSALS: usize = 512;

/// A run on its way to here.
#[derive(Debug)]
pub(crate) struct Receiving {
    from: PeerId,
    epoch: u32,
    /// Whom to answer.
    tickets: Vec<Ticket>,
    /// It is being written: what the store has of it may be older or newer than what is in memory.
    pub(super) writing: bool,
    /// What waits for it until it is.
    pub(super) waiting: Vec<Awaiting>,
}

/// Hand-overs that were refused for good.
#[derive(Debug, Default)]
pub(crate) struct Refusals(VecDeque<(UnixMillis, RunId, u32, WorkflowError)>);

impl Refusals {
    fn add(&mut self, now: UnixMillis, id: RunId, epoch: u32, error: &WorkflowError) {
        self.0.retain(|(until, ..)| *until > now);
        if self.0.len() >= MAX_REFUSALS {
            self.0.pop_front();
        }
        self.0.push_back((now.after(REMEMBERED), id, epoch, error.clone()));
    }

    fn find(&self, now: UnixMillis, id: RunId, epoch: u32) -> Option<&WorkflowError> {
        let same = |(until, run, refused, _): &&(UnixMillis, RunId, u32, WorkflowError)| {
            *until > now && *run == id && *refused == epoch
        };
        self.0.iter().find(same).map(|(.., error)| error)
    }
}

/// Whether an answer to a hand-over with this code says that the run is not there and will not be taken under this epoch.
pub(crate) fn is_final(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::InvalidArgument | ErrorCode::TooLarge)
}

/// What is known here of a run that is to be taken over.
enum Judged {
    /// It was taken over before.
    Taken,
    /// It may be.
    New,
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
        let id = what.id;
        if let Some(receiving) = self.incoming.get_mut(&id) {
            if receiving.from == from && receiving.epoch == what.epoch {
                // Asked again while it is being fetched.
                return receiving.tickets.push(ticket);
            }
            let problem = format!("workflow run {id} is being taken over at this moment: ask again");
            return turn.refuse(ticket, WorkflowError::Unavailable(problem));
        }
        if self.prune.is_at(id) {
            let problem = format!("workflow run {id} was here and is being forgotten: ask again");
            return turn.refuse(ticket, WorkflowError::Unavailable(problem));
        }
        let (epoch, tickets) = (what.epoch, vec![ticket]);
        let receiving = Receiving { from: from.clone(), epoch, tickets, writing: false, waiting: Vec::new() };
        self.incoming.insert(id, receiving);
        if self.runs.contains_key(&id) {
            return self.judge_incoming(turn, what, from);
        }
        self.fetch(turn, id, Awaiting::Incoming(what, from));
    }

    /// What is known of the run here is in memory, if anything is known.
    pub(super) fn judge_incoming(&mut self, turn: &mut Turn<'_>, what: TakeOverRun, from: PeerId) {
        match self.judge(turn.now, &what, &from) {
            Ok(Judged::Taken) => self.answer_incoming(turn, what.id),
            Ok(Judged::New) => turn.out.push(Effect::Fetch { from, what }),
            Err(error) => self.refuse_incoming(turn, what.id, &error),
        }
    }

    fn judge(&self, now: UnixMillis, what: &TakeOverRun, from: &PeerId) -> Result<Judged, WorkflowError> {
        let id = what.id;
        let here = self.runs.get(&id);
        if let Some(live) = here {
            let (run, named) = (&live.run, live.run.names_coordinator(from));
            if !named && run.epoch < what.epoch && run.moving.as_ref().is_some_and(|moving| moving.sent) {
                // Whoever took it from here, unheard, may have given it on to who asks now.
                let problem = format!("workflow run {id} is being handed over from here: ask again");
                return Err(WorkflowError::Unavailable(problem));
            }
            if !named && (run.epoch >= what.epoch || !matches!(run.phase, Phase::Moved(_))) {
                let problem =
                    format!("workflow run {id} is known here: peer {from} has never coordinated it");
                return Err(WorkflowError::Forbidden(problem));
            }
            if run.epoch >= what.epoch {
                return Ok(Judged::Taken);
            }
            if live.ending {
                let problem = format!("workflow run {id} has just ended or moved on here: ask again");
                return Err(WorkflowError::Unavailable(problem));
            }
        }
        if let Some(error) = self.refusals.find(now, id, what.epoch) {
            return Err(error.clone());
        }
        let (held, max) = (self.counts.unfinished(), u64::from(self.options.max_unfinished));
        if held >= max && !here.is_some_and(|live| live.run.is_active()) {
            return Err(WorkflowError::Full { held, max });
        }
        Ok(Judged::New)
    }

    pub(super) fn answer_incoming(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(Receiving { epoch, tickets, waiting, .. }) = self.incoming.remove(&id) else { return };
        for ticket in tickets {
            // The epoch that was asked for, whatever has happened since: the same question gets the same answer.
            turn.answer(ticket, Answer::TakenOver(TakenOver { epoch }));
        }
        self.received(turn, id, waiting);
    }

    pub(super) fn refuse_incoming(&mut self, turn: &mut Turn<'_>, id: RunId, error: &WorkflowError) {
        let Some(Receiving { epoch, tickets, waiting, .. }) = self.incoming.remove(&id) else { return };
        if !error.code().is_transient() {
            self.refusals.add(turn.now, id, epoch, error);
        }
        for ticket in tickets {
            turn.refuse(ticket, error.clone());
        }
        self.received(turn, id, waiting);
    }

    /// It is known what became of a hand-over. A run that ended here was kept in memory meanwhile.
    fn received(&mut self, turn: &mut Turn<'_>, id: RunId, waiting: Vec<Awaiting>) {
        for awaiting in waiting {
            self.fetch(turn, id, awaiting);
        }
        if let Some(live) = self.runs.get(&id).filter(|live| !live.run.is_active() && !live.ending) {
            let steps = live.run.steps.len();
            self.is_done(id, steps);
        }
    }

    /// A run that another peer hands over was fetched and read.
    pub(crate) fn fetched_incoming(
        &mut self,
        turn: &mut Turn<'_>,
        what: &TakeOverRun,
        from: &PeerId,
        result: Result<Stored, WorkflowError>,
    ) {
        let id = what.id;
        let asked = self.incoming.get(&id).is_some_and(|receiving| receiving.epoch == what.epoch);
        if asked {
            // It may have ended here, or moved on, since it was asked for.
            let judged = result.and_then(|stored| Ok((self.judge(turn.now, what, from)?, stored)));
            let checked = judged.and_then(|(judged, stored)| match judged {
                Judged::Taken => Ok(None),
                Judged::New => self.check_incoming(what, from, &stored).map(|run| Some((stored, run))),
            });
            match checked {
                Ok(Some((stored, run))) => self.write_incoming(turn, from, stored, run),
                Ok(None) => self.answer_incoming(turn, id),
                Err(error) => self.refuse_incoming(turn, id, &error),
            }
        }
        self.settle(turn);
    }

    /// Replaying must work, the run must be on its way to here, and what is known of it here must be a part of it.
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
        match self.runs.get(&what.id).and_then(|live| self.unlike(&live.run, &run, stored)) {
            Some(problem) => wrong(format!("history of workflow run {} {problem}", what.id)),
            None => Ok(run),
        }
    }

    /// What of a run that is known here its history does not tell.
    fn unlike(&self, known: &Run, told: &Run, stored: &Stored) -> Option<String> {
        let same = known.definition_cid == told.definition_cid
            && known.inputs_cid == told.inputs_cid
            && known.created == told.created;
        if !same {
            return Some("is that of another run than the one that is known here".to_owned());
        }
        match known.phase {
            Phase::Moved(_) => {
                let here = (self.local_peer.clone(), known.epoch);
                let problem =
                    format!("does not say that it was taken over from here as epoch {}", known.epoch);
                (!told.taken.contains(&here)).then_some(problem)
            }
            Phase::Finished(end) => {
                let told = stored.events.iter().any(|(_, record)| {
                    matches!(record.event, Event::Finished { state, .. } if state == end)
                        && record.epoch == known.epoch
                        && Some(record.at) == known.finished
                });
                let problem = format!("does not say that it is {end} here since epoch {}", known.epoch);
                (!told).then_some(problem)
            }
            Phase::Pending | Phase::Running | Phase::Ending(_) => None,
        }
    }
}
