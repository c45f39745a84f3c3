//! A node's worker: claims from every queue, runs for a random time, renews, reports; sometimes it goes on working after
//! its lease is lost, and reports all the same.

use super::net::NODES;
use super::node::peer;
use crate::queue::logic::{Answer, Op};
use meshwork_proto::executor::StopTask;
use meshwork_proto::queue::{Claim, Finish, LeaseReport, Offer, Outcome, QueueError, Renew, Renewal};
use meshwork_proto::task::{Payload, TaskGrant};
use meshwork_proto::{Cid, ErrorCode, Fence, Json, MeshError, TaskId, WorkerId};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};

/// Tools that tasks ask for.
pub(super) const TOOLS: [&str; 2] = ["cut", "glue"];
/// Tasks that a worker runs at a time.
const ROOM: usize = 2;
const RENEW_EVERY: u64 = 10_000;
const REPORT_EVERY: u64 = 2500;

/// An attempt that runs, or is being reported.
#[derive(Debug)]
struct Run {
    ends: u64,
    renewed: u64,
    /// Goes on whatever it is told, and does not renew.
    zombie: bool,
    outcome: Option<Outcome>,
    reported: u64,
    report: u64,
}

/// The worker of a node.
#[derive(Debug)]
pub(super) struct Worker {
    node: usize,
    id: WorkerId,
    /// Open claims by owner: which request, until when its answer is waited for.
    claims: BTreeMap<usize, (u64, u64)>,
    runs: BTreeMap<RunKey, Run>,
    /// The latest heartbeats, with what they asked about.
    beats: BTreeMap<u64, Vec<RunKey>>,
    next_request: u64,
    healed: bool,
}

/// Owner, task and fence.
type RunKey = (usize, TaskId, Fence);

impl Worker {
    pub(super) fn new(node: usize, boot: u64) -> Self {
        let incarnation = u32::try_from(boot).unwrap();
        let id = WorkerId::of_peer(&peer(node), incarnation);
        // Requests of one process are not taken for those of the next.
        let (claims, runs, beats) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { node, id, claims, runs, beats, next_request: boot << 32, healed: false }
    }

    /// From now on it does what it should.
    pub(super) fn heal(&mut self) {
        self.healed = true;
    }

    /// What it offers: the first node's has a label that the others lack.
    pub(super) fn offer(node: usize, room: usize) -> Offer {
        let room = u32::try_from(room).unwrap();
        let tools = TOOLS.iter().map(|tool| ((*tool).to_owned(), room)).collect();
        let labels = if node == 0 { BTreeSet::from(["gpu".to_owned()]) } else { BTreeSet::new() };
        Offer { tools, labels }
    }

    fn request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    /// What it does now: messages to owners.
    pub(super) fn act(&mut self, rng: &mut ChaCha8Rng, now: u64) -> Vec<(usize, u64, Op)> {
        let mut out = Vec::new();
        self.claim(rng, now, &mut out);
        self.renew(now, &mut out);
        self.report(rng, now, &mut out);
        out
    }

    fn claim(&mut self, rng: &mut ChaCha8Rng, now: u64, out: &mut Vec<(usize, u64, Op)>) {
        self.claims.retain(|_, (_, until)| *until > now);
        for owner in 0..NODES {
            let busy = self.runs.len() + self.claims.len();
            if self.claims.contains_key(&owner) || busy >= ROOM + NODES || self.runs.len() >= ROOM {
                continue;
            }
            let wait_ms = rng.random_range(0..8000);
            let request = self.request();
            self.claims.insert(owner, (request, now + wait_ms + 4000));
            let credits = u32::try_from(rng.random_range(1..=ROOM)).unwrap();
            let claim =
                Claim { worker: self.id.clone(), offer: Self::offer(self.node, ROOM), credits, wait_ms };
            out.push((owner, request, Op::Claim(claim)));
        }
    }

    fn renew(&mut self, now: u64, out: &mut Vec<(usize, u64, Op)>) {
        for owner in 0..NODES {
            let mut leases = Vec::new();
            for ((of, id, fence), run) in &mut self.runs {
                let due = *of == owner && !run.zombie && now >= run.renewed + RENEW_EVERY;
                if due {
                    run.renewed = now;
                    leases.push(LeaseReport { id: *id, fence: *fence, progress: None });
                }
            }
            if !leases.is_empty() {
                let request = self.request();
                let keys = leases.iter().map(|lease| (owner, lease.id, lease.fence)).collect();
                self.beats.insert(request, keys);
                while self.beats.len() > 20 {
                    self.beats.pop_first();
                }
                out.push((owner, request, Op::Renew(Renew { worker: self.id.clone(), leases })));
            }
        }
    }

    fn report(&mut self, rng: &mut ChaCha8Rng, now: u64, out: &mut Vec<(usize, u64, Op)>) {
        let mut reports = Vec::new();
        for (key, run) in &mut self.runs {
            if now < run.ends || now < run.reported + REPORT_EVERY {
                continue;
            }
            run.reported = now;
            let fine = self.healed;
            let outcome = run.outcome.get_or_insert_with(|| outcome(rng, fine, *key)).clone();
            reports.push((*key, outcome));
        }
        for ((owner, id, fence), outcome) in reports {
            let request = self.request();
            if let Some(run) = self.runs.get_mut(&(owner, id, fence)) {
                run.report = request;
            }
            let finish = Finish { id, fence, worker: self.id.clone(), outcome };
            out.push((owner, request, Op::Finish(finish)));
        }
    }

    /// An owner answered.
    pub(super) fn answered(
        &mut self,
        rng: &mut ChaCha8Rng,
        now: u64,
        owner: usize,
        request: u64,
        answer: Answer,
    ) {
        match answer {
            Answer::Claimed(claimed) => {
                if self.claims.get(&owner).is_some_and(|(open, _)| *open == request) {
                    self.claims.remove(&owner);
                    claimed.grants.into_iter().for_each(|grant| self.start(rng, now, owner, &grant));
                }
            }
            Answer::Renewed(renewals) => self.renewed(now, request, &renewals),
            Answer::Finished(_) => self.runs.retain(|_, run| run.report != request),
            Answer::Refused(QueueError::StaleFence { .. } | QueueError::UnknownTask(_)) => {
                self.runs.retain(|_, run| run.report != request);
            }
            _ => {
                self.claims.retain(|_, (open, _)| *open != request);
            }
        }
    }

    fn start(&mut self, rng: &mut ChaCha8Rng, now: u64, owner: usize, grant: &TaskGrant) {
        let zombie = !self.healed && rng.random_bool(0.15);
        let time = if zombie {
            rng.random_range(25_000..70_000)
        } else if rng.random_bool(0.1) {
            rng.random_range(10_000..45_000)
        } else {
            rng.random_range(10..4000)
        };
        let run = Run { ends: now + time, renewed: now, zombie, outcome: None, reported: 0, report: 0 };
        self.runs.insert((owner, grant.id, grant.fence), run);
    }

    fn renewed(&mut self, now: u64, request: u64, renewals: &[Renewal]) {
        let asked = self.beats.remove(&request).unwrap_or_default();
        for (key, renewal) in asked.into_iter().zip(renewals) {
            match renewal {
                Renewal::Lost => drop(self.runs.remove(&key)),
                Renewal::CancelRequested => self.cancel(key, now),
                Renewal::Renewed { .. } => {}
            }
        }
    }

    fn cancel(&mut self, key: RunKey, now: u64) {
        if let Some(run) = self.runs.get_mut(&key)
            && run.outcome.is_none()
        {
            let error = MeshError::new(ErrorCode::Cancelled, "stopped");
            run.outcome = Some(Outcome::Failed { error, retry: false });
            run.ends = now;
        }
    }

    /// An owner wants it to stop.
    pub(super) fn stop(&mut self, owner: usize, now: u64, stop: StopTask) {
        let key = (owner, stop.id, stop.fence);
        if stop.report {
            self.cancel(key, now);
        } else if self.runs.get(&key).is_some_and(|run| !run.zombie) {
            self.runs.remove(&key);
        }
    }
}

fn outcome(rng: &mut ChaCha8Rng, fine: bool, (_, id, fence): RunKey) -> Outcome {
    match rng.random_range(0..10) {
        0 | 1 if !fine => {
            let error = MeshError::new(ErrorCode::ToolFailed, "it broke");
            Outcome::Failed { error, retry: rng.random_bool(0.9) }
        }
        2 if !fine => Outcome::Released { reason: "drain".into() },
        _ => {
            // Every attempt has a result of its own, so that a result that changes is noticed.
            let output = Json::from_value(&serde_json::json!({"task": id.to_string(), "fence": fence.0}));
            let output_cid = Cid::of(output.bytes());
            Outcome::Completed { output: Payload::Inline(output), output_cid }
        }
    }
}
