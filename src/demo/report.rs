//! What the demo says at the end, and what makes it fail.

use super::batch::Done;
use super::mesh::{Mesh, short};
use crate::output::{Cell, Failure, Table};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything that happened.
pub(super) struct Report {
    roles: BTreeMap<String, &'static str>,
    victim: String,
    held: Vec<String>,
    done: Vec<Done>,
    took: Duration,
}

impl Report {
    pub(super) fn new(mesh: &Mesh, held: Vec<String>, done: Vec<Done>, took: Duration) -> Self {
        let roles = BTreeMap::from([
            (mesh.owner.ready.peer_id.clone(), "owner"),
            (mesh.git.ready.peer_id.clone(), "git + compress"),
            (mesh.victim.ready.peer_id.clone(), "compress (killed)"),
        ]);
        Self { roles, victim: mesh.victim.ready.peer_id.clone(), held, done, took }
    }

    /// Fails unless everything completed, the killed worker held tasks, and those ran again elsewhere.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let incomplete: Vec<_> =
            self.done.iter().filter(|task| task.record["status"] != "completed").collect();
        if let Some(first) = incomplete.first() {
            return Err(Failure::internal(format!(
                "{} of {} tasks did not complete, the first: {}",
                incomplete.len(),
                self.done.len(),
                first.record
            )));
        }
        if self.held.is_empty() {
            return Err(Failure::internal("the killed worker held no running task: the demo shows nothing"));
        }
        let moved = |task: &&Done| self.held.contains(&task.id) && !worker(task).starts_with(&self.victim);
        if !self.done.iter().any(|task| moved(&task) && is_rerun(task)) {
            return Err(Failure::internal(
                "no task of the killed worker was run again: the demo shows nothing",
            ));
        }
        Ok(())
    }

    pub(super) fn json(&self) -> Value {
        let tasks: Vec<Value> = self.done.iter().map(|task| self.row(task)).collect();
        json!({
            "tasks": tasks,
            "seconds": self.took.as_secs_f64(),
            "killed": {"peer_id": self.victim, "held": self.held},
            "rerun": self.done.iter().filter(|task| is_rerun(task)).count(),
        })
    }

    fn row(&self, task: &Done) -> Value {
        json!({
            "task_id": task.id,
            "tool": task.tool,
            "file": task.file,
            "peer_id": self.peer(task),
            "milliseconds": milliseconds(task),
            "attempts": task.record["attempts"],
            "lease_losses": task.record["lease_losses"],
            "output_cid": task.record["output_cid"],
        })
    }

    pub(super) fn text(&self, terminal: bool) -> String {
        let mut tasks = Table::new(["task", "tool", "file", "ran on", "ms", "runs", "result"]);
        for task in &self.done {
            tasks.row([
                Cell::text(task.id.get(20..).unwrap_or(&task.id)),
                Cell::text(task.tool),
                Cell::text(tail(&task.file, 34)),
                Cell::text(short(self.peer(task))),
                Cell::number(milliseconds(task)),
                Cell::number(&task.record["attempts"]),
                Cell::text(task.record["output_cid"].as_str().unwrap_or("-")),
            ]);
        }
        format!(
            "{}\n\n{}\n\n{} tasks completed in {:.1} s. Worker {} was killed while it held {} of them; {} ran again \
             elsewhere. None was lost.",
            // As wide as it needs to be: content ids are of no use cut in two.
            tasks.render(false, false),
            self.workers().render(false, terminal),
            self.done.len(),
            self.took.as_secs_f64(),
            short(&self.victim),
            self.held.len(),
            self.done.iter().filter(|task| is_rerun(task)).count(),
        )
    }

    fn workers(&self) -> Table {
        let mut by_peer: BTreeMap<&str, Vec<&Done>> = BTreeMap::new();
        for task in &self.done {
            by_peer.entry(self.peer(task)).or_default().push(task);
        }
        let mut table = Table::new(["node", "offers", "completed", "median ms", "slowest ms", "taken over"]);
        for (peer, tasks) in by_peer {
            let mut took: Vec<u64> = tasks.iter().map(|task| milliseconds(task)).collect();
            took.sort_unstable();
            table.row([
                Cell::text(short(peer)),
                Cell::text(self.roles.get(peer).copied().unwrap_or("?")),
                Cell::number(tasks.len()),
                Cell::number(took.get(took.len() / 2).copied().unwrap_or(0)),
                Cell::number(took.last().copied().unwrap_or(0)),
                Cell::number(tasks.iter().filter(|task| is_rerun(task)).count()),
            ]);
        }
        table
    }

    fn peer<'a>(&self, task: &'a Done) -> &'a str {
        worker(task).split('/').next().unwrap_or("?")
    }
}

fn worker(task: &Done) -> &str {
    task.record["worker"].as_str().unwrap_or("?")
}

fn is_rerun(task: &Done) -> bool {
    task.record["attempts"].as_u64().unwrap_or(0) > 1
}

/// How long the attempt ran that completed the task.
fn milliseconds(task: &Done) -> u64 {
    let last =
        task.record["history"].as_array().and_then(|history| history.last().cloned()).unwrap_or(Value::Null);
    match (last["started"].as_f64(), last["ended"].as_f64()) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a short positive time")]
        (Some(started), Some(ended)) => ((ended - started).max(0.0) * 1000.0).round() as u64,
        _ => 0,
    }
}

fn tail(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        text.to_owned()
    } else {
        text.chars().skip(count - most + 1).fold("…".into(), |s, c| s + &c.to_string())
    }
}
