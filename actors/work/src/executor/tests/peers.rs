//! Tasks of peers, listening for work, and progress.

use super::fakes::{Rig, deps, grant, peer_id, rig};
use crate::executor::logic::Source;
use crate::executor::stop::Stop;
use crate::executor::{ExecutorOptions, build, prepare};
use meshwork_kit::Reply;
use meshwork_kit::testing::{self, Probe, World, probe};
use meshwork_proto::executor::{UpstreamTool, UpstreamTools, WorkSource};
use meshwork_proto::queue::{Claim, Claimed, Outcome, Renewal};
use meshwork_proto::task::Payload;
use meshwork_proto::transport::{CallPeer, ServeRequest};
use meshwork_proto::wire::{MeshReply, MeshRequest};
use meshwork_proto::{Cid, Fence, Json, MeshError, TaskId};
use serde_json::json;
use std::time::Duration;

const S: fn(u64) -> Duration = Duration::from_secs;

fn four_slots() -> ExecutorOptions {
    ExecutorOptions { slots: Some(4), ..ExecutorOptions::default() }
}

async fn connected(world: &World) -> Rig {
    let rig = rig(world, four_slots());
    rig.ports.sources.tell(WorkSource::Connected(peer_id())).unwrap();
    world.advance(S(1)).await;
    rig
}

#[test]
fn a_connected_peer_is_asked_for_work_and_gets_its_reports() {
    testing::world(|world| async move {
        let rig = connected(&world).await;
        rig.peer.borrow_mut().grants.push_back(grant(1, "echo", &json!({"a": 1})));
        world.advance(S(2)).await;
        let peer = rig.peer.borrow();
        assert!(matches!(peer.outcomes()[..], [Outcome::Completed { .. }]));
        assert!(peer.claims.iter().any(|(_, claim)| claim.credits == 2), "half of the free places");
        assert!(rig.local.borrow().finishes.is_empty());
    });
}

#[test]
fn a_peer_that_went_away_is_not_asked_any_more_but_its_task_is_renewed_and_reported() {
    testing::world(|world| async move {
        let rig = connected(&world).await;
        rig.peer.borrow_mut().grants.push_back(grant(1, "sleep", &json!({"seconds": 25})));
        world.advance(S(2)).await;
        rig.ports.sources.tell(WorkSource::Lost(peer_id())).unwrap();
        world.settle().await;
        let claims = rig.peer.borrow().claims.len();
        world.advance(S(40)).await;
        let peer = rig.peer.borrow();
        assert_eq!(peer.claims.len(), claims);
        assert!(peer.renews.len() >= 2);
        assert!(matches!(peer.outcomes()[..], [Outcome::Completed { .. }]));
    });
}

#[test]
fn a_large_payload_of_a_peer_is_fetched_before_it_is_read() {
    testing::world(|world| async move {
        let mut rig = connected(&world).await;
        let document = Json::from_value(&json!({"text": "y".repeat(50_000)}));
        let (cid, len) = (Cid::of(document.bytes()), document.len() as u64);
        let mut task = grant(1, "cid", &json!({}));
        task.payload = Payload::Stored { cid, len };
        rig.peer.borrow_mut().grants.push_back(task);
        let (fetch, reply) = rig.fetch.as_mut().unwrap().next().await;
        assert_eq!((fetch.from, fetch.cid, fetch.len), (peer_id(), cid, len));
        assert!(rig.read.as_mut().unwrap().try_next().is_none());
        reply.send(Ok(()));
        let (_, reply) = rig.read.as_mut().unwrap().next().await;
        let bytes = document.bytes().clone();
        reply.send(Ok(meshwork_proto::artifact::ArtifactPiece { total_len: len, bytes }));
        world.advance(S(1)).await;
        // `cid` wants a value or a path: what matters here is that it saw the payload.
        assert_eq!(rig.peer.borrow().failures().len(), 1);
    });
}

#[test]
fn a_peer_in_trouble_is_asked_ever_more_rarely() {
    testing::world(|world| async move {
        let rig = connected(&world).await;
        rig.peer.borrow_mut().offline = true;
        world.advance(S(600)).await;
        rig.peer.borrow_mut().offline = false;
        let before = rig.peer.borrow().claims.len();
        world.advance(S(35)).await;
        assert!(rig.peer.borrow().claims.len() > before, "found again within half a minute");
        assert_eq!(rig.actor.restarts(), 0);
    });
}

/// An own queue that answers only when the test says so.
struct Slow {
    probe: Probe<ServeRequest>,
}

impl Slow {
    async fn claim(&mut self) -> (Claim, Reply<Result<MeshReply, MeshError>>) {
        let (request, reply) = self.probe.next().await;
        match request.request {
            MeshRequest::Claim(claim) => (claim, reply),
            other => panic!("unexpected {}", other.name()),
        }
    }
}

#[test]
fn a_wait_for_work_is_ended_when_there_is_more_to_offer() {
    testing::world(|world| async move {
        let (local, probe_local) = probe::<ServeRequest>(8);
        let (call_peer, _peers) = probe::<CallPeer>(8);
        let (deps, _probes) = deps(&world, local, call_peer);
        let (ports, seed) = prepare(four_slots()).unwrap();
        let _actor = seed.start(world.supervision(), deps, &prometheus::Registry::new()).unwrap();
        let mut own = Slow { probe: probe_local };
        let (first, reply) = own.claim().await;
        assert_eq!(first.credits, 4);
        reply.send(Ok(MeshReply::Claimed(Claimed::default())));
        let (listening, reply) = own.claim().await;
        assert_eq!((listening.credits, listening.wait_ms), (0, 20_000));
        let tools = vec![upstream_tool()];
        ports.upstream_tools.tell(UpstreamTools { server: "s".into(), tools }).unwrap();
        let (again, _held) = own.claim().await;
        assert!(again.offer.tools.contains_key("s__t") && again.credits == 4);
        assert!(reply.is_abandoned());
    });
}

fn upstream_tool() -> UpstreamTool {
    use meshwork_proto::executor::{ToolInfo, ToolKind};
    UpstreamTool {
        info: ToolInfo {
            name: "s__t".into(),
            category: "s".into(),
            description: String::new(),
            kind: ToolKind::Mcp,
            input_schema: Json::from_value(&json!({})),
            output_schema: None,
            annotations: None,
            concurrency: 2,
        },
        upstream_name: "t".into(),
    }
}

#[test]
fn progress_reaches_the_owner_within_a_second_and_not_more_often() {
    testing::world(|world| async move {
        let (local, mut owner) = probe::<ServeRequest>(8);
        let (call_peer, _peers) = probe::<CallPeer>(8);
        let (deps, _probes) = deps(&world, local, call_peer);
        let runtime = world.supervision().runtime().clone();
        let work = build(four_slots(), &runtime, deps, &prometheus::Registry::new()).unwrap();
        let renewer = work.renewer(&Source::Local);
        let key = (TaskId::from_bytes([1; 16]), Fence(1));
        let sink = renewer.sink(key);
        let begun = world.clock().now();
        let _lease = renewer.hold(key, begun, S(30), Stop::new(), sink.clone());
        world.advance(S(3)).await;
        for n in 0..30 {
            sink.line(&format!(r#"{{"progress": {n}}}"#));
            sink.log("working");
            world.advance(Duration::from_millis(100)).await;
            if let Some((request, reply)) = owner.try_next() {
                let MeshRequest::Renew(renew) = request.request else { panic!("not a renewal") };
                let done = renew.leases[0].progress.as_ref().map(|progress| progress.done);
                assert!(done.is_some_and(|done| done >= f64::from(n) - 10.0), "{n}: {done:?}");
                reply.send(Ok(MeshReply::Renewed(vec![Renewal::Renewed { lease_ms: 30_000 }])));
                assert!(n % 10 <= 1, "at most one in a second");
            }
        }
        drop(_lease);
        world.settle().await;
        assert!(renewer.is_idle());
    });
}
