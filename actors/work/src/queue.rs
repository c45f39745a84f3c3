//! The queue: the only writer of task records, and the one who says who works on what.
//!
//! Owns: tasks, leases, results, idempotency keys (families `tasks`, `ready`, `leases`, `delayed`, `idempotency`,
//! `results`; `queue/records.rs` has the table of keys). Accepts: everything in [`meshwork_proto::queue`], each with the
//! caller it came from. Asks: the store. Tells: executors that they are to stop a task, its own through a port, a
//! peer's through the transport; the coordinator of workflows how tasks ended that it submitted or watches.
//!
//! Invariants:
//! - What was acknowledged is in the store: a submission, a report, a cancellation or a change is answered after its
//!   commit. Claims are answered before; a lease is not work done, and fences are never used twice.
//! - A task has at most one lease that holds, and only its fence is listened to. Fences and, from one submission to its
//!   end, attempts only grow.
//! - A task finishes once; what is finished changes only by `resubmit`.
//! - The coordinator is told of an end when that is durable. A tell may be lost (in a restart, or when the coordinator does
//!   not get on): whoever waits long asks again.
//! - A claim gets the highest priority that is ready and fits, and within it the tenant whose turn it is, and within
//!   that what was submitted first.
//!
//! Two parts: `logic` decides everything and knows no clock and no I/O; `actor` carries out what it decides. At a
//! restart memory is rebuilt from the store. Leases of remote workers start afresh then, they renew with the fence they
//! have; those of this node's own executor are freed if the whole process is new. A database error, too, ends in a
//! restart: what was applied but not written is forgotten with everybody told. A refusal for want of disk space does
//! not: submissions come into being only when they are written.

mod actor;
mod handlers;
mod held;
pub(crate) mod logic;
mod metrics;
mod options;
pub(crate) mod records;
#[cfg(test)]
mod sim;
#[cfg(test)]
pub(crate) mod tests;

pub use actor::QueueStatus;
pub use options::{OptionError, QueueOptions};

use actor::{Queue, Shared};
use logic::FenceSource;
use meshwork_kit::{ActorRef, Clock, Mailbox, Port, Supervision, mailbox};
use meshwork_proto::PeerId;
use meshwork_proto::executor::StopTask;
use meshwork_proto::queue::{
    By, Cancel, Claim, Finish, GetTask, List, Renew, Resubmit, StartDraining, Stats, StepsKnown, Submit,
    SubmitStep, Update, WatchTask, WorkerPeerBack, WorkerPeerLost,
};
use meshwork_proto::store::{Commit, ReadKey, ReadKeys, Scan};
use meshwork_proto::transport::CallPeer;
use meshwork_proto::workflow::TaskEnded;
use metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Submissions, and reports, under way at a time; further ones wait for a place.
const WRITES: usize = 2048;
/// Other requests under way at a time.
const OTHERS: usize = 256;

/// Ways to the queue. Each has a quota of requests under way: one more waits for a place within its asker's deadline.
#[derive(Debug, Clone)]
pub struct QueuePorts {
    /// Accept a task.
    pub submit: Port<By<Submit>>,
    /// Accept a task of this node's coordinator, which is told of its end.
    pub submit_step: Port<By<SubmitStep>>,
    /// Tell this node's coordinator of a task's end.
    pub watch: Port<By<WatchTask>>,
    /// The coordinator knows of all its steps: finished tasks may be forgotten.
    pub steps_known: Port<StepsKnown>,
    /// Give work, or wait for it.
    pub claim: Port<By<Claim>>,
    /// Renew leases.
    pub renew: Port<By<Renew>>,
    /// End an attempt.
    pub finish: Port<By<Finish>>,
    /// Give up a task.
    pub cancel: Port<By<Cancel>>,
    /// Change a task.
    pub update: Port<By<Update>>,
    /// Run a finished task again.
    pub resubmit: Port<By<Resubmit>>,
    /// Read a task, perhaps waiting for its end.
    pub get: Port<By<GetTask>>,
    /// List tasks.
    pub list: Port<By<List>>,
    /// Counts.
    pub stats: Port<By<Stats>>,
    /// Take no new work.
    pub drain: Port<By<StartDraining>>,
    /// A worker's connection is gone.
    pub worker_lost: Port<WorkerPeerLost>,
    /// A worker's connection is back.
    pub worker_back: Port<WorkerPeerBack>,
}

/// Whom the queue needs, and who it is.
#[derive(Debug, Clone)]
pub struct QueueDeps {
    /// Time.
    pub clock: Clock,
    /// Writes; the order in which they are sent is the order in which they take effect.
    pub commit: Port<Commit>,
    /// Reads one value.
    pub read_key: Port<ReadKey>,
    /// Reads many values.
    pub read_keys: Port<ReadKeys>,
    /// Reads ranges.
    pub scan: Port<Scan>,
    /// Raised durably at each start of the node: fences of an earlier one are smaller.
    pub epoch: u32,
    /// This node: workers of this peer are its own executor.
    pub local_peer: PeerId,
    /// Its own executor.
    pub stop_local: Port<StopTask>,
    /// Executors of peers.
    pub call_peer: Port<CallPeer>,
    /// The coordinator of workflows: how tasks ended that it watches.
    pub ended: Port<TaskEnded>,
    /// For task ids and back-off.
    pub seed: u64,
}

/// A queue whose ports exist and that has not been started.
#[derive(Debug)]
pub struct QueueSeed {
    mailbox: Mailbox<Queue>,
    options: QueueOptions,
}

/// Phase 1: the ports, to hand around; messages wait until [`QueueSeed::start`].
///
/// # Errors
/// When an option makes no sense.
pub fn prepare(options: QueueOptions) -> Result<(QueuePorts, QueueSeed), OptionError> {
    options.check()?;
    let mailbox = mailbox::<Queue>();
    let waiting = options.max_waiters as usize;
    let ports = QueuePorts {
        submit: mailbox.port_in_flight(WRITES),
        submit_step: mailbox.port_in_flight(WRITES),
        watch: mailbox.port_in_flight(OTHERS),
        steps_known: mailbox.port(8),
        claim: mailbox.port_in_flight(waiting),
        renew: mailbox.port_in_flight(WRITES),
        finish: mailbox.port_in_flight(WRITES),
        cancel: mailbox.port_in_flight(OTHERS),
        update: mailbox.port_in_flight(OTHERS),
        resubmit: mailbox.port_in_flight(OTHERS),
        get: mailbox.port_in_flight(waiting),
        list: mailbox.port_in_flight(32),
        stats: mailbox.port_in_flight(OTHERS),
        drain: mailbox.port_in_flight(8),
        worker_lost: mailbox.port(1024),
        worker_back: mailbox.port(1024),
    };
    Ok((ports, QueueSeed { mailbox, options }))
}

impl QueueSeed {
    /// Phase 2: reads what the store holds of unfinished tasks, and begins.
    ///
    /// # Errors
    /// When the registry has metrics of these names already.
    pub fn start(
        self,
        sup: &Supervision,
        registry: &prometheus::Registry,
        deps: QueueDeps,
    ) -> Result<ActorRef, prometheus::Error> {
        let Self { mailbox, options } = self;
        let metrics = Metrics::register(registry)?;
        let fences = FenceSource::new(deps.epoch);
        let draining = AtomicBool::new(false);
        let shared = Arc::new(Shared { options, deps, fences, metrics, draining });
        let starts = AtomicU64::new(0);
        let fresh = move || Queue::new(&shared, starts.fetch_add(1, Ordering::Relaxed));
        Ok(mailbox.start(sup, fresh))
    }
}
