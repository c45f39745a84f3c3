//! Peers that break the protocol, flood, or guess: throttled, disconnected, banned; and nobody else is harmed.

use super::world::{Node, SECRET, eventually, knowing, member, pair, quick, tcp};
use crate::{NetworkOptions, NodeIdentity};
use futures::{AsyncReadExt, AsyncWriteExt};
use meshwork_proto::codec::encode_wire;
use meshwork_proto::discovery::Announce;
use meshwork_proto::frame::encode_frame;
use meshwork_proto::transport::{ListShutOut, Offence, ReportOffence};
use meshwork_proto::wire::{MAX_WIRE_FRAME, MESHWORK_PROTOCOL, MeshRequest, WireFrame};
use meshwork_proto::{Coded, ErrorCode};
use std::sync::atomic::Ordering;
use std::time::Duration;

fn count(node: &Node, offence: Offence) -> u64 {
    node.network.core().metrics.offences.with_label_values(&[offence.as_str()]).get()
}

fn action(node: &Node, action: &str) -> u64 {
    node.network.core().metrics.score_actions.with_label_values(&[action]).get()
}

/// A request that is never answered, as it goes over the wire.
fn hanging(id: u64) -> Vec<u8> {
    let request = WireFrame::Request { id, deadline_ms: 60_000, request: MeshRequest::Announce(Announce) };
    encode_frame(&encode_wire(&request, MAX_WIRE_FRAME).unwrap(), MAX_WIRE_FRAME).unwrap().to_vec()
}

/// Asks without end and without waiting for answers, until the connection is lost.
async fn flood(flooder: &Node, victim: &NodeIdentity) {
    let Some(stream) = flooder.try_raw_stream(victim, MESHWORK_PROTOCOL).await else { return };
    let (mut reading, mut writing) = stream.split();
    let write = async {
        for first in (0..).step_by(1000) {
            let many: Vec<u8> = (first..first + 1000).flat_map(hanging).collect();
            if writing.write_all(&many).await.is_err() || writing.flush().await.is_err() {
                return;
            }
        }
    };
    let read = async {
        let mut buffer = vec![0; 1 << 16];
        while matches!(reading.read(&mut buffer).await, Ok(count) if count > 0) {}
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}

async fn report(node: &Node, peer: &Node, offence: Offence, times: u32) {
    for _ in 0..times {
        let report = ReportOffence { peer: peer.id(), offence };
        node.ports.offence.ask(report, Duration::from_secs(5)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_floods_is_banned_while_the_others_are_served() {
    let mut server = Node::start(member(), NetworkOptions { max_requests_in: 4, ..tcp() }).await;
    let honest = Node::start(member(), quick()).await;
    let flooder = Node::start(member(), quick()).await;
    for client in [&honest, &flooder] {
        client.dial(&server.address(), 10_000).await.unwrap();
        server.until_up(&client.id()).await;
    }
    let (victim, id) = (server.identity.clone(), flooder.id());
    let flooding = async {
        loop {
            flood(&flooder, &victim).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let revoked = tokio::select! {
        revoked = server.until_shut_out(&id) => revoked,
        () = flooding => unreachable!(),
    };
    assert!(!revoked);
    honest.greet(&server.id()).await.unwrap();
    assert_eq!((action(&server, "throttled"), action(&server, "banned")), (1, 1));
    assert!(action(&server, "disconnected") > 0);
    assert!(count(&server, Offence::Flood) >= 25);
    let out = server.ports.shut_out.ask(ListShutOut, Duration::from_secs(5)).await.unwrap();
    assert_eq!(out.len(), 1);
    assert!(
        out[0].peer == flooder.id() && out[0].left_ms.is_some_and(|left| (500_000..=600_000).contains(&left))
    );
    eventually("what it asked for is given up", || {
        (server.service.held.load(Ordering::SeqCst) == 0).then_some(())
    })
    .await;
    flooder.dial(&server.address(), 2_000).await.unwrap_err();
    // The operator may end a ban.
    assert!(server.revoke(&flooder.id(), true).await.unwrap().changed);
    server.until_let_in(&flooder.id()).await;
    server.until_up(&flooder.id()).await;
}

/// A server and somebody connected with it who knows these secrets; neither sends the other away for being a stranger.
async fn patient_pair(secrets: &[&str]) -> (Node, Node) {
    let patient =
        |options: NetworkOptions| NetworkOptions { stranger_grace: Duration::from_secs(60), ..options };
    let server = Node::start(member(), patient(tcp())).await;
    let client = Node::start(knowing(secrets), patient(quick())).await;
    // A stranger is refused, and stays connected for a while.
    let _ = client.dial(&server.address(), 10_000).await;
    (server, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_admitted_no_more_and_goes_on_asking_floods() {
    let (server, client) = patient_pair(&[SECRET]).await;
    let mut stream = client.raw_stream(&server.identity, MESHWORK_PROTOCOL).await;
    stream.write_all(&hanging(0)).await.unwrap();
    stream.flush().await.unwrap();
    eventually("it is served", || (server.service.held.load(Ordering::SeqCst) == 1).then_some(())).await;
    server.set_secrets(&["another secret of the tests"]).await;
    let session = server.network.core().directory.get(&client.id()).unwrap();
    eventually("it is admitted no more", || session.role().is_none().then_some(())).await;
    // As much as an honest peer may have under way when it is refused.
    stream.write_all(&(1..=500).flat_map(hanging).collect::<Vec<u8>>()).await.unwrap();
    stream.flush().await.unwrap();
    let refused = &server.network.core().metrics.requests;
    let refused = refused.with_label_values(&["in", "announce", ErrorCode::NotAdmitted.as_str()]);
    eventually("all are refused", || (refused.get() == 500).then_some(())).await;
    assert_eq!(count(&server, Offence::Flood), 0);
    stream.write_all(&(501..=1500).flat_map(hanging).collect::<Vec<u8>>()).await.unwrap();
    stream.flush().await.unwrap();
    eventually("the flood counts", || (count(&server, Offence::Flood) >= 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_asks_on_one_stream_after_another_floods() {
    let (server, client) = patient_pair(&["not the secret of the tests"]).await;
    let request: Vec<u8> = (0..16).flat_map(hanging).collect();
    for _ in 0..40 {
        let mut stream = client.raw_stream(&server.identity, MESHWORK_PROTOCOL).await;
        stream.write_all(&request).await.unwrap();
        stream.flush().await.unwrap();
        let mut refusals = Vec::new();
        stream.read_to_end(&mut refusals).await.unwrap();
        assert!(!refusals.is_empty());
    }
    eventually("the flood counts", || (count(&server, Offence::Flood) >= 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_opens_streams_without_end_is_noticed() {
    let (server, client) = pair(tcp()).await;
    let mut open = Vec::new();
    eventually("the flood of streams counts", || {
        for _ in 0..16 {
            let (reply, stream) = tokio::sync::oneshot::channel();
            let protocols = vec![libp2p::StreamProtocol::new(MESHWORK_PROTOCOL)];
            let peer = server.identity.libp2p_id();
            let command = crate::swarm::Command::Open { peer, protocols, reply };
            if client.network.core().commands.try_send(command).is_ok() {
                open.push(stream);
            }
        }
        (count(&server, Offence::Flood) > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_break_the_protocol_throttle_then_disconnect() {
    let (mut server, client) = pair(tcp()).await;
    for n in 1..=5 {
        let mut stream = client.raw_stream(&server.identity, MESHWORK_PROTOCOL).await;
        stream.write_all(&[0, 0, 0, 3, 250, 250, 250]).await.unwrap();
        stream.flush().await.unwrap();
        eventually("it counts", || (count(&server, Offence::BadFrame) == n).then_some(())).await;
        if n == 3 {
            let session = server.network.core().directory.get(&client.id()).unwrap();
            eventually("it is throttled", || session.is_throttled().then_some(())).await;
            client.greet(&server.id()).await.unwrap();
        }
    }
    server.until_down(&client.id()).await;
    assert_eq!((action(&server, "throttled"), action(&server, "disconnected")), (1, 1));
    // It may come back, and is still served a few requests at a time.
    server.until_up(&client.id()).await;
    let session = server.network.core().directory.get(&client.id()).unwrap();
    assert!(session.is_throttled());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_peer_has_a_few_requests_served_at_a_time() {
    let (server, client) = pair(tcp()).await;
    report(&server, &client, Offence::FalseAnnouncement, 2).await;
    let session = server.network.core().directory.get(&client.id()).unwrap();
    eventually("it is throttled", || session.is_throttled().then_some(())).await;
    let id = server.id();
    let few = (0..4).map(|_| client.hang(&id, 900));
    let (_, refused) = tokio::join!(futures::future::join_all(few), async {
        eventually("all are there", || (server.service.held.load(Ordering::SeqCst) == 4).then_some(())).await;
        client.greet(&id).await.unwrap_err()
    });
    assert_eq!(refused.code(), ErrorCode::Busy);
    client.greet(&id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_discovery_reports_leads_to_a_ban() {
    let (mut server, client) = pair(tcp()).await;
    report(&server, &client, Offence::FalseAnnouncement, 10).await;
    assert!(!server.until_shut_out(&client.id()).await);
    assert_eq!(count(&server, Offence::FalseAnnouncement), 10);
    let banned = server.network.core().metrics.shut_out.with_label_values(&["banned"]).get();
    assert_eq!(banned, 1);
    // Nobody bans itself.
    report(&server, &server, Offence::FalseAnnouncement, 20).await;
    assert_eq!(count(&server, Offence::FalseAnnouncement), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_proof_counts_and_closed_streams_and_missing_secrets_do_not() {
    let server = Node::start(member(), tcp()).await;
    let without = Node::start(crate::Trust::default(), quick()).await;
    without.dial(&server.address(), 10_000).await.unwrap_err();
    let wrong = Node::start(knowing(&["not the secret of the tests"]), quick()).await;
    wrong.dial(&server.address(), 10_000).await.unwrap_err();
    eventually("the wrong proof counts", || (count(&server, Offence::BadProof) == 1).then_some(())).await;
    let (friend, _) = (Node::start(member(), quick()).await, ());
    friend.dial(&server.address(), 10_000).await.unwrap();
    drop(friend.raw_stream(&server.identity, MESHWORK_PROTOCOL).await);
    friend.stop().await;
    eventually("it is gone", || (server.network.status().borrow().admitted == 0).then_some(())).await;
    let all: u64 = Offence::ALL.iter().map(|offence| count(&server, *offence)).sum();
    assert_eq!(all, count(&server, Offence::BadProof));
}
