//! First contacts as the simulator uses them: the real table with the default pauses, filled by one name that always leads
//! to the same addresses. What is actor and network here is the simulator's there.

use super::BootstrapOptions;
use super::contacts::{Contacts, How, Outcome, Pauses};
use super::places::Place;
use meshwork_proto::discovery::FoundPeer;
use meshwork_proto::{PeerId, UnixMillis};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The first contacts of one virtual node.
pub(crate) struct FirstContacts {
    table: Contacts,
    rng: StdRng,
    /// Those that answered since it was told last who is connected.
    answered: Vec<String>,
}

impl FirstContacts {
    /// Of a node whose name leads to these addresses, its own among them.
    pub(crate) fn new(now: UnixMillis, own: PeerId, addresses: &[String], seed: u64) -> Self {
        let BootstrapOptions { backoff: kept, found_backoff: found, max_dials, .. } =
            BootstrapOptions::default();
        let mut table = Contacts::new(Pauses { kept, found }, max_dials, Some(own));
        let nameless = |address: &String| FoundPeer { peer: None, addresses: vec![address.clone()] };
        table.merge(now, &Place::Dns("mesh.example".into()), addresses.iter().map(nameless).collect());
        Self { table, rng: StdRng::seed_from_u64(seed), answered: Vec::new() }
    }

    /// Follows who is connected. Gives the addresses to be dialled now.
    pub(crate) fn due(&mut self, now: UnixMillis, connected: BTreeSet<PeerId>) -> Vec<String> {
        self.table.set_connected(now, Arc::new(connected), &mut self.rng);
        for key in std::mem::take(&mut self.answered) {
            self.table.no_longer_fresh(now, &key, &mut self.rng);
        }
        let addresses = |how| match how {
            How::Connect { addresses, .. } => addresses,
            How::Keep(_) => Vec::new(),
        };
        self.table.due(now).into_iter().flat_map(|due| addresses(due.how)).collect()
    }

    /// What came of a dial: who answered, if anybody did. Gives what the peer book is told.
    pub(crate) fn tried(&mut self, now: UnixMillis, address: &str, who: Option<PeerId>) -> Option<FoundPeer> {
        let outcome = match who {
            Some(peer) => Outcome::Reached { peer, address: Some(address.into()) },
            None => {
                Outcome::Failed { problem: "nobody answered".into(), for_long: false, ourselves: Vec::new() }
            }
        };
        self.answered.push(address.into());
        self.table.tried(now, address, outcome, &mut self.rng).map(|(_, found)| found)
    }
}
