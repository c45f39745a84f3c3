//! Multicast DNS: whom this node hears on the local networks is told to discovery, a few at a time. libp2p remembers
//! everything that anybody says there, for as long as they like; when that becomes too much it is thrown away, and
//! nothing is listened to for a while.

use super::{Driver, behaviours};
use crate::address;
use libp2p::mdns;
use libp2p::swarm::{FromSwarm, NetworkBehaviour, NewListenAddr};
use meshwork_kit::TellError;
use meshwork_proto::UnixMillis;
use meshwork_proto::discovery::{FoundPeer, PeersFound, Source};
use std::time::Duration;

/// Addresses that libp2p may remember.
const MAX_HEARD: usize = 4096;
/// How long nothing is listened to after that.
const DEAF_FOR: Duration = Duration::from_secs(60);

impl Driver {
    pub(super) fn on_multicast(&mut self, event: mdns::Event) {
        let now = self.core.deps.clock.now();
        match event {
            mdns::Event::Discovered(heard) => {
                let metrics = &self.core.metrics.reach;
                metrics.mdns_heard.inc_by(u64::try_from(heard.len()).unwrap_or(u64::MAX));
                for (peer, address) in heard {
                    if let Some(address) = address::of_peer(&address, &peer)
                        && !self.reach.neighbours.heard(peer, &address, now)
                    {
                        metrics.mdns_peers.with_label_values(&["dropped"]).inc();
                    }
                }
            }
            mdns::Event::Expired(gone) => {
                for (peer, address) in gone {
                    self.reach.neighbours.gone(&peer, &address);
                }
            }
        }
        self.show_neighbours();
    }

    fn show_neighbours(&self) {
        let count = i64::try_from(self.reach.neighbours.len()).unwrap_or(i64::MAX);
        self.core.metrics.reach.mdns_neighbours.set(count);
    }

    /// Tells discovery of neighbours, and keeps a flood within bounds.
    pub(super) fn tell_neighbours(&mut self, now: UnixMillis) {
        self.bound_flood(now);
        let batch = self.reach.neighbours.due(now);
        if batch.is_empty() {
            return;
        }
        let found = batch.iter().map(|(peer, addresses)| FoundPeer {
            peer: Some(address::peer_of(peer)),
            addresses: addresses.iter().map(ToString::to_string).collect(),
        });
        let told = self.core.deps.found.tell(PeersFound { source: Source::Mdns, found: found.collect() });
        let outcome = match told {
            Ok(()) => "told",
            Err(TellError::Full { .. }) => {
                self.reach.neighbours.not_told(batch.iter().map(|(peer, _)| *peer), now);
                "delayed"
            }
            Err(TellError::Closed { .. }) => "dropped",
        };
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        self.core.metrics.reach.mdns_peers.with_label_values(&[outcome]).inc_by(count);
    }

    fn bound_flood(&mut self, now: UnixMillis) {
        if let Some(until) = self.reach.deaf_until {
            if now >= until {
                self.reach.deaf_until = None;
                self.listen_to_multicast();
            }
            return;
        }
        let heard =
            self.swarm.behaviour().reach.mdns.as_ref().map_or(0, |mdns| mdns.discovered_nodes().len());
        if heard > MAX_HEARD {
            tracing::warn!(
                "{heard} addresses are announced by multicast DNS: none are listened to for {DEAF_FOR:?}"
            );
            self.swarm.behaviour_mut().reach.mdns = None.into();
            self.reach.neighbours.clear();
            self.show_neighbours();
            self.reach.deaf_until = Some(now.after(DEAF_FOR));
        }
    }

    fn listen_to_multicast(&mut self) {
        let interval = self.core.options.reach.mdns_interval;
        let mut fresh = behaviours::multicast(self.core.identity.libp2p_id(), interval);
        if let Some(mdns) = &mut fresh {
            // It has not seen the listeners open.
            for (listener_id, addr) in self.listeners.opened() {
                mdns.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr }));
            }
        }
        self.swarm.behaviour_mut().reach.mdns = fresh.into();
    }
}
