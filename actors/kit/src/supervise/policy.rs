//! The actors of a node, and the one table that says how each is supervised.

use crate::backoff::Backoff;
use std::fmt;
use std::time::Duration;

/// One of the actors of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// Durable records and artifacts.
    Store,
    /// Connections and streams to peers.
    Transport,
    /// The peer book.
    Discovery,
    /// First contacts.
    Bootstrap,
    /// Forgetting stale peers.
    Reaper,
    /// Tasks, leases and results.
    Queue,
    /// Workflow runs.
    Workflow,
    /// Tasks and runs that are started at times.
    Schedule,
    /// Running tools.
    Executor,
    /// MCP traffic.
    Gateway,
}

/// Actors that share a thread: asking on the same thread costs a quarter of asking across threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ThreadClass {
    /// What keeps the node together: store, transport, discovery, bootstrap, reaper.
    Control,
    /// Queue, workflows and schedules.
    Work,
    /// The gateway.
    Edge,
    /// Running tools.
    Executor,
}

/// What follows when an actor has failed too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GiveUp {
    /// The node cannot do its job without it: it stops, and whoever watches it starts it anew.
    StopNode,
    /// The node goes on without it and says so in its health.
    Degraded,
}

/// How an actor is supervised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// This many failures within [`Policy::window`] lead to a restart, one more to giving up.
    pub restarts: u32,
    /// For how long a failure counts.
    pub window: Duration,
    /// The wait before each restart; the attempt is the number of failures within the window.
    pub backoff: Backoff,
    /// What giving up means.
    pub give_up: GiveUp,
}

const WINDOW: Duration = Duration::from_secs(60);
/// Even ten restarts in a row take less than the window, so an actor that always fails reaches its limit.
const BACKOFF: Backoff = Backoff::doubling(Duration::from_millis(100), Duration::from_secs(5));

impl ActorKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Store,
        Self::Transport,
        Self::Discovery,
        Self::Bootstrap,
        Self::Reaper,
        Self::Queue,
        Self::Workflow,
        Self::Schedule,
        Self::Executor,
        Self::Gateway,
    ];

    /// The table: thread, restarts within a minute, what follows.
    const fn row(self) -> (&'static str, ThreadClass, u32, GiveUp) {
        match self {
            // A store that failed may have half a batch in memory: only opening it anew is safe.
            Self::Store => ("store", ThreadClass::Control, 0, GiveUp::StopNode),
            Self::Transport => ("transport", ThreadClass::Control, 5, GiveUp::StopNode),
            Self::Discovery => ("discovery", ThreadClass::Control, 5, GiveUp::Degraded),
            Self::Bootstrap => ("bootstrap", ThreadClass::Control, 5, GiveUp::Degraded),
            Self::Reaper => ("reaper", ThreadClass::Control, 5, GiveUp::Degraded),
            // These three replay from the store: what fails three times fails on what is stored.
            Self::Queue => ("queue", ThreadClass::Work, 3, GiveUp::StopNode),
            Self::Workflow => ("workflow", ThreadClass::Work, 3, GiveUp::StopNode),
            Self::Schedule => ("schedule", ThreadClass::Work, 3, GiveUp::Degraded),
            Self::Executor => ("executor", ThreadClass::Executor, 10, GiveUp::Degraded),
            Self::Gateway => ("gateway", ThreadClass::Edge, 10, GiveUp::StopNode),
        }
    }

    /// The name in metrics, logs and status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The thread it runs on.
    #[must_use]
    pub const fn thread(self) -> ThreadClass {
        self.row().1
    }

    /// How it is supervised.
    #[must_use]
    pub const fn policy(self) -> Policy {
        let (_, _, restarts, give_up) = self.row();
        Policy { restarts, window: WINDOW, backoff: BACKOFF, give_up }
    }
}

impl fmt::Display for ActorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ThreadClass {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Control, Self::Work, Self::Edge, Self::Executor];

    /// The name of the thread, short enough for the operating system to show whole.
    #[must_use]
    pub const fn thread_name(self) -> &'static str {
        match self {
            Self::Control => "mesh-control",
            Self::Work => "mesh-work",
            Self::Edge => "mesh-edge",
            Self::Executor => "mesh-executor",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_that_always_fails_reaches_its_limit_before_its_first_failure_is_forgotten() {
        for kind in ActorKind::ALL {
            let policy = kind.policy();
            let all: Duration = (1..=policy.restarts).map(|n| policy.backoff.full_delay(n)).sum();
            assert!(all < policy.window, "{kind}: {all:?}");
        }
    }

    #[test]
    fn names_are_distinct_and_are_what_serde_writes() {
        let names: std::collections::BTreeSet<_> = ActorKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ActorKind::ALL.len());
        for kind in ActorKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        for class in ThreadClass::ALL {
            assert!(class.thread_name().len() <= 15, "the kernel cuts {}", class.thread_name());
        }
    }
}
