//! Who works on a run and who coordinates it: spreading it over peers, and handing it over.
//!
//! A hand-over: nothing new starts, what waits in the queue is taken back, what runs may end within a time; then
//! everything is written down, and the next coordinator is asked to take it over until it says yes or no. From the moment
//! it is asked, nothing is added here: it may have said yes although nobody heard it. Why that is one coordinator at every
//! moment is told where the other side is (`take_over.rs`).

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
/// By how much the epoch is raised when a run is taken back although the other peer may have it: so that no number of
/// hand-overs over there comes to the same epoch.
const FORCED: u32 = 1000;

/// How far a hand-over is, beyond what the events say.
#[derive(Debug, Default)]
pub(crate) struct Handing {
    /// The next coordinator is being asked.
    pub asking: bool,
    /// It may have said yes although nobody heard it.
    pub unsure: bool,
    /// Steps that run were told to stop.
    pub stopping: bool,
    /// The run is to be given up when it is known who coordinates it; whether what completed is taken back.
    pub give_up: Option<bool>,
}

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

    /// A hand-over that was begun is given up, unless the next coordinator may have the run.
    pub(super) fn stay(&mut self, turn: &mut Turn<'_>, id: RunId) -> Result<(), WorkflowError> {
        let Some(live) = self.runs.get(&id).filter(|live| live.run.moving.is_some()) else { return Ok(()) };
        if live.handing.asking || live.handing.unsure {
            return self.check_settled(id);
        }
        self.end_move(turn, id, MeshError::new(ErrorCode::Cancelled, "it was asked to stay"), 1);
        Ok(())
    }

    /// A run that is being handed over goes on here, whatever the next coordinator does.
    pub(super) fn take_back(&mut self, turn: &mut Turn<'_>, id: RunId) -> Result<(), WorkflowError> {
        let Some(live) = self.runs.get(&id) else { return Err(WorkflowError::UnknownRun(id)) };
        let Some(moving) = &live.run.moving else {
            let wanted = "it is not being handed over: there is nothing to take back".to_owned();
            return Err(WorkflowError::WrongState { id, state: live.run.state(), wanted });
        };
        if !live.handing.asking && !live.handing.unsure {
            return self.stay(turn, id);
        }
        let message = format!("it was taken back although peer {} may have it as well", moving.to);
        tracing::warn!(%id, peer = %moving.to, "workflow run was taken back from a peer that may have it as well");
        self.end_move(turn, id, MeshError::new(ErrorCode::Cancelled, message), FORCED);
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
        if let Some(live) = self.runs.get_mut(&id) {
            live.handing = Handing::default();
        }
        self.revive_move(turn, id);
        Ok(())
    }

    /// A run that moves waits for what is under way; tasks that nobody runs yet are taken back.
    pub(super) fn revive_move(&mut self, turn: &mut Turn<'_>, id: RunId) {
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
        self.try_move(turn, id);
    }

    /// Everything had been sent before this node started anew: the next coordinator may have said yes.
    pub(super) fn revive_export(&mut self, id: RunId) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        live.exported = true;
        live.handing.unsure = true;
        self.after(After::Export(id));
    }

    /// The time for running steps is over: they are told to stop, and begin anew at the next coordinator. What completes all
    /// the same is kept, for it must not run again; what does not even stop is left alone after another while.
    pub(super) fn move_on(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get_mut(&id).filter(|live| live.run.moving.is_some() && !live.exported)
        else {
            return;
        };
        let told = std::mem::replace(&mut live.handing.stopping, true);
        let flights: Vec<FlightId> = live.flights.values().copied().collect();
        for flight in flights {
            self.stop_to_move(turn, flight, told);
        }
        if !told {
            self.set_timer(id, turn.now.after(self.options.stop_within()), What::MoveOn);
        }
        self.try_move(turn, id);
    }

    fn stop_to_move(&mut self, turn: &mut Turn<'_>, id: FlightId, told: bool) {
        let Some(flight) = self.flights.get_mut(&id).filter(|flight| flight.kind != Kind::Sub) else {
            return;
        };
        let nobody_has_it = flight.stage == Stage::Preparing || flight.unit == WHOLE;
        let refused = flight.stage == Stage::Submitting { unsure: false } && flight.trouble.is_some();
        let wait = !told && !nobody_has_it && !refused;
        let task = flight.task();
        flight.stop = true;
        if let Some(task) = task {
            self.cancel_task(id, task, "its run moves to another peer");
        }
        // (One that is being submitted is cancelled when its task is known.)
        if !wait
            && let Some(landed) = self.land(id)
            && !nobody_has_it
        {
            self.withdraw(turn, landed.run, landed.unit);
        }
    }

    /// Whether nothing is under way any more that has to end here. Sub-workflows go on where they are: the next
    /// coordinator finds them by their keys.
    pub(super) fn try_move(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        let settled = matches!(live.run.phase, Phase::Pending | Phase::Running) && !live.exported;
        if !settled || live.run.moving.is_none() || live.replacing {
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
        self.emit(turn.now, id, Event::Exported);
        self.after(After::Export(id));
    }

    /// Everything of the run is on the disk, and that it is sent: the next coordinator is asked.
    pub(super) fn export(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get_mut(&id).filter(|live| live.exported && !live.replacing) else {
            return;
        };
        if let Some(moving) = live.run.moving.as_ref().filter(|_| !live.handing.asking) {
            live.handing.asking = true;
            let what = HandOver { run: id, to: moving.to.clone(), epoch: moving.epoch };
            turn.out.push(Effect::HandOver(Box::new(what)));
        }
    }

    /// The next coordinator answered, or did not.
    pub(crate) fn handed(&mut self, turn: &mut Turn<'_>, id: RunId, epoch: u32, handed: Handed) {
        let asked = self.runs.get_mut(&id).filter(|live| {
            let moving = live.run.moving.as_ref();
            live.exported && !live.replacing && moving.is_some_and(|moving| moving.epoch == epoch)
        });
        if let Some(live) = asked {
            live.handing.asking = false;
            let unsure = live.handing.unsure;
            match handed {
                Handed::Taken => self.moved(turn, id),
                Handed::Refused { error, never } if never || !unsure => self.end_move(turn, id, error, 1),
                // It does not have the run now. But it may have had it, and given it to somebody else.
                Handed::Refused { error, .. } => self.ask_again_later(turn, id, error, true),
                Handed::Failed { error, unsure } => self.ask_again_later(turn, id, error, unsure),
            }
        } else if matches!(handed, Handed::Taken) {
            tracing::info!(%id, epoch, "a peer says late that it took a workflow run over");
        }
        self.settle(turn);
    }

    fn ask_again_later(&mut self, turn: &mut Turn<'_>, id: RunId, error: MeshError, unsure: bool) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        live.handing.unsure |= unsure;
        live.move_tries = live.move_tries.saturating_add(1);
        live.move_trouble = Some(error.message);
        let at = turn.now.after(AGAIN.delay(live.move_tries, &mut self.rng));
        self.set_timer(id, at, What::Move);
    }

    fn moved(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(moving) = self.runs.get(&id).and_then(|live| live.run.moving.clone()) else { return };
        let (to, epoch) = (moving.to, moving.epoch);
        self.totals.moved_out += 1;
        self.emit(turn.now, id, Event::Moved { to: to.clone(), epoch });
        self.drop_timers(id);
        let mut give_up = None;
        if let Some(live) = self.runs.get_mut(&id) {
            live.exported = false;
            live.ending = true;
            live.ready.clear();
            live.starts.clear();
            give_up = std::mem::take(&mut live.handing).give_up;
        }
        self.write_summary(turn, id, Some(to.clone()));
        self.after(After::Ended(id));
        if let Some(compensate) = give_up {
            self.cancel_far(to, id, compensate);
        }
        if let Some(flight) = self.children.remove(&id) {
            self.look_at_part(turn, flight, id);
        }
    }

    /// The run stays, under an epoch that is so much higher than the one that was offered.
    pub(super) fn end_move(&mut self, turn: &mut Turn<'_>, id: RunId, error: MeshError, raise: u32) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        let Some(moving) = live.run.moving.clone() else { return };
        let give_up = std::mem::take(&mut live.handing).give_up;
        live.move_tries = 0;
        live.move_trouble = None;
        let exported = std::mem::take(&mut live.exported);
        live.timers.retain(|(_, what)| !matches!(what, What::MoveOn | What::Move));
        let waits = live.run.phase == Phase::Pending;
        self.rearm(id);
        let epoch = moving.epoch.saturating_add(raise);
        self.emit(turn.now, id, Event::MoveEnded { error, epoch });
        if exported || waits {
            self.revive(turn, id);
        } else {
            self.revive_parts(turn, id);
            self.offer_all(turn, id);
        }
        if let Some(compensate) = give_up {
            self.cancel_part(turn, id, compensate);
        }
    }
}
