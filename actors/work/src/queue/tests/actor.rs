//! The actor: between messages and a store that the story holds in its hands, with a paused clock.

mod ends;

use super::bench::{self, done, failed, offer, owner, task};
use super::disk::Disk;
use crate::queue::logic::ReadPlan;
use crate::queue::options::QueueOptions;
use crate::queue::{QueueDeps, QueuePorts, QueueStatus, prepare};
use meshwork_kit::testing::{self, Probe, World, probe};
use meshwork_kit::{ActorRef, AskError, Port, Reply, SupervisionChange, channel_port};
use meshwork_proto::executor::StopTask;
use meshwork_proto::queue::{
    By, Cancel, Claim, Claimed, Finish, GetTask, LeaseReport, List, QueueError, QueueOp, Renew, Renewal,
    StartDraining, Stats, Submit, Submitted, WorkerPeerBack, WorkerPeerLost,
};
use meshwork_proto::store::{Commit, Family, ReadKey, ReadKeys, Scan, StoreError};
use meshwork_proto::task::{TaskGrant, TaskStatus};
use meshwork_proto::transport::{CallPeer, PeerTarget};
use meshwork_proto::wire::MeshRequest;
use meshwork_proto::workflow::TaskEnded;
use meshwork_proto::{Caller, Coded, ErrorCode, WorkerId};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);
/// Ends that the coordinator takes at a time.
const ENDS: usize = 4;

type CommitReply = Reply<Result<(), StoreError>>;

/// A store that does what the story says.
#[derive(Default)]
struct Store {
    disk: Disk,
    /// Commits are kept unanswered.
    hold: bool,
    held: VecDeque<(Commit, CommitReply)>,
    /// The next commit with operations is refused.
    refuse: Option<StoreError>,
    /// Reads fail.
    unreadable: bool,
}

impl Store {
    fn take(&mut self, commit: Commit, reply: CommitReply) {
        if self.hold {
            return self.held.push_back((commit, reply));
        }
        match self.refuse.take() {
            Some(error) => reply.send(Err(error)),
            None => {
                self.disk.apply(&commit.ops);
                reply.send(Ok(()));
            }
        }
    }

    /// Writes the oldest commit and answers it.
    fn release(&mut self) {
        let (commit, reply) = self.held.pop_front().expect("a commit is held");
        self.disk.apply(&commit.ops);
        reply.send(Ok(()));
    }

    fn readable<T>(&self, value: T) -> Result<T, StoreError> {
        if self.unreadable { Err(StoreError::Database("bad sector".into())) } else { Ok(value) }
    }
}

/// A queue in a world, with its store and what it tells others.
struct Scene {
    ports: QueuePorts,
    store: Rc<RefCell<Store>>,
    stops: Probe<StopTask>,
    calls: Probe<CallPeer>,
    ends: Probe<TaskEnded>,
    actor: ActorRef,
    registry: prometheus::Registry,
}

impl Scene {
    fn start(world: &World) -> Self {
        Self::with(world, Rc::default(), 64, |_| {})
    }

    /// `early` is called before the actor is started.
    fn with(world: &World, store: Rc<RefCell<Store>>, room: usize, early: impl FnOnce(&QueuePorts)) -> Self {
        let (ports, seed) = prepare(QueueOptions::default()).unwrap();
        early(&ports);
        let (stop_local, stops) = probe(64);
        let (call_peer, calls) = probe(64);
        let (ended, ends) = probe(ENDS);
        let deps = QueueDeps {
            clock: world.clock().clone(),
            commit: commits(&store, room),
            read_key: reads(&store, |store, ReadKey { family, key }| {
                store.readable(store.disk.get(family, &key))
            }),
            read_keys: reads(&store, |store, ReadKeys { family, keys }| {
                let plan = ReadPlan::Keys(vec![(family, keys)]);
                let crate::queue::logic::Found::Values(mut groups) = store.disk.read(&plan) else {
                    unreachable!()
                };
                store.readable(groups.remove(0))
            }),
            scan: reads(&store, |store, scan: Scan| store.readable(store.disk.scan(&scan))),
            epoch: 1,
            local_peer: owner(),
            stop_local,
            call_peer,
            ended,
            seed: 7,
        };
        let registry = prometheus::Registry::new();
        let actor = seed.start(world.supervision(), &registry, deps).unwrap();
        Self { ports, store, stops, calls, ends, actor, registry }
    }

    fn hold(&self, hold: bool) {
        self.store.borrow_mut().hold = hold;
    }

    fn held(&self) -> usize {
        self.store.borrow().held.len()
    }

    async fn submit(&self, tool: &str) -> Submitted {
        ask(&self.ports.submit, Submit(task(tool))).await.unwrap()
    }

    async fn claim(&self, worker: &str, wait_ms: u64) -> Vec<TaskGrant> {
        ask(&self.ports.claim, claim(worker, wait_ms)).await.unwrap().grants
    }

    async fn status_of(&self, id: meshwork_proto::TaskId) -> TaskStatus {
        ask(&self.ports.get, GetTask { id, wait_ms: 0 }).await.unwrap().status
    }

    fn status(&self) -> QueueStatus {
        self.actor.status().get::<QueueStatus>().unwrap().clone()
    }
}

fn commits(store: &Rc<RefCell<Store>>, room: usize) -> Port<Commit> {
    let (port, mut inbox) = channel_port::<Commit>(room);
    let store = Rc::clone(store);
    tokio::task::spawn_local(async move {
        loop {
            // While commits are held they stay in the port, as with a store that does not get on.
            if store.borrow().hold && store.borrow().held.len() >= 16 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            let Some(envelope) = inbox.recv().await else { return };
            let (commit, reply) = envelope.into_parts();
            store.borrow_mut().take(commit, reply);
        }
    });
    port
}

fn reads<R: meshwork_proto::Request>(
    store: &Rc<RefCell<Store>>,
    answer: impl Fn(&Store, R) -> R::Reply + 'static,
) -> Port<R> {
    let (port, probe) = probe::<R>(64);
    let store = Rc::clone(store);
    probe.reply_with(move |request| answer(&store.borrow(), request));
    port
}

async fn ask<T: QueueOp>(port: &Port<By<T>>, op: T) -> Result<T::Answer, QueueError> {
    port.ask(By { caller: Caller::Local, op }, LONG).await.expect("an answer")
}

fn claim(worker: &str, wait_ms: u64) -> Claim {
    Claim { worker: worker.parse().unwrap(), offer: offer(&["echo"]), credits: 1, wait_ms }
}

fn finish(worker: &str, grant: &TaskGrant, outcome: meshwork_proto::queue::Outcome) -> Finish {
    Finish { id: grant.id, fence: grant.fence, worker: worker.parse().unwrap(), outcome }
}

/// Runs beside the story.
fn aside<T: 'static>(work: impl Future<Output = T> + 'static) -> tokio::task::JoinHandle<T> {
    tokio::task::spawn_local(work)
}

fn own_worker() -> String {
    WorkerId::of_peer(&owner(), 1).to_string()
}

#[test]
fn a_task_goes_from_submission_to_its_result() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let id = scene.submit("echo").await.id;
        let waiting = aside({
            let get = scene.ports.get.clone();
            async move { ask(&get, GetTask { id, wait_ms: 60_000 }).await }
        });
        let grant = scene.claim("w", 0).await.remove(0);
        let lease = LeaseReport { id, fence: grant.fence, progress: None };
        let renew = Renew { worker: "w".parse().unwrap(), leases: vec![lease] };
        assert_eq!(ask(&scene.ports.renew, renew).await, Ok(vec![Renewal::Renewed { lease_ms: 30_000 }]));
        let finished = ask(&scene.ports.finish, finish("w", &grant, done())).await.unwrap();
        assert_eq!(finished.status, TaskStatus::Completed);
        let view = waiting.await.unwrap().unwrap();
        assert!(view.output.is_some());
        let page = ask(&scene.ports.list, List::default()).await.unwrap();
        assert_eq!(page.tasks, [view]);
        let stats = ask(&scene.ports.stats, Stats { detail: false }).await.unwrap();
        assert_eq!(stats.by_status[&TaskStatus::Completed], 1);
    });
}

#[test]
fn messages_from_before_the_start_wait_until_the_state_is_loaded() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let id = scene.submit("echo").await.id;
        let disk = scene.store.borrow().disk.clone();
        let store = Rc::new(RefCell::new(Store { disk, ..Store::default() }));
        let mut early = None;
        let second = Scene::with(&world, store, 64, |ports| {
            let port = ports.claim.clone();
            early = Some(aside(async move { ask(&port, claim("w", 0)).await }));
        });
        let claimed: Claimed = early.unwrap().await.unwrap().unwrap();
        assert_eq!(claimed.grants[0].id, id);
        world.advance(Duration::from_millis(200)).await;
        assert!(!second.status().loading);
    });
}

#[test]
fn nothing_is_acknowledged_while_its_commit_is_held() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        scene.submit("echo").await;
        let grant = scene.claim("w", 0).await.remove(0);
        scene.hold(true);
        let submit = scene.ports.submit.clone();
        let submitted = aside(async move { ask(&submit, Submit(task("echo"))).await });
        let report = scene.ports.finish.clone();
        let finish = finish("w", &grant, done());
        let finished = aside(async move { ask(&report, finish).await });
        world.advance(Duration::from_secs(5)).await;
        assert!(!submitted.is_finished() && !finished.is_finished());
        assert_eq!(scene.held(), 2);
        scene.store.borrow_mut().release();
        world.settle().await;
        assert!(submitted.is_finished() && !finished.is_finished());
        scene.store.borrow_mut().release();
        assert_eq!(finished.await.unwrap().unwrap().status, TaskStatus::Completed);
    });
}

#[test]
fn commits_keep_their_order_when_the_store_has_little_room() {
    testing::world(|world| async move {
        let scene = Scene::with(&world, Rc::default(), 1, |_| {});
        world.settle().await;
        scene.hold(true);
        let mut waiting = Vec::new();
        for n in 0..100_u64 {
            let submit = scene.ports.submit.clone();
            let mut spec = task("echo");
            spec.idempotency_key = None;
            spec.delay_ms = n + 1;
            waiting.push(aside(async move { ask(&submit, Submit(spec)).await.unwrap().id }));
        }
        world.settle().await;
        scene.hold(false);
        while scene.held() > 0 {
            scene.store.borrow_mut().release();
        }
        let mut ids = Vec::new();
        for id in waiting {
            ids.push(id.await.unwrap());
        }
        let order = scene.store.borrow().disk.entries(Family::Ready);
        let seq = |key: &bytes::Bytes| {
            let (_, value) = order.iter().find(|(known, _)| known == key).unwrap();
            crate::queue::records::read::<crate::queue::records::RouteRecord>(value).unwrap().seq
        };
        let seqs: Vec<u64> = ids.iter().map(|id| seq(&crate::queue::records::id_key(*id))).collect();
        assert!(seqs.is_sorted(), "{seqs:?}");
    });
}

#[test]
fn while_the_store_is_behind_nothing_is_granted_and_nothing_is_lost() {
    testing::world(|world| async move {
        let scene = Scene::with(&world, Rc::default(), 1, |_| {});
        for _ in 0..600 {
            scene.submit("echo").await;
        }
        scene.hold(true);
        let mut granted = 0;
        for _ in 0..600 {
            granted += scene.claim("w", 0).await.len();
        }
        assert!((200..400).contains(&granted), "{granted} before it stopped");
        let claiming = scene.ports.claim.clone();
        let waiting = aside(async move { ask(&claiming, claim("w", 60_000)).await });
        scene.hold(false);
        let release = scene.store.clone();
        aside(async move {
            while !release.borrow().held.is_empty() {
                release.borrow_mut().release();
            }
        });
        assert_eq!(
            waiting.await.unwrap().unwrap().grants.len(),
            1,
            "it goes on when the store has caught up"
        );
        let stats = ask(&scene.ports.stats, Stats { detail: false }).await.unwrap();
        assert_eq!(stats.by_status[&TaskStatus::Running], granted as u64 + 1);
    });
}

#[test]
fn a_full_disk_refuses_submissions_with_its_reason_and_restarts_nothing() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let id = scene.submit("echo").await.id;
        scene.store.borrow_mut().refuse = Some(StoreError::DiskFull { free: 1, reserve: 2 });
        let error = ask(&scene.ports.submit, Submit(task("echo"))).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::DiskFull);
        assert_eq!(scene.status_of(id).await, TaskStatus::Queued);
        let grant = scene.claim("w", 0).await.remove(0);
        ask(&scene.ports.finish, finish("w", &grant, done())).await.unwrap();
        scene.submit("echo").await;
        assert_eq!(scene.actor.restarts(), 0);
    });
}

#[test]
fn after_a_database_error_everybody_is_told_and_the_queue_comes_back_with_what_is_stored() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let id = scene.submit("echo").await.id;
        let other = scene.submit("echo").await.id;
        let grant = scene.claim("w", 0).await.remove(0);
        let get = scene.ports.get.clone();
        let reader = aside(async move { ask(&get, GetTask { id: other, wait_ms: 60_000 }).await });
        world.settle().await;
        scene.store.borrow_mut().refuse = Some(StoreError::Database("io error".into()));
        let error = ask(&scene.ports.finish, finish("w", &grant, done())).await.unwrap_err();
        assert_eq!(error, QueueError::Store(StoreError::Database("io error".into())));
        assert!(matches!(reader.await.unwrap(), Err(QueueError::Store(_))));
        let event = world.next_event().await;
        assert!(matches!(event.what, SupervisionChange::Restarting { .. }), "{event:?}");
        assert_eq!(scene.status_of(id).await, TaskStatus::Running, "it was not written that it ended");
        let finished = ask(&scene.ports.finish, finish("w", &grant, done())).await.unwrap();
        assert_eq!(finished.status, TaskStatus::Completed);
        let next = scene.claim("w", 0).await.remove(0);
        assert!(next.id == other && next.fence > grant.fence, "fences go on");
    });
}

#[test]
fn a_store_that_cannot_be_read_at_the_start_is_tried_again() {
    testing::world(|world| async move {
        let store = Rc::new(RefCell::new(Store { unreadable: true, ..Store::default() }));
        let scene = Scene::with(&world, store, 64, |_| {});
        let event = world.next_event().await;
        assert!(matches!(event.what, SupervisionChange::Restarting { .. }), "{event:?}");
        scene.store.borrow_mut().unreadable = false;
        scene.submit("echo").await;
    });
}

#[test]
fn a_waiting_claim_is_woken_and_one_that_was_given_up_gets_nothing() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let claims = scene.ports.claim.clone();
        let by = By { caller: Caller::Local, op: claim("impatient", 60_000) };
        let given_up = claims.ask(by, Duration::from_secs(1)).await;
        assert!(matches!(given_up, Err(AskError::Timeout { .. })));
        let port = scene.ports.claim.clone();
        let waiting = aside(async move { ask(&port, claim("patient", 60_000)).await });
        world.settle().await;
        let id = scene.submit("echo").await.id;
        assert_eq!(waiting.await.unwrap().unwrap().grants[0].id, id);
        world.advance(Duration::from_secs(2)).await;
        let status = scene.status();
        assert_eq!((status.waiting_claims, status.unanswered), (0, 0), "nothing is kept of who went away");
    });
}

#[test]
fn time_alone_ends_leases_and_waits_and_the_worker_is_told() {
    testing::world(|world| async move {
        let mut scene = Scene::start(&world);
        let id = scene.submit("echo").await.id;
        let remote = WorkerId::of_peer(&bench::other(), 1).to_string();
        let grant = scene.claim(&remote, 0).await.remove(0);
        world.advance(Duration::from_millis(30_001)).await;
        assert_eq!(scene.status_of(id).await, TaskStatus::Queued);
        let (call, reply) = scene.calls.next().await;
        assert_eq!(call.target, PeerTarget::Id(bench::other()));
        assert_eq!(call.request, MeshRequest::StopTask(StopTask { id, fence: grant.fence, report: false }));
        drop(reply);
        let local = scene.claim(&own_worker(), 0).await.remove(0);
        ask(&scene.ports.cancel, Cancel { id, reason: None }).await.unwrap();
        let (stop, _) = scene.stops.next().await;
        assert_eq!(stop, StopTask { id, fence: local.fence, report: true });
        assert!(scene.claim("w", 10_000).await.is_empty(), "the wait ended");
    });
}

#[test]
fn lost_connections_free_leases_after_the_grace_time_unless_they_come_back() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let id = scene.submit("echo").await.id;
        scene.claim(WorkerId::of_peer(&bench::other(), 1).as_str(), 0).await.remove(0);
        scene.ports.worker_lost.tell(WorkerPeerLost(bench::other())).unwrap();
        world.advance(Duration::from_secs(3)).await;
        scene.ports.worker_back.tell(WorkerPeerBack(bench::other())).unwrap();
        world.advance(Duration::from_secs(10)).await;
        assert_eq!(scene.status_of(id).await, TaskStatus::Running);
        scene.ports.worker_lost.tell(WorkerPeerLost(bench::other())).unwrap();
        world.advance(Duration::from_millis(5001)).await;
        assert_eq!(scene.status_of(id).await, TaskStatus::Queued);
    });
}

#[test]
fn retries_come_when_their_back_off_is_over() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        scene.submit("echo").await;
        let grant = scene.claim("w", 0).await.remove(0);
        let retry_at =
            ask(&scene.ports.finish, finish("w", &grant, failed())).await.unwrap().retry_at.unwrap();
        let again = scene.claim("w", 60_000).await.remove(0);
        assert_eq!((again.id, again.attempt), (grant.id, 2));
        assert!(world.clock().now() >= retry_at);
    });
}

#[test]
fn a_draining_queue_says_so_and_shows_it() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        assert_eq!(ask(&scene.ports.drain, StartDraining).await, Ok(0));
        let refused = ask(&scene.ports.submit, Submit(task("echo"))).await;
        assert_eq!(refused, Err(QueueError::Draining));
        world.advance(Duration::from_secs(1)).await;
        assert!(scene.status().draining);
        let id = meshwork_proto::TaskId::from_bytes([1; 16]);
        scene.store.borrow_mut().unreadable = true;
        let unread = ask(&scene.ports.get, GetTask { id, wait_ms: 0 }).await;
        assert!(matches!(unread, Err(QueueError::Store(_))));
        scene.store.borrow_mut().unreadable = false;
        assert_eq!(scene.actor.restarts(), 0, "a read that fails concerns its asker alone");
    });
}

#[test]
fn a_draining_queue_drains_on_after_a_restart() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        scene.submit("echo").await;
        let grant = scene.claim("w", 0).await.remove(0);
        assert_eq!(ask(&scene.ports.drain, StartDraining).await, Ok(1));
        scene.store.borrow_mut().refuse = Some(StoreError::Database("io error".into()));
        ask(&scene.ports.finish, finish("w", &grant, done())).await.unwrap_err();
        world.next_event().await;
        let refused = ask(&scene.ports.submit, Submit(task("echo"))).await;
        assert_eq!(refused, Err(QueueError::Draining));
    });
}

#[test]
fn metrics_follow_what_happens() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        for _ in 0..3 {
            scene.submit("echo").await;
        }
        let grant = scene.claim("w", 0).await.remove(0);
        ask(&scene.ports.finish, finish("w", &grant, done())).await.unwrap();
        world.advance(Duration::from_millis(2500)).await;
        let text = prometheus::TextEncoder::new().encode_to_string(&scene.registry.gather()).unwrap();
        for line in [
            "meshwork_queue_submitted_total 3",
            "meshwork_queue_claimed_total 1",
            "meshwork_queue_finished_total{outcome=\"completed\"} 1",
            "meshwork_queue_tasks{status=\"queued\"} 2",
            "meshwork_queue_tasks{status=\"completed\"} 1",
            "meshwork_queue_time_in_queue_seconds_count 1",
            "meshwork_queue_run_seconds_count{outcome=\"completed\"} 1",
            "meshwork_queue_claim_wait_seconds_count 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.contains("meshwork_queue_oldest_ready_seconds 2"), "{text}");
    });
}

#[test]
fn options_that_make_no_sense_are_refused_before_anything_starts() {
    let wrong = QueueOptions { lease_s: 0.0, ..QueueOptions::default() };
    assert_eq!(prepare(wrong).unwrap_err().code(), ErrorCode::Config);
}
