//! Nodes of this version and of those before in one mesh.

use super::old_node::OldNode;
use super::world::{Node, SECRET, knowing, quick, tcp};
use crate::NetworkOptions;
use meshwork_proto::ErrorCode;
use meshwork_proto::discovery::ListMembers;
use meshwork_proto::transport::{CallError, PeerTarget};
use meshwork_proto::wire::{ListNodeTools, MeshReply, MeshRequest};
use meshwork_proto::workflow::ListRuns;
use std::time::Duration;

/// Versions of the wire before this one, each with a request that it does not have.
fn before() -> [(u8, MeshRequest); 2] {
    [(1, MeshRequest::ListMembers(ListMembers::default())), (2, MeshRequest::ListRuns(ListRuns::default()))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_an_earlier_version_is_asked_only_for_what_it_knows() {
    for (version, unknown) in before() {
        let old = OldNode::of_version(version);
        let id = old.id();
        let address = old.serve().await;
        let client = Node::start(knowing(&[SECRET]), quick()).await;
        assert_eq!(client.dial(&address, 10_000).await.unwrap(), id);
        client.greet(&id).await.unwrap();
        let refused = client.call(PeerTarget::Id(id.clone()), unknown, 5_000).await.unwrap_err();
        let CallError::Refused(error) = &refused else { panic!("{refused}") };
        assert_eq!(error.code, ErrorCode::VersionMismatch);
        let spoken = format!("/meshwork/{version}");
        assert!(error.message.contains(id.as_str()) && error.message.contains(&spoken), "{error}");
        client.greet(&id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_an_earlier_version_is_served_and_never_answered_what_it_cannot_read() {
    // On a busy machine a handshake takes longer than the short grace of the other tests.
    let patient = NetworkOptions { stranger_grace: Duration::from_secs(30), ..tcp() };
    let server = Node::start(knowing(&[SECRET]), patient).await;
    let tools = || MeshRequest::ListTools(ListNodeTools);
    for (version, unknown) in before() {
        let old = OldNode::of_version(version);
        let answers = old.ask(&server.address(), vec![tools(), unknown, tools()]).await;
        assert!(matches!(answers[0], Ok(MeshReply::Tools(_))), "{answers:?}");
        assert!(matches!(&answers[1], Err(error) if error.code == ErrorCode::VersionMismatch), "{answers:?}");
        assert!(matches!(answers[2], Ok(MeshReply::Tools(_))), "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_secret_is_changed_a_node_of_the_first_version_is_shown_the_old_one_too() {
    let old = OldNode::new();
    let id = old.id();
    let address = old.serve().await;
    let client = Node::start(knowing(&["the new secret of the mesh", SECRET]), quick()).await;
    client.dial(&address, 10_000).await.unwrap();
    client.greet(&id).await.unwrap();
}
