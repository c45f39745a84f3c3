//! Tasks that may be claimed, in lines: a claim looks only at the heads of the classes that it matches.
//!
//! A *class* is a combination of tool, labels and target peers: a worker matches all its tasks or none. Inside a class
//! each tenant has a *lane*, and tasks that share a concurrency key stand in a line of their own inside it, of which
//! only the first is in the open, and only while no task with that key runs. So a blocked task is never stepped over:
//! it is not in the open.
//!
//! Order among what is in the open: priority, then tenants by turns (each grant to a tenant puts it behind the
//! others), then submission. With one tenant, or none, that is submission order inside a priority.

use super::names::Name;
use meshwork_proto::PeerId;
use meshwork_proto::queue::Offer;
use meshwork_proto::task::MAX_PRIORITY;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::table::Slot;

/// What a worker must have and be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassSpec {
    pub tool: String,
    pub labels: BTreeSet<String>,
    pub targets: BTreeSet<PeerId>,
}

impl ClassSpec {
    /// Whether the worker's labels and peer are right.
    pub(crate) fn admits(&self, offer: &Offer, peer: Option<&PeerId>) -> bool {
        let right_peer = self.targets.is_empty() || peer.is_some_and(|peer| self.targets.contains(peer));
        right_peer && self.labels.iter().all(|label| has(offer, label))
    }
}

/// Whether a worker can do what a label stands for: it has the label, or serves a tool of this name.
pub(crate) fn has(offer: &Offer, label: &str) -> bool {
    offer.labels.contains(label) || offer.tools.contains_key(label)
}

/// Number of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassIx(u32);

/// Order inside a lane: priority (the highest first), then submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(u64);

impl Rank {
    pub(crate) fn new(priority: u8, seq: u64) -> Self {
        let level = u64::from(MAX_PRIORITY.saturating_sub(priority));
        Self((level << 56) | (seq & ((1 << 56) - 1)))
    }

    fn level(self) -> u64 {
        self.0 >> 56
    }
}

/// Where a task stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub slot: Slot,
    pub class: ClassIx,
    pub tenant: Option<Name>,
    pub key: Option<Name>,
    pub rank: Rank,
}

/// The first of a lane, as classes and claims compare it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Head {
    level: u64,
    turn: u64,
    rank: Rank,
    tenant: Option<Name>,
}

#[derive(Debug, Default)]
struct Lane {
    /// Tasks that nothing but the tenant's limit blocks.
    open: BTreeMap<Rank, Slot>,
    /// Tasks by concurrency key, the one in the open included.
    keyed: BTreeMap<Name, BTreeMap<Rank, Slot>>,
    /// As it stands among the class's heads.
    head: Option<Head>,
}

#[derive(Debug)]
struct Class {
    spec: Rc<ClassSpec>,
    users: u32,
    lanes: BTreeMap<Option<Name>, Lane>,
    heads: BTreeSet<Head>,
}

#[derive(Debug, Default)]
struct Tenant {
    running: u32,
    /// Tasks that stand in lines.
    ready: u64,
    turn: u64,
    classes: BTreeSet<ClassIx>,
}

#[derive(Debug, Default)]
struct Gate {
    running: u32,
    lines: BTreeSet<(ClassIx, Option<Name>)>,
}

/// All lines.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    tenant_limit: Option<u32>,
    classes: Vec<Option<Class>>,
    free: Vec<ClassIx>,
    by_spec: BTreeMap<Rc<ClassSpec>, ClassIx>,
    by_tool: BTreeMap<String, BTreeSet<ClassIx>>,
    tenants: BTreeMap<Option<Name>, Tenant>,
    gates: BTreeMap<Name, Gate>,
    /// The latest turn that was granted: a tenant that comes back does not have all the turns that it missed.
    clock: u64,
    /// Classes in which something came into the open.
    dirty: BTreeSet<ClassIx>,
}

impl Lanes {
    pub(crate) fn new(tenant_limit: Option<u32>) -> Self {
        Self { tenant_limit, ..Self::default() }
    }

    /// Whether nothing is left of any task.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_spec.is_empty() && self.by_tool.is_empty() && self.tenants.is_empty() && self.gates.is_empty()
    }

    /// The class with one more user; made if there is none.
    #[expect(clippy::expect_used, reason = "the number of classes is far below four billion")]
    pub(crate) fn take_class(&mut self, spec: ClassSpec) -> ClassIx {
        if let Some(&ix) = self.by_spec.get(&spec) {
            if let Some(class) = self.class_mut(ix) {
                class.users += 1;
            }
            return ix;
        }
        let spec = Rc::new(spec);
        let class =
            Class { spec: Rc::clone(&spec), users: 1, lanes: BTreeMap::new(), heads: BTreeSet::new() };
        let ix = self.free.pop().unwrap_or_else(|| {
            self.classes.push(None);
            ClassIx(u32::try_from(self.classes.len() - 1).expect("fewer than four billion classes"))
        });
        if let Some(place) = self.classes.get_mut(ix.0 as usize) {
            *place = Some(class);
        }
        self.by_tool.entry(spec.tool.clone()).or_default().insert(ix);
        self.by_spec.insert(spec, ix);
        ix
    }

    /// Takes one user away; the last one's class is forgotten. Its tasks must have left the lines.
    pub(crate) fn give_back_class(&mut self, ix: ClassIx) {
        let Some(class) = self.class_mut(ix) else { return };
        class.users -= 1;
        if class.users > 0 {
            return;
        }
        let spec = Rc::clone(&class.spec);
        if let Some(place) = self.classes.get_mut(ix.0 as usize) {
            *place = None;
        }
        self.by_spec.remove(&spec);
        if let Some(of_tool) = self.by_tool.get_mut(&spec.tool) {
            of_tool.remove(&ix);
            if of_tool.is_empty() {
                self.by_tool.remove(&spec.tool);
            }
        }
        self.dirty.remove(&ix);
        self.free.push(ix);
    }

    /// Whether a class with this specification would be a new one.
    pub(crate) fn is_new(&self, spec: &ClassSpec) -> bool {
        !self.by_spec.contains_key(spec)
    }

    /// How many classes there are.
    pub(crate) fn class_count(&self) -> usize {
        self.by_spec.len()
    }

    /// What the class asks of a worker.
    pub(crate) fn spec(&self, ix: ClassIx) -> Option<&Rc<ClassSpec>> {
        self.class(ix).map(|class| &class.spec)
    }

    /// Tools that unfinished tasks need.
    pub(crate) fn tools(&self) -> impl Iterator<Item = &String> {
        self.by_tool.keys()
    }

    /// The classes that a worker matches and has room for.
    pub(crate) fn matching(&self, offer: &Offer, peer: Option<&PeerId>) -> Vec<ClassIx> {
        let fits = |ix: &ClassIx| self.spec(*ix).is_some_and(|spec| spec.admits(offer, peer));
        let of_tool = |(tool, room): (&String, &u32)| if *room > 0 { self.by_tool.get(tool) } else { None };
        if offer.tools.len() <= self.by_tool.len() {
            return offer.tools.iter().filter_map(of_tool).flatten().copied().filter(fits).collect();
        }
        let offered = |tool: &&String| offer.tools.get(*tool).is_some_and(|room| *room > 0);
        self.by_tool
            .iter()
            .filter(|(tool, _)| offered(tool))
            .flat_map(|(_, of_tool)| of_tool)
            .copied()
            .filter(fits)
            .collect()
    }

    /// A task may be claimed from now on, as far as limits allow.
    pub(crate) fn add(&mut self, place: Place) {
        let clock = self.clock;
        let tenant = self.tenants.entry(place.tenant).or_default();
        if tenant.ready == 0 {
            tenant.turn = tenant.turn.max(clock);
        }
        tenant.ready += 1;
        tenant.classes.insert(place.class);
        let key = place.key;
        let blocked = key.is_some_and(|key| {
            let gate = self.gates.entry(key).or_default();
            gate.lines.insert((place.class, place.tenant));
            gate.running > 0
        });
        let Some(lane) = self.lane_mut(place.class, place.tenant) else { return };
        match key {
            None => {
                lane.open.insert(place.rank, place.slot);
            }
            Some(key) => {
                let line = lane.keyed.entry(key).or_default();
                let first = line.first_key_value().map(|(rank, _)| *rank);
                line.insert(place.rank, place.slot);
                if !blocked && first.is_none_or(|first| place.rank < first) {
                    if let Some(first) = first {
                        lane.open.remove(&first);
                    }
                    lane.open.insert(place.rank, place.slot);
                }
            }
        }
        self.refresh(place.class, place.tenant);
        self.dirty.insert(place.class);
    }

    /// A task leaves the lines without being started.
    pub(crate) fn remove(&mut self, place: Place) {
        self.leave(place);
        self.forget_idle_tenant(place.tenant);
    }

    /// A task leaves the lines to run; [`Lanes::resume`] follows.
    pub(crate) fn leave_to_run(&mut self, place: Place) {
        self.leave(place);
    }

    /// A task runs: what shares its key is blocked, and its tenant had a turn. It does not stand in a line any more,
    /// or never did since a restart.
    pub(crate) fn resume(&mut self, place: Place) {
        let limit = self.limit_of(place.tenant);
        let tenant = self.tenants.entry(place.tenant).or_default();
        tenant.running += 1;
        self.clock = self.clock.max(tenant.turn);
        tenant.turn += 1;
        let full = limit.is_some_and(|limit| tenant.running >= limit);
        if let Some(key) = place.key {
            self.gates.entry(key).or_default().running += 1;
            self.close_gate(key);
        }
        if full {
            self.refresh_tenant(place.tenant);
        }
    }

    /// A task that ran does so no more.
    pub(crate) fn stop(&mut self, place: Place) {
        if let Some(key) = place.key {
            self.open_gate(key);
        }
        let limit = self.limit_of(place.tenant);
        if let Some(tenant) = self.tenants.get_mut(&place.tenant) {
            let was_full = limit.is_some_and(|limit| tenant.running >= limit);
            tenant.running = tenant.running.saturating_sub(1);
            if was_full {
                self.dirty.extend(tenant.classes.iter().copied());
                self.refresh_tenant(place.tenant);
            }
        }
        self.forget_idle_tenant(place.tenant);
    }

    /// The first of the class that may be claimed.
    pub(crate) fn head(&mut self, ix: ClassIx) -> Option<(Head, Slot)> {
        let class = self.classes.get_mut(ix.0 as usize)?.as_mut()?;
        loop {
            let head = *class.heads.first()?;
            let turn = self.tenants.get(&head.tenant).map_or(head.turn, |tenant| tenant.turn);
            let lane = class.lanes.get_mut(&head.tenant)?;
            if head.turn >= turn {
                return lane.open.get(&head.rank).map(|slot| (head, *slot));
            }
            // Its tenant had a turn since: heads are put right when they come up, not at each grant.
            class.heads.remove(&head);
            let fresh = Head { turn, ..head };
            class.heads.insert(fresh);
            lane.head = Some(fresh);
        }
    }

    /// Whether anything of the class may be claimed.
    pub(crate) fn has_head(&self, ix: ClassIx) -> bool {
        self.class(ix).is_some_and(|class| !class.heads.is_empty())
    }

    /// A class in which something came into the open since it was last taken from here.
    pub(crate) fn take_dirty(&mut self) -> Option<ClassIx> {
        self.dirty.pop_first()
    }

    /// Looks at a class again.
    pub(crate) fn mark(&mut self, ix: ClassIx) {
        self.dirty.insert(ix);
    }

    /// Looks at all classes again.
    pub(crate) fn mark_all(&mut self) {
        self.dirty.extend(self.by_spec.values());
    }

    /// Whether a task with this key runs.
    pub(crate) fn key_runs(&self, key: Name) -> bool {
        self.gates.get(&key).is_some_and(|gate| gate.running > 0)
    }

    /// The limit of the tenant, if it runs as many tasks as it may.
    pub(crate) fn reached_limit(&self, tenant: Option<Name>) -> Option<u32> {
        let limit = self.limit_of(tenant)?;
        self.tenants.get(&tenant).filter(|tenant| tenant.running >= limit).map(|_| limit)
    }

    fn leave(&mut self, place: Place) {
        let key = place.key;
        let blocked = key.is_some_and(|key| self.key_runs(key));
        let Some(lane) = self.lane_mut(place.class, place.tenant) else { return };
        lane.open.remove(&place.rank);
        let mut line_is_empty = false;
        if let Some(line) = key.and_then(|key| lane.keyed.get_mut(&key)) {
            line.remove(&place.rank);
            match line.first_key_value() {
                None => line_is_empty = true,
                Some((rank, slot)) if !blocked => {
                    lane.open.insert(*rank, *slot);
                }
                Some(_) => {}
            }
        }
        if let (Some(key), true) = (key, line_is_empty) {
            lane.keyed.remove(&key);
            self.forget_line(key, place.class, place.tenant);
        }
        self.refresh(place.class, place.tenant);
        self.forget_empty_lane(place.class, place.tenant);
        if let Some(tenant) = self.tenants.get_mut(&place.tenant) {
            tenant.ready = tenant.ready.saturating_sub(1);
        }
    }

    fn forget_line(&mut self, key: Name, class: ClassIx, tenant: Option<Name>) {
        if let Some(gate) = self.gates.get_mut(&key) {
            gate.lines.remove(&(class, tenant));
            if gate.lines.is_empty() && gate.running == 0 {
                self.gates.remove(&key);
            }
        }
    }

    fn forget_empty_lane(&mut self, class: ClassIx, tenant: Option<Name>) {
        let Some(of_class) = self.class_mut(class) else { return };
        if of_class.lanes.get(&tenant).is_some_and(|lane| lane.open.is_empty() && lane.keyed.is_empty()) {
            of_class.lanes.remove(&tenant);
            if let Some(tenant) = self.tenants.get_mut(&tenant) {
                tenant.classes.remove(&class);
            }
        }
    }

    fn forget_idle_tenant(&mut self, name: Option<Name>) {
        if self.tenants.get(&name).is_some_and(|tenant| tenant.ready == 0 && tenant.running == 0) {
            self.tenants.remove(&name);
        }
    }

    /// Takes the first of each line with this key out of the open.
    fn close_gate(&mut self, key: Name) {
        for (class, tenant) in self.gates.get(&key).map(|gate| gate.lines.clone()).unwrap_or_default() {
            if let Some(lane) = self.lane_mut(class, tenant) {
                let first = lane.keyed.get(&key).and_then(|line| line.first_key_value());
                if let Some((rank, _)) = first.map(|(rank, slot)| (*rank, *slot)) {
                    lane.open.remove(&rank);
                }
            }
            self.refresh(class, tenant);
        }
    }

    /// One task with this key has ended; after the last one the first of each line is in the open again.
    fn open_gate(&mut self, key: Name) {
        let Some(gate) = self.gates.get_mut(&key) else { return };
        gate.running = gate.running.saturating_sub(1);
        if gate.running > 0 {
            return;
        }
        let lines = gate.lines.clone();
        if lines.is_empty() {
            self.gates.remove(&key);
        }
        for (class, tenant) in lines {
            if let Some(lane) = self.lane_mut(class, tenant) {
                let first = lane.keyed.get(&key).and_then(|line| line.first_key_value());
                if let Some((rank, slot)) = first.map(|(rank, slot)| (*rank, *slot)) {
                    lane.open.insert(rank, slot);
                }
            }
            self.refresh(class, tenant);
            self.dirty.insert(class);
        }
    }

    fn refresh_tenant(&mut self, tenant: Option<Name>) {
        let classes = self.tenants.get(&tenant).map(|tenant| tenant.classes.clone()).unwrap_or_default();
        for class in classes {
            self.refresh(class, tenant);
        }
    }

    /// Puts a lane's head among those of its class as it is now.
    fn refresh(&mut self, class: ClassIx, tenant: Option<Name>) {
        let full = self.reached_limit(tenant).is_some();
        let turn = self.tenants.get(&tenant).map_or(0, |tenant| tenant.turn);
        let Some(class) = self.class_mut(class) else { return };
        let Some(lane) = class.lanes.get_mut(&tenant) else { return };
        let first = if full { None } else { lane.open.first_key_value() };
        let head = first.map(|(rank, _)| Head { level: rank.level(), turn, rank: *rank, tenant });
        if lane.head != head {
            if let Some(old) = lane.head {
                class.heads.remove(&old);
            }
            if let Some(new) = head {
                class.heads.insert(new);
            }
            lane.head = head;
        }
    }

    fn limit_of(&self, tenant: Option<Name>) -> Option<u32> {
        tenant.and(self.tenant_limit)
    }

    fn class(&self, ix: ClassIx) -> Option<&Class> {
        self.classes.get(ix.0 as usize)?.as_ref()
    }

    fn class_mut(&mut self, ix: ClassIx) -> Option<&mut Class> {
        self.classes.get_mut(ix.0 as usize)?.as_mut()
    }

    /// The tenant's lane in the class; made if there is none.
    fn lane_mut(&mut self, class: ClassIx, tenant: Option<Name>) -> Option<&mut Lane> {
        Some(self.class_mut(class)?.lanes.entry(tenant).or_default())
    }
}
