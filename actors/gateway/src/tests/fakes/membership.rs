//! Doubles of those that know who is in the mesh: they note what they were asked and know one peer.

use super::{State, peer, port};
use crate::MembershipPorts;
use meshwork_proto::bootstrap::{BootstrapReport, PublicIp};
use meshwork_proto::discovery::{
    AddressView, CleanedUp, Exchanged, MemberView, PeerState, PeerTrust, Registered, Source, SourceReport,
};
use meshwork_proto::transport::{PairedWith, PairingOffer, Revoked};
use std::sync::Arc;

/// The ports.
pub(super) fn ports(state: &Arc<State>) -> MembershipPorts {
    MembershipPorts {
        members: port(state, |state, list| async move {
            state.log(format!("members {list:?}"));
            vec![member()]
        }),
        exchange: port(state, |_, _| async { Exchanged::default() }),
        register: port(state, |state, register| async move {
            state.log(format!("register {:?}", register.addresses));
            Ok(Registered { peer: peer(), state: PeerState::Connected, new: true, problem: None })
        }),
        discover: port(state, |state, discover| async move {
            state.log(format!("discover {:?}", discover.sources));
            vec![SourceReport { source: Source::Mdns, found: 2, new: 1, problem: None }]
        }),
        clean_up: port(state, |state, clean_up| async move {
            state.log(format!("clean_up {:?} {}", clean_up.silent_ms, clean_up.dry_run));
            CleanedUp { forgotten: vec![peer()], kept: 3 }
        }),
        forget: port(state, |state, forget| async move {
            state.log(format!("forget {}", forget.peer));
            true
        }),
        bootstrap: port(state, |state, bootstrap| async move {
            state.log(format!("bootstrap {:?}", bootstrap.from));
            Ok(BootstrapReport::default())
        }),
        contacts: port(state, |_, _| async { Vec::new() }),
        public_ip: port(state, |_, _| async {
            Ok(PublicIp { ipv4: Some([192, 0, 2, 7].into()), ipv6: None, agreed_by: Vec::new(), age_ms: 0 })
        }),
        revoke: port(state, |state, revoke| async move {
            state.log(format!("revoke {} {}", revoke.peer, revoke.undo));
            Ok(Revoked { revoked: !revoke.undo, changed: true, closed: 1 })
        }),
        open_pairing: port(state, |_, open| async move {
            Ok(PairingOffer { code: "123-456-789".into(), valid_ms: open.valid_ms, addresses: Vec::new() })
        }),
        pair_with: port(state, |state, pair| async move {
            state.log(format!("pair {:?}", pair.addresses));
            Ok(PairedWith { peer: peer(), address: "/ip4/192.0.2.7/tcp/4001".into() })
        }),
    }
}

fn member() -> MemberView {
    MemberView {
        peer: peer(),
        state: PeerState::Connected,
        trust: PeerTrust::Member,
        addresses: vec![AddressView {
            address: "/ip4/192.0.2.7/tcp/4001".into(),
            source: Source::Mdns,
            confirmed_ms_ago: Some(2_000),
            successes: 1,
            failures: 0,
        }],
        found_by: [Source::Mdns, Source::Connection].into(),
        relayed: Some(false),
        offers: None,
        rtt_us: Some(1_500),
        last_seen_ms_ago: Some(40),
    }
}
