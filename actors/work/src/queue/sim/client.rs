//! Clients: they submit with keys until they are answered, cancel, change, read and resubmit.

use super::net::NODES;
use super::worker::TOOLS;
use crate::queue::logic::{Answer, Op};
use meshwork_proto::queue::{Cancel, GetTask, QueueError, Resubmit, TaskChanges, Update, WatchTask};
use meshwork_proto::task::TaskSpec;
use meshwork_proto::{Cid, Coded, ErrorCode, Json, TaskId};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Tasks that each client submits.
const TASKS: usize = 8;
const ASK_AGAIN: u64 = 4000;

/// Something a client wants done, until it is answered.
#[derive(Debug, Clone)]
struct Wish {
    owner: usize,
    from: u64,
    op: Op,
    request: u64,
    asked: u64,
}

/// A client at a node.
#[derive(Debug)]
pub(super) struct Client {
    wishes: Vec<Wish>,
    next_request: u64,
    /// What was submitted with which id: for later.
    known: Vec<(usize, TaskId)>,
    until: u64,
}

impl Client {
    pub(super) fn new(rng: &mut ChaCha8Rng, index: usize, until: u64) -> Self {
        let wish = |n: usize, rng: &mut ChaCha8Rng| {
            let owner = rng.random_range(0..NODES);
            let spec = spec(rng, index, n);
            let op = if rng.random_bool(0.4) { Op::Step(spec) } else { Op::Submit(spec) };
            Wish { owner, from: rng.random_range(0..until * 2 / 3), op, request: 0, asked: 0 }
        };
        let mut wishes: Vec<Wish> = (0..TASKS).map(|n| wish(n, rng)).collect();
        // Some are submitted twice, as by a client that forgot that it had been answered.
        for n in 0..TASKS {
            if rng.random_bool(0.3) {
                let from = rng.random_range(0..until);
                wishes.push(Wish { from, ..wishes[n].clone() });
            }
        }
        Self { wishes, next_request: (index as u64 + 1) << 48, known: Vec::new(), until }
    }

    /// Whether everything it wanted was answered.
    pub(super) fn is_content(&self) -> bool {
        self.wishes.is_empty()
    }

    pub(super) fn act(&mut self, now: u64) -> Vec<(usize, u64, Op)> {
        let mut out = Vec::new();
        for wish in &mut self.wishes {
            if now < wish.from || (wish.asked > 0 && now < wish.asked + ASK_AGAIN) {
                continue;
            }
            self.next_request += 1;
            (wish.request, wish.asked) = (self.next_request, now);
            out.push((wish.owner, wish.request, wish.op.clone()));
        }
        out
    }

    pub(super) fn answered(&mut self, rng: &mut ChaCha8Rng, now: u64, request: u64, answer: &Answer) {
        let Some(place) = self.wishes.iter().position(|wish| wish.request == request) else { return };
        if let Answer::Refused(error) = answer {
            let lasting = !matches!(error, QueueError::Store(_)) && !error.code().is_transient();
            assert!(lasting || error.code() != ErrorCode::Internal, "{error}");
            if !lasting {
                return;
            }
        }
        let wish = self.wishes.swap_remove(place);
        if let (Answer::Submitted(submitted), Op::Submit(_) | Op::Step(_)) = (answer, &wish.op) {
            self.known.push((wish.owner, submitted.id));
            self.wish_more(rng, now, wish.owner, submitted.id);
        }
        if let Answer::Task(view) = answer
            && view.status.is_finished()
            && rng.random_bool(0.2)
            && now < self.until
        {
            let op = Op::Resubmit(Resubmit { id: view.id, delay_ms: rng.random_range(0..2000) });
            self.wishes.push(Wish { owner: wish.owner, from: now, op, request: 0, asked: 0 });
        }
    }

    /// What it may want of a task that it has submitted.
    fn wish_more(&mut self, rng: &mut ChaCha8Rng, now: u64, owner: usize, id: TaskId) {
        let mut wish = |rng: &mut ChaCha8Rng, op: Op| {
            let from = now + rng.random_range(0..30_000);
            self.wishes.push(Wish { owner, from, op, request: 0, asked: 0 });
        };
        if rng.random_bool(0.7) {
            wish(rng, Op::Get(GetTask { id, wait_ms: 3000 }));
        }
        if rng.random_bool(0.3) {
            wish(rng, Op::Watch(WatchTask { id }));
        }
        if rng.random_bool(0.2) {
            wish(rng, Op::Cancel(Cancel { id, reason: Some("changed my mind".into()) }));
        }
        if rng.random_bool(0.15) {
            let changes = TaskChanges { max_attempts: Some(5), ..TaskChanges::default() };
            wish(rng, Op::Update(Update { id, changes }));
        }
    }
}

fn spec(rng: &mut ChaCha8Rng, client: usize, n: usize) -> TaskSpec {
    let payload = Json::from_value(&serde_json::json!({"client": client, "n": n}));
    let input_cid = Cid::of(payload.bytes());
    let mut spec = TaskSpec::new(TOOLS[rng.random_range(0..TOOLS.len())], payload, input_cid);
    spec.idempotency_key = Some(format!("{client}-{n}"));
    spec.priority = rng.random_range(1..=10);
    spec.max_attempts = rng.random_range(1..=3);
    if rng.random_bool(0.15) {
        spec.delay_ms = rng.random_range(1..10_000);
    }
    if rng.random_bool(0.3) {
        spec.concurrency_key = Some("machine".into());
    }
    if rng.random_bool(0.2) {
        spec.labels.insert("gpu".into());
    }
    if rng.random_bool(0.2) {
        spec.timeout_ms = Some(20_000);
    }
    spec
}
