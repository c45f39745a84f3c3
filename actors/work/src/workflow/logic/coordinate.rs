//! Who works on a run and who coordinates it: spreading it over peers, and handing it over.
//!
//! A hand-over: nothing new starts, what waits in the queue is taken back, what runs may end within a time; then
//! everything is written down, and the next coordinator is asked to take it over until it says yes or no. From the moment
//! it is asked, nothing is added here: it may have said yes although nobody heard it.

use super::io::{Effect, HandOver, Handed};
use super::live::{Kind, Stage, WHOLE, What, by};
use super::prepared::AGAIN;
use super::run::Phase;
use super::{After, Answer, Coordinator, FlightId, Ticket, Turn};
use crate::workflow::records::Event;
use meshwork_proto::workflow::{CoordinateRun, Coordinated, WorkflowError};
use meshwork_proto::{Caller, ErrorCode, MeshError, PeerId, RunId};
use std::collections::BTreeSet;

/// Most peers that may be named.
const MAX_PEERS: usize = 64;

impl Coordinator {
    pub(super) fn coordinate(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        caller: &Caller,
        coordinate: CoordinateRun,
    ) {
        let CoordinateRun { id, peers, coordinator } = coordinate;
        let spread = peers.map_or(Ok(()), |peers| self.spread(turn, id, caller, peers));
        let moved = spread.and_then(|()| match coordinator {
            Some(to) if to == self.local_peer => self.stay(turn, id),
            Some(to) => self.begin_move(turn, id, caller, to),
            None => Ok(()),
        });
        match moved {
            Ok(()) => {
                if let Some(coordinated) = self.coordinated(id) {
                    self.after(After::Answer(ticket, Answer::Coordinated(coordinated)));
                }
            }
            Err(error) => turn.refuse(ticket, error),
        }
    }

    fn coordinated(&self, id: RunId) -> Option<Coordinated> {
        let live = self.runs.get(&id)?;
        Some(Coordinated {
            id,
            coordinator: self.local_peer.clone(),
            moving_to: live.run.moving.as_ref().map(|moving| moving.to.clone()),
            coordinating_peers: self.coordinating_peers(live),
            epoch: live.run.epoch,
        })
    }

    fn spread(
        &mut self,
        turn: &mut Turn<'_>,
        id: RunId,
        caller: &Caller,
        peers: BTreeSet<PeerId>,
    ) -> Result<(), WorkflowError> {
        self.check_settled(id)?;
        self.check_unfinished(id, "only an unfinished run can be spread over peers")?;
        if peers.len() > MAX_PEERS {
            let problem = format!("peers has {} entries: at most {MAX_PEERS}", peers.len());
            return Err(WorkflowError::InvalidArgument(problem));
        }
        if self.runs.get(&id).is_some_and(|live| live.run.targets != peers) {
            self.emit(turn.now, id, Event::Spread { peers, by: by(caller) });
        }
        Ok(())
    }

    fn check_unfinished(&self, id: RunId, wanted: &str) -> Result<(), WorkflowError> {
        let Some(live) = self.runs.get(&id) else { return Err(WorkflowError::UnknownRun(id)) };
        if matches!(live.run.phase, Phase::Pending | Phase::Running) {
            return Ok(());
        }
        Err(WorkflowError::WrongState { id, state: live.run.state(), wanted: wanted.to_owned() })
    }

    /// A hand-over that was begun is given up, if the next coordinator was not asked yet.
    fn stay(&mut self, turn: &mut Turn<'_>, id: RunId) -> Result<(), WorkflowError> {
        let moves = self.runs.get(&id).is_some_and(|live| live.run.moving.is_some());
        if !moves {
            return Ok(());
        }
        self.check_settled(id)?;
        self.end_move(turn, id, MeshError::new(ErrorCode::Cancelled, "it was asked to stay"));
        Ok(())
    }

    fn begin_move(
        &mut self,
        turn: &mut Turn<'_>,
        id: RunId,
        caller: &Caller,
        to: PeerId,
    ) -> Result<(), WorkflowError> {
        self.check_unfinished(id, "only an unfinished run can be handed over")?;
        let Some(live) = self.runs.get(&id) else { return Err(WorkflowError::UnknownRun(id)) };
        if let Some(moving) = &live.run.moving {
            if moving.to == to {
                return Ok(());
            }
            let wanted = format!("it is being handed over to peer {} already", moving.to);
            return Err(WorkflowError::WrongState { id, state: live.run.state(), wanted });
        }
        let epoch = live.run.epoch.saturating_add(1);
        self.pending.remove(&(live.run.created, id));
        self.emit(turn.now, id, Event::MoveBegun { to, epoch, by: by(caller) });
        self.revive_move(id);
        Ok(())
    }

    /// A run that moves waits for what is under way; tasks that nobody runs yet are taken back.
    pub(super) fn revive_move(&mut self, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        let Some(moving) = &live.run.moving else { return };
        let at = moving.since.after(self.options.move_within());
        let tasks =
            live.flights.values().filter_map(|flight| Some((*flight, self.flights.get(flight)?.task()?)));
        let tasks: Vec<_> = tasks.collect();
        self.set_timer(id, at, What::MoveOn);
        for (flight, task) in tasks {
            self.then(Effect::WatchTask { flight, task });
        }
        self.try_move(id);
    }

    /// The time for running steps is over: they are cancelled, and begin anew at the next coordinator.
    pub(super) fn move_on(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get(&id).filter(|live| live.run.moving.is_some() && !live.exported) else {
            return;
        };
        let flights: Vec<FlightId> = live.flights.values().copied().collect();
        for flight in flights {
            let Some(kind) = self.flights.get(&flight).map(|flight| flight.kind) else { continue };
            if kind == Kind::Sub {
                continue;
            }
            let Some(landed) = self.land(flight) else { continue };
            if let Some(task) = landed.task() {
                self.cancel_task(flight, task, "its run moves to another peer");
            }
            if landed.stage != Stage::Preparing && landed.unit != WHOLE {
                self.withdraw(turn, id, landed.unit);
            }
        }
        self.try_move(id);
    }

    /// Whether nothing is under way any more that has to end here. Sub-workflows go on where they are: the next
    /// coordinator finds them by their keys.
    pub(super) fn try_move(&mut self, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        let settled = matches!(live.run.phase, Phase::Pending | Phase::Running) && !live.exported;
        if !settled || live.run.moving.is_none() {
            return;
        }
        let flights: Vec<FlightId> = live.flights.values().copied().collect();
        let parts_only = flights
            .iter()
            .all(|flight| self.flights.get(flight).is_some_and(|flight| flight.kind == Kind::Sub));
        if !parts_only {
            return;
        }
        for flight in flights {
            self.land(flight);
        }
        self.children.retain(|_, flight| self.flights.contains_key(flight));
        self.drop_timers(id);
        if let Some(live) = self.runs.get_mut(&id) {
            live.exported = true;
            live.wanted.clear();
        }
        self.after(After::Export(id));
    }

    /// Everything of the run is on the disk.
    pub(super) fn export(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get(&id).filter(|live| live.exported) else { return };
        if let Some(moving) = &live.run.moving {
            let what = HandOver { run: id, to: moving.to.clone(), epoch: moving.epoch };
            turn.out.push(Effect::HandOver(Box::new(what)));
        }
    }

    pub(super) fn export_again(&mut self, turn: &mut Turn<'_>, id: RunId) {
        self.export(turn, id);
    }

    /// The next coordinator answered, or did not.
    pub(crate) fn handed(&mut self, turn: &mut Turn<'_>, id: RunId, handed: Handed) {
        if self.runs.get(&id).is_some_and(|live| live.exported) {
            match handed {
                Handed::Taken => self.moved(turn, id),
                Handed::Refused(error) => self.end_move(turn, id, error),
                Handed::Failed(error) => {
                    let Some(live) = self.runs.get_mut(&id) else { return };
                    live.move_tries = live.move_tries.saturating_add(1);
                    live.move_trouble = Some(error.message);
                    let at = turn.now.after(AGAIN.delay(live.move_tries, &mut self.rng));
                    self.set_timer(id, at, What::Move);
                }
            }
        }
        self.settle(turn);
    }

    fn moved(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(moving) = self.runs.get(&id).and_then(|live| live.run.moving.clone()) else { return };
        let (to, epoch) = (moving.to, moving.epoch);
        self.totals.moved_out += 1;
        self.emit(turn.now, id, Event::Moved { to: to.clone(), epoch });
        self.drop_timers(id);
        if let Some(live) = self.runs.get_mut(&id) {
            live.exported = false;
            live.ending = true;
            live.ready.clear();
            live.starts.clear();
        }
        self.write_summary(turn, id, Some(to));
        self.after(After::Ended(id));
        if let Some(flight) = self.children.remove(&id) {
            self.look_at_part(turn, flight, id);
        }
    }

    /// The run stays: it goes on under a higher epoch than the one that was offered.
    fn end_move(&mut self, turn: &mut Turn<'_>, id: RunId, error: MeshError) {
        let Some(moving) = self.runs.get(&id).and_then(|live| live.run.moving.clone()) else { return };
        let exported = self.runs.get_mut(&id).is_some_and(|live| {
            live.move_tries = 0;
            live.move_trouble = None;
            std::mem::take(&mut live.exported)
        });
        let epoch = moving.epoch.saturating_add(1);
        self.emit(turn.now, id, Event::MoveEnded { error, epoch });
        let at = moving.since.after(self.options.move_within());
        self.drop_timer(id, Some(at), What::MoveOn);
        let waits = self.runs.get(&id).is_some_and(|live| live.run.phase == Phase::Pending);
        if exported || waits {
            self.revive(turn, id);
        } else {
            self.offer_all(turn, id);
        }
    }
}
