//! The actor: between messages and a store, a queue and a coordinator that the story serves, with a paused clock.

use super::bench::{Disk, HOUR, MINUTE, every, run, task};
use crate::schedule::options::ScheduleOptions;
use crate::schedule::{ScheduleDeps, SchedulePorts, ScheduleStatus, prepare};
use meshwork_kit::testing::{self, Probe, World, probe};
use meshwork_kit::{ActorRef, Port, SupervisionChange};
use meshwork_proto::queue::{self, GetTask, QueueError, Submit, Submitted};
use meshwork_proto::schedule::{
    AddSchedule, By, ControlSchedule, ListSchedules, ScheduleAction, ScheduleError, ScheduleOp, ScheduleView,
    Scheduled,
};
use meshwork_proto::store::{Commit, Scan, StoreError};
use meshwork_proto::task::TaskStatus;
use meshwork_proto::workflow::{self, GetRun, RunState, RunSubmitted, SubmitRun, WorkflowError};
use meshwork_proto::{Caller, Coded, ErrorCode, RunId, TaskId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);

/// What the story serves.
#[derive(Default)]
struct Others {
    disk: Disk,
    /// The next commits are refused.
    refuse: Option<StoreError>,
    /// By idempotency key, when it was submitted.
    tasks: BTreeMap<String, TaskId>,
    /// Submissions, those of known keys included.
    submissions: usize,
}

/// A scheduler in a world.
struct Scene {
    ports: SchedulePorts,
    others: Rc<RefCell<Others>>,
    runs: Probe<workflow::By<SubmitRun>>,
    get_task: Probe<queue::By<GetTask>>,
    get_run: Probe<workflow::By<GetRun>>,
    actor: ActorRef,
    registry: prometheus::Registry,
}

impl Scene {
    fn start(world: &World) -> Self {
        Self::with(world, Rc::default(), |_| {})
    }

    /// `early` is called before the actor is started.
    fn with(world: &World, others: Rc<RefCell<Others>>, early: impl FnOnce(&SchedulePorts)) -> Self {
        let (ports, seed) = prepare(ScheduleOptions::default()).unwrap();
        early(&ports);
        let (submit_run, runs) = probe(8);
        let (get_task, tasks_read) = probe(8);
        let (get_run, runs_read) = probe(8);
        let deps = ScheduleDeps {
            clock: world.clock().clone(),
            commit: serve(&others, |others, commit: Commit| {
                match others.refuse.take_if(|_| commit.ops.len() > 1) {
                    Some(error) => Err(error),
                    None => {
                        others.disk.apply(&commit.ops);
                        Ok(())
                    }
                }
            }),
            scan: serve(&others, |others, scan: Scan| {
                let after =
                    others.disk.entries.iter().filter(|(key, _)| scan.from.is_empty() || **key > scan.from);
                Ok(after.take(scan.limit as usize).map(|(key, value)| (key.clone(), value.clone())).collect())
            }),
            submit_task: serve(&others, |others, by: queue::By<Submit>| {
                others.submissions += 1;
                let key = by.op.0.idempotency_key.unwrap();
                let next = TaskId::from_bytes([u8::try_from(others.tasks.len() + 1).unwrap(); 16]);
                let existing = others.tasks.contains_key(&key);
                let id = *others.tasks.entry(key).or_insert(next);
                Ok(Submitted { id, status: TaskStatus::Queued, existing })
            }),
            submit_run,
            get_task,
            get_run,
            seed: 7,
        };
        let registry = prometheus::Registry::new();
        let actor = seed.start(world.supervision(), &registry, deps).unwrap();
        Self { ports, others, runs, get_task: tasks_read, get_run: runs_read, actor, registry }
    }

    async fn add(&self, add: AddSchedule) -> ScheduleView {
        ask(&self.ports.add, add).await.unwrap()
    }

    async fn tick(&self) -> ScheduleView {
        ask(&self.ports.list, ListSchedules { name: Some("tick".into()) }).await.unwrap().remove(0)
    }

    async fn control(&self, action: ScheduleAction) -> Result<ScheduleView, ScheduleError> {
        ask(&self.ports.control, ControlSchedule { which: "tick".into(), action }).await
    }

    fn status(&self) -> ScheduleStatus {
        self.actor.status().get::<ScheduleStatus>().unwrap().clone()
    }
}

fn serve<R: meshwork_proto::Request>(
    others: &Rc<RefCell<Others>>,
    answer: impl Fn(&mut Others, R) -> R::Reply + 'static,
) -> Port<R> {
    let (port, probe) = probe::<R>(64);
    let others = Rc::clone(others);
    probe.reply_with(move |request| answer(&mut others.borrow_mut(), request));
    port
}

async fn ask<T: ScheduleOp>(port: &Port<By<T>>, op: T) -> Result<T::Answer, ScheduleError> {
    port.ask(By { caller: Caller::Local, op }, LONG).await.expect("an answer")
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn tasks_are_started_at_their_times() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let made = scene.add(every(MINUTE)).await;
        world.advance(ms(3 * MINUTE + 1000)).await;
        let view = scene.tick().await;
        assert_eq!((view.id, view.starts, scene.others.borrow().tasks.len()), (made.id, 3, 3));
        let late = view.last[0].at.since(view.last[0].due);
        assert!(late <= ms(5), "{late:?}");
        let status = scene.status();
        assert_eq!((status.loading, status.schedules, status.next), (false, 1, view.next));
    });
}

#[test]
fn runs_are_started_and_looked_at_when_they_may_not_overlap() {
    testing::world(|world| async move {
        let mut scene = Scene::start(&world);
        let what = Scheduled::Workflow(run());
        scene.add(AddSchedule { what, no_overlap: true, ..every(MINUTE / 3) }).await;
        let (by, reply) = scene.runs.next().await;
        assert!(by.op.idempotency_key.unwrap().starts_with("schedule/"));
        let id = RunId::from_bytes([4; 16]);
        reply.send(Ok(RunSubmitted { id, state: RunState::Running, existing: false }));
        let (by, reply) = scene.get_run.next().await;
        assert_eq!((by.op.id, by.op.wait_ms, by.caller), (id, 0, Caller::Local));
        reply.send(Err(WorkflowError::Unavailable("restarting".into())));
        let (_, reply) = scene.get_run.next().await;
        reply.send(Err(WorkflowError::UnknownRun(id)));
        let (_, reply) = scene.runs.next().await;
        reply.send(Err(WorkflowError::Draining));
        let (_, reply) = scene.runs.next().await;
        reply.send(Ok(RunSubmitted { id, state: RunState::Pending, existing: true }));
        world.settle().await;
        assert_eq!(scene.tick().await.starts, 2);
    });
}

#[test]
fn a_task_that_runs_keeps_the_next_one_from_being_started() {
    testing::world(|world| async move {
        let mut scene = Scene::start(&world);
        scene.add(AddSchedule { no_overlap: true, ..every(MINUTE / 3) }).await;
        let (by, reply) = scene.get_task.next().await;
        reply.send(Err(QueueError::Forbidden("no".into())));
        world.settle().await;
        let view = scene.tick().await;
        assert_eq!((view.starts, view.last.len()), (1, 2));
        let (again, reply) = scene.get_task.next().await;
        assert_eq!(again.op.id, by.op.id);
        reply.send(Err(QueueError::UnknownTask(by.op.id)));
        world.settle().await;
        assert_eq!(scene.tick().await.starts, 2, "forgotten means finished");
    });
}

#[test]
fn a_clock_that_is_set_is_noticed_within_ten_seconds() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        scene.add(every(HOUR)).await;
        world.advance(Duration::from_secs(30)).await;
        // The machine slept for five hours: timers did not.
        world.clock().set_wall(5 * 3_600_000);
        world.advance(Duration::from_secs(11)).await;
        let view = scene.tick().await;
        assert_eq!(view.starts, 1);
        world.clock().set_wall(-1_800_000);
        world.advance(ms(HOUR)).await;
        assert_eq!(scene.tick().await.starts, 1, "05:00 was dealt with, and 06:00 is not yet there");
        world.advance(ms(HOUR / 2)).await;
        assert_eq!(scene.tick().await.starts, 2);
    });
}

#[test]
fn messages_from_before_the_start_wait_until_schedules_are_loaded() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let made = scene.add(every(HOUR)).await;
        let disk = scene.others.borrow().disk.clone();
        let others = Rc::new(RefCell::new(Others { disk, ..Others::default() }));
        let mut early = None;
        let second = Scene::with(&world, others, |ports| {
            let port = ports.list.clone();
            early = Some(tokio::task::spawn_local(async move { ask(&port, ListSchedules::default()).await }));
        });
        assert_eq!(early.unwrap().await.unwrap(), Ok(vec![made]));
        world.advance(ms(200)).await;
        assert!(!second.status().loading);
    });
}

#[test]
fn a_failing_store_restarts_the_scheduler_which_then_starts_nothing_twice() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        scene.add(every(MINUTE)).await;
        world.advance(ms(MINUTE + 1000)).await;
        scene.others.borrow_mut().refuse = Some(StoreError::Database("io error".into()));
        let refused = ask(&scene.ports.add, AddSchedule { name: "other".into(), ..every(MINUTE) }).await;
        assert_eq!(refused, Err(ScheduleError::Store(StoreError::Database("io error".into()))));
        let event = world.next_event().await;
        assert!(matches!(event.what, SupervisionChange::Restarting { .. }), "{event:?}");
        world.advance(ms(2 * MINUTE)).await;
        let (tasks, submissions) = (scene.others.borrow().tasks.len(), scene.others.borrow().submissions);
        assert_eq!((scene.tick().await.starts, tasks, submissions), (3, 3, 3));
    });
}

#[test]
fn a_full_disk_refuses_new_schedules_and_restarts_nothing() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        world.settle().await;
        scene.others.borrow_mut().refuse = Some(StoreError::DiskFull { free: 1, reserve: 2 });
        let error = ask(&scene.ports.add, every(MINUTE)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::DiskFull);
        scene.add(every(MINUTE)).await;
        assert_eq!(scene.actor.restarts(), 0);
    });
}

#[test]
fn metrics_follow_what_happens() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        scene.add(every(MINUTE)).await;
        scene.add(AddSchedule { name: "other".into(), what: Scheduled::Task(task()), ..every(HOUR) }).await;
        scene.control(ScheduleAction::Trigger).await.unwrap();
        world.advance(ms(MINUTE + 1000)).await;
        scene.control(ScheduleAction::Pause).await.unwrap();
        world.clock().set_wall(300_000);
        world.advance(Duration::from_secs(20)).await;
        let text = prometheus::TextEncoder::new().encode_to_string(&scene.registry.gather()).unwrap();
        for line in [
            "meshwork_schedule_count{state=\"active\"} 1",
            "meshwork_schedule_count{state=\"paused\"} 1",
            "meshwork_schedule_starts_total{outcome=\"made\"} 2",
            "meshwork_schedule_late_seconds_count 2",
            "meshwork_schedule_skipped_total 0",
            "meshwork_schedule_starting 0",
            "meshwork_schedule_retrying 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    });
}

#[test]
fn options_that_make_no_sense_are_refused_before_anything_starts() {
    let wrong = ScheduleOptions { late_s: 0.0, ..ScheduleOptions::default() };
    assert_eq!(prepare(wrong).unwrap_err().code(), ErrorCode::Config);
}
