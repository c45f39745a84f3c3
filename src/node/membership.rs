//! From the configuration to who finds the mesh and how: discovery and its sources, first contacts, the reaper, and how
//! this node is reached.

use super::{NodeError, contacts};
use crate::config::{self, Environment, NodeConfig};
use meshwork_kit::Clock;
use meshwork_network::{
    DhtOptions as DhtTable, NetworkPorts, PublicDhtOptions as PublicTable, ReachOptions, RelayLimits,
};
use meshwork_peers::bootstrap::{BootstrapOptions, DnsOptions, EnvironmentPeers};
use meshwork_peers::discovery::{DiscoveryOptions, Lifetimes};
use meshwork_peers::public_ip::PublicIpOptions;
use meshwork_peers::reaper::ReaperOptions;
use meshwork_peers::sources::{
    Dht, DirectoryPorts, FileRegistry, FileRegistryOptions, Github, GithubOptions, GithubToken, Mdns,
    MdnsOptions, PeerSource, PublicDht, Rendezvous, RendezvousOptions, TableOptions,
};
use meshwork_proto::discovery::Source;
use meshwork_proto::{ErrorCode, PeerId};
use std::time::Duration;

fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX)
}

/// Times to live, by source.
fn lifetimes(config: &NodeConfig) -> Lifetimes {
    let discovery = &config.p2p.discovery;
    let by_source = discovery.ttls().into_iter().map(|(source, ttl_s)| (source, seconds(ttl_s))).collect();
    Lifetimes { default: seconds(discovery.ttl_s), by_source }
}

pub(super) fn discovery(config: &NodeConfig) -> DiscoveryOptions {
    let discovery = &config.p2p.discovery;
    DiscoveryOptions {
        ttl: lifetimes(config),
        target_connections: discovery.target_connections,
        allow_private_addresses: discovery.allow_private_addresses,
        max_peers: discovery.max_peers,
        gossip: discovery.gossip,
        exchange_every: seconds(discovery.gossip_interval_s),
        seed: rand::random(),
        ..DiscoveryOptions::default()
    }
}

pub(super) fn reaper(config: &NodeConfig) -> ReaperOptions {
    ReaperOptions { ttl: lifetimes(config), ..ReaperOptions::default() }
}

/// The sources that are switched on.
pub(super) fn sources(
    config: &NodeConfig,
    environment: &Environment,
    network: &NetworkPorts,
    clock: &Clock,
) -> Result<Vec<Box<dyn PeerSource>>, NodeError> {
    let discovery = &config.p2p.discovery;
    let ports = DirectoryPorts { look_up: network.look_up.clone(), enter: network.enter_self.clone() };
    let ttl = |source| lifetimes(config).of(source).unwrap_or_default();
    let mut sources: Vec<Box<dyn PeerSource>> = Vec::new();
    if config::mdns_is_on(discovery.mdns, environment) {
        let options = MdnsOptions { interval: seconds(discovery.mdns_interval_s), ..MdnsOptions::default() };
        sources.push(Box::new(Mdns::new(options, network.neighbours.clone())));
    }
    if discovery.dht.enabled {
        let options = TableOptions {
            namespace: discovery.dht.namespace.clone(),
            interval: seconds(discovery.dht.interval_s),
            ..Dht::usual()
        };
        sources.push(Box::new(Dht::new(options, ports.clone())));
    }
    if discovery.public_dht.enabled {
        let options = TableOptions {
            namespace: discovery.public_dht.namespace.clone(),
            interval: seconds(discovery.public_dht.interval_s),
            ..PublicDht::usual()
        };
        sources.push(Box::new(PublicDht::new(options, ports.clone())));
    }
    if !discovery.rendezvous.points.is_empty() {
        let options = RendezvousOptions {
            points: discovery.rendezvous.points.clone(),
            namespace: discovery.rendezvous.namespace.clone(),
            interval: seconds(discovery.rendezvous.interval_s),
            ..RendezvousOptions::default()
        };
        sources.push(Box::new(Rendezvous::new(options, &ports)));
    }
    if let Some(path) = &discovery.files.path {
        let options = FileRegistryOptions {
            runner: discovery.files.name.clone().or_else(|| config::node_name(environment)),
            ttl: ttl(Source::FileRegistry),
            interval: seconds(discovery.files.interval_s),
            seed: rand::random(),
            ..FileRegistryOptions::at(path)
        };
        sources.push(Box::new(FileRegistry::new(options, clock.clone())));
    }
    if let Some(github) = github(config, environment, ttl(Source::Github), clock)? {
        sources.push(Box::new(github));
    }
    Ok(sources)
}

fn github(
    config: &NodeConfig,
    environment: &Environment,
    ttl: Duration,
    clock: &Clock,
) -> Result<Option<Github>, NodeError> {
    let github = &config.p2p.discovery.github;
    let Some(repository) = &github.repository else { return Ok(None) };
    let options = GithubOptions {
        token: github.token.as_ref().map(|token| token_of(token.expose())).transpose()?,
        base_url: github.api_url.clone(),
        registry: github.issue_title.clone(),
        runner: github.name.clone().or_else(|| config::node_name(environment)),
        ttl,
        interval: seconds(github.interval_s),
        clean_up: github.delete_stale,
        allow_private_addresses: config.p2p.discovery.allow_private_addresses,
        seed: rand::random(),
        ..GithubOptions::for_repository(repository)
    };
    let source = Github::new(options, clock.clone());
    source.map(Some).map_err(|error| NodeError::new(ErrorCode::Config, error.to_string()))
}

/// A token that cannot be one is an error: without it the node would only read, and nobody would find it.
fn token_of(text: &str) -> Result<GithubToken, NodeError> {
    GithubToken::new(text).ok_or_else(|| {
        let message = "p2p.discovery.github.token (or GITHUB_TOKEN, GH_TOKEN) is no token: expected visible characters \
                       without blanks between them; leave it out to only read";
        NodeError::new(ErrorCode::Config, message)
    })
}

pub(super) fn bootstrap(config: &NodeConfig, environment: &Environment, own: &PeerId) -> BootstrapOptions {
    let bootstrap = &config.p2p.bootstrap;
    let variables = environment.bootstrap_variables();
    let named = variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    BootstrapOptions {
        peers: contacts::first(config),
        own: Some(own.clone()),
        files: bootstrap.file.iter().cloned().collect(),
        environment: if bootstrap.environment {
            EnvironmentPeers::of(named)
        } else {
            EnvironmentPeers::default()
        },
        dns: DnsOptions {
            names: bootstrap.dns.clone(),
            default_port: bootstrap.dns_port,
            allow_loopback: config.p2p.discovery.allow_private_addresses,
            ..DnsOptions::default()
        },
        use_public_list: bootstrap.public,
        public_list: bootstrap.public_list.clone(),
        read_every: seconds(bootstrap.interval_s),
        seed: rand::random(),
        ..BootstrapOptions::default()
    }
}

pub(super) fn public_ip(config: &NodeConfig) -> PublicIpOptions {
    PublicIpOptions { services: config.p2p.public_ip.services.clone(), ..PublicIpOptions::default() }
}

pub(super) fn reach(config: &NodeConfig, environment: &Environment) -> ReachOptions {
    let (discovery, reach) = (&config.p2p.discovery, &config.p2p.reach);
    let begin =
        if config.p2p.bootstrap.public { config.p2p.bootstrap.public_list.clone() } else { Vec::new() };
    ReachOptions {
        mdns: config::mdns_is_on(discovery.mdns, environment),
        dht: discovery.dht.enabled.then_some(DhtTable { server: discovery.dht.server }),
        public_dht: discovery.public_dht.enabled.then_some(PublicTable { bootstrap: begin }),
        rendezvous: !discovery.rendezvous.points.is_empty(),
        rendezvous_server: discovery.rendezvous.serve,
        autonat: reach.autonat,
        autonat_server: reach.autonat_server,
        relay_client: reach.relay_client,
        relays: reach.relays.clone(),
        relay_server: reach.relay_server.then(RelayLimits::default),
        hole_punching: reach.hole_punching,
        upnp: reach.upnp,
        ..ReachOptions::default()
    }
}
