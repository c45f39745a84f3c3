//! Renewing the leases of one owner, all in one message, with the progress of their tools.
//!
//! One task per owner, alive as long as leases of it are held. A lease that could not be renewed until it was over is
//! lost: its tool is killed then, whatever the network does, because somebody else may have the task by now.

use super::leases::{LeaseBook, LeaseKey};
use super::logic::Source;
use super::progress::ProgressSink;
use super::stop::{Stop, StopReason};
use super::work::Work;
use meshwork_kit::Backoff;
use meshwork_proto::queue::{LeaseReport, Renew, Renewal};
use meshwork_proto::{ErrorCode, MeshError, UnixMillis};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// Longest wait for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Shortest, when a lease is about to end.
const ANSWER_AT_LEAST: Duration = Duration::from_millis(200);
/// Between failed renewals: there is time for several within a lease.
const RETRY: Backoff = Backoff::doubling(Duration::from_millis(250), Duration::from_secs(3));
/// Leases in one message.
const BATCH: usize = 256;

struct Held {
    stop: Stop,
    sink: ProgressSink,
}

#[derive(Default)]
struct State {
    book: LeaseBook,
    held: BTreeMap<LeaseKey, Held>,
    running: bool,
}

/// Renews the leases of one owner.
pub(super) struct Renewer {
    work: Weak<Work>,
    owner: Source,
    state: Mutex<State>,
    wake: Arc<Notify>,
}

/// What is to be done next.
enum Next {
    Idle,
    Renew(Vec<LeaseKey>, Duration),
    Wait(UnixMillis),
}

impl Renewer {
    pub(super) fn new(work: &Arc<Work>, owner: Source) -> Arc<Self> {
        let wake = Arc::new(Notify::new());
        Arc::new(Self { work: Arc::downgrade(work), owner, state: Mutex::default(), wake })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state().book.is_empty()
    }

    /// Where the tool of this attempt reports its progress.
    pub(super) fn sink(self: &Arc<Self>, key: LeaseKey) -> ProgressSink {
        let renewer = Arc::downgrade(self);
        ProgressSink::new(Some(Box::new(move || {
            if let Some(renewer) = renewer.upgrade() {
                renewer.state().book.has_news(key);
                renewer.wake.notify_one();
            }
        })))
    }

    /// Keeps a lease until the guard is dropped; `stop` hears when it is lost or its task was cancelled.
    pub(super) fn hold(
        self: &Arc<Self>,
        key: LeaseKey,
        sent: UnixMillis,
        length: Duration,
        stop: Stop,
        sink: ProgressSink,
    ) -> LeaseGuard {
        let start = {
            let mut state = self.state();
            state.book.add(key, sent, length);
            state.held.insert(key, Held { stop, sink });
            !std::mem::replace(&mut state.running, true)
        };
        match self.work.upgrade() {
            Some(work) if start => _ = work.runtime.spawn(Arc::clone(self).run(Arc::clone(&work))),
            _ => self.wake.notify_one(),
        }
        LeaseGuard { renewer: Arc::clone(self), key }
    }

    async fn run(self: Arc<Self>, work: Arc<Work>) {
        let mut rng = work.rng();
        loop {
            match self.next(&work) {
                Next::Idle => return,
                Next::Wait(until) => {
                    let time = until.since(work.clock.now());
                    tokio::select! {
                        () = tokio::time::sleep(time) => {}
                        () = self.wake.notified() => {}
                    }
                }
                Next::Renew(keys, within) => {
                    let sent = work.clock.now();
                    let reports = self.reports(&keys);
                    let renew = Renew { worker: work.worker.clone(), leases: reports };
                    let answer = work.ask(&self.owner, renew, within).await;
                    let answer = answer.and_then(|answers| fitting(&keys, answers));
                    match answer {
                        Ok(answers) => self.answered(&work, sent, &keys, &answers),
                        Err(error) => {
                            let failures = self.state().book.failures();
                            let retry_at = work.clock.now().after(RETRY.delay(failures + 1, &mut rng));
                            tracing::debug!(owner = %self.owner, failures, "leases were not renewed: {error}");
                            self.failed(&work, &keys, retry_at);
                        }
                    }
                }
            }
        }
    }

    /// Stops what has lost its lease, then says what is due.
    fn next(&self, work: &Work) -> Next {
        let now = work.clock.now();
        let mut state = self.state();
        for key in state.book.take_expired(now) {
            work.metrics.renewal("expired");
            if let Some(held) = state.held.remove(&key) {
                tracing::warn!(owner = %self.owner, task = %key.0, "lease is over without a renewal: the tool is killed");
                held.stop.request(StopReason::Expired);
            }
        }
        let Some(end) = state.book.next_end() else {
            state.running = false;
            return Next::Idle;
        };
        let mut due = state.book.due(now);
        if due.is_empty() {
            return Next::Wait(state.book.next_wake().unwrap_or(end));
        }
        due.truncate(BATCH);
        // While an answer is awaited, no lease may end unseen.
        Next::Renew(due, end.since(now).clamp(ANSWER_AT_LEAST, ANSWER_WITHIN))
    }

    fn reports(&self, keys: &[LeaseKey]) -> Vec<LeaseReport> {
        let mut state = self.state();
        state.book.sending(keys);
        let progress = |key: &LeaseKey| state.held.get(key).and_then(|held| held.sink.take_news());
        keys.iter().map(|key| LeaseReport { id: key.0, fence: key.1, progress: progress(key) }).collect()
    }

    fn answered(&self, work: &Work, sent: UnixMillis, keys: &[LeaseKey], answers: &[Renewal]) {
        let mut state = self.state();
        state.book.answered();
        for (key, answer) in keys.iter().zip(answers) {
            match answer {
                Renewal::Renewed { lease_ms } => {
                    work.metrics.renewal("renewed");
                    state.book.renewed(*key, sent, Some(Duration::from_millis(*lease_ms)));
                }
                Renewal::CancelRequested => {
                    work.metrics.renewal("cancelled");
                    state.book.renewed(*key, sent, None);
                    if let Some(held) = state.held.get(key) {
                        held.stop.request(StopReason::Cancelled);
                    }
                }
                Renewal::Lost => {
                    work.metrics.renewal("lost");
                    state.book.remove(*key);
                    if let Some(held) = state.held.remove(key) {
                        tracing::debug!(owner = %self.owner, task = %key.0, "owner says the lease is lost");
                        held.stop.request(StopReason::Lost);
                    }
                }
            }
        }
    }

    fn failed(&self, work: &Work, keys: &[LeaseKey], retry_at: UnixMillis) {
        let mut state = self.state();
        state.book.failed(keys, retry_at);
        for key in keys {
            work.metrics.renewal("failed");
            if let Some(held) = state.held.get(key) {
                held.sink.not_taken();
            }
        }
    }
}

/// One answer for each lease, or it cannot be told which is whose.
fn fitting(keys: &[LeaseKey], answers: Vec<Renewal>) -> Result<Vec<Renewal>, MeshError> {
    if answers.len() == keys.len() {
        return Ok(answers);
    }
    let problem = format!("{} leases were to be renewed, {} answers came", keys.len(), answers.len());
    Err(MeshError::new(ErrorCode::VersionMismatch, problem))
}

/// A lease that is renewed as long as this lives.
pub(super) struct LeaseGuard {
    renewer: Arc<Renewer>,
    key: LeaseKey,
}

impl LeaseGuard {
    pub(super) const fn key(&self) -> LeaseKey {
        self.key
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        let mut state = self.renewer.state();
        state.book.remove(self.key);
        state.held.remove(&self.key);
        drop(state);
        self.renewer.wake.notify_one();
    }
}
