//! Changing the mesh secret while the mesh runs.

use super::world::{Node, eventually, knowing, quick, tcp};
use crate::{NetworkOptions, NodeIdentity, Trust};
use meshwork_proto::discovery::PeerConnection;
use meshwork_proto::transport::{SecretsSet, SetSecrets};
use meshwork_proto::{Coded, ErrorCode};
use std::time::Duration;

const OLD: &str = "the old secret of the mesh";
const NEW: &str = "the new secret of the mesh";

/// Handshakes that end soon or never.
fn brisk() -> NetworkOptions {
    NetworkOptions { admission_within: Duration::from_secs(2), ..tcp() }
}

/// Nodes that know these secrets, each connected to all others.
async fn mesh(trusts: Vec<Trust>) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for trust in trusts {
        let mut node = Node::start(trust, brisk()).await;
        for other in &mut nodes {
            node.dial(&other.address(), 10_000).await.unwrap();
            node.until_up(&other.id()).await;
            other.until_up(&node.id()).await;
        }
        nodes.push(node);
    }
    nodes
}

fn admitted(node: &Node) -> u64 {
    node.network.core().metrics.admissions.with_label_values(&["admitted"]).get()
}

/// Until no peer of the node has to prove anything any more.
async fn until_proved(node: &Node, set: SecretsSet, before: u64) {
    let expected = before + u64::from(set.asked_again);
    eventually("all have proved again", || (admitted(node) >= expected).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_changed_across_three_nodes_and_no_connection_is_lost() {
    let mut nodes = mesh(vec![knowing(&[OLD]), knowing(&[OLD]), knowing(&[OLD])]).await;
    let mut asked = Vec::new();
    for stage in [&[OLD, NEW][..], &[NEW, OLD], &[NEW]] {
        for node in &nodes {
            let before = admitted(node);
            let set = node.set_secrets(stage).await;
            assert!(set.changed);
            until_proved(node, set, before).await;
            asked.push(set.asked_again);
        }
        for from in &nodes {
            for to in nodes.iter().filter(|to| to.id() != from.id()) {
                from.greet(&to.id()).await.unwrap();
            }
        }
    }
    // Only where a secret goes does anybody prove again.
    assert_eq!(asked[..6], [0; 6]);
    assert!(asked[6] == 2, "{asked:?}");
    // Longer than a proof that was asked for may take.
    tokio::time::sleep(Duration::from_millis(2_600)).await;
    for node in &mut nodes {
        let changes = node.changes_so_far();
        assert!(changes.is_empty(), "{changes:?}");
    }
    let late = Node::start(knowing(&[NEW]), quick()).await;
    late.dial(&nodes[0].address(), 10_000).await.unwrap();
    let behind = Node::start(knowing(&[OLD]), quick()).await;
    assert_eq!(behind.dial(&nodes[0].address(), 10_000).await.unwrap_err().code(), ErrorCode::NotAdmitted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_did_not_follow_is_lost_when_the_old_secret_goes_and_nobody_else_is() {
    let friend = NodeIdentity::generate();
    let keeping = Trust { allow: [friend.peer_id()].into(), ..knowing(&[OLD, NEW]) };
    let mut nodes = mesh(vec![keeping, knowing(&[OLD, NEW]), knowing(&[OLD])]).await;
    let friend = Node::start_as(friend, knowing(&[OLD]), brisk()).await;
    let (mut a, b, mut behind) = {
        let behind = nodes.pop().unwrap();
        let b = nodes.pop().unwrap();
        (nodes.pop().unwrap(), b, behind)
    };
    friend.dial(&a.address(), 10_000).await.unwrap();
    a.until_up(&friend.id()).await;
    let before = admitted(&a);
    let set = a.set_secrets(&[NEW]).await;
    assert_eq!(set, SecretsSet { changed: true, asked_again: 2 });
    a.until_lost(&behind.id()).await;
    behind.until_lost(&a.id()).await;
    assert_eq!(behind.greet(&a.id()).await.unwrap_err().code(), ErrorCode::NotAdmitted);
    until_proved(&a, SecretsSet { asked_again: 1, ..set }, before).await;
    a.greet(&b.id()).await.unwrap();
    a.greet(&friend.id()).await.unwrap();
    let lost =
        |change: &PeerConnection| matches!(change, PeerConnection::Down { peer } if *peer != behind.id());
    assert!(!a.changes_so_far().iter().any(lost));
    // It follows, late, and its next try to connect succeeds.
    behind.set_secrets(&[NEW]).await;
    behind.until_up(&a.id()).await;
    behind.greet(&a.id()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_peer_is_not_kept_for_not_answering() {
    let mut nodes = mesh(vec![knowing(&[OLD]), knowing(&[OLD])]).await;
    let silent = nodes.pop().unwrap();
    let mut a = nodes.pop().unwrap();
    // Nobody answers on its streams any more, but the connection stands.
    let places = silent.network.core().directory.get(&a.id()).unwrap().streams.clone();
    let _all = places.acquire_many_owned(8).await.unwrap();
    a.set_secrets(&[NEW]).await;
    a.until_lost(&silent.id()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_that_cannot_be_used_change_nothing() {
    let mut nodes = mesh(vec![knowing(&[OLD]), knowing(&[OLD])]).await;
    for wrong in [vec![], vec![b"short".to_vec()], vec![OLD.into(), vec![0xff; 20]]] {
        let set = SetSecrets { secrets: wrong };
        let refused = nodes[0].ports.secrets.ask(set, Duration::from_secs(5)).await.unwrap().unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Config, "{refused}");
    }
    assert_eq!(nodes[0].set_secrets(&[OLD]).await, SecretsSet { changed: false, asked_again: 0 });
    let id = nodes[1].id();
    nodes[0].greet(&id).await.unwrap();
    assert!(nodes[0].changes_so_far().is_empty());
}
