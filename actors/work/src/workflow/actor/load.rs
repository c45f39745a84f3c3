//! The start: unfinished runs are read from the store, page by page, while messages wait. Later: a run that somebody asks
//! for.

use super::WorkflowActor;
use super::store::{READ_WITHIN, read_range, unanswered};
use super::stored::Reader;
use crate::workflow::logic::Run;
use crate::workflow::records::{active_range, counts_key, event_key, read_active_key};
use futures::StreamExt;
use meshwork_kit::Ctx;
use meshwork_proto::RunId;
use meshwork_proto::store::{Acknowledge, Admission, Commit, Family, ReadKey, StoreError, WriteOp};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Runs in a page.
const PAGE: u32 = 256;
/// Runs that are read at the same time, a page of events of each.
const TOGETHER: usize = 8;
/// Commits of the state before must be through before anything is read.
const BARRIER_WITHIN: Duration = Duration::from_secs(120);

type Loaded = Vec<(RunId, Result<Option<Box<Run>>, StoreError>)>;

impl WorkflowActor {
    pub(super) fn reader(&self, ctx: &Ctx<'_, Self>) -> Reader {
        Reader { shared: Arc::clone(&self.shared), runtime: ctx.runtime().clone() }
    }

    /// Waits until everything that a former state sent has been written, then reads.
    pub(super) fn begin_loading(&mut self, ctx: &mut Ctx<'_, Self>) {
        let deps = &self.shared.deps;
        let (commit, read_key) = (deps.commit.clone(), deps.read_key.clone());
        // A key that no event has: a commit takes effect after those that were sent before it.
        let key = event_key(RunId::from_bytes([0; 16]), 0);
        let nothing = WriteOp::Delete { family: Family::Workflows, key };
        let (acknowledge, admission) = (Acknowledge::Written, Admission::Accepted);
        let barrier = Commit { ops: vec![nothing], acknowledge, admission };
        let counts = async move {
            commit.ask(barrier, BARRIER_WITHIN).await.unwrap_or_else(|error| Err(unanswered(&error)))?;
            let counts = ReadKey { family: Family::Workflows, key: counts_key() };
            read_key.ask(counts, READ_WITHIN).await.unwrap_or_else(|error| Err(unanswered(&error)))
        };
        ctx.spawn_then(counts, |actor, counts, ctx| {
            match counts.and_then(|counts| actor.state.load_counts(counts.as_ref())) {
                Ok(()) => actor.load_page(None, ctx),
                Err(error) => actor.loading_failed(&error, ctx),
            }
        });
    }

    fn load_page(&mut self, after: Option<RunId>, ctx: &mut Ctx<'_, Self>) {
        let (reader, definitions) = (self.reader(ctx), Rc::clone(&self.definitions));
        let page = async move {
            let keys = read_range(&reader.shared.deps.scan, active_range(after, PAGE)).await?;
            let ids: Vec<RunId> = keys.iter().filter_map(|(key, _)| read_active_key(key)).collect();
            let last = ids.last().copied().filter(|_| keys.len() >= PAGE as usize);
            let (reader, definitions) = (&reader, &definitions);
            let runs =
                futures::stream::iter(ids).map(|id| async move { (id, reader.run(definitions, id).await) });
            let runs: Loaded = runs.buffer_unordered(TOGETHER).collect().await;
            Ok::<_, StoreError>((runs, last))
        };
        ctx.spawn_then(page, |actor, page, ctx| {
            let kept = page.and_then(|(runs, last)| actor.keep_page(runs).map(|()| last));
            match kept {
                Ok(Some(last)) => actor.load_page(Some(last), ctx),
                Ok(None) => actor.begin(ctx),
                Err(error) => actor.loading_failed(&error, ctx),
            }
        });
    }

    fn keep_page(&mut self, runs: Loaded) -> Result<(), StoreError> {
        for (id, run) in runs {
            match run {
                Ok(Some(run)) => self.state.load_run(run),
                Ok(None) => {
                    tracing::error!(%id, "the store lists a workflow run that it does not hold: ignored")
                }
                // One run that cannot be read must not keep the others from going on; whoever asks for it is told why.
                Err(StoreError::Corrupt(problem)) => {
                    tracing::error!(%id, "workflow run cannot be read and stands still: {problem}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Everything is in memory: runs go on, and what waited is taken up.
    fn begin(&mut self, ctx: &mut Ctx<'_, Self>) {
        let waiting = self.loading.take().unwrap_or_default();
        self.step(ctx, |state, turn| state.loaded(turn));
        let runs = self.state.by_state();
        tracing::info!(?runs, waiting = waiting.len(), "workflow runs are loaded");
        for message in waiting {
            self.take_up(message, ctx);
        }
    }

    fn loading_failed(&mut self, error: &StoreError, ctx: &mut Ctx<'_, Self>) {
        ctx.fail(format!("workflow runs could not be read from the store: {error}"));
    }

    /// Reads a run that is not in memory.
    pub(super) fn load(&mut self, id: RunId, ctx: &mut Ctx<'_, Self>) {
        let (reader, definitions) = (self.reader(ctx), Rc::clone(&self.definitions));
        let run = async move { reader.run(&definitions, id).await };
        ctx.spawn_then(run, move |actor, run, ctx| {
            actor.step(ctx, |state, turn| state.fetched(turn, id, run));
        });
    }
}
