//! Rendezvous points: this node registers at each and looks up who else did.

use super::directory::{self, DirectoryPorts, Entries};
use super::entry::MAX_FOUND;
use super::{OwnCard, PeerSource, Schedule, SourceError};
use futures::future::{BoxFuture, join_all};
use meshwork_kit::Backoff;
use meshwork_proto::discovery::{FoundPeer, Source};
use meshwork_proto::transport::Directory;
use std::time::Duration;

/// Most points: each is asked at every visit.
const MAX_POINTS: usize = 16;

/// Settings of the rendezvous points.
#[derive(Debug, Clone)]
pub struct RendezvousOptions {
    /// Where they are, each with `/p2p/<id>`; at most 16.
    pub points: Vec<String>,
    /// Under which name the nodes of this mesh register.
    pub namespace: String,
    /// Pause between look-ups.
    pub interval: Duration,
    /// How long a registration lasts; it is renewed after half of it.
    pub ttl: Duration,
    /// How long a point may take to answer.
    pub deadline: Duration,
}

impl Default for RendezvousOptions {
    fn default() -> Self {
        Self {
            points: Vec::new(),
            namespace: "meshwork".into(),
            interval: Duration::from_secs(60),
            ttl: Duration::from_secs(7_200),
            deadline: Duration::from_secs(10),
        }
    }
}

/// All rendezvous points as one source.
pub struct Rendezvous {
    options: RendezvousOptions,
    points: Vec<(String, Entries)>,
}

impl Rendezvous {
    /// The points behind the network's ports.
    #[must_use]
    pub fn new(options: RendezvousOptions, ports: &DirectoryPorts) -> Self {
        let renew_after = options.ttl / 2;
        let entries = |point: &String| {
            let directory = Directory::Rendezvous { point: point.clone() };
            (point.clone(), Entries::new(ports.clone(), directory, options.ttl, renew_after))
        };
        let points = options.points.iter().take(MAX_POINTS).map(entries).collect();
        Self { options, points }
    }

    async fn visit_all(&mut self, own: &OwnCard) -> Result<Vec<FoundPeer>, SourceError> {
        let (namespace, within) = (&self.options.namespace, self.options.deadline);
        let visits = self.points.iter_mut().map(async |(point, entries)| {
            let names = [namespace.clone()].into();
            (&*point, directory::visit(entries, names, namespace, own, within).await)
        });
        let mut found = Vec::new();
        let mut problem = None;
        let mut answered = false;
        for (point, visited) in join_all(visits).await {
            match visited {
                Ok(peers) => {
                    answered = true;
                    found.extend(peers);
                }
                Err(error) => {
                    tracing::debug!(point, %error, "a rendezvous point gave nothing");
                    problem = problem.or(Some(error));
                }
            }
        }
        // One point that answers is what several points are for.
        match problem {
            Some(problem) if !answered => Err(problem),
            _ => {
                found.truncate(MAX_FOUND);
                Ok(found)
            }
        }
    }
}

impl PeerSource for Rendezvous {
    fn kind(&self) -> Source {
        Source::Rendezvous
    }

    fn schedule(&self) -> Schedule {
        let interval = self.options.interval;
        let backoff = Backoff::doubling(Duration::from_secs(2), interval.max(Duration::from_secs(120)));
        // Registration and look-up, one after the other.
        Schedule { interval, deadline: self.options.deadline.saturating_mul(3), backoff }
    }

    fn visit<'a>(&'a mut self, own: &'a OwnCard) -> BoxFuture<'a, Result<Vec<FoundPeer>, SourceError>> {
        Box::pin(self.visit_all(own))
    }

    fn withdraw<'a>(&'a mut self, _: &'a OwnCard) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let within = self.options.deadline;
            let all = self.points.iter_mut().map(async |(_, entries)| entries.withdraw(within).await);
            join_all(all).await.into_iter().collect()
        })
    }
}
