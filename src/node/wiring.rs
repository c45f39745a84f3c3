//! The one place where the parts of a node meet: ports first, then each part is started with the ports it needs.

use super::ground::Ground;
use super::{NodeError, contacts, describe, shutdown};
use super::{membership, options, secrets, workflows};
use crate::config::{Environment, NodeConfig};
use meshwork_gateway::{
    ArtifactPorts, DiscoveryPorts as GatewayDiscovery, ExecutorPorts as GatewayExecutor, Gateway,
    GatewayDeps, GatewayPorts, GatewaySeed, MembershipPorts, NodePorts, QueuePorts as GatewayQueue,
};
use meshwork_kit::{Port, serve_port};
use meshwork_network::{Network, NetworkDeps, NetworkPorts, NetworkSeed, RelayStatus};
use meshwork_peers::bootstrap::{self, BootstrapDeps, BootstrapPorts, BootstrapSeed};
use meshwork_peers::discovery::{self, DiscoveryDeps, DiscoveryPorts, DiscoverySeed};
use meshwork_peers::public_ip;
use meshwork_peers::reaper::{self, ReaperDeps};
use meshwork_proto::Json;
use meshwork_proto::bootstrap::{GetPublicIp, PublicIp};
use meshwork_proto::discovery::DescribeNode;
use meshwork_proto::node::Shutdown;
use meshwork_proto::transport::{ConsiderAddresses, GetReach, Reach};
use meshwork_work::executor::{self, ExecutorDeps, ExecutorPorts, ExecutorSeed};
use meshwork_work::queue::{self, QueueDeps, QueuePorts, QueueSeed};
use meshwork_work::schedule::{self, SchedulePorts, ScheduleSeed};
use meshwork_work::workflow::{self, WorkflowPorts, WorkflowSeed};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the services that know the public address may take together.
const PUBLIC_IP_WITHIN: Duration = Duration::from_secs(30);
/// How long the network may take to note what they said.
const CONSIDER_WITHIN: Duration = Duration::from_secs(5);

/// Every port of the node: they exist before anything runs, so they can be handed around in circles.
#[derive(Clone)]
pub(super) struct Ports {
    pub(super) network: NetworkPorts,
    pub(super) queue: QueuePorts,
    pub(super) workflow: WorkflowPorts,
    pub(super) schedule: SchedulePorts,
    pub(super) executor: ExecutorPorts,
    pub(super) discovery: DiscoveryPorts,
    pub(super) bootstrap: BootstrapPorts,
    pub(super) gateway: GatewayPorts,
}

/// The parts before they run.
struct Seeds {
    network: NetworkSeed,
    queue: QueueSeed,
    workflow: WorkflowSeed,
    schedule: ScheduleSeed,
    executor: ExecutorSeed,
    discovery: DiscoverySeed,
    bootstrap: BootstrapSeed,
    gateway: GatewaySeed,
}

/// The parts that run and are no actors.
pub(super) struct Parts {
    pub(super) network: Network,
    pub(super) gateway: Gateway,
    pub(super) ports: Ports,
}

/// Wires and starts everything but the store (which is there already) and HTTP (which comes last).
pub(super) async fn start(
    ground: &Ground,
    config: &NodeConfig,
    environment: &Environment,
    shutdowns: mpsc::Sender<Shutdown>,
) -> Result<Parts, NodeError> {
    let (ports, seeds) = prepare(ground, config, environment)?;
    start_queue(ground, &ports, seeds.queue)?;
    workflows::start_coordinator(ground, &ports, seeds.workflow)?;
    workflows::start_scheduler(ground, &ports, seeds.schedule)?;
    start_executor(ground, config, &ports, seeds.executor)?;
    start_discovery(ground, config, environment, &ports, seeds.discovery)?;
    let network = start_network(ground, &ports, seeds.network).await?;
    if let Some(file) = options::watched_secret_file(config) {
        secrets::watch(&ground.runtime, file, ports.network.secrets.clone());
    }
    start_bootstrap(ground, config, environment, &ports, &network, seeds.bootstrap)?;
    let clean_up = ReaperDeps { clean_up: ports.discovery.clean_up.clone() };
    reaper::prepare().start(&ground.supervision, membership::reaper(config), clean_up);
    let gateway = start_gateway(ground, config, &ports, &network, shutdowns, seeds.gateway);
    Ok(Parts { network, gateway, ports })
}

fn prepare(
    ground: &Ground,
    config: &NodeConfig,
    environment: &Environment,
) -> Result<(Ports, Seeds), NodeError> {
    let trust = options::trust(config)?;
    let (network, network_seed) =
        meshwork_network::prepare(ground.identity.clone(), trust, options::network(config, environment));
    let (queue, queue_seed) = queue::prepare(options::queue(config)).map_err(NodeError::of)?;
    let (workflow, workflow_seed) = workflow::prepare(options::workflows(config)).map_err(NodeError::of)?;
    let (schedule, schedule_seed) = schedule::prepare(options::schedules(config)).map_err(NodeError::of)?;
    let (executor, executor_seed) = executor::prepare(options::executor(config)).map_err(NodeError::of)?;
    let (discovery, discovery_seed) = discovery::prepare();
    let (bootstrap, bootstrap_seed) = bootstrap::prepare();
    let (gateway, gateway_seed) =
        meshwork_gateway::prepare(options::gateway(config, environment), &ground.registry)
            .map_err(NodeError::of)?;
    Ok((
        Ports { network, queue, workflow, schedule, executor, discovery, bootstrap, gateway },
        Seeds {
            network: network_seed,
            queue: queue_seed,
            workflow: workflow_seed,
            schedule: schedule_seed,
            executor: executor_seed,
            discovery: discovery_seed,
            bootstrap: bootstrap_seed,
            gateway: gateway_seed,
        },
    ))
}

fn start_queue(ground: &Ground, ports: &Ports, seed: QueueSeed) -> Result<(), NodeError> {
    let store = &ground.store.ports;
    let deps = QueueDeps {
        clock: ground.clock.clone(),
        commit: store.commit.clone(),
        read_key: store.read_key.clone(),
        read_keys: store.read_keys.clone(),
        scan: store.scan.clone(),
        epoch: ground.store.epoch(),
        local_peer: ground.peer_id.clone(),
        stop_local: ports.executor.stop.clone(),
        call_peer: ports.network.call.clone(),
        ended: ports.workflow.ended.clone(),
        seed: rand::random(),
    };
    seed.start(&ground.supervision, &ground.registry, deps).map_err(NodeError::internal)?;
    Ok(())
}

fn start_executor(
    ground: &Ground,
    config: &NodeConfig,
    ports: &Ports,
    seed: ExecutorSeed,
) -> Result<(), NodeError> {
    let store = &ground.store.ports;
    let deps = ExecutorDeps {
        clock: ground.clock.clone(),
        local: ports.gateway.serve.clone(),
        call_peer: ports.network.call.clone(),
        fetch: ports.network.fetch.clone(),
        put_artifact: store.put_artifact.clone(),
        read_artifact: store.read_artifact.clone(),
        upstream: ports.gateway.upstream.clone(),
        local_peer: ground.peer_id.clone(),
        incarnation: rand::random(),
        labels: config.executor.labels.iter().cloned().collect(),
    };
    seed.start(&ground.supervision, deps, &ground.registry).map_err(NodeError::of)?;
    Ok(())
}

fn start_discovery(
    ground: &Ground,
    config: &NodeConfig,
    environment: &Environment,
    ports: &Ports,
    seed: DiscoverySeed,
) -> Result<(), NodeError> {
    let (network, store) = (&ports.network, &ground.store.ports);
    let deps = DiscoveryDeps {
        clock: ground.clock.clone(),
        local_peer: ground.peer_id.clone(),
        notary: Arc::new(ground.identity.clone()),
        call_peer: network.call.clone(),
        connect: network.connect.clone(),
        disconnect: network.disconnect.clone(),
        offence: network.offence.clone(),
        describe: describe_port(ground, ports),
        commit: store.commit.clone(),
        scan: store.scan.clone(),
        sources: membership::sources(config, environment, network, &ground.clock)?,
    };
    let options = membership::discovery(config);
    seed.start(&ground.supervision, &ground.registry, options, deps).map_err(NodeError::internal)?;
    Ok(())
}

fn describe_port(ground: &Ground, ports: &Ports) -> Port<DescribeNode> {
    let parts = describe::Parts {
        tools: ports.executor.list.clone(),
        slots: ports.executor.slots.clone(),
        stats: ports.queue.stats.clone(),
        local: ports.network.local.clone(),
    };
    describe::serve(&ground.runtime, parts)
}

async fn start_network(ground: &Ground, ports: &Ports, seed: NetworkSeed) -> Result<Network, NodeError> {
    let store = &ground.store.ports;
    let deps = NetworkDeps {
        clock: ground.clock.clone(),
        serve: ports.gateway.serve.clone(),
        stat_artifact: store.stat_artifact.clone(),
        append_artifact: store.append_artifact.clone(),
        connection: ports.discovery.connection.clone(),
        found: ports.discovery.found.clone(),
        worker_lost: ports.queue.worker_lost.clone(),
        worker_back: ports.queue.worker_back.clone(),
        work_source: ports.executor.sources.clone(),
    };
    seed.start(deps, &ground.registry).await.map_err(NodeError::of)
}

fn start_bootstrap(
    ground: &Ground,
    config: &NodeConfig,
    environment: &Environment,
    ports: &Ports,
    network: &Network,
    seed: BootstrapSeed,
) -> Result<(), NodeError> {
    let deps = BootstrapDeps {
        dial: ports.network.dial.clone(),
        connect: ports.network.connect.clone(),
        found: ports.discovery.found.clone(),
        connected: contacts::connected(&ground.runtime, network.status()),
    };
    let options = membership::bootstrap(config, environment, &ground.peer_id);
    seed.start(&ground.supervision, &ground.registry, options, deps).map_err(NodeError::internal)?;
    Ok(())
}

fn start_gateway(
    ground: &Ground,
    config: &NodeConfig,
    ports: &Ports,
    network: &Network,
    shutdowns: mpsc::Sender<Shutdown>,
    seed: GatewaySeed,
) -> Gateway {
    let (queue, executor, discovery, store) =
        (&ports.queue, &ports.executor, &ports.discovery, &ground.store.ports);
    let node = NodePorts {
        queue: GatewayQueue {
            submit: queue.submit.clone(),
            claim: queue.claim.clone(),
            renew: queue.renew.clone(),
            finish: queue.finish.clone(),
            cancel: queue.cancel.clone(),
            update: queue.update.clone(),
            resubmit: queue.resubmit.clone(),
            get: queue.get.clone(),
            list: queue.list.clone(),
            stats: queue.stats.clone(),
        },
        executor: GatewayExecutor {
            list: executor.list.clone(),
            call: executor.call.clone(),
            stop: executor.stop.clone(),
            upstream_tools: executor.upstream_tools.clone(),
        },
        discovery: GatewayDiscovery {
            list: discovery.list.clone(),
            announce: discovery.announce.clone(),
            advertised: discovery.advertised.clone(),
        },
        membership: membership_ports(ground, config, ports, network),
        workflows: workflows::for_gateway(ports),
        schedules: workflows::schedules_for_gateway(ports),
        artifacts: ArtifactPorts {
            put: store.put_artifact.clone(),
            read: store.read_artifact.clone(),
            stat: store.stat_artifact.clone(),
        },
        call_peer: ports.network.call.clone(),
        fetch: ports.network.fetch.clone(),
        shutdown: shutdown::serve(&ground.runtime, executor.slots.clone(), shutdowns),
    };
    let deps = GatewayDeps {
        node,
        local_peer: ground.peer_id.clone(),
        workflow_schema: Json::from_value(&workflow::schema()),
    };
    seed.start(deps, &ground.supervision)
}

fn membership_ports(
    ground: &Ground,
    config: &NodeConfig,
    ports: &Ports,
    running: &Network,
) -> MembershipPorts {
    let (discovery, bootstrap, network) = (&ports.discovery, &ports.bootstrap, &ports.network);
    MembershipPorts {
        members: discovery.members.clone(),
        exchange: discovery.exchange.clone(),
        register: discovery.register.clone(),
        discover: discovery.discover.clone(),
        providers: discovery.providers.clone(),
        clean_up: discovery.clean_up.clone(),
        forget: discovery.forget.clone(),
        bootstrap: bootstrap.now.clone(),
        contacts: bootstrap.contacts.clone(),
        public_ip: public_ip_port(ground, config, network),
        revoke: network.revoke.clone(),
        open_pairing: network.open_pairing.clone(),
        pair_with: network.pair_with.clone(),
        reach: reach_port(ground, running),
    }
}

/// Finds the public address out: when it is asked, and at the start if the configuration says so. Then it is used too.
fn public_ip_port(ground: &Ground, config: &NodeConfig, network: &NetworkPorts) -> Port<GetPublicIp> {
    let port = public_ip::serve(&ground.runtime, membership::public_ip(config));
    if config.p2p.public_ip.detect {
        let (asked, consider) = (port.clone(), network.consider.clone());
        ground.runtime.spawn(async move {
            let found = public_ip::detect(&asked, PUBLIC_IP_WITHIN, rand::random()).await;
            let Some(PublicIp { ipv4, ipv6, .. }) = found else { return };
            let ips = ipv4.map(IpAddr::from).into_iter().chain(ipv6.map(IpAddr::from)).collect();
            match consider.ask(ConsiderAddresses { ips }, CONSIDER_WITHIN).await {
                Ok(candidates) => tracing::info!(?ipv4, ?ipv6, ?candidates, "public address found out"),
                Err(error) => tracing::warn!(?ipv4, ?ipv6, %error, "the public address is not tried out"),
            }
        });
    }
    port
}

/// How well this node can be reached, as the network shows it.
fn reach_port(ground: &Ground, network: &Network) -> Port<GetReach> {
    let status = network.status();
    serve_port(16, &ground.runtime, move |_| {
        let now = status.borrow().clone();
        let reserved = |relay: &&RelayStatus| relay.state == "reserved";
        let reach = Reach {
            reachability: now.reachability,
            addresses: now.listen,
            external: now.external,
            relays: now.relays.iter().filter(reserved).map(|relay| relay.peer.clone()).collect(),
            observed: now.observed.iter().map(|observed| observed.ip).collect(),
        };
        async move { reach }
    })
}
