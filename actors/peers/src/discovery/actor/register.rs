//! Peers that are entered by hand.

use super::Discovery;
use crate::address::{Address, AddressProblem};
use crate::discovery::policy::Dial;
use meshwork_kit::{Ctx, Reply};
use meshwork_proto::PeerId;
use meshwork_proto::discovery::{FoundPeer, PeerState, RegisterError, RegisterPeer, Registered, Source};
use meshwork_proto::transport::{ConnectError, ConnectedPeer};
use std::collections::BTreeSet;
use std::time::Duration;

/// Most addresses in one request.
const MAX_GIVEN: usize = 64;

/// What was asked for, once it was looked at.
struct Wanted {
    peer: Option<PeerId>,
    /// As they are dialled.
    addresses: Vec<String>,
}

type Answer = Result<Registered, RegisterError>;

/// Whether a peer was new to the book.
enum New {
    /// It was looked up at once.
    Told(bool),
    /// Who it is only a connection says: these were known before. Looked up after, it would be known by that connection.
    Unless(BTreeSet<PeerId>),
}

impl New {
    fn is(&self, peer: &PeerId) -> bool {
        match self {
            Self::Told(new) => *new,
            Self::Unless(known) => !known.contains(peer),
        }
    }
}

impl Discovery {
    /// Enters a peer, and connects to it if that is wanted; answers after.
    pub(super) fn register(&mut self, request: RegisterPeer, reply: Reply<Answer>, ctx: &mut Ctx<'_, Self>) {
        let within = Duration::from_millis(request.connect_within_ms);
        let wanted = match self.look_at(&request) {
            Ok(wanted) => wanted,
            Err(error) => return reply.send(Err(error)),
        };
        let new = match &wanted.peer {
            Some(peer) => {
                let found = FoundPeer { peer: Some(peer.clone()), addresses: wanted.addresses.clone() };
                New::Told(self.step(ctx, |core, now, _| core.found(now, Source::Manual, &[found])).1 > 0)
            }
            None => New::Unless(self.core.book.iter().map(|(peer, _)| peer.clone()).collect()),
        };
        match wanted.peer {
            Some(peer) if within.is_zero() => reply.send(self.registered(&peer, &new, None, ctx)),
            None if within.is_zero() => {
                let problem =
                    "without a peer id it must be dialled to be entered: allow time to connect".into();
                let address = wanted.addresses.join(", ");
                reply.send(Err(RegisterError::Unreachable { address, problem }));
            }
            peer => self.connect_now(peer, new, wanted.addresses, within, reply, ctx),
        }
    }

    fn look_at(&self, request: &RegisterPeer) -> Result<Wanted, RegisterError> {
        if request.peer.is_none() && request.addresses.is_empty() {
            return Err(RegisterError::Nothing);
        }
        let mut peer = request.peer.clone();
        let mut addresses = Vec::new();
        for text in request.addresses.iter().take(MAX_GIVEN) {
            let cut = || text.chars().take(200).collect();
            let wrong = |problem: String| RegisterError::Address { address: cut(), problem };
            let address: Address =
                text.parse().map_err(|problem: AddressProblem| wrong(problem.to_string()))?;
            match (&peer, address.peer) {
                (Some(expected), Some(named)) if *expected != named => {
                    return Err(wrong(format!("it leads to peer {named}, not to {expected}")));
                }
                (None, Some(named)) => peer = Some(named),
                _ => {}
            }
            addresses.push(address.text);
        }
        if let Some(peer) = &peer {
            if *peer == self.shared.local_peer {
                return Err(RegisterError::Ourselves(peer.clone()));
            }
            if self.core.book.get(peer).is_some_and(|entry| entry.shut_out.is_some()) {
                return Err(RegisterError::Banned(peer.clone()));
            }
        }
        Ok(Wanted { peer, addresses })
    }

    fn connect_now(
        &mut self,
        peer: Option<PeerId>,
        new: New,
        given: Vec<String>,
        within: Duration,
        reply: Reply<Answer>,
        ctx: &mut Ctx<'_, Self>,
    ) {
        let mut addresses = given;
        // What was known before may still be right, if what was given is wrong.
        if let Some(entry) = peer.as_ref().and_then(|peer| self.core.book.get(peer)) {
            let known = entry.best_first().into_iter().map(|known| known.text.to_string());
            let known: Vec<String> = known.filter(|address| !addresses.contains(address)).collect();
            addresses.extend(known);
        }
        let dial = Dial { peer, addresses, source: Source::Manual };
        let connecting = self.connecting(&dial, within);
        ctx.spawn_then(connecting, move |actor, result, ctx| {
            actor.shared.metrics.dialled(&result);
            reply.send(actor.connected(&dial, &new, result, ctx));
        });
    }

    fn connected(
        &mut self,
        dial: &Dial,
        new: &New,
        result: Result<ConnectedPeer, ConnectError>,
        ctx: &mut Ctx<'_, Self>,
    ) -> Answer {
        self.step(ctx, |core, now, _| core.tried(now, dial, &result));
        match (result, &dial.peer) {
            (Ok(found), asked) => {
                if asked.is_none() {
                    let bare = FoundPeer { peer: Some(found.peer.clone()), addresses: Vec::new() };
                    self.step(ctx, |core, now, _| core.found(now, Source::Manual, &[bare]));
                }
                let mut registered = self.registered(&found.peer, new, None, ctx)?;
                // The transport has it connected; its own word of that may still be on the way here.
                registered.state = PeerState::Connected;
                Ok(registered)
            }
            (Err(error), Some(peer)) => self.registered(peer, new, Some(error.to_string()), ctx),
            (Err(error), None) => Err(RegisterError::Unreachable {
                address: dial.addresses.join(", "),
                problem: error.to_string(),
            }),
        }
    }

    fn registered(&self, peer: &PeerId, new: &New, problem: Option<String>, ctx: &Ctx<'_, Self>) -> Answer {
        match self.core.book.state_of(ctx.now(), peer) {
            Some(state) => Ok(Registered { peer: peer.clone(), state, new: new.is(peer), problem }),
            // The book is full of peers that have proven themselves.
            None => Err(RegisterError::Unreachable {
                address: peer.to_string(),
                problem: problem.unwrap_or_else(|| "the peer book is full".into()),
            }),
        }
    }
}
