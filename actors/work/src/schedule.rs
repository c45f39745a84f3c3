//! The scheduler: starts tasks and runs of workflows at times, by cron expressions and intervals.
//!
//! Owns: schedules and how far they are (family `schedules`; `schedule/records.rs` has the table of keys). Accepts:
//! everything in [`meshwork_proto::schedule`], each with the caller it came from. Asks: the store, the queue and the
//! coordinator of workflows, both on behalf of whoever made the schedule.
//!
//! Invariants:
//! - What was acknowledged is in the store.
//! - A time is started once: that a start begins is written before it is made, it is made with an idempotency key that
//!   names the schedule and the time, and after a crash in between the same start is made again.
//! - A time passes without a start only by the rule for missed times, because the last start has not finished and starts
//!   may not overlap, or because the start was refused: all of that is counted or shown.
//! - Times go by the clock on the wall ([`meshwork_kit::Clock::wall`]), which is looked at every ten seconds at least. One
//!   that is set back by less than an hour starts nothing twice; what it passes when it is set forward was missed.
//!
//! A run whose coordination was handed to another peer counts as finished: this node is not told of its end.
//!
//! Two parts: `logic` decides everything and knows no clock and no I/O; `actor` carries out what it decides. At a restart
//! memory is rebuilt from the store.

mod actor;
mod handlers;
mod logic;
mod metrics;
mod options;
mod records;
#[cfg(test)]
mod tests;
mod timing;

pub use actor::ScheduleStatus;
pub use options::{OptionError, ScheduleOptions};

use actor::{Scheduler, Shared};
use meshwork_kit::{ActorRef, Clock, Mailbox, Port, Supervision, mailbox};
use meshwork_proto::queue::{self, GetTask, Submit};
use meshwork_proto::schedule::{AddSchedule, By, ControlSchedule, ListSchedules};
use meshwork_proto::store::{Commit, Scan};
use meshwork_proto::workflow::{self, GetRun, SubmitRun};
use metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Requests of one kind under way at a time; further ones wait for a place.
const REQUESTS: usize = 64;

/// Ways to the scheduler. Each has a quota of requests under way: one more waits for a place within its asker's deadline.
#[derive(Debug, Clone)]
pub struct SchedulePorts {
    /// Make a schedule.
    pub add: Port<By<AddSchedule>>,
    /// List them.
    pub list: Port<By<ListSchedules>>,
    /// Pause, resume, remove, or start now.
    pub control: Port<By<ControlSchedule>>,
}

/// Whom the scheduler needs.
#[derive(Debug, Clone)]
pub struct ScheduleDeps {
    /// Time.
    pub clock: Clock,
    /// Writes; the order in which they are sent is the order in which they take effect.
    pub commit: Port<Commit>,
    /// Reads ranges.
    pub scan: Port<Scan>,
    /// The own queue: takes tasks.
    pub submit_task: Port<queue::By<Submit>>,
    /// The own coordinator: takes runs.
    pub submit_run: Port<workflow::By<SubmitRun>>,
    /// Whether a task has finished.
    pub get_task: Port<queue::By<GetTask>>,
    /// Whether a run has finished.
    pub get_run: Port<workflow::By<GetRun>>,
    /// For ids and back-off.
    pub seed: u64,
}

/// A scheduler whose ports exist and that has not been started.
#[derive(Debug)]
pub struct ScheduleSeed {
    mailbox: Mailbox<Scheduler>,
    options: ScheduleOptions,
}

/// Phase 1: the ports, to hand around; messages wait until [`ScheduleSeed::start`].
///
/// # Errors
/// When an option makes no sense.
pub fn prepare(options: ScheduleOptions) -> Result<(SchedulePorts, ScheduleSeed), OptionError> {
    options.check()?;
    let mailbox = mailbox::<Scheduler>();
    let ports = SchedulePorts {
        add: mailbox.port_in_flight(REQUESTS),
        list: mailbox.port_in_flight(REQUESTS),
        control: mailbox.port_in_flight(REQUESTS),
    };
    Ok((ports, ScheduleSeed { mailbox, options }))
}

impl ScheduleSeed {
    /// Phase 2: reads what the store holds, makes up for what was missed by each schedule's rule, and begins.
    ///
    /// # Errors
    /// When the registry has metrics of these names already.
    pub fn start(
        self,
        sup: &Supervision,
        registry: &prometheus::Registry,
        deps: ScheduleDeps,
    ) -> Result<ActorRef, prometheus::Error> {
        let Self { mailbox, options } = self;
        let metrics = Metrics::register(registry)?;
        let shared = Arc::new(Shared { options, deps, metrics });
        let starts = AtomicU64::new(0);
        let fresh = move || Scheduler::new(&shared, starts.fetch_add(1, Ordering::Relaxed));
        Ok(mailbox.start(sup, fresh))
    }
}
