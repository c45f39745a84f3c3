//! What the tables and rendezvous points have in common: entering this node under names, again in time, and looking a
//! name up, through the network's ports.

use super::entry::MAX_FOUND;
use super::{OwnCard, SourceError};
use futures::StreamExt;
use meshwork_kit::{AskError, Port};
use meshwork_proto::PeerId;
use meshwork_proto::discovery::FoundPeer;
use meshwork_proto::transport::{Directory, EnterSelf, LookUp, LookUpError};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// Entries that are made at the same time: each is many messages in a table.
const AT_ONCE: usize = 4;
/// How much earlier than its asker the transport ends a look-up.
const GRACE: Duration = Duration::from_millis(500);

/// The network's side of directories.
#[derive(Debug, Clone)]
pub struct DirectoryPorts {
    /// Looks peers up.
    pub look_up: Port<LookUp>,
    /// Enters this node.
    pub enter: Port<EnterSelf>,
}

/// The entries of this node in one directory.
pub(super) struct Entries {
    ports: DirectoryPorts,
    directory: Directory,
    /// How long an entry is to last.
    ttl: Duration,
    /// After how long it is made again.
    renew_after: Duration,
    /// When each name was entered last.
    entered: BTreeMap<String, Instant>,
}

impl Entries {
    pub(super) fn new(
        ports: DirectoryPorts,
        directory: Directory,
        ttl: Duration,
        renew_after: Duration,
    ) -> Self {
        Self { ports, directory, ttl, renew_after, entered: BTreeMap::new() }
    }

    /// Enters this node under the names that are not entered or not any more, and takes entries under other names back.
    /// Gives the first problem; what could be entered is.
    pub(super) async fn enter(
        &mut self,
        names: &BTreeSet<String>,
        within: Duration,
    ) -> Result<(), SourceError> {
        let now = Instant::now();
        let gone: Vec<_> = self.entered.keys().filter(|name| !names.contains(*name)).cloned().collect();
        let due = |name: &&String| match self.entered.get(*name) {
            Some(last) => now.duration_since(*last) >= self.renew_after,
            None => true,
        };
        let due: Vec<_> = names.iter().filter(due).cloned().collect();
        let back = gone.into_iter().map(|name| (name, Duration::ZERO));
        let again = due.into_iter().map(|name| (name, self.ttl));
        let work: Vec<_> = back.chain(again).map(|(name, ttl)| self.ask(name, ttl, within)).collect();
        let mut problem = None;
        let mut answers = futures::stream::iter(work).buffer_unordered(AT_ONCE);
        while let Some((name, ttl, answer)) = answers.next().await {
            match answer {
                Ok(()) if ttl.is_zero() => drop(self.entered.remove(&name)),
                Ok(()) => drop(self.entered.insert(name, now)),
                Err(found) => problem = problem.or(Some(found)),
            }
        }
        problem.map_or(Ok(()), Err)
    }

    /// Takes every entry back.
    pub(super) async fn withdraw(&mut self, within: Duration) -> Result<(), SourceError> {
        self.enter(&BTreeSet::new(), within).await
    }

    /// Who is entered under a name, without this node itself.
    pub(super) async fn look_up(
        &self,
        name: &str,
        own: &PeerId,
        within: Duration,
    ) -> Result<Vec<FoundPeer>, SourceError> {
        look_up(&self.ports.look_up, &self.directory, name, own, within).await
    }

    /// The network's side, for those who look up beside the visits.
    pub(super) fn ports(&self) -> DirectoryPorts {
        self.ports.clone()
    }

    pub(super) fn directory(&self) -> Directory {
        self.directory.clone()
    }

    fn ask(
        &self,
        name: String,
        ttl: Duration,
        within: Duration,
    ) -> impl Future<Output = (String, Duration, Result<(), SourceError>)> + Send + use<> {
        let port = self.ports.enter.clone();
        let directory = self.directory.clone();
        async move {
            let request = EnterSelf {
                directory,
                name: name.clone(),
                ttl_s: ttl.as_secs(),
                deadline_ms: millis(within),
            };
            let answer = port.ask(request, within).await;
            let answer = answer.map_err(no_answer).and_then(|entered| entered.map_err(no_entry));
            (name, ttl, answer)
        }
    }
}

/// Who is entered under a name in a directory, without this node itself.
pub(super) async fn look_up(
    port: &Port<LookUp>,
    directory: &Directory,
    name: &str,
    own: &PeerId,
    within: Duration,
) -> Result<Vec<FoundPeer>, SourceError> {
    // The transport gives what it has when its time is over: that must come before nobody waits any more.
    let deadline_ms = millis(within.saturating_sub(GRACE.min(within / 10)));
    let request = LookUp { directory: directory.clone(), name: name.to_owned(), deadline_ms };
    let answer = port.ask(request, within).await;
    let mut found = answer.map_err(no_answer)?.map_err(no_entry)?;
    found.retain(|found| found.peer.as_ref() != Some(own));
    found.truncate(MAX_FOUND);
    Ok(found)
}

/// Enters this node and looks others up at the same time; an entry that fails is reported only if nothing was found
/// either: it is made again at the next visit.
pub(super) async fn visit(
    entries: &mut Entries,
    names: BTreeSet<String>,
    look_up: &str,
    own: &OwnCard,
    within: Duration,
) -> Result<Vec<FoundPeer>, SourceError> {
    // A node without an address cannot be found: it looks only.
    let names = if own.addresses.is_empty() { BTreeSet::new() } else { names };
    let entered = entries.enter(&names, within).await;
    let found = entries.look_up(look_up, &own.peer, within).await;
    match (entered, found) {
        (Err(problem), Ok(found)) => {
            tracing::warn!(%problem, name = look_up, "this node could not be entered in a directory: tried again soon");
            Ok(found)
        }
        (_, found) => found,
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Why there is no answer of the transport itself.
pub(super) fn no_answer(error: AskError) -> SourceError {
    match error {
        AskError::Timeout { within, .. } => SourceError::Timeout(within),
        other => SourceError::Unavailable(other.to_string()),
    }
}

/// What the transport's answer means.
pub(super) fn no_entry(error: LookUpError) -> SourceError {
    match error {
        LookUpError::Timeout(after_ms) => SourceError::Timeout(Duration::from_millis(after_ms)),
        LookUpError::Off(_) | LookUpError::Refused(_) => SourceError::Refused(error.to_string()),
        LookUpError::Unavailable(_) | LookUpError::NoAddress => SourceError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
