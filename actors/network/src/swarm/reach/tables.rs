//! Kademlia: the mesh's own table, and the public one, in which the Python nodes are.
//!
//! An entry is a *provider record*: a node says that it "provides" a name, a namespace or a capability, and others ask
//! who does. The key is the name itself, byte for byte, as py-libp2p makes it of a text that is no content id. In the
//! public table the Python nodes also leave a value, which is written and read too ([`hints`]).
//!
//! Members of a private network have no address that anybody outside confirmed, and libp2p's tables find no provider
//! without one. Two things make up for it: the addresses a node listens on stand in for external ones, and whoever keeps
//! an entry adds the addresses that its node told when it connected.
//!
//! Only members enter themselves in the mesh's table, and only members are put into it. Whoever connects may read it, as
//! libp2p has no way to ask first; it holds addresses and names, nothing else.

use super::behaviours::{MESH_ENTRY_FOR, PUBLIC_ENTRY_FOR, Table};
use super::entries::Entries;
use super::look_ups::{Ended, Pending, Question};
use super::{Driver, hints, would_dial};
use crate::address::{self, Endpoint};
use crate::error::StartError;
use crate::swarm::{Act, DirectoryCommand, Place};
use libp2p::kad::store::RecordStore;
use libp2p::kad::{
    self, GetProvidersOk, GetRecordOk, InboundRequest, ProviderRecord, QueryId, QueryResult, Quorum, Record,
    RecordKey,
};
use libp2p::metrics::Recorder;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use meshwork_proto::UnixMillis;
use meshwork_proto::transport::LookUpError;
use std::time::Duration;

/// Longest name of an entry that is kept for others, in bytes.
const MAX_KEY: usize = 255;
/// How often ended entries are taken out.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The mesh's own.
    Mesh,
    /// The public one.
    Public,
}

impl Which {
    const fn name(self) -> &'static str {
        match self {
            Self::Mesh => "dht",
            Self::Public => "public_dht",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Mesh => "the mesh's own table (DHT)",
            Self::Public => "the public table (DHT)",
        }
    }

    const fn question(self, id: QueryId) -> Question {
        match self {
            Self::Mesh => Question::Dht(id),
            Self::Public => Question::PublicDht(id),
        }
    }
}

/// Reads a node to begin with.
pub(super) fn bootstrap(text: &str) -> Result<Endpoint, StartError> {
    let wrong = |problem: &str| StartError::BadAddress {
        address: text.to_owned(),
        problem: format!("as a node of the public table: {problem}"),
    };
    let whole: Multiaddr = text.parse().map_err(|error| wrong(&format!("{error}")))?;
    let endpoint = address::split(whole);
    let named = matches!(endpoint.address.iter().next(), Some(Protocol::Dnsaddr(_)));
    match endpoint.peer {
        None => Err(wrong("it must end in /p2p/<id>")),
        Some(peer) if named || address::of_peer(&endpoint.address, &peer).is_some() => Ok(endpoint),
        Some(_) => {
            Err(wrong("it has neither /tcp/<port> nor /udp/<port>/quic-v1, nor begins with /dnsaddr/"))
        }
    }
}

impl Driver {
    pub(super) fn table_of(&mut self, which: Which) -> Option<&mut Table> {
        let reach = &mut self.swarm.behaviour_mut().reach;
        match which {
            Which::Mesh => reach.dht.as_mut(),
            Which::Public => reach.public_dht.as_mut(),
        }
    }

    /// Somebody looks peers up, or enters this node.
    pub(in crate::swarm) fn on_directory(&mut self, command: DirectoryCommand) {
        let DirectoryCommand { place, name, act, deadline_ms, reply } = command;
        let (directory, begun) = match place {
            Place::Dht => (Which::Mesh.name(), self.ask_table(Which::Mesh, &name, act)),
            Place::PublicDht => (Which::Public.name(), self.ask_table(Which::Public, &name, act)),
            Place::Rendezvous(point) => ("rendezvous", self.ask_point(point, &name, act, deadline_ms)),
        };
        let kind = if act == Act::LookUp { "look_up" } else { "enter" };
        let open = match begun {
            Ok(open) if !open.is_empty() => open,
            finished => {
                let outcome = finished.as_ref().err().map_or("ok", super::look_ups::outcome_name);
                self.count_look_up(directory, kind, outcome, 0);
                // Whoever asked may have gone.
                let _ = reply.send(finished.map(|_| Vec::new()));
                return;
            }
        };
        let deadline = self.core.deps.clock.now().after(Duration::from_millis(deadline_ms));
        let pending = Pending { directory, kind, open, deadline, deadline_ms, reply };
        let ended = self.reach.look_ups.begin(pending);
        self.ended(ended.into_iter().collect());
    }

    /// Begins what is asked of a table. No question is left open when it is done at once.
    fn ask_table(&mut self, which: Which, name: &str, act: Act) -> Result<Vec<Question>, LookUpError> {
        let hint = self.hint();
        let Some(table) = self.table_of(which) else { return Err(LookUpError::Off(which.title())) };
        let (key, value) = (RecordKey::new(&name), hints::key(name));
        let alone = table.kbuckets().next().is_none();
        let unknown = || LookUpError::Unavailable(format!("{} knows no other node yet", which.title()));
        let mut open = Vec::new();
        match act {
            Act::Withdraw => {
                table.stop_providing(&key);
                table.remove_record(&value);
            }
            Act::LookUp => {
                if alone && table.store_mut().providers(&key).is_empty() {
                    return Err(unknown());
                }
                open.push(which.question(table.get_providers(key)));
                if which == Which::Public {
                    open.push(which.question(table.get_record(value)));
                }
            }
            Act::Enter { .. } => {
                let Some(hint) = hint else { return Err(LookUpError::NoAddress) };
                let refused = |error: kad::store::Error| LookUpError::Refused(error.to_string());
                let query = table.start_providing(key).map_err(refused)?;
                // A node that holds a part of the table answers from it itself; any other is not found.
                if alone && table.mode() == kad::Mode::Client {
                    return Err(unknown());
                }
                open.push(which.question(query));
                if which == Which::Public && !alone {
                    let record = Record::new(value, hint);
                    open.push(which.question(table.put_record(record, Quorum::One).map_err(refused)?));
                }
            }
        }
        Ok(open)
    }

    /// What the Python nodes are told of this one; none without an address.
    fn hint(&self) -> Option<Vec<u8>> {
        let local = self.core.listening.borrow().clone();
        hints::write(&local.peer, local.listen.first()?, self.core.deps.clock.now())
    }

    pub(super) fn on_table(&mut self, which: Which, event: kad::Event) {
        self.libp2p_metrics.record(&event);
        match event {
            kad::Event::OutboundQueryProgressed { id, result, stats, .. } => {
                self.on_query(which, &which.question(id), result, stats.num_successes());
            }
            kad::Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(record) } } => {
                let outcome = self.keep_entry(which, record);
                self.core.metrics.reach.entries.with_label_values(&[which.name(), outcome]).inc();
            }
            kad::Event::InboundRequest {
                request: InboundRequest::PutRecord { record: Some(record), .. },
            } => {
                let outcome = self.keep_value(which, record);
                self.core.metrics.reach.entries.with_label_values(&[which.name(), outcome]).inc();
            }
            // The rest is the table's own bookkeeping.
            _ => {}
        }
    }

    fn on_query(&mut self, which: Which, question: &Question, result: QueryResult, answers: u32) {
        if !self.reach.look_ups.waits_for(question) {
            return;
        }
        let late = || LookUpError::Unavailable(format!("{} did not answer in time", which.title()));
        // libp2p calls it a success when nobody could be asked.
        let alone = self.table_of(which).is_none_or(|table| table.kbuckets().next().is_none());
        let heard = move || match answers > 0 || alone {
            true => Ok(()),
            false => Err(LookUpError::Unavailable(format!("no node of {} answered", which.title()))),
        };
        let answer = match result {
            QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { key, providers })) => {
                for peer in providers {
                    self.found_provider(which, question, &key, peer);
                }
                return;
            }
            QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => {
                if let Some((peer, address)) = hints::read(&found.record.value)
                    && peer != self.core.identity.libp2p_id()
                {
                    self.reach.look_ups.found(question, peer, &[address]);
                }
                return;
            }
            QueryResult::GetProviders(result) => result.map_err(|_| late()).and_then(|_| heard()),
            QueryResult::StartProviding(result) => result.map_err(|_| late()).and_then(|_| heard()),
            QueryResult::GetRecord(result) => result.map(drop).map_err(|_| late()),
            QueryResult::PutRecord(result) => result.map(drop).map_err(|error| {
                tracing::debug!(%error, "no node of the table keeps the value beside this node's entry");
                LookUpError::Refused("no node of the table keeps the value".into())
            }),
            _ => return,
        };
        let ended = self.reach.look_ups.answered(question, answer);
        self.ended(ended);
    }

    fn found_provider(&mut self, which: Which, question: &Question, key: &RecordKey, peer: PeerId) {
        if peer == self.core.identity.libp2p_id() {
            return;
        }
        let Some(table) = self.table_of(which) else { return };
        let mut known: Vec<Multiaddr> = Vec::new();
        for record in table.store_mut().providers(key).into_iter().filter(|record| record.provider == peer) {
            known.extend(record.addresses);
        }
        known.extend(would_dial(table, peer));
        let dialable: Vec<Multiaddr> =
            known.iter().filter_map(|address| address::of_peer(address, &peer)).collect();
        // A peer of which nobody knows where it is cannot be used.
        if !dialable.is_empty() {
            self.reach.look_ups.found(question, peer, &dialable);
        }
    }

    /// Keeps the entry of a peer that is connected: libp2p lets nobody enter others.
    fn keep_entry(&mut self, which: Which, mut record: ProviderRecord) -> &'static str {
        let peer = record.provider;
        if which == Which::Mesh && self.table.role(&peer).is_none() {
            return "not_admitted";
        }
        // Without any, they are filled in when the peer has said where it listens.
        record.addresses = self.table.believed(&peer, &record.addresses);
        let key = record.key.to_vec();
        if key.is_empty() || key.len() > MAX_KEY {
            return "malformed";
        }
        let now = self.core.deps.clock.now();
        // libp2p's own time for it begins at the same moment.
        let (entries, kept_for) = match which {
            Which::Mesh => (&mut self.reach.entries, MESH_ENTRY_FOR),
            Which::Public => (&mut self.reach.public_entries, PUBLIC_ENTRY_FOR),
        };
        if !entries.enter(peer, &key, now.after(kept_for)) {
            return "full";
        }
        let stored = self.table_of(which).map(|table| table.store_mut().add_provider(record));
        if matches!(stored, Some(Ok(()))) { "kept" } else { "full" }
    }

    /// The keys under which a peer is entered in each table.
    fn keys_of(&self, peer: PeerId) -> [(Which, Vec<Vec<u8>>); 2] {
        let keys = |entries: &Entries| entries.of(peer).map(<[u8]>::to_vec).collect();
        [(Which::Mesh, keys(&self.reach.entries)), (Which::Public, keys(&self.reach.public_entries))]
    }

    /// A peer has said where it listens: its entries that have no address yet get these.
    pub(super) fn complete_entries(&mut self, peer: PeerId) {
        for (which, keys) in self.keys_of(peer) {
            let ways = self.table.ways_to(&peer);
            let Some(table) = self.table_of(which) else { continue };
            for key in keys {
                let entered = table.store_mut().providers(&RecordKey::from(key)).into_iter();
                let empty = |record: &ProviderRecord| record.provider == peer && record.addresses.is_empty();
                for record in entered.filter(empty) {
                    // It replaces one that is there, so there is room for it.
                    let _ =
                        table.store_mut().add_provider(ProviderRecord { addresses: ways.clone(), ..record });
                }
            }
        }
    }

    /// Keeps a value of the Python nodes' kind; others have no business here.
    fn keep_value(&mut self, which: Which, record: Record) -> &'static str {
        if which == Which::Mesh || !hints::is_hint(&record) {
            return "malformed";
        }
        let Some(table) = self.table_of(which) else { return "full" };
        let store = table.store_mut();
        if store.put(record.clone()).is_ok() {
            return "kept";
        }
        let now = tokio::time::Instant::now().into_std();
        store.retain(|_, kept| !kept.is_expired(now));
        if store.put(record).is_ok() { "kept" } else { "full" }
    }

    /// Keeps tables that know nobody from looking around in vain. libp2p begins with that when this node listens somewhere, and
    /// now and then, and warns of it; the first node in a table has it look around anyway.
    pub(in crate::swarm) fn calm_empty_tables(&mut self) {
        for which in [Which::Mesh, Which::Public] {
            if let Some(table) = self.table_of(which)
                && table.kbuckets().next().is_none()
            {
                // An error, as there is nobody to ask: all that it does is to put the timers back.
                let _ = table.bootstrap();
            }
        }
    }

    /// Takes ended entries out of the stores.
    pub(super) fn sweep_tables(&mut self, now: UnixMillis) {
        if now.since(self.reach.entries_swept) < SWEEP_EVERY {
            return;
        }
        self.reach.entries_swept = now;
        let mesh = self.reach.entries.ended(now);
        let public = self.reach.public_entries.ended(now);
        for (which, ended) in [(Which::Mesh, mesh), (Which::Public, public)] {
            let Some(table) = self.table_of(which) else { continue };
            for (peer, key) in ended {
                table.store_mut().remove_provider(&RecordKey::from(key), &peer);
            }
        }
    }

    /// Puts a peer that holds a part of a table into it: any into the public one, only members into the mesh's.
    pub(in crate::swarm) fn feed_tables(&mut self, peer: PeerId) {
        let Some(speaks) = self.reach.speaks.get(&peer).copied() else { return };
        let member = self.table.role(&peer).is_some();
        for (which, fits) in [(Which::Mesh, speaks.dht && member), (Which::Public, speaks.public_dht)] {
            if !fits {
                continue;
            }
            let ways = self.table.ways_to(&peer);
            let Some(table) = self.table_of(which) else { continue };
            for address in ways {
                table.add_address(&peer, address);
            }
        }
    }

    /// Takes a peer that is shut out from the tables, which would dial it and name it to others.
    pub(in crate::swarm) fn starve_tables(&mut self, peer: PeerId) {
        for (which, keys) in self.keys_of(peer) {
            let Some(table) = self.table_of(which) else { continue };
            table.remove_peer(&peer);
            for key in keys {
                table.store_mut().remove_provider(&RecordKey::from(key), &peer);
            }
        }
    }

    /// Counts what has ended, and gives up what nobody waits for any more.
    pub(super) fn ended(&mut self, ended: Vec<Ended>) {
        for Ended { directory, kind, outcome, found, unanswered } in ended {
            self.count_look_up(directory, kind, outcome, found);
            for question in unanswered {
                if self.reach.look_ups.waits_for(&question) {
                    continue;
                }
                let (which, id) = match question {
                    Question::Dht(id) => (Which::Mesh, id),
                    Question::PublicDht(id) => (Which::Public, id),
                    Question::Rendezvous { .. } => continue,
                };
                // An entry goes on: it is not less wanted because it takes long.
                if kind == "look_up"
                    && let Some(mut query) = self.table_of(which).and_then(|table| table.query_mut(&id))
                {
                    query.finish();
                }
            }
        }
    }

    fn count_look_up(
        &self,
        directory: &'static str,
        kind: &'static str,
        outcome: &'static str,
        found: usize,
    ) {
        let metrics = &self.core.metrics.reach;
        metrics.look_ups.with_label_values(&[directory, kind, outcome]).inc();
        let found = u64::try_from(found).unwrap_or(u64::MAX);
        metrics.looked_up.with_label_values(&[directory]).inc_by(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_to_begin_with_need_their_id_and_may_be_names() {
        let peer = PeerId::random();
        for right in
            ["/dnsaddr/bootstrap.example", "/dns4/node.example/tcp/4001", "/ip4/192.0.2.7/udp/1/quic-v1"]
        {
            assert_eq!(bootstrap(&format!("{right}/p2p/{peer}")).unwrap().peer, Some(peer));
        }
        for (wrong, problem) in [
            ("/dnsaddr/bootstrap.example".to_owned(), "/p2p/<id>"),
            (format!("/ip4/192.0.2.7/p2p/{peer}"), "neither /tcp"),
            ("bootstrap.example".to_owned(), "public table"),
        ] {
            let error = bootstrap(&wrong).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
