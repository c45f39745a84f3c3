//! Many small runs at once: each does a step and waits for a signal, all of them together; then they are let go on. While
//! they wait, one client asks where runs stand.

use super::Lab;
use super::definitions::{self, SIGNAL};
use super::engine::{self, CLIENTS, Engine, begun, spread, submission};
use crate::bench::BenchError;
use crate::bench::drive::closed_loop;
use crate::client::NodeClient;
use serde::Serialize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// So many runs at once.
#[derive(Debug, Clone, Serialize)]
pub(super) struct AtOnce {
    /// How many runs.
    pub(super) runs: usize,
    /// Runs that were accepted in a second.
    pub(super) submitted_per_second: f64,
    /// Resident memory of the node before the first, in bytes.
    pub(super) before_bytes: u64,
    /// Resident memory while all of them wait, in bytes; buffers of the database are in it.
    pub(super) waiting_bytes: u64,
    /// The difference for each run, in bytes.
    pub(super) bytes_per_run: u64,
    /// Where a run stands, with its steps, asked by one client while all wait: the median in microseconds.
    pub(super) status_p50_us: u64,
    /// The 99th percentile.
    pub(super) status_p99_us: u64,
    /// Runs that were let go on and were known to have ended in a second.
    pub(super) finished_per_second: f64,
}

/// Each number of runs, with a node of its own.
pub(super) async fn measure(lab: &Lab<'_>) -> Result<Vec<AtOnce>, BenchError> {
    let mut progress = lab.output.progress();
    let mut all = Vec::new();
    for runs in lab.sizes.at_once {
        progress.say(format!("{runs} runs at once"));
        all.push(one(lab, *runs).await?);
        progress.advance(all.len() as u64, Some(lab.sizes.at_once.len() as u64));
    }
    progress.finish();
    Ok(all)
}

async fn one(lab: &Lab<'_>, count: usize) -> Result<AtOnce, BenchError> {
    let engine = Engine::start(&lab.path(&format!("at-once-{count}"))).await?;
    let clients = engine.clients(CLIENTS).await?;
    let before_bytes = engine.node.resident_bytes()?;
    let started = Instant::now();
    let ids = submit_all(&clients, count).await?;
    let submitted = started.elapsed();
    begun(&clients, &ids).await?;
    let waiting_bytes = engine.node.resident_bytes()?;
    let client = engine.client().await?;
    let running = engine::running(&client).await?;
    if running != count {
        return Err(BenchError::Run(format!("{running} of {count} runs that wait for a signal are running")));
    }
    let (status_p50_us, status_p99_us) = status_times(lab.cell, &client, &ids).await?;
    let signalled = Instant::now();
    finish_all(&clients, &ids).await?;
    let finished = signalled.elapsed();
    drop((clients, client));
    engine.stop().await?;
    #[expect(clippy::cast_precision_loss, reason = "a count of runs")]
    let per_second = |time: Duration| count as f64 / time.as_secs_f64();
    Ok(AtOnce {
        runs: count,
        submitted_per_second: per_second(submitted),
        before_bytes,
        waiting_bytes,
        bytes_per_run: waiting_bytes.saturating_sub(before_bytes) / (count.max(1) as u64),
        status_p50_us,
        status_p99_us,
        finished_per_second: per_second(finished),
    })
}

/// Starts so many runs that wait; gives their ids.
pub(super) async fn submit_all(clients: &[NodeClient], count: usize) -> Result<Vec<String>, BenchError> {
    let submission = submission(definitions::waiting(), false);
    let submission = &submission;
    spread(clients, count, async |client, _| engine::submit(&client, submission).await).await
}

/// Sends each of the runs its signal and waits for its end.
pub(super) async fn finish_all(clients: &[NodeClient], ids: &[String]) -> Result<(), BenchError> {
    spread(clients, ids.len(), async |client, at| {
        if let Some(id) = ids.get(at) {
            client.signal_run(id, SIGNAL, None, None).await?;
            engine::ended(&client, id).await?;
        }
        Ok(())
    })
    .await
    .map(drop)
}

/// Median and 99th percentile of the status of these runs, one after the other and again.
async fn status_times(time: Duration, client: &NodeClient, ids: &[String]) -> Result<(u64, u64), BenchError> {
    let next = AtomicUsize::new(0);
    let measured = closed_loop(1, time, |_| {
        let id = ids.get(next.fetch_add(1, Ordering::Relaxed) % ids.len().max(1));
        async move {
            match id {
                Some(id) => engine::status(client, id, true).await.map(|_| true),
                None => Ok::<_, BenchError>(false),
            }
        }
    })
    .await?;
    let at = |quantile| measured.latencies.value_at_quantile(quantile);
    Ok((at(0.50), at(0.99)))
}
