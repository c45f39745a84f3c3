//! The swarm as it is built: transports, limits, and the behaviours in the order in which they are asked.

use super::reach::Reaching;
use super::streams;
use crate::error::StartError;
use crate::identity::NodeIdentity;
use crate::link::REQUEST_PROTOCOLS;
use crate::options::NetworkOptions;
use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::metrics::Registry;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, identify, memory_connection_limits, noise, ping, relay, tcp, yamux,
};
use meshwork_proto::wire::pairing::PAIRING_PROTOCOL;
use meshwork_proto::wire::{ADMISSION_PROTOCOL, ADMISSION_PROTOCOL_1};
use std::time::Duration;

/// Protocol version in identify.
const IDENTIFY_PROTOCOL: &str = "/meshwork/id/1";
/// Streams of one connection, each way: a peer needs a handful.
const MAX_STREAMS: usize = 64;
/// Connections that are being set up, each way.
const MAX_PENDING: u32 = 64;
/// How long a transport may take to set a connection up.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Connections of admitted peers are kept however long they are idle, and those of strangers are closed long before:
/// what libp2p would close for idleness is nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Those that refuse connections come first: the derived behaviour stops at the first refusal.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    /// Revoked and banned peers: no connection with them comes about.
    pub(super) blocked: allow_block_list::Behaviour<BlockedPeers>,
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    pub(super) reach: Reaching,
    pub(crate) streams: streams::Behaviour,
}

/// Builds the swarm, which is too large to be moved about; libp2p's metrics of bandwidth go into `registry`.
pub(crate) fn build(
    identity: &NodeIdentity,
    options: &NetworkOptions,
    registry: &mut Registry,
) -> Result<Box<Swarm<Behaviour>>, StartError> {
    let setup = |problem: String| StartError::Setup { problem };
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(MAX_STREAMS);
    let transports = || {
        let muxer = muxer.clone();
        SwarmBuilder::with_existing_identity(identity.keypair().clone())
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, move || muxer.clone())
            .map_err(|error| setup(format!("TCP: {error}")))
            .map(|builder| {
                builder.with_quic_config(|mut config| {
                    config.max_concurrent_stream_limit = u32::try_from(MAX_STREAMS).unwrap_or(u32::MAX);
                    config
                })
            })
    };
    // The builder's types cannot be named, so the rest is written once for both of them.
    macro_rules! finish {
        ($builder:expr) => {{
            let muxer = muxer.clone();
            $builder
                .with_relay_client(noise::Config::new, move || muxer)
                .map_err(|error| setup(format!("relay client: {error}")))?
                .with_bandwidth_metrics(registry)
                .with_behaviour(|_, relay_client| behaviour(identity, options, relay_client))
                .map_err(|error| setup(format!("behaviours: {error}")))?
                .with_swarm_config(|config| {
                    config.with_idle_connection_timeout(IDLE_TIMEOUT).with_smart_dial()
                })
                .with_connection_timeout(CONNECT_WITHIN)
                .build()
        }};
    }
    match transports()?.with_dns() {
        Ok(builder) => Ok(Box::new(finish!(builder))),
        Err(error) => {
            tracing::warn!(%error, "no DNS servers are configured: peers can be dialled by IP address only");
            Ok(Box::new(finish!(transports()?)))
        }
    }
}

fn behaviour(
    identity: &NodeIdentity,
    options: &NetworkOptions,
    relay_client: relay::client::Behaviour,
) -> Behaviour {
    let total = options.max_connections;
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(MAX_PENDING))
        .with_max_pending_outgoing(Some(MAX_PENDING))
        // Some places are left for connections that this node opens itself: strangers cannot take them all.
        .with_max_established_incoming(Some((total - total / 4).max(1)))
        .with_max_established(Some(total.max(1)))
        .with_max_established_per_peer(Some(options.max_connections_per_peer.max(2)));
    let max_memory = options.max_memory.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
    // Without a signed record of the addresses: identify signs in a form of its own (domain `libp2p-routing-state`) that only
    // rust-libp2p can verify, and js-libp2p does not identify a node at all whose record it cannot. Nothing is lost by it: the
    // connection proves whose words these are, and what goes on to third parties is in the records of gossip, which are signed.
    let about = identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), identity.keypair().public())
        .with_agent_version(options.agent.clone())
        .with_push_listen_addr_updates(true)
        // Addresses are kept by the address book, and only those of admitted peers.
        .with_cache_size(0);
    Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        memory: memory_connection_limits::Behaviour::with_max_bytes(max_memory),
        blocked: allow_block_list::Behaviour::default(),
        ping: ping::Behaviour::new(
            ping::Config::new().with_interval(options.ping_interval).with_timeout(options.ping_timeout),
        ),
        identify: identify::Behaviour::new(about),
        reach: Reaching::new(identity, &options.reach, relay_client),
        streams: streams::Behaviour::new(
            [ADMISSION_PROTOCOL, ADMISSION_PROTOCOL_1, PAIRING_PROTOCOL]
                .into_iter()
                .chain(REQUEST_PROTOCOLS)
                .map(StreamProtocol::new)
                .collect::<Vec<_>>(),
        ),
    }
}
