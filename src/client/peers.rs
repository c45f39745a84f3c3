//! The tools of membership, one method for each that a command needs.
//!
//! `peer` is always the peer (id or address) on which the tool runs; none is the node itself.

use super::answers::Answer;
use super::arguments::{BootstrapFrom, DiscoverArgs, PairArgs, PeerFilter, RegisterArgs, given, members};
use super::connection::NodeClient;
use super::error::ClientError;
use serde_json::Value;
use std::time::Duration;

/// How long the node takes to look for the other one and to pair with it.
const PAIRING: Duration = Duration::from_secs(60);

impl NodeClient {
    /// The peer book: `{peer_id, count, peers: [...]}`.
    ///
    /// # Errors
    /// As every call: see [`NodeClient::call`].
    pub(crate) async fn peers(&self, filter: &PeerFilter) -> Result<Answer, ClientError> {
        self.call("p2p_peer_list", members(filter)).await.map(Answer)
    }

    /// Has the sources look for peers now: `{sources: [...], peers: [...]}`.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn look_for_peers(&self, arguments: &DiscoverArgs) -> Result<Answer, ClientError> {
        let waiting = seconds(arguments.timeout_s);
        self.call_waiting("p2p_peer_discover", members(arguments), waiting).await.map(Answer)
    }

    /// Enters a peer, and connects to it unless told otherwise.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn register_peer(&self, arguments: &RegisterArgs) -> Result<Answer, ClientError> {
        let waiting = seconds(arguments.timeout_s);
        self.call_waiting("p2p_peer_register", members(arguments), waiting).await.map(Answer)
    }

    /// Forgets a peer.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn forget_peer(&self, target: &str, peer: Option<&str>) -> Result<Answer, ClientError> {
        let arguments = given([("peer_id", Some(target.into())), ("peer", peer.map(Value::from))]);
        self.call("p2p_peer_forget", arguments).await.map(Answer)
    }

    /// Keeps a peer out for good, or takes that back.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn revoke_peer(
        &self,
        target: &str,
        undo: bool,
        peer: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let undo = ("undo", undo.then_some(Value::from(true)));
        let arguments = given([("peer_id", Some(target.into())), undo, ("peer", peer.map(Value::from))]);
        self.call("p2p_peer_revoke", arguments).await.map(Answer)
    }

    /// Forgets silent peers, or says who would be forgotten.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn clean_up_peers(
        &self,
        silent_s: Option<f64>,
        dry_run: bool,
        peer: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let silent_s = ("silent_s", silent_s.map(Value::from));
        let dry_run = ("dry_run", dry_run.then_some(Value::from(true)));
        let arguments = given([silent_s, dry_run, ("peer", peer.map(Value::from))]);
        self.call("p2p_peer_cleanup", arguments).await.map(Answer)
    }

    /// Makes a pairing code, or joins with one.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn pair(&self, arguments: &PairArgs) -> Result<Answer, ClientError> {
        self.call_waiting("p2p_peer_pair", members(arguments), PAIRING).await.map(Answer)
    }

    /// Reads first contacts and dials them: `{connected, contacts: [...], skipped: [...]}`.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn bootstrap(
        &self,
        from: &BootstrapFrom,
        timeout_s: Option<f64>,
        peer: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let (tool, place) = match from {
            BootstrapFrom::Configured => ("p2p_peer_bootstrap", ("path", None)),
            BootstrapFrom::File(path) => ("p2p_bootstrap_from_file", ("path", path.as_deref())),
            BootstrapFrom::Environment => ("p2p_bootstrap_from_env", ("path", None)),
            BootstrapFrom::Dns(name) => ("p2p_bootstrap_from_dns", ("name", name.as_deref())),
            BootstrapFrom::Public => ("p2p_bootstrap_from_public", ("path", None)),
        };
        let place = (place.0, place.1.map(Value::from));
        let timeout = ("timeout_s", timeout_s.map(Value::from));
        let arguments = given([place, timeout, ("peer", peer.map(Value::from))]);
        self.call_waiting(tool, arguments, seconds(timeout_s)).await.map(Answer)
    }

    /// The first contacts: `{connected, contacts: [...]}`.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn contacts(&self, peer: Option<&str>) -> Result<Answer, ClientError> {
        self.call("p2p_bootstrap_list", given([("peer", peer.map(Value::from))])).await.map(Answer)
    }
}

/// The time that a call asks the node to take; when it names none, the node's own is within what every call may take.
fn seconds(timeout_s: Option<f64>) -> Duration {
    timeout_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(Duration::ZERO)
}
