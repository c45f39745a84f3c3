//! The simulator of workflows: ten virtual nodes in one thread and virtual time, each with the real coordinator and the
//! real queue over one store, and a worker; clients submit random workflows, cancel, pause, retry and hand them over.
//!
//! Everything between the nodes goes through a network that loses, delays and is cut; nodes crash, alone or several at
//! once, and lose what their store had not synced; clocks on walls jump by hours; databases fail, disks are full; workers
//! run on after they lost their lease, and some vanish for ever. All of it follows from one seed. Every event that a
//! coordinator writes is judged when it is written ([`oracle`]): no unit completes twice, across hand-overs and epochs; a
//! finished run never changes; what completed and asked for it is taken back, and nothing else; nobody adds to a run that
//! somebody else coordinates; nothing starts before what it needs; what a run ends with is what a worker gave. Cancelled
//! runs stop within their bound. At the end the chaos stops, and every run must end unless it waits for a worker that
//! does not exist.
//!
//! What the actor does around the state machine (asking peers, hand-over of histories, deadlines) is done here in the same
//! way, with shorter times.
//!
//! Rerun one seed with `MESHWORK_SIM_SEED=<seed> cargo test -p meshwork-work --lib workflow::sim::tests::the_seed --
//! --nocapture`, or many with `<first>..<end>`; thousands are best run with `--release` behind `test`. With
//! `MESHWORK_SIM_STORY=<part of a run's id>` what happens to a run is printed, and what goes wrong around it.

mod calls;
mod chaos;
mod client;
mod ledger;
mod look;
mod messages;
mod net;
mod node;
mod oracle;
mod outside;
mod plan;
mod store;
mod tasks;
mod tests;
mod worker;
mod world;
mod writes;

/// What is known to be wrong: the mix of the simulator leaves it out. Whoever mends it takes it out of [`OPEN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// Two coordinators after a hand-over: runs are not handed over.
    HandOver,
    /// A part that was not told that its parent ends runs on.
    PartsRunOn,
}

/// What is left out now.
const OPEN: &[Open] = &[];

/// What is wrong on purpose: shows that it would be noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Attempts are submitted without the keys by which the queue knows them again.
    KeysForgotten,
    /// Nobody gives up the tasks of runs that end.
    DeafQueue,
    /// The store says that something is on the disk when it is only written.
    EarlySync,
    /// The coordinator is told of another result than the worker gave.
    FalseResult,
    /// A crash leaves what was written later, and not all of what was written before.
    TornLog,
    /// A peer that took a run over is heard to say that it never will.
    FalseRefusal,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Violation {
    /// When, in milliseconds of virtual time.
    at: u64,
    what: String,
}

/// What a world went through: shows that it was one worth looking at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Report {
    events: u64,
    crashes: u64,
    messages_lost: u64,
    runs: u64,
    parts: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    undone: u64,
    moved: u64,
    retried: u64,
    /// Runs that wait for what does not exist.
    hopeless: u64,
}

impl Report {
    fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.events, other.events),
            (&mut self.crashes, other.crashes),
            (&mut self.messages_lost, other.messages_lost),
            (&mut self.runs, other.runs),
            (&mut self.parts, other.parts),
            (&mut self.completed, other.completed),
            (&mut self.failed, other.failed),
            (&mut self.cancelled, other.cancelled),
            (&mut self.undone, other.undone),
            (&mut self.moved, other.moved),
            (&mut self.retried, other.retried),
            (&mut self.hopeless, other.hopeless),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum += more);
    }
}

/// Runs one seed.
fn run(seed: u64, fault: Option<Fault>) -> Result<Report, Violation> {
    world::World::new(seed, fault).run()
}
