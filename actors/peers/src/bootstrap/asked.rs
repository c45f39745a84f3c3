//! Requests to read first contacts now: which places are meant, and the answer once each contact was tried.

use super::actor::Bootstrap;
use super::contacts::Key;
use super::places::{Place, Reading};
use meshwork_kit::{Ctx, Handles, Reply};
use meshwork_proto::Request;
use meshwork_proto::bootstrap::{BootstrapError, BootstrapFrom, BootstrapNow, BootstrapReport, SkippedEntry};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Requests that wait for first dials at the same time; more are answered with what is known.
const MAX_WAITING: usize = 32;
/// Longest that a request waits.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// A request that waits for the first try at each of its contacts.
pub(super) struct Waiting {
    keys: BTreeSet<Key>,
    skipped: Vec<SkippedEntry>,
    reply: Reply<<BootstrapNow as Request>::Reply>,
}

type Read = (Place, Result<Reading, BootstrapError>);

impl Bootstrap {
    /// Answers the requests all of whose contacts have been tried.
    pub(super) fn answer_settled(&mut self, ctx: &mut Ctx<'_, Self>) {
        let now = ctx.now();
        let settled = |waiting: &Waiting| waiting.keys.iter().all(|key| self.contacts.is_settled(now, key));
        let done: Vec<u64> =
            self.waiting.iter().filter(|(_, waiting)| settled(waiting)).map(|(id, _)| *id).collect();
        for id in done {
            self.answer(id, ctx);
        }
    }

    fn answer(&mut self, id: u64, ctx: &mut Ctx<'_, Self>) {
        if let Some(Waiting { keys, skipped, reply }) = self.waiting.remove(&id) {
            let contacts = self.contacts.views(ctx.now(), Some(&keys));
            reply.send(Ok(BootstrapReport { contacts, skipped }));
        }
    }

    /// Which places a request means.
    fn places_of(&self, from: &BootstrapFrom) -> Result<Vec<Place>, BootstrapError> {
        let missing = |what: &str, help: &str| {
            Err(BootstrapError::NotConfigured { what: what.into(), help: help.into() })
        };
        let options = &self.options;
        match from {
            BootstrapFrom::File { path: Some(path) } => Ok(vec![Place::File(PathBuf::from(path))]),
            BootstrapFrom::File { path: None } if options.files.is_empty() => {
                missing("bootstrap file", "give its path, or set p2p.bootstrap.file")
            }
            BootstrapFrom::File { path: None } => {
                Ok(options.files.iter().cloned().map(Place::File).collect())
            }
            BootstrapFrom::Dns { name: Some(name) } => Ok(vec![Place::Dns(name.clone())]),
            BootstrapFrom::Dns { name: None } if options.dns.names.is_empty() => {
                missing("DNS name", "give one, or set p2p.bootstrap.dns")
            }
            BootstrapFrom::Dns { name: None } => {
                Ok(options.dns.names.iter().cloned().map(Place::Dns).collect())
            }
            BootstrapFrom::Environment if !options.environment.is_set() => missing(
                "variable with bootstrap peers",
                "set MESHWORK_BOOTSTRAP_PEERS to multiaddresses with commas between them, and start the node again",
            ),
            BootstrapFrom::Environment => Ok(vec![Place::Environment]),
            BootstrapFrom::Public => Ok(vec![Place::Public]),
            BootstrapFrom::Configured => {
                let places = Place::configured(options);
                if places.is_empty() && options.peers.is_empty() {
                    return missing(
                        "first contact",
                        "give peers in p2p.peers, or set one of p2p.bootstrap.*",
                    );
                }
                Ok(places)
            }
        }
    }

    /// Takes all that was read for a request, dials it, and answers when each was tried or the time is over.
    fn take_requested(
        &mut self,
        request: &BootstrapNow,
        readings: Vec<Read>,
        reply: Reply<<BootstrapNow as Request>::Reply>,
        left: Duration,
        ctx: &mut Ctx<'_, Self>,
    ) {
        let alone = readings.len() == 1 && request.from != BootstrapFrom::Configured;
        let mut keys = BTreeSet::new();
        let mut skipped = Vec::new();
        if request.from == BootstrapFrom::Configured {
            keys.extend(self.contacts.kept());
        }
        for (place, read) in readings {
            match self.take(&place, read, ctx) {
                Ok(taken) => {
                    keys.extend(taken.keys);
                    skipped.extend(taken.skipped.into_iter().chain(taken.refused));
                }
                Err(error) if alone => return reply.send(Err(error)),
                Err(error) => {
                    skipped.push(SkippedEntry { entry: place.to_string(), problem: error.to_string() });
                }
            }
        }
        if keys.is_empty() {
            return reply.send(Err(empty(&request.from, &skipped)));
        }
        self.contacts.hurry(ctx.now(), &keys);
        self.pump(ctx);
        let id = self.next_waiting;
        self.next_waiting = self.next_waiting.wrapping_add(1);
        let crowded = self.waiting.len() >= MAX_WAITING;
        self.waiting.insert(id, Waiting { keys, skipped, reply });
        if crowded || left.is_zero() {
            return self.answer(id, ctx);
        }
        ctx.after(left, move |actor, ctx| actor.answer(id, ctx));
    }
}

impl Handles<BootstrapNow> for Bootstrap {
    fn handle(
        &mut self,
        request: BootstrapNow,
        reply: Reply<<BootstrapNow as Request>::Reply>,
        ctx: &mut Ctx<'_, Self>,
    ) {
        let places = match self.places_of(&request.from) {
            Ok(places) => places,
            Err(error) => return reply.send(Err(error)),
        };
        let began = ctx.now();
        let within = Duration::from_millis(request.within_ms).min(LONGEST_WAIT);
        let work: Vec<_> = places
            .into_iter()
            .map(|place| {
                let read = (self.read)(place.clone());
                in_time(place, read, within)
            })
            .collect();
        ctx.spawn_then(futures::future::join_all(work), move |actor, readings, ctx| {
            let left = within.saturating_sub(ctx.now().since(began));
            actor.take_requested(&request, readings, reply, left, ctx);
        });
    }
}

fn empty(from: &BootstrapFrom, skipped: &[SkippedEntry]) -> BootstrapError {
    let place = match from {
        BootstrapFrom::File { path } => path.clone().unwrap_or_else(|| "the bootstrap file".into()),
        BootstrapFrom::Environment => "the environment".into(),
        BootstrapFrom::Dns { name } => name.clone().unwrap_or_else(|| "DNS".into()),
        BootstrapFrom::Public => "the public list".into(),
        BootstrapFrom::Configured => "the configuration".into(),
    };
    let told: Vec<_> =
        skipped.iter().take(5).map(|entry| format!("{}: {}", entry.entry, entry.problem)).collect();
    let problem = if told.is_empty() { "it has no entries".into() } else { told.join("; ") };
    BootstrapError::Empty { place, problem }
}

/// A reading for somebody who does not wait longer than that.
async fn in_time(
    place: Place,
    read: impl Future<Output = Result<Reading, BootstrapError>>,
    within: Duration,
) -> Read {
    let done = tokio::time::timeout(within, read).await.unwrap_or_else(|_| {
        let problem = format!("no answer within {} ms", within.as_millis());
        Err(match &place {
            Place::Dns(name) => BootstrapError::Dns { name: name.clone(), problem },
            place => BootstrapError::File { path: place.to_string(), problem },
        })
    });
    (place, done)
}
