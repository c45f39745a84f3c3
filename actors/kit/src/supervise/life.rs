//! What an actor's shell, its context and its supervisor share; all on one thread.

use super::ActorKind;
use super::failure::{Cause, CauseKind};
use super::health::{ActorHealth, Report, StatusSnapshot};
use crate::clock::Clock;
use std::cell::{Cell, RefCell};
use tokio::runtime::Handle;

/// What the actor is doing: a panic is attributed to it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Activity {
    Fresh,
    Started,
    Handler(&'static str),
    Timer,
    Task,
    Status,
    Drop,
}

/// What the actor asked for in the turn that has just ended.
pub(super) enum Request {
    Stop,
    Fail(String),
}

/// One actor's life, across its restarts.
pub(crate) struct Life {
    pub(super) kind: ActorKind,
    pub(crate) clock: Clock,
    pub(crate) runtime: Handle,
    pub(super) report: Report,
    activity: Cell<Activity>,
    request: RefCell<Option<Request>>,
}

impl Life {
    pub(super) fn new(kind: ActorKind, clock: Clock, runtime: Handle, report: Report) -> Self {
        let activity = Cell::new(Activity::Fresh);
        Self { kind, clock, runtime, report, activity, request: RefCell::new(None) }
    }

    pub(super) fn enter(&self, activity: Activity) {
        self.activity.set(activity);
    }

    pub(crate) fn request_stop(&self) {
        *self.request.borrow_mut() = Some(Request::Stop);
    }

    /// A stop that was asked for in the same turn stands.
    pub(crate) fn request_failure(&self, reason: String) {
        self.request.borrow_mut().get_or_insert(Request::Fail(reason));
    }

    pub(super) fn is_ending(&self) -> bool {
        self.request.borrow().is_some()
    }

    pub(super) fn take_request(&self) -> Option<Request> {
        self.request.borrow_mut().take()
    }

    pub(super) fn running(&self) {
        self.report.health(ActorHealth::Running);
    }

    pub(super) fn publish(&self, status: StatusSnapshot) {
        self.report.status.send_replace(status);
    }

    /// The cause of a panic with this text that has just been caught.
    pub(super) fn panicked(&self, text: String) -> Cause {
        let (kind, message) = match self.activity.get() {
            Activity::Fresh => (CauseKind::Fresh, None),
            Activity::Started => (CauseKind::Started, None),
            Activity::Handler(message) => (CauseKind::Handler, Some(message)),
            Activity::Timer => (CauseKind::Timer, None),
            Activity::Task => (CauseKind::Task, None),
            Activity::Status => (CauseKind::Status, None),
            Activity::Drop => (CauseKind::Drop, None),
        };
        Cause { kind, message, text }
    }
}
