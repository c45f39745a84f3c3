//! Doubles for everybody the executor speaks to.

use crate::executor::{ExecutorDeps, ExecutorOptions, ExecutorPorts, prepare};
use meshwork_kit::testing::{Probe, World, probe};
use meshwork_kit::{ActorRef, Port};
use meshwork_proto::artifact::{PutArtifact, ReadArtifact};
use meshwork_proto::executor::{CallTool, ToolError, ToolOutput};
use meshwork_proto::queue::{Claim, Claimed, Finish, Finished, LeaseReport, Outcome, Renew, Renewal};
use meshwork_proto::task::{Payload, TaskGrant, TaskStatus};
use meshwork_proto::transport::{CallError, CallPeer, FetchArtifact, PeerAnswer, PeerTarget, ServeRequest};
use meshwork_proto::upstream::CallUpstream;
use meshwork_proto::wire::{MeshReply, MeshRequest};
use meshwork_proto::{Caller, Cid, ErrorCode, Fence, Json, MeshError, PeerId, TaskId, UnixMillis};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

pub(super) const LEASE: Duration = Duration::from_secs(30);

/// What a fake owner does and what it has seen.
pub(super) struct Owner {
    /// Handed out at the next claims that offer their tools.
    pub(super) grants: VecDeque<TaskGrant>,
    /// Handed out at the next claims whatever they offer.
    pub(super) forced: VecDeque<TaskGrant>,
    /// Answers to renewals.
    pub(super) renewal: Box<dyn FnMut(&LeaseReport) -> Renewal>,
    /// Answers to the next reports, before they are accepted.
    pub(super) finish_errors: VecDeque<ErrorCode>,
    /// Nothing gets through.
    pub(super) offline: bool,
    pub(super) claims: Vec<(UnixMillis, Claim)>,
    pub(super) renews: Vec<(UnixMillis, Renew)>,
    pub(super) finishes: Vec<Finish>,
    clock: meshwork_kit::Clock,
}

pub(super) type Shared = Rc<RefCell<Owner>>;

impl Owner {
    fn new(world: &World) -> Shared {
        Rc::new(RefCell::new(Self {
            grants: VecDeque::new(),
            forced: VecDeque::new(),
            renewal: Box::new(|_| Renewal::Renewed { lease_ms: 30_000 }),
            finish_errors: VecDeque::new(),
            offline: false,
            claims: Vec::new(),
            renews: Vec::new(),
            finishes: Vec::new(),
            clock: world.clock().clone(),
        }))
    }

    fn serve(&mut self, request: MeshRequest) -> Result<MeshReply, MeshError> {
        let now = self.clock.now();
        if self.offline {
            return Err(MeshError::new(ErrorCode::Unavailable, "offline"));
        }
        match request {
            MeshRequest::Claim(claim) => {
                let claimed = self.claim(&claim);
                self.claims.push((now, claim));
                Ok(MeshReply::Claimed(claimed))
            }
            MeshRequest::Renew(renew) => {
                let answers = renew.leases.iter().map(|lease| (self.renewal)(lease)).collect();
                self.renews.push((now, renew));
                Ok(MeshReply::Renewed(answers))
            }
            MeshRequest::Finish(finish) => {
                self.finishes.push(finish);
                match self.finish_errors.pop_front() {
                    Some(code) => Err(MeshError::new(code, "as the test wants it")),
                    None => {
                        Ok(MeshReply::Finished(Finished { status: TaskStatus::Completed, retry_at: None }))
                    }
                }
            }
            other => panic!("unexpected {}", other.name()),
        }
    }

    fn claim(&mut self, claim: &Claim) -> Claimed {
        let mut room = claim.offer.tools.clone();
        let mut grants: Vec<_> = self.forced.drain(..).collect();
        let mut rest = VecDeque::new();
        for grant in self.grants.drain(..) {
            match room.get_mut(&grant.tool) {
                Some(room) if *room > 0 && grants.len() < claim.credits as usize => {
                    *room -= 1;
                    grants.push(grant);
                }
                _ => rest.push_back(grant),
            }
        }
        self.grants = rest;
        let more = self.grants.iter().any(|grant| room.get(&grant.tool).is_some_and(|room| *room > 0));
        Claimed { grants, more }
    }
}

/// An executor and its surroundings.
pub(super) struct Rig {
    pub(super) ports: ExecutorPorts,
    pub(super) actor: ActorRef,
    pub(super) local: Shared,
    pub(super) peer: Shared,
    pub(super) fetch: Option<Probe<FetchArtifact>>,
    pub(super) put: Option<Probe<PutArtifact>>,
    pub(super) read: Option<Probe<ReadArtifact>>,
    pub(super) upstream: Option<Probe<CallUpstream>>,
}

pub(super) fn peer_id() -> PeerId {
    "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo".parse().unwrap()
}

pub(super) struct Probes {
    pub(super) fetch: Probe<FetchArtifact>,
    pub(super) put: Probe<PutArtifact>,
    pub(super) read: Probe<ReadArtifact>,
    pub(super) upstream: Probe<CallUpstream>,
}

/// Dependencies whose owners are reached through these ports.
pub(super) fn deps(
    world: &World,
    local: Port<ServeRequest>,
    call_peer: Port<CallPeer>,
) -> (ExecutorDeps, Probes) {
    let (fetch, fetches) = probe(16);
    let (put_artifact, puts) = probe(16);
    let (read_artifact, reads) = probe(16);
    let (upstream, calls) = probe(16);
    let deps = ExecutorDeps {
        clock: world.clock().clone(),
        local,
        call_peer,
        fetch,
        put_artifact,
        read_artifact,
        upstream,
        local_peer: "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap(),
        incarnation: 7,
        labels: ["test".to_owned()].into(),
    };
    (deps, Probes { fetch: fetches, put: puts, read: reads, upstream: calls })
}

pub(super) fn rig(world: &World, options: ExecutorOptions) -> Rig {
    let (local, served) = probe::<ServeRequest>(64);
    let (call_peer, called) = probe::<CallPeer>(64);
    let (own, other) = (Owner::new(world), Owner::new(world));
    let owner = Rc::clone(&own);
    served.reply_with(move |request| {
        assert_eq!(request.caller, Caller::Local);
        owner.borrow_mut().serve(request.request)
    });
    let owner = Rc::clone(&other);
    called.reply_with(move |call| {
        assert_eq!(call.target, PeerTarget::Id(peer_id()));
        let reply = owner.borrow_mut().serve(call.request).map_err(CallError::Refused)?;
        Ok(PeerAnswer { peer: peer_id(), reply })
    });
    let (deps, probes) = deps(world, local, call_peer);
    let (ports, seed) = prepare(options).unwrap();
    let actor = seed.start(world.supervision(), deps, &prometheus::Registry::new()).unwrap();
    let Probes { fetch, put, read, upstream } = probes;
    Rig {
        ports,
        actor,
        local: own,
        peer: other,
        fetch: Some(fetch),
        put: Some(put),
        read: Some(read),
        upstream: Some(upstream),
    }
}

impl Rig {
    pub(super) async fn call(&self, tool: &str, arguments: Value) -> Result<ToolOutput, ToolError> {
        let call =
            CallTool { tool: tool.into(), arguments: Json::from_value(&arguments), timeout_ms: 60_000 };
        self.ports.call.ask(call, Duration::from_secs(120)).await.unwrap()
    }
}

/// A grant of a task of this type with this payload.
pub(super) fn grant(n: u8, tool: &str, payload: &Value) -> TaskGrant {
    let payload = Json::from_value(payload);
    TaskGrant {
        id: TaskId::from_bytes([n; 16]),
        task_type: tool.into(),
        tool: tool.into(),
        model_name: None,
        input_cid: Cid::of(payload.bytes()),
        payload: Payload::Inline(payload),
        attempt: 1,
        fence: Fence(u64::from(n)),
        lease_ms: 30_000,
        timeout_ms: None,
        metadata: None,
    }
}

impl Owner {
    pub(super) fn outcomes(&self) -> Vec<&Outcome> {
        self.finishes.iter().map(|finish| &finish.outcome).collect()
    }

    /// The codes with which attempts failed.
    pub(super) fn failures(&self) -> Vec<(ErrorCode, bool)> {
        let failed = |finish: &Finish| match &finish.outcome {
            Outcome::Failed { error, retry } => Some((error.code, *retry)),
            _ => None,
        };
        self.finishes.iter().filter_map(failed).collect()
    }
}
