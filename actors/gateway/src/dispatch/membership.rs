//! Requests about who is in the mesh.
//!
//! Every admitted peer may read the book, enter peers and ask the sources. What takes something away from others, or reads
//! files and names of this machine, is for admins: forgetting, revoking, first contacts.

use super::SOON;
use crate::node::ask;
use crate::wiring::MembershipPorts;
use meshwork_proto::discovery::{Exchange, PeerExchange};
use meshwork_proto::wire::{MeshReply, MeshRequest};
use meshwork_proto::{Caller, Coded, ErrorCode, MeshError};
use std::time::Duration;

/// Longest time that sources and first contacts may take, whatever the request names.
const LONGEST: Duration = Duration::from_secs(120);

/// Answers a request about membership.
pub(super) async fn serve(
    ports: &MembershipPorts,
    caller: &Caller,
    request: MeshRequest,
) -> Result<MeshReply, MeshError> {
    if let Some(what) = for_admins(&request)
        && !caller.is_admin()
    {
        let message =
            format!("only an admin may {what}: the node must be started with --admin and your peer id");
        return Err(MeshError::new(ErrorCode::Forbidden, message));
    }
    match request {
        MeshRequest::ListMembers(op) => ask(&ports.members, op, SOON).await.map(MeshReply::Members),
        MeshRequest::Exchange(op) => exchange(ports, caller, op).await,
        MeshRequest::RegisterPeer(op) => {
            let within = waiting(op.connect_within_ms);
            coded(ask(&ports.register, op, within).await?).map(MeshReply::Registered)
        }
        MeshRequest::Discover(op) => {
            let within = waiting(op.within_ms);
            ask(&ports.discover, op, within).await.map(MeshReply::Sources)
        }
        MeshRequest::CleanUp(op) => ask(&ports.clean_up, op, SOON).await.map(MeshReply::CleanedUp),
        MeshRequest::ForgetPeer(op) => ask(&ports.forget, op, SOON).await.map(MeshReply::Forgotten),
        MeshRequest::Bootstrap(op) => {
            let within = waiting(op.within_ms);
            coded(ask(&ports.bootstrap, op, within).await?).map(MeshReply::Bootstrapped)
        }
        MeshRequest::ListContacts(op) => ask(&ports.contacts, op, SOON).await.map(MeshReply::Contacts),
        MeshRequest::PublicIp(op) => coded(ask(&ports.public_ip, op, SOON).await?).map(MeshReply::PublicIp),
        MeshRequest::Revoke(op) => coded(ask(&ports.revoke, op, SOON).await?).map(MeshReply::Revoked),
        other => {
            let message = format!("{} is no request about membership", other.name());
            Err(MeshError::new(ErrorCode::Internal, message))
        }
    }
}

async fn exchange(
    ports: &MembershipPorts,
    caller: &Caller,
    exchange: Exchange,
) -> Result<MeshReply, MeshError> {
    let Some(from) = caller.peer().cloned() else {
        let message = "news of nodes come from a peer: this node's own are sent with announce";
        return Err(MeshError::new(ErrorCode::InvalidArgument, message));
    };
    ask(&ports.exchange, PeerExchange { from, exchange }, SOON).await.map(MeshReply::Exchanged)
}

/// What a request would do that only admins may.
const fn for_admins(request: &MeshRequest) -> Option<&'static str> {
    match request {
        MeshRequest::CleanUp(_) | MeshRequest::ForgetPeer(_) => Some("make this node forget peers"),
        MeshRequest::Bootstrap(_) => Some("make this node read first contacts"),
        MeshRequest::Revoke(_) => Some("revoke peers here"),
        _ => None,
    }
}

fn waiting(wait_ms: u64) -> Duration {
    Duration::from_millis(wait_ms).min(LONGEST).saturating_add(SOON)
}

fn coded<T, E: Coded>(answer: Result<T, E>) -> Result<T, MeshError> {
    answer.map_err(|error| MeshError::from_coded(&error))
}
