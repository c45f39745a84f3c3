//! Multicast DNS: whom this node hears on the local networks is shown to who asks, on a watch. libp2p remembers everything
//! that anybody says there, for as long as they like; when that becomes too much it is thrown away, and nothing is listened
//! to for a while. When it is too much only for the neighbours that are shown, it is listened anew after some minutes:
//! whoever is really there answers again, and what was invented in a burst does not.

use super::{Driver, behaviours};
use crate::address;
use libp2p::mdns;
use libp2p::swarm::{FromSwarm, NetworkBehaviour, NewListenAddr};
use meshwork_proto::UnixMillis;
use meshwork_proto::transport::LookUpError;
use std::time::Duration;

/// Addresses that libp2p may remember.
const MAX_HEARD: usize = 4096;
/// How long nothing is listened to after that.
const DEAF_FOR: Duration = Duration::from_secs(60);
/// How long after neighbours had to be displaced it is listened anew.
const ANEW_AFTER: Duration = Duration::from_secs(5 * 60);

impl Driver {
    pub(super) fn on_multicast(&mut self, event: mdns::Event) {
        match event {
            mdns::Event::Discovered(heard) => {
                let metrics = &self.core.metrics.reach;
                metrics.mdns_heard.inc_by(u64::try_from(heard.len()).unwrap_or(u64::MAX));
                for (peer, address) in heard {
                    if let Some(address) = address::of_peer(&address, &peer)
                        && self.reach.neighbours.heard(peer, &address).is_some()
                    {
                        metrics.mdns_dropped.inc();
                    }
                }
            }
            mdns::Event::Expired(gone) => {
                for (peer, address) in gone {
                    self.reach.neighbours.gone(&peer, &address);
                }
            }
        }
    }

    /// Shows whom multicast DNS hears, if that has changed, and keeps a flood within bounds. A few times a second at most:
    /// whatever is announced on the network costs no more than that.
    pub(super) fn show_neighbours(&mut self, now: UnixMillis) {
        self.bound_flood(now);
        if !self.reach.neighbours.take_changed() {
            return;
        }
        let count = i64::try_from(self.reach.neighbours.len()).unwrap_or(i64::MAX);
        self.core.metrics.reach.mdns_neighbours.set(count);
        let heard = match self.deafness() {
            Some(error) => Err(error),
            None => Ok(self.reach.neighbours.list()),
        };
        drop(self.core.neighbours.send_replace(heard));
    }

    /// Why nobody can be heard now.
    fn deafness(&self) -> Option<LookUpError> {
        if !self.core.options.reach.mdns {
            return Some(LookUpError::Off("multicast DNS"));
        }
        if self.reach.deaf_until.is_some() {
            let problem = format!(
                "more than {MAX_HEARD} addresses are announced by multicast DNS: none are listened to for {DEAF_FOR:?}"
            );
            return Some(LookUpError::Unavailable(problem));
        }
        (!self.swarm.behaviour().reach.mdns.is_enabled()).then(|| {
            LookUpError::Unavailable("multicast DNS is not available on this machine: see the log".into())
        })
    }

    fn bound_flood(&mut self, now: UnixMillis) {
        if let Some(until) = self.reach.deaf_until {
            if now >= until {
                self.reach.deaf_until = None;
                self.begin_to_listen();
            }
            return;
        }
        if self.reach.neighbours.take_crowded() && self.reach.listen_anew.is_none() {
            tracing::warn!(
                "more peers are announced by multicast DNS than are kept: listened to anew in {ANEW_AFTER:?}"
            );
            self.reach.listen_anew = Some(now.after(ANEW_AFTER));
        }
        if self.reach.listen_anew.is_some_and(|then| now >= then) {
            self.begin_to_listen();
        }
        let heard =
            self.swarm.behaviour().reach.mdns.as_ref().map_or(0, |mdns| mdns.discovered_nodes().len());
        if heard > MAX_HEARD {
            tracing::warn!(
                "{heard} addresses are announced by multicast DNS: none are listened to for {DEAF_FOR:?}"
            );
            self.swarm.behaviour_mut().reach.mdns = None.into();
            self.reach.neighbours.clear();
            self.reach.deaf_until = Some(now.after(DEAF_FOR));
        }
    }

    /// Forgets what was heard, and listens as at the start.
    fn begin_to_listen(&mut self) {
        self.reach.listen_anew = None;
        self.reach.neighbours.clear();
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
