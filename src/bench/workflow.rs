//! What workflows cost: one node with an empty store, a process of its own, that coordinates the runs and executes their
//! steps, and this process as its MCP clients. The tool of all steps is `echo`, so that what is measured is the workflow
//! around it.
//!
//! Everything is acknowledged as it is in earnest: durable on the disk (`store.durability: fsync`). With `--compare` the
//! one-step runs are measured beside those of engines written by others, see [`compare`].

mod at_once;
mod compare;
mod definitions;
mod engine;
mod one_step;
mod recovery;
mod report;
mod shapes;

use super::{BenchError, disk};
use crate::cli::BenchArgs;
use crate::output::Output;
use definitions::Shape;
pub(super) use report::WorkflowReport;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How much of everything is measured.
struct Sizes {
    /// Clients of the one-step runs, each with one run under way.
    clients: &'static [usize],
    /// Graphs, and how many steps or items each has.
    shapes: &'static [(Shape, usize)],
    /// How often each graph is run; the median is shown.
    repeats: usize,
    /// Runs that are under way at the same time.
    at_once: &'static [usize],
    /// Runs under way when the node is killed.
    recovered: usize,
    /// Rounds of the comparison.
    rounds: usize,
}

const FULL: Sizes = Sizes {
    clients: &super::IN_FLIGHT,
    shapes: &[
        (Shape::Chain, 100),
        (Shape::Chain, 1_000),
        (Shape::FanOut, 1_000),
        (Shape::FanOut, 10_000),
        (Shape::ForEach, 1_000),
        (Shape::ForEach, 10_000),
        (Shape::Layered, 100),
        (Shape::Layered, 1_000),
        (Shape::Layered, 10_000),
    ],
    repeats: 3,
    at_once: &[100, 1_000, 10_000],
    recovered: 1_000,
    rounds: 5,
};

/// Whether everything works, in a minute and also in a debug build; the figures say little.
const QUICK: Sizes = Sizes {
    clients: &[1, 4],
    shapes: &[(Shape::Chain, 10), (Shape::FanOut, 30), (Shape::ForEach, 30), (Shape::Layered, 30)],
    repeats: 1,
    at_once: &[20],
    recovered: 10,
    rounds: 1,
};
/// Longest time of a cell of a quick look, in seconds.
const QUICK_CELL: f64 = 0.5;
/// How long a cell runs before it is measured: connections stand and the code is in the caches.
const WARM_UP: Duration = Duration::from_secs(1);

/// What the parts have in common.
struct Lab<'a> {
    dir: PathBuf,
    sizes: &'static Sizes,
    /// How long a cell is measured.
    cell: Duration,
    /// How long it runs before that.
    warm_up: Duration,
    options: &'a BenchArgs,
    output: Output,
}

impl Lab<'_> {
    /// A directory for the store of one node.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Measures everything about workflows.
pub(super) async fn measure(
    work: &Path,
    options: &BenchArgs,
    output: Output,
) -> Result<WorkflowReport, BenchError> {
    let sizes = if options.quick { &QUICK } else { &FULL };
    let seconds = if options.quick { options.seconds.min(QUICK_CELL) } else { options.seconds };
    let cell = Duration::from_secs_f64(seconds);
    let dir = work.join("workflow");
    std::fs::create_dir_all(&dir)?;
    let lab = Lab { dir, sizes, cell, warm_up: WARM_UP.min(cell), options, output };
    // First, for it may find that it cannot be made.
    let compared = match &options.compare {
        Some(scripts) => Some(compare::measure(&lab, scripts).await?),
        None => None,
    };
    let disk_before = disk::probe(work)?;
    let one_step = one_step::measure(&lab).await?;
    let shapes = shapes::measure(&lab).await?;
    let at_once = at_once::measure(&lab).await?;
    let recovered = recovery::measure(&lab).await?;
    let disk_after = disk::probe(work)?;
    Ok(WorkflowReport {
        slots: engine::SLOTS,
        payload_bytes: options.payload,
        seconds_per_cell: seconds,
        quick: options.quick,
        disk_before,
        disk_after,
        one_step,
        shapes,
        at_once,
        recovered,
        compared,
    })
}
