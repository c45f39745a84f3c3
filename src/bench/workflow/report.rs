//! The figures of workflows as tables for people and as JSON for programs.

use super::at_once::AtOnce;
use super::compare::Comparison;
use super::recovery::Recovered;
use super::shapes::Graph;
use crate::bench::disk::DiskRate;
use crate::bench::report::{Cell, operations};
use crate::output::{Cell as Shown, Output, Table};
use serde::Serialize;
use std::fmt::Write;

/// All figures.
#[derive(Debug, Serialize)]
pub(in crate::bench) struct WorkflowReport {
    /// Steps that the node may execute at the same time.
    pub(super) slots: u32,
    /// Bytes that the step of a one-step run is given.
    pub(super) payload_bytes: usize,
    /// How long each cell ran.
    pub(super) seconds_per_cell: f64,
    /// Whether the sizes were those of a quick look.
    pub(super) quick: bool,
    pub(super) disk_before: DiskRate,
    pub(super) disk_after: DiskRate,
    pub(super) one_step: Vec<Cell>,
    pub(super) shapes: Vec<Graph>,
    pub(super) at_once: Vec<AtOnce>,
    pub(super) recovered: Vec<Recovered>,
    /// None when it was not asked for.
    pub(super) compared: Option<Comparison>,
}

impl WorkflowReport {
    /// A table for each part.
    pub(in crate::bench) fn text(&self, output: Output) -> String {
        let render = |table: Table| table.render(output.is_coloured(), output.is_terminal());
        let quick = if self.quick { "\na quick look: the sizes are too small for figures" } else { "" };
        let mut text = format!(
            "workflows: one node with {} slots, clients over MCP, tool echo, everything fsynced before it is \
             acknowledged{quick}\n\
             disk before: {}\ndisk after:  {}\n\n\
             runs of one step with {} bytes of input, each client with one run under way, {} s per cell:\n{}\n\n\
             graphs, one at a time, from submission to the end that the client knows:\n{}\n\n\
             small runs at once, all of which wait for a signal, and are then let go on by {} clients:\n{}\n\n\
             started again after kill -9, times from the start of the new process:\n{}\n",
            self.slots,
            self.disk_before,
            self.disk_after,
            self.payload_bytes,
            self.seconds_per_cell,
            render(operations(&self.one_step)),
            render(self.graphs()),
            super::engine::CLIENTS,
            render(self.runs_at_once()),
            render(self.kills()),
        );
        if let Some(compared) = &self.compared {
            let _ = write!(text, "\n{}", compared.text(&render));
        }
        text
    }

    fn graphs(&self) -> Table {
        let mut table = Table::new([
            "graph",
            "steps",
            "accepted ms",
            "total ms",
            "steps per s",
            "us per step",
            "server CPU us per step",
        ]);
        for graph in &self.shapes {
            table.row([
                Shown::text(graph.shape.name()),
                Shown::number(graph.steps),
                digits(graph.accepted_ms, 1),
                digits(graph.total_ms, 1),
                digits(graph.steps_per_second, 0),
                digits(graph.step_us, 0),
                digits(graph.step_cpu_us, 0),
            ]);
        }
        table
    }

    fn runs_at_once(&self) -> Table {
        let mut table = Table::new([
            "runs",
            "submitted per s",
            "MiB before",
            "MiB waiting",
            "bytes per run",
            "status p50 us",
            "status p99 us",
            "finished per s",
        ]);
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let mib = |bytes: u64| digits(bytes as f64 / (1024.0 * 1024.0), 1);
        for one in &self.at_once {
            table.row([
                Shown::number(one.runs),
                digits(one.submitted_per_second, 0),
                mib(one.before_bytes),
                mib(one.waiting_bytes),
                Shown::number(one.bytes_per_run),
                Shown::number(one.status_p50_us),
                Shown::number(one.status_p99_us),
                digits(one.finished_per_second, 0),
            ]);
        }
        table
    }

    fn kills(&self) -> Table {
        let mut table =
            Table::new(["runs that", "started", "under way", "ready ms", "listed ms", "completed ms"]);
        for one in &self.recovered {
            table.row([
                Shown::text(one.doing.name()),
                Shown::number(one.runs),
                Shown::number(one.unfinished),
                Shown::number(one.ready_ms),
                Shown::number(one.listed_ms),
                Shown::number(one.completed_ms),
            ]);
        }
        table
    }
}

impl Comparison {
    fn text(&self, render: &impl Fn(Table) -> String) -> String {
        let mut table = Table::new([
            "engine",
            "clients",
            "per s",
            "from",
            "to",
            "p50 us",
            "p99 us",
            "CPU us",
            "meshwork is",
        ]);
        for cell in &self.cells {
            let (least, most) = range(&cell.rounds_per_second);
            table.row([
                Shown::text(cell.system.name()),
                Shown::number(cell.clients),
                digits(cell.per_second, 0),
                digits(least, 0),
                digits(most, 0),
                Shown::number(cell.p50_us),
                Shown::number(cell.p99_us),
                digits(cell.cpu_us, 0),
                Shown::number(format!("{:.2} x", cell.meshwork_is)),
            ]);
        }
        let (least, most) = range(&self.fsyncs_per_second);
        let mut text = format!(
            "one-step runs beside other engines, medians of {} rounds, each with an empty store; the disk gave {least:.0} to \
             {most:.0} fsyncs/s before the rounds:\n{}",
            self.rounds,
            render(table),
        );
        for about in &self.systems {
            let _ = write!(
                text,
                "\n{} ({}): {}\n  durable: {}",
                about.system.name(),
                about.version,
                about.clients,
                about.durability,
            );
        }
        text
    }
}

fn digits(value: f64, digits: usize) -> Shown {
    Shown::number(format!("{value:.digits$}"))
}

/// The least and the most.
fn range(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().min_by(f64::total_cmp).unwrap_or_default();
    (least, values.iter().copied().max_by(f64::total_cmp).unwrap_or_default())
}
