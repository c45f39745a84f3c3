//! The histories that the nodes have on their disks, as far as they are written; each event is judged when it is.

use super::net::peer;
use super::oracle;
use crate::workflow::logic::Run;
use crate::workflow::records::{Event, EventRecord, Unit, read, read_event_key};
use crate::workflow::tests::bench::Bench;
use bytes::Bytes;
use meshwork_proto::store::{Family, Scan, WriteOp};
use meshwork_proto::workflow::StepState;
use meshwork_proto::{PeerId, RunId};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// What a node has of a run.
#[derive(Debug)]
pub(super) struct History {
    pub records: Vec<EventRecord>,
    /// What follows from them.
    pub run: Run,
    /// Units that completed since they were last run again on purpose.
    pub completed: BTreeSet<Unit>,
    /// Since when it has been failing or being cancelled, in virtual time.
    pub ending_since: Option<u64>,
    /// Since when it has been finished, or with somebody else.
    pub over_since: Option<u64>,
}

/// Histories by run and node.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    of: BTreeMap<(RunId, usize), History>,
}

impl History {
    fn new(id: RunId, bench: &mut Bench) -> Result<Self, String> {
        let header = bench.disk.header(id).ok_or_else(|| format!("run {id} has events and no header"))?;
        let document = bench.disk.payload(&header.definition);
        let workflow = bench.workflow(&document).map_err(|error| error.to_string())?;
        let run = Run::new(id, &header, workflow);
        Ok(Self {
            records: Vec::new(),
            run,
            completed: BTreeSet::new(),
            ending_since: None,
            over_since: None,
        })
    }

    fn push(&mut self, record: EventRecord, now: u64) {
        self.run.apply(self.records.len() as u64 + 1, &record);
        match &record.event {
            Event::Completed { unit, .. } => {
                self.completed.insert(*unit);
            }
            Event::Retried { .. } => {
                let run = &self.run;
                self.completed.retain(|unit| run.unit_state(*unit) == Some(StepState::Completed));
                (self.ending_since, self.over_since) = (None, None);
            }
            Event::Finished { .. } | Event::Moved { .. } => {
                self.over_since.get_or_insert(now);
            }
            Event::Failing { .. } | Event::Cancelling { .. } => {
                self.ending_since.get_or_insert(now);
            }
            _ => {}
        }
        self.records.push(record);
    }
}

/// The run of an event's key.
fn run_of(key: &Bytes) -> Option<RunId> {
    let id = key.strip_prefix(b"e")?.get(..16)?;
    Some(RunId::from_bytes(id.try_into().ok()?))
}

/// The events in a batch, by run.
fn events_of(ops: &[WriteOp]) -> Result<BTreeMap<RunId, Vec<(u64, EventRecord)>>, String> {
    let mut events: BTreeMap<RunId, Vec<(u64, EventRecord)>> = BTreeMap::new();
    for op in ops {
        let WriteOp::Put { family: Family::Workflows, key, value } = op else { continue };
        if let (Some(run), Some(seq)) = (run_of(key), read_event_key(key)) {
            let record = read(value).map_err(|error| error.to_string())?;
            events.entry(run).or_default().push((seq, record));
        }
    }
    Ok(events)
}

impl Ledger {
    pub(super) fn all(&self) -> impl Iterator<Item = (RunId, usize, &History)> {
        self.of.iter().map(|((run, node), history)| (*run, *node, history))
    }

    pub(super) fn get(&self, run: RunId, node: usize) -> Option<&History> {
        self.of.get(&(run, node))
    }

    /// What all nodes have of a run.
    pub(super) fn of_run(&self, run: RunId) -> impl Iterator<Item = (usize, &History)> {
        self.of.range((run, 0)..=(run, usize::MAX)).map(|((_, node), history)| (*node, history))
    }

    /// A node has written a batch of its coordinator: every new event is judged. Those that it has not seen before.
    pub(super) fn written(
        &mut self,
        node: usize,
        bench: &mut Bench,
        ops: &[WriteOp],
        now: u64,
    ) -> Result<Vec<(RunId, EventRecord)>, String> {
        let mut fresh = Vec::new();
        for (run, events) in events_of(ops)? {
            let taken = match events.last() {
                Some((_, EventRecord { event: Event::TakenOver { from, epoch }, .. }))
                    if events[0].0 == 1 =>
                {
                    Some((from.clone(), *epoch))
                }
                _ => None,
            };
            match taken {
                Some((from, epoch)) => self.take_over(node, bench, run, &from, epoch, events, now)?,
                None => {
                    fresh.extend(events.iter().map(|(_, record)| (run, record.clone())));
                    self.append(node, bench, run, events, now)?;
                }
            }
        }
        Ok(fresh)
    }

    /// What a node has of a run, from its first event on.
    fn open(&mut self, run: RunId, node: usize, bench: &mut Bench) -> Result<&mut History, String> {
        match self.of.entry((run, node)) {
            Entry::Occupied(history) => Ok(history.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(History::new(run, bench)?)),
        }
    }

    fn append(
        &mut self,
        node: usize,
        bench: &mut Bench,
        run: RunId,
        events: Vec<(u64, EventRecord)>,
        now: u64,
    ) -> Result<(), String> {
        for (seq, record) in events {
            let told =
                |what: String| format!("run {run} at node {node}, event {seq} {:?}: {what}", record.event);
            self.fence(run, node, &record).map_err(told)?;
            let history = self.open(run, node, bench)?;
            if seq != history.records.len() as u64 + 1 {
                return Err(told(format!("it follows event {}", history.records.len())));
            }
            oracle::judge(history, &record).map_err(told)?;
            history.push(record, now);
        }
        Ok(())
    }

    /// Nobody may add to a run that somebody else coordinates under a higher epoch.
    fn fence(&self, run: RunId, node: usize, record: &EventRecord) -> Result<(), String> {
        if matches!(record.event, Event::Moved { .. }) {
            return Ok(());
        }
        for (other, history) in self.of_run(run).filter(|(other, _)| *other != node) {
            let gave = matches!(history.run.phase, crate::workflow::logic::Phase::Moved(_));
            if !gave && history.run.epoch > record.epoch {
                return Err(format!("node {other} coordinates it under epoch {}", history.run.epoch));
            }
        }
        Ok(())
    }

    /// A run was taken over: everything that its giver had decided has come with it.
    #[allow(clippy::too_many_arguments, reason = "all of it belongs to one hand-over")]
    fn take_over(
        &mut self,
        node: usize,
        bench: &mut Bench,
        run: RunId,
        from: &PeerId,
        epoch: u32,
        events: Vec<(u64, EventRecord)>,
        now: u64,
    ) -> Result<(), String> {
        let told = |what: &str| Err(format!("run {run} is taken over by node {node} from {from}: {what}"));
        let giver = self.of_run(run).find(|(other, _)| peer(*other) == *from);
        let Some((_, giver)) = giver else { return told("the giver never had it") };
        let given = events.len() - 1;
        let same = giver.records.len() >= given
            && giver.records.iter().zip(&events).take(given).all(|(have, (_, got))| have == got);
        if !same {
            return told("its history is not that of the giver");
        }
        let more = giver.records.get(given..).unwrap_or_default();
        let sent = |record: &EventRecord| match &record.event {
            Event::Exported => true,
            Event::Moved { epoch: to, .. } => *to == epoch,
            _ => false,
        };
        if let Some(record) = more.iter().find(|record| !sent(record)) {
            return told(&format!("the giver had gone on with {:?}", record.event));
        }
        if let Some((_, last)) = events.last() {
            self.fence(run, node, last)?;
        }
        let ending_since = giver.ending_since;
        let mut history = History::new(run, bench)?;
        events.into_iter().for_each(|(_, record)| history.push(record, now));
        history.ending_since = ending_since;
        self.of.insert((run, node), history);
        Ok(())
    }

    /// What a node has after a crash.
    pub(super) fn reload(&mut self, node: usize, bench: &mut Bench, now: u64) -> Result<(), String> {
        let before: BTreeMap<RunId, History> = {
            let keys: Vec<_> = self.of.keys().filter(|(_, of)| *of == node).copied().collect();
            keys.into_iter().filter_map(|key| Some((key.0, self.of.remove(&key)?))).collect()
        };
        let from = Bytes::from_static(b"e");
        let to = Some(Bytes::from_static(b"f"));
        let limit = 10_000;
        let scan = Scan { family: Family::Workflows, from, after: false, to, limit, reverse: false };
        for (key, value) in bench.disk.scan(&scan) {
            let Some(run) = run_of(&key) else { continue };
            let history = self.open(run, node, bench)?;
            let record = read(&value).map_err(|error| error.to_string())?;
            let seq = read_event_key(&key).unwrap_or_default();
            if seq != history.records.len() as u64 + 1 {
                return Err(format!("run {run} at node {node} lacks event {}", history.records.len() + 1));
            }
            history.push(record, now);
        }
        for (run, before) in before {
            if let Some(history) = self.of.get_mut(&(run, node)) {
                history.ending_since = history.ending_since.and(before.ending_since);
                history.over_since = history.over_since.and(before.over_since);
            }
        }
        Ok(())
    }
}
