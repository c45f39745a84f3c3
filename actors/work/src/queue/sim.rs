//! The simulator: three virtual nodes in one thread, each with a queue and a worker, and three clients, in virtual time.
//!
//! Everything between them goes through a network that loses, delays, doubles, reorders and partitions; nodes crash
//! and lose what their store had not synced, disks fill up, databases fail; workers run on after they lost their lease
//! and report too late. All of it follows from one seed. After every step of a queue the [`oracle`] compares what it is
//! with what was promised. At the end the chaos stops, and everything that was accepted must end.
//!
//! Rerun one seed with `MESHWORK_SIM_SEED=<seed> cargo nextest run -p meshwork-work the_seed_of_the_environment`, or many
//! with `<first>..<end>`.

mod client;
mod net;
mod node;
mod oracle;
#[cfg(test)]
mod tests;
mod worker;
mod world;

use crate::queue::logic::Mutant;

/// What is wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// In the state machine.
    Logic(Mutant),
    /// The store forgets to raise the epoch when a node starts.
    EpochNotRaised,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Violation {
    /// When, in milliseconds of virtual time.
    at: u64,
    what: String,
}

/// What a run went through: shows that it was one worth looking at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Report {
    events: u64,
    crashes: u64,
    messages_lost: u64,
    accepted: u64,
    grants: u64,
    finished: u64,
    stale: u64,
}

/// Runs one seed.
fn run(seed: u64, fault: Option<Fault>) -> Result<Report, Violation> {
    world::World::new(seed, fault).run()
}
