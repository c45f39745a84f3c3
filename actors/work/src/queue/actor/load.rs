//! The start: memory is filled from the store, page by page, while messages wait.

use super::Queue;
use super::store::{READ_WITHIN, read_range, unanswered};
use crate::queue::records::{counts_key, id_key};
use bytes::Bytes;
use meshwork_kit::Ctx;
use meshwork_proto::TaskId;
use meshwork_proto::store::{Acknowledge, Admission, Commit, Family, ReadKey, Scan, StoreError, WriteOp};
use std::time::Duration;

/// Entries in a page.
const PAGE: u32 = 10_000;
/// Commits of the state before must be through before anything is read.
const BARRIER_WITHIN: Duration = Duration::from_secs(120);

impl Queue {
    /// Waits until everything that a former state sent has been written, then reads.
    pub(super) fn begin_loading(&mut self, ctx: &mut Ctx<'_, Self>) {
        let commit = self.shared.deps.commit.clone();
        // A key that no task has: a commit takes effect after those that were sent before it.
        let nothing = WriteOp::Delete { family: Family::Leases, key: id_key(TaskId::from_bytes([0; 16])) };
        let (acknowledge, admission) = (Acknowledge::Written, Admission::Accepted);
        let barrier = Commit { ops: vec![nothing], acknowledge, admission };
        let passed = async move { commit.ask(barrier, BARRIER_WITHIN).await };
        ctx.spawn_then(passed, |queue, passed, ctx| {
            match passed.unwrap_or_else(|error| Err(unanswered(&error))) {
                Ok(()) => queue.load_counts(ctx),
                Err(error) => queue.loading_failed(&error, ctx),
            }
        });
    }

    fn load_counts(&mut self, ctx: &mut Ctx<'_, Self>) {
        let port = self.shared.deps.read_key.clone();
        let read = async move {
            let counts = ReadKey { family: Family::Tasks, key: counts_key() };
            port.ask(counts, READ_WITHIN).await.unwrap_or_else(|error| Err(unanswered(&error)))
        };
        ctx.spawn_then(read, |queue, counts, ctx| {
            match counts.and_then(|counts| queue.state.load_counts(counts.as_ref())) {
                Ok(()) => queue.load_page(Family::Leases, Bytes::new(), ctx),
                Err(error) => queue.loading_failed(&error, ctx),
            }
        });
    }

    fn load_page(&mut self, family: Family, from: Bytes, ctx: &mut Ctx<'_, Self>) {
        let port = self.shared.deps.scan.clone();
        let after = !from.is_empty();
        let scan = Scan { family, from, after, to: None, limit: PAGE, reverse: false };
        let read = async move { read_range(&port, scan).await };
        ctx.spawn_then(read, move |queue, page, ctx| {
            let loaded = page.and_then(|page| queue.keep_page(family, &page, ctx).map(|()| page));
            match loaded {
                Ok(page) => match page.last().filter(|_| page.len() >= PAGE as usize) {
                    Some((last, _)) => queue.load_page(family, last.clone(), ctx),
                    None if family == Family::Leases => queue.load_page(Family::Ready, Bytes::new(), ctx),
                    None => queue.begin(ctx),
                },
                Err(error) => queue.loading_failed(&error, ctx),
            }
        });
    }

    fn keep_page(
        &mut self,
        family: Family,
        page: &[(Bytes, Bytes)],
        ctx: &mut Ctx<'_, Self>,
    ) -> Result<(), StoreError> {
        if family == Family::Leases {
            self.state.load_states(page)
        } else {
            self.state.load_routes(ctx.now(), page)
        }
    }

    /// Everything is in memory: what waited is taken up.
    fn begin(&mut self, ctx: &mut Ctx<'_, Self>) {
        let waiting = self.loading.take().unwrap_or_default();
        let new_process = self.new_process;
        self.step(ctx, |state, turn| {
            let orphans = state.loaded(turn, new_process);
            if orphans > 0 {
                tracing::error!(
                    orphans,
                    "the store holds states of tasks that it does not hold: they are ignored"
                );
            }
        });
        let tasks = self.state.by_status();
        tracing::info!(?tasks, waiting = waiting.len(), "the queue is loaded");
        for message in waiting {
            self.take_up(message, ctx);
        }
        self.show_at(ctx.now());
    }

    fn loading_failed(&mut self, error: &StoreError, ctx: &mut Ctx<'_, Self>) {
        ctx.fail(format!("tasks could not be read from the store: {error}"));
    }
}
