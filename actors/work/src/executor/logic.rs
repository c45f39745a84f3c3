//! Slot accounting, pure: how many calls run, how many places are reserved for claims that are under way, who waits.
//!
//! A call takes one place of the executor and one of its tool. A claim reserves places before it asks an owner for
//! work, so that what is granted can start at once; what the owner did not use goes back as soon as it has answered.
//!
//! Rules:
//! - running + reserved never exceeds the total, nor the limit of any tool;
//! - this node's own queue may reserve all that is free; a peer at most half of it (rounded up), so that one slow peer
//!   does not keep every place from the others;
//! - when both wait, this node's own queue comes first; peers come in the order in which they began to wait;
//! - while draining, nothing can be reserved or started.

use meshwork_proto::PeerId;
use std::collections::BTreeMap;
use std::fmt;

/// Whose tasks run: the queue of this node or of a peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// This node.
    Local,
    /// A peer.
    Peer(PeerId),
}

impl Source {
    /// The label in metrics: peers are not told apart there.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Peer(_) => "peer",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Peer(peer) => peer.fmt(f),
        }
    }
}

/// Places reserved for one claim.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lot that is dropped keeps its places for ever: give it back"]
pub(super) struct Lot {
    /// Tasks that may be claimed.
    pub(super) credits: u32,
    /// Room for each tool.
    pub(super) rooms: BTreeMap<String, u32>,
}

/// Why a call cannot start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// So many calls run already.
    Busy {
        /// The limit that is reached.
        limit: u32,
    },
    /// The place is reserved for a claim under way and may come back in a moment.
    Reserved {
        /// The limit that is reached.
        limit: u32,
    },
    /// The executor takes no new work.
    Draining,
}

/// What is offered to an owner while waiting for work there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Offered {
    /// Tools with room, and how much.
    pub(super) tools: BTreeMap<String, u32>,
    /// The set of tools of which these are all.
    all_of: Option<u64>,
}

/// How many places there are and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    /// All.
    pub(super) total: u32,
    /// Calls that run.
    pub(super) running: u32,
    /// Reserved for claims under way.
    pub(super) reserved: u32,
}

impl Counts {
    /// Neither running nor reserved.
    pub(super) const fn free(self) -> u32 {
        self.total.saturating_sub(self.running).saturating_sub(self.reserved)
    }
}

/// Names one who waits for places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

#[derive(Debug, Default)]
struct ToolSlots {
    limit: u32,
    running: u32,
    reserved: u32,
    /// The tool is gone; its entry stays until its last call has ended.
    gone: bool,
}

impl ToolSlots {
    const fn room(&self) -> u32 {
        if self.gone { 0 } else { self.limit.saturating_sub(self.running).saturating_sub(self.reserved) }
    }

    const fn is_unused(&self) -> bool {
        self.running == 0 && self.reserved == 0
    }
}

/// The places of an executor.
#[derive(Debug)]
pub(super) struct Slots {
    counts: Counts,
    tools: BTreeMap<String, ToolSlots>,
    waiting: BTreeMap<Ticket, Source>,
    next_ticket: u64,
    /// Counts changes of the set of tools.
    version: u64,
    draining: bool,
}

impl Slots {
    /// So many places, no tools.
    pub(super) fn new(total: u32) -> Self {
        Self {
            counts: Counts { total, ..Counts::default() },
            tools: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_ticket: 0,
            version: 0,
            draining: false,
        }
    }

    /// The tools there are now, with their limits. Calls of tools that are gone go on.
    pub(super) fn set_tools<'a>(&mut self, tools: impl Iterator<Item = (&'a str, u32)>) {
        self.version += 1;
        self.tools.values_mut().for_each(|tool| tool.gone = true);
        for (name, limit) in tools {
            let tool = self.tools.entry(name.to_owned()).or_default();
            tool.limit = limit;
            tool.gone = false;
        }
        self.tools.retain(|_, tool| !tool.gone || !tool.is_unused());
    }

    /// Takes no new work from now on.
    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Tools that have room now; none when no place is free at all.
    pub(super) fn open_tools(&self) -> Offered {
        let tools = self.rooms(self.counts.free());
        let all = tools.len() == self.tools.len();
        Offered { tools, all_of: all.then_some(self.version) }
    }

    /// These rooms, and none for every other tool: an owner knows then that it is served here, though not now.
    pub(super) fn with_full_tools(&self, mut rooms: BTreeMap<String, u32>) -> BTreeMap<String, u32> {
        for name in self.tools.iter().filter(|(_, tool)| !tool.gone).map(|(name, _)| name) {
            if !rooms.contains_key(name) {
                rooms.insert(name.clone(), 0);
            }
        }
        rooms
    }

    /// Whether a tool has room that was not offered.
    pub(super) fn opens_more_than(&self, offered: &Offered) -> bool {
        if offered.all_of == Some(self.version) || self.counts.free() == 0 || self.draining {
            return false;
        }
        self.tools.iter().any(|(name, tool)| tool.room() > 0 && !offered.tools.contains_key(name))
    }

    fn rooms(&self, credits: u32) -> BTreeMap<String, u32> {
        if credits == 0 || self.draining {
            return BTreeMap::new();
        }
        let open = self.tools.iter().filter(|(_, tool)| tool.room() > 0);
        open.map(|(name, tool)| (name.clone(), tool.room().min(credits))).collect()
    }

    /// Enters the line of those who wait for places.
    pub(super) fn wait(&mut self, source: Source) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, source);
        ticket
    }

    /// Leaves the line; whether somebody is still in it.
    pub(super) fn stop_waiting(&mut self, ticket: Ticket) -> bool {
        self.waiting.remove(&ticket);
        !self.waiting.is_empty()
    }

    /// Reserves places for the one who waits with this ticket, if it is its turn and there are any. The ticket stays
    /// in the line until [`Slots::stop_waiting`].
    pub(super) fn reserve(&mut self, ticket: Ticket) -> Option<Lot> {
        if self.first_in_line()? != ticket {
            return None;
        }
        let free = self.counts.free();
        let share = |room: u32, source: &Source| match source {
            Source::Local => room,
            Source::Peer(_) => room.div_ceil(2),
        };
        let source = self.waiting.get(&ticket)?;
        let credits = share(free, source);
        let mut rooms = self.rooms(credits);
        for (name, room) in &mut rooms {
            if let Some(tool) = self.tools.get(name) {
                *room = share(tool.room(), source).min(credits);
            }
        }
        // More credits than all tools together have room for could not be used.
        let usable = rooms.values().fold(0_u32, |sum, room| sum.saturating_add(*room));
        let credits = credits.min(usable);
        if credits == 0 {
            return None;
        }
        self.counts.reserved += credits;
        for (name, room) in &rooms {
            if let Some(tool) = self.tools.get_mut(name) {
                tool.reserved += room;
            }
        }
        Some(Lot { credits, rooms })
    }

    fn first_in_line(&self) -> Option<Ticket> {
        let local = self.waiting.iter().find(|(_, source)| **source == Source::Local);
        local.or_else(|| self.waiting.iter().next()).map(|(ticket, _)| *ticket)
    }

    /// Gives back what a claim did not use; whether something is possible now that was not before.
    pub(super) fn give_back(&mut self, lot: Lot) -> bool {
        let mut opened = self.counts.free() == 0;
        self.counts.reserved = self.counts.reserved.saturating_sub(lot.credits);
        for (name, room) in lot.rooms {
            opened |= self.change_tool(&name, |tool| tool.reserved = tool.reserved.saturating_sub(room));
        }
        opened
    }

    /// Starts a call in a place of this lot; false if the lot has none for the tool.
    pub(super) fn start_reserved(&mut self, lot: &mut Lot, tool: &str) -> bool {
        let Some(room) = lot.rooms.get_mut(tool).filter(|room| **room > 0) else { return false };
        if lot.credits == 0 {
            return false;
        }
        *room -= 1;
        lot.credits -= 1;
        self.counts.reserved = self.counts.reserved.saturating_sub(1);
        self.counts.running += 1;
        self.change_tool(tool, |slots| {
            slots.reserved = slots.reserved.saturating_sub(1);
            slots.running += 1;
        });
        true
    }

    /// Starts a call that nothing was reserved for.
    ///
    /// # Errors
    /// When there is no place, for this tool or at all.
    pub(super) fn start(&mut self, tool: &str) -> Result<(), Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        let total = self.counts;
        let refusal = |limit: u32, running: u32, free: u32| match (free, running >= limit) {
            (0, true) => Some(Refusal::Busy { limit }),
            (0, false) => Some(Refusal::Reserved { limit }),
            _ => None,
        };
        let Some(slots) = self.tools.get_mut(tool).filter(|slots| !slots.gone) else {
            return Err(Refusal::Busy { limit: 0 });
        };
        if let Some(refused) = refusal(slots.limit, slots.running, slots.room()) {
            return Err(refused);
        }
        if let Some(refused) = refusal(total.total, total.running, total.free()) {
            return Err(refused);
        }
        slots.running += 1;
        self.counts.running += 1;
        Ok(())
    }

    /// A call has ended; whether something is possible now that was not before.
    pub(super) fn end(&mut self, tool: &str) -> bool {
        let opened = self.counts.free() == 0;
        self.counts.running = self.counts.running.saturating_sub(1);
        self.change_tool(tool, |slots| slots.running = slots.running.saturating_sub(1)) || opened
    }

    /// Whether the tool had no room before.
    fn change_tool(&mut self, name: &str, change: impl FnOnce(&mut ToolSlots)) -> bool {
        let Some(tool) = self.tools.get_mut(name) else { return false };
        let was_full = tool.room() == 0;
        change(tool);
        if tool.gone && tool.is_unused() {
            self.tools.remove(name);
        }
        was_full
    }
}

#[cfg(test)]
mod tests;
