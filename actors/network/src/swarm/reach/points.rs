//! Rendezvous points: looking up who is registered there, registering this node, and being a point for others.
//!
//! The point is connected already when it is asked; it need not be a member, and its connection is spared while the
//! answer is due. What a node registers is its signed record with its external addresses.

use super::Driver;
use super::look_ups::{MAX_FOUND, Question};
use super::needed::Need;
use crate::address;
use crate::swarm::Act;
use libp2p::rendezvous::{self, ErrorCode, Namespace, client, server};
use libp2p::{Multiaddr, PeerId};
use meshwork_proto::transport::LookUpError;
use std::time::Duration;

/// Its name where it is off.
pub(crate) const TITLE: &str = "asking rendezvous points";

impl Driver {
    /// Begins what is asked of a point. No question is left open when it is done at once.
    pub(super) fn ask_point(
        &mut self,
        point: PeerId,
        name: &str,
        act: Act,
        deadline_ms: u64,
    ) -> Result<Vec<Question>, LookUpError> {
        if !self.table.is_connected(&point) {
            return Err(LookUpError::Unavailable(format!(
                "the connection to rendezvous point {point} was lost"
            )));
        }
        let Some(client) = self.swarm.behaviour_mut().reach.rendezvous.as_mut() else {
            return Err(LookUpError::Off(TITLE));
        };
        let long =
            |_| LookUpError::Refused(format!("names have at most {} bytes", rendezvous::MAX_NAMESPACE));
        let namespace = Namespace::new(name.to_owned()).map_err(long)?;
        let question = |enter| Question::Rendezvous { point, name: name.to_owned(), enter };
        let open = match act {
            Act::LookUp => {
                let limit = u64::try_from(MAX_FOUND).ok();
                // Two who ask the same share the answer.
                if !self.reach.look_ups.waits_for(&question(false)) {
                    client.discover(Some(namespace), None, limit, point);
                }
                vec![question(false)]
            }
            Act::Enter { ttl_s } => {
                // What every point accepts, by the protocol's recommendation.
                let ttl = ttl_s.clamp(rendezvous::MIN_TTL, rendezvous::MAX_TTL);
                client.register(namespace, point, Some(ttl)).map_err(|error| match error {
                    client::RegisterError::NoExternalAddresses => LookUpError::NoAddress,
                    client::RegisterError::FailedToMakeRecord(error) => {
                        LookUpError::Refused(error.to_string())
                    }
                })?;
                vec![question(true)]
            }
            Act::Withdraw => {
                // The protocol has no answer to this.
                client.unregister(namespace, point);
                Vec::new()
            }
        };
        let until = self.core.deps.clock.now().after(Duration::from_millis(deadline_ms));
        self.reach.needed.need(point, Need::Rendezvous, until);
        Ok(open)
    }

    /// A point has answered.
    pub(super) fn on_point(&mut self, event: client::Event) {
        let (question, answer) = match event {
            client::Event::Discovered { rendezvous_node, registrations, cookie } => {
                let Some(namespace) = cookie.namespace() else { return };
                let question = asked(rendezvous_node, namespace, false);
                for registration in registrations.iter().take(MAX_FOUND) {
                    self.found_registered(&question, &registration.record);
                }
                (question, Ok(()))
            }
            client::Event::DiscoverFailed { rendezvous_node, namespace: Some(namespace), error } => {
                (asked(rendezvous_node, &namespace, false), Err(in_words(rendezvous_node, error)))
            }
            client::Event::Registered { rendezvous_node, namespace, .. } => {
                (asked(rendezvous_node, &namespace, true), Ok(()))
            }
            client::Event::RegisterFailed { rendezvous_node, namespace, error } => {
                (asked(rendezvous_node, &namespace, true), Err(in_words(rendezvous_node, error)))
            }
            client::Event::DiscoverFailed { .. } | client::Event::Expired { .. } => return,
        };
        let ended = self.reach.look_ups.answered(&question, answer);
        self.ended(ended);
    }

    fn found_registered(&mut self, question: &Question, record: &libp2p::core::PeerRecord) {
        let peer = record.peer_id();
        if peer == self.core.identity.libp2p_id() {
            return;
        }
        let addresses: Vec<Multiaddr> =
            record.addresses().iter().filter_map(|address| address::of_peer(address, &peer)).collect();
        if !addresses.is_empty() {
            self.reach.look_ups.found(question, peer, &addresses);
        }
    }

    /// Somebody used this node as a point.
    pub(super) fn on_own_point(&self, event: &server::Event) {
        let outcome = match event {
            server::Event::PeerRegistered { .. } => "kept",
            server::Event::PeerNotRegistered { .. } => "refused",
            server::Event::PeerUnregistered { .. } => "withdrawn",
            server::Event::RegistrationExpired(_) => "ended",
            server::Event::DiscoverServed { .. } | server::Event::DiscoverNotServed { .. } => return,
        };
        tracing::debug!(?event, "as a rendezvous point");
        self.core.metrics.reach.entries.with_label_values(&["rendezvous", outcome]).inc();
    }
}

fn asked(point: PeerId, namespace: &Namespace, enter: bool) -> Question {
    Question::Rendezvous { point, name: namespace.to_string(), enter }
}

fn in_words(point: PeerId, error: ErrorCode) -> LookUpError {
    match error {
        // Also what libp2p says when there was no answer at all.
        ErrorCode::Unavailable | ErrorCode::InternalError => LookUpError::Unavailable(format!(
            "rendezvous point {point} did not answer, or takes no more: does it serve the rendezvous protocol?"
        )),
        ErrorCode::InvalidNamespace => LookUpError::Refused("it does not take this name".into()),
        ErrorCode::InvalidSignedPeerRecord => {
            LookUpError::Refused("it cannot read this node's signed record".into())
        }
        ErrorCode::InvalidTtl => LookUpError::Refused("it does not take entries for so long".into()),
        ErrorCode::InvalidCookie => LookUpError::Refused("it has forgotten an earlier look-up".into()),
        ErrorCode::NotAuthorized => LookUpError::Refused("this node is not allowed to".into()),
    }
}
