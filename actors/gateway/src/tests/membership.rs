//! Who may ask what about membership.

use super::fakes::membership::FOUND;
use super::fakes::{Node, member, peer};
use crate::GatewayOptions;
use meshwork_proto::bootstrap::{BootstrapFrom, BootstrapNow, GetPublicIp, ListContacts};
use meshwork_proto::discovery::{
    CleanUp, DiscoverNow, Exchange, ForgetPeer, ListMembers, PeerState, RegisterPeer,
};
use meshwork_proto::transport::{RevokePeer, ServeRequest};
use meshwork_proto::wire::{MeshReply, MeshRequest};
use meshwork_proto::{Caller, ErrorCode, MeshError, Role};
use std::collections::BTreeMap;
use std::time::Duration;

async fn ask(node: &Node, caller: Caller, request: MeshRequest) -> Result<MeshReply, MeshError> {
    node.ports.serve.ask(ServeRequest { caller, request }, Duration::from_secs(20)).await.unwrap()
}

fn admin() -> Caller {
    Caller::Peer { peer: peer(), role: Role::Admin }
}

/// Requests that take something away or read this machine, each with what the log says when it was done.
fn for_admins() -> [(MeshRequest, &'static str, &'static str); 4] {
    let found = || FOUND.parse().unwrap();
    let clean_up = CleanUp { silent_ms: Some(1_000), ttl_ms: BTreeMap::new(), dry_run: false };
    let bootstrap =
        BootstrapNow { from: BootstrapFrom::File { path: Some("/etc/passwd".into()) }, within_ms: 1_000 };
    [
        (MeshRequest::CleanUp(clean_up), "clean_up", "forget peers"),
        (MeshRequest::ForgetPeer(ForgetPeer { peer: found() }), "forget", "forget peers"),
        (MeshRequest::Bootstrap(bootstrap), "bootstrap", "read first contacts"),
        (MeshRequest::Revoke(RevokePeer { peer: found(), undo: false }), "revoke", "revoke peers"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_something_away_is_for_admins_and_a_member_is_told_so() {
    let node = Node::start(GatewayOptions::default()).await;
    for (request, log, what) in for_admins() {
        let error = ask(&node, member(), request.clone()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Forbidden, "{what}");
        assert!(error.message.contains(what) && error.message.contains("--admin"), "{error}");
        assert_eq!(node.state.logged(log), 0, "{what}: the actor never heard of it");
        for caller in [admin(), Caller::Local] {
            assert!(ask(&node, caller, request.clone()).await.is_ok(), "{what}");
        }
        assert_eq!(node.state.logged(log), 2, "{what}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_may_read_the_book_enter_peers_and_ask_the_sources() {
    let node = Node::start(GatewayOptions::default()).await;
    let register = RegisterPeer {
        peer: None,
        addresses: vec!["/ip4/192.0.2.7/tcp/4001".into()],
        connect_within_ms: 1_000,
    };
    let discover = DiscoverNow { sources: Vec::new(), within_ms: 1_000 };
    let members = ask(&node, member(), MeshRequest::ListMembers(ListMembers::default())).await;
    assert!(matches!(members, Ok(MeshReply::Members(members)) if members.len() == 3));
    let registered = ask(&node, member(), MeshRequest::RegisterPeer(register)).await;
    assert!(matches!(registered, Ok(MeshReply::Registered(done)) if done.state == PeerState::Connected));
    let sources = ask(&node, member(), MeshRequest::Discover(discover)).await;
    assert!(matches!(sources, Ok(MeshReply::Sources(reports)) if reports.len() == 2));
    let contacts = ask(&node, member(), MeshRequest::ListContacts(ListContacts)).await;
    assert!(matches!(contacts, Ok(MeshReply::Contacts(contacts)) if contacts.len() == 3));
    let address = ask(&node, member(), MeshRequest::PublicIp(GetPublicIp { refresh: false })).await;
    assert!(matches!(address, Ok(MeshReply::PublicIp(found)) if found.ipv6.is_none()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn news_of_nodes_come_from_peers_only_and_in_the_name_of_who_sent_them() {
    let node = Node::start(GatewayOptions::default()).await;
    let news = || MeshRequest::Exchange(Exchange::default());
    assert_eq!(ask(&node, Caller::Local, news()).await.unwrap_err().code, ErrorCode::InvalidArgument);
    assert!(matches!(ask(&node, member(), news()).await, Ok(MeshReply::Exchanged(_))));
    assert_eq!(node.state.logged(&format!("exchange from {}", peer())), 1);
    node.stop().await;
}
