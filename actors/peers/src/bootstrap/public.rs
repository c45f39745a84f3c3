//! The public bootstrap list: well-known nodes of the public Kademlia table.
//!
//! They are no members of any mesh, so no contact with them ever lasts; they lead into the public table, where nodes that
//! use it enter themselves.

use super::places::Reading;

/// The nodes that the Python nodes use too.
pub const PUBLIC_LIST: [&str; 4] = [
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvbUcqanj75Nb",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt",
];

/// The contacts in a list.
pub(super) fn read(list: &[String]) -> Reading {
    let mut reading = Reading::default();
    for entry in list {
        reading.add(entry, entry);
    }
    reading
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_four_nodes_that_can_be_told_apart() {
        let reading = read(&PUBLIC_LIST.map(str::to_owned));
        let found = reading.found();
        assert_eq!(found.len(), 4);
        assert!(found.iter().all(|contact| contact.peer.is_some()) && reading.skipped.is_empty());
    }
}
