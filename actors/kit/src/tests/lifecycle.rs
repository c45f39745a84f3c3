//! Wiring, threads, timers, status and the ordered stop.

use super::actors::{Break, Degrading, Inc, Script, Urgent, Victim, Way, requests};
use crate::testing::{START, probe, world, world_with_seed};
use crate::{
    Actor, ActorHealth, ActorKind, AskError, Clock, Ctx, Handles, Mailbox, Port, Reply, Supervision,
    SupervisionChange, SupervisionError, TellError, mailbox,
};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// Goes to and fro until it is zero.
struct Ping(u32);
/// Says on which thread the actor runs.
struct Where;
/// Keeps the actor's thread until a port of this is answered.
struct Block(std::sync::mpsc::Receiver<()>);
requests! { Ping = "ping" -> (), Where = "where" -> Option<String>, Block = "block" -> (), }

/// Passes a ping on to the other.
struct Player<const LEFT: bool> {
    other: Port<Ping>,
    done: Option<Port<Inc>>,
}

impl<const LEFT: bool> Actor for Player<LEFT> {
    const KIND: ActorKind = if LEFT { ActorKind::Discovery } else { ActorKind::Gateway };
    type Status = ();
    fn status(&self) {}
}

impl<const LEFT: bool> Handles<Ping> for Player<LEFT> {
    fn handle(&mut self, Ping(n): Ping, _: Reply<()>, ctx: &mut Ctx<'_, Self>) {
        match (n.checked_sub(1), &self.done) {
            (Some(n), _) => self.other.tell(Ping(n)).unwrap(),
            (None, Some(done)) => done.tell(Inc).unwrap(),
            (None, None) => ctx.fail("the game ended on the wrong side".to_owned()),
        }
    }
}

impl<const LEFT: bool> Handles<Where> for Player<LEFT> {
    fn handle(&mut self, _: Where, reply: Reply<Option<String>>, _: &mut Ctx<'_, Self>) {
        reply.send(std::thread::current().name().map(str::to_owned));
    }
}

impl<const LEFT: bool> Handles<Block> for Player<LEFT> {
    fn handle(&mut self, Block(until): Block, _: Reply<()>, _: &mut Ctx<'_, Self>) {
        let _ = until.recv();
    }
}

type Left = Player<true>;
type Right = Player<false>;

/// Two mailboxes whose actors hold one another's ports.
fn players(
    done: Port<Inc>,
) -> (Mailbox<Left>, Mailbox<Right>, impl Fn() -> Left, impl Fn() -> Right, Port<Ping>) {
    let (left, right) = (mailbox::<Left>(), mailbox::<Right>());
    let (to_left, to_right) = (left.port::<Ping>(4), right.port::<Ping>(4));
    let first = to_left.clone();
    let new_left = move || Left { other: to_right.clone(), done: Some(done.clone()) };
    let new_right = move || Right { other: to_left.clone(), done: None };
    (left, right, new_left, new_right, first)
}

#[test]
fn two_actors_hold_one_anothers_ports_and_a_message_may_come_before_either() {
    world(|world| async move {
        let (done, mut finish) = probe::<Inc>(1);
        let (left, right, new_left, new_right, first) = players(done);
        first.tell(Ping(10)).unwrap();
        world.start(left, new_left);
        world.start(right, new_right);
        finish.next().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_node_each_class_of_actors_has_a_named_thread_and_the_stop_joins_them() {
    let registry = prometheus::Registry::new();
    let supervision = Supervision::threads(&registry, tokio::runtime::Handle::current()).unwrap();
    let mut events = supervision.events();
    let (done, mut finish) = probe::<Inc>(1);
    let (left, right, new_left, new_right, first) = players(done);
    let (where_left, where_right) = (left.port::<Where>(1), right.port::<Where>(1));
    first.tell(Ping(1_000)).unwrap();
    left.start(&supervision, new_left);
    right.start(&supervision, new_right);
    finish.next().await;
    assert_eq!(where_left.ask(Where, 60 * SECOND).await.unwrap().as_deref(), Some("mesh-control"));
    assert_eq!(where_right.ask(Where, 60 * SECOND).await.unwrap().as_deref(), Some("mesh-edge"));
    let actors = supervision.actors();
    supervision.shutdown(60 * SECOND).await.unwrap();
    assert!(actors.iter().all(|actor| actor.health() == ActorHealth::Stopped));
    for kind in [ActorKind::Gateway, ActorKind::Discovery] {
        let event = events.next().await.unwrap();
        assert_eq!((event.kind, event.what), (kind, SupervisionChange::Stopped), "the last started first");
    }
    assert!(events.next().await.is_none());
    assert_eq!(first.tell(Ping(0)), Err(TellError::Closed { message: "ping" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_names_the_actor_and_the_thread_that_hold_on_and_stops_the_others() {
    let registry = prometheus::Registry::new();
    let supervision = Supervision::threads(&registry, tokio::runtime::Handle::current()).unwrap();
    let (done, _finish) = probe::<Inc>(1);
    let (left, right, new_left, new_right, _first) = players(done);
    let (block, on_right) = (right.port::<Block>(1), right.port::<Where>(1));
    let left = left.start(&supervision, new_left);
    right.start(&supervision, new_right);
    on_right.ask(Where, 60 * SECOND).await.unwrap();
    let (unblock, until) = std::sync::mpsc::sync_channel(1);
    block.tell(Block(until)).unwrap();
    let error = supervision.shutdown(300 * MS).await.unwrap_err();
    assert_eq!(
        (error.actors.as_slice(), error.threads.as_slice()),
        ([ActorKind::Gateway].as_slice(), ["mesh-edge"].as_slice())
    );
    assert_eq!(error.to_string(), "still running after 300ms: actors [gateway], threads [mesh-edge]");
    assert_eq!(left.health(), ActorHealth::Stopped, "there was time left for it");
    unblock.send(()).unwrap();
}

#[test]
fn the_status_is_published_at_the_start_after_changes_and_at_most_ten_times_a_second() {
    world(|world| async move {
        let mailbox = mailbox::<Victim>();
        let (inc, breaks) = (mailbox.port::<Inc>(4), mailbox.port::<Break>(1));
        let actor = world.start(mailbox, Victim::again(&Script::new()));
        assert!(actor.status().json().is_null(), "it has not begun");
        world.settle().await;
        assert_eq!(actor.status().json(), 0);
        let mut watch = actor.watch_status();
        let published = actix_rt::spawn(async move {
            let mut seen = Vec::new();
            while watch.changed().await.is_ok() {
                seen.push(*watch.borrow_and_update().get::<u32>().unwrap());
            }
            seen
        });
        for _ in 0..1_000 {
            inc.ask(Inc, SECOND).await.unwrap();
            world.advance(MS).await;
        }
        world.advance(SECOND).await;
        assert_eq!(*actor.status().get::<u32>().unwrap(), 1_000, "the last change is shown too");
        breaks.tell(Break(Way::Handler)).unwrap();
        world.advance(SECOND).await;
        assert_eq!(actor.status().json(), 0, "a restart shows the fresh state");
        actor.stop(SECOND).await.unwrap();
        let seen = published.await.unwrap();
        // A thousand changes over a second and a bit of virtual time.
        assert!((8..=25).contains(&seen.len()), "{seen:?}");
        world.allow_failures();
    });
}

#[test]
fn an_idle_actor_publishes_nothing_and_outlives_its_ports() {
    world(|world| async move {
        let script = Script::new();
        let actor = world.start(mailbox::<Victim>(), Victim::again(&script));
        world.settle().await;
        let mut status = actor.watch_status();
        status.mark_unchanged();
        world.advance(9 * SECOND).await;
        assert!(!status.has_changed().unwrap());
        world.advance(2 * SECOND).await;
        assert!(status.has_changed().unwrap(), "its timer ran at ten seconds");
        assert_eq!((actor.health(), script.ticks.load(SeqCst)), (ActorHealth::Running, 1));
    });
}

#[test]
fn a_stopped_actor_closes_its_ports_and_is_not_restarted() {
    world(|world| async move {
        let script = Script::new();
        let mailbox = mailbox::<Victim>();
        let inc = mailbox.port::<Inc>(1);
        let actor = world.start(mailbox, Victim::again(&script));
        assert_eq!(inc.ask(Inc, SECOND).await, Ok(1));
        actor.stop(SECOND).await.unwrap();
        actor.stop(SECOND).await.unwrap();
        assert_eq!(inc.ask(Inc, SECOND).await, Err(AskError::Closed { message: "inc" }));
        assert_eq!(world.next_event().await.what, SupervisionChange::Stopped);
        assert_eq!(script.fresh.load(SeqCst), 1);
    });
}

#[test]
fn a_stop_lets_the_actor_take_up_what_was_queued_before_it() {
    world(|world| async move {
        let script = Script::new();
        let mailbox = mailbox::<Victim>();
        let inc = mailbox.port::<Inc>(2_000);
        let actor = world.start(mailbox, Victim::again(&script));
        (0..1_000).for_each(|_| inc.tell(Inc).unwrap());
        actor.stop(SECOND).await.unwrap();
        assert_eq!(script.handled.load(SeqCst), 1_000);
        assert_eq!((inc.depth(), inc.is_closed()), (0, true));
    });
}

/// Writes down what happens to it.
struct Diarist {
    diary: SyncSender<(u64, &'static str)>,
}

impl Diarist {
    fn note(&self, ctx: &Ctx<'_, Self>, what: &'static str) {
        self.diary.send((ctx.now().0 - START.0, what)).unwrap();
    }
}

impl Actor for Diarist {
    const KIND: ActorKind = ActorKind::Workflow;
    type Status = ();

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        let cancelled = ctx.after(30 * MS, |diarist, ctx| diarist.note(ctx, "never"));
        ctx.after(20 * MS, move |diarist, ctx| {
            diarist.note(ctx, "after");
            cancelled.cancel(ctx);
        });
        ctx.every(25 * MS, |diarist, ctx| diarist.note(ctx, "every"));
        ctx.spawn_then(tokio::time::sleep(40 * MS), |diarist, (), ctx| diarist.note(ctx, "then"));
        ctx.spawn_blocking_then(|| "work", |diarist, done, ctx| diarist.note(ctx, done));
        ctx.after(90 * MS, |diarist, ctx| {
            assert_eq!(ctx.tasks_in_flight(), 1, "only the period is left");
            diarist.note(ctx, "stop");
            ctx.stop();
            ctx.fail("a stop stands".to_owned());
        });
    }

    fn status(&self) {}
}

#[test]
fn timers_and_futures_run_in_their_time_until_the_actor_ends_itself() {
    let (diary, read) = std::sync::mpsc::sync_channel(64);
    world(|world| async move {
        let actor = world.start(mailbox::<Diarist>(), move || Diarist { diary: diary.clone() });
        world.advance(SECOND).await;
        assert_eq!(actor.health(), ActorHealth::Stopped);
    });
    let entries: Vec<_> = read.into_iter().collect();
    assert!(entries.iter().any(|(_, what)| *what == "work"), "{entries:?}");
    let timed: Vec<_> = entries.into_iter().filter(|(_, what)| *what != "work").collect();
    assert_eq!(
        timed,
        [(20, "after"), (25, "every"), (40, "then"), (50, "every"), (75, "every"), (90, "stop")]
    );
}

#[test]
fn a_busy_actor_leaves_its_neighbour_a_turn() {
    world(|world| async move {
        let (script, other) = (Script::new(), Script::new());
        let (busy, idle) = (mailbox::<Victim>(), mailbox::<Victim>());
        let (flood, ask) = (busy.port::<Inc>(100_000), idle.port::<Urgent>(1));
        while flood.tell(Inc).is_ok() {}
        world.start(busy, Victim::again(&script));
        world.start(idle, Victim::again(&other));
        let counted = std::sync::Arc::clone(&script);
        let asked = actix_rt::spawn(async move {
            assert_eq!(ask.ask(Urgent, SECOND).await, Ok(1));
            counted.handled.load(SeqCst)
        });
        let before = asked.await.unwrap();
        assert!(before <= 4 * crate::supervise::TURN, "{before} messages came before the neighbour's");
        world.settle().await;
        assert_eq!(script.handled.load(SeqCst), 100_000);
    });
}

#[test]
fn thousands_of_futures_and_timers_of_one_actor_do_not_slow_its_messages_down() {
    struct Crowd;
    impl Actor for Crowd {
        const KIND: ActorKind = ActorKind::Executor;
        type Status = ();
        fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
            for n in 0..20_000 {
                ctx.after(SECOND * (1 + n % 7), |_, _| {});
                ctx.spawn(std::future::pending());
            }
        }
        fn status(&self) {}
    }
    impl Handles<Inc> for Crowd {
        fn handle(&mut self, _: Inc, reply: Reply<u32>, ctx: &mut Ctx<'_, Self>) {
            reply.send(u32::try_from(ctx.tasks_in_flight()).unwrap());
        }
    }
    world(|world| async move {
        let mailbox = mailbox::<Crowd>();
        let inc = mailbox.port::<Inc>(1);
        world.start(mailbox, || Crowd);
        // Were all polled at each message, this would be 400 million polls.
        for _ in 0..10_000 {
            assert_eq!(inc.ask(Inc, SECOND / 2).await, Ok(40_000));
        }
        world.advance(8 * SECOND).await;
        assert_eq!(inc.ask(Inc, SECOND).await, Ok(20_000), "the timers ran");
    });
}

/// Eight actors that gossip for ten virtual minutes, as text.
fn gossip(seed: u64) -> String {
    struct Gossip(usize);
    requests! { Gossip = "gossip" -> (), }
    struct Node {
        id: usize,
        peers: Vec<Port<Gossip>>,
        heard: usize,
        trace: Rc<RefCell<String>>,
    }
    impl Actor for Node {
        const KIND: ActorKind = ActorKind::Discovery;
        type Status = usize;
        fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
            ctx.every(SECOND * (7 + 3 * u32::try_from(self.id).unwrap()), |node, _| {
                node.peers.iter().for_each(|peer| peer.tell(Gossip(2)).unwrap());
            });
        }
        fn status(&self) -> usize {
            self.heard
        }
    }
    impl Handles<Gossip> for Node {
        fn handle(&mut self, Gossip(hops): Gossip, _: Reply<()>, ctx: &mut Ctx<'_, Self>) {
            self.heard += 1;
            self.trace.borrow_mut().push_str(&format!("{} {} {hops}\n", ctx.now(), self.id));
            assert!(self.heard != 100, "enough");
            if let Some(hops) = hops.checked_sub(1) {
                let to = self.peers[self.heard % self.peers.len()].clone();
                ctx.spawn_then(tokio::time::sleep(5 * MS), move |_, (), _| to.tell(Gossip(hops)).unwrap());
            }
        }
    }
    // The trace is shared on one thread, but `fresh` must be able to move to another.
    thread_local!(static TRACE: Rc<RefCell<String>> = Rc::default());
    TRACE.with(|trace| trace.borrow_mut().clear());
    world_with_seed(seed, |world| async move {
        world.allow_failures();
        let boxes: Vec<_> = (0..8).map(|_| mailbox::<Node>()).collect();
        let ports: Vec<_> = boxes.iter().map(|mailbox| mailbox.port::<Gossip>(64)).collect();
        for (id, mailbox) in boxes.into_iter().enumerate() {
            let mut peers = ports.clone();
            peers.remove(id);
            world.start(mailbox, move || Node {
                id,
                peers: peers.clone(),
                heard: 0,
                trace: TRACE.with(Rc::clone),
            });
        }
        world.advance(600 * SECOND).await;
    });
    TRACE.with(|trace| trace.borrow().clone())
}

#[test]
fn a_world_of_actors_with_failures_runs_the_same_again() {
    let first = gossip(1);
    assert!(first.lines().count() > 3_000);
    for _ in 0..5 {
        assert!(gossip(1) == first);
    }
    assert!(gossip(2) != first, "back-off has jitter");
}

#[test]
#[should_panic(expected = "an actor failed unexpectedly")]
fn a_world_fails_the_test_when_an_actor_failed_and_the_test_did_not_look() {
    world(|world| async move {
        let mailbox = mailbox::<Victim>();
        let breaks = mailbox.port::<Break>(1);
        world.start(mailbox, Victim::again(&Script::new()));
        breaks.tell(Break(Way::Handler)).unwrap();
        world.settle().await;
    });
}

#[test]
#[should_panic(expected = "the test left 1 actors behind")]
fn a_world_fails_the_test_when_an_actor_is_left_behind() {
    world(|world| async move {
        let other = Supervision::current_thread(Clock::starting_at(START), 1).unwrap();
        mailbox::<Victim<Degrading>>().start(&other, Victim::again(&Script::new()));
        world.settle().await;
    });
}

#[test]
fn actors_cannot_be_placed_on_a_thread_without_a_system() {
    let error = Supervision::current_thread(Clock::system(), 1).unwrap_err();
    assert!(matches!(error, SupervisionError::NoSystem));
}
