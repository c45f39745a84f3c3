//! Contacts behind a DNS name: `dnsaddr` records, service records, and plain addresses with a default port.
//!
//! A Kubernetes headless service is the main use: its name has the addresses of all pods, and service records with their
//! ports. Nothing that a name server says is believed further than that it is worth a try: answers are bounded in
//! number, depth and time, circles are noticed, and addresses that nobody can have are left out.

#[cfg(test)]
mod tests;
mod walk;

use super::places::Reading;
use crate::address::Address;
use crate::clip::clip;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Resolver, TokioResolver};
use meshwork_proto::PeerId;
use meshwork_proto::bootstrap::BootstrapError;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use walk::Walk;

/// The port where nodes listen, for names that have addresses only.
const DEFAULT_PORT: u16 = 4001;

/// Settings of names.
#[derive(Debug, Clone)]
pub struct DnsOptions {
    /// Names that lead to contacts: `NAME`, `NAME:PORT` or `/dnsaddr/NAME`.
    pub names: Vec<String>,
    /// The port of nodes whose address is all that a name says.
    pub default_port: u16,
    /// Name servers to ask; empty: those of the system.
    pub servers: Vec<SocketAddr>,
    /// How long one question to a name server may take; it is asked twice.
    pub question_deadline: Duration,
    /// Believe names that lead to this machine itself (`127.0.0.1`): for several nodes on one machine.
    pub allow_loopback: bool,
}

impl Default for DnsOptions {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            default_port: DEFAULT_PORT,
            servers: Vec::new(),
            question_deadline: Duration::from_secs(3),
            allow_loopback: false,
        }
    }
}

/// What a name is to be looked up for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    /// `dnsaddr` records only, of one peer if one is named.
    Dnsaddr { host: String, peer: Option<PeerId> },
    /// Whatever there is; plain addresses with this port.
    Anything { host: String, port: u16 },
}

impl Wanted {
    fn read(text: &str, default_port: u16) -> Result<Self, String> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("/dnsaddr/") {
            let peer = text.parse::<Address>()?.peer;
            let host = host_of(rest.split('/').next().unwrap_or_default())?;
            return Ok(Self::Dnsaddr { host, peer });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => {
                (host, port.parse().map_err(|_| format!("{:?} is no port", clip(port, 32)))?)
            }
            None => (text, default_port),
        };
        Ok(Self::Anything { host: host_of(host)?, port })
    }
}

fn host_of(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.len() > 253 || !text.chars().all(fits) {
        return Err("it is no name: expected a DNS name, with a port or without, or /dnsaddr/<name>".into());
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Err(
            "it is an address and no name: give it as a peer, for example /ip4/192.0.2.7/tcp/4001".into()
        );
    }
    Ok(text.to_ascii_lowercase())
}

/// Resolves names. Clones share the settings.
#[derive(Debug, Clone)]
pub(super) struct Dns(Arc<DnsOptions>);

impl Dns {
    pub(super) fn new(options: DnsOptions) -> Self {
        Self(Arc::new(options))
    }

    /// The contacts that a name leads to.
    pub(super) async fn resolve(&self, name: &str) -> Result<Reading, BootstrapError> {
        let failed = |problem: String| BootstrapError::Dns { name: clip(name, 256), problem };
        let wanted = Wanted::read(name, self.0.default_port).map_err(failed)?;
        let resolver = self.resolver().map_err(|error| failed(describe(&error)))?;
        let mut walk = Walk::new(&resolver, self.0.allow_loopback);
        match &wanted {
            Wanted::Dnsaddr { host, peer } => walk.dnsaddr(host, peer.as_ref()).await,
            Wanted::Anything { host, port } => walk.anything(host, *port).await,
        }
        walk.finish().map_err(failed)
    }

    /// Made anew each time: the system's name servers change when a machine changes networks. Nothing is remembered
    /// either: names are asked for once a minute at most, and the answer should be the present one.
    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let mut builder = if self.0.servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = self.0.servers.iter().map(server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options: &mut ResolverOpts = builder.options_mut();
        options.timeout = self.0.question_deadline;
        options.attempts = 1;
        options.cache_size = 0;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        builder.build()
    }
}

fn server(at: &SocketAddr) -> NameServerConfig {
    let mut config = NameServerConfig::udp_and_tcp(at.ip());
    let with_port = |mut connection: ConnectionConfig| {
        connection.port = at.port();
        connection
    };
    config.connections = config.connections.into_iter().map(with_port).collect();
    config
}

/// What a failed question means.
fn describe(error: &NetError) -> String {
    match error {
        error if error.is_nx_domain() => "there is no such name".into(),
        error if error.is_no_records_found() => "it has no such records".into(),
        NetError::Timeout | NetError::NoConnections => "no name server answers".into(),
        error => clip(&error.to_string(), 200),
    }
}
