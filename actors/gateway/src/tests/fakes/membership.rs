//! Doubles of those that know who is in the mesh: they note what they were asked, and know three peers.

use super::{LOCAL, State, local, peer, port};
use crate::MembershipPorts;
use meshwork_proto::bootstrap::{
    BootstrapError, BootstrapFrom, BootstrapNow, BootstrapReport, ContactState, ContactView, GetPublicIp,
    PublicIp, PublicIpError, SkippedEntry,
};
use meshwork_proto::discovery::{
    AddressView, Advertisement, CleanUp, CleanedUp, DiscoverNow, Exchanged, FindProviders, ForgetPeer,
    ListMembers, MemberView, PeerExchange, PeerState, PeerTrust, Providers, RegisterError, RegisterPeer,
    Registered, Source, SourceReport,
};
use meshwork_proto::transport::{
    OpenPairing, PairError, PairWith, PairedWith, PairingOffer, Reach, Reachability, RevokeError, RevokePeer,
    Revoked,
};
use meshwork_proto::wire::{MeshReply, MeshRequest};
use meshwork_proto::{ErrorCode, MeshError, PeerId};
use std::sync::Arc;

/// A node on the local network that was found and is no member.
pub(in crate::tests) const FOUND: &str = "12D3KooWHdiAxVd8uMQR1hGWXccidmfCwLqcMpGwR6QcTP6QRMuD";
/// A node that was revoked.
pub(in crate::tests) const SHUT_OUT: &str = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";

/// The ports.
pub(super) fn ports(state: &Arc<State>) -> MembershipPorts {
    MembershipPorts {
        members: port(state, |state, list: ListMembers| async move {
            state.log(format!("members {list:?}"));
            book(&list)
        }),
        exchange: port(state, |state, said: PeerExchange| async move {
            state.log(format!("exchange from {}", said.from));
            Exchanged::default()
        }),
        register: port(state, |state, op: RegisterPeer| async move {
            state.log(format!("register {:?} within {}", op.addresses, op.connect_within_ms));
            register(op)
        }),
        discover: port(state, |state, discover: DiscoverNow| async move {
            state.log(format!("discover {:?} within {}", discover.sources, discover.within_ms));
            let failed = SourceReport {
                source: Source::Github,
                found: 0,
                new: 0,
                problem: Some("refuses: 401".into()),
            };
            vec![SourceReport { source: Source::Mdns, found: 2, new: 1, problem: None }, failed]
        }),
        providers: port(state, |state, find: FindProviders| async move {
            state.log(format!("providers {} within {}", find.capability, find.within_ms));
            let report = SourceReport { source: Source::Dht, found: 2, new: 1, problem: None };
            vec![Providers { report, peers: vec![id(FOUND), id(SHUT_OUT)] }]
        }),
        clean_up: port(state, |state, clean_up: CleanUp| async move {
            state.log(format!("clean_up {:?} {}", clean_up.silent_ms, clean_up.dry_run));
            CleanedUp { forgotten: vec![peer()], kept: 3 }
        }),
        forget: port(state, |state, forget: ForgetPeer| async move {
            state.log(format!("forget {}", forget.peer));
            forget.peer == peer()
        }),
        bootstrap: port(state, |state, bootstrap: BootstrapNow| async move {
            state.log(format!("bootstrap {:?} within {}", bootstrap.from, bootstrap.within_ms));
            bootstrapped(bootstrap.from)
        }),
        contacts: port(state, |_, _| async { contacts() }),
        public_ip: port(state, |_, get: GetPublicIp| async move {
            if get.refresh {
                return Err(PublicIpError::NoAgreement { answers: "one said 192.0.2.7, one nothing".into() });
            }
            let agreed_by = vec!["https://one.example".to_owned(), "https://two.example".to_owned()];
            Ok(PublicIp { ipv4: Some([192, 0, 2, 7].into()), ipv6: None, agreed_by, age_ms: 1_500 })
        }),
        revoke: port(state, |state, revoke: RevokePeer| async move {
            state.log(format!("revoke {} {}", revoke.peer, revoke.undo));
            if revoke.peer == local() {
                return Err(RevokeError::Ourselves(revoke.peer));
            }
            Ok(Revoked { revoked: !revoke.undo, changed: true, closed: 1 })
        }),
        open_pairing: port(state, |state, open: OpenPairing| async move {
            state.log(format!("open_pairing {}", open.valid_ms));
            let addresses = vec![format!("/ip4/192.0.2.1/tcp/4001/p2p/{}", local())];
            Ok(PairingOffer { code: "123-456-789".into(), valid_ms: open.valid_ms, addresses })
        }),
        reach: port(state, |_, _| async { reach() }),
        pair_with: port(state, |state, pair: PairWith| async move {
            state.log(format!("pair {:?}", pair.addresses));
            match pair.code.as_str() {
                "123-456-789" => Ok(PairedWith { peer: peer(), address: "/ip4/192.0.2.7/tcp/4001".into() }),
                "nine" => Err(PairError::NotACode),
                _ => Err(PairError::WrongCode),
            }
        }),
    }
}

/// What the one peer there is answers about membership: its own book, and no to what is for admins.
pub(super) fn remote(request: &MeshRequest) -> Option<Result<MeshReply, MeshError>> {
    match request {
        MeshRequest::ListMembers(_) => Some(Ok(MeshReply::Members(Vec::new()))),
        MeshRequest::CleanUp(_)
        | MeshRequest::ForgetPeer(_)
        | MeshRequest::Bootstrap(_)
        | MeshRequest::Revoke(_) => {
            Some(Err(MeshError::new(ErrorCode::Forbidden, "only an admin may do that there")))
        }
        _ => None,
    }
}

fn register(op: RegisterPeer) -> Result<Registered, RegisterError> {
    match op.peer {
        Some(peer) if peer.as_str() == SHUT_OUT => Err(RegisterError::Banned(peer)),
        Some(peer) => Ok(Registered { peer, state: PeerState::Known, new: true, problem: None }),
        None => Ok(Registered { peer: peer(), state: PeerState::Connected, new: true, problem: None }),
    }
}

fn bootstrapped(from: BootstrapFrom) -> Result<BootstrapReport, BootstrapError> {
    match from {
        BootstrapFrom::File { path: None } => Err(BootstrapError::NotConfigured {
            what: "file".into(),
            help: "give path, or set p2p.bootstrap.file".into(),
        }),
        BootstrapFrom::Dns { name: Some(name) } => {
            Err(BootstrapError::Dns { name, problem: "no such name".into() })
        }
        _ => {
            let skipped = SkippedEntry { entry: "nonsense".into(), problem: "is no multiaddress".into() };
            Ok(BootstrapReport { contacts: contacts(), skipped: vec![skipped] })
        }
    }
}

fn contacts() -> Vec<ContactView> {
    let connected = ContactView {
        address: format!("/ip4/192.0.2.7/tcp/4001/p2p/{}", peer()),
        source: Source::File,
        state: ContactState::Connected,
        peer: Some(peer()),
        attempts: 0,
        problem: None,
        next_try_in_ms: None,
    };
    let waiting = ContactView {
        address: "/dns/gone.example/tcp/4001".into(),
        source: Source::Dns,
        state: ContactState::Waiting,
        peer: None,
        attempts: 3,
        problem: Some("nobody answered".into()),
        next_try_in_ms: Some(8_000),
    };
    let lost = ContactView {
        address: format!("/ip4/198.51.100.9/tcp/4001/p2p/{FOUND}"),
        source: Source::Configured,
        state: ContactState::Lost,
        peer: Some(id(FOUND)),
        attempts: 0,
        problem: None,
        next_try_in_ms: None,
    };
    vec![connected, waiting, lost]
}

/// The peers of the book that the list asks for.
fn book(list: &ListMembers) -> Vec<MemberView> {
    let found = MemberView {
        peer: id(FOUND),
        state: PeerState::Known,
        trust: PeerTrust::Unproven,
        addresses: vec![address("/ip4/198.51.100.9/tcp/4001", Source::Mdns, None)],
        found_by: [Source::Mdns, Source::Dht].into(),
        relayed: None,
        offers: None,
        rtt_us: None,
        last_seen_ms_ago: None,
    };
    let revoked = MemberView {
        peer: id(SHUT_OUT),
        state: PeerState::Banned,
        trust: PeerTrust::Revoked,
        addresses: Vec::new(),
        ..found.clone()
    };
    let wanted = |view: &MemberView| {
        let offered = |name: &String| {
            view.offers.as_ref().is_some_and(|said| said.tools.contains(name) || said.labels.contains(name))
        };
        list.state.is_none_or(|state| view.state == state)
            && list.capability.as_ref().is_none_or(offered)
            && list.source.is_none_or(|source| view.found_by.contains(&source))
    };
    let most = if list.max_peers == 0 { usize::MAX } else { list.max_peers as usize };
    [connected(), found, revoked].into_iter().filter(wanted).take(most).collect()
}

fn connected() -> MemberView {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let offers = Advertisement {
        agent: "meshwork/0.1".into(),
        tools: names(&["far"]),
        labels: names(&["gpu", "far"]),
        free_slots: 3,
        slots: 4,
        running: 1,
        queued: 7,
        ..Advertisement::default()
    };
    MemberView {
        peer: peer(),
        state: PeerState::Connected,
        trust: PeerTrust::Member,
        addresses: vec![address("/ip4/192.0.2.7/tcp/4001", Source::Gossip, Some(2_000))],
        found_by: [Source::Gossip, Source::Connection].into(),
        relayed: Some(false),
        offers: Some(offers),
        rtt_us: Some(1_500),
        last_seen_ms_ago: Some(40),
    }
}

fn address(text: &str, source: Source, confirmed_ms_ago: Option<u64>) -> AddressView {
    let successes = u32::from(confirmed_ms_ago.is_some());
    AddressView { address: text.into(), source, confirmed_ms_ago, successes, failures: 0 }
}

fn id(text: &str) -> PeerId {
    text.parse().unwrap()
}

fn reach() -> Reach {
    Reach {
        reachability: Reachability::Public,
        addresses: vec![format!("/ip4/192.0.2.1/tcp/4001/p2p/{LOCAL}")],
        external: vec!["/ip4/192.0.2.1/tcp/4001".into()],
        relays: vec![peer()],
        observed: vec![[192, 0, 2, 1].into()],
    }
}
