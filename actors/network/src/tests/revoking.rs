//! Revoking peers: at once, for good, and back.

use super::world::{Node, eventually, member, pair, quick, tcp};
use crate::{NetworkOptions, NodeIdentity, StartError, Trust, prepare};
use meshwork_proto::discovery::PeerConnection;
use meshwork_proto::transport::{ListShutOut, RevokeError, Revoked, ShutOut};
use meshwork_proto::{Coded, ErrorCode};
use std::path::Path;
use std::time::Duration;

fn remembering(path: &Path) -> NetworkOptions {
    NetworkOptions { revoked_file: Some(path.to_owned()), ..tcp() }
}

async fn shut_out(node: &Node) -> Vec<ShutOut> {
    node.ports.shut_out.ask(ListShutOut, Duration::from_secs(5)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_peer_is_cut_off_at_once_and_cannot_come_back_whatever_it_knows() {
    let (mut server, mut client) = pair(tcp()).await;
    let revoked = server.revoke(&client.id(), false).await.unwrap();
    assert_eq!(revoked, Revoked { revoked: true, changed: true, closed: 1 });
    client.until_down(&server.id()).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        told.push(server.next_connection().await);
    }
    let is_out = |change: &PeerConnection| matches!(change, PeerConnection::ShutOut { peer, revoked: true } if *peer == client.id());
    assert!(told.iter().any(is_out), "{told:?}");
    assert!(told.iter().any(|change| matches!(change, PeerConnection::Down { .. })), "{told:?}");
    assert_eq!(shut_out(&server).await, [ShutOut { peer: client.id(), left_ms: None }]);
    // It knows the secret and dials again by itself; and this node does not dial it either.
    client.dial(&server.address(), 2_000).await.unwrap_err();
    assert_eq!(client.network.status().borrow().admitted, 0);
    let again = server.revoke(&client.id(), false).await.unwrap();
    assert_eq!(again, Revoked { revoked: true, changed: false, closed: 0 });
    // Taken back, it is let in with its next try.
    let undone = server.revoke(&client.id(), true).await.unwrap();
    assert_eq!(undone, Revoked { revoked: false, changed: true, closed: 0 });
    server.until_let_in(&client.id()).await;
    client.until_up(&server.id()).await;
    client.greet(&server.id()).await.unwrap();
    assert!(shut_out(&server).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_peer_is_not_dialled_and_says_why() {
    let (server, client) = pair(tcp()).await;
    client.revoke(&server.id(), false).await.unwrap();
    let refused = client.dial(&server.address(), 5_000).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotAdmitted);
    assert!(refused.to_string().contains("revoked"), "{refused}");
    let unnamed = client.dial(&server.bare_address(), 5_000).await.unwrap_err();
    assert!(unnamed.to_string().contains("revoked"), "{unnamed}");
    let ourselves = client.revoke(&client.id(), false).await.unwrap_err();
    assert_eq!(ourselves, RevokeError::Ourselves(client.id()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_outlasts_a_restart_and_names_admins_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revoked.json");
    let boss = NodeIdentity::generate();
    let trust = Trust { admins: [boss.peer_id()].into(), ..member() };
    let server = Node::start(trust.clone(), remembering(&path)).await;
    server.revoke(&boss.peer_id(), false).await.unwrap();
    let (identity, _) = server.stop().await;
    let mut server = Node::start_as(identity, trust, remembering(&path)).await;
    assert!(server.until_shut_out(&boss.peer_id()).await);
    let boss = Node::start_as(boss, member(), quick()).await;
    boss.dial(&server.address(), 2_000).await.unwrap_err();
    server.revoke(&boss.id(), true).await.unwrap();
    boss.dial(&server.address(), 10_000).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_cannot_be_kept_is_not_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("data");
    std::fs::create_dir(&place).unwrap();
    let (server, client) = pair(remembering(&place.join("revoked.json"))).await;
    std::fs::remove_dir(&place).unwrap();
    let refused = server.revoke(&client.id(), false).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Storage, "{refused}");
    client.greet(&server.id()).await.unwrap();
    assert!(shut_out(&server).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_does_not_start_without_knowing_whom_it_threw_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revoked.json");
    crate::private_file::create(&path, b"{\"version\": 1, \"revoked\": [").unwrap();
    let deps = Node::start(member(), quick()).await.network.core().deps.clone();
    let (_ports, seed) = prepare(NodeIdentity::generate(), member(), remembering(&path));
    let error = seed.start(deps, &prometheus::Registry::new()).await.unwrap_err();
    assert!(matches!(error, StartError::Revocations(_)), "{error}");
    assert!(error.to_string().contains("revoked.json") && error.to_string().contains("damaged"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shut_out_are_counted() {
    let (server, client) = pair(tcp()).await;
    server.revoke(&client.id(), false).await.unwrap();
    let metrics = server.network.core().metrics.clone();
    let revoked = || metrics.shut_out.with_label_values(&["revoked"]).get();
    eventually("it is counted", || (revoked() == 1).then_some(())).await;
    server.revoke(&client.id(), true).await.unwrap();
    assert_eq!(revoked(), 0);
}
