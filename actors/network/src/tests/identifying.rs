//! What libp2p nodes of others and ours say of themselves to each other, with a signed record of their addresses and without.

use super::world::{Node, eventually, member, tcp};
use crate::{NetworkOptions, NodeIdentity};
use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, SwarmBuilder, identify, noise, tcp as transport, yamux};
use std::time::Duration;

const AGENT: &str = "another libp2p/1";

/// A node that speaks nothing but identify.
fn stranger(signs: bool) -> Swarm<identify::Behaviour> {
    let identity = NodeIdentity::generate();
    let (key, protocol) = (identity.keypair().clone(), "/another/1".to_owned());
    let about = if signs {
        identify::Config::new_with_signed_peer_record(protocol, &key)
    } else {
        identify::Config::new(protocol, key.public())
    };
    let about = about.with_agent_version(AGENT.to_owned());
    SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(transport::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| identify::Behaviour::new(about))
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
        .build()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_are_identified_whether_or_not_they_sign_and_none_is_shown_a_record_it_may_not_know() {
    let options = NetworkOptions { stranger_grace: Duration::from_secs(60), ..tcp() };
    for signs in [false, true] {
        let node = Node::start(member(), options.clone()).await;
        let mut stranger = stranger(signs);
        stranger.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        stranger.dial(node.address().parse::<Multiaddr>().unwrap()).unwrap();
        let told = loop {
            let event = stranger.select_next_some().await;
            if let SwarmEvent::Behaviour(identify::Event::Received { info, .. }) = event {
                break info;
            }
        };
        assert!(told.agent_version.starts_with("meshwork/"), "{told:?}");
        assert_eq!(told.listen_addrs, [node.bare_address().parse::<Multiaddr>().unwrap()]);
        // js-libp2p breaks off when it cannot verify a record, and it cannot verify those of rust-libp2p.
        assert!(told.signed_peer_record.is_none());
        let peer = crate::address::peer_of(stranger.local_peer_id());
        tokio::spawn(async move {
            loop {
                stranger.select_next_some().await;
            }
        });
        eventually("the stranger is identified", || {
            let status = node.network.status();
            let status = status.borrow();
            let connection = status.connections.iter().find(|connection| connection.peer == peer)?;
            (connection.agent.as_deref() == Some(AGENT)).then_some(())
        })
        .await;
    }
}
