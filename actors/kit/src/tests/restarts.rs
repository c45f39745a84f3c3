//! An actor that fails starts afresh; its messages survive; too many failures end it.

use super::actors::{As, Break, Brittle, Degrading, Hold, Inc, Script, Victim, Vital, Way};
use crate::testing::{World, world, world_with_seed};
use crate::{
    ActorHealth, ActorKind, ActorRef, AskError, CauseKind, GiveUp, Port, SupervisionChange, TellError,
    mailbox,
};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

struct Scene<K: As> {
    actor: ActorRef,
    inc: Port<Inc>,
    breaks: Port<Break>,
    hold: Port<Hold>,
    script: Arc<Script>,
    kind: std::marker::PhantomData<K>,
}

impl<K: As> Scene<K> {
    fn new(world: &World) -> Self {
        Self::with(world, Script::new())
    }

    fn with(world: &World, script: Arc<Script>) -> Self {
        let mailbox = mailbox::<Victim<K>>();
        let (inc, breaks, hold) = (mailbox.port(16), mailbox.port(4), mailbox.port(4));
        let actor = world.start(mailbox, Victim::again(&script));
        Self { actor, inc, breaks, hold, script, kind: std::marker::PhantomData }
    }

    async fn inc(&self) -> Result<u32, AskError> {
        self.inc.ask(Inc, 30 * SECOND).await
    }
}

/// The next event must be a restart; returns its cause.
async fn restart(world: &World) -> (CauseKind, String, u32, Duration) {
    match world.next_event().await.what {
        SupervisionChange::Restarting { cause, attempt, backoff } => {
            (cause.kind, cause.to_string(), attempt, backoff)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_message_that_panics_is_answered_closed_and_those_behind_it_by_a_fresh_state() {
    world(|world| async move {
        let scene = Scene::<Degrading>::new(&world);
        assert_eq!(scene.inc().await, Ok(1));
        assert_eq!(scene.inc().await, Ok(2));
        let (broken, first, second) =
            tokio::join!(biased; scene.breaks.ask(Break(Way::Handler), SECOND), scene.inc(), scene.inc());
        assert_eq!(broken, Err(AskError::Closed { message: "break" }));
        assert_eq!((first, second), (Ok(1), Ok(2)), "the state is fresh and the queue survived");
        let (kind, text, attempt, _) = restart(&world).await;
        assert_eq!((kind, attempt), (CauseKind::Handler, 1));
        assert_eq!(text, "panic in the handler of break: in handler");
        assert_eq!(scene.actor.health(), ActorHealth::Running);
        assert_eq!(scene.actor.restarts(), 1);
        assert_eq!(scene.breaks.depth(), 0, "the permit of the message that panicked is free again");
    });
}

#[test]
fn a_failure_anywhere_in_an_actor_restarts_it() {
    let ways = [
        (Way::Timer, CauseKind::Timer, "panic in timer: in timer"),
        (Way::Tick, CauseKind::Timer, "panic in timer: in tick"),
        (Way::Spawned, CauseKind::Task, "panic in task: in future"),
        (Way::SpawnedThen, CauseKind::Task, "panic in task: in future"),
        (Way::Completion, CauseKind::Task, "panic in task: in completion"),
        (Way::Blocking, CauseKind::Task, "panic in task: in blocking work"),
        (Way::Status, CauseKind::Status, "panic in status: in status"),
        (Way::Fail, CauseKind::Failed, "it failed: had enough"),
        (Way::DropOfState, CauseKind::Handler, "panic in the handler of break: in handler"),
    ];
    for (way, kind, text) in ways {
        world(|world| async move {
            let scene = Scene::<Degrading>::new(&world);
            assert_eq!(scene.inc().await, Ok(1));
            scene.breaks.tell(Break(way)).unwrap();
            let (seen, seen_text, attempt, _) = restart(&world).await;
            assert_eq!((seen, seen_text.as_str(), attempt), (kind, text, 1), "{way:?}");
            assert_eq!(scene.inc().await, Ok(1), "{way:?}: the state is fresh");
            assert_eq!(scene.script.started.load(SeqCst), 2, "{way:?}");
        });
    }
}

#[test]
fn a_failure_at_the_start_is_one_like_any_other() {
    world(|world| async move {
        let script = Script::new();
        script.panics_in_fresh.store(1, SeqCst);
        script.panics_in_started.store(1, SeqCst);
        script.failures_in_started.store(1, SeqCst);
        let scene = Scene::<Degrading>::with(&world, script);
        assert_eq!(scene.inc().await, Ok(1), "a message sent before the start waits for the fourth attempt");
        for (expected, number) in [(CauseKind::Fresh, 1), (CauseKind::Started, 2), (CauseKind::Failed, 3)] {
            let (kind, _, attempt, _) = restart(&world).await;
            assert_eq!((kind, attempt), (expected, number));
        }
        assert_eq!(scene.script.fresh.load(SeqCst), 4);
    });
}

async fn gives_up_after<K: As>(world: World, restarts: u32, then: GiveUp) {
    let scene = Scene::<K>::new(&world);
    for n in 1..=restarts {
        assert!(scene.breaks.ask(Break(Way::Handler), 30 * SECOND).await.is_err());
        assert_eq!(restart(&world).await.2, n);
    }
    let (broken, queued) =
        tokio::join!(biased; scene.breaks.ask(Break(Way::Handler), 30 * SECOND), scene.inc());
    assert_eq!(broken, Err(AskError::Closed { message: "break" }));
    assert_eq!(queued, Err(AskError::Closed { message: "inc" }), "what is queued is not left waiting");
    let event = world.next_event().await;
    assert_eq!(event.kind, K::KIND);
    let SupervisionChange::GaveUp { cause, then: seen } = event.what else { panic!("{event:?}") };
    assert_eq!((cause.kind, seen), (CauseKind::Handler, then));
    let reason = "panic in the handler of break: in handler".to_owned();
    assert_eq!(scene.actor.health(), ActorHealth::GaveUp { reason });
    assert_eq!(scene.inc.tell(Inc), Err(TellError::Closed { message: "inc" }));
    assert!(scene.inc.is_closed());
    assert_eq!(u64::from(restarts), scene.actor.restarts());
}

#[test]
fn an_actor_that_the_node_can_do_without_gives_up_into_a_degraded_node() {
    world(|world| gives_up_after::<Degrading>(world, 5, GiveUp::Degraded));
}

#[test]
fn an_actor_that_the_node_needs_gives_up_into_the_end_of_the_node() {
    world(|world| gives_up_after::<Vital>(world, 3, GiveUp::StopNode));
}

#[test]
fn the_store_is_never_restarted() {
    world(|world| gives_up_after::<Brittle>(world, 0, GiveUp::StopNode));
}

#[test]
fn failures_older_than_the_window_are_forgotten() {
    world(|world| async move {
        let scene = Scene::<Vital>::new(&world);
        for _ in 0..20 {
            scene.breaks.tell(Break(Way::Handler)).unwrap();
            let (_, _, attempt, _) = restart(&world).await;
            assert_eq!(attempt, 1);
            world.advance(ActorKind::Queue.policy().window + SECOND).await;
        }
        assert_eq!(scene.actor.health(), ActorHealth::Running);
    });
}

/// When an actor that fails in `started` was restarted, in virtual milliseconds, until it gave up.
fn trace_of_hopeless_starts(seed: u64) -> Vec<(u128, Duration)> {
    let (tx, rx) = std::sync::mpsc::sync_channel(16);
    world_with_seed(seed, |world| async move {
        let script = Script::new();
        script.failures_in_started.store(u32::MAX, SeqCst);
        let scene = Scene::<Degrading>::with(&world, script);
        let begin = tokio::time::Instant::now();
        for _ in 0..5 {
            let (kind, _, _, backoff) = restart(&world).await;
            assert_eq!(kind, CauseKind::Failed);
            tx.send((begin.elapsed().as_millis(), backoff)).unwrap();
        }
        assert!(matches!(world.next_event().await.what, SupervisionChange::GaveUp { .. }));
        tx.send((begin.elapsed().as_millis(), Duration::ZERO)).unwrap();
        assert_eq!(scene.script.started.load(SeqCst), 6, "one start and five restarts, no more");
    });
    rx.into_iter().collect()
}

#[test]
fn an_actor_that_fails_in_started_backs_off_exponentially_instead_of_spinning() {
    let trace = trace_of_hopeless_starts(7);
    let backoff = ActorKind::Discovery.policy().backoff;
    for (n, pair) in (1..).zip(trace.windows(2)) {
        let (wait, full) = (pair[0].1, backoff.full_delay(n));
        assert!(wait <= full && wait >= full.mul_f64(1.0 - backoff.jitter), "{n}: {wait:?} of {full:?}");
        let passed = pair[1].0 - pair[0].0;
        // The test looks every two milliseconds, and timers have a grain of one.
        assert!(passed.abs_diff(wait.as_millis()) <= 3, "{n}: {passed} ms instead of {wait:?}");
    }
    assert_eq!(trace, trace_of_hopeless_starts(7), "the same seed waits the same time");
    assert_ne!(trace, trace_of_hopeless_starts(8), "another seed another");
}

#[test]
fn nothing_of_a_failed_state_lives_on() {
    world(|world| async move {
        let scene = Scene::<Degrading>::new(&world);
        let hold = scene.hold.clone();
        let held = actix_rt::spawn(async move { hold.ask(Hold, 30 * SECOND).await });
        world.advance(25 * SECOND).await;
        assert_eq!(scene.script.ticks.load(SeqCst), 2);
        scene.breaks.tell(Break(Way::Handler)).unwrap();
        world.settle().await;
        assert!(matches!(scene.actor.health(), ActorHealth::BackingOff { attempt: 1 }));
        assert!(held.is_finished(), "whoever waited for the old state knows at once, not after the back-off");
        assert_eq!(held.await.unwrap(), Err(AskError::Closed { message: "hold" }));
        world.advance(9 * SECOND).await;
        assert_eq!(scene.script.ticks.load(SeqCst), 2, "the old state's timer is gone");
        world.advance(10 * SECOND).await;
        assert_eq!(scene.script.ticks.load(SeqCst), 3, "the new one's runs from its start");
        world.allow_failures();
    });
}

#[test]
fn an_actor_can_be_stopped_while_it_backs_off() {
    world(|world| async move {
        let scene = Scene::<Degrading>::new(&world);
        scene.breaks.tell(Break(Way::Handler)).unwrap();
        let _ = restart(&world).await;
        let begin = tokio::time::Instant::now();
        scene.actor.stop(SECOND).await.unwrap();
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert_eq!(scene.actor.health(), ActorHealth::Stopped);
        assert_eq!(scene.script.fresh.load(SeqCst), 1);
    });
}

#[test]
fn the_build_unwinds_as_restarts_need() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let release = manifest.split("[profile.release]").nth(1).expect("a release profile");
    let release = release.split("\n[").next().unwrap();
    assert!(release.contains("panic = \"unwind\""), "the release profile says so explicitly");
}
