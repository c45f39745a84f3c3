//! What tools take, as the gateway knows it: asked for once in a while, so that an input can be checked before it is
//! submitted.

use super::stored::unasked;
use crate::workflow::definition::InputCheck;
use meshwork_kit::Port;
use meshwork_proto::MeshError;
use meshwork_proto::workflow::{DescribeTools, ToolShape};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer is used.
const FRESH: Duration = Duration::from_secs(30);
/// Longest wait for the gateway.
const WITHIN: Duration = Duration::from_secs(15);
/// Most tools that are remembered.
const MAX_TOOLS: usize = 4096;

/// Shapes of tools.
#[derive(Debug, Default)]
pub(super) struct Tools(RefCell<HashMap<String, Known>>);

#[derive(Debug)]
struct Known {
    shape: Option<ToolShape>,
    check: Option<Arc<InputCheck>>,
    asked: Instant,
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.asked.elapsed() < FRESH
    }
}

impl Tools {
    /// What compares inputs with what a tool takes, if that is known; none if it has to be asked for.
    pub(super) fn check_of(&self, name: &str) -> Option<Option<Arc<InputCheck>>> {
        let tools = self.0.borrow();
        tools.get(name).filter(|known| known.is_fresh()).map(|known| known.check.clone())
    }

    /// What is known of a tool that somebody serves.
    fn shape_of(&self, name: &str) -> Option<ToolShape> {
        let tools = self.0.borrow();
        tools.get(name).filter(|known| known.is_fresh())?.shape.clone()
    }

    /// What is known of tools. Those that somebody serves may be known from before; of the others is always asked.
    ///
    /// # Errors
    /// When the gateway does not answer.
    pub(super) async fn describe(
        &self,
        port: &Port<DescribeTools>,
        names: BTreeSet<String>,
    ) -> Result<BTreeMap<String, ToolShape>, MeshError> {
        let mut shapes = BTreeMap::new();
        let mut missing = BTreeSet::new();
        for name in names {
            match self.shape_of(&name) {
                Some(shape) => {
                    shapes.insert(name, shape);
                }
                None => {
                    missing.insert(name);
                }
            }
        }
        if missing.is_empty() {
            return Ok(shapes);
        }
        let asked = DescribeTools { names: missing.clone() };
        let answer = port.ask(asked, WITHIN).await.map_err(|error| unasked(&error))??;
        self.keep(missing, &answer);
        shapes.extend(answer);
        Ok(shapes)
    }

    fn keep(&self, names: BTreeSet<String>, shapes: &BTreeMap<String, ToolShape>) {
        let mut tools = self.0.borrow_mut();
        if tools.len() + names.len() > MAX_TOOLS {
            tools.clear();
        }
        for name in names {
            let shape = shapes.get(&name).cloned();
            let check = shape.as_ref().and_then(InputCheck::of).map(Arc::new);
            tools.insert(name, Known { shape, check, asked: Instant::now() });
        }
    }
}
