//! Where contacts are read from, and what a reading gives.

use super::dns::Dns;
use super::{BootstrapOptions, EnvironmentPeers, file, public};
use crate::address::Address;
use crate::clip::clip;
use crate::sources::entry::MAX_PER_PEER;
use futures::future::BoxFuture;
use meshwork_proto::bootstrap::{BootstrapError, SkippedEntry};
use meshwork_proto::discovery::{FoundPeer, Source};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Most entries of one place that become contacts.
pub(super) const MAX_ENTRIES: usize = 256;
/// Most entries that are told of, when they cannot be used.
const MAX_SKIPPED: usize = 32;

/// Where contacts are read from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Environment,
    File(PathBuf),
    Dns(String),
    Public,
}

impl Place {
    pub(super) const fn source(&self) -> Source {
        match self {
            Self::Environment => Source::Environment,
            Self::File(_) => Source::File,
            Self::Dns(_) => Source::Dns,
            Self::Public => Source::PublicList,
        }
    }

    /// Whether it may say something else later.
    pub(super) const fn changes(&self) -> bool {
        matches!(self, Self::File(_) | Self::Dns(_))
    }

    /// All that are configured.
    pub(super) fn configured(options: &BootstrapOptions) -> Vec<Self> {
        let environment = options.environment.is_set().then_some(Self::Environment);
        let public = options.use_public_list.then_some(Self::Public);
        let files = options.files.iter().cloned().map(Self::File);
        let names = options.dns.names.iter().cloned().map(Self::Dns);
        environment.into_iter().chain(files).chain(names).chain(public).collect()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("the environment"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Dns(name) => f.write_str(name),
            Self::Public => f.write_str("the public list"),
        }
    }
}

/// What a place holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading {
    addresses: Vec<Address>,
    /// Entries that cannot be used; the last one may stand for many.
    pub(super) skipped: Vec<SkippedEntry>,
    unused: usize,
}

impl Reading {
    /// Takes an entry, or notes why it cannot be used. `place` is where it stands.
    pub(super) fn add(&mut self, entry: &str, place: &str) {
        match entry.parse::<Address>() {
            Ok(address) => self.add_address(address),
            Err(problem) => self.skip(entry, place, problem.into()),
        }
    }

    pub(super) fn add_address(&mut self, address: Address) {
        if self.addresses.len() < MAX_ENTRIES {
            self.addresses.push(address);
        } else {
            self.unused += 1;
        }
    }

    /// Notes an entry that cannot be used. Its text is shown only if it is an address of some kind: whoever names a file
    /// to be read shall not see by its errors what else is in it.
    pub(super) fn skip(&mut self, entry: &str, place: &str, problem: String) {
        if self.skipped.len() >= MAX_SKIPPED {
            self.unused += 1;
            return;
        }
        let kinds = ["/ip4/", "/ip6/", "/dns/", "/dns4/", "/dns6/", "/dnsaddr/"];
        let shown = if place == entry || kinds.iter().any(|kind| entry.trim_start().starts_with(kind)) {
            clip(entry.trim(), 160)
        } else {
            place.to_owned()
        };
        self.skipped.push(SkippedEntry { entry: shown, problem });
    }

    /// The contacts, addresses of one peer together.
    pub(super) fn found(&self) -> Vec<FoundPeer> {
        by_peer(&self.addresses)
    }

    /// The contacts and what could not be used of the place.
    pub(super) fn into_parts(mut self) -> (Vec<FoundPeer>, Vec<SkippedEntry>) {
        if self.unused > 0 {
            let problem = format!("there are too many: at most {MAX_ENTRIES} of one place are used");
            self.skipped.push(SkippedEntry { entry: format!("{} further entries", self.unused), problem });
        }
        (self.found(), self.skipped)
    }
}

/// Addresses grouped by the peer they name, in the order in which each was met first; those that name nobody stay alone.
fn by_peer(addresses: &[Address]) -> Vec<FoundPeer> {
    let mut found: Vec<FoundPeer> = Vec::new();
    let mut places = BTreeMap::new();
    for address in addresses {
        let text = address.to_string();
        let key = address.peer.as_ref().map_or_else(|| text.clone(), ToString::to_string);
        let place = *places.entry(key).or_insert_with(|| {
            found.push(FoundPeer { peer: address.peer.clone(), addresses: Vec::new() });
            found.len() - 1
        });
        if let Some(known) = found.get_mut(place)
            && known.addresses.len() < MAX_PER_PEER
            && !known.addresses.contains(&text)
        {
            known.addresses.push(text);
        }
    }
    found
}

/// Reads places. Tests have one of their own, so that actors can be tested without files and names.
pub(super) type Reader =
    Arc<dyn Fn(Place) -> BoxFuture<'static, Result<Reading, BootstrapError>> + Send + Sync>;

/// The reader of a node.
pub(super) fn reader(options: &BootstrapOptions) -> Reader {
    let environment = options.environment.clone();
    let list = options.public_list.clone();
    let dns = Dns::new(options.dns.clone());
    let within = options.read_deadline;
    Arc::new(move |place| {
        let (environment, list, dns) = (environment.clone(), list.clone(), dns.clone());
        Box::pin(read(place, environment, list, dns, within))
    })
}

async fn read(
    place: Place,
    environment: EnvironmentPeers,
    list: Vec<String>,
    dns: Dns,
    within: Duration,
) -> Result<Reading, BootstrapError> {
    let too_slow = || format!("no answer within {} ms", within.as_millis());
    match place {
        Place::Environment => Ok(environment.read()),
        Place::Public => Ok(public::read(&list)),
        Place::Dns(name) => match tokio::time::timeout(within, dns.resolve(&name)).await {
            Ok(resolved) => resolved,
            Err(_) => Err(BootstrapError::Dns { name, problem: too_slow() }),
        },
        Place::File(path) => {
            let failed = |problem: String| BootstrapError::File { path: path.display().to_string(), problem };
            let wanted = path.clone();
            // A file system may hang: never on the thread of the actor.
            let work = tokio::task::spawn_blocking(move || file::read(&wanted));
            match tokio::time::timeout(within, work).await {
                Ok(Ok(read)) => read.map_err(failed),
                Ok(Err(error)) => Err(failed(error.to_string())),
                Err(_) => Err(failed(too_slow())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn addresses_of_one_peer_are_put_together_and_bounded() {
        let many = (1..=20).map(|port| format!("/ip4/8.8.8.8/tcp/{port}/p2p/{A}"));
        let mut reading = Reading::default();
        for entry in many.chain(["/ip4/8.8.4.4/tcp/1".to_owned(), "/ip4/8.8.4.4/tcp/1".to_owned()]) {
            reading.add(&entry, &entry);
        }
        let (found, skipped) = reading.into_parts();
        assert_eq!((found.len(), skipped.len()), (2, 0));
        assert_eq!(found[0].addresses.len(), MAX_PER_PEER);
        assert_eq!(found[1], FoundPeer { peer: None, addresses: vec!["/ip4/8.8.4.4/tcp/1".into()] });
    }

    #[test]
    fn an_address_that_no_transport_of_ours_can_dial_is_no_contact_and_says_so() {
        let entry = "/dns4/sv15.bootstrap.libp2p.io/tcp/443/wss";
        let mut reading = Reading::default();
        reading.add(entry, "a dnsaddr record");
        let (found, skipped) = reading.into_parts();
        assert!(found.is_empty());
        assert_eq!(skipped[0].entry, entry);
        assert!(skipped[0].problem.contains("\"wss\" is not understood"), "{skipped:?}");
    }
}
