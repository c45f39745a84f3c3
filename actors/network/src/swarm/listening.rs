//! Listening: opening the configured addresses at the start, and keeping track of the real ones.

use super::driver::Driver;
use crate::address::{self, TransportKind};
use crate::error::StartError;
use futures::{FutureExt, StreamExt};
use libp2p::Multiaddr;
use libp2p::core::transport::{ListenerId, TransportError};
use meshwork_proto::transport::LocalPeer;
use std::collections::BTreeSet;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;
use tokio::time::timeout;

/// How long a listener may take to say where it listens.
const LISTEN_WITHIN: Duration = Duration::from_secs(5);

/// What the listeners have said.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    addresses: Vec<(ListenerId, Multiaddr)>,
    ended: Vec<(ListenerId, Option<io::Error>)>,
}

impl Listeners {
    /// The addresses, each with its listener.
    pub(super) fn opened(&self) -> impl Iterator<Item = (ListenerId, &Multiaddr)> {
        self.addresses.iter().map(|(id, address)| (*id, address))
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = &Multiaddr> {
        self.addresses.iter().map(|(_, address)| address)
    }
}

impl Driver {
    /// Listens on the configured addresses, and answers when all of them are open.
    pub(crate) async fn listen(&mut self) -> Result<(), StartError> {
        self.announce_external()?;
        self.begin_reach()?;
        let mut wanted = Vec::new();
        for text in self.core.options.listen.clone() {
            wanted.push(parse(&text)?);
        }
        for address in &wanted {
            check_free(address)?;
        }
        for address in wanted {
            let opened = self.swarm.listen_on(address.clone());
            let id = opened.map_err(|error| refused(&address, &error))?;
            self.wait_for(id, &address).await?;
        }
        // A wildcard stands for several addresses, which follow one another at once.
        while let Some(Some(event)) = self.swarm.next().now_or_never() {
            self.on_event(event);
        }
        self.publish_local();
        Ok(())
    }

    async fn wait_for(&mut self, id: ListenerId, address: &Multiaddr) -> Result<(), StartError> {
        let opened = async {
            loop {
                if self.listeners.addresses.iter().any(|(of, _)| *of == id) {
                    return Ok(());
                }
                if let Some((_, error)) = self.listeners.ended.iter().find(|(of, _)| *of == id) {
                    return Err(match error {
                        Some(error) => StartError::listening(address, error),
                        None => silent(address, "it was closed at once"),
                    });
                }
                let event = self.swarm.select_next_some().await;
                self.on_event(event);
            }
        };
        timeout(LISTEN_WITHIN, opened)
            .await
            .unwrap_or_else(|_| Err(silent(address, "it did not open in time")))
    }

    fn announce_external(&mut self) -> Result<(), StartError> {
        for text in self.core.options.external.clone() {
            let endpoint = address::parse(&text).map_err(|error| StartError::BadAddress {
                address: text.clone(),
                problem: error.to_string(),
            })?;
            self.swarm.add_external_address(endpoint.address.clone());
            self.reach.reachable.configured(endpoint.address);
        }
        Ok(())
    }

    /// A listener has an address.
    pub(super) fn on_listening(&mut self, id: ListenerId, address: Multiaddr) {
        self.calm_empty_tables();
        if !self.shows_listener(id, &address) {
            tracing::debug!(%address, "a relay names an address of itself that is not believed");
            return;
        }
        tracing::info!(%address, "listening");
        self.listeners.addresses.push((id, address));
        self.publish_local();
    }

    /// A listener has lost an address.
    pub(super) fn on_not_listening(&mut self, id: ListenerId, address: &Multiaddr) {
        tracing::warn!(%address, "no longer listening");
        self.listeners.addresses.retain(|(of, listened)| *of != id || listened != address);
        self.publish_local();
    }

    /// A listener has ended.
    pub(super) fn on_listener_ended(&mut self, id: ListenerId, reason: Result<(), io::Error>) {
        if !self.on_place_ended(id, &reason) {
            for (_, address) in self.listeners.addresses.iter().filter(|(of, _)| *of == id) {
                tracing::error!(
                    %address, ?reason, "listener ended: peers cannot connect there until the node is restarted"
                );
            }
            self.listeners.ended.push((id, reason.err()));
        }
        self.listeners.addresses.retain(|(of, _)| *of != id);
        self.publish_local();
    }

    /// Where others reach this node: first what is configured or confirmed from outside, then where it listens, last
    /// through relays.
    pub(super) fn publish_local(&mut self) {
        self.assume_external();
        let mut seen = BTreeSet::new();
        let (through_relays, direct): (Vec<&Multiaddr>, Vec<&Multiaddr>) =
            self.listeners.addresses().partition(|address| address::is_relayed(address));
        let reachable = &self.reach.reachable;
        let listen: Vec<String> = reachable
            .external()
            .chain(direct)
            .chain(reachable.circuits())
            .chain(through_relays)
            .map(|address| address::with_peer(address, &self.core.identity.libp2p_id()))
            .filter(|address| seen.insert(address.clone()))
            .collect();
        self.core.listening.send_replace(LocalPeer { peer: self.core.local.clone(), listen });
        self.changed = true;
    }
}

fn parse(text: &str) -> Result<Multiaddr, StartError> {
    let wrong =
        |problem: &str| StartError::BadAddress { address: text.to_owned(), problem: problem.to_owned() };
    let address: Multiaddr = text.parse().map_err(|error| wrong(&format!("not a multiaddress: {error}")))?;
    if address::ip(&address).is_none() {
        return Err(wrong("it does not begin with /ip4/ or /ip6/"));
    }
    // TCP and QUIC addresses that can be listened on have nothing behind them.
    let parts = match address::kind(&address) {
        TransportKind::Tcp => 2,
        TransportKind::Quic => 3,
        TransportKind::Relay | TransportKind::Other => {
            return Err(wrong("it has neither /tcp/<port> nor /udp/<port>/quic-v1"));
        }
    };
    if address.iter().count() != parts {
        return Err(wrong("there is something behind the port"));
    }
    Ok(address)
}

/// Whether nobody listens on an address. libp2p's own TCP listeners share ports with those of other processes, and two
/// nodes on one port would each get half of the connections; its QUIC errors hide what the operating system said.
fn check_free(address: &Multiaddr) -> Result<(), StartError> {
    let Some(socket) = address::socket(address).filter(|socket| socket.port() != 0) else { return Ok(()) };
    let bound = match address::kind(address) {
        TransportKind::Quic => UdpSocket::bind(socket).map(drop),
        _ => TcpListener::bind(socket).map(drop),
    };
    bound.map_err(|error| StartError::listening(address, &error))
}

fn refused(address: &Multiaddr, error: &TransportError<io::Error>) -> StartError {
    match error {
        TransportError::MultiaddrNotSupported(_) => StartError::BadAddress {
            address: address.to_string(),
            problem: "not a kind of address that can be listened on".into(),
        },
        TransportError::Other(error) => StartError::listening(address, error),
    }
}

fn silent(address: &Multiaddr, problem: &str) -> StartError {
    StartError::Listen { address: address.to_string(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_listened_on_is_refused_with_the_reason() {
        for (text, problem) in [
            ("/dns/example.org/tcp/1", "/ip4/"),
            ("/ip4/0.0.0.0/udp/1", "neither"),
            ("/ip4/0.0.0.0/tcp/1/ws", "behind the port"),
            ("0.0.0.0:4001", "not a multiaddress"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
        assert!(parse("/ip6/::/udp/0/quic-v1").is_ok() && parse("/ip4/0.0.0.0/tcp/0").is_ok());
    }
}
