//! Places at relays, as a state machine: which relays to connect to and to ask, one step after another, and when again
//! after a refusal or a loss. No swarm, no clock, no I/O.
//!
//! A place shows in the swarm as a listener, which libp2p renews by itself while the connection to the relay stands. Its
//! loss shows as up to three events, in any order; what counts here is the end of the listener, once. A place that is no
//! longer wanted is kept until it is lost: libp2p panics when a listener is closed while its renewal is under way.

use crate::address::{self, Endpoint};
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use meshwork_kit::Backoff;
use meshwork_proto::UnixMillis;
use rand::rngs::StdRng;
use std::time::Duration;

/// Places held, or asked for, at a time.
const PLACES: usize = 2;
/// Members remembered that serve as relays.
const MAX_MEMBERS: usize = 8;
/// A connection to a relay that takes longer counts as failed.
const DIAL_WITHIN: Duration = Duration::from_secs(20);

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Connect to a relay, from the port this node listens on: the relay tells others where it sees this node.
    Dial(PeerId, Multiaddr),
    /// Ask a connected relay for a place, by listening on this address.
    Reserve(PeerId, Multiaddr),
}

/// How far a relay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is under way; asked not before this time.
    Idle(UnixMillis),
    Dialling(UnixMillis),
    Reserving,
    Held,
}

#[derive(Debug)]
struct Relay {
    peer: PeerId,
    /// Without `/p2p/<id>`.
    address: Multiaddr,
    /// By the operator; else it is a member that serves as one.
    configured: bool,
    state: State,
    listener: Option<ListenerId>,
    /// Tries since a place was last held.
    attempt: u32,
}

/// The relays.
#[derive(Debug)]
pub(crate) struct Relays {
    relays: Vec<Relay>,
    retry: Backoff,
    rng: StdRng,
}

impl Relays {
    /// With the configured relays, in the order of preference.
    pub(crate) fn new(configured: Vec<Endpoint>, retry: Backoff, rng: StdRng) -> Self {
        let mut relays = Self { relays: Vec::new(), retry, rng };
        for Endpoint { address, peer } in configured {
            if let Some(peer) = peer {
                relays.add(peer, address, true);
            }
        }
        relays
    }

    fn add(&mut self, peer: PeerId, address: Multiaddr, configured: bool) {
        if self.of(&peer).is_none() {
            let state = State::Idle(UnixMillis(0));
            let relay = Relay { peer, address, configured, state, listener: None, attempt: 0 };
            self.relays.push(relay);
        }
    }

    fn of(&mut self, peer: &PeerId) -> Option<&mut Relay> {
        self.relays.iter_mut().find(|relay| relay.peer == *peer)
    }

    /// Whether any are configured.
    pub(crate) fn configured(&self) -> bool {
        self.relays.iter().any(|relay| relay.configured)
    }

    /// Whether a connection to the peer is needed for a place there.
    pub(crate) fn need(&self, peer: &PeerId) -> bool {
        self.relays.iter().any(|relay| relay.peer == *peer && relay.under_way())
    }

    /// Places held.
    pub(crate) fn held(&self) -> usize {
        self.relays.iter().filter(|relay| relay.state == State::Held).count()
    }

    /// What to do now that places are wanted. `members` are connected members that serve as relays.
    pub(crate) fn next(
        &mut self,
        now: UnixMillis,
        is_connected: impl Fn(&PeerId) -> bool,
        members: Vec<(PeerId, Multiaddr)>,
    ) -> Vec<Step> {
        self.give_up_slow_dials(now);
        self.relays.retain(|relay| relay.configured || relay.under_way() || is_connected(&relay.peer));
        for (peer, address) in members {
            if self.relays.iter().filter(|relay| !relay.configured).count() < MAX_MEMBERS {
                self.add(peer, address, false);
            }
        }
        let mut steps = Vec::new();
        let mut under_way = self.relays.iter().filter(|relay| relay.under_way()).count();
        for relay in &mut self.relays {
            if under_way >= PLACES {
                break;
            }
            if matches!(relay.state, State::Idle(due) if due <= now) {
                steps.push(relay.begin(now, is_connected(&relay.peer)));
                under_way += 1;
            }
        }
        steps
    }

    fn give_up_slow_dials(&mut self, now: UnixMillis) {
        let slow =
            |relay: &&Relay| matches!(relay.state, State::Dialling(since) if now.since(since) >= DIAL_WITHIN);
        let slow: Vec<PeerId> = self.relays.iter().filter(slow).map(|relay| relay.peer).collect();
        for peer in slow {
            self.dial_failed(&peer, now);
        }
    }

    /// A direct connection to a peer stands.
    pub(crate) fn connected(&mut self, peer: &PeerId) -> Option<Step> {
        let relay = self.of(peer)?;
        matches!(relay.state, State::Dialling(_)).then(|| relay.reserve())
    }

    /// A relay could not be connected to.
    pub(crate) fn dial_failed(&mut self, peer: &PeerId, now: UnixMillis) {
        if let Some(relay) = self.of(peer)
            && matches!(relay.state, State::Dialling(_))
        {
            self.retry_later(*peer, now);
        }
    }

    /// The listener that stands for a place is there, or it could not be made.
    pub(crate) fn listening(&mut self, peer: &PeerId, listener: Option<ListenerId>, now: UnixMillis) {
        let Some(relay) = self.of(peer) else { return };
        relay.listener = listener;
        if listener.is_none() {
            self.retry_later(*peer, now);
        }
    }

    /// The relay gave a place, or renewed it; true when it is a new one.
    pub(crate) fn accepted(&mut self, peer: &PeerId) -> bool {
        let Some(relay) = self.of(peer) else { return false };
        let new = relay.state == State::Reserving;
        if new {
            relay.state = State::Held;
            relay.attempt = 0;
        }
        new
    }

    /// A listener has ended; if it stood for a place: at which relay, and whether it was held.
    pub(crate) fn ended(&mut self, listener: ListenerId, now: UnixMillis) -> Option<(PeerId, bool)> {
        let relay = self.relays.iter_mut().find(|relay| relay.listener == Some(listener))?;
        relay.listener = None;
        let (peer, held) = (relay.peer, relay.state == State::Held);
        self.retry_later(peer, now);
        Some((peer, held))
    }

    /// The address of the relay whose place a listener stands for.
    pub(crate) fn address_of(&self, listener: ListenerId) -> Option<&Multiaddr> {
        self.relays.iter().find(|relay| relay.listener == Some(listener)).map(|relay| &relay.address)
    }

    /// Relays, where they are, and how far each is.
    pub(crate) fn status(&self) -> impl Iterator<Item = (&PeerId, &Multiaddr, &'static str)> {
        self.relays.iter().map(|relay| (&relay.peer, &relay.address, relay.state.name()))
    }

    fn retry_later(&mut self, peer: PeerId, now: UnixMillis) {
        let Some(relay) = self.relays.iter_mut().find(|relay| relay.peer == peer) else { return };
        relay.attempt = relay.attempt.saturating_add(1);
        relay.state = State::Idle(now.after(self.retry.delay(relay.attempt, &mut self.rng)));
    }
}

impl Relay {
    fn under_way(&self) -> bool {
        !matches!(self.state, State::Idle(_))
    }

    fn begin(&mut self, now: UnixMillis, connected: bool) -> Step {
        if connected {
            return self.reserve();
        }
        self.state = State::Dialling(now);
        Step::Dial(self.peer, self.address.clone())
    }

    fn reserve(&mut self) -> Step {
        self.state = State::Reserving;
        let relay = address::split(self.address.clone()).address.with(Protocol::P2p(self.peer));
        Step::Reserve(self.peer, relay.with(Protocol::P2pCircuit))
    }
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Idle(_) => "waiting",
            Self::Dialling(_) => "connecting",
            Self::Reserving => "reserving",
            Self::Held => "reserved",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn at(seconds: u64) -> UnixMillis {
        NOW.after(Duration::from_secs(seconds))
    }

    fn address(n: usize) -> Multiaddr {
        format!("/ip4/192.0.2.{n}/tcp/4001").parse().unwrap()
    }

    fn relays(configured: &[PeerId]) -> Relays {
        let retry =
            Backoff { jitter: 0.0, ..Backoff::doubling(Duration::from_secs(1), Duration::from_secs(60)) };
        let endpoints = configured.iter().enumerate();
        let endpoints =
            endpoints.map(|(n, peer)| Endpoint { address: address(n), peer: Some(*peer) }).collect();
        Relays::new(endpoints, retry, StdRng::seed_from_u64(1))
    }

    /// Takes a place at a relay that is not connected yet.
    fn take_place(relays: &mut Relays, peer: PeerId, now: UnixMillis) -> ListenerId {
        let steps = relays.next(now, |_| false, Vec::new());
        assert!(
            steps.iter().any(|step| matches!(step, Step::Dial(dialled, _) if *dialled == peer)),
            "{steps:?}"
        );
        let Some(Step::Reserve(_, circuit)) = relays.connected(&peer) else { panic!() };
        assert!(circuit.to_string().ends_with(&format!("/p2p/{peer}/p2p-circuit")), "{circuit}");
        let listener = ListenerId::next();
        relays.listening(&peer, Some(listener), now);
        assert!(relays.accepted(&peer));
        assert!(!relays.accepted(&peer), "a renewal is no new place");
        listener
    }

    #[test]
    fn configured_relays_come_first_then_members_and_never_more_than_two() {
        let (configured, members): (Vec<_>, Vec<_>) =
            ((0..1).map(|_| PeerId::random()).collect(), (0..5).map(|_| PeerId::random()).collect());
        let mut relays = relays(&configured);
        let known: Vec<_> = members.iter().map(|peer| (*peer, address(9))).collect();
        let steps = relays.next(NOW, |peer| members.contains(peer), known.clone());
        assert_eq!(steps[0], Step::Dial(configured[0], address(0)));
        assert!(matches!(&steps[1], Step::Reserve(peer, _) if *peer == members[0]), "{steps:?}");
        assert_eq!(steps.len(), 2);
        assert!(relays.next(NOW, |peer| members.contains(peer), known).is_empty(), "both are under way");
        assert!(relays.need(&configured[0]) && relays.need(&members[0]) && !relays.need(&members[1]));
    }

    #[test]
    fn a_lost_place_is_taken_again_once_however_many_events_tell_of_the_loss() {
        let relay = PeerId::random();
        let mut relays = relays(&[relay]);
        let listener = take_place(&mut relays, relay, NOW);
        assert_eq!(relays.held(), 1);
        assert_eq!(relays.ended(listener, NOW), Some((relay, true)));
        assert_eq!(relays.ended(listener, NOW), None);
        assert_eq!(relays.held(), 0);
        assert!(relays.next(NOW, |_| false, Vec::new()).is_empty(), "after a pause");
        take_place(&mut relays, relay, at(1));
    }

    #[test]
    fn refusals_and_failed_dials_are_followed_by_growing_pauses() {
        let relay = PeerId::random();
        let mut relays = relays(&[relay]);
        let mut now = 0;
        for pause in [1, 2, 4, 8] {
            assert_eq!(relays.next(at(now), |_| false, Vec::new()).len(), 1);
            relays.dial_failed(&relay, at(now));
            assert!(relays.next(at(now + pause - 1), |_| false, Vec::new()).is_empty());
            now += pause;
        }
        assert_eq!(relays.next(at(now), |_| false, Vec::new()).len(), 1);
        let slow = now + DIAL_WITHIN.as_secs();
        assert!(relays.next(at(slow), |_| false, Vec::new()).is_empty(), "given up, and a pause");
        assert!(!relays.need(&relay));
        assert_eq!(relays.next(at(slow + 16), |_| false, Vec::new()).len(), 1);
        assert!(relays.connected(&relay).is_some());
        relays.listening(&relay, None, at(slow + 16));
        assert!(!relays.need(&relay));
    }

    #[test]
    fn a_member_that_has_left_is_forgotten() {
        let member = PeerId::random();
        let mut relays = relays(&[]);
        assert_eq!(relays.next(NOW, |_| true, vec![(member, address(1))]).len(), 1);
        let listener = ListenerId::next();
        relays.listening(&member, Some(listener), NOW);
        relays.accepted(&member);
        relays.ended(listener, NOW);
        relays.next(NOW, |_| false, Vec::new());
        assert_eq!(relays.status().count(), 0);
        for _ in 0..100 {
            relays.next(NOW, |_| true, vec![(PeerId::random(), address(1))]);
        }
        assert_eq!(relays.status().count(), MAX_MEMBERS);
    }
}
