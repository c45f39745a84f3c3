//! Telling the coordinator how tasks ended that it watches.

use super::Queue;
use meshwork_kit::{Ctx, TellError};
use meshwork_proto::workflow::TaskEnded;
use std::time::Duration;

/// Ends that are kept for a coordinator that does not get on. More are dropped: it asks for them when it waits long.
pub(in crate::queue) const MAX_UNTOLD: usize = 1024;
/// What could not be told is told again so much later.
const TELL_AGAIN: Duration = Duration::from_millis(20);

impl Queue {
    /// Tells of an end, behind those that could not be told yet.
    pub(super) fn tell_end(&mut self, ended: TaskEnded, ctx: &mut Ctx<'_, Self>) {
        if !self.untold.is_empty() {
            return self.keep_end(ended);
        }
        match self.shared.deps.ended.tell(ended.clone()) {
            Ok(()) => {}
            Err(TellError::Full { .. }) => {
                self.keep_end(ended);
                self.tell_later(ctx);
            }
            Err(TellError::Closed { .. }) => self.drop_end(&ended),
        }
    }

    fn keep_end(&mut self, ended: TaskEnded) {
        if self.untold.len() < MAX_UNTOLD {
            self.untold.push_back(ended);
        } else {
            self.drop_end(&ended);
        }
    }

    fn drop_end(&self, ended: &TaskEnded) {
        self.shared.metrics.end_dropped();
        tracing::debug!(task = %ended.id, "the coordinator could not be told of the end of a task: it will ask");
    }

    fn tell_later(&mut self, ctx: &mut Ctx<'_, Self>) {
        ctx.after(TELL_AGAIN, |queue, ctx| {
            while let Some(ended) = queue.untold.pop_front() {
                match queue.shared.deps.ended.tell(ended.clone()) {
                    Ok(()) => {}
                    Err(TellError::Full { .. }) => {
                        queue.untold.push_front(ended);
                        return queue.tell_later(ctx);
                    }
                    Err(TellError::Closed { .. }) => queue.drop_end(&ended),
                }
            }
        });
    }
}
