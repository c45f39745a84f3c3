//! What a node costs when it does nothing, and with a full queue: memory, CPU, start-up time.

use super::operations::{spec, submit_many};
use super::{Bench, BenchError};
use crate::child::ChildNode;
use crate::cli::BenchArgs;
use crate::output::Output;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// Figures of a node at rest.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Footprint {
    /// Start to ready with an empty store, in milliseconds.
    pub(super) start_empty_ms: u64,
    /// Resident memory when idle, in bytes.
    pub(super) idle_bytes: u64,
    /// Part of one core that an idle node uses, in percent.
    pub(super) idle_cpu_percent: f64,
    /// Tasks in the queue for the figures below; 0 = not measured.
    pub(super) tasks: u64,
    /// Resident memory with them, in bytes.
    pub(super) full_bytes: u64,
    /// Start to ready with them, in milliseconds.
    pub(super) start_full_ms: u64,
    /// Resident memory after that start, in bytes.
    pub(super) restarted_bytes: u64,
}

const IDLE: Duration = Duration::from_secs(10);

/// Starts a node, watches it rest, fills it, starts it again.
pub(super) async fn measure(
    work: &Path,
    options: &BenchArgs,
    output: Output,
) -> Result<Footprint, BenchError> {
    let dir = work.join("footprint");
    let mut bench = Bench::start(&dir, "os").await?;
    let mut found = Footprint { start_empty_ms: millis(bench.node.started_in), ..Footprint::default() };
    let before = bench.node.cpu_time()?;
    tokio::time::sleep(IDLE).await;
    let used = bench.node.cpu_time()?.saturating_sub(before);
    found.idle_cpu_percent = 100.0 * used.as_secs_f64() / IDLE.as_secs_f64();
    found.idle_bytes = bench.node.resident_bytes()?;
    if options.tasks == 0 {
        bench.node.kill().await?;
        return Ok(found);
    }
    fill(&bench, options, output).await?;
    found.tasks = options.tasks;
    found.full_bytes = bench.node.resident_bytes()?;
    bench.node.kill().await?;
    drop(bench);
    let secret = dir.with_extension("secret").display().to_string();
    let args = ["--durability", "os", "--mesh-secret-file", &secret, "--listen", "/ip4/127.0.0.1/tcp/0"];
    let mut again = ChildNode::start(&dir, &args).await?;
    found.start_full_ms = millis(again.started_in);
    found.restarted_bytes = again.resident_bytes()?;
    again.kill().await?;
    Ok(found)
}

async fn fill(bench: &Bench, options: &BenchArgs, output: Output) -> Result<(), BenchError> {
    let mut progress = output.progress();
    progress.say("filling the queue");
    let spec = spec(options.payload);
    let mut left = options.tasks;
    while left > 0 {
        let part = left.min(1_024);
        let count = usize::try_from(part).unwrap_or(0);
        submit_many(&bench.client, &spec, count).await?;
        left -= part;
        progress.advance(options.tasks - left, Some(options.tasks));
    }
    progress.finish();
    Ok(())
}

/// Whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
