//! Requests over real connections: answers, many at once, deadlines, abandoned ones, limits, hostile frames.

use super::world::{Node, eventually, member, pair, quic, quick, tcp};
use crate::MeshClient;
use crate::NodeIdentity;
use crate::trust::MeshSecret;
use futures::future::join_all;
use futures::{AsyncReadExt, AsyncWriteExt};
use meshwork_proto::artifact::ArtifactPiece;
use meshwork_proto::discovery::{Advertisement, ListPeers};
use meshwork_proto::transport::{CallError, PeerTarget};
use meshwork_proto::wire::{ListNodeTools, MESHWORK_PROTOCOL, MeshReply, MeshRequest, ReadPiece};
use meshwork_proto::{Cid, ErrorCode, Role};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_ask_each_other_over_tcp_and_quic_and_are_seen_as_who_they_are() {
    for options in [tcp(), quic()] {
        let (server, client) = pair(options).await;
        let ask = MeshRequest::ListPeers(ListPeers::default());
        for (from, to) in [(&client, &server), (&server, &client)] {
            let answer = from.call(PeerTarget::Id(to.id()), ask.clone(), 5_000).await.unwrap();
            assert_eq!(answer.peer, to.id());
            let MeshReply::Peers(seen) = answer.reply else { panic!() };
            assert_eq!((&seen[0].peer, seen[0].role), (&from.id(), Some(Role::Member)));
        }
        client.stop().await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_at_once_each_get_their_own_answer() {
    for options in [tcp(), quic()] {
        let (server, client) = pair(options).await;
        let bytes: Vec<u8> = (0..8000_u32).flat_map(u32::to_be_bytes).collect();
        let cid = Cid::of(&bytes);
        server.service.artifacts.lock().unwrap().insert(cid, bytes.into());
        let calls = (0..1000_u64).map(|n| {
            let request = MeshRequest::ReadArtifact(ReadPiece { cid, offset: n * 4, max_len: 4 });
            client.call(PeerTarget::Id(server.id()), request, 20_000)
        });
        for (n, answer) in join_all(calls).await.into_iter().enumerate() {
            let MeshReply::Piece(ArtifactPiece { bytes, .. }) = answer.unwrap().reply else { panic!() };
            assert_eq!(bytes[..], u32::try_from(n).unwrap().to_be_bytes());
        }
        assert_eq!(client.network.core().metrics.in_flight.with_label_values(&["out"]).get(), 0);
        eventually("the connection is seen", || {
            (client.network.status().borrow().connections.len() == 1).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_request_ends_at_its_deadline_here_and_there() {
    let (server, client) = pair(tcp()).await;
    let began = Instant::now();
    let error = client.hang(&server.id(), 300).await.unwrap_err();
    assert_eq!(error, CallError::Timeout { target: server.id().to_string(), after_ms: 300 });
    assert!((300..5_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    eventually("the server stops", || (server.service.abandoned.load(Ordering::SeqCst) == 1).then_some(()))
        .await;
    client.greet(&server.id()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_asker_goes_away_the_other_side_stops() {
    let (server, client) = pair(tcp()).await;
    let id = server.id();
    {
        let asking = client.hang(&id, 3_600_000);
        tokio::pin!(asking);
        let held = eventually("the request arrives", || {
            (server.service.held.load(Ordering::SeqCst) == 1).then_some(())
        });
        tokio::select! {
            answer = &mut asking => panic!("{answer:?}"),
            () = held => {}
        }
    }
    eventually("the server stops", || (server.service.abandoned.load(Ordering::SeqCst) == 1).then_some(()))
        .await;
    client.greet(&server.id()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_peer_is_waited_for_within_the_deadline_and_then_reported_busy() {
    let server = Node::start(member(), tcp()).await;
    let client = Node::start(member(), crate::NetworkOptions { max_requests_out: 2, ..quick() }).await;
    client.dial(&server.address(), 10_000).await.unwrap();
    let id = server.id();
    let (a, b, refused) = tokio::join!(client.hang(&id, 900), client.hang(&id, 900), async {
        eventually("both are there", || (server.service.held.load(Ordering::SeqCst) == 2).then_some(()))
            .await;
        client.hang(&id, 200).await
    });
    assert_eq!(refused.unwrap_err(), CallError::Busy { peer: id.clone(), limit: 2 });
    assert!(matches!((a, b), (Err(CallError::Timeout { .. }), Err(CallError::Timeout { .. }))));
    client.greet(&id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_serves_only_so_many_requests_of_a_peer_at_a_time() {
    let server = Node::start(member(), crate::NetworkOptions { max_requests_in: 2, ..tcp() }).await;
    let client = Node::start(member(), quick()).await;
    client.dial(&server.address(), 10_000).await.unwrap();
    let id = server.id();
    let (_, _, refused) = tokio::join!(client.hang(&id, 900), client.hang(&id, 900), async {
        eventually("both are there", || (server.service.held.load(Ordering::SeqCst) == 2).then_some(()))
            .await;
        client.greet(&id).await
    });
    let CallError::Refused(error) = refused.unwrap_err() else { panic!() };
    assert_eq!(error.code, ErrorCode::Busy);
    client.greet(&id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused_on_either_side_and_costs_nothing_else() {
    let (server, client) = pair(tcp()).await;
    let huge = Advertisement { agent: "x".repeat(5 << 20), ..Advertisement::default() };
    let sent = client.call(PeerTarget::Id(server.id()), MeshRequest::Advertise(huge), 5_000).await;
    assert!(matches!(sent, Err(CallError::TooLarge { max: 0x40_0000, .. })), "{sent:?}");
    let bytes = vec![1; 5 << 20];
    let cid = Cid::of(&bytes);
    server.service.artifacts.lock().unwrap().insert(cid, bytes.into());
    server.service.lies.lock().unwrap().everything = true;
    let read = MeshRequest::ReadArtifact(ReadPiece { cid, offset: 0, max_len: 1 });
    let answer = client.call(PeerTarget::Id(server.id()), read, 20_000).await;
    assert!(matches!(&answer, Err(CallError::Refused(e)) if e.code == ErrorCode::TooLarge), "{answer:?}");
    client.greet(&server.id()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_buffers_hold_passes_in_both_directions_at_once() {
    let (server, client) = pair(tcp()).await;
    let bytes = vec![7; 1 << 20];
    let cid = Cid::of(&bytes);
    server.service.artifacts.lock().unwrap().insert(cid, bytes.into());
    let calls = (0..60).map(|n| {
        let request = if n % 2 == 0 {
            MeshRequest::ReadArtifact(ReadPiece { cid, offset: 0, max_len: 1 << 20 })
        } else {
            MeshRequest::Advertise(Advertisement { agent: "x".repeat(1 << 20), ..Advertisement::default() })
        };
        client.call(PeerTarget::Id(server.id()), request, 20_000)
    });
    for (n, answer) in join_all(calls).await.into_iter().enumerate() {
        match answer {
            Ok(answer) => assert!(n % 2 == 0 && matches!(answer.reply, MeshReply::Piece(_))),
            // Not served by the double, but it was read and answered.
            Err(CallError::Refused(error)) => assert_eq!(error.code, ErrorCode::InvalidArgument),
            Err(error) => panic!("{n}: {error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bytes_end_their_stream_and_nothing_else() {
    let (server, client) = pair(tcp()).await;
    // A claimed length of 4 GiB, a length of nothing, no message at all, and a reply where requests belong.
    let reply = [0, 0, 0, 5, 1, 1, 0, 9, 0];
    for bytes in [&[0xff; 8][..], &[0; 4], &[0, 0, 0, 3, 250, 250, 250], &reply] {
        let mut stream = client.raw_stream(&server.identity, MESHWORK_PROTOCOL).await;
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        let mut rest = Vec::new();
        // A reset or an end, as the multiplexer has it; but nothing is said.
        let _ =
            tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("ends");
        assert!(rest.is_empty(), "{bytes:?} was answered");
    }
    client.greet(&server.id()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_asks_itself_without_a_network() {
    let node = Node::start(member(), tcp()).await;
    let targets = [node.id().to_string(), node.address(), node.bare_address()];
    for target in targets {
        let ask = MeshRequest::ListPeers(ListPeers::default());
        let answer = node.call(target.parse().unwrap(), ask, 1_000).await.unwrap();
        assert_eq!(answer.peer, node.id());
        let MeshReply::Peers(seen) = answer.reply else { panic!() };
        assert_eq!(seen[0].role, None, "{target} was not served as local");
    }
    assert_eq!(node.dial(&node.address(), 1_000).await.unwrap(), node.id());
    assert_eq!(node.network.status().borrow().kept, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_no_node_makes_typed_calls() {
    let server = Node::start(member(), quic()).await;
    let secret = MeshSecret::parse(super::world::SECRET).unwrap();
    let within = Duration::from_secs(10);
    let client =
        MeshClient::connect(NodeIdentity::generate(), secret, &server.address(), within).await.unwrap();
    assert_eq!(client.peer(), &server.id());
    assert_eq!(client.call(ListNodeTools, within).await.unwrap(), []);
    // It serves nothing.
    let back = server.network.status().borrow().connections.first().map(|c| c.peer.clone());
    if let Some(peer) = back {
        let refused = server.greet(&peer).await.unwrap_err();
        assert_eq!(meshwork_proto::Coded::code(&refused), ErrorCode::Unavailable, "{refused}");
    }
    client.close().await;
}
