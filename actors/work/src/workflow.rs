//! Workflows: the coordinator of runs, and the only writer of their records.
//!
//! Owns: runs of workflows, their events, and results of pure steps (family `workflows`; `workflow/records.rs` has the
//! table of keys). Accepts: everything in [`meshwork_proto::workflow`]. Asks: the queue (each attempt of a step is a
//! task), the gateway (which tools there are), peers (sub-workflows, hand-over), the store.
//!
//! Invariants:
//! - A run is what its events say: every decision is an event, it is sent to the store before anything is done about it,
//!   and the store's writer keeps the order. Replaying the events gives the same state, always.
//! - No step completes twice: an attempt is a task with an idempotency key made from run, step, item and attempt, so a
//!   restart finds the task that was submitted before; an end that belongs to no attempt under way changes nothing.
//! - What is finished changes only by `retry`.
//! - When a run fails or is cancelled with compensation, what completed and has a compensation is taken back, in
//!   reverse order of completion, and nothing else.
//! - One peer coordinates a run: a hand-over raises its epoch, and the peer that gave it away starts nothing more.
//!
//! Parts: `definition` and `expression` know the format; `logic` decides everything and knows no clock, no I/O and no
//! evaluation; `actor` carries out what it decides, and evaluates.

mod actor;
mod definition;
mod evaluate;
mod expression;
mod handlers;
mod held;
mod logic;
mod metrics;
mod options;
mod records;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

pub use actor::WorkflowStatus;
pub use definition::schema;
pub use options::{OptionError, WorkflowOptions};

use actor::{Shared, WorkflowActor};
use meshwork_kit::{ActorRef, Clock, Mailbox, Port, Supervision, mailbox};
use meshwork_proto::PeerId;
use meshwork_proto::artifact::{PutArtifact, ReadArtifact};
use meshwork_proto::discovery::ListPeers;
use meshwork_proto::queue::{self, Cancel, GetTask, StepsKnown, SubmitStep, WatchTask};
use meshwork_proto::store::{Commit, ReadKey, ReadKeys, Scan};
use meshwork_proto::transport::{CallPeer, FetchArtifact};
use meshwork_proto::workflow::{
    By, ControlRun, CoordinateRun, DescribeTools, GetDag, GetHistory, GetRun, ListRuns, SubmitRun,
    TakeOverRun, TaskEnded, ValidateWorkflow,
};
use metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Submissions and changes under way at a time; further ones wait for a place.
const WRITES: usize = 1024;
/// Other requests under way at a time.
const OTHERS: usize = 256;
/// Ends of tasks beyond those in flight that may wait: compensations, and attempts that were given up.
const MORE_ENDS: usize = 4096;

/// Ways to the coordinator. Each has a quota of requests under way: one more waits for a place within its asker's
/// deadline.
#[derive(Debug, Clone)]
pub struct WorkflowPorts {
    /// Accept a run.
    pub submit: Port<By<SubmitRun>>,
    /// Check a definition.
    pub validate: Port<By<ValidateWorkflow>>,
    /// Read a run, perhaps waiting.
    pub get: Port<By<GetRun>>,
    /// List runs.
    pub list: Port<By<ListRuns>>,
    /// Cancel, pause, resume, signal, retry.
    pub control: Port<By<ControlRun>>,
    /// The graph of a run.
    pub dag: Port<By<GetDag>>,
    /// What happened in a run.
    pub history: Port<By<GetHistory>>,
    /// Spread a run, or hand it over.
    pub coordinate: Port<By<CoordinateRun>>,
    /// Take a run over.
    pub take_over: Port<By<TakeOverRun>>,
    /// A task that the coordinator submitted is finished.
    pub ended: Port<TaskEnded>,
}

/// Whom the coordinator needs, and who it is.
#[derive(Debug, Clone)]
pub struct WorkflowDeps {
    /// Time.
    pub clock: Clock,
    /// This node.
    pub local_peer: PeerId,
    /// Writes; the order in which they are sent is the order in which they take effect.
    pub commit: Port<Commit>,
    /// Reads one value.
    pub read_key: Port<ReadKey>,
    /// Reads many values.
    pub read_keys: Port<ReadKeys>,
    /// Reads ranges.
    pub scan: Port<Scan>,
    /// Keeps large documents.
    pub put_artifact: Port<PutArtifact>,
    /// Reads large documents.
    pub read_artifact: Port<ReadArtifact>,
    /// Brings large documents of peers here.
    pub fetch: Port<FetchArtifact>,
    /// Queue: accept the attempt of a step.
    pub submit_step: Port<queue::By<SubmitStep>>,
    /// Queue: tell the end of a task.
    pub watch: Port<queue::By<WatchTask>>,
    /// Queue: no step of before the start is asked after any more.
    pub steps_known: Port<StepsKnown>,
    /// Queue: give up a task.
    pub cancel: Port<queue::By<Cancel>>,
    /// Queue: progress of a task.
    pub get_task: Port<queue::By<GetTask>>,
    /// Peers: sub-workflows and hand-over.
    pub call_peer: Port<CallPeer>,
    /// Which tools there are, with their schemas.
    pub describe_tools: Port<DescribeTools>,
    /// Which peers there are.
    pub list_peers: Port<ListPeers>,
    /// For run ids and back-off.
    pub seed: u64,
}

/// A coordinator whose ports exist and that has not been started.
#[derive(Debug)]
pub struct WorkflowSeed {
    mailbox: Mailbox<WorkflowActor>,
    options: WorkflowOptions,
}

/// Phase 1: the ports, to hand around; messages wait until [`WorkflowSeed::start`].
///
/// # Errors
/// When an option makes no sense.
pub fn prepare(options: WorkflowOptions) -> Result<(WorkflowPorts, WorkflowSeed), OptionError> {
    options.check()?;
    let mailbox = mailbox::<WorkflowActor>();
    let ports = WorkflowPorts {
        submit: mailbox.port_in_flight(WRITES),
        validate: mailbox.port_in_flight(64),
        get: mailbox.port_in_flight(options.max_waiters as usize),
        list: mailbox.port_in_flight(32),
        control: mailbox.port_in_flight(WRITES),
        dag: mailbox.port_in_flight(32),
        history: mailbox.port_in_flight(32),
        coordinate: mailbox.port_in_flight(OTHERS),
        take_over: mailbox.port_in_flight(16),
        ended: mailbox.port(options.max_in_flight as usize + MORE_ENDS),
    };
    Ok((ports, WorkflowSeed { mailbox, options }))
}

impl WorkflowSeed {
    /// Phase 2: reads what the store holds of unfinished runs, and goes on with them.
    ///
    /// # Errors
    /// When the registry has metrics of these names already.
    pub fn start(
        self,
        sup: &Supervision,
        registry: &prometheus::Registry,
        deps: WorkflowDeps,
    ) -> Result<ActorRef, prometheus::Error> {
        let Self { mailbox, options } = self;
        let metrics = Metrics::register(registry)?;
        let shared = Arc::new(Shared { options, deps, metrics });
        let starts = AtomicU64::new(0);
        let fresh = move || WorkflowActor::new(&shared, starts.fetch_add(1, Ordering::Relaxed));
        Ok(mailbox.start(sup, fresh))
    }
}
