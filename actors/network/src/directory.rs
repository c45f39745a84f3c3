//! Looking peers up in a directory and entering this node there, whom multicast DNS hears, and where this node might be
//! reached: the side that waits. The mesh's and the public table are asked at once; a rendezvous point is connected to
//! first, whether or not it is a member of the mesh.

use crate::address::{self, Endpoint};
use crate::call::Deadline;
use crate::shared::Core;
use crate::swarm::{Act, Command, DirectoryCommand, Place, RENDEZVOUS, Target, Until};
use meshwork_proto::discovery::FoundPeer;
use meshwork_proto::transport::{
    ConsiderAddresses, Directory, EnterSelf, ListNeighbours, LookUp, LookUpError, Neighbours,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

/// Longest name, in bytes. In the public table it is shorter, by what its nodes accept.
const MAX_NAME: usize = 255;
const MAX_PUBLIC_NAME: usize = 80;
/// The swarm task answers at the deadline with what was found until then; it looks at the time only so often.
const MARGIN: Duration = Duration::from_secs(1);

impl Core {
    /// Serves [`LookUp`].
    pub(crate) async fn look_up(self: &Arc<Self>, ask: LookUp) -> Result<Vec<FoundPeer>, LookUpError> {
        let LookUp { directory, name, deadline_ms } = ask;
        self.ask_directory(directory, name, Act::LookUp, deadline_ms).await
    }

    /// Serves [`EnterSelf`].
    pub(crate) async fn enter_self(self: &Arc<Self>, ask: EnterSelf) -> Result<(), LookUpError> {
        let EnterSelf { directory, name, ttl_s, deadline_ms } = ask;
        let act = if ttl_s == 0 { Act::Withdraw } else { Act::Enter { ttl_s } };
        self.ask_directory(directory, name, act, deadline_ms).await.map(drop)
    }

    /// Serves [`ListNeighbours`].
    pub(crate) async fn list_neighbours(&self, ask: ListNeighbours) -> Result<Neighbours, LookUpError> {
        let mut neighbours = self.neighbours.subscribe();
        if let Some(known) = ask.known {
            let is_news = |heard: &Result<Neighbours, LookUpError>| {
                heard.as_ref().is_ok_and(|heard| heard.news != known)
            };
            // Without news in time the answer is as it is.
            let _ = timeout_at(Deadline::in_ms(ask.within_ms).at, neighbours.wait_for(is_news)).await;
        }
        neighbours.borrow().clone()
    }

    /// Serves [`ConsiderAddresses`].
    pub(crate) async fn consider(&self, ask: ConsiderAddresses) -> Vec<String> {
        let (reply, candidates) = oneshot::channel();
        match self.commands.send(Command::Consider { ips: ask.ips, reply }).await {
            Ok(()) => candidates.await.unwrap_or_default(),
            // The network is stopping.
            Err(_) => Vec::new(),
        }
    }

    async fn ask_directory(
        &self,
        directory: Directory,
        name: String,
        act: Act,
        deadline_ms: u64,
    ) -> Result<Vec<FoundPeer>, LookUpError> {
        let deadline = Deadline::in_ms(deadline_ms);
        let longest = if directory == Directory::PublicDht { MAX_PUBLIC_NAME } else { MAX_NAME };
        if name.is_empty() || name.len() > longest {
            let len = name.len();
            return Err(LookUpError::Refused(format!(
                "names have 1 to {longest} bytes, and this one has {len}"
            )));
        }
        let asking = async {
            let place = match directory {
                Directory::Dht => Place::Dht,
                Directory::PublicDht => Place::PublicDht,
                Directory::Rendezvous { point } => Place::Rendezvous(self.reach_point(&point).await?),
            };
            let (reply, answer) = oneshot::channel();
            let left = u64::try_from(deadline.left().as_millis()).unwrap_or(u64::MAX);
            let command = DirectoryCommand { place, name, act, deadline_ms: left, reply };
            self.commands.send(Command::Directory(command)).await.map_err(|_| stopping())?;
            answer.await.unwrap_or_else(|_| Err(stopping()))
        };
        match timeout_at(deadline.at + MARGIN, asking).await {
            Ok(Err(LookUpError::Timeout(_))) | Err(_) => Err(LookUpError::Timeout(deadline.ms)),
            Ok(answer) => answer,
        }
    }

    /// Connects to a rendezvous point, unless it is connected. What the handshake comes to does not matter.
    async fn reach_point(&self, point: &str) -> Result<libp2p::PeerId, LookUpError> {
        if !self.options.reach.rendezvous {
            return Err(LookUpError::Off(RENDEZVOUS));
        }
        let unusable =
            |problem: String| LookUpError::Unavailable(format!("rendezvous point {point}: {problem}"));
        let endpoint = address::parse(point).map_err(|error| unusable(error.to_string()))?;
        let Endpoint { peer: Some(peer), .. } = endpoint else {
            return Err(unusable("its address must end in /p2p/<id>".into()));
        };
        if peer == self.identity.libp2p_id() {
            return Err(unusable("it is this node itself".into()));
        }
        let id = address::peer_of(&peer);
        if self.directory.get(&id).is_some() {
            return Ok(peer);
        }
        let (reply, connected) = oneshot::channel();
        let name = point.to_owned();
        let target = Target::Address(endpoint);
        let connect = Command::Connect { target, name, keep: false, until: Until::Connected, reply };
        self.commands.send(connect).await.map_err(|_| stopping())?;
        match connected.await.map_err(|_| stopping())? {
            Ok(_) => Ok(peer),
            Err(_) if self.directory.get(&id).is_some() => Ok(peer),
            Err(error) => Err(LookUpError::Unavailable(error.to_string())),
        }
    }
}

fn stopping() -> LookUpError {
    LookUpError::Unavailable("this node's network is stopping".into())
}
