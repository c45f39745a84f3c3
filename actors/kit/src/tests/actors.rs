//! The actor that the tests torment.

use crate::{Actor, ActorKind, Ctx, Handles, Reply};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

macro_rules! requests {
    ($($request:ident = $name:literal -> $reply:ty,)*) => {
        $(impl meshwork_proto::Request for $request {
            type Reply = $reply;
            const NAME: &'static str = $name;
        })*
    };
}
pub(super) use requests;

/// Adds one and says how many there are in this state.
pub(super) struct Inc;
/// Fails in the way it says.
pub(super) struct Break(pub(super) Way);
/// Is never answered while the state lives.
pub(super) struct Hold;
/// The same as [`Inc`], for another port.
pub(super) struct Urgent;

requests! {
    Inc = "inc" -> u32,
    Break = "break" -> (),
    Hold = "hold" -> (),
    Urgent = "urgent" -> u32,
}

/// Ways to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Handler,
    Timer,
    Tick,
    Spawned,
    SpawnedThen,
    Completion,
    Blocking,
    Status,
    Fail,
    DropOfState,
}

/// Which kind of actor a [`Victim`] is.
pub(super) trait As: 'static {
    const KIND: ActorKind;
}
/// Five restarts, then degraded.
pub(super) struct Degrading;
impl As for Degrading {
    const KIND: ActorKind = ActorKind::Discovery;
}
/// Three restarts, then the node stops.
pub(super) struct Vital;
impl As for Vital {
    const KIND: ActorKind = ActorKind::Queue;
}
/// No restart.
pub(super) struct Brittle;
impl As for Brittle {
    const KIND: ActorKind = ActorKind::Store;
}

/// What outlives the state: counters, and how often the start shall fail.
#[derive(Default)]
pub(super) struct Script {
    pub(super) fresh: AtomicU32,
    pub(super) started: AtomicU32,
    pub(super) handled: AtomicU32,
    pub(super) ticks: AtomicU32,
    pub(super) panics_in_fresh: AtomicU32,
    pub(super) panics_in_started: AtomicU32,
    pub(super) failures_in_started: AtomicU32,
}

impl Script {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }
}

/// Takes one off, if there is one.
fn take(counter: &AtomicU32) -> bool {
    counter.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok()
}

pub(super) struct Victim<K: As = Degrading> {
    count: u32,
    held: Vec<Reply<()>>,
    script: Arc<Script>,
    break_status: bool,
    break_drop: bool,
    kind: PhantomData<K>,
}

impl<K: As> Victim<K> {
    pub(super) fn new(script: &Arc<Script>) -> Self {
        script.fresh.fetch_add(1, SeqCst);
        assert!(!take(&script.panics_in_fresh), "in fresh");
        let script = Arc::clone(script);
        Self { count: 0, held: Vec::new(), script, break_status: false, break_drop: false, kind: PhantomData }
    }

    /// A function that builds this state again and again.
    pub(super) fn again(script: &Arc<Script>) -> impl FnMut() -> Self + Send + 'static {
        let script = Arc::clone(script);
        move || Self::new(&script)
    }
}

impl<K: As> Drop for Victim<K> {
    fn drop(&mut self) {
        assert!(!self.break_drop, "in drop");
    }
}

impl<K: As> Actor for Victim<K> {
    const KIND: ActorKind = K::KIND;
    type Status = u32;

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        self.script.started.fetch_add(1, SeqCst);
        assert!(!take(&self.script.panics_in_started), "in started");
        if take(&self.script.failures_in_started) {
            ctx.fail("not today".to_owned());
        }
        ctx.every(Duration::from_secs(10), |actor, _| {
            actor.script.ticks.fetch_add(1, SeqCst);
        });
    }

    fn status(&self) -> u32 {
        assert!(!self.break_status, "in status");
        self.count
    }
}

impl<K: As> Handles<Inc> for Victim<K> {
    fn handle(&mut self, _: Inc, reply: Reply<u32>, _: &mut Ctx<'_, Self>) {
        self.count += 1;
        self.script.handled.fetch_add(1, SeqCst);
        reply.send(self.count);
    }
}

impl<K: As> Handles<Urgent> for Victim<K> {
    fn handle(&mut self, _: Urgent, reply: Reply<u32>, _: &mut Ctx<'_, Self>) {
        self.count += 1;
        reply.send(self.count);
    }
}

impl<K: As> Handles<Hold> for Victim<K> {
    fn handle(&mut self, _: Hold, reply: Reply<()>, _: &mut Ctx<'_, Self>) {
        self.held.push(reply);
    }
}

impl<K: As> Handles<Break> for Victim<K> {
    fn handle(&mut self, Break(way): Break, reply: Reply<()>, ctx: &mut Ctx<'_, Self>) {
        const SOON: Duration = Duration::from_millis(5);
        match way {
            Way::Handler => panic!("in handler"),
            Way::Timer => drop(ctx.after(SOON, |_, _| panic!("in timer"))),
            Way::Tick => ctx.every(SOON, |_, _| panic!("in tick")),
            Way::Spawned => ctx.spawn(async {
                tokio::time::sleep(SOON).await;
                panic!("in future")
            }),
            Way::SpawnedThen => ctx.spawn_then(async { panic!("in future") }, |_, (), _| {}),
            Way::Completion => ctx.spawn_then(async {}, |_, (), _| panic!("in completion")),
            Way::Blocking => ctx.spawn_blocking_then(|| panic!("in blocking work"), |_, (), _| {}),
            Way::Status => self.break_status = true,
            Way::Fail => ctx.fail("had enough".to_owned()),
            Way::DropOfState => {
                self.break_drop = true;
                panic!("in handler");
            }
        }
        if way != Way::Fail {
            reply.send(());
        }
    }
}
