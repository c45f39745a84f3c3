//! Many sub-workflows at one peer.

use super::scene::Scene;
use crate::workflow::tests::bench::OTHER;
use meshwork_kit::testing;
use meshwork_proto::RunId;
use meshwork_proto::transport::PeerAnswer;
use meshwork_proto::wire::{MeshReply, MeshRequest};
use meshwork_proto::workflow::{RunState, RunSubmitted, RunView};
use serde_json::json;

#[test]
fn three_hundred_parts_at_one_peer_take_only_some_of_its_requests_and_each_is_asked_after_in_turn() {
    testing::world(|world| async move {
        let mut scene = Scene::start(&world);
        let items: Vec<u32> = (0..300).collect();
        let definition = json!({
            "name": "outer",
            "workflows": {"part": {"name": "part", "steps": [{"id": "inner", "tool": "t", "input": {}}]}},
            "steps": [{"id": "sub", "for_each": items, "workflow": "part", "place": {"peer": OTHER}}]
        });
        let id = scene.submit(&definition, &json!({})).await;
        let shown = scene.get(id).await;
        let (mut submitted, mut watched) = (0_u16, std::collections::BTreeSet::new());
        for _ in 0..200 {
            world.settle().await;
            let mut calls = Vec::new();
            while let Some(call) = scene.calls.try_next() {
                calls.push(call);
            }
            assert!(calls.len() <= 32, "{} calls at a time", calls.len());
            for (call, reply) in calls {
                let answer = match call.request {
                    MeshRequest::SubmitRun(_) => {
                        submitted += 1;
                        let mut part = [9; 16];
                        part[..2].copy_from_slice(&submitted.to_be_bytes());
                        let part = RunId::from_bytes(part);
                        MeshReply::RunSubmitted(RunSubmitted {
                            id: part,
                            state: RunState::Running,
                            existing: false,
                        })
                    }
                    MeshRequest::GetRun(get) => {
                        watched.insert(get.id);
                        if watched.len() < 200 {
                            assert!(get.wait_ms <= 1_000, "others wait for their turn");
                        }
                        MeshReply::Run(RunView { id: get.id, ..shown.clone() })
                    }
                    other => panic!("{other:?}"),
                };
                let peer = OTHER.parse().unwrap();
                reply.send(Ok(PeerAnswer { peer, reply: answer }));
            }
            if watched.len() == 300 {
                break;
            }
        }
        assert_eq!((submitted, watched.len()), (300, 300));
    });
}
