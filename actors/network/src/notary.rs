//! Signing this node's records and checking those of others: with the key that is its peer id, so that a signature needs
//! nothing else to be checked.

use crate::address;
use crate::identity::NodeIdentity;
use libp2p::identity::PublicKey;
use meshwork_proto::PeerId;
use meshwork_proto::discovery::Notary;

/// Multihash code of ids that hold the whole key, as those of ed25519 keys do.
const IDENTITY_HASH: u64 = 0x00;

impl Notary for NodeIdentity {
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.keypair().sign(message).ok()
    }

    fn verify(&self, peer: &PeerId, message: &[u8], signature: &[u8]) -> bool {
        key_of(peer).is_some_and(|key| key.verify(message, signature))
    }
}

/// The key inside a peer id; none for an id that is only the hash of its key.
fn key_of(peer: &PeerId) -> Option<PublicKey> {
    let id = address::libp2p_id(peer)?;
    let hash = id.as_ref();
    if hash.code() != IDENTITY_HASH {
        return None;
    }
    PublicKey::try_decode_protobuf(hash.digest()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_peer_and_one_message_only() {
        let (alice, bob) = (NodeIdentity::generate(), NodeIdentity::generate());
        let signature = alice.sign(b"hello").unwrap();
        assert!(bob.verify(&alice.peer_id(), b"hello", &signature));
        assert!(!bob.verify(&bob.peer_id(), b"hello", &signature));
        assert!(!bob.verify(&alice.peer_id(), b"hallo", &signature));
        assert!(!bob.verify(&alice.peer_id(), b"hello", &signature[1..]));
    }

    #[test]
    fn an_id_that_does_not_hold_its_key_verifies_nothing() {
        let signature = NodeIdentity::generate().sign(b"hello").unwrap();
        let hashed = "QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN".parse().unwrap();
        assert!(!NodeIdentity::generate().verify(&hashed, b"hello", &signature));
    }
}
