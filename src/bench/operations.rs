//! The operations that are measured, each against the public wire.

use super::{BenchError, WITHIN};
use crate::cli::BenchArgs;
use meshwork_network::MeshClient;
use meshwork_proto::queue::{Claim, Finish, GetTask, Offer, Outcome, Submit};
use meshwork_proto::task::{Payload, TaskGrant, TaskSpec};
use meshwork_proto::wire::MeshCall;
use meshwork_proto::{Cid, Json, MeshError, TaskId, WorkerId};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// A tool that no node serves: tasks of this type wait until the measurement claims them.
const TOOL: &str = "bench";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Submit,
    Get,
    Claim,
    Complete,
    Cycle,
}

/// What an operation needs to have there before it runs.
pub(super) struct Prepared {
    spec: TaskSpec,
    worker: WorkerId,
    ids: Vec<TaskId>,
    grants: Mutex<VecDeque<TaskGrant>>,
}

impl Operation {
    pub(super) const ALL: [Self; 5] = [Self::Submit, Self::Get, Self::Claim, Self::Complete, Self::Cycle];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Get => "get",
            Self::Claim => "claim",
            Self::Complete => "complete",
            Self::Cycle => "cycle",
        }
    }

    /// Fills the queue with as much as the operation can use up in its time.
    pub(super) async fn prepare(
        self,
        client: &MeshClient,
        worker: &WorkerId,
        options: &BenchArgs,
    ) -> Result<Prepared, BenchError> {
        let mut prepared = Prepared {
            spec: spec(options.payload),
            worker: worker.clone(),
            ids: Vec::new(),
            grants: Mutex::new(VecDeque::new()),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let supply = (options.seconds * 40_000.0) as usize;
        match self {
            Self::Submit | Self::Cycle => {}
            Self::Get => prepared.ids = submit_many(client, &prepared.spec, 1_000).await?,
            Self::Claim => drop(submit_many(client, &prepared.spec, supply).await?),
            Self::Complete => {
                submit_many(client, &prepared.spec, supply).await?;
                let grants = claim_all(client, &prepared.worker).await?;
                prepared.grants = Mutex::new(grants);
            }
        }
        Ok(prepared)
    }

    /// Does it once; false when there is nothing left to do it with.
    pub(super) async fn step(
        self,
        client: Arc<MeshClient>,
        with: &Prepared,
        lane: usize,
    ) -> Result<bool, MeshError> {
        match self {
            Self::Submit => call(&client, Submit(with.spec.clone())).await.map(|_| true),
            Self::Get => {
                let Some(id) = with.ids.get(lane % with.ids.len().max(1)) else { return Ok(false) };
                call(&client, GetTask { id: *id, wait_ms: 0 }).await.map(|_| true)
            }
            Self::Claim => {
                call(&client, claim(&with.worker, 1)).await.map(|claimed| !claimed.grants.is_empty())
            }
            Self::Complete => {
                let grant = with.grants.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(grant) = grant else { return Ok(false) };
                complete(&client, &with.worker, &grant).await.map(|()| true)
            }
            Self::Cycle => {
                call(&client, Submit(with.spec.clone())).await?;
                let claimed = call(&client, claim(&with.worker, 1)).await?;
                for grant in &claimed.grants {
                    complete(&client, &with.worker, grant).await?;
                }
                // Lanes may claim one another's tasks, but never find fewer than there are lanes at this point.
                Ok(!claimed.grants.is_empty())
            }
        }
    }

    /// Leaves an empty queue to the next one.
    pub(super) async fn clean_up(self, client: &MeshClient, with: &Prepared) -> Result<(), BenchError> {
        let mut grants = std::mem::take(&mut *with.grants.lock().unwrap_or_else(PoisonError::into_inner));
        grants.extend(claim_all(client, &with.worker).await?);
        let grants: Vec<_> = grants.into();
        for part in grants.chunks(64) {
            let done = part.iter().map(|grant| complete(client, &with.worker, grant));
            futures::future::try_join_all(done).await?;
        }
        Ok(())
    }
}

/// A task with a payload of about `bytes` bytes.
pub(super) fn spec(bytes: usize) -> TaskSpec {
    let filler = "x".repeat(bytes.saturating_sub(r#"{"data":""}"#.len()));
    let payload = Json::from_value(&serde_json::json!({ "data": filler }));
    let cid = Cid::of(payload.bytes());
    TaskSpec::new(TOOL, payload, cid)
}

/// Submits tasks, 64 at a time.
pub(super) async fn submit_many(
    client: &MeshClient,
    spec: &TaskSpec,
    count: usize,
) -> Result<Vec<TaskId>, MeshError> {
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let part = (count - ids.len()).min(64);
        let submitted = (0..part).map(|_| call(client, Submit(spec.clone())));
        ids.extend(futures::future::try_join_all(submitted).await?.into_iter().map(|task| task.id));
    }
    Ok(ids)
}

async fn claim_all(client: &MeshClient, worker: &WorkerId) -> Result<VecDeque<TaskGrant>, MeshError> {
    let mut grants = VecDeque::new();
    loop {
        let claimed = call(client, claim(worker, 64)).await?;
        if claimed.grants.is_empty() {
            return Ok(grants);
        }
        grants.extend(claimed.grants);
    }
}

fn claim(worker: &WorkerId, credits: u32) -> Claim {
    let offer = Offer { tools: [(TOOL.to_owned(), credits)].into(), ..Offer::default() };
    Claim { worker: worker.clone(), offer, credits, wait_ms: 0 }
}

async fn complete(client: &MeshClient, worker: &WorkerId, grant: &TaskGrant) -> Result<(), MeshError> {
    let output = Json::from_value(&serde_json::json!({"ok": true}));
    let output_cid = Cid::of(output.bytes());
    let outcome = Outcome::Completed { output: Payload::Inline(output), output_cid };
    call(client, Finish { id: grant.id, fence: grant.fence, worker: worker.clone(), outcome }).await.map(drop)
}

async fn call<C: MeshCall>(client: &MeshClient, request: C) -> Result<C::Answer, MeshError> {
    client.call(request, WITHIN).await.map_err(|error| MeshError::from_coded(&error))
}
