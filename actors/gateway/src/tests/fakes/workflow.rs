//! Doubles of the coordinator of workflows, here and at the one peer: runs stand still until a test moves them.

use super::{State, Waiting, local, peer, port};
use crate::WorkflowPorts;
use meshwork_proto::task::Payload;
use meshwork_proto::wire::{MeshReply, MeshRequest};
use meshwork_proto::workflow::{
    By, ControlRun, CoordinateRun, Coordinated, DagEdge, DagNode, DagView, GetDag, GetHistory, GetRun,
    HistoryEntry, HistoryPage, ListRuns, Problem, RunAction, RunChanged, RunPage, RunState, RunSubmitted,
    RunSummary, RunView, StepKind, StepState, StepView, SubmitRun, TakeOverRun, TakenOver, ValidateWorkflow,
    Validated, WorkflowError,
};
use meshwork_proto::{Caller, Cid, Coded, ErrorCode, Json, MeshError, PeerId, RunId, UnixMillis};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Entries of each history.
const ENTRIES: u64 = 5;

/// What the coordinator has.
#[derive(Default)]
pub(in crate::tests) struct Runs {
    runs: Mutex<BTreeMap<RunId, RunView>>,
    /// Runs that were handed to another peer.
    moved: Mutex<BTreeMap<RunId, PeerId>>,
    /// Reads of runs that wait now.
    pub(in crate::tests) waiting: AtomicUsize,
}

impl Runs {
    /// Changes a run, and so its version.
    pub(in crate::tests) fn change(&self, id: &str, change: impl FnOnce(&mut RunView)) {
        let mut runs = self.runs.lock().unwrap();
        let run = runs.get_mut(&id.parse().unwrap()).unwrap();
        change(run);
        run.version += 1;
        run.counts = StepState::ALL
            .iter()
            .map(|state| {
                let count = run.steps.iter().filter(|step| step.state == *state).count();
                (*state, u32::try_from(count).unwrap())
            })
            .filter(|(_, count)| *count > 0)
            .collect();
    }

    /// Puts a step of a run into a state.
    pub(in crate::tests) fn step(&self, id: &str, step: usize, state: StepState) {
        self.change(id, |run| run.steps[step].state = state);
    }

    /// Completes a run with a result.
    pub(in crate::tests) fn complete(&self, id: &str, output: &Value) {
        let output = Json::from_value(output);
        self.change(id, |run| {
            run.steps.iter_mut().for_each(|step| step.state = StepState::Completed);
            run.state = RunState::Completed;
            run.output_cid = Some(Cid::of(output.bytes()));
            run.output = Some(Payload::Inline(output));
            run.finished = Some(UnixMillis(1_700_000_001_500));
        });
    }

    /// Fails a run.
    pub(in crate::tests) fn fail(&self, id: &str, message: &str) {
        self.change(id, |run| {
            run.state = RunState::Failed;
            run.error = Some(MeshError::new(ErrorCode::ToolFailed, message));
            run.finished = Some(UnixMillis(1_700_000_001_500));
        });
    }

    /// Hands a run to a peer.
    pub(in crate::tests) fn move_to(&self, id: &str, to: PeerId) {
        self.moved.lock().unwrap().insert(id.parse().unwrap(), to);
    }

    fn with<T>(&self, id: RunId, run: impl FnOnce(&mut RunView) -> T) -> Result<T, WorkflowError> {
        if let Some(to) = self.moved.lock().unwrap().get(&id) {
            return Err(WorkflowError::Moved { id, to: to.clone() });
        }
        self.runs.lock().unwrap().get_mut(&id).map(run).ok_or(WorkflowError::UnknownRun(id))
    }
}

/// A step that has not begun.
fn step(id: &str) -> StepView {
    StepView {
        id: id.into(),
        kind: StepKind::Task,
        what: "echo".into(),
        state: StepState::Pending,
        attempt: 0,
        max_attempts: 1,
        peer: None,
        task: None,
        run: None,
        items: None,
        cached: false,
        output_cid: None,
        output_len: None,
        error: None,
        started: None,
        finished: None,
        due: None,
        progress: None,
        waiting_for: None,
        needs: Vec::new(),
    }
}

/// A run of steps that has begun.
fn run(id: RunId, name: &str, steps: &[&str], coordinator: PeerId) -> RunView {
    let steps: Vec<StepView> = steps.iter().map(|id| step(id)).collect();
    RunView {
        id,
        name: name.into(),
        state: RunState::Running,
        version: 1,
        definition_cid: Cid::of(b"definition"),
        inputs_cid: Cid::of(b"{}"),
        submitter: None,
        parent: None,
        coordinating_peers: vec![coordinator],
        epoch: 1,
        counts: vec![(StepState::Pending, u32::try_from(steps.len()).unwrap())],
        steps,
        output: None,
        output_cid: None,
        error: None,
        created: UnixMillis(1_700_000_000_000),
        started: Some(UnixMillis(1_700_000_000_100)),
        updated: UnixMillis(1_700_000_000_500),
        finished: None,
        waiting_for: None,
    }
}

fn problems(name: &str) -> Vec<Problem> {
    let problem = |n: usize| Problem {
        step: Some(format!("s{n}")),
        field: "tool".into(),
        message: "nobody serves \"x\"".into(),
    };
    if name == "broken" { (0..7).map(problem).collect() } else { Vec::new() }
}

/// The name and the ids of the steps of a definition; a stored one is in the own store by now.
pub(super) fn read(state: &State, definition: &Payload) -> (String, Vec<String>) {
    let document = match definition {
        Payload::Inline(json) => json.to_value(),
        Payload::Stored { cid, .. } => {
            serde_json::from_slice(state.artifacts.lock().unwrap().get(cid).unwrap()).unwrap()
        }
    };
    let steps = document["steps"].as_array().cloned().unwrap_or_default();
    let ids = steps.iter().map(|step| step["id"].as_str().unwrap().to_owned()).collect();
    (document["name"].as_str().unwrap_or("tasks").to_owned(), ids)
}

fn submit(state: &State, By { caller, op }: By<SubmitRun>) -> Result<RunSubmitted, WorkflowError> {
    let (name, ids) = read(state, &op.definition);
    state.log(format!(
        "submit_run {name} of {:?} with {} bytes of inputs for {} peers",
        caller.peer().map(PeerId::short),
        op.inputs.len(),
        op.target_peers.len()
    ));
    let problems = problems(&name);
    if !problems.is_empty() {
        return Err(WorkflowError::Invalid(problems));
    }
    let mut runs = state.runs.runs.lock().unwrap();
    if op.idempotency_key.is_some()
        && let Some(first) = runs.values().find(|run| run.name == name)
    {
        return Ok(RunSubmitted { id: first.id, state: first.state, existing: true });
    }
    let id = RunId::from_parts(UnixMillis(1_700_000_000_000 + runs.len() as u64), [7; 10]);
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let run = RunView { submitter: caller.peer().cloned(), ..run(id, &name, &ids, local()) };
    let answer = RunSubmitted { id, state: run.state, existing: false };
    runs.insert(id, run);
    Ok(answer)
}

async fn get(state: Arc<State>, op: GetRun) -> Result<RunView, WorkflowError> {
    let _waiting = (op.wait_ms > 0).then(|| Waiting::new(&state.runs.waiting));
    let is_over = |run: &RunView| op.seen.map_or(run.state.is_finished(), |seen| run.version != seen);
    for _ in 0..op.wait_ms / 5 {
        if state.runs.with(op.id, |run| is_over(run))? {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut run = state.runs.with(op.id, |run| run.clone())?;
    if !op.steps {
        run.steps.clear();
    }
    Ok(run)
}

fn list(state: &State, op: &ListRuns) -> RunPage {
    let runs = state.runs.runs.lock().unwrap();
    let moved = state.runs.moved.lock().unwrap();
    let fits = |run: &&RunView| {
        op.state.is_none_or(|state| run.state == state)
            && op.name.as_ref().is_none_or(|name| run.name == *name)
            && op.cursor.is_none_or(|cursor| run.id < cursor)
    };
    let summary = |run: &RunView| RunSummary {
        id: run.id,
        name: run.name.clone(),
        state: run.state,
        steps: u32::try_from(run.steps.len()).unwrap(),
        finished_steps: 0,
        moved_to: moved.get(&run.id).cloned(),
        error: run.error.clone(),
        created: run.created,
        finished: run.finished,
    };
    let all: Vec<RunSummary> = runs.values().rev().filter(fits).map(summary).collect();
    let page: Vec<RunSummary> = all.iter().take(op.limit as usize).cloned().collect();
    let next = if page.len() < all.len() { page.last().map(|run| run.id) } else { None };
    RunPage { runs: page, next }
}

fn control(run: &mut RunView, action: &RunAction) -> Result<RunChanged, WorkflowError> {
    let wrong =
        |wanted: &str| WorkflowError::WrongState { id: run.id, state: run.state, wanted: wanted.into() };
    run.state = match action {
        RunAction::Cancel { .. } if run.state.is_finished() => return Err(wrong("it is finished already")),
        RunAction::Cancel { .. } => RunState::Cancelled,
        RunAction::Pause => RunState::Paused,
        RunAction::Resume | RunAction::Retry { .. } => RunState::Running,
        RunAction::Signal { .. } | RunAction::TakeBack => run.state,
    };
    run.version += 1;
    Ok(RunChanged { id: run.id, state: run.state })
}

/// The graph of a run: its steps one after another.
fn dag(run: &RunView) -> DagView {
    let nodes = run.steps.iter().map(|step| DagNode {
        id: step.id.clone(),
        kind: step.kind,
        what: step.what.clone(),
        state: step.state,
        items: None,
        duration_ms: 1_500,
    });
    let edges = run.steps.windows(2).map(|pair| DagEdge { from: pair[0].id.clone(), to: pair[1].id.clone() });
    DagView {
        id: run.id,
        name: run.name.clone(),
        state: run.state,
        nodes: nodes.collect(),
        edges: edges.collect(),
        critical_path: run.steps.iter().map(|step| step.id.clone()).collect(),
        critical_ms: 3_000,
    }
}

fn history(op: &GetHistory) -> HistoryPage {
    let entry = |seq| HistoryEntry {
        seq,
        at: UnixMillis(1_700_000_000_000 + seq),
        kind: "step_started".into(),
        step: Some("a".into()),
        item: None,
        text: format!("entry {seq}"),
        detail: Json::from_value(&json!({ "seq": seq })),
    };
    let first = op.after.unwrap_or(0) + 1;
    let last = ENTRIES.min(first + u64::from(op.limit) - 1);
    HistoryPage { entries: (first..=last).map(entry).collect(), next: (last < ENTRIES).then_some(last) }
}

fn coordinate(run: &RunView, op: CoordinateRun) -> Coordinated {
    let mut coordinating_peers = vec![local()];
    coordinating_peers.extend(op.peers.into_iter().flatten().filter(|peer| *peer != local()));
    Coordinated {
        id: run.id,
        coordinator: local(),
        moving_to: op.coordinator,
        coordinating_peers,
        epoch: run.epoch,
    }
}

/// The ports.
pub(super) fn ports(state: &Arc<State>) -> WorkflowPorts {
    WorkflowPorts {
        submit: port(state, |state, by| async move { submit(&state, by) }),
        validate: port(state, |state, By { op, .. }: By<ValidateWorkflow>| async move {
            let (name, order) = read(&state, &op.definition);
            state.log(format!("validate {name} {}", op.inputs.is_some()));
            Ok(Validated { problems: problems(&name), name, order })
        }),
        get: port(state, |state, by: By<GetRun>| get(state, by.op)),
        list: port(state, |state, by: By<ListRuns>| async move { Ok(list(&state, &by.op)) }),
        control: port(state, |state, By { op, .. }: By<ControlRun>| async move {
            state.log(format!("control {:?}", op.action));
            state.runs.with(op.id, |run| control(run, &op.action))?
        }),
        dag: port(state, |state, by: By<GetDag>| async move { state.runs.with(by.op.id, |run| dag(run)) }),
        history: port(state, |state, by: By<GetHistory>| async move {
            state.runs.with(by.op.id, |_| history(&by.op))
        }),
        coordinate: port(state, |state, By { op, .. }: By<CoordinateRun>| async move {
            state.log(format!("coordinate {:?}", op.peers.as_ref().map(std::collections::BTreeSet::len)));
            state.runs.with(op.id, |run| coordinate(run, op))
        }),
        take_over: port(state, |state, By { caller, op }: By<TakeOverRun>| async move {
            state.log(format!("take_over epoch {} of {caller:?}", op.epoch));
            match caller {
                Caller::Local => {
                    Err(WorkflowError::Forbidden("only its coordinator hands a run over".into()))
                }
                Caller::Peer { .. } => Ok(TakenOver { epoch: op.epoch }),
            }
        }),
    }
}

/// What the one peer there is answers about runs: all runs that it is asked for are there, and completed.
pub(super) fn remote(state: &State, request: &MeshRequest) -> Option<Result<MeshReply, MeshError>> {
    let completed = |id: RunId| {
        let output = state.remote.lock().unwrap().first_key_value().map(|(cid, bytes)| (*cid, bytes.len()));
        let mut run = run(id, "far", &["a"], peer());
        run.state = RunState::Completed;
        run.epoch = 2;
        run.output = match output {
            Some((cid, len)) => Some(Payload::Stored { cid, len: len as u64 }),
            None => Some(Payload::Inline(Json::from_value(&json!("far away")))),
        };
        run
    };
    let answer = match request {
        MeshRequest::SubmitRun(_) => MeshReply::RunSubmitted(RunSubmitted {
            id: RunId::from_bytes([9; 16]),
            state: RunState::Running,
            existing: false,
        }),
        MeshRequest::ValidateWorkflow(op) => {
            let (name, order) = read(state, &op.definition);
            MeshReply::Validated(Validated { problems: problems(&name), name, order })
        }
        MeshRequest::GetRun(op) => MeshReply::Run(completed(op.id)),
        MeshRequest::ControlRun(op) => {
            let error = WorkflowError::WrongState {
                id: op.id,
                state: RunState::Completed,
                wanted: "it is finished already".into(),
            };
            return Some(Err(MeshError::from_coded(&error as &dyn Coded)));
        }
        MeshRequest::GetHistory(op) => MeshReply::History(history(op)),
        _ => return None,
    };
    Some(Ok(answer))
}
