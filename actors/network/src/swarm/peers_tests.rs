//! The table of peers under every order of events that a network produces.

use super::*;
use crate::address::peer_of;
use crate::trust::MeshSecret;

const NOW: UnixMillis = UnixMillis(1_000_000);

fn id(n: usize) -> ConnectionId {
    ConnectionId::new_unchecked(n)
}

fn connect(table: &mut PeerTable, n: usize, peer: PeerId, direction: Direction) -> Vec<Change> {
    let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", 4000 + n).parse().unwrap();
    let new = NewConnection { id: id(n), peer, address, direction };
    table.connected(new, NOW, || PeerSession::new(peer_of(&peer), peer, 4, 4))
}

fn admit(table: &mut PeerTable, n: usize) -> Vec<Change> {
    table.handshake_began(id(n));
    table.handshake_ended(id(n), Ok(member(&secret())))
}

fn secret() -> MeshSecret {
    MeshSecret::parse("the secret of the tests").unwrap()
}

fn member(secret: &MeshSecret) -> Ruling {
    Ruling::Admitted(Role::Member, Grounds::Secret(secret.clone()))
}

/// The names of the changes, in order.
fn names(changes: &[Change]) -> Vec<&'static str> {
    let name = |change: &Change| match change {
        Change::Joined(_) => "joined",
        Change::Left(..) => "left",
        Change::Up(..) => "up",
        Change::Down(_) => "down",
        Change::Refused(..) => "refused",
        Change::Undecided(..) => "undecided",
        Change::Close(..) => "close",
    };
    changes.iter().map(name).collect()
}

#[test]
fn a_peer_is_up_once_however_many_connections_and_handshakes_it_has() {
    let mut table = PeerTable::default();
    let peer = PeerId::random();
    assert_eq!(names(&connect(&mut table, 1, peer, Direction::Out)), ["joined"]);
    assert_eq!(names(&connect(&mut table, 2, peer, Direction::In)), [] as [&str; 0]);
    assert_eq!(names(&admit(&mut table, 1)), ["up"]);
    assert_eq!(names(&admit(&mut table, 2)), [] as [&str; 0]);
    assert_eq!(table.newest_connection(&peer), Some(id(2)));
    assert_eq!(names(&table.disconnected(id(1))), [] as [&str; 0]);
    assert_eq!(table.role(&peer), Some(Role::Member));
    assert_eq!(names(&table.disconnected(id(2))), ["left", "down"]);
    assert!(table.is_empty());
}

#[test]
fn admission_is_lost_with_the_last_connection() {
    let mut table = PeerTable::default();
    let peer = PeerId::random();
    connect(&mut table, 1, peer, Direction::Out);
    admit(&mut table, 1);
    table.disconnected(id(1));
    connect(&mut table, 2, peer, Direction::Out);
    assert_eq!(table.role(&peer), None);
    assert_eq!(table.session(&peer).unwrap().1, &Standing::Unknown);
}

#[test]
fn a_handshake_that_breaks_off_takes_nothing_away_and_gives_nothing() {
    let mut table = PeerTable::default();
    let peer = PeerId::random();
    connect(&mut table, 1, peer, Direction::Out);
    connect(&mut table, 2, peer, Direction::In);
    table.handshake_began(id(1));
    table.handshake_began(id(2));
    assert_eq!(names(&table.handshake_ended(id(1), Err("reset".into()))), [] as [&str; 0]);
    assert_eq!(table.session(&peer).unwrap().1, &Standing::Proving);
    assert_eq!(names(&table.handshake_ended(id(2), Err("reset".into()))), ["undecided"]);
    admit(&mut table, 1);
    table.handshake_began(id(2));
    assert_eq!(names(&table.handshake_ended(id(2), Err("reset".into()))), [] as [&str; 0]);
    assert_eq!(table.role(&peer), Some(Role::Member));
}

#[test]
fn the_loss_of_the_connection_under_a_handshake_is_told_to_those_who_wait() {
    let mut table = PeerTable::default();
    let peer = PeerId::random();
    connect(&mut table, 1, peer, Direction::Out);
    connect(&mut table, 2, peer, Direction::In);
    table.handshake_began(id(1));
    assert_eq!(names(&table.disconnected(id(1))), ["undecided"]);
    let late = table.handshake_ended(id(1), Ok(Ruling::Admitted(Role::Admin, Grounds::Name)));
    assert_eq!(names(&late), [] as [&str; 0]);
    assert_eq!(table.role(&peer), None, "admitted over a connection that is gone");
}

#[test]
fn a_peer_that_comes_back_with_another_secret_is_no_longer_admitted() {
    let mut table = PeerTable::default();
    let peer = PeerId::random();
    connect(&mut table, 1, peer, Direction::In);
    admit(&mut table, 1);
    connect(&mut table, 2, peer, Direction::In);
    table.handshake_began(id(2));
    let changes = table.handshake_ended(id(2), Ok(Ruling::RefusedByUs("another secret".into())));
    assert_eq!(names(&changes), ["down", "refused"]);
    assert_eq!(table.role(&peer), None);
    // Its requests wait while it tries again.
    table.handshake_began(id(2));
    assert_eq!(table.session(&peer).unwrap().1, &Standing::Proving);
    assert_eq!(names(&table.handshake_ended(id(2), Ok(member(&secret())))), ["up"]);
}

#[test]
fn a_changed_role_is_told() {
    let mut table = PeerTable::default();
    let peer = PeerId::random();
    connect(&mut table, 1, peer, Direction::In);
    admit(&mut table, 1);
    table.handshake_began(id(1));
    let changes = table.handshake_ended(id(1), Ok(Ruling::Admitted(Role::Admin, Grounds::Name)));
    assert!(matches!(changes[..], [Change::Up(_, Role::Admin, _)]));
}

#[test]
fn strangers_are_closed_after_their_grace_and_admitted_peers_never() {
    let mut table = PeerTable::default();
    let (stranger, friend) = (PeerId::random(), PeerId::random());
    connect(&mut table, 1, stranger, Direction::In);
    connect(&mut table, 2, friend, Direction::In);
    admit(&mut table, 2);
    let grace = Duration::from_secs(10);
    assert!(table.overdue(NOW.after(Duration::from_millis(9_999)), grace).is_empty());
    let overdue = table.overdue(NOW.after(grace), grace);
    assert!(matches!(overdue[..], [Change::Close(closed, "not_admitted")] if closed == id(1)));
    // Unless something is under way with it that a stranger may do.
    table.hold(&stranger, NOW.after(2 * grace));
    assert!(table.overdue(NOW.after(grace), grace).is_empty());
    assert_eq!(table.overdue(NOW.after(2 * grace), grace).len(), 1);
}

#[test]
fn three_lost_pings_in_a_row_close_the_connection_once() {
    let mut table = PeerTable::default();
    connect(&mut table, 1, PeerId::random(), Direction::Out);
    let closes: Vec<bool> = [false, false, true, false, false, false, false]
        .iter()
        .map(|answered| !table.pinged(id(1), answered.then_some(Duration::from_millis(1))).is_empty())
        .collect();
    assert_eq!(closes, [false, false, false, false, false, true, false]);
}

#[test]
fn what_is_remembered_of_a_peer_is_where_it_can_be_dialled() {
    let mut table = PeerTable::default();
    let peer = PeerId::random();
    connect(&mut table, 1, peer, Direction::In);
    admit(&mut table, 1);
    let claimed: Vec<Multiaddr> =
        ["/ip4/127.0.0.1/tcp/7000", "/ip4/0.0.0.0/tcp/7000", "/ip4/10.0.0.1/tcp/7000"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
    table.identified(id(1), "meshwork/0.1.0\n", &claimed);
    assert_eq!(table.status()[0].agent.as_deref(), Some("meshwork/0.1.0"));
    let changes = table.disconnected(id(1));
    let Some(Change::Left(_, addresses)) = changes.first() else { panic!() };
    assert_eq!(addresses[..], [claimed[0].clone(), claimed[2].clone()]);
}

#[test]
fn nothing_is_remembered_of_a_stranger() {
    let mut table = PeerTable::default();
    connect(&mut table, 1, PeerId::random(), Direction::Out);
    table.identified(id(1), "x", &["/ip4/10.0.0.1/tcp/7000".parse().unwrap()]);
    let changes = table.disconnected(id(1));
    assert!(matches!(&changes[..], [Change::Left(_, addresses)] if addresses.is_empty()));
}

#[test]
fn who_was_admitted_by_a_retired_secret_proves_again_in_time_or_is_lost() {
    let mut table = PeerTable::default();
    let (follows, stays_behind, friend) = (PeerId::random(), PeerId::random(), PeerId::random());
    for (n, peer) in [(1, follows), (2, stays_behind), (3, friend)] {
        connect(&mut table, n, peer, Direction::Out);
    }
    admit(&mut table, 1);
    admit(&mut table, 2);
    table.handshake_began(id(3));
    table.handshake_ended(id(3), Ok(Ruling::Admitted(Role::Member, Grounds::Name)));
    let new = MeshSecret::generate();
    let trust = Trust { secrets: new.clone().into(), ..Trust::default() };
    let mut asked = table.unproven(&trust);
    asked.sort();
    let mut expected = vec![(follows, id(1)), (stays_behind, id(2))];
    expected.sort();
    assert_eq!(asked, expected);
    let by = NOW.after(Duration::from_secs(5));
    for (peer, connection) in asked {
        table.demand_proof(&peer, by);
        table.handshake_began(connection);
        assert!(table.role(&peer).is_some(), "it was lost before it could prove");
    }
    assert_eq!(names(&table.handshake_ended(id(1), Ok(member(&new)))), [] as [&str; 0]);
    assert_eq!(names(&table.handshake_ended(id(2), Err("reset".into()))), [] as [&str; 0]);
    assert!(table.unproven_at(by.after(Duration::ZERO)).len() == 2, "down and refused");
    assert_eq!(table.role(&stays_behind), None);
    assert!(table.role(&follows).is_some() && table.role(&friend).is_some());
    assert!(table.unproven_at(by.after(Duration::from_secs(60))).is_empty());
}

#[test]
fn nothing_is_remembered_of_a_peer_that_is_to_be_forgotten() {
    let mut table = PeerTable::default();
    let peer = PeerId::random();
    connect(&mut table, 1, peer, Direction::Out);
    admit(&mut table, 1);
    assert_eq!((table.forget(&peer), table.forget(&PeerId::random())), (1, 0));
    let changes = table.disconnected(id(1));
    assert_eq!(names(&changes), ["left", "down"]);
    assert!(matches!(&changes[0], Change::Left(_, addresses) if addresses.is_empty()));
}

#[test]
fn who_is_shut_out_is_down_at_once_and_not_once_more_when_its_connection_goes() {
    let mut table = PeerTable::default();
    let (peer, stranger) = (PeerId::random(), PeerId::random());
    connect(&mut table, 1, peer, Direction::In);
    connect(&mut table, 2, stranger, Direction::In);
    admit(&mut table, 1);
    assert_eq!(names(&table.shut_out(&peer, "revoked".into())), ["down"]);
    assert_eq!(names(&table.shut_out(&stranger, "revoked".into())), [] as [&str; 0]);
    assert_eq!(table.role(&peer), None);
    assert_eq!(names(&table.disconnected(id(1))), ["left"]);
}
