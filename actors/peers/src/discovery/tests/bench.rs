//! What the stories of the tests are told with: peers, their records, and a notary that knows everybody.

use crate::discovery::gossip::Accepted;
use crate::discovery::gossip::{Believed, Checked, Genuine, Heard, Sealed, Told};
use meshwork_proto::codec;
use meshwork_proto::discovery::gossip::record_message;
use meshwork_proto::discovery::{Advertisement, NodeRecord, Notary, PeerConnection, SignedRecord};
use meshwork_proto::{PeerId, Role, UnixMillis};
use std::sync::Arc;

/// The peers of the stories.
pub(crate) const A: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
pub(crate) const B: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";
pub(crate) const C: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
/// This node itself.
pub(crate) const ME: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kMYSELF";
/// When the stories begin.
pub(crate) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

pub(crate) fn peer(text: &str) -> PeerId {
    text.parse().unwrap()
}

/// The `n`th of many.
pub(crate) fn nobody(n: usize) -> PeerId {
    crate::discovery::sim::name(n)
}

pub(crate) fn at(seconds: u64) -> UnixMillis {
    UnixMillis(NOW.0 + seconds * 1000)
}

/// Signs as one peer and knows the signatures of all: a signature is the signer's name and the length of the message.
pub(crate) struct Everybody(pub(crate) PeerId);

fn signature(peer: &PeerId, message: &[u8]) -> Vec<u8> {
    let sum: u64 = message.iter().zip(1..).map(|(byte, place): (_, u64)| u64::from(*byte) * place).sum();
    format!("{peer} {sum}").into_bytes()
}

impl Notary for Everybody {
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        Some(signature(&self.0, message))
    }

    fn verify(&self, peer: &PeerId, message: &[u8], given: &[u8]) -> bool {
        signature(peer, message) == given
    }
}

pub(crate) fn notary() -> Arc<dyn Notary> {
    Arc::new(Everybody(peer(ME)))
}

pub(crate) fn offers(addresses: &[&str]) -> Advertisement {
    Advertisement {
        agent: "meshwork/0.1.0".into(),
        tools: ["ocr".into()].into(),
        labels: ["gpu".into()].into(),
        free_slots: 2,
        slots: 2,
        running: 0,
        queued: 0,
        addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
    }
}

/// A record of a peer as it travels, signed by `by`.
pub(crate) fn signed_by(by: &PeerId, record: &NodeRecord, age_ms: u64) -> SignedRecord {
    let bytes = codec::encode(record).unwrap();
    let signature = signature(by, &record_message(&bytes));
    SignedRecord { record: bytes.into(), signature: signature.into(), age_ms }
}

pub(crate) fn record(of: &str, sequence: u64, offers: Advertisement) -> NodeRecord {
    NodeRecord { peer: peer(of), sequence, left: false, offers }
}

pub(crate) fn goodbye(of: &str, sequence: u64) -> NodeRecord {
    NodeRecord { peer: peer(of), sequence, left: true, offers: Advertisement::default() }
}

/// A record that its own peer signed.
pub(crate) fn signed(record: &NodeRecord, age_ms: u64) -> SignedRecord {
    signed_by(&record.peer, record, age_ms)
}

pub(crate) fn genuine(record: &NodeRecord) -> Genuine {
    let sealed = Sealed::read(&signed(record, 0)).unwrap();
    Genuine::check(Arc::new(sealed), &Everybody(peer(ME))).unwrap()
}

pub(crate) fn told(record: &NodeRecord, age_ms: u64) -> Told {
    Told { sealed: genuine(record).sealed().clone(), age_ms }
}

/// As they are after their signatures were checked.
pub(crate) fn checked(records: &[SignedRecord]) -> Checked {
    Heard::read(records).check(&Everybody(peer(ME)))
}

pub(crate) fn believed(record: &NodeRecord, new_at: UnixMillis) -> Believed {
    Believed { record: genuine(record), accepted: Accepted::Changed, new_at, instead_of: None }
}

pub(crate) fn up(of: &str) -> PeerConnection {
    let address = "/ip4/203.0.113.9/tcp/50000".into();
    PeerConnection::Up { peer: peer(of), role: Role::Member, address }
}

pub(crate) fn down(of: &str) -> PeerConnection {
    PeerConnection::Down { peer: peer(of) }
}
