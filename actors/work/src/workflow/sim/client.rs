//! Clients: they submit workflows, wait for their ends, and meddle: cancel, pause, signal, retry, hand over.

use super::net::{NODES, peer};
use super::plan;
use super::{OPEN, Open};
use crate::workflow::logic::{Answer, Op};
use crate::workflow::tests::bench::submission;
use meshwork_proto::workflow::{
    ControlRun, CoordinateRun, GetRun, RunAction, RunState, SubmitRun, WorkflowError,
};
use meshwork_proto::{Coded, Json, PeerId, RunId};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const ASK_AGAIN: u64 = 4000;
/// Longest wait for the end of a run.
const WAIT: u64 = 8000;

/// Something a client wants done, until it is answered.
#[derive(Debug, Clone)]
struct Wish {
    node: usize,
    from: u64,
    op: Op,
    request: u64,
    asked: Option<u64>,
}

/// A client at a node.
#[derive(Debug)]
pub(super) struct Client {
    wishes: Vec<Wish>,
    next_request: u64,
    /// Nothing is wanted any more after this time but to see how it ends.
    until: u64,
}

/// What an answer says that everybody should know.
#[derive(Debug)]
pub(super) enum News {
    None,
    Accepted(RunId),
    Shown(Box<meshwork_proto::workflow::RunView>),
}

impl Client {
    pub(super) fn new(rng: &mut ChaCha8Rng, node: usize, runs: usize, until: u64) -> Self {
        let mut client = Self { wishes: Vec::new(), next_request: 0, until };
        for n in 0..runs {
            let from = rng.random_range(0..until * 2 / 3);
            let submit = submit(rng, node, n);
            // Some are submitted twice, as by a client that forgot that it had been answered.
            let again = rng.random_bool(0.2).then(|| from + rng.random_range(0..until / 3));
            for from in std::iter::once(from).chain(again) {
                client.wish(node, from, Op::Submit(submit.clone()));
            }
        }
        client
    }

    fn wish(&mut self, node: usize, from: u64, op: Op) {
        self.wishes.push(Wish { node, from, op, request: 0, asked: None });
    }

    /// Wants something of a run, unless it does so already.
    pub(super) fn want(&mut self, node: usize, now: u64, id: RunId, action: RunAction) {
        let same = |wish: &Wish| matches!(&wish.op, Op::Control(control) if control.id == id && control.action == action);
        if !self.wishes.iter().any(same) {
            self.wish(node, now, Op::Control(ControlRun { id, action }));
        }
    }

    /// Whether everything it wanted was answered.
    pub(super) fn is_content(&self) -> bool {
        self.wishes.is_empty()
    }

    pub(super) fn act(&mut self, now: u64) -> Vec<(usize, u64, Op)> {
        let mut out = Vec::new();
        for wish in &mut self.wishes {
            let wait = if let Op::Get(get) = &wish.op { ASK_AGAIN + get.wait_ms } else { ASK_AGAIN };
            if now < wish.from || wish.asked.is_some_and(|asked| now < asked + wait) {
                continue;
            }
            self.next_request += 1;
            (wish.request, wish.asked) = (self.next_request, Some(now));
            out.push((wish.node, wish.request, wish.op.clone()));
        }
        out
    }

    /// An answer.
    ///
    /// # Errors
    /// When it must not be.
    pub(super) fn answered(
        &mut self,
        rng: &mut ChaCha8Rng,
        now: u64,
        request: u64,
        answer: Answer,
    ) -> Result<News, String> {
        let Some(place) = self.wishes.iter().position(|wish| wish.request == request) else {
            return Ok(News::None);
        };
        if let Answer::Refused(error) = &answer {
            return self.refused(now, place, error).map(|()| News::None);
        }
        let wish = self.wishes.swap_remove(place);
        match answer {
            Answer::Submitted(submitted) => {
                self.wish_more(rng, now, wish.node, submitted.id);
                Ok(News::Accepted(submitted.id))
            }
            Answer::Run(shown) => {
                let view = shown.view;
                if !view.state.is_finished() {
                    self.watch(wish.node, now, view.id);
                } else if view.state != RunState::Completed && now < self.until && rng.random_bool(0.25) {
                    let from = view.steps.get(rng.random_range(0..view.steps.len().max(1)));
                    let from = from.filter(|_| rng.random_bool(0.4)).map(|step| step.id.clone());
                    self.want(wish.node, now + 500, view.id, RunAction::Retry { from });
                }
                Ok(News::Shown(Box::new(view)))
            }
            Answer::Changed(changed) => {
                if let Op::Control(ControlRun { action, .. }) = &wish.op {
                    match action {
                        RunAction::Retry { .. } => self.watch(wish.node, now, changed.id),
                        RunAction::Pause => {
                            let at = now + rng.random_range(500..15_000);
                            self.want(wish.node, at, changed.id, RunAction::Resume);
                        }
                        _ => {}
                    }
                }
                Ok(News::None)
            }
            _ => Ok(News::None),
        }
    }

    fn refused(&mut self, now: u64, place: usize, error: &WorkflowError) -> Result<(), String> {
        let wish = &mut self.wishes[place];
        match error {
            // Who looks after runs when the chaos is over may do so only where they are, and looks again.
            WorkflowError::Moved { .. } if now >= self.until && matches!(wish.op, Op::Control(_)) => {
                drop(self.wishes.swap_remove(place));
            }
            WorkflowError::Moved { to, .. } => match (0..NODES).find(|node| peer(*node) == *to) {
                Some(node) => (wish.node, wish.asked, wish.from) = (node, None, now + 300),
                None => return Err(format!("{error}: there is no such peer")),
            },
            WorkflowError::UnknownRun(_) => {
                return Err(format!("node {}: {:?}: {error}", wish.node, wish.op));
            }
            WorkflowError::Store(_) => {}
            _ if error.code().is_transient() => {}
            WorkflowError::Invalid(_) => return Err(error.to_string()),
            _ => drop(self.wishes.swap_remove(place)),
        }
        Ok(())
    }

    fn watch(&mut self, node: usize, now: u64, id: RunId) {
        let watched = |wish: &Wish| matches!(&wish.op, Op::Get(get) if get.id == id);
        if !self.wishes.iter().any(watched) {
            self.wish(node, now, Op::Get(GetRun { id, wait_ms: WAIT, seen: None, steps: true }));
        }
    }

    /// What it may want of a run that it has submitted.
    fn wish_more(&mut self, rng: &mut ChaCha8Rng, now: u64, node: usize, id: RunId) {
        self.watch(node, now, id);
        if now >= self.until {
            return;
        }
        let until = self.until;
        let soon = |rng: &mut ChaCha8Rng| (now + rng.random_range(0..20_000)).min(until);
        if rng.random_bool(0.25) {
            let action = RunAction::Cancel { reason: None, compensate: rng.random_bool(0.7) };
            let at = soon(rng);
            self.want(node, at, id, action);
        }
        if rng.random_bool(0.2) {
            let at = soon(rng);
            self.want(node, at, id, RunAction::Pause);
        }
        for n in 0..rng.random_range(0..3) {
            let at = soon(rng);
            let payload = Json::from_value(&json!(n));
            self.want(node, at, id, RunAction::Signal { name: "go".into(), payload });
        }
        let moves = if OPEN.contains(&Open::HandOver) { 0 } else { rng.random_range(0..3) };
        for _ in 0..moves {
            let (at, to) = (soon(rng), peer(rng.random_range(0..NODES)));
            self.wish(node, at, Op::Coordinate(CoordinateRun { id, peers: None, coordinator: Some(to) }));
        }
        if rng.random_bool(0.15) {
            let at = soon(rng);
            let peers = Some(some_peers(rng));
            self.wish(node, at, Op::Coordinate(CoordinateRun { id, peers, coordinator: None }));
        }
    }
}

fn some_peers(rng: &mut ChaCha8Rng) -> std::collections::BTreeSet<PeerId> {
    (0..rng.random_range(0..5)).map(|_| peer(rng.random_range(0..NODES))).collect()
}

fn submit(rng: &mut ChaCha8Rng, node: usize, n: usize) -> SubmitRun {
    let mut submit = submission(&plan::definition(rng), &json!({}));
    submit.idempotency_key = Some(format!("{node}-{n}"));
    if rng.random_bool(0.3) {
        submit.target_peers = some_peers(rng);
    }
    submit
}
