//! Being reached: places at relays, connections through them that become direct ones, addresses that others try out,
//! ports that the router opens.

use super::needed::Need;
use super::relays::Step;
use super::{Driver, Speaks};
use crate::address;
use crate::status::{ObservedIp, RelayStatus};
use libp2p::core::transport::ListenerId;
use libp2p::metrics::Recorder;
use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, autonat, dcutr, relay, upnp};
use meshwork_proto::UnixMillis;
use meshwork_proto::transport::Reachability;
use std::io;
use std::time::Duration;

/// How long the connection to a relay is needed when nothing else is said; said again at each tick.
const RELAY_NEEDED: Duration = Duration::from_secs(30);
/// IP addresses shown under which peers see this node.
const MAX_OBSERVED: usize = 8;

impl Driver {
    /// Asks relays for places while nobody can connect to this node in another way.
    pub(super) fn seek_places(&mut self, now: UnixMillis) {
        let reachability = self.reach.reachable.reachability();
        let hidden = reachability == Reachability::Private
            || (reachability == Reachability::Unknown && self.reach.relays.configured());
        if self.core.options.reach.relay_client && hidden {
            let serves = |(peer, speaks): (&PeerId, &Speaks)| {
                let member = speaks.relay && self.table.role(peer).is_some() && self.table.has_direct(peer);
                let at = self.table.ways_to(peer).into_iter().find(|address| !address::is_relayed(address));
                at.filter(|_| member).map(|address| (*peer, address))
            };
            let members = self.reach.speaks.iter().filter_map(serves).collect();
            let steps = self.reach.relays.next(now, |peer| self.table.has_direct(peer), members);
            for step in steps {
                self.take_step(step, now);
            }
        }
        let until = now.after(RELAY_NEEDED);
        for (peer, _, _) in self.reach.relays.status().filter(|(peer, ..)| self.reach.relays.need(peer)) {
            self.reach.needed.need(*peer, Need::Relay, until);
        }
    }

    pub(super) fn take_step(&mut self, step: Step, now: UnixMillis) {
        self.changed = true;
        match step {
            Step::Dial(peer, address) => {
                // From the port this node listens on, unlike other dials: hole punching depends on it.
                let opts = DialOpts::peer_id(peer)
                    .condition(PeerCondition::NotDialing)
                    .addresses(vec![address])
                    .build();
                match self.swarm.dial(opts) {
                    // Somebody else dials it already; the outcome comes to us as well.
                    Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
                    Err(error) => {
                        tracing::debug!(relay = %peer, %error, "relay cannot be dialled");
                        self.reach.relays.dial_failed(&peer, now);
                    }
                }
            }
            Step::Reserve(peer, circuit) => {
                let listener = self.swarm.listen_on(circuit);
                if let Err(error) = &listener {
                    tracing::warn!(relay = %peer, %error, "no place can be asked for at this relay");
                }
                self.reach.relays.listening(&peer, listener.ok(), now);
            }
        }
    }

    /// Whether an address of a listener may be shown: a relay says itself where it can be reached.
    pub(in crate::swarm) fn shows_listener(&self, id: ListenerId, address: &Multiaddr) -> bool {
        self.reach.relays.address_of(id).is_none_or(|relay| address::believable(address, relay))
    }

    /// A listener has ended; true when it stood for a place at a relay, which is sought again.
    pub(in crate::swarm) fn on_place_ended(
        &mut self,
        id: ListenerId,
        reason: &Result<(), io::Error>,
    ) -> bool {
        let Some((relay, held)) = self.reach.relays.ended(id, self.core.deps.clock.now()) else {
            return false;
        };
        let outcome = if held { "lost" } else { "refused" };
        self.core.metrics.reach.reservations.with_label_values(&[outcome]).inc();
        self.show_places();
        match held {
            true => tracing::warn!(%relay, ?reason, "place at the relay lost; it is asked for again"),
            false => tracing::info!(%relay, ?reason, "the relay gave no place; it is asked again later"),
        }
        true
    }

    fn show_places(&mut self) {
        self.changed = true;
        let held = i64::try_from(self.reach.relays.held()).unwrap_or(i64::MAX);
        self.core.metrics.reach.reservations_held.set(held);
    }

    pub(super) fn on_relay_client(&mut self, event: &relay::client::Event) {
        if let relay::client::Event::ReservationReqAccepted { relay_peer_id, renewal, .. } = event {
            let outcome = if *renewal { "renewed" } else { "reserved" };
            self.core.metrics.reach.reservations.with_label_values(&[outcome]).inc();
            if self.reach.relays.accepted(relay_peer_id) {
                tracing::info!(relay = %relay_peer_id, "place reserved: peers can connect through this relay");
            }
            self.show_places();
        }
    }

    pub(super) fn on_relay_server(&mut self, event: &relay::Event) {
        self.libp2p_metrics.record(event);
        let label = match event {
            relay::Event::ReservationReqAccepted { .. } => "reserved",
            relay::Event::ReservationReqDenied { .. } => "reservation_denied",
            relay::Event::ReservationTimedOut { .. } => "reservation_ended",
            relay::Event::CircuitReqAccepted { .. } => "connected",
            relay::Event::CircuitReqDenied { .. } => "connection_denied",
            relay::Event::CircuitClosed { .. } => "connection_ended",
            _ => return,
        };
        tracing::debug!(?event, "as a relay");
        self.core.metrics.reach.relaying.with_label_values(&[label]).inc();
    }

    pub(super) fn on_hole_punch(&mut self, event: &dcutr::Event) {
        self.libp2p_metrics.record(event);
        let peer = event.remote_peer_id;
        let outcome = match &event.result {
            Ok(_) => {
                tracing::info!(%peer, "connected directly: the relay is needed no more");
                "direct"
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "no direct connection could be made");
                "failed"
            }
        };
        self.core.metrics.reach.hole_punches.with_label_values(&[outcome]).inc();
    }

    pub(super) fn on_address_test(&mut self, event: &autonat::v2::client::Event) {
        let address = &event.tested_addr;
        let outcome = match &event.result {
            // The confirmation itself comes from the swarm.
            Ok(()) => "reached",
            Err(error) => {
                tracing::debug!(%address, by = %event.server, %error, "a peer could not connect to this address");
                self.reach.reachable.failed(address);
                self.on_reach_changed();
                "not_reached"
            }
        };
        self.core.metrics.reach.address_tests.with_label_values(&[outcome]).inc();
    }

    /// The connection that this node opened to try an address out is of no use any more.
    pub(super) fn on_tested_for_other(&mut self, event: &autonat::v2::server::Event) {
        tracing::debug!(peer = %event.client, address = %event.tested_addr, result = ?event.result, "tried out an address of a peer");
        let close = self.table.tried_out(&event.client, &event.tested_addr);
        self.apply(close.into_iter().collect());
    }

    pub(super) fn on_upnp(&mut self, event: &upnp::Event) {
        let outcome = match event {
            upnp::Event::NewExternalAddr { external_addr, .. } => {
                tracing::info!(address = %external_addr, "the router opened a port for this node");
                "opened"
            }
            upnp::Event::ExpiredExternalAddr { external_addr, .. } => {
                tracing::warn!(address = %external_addr, "the router no longer keeps the port open");
                "lost"
            }
            upnp::Event::GatewayNotFound => {
                tracing::info!("no router that opens ports (UPnP) was found");
                "no_router"
            }
            upnp::Event::NonRoutableGateway => {
                tracing::info!("the router itself is not on the internet: a port opened there is of no use");
                "router_not_public"
            }
        };
        self.core.metrics.reach.upnp.with_label_values(&[outcome]).inc();
    }

    /// Relays as others may see them.
    pub(in crate::swarm) fn relay_status(&self) -> Vec<RelayStatus> {
        let status = self.reach.relays.status();
        status
            .map(|(peer, address, state)| RelayStatus {
                peer: address::peer_of(peer),
                address: address.to_string(),
                state,
            })
            .collect()
    }

    /// Where peers see this node.
    pub(in crate::swarm) fn observed_status(&self) -> Vec<ObservedIp> {
        let observed = self.reach.reachable.observers().into_iter().take(MAX_OBSERVED);
        observed.map(|(ip, peers)| ObservedIp { ip, peers }).collect()
    }
}
