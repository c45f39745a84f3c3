//! The groups of this node's own tools, as the meta-tools and the command line name them.

/// A group of this node's own tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Category {
    /// The durable task queue.
    Taskqueue,
    /// Who is in the mesh.
    Peers,
    /// Runs of workflows.
    Workflows,
    /// What is started at times.
    Schedules,
}

/// The names of the categories of a node's own tools: no upstream server can have one of them, for its tools would be
/// hidden behind the node's own.
pub const OWN_CATEGORIES: [&str; 4] = [
    Category::Taskqueue.name(),
    Category::Peers.name(),
    Category::Workflows.name(),
    Category::Schedules.name(),
];

impl Category {
    /// All of them, in the order in which they are listed.
    pub(crate) const ALL: [Self; 4] = [Self::Taskqueue, Self::Peers, Self::Workflows, Self::Schedules];

    /// The stable name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Taskqueue => "taskqueue",
            Self::Peers => "peers",
            Self::Workflows => "workflows",
            Self::Schedules => "schedules",
        }
    }

    /// What is in it.
    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::Taskqueue => "The durable task queue of this node",
            Self::Peers => "Who is in the mesh: peers, how they are found, first contacts, trust",
            Self::Workflows => {
                "Workflows: steps that need one another, run across the mesh until they are done"
            }
            Self::Schedules => "Tasks and workflows that are started at times",
        }
    }

    /// The category with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.name() == name)
    }
}
