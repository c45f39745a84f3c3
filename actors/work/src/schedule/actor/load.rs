//! The start: memory is filled from the store, page by page, while messages wait.

use super::Scheduler;
use super::store::unanswered;
use crate::schedule::records::{Key, delete};
use bytes::Bytes;
use meshwork_kit::Ctx;
use meshwork_proto::ScheduleId;
use meshwork_proto::store::{Acknowledge, Admission, Commit, Family, Scan, StoreError};
use std::time::Duration;

/// Entries in a page.
const PAGE: u32 = 1000;
/// A read that is not answered by then has failed.
const READ_WITHIN: Duration = Duration::from_secs(20);
/// Commits of the state before must be through before anything is read.
const BARRIER_WITHIN: Duration = Duration::from_secs(120);

impl Scheduler {
    /// Waits until everything that a former state sent has been written, then reads.
    pub(super) fn begin_loading(&mut self, ctx: &mut Ctx<'_, Self>) {
        let commit = self.shared.deps.commit.clone();
        // A key that no schedule has: a commit takes effect after those that were sent before it.
        let ops = vec![delete(Key::Progress(ScheduleId::from_bytes([0; 16])))];
        let barrier = Commit { ops, acknowledge: Acknowledge::Written, admission: Admission::Accepted };
        let passed = async move { commit.ask(barrier, BARRIER_WITHIN).await };
        ctx.spawn_then(passed, |scheduler, passed, ctx| {
            match passed.unwrap_or_else(|error| Err(unanswered(&error))) {
                Ok(()) => scheduler.load_page(Bytes::new(), ctx),
                Err(error) => scheduler.loading_failed(&error, ctx),
            }
        });
    }

    fn load_page(&mut self, from: Bytes, ctx: &mut Ctx<'_, Self>) {
        let port = self.shared.deps.scan.clone();
        let after = !from.is_empty();
        let scan = Scan { family: Family::Schedules, from, after, to: None, limit: PAGE, reverse: false };
        let read =
            async move { port.ask(scan, READ_WITHIN).await.unwrap_or_else(|error| Err(unanswered(&error))) };
        ctx.spawn_then(read, |scheduler, page, ctx| {
            let loaded = page.and_then(|page| scheduler.keep_page(&page).map(|()| page));
            match loaded {
                Ok(page) => match page.last().filter(|_| page.len() >= PAGE as usize) {
                    Some((last, _)) => scheduler.load_page(last.clone(), ctx),
                    None => scheduler.begin(ctx),
                },
                Err(error) => scheduler.loading_failed(&error, ctx),
            }
        });
    }

    fn keep_page(&mut self, page: &[(Bytes, Bytes)]) -> Result<(), StoreError> {
        for problem in self.state.load_page(page)? {
            tracing::error!("a schedule of the store cannot be read, nothing of it is started: {problem}");
        }
        Ok(())
    }

    /// Everything is in memory: what waited is taken up.
    fn begin(&mut self, ctx: &mut Ctx<'_, Self>) {
        let waiting = self.loading.take().unwrap_or_default();
        self.step(ctx, |state, turn| state.loaded(turn));
        let (schedules, paused) = self.state.counts();
        tracing::info!(schedules, paused, waiting = waiting.len(), "schedules are loaded");
        for (held, caller, op) in waiting {
            self.take_up(held, caller, op, ctx);
        }
    }

    fn loading_failed(&mut self, error: &StoreError, ctx: &mut Ctx<'_, Self>) {
        ctx.fail(format!("schedules could not be read from the store: {error}"));
    }
}
