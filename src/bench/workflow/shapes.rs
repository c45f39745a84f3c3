//! Graphs of many steps: what a step costs, and that it does not cost more as the graph grows.

use super::Lab;
use super::definitions::Shape;
use super::engine::{Engine, ended, submission, submit};
use crate::bench::BenchError;
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

/// One graph.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Graph {
    /// Its kind.
    pub(super) shape: Shape,
    /// How many steps it has, or items of its one step.
    pub(super) steps: usize,
    /// Until the run was accepted: checked and durable, in milliseconds.
    pub(super) accepted_ms: f64,
    /// From its submission until its end was known to the client, in milliseconds.
    pub(super) total_ms: f64,
    /// Steps in a second of that time.
    pub(super) steps_per_second: f64,
    /// That time for each step, in microseconds.
    pub(super) step_us: f64,
    /// Processor time of the node for each step, in microseconds.
    pub(super) step_cpu_us: f64,
}

/// One run of a graph.
struct Once {
    accepted: Duration,
    total: Duration,
    cpu: Duration,
}

/// Each graph several times with one client and nothing else under way; the run in the middle is shown.
pub(super) async fn measure(lab: &Lab<'_>) -> Result<Vec<Graph>, BenchError> {
    let mut progress = lab.output.progress();
    let engine = Engine::start(&lab.path("shapes")).await?;
    // What a node does for the first time takes longer.
    once(&engine, Shape::Layered, 100).await?;
    let mut graphs = Vec::new();
    for (shape, steps) in lab.sizes.shapes {
        progress.say(format!("{}: {steps}", shape.name()));
        let mut runs = Vec::new();
        for _ in 0..lab.sizes.repeats {
            runs.push(once(&engine, *shape, *steps).await?);
        }
        runs.sort_unstable_by_key(|run| run.total);
        if let Some(run) = runs.get(runs.len() / 2) {
            graphs.push(Graph::of(*shape, *steps, run));
        }
        progress.advance(graphs.len() as u64, Some(lab.sizes.shapes.len() as u64));
    }
    engine.stop().await?;
    progress.finish();
    Ok(graphs)
}

async fn once(engine: &Engine, shape: Shape, steps: usize) -> Result<Once, BenchError> {
    let client = engine.client().await?;
    let submission = submission(shape.definition(steps), false);
    let before = engine.node.cpu_time()?;
    let begun = Instant::now();
    let id = submit(&client, &submission).await?;
    let accepted = begun.elapsed();
    ended(&client, &id).await?;
    let total = begun.elapsed();
    Ok(Once { accepted, total, cpu: engine.node.cpu_time()?.saturating_sub(before) })
}

impl Graph {
    fn of(shape: Shape, steps: usize, run: &Once) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a count of steps")]
        let count = steps as f64;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count;
        Self {
            shape,
            steps,
            accepted_ms: run.accepted.as_secs_f64() * 1e3,
            total_ms: run.total.as_secs_f64() * 1e3,
            steps_per_second: count / run.total.as_secs_f64(),
            step_us: each(run.total),
            step_cpu_us: each(run.cpu),
        }
    }
}
