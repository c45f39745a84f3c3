//! Multicast DNS: the nodes on the local networks, as the transport hears them.
//!
//! The transport asks and listens there all the time, at a pace of its own, and nothing is entered by hand: it answers for
//! this node. So a visit costs no packet; it takes whom the transport hears now, which says again that they are there. And
//! nobody new has to wait for the next visit: news wake the source.

use super::directory::{millis, no_answer, no_entry};
use super::entry::MAX_FOUND;
use super::{OwnCard, PeerSource, Schedule, SourceError};
use futures::future::BoxFuture;
use meshwork_kit::{Backoff, Port};
use meshwork_proto::discovery::{FoundPeer, Source};
use meshwork_proto::transport::{ListNeighbours, Neighbours};
use std::time::Duration;

/// How long the transport is asked to wait for news before it is asked again.
const WAIT: Duration = Duration::from_secs(60);
/// How much longer it may take to say that there were none.
const GRACE: Duration = Duration::from_secs(5);
/// Before it is asked again when it could not say anything: with that a visit deals, at its time.
const PAUSE: Duration = Duration::from_secs(1);

/// Settings of multicast DNS as a source.
#[derive(Debug, Clone)]
pub struct MdnsOptions {
    /// Pause between visits: how often those who are there are entered again. Whoever is new is entered at once.
    pub interval: Duration,
    /// How long the transport may take to say whom it hears.
    pub deadline: Duration,
}

impl Default for MdnsOptions {
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), deadline: Duration::from_secs(5) }
    }
}

/// Multicast DNS as a source.
pub struct Mdns {
    options: MdnsOptions,
    neighbours: Port<ListNeighbours>,
    /// The news that the last visit has taken.
    known: u64,
}

impl Mdns {
    /// What the transport hears.
    #[must_use]
    pub fn new(options: MdnsOptions, neighbours: Port<ListNeighbours>) -> Self {
        Self { options, neighbours, known: 0 }
    }
}

impl PeerSource for Mdns {
    fn kind(&self) -> Source {
        Source::Mdns
    }

    fn schedule(&self) -> Schedule {
        let MdnsOptions { interval, deadline } = self.options;
        let backoff = Backoff::doubling(Duration::from_secs(2), interval.max(Duration::from_secs(60)));
        Schedule { interval, deadline, backoff }
    }

    fn visit<'a>(&'a mut self, _: &'a OwnCard) -> BoxFuture<'a, Result<Vec<FoundPeer>, SourceError>> {
        Box::pin(async move {
            let within = self.options.deadline;
            let request = ListNeighbours { known: None, within_ms: millis(within) };
            let heard = self.neighbours.ask(request, within).await.map_err(no_answer)?;
            let Neighbours { news, mut found } = heard.map_err(no_entry)?;
            self.known = news;
            found.truncate(MAX_FOUND);
            Ok(found)
        })
    }

    /// Nothing was entered: who is not there any more does not answer any more.
    fn withdraw<'a>(&'a mut self, _: &'a OwnCard) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async { Ok(()) })
    }

    fn woken(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let request = ListNeighbours { known: Some(self.known), within_ms: millis(WAIT) };
            loop {
                match self.neighbours.ask(request, WAIT + GRACE).await {
                    Ok(Ok(heard)) if heard.news != self.known => return,
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
