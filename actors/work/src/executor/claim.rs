//! Claiming tasks: one task per owner that may have work.
//!
//! A round: wait for places, reserve them, claim that many tasks without waiting, start what was granted, give the rest
//! back. Only an owner that had nothing is waited at, with a claim of no credits: that holds no places, so this
//! worker can listen at many owners without being given more than it has room for.

use super::board::Reservation;
use super::logic::Source;
use super::task;
use super::work::Work;
use futures::FutureExt;
use meshwork_kit::Backoff;
use meshwork_proto::MeshError;
use meshwork_proto::queue::{Claim, Claimed};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an owner is asked to wait for work.
const LISTEN: Duration = Duration::from_secs(20);
/// Longest wait for the answer to a claim; the places it reserved are blocked for others so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// After errors of this node's own queue (it may be restarting).
const LOCAL_RETRY: Backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(5));
/// After errors of a peer.
const PEER_RETRY: Backoff = Backoff::doubling(Duration::from_millis(500), Duration::from_secs(30));
/// When an owner says that it has work but gives none: others were faster, or it is wrong.
const FRUITLESS: Backoff = Backoff::doubling(Duration::from_millis(2), Duration::from_millis(200));
/// An owner that ends a wait without work earlier than this is not asked again at once.
const SUSPICIOUSLY_SHORT: Duration = Duration::from_millis(500);
/// How often an owner hears of a worker that has no room: well within the time after which it is forgotten.
const PRESENCE: Duration = Duration::from_secs(30);
/// After a panic in a round.
const PANIC_PAUSE: Duration = Duration::from_secs(1);
/// Owners that are asked for work.
const MAX_SOURCES: usize = 4_096;

/// Asks this owner for work from now on; no effect if it is asked already.
pub(super) fn connect(work: &Arc<Work>, source: Source) {
    let mut sources = work.sources();
    if sources.get(&source).is_some_and(|task| !task.is_finished()) {
        return;
    }
    if sources.len() >= MAX_SOURCES && !sources.contains_key(&source) {
        tracing::warn!(owner = %source, "peer is not asked for work: {MAX_SOURCES} others are");
        return;
    }
    let task = work.runtime.spawn(keep_asking(Arc::clone(work), source.clone()));
    sources.insert(source, task.abort_handle());
}

/// Asks this owner no more. What it gave goes on running, and its leases are renewed as long as it can be reached.
pub(super) fn disconnect(work: &Work, source: &Source) {
    if let Some(task) = work.sources().remove(source) {
        task.abort();
    }
}

async fn keep_asking(work: Arc<Work>, source: Source) {
    loop {
        let rounds = AssertUnwindSafe(Claims::new(&work, &source).run()).catch_unwind().await;
        if rounds.is_err() {
            tracing::error!(owner = %source, "panic while claiming tasks");
        }
        tokio::time::sleep(PANIC_PAUSE).await;
    }
}

struct Claims<'a> {
    work: &'a Arc<Work>,
    source: &'a Source,
    rng: ChaCha8Rng,
    /// Consecutive errors.
    failures: u32,
    /// Consecutive claims that gave nothing although there was to be work.
    fruitless: u32,
}

impl<'a> Claims<'a> {
    fn new(work: &'a Arc<Work>, source: &'a Source) -> Self {
        Self { work, source, rng: work.rng(), failures: 0, fruitless: 0 }
    }

    async fn run(mut self) {
        loop {
            let reservation = self.places().await;
            match self.claim(reservation).await {
                Ok(true) => self.fruitless = 0,
                Ok(false) => self.listen().await,
                Err(error) => self.pause_after(&error).await,
            }
        }
    }

    /// Waits for places. Owners forget workers that say nothing, and would tell their users that nobody serves a tool
    /// while it is only busy here: so they hear of this worker meanwhile.
    async fn places(&mut self) -> Reservation {
        let board = &self.work.board;
        let mut reserve = std::pin::pin!(board.reserve(self.source));
        loop {
            tokio::select! {
                biased;
                reservation = &mut reserve => return reservation,
                () = tokio::time::sleep(PRESENCE) => {}
            }
            if board.is_draining() {
                // There will be no room any more: here it is right to be forgotten.
                return reserve.await;
            }
            let offer = self.work.offer(BTreeMap::new());
            let worker = self.work.worker.clone();
            let presence = Claim { worker, offer, credits: 0, wait_ms: 0 };
            if let Err(error) = self.work.ask(self.source, presence, ANSWER_WITHIN).await {
                // Nothing depends on it, and the next claim says it again.
                tracing::debug!(owner = %self.source, "was not told that this worker is busy: {error}");
            }
        }
    }

    /// Claims for all places reserved; whether there may be more at once.
    async fn claim(&mut self, mut reservation: Reservation) -> Result<bool, MeshError> {
        let credits = reservation.credits();
        let offer = self.work.offer(reservation.rooms());
        let sent = self.work.clock.now();
        let claimed = self
            .ask(Claim { worker: self.work.worker.clone(), offer, credits, wait_ms: 0 }, ANSWER_WITHIN)
            .await?;
        let outcome = if claimed.grants.is_empty() { "empty" } else { "granted" };
        self.work.metrics.claim(self.source.label(), outcome);
        let any = !claimed.grants.is_empty();
        for grant in claimed.grants {
            task::start(self.work, self.source, grant, sent, &mut reservation);
        }
        Ok(any)
    }

    /// Waits until the owner has work, or until this worker has more to offer.
    async fn listen(&mut self) {
        let offered = self.work.board.open_tools();
        if offered.tools.is_empty() {
            // Every place was taken meanwhile: waiting for places comes first.
            return;
        }
        let offer = self.work.offer(offered.tools.clone());
        let wait_ms = super::tool::millis(LISTEN);
        let listen = Claim { worker: self.work.worker.clone(), offer, credits: 0, wait_ms };
        let begun = Instant::now();
        let board = &self.work.board;
        let answer = tokio::select! {
            biased;
            () = board.another_tool_opens(&offered) => return,
            answer = self.ask(listen, LISTEN + ANSWER_WITHIN) => answer,
        };
        match answer {
            Ok(Claimed { more: true, .. }) => {
                self.work.metrics.claim(self.source.label(), "work");
                self.fruitless = self.fruitless.saturating_add(1);
                if self.fruitless > 1 {
                    let pause = FRUITLESS.delay(self.fruitless - 1, &mut self.rng);
                    tokio::time::sleep(pause).await;
                }
            }
            Ok(_) => {
                self.work.metrics.claim(self.source.label(), "idle");
                self.fruitless = 0;
                tokio::time::sleep(SUSPICIOUSLY_SHORT.saturating_sub(begun.elapsed())).await;
            }
            Err(error) => self.pause_after(&error).await,
        }
    }

    async fn ask(&mut self, claim: Claim, within: Duration) -> Result<Claimed, MeshError> {
        let claimed = self.work.ask(self.source, claim, within).await?;
        self.failures = 0;
        Ok(claimed)
    }

    async fn pause_after(&mut self, error: &MeshError) {
        let outcome = if error.code.is_transient() { "failed" } else { "refused" };
        self.work.metrics.claim(self.source.label(), outcome);
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 && error.code.is_transient() {
            tracing::debug!(owner = %self.source, "cannot be asked for work, trying again: {error}");
        } else if self.failures == 1 {
            tracing::warn!(owner = %self.source, "refuses to be asked for work, trying again: {error}");
        }
        let retry = if *self.source == Source::Local { LOCAL_RETRY } else { PEER_RETRY };
        tokio::time::sleep(retry.delay(self.failures, &mut self.rng)).await;
    }
}
