//! A node's worker: claims from every queue, runs for as long as the input says, renews, reports; sometimes it goes on
//! although its lease is lost, and reports all the same. Some vanish for ever.

use super::net::{NODES, peer};
use crate::queue::logic::{Answer, Op};
use meshwork_proto::executor::StopTask;
use meshwork_proto::queue::{Claim, Finish, LeaseReport, Offer, Outcome, QueueError, Renew, Renewal};
use meshwork_proto::task::{Payload, TaskGrant};
use meshwork_proto::{Cid, ErrorCode, Fence, Json, MeshError, TaskId, WorkerId};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Tools that steps call, and take back with.
pub(super) const TOOLS: [&str; 3] = ["cut", "glue", "undo"];
/// The label that some workers have.
pub(super) const LABEL: &str = "gpu";
/// Tasks that a worker claims at a time of one queue.
const CREDITS: u32 = 2;
const CLAIM_WAITS: u64 = 30_000;
const CLAIM_LOST: u64 = 3000;
const RENEW_EVERY: u64 = 4000;
const REPORT_EVERY: u64 = 2500;

/// The labels of a node's worker.
pub(super) fn labels(node: usize) -> BTreeSet<String> {
    if node.is_multiple_of(3) { BTreeSet::from([LABEL.to_owned()]) } else { BTreeSet::new() }
}

/// An attempt that runs, or is being reported.
#[derive(Debug)]
struct Run {
    ends: u64,
    renewed: u64,
    /// Goes on whatever it is told, and does not renew.
    zombie: bool,
    outcome: Outcome,
    stopped: bool,
    /// When it was reported last, with which request.
    reported: Option<(u64, u64)>,
}

/// Owner, task and fence.
type RunKey = (usize, TaskId, Fence);

/// The worker of a node.
#[derive(Debug)]
pub(super) struct Worker {
    node: usize,
    id: WorkerId,
    /// Open claims by owner: which request, until when its answer is waited for.
    claims: BTreeMap<usize, (u64, u64)>,
    runs: BTreeMap<RunKey, Run>,
    /// Heartbeats that were not answered, with what they asked about.
    beats: BTreeMap<u64, Vec<RunKey>>,
    next_request: u64,
    healed: bool,
}

impl Worker {
    pub(super) fn new(node: usize, boot: u64, healed: bool) -> Self {
        let id = WorkerId::of_peer(&peer(node), u32::try_from(boot).unwrap());
        let (claims, runs, beats) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        // Requests of one process are not taken for those of the next.
        Self { node, id, claims, runs, beats, next_request: boot << 32, healed }
    }

    /// From now on it does what it should.
    pub(super) fn heal(&mut self) {
        self.healed = true;
    }

    fn offer(&self) -> Offer {
        let tools = TOOLS.iter().map(|tool| ((*tool).to_owned(), CREDITS)).collect();
        let labels = labels(self.node);
        Offer { tools, labels }
    }

    fn request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    /// What it does now: messages to owners.
    pub(super) fn act(&mut self, now: u64) -> Vec<(usize, u64, Op)> {
        let mut out = Vec::new();
        self.claim(now, &mut out);
        self.renew(now, &mut out);
        self.report(now, &mut out);
        out
    }

    /// When it has something to do next.
    pub(super) fn next_due(&self) -> u64 {
        let claims = self.claims.values().map(|(_, until)| *until);
        let runs = self.runs.values().map(|run| {
            let report = run.reported.map_or(run.ends, |(at, _)| at + REPORT_EVERY);
            if run.zombie { report } else { report.min(run.renewed + RENEW_EVERY) }
        });
        let missing = (self.claims.len() < NODES).then_some(0);
        claims.chain(runs).chain(missing).min().unwrap_or(u64::MAX)
    }

    fn claim(&mut self, now: u64, out: &mut Vec<(usize, u64, Op)>) {
        self.claims.retain(|_, (_, until)| *until > now);
        for owner in 0..NODES {
            if self.claims.contains_key(&owner) {
                continue;
            }
            let request = self.request();
            self.claims.insert(owner, (request, now + CLAIM_WAITS + CLAIM_LOST));
            let (worker, offer) = (self.id.clone(), self.offer());
            let claim = Claim { worker, offer, credits: CREDITS, wait_ms: CLAIM_WAITS };
            out.push((owner, request, Op::Claim(claim)));
        }
    }

    fn renew(&mut self, now: u64, out: &mut Vec<(usize, u64, Op)>) {
        let mut due: BTreeMap<usize, Vec<RunKey>> = BTreeMap::new();
        for (key, run) in &mut self.runs {
            if !run.zombie && now >= run.renewed + RENEW_EVERY {
                run.renewed = now;
                due.entry(key.0).or_default().push(*key);
            }
        }
        for (owner, keys) in due {
            let leases =
                keys.iter().map(|(_, id, fence)| LeaseReport { id: *id, fence: *fence, progress: None });
            let renew = Renew { worker: self.id.clone(), leases: leases.collect() };
            let request = self.request();
            self.beats.insert(request, keys);
            while self.beats.len() > 20 {
                self.beats.pop_first();
            }
            out.push((owner, request, Op::Renew(renew)));
        }
    }

    fn report(&mut self, now: u64, out: &mut Vec<(usize, u64, Op)>) {
        let worker = &self.id;
        let next_request = &mut self.next_request;
        for ((owner, id, fence), run) in &mut self.runs {
            let due = run.reported.map_or(run.ends, |(at, _)| at + REPORT_EVERY);
            if now < due {
                continue;
            }
            *next_request += 1;
            run.reported = Some((now, *next_request));
            let (worker, outcome) = (worker.clone(), run.outcome.clone());
            let finish = Finish { id: *id, fence: *fence, worker, outcome };
            out.push((*owner, *next_request, Op::Finish(finish)));
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
        let reported = |run: &Run| run.reported.is_some_and(|(_, report)| report == request);
        match answer {
            Answer::Claimed(claimed) => {
                if self.claims.get(&owner).is_some_and(|(open, _)| *open == request) {
                    self.claims.remove(&owner);
                    claimed.grants.into_iter().for_each(|grant| self.start(rng, now, owner, &grant));
                }
            }
            Answer::Renewed(renewals) => self.renewed(now, request, &renewals),
            Answer::Finished(_)
            | Answer::Refused(QueueError::StaleFence { .. } | QueueError::UnknownTask(_)) => {
                self.runs.retain(|_, run| !reported(run));
            }
            _ => {
                if let Some((open, until)) = self.claims.get_mut(&owner)
                    && *open == request
                {
                    *until = now + 500;
                }
            }
        }
    }

    fn start(&mut self, rng: &mut ChaCha8Rng, now: u64, owner: usize, grant: &TaskGrant) {
        let Payload::Inline(input) = &grant.payload else { panic!("inputs are small here") };
        let input = input.to_value();
        let attempt = grant.metadata.as_ref().map(Json::to_value).and_then(|data| data["attempt"].as_u64());
        let fails = attempt.unwrap_or(1) <= input["f"].as_u64().unwrap_or(0);
        let zombie = !self.healed && rng.random_bool(0.05);
        let time = match input["t"].as_u64().unwrap_or(10) {
            _ if zombie => rng.random_range(8000..30_000),
            time if self.healed => time.min(2000),
            time => time,
        };
        let outcome = outcome(grant, self.node, fails, !self.healed && rng.random_bool(0.03));
        let run = Run { ends: now + time, renewed: now, zombie, outcome, stopped: false, reported: None };
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
            && run.reported.is_none()
            && !run.stopped
        {
            let error = MeshError::new(ErrorCode::Cancelled, "stopped");
            run.outcome = Outcome::Failed { error, retry: false };
            run.stopped = true;
            run.ends = now;
        }
    }

    /// An owner wants it to stop.
    pub(super) fn stop(&mut self, owner: usize, now: u64, stop: &StopTask) {
        let key = (owner, stop.id, stop.fence);
        if stop.report {
            self.cancel(key, now);
        } else if self.runs.get(&key).is_some_and(|run| !run.zombie) {
            self.runs.remove(&key);
        }
    }
}

fn outcome(grant: &TaskGrant, node: usize, fails: bool, drains: bool) -> Outcome {
    if drains {
        return Outcome::Released { reason: "drain".into() };
    }
    if fails {
        return Outcome::Failed { error: MeshError::new(ErrorCode::ToolFailed, "it broke"), retry: true };
    }
    // Every attempt has a result of its own, so that one that changes is noticed.
    let output = Json::from_value(&json!({"task": grant.id.to_string(), "fence": grant.fence.0, "by": node}));
    let output_cid = Cid::of(output.bytes());
    Outcome::Completed { output: Payload::Inline(output), output_cid }
}
