//! A node's store: one log for the queue and the coordinator, so that commits take effect in the order in which they were
//! sent; what is written, what is synced, and what a crash leaves.

use crate::queue::logic::CommitId as TaskCommit;
use crate::queue::tests::disk::Disk as TaskDisk;
use crate::workflow::logic::CommitId as RunCommit;
use crate::workflow::tests::disk::Disk as RunDisk;
use meshwork_proto::store::{Acknowledge, Admission, StoreError, WriteOp};
use std::collections::VecDeque;

/// Whose commit it is, and of which life of that: a later one does not get its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Queue(u64, TaskCommit),
    Runs(u64, RunCommit),
}

/// A commit on its way to the disk.
#[derive(Debug)]
pub(super) struct Sent {
    pub writer: Writer,
    pub ops: Vec<WriteOp>,
    pub acknowledge: Acknowledge,
    pub admission: Admission,
}

/// What became of the oldest commit.
#[derive(Debug)]
pub(super) enum Written {
    /// It is written; whoever does not wait for the sync is told.
    Done { writer: Writer, told: bool },
    /// It failed.
    Failed(Writer, StoreError),
}

/// The store of a node, but for what reads of runs see: that is with whoever reads.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// What reads of tasks see.
    pub tasks: TaskDisk,
    /// What a loss of power leaves for certain.
    synced_tasks: TaskDisk,
    pub synced_runs: RunDisk,
    /// Written and not synced, in order.
    unsynced: VecDeque<Sent>,
    /// Sent and not written, in order.
    outbox: VecDeque<Sent>,
    pub full: bool,
    /// Nothing is written: the database has to be opened again.
    pub broken: bool,
    /// When the last commit is written: later ones are not earlier.
    pub write_at: u64,
}

impl Store {
    pub(super) fn send(&mut self, sent: Sent) {
        self.outbox.push_back(sent);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Takes the oldest commit to the disk.
    pub(super) fn write_next(&mut self, runs: &mut RunDisk) -> Option<(Written, Vec<WriteOp>)> {
        let sent = self.outbox.pop_front()?;
        if self.broken {
            let error = StoreError::Database("the log could not be written".into());
            return Some((Written::Failed(sent.writer, error), Vec::new()));
        }
        if self.full && sent.admission == Admission::New {
            let error = StoreError::DiskFull { free: 0, reserve: 1 };
            return Some((Written::Failed(sent.writer, error), Vec::new()));
        }
        match sent.writer {
            Writer::Queue(..) => self.tasks.apply(&sent.ops),
            Writer::Runs(..) => runs.apply(&sent.ops),
        }
        let told = sent.acknowledge == Acknowledge::Written;
        let (writer, ops) = (sent.writer, sent.ops.clone());
        self.unsynced.push_back(sent);
        Some((Written::Done { writer, told }, ops))
    }

    /// One sync for everything that is written: whom to tell.
    pub(super) fn sync(&mut self) -> Vec<Writer> {
        let mut told = Vec::new();
        for sent in std::mem::take(&mut self.unsynced) {
            self.keep(&sent);
            if sent.acknowledge == Acknowledge::Durable {
                told.push(sent.writer);
            }
        }
        told
    }

    fn keep(&mut self, sent: &Sent) {
        match sent.writer {
            Writer::Queue(..) => self.synced_tasks.apply(&sent.ops),
            Writer::Runs(..) => self.synced_runs.apply(&sent.ops),
        }
    }

    /// The process is gone; with the power the first `kept` commits that were not synced stay, otherwise all that were
    /// written; `torn` = but for the oldest one. What the coordinator will read then.
    pub(super) fn crash(&mut self, kept: Option<usize>, torn: bool) -> RunDisk {
        let kept = kept.filter(|_| !torn).unwrap_or(self.unsynced.len());
        if torn && self.unsynced.len() > 1 {
            self.unsynced.pop_front();
        }
        for sent in std::mem::take(&mut self.unsynced).into_iter().take(kept) {
            self.keep(&sent);
        }
        self.outbox.clear();
        self.tasks = self.synced_tasks.clone();
        (self.full, self.broken) = (false, false);
        self.synced_runs.clone()
    }

    /// Commits that a loss of power could take.
    pub(super) fn at_risk(&self) -> usize {
        self.unsynced.len()
    }
}
