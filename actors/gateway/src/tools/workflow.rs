//! The tools of workflows: submitting runs, watching them, changing their course, and who coordinates them.
//!
//! All of them can be asked of a peer as well; whose runs a caller may see and change is judged where the run is. A run that
//! was handed over since is found where it is now ([`ask`]).

mod ask;
pub(super) mod control;
pub(super) mod coordinate;
pub(super) mod dag;
mod definition;
mod draw;
pub(super) mod history;
pub(super) mod list;
mod record;
pub(super) mod status;
pub(super) mod submit;
pub(super) mod validate;

pub(crate) use ask::{RunAt, ask_for};
pub(super) use definition::{Definition, explain};
pub(crate) use history::read as read_history;
pub(crate) use status::{in_words, read as read_run};
pub(crate) use submit::{answer_at_once, ended, goes_on};

use super::Hints;
use super::input::invalid;
use meshwork_proto::{MeshError, PeerId, RunId};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long an answer may take for which a definition is checked: peers may be asked for their tools.
pub(super) const CHECKED: Duration = Duration::from_secs(40);
/// Most peers that a run may be spread over.
const MAX_PEERS: usize = 64;

/// Changes something that can be changed back; without further effect when it is done twice.
const CHANGES: Hints = Hints { read_only: false, destructive: false, idempotent: true, open_world: false };

/// Reads `workflow_id`.
fn run_id(text: &str) -> Result<RunId, MeshError> {
    text.parse().map_err(|error| MeshError::from_coded(&error as &meshwork_proto::id::IdError))
}

/// Reads a list of peers.
pub(super) fn peers(field: &str, texts: Vec<String>) -> Result<BTreeSet<PeerId>, MeshError> {
    if texts.len() > MAX_PEERS {
        return Err(invalid(format!("{field} has {} entries: at most {MAX_PEERS}", texts.len())));
    }
    let read = |(index, text): (usize, String)| {
        text.parse().map_err(|error| invalid(format!("{field}[{index}]: {error}")))
    };
    texts.into_iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_peer_is_named_with_its_place() {
        let good = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".to_owned();
        assert_eq!(peers("target_peers", vec![good.clone(), good.clone()]).unwrap().len(), 1);
        let error = peers("target_peers", vec![good.clone(), "me".into()]).unwrap_err();
        assert!(error.message.starts_with("target_peers[1]: peer id \"me\""), "{error}");
        let many = peers("target_peers", vec![good; MAX_PEERS + 1]).unwrap_err();
        assert!(many.message.contains("at most 64"), "{many}");
    }
}
