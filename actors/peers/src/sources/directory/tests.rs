//! Tables and rendezvous points against a network that is played by the test, with paused time.

use super::super::cards::{A, B, card_at};
use super::super::{Dht, PeerSource, PublicDht, Rendezvous, RendezvousOptions, capability_name};
use super::*;
use meshwork_kit::testing::{self, probe};
use std::cell::RefCell;
use std::rc::Rc;

const S: fn(u64) -> Duration = Duration::from_secs;

fn own() -> OwnCard {
    card_at("198.51.100.7", A)
}

fn found(peer: &str) -> FoundPeer {
    FoundPeer { peer: Some(peer.parse().unwrap()), addresses: vec!["/ip4/198.51.100.8/tcp/4001".into()] }
}

type Entered = Rc<RefCell<Vec<(Directory, String, u64)>>>;

/// A network that notes what is entered and knows B (and this node itself) under every name.
fn network(
    enter: impl Fn(&EnterSelf) -> Result<(), LookUpError> + 'static,
    look_up: impl Fn(&LookUp) -> Result<Vec<FoundPeer>, LookUpError> + 'static,
) -> (DirectoryPorts, Entered) {
    let entered = Entered::default();
    let notes = Rc::clone(&entered);
    let (enter_port, enter_probe) = probe::<EnterSelf>(16);
    let (look_up_port, look_up_probe) = probe::<LookUp>(16);
    enter_probe.reply_with(move |request| {
        let answer = enter(&request);
        if answer.is_ok() {
            notes.borrow_mut().push((request.directory, request.name, request.ttl_s));
        }
        answer
    });
    look_up_probe.reply_with(move |request| look_up(&request));
    (DirectoryPorts { look_up: look_up_port, enter: enter_port }, entered)
}

fn everybody(_: &LookUp) -> Result<Vec<FoundPeer>, LookUpError> {
    Ok(vec![found(A), found(B)])
}

fn names(entered: &Entered) -> Vec<(String, u64)> {
    let mut names: Vec<_> = entered.borrow_mut().drain(..).map(|(_, name, ttl)| (name, ttl)).collect();
    names.sort();
    names
}

#[test]
fn a_node_enters_itself_and_its_capabilities_and_finds_the_others_but_not_itself() {
    testing::world(|world| async move {
        let (ports, entered) = network(|_| Ok(()), everybody);
        let mut dht = Dht::new(Dht::usual(), ports);
        assert_eq!(dht.visit(&own()).await.unwrap(), [found(B)]);
        let both = [("meshwork".into(), 3_600), (capability_name("meshwork", "ocr"), 3_600)];
        assert_eq!(names(&entered), both);
        world.advance(S(60)).await;
        dht.visit(&own()).await.unwrap();
        assert_eq!(names(&entered), [], "an entry lasts: it is not made again at every look-up");
        world.advance(S(1_800)).await;
        dht.visit(&own()).await.unwrap();
        assert_eq!(names(&entered), both);
    });
}

#[test]
fn a_capability_that_is_gone_is_taken_back_and_so_is_everything_at_the_end() {
    testing::world(|_| async move {
        let (ports, entered) = network(|_| Ok(()), everybody);
        let mut dht = Dht::new(Dht::usual(), ports);
        dht.visit(&own()).await.unwrap();
        names(&entered);
        dht.visit(&OwnCard { capabilities: BTreeSet::new(), ..own() }).await.unwrap();
        assert_eq!(names(&entered), [("meshwork/ocr".into(), 0)]);
        dht.withdraw(&own()).await.unwrap();
        assert_eq!(names(&entered), [("meshwork".into(), 0)]);
        dht.withdraw(&own()).await.unwrap();
        assert_eq!(names(&entered), [], "what is not entered is not taken back");
    });
}

#[test]
fn a_node_with_too_many_capabilities_enters_only_some() {
    testing::world(|_| async move {
        let (ports, entered) = network(|_| Ok(()), everybody);
        let mut dht = Dht::new(Dht::usual(), ports);
        let capabilities = (0..1_000).map(|n| format!("tool{n}")).collect();
        dht.visit(&OwnCard { capabilities, ..own() }).await.unwrap();
        assert_eq!(names(&entered).len(), 33);
    });
}

#[test]
fn a_node_without_an_address_only_looks() {
    testing::world(|_| async move {
        let (ports, entered) = network(|_| Ok(()), everybody);
        let mut dht = PublicDht::new(PublicDht::usual(), ports);
        assert_eq!(dht.visit(&OwnCard { addresses: vec![], ..own() }).await.unwrap(), [found(B)]);
        assert_eq!(names(&entered), []);
    });
}

#[test]
fn an_entry_that_fails_does_not_hide_who_was_found_and_is_made_at_the_next_visit() {
    testing::world(|_| async move {
        let fails = Rc::new(RefCell::new(true));
        let failing = Rc::clone(&fails);
        let enter = move |_: &EnterSelf| if *failing.borrow() { Err(LookUpError::NoAddress) } else { Ok(()) };
        let (ports, entered) = network(enter, everybody);
        let mut dht = PublicDht::new(PublicDht::usual(), ports);
        assert_eq!(dht.visit(&own()).await.unwrap(), [found(B)]);
        *fails.borrow_mut() = false;
        dht.visit(&own()).await.unwrap();
        assert_eq!(names(&entered), [("ipfs-accelerate-task-queue".into(), 3_600)]);
    });
}

#[test]
fn every_refusal_of_a_directory_is_told_as_what_it_is() {
    testing::world(|_| async move {
        for (error, expected) in [
            (LookUpError::Off("the DHT"), "refuses: the DHT is not switched on"),
            (LookUpError::Refused("full".into()), "refuses: the directory refused: full"),
            (LookUpError::Unavailable("no nodes".into()), "cannot be reached: no nodes"),
            (LookUpError::Timeout(7), "did not answer within 7 ms"),
        ] {
            let (ports, _) = network(|_| Ok(()), move |_| Err(error.clone()));
            let mut dht = Dht::new(Dht::usual(), ports);
            assert_eq!(dht.visit(&own()).await.unwrap_err().to_string(), expected);
        }
        let (enter, _kept) = probe::<EnterSelf>(16);
        let (look_up, _silent) = probe::<LookUp>(16);
        let mut silent = Dht::new(Dht::usual(), DirectoryPorts { look_up, enter });
        let error = silent.visit(&own()).await.unwrap_err();
        assert_eq!(error, SourceError::Timeout(S(20)), "a network that says nothing holds up nobody");
    });
}

#[test]
fn rendezvous_points_are_all_asked_and_registered_at_and_renewed_after_half_the_time() {
    testing::world(|world| async move {
        let (ports, entered) = network(|_| Ok(()), everybody);
        let points = vec!["/ip4/198.51.100.1/tcp/1".to_owned(), "/ip4/198.51.100.2/tcp/1".to_owned()];
        let mut rendezvous = Rendezvous::new(RendezvousOptions { points, ..Default::default() }, &ports);
        assert_eq!(rendezvous.visit(&own()).await.unwrap().len(), 2, "one answer of each point");
        assert_eq!(names(&entered), [("meshwork".into(), 7_200), ("meshwork".into(), 7_200)]);
        world.advance(S(3_599)).await;
        rendezvous.visit(&own()).await.unwrap();
        assert_eq!(names(&entered), []);
        world.advance(S(1)).await;
        rendezvous.visit(&own()).await.unwrap();
        assert_eq!(names(&entered).len(), 2);
        rendezvous.withdraw(&own()).await.unwrap();
        assert_eq!(names(&entered), [("meshwork".into(), 0), ("meshwork".into(), 0)]);
    });
}

#[test]
fn a_dead_rendezvous_point_does_not_hide_the_living_one() {
    testing::world(|_| async move {
        let dead = "/ip4/198.51.100.1/tcp/1";
        let is_dead = move |directory: &Directory| *directory == Directory::Rendezvous { point: dead.into() };
        let problem = || LookUpError::Unavailable("connection refused".into());
        let enter =
            move |request: &EnterSelf| if is_dead(&request.directory) { Err(problem()) } else { Ok(()) };
        let look_up = move |request: &LookUp| {
            if is_dead(&request.directory) { Err(problem()) } else { everybody(request) }
        };
        let (ports, _) = network(enter, look_up);
        let points = vec![dead.to_owned(), "/ip4/198.51.100.2/tcp/1".to_owned()];
        let options = RendezvousOptions { points, ..Default::default() };
        assert_eq!(Rendezvous::new(options.clone(), &ports).visit(&own()).await.unwrap(), [found(B)]);
        let options = RendezvousOptions { points: vec![dead.to_owned()], ..options };
        let error = Rendezvous::new(options, &ports).visit(&own()).await.unwrap_err();
        assert!(error.to_string().contains("connection refused"), "{error}");
    });
}
