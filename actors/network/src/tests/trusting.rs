//! Who is let in: strangers, wrong secrets, peers allowed by name, admins.

use super::world::{Node, eventually, knowing, member, quic, quick, tcp};
use crate::MeshClient;
use crate::{MeshSecret, NodeIdentity, Trust};
use futures::{AsyncReadExt, AsyncWriteExt};
use meshwork_proto::codec::{decode_wire, encode_wire};
use meshwork_proto::discovery::{ListPeers, PeerConnection};
use meshwork_proto::frame::{FrameDecoder, encode_frame};
use meshwork_proto::transport::{CallError, PeerTarget};
use meshwork_proto::wire::{
    ListNodeTools, MAX_WIRE_FRAME, MESHWORK_PROTOCOL, MeshReply, MeshRequest, WireFrame,
};
use meshwork_proto::{Coded, ErrorCode, Role};
use std::time::Duration;

async fn refused_both_ways(stranger: Trust, why_here: &str) {
    for options in [tcp(), quic()] {
        let mut server = Node::start(member(), options).await;
        let mut client = Node::start(stranger.clone(), quick()).await;
        let error = client.dial(&server.address(), 10_000).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::NotAdmitted, "{error}");
        let PeerConnection::Refused { peer, reason } = client.next_connection().await else { panic!() };
        assert_eq!(peer, server.id());
        // What the operator here can check; what is wrong there is told to nobody but its own operator.
        assert!(reason.contains("same mesh secret") && !reason.contains("--allow"), "{reason}");
        let PeerConnection::Refused { peer, reason } = server.next_connection().await else { panic!() };
        assert_eq!(peer, client.id());
        assert!(reason.contains(why_here) && reason.contains("this node refuses it"), "{reason}");
        assert!(reason.contains("--allow"), "{reason}");
        // Neither may ask the other.
        for (from, to) in [(&client, &server), (&server, &client)] {
            let error = from.greet(&to.id()).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::NotAdmitted, "{error}");
        }
        eventually("the stranger is identified", || {
            server.network.status().borrow().connections.iter().any(|c| c.agent.is_some()).then_some(())
        })
        .await;
        eventually("the stranger is disconnected", || {
            let closed = &server.network.core().metrics.connections_closed;
            let closed = closed.with_label_values(&["not_admitted"]).get();
            let closed_there = &client.network.core().metrics.connections_closed;
            (closed + closed_there.with_label_values(&["not_admitted"]).get() > 0).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_without_secret_is_identified_refused_and_disconnected() {
    refused_both_ways(Trust::default(), "no mesh secret").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_with_another_secret_is_refused() {
    refused_both_ways(knowing(&["not the secret of the tests"]), "another mesh secret").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_allowed_by_name_need_no_secret_and_admins_have_their_role() {
    let (friend, boss) = (NodeIdentity::generate(), NodeIdentity::generate());
    let trust = Trust { allow: [friend.peer_id()].into(), admins: [boss.peer_id()].into(), ..member() };
    let server = Node::start(trust, tcp()).await;
    let trusting = Trust { allow: [server.id()].into(), ..Trust::default() };
    for (identity, role) in [(friend, Role::Member), (boss, Role::Admin)] {
        let client = Node::start_as(identity, trusting.clone(), quick()).await;
        client.dial(&server.address(), 10_000).await.unwrap();
        let ask = MeshRequest::ListPeers(ListPeers::default());
        let answer = client.call(PeerTarget::Id(server.id()), ask, 5_000).await.unwrap();
        let MeshReply::Peers(seen) = answer.reply else { panic!() };
        assert_eq!((&seen[0].peer, seen[0].role), (&client.id(), Some(role)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_allowed_by_name_connects_without_the_secret() {
    let identity = NodeIdentity::generate();
    let server = Node::start(Trust { allow: [identity.peer_id()].into(), ..member() }, tcp()).await;
    let within = Duration::from_secs(10);
    let client = MeshClient::connect_by_name(identity, &server.address(), within).await.unwrap();
    client.call(ListNodeTools, within).await.unwrap();
    let stranger = MeshClient::connect_by_name(NodeIdentity::generate(), &server.address(), within).await;
    assert_eq!(stranger.unwrap_err().code(), ErrorCode::NotAdmitted);
    let wrong = MeshSecret::parse("not the secret of the tests").unwrap();
    let liar = MeshClient::connect(NodeIdentity::generate(), wrong, &server.address(), within).await;
    let CallError::NotAdmitted { peer, .. } = liar.unwrap_err() else { panic!() };
    assert_eq!(peer, server.id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_asks_all_the_same_gets_only_no_and_no_reason() {
    let server = Node::start(member(), tcp()).await;
    let client = Node::start(Trust::default(), quick()).await;
    client.dial(&server.address(), 10_000).await.unwrap_err();
    let mut stream = client.raw_stream(&server.identity, MESHWORK_PROTOCOL).await;
    let request =
        WireFrame::Request { id: 7, deadline_ms: 1_000, request: MeshRequest::ListTools(ListNodeTools) };
    let request = encode_frame(&encode_wire(&request, MAX_WIRE_FRAME).unwrap(), MAX_WIRE_FRAME).unwrap();
    stream.write_all(&request).await.unwrap();
    stream.flush().await.unwrap();
    let mut decoder = FrameDecoder::new(MAX_WIRE_FRAME);
    let mut buffer = [0; 4096];
    let frame = loop {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the stream ended without an answer");
        decoder.push(&buffer[..count]).unwrap();
        if let Some(frame) = decoder.next_frame().unwrap() {
            break frame;
        }
    };
    let WireFrame::Reply { id: 7, result: Err(error) } = decode_wire(&frame, MAX_WIRE_FRAME).unwrap() else {
        panic!()
    };
    assert_eq!(error.code, ErrorCode::NotAdmitted);
    assert_eq!(error.message, "not admitted");
    let metrics = server.network.metrics();
    assert_eq!(metrics.requests.with_label_values(&["in", "list_tools", "not_admitted"]).get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_restarts_with_the_right_secret_is_admitted() {
    let identity = NodeIdentity::generate();
    let server = Node::start(member(), tcp()).await;
    let stranger = Node::start_as(identity.clone(), Trust::default(), quick()).await;
    stranger.dial(&server.address(), 10_000).await.unwrap_err();
    drop(stranger);
    let friend = Node::start_as(identity, member(), quick()).await;
    friend.dial(&server.address(), 10_000).await.unwrap();
    friend.greet(&server.id()).await.unwrap();
}
