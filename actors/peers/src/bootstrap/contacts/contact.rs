//! One first contact: who and where it is, what is done about it, and how it is shown.

use super::super::places::Place;
use crate::address::Address;
use meshwork_kit::Backoff;
use meshwork_proto::bootstrap::{ContactState, ContactView};
use meshwork_proto::discovery::{FoundPeer, Source};
use meshwork_proto::transport::PeerTarget;
use meshwork_proto::{PeerId, UnixMillis};
use rand::Rng;
use std::collections::BTreeSet;
use std::time::Duration;

/// How a contact is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bootstrap) enum How {
    /// The transport keeps the connection.
    Keep(PeerTarget),
    /// The connection may end.
    Connect { peer: Option<PeerId>, addresses: Vec<String> },
}

/// What is done about a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A try is under way.
    Dialling,
    /// The next try has its time.
    Waiting,
    /// It was reached: nothing while it is connected, and a try now and then once it is lost.
    Resting,
}

impl How {
    /// The peer that must answer, if one is named.
    fn named(&self) -> Option<PeerId> {
        match self {
            Self::Keep(PeerTarget::Id(peer)) => Some(peer.clone()),
            Self::Keep(PeerTarget::Address(text)) => text.parse::<Address>().ok()?.peer,
            Self::Connect { peer, .. } => peer.clone(),
        }
    }

    /// Without their order: name servers mix it up on purpose.
    pub(super) fn addresses(&self) -> BTreeSet<&String> {
        match self {
            Self::Keep(_) => BTreeSet::new(),
            Self::Connect { addresses, .. } => addresses.iter().collect(),
        }
    }
}

/// A contact.
#[derive(Debug, Clone)]
pub(super) struct Contact {
    pub(super) source: Source,
    pub(super) how: How,
    /// Who must answer, if that is said.
    named: Option<PeerId>,
    /// The places that name it; none for one of the configuration.
    pub(super) places: BTreeSet<Place>,
    pub(super) step: Step,
    pub(super) next: Option<UnixMillis>,
    reached: Option<(PeerId, Option<String>)>,
    /// Reached a moment ago: that its peer is connected may not have been told yet.
    fresh: bool,
    /// It was reached, and its connection is gone.
    lost: bool,
    attempts: u32,
    problem: Option<String>,
}

impl Contact {
    /// A contact that is due at once.
    pub(super) fn new(source: Source, how: How, now: UnixMillis) -> Self {
        Self {
            source,
            named: how.named(),
            how,
            places: BTreeSet::new(),
            step: Step::Waiting,
            next: Some(now),
            reached: None,
            fresh: false,
            lost: false,
            attempts: 0,
            problem: None,
        }
    }

    /// Who answered last.
    fn answered(&self) -> Option<&PeerId> {
        self.reached.as_ref().map(|(peer, _)| peer)
    }

    /// How far it is, when these peers are connected.
    pub(super) fn state(&self, connected: &BTreeSet<PeerId>) -> ContactState {
        let peer = self.named.as_ref().or(self.answered());
        if self.fresh || peer.is_some_and(|peer| connected.contains(peer)) {
            return ContactState::Connected;
        }
        match self.step {
            Step::Dialling => ContactState::Dialling,
            Step::Waiting => ContactState::Waiting,
            Step::Resting => ContactState::Lost,
        }
    }

    /// It was reached, and is tried as one that was lost.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Follows who is connected, once it was reached: while its peer is not, it has a next try, after the longest pause.
    pub(super) fn follow(
        &mut self,
        now: UnixMillis,
        connected: &BTreeSet<PeerId>,
        backoff: Backoff,
        rng: &mut impl Rng,
    ) {
        if self.step != Step::Resting || self.fresh {
            return;
        }
        if self.answered().is_some_and(|peer| connected.contains(peer)) {
            (self.lost, self.next) = (false, None);
        } else if self.next.is_none() {
            self.lost = true;
            self.next = Some(now.after(backoff.delay(u32::MAX, rng)));
        }
    }

    /// No place names it any more.
    pub(super) fn is_dropped(&self) -> bool {
        matches!(self.how, How::Connect { .. }) && self.places.is_empty()
    }

    /// It is tried at that time, whatever came of earlier tries.
    pub(super) fn begin(&mut self, at: UnixMillis) {
        self.step = Step::Waiting;
        (self.fresh, self.lost) = (false, false);
        self.attempts = 0;
        self.next = Some(at);
    }

    /// A peer answered. Gives what the peer book should know of it.
    pub(super) fn answered_by(&mut self, peer: PeerId, address: Option<String>) -> Option<FoundPeer> {
        let learned = self.learned(&peer, address.as_deref());
        self.step = Step::Resting;
        (self.fresh, self.lost) = (true, false);
        self.attempts = 0;
        self.problem = None;
        self.next = None;
        self.reached = Some((peer, address));
        learned
    }

    /// By now it was told whether the peer that answered is connected.
    pub(super) fn no_longer_fresh(&mut self) {
        self.fresh = false;
    }

    /// Nobody answered.
    pub(super) fn failed(
        &mut self,
        now: UnixMillis,
        problem: String,
        for_long: bool,
        backoff: Backoff,
        rng: &mut impl Rng,
    ) {
        self.attempts = self.attempts.saturating_add(1);
        let attempt = if for_long || self.lost { u32::MAX } else { self.attempts };
        self.step = if self.lost { Step::Resting } else { Step::Waiting };
        self.fresh = false;
        self.problem = Some(problem);
        self.next = Some(now.after(backoff.delay(attempt, rng)));
    }

    fn learned(&self, peer: &PeerId, address: Option<&str>) -> Option<FoundPeer> {
        let addresses: Vec<String> = match (address, &self.how) {
            (Some(address), _) => vec![address.to_owned()],
            (None, How::Keep(PeerTarget::Address(address))) => vec![address.clone()],
            // Without an id, each of several addresses could be of another peer.
            (None, How::Connect { peer: None, addresses }) if addresses.len() == 1 => addresses.clone(),
            _ => return None,
        };
        Some(FoundPeer { peer: Some(peer.clone()), addresses })
    }

    /// As it is shown, when these peers are connected.
    pub(super) fn view(&self, now: UnixMillis, connected: &BTreeSet<PeerId>) -> ContactView {
        let state = self.state(connected);
        // Whom an address names is only a claim, but for one who is connected.
        let named = self.named.as_ref().filter(|_| state == ContactState::Connected);
        let peer = self.answered().or(named);
        let address = match (&self.reached, &self.how) {
            (Some((peer, Some(address))), _) if !address.contains("/p2p/") => format!("{address}/p2p/{peer}"),
            (Some((_, Some(address))), _) => address.clone(),
            (_, How::Keep(target)) => target.to_string(),
            (_, How::Connect { addresses, .. }) => addresses.first().cloned().unwrap_or_default(),
        };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        ContactView {
            address,
            source: self.source,
            state,
            peer: peer.cloned(),
            attempts: self.attempts,
            problem: self.problem.clone(),
            next_try_in_ms: self.next.map(|next| millis(next.since(now))),
        }
    }
}
