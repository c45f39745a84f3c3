//! The behaviours for finding peers, being found and being reached, as one part of the swarm's behaviour. What is not
//! asked for is not there; only the relay client always is: it is inert until an address through a relay is used.
//!
//! libp2p's defaults are those of a public network of thousands; here they are set for meshes of tens to hundreds.

use crate::identity::NodeIdentity;
use crate::options::{ReachOptions, RelayLimits};
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{PeerId, StreamProtocol, autonat, dcutr, kad, mdns, relay, rendezvous, upnp};
use std::num::NonZeroUsize;
use std::time::Duration;

/// Protocol of the mesh's own table.
pub(super) const MESH_TABLE: StreamProtocol = StreamProtocol::new("/meshwork/kad/1.0.0");
/// Protocol of the public table.
pub(super) const PUBLIC_TABLE: StreamProtocol = StreamProtocol::new("/ipfs/kad/1.0.0");

/// Nodes that an entry of the mesh's table is written to.
const MESH_COPIES: NonZeroUsize = NonZeroUsize::new(8).unwrap();
/// How long an entry of the mesh's table is kept. It is renewed well before that while its node lives, so that entries
/// of nodes that are gone do not stay for half a day.
pub(super) const MESH_ENTRY_FOR: Duration = Duration::from_secs(2 * 3600);
const MESH_ENTRY_RENEWED: Duration = Duration::from_secs(40 * 60);
/// The same in the public table, as its specification says.
pub(super) const PUBLIC_ENTRY_FOR: Duration = Duration::from_secs(48 * 3600);
const PUBLIC_ENTRY_RENEWED: Duration = Duration::from_secs(12 * 3600);
/// How often this node looks at the neighbourhood of its own place in the public table.
const PUBLIC_REFRESH: Duration = Duration::from_secs(30 * 60);
/// How long one look-up in a table may go on.
const QUERY_WITHIN: Duration = Duration::from_secs(30);
/// Names of which entries are held for others, and nodes entered under one name.
const MAX_NAMES: usize = 1024;
const MAX_ENTERED: usize = 64;
/// Values held for others, and the longest of them, in bytes.
const MAX_VALUES: usize = 64;
pub(super) const MAX_VALUE: usize = 2048;
/// How long a registration lasts at most: anybody may register, and what a stranger left behind must make room again.
const MAX_REGISTRATION_S: u64 = 2 * 3600;
/// Registrations at this node's rendezvous point.
const MAX_REGISTRATIONS: usize = 4096;
const MAX_REGISTRATIONS_PER_PEER: usize = 64;
/// Each remembers what one asker has seen; our own clients do not use them.
const MAX_COOKIES: usize = 64;
/// Shortest time for which somebody may register, in seconds.
const MIN_REGISTRATION_S: u64 = 60;
/// How long what a multicast DNS answer says is believed.
const MDNS_TTL: Duration = Duration::from_secs(6 * 60);

/// A Kademlia table.
pub(crate) type Table = kad::Behaviour<MemoryStore>;

/// The behaviours; in this order, as the derived behaviour asks them in the order of its fields.
#[derive(NetworkBehaviour)]
pub(crate) struct Reaching {
    pub(super) dht: Toggle<Table>,
    pub(super) public_dht: Toggle<Table>,
    pub(super) rendezvous: Toggle<rendezvous::client::Behaviour>,
    pub(super) rendezvous_server: Toggle<rendezvous::server::Behaviour>,
    pub(super) autonat: Toggle<autonat::v2::client::Behaviour>,
    pub(super) autonat_server: Toggle<autonat::v2::server::Behaviour>,
    pub(super) relay_client: relay::client::Behaviour,
    pub(super) relay_server: Toggle<relay::Behaviour>,
    pub(super) hole_punching: Toggle<dcutr::Behaviour>,
    pub(super) upnp: Toggle<upnp::tokio::Behaviour>,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
}

impl Reaching {
    /// What the options ask for.
    pub(in crate::swarm) fn new(
        identity: &NodeIdentity,
        options: &ReachOptions,
        relay_client: relay::client::Behaviour,
    ) -> Self {
        let local = identity.libp2p_id();
        let on = |wanted: bool| wanted.then_some(());
        let server = |()| {
            let config = rendezvous::server::Config::default()
                .with_min_ttl(MIN_REGISTRATION_S)
                .with_max_ttl(MAX_REGISTRATION_S)
                .with_max_registration_total(MAX_REGISTRATIONS)
                .with_max_registration_per_peer(MAX_REGISTRATIONS_PER_PEER)
                .with_max_stored_cookies(MAX_COOKIES);
            rendezvous::server::Behaviour::new(config)
        };
        let autonat = |()| {
            let config = autonat::v2::client::Config::default().with_probe_interval(options.autonat_interval);
            // The nonces must not be guessed.
            autonat::v2::client::Behaviour::new(rand::make_rng::<rand::rngs::StdRng>(), config)
        };
        Self {
            dht: options.dht.map(|dht| mesh_table(local, dht.server)).into(),
            public_dht: options.public_dht.as_ref().map(|_| public_table(local)).into(),
            rendezvous: on(options.rendezvous)
                .map(|()| rendezvous::client::Behaviour::new(identity.keypair().clone()))
                .into(),
            rendezvous_server: on(options.rendezvous_server).map(server).into(),
            autonat: on(options.autonat).map(autonat).into(),
            autonat_server: on(options.autonat_server).map(|()| Default::default()).into(),
            relay_client,
            relay_server: options.relay_server.map(|limits| relay_server(local, limits)).into(),
            hole_punching: on(options.hole_punching).map(|()| dcutr::Behaviour::new(local)).into(),
            upnp: on(options.upnp).map(|()| Default::default()).into(),
            mdns: on(options.mdns).and_then(|()| multicast(local, options.mdns_interval)).into(),
        }
    }
}

/// The part of multicast DNS; none, with a word in the log, where this machine does not let us have it: a node without
/// it works, and is found in other ways.
pub(super) fn multicast(local: PeerId, interval: Duration) -> Option<mdns::tokio::Behaviour> {
    let config = mdns::Config { ttl: MDNS_TTL, query_interval: interval, enable_ipv6: false };
    match mdns::tokio::Behaviour::new(config, local) {
        Ok(mdns) => Some(mdns),
        Err(error) => {
            tracing::warn!(%error, "multicast DNS is not available on this machine: no peers are found by it");
            None
        }
    }
}

fn mesh_table(local: PeerId, server: bool) -> Table {
    let mut config = table_config(MESH_TABLE);
    config
        .set_replication_factor(MESH_COPIES)
        .set_provider_record_ttl(Some(MESH_ENTRY_FOR))
        .set_provider_publication_interval(Some(MESH_ENTRY_RENEWED))
        // The table is fed with the connected members; walking through it would only open connections to all others.
        .set_periodic_bootstrap_interval(None);
    let mut table = Table::with_config(local, store(local), config);
    table.set_mode(Some(mode(server)));
    table
}

fn public_table(local: PeerId) -> Table {
    let mut config = table_config(PUBLIC_TABLE);
    config
        .set_provider_record_ttl(Some(PUBLIC_ENTRY_FOR))
        .set_provider_publication_interval(Some(PUBLIC_ENTRY_RENEWED))
        .set_periodic_bootstrap_interval(Some(PUBLIC_REFRESH));
    let mut table = Table::with_config(local, store(local), config);
    table.set_mode(Some(kad::Mode::Client));
    table
}

fn table_config(protocol: StreamProtocol) -> kad::Config {
    let mut config = kad::Config::new(protocol);
    config
        .set_query_timeout(QUERY_WITHIN)
        // What others want to store is looked at first, and only believable addresses get into the table.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_caching(kad::Caching::Disabled)
        // Values are hints that are written anew while their node lives: nobody else keeps them alive.
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_record_ttl(Some(PUBLIC_ENTRY_FOR));
    config
}

fn store(local: PeerId) -> MemoryStore {
    let config = MemoryStoreConfig {
        max_records: MAX_VALUES,
        max_value_bytes: MAX_VALUE,
        max_providers_per_key: MAX_ENTERED,
        max_provided_keys: MAX_NAMES,
    };
    MemoryStore::with_config(local, config)
}

/// The mode of a table, set by hand: left to itself, libp2p takes any external address, that of a relay too, as a sign
/// that this node can be reached.
pub(super) const fn mode(server: bool) -> kad::Mode {
    if server { kad::Mode::Server } else { kad::Mode::Client }
}

fn relay_server(local: PeerId, limits: RelayLimits) -> relay::Behaviour {
    let longest = Duration::from_secs(u64::from(u32::MAX));
    let config = relay::Config {
        max_reservations: limits.reservations,
        max_reservations_per_peer: limits.reservations_per_peer,
        reservation_duration: limits.reservation_for.min(longest),
        max_circuits: limits.circuits,
        max_circuits_per_peer: limits.circuits_per_peer,
        // libp2p panics beyond this.
        max_circuit_duration: limits.circuit_for.min(longest),
        max_circuit_bytes: limits.circuit_bytes,
        ..relay::Config::default()
    };
    relay::Behaviour::new(local, config)
}
