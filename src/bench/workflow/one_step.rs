//! Runs of one step, started by so many clients: each starts a run, is given its result by the same call, and starts the
//! next one.

use super::engine::{Engine, run_through, submission};
use super::{Lab, definitions};
use crate::bench::BenchError;
use crate::bench::drive::{Measured, closed_loop};
use crate::bench::report::Cell;
use std::path::Path;
use std::time::Duration;

/// One cell for each number of clients, each with a node of its own.
pub(super) async fn measure(lab: &Lab<'_>) -> Result<Vec<Cell>, BenchError> {
    let mut progress = lab.output.progress();
    let mut cells = Vec::new();
    for clients in lab.sizes.clients {
        progress.say(format!("runs of one step, {clients} clients"));
        let (measured, cpu) = cell(lab, &lab.path(&format!("one-step-{clients}")), *clients).await?;
        cells.push(Cell::new("one-step run", "fsync", *clients, &measured, cpu));
        progress.advance(cells.len() as u64, Some(lab.sizes.clients.len() as u64));
    }
    progress.finish();
    Ok(cells)
}

/// One cell with a node that has this directory, and the processor time that the node used.
pub(super) async fn cell(
    lab: &Lab<'_>,
    dir: &Path,
    clients: usize,
) -> Result<(Measured, Duration), BenchError> {
    let engine = Engine::start(dir).await?;
    let lanes = engine.clients(clients).await?;
    let submission = submission(definitions::one_step(lab.options.payload), true);
    let step = |lane: usize| {
        let (client, submission) = (lanes.get(lane), &submission);
        async move {
            match client {
                Some(client) => run_through(client, submission).await.map(|()| true),
                None => Ok::<_, BenchError>(false),
            }
        }
    };
    closed_loop(clients, lab.warm_up, step).await?;
    let before = engine.node.cpu_time()?;
    let measured = closed_loop(clients, lab.cell, step).await?;
    let cpu = engine.node.cpu_time()?.saturating_sub(before);
    drop(lanes);
    engine.stop().await?;
    Ok((measured, cpu))
}
