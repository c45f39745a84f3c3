//! What the executor's tasks share: the registry, the slots, the attempts that run.
//!
//! Claims and calls run as tasks on the runtime and must give their places back the moment they end, also when they
//! panic; so this state lives behind a lock with guards instead of inside the actor, and survives the actor's restart
//! together with what runs. Every critical section is a few map operations.

use super::leases::LeaseKey;
use super::logic::{Counts, Lot, Offered, Refusal, Slots, Source, Ticket};
use super::metrics::Metrics;
use super::registry::{Registry, Tool};
use super::stop::{Stop, StopReason};
use meshwork_proto::UnixMillis;
use meshwork_proto::executor::{ToolError, ToolInfo, UpstreamTools};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long a direct call waits for a place that is only reserved for a claim under way.
const RESERVED_PATIENCE: Duration = Duration::from_secs(1);

/// An attempt that runs here.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) tool: String,
    pub(super) source: Source,
    pub(super) attempt: u32,
    pub(super) since: UnixMillis,
    pub(super) stop: Stop,
}

#[derive(Debug)]
struct State {
    registry: Registry,
    slots: Slots,
    runs: BTreeMap<LeaseKey, Run>,
    draining: bool,
}

/// The shared state.
#[derive(Debug)]
pub(super) struct Board {
    state: Mutex<State>,
    /// Counts changes after which somebody who waits should look again.
    changed: watch::Sender<u64>,
    metrics: Metrics,
}

impl Board {
    pub(super) fn new(registry: Registry, slots: u32, metrics: Metrics) -> Arc<Self> {
        let mut slots = Slots::new(slots);
        slots.set_tools(registry.limits());
        metrics.slots(slots.counts());
        let state = State { registry, slots, runs: BTreeMap::new(), draining: false };
        Arc::new(Self { state: Mutex::new(state), changed: watch::Sender::new(0), metrics })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The tool of this name.
    ///
    /// # Errors
    /// [`ToolError::Unknown`] with the nearest names.
    pub(super) fn find(&self, name: &str) -> Result<Arc<Tool>, ToolError> {
        let found = self.state().registry.find(name);
        // Comparing names takes a while: not under the lock.
        found.map_err(|known| known.unknown(name))
    }

    pub(super) fn list(&self) -> Vec<ToolInfo> {
        self.state().registry.list()
    }

    pub(super) fn tool_count(&self) -> usize {
        self.state().registry.len()
    }

    pub(super) fn set_upstream(&self, update: UpstreamTools) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.registry.set_upstream(update);
        state.slots.set_tools(state.registry.limits());
        drop(guard);
        self.changed();
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().slots.counts()
    }

    /// Tools that have room now.
    pub(super) fn open_tools(&self) -> Offered {
        self.state().slots.open_tools()
    }

    /// What an owner is offered: these rooms, and the other tools with no room.
    pub(super) fn with_full_tools(&self, rooms: BTreeMap<String, u32>) -> BTreeMap<String, u32> {
        self.state().slots.with_full_tools(rooms)
    }

    /// Ends when a tool has room that is not among these.
    pub(super) async fn another_tool_opens(&self, offered: &Offered) {
        let mut changes = self.changed.subscribe();
        while !self.state().slots.opens_more_than(offered) {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits for its turn and for places, and reserves them.
    pub(super) async fn reserve(self: &Arc<Self>, source: &Source) -> Reservation {
        let mut changes = self.changed.subscribe();
        let waiting = Waiting { board: self, ticket: self.state().slots.wait(source.clone()) };
        loop {
            changes.mark_unchanged();
            let lot = {
                let mut state = self.state();
                let lot = state.slots.reserve(waiting.ticket);
                self.metrics.slots(state.slots.counts());
                lot
            };
            if let Some(lot) = lot {
                return Reservation { board: Arc::clone(self), lot: Some(lot) };
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// A place for a direct call.
    ///
    /// # Errors
    /// [`ToolError::Busy`] when there is none, [`ToolError::Unavailable`] when the node drains.
    pub(super) async fn start_direct(self: &Arc<Self>, tool: &str) -> Result<Slot, ToolError> {
        let mut changes = self.changed.subscribe();
        let patience = tokio::time::sleep(RESERVED_PATIENCE);
        tokio::pin!(patience);
        loop {
            changes.mark_unchanged();
            let refused = match self.try_start(tool) {
                Ok(slot) => return Ok(slot),
                Err(refused) => refused,
            };
            let tool = tool.to_owned();
            let limit = match refused {
                Refusal::Draining => {
                    return Err(ToolError::Unavailable { tool, problem: "the node is draining".into() });
                }
                Refusal::Busy { limit } => return Err(ToolError::Busy { tool, limit }),
                Refusal::Reserved { limit } => limit,
            };
            tokio::select! {
                _ = changes.changed() => {}
                () = &mut patience => return Err(ToolError::Busy { tool, limit }),
            }
        }
    }

    fn try_start(self: &Arc<Self>, tool: &str) -> Result<Slot, Refusal> {
        let mut state = self.state();
        state.slots.start(tool)?;
        self.metrics.slots(state.slots.counts());
        Ok(Slot { board: Arc::clone(self), tool: tool.to_owned() })
    }

    /// Enters an attempt; none if it runs here already.
    pub(super) fn enter(self: &Arc<Self>, key: LeaseKey, run: Run) -> Option<Entry> {
        let mut state = self.state();
        if state.runs.contains_key(&key) {
            return None;
        }
        state.runs.insert(key, run);
        Some(Entry { board: Arc::clone(self), key })
    }

    /// Stops an attempt; false if it does not run here.
    pub(super) fn stop(&self, key: LeaseKey, reason: StopReason) -> bool {
        let stop = self.state().runs.get(&key).map(|run| run.stop.clone());
        stop.inspect(|stop| stop.request(reason)).is_some()
    }

    /// The attempts that run, in order.
    pub(super) fn runs(&self) -> Vec<(LeaseKey, Run)> {
        self.state().runs.iter().map(|(key, run)| (*key, run.clone())).collect()
    }

    pub(super) fn run_count(&self) -> u32 {
        u32::try_from(self.state().runs.len()).unwrap_or(u32::MAX)
    }

    /// Ends when no attempt runs.
    pub(super) async fn no_runs(&self) {
        let mut changes = self.changed.subscribe();
        while self.run_count() > 0 {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Nothing new is claimed or started from now on.
    pub(super) fn drain(&self) {
        let mut state = self.state();
        state.slots.drain();
        state.draining = true;
        drop(state);
        self.changed();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.state().draining
    }
}

struct Waiting<'a> {
    board: &'a Board,
    ticket: Ticket,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let others_wait = self.board.state().slots.stop_waiting(self.ticket);
        if others_wait {
            // The next in line may have its turn now.
            self.board.changed();
        }
    }
}

/// Places reserved for a claim; those that are not used are given back when this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    board: Arc<Board>,
    lot: Option<Lot>,
}

impl Reservation {
    pub(super) fn credits(&self) -> u32 {
        self.lot.as_ref().map_or(0, |lot| lot.credits)
    }

    pub(super) fn rooms(&self) -> BTreeMap<String, u32> {
        self.lot.as_ref().map(|lot| lot.rooms.clone()).unwrap_or_default()
    }

    /// Takes a place for this tool out of the reservation; none if it was not offered.
    pub(super) fn take(&mut self, tool: &str) -> Option<Slot> {
        let lot = self.lot.as_mut()?;
        let mut state = self.board.state();
        let started = state.slots.start_reserved(lot, tool);
        self.board.metrics.slots(state.slots.counts());
        drop(state);
        started.then(|| Slot { board: Arc::clone(&self.board), tool: tool.to_owned() })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(lot) = self.lot.take() {
            let mut state = self.board.state();
            let opened = state.slots.give_back(lot);
            self.board.metrics.slots(state.slots.counts());
            drop(state);
            if opened {
                self.board.changed();
            }
        }
    }
}

/// The place of a call; free when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    board: Arc<Board>,
    tool: String,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.board.state();
        let opened = state.slots.end(&self.tool);
        self.board.metrics.slots(state.slots.counts());
        drop(state);
        if opened {
            self.board.changed();
        }
    }
}

/// An attempt's entry; gone when this is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    board: Arc<Board>,
    key: LeaseKey,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let last = {
            let mut state = self.board.state();
            state.runs.remove(&self.key);
            state.runs.is_empty()
        };
        if last {
            self.board.changed();
        }
    }
}
