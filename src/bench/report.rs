//! The figures as a table for people and as JSON for programs.

use super::disk::DiskRate;
use super::drive::Measured;
use super::footprint::Footprint;
use super::mesh::MeshReport;
use super::workflow::WorkflowReport;
use crate::cli::BenchArgs;
use crate::output::{Cell as Shown, Output, Table};
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// One operation at one number of requests in flight and one durability.
#[derive(Debug, Serialize)]
pub(super) struct Cell {
    operation: &'static str,
    durability: &'static str,
    in_flight: usize,
    operations: u64,
    per_second: f64,
    p50_us: u64,
    p95_us: u64,
    p99_us: u64,
    server_cpu_us: f64,
}

impl Cell {
    pub(super) fn new(
        operation: &'static str,
        durability: &'static str,
        in_flight: usize,
        measured: &Measured,
        server_cpu: Duration,
    ) -> Self {
        let at = |quantile| measured.latencies.value_at_quantile(quantile);
        Self {
            operation,
            durability,
            in_flight,
            operations: measured.operations,
            per_second: measured.per_second(),
            p50_us: at(0.50),
            p95_us: at(0.95),
            p99_us: at(0.99),
            server_cpu_us: quotient(server_cpu.as_secs_f64() * 1e6, measured.operations),
        }
    }
}

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    payload_bytes: usize,
    seconds_per_cell: f64,
    cores: usize,
    pub(super) disk_before: DiskRate,
    pub(super) disk_after: DiskRate,
    pub(super) cells: Vec<Cell>,
    pub(super) footprint: Footprint,
    /// None when it was not asked for.
    pub(super) mesh: Option<MeshReport>,
    /// None when it was not asked for.
    pub(super) workflow: Option<WorkflowReport>,
}

impl Report {
    pub(super) fn new(options: &BenchArgs, disk: DiskRate) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            payload_bytes: options.payload,
            seconds_per_cell: options.seconds,
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            disk_before: disk,
            disk_after: DiskRate::default(),
            cells: Vec::new(),
            footprint: Footprint::default(),
            mesh: None,
            workflow: None,
        }
    }

    pub(super) fn text(&self, output: Output) -> String {
        let mut text = format!("meshwork {}, {} cores\n", self.version, self.cores);
        if !self.cells.is_empty() {
            let _ = write!(
                text,
                "two nodes on loopback, one kept connection, payload {} bytes, {} s per cell\n\
                 disk before: {}\ndisk after:  {}\n{}\n\n{}\n",
                self.payload_bytes,
                self.seconds_per_cell,
                self.disk_before,
                self.disk_after,
                operations(&self.cells).render(output.is_coloured(), output.is_terminal()),
                self.footprint_lines(),
            );
        }
        if let Some(mesh) = &self.mesh {
            let _ = write!(text, "\n{}", mesh.text(output));
        }
        if let Some(workflow) = &self.workflow {
            let _ = write!(text, "\n{}", workflow.text(output));
        }
        text
    }

    fn footprint_lines(&self) -> String {
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        let rest = &self.footprint;
        let mut text = format!(
            "empty node: ready after {} ms, {:.1} MiB resident, {:.2} % of a core when idle",
            rest.start_empty_ms,
            mib(rest.idle_bytes),
            rest.idle_cpu_percent,
        );
        if rest.tasks > 0 {
            let _ = write!(
                text,
                "\n{} queued tasks: {:.1} MiB resident; restarted with them: ready after {} ms, {:.1} MiB",
                rest.tasks,
                mib(rest.full_bytes),
                rest.start_full_ms,
                mib(rest.restarted_bytes),
            );
        }
        text
    }
}

/// Operations as a table.
pub(super) fn operations(cells: &[Cell]) -> Table {
    let mut table = Table::new([
        "operation",
        "durability",
        "in flight",
        "per s",
        "p50 us",
        "p95 us",
        "p99 us",
        "server CPU us",
    ]);
    for cell in cells {
        table.row([
            Shown::text(cell.operation),
            Shown::text(cell.durability),
            Shown::number(cell.in_flight),
            Shown::number(format!("{:.0}", cell.per_second)),
            Shown::number(cell.p50_us),
            Shown::number(cell.p95_us),
            Shown::number(cell.p99_us),
            Shown::number(format!("{:.1}", cell.server_cpu_us)),
        ]);
    }
    table
}

/// A total for each of so many operations.
#[expect(clippy::cast_precision_loss, reason = "a count of operations")]
pub(super) fn quotient(total: f64, operations: u64) -> f64 {
    total / operations.max(1) as f64
}
